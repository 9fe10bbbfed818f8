/* SPDX-License-Identifier: MIT */
/*
 * A Content-Encoding of some decoders, chosen by the first byte, and a body. However it is split the same
 * comes out, or up to an error a part of it; and never more than the limits allow.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "http/body.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define OUTPUT_MAX (2U << 20)

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

static void keep(void *context, const void *p, size_t n)
{
	must(n > 0, "an empty piece");
	buf_add(context, p, n);
}

static const char *run(const char *encoding, const uint8_t *p, size_t n, unsigned split,
		       struct buf *out)
{
	const struct body_limits limits = {.output = OUTPUT_MAX, .ratio = 64, .window_bits = 20};
	struct http_text text = {encoding, strlen(encoding)};
	struct body_decoder *d;
	const char *error;

	must(body_decoder_new(text, &limits, &d) == 0, "memory");
	while (n > 0) {
		size_t piece =
			split ? (size_t)(split = split * 1103515245U + 12345U) / 65536 % 9 + 1 : n;
		_cleanup_(freep) uint8_t *copy = malloc(piece = MIN(piece, n));

		memcpy(copy, p, piece);
		body_decoder_feed(d, copy, piece, keep, out);
		p += piece;
		n -= piece;
	}
	body_decoder_finish(d);
	error = body_decoder_error(d);
	body_decoder_free(d);
	return error;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const encodings[] = {
		"gzip",
		"deflate",
		"br",
		"zstd",
		"gzip, br",
		"zstd, gzip",
		"deflate, deflate, gzip",
		"odd, zstd",
	};
	_cleanup_(buf_done) struct buf whole = {0}, split = {0};
	const char *encoding, *a, *b;

	if (size == 0)
		return 0;
	encoding = encodings[data[0] % ARRAY_SIZE(encodings)];
	a = run(encoding, data + 1, size - 1, 0, &whole);
	b = run(encoding, data + 1, size - 1, (unsigned)size | 1, &split);

	must(!whole.failed && !split.failed, "memory");
	must(whole.len <= OUTPUT_MAX && split.len <= OUTPUT_MAX, "more than the limit");
	must(memcmp(buf_cstr(&whole), buf_cstr(&split), MIN(whole.len, split.len)) == 0,
	     "something else came out when split");
	must(!a == !b, "an error depends on the splitting");
	must(a || whole.len == split.len, "less came out when split");
	return 0;
}
