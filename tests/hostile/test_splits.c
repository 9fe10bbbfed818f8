/* SPDX-License-Identifier: MIT */
/*
 * Each input of a directory (the fuzzers' corpora, or those named on the command line), cut in two at every
 * byte: what comes out is what comes out of the whole. And the work for inputs of growing length grows no faster
 * than they do.
 */
#include <dirent.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "http/http1.h"
#include "http/http2.h"
#include "http/sse.h"
#include "http/websocket.h"
#include "stage/framing.h"
#include "stage/secrets.h"
#include "stage/unescape.h"

#define INPUT_MAX ((size_t)64 << 10)
#define CUTS_MAX  4096 /* of one input; a longer one is cut here and there */

/* ---- what parsers tell, as one text ---- */

static void on_begin(void *told, uint64_t id, enum http_side side, const struct http_head *h)
{
	buf_printf(told, "\nb%u,%llu %u %u ", side, (unsigned long long)id, h->status, h->version);
	buf_add(told, h->method.p, h->method.len);
	buf_add(told, h->path.p, h->path.len);
	buf_add(told, h->authority.p, h->authority.len);
}

static void on_header(void *told, uint64_t id, enum http_side side, struct http_text name,
		      struct http_text value)
{
	buf_printf(told, "\nh%u,%llu ", side, (unsigned long long)id);
	buf_add(told, name.p, name.len);
	buf_add_char(told, ':');
	buf_add(told, value.p, value.len);
}

static void on_headers_done(void *told, uint64_t id, enum http_side side)
{
	buf_printf(told, "\nd%u,%llu body ", side, (unsigned long long)id);
}

static void on_body(void *told, uint64_t id, enum http_side side, struct http_text piece)
{
	buf_add(told, piece.p, piece.len);
}

static void on_end(void *told, uint64_t id, enum http_side side, bool complete)
{
	buf_printf(told, "\n%c%u,%llu", complete ? 'e' : 'c', side, (unsigned long long)id);
}

static const struct http_parser_ops ops = {
	.begin = on_begin,
	.header = on_header,
	.headers_done = on_headers_done,
	.body = on_body,
	.end = on_end,
};

/* For a beginning, where the input has none: what is found then may depend on where calls begin. */
static bool searched;

/* One input to one parser; @cut bytes first. */
typedef void (*run_fn)(const uint8_t *p, size_t n, size_t cut, struct buf *told,
		       enum http_side side);

static void run_http1(const uint8_t *p, size_t n, size_t cut, struct buf *told, enum http_side side)
{
	struct http1 *h;

	assert_int_equal(http1_new(&ops, told, &h), 0);
	http1_feed(h, side, p, cut);
	http1_feed(h, side, p + cut, n - cut);
	http1_eof(h, side, true);
	http1_eof(h, !side, true);
	searched |= http1_skipped(h, side) > 0;
	http1_free(h);
}

static void run_http2(const uint8_t *p, size_t n, size_t cut, struct buf *told, enum http_side side)
{
	struct http2 *h;

	assert_int_equal(http2_new(&ops, told, &h), 0);
	http2_feed(h, side, p, cut);
	http2_feed(h, side, p + cut, n - cut);
	http2_eof(h, side);
	http2_eof(h, !side);
	searched |= http2_counts(h)->resyncs > 0;
	http2_free(h);
}

static void on_event(void *told, const struct sse_event *e)
{
	buf_printf(told, "\n%zu %zu %d ", e->event.len, e->id.len, e->truncated);
	buf_add(told, e->event.p, e->event.len);
	buf_add(told, e->data.p, e->data.len);
}

static void run_sse(const uint8_t *p, size_t n, size_t cut, struct buf *told, enum http_side side)
{
	struct sse *s;

	assert_int_equal(sse_new(on_event, told, &s), 0);
	sse_feed(s, p, cut);
	sse_feed(s, p + cut, n - cut);
	sse_free(s);
}

static void on_message(void *told, enum http_side side, const struct websocket_message *m)
{
	buf_printf(told, "\nm%d %llu %d %s ", m->text, (unsigned long long)m->full_len,
		   m->truncated, m->error ? m->error : "");
	buf_add(told, m->payload.p, m->payload.len);
}

