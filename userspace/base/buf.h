/* SPDX-License-Identifier: MIT */
/*
 * A growable byte buffer. An allocation that fails sets `failed`; appends after that do nothing, so a
 * writer checks once, at the end. The content is not NUL-terminated; buf_cstr() adds one.
 */
#ifndef AGENTSIGHT_BASE_BUF_H
#define AGENTSIGHT_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct buf {
	char *data;
	size_t len;
	size_t cap;
	bool failed;
};

/* Grows so that @extra more bytes fit. 0, or -ENOMEM (and `failed` is set). */
int buf_grow(struct buf *b, size_t extra);

/* Gives back what is not used, of a buffer that is kept as it is. */
void buf_fit(struct buf *b);

/*
 * No more memory than @max: gives back what is not used, and where that does not do, the content as well.
 * false: that is lost.
 */
bool buf_bound(struct buf *b, size_t max);

/* Releases the memory; the buffer is empty and usable again. Accepts a zeroed struct. */
void buf_done(struct buf *b);

__attribute__((format(printf, 2, 3))) void buf_printf(struct buf *b, const char *fmt, ...);

/* The content as a C string, valid until the next append; "" when allocation failed. */
const char *buf_cstr(struct buf *b);

/* Room for @extra bytes; false when memory ran out. The common case is one comparison. */
static inline bool buf_room(struct buf *b, size_t extra)
{
	if (__builtin_expect(b->cap - b->len >= extra && !b->failed, 1))
		return true;
	return buf_grow(b, extra) == 0;
}

static inline void buf_add(struct buf *b, const void *p, size_t n)
{
	/* An empty buffer has no memory yet, and memcpy() must not get NULL even for nothing. */
	if (n == 0 || !buf_room(b, n))
		return;
	memcpy(b->data + b->len, p, n);
	b->len += n;
}

static inline void buf_add_char(struct buf *b, char c)
{
	if (!buf_room(b, 1))
		return;
	b->data[b->len++] = c;
}

#define buf_add_lit(b, literal) buf_add((b), "" literal, sizeof(literal) - 1)

static inline void buf_add_str(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

static inline void buf_reset(struct buf *b)
{
	b->len = 0;
	b->failed = false;
}

#endif
