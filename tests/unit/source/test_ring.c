/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <bpf/bpf.h>

#include <agentsight/control.h>

#include "fake_ring.h"

#define MANY 64
#define ALL  SIZE_MAX

static struct fake_ring f;
static struct ring_record records[MANY];
static bool more;

static int set_up(void **state)
{
	fake_open(&f, (size_t)sysconf(_SC_PAGESIZE));
	return 0;
}

static int tear_down(void **state)
{
	fake_close(&f);
	return 0;
}

static unsigned long put(const char *text, uint32_t bits)
{
	return fake_write(&f, text, strlen(text), bits);
}

/* Peeks, and compares with the texts, which are separated by blanks. */
static void peek_is(size_t max, size_t max_bytes, const char *expected)
{
	char text[1024] = "";
	size_t n = ring_peek(&f.ring, records, max, max_bytes, &more);

	for (size_t i = 0; i < n; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%.*s", i ? " " : "",
			 (int)records[i].len, (const char *)records[i].data);
	assert_string_equal(text, expected);
}

static void records_come_in_order_and_stay_until_they_are_released(void **state)
{
	put("one", 0);
	put("two", 0);
	peek_is(MANY, ALL, "one two");
	assert_false(more);
	assert_int_equal(*f.consumer, 0);
	peek_is(MANY, ALL, "one two");
	ring_release(&f.ring, NULL);
	assert_int_equal(fake_used(&f), 0);
	peek_is(MANY, ALL, "");
}

static void a_busy_record_holds_back_what_follows(void **state)
{
	unsigned long busy;

	put("one", 0);
	busy = put("two", BPF_RINGBUF_BUSY_BIT);
	put("three", 0);
	peek_is(MANY, ALL, "one");
	assert_false(more);
	assert_true(ring_held_up(&f.ring));
	ring_release(&f.ring, NULL);
	peek_is(MANY, ALL, "");
	ring_release(&f.ring, NULL);
	assert_false(ring_empty(&f.ring));
	fake_finish(&f, busy, 0);
	peek_is(MANY, ALL, "two three");
	assert_false(ring_held_up(&f.ring));
}

static void a_discarded_record_is_left_out_and_its_space_given_back(void **state)
{
	unsigned long busy;

	put("no", BPF_RINGBUF_DISCARD_BIT);
	put("one", 0);
	busy = put("neither", BPF_RINGBUF_BUSY_BIT);
	fake_finish(&f, busy, BPF_RINGBUF_DISCARD_BIT);
	peek_is(MANY, ALL, "one");
	ring_release(&f.ring, NULL);
	assert_true(ring_empty(&f.ring));
	put("no", BPF_RINGBUF_DISCARD_BIT);
	peek_is(MANY, ALL, "");
	assert_false(ring_empty(&f.ring));
	ring_release(&f.ring, NULL);
	assert_true(ring_empty(&f.ring));
	assert_int_equal(fake_used(&f), 0);
}

static void no_more_than_asked_for_are_peeked(void **state)
{
	put("one", 0);
	put("two", 0);
	put("three", 0);
	peek_is(2, ALL, "one two");
	assert_true(more);
	peek_is(3, ALL, "one two three");
	assert_false(more);
}

static void bytes_are_limited_but_one_record_always_comes(void **state)
{
	put("0123456789012345678901234567890", 0);
	put("two", 0);
	put("three", 0);
	peek_is(MANY, 1, "0123456789012345678901234567890");
	assert_true(more);
	peek_is(MANY, fake_space(31), "0123456789012345678901234567890 two");
	assert_true(more);
	peek_is(MANY, fake_space(31) + fake_space(3), "0123456789012345678901234567890 two three");
	assert_false(more);
}

