/* SPDX-License-Identifier: MIT */
/* Sums of system calls and of waits: the workload `calls` knows what they come to. */
#include "live.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/bpf.h>

static json_object *told(const struct workload *w)
{
	json_object *o = json_tokener_parse(live_read_file(w->out));

	CHECK(o, "the workload said nothing");
	return o;
}

/* ---- system calls ---- */

static json_object *call_named(json_object *top, const char *name)
{
	for (size_t i = 0; i < json_object_array_length(top); i++) {
		json_object *row = json_object_array_get_idx(top, i);

		if (!strcmp(json_object_get_string(object_at(row, "name")), name))
			return row;
	}
	return NULL;
}

/* Over all events of the process. */
static int64_t call_sum(const struct stream *st, pid_t pid, const char *name, const char *path)
{
	struct line *l;
	int64_t sum = 0;
	size_t i = 0;

	while ((l = stream_find(st, &i, pid, "system", "syscalls"))) {
		json_object *row = call_named(object_at(l->data, "top"), name);
		json_object *n = row ? object_at(row, path) : NULL;

		sum += n ? json_object_get_int64(n) : 0;
	}
	return sum;
}

static void check_call(const struct stream *st, pid_t pid, const char *name, json_object *row)
{
	json_object *errors = object_at(row, "errno");
	static const char *const members[] = {"count", "errors"};

	for (size_t i = 0; i < 2; i++) {
		int64_t real = json_object_get_int64(object_at(row, members[i]));
		int64_t seen = call_sum(st, pid, name, members[i]);

		CHECK(seen == real, "%s: %s %lld instead of %lld", name, members[i],
		      (long long)seen, (long long)real);
	}
	if (!errors)
		return;
	json_object_object_foreach(errors, error, n)
	{
		int64_t seen = call_sum(st, pid, name, live_printf("errno.%s", error));

		CHECK(seen == json_object_get_int64(n), "%s: %lld times %s instead of %s", name,
		      (long long)seen, error, json_object_get_string(n));
	}
}

/* Totals are those of the categories. */
static void check_totals(const struct line *l)
{
	int64_t count = 0, errors = 0, time_ns = 0;

	json_object_object_foreach(object_at(l->data, "categories"), name, c)
	{
		CHECK(name[0], "a category without a name");
		count += json_object_get_int64(object_at(c, "count"));
		errors += json_object_get_int64(object_at(c, "errors"));
		time_ns += json_object_get_int64(object_at(c, "time_ns"));
	}
	CHECK(count == line_int(l, "total") && errors == line_int(l, "errors") &&
		      time_ns == line_int(l, "time_ns"),
	      "sums differ: %s", json_object_to_json_string(l->json));
	CHECK(time_ns > 0, "no time: %s", json_object_to_json_string(l->json));
}

/* ---- waits ---- */

static int64_t wait_sum(const struct stream *st, pid_t pid, const char *path)
{
	struct line *l;
	int64_t sum = 0;
	size_t i = 0;

	while ((l = stream_find(st, &i, pid, "system", "offcpu"))) {
		json_object *n = object_at(l->data, path);

		sum += n ? json_object_get_int64(n) : 0;
	}
	return sum;
}

/* Some virtual machines' kernels hide what happens on their agent's threads: switches away from them, too. */
#define UNTOLD_MAX 2

/* Nothing is lost but waits of whose end the kernel told nothing. Returns how many these are. */
static int64_t check_lossless(const struct stream *st)
{
	json_object *waits = NULL, *shed = NULL;
	int64_t untold;

	json_object_object_get_ex(object_at(st->stop, "streams"), "system.offcpu", &waits);
	json_object_object_get_ex(waits, "shed", &shed);
	untold = json_object_get_int64(shed);
	if (!untold || untold > UNTOLD_MAX || stop_count(st, "shed") != (uint64_t)untold)
		stream_check_lossless(st);
	else
		stream_check_whole(st);
	return untold;
}

