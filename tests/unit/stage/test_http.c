/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "event/encode.h"
#include "event/record.h"
#include "event/schema.h"
#include "stage/http.h"
#include "unit/event/line.h"

#define READ  AS_TLS_READ
#define WRITE AS_TLS_WRITE

static struct stage *stage;
static struct buf rec, line;
static struct json_object *last[AS_EV_COUNT]; /* `data` of the newest line of each type */
static size_t n_events[AS_EV_COUNT];
static uint64_t last_ns; /* of the newest event */
static uint32_t last_tid;
static struct as_hdr who;
static struct as_conn socket_of_calls; /* with family 0: not known */
static uint16_t flags_of_calls;

static void hear(struct emitter *self, const struct event *ev)
{
	unsigned type = ev->desc->type;
	struct json_object *whole;
	const char *wrong;

	assert_true(ev->rec->boot_ns >= last_ns);
	last_ns = ev->rec->boot_ns;
	last_tid = ev->rec->tid;
	n_events[type]++;
	buf_reset(&line);
	event_encode_json(&line, ev);
	wrong = line_check(line.data, line.len, ev->desc);
	if (wrong)
		fail_msg("%s: %.*s", wrong, (int)line.len, line.data);
	whole = json_tokener_parse(buf_cstr(&line));
	json_object_put(last[type]);
	last[type] = json_object_get(json_object_object_get(whole, "data"));
	json_object_put(whole);
}

static struct emitter out = {hear};

static int open_stage(const struct http_observer *observer)
{
	const struct http_stage_options opt = {.observer = observer};

	return http_stage_new(&opt, &out, &stage);
}

static int open_bounded(size_t memory_max)
{
	const struct http_stage_options opt = {.limits = {.memory_max = memory_max}};

	return http_stage_new(&opt, &out, &stage);
}

static int set_up(void **state)
{
	memset(n_events, 0, sizeof(n_events));
	last_ns = 0;
	socket_of_calls = (struct as_conn){};
	flags_of_calls = 0;
	who = (struct as_hdr){.boot_ns = 1000, .start_ns = 2, .tgid = 3, .tid = 4, .comm = "agent"};
	return schema_init() < 0 ? -1 : open_stage(NULL);
}

static int tear_down(void **state)
{
	stage->free(stage);
	for (unsigned i = 0; i < AS_EV_COUNT; i++) {
		json_object_put(last[i]);
		last[i] = NULL;
	}
	buf_done(&rec);
	buf_done(&line);
	return 0;
}

static void emit(void)
{
	struct event ev;

	assert_int_equal(record_end(&rec, &ev), 0);
	event_emit(&stage->in, &ev);
}

/* One call that moved @len bytes, of which @n are shown. */
static void call_of(unsigned type, uint64_t stream, uint32_t direction, const void *p, size_t n,
		    size_t len)
{
	struct as_span span;
	struct as_ssl_data *d;

	who.boot_ns += 1000;
	record_begin(&rec, type, &who);
	span = record_add(&rec, p, n);
	span.full = (uint32_t)len;
	d = record_struct(&rec, as_ssl_data);
	d->h.flags = flags_of_calls;
	d->conn = socket_of_calls;
	d->stream_id = stream;
	d->direction = direction;
	d->len = len;
	d->data = span;
	emit();
}

static void call(uint64_t stream, uint32_t direction, const void *p, size_t n, size_t len)
{
	call_of(AS_EV_SSL_DATA, stream, direction, p, n, len);
}

static void plain(uint64_t stream, uint32_t direction, const char *text)
{
	call_of(AS_EV_NET_DATA, stream, direction, text, strlen(text), strlen(text));
}

static void data(uint64_t stream, uint32_t direction, const char *text)
{
	call(stream, direction, text, strlen(text), strlen(text));
}

/* As event/event.h has it: once a second. */
static void seconds(unsigned n)
{
	while (n--) {
		who.boot_ns += NSEC_PER_SEC;
		stage->tick(stage, who.boot_ns);
	}
}

static void happens(unsigned type, uint64_t stream)
{
	who.boot_ns += 1000;
	record_begin(&rec, type, &who);
	if (type == AS_EV_SSL_HANDSHAKE)
		record_struct(&rec, as_ssl_handshake)->stream_id = stream;
	emit();
}

