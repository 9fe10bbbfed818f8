/* SPDX-License-Identifier: MIT */
/*
 * What protocols put into the middle of a text: the sizes of HTTP/1's chunks, the headers of HTTP/2's frames. A key
 * may be cut by them, and only who leaves them out sees the whole. A guess from the bytes alone: what looks like
 * framing and is none is left out as well.
 */
#ifndef AGENTSIGHT_STAGE_FRAMING_H
#define AGENTSIGHT_STAGE_FRAMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http/http2_frame.h"

/* One direction of a connection. All zeroes is a fresh one; there is nothing to release. */
struct framing {
	uint8_t kind;
	uint8_t state; /* of a chunk's size: what the next byte may be */
	uint8_t n;     /* bytes of that, or of a frame's header, so far */
	uint8_t head[HTTP2_FRAME_HEAD];
	bool text;     /* the payload of the frame may be text */
	uint32_t left; /* bytes of it to come */
};

/* How many of the next @n bytes (at least one) belong together, and whether they are content. */
size_t framing_next(struct framing *f, const uint8_t *p, size_t n, bool *ret_content);

/* Bytes are missing: where frames begin is no longer known. */
void framing_lose(struct framing *f);

#endif
