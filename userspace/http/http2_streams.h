/* SPDX-License-Identifier: MIT */
/*
 * The open streams of an HTTP/2 connection: found by number, in the order in which they were opened,
 * bounded. Knows nothing of what they mean.
 */
#ifndef AGENTSIGHT_HTTP_HTTP2_STREAMS_H
#define AGENTSIGHT_HTTP_HTTP2_STREAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP2_STREAMS_MAX 4096

struct http2_stream {
	uint32_t id;
	uint8_t sides[2]; /* the owner's flags, by enum http_side */
	/* Places in the pool; those of a free one are meaningless but for `chain`. */
	uint16_t chain;
	uint16_t older;
	uint16_t newer;
};

struct http2_streams {
	struct http2_stream *pool;
	uint16_t *buckets;
	uint32_t seed; /* a stranger chooses the numbers and must not know where they go */
	uint16_t cap;  /* a power of two, of both arrays */
	uint16_t n;
	uint16_t free;
	uint16_t oldest;
	uint16_t newest;
};

int http2_streams_init(struct http2_streams *t, uint32_t seed);
void http2_streams_done(struct http2_streams *t);

/* NULL: not open. Valid until the next one is added. */
struct http2_stream *http2_streams_find(const struct http2_streams *t, uint32_t id);

/* One that is not in the table. NULL: out of memory. The table must not be full. */
struct http2_stream *http2_streams_add(struct http2_streams *t, uint32_t id);
void http2_streams_remove(struct http2_streams *t, struct http2_stream *s);

/* In the order of opening; NULL: no more. */
struct http2_stream *http2_streams_oldest(const struct http2_streams *t);
struct http2_stream *http2_streams_newer(const struct http2_streams *t,
					 const struct http2_stream *s);

static inline bool http2_streams_full(const struct http2_streams *t)
{
	return t->n == HTTP2_STREAMS_MAX;
}

#endif
