/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "stats/stats.h"

#define T0 (1700000000ULL * NSEC_PER_SEC)

static struct stats *new_stats(void)
{
	struct stats *s = NULL;

	assert_int_equal(stats_new(&s), 0);
	return s;
}

static struct stats_sample row(enum stats_scope scope, uint32_t pid, const char *comm,
			       uint64_t at_ms, uint64_t interval_ms)
{
	return (struct stats_sample){
		.scope = scope,
		.pid = pid,
		.start = pid,
		.comm = comm,
		.comm_len = strlen(comm),
		.unix_ns = T0 + at_ms * NSEC_PER_MSEC,
		.interval_ns = interval_ms * NSEC_PER_MSEC,
	};
}

static void set(struct stats_sample *x, enum stats_gauge g, uint64_t value)
{
	x->gauges[g] = value;
	x->gauges_known |= 1U << g;
}

static void count(struct stats_sample *x, enum stats_counter c, uint64_t value)
{
	x->counters[c] = value;
	x->counters_known |= 1U << c;
}

/*
 * 90 % for 2 s, 10 % for 6 s, in turn: 30 %. Samples are ten times as close while it is busy, as an adaptive
 * pace makes them: counted alike they would give 80 %.
 */
static void the_mean_of_a_square_wave_is_right_at_unequal_intervals(void **state)
{
	static const uint64_t intervals[] = {10, 300, 50, 1000, 20, 700, 90};
	struct stats *s = new_stats();
	uint64_t now = 0, i = 0, mean;

	while (now < 800000) {
		uint64_t period = now / 8000 * 8000;
		uint64_t edge = now < period + 2000 ? period + 2000 : period + 8000;
		uint64_t step = intervals[i++ % 7] / (now < period + 2000 ? 10 : 1);
		uint64_t next = MIN(now + step, edge);
		struct stats_sample x = row(STATS_TREE, 1, "wave", next, next - now);

		set(&x, GAUGE_CPU, now < period + 2000 ? 9000 : 1000);
		stats_sample(s, &x);
		now = next;
	}
	mean = stats_mean(&s->tree.values[GAUGE_CPU]);
	assert_in_range(mean, 2970, 3030);
	assert_int_equal(s->tree.values[GAUGE_CPU].min, 1000);
	assert_int_equal(s->tree.values[GAUGE_CPU].max, 9000);
	assert_in_range(stats_quantile(&s->tree.values[GAUGE_CPU], 500), 990, 1010);
	assert_in_range(stats_quantile(&s->tree.values[GAUGE_CPU], 950), 8910, 9000);
	assert_int_equal(s->tree.interval_min_ns, NSEC_PER_MSEC);
	assert_int_equal(s->tree.interval_max_ns, 1000 * NSEC_PER_MSEC);
	stats_free(s);
}

static void a_process_from_before_counts_from_its_first_sample(void **state)
{
	struct stats *s = new_stats();
	struct stats_sample x = row(STATS_PROCESS, 7, "old", 0, 100);

	count(&x, COUNTER_CPU, 1000000);
	stats_sample(s, &x);
	x.unix_ns += NSEC_PER_SEC;
	count(&x, COUNTER_CPU, 1500000);
	stats_sample(s, &x);
	assert_int_equal(s->processes[0].total[COUNTER_CPU], 500000);
	assert_int_equal(s->tree.total[COUNTER_CPU], 500000);
	stats_free(s);
}

static void a_process_that_began_inside_counts_from_zero(void **state)
{
	struct stats *s = new_stats();
	struct stats_sample x = row(STATS_PROCESS, 7, "old", 0, 100);

	stats_sample(s, &x);
	stats_started(s, 0, 1000, T0 - 1000);
	x = row(STATS_PROCESS, 8, "new", 1000, 100);
	x.start = 1000 + 2 * NSEC_PER_SEC;
	count(&x, COUNTER_READ, 4096);
	stats_sample(s, &x);
	assert_int_equal(s->n_processes, 2);
	assert_int_equal(s->processes[1].total[COUNTER_READ], 4096);
	stats_free(s);
}

/*
 * The `start` line is told before the first pass over the processes, and without the start of any of
 * them the boot clock is not known: who is in the first pass is older, who is not has begun since.
 */
