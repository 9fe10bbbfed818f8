/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static bool no_memory;

static void *realloc_or_not(void *p, size_t size)
{
	return no_memory ? NULL : realloc(p, size);
}

/* compiled in, as fake_ring.h does with the ring: how much memory it holds is looked at */
#define realloc realloc_or_not
#include "source/order.c"
#undef realloc

#include "event/schema.h"
#include "fake_ring.h"

#define RING_SIZE (4UL << 20)

static struct fake_ring a, b;
static struct order *order;

/* What came out: "time:tag", tag being the child_pid of a fork. */
static char said[4096];
static uint64_t n_said, last_ns, n_unsorted;
static uint8_t *seen; /* per tag */

static void watch_time(const struct event *ev)
{
	n_unsorted += ev->rec->boot_ns < last_ns;
	last_ns = MAX(last_ns, ev->rec->boot_ns);
}

static void hear(struct emitter *self, const struct event *ev)
{
	const struct as_fork *e = (const struct as_fork *)ev->rec;
	size_t len = strlen(said);

	watch_time(ev);
	snprintf(said + len, sizeof(said) - len, "%s%llu:%u%s", len ? " " : "",
		 (unsigned long long)ev->rec->boot_ns, e->child_pid, ev->label ? ev->label : "");
	n_said++;
}

static void count(struct emitter *self, const struct event *ev)
{
	const struct as_fork *e = (const struct as_fork *)ev->rec;

	watch_time(ev);
	if (seen)
		seen[e->child_pid]++;
	n_said++;
}

static struct emitter out = {hear};

static void heard(const char *expected)
{
	assert_string_equal(said, expected);
	said[0] = '\0';
}

static int set_up(void **state)
{
	said[0] = '\0';
	n_said = last_ns = n_unsorted = 0;
	out.emit = hear;
	fake_open(&a, RING_SIZE);
	fake_open(&b, RING_SIZE);
	if (schema_init() < 0 || order_new(&out, &order) < 0)
		return -1;
	order_add_ring(order, &a.ring, RING_SIZE);
	order_add_ring(order, &b.ring, RING_SIZE);
	return 0;
}

static int tear_down(void **state)
{
	order_free(order);
	fake_close(&a);
	fake_close(&b);
	free(seen);
	seen = NULL;
	return 0;
}

static struct as_fork event_of(uint64_t ns, uint32_t tag)
{
	return (struct as_fork){
		.h = {.len = sizeof(struct as_fork), .type = AS_EV_FORK, .boot_ns = ns},
		.child_pid = tag,
	};
}

static void put(struct fake_ring *f, uint64_t ns, uint32_t tag)
{
	struct as_fork e = event_of(ns, tag);

	fake_write(f, &e, sizeof(e), 0);
}

static void put_user(uint64_t ns, uint32_t tag, const char *label)
{
	struct as_fork e = event_of(ns, tag);
	const struct event ev = {.rec = &e.h, .desc = schema_event(AS_EV_FORK), .label = label};

	event_emit(order_input(order), &ev);
	memset(&e, 0xff, sizeof(e)); /* it was borrowed for the call only */
}

static void two_rings_and_user_space_come_out_as_one_in_order_of_time(void **state)
{
	put(&a, 10, 1);
	put(&a, 30, 2);
	put(&b, 20, 3);
	put(&b, 40, 4);
	put_user(25, 5, NULL);
	put_user(5, 6, "!");
	order_drain(order, 100);
	heard("5:6! 10:1 20:3 25:5 30:2 40:4");
	assert_true(order_idle(order));
	assert_int_equal(n_unsorted, 0);
	assert_int_equal(order_counts(order).bad, 0);
	assert_int_equal(fake_used(&a) + fake_used(&b), 0);
}

static void one_ring_is_put_in_order_too(void **state)
{
	put(&a, 30, 1);
	put(&a, 10, 2);
	put(&a, 20, 3);
	order_drain(order, 100);
	heard("10:2 20:3 30:1");
}

static void equal_times_stay_in_the_order_of_arrival(void **state)
{
	put(&a, 10, 1);
	put(&a, 10, 2);
	put(&a, 5, 3);
	put(&a, 10, 4);
	put_user(7, 5, NULL);
	put_user(7, 6, NULL);
	order_drain(order, 100);
	heard("5:3 7:5 7:6 10:1 10:2 10:4");
}

