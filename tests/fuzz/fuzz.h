/* SPDX-License-Identifier: MIT */
/* What several fuzz targets do. */
#ifndef AGENTSIGHT_TESTS_FUZZ_H
#define AGENTSIGHT_TESTS_FUZZ_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

/* Also where assertions are compiled out. */
static inline void must(bool holds)
{
	if (!holds)
		abort();
}

/* How many of @left bytes come next; all of them if @random is 0. */
static inline size_t fuzz_piece(uint32_t *random, size_t left)
{
	size_t len = left;

	if (*random) {
		*random = *random * 1664525U + 1013904223U;
		len = 1 + (*random >> 16) % ((*random & 0x100) ? 2 : 40);
	}
	return len < left ? len : left;
}

/* Gives a new parser all bytes, in pieces of fuzz_piece(), and writes down what it says. */
typedef void (*fuzz_run_fn)(struct buf *told, uint32_t random, const uint8_t *p, size_t n);

/* Bytes give the same whole and cut. The first one seeds the cuts. */
static inline int fuzz_whole_and_cut(fuzz_run_fn run, const uint8_t *p, size_t n)
{
	struct buf whole = {}, cut = {};

	if (n == 0)
		return 0;
	run(&whole, 0, p + 1, n - 1);
	run(&cut, p[0] + 1U, p + 1, n - 1);
	must(whole.len == cut.len);
	must(!whole.len || !memcmp(whole.data, cut.data, whole.len));
	buf_done(&whole);
	buf_done(&cut);
	return 0;
}

#endif
