/* SPDX-License-Identifier: MIT */
/* For tests of what is asked of the C library's allocator, and how often. */
#ifndef AGENTSIGHT_TESTS_ALLOCATOR_H
#define AGENTSIGHT_TESTS_ALLOCATOR_H

#include <malloc.h>
#include <sys/resource.h>

/* As main() sets it up. Skips the test where a sanitizer has an allocator of its own. */
static inline void allocator_as_in_main(void)
{
#ifdef __SANITIZE_ADDRESS__
	skip();
#endif
	mallopt(M_MMAP_THRESHOLD, 128 << 10);
	malloc_trim(0);
}

static inline long page_faults(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return u.ru_minflt;
}

/* In pieces that are large. */
static inline size_t allocated_bytes(void)
{
	return mallinfo2().hblkhd;
}

#endif