static void what_is_younger_than_the_watermark_is_kept(void **state)
{
	put(&a, 10, 1);
	put(&a, 20, 2);
	put(&b, 21, 3);
	put_user(22, 4, NULL);
	order_drain(order, 20);
	heard("10:1 20:2");
	assert_false(order_idle(order));
	put(&a, 15, 5); /* older than what waits, and in time */
	put(&a, 20, 6);
	order_drain(order, 20);
	heard("15:5 20:6");
	order_drain(order, 21);
	heard("21:3");
	order_drain(order, UINT64_MAX);
	heard("22:4");
	assert_true(order_idle(order));
}

static void what_comes_too_late_is_passed_on(void **state)
{
	put(&a, 10, 1);
	put(&a, 20, 2);
	order_drain(order, 100);
	put(&b, 15, 3);
	put(&b, 16, 4);
	put(&b, 20, 5);
	put_user(1, 6, NULL);
	order_drain(order, 100);
	heard("10:1 20:2 1:6 15:3 16:4 20:5");
}

static void a_young_record_does_not_keep_the_ring_behind_it(void **state)
{
	put(&a, 90, 1);
	put(&a, 10, 2);
	put(&a, 95, 3);
	order_drain(order, 50);
	heard("10:2");
	/* the young one before it was copied, the one behind it stays in place */
	assert_int_equal(fake_used(&a), fake_space(sizeof(struct as_fork)));
	order_drain(order, 90);
	heard("90:1");
	order_drain(order, 95);
	heard("95:3");
	assert_int_equal(fake_used(&a), 0);
}

/* A record that its producer works at, behind "10:1"; and what is written meanwhile. */
static unsigned long under_construction(void)
{
	struct as_fork e = event_of(12, 2);
	unsigned long pos;

	put(&a, 10, 1);
	pos = fake_write(&a, &e, sizeof(e), BPF_RINGBUF_BUSY_BIT);
	put(&a, 13, 3);
	put(&b, 9, 4);
	put(&b, 11, 5);
	put(&b, 14, 6);
	put_user(15, 7, NULL);
	return pos;
}

static void a_record_under_construction_is_waited_for(void **state)
{
	unsigned long pos = under_construction();

	order_drain(order, 100);
	heard("9:4 10:1");
	assert_int_equal(order_drain(order, ORDER_HOLD_NS + 10), 10);
	heard("");
	assert_false(order_idle(order));
	fake_finish(&a, pos, 0);
	assert_int_equal(order_drain(order, 100), 100);
	heard("11:5 12:2 13:3 14:6 15:7");
	assert_int_equal(n_unsorted, 0);
}

static void a_record_under_construction_is_not_waited_for_for_ever(void **state)
{
	unsigned long pos = under_construction();

	order_drain(order, 100);
	heard("9:4 10:1");
	assert_int_equal(order_drain(order, ORDER_HOLD_NS + 14), 14);
	heard("11:5 14:6");
	fake_finish(&a, pos, 0);
	order_drain(order, ORDER_HOLD_NS + 14);
	heard("12:2 13:3 15:7");
}

static void at_the_end_a_record_under_construction_is_not_waited_for(void **state)
{
	under_construction();
	order_drain(order, UINT64_MAX);
	heard("9:4 10:1 11:5 14:6 15:7");
}

static void nothing_under_construction_holds_back_a_whole_batch(void **state)
{
	struct as_fork e = event_of(11, 2);

	out.emit = count;
	put(&a, 10, 1);
	fake_write(&a, &e, sizeof(e), BPF_RINGBUF_BUSY_BIT);
	for (uint32_t i = 0; i < 3 * BATCH; i++)
		put(&b, 1000 + i, 3);
	order_drain(order, 100000);
	assert_in_range(n_said, 2 * BATCH, 3 * BATCH);
}

static void a_record_under_construction_behind_a_batch_is_waited_for_too(void **state)
{
	struct as_fork e = event_of(1000 + BATCH, 2);
	unsigned long pos;

	out.emit = count;
	for (uint32_t i = 0; i < BATCH; i++)
		put(&a, 1000 + i, 1);
	pos = fake_write(&a, &e, sizeof(e), BPF_RINGBUF_BUSY_BIT);
	put(&b, 1000 + BATCH + 1, 3);
	assert_int_equal(order_drain(order, 100000), 1000 + BATCH - 1);
	assert_int_equal(n_said, BATCH);
	fake_finish(&a, pos, 0);
	order_drain(order, 100000);
	assert_int_equal(n_said, BATCH + 2);
	assert_int_equal(n_unsorted, 0);
}

