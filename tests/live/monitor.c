/* SPDX-License-Identifier: MIT */
/* What `run` and `attach` tell of a tree, compared with what a workload says that it did. */
#include "live.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* In an emulated guest what surrounds the measured work weighs more. */
static double cpu_tolerance(void)
{
	return live_scaled(10) == 10 ? 0.01 : 0.1;
}

struct told {
	struct stream st;
	json_object *truth;
	pid_t pid; /* of the command */
};

#define NOBODY 65534

static void become(uid_t uid)
{
	if (uid && (setgid(uid) || setuid(uid)))
		_exit(127);
}

/* As user @uid; @... are the arguments of the workload. */
static void truth_run(struct told *t, uid_t uid, ...)
{
	char *dir = live_printf("%s/%d", live_dir(), (int)uid);
	char *events = live_printf("%s/events.json", dir);
	char *out = live_printf("%s/truth.json", dir);
	char *argv[32] = {sight_program(),
			  (char *)"run",
			  (char *)"--quiet",
			  (char *)"--threads",
			  live_printf("--output=%s", events),
			  (char *)"--",
			  workload_path("truth")};
	size_t n = 7, i = 0;
	struct line *l;
	int status;
	va_list ap;
	pid_t pid;

	CHECK(!mkdir(dir, 0700) && !chown(dir, uid, uid), "%s", dir);
	va_start(ap, uid);
	while (n < 31 && (argv[n] = va_arg(ap, char *)))
		n++;
	va_end(ap);
	argv[n] = NULL;
	pid = fork();
	if (pid == 0) {
		become(uid);
		dup2(open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600), 1);
		execv(argv[0], argv);
		_exit(127);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0, "run ended with %x", status);
	stream_load(&t->st, events);
	stream_check_lossless(&t->st);
	t->truth = json_tokener_parse(live_read_file(out));
	CHECK(t->truth, "the workload said nothing");
	l = stream_find(&t->st, &i, 0, "system", "tree");
	CHECK(l, "no tree");
	t->pid = l->pid;
}

static double truth_of(const struct told *t, const char *key)
{
	return json_object_get_double(object_at(t->truth, key));
}

static struct line *last_of(const struct told *t, const char *type, int64_t tid)
{
	struct line *l, *last = NULL;
	size_t i = 0;

	while ((l = stream_find(&t->st, &i, t->pid, "system", type))) {
		if (!tid || line_int(l, "tid") == tid)
			last = l;
	}
	CHECK(last, "no %s", type);
	return last;
}

static void check_near(const char *what, double seen, double real, double tolerance)
{
	CHECK(seen > real * (1 - tolerance) && seen < real * (1 + tolerance),
	      "%s: %.0f instead of %.0f", what, seen, real);
}

static void check_io(const struct told *t, const struct line *tree)
{
	static const char *const keys[] = {"rchar", "wchar",      "syscr",
					   "syscw", "read_bytes", "write_bytes"};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		json_object *o = object_at(tree->data, live_printf("io.%s", keys[i]));
		int64_t seen = o ? json_object_get_int64(o) : 0;
		int64_t real = json_object_get_int64(object_at(t->truth, keys[i]));

		CHECK(seen == real, "%s: %lld instead of %lld", keys[i], (long long)seen,
		      (long long)real);
	}
}

static void whole_tree(void)
{
	/* 10,000 of them take 50 s of two idle processors */
	unsigned long n = live_scaled(getenv("SLOW") ? 10000 : 1000);
	struct line *tree;
	struct told t;

	truth_run(&t, 0, "-t", "3", "-o", "200", "-n", live_printf("%lu", n), "-c", "5", "-m", "64",
		  "-f", live_printf("%s/file", live_dir()), "-w", "1000000", NULL);
	tree = last_of(&t, "tree", 0);
	CHECK(!strcmp(line_str(tree, "reason"), "last"), "the last sample is missing");
	CHECK(line_int(tree, "started") == (int64_t)n + 1, "%lld started",
	      (long long)line_int(tree, "started"));
	CHECK(line_int(tree, "ended") == (int64_t)n + 1, "%lld ended",
	      (long long)line_int(tree, "ended"));
	check_near("CPU time", line_int(tree, "cpu.total_ns"),
		   truth_of(&t, "cpu_ns") + truth_of(&t, "children_ns"), cpu_tolerance());
	check_io(&t, tree);
}

