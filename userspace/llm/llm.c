/* SPDX-License-Identifier: MIT */
#include "llm/llm.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/hex.h"
#include "base/json.h"
#include "base/utf8.h"

/* The first that matches: what is special stands before what is general. */
static const struct llm_format *const formats[] = {
	&llm_anthropic, &llm_gemini, &llm_ollama, &llm_openai_responses, &llm_openai_chat,
};

/* ---- who is it? ---- */

/* A host's end, and a port where that is all there is. The names are those of OpenTelemetry. */
static const struct {
	const char *host;
	const char *provider;
} hosts[] = {
	{"api.anthropic.com", "anthropic"},
	{"api.openai.com", "openai"},
	{"chatgpt.com", "openai"},
	{".openai.azure.com", "azure.ai.openai"},
	{".cognitiveservices.azure.com", "azure.ai.openai"},
	{".services.ai.azure.com", "azure.ai.inference"},
	{"models.inference.ai.azure.com", "azure.ai.inference"},
	{"generativelanguage.googleapis.com", "gcp.gemini"},
	{"cloudcode-pa.googleapis.com", "gcp.gemini"},
	{"aiplatform.googleapis.com", "gcp.vertex_ai"},
	{".amazonaws.com", "aws.bedrock"},
	{"api.deepseek.com", "deepseek"},
	{"api.groq.com", "groq"},
	{"api.mistral.ai", "mistral_ai"},
	{"codestral.mistral.ai", "mistral_ai"},
	{"api.x.ai", "x_ai"},
	{"api.perplexity.ai", "perplexity"},
	{"api.cohere.ai", "cohere"},
	{"api.cohere.com", "cohere"},
	{"api.moonshot.ai", "moonshot_ai"},
	{"api.moonshot.cn", "moonshot_ai"},
	{"api.kimi.com", "moonshot_ai"},
	{"openrouter.ai", "openrouter"},
	{"api.together.xyz", "together_ai"},
	{"api.fireworks.ai", "fireworks_ai"},
	{"api.cerebras.ai", "cerebras"},
	{"api.z.ai", "z_ai"},
	{"api.minimax.io", "minimax"},
	{"dashscope.aliyuncs.com", "alibaba_cloud"},
	{"dashscope-intl.aliyuncs.com", "alibaba_cloud"},
	{"router.huggingface.co", "hugging_face"},
	{"api.githubcopilot.com", "github_copilot"},
	{"ollama.com", "ollama"},
};

static struct http_text without_port(struct http_text host)
{
	const char *colon = host.len ? memrchr(host.p, ':', host.len) : NULL;

	/* in [::1] a colon is no port's */
	if (colon && !memchr(colon, ']', (size_t)(host.p + host.len - colon)))
		host.len = (size_t)(colon - host.p);
	return host;
}

static bool host_is(struct http_text host, const char *name)
{
	size_t n = strlen(name);
	const char *tail;

	if (host.len < n)
		return false;
	tail = host.p + host.len - n;
	if (strncasecmp(tail, name, n))
		return false;
	/* a region stands before Google's with a dash, all else is a whole label */
	return host.len == n || name[0] == '.' || tail[-1] == '.' || tail[-1] == '-';
}

static const char *provider_of(struct http_text host, const char *otherwise)
{
	struct http_text name = without_port(host);

	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		if (host_is(name, hosts[i].host))
			return hosts[i].provider;
	}
	if (host.len - name.len == 6 && !memcmp(host.p + name.len, ":11434", 6))
		return "ollama";
	return otherwise;
}

bool llm_path_ends(struct http_text path, const char *end)
{
	const char *query = path.len ? memchr(path.p, '?', path.len) : NULL;
	size_t len = query ? (size_t)(query - path.p) : path.len;
	size_t n = strlen(end);

	return len >= n && !memcmp(path.p + len - n, end, n);
}

/* What only the first pieces of each say. */
#define ANSWER_BEGINS 1024

