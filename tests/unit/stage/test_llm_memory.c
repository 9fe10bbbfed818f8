/* SPDX-License-Identifier: MIT */
/*
 * Connections, the pool of their memory, and the stage that reads answers: what many open answers hold together,
 * and what is told of them.
 */
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

#include "base/cleanup.h"
#include "event/encode.h"
#include "event/schema.h"
#include "http/conn.h"
#include "stage/llm.h"
#include "unit/event/line.h"

#define READ   AS_TLS_READ
#define WRITE  AS_TLS_WRITE
#define MEMORY ((size_t)8 << 20)
#define MANY   64
/* besides what is held: a piece that is under way, and what the C library adds */
#define SLACK ((size_t)3 << 20)

static struct http_pool *pool;
static struct llm_stage *llm;
static struct http_conn *conns[MANY];
static struct as_hdr who;
static struct buf line; /* the newest response */
static struct buf heard;
static size_t n_responses, n_truncated, n_incomplete;

static void hear(struct emitter *self, const struct event *ev)
{
	const char *wrong;

	if (ev->desc->type != AS_EV_LLM_RESPONSE)
		return;
	buf_reset(&line);
	event_encode_json(&line, ev);
	wrong = line_check(line.data, line.len, ev->desc);
	if (wrong)
		fail_msg("%s: %.*s", wrong, (int)line.len, line.data);
	n_responses++;
	n_truncated += strstr(buf_cstr(&line), "\"truncated\":true,") != NULL;
	n_incomplete += strstr(line.data, "\"incomplete\":true") != NULL;
}

static struct emitter out = {hear};

static void hear_call(void *context, const struct llm_tool_call *call)
{
	assert_int_equal(strlen(call->input), call->input_len);
	buf_printf(&heard, "%s %s %s\n", call->id, call->name, call->input);
}

static int open_all(size_t memory_max)
{
	const struct http_limits limits = {.memory_max = memory_max};
	const struct llm_stage_options opt = {.listener.tool_call = hear_call};

	n_responses = n_truncated = n_incomplete = 0;
	who = (struct as_hdr){.boot_ns = 1000, .tgid = 7, .tid = 8, .comm = "agent"};
	if (schema_init() < 0 || llm_stage_new(&opt, &out, &llm) < 0)
		return -1;
	return http_pool_new(&limits, llm_stage_observer(llm), &pool);
}

static int set_up(void **state)
{
	return open_all(MEMORY);
}

/* What was counted has been given back. */
static int tear_down(void **state)
{
	for (size_t i = 0; i < MANY; i++)
		http_conn_free(TAKE_PTR(conns[i]));
	if (http_pool_counts(pool)->memory || http_pool_counts(pool)->open)
		return -1;
	http_pool_free(pool);
	llm_stage_free(llm);
	buf_done(&line);
	buf_done(&heard);
	return 0;
}

/* ---- bytes ---- */

static void feed(size_t i, enum as_tls_direction direction, const char *p, size_t n)
{
	static const struct as_conn ends;
	const struct http_origin origin = {&who, &ends};
	const struct http_conn_options opt = {.stream_id = i, .tls = true, .fresh = true};

	if (!conns[i])
		assert_int_equal(http_conn_new(pool, &opt, &conns[i]), 0);
	who.boot_ns += 1000;
	http_conn_feed(conns[i], direction, p, n, &origin);
	assert_true(http_pool_counts(pool)->memory <= MEMORY + SLACK);
}

static void feed_text(size_t i, enum as_tls_direction direction, const char *text)
{
	feed(i, direction, text, strlen(text));
}

#define BODY "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"

static void ask(size_t i, const char *path, const char *type, const char *more)
{
	_cleanup_(buf_done) struct buf b = {};

	buf_printf(&b, "POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n" BODY, path,
		   strlen(BODY));
	feed_text(i, WRITE, buf_cstr(&b));
	buf_reset(&b);
	buf_printf(&b, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%s\r\n", type, more);
	feed_text(i, READ, buf_cstr(&b));
}

#define ASK(i)        ask(i, "/v1/messages", "text/event-stream", "")
#define DELTA         "data: {\"type\":\"content_block_delta\",\"index\":%d,\"delta\":{\"type\":"
#define TEXT_DELTA    DELTA "\"text_delta\",\"text\":\"%.*s\"}}\n\n"
#define INPUT_DELTA   DELTA "\"input_json_delta\",\"partial_json\":\"%.*s\"}}\n\n"
#define DELTA_EXACTLY 1000
#define DELTAS        1000 /* of one answer */

/* Text that is packed to a hundredth and no further. */
static const char *some_text(void)
{
	static char text[DELTA_EXACTLY];

	memset(text, 'x', sizeof(text));
	for (size_t i = 0; i < 5; i++)
		text[i * 100] = (char)('A' + rand() % 26);
	return text;
}

static void add_deltas(struct buf *b, size_t n)
{
	for (size_t i = 0; i < n; i++)
		buf_printf(b, TEXT_DELTA, 0, DELTA_EXACTLY, some_text());
}

static void pack(const struct buf *in, struct buf *packed)
{
	z_stream z = {.next_in = (Bytef *)in->data, .avail_in = (uInt)in->len};

	assert_true(buf_room(packed, in->len));
	z.next_out = (Bytef *)packed->data;
	z.avail_out = (uInt)packed->cap;
	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&z, Z_SYNC_FLUSH), Z_OK);
	packed->len = packed->cap - z.avail_out;
	deflateEnd(&z);
}

