/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "enrich/proc_table.h"

#define MS 1000000ULL

static struct proc_table *table;

static int set_up(void **state)
{
	return proc_table_new(&table);
}

static int tear_down(void **state)
{
	proc_table_free(table);
	return 0;
}

static void feed(const void *rec)
{
	const struct event ev = {.rec = rec};

	proc_table_event(table, &ev);
}

static void feed_fork(uint32_t parent, uint64_t parent_start, uint32_t child, uint64_t child_start)
{
	struct as_fork e = {
		.h = {.type = AS_EV_FORK, .tgid = parent, .start_ns = parent_start, .ppid = 1},
		.child_pid = child,
		.child_ppid = parent,
		.child_start_ns = child_start,
	};

	strcpy(e.h.comm, "forker");
	feed(&e);
}

static void feed_exec(uint32_t tgid, uint32_t ppid, uint64_t start_ns, const char *comm)
{
	struct as_exec e = {
		.h = {.type = AS_EV_EXEC, .tgid = tgid, .ppid = ppid, .start_ns = start_ns}};

	strncpy(e.h.comm, comm, sizeof(e.h.comm) - 1);
	feed(&e);
}

static void feed_exit(uint32_t tgid, uint32_t ppid, uint64_t start_ns, uint64_t cpu_ns)
{
	struct as_exit e = {
		.h = {.type = AS_EV_EXIT, .tgid = tgid, .ppid = ppid, .start_ns = start_ns},
		.cpu_user_ns = cpu_ns,
	};

	feed(&e);
}

static struct proc *seed(uint32_t tgid, uint32_t ppid, uint64_t start_ns, bool followed)
{
	const struct proc_fact f = {.tgid = tgid,
				    .ppid = ppid,
				    .start_ns = start_ns,
				    .followed = followed,
				    .comm = "seeded\0\0\0\0\0\0\0\0\0"};

	return proc_table_learn(table, &f);
}

static void a_fork_makes_a_followed_child_below_its_parent(void **state)
{
	struct proc *parent, *child;

	feed_fork(10, 100 * MS, 11, 200 * MS);
	parent = proc_table_find(table, 10);
	child = proc_table_find(table, 11);
	assert_non_null(child);
	assert_ptr_equal(child->parent, parent);
	assert_true(child->followed);
	assert_string_equal(child->comm, "forker");
	feed_exec(11, 10, 200 * MS, "program");
	assert_ptr_equal(proc_table_find(table, 11), child);
	assert_string_equal(child->comm, "program");
}

static void a_start_time_from_proc_is_made_exact_by_the_kernel(void **state)
{
	struct proc *p = seed(10, 1, 120 * MS, false);

	feed_exec(10, 1, 129 * MS + 999, "x");
	assert_ptr_equal(proc_table_find(table, 10), p);
	assert_int_equal(p->start_ns, 129 * MS + 999);
	assert_true(p->start_exact);
	assert_ptr_equal(seed(10, 1, 120 * MS, false), p);
	assert_int_equal(p->start_ns, 129 * MS + 999);
	assert_int_equal(proc_table_count(table), 1);
}

static void a_newer_start_time_is_another_process(void **state)
{
	struct proc *old, *new;

	feed_exec(10, 1, 100 * MS, "old");
	old = proc_table_find(table, 10);
	feed_exec(10, 1, 100 * MS + 1, "new"); /* within a tick, but both are exact */
	new = proc_table_find(table, 10);
	assert_ptr_not_equal(old, new);
	assert_true(old->exited);
	assert_string_equal(old->comm, "old");
	assert_int_equal(proc_table_count(table), 1);
}

