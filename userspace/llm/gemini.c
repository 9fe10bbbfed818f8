/* SPDX-License-Identifier: MIT */
/*
 * Gemini, directly, on Vertex, and through Code Assist, which wraps request and response once more. Each
 * piece of a stream is a whole response with sums so far.
 */
#include "llm/llm.h"

#include "base/cleanup.h"

static bool match(struct http_text path)
{
	return llm_path_ends(path, ":generateContent") ||
	       llm_path_ends(path, ":streamGenerateContent");
}

/* The response is the object of an object, or a text: what the model gets to read of it. */
static void read_results(struct llm_request *r, struct value parts)
{
	static const char *const keys[] = {"id", "name", "response"};
	struct value_walk w = value_walk(parts);
	struct value v[3];

	while (value_next(&w)) {
		value_pick(value_get(w.item, "functionResponse"), keys, 3, v);
		if (v[1].p)
			llm_request_result(r, v[0], v[1], v[2], value_get(v[2], "error").p != NULL);
	}
}

static void read_contents(struct llm_request *r, struct value contents)
{
	struct value_walk w = value_walk(contents);
	struct value parts;

	value_copy(contents, &r->messages);
	while (value_next(&w)) {
		r->n_messages++;
		if (value_is(value_get(w.item, "role"), "model")) {
			llm_request_answered(r);
		} else {
			parts = value_get(w.item, "parts");
			read_results(r, parts);
			llm_request_prompt(r, parts);
		}
	}
}

/* Declared functions by their names, the provider's own tools by theirs: {"googleSearch":{}}. */
static void read_tools(struct llm_request *r, struct value tools)
{
	struct value_walk w = value_walk(tools), kinds, functions;

	while (value_next(&w)) {
		for (kinds = value_walk(w.item);
		     value_kind(w.item) == VALUE_OBJECT && value_next(&kinds);) {
			if (!value_is(kinds.key, "functionDeclarations")) {
				llm_request_tool(r, kinds.key);
				continue;
			}
			for (functions = value_walk(kinds.item); value_next(&functions);)
				llm_request_tool(r, value_get(functions.item, "name"));
		}
	}
}

static bool request(struct llm_request *r, const struct llm_source *from, struct value body)
{
	static const char *const keys[] = {"contents", "systemInstruction", "system_instruction",
					   "tools",    "session_id",        "generationConfig"};
	enum { CONTENTS, SYSTEM, SYSTEM_2, TOOLS, SESSION, CONFIG, N };
	struct value v[N], wrapped = value_get(body, "request");

	llm_set_from_path(&r->model, from->path, "/models/", ":");
	if (value_kind(wrapped) == VALUE_OBJECT) {
		llm_set(&r->model, value_get(body, "model"));
		body = wrapped;
	}
	value_pick(body, keys, N, v);
	if (value_kind(v[CONTENTS]) != VALUE_ARRAY && !r->incomplete)
		return false;
	read_contents(r, v[CONTENTS]);
	if (!v[SYSTEM].p)
		v[SYSTEM] = v[SYSTEM_2];
	if (v[SYSTEM].p)
		value_copy(v[SYSTEM], &r->system);
	read_tools(r, v[TOOLS]);
	llm_request_parameters(r, v[CONFIG], NULL, 0);
	llm_set(&r->session, v[SESSION]);
	r->stream = llm_path_ends(from->path, ":streamGenerateContent");
	return true;
}

/* ---- answers ---- */

static void read_usage(struct llm_answer *a, struct value usage)
{
	static const char *const keys[] = {"promptTokenCount", "toolUsePromptTokenCount",
					   "cachedContentTokenCount", "candidatesTokenCount",
					   "thoughtsTokenCount"};
	struct llm_usage *u = &a->usage;
	struct value v[5], before[5];
	uint64_t n[5] = {0};
	bool told = false;

	if (value_kind(usage) != VALUE_OBJECT)
		return;
	value_pick(usage, keys, 5, v);
	value_pick(value_at(a->usage_raw.data, a->usage_raw.len), keys, 5, before);
	for (size_t i = 0; i < 5; i++) {
		value_u64(before[i], &n[i]);
		told |= value_u64(v[i], &n[i]);
	}
	llm_answer_usage(a, usage);
	/* some say only how they were asked */
	if (!told)
		return;
	u->known = true;
	if (__builtin_add_overflow(n[0], n[1], &u->input) ||
	    __builtin_add_overflow(n[3], n[4], &u->output))
		u->known = false;
	u->cache_read = n[2];
	u->reasoning = n[4];
}

