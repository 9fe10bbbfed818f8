/* SPDX-License-Identifier: MIT */
/*
 * When samples are taken, and why: the pace says when the next one is planned, and what happens to the
 * processes can make it due earlier.
 */
#ifndef AGENTSIGHT_PIPELINE_SAMPLING_H
#define AGENTSIGHT_PIPELINE_SAMPLING_H

#include <stdbool.h>
#include <stdint.h>

#include "event/event.h"
#include "pipeline/pace.h"
#include "source/sampler.h"

/* `due_ns` and `reason` may be read: when the next one is to be taken, boot clock, and what for. */
struct sampling {
	const struct pace *pace;
	bool by_events;    /* fork, exec, exit and alerts make one due */
	uint64_t begin_ns; /* of the run, or of the command that was held */
	uint64_t last_ns;
	uint64_t due_ns;
	enum as_sample_reason reason;
	uint64_t io_bytes; /* moved so far, at the last sample */
	struct pace_activity activity;
};

void sampling_begin(struct sampling *s, const struct pace *pace, bool by_events, uint64_t begin_ns,
		    uint64_t now_ns);

/* The command of the run was held until now. */
void sampling_released(struct sampling *s, uint64_t now_ns);

/* Every event that passes: some make a sample due. */
void sampling_event(struct sampling *s, const struct event *ev);

/* What moved by the sample that is being taken; before sampling_next(). */
void sampling_load(struct sampling *s, const struct sampler_load *load);

/*
 * One is due at once, but no closer to the last than the base interval: a storm of forks is one reason. Does
 * nothing where events are not to do this.
 */
void sampling_force(struct sampling *s, enum as_sample_reason reason);

/* Planned time from a sample at @now_ns to the next; @nearness: of the nearest alert, 0 to 1. */
uint64_t sampling_next(struct sampling *s, uint64_t now_ns, double nearness);

/* One was taken at @now_ns; the next is planned @next_ns behind it. */
void sampling_taken(struct sampling *s, uint64_t now_ns, uint64_t next_ns);

#endif
