/* SPDX-License-Identifier: MIT */
/*
 * Cuts a response body, in whatever portions it comes, into the JSON texts it is made of: the data of
 * server-sent events, the lines of NDJSON, the items of one growing array, or one object alone.
 */
#ifndef AGENTSIGHT_LLM_PIECES_H
#define AGENTSIGHT_LLM_PIECES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "http/sse.h"

#define PIECES_MAX ((size_t)16 << 20) /* a longer piece is left out, and `lost` is set */

struct pieces {
	void (*piece)(void *context, const char *text, size_t n);
	void *context;
	struct sse *sse;
	struct buf object; /* that is not complete */
	size_t max;        /* bytes of a piece */
	size_t depth;
	bool known; /* which of the two it is */
	bool is_sse;
	bool in_string, escaped;
	bool any;    /* an object has begun */
	bool stream; /* events, or more than one object: it is served piece by piece */
	bool skip;   /* the rest of what is too long */
	bool lost;
};

/* @sse: the header says that it is an event stream; else the first bytes tell. */
void pieces_begin(struct pieces *s, bool sse,
		  void (*piece)(void *context, const char *text, size_t n), void *context);
void pieces_feed(struct pieces *s, const char *p, size_t n);

/* From now on pieces longer than @max bytes are left out, the one that is under way among them. */
void pieces_bound(struct pieces *s, size_t max);

/* Bytes of memory that it uses, about. */
size_t pieces_memory(const struct pieces *s);

void pieces_done(struct pieces *s);

#endif
