/* SPDX-License-Identifier: MIT */
/*
 * The machine changes under a recording: its clock is set, a processor goes and comes back, it sleeps. That is done in a
 * guest alone which says that it may be done, see `make check-vm`.
 */
#include "live.h"

#include <errno.h>
#include <glob.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECOND    1000000000LL
#define INTERVAL  "0.2"        /* of samples */
#define SAMPLES_S 5            /* a second, therefore */
#define LAG       (6 * SECOND) /* a step is noticed within a second, in a guest that is in no hurry */
#define SLEEP_S   "20"         /* on a busy machine it takes seconds to fall asleep */
#define PARTY_MAX 10

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80 /* Linux 5.6 */
#endif

static void ours_alone(void)
{
	if (!getenv("AGENTSIGHT_SHAKE"))
		live_skip("only in a guest that may be shaken");
}

static int64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * SECOND + ts.tv_nsec;
}

static int64_t wall_offset(void)
{
	return clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_BOOTTIME);
}

static bool try_put(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");
	bool done = f && fputs(text, f) >= 0;

	return f && !fclose(f) && done;
}

/* ---- programs that are started while it happens, and one that is there from the beginning to the end ---- */

struct party {
	struct workload w[PARTY_MAX];
	bool ended[PARTY_MAX];
	size_t n;
	struct sight s;
	int64_t begin_ns, end_ns; /* CLOCK_BOOTTIME */
	int64_t slept_ns;
};

static void party_hold(struct party *p, size_t n, const char *commands)
{
	char *pids = NULL;

	*p = (struct party){.n = n};
	for (size_t i = 0; i < n; i++) {
		workload_hold(&p->w[i], "spawn", "-n", commands, NULL);
		pids = pids ? live_printf("%s,%d", pids, p->w[i].pid)
			    : live_printf("%d", p->w[i].pid);
	}
	p->begin_ns = clock_ns(CLOCK_BOOTTIME);
	sight_start(&p->s, "trace", "--process", "--system", "--interval", INTERVAL, "-p", pids,
		    NULL);
}

static void party_end(struct party *p)
{
	workload_finish(&p->w[p->n - 1]);
	sight_stop(&p->s);
	p->end_ns = clock_ns(CLOCK_BOOTTIME);
}

/* Of who is there all the time, as many samples as there was time for: after a sleep they are not made up for. */
static void check_samples(const struct party *p, const struct stream *st)
{
	int64_t awake_ns = p->end_ns - p->begin_ns - p->slept_ns;
	int64_t most = awake_ns * SAMPLES_S / SECOND + 5, n = 0;
	long cpus = sysconf(_SC_NPROCESSORS_CONF);
	struct line *l;

	for (size_t i = 0;
	     (l = stream_find(st, &i, p->w[p->n - 1].pid, "system", "system_metrics"));) {
		double percent = strtod(line_str(l, "cpu.percent"), NULL);
		int64_t interval_ns = line_int(l, "interval_ns");

		n++;
		CHECK(interval_ns >= 0 && interval_ns <= p->end_ns - p->begin_ns, "%s",
		      json_object_to_json_string(l->json));
		/* of a child that has ended all is told at once, whenever it was used */
		CHECK(percent >= 0 &&
			      percent / 100 * (double)interval_ns <= (double)(awake_ns * cpus),
		      "%s", json_object_to_json_string(l->json));
	}
	CHECK(n >= most / 10 && n <= most, "%lld samples in %lld ms", (long long)n,
	      (long long)awake_ns / 1000000);
}

/* No process began before it did, or lived longer than all of this took. */
static void check_lives(const struct party *p, const struct stream *st)
{
	int64_t all_ns = p->end_ns - p->begin_ns + 60 * SECOND; /* they were held before */
	struct line *l;

	for (size_t i = 0; (l = stream_find(st, &i, 0, "process", "exit"));)
		CHECK(line_int(l, "duration_ns") > 0 && line_int(l, "duration_ns") < all_ns, "%s",
		      json_object_to_json_string(l->json));
	CHECK((int64_t)stop_count(st, "duration_ns") <= p->end_ns - p->begin_ns &&
		      (int64_t)stop_count(st, "duration_ns") >= p->slept_ns,
	      "%s", json_object_to_json_string(st->stop));
}

