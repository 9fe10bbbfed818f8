/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "source/capabilities.h"

static struct capabilities all;

static int tear_down(void **state)
{
	capabilities_done(&all);
	assert_int_equal(all.n, 0);
	memset(&all, 0, sizeof(all));
	return 0;
}

static void add(unsigned int i)
{
	char path[32];
	struct capability c = {.family = "tls", .hook = path, .state = CAPABILITY_MISSING};

	snprintf(path, sizeof(path), "/bundle-%u", i);
	snprintf(c.reason, sizeof(c.reason), "%u", i);
	capabilities_add(&all, &c);
	memset(path, '?', sizeof(path) - 1); /* it was borrowed for the call only */
}

static void assert_is(size_t at, unsigned int i)
{
	char path[32];

	snprintf(path, sizeof(path), "/bundle-%u", i);
	assert_string_equal(all.list[at].hook, path);
	assert_int_equal(atoi(all.list[at].reason), i);
	assert_int_equal(all.list[at].state, CAPABILITY_MISSING);
}

static void each_is_kept_with_a_copy_of_its_hook(void **state)
{
	add(1);
	add(2);
	assert_int_equal(all.n, 2);
	assert_is(0, 1);
	assert_is(1, 2);
	assert_int_equal(capabilities_told(&all, 2), 2);
	assert_int_equal(all.n, 2);
}

__attribute__((format(printf, 2, 3))) static void say(struct capability *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	capability_say(c, fmt, ap);
	va_end(ap);
}

static void a_reason_that_is_cut_says_so(void **state)
{
	struct capability c;

	say(&c, "%0*d", CAPABILITY_REASON_LEN - 1, 0);
	assert_int_equal(strspn(c.reason, "0"), CAPABILITY_REASON_LEN - 1);
	say(&c, "%0*dä", CAPABILITY_REASON_LEN - 5, 0);
	assert_int_equal(strspn(c.reason, "0"), CAPABILITY_REASON_LEN - 5);
	say(&c, "%0*dääää", CAPABILITY_REASON_LEN - 5, 0); /* half of one would remain */
	assert_int_equal(strspn(c.reason, "0"), CAPABILITY_REASON_LEN - 5);
	assert_string_equal(c.reason + CAPABILITY_REASON_LEN - 5, "…");
}

static void what_was_told_makes_room_but_for_the_first_ones(void **state)
{
	for (unsigned int i = 0; i < 200; i++)
		add(i);
	assert_int_equal(capabilities_told(&all, 150), CAPABILITIES_KEPT);
	assert_int_equal(all.n, CAPABILITIES_KEPT + 50);
	assert_is(0, 0);
	assert_is(CAPABILITIES_KEPT - 1, CAPABILITIES_KEPT - 1);
	assert_is(CAPABILITIES_KEPT, 150); /* not told yet */
	assert_is(CAPABILITIES_KEPT + 49, 199);
}

static void any_number_fits_one_after_the_other(void **state)
{
	size_t told = 0;

	for (unsigned int i = 0; i < 10000; i++) {
		add(i);
		assert_int_equal(all.n, told + 1);
		assert_is(told, i);
		told = capabilities_told(&all, all.n);
	}
	assert_int_equal(all.refused, 0);
}

static void too_many_at_once_are_refused_and_counted(void **state)
{
	for (unsigned int i = 0; i < CAPABILITIES_MAX + 3; i++)
		add(i);
	assert_int_equal(all.n, CAPABILITIES_MAX);
	assert_int_equal(all.refused, 3);
	assert_is(CAPABILITIES_MAX - 1, CAPABILITIES_MAX - 1);
}

#define TEST(fn) cmocka_unit_test_teardown(fn, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(each_is_kept_with_a_copy_of_its_hook),
		TEST(a_reason_that_is_cut_says_so),
		TEST(what_was_told_makes_room_but_for_the_first_ones),
		TEST(any_number_fits_one_after_the_other),
		TEST(too_many_at_once_are_refused_and_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
