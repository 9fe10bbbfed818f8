/* SPDX-License-Identifier: MIT */
/*
 * Undoes the content encodings of a body as it arrives: gzip, deflate, br, zstd, and lists of them. What was
 * encoded before a flush of the sender comes out with the bytes of that flush, so an event stream is seen
 * while it runs. Memory, windows and output are bounded, since bytes from a stranger can ask for any.
 */
#ifndef AGENTSIGHT_HTTP_BODY_H
#define AGENTSIGHT_HTTP_BODY_H

#include <stddef.h>
#include <stdint.h>

#include "http/message.h"

#define BODY_ENCODINGS_MAX 4

/* 0 stands for the default. */
struct body_limits {
	uint64_t
		output; /* decoded bytes; default 16 MiB; does not apply where nothing is decoded */
	uint64_t ratio; /* decoded bytes per encoded byte, over the first 256 KiB; default 256 */
	unsigned
		window_bits; /* log2 of a window of zstd or br; default 23, 8 MiB as RFC 9659 allows */
};

struct body_decoder;

typedef void (*body_out)(void *context, const void *p, size_t n);

/*
 * @content_encoding: the header's value, encodings in the order in which they were applied; empty: none.
 * @limits may be NULL. Decoders are made when bytes come. An unknown encoding is an error that
 * body_decoder_error() tells at once; what was applied after it is undone, the rest passed through. 0 or -ENOMEM.
 */
int body_decoder_new(struct http_text content_encoding, const struct body_limits *limits,
		     struct body_decoder **ret);

/*
 * Hands what @p decodes to to @out, in pieces, borrowed for the length of the call. 0; -EBADMSG: it cannot be
 * decoded from here on, and body_decoder_error() says why; further bytes are ignored.
 */
int body_decoder_feed(struct body_decoder *d, const void *p, size_t n, body_out out, void *context);

/* The body is over: a stream that was not is an error. As body_decoder_feed(), it gives no more output. */
int body_decoder_finish(struct body_decoder *d);

/* A static string: why there is no more output, or what it is not. NULL: all is well. */
const char *body_decoder_error(const struct body_decoder *d);

/* Bytes of memory that it uses, about. */
size_t body_decoder_memory(const struct body_decoder *d);

/* Accepts NULL. */
void body_decoder_free(struct body_decoder *d);

#endif
