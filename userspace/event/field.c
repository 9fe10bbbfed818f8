/* SPDX-License-Identifier: MIT */
#include "event/field.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json_put.h"
#include "event/encode.h"
#include "event/record.h"
#include "event/schema.h"

#define MAX_PATHS 256

/* Which part of a field a path means: an address has two, a connection four. */
enum part {
	PART_WHOLE,
	PART_ADDRESS,
	PART_PORT,
};

struct place {
	const struct field_desc *field; /* NULL: this type has no such field */
	uint16_t offset;                /* of the address within the field */
	uint8_t part;
};

enum envelope {
	ENVELOPE_NONE,
	ENVELOPE_TIMESTAMP,
	ENVELOPE_SOURCE,
	ENVELOPE_TYPE,
	ENVELOPE_PID,
	ENVELOPE_TID,
	ENVELOPE_PPID,
	ENVELOPE_UID,
	ENVELOPE_COMM,
	ENVELOPE_EXEC_ID,
};

struct path {
	const char *text;
	enum envelope envelope;
	struct place places[AS_EV_COUNT];
};

/* A quarter of a megabyte, and a millisecond to make: for who asks. */
static struct path paths[MAX_PATHS];
static size_t n_paths;
static pthread_once_t paths_once = PTHREAD_ONCE_INIT;
static int paths_error;

static const struct {
	const char *text;
	enum envelope envelope;
} envelope_paths[] = {
	{"timestamp", ENVELOPE_TIMESTAMP}, {"source", ENVELOPE_SOURCE}, {"type", ENVELOPE_TYPE},
	{"data.type", ENVELOPE_TYPE},      {"pid", ENVELOPE_PID},       {"tid", ENVELOPE_TID},
	{"ppid", ENVELOPE_PPID},           {"uid", ENVELOPE_UID},       {"comm", ENVELOPE_COMM},
	{"exec_id", ENVELOPE_EXEC_ID},
};

static struct path *path_add(const char *text)
{
	for (size_t i = 0; i < n_paths; i++) {
		if (!strcmp(paths[i].text, text))
			return &paths[i];
	}
	if (n_paths == MAX_PATHS)
		return NULL;
	paths[n_paths].text = strdup(text);
	return paths[n_paths].text ? &paths[n_paths++] : NULL;
}

static int place_add(unsigned type, const struct field_desc *f, const char *suffix, size_t offset,
		     enum part part)
{
	char text[128];
	struct path *p;

	snprintf(text, sizeof(text), "data.%s%s", f->path, suffix);
	p = path_add(text);
	if (!p)
		return -ENOMEM;
	p->places[type] = (struct place){f, offset, part};
	return 0;
}

static int field_add(unsigned type, const struct field_desc *f)
{
	static const struct {
		enum as_kind kind;
		const char *suffix;
		size_t offset;
		enum part part;
	} parts[] = {
		{AS_KIND_ADDR, ".address", 0, PART_ADDRESS},
		{AS_KIND_ADDR, ".port", 0, PART_PORT},
		{AS_KIND_CONN, ".local.address", offsetof(struct as_conn, local), PART_ADDRESS},
		{AS_KIND_CONN, ".local.port", offsetof(struct as_conn, local), PART_PORT},
		{AS_KIND_CONN, ".remote.address", offsetof(struct as_conn, remote), PART_ADDRESS},
		{AS_KIND_CONN, ".remote.port", offsetof(struct as_conn, remote), PART_PORT},
	};
	bool composed = false;

	if (!f->path[0] || f->kind == AS_KIND_HIDDEN || f->kind == AS_KIND_HIDDEN32 ||
	    f->kind == AS_KIND_JSON)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		int r;

		if (parts[i].kind != (enum as_kind)f->kind)
			continue;
		composed = true;
		r = place_add(type, f, parts[i].suffix, parts[i].offset, parts[i].part);
		if (r < 0)
			return r;
	}
	return composed ? 0 : place_add(type, f, "", 0, PART_WHOLE);
}