static void a_late_event_does_not_bring_an_ended_process_back(void **state)
{
	feed_exec(10, 1, 100 * MS, "x");
	feed_exit(10, 1, 100 * MS, 5);
	assert_int_equal(proc_table_count(table), 0);
	feed_exec(10, 1, 100 * MS, "x");
	assert_int_equal(proc_table_count(table), 0);
	assert_true(proc_table_find(table, 10)->exited);
	assert_null(seed(10, 1, 100 * MS, false));

	feed_exec(10, 1, 300 * MS, "reused");
	feed_exit(10, 1, 100 * MS, 5);
	assert_int_equal(proc_table_count(table), 1);
	assert_string_equal(proc_table_find(table, 10)->comm, "reused");
}

static void events_of_user_space_and_inferred_ones_prove_no_process(void **state)
{
	struct as_system_metrics m = {
		.h = {.type = AS_EV_SYSTEM_METRICS, .tgid = 10, .start_ns = 100 * MS}};
	struct as_exec e = {
		.h = {.type = AS_EV_EXEC, .tgid = 10, .start_ns = 1, .flags = AS_F_INFERRED}};

	feed(&m);
	feed(&e);
	assert_int_equal(proc_table_count(table), 0);
}

/* Of 2,000 processes that had a socket each, which is told of when most of them are forgotten already. */
static void what_is_told_of_sockets_proves_no_process_either(void **state)
{
	struct proc *p;

	for (uint32_t i = 0; i < 2000; i++) {
		feed_fork(10, 100 * MS, 1000 + i, 200 * MS + i);
		feed_exit(1000 + i, 10, 200 * MS + i, 5);
	}
	for (uint32_t i = 0; i < 2000; i++) {
		struct as_flow e = {.h = {.type = AS_EV_CLOSE,
					  .tgid = 1000 + i,
					  .ppid = 10,
					  .start_ns = 200 * MS + i,
					  .comm = "gone"}};

		feed(&e);
	}
	assert_int_equal(proc_table_count(table), 1);
	feed_exec(10, 1, 100 * MS, "new");
	for (uint32_t type = AS_EV_CONNECT; type <= AS_EV_RETRANSMIT; type++) {
		struct as_retransmit e = {.h = {.type = type,
						.tgid = 10,
						.ppid = 7,
						.start_ns = 100 * MS,
						.comm = "old"}};

		feed(&e);
	}
	p = proc_table_find(table, 10);
	assert_string_equal(p->comm, "new");
	assert_int_equal(p->ppid, 1);
}

static void what_an_ended_child_used_is_credited_once(void **state)
{
	struct proc *parent, *child;

	feed_fork(10, 100 * MS, 11, 200 * MS);
	parent = proc_table_find(table, 10);
	child = proc_table_find(table, 11);
	child->sample.cpu_ns = 30 * MS; /* shown in rows of its own */
	child->exited_cpu_ns = 4 * MS;  /* of its own children */
	feed_exit(11, 10, 200 * MS, 50 * MS);
	assert_int_equal(parent->exited_cpu_ns, 24 * MS);
	feed_exit(11, 10, 200 * MS, 50 * MS);
	assert_int_equal(parent->exited_cpu_ns, 24 * MS);
}

static void a_credit_goes_past_what_is_not_followed(void **state)
{
	struct proc *top = seed(10, 1, 100 * MS, true);

	seed(11, 10, 200 * MS, false);
	seed(12, 11, 300 * MS, true);
	feed_exit(12, 11, 300 * MS, 7 * MS);
	assert_int_equal(top->exited_cpu_ns, 7 * MS);
}

static void children_of_an_ended_process_go_to_its_parent(void **state)
{
	struct proc *top;

	feed_fork(10, 100 * MS, 11, 200 * MS);
	feed_fork(11, 200 * MS, 12, 300 * MS);
	top = proc_table_find(table, 10);
	feed_exit(11, 10, 200 * MS, 0);
	assert_ptr_equal(proc_table_find(table, 12)->parent, top);
	proc_table_count_children(table);
	assert_int_equal(top->children, 1);
	feed_exit(12, 1, 300 * MS, 9);
	assert_int_equal(top->exited_cpu_ns, 9);
}

