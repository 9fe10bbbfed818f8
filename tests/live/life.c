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
#define NOT_HERE       77 /* a workload's status when the machine cannot do it */

/* Every scenario of the workload, and what is shown by it. docs/LIFECYCLE.md has the same order. */
#define CASES(CASE)                                                                                \
	CASE(fork_only, "fork-only", "a_fork_without_exec_is_seen")                                \
	CASE(vforked, "vfork", "a_vfork_is_a_fork")                                                \
	CASE(clone3d, "clone3", "a_child_without_a_signal_at_its_end_is_a_child")                  \
	CASE(shared, "shared-memory", "a_process_that_shares_its_memory_is_a_process")             \
	CASE(sibling, "sibling", "a_child_made_for_the_grandparent_is_followed")                   \
	CASE(thread_forks, "thread-forks", "a_child_outlives_the_thread_that_forked_it")           \
	CASE(threads_end, "threads-end", "threads_that_end_are_no_exit")                           \
	CASE(leader_first, "leader-first",                                                         \
	     "the_leader_ends_first_and_another_thread_decides_the_status")                        \
	CASE(leader_code, "leader-code",                                                           \
	     "the_status_of_threads_that_end_one_by_one_is_what_wait_says")                        \
	CASE(group_exit, "group-exit", "a_thread_that_ends_the_group_gives_one_exit")              \
	CASE(thread_execs, "thread-execs", "a_thread_that_execs_gives_one_exec_and_no_false_exit") \
	CASE(double_exec, "double-exec", "two_execs_in_a_row_are_two_events")                      \
	CASE(failed_exec, "failed-exec", "an_exec_that_fails_is_no_event")                         \
	CASE(script, "script", "a_script_has_its_own_name_and_the_interpreters_arguments")         \
	CASE(memfd, "memfd", "a_program_that_was_never_on_a_disk_execs")                           \
	CASE(fexecved, "fexecve", "a_program_without_a_path_execs")                                \
	CASE(set_uid, "setuid", "the_user_of_a_setuid_program_is_who_started_it")                  \
	CASE(signals, "signals", "every_deadly_signal_is_told_as_wait_says")                       \
	CASE(zombie, "zombie", "a_zombie_has_ended_before_it_is_waited_for")                       \
	CASE(orphan, "orphan", "an_orphan_is_followed_to_its_end")                                 \
	CASE(subreaper, "subreaper", "an_orphans_new_parent_is_told")                              \
	CASE(traced, "ptrace", "a_tracer_is_not_the_parent")                                       \
	CASE(pid_namespace, "pid-namespace", "processes_of_a_namespace_have_their_numbers_here")   \
	CASE(reused, "reused", "a_number_used_again_is_another_process_each_time")                 \
	CASE(killed, "killed", "a_process_killed_by_SIGKILL_says_so")                              \
	CASE(core, "core", "a_core_that_was_written_is_told")                                      \
	CASE(exec_ends_threads, "exec-ends-threads", "an_exec_ends_threads_and_no_process")        \
	CASE(leader_gone, "leader-gone", "a_thread_execs_after_the_leader_has_ended")              \
	CASE(exec_dies, "exec-dies", "an_exec_that_fails_halfway_is_an_exit_alone")                \
	CASE(stopped, "stopped", "a_stop_is_no_end")                                               \
	CASE(unheard, "unheard", "a_child_that_nobody_waits_for_has_a_status")                     \
	CASE(renamed, "renamed", "the_name_at_the_end_is_that_of_the_leader")                      \
	CASE(threads_race, "threads-race", "threads_that_end_at_once_are_one_exit")                \
	CASE(adopts, "adopts", "forks_are_found_beside_orphans_that_come_in")

/* What the whole of @w comes to: what it told between its own exec and exit. */
static void expect_all(struct expected *x, const struct workload *w, const char *path,
		       const char *name)
{
	expected_add(x,
		     "{\"source\":\"process\",\"pid\":%d,\"data\":{\"type\":\"exec\","
		     "\"filename\":\"%s\",\"argv\":[\"%s\",\"%s\"]}}",
		     w->pid, path, path, name);
	expected_load(x, w->out);
	expected_add(
		x,
		"{\"source\":\"process\",\"pid\":%d,\"data\":{\"type\":\"exit\",\"exit_code\":0}}",
		w->pid);
}

