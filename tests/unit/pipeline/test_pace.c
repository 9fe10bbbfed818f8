/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "pipeline/pace.h"

#define MS NSEC_PER_MSEC

static const struct pace by_time = {PACE_TIME, 100 * MS, 1000 * MS};
static const struct pace by_activity = {PACE_ACTIVITY, 100 * MS, 1000 * MS};

static void the_ramp_is_denets(void **state)
{
	static const struct {
		uint64_t elapsed_ms, next_us;
	} rows[] = {
		{0, 100000},    {999, 100000},    {1000, 100000},
		{1009, 100900}, {1010, 101000},   {5500, 550000},
		{9999, 999900}, {10000, 1000000}, {86400000, 1000000},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(pace_next(&by_time, rows[i].elapsed_ms * MS, NULL) / 1000,
				 rows[i].next_us);
}

static void a_fixed_pace_stays(void **state)
{
	const struct pace p = {PACE_FIXED, 250 * MS, 1000 * MS};

	assert_int_equal(pace_next(&p, 0, NULL), 250 * MS);
	assert_int_equal(pace_next(&p, 3600 * NSEC_PER_SEC, NULL), 250 * MS);
}

static void a_ceiling_below_the_base_is_no_ceiling(void **state)
{
	const struct pace p = {PACE_TIME, 2000 * MS, 1000 * MS};

	assert_int_equal(pace_next(&p, 0, NULL), 2000 * MS);
	assert_int_equal(pace_next(&p, 20 * NSEC_PER_SEC, NULL), 2000 * MS);
}

static void where_nothing_moves_the_interval_is_the_ceiling(void **state)
{
	const struct pace_activity still = {
		.cpu_centi = 5000, .last_cpu_centi = 5000, .rss_kb = 10, .last_rss_kb = 10};

	assert_int_equal(pace_next(&by_activity, 0, &still), 1000 * MS);
}

static void an_eighth_of_a_core_halves_it(void **state)
{
	const struct pace_activity a = {.cpu_centi = 1250};
	const struct pace_activity b = {.last_cpu_centi = 1250};

	assert_int_equal(pace_next(&by_activity, 0, &a), 500 * MS);
	assert_int_equal(pace_next(&by_activity, 0, &b), 500 * MS);
}

static void much_activity_of_any_kind_brings_it_to_the_base(void **state)
{
	const struct pace_activity rows[] = {
		{.cpu_centi = 20000},
		{.rss_kb = 1000, .last_rss_kb = 10},
		{.rss_kb = 10, .last_rss_kb = 1000},
		{.io_rate = 1 << 20},
		{.changed = true},
		{.alert_nearness = 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(pace_next(&by_activity, 0, &rows[i]), 100 * MS);
}

static void a_trickle_of_bytes_is_no_activity(void **state)
{
	const struct pace_activity a = {.io_rate = 65535, .last_io_rate = 1};

	assert_int_equal(pace_next(&by_activity, 0, &a), 1000 * MS);
}

static void with_nothing_known_it_is_the_base(void **state)
{
	assert_int_equal(pace_next(&by_activity, 0, NULL), 100 * MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_ramp_is_denets),
		cmocka_unit_test(a_fixed_pace_stays),
		cmocka_unit_test(a_ceiling_below_the_base_is_no_ceiling),
		cmocka_unit_test(where_nothing_moves_the_interval_is_the_ceiling),
		cmocka_unit_test(an_eighth_of_a_core_halves_it),
		cmocka_unit_test(much_activity_of_any_kind_brings_it_to_the_base),
		cmocka_unit_test(a_trickle_of_bytes_is_no_activity),
		cmocka_unit_test(with_nothing_known_it_is_the_base),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
