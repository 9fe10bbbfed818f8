/* SPDX-License-Identifier: MIT */
#include <errno.h>
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

/* Who called sudo may have moved root's file to where the output is expected. */
static void what_root_has_written_is_not_given_away(void **state)
{
	struct stat st;
	int fd = -1;
	FILE *f;

	if (geteuid() != 0)
		skip();
	f = fopen(path, "w");
	fputs("precious", f);
	fclose(f);
	setenv("SUDO_UID", "1000", 1);
	setenv("SUDO_GID", "1000", 1);
	assert_int_equal(output_open(path, 0, false, 0600, &fd, NULL), -EEXIST);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_uid == 0 && st.st_size == 8);
	assert_int_equal(output_open(path, 0, true, 0600, &fd, NULL), 0);
	assert_int_equal(write(fd, "his", 3), 3);
	close(fd);
	assert_int_equal(output_open(path, 0, false, 0600, &fd, NULL), 0);
	close(fd);
	unsetenv("SUDO_UID");
	unsetenv("SUDO_GID");
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_uid == 1000 && st.st_size == 3);
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

/* @name in the directory, for a moment each. */
static const char *beside(const char *name)
{
	static char text[4][160];
	static unsigned next;
	char *p = text[next++ % 4];

	snprintf(p, sizeof(text[0]), "%s/%s", dir, name);
	return p;
}

static void put(const char *name, const char *text)
{
	FILE *f = fopen(name, "we");

	fputs(text, f);
	fclose(f);
}

static void assert_holds(const char *name, const char *text)
{
	char got[64] = "";
	FILE *f = fopen(name, "re");

	assert_non_null(f);
	got[fread(got, 1, sizeof(got) - 1, f)] = '\0';
	fclose(f);
	assert_string_equal(got, text);
}

static void our_own_link_to_a_directory_is_followed(void **state)
{
	int fd = -1;

	assert_int_equal(mkdir(beside("real"), 0700), 0);
	assert_int_equal(symlink("real", beside("way")), 0);
	assert_int_equal(output_open(beside("way/../way//./new"), 0, true, 0600, &fd, NULL), 0);
	close(fd);
	assert_int_equal(unlink(beside("real/new")), 0);
	unlink(beside("way"));
	rmdir(beside("real"));
}

static void a_link_in_a_directory_that_others_may_change_is_refused(void **state)
{
	struct err e = {0};
	int fd = -1;

	assert_int_equal(mkdir(beside("real"), 0700), 0);
	assert_int_equal(symlink("real", beside("way")), 0);
	assert_int_equal(chmod(dir, 0777), 0);
	assert_int_equal(output_open(beside("way/new"), 0, true, 0600, &fd, &e), -ELOOP);
	assert_non_null(strstr(e.text, "'way', which others can change"));
	assert_int_equal(chmod(dir, 01777), 0); /* there only its owner removes it */
	assert_int_equal(output_open(beside("way/new"), 0, true, 0600, &fd, &e), 0);
	close(fd);
	unlink(beside("real/new"));
	unlink(beside("way"));
	rmdir(beside("real"));
}

static void links_without_an_end_are_refused(void **state)
{
	int fd = -1;

	assert_int_equal(symlink("way", beside("way")), 0);
	assert_int_equal(output_open(beside("way/new"), 0, true, 0600, &fd, NULL), -ELOOP);
	unlink(beside("way"));
}

static void odd_paths_are_refused_with_a_sentence(void **state)
{
	char long_name[400], deep[6000];
	const char *paths[] = {"",        "/", ".", "/proc/self/fd/1", "/proc/self/cwd/x",
			       long_name, deep};
	struct err e;
	int fd = -1;

	memset(long_name, 'x', sizeof(long_name));
	long_name[sizeof(long_name) - 1] = '\0';
	memset(deep, '/', sizeof(deep));
	deep[sizeof(deep) - 1] = '\0';
	deep[sizeof(deep) - 2] = 'x';
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		e = (struct err){0};
		assert_true(output_open(paths[i], 0, true, 0600, &fd, &e) < 0);
		assert_true(e.text[0] != '\0');
	}
}

