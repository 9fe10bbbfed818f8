/* SPDX-License-Identifier: MIT */
/*
 * OpenAI Chat Completions, which many others serve as well, and the completions before them, whose prompt is
 * one text. Numbers come in a stream only if the client asked for them.
 */
#include "llm/llm.h"

#include <string.h>

#include "base/cleanup.h"

static bool match(struct http_text path)
{
	return llm_path_ends(path, "/completions");
}

static void read_messages(struct llm_request *r, struct value messages)
{
	static const char *const keys[] = {"role", "tool_call_id", "content"};
	struct value_walk w = value_walk(messages);
	struct value v[3];

	value_copy(messages, &r->messages);
	while (value_next(&w)) {
		r->n_messages++;
		value_pick(w.item, keys, 3, v);
		if (value_is(v[0], "assistant")) {
			llm_request_answered(r);
		} else if (value_is(v[0], "tool")) {
			llm_request_result(r, v[1], (struct value){}, v[2], false);
		} else if (value_is(v[0], "user")) {
			llm_request_prompt(r, v[2]);
		}
	}
}

static void read_tools(struct llm_request *r, struct value tools)
{
	static const char *const keys[] = {"name", "function", "custom", "type"};
	struct value_walk w = value_walk(tools);
	struct value v[4];

	while (value_next(&w)) {
		value_pick(w.item, keys, 4, v);
		if (v[1].p)
			v[0] = value_get(v[1], "name");
		else if (v[2].p)
			v[0] = value_get(v[2], "name");
		llm_request_tool(r, v[0].p ? v[0] : v[3]);
	}
}

static bool request(struct llm_request *r, const struct llm_source *from, struct value body)
{
	static const char *const keys[] = {"model",  "messages",   "prompt",          "tools",
					   "stream", "session_id", "prompt_cache_key"};
	enum { MODEL, MESSAGES, PROMPT, TOOLS, STREAM, SESSION, CACHE_KEY, N };
	struct value v[N];

	value_pick(body, keys, N, v);
	if (value_kind(v[MESSAGES]) != VALUE_ARRAY && !v[PROMPT].p &&
	    !(r->incomplete && v[MODEL].p))
		return false;
	/* Azure names a deployment in the path and needs no model. */
	llm_set_from_path(&r->model, from->path, "/deployments/", "/");
	llm_set(&r->model, v[MODEL]);
	if (!r->model.len)
		return false;
	if (v[MESSAGES].p)
		read_messages(r, v[MESSAGES]);
	else
		value_copy(v[PROMPT], &r->messages);
	llm_request_prompt(r, v[PROMPT]);
	r->n_messages += !v[MESSAGES].p && v[PROMPT].p;
	read_tools(r, v[TOOLS]);
	llm_request_parameters(r, body, keys, SESSION);
	llm_set(&r->session, v[CACHE_KEY]);
	llm_set(&r->session, v[SESSION]);
	r->stream = value_true(v[STREAM]);
	return true;
}

/* ---- answers ---- */

static void read_usage(struct llm_answer *a, struct value usage)
{
	static const char *const keys[] = {
		"prompt_tokens",         "completion_tokens",         "total_tokens",
		"prompt_tokens_details", "completion_tokens_details", "prompt_cache_hit_tokens",
		"cached_tokens"};
	enum { INPUT, OUTPUT, TOTAL, IN_DETAILS, OUT_DETAILS, DEEPSEEK_CACHED, MOONSHOT_CACHED, N };
	struct llm_usage *u = &a->usage;
	uint64_t total = 0;
	struct value v[N];

	if (value_kind(usage) != VALUE_OBJECT)
		return;
	value_pick(usage, keys, N, v);
	u->known |= value_u64(v[INPUT], &u->input);
	u->known |= value_u64(v[OUTPUT], &u->output);
	value_u64(v[DEEPSEEK_CACHED], &u->cache_read);
	value_u64(v[MOONSHOT_CACHED], &u->cache_read);
	value_u64(value_get(v[IN_DETAILS], "cached_tokens"), &u->cache_read);
	value_u64(value_get(v[IN_DETAILS], "cache_write_tokens"), &u->cache_write);
	value_u64(value_get(v[OUT_DETAILS], "reasoning_tokens"), &u->reasoning);
	/* xAI counts reasoning beside the output: then only together they make the total. */
	if (v[OUTPUT].p && u->reasoning && value_u64(v[TOTAL], &total) &&
	    total - u->input - u->output == u->reasoning)
		u->output += u->reasoning;
	llm_answer_usage(a, usage);
}

static bool says_something(struct value v)
{
	return value_kind(v) == VALUE_STRING && v.len > 2;
}

/* The call of that number that has this very id; escapes are not looked through, as ids have none. */
static struct llm_block *call_with_id(struct llm_answer *a, uint64_t choice, uint64_t part,
				      struct value id)
{
	for (size_t i = a->n_blocks; i-- > 0;) {
		struct llm_block *b = &a->blocks[i];

		if (b->kind == LLM_TOOL && b->group == choice && b->part == part &&
		    b->id.len + 2 == id.len && !memcmp(b->id.data, id.p + 1, b->id.len))
			return b;
	}
	return NULL;
}

/*
 * Ollama and proxies of Gemini number all calls 0, and only their ids tell them apart. Poolside gives pieces of
 * one call several ids: another call has a name, too.
 */
static struct llm_block *call_block(struct llm_answer *a, uint64_t choice, uint64_t part,
				    struct value id, struct value name)
{
	struct llm_block *b = NULL;

	if (says_something(id))
		b = call_with_id(a, choice, part, id);
	if (b)
		return b;
	b = llm_block(a, LLM_TOOL, choice, part);
	if (b && b->id.len && says_something(id) && says_something(name))
		return llm_block_begin(a, LLM_TOOL, choice, part);
	return b;
}