static void without_a_clock_only_who_missed_the_first_pass_began_inside(void **state)
{
	struct stats *s = new_stats();
	struct stats_sample x = row(STATS_PROCESS, 7, "old", 150, 50);
	struct stats_sample tree = row(STATS_TREE, 7, "old", 150, 0);

	stats_span(s, T0, 0);
	count(&x, COUNTER_CPU, 3600 * NSEC_PER_SEC);
	stats_sample(s, &x);
	count(&tree, COUNTER_CPU, 3600 * NSEC_PER_SEC);
	stats_sample(s, &tree);
	x = row(STATS_PROCESS, 8, "old", 150, 50);
	count(&x, COUNTER_CPU, 1800 * NSEC_PER_SEC);
	stats_sample(s, &x);
	x = row(STATS_PROCESS, 9, "new", 250, 100);
	count(&x, COUNTER_CPU, 77);
	stats_sample(s, &x);
	assert_int_equal(s->processes[0].total[COUNTER_CPU], 0);
	assert_int_equal(s->processes[1].total[COUNTER_CPU], 0);
	assert_int_equal(s->processes[2].total[COUNTER_CPU], 77);
	assert_int_equal(s->tree.total[COUNTER_CPU], 0);
	stats_free(s);
}

static void the_end_of_a_process_completes_its_sums(void **state)
{
	struct stats *s = new_stats();
	struct stats_sample x = row(STATS_PROCESS, 7, "cc1", 100, 100);
	struct stats_exit e = {
		.pid = 7,
		.start = 7,
		.comm = "cc1",
		.comm_len = 3,
		.unix_ns = T0 + 150 * NSEC_PER_MSEC,
		.duration_ns = 120 * NSEC_PER_MSEC,
		.peak_rss_kb = 9000,
		.exit_code = 1,
		.counters_known = 1U << COUNTER_CPU,
	};

	count(&x, COUNTER_CPU, 0);
	set(&x, GAUGE_RSS, 5000);
	stats_sample(s, &x);
	e.counters[COUNTER_CPU] = 77;
	stats_exit(s, &e);
	assert_int_equal(s->processes[0].total[COUNTER_CPU], 77);
	assert_int_equal(s->processes[0].peak_rss_kb, 9000);
	assert_int_equal(s->failed, 1);
	assert_int_equal(s->groups[0].total[COUNTER_CPU], 77);
	stats_free(s);
}

/* An hour of CPU time before the recording, none in it. */
static void end_of_old(struct stats *s, uint64_t at_ms)
{
	struct stats_exit e = {
		.pid = 7,
		.start = 7,
		.comm = "old",
		.comm_len = 3,
		.unix_ns = T0 + at_ms * NSEC_PER_MSEC,
		.duration_ns = 7200 * NSEC_PER_SEC,
		.counters_known = 1U << COUNTER_CPU | 1U << COUNTER_READ | 1U << COUNTER_RCHAR,
	};

	e.counters[COUNTER_CPU] = 3600 * NSEC_PER_SEC;
	e.counters[COUNTER_READ] = 8192;
	e.counters[COUNTER_RCHAR] = 1 << 20;
	stats_exit(s, &e);
}

static void the_end_adds_no_sum_that_the_samples_of_an_older_process_did_not_tell(void **state)
{
	struct stats *s = new_stats();
	struct stats_sample x = row(STATS_PROCESS, 7, "old", 1000, 1000);

	stats_span(s, T0, 0);
	set(&x, GAUGE_CPU, 5000);
	count(&x, COUNTER_READ, 4096);
	stats_sample(s, &x);
	end_of_old(s, 2000);
	/* half a core for a second, as the sample says; of read calls nothing is known */
	assert_int_equal(s->processes[0].total[COUNTER_CPU], NSEC_PER_SEC / 2);
	assert_int_equal(s->processes[0].total[COUNTER_READ], 4096);
	assert_false(s->processes[0].counters_known & 1U << COUNTER_RCHAR);
	assert_int_equal(s->tree.total[COUNTER_CPU], NSEC_PER_SEC / 2);
	assert_int_equal(s->groups[0].total[COUNTER_RCHAR], 0);
	stats_free(s);
}

