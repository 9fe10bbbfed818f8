/* SPDX-License-Identifier: MIT */
#include "event/decode.h"

#include <errno.h>

#include "base/clock.h"
#include "event/record.h"
#include "event/schema.h"

static bool span_ok(const struct as_hdr *rec, size_t size, const struct as_span *s)
{
	if (s->len == 0)
		return true;
	if (s->len > s->full && s->full)
		return false;
	return s->off >= size && s->off <= rec->len && s->len <= rec->len - s->off;
}

/* Longer than any program makes them, they would not fit the text that record_path() writes. */
static bool path_ok(const struct as_hdr *rec, size_t size, const struct as_path *path)
{
	return span_ok(rec, size, &path->base) && span_ok(rec, size, &path->rel) &&
	       (uint64_t)path->base.len + path->rel.len <= PATH_BYTES_MAX;
}

static bool field_ok(const struct as_hdr *rec, size_t size, const struct field_desc *f)
{
	const void *p = (const char *)rec + f->offset;

	switch ((enum as_kind)f->kind) {
	case AS_KIND_STR:
	case AS_KIND_ARGV:
	case AS_KIND_PAYLOAD:
	case AS_KIND_JSON:
		return span_ok(rec, size, p);
	case AS_KIND_PATH:
		return path_ok(rec, size, p);
	case AS_KIND_U32:
	case AS_KIND_U64:
	case AS_KIND_KNOWN:
	case AS_KIND_BOOL:
	case AS_KIND_DUR:
	case AS_KIND_PID:
	case AS_KIND_FD:
	case AS_KIND_ERRNO:
	case AS_KIND_MODE:
	case AS_KIND_FLAGS:
	case AS_KIND_ENUM:
	case AS_KIND_S64:
	case AS_KIND_CENTI:
	case AS_KIND_SCENTI:
	case AS_KIND_CENTI_TEXT:
	case AS_KIND_ADDR:
	case AS_KIND_CONN:
	case AS_KIND_HIDDEN:
	case AS_KIND_HIDDEN32:
	case AS_KIND_HDR_TGID:
	case AS_KIND_HDR_PPID:
	case AS_KIND_HDR_UID:
	case AS_KIND_HDR_COMM:
	case AS_KIND_UNIX_NS:
	case AS_KIND_LABEL:
	case AS_KIND_COUNT:
		break;
	}
	return true;
}

int event_decode(const void *p, size_t n, struct event *ev)
{
	const struct as_hdr *rec = p;
	const struct event_desc *d;

	if (n < sizeof(*rec) || (uintptr_t)p % 8)
		return -EBADMSG;
	d = schema_event(rec->type);
	if (!d || rec->len > n || rec->len < d->size)
		return -EBADMSG;
	for (size_t i = 0; i < d->n_outlying; i++) {
		if (!field_ok(rec, d->size, d->outlying[i]))
			return -EBADMSG;
	}

	*ev = (struct event){.rec = rec, .desc = d, .unix_ns = clock_unix_ns(rec->boot_ns)};
	return 0;
}
