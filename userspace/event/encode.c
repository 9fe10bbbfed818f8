/* SPDX-License-Identifier: MIT */
/*
 * Walks the event's row of the schema and appends text; no tree, no allocation per event. Every
 * value is followed by a comma; the last one of an object is overwritten by the bracket.
 *
 * The room for all that has a limit is made once, and such values are put one behind the other
 * (base/json_put.h). Texts have none: they go through the buffer, which then makes that room anew.
 */
#include "event/encode.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/json.h"
#include "base/json_put.h"
#include "base/thread_memory.h"
#include "base/utf8.h"
#include "event/record.h"
#include "event/schema.h"

/* What one value takes at most: a connection is the longest. And what stands around all of them. */
#define VALUE_MAX (4 * JSON_ADDRESS_MAX)
#define FRAME_MAX 512

struct encoder {
	struct buf *b;
	const struct event *ev;
	size_t room;    /* for the whole line, texts aside */
	bool truncated; /* and said so */
	bool cut;       /* in an object of a group: still to be said, where readers look for it */
	bool inside;    /* an object of the current field's group is open */
};

static size_t room_of(const struct event_desc *d)
{
	return FRAME_MAX + d->n_shown * (SCHEMA_TEXT_MAX + VALUE_MAX);
}

static void encoder_init(struct encoder *en, struct buf *b, const struct event *ev)
{
	*en = (struct encoder){.b = b, .ev = ev, .room = room_of(ev->desc)};
}

/* base64 makes four bytes of three, and is the longest that is usual. */
size_t event_json_room(const struct event *ev)
{
	size_t texts = ev->rec->len + (ev->label ? strlen(ev->label) : 0);

	return 2 * room_of(ev->desc) + texts + texts / 3 + JSON_PIECE_ROOM;
}

/* Where to put the next text; NULL when memory ran out. */
static char *encoder_place(struct encoder *en)
{
	return buf_room(en->b, en->room) ? en->b->data + en->b->len : NULL;
}

/* The buffer takes over what was put in front of @out. */
static struct buf *encoder_buffer(struct encoder *en, const char *out)
{
	en->b->len = (size_t)(out - en->b->data);
	return en->b;
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
		en->cut |= en->inside;
		if (en->inside || en->truncated)
			return;
		buf_add_lit(en->b, ",\"truncated\":true");
		en->truncated = true;
	}
}

static char *put_text(struct encoder *en, const struct field_desc *f, const char *p, size_t n,
		      size_t full, char *out)
{
	bool valid = json_string(encoder_buffer(en, out), p, n);

	if (!valid || full > n)
		put_siblings(en, f, p, n, full, valid);
	return encoder_place(en);
}

