/* SPDX-License-Identifier: MIT */
/* The end of the line: a sink gets a const event and, if it asked for it, the event's JSON line. */
#ifndef AGENTSIGHT_SINK_SINK_H
#define AGENTSIGHT_SINK_SINK_H

#include <stddef.h>

#include "event/event.h"

struct sink {
	/* @line is encoded once for all sinks and ends in '\n' */
	void (*write)(struct sink *self, const struct event *ev, const char *line, size_t len);
	void (*flush)(struct sink *self); /* what was written becomes visible; never blocks */
	void (*free)(struct sink *self);
};

#endif
