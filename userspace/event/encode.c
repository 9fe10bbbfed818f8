/* SPDX-License-Identifier: MIT */
/*
 * Walks the event's row of the schema and appends text; no tree, no allocation per event. Every
 * value is followed by a comma; the last one of an object is overwritten by the bracket.
 */
#include "event/encode.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/json.h"
#include "base/utf8.h"
#include "event/record.h"
#include "event/schema.h"

struct encoder {
	struct buf *b;
	const struct event *ev;
	bool truncated;
};

/* Names are short: two moves that overlap cost less than the call of memcpy(). */
static void put_name(struct buf *b, const char *p, size_t n)
{
	char *to;

	if (n < 8 || n > 32 || !buf_room(b, n)) {
		buf_add(b, p, n);
		return;
	}
	to = b->data + b->len;
	if (n >= 16) {
		memcpy(to, p, 16);
		memcpy(to + n - 16, p + n - 16, 16);
	} else {
		memcpy(to, p, 8);
		memcpy(to + n - 8, p + n - 8, 8);
	}
	b->len += n;
}

static bool is_text(const char *p, size_t n)
{
	return utf8_valid_prefix(p, n) == n;
}

/* ,"<leaf><suffix>": */
static void put_sibling_key(struct buf *b, const char *leaf, const char *suffix)
{
	buf_add_lit(b, ",\"");
	buf_add_str(b, leaf);
	buf_add_str(b, suffix);
	buf_add_lit(b, "\":");
}

/* What stands beside a text that is not whole, or not text. */
static void put_siblings(struct encoder *en, const struct field_desc *f, const char *p, size_t n,
			 size_t full, bool valid)
{
	if (!valid) {
		put_sibling_key(en->b, f->leaf, "_base64");
		json_base64(en->b, p, n);
	}
	if (full > n) {
		put_sibling_key(en->b, f->leaf, "_length");
		json_u64(en->b, full);
		if (!en->truncated)
			buf_add_lit(en->b, ",\"truncated\":true");
		en->truncated = true;
	}
}

static void put_text(struct encoder *en, const struct field_desc *f, const char *p, size_t n,
		     size_t full)
{
	bool valid = json_string(en->b, p, n);

	put_siblings(en, f, p, n, full, valid);
}

static void put_path(struct encoder *en, const struct field_desc *f, const struct as_path *path)
{
	char text[PATH_TEXT_MAX];
	size_t n = record_path(en->ev->rec, path, text);

	put_text(en, f, text, n, n + span_cut(&path->base) + span_cut(&path->rel));
}

/* The end of the string at @p, at most @n bytes away. */
static size_t string_length(const char *p, size_t n)
{
	const char *end = memchr(p, '\0', n);

	return end ? (size_t)(end - p) : n;
}

static void put_strings(struct buf *b, const char *p, size_t n,
			void (*put)(struct buf *, const char *, size_t))
{
	buf_add_char(b, '[');
	for (size_t i = 0; i < n;) {
		size_t len = string_length(p + i, n - i);

		if (i)
			buf_add_char(b, ',');
		put(b, p + i, len);
		i += len + 1;
	}
	buf_add_char(b, ']');
}

static void put_one_string(struct buf *b, const char *p, size_t n)
{
	json_string(b, p, n);
}

static void put_one_base64(struct buf *b, const char *p, size_t n)
{
	json_base64(b, p, n);
}

static void put_argv(struct encoder *en, const struct field_desc *f, const struct as_span *s)
{
	const char *p = record_bytes(en->ev->rec, s);

	put_strings(en->b, p, s->len, put_one_string);
	if (!is_text(p, s->len)) {
		put_sibling_key(en->b, f->leaf, "_base64");
		put_strings(en->b, p, s->len, put_one_base64);
	}
	put_siblings(en, f, p, s->len, s->full, true);
}