/* Each is waited for anew; what lies before it is passed on meanwhile. */
static void one_record_after_the_other_is_waited_for(void **state)
{
	struct as_fork e = event_of(0, 0);
	unsigned long pos;

	for (uint32_t i = 1; i <= 5; i++) {
		uint64_t ns = i * ORDER_HOLD_NS;

		e = event_of(ns, i);
		pos = fake_write(&a, &e, sizeof(e), BPF_RINGBUF_BUSY_BIT);
		put(&b, ns + 1, 0);
		order_drain(order, ns + 2);
		heard("");
		fake_finish(&a, pos, 0);
		order_drain(order, ns + ORDER_HOLD_NS - 1);
		assert_true(order_idle(order));
		said[0] = '\0';
	}
	assert_int_equal(n_unsorted, 0);
}

static void records_that_are_none_are_counted_and_the_others_passed_on(void **state)
{
	struct as_fork e = event_of(10, 1);

	fake_write(&a, "", 0, 0);
	fake_write(&a, &e, sizeof(e.h) - 1, 0);
	fake_write(&a, &e, sizeof(e) - 1, 0); /* shorter than it says */
	e.h.type = AS_EV_COUNT;
	fake_write(&a, &e, sizeof(e), 0);
	e.h.type = AS_EV_EXIT;
	fake_write(&a, &e, sizeof(e), 0);
	put(&a, 11, 2);
	fake_write(&a, &e, sizeof(e), 0);
	order_drain(order, 100);
	heard("11:2");
	assert_int_equal(order_counts(order).bad, 6);
	assert_true(order_idle(order));
}

static void a_bad_record_is_counted_once_however_long_it_lies_there(void **state)
{
	put(&a, 90, 1);
	fake_write(&a, "x", 1, 0);
	put(&a, 91, 2);
	for (int i = 0; i < 5; i++)
		order_drain(order, 50);
	assert_int_equal(order_counts(order).bad, 1);
	order_drain(order, 100);
	heard("90:1 91:2");
}

static void discarded_records_are_released(void **state)
{
	struct as_fork e = event_of(10, 1);

	fake_write(&a, &e, sizeof(e), BPF_RINGBUF_DISCARD_BIT);
	order_drain(order, 100);
	heard("");
	assert_true(order_idle(order));
}

/* The held event lies in memory that the answer may move; AddressSanitizer would see it. */
static void answer(struct emitter *self, const struct event *ev)
{
	const struct as_fork *e = (const struct as_fork *)ev->rec;

	if (n_said < 500) {
		for (int i = 0; i < 20; i++)
			put_user(ev->rec->boot_ns + 1, e->child_pid + 1, NULL);
	}
	hear(self, ev);
	said[0] = '\0';
}

static void who_receives_an_event_may_send_one(void **state)
{
	out.emit = answer;
	put_user(1, 1, NULL);
	order_drain(order, UINT64_MAX);
	assert_int_equal(n_said, 1 + 500 * 20);
	assert_true(order_idle(order));
	assert_int_equal(n_unsorted, 0);
}

static uint32_t random_next(void)
{
	static uint64_t seed = 1;

	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(seed >> 33);
}

static void more_than_a_batch_comes_out_in_order(void **state)
{
	out.emit = count;
	for (uint32_t i = 0; i < 3 * BATCH; i++) {
		put(&a, 1000 + 10 * i + random_next() % 25, 2 * i);
		put(&b, 1000 + 10 * i + random_next() % 25, 2 * i + 1);
	}
	seen = calloc(6 * BATCH, 1);
	order_drain(order, UINT64_MAX);
	assert_int_equal(n_said, 6 * BATCH);
	for (size_t i = 0; i < 6 * BATCH; i++)
		assert_int_equal(seen[i], 1);
	/* only where two batches meet may a record be late */
	assert_true(n_unsorted < 20);
	assert_true(order_idle(order));
}

