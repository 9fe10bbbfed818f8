/* SPDX-License-Identifier: MIT */
/*
 * The processes and names of a recording in bounded memory: the processes that used most are kept apart,
 * the others are summed, and as long as they live it is remembered how far each has counted.
 * Only the room's own files include this.
 */
#ifndef AGENTSIGHT_STATS_ROSTER_H
#define AGENTSIGHT_STATS_ROSTER_H

#include "stats/stats.h"

int roster_open(struct stats *s);

/* NULL when it is not there, or had to make room. */
struct stats_process *roster_find(const struct stats *s, uint32_t pid, uint64_t start);

/* One that is not there yet, without a name. Pointers to others are no longer valid. */
struct stats_process *roster_add(struct stats *s, uint32_t pid, uint64_t start);

void roster_name(struct stats *s, struct stats_process *p, const char *comm, size_t len);

/* The smaller half makes room. Half at once, so that it costs little per process. */
void roster_fold(struct stats *s);

/* One that had to make room and has not ended; NULL when there is none. */
struct small *roster_small(const struct stats *s, uint32_t pid, uint64_t start);

/* The root of a tree, NULL when it is none. */
struct stats_root *roster_root(struct stats *s, uint32_t pid, uint64_t start);

/* True when it shall have a place of its own again. */
bool roster_small_sample(struct stats *s, struct small *x, const struct stats_sample *row);
struct stats_process *roster_promote(struct stats *s, struct small *x);
void roster_small_exit(struct stats *s, struct small *x, const struct stats_exit *e);

/*
 * Sums of a process that is older than the recording count from the first row that tells them. A row with
 * the CPU time has all details: what it leaves out is zero. @base_known: counters that need no more.
 */
void roster_learn(uint32_t *base_known, uint64_t *base, const uint64_t *total,
		  const struct stats_sample *x);

/* What was counted since @base, for the name, the tree if it has no rows of its own, and @also. */
void roster_count(struct stats *s, uint32_t name, uint64_t *base, uint64_t *total, uint32_t known,
		  const uint64_t counters[COUNTERS], struct stats_group *also);

/* The most memory that a row tells of. */
static inline uint64_t roster_peak_rss_kb(const struct stats_sample *x)
{
	return x->gauges_known & 1U << GAUGE_RSS ? MAX(x->gauges[GAUGE_RSS], x->peak_rss_kb)
						 : x->peak_rss_kb;
}

/* By how much a sum has grown. */
uint64_t roster_raise(uint64_t *total, uint64_t base, uint64_t value);

void roster_close(struct stats *s);

#endif
