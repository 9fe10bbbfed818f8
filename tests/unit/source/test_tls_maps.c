/* SPDX-License-Identifier: MIT */
#include "source/tls_maps.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define MANY 2000

/* Steps until the end, and how many of the mappings are of the file @ino; the steps' last result is the end's. */
static size_t walk(uint32_t tgid, uint64_t ino, size_t *ret_steps, int *ret_end)
{
	_cleanup_(tls_maps_freep) struct tls_maps *m = NULL;
	struct mapping mapping;
	size_t n = 0;
	int r;

	assert_int_equal(tls_maps_new(tgid, &m), 0);
	for (*ret_steps = 0; (r = tls_maps_next(m, &mapping)) >= 0; ++*ret_steps) {
		if (!r || mapping.ino != ino)
			continue;
		assert_int_equal(mapping.tgid, tgid);
		assert_int_equal(mapping.path[0], '/');
		assert_null(strchr(mapping.path, '\n'));
		n++;
	}
	*ret_end = r;
	return n;
}

static uint64_t own_inode(void)
{
	struct stat st;

	assert_int_equal(stat("/proc/self/exe", &st), 0);
	return st.st_ino;
}

static void what_is_mapped_executable_is_told(void **state)
{
	size_t steps;
	int end;

	assert_int_equal(walk((uint32_t)getpid(), own_inode(), &steps, &end), 1);
	assert_int_equal(end, -ENODATA);
}

/* Who has mapped tens of thousands of files holds nobody up for longer than one of them takes. */
static void a_step_is_one_mapping_however_many_there_are(void **state)
{
	char path[] = "/tmp/agentsight-maps-XXXXXX";
	int fd = mkstemp(path), end;
	struct stat st;
	size_t steps;

	unlink(path);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(ftruncate(fd, 4096), 0);
	for (int i = 0; i < MANY; i++) {
		/* the kernel puts the same pages of a file into one mapping only where they follow each other */
		if (mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) == MAP_FAILED)
			skip();
	}
	close(fd);
	assert_int_equal(walk((uint32_t)getpid(), st.st_ino, &steps, &end), MANY);
	assert_in_range(steps, MANY, 2 * MANY);
	assert_int_equal(end, -ENODATA);
}

static int told;

static void *stay(void *arg)
{
	/* the first thread has ended when its state says so; that is waited for outside */
	if (write(told, "", 1) != 1)
		_exit(1);
	pause();
	return NULL;
}

/* Of the threads of process @pid. */
static bool first_has_ended(pid_t pid)
{
	char path[64], text[256] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "r");
	if (f && !fgets(text, sizeof(text), f))
		*text = '\0';
	if (f)
		fclose(f);
	return strstr(text, ") Z");
}

static void a_process_whose_first_thread_has_ended_has_what_the_others_have(void **state)
{
	int fds[2], end = 0;
	size_t steps, n;
	pthread_t thread;
	pid_t pid;
	char c;

	assert_int_equal(pipe(fds), 0);
	told = fds[1];
	pid = fork();
	if (pid == 0) {
		pthread_create(&thread, NULL, stay, NULL);
		pthread_exit(NULL);
	}
	assert_int_equal(read(fds[0], &c, 1), 1);
	while (!first_has_ended(pid))
		usleep(1000);
	n = walk((uint32_t)pid, own_inode(), &steps, &end);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(n, 1);
	assert_int_equal(end, -ENODATA);
}

static void a_process_that_is_gone_has_nothing(void **state)
{
	size_t steps;
	int end;

	assert_int_equal(walk(4194304 + 1, own_inode(), &steps, &end), 0);
	assert_int_equal(end, -ENODATA);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_mapped_executable_is_told),
		cmocka_unit_test(a_step_is_one_mapping_however_many_there_are),
		cmocka_unit_test(a_process_whose_first_thread_has_ended_has_what_the_others_have),
		cmocka_unit_test(a_process_that_is_gone_has_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
