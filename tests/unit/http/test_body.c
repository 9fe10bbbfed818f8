/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <zlib.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "http/body.h"

#define CORPUS "tests/unit/http/corpus/body/"

enum splitting {
	WHOLE,
	SINGLE,
	RANDOM,
	N_SPLITTINGS = RANDOM + 4,
};

static void keep(void *context, const void *p, size_t n)
{
	assert_true(n > 0);
	buf_add(context, p, n);
}

static struct http_text text(const char *s)
{
	return (struct http_text){s, strlen(s)};
}

static struct body_decoder *decoder(const char *encoding, const struct body_limits *limits)
{
	struct body_decoder *d = NULL;

	assert_int_equal(body_decoder_new(text(encoding), limits, &d), 0);
	return d;
}

static void feed_split(struct body_decoder *d, const struct buf *in, int splitting, struct buf *out)
{
	for (size_t at = 0, piece; at < in->len; at += piece) {
		char *copy;

		piece = in->len - at;
		if (splitting != WHOLE)
			piece = MIN(piece, splitting == SINGLE ? 1 : (size_t)rand() % 300 + 1);
		copy = malloc(piece);
		memcpy(copy, in->data + at, piece);
		body_decoder_feed(d, copy, piece, keep, out);
		free(copy);
	}
}

/* @error: what is said at the end; NULL: nothing. Then @out is expected whole, else to begin with what came. */
static void expect(const char *encoding, const struct body_limits *limits, const struct buf *in,
		   const struct buf *expected, const char *error)
{
	for (int splitting = 0; splitting < N_SPLITTINGS; splitting++) {
		_cleanup_(buf_done) struct buf out = {0};
		struct body_decoder *d = decoder(encoding, limits);

		feed_split(d, in, splitting, &out);
		body_decoder_finish(d);
		if (error)
			assert_string_equal(body_decoder_error(d), error);
		else
			assert_null(body_decoder_error(d));
		assert_true(error ? out.len <= expected->len : out.len == expected->len);
		assert_memory_equal(buf_cstr(&out), expected->data, out.len);
		body_decoder_free(d);
	}
}

static void load(const char *name, struct buf *ret)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), CORPUS "%s", name);
	f = fopen(path, "re");
	assert_non_null(f);
	assert_true(buf_room(ret, 65536));
	ret->len = fread(ret->data, 1, 65536, f);
	fclose(f);
}

/* The text that the files of the corpus encode. */
static void plain(struct buf *ret)
{
	for (int i = 0; i < 400; i++)
		buf_printf(ret, "data: {\"line\": %d, \"what\": \"%x\"}\n\n", i, i * i * 7919);
	buf_cstr(ret);
}

static void deflated(const struct buf *in, int window_bits, struct buf *ret)
{
	z_stream z = {0};

	assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, window_bits, 9, Z_DEFAULT_STRATEGY), Z_OK);
	assert_true(buf_room(ret, deflateBound(&z, in->len) + 64));
	z.next_in = (Bytef *)in->data;
	z.avail_in = (uInt)in->len;
	z.next_out = (Bytef *)ret->data + ret->len;
	z.avail_out = (uInt)(ret->cap - ret->len);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	ret->len += z.total_out;
	deflateEnd(&z);
}

struct bodies {
	struct buf plain, encoded, twice;
};

static int setup(void **state)
{
	struct bodies *b = calloc(1, sizeof(*b));

	srand(1);
	plain(&b->plain);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bodies *b = *state;

	buf_done(&b->plain);
	buf_done(&b->encoded);
	buf_done(&b->twice);
	free(b);
	return 0;
}

/* ---- encodings ---- */

static void test_each_encoding_is_undone(void **state)
{
	static const char *const encodings[] = {"gzip", "deflate", "br", "zstd"};
	struct bodies *b = *state;

	for (size_t i = 0; i < ARRAY_SIZE(encodings); i++) {
		buf_reset(&b->encoded);
		load(encodings[i], &b->encoded);
		expect(encodings[i], NULL, &b->encoded, &b->plain, NULL);
	}
}

static void test_names_are_read_as_the_standard_says(void **state)
{
	static const char *const spellings[] = {"GZip",           "x-gzip",   " gzip\t",
						"identity, gzip", ", gzip ,", "gzip,identity"};
	struct bodies *b = *state;

	deflated(&b->plain, 31, &b->encoded);
	for (size_t i = 0; i < ARRAY_SIZE(spellings); i++)
		expect(spellings[i], NULL, &b->encoded, &b->plain, NULL);
}

static void test_deflate_without_its_header_is_undone(void **state)
{
	struct bodies *b = *state;

	deflated(&b->plain, -15, &b->encoded);
	expect("deflate", NULL, &b->encoded, &b->plain, NULL);
}

