/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "http/sse.h"

struct told {
	struct buf text;
	size_t count, data_len;
	uint64_t data_full;
	bool truncated;
};

static void on_event(void *context, const struct sse_event *e)
{
	struct told *t = context;

	t->count++;
	t->data_len = e->data.len;
	t->data_full = e->data_full;
	t->truncated = e->truncated;
	if (e->data.len > 4096)
		return;
	buf_add_char(&t->text, '|');
	buf_add(&t->text, e->event.p, e->event.len);
	buf_add_char(&t->text, '|');
	buf_add(&t->text, e->data.p, e->data.len);
	buf_add_char(&t->text, '|');
	buf_add(&t->text, e->id.p, e->id.len);
	buf_add_char(&t->text, '\n');
}

/* How the input is cut: 0 not at all, 1 into bytes, more: at random places with that seed. */
static size_t piece(unsigned cut, size_t left)
{
	size_t n = cut == 0 ? left : cut == 1 ? 1 : 1 + (size_t)rand() % (cut * 2);

	return n < left ? n : left;
}

static void feed(struct sse *s, const char *in, size_t n, unsigned cut)
{
	size_t len;

	srand(cut);
	for (size_t at = 0; at < n; at += len) {
		_cleanup_(freep) char *block = NULL;

		len = piece(cut, n - at);
		block = malloc(len);
		assert_non_null(block);
		memcpy(block, in + at, len);
		sse_feed(s, block, len);
	}
}

static void check_cut(const char *in, size_t n, const char *out, size_t out_len, unsigned cut)
{
	_cleanup_(sse_freep) struct sse *s = NULL;
	struct told t = {};

	assert_int_equal(sse_new(on_event, &t, &s), 0);
	feed(s, in, n, cut);
	assert_false(sse_failed(s));
	assert_int_equal(t.text.len, out_len);
	if (out_len)
		assert_memory_equal(t.text.data, out, out_len);
	buf_done(&t.text);
}

static void check(const char *in, size_t n, const char *out, size_t out_len)
{
	for (unsigned cut = 0; cut < 16; cut++)
		check_cut(in, n, out, out_len, cut);
}

#define CHECK(in, out) check(in, sizeof(in) - 1, out, sizeof(out) - 1)

static void the_web_platforms_cases_come_out_right_however_they_are_cut(void **state)
{
#define CASE(in, out) CHECK(in, out);
#include "unit/http/corpus/wpt_eventsource.h"
}

static void all_three_line_ends_can_be_mixed(void **state)
{
	CHECK("data:1\n\ndata:2\r\rdata:3\r\n\r\ndata:4\r\n\ndata:5\n\r\n",
	      "|message|1|\n|message|2|\n|message|3|\n|message|4|\n|message|5|\n");
}

static void a_line_feed_behind_a_carriage_return_is_no_empty_line(void **state)
{
	CHECK("data:1\r\ndata:2\r\n\r\n", "|message|1\n2|\n");
}

static void the_beginning_of_a_byte_order_mark_is_text(void **state)
{
	CHECK("\357\273data:1\n\ndata:2\n\n", "|message|2|\n");
	CHECK("\357", "");
}

static void the_last_of_several_types_counts_and_an_event_without_data_is_none(void **state)
{
	CHECK("event:a\nevent:b\ndata:1\n\nevent:c\n\ndata:2\n\n", "|b|1|\n|message|2|\n");
}

static void an_unfinished_event_is_none_but_counted(void **state)
{
	_cleanup_(sse_freep) struct sse *s = NULL;
	struct told t = {};

	assert_int_equal(sse_new(on_event, &t, &s), 0);
	sse_feed(s, "data: 12345\ndata", 16);
	assert_int_equal(t.count, 0);
	buf_done(&t.text);
}

static void too_large_an_event_is_cut_and_says_so(void **state)
{
	_cleanup_(sse_freep) struct sse *s = NULL;
	static char block[1 << 16];
	struct told t = {};

	memset(block, 'x', sizeof(block));
	assert_int_equal(sse_new(on_event, &t, &s), 0);
	sse_feed(s, "data:", 5);
	for (size_t i = 0; i < SSE_DATA_MAX / sizeof(block); i++)
		sse_feed(s, block, sizeof(block));
	sse_feed(s, "\n\n", 2);
	assert_int_equal(t.data_len, SSE_DATA_MAX);
	assert_false(t.truncated);

	sse_feed(s, "data:", 5);
	for (size_t i = 0; i <= SSE_DATA_MAX / sizeof(block); i++)
		sse_feed(s, block, sizeof(block));
	sse_feed(s, "\n\ndata:ok\n\n", 11);
	assert_int_equal(t.count, 3);
	assert_string_equal(buf_cstr(&t.text), "|message|ok|\n");
	assert_false(t.truncated);
	buf_done(&t.text);
}

static void a_cut_event_tells_how_long_it_was(void **state)
{
	_cleanup_(sse_freep) struct sse *s = NULL;
	_cleanup_(freep) char *in = malloc(SSE_DATA_MAX + 100);
	struct told t = {};

	assert_non_null(in);
	memset(in, 'x', SSE_DATA_MAX + 100);
	assert_int_equal(sse_new(on_event, &t, &s), 0);
	sse_feed(s, "data:", 5);
	sse_feed(s, in, SSE_DATA_MAX + 100);
	sse_feed(s, "\n\n", 2);
	assert_int_equal(t.data_len, SSE_DATA_MAX);
	assert_int_equal(t.data_full, SSE_DATA_MAX + 100);
	assert_true(t.truncated);
	buf_done(&t.text);
}

static void a_long_id_is_cut_and_says_so(void **state)
{
	_cleanup_(sse_freep) struct sse *s = NULL;
	char id[SSE_NAME_MAX + 1];
	struct told t = {};

	memset(id, 'i', sizeof(id));
	assert_int_equal(sse_new(on_event, &t, &s), 0);
	sse_feed(s, "id:", 3);
	sse_feed(s, id, sizeof(id));
	sse_feed(s, "\ndata:x\n\n", 9);
	assert_true(t.truncated);
	sse_feed(s, "id:1\ndata:x\n\n", 13);
	assert_false(t.truncated);
	buf_done(&t.text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_web_platforms_cases_come_out_right_however_they_are_cut),
		cmocka_unit_test(all_three_line_ends_can_be_mixed),
		cmocka_unit_test(a_line_feed_behind_a_carriage_return_is_no_empty_line),
		cmocka_unit_test(the_beginning_of_a_byte_order_mark_is_text),
		cmocka_unit_test(
			the_last_of_several_types_counts_and_an_event_without_data_is_none),
		cmocka_unit_test(an_unfinished_event_is_none_but_counted),
		cmocka_unit_test(too_large_an_event_is_cut_and_says_so),
		cmocka_unit_test(a_cut_event_tells_how_long_it_was),
		cmocka_unit_test(a_long_id_is_cut_and_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
