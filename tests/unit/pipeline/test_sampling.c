/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "event/schema.h"
#include "pipeline/sampling.h"

#define MS NSEC_PER_MSEC

static const struct pace fixed = {PACE_FIXED, 100 * MS, 100 * MS};
static const struct pace active = {PACE_ACTIVITY, 100 * MS, 1000 * MS};

static struct sampling begun(const struct pace *pace, bool by_events)
{
	struct sampling s;

	sampling_begin(&s, pace, by_events, 5 * MS, 1000 * MS);
	return s;
}

static void saw(struct sampling *s, unsigned type)
{
	struct as_system_tree rec = {.h.type = type};
	const struct event ev = {.rec = &rec.h};

	sampling_event(s, &ev);
}

/* As the loop does it: a sample at @now_ns, and the next where the pace has it. */
static void take(struct sampling *s, uint64_t now_ns)
{
	sampling_taken(s, now_ns, sampling_next(s, now_ns, 0));
}

static void the_first_is_due_a_base_interval_after_the_beginning(void **state)
{
	struct sampling s = begun(&fixed, true);

	assert_int_equal(s.due_ns, 1100 * MS);
	assert_int_equal(s.reason, AS_SAMPLE_TIMER);
}

static void what_comes_a_little_late_does_not_delay_the_rest(void **state)
{
	struct sampling s = begun(&fixed, true);

	take(&s, 1103 * MS);
	assert_int_equal(s.due_ns, 1200 * MS);
	take(&s, 1201 * MS);
	assert_int_equal(s.due_ns, 1300 * MS);
}

static void what_comes_much_too_late_begins_anew(void **state)
{
	struct sampling s = begun(&fixed, true);

	take(&s, 1950 * MS);
	assert_int_equal(s.due_ns, 2050 * MS);
}

static void an_event_makes_one_due_but_no_closer_than_the_base_interval(void **state)
{
	struct sampling s = begun(&active, true);

	take(&s, 1100 * MS); /* nothing moves: the next is planned a second later */
	assert_int_equal(s.due_ns, 2100 * MS);
	saw(&s, AS_EV_FORK);
	assert_int_equal(s.due_ns, 1200 * MS);
	assert_int_equal(s.reason, AS_SAMPLE_FORK);
}

static void of_many_events_the_first_is_the_reason(void **state)
{
	struct sampling s = begun(&active, true);

	take(&s, 1100 * MS);
	saw(&s, AS_EV_EXIT);
	saw(&s, AS_EV_FORK);
	saw(&s, AS_EV_EXEC);
	sampling_force(&s, AS_SAMPLE_ALERT);
	assert_int_equal(s.reason, AS_SAMPLE_EXIT);
	assert_int_equal(s.due_ns, 1200 * MS);
	take(&s, 1200 * MS);
	assert_int_equal(s.reason, AS_SAMPLE_TIMER);
	saw(&s, AS_EV_EXEC);
	assert_int_equal(s.due_ns, 1300 * MS); /* was due then: an event counts as much activity */
}

static void what_is_due_that_early_anyway_stays_the_timers(void **state)
{
	struct sampling s = begun(&fixed, true);

	take(&s, 1100 * MS);
	saw(&s, AS_EV_FORK);
	assert_int_equal(s.reason, AS_SAMPLE_TIMER);
	assert_int_equal(s.due_ns, 1200 * MS);
}

static void where_events_do_not_count_they_change_nothing(void **state)
{
	struct sampling s = begun(&active, false);

	take(&s, 1100 * MS);
	saw(&s, AS_EV_FORK);
	sampling_force(&s, AS_SAMPLE_ALERT);
	assert_int_equal(s.reason, AS_SAMPLE_TIMER);
	assert_int_equal(s.due_ns, 2100 * MS);
}

static void the_rate_of_io_is_that_of_the_interval(void **state)
{
	struct sampler_load load = {.interval_ns = NSEC_PER_SEC, .io_bytes = 1000};
	struct sampling s = begun(&active, true);

	sampling_load(&s, &load);
	load.io_bytes = 1000 + (4 << 20);
	load.interval_ns = 500 * MS;
	sampling_load(&s, &load);
	assert_int_equal(s.activity.io_rate, 8 << 20);
	assert_int_equal(s.activity.last_io_rate, 1000);
	assert_int_equal(sampling_next(&s, 1100 * MS, 0), 100 * MS);
}

static void an_alert_that_is_near_brings_the_next_one_closer(void **state)
{
	struct sampling s = begun(&active, true);

	assert_int_equal(sampling_next(&s, 1100 * MS, 0.125), 500 * MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_is_due_a_base_interval_after_the_beginning),
		cmocka_unit_test(what_comes_a_little_late_does_not_delay_the_rest),
		cmocka_unit_test(what_comes_much_too_late_begins_anew),
		cmocka_unit_test(an_event_makes_one_due_but_no_closer_than_the_base_interval),
		cmocka_unit_test(of_many_events_the_first_is_the_reason),
		cmocka_unit_test(what_is_due_that_early_anyway_stays_the_timers),
		cmocka_unit_test(where_events_do_not_count_they_change_nothing),
		cmocka_unit_test(the_rate_of_io_is_that_of_the_interval),
		cmocka_unit_test(an_alert_that_is_near_brings_the_next_one_closer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
