/* SPDX-License-Identifier: MIT */
/* Ollama's own interface: /api/chat and /api/generate, a line of JSON for each piece. */
#include "llm/llm.h"

static bool match(struct http_text path)
{
	return llm_path_ends(path, "/api/chat") || llm_path_ends(path, "/api/generate");
}

static void read_messages(struct llm_request *r, struct value messages)
{
	static const char *const keys[] = {"role", "tool_call_id", "tool_name", "content"};
	struct value_walk w = value_walk(messages);
	struct value v[4];

	value_copy(messages, &r->messages);
	while (value_next(&w)) {
		r->n_messages++;
		value_pick(w.item, keys, 4, v);
		if (value_is(v[0], "assistant")) {
			llm_request_answered(r);
		} else if (value_is(v[0], "tool")) {
			llm_request_result(r, v[1], v[2], v[3], false);
		} else if (value_is(v[0], "user")) {
			llm_request_prompt(r, v[3]);
		}
	}
}

static bool request(struct llm_request *r, const struct llm_source *from, struct value body)
{
	static const char *const keys[] = {"model",  "messages", "prompt",
					   "system", "tools",    "stream"};
	enum { MODEL, MESSAGES, PROMPT, SYSTEM, TOOLS, STREAM, N };
	struct value v[N];
	struct value_walk w;

	value_pick(body, keys, N, v);
	if (!v[MODEL].p || (!v[MESSAGES].p && !v[PROMPT].p && !r->incomplete))
		return false;
	llm_set(&r->model, v[MODEL]);
	if (v[MESSAGES].p)
		read_messages(r, v[MESSAGES]);
	else
		value_copy(v[PROMPT], &r->messages);
	llm_request_prompt(r, v[PROMPT]);
	r->n_messages += !v[MESSAGES].p && v[PROMPT].p;
	if (value_kind(v[SYSTEM]) == VALUE_STRING)
		value_copy(v[SYSTEM], &r->system);
	for (w = value_walk(v[TOOLS]); value_next(&w);)
		llm_request_tool(r, value_get(value_get(w.item, "function"), "name"));
	llm_request_parameters(r, body, keys, N);
	/* in pieces unless it says otherwise */
	r->stream = value_kind(v[STREAM]) != VALUE_BOOL || value_true(v[STREAM]);
	return true;
}

/* ---- answers ---- */

static void read_call(struct llm_answer *a, struct value call)
{
	struct llm_block *b = llm_block(a, LLM_TOOL, 0, a->n_blocks);
	struct value function = value_get(call, "function");

	if (!b)
		return;
	llm_answer_set(a, &b->id, value_get(call, "id"));
	llm_answer_set(a, &b->name, value_get(function, "name"));
	llm_block_set(a, b, value_get(function, "arguments"));
	llm_block_end(a, b);
}

static void add_text(struct llm_answer *a, enum llm_kind kind, struct value text)
{
	if (value_kind(text) == VALUE_STRING && text.len > 2)
		llm_block_add(a, llm_block(a, kind, 0, 0), text);
}

static void read_done(struct llm_answer *a, struct value line)
{
	static const char *const keys[] = {
		"prompt_eval_count", "eval_count",           "done_reason",  "total_duration",
		"load_duration",     "prompt_eval_duration", "eval_duration"};
	struct llm_usage *u = &a->usage;
	struct buf raw = {0};
	struct value v[7];

	value_pick(line, keys, 7, v);
	u->known |= value_u64(v[0], &u->input);
	u->known |= value_u64(v[1], &u->output);
	llm_answer_set(a, &a->stop_reason, v[2]);
	/* there is no object of its own */
	for (size_t i = 0; i < 7; i++) {
		if (value_kind(v[i]) != VALUE_NUMBER)
			continue;
		buf_printf(&raw, "%c\"%s\":", raw.len ? ',' : '{', keys[i]);
		value_copy(v[i], &raw);
	}
	if (raw.len) {
		buf_add_char(&raw, '}');
		llm_answer_usage(a, value_at(raw.data, raw.len));
	}
	buf_done(&raw);
	a->done = true;
	llm_blocks_end(a);
}

static void piece(struct llm_answer *a, struct value line)
{
	static const char *const keys[] = {"model",    "message", "response",
					   "thinking", "done",    "error"};
	enum { MODEL, MESSAGE, RESPONSE, THINKING, DONE, ERROR, N };
	struct value v[N];
	struct value_walk w;

	value_pick(line, keys, N, v);
	llm_answer_set(a, &a->model, v[MODEL]);
	add_text(a, LLM_REASONING, v[THINKING]);
	add_text(a, LLM_TEXT, v[RESPONSE]);
	add_text(a, LLM_REASONING, value_get(v[MESSAGE], "thinking"));
	add_text(a, LLM_TEXT, value_get(v[MESSAGE], "content"));
	for (w = value_walk(value_get(v[MESSAGE], "tool_calls")); !a->full && value_next(&w);)
		read_call(a, w.item);
	if (value_true(v[DONE]))
		read_done(a, line);
	if (value_kind(v[ERROR]) == VALUE_STRING)
		llm_answer_error(a, v[ERROR]);
}

const struct llm_format llm_ollama = {
	.name = "ollama",
	.provider = "ollama",
	.match = match,
	.request = request,
	.piece = piece,
};
