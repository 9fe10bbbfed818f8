/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <zlib.h>

#include "base/buf.h"
#include "http/websocket.h"

/* ---- what is told ---- */

struct told {
	struct buf text;
	size_t count, payload_len;
	uint64_t full_len;
	bool truncated, failed;
};

static void on_message(void *context, enum http_side side, const struct websocket_message *m)
{
	struct told *t = context;

	t->count++;
	t->payload_len = m->payload.len;
	t->full_len = m->full_len;
	t->truncated = m->truncated;
	if (m->payload.len > 1000)
		return;
	buf_add_str(&t->text, m->text ? "text " : "binary ");
	buf_add(&t->text, m->payload.p, m->payload.len);
	if (m->incomplete)
		buf_printf(&t->text, " of %llu", (unsigned long long)m->full_len);
	buf_printf(&t->text, "%s%s\n", m->error ? " !" : "", m->error ? m->error : "");
}

static const struct websocket_ops ops = {on_message};
static const struct websocket_params plain = {.window_bits = {15, 15}};
static const struct websocket_params packed = {.deflate = true, .window_bits = {15, 15}};
static const struct websocket_params packed_alone = {
	.deflate = true, .no_context_takeover = {true, true}, .window_bits = {15, 15}};

/* How the input is cut: 0 not at all, 1 into bytes, more: at random places with that seed. */
static size_t piece(unsigned cut, size_t left)
{
	size_t n = cut == 0 ? left : cut == 1 ? 1 : 1 + (size_t)rand() % (cut * 2);

	return n < left ? n : left;
}

static void feed(struct websocket *w, const void *in, size_t n, unsigned cut)
{
	size_t len;

	srand(cut);
	for (size_t at = 0; at < n; at += len) {
		_cleanup_(freep) char *block = NULL;

		len = piece(cut, n - at);
		block = malloc(len);
		assert_non_null(block);
		memcpy(block, (const char *)in + at, len);
		websocket_feed(w, block, len);
	}
}

static struct told run(const struct websocket_params *params, const void *in, size_t n,
		       unsigned cut)
{
	_cleanup_(websocket_freep) struct websocket *w = NULL;
	const char *reason = NULL;
	struct told t = {};

	assert_int_equal(websocket_new(HTTP_RESPONSE, params, &ops, &t, &w), 0);
	feed(w, in, n, cut);
	if (websocket_failed(w, &reason))
		buf_printf(&t.text, "failed: %s\n", reason);
	buf_cstr(&t.text);
	return t;
}

static void check(const struct websocket_params *params, const void *in, size_t n, const char *out)
{
	for (unsigned cut = 0; cut < 16; cut++) {
		struct told t = run(params, in, n, cut);

		assert_string_equal(buf_cstr(&t.text), out);
		buf_done(&t.text);
	}
}

#define CHECK(params, in, out) check(params, in, sizeof(in) - 1, out)

/* ---- plain frames: those of RFC 6455, section 5.7, and around them ---- */