const struct llm_format *llm_format_of_answer(struct http_text body)
{
	static const struct {
		const char *mark;
		const struct llm_format *format;
	} marks[] = {
		{"\"message_start\"", &llm_anthropic},
		{"\"chat.completion.chunk\"", &llm_openai_chat},
		{"\"response.created\"", &llm_openai_responses},
		{"\"candidates\"", &llm_gemini},
	};
	size_t n = MIN(body.len, (size_t)ANSWER_BEGINS);

	for (size_t i = 0; n && i < ARRAY_SIZE(marks); i++) {
		if (memmem(body.p, n, marks[i].mark, strlen(marks[i].mark)))
			return marks[i].format;
	}
	return NULL;
}

const struct llm_format *llm_format_at(struct http_text path)
{
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		if (formats[i]->match(path))
			return formats[i];
	}
	return NULL;
}

/* ---- requests ---- */

/* Where agents name their conversation, before any place in the body. */
static const char *const session_headers[] = {
	"x-claude-code-session-id", "session_id", "session-id",         "x-session-id",
	"conversation_id",          "thread-id",  "x-session-affinity",
};

static void session_from_headers(struct llm_request *r, const struct llm_source *from)
{
	for (size_t i = 0; i < ARRAY_SIZE(session_headers); i++) {
		struct http_text t = from->header(from->context, session_headers[i]);

		if (t.len && t.len <= LLM_PARAM_MAX) {
			buf_reset(&r->session);
			buf_add(&r->session, t.p, t.len);
			return;
		}
	}
}

static bool request_failed(const struct llm_request *r)
{
	return r->model.failed || r->session.failed || r->system.failed || r->messages.failed ||
	       r->tools.failed || r->parameters.failed || r->prompt.failed || r->texts.failed;
}

const struct llm_format *llm_request_read(struct llm_request *r, const struct llm_source *from,
					  struct http_text body, bool whole)
{
	const struct llm_format *f = llm_format_at(from->path);
	struct value v = value_at(body.p, body.len);

	llm_request_reset(r);
	if (!f || value_kind(v) != VALUE_OBJECT)
		return NULL;
	r->provider = provider_of(from->host, f->provider);
	r->incomplete = !whole || !value_whole(v);
	if (!f->request(r, from, v)) {
		r->failed = request_failed(r);
		return NULL;
	}
	session_from_headers(r, from);
	value_text(r->said, &r->prompt);
	r->prompt_full = r->prompt.len;
	r->prompt.len = utf8_cut(r->prompt.data, r->prompt.len, LLM_PROMPT_MAX);
	if (r->tools.len)
		buf_add_char(&r->tools, ']');
	if (r->parameters.len)
		buf_add_char(&r->parameters, '}');
	r->failed = request_failed(r);
	return r->failed ? NULL : f;
}

bool llm_set(struct buf *b, struct value string)
{
	if (value_kind(string) != VALUE_STRING || string.len == 2)
		return true;
	buf_reset(b);
	return value_text_upto(string, b, LLM_NAME_MAX);
}

void llm_answer_set(struct llm_answer *a, struct buf *b, struct value string)
{
	size_t was = b->cap;

	a->cut |= !llm_set(b, string);
	a->memory += b->cap - was;
}

void llm_answer_name(struct llm_answer *a, struct buf *b, const char *name)
{
	size_t was = b->cap;

	buf_reset(b);
	buf_add_str(b, name);
	a->memory += b->cap - was;
}

void llm_set_from_path(struct buf *b, struct http_text path, const char *open, const char *close)
{
	const char *p = path.len ? memmem(path.p, path.len, open, strlen(open)) : NULL;
	const char *end, *stop;

	if (!p)
		return;
	p += strlen(open);
	end = path.p + path.len;
	stop = memmem(p, (size_t)(end - p), close, strlen(close));
	end = stop ? stop : end;
	buf_reset(b);
	for (; p < end && b->len < LLM_NAME_MAX; p++) {
		int high = *p == '%' && end - p > 2 ? hex_digit(p[1]) : -1;
		int low = high >= 0 ? hex_digit(p[2]) : -1;

		buf_add_char(b, low >= 0 ? (char)(high << 4 | low) : *p);
		p += low >= 0 ? 2 : 0;
	}
}

