/* SPDX-License-Identifier: MIT */
/* A test program's own malloc() and calloc(), which fail when they are told to; realloc() goes on. */
#ifndef TEST_STATS_NO_MEMORY_H
#define TEST_STATS_NO_MEMORY_H

#include <dlfcn.h>
#include <stdbool.h>
#include <stdlib.h>

static bool no_memory;

void *malloc(size_t n)
{
	static void *(*next)(size_t);

	if (!next)
		next = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
	return no_memory ? NULL : next(n);
}

void *calloc(size_t n, size_t size)
{
	static void *(*next)(size_t, size_t);

	if (!next)
		next = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "calloc");
	return no_memory ? NULL : next(n, size);
}

#endif
