/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "event/schema.h"
#include "source/threads.h"

#define MS  1000000ULL
#define SEC 1000000000ULL

static struct threads *threads;
static struct as_system_thread row;
static char name[AS_COMM_LEN + 1];
static size_t n_rows;

static void keep(struct emitter *self, const struct event *ev)
{
	const struct as_system_thread *r = (const void *)ev->rec;

	row = *r;
	memset(name, 0, sizeof(name));
	memcpy(name, (const char *)r + r->name.off, r->name.len);
	n_rows++;
	assert_int_equal(r->h.len, sizeof(*r) + r->name.len);
}

static struct emitter out = {keep};

static int set_up(void **state)
{
	n_rows = 0;
	return schema_init() || threads_new(&threads) ? -1 : 0;
}

static int tear_down(void **state)
{
	threads_free(threads);
	return 0;
}

static void emit(uint32_t tid, uint64_t start_ns, uint64_t cpu_ns, uint64_t wait_ns)
{
	const struct as_task t = {.tgid = 10, .tid = tid, .start_ns = SEC, .comm = "daemon"};
	const struct as_task_more m = {.start_ns = start_ns,
				       .cpu_ns = cpu_ns,
				       .wait_ns = wait_ns,
				       .name = "worker",
				       .nice = -5};

	threads_emit(threads, &t, &m, &out);
}

static void percentages_are_of_the_time_since_the_last_row(void **state)
{
	threads_begin(threads, 10 * SEC, 0);
	emit(11, SEC, 100 * MS, 0);
	assert_int_equal(row.interval_ns, 0);
	assert_int_equal(row.cpu_centi, 0);
	threads_end(threads);
	threads_begin(threads, 12 * SEC, 9 * SEC);
	emit(11, SEC, 600 * MS, 200 * MS);
	assert_int_equal(row.interval_ns, 2 * SEC);
	assert_int_equal(row.cpu_centi, 2500);
	assert_int_equal(row.wait_centi, 1000);
	assert_int_equal(row.cpu_ns, 600 * MS);
	assert_int_equal(row.nice, -5);
	assert_string_equal(name, "worker");
	assert_string_equal(row.h.comm, "daemon");
}

static void a_new_thread_counts_from_its_start(void **state)
{
	threads_begin(threads, 12 * SEC, 10 * SEC);
	emit(11, 11 * SEC, 500 * MS, 0);
	assert_int_equal(row.interval_ns, SEC);
	assert_int_equal(row.cpu_centi, 5000);
}

static void a_reused_number_is_another_thread(void **state)
{
	threads_begin(threads, 10 * SEC, 0);
	emit(11, SEC, 900 * MS, 0);
	threads_end(threads);
	threads_begin(threads, 12 * SEC, 9 * SEC);
	emit(11, 11 * SEC, 950 * MS, 0);
	assert_int_equal(row.cpu_centi, 9500);
}

static void threads_come_and_go_by_the_thousand(void **state)
{
	for (uint32_t pass = 1; pass < 40; pass++) {
		threads_begin(threads, pass * SEC, 0);
		for (uint32_t i = 0; i < 5000; i++)
			emit(pass * 1000 + i + 1, SEC, pass * 10 * MS, 0);
		threads_end(threads);
	}
	threads_begin(threads, 40 * SEC, 0);
	emit(39 * 1000 + 1, SEC, 400 * MS, 0); /* was in the last pass */
	assert_int_equal(row.interval_ns, SEC);
	assert_int_equal(row.cpu_centi, 100);
	emit(1, SEC, 400 * MS, 0); /* is long forgotten */
	assert_int_equal(row.interval_ns, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(percentages_are_of_the_time_since_the_last_row),
		TEST(a_new_thread_counts_from_its_start),
		TEST(a_reused_number_is_another_thread),
		TEST(threads_come_and_go_by_the_thousand),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
