/* SPDX-License-Identifier: MIT */
/*
 * What a run consisted of: start-up, steady work, bursts, idle times. The series of CPU, memory and I/O
 * is cut where that lowers the squared error most, a piece out of the middle at once if need be, until
 * what a cut gains is what chance alone would give.
 */
#ifndef AGENTSIGHT_STATS_PHASES_H
#define AGENTSIGHT_STATS_PHASES_H

#include "stats/series.h"

#define PHASES_MAX 12

enum phase_kind {
	PHASE_STARTUP,
	PHASE_STEADY,
	PHASE_BURST,
	PHASE_IDLE,
};

struct phase {
	enum phase_kind kind;
	uint64_t begin_ns, end_ns; /* since the epoch */
	double mean[TRACKS];       /* negative: not known */
	double level[TRACKS];      /* the same, as a multiple of the run's mean */
};

/* How many there are: 0 when there is no series, else at least one. They follow one another. */
size_t phases_find(const struct series *s, struct phase out[PHASES_MAX]);

const char *phase_name(enum phase_kind kind);

#endif
