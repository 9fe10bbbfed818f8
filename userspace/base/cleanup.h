/* SPDX-License-Identifier: MIT */
/*
 * Scope-bound release: `_cleanup_(fn)` runs fn(&variable) when the variable leaves scope;
 * TAKE_PTR() and TAKE_FD() hand the value over and leave nothing behind to release.
 */
#ifndef AGENTSIGHT_BASE_CLEANUP_H
#define AGENTSIGHT_BASE_CLEANUP_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(fn) __attribute__((cleanup(fn)))

#define TAKE_PTR(p)                            \
	({                                     \
		__typeof__(p) *_slot = &(p);   \
		__typeof__(p) _taken = *_slot; \
		*_slot = NULL;                 \
		_taken;                        \
	})

#define TAKE_FD(fd)                  \
	({                           \
		int *_slot = &(fd);  \
		int _taken = *_slot; \
		*_slot = -1;         \
		_taken;              \
	})

/* DEFINE_FREEP(struct x *, x_free) makes x_freep() for use with _cleanup_. */
#define DEFINE_FREEP(type, fn)            \
	static inline void fn##p(type *p) \
	{                                 \
		if (*p)                   \
			fn(*p);           \
	}

static inline void freep(void *p)
{
	free(*(void **)p);
}

static inline void fclosep(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void closedirp(DIR **d)
{
	if (*d)
		closedir(*d);
}

static inline void closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)                       \
	({                              \
		__typeof__(a) _a = (a); \
		__typeof__(b) _b = (b); \
		_a < _b ? _a : _b;      \
	})
#define MAX(a, b)                       \
	({                              \
		__typeof__(a) _a = (a); \
		__typeof__(b) _b = (b); \
		_a > _b ? _a : _b;      \
	})

#endif
