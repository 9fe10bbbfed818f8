/* SPDX-License-Identifier: MIT */
/* The arithmetic, on a made-up task source; the second half on a made-up /proc. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "event/schema.h"
#include "base/buf.h"
#include "source/sampler.h"

#define MS  1000000ULL
#define SEC 1000000000ULL

struct fake {
	struct task_source source;
	struct as_task tasks[16];
	struct as_task_more more[16];
	size_t n;
	int result;
};

static const char other_comm[AS_COMM_LEN] = "other";
static struct fake fake;
static struct proc_table *table;
static struct sampler *sampler;
static struct as_system_metrics rows[16];
static size_t n_rows;
static struct as_system_wide machine;
static struct as_system_tree tree;
static size_t n_trees, n_threads;
static bool detail;

static int fake_scan(struct task_source *source, struct sampler *to)
{
	for (size_t i = 0; i < fake.n; i++)
		sampler_add(to, &fake.tasks[i], detail ? &fake.more[i] : NULL, true);
	return fake.result;
}

static void fake_free(struct task_source *source)
{
}

static void keep(struct emitter *self, const struct event *ev)
{
	if (ev->rec->type == AS_EV_SYSTEM_WIDE)
		machine = *(const struct as_system_wide *)ev->rec;
	else if (ev->rec->type == AS_EV_SYSTEM_TREE)
		tree = *(const struct as_system_tree *)ev->rec, n_trees++;
	else if (ev->rec->type == AS_EV_SYSTEM_THREAD)
		n_threads++;
	else
		rows[n_rows++] = *(const struct as_system_metrics *)ev->rec;
	assert_non_null(ev->desc);
}

static struct emitter out = {keep};

static int set_up(void **state)
{
	struct sampler_options opt = {.source = &fake.source, .cores = 8};

	memset(&fake, 0, sizeof(fake));
	fake.source = (struct task_source){"fake", fake_scan, fake_free, false};
	if (schema_init() || proc_table_new(&table))
		return -1;
	opt.table = table;
	return sampler_new(&opt, &sampler);
}

static int tear_down(void **state)
{
	sampler_free(sampler);
	proc_table_free(table);
	detail = false;
	return 0;
}

static struct as_task *task(uint32_t tgid, uint32_t tid, uint32_t ppid, uint64_t start_ns,
			    uint64_t cpu_ns)
{
	struct as_task *t = &fake.tasks[fake.n];

	fake.more[fake.n++] = (struct as_task_more){.cpu_ns = cpu_ns, .last_cpu = -1};
	*t = (struct as_task){
		.tgid = tgid, .tid = tid, .ppid = ppid, .start_ns = start_ns, .cpu_ns = cpu_ns};
	strcpy(t->comm, "worker");
	if (tgid == tid) {
		t->threads = 1;
		t->rss_pages = 1000;
		t->vsz_pages = 2000;
	}
	return t;
}

static const struct as_system_metrics *sample(uint64_t boot_ns)
{
	n_rows = n_trees = n_threads = 0;
	assert_int_equal(sampler_sample(sampler, boot_ns, AS_SAMPLE_TIMER, SEC, &out), 0);
	fake.n = 0;
	return rows;
}

static void feed(const void *rec)
{
	const struct event ev = {.rec = rec};

	proc_table_event(table, &ev);
}

static void feed_fork(uint32_t parent, uint64_t parent_start, uint32_t child, uint64_t child_start)
{
	const struct as_fork e = {
		.h = {.type = AS_EV_FORK, .tgid = parent, .start_ns = parent_start, .ppid = 1},
		.child_pid = child,
		.child_ppid = parent,
		.child_start_ns = child_start,
	};

	feed(&e);
}

static void feed_exit(uint32_t tgid, uint32_t ppid, uint64_t start_ns, uint64_t user, uint64_t sys)
{
	const struct as_exit e = {
		.h = {.type = AS_EV_EXIT, .tgid = tgid, .ppid = ppid, .start_ns = start_ns},
		.cpu_user_ns = user,
		.cpu_system_ns = sys,
	};

	feed(&e);
}

static void a_percentage_is_cpu_time_between_two_samples(void **state)
{
	const struct as_system_metrics *r;

	task(10, 10, 1, SEC, 500 * MS);
	r = sample(10 * SEC);
	assert_int_equal(n_rows, 1);
	assert_int_equal(r->cpu_centi, 0);
	assert_int_equal(r->interval_ns, 0);

	task(10, 10, 1, SEC, 969 * MS);
	r = sample(12 * SEC);
	assert_int_equal(r->cpu_centi, 2345);
	assert_int_equal(r->interval_ns, 2 * SEC);
	assert_int_equal(r->cores, 8);
	assert_int_equal(r->h.tgid, 10);
	assert_string_equal(r->h.comm, "worker");
}

static void threads_are_summed_and_may_come_apart(void **state)
{
	const struct as_system_metrics *r;

	task(10, 10, 1, SEC, 0)->threads = 3;
	sample(10 * SEC);
	task(10, 10, 1, SEC, 300 * MS)->threads = 3;
	task(20, 20, 1, SEC, 0);
	task(10, 11, 1, SEC, 400 * MS)->read_bytes = 4096;
	task(10, 12, 1, SEC, 500 * MS)->read_bytes = 1;
	r = sample(11 * SEC);
	assert_int_equal(n_rows, 2);
	assert_int_equal(r->cpu_centi, 12000);
	assert_int_equal(r->threads, 3);
	assert_int_equal(r->read_bytes, 4097);
	assert_int_equal(r->rss_kb, 1000 * (sysconf(_SC_PAGESIZE) / 1024));
	assert_int_equal(r->rss_mb, r->rss_kb / 1024);
	assert_int_equal(r->vsz_kb, 2 * r->rss_kb);
}

static void who_began_after_the_last_sample_counts_from_its_start(void **state)
{
	sample(10 * SEC);
	task(10, 10, 1, 11 * SEC, 500 * MS);
	assert_int_equal(sample(12 * SEC)->cpu_centi, 5000);
	assert_int_equal(rows->interval_ns, SEC);
}

static void a_thread_missed_by_one_pass_never_makes_a_row_negative(void **state)
{
	task(10, 10, 1, SEC, 500 * MS);
	task(10, 11, 1, SEC, 500 * MS);
	sample(10 * SEC);
	task(10, 10, 1, SEC, 600 * MS); /* the other has ended, its time is not in the sum yet */
	assert_int_equal(sample(11 * SEC)->cpu_centi, 0);
	task(10, 10, 1, SEC, 1250 * MS);
	assert_int_equal(sample(12 * SEC)->cpu_centi, 2500);
}

