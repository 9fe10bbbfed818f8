/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/output.h"

static char dir[] = "/tmp/test_output.XXXXXX";
static char path[128], other[128];

static int set_up(void **state)
{
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/file", dir);
	snprintf(other, sizeof(other), "%s/other", dir);
	return 0;
}

static int tear_down(void **state)
{
	unlink(path);
	unlink(other);
	return rmdir(dir);
}

static void a_file_gets_the_mode_that_was_asked_for(void **state)
{
	struct stat st;
	int fd = -1;

	umask(077);
	assert_int_equal(output_open(path, 0, true, 0644, &fd, NULL), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0644);
	close(fd);
}

static void a_symbolic_link_is_refused_and_its_target_untouched(void **state)
{
	struct err e = {0};
	struct stat st;
	int fd = -1;
	FILE *f = fopen(other, "w");

	fputs("precious", f);
	fclose(f);
	assert_int_equal(symlink(other, path), 0);
	assert_true(output_open(path, 0, true, 0644, &fd, &e) < 0);
	assert_non_null(strstr(e.text, "symbolic link"));
	assert_int_equal(stat(other, &st), 0);
	assert_int_equal(st.st_size, 8);
}

static void a_file_with_another_name_is_refused(void **state)
{
	int fd = -1;

	fclose(fopen(other, "w"));
	assert_int_equal(link(other, path), 0);
	assert_true(output_open(path, 0, true, 0644, &fd, NULL) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_file_gets_the_mode_that_was_asked_for, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_symbolic_link_is_refused_and_its_target_untouched,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_file_with_another_name_is_refused, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
