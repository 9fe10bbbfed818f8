/* SPDX-License-Identifier: MIT */
/*
 * Requests, responses and WebSocket messages out of the plaintext of TLS sessions. Every event is passed
 * on first; what it completes follows at once, under the time of the newest event and the identity of the
 * one that began it.
 */
#ifndef AGENTSIGHT_STAGE_HTTP_H
#define AGENTSIGHT_STAGE_HTTP_H

#include <stdint.h>

#include "event/event.h"
#include "http/exchange.h"

#define HTTP_STAGE_CONNECTIONS 4096 /* known at a time; the one longest unused is over */

struct http_stage_options {
	struct http_limits limits;
	const struct http_observer *observer; /* called behind each event made here; may be NULL */
	bool no_ends;                         /* no event tells that a connection is over */
};

struct http_stage_counts {
	uint64_t shed[AS_EV_COUNT]; /* records for which there was no memory */
	uint64_t evicted;           /* connections given up for others; what was open was told */
	uint64_t unwatched;         /* calls on connections there was no memory for */
	size_t connections;         /* now */
};

/* Copies @opt; the observer's context must outlive the stage. 0 or -ENOMEM. */
int http_stage_new(const struct http_stage_options *opt, struct emitter *out, struct stage **ret);

const struct http_stage_counts *http_stage_counts(const struct stage *s);

/* Adds the events that were not made, for lack of memory or of bytes. */
void http_stage_shed(const struct stage *s, uint64_t shed[AS_EV_COUNT]);

#endif
