/* SPDX-License-Identifier: MIT */
/* Connections and exchanges together: plaintext in, calls of the observer out, as lines of text. */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>

#include <agentsight/events.h>

#include "base/cleanup.h"
#include "http/conn.h"

#define READ  AS_TLS_READ
#define WRITE AS_TLS_WRITE

static struct buf told;
static struct http_pool *pool;
static struct http_conn *conn;
static struct as_hdr who = {.boot_ns = 1000, .start_ns = 5, .tgid = 7, .tid = 8};
static struct as_conn ends;
static size_t users; /* exchanges that the observer holds something for */
static bool quiet;   /* count only */
static size_t n_requests, n_responses, n_progress, progress_bytes;
static size_t most_body, most_marks;
static uint64_t newest_begin_ns[2]; /* by side, of the exchange that was answered last */
static uint32_t newest_tid;
static size_t hold_each; /* bytes that the observer says it holds more, with each call */
static size_t n_gave;

/* ---- the observer ---- */

static void put_message(const char *what, const struct http_exchange *x,
			const struct http_message *m)
{
	buf_printf(&told, "%s %.*s %.*s", what, (int)x->request.head.method.len,
		   x->request.head.method.p, (int)x->request.head.path.len, x->request.head.path.p);
	if (m == &x->response)
		buf_printf(&told, " %u", m->head.status);
	buf_printf(&told, " [%.*s]", (int)MIN(m->body.len, (size_t)60), m->body.data ?: "");
	if (m->body_full != m->body.len)
		buf_printf(&told, " of %llu", (unsigned long long)m->body_full);
	if (m->body_error)
		buf_printf(&told, " (%s)", m->body_error);
	buf_add_str(&told, m->complete ? "\n" : " incomplete\n");
}

static void hold_more(struct http_exchange *x)
{
	x->held += hold_each;
	x->yields = x->held > 0;
}

static void on_give_way(void *context, struct http_exchange *x)
{
	assert_true(x->yields);
	n_gave++;
	x->held = 100;
	x->yields = false;
}

static void on_request(void *context, struct http_exchange *x)
{
	hold_more(x);
	n_requests++;
	x->user = malloc(1);
	users++;
	if (!quiet)
		put_message("request", x, &x->request);
}

static void on_progress(void *context, struct http_exchange *x)
{
	hold_more(x);
	n_progress++;
	progress_bytes += x->response.piece.len;
	most_body = MAX(most_body, x->response.body.cap);
	most_marks = MAX(most_marks, x->response.n_marks);
	if (!quiet)
		buf_printf(&told, "progress %.*s [%.*s]\n", (int)x->request.head.path.len,
			   x->request.head.path.p, (int)x->response.piece.len, x->response.piece.p);
}

static void on_response(void *context, struct http_exchange *x)
{
	n_responses++;
	newest_begin_ns[HTTP_REQUEST] = x->request.begin_ns;
	newest_begin_ns[HTTP_RESPONSE] = x->response.begin_ns;
	newest_tid = x->who.tid;
	most_body = MAX(most_body, x->response.body.cap);
	if (!quiet)
		put_message("response", x, &x->response);
}

static void on_forget(void *context, struct http_exchange *x)
{
	if (x->user)
		users--;
	free(x->user);
}

static void on_ws(void *context, struct http_exchange *x, enum http_side side, bool text,
		  struct http_text payload, uint64_t boot_ns)
{
	hold_more(x);
	buf_printf(&told, "%s %.*s %s [%.*s]", text ? "text" : "binary",
		   (int)x->request.head.path.len, x->request.head.path.p,
		   side == HTTP_REQUEST ? "->" : "<-", (int)payload.len, payload.p);
	if (x->message_full != payload.len)
		buf_printf(&told, " of %llu", (unsigned long long)x->message_full);
	if (x->message_incomplete)
		buf_add_str(&told, " incomplete");
	buf_add_char(&told, '\n');
}

static const struct http_observer observer = {NULL,      on_request, on_progress, on_response,
					      on_forget, on_ws,      on_give_way};

static struct http_conn *open_conn(bool fresh)
{
	const struct http_conn_options opt = {.stream_id = 42, .tls = true, .fresh = fresh};
	struct http_conn *c;

	assert_int_equal(http_conn_new(pool, &opt, &c), 0);
	return c;
}

static int open_pool(size_t body_max, size_t memory_max)
{
	const struct http_limits limits = {body_max, memory_max};

	users = n_requests = n_responses = n_progress = progress_bytes = 0;
	most_body = most_marks = 0;
	hold_each = n_gave = 0;
	quiet = false;
	ends = (struct as_conn){};
	who.boot_ns = 1000;
	buf_reset(&told);
	return http_pool_new(&limits, &observer, &pool);
}

static int set_up(void **state)
{
	if (open_pool(0, 0) < 0)
		return -1;
	conn = open_conn(true);
	return 0;
}

static int tear_down(void **state)
{
	http_conn_free(conn);
	if (users || http_pool_counts(pool)->open || http_pool_counts(pool)->memory)
		return -1;
	http_pool_free(pool);
	buf_done(&told);
	return 0;
}

static void set_limits(size_t body_max, size_t memory_max)
{
	tear_down(NULL);
	assert_int_equal(open_pool(body_max, memory_max), 0);
	conn = open_conn(true);
}

/* ---- bytes ---- */

static void feed_to(struct http_conn *c, uint32_t direction, const void *p, size_t n)
{
	const struct http_origin origin = {&who, &ends};
	_cleanup_(freep) void *copy = malloc(n + !n); /* so that a sanitizer sees its ends */

	memcpy(copy, p, n);
	who.boot_ns += 1000;
	http_conn_feed(c, direction, copy, n, &origin);
}

