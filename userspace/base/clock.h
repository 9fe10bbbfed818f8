/* SPDX-License-Identifier: MIT */
/* Events carry CLOCK_BOOTTIME; people read the Unix epoch. */
#ifndef AGENTSIGHT_BASE_CLOCK_H
#define AGENTSIGHT_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NSEC_PER_SEC  1000000000ULL
#define NSEC_PER_MSEC 1000000ULL
#define NSEC_PER_USEC 1000ULL

static inline uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

/* What a time namespace adds to this process's CLOCK_BOOTTIME; what the kernel says in events is without. */
extern _Atomic int64_t clock_boot_added_ns;

/* Finds that out, once; without a time namespace it is 0. */
void clock_namespace(void);

static inline uint64_t clock_boot_ns(void)
{
	return clock_ns(CLOCK_BOOTTIME) - (uint64_t)clock_boot_added_ns;
}

/* Measures the difference of CLOCK_REALTIME to CLOCK_BOOTTIME anew; once a second is often enough
 * to follow steps of the clock. */
void clock_sync(void);

/* A boot-clock time as nanoseconds since the epoch, with the offset of the last clock_sync(). */
uint64_t clock_unix_ns(uint64_t boot_ns);

#endif
