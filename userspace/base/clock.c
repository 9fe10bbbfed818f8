/* SPDX-License-Identifier: MIT */
#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

_Atomic int64_t clock_boot_added_ns;

static _Atomic int64_t unix_offset_ns;

/* "boottime      100000         0": seconds and nanoseconds; the seconds may be negative. */
void clock_namespace(void)
{
	_cleanup_(fclosep) FILE *f = fopen("/proc/self/timens_offsets", "re");
	char name[32];
	int64_t s, ns;

	while (f && fscanf(f, "%31s %" SCNd64 " %" SCNd64, name, &s, &ns) == 3) {
		if (!strcmp(name, "boottime"))
			clock_boot_added_ns = s * (int64_t)NSEC_PER_SEC + ns;
	}
}

void clock_sync(void)
{
	int64_t best = INT64_MAX, offset = 0;

	/* the pair with the shortest gap between its readings is the least disturbed one */
	for (int i = 0; i < 5; i++) {
		int64_t before = clock_boot_ns();
		int64_t real = clock_ns(CLOCK_REALTIME);
		int64_t after = clock_boot_ns();

		if (after - before < best) {
			best = after - before;
			offset = real - (before + after) / 2;
		}
	}
	unix_offset_ns = offset;
}

uint64_t clock_unix_ns(uint64_t boot_ns)
{
	return boot_ns + unix_offset_ns;
}
