/* SPDX-License-Identifier: MIT */
#include "llm/pieces.h"

#include <string.h>

void pieces_begin(struct pieces *s, bool sse,
		  void (*piece)(void *context, const char *text, size_t n), void *context)
{
	*s = (struct pieces){.piece = piece, .context = context, .is_sse = sse, .known = sse};
}

void pieces_done(struct pieces *s)
{
	buf_done(&s->object);
	sse_free(s->sse);
	s->sse = NULL;
}

static void take_event(void *context, const struct sse_event *event)
{
	struct pieces *s = context;

	if (event->truncated)
		s->lost = true;
	else if (event->data.len)
		s->piece(s->context, event->data.p, event->data.len);
}

/* Of what has no end, the beginning is not kept either. */
static void keep(struct pieces *s, const char *p, size_t n)
{
	if (s->skip)
		return;
	if (n > PIECES_MAX - s->object.len || s->object.failed) {
		s->skip = s->lost = true;
		buf_done(&s->object);
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

void pieces_feed(struct pieces *s, const char *p, size_t n)
{
	if (!s->known && !recognise(s, &p, &n))
		return;
	if (!s->is_sse) {
		feed_objects(s, p, n);
		return;
	}
	s->stream = true;
	if (!s->sse && sse_new(take_event, s, &s->sse) < 0) {
		s->lost = true;
		return;
	}
	sse_feed(s->sse, p, n);
	s->lost |= sse_failed(s->sse);
}