/* A ring that is far ahead must not overtake what does not fit the other's batch. */
static void a_quiet_ring_waits_for_a_busy_one(void **state)
{
	out.emit = count;
	for (uint32_t i = 0; i < 4 * BATCH; i++) {
		put(&a, 1000 + i, i);
		if (i % 1000 == 999)
			put(&b, 1000 + i, i);
	}
	order_drain(order, UINT64_MAX);
	assert_int_equal(n_said, 4 * BATCH + 4 * BATCH / 1000);
	assert_int_equal(n_unsorted, 0);
}

/*
 * Producers are at most WINDOW apart between their clock and the ring, and the watermark stays that
 * far behind: then nothing is late, nothing lost and nothing doubled.
 */
static void behind_the_window_nothing_is_late_whatever_comes(void **state)
{
	enum { ROUNDS = 400, EACH = 50, WINDOW = 300 };
	uint64_t now = 1000;
	uint32_t tag = 0;

	out.emit = count;
	seen = calloc(ROUNDS * EACH, 1);
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < EACH; i++, tag++) {
			uint64_t ns = now++ - random_next() % WINDOW;

			switch (random_next() % 3) {
			case 0:
				put(&a, ns, tag);
				break;
			case 1:
				put(&b, ns, tag);
				break;
			case 2:
				put_user(ns, tag, NULL);
				break;
			}
		}
		order_drain(order, now - WINDOW);
	}
	order_drain(order, UINT64_MAX);
	assert_int_equal(n_said, tag);
	for (uint32_t i = 0; i < tag; i++)
		assert_int_equal(seen[i], 1);
	assert_int_equal(n_unsorted, 0);
	assert_true(order_idle(order));
}

static void the_memory_of_held_events_is_used_again(void **state)
{
	enum { ROUNDS = 2000, EACH = 100 };

	out.emit = count;
	/* there is always something that waits, so the memory is never empty */
	for (uint32_t round = 1; round <= ROUNDS; round++) {
		for (uint32_t i = 0; i < EACH; i++)
			put_user(round * EACH + i, i, NULL);
		order_drain(order, round * EACH);
		assert_false(order_idle(order));
	}
	assert_int_equal(n_unsorted, 0);
	assert_true(order->held.arena.cap < 10 * EACH * sizeof(struct as_fork));
	assert_true(order->spare.arena.cap < 10 * EACH * sizeof(struct as_fork));
	assert_true(order->held.cap < 10 * EACH);
}

static void what_there_was_no_memory_for_is_counted_by_type(void **state)
{
	no_memory = true;
	put_user(10, 1, NULL);
	put(&a, 20, 2);
	order_drain(order, 100);
	no_memory = false;
	put_user(30, 3, NULL);
	put(&a, 40, 4);
	order_drain(order, 100);
	heard("30:3 40:4");
	assert_int_equal(order_counts(order).unheld[AS_EV_FORK], 2);
	assert_int_equal(order_counts(order).bad, 0);
	assert_int_equal(fake_used(&a), 0);
}

static void a_quiet_order_is_idle(void **state)
{
	assert_true(order_idle(order));
	order_drain(order, 0);
	order_drain(order, UINT64_MAX);
	heard("");
	assert_true(order_idle(order));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(two_rings_and_user_space_come_out_as_one_in_order_of_time),
		TEST(one_ring_is_put_in_order_too),
		TEST(equal_times_stay_in_the_order_of_arrival),
		TEST(what_is_younger_than_the_watermark_is_kept),
		TEST(what_comes_too_late_is_passed_on),
		TEST(a_young_record_does_not_keep_the_ring_behind_it),
		TEST(a_record_under_construction_is_waited_for),
		TEST(a_record_under_construction_is_not_waited_for_for_ever),
		TEST(at_the_end_a_record_under_construction_is_not_waited_for),
		TEST(nothing_under_construction_holds_back_a_whole_batch),
		TEST(a_record_under_construction_behind_a_batch_is_waited_for_too),
		TEST(one_record_after_the_other_is_waited_for),
		TEST(records_that_are_none_are_counted_and_the_others_passed_on),
		TEST(a_bad_record_is_counted_once_however_long_it_lies_there),
		TEST(discarded_records_are_released),
		TEST(who_receives_an_event_may_send_one),
		TEST(more_than_a_batch_comes_out_in_order),
		TEST(a_quiet_ring_waits_for_a_busy_one),
		TEST(behind_the_window_nothing_is_late_whatever_comes),
		TEST(the_memory_of_held_events_is_used_again),
		TEST(what_there_was_no_memory_for_is_counted_by_type),
		TEST(a_quiet_order_is_idle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
