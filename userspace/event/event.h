/* SPDX-License-Identifier: MIT */
/*
 * An event on its way from a source to the sinks, and the only interface between rooms: a source
 * gets an emitter, a stage gets the next one, a sink gets a const event.
 *
 * An event and its record are borrowed for the length of the call. The record may be ring memory,
 * which is mapped read-only: who changes it copies it first.
 */
#ifndef AGENTSIGHT_EVENT_EVENT_H
#define AGENTSIGHT_EVENT_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <agentsight/events.h>

struct event_desc;

struct event {
	const struct as_hdr *rec;
	const struct event_desc *desc; /* its row in the schema, never NULL */
	uint64_t unix_ns;              /* boot clock already converted */
	const char *label;             /* value of LABEL fields; lives as long as the run */
};

/* The only way forward. Events that are not passed on are counted by whoever keeps them back. */
struct emitter {
	void (*emit)(struct emitter *self, const struct event *ev);
};

static inline void event_emit(struct emitter *to, const struct event *ev)
{
	to->emit(to, ev);
}

/* A stage passes events on, changed, joined or held back. */
struct stage {
	struct emitter in;
	struct emitter *out;
	void (*tick)(struct stage *self, uint64_t boot_ns); /* about once a second; may be NULL */
	void (*finish)(struct stage *self);                 /* pass on what is held; may be NULL */
	void (*free)(struct stage *self);
};

#endif
