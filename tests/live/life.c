/* SPDX-License-Identifier: MIT */
/* The corners of a process's life; the workload `life` tells what each scenario comes to. */
#include "live.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/sched.h>

#define ALL_OF_PROCESS "process.exec process.fork process.exit"

/* The events of @scenario, no fewer and no more. */
static void scenario(const char *name)
{
	char *path = workload_path("life");
	struct expected x = {};
	struct workload w;
	struct stream st;
	struct sight s;

	workload_hold(&w, path, name, NULL);
	sight_start(&s, "process", "-p", live_printf("%d", w.pid), NULL);
	workload_finish(&w);
	sight_stop(&s);

	stream_load(&st, s.out);
	stream_check_lossless(&st);
	stream_check_family(&st, w.pid);
	expected_add(&x,
		     "{\"source\":\"process\",\"pid\":%d,\"data\":{\"type\":\"exec\","
		     "\"filename\":\"%s\",\"argv\":[\"%s\",\"%s\"]}}",
		     w.pid, path, path, name);
	expected_load(&x, w.out);
	expected_add(
		&x,
		"{\"source\":\"process\",\"pid\":%d,\"data\":{\"type\":\"exit\",\"exit_code\":0}}",
		w.pid);
	stream_match(&st, &x, ALL_OF_PROCESS);
}

static void thread_execs(void)
{
	scenario("thread-execs");
}

static void leader_first(void)
{
	scenario("leader-first");
}

static void leader_code(void)
{
	scenario("leader-code");
}

static void threads_end(void)
{
	scenario("threads-end");
}

static void fork_only(void)
{
	scenario("fork-only");
}

static void killed(void)
{
	scenario("killed");
}

static void double_exec(void)
{
	scenario("double-exec");
}

static void failed_exec(void)
{
	scenario("failed-exec");
}

static void vforked(void)
{
	scenario("vfork");
}

static void sibling(void)
{
	scenario("sibling");
}

static void orphan(void)
{
	scenario("orphan");
}

/* ---- a number that is used again ---- */

/* A child with this number; -1 when the kernel does not let us choose. */
static pid_t fork_as(pid_t pid)
{
	struct clone_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = (uintptr_t)&pid,
		.set_tid_size = 1,
	};

	return syscall(SYS_clone3, &args, sizeof(args));
}

static pid_t next_child(pid_t wanted, int code)
{
	pid_t pid = wanted ? fork_as(wanted) : fork();
	int status;

	if (pid < 0)
		return -1;
	if (pid == 0)
		_exit(code);
	CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == code, "the child failed");
	return pid;
}

static void reused_number(void)
{
	const char *ids[2];
	struct stream st;
	struct sight s;
	struct line *l;
	size_t i = 0;
	pid_t pid;

	sight_start(&s, "process", "-p", live_printf("%d", getpid()), NULL);
	pid = next_child(0, 21);
	if (next_child(pid, 22) < 0)
		live_skip("the kernel does not let a process choose a number: %s", strerror(errno));
	sight_stop(&s);

	stream_load(&st, s.out);
	stream_check_lossless(&st);
	for (int n = 0; n < 2; n++) {
		l = stream_find(&st, &i, pid, "process", "exit");
		CHECK(l, "only %d ends of process %d", n, pid);
		CHECK(line_int(l, "exit_code") == 21 + n, "exit code %lld of process number %d",
		      (long long)line_int(l, "exit_code"), n);
		ids[n] = json_object_get_string(object_at(l->json, "exec_id"));
	}
	CHECK(ids[0] && ids[1] && strcmp(ids[0], ids[1]), "both are %s", ids[0]);
}

const struct live_test life_tests[] = {
	{"a_thread_that_execs_gives_one_exec_and_no_false_exit", thread_execs, 30},
	{"the_leader_ends_first_and_another_thread_decides_the_status", leader_first, 30},
	{"the_status_of_threads_that_end_one_by_one_is_what_wait_says", leader_code, 30},
	{"threads_that_end_are_no_exit", threads_end, 30},
	{"a_fork_without_exec_is_seen", fork_only, 30},
	{"a_process_killed_by_SIGKILL_says_so", killed, 30},
	{"two_execs_in_a_row_are_two_events", double_exec, 30},
	{"an_exec_that_fails_is_no_event", failed_exec, 30},
	{"a_vfork_is_a_fork", vforked, 30},
	{"a_child_made_for_the_grandparent_is_followed", sibling, 30},
	{"an_orphan_is_followed_to_its_end", orphan, 30},
	{"a_reused_pid_is_another_process", reused_number, 30},
	{},
};