static void expect_with_own(struct expected *x, const struct workload *w)
{
	expected_add(x, "{\"source\":\"process\",\"pid\":%d,\"data\":{\"type\":\"exec\"}}", w->pid);
	expected_load(x, w->out);
	expected_add(
		x,
		"{\"source\":\"process\",\"pid\":%d,\"data\":{\"type\":\"exit\",\"exit_code\":0}}",
		w->pid);
}

static void party_check(const struct party *p, struct stream *st)
{
	struct expected x = {};

	for (size_t i = 0; i < p->n; i++)
		expect_with_own(&x, &p->w[i]);
	stream_check_lossless(st);
	stream_match(st, &x, "process.exec process.exit");
	check_samples(p, st);
	check_lives(p, st);
}

/* ---- the clock ---- */

static const int64_t steps_s[] = {3 * 3600, -5 * 3600, 26 * 3600, -30 * 3600};
#define N_STEPS (sizeof(steps_s) / sizeof(steps_s[0]))

/* What the wall clock was ahead of CLOCK_BOOTTIME, and since when. */
struct wall {
	int64_t offset_ns, since_ns;
	size_t lines;
};

static struct wall wall_now(void)
{
	return (struct wall){wall_offset(), clock_ns(CLOCK_BOOTTIME), 0};
}

static struct wall wall_step(int64_t by_s)
{
	int64_t to_ns = clock_ns(CLOCK_REALTIME) + by_s * SECOND;
	struct timespec to = {to_ns / SECOND, to_ns % SECOND};

	CHECK(!clock_settime(CLOCK_REALTIME, &to), "cannot set the clock: %s", strerror(errno));
	return wall_now();
}

/*
 * Which of them a line was stamped with: they lie hours apart, the recording took a minute. One that holds, held a
 * moment ago, or will in a moment: the line may have waited in the ring.
 */
static struct wall *wall_of(const struct party *p, struct wall *walls, const struct line *l)
{
	for (size_t i = 0; i <= N_STEPS; i++) {
		int64_t boot_ns = (int64_t)l->timestamp - walls[i].offset_ns;
		int64_t until_ns = i < N_STEPS ? walls[i + 1].since_ns : p->end_ns;

		if (boot_ns < p->begin_ns - 60 * SECOND || boot_ns > p->end_ns + 60 * SECOND)
			continue;
		CHECK(boot_ns >= walls[i].since_ns - LAG && boot_ns <= until_ns + LAG,
		      "stamped with clock %zu: %s", i, json_object_to_json_string(l->json));
		return &walls[i];
	}
	live_fail("a time that never was: %s", json_object_to_json_string(l->json));
}

static void clock_steps(void)
{
	struct wall walls[N_STEPS + 1];
	struct stream st;
	struct party p;

	ours_alone();
	walls[0] = wall_now();
	party_hold(&p, N_STEPS + 1, "40");
	for (size_t i = 0; i < N_STEPS; i++) {
		workload_release(&p.w[i]);
		usleep(50000);
		walls[i + 1] = wall_step(steps_s[i]);
		workload_wait(&p.w[i]);
		CHECK(!p.w[i].status, "the workload failed with status %#x", p.w[i].status);
		sleep(3);
	}
	party_end(&p);
	stream_load(&st, p.s.out);
	for (size_t i = 0; i < st.n; i++) {
		struct wall *w = wall_of(&p, walls, &st.lines[i]);

		w->lines++;
		st.lines[i].timestamp -= (uint64_t)w->offset_ns;
	}
	for (size_t i = 0; i <= N_STEPS; i++)
		CHECK(walls[i].lines, "nothing was stamped with clock %zu", i);
	party_check(&p, &st);
}