/* As when two recordings are read, of which only the second has all details. */
static void a_sum_that_is_told_late_counts_from_then_on(void **state)
{
	struct stats *s = new_stats();
	struct stats_sample x = row(STATS_PROCESS, 7, "old", 1000, 1000);

	stats_span(s, T0, 0);
	set(&x, GAUGE_CPU, 5000);
	stats_sample(s, &x);
	x = row(STATS_PROCESS, 7, "old", 2000, 1000);
	count(&x, COUNTER_CPU, 3600 * NSEC_PER_SEC - 5);
	count(&x, COUNTER_RCHAR, 1 << 19);
	stats_sample(s, &x);
	end_of_old(s, 3000);
	assert_int_equal(s->processes[0].total[COUNTER_CPU], NSEC_PER_SEC / 2 + 5);
	assert_int_equal(s->processes[0].total[COUNTER_RCHAR], 1 << 19);
	stats_free(s);
}

/* A sum that is zero is left out of a row with all details. */
static void what_a_detailed_row_leaves_out_was_zero(void **state)
{
	struct stats *s = new_stats();
	struct stats_sample x = row(STATS_PROCESS, 7, "old", 1000, 1000);

	stats_span(s, T0, 0);
	count(&x, COUNTER_CPU, 3600 * NSEC_PER_SEC - 5);
	stats_sample(s, &x);
	end_of_old(s, 2000);
	assert_int_equal(s->processes[0].total[COUNTER_CPU], 5);
	assert_int_equal(s->processes[0].total[COUNTER_RCHAR], 1 << 20);
	stats_free(s);
}

static void the_end_of_an_old_process_that_was_never_sampled_counts_nothing(void **state)
{
	struct stats *s = new_stats();

	/* nothing else is told before: a part of a rotated recording */
	end_of_old(s, 2000);
	assert_int_equal(s->processes[0].total[COUNTER_CPU], 0);
	assert_int_equal(s->tree.total[COUNTER_CPU], 0);
	stats_free(s);
}

static void exit_of(struct stats *s, uint32_t pid, uint64_t cpu_ns, const char *comm)
{
	struct stats_exit e = {
		.pid = pid,
		.start = 1000 + pid,
		.comm = comm,
		.comm_len = strlen(comm),
		.unix_ns = T0 + 1000 + pid,
		.duration_ns = 10,
		.counters_known = 1U << COUNTER_CPU,
	};

	e.counters[COUNTER_CPU] = cpu_ns;
	stats_exit(s, &e);
}

static void the_largest_of_very_many_stay_and_nothing_is_lost(void **state)
{
	const struct stats_process *largest[10];
	struct stats *s = new_stats();
	uint64_t want = 0, sum = 0;
	const uint32_t n = 50000;

	stats_span(s, T0, 0);
	for (uint32_t i = 1; i <= n; i++) {
		uint64_t cpu = i * 7919ULL % 1000003;

		exit_of(s, i, cpu, i % 3 ? "sh" : "cc1");
		want += cpu;
	}
	exit_of(s, n + 1, 1ULL << 40, "big");
	want += 1ULL << 40;
	assert_int_equal(s->processes_seen, n + 1);
	assert_true(s->n_processes <= STATS_PROCESSES);
	assert_int_equal(s->others.processes + s->n_processes, n + 1);
	assert_false(s->others_approximate);
	for (size_t i = 0; i < s->n_processes; i++)
		sum += s->processes[i].total[COUNTER_CPU];
	assert_int_equal(sum + s->others.total[COUNTER_CPU], want);
	assert_int_equal(s->tree.total[COUNTER_CPU], want);
	assert_int_equal(s->groups[0].total[COUNTER_CPU] + s->groups[1].total[COUNTER_CPU] +
				 s->groups[2].total[COUNTER_CPU],
			 want);
	assert_int_equal(stats_largest(s, largest, 10), 10);
	assert_int_equal(largest[0]->total[COUNTER_CPU], 1ULL << 40);
	assert_true(largest[9]->total[COUNTER_CPU] > 990000);
	stats_free(s);
}