static void test_nothing_is_done_without_an_encoding(void **state)
{
	const struct body_limits limits = {.output = 10};
	struct bodies *b = *state;

	expect("", NULL, &b->plain, &b->plain, NULL);
	expect("identity", &limits, &b->plain, &b->plain, NULL);
}

static void test_encodings_are_undone_last_one_first(void **state)
{
	struct bodies *b = *state;

	load("br", &b->encoded);
	deflated(&b->encoded, 31, &b->twice);
	expect("br, gzip", NULL, &b->twice, &b->plain, NULL);
	expect("gzip, br", NULL, &b->twice, &b->plain, "not valid as br");
}

static void test_the_members_of_a_gzip_file_are_one_body(void **state)
{
	_cleanup_(buf_done) struct buf both = {0};
	struct bodies *b = *state;

	deflated(&b->plain, 31, &b->encoded);
	deflated(&b->plain, 31, &b->encoded);
	buf_add(&both, b->plain.data, b->plain.len);
	buf_add(&both, b->plain.data, b->plain.len);
	expect("gzip", NULL, &b->encoded, &both, NULL);
}

static void test_the_frames_of_zstd_are_one_body(void **state)
{
	_cleanup_(buf_done) struct buf both = {0};
	struct bodies *b = *state;

	load("zstd", &b->encoded);
	buf_add(&b->encoded, "\x50\x2a\x4d\x18\3\0\0\0abc", 11); /* to be skipped */
	load("zstd", &b->twice);
	buf_add(&b->encoded, b->twice.data, b->twice.len);
	buf_add(&both, b->plain.data, b->plain.len);
	buf_add(&both, b->plain.data, b->plain.len);
	expect("zstd", NULL, &b->encoded, &both, NULL);
}

/* Three events, each flushed: all of an event is out when the bytes of its flush are in. */
static void test_an_event_stream_comes_out_as_it_arrives(void **state)
{
	static const char *const files[] = {"gzip", "deflate", "br", "zstd"};
	static const char event[] = "data: 1\n\n";

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_(buf_done) struct buf in = {0}, out = {0};
		struct body_decoder *d = decoder(files[i], NULL);
		char name[64];
		size_t at = 0;

		snprintf(name, sizeof(name), "events.%s", files[i]);
		load(name, &in);
		for (size_t k = 1; k <= 3; k++) {
			size_t n = (uint8_t)in.data[at++];

			body_decoder_feed(d, in.data + at, n, keep, &out);
			at += n;
			assert_int_equal(out.len, k * strlen(event));
		}
		body_decoder_feed(d, in.data + at, in.len - at, keep, &out);
		assert_int_equal(body_decoder_finish(d), 0);
		assert_null(body_decoder_error(d));
		body_decoder_free(d);
	}
}

/* ---- what is wrong with a body ---- */

static void test_an_empty_body_is_no_error(void **state)
{
	static const char *const encodings[] = {"gzip", "deflate", "br", "zstd", "br, gzip"};
	struct bodies *b = *state;

	for (size_t i = 0; i < ARRAY_SIZE(encodings); i++)
		expect(encodings[i], NULL, &b->encoded, &b->encoded, NULL);
}

static void test_a_truncated_body_is_told_at_its_end(void **state)
{
	static const char *const encodings[] = {"gzip", "deflate", "br", "zstd"};
	static const size_t kept[] = {1, 2, 5, 20, 500};
	struct bodies *b = *state;

	for (size_t i = 0; i < ARRAY_SIZE(encodings); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(kept); k++) {
			buf_reset(&b->encoded);
			load(encodings[i], &b->encoded);
			b->encoded.len = kept[k];
			expect(encodings[i], NULL, &b->encoded, &b->plain,
			       "ends in the middle of the compressed body");
		}
	}
}

static void test_what_is_not_encoded_so_is_told(void **state)
{
	struct bodies *b = *state;

	expect("gzip", NULL, &b->plain, &b->plain, "not valid as gzip or deflate");
	expect("zstd", NULL, &b->plain, &b->plain, "not valid as zstd");
	buf_add_str(&b->encoded, "\377\377\377\377");
	expect("br", NULL, &b->encoded, &b->plain, "not valid as br");
	expect("deflate", NULL, &b->encoded, &b->plain, "not valid as gzip or deflate");
}

static void test_a_wrong_checksum_is_told(void **state)
{
	struct bodies *b = *state;

	deflated(&b->plain, 31, &b->encoded);
	b->encoded.data[b->encoded.len - 6] ^= 1;
	expect("gzip", NULL, &b->encoded, &b->plain, "not valid as gzip or deflate");
}

