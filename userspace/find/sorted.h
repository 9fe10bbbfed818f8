/* SPDX-License-Identifier: MIT */
/* Tables in the order of an address, which each item begins with. */
#ifndef AGENTSIGHT_FIND_SORTED_H
#define AGENTSIGHT_FIND_SORTED_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t sorted_address(const void *item)
{
	uint64_t vaddr;

	memcpy(&vaddr, item, sizeof(vaddr));
	return vaddr;
}

/* For qsort(). */
static inline int sorted_compare(const void *a, const void *b)
{
	uint64_t x = sorted_address(a), y = sorted_address(b);

	return x < y ? -1 : x > y;
}

/* The first of @n items of @size bytes whose address is not below @vaddr; @n when all are. */
static inline size_t sorted_from(const void *items, size_t size, size_t n, uint64_t vaddr)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (sorted_address((const char *)items + mid * size) < vaddr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

#endif
