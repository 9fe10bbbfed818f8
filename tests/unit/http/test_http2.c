/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <malloc.h>
#include <zlib.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "http/http2.h"
#include "http/http2_frame.h"
#include "http/http2_hpack.h"

#define CORPUS    "tests/unit/http/corpus/"
#define CALLS_MAX 8192
#define FAR_END   (HTTP2_END_STREAM | HTTP2_END_HEADERS)

/* ---- what came out, as text ---- */

/* "1> GET h /p", "1> a: b", "1> .", "1> [body]", "1> end" or "1> cut"; of a response "1< 200". */
struct told {
	struct buf text;
	uint64_t body_id; /* the last line is a body of this message */
	enum http_side body_side;
	bool in_body;
	bool brief; /* only numbers, for long recordings */
	size_t begun[2], complete[2], cut[2], lost[2], headers[2];
	uint64_t body[2];
	const void *body_at;
};

static void line(struct told *t, uint64_t id, enum http_side side)
{
	if (t->in_body)
		buf_add_lit(&t->text, "]\n");
	t->in_body = false;
	buf_printf(&t->text, "%llu%c ", (unsigned long long)id, side == HTTP_REQUEST ? '>' : '<');
}

static void on_begin(void *context, uint64_t id, enum http_side side, const struct http_head *head)
{
	struct told *t = context;

	assert_int_equal(head->version, 20);
	t->begun[side]++;
	if (t->brief)
		return;
	line(t, id, side);
	if (side == HTTP_REQUEST)
		buf_printf(&t->text, "%.*s %.*s %.*s\n", (int)head->method.len, head->method.p,
			   (int)head->authority.len, head->authority.p, (int)head->path.len,
			   head->path.p);
	else
		buf_printf(&t->text, "%u\n", head->status);
}

static void on_header(void *context, uint64_t id, enum http_side side, struct http_text name,
		      struct http_text value)
{
	struct told *t = context;

	t->headers[side]++;
	if (t->brief)
		return;
	line(t, id, side);
	buf_add(&t->text, name.p, name.len);
	buf_add_lit(&t->text, ": ");
	buf_add(&t->text, value.p, value.len);
	buf_add_char(&t->text, '\n');
}

static void on_headers_done(void *context, uint64_t id, enum http_side side)
{
	struct told *t = context;

	if (t->brief)
		return;
	line(t, id, side);
	buf_add_lit(&t->text, ".\n");
}

static void on_body(void *context, uint64_t id, enum http_side side, struct http_text piece)
{
	struct told *t = context;

	assert_true(piece.len > 0);
	t->body[side] += piece.len;
	t->body_at = piece.p;
	if (t->brief)
		return;
	if (!t->in_body || t->body_id != id || t->body_side != side) {
		line(t, id, side);
		buf_add_char(&t->text, '[');
	}
	t->in_body = true;
	t->body_id = id;
	t->body_side = side;
	buf_add(&t->text, piece.p, piece.len);
}

static void on_end(void *context, uint64_t id, enum http_side side, bool complete)
{
	struct told *t = context;

	(complete ? t->complete : t->cut)[side]++;
	if (t->brief)
		return;
	line(t, id, side);
	buf_add_str(&t->text, complete ? "end\n" : "cut\n");
}

static void on_lost(void *context, enum http_side side)
{
	struct told *t = context;

	t->lost[side]++;
}

static const struct http_parser_ops ops = {
	.lost = on_lost,
	.begin = on_begin,
	.header = on_header,
	.headers_done = on_headers_done,
	.body = on_body,
	.end = on_end,
};

/* ---- what goes in ---- */

enum act {
	FEED,
	GAP,
	SKIP,
	END,
};

struct script {
	struct buf bytes;
	struct {
		enum act act;
		enum http_side side;
		size_t begin, len;
	} calls[CALLS_MAX];
	size_t n;
};

enum splitting {
	WHOLE,
	SINGLE,
	RANDOM,
	N_SPLITTINGS = RANDOM + 5,
};

static size_t piece_of(size_t n, int splitting)
{
	size_t piece = n;

	if (splitting == SINGLE)
		piece = 1;
	else if (splitting >= RANDOM)
		piece = (size_t)rand() % (splitting % 2 ? 7 : 60) + 1;
	return MIN(piece, n);
}

static void feed_split(struct http2 *h, enum http_side side, const char *p, size_t n, int splitting)
{
	while (n > 0) {
		size_t piece = piece_of(n, splitting);
		/* Of its own, so that the sanitizer sees what is read behind it, or later. */
		char *copy = malloc(piece);

		assert_non_null(copy);
		memcpy(copy, p, piece);
		http2_feed(h, side, copy, piece);
		free(copy);
		p += piece;
		n -= piece;
	}
}

static void script_run(const struct script *s, struct http2 *h, int splitting)
{
	for (size_t i = 0; i < s->n; i++) {
		enum http_side side = s->calls[i].side;

		if (s->calls[i].act == FEED)
			feed_split(h, side, s->bytes.data + s->calls[i].begin, s->calls[i].len,
				   splitting);
		else if (s->calls[i].act == GAP)
			http2_gap(h, side);
		else if (s->calls[i].act == SKIP)
			http2_skip(h, side, s->calls[i].len);
		else
			http2_eof(h, side);
	}
}

static struct http2 *run_told(const struct script *s, int splitting, struct told *t)
{
	struct http2 *h;

	assert_int_equal(http2_new(&ops, t, &h), 0);
	script_run(s, h, splitting);
	return h;
}

static void expect(const struct script *s, const char *expected)
{
	for (int splitting = 0; splitting < N_SPLITTINGS; splitting++) {
		struct told t = {.brief = false};
		struct http2 *h = run_told(s, splitting, &t);

		assert_string_equal(buf_cstr(&t.text), expected);
		assert_false(http2_failed(h, NULL));
		http2_free(h);
		buf_done(&t.text);
	}
}

static void call_add(struct script *s, enum act act, enum http_side side, const void *p, size_t n)
{
	assert_true(s->n < CALLS_MAX);
	s->calls[s->n].act = act;
	s->calls[s->n].side = side;
	s->calls[s->n].begin = s->bytes.len;
	s->calls[s->n++].len = n;
	if (act == FEED)
		buf_add(&s->bytes, p, n);
}