/* ---- a clock of one's own ---- */

/* Whoever restores a container gives it the time since boot that it had elsewhere; the kernel's events do not know. */
static void time_namespace(void)
{
	struct workload w;
	struct expected x = {};
	struct stream st;
	struct sight s;

	if (unshare(CLONE_NEWTIME) || !try_put("/proc/self/timens_offsets", "boottime 1000000 0\n"))
		live_skip("no time namespaces here: %s", strerror(errno));
	workload_hold(&w, "spawn", "-n", "40", NULL);
	sight_start(&s, "trace", "--process", "--system", "--interval", INTERVAL, "-p",
		    live_printf("%d", w.pid), NULL);
	sleep(2);
	workload_finish(&w);
	sight_stop(&s);
	stream_load(&st, s.out);
	stream_check_lossless(&st);
	CHECK(!stop_count(&st, "late"), "out of order: %s", json_object_to_json_string(st.stop));
	for (size_t i = 0; i < st.n; i++)
		CHECK(llabs((int64_t)st.lines[i].timestamp - clock_ns(CLOCK_REALTIME)) <
			      600 * SECOND,
		      "at another time: %s", json_object_to_json_string(st.lines[i].json));
	CHECK(stream_count(&st, "system", "system_metrics") > 2, "too few samples");
	expect_with_own(&x, &w);
	stream_match(&st, &x, "process.exec process.exit");
}

/* ---- a processor ---- */

#define CPU1 "/sys/devices/system/cpu/cpu1/online"

static void cpu1_switch(bool on)
{
	CHECK(try_put(CPU1, on ? "1" : "0"), "cannot switch processor 1 %s: %s", on ? "on" : "off",
	      strerror(errno));
}

static void cpu1_needed(void)
{
	ours_alone();
	if (access(CPU1, W_OK) < 0)
		live_skip("there is no second processor");
}

/* Fails while the processor is off; then it runs elsewhere. */
static void cpu1_prefer(pid_t pid)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(1, &set);
	sched_setaffinity(pid, sizeof(set), &set);
}

static bool all_ended(struct party *p)
{
	bool all = true;

	for (size_t i = 0; i < p->n - 1; i++) {
		struct workload *w = &p->w[i];

		if (!p->ended[i])
			p->ended[i] = waitpid(w->pid, &w->status, WNOHANG) == w->pid;
		all &= p->ended[i];
	}
	return all;
}

/* Half of them begin on the processor that goes and comes until all have ended. */
static void cpu_storm(bool on_at_first)
{
	struct stream st;
	struct party p;
	bool on = on_at_first;
	int switched = 0;

	cpu1_needed();
	cpu1_switch(on);
	party_hold(&p, PARTY_MAX, "60");
	cpu1_switch(true);
	for (size_t i = 0; i < p.n - 1; i++) {
		if (i % 2)
			cpu1_prefer(p.w[i].pid);
		workload_release(&p.w[i]);
	}
	for (on = true; !all_ended(&p) || switched < 4; switched++) {
		usleep(300000);
		on = !on;
		cpu1_switch(on);
	}
	cpu1_switch(true);
	for (size_t i = 0; i < p.n - 1; i++)
		CHECK(!p.w[i].status, "the workload failed with status %#x", p.w[i].status);
	cpu1_prefer(p.w[p.n - 1].pid);
	party_end(&p);
	stream_load(&st, p.s.out);
	party_check(&p, &st);
}

static void cpu_goes(void)
{
	cpu_storm(true);
}

static void cpu_comes(void)
{
	cpu_storm(false);
}

/* ---- a library that nobody has seen, loaded on a processor that came later ---- */

static char *library_copy(void)
{
	char *dir = live_printf("%s/lib", live_dir()), *copy;
	glob_t found = {};

	glob("/lib/x86_64-linux-gnu/libssl.so.3", 0, NULL, &found);
	glob("/usr/lib/x86_64-linux-gnu/libssl.so.3", GLOB_APPEND, NULL, &found);
	if (!found.gl_pathc)
		live_skip("there is no libssl.so.3");
	copy = live_printf("mkdir -p '%s' && cp '%s' '%s'", dir, found.gl_pathv[0], dir);
	CHECK(!system(copy), "%s failed", copy);
	globfree(&found);
	return dir;
}

