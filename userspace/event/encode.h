/* SPDX-License-Identifier: MIT */
/* An event as one line of JSON: the contract of docs/EVENTS.md. */
#ifndef AGENTSIGHT_EVENT_ENCODE_H
#define AGENTSIGHT_EVENT_ENCODE_H

#include "base/buf.h"
#include "event/event.h"

/*
 * Appends the line, '\n' included. Always valid JSON in valid UTF-8, whatever a decoded record holds;
 * but what stands in a JSON field is copied, and is made by user space alone.
 */
void event_encode_json(struct buf *b, const struct event *ev);

/* Enough for all that is asked of the buffer meanwhile, unless escapes make texts longer than base64 would. */
size_t event_json_room(const struct event *ev);

#endif
