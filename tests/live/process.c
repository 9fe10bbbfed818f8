/* SPDX-License-Identifier: MIT */
/* exec, fork and exit: complete, exact, in order. */
#include "live.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ALL_OF_PROCESS "process.exec process.fork process.exit"

/* Around what the workload prints stand its own exec and exit. */
static void expect_with_own(struct expected *x, const struct workload *w)
{
	expected_add(x, "{\"source\":\"process\",\"pid\":%d,\"data\":{\"type\":\"exec\"}}", w->pid);
	expected_load(x, w->out);
	expected_add(
		x,
		"{\"source\":\"process\",\"pid\":%d,\"data\":{\"type\":\"exit\",\"exit_code\":0}}",
		w->pid);
}

/* Runs the workload under `agentsight process` with rings of @ring_mb MiB and compares everything. */
static void compare_in(const char *ring_mb, struct workload *w, struct stream *st,
		       const char *complete)
{
	struct expected x = {};
	struct sight s;

	sight_start(&s, "process", "--ring-size", ring_mb, "-p", live_printf("%d", w->pid), NULL);
	workload_finish(w);
	sight_stop(&s);

	stream_load(st, s.out);
	stream_check_lossless(st);
	stream_check_sources(st, "process");
	stream_check_family(st, w->pid);
	expect_with_own(&x, w);
	stream_match(st, &x, complete);
}

static void compare(struct workload *w, struct stream *st, const char *complete)
{
	compare_in("8", w, st, complete);
}

static void many_commands(void)
{
	struct workload w;
	struct stream st;
	unsigned long n = live_scaled(5000);

	workload_hold(&w, "spawn", "-n", live_printf("%lu", n), "-j", "2", NULL);
	compare(&w, &st, ALL_OF_PROCESS);
	CHECK(stream_count(&st, "process", "exec") == n + 1, "%zu execs instead of %lu",
	      stream_count(&st, "process", "exec"), n + 1);
}

static void check_processes_lossless(const struct stream *st)
{
	static const char *const types[] = {"exec", "fork", "exit"};

	stream_check_whole(st);
	CHECK(stop_count(st, "missed") == 0, "the kernel skipped hooks: %s",
	      json_object_to_json_string(st->stop));
	for (size_t i = 0; i < 3; i++) {
		json_object *row = NULL;

		json_object_object_get_ex(object_at(st->stop, "streams"),
					  live_printf("process.%s", types[i]), &row);
		CHECK(row && json_object_equal(object_at(row, "produced"),
					       object_at(row, "delivered")),
		      "%s events were lost: %s", types[i], json_object_to_json_string(st->stop));
	}
}

/* The processes' events are all there, whatever happens to the others. */
static void many_commands_in_a_storm(void)
{
	struct expected x = {};
	struct workload w, storm;
	struct stream st;
	struct sight s;
	unsigned long n = live_scaled(5000);

	workload_hold(&w, "spawn", "-n", live_printf("%lu", n), "-j", "2", NULL);
	workload_hold(&storm, "files", "storm", live_printf("%lu", live_scaled(500000)),
		      (char *)live_dir(), NULL);
	sight_start(&s, "trace", "--process", "--files", "--ring-size", "32", "--filter",
		    "source == \"process\"", "-p", live_printf("%d,%d", w.pid, storm.pid), NULL);
	workload_release(&storm);
	workload_finish(&w);
	workload_wait(&storm);
	CHECK(storm.status == 0, "the storm failed with status %#x", storm.status);
	sight_stop(&s);

	stream_load(&st, s.out);
	check_processes_lossless(&st);
	expect_with_own(&x, &w);
	stream_match(&st, &x, ALL_OF_PROCESS);
	/* its own, the storm's */
	CHECK(stream_count(&st, "process", "exec") == n + 2, "%zu execs instead of %lu",
	      stream_count(&st, "process", "exec"), n + 2);
}

static void check_flat(const struct sight *s, unsigned long *peak_kb)
{
	char *text = live_read_file(live_printf("/proc/%d/status", s->pid));
	char *hwm = strstr(text, "VmHWM:");

	CHECK(hwm && sscanf(hwm, "VmHWM: %lu", peak_kb) == 1, "no VmHWM");
	free(text);
}

