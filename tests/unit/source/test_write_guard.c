/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "source/write_guard.h"
#include "unit/source/tree.h"

#define FILES    40
#define PATIENCE 5000 /* ms */
#define LEAVE_MS 30

/* What the guard has said, and what the file was like when it did. */
static struct {
	_Atomic(int) calls;
	_Atomic(int) done;  /* files whose calls have returned */
	_Atomic(int) waits; /* calls, however many files each had */
	_Atomic(uint32_t) last;
	_Atomic(int) per_number[FILES + 1];
	_Atomic(long) size;
} told;

static struct write_guard *guard;
static int fds[FILES + 1];

static void sleep_ms(int ms)
{
	nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL);
}

/* As slow as a kernel that takes probes out. */
static void left(void *ctx, const uint32_t *numbers, size_t n)
{
	struct stat st = {};

	told.waits++;
	for (size_t i = 0; i < n; i++) {
		fstat(fds[numbers[i]], &st);
		told.size = st.st_size;
		told.last = numbers[i];
		told.per_number[numbers[i]]++;
		told.calls++;
	}
	sleep_ms(LEAVE_MS);
	told.done += (int)n;
}

static const char *path_of(int n)
{
	char name[32];

	snprintf(name, sizeof(name), "file%d", n);
	return tree_path(name);
}

static int set_up_files(void **state)
{
	memset(&told, 0, sizeof(told));
	if (tree_make() < 0)
		return -1;
	for (int i = 1; i <= FILES; i++) {
		char name[32];

		snprintf(name, sizeof(name), "file%d", i);
		tree_put(name, "the old code");
		fds[i] = open(path_of(i), O_RDONLY | O_CLOEXEC);
		if (fds[i] < 0)
			return -1;
	}
	return 0;
}

static int set_up(void **state)
{
	return set_up_files(state) < 0 ? -1 : write_guard_new(left, NULL, &guard);
}

static int tear_down(void **state)
{
	write_guard_free(guard);
	guard = NULL;
	for (int i = 1; i <= FILES; i++)
		close(fds[i]);
	return tree_remove();
}

/* A file system without leases is none to test this on. */
static void watch(uint32_t number)
{
	enum write_guard_kind kind = WRITE_GUARD_NONE;

	assert_int_equal(write_guard_watch(guard, fds[number], number, &kind), 0);
	if (kind != WRITE_GUARD_LEASE)
		skip();
	assert_true(write_guard_watches(guard, number));
}

static void wait_for_calls(int n)
{
	for (int ms = 0; told.done < n && ms < PATIENCE; ms++)
		sleep_ms(1);
	assert_int_equal(told.done, n);
}

