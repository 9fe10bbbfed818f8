/* SPDX-License-Identifier: MIT */
#include "source/tls_finder.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct tls_find *wait_for_one(struct tls_finder *f)
{
	struct tls_find *find;

	while (!(find = tls_finder_take(f)))
		usleep(1000);
	return find;
}

static void results_come_in_the_order_of_the_questions(void **state)
{
	_cleanup_(tls_finder_freep) struct tls_finder *f = NULL;
	_cleanup_(closep) int program = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	_cleanup_(closep) int text = open("/etc/passwd", O_RDONLY | O_CLOEXEC);

	assert_int_equal(tls_finder_new(&f), 0);
	assert_false(tls_finder_busy(f));
	assert_null(tls_finder_take(f));
	assert_int_equal(tls_finder_submit(f, text, "first", 7), 0);
	assert_int_equal(tls_finder_submit(f, program, "second", 8), 0);
	assert_true(tls_finder_busy(f));

	for (int i = 0; i < 2; i++) {
		_cleanup_(tls_find_freep) struct tls_find *find = wait_for_one(f);

		assert_string_equal(find->path, i ? "second" : "first");
		assert_int_equal(find->tgid, 7 + i);
		if (!i)
			assert_int_equal(find->result, -ENOEXEC);
	}
	assert_false(tls_finder_busy(f));
}

/* The caller may close his descriptor at once, and an end with work left is an end. */
static void it_ends_with_questions_left(void **state)
{
	_cleanup_(tls_finder_freep) struct tls_finder *f = NULL;

	assert_int_equal(tls_finder_new(&f), 0);
	for (int i = 0; i < 50; i++) {
		int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);

		assert_int_equal(tls_finder_submit(f, fd, "program", 1), 0);
		close(fd);
	}
}

static void too_many_questions_are_refused(void **state)
{
	_cleanup_(tls_finder_freep) struct tls_finder *f = NULL;
	_cleanup_(closep) int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int r = 0;

	assert_int_equal(tls_finder_new(&f), 0);
	for (int i = 0; i < 100000 && r == 0; i++)
		r = tls_finder_submit(f, fd, "program", 1);
	assert_true(r == -E2BIG || r == -EMFILE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(results_come_in_the_order_of_the_questions),
		cmocka_unit_test(it_ends_with_questions_left),
		cmocka_unit_test(too_many_questions_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
