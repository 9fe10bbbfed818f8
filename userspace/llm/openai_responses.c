/* SPDX-License-Identifier: MIT */
/*
 * OpenAI Responses, over HTTP or, as Codex does, over a WebSocket: there "response.create" is the request.
 * A finished item replaces what its pieces made, and the last event replaces all: it may come alone.
 */
#include "llm/llm.h"

#include "base/cleanup.h"

static bool match(struct http_text path)
{
	return llm_path_ends(path, "/responses");
}

static bool ends_with(struct value type, const char *end)
{
	size_t n = strlen(end);

	return value_kind(type) == VALUE_STRING && type.len > n + 2 &&
	       !memcmp(type.p + type.len - 1 - n, end, n);
}

/* Items that only the model makes: what stands before the last of them was told earlier. */
static bool is_models(struct value type, struct value role)
{
	return ends_with(type, "_call") || value_is(type, "reasoning") ||
	       value_is(role, "assistant");
}

static void read_input(struct llm_request *r, struct value input)
{
	static const char *const keys[] = {"type",   "role",     "call_id",
					   "output", "is_error", "content"};
	struct value_walk w = value_walk(input);
	struct value v[6];

	value_copy(input, &r->messages);
	r->n_messages = value_kind(input) == VALUE_STRING;
	if (r->n_messages)
		llm_request_prompt(r, input);
	while (value_next(&w)) {
		r->n_messages++;
		value_pick(w.item, keys, 6, v);
		if (is_models(v[0], v[1])) {
			llm_request_answered(r);
		} else if (ends_with(v[0], "_call_output")) {
			llm_request_result(r, v[2], (struct value){}, v[3], value_true(v[4]));
		} else if (value_is(v[1], "user")) {
			llm_request_prompt(r, v[5]);
		}
	}
}

static bool request(struct llm_request *r, const struct llm_source *from, struct value body)
{
	static const char *const keys[] = {"model",   "input", "instructions",     "tools",
					   "stream",  "type",  "prompt_cache_key", "conversation",
					   "response"};
	enum { MODEL, INPUT, SYSTEM, TOOLS, STREAM, TYPE, CACHE_KEY, CONVERSATION, RESPONSE, N };
	struct value v[N];
	struct value_walk w;
	bool socket;

	value_pick(body, keys, N, v);
	socket = value_is(v[TYPE], "response.create");
	if (socket && value_kind(v[RESPONSE]) == VALUE_OBJECT) {
		body = v[RESPONSE];
		value_pick(body, keys, N, v);
	}
	/* Many interfaces have a path of this name: it takes both to be this one. */
	if (!v[MODEL].p || (!v[INPUT].p && !r->incomplete))
		return false;
	llm_set(&r->model, v[MODEL]);
	read_input(r, v[INPUT]);
	if (value_kind(v[SYSTEM]) == VALUE_STRING)
		value_copy(v[SYSTEM], &r->system);
	for (w = value_walk(v[TOOLS]); value_next(&w);) {
		struct value name = value_get(w.item, "name");

		llm_request_tool(r, name.p ? name : value_get(w.item, "type"));
	}
	llm_request_parameters(r, body, keys, CACHE_KEY);
	llm_set(&r->session, v[CACHE_KEY]);
	llm_set(&r->session, v[CONVERSATION]);
	llm_set(&r->session, value_get(v[CONVERSATION], "id"));
	r->stream = socket || value_true(v[STREAM]);
	return true;
}

/* ---- answers ---- */

static void read_usage(struct llm_answer *a, struct value usage)
{
	static const char *const keys[] = {"input_tokens", "output_tokens", "input_tokens_details",
					   "output_tokens_details"};
	struct llm_usage *u = &a->usage;
	struct value v[4];

	if (value_kind(usage) != VALUE_OBJECT)
		return;
	value_pick(usage, keys, 4, v);
	u->known |= value_u64(v[0], &u->input);
	u->known |= value_u64(v[1], &u->output);
	value_u64(value_get(v[2], "cached_tokens"), &u->cache_read);
	value_u64(value_get(v[2], "cache_write_tokens"), &u->cache_write);
	value_u64(value_get(v[3], "reasoning_tokens"), &u->reasoning);
	llm_answer_usage(a, usage);
}

/* What an item that is a call holds, and who runs it. name NULL: it has one of its own. */
static const struct call_type {
	const char *type;
	const char *name;
	const char *input;
	enum llm_kind kind;
	bool text_input;
} call_types[] = {
	{"function_call", NULL, "arguments", LLM_TOOL, false},
	{"custom_tool_call", NULL, "input", LLM_TOOL, true},
	{"local_shell_call", "local_shell", "action", LLM_TOOL, false},
	{"shell_call", "shell", "action", LLM_TOOL, false},
	{"apply_patch_call", "apply_patch", "operation", LLM_TOOL, false},
	{"computer_call", "computer", "action", LLM_TOOL, false},
	{"tool_search_call", "tool_search", "arguments", LLM_TOOL, false},
	{"mcp_call", NULL, "arguments", LLM_SERVER_TOOL, false},
	{"web_search_call", "web_search", "action", LLM_SERVER_TOOL, false},
	{"file_search_call", "file_search", "queries", LLM_SERVER_TOOL, false},
	{"code_interpreter_call", "code_interpreter", "code", LLM_SERVER_TOOL, true},
	{"image_generation_call", "image_generation", "prompt", LLM_SERVER_TOOL, true},
};

static const struct call_type *call_type_of(struct value type)
{
	for (size_t i = 0; i < ARRAY_SIZE(call_types); i++) {
		if (value_is(type, call_types[i].type))
			return &call_types[i];
	}
	return NULL;
}

