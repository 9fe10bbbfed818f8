/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "cmd/report.h"

#define LEN (1U << 20) /* more than a pipe holds */

static char dir[] = "/tmp/test_report.XXXXXX";
static char fifo[64];

static int set_up(void **state)
{
	if (!mkdtemp(dir))
		return -1;
	snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
	return mkfifo(fifo, 0600);
}

static int tear_down(void **state)
{
	unlink(fifo);
	return rmdir(dir);
}

/* Takes nothing before the pipe is full, then all. */
static _Noreturn void read_late(int fd)
{
	static char bytes[LEN];
	int held = 0, size = fcntl(fd, F_GETPIPE_SZ);
	size_t len = 0;
	ssize_t n;

	alarm(20);
	while (ioctl(fd, FIONREAD, &held) == 0 && held < size)
		usleep(1000);
	fcntl(fd, F_SETFL, 0);
	while ((n = read(fd, bytes, sizeof(bytes))) > 0)
		len += (size_t)n;
	_exit(len != LEN);
}

/* The reader is there before the writer comes, who would be refused otherwise. */
static pid_t reader(void)
{
	int fd = open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	pid_t pid;

	assert_true(fd >= 0);
	pid = fork();
	if (pid == 0)
		read_late(fd);
	close(fd);
	return pid;
}

static void check_reader(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void a_page_is_whole_however_slowly_a_pipe_is_read(void **state)
{
	_cleanup_(buf_done) struct buf page = {};
	pid_t pid = reader();

	for (size_t i = 0; i < LEN; i++)
		buf_add_char(&page, 'x');
	assert_int_equal(report_write(fifo, &page), 0);
	check_reader(pid);
}

static void a_report_is_whole_however_slowly_a_pipe_is_read(void **state)
{
	const struct options o = {.session.output = fifo};
	pid_t pid = reader();
	FILE *f = report_open(&o);

	assert_non_null(f);
	for (size_t i = 0; i < LEN; i++)
		fputc('x', f);
	assert_int_equal(report_close(f, 0), 0);
	check_reader(pid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_page_is_whole_however_slowly_a_pipe_is_read),
		cmocka_unit_test(a_report_is_whole_however_slowly_a_pipe_is_read),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
