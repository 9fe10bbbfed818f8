/* SPDX-License-Identifier: MIT */
#include "source/tls_finder.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int submit(struct tls_finder *f, enum tls_find_kind kind, int fd, const char *path,
		  uint32_t tgid)
{
	struct tls_file_key key;
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	key = tls_file_key_of(&st);
	return tls_finder_submit(f, kind, fd, &key, path, tgid);
}

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
	assert_int_equal(submit(f, TLS_FIND_LIKELY, text, "first", 7), 0);
	assert_int_equal(submit(f, TLS_FIND_LIKELY, program, "second", 8), 0);
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

		assert_int_equal(submit(f, TLS_FIND_LIKELY, fd, "program", 1), 0);
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
		r = submit(f, TLS_FIND_LIKELY, fd, "program", 1);
	assert_true(r == -E2BIG || r == -EMFILE);
}

/* A shared object of C source; -1 where there is no compiler. */
static int library_new(const char *source)
{
	char path[] = "/tmp/agentsight-library-XXXXXX", command[512];
	int fd = mkstemp(path);

	snprintf(command, sizeof(command),
		 "printf '%s' | cc -w -O2 -shared -fPIC -nostdlib -x c - -o %s 2>/dev/null", source,
		 path);
	close(fd);
	fd = system(command) == 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	unlink(path);
	return fd;
}

static void symbols_of_a_library_are_looked_at_in_the_thread(void **state)
{
	_cleanup_(tls_finder_freep) struct tls_finder *f = NULL;
	_cleanup_(closep) int fd =
		library_new("int SSL_read(void) { return 1; } int SSL_write(void) { return 2; }");

	if (fd < 0)
		skip();
	assert_int_equal(tls_finder_new(&f), 0);
	for (enum tls_find_kind kind = 0; kind < N_TLS_FIND_KINDS; kind++) {
		_cleanup_(tls_find_freep) struct tls_find *find = NULL;

		assert_int_equal(submit(f, kind, fd, "library", 1), 0);
		find = wait_for_one(f);
		assert_int_equal(find->symbols.n, kind == TLS_FIND_LIKELY ? 0 : 2);
		assert_int_equal(find->found.n, 0);
	}
}

static void ciphers_that_a_library_exports_are_left_to_who_uses_them(void **state)
{
	_cleanup_(tls_finder_freep) struct tls_finder *f = NULL;
	_cleanup_(tls_find_freep) struct tls_find *find = NULL;
	_cleanup_(closep) int fd = library_new("int EVP_AEAD_CTX_open(void) { return 1; }");

	if (fd < 0)
		skip();
	assert_int_equal(tls_finder_new(&f), 0);
	assert_int_equal(submit(f, TLS_FIND_LIBRARY, fd, "library", 1), 0);
	find = wait_for_one(f);
	assert_int_equal(find->result, -ENOENT);
	assert_string_equal(find->found.reason, "has ciphers for TLS in other files");
}

#define OTHERS 50

/* How many of OTHERS that were asked for before come before what is likely. */
static size_t libraries_before(struct tls_finder *f, int fd)
{
	size_t before = 0;
	bool seen = false;

	for (int i = 0; i < OTHERS; i++)
		assert_int_equal(submit(f, TLS_FIND_LIBRARY, fd, "library", 1), 0);
	assert_int_equal(submit(f, TLS_FIND_LIKELY, fd, "program", 1), 0);
	for (int i = 0; i < OTHERS + 1; i++) {
		_cleanup_(tls_find_freep) struct tls_find *find = wait_for_one(f);

		seen |= find->kind == TLS_FIND_LIKELY;
		before += !seen;
	}
	assert_true(seen);
	return before;
}

static void what_is_likely_comes_before_other_libraries(void **state)
{
	_cleanup_(tls_finder_freep) struct tls_finder *f = NULL;
	_cleanup_(closep) int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	size_t before = OTHERS;

	assert_int_equal(tls_finder_new(&f), 0);
	/* all of them may be done before it is asked for */
	for (int tries = 0; before == OTHERS && tries < 20; tries++)
		before = libraries_before(f, fd);
	assert_true(before < OTHERS);
}

/* What is found is of that content, whatever becomes of the file meanwhile. */
static void a_search_keeps_what_the_file_was_like_when_it_was_asked_for(void **state)
{
	char path[] = "/tmp/agentsight-library-XXXXXX";
	_cleanup_(tls_finder_freep) struct tls_finder *f = NULL;
	_cleanup_(tls_find_freep) struct tls_find *find = NULL;
	_cleanup_(closep) int fd = mkstemp(path);
	struct stat before, after;

	unlink(path);
	assert_int_equal(fstat(fd, &before), 0);
	assert_int_equal(tls_finder_new(&f), 0);
	assert_int_equal(submit(f, TLS_FIND_LIKELY, fd, "library", 1), 0);
	assert_int_equal(ftruncate(fd, 4096), 0);
	find = wait_for_one(f);
	assert_int_equal(fstat(fd, &after), 0);
	assert_int_equal(find->key.ino, after.st_ino);
	assert_int_equal(find->key.size, before.st_size);
	assert_int_not_equal(find->key.size, after.st_size);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(results_come_in_the_order_of_the_questions),
		cmocka_unit_test(it_ends_with_questions_left),
		cmocka_unit_test(too_many_questions_are_refused),
		cmocka_unit_test(symbols_of_a_library_are_looked_at_in_the_thread),
		cmocka_unit_test(ciphers_that_a_library_exports_are_left_to_who_uses_them),
		cmocka_unit_test(a_search_keeps_what_the_file_was_like_when_it_was_asked_for),
		cmocka_unit_test(what_is_likely_comes_before_other_libraries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
