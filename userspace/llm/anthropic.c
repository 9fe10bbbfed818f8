/* SPDX-License-Identifier: MIT */
/*
 * Anthropic Messages: POST /v1/messages, and the same body on Vertex (:rawPredict) and Bedrock (/invoke),
 * where the model stands in the path. Bedrock's stream is framed in a way of its own and not read.
 */
#include "llm/llm.h"

#include "base/cleanup.h"

static bool match(struct http_text path)
{
	static const char *const ends[] = {"/v1/messages", ":rawPredict", ":streamRawPredict",
					   "/invoke", "/invoke-with-response-stream"};

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		if (llm_path_ends(path, ends[i]))
			return true;
	}
	return false;
}

/*
 * Claude Code's metadata.user_id: "user_…_account_…_session_UUID", later a JSON object in a string. Of anybody
 * else it is the name of a person and not of a conversation.
 */
static void session_from_user(struct llm_request *r, struct value user_id)
{
	_cleanup_(buf_done) struct buf text = {0};
	const char *mark = "_session_";
	struct value v;
	char *at;

	if (value_kind(user_id) != VALUE_STRING || user_id.len > LLM_PARAM_MAX)
		return;
	value_text(user_id, &text);
	v = value_at(text.data, text.len);
	if (value_kind(v) == VALUE_OBJECT && value_whole(v)) {
		llm_set(&r->session, value_get(v, "session_id"));
		return;
	}
	at = text.len ? memmem(text.data, text.len, mark, strlen(mark)) : NULL;
	if (!at)
		return;
	at += strlen(mark);
	buf_add(&r->session, at, text.len - (size_t)(at - text.data));
}

/*
 * The results are the blocks of the last message; those before it were told with earlier requests. The text
 * beside them is what the user says. One pass: this is most of what there is to read.
 */
static void read_content(struct llm_request *r, struct value content)
{
	static const char *const keys[] = {"type", "tool_use_id", "content", "is_error", "text"};
	struct value_walk w = value_walk(content);
	struct value v[5];

	llm_request_said(r, content);
	while (value_next(&w)) {
		value_pick(w.item, keys, 5, v);
		if (value_is(v[0], "tool_result"))
			llm_request_result(r, v[1], (struct value){}, v[2], value_true(v[3]));
		else
			llm_request_said(r, v[4]);
	}
}

static void read_messages(struct llm_request *r, struct value messages)
{
	static const char *const keys[] = {"role", "content"};
	struct value_walk w = value_walk(messages);
	struct value v[2];

	value_copy(messages, &r->messages);
	while (value_next(&w)) {
		r->n_messages++;
		value_pick(w.item, keys, 2, v);
		if (value_is(v[0], "assistant")) {
			llm_request_answered(r);
		} else if (value_is(v[0], "user")) {
			read_content(r, v[1]);
		}
	}
}

static bool request(struct llm_request *r, const struct llm_source *from, struct value body)
{
	static const char *const keys[] = {"model",  "messages", "system",     "tools",
					   "stream", "metadata", "max_tokens", "anthropic_version"};
	enum { MODEL, MESSAGES, SYSTEM, TOOLS, STREAM, METADATA, MAX_TOKENS, VERSION, N };
	struct value v[N];
	struct value_walk w;

	value_pick(body, keys, N, v);
	if (value_kind(v[MESSAGES]) != VALUE_ARRAY && !(r->incomplete && v[MODEL].p))
		return false;
	/* Bedrock and Vertex serve other makers' models under these paths, too. */
	if (!v[MODEL].p && !v[VERSION].p)
		return false;
	llm_set(&r->model, v[MODEL]);
	if (!r->model.len) {
		llm_set_from_path(&r->model, from->path, "/models/", ":");
		llm_set_from_path(&r->model, from->path, "/model/", "/");
	}
	read_messages(r, v[MESSAGES]);
	if (v[SYSTEM].p)
		value_copy(v[SYSTEM], &r->system);
	for (w = value_walk(v[TOOLS]); value_next(&w);)
		llm_request_tool(r, value_get(w.item, "name"));
	llm_request_parameters(r, body, keys, MAX_TOKENS);
	session_from_user(r, value_get(v[METADATA], "user_id"));
	r->stream = value_true(v[STREAM]) || llm_path_ends(from->path, ":streamRawPredict") ||
		    llm_path_ends(from->path, "-stream");
	return true;
}

/* ---- answers ---- */

static void read_usage(struct llm_answer *a, struct value usage)
{
	static const char *const keys[] = {"input_tokens",
					   "output_tokens",
					   "cache_read_input_tokens",
					   "cache_creation_input_tokens",
					   "cache_creation",
					   "output_tokens_details"};
	struct value v[6], details;
	struct llm_usage *u = &a->usage;

	if (value_kind(usage) != VALUE_OBJECT)
		return;
	value_pick(usage, keys, 6, v);
	/* In a stream the numbers are sums so far: a later one replaces, and what it lacks stays. */
	u->known |= value_u64(v[0], &u->input);
	u->known |= value_u64(v[1], &u->output);
	value_u64(v[2], &u->cache_read);
	value_u64(v[3], &u->cache_write);
	value_u64(value_get(v[4], "ephemeral_1h_input_tokens"), &u->cache_write_1h);
	details = value_get(v[5], "thinking_tokens");
	value_u64(details.p ? details : value_get(v[5], "reasoning_tokens"), &u->reasoning);
	llm_answer_usage(a, usage);
}

