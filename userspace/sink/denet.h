/* SPDX-License-Identifier: MIT */
/*
 * The records of denet, for tools that read them: one JSON line for each sample of a tree, and lines of kind
 * `env`, `metadata`, `child` and `exit`. What denet has no record for is not written.
 *
 * The names are denet's; the values are what agentsight means by them. So the members named sys_net, the
 * whole machine's traffic in denet, are absent, and children have their true I/O.
 */
#ifndef AGENTSIGHT_SINK_DENET_H
#define AGENTSIGHT_SINK_DENET_H

#include "sink/sink.h"
#include "sink/writer.h"

struct denet_options {
	bool single; /* only the process itself: `sample` records instead of `tree` */
	bool env;    /* begin with what the machine is */
};

/* Writes to @w, which is borrowed. What has no line is appended as no bytes, so that it counts as delivered. */
int denet_sink_new(const struct denet_options *opt, struct writer *w, struct sink **ret);

#endif