static void feed(uint32_t direction, const char *text)
{
	feed_to(conn, direction, text, strlen(text));
}

/* A call that began so long ago. */
static void feed_since(uint32_t direction, const char *text, uint64_t ns)
{
	who.boot_ns -= 1000 + ns;
	feed(direction, text);
	who.boot_ns += ns;
}

static void expect(const char *text)
{
	assert_string_equal(buf_cstr(&told), text);
	buf_reset(&told);
}

#define GET(path)   "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define OK(n, body) "HTTP/1.1 200 OK\r\nContent-Length: " #n "\r\n\r\n" body

static void kept_alive_exchanges_are_told_one_by_one(void **state)
{
	feed(WRITE, GET("/a"));
	expect("request GET /a []\n");
	feed(READ, OK(2, "A"));
	expect("");
	feed(READ, "a");
	expect("response GET /a 200 [Aa]\n");
	feed(WRITE, "POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nb");
	feed(WRITE, "ye");
	feed(READ, OK(0, ""));
	expect("request POST /b [bye]\nresponse POST /b 200 []\n");
	assert_int_equal(http_pool_counts(pool)->open, 0);
	assert_int_equal(http_pool_counts(pool)->memory, 0);
}

static void pipelined_requests_get_their_own_answers(void **state)
{
	feed(WRITE, GET("/1") GET("/2") GET("/3"));
	feed(READ, OK(1, "x") OK(1, "y"));
	feed(READ, OK(1, "z"));
	expect("request GET /1 []\nrequest GET /2 []\nrequest GET /3 []\n"
	       "response GET /1 200 [x]\nresponse GET /2 200 [y]\nresponse GET /3 200 [z]\n");
}

static void who_reads_requests_is_the_server(void **state)
{
	feed(READ, GET("/a"));
	feed(WRITE, OK(2, "ok"));
	expect("request GET /a []\nresponse GET /a 200 [ok]\n");
}

