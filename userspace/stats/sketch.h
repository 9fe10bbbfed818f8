/* SPDX-License-Identifier: MIT */
/*
 * Quantiles of weighted whole numbers in bounded memory. Up to SKETCH_EXACT values are kept as they
 * are; beyond, a value is counted in a bucket whose middle is at most 1/128 (0.8 %) away from it, and
 * values below 128 still exactly. Buckets come in pages of one power of two, made when first used, so
 * a sketch takes 30 KiB at most and mostly one or two.
 */
#ifndef AGENTSIGHT_STATS_SKETCH_H
#define AGENTSIGHT_STATS_SKETCH_H

#include <stddef.h>
#include <stdint.h>

#define SKETCH_EXACT 32
#define SKETCH_PAGES 59 /* 64 buckets each: [0,64), [64,128), [128,256), ... */

struct sketch_pair {
	uint64_t value, weight;
};

struct sketch {
	struct sketch_pair *pairs; /* while there are few; room for a power of two */
	uint64_t **pages;          /* instead, once there are many */
	uint32_t n_pairs;
	uint64_t weight; /* of all */
};

/* How many bytes more the sketch takes now, or -ENOMEM: then the value is left out. */
int sketch_add(struct sketch *s, uint64_t value, uint64_t weight);

/* The smallest value that at least @permille thousandths of the weight do not exceed; 0 when empty. */
uint64_t sketch_quantile(const struct sketch *s, unsigned permille);

/* What it takes, the struct aside. */
size_t sketch_bytes(const struct sketch *s);

void sketch_done(struct sketch *s);

#endif