/* The text at "a.b" in the newest event of @type. */
static const char *text_at(unsigned type, const char *group, const char *key)
{
	struct json_object *o = last[type];

	assert_non_null(o);
	if (group)
		o = json_object_object_get(o, group);
	o = json_object_object_get(o, key);
	return o ? json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
							     JSON_C_TO_STRING_NOSLASHESCAPE)
		 : "absent";
}

#define REQUEST(group, key, want) assert_string_equal(text_at(AS_EV_HTTP_REQUEST, group, key), want)
#define RESPONSE(group, key, want) \
	assert_string_equal(text_at(AS_EV_HTTP_RESPONSE, group, key), want)
#define GET(path)   "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define OK(n, body) "HTTP/1.1 200 Fine\r\nContent-Length: " #n "\r\n\r\n" body

static void an_exchange_becomes_two_events(void **state)
{
	data(1, WRITE, "POST /a?b HTTP/1.1\r\nHost: h:1\r\nContent-Length: 2\r\n\r\nq");
	who.tid = 9;
	data(1, WRITE, "r");
	assert_int_equal(last_tid, 4);
	data(1, READ, OK(3, "abc"));
	assert_int_equal(n_events[AS_EV_SSL_DATA], 3);
	assert_int_equal(n_events[AS_EV_HTTP_REQUEST], 1);
	assert_int_equal(n_events[AS_EV_HTTP_RESPONSE], 1);
	REQUEST(NULL, "role", "\"client\"");
	REQUEST(NULL, "stream_id", "1");
	REQUEST("request", "method", "\"POST\"");
	REQUEST("request", "path", "\"/a?b\"");
	REQUEST("request", "host", "\"h:1\"");
	REQUEST("request", "version", "\"HTTP/1.1\"");
	REQUEST("request", "headers", "{\"host\":\"h:1\",\"content-length\":\"2\"}");
	REQUEST("request", "body", "\"qr\"");
	REQUEST("request", "body_bytes", "2");
	REQUEST(NULL, "incomplete", "absent");
	RESPONSE("request", "method", "\"POST\"");
	RESPONSE("request", "body_bytes", "2");
	RESPONSE("response", "status", "200");
	RESPONSE("response", "reason", "\"Fine\"");
	RESPONSE("response", "body", "\"abc\"");
	RESPONSE(NULL, "duration_ns", "2000");
	RESPONSE(NULL, "first_byte_ns", "1000");
	RESPONSE(NULL, "exchange_id", text_at(AS_EV_HTTP_REQUEST, NULL, "exchange_id"));
}

static void a_header_that_comes_twice_is_an_array(void **state)
{
	data(1, WRITE, GET("/"));
	data(1, READ,
	     "HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nX: 1\r\nset-cookie: b\r\n"
	     "Content-Length: 0\r\nSET-COOKIE: c\r\n\r\n");
	RESPONSE("response", "headers",
		 "{\"set-cookie\":[\"a\",\"b\",\"c\"],\"x\":\"1\",\"content-length\":\"0\"}");
}

static void hostile_bytes_in_headers_stay_JSON(void **state)
{
	data(1, WRITE, "GET /\"\\ HTTP/1.1\r\nHost: \xff\xfe\"\\\t\r\nX-A: \"},{\"\r\n\r\n");
	assert_int_equal(n_events[AS_EV_HTTP_REQUEST], 1);
	REQUEST("request", "path", "\"/\\\"\\\\\"");
}

