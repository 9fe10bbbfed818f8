/* SPDX-License-Identifier: MIT */
/* CPU and memory samples, thresholds, and what no output may hold. */
#include "live.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* CPU seconds that the samples of @pid amount to. */
static double sampled_s(const struct stream *st, pid_t pid)
{
	double sum = 0;
	struct line *l;
	size_t i = 0;

	while ((l = stream_find(st, &i, pid, "system", "system_metrics")))
		sum += strtod(line_str(l, "cpu.percent"), NULL) / 100 * line_int(l, "interval_ns") /
		       1e9;
	return sum;
}

static json_object *first_object(const char *path)
{
	json_object *o = json_tokener_parse(live_read_file(path));

	CHECK(o, "the workload said nothing");
	return o;
}

static double told_s(json_object *told, const char *key)
{
	return json_object_get_double(object_at(told, key));
}

/* The average over the run, in percent of one core. */
static void compare_cpu(struct workload *w)
{
	json_object *told;
	struct stream st;
	struct sight s;
	double real, seen, wall;

	sight_start(&s, "system", "--interval", "0.5", "-p", live_printf("%d", w->pid), NULL);
	workload_finish(w);
	sight_stop(&s);
	stream_load(&st, s.out);
	stream_check_lossless(&st);
	stream_check_sources(&st, "system");

	told = first_object(w->out);
	wall = told_s(told, "wall_s");
	real = 100 * (told_s(told, "own_s") + told_s(told, "children_s")) / wall;
	seen = 100 * sampled_s(&st, w->pid) / wall;
	CHECK(seen > real - 5 && seen < real + 5, "%.1f %% instead of %.1f %%", seen, real);
}

static void own_cpu(void)
{
	struct workload w;

	workload_hold(&w, "cpu", "-o", "1500", "-i", "1200", NULL);
	compare_cpu(&w);
}

static void threads_cpu(void)
{
	struct workload w;

	workload_hold(&w, "cpu", "-o", "500", "-t", "4", "-i", "1200", NULL);
	compare_cpu(&w);
}

/* What a shell does: it sleeps while children too short for any sample burn the time. */
static void children_cpu(void)
{
	struct workload w;

	workload_hold(&w, "cpu", "-n", "100", "-c", "20", "-i", "1200", NULL);
	compare_cpu(&w);
}

static void check_alerts(const struct stream *st, pid_t pid, const char *metric, double limit)
{
	static const char *const states[] = {"start", "end"};
	size_t i = 0;

	for (size_t n = 0; n < 2; n++) {
		struct line *l = stream_find(st, &i, pid, "alert", "threshold");

		CHECK(l, "no alert '%s'", states[n]);
		CHECK(!strcmp(line_str(l, "state"), states[n]), "not '%s': %s", states[n],
		      json_object_to_json_string(l->json));
		CHECK(strstr(line_str(l, "metric"), metric), "not of %s: %s", metric,
		      json_object_to_json_string(l->json));
		CHECK(json_object_get_double(object_at(l->data, "limit")) == limit, "limit: %s",
		      json_object_to_json_string(l->json));
		CHECK(json_object_get_double(object_at(l->data, "value")) > limit, "value: %s",
		      json_object_to_json_string(l->json));
	}
	CHECK(!stream_find(st, &i, pid, "alert", "threshold"), "more than one alert");
}

static void cpu_threshold(void)
{
	struct workload w;
	struct stream st;
	struct sight s;
	size_t i = 0, alerting = 0;
	struct line *l;

	workload_hold(&w, "cpu", "-o", "2500", "-i", "2500", NULL);
	/* on a busy machine it might else go without a processor for an interval, which ends the alert */
	CHECK(!setpriority(PRIO_PROCESS, w.pid, -20), "setpriority");
	sight_start(&s, "system", "--interval", "0.5", "--cpu-threshold", "5", "-p",
		    live_printf("%d", w.pid), NULL);
	workload_finish(&w);
	sight_stop(&s);
	stream_load(&st, s.out);
	stream_check_lossless(&st);
	check_alerts(&st, w.pid, "cpu", 5);
	while ((l = stream_find(&st, &i, w.pid, "system", "system_metrics")))
		alerting += json_object_get_boolean(object_at(l->data, "alert"));
	CHECK(alerting > 0, "no sample says that it is above the threshold");
}