static void read_call(struct llm_answer *a, uint64_t index, const struct call_type *t,
		      struct value item)
{
	struct llm_block *b = llm_block(a, t->kind, index, 0);
	struct value id = value_get(item, "call_id");

	if (!b)
		return;
	b->text_input = t->text_input;
	llm_answer_set(a, &b->id, id.p ? id : value_get(item, "id"));
	if (t->name && !b->name.len)
		llm_answer_name(a, &b->name, t->name);
	if (!t->name)
		llm_answer_set(a, &b->name, value_get(item, "name"));
	llm_block_set(a, b, value_get(item, t->input));
}

/* The texts of a message or of reasoning, each a part of its own. */
static void read_parts(struct llm_answer *a, enum llm_kind kind, uint64_t index, uint64_t part,
		       struct value list)
{
	static const char *const keys[] = {"text", "refusal"};
	struct value_walk w = value_walk(list);
	struct value v[2];

	for (; !a->full && value_next(&w); part++) {
		value_pick(w.item, keys, 2, v);
		llm_block_set(a, llm_block(a, kind, index, part), v[0].p ? v[0] : v[1]);
	}
}

/* Summaries and the reasoning itself may both come. */
#define PART_CONTENT (1U << 16)

static void read_item(struct llm_answer *a, uint64_t index, struct value item)
{
	struct value type = value_get(item, "type");
	const struct call_type *t = call_type_of(type);

	if (t) {
		read_call(a, index, t, item);
	} else if (value_is(type, "message")) {
		read_parts(a, LLM_TEXT, index, 0, value_get(item, "content"));
	} else if (value_is(type, "reasoning")) {
		read_parts(a, LLM_REASONING, index, 0, value_get(item, "summary"));
		read_parts(a, LLM_REASONING, index, PART_CONTENT, value_get(item, "content"));
	}
}

static void end_item(struct llm_answer *a, uint64_t index)
{
	for (size_t i = 0; i < a->n_blocks; i++) {
		if (a->blocks[i].group == index)
			llm_block_end(a, &a->blocks[i]);
	}
}

static void read_response(struct llm_answer *a, struct value response)
{
	static const char *const keys[] = {
		"id", "model", "status", "usage", "output", "error", "incomplete_details"};
	enum { ID, MODEL, STATUS, USAGE, OUTPUT, ERROR, DETAILS, N };
	struct value v[N], reason;
	struct value_walk w;
	uint64_t index = 0;

	value_pick(response, keys, N, v);
	llm_answer_set(a, &a->id, v[ID]);
	llm_answer_set(a, &a->model, v[MODEL]);
	read_usage(a, v[USAGE]);
	if (value_kind(v[ERROR]) == VALUE_OBJECT)
		llm_answer_error(a, v[ERROR]);
	for (w = value_walk(v[OUTPUT]); !a->full && value_next(&w);)
		read_item(a, index++, w.item);
	if (value_is(v[STATUS], "in_progress") || value_is(v[STATUS], "queued"))
		return;
	reason = value_get(v[DETAILS], "reason");
	llm_answer_set(a, &a->stop_reason, reason.p ? reason : v[STATUS]);
	a->done = true;
	llm_blocks_end(a);
}

/* Pieces of text by the type of their event. The part is the member that numbers it. */
static const struct {
	const char *type;
	const char *part;
	uint32_t base;
	enum llm_kind kind;
} deltas[] = {
	{"response.output_text.delta", "content_index", 0, LLM_TEXT},
	{"response.refusal.delta", "content_index", 0, LLM_TEXT},
	{"response.reasoning_summary_text.delta", "summary_index", 0, LLM_REASONING},
	{"response.reasoning_text.delta", "content_index", PART_CONTENT, LLM_REASONING},
	{"response.function_call_arguments.delta", NULL, 0, LLM_TOOL},
	{"response.custom_tool_call_input.delta", NULL, 0, LLM_TOOL},
	{"response.mcp_call_arguments.delta", NULL, 0, LLM_SERVER_TOOL},
	{"response.code_interpreter_call_code.delta", NULL, 0, LLM_SERVER_TOOL},
};

static void read_delta(struct llm_answer *a, uint64_t index, struct value type, struct value event)
{
	uint64_t part = 0;

	for (size_t i = 0; i < ARRAY_SIZE(deltas); i++) {
		if (!value_is(type, deltas[i].type))
			continue;
		if (deltas[i].part)
			value_u64(value_get(event, deltas[i].part), &part);
		if (part >= PART_CONTENT)
			return;
		llm_block_add(a, llm_block(a, deltas[i].kind, index, deltas[i].base + part),
			      value_get(event, "delta"));
		return;
	}
}

static void piece(struct llm_answer *a, struct value event)
{
	static const char *const keys[] = {"type", "output_index", "response", "item", "object"};
	enum { TYPE, INDEX, RESPONSE, ITEM, OBJECT, N };
	struct value v[N];
	uint64_t index = 0;

	value_pick(event, keys, N, v);
	value_u64(v[INDEX], &index);
	if (value_is(v[OBJECT], "response")) {
		read_response(a, event);
	} else if (value_is(v[TYPE], "response.output_item.added")) {
		read_item(a, index, v[ITEM]);
	} else if (value_is(v[TYPE], "response.output_item.done")) {
		read_item(a, index, v[ITEM]);
		end_item(a, index);
	} else if (value_kind(v[RESPONSE]) == VALUE_OBJECT) {
		read_response(a, v[RESPONSE]);
	} else if (value_is(v[TYPE], "error")) {
		llm_answer_error(a, event);
		a->done = true;
	} else {
		read_delta(a, index, v[TYPE], event);
	}
}

const struct llm_format llm_openai_responses = {
	.name = "openai_responses",
	.provider = "openai_compatible",
	.match = match,
	.request = request,
	.piece = piece,
};