static void run_websocket(const uint8_t *p, size_t n, size_t cut, struct buf *told,
			  enum http_side side)
{
	static const struct websocket_ops websocket_ops = {.message = on_message};
	const struct websocket_params params = {.deflate = true, .window_bits = {15, 15}};
	const char *reason = "";
	struct websocket *w;

	assert_int_equal(websocket_new(side, &params, &websocket_ops, told, &w), 0);
	websocket_feed(w, p, cut);
	websocket_feed(w, p + cut, n - cut);
	websocket_eof(w);
	websocket_failed(w, &reason);
	buf_add_str(told, reason);
	websocket_free(w);
}

/* ---- cutting ---- */

static const struct parser {
	const char *corpus;
	run_fn run;
	enum http_side side;
	bool may_search;
} parsers[] = {
	{"http1", run_http1, HTTP_REQUEST, true},
	{"http1", run_http1, HTTP_RESPONSE, true},
	{"http2", run_http2, HTTP_REQUEST, true},
	{"http2", run_http2, HTTP_RESPONSE, true},
	{"sse", run_sse, HTTP_RESPONSE, false},
	{"websocket", run_websocket, HTTP_RESPONSE, false},
};

/* Of the corpora, files for those that search are steps of a fuzz target, and have no beginning where it is looked for. */
static const struct whole {
	run_fn run;
	enum http_side side;
	const char *bytes;
	size_t n;
} wholes[] = {
#define WHOLE(run, side, bytes)                     \
	{                                           \
		run, side, bytes, sizeof(bytes) - 1 \
	}
	WHOLE(run_http1, HTTP_REQUEST,
	      "GET /a?b HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n\r\n"
	      "POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
	      "\r\nPUT /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
	      "5;x=y\r\nhello\r\n0\r\nTrailer: t\r\n\r\nHEAD / HTTP/1.0\r\n\r\n"),
	WHOLE(run_http1, HTTP_RESPONSE,
	      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
	      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n"
	      "0\r\n\r\nHTTP/1.1 204 No Content\r\nX: a\r\n b\r\n\r\n"
	      "HTTP/1.0 200 OK\r\n\r\nto the end"),
	/* the preface, SETTINGS, HEADERS of the static table, PING, DATA with padding, and its end */
	WHOLE(run_http2, HTTP_REQUEST,
	      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	      "\0\0\6\4\0\0\0\0\0\0\3\0\0\0\x64"
	      "\0\0\6\1\4\0\0\0\1\x83\x86\x84\x41\1h"
	      "\0\0\x8\6\0\0\0\0\0pingpong"
	      "\0\0\7\0\x8\0\0\0\1\2body\0\0"
	      "\0\0\0\0\1\0\0\0\1"),
	WHOLE(run_http2, HTTP_RESPONSE,
	      "\0\0\0\4\0\0\0\0\0"
	      "\0\0\0\4\1\0\0\0\0"
	      "\0\0\1\1\4\0\0\0\1\x88"
	      "\0\0\5\0\0\0\0\0\1hello"
	      "\0\0\6\1\5\0\0\0\1\x40\1t\2ok"),
#undef WHOLE
};

static size_t inputs, cuts, without; /* those without a beginning: nothing to compare with */

static void cut_everywhere(const struct parser *parser, const char *name, const uint8_t *p,
			   size_t n)
{
	_cleanup_(buf_done) struct buf whole = {0}, cut = {0};
	size_t step = n / CUTS_MAX + 1;

	searched = false;
	parser->run(p, n, 0, &whole, parser->side);
	if (searched) {
		assert_true(parser->may_search);
		without++;
		return;
	}
	for (size_t at = 1; at < n; at += step) {
		buf_reset(&cut);
		parser->run(p, n, at, &cut, parser->side);
		cuts++;
		if (cut.len != whole.len || memcmp(buf_cstr(&cut), buf_cstr(&whole), cut.len))
			fail_msg("%s, cut at %zu:\n%s\nbut whole:\n%s", name, at, buf_cstr(&cut),
				 buf_cstr(&whole));
	}
	inputs++;
}

static void cut_file(const struct parser *parser, const char *path)
{
	static uint8_t bytes[INPUT_MAX];
	FILE *f = fopen(path, "re");
	size_t n = f ? fread(bytes, 1, sizeof(bytes), f) : 0;

	if (f)
		fclose(f);
	cut_everywhere(parser, path, bytes, n);
}

