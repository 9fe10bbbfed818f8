/* SPDX-License-Identifier: MIT */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"

#define MIB ((size_t)1 << 20)

static size_t in_use(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.arena + m.hblkhd;
}

/* Filled, so that nobody leaves the allocation out. */
static char *piece(size_t n)
{
	char *p = malloc(n);

	assert_non_null(p);
	memset(p, 1, n);
	return p;
}

static void large_pieces_leave_no_memory_behind(void **state)
{
	char *pieces[16], *small[16];
	size_t before;

	if (!in_use())
		skip(); /* a sanitizer has the heap */
	memory_large_apart();
	free(piece(16 *
		   MIB)); /* from here on the C library would take less than that from the heap */
	before = in_use();
	for (size_t i = 0; i < 16; i++) {
		pieces[i] = piece(2 * MIB);
		small[i] = piece(1000);
	}
	assert_true(in_use() > before + 32 * MIB);
	for (size_t i = 0; i < 16; i++)
		free(pieces[i]);
	assert_true(in_use() < before + MIB);
	for (size_t i = 0; i < 16; i++)
		free(small[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(large_pieces_leave_no_memory_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
