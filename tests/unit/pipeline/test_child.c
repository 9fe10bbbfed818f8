/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "pipeline/child.h"

static const struct child_files as_ours;
static const struct child_files to_stderr = {.out = STDERR_FILENO};

static void sh(const char *script, char *argv[4])
{
	argv[0] = (char *)"sh";
	argv[1] = (char *)"-c";
	argv[2] = (char *)script;
	argv[3] = NULL;
}

static size_t open_files(void)
{
	_cleanup_(closedirp) DIR *dir = opendir("/proc/self/fd");
	size_t n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	return n;
}

/* The status, when it has ended; the child is left for child_done() to reap. */
static siginfo_t wait_for_end(const struct child *c)
{
	siginfo_t info = {};

	assert_int_equal(waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOWAIT), 0);
	return info;
}

static void the_command_waits_until_it_is_released(void **state)
{
	_cleanup_(freep) char *script = NULL;
	struct child c = {};
	struct err e = {};
	char *argv[4], byte;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_true(asprintf(&script, "echo x >&%d", fds[1]) > 0);
	sh(script, argv);
	assert_int_equal(child_hold(argv, &as_ours, NULL, &c, &e), 0);
	assert_true(c.pid > 0);
	assert_int_equal(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(read(fds[0], &byte, 1), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(kill(c.pid, 0), 0);

	assert_int_equal(child_release(&c, "sh", &e), 0);
	assert_int_equal(wait_for_end(&c).si_status, 0);
	assert_int_equal(read(fds[0], &byte, 1), 1);
	assert_int_equal(byte, 'x');
	child_done(&c);
	close(fds[0]);
	close(fds[1]);
}

static void a_look_tells_nothing_before_its_end_and_all_after(void **state)
{
	struct child_end end = {};
	struct child c = {};
	char *argv[4];

	sh("kill -9 $$", argv);
	assert_int_equal(child_hold(argv, &as_ours, NULL, &c, NULL), 0);
	child_look(&c, &end);
	assert_false(end.ended);
	assert_int_equal(child_release(&c, "sh", NULL), 0);
	wait_for_end(&c);
	child_look(&c, &end);
	assert_true(end.ended);
	assert_true(WIFSIGNALED(end.status));
	assert_int_equal(WTERMSIG(end.status), SIGKILL);
	assert_true(end.used.ru_maxrss > 0);
	child_look(&c, &end); /* and nobody else's end */
	assert_int_equal(WTERMSIG(end.status), SIGKILL);
	child_done(&c);
}

static void its_output_can_be_sent_where_its_errors_go(void **state)
{
	int fds[2], old = dup(STDERR_FILENO);
	struct child c = {};
	char *argv[4], text[8];

	assert_int_equal(pipe(fds), 0);
	assert_true(dup2(fds[1], STDERR_FILENO) >= 0);
	sh("echo x", argv);
	assert_int_equal(child_hold(argv, &to_stderr, NULL, &c, NULL), 0);
	assert_true(dup2(old, STDERR_FILENO) >= 0);
	assert_int_equal(child_release(&c, "sh", NULL), 0);
	assert_int_equal(read(fds[0], text, sizeof(text)), 2);
	assert_memory_equal(text, "x\n", 2);
	wait_for_end(&c);
	child_done(&c);
	close(fds[0]);
	close(fds[1]);
	close(old);
}

static void its_end_can_be_polled_and_tells_its_status(void **state)
{
	struct child c = {};
	siginfo_t info;
	char *argv[4];

	sh("exit 7", argv);
	assert_int_equal(child_hold(argv, &as_ours, NULL, &c, NULL), 0);
	assert_int_equal(child_release(&c, "sh", NULL), 0);
	if (c.pid_fd >= 0) {
		struct pollfd p = {.fd = c.pid_fd, .events = POLLIN};

		assert_int_equal(poll(&p, 1, -1), 1);
	}
	info = wait_for_end(&c);
	assert_int_equal(info.si_code, CLD_EXITED);
	assert_int_equal(info.si_status, 7);
	child_done(&c);
}

static void a_command_that_is_not_there_is_told_with_its_name(void **state)
{
	char *argv[] = {(char *)"/nonexistent/agent", NULL};
	struct child c = {};
	struct err e = {};

	assert_int_equal(child_hold(argv, &as_ours, NULL, &c, &e), 0);
	assert_int_equal(child_release(&c, argv[0], &e), -ENOENT);
	assert_non_null(strstr(e.text, "'/nonexistent/agent'"));
	assert_int_equal(wait_for_end(&c).si_status, 127);
	child_done(&c);
}

static void a_command_that_may_not_be_run_is_told(void **state)
{
	char *argv[] = {(char *)"/dev/null", NULL};
	struct child c = {};
	struct err e = {};

	assert_int_equal(child_hold(argv, &as_ours, NULL, &c, &e), 0);
	assert_int_equal(child_release(&c, argv[0], &e), -EACCES);
	assert_int_equal(wait_for_end(&c).si_status, 126);
	child_done(&c);
}

static void a_child_that_was_never_released_is_ended(void **state)
{
	struct child c = {};
	char *argv[4];
	pid_t pid;

	sh("exit 0", argv);
	assert_int_equal(child_hold(argv, &as_ours, NULL, &c, NULL), 0);
	pid = c.pid;
	child_done(&c);
	assert_int_equal(kill(pid, 0), -1);
	assert_int_equal(errno, ESRCH);
	assert_int_equal(c.pid, 0);
	child_done(&c);
}

/* As when agentsight is killed before it has attached: the command shall not run unseen. */
static void without_the_word_to_go_the_command_never_runs(void **state)
{
	struct child c = {};
	siginfo_t info;
	char *argv[4];

	sh("exit 0", argv);
	assert_int_equal(child_hold(argv, &as_ours, NULL, &c, NULL), 0);
	close(c.gate_fd);
	c.gate_fd = -1;
	info = wait_for_end(&c);
	assert_int_equal(info.si_code, CLD_EXITED);
	assert_int_equal(info.si_status, 126);
	child_done(&c);
}

static void releasing_a_child_that_was_killed_harms_nobody(void **state)
{
	struct child c = {};
	char *argv[4];

	sh("exit 0", argv);
	assert_int_equal(child_hold(argv, &as_ours, NULL, &c, NULL), 0);
	assert_int_equal(kill(c.pid, SIGKILL), 0);
	assert_int_equal(wait_for_end(&c).si_code, CLD_KILLED);
	assert_int_equal(child_release(&c, "sh", NULL), 0);
	child_done(&c);
}

/* How @argv ends when it is held and released while all signals are blocked and SIGPIPE ignored. */
static int status_of(char **argv, const struct child_signals *signals)
{
	struct child c = {};
	sigset_t all, was;
	int status;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &was);
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(child_hold(argv, &as_ours, signals, &c, NULL), 0);
	assert_int_equal(child_release(&c, argv[0], NULL), 0);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, &was, NULL);
	status = wait_for_end(&c).si_status;
	child_done(&c);
	return status;
}