void llm_request_said(struct llm_request *r, struct value text)
{
	if (value_kind(text) == VALUE_STRING && text.len > 2)
		r->said = text;
}

void llm_request_prompt(struct llm_request *r, struct value content)
{
	struct value_walk w = value_walk(content);

	llm_request_said(r, content);
	while (value_kind(content) == VALUE_ARRAY && value_next(&w))
		llm_request_said(r, value_get(w.item, "text"));
}

void llm_request_tool(struct llm_request *r, struct value name)
{
	if (value_kind(name) != VALUE_STRING)
		return;
	buf_add_char(&r->tools, r->tools.len ? ',' : '[');
	value_copy(name, &r->tools);
}

static bool is_among(struct value key, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (value_is(key, names[i]))
			return true;
	}
	return false;
}

void llm_request_parameters(struct llm_request *r, struct value body, const char *const *without,
			    size_t n)
{
	struct value_walk w = value_walk(body);

	while (value_next(&w)) {
		if (w.item.len > LLM_PARAM_MAX || w.key.len > LLM_PARAM_MAX ||
		    r->parameters.len > 64 * LLM_PARAM_MAX || is_among(w.key, without, n))
			continue;
		buf_add_char(&r->parameters, r->parameters.len ? ',' : '{');
		value_copy(w.key, &r->parameters);
		buf_add_char(&r->parameters, ':');
		value_copy(w.item, &r->parameters);
	}
}

/* One level of blocks, in each of them one of content again: a tool's result holds text blocks. */
static void content_text(struct value content, struct buf *out, unsigned depth)
{
	static const char *const keys[] = {"text", "content", "output"};
	struct value v[3];
	struct value_walk w;

	if (value_kind(content) == VALUE_STRING) {
		value_text(content, out);
		return;
	}
	if (value_kind(content) == VALUE_OBJECT) {
		value_pick(content, keys, 3, v);
		for (size_t i = 0; i < 3 && depth; i++)
			content_text(v[i], out, depth - 1);
		return;
	}
	w = value_walk(content);
	while (depth && value_next(&w)) {
		if (value_kind(w.item) == VALUE_OBJECT || value_kind(w.item) == VALUE_STRING)
			content_text(w.item, out, depth - 1);
	}
}

void llm_content_text(struct value content, struct buf *out)
{
	content_text(content, out, 4);
}

void llm_request_answered(struct llm_request *r)
{
	r->n_results = 0;
	buf_reset(&r->texts);
}

static size_t result_word(struct llm_request *r, struct value word)
{
	size_t at = r->texts.len, len;

	value_text_upto(word, &r->texts, LLM_NAME_MAX);
	len = r->texts.len - at;
	buf_add_char(&r->texts, '\0');
	return len;
}

void llm_request_result(struct llm_request *r, struct value id, struct value name,
			struct value content, bool is_error)
{
	struct llm_result *result;

	if (r->n_results == LLM_RESULTS_MAX)
		return;
	result = &r->results[r->n_results++];
	*result = (struct llm_result){.id_at = r->texts.len, .is_error = is_error};
	result->id_len = result_word(r, id);
	result->name_at = r->texts.len;
	result->name_len = result_word(r, name);
	result->text_at = r->texts.len;
	llm_content_text(content, &r->texts);
	result->text_len = r->texts.len - result->text_at;
}

void llm_request_reset(struct llm_request *r)
{
	buf_reset(&r->model);
	buf_reset(&r->session);
	buf_reset(&r->system);
	buf_reset(&r->messages);
	buf_reset(&r->tools);
	buf_reset(&r->parameters);
	buf_reset(&r->prompt);
	buf_reset(&r->texts);
	r->said = (struct value){0};
	r->n_results = 0;
	r->n_messages = 0;
	r->provider = NULL;
	r->stream = r->incomplete = r->failed = false;
}