/* Text under its own name, anything else only as base64. */
static void put_payload(struct encoder *en, const struct field_desc *f, const struct as_span *s)
{
	const char *p = record_bytes(en->ev->rec, s);

	if (is_text(p, s->len)) {
		buf_add(en->b, f->before, f->before_len);
		json_string(en->b, p, s->len);
	} else {
		buf_add_char(en->b, '"');
		buf_add_str(en->b, f->leaf);
		buf_add_lit(en->b, "_base64\":");
		json_base64(en->b, p, s->len);
	}
	put_siblings(en, f, p, s->len, s->full, true);
}

static void put_addr(struct buf *b, const struct as_addr *a)
{
	buf_add_lit(b, "{\"address\":");
	if (a->family == AF_INET || a->family == AF_INET6)
		json_ip(b, a->ip, a->family);
	else
		buf_add_lit(b, "\"\"");
	buf_add_lit(b, ",\"port\":");
	json_u32(b, a->port);
	buf_add_char(b, '}');
}

static void put_conn(struct buf *b, const struct as_conn *c)
{
	buf_add_lit(b, "{\"local\":");
	put_addr(b, &c->local);
	buf_add_lit(b, ",\"remote\":");
	put_addr(b, &c->remote);
	buf_add_char(b, '}');
}

static void put_errno(struct buf *b, int error)
{
	const char *name = errno_name(error);

	buf_add_char(b, '"');
	if (name)
		buf_add_str(b, name);
	else
		json_i64(b, error);
	buf_add_char(b, '"');
}

static void put_mode(struct buf *b, uint32_t mode)
{
	char text[8];
	int i = sizeof(text);

	mode &= 07777;
	do {
		text[--i] = '0' + (mode & 7);
		mode >>= 3;
	} while (mode);
	buf_add_lit(b, "\"0");
	buf_add(b, text + i, sizeof(text) - i);
	buf_add_char(b, '"');
}

/* Names, and what has none as one number. */
static void put_flags(struct buf *b, const struct name_table *t, uint32_t value)
{
	uint32_t rest = value;
	bool first = true;

	buf_add_char(b, '[');
	for (size_t i = 0; i < t->n; i++) {
		const struct name_row *row = &t->rows[i];

		if (!name_row_applies(row, value))
			continue;
		if (!first)
			buf_add_char(b, ',');
		first = false;
		buf_add_char(b, '"');
		buf_add_str(b, row->name);
		buf_add_char(b, '"');
		rest &= ~row->value;
	}
	if (rest)
		buf_printf(b, "%s\"0x%x\"", first ? "" : ",", rest);
	buf_add_char(b, ']');
}

static void put_enum(struct buf *b, const struct name_table *t, uint32_t value)
{
	const char *name = name_table_find(t, value);

	buf_add_char(b, '"');
	if (name)
		buf_add_str(b, name);
	else
		json_u32(b, value);
	buf_add_char(b, '"');
}

static bool span_empty(const struct as_span *s)
{
	return !s->len && !s->full;
}

/* Is the field to be left out? */
static bool absent(const struct event *ev, const struct field_desc *f, const void *p)
{
	if (!f->path[0])
		return true;
	switch ((enum as_kind)f->kind) {
	case AS_KIND_FD:
		return *(const int32_t *)p < 0;
	case AS_KIND_ERRNO:
		return *(const int32_t *)p == 0;
	case AS_KIND_HIDDEN:
	case AS_KIND_HIDDEN32:
		return true;
	case AS_KIND_U32:
	case AS_KIND_PID:
	case AS_KIND_BOOL:
	case AS_KIND_MODE:
	case AS_KIND_FLAGS:
	case AS_KIND_ENUM:
		return f->optional && *(const uint32_t *)p == 0;
	case AS_KIND_U64:
	case AS_KIND_DUR:
	case AS_KIND_CENTI:
	case AS_KIND_CENTI_TEXT:
		return f->optional && *(const uint64_t *)p == 0;
	case AS_KIND_STR:
	case AS_KIND_ARGV:
	case AS_KIND_PAYLOAD:
	case AS_KIND_JSON:
		return f->optional && span_empty(p);
	case AS_KIND_PATH:
		return f->optional && span_empty(&((const struct as_path *)p)->base) &&
		       span_empty(&((const struct as_path *)p)->rel);
	case AS_KIND_ADDR:
		return f->optional && !((const struct as_addr *)p)->family;
	case AS_KIND_CONN:
		return f->optional && !((const struct as_conn *)p)->remote.family;
	case AS_KIND_LABEL:
		return f->optional && !ev->label;
	case AS_KIND_HDR_TGID:
	case AS_KIND_HDR_PPID:
	case AS_KIND_HDR_UID:
	case AS_KIND_HDR_COMM:
	case AS_KIND_UNIX_NS:
	case AS_KIND_COUNT:
		break;
	}
	return false;
}