static void children_that_lived_and_died_in_between_are_in_the_row(void **state)
{
	task(10, 10, 1, SEC, 0);
	sample(10 * SEC);
	for (int i = 0; i < 40; i++) {
		uint64_t start = 10 * SEC + i * 25 * MS + 1;

		feed_fork(10, SEC, 100 + i, start);
		feed_exit(100 + i, 10, start, 15 * MS, 5 * MS);
	}
	task(10, 10, 1, SEC, 100 * MS);
	assert_int_equal(sample(11 * SEC)->cpu_centi, 9000);
	task(10, 10, 1, SEC, 100 * MS);
	assert_int_equal(sample(12 * SEC)->cpu_centi, 0);
}

static void what_a_childs_own_rows_have_shown_is_not_shown_again(void **state)
{
	task(10, 10, 1, SEC, 0);
	sample(10 * SEC);
	feed_fork(10, SEC, 11, 10 * SEC + 500 * MS);
	task(10, 10, 1, SEC, 0);
	task(11, 11, 10, 10 * SEC + 500 * MS, 250 * MS);
	sample(11 * SEC);
	assert_int_equal(rows[0].cpu_centi, 0);
	assert_int_equal(rows[0].children, 1);
	assert_int_equal(rows[1].cpu_centi, 5000);

	feed_exit(11, 10, 10 * SEC + 500 * MS, 300 * MS, 50 * MS);
	task(10, 10, 1, SEC, 0);
	assert_int_equal(sample(12 * SEC)->cpu_centi, 1000);
	assert_int_equal(rows->children, 0);
	assert_int_equal(n_rows, 1);
}

static void a_grandchild_whose_parent_ended_too_counts_for_the_grandparent(void **state)
{
	task(10, 10, 1, SEC, 0);
	sample(10 * SEC);
	feed_fork(10, SEC, 11, 10 * SEC + 1);
	feed_fork(11, 10 * SEC + 1, 12, 10 * SEC + 2);
	feed_exit(11, 10, 10 * SEC + 1, 10 * MS, 0);
	feed_exit(12, 1, 10 * SEC + 2, 20 * MS, 0);
	task(10, 10, 1, SEC, 0);
	assert_int_equal(sample(11 * SEC)->cpu_centi, 300);
}

static void a_reused_pid_starts_anew(void **state)
{
	task(10, 10, 1, SEC, 5 * SEC);
	sample(10 * SEC);
	task(10, 10, 1, 10 * SEC + 500 * MS, 100 * MS);
	assert_int_equal(sample(11 * SEC)->cpu_centi, 2000);
	assert_int_equal(rows->h.start_ns, 10 * SEC + 500 * MS);
}

static void a_very_long_run_does_not_overflow(void **state)
{
	task(10, 10, 1, SEC, 0);
	sample(10 * SEC);
	task(10, 10, 1, SEC, 64ULL * 86400 * 365 * SEC); /* a year on 64 processors */
	assert_int_equal(sample(10 * SEC + 86400ULL * 365 * SEC)->cpu_centi, 640000);
}

static void where_a_childs_io_cannot_be_told_apart_the_row_says_so(void **state)
{
	task(10, 10, 1, SEC, 0)->write_bytes = 1;
	sample(10 * SEC);
	task(10, 10, 1, SEC, 0)->write_bytes = 2;
	assert_false(sample(11 * SEC)->mixed);
	assert_int_equal(rows->own_write_bytes, 2);
	task(10, 10, 1, SEC, 0)->waited_faults = 50;
	assert_true(sample(12 * SEC)->mixed);
	task(10, 10, 1, SEC, 0)->waited_faults = 50;
	assert_false(sample(13 * SEC)->mixed);
}

static void a_source_that_fails_makes_no_rows(void **state)
{
	task(10, 10, 1, SEC, 0);
	fake.result = -EIO;
	n_rows = 0;
	assert_int_equal(sampler_sample(sampler, SEC, AS_SAMPLE_TIMER, 0, &out), -EIO);
	assert_int_equal(n_rows, 0);
}

/* ---- details and trees ---- */

static struct as_task_more *more(void)
{
	return &fake.more[fake.n - 1];
}

static const struct proc_fact root_fact = {
	.tgid = 10, .ppid = 1, .start_ns = SEC, .start_exact = true, .followed = true};