void llm_request_done(struct llm_request *r)
{
	buf_done(&r->model);
	buf_done(&r->session);
	buf_done(&r->system);
	buf_done(&r->messages);
	buf_done(&r->tools);
	buf_done(&r->parameters);
	buf_done(&r->prompt);
	buf_done(&r->texts);
}

/* ---- answers ---- */

bool llm_is_tool(const struct llm_block *b)
{
	return b->kind == LLM_TOOL || b->kind == LLM_SERVER_TOOL;
}

/* The newest first: pieces come for the block that came last. */
static struct llm_block *block_find(struct llm_answer *a, enum llm_kind kind, uint64_t group,
				    uint64_t part)
{
	for (size_t i = a->n_blocks; i-- > 0;) {
		struct llm_block *b = &a->blocks[i];

		if (b->group == group && b->part == part && b->kind == kind)
			return b;
	}
	return NULL;
}

static struct llm_block *block_new(struct llm_answer *a)
{
	/* doubles when the number is a power of two, from 1 on */
	if (!(a->n_blocks & (a->n_blocks - 1))) {
		size_t cap = a->n_blocks ? 2 * a->n_blocks : 1;
		void *p = reallocarray(a->blocks, cap, sizeof(*a->blocks));

		if (!p)
			return NULL;
		a->blocks = p;
		a->memory += (cap - a->n_blocks) * sizeof(*a->blocks);
	}
	return &a->blocks[a->n_blocks++];
}

static void note_first(struct llm_answer *a)
{
	if (!a->first_ns)
		a->first_ns = a->now_ns;
}

struct llm_block *llm_block(struct llm_answer *a, enum llm_kind kind, uint64_t group, uint64_t part)
{
	return block_find(a, kind, group, part) ?: llm_block_begin(a, kind, group, part);
}

struct llm_block *llm_block_begin(struct llm_answer *a, enum llm_kind kind, uint64_t group,
				  uint64_t part)
{
	bool room = a->n_blocks < LLM_BLOCKS_MAX && a->keep < LLM_KEEP_NUMBERS;
	struct llm_block *b = room ? block_new(a) : NULL;

	if (!b) {
		a->cut = a->full = true;
		return NULL;
	}
	*b = (struct llm_block){.kind = kind, .group = group, .part = part};
	if (llm_is_tool(b)) {
		note_first(a);
		a->n_tools++;
	}
	return b;
}

bool llm_block_cut(const struct llm_block *block)
{
	return block->full > block->text.len;
}

/* Bytes that may be added to @block. Behind what is missing nothing is put. */
static size_t block_room(const struct llm_answer *a, const struct llm_block *block)
{
	if (a->keep > LLM_KEEP_TEXTS || llm_block_cut(block) || a->bytes >= LLM_TEXT_MAX)
		return 0;
	return LLM_TEXT_MAX - a->bytes;
}

static size_t text_length(struct value string)
{
	_cleanup_(buf_done) struct buf text = {0};

	value_text(string, &text);
	return text.failed ? string.len - 2 : text.len;
}

/* As much of a string as there is room for. */
static bool put_string(struct buf *out, struct value string, size_t room)
{
	return room && value_text_upto(string, out, room);
}

/* JSON has no beginning that is JSON. */
static bool put_json(struct buf *out, struct value v, size_t room)
{
	if (v.len > room)
		return false;
	value_copy(v, out);
	return !out->failed;
}

/* Behind the items that there are already; as they stand when there is no room for more. */
static bool put_items(struct buf *out, struct value array, size_t room)
{
	size_t len = out->len;

	if (!put_json(out, array, room)) {
		out->len = len;
		return false;
	}
	out->data[len - 1] = ',';
	memmove(out->data + len, out->data + len + 1, out->len - len - 1);
	out->len--;
	return true;
}

