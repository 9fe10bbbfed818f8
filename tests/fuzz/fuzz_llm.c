/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a request, as an answer and as prices. What comes out is JSON that a strict parser takes, on
 * one line and in UTF-8; an answer does not depend on how its body was cut; and what the walker takes
 * for a value is one to json-c as well.
 *
 * The first byte chooses the format, the second the size of the portions.
 */
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "llm/llm.h"
#include "llm/pieces.h"
#include "llm/price.h"

#include "json_c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct {
	const struct llm_format *format;
	const char *path;
} formats[] = {
	{&llm_anthropic, "/v1/messages"},
	{&llm_openai_chat, "/v1/chat/completions"},
	{&llm_openai_responses, "/v1/responses"},
	{&llm_gemini, "/v1beta/models/m%2:streamGenerateContent"},
	{&llm_ollama, "/api/chat"},
	{&llm_anthropic, "/model/a%41b/invoke"},
};
#define N_FORMATS (sizeof(formats) / sizeof(formats[0]))

static void check_json(const struct buf *b)
{
	must(!b->failed);
	if (!b->len)
		return;
	must(value_whole(value_at(b->data, b->len)));
	must(utf8_valid_prefix(b->data, b->len) == b->len);
	must(!memchr(b->data, '\n', b->len));
	must(json_c_takes(b->data, b->len, JSON_TOKENER_VALIDATE_UTF8));
}

static void fuzz_value(const char *p, size_t n)
{
	struct value v = value_at(p, n);
	struct buf copy = {0}, again = {0};

	if (!value_whole(v))
		return;
	value_copy(v, &copy);
	check_json(&copy);
	/* a copy has nothing left to leave out */
	value_copy(value_at(copy.data, copy.len), &again);
	must(again.len == copy.len && !memcmp(again.data, copy.data, copy.len));
	buf_done(&copy);
	buf_done(&again);
}

static struct http_text no_header(const void *context, const char *name)
{
	return (struct http_text){0};
}

static void fuzz_request(const char *path, const char *p, size_t n)
{
	const struct llm_source from = {
		.path = {path, strlen(path)},
		.host = {p, n < 40 ? n : 40},
		.header = no_header,
	};
	static struct llm_request r;

	if (llm_request_read(&r, &from, (struct http_text){p, n}, n % 2)) {
		check_json(&r.system);
		check_json(&r.messages);
		check_json(&r.tools);
		check_json(&r.parameters);
		must(r.prompt.len <= LLM_PROMPT_MAX);
	}
	llm_request_done(&r);
}

struct reading {
	struct llm_answer answer;
	const struct llm_format *format;
	struct pieces pieces;
};

static void take_piece(void *context, const char *p, size_t n)
{
	struct reading *r = context;

	llm_answer_piece(&r->answer, r->format, p, n);
}

static void read_answer(const struct llm_format *f, const char *p, size_t n, size_t step,
			struct buf *out)
{
	struct reading r = {.format = f};
	struct buf calls = {0};

	pieces_begin(&r.pieces, false, take_piece, &r);
	for (size_t at = 0; at < n; at += step)
		pieces_feed(&r.pieces, p + at, n - at < step ? n - at : step);
	llm_answer_tool_calls(&r.answer, &calls);
	check_json(&calls);
	check_json(&r.answer.usage_raw);
	llm_answer_text(&r.answer, LLM_TEXT, out);
	llm_answer_text(&r.answer, LLM_REASONING, out);
	buf_add(out, calls.data, calls.len);
	buf_add(out, r.answer.usage_raw.data, r.answer.usage_raw.len);
	buf_add(out, r.answer.error.data, r.answer.error.len);
	buf_printf(out, "%llu %llu %d", (unsigned long long)r.answer.usage.input,
		   (unsigned long long)r.answer.usage.output, r.answer.done);
	llm_answer_error_body(&r.answer, 500, (struct http_text){0}, (struct http_text){p, n});
	buf_done(&calls);
	pieces_done(&r.pieces);
	llm_answer_done(&r.answer);
}

static void fuzz_prices(const char *p, size_t n)
{
	const struct llm_usage usage = {1, UINT64_MAX, 3, 4, 5, 6, true};
	struct prices *t;
	struct err err;
	uint64_t cost;

	must(prices_new(&t) == 0);
	prices_parse(t, "fuzz", p, n, &err);
	prices_cost(t, "anthropic", "claude", &usage, n % 2, &cost);
	prices_free(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *p = (const char *)data + 2;
	struct buf whole = {0}, parts = {0};
	size_t which, step;

	if (size < 2 || size > INT_MAX / 8)
		return 0;
	which = data[0] % N_FORMATS;
	step = data[1] % 32 + 1;
	size -= 2;

	fuzz_value(p, size);
	fuzz_request(formats[which].path, p, size);
	read_answer(formats[which].format, p, size, size ? size : 1, &whole);
	read_answer(formats[which].format, p, size, step, &parts);
	must(whole.len == parts.len && !memcmp(whole.data, parts.data, whole.len));
	fuzz_prices(p, size);
	buf_done(&whole);
	buf_done(&parts);
	return 0;
}