static size_t heap(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

static void end_all(void)
{
	for (size_t i = 0; i < MANY; i++) {
		if (conns[i])
			http_conn_end(conns[i], who.boot_ns, true);
	}
}

static bool line_has(const char *text)
{
	return strstr(buf_cstr(&line), text) != NULL;
}

/* ---- tests ---- */

static void packed_answers_that_never_end_are_bounded_together(void **state)
{
	_cleanup_(buf_done) struct buf plain = {}, packed = {};
	size_t before;

	add_deltas(&plain, DELTAS);
	pack(&plain, &packed);
	assert_true(packed.len * 50 < plain.len);
	before = heap();
	for (size_t i = 0; i < MANY; i++) {
		ask(i, "/v1/messages", "text/event-stream", "Content-Encoding: gzip\r\n");
		feed(i, READ, packed.data, packed.len);
	}
	assert_true(heap() <= before + MEMORY + SLACK);
	assert_true(http_pool_counts(pool)->gave_way > 0);
	end_all();
	assert_int_equal(http_pool_counts(pool)->memory, 0);
	assert_int_equal(n_responses, MANY);
	assert_int_equal(n_incomplete, MANY);
	assert_true(n_truncated > MANY / 2);
}

/* The bytes of one event or object, which is not over. */
static void begin_much(const char *path, const char *type, const char *begin)
{
	static char much[1 << 20];
	size_t before = heap();

	memset(much, 'x', sizeof(much));
	for (size_t i = 0; i < MANY; i++) {
		ask(i, path, type, "");
		feed_text(i, READ, begin);
		feed(i, READ, much, sizeof(much));
	}
	assert_true(heap() <= before + MEMORY + SLACK);
	end_all();
	assert_int_equal(n_responses, MANY);
	assert_int_equal(n_incomplete, MANY);
}

static void an_event_without_end_counts(void **state)
{
	begin_much("/v1/messages", "text/event-stream", "data: {\"a\":\"");
}

static void an_object_without_end_counts(void **state)
{
	begin_much("/api/chat", "application/x-ndjson", "{\"a\":\"");
}

/* A text that is replaced by a short one leaves a large buffer behind. */
static void room_that_is_no_longer_used_counts(void **state)
{
	static const char item[] =
		"data: {\"type\":\"response.output_item.done\",\"output_index\":%d,\"item\":{"
		"\"type\":\"message\",\"content\":[{\"text\":\"%.*s\"}]}}\n\n";
	static char much[256 << 10];
	size_t before = heap();

	memset(much, 'x', sizeof(much));
	feed_text(0, WRITE,
		  "POST /v1/responses HTTP/1.1\r\nHost: h\r\nContent-Length: 26\r\n\r\n"
		  "{\"model\":\"m\",\"input\":\"hi\"}");
	feed_text(0, READ, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
	for (int i = 0; i < MANY; i++) {
		_cleanup_(buf_done) struct buf b = {};

		buf_printf(&b, item, i, (int)sizeof(much), much);
		buf_printf(&b, item, i, 1, much);
		feed(0, READ, b.data, b.len);
	}
	assert_true(heap() <= before + MEMORY + SLACK);
	end_all();
	assert_int_equal(n_responses, 1);
}

/* Until the memory is used up by answers that are longer than what the test is about. */
static void press(void)
{
	_cleanup_(buf_done) struct buf b = {};
	uint64_t gave_way = http_pool_counts(pool)->gave_way;

	add_deltas(&b, DELTAS);
	for (size_t i = 1; i < 24; i++) {
		ASK(i);
		feed(i, READ, b.data, b.len);
	}
	assert_true(http_pool_counts(pool)->gave_way > gave_way);
}

static void add_usage(struct buf *b)
{
	buf_add_str(b, "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},"
		       "\"usage\":{\"input_tokens\":11,\"output_tokens\":987}}\n\n"
		       "data: {\"type\":\"message_stop\"}\n\n");
}

static void the_usage_of_an_answer_that_gave_way_is_told(void **state)
{
	_cleanup_(buf_done) struct buf b = {};

	ASK(0);
	add_deltas(&b, 2 * DELTAS);
	buf_add_str(&b, "data: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{"
			"\"type\":\"tool_use\",\"id\":\"t1\",\"name\":\"Bash\",\"input\":{}}}\n\n");
	buf_printf(&b, INPUT_DELTA, 1, 13, "{\\\"a\\\":\\\"b\\\"}");
	buf_add_str(&b, "data: {\"type\":\"content_block_stop\",\"index\":1}\n\n"
			"data: {\"type\":\"content_block_start\",\"index\":2,\"content_block\":{"
			"\"type\":\"tool_use\",\"id\":\"t2\",\"name\":\"Edit\",\"input\":{}}}\n\n");
	buf_printf(&b, INPUT_DELTA, 2, 9, "{\\\"a\\\":\\\"");
	feed(0, READ, b.data, b.len);
	press();
	buf_reset(&b);
	buf_printf(&b, INPUT_DELTA, 2, 4, "b\\\"}");
	buf_add_str(&b, "data: {\"type\":\"content_block_stop\",\"index\":2}\n\n");
	buf_printf(&b, TEXT_DELTA, 3, 12, "\\u00e9\\u00e9");
	add_usage(&b);
	feed(0, READ, b.data, b.len);
	http_conn_end(conns[0], who.boot_ns, true);
	assert_true(line_has("\"incomplete\":true"));
	assert_true(line_has("\"truncated\":true,"));
	/* of the last text four bytes in UTF-8 and an empty line before it */
	assert_true(line_has("\"text_length\":2000004,"));
	assert_true(line_has("\"output_tokens\":987"));
	assert_true(line_has("\"stop_reason\":\"end_turn\""));
	assert_true(line_has("\"tool_call_count\":2,\"tool_names\":[\"Bash\",\"Edit\"],"));
	assert_true(line_has("{\"id\":\"t1\",\"name\":\"Bash\",\"input\":{\"a\":\"b\"}}"));
	assert_true(line_has("\"input\":\"{\\\"a\\\":\\\"\",\"truncated\":true}"));
	assert_string_equal(buf_cstr(&heard), "t1 Bash {\"a\":\"b\"}\nt2 Edit \n");
}

static void tell_short(struct buf *copy)
{
	_cleanup_(buf_done) struct buf b = {};

	add_deltas(&b, 20);
	add_usage(&b);
	srand(1);
	who.boot_ns = 1000000;
	ASK(0);
	feed(0, READ, b.data, b.len);
	http_conn_free(TAKE_PTR(conns[0]));
	buf_add_str(copy, strstr(buf_cstr(&line), "\"status\""));
	copy->len = (size_t)(strstr(buf_cstr(copy), "\"stream_id\"") - copy->data);
}

static void an_answer_that_fits_is_told_as_ever(void **state)
{
	_cleanup_(buf_done) struct buf alone = {}, pressed = {};

	srand(1);
	tell_short(&alone);
	press();
	srand(1);
	tell_short(&pressed);
	assert_string_equal(buf_cstr(&alone), buf_cstr(&pressed));
	assert_false(line_has("\"truncated\""));
	assert_false(line_has("\"incomplete\""));
	assert_true(line_has("\"output_tokens\":987"));
}

/* ---- one connection of HTTP/2 ---- */

static void add_frame(struct buf *b, uint8_t type, uint8_t flags, uint32_t stream, const char *p,
		      size_t n)
{
	const char head[9] = {(char)(n >> 16),      (char)(n >> 8),      (char)n,
			      (char)type,           (char)flags,         (char)(stream >> 24),
			      (char)(stream >> 16), (char)(stream >> 8), (char)stream};

	buf_add(b, head, sizeof(head));
	buf_add(b, p, n);
}

static void add_headers(struct buf *b, uint32_t stream, const char *const (*pairs)[2], size_t n)
{
	_cleanup_(buf_done) struct buf block = {};

	for (size_t i = 0; i < n; i++) {
		buf_add_char(&block, 0); /* literal, not to be remembered */
		for (size_t k = 0; k < 2; k++) {
			buf_add_char(&block, (char)strlen(pairs[i][k]));
			buf_add_str(&block, pairs[i][k]);
		}
	}
	add_frame(b, 1, 4, stream, block.data, block.len);
}

static void answers_on_one_connection_are_bounded(void **state)
{
	static const char *const asked[][2] = {
		{":method", "POST"}, {":path", "/v1/messages"}, {":authority", "h"}};
	static const char *const answered[][2] = {{":status", "200"},
						  {"content-type", "text/event-stream"}};
	enum { STREAMS = 2000, ROUNDS = 12 };
	_cleanup_(buf_done) struct buf b = {}, events = {};
	size_t before = heap();

	buf_add_str(&b, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
	add_frame(&b, 4, 0, 0, "", 0);
	for (uint32_t i = 0; i < STREAMS; i++) {
		add_headers(&b, 2 * i + 1, asked, ARRAY_SIZE(asked));
		add_frame(&b, 0, 1, 2 * i + 1, BODY, strlen(BODY));
	}
	feed(0, WRITE, b.data, b.len);
	buf_done(&b);
	for (uint32_t i = 0; i < STREAMS; i++)
		add_headers(&b, 2 * i + 1, answered, ARRAY_SIZE(answered));
	feed(0, READ, b.data, b.len);
	buf_done(&b);
	for (int i = 0; i < 12; i++)
		buf_printf(
			&events,
			"data: {\"type\":\"content_block_start\",\"index\":%d,\"content_block\":{"
			"\"type\":\"tool_use\",\"id\":\"%.*s\",\"name\":\"b\"}}\n\n",
			i, 900, some_text());
	for (uint32_t i = 0; i < ROUNDS * STREAMS; i++) {
		buf_reset(&b);
		add_frame(&b, 0, 0, 2 * (i % STREAMS) + 1, events.data, events.len);
		feed(0, READ, b.data, b.len);
	}
	assert_true(heap() <= before + MEMORY + SLACK);
	http_conn_end(conns[0], who.boot_ns, true);
	assert_int_equal(n_responses + http_pool_counts(pool)->lost[HTTP_REQUEST], STREAMS);
	assert_int_equal(n_incomplete, n_responses);
}

/* ---- WebSocket ---- */

static void say(size_t i, enum as_tls_direction direction, const char *text)
{
	_cleanup_(buf_done) struct buf b = {};
	size_t n = strlen(text);

	buf_add_char(&b, (char)0x81);
	buf_add_char(&b, n < 126 ? (char)n : 126);
	if (n >= 126) {
		buf_add_char(&b, (char)(n >> 8));
		buf_add_char(&b, (char)n);
	}
	buf_add(&b, text, n);
	feed(i, direction, b.data, b.len);
}

#define WS_ASKED "{\"type\":\"response.create\",\"model\":\"gpt-5\",\"input\":\"a\"}"
#define WS_DELTA "{\"type\":\"response.output_text.delta\",\"output_index\":0,\"delta\":\"%.*s\"}"
#define WS_DONE                                                                               \
	"{\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"usage\":{" \
	"\"input_tokens\":3,\"output_tokens\":1}}}"

static void upgrade(size_t i)
{
	feed_text(i, WRITE,
		  "GET /v1/responses HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n"
		  "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
		  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
	feed_text(
		i, READ,
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
		"Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
}

static void answers_over_websockets_count_and_the_next_one_is_whole(void **state)
{
	_cleanup_(buf_done) struct buf b = {};
	size_t before = heap();

	for (size_t i = 0; i < MANY; i++) {
		upgrade(i);
		say(i, WRITE, WS_ASKED);
		for (size_t k = 0; k < 400; k++) {
			buf_reset(&b);
			buf_printf(&b, WS_DELTA, DELTA_EXACTLY, some_text());
			say(i, READ, buf_cstr(&b));
		}
	}
	assert_true(heap() <= before + MEMORY + SLACK);
	for (size_t i = 0; i < MANY; i++)
		say(i, READ, WS_DONE);
	assert_int_equal(n_responses, MANY);
	assert_true(n_truncated > MANY / 2);
	assert_int_equal(n_truncated, n_incomplete);
	assert_true(line_has("\"output_tokens\":1"));
	say(0, WRITE, WS_ASKED);
	say(0, READ,
	    "{\"type\":\"response.output_text.delta\",\"output_index\":0,\"delta\":\"yes\"}");
	say(0, READ, WS_DONE);
	assert_true(line_has("\"text\":\"yes\""));
	assert_false(line_has("\"incomplete\""));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(packed_answers_that_never_end_are_bounded_together),
		TEST(an_event_without_end_counts),
		TEST(an_object_without_end_counts),
		TEST(room_that_is_no_longer_used_counts),
		TEST(the_usage_of_an_answer_that_gave_way_is_told),
		TEST(an_answer_that_fits_is_told_as_ever),
		TEST(answers_on_one_connection_are_bounded),
		TEST(answers_over_websockets_count_and_the_next_one_is_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
