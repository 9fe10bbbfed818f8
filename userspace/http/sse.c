/* SPDX-License-Identifier: MIT */
/*
 * The event stream format. Values go straight from the input to the field they belong to, so that a line that
 * is cut into pieces needs no memory of its own. It must not know what the data means.
 */
#include "http/sse.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"

#define FIELD_MAX 5                   /* "event", "retry": a longer name is none that we know */
#define BUF_KEEP  ((size_t)256 << 10) /* a larger buffer is given back after its event */

enum state {
	STATE_BOM,   /* at the first bytes of the stream */
	STATE_NAME,  /* in a field's name, or before it */
	STATE_COLON, /* behind it: one blank is skipped */
	STATE_VALUE,
};

enum field {
	FIELD_OTHER, /* comments, `retry`, and names that nobody knows */
	FIELD_DATA,
	FIELD_EVENT,
	FIELD_ID,
};

struct value {
	struct buf text;
	size_t max;
	uint64_t full;
};

struct sse {
	sse_event_fn fn;
	void *context;
	enum state state;
	enum field field;
	bool failed;
	bool was_cr; /* a line feed that comes next belongs to that carriage return */
	bool has_data, id_bad;
	uint8_t bom_len;
	uint8_t name_len; /* FIELD_MAX + 1: longer */
	char name[FIELD_MAX + 1];
	struct value data, event, id, new_id;
};

static const struct {
	const char *name;
	uint8_t len;
	enum field field;
} fields[] = {
	{"data", 4, FIELD_DATA},
	{"event", 5, FIELD_EVENT},
	{"id", 2, FIELD_ID},
};

static struct value *field_value(struct sse *s)
{
	switch (s->field) {
	case FIELD_DATA:
		return &s->data;
	case FIELD_EVENT:
		return &s->event;
	case FIELD_ID:
		return &s->new_id;
	case FIELD_OTHER:
		return NULL;
	}
	return NULL;
}

static void value_reset(struct value *v)
{
	if (v->text.cap > BUF_KEEP)
		buf_done(&v->text);
	buf_reset(&v->text);
	v->full = 0;
}

static void value_add(struct sse *s, struct value *v, const char *p, size_t n)
{
	buf_add(&v->text, p, MIN(n, v->max - v->text.len));
	v->full += n;
	s->failed |= v->text.failed;
}

/* A value begins; all but `data` replace what an earlier line said. */
static void field_begin(struct sse *s, enum field field)
{
	s->field = field;
	s->id_bad = false;
	if (field == FIELD_EVENT)
		value_reset(&s->event);
	if (field == FIELD_ID)
		value_reset(&s->new_id);
	if (field != FIELD_DATA)
		return;
	/* A line feed joins the lines: before each but the first, so that none is left at the end. */
	if (s->has_data)
		value_add(s, &s->data, "\n", 1);
	s->has_data = true;
}

static enum field field_named(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (len == fields[i].len && !memcmp(name, fields[i].name, len))
			return fields[i].field;
	return FIELD_OTHER;
}

static void field_add(struct sse *s, const char *p, size_t n)
{
	struct value *v = field_value(s);

	if (!v || n == 0)
		return;
	if (s->field == FIELD_ID && memchr(p, '\0', n))
		s->id_bad = true;
	value_add(s, v, p, n);
}

static struct http_text value_text(const struct value *v)
{
	return (struct http_text){v->text.data, v->text.len};
}

static bool value_cut(const struct value *v)
{
	return v->full > v->text.len;
}

static void dispatch(struct sse *s)
{
	struct sse_event e = {
		.event = s->event.text.len ? value_text(&s->event)
					   : (struct http_text){"message", 7},
		.data = value_text(&s->data),
		.id = value_text(&s->id),
		.data_full = s->data.full,
		.truncated = value_cut(&s->data) || value_cut(&s->event) || value_cut(&s->id),
	};

	/* The algorithm's buffer of one empty `data` line is a line feed: an event with empty data. */
	if (s->has_data)
		s->fn(s->context, &e);
	value_reset(&s->data);
	value_reset(&s->event);
	s->has_data = false;
}

static void id_set(struct sse *s)
{
	struct value old = s->id;

	if (s->id_bad)
		return;
	s->id = s->new_id;
	s->new_id = old;
}