/* @since_start, or from 5 s on; process 10 began long before. */
static int detail_set_up(void **state, bool since_start)
{
	struct sampler_options opt = {.source = &fake.source,
				      .cores = 8,
				      .detail = true,
				      .threads = true,
				      .since_start = since_start,
				      .begin_ns = 5 * SEC};

	memset(&fake, 0, sizeof(fake));
	fake.source = (struct task_source){"fake", fake_scan, fake_free, false};
	detail = true;
	if (schema_init() || proc_table_new(&table))
		return -1;
	opt.table = table;
	if (sampler_new(&opt, &sampler))
		return -1;
	proc_table_learn(table, &root_fact);
	return sampler_root(sampler, 10);
}

static int tree_set_up(void **state)
{
	return detail_set_up(state, false);
}

static int whole_tree_set_up(void **state)
{
	return detail_set_up(state, true);
}

static void a_tree_row_ends_the_sample_and_tells_why_it_was_taken(void **state)
{
	task(10, 10, 1, SEC, 0);
	sample(10 * SEC);
	assert_int_equal(n_rows, 1);
	assert_int_equal(n_trees, 1);
	assert_int_equal(tree.h.tgid, 10);
	assert_int_equal(tree.processes, 1);
	assert_int_equal(tree.started, 1);
	assert_int_equal(tree.reason, AS_SAMPLE_TIMER);
	assert_int_equal(tree.next_ns, SEC);
	assert_int_equal(tree.elapsed_ns, 5 * SEC);
	assert_int_equal(tree.rss_kb, rows->rss_kb);
}

static void the_time_for_which_the_command_was_held_is_not_in_its_trees(void **state)
{
	sampler_released(sampler, 7 * SEC);
	task(10, 10, 1, SEC, 0);
	sample(10 * SEC);
	assert_int_equal(tree.elapsed_ns, 3 * SEC);
}

static struct sampler_load planned_for;
static int plans;

static uint64_t plan(void *ctx, uint64_t boot_ns, const struct sampler_load *load)
{
	planned_for = *load;
	plans++;
	return boot_ns / 100;
}

static void the_next_sample_is_planned_by_what_this_one_shows(void **state)
{
	plans = 0;
	sampler_plan(sampler, plan, NULL);
	task(10, 10, 1, SEC, 0);
	sample(10 * SEC);
	task(10, 10, 1, SEC, SEC / 2);
	sample(11 * SEC);
	assert_int_equal(plans, 2);
	assert_int_equal(planned_for.interval_ns, SEC);
	assert_int_equal(planned_for.cpu_centi, 5000);
	assert_int_equal(planned_for.rss_kb, tree.rss_kb);
	assert_int_equal(tree.next_ns, 11 * SEC / 100);
	/* behind the last one nothing is planned */
	assert_int_equal(sampler_sample(sampler, 12 * SEC, AS_SAMPLE_LAST, 0, &out), 0);
	assert_int_equal(plans, 2);
	assert_int_equal(tree.next_ns, 0);
}

static void the_load_is_that_of_all_trees(void **state)
{
	struct proc_fact other = {
		.tgid = 20, .ppid = 1, .start_ns = SEC, .followed = true, .comm = other_comm};

	proc_table_learn(table, &other);
	assert_int_equal(sampler_root(sampler, 20), 0);
	sampler_plan(sampler, plan, NULL);
	task(10, 10, 1, SEC, 0);
	task(20, 20, 1, SEC, 0);
	sample(10 * SEC);
	task(10, 10, 1, SEC, SEC / 2);
	task(20, 20, 1, SEC, SEC / 4);
	sample(11 * SEC);
	assert_int_equal(n_trees, 2);
	assert_int_equal(planned_for.cpu_centi, 7500);
	assert_int_equal(planned_for.rss_kb, 2 * tree.rss_kb);
}

static void every_row_says_which_tree_it_is_part_of(void **state)
{
	struct proc_fact other = {
		.tgid = 20, .ppid = 1, .start_ns = 2 * SEC, .followed = true, .comm = other_comm};
	uint64_t first;

	task(10, 10, 1, SEC, 0);
	sample(10 * SEC);
	first = tree.tree_id;
	assert_int_equal(rows[0].tree_id, first);

	proc_table_learn(table, &other);
	assert_int_equal(sampler_root(sampler, 20), 0);
	feed_fork(10, SEC, 11, 10 * SEC + 1);
	feed_fork(20, 2 * SEC, 21, 10 * SEC + 2);
	feed_exit(10, 1, SEC, 0, 0);
	task(11, 11, 1, 10 * SEC + 1, 0);
	task(20, 20, 1, 2 * SEC, 0);
	task(21, 21, 20, 10 * SEC + 2, 0);
	sample(11 * SEC);
	assert_int_equal(n_rows, 3);
	for (size_t i = 0; i < n_rows; i++) {
		if (rows[i].h.tgid == 11)
			assert_int_equal(rows[i].tree_id, first);
		else
			assert_int_equal(rows[i].tree_id, first + 1);
	}
}

static void the_tree_holds_exactly_what_ended_children_used(void **state)
{
	task(10, 10, 1, SEC, SEC);
	sample(10 * SEC);
	for (int i = 0; i < 100; i++) {
		uint64_t start = 10 * SEC + i * 10 * MS + 1;
		const struct as_exit e = {
			.h = {.type = AS_EV_EXIT, .tgid = 100 + i, .ppid = 10, .start_ns = start},
			.cpu_user_ns = 4 * MS,
			.cpu_system_ns = MS,
			.minor_faults = 3,
			.own_rchar = 64,
			.rchar = 1000, /* with its own children's */
		};

		feed_fork(10, SEC, 100 + i, start);
		feed(&e);
	}
	task(10, 10, 1, SEC, SEC);
	/* the kernel adds the children's I/O to what threads that ended had */
	more()->group_io.rchar = 6400;
	sample(11 * SEC);
	assert_int_equal(tree.cpu_ns, 500 * MS);
	assert_int_equal(tree.user_ns, 400 * MS);
	assert_int_equal(tree.system_ns, 100 * MS);
	assert_int_equal(tree.cpu_centi, 5000);
	assert_int_equal(tree.minor_faults, 300);
	assert_int_equal(tree.rchar, 6400);
	assert_int_equal(rows->rchar, 6400);
	assert_int_equal(tree.started, 101);
	assert_int_equal(tree.ended, 100);
}

