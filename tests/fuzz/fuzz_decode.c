/* SPDX-License-Identifier: MIT */
/*
 * Any bytes may stand in a record: the decoder never reads outside it, and what it accepts becomes one
 * line of JSON, with the keys of the contract. The input is taken as it is, then with a header that
 * passes, then with spans that fit, so that the encoder is reached without luck.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/event/line.h"
#include "event/decode.h"
#include "event/encode.h"
#include "event/field.h"
#include "event/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct buf line, scratch;

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "%s: %.*s\n", what, (int)line.len, line.data);
	abort();
}

static bool is_span(const struct field_desc *f)
{
	return f->kind == AS_KIND_STR || f->kind == AS_KIND_ARGV || f->kind == AS_KIND_PAYLOAD ||
	       f->kind == AS_KIND_JSON;
}

/* JSON is made by user space alone and copied as it is. */
static void drop_json(struct as_hdr *rec, const struct event_desc *d)
{
	for (size_t i = 0; i < d->n_fields; i++) {
		if (d->fields[i].kind == AS_KIND_JSON)
			((struct as_span *)((char *)rec + d->fields[i].offset))->len = 0;
	}
}

static void check_fields(const struct event *ev)
{
	for (size_t i = 0; field_path(i); i++) {
		struct field_value v;
		volatile uint8_t sum = 0; /* reads every byte, for the sanitizer to see */

		field_get(ev, (int)i, &scratch, &v);
		for (size_t at = 0; v.kind == FIELD_TEXT && at < v.text.len; at++)
			sum ^= (uint8_t)v.text.p[at];
		must(v.kind <= FIELD_TEXT, "a value");
	}
}

static void check_record(struct as_hdr *rec, size_t n)
{
	struct event ev;
	const char *wrong;

	if (event_decode(rec, n, &ev) < 0)
		return;
	drop_json(rec, ev.desc);
	ev.label = rec->uid & 1 ? "/lib/\xff" : NULL;
	buf_reset(&line);
	event_encode_json(&line, &ev);
	must(!line.failed, "no memory");
	wrong = line_check(line.data, line.len, ev.desc);
	must(!wrong, wrong);
	check_fields(&ev);
}

static void fit_span(const struct as_hdr *rec, struct as_span *s, size_t size)
{
	s->off = (uint32_t)(size + s->off % (rec->len - size + 1));
	s->len %= rec->len - s->off + 1;
	if (s->full < s->len)
		s->full = s->len;
}

static void fit_spans(struct as_hdr *rec, const struct event_desc *d)
{
	for (size_t i = 0; i < d->n_fields; i++) {
		char *at = (char *)rec + d->fields[i].offset;

		if (is_span(&d->fields[i]))
			fit_span(rec, (struct as_span *)at, d->size);
		if (d->fields[i].kind != AS_KIND_PATH)
			continue;
		fit_span(rec, &((struct as_path *)at)->base, d->size);
		fit_span(rec, &((struct as_path *)at)->rel, d->size);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct as_hdr *rec = malloc(size ? size : 1);

	if (!rec || schema_init() < 0 || field_resolve("pid", 3) < 0)
		abort();
	memcpy(rec, data, size);
	check_record(rec, size);

	memcpy(rec, data, size);
	if (size >= sizeof(*rec)) {
		const struct event_desc *d;

		rec->type = 1 + rec->type % (AS_EV_COUNT - 1);
		rec->len = (uint32_t)size;
		check_record(rec, size);

		d = schema_event(rec->type);
		if (size >= d->size) {
			fit_spans(rec, d);
			check_record(rec, size);
		}
	}
	free(rec);
	return 0;
}
