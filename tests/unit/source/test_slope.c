/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "source/slope.h"

#define MS  1000000ULL
#define SEC 1000000000ULL

static struct slope slope;

static int set_up(void **state)
{
	slope = (struct slope){0};
	return 0;
}

static void it_is_not_told_before_five_seconds_and_five_points(void **state)
{
	for (int i = 0; i < 5; i++) {
		slope_add(&slope, (100 + i) * SEC, 1000 * i);
		assert_int_equal(slope_kb_min(&slope), 0);
	}
	slope_add(&slope, 105 * SEC, 5000);
	assert_int_equal(slope_kb_min(&slope), 60000);
}

static void a_line_gives_its_slope_in_either_direction(void **state)
{
	for (int i = 0; i < 20; i++)
		slope_add(&slope, 10 * SEC + i * 1500 * MS, 1000000 - 15 * i);
	assert_int_equal(slope_kb_min(&slope), -600);
}

static void what_lies_half_a_minute_back_is_forgotten(void **state)
{
	for (int i = 0; i < 100; i++)
		slope_add(&slope, (1 + i) * SEC, i < 60 ? 1000 * i : 60000);
	assert_int_equal(slope_kb_min(&slope), 0);
}

static void points_that_come_faster_do_not_shorten_the_window(void **state)
{
	for (int i = 0; i < 3000; i++)
		slope_add(&slope, SEC + i * 10 * MS, i);
	assert_int_equal(slope_kb_min(&slope), 6000);
	assert_true(slope.n >= 29);
}

static void with_long_intervals_the_last_five_points_count(void **state)
{
	for (int i = 0; i < 6; i++)
		slope_add(&slope, (1 + 60ULL * i) * SEC, i == 0 ? 999999 : 100 * i);
	assert_int_equal(slope_kb_min(&slope), 100);
}

static void the_counter_of_milliseconds_may_wrap_around(void **state)
{
	uint64_t wrap = (1ULL << 32) * MS;

	for (int i = 0; i < 10; i++)
		slope_add(&slope, wrap - 5 * SEC + i * SEC, 10 * i);
	assert_int_equal(slope_kb_min(&slope), 600);
}

#define TEST(f) cmocka_unit_test_setup(f, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_is_not_told_before_five_seconds_and_five_points),
		TEST(a_line_gives_its_slope_in_either_direction),
		TEST(what_lies_half_a_minute_back_is_forgotten),
		TEST(points_that_come_faster_do_not_shorten_the_window),
		TEST(with_long_intervals_the_last_five_points_count),
		TEST(the_counter_of_milliseconds_may_wrap_around),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
