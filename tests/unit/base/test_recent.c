/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/recent.h"

static struct recent set;

static int set_up(void **state)
{
	memset(&set, 0, sizeof(set));
	return 0;
}

/* As hashes and times lie: everywhere. */
static uint64_t key(uint64_t i)
{
	i = (i ^ i >> 30) * 0xbf58476d1ce4e5b9ULL;
	i = (i ^ i >> 27) * 0x94d049bb133111ebULL;
	return i ^ i >> 31;
}

static void add(uint64_t from, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		recent_add(&set, key(from + i));
}

static uint64_t found(uint64_t from, uint64_t n)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < n; i++)
		sum += recent_has(&set, key(from + i));
	return sum;
}

static void what_was_added_is_found(void **state)
{
	assert_false(recent_has(&set, 7));
	recent_add(&set, 7);
	assert_true(recent_has(&set, 7));
	assert_false(recent_has(&set, 8));
}

static void what_was_removed_is_not(void **state)
{
	add(1, 2000);
	recent_remove(&set, key(7));
	recent_remove(&set, key(5000));
	assert_false(recent_has(&set, key(7)));
	assert_int_equal(found(1, 2000), 1999);
}

static void the_last_thousands_are_found_and_older_ones_forgotten(void **state)
{
	add(1, 100000);
	assert_in_range(found(100001 - 2000, 2000), 1998, 2000);
	assert_in_range(found(100001 - 4000, 100), 90, 100);
	assert_in_range(found(100001 - 8000, 100), 30, 70);
	assert_int_equal(found(1, 50000), 0);
}

static void a_key_that_is_added_again_is_as_new_and_takes_one_place(void **state)
{
	recent_add(&set, 7);
	for (int i = 0; i < 100; i++) {
		add(1000 + 1000 * i, 1000);
		recent_add(&set, 7);
	}
	assert_true(recent_has(&set, 7));
	recent_remove(&set, 7);
	assert_false(recent_has(&set, 7));
}

#define TEST(f) cmocka_unit_test_setup(f, set_up)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_was_added_is_found),
		TEST(what_was_removed_is_not),
		TEST(the_last_thousands_are_found_and_older_ones_forgotten),
		TEST(a_key_that_is_added_again_is_as_new_and_takes_one_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