static void a_writer_waits_until_the_file_is_left(void **state)
{
	int fd;

	watch(1);
	fd = open(path_of(1), O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(told.done, 1);
	assert_int_equal(told.last, 1);
	assert_false(write_guard_watches(guard, 1));
	close(fd);
}

static void a_file_is_as_it_was_while_it_is_left(void **state)
{
	int fd;

	watch(1);
	fd = open(path_of(1), O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(told.done, 1);
	assert_int_equal(told.size, strlen("the old code"));
	close(fd);
	watch(2);
	assert_int_equal(truncate(path_of(2), 0), 0);
	assert_int_equal(told.done, 2);
	assert_int_equal(told.size, strlen("the old code"));
}

static void readers_and_names_are_of_no_concern(void **state)
{
	char other[4096];
	int fd;

	watch(1);
	fd = open(path_of(1), O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	close(fd);
	snprintf(other, sizeof(other), "%s", tree_path("another"));
	assert_int_equal(rename(path_of(1), other), 0);
	assert_int_equal(chmod(other, 0700), 0);
	assert_int_equal(unlink(other), 0);
	sleep_ms(20);
	assert_int_equal(told.calls, 0);
	assert_true(write_guard_watches(guard, 1));
}

static void who_will_not_wait_is_refused_and_may_come_again(void **state)
{
	int fd;

	watch(1);
	assert_int_equal(open(path_of(1), O_WRONLY | O_NONBLOCK | O_CLOEXEC), -1);
	assert_int_equal(errno, EWOULDBLOCK);
	wait_for_calls(1);
	for (int ms = 0; (fd = open(path_of(1), O_WRONLY | O_NONBLOCK | O_CLOEXEC)) < 0; ms++) {
		assert_true(ms < PATIENCE);
		sleep_ms(1);
	}
	close(fd);
}

static void a_file_that_is_open_for_writing_is_not_guarded(void **state)
{
	enum write_guard_kind kind;
	int fd = open(path_of(1), O_WRONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write_guard_watch(guard, fds[1], 1, &kind), -EAGAIN);
	assert_false(write_guard_watches(guard, 1));
	close(fd);
	watch(1);
}

static void a_file_can_be_guarded_again(void **state)
{
	for (int i = 1; i <= 5; i++) {
		int fd;

		watch(1);
		fd = open(path_of(1), O_RDWR | O_CLOEXEC);
		assert_true(fd >= 0);
		assert_int_equal(told.done, i);
		close(fd);
	}
}

static void one_watch_is_enough(void **state)
{
	enum write_guard_kind kind;

	watch(1);
	assert_int_equal(write_guard_watch(guard, fds[1], 1, &kind), -EEXIST);
}

static void nobody_waits_for_what_is_forgotten(void **state)
{
	int fd;

	watch(1);
	write_guard_forget(guard, 1);
	write_guard_forget(guard, 2); /* never watched */
	assert_false(write_guard_watches(guard, 1));
	fd = open(path_of(1), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(told.calls, 0);
}

static void *open_and_close(void *arg)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fds[(intptr_t)arg]);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	close(fd);
	return (void *)(intptr_t)(fd >= 0);
}

static void forgetting_waits_for_a_call_under_way(void **state)
{
	pthread_t writer;
	void *opened;

	watch(1);
	pthread_create(&writer, NULL, open_and_close, (void *)1);
	for (int ms = 0; !told.calls && ms < PATIENCE; ms++)
		sleep_ms(1);
	write_guard_forget(guard, 1);
	assert_int_equal(told.done, 1);
	pthread_join(writer, &opened);
	assert_non_null(opened);
}

static void each_of_many_files_is_left_once(void **state)
{
	pthread_t writers[FILES + 1];

	for (uint32_t i = 1; i <= FILES; i++)
		watch(i);
	for (intptr_t i = 1; i <= FILES; i++)
		pthread_create(&writers[i], NULL, open_and_close, (void *)i);
	for (int i = 1; i <= FILES; i++) {
		void *opened;

		pthread_join(writers[i], &opened);
		assert_non_null(opened);
		assert_int_equal(told.per_number[i], 1);
	}
	assert_int_equal(told.calls, FILES);
	/* the first to come is left alone, the others meanwhile come together */
	assert_in_range(told.waits, 1, FILES / 2);
}

static void what_is_asked_for_is_left_many_at_a_time(void **state)
{
	uint32_t numbers[FILES];

	for (uint32_t i = 1; i <= FILES; i++)
		numbers[i - 1] = i;
	for (uint32_t i = 1; i < FILES; i++)
		watch(i);
	write_guard_leave(guard, numbers, FILES); /* the last one is not watched */
	wait_for_calls(FILES - 1);
	assert_in_range(told.waits, 1, 3);
	for (uint32_t i = 1; i < FILES; i++) {
		assert_int_equal(told.per_number[i], 1);
		assert_false(write_guard_watches(guard, i));
	}
	write_guard_forget(guard, 1); /* the guard is done with it */
	watch(1);
}

static void a_writer_waits_for_what_is_left_without_him(void **state)
{
	uint32_t number = 1;
	int fd;

	watch(1);
	write_guard_leave(guard, &number, 1);
	fd = open(path_of(1), O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(told.done, 1);
	close(fd);
	assert_int_equal(told.calls, 1);
}

static void the_end_gives_everything_back(void **state)
{
	int fd;

	watch(1);
	write_guard_free(guard);
	guard = NULL;
	fd = open(path_of(1), O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(told.calls, 0);
}

/* In a process that may not have leases on others' files: 0, or where it went wrong. */
static int notified(int wanted, int seen)
{
	enum write_guard_kind kind = WRITE_GUARD_LEASE;
	struct write_guard *g;

	if (setgid(65534) < 0 || setuid(65534) < 0 || write_guard_new(left, NULL, &g) < 0)
		return 1;
	if (write_guard_watch(g, fds[1], 1, &kind) < 0 || kind != WRITE_GUARD_NOTIFY)
		return 2;
	if (write(wanted, "", 1) != 1)
		return 3;
	for (int ms = 0; !told.done && ms < PATIENCE; ms++)
		sleep_ms(1);
	write_guard_free(g);
	return told.done == 1 && write(seen, "", 1) == 1 ? 0 : 4;
}

/* Watched anew while it is being left: a change is told again. 0, or where it went wrong. */
static int notified_again(void)
{
	enum write_guard_kind kind = WRITE_GUARD_LEASE;
	uint32_t number = 1;
	struct write_guard *g;

	if (setgid(65534) < 0 || setuid(65534) < 0 || write_guard_new(left, NULL, &g) < 0)
		return 1;
	if (write_guard_watch(g, fds[1], 1, &kind) < 0 || kind != WRITE_GUARD_NOTIFY)
		return 2;
	write_guard_leave(g, &number, 1);
	while (!told.calls)
		sleep_ms(1);
	if (write_guard_watch(g, fds[1], 1, &kind) < 0 || kind != WRITE_GUARD_NOTIFY)
		return 3;
	for (int ms = 0; told.done < 1 && ms < PATIENCE; ms++)
		sleep_ms(1);
	sleep_ms(LEAVE_MS); /* until the guard's thread waits again */
	if (write(fds[2], "new", 3) != 3)
		return 4;
	for (int ms = 0; told.done < 2 && ms < PATIENCE; ms++)
		sleep_ms(1);
	write_guard_free(g);
	return told.done == 2 ? 0 : 5;
}

static void what_is_watched_anew_while_it_is_left_is_watched(void **state)
{
	int status;
	pid_t pid;

	if (getuid() != 0)
		skip(); /* leases on one's own files are always granted */
	assert_int_equal(chmod(tree_path("."), 0755), 0);
	close(fds[2]);
	fds[2] = open(path_of(1), O_WRONLY | O_CLOEXEC);
	assert_true(fds[2] >= 0);
	pid = fork();
	if (pid == 0)
		_exit(notified_again());
	waitpid(pid, &status, 0);
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void without_leases_a_change_is_told_when_it_has_begun(void **state)
{
	int wanted[2], seen[2], status, fd;
	char c;
	pid_t pid;

	if (getuid() != 0)
		skip(); /* leases on one's own files are always granted */
	assert_int_equal(pipe2(wanted, O_CLOEXEC) | pipe2(seen, O_CLOEXEC), 0);
	assert_int_equal(chmod(tree_path("."), 0755), 0);
	pid = fork();
	if (pid == 0)
		_exit(notified(wanted[1], seen[1]));
	close(wanted[1]);
	close(seen[1]);
	if (read(wanted[0], &c, 1) == 1) {
		fd = open(path_of(1), O_WRONLY | O_CLOEXEC);
		assert_int_equal(write(fd, "new", 3), 3);
		close(fd);
		assert_int_equal(read(seen[0], &c, 1), 1);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	close(wanted[0]);
	close(seen[0]);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_writer_waits_until_the_file_is_left),
		TEST(a_file_is_as_it_was_while_it_is_left),
		TEST(readers_and_names_are_of_no_concern),
		TEST(who_will_not_wait_is_refused_and_may_come_again),
		TEST(a_file_that_is_open_for_writing_is_not_guarded),
		TEST(a_file_can_be_guarded_again),
		TEST(one_watch_is_enough),
		TEST(nobody_waits_for_what_is_forgotten),
		TEST(forgetting_waits_for_a_call_under_way),
		TEST(each_of_many_files_is_left_once),
		TEST(what_is_asked_for_is_left_many_at_a_time),
		TEST(a_writer_waits_for_what_is_left_without_him),
		TEST(the_end_gives_everything_back),
		cmocka_unit_test_setup_teardown(what_is_watched_anew_while_it_is_left_is_watched,
						set_up_files, tear_down),
		cmocka_unit_test_setup_teardown(without_leases_a_change_is_told_when_it_has_begun,
						set_up_files, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