static void io_of_threads_that_ended_is_told_from_that_of_children(void **state)
{
	task(10, 10, 1, SEC, 0);
	sample(10 * SEC);
	task(10, 10, 1, SEC, 0);
	more()->group_io.wchar = 130; /* 30 of a thread that ended, 100 of a child */
	more()->ended_io.wchar = 30;
	more()->io.wchar = 7;
	task(10, 11, 1, SEC, 0);
	more()->io.wchar = 2;
	task(10, 12, 1, SEC, 0);
	more()->io.wchar = 1000; /* counted in ended_io already */
	more()->flags = AS_TASK_EXITING;
	sample(11 * SEC);
	assert_int_equal(tree.wchar, 39);
	assert_int_equal(rows->wchar, 1139);
	assert_int_equal(rows->own_wchar, 39);
	assert_false(rows->mixed);
	assert_int_equal(n_threads, 3);
}

static void who_ran_before_counts_from_the_first_sample(void **state)
{
	task(10, 10, 1, SEC, 2 * SEC);
	more()->io.rchar = 500;
	more()->group_io.rchar = 100;
	sample(10 * SEC);
	assert_int_equal(tree.cpu_ns, 0);
	assert_int_equal(tree.rchar, 0);
	assert_int_equal(rows->cpu_ns, 2 * SEC);
	assert_int_equal(rows->rchar, 600);
	task(10, 10, 1, SEC, 3 * SEC);
	more()->io.rchar = 510;
	more()->group_io.rchar = 100;
	sample(11 * SEC);
	assert_int_equal(tree.cpu_ns, SEC);
	assert_int_equal(tree.rchar, 10);
}

static void or_from_its_start_when_that_is_asked_for(void **state)
{
	task(10, 10, 1, SEC, 2 * SEC);
	more()->io.rchar = 500;
	more()->group_io.rchar = 100;
	sample(10 * SEC);
	assert_int_equal(tree.cpu_ns, 2 * SEC);
	assert_int_equal(tree.rchar, 600);
}

static void a_member_whose_end_is_not_told_yet_is_not_lost_meanwhile(void **state)
{
	feed_fork(10, SEC, 11, 6 * SEC);
	task(10, 10, 1, SEC, 0);
	task(11, 11, 10, 6 * SEC, 300 * MS);
	sample(10 * SEC);
	assert_int_equal(tree.cpu_ns, 300 * MS);
	task(10, 10, 1, SEC, 0);
	sample(11 * SEC);
	assert_int_equal(tree.cpu_ns, 300 * MS);
	assert_int_equal(tree.processes, 1);
	feed_exit(11, 10, 6 * SEC, 310 * MS, 0);
	task(10, 10, 1, SEC, 0);
	sample(12 * SEC);
	assert_int_equal(tree.cpu_ns, 310 * MS);
	assert_int_equal(tree.ended, 1);
}

static void the_tree_outlives_its_root(void **state)
{
	task(10, 10, 1, SEC, 0);
	sample(10 * SEC);
	feed_fork(10, SEC, 11, 10 * SEC + 1);
	feed_exit(10, 1, SEC, 10 * MS, 0);
	feed_fork(11, 10 * SEC + 1, 12, 10 * SEC + 2);
	task(11, 11, 1, 10 * SEC + 1, 20 * MS);
	task(12, 12, 11, 10 * SEC + 2, 30 * MS);
	sample(11 * SEC);
	assert_int_equal(tree.h.tgid, 10);
	assert_int_equal(tree.h.start_ns, SEC);
	assert_int_equal(tree.cpu_ns, 60 * MS);
	assert_int_equal(tree.processes, 2);
	assert_int_equal(tree.started, 3);
	assert_int_equal(tree.ended, 1);
}

static void a_reused_pid_is_another_member(void **state)
{
	feed_fork(10, SEC, 11, 6 * SEC);
	task(10, 10, 1, SEC, 0);
	task(11, 11, 10, 6 * SEC, 300 * MS);
	sample(10 * SEC);
	feed_exit(11, 10, 6 * SEC, 400 * MS, 0);
	feed_fork(10, SEC, 11, 10 * SEC + 5);
	task(10, 10, 1, SEC, 0);
	task(11, 11, 10, 10 * SEC + 5, 7 * MS);
	sample(11 * SEC);
	assert_int_equal(tree.cpu_ns, 407 * MS);
	assert_int_equal(tree.started, 3);
	assert_int_equal(rows[1].cpu_ns, 7 * MS);
}

static void bytes_of_the_network_count_for_the_living_and_the_ended(void **state)
{
	feed_fork(10, SEC, 11, 6 * SEC);
	task(10, 10, 1, SEC, 0);
	task(11, 11, 10, 6 * SEC, 0);
	sample(10 * SEC);
	sampler_net(sampler, 10, SEC, 100, 10);
	sampler_net(sampler, 11, 6 * SEC, 1, 2);
	sampler_net(sampler, 11, 3 * SEC, 5000, 5000); /* had this pid before */
	sampler_net(sampler, 99, SEC, 5000, 5000);
	feed_exit(11, 10, 6 * SEC, 0, 0);
	sampler_net(sampler, 11, 6 * SEC, 3, 4);
	task(10, 10, 1, SEC, 0);
	sample(11 * SEC);
	assert_int_equal(rows->rx_bytes, 100);
	assert_int_equal(rows->tx_bytes, 10);
	assert_int_equal(tree.rx_bytes, 104);
	assert_int_equal(tree.tx_bytes, 16);
}

