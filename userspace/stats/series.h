/* SPDX-License-Identifier: MIT */
/*
 * A run as a bounded number of time slots of equal length, for charts and phases. When the run is
 * longer than they reach, neighbours are merged and each slot stands for twice the time. What a sample
 * says is spread over the slots that its interval touches.
 */
#ifndef AGENTSIGHT_STATS_SERIES_H
#define AGENTSIGHT_STATS_SERIES_H

#include <stddef.h>
#include <stdint.h>

#define SERIES_SLOTS 1024

enum series_track {
	TRACK_CPU, /* percent */
	TRACK_RSS, /* kB */
	TRACK_PSS, /* kB */
	TRACK_THREADS,
	TRACK_PROCESSES,
	TRACK_READ, /* bytes per second, as all below */
	TRACK_WRITE,
	TRACK_RX,
	TRACK_TX,
	TRACKS,
};

struct series {
	uint64_t origin_ns; /* when the first slot begins */
	uint64_t width_ns;  /* of a slot; 0: nothing was added */
	uint64_t end_ns;    /* of the last sample */
	uint64_t samples;
	uint32_t seen; /* bits of enum series_track */
	size_t n;      /* slots in use */
	struct series_slot {
		double weight[TRACKS]; /* nanoseconds that are known of */
		double sum[TRACKS];    /* value times weight */
		float max[TRACKS];
	} slots[SERIES_SLOTS];
};

/* @known: bits of those @values that count. What ends before the last sample did is left out. */
void series_add(struct series *s, uint64_t end_ns, uint64_t interval_ns, uint32_t known,
		const double values[TRACKS]);

/* The mean of a slot, negative where nothing is known. */
double series_mean(const struct series *s, size_t slot, enum series_track track);

/* A mean as a whole number; what a number cannot hold, or is not known, is cut. */
static inline uint64_t series_whole(double value)
{
	return value >= 0x1p63 ? 1ULL << 63 : value > 0 ? (uint64_t)value : 0;
}

#endif