static void block_put(struct llm_answer *a, struct llm_block *block, struct value v,
		      bool (*put)(struct buf *out, struct value v, size_t room))
{
	size_t room = block_room(a, block), len = block->text.len, cap = block->text.cap;
	bool whole;

	note_first(a);
	whole = put(&block->text, v, room);
	a->bytes += block->text.len - len;
	a->memory += block->text.cap - cap;
	if (whole)
		block->full += block->text.len - len;
	else
		block->full += value_kind(v) == VALUE_STRING ? text_length(v) : v.len;
	a->cut |= !whole;
}

void llm_block_add(struct llm_answer *a, struct llm_block *block, struct value string)
{
	if (block && value_kind(string) == VALUE_STRING && string.len > 2)
		block_put(a, block, string, put_string);
}

void llm_block_set(struct llm_answer *a, struct llm_block *block, struct value v)
{
	if (!block || value_kind(v) == VALUE_NONE)
		return;
	a->bytes -= block->text.len;
	block->full = 0;
	buf_reset(&block->text);
	if (value_kind(v) != VALUE_NULL && !(value_kind(v) == VALUE_STRING && v.len == 2))
		block_put(a, block, v, value_kind(v) == VALUE_STRING ? put_string : put_json);
}

void llm_block_extend(struct llm_answer *a, struct llm_block *block, struct value array)
{
	struct value_walk w = value_walk(array);

	if (block && value_kind(array) == VALUE_ARRAY && value_next(&w))
		block_put(a, block, array, block->text.len ? put_items : put_json);
}

void llm_block_end(struct llm_answer *a, struct llm_block *block)
{
	if (!block || block->done)
		return;
	block->done = true;
	block->done_ns = a->now_ns;
}

void llm_blocks_end(struct llm_answer *a)
{
	for (size_t i = 0; i < a->n_blocks; i++)
		llm_block_end(a, &a->blocks[i]);
}

static void error_add(struct llm_answer *a, struct value v)
{
	struct buf *b = &a->error;
	size_t room = LLM_ERROR_MAX - MIN(b->len, (size_t)LLM_ERROR_MAX);

	if (value_kind(v) == VALUE_STRING)
		a->cut |= !value_text_upto(v, b, room);
	else if (v.len <= room)
		value_copy(v, b);
}

static void error_whole(struct llm_answer *a, struct value text)
{
	if (text.len == 2)
		return;
	buf_reset(&a->error);
	error_add(a, text);
}

static void error_part(struct llm_answer *a, struct value v)
{
	if (value_kind(v) != VALUE_STRING && value_kind(v) != VALUE_NUMBER)
		return;
	if (a->error.len)
		buf_add_lit(&a->error, ": ");
	error_add(a, v);
}

static void read_error(struct llm_answer *a, struct value error)
{
	static const char *const keys[] = {"error", "type", "code", "status", "message", "detail"};
	enum { ERROR, TYPE, CODE, STATUS, MESSAGE, DETAIL, N };
	struct value v[N];

	if (value_kind(error) == VALUE_STRING)
		error_whole(a, error);
	if (value_kind(error) != VALUE_OBJECT)
		return;
	value_pick(error, keys, N, v);
	if (value_kind(v[ERROR]) == VALUE_OBJECT || value_kind(v[ERROR]) == VALUE_STRING) {
		/* once: what is wrapped deeper is no provider's */
		error = v[ERROR];
		if (value_kind(error) == VALUE_STRING) {
			error_whole(a, error);
			return;
		}
		value_pick(error, keys, N, v);
	}
	buf_reset(&a->error);
	if (value_kind(v[STATUS]) == VALUE_STRING)
		error_part(a, v[STATUS]);
	else if (value_kind(v[TYPE]) == VALUE_STRING && !value_is(v[TYPE], "error"))
		error_part(a, v[TYPE]);
	else
		error_part(a, v[CODE]);
	error_part(a, value_kind(v[MESSAGE]) == VALUE_STRING ? v[MESSAGE] : v[DETAIL]);
}

