/* SPDX-License-Identifier: MIT */
#include "stage/redact.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/utf8.h"
#include "event/record.h"
#include "event/schema.h"
#include "stage/framing.h"
#include "stage/secrets.h"
#include "stage/unescape.h"

/* Sessions whose state is kept: a session has a few places, so that two rarely share one. What is
 * longest unused is forgotten. */
#define SETS      256
#define WAYS      4
#define MAX_SPANS 256

/* Large ones are rare enough to be given back each time. */
#define KEPT_MAX ((size_t)1 << 20)

/* Of one text in pieces. While it has escapes it is searched as it is and with them undone. */
struct text_scan {
	struct secret_scan plain;
	struct secret_scan undone;
	struct unescape escape;
	bool escaped;
};

struct stream {
	uint64_t id;
	uint64_t used; /* when, in events */
	uint32_t tgid;
	uint32_t direction;
	bool framed; /* there was framing; from then on it is searched without, too */
	struct framing framing;
	struct text_scan scan;
	struct text_scan inner; /* of what lies between the framing */
};

struct redact {
	struct stage stage;
	struct emitter unseen;
	bool has_text[AS_EV_COUNT]; /* most types have none */
	struct buf copy;            /* of the record, made when the first secret in it is found */
	struct buf undone;          /* a text with its escapes undone */
	struct secret_span spans[MAX_SPANS];
	struct stream streams[SETS][WAYS];
	uint64_t uses;
};

static bool is_stream(const struct stream *s, const struct as_hdr *rec)
{
	const struct as_ssl_data *d = (const struct as_ssl_data *)rec;

	return s->id == d->stream_id && s->tgid == rec->tgid && s->direction == d->direction;
}

/* The state of a session's direction. A place taken over from another session starts afresh. */
static struct stream *stream_of(struct redact *r, const struct as_hdr *rec)
{
	const struct as_ssl_data *d = (const struct as_ssl_data *)rec;
	uint64_t key = (d->stream_id * 2 + d->direction) ^ (uint64_t)rec->tgid << 32;
	struct stream *set = r->streams[key * 0x9e3779b97f4a7c15ULL >> 56];
	struct stream *oldest = &set[0];

	_Static_assert(SETS == 1 << 8, "the shift above");
	for (size_t i = 0; i < WAYS; i++) {
		if (is_stream(&set[i], rec)) {
			set[i].used = ++r->uses;
			return &set[i];
		}
		if (set[i].used < oldest->used)
			oldest = &set[i];
	}
	*oldest = (struct stream){.id = d->stream_id,
				  .used = ++r->uses,
				  .tgid = rec->tgid,
				  .direction = d->direction};
	return oldest;
}

static bool holds_text(const struct field_desc *f)
{
	return f->kind == AS_KIND_STR || f->kind == AS_KIND_ARGV || f->kind == AS_KIND_PAYLOAD ||
	       f->kind == AS_KIND_JSON;
}

/* ---- JSON: only numbers and the inside of strings may be masked, and no half of an escape ---- */

struct json_walk {
	const uint8_t *in;
	size_t n;
	uint8_t *out; /* the copy to mask; NULL: only look */
	const struct secret_span *spans;
	size_t n_spans;
	bool found;
};

/* How many bytes are the character at @i: one, an escape, or a sequence of UTF-8. */
static size_t json_unit(const struct json_walk *w, size_t i)
{
	size_t len = 1;

	if (w->in[i] == '\\')
		len = i + 1 < w->n && w->in[i + 1] == 'u' ? 6 : 2;
	else if (w->in[i] >= 0x80)
		len = utf8_sequence(w->in + i, w->n - i) ?: 1;
	return MIN(len, w->n - i);
}

static bool in_spans(struct json_walk *w, size_t i, size_t len)
{
	while (w->n_spans && w->spans->off + w->spans->len <= i) {
		w->spans++;
		w->n_spans--;
	}
	return w->n_spans && w->spans->off < i + len;
}

/* The string whose opening quote is at @i; returns where it is closed. */
static size_t json_string_mask(struct json_walk *w, size_t i)
{
	for (i++; i < w->n && w->in[i] != '"';) {
		size_t len = json_unit(w, i);

		if (in_spans(w, i, len)) {
			w->found = true;
			if (w->out)
				memset(w->out + i, '*', len);
		}
		i += len;
	}
	return i;
}

/* A string as long as the number that was there; of one digit nothing can be made but another. */
static void number_overwrite(uint8_t *out, size_t len)
{
	if (len == 1) {
		out[0] = '0';
		return;
	}
	memset(out, '*', len);
	out[0] = out[len - 1] = '"';
}