static void put_value(struct encoder *en, const struct field_desc *f, const void *p)
{
	const struct as_hdr *h = en->ev->rec;
	const char *label = en->ev->label ? en->ev->label : "";
	const struct as_span *span = p;
	struct buf *b = en->b;
	size_t len;

	switch ((enum as_kind)f->kind) {
	case AS_KIND_U32:
	case AS_KIND_PID:
		json_u32(b, *(const uint32_t *)p);
		break;
	case AS_KIND_U64:
	case AS_KIND_DUR:
		json_u64(b, *(const uint64_t *)p);
		break;
	case AS_KIND_BOOL:
		json_boolean(b, *(const uint32_t *)p);
		break;
	case AS_KIND_FD:
		json_i64(b, *(const int32_t *)p);
		break;
	case AS_KIND_ERRNO:
		put_errno(b, *(const int32_t *)p);
		break;
	case AS_KIND_MODE:
		put_mode(b, *(const uint32_t *)p);
		break;
	case AS_KIND_FLAGS:
		put_flags(b, f->names, *(const uint32_t *)p);
		break;
	case AS_KIND_ENUM:
		put_enum(b, f->names, *(const uint32_t *)p);
		break;
	case AS_KIND_CENTI:
		json_fixed(b, *(const uint64_t *)p, 2);
		break;
	case AS_KIND_CENTI_TEXT:
		buf_add_char(b, '"');
		json_fixed(b, *(const uint64_t *)p, 2);
		buf_add_char(b, '"');
		break;
	case AS_KIND_ADDR:
		put_addr(b, p);
		break;
	case AS_KIND_CONN:
		put_conn(b, p);
		break;
	case AS_KIND_PATH:
		put_path(en, f, p);
		break;
	case AS_KIND_STR:
		put_text(en, f, record_bytes(h, span), span->len, span->full);
		break;
	case AS_KIND_ARGV:
		put_argv(en, f, span);
		break;
	case AS_KIND_PAYLOAD:
		break; /* writes its own key, see put_field() */
	case AS_KIND_JSON:
		if (span->len)
			buf_add(b, record_bytes(h, span), span->len);
		else
			buf_add_lit(b, "{}");
		break;
	case AS_KIND_HDR_TGID:
		json_u32(b, h->tgid);
		break;
	case AS_KIND_HDR_PPID:
		json_u32(b, h->ppid);
		break;
	case AS_KIND_HDR_UID:
		json_u32(b, h->uid);
		break;
	case AS_KIND_HDR_COMM:
		len = strnlen(h->comm, sizeof(h->comm));
		put_text(en, f, h->comm, len, len);
		break;
	case AS_KIND_UNIX_NS:
		json_u64(b, en->ev->unix_ns);
		break;
	case AS_KIND_LABEL:
		len = strlen(label);
		put_text(en, f, label, len, len);
		break;
	case AS_KIND_HIDDEN:
	case AS_KIND_HIDDEN32:
	case AS_KIND_COUNT:
		break;
	}
}