static void count_process(const struct line *l, void *context)
{
	unsigned long *n = context;

	if (!strcmp(l->source, "process"))
		n[!strcmp(l->type, "exec") ? 0 : !strcmp(l->type, "exit") ? 1 : 2]++;
	if (!strcmp(l->type, "stop")) {
		CHECK(line_int(l, "lost") == 0, "lost: %s", json_object_to_json_string(l->json));
		CHECK(line_int(l, "difference") == 0, "%s", json_object_to_json_string(l->json));
	}
}

/* What a long-running agent amounts to; the table of processes must not grow with those that ended. */
static void memory_stays_flat(void)
{
	unsigned long n = live_scaled(100000), early_kb, late_kb, counts[3] = {};
	struct workload few, many;
	struct sight s;

	workload_hold(&few, "spawn", "-q", "-n", live_printf("%lu", n / 10), "-j", "2", NULL);
	workload_hold(&many, "spawn", "-q", "-n", live_printf("%lu", n), "-j", "2", NULL);
	sight_start(&s, "process", "-p", live_printf("%d,%d", few.pid, many.pid), NULL);
	workload_finish(&few);
	check_flat(&s, &early_kb);
	workload_finish(&many);
	check_flat(&s, &late_kb);
	sight_stop(&s);

	stream_each(s.out, count_process, counts);
	for (size_t i = 0; i < 3; i++)
		CHECK(counts[i] == n + n / 10 + (i < 2 ? 2 : 0), "%lu of kind %zu instead of %lu",
		      counts[i], i, n + n / 10);
	CHECK(late_kb < early_kb + 16384, "%lu KiB after %lu processes, %lu after %lu", early_kb,
	      n / 10, late_kb, n);
	unlink(s.out);
}

static void long_arguments(void)
{
	struct workload w;
	struct stream st;

	workload_hold(&w, "args", "long", "131072", NULL);
	compare(&w, &st, "process.exec");
}

/* Records of 100 KB go round a ring of 2 MiB: of those that reach over its end nothing may be of another. */
static void long_arguments_over_the_end(void)
{
	struct workload w;
	struct stream st;

	workload_hold(&w, "args", "many", "60", "131072", NULL);
	compare_in("2", &w, &st, "process.exec");
}

static void odd_arguments(void)
{
	struct workload w;
	struct stream st;

	workload_hold(&w, "args", "odd", NULL);
	compare(&w, &st, "process.exec");
}

static void odd_names(void)
{
	struct workload w;
	struct stream st;

	workload_hold(&w, "args", "names", (char *)live_dir(), NULL);
	compare(&w, &st, "process.exec");
}

static void check_cpu(const struct line *l, const struct workload *w)
{
	const struct rusage *u = &w->usage;
	double told = (line_int(l, "cpu_user_ns") + line_int(l, "cpu_system_ns")) / 1e6;
	double real = (u->ru_utime.tv_sec + u->ru_stime.tv_sec) * 1e3 +
		      (u->ru_utime.tv_usec + u->ru_stime.tv_usec) / 1e3;
	double off = told > real ? told - real : real - told;

	/* how the kernel clears up behind the event is in the latter alone; an emulated one takes its time */
	CHECK(off <= real * 0.05 + (live_in_guest() ? 15 : 2),
	      "%.2f ms of CPU time, the kernel says %.2f ms", told, real);
}

static void cpu_totals(void)
{
	static const char *const own_ms[] = {"1", "20", "300"};

	for (size_t i = 0; i < 3; i++) {
		struct workload w;
		struct stream st;
		struct sight s;
		struct line *l;

		workload_hold(&w, "cpu", "-o", own_ms[i], "-t", i ? "3" : "1", NULL);
		sight_start(&s, "process", "-p", live_printf("%d", w.pid), NULL);
		workload_finish(&w);
		sight_stop(&s);
		stream_load(&st, s.out);
		stream_check_lossless(&st);
		l = stream_only(&st, w.pid, "process", "exit");
		check_cpu(l, &w);
		CHECK(line_int(l, "max_rss_kb") == w.usage.ru_maxrss, "max_rss_kb %lld, rusage %ld",
		      (long long)line_int(l, "max_rss_kb"), w.usage.ru_maxrss);
	}
}

static void moved_bytes(void)
{
	struct workload w;
	struct stream st;

	workload_hold(&w, "life", "moved-bytes", NULL);
	compare(&w, &st, ALL_OF_PROCESS);
}