static void test_bytes_behind_the_end_are_told(void **state)
{
	static const char *const encodings[] = {"gzip", "deflate", "br"};
	struct bodies *b = *state;

	for (size_t i = 0; i < ARRAY_SIZE(encodings); i++) {
		buf_reset(&b->encoded);
		load(encodings[i], &b->encoded);
		buf_add_str(&b->encoded, "more");
		expect(encodings[i], NULL, &b->encoded, &b->plain,
		       "bytes behind the end of the compressed body");
	}
}

static void test_an_unknown_encoding_is_passed_through_and_told(void **state)
{
	const char *said = "unknown content encoding: not decoded";
	struct bodies *b = *state;
	struct body_decoder *d = decoder("gzip, odd", NULL);

	assert_string_equal(body_decoder_error(d), said);
	body_decoder_free(d);
	expect("odd", NULL, &b->plain, &b->plain, said);
	deflated(&b->plain, 31, &b->encoded);
	expect("odd, gzip", NULL, &b->encoded, &b->plain, said);
	expect("gzip, odd", NULL, &b->encoded, &b->encoded, said);

	d = decoder("gzip, gzip, gzip, gzip, gzip", NULL);
	assert_string_equal(body_decoder_error(d), "too many content encodings: not all decoded");
	body_decoder_free(d);
}

/* ---- bounds ---- */

static size_t decoded_len(const char *encoding, const struct body_limits *limits,
			  const struct buf *in, const char *error)
{
	_cleanup_(buf_done) struct buf out = {0};
	struct body_decoder *d = decoder(encoding, limits);
	size_t n;

	assert_int_equal(body_decoder_feed(d, in->data, in->len, keep, &out), -EBADMSG);
	assert_int_equal(body_decoder_feed(d, "x", 1, keep, &out), -EBADMSG);
	assert_string_equal(body_decoder_error(d), error);
	n = out.len;
	body_decoder_free(d);
	return n;
}

static void test_output_ends_at_the_limit_exactly(void **state)
{
	struct body_limits limits = {.output = 1000};
	struct bodies *b = *state;

	deflated(&b->plain, 31, &b->encoded);
	assert_int_equal(decoded_len("gzip", &limits, &b->encoded,
				     "larger than the limit: not decoded any further"),
			 1000);
	limits.output = b->plain.len;
	expect("gzip", &limits, &b->encoded, &b->plain, NULL);
}

static void test_a_bomb_is_not_unpacked(void **state)
{
	static const char too_much[] = "expands out of proportion: not decoded any further";
	const struct body_limits large = {.ratio = 1 << 20};
	struct body_limits limits = {.ratio = 100};
	_cleanup_(buf_done) struct buf zeros = {0};
	struct bodies *b = *state;

	assert_true(buf_room(&zeros, 32 << 20));
	memset(zeros.data, 0, 32 << 20);
	zeros.len = 32 << 20;
	deflated(&zeros, 31, &b->encoded);
	assert_in_range(decoded_len("gzip", &limits, &b->encoded, too_much), 256 << 10, 4 << 20);
	assert_int_equal(decoded_len("gzip", &large, &b->encoded,
				     "larger than the limit: not decoded any further"),
			 16 << 20);

	/* A layer that is not the last one counts, too. */
	deflated(&b->encoded, 31, &b->twice);
	assert_in_range(decoded_len("gzip, gzip", &limits, &b->twice, too_much), 256 << 10,
			4 << 20);
}

static void test_windows_are_bounded(void **state)
{
	const struct body_limits wide = {.window_bits = 27};
	struct bodies *b = *state;

	load("zstd-window-27", &b->encoded);
	expect("zstd", NULL, &b->encoded, &b->plain, "zstd window larger than the limit");
	expect("zstd", &wide, &b->encoded, &b->plain, NULL);

	buf_reset(&b->encoded);
	load("br-large-window", &b->encoded);
	expect("br", NULL, &b->encoded, &b->plain, "not valid as br");
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_each_encoding_is_undone),
		CASE(test_names_are_read_as_the_standard_says),
		CASE(test_deflate_without_its_header_is_undone),
		CASE(test_nothing_is_done_without_an_encoding),
		CASE(test_encodings_are_undone_last_one_first),
		CASE(test_the_members_of_a_gzip_file_are_one_body),
		CASE(test_the_frames_of_zstd_are_one_body),
		CASE(test_an_event_stream_comes_out_as_it_arrives),
		CASE(test_an_empty_body_is_no_error),
		CASE(test_a_truncated_body_is_told_at_its_end),
		CASE(test_what_is_not_encoded_so_is_told),
		CASE(test_a_wrong_checksum_is_told),
		CASE(test_bytes_behind_the_end_are_told),
		CASE(test_an_unknown_encoding_is_passed_through_and_told),
		CASE(test_output_ends_at_the_limit_exactly),
		CASE(test_a_bomb_is_not_unpacked),
		CASE(test_windows_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