static int paths_make(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(envelope_paths); i++) {
		struct path *p = path_add(envelope_paths[i].text);

		if (!p)
			return -ENOMEM;
		p->envelope = envelope_paths[i].envelope;
	}
	for (unsigned type = 1; type < AS_EV_COUNT; type++) {
		const struct event_desc *d = schema_event(type);

		for (size_t i = 0; !d->internal && i < d->n_fields; i++) {
			int r = field_add(type, &d->fields[i]);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

static void paths_init(void)
{
	paths_error = paths_make();
}

int field_resolve(const char *path, size_t len)
{
	pthread_once(&paths_once, paths_init);
	if (paths_error < 0)
		return paths_error;
	if (len && path[0] == '.') {
		path++;
		len--;
	}
	for (size_t i = 0; i < n_paths; i++) {
		if (strlen(paths[i].text) == len && !memcmp(paths[i].text, path, len))
			return i;
	}
	return -ENOENT;
}

const char *field_path(size_t i)
{
	return i < n_paths ? paths[i].text : NULL;
}

/* ---- values ---- */

static struct field_value text_value(const char *p, size_t len)
{
	return (struct field_value){.kind = FIELD_TEXT, .text = {p, len}};
}

static struct field_value uint_value(uint64_t u)
{
	return (struct field_value){.kind = FIELD_UINT, .u = u};
}

static struct field_value scratch_value(const struct buf *scratch)
{
	return text_value(scratch->data, scratch->len);
}

static struct field_value envelope_value(const struct event *ev, enum envelope what,
					 struct buf *scratch)
{
	const struct as_hdr *h = ev->rec;

	switch (what) {
	case ENVELOPE_TIMESTAMP:
		return uint_value(ev->unix_ns);
	case ENVELOPE_SOURCE:
		return text_value(ev->desc->source, strlen(ev->desc->source));
	case ENVELOPE_TYPE:
		return text_value(ev->desc->name, strlen(ev->desc->name));
	case ENVELOPE_PID:
		return uint_value(h->tgid);
	case ENVELOPE_TID:
		return uint_value(h->tid);
	case ENVELOPE_PPID:
		return uint_value(h->ppid);
	case ENVELOPE_UID:
		return uint_value(h->uid);
	case ENVELOPE_COMM:
		return text_value(h->comm, strnlen(h->comm, sizeof(h->comm)));
	case ENVELOPE_EXEC_ID:
		buf_reset(scratch);
		buf_printf(scratch, "%u@%llu", h->tgid, (unsigned long long)h->start_ns);
		return scratch_value(scratch);
	case ENVELOPE_NONE:
		break;
	}
	return (struct field_value){.kind = FIELD_ABSENT};
}

static struct field_value address_value(const struct as_addr *a, enum part part,
					struct buf *scratch)
{
	bool v4 = a->family == AF_INET;

	if (!v4 && a->family != AF_INET6)
		return (struct field_value){.kind = FIELD_ABSENT};
	if (part == PART_PORT)
		return uint_value(a->port);
	if (!v4 && IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)a->ip))
		v4 = true;

	buf_reset(scratch);
	if (!buf_room(scratch, INET6_ADDRSTRLEN))
		return (struct field_value){.kind = FIELD_ABSENT};
	inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? a->ip + 12 : a->ip, scratch->data,
		  INET6_ADDRSTRLEN);
	scratch->len = strlen(scratch->data);
	return scratch_value(scratch);
}

/* Arguments as one text, separated by spaces. */
static struct field_value argv_value(const struct as_hdr *rec, const struct as_span *s,
				     struct buf *scratch)
{
	size_t len = s->len;

	buf_reset(scratch);
	buf_add(scratch, record_bytes(rec, s), len);
	if (scratch->failed)
		return (struct field_value){.kind = FIELD_ABSENT};
	while (len && !scratch->data[len - 1])
		len--;
	for (size_t i = 0; i < len; i++) {
		if (!scratch->data[i])
			scratch->data[i] = ' ';
	}
	return text_value(scratch->data, len);
}

static struct field_value flags_value(const struct name_table *t, uint32_t value,
				      struct buf *scratch)
{
	uint32_t rest = value;

	buf_reset(scratch);
	for (size_t i = 0; i < t->n; i++) {
		if (!name_row_applies(&t->rows[i], value))
			continue;
		buf_printf(scratch, "%s%s", scratch->len ? "|" : "", t->rows[i].name);
		rest &= ~t->rows[i].value;
	}
	if (rest)
		buf_printf(scratch, "%s0x%x", scratch->len ? "|" : "", rest);
	return scratch_value(scratch);
}

static struct field_value enum_value(const struct field_desc *f, uint32_t value,
				     struct buf *scratch)
{
	const char *name = name_table_find(f->names, value);

	if (name)
		return text_value(name, strlen(name));
	buf_reset(scratch);
	buf_printf(scratch, "%u", value);
	return scratch_value(scratch);
}

static struct field_value errno_value(int32_t error, struct buf *scratch)
{
	const char *name = errno_name(error);

	if (name)
		return text_value(name, strlen(name));
	buf_reset(scratch);
	buf_printf(scratch, "%d", error);
	return scratch_value(scratch);
}