static void a_root_must_be_known(void **state)
{
	assert_int_equal(sampler_root(sampler, 77), -ESRCH);
}

static void user_and_system_time_add_up_to_the_exact_sum(void **state)
{
	task(10, 10, 1, SEC, 100 * MS + 1);
	more()->usage.user_ns = 30 * MS;
	more()->usage.system_ns = 10 * MS;
	sample(10 * SEC);
	assert_int_equal(rows->cpu_ns, 100 * MS + 1);
	assert_int_equal(rows->user_ns, 75 * MS);
	assert_int_equal(rows->system_ns, 25 * MS + 1);
}

/* Ticks are an estimate: of a process that ran before, user time may become less than at the first look. */
static void the_split_of_a_tree_is_never_more_than_its_sum(void **state)
{
	task(10, 10, 1, SEC, 100 * MS);
	more()->usage.user_ns = 100 * MS;
	sample(10 * SEC);
	for (uint64_t i = 1; i < 5; i++) {
		task(10, 10, 1, SEC, 100 * MS + i * MS / 2);
		more()->usage.user_ns = 100 * MS;
		more()->usage.system_ns = 4 * MS;
		sample((10 + i) * SEC);
		assert_int_equal(tree.cpu_ns, i * MS / 2);
		assert_int_equal(tree.user_ns + tree.system_ns, tree.cpu_ns);
		assert_true(tree.user_ns <= tree.cpu_ns);
	}
	feed_exit(10, 1, SEC, 99 * MS, 4 * MS);
	sample(15 * SEC);
	assert_int_equal(tree.cpu_ns, 3 * MS);
	assert_int_equal(tree.user_ns + tree.system_ns, tree.cpu_ns);
	assert_true(tree.user_ns <= tree.cpu_ns);
}

/* ---- /proc ---- */

static char root[64];
static struct procfs *fs;

static void file_put(const char *name, const char *text)
{
	char path[160];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	/* a kept descriptor goes on seeing the file: written in place */
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void process_put(uint32_t pid, uint32_t ppid, unsigned cpu, unsigned waited)
{
	char path[160], text[256];

	snprintf(path, sizeof(path), "%s/%u", root, pid);
	mkdir(path, 0700);
	snprintf(text, sizeof(text),
		 "%u (work) S %u 1 1 0 -1 0 1 2 3 4 %u 0 %u 0 20 0 1 0 %u 8192000 1\n", pid, ppid,
		 cpu, waited, pid == 10 ? 100 : 1050);
	snprintf(path, sizeof(path), "%u/stat", pid);
	file_put(path, text);
	snprintf(path, sizeof(path), "%u/status", pid);
	file_put(path, "Uid:\t0\n");
	snprintf(path, sizeof(path), "%u/statm", pid);
	file_put(path, "2000 1000 1");
	snprintf(path, sizeof(path), "%u/io", pid);
	file_put(path, "read_bytes: 5\nwrite_bytes: 6\n");
}

/* As the kernel does: the name goes, and who keeps it open reads nothing that could be parsed. */
static void process_remove(uint32_t pid)
{
	static const char *const files[] = {"stat", "status", "statm", "io"};
	char path[160];

	for (size_t i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "%s/%u/%s", root, pid, files[i]);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/%u", root, pid);
	rmdir(path);
}

static const uint32_t ten[] = {10};
static struct proc_match match = {.pids = ten, .n_pids = 1, .follow_children = true};

static int proc_set_up(void **state)
{
	struct task_procfs_options task_opt = {.match = &match};
	struct sampler_options opt = {.cores = 8};

	strcpy(root, "/tmp/test_sampler.XXXXXX");
	if (!mkdtemp(root) || schema_init() || proc_table_new(&table) || procfs_open(root, &fs))
		return -1;
	process_put(10, 1, 100, 0);
	procfs_seed(fs, table, &match, NULL, NULL);
	task_opt.fs = opt.fs = fs;
	task_opt.table = opt.table = table;
	if (task_procfs_open(&task_opt, &opt.source))
		return -1;
	return sampler_new(&opt, &sampler);
}

static int proc_tear_down(void **state)
{
	static const char *const files[] = {"stat", "meminfo", "loadavg"};
	char path[160];

	for (size_t i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s", root, files[i]);
		unlink(path);
	}
	process_remove(10);
	process_remove(11);
	rmdir(root);
	sampler_free(sampler);
	proc_table_free(table);
	procfs_free(fs);
	return 0;
}

static void proc_gives_ticks_memory_and_io(void **state)
{
	sample(10 * SEC);
	assert_int_equal(n_rows, 1);
	assert_int_equal(rows->cpu_centi, 0);
	process_put(10, 1, 150, 0);
	assert_int_equal(sample(12 * SEC)->cpu_centi, 2500);
	assert_int_equal(rows->rss_kb, 1000 * (sysconf(_SC_PAGESIZE) / 1024));
	assert_int_equal(rows->read_bytes, 5);
	assert_int_equal(rows->write_bytes, 6);
}

static void proc_shows_one_user_of_all_who_belong(void **state)
{
	match.by_uid = true;
	sample(10 * SEC);
	assert_int_equal(n_rows, 1);
	match.uid = 1000;
	sample(11 * SEC);
	match.by_uid = false;
	assert_int_equal(n_rows, 0);
}

/* As that of a process of another user. */
static void io_that_cannot_be_read_is_not_told_as_none(void **state)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/10/io", root);
	assert_int_equal(unlink(path), 0);
	sample(10 * SEC);
	assert_int_equal(rows->read_bytes, AS_UNKNOWN);
	assert_int_equal(rows->write_bytes, AS_UNKNOWN);
}