/* An expectation that does not speak of a core is met by a line that does. */
static void check_cores(const struct stream *st, const struct expected *x)
{
	size_t told = 0, real = 0;

	for (size_t i = 0; i < st->n; i++)
		told += object_at(st->lines[i].data, "core_dumped") != NULL;
	for (size_t i = 0; i < x->n; i++)
		real += object_at(x->lines[i], "data.core_dumped") != NULL;
	CHECK(told == real, "%zu cores instead of %zu", told, real);
}

/* False when this machine cannot do it. */
static bool workload_did(struct workload *w)
{
	workload_wait(w);
	if (WIFEXITED(w->status) && WEXITSTATUS(w->status) == NOT_HERE)
		return false;
	CHECK(w->status == 0, "the workload failed with status %#x", w->status);
	return true;
}

/* The events of the scenario, no fewer and no more. */
static void play(const char *name, struct stream *st, struct expected *x)
{
	char *path = workload_path("life");
	struct workload w;
	struct sight s;

	workload_hold(&w, path, name, NULL);
	sight_start(&s, "process", "-p", live_printf("%d", w.pid), NULL);
	workload_release(&w);
	if (!workload_did(&w))
		live_skip("this machine cannot do '%s'", name);
	sight_stop(&s);

	stream_load(st, s.out);
	stream_check_lossless(st);
	stream_check_sources(st, "process");
	stream_check_family(st, w.pid);
	expect_all(x, &w, path, name);
	stream_match(st, x, ALL_OF_PROCESS);
	check_cores(st, x);
}

/* @x in order over all processes, not of each alone. */
static void check_order(const struct stream *st, const struct expected *x)
{
	size_t at = 0;

	for (size_t i = 0; i < x->n; i++) {
		while (at < st->n && !json_contains(st->lines[at].json, x->lines[i]))
			at++;
		CHECK(at++ < st->n, "out of order: %s", json_object_to_json_string(x->lines[i]));
	}
}

/* Of one number, one process after the other. */
static void check_identities(const struct stream *st)
{
	const char *last = "";
	struct line *l;
	size_t i = 0;

	while ((l = stream_find(st, &i, 0, "process", "exit"))) {
		const char *id = json_object_get_string(object_at(l->json, "exec_id"));

		CHECK(id && strcmp(id, last), "two processes are %s", last);
		last = id;
	}
}

static void scenario(const char *name)
{
	struct expected x = {};
	struct stream st;

	play(name, &st, &x);
	if (!strcmp(name, "zombie"))
		check_order(&st, &x);
	if (!strcmp(name, "reused"))
		check_identities(&st);
}

#define CASE_FUNCTION(function, name, sentence) \
	static void function(void)              \
	{                                       \
		scenario(name);                 \
	}
CASES(CASE_FUNCTION)

/* ---- all of them in one recording ---- */

#define CASE_NAME(function, name, sentence) name,
static const char *const names[] = {CASES(CASE_NAME)};
#define N_NAMES (sizeof(names) / sizeof(names[0]))

static void compare_all(struct sight *s, struct workload *w, const bool *did, const char *path)
{
	struct expected x = {};
	struct stream st;

	sight_stop(s);
	stream_load(&st, s->out);
	stream_check_lossless(&st);
	for (size_t i = 0; i < N_NAMES; i++) {
		if (did[i])
			expect_all(&x, &w[i], path, names[i]);
	}
	stream_match(&st, &x, ALL_OF_PROCESS);
}

/* The workload under a name of its own, in a directory that everybody may enter. */
static char *copy_of_life(void)
{
	char *path = live_printf("/tmp/lives.%d", getpid());

	CHECK(!system(live_printf("cp '%s' '%s' && chmod 755 '%s'", workload_path("life"), path,
				  path)),
	      "cannot copy to %s", path);
	return path;
}

static void one_after_another(struct sight *s, char *path)
{
	struct workload w[N_NAMES];
	bool did[N_NAMES];

	for (size_t i = 0; i < N_NAMES; i++) {
		workload_hold(&w[i], path, names[i], NULL);
		workload_release(&w[i]);
		did[i] = workload_did(&w[i]);
	}
	compare_all(s, w, did, path);
}

