/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <pthread.h>

#include "base/thread_memory.h"
#include "unit/allocator.h"

#define PIECE (64 << 10)

static void *use_two(void *ret)
{
	char **pieces = ret;

	for (size_t i = 0; i < 2; i++) {
		pieces[i] = thread_calloc(PIECE);
		if (!pieces[i])
			return NULL;
		for (size_t k = 0; k < PIECE; k++) {
			if (pieces[i][k])
				return NULL;
		}
		memset(pieces[i], 0x5a, PIECE);
	}
	return ret;
}

static void run(char *pieces[2])
{
	pthread_t t;
	void *done = NULL;

	assert_int_equal(pthread_create(&t, NULL, use_two, pieces), 0);
	assert_int_equal(pthread_join(t, &done), 0);
	assert_ptr_equal(done, pieces);
}

static void each_piece_is_zeroed_and_apart(void **state)
{
	char *pieces[2] = {NULL, NULL}, *mine = thread_calloc(PIECE);

	assert_non_null(mine);
	run(pieces);
	assert_true(pieces[0] + PIECE <= pieces[1] || pieces[1] + PIECE <= pieces[0]);
	for (size_t k = 0; k < PIECE; k++)
		assert_int_equal(mine[k], 0);
}

static void what_a_thread_had_goes_with_it(void **state)
{
	char *pieces[2];
	size_t before, after;

	allocator_as_in_main();
	mallopt(M_ARENA_MAX, 1);
	run(pieces); /* stacks and the like are there now */
	before = mallinfo2().uordblks;
	for (size_t i = 0; i < 100; i++)
		run(pieces);
	after = mallinfo2().uordblks;
	assert_true(after < before + PIECE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_piece_is_zeroed_and_apart),
		cmocka_unit_test(what_a_thread_had_goes_with_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