/* More living processes than are told apart: those that made room are summed, each once. */
static void living_processes_that_made_room_are_counted_once(void **state)
{
	struct stats *s = new_stats();
	const uint32_t n = 6000;
	uint64_t sum = 0;

	for (uint64_t pass = 0; pass < 4; pass++) {
		for (uint32_t i = 1; i <= n; i++) {
			struct stats_sample x = row(STATS_PROCESS, i, "idle", pass * 1000, 1000);

			count(&x, COUNTER_CPU, pass * i);
			set(&x, GAUGE_RSS, 100);
			stats_sample(s, &x);
		}
	}
	stats_finish(s);
	for (size_t i = 0; i < s->n_processes; i++)
		sum += s->processes[i].total[COUNTER_CPU];
	assert_int_equal(s->processes_seen, n);
	assert_int_equal(s->others.processes + s->n_processes, n);
	assert_int_equal(sum + s->others.total[COUNTER_CPU], 3ULL * n * (n + 1) / 2);
	assert_false(s->others_approximate);
	stats_free(s);
}

/* So many others with more memory that pid 7 makes room; all of them are idle. */
static void crowd(struct stats *s, uint64_t at_ms)
{
	for (uint32_t i = 1000; i < 1000 + STATS_PROCESSES; i++) {
		struct stats_sample x = row(STATS_PROCESS, i, "idle", at_ms, 1000);

		set(&x, GAUGE_RSS, 100000);
		stats_sample(s, &x);
	}
}

/* @cpu_ms: so far. */
static struct stats_sample worker(uint64_t at_ms, uint64_t cpu_ms, uint64_t rss_kb)
{
	struct stats_sample x = row(STATS_PROCESS, 7, "worker", at_ms, 1000);

	count(&x, COUNTER_CPU, cpu_ms * NSEC_PER_MSEC);
	set(&x, GAUGE_RSS, rss_kb);
	return x;
}

static const struct stats_process *find(const struct stats *s, uint32_t pid)
{
	for (size_t i = 0; i < s->n_processes; i++) {
		if (s->processes[i].pid == pid)
			return &s->processes[i];
	}
	return NULL;
}

static void who_is_told_apart_again_keeps_what_was_before(void **state)
{
	struct stats *s = new_stats();
	const struct stats_process *p;
	struct stats_sample x = worker(2000, 0, 9000);

	count(&x, COUNTER_READ, 4096);
	stats_sample(s, &x);
	crowd(s, 2000);
	assert_null(find(s, 7));
	x = worker(3000, 1, 9500);
	stats_sample(s, &x);
	assert_null(find(s, 7));
	x = worker(4000, 900, 500);
	x.scope = STATS_TREE;
	stats_sample(s, &x);
	x.scope = STATS_PROCESS;
	stats_sample(s, &x);
	p = find(s, 7);
	assert_non_null(p);
	assert_int_equal(p->first_ns, T0 + NSEC_PER_SEC);
	assert_int_equal(p->last_ns, T0 + 4 * NSEC_PER_SEC);
	assert_int_equal(p->samples, 3);
	assert_int_equal(p->peak_rss_kb, 9500);
	assert_int_equal(p->counters_known, 1U << COUNTER_CPU | 1U << COUNTER_READ);
	assert_int_equal(p->total[COUNTER_CPU], 900 * NSEC_PER_MSEC);
	assert_true(p->root);
	stats_free(s);
}

static void the_end_of_one_that_made_room_adds_no_sum_that_was_not_told_before(void **state)
{
	struct stats *s = new_stats();
	struct stats_sample x = row(STATS_PROCESS, 7, "old", 1000, 1000);

	stats_span(s, T0, 0);
	count(&x, COUNTER_READ, 4096);
	stats_sample(s, &x);
	crowd(s, 1000);
	assert_null(find(s, 7));
	end_of_old(s, 2000);
	assert_int_equal(s->others.exits, 1);
	assert_int_equal(s->others.total[COUNTER_READ], 4096);
	assert_int_equal(s->others.total[COUNTER_CPU], 0);
	assert_int_equal(s->tree.total[COUNTER_CPU], 0);
	stats_free(s);
}