/* A process that is about to end has given its memory back, and may be sampled. */
static int64_t highest_anon_kb(const struct told *t)
{
	int64_t peak = 0;
	struct line *l;
	size_t i = 0;

	while ((l = stream_find(&t->st, &i, t->pid, "system", "system_metrics"))) {
		int64_t kb = line_int(l, "memory.rss_kb") ? line_int(l, "memory.anon_kb") : 0;

		peak = kb > peak ? kb : peak;
	}
	return peak;
}

/* The highest of the resident set that was told is what was touched, and some of the program. */
static void memory(void)
{
	struct told t;
	int64_t peak;

	truth_run(&t, 0, "-m", "64", "-t", "1", "-s", "2000", NULL);
	peak = highest_anon_kb(&t);
	/* KERNEL < 6.2: threads add to the sum in steps of up to 64 pages */
	CHECK(peak >= (64 << 10) - 256 && peak < 66 << 10, "%lld KiB", (long long)peak);
}

static void threads(void)
{
	json_object *real;
	struct told t;

	truth_run(&t, 0, "-t", "4", "-o", "150", "-s", "1500", NULL);
	real = object_at(t.truth, "threads_ns");
	for (size_t i = 0; i < json_object_array_length(real); i++) {
		double ns = json_object_get_double(json_object_array_get_idx(real, i));
		double best = 0;
		struct line *l;
		size_t at = 0;

		/* the order of their numbers is nobody's business: the nearest one is meant */
		while ((l = stream_find(&t.st, &at, t.pid, "system", "thread"))) {
			double seen = line_int(l, "cpu.total_ns");

			if (line_int(l, "tid") != t.pid &&
			    (best == 0 || (seen > ns ? seen - ns : ns - seen) <
						  (best > ns ? best - ns : ns - best)))
				best = seen;
		}
		check_near("CPU time of a thread", best, ns, cpu_tolerance());
	}
}

/* /proc tells what it tells, and wait4() the rest. */
static void ordinary_user(void)
{
	struct line *row, *tree;
	struct told t;

	truth_run(&t, NOBODY, "-t", "2", "-o", "300", "-s", "1200", "-m", "32", "-n", "40", "-c",
		  "20", NULL);
	tree = last_of(&t, "tree", 0);
	check_near("CPU time", line_int(tree, "cpu.total_ns"),
		   truth_of(&t, "cpu_ns") + truth_of(&t, "children_ns"), 0.2);
	row = last_of(&t, "system_metrics", 0);
	CHECK(highest_anon_kb(&t) >= 32 << 10, "%lld KiB", (long long)highest_anon_kb(&t));
	CHECK(line_int(row, "io.rchar") >= 2000, "rchar");
	CHECK(line_int(row, "faults.minor") > 0, "faults");
	last_of(&t, "thread", t.pid);
}

/* Without kernel programs only wait4() tells what one used that ended between two samples. */
static void used_when_its_time_is_over(const char *script)
{
	char *dir = live_printf("%s/own", live_dir());
	struct told t = {};
	struct line *tree;
	size_t i = 0;
	int status;
	pid_t pid;

	CHECK(!mkdir(dir, 0700) && !chown(dir, NOBODY, NOBODY), "%s", dir);
	pid = fork();
	if (pid == 0) {
		become(NOBODY);
		execl(sight_program(), "agentsight", "run", "--quiet", "--no-polling", "--duration",
		      "1", live_printf("--output=%s/events.json", dir), "--", "sh", "-c", script,
		      NULL);
		_exit(127);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 124,
	      "run ended with %x", status);
	stream_load(&t.st, live_printf("%s/events.json", dir));
	stream_check_lossless(&t.st);
	tree = stream_find(&t.st, &i, 0, "system", "tree");
	CHECK(tree, "no tree");
	t.pid = tree->pid;
	tree = last_of(&t, "tree", 0);
	CHECK(line_int(tree, "ended") == 1, "its end is not told");
	/* a tenth of the time, however busy the machine is */
	CHECK(line_int(tree, "cpu.total_ns") > 100000000, "%lld ns",
	      (long long)line_int(tree, "cpu.total_ns"));
}

static void terminated(void)
{
	used_when_its_time_is_over("while :; do :; done");
}

static void killed(void)
{
	used_when_its_time_is_over("trap '' TERM; while :; do :; done");
}

/* ---- many ---- */

static void idle_until_killed(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		pause();
}