static void children_are_followed_descendants_of_all_levels(void **state)
{
	seed(10, 1, 100 * MS, true);
	seed(11, 10, 200 * MS, true);
	seed(12, 11, 300 * MS, false);
	seed(13, 12, 400 * MS, true);
	seed(14, 10, 400 * MS, true);
	for (int i = 0; i < 2; i++) {
		proc_table_count_children(table);
		assert_int_equal(proc_table_find(table, 10)->children, 3);
		assert_int_equal(proc_table_find(table, 11)->children, 1);
		assert_int_equal(proc_table_find(table, 13)->children, 0);
	}
}

static void a_parent_may_be_learnt_after_its_child(void **state)
{
	struct proc *child = seed(20, 30, 200 * MS, true), *parent = seed(30, 1, 100 * MS, true);

	assert_null(child->parent);
	proc_table_link(table);
	assert_ptr_equal(child->parent, parent);
}

static void parents_in_a_circle_are_refused(void **state)
{
	seed(10, 12, 100 * MS, true);
	seed(11, 10, 100 * MS, true);
	seed(12, 11, 100 * MS, true);
	proc_table_link(table);
	assert_null(proc_table_find(table, 10)->parent);
	proc_table_count_children(table);
	assert_int_equal(proc_table_find(table, 10)->children, 2);
}

static void a_chain_as_long_as_the_table_is_counted_without_recursion(void **state)
{
	const uint32_t n = PROC_TABLE_MAX;

	for (uint32_t i = 1; i <= n; i++)
		seed(i, i - 1, i * 10 * MS, true);
	assert_int_equal(proc_table_count(table), n);
	proc_table_count_children(table);
	assert_int_equal(proc_table_find(table, 1)->children, n - 1);

	assert_null(seed(n + 1, n, (n + 1ULL) * 10 * MS, true));
	assert_int_equal(proc_table_refused(table), 1);
	assert_null(proc_table_find(table, n + 1));
}

static long resident_pages(void)
{
	long vsz = 0, rss = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%ld %ld", &vsz, &rss), 2);
	fclose(f);
	return rss;
}

static void a_million_short_processes_leave_memory_flat(void **state)
{
	uint64_t now = 1000 * MS;
	long before = 0;

	feed_exec(1000, 1, now, "shell");
	for (uint32_t i = 0; i < 1000000; i++) {
		uint32_t pid = 2000 + i % 30000;

		now += MS;
		feed_fork(1000, 1000 * MS, pid, now);
		feed_exec(pid, 1000, now, "short");
		feed_exit(pid, 1000, now, 3);
		if (i == 10000)
			before = resident_pages();
	}
	assert_int_equal(proc_table_count(table), 1);
	assert_int_equal(proc_table_find(table, 1000)->exited_cpu_ns, 3000000);
	assert_true(resident_pages() - before < 64);
}

static void ten_thousand_reused_pids_whose_exits_were_lost_stay_ten_thousand(void **state)
{
	for (uint64_t round = 1; round <= 20; round++) {
		for (uint32_t pid = 1; pid <= 10000; pid++)
			feed_exec(pid, 0, round * 100 * MS, "x");
	}
	assert_int_equal(proc_table_count(table), 10000);
}

static unsigned released;

static void count_release(struct proc *p)
{
	released++;
}

static void what_the_source_keeps_is_released_at_the_end_and_with_the_table(void **state)
{
	struct proc_table *t;
	const struct proc_fact a = {.tgid = 1, .start_ns = 1}, b = {.tgid = 2, .start_ns = 1};
	struct proc *p;

	assert_int_equal(proc_table_new(&t), 0);
	proc_table_on_end(t, count_release);
	p = proc_table_learn(t, &a);
	p->source = p;
	proc_table_learn(t, &b)->source = p;
	proc_table_end(t, p, 0);
	assert_int_equal(released, 1);
	assert_null(p->source);
	proc_table_free(t);
	assert_int_equal(released, 2);
}