static void rotation_keeps_as_many_as_it_shall(void **state)
{
	int fd = -1;

	put(path, "newest");
	put(beside("file.1"), "older");
	put(beside("file.2"), "oldest");
	put(beside("file.new"), ""); /* left by a run that was killed */
	assert_int_equal(output_rotate(path, 2, &fd, NULL), 0);
	close(fd);
	assert_holds(path, "");
	assert_holds(beside("file.1"), "newest");
	assert_holds(beside("file.2"), "older");
	assert_int_equal(access(beside("file.new"), F_OK), -1);
	unlink(beside("file.1"));
	unlink(beside("file.2"));
}

static void a_file_that_is_being_written_is_refused_and_untouched(void **state)
{
	struct err e = {0};
	int fd = -1, next = -1, second = -1;

	assert_int_equal(output_open(path, 0, true, 0600, &fd, NULL), 0);
	assert_int_equal(write(fd, "first", 5), 5);
	assert_int_equal(output_open(path, 0, true, 0600, &second, &e), -EBUSY);
	assert_non_null(strstr(e.text, "is being written by another agentsight"));
	assert_holds(path, "first");
	assert_int_equal(output_rotate(path, 1, &next, NULL), 0);
	close(fd);
	assert_int_equal(output_open(path, 0, true, 0600, &second, &e), -EBUSY);
	close(next);
	assert_int_equal(output_open(path, 0, true, 0600, &second, &e), 0);
	close(second);
	unlink(beside("file.1"));
}

static void a_file_that_cannot_be_moved_stays(void **state)
{
	struct err e = {0};
	int fd = -1;

	put(path, "newest");
	assert_int_equal(mkdir(beside("file.1"), 0700), 0);
	assert_true(output_rotate(path, 1, &fd, &e) < 0);
	assert_true(e.text[0] != '\0');
	assert_holds(path, "newest");
	assert_int_equal(access(beside("file.new"), F_OK), -1);
	rmdir(beside("file.1"));
}

static void a_file_that_is_in_the_way_of_rotation_stays(void **state)
{
	struct err e = {0};
	int fd = -1;

	put(path, "newest");
	put(beside("file.new"), "precious");
	assert_int_equal(output_rotate(path, 1, &fd, &e), -EEXIST);
	assert_non_null(strstr(e.text, "'file.new'"));
	assert_holds(path, "newest");
	assert_holds(beside("file.new"), "precious");
	unlink(beside("file.new"));
	/* nor an empty one of another user, nor what is no file */
	assert_int_equal(symlink("nowhere", beside("file.new")), 0);
	assert_int_equal(output_rotate(path, 1, &fd, &e), -EEXIST);
	unlink(beside("file.new"));
	put(beside("file.new"), "");
	if (geteuid() == 0 && chown(beside("file.new"), 54321, 54321) == 0)
		assert_int_equal(output_rotate(path, 1, &fd, &e), -EEXIST);
	unlink(beside("file.new"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_file_gets_the_mode_that_was_asked_for),
		TEST(what_root_has_written_is_not_given_away),
		TEST(a_symbolic_link_is_refused_and_its_target_untouched),
		TEST(a_file_with_another_name_is_refused),
		TEST(our_own_link_to_a_directory_is_followed),
		TEST(a_link_in_a_directory_that_others_may_change_is_refused),
		TEST(links_without_an_end_are_refused),
		TEST(odd_paths_are_refused_with_a_sentence),
		TEST(rotation_keeps_as_many_as_it_shall),
		TEST(a_file_that_is_being_written_is_refused_and_untouched),
		TEST(a_file_that_cannot_be_moved_stays),
		TEST(a_file_that_is_in_the_way_of_rotation_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
