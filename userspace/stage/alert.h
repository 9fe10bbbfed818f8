/* SPDX-License-Identifier: MIT */
/*
 * Judges samples and other events by rules: marks the samples beyond a limit with `alert`, and sends
 * a threshold event when an alert starts and when it ends. There is one alert per rule and process;
 * or tree, cgroup, machine or run, for rules about these.
 *
 * An alert starts once the comparison has held at all samples of `for` (0: at one), and ends with the first
 * sample at which it no longer holds, with the exit of the process, when samples stay away for several
 * intervals, or with the run, so that each start has its end.
 */
#ifndef AGENTSIGHT_STAGE_ALERT_H
#define AGENTSIGHT_STAGE_ALERT_H

#include <stddef.h>
#include <stdint.h>

#include "event/event.h"
#include "stage/rule.h"

#define ALERT_RULES_MAX  64
#define ALERT_MAX        4096  /* open at the same time */
#define ALERT_TRACKS_MAX 16384 /* pairs of rule and process about which something is remembered */

struct alert_options {
	const struct rule *rules; /* copied */
	size_t n_rules;
	uint64_t interval_ns; /* the longest between two samples; who misses three is gone */
	/* an alert has started; may be NULL. Nothing may be emitted from here. */
	void (*on_start)(void *context);
	void *context;
};

/* Sends on to @out, which is borrowed. -ENOMEM, -E2BIG. */
int alert_new(const struct alert_options *opt, struct emitter *out, struct stage **ret);

struct alert_counts {
	uint64_t started;
	uint64_t untold;   /* alerts that were not told: ALERT_MAX were open, or memory ran out */
	uint64_t unjudged; /* samples that a rule could not be applied to: ALERT_TRACKS_MAX */
};

const struct alert_counts *alert_counts(const struct stage *alert);

/*
 * How near the nearest rule is to its limit in the newest samples: see rule_nearness(); 1 while one waits
 * for its `for`.
 */
double alert_nearness(const struct stage *alert);

#endif