static void check_signals(const char *pattern, const struct child_signals *signals)
{
	/* not through a shell: some unblock all signals themselves, and catch SIGCHLD */
	char *argv[] = {(char *)"grep", (char *)"-q", (char *)pattern, (char *)"/proc/self/status",
			NULL};

	assert_int_equal(status_of(argv, signals), 0);
}

static void blocked_signals_are_not_inherited(void **state)
{
	check_signals("^SigBlk:.0*$", NULL);
}

static void a_broken_pipe_ends_the_command_as_ever(void **state)
{
	char *argv[4];

	sh("kill -PIPE $$; exit 1", argv);
	assert_int_equal(status_of(argv, NULL), SIGPIPE);
}

static void signals_are_to_the_command_what_they_were_to_us(void **state)
{
	struct child_signals found = {.children_ignored = true};

	sigemptyset(&found.blocked);
	sigaddset(&found.blocked, SIGUSR1);
	check_signals("^SigBlk:.0*200$", &found);
	/* SIGPIPE is 13, SIGCHLD 17; who runs the tests may ignore others */
	check_signals("^SigIgn:.*[13579bdf][13579bdf]...$", &found);
	found.children_ignored = false;
	check_signals("^SigIgn:.*[02468ace][13579bdf]...$", &found);
}

/* As a library in a program that wants to know of no child: the kernel reaps it. */
static void an_end_that_nobody_can_tell_is_one(void **state)
{
	struct child_end end = {};
	struct child c = {};
	struct pollfd p;
	char *argv[4];

	signal(SIGCHLD, SIG_IGN);
	sh("exit 7", argv);
	assert_int_equal(child_hold(argv, &as_ours, NULL, &c, NULL), 0);
	child_look(&c, &end);
	assert_false(end.ended);
	assert_int_equal(child_release(&c, "sh", NULL), 0);
	p = (struct pollfd){.fd = c.pid_fd, .events = POLLIN};
	assert_int_equal(poll(&p, 1, 10000), 1);
	child_look(&c, &end);
	signal(SIGCHLD, SIG_DFL);
	assert_true(end.ended && end.unknown);
	child_done(&c);
}

/* Its number may be somebody else's by then. */
static void who_has_ended_gets_no_signal(void **state)
{
	struct child c = {};
	char *argv[4];
	pid_t other;

	sh("exit 0", argv);
	assert_int_equal(child_hold(argv, &as_ours, NULL, &c, NULL), 0);
	assert_int_equal(child_release(&c, "sh", NULL), 0);
	assert_int_equal(waitpid(c.pid, NULL, 0), c.pid);
	other = fork();
	if (other == 0) {
		pause();
		_exit(0);
	}
	c.pid = other; /* as if it had got the number */
	assert_int_equal(child_signal(&c, SIGTERM), 0);
	assert_int_equal(kill(other, SIGKILL), 0);
	assert_int_equal(wait_for_end(&c).si_status, SIGKILL);
	child_done(&c);
}

static void no_descriptor_stays_open(void **state)
{
	size_t before = open_files();
	struct child c = {};
	char *argv[4];

	sh("exit 0", argv);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(child_hold(argv, &as_ours, NULL, &c, NULL), 0);
		if (i)
			assert_int_equal(child_release(&c, "sh", NULL), 0);
		child_done(&c);
	}
	assert_int_equal(open_files(), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_command_waits_until_it_is_released),
		cmocka_unit_test(a_look_tells_nothing_before_its_end_and_all_after),
		cmocka_unit_test(its_output_can_be_sent_where_its_errors_go),
		cmocka_unit_test(its_end_can_be_polled_and_tells_its_status),
		cmocka_unit_test(a_command_that_is_not_there_is_told_with_its_name),
		cmocka_unit_test(a_command_that_may_not_be_run_is_told),
		cmocka_unit_test(a_child_that_was_never_released_is_ended),
		cmocka_unit_test(without_the_word_to_go_the_command_never_runs),
		cmocka_unit_test(releasing_a_child_that_was_killed_harms_nobody),
		cmocka_unit_test(blocked_signals_are_not_inherited),
		cmocka_unit_test(a_broken_pipe_ends_the_command_as_ever),
		cmocka_unit_test(signals_are_to_the_command_what_they_were_to_us),
		cmocka_unit_test(an_end_that_nobody_can_tell_is_one),
		cmocka_unit_test(who_has_ended_gets_no_signal),
		cmocka_unit_test(no_descriptor_stays_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