/* A parent of @n children that do nothing. */
static pid_t family_start(unsigned long n)
{
	int ready[2];
	char byte;
	pid_t pid;

	CHECK(!pipe(ready), "pipe");
	pid = fork();
	if (pid == 0) {
		for (unsigned long i = 0; i < n; i++) {
			if (fork() == 0)
				idle_until_killed();
		}
		if (write(ready[1], "", 1) == 1)
			idle_until_killed();
		_exit(1);
	}
	close(ready[1]);
	CHECK(read(ready[0], &byte, 1) == 1, "the family did not start");
	close(ready[0]);
	return pid;
}

/* Once @sight, which samples it, has ended. */
static void family_end(pid_t family, pid_t sight)
{
	CHECK(waitpid(sight, NULL, 0) == sight, "wait");
	kill(family, SIGKILL);
	waitpid(family, NULL, 0);
}

static void none_is_missing(void)
{
	unsigned long n = live_scaled(5000), rows = 0;
	char *events = live_printf("%s/events.json", live_dir());
	pid_t family = family_start(n), pid = fork();
	struct stream st;
	struct line *l;
	size_t i = 0;

	if (pid == 0) {
		execl(sight_program(), "agentsight", "attach", "--quiet", "--interval", "1s",
		      "--duration", "4", live_printf("--output=%s", events),
		      live_printf("%d", family), NULL);
		_exit(127);
	}
	family_end(family, pid);
	stream_load(&st, events);
	stream_check_whole(&st);
	while ((l = stream_find(&st, &i, 0, "system", NULL))) {
		if (!strcmp(l->type, "system_metrics"))
			rows++;
		if (strcmp(l->type, "tree"))
			continue;
		CHECK(line_int(l, "processes") == (int64_t)n + 1, "%lld processes",
		      (long long)line_int(l, "processes"));
		CHECK(rows == n + 1, "%lu rows", rows);
		rows = 0;
	}
}

static pid_t first_child(pid_t pid)
{
	return strtol(live_read_file(live_printf("/proc/%d/task/%d/children", pid, pid)), NULL, 10);
}

static void given_within_a_tree(void)
{
	char *events = live_printf("%s/events.json", live_dir());
	pid_t family = family_start(1), child = first_child(family), pid = fork();
	struct stream st;
	struct line *l;
	size_t i = 0, trees = 0;

	CHECK(child > 0, "no child");
	if (pid == 0) {
		execl(sight_program(), "agentsight", "attach", "--quiet", "--duration", "1",
		      live_printf("--output=%s", events), live_printf("%d", child),
		      live_printf("%d", family), NULL);
		_exit(127);
	}
	family_end(family, pid);
	stream_load(&st, events);
	while ((l = stream_find(&st, &i, 0, "system", "tree"))) {
		CHECK(l->pid == family, "a tree of %lld", (long long)l->pid);
		CHECK(line_int(l, "processes") == 2, "%lld processes",
		      (long long)line_int(l, "processes"));
		trees++;
	}
	CHECK(trees > 0, "no tree");
}

/* ---- connections ---- */

/* Both ends of all connections of the tree. */
static int64_t closed_bytes(const struct stream *st, const char *key)
{
	struct line *l;
	int64_t sum = 0;
	size_t i = 0;

	while ((l = stream_find(st, &i, 0, "network", "close")))
		sum += line_int(l, key);
	return sum;
}

/* Five times a second for four seconds; flow events come once a second. */
static void sums_of_connections(void)
{
	int64_t tx = 0, rx = 0;
	struct workload w;
	struct stream st;
	struct sight s;
	size_t i = 0, moved = 0;
	struct line *l;

	workload_hold(&w, "tcp", "paced", "20", "5000", NULL);
	sight_start(&s, "attach", "--quiet", "--interval", "100", "--adaptive", "fixed",
		    live_printf("%d", w.pid), NULL);
	workload_finish(&w);
	sight_wait(&s);
	CHECK(s.status == 0, "it ended with %x: %s", s.status, sight_messages(&s));

	stream_load(&st, s.out);
	stream_check_lossless(&st);
	while ((l = stream_find(&st, &i, w.pid, "system", "tree"))) {
		json_object *o = object_at(l->data, "net.tx_bytes");

		moved += o && json_object_get_int64(o) > tx;
		tx = o ? json_object_get_int64(o) : 0;
		o = object_at(l->data, "net.rx_bytes");
		rx = o ? json_object_get_int64(o) : 0;
	}
	CHECK(moved > 10, "the sum of what was sent moved %zu times", moved);
	CHECK(tx == closed_bytes(&st, "tx_bytes") && rx == closed_bytes(&st, "rx_bytes"),
	      "%lld and %lld bytes", (long long)tx, (long long)rx);
}

/* ---- a pid that is used again ---- */