static void put_field(struct encoder *en, const struct field_desc *f)
{
	const void *p = (const char *)en->ev->rec + f->offset;

	if (absent(en->ev, f, p))
		return;
	if (f->kind == AS_KIND_PAYLOAD) {
		put_payload(en, f, p);
	} else {
		put_name(en->b, f->before, f->before_len);
		put_value(en, f, p);
	}
	if (f->closes_group)
		buf_add_lit(en->b, "},");
	else
		buf_add_char(en->b, ',');
}

/* "exec_id": the process by pid and start time, so that a reused pid is another process. */
static void put_exec_id(struct buf *b, const struct as_hdr *h)
{
	buf_add_lit(b, ",\"exec_id\":\"");
	json_u32(b, h->tgid);
	buf_add_char(b, '@');
	json_u64(b, h->start_ns);
	buf_add_char(b, '"');
}

/* Behind the time: whose event it is. */
static void put_identity(struct buf *b, const char *source, const struct as_hdr *h)
{
	size_t comm_len = strnlen(h->comm, sizeof(h->comm));

	buf_add_lit(b, ",\"source\":\"");
	buf_add_str(b, source);
	buf_add_lit(b, "\",\"pid\":");
	json_u32(b, h->tgid);
	buf_add_lit(b, ",\"comm\":");
	if (!json_string(b, h->comm, comm_len)) {
		buf_add_lit(b, ",\"comm_base64\":");
		json_base64(b, h->comm, comm_len);
	}
	if (!h->tgid)
		return;
	buf_add_lit(b, ",\"tid\":");
	json_u32(b, h->tid);
	buf_add_lit(b, ",\"ppid\":");
	json_u32(b, h->ppid);
	buf_add_lit(b, ",\"uid\":");
	json_u32(b, h->uid);
	if (h->start_ns)
		put_exec_id(b, h);
}

/*
 * The identity takes half the time of a line and most events come from a few threads: the text is
 * kept, by thread, and used again while every member of the header that goes into it is the same.
 */
#define IDENTITIES   64 /* a power of two */
#define IDENTITY_MAX 192

struct identity {
	const char *source;
	struct as_hdr h; /* of the event it was made from; the members from start_ns on count */
	uint32_t len;
	char text[IDENTITY_MAX];
};

static bool identity_is(const struct identity *id, const char *source, const struct as_hdr *h)
{
	size_t from = offsetof(struct as_hdr, start_ns);

	return id->source == source &&
	       !memcmp((const char *)&id->h + from, (const char *)h + from, sizeof(*h) - from);
}

static void put_envelope(struct encoder *en)
{
	static _Thread_local struct identity identities[IDENTITIES];
	const struct as_hdr *h = en->ev->rec;
	const char *source = en->ev->desc->source;
	struct identity *id = &identities[h->tid & (IDENTITIES - 1)];
	struct buf *b = en->b;
	size_t start;

	buf_add_lit(b, "{\"timestamp\":");
	json_u64(b, en->ev->unix_ns);
	if (identity_is(id, source, h)) {
		buf_add(b, id->text, id->len);
		return;
	}
	start = b->len;
	put_identity(b, source, h);
	if (b->failed || b->len - start > IDENTITY_MAX)
		return;
	id->source = source;
	id->h = *h;
	id->len = b->len - start;
	memcpy(id->text, b->data + start, id->len);
}

void event_encode_json(struct buf *b, const struct event *ev)
{
	struct encoder en = {.b = b, .ev = ev};

	put_envelope(&en);
	buf_add(b, ev->desc->head, ev->desc->head_len);
	for (size_t i = 0; i < ev->desc->n_fields; i++)
		put_field(&en, &ev->desc->fields[i]);
	if (ev->rec->flags & AS_F_INFERRED)
		buf_add_lit(b, "\"inferred\":true,");
	if (ev->rec->flags & AS_F_REDACTED)
		buf_add_lit(b, "\"redacted\":true,");

	if (b->failed)
		return;
	b->data[b->len - 1] = '}';
	buf_add_lit(b, "}\n");
}