/* The program sees a wait end when it runs again: what it waited in the run queue is in its times. */
static void check_waits(const char *what)
{
	int64_t runqueue_ns, untold, missing = 0;
	struct workload w;
	struct stream st;
	struct sight s;

	workload_hold(&w, "calls", what, NULL);
	sight_start(&s, "system", "--offcpu", "-p", live_printf("%d", w.pid), NULL);
	workload_finish(&w);
	sight_stop(&s);
	stream_load(&st, s.out);
	untold = check_lossless(&st);
	runqueue_ns = wait_sum(&st, w.pid, "runqueue_ns");
	json_object_object_foreach(told(&w), reason, row)
	{
		int64_t count = json_object_get_int64(object_at(row, "count"));
		int64_t real = json_object_get_int64(object_at(row, "time_ns"));
		int64_t seen = wait_sum(&st, w.pid, live_printf("reasons.%s.time_ns", reason));
		int64_t seen_count = wait_sum(&st, w.pid, live_printf("reasons.%s.count", reason));
		int64_t tolerance = real / 50 + count * 2000000 + 20000000;

		CHECK(seen_count <= count && seen_count >= count - untold,
		      "%s: %lld waits instead of %lld", reason, (long long)seen_count,
		      (long long)count);
		missing += count - seen_count;
		CHECK(seen <= real + tolerance, "%s: %lld ns instead of %lld", reason,
		      (long long)seen, (long long)real);
		CHECK(seen_count < count || seen >= real - tolerance - runqueue_ns,
		      "%s: %lld ns instead of %lld (run queues: %lld)", reason, (long long)seen,
		      (long long)real, (long long)runqueue_ns);
	}
	CHECK(missing <= untold, "%lld waits are missing, and %lld are told to be",
	      (long long)missing, (long long)untold);
}

static void waits(void)
{
	check_waits("wait");
}

static void waits_behind_exec(void)
{
	check_waits("exec-wait");
}

static double monotonic_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void open_waits(void)
{
	double begin, waited, most, seen;
	struct workload w;
	struct stream st;
	struct sight s;
	struct line *l;

	workload_hold(&w, "calls", "hang", NULL);
	sight_start(&s, "system", "--offcpu", "-p", live_printf("%d", w.pid), NULL);
	begin = monotonic_s();
	workload_release(&w);
	live_wait_text(w.out, "waiting", 1, 10);
	usleep(1000000); /* both threads are in poll() */
	waited = monotonic_s();
	usleep(1000000);
	waited = monotonic_s() - waited;
	sight_stop(&s);
	most = monotonic_s() - begin;
	kill(w.pid, SIGKILL);
	workload_wait(&w);

	stream_load(&st, s.out);
	check_lossless(&st);
	l = stream_only(&st, w.pid, "system", "offcpu");
	seen = wait_sum(&st, w.pid, "reasons.poll.time_ns") / 1e9;
	CHECK(seen >= 2 * waited && seen <= 2 * most, "%.3f s, not %.3f to %.3f", seen, 2 * waited,
	      2 * most);
	CHECK(json_object_array_length(object_at(l->data, "threads")) == 2, "not two threads: %s",
	      json_object_to_json_string(l->json));
}

/* ---- execs by threads ---- */

static int bpf_call(int cmd, union bpf_attr *attr)
{
	return syscall(SYS_bpf, cmd, attr, sizeof(*attr));
}

typedef bool is_wanted(uint64_t key, pid_t pid);

static size_t count_keys(int fd, is_wanted *wanted, pid_t pid)
{
	uint64_t key = 0, last = 0;
	size_t n = 0;

	for (;; last = key) {
		union bpf_attr attr = {.map_fd = fd,
				       .key = last ? (uintptr_t)&last : 0,
				       .next_key = (uintptr_t)&key};

		if (bpf_call(BPF_MAP_GET_NEXT_KEY, &attr) < 0)
			return n;
		n += wanted(key, pid);
	}
}

/* In all maps of this name, since others may be recording as well. */
static size_t count_entries(const char *map, is_wanted *wanted, pid_t pid)
{
	union bpf_attr next = {};
	size_t n = 0;

	for (; bpf_call(BPF_MAP_GET_NEXT_ID, &next) == 0; next.start_id = next.next_id) {
		struct bpf_map_info info = {};
		union bpf_attr get = {.map_id = next.next_id};
		int fd = bpf_call(BPF_MAP_GET_FD_BY_ID, &get);
		union bpf_attr ask = {
			.info = {.bpf_fd = fd, .info_len = sizeof(info), .info = (uintptr_t)&info}};

		if (fd < 0)
			continue;
		if (bpf_call(BPF_OBJ_GET_INFO_BY_FD, &ask) == 0 && !strcmp(info.name, map))
			n += count_keys(fd, wanted, pid);
		close(fd);
	}
	return n;
}