void llm_answer_error(struct llm_answer *a, struct value error)
{
	size_t was = a->error.cap;

	read_error(a, error);
	a->memory += a->error.cap - was;
}

void llm_answer_error_body(struct llm_answer *a, unsigned status, struct http_text reason,
			   struct http_text body)
{
	struct value v = value_at(body.p, body.len);
	struct value_walk w = value_walk(v);

	/* Gemini's stream wraps its error in an array. */
	if (value_kind(v) == VALUE_ARRAY && value_next(&w))
		v = w.item;
	if (value_whole(v))
		llm_answer_error(a, v);
	if (a->error.len)
		return;
	buf_printf(&a->error, "HTTP %u", status);
	if (reason.len) {
		buf_add_char(&a->error, ' ');
		buf_add(&a->error, reason.p, reason.len);
	}
}

/* Does @object have a member of this name? Compared as written. */
static bool has_key(struct value object, struct value key)
{
	struct value_walk w = value_walk(object);

	while (value_next(&w)) {
		if (w.key.len == key.len && !memcmp(w.key.p, key.p, key.len))
			return true;
	}
	return false;
}

static void put_members(struct buf *out, struct value object, struct value without)
{
	struct value_walk w = value_walk(object);

	while (value_next(&w)) {
		if (has_key(without, w.key))
			continue;
		if (out->len > 1)
			buf_add_char(out, ',');
		value_copy(w.key, out);
		buf_add_char(out, ':');
		value_copy(w.item, out);
	}
}

void llm_answer_usage(struct llm_answer *a, struct value usage)
{
	struct value before = value_at(a->usage_raw.data, a->usage_raw.len);
	struct buf merged = {0};

	if (value_kind(usage) != VALUE_OBJECT || a->keep == LLM_KEEP_NUMBERS)
		return;
	if (usage.len > LLM_USAGE_MAX) {
		a->cut = true;
		return;
	}
	buf_add_char(&merged, '{');
	/* what a stranger can make long is compared member by member only while it is short */
	if (before.len <= LLM_USAGE_MAX)
		put_members(&merged, before, usage);
	put_members(&merged, usage, (struct value){0});
	buf_add_char(&merged, '}');
	a->memory += merged.cap - a->usage_raw.cap;
	buf_done(&a->usage_raw);
	a->usage_raw = merged;
}

void llm_answer_piece(struct llm_answer *a, const struct llm_format *f, const char *p, size_t n)
{
	struct value v = value_at(p, n);

	a->full = false;
	if (v.len == 6 && !memcmp(v.p, "[DONE]", 6)) {
		a->done = a->last = true;
		llm_blocks_end(a);
		return;
	}
	if (!value_whole(v))
		return;
	if (value_kind(v) == VALUE_OBJECT)
		f->piece(a, v);
}

/* By group; within one, as they came. Nearly always they are in order already. */
static void sort_blocks(struct llm_answer *a)
{
	for (size_t i = 1; i < a->n_blocks; i++) {
		struct llm_block b = a->blocks[i];
		size_t k = i;

		for (; k > 0 && a->blocks[k - 1].group > b.group; k--)
			a->blocks[k] = a->blocks[k - 1];
		a->blocks[k] = b;
	}
}

void llm_answer_text(struct llm_answer *a, enum llm_kind kind, struct buf *out)
{
	size_t start = out->len;
	uint64_t group = 0;
	bool gap = false;

	sort_blocks(a);
	for (size_t i = 0; i < a->n_blocks; i++) {
		const struct llm_block *b = &a->blocks[i];

		if (b->kind != kind) {
			gap = true;
			continue;
		}
		if (!b->text.len)
			continue;
		gap |= a->choices && b->group != group;
		group = b->group;
		if (gap && out->len > start)
			buf_add_lit(out, "\n\n");
		gap = false;
		buf_add(out, b->text.data, b->text.len);
	}
}

