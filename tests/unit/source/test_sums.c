/* SPDX-License-Identifier: MIT */
#include "source/sums.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "enrich/proc_table.h"

struct thing {
	struct owner owner;
	int value;
};

static void the_same_number_later_is_another_process(void **state)
{
	static struct owners owners;
	const struct as_life first = {.start_ns = 1, .tgid = 7},
			     second = {.start_ns = 2, .tgid = 7};
	struct thing *a = (struct thing *)owners_get(&owners, &first, sizeof(*a));
	struct thing *b = (struct thing *)owners_get(&owners, &second, sizeof(*b));

	assert_non_null(a);
	assert_non_null(b);
	assert_ptr_not_equal(a, b);
	assert_int_equal(a->value, 0);
	assert_ptr_equal(owners_find(&owners, &first), a);
	assert_ptr_equal(owners_get(&owners, &second, sizeof(*b)), b);
	owners_remove(&a->owner);
	free(a);
	assert_null(owners_find(&owners, &first));
	assert_ptr_equal(owners_pop(&owners), b);
	assert_null(owners_pop(&owners));
	free(b);
}

static void what_was_longest_is_told_in_its_turn_only(void **state)
{
	const struct as_peak peaks[2] = {{.ns = 5, .turn = 4}, {.ns = 9, .turn = 3}};

	assert_int_equal(peak_ns(peaks, 4), 5);
	assert_int_equal(peak_ns(peaks, 3), 9);
	assert_int_equal(peak_ns(peaks, 5), 0);
	assert_int_equal(peak_ns(peaks, 2), 0);
}

static void learn(struct proc_table *t, uint32_t tgid, uint64_t start_ns, bool exact)
{
	const struct proc_fact f = {.tgid = tgid,
				    .ppid = 3,
				    .uid = 4,
				    .start_ns = start_ns,
				    .start_exact = exact,
				    .comm = "new name\0\0\0\0\0\0\0"};

	assert_non_null(proc_table_learn(t, &f));
}

static void a_header_takes_what_has_become_of_the_process(void **state)
{
	_cleanup_(proc_table_freep) struct proc_table *t = NULL;
	struct as_hdr h = {.tgid = 20, .tid = 21, .start_ns = 5000000001, .ppid = 1, .comm = "old"};
	struct as_hdr other = {.tgid = 20, .start_ns = 4000000000, .ppid = 1, .comm = "old"};

	assert_int_equal(proc_table_new(&t), 0);
	learn(t, 20, 5000000000, false);
	life_header(&h, t);
	assert_int_equal(h.tid, 20);
	assert_int_equal(h.ppid, 3);
	assert_int_equal(h.uid, 4);
	assert_string_equal(h.comm, "new name");
	life_header(&other, t);
	assert_string_equal(other.comm, "old");
}

static void a_process_has_ended_when_its_number_is_gone_or_another_has_it(void **state)
{
	_cleanup_(proc_table_freep) struct proc_table *t = NULL;
	struct as_life self = {.start_ns = 5000000000, .tgid = getpid()}, gone = {.start_ns = 5};
	int status;
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	waitpid(pid, &status, 0);
	gone.tgid = pid;
	assert_int_equal(proc_table_new(&t), 0);
	assert_true(life_ended(&gone, t));
	assert_false(life_ended(&self, t));
	learn(t, getpid(), 5000000000, true);
	assert_false(life_ended(&self, t));
	self.start_ns = 4000000000;
	assert_true(life_ended(&self, t));
	self.start_ns = 6000000000; /* the table is behind */
	assert_false(life_ended(&self, t));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_same_number_later_is_another_process),
		cmocka_unit_test(what_was_longest_is_told_in_its_turn_only),
		cmocka_unit_test(a_header_takes_what_has_become_of_the_process),
		cmocka_unit_test(a_process_has_ended_when_its_number_is_gone_or_another_has_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