/* A call whose arguments come in pieces: those have no name. */
static struct llm_block *open_call(struct llm_answer *a, uint64_t candidate)
{
	for (size_t i = a->n_blocks; i-- > 0;) {
		struct llm_block *b = &a->blocks[i];

		if (b->kind == LLM_TOOL && b->group == candidate && !b->done)
			return b;
	}
	return NULL;
}

/*
 * Pieces of arguments are kept as served, each with the place where it belongs: the input is an array of them then.
 * What comes behind a call is another part.
 */
static void read_call(struct llm_answer *a, uint64_t candidate, struct value call)
{
	static const char *const keys[] = {"id", "name", "args", "partialArgs", "willContinue"};
	enum { ID, NAME, ARGS, PARTIAL, CONTINUES, N };
	struct llm_block *b = NULL;
	struct value v[N];

	value_pick(call, keys, N, v);
	if (value_kind(v[NAME]) != VALUE_STRING)
		b = open_call(a, candidate);
	if (!b)
		b = llm_block(a, LLM_TOOL, candidate, a->n_blocks);
	if (!b)
		return;
	llm_answer_set(a, &b->id, v[ID]);
	llm_answer_set(a, &b->name, v[NAME]);
	llm_block_set(a, b, v[ARGS]);
	llm_block_extend(a, b, v[PARTIAL]);
	if (!value_true(v[CONTINUES]))
		llm_block_end(a, b);
}

/* Pieces of text follow one another. */
static void read_part(struct llm_answer *a, uint64_t candidate, struct value part)
{
	static const char *const keys[] = {"text", "thought", "functionCall", "executableCode"};
	struct llm_block *b;
	struct value v[4];

	value_pick(part, keys, 4, v);
	if (value_kind(v[0]) == VALUE_STRING && v[0].len > 2)
		llm_block_add(
			a, llm_block(a, value_true(v[1]) ? LLM_REASONING : LLM_TEXT, candidate, 0),
			v[0]);
	if (value_kind(v[2]) == VALUE_OBJECT)
		read_call(a, candidate, v[2]);
	if (value_kind(v[3]) == VALUE_OBJECT) {
		b = llm_block(a, LLM_SERVER_TOOL, candidate, a->n_blocks);
		if (!b)
			return;
		llm_answer_name(a, &b->name, "code_execution");
		llm_block_set(a, b, v[3]);
		llm_block_end(a, b);
	}
}

static void read_candidate(struct llm_answer *a, struct value candidate)
{
	static const char *const keys[] = {"index", "content", "finishReason"};
	struct value v[3];
	struct value_walk w;
	uint64_t index = 0;

	value_pick(candidate, keys, 3, v);
	value_u64(v[0], &index);
	a->choices = true;
	for (w = value_walk(value_get(v[1], "parts")); !a->full && value_next(&w);)
		read_part(a, index, w.item);
	if (value_kind(v[2]) != VALUE_STRING)
		return;
	llm_answer_set(a, &a->stop_reason, v[2]);
	a->done = true;
	llm_blocks_end(a);
}

static void piece(struct llm_answer *a, struct value response)
{
	static const char *const keys[] = {"candidates",    "modelVersion",   "responseId",
					   "usageMetadata", "promptFeedback", "error",
					   "response"};
	enum { CANDIDATES, MODEL, ID, USAGE, FEEDBACK, ERROR, WRAPPED, N };
	struct value v[N], blocked;
	struct value_walk w;

	value_pick(response, keys, N, v);
	if (value_kind(v[WRAPPED]) == VALUE_OBJECT)
		value_pick(v[WRAPPED], keys, N, v);
	llm_answer_set(a, &a->model, v[MODEL]);
	llm_answer_set(a, &a->id, v[ID]);
	for (w = value_walk(v[CANDIDATES]); !a->full && value_next(&w);)
		read_candidate(a, w.item);
	read_usage(a, v[USAGE]);
	blocked = value_get(v[FEEDBACK], "blockReason");
	if (blocked.p) {
		llm_answer_set(a, &a->stop_reason, blocked);
		a->done = true;
	}
	if (value_kind(v[ERROR]) == VALUE_OBJECT)
		llm_answer_error(a, v[ERROR]);
}

const struct llm_format llm_gemini = {
	.name = "gemini",
	.provider = "gcp.gemini",
	.match = match,
	.request = request,
	.piece = piece,
};
