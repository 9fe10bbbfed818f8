/* SPDX-License-Identifier: MIT */
/*
 * Events for a person: one readable line each, coloured and cut to the width of the terminal. It
 * shows the essence; what is exact and complete is the JSON.
 */
#ifndef AGENTSIGHT_SINK_TERMINAL_H
#define AGENTSIGHT_SINK_TERMINAL_H

#include <stdbool.h>

#include "base/buf.h"
#include "sink/sink.h"

struct writer;

#define TERMINAL_COLUMNS 120 /* when nobody knows the width */

/* @columns of the terminal, 0 when not known. The writer stays the caller's. 0 or -ENOMEM. */
int terminal_sink_new(struct writer *w, bool colour, unsigned columns, struct sink **ret);

/*
 * Appends the line of @ev, '\n' included. Nothing is appended for events that only matter to
 * programs, such as hooks that were attached as they should; the sink hands those to the writer as
 * a line of no bytes, so that they are counted as delivered.
 */
void terminal_line(struct buf *b, const struct event *ev, unsigned columns, bool colour);

#endif
