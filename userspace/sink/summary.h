/* SPDX-License-Identifier: MIT */
/* What happened in a run, in a few lines for a person at its end. */
#ifndef AGENTSIGHT_SINK_SUMMARY_H
#define AGENTSIGHT_SINK_SUMMARY_H

#include <stdbool.h>
#include <stdio.h>

#include "event/event.h"

struct summary;

int summary_new(struct summary **ret);
void summary_event(struct summary *s, const struct event *ev);
void summary_print(const struct summary *s, FILE *f, bool colour);
void summary_free(struct summary *s);

#endif