uint64_t llm_answer_left_out(const struct llm_answer *a, enum llm_kind kind)
{
	uint64_t n = a->forgotten[kind];

	for (size_t i = 0; i < a->n_blocks; i++) {
		if (a->blocks[i].kind == kind)
			n += a->blocks[i].full - a->blocks[i].text.len;
	}
	return n;
}

void llm_block_input(const struct llm_block *b, struct buf *out)
{
	struct value v = value_at(b->text.data, b->text.len);
	bool json = !b->text_input && !llm_block_cut(b);

	if (json && !b->text.len)
		buf_add_lit(out, "{}");
	else if (json && value_whole(v))
		value_copy(v, out);
	else
		json_string(out, b->text.data, b->text.len);
}

void llm_answer_tool_calls(struct llm_answer *a, struct buf *out)
{
	size_t start;

	sort_blocks(a);
	buf_add_char(out, '[');
	start = out->len;
	for (size_t i = 0; i < a->n_blocks; i++) {
		const struct llm_block *b = &a->blocks[i];

		if (!llm_is_tool(b))
			continue;
		if (out->len > start)
			buf_add_char(out, ',');
		buf_add_lit(out, "{\"id\":");
		json_string(out, b->id.data, b->id.len);
		buf_add_lit(out, ",\"name\":");
		json_string(out, b->name.data, b->name.len);
		buf_add_lit(out, ",\"input\":");
		llm_block_input(b, out);
		if (b->kind == LLM_SERVER_TOOL)
			buf_add_lit(out, ",\"server\":true");
		if (llm_block_cut(b))
			buf_add_lit(out, ",\"truncated\":true");
		buf_add_char(out, '}');
	}
	buf_add_char(out, ']');
}

/* ---- memory ---- */

static void blocks_done(struct llm_answer *a)
{
	for (size_t i = 0; i < a->n_blocks; i++) {
		buf_done(&a->blocks[i].id);
		buf_done(&a->blocks[i].name);
		buf_done(&a->blocks[i].text);
	}
	free(TAKE_PTR(a->blocks));
	a->n_blocks = 0;
	a->bytes = 0;
}

/* Half an input is of no use. */
static void block_shorten(struct llm_answer *a, struct llm_block *b)
{
	size_t len = b->text.len, cap = b->text.cap;

	if (len > LLM_BEGIN_MAX)
		b->text.len = llm_is_tool(b) ? 0 : utf8_cut(b->text.data, len, LLM_BEGIN_MAX);
	buf_bound(&b->text, LLM_BEGIN_MAX);
	a->bytes -= len - b->text.len;
	a->memory -= cap - b->text.cap;
	a->cut |= llm_block_cut(b);
}

static void blocks_forget(struct llm_answer *a)
{
	for (size_t i = LLM_TEXT; i < LLM_KINDS; i++)
		a->forgotten[i] = llm_answer_left_out(a, i);
	for (size_t i = 0; i < a->n_blocks; i++)
		a->forgotten[a->blocks[i].kind] += a->blocks[i].text.len;
	a->cut |= a->n_blocks > 0;
	blocks_done(a);
	buf_done(&a->usage_raw);
	a->memory = a->model.cap + a->id.cap + a->stop_reason.cap + a->error.cap;
}

void llm_answer_less(struct llm_answer *a)
{
	if (a->keep == LLM_KEEP_NUMBERS)
		return;
	if (++a->keep == LLM_KEEP_NUMBERS)
		blocks_forget(a);
	for (size_t i = 0; i < a->n_blocks; i++)
		block_shorten(a, &a->blocks[i]);
}

void llm_answer_done(struct llm_answer *a)
{
	blocks_done(a);
	buf_done(&a->model);
	buf_done(&a->id);
	buf_done(&a->stop_reason);
	buf_done(&a->error);
	buf_done(&a->usage_raw);
	*a = (struct llm_answer){0};
}