static void without_rows_of_the_tree_processes_are_added_up(void **state)
{
	struct stats *s = new_stats();

	for (uint64_t pass = 1; pass <= 10; pass++) {
		for (uint32_t pid = 1; pid <= 3; pid++) {
			struct stats_sample x =
				row(STATS_PROCESS, pid, "p", pass * 1000 + pid, 1000);

			set(&x, GAUGE_RSS, 1000 * pid);
			set(&x, GAUGE_CPU, 5000);
			stats_sample(s, &x);
		}
	}
	stats_finish(s);
	assert_false(s->has_tree);
	assert_int_equal(s->tree.samples, 10);
	assert_int_equal(stats_mean(&s->tree.values[GAUGE_RSS]), 6000);
	assert_int_equal(s->tree.values[GAUGE_CPU].max, 15000);
	assert_int_equal(s->tree.values[GAUGE_PROCESSES].max, 3);
	/* the percentage over the interval is CPU time: three times half a second in each pass */
	assert_int_equal(s->tree.total[COUNTER_CPU], 15 * NSEC_PER_SEC);
	stats_free(s);
}

/* One reads 10 MB/s and grows, the other one is idle. The last sample is still open. */
static struct stats *two_trees(uint64_t samples)
{
	struct stats *s = new_stats();

	for (uint64_t i = 0; i <= samples; i++) {
		for (uint32_t pid = 1; pid <= 2; pid++) {
			struct stats_sample x = row(STATS_TREE, pid, "p", i * 100, i ? 100 : 0);

			set(&x, GAUGE_RSS, pid == 1 ? 1000 + 100 * i : 500);
			set(&x, GAUGE_CPU, (i + pid) % 2 ? 5000 : 0);
			set(&x, GAUGE_PROCESSES, 1);
			count(&x, COUNTER_READ, pid == 1 ? i * 1000000 : 7);
			stats_sample(s, &x);
		}
	}
	return s;
}

static void two_trees_at_once_are_added_up(void **state)
{
	struct stats *s = two_trees(20);
	const struct stats_value *v = s->tree.values;

	assert_int_equal(s->tree.total[COUNTER_READ], 20 * 1000000);
	assert_int_equal(s->tree.samples, 20);
	assert_int_equal(v[GAUGE_RSS].min, 1500);
	assert_int_equal(v[GAUGE_RSS].max, 3400);
	/* they work in turn: never both, and never none */
	assert_int_equal(v[GAUGE_CPU].min, 5000);
	assert_int_equal(v[GAUGE_CPU].max, 5000);
	assert_int_equal(v[GAUGE_PROCESSES].min, 2);
	stats_finish(s);
	assert_int_equal(s->tree.samples, 21);
	assert_int_equal(v[GAUGE_RSS].max, 3500);
	assert_int_equal(s->tree.interval_min_ns, 100 * NSEC_PER_MSEC);
	stats_free(s);
}

static void the_rate_of_two_trees_is_the_sum_of_their_rates(void **state)
{
	struct stats *s = two_trees(20);
	const struct stats_value *v = &s->tree.values[GAUGE_READ_RATE];

	stats_finish(s);
	assert_int_equal(v->max, 10000000);
	assert_int_equal(v->min, 10000000);
	assert_int_equal(stats_quantile(v, 500), 10000000);
	stats_free(s);
}

static uint64_t slot_mean(const struct stats *s, size_t i, enum series_track track)
{
	return series_whole(series_mean(&s->series, i, track) + 0.5);
}

static void every_sample_of_two_trees_covers_its_whole_interval(void **state)
{
	struct stats *s = two_trees(20);

	stats_finish(s);
	assert_int_equal(s->series.n, 200);
	for (size_t i = 0; i < 200; i++) {
		assert_int_equal(slot_mean(s, i, TRACK_CPU), 50);
		assert_int_equal(slot_mean(s, i, TRACK_READ), 10000000);
		assert_int_equal(slot_mean(s, i, TRACK_RSS), 1600 + 100 * (i / 10));
	}
	stats_free(s);
}

