/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "source/smaps.h"

static const char rollup[] = "55d0-7ffd ---p 00000000 00:00 0    [rollup]\n"
			     "Rss:                1000 kB\n"
			     "Pss:                 321 kB\n"
			     "Pss_Dirty:            99 kB\n"
			     "Shared_Clean:        600 kB\n"
			     "Private_Clean:        40 kB\n"
			     "Private_Dirty:       100 kB\n";

static void pss_is_told_and_uss_is_what_is_private(void **state)
{
	struct smaps s;

	assert_int_equal(smaps_parse(rollup, strlen(rollup), &s), 0);
	assert_int_equal(s.pss_kb, 321);
	assert_int_equal(s.uss_kb, 140);
}

static void what_is_cut_off_or_does_not_fit_is_refused(void **state)
{
	static const char huge[] = "Pss: 1 kB\nPrivate_Clean: 18446744073709551615 kB\n"
				   "Private_Dirty: 1 kB\n";
	struct smaps s;

	for (size_t n = 0; n < strlen(rollup) - sizeof("100 kB"); n++)
		assert_int_equal(smaps_parse(rollup, n, &s), -EBADMSG);
	assert_int_equal(smaps_parse(huge, strlen(huge), &s), -EBADMSG);
}

static void ones_own_can_be_read_and_a_missing_process_cannot(void **state)
{
	_cleanup_(procfs_freep) struct procfs *fs = NULL;
	struct smaps s;

	assert_int_equal(procfs_open("/proc", &fs), 0);
	assert_int_equal(smaps_read(fs, getpid(), &s), 0);
	assert_true(s.pss_kb > 0 && s.uss_kb > 0);
	assert_int_equal(smaps_read(fs, UINT32_MAX, &s), -ESRCH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pss_is_told_and_uss_is_what_is_private),
		cmocka_unit_test(what_is_cut_off_or_does_not_fit_is_refused),
		cmocka_unit_test(ones_own_can_be_read_and_a_missing_process_cannot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