/* What bpf_get_current_pid_tgid() said. */
static bool is_of_process(uint64_t key, pid_t pid)
{
	return key >> 32 == (uint64_t)pid;
}

/* The number of a thread that is no more. */
static bool is_of_nobody(uint64_t key, pid_t pid)
{
	return kill(key, 0) < 0 && errno == ESRCH;
}

static bool ended_are_forgotten(void *context)
{
	return count_entries("wait_threads", is_of_nobody, 0) == 0;
}

/* A thread that execs becomes the process's first one: what was known under its own number is known no more. */
static void execs_by_threads(void)
{
	struct workload w;
	struct stream st;
	struct sight s;
	size_t n;

	workload_hold(&w, "calls", "execs", "20", NULL);
	sight_start(&s, "system", "--syscalls", "--offcpu", "-p", live_printf("%d", w.pid), NULL);
	workload_release(&w);
	live_wait_text(w.out, "execve", 1, 30);
	n = count_entries("call_threads", is_of_process, w.pid);
	live_wait("the threads that are no more are forgotten", ended_are_forgotten, NULL, 10);
	kill(w.pid, SIGKILL);
	workload_wait(&w);
	sight_stop(&s);
	CHECK(n == 1, "%zu threads are remembered, of one", n);
	stream_load(&st, s.out);
	check_lossless(&st);
	json_object_object_foreach(told(&w), name, row) check_call(&st, w.pid, name, row);
}

/* ---- both ---- */

/* Returns how many waits are untold. */
static int64_t count_calls(struct workload *w, struct stream *st, const char *pause_ms)
{
	struct sight s;
	struct line *l;
	int64_t untold;
	size_t i = 0;

	workload_hold(w, "calls", "count", pause_ms, NULL);
	sight_start(&s, "system", "--syscalls", "--offcpu", "-p", live_printf("%d", w->pid), NULL);
	workload_finish(w);
	sight_stop(&s);
	stream_load(st, s.out);
	untold = check_lossless(st);
	json_object_object_foreach(told(w), name, row) check_call(st, w->pid, name, row);
	while ((l = stream_find(st, &i, w->pid, "system", "syscalls")))
		check_totals(l);
	return untold;
}

static void counts(void)
{
	struct workload w;
	struct stream st;

	count_calls(&w, &st, "0");
	stream_only(&st, w.pid, "system", "syscalls");
}

/* A wait that goes on at the interval is told in two parts, and counted once. */
static void counts_in_parts(void)
{
	struct workload w;
	struct stream st;
	int64_t ns, untold = count_calls(&w, &st, "11500");

	CHECK(stream_count(&st, "system", "syscalls") >= 2, "no event at the interval");
	CHECK(stream_count(&st, "system", "offcpu") >= 2, "no event at the interval");
	ns = wait_sum(&st, w.pid, "reasons.sleep.time_ns");
	CHECK(untold || (ns >= 11499000000 && ns <= 15000000000), "it slept %lld ns",
	      (long long)ns);
	CHECK(untold || wait_sum(&st, w.pid, "reasons.sleep.count") == 1, "not one sleep");
}

const struct live_test calls_tests[] = {
	{"system_calls_and_their_errors_are_counted_exactly", counts, 60},
	{"execs_by_threads_are_counted_and_their_threads_forgotten", execs_by_threads, 60},
	{"sums_of_system_calls_are_exact_over_several_events", counts_in_parts, 90},
	{"waits_are_told_by_reason_as_often_and_as_long_as_they_were", waits, 60},
	{"waits_of_a_program_that_a_thread_has_execd_are_told", waits_behind_exec, 60},
	{"a_wait_that_goes_on_at_the_end_is_told_as_far_as_it_came", open_waits, 60},
	{},
};
