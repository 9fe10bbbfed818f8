/* SPDX-License-Identifier: MIT */
/* How fast a quantity grows: the straight line that fits its last half minute best. */
#ifndef AGENTSIGHT_SOURCE_SLOPE_H
#define AGENTSIGHT_SOURCE_SLOPE_H

#include <stdint.h>

#define SLOPE_POINTS 32

/* Zeroed at the start. Of constant size, since there is one per process. */
struct slope {
	uint32_t n;
	uint32_t at; /* of the next point */
	struct {
		uint32_t ms; /* modulo 49 days: only differences count */
		uint32_t kb;
	} points[SLOPE_POINTS];
};

/* Points closer than a second to the last one are left out. */
void slope_add(struct slope *s, uint64_t boot_ns, uint64_t kb);

/* KiB per minute; 0 until there are five points over five seconds. */
int64_t slope_kb_min(const struct slope *s);

#endif