static void cut_directory(const struct parser *parser, const char *path)
{
	char child[PATH_MAX];
	struct dirent *entry;
	DIR *dir = opendir(path);

	while (dir && (entry = readdir(dir))) {
		snprintf(child, sizeof(child), "%s/%s", path, entry->d_name);
		if (entry->d_name[0] != '.' && entry->d_type == DT_DIR)
			cut_directory(parser, child);
		else if (entry->d_name[0] != '.')
			cut_file(parser, child);
	}
	if (dir)
		closedir(dir);
}

static void cut_wholes(const struct parser *parser)
{
	for (size_t i = 0; i < ARRAY_SIZE(wholes); i++) {
		if (wholes[i].run == parser->run && wholes[i].side == parser->side)
			cut_everywhere(parser, parser->corpus, (const uint8_t *)wholes[i].bytes,
				       wholes[i].n);
	}
}

/* Corpora beside the tree have one directory for each of ours. */
static void inputs_give_the_same_wherever_they_are_cut(void **state)
{
	const char *more = getenv("AGENTSIGHT_CORPORA");
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(parsers); i++) {
		inputs = cuts = without = 0;
		cut_wholes(&parsers[i]);
		snprintf(path, sizeof(path), "tests/fuzz/corpus/%s", parsers[i].corpus);
		cut_directory(&parsers[i], path);
		assert_true(inputs > 0 && cuts > 0);
		if (more) {
			snprintf(path, sizeof(path), "%s/raw/%s", more, parsers[i].corpus);
			cut_directory(&parsers[i], path);
		}
		print_message("%s: %zu inputs, %zu cuts; %zu inputs without a beginning\n",
			      parsers[i].corpus, inputs, cuts, without);
	}
}

/* ---- growing ---- */

#define SMALLEST ((size_t)1 << 20) /* no cache holds that either */
#define LARGEST  ((size_t)16 << 20)
#define RATIO    2.5 /* of times, where that of lengths is 2 */
#define TRIES    7

struct sized {
	char *p;
	size_t n;
};

static void repeat(struct sized *s, const char *head, const char *body, size_t body_n)
{
	size_t at = strlen(head);

	memcpy(s->p, head, at);
	for (; at < s->n; at += body_n)
		memcpy(s->p + at, body, MIN(body_n, s->n - at));
}

static void quiet_header(void *told, uint64_t id, enum http_side side, struct http_text name,
			 struct http_text value)
{
}

static void quiet_body(void *told, uint64_t id, enum http_side side, struct http_text piece)
{
}

static const struct http_parser_ops quiet = {.header = quiet_header, .body = quiet_body};

static void quiet_event(void *told, const struct sse_event *e)
{
}

/* In calls of 4 KiB, as they come. */
#define EACH_CALL(s, at, n) \
	for (size_t at = 0, n; n = MIN((size_t)4096, (s)->n - at), at < (s)->n; at += n)

static void grow_http1(const struct sized *s)
{
	struct http1 *h;

	assert_int_equal(http1_new(&quiet, NULL, &h), 0);
	EACH_CALL(s, at, n)
	http1_feed(h, HTTP_REQUEST, s->p + at, n);
	http1_free(h);
}

static void grow_http2(const struct sized *s)
{
	struct http2 *h;

	assert_int_equal(http2_new(&quiet, NULL, &h), 0);
	EACH_CALL(s, at, n)
	http2_feed(h, HTTP_REQUEST, s->p + at, n);
	http2_free(h);
}

static void grow_sse(const struct sized *s)
{
	struct sse *e;

	assert_int_equal(sse_new(quiet_event, NULL, &e), 0);
	EACH_CALL(s, at, n)
	sse_feed(e, s->p + at, n);
	sse_free(e);
}

static void grow_websocket(const struct sized *s)
{
	static const struct websocket_ops none = {0};
	const struct websocket_params params = {.window_bits = {15, 15}};
	struct websocket *w;

	assert_int_equal(websocket_new(HTTP_RESPONSE, &params, &none, NULL, &w), 0);
	EACH_CALL(s, at, n)
	websocket_feed(w, s->p + at, n);
	websocket_free(w);
}

static void grow_secrets(const struct sized *s)
{
	struct secret_scan scan = {0};
	struct secret_span spans[256];

	EACH_CALL(s, at, n)
	secrets_mask(&scan, (const uint8_t *)s->p + at, n, spans, ARRAY_SIZE(spans), NULL);
}

