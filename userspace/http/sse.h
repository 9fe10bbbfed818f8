/* SPDX-License-Identifier: MIT */
/*
 * Event streams (text/event-stream), by the WHATWG's algorithm: bytes in, events out, cut anywhere. The text
 * is not checked for UTF-8. An event that its stream does not finish with an empty line is none.
 */
#ifndef AGENTSIGHT_HTTP_SSE_H
#define AGENTSIGHT_HTTP_SSE_H

#include "base/cleanup.h"
#include "http/message.h"

#define SSE_DATA_MAX ((size_t)16 << 20)
#define SSE_NAME_MAX ((size_t)4 << 10) /* of an event's type, and of an id */

/* Borrowed for the length of the call. */
struct sse_event {
	struct http_text event; /* "message" when the stream names none */
	struct http_text data;
	struct http_text id; /* the last that the stream set, maybe with an earlier event */
	uint64_t data_full;  /* bytes that the data had */
	bool truncated;      /* a part is over its limit and was cut */
};

typedef void (*sse_event_fn)(void *context, const struct sse_event *event);

struct sse;

int sse_new(sse_event_fn fn, void *context, struct sse **ret);
void sse_feed(struct sse *s, const void *p, size_t n);

/* From now on the data of an event may have @max bytes; longer data that is under way is cut. */
void sse_bound(struct sse *s, size_t max);

/* Bytes of memory that it uses, about. */
size_t sse_memory(const struct sse *s);

/* Memory ran out: an event was dropped, and there will be no more. */
bool sse_failed(const struct sse *s);

void sse_free(struct sse *s);
DEFINE_FREEP(struct sse *, sse_free)

#endif