/* Trees come and go, and the 64 that ended last still have rows, as in `attach -c git`. */
static void a_tree_that_is_over_makes_room_for_another(void **state)
{
	const uint32_t trees = 2 * STATS_ROOTS, kept = 64;
	struct stats *s = new_stats();

	for (uint32_t now = 1; now <= trees; now++) {
		/* the newest comes first */
		for (uint32_t pid = now; pid && pid + kept >= now; pid--) {
			struct stats_sample x = row(STATS_TREE, pid, "git", now * 100, 100);

			x.counters_relative = true;
			set(&x, GAUGE_PROCESSES, pid == now);
			count(&x, COUNTER_READ, 4096);
			stats_sample(s, &x);
		}
	}
	stats_finish(s);
	assert_int_equal(s->tree_rows_refused, 0);
	assert_int_equal(s->tree.total[COUNTER_READ], 4096ULL * trees);
	assert_int_equal(s->tree.values[GAUGE_PROCESSES].max, 1);
	assert_int_equal(s->tree.samples, trees);
	assert_int_equal(s->roots[0].pid, 1);
	assert_true(s->n_roots < 3 * kept);
	stats_free(s);
}

static void trees_beyond_the_limit_are_counted(void **state)
{
	struct stats *s = new_stats();

	for (uint32_t now = 1; now <= 3; now++) {
		for (uint32_t pid = 1; pid <= STATS_ROOTS + 5; pid++) {
			struct stats_sample x = row(STATS_TREE, pid, "p", now * 100, 100);

			set(&x, GAUGE_PROCESSES, 1);
			stats_sample(s, &x);
		}
	}
	stats_finish(s);
	assert_int_equal(s->tree_rows_refused, 3 * 5);
	assert_int_equal(s->tree.values[GAUGE_PROCESSES].min, STATS_ROOTS);

	/* a row may be lost; who has none twice is over */
	for (uint32_t now = 4; now <= 5; now++) {
		struct stats_sample x = row(STATS_TREE, 9999, "p", now * 100, 100);

		stats_sample(s, &x);
		assert_int_equal(s->tree_rows_refused, 3 * 5 + 1);
	}
	assert_int_equal(s->n_roots, STATS_ROOTS);
	stats_free(s);
}

static void peaks_know_their_time_and_rates_come_from_counters(void **state)
{
	struct stats *s = new_stats();

	for (uint64_t i = 0; i <= 10; i++) {
		struct stats_sample x = row(STATS_TREE, 1, "p", i * 500, 500);

		set(&x, GAUGE_RSS, i == 6 ? 900 : 100);
		count(&x, COUNTER_WRITE, (i + (i >= 4 ? 10 : 0)) * 1000);
		stats_sample(s, &x);
	}
	assert_int_equal(s->tree.values[GAUGE_RSS].max_at_ns, T0 + 3000 * NSEC_PER_MSEC);
	assert_int_equal(s->tree.values[GAUGE_WRITE_RATE].max, 22000);
	assert_int_equal(s->tree.values[GAUGE_WRITE_RATE].max_at_ns, T0 + 2000 * NSEC_PER_MSEC);
	assert_int_equal(s->tree.total[COUNTER_WRITE], 20000);
	stats_free(s);
}

static void an_exec_moves_a_process_to_its_new_name(void **state)
{
	struct stats *s = new_stats();
	struct stats_sample x = row(STATS_PROCESS, 1, "sh", 0, 100);

	count(&x, COUNTER_CPU, 0);
	stats_sample(s, &x);
	x = row(STATS_PROCESS, 1, "make", 100, 100);
	count(&x, COUNTER_CPU, 50);
	stats_sample(s, &x);
	assert_int_equal(s->n_groups, 2);
	assert_int_equal(s->groups[0].processes, 0);
	assert_int_equal(s->groups[1].processes, 1);
	assert_int_equal(s->groups[1].total[COUNTER_CPU], 50);
	stats_free(s);
}

static void more_names_than_there_is_room_for_share_one(void **state)
{
	struct stats *s = new_stats();
	uint64_t sum = 0;
	char comm[16];

	stats_span(s, T0, 0);
	for (uint32_t i = 1; i <= 3000; i++) {
		snprintf(comm, sizeof(comm), "name%u", i);
		exit_of(s, i, 10, comm);
	}
	for (size_t i = 0; i < s->n_groups; i++)
		sum += s->groups[i].processes;
	assert_int_equal(s->n_groups, STATS_GROUPS);
	assert_int_equal(sum, 3000);
	stats_free(s);
}