static void burn(uint64_t ms)
{
	struct timespec ts;

	do
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	while (ts.tv_sec * 1000 + ts.tv_nsec / 1000000 < (int64_t)ms);
}

/* One child burns and ends; then one with the same pid burns less, and both are sampled. They are @uid's. */
static pid_t reuse_run(uid_t uid)
{
	pid_t first = fork(), again = 0;

	if (first == 0) {
		become(uid);
		burn(300);
		usleep(300000);
		_exit(0);
	}
	waitpid(first, NULL, 0);
	for (int i = 0; i < 100 && again != first; i++) {
		FILE *f = fopen("/proc/sys/kernel/ns_last_pid", "w");

		if (!f || fprintf(f, "%d", first - 1) < 0 || fclose(f))
			return 0;
		again = fork();
		if (again == 0) {
			become(uid);
			burn(50);
			usleep(500000);
			_exit(0);
		}
		if (again != first)
			kill(again, SIGKILL);
		waitpid(again, NULL, 0);
	}
	return again == first ? first : 0;
}

static void pid_reuse_as(uid_t uid)
{
	char *dir = live_printf("%s/%d", live_dir(), (int)uid), byte;
	char *events = live_printf("%s/events.json", dir);
	json_object *first = NULL, *second = NULL;
	int gate[2], told[2], status;
	pid_t parent, pid, reused = 0;
	struct stream st;
	struct line *l;
	size_t i = 0;

	CHECK(!mkdir(dir, 0700) && !chown(dir, uid, uid), "%s", dir);
	CHECK(!pipe(gate) && !pipe(told), "pipe");
	parent = fork();
	if (parent == 0) {
		CHECK(read(gate[0], &byte, 1) == 1, "read");
		reused = reuse_run(uid);
		CHECK(write(told[1], &reused, sizeof(reused)) == sizeof(reused), "write");
		_exit(0);
	}
	pid = fork();
	if (pid == 0) {
		become(uid);
		execl(sight_program(), "agentsight", "attach", "--quiet", "--interval", "50",
		      "--adaptive", "fixed", live_printf("--output=%s", events),
		      live_printf("%d", parent), NULL);
		_exit(127);
	}
	live_wait_text(events, "\"tree\"", 1, 20);
	CHECK(write(gate[1], "", 1) == 1, "write");
	CHECK(read(told[0], &reused, sizeof(reused)) == sizeof(reused), "read");
	waitpid(parent, NULL, 0);
	CHECK(waitpid(pid, &status, 0) == pid, "wait");
	if (!reused)
		live_skip("no pid can be had twice here");

	stream_load(&st, events);
	stream_check_whole(&st);
	while ((l = stream_find(&st, &i, reused, "system", "system_metrics"))) {
		json_object *id = object_at(l->json, "exec_id");

		if (!first || !strcmp(json_object_get_string(first), json_object_get_string(id))) {
			first = id;
			continue;
		}
		CHECK(!second ||
			      !strcmp(json_object_get_string(second), json_object_get_string(id)),
		      "more than two processes");
		second = id;
		CHECK(line_int(l, "cpu.total_ns") < 200000000,
		      "%lld ns of the second one: it has the first one's",
		      (long long)line_int(l, "cpu.total_ns"));
	}
	CHECK(first && second, "only one of two processes was sampled");
}

static void pid_reuse(void)
{
	pid_reuse_as(0);
}

static void pid_reuse_by_procfs(void)
{
	pid_reuse_as(NOBODY);
}

const struct live_test monitor_tests[] = {
	{"the_totals_of_a_tree_are_those_of_all_its_processes", whole_tree, 600},
	{"memory_that_was_touched_is_seen", memory, 60},
	{"CPU_time_of_threads_is_within_1_percent", threads, 60},
	{"an_ordinary_user_sees_the_same_of_ones_own_processes", ordinary_user, 60},
	{"what_a_command_used_that_was_terminated_at_the_end_of_its_time_is_told", terminated, 30},
	{"what_a_command_used_that_was_killed_behind_the_end_of_its_time_is_told", killed, 60},
	{"of_5000_idle_processes_none_is_missing", none_is_missing, 120},
	{"a_process_that_is_given_besides_one_above_it_stays_in_its_tree", given_within_a_tree, 60},
	{"what_connections_moved_is_known_at_each_sample", sums_of_connections, 60},
	{"a_pid_that_is_used_again_is_another_process", pid_reuse, 60},
	{"a_pid_that_is_used_again_is_another_process_to_an_ordinary_user", pid_reuse_by_procfs,
	 60},
	{},
};
