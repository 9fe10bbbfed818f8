/* SPDX-License-Identifier: MIT */
/*
 * The keys that were added last, some thousands: a set of fixed size that forgets the oldest. All zero, it is
 * empty. Of keys that two thousand others follow one in a thousand is forgotten, with four thousand one in twenty,
 * with eight thousand one in two.
 */
#ifndef AGENTSIGHT_BASE_RECENT_H
#define AGENTSIGHT_BASE_RECENT_H

#include <stdbool.h>
#include <stdint.h>

#define RECENT_ROWS 1024
#define RECENT_WAYS 8

struct recent {
	uint64_t rows[RECENT_ROWS][RECENT_WAYS]; /* newest first; 0: none */
};

/* @key is not 0. */
void recent_add(struct recent *r, uint64_t key);
bool recent_has(const struct recent *r, uint64_t key);
void recent_remove(struct recent *r, uint64_t key);

#endif
