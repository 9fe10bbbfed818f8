/* SPDX-License-Identifier: MIT */
/* When the next sample is due: at a fixed rate, slower as time passes, or closer when more happens. */
#ifndef AGENTSIGHT_PIPELINE_PACE_H
#define AGENTSIGHT_PIPELINE_PACE_H

#include <stdbool.h>
#include <stdint.h>

enum pace_mode {
	PACE_FIXED,
	PACE_TIME,     /* as denet: base for a second, rising to the ceiling until the tenth */
	PACE_ACTIVITY, /* the ceiling when nothing moves, the base when much does */
};

struct pace {
	enum pace_mode mode;
	uint64_t base_ns;
	uint64_t max_ns;
};

/* What is zero becomes 100 ms, and 1 s or the base where that is longer; @never: only when asked. */
void pace_complete(struct pace *p, bool never);

/* Is there no sample but those that are asked for, and the last? */
bool pace_never(const struct pace *p);

/* What moved between two samples. */
struct pace_activity {
	uint64_t cpu_centi, last_cpu_centi;
	uint64_t rss_kb, last_rss_kb;
	uint64_t io_rate, last_io_rate; /* bytes per second */
	bool changed;                   /* a fork, an exec or an exit */
	double alert_nearness;          /* 0 to 1: how near the nearest rule is to its limit */
};

/* @elapsed_ns since the run began; @a is looked at for PACE_ACTIVITY only, NULL: nothing is known. */
uint64_t pace_next(const struct pace *p, uint64_t elapsed_ns, const struct pace_activity *a);

#endif
