/* SPDX-License-Identifier: MIT */
/*
 * HTTP/2's frame header: what it says, whether it can be one, and where in a stream of bytes that one
 * came into too late the next one is.
 */
#ifndef AGENTSIGHT_HTTP_HTTP2_FRAME_H
#define AGENTSIGHT_HTTP_HTTP2_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http/message.h"

#define HTTP2_FRAME_HEAD  9U
#define HTTP2_PREFACE     "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define HTTP2_PREFACE_LEN (sizeof(HTTP2_PREFACE) - 1)

/* A peer may not send longer ones unless it was allowed to; RFC 9113, 4.2. */
#define HTTP2_FRAME_DEFAULT_MAX 16384U

enum http2_type {
	HTTP2_DATA,
	HTTP2_HEADERS,
	HTTP2_PRIORITY,
	HTTP2_RST_STREAM,
	HTTP2_SETTINGS,
	HTTP2_PUSH_PROMISE,
	HTTP2_PING,
	HTTP2_GOAWAY,
	HTTP2_WINDOW_UPDATE,
	HTTP2_CONTINUATION,
	HTTP2_ALTSVC,
	HTTP2_ORIGIN = 0x0c,
	HTTP2_PRIORITY_UPDATE = 0x10,
};

enum http2_flag {
	HTTP2_ACK = 0x01, /* of SETTINGS and PING */
	HTTP2_END_STREAM = 0x01,
	HTTP2_END_HEADERS = 0x04,
	HTTP2_PADDED = 0x08,
	HTTP2_HAS_PRIORITY = 0x20,
};

struct http2_frame {
	uint32_t len;
	uint32_t id;
	uint8_t type;
	uint8_t flags;
	uint8_t reserved; /* the bit before the stream's number; to be ignored */
};

struct http2_frame http2_frame_read(const uint8_t head[HTTP2_FRAME_HEAD]);

/* Bytes of the payload that come before its content: length of the padding, priority, a stream, a code. */
size_t http2_frame_fixed(const struct http2_frame *f);

/* The first byte of its payload says how many bytes at the end mean nothing. */
bool http2_frame_padded(const struct http2_frame *f);

/* Not what a peer would close the connection for. Frames of unknown types are legal up to HTTP2_FRAME_DEFAULT_MAX. */
bool http2_frame_legal(const struct http2_frame *f, enum http_side side);

/* As a sender writes them: known types and flags only, nothing in what is reserved. */
bool http2_frame_plausible(const struct http2_frame *f, enum http_side side);

/* The server's first frame: settings, not the answer to settings. */
bool http2_frame_begins(const uint8_t head[HTTP2_FRAME_HEAD]);

/*
 * Where in @p a frame begins that is followed by another one or by the end of @p. @n: nowhere. No frame
 * is longer than @max. @aligned: @p is what one call of a program wrote or read; that often begins with a
 * frame, so there one is believed that is longer than the call.
 */
size_t http2_frame_hunt(enum http_side side, const uint8_t *p, size_t n, uint32_t max,
			bool aligned);

#endif