static void line_end(struct sse *s)
{
	if (s->state == STATE_NAME && s->name_len == 0) {
		dispatch(s);
		return;
	}
	if (s->state == STATE_NAME)
		field_begin(s, field_named(s->name, s->name_len)); /* no colon: all is the name */
	if (s->field == FIELD_ID)
		id_set(s);
	s->state = STATE_NAME;
	s->name_len = 0;
}

/* What nearly all lines begin with, in one comparison each. */
static void line_begin(struct sse *s, const char **p, size_t *n)
{
	size_t len = 0;

	if (*n >= 5 && !memcmp(*p, "data:", 5)) {
		field_begin(s, FIELD_DATA);
		len = 5;
	} else if (*n >= 6 && !memcmp(*p, "event:", 6)) {
		field_begin(s, FIELD_EVENT);
		len = 6;
	}
	if (len)
		s->state = STATE_COLON;
	*p += len;
	*n -= len;
}

/* A piece of one line, without its end. */
static void line_add(struct sse *s, const char *p, size_t n)
{
	if (s->state == STATE_NAME && s->name_len == 0)
		line_begin(s, &p, &n);
	for (; n && s->state == STATE_NAME; p++, n--) {
		if (*p == ':') {
			field_begin(s, field_named(s->name, s->name_len));
			s->state = STATE_COLON;
		} else if (s->name_len <= FIELD_MAX) {
			s->name[s->name_len++] = *p;
		}
	}
	if (n && s->state == STATE_COLON) {
		/* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): n says it is there */
		if (*p == ' ') {
			p++;
			n--;
		}
		s->state = STATE_VALUE;
	}
	field_add(s, p, n);
}

/* Where the next @c is in [p, end), or @end. @found is what the last search gave: good until it is passed. */
static inline const char *next(const char *p, const char *end, char c, const char *found)
{
	if (found >= p)
		return found;
	found = memchr(p, c, (size_t)(end - p));
	return found ? found : end;
}

/*
 * The two line ends are searched apart, with memchr(), each as far as it takes: a stream that has one kind only is
 * searched for the other once.
 */
static void lines(struct sse *s, const char *p, const char *end)
{
	const char *lf = NULL, *cr = NULL, *stop;

	while (p < end && !s->failed) {
		if (s->was_cr && *p == '\n') {
			s->was_cr = false;
			p++;
			continue;
		}
		s->was_cr = false;
		lf = next(p, end, '\n', lf);
		cr = next(p, end, '\r', cr);
		stop = MIN(lf, cr);
		line_add(s, p, (size_t)(stop - p));
		if (stop == end)
			return;
		s->was_cr = *stop == '\r';
		line_end(s);
		p = stop + 1;
	}
}

/* One byte order mark at the very beginning; what only looked like one is text. */
static const char *bom(struct sse *s, const char *p, const char *end)
{
	static const char mark[] = "\xef\xbb\xbf";

	while (p < end && s->state == STATE_BOM) {
		if (*p != mark[s->bom_len]) {
			s->state = STATE_NAME;
			line_add(s, mark, s->bom_len);
			return p;
		}
		p++;
		if (++s->bom_len == 3)
			s->state = STATE_NAME;
	}
	return p;
}

void sse_feed(struct sse *s, const void *p, size_t n)
{
	const char *at = p, *end = at + n;

	if (n == 0 || s->failed)
		return;
	if (s->state == STATE_BOM)
		at = bom(s, at, end);
	lines(s, at, end);
}

int sse_new(sse_event_fn fn, void *context, struct sse **ret)
{
	struct sse *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->fn = fn;
	s->context = context;
	s->data.max = SSE_DATA_MAX;
	s->event.max = s->id.max = s->new_id.max = SSE_NAME_MAX;
	*ret = s;
	return 0;
}

void sse_bound(struct sse *s, size_t max)
{
	s->data.max = max;
	buf_bound(&s->data.text, max); /* that `full` stays tells what is missing */
}

size_t sse_memory(const struct sse *s)
{
	return sizeof(*s) + s->data.text.cap + s->event.text.cap + s->id.text.cap +
	       s->new_id.text.cap;
}

bool sse_failed(const struct sse *s)
{
	return s->failed;
}

void sse_free(struct sse *s)
{
	if (!s)
		return;
	buf_done(&s->data.text);
	buf_done(&s->event.text);
	buf_done(&s->id.text);
	buf_done(&s->new_id.text);
	free(s);
}
