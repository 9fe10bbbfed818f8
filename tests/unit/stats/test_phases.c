/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/clock.h"
#include "stats/phases.h"

#define T0 (1700000000ULL * NSEC_PER_SEC)

static uint32_t seed;

/* -1 to 1 */
static double noise(void)
{
	seed = seed * 1664525U + 1013904223U;
	return (double)(seed >> 8) / (1 << 23) - 1;
}

static struct series *new_series(void)
{
	struct series *s = calloc(1, sizeof(*s));

	seed = 1;
	assert_non_null(s);
	return s;
}

/* @seconds of samples every 100 ms, from where the series ends. */
static void go_on(struct series *s, double seconds, double cpu, double rss, double write)
{
	uint64_t at = s->width_ns ? s->end_ns : T0;

	for (int i = 0; i < (int)(seconds * 10); i++) {
		double values[TRACKS] = {0};

		values[TRACK_CPU] = cpu * (1 + noise() / 10);
		values[TRACK_RSS] = rss * (1 + noise() / 50);
		values[TRACK_WRITE] = write;
		at += 100 * NSEC_PER_MSEC;
		series_add(s, at, 100 * NSEC_PER_MSEC,
			   1U << TRACK_CPU | 1U << TRACK_RSS | 1U << TRACK_WRITE, values);
	}
}

static void assert_near(uint64_t is_ns, double seconds)
{
	double is = (double)(is_ns - T0) / NSEC_PER_SEC;

	assert_true(is > seconds - 0.5 && is < seconds + 0.5);
}

static void start_work_burst_and_rest_are_told_apart(void **state)
{
	struct series *s = new_series();
	struct phase p[PHASES_MAX];

	go_on(s, 5, 40, 50000, 0);
	go_on(s, 25, 150, 200000, 0);
	go_on(s, 5, 390, 500000, 30e6);
	go_on(s, 25, 150, 200000, 0);
	go_on(s, 20, 0.2, 200000, 0);
	assert_int_equal(phases_find(s, p), 5);
	assert_int_equal(p[0].kind, PHASE_STARTUP);
	assert_int_equal(p[1].kind, PHASE_STEADY);
	assert_int_equal(p[2].kind, PHASE_BURST);
	assert_int_equal(p[3].kind, PHASE_STEADY);
	assert_int_equal(p[4].kind, PHASE_IDLE);
	assert_near(p[0].end_ns, 5);
	assert_near(p[1].end_ns, 30);
	assert_near(p[2].end_ns, 35);
	assert_near(p[3].end_ns, 60);
	assert_true(p[2].mean[TRACK_CPU] > 370 && p[2].mean[TRACK_CPU] < 410);
	assert_int_equal(p[0].begin_ns, T0);
	assert_int_equal(p[4].end_ns, s->end_ns);
	free(s);
}

static void noise_alone_is_one_phase(void **state)
{
	struct series *s = new_series();
	struct phase p[PHASES_MAX];

	go_on(s, 120, 100, 100000, 1e6);
	assert_int_equal(phases_find(s, p), 1);
	assert_int_equal(p[0].kind, PHASE_STEADY);
	free(s);
}

static void a_constant_run_is_one_phase(void **state)
{
	struct series *s = new_series();
	struct phase p[PHASES_MAX];
	double values[TRACKS] = {[TRACK_CPU] = 100, [TRACK_RSS] = 4096};

	for (uint64_t i = 1; i < 500; i++)
		series_add(s, T0 + i * NSEC_PER_SEC, NSEC_PER_SEC, 3, values);
	assert_int_equal(phases_find(s, p), 1);
	free(s);
}

/* A short burst in the middle is two cuts at once: each alone would gain next to nothing. */
static void a_short_burst_in_a_long_run_is_found(void **state)
{
	struct series *s = new_series();
	struct phase p[PHASES_MAX];

	go_on(s, 300, 20, 100000, 0);
	go_on(s, 6, 400, 100000, 0);
	go_on(s, 300, 20, 100000, 0);
	assert_int_equal(phases_find(s, p), 3);
	assert_int_equal(p[1].kind, PHASE_BURST);
	free(s);
}

static void nothing_has_no_phase_and_a_moment_has_one(void **state)
{
	struct series *s = new_series();
	struct phase p[PHASES_MAX];
	double values[TRACKS] = {[TRACK_CPU] = 100};

	assert_int_equal(phases_find(s, p), 0);
	series_add(s, T0, 0, 1, values);
	assert_int_equal(phases_find(s, p), 1);
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(start_work_burst_and_rest_are_told_apart),
		cmocka_unit_test(noise_alone_is_one_phase),
		cmocka_unit_test(a_constant_run_is_one_phase),
		cmocka_unit_test(a_short_burst_in_a_long_run_is_found),
		cmocka_unit_test(nothing_has_no_phase_and_a_moment_has_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
