/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/units.h"

static void bytes_have_one_decimal_above_a_kibibyte(void **state)
{
	char t[UNITS_LEN];

	assert_string_equal(units_bytes(t, 0), "0 B");
	assert_string_equal(units_bytes(t, 1023), "1023 B");
	assert_string_equal(units_bytes(t, 1024), "1.0 KiB");
	assert_string_equal(units_bytes(t, 1536), "1.5 KiB");
	assert_string_equal(units_bytes(t, (1 << 20) - 1), "1.0 MiB");
	assert_string_equal(units_bytes(t, UINT64_MAX), "16.0 EiB");
}

static void durations_use_the_unit_that_fits(void **state)
{
	char t[UNITS_LEN];

	assert_string_equal(units_duration(t, 999), "999 ns");
	assert_string_equal(units_duration(t, 1000), "1.0 us");
	assert_string_equal(units_duration(t, 999960), "1.0 ms");
	assert_string_equal(units_duration(t, 999960000), "1.00 s");
	assert_string_equal(units_duration(t, 119990000000), "119.99 s");
	assert_string_equal(units_duration(t, 120000000000), "2 min 00 s");
	assert_string_equal(units_duration(t, 7200000000000), "2 h 00 min");
	units_duration(t, UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_have_one_decimal_above_a_kibibyte),
		cmocka_unit_test(durations_use_the_unit_that_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