static void a_part_of_what_was_peeked_can_be_released(void **state)
{
	put("one", 0);
	put("no", BPF_RINGBUF_DISCARD_BIT);
	put("two", 0);
	put("three", 0);
	peek_is(MANY, ALL, "one two three");
	ring_release(&f.ring, &records[0]);
	assert_int_equal(*f.consumer, fake_space(3));
	peek_is(MANY, ALL, "two three");
	ring_release(&f.ring, &records[0]);
	peek_is(MANY, ALL, "three");
	ring_release(&f.ring, &records[0]);
	assert_true(ring_empty(&f.ring));
}

static void releasing_what_was_released_changes_nothing(void **state)
{
	put("one", 0);
	peek_is(MANY, ALL, "one");
	ring_release(&f.ring, NULL);
	ring_release(&f.ring, NULL);
	assert_int_equal(*f.consumer, fake_space(3));
	put("two", 0);
	ring_release(&f.ring, NULL);
	assert_int_equal(*f.consumer, fake_space(3));
	peek_is(MANY, ALL, "two");
}

/* Records of every length lie across the end of the memory, also in a part of a batch. */
static void records_wrap_around_the_end(void **state)
{
	unsigned long written = 0, seen = 0;
	char text[200];

	fake_start_at(&f, 7 * f.ring.size + f.ring.size - 64);
	for (int round = 0; round < 2000; round++) {
		for (size_t len;
		     len = 20 + written % 170, fake_used(&f) + fake_space(len) <= f.ring.size;
		     written++) {
			memset(text, 'a' + (int)(written % 26), len);
			fake_write(&f, text, len, 0);
		}

		size_t n = ring_peek(&f.ring, records, MANY, ALL, &more);

		assert_true(n > 3);
		n -= (size_t)round % 3;
		for (size_t i = 0; i < n; i++, seen++) {
			const char *p = records[i].data;

			assert_int_equal(records[i].len, 20 + seen % 170);
			for (size_t at = 0; at < records[i].len; at++)
				assert_int_equal(p[at], 'a' + (int)(seen % 26));
		}
		ring_release(&f.ring, &records[n - 1]);
	}
	assert_true(seen > 2000);
}

static void a_record_may_fill_the_whole_ring(void **state)
{
	char text[4096] = "x";
	size_t len = f.ring.size - BPF_RINGBUF_HDR_SZ;

	assert_true(len <= sizeof(text));
	fake_start_at(&f, f.ring.size / 2);
	for (int i = 0; i < 3; i++) {
		fake_write(&f, text, len, 0);
		assert_int_equal(ring_peek(&f.ring, records, MANY, ALL, &more), 1);
		assert_int_equal(records[0].len, len);
		ring_release(&f.ring, &records[0]);
		assert_true(ring_empty(&f.ring));
	}
}

static void the_kernels_own_ring_can_be_opened(void **state)
{
	size_t size = f.ring.size;
	int fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "test_ring", 0, 0, (uint32_t)size, NULL);
	struct ring *r;

	if (fd < 0)
		skip();
	assert_int_equal(ring_open(fd, size, AS_RECORD_MAX, &r), 0);
	close(fd);
	assert_true(ring_empty(r));
	assert_int_equal(ring_peek(r, records, MANY, ALL, &more), 0);
	ring_release(r, NULL);
	ring_free(r);
}

static void what_is_no_ring_is_refused(void **state)
{
	struct ring *r = NULL;

	assert_int_equal(ring_open(-1, 4096, 256, &r), -EBADF);
	assert_null(r);
	ring_free(NULL);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(records_come_in_order_and_stay_until_they_are_released),
		TEST(a_busy_record_holds_back_what_follows),
		TEST(a_discarded_record_is_left_out_and_its_space_given_back),
		TEST(no_more_than_asked_for_are_peeked),
		TEST(bytes_are_limited_but_one_record_always_comes),
		TEST(a_part_of_what_was_peeked_can_be_released),
		TEST(releasing_what_was_released_changes_nothing),
		TEST(records_wrap_around_the_end),
		TEST(a_record_may_fill_the_whole_ring),
		TEST(the_kernels_own_ring_can_be_opened),
		TEST(what_is_no_ring_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