static void read_call(struct llm_answer *a, uint64_t choice, uint64_t part, struct value call)
{
	static const char *const keys[] = {"index", "id", "function", "custom"};
	struct value v[4], inner, input, name;
	struct llm_block *b;

	value_pick(call, keys, 4, v);
	value_u64(v[0], &part);
	inner = v[3].p ? v[3] : v[2];
	input = value_get(inner, v[3].p ? "input" : "arguments");
	name = value_get(inner, "name");
	b = call_block(a, choice, part, v[1], name);
	if (!b)
		return;
	b->text_input |= v[3].p != NULL;
	llm_answer_set(a, &b->id, v[1]);
	llm_answer_set(a, &b->name, name);
	if (value_kind(input) == VALUE_OBJECT)
		llm_block_set(a, b, input);
	else
		llm_block_add(a, b, input);
}

/* A string, or as Mistral's models that think have it, an array of {text} and {thinking: [{text}]}. */
static void read_content(struct llm_answer *a, uint64_t choice, enum llm_kind kind,
			 struct value content)
{
	static const char *const keys[] = {"text", "thinking"};
	struct value_walk w = value_walk(content);
	struct value v[2];

	if (says_something(content))
		llm_block_add(a, llm_block(a, kind, choice, 0), content);
	while (value_kind(content) == VALUE_ARRAY && !a->full && value_next(&w)) {
		value_pick(w.item, keys, 2, v);
		if (says_something(v[0]))
			llm_block_add(a, llm_block(a, kind, choice, 0), v[0]);
		if (kind == LLM_TEXT)
			read_content(a, choice, LLM_REASONING, v[1]);
	}
}

/* The first of the names under which servers tell it; others may be there, and empty. */
static struct value reasoning_of(const struct value *v, size_t n)
{
	while (n > 1 && !says_something(*v)) {
		v++;
		n--;
	}
	return *v;
}

/* A message and a delta have the same members. */
static void read_delta(struct llm_answer *a, uint64_t choice, struct value delta)
{
	static const char *const keys[] = {"reasoning_content", "reasoning", "reasoning_text",
					   "content",           "refusal",   "tool_calls",
					   "function_call"};
	enum { REASONING, CONTENT = 3, REFUSAL, CALLS, CALL, N };
	struct value v[N];
	struct value_walk w;
	uint64_t part = 0;

	value_pick(delta, keys, N, v);
	read_content(a, choice, LLM_REASONING, reasoning_of(&v[REASONING], CONTENT));
	read_content(a, choice, LLM_TEXT, v[CONTENT]);
	if (says_something(v[REFUSAL]))
		llm_block_add(a, llm_block(a, LLM_TEXT, choice, 1), v[REFUSAL]);
	for (w = value_walk(v[CALLS]); !a->full && value_next(&w); part++)
		read_call(a, choice, part, w.item);
	if (value_kind(v[CALL]) == VALUE_OBJECT) {
		/* before there were several: the function itself, without an id */
		struct llm_block *b = llm_block(a, LLM_TOOL, choice, 0);

		if (b)
			llm_answer_set(a, &b->name, value_get(v[CALL], "name"));
		llm_block_add(a, b, value_get(v[CALL], "arguments"));
	}
}

/* Of several choices the others may still go on. */
static void choice_end(struct llm_answer *a, uint64_t choice)
{
	bool all = true;

	for (size_t i = 0; i < a->n_blocks; i++) {
		if (a->blocks[i].group == choice)
			llm_block_end(a, &a->blocks[i]);
		all &= a->blocks[i].done;
	}
	/* Some servers send no [DONE]; usage may still follow. */
	a->done |= all;
}

static void read_choice(struct llm_answer *a, struct value choice)
{
	static const char *const keys[] = {"index", "delta", "message", "text", "finish_reason"};
	enum { INDEX, DELTA, MESSAGE, TEXT, REASON, N };
	struct value v[N];
	uint64_t index = 0;
	size_t n_blocks = a->n_blocks;

	value_pick(choice, keys, N, v);
	value_u64(v[INDEX], &index);
	a->choices = true;
	read_delta(a, index, v[MESSAGE].p ? v[MESSAGE] : v[DELTA]);
	if (says_something(v[TEXT]))
		llm_block_add(a, llm_block(a, LLM_TEXT, index, 0), v[TEXT]);
	/* the others were over before this one had begun */
	if (a->n_blocks > n_blocks)
		a->done = a->last;
	/* LocalAI gives an empty one with every piece */
	if (!says_something(v[REASON]))
		return;
	llm_answer_set(a, &a->stop_reason, v[REASON]);
	choice_end(a, index);
}

static void piece(struct llm_answer *a, struct value chunk)
{
	static const char *const keys[] = {"id", "model", "choices", "usage", "error", "x_groq"};
	enum { ID, MODEL, CHOICES, USAGE, ERROR, GROQ, N };
	struct value v[N];
	struct value_walk w;

	value_pick(chunk, keys, N, v);
	llm_answer_set(a, &a->id, v[ID]);
	llm_answer_set(a, &a->model, v[MODEL]);
	for (w = value_walk(v[CHOICES]); !a->full && value_next(&w);)
		read_choice(a, w.item);
	read_usage(a, v[USAGE]);
	if (!v[USAGE].p)
		read_usage(a, value_get(v[GROQ], "usage"));
	if (value_kind(v[ERROR]) == VALUE_OBJECT || value_kind(v[ERROR]) == VALUE_STRING)
		llm_answer_error(a, v[ERROR]);
}

const struct llm_format llm_openai_chat = {
	.name = "openai_chat",
	.provider = "openai_compatible",
	.match = match,
	.request = request,
	.piece = piece,
};