static void hold_memory(size_t bytes, int gate_fd)
{
	char *p = malloc(bytes), byte;

	for (size_t i = 0; i < bytes; i += 4096)
		((volatile char *)p)[i] = 1;
	if (read(gate_fd, &byte, 1) != 1)
		_exit(1);
	free(p);
	if (read(gate_fd, &byte, 1) != 1)
		_exit(1);
	_exit(0);
}

static void memory_threshold(void)
{
	struct stream st;
	struct sight s;
	int gate[2];
	pid_t pid;

	CHECK(!pipe(gate), "pipe");
	pid = fork();
	if (pid == 0) {
		close(gate[1]);
		hold_memory(96 << 20, gate[0]);
	}
	sight_start(&s, "system", "--interval", "0.3", "--memory-threshold", "64", "-p",
		    live_printf("%d", pid), NULL);
	live_wait_text(s.out, "\"state\":\"start\"", 1, 10);
	CHECK(write(gate[1], "", 1) == 1, "write");
	live_wait_text(s.out, "\"state\":\"end\"", 1, 10);
	CHECK(write(gate[1], "", 1) == 1, "write");
	waitpid(pid, NULL, 0);
	sight_stop(&s);
	stream_load(&st, s.out);
	stream_check_lossless(&st);
	check_alerts(&st, pid, "memory", 64);
}

/* 2 MB each 100 ms, up to @megabytes; then its end is an alert, too. */
static void leak(unsigned megabytes, int gate_fd)
{
	char byte;

	if (read(gate_fd, &byte, 1) != 1)
		_exit(1);
	for (unsigned i = 0; i < megabytes / 2; i++) {
		char *p = malloc(2 << 20);

		for (size_t at = 0; at < 2 << 20; at += 4096)
			((volatile char *)p)[at] = 1;
		usleep(100000);
	}
	_exit(3);
}

static struct line *alert_of(const struct stream *st, pid_t pid, const char *metric,
			     const char *state)
{
	struct line *l;
	size_t i = 0;

	while ((l = stream_find(st, &i, pid, "alert", "threshold"))) {
		if (!strcmp(line_str(l, "metric"), metric) && !strcmp(line_str(l, "state"), state))
			return l;
	}
	CHECK(false, "no alert '%s' of %s", state, metric);
	return NULL;
}

static double number_at(struct line *l, const char *path)
{
	return json_object_get_double(object_at(l->data, path));
}

static void check_numbers(struct line *l, double peak_from, double peak_to)
{
	double min = number_at(l, "min"), avg = number_at(l, "avg"), max = number_at(l, "max");

	CHECK(min > number_at(l, "limit") && min <= avg && avg <= max, "not in order: %s",
	      json_object_to_json_string(l->json));
	CHECK(max == number_at(l, "value") && max >= peak_from && max <= peak_to, "peak: %s",
	      json_object_to_json_string(l->json));
}

static void leak_alerts(void)
{
	struct stream st;
	struct sight s;
	int gate[2];
	pid_t pid;

	CHECK(!pipe(gate), "pipe");
	pid = fork();
	if (pid == 0) {
		close(gate[1]);
		leak(192, gate[0]);
	}
	sight_start(&s, "system", "--interval", "0.2", "--detail", "--alert", "rss > 160MB",
		    "--alert", "rss.slope > 10MB/min for 0.5s", "--alert", "exit_code != 0", "-p",
		    live_printf("%d", pid), NULL);
	CHECK(write(gate[1], "", 1) == 1, "write");
	waitpid(pid, NULL, 0);
	sight_stop(&s);
	stream_load(&st, s.out);
	stream_check_lossless(&st);
	CHECK(alert_of(&st, pid, "rss.slope", "start")->timestamp <
		      alert_of(&st, pid, "rss", "start")->timestamp,
	      "the limit was told before the growth");
	check_numbers(alert_of(&st, pid, "rss", "end"), 160, 200);
	/* 20 MB a second, less where the machine is busy */
	check_numbers(alert_of(&st, pid, "rss.slope", "end"), 100, 1250);
	CHECK(number_at(alert_of(&st, pid, "exit_code", "start"), "value") == 3, "exit code");
}

#define READERS     4
#define READER_SIZE 1000000

static void *read_zeros(void *arg)
{
	static char bytes[READERS][READER_SIZE];
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	return read(fd, bytes[*(int *)arg], READER_SIZE) == READER_SIZE ? arg : NULL;
}