#define VARIABLES 600 /* more than are looked at */

/* Ends with @code in an environment of @n variables of its own and then @last. */
static void end_in(size_t n, const char *last, const char *code)
{
	char *path = workload_path("life"), *env[VARIABLES + 2] = {};
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		for (size_t i = 0; i < n; i++)
			env[i] = live_printf("V%zu=1", i);
		env[n] = (char *)last;
		execve(path, (char *[]){path, (char *)"end", (char *)code, NULL}, env);
		_exit(127);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == atoi(code), "status %#x",
	      status);
}

static void check_environment(const struct line *l, size_t told, bool cut)
{
	json_object *env = object_at(l->data, "env");
	size_t len = env && json_object_array_length(env)
			     ? strlen(json_object_get_string(json_object_array_get_idx(env, 0)))
			     : 0;

	CHECK(len == told, "%zu bytes instead of %zu: %s", len, told,
	      json_object_to_json_string(l->json));
	CHECK(!!object_at(l->data, "truncated") == cut, "cut or not: %s",
	      json_object_to_json_string(l->json));
}

static void marks_of_agents(void)
{
	char *marked = live_printf("CODEX_A=%0247d", 0), *cut = live_printf("CODEX_A=%0248d", 0);
	struct stream st;
	struct sight s;
	size_t i = 0;

	sight_start(&s, "trace", "--process", "--ssl", "-p", live_printf("%d", getpid()), NULL);
	end_in(0, marked, "0");
	end_in(0, cut, "0");
	end_in(VARIABLES, "CLAUDECODE=1", "0");
	sight_stop(&s);

	stream_load(&st, s.out);
	stream_check_lossless(&st);
	CHECK(stream_count(&st, "process", "exec") == 3, "not three execs");
	check_environment(stream_find(&st, &i, 0, "process", "exec"), 255, false);
	check_environment(stream_find(&st, &i, 0, "process", "exec"), 255, true);
	check_environment(stream_find(&st, &i, 0, "process", "exec"), 0, true);
}

/* What is attached while it waits is told before it goes. */
static void held_command(void)
{
	char *argv[] = {sight_program(),   (char *)"trace", (char *)"--process",
			(char *)"--files", (char *)"-o",    live_printf("%s/events", live_dir()),
			(char *)"--",      (char *)"true",  NULL};
	struct sight s = {};
	struct stream st;
	struct line *end, *l;
	uint64_t begin;
	size_t i = 0;

	sight_launch(&s, -1, argv);
	sight_wait(&s);
	stream_load(&st, argv[5]);
	stream_check_lossless(&st);
	end = stream_only(&st, 0, "process", "exit");
	begin = end->timestamp - (uint64_t)line_int(end, "duration_ns");
	while ((l = stream_find(&st, &i, 0, "agentsight", "capability")) &&
	       strcmp(line_str(l, "family"), "file") != 0)
		;
	CHECK(l, "nothing was attached");
	CHECK(begin > l->timestamp, "its time began %.3f ms before all was attached",
	      (double)(l->timestamp - begin) / 1e6);
	CHECK(begin < stream_only(&st, 0, "process", "exec")->timestamp, "it began before that");
}

const struct live_test process_tests[] = {
	{"five_thousand_commands_two_at_a_time_are_all_there", many_commands, 120},
	{"commands_are_all_there_beside_a_storm_of_file_opens", many_commands_in_a_storm, 120},
	{"memory_stays_flat_over_a_hundred_thousand_processes", memory_stays_flat, 300},
	{"arguments_of_128_KiB_are_complete_and_longer_ones_flagged", long_arguments, 30},
	{"long_arguments_over_the_end_of_the_ring_are_exact", long_arguments_over_the_end, 60},
	{"variables_that_do_not_fit_are_said_to_be_cut", marks_of_agents, 30},
	{"odd_arguments_are_valid_JSON_and_keep_their_bytes", odd_arguments, 30},
	{"odd_names_are_valid_JSON_and_keep_their_bytes", odd_names, 30},
	{"CPU_time_and_peak_memory_at_exit_are_what_wait_says", cpu_totals, 60},
	{"the_time_of_a_command_begins_when_it_is_let_go", held_command, 30},
	{"bytes_read_and_written_at_exit_are_exact", moved_bytes, 30},
	{},
};
