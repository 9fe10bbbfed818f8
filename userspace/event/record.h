/* SPDX-License-Identifier: MIT */
/*
 * Records made by user space: a builder that appends the bytes of spans behind the struct, and
 * readers for what spans and paths hold.
 */
#ifndef AGENTSIGHT_EVENT_RECORD_H
#define AGENTSIGHT_EVENT_RECORD_H

#include <string.h>

#include <agentsight/control.h>

#include "base/buf.h"
#include "event/event.h"

#define PATH_TEXT_MAX (2 * AS_PATH_MAX + 1024)

/* What the decoder lets through in base and rel together: a slash before each and a NUL fit, too. */
#define PATH_BYTES_MAX (PATH_TEXT_MAX - 4)

/* Starts a record of @type in @b: the struct zeroed, time and identity of @h taken over. */
void record_begin(struct buf *b, unsigned type, const struct as_hdr *h);

/* The same for what agentsight says of itself. */
void record_begin_own(struct buf *b, unsigned type, uint64_t boot_ns);

/* The struct; valid until the next append. */
#define record_struct(b, S) ((struct S *)(b)->data)

/* Appends @n bytes and returns the span for them. Assign it through record_struct() afterwards. */
struct as_span record_add(struct buf *b, const void *p, size_t n);
struct as_span record_add_str(struct buf *b, const char *s);

/* Completes the length and fills @ev. 0, -ENOMEM when an append had failed. */
int record_end(struct buf *b, struct event *ev);

/* Did all appends succeed? If not the record, of @type, is counted: see record_take_unmade(). */
bool record_made(const struct buf *b, unsigned type);

/* Completes the record, which was made, and hands it on. */
void record_emit(struct buf *b, unsigned type, struct emitter *out);

/* Adds to @unmade, by type, how many could not be made since the last call, by anybody in this program. */
void record_take_unmade(uint64_t unmade[AS_EV_COUNT]);

/* How many bytes were cut off. */
static inline size_t span_cut(const struct as_span *span)
{
	return span->full > span->len ? span->full - span->len : 0;
}

static inline const char *record_bytes(const struct as_hdr *rec, const struct as_span *span)
{
	return (const char *)rec + span->off;
}

/* Is it this text? */
static inline bool record_is(const struct as_hdr *rec, const struct as_span *span, const char *text)
{
	return span->len == strlen(text) && !memcmp(record_bytes(rec, span), text, span->len);
}

/*
 * The text of @path into @out (at least PATH_TEXT_MAX bytes, NUL-terminated); returns its length.
 * ".." directly behind the part that the kernel resolved is taken literally, since that part holds
 * no symbolic link; "." and empty components are left out. A path of which nothing is known, and so
 * says its `full`, gives no text.
 */
size_t record_path(const struct as_hdr *rec, const struct as_path *path, char *out);

#endif
