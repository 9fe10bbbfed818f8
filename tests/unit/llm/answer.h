/* SPDX-License-Identifier: MIT */
/*
 * Recorded bodies, read the way the stage reads them: as one portion and byte by byte, which must not
 * differ. What was understood becomes a text that a test compares as a whole.
 */
#ifndef AGENTSIGHT_TESTS_ANSWER_H
#define AGENTSIGHT_TESTS_ANSWER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "llm/llm.h"
#include "llm/pieces.h"

static inline struct buf fixture(const char *name)
{
	struct buf b = {0};
	char path[256];
	FILE *f;
	int c;

	snprintf(path, sizeof(path), "tests/unit/llm/fixtures/%s", name);
	f = fopen(path, "re");
	if (!f)
		fail_msg("%s is not there; run the tests in the repository's root", path);
	while ((c = getc(f)) != EOF)
		buf_add_char(&b, (char)c);
	fclose(f);
	return b;
}

struct reading {
	struct llm_answer answer;
	const struct llm_format *format;
	struct pieces pieces;
};

static inline void reading_piece(void *context, const char *p, size_t n)
{
	struct reading *r = context;

	llm_answer_piece(&r->answer, r->format, p, n);
}

static inline void show_buf(struct buf *out, const char *name, const struct buf *b)
{
	if (!b->len)
		return;
	buf_printf(out, "%s=", name);
	buf_add(out, b->data, b->len);
	buf_add_char(out, '\n');
}

/* Of what is empty or zero nothing is said. */
static inline void answer_show(struct llm_answer *a, struct buf *out)
{
	const struct llm_usage *u = &a->usage;
	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = {
		{"in", u->input},
		{"out", u->output},
		{"cache_read", u->cache_read},
		{"cache_write", u->cache_write},
		{"1h", u->cache_write_1h},
		{"reasoning", u->reasoning},
	};
	struct buf text = {0};

	show_buf(out, "model", &a->model);
	show_buf(out, "id", &a->id);
	llm_answer_text(a, LLM_REASONING, &text);
	show_buf(out, "reasoning", &text);
	buf_reset(&text);
	llm_answer_text(a, LLM_TEXT, &text);
	show_buf(out, "text", &text);
	buf_reset(&text);
	llm_answer_tool_calls(a, &text);
	if (text.len > 2)
		show_buf(out, "calls", &text);
	buf_done(&text);
	show_buf(out, "stop", &a->stop_reason);
	show_buf(out, "error", &a->error);
	buf_add_str(out, u->known ? "usage" : "usage unknown");
	for (size_t i = 0; i < 6; i++) {
		if (numbers[i].value)
			buf_printf(out, " %s=%llu", numbers[i].name,
				   (unsigned long long)numbers[i].value);
	}
	buf_printf(out, "\n%s%s\n", a->done ? "done" : "incomplete", a->cut ? " cut" : "");
}

/* In portions of @step bytes. The time of each is its offset, from 1 on. */
static inline void answer_read(struct reading *r, const struct llm_format *f, const char *p,
			       size_t n, size_t step)
{
	*r = (struct reading){.format = f};
	pieces_begin(&r->pieces, false, reading_piece, r);
	for (size_t at = 0; at < n; at += step) {
		char *portion;

		step = n - at < step ? n - at : step;
		portion = malloc(step);
		assert_non_null(portion);
		r->answer.now_ns = at + 1;
		memcpy(portion, p + at, step);
		pieces_feed(&r->pieces, portion, step);
		free(portion);
	}
}

static inline void reading_done(struct reading *r)
{
	pieces_done(&r->pieces);
	llm_answer_done(&r->answer);
}

static inline void assert_answer_text(const struct llm_format *f, const char *p, size_t n,
				      const char *want)
{
	const size_t steps[] = {n, 1, 7, 1024};

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		struct buf got = {0};
		struct reading r;

		answer_read(&r, f, p, n, steps[i] ? steps[i] : 1);
		answer_show(&r.answer, &got);
		assert_string_equal(buf_cstr(&got), want);
		buf_done(&got);
		reading_done(&r);
	}
}

static inline void assert_answer(const struct llm_format *f, const char *name, const char *want)
{
	struct buf b = fixture(name);

	assert_answer_text(f, b.data, b.len, want);
	buf_done(&b);
}

/* Requests: what was understood, in the same manner. */
struct http_said {
	const char *path;
	const char *host;
	const char *header; /* "name: value", NULL: none */
};

static inline struct http_text said_header(const void *context, const char *name)
{
	const struct http_said *said = context;
	size_t n = strlen(name);

	if (!said->header || strncmp(said->header, name, n) || said->header[n] != ':')
		return (struct http_text){0};
	return (struct http_text){said->header + n + 2, strlen(said->header + n + 2)};
}

static inline void request_show(const struct llm_format *f, const struct llm_request *r,
				struct buf *out)
{
	if (!f) {
		buf_add_str(out, "none\n");
		return;
	}
	buf_printf(out, "%s provider=%s%s%s\n", f->name, r->provider, r->stream ? " stream" : "",
		   r->incomplete ? " incomplete" : "");
	show_buf(out, "model", &r->model);
	show_buf(out, "session", &r->session);
	show_buf(out, "system", &r->system);
	show_buf(out, "messages", &r->messages);
	buf_printf(out, "n=%llu\n", (unsigned long long)r->n_messages);
	show_buf(out, "prompt", &r->prompt);
	show_buf(out, "tools", &r->tools);
	show_buf(out, "parameters", &r->parameters);
	for (size_t i = 0; i < r->n_results; i++) {
		const struct llm_result *x = &r->results[i];

		buf_printf(out, "result %s%s%s%s: %.*s\n", r->texts.data + x->id_at,
			   x->name_len ? "=" : "", r->texts.data + x->name_at,
			   x->is_error ? " error" : "", (int)x->text_len,
			   r->texts.data + x->text_at);
	}
}

static inline void assert_request(struct http_said said, const char *body, size_t n, bool whole,
				  const char *want)
{
	const struct llm_source from = {
		.path = {said.path, strlen(said.path)},
		.host = {said.host, strlen(said.host)},
		.header = said_header,
		.context = &said,
	};
	struct llm_request *r = calloc(1, sizeof(*r));
	const struct llm_format *f;
	struct buf got = {0};

	assert_non_null(r);
	f = llm_request_read(r, &from, (struct http_text){body, n}, whole);
	request_show(f, r, &got);
	assert_string_equal(buf_cstr(&got), want);
	buf_done(&got);
	llm_request_done(r);
	free(r);
}

#define assert_request_text(body, want, ...) \
	assert_request((struct http_said){__VA_ARGS__}, body, strlen(body), true, want)

#endif
