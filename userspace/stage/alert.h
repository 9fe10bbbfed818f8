/* SPDX-License-Identifier: MIT */
/*
 * Thresholds on CPU and memory: marks the samples above one with `alert`, and sends a threshold
 * event when a process, or the machine, goes above and when it is below again or gone.
 */
#ifndef AGENTSIGHT_STAGE_ALERT_H
#define AGENTSIGHT_STAGE_ALERT_H

#include <stdbool.h>
#include <stdint.h>

#include "event/event.h"

#define ALERT_MAX 4096 /* above a threshold at the same time */

struct alert_threshold {
	bool set;
	uint64_t limit_centi; /* hundredths of a percent, or of a MiB */
	const char *rule; /* as the user gave it: "--cpu-threshold 80"; lives as long as the run */
};

struct alert_options {
	struct alert_threshold cpu;
	struct alert_threshold memory; /* of the resident set; machine: of used memory */
	uint64_t interval_ns;          /* between samples; who misses three is gone */
};

/* Sends on to @out, which is borrowed. */
int alert_new(const struct alert_options *opt, struct emitter *out, struct stage **ret);

/* Alerts that were not told, since ALERT_MAX were open or memory ran out; the samples are marked. */
uint64_t alert_untold(const struct stage *alert);

#endif
