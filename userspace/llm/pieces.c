/* SPDX-License-Identifier: MIT */
#include "llm/pieces.h"

#include <string.h>

#include "base/cleanup.h"

#define OBJECT_KEEP ((size_t)256 << 10) /* a larger buffer is given back after its object */

void pieces_begin(struct pieces *s, bool sse,
		  void (*piece)(void *context, const char *text, size_t n), void *context)
{
	*s = (struct pieces){
		.piece = piece,
		.context = context,
		.max = PIECES_MAX,
		.is_sse = sse,
		.known = sse,
	};
}

void pieces_done(struct pieces *s)
{
	buf_done(&s->object);
	sse_free(s->sse);
	s->sse = NULL;
}

size_t pieces_memory(const struct pieces *s)
{
	return s->object.cap + (s->sse ? sse_memory(s->sse) : 0);
}

static void take_event(void *context, const struct sse_event *event)
{
	struct pieces *s = context;

	if (event->truncated)
		s->lost = true;
	else if (event->data.len)
		s->piece(s->context, event->data.p, event->data.len);
}

static void leave_out(struct pieces *s)
{
	s->skip = s->lost = true;
	buf_done(&s->object);
}

/* Of what has no end, the beginning is not kept either. */
static void keep(struct pieces *s, const char *p, size_t n)
{
	if (s->skip)
		return;
	if (n > s->max - s->object.len || s->object.failed) {
		leave_out(s);
		return;
	}
	buf_add(&s->object, p, n);
}

static void give(struct pieces *s)
{
	if (!s->skip && !s->object.failed)
		s->piece(s->context, s->object.data, s->object.len);
	s->lost |= s->object.failed;
	s->skip = false;
	if (s->object.cap > OBJECT_KEEP)
		buf_done(&s->object);
	buf_reset(&s->object);
}

/* Where the object ends or the bytes do. */
static const char *scan_object(struct pieces *s, const char *p, const char *end)
{
	for (; p < end; p++) {
		char c = *p;

		if (s->in_string) {
			if (s->escaped)
				s->escaped = false;
			else if (c == '\\')
				s->escaped = true;
			else if (c == '"')
				s->in_string = false;
		} else if (c == '"') {
			s->in_string = true;
		} else if (c == '{') {
			s->depth++;
		} else if (c == '}' && --s->depth == 0) {
			return p + 1;
		}
	}
	return p;
}

static void feed_objects(struct pieces *s, const char *p, size_t n)
{
	const char *end = p + n;

	while (p < end) {
		const char *from;

		if (!s->depth) {
			p = memchr(p, '{', (size_t)(end - p));
			if (!p)
				return;
			s->stream |= s->any;
			s->any = true;
		}
		from = p;
		p = scan_object(s, p, end);
		keep(s, from, (size_t)(p - from));
		if (!s->depth)
			give(s);
	}
}

/* ---- both ---- */

void pieces_bound(struct pieces *s, size_t max)
{
	s->max = max;
	if (!buf_bound(&s->object, max))
		leave_out(s);
	if (s->sse)
		sse_bound(s->sse, max);
}

/* No JSON begins like the lines of events, which are "event:", "data:", "id:", "retry:" or a comment. */
static bool recognise(struct pieces *s, const char **p, size_t *n)
{
	for (; *n; (*p)++, (*n)--) {
		if (strchr(" \t\r\n\xef\xbb\xbf", **p) && **p)
			continue;
		s->is_sse = **p && strchr("edir:", **p);
		s->known = true;
		return true;
	}
	return false;
}

static bool open_events(struct pieces *s)
{
	if (sse_new(take_event, s, &s->sse) < 0)
		return false;
	sse_bound(s->sse, s->max);
	return true;
}

void pieces_feed(struct pieces *s, const char *p, size_t n)
{
	if (!s->known && !recognise(s, &p, &n))
		return;
	if (!s->is_sse) {
		feed_objects(s, p, n);
		return;
	}
	s->stream = true;
	if (!s->sse && !open_events(s)) {
		s->lost = true;
		return;
	}
	sse_feed(s->sse, p, n);
	s->lost |= sse_failed(s->sse);
}