static void children_never_seen_show_when_they_are_waited_for(void **state)
{
	sample(10 * SEC);
	process_put(10, 1, 100, 90);
	assert_int_equal(sample(11 * SEC)->cpu_centi, 9000);
	assert_int_equal(sample(12 * SEC)->cpu_centi, 0);
}

static void a_waited_for_child_counts_only_beyond_its_own_rows(void **state)
{
	sample(10 * SEC);
	process_put(11, 10, 20, 0); /* began at 10.5 s */
	sample(11 * SEC);
	assert_int_equal(n_rows, 2);
	assert_int_equal(rows[0].children, 1);
	assert_int_equal(rows[1].cpu_centi, 4000);
	process_remove(11);
	process_put(10, 1, 100, 35); /* it used 0.35 s, of which 0.2 s have been shown */
	assert_int_equal(sample(12 * SEC)->cpu_centi, 1500);
	assert_int_equal(n_rows, 1);
	process_put(10, 1, 100, 45);
	assert_int_equal(sample(13 * SEC)->cpu_centi, 1000);
}

static void a_child_that_nobody_waits_for_is_forgotten_after_a_sample(void **state)
{
	sample(10 * SEC);
	process_put(11, 10, 20, 0);
	sample(11 * SEC);
	process_remove(11);
	assert_int_equal(sample(12 * SEC)->cpu_centi, 0);
	assert_int_equal(sample(13 * SEC)->cpu_centi, 0);
	process_put(10, 1, 100, 30); /* another child, never seen */
	assert_int_equal(sample(14 * SEC)->cpu_centi, 3000);
}

/* ---- PSS: details from a made-up source, what takes a look from /proc ---- */

#define PSS_PROCESSES 3

static void pss_put(uint32_t pid, const char *text)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%u", root, pid);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%u/smaps_rollup", pid);
	file_put(path, text);
}

static void pss_is(uint32_t pid, unsigned kb)
{
	char text[128];

	snprintf(text, sizeof(text), "Pss: %u kB\nPrivate_Clean: 0 kB\nPrivate_Dirty: %u kB\n", kb,
		 kb);
	pss_put(pid, text);
}

static int pss_set_up(void **state)
{
	struct sampler_options opt = {
		.source = &fake.source, .cores = 8, .detail = true, .pss_interval_ns = SEC};

	memset(&fake, 0, sizeof(fake));
	fake.source = (struct task_source){"fake", fake_scan, fake_free, false};
	detail = true;
	strcpy(root, "/tmp/test_sampler.XXXXXX");
	if (!mkdtemp(root) || schema_init() || proc_table_new(&table) || procfs_open(root, &fs))
		return -1;
	opt.table = table;
	opt.fs = fs;
	if (sampler_new(&opt, &sampler))
		return -1;
	proc_table_learn(table, &root_fact);
	return sampler_root(sampler, 10);
}

static int pss_tear_down(void **state)
{
	char path[160];

	for (uint32_t pid = 10; pid < 10 + PSS_PROCESSES; pid++) {
		snprintf(path, sizeof(path), "%s/%u/smaps_rollup", root, pid);
		unlink(path);
		snprintf(path, sizeof(path), "%s/%u", root, pid);
		rmdir(path);
	}
	rmdir(root);
	procfs_free(fs);
	return tear_down(state);
}

static void pss_sample(uint64_t boot_ns)
{
	for (uint32_t pid = 10; pid < 10 + PSS_PROCESSES; pid++)
		task(pid, pid, pid == 10 ? 1 : 10, SEC, 0);
	sample(boot_ns);
	assert_int_equal(n_rows, PSS_PROCESSES);
}

static void all_processes_are_looked_at_in_turn(void **state)
{
	for (unsigned round = 1; round <= 3; round++) {
		for (uint32_t pid = 10; pid < 10 + PSS_PROCESSES; pid++)
			pss_is(pid, 100 * round + pid);
		pss_sample(10 * round * SEC);
		for (uint32_t i = 0; i < PSS_PROCESSES; i++)
			assert_int_equal(rows[i].pss_kb, 100 * round + rows[i].h.tgid);
	}
}

static void of_a_tree_with_a_member_that_refuses_a_look_PSS_is_not_told(void **state)
{
	for (uint32_t pid = 10; pid < 10 + PSS_PROCESSES; pid++)
		pss_is(pid, 100);
	pss_sample(10 * SEC);
	assert_int_equal(tree.pss_kb, 300);
	pss_put(11, "no numbers");
	pss_sample(20 * SEC);
	assert_int_equal(rows[1].h.tgid, 11);
	assert_int_equal(rows[1].pss_kb, 0);
	assert_int_equal(rows[2].uss_kb, 100);
	assert_int_equal(tree.pss_kb, 0);
	assert_int_equal(tree.uss_kb, 0);
	pss_is(11, 200);
	pss_sample(30 * SEC);
	assert_int_equal(tree.pss_kb, 400);
}

/* ---- /proc in detail ---- */

static void detail_file(const char *dir, const char *name, const char *text)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	file_put(path, text);
}

