/* SPDX-License-Identifier: MIT */
/*
 * HTTP/2 as two streams of bytes, one from each end of a connection: bytes in, messages out. No I/O and no
 * clock. The two may be fed in any order relative to each other, and from anywhere in a connection; what
 * cannot be known then is left out, and counted.
 *
 * What the callbacks of http_parser_ops mean here, beyond http/message.h:
 * - the id is that of the stream; a pushed request is told under the id that was promised;
 * - every id that is told of gets exactly one `end` for each side, also for a side that never began;
 * - an interim response (1xx) is a `begin` ... `headers_done` before that of the final one;
 * - trailers are `header` calls behind the body, without a `headers_done`;
 * - pseudo-headers are in the head and nowhere else;
 * - a head whose first line is not known (it refers to fields that were sent before we listened, or that
 *   are lost) has status 0 or an empty method; fields that are not known are left out of it;
 * - a body whose head was never seen gets an empty head, and ends incomplete.
 * They must not call the parser.
 */
#ifndef AGENTSIGHT_HTTP_HTTP2_H
#define AGENTSIGHT_HTTP_HTTP2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http/message.h"

/* Names and values of one block, each field counted with 32 bytes more; less where few bytes say so much. */
#define HTTP2_HEADER_LIST_MAX (256U << 10)

/* What could not be told, or only in part. */
struct http2_counts {
	uint64_t evicted;        /* streams given up because too many were open */
	uint64_t unknown_fields; /* header fields that refer to what was never seen; left out */
	uint64_t broken_blocks;  /* header blocks of which the rest could not be read */
	uint64_t long_blocks;    /* header blocks that say too much; the rest left out */
	uint64_t resyncs;        /* times that bytes were missing, or made no sense as frames */
	uint64_t skipped_bytes;  /* bytes passed over in search of a frame */
};

enum http2_look {
	HTTP2_LOOK_NO,
	HTTP2_LOOK_SHORT,  /* nothing against it, but too few bytes to tell */
	HTTP2_LOOK_MIDDLE, /* frames of a connection that is under way */
	HTTP2_LOOK_START,
};

/* Whether @p, the first bytes that were seen from that side, are HTTP/2. */
enum http2_look http2_looks_like(enum http_side side, const void *p, size_t n);

#define HTTP2_TAKEN_OVER 1 /* the stream, RFC 7540, 3.2 */

struct http2;

/* @ops is borrowed; any of its members may be NULL. 0 or -ENOMEM. */
int http2_new(const struct http_parser_ops *ops, void *context, struct http2 **ret);

/* Before the first byte: the connection was HTTP/1 until now, whose last request is answered on stream 1. */
void http2_take_over(struct http2 *h);

void http2_feed(struct http2 *h, enum http_side side, const void *p, size_t n);

/* Bytes of that side are missing, unknown how many. Messages that they may belong to end incomplete. */
void http2_gap(struct http2 *h, enum http_side side);

/* Exactly @n bytes are missing. When all are payload of one frame, only its message suffers. */
void http2_skip(struct http2 *h, enum http_side side, uint64_t n);

/* That side sends no more; what it had not ended is told incomplete. */
void http2_eof(struct http2 *h, enum http_side side);

/* It takes no more bytes, and all messages were ended; *@reason (may be NULL) is a static string. */
bool http2_failed(const struct http2 *h, const char **reason);

const struct http2_counts *http2_counts(const struct http2 *h);

/* Bytes of memory that it uses besides itself, about: tables of streams and of header fields. */
size_t http2_memory(const struct http2 *h);

/* Ends nothing: that is what http2_eof() of both sides is for. Accepts NULL. */
void http2_free(struct http2 *h);

#endif
