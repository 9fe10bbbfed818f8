/* SPDX-License-Identifier: MIT */
#include "unit/llm/answer.h"

static void collect(void *context, const char *p, size_t n)
{
	struct buf *b = context;

	buf_add(b, p, n);
	buf_add_char(b, '|');
}

/* Cut into portions of every size; @stream is what must be found out on the way. */
static void assert_pieces(const char *body, const char *want, bool stream)
{
	size_t n = strlen(body);

	for (size_t step = 1; step <= n; step++) {
		struct buf got = {0};
		struct pieces s;

		pieces_begin(&s, false, collect, &got);
		for (size_t at = 0; at < n; at += step)
			pieces_feed(&s, body + at, n - at < step ? n - at : step);
		assert_string_equal(buf_cstr(&got), want);
		assert_int_equal(s.stream, stream);
		assert_false(s.lost);
		pieces_done(&s);
		buf_done(&got);
	}
}

static void lines_and_arrays_fall_apart_into_objects(void **state)
{
	assert_pieces("{\"a\":1}\n{\"b\":\"}{\\\"\"}\r\n", "{\"a\":1}|{\"b\":\"}{\\\"\"}|", true);
	assert_pieces(" [{\"a\":[{}]}\n,\n{}]", "{\"a\":[{}]}|{}|", true);
}

static void one_object_is_no_stream(void **state)
{
	assert_pieces("\n{\"a\":{\"b\":{}}}\n", "{\"a\":{\"b\":{}}}|", false);
	assert_pieces("<html>", "", false);
	assert_pieces(" \n ", "", false);
}

static void events_are_known_by_their_first_line(void **state)
{
	assert_pieces("data: x\n\nevent: e\ndata: y\ndata: z\n\ndata: never ended", "x|y\nz|",
		      true);
	assert_pieces(": comment\n\ndata:{}\n\n", "{}|", true);
	assert_pieces("\xef\xbb\xbf"
		      "event: a\r\ndata: 1\r\n\r\n",
		      "1|", true);
}

static void what_never_ends_is_given_up_and_what_follows_is_not(void **state)
{
	static char much[1 << 16];
	struct buf got = {0};
	struct pieces s;

	memset(much, 'x', sizeof(much));
	pieces_begin(&s, false, collect, &got);
	pieces_feed(&s, "{\"a\":\"", 6);
	for (size_t n = 0; n <= PIECES_MAX; n += sizeof(much))
		pieces_feed(&s, much, sizeof(much));
	assert_true(s.lost);
	assert_int_equal(s.object.cap, 0);
	pieces_feed(&s, "\"}{\"b\":2}", 9);
	assert_string_equal(buf_cstr(&got), "{\"b\":2}|");
	pieces_done(&s);
	buf_done(&got);
}

/* @begin and what ends it, around more than the new bound. */
static void assert_bounded(const char *begin, const char *end, const char *behind)
{
	static char much[1 << 16];
	struct buf got = {0};
	struct pieces s;

	memset(much, 'x', sizeof(much));
	pieces_begin(&s, false, collect, &got);
	pieces_feed(&s, begin, strlen(begin));
	pieces_feed(&s, much, sizeof(much));
	assert_true(pieces_memory(&s) > sizeof(much));
	pieces_bound(&s, 1024);
	assert_true(pieces_memory(&s) < 4096);
	pieces_feed(&s, much, sizeof(much));
	assert_true(pieces_memory(&s) < 4096);
	pieces_feed(&s, end, strlen(end));
	assert_true(s.lost);
	pieces_feed(&s, behind, strlen(behind));
	assert_string_equal(buf_cstr(&got), "{\"b\":2}|");
	pieces_done(&s);
	assert_int_equal(pieces_memory(&s), 0);
	buf_done(&got);
}

static void a_bound_holds_for_what_is_under_way(void **state)
{
	assert_bounded("{\"a\":\"", "\"}", "{\"b\":2}");
	assert_bounded("data: ", "\n\n", "data: {\"b\":2}\n\n");
}

static void a_bound_takes_nothing_from_what_is_short(void **state)
{
	static const char *const begins[] = {"{\"b\"", "data: {\"b\""};
	static const char *const ends[] = {":2}", ":2}\n\n"};

	for (size_t i = 0; i < 2; i++) {
		struct buf got = {0};
		struct pieces s;

		pieces_begin(&s, false, collect, &got);
		pieces_feed(&s, begins[i], strlen(begins[i]));
		pieces_bound(&s, 64);
		pieces_feed(&s, ends[i], strlen(ends[i]));
		assert_string_equal(buf_cstr(&got), "{\"b\":2}|");
		assert_false(s.lost);
		pieces_done(&s);
		buf_done(&got);
	}
}

static void a_long_object_leaves_no_memory_behind(void **state)
{
	static char much[1 << 20];
	struct buf got = {0};
	struct pieces s;

	memset(much, 'x', sizeof(much));
	pieces_begin(&s, false, collect, &got);
	pieces_feed(&s, "{\"a\":\"", 6);
	pieces_feed(&s, much, sizeof(much));
	pieces_feed(&s, "\"}", 2);
	assert_int_equal(got.len, sizeof(much) + 9);
	assert_int_equal(pieces_memory(&s), 0);
	pieces_done(&s);
	buf_done(&got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_and_arrays_fall_apart_into_objects),
		cmocka_unit_test(one_object_is_no_stream),
		cmocka_unit_test(events_are_known_by_their_first_line),
		cmocka_unit_test(what_never_ends_is_given_up_and_what_follows_is_not),
		cmocka_unit_test(a_bound_holds_for_what_is_under_way),
		cmocka_unit_test(a_bound_takes_nothing_from_what_is_short),
		cmocka_unit_test(a_long_object_leaves_no_memory_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