static void cpu_library(void)
{
	char *dir = library_copy(), *tls = workload_path("tls");
	struct workload w;
	struct stream st;
	struct sight s;
	int line[2];

	cpu1_needed();
	cpu1_switch(false);
	CHECK(!pipe(line), "pipe: %s", strerror(errno));
	workload_hold(&w, "/bin/sh", "-c",
		      live_printf("LD_LIBRARY_PATH=%s exec %s ex 2 100 --no-sum --wait <&%d", dir,
				  tls, line[0]),
		      NULL);
	sight_start(&s, "trace", "--ssl", "-p", live_printf("%d", w.pid), NULL);
	cpu1_switch(true);
	sleep(3); /* until it is noticed, which is done once a second */
	cpu1_prefer(w.pid);
	workload_release(&w);
	live_wait_text(s.out, "/lib/libssl.so.3", 1, 3);
	CHECK(write(line[1], "\n", 1) == 1, "the workload is gone");
	workload_wait(&w);
	CHECK(w.status == 0, "the workload failed with status %#x", w.status);
	sight_stop(&s);
	stream_load(&st, s.out);
	stream_check_lossless(&st);
	CHECK(stream_count(&st, "ssl", "data"), "no plaintext");
}

/* ---- sleep ---- */

#define ALARM "/sys/class/rtc/rtc0/wakealarm"

/* To memory, until the alarm; how long that took. */
static int64_t machine_sleep(void)
{
	int64_t before_ns = clock_ns(CLOCK_BOOTTIME) - clock_ns(CLOCK_MONOTONIC);

	try_put(ALARM, "0");
	if (!try_put(ALARM, "+" SLEEP_S))
		live_skip("there is no alarm: %s", strerror(errno));
	if (!try_put("/sys/power/state", "mem"))
		live_skip("this kernel does not sleep: %s", strerror(errno));
	return clock_ns(CLOCK_BOOTTIME) - clock_ns(CLOCK_MONOTONIC) - before_ns;
}

static void sleeps(void)
{
	struct stream st;
	struct party p;
	struct line *l;

	ours_alone();
	party_hold(&p, 4, "60");
	workload_finish(&p.w[0]);
	workload_release(&p.w[1]);
	usleep(200000);
	p.slept_ns = machine_sleep();
	CHECK(p.slept_ns > SECOND, "it slept for %lld ms", (long long)p.slept_ns / 1000000);
	workload_wait(&p.w[1]);
	CHECK(!p.w[1].status, "the workload failed with status %#x", p.w[1].status);
	sleep(2);
	workload_finish(&p.w[2]);
	party_end(&p);

	stream_load(&st, p.s.out);
	party_check(&p, &st);
	l = stream_only(&st, p.w[3].pid, "process", "exit");
	CHECK(line_int(l, "duration_ns") > p.slept_ns, "it was there while the machine slept: %s",
	      json_object_to_json_string(l->json));
	CHECK(llabs((int64_t)l->timestamp - wall_offset() - p.end_ns) < 60 * SECOND,
	      "at another time: %s", json_object_to_json_string(l->json));
}

const struct live_test clock_tests[] = {
	{"a_clock_that_is_set_by_hours_takes_no_event_with_it", clock_steps, 120},
	{"time_since_boot_of_a_namespace_is_not_taken_for_the_kernels", time_namespace, 60},
	{"a_processor_that_goes_and_comes_back_takes_no_event_with_it", cpu_goes, 120},
	{"a_processor_that_comes_later_is_watched", cpu_comes, 120},
	{"a_library_loaded_on_a_processor_that_came_later_is_probed", cpu_library, 120},
	{"a_machine_that_slept_goes_on_telling", sleeps, 120},
	{},
};