/* As a user whom nobody else is: threads that read and end, behind each byte of the gate one. */
static void read_as(uid_t uid, int gate_fd)
{
	int number[READERS];
	char byte;

	if (setgid(uid) || setuid(uid))
		_exit(9);
	for (int i = 0; i < READERS && read(gate_fd, &byte, 1) == 1; i++) {
		pthread_t thread;
		void *done = NULL;

		number[i] = i;
		if (pthread_create(&thread, NULL, read_zeros, &number[i]) ||
		    pthread_join(thread, &done) || !done)
			_exit(8);
	}
	read(gate_fd, &byte, 1);
	_exit(0);
}

static void users_threads(void)
{
	uid_t uid = 54322;
	struct line *l, *last = NULL;
	struct stream st;
	struct sight s;
	size_t i = 0;
	int gate[2];
	pid_t pid;

	CHECK(!pipe2(gate, O_CLOEXEC), "pipe");
	pid = fork();
	if (pid == 0) {
		close(gate[1]);
		read_as(uid, gate[0]);
	}
	close(gate[0]);
	sight_start(&s, "system", "--interval", "0.1", "--detail", "-u", live_printf("%u", uid),
		    NULL);
	CHECK(write(gate[1], "1234", READERS) == READERS, "write");
	live_wait_text(s.out, live_printf("\"rchar\":%d", READERS * READER_SIZE + READERS), 2, 10);
	close(gate[1]);
	waitpid(pid, NULL, 0);
	sight_stop(&s);
	stream_load(&st, s.out);
	stream_check_lossless(&st);
	while ((l = stream_find(&st, &i, pid, "system", "tree")))
		last = l;
	CHECK(last && json_object_get_int64(object_at(last->data, "io.rchar")) >=
			      READERS * READER_SIZE,
	      "the tree lacks what threads read that have ended: %s",
	      last ? json_object_to_json_string(last->json) : "none");
}

/* More threads than are remembered to have ended. */
#define LATER_THREADS 6000
#define LEADER_READS  (1 << 20)

static void *return_at_once(void *arg)
{
	return arg;
}

struct heir {
	pthread_t leader;
	int gate_fd;
};

static void *outlive_leader(void *arg)
{
	const struct heir *h = arg;
	char byte;

	pthread_join(h->leader, NULL);
	for (int i = 0; i < LATER_THREADS; i++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, return_at_once, NULL) ||
		    pthread_join(thread, NULL))
			_exit(8);
	}
	read(h->gate_fd, &byte, 1);
	_exit(0);
}

/* The leader reads, and ends first. */
static void leader_reads(int go_fd, int gate_fd)
{
	static char bytes[LEADER_READS];
	static struct heir heir;
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	pthread_t thread;

	heir = (struct heir){pthread_self(), gate_fd};
	if (read(go_fd, bytes, 1) != 1 || read(fd, bytes, sizeof(bytes)) != sizeof(bytes) ||
	    pthread_create(&thread, NULL, outlive_leader, &heir))
		_exit(8);
	pthread_exit(NULL);
}

static void leader_ends_first(void)
{
	struct line *exit_line, *l, *last = NULL;
	int go[2], gate[2], status;
	struct stream st;
	struct sight s;
	size_t i = 0;
	pid_t pid;

	CHECK(!pipe2(go, O_CLOEXEC) && !pipe2(gate, O_CLOEXEC), "pipe");
	pid = fork();
	if (pid == 0) {
		close(gate[1]);
		leader_reads(go[0], gate[0]);
	}
	sight_start(&s, "trace", "--process", "--system", "--detail", "--interval", "0.1", "-p",
		    live_printf("%d", pid), NULL);
	CHECK(write(go[1], "1", 1) == 1, "write");
	live_wait_text(s.out, live_printf("\"rchar\":%d", LEADER_READS + 1), 2, 20);
	close(gate[0]);
	close(gate[1]);
	waitpid(pid, &status, 0);
	CHECK(status == 0, "the workload ended with status %#x", status);
	sight_stop(&s);
	stream_load(&st, s.out);
	stream_check_lossless(&st);
	exit_line = stream_find(&st, &i, pid, "process", "exit");
	i = 0;
	while ((l = stream_find(&st, &i, pid, "system", "tree")))
		last = l;
	CHECK(exit_line && last, "no exit, or no tree");
	CHECK(json_object_get_int64(object_at(exit_line->data, "rchar")) ==
		      json_object_get_int64(object_at(last->data, "io.rchar")),
	      "the tree has read %s, the process %s",
	      json_object_to_json_string(object_at(last->data, "io")),
	      json_object_to_json_string(exit_line->json));
}