static void by_name(void)
{
	char *path = copy_of_life();
	struct sight s;

	sight_start(&s, "process", "-c", strrchr(path, '/') + 1, NULL);
	one_after_another(&s, path);
	unlink(path);
}

static void everybody(void)
{
	struct sight s;

	sight_start(&s, "process", NULL);
	one_after_another(&s, workload_path("life"));
}

/* Whatever they may do to each other. */
static void all_at_once(void)
{
	char *path = workload_path("life"), *pids = (char *)"";
	struct workload w[N_NAMES];
	bool did[N_NAMES];
	struct sight s;

	for (size_t i = 0; i < N_NAMES; i++) {
		workload_hold(&w[i], path, names[i], NULL);
		pids = live_printf("%s%s%d", pids, i ? "," : "", w[i].pid);
	}
	sight_start(&s, "process", "-p", pids, NULL);
	for (size_t i = 0; i < N_NAMES; i++)
		workload_release(&w[i]);
	for (size_t i = 0; i < N_NAMES; i++)
		did[i] = workload_did(&w[i]);
	compare_all(&s, w, did, path);
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
	pid_t pid = fork_as(wanted);
	int status;

	if (pid < 0)
		return -1;
	if (pid == 0)
		_exit(code);
	CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == code, "the child failed");
	return pid;
}

/* Who gets the number of one that was followed is a stranger. */
static void reused_by_a_stranger(void)
{
	struct workload w;
	struct stream st;
	struct sight s;
	size_t i = 0;

	workload_hold(&w, "life", "killed", NULL);
	/* who waits for a name, too, goes on when the process has ended */
	sight_start(&s, "process", "-c", "nobody-of-this-name", "-p", live_printf("%d", w.pid),
		    NULL);
	workload_finish(&w);
	if (next_child(w.pid, 22) < 0)
		live_skip("the kernel does not let a process choose a number: %s", strerror(errno));
	sight_stop(&s);

	stream_load(&st, s.out);
	stream_check_lossless(&st);
	stream_only(&st, w.pid, "process", "exec");
	CHECK(line_int(stream_only(&st, w.pid, "process", "exit"), "exit_code") == 0,
	      "the end of a stranger");
	CHECK(stream_find(&st, &i, w.pid, "process", "fork"), "no fork");
}

/* Whose fork is among what a workload told. */
static pid_t only_child(const struct expected *x)
{
	for (size_t i = 0; i < x->n; i++) {
		json_object *child = object_at(x->lines[i], "data.child_pid");

		if (child)
			return json_object_get_int(child);
	}
	live_fail("the workload tells of no fork");
}

/* Users are a matter of what is shown; who belongs is a matter of descent. */
static void descendants_of_another_user(void)
{
	char *path = workload_path("life");
	struct expected x = {};
	struct workload w;
	struct stream st;
	struct sight s;
	size_t i = 0;
	pid_t away;

	workload_hold(&w, path, "other-user", NULL);
	sight_start(&s, "process", "-u", "0", "-c", "nobody-of-this-name", "-p",
		    live_printf("%d", w.pid), NULL);
	workload_finish(&w);
	expect_all(&x, &w, path, "other-user");
	away = only_child(&x);
	/* somebody of the wanted user gets the number of the one who was not told of */
	if (next_child(away, 22) < 0)
		live_skip("the kernel does not let a process choose a number: %s", strerror(errno));
	sight_stop(&s);

	stream_load(&st, s.out);
	stream_check_lossless(&st);
	stream_match(&st, &x, ALL_OF_PROCESS);
	CHECK(!stream_find(&st, &i, away, NULL, NULL), "an event of another user or a stranger");
}

#define CASE_ROW(function, name, sentence) {sentence, function, 30},
const struct live_test life_tests[] = {
	CASES(CASE_ROW){"all_lives_are_told_to_who_follows_a_name", by_name, 120},
	{"all_lives_are_told_to_who_follows_everybody", everybody, 120},
	{"all_lives_at_once_are_told_apart", all_at_once, 120},
	{"descendants_of_another_user_belong", descendants_of_another_user, 30},
	{"a_reused_pid_is_a_stranger", reused_by_a_stranger, 30},
	{},
};
