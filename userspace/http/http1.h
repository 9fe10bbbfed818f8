/* SPDX-License-Identifier: MIT */
/*
 * HTTP/1.x (RFC 9112) of one connection, both directions in one object: bytes in, calls of `struct http_parser_ops`
 * out. Pieces may be cut anywhere. It keeps no body and, between messages, no more than itself.
 *
 * Beyond what message.h says: names of headers are lower case, values have no blanks around them; an
 * interim response (1xx) has its own begin, headers_done and end; trailers come as `header` behind the body, before
 * `end`; an `end` of a message that never began says that it was lost or never came; `upgraded` comes once for
 * each side, the request's first.
 */
#ifndef AGENTSIGHT_HTTP_HTTP1_H
#define AGENTSIGHT_HTTP_HTTP1_H

#include "base/cleanup.h"
#include "http/message.h"

#define HTTP1_START_LINE_MAX ((size_t)64 << 10)
#define HTTP1_HEADERS_MAX \
	((size_t)256 << 10) /* names and values of one message, trailers included */
#define HTTP1_HELD_MAX     ((size_t)64 << 10) /* sent behind an upgrade that is not answered yet */
#define HTTP1_PIPELINE_MAX 1024               /* requests without an answer */

enum http1_look {
	HTTP1_LOOK_NO,
	HTTP1_LOOK_SHORT, /* nothing against it, but too few bytes to tell */
	HTTP1_LOOK_YES,
};

/* Whether a message of that side begins at @p. HTTP/2's preface is none. */
enum http1_look http1_looks_like(enum http_side side, const void *p, size_t n);

struct http1;

/* The first bytes of a side may be the middle of a message: then they are skipped up to a certain head. */
int http1_new(const struct http_parser_ops *ops, void *context, struct http1 **ret);

/* Bytes that went one way. Ignored once the connection failed or was upgraded. */
void http1_feed(struct http1 *h, enum http_side side, const void *p, size_t n);

/* What the client sends next is not the request of an answer that came first; that was sent before, or is lost. */
void http1_unasked(struct http1 *h);

/* Bytes of @side are missing, nobody knows how many. The message they belong to ends incomplete. */
void http1_gap(struct http1 *h, enum http_side side);

/*
 * @n bytes of @side are missing. Where all of them are payload the message goes on behind them (and will not
 * be complete); else it is a gap.
 */
void http1_skip(struct http1 *h, enum http_side side, uint64_t n);

/* No more bytes of this side. A body that lasts until the connection closes is complete when it is @closed. */
void http1_eof(struct http1 *h, enum http_side side, bool closed);

/* Not understandable any further, for *@ret_reason (may be NULL; constant text); open messages have ended incomplete. */
bool http1_failed(const struct http1 *h, const char **ret_reason);

/* Both sides speak another protocol by now; the parser takes no further bytes. */
bool http1_upgraded(const struct http1 *h);

/* Bytes of @side that were fed and not understood: before the first head, behind a gap, behind the end. */
uint64_t http1_skipped(const struct http1 *h, enum http_side side);

/* Bytes that it keeps until a line or an answer is complete. */
size_t http1_memory(const struct http1 *h);

void http1_free(struct http1 *h);
DEFINE_FREEP(struct http1 *, http1_free)

#endif
