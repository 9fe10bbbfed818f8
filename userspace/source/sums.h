/* SPDX-License-Identifier: MIT */
/* What the families that tell sums share: whose they are, and reading the kernel's tables. */
#ifndef AGENTSIGHT_SOURCE_SUMS_H
#define AGENTSIGHT_SOURCE_SUMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include <agentsight/calls.h>

#include "event/event.h"

struct proc_table;

#define SUMS_INTERVAL_NS 10000000000ULL

struct sums_options {
	const struct proc_table *procs; /* borrowed, as is `out` */
	struct emitter *out;
	uint64_t interval_ns; /* 0: SUMS_INTERVAL_NS */
};

/* ---- processes that have been told of; first member of what a family remembers of one ---- */

struct owner {
	LIST_ENTRY(owner) bucket;
	struct as_life life;
	uint64_t told_ns; /* up to then */
};

#define OWNER_BUCKETS 1024

struct owners {
	LIST_HEAD(, owner) buckets[OWNER_BUCKETS];
};

struct owner *owners_find(struct owners *o, const struct as_life *life);

/* The one of this process; a new one of @size bytes, zeroed but for `life`, if there is none. NULL: no memory. */
struct owner *owners_get(struct owners *o, const struct as_life *life, size_t size);

/* Takes it out, without freeing it. */
void owners_remove(struct owner *w);

/* Takes out any; NULL when none is left. */
struct owner *owners_pop(struct owners *o);

/* Has it ended, although nothing said so? */
bool life_ended(const struct as_life *life, const struct proc_table *procs);

/* @h as the kernel had it at the first event, with what has become of the process since. */
void life_header(struct as_hdr *h, const struct proc_table *procs);

/* ---- tables ---- */

struct table {
	char *keys;
	char *values;
	size_t n;
	size_t cap;
};

/* Everything that is in the map @fd now. */
int table_read(int fd, size_t key_size, size_t value_size, struct table *ret);
void table_done(struct table *t);

/* What was longest in @turn. */
static inline uint64_t peak_ns(const struct as_peak peaks[2], uint64_t turn)
{
	return peaks[turn & 1].turn == turn ? peaks[turn & 1].ns : 0;
}

#endif