static void whole_machine(void)
{
	static const char *const keys[] = {
		"cpu.cores",      "cpu.load_avg_1min",   "memory.total_kb", "memory.used_kb",
		"memory.free_kb", "memory.available_kb", "memory.total_mb", "memory.used_mb",
		"memory.rss_mb",  "memory.used_percent"};
	struct stream st;
	struct sight s;
	struct line *l;
	size_t i = 0;

	sight_start(&s, "system", "--interval", "0.2", NULL);
	live_wait_text(s.out, "system_wide", 1, 10);
	sight_stop(&s);
	stream_load(&st, s.out);
	stream_check_lossless(&st);
	l = stream_find(&st, &i, 0, "system", "system_wide");
	for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++)
		CHECK(object_at(l->data, keys[k]), "no %s: %s", keys[k],
		      json_object_to_json_string(l->json));
	CHECK(l->pid == 0, "pid %d", l->pid);
	CHECK(line_int(l, "timestamp") == (int64_t)l->timestamp, "two times in one event");
	CHECK(line_int(l, "cpu.cores") == sysconf(_SC_NPROCESSORS_ONLN), "%lld cores",
	      (long long)line_int(l, "cpu.cores"));
}

/* ---- what must not be told ---- */

/* As long as a real one. */
#define API_KEY                                                         \
	"sk-ant-api03-Zm9yIHRlc3Rpbmcgb25seSwgbm90aGluZyBlbHNlIGF0IGFs" \
	"bAabcdefghijklmnopqrstuv-wxyzAAAA"

static const char *const secrets[] = {
	API_KEY,
	"ghp_0123456789abcdefghijklmnopqrstuvwxyz",
	"correct-horse-battery-staple",
};

static char *record_secrets(const char *option)
{
	struct workload w;
	struct stream st;
	struct sight s;

	workload_hold(&w, "args", live_printf("--api-key=%s", secrets[0]), "--token", secrets[1],
		      live_printf("--password=%s", secrets[2]), NULL);
	sight_start(&s, "process", "-p", live_printf("%d", w.pid), option, NULL);
	workload_finish(&w);
	sight_stop(&s);
	stream_load(&st, s.out);
	stream_check_lossless(&st);
	stream_only(&st, w.pid, "process", "exec");
	if (option)
		CHECK(strstr(sight_messages(&s), "no-redact"), "it is not loud: %s",
		      sight_messages(&s));
	return live_read_file(s.out);
}

static void redacted(void)
{
	char *text = record_secrets(NULL);

	for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++)
		CHECK(!strstr(text, secrets[i]), "the output holds %s", secrets[i]);
	CHECK(strstr(text, "\"redacted\":true"), "it does not say that something was overwritten");
}

static void not_redacted(void)
{
	char *text = record_secrets("--no-redact");

	for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++)
		CHECK(strstr(text, secrets[i]), "the output lacks %s", secrets[i]);
	CHECK(!strstr(text, "\"redacted\""), "something was overwritten");
}

const struct live_test system_tests[] = {
	{"CPU_of_a_process_is_within_5_points", own_cpu, 60},
	{"CPU_of_threads_is_within_5_points", threads_cpu, 60},
	{"CPU_of_children_that_live_20_ms_is_within_5_points", children_cpu, 60},
	{"a_CPU_threshold_raises_and_ends_one_alert", cpu_threshold, 60},
	{"a_memory_threshold_raises_and_ends_one_alert", memory_threshold, 60},
	{"a_leak_is_told_before_its_limit", leak_alerts, 60},
	{"the_tree_of_a_users_process_has_what_ended_threads_read", users_threads, 30},
	{"what_a_leader_read_that_ended_first_counts_once", leader_ends_first, 60},
	{"without_a_target_the_machine_is_sampled", whole_machine, 30},
	{"planted_secrets_are_in_no_output", redacted, 30},
	{"planted_secrets_are_shown_when_asked_for", not_redacted, 30},
	{},
};
