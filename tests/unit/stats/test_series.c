/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/clock.h"
#include "stats/series.h"

#define T0 (1700000000ULL * NSEC_PER_SEC)

static double total(const struct series *s)
{
	double sum = 0;

	for (size_t i = 0; i < s->n; i++)
		sum += s->slots[i].sum[TRACK_CPU];
	return sum;
}

static void merging_loses_nothing(void **state)
{
	struct series *s = calloc(1, sizeof(*s));
	double want = 0;

	for (uint64_t i = 1; i <= 100000; i++) {
		double values[TRACKS] = {[TRACK_CPU] = (double)(i % 7)};

		series_add(s, T0 + i * 70 * NSEC_PER_MSEC, 70 * NSEC_PER_MSEC, 1, values);
		want += values[TRACK_CPU] * 70 * NSEC_PER_MSEC;
	}
	assert_true(s->n <= SERIES_SLOTS && s->n > SERIES_SLOTS / 4);
	assert_true(total(s) > want * 0.999999 && total(s) < want * 1.000001);
	assert_int_equal(s->origin_ns, T0);
	free(s);
}

static void a_sample_is_spread_over_its_interval(void **state)
{
	struct series *s = calloc(1, sizeof(*s));
	double values[TRACKS] = {[TRACK_CPU] = 5};

	series_add(s, T0 + 100 * NSEC_PER_MSEC, 100 * NSEC_PER_MSEC, 1, values);
	assert_int_equal(s->n, 10);
	for (size_t i = 0; i < 10; i++)
		assert_true(series_mean(s, i, TRACK_CPU) == 5);
	assert_true(series_mean(s, 3, TRACK_RSS) < 0);
	free(s);
}

/* Hostile times: the work stays bounded, and the clock does not go back. */
static void intervals_that_overlap_or_go_back_are_cut(void **state)
{
	struct series *s = calloc(1, sizeof(*s));
	double values[TRACKS] = {[TRACK_CPU] = 1};

	series_add(s, T0, 0, 1, values);
	for (int i = 0; i < 1000; i++)
		series_add(s, UINT64_MAX - 1000 + (uint64_t)i, UINT64_MAX, 1, values);
	series_add(s, 1, UINT64_MAX, 1, values);
	assert_true(s->n <= SERIES_SLOTS);
	assert_int_equal(s->origin_ns, T0);
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(merging_loses_nothing),
		cmocka_unit_test(a_sample_is_spread_over_its_interval),
		cmocka_unit_test(intervals_that_overlap_or_go_back_are_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
