/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "stats/sketch.h"

static void a_few_values_have_exact_weighted_quantiles(void **state)
{
	struct sketch s = {0};

	/* 1000003 for one tenth of the time, 7 for the rest */
	assert_true(sketch_add(&s, 1000003, 10) > 0);
	sketch_add(&s, 7, 90);
	assert_int_equal(sketch_quantile(&s, 0), 7);
	assert_int_equal(sketch_quantile(&s, 500), 7);
	assert_int_equal(sketch_quantile(&s, 900), 7);
	assert_int_equal(sketch_quantile(&s, 901), 1000003);
	assert_int_equal(sketch_quantile(&s, 1000), 1000003);
	sketch_done(&s);
}

/* Values of a known distribution: i^3 for i up to 10000, all of one weight. */
static void many_values_have_quantiles_within_one_percent(void **state)
{
	static const unsigned permilles[] = {1, 10, 250, 500, 950, 990, 999, 1000};
	struct sketch s = {0};

	for (uint64_t i = 1; i <= 10000; i++)
		assert_true(sketch_add(&s, i * i * i, 1000) >= 0);
	for (size_t k = 0; k < sizeof(permilles) / sizeof(permilles[0]); k++) {
		uint64_t i = permilles[k] * 10;
		double is = (double)sketch_quantile(&s, permilles[k]), want = (double)(i * i * i);

		assert_true(is >= want * 0.99 && is <= want * 1.01);
	}
	assert_true(sketch_bytes(&s) <= 32 * 1024);
	sketch_done(&s);
}

static void small_values_stay_exact_however_many_there_are(void **state)
{
	struct sketch s = {0};

	for (uint64_t i = 0; i < 1280; i++)
		sketch_add(&s, i % 128, 1);
	for (unsigned permille = 100; permille <= 1000; permille += 100)
		assert_in_range(sketch_quantile(&s, permille), permille * 128 / 1000 - 1,
				permille * 128 / 1000);
	sketch_done(&s);
}

static void the_largest_numbers_take_no_more_room_than_stated(void **state)
{
	struct sketch s = {0};
	int grown = 0;

	for (unsigned shift = 0; shift < 64; shift++) {
		for (uint64_t k = 0; k < 100; k++)
			grown += sketch_add(&s, (1ULL << shift) + k * 977, 1);
	}
	assert_true(sketch_quantile(&s, 1000) > 1ULL << 63);
	assert_true(sketch_bytes(&s) <= 32 * 1024);
	assert_int_equal(grown, sketch_bytes(&s));
	sketch_done(&s);
}

static void a_value_that_stays_is_kept_once(void **state)
{
	struct sketch s = {0};

	for (int i = 0; i < 100000; i++)
		sketch_add(&s, 123456789, 10);
	assert_int_equal(s.n_pairs, 1);
	assert_int_equal(sketch_quantile(&s, 500), 123456789);
	sketch_done(&s);
}

static void nothing_gives_zero(void **state)
{
	struct sketch s = {0};

	assert_int_equal(sketch_quantile(&s, 500), 0);
	sketch_done(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_few_values_have_exact_weighted_quantiles),
		cmocka_unit_test(many_values_have_quantiles_within_one_percent),
		cmocka_unit_test(small_values_stay_exact_however_many_there_are),
		cmocka_unit_test(the_largest_numbers_take_no_more_room_than_stated),
		cmocka_unit_test(a_value_that_stays_is_kept_once),
		cmocka_unit_test(nothing_gives_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