static void the_examples_of_the_standard_are_read(void **state)
{
	CHECK(&plain, "\x81\x05Hello", "text Hello\n");
	CHECK(&plain, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", "text Hello\n");
	CHECK(&plain, "\x01\x03Hel\x80\x02lo", "text Hello\n");
	CHECK(&plain, "\x89\x05Hello\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", "");
}

static void the_packed_examples_of_the_standard_are_read(void **state)
{
	/* RFC 7692, section 7.2.3: alone, in parts, with context, not packed, two blocks, a last block */
	CHECK(&packed, "\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00", "text Hello\n");
	CHECK(&packed, "\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00", "text Hello\n");
	CHECK(&packed, "\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\xc1\x05\xf2\x00\x11\x00\x00",
	      "text Hello\ntext Hello\n");
	CHECK(&packed, "\xc1\x0b\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00", "text Hello\n");
	CHECK(&packed, "\xc1\x0d\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
	      "text Hello\n");
	CHECK(&packed, "\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "text Hello\n");
	CHECK(&packed, "\xc1\x01\x00", "text \n");
}

static void the_last_block_of_a_packed_stream_may_be_followed_by_another(void **state)
{
	CHECK(&packed,
	      "\xc1\x0f\xf3\x48\xcd\xc9\xc9\x07\x00\xf3\x48\xcd\xc9\xc9\x07\x00\x00"
	      "\xc1\x05\xf2\x00\x11\x00\x00",
	      "text HelloHello\ntext Hello\n");
}

static void control_frames_come_between_the_parts_of_a_message(void **state)
{
	CHECK(&plain, "\x01\x03Hel\x89\x01p\x00\x00\x80\x02lo\x82\x00", "text Hello\nbinary \n");
}

static void a_close_ends_all(void **state)
{
	CHECK(&plain,
	      "\x88\x05\x03\xe8"
	      "bye\x81\x01x",
	      "");
	CHECK(&plain, "\x81\x01x\x88\x00\x81\x01x", "text x\n");
}

static void lengths_of_two_and_eight_bytes_are_read(void **state)
{
	CHECK(&plain,
	      "\x82\x7e\x00\x03"
	      "abc\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x02"
	      "de",
	      "binary abc\nbinary de\n");
}

static void what_no_frame_can_be_fails(void **state)
{
	static const struct {
		const char *in, *out;
	} bad[] = {
		{"\xa1\x01x", "failed: a frame with reserved bits\n"},
		{"\xc1\x01x", "failed: a packed frame where none may be\n"},
		{"\x83\x01x", "failed: a frame of an unknown type\n"},
		{"\x8b\x01x", "failed: a frame of an unknown type\n"},
		{"\x80\x01x", "failed: frames out of order\n"},
		{"\x01\x01x\x81\x01x", "text x of 1\nfailed: frames out of order\n"},
		{"\x09\x01x", "failed: a control frame in parts or too long\n"},
		{"\x89\x7e\x01\x01x", "failed: a control frame in parts or too long\n"},
		{"\x81\x7f\xff\x01\x01\x01\x01\x01\x01\x01",
		 "failed: a frame of impossible length\n"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		check(&plain, bad[i].in, strlen(bad[i].in), bad[i].out);
	CHECK(&packed, "\x41\x01x\xc0\x01x",
	      "text  of 0\nfailed: a packed frame where none may be\n");
}

static void a_gap_ends_the_direction(void **state)
{
	_cleanup_(websocket_freep) struct websocket *w = NULL;
	struct told t = {};
	const char *reason = "";

	assert_int_equal(websocket_new(HTTP_REQUEST, &plain, &ops, &t, &w), 0);
	websocket_feed(w, "\x81\x05Hel", 5);
	websocket_gap(w);
	websocket_feed(w, "\x81\x01x", 3);
	assert_true(websocket_failed(w, &reason));
	assert_string_equal(reason, "bytes are missing");
	assert_string_equal(buf_cstr(&t.text), "text Hel of 5\n");
	buf_done(&t.text);
}

static void a_message_without_its_end_is_told_as_far_as_it_came(void **state)
{
	for (int doubt = 0; doubt < 2; doubt++) {
		_cleanup_(websocket_freep) struct websocket *w = NULL;
		struct told t = {};

		assert_int_equal(websocket_new(HTTP_REQUEST, &plain, &ops, &t, &w), 0);
		websocket_feed(w, "\x81\x05Hel", 5);
		if (doubt) {
			websocket_doubt(w);
			websocket_feed(w, "lo\x81\x01x", 5);
		}
		websocket_eof(w);
		assert_string_equal(buf_cstr(&t.text),
				    doubt ? "text Hello of 5\ntext x\n" : "text Hel of 5\n");
		buf_done(&t.text);
	}
}

/* ---- packing ---- */

/* One frame with @in packed by @z as the standard says; the buffer grows by it. */
static void pack(struct buf *frames, z_stream *z, const void *in, size_t n)
{
	_cleanup_(freep) uint8_t *out = malloc(n + 1024);
	uint8_t header[10] = {0xc1, 127};
	size_t len;

	assert_non_null(out);
	if (n == 0) {
		/* zlib refuses to flush twice; RFC 7692, section 7.2.3.6 has this instead. */
		buf_add(frames, "\xc1\x01\x00", 3);
		return;
	}
	z->next_in = (uint8_t *)in;
	z->avail_in = (uInt)n;
	z->next_out = out;
	z->avail_out = (uInt)(n + 1024);
	assert_int_equal(deflate(z, Z_SYNC_FLUSH), Z_OK);
	len = n + 1024 - z->avail_out - 4;
	for (size_t i = 0; i < 8; i++)
		header[2 + i] = (uint8_t)((uint64_t)len >> (56 - 8 * i));
	buf_add(frames, header, sizeof(header));
	buf_add(frames, out, len);
}

static struct buf packed_messages(unsigned bits, bool alone)
{
	static const char *const texts[] = {"one and one", "one and two", "", "one and three"};
	struct buf frames = {};
	z_stream z = {};

	assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -(int)bits, 8, 0), Z_OK);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		pack(&frames, &z, texts[i], strlen(texts[i]));
		if (alone)
			deflateReset(&z);
	}
	deflateEnd(&z);
	return frames;
}

static void packed_messages_are_read_with_and_without_context(void **state)
{
	for (unsigned bits = 9; bits <= 15; bits++) {
		struct buf with = packed_messages(bits, false),
			   without = packed_messages(bits, true);

		check(&packed, with.data, with.len,
		      "text one and one\ntext one and two\ntext \ntext one and three\n");
		check(&packed_alone, without.data, without.len,
		      "text one and one\ntext one and two\ntext \ntext one and three\n");
		buf_done(&with);
		buf_done(&without);
	}
}

static void a_broken_packing_spoils_later_messages_only_if_they_build_upon_it(void **state)
{
	static const char in[] = "\xc1\x01\xff\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\x81\x02ok";

	CHECK(&packed, in,
	      "text  !not packed as was agreed\ntext  !not packed as was agreed\ntext ok\n");
	CHECK(&packed_alone, in, "text  !not packed as was agreed\ntext Hello\ntext ok\n");
}

/* One message, with another byte after each @run zeros. */
static struct buf message(size_t n, size_t run)
{
	struct buf frames = {};
	z_stream z = {};
	char *zeros = calloc(1, n);

	assert_non_null(zeros);
	for (size_t i = run; i < n; i += run)
		zeros[i] = (char)rand();
	assert_int_equal(deflateInit2(&z, run < n ? 1 : 9, Z_DEFLATED, -15, 8, 0), Z_OK);
	pack(&frames, &z, zeros, n);
	deflateEnd(&z);
	free(zeros);
	return frames;
}

static void a_message_over_the_limit_is_cut_and_counted(void **state)
{
	struct buf frames = message(WEBSOCKET_MESSAGE_MAX + 1000, 128);
	struct told t = run(&packed, frames.data, frames.len, 0);

	assert_int_equal(t.count, 1);
	assert_int_equal(t.payload_len, WEBSOCKET_MESSAGE_MAX);
	assert_int_equal(t.full_len, WEBSOCKET_MESSAGE_MAX + 1000);
	assert_true(t.truncated);
	buf_done(&t.text);
	buf_done(&frames);
}

static void what_expands_out_of_proportion_is_not_unpacked(void **state)
{
	struct buf frames = message(WEBSOCKET_MESSAGE_MAX, WEBSOCKET_MESSAGE_MAX);
	uint64_t first = 0;

	for (unsigned cut = 0; cut < 3; cut++) {
		struct told t = run(&packed, frames.data, frames.len, cut);

		assert_int_equal(t.count, 1);
		assert_in_range(t.full_len, 1, 1 << 20);
		assert_int_equal(t.payload_len, t.full_len);
		assert_true(t.truncated && (!first || t.full_len == first));
		first = t.full_len;
		buf_done(&t.text);
	}
	buf_done(&frames);
}

static void a_bomb_is_not_unpacked_to_its_end(void **state)
{
	struct buf frames = message(WEBSOCKET_INFLATE_MAX + (1 << 20), 256);
	struct told t = run(&packed, frames.data, frames.len, 0);

	assert_int_equal(t.count, 1);
	assert_int_equal(t.payload_len, WEBSOCKET_MESSAGE_MAX);
	assert_int_equal(t.full_len, WEBSOCKET_INFLATE_MAX + 1);
	assert_true(t.truncated);
	buf_done(&t.text);

	/* What came before the next message is not known, and it may refer to it. */
	buf_add(&frames, "\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00", 9);
	t = run(&packed, frames.data, frames.len, 0);
	assert_string_equal(buf_cstr(&t.text), "text  !unpacks to too much\n");
	buf_done(&t.text);
	t = run(&packed_alone, frames.data, frames.len, 0);
	assert_string_equal(buf_cstr(&t.text), "text Hello\n");
	buf_done(&t.text);
	buf_done(&frames);
}

static void a_plain_message_over_the_limit_is_cut_and_counted(void **state)
{
	size_t n = WEBSOCKET_MESSAGE_MAX + 7;
	_cleanup_(freep) uint8_t *in = calloc(1, n + 10);

	assert_non_null(in);
	memcpy(in, "\x82\x7f\x00\x00\x00\x00\x01\x00\x00\x07", 10);
	for (unsigned cut = 0; cut < 40000; cut += 20000) {
		struct told t = run(&plain, in, n + 10, cut);

		assert_int_equal(t.count, 1);
		assert_int_equal(t.payload_len, WEBSOCKET_MESSAGE_MAX);
		assert_int_equal(t.full_len, n);
		assert_true(t.truncated);
		buf_done(&t.text);
	}
}

/* ---- Sec-WebSocket-Extensions ---- */

static int parse(const char *text, struct websocket_params *p)
{
	return websocket_params_parse((struct http_text){text, strlen(text)}, p);
}

static void the_parameters_of_packing_are_read(void **state)
{
	struct websocket_params p;

	assert_int_equal(parse("", &p), 0);
	assert_false(p.deflate);
	assert_int_equal(parse("permessage-deflate", &p), 0);
	assert_true(p.deflate);
	assert_false(p.no_context_takeover[HTTP_REQUEST] || p.no_context_takeover[HTTP_RESPONSE]);
	assert_int_equal(p.window_bits[HTTP_RESPONSE], 15);

	assert_int_equal(parse(" Permessage-Deflate ;server_no_context_takeover; "
			       "client_max_window_bits=\"9\" ;server_max_window_bits = 12 , ",
			       &p),
			 0);
	assert_true(p.no_context_takeover[HTTP_RESPONSE]);
	assert_false(p.no_context_takeover[HTTP_REQUEST]);
	assert_int_equal(p.window_bits[HTTP_REQUEST], 9);
	assert_int_equal(p.window_bits[HTTP_RESPONSE], 12);
}

static void extensions_that_are_not_known_are_refused(void **state)
{
	static const char *const bad[] = {
		"permessage-bzip2",
		"permessage-deflate, permessage-deflate",
		"permessage-deflate; server_max_window_bits",
		"permessage-deflate; server_max_window_bits=16",
		"permessage-deflate; server_max_window_bits=7",
		"permessage-deflate; server_max_window_bits=\"1",
		"permessage-deflate; other",
	};
	struct websocket_params p;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(parse(bad[i], &p), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_examples_of_the_standard_are_read),
		cmocka_unit_test(the_packed_examples_of_the_standard_are_read),
		cmocka_unit_test(the_last_block_of_a_packed_stream_may_be_followed_by_another),
		cmocka_unit_test(control_frames_come_between_the_parts_of_a_message),
		cmocka_unit_test(a_close_ends_all),
		cmocka_unit_test(lengths_of_two_and_eight_bytes_are_read),
		cmocka_unit_test(what_no_frame_can_be_fails),
		cmocka_unit_test(a_gap_ends_the_direction),
		cmocka_unit_test(a_message_without_its_end_is_told_as_far_as_it_came),
		cmocka_unit_test(packed_messages_are_read_with_and_without_context),
		cmocka_unit_test(a_broken_packing_spoils_later_messages_only_if_they_build_upon_it),
		cmocka_unit_test(a_message_over_the_limit_is_cut_and_counted),
		cmocka_unit_test(what_expands_out_of_proportion_is_not_unpacked),
		cmocka_unit_test(a_bomb_is_not_unpacked_to_its_end),
		cmocka_unit_test(a_plain_message_over_the_limit_is_cut_and_counted),
		cmocka_unit_test(the_parameters_of_packing_are_read),
		cmocka_unit_test(extensions_that_are_not_known_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