static void frame(struct script *s, enum http_side side, uint8_t type, uint8_t flags, uint32_t id,
		  const void *payload, size_t n)
{
	_cleanup_(buf_done) struct buf b = {0};
	const uint8_t head[] = {
		(uint8_t)(n >> 16),  (uint8_t)(n >> 8),   (uint8_t)n,         type,       flags,
		(uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id};

	buf_add(&b, head, sizeof(head));
	buf_add(&b, payload, n);
	call_add(s, FEED, side, b.data, b.len);
}

static void data(struct script *s, enum http_side side, uint32_t id, uint8_t flags,
		 const char *text)
{
	frame(s, side, HTTP2_DATA, flags, id, text, strlen(text));
}

static void length_put(struct buf *b, size_t n)
{
	if (n < 127) {
		buf_add_char(b, (char)n);
		return;
	}
	buf_add_char(b, 127);
	for (n -= 127; n >= 128; n >>= 7)
		buf_add_char(b, (char)(n | 128));
	buf_add_char(b, (char)n);
}

static void text_put(struct buf *b, const char *text)
{
	length_put(b, strlen(text));
	buf_add_str(b, text);
}

/* @how: 0x00 leaves the table alone, 0x40 adds to it. */
static void field_put(struct buf *b, uint8_t how, const char *name, const char *value)
{
	buf_add_char(b, (char)how);
	text_put(b, name);
	text_put(b, value);
}

/* HEADERS of "name", "value", ..., NULL. */
static void headers(struct script *s, enum http_side side, uint32_t id, int flags, ...)
{
	_cleanup_(buf_done) struct buf b = {0};
	const char *name;
	va_list ap;

	va_start(ap, flags);
	while ((name = va_arg(ap, const char *)))
		field_put(&b, 0x40, name, va_arg(ap, const char *));
	va_end(ap);
	frame(s, side, HTTP2_HEADERS, (uint8_t)flags, id, b.data, b.len);
}

static void start(struct script *s)
{
	call_add(s, FEED, HTTP_REQUEST, HTTP2_PREFACE, HTTP2_PREFACE_LEN);
	frame(s, HTTP_REQUEST, HTTP2_SETTINGS, 0, 0, "\0\3\0\0\0\144", 6);
	frame(s, HTTP_RESPONSE, HTTP2_SETTINGS, 0, 0, NULL, 0);
	frame(s, HTTP_RESPONSE, HTTP2_SETTINGS, HTTP2_ACK, 0, NULL, 0);
	frame(s, HTTP_REQUEST, HTTP2_SETTINGS, HTTP2_ACK, 0, NULL, 0);
}

static struct script *script(void **state)
{
	return *state;
}

static int setup(void **state)
{
	*state = calloc(1, sizeof(struct script));
	srand(1);
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	struct script *s = *state;

	buf_done(&s->bytes);
	free(s);
	return 0;
}

/* ---- messages ---- */

static void test_a_request_and_its_response(void **state)
{
	struct script *s = script(state);

	start(s);
	headers(s, HTTP_REQUEST, 1, FAR_END, ":method", "GET", ":scheme", "https", ":authority",
		"h", ":path", "/p?q", "accept", "x", NULL);
	headers(s, HTTP_RESPONSE, 1, HTTP2_END_HEADERS, ":status", "200", "a", "b", NULL);
	data(s, HTTP_RESPONSE, 1, 0, "hel");
	data(s, HTTP_RESPONSE, 1, HTTP2_END_STREAM, "lo");
	expect(s, "1> GET h /p?q\n1> accept: x\n1> .\n1> end\n"
		  "1< 200\n1< a: b\n1< .\n1< [hello]\n1< end\n");
}

static void test_padding_and_priority_are_not_told(void **state)
{
	struct script *s = script(state);

	start(s);
	frame(s, HTTP_REQUEST, HTTP2_HEADERS, HTTP2_END_HEADERS | HTTP2_PADDED | HTTP2_HAS_PRIORITY,
	      1, "\3\0\0\0\0\7\202\204\0\0\0", 11);
	frame(s, HTTP_REQUEST, HTTP2_DATA, HTTP2_PADDED, 1, "\2body\0\0", 7);
	frame(s, HTTP_REQUEST, HTTP2_DATA, HTTP2_PADDED, 1, "\3\0\0\0", 4);
	frame(s, HTTP_REQUEST, HTTP2_DATA, HTTP2_PADDED | HTTP2_END_STREAM, 1, "\0!", 2);
	expect(s, "1> GET  /\n1> .\n1> [body!]\n1> end\n");
}

static void test_a_header_block_in_many_frames(void **state)
{
	struct script *s = script(state);

	start(s);
	frame(s, HTTP_REQUEST, HTTP2_HEADERS, HTTP2_END_STREAM, 1, "\202\204\0\1", 4);
	frame(s, HTTP_REQUEST, HTTP2_CONTINUATION, 0, 1, "a", 1);
	frame(s, HTTP_REQUEST, HTTP2_CONTINUATION, 0, 1, NULL, 0);
	frame(s, HTTP_REQUEST, HTTP2_CONTINUATION, HTTP2_END_HEADERS, 1, "\1b", 2);
	expect(s, "1> GET  /\n1> a: b\n1> .\n1> end\n");
}

static void test_a_pushed_request_has_the_promised_number(void **state)
{
	struct script *s = script(state);

	start(s);
	headers(s, HTTP_REQUEST, 1, FAR_END, ":method", "GET", NULL);
	frame(s, HTTP_RESPONSE, HTTP2_PUSH_PROMISE, HTTP2_PADDED, 1, "\1\0\0\0\2\202\0", 7);
	frame(s, HTTP_RESPONSE, HTTP2_CONTINUATION, HTTP2_END_HEADERS, 1, "\204", 1);
	headers(s, HTTP_RESPONSE, 2, HTTP2_END_HEADERS, ":status", "200", NULL);
	data(s, HTTP_RESPONSE, 2, HTTP2_END_STREAM, "pushed");
	headers(s, HTTP_RESPONSE, 1, FAR_END, ":status", "204", NULL);
	expect(s, "1> GET  \n1> .\n1> end\n2> GET  /\n2> .\n2> end\n"
		  "2< 200\n2< .\n2< [pushed]\n2< end\n1< 204\n1< .\n1< end\n");
}

static void test_a_promise_of_a_stream_of_the_client_is_none(void **state)
{
	struct script *s = script(state);

	start(s);
	frame(s, HTTP_RESPONSE, HTTP2_PUSH_PROMISE, HTTP2_END_HEADERS, 1, "\0\0\0\7\202\100\1a\1b",
	      10);
	headers(s, HTTP_REQUEST, 1, FAR_END, ":method", "GET", NULL);
	frame(s, HTTP_RESPONSE, HTTP2_HEADERS, FAR_END, 1, "\210\276", 2);
	expect(s, "1> GET  \n1> .\n1> end\n1< 200\n1< a: b\n1< .\n1< end\n");
}

static void test_trailers_come_behind_the_body(void **state)
{
	struct script *s = script(state);

	start(s);
	headers(s, HTTP_REQUEST, 1, HTTP2_END_HEADERS, ":method", "POST", NULL);
	data(s, HTTP_REQUEST, 1, 0, "q");
	headers(s, HTTP_REQUEST, 1, FAR_END, "t", "1", NULL);
	headers(s, HTTP_RESPONSE, 1, HTTP2_END_HEADERS, ":status", "200", NULL);
	data(s, HTTP_RESPONSE, 1, 0, "a");
	headers(s, HTTP_RESPONSE, 1, FAR_END, "grpc-status", "0", NULL);
	expect(s, "1> POST  \n1> .\n1> [q]\n1> t: 1\n1> end\n"
		  "1< 200\n1< .\n1< [a]\n1< grpc-status: 0\n1< end\n");
}

static void test_interim_responses_come_before_the_final_one(void **state)
{
	struct script *s = script(state);

	start(s);
	headers(s, HTTP_REQUEST, 1, FAR_END, ":method", "GET", NULL);
	headers(s, HTTP_RESPONSE, 1, HTTP2_END_HEADERS, ":status", "103", "link", "x", NULL);
	headers(s, HTTP_RESPONSE, 1, HTTP2_END_HEADERS, ":status", "100", NULL);
	headers(s, HTTP_RESPONSE, 1, FAR_END, ":status", "200", NULL);
	expect(s, "1> GET  \n1> .\n1> end\n1< 103\n1< link: x\n1< .\n1< 100\n1< .\n"
		  "1< 200\n1< .\n1< end\n");
}

static void test_streams_interleave(void **state)
{
	struct script *s = script(state);

	start(s);
	headers(s, HTTP_REQUEST, 1, FAR_END, ":method", "GET", NULL);
	headers(s, HTTP_REQUEST, 3, HTTP2_END_HEADERS, ":method", "PUT", NULL);
	headers(s, HTTP_RESPONSE, 3, HTTP2_END_HEADERS, ":status", "200", NULL);
	headers(s, HTTP_RESPONSE, 1, HTTP2_END_HEADERS, ":status", "201", NULL);
	data(s, HTTP_RESPONSE, 1, 0, "a");
	data(s, HTTP_RESPONSE, 3, HTTP2_END_STREAM, "b");
	data(s, HTTP_RESPONSE, 1, HTTP2_END_STREAM, "c");
	data(s, HTTP_REQUEST, 3, HTTP2_END_STREAM, "d");
	expect(s, "1> GET  \n1> .\n1> end\n3> PUT  \n3> .\n3< 200\n3< .\n1< 201\n1< .\n"
		  "1< [a]\n3< [b]\n3< end\n1< [c]\n1< end\n3> [d]\n3> end\n");
}

/* Two threads, two directions: their order is not the connection's. */
static void test_a_response_may_be_seen_before_its_request(void **state)
{
	struct script *s = script(state);

	start(s);
	headers(s, HTTP_RESPONSE, 1, FAR_END, ":status", "200", NULL);
	headers(s, HTTP_REQUEST, 1, FAR_END, ":method", "GET", NULL);
	expect(s, "1< 200\n1< .\n1< end\n1> GET  \n1> .\n1> end\n");
}

static void test_a_reset_ends_both_sides(void **state)
{
	struct script *s = script(state);

	start(s);
	headers(s, HTTP_REQUEST, 1, FAR_END, ":method", "GET", NULL);
	headers(s, HTTP_REQUEST, 3, HTTP2_END_HEADERS, ":method", "PUT", NULL);
	headers(s, HTTP_RESPONSE, 1, HTTP2_END_HEADERS, ":status", "200", NULL);
	frame(s, HTTP_REQUEST, HTTP2_RST_STREAM, 0, 1, "\0\0\0\10", 4);
	data(s, HTTP_RESPONSE, 1, HTTP2_END_STREAM, "too late");
	frame(s, HTTP_RESPONSE, HTTP2_RST_STREAM, 0, 3, "\0\0\0\7", 4);
	headers(s, HTTP_REQUEST, 3, FAR_END, "late", "trailers", NULL);
	expect(s, "1> GET  \n1> .\n1> end\n3> PUT  \n3> .\n1< 200\n1< .\n1< cut\n"
		  "3> cut\n3< cut\n");
}

static void test_goaway_ends_what_will_not_be_answered(void **state)
{
	struct script *s = script(state);

	start(s);
	headers(s, HTTP_REQUEST, 1, FAR_END, ":method", "GET", NULL);
	headers(s, HTTP_REQUEST, 3, FAR_END, ":method", "PUT", NULL);
	frame(s, HTTP_RESPONSE, HTTP2_GOAWAY, 0, 0, "\0\0\0\1\0\0\0\0why", 11);
	headers(s, HTTP_RESPONSE, 1, FAR_END, ":status", "200", NULL);
	expect(s, "1> GET  \n1> .\n1> end\n3> PUT  \n3> .\n3> end\n3< cut\n"
		  "1< 200\n1< .\n1< end\n");
}

static void test_the_end_of_the_connection_cuts_what_is_open(void **state)
{
	struct script *s = script(state);

	start(s);
	headers(s, HTTP_REQUEST, 1, FAR_END, ":method", "GET", NULL);
	headers(s, HTTP_REQUEST, 3, HTTP2_END_HEADERS, ":method", "PUT", NULL);
	headers(s, HTTP_RESPONSE, 1, HTTP2_END_HEADERS, ":status", "200", NULL);
	call_add(s, END, HTTP_REQUEST, NULL, 0);
	data(s, HTTP_RESPONSE, 1, 0, "x");
	call_add(s, END, HTTP_RESPONSE, NULL, 0);
	data(s, HTTP_RESPONSE, 1, 0, "y");
	expect(s, "1> GET  \n1> .\n1> end\n3> PUT  \n3> .\n1< 200\n1< .\n3> cut\n"
		  "1< [x]\n1< cut\n3< cut\n");
}

static void test_other_frames_are_passed_over(void **state)
{
	struct script *s = script(state);

	start(s);
	frame(s, HTTP_REQUEST, HTTP2_WINDOW_UPDATE, 0, 0, "\0\0\1\0", 4);
	frame(s, HTTP_REQUEST, HTTP2_PRIORITY, 0, 9, "\0\0\0\0\1", 5);
	frame(s, HTTP_REQUEST, 0x77, 0xff, 1, "whatever", 8);
	headers(s, HTTP_REQUEST, 1, FAR_END, ":method", "GET", NULL);
	frame(s, HTTP_RESPONSE, HTTP2_PING, HTTP2_ACK, 0, "12345678", 8);
	frame(s, HTTP_RESPONSE, HTTP2_ALTSVC, 0, 0, "\0\1abc", 5);
	headers(s, HTTP_RESPONSE, 1, FAR_END, ":status", "200", NULL);
	expect(s, "1> GET  \n1> .\n1> end\n1< 200\n1< .\n1< end\n");
}

/* Without a gap: nobody knows of the call that is lost. */
static void test_text_that_is_taken_for_a_header_swallows_no_more_than_its_call(void **state)
{
	struct script *s = script(state);
	struct told t = {.brief = false};
	struct http2 *h;

	start(s);
	headers(s, HTTP_REQUEST, 1, HTTP2_END_HEADERS, ":method", "PUT", NULL);
	call_add(s, FEED, HTTP_REQUEST, "\0\0\4\0\0\0\0\0\1abcd", 13);
	call_add(s, FEED, HTTP_REQUEST, "the quick brown fox", 19);
	headers(s, HTTP_REQUEST, 3, FAR_END, ":method", "GET", NULL);
	headers(s, HTTP_REQUEST, 5, FAR_END, ":method", "GET", NULL);
	h = run_told(s, WHOLE, &t);
	assert_string_equal(buf_cstr(&t.text), "1> PUT  \n1> .\n1> [abcd]\n3> GET  \n3> .\n3> end\n"
					       "5> GET  \n5> .\n5> end\n");
	http2_free(h);
	buf_done(&t.text);
}

static void test_payload_is_handed_on_where_it_lies(void **state)
{
	static char big[HTTP2_FRAME_HEAD + (16 << 20)] = {'\xff', '\xff', '\xff', 0, 1, 0, 0, 0, 1};
	struct script *s = script(state);
	struct told t = {.brief = true};
	struct http2 *h;

	start(s);
	headers(s, HTTP_REQUEST, 1, FAR_END, ":method", "GET", NULL);
	headers(s, HTTP_RESPONSE, 1, HTTP2_END_HEADERS, ":status", "200", NULL);
	h = run_told(s, WHOLE, &t);
	http2_feed(h, HTTP_RESPONSE, big, HTTP2_FRAME_HEAD + 0xffffff);
	assert_ptr_equal(t.body_at, big + HTTP2_FRAME_HEAD);
	assert_int_equal(t.body[HTTP_RESPONSE], 0xffffff);
	assert_int_equal(t.complete[HTTP_RESPONSE], 1);
	http2_free(h);
}

/* ---- bounds ---- */

static void test_the_oldest_of_too_many_streams_is_given_up(void **state)
{
	struct script *s = script(state);
	struct told t = {.brief = true};
	struct http2 *h;

	start(s);
	for (uint32_t i = 0; i < 4100; i++)
		frame(s, HTTP_REQUEST, HTTP2_HEADERS, HTTP2_END_HEADERS, 2 * i + 1, "\202", 1);
	h = run_told(s, WHOLE, &t);
	assert_int_equal(t.begun[HTTP_REQUEST], 4100);
	assert_int_equal(t.cut[HTTP_REQUEST], 4);
	assert_int_equal(t.cut[HTTP_RESPONSE], 4);
	assert_int_equal(http2_counts(h)->evicted, 4);

	http2_feed(h, HTTP_RESPONSE, "\0\0\1\1\5\0\0\0\1\210", 10); /* one that was given up */
	assert_int_equal(t.begun[HTTP_RESPONSE], 0);
	http2_feed(h, HTTP_RESPONSE, "\0\0\1\1\5\0\0\0\11\210", 10);
	assert_int_equal(t.complete[HTTP_RESPONSE], 1);
	http2_free(h);
}

static void test_too_long_a_header_list_cuts_the_message_only(void **state)
{
	struct script *s = script(state);
	struct told t = {.brief = true};
	struct http2 *h;
	char *all = malloc(80000);

	start(s);
	frame(s, HTTP_REQUEST, HTTP2_HEADERS, HTTP2_END_STREAM, 1, "\202\204\100\1a\1b", 7);
	memset(all, 0xbe, 80000); /* the newest entry of the table, 34 bytes */
	frame(s, HTTP_REQUEST, HTTP2_CONTINUATION, HTTP2_END_HEADERS, 1, all, 80000);
	frame(s, HTTP_REQUEST, HTTP2_HEADERS, FAR_END, 3, "\202\276", 2);
	free(all);

	h = run_told(s, WHOLE, &t);
	assert_int_equal(http2_counts(h)->long_blocks, 1);
	assert_in_range(t.headers[HTTP_REQUEST], 7000, HTTP2_HEADER_LIST_MAX / 34 + 1);
	assert_int_equal(t.cut[HTTP_REQUEST], 1);
	assert_int_equal(t.complete[HTTP_REQUEST], 1);
	http2_free(h);
}

/* 61 bytes: the same field of 4,000 bytes 60 times. */
static void test_few_bytes_say_only_so_much(void **state)
{
	struct script *s = script(state);
	_cleanup_(buf_done) struct buf b = {0};
	struct told t = {.brief = true};
	char value[4001] = "";
	struct http2 *h;

	memset(value, 'v', sizeof(value) - 1);
	start(s);
	headers(s, HTTP_REQUEST, 1, FAR_END, ":method", "GET", "n", value, NULL);
	buf_add_char(&b, '\202');
	for (int i = 0; i < 60; i++)
		buf_add_char(&b, '\276');
	frame(s, HTTP_REQUEST, HTTP2_HEADERS, FAR_END, 3, b.data, b.len);
	h = run_told(s, WHOLE, &t);
	assert_int_equal(t.complete[HTTP_REQUEST], 1);
	assert_int_equal(t.cut[HTTP_REQUEST], 1);
	assert_true(t.headers[HTTP_REQUEST] < 10);
	assert_int_equal(http2_counts(h)->long_blocks, 1);
	http2_free(h);
}

static void test_a_continuation_of_nothing_is_no_frame(void **state)
{
	struct script *s = script(state);
	struct told t = {.brief = true};
	struct http2 *h;

	start(s);
	headers(s, HTTP_REQUEST, 1, FAR_END, ":method", "GET", NULL);
	frame(s, HTTP_REQUEST, HTTP2_CONTINUATION, 0, 1, NULL, 0);
	headers(s, HTTP_REQUEST, 3, FAR_END, ":method", "GET", NULL);
	h = run_told(s, WHOLE, &t);
	assert_int_equal(http2_counts(h)->resyncs, 1);
	assert_int_equal(t.complete[HTTP_REQUEST], 2);
	http2_free(h);
}

static void test_what_never_has_a_frame_fails_with_a_reason(void **state)
{
	struct told t = {.brief = true};
	const char *reason = NULL;
	char text[4096];
	struct http2 *h;

	memset(text, 'x', sizeof(text));
	assert_int_equal(http2_new(&ops, &t, &h), 0);
	for (size_t i = 0; i < 2000; i++)
		http2_feed(h, HTTP_RESPONSE, text, sizeof(text));
	assert_true(http2_failed(h, &reason));
	assert_string_equal(reason, "no frames found");
	http2_free(h);
}

static void test_frames_that_cannot_be_fail_in_the_end(void **state)
{
	struct script *s = script(state);
	struct told t = {.brief = true};
	const char *reason = NULL;
	struct http2 *h;

	start(s);
	headers(s, HTTP_REQUEST, 1, FAR_END, ":method", "GET", NULL);
	h = run_told(s, WHOLE, &t);
	for (size_t i = 0; i < 300 && !http2_failed(h, NULL); i++) {
		http2_feed(h, HTTP_RESPONSE, "\0\0\0\4\0\0\0\0\0", 9);
		http2_feed(h, HTTP_RESPONSE, "\0\0\1\0\0\0\0\0\0", 9); /* DATA of stream 0 */
	}
	assert_true(http2_failed(h, &reason));
	assert_string_equal(reason, "the frames make no sense, time and again");
	assert_int_equal(t.cut[HTTP_RESPONSE], 1);
	http2_free(h);
}

/* ---- what is not known ---- */

static void test_a_broken_block_costs_its_message_and_the_table(void **state)
{
	struct script *s = script(state);

	start(s);
	headers(s, HTTP_REQUEST, 1, FAR_END, ":method", "GET", "x-y", "z", NULL);
	frame(s, HTTP_REQUEST, HTTP2_HEADERS, FAR_END, 3, "\202\204\276\377\377\377\377\377", 8);
	frame(s, HTTP_REQUEST, HTTP2_HEADERS, FAR_END, 5, "\202\276\204", 3);
	expect(s, "1> GET  \n1> x-y: z\n1> .\n1> end\n3> GET  /\n3> x-y: z\n3> .\n3> cut\n"
		  "5> GET  /\n5> .\n5> end\n");
}

static void test_a_connection_seen_from_its_middle(void **state)
{
	struct script *s = script(state);
	struct told t = {.brief = false};
	struct http2 *h;

	/* An entry from before, a new one, both again. */
	frame(s, HTTP_RESPONSE, HTTP2_HEADERS, HTTP2_END_HEADERS, 7, "\210\310\100\1a\1b\276\311",
	      9);
	data(s, HTTP_RESPONSE, 7, HTTP2_END_STREAM, "body");
	data(s, HTTP_RESPONSE, 5, 0, "of a head that was sent before");
	data(s, HTTP_RESPONSE, 5, HTTP2_END_STREAM, "!");
	/* Its status is in the table, so it is not known. */
	frame(s, HTTP_RESPONSE, HTTP2_HEADERS, FAR_END, 9, "\310\276", 2);
	frame(s, HTTP_REQUEST, HTTP2_HEADERS, FAR_END, 11, "\202\204", 2);
	headers(s, HTTP_RESPONSE, 11, FAR_END, ":status", "200", NULL);
	h = run_told(s, WHOLE, &t);
	assert_int_equal(http2_counts(h)->unknown_fields, 3);
	http2_free(h);
	buf_done(&t.text);

	expect(s, "7< 200\n7< a: b\n7< a: b\n7< .\n7< [body]\n7< end\n7> cut\n"
		  "5< 0\n5< .\n5< [of a head that was sent before!]\n5< cut\n5> cut\n"
		  "9< 0\n9< a: b\n9< .\n9< end\n9> cut\n"
		  "11> GET  /\n11> .\n11> end\n11< 200\n11< .\n11< end\n");
}

static void test_the_middle_of_a_frame_is_passed_over(void **state)
{
	struct script *s = script(state);
	struct told t = {.brief = false};
	struct http2 *h;
	_cleanup_(buf_done) struct buf b = {0};

	buf_add_str(&b, "the rest of some payload");
	buf_add(&b, "\0\0\1\1\4\0\0\0\1\210", 10);
	buf_add(&b, "\0\0\4\0\1\0\0\0\1body", 13);
	call_add(s, FEED, HTTP_RESPONSE, b.data, b.len);
	h = run_told(s, WHOLE, &t);
	assert_string_equal(buf_cstr(&t.text), "1< 200\n1< .\n1< [body]\n1< end\n1> cut\n");
	assert_int_equal(http2_counts(h)->resyncs, 1);
	http2_free(h);
	buf_done(&t.text);
}

static void test_a_gap_cuts_what_may_have_been_in_it(void **state)
{
	struct script *s = script(state);
	struct told t = {.brief = false};
	struct http2 *h;

	start(s);
	headers(s, HTTP_REQUEST, 1, FAR_END, ":method", "GET", NULL);
	headers(s, HTTP_RESPONSE, 1, HTTP2_END_HEADERS, ":status", "200", "a", "b", NULL);
	call_add(s, FEED, HTTP_RESPONSE, "\0\1\0\0\1\0\0\0\1half", 13);
	call_add(s, GAP, HTTP_RESPONSE, NULL, 0);
	call_add(s, FEED, HTTP_RESPONSE, "of the payload that was cut off", 31);
	data(s, HTTP_RESPONSE, 1, HTTP2_END_STREAM, "end");
	headers(s, HTTP_REQUEST, 3, FAR_END, ":method", "GET", NULL);
	frame(s, HTTP_RESPONSE, HTTP2_HEADERS, FAR_END, 3, "\210\276", 2);
	h = run_told(s, WHOLE, &t);
	assert_string_equal(buf_cstr(&t.text),
			    "1> GET  \n1> .\n1> end\n1< 200\n1< a: b\n1< .\n1< [halfend]\n1< cut\n"
			    "3> GET  \n3> .\n3> end\n3< 200\n3< .\n3< end\n");
	assert_int_equal(http2_counts(h)->unknown_fields, 1);
	http2_free(h);
	buf_done(&t.text);
}

static void test_a_gap_that_no_message_shows_is_a_lost_one(void **state)
{
	struct script *s = script(state);
	struct told t = {.brief = true};
	struct http2 *h;

	start(s);
	headers(s, HTTP_REQUEST, 1, HTTP2_END_HEADERS, ":method", "PUT", NULL);
	call_add(s, GAP, HTTP_REQUEST, NULL, 0);
	data(s, HTTP_REQUEST, 1, HTTP2_END_STREAM, "x");
	h = run_told(s, WHOLE, &t);
	assert_int_equal(t.lost[HTTP_REQUEST], 0);
	http2_gap(h, HTTP_REQUEST);
	assert_int_equal(t.lost[HTTP_REQUEST], 1);
	http2_gap(h, HTTP_REQUEST);
	assert_int_equal(t.lost[HTTP_REQUEST], 1);
	assert_int_equal(t.lost[HTTP_RESPONSE], 0);
	http2_free(h);
}

static void test_a_gap_of_known_length_within_payload_costs_one_message(void **state)
{
	struct script *s = script(state);

	start(s);
	headers(s, HTTP_REQUEST, 1, FAR_END, ":method", "GET", "x-y", "z", NULL);
	headers(s, HTTP_RESPONSE, 1, HTTP2_END_HEADERS, ":status", "200", "a", "b", NULL);
	call_add(s, FEED, HTTP_RESPONSE, "\0\0\144\0\11\0\0\0\1\2half", 14);
	call_add(s, SKIP, HTTP_RESPONSE, NULL, 95);
	frame(s, HTTP_REQUEST, HTTP2_HEADERS, FAR_END, 3, "\202\276", 2);
	frame(s, HTTP_RESPONSE, HTTP2_HEADERS, FAR_END, 3, "\210\276", 2);
	expect(s, "1> GET  \n1> x-y: z\n1> .\n1> end\n1< 200\n1< a: b\n1< .\n1< [half]\n1< cut\n"
		  "3> GET  \n3> x-y: z\n3> .\n3> end\n3< 200\n3< a: b\n3< .\n3< end\n");
}

static void test_what_frames_look_like(void **state)
{
	const char settings[] = "\0\0\0\4\0\0\0\0\0", ack[] = "\0\0\0\4\1\0\0\0\0";
	const char headers_of_7[] = "\0\0\1\1\5\0\0\0\7\210", http1[] = "HTTP/1.1 200 OK\r\n\r\n";

	assert_int_equal(http2_looks_like(HTTP_REQUEST, HTTP2_PREFACE, HTTP2_PREFACE_LEN),
			 HTTP2_LOOK_START);
	assert_int_equal(http2_looks_like(HTTP_REQUEST, HTTP2_PREFACE, 5), HTTP2_LOOK_SHORT);
	assert_int_equal(http2_looks_like(HTTP_REQUEST, "PROPFIND / HTTP/1.1\r\n", 21),
			 HTTP2_LOOK_NO);
	assert_int_equal(http2_looks_like(HTTP_REQUEST, settings, 9), HTTP2_LOOK_MIDDLE);
	assert_int_equal(http2_looks_like(HTTP_RESPONSE, settings, 9), HTTP2_LOOK_START);
	assert_int_equal(http2_looks_like(HTTP_RESPONSE, settings, 8), HTTP2_LOOK_SHORT);
	assert_int_equal(http2_looks_like(HTTP_RESPONSE, NULL, 0), HTTP2_LOOK_SHORT);
	assert_int_equal(http2_looks_like(HTTP_RESPONSE, ack, 9), HTTP2_LOOK_MIDDLE);
	assert_int_equal(http2_looks_like(HTTP_RESPONSE, headers_of_7, 10), HTTP2_LOOK_MIDDLE);
	assert_int_equal(http2_looks_like(HTTP_RESPONSE, http1, 19), HTTP2_LOOK_NO);
	assert_int_equal(http2_looks_like(HTTP_RESPONSE, "HTTP", 4), HTTP2_LOOK_NO);
	assert_int_equal(http2_looks_like(HTTP_RESPONSE, "\0\0\5\4\0\0\0\0\0\0\0\0\0\0", 14),
			 HTTP2_LOOK_NO);
	assert_int_equal(http2_looks_like(HTTP_RESPONSE, "\0\0\1\1\5\x80\0\0\7\210", 10),
			 HTTP2_LOOK_NO);
	assert_int_equal(http2_looks_like(HTTP_RESPONSE, "\0\0\0\0\0\0\0\0\0\0", 10),
			 HTTP2_LOOK_NO);
}

static void test_what_is_late_for_a_closed_stream_opens_none(void **state)
{
	struct script *s = script(state);
	struct told t = {.brief = true};

	start(s);
	for (uint32_t id = 1; id < 80; id += 2) {
		headers(s, HTTP_REQUEST, id, FAR_END, ":method", "GET", NULL);
		frame(s, HTTP_REQUEST, HTTP2_RST_STREAM, 0, id, "\0\0\0\10", 4);
	}
	headers(s, HTTP_RESPONSE, 1, HTTP2_END_HEADERS, ":status", "200", NULL);
	data(s, HTTP_RESPONSE, 1, HTTP2_END_STREAM, "late");
	data(s, HTTP_RESPONSE, 99, HTTP2_END_STREAM, "without a head");
	http2_free(run_told(s, WHOLE, &t));
	assert_int_equal(t.complete[HTTP_REQUEST], 40);
	assert_int_equal(t.begun[HTTP_RESPONSE], 0);
	assert_int_equal(t.cut[HTTP_RESPONSE], 40);
}

static void test_a_stream_from_before_is_told_once(void **state)
{
	struct script *s = script(state);

	frame(s, HTTP_REQUEST, HTTP2_HEADERS, FAR_END, 11, "\202", 1);
	frame(s, HTTP_RESPONSE, HTTP2_HEADERS, HTTP2_END_HEADERS, 9, "\210", 1);
	frame(s, HTTP_RESPONSE, HTTP2_RST_STREAM, 0, 9, "\0\0\0\10", 4);
	data(s, HTTP_RESPONSE, 9, HTTP2_END_STREAM, "late");
	frame(s, HTTP_RESPONSE, HTTP2_HEADERS, HTTP2_END_HEADERS, 11, "\310", 1);
	frame(s, HTTP_RESPONSE, HTTP2_HEADERS, FAR_END, 11, "\210", 1);
	expect(s, "11> GET  \n11> .\n11> end\n9< 200\n9< .\n9> cut\n9< cut\n"
		  "11< 0\n11< .\n11< 200\n11< .\n11< end\n");
}

static void test_a_frame_longer_than_its_call_is_found_behind_a_gap(void **state)
{
	struct script *s = script(state);
	struct told t = {.brief = false};

	start(s);
	headers(s, HTTP_REQUEST, 1, HTTP2_END_HEADERS, ":method", "PUT", NULL);
	call_add(s, GAP, HTTP_REQUEST, NULL, 0);
	call_add(s, FEED, HTTP_REQUEST, "\0\0\4\0\1\0\0\0\1", 9);
	call_add(s, FEED, HTTP_REQUEST, "body", 4);
	http2_free(run_told(s, WHOLE, &t));
	assert_string_equal(buf_cstr(&t.text), "1> PUT  \n1> .\n1> [body]\n1> cut\n");
	buf_done(&t.text);
}

static void test_the_table_grows_as_the_blocks_say(void **state)
{
	_cleanup_(buf_done) struct buf b = {0};
	struct script *s = script(state);
	struct told t = {.brief = true};
	struct http2 *h;

	start(s);
	buf_add(&b, "\x3f\xe1\xff\3", 4); /* 65536 */
	for (size_t i = 0; i < 1000; i++)
		buf_add_lit(&b, "\x40\1a\1b");
	frame(s, HTTP_REQUEST, HTTP2_HEADERS, FAR_END, 1, b.data, b.len);
	frame(s, HTTP_REQUEST, HTTP2_HEADERS, FAR_END, 3, "\xff\xe8\6", 3); /* 62 + 937 */
	h = run_told(s, WHOLE, &t);
	assert_int_equal(t.complete[HTTP_REQUEST], 2);
	assert_int_equal(t.headers[HTTP_REQUEST], 1001);
	http2_free(h);
}

/* ---- corpora ---- */

static void unpack(const char *path, struct buf *ret)
{
	gzFile f = gzopen(path, "rb");
	int n;

	assert_non_null(f);
	do {
		assert_true(buf_room(ret, 65536));
		n = gzread(f, ret->data + ret->len, 65536);
		assert_true(n >= 0);
		ret->len += (size_t)n;
	} while (n > 0);
	gzclose(f);
}

struct reader {
	const uint8_t *p, *end;
};

static uint32_t number(struct reader *r, size_t n)
{
	uint32_t value = 0;

	assert_true((size_t)(r->end - r->p) >= n);
	while (n-- > 0)
		value = value << 8 | *r->p++;
	return value;
}

static struct http_text text(struct reader *r)
{
	size_t n = number(r, 2);
	const char *p = (const char *)r->p;

	assert_true((size_t)(r->end - r->p) >= n);
	r->p += n;
	return (struct http_text){p, n};
}

static bool same(struct http_text a, struct http_text b)
{
	return a.len == b.len && memcmp(a.p, b.p, a.len) == 0;
}

struct fields {
	struct reader *expected;
	size_t n, unknown;
};

static void compare_field(void *context, struct http_text name, struct http_text value)
{
	struct fields *f = context;
	struct http_text want_name = text(f->expected), want_value = text(f->expected);

	f->n--;
	if (name.len == 0) {
		f->unknown++;
		return;
	}
	assert_true(same(name, want_name));
	assert_true(same(value, want_value));
}

static void skip_fields(struct reader *r, size_t n)
{
	for (; n > 0; n--) {
		text(r);
		text(r);
	}
}

/* Each story from its block @from on. Returns how many blocks could not be read. */
static size_t stories_decode(const struct buf *corpus, unsigned from, size_t *blocks,
			     size_t *unknown)
{
	struct reader r = {(const uint8_t *)corpus->data,
			   (const uint8_t *)corpus->data + corpus->len};
	struct hpack z = {.blind = from > 0};
	size_t broken = 0;
	unsigned at = 0;

	*blocks = *unknown = 0;
	while (r.p < r.end) {
		struct http_text wire;
		struct fields f = {.expected = &r};

		if (number(&r, 1) == 'S') {
			hpack_done(&z);
			z = (struct hpack){.blind = from > 0};
			at = 0;
			continue;
		}
		wire = text(&r);
		f.n = number(&r, 2);
		if (at++ >= from) {
			(*blocks)++;
			broken += hpack_decode(&z, (const uint8_t *)wire.p, wire.len, true,
					       compare_field, &f) < 0;
		}
		skip_fields(&r, f.n);
		*unknown += f.unknown;
	}
	hpack_done(&z);
	return broken;
}

static const char *hpack_corpus(void)
{
	const char *path = getenv("HPACK_CORPUS");

	return path ? path : CORPUS "hpack/stories.gz";
}

static void test_what_other_encoders_wrote_is_decoded_exactly(void **state)
{
	_cleanup_(buf_done) struct buf corpus = {0};
	size_t blocks, unknown;

	unpack(hpack_corpus(), &corpus);
	assert_int_equal(stories_decode(&corpus, 0, &blocks, &unknown), 0);
	assert_int_equal(unknown, 0);
	assert_true(blocks >= 399);
	print_message("%zu blocks\n", blocks);
}

static void test_decoding_from_the_middle_tells_no_wrong_field(void **state)
{
	_cleanup_(buf_done) struct buf corpus = {0};
	size_t blocks, unknown, broken;

	unpack(hpack_corpus(), &corpus);
	for (unsigned from = 1; from < 30; from += 7) {
		broken = stories_decode(&corpus, from, &blocks, &unknown);
		print_message("from block %u: %zu blocks, %zu broken, %zu fields unknown\n", from,
			      blocks, broken, unknown);
		assert_true(broken * 50 <= blocks);
	}
}

/* Recorded calls: side, length, bytes. */
static void recording_load(const char *name, struct script *s)
{
	_cleanup_(buf_done) struct buf raw = {0};
	char path[256];
	struct reader r;

	snprintf(path, sizeof(path), CORPUS "http2/%s.cap.gz", name);
	unpack(path, &raw);
	r = (struct reader){(const uint8_t *)raw.data, (const uint8_t *)raw.data + raw.len};
	s->n = 0;
	s->bytes.len = 0;
	while (r.p < r.end) {
		enum http_side side = number(&r, 1);
		size_t n = number(&r, 4);

		assert_true((size_t)(r.end - r.p) >= n);
		call_add(s, FEED, side, r.p, n);
		r.p += n;
	}
	call_add(s, END, HTTP_REQUEST, NULL, 0);
	call_add(s, END, HTTP_RESPONSE, NULL, 0);
}

/*
 * A thousand requests and responses at a time, each with fields of its own: both tables are full, which is
 * what nghttp2 takes 16 KiB each for, and the table of streams was large.
 */
static void test_an_idle_connection_is_small(void **state)
{
	struct script *s = script(state);
	struct told t = {.brief = true};
	struct http2 *h;
	size_t before, now;

	recording_load("node-many", s);
	s->n -= 2; /* it is not over */
	before = mallinfo2().uordblks;
	h = run_told(s, WHOLE, &t);
	now = mallinfo2().uordblks;
	print_message("%zu bytes with both tables full\n", now - before);
	assert_true(now - before <= (36 << 10));
	assert_int_equal(t.complete[HTTP_RESPONSE], 1000);
	http2_free(h);
}

/* What the programs themselves said of it. */
static const struct recording {
	const char *name;
	size_t requests, responses;
	uint64_t sent, received;
} recordings[] = {
	{"node-many", 1000, 1000, 2634, 22890},
	{"node-parts", 7, 8, 0, 200290},
	{"h2load-nghttpd", 1000, 1000, 0, 6000},
	{"h2load-node", 1000, 1000, 0, 21000},
	{"nghttp-nghttpd", 30, 30, 0, 171},
	{"nghttp-nginx", 3, 3, 0, 165},
	{"nghttp-cont", 1, 1, 0, 6},
	{"nghttp-pad", 2, 2, 0, 11},
	{"curl-nginx", 1, 1, 3, 157},
};

static void test_recorded_connections_are_told_completely(void **state)
{
	struct script *s = script(state);

	for (size_t i = 0; i < ARRAY_SIZE(recordings); i++) {
		const struct recording *r = &recordings[i];
		struct told t = {.brief = true};

		recording_load(r->name, s);
		http2_free(run_told(s, WHOLE, &t));
		print_message("%s: %zu %zu %zu %zu, body %zu %zu\n", r->name, t.begun[0],
			      t.complete[0], t.begun[1], t.complete[1], (size_t)t.body[0],
			      (size_t)t.body[1]);
		assert_int_equal(t.complete[HTTP_REQUEST], r->requests);
		assert_int_equal(t.begun[HTTP_REQUEST], r->requests);
		assert_int_equal(t.begun[HTTP_RESPONSE], r->responses);
		assert_int_equal(t.cut[HTTP_REQUEST] + t.cut[HTTP_RESPONSE], 0);
		assert_int_equal(t.body[HTTP_REQUEST], r->sent);
		assert_int_equal(t.body[HTTP_RESPONSE], r->received);
	}
}

static void test_recorded_connections_split_anywhere_tell_the_same(void **state)
{
	struct script *s = script(state);

	for (size_t i = 0; i < ARRAY_SIZE(recordings); i++) {
		struct told whole = {.brief = false};

		recording_load(recordings[i].name, s);
		http2_free(run_told(s, WHOLE, &whole));
		for (int splitting = SINGLE; splitting < N_SPLITTINGS; splitting++) {
			struct told t = {.brief = false};

			http2_free(run_told(s, splitting, &t));
			assert_int_equal(t.text.len, whole.text.len);
			assert_memory_equal(t.text.data, whole.text.data, t.text.len);
			buf_done(&t.text);
		}
		buf_done(&whole.text);
	}
}

/* The first calls of both sides are dropped: whatever was negotiated before is not known. */
static void test_recorded_connections_joined_late_are_told_for_the_most_part(void **state)
{
	struct script *s = script(state);
	struct told t = {.brief = true};
	struct http2 *h;

	recording_load("node-many", s);
	assert_int_equal(http2_new(&ops, &t, &h), 0);
	for (size_t i = s->n / 2; i < s->n; i++)
		if (s->calls[i].act == FEED)
			http2_feed(h, s->calls[i].side, s->bytes.data + s->calls[i].begin,
				   s->calls[i].len);
		else
			http2_eof(h, s->calls[i].side);
	print_message("from call %zu of %zu: %zu responses begun, %zu complete, %zu resyncs\n",
		      s->n / 2, s->n, t.begun[1], t.complete[1], (size_t)http2_counts(h)->resyncs);
	assert_true(t.complete[HTTP_RESPONSE] > 100);
	http2_free(h);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_a_request_and_its_response),
		CASE(test_padding_and_priority_are_not_told),
		CASE(test_a_header_block_in_many_frames),
		CASE(test_a_pushed_request_has_the_promised_number),
		CASE(test_a_promise_of_a_stream_of_the_client_is_none),
		CASE(test_trailers_come_behind_the_body),
		CASE(test_interim_responses_come_before_the_final_one),
		CASE(test_streams_interleave),
		CASE(test_a_response_may_be_seen_before_its_request),
		CASE(test_a_reset_ends_both_sides),
		CASE(test_goaway_ends_what_will_not_be_answered),
		CASE(test_the_end_of_the_connection_cuts_what_is_open),
		CASE(test_other_frames_are_passed_over),
		CASE(test_text_that_is_taken_for_a_header_swallows_no_more_than_its_call),
		CASE(test_payload_is_handed_on_where_it_lies),
		CASE(test_the_oldest_of_too_many_streams_is_given_up),
		CASE(test_too_long_a_header_list_cuts_the_message_only),
		CASE(test_an_idle_connection_is_small),
		CASE(test_few_bytes_say_only_so_much),
		CASE(test_a_continuation_of_nothing_is_no_frame),
		CASE(test_what_never_has_a_frame_fails_with_a_reason),
		CASE(test_frames_that_cannot_be_fail_in_the_end),
		CASE(test_a_broken_block_costs_its_message_and_the_table),
		CASE(test_a_connection_seen_from_its_middle),
		CASE(test_the_middle_of_a_frame_is_passed_over),
		CASE(test_a_gap_cuts_what_may_have_been_in_it),
		CASE(test_a_gap_that_no_message_shows_is_a_lost_one),
		CASE(test_a_gap_of_known_length_within_payload_costs_one_message),
		CASE(test_what_frames_look_like),
		CASE(test_what_is_late_for_a_closed_stream_opens_none),
		CASE(test_a_stream_from_before_is_told_once),
		CASE(test_a_frame_longer_than_its_call_is_found_behind_a_gap),
		CASE(test_the_table_grows_as_the_blocks_say),
		CASE(test_what_other_encoders_wrote_is_decoded_exactly),
		CASE(test_decoding_from_the_middle_tells_no_wrong_field),
		CASE(test_recorded_connections_are_told_completely),
		CASE(test_recorded_connections_split_anywhere_tell_the_same),
		CASE(test_recorded_connections_joined_late_are_told_for_the_most_part),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
