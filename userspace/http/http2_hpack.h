/* SPDX-License-Identifier: MIT */
/*
 * One direction's header compression, decoded by nghttp2's inflater, which fails for good at the first
 * reference to an entry that it does not have. Seen from the middle of a connection every table has such
 * entries. So a table whose past is unknown is filled with nameless ones of the least size: a reference to
 * what was never seen gives a field without a name, and what is seen is numbered as the sender numbers it.
 */
#ifndef AGENTSIGHT_HTTP_HTTP2_HPACK_H
#define AGENTSIGHT_HTTP_HTTP2_HPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http/message.h"

/*
 * The largest dynamic table that is followed; what browsers announce. Whether a size may be chosen is
 * between the two ends (SETTINGS_HEADER_TABLE_SIZE); that one was chosen is always told in the header
 * blocks themselves (RFC 7541, 4.2), in order with what it applies to, which the settings of the other
 * direction are not. So the settings need not be read.
 */
#define HPACK_TABLE_MAX 65536U

/* Each table that broke is rebuilt at the cost of some microseconds; a stranger gets that so often. */
#define HPACK_FAILURES_MAX 8

/*
 * A table of the largest size is filled in some 0.3 ms, and what makes that necessary may be a frame of nine
 * bytes. Behind so many a table gets the least number of unknown entries, which is enough for most.
 */
#define HPACK_FILLS_MAX 64

struct nghttp2_hd_inflater;

/* Zeroed: a connection from its beginning. */
struct hpack {
	struct nghttp2_hd_inflater *inflater; /* made when the first block comes */
	bool blind;                           /* there are entries that were never seen */
	uint8_t failures;
	uint8_t fills;
	uint32_t table_size; /* of the table that was lost; 0: the default */
};

/* A field; one without a name is unknown. Borrowed for the length of the call. */
typedef void (*hpack_field)(void *context, struct http_text name, struct http_text value);

/*
 * Decodes the next piece of a header block; @last ends it. 0; -EBADMSG: the rest of this block cannot
 * be read, must not be fed, and the next one starts with an unknown table; -ENOMEM.
 */
int hpack_decode(struct hpack *z, const uint8_t *p, size_t n, bool last, hpack_field field,
		 void *context);

/* Bytes of this direction are missing: what the table holds is no longer known. */
void hpack_lose(struct hpack *z);

void hpack_done(struct hpack *z);

#endif