static bool is_number(uint8_t c)
{
	return (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '+' || c == 'e' || c == 'E';
}

/* The number that starts at @i; returns its last byte. */
static size_t json_number_mask(struct json_walk *w, size_t i)
{
	size_t len = 1;

	while (i + len < w->n && is_number(w->in[i + len]))
		len++;
	if (in_spans(w, i, len)) {
		w->found = true;
		if (w->out)
			number_overwrite(w->out + i, len);
	}
	return i + len - 1;
}

static void json_mask(struct json_walk *w)
{
	for (size_t i = 0; i < w->n && w->n_spans; i++) {
		if (w->in[i] == '"')
			i = json_string_mask(w, i);
		else if (w->in[i] == '-' || (w->in[i] >= '0' && w->in[i] <= '9'))
			i = json_number_mask(w, i);
	}
}

static void mask_copy(struct redact *r, const struct as_hdr *rec)
{
	if (!r->copy.len)
		buf_add(&r->copy, rec, rec->len);
}

/* ---- searching ---- */

/* Finds the secrets in a text, and masks them as its kind demands. */
struct search {
	struct redact *r;
	const struct as_hdr *rec;
	size_t off, len; /* in the record */
	struct text_scan *scan;
	void (*mask)(struct search *s, size_t n_spans);
};

static void search_plain(struct search *s)
{
	const uint8_t *in = (const uint8_t *)s->rec + s->off;

	s->mask(s, secrets_mask(&s->scan->plain, in, s->len, s->r->spans, MAX_SPANS, NULL));
}

static void search_undone(struct search *s)
{
	struct unescape *u = &s->scan->escape, before = *u;
	const uint8_t *in = (const uint8_t *)s->rec + s->off;
	struct buf *b = &s->r->undone;
	size_t n;

	buf_reset(b);
	if (!buf_room(b, s->len + UNESCAPE_HELD)) {
		s->r->copy.failed = true;
		return;
	}
	n = unescape_piece(u, in, s->len, (uint8_t *)b->data);
	if (s->scan->plain.last)
		n += unescape_end(u, (uint8_t *)b->data + n);
	n = secrets_mask(&s->scan->undone, (uint8_t *)b->data, n, s->r->spans, MAX_SPANS, NULL);
	unescape_map(before, in, s->len, s->r->spans, n);
	if (n)
		s->mask(s, n);
	if (b->cap > KEPT_MAX)
		buf_done(b);
}

static void search(struct search *s)
{
	bool needed = unescape_needed((const uint8_t *)s->rec + s->off, s->len);
	struct text_scan *scan = s->scan;

	if (needed && !scan->escaped) {
		scan->undone = scan->plain;
		scan->escape = (struct unescape){};
		scan->escaped = true;
	}
	search_plain(s);
	if (scan->escaped)
		search_undone(s);
	if (scan->escaped && !scan->escape.n_held)
		scan->escaped = !secrets_agree(&scan->plain, &scan->undone);
}

static void mask_json(struct search *s, size_t n_spans)
{
	struct redact *r = s->r;
	const uint8_t *in = (const uint8_t *)s->rec + s->off;
	struct json_walk w = {.in = in, .n = s->len, .spans = r->spans, .n_spans = n_spans};

	if (!n_spans)
		return;
	json_mask(&w);
	if (!w.found)
		return;
	mask_copy(r, s->rec);
	if (r->copy.failed)
		return;
	w.out = (uint8_t *)r->copy.data + s->off;
	w.spans = r->spans;
	w.n_spans = n_spans;
	json_mask(&w);
}

static void mask_text(struct search *s, size_t n_spans)
{
	if (!n_spans)
		return;
	mask_copy(s->r, s->rec);
	if (!s->r->copy.failed)
		secrets_apply((uint8_t *)s->r->copy.data + s->off, s->len, s->r->spans, n_spans);
}

/* ---- events ---- */

static bool has_text(const struct event_desc *d)
{
	for (size_t i = 0; i < d->n_outlying; i++) {
		if (holds_text(d->outlying[i]))
			return true;
	}
	return false;
}

/* Pieces of one stream, all of the layout of struct as_ssl_data. */
static bool is_payload(const struct as_hdr *rec)
{
	return rec->type == AS_EV_SSL_DATA || rec->type == AS_EV_NET_DATA ||
	       rec->type == AS_EV_STDIO_DATA;
}

/* A piece of a stream; the scan itself reads the record where it lies. */
static void redact_piece(struct redact *r, const struct as_hdr *rec, size_t off, size_t len,
			 struct text_scan *scan)
{
	search(&(struct search){r, rec, off, len, scan, mask_text});
}

/* Also sees where framing begins, and lets the search without it begin there. */
static bool has_framing(struct stream *s, const uint8_t *in, size_t n)
{
	struct framing f = s->framing;
	bool content = true;

	while (n && content && !s->framed) {
		size_t len = framing_next(&f, in, n, &content);

		in += len;
		n -= len;
	}
	if (!s->framed && content)
		s->framing = f;
	else if (!s->framed)
		s->inner = s->scan;
	s->framed |= !content;
	return s->framed;
}

/* As one text, and again without what chunks and frames put into it: a secret may be cut by that. */
static void redact_payload(struct redact *r, const struct as_hdr *rec, const struct as_span *span)
{
	struct stream *s = stream_of(r, rec);
	size_t at = span->off, end = span->off + span->len;
	bool framed = has_framing(s, (const uint8_t *)rec + at, span->len);

	redact_piece(r, rec, at, span->len, &s->scan);
	while (framed && at < end) {
		bool content;
		size_t len =
			framing_next(&s->framing, (const uint8_t *)rec + at, end - at, &content);

		if (content)
			redact_piece(r, rec, at, len, &s->inner);
		at += len;
	}
	if (span_cut(span))
		framing_lose(&s->framing);
}

/* A text that is cut off ends like a piece: what may have become a secret there is one. */
static void redact_text(struct redact *r, const struct as_hdr *rec, const struct field_desc *f,
			const struct as_span *span)
{
	bool whole = !span_cut(span);
	struct text_scan scan; /* of which search() begins the rest where there are escapes */

	scan.plain =
		f->kind == AS_KIND_ARGV ? secrets_list(whole) : (struct secret_scan){.last = whole};
	scan.escaped = false;
	search(&(struct search){r, rec, span->off, span->len, &scan,
				f->kind == AS_KIND_JSON ? mask_json : mask_text});
}

static void redact_field(struct redact *r, const struct as_hdr *rec, const struct field_desc *f)
{
	const struct as_span *span = (const void *)((const char *)rec + f->offset);

	if (!span->len)
		return;
	if (is_payload(rec))
		redact_payload(r, rec, span);
	else
		redact_text(r, rec, f, span);
}

const struct event *redact_view(struct stage *stage, const struct event *ev, struct event *ret)
{
	struct redact *r = (struct redact *)stage;
	const struct event_desc *d = ev->desc;

	if (!r->has_text[d->type])
		return ev;
	buf_reset(&r->copy);
	for (size_t i = 0; i < d->n_outlying; i++) {
		if (holds_text(d->outlying[i]))
			redact_field(r, ev->rec, d->outlying[i]);
	}
	if (r->copy.failed)
		return NULL;
	if (!r->copy.len)
		return ev;
	((struct as_hdr *)r->copy.data)->flags |= AS_F_REDACTED;
	*ret = *ev;
	ret->rec = (const struct as_hdr *)r->copy.data;
	return ret;
}

static void redact_event(struct emitter *in, const struct event *ev)
{
	struct redact *r = (struct redact *)in;
	struct event masked;
	const struct event *view = redact_view(&r->stage, ev, &masked);

	/* no memory: an event too few rather than a secret too many */
	if (view)
		event_emit(r->stage.out, view);
	else
		record_made(&r->copy, ev->desc->type);
}

static void unseen_event(struct emitter *self, const struct event *ev)
{
	struct redact *r = (struct redact *)((char *)self - offsetof(struct redact, unseen));
	struct event masked;

	if (is_payload(ev->rec))
		redact_view(&r->stage, ev, &masked);
}

struct emitter *redact_unseen(struct stage *stage)
{
	return &((struct redact *)stage)->unseen;
}

static void redact_free(struct stage *stage)
{
	struct redact *r = (struct redact *)stage;

	buf_done(&r->copy);
	buf_done(&r->undone);
	free(r);
}

int redact_new(struct emitter *out, struct stage **ret)
{
	struct redact *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->stage = (struct stage){.in.emit = redact_event, .out = out, .free = redact_free};
	r->unseen.emit = unseen_event;
	for (unsigned type = 1; type < AS_EV_COUNT; type++)
		r->has_text[type] = has_text(schema_event(type));
	*ret = &r->stage;
	return 0;
}
