/* SPDX-License-Identifier: MIT */
/*
 * Files as they are mapped executable, anywhere on the machine: how a library that a program loads
 * late comes to notice. The kernel's perf records say which inode; nobody is asked about a path.
 */
#ifndef AGENTSIGHT_SOURCE_MMAPS_H
#define AGENTSIGHT_SOURCE_MMAPS_H

#include <stdint.h>

#include "base/cleanup.h"

struct mmaps;

struct mapping {
	uint32_t tgid;
	uint64_t addr;
	uint64_t len;
	uint64_t dev; /* as makedev(3) makes it */
	uint64_t ino;
	uint64_t generation; /* tells inodes apart that had the same number one after the other */
	const char *path;    /* as the process sees it */
};

typedef void (*mapping_fn)(void *arg, const struct mapping *m);

/*
 * One small ring per processor. What perf_event_open() says when there is no privilege. A processor that is switched on
 * later is noticed within about a second.
 */
int mmaps_open(struct mmaps **ret);
void mmaps_free(struct mmaps *m);
DEFINE_FREEP(struct mmaps *, mmaps_free)

/*
 * Calls @fn for what was mapped since the last call. Returns how many records the kernel lost; at least one when a
 * processor had no ring for a while.
 */
uint64_t mmaps_poll(struct mmaps *m, mapping_fn fn, void *arg);

#endif
