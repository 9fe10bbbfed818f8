/* SPDX-License-Identifier: MIT */
/*
 * The out-of-line half of the byte buffer: growth and formatted text. Knows nothing about what is written.
 */
#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Many buffers hold the head of one message; those of lines grow at the start, and stay. */
#define BUF_MIN_CAP ((size_t)512)

/* Objects larger than PTRDIFF_MAX make pointer differences undefined, so that is the ceiling. */
#define BUF_MAX_CAP ((size_t)PTRDIFF_MAX)

static size_t grown_cap(size_t cap, size_t need)
{
	size_t doubled = cap > BUF_MAX_CAP / 2 ? BUF_MAX_CAP : cap * 2;

	if (doubled < BUF_MIN_CAP)
		doubled = BUF_MIN_CAP;
	return doubled > need ? doubled : need;
}

int buf_grow(struct buf *b, size_t extra)
{
	size_t cap;
	char *data;

	if (b->failed)
		return -ENOMEM;
	if (b->data && b->cap - b->len >= extra)
		return 0;
	if (extra > BUF_MAX_CAP - b->len)
		goto fail;

	cap = grown_cap(b->cap, b->len + extra);
	data = realloc(b->data, cap);
	if (!data)
		goto fail;

	b->data = data;
	b->cap = cap;
	return 0;

fail:
	b->failed = true;
	return -ENOMEM;
}

void buf_fit(struct buf *b)
{
	char *data = b->len && b->len < b->cap ? realloc(b->data, b->len) : NULL;

	if (!data)
		return;
	b->data = data;
	b->cap = b->len;
}

bool buf_bound(struct buf *b, size_t max)
{
	bool fits = b->len <= max;

	if (b->cap > max && fits)
		buf_fit(b);
	/* nothing in it, or no memory to move it to */
	if (b->cap > max && !b->len)
		buf_done(b);
	if (!fits)
		buf_done(b);
	return fits;
}

void buf_done(struct buf *b)
{
	free(b->data);
	*b = (struct buf){0};
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	size_t room = b->cap - b->len;
	va_list ap;
	int n;

	if (b->failed)
		return;

	va_start(ap, fmt);
	n = vsnprintf(room ? b->data + b->len : NULL, room, fmt, ap);
	va_end(ap);
	if (n < 0) {
		b->failed = true;
		return;
	}

	if ((size_t)n >= room) {
		/* + 1: vsnprintf() insists on writing a NUL, which is not counted in len. */
		if (buf_grow(b, (size_t)n + 1) < 0)
			return;
		va_start(ap, fmt);
		vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
		va_end(ap);
	}
	b->len += (size_t)n;
}

const char *buf_cstr(struct buf *b)
{
	if (!buf_room(b, 1))
		return "";
	b->data[b->len] = '\0';
	return b->data;
}