static struct field_value mode_value(uint32_t mode, struct buf *scratch)
{
	buf_reset(scratch);
	buf_printf(scratch, "0%o", mode & 07777);
	return scratch_value(scratch);
}

static struct field_value path_value(const struct event *ev, const struct as_path *path,
				     struct buf *scratch)
{
	buf_reset(scratch);
	if (!buf_room(scratch, PATH_TEXT_MAX))
		return (struct field_value){.kind = FIELD_ABSENT};
	scratch->len = record_path(ev->rec, path, scratch->data);
	return scratch_value(scratch);
}

static struct field_value whole_value(const struct event *ev, const struct field_desc *f,
				      struct buf *scratch)
{
	const struct as_hdr *h = ev->rec;
	const void *p = (const char *)h + f->offset;
	const struct as_span *span = p;

	switch ((enum as_kind)f->kind) {
	case AS_KIND_U32:
	case AS_KIND_PID:
		return uint_value(*(const uint32_t *)p);
	case AS_KIND_U64:
	case AS_KIND_KNOWN:
	case AS_KIND_DUR:
		return uint_value(*(const uint64_t *)p);
	case AS_KIND_BOOL:
		return (struct field_value){.kind = FIELD_BOOL, .b = *(const uint32_t *)p};
	case AS_KIND_FD:
		return (struct field_value){.kind = FIELD_INT, .i = *(const int32_t *)p};
	case AS_KIND_ERRNO:
		return errno_value(*(const int32_t *)p, scratch);
	case AS_KIND_MODE:
		return mode_value(*(const uint32_t *)p, scratch);
	case AS_KIND_FLAGS:
		return flags_value(f->names, *(const uint32_t *)p, scratch);
	case AS_KIND_ENUM:
		return enum_value(f, *(const uint32_t *)p, scratch);
	case AS_KIND_S64:
		return (struct field_value){.kind = FIELD_INT, .i = *(const int64_t *)p};
	case AS_KIND_SCENTI:
		buf_reset(scratch);
		if (buf_room(scratch, 2 * JSON_NUMBER_MAX))
			scratch->len = json_put_signed_centi(scratch->data, *(const int64_t *)p) -
				       scratch->data;
		return scratch_value(scratch);
	case AS_KIND_CENTI:
	case AS_KIND_CENTI_TEXT:
		buf_reset(scratch);
		buf_printf(scratch, "%llu.%02u", (unsigned long long)(*(const uint64_t *)p / 100),
			   (unsigned)(*(const uint64_t *)p % 100));
		return scratch_value(scratch);
	case AS_KIND_PATH:
		return path_value(ev, p, scratch);
	case AS_KIND_STR:
	case AS_KIND_PAYLOAD:
		return text_value(record_bytes(h, span), span->len);
	case AS_KIND_ARGV:
		return argv_value(h, span, scratch);
	case AS_KIND_HDR_TGID:
		return uint_value(h->tgid);
	case AS_KIND_HDR_PPID:
		return uint_value(h->ppid);
	case AS_KIND_HDR_UID:
		return uint_value(h->uid);
	case AS_KIND_HDR_COMM:
		return text_value(h->comm, strnlen(h->comm, sizeof(h->comm)));
	case AS_KIND_UNIX_NS:
		return uint_value(ev->unix_ns);
	case AS_KIND_LABEL:
		if (!ev->label)
			break;
		return text_value(ev->label, strlen(ev->label));
	case AS_KIND_ADDR:
	case AS_KIND_CONN:
	case AS_KIND_JSON:
	case AS_KIND_HIDDEN:
	case AS_KIND_HIDDEN32:
	case AS_KIND_COUNT:
		break;
	}
	return (struct field_value){.kind = FIELD_ABSENT};
}

/* That a boolean is false is of use to ask for, also where the JSON has only those that are true. */
static bool is_absent(const struct event *ev, const struct field_desc *f)
{
	return f->kind != AS_KIND_BOOL && event_leaves_out(ev, f);
}

void field_get(const struct event *ev, int id, struct buf *scratch, struct field_value *ret)
{
	const struct path *path = &paths[id];
	const struct place *place = &path->places[ev->desc->type];
	const char *at;

	if (path->envelope) {
		*ret = envelope_value(ev, path->envelope, scratch);
		return;
	}
	if (!place->field || is_absent(ev, place->field)) {
		*ret = (struct field_value){.kind = FIELD_ABSENT};
		return;
	}
	if (place->part == PART_WHOLE) {
		*ret = whole_value(ev, place->field, scratch);
		return;
	}
	at = (const char *)ev->rec + place->field->offset + place->offset;
	*ret = address_value((const struct as_addr *)at, place->part, scratch);
}