static void an_alert_and_its_end_are_one(void **state)
{
	struct stats *s = new_stats();
	struct stats_alert_event x = {
		.pid = 5,
		.rule = "cpu > 80",
		.rule_len = 8,
		.metric = "cpu",
		.metric_len = 3,
		.unit = "percent",
		.unit_len = 7,
		.unix_ns = T0,
		.value = 8100,
		.limit = 8000,
	};

	stats_alert(s, &x);
	assert_false(s->alerts[0].ended);
	x.ended = true;
	x.unix_ns += NSEC_PER_SEC;
	x.min = 8050;
	x.avg = 9000;
	x.max = 9900;
	stats_alert(s, &x);
	assert_int_equal(s->n_alerts, 1);
	assert_int_equal(s->alerts_seen, 1);
	assert_int_equal(s->alerts[0].end_ns - s->alerts[0].begin_ns, NSEC_PER_SEC);
	assert_int_equal(s->alerts[0].avg, 9000);
	/* two cgroups, the first of which is over first */
	x.ended = false;
	x.pid = 0;
	for (int i = 0; i < 4; i++) {
		x.path = i % 2 ? "/b" : "/a";
		x.path_len = 2;
		x.ended = i > 1;
		x.unix_ns += NSEC_PER_SEC;
		stats_alert(s, &x);
	}
	assert_int_equal(s->n_alerts, 3);
	for (int i = 1; i < 3; i++) {
		assert_string_equal(s->alerts[i].path, i == 2 ? "/b" : "/a");
		assert_int_equal(s->alerts[i].end_ns - s->alerts[i].begin_ns, 2 * NSEC_PER_SEC);
	}
	for (int i = 0; i < 1000; i++) {
		x.ended = false;
		stats_alert(s, &x);
		x.ended = true;
		stats_alert(s, &x);
	}
	assert_int_equal(s->n_alerts, STATS_ALERTS);
	assert_int_equal(s->alerts_seen, 1003);
	stats_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_mean_of_a_square_wave_is_right_at_unequal_intervals),
		cmocka_unit_test(a_process_from_before_counts_from_its_first_sample),
		cmocka_unit_test(a_process_that_began_inside_counts_from_zero),
		cmocka_unit_test(without_a_clock_only_who_missed_the_first_pass_began_inside),
		cmocka_unit_test(the_end_of_a_process_completes_its_sums),
		cmocka_unit_test(
			the_end_adds_no_sum_that_the_samples_of_an_older_process_did_not_tell),
		cmocka_unit_test(a_sum_that_is_told_late_counts_from_then_on),
		cmocka_unit_test(what_a_detailed_row_leaves_out_was_zero),
		cmocka_unit_test(the_end_of_an_old_process_that_was_never_sampled_counts_nothing),
		cmocka_unit_test(the_largest_of_very_many_stay_and_nothing_is_lost),
		cmocka_unit_test(living_processes_that_made_room_are_counted_once),
		cmocka_unit_test(who_is_told_apart_again_keeps_what_was_before),
		cmocka_unit_test(
			the_end_of_one_that_made_room_adds_no_sum_that_was_not_told_before),
		cmocka_unit_test(without_rows_of_the_tree_processes_are_added_up),
		cmocka_unit_test(two_trees_at_once_are_added_up),
		cmocka_unit_test(the_rate_of_two_trees_is_the_sum_of_their_rates),
		cmocka_unit_test(every_sample_of_two_trees_covers_its_whole_interval),
		cmocka_unit_test(a_tree_that_is_over_makes_room_for_another),
		cmocka_unit_test(trees_beyond_the_limit_are_counted),
		cmocka_unit_test(peaks_know_their_time_and_rates_come_from_counters),
		cmocka_unit_test(an_exec_moves_a_process_to_its_new_name),
		cmocka_unit_test(more_names_than_there_is_room_for_share_one),
		cmocka_unit_test(an_alert_and_its_end_are_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