static void an_interim_response_is_no_response(void **state)
{
	feed(WRITE,
	     "PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n");
	feed(READ, "HTTP/1.1 100 Continue\r\nX-One: 1\r\n\r\n");
	feed(WRITE, "a");
	feed(READ, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" OK(2, "ok"));
	expect("request PUT /a [a]\nresponse PUT /a 200 [ok]\n");
}

static void an_early_answer_waits_for_the_rest_of_its_request(void **state)
{
	feed(WRITE, "PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\na");
	feed(READ, OK(2, "no"));
	expect("");
	feed(WRITE, "b");
	expect("request PUT /a [ab]\nresponse PUT /a 200 [no]\n");
}

static void a_response_without_a_request_has_no_method(void **state)
{
	http_conn_free(conn);
	conn = open_conn(false);
	feed(READ, OK(2, "ok"));
	feed(WRITE, GET("/a"));
	feed(READ, OK(2, "ok"));
	expect("response   200 [ok]\nrequest GET /a []\nresponse GET /a 200 [ok]\n");
	feed(READ, OK(2, "no"));
	http_pool_tick(pool, who.boot_ns);
	expect("");
	http_pool_tick(pool, who.boot_ns + HTTP_AHEAD_NS);
	expect("response   200 [no]\n");
	feed_since(WRITE, GET("/b"), 10000);
	feed(READ, OK(1, "b"));
	expect("request GET /b []\nresponse GET /b 200 [b]\n");
}

static void an_answer_that_was_read_before_its_request_was_sent_waits_for_it(void **state)
{
	for (int i = 0; i < 3; i++) {
		feed(READ, OK(2, "ok"));
		expect("");
		feed_since(WRITE, GET("/a"), 1000);
		expect("request GET /a []\nresponse GET /a 200 [ok]\n");
	}
	/* its call is known to have begun earlier than its time */
	feed(READ, OK(2, "ok"));
	who.flags = AS_F_EARLIER;
	feed(WRITE, GET("/b"));
	who.flags = 0;
	expect("request GET /b []\nresponse GET /b 200 [ok]\n");
	assert_int_equal(http_pool_counts(pool)->open, 0);
}

/* ---- streams ---- */

#define SSE                                                                     \
	"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n" \
	"Transfer-Encoding: chunked\r\n\r\n"

static void two_event_streams_on_one_thread_stay_apart(void **state)
{
	struct http_conn *other = open_conn(true), *first = conn;

	feed(WRITE, GET("/one"));
	conn = other;
	feed(WRITE, GET("/two"));
	conn = first;
	feed(READ, SSE);
	conn = other;
	feed(READ, SSE);
	buf_reset(&told);
	for (int i = 0; i < 2; i++) {
		conn = first;
		feed(READ, "3\r\none\r\n");
		conn = other;
		feed(READ, "3\r\ntwo\r\n");
	}
	conn = first;
	feed(READ, "0\r\n\r\n");
	feed_to(other, READ, "0\r\n\r\n", 5);
	expect("progress /one [one]\nprogress /two [two]\nprogress /one [one]\n"
	       "progress /two [two]\nresponse GET /one 200 [oneone]\n"
	       "response GET /two 200 [twotwo]\n");
	http_conn_free(other);
}

static void an_endless_event_stream_does_not_grow(void **state)
{
	char chunk[4096 + 16];

	set_limits(64 << 10, 0);
	quiet = true;
	feed(WRITE, GET("/s"));
	feed(READ, SSE);
	memset(chunk, 'x', sizeof(chunk));
	memcpy(chunk, "1000\r\n", 6);
	memcpy(chunk + 6 + 4096, "\r\n", 2);
	for (int i = 0; i < 20000; i++)
		feed_to(conn, READ, chunk, 4096 + 8);
	assert_int_equal(n_progress, 20000);
	assert_int_equal(progress_bytes, 20000 * 4096ULL);
	assert_true(most_body <= 64 << 10);
	assert_true(most_marks <= 16);
	assert_true(http_pool_counts(pool)->memory < 128 << 10);
	quiet = false;
	feed(READ, "0\r\n\r\n");
	buf_cstr(&told);
	assert_non_null(strstr(told.data, "x] of 81920000\n"));
}

static void marks_say_when_a_piece_came(void **state)
{
	quiet = true;
	set_limits(0, 0);
	feed(WRITE, GET("/s"));
	feed(READ, SSE);
	for (int i = 0; i < 5000; i++)
		feed(READ, "1\r\nx\r\n");
	assert_int_equal(most_marks, HTTP_MARKS_MAX);
	feed(READ, "0\r\n\r\n");
}

/* ---- HTTP/2 ---- */

static struct buf wire;

static void frame(unsigned type, unsigned flags, uint32_t stream, const void *p, size_t n)
{
	const uint8_t head[9] = {n >> 16,      n >> 8,       n,           type,  flags,
				 stream >> 24, stream >> 16, stream >> 8, stream};

	buf_add(&wire, head, 9);
	buf_add(&wire, p, n);
}

/* Literal fields without indexing. */
static void field(struct buf *b, const char *name, const char *value)
{
	buf_add_char(b, 0);
	buf_add_char(b, (char)strlen(name));
	buf_add_str(b, name);
	buf_add_char(b, (char)strlen(value));
	buf_add_str(b, value);
}

static void headers(uint32_t stream, unsigned flags, const char *const pairs[][2], size_t n)
{
	_cleanup_(buf_done) struct buf b = {};

	for (size_t i = 0; i < n; i++)
		field(&b, pairs[i][0], pairs[i][1]);
	frame(1, 4 | flags, stream, b.data, b.len);
}

static void send_wire(uint32_t direction)
{
	feed_to(conn, direction, wire.data, wire.len);
	buf_reset(&wire);
}

static void h2_get(uint32_t stream, const char *path)
{
	const char *const pairs[][2] = {
		{":method", "GET"}, {":scheme", "https"}, {":authority", "h"}, {":path", path}};

	headers(stream, 1, pairs, ARRAY_SIZE(pairs));
}

static void h2_answer(uint32_t stream, const char *body, bool end)
{
	const char *const pairs[][2] = {{":status", "200"}, {"x-y", "1"}};

	headers(stream, 0, pairs, ARRAY_SIZE(pairs));
	frame(0, end, stream, body, strlen(body));
}

static void h2_start(void)
{
	buf_add_lit(&wire, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
	frame(4, 0, 0, NULL, 0);
	send_wire(WRITE);
	frame(4, 0, 0, NULL, 0);
	send_wire(READ);
}

static void a_thousand_streams_of_HTTP_2_are_told_apart(void **state)
{
	char path[16], want[64];

	h2_start();
	for (uint32_t i = 0; i < 1000; i++) {
		snprintf(path, sizeof(path), "/%u", i);
		h2_get(2 * i + 1, path);
	}
	send_wire(WRITE);
	assert_int_equal(n_requests, 1000);
	assert_int_equal(http_pool_counts(pool)->open, 1000);
	buf_reset(&told);
	for (uint32_t i = 0; i < 1000; i++) {
		snprintf(path, sizeof(path), "b%u", i * 7 % 1000);
		h2_answer(2 * (i * 7 % 1000) + 1, path, true);
		send_wire(READ);
		snprintf(want, sizeof(want), "response GET /%u 200 [b%u]\n", i * 7 % 1000,
			 i * 7 % 1000);
		expect(want);
	}
	assert_int_equal(http_pool_counts(pool)->open, 0);
}

static void an_answer_of_HTTP_2_that_was_read_first_waits_for_its_request(void **state)
{
	h2_start();
	h2_answer(1, "a", true);
	h2_answer(3, "c", true);
	send_wire(READ);
	expect("");
	h2_get(3, "/c");
	send_wire(WRITE);
	expect("request GET /c []\nresponse GET /c 200 [c]\n");
	http_pool_tick(pool, who.boot_ns + HTTP_AHEAD_NS);
	expect("response   200 [a]\n");
	h2_answer(5, "e", true);
	send_wire(READ);
	http_conn_end(conn, who.boot_ns, true);
	expect("response   200 [e]\n");
}

#define ASK_H2C                                                                  \
	"POST /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\n" \
	"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nContent-Length: 2\r\n\r\nhi"
#define GRANT_H2C "HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: H2C\r\n\r\n"

static void a_request_of_HTTP_1_may_be_answered_by_HTTP_2(void **state)
{
	for (int together = 0; together < 2; together++) {
		tear_down(NULL);
		set_up(NULL);
		/* whose number HTTP/2 uses again */
		feed(WRITE, GET("/1"));
		feed(READ, OK(1, "1"));
		feed(WRITE, ASK_H2C);
		buf_reset(&told);
		buf_add_lit(&wire, GRANT_H2C);
		frame(4, 0, 0, NULL, 0);
		if (together)
			h2_answer(1, "ha", true);
		send_wire(READ);
		buf_add_lit(&wire, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
		frame(4, 0, 0, NULL, 0);
		h2_get(3, "/3");
		send_wire(WRITE);
		if (!together)
			h2_answer(1, "ha", true);
		h2_answer(3, "3", true);
		send_wire(READ);
		expect(together ? "response POST /a 200 [ha]\nrequest GET /3 []\n"
				  "response GET /3 200 [3]\n"
				: "request GET /3 []\nresponse POST /a 200 [ha]\n"
				  "response GET /3 200 [3]\n");
		assert_int_equal(http_pool_counts(pool)->open, 0);
	}
}

static void an_answer_that_HTTP_2_was_to_give_may_not_come(void **state)
{
	feed(WRITE, ASK_H2C);
	feed(READ, GRANT_H2C);
	h2_start();
	expect("request POST /a [hi]\n");
	http_conn_end(conn, who.boot_ns, true);
	assert_int_equal(http_pool_counts(pool)->open, 0);
}

static void a_reset_stream_is_told_as_incomplete(void **state)
{
	h2_start();
	h2_get(1, "/a");
	h2_get(3, "/b");
	send_wire(WRITE);
	h2_answer(1, "aa", false);
	frame(3, 0, 1, "\0\0\0\2", 4);
	frame(3, 0, 3, "\0\0\0\2", 4);
	send_wire(READ);
	expect("request GET /a []\nrequest GET /b []\nresponse GET /a 200 [aa] incomplete\n");
	assert_int_equal(http_pool_counts(pool)->open, 0);
}

/* What of them is of other streams, or of none, begins nothing. */
static void messages_of_HTTP_2_begin_with_their_own_bytes(void **state)
{
	h2_start(); /* writes at 2000, reads at 3000 */
	h2_get(1, "/a");
	who.tid = 1;
	send_wire(WRITE); /* 4000 */
	frame(6, 0, 0, "12345678", 8);
	who.tid = 2;
	send_wire(READ); /* 5000 */
	frame(8, 0, 0, "\0\0\0\2", 4);
	who.tid = 3;
	send_wire(WRITE); /* 6000 */
	h2_answer(1, "a", true);
	who.tid = 4;
	send_wire(READ); /* 7000 */
	assert_int_equal(newest_begin_ns[HTTP_REQUEST], 4000);
	assert_int_equal(newest_begin_ns[HTTP_RESPONSE], 7000);
	frame(8, 0, 0, "\0\0\0\2", 4);
	send_wire(WRITE); /* 8000 */
	h2_get(3, "/b");
	who.tid = 5;
	send_wire(WRITE); /* 9000 */
	h2_answer(3, "b", true);
	who.tid = 6;
	send_wire(READ); /* 10000 */
	assert_int_equal(newest_begin_ns[HTTP_REQUEST], 9000);
	assert_int_equal(newest_begin_ns[HTTP_RESPONSE], 10000);
	assert_int_equal(newest_tid, 5);
	who.tid = 8;
}

static void HTTP_2_switches_to_nothing(void **state)
{
	const char *const pairs[][2] = {{":status", "101"}};

	h2_start();
	h2_get(1, "/a");
	send_wire(WRITE);
	headers(1, 0, pairs, ARRAY_SIZE(pairs));
	h2_answer(1, "a", true);
	send_wire(READ);
	expect("request GET /a []\nresponse GET /a 200 [a]\n");
	assert_int_equal(http_pool_counts(pool)->open, 0);
}

static void a_second_preface_begins_another_connection(void **state)
{
	h2_start();
	h2_get(1, "/a");
	send_wire(WRITE);
	h2_start();
	h2_get(1, "/b");
	send_wire(WRITE);
	h2_answer(1, "b", true);
	send_wire(READ);
	expect("request GET /a []\nrequest GET /b []\nresponse GET /b 200 [b]\n");
}

/* ---- upgrades ---- */

#define UPGRADE                                                                          \
	"GET /chat HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" \
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
#define SWITCHING                                                                           \
	"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n" \
	"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

static void messages_follow_an_upgrade_to_WebSocket(void **state)
{
	feed(WRITE, UPGRADE);
	feed(READ, SWITCHING "\x81\x05hello");
	feed(WRITE, "\x81\x82\x01\x01\x01\x01ii");
	feed(READ, "\x02\x01"
		   "a");
	feed(READ, "\x80\x01"
		   "b");
	expect("request GET /chat []\nresponse GET /chat 101 []\ntext /chat <- [hello]\n"
	       "text /chat -> [hh]\nbinary /chat <- [ab]\n");
	assert_int_equal(http_pool_counts(pool)->open, 1);
	http_conn_end(conn, 1, true);
	assert_int_equal(http_pool_counts(pool)->open, 0);
	expect("");
}

static void what_is_missing_of_a_WebSocket_is_told_or_counted(void **state)
{
	const struct http_pool_counts *counts = http_pool_counts(pool);

	feed(WRITE, UPGRADE);
	feed(READ, SWITCHING "\x81\x05hel");
	feed(WRITE, "\x81\x05hel");
	buf_reset(&told);
	http_conn_gap(conn, READ, 2);
	expect("text /chat <- [hel] of 5 incomplete\n");
	assert_int_equal(counts->ws_lost, 1);
	feed(READ, "\x81\x01x");
	assert_int_equal(counts->ws_lost, 2);
	http_conn_doubt(conn);
	feed(WRITE, "lo\x81\x02hi\x81\x03ho");
	expect("text /chat -> [hello] incomplete\ntext /chat -> [hi]\n");
	assert_int_equal(counts->ws_lost, 2);
	http_conn_end(conn, 1, true);
	expect("text /chat -> [ho] of 3 incomplete\n");
}

/* As much as could be unpacked has just the length that is known then. */
static void a_message_that_could_not_be_unpacked_is_incomplete(void **state)
{
	feed(WRITE, UPGRADE);
	feed(READ, "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n"
		   "Sec-WebSocket-Extensions: permessage-deflate\r\n"
		   "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
	buf_reset(&told);
	/* a stored block of "hi", then a block of a type that there is not */
	feed_to(conn, READ, "\xc1\x08\x00\x02\x00\xfd\xffhi\x07", 10);
	expect("text /chat <- [hi] incomplete\n");
	/* and those behind it */
	feed_to(conn, READ, "\xc1\x07\x00\x02\x00\xfd\xffhi", 9);
	expect("text /chat <- [] of 7 incomplete\n");
}

static void messages_with_an_unknown_extension_are_counted(void **state)
{
	feed(WRITE, UPGRADE);
	feed(READ, "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n"
		   "Sec-WebSocket-Extensions: x-new\r\n"
		   "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
	buf_reset(&told);
	feed(READ, "\xf1\x01x");
	feed(WRITE, "\xf1\x01x");
	expect("");
	assert_int_equal(http_pool_counts(pool)->ws_lost, 2);
}

static void what_goes_through_a_tunnel_is_not_looked_at(void **state)
{
	feed(WRITE, "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n");
	feed(READ, "HTTP/1.1 200 Connection established\r\n\r\n");
	feed(WRITE, GET("/inside"));
	feed(READ, OK(2, "ok"));
	expect("request CONNECT h:443 []\nresponse CONNECT h:443 200 []\n");
}

/* ---- what is missing ---- */

static void a_gap_leaves_what_follows_whole(void **state)
{
	feed(WRITE, GET("/a"));
	feed(READ, OK(10, "aaaa"));
	http_conn_gap(conn, READ, 6);
	expect("request GET /a []\nresponse GET /a 200 [aaaa] of 10 (bytes behind these were not "
	       "seen) incomplete\n");
	feed(WRITE, GET("/b"));
	feed(READ, OK(2, "bb"));
	expect("request GET /b []\nresponse GET /b 200 [bb]\n");
}

static void a_gap_that_no_message_shows_is_counted(void **state)
{
	const uint64_t *lost = http_pool_counts(pool)->lost;

	feed(WRITE, GET("/a"));
	http_conn_gap(conn, READ, 100);
	assert_int_equal(lost[HTTP_RESPONSE], 1);
	http_conn_gap(conn, WRITE, 100);
	assert_int_equal(lost[HTTP_REQUEST], 1);
	feed(WRITE, "GET /b HTTP/1.1\r\n");
	feed(WRITE, "Host: h\r\n\r\n");
	feed(WRITE, "GET /is-not-told");
	http_conn_end(conn, 99999, true);
	assert_int_equal(lost[HTTP_REQUEST], 2);
	assert_int_equal(lost[HTTP_RESPONSE], 1);
	expect("request GET /a []\nrequest GET /b []\n");
}

static void nothing_is_kept_behind_a_hole(void **state)
{
	feed(WRITE, GET("/a"));
	feed(READ, OK(10, "aaaa"));
	http_conn_gap(conn, READ, 3);
	feed(READ, "ccc");
	expect("request GET /a []\nresponse GET /a 200 [aaaa] of 10 (bytes behind these were not "
	       "seen) incomplete\n");
	feed(WRITE, GET("/b"));
	feed(READ, "HTTP/1.1 200 OK\r\nContent-Encoding: x-none\r\nContent-Length: 6\r\n\r\nbb");
	http_conn_gap(conn, READ, 2);
	feed(READ, "dd");
	expect("request GET /b []\nresponse GET /b 200 [bb] (unknown content encoding: not "
	       "decoded) incomplete\n");
}

static void what_is_open_at_the_end_is_incomplete(void **state)
{
	feed(WRITE, GET("/a"));
	feed(READ, OK(10, "aaaa"));
	http_conn_end(conn, 99999, true);
	expect("request GET /a []\nresponse GET /a 200 [aaaa] incomplete\n");
	feed(WRITE, "POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nb");
	http_conn_end(conn, 99999, true);
	expect("request POST /b [b] incomplete\n");
}

static void a_body_that_lasts_until_the_end_is_complete_with_it(void **state)
{
	feed(WRITE, GET("/a"));
	feed(READ, "HTTP/1.1 200 OK\r\n\r\nall of it");
	http_conn_end(conn, 99999, true);
	expect("request GET /a []\nresponse GET /a 200 [all of it]\n");
}

static void doubt_shows_in_what_is_open_only(void **state)
{
	feed(WRITE, GET("/a"));
	http_conn_doubt(conn);
	feed(READ, OK(2, "aa"));
	feed(WRITE, GET("/b"));
	feed(READ, OK(2, "bb"));
	expect("request GET /a []\nresponse GET /a 200 [aa] incomplete\n"
	       "request GET /b []\nresponse GET /b 200 [bb]\n");
}

static struct as_conn socket_of(uint16_t port)
{
	return (struct as_conn){{.family = 2, .port = port}, {.family = 2, .port = 443}};
}

static void a_handshake_on_a_used_session_begins_another_connection(void **state)
{
	const struct http_origin origin = {&who, &ends};

	feed(WRITE, GET("/a"));
	feed(READ, OK(10, "aaaa"));
	assert_true(http_conn_handshake(conn, &origin));
	expect("request GET /a []\nresponse GET /a 200 [aaaa] incomplete\n");
	feed(WRITE, GET("/b"));
	feed(READ, OK(2, "bb"));
	expect("request GET /b []\nresponse GET /b 200 [bb]\n");
}

static void new_keys_on_the_same_socket_change_nothing(void **state)
{
	const struct http_origin origin = {&who, &ends};

	ends = socket_of(1000);
	feed(WRITE, GET("/a"));
	feed(READ, OK(4, "aa"));
	assert_false(http_conn_handshake(conn, &origin));
	feed(READ, "aa");
	expect("request GET /a []\nresponse GET /a 200 [aaaa]\n");
}

static void another_socket_is_another_connection(void **state)
{
	ends = socket_of(1000);
	feed(WRITE, GET("/a"));
	feed(READ, OK(4, "aa"));
	ends = socket_of(1001);
	feed(WRITE, GET("/b"));
	feed(READ, OK(2, "bb"));
	expect("request GET /a []\nresponse GET /a 200 [aa] incomplete\n"
	       "request GET /b []\nresponse GET /b 200 [bb]\n");
}

/* ---- what is not HTTP ---- */

static void what_is_not_HTTP_stays_so_when_its_beginning_was_seen(void **state)
{
	feed(READ, "220 mail ready\r\n");
	feed(WRITE, GET("/a"));
	expect("");
}

static void a_connection_seen_from_its_middle_is_looked_at_again(void **state)
{
	http_conn_free(conn);
	conn = open_conn(false);
	feed(READ, "the rest of something\r\n");
	feed(WRITE, GET("/a"));
	feed(READ, OK(2, "ok"));
	expect("request GET /a []\nresponse GET /a 200 [ok]\n");
}

static void after_what_makes_no_sense_a_request_is_found_again(void **state)
{
	feed(WRITE, GET("/a"));
	feed(READ, "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n");
	feed(READ, "\x01\x02\x03");
	feed(WRITE, "\x01\x02\x03\r\n\r\n");
	buf_reset(&told);
	feed(WRITE, GET("/b"));
	feed(READ, OK(2, "ok"));
	expect("request GET /b []\nresponse GET /b 200 [ok]\n");
}

static void first_bytes_may_come_one_by_one(void **state)
{
	static const char request[] = GET("/a"), response[] = OK(2, "ok");

	for (size_t i = 0; i + 1 < sizeof(request); i++)
		feed_to(conn, WRITE, request + i, 1);
	for (size_t i = 0; i + 1 < sizeof(response); i++)
		feed_to(conn, READ, response + i, 1);
	expect("request GET /a []\nresponse GET /a 200 [ok]\n");
}

/* ---- bounds ---- */

static void a_packed_body_is_unpacked(void **state)
{
	z_stream z = {};
	char packed[256], head[256];
	int n;

	assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = (Bytef *)"hello hello hello hello";
	z.avail_in = 23;
	z.next_out = (Bytef *)packed;
	z.avail_out = sizeof(packed);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	feed(WRITE, GET("/z"));
	n = snprintf(head, sizeof(head),
		     "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %lu\r\n\r\n",
		     z.total_out);
	feed_to(conn, READ, head, (size_t)n);
	feed_to(conn, READ, packed, 10);
	feed_to(conn, READ, packed + 10, z.total_out - 10);
	expect("request GET /z []\nresponse GET /z 200 [hello hello hello hello]\n");
}

static void an_unknown_encoding_is_said_and_the_bytes_are_kept(void **state)
{
	feed(WRITE, GET("/z"));
	feed(READ, "HTTP/1.1 200 OK\r\nContent-Encoding: rot13\r\nContent-Length: 3\r\n\r\nnop");
	buf_cstr(&told);
	assert_non_null(strstr(told.data, "[nop] ("));
}

static void a_long_body_is_cut_and_counted(void **state)
{
	set_limits(4, 0);
	feed(WRITE, GET("/a"));
	feed(READ, OK(10, "abc"));
	feed(READ, "defghij");
	expect("request GET /a []\nresponse GET /a 200 [abcd] of 10\n");
}

static void the_largest_body_gives_way(void **state)
{
	static char bytes[600 << 10];
	struct http_conn *small = open_conn(true);

	http_conn_free(small);
	set_limits(0, 1 << 20);
	small = open_conn(true);
	feed(WRITE, GET("/large"));
	feed_to(small, WRITE, GET("/small"), strlen(GET("/small")));
	feed(READ, "HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n");
	feed_to(small, READ, "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n", 43);
	memset(bytes, 'x', sizeof(bytes));
	feed_to(conn, READ, bytes, sizeof(bytes));
	feed_to(small, READ, bytes, 200000);
	assert_true(http_pool_counts(pool)->memory <= 1 << 20);
	quiet = true;
	buf_reset(&told);
	feed_to(conn, READ, bytes, sizeof(bytes));
	assert_true(http_pool_counts(pool)->memory <= 1 << 20);
	http_conn_free(small);
	assert_int_equal(n_responses, 1);
}

#define STREAM "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"

static void what_the_observer_holds_counts_as_memory(void **state)
{
	const struct http_pool_counts *counts = http_pool_counts(pool);

	hold_each = 100 << 10;
	quiet = true;
	feed(WRITE, GET("/a"));
	assert_in_range(counts->memory, hold_each, hold_each + (10 << 10));
	feed(READ, STREAM "a");
	feed(READ, "b");
	assert_in_range(counts->memory, 3 * hold_each, 3 * hold_each + (10 << 10));
	assert_int_equal(counts->memory, http_conn_memory(conn));
	http_conn_end(conn, 1, true);
	assert_int_equal(counts->memory, 0);
	feed(WRITE, UPGRADE);
	feed(READ, SWITCHING);
	feed(READ, "\x81\x02hi");
	assert_true(counts->memory > 2 * hold_each);
	http_conn_end(conn, 1, true);
	assert_int_equal(counts->memory, 0);
	assert_int_equal(n_gave, 0);
}

static void the_observer_gives_way_where_it_holds_most(void **state)
{
	static char bytes[300 << 10];
	struct http_conn *other = open_conn(true);

	http_conn_free(other);
	set_limits(0, 1 << 20);
	quiet = true;
	other = open_conn(true);
	feed_to(other, WRITE, GET("/b"), strlen(GET("/b")));
	feed_to(other, READ, STREAM, strlen(STREAM));
	feed_to(other, READ, bytes, sizeof(bytes));
	hold_each = 500 << 10;
	feed(WRITE, GET("/a"));
	assert_int_equal(n_gave, 0);
	hold_each = 300 << 10;
	feed(READ, STREAM "a");
	assert_int_equal(n_gave, 1); /* 800 KiB are more than that body */
	assert_int_equal(http_pool_counts(pool)->gave_way, 1);
	assert_true(http_pool_counts(pool)->memory <= 1 << 20);
	http_conn_free(other);
}

/* None of them is large. */
static void an_observer_that_finds_no_room_gives_way_itself(void **state)
{
	enum { N = 400 };

	set_limits(0, 1 << 20);
	quiet = true;
	h2_start();
	for (uint32_t i = 0; i < N; i++)
		h2_get(2 * i + 1, "/a");
	hold_each = 4 << 10;
	send_wire(WRITE);
	assert_true(n_gave > 0);
	assert_true(http_pool_counts(pool)->memory <= (1 << 20) + (64 << 10));
	assert_int_equal(n_requests + http_pool_counts(pool)->lost[HTTP_REQUEST], N);
}

static void an_observer_that_does_not_yield_is_left_alone(void **state)
{
	enum { N = 8 };

	set_limits(0, 1 << 20);
	quiet = true;
	h2_start();
	for (uint32_t i = 0; i < N; i++)
		h2_get(2 * i + 1, "/a");
	hold_each = 500 << 10;
	send_wire(WRITE);
	assert_true(n_gave > 0 && n_gave <= N);
	hold_each = 0;
	http_conn_end(conn, 1, true);
	assert_int_equal(http_pool_counts(pool)->memory, 0);
}

/* Each is too small to give anything. */
static void many_small_bodies_are_bounded_too(void **state)
{
	static char bytes[10 << 10];

	set_limits(0, 1 << 20);
	quiet = true;
	h2_start();
	for (uint32_t i = 0; i < 100; i++)
		h2_get(2 * i + 1, "/a");
	send_wire(WRITE);
	for (uint32_t i = 0; i < 100; i++)
		h2_answer(2 * i + 1, "", false);
	send_wire(READ);
	for (uint32_t i = 0; i < 600; i++) {
		frame(0, 0, 2 * (i % 100) + 1, bytes, sizeof(bytes));
		send_wire(READ);
	}
	assert_true(http_pool_counts(pool)->memory <= (1 << 20) + (64 << 10));
	assert_true(http_pool_counts(pool)->gave_way > 0);
}

/* There is room for all that is kept of the bodies. */
static void decoders_are_bounded_and_one_that_ends_is_told(void **state)
{
	static const char *const pairs[][2] = {{":status", "200"}, {"content-encoding", "zstd"}};
	/* a window of 8 MiB, and two blocks of 128 KiB */
	static const char body[] = "\x28\xb5\x2f\xfd\0\x68\2\0\x10\0\2\0\x10";

	set_limits(64 << 10, 16 << 20);
	h2_start();
	for (uint32_t i = 0; i < 100; i++)
		h2_get(2 * i + 1, "/a");
	send_wire(WRITE);
	for (uint32_t i = 0; i < 100; i++) {
		headers(2 * i + 1, 0, pairs, ARRAY_SIZE(pairs));
		frame(0, 0, 2 * i + 1, body, sizeof(body));
		send_wire(READ);
		assert_true(http_pool_counts(pool)->memory <= (16 << 20) + (64 << 10));
	}
	assert_true(http_pool_counts(pool)->gave_way > 0);
	buf_reset(&told);
	frame(0, 1, 199, "", 0);
	send_wire(READ);
	buf_cstr(&told);
	assert_non_null(strstr(told.data, "(the memory for bodies is used up)"));
}

static void what_parsers_hold_counts_as_memory(void **state)
{
	const struct http_pool_counts *counts = http_pool_counts(pool);
	static char bytes[100 << 10];

	memset(bytes, 'x', sizeof(bytes));
	feed(WRITE, "GET /a HTTP/1.1\r\nX: ");
	feed_to(conn, WRITE, bytes, sizeof(bytes));
	assert_true(counts->memory >= sizeof(bytes));
	h2_start();
	h2_get(1, "/a");
	send_wire(WRITE);
	for (uint32_t i = 0; i < 40; i++)
		frame(1, 5, 2 * i + 3, "\100\001n\001v", 5);
	send_wire(WRITE);
	for (uint32_t i = 0; i < 41; i++)
		frame(3, 0, 2 * i + 1, "\0\0\0\2", 4);
	send_wire(READ);
	assert_int_equal(counts->open, 0);
	assert_true(counts->memory >= 40 * 100);
	http_conn_end(conn, 1, true);
	assert_int_equal(counts->memory, 0);
}

static void messages_of_a_WebSocket_are_bounded_together_with_bodies(void **state)
{
	static char bytes[256 << 10];

	set_limits(0, 1 << 20);
	feed(WRITE, UPGRADE);
	feed(READ, SWITCHING);
	buf_reset(&told);
	feed_to(conn, READ, "\x81\x7f\0\0\0\0\0\x40\0\0", 10); /* 4 MiB */
	feed_to(conn, READ, bytes, sizeof(bytes));
	assert_true(http_pool_counts(pool)->memory >= sizeof(bytes));
	for (int i = 1; i < 16; i++) {
		feed_to(conn, READ, bytes, sizeof(bytes));
		assert_true(http_pool_counts(pool)->memory <= 1 << 20);
	}
	expect("text /chat <- [] of 4194304\n");
	feed(READ, "\x81\x02hi");
	expect("text /chat <- [hi]\n");
}

static void endless_headers_are_cut(void **state)
{
	_cleanup_(buf_done) struct buf b = {};

	h2_start();
	for (int i = 0; i < 3000; i++)
		field(&b, "x-abcdefgh",
		      "0123456789012345678901234567890123456789012345678901234567890123456789");
	buf_reset(&wire);
	h2_get(1, "/a");
	send_wire(WRITE);
	for (size_t at = 0; at < b.len; at += 16000)
		frame(at ? 9 : 1, at + 16000 >= b.len ? 4 : 0, 1, b.data + at,
		      MIN((size_t)16000, b.len - at));
	send_wire(READ);
	assert_true(http_pool_counts(pool)->memory < 2 << 20);
}

static void requests_that_nobody_answers_are_told_and_bounded(void **state)
{
	quiet = true;
	h2_start();
	for (uint32_t i = 0; i < 3 * HTTP_OPEN_MAX; i++)
		h2_get(2 * i + 1, "/a");
	send_wire(WRITE);
	assert_true(http_pool_counts(pool)->open <= HTTP_OPEN_MAX);
	assert_int_equal(n_requests, 3 * HTTP_OPEN_MAX);
}

static void an_idle_connection_costs_little(void **state)
{
	enum { N = 1000 };
	static struct http_conn *many[N];
	struct http_conn *own = conn;
	size_t before = mallinfo2().uordblks, held;

	quiet = true;
	for (int i = 0; i < N; i++) {
		many[i] = conn = open_conn(true);
		if (i % 2) {
			h2_start();
			h2_get(1, "/a");
			send_wire(WRITE);
			h2_answer(1, "body", true);
			send_wire(READ);
			continue;
		}
		feed(WRITE, GET("/a"));
		feed(READ, OK(4, "body"));
	}
	assert_int_equal(n_responses, N);
	held = mallinfo2().uordblks - before;
	printf("%zu bytes per idle connection\n", held / N);
	assert_true(held / N < 64 << 10);
	for (int i = 0; i < N; i++)
		http_conn_free(many[i]);
	conn = own;
}

/* ---- cut anywhere ---- */

static uint32_t random_next(void)
{
	static uint64_t seed = 1;

	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(seed >> 33);
}

static void feed_cut(uint32_t direction, const char *text)
{
	size_t n = strlen(text), cut;

	for (size_t at = 0; at < n; at += cut) {
		cut = MIN(1 + random_next() % 40, n - at);
		feed_to(conn, direction, text + at, cut);
	}
}

static void pieces_may_be_cut_anywhere(void **state)
{
	for (int i = 0; i < 500; i++) {
		http_conn_free(conn);
		conn = open_conn(i % 2);
		feed_cut(WRITE, GET("/1") "POST /2 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
					  "chunked\r\n\r\n"
					  "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
		feed_cut(READ, OK(2, "ok") OK(3, "yes"));
		expect("request GET /1 []\nrequest POST /2 [abcde]\n"
		       "response GET /1 200 [ok]\nresponse POST /2 200 [yes]\n");
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(kept_alive_exchanges_are_told_one_by_one),
		TEST(pipelined_requests_get_their_own_answers),
		TEST(who_reads_requests_is_the_server),
		TEST(an_interim_response_is_no_response),
		TEST(an_early_answer_waits_for_the_rest_of_its_request),
		TEST(a_response_without_a_request_has_no_method),
		TEST(an_answer_that_was_read_before_its_request_was_sent_waits_for_it),
		TEST(two_event_streams_on_one_thread_stay_apart),
		TEST(an_endless_event_stream_does_not_grow),
		TEST(marks_say_when_a_piece_came),
		TEST(a_thousand_streams_of_HTTP_2_are_told_apart),
		TEST(an_answer_of_HTTP_2_that_was_read_first_waits_for_its_request),
		TEST(a_request_of_HTTP_1_may_be_answered_by_HTTP_2),
		TEST(an_answer_that_HTTP_2_was_to_give_may_not_come),
		TEST(a_reset_stream_is_told_as_incomplete),
		TEST(messages_of_HTTP_2_begin_with_their_own_bytes),
		TEST(HTTP_2_switches_to_nothing),
		TEST(a_second_preface_begins_another_connection),
		TEST(messages_follow_an_upgrade_to_WebSocket),
		TEST(what_is_missing_of_a_WebSocket_is_told_or_counted),
		TEST(a_message_that_could_not_be_unpacked_is_incomplete),
		TEST(messages_with_an_unknown_extension_are_counted),
		TEST(what_goes_through_a_tunnel_is_not_looked_at),
		TEST(a_gap_leaves_what_follows_whole),
		TEST(a_gap_that_no_message_shows_is_counted),
		TEST(nothing_is_kept_behind_a_hole),
		TEST(what_is_open_at_the_end_is_incomplete),
		TEST(a_body_that_lasts_until_the_end_is_complete_with_it),
		TEST(doubt_shows_in_what_is_open_only),
		TEST(a_handshake_on_a_used_session_begins_another_connection),
		TEST(new_keys_on_the_same_socket_change_nothing),
		TEST(another_socket_is_another_connection),
		TEST(what_is_not_HTTP_stays_so_when_its_beginning_was_seen),
		TEST(a_connection_seen_from_its_middle_is_looked_at_again),
		TEST(after_what_makes_no_sense_a_request_is_found_again),
		TEST(first_bytes_may_come_one_by_one),
		TEST(a_packed_body_is_unpacked),
		TEST(an_unknown_encoding_is_said_and_the_bytes_are_kept),
		TEST(a_long_body_is_cut_and_counted),
		TEST(the_largest_body_gives_way),
		TEST(many_small_bodies_are_bounded_too),
		TEST(decoders_are_bounded_and_one_that_ends_is_told),
		TEST(what_parsers_hold_counts_as_memory),
		TEST(what_the_observer_holds_counts_as_memory),
		TEST(the_observer_gives_way_where_it_holds_most),
		TEST(an_observer_that_finds_no_room_gives_way_itself),
		TEST(an_observer_that_does_not_yield_is_left_alone),
		TEST(messages_of_a_WebSocket_are_bounded_together_with_bodies),
		TEST(endless_headers_are_cut),
		TEST(requests_that_nobody_answers_are_told_and_bounded),
		TEST(an_idle_connection_costs_little),
		TEST(pieces_may_be_cut_anywhere),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	buf_done(&wire);
	return failed;
}
