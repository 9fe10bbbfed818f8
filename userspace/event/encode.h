/* SPDX-License-Identifier: MIT */
/* An event as one line of JSON: the contract of docs/EVENTS.md. */
#ifndef AGENTSIGHT_EVENT_ENCODE_H
#define AGENTSIGHT_EVENT_ENCODE_H

#include "base/buf.h"
#include "event/event.h"

struct field_desc;

/*
 * Appends the line, '\n' included. Always valid JSON in valid UTF-8, whatever a decoded record holds;
 * but what stands in a JSON field is copied, and is made by user space alone.
 */
void event_encode_json(struct buf *b, const struct event *ev);

/* Is the field @f, of this type of event, not in that line? */
bool event_leaves_out(const struct event *ev, const struct field_desc *f);

/* Enough for all that is asked of the buffer meanwhile, unless escapes make texts longer than base64 would. */
size_t event_json_room(const struct event *ev);

#endif