static char *put_path(struct encoder *en, const struct field_desc *f, const struct as_path *path,
		      char *out)
{
	char text[PATH_TEXT_MAX];
	size_t n = record_path(en->ev->rec, path, text);

	return put_text(en, f, text, n, n + span_cut(&path->base) + span_cut(&path->rel), out);
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

static char *put_argv(struct encoder *en, const struct field_desc *f, const struct as_span *s,
		      char *out)
{
	const char *p = record_bytes(en->ev->rec, s);
	struct buf *b = encoder_buffer(en, out);

	put_strings(b, p, s->len, put_one_string);
	if (!is_text(p, s->len)) {
		put_sibling_key(b, f->leaf, "_base64");
		put_strings(b, p, s->len, put_one_base64);
	}
	put_siblings(en, f, p, s->len, s->full, true);
	return encoder_place(en);
}

/* Opens the object that the field is part of, before the first member that is there. */
static char *put_group(struct encoder *en, const struct field_desc *f, char *out)
{
	if (!f->group || en->inside)
		return out;
	en->inside = true;
	*out++ = '"';
	out = stpcpy(out, f->group);
	return json_put_lit(out, "\":{");
}

/* Behind the place of its last member, there or not. */
static char *put_group_end(struct encoder *en, const struct field_desc *f, char *out)
{
	if (!f->closes_group || !en->inside)
		return out;
	en->inside = false;
	out[-1] = '}';
	*out++ = ',';
	return out;
}

/* Text under its own name, anything else only as base64; with the key. */
static char *put_payload(struct encoder *en, const struct field_desc *f, const struct as_span *s,
			 char *out)
{
	const char *p = record_bytes(en->ev->rec, s);
	struct buf *b = encoder_buffer(en, out);

	if (is_text(p, s->len)) {
		buf_add(b, f->before, f->before_len);
		json_string(b, p, s->len);
	} else {
		buf_add_char(b, '"');
		buf_add_str(b, f->leaf);
		buf_add_lit(b, "_base64\":");
		json_base64(b, p, s->len);
	}
	put_siblings(en, f, p, s->len, s->full, true);
	return encoder_place(en);
}

static char *put_json(struct encoder *en, const struct as_span *s, char *out)
{
	struct buf *b = encoder_buffer(en, out);

	if (s->len)
		buf_add(b, record_bytes(en->ev->rec, s), s->len);
	else
		buf_add_lit(b, "{}");
	return encoder_place(en);
}

static char *put_addr(const struct as_addr *a, char *out)
{
	out = json_put_lit(out, "{\"address\":");
	if (a->family == AF_INET || a->family == AF_INET6)
		out = json_put_ip(out, a->ip, a->family);
	else
		out = json_put_lit(out, "\"\"");
	out = json_put_lit(out, ",\"port\":");
	out = json_put_u64(out, a->port);
	*out++ = '}';
	return out;
}

static char *put_conn(const struct as_conn *c, char *out)
{
	out = json_put_lit(out, "{\"local\":");
	out = put_addr(&c->local, out);
	out = json_put_lit(out, ",\"remote\":");
	out = put_addr(&c->remote, out);
	*out++ = '}';
	return out;
}

/* A name in quotes, or the number of what has none. */
static char *put_name(const char *name, int64_t value, char *out)
{
	*out++ = '"';
	out = name ? stpcpy(out, name) : json_put_i64(out, value);
	*out++ = '"';
	return out;
}

static char *put_mode(uint32_t mode, char *out)
{
	int bits = 12;

	mode &= 07777;
	while (bits > 3 && !(mode >> (bits - 3)))
		bits -= 3;
	out = json_put_lit(out, "\"0");
	for (; bits > 0; bits -= 3)
		*out++ = (char)('0' + (mode >> (bits - 3) & 7));
	*out++ = '"';
	return out;
}

/* Names, and what has none as one number. */
static char *put_flags(struct encoder *en, const struct name_table *t, uint32_t value, char *out)
{
	uint32_t rest = value;
	bool first = true;

	if (!buf_room(encoder_buffer(en, out), FRAME_MAX + t->n * (SCHEMA_NAME_MAX + 3)))
		return NULL;
	out = en->b->data + en->b->len;
	*out++ = '[';
	for (size_t i = 0; i < t->n; i++) {
		const struct name_row *row = &t->rows[i];

		if (!name_row_applies(row, value))
			continue;
		if (!first)
			*out++ = ',';
		first = false;
		out = put_name(row->name, 0, out);
		rest &= ~row->value;
	}
	encoder_buffer(en, out);
	if (rest)
		buf_printf(en->b, "%s\"0x%x\"", first ? "" : ",", rest);
	buf_add_char(en->b, ']');
	return encoder_place(en);
}

static bool span_empty(const struct as_span *s)
{
	return !s->len && !s->full;
}

/* Is a field that can be absent to be left out? Inline: with calls a line of a sample took a sixth longer. */
static inline bool absent(const struct event *ev, const struct field_desc *f, const void *p)
{
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
	case AS_KIND_S64:
	case AS_KIND_CENTI:
	case AS_KIND_SCENTI:
	case AS_KIND_CENTI_TEXT:
		return f->optional && *(const uint64_t *)p == 0;
	case AS_KIND_KNOWN:
		return *(const uint64_t *)p == AS_UNKNOWN;
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

bool event_leaves_out(const struct event *ev, const struct field_desc *f)
{
	return f->can_be_absent && absent(ev, f, (const char *)ev->rec + f->offset);
}

/* Behind @out; returns the place behind the value, or NULL when memory ran out. */
static char *put_value(struct encoder *en, const struct field_desc *f, const void *p, char *out)
{
	const struct as_hdr *h = en->ev->rec;
	const char *label = en->ev->label ? en->ev->label : "";
	const struct as_span *span = p;
	size_t len;

	switch ((enum as_kind)f->kind) {
	case AS_KIND_U32:
	case AS_KIND_PID:
		return json_put_u64(out, *(const uint32_t *)p);
	case AS_KIND_U64:
	case AS_KIND_KNOWN:
	case AS_KIND_DUR:
		return json_put_u64(out, *(const uint64_t *)p);
	case AS_KIND_BOOL:
		return json_put_boolean(out, *(const uint32_t *)p != 0);
	case AS_KIND_FD:
		return json_put_i64(out, *(const int32_t *)p);
	case AS_KIND_ERRNO:
		return put_name(errno_name(*(const int32_t *)p), *(const int32_t *)p, out);
	case AS_KIND_MODE:
		return put_mode(*(const uint32_t *)p, out);
	case AS_KIND_FLAGS:
		return put_flags(en, f->names, *(const uint32_t *)p, out);
	case AS_KIND_ENUM:
		return put_name(name_table_find(f->names, *(const uint32_t *)p),
				*(const uint32_t *)p, out);
	case AS_KIND_S64:
		return json_put_i64(out, *(const int64_t *)p);
	case AS_KIND_CENTI:
		return json_put_centi(out, *(const uint64_t *)p);
	case AS_KIND_SCENTI:
		return json_put_signed_centi(out, *(const int64_t *)p);
	case AS_KIND_CENTI_TEXT:
		*out++ = '"';
		out = json_put_centi(out, *(const uint64_t *)p);
		*out++ = '"';
		return out;
	case AS_KIND_ADDR:
		return put_addr(p, out);
	case AS_KIND_CONN:
		return put_conn(p, out);
	case AS_KIND_PATH:
		return put_path(en, f, p, out);
	case AS_KIND_STR:
		return put_text(en, f, record_bytes(h, span), span->len, span->full, out);
	case AS_KIND_ARGV:
		return put_argv(en, f, span, out);
	case AS_KIND_PAYLOAD:
		return put_payload(en, f, span, out);
	case AS_KIND_JSON:
		return put_json(en, span, out);
	case AS_KIND_HDR_TGID:
		return json_put_u64(out, h->tgid);
	case AS_KIND_HDR_PPID:
		return json_put_u64(out, h->ppid);
	case AS_KIND_HDR_UID:
		return json_put_u64(out, h->uid);
	case AS_KIND_HDR_COMM:
		len = strnlen(h->comm, sizeof(h->comm));
		return put_text(en, f, h->comm, len, len, out);
	case AS_KIND_UNIX_NS:
		return json_put_u64(out, en->ev->unix_ns);
	case AS_KIND_LABEL:
		len = strlen(label);
		return put_text(en, f, label, len, len, out);
	case AS_KIND_HIDDEN:
	case AS_KIND_HIDDEN32:
	case AS_KIND_COUNT:
		break;
	}
	return out;
}

static char *put_field(struct encoder *en, const struct field_desc *f, char *out)
{
	const void *p = (const char *)en->ev->rec + f->offset;

	if (f->can_be_absent && absent(en->ev, f, p))
		return put_group_end(en, f, out);
	out = put_group(en, f, out);
	if (f->kind != AS_KIND_PAYLOAD) /* which chooses between two keys */
		out = json_put_padded(out, f->before, f->before_len);
	out = put_value(en, f, p, out);
	if (!out)
		return NULL;
	*out++ = ',';
	return put_group_end(en, f, out);
}

/* "exec_id": the process by pid and start time, so that a reused pid is another process. */
static char *put_exec_id(const struct as_hdr *h, char *out)
{
	out = json_put_lit(out, ",\"exec_id\":\"");
	out = json_put_u64(out, h->tgid);
	*out++ = '@';
	out = json_put_u64(out, h->start_ns);
	*out++ = '"';
	return out;
}

static char *put_comm(struct encoder *en, const struct as_hdr *h, char *out)
{
	size_t len = strnlen(h->comm, sizeof(h->comm));
	struct buf *b = encoder_buffer(en, out);

	if (!json_string(b, h->comm, len)) {
		buf_add_lit(b, ",\"comm_base64\":");
		json_base64(b, h->comm, len);
	}
	return encoder_place(en);
}

/* Behind the time: whose event it is. */
static char *put_identity(struct encoder *en, const char *source, char *out)
{
	const struct as_hdr *h = en->ev->rec;

	out = json_put_lit(out, ",\"source\":\"");
	out = stpcpy(out, source);
	out = json_put_lit(out, "\",\"pid\":");
	out = json_put_u64(out, h->tgid);
	out = json_put_lit(out, ",\"comm\":");
	out = put_comm(en, h, out);
	if (!out || !h->tgid)
		return out;
	out = json_put_lit(out, ",\"tid\":");
	out = json_put_u64(out, h->tid);
	out = json_put_lit(out, ",\"ppid\":");
	out = json_put_u64(out, h->ppid);
	out = json_put_lit(out, ",\"uid\":");
	out = json_put_u64(out, h->uid);
	return h->start_ns ? put_exec_id(h, out) : out;
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

/* Where the identity of thread @tid is kept; NULL: nowhere, for want of memory. */
static struct identity *identity_at(uint32_t tid)
{
	static _Thread_local struct identity *identities;

	if (!identities) {
		identities = thread_calloc(IDENTITIES * sizeof(*identities));
		if (!identities)
			return NULL;
	}
	return &identities[tid & (IDENTITIES - 1)];
}

static bool identity_is(const struct identity *id, const char *source, const struct as_hdr *h)
{
	size_t from = offsetof(struct as_hdr, start_ns);

	return id->source == source &&
	       !memcmp((const char *)&id->h + from, (const char *)h + from, sizeof(*h) - from);
}

/* Within a tenth of a second all but the last eight digits of the time stay as they are. */
#define TIME_STEP_NS 100000000

static char *put_time(uint64_t unix_ns, char *out)
{
	static _Thread_local struct {
		uint64_t step;
		size_t len;
		char text[JSON_NUMBER_MAX + JSON_PUT_SLACK];
	} last;
	uint64_t step = unix_ns / TIME_STEP_NS;

	if (step == 0)
		return json_put_u64(out, unix_ns);
	if (step != last.step) {
		last.step = step;
		last.len = (size_t)(json_put_u64(last.text, step) - last.text);
	}
	out = json_put_padded(out, last.text, last.len);
	return json_put_eight_digits(out, (uint32_t)(unix_ns % TIME_STEP_NS));
}

static char *put_envelope(struct encoder *en, char *out)
{
	const struct as_hdr *h = en->ev->rec;
	const char *source = en->ev->desc->source;
	struct identity *id = identity_at(h->tid);
	size_t start, len;

	out = json_put_lit(out, "{\"timestamp\":");
	out = put_time(en->ev->unix_ns, out);
	if (id && identity_is(id, source, h))
		return json_put_padded(out, id->text, id->len);

	start = (size_t)(out - en->b->data); /* the buffer may move */
	out = put_identity(en, source, out);
	len = out ? (size_t)(out - en->b->data) - start : SIZE_MAX;
	if (!id || len > IDENTITY_MAX)
		return out;
	id->source = source;
	id->h = *h;
	id->len = len;
	memcpy(id->text, en->b->data + start, len);
	return out;
}

void event_encode_json(struct buf *b, const struct event *ev)
{
	const struct event_desc *d = ev->desc;
	struct encoder en;
	char *out;

	encoder_init(&en, b, ev);
	out = encoder_place(&en);
	if (out)
		out = put_envelope(&en, out);
	if (out)
		out = json_put_padded(out, d->head, d->head_len);
	for (size_t i = 0; out && i < d->n_shown; i++)
		out = put_field(&en, d->shown[i], out);
	if (!out)
		return;

	if (en.cut && !en.truncated)
		out = json_put_lit(out, "\"truncated\":true,");
	if (ev->rec->flags & AS_F_INFERRED)
		out = json_put_lit(out, "\"inferred\":true,");
	if (ev->rec->flags & AS_F_REDACTED)
		out = json_put_lit(out, "\"redacted\":true,");
	out[-1] = '}';
	out = json_put_lit(out, "}\n");
	encoder_buffer(&en, out);
}
