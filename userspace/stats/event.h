/* SPDX-License-Identifier: MIT */
/* The same from events as they pass by: for the closing summary, and the `summary` event. */
#ifndef AGENTSIGHT_STATS_EVENT_H
#define AGENTSIGHT_STATS_EVENT_H

#include "event/event.h"
#include "stats/stats.h"

/* Takes what it can use; all other events are left alone. */
void stats_event(struct stats *s, const struct event *ev);

#endif