static void binary_bodies_are_base64(void **state)
{
	data(1, WRITE, GET("/"));
	call(1, READ, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\xff\x00\x01", 41, 41);
	RESPONSE("response", "body_base64", "\"/wAB\"");
	RESPONSE("response", "body", "absent");
}

static void sessions_and_processes_are_kept_apart(void **state)
{
	data(1, WRITE, GET("/1"));
	data(2, WRITE, GET("/2"));
	who.tgid = 4;
	data(1, WRITE, GET("/3"));
	data(1, READ, OK(0, ""));
	RESPONSE("request", "path", "\"/3\"");
	who.tgid = 3;
	data(2, READ, OK(0, ""));
	RESPONSE("request", "path", "\"/2\"");
	data(1, READ, OK(0, ""));
	RESPONSE("request", "path", "\"/1\"");
	who.start_ns++;
	data(1, READ, OK(0, ""));
	seconds(1);
	RESPONSE("request", "path", "\"\"");
}

static void an_exit_ends_what_is_open(void **state)
{
	data(1, WRITE, GET("/1"));
	data(1, READ, OK(9, "abc"));
	data(2, WRITE, "POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\na");
	who.tgid = 99;
	happens(AS_EV_EXIT, 0);
	assert_int_equal(n_events[AS_EV_HTTP_RESPONSE], 0);
	who.tgid = 3;
	happens(AS_EV_EXIT, 0);
	RESPONSE(NULL, "incomplete", "true");
	RESPONSE("response", "body", "\"abc\"");
	REQUEST(NULL, "incomplete", "true");
	assert_int_equal(http_stage_counts(stage)->connections, 0);
}

#define CLOSED_CONN 77

static void connection_closed(uint64_t id, struct as_conn socket)
{
	who.boot_ns += 1000;
	record_begin(&rec, AS_EV_CLOSE, &who);
	record_struct(&rec, as_flow)->local = socket.local;
	record_struct(&rec, as_flow)->remote = socket.remote;
	record_struct(&rec, as_flow)->conn_id = id;
	emit();
}

static void socket_closed(struct as_conn socket)
{
	connection_closed(CLOSED_CONN, socket);
}

static void connection_opened(unsigned type, uint64_t id, struct as_conn socket)
{
	who.boot_ns += 1000;
	record_begin(&rec, type, &who);
	if (type == AS_EV_CONNECT) {
		record_struct(&rec, as_connect)->local = socket.local;
		record_struct(&rec, as_connect)->remote = socket.remote;
		record_struct(&rec, as_connect)->conn_id = id;
	} else {
		record_struct(&rec, as_accept)->local = socket.local;
		record_struct(&rec, as_accept)->remote = socket.remote;
		record_struct(&rec, as_accept)->conn_id = id;
	}
	emit();
}

static void socket_opened(unsigned type, struct as_conn socket)
{
	connection_opened(type, CLOSED_CONN + 1, socket);
}

static struct as_conn socket_number(uint16_t port)
{
	return (struct as_conn){
		.local = {.ip = {127, 0, 0, 1}, .port = port, .family = 2},
		.remote = {.ip = {127, 0, 0, 2}, .port = 443, .family = 2},
	};
}

static void a_session_is_over_soon_after_its_socket(void **state)
{
	socket_of_calls = socket_number(1);
	data(1, WRITE, GET("/1"));
	data(1, READ, OK(9, "abc"));
	socket_of_calls = socket_number(2);
	data(2, WRITE, GET("/2"));
	socket_closed(socket_number(1));
	seconds(1);
	assert_int_equal(n_events[AS_EV_HTTP_RESPONSE], 0);
	seconds(2);
	RESPONSE("request", "path", "\"/1\"");
	RESPONSE(NULL, "incomplete", "true");
	assert_int_equal(http_stage_counts(stage)->connections, 1);
	data(2, READ, OK(0, ""));
	RESPONSE("request", "path", "\"/2\"");
}

static void the_socket_of_another_process_ends_no_session(void **state)
{
	socket_of_calls = socket_number(1);
	data(1, WRITE, GET("/1"));
	who.tgid = 99;
	socket_closed(socket_number(1));
	seconds(5);
	assert_int_equal(http_stage_counts(stage)->connections, 1);
}

static void what_a_closed_socket_still_held_is_read(void **state)
{
	socket_of_calls = socket_number(1);
	data(1, WRITE, GET("/1"));
	data(1, READ, OK(6, "abc"));
	socket_closed(socket_number(1));
	seconds(1);
	data(1, READ, "def");
	RESPONSE("response", "body", "\"abcdef\"");
	assert_int_equal(n_events[AS_EV_HTTP_RESPONSE], 1);
	assert_int_equal(http_stage_counts(stage)->connections, 1);
	seconds(3);
	assert_int_equal(http_stage_counts(stage)->connections, 0);
}

static void is_gone_soon(void)
{
	assert_int_equal(http_stage_counts(stage)->connections, 1);
	seconds(3);
	assert_int_equal(http_stage_counts(stage)->connections, 0);
}

static void what_is_read_behind_a_reset_opens_nothing_for_long(void **state)
{
	flags_of_calls = AS_F_CLOSED;
	plain(1, READ, "GET /1 HTTP/1.1\r\n");
	plain(1, READ, "Host: h\r\n\r\n");
	REQUEST("request", "path", "\"/1\"");
	is_gone_soon();
}

static void a_call_that_is_told_behind_the_end_opens_nothing_for_long(void **state)
{
	plain(CLOSED_CONN, READ, GET("/1"));
	socket_closed(socket_number(1));
	assert_int_equal(http_stage_counts(stage)->connections, 0);
	plain(CLOSED_CONN, READ, "GET /2 HTTP/1.1\r\n");
	plain(CLOSED_CONN, READ, "Host: h\r\n\r\n");
	is_gone_soon();
}

/* A producer that has to wait for its processor holds back what follows in its ring. */
static void others_close(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		connection_closed(1000 + i, socket_number(1000 + i));
}

static void a_call_behind_the_end_opens_nothing_for_long_after_many_other_ends(void **state)
{
	socket_closed(socket_number(1));
	others_close(1000);
	plain(CLOSED_CONN, READ, GET("/1"));
	REQUEST("request", "path", "\"/1\"");
	is_gone_soon();
}

static void a_session_that_is_told_behind_its_socket_is_over_soon(void **state)
{
	socket_of_calls = socket_number(1);
	socket_closed(socket_of_calls);
	others_close(1000);
	data(1, READ, GET("/1"));
	REQUEST("request", "path", "\"/1\"");
	seconds(1);
	data(1, READ, GET("/2"));
	seconds(1);
	is_gone_soon();
}

static void stays(unsigned type)
{
	socket_of_calls = socket_number(1);
	socket_closed(socket_of_calls);
	socket_opened(type, socket_of_calls);
	data(1, READ, GET("/1"));
	seconds(5);
	assert_int_equal(http_stage_counts(stage)->connections, 1);
}

static void the_next_connection_between_the_same_ends_is_another_one(void **state)
{
	stays(AS_EV_CONNECT);
}

static void the_next_accepted_connection_between_the_same_ends_is_another_one(void **state)
{
	stays(AS_EV_ACCEPT);
}

static void what_is_told_before_its_connection_belongs_to_that(void **state)
{
	socket_of_calls = socket_number(1);
	socket_closed(socket_of_calls);
	data(1, READ, GET("/1"));
	socket_opened(AS_EV_CONNECT, socket_of_calls);
	seconds(5);
	assert_int_equal(http_stage_counts(stage)->connections, 1);
	socket_closed(socket_of_calls);
	is_gone_soon();
}

static void a_connection_that_is_told_behind_its_own_end_opens_nothing(void **state)
{
	socket_of_calls = socket_number(1);
	socket_closed(socket_of_calls);
	connection_opened(AS_EV_ACCEPT, CLOSED_CONN, socket_of_calls);
	data(1, READ, GET("/1"));
	is_gone_soon();
}

static void a_connection_ends_for_all_who_use_it(void **state)
{
	plain(CLOSED_CONN, READ, GET("/1"));
	who.tgid = 99;
	plain(CLOSED_CONN, WRITE, "HTTP/1.1 200 OK\r\n\r\n");
	assert_int_equal(http_stage_counts(stage)->connections, 2);
	socket_closed(socket_number(1));
	assert_int_equal(http_stage_counts(stage)->connections, 0);
}

static void a_session_may_go_on_over_another_socket(void **state)
{
	socket_of_calls = socket_number(1);
	data(1, WRITE, GET("/1"));
	data(1, READ, OK(0, ""));
	socket_of_calls = socket_number(2);
	data(1, WRITE, GET("/2"));
	socket_closed(socket_number(1));
	seconds(5);
	data(1, READ, OK(0, ""));
	RESPONSE("request", "path", "\"/2\"");
	RESPONSE(NULL, "incomplete", "absent");
}

static void a_body_without_a_length_ends_with_the_socket(void **state)
{
	socket_of_calls = socket_number(1);
	data(1, WRITE, GET("/1"));
	data(1, READ, "HTTP/1.1 200 Fine\r\nConnection: close\r\n\r\nabc");
	socket_closed(socket_number(1));
	seconds(3);
	RESPONSE("response", "body", "\"abc\"");
	assert_int_equal(http_stage_counts(stage)->connections, 0);
}

static void a_handshake_ends_what_the_session_carried_before(void **state)
{
	happens(AS_EV_SSL_HANDSHAKE, 1);
	data(1, WRITE, GET("/1"));
	happens(AS_EV_SSL_HANDSHAKE, 1);
	data(1, WRITE, GET("/2"));
	data(1, READ, OK(0, ""));
	RESPONSE("request", "path", "\"/2\"");
	assert_int_equal(n_events[AS_EV_HTTP_RESPONSE], 1);
	assert_int_equal(http_stage_counts(stage)->connections, 1);
}

static void session(unsigned type, uint64_t stream, const char *name, const char *alpn)
{
	struct as_span spans[2];

	who.boot_ns += 1000;
	record_begin(&rec, type, &who);
	spans[0] = record_add_str(&rec, name);
	spans[1] = record_add_str(&rec, alpn);
	if (type == AS_EV_SSL_HANDSHAKE) {
		struct as_ssl_handshake *h = record_struct(&rec, as_ssl_handshake);

		h->stream_id = stream;
		h->conn = socket_of_calls;
		h->server_name = spans[0];
		h->alpn = spans[1];
	} else {
		struct as_ssl_session *s = record_struct(&rec, as_ssl_session);

		s->stream_id = stream;
		s->conn = socket_of_calls;
		s->server_name = spans[0];
		s->alpn = spans[1];
	}
	emit();
}

static void a_session_ends_with_a_socket_that_showed_behind_its_calls(void **state)
{
	data(1, WRITE, GET("/1"));
	socket_of_calls = socket_number(1);
	session(AS_EV_SSL_SESSION, 1, "", "");
	socket_closed(socket_of_calls);
	is_gone_soon();
}

static void only_what_has_something_open_is_left_after(unsigned n, size_t left)
{
	data(1, WRITE, GET("/1"));
	data(1, READ, OK(0, ""));
	plain(2, WRITE, GET("/2"));
	plain(2, READ, OK(0, ""));
	data(3, WRITE, GET("/3"));
	data(3, READ, OK(3, "ab"));
	socket_of_calls = socket_number(1);
	data(4, WRITE, GET("/4"));
	data(4, READ, OK(0, ""));
	seconds(n);
	assert_int_equal(http_stage_counts(stage)->connections, left);
}

/* Of these the first two: the end of the plain one and of that with a socket will be told. */
static void a_session_without_a_socket_is_over_when_it_was_not_used_for_long(void **state)
{
	only_what_has_something_open_is_left_after(599, 4);
	seconds(2);
	assert_int_equal(http_stage_counts(stage)->connections, 3);
	assert_int_equal(n_events[AS_EV_HTTP_RESPONSE], 3);
	seconds(3000);
	assert_int_equal(http_stage_counts(stage)->connections, 2);
	RESPONSE("request", "path", "\"/3\"");
	RESPONSE(NULL, "incomplete", "true");
	assert_int_equal(http_stage_counts(stage)->evicted, 0);
}

static void every_connection_unused_for_long_is_over_when_no_ends_are_told(void **state)
{
	const struct http_stage_options opt = {.no_ends = true};

	stage->free(stage);
	assert_int_equal(http_stage_new(&opt, &out, &stage), 0);
	only_what_has_something_open_is_left_after(601, 1);
	data(3, READ, "c");
	RESPONSE("response", "body", "\"abc\"");
	RESPONSE(NULL, "incomplete", "absent");
	seconds(601);
	assert_int_equal(http_stage_counts(stage)->connections, 0);
}

static void the_tables_of_HTTP_2_are_kept_longer(void **state)
{
	static const char begin[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";

	call(1, WRITE, begin, sizeof(begin), sizeof(begin));
	seconds(3599);
	assert_int_equal(http_stage_counts(stage)->connections, 1);
	seconds(2);
	assert_int_equal(http_stage_counts(stage)->connections, 0);
}

static void name_and_protocol_of_the_session_are_told_with_what_it_carries(void **state)
{
	char long_name[1000];

	memset(long_name, 'n', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	session(AS_EV_SSL_HANDSHAKE, 1, "example.com", "");
	session(AS_EV_SSL_SESSION, 1, "", "http/1.1");
	data(1, WRITE, GET("/1"));
	REQUEST(NULL, "server_name", "\"example.com\"");
	REQUEST(NULL, "alpn", "\"http/1.1\"");
	data(1, READ, OK(9, "abc"));
	happens(AS_EV_EXIT, 0);
	RESPONSE(NULL, "server_name", "\"example.com\"");
	RESPONSE(NULL, "alpn", "\"http/1.1\"");

	/* another session of the same number agreed upon nothing */
	session(AS_EV_SSL_HANDSHAKE, 2, "a.example", "h2");
	session(AS_EV_SSL_HANDSHAKE, 2, "", "");
	data(2, WRITE, GET("/2"));
	REQUEST(NULL, "server_name", "absent");
	REQUEST(NULL, "alpn", "absent");

	/* the same one shakes hands again */
	socket_of_calls = socket_number(1);
	session(AS_EV_SSL_HANDSHAKE, 4, "b.example", "h2");
	data(4, WRITE, GET("/4"));
	session(AS_EV_SSL_HANDSHAKE, 4, "", "");
	data(4, WRITE, GET("/5"));
	REQUEST("request", "path", "\"/5\"");
	REQUEST(NULL, "server_name", "\"b.example\"");
	REQUEST(NULL, "alpn", "\"h2\"");

	/* the name is longer than any can be */
	session(AS_EV_SSL_SESSION, 3, long_name, "x");
	data(3, WRITE, GET("/3"));
	REQUEST(NULL, "alpn", "\"x\"");
}

static void a_call_that_is_cut_leaves_a_gap(void **state)
{
	data(1, WRITE, GET("/1"));
	call(1, READ, OK(9, "abc"), strlen(OK(9, "abc")), strlen(OK(9, "abc")) + 6);
	RESPONSE(NULL, "incomplete", "true");
	RESPONSE(NULL, "truncated", "true");
	RESPONSE("response", "body", "\"abc\"");
	RESPONSE("response", "body_bytes", "9");
	RESPONSE("response", "body_error", "\"bytes behind these were not seen\"");
	data(1, WRITE, GET("/2"));
	data(1, READ, OK(1, "x"));
	RESPONSE("request", "path", "\"/2\"");
	RESPONSE(NULL, "incomplete", "absent");
}

static void lost_calls_make_what_is_open_doubtful(void **state)
{
	struct as_span type;

	data(1, WRITE, GET("/1"));
	record_begin_own(&rec, AS_EV_LOSS, who.boot_ns);
	type = record_add_str(&rec, "ssl.data");
	record_struct(&rec, as_loss)->event = type;
	emit();
	data(1, READ, OK(1, "x"));
	RESPONSE(NULL, "incomplete", "true");
}

static void the_end_of_the_run_tells_what_is_open(void **state)
{
	data(1, WRITE, GET("/1"));
	data(1, READ, OK(9, "abc"));
	stage->finish(stage);
	RESPONSE(NULL, "incomplete", "true");
}

#define UNTIL_CLOSED "HTTP/1.1 200 OK\r\n\r\nabc"

static void a_body_that_lasts_until_the_close_is_complete_with_that_only(void **state)
{
	char path[] = GET("/1");

	data(1, WRITE, GET("/1"));
	data(1, READ, UNTIL_CLOSED);
	for (int i = 0; i < HTTP_STAGE_CONNECTIONS; i++)
		data(1000 + i, WRITE, path);
	assert_int_equal(http_stage_counts(stage)->evicted, 1);
	RESPONSE("response", "body", "\"abc\"");
	RESPONSE(NULL, "incomplete", "true");
	data(1000, READ, UNTIL_CLOSED);
	happens(AS_EV_EXIT, 0);
	RESPONSE(NULL, "incomplete", "absent");
}

static void a_body_that_lasts_beyond_the_end_of_the_run_is_not_complete(void **state)
{
	data(1, WRITE, GET("/1"));
	data(1, READ, UNTIL_CLOSED);
	stage->finish(stage);
	RESPONSE("response", "body", "\"abc\"");
	RESPONSE(NULL, "incomplete", "true");
}

static void the_connection_longest_unused_gives_way(void **state)
{
	char path[80];

	for (int i = 0; i < HTTP_STAGE_CONNECTIONS + 10; i++) {
		snprintf(path, sizeof(path), "GET /%d HTTP/1.1\r\nHost: h\r\n\r\n", i);
		data(1000 + i, WRITE, path);
		data(1000, READ, ""); /* nothing: but it is used */
	}
	assert_int_equal(http_stage_counts(stage)->connections, HTTP_STAGE_CONNECTIONS);
	assert_int_equal(http_stage_counts(stage)->evicted, 10);
	data(1000, READ, OK(0, ""));
	RESPONSE("request", "path", "\"/0\"");
	data(1001, READ, OK(0, ""));
	seconds(1);
	RESPONSE("request", "path", "\"\"");
}

/* A request with a long header, @n times in one call. */
static void ask_at_length(uint64_t stream, size_t n)
{
	_cleanup_(buf_done) struct buf b = {};

	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "GET /long HTTP/1.1\r\nHost: h\r\nX: %04000d\r\n\r\n", 0);
	call(stream, WRITE, b.data, b.len, b.len);
}

static void the_connection_that_holds_most_gives_way_when_memory_is_used_up(void **state)
{
	uint64_t shed[AS_EV_COUNT] = {};

	stage->free(stage);
	assert_int_equal(open_bounded(1 << 20), 0);
	ask_at_length(1, 400);
	http_stage_shed(stage, shed);
	assert_int_equal(n_events[AS_EV_HTTP_REQUEST] + shed[AS_EV_HTTP_REQUEST], 400);
	assert_true(shed[AS_EV_HTTP_REQUEST] > 0);
	data(2, WRITE, GET("/other"));
	REQUEST("request", "path", "\"/other\"");
	assert_int_equal(http_stage_counts(stage)->evicted, 1);

	/* and not the one that is longest unused, nor the newest */
	ask_at_length(3, 150);
	ask_at_length(4, 50);
	assert_int_equal(http_stage_counts(stage)->evicted, 2);
	data(2, READ, OK(0, ""));
	RESPONSE("request", "path", "\"/other\"");
	data(4, READ, OK(0, ""));
	RESPONSE("request", "path", "\"/long\"");
	data(3, READ, OK(0, ""));
	seconds(1);
	RESPONSE("request", "path", "\"\"");
}

static void messages_of_a_WebSocket_are_events(void **state)
{
	uint64_t shed[AS_EV_COUNT] = {};

	data(1, WRITE,
	     "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
	     "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
	data(1, READ,
	     "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
	     "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81\x02hi");
	RESPONSE("response", "status", "101");
	assert_int_equal(n_events[AS_EV_WS_MESSAGE], 1);
	assert_string_equal(text_at(AS_EV_WS_MESSAGE, NULL, "data"), "\"hi\"");
	assert_string_equal(text_at(AS_EV_WS_MESSAGE, NULL, "direction"), "\"read\"");
	assert_string_equal(text_at(AS_EV_WS_MESSAGE, "request", "path"), "\"/ws\"");
	assert_string_equal(text_at(AS_EV_WS_MESSAGE, NULL, "len"), "2");
	assert_string_equal(text_at(AS_EV_WS_MESSAGE, NULL, "incomplete"), "absent");
	call(1, READ, "\x81\x05hel", 5, 7);
	assert_string_equal(text_at(AS_EV_WS_MESSAGE, NULL, "data"), "\"hel\"");
	assert_string_equal(text_at(AS_EV_WS_MESSAGE, NULL, "incomplete"), "true");
	http_stage_shed(stage, shed);
	assert_int_equal(shed[AS_EV_WS_MESSAGE], 1);
}

/* ---- the observer ---- */

struct reader {
	size_t requests, responses, forgotten;
	bool behind; /* each call came behind its event */
	bool timely; /* each had the time of the event before it */
	size_t hold; /* bytes of each exchange, as it says */
	size_t gave;
};

static void read_give_way(void *context, struct http_exchange *x)
{
	struct reader *r = context;

	r->gave++;
	x->held = 0;
	x->yields = false;
}

static void read_request(void *context, struct http_exchange *x)
{
	struct reader *r = context;

	x->held = r->hold;
	x->yields = true;
	r->behind &= n_events[AS_EV_HTTP_REQUEST] == ++r->requests;
	r->timely &= x->now_ns == who.boot_ns;
	x->user = r;
}

static void read_response(void *context, struct http_exchange *x)
{
	struct reader *r = context;

	r->behind &= n_events[AS_EV_HTTP_RESPONSE] == ++r->responses && x->user == r;
	r->timely &= x->now_ns == who.boot_ns;
}

static void read_forget(void *context, struct http_exchange *x)
{
	struct reader *r = context;

	r->forgotten++;
	r->timely &= x->now_ns == who.boot_ns;
}

static void an_observer_reads_along_behind_the_events(void **state)
{
	struct reader r = {.behind = true, .timely = true};
	const struct http_observer observer = {
		.context = &r,
		.request = read_request,
		.response = read_response,
		.forget = read_forget,
	};

	stage->free(stage);
	assert_int_equal(open_stage(&observer), 0);
	data(1, WRITE, GET("/1"));
	data(1, READ, OK(0, ""));
	data(1, WRITE, GET("/2"));
	stage->finish(stage);
	assert_true(r.behind);
	assert_true(r.timely);
	assert_int_equal(r.requests, 2);
	assert_int_equal(r.responses, 1);
	assert_int_equal(r.forgotten, 2);
}

static void an_observer_gives_way_when_memory_is_used_up(void **state)
{
	struct reader r = {.hold = 100 << 10};
	const struct http_observer observer = {
		.context = &r,
		.request = read_request,
		.give_way = read_give_way,
	};
	const struct http_stage_options opt = {
		.limits = {.memory_max = 1 << 20},
		.observer = &observer,
	};

	stage->free(stage);
	assert_int_equal(http_stage_new(&opt, &out, &stage), 0);
	for (uint64_t i = 0; i < 20; i++)
		data(i, WRITE, GET("/1"));
	assert_in_range(r.gave, 10, 20);
	assert_int_equal(http_stage_counts(stage)->evicted, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_exchange_becomes_two_events),
		TEST(a_header_that_comes_twice_is_an_array),
		TEST(hostile_bytes_in_headers_stay_JSON),
		TEST(binary_bodies_are_base64),
		TEST(sessions_and_processes_are_kept_apart),
		TEST(an_exit_ends_what_is_open),
		TEST(a_session_is_over_soon_after_its_socket),
		TEST(the_socket_of_another_process_ends_no_session),
		TEST(what_a_closed_socket_still_held_is_read),
		TEST(what_is_read_behind_a_reset_opens_nothing_for_long),
		TEST(a_call_that_is_told_behind_the_end_opens_nothing_for_long),
		TEST(a_call_behind_the_end_opens_nothing_for_long_after_many_other_ends),
		TEST(a_session_that_is_told_behind_its_socket_is_over_soon),
		TEST(the_next_connection_between_the_same_ends_is_another_one),
		TEST(the_next_accepted_connection_between_the_same_ends_is_another_one),
		TEST(what_is_told_before_its_connection_belongs_to_that),
		TEST(a_connection_that_is_told_behind_its_own_end_opens_nothing),
		TEST(a_connection_ends_for_all_who_use_it),
		TEST(a_session_may_go_on_over_another_socket),
		TEST(a_body_without_a_length_ends_with_the_socket),
		TEST(a_handshake_ends_what_the_session_carried_before),
		TEST(a_call_that_is_cut_leaves_a_gap),
		TEST(a_session_ends_with_a_socket_that_showed_behind_its_calls),
		TEST(a_session_without_a_socket_is_over_when_it_was_not_used_for_long),
		TEST(every_connection_unused_for_long_is_over_when_no_ends_are_told),
		TEST(the_tables_of_HTTP_2_are_kept_longer),
		TEST(name_and_protocol_of_the_session_are_told_with_what_it_carries),
		TEST(lost_calls_make_what_is_open_doubtful),
		TEST(the_end_of_the_run_tells_what_is_open),
		TEST(a_body_that_lasts_until_the_close_is_complete_with_that_only),
		TEST(a_body_that_lasts_beyond_the_end_of_the_run_is_not_complete),
		TEST(the_connection_longest_unused_gives_way),
		TEST(the_connection_that_holds_most_gives_way_when_memory_is_used_up),
		TEST(messages_of_a_WebSocket_are_events),
		TEST(an_observer_reads_along_behind_the_events),
		TEST(an_observer_gives_way_when_memory_is_used_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