static const struct {
	const char *type;
	enum llm_kind kind;
} block_types[] = {
	{"text", LLM_TEXT},
	{"thinking", LLM_REASONING},
	{"tool_use", LLM_TOOL},
	{"server_tool_use", LLM_SERVER_TOOL},
	{"mcp_tool_use", LLM_SERVER_TOOL},
};

/* A block as it is, or as it begins in a stream: then the input is {} and comes in pieces. */
static struct llm_block *read_block(struct llm_answer *a, uint64_t index, struct value block,
				    bool begins)
{
	static const char *const keys[] = {"type", "id", "name", "input", "text", "thinking"};
	struct llm_block *b;
	struct value v[6];
	size_t i = 0;

	value_pick(block, keys, 6, v);
	while (i < ARRAY_SIZE(block_types) && !value_is(v[0], block_types[i].type))
		i++;
	if (i == ARRAY_SIZE(block_types))
		return NULL;
	b = llm_block(a, block_types[i].kind, index, 0);
	if (!b)
		return NULL;
	llm_answer_set(a, &b->id, v[1]);
	llm_answer_set(a, &b->name, v[2]);
	if (v[3].p && !(begins && v[3].len == 2))
		llm_block_set(a, b, v[3]);
	llm_block_add(a, b, v[4]);
	llm_block_add(a, b, v[5]);
	return b;
}

static struct llm_block *block_at(struct llm_answer *a, uint64_t index)
{
	for (size_t i = a->n_blocks; i-- > 0;) {
		if (a->blocks[i].group == index)
			return &a->blocks[i];
	}
	return NULL;
}

static void read_delta(struct llm_answer *a, uint64_t index, struct value delta)
{
	static const char *const keys[] = {"type", "text", "partial_json", "thinking"};
	struct llm_block *b = block_at(a, index);
	struct value v[4];

	value_pick(delta, keys, 4, v);
	if (value_is(v[0], "text_delta"))
		llm_block_add(a, b ? b : llm_block(a, LLM_TEXT, index, 0), v[1]);
	else if (value_is(v[0], "input_json_delta"))
		llm_block_add(a, b, v[2]);
	else if (value_is(v[0], "thinking_delta"))
		llm_block_add(a, b ? b : llm_block(a, LLM_REASONING, index, 0), v[3]);
}

static void read_stop(struct llm_answer *a, struct value from)
{
	llm_answer_set(a, &a->stop_reason, value_get(from, "stop_reason"));
}

static void read_message(struct llm_answer *a, struct value message)
{
	static const char *const keys[] = {"id", "model", "usage", "content"};
	struct value v[4];
	struct value_walk w;
	uint64_t index = 0;

	value_pick(message, keys, 4, v);
	llm_answer_set(a, &a->id, v[0]);
	llm_answer_set(a, &a->model, v[1]);
	read_usage(a, v[2]);
	read_stop(a, message);
	for (w = value_walk(v[3]); !a->full && value_next(&w);)
		read_block(a, index++, w.item, false);
}

static void piece(struct llm_answer *a, struct value event)
{
	static const char *const keys[] = {"type",          "index", "message", "delta",
					   "content_block", "usage", "error"};
	enum { TYPE, INDEX, MESSAGE, DELTA, BLOCK, USAGE, ERROR, N };
	struct value v[N];
	uint64_t index = 0;

	value_pick(event, keys, N, v);
	value_u64(v[INDEX], &index);
	if (value_is(v[TYPE], "content_block_delta")) {
		read_delta(a, index, v[DELTA]);
	} else if (value_is(v[TYPE], "content_block_start")) {
		read_block(a, index, v[BLOCK], true);
	} else if (value_is(v[TYPE], "content_block_stop")) {
		llm_block_end(a, block_at(a, index));
	} else if (value_is(v[TYPE], "message_start")) {
		read_message(a, v[MESSAGE]);
	} else if (value_is(v[TYPE], "message_delta")) {
		read_stop(a, v[DELTA]);
		read_usage(a, v[USAGE]);
	} else if (value_is(v[TYPE], "message_stop")) {
		a->done = true;
		llm_blocks_end(a);
	} else if (value_is(v[TYPE], "message")) {
		read_message(a, event);
		a->done = true;
		llm_blocks_end(a);
	} else if (value_is(v[TYPE], "error")) {
		llm_answer_error(a, v[ERROR]);
	}
}

const struct llm_format llm_anthropic = {
	.name = "anthropic",
	.provider = "anthropic",
	.input_without_cache = true,
	.match = match,
	.request = request,
	.piece = piece,
};