static void grow_unescape(const struct sized *s)
{
	uint8_t out[4096 + UNESCAPE_HELD];
	struct unescape u = {0};

	EACH_CALL(s, at, n)
	unescape_piece(&u, (const uint8_t *)s->p + at, n, out);
}

static void grow_framing(const struct sized *s)
{
	struct framing f = {0};
	bool content;

	for (size_t at = 0; at < s->n;)
		at += framing_next(&f, (const uint8_t *)s->p + at, MIN((size_t)4096, s->n - at),
				   &content);
}

static const struct growth {
	const char *name, *head, *body;
	size_t n;
	void (*run)(const struct sized *s);
} growths[] = {
#define GROW(name, head, body, run)                     \
	{                                               \
		name, head, body, sizeof(body) - 1, run \
	}
	GROW("one header", "GET / HTTP/1.1\r\nx: ", "y", grow_http1),
	GROW("headers", "GET / HTTP/1.1\r\n", "x: y\r\n", grow_http1),
	GROW("chunks", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n",
	     grow_http1),
	GROW("one extension", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;", "x",
	     grow_http1),
	GROW("requests", "", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", grow_http1),
	GROW("no HTTP/1", "", "xyz\r\n", grow_http1),
	GROW("frames", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\0\0\1\0\0\0\0\0\1x", grow_http2),
	GROW("no frames", "", "\xff\xfe", grow_http2),
	GROW("one line", "data: ", "x", grow_sse),
	GROW("lines of one event", "", "data:\n", grow_sse),
	GROW("events", "", "data:x\n\n", grow_sse),
	GROW("unknown fields", "", "x\n", grow_sse),
	GROW("fragments", "\x01\x01x", "\x00\x01x", grow_websocket),
	GROW("messages", "", "\x81\x01x", grow_websocket),
	GROW("dashes", "", "-", grow_secrets),
	GROW("prefixes", "", "sk-sk-ghp_eyJ--key=", grow_secrets),
	GROW("names", "", "\"api_key\":", grow_secrets),
	GROW("backslashes", "\"api_key\":\"", "\\", grow_secrets),
	GROW("escapes", "", "\\u0026", grow_unescape),
	GROW("backslashes alone", "", "\\", grow_unescape),
	GROW("sizes", "", "\r\n1", grow_framing),
	GROW("line ends", "", "\r", grow_framing),
#undef GROW
};

static double time_of(const struct growth *g, const struct sized *s)
{
	uint64_t best = UINT64_MAX;

	for (size_t i = 0; i < TRIES; i++) {
		uint64_t since = clock_ns(CLOCK_THREAD_CPUTIME_ID);

		g->run(s);
		best = MIN(best, clock_ns(CLOCK_THREAD_CPUTIME_ID) - since);
		/* enough to be told from noise */
		if (best > 20 * NSEC_PER_MSEC)
			break;
	}
	return (double)best;
}

/* Over all doublings together: one may be off by a cache that became too small. */
static void work_grows_no_faster_than_the_input(void **state)
{
	_cleanup_(freep) char *bytes = getenv("SLOW") ? malloc(LARGEST) : NULL;

	if (!getenv("SLOW"))
		skip();
	assert_non_null(bytes);
	for (size_t i = 0; i < ARRAY_SIZE(growths); i++) {
		struct sized s = {bytes, SMALLEST};
		double first, last, limit = 1;

		repeat(&s, growths[i].head, growths[i].body, growths[i].n);
		first = last = time_of(&growths[i], &s);
		while (s.n < LARGEST) {
			s.n *= 2;
			limit *= RATIO;
			repeat(&s, growths[i].head, growths[i].body, growths[i].n);
			last = time_of(&growths[i], &s);
		}
		print_message("%-20s %8.3f ms for %zu KiB, %8.3f ms for %zu KiB\n", growths[i].name,
			      first / 1e6, SMALLEST >> 10, last / 1e6, s.n >> 10);
		/* what is done at the speed of memory depends on which memory that is */
		assert_true(last <= first * limit || last < (double)s.n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(inputs_give_the_same_wherever_they_are_cut),
		cmocka_unit_test(work_grows_no_faster_than_the_input),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