static void thread_put(uint32_t tid, unsigned utime, unsigned wait_ms, unsigned rchar)
{
	char path[160], dir[64], text[256];

	snprintf(path, sizeof(path), "%s/10/task", root);
	mkdir(path, 0700);
	snprintf(dir, sizeof(dir), "10/task/%u", tid);
	snprintf(path, sizeof(path), "%s/%s", root, dir);
	mkdir(path, 0700);
	snprintf(text, sizeof(text),
		 "%u (w) S 1 1 1 0 -1 0 11 0 2 0 %u 3 0 0 20 -7 2 0 100 8192000 1 1 1 1 1 1 1 0 0 "
		 "0 0 "
		 "1 0 0 17 1 40 2 0\n",
		 tid, utime);
	detail_file(dir, "stat", text);
	snprintf(text, sizeof(text), "%u %u 9\n", utime * 10000000, wait_ms * 1000000);
	detail_file(dir, "schedstat", text);
	detail_file(dir, "status",
		    "Name:\tw\nvoluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t6\n");
	snprintf(text, sizeof(text),
		 "rchar: %u\nwchar: 0\nsyscr: 1\nsyscw: 0\nread_bytes: 0\nwrite_bytes: 0\n", rchar);
	detail_file(dir, "io", text);
}

static int proc_detail_set_up(void **state)
{
	struct task_procfs_options task_opt = {.match = &match, .detail = true, .threads = true};
	struct sampler_options opt = {
		.cores = 8, .detail = true, .threads = true, .since_start = true};

	strcpy(root, "/tmp/test_sampler.XXXXXX");
	if (!mkdtemp(root) || schema_init() || proc_table_new(&table) || procfs_open(root, &fs))
		return -1;
	process_put(10, 1, 100, 0);
	thread_put(10, 40, 20, 100);
	thread_put(12, 60, 30, 23);
	file_put("10/stat",
		 "10 (work) S 1 1 1 0 -1 0 30 0 4 0 110 10 0 0 20 0 2 0 100 8192000 1\n");
	file_put("10/status", "Uid:\t0\nVmHWM:\t9000 kB\nRssAnon:\t400 kB\nRssFile:\t40 kB\n"
			      "RssShmem:\t4 kB\nVmSwap:\t8 kB\nvoluntary_ctxt_switches:\t5\n"
			      "nonvoluntary_ctxt_switches:\t6\n");
	file_put("10/io", "rchar: 1000\nwchar: 200\nsyscr: 9\nsyscw: 8\nread_bytes: 5\n"
			  "write_bytes: 6\n");
	procfs_seed(fs, table, &match, NULL, NULL);
	task_opt.fs = opt.fs = fs;
	task_opt.table = opt.table = table;
	if (task_procfs_open(&task_opt, &opt.source) || sampler_new(&opt, &sampler))
		return -1;
	return sampler_root(sampler, 10);
}

static void threads_remove(void)
{
	static const char *const files[] = {"stat", "schedstat", "status", "io"};
	char path[160];

	for (uint32_t tid = 10; tid <= 12; tid += 2) {
		for (size_t i = 0; i < 4; i++) {
			snprintf(path, sizeof(path), "%s/10/task/%u/%s", root, tid, files[i]);
			unlink(path);
		}
		snprintf(path, sizeof(path), "%s/10/task/%u", root, tid);
		rmdir(path);
	}
	snprintf(path, sizeof(path), "%s/10/task", root);
	rmdir(path);
}

static int proc_detail_tear_down(void **state)
{
	threads_remove();
	return proc_tear_down(state);
}

static void proc_tells_details_and_threads_without_counting_twice(void **state)
{
	sample(10 * SEC);
	assert_int_equal(n_rows, 1);
	assert_int_equal(n_threads, 2);
	assert_int_equal(n_trees, 1);
	assert_int_equal(rows->cpu_ns, 1200 * MS);
	assert_int_equal(rows->system_ns, 100 * MS);
	assert_int_equal(rows->minor_faults, 30);
	assert_int_equal(rows->major_faults, 4);
	assert_int_equal(rows->wait_ns, 50 * MS);
	assert_int_equal(rows->voluntary, 10);
	assert_int_equal(rows->involuntary, 12);
	assert_int_equal(rows->rchar, 1000);
	assert_int_equal(rows->syscw, 8);
	assert_int_equal(rows->anon_kb, 400);
	assert_int_equal(rows->shmem_kb, 4);
	assert_int_equal(rows->swap_kb, 8);
	assert_int_equal(rows->peak_kb, 9000);
	assert_int_equal(tree.rchar, 1000);
	assert_int_equal(tree.read_bytes, 5);
	assert_int_equal(tree.threads, 2);
}

/* As many groups as a user can have: they stand before what memory it has. */
static void of_somebody_in_many_groups_memory_is_told_too(void **state)
{
	struct buf b = {};

	buf_add_lit(&b, "Uid:\t0\nGroups:\t");
	for (unsigned i = 0; i < 65536; i++)
		buf_printf(&b, "%u ", 4000000000U + i);
	buf_add_lit(&b, "\nVmHWM:\t9000 kB\nRssAnon:\t400 kB\nRssFile:\t40 kB\nRssShmem:\t4 kB\n"
			"voluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t6\n");
	file_put("10/status", buf_cstr(&b));
	sample(10 * SEC);
	assert_int_equal(rows->anon_kb, 400);
	assert_int_equal(rows->peak_kb, 9000);
	buf_done(&b);
}