static void looks_take_turns(void **state)
{
	assert_null(proc_table_rotate(table));
	seed(1, 0, 1, false);
	seed(2, 0, 1, false);
	assert_int_equal(proc_table_rotate(table)->tgid, 1);
	assert_int_equal(proc_table_rotate(table)->tgid, 2);
	assert_int_equal(proc_table_rotate(table)->tgid, 1);
}

static struct proc_tree *plant(uint32_t tgid)
{
	struct proc_tree *tree = NULL;
	struct proc *p = seed(tgid, 1, 100 * MS, true);

	assert_int_equal(proc_table_add_tree(table, p, 0, &tree), 0);
	assert_int_equal(proc_table_add_tree(table, p, 0, &tree), -EEXIST);
	assert_ptr_equal(p->tree, tree);
	return tree;
}

static size_t count_trees(void)
{
	const struct proc_tree *tree = NULL;
	size_t n = 0;

	while ((tree = proc_table_next_tree(table, tree)))
		n++;
	return n;
}

static void trees_that_are_over_go_but_the_newest(void **state)
{
	struct proc *kid;

	for (uint32_t tgid = 10; tgid < 15; tgid++)
		plant(tgid);
	kid = seed(100, 10, 200 * MS, true);
	assert_non_null(proc_table_tree(kid));
	for (uint32_t tgid = 10; tgid < 14; tgid++)
		feed_exit(tgid, 1, 100 * MS, 0);
	proc_table_drop_trees(table, 4);
	assert_int_equal(count_trees(), 5);

	/* of the first one a child lives, and the last one itself */
	proc_table_drop_trees(table, 1);
	assert_int_equal(count_trees(), 3);
	assert_null(proc_table_find(table, 11)->tree);
	assert_non_null(proc_table_find(table, 13)->tree);
	assert_non_null(kid->tree);

	feed_exit(100, 10, 200 * MS, 0);
	proc_table_drop_trees(table, 0);
	assert_int_equal(count_trees(), 1);
	assert_int_equal(proc_table_next_tree(table, NULL)->root->tgid, 14);
}

static void there_are_only_so_many_trees(void **state)
{
	struct proc_tree *tree;

	for (uint32_t i = 0; i < PROC_TABLE_TREES_MAX; i++)
		plant(10 + i);
	assert_int_equal(proc_table_add_tree(table, seed(9, 1, 100 * MS, true), 0, &tree), -ENOSPC);
	assert_int_equal(proc_table_refused(table), 1);
	feed_exit(10, 1, 100 * MS, 0);
	proc_table_drop_trees(table, 0);
	plant(9);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_fork_makes_a_followed_child_below_its_parent),
		TEST(a_start_time_from_proc_is_made_exact_by_the_kernel),
		TEST(a_newer_start_time_is_another_process),
		TEST(a_late_event_does_not_bring_an_ended_process_back),
		TEST(events_of_user_space_and_inferred_ones_prove_no_process),
		TEST(what_is_told_of_sockets_proves_no_process_either),
		TEST(what_an_ended_child_used_is_credited_once),
		TEST(a_credit_goes_past_what_is_not_followed),
		TEST(children_of_an_ended_process_go_to_its_parent),
		TEST(children_are_followed_descendants_of_all_levels),
		TEST(a_parent_may_be_learnt_after_its_child),
		TEST(parents_in_a_circle_are_refused),
		TEST(a_chain_as_long_as_the_table_is_counted_without_recursion),
		TEST(a_million_short_processes_leave_memory_flat),
		TEST(ten_thousand_reused_pids_whose_exits_were_lost_stay_ten_thousand),
		TEST(what_the_source_keeps_is_released_at_the_end_and_with_the_table),
		TEST(looks_take_turns),
		TEST(trees_that_are_over_go_but_the_newest),
		TEST(there_are_only_so_many_trees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
