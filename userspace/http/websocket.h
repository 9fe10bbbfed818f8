/* SPDX-License-Identifier: MIT */
/*
 * WebSocket (RFC 6455) with permessage-deflate (RFC 7692): the frames of one direction in, messages out.
 * Bytes may be cut anywhere. Whether a side masks is not judged.
 */
#ifndef AGENTSIGHT_HTTP_WEBSOCKET_H
#define AGENTSIGHT_HTTP_WEBSOCKET_H

#include "base/cleanup.h"
#include "http/message.h"

#define WEBSOCKET_MESSAGE_MAX ((size_t)16 << 20) /* what is kept of one message */

/* A message may unpack to this much before unpacking stops, for good where later ones build upon it. */
#define WEBSOCKET_INFLATE_MAX ((uint64_t)64 << 20)
/* The same when it unpacks to this many times its length, over the first 256 KiB. */
#define WEBSOCKET_RATIO_MAX 256

/* What both sides agreed on, from the answer's Sec-WebSocket-Extensions. Indexed by the side that sends. */
struct websocket_params {
	bool deflate;
	bool no_context_takeover[2];
	uint8_t window_bits[2]; /* 8 to 15 */
};

struct websocket_message {
	bool text; /* else binary */
	struct http_text payload;
	uint64_t full_len; /* unpacked, as far as that was possible; else as transferred */
	bool truncated;    /* @payload is not all of it */
	bool incomplete; /* its end was not seen, or a part may be missing; @full_len is what is known */
	const char *error; /* why it could not be unpacked to its end; NULL: fine */
};

/* May be NULL. All text is borrowed for the length of the call. Of control frames nothing is told. */
struct websocket_ops {
	void (*message)(void *context, enum http_side side, const struct websocket_message *m);
};

struct websocket;

/* -EINVAL: an extension is in use that is not known, or with impossible parameters; nothing can be read. */
int websocket_params_parse(struct http_text extensions, struct websocket_params *ret);

int websocket_new(enum http_side side, const struct websocket_params *params,
		  const struct websocket_ops *ops, void *context, struct websocket **ret);

void websocket_feed(struct websocket *w, const void *p, size_t n);

/* Bytes of memory that it uses, about. */
size_t websocket_memory(const struct websocket *w);

/* Memory is used up: of the message that is under way only the length is kept. */
void websocket_drop(struct websocket *w);

/* Bytes are missing: frames cannot be found again, the direction has failed. */
void websocket_gap(struct websocket *w);

/* Bytes may be missing: of the message that is under way. */
void websocket_doubt(struct websocket *w);

/* No more bytes: a message that is under way is told as far as it came. */
void websocket_eof(struct websocket *w);

/* Nothing more can be read, for *@reason (may be NULL; constant text). */
bool websocket_failed(const struct websocket *w, const char **reason);

void websocket_free(struct websocket *w);
DEFINE_FREEP(struct websocket *, websocket_free)

#endif