static void what_wait_told_of_a_root_completes_the_sums_of_proc(void **state)
{
	const struct rusage use = {.ru_utime = {.tv_sec = 3},
				   .ru_stime = {.tv_sec = 1},
				   .ru_minflt = 77,
				   .ru_oublock = 16};

	sample(10 * SEC);
	sampler_waited(sampler, 10, &use);
	threads_remove();
	process_remove(10);
	sample(11 * SEC);
	assert_int_equal(tree.cpu_ns, 4 * SEC);
	assert_int_equal(tree.minor_faults, 77);
	assert_int_equal(tree.major_faults, 4);
	assert_int_equal(tree.write_bytes, 8192);
	assert_int_equal(tree.rchar, 1000);
	assert_int_equal(tree.processes, 0);
	assert_int_equal(tree.ended, 1);
}

static void the_machine_is_sampled_when_nothing_is_selected(void **state)
{
	struct sampler_options opt = {.fs = fs, .machine = true, .cores = 4};
	struct sampler *s;

	file_put("stat", "cpu  100 0 0 1000 0 0 0 0 0 0\n");
	file_put("meminfo", "MemTotal: 4096000 kB\nMemFree: 1000 kB\nMemAvailable: 1024000 kB\n");
	file_put("loadavg", "1.50 0.25 0.05 1/2 3\n");
	assert_int_equal(sampler_new(&opt, &s), 0);
	assert_int_equal(sampler_sample(s, 10 * SEC, AS_SAMPLE_TIMER, 0, &out), 0);
	assert_int_equal(machine.cpu_centi, 0);
	file_put("stat", "cpu  200 30 20 1000 0 0 0 99 0 0\n");
	assert_int_equal(sampler_sample(s, 11 * SEC, AS_SAMPLE_TIMER, 0, &out), 0);
	assert_int_equal(machine.cpu_centi, 15000);
	assert_int_equal(machine.load1_centi, 150);
	assert_int_equal(machine.used_kb, 3072000);
	assert_int_equal(machine.used_mb, 3000);
	assert_int_equal(machine.rss_mb, 3000);
	assert_int_equal(machine.used_centi, 7500);
	assert_int_equal(machine.cores, 4);
	file_put("meminfo", "nonsense");
	assert_int_equal(sampler_sample(s, 12 * SEC, AS_SAMPLE_TIMER, 0, &out), -EBADMSG);
	sampler_free(s);
}

#define TEST(f)      cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define TREE_TEST(f) cmocka_unit_test_setup_teardown(f, tree_set_up, tear_down)
#define PROC_TEST(f) cmocka_unit_test_setup_teardown(f, proc_set_up, proc_tear_down)
#define PSS_TEST(f)  cmocka_unit_test_setup_teardown(f, pss_set_up, pss_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_percentage_is_cpu_time_between_two_samples),
		TEST(threads_are_summed_and_may_come_apart),
		TEST(who_began_after_the_last_sample_counts_from_its_start),
		TEST(a_thread_missed_by_one_pass_never_makes_a_row_negative),
		TEST(children_that_lived_and_died_in_between_are_in_the_row),
		TEST(what_a_childs_own_rows_have_shown_is_not_shown_again),
		TEST(a_grandchild_whose_parent_ended_too_counts_for_the_grandparent),
		TEST(a_reused_pid_starts_anew),
		TEST(a_very_long_run_does_not_overflow),
		TEST(where_a_childs_io_cannot_be_told_apart_the_row_says_so),
		TEST(a_source_that_fails_makes_no_rows),
		TREE_TEST(a_tree_row_ends_the_sample_and_tells_why_it_was_taken),
		TREE_TEST(the_time_for_which_the_command_was_held_is_not_in_its_trees),
		TREE_TEST(the_next_sample_is_planned_by_what_this_one_shows),
		TREE_TEST(the_load_is_that_of_all_trees),
		TREE_TEST(every_row_says_which_tree_it_is_part_of),
		TREE_TEST(the_tree_holds_exactly_what_ended_children_used),
		TREE_TEST(io_of_threads_that_ended_is_told_from_that_of_children),
		TREE_TEST(who_ran_before_counts_from_the_first_sample),
		cmocka_unit_test_setup_teardown(or_from_its_start_when_that_is_asked_for,
						whole_tree_set_up, tear_down),
		TREE_TEST(a_member_whose_end_is_not_told_yet_is_not_lost_meanwhile),
		TREE_TEST(the_tree_outlives_its_root),
		TREE_TEST(a_reused_pid_is_another_member),
		TREE_TEST(bytes_of_the_network_count_for_the_living_and_the_ended),
		TREE_TEST(a_root_must_be_known),
		TREE_TEST(user_and_system_time_add_up_to_the_exact_sum),
		TREE_TEST(the_split_of_a_tree_is_never_more_than_its_sum),
		PROC_TEST(proc_gives_ticks_memory_and_io),
		PROC_TEST(proc_shows_one_user_of_all_who_belong),
		PROC_TEST(io_that_cannot_be_read_is_not_told_as_none),
		PROC_TEST(children_never_seen_show_when_they_are_waited_for),
		PROC_TEST(a_waited_for_child_counts_only_beyond_its_own_rows),
		PROC_TEST(a_child_that_nobody_waits_for_is_forgotten_after_a_sample),
		cmocka_unit_test_setup_teardown(
			proc_tells_details_and_threads_without_counting_twice, proc_detail_set_up,
			proc_detail_tear_down),
		cmocka_unit_test_setup_teardown(what_wait_told_of_a_root_completes_the_sums_of_proc,
						proc_detail_set_up, proc_detail_tear_down),
		PSS_TEST(all_processes_are_looked_at_in_turn),
		PSS_TEST(of_a_tree_with_a_member_that_refuses_a_look_PSS_is_not_told),
		cmocka_unit_test_setup_teardown(of_somebody_in_many_groups_memory_is_told_too,
						proc_detail_set_up, proc_detail_tear_down),
		PROC_TEST(the_machine_is_sampled_when_nothing_is_selected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
