/* SPDX-License-Identifier: MIT */
#include "event/schema.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "event/names.h"

/* Pasted with the empty last argument of a field without a table of names. */
static const struct name_table names_ = {NULL, 0};

#define FIELD_ROW(S, KIND, member, name, opt, text, ...) \
	{                                                \
		.path = name,                            \
		.help = text,                            \
		.names = &names_##__VA_ARGS__,           \
		.offset = offsetof(struct S, member),    \
		.kind = AS_KIND_##KIND,                  \
		.optional = opt,                         \
	},
#define FIELD_TABLE(ID, S, src, type_name, FIELDS, text) \
	static struct field_desc fields_##ID[] = {FIELDS(FIELD_ROW, S)};
AS_EVENTS(FIELD_TABLE)

static struct event_desc events[AS_EV_COUNT] = {
#define EVENT_ROW(ID, S, src, type_name, FIELDS, text) \
	[AS_EV_##ID] = {                               \
		.type = AS_EV_##ID,                    \
		.source = src,                         \
		.name = type_name,                     \
		.help = text,                          \
		.size = sizeof(struct S),              \
		.fields = fields_##ID,                 \
		.n_fields = ARRAY_SIZE(fields_##ID),   \
	},
	AS_EVENTS(EVENT_ROW)};

const struct event_desc *schema_event(unsigned type)
{
	return type > AS_EV_NONE && type < AS_EV_COUNT ? &events[type] : NULL;
}

const char *name_table_find(const struct name_table *t, uint32_t value)
{
	for (size_t i = 0; i < t->n; i++) {
		if (t->rows[i].value == value)
			return t->rows[i].name;
	}
	return NULL;
}

const char *errno_name(int error)
{
	/* as unsigned, since the most negative number has no counterpart */
	return strerrorname_np(error < 0 ? -(unsigned)error : (unsigned)error);
}

static bool same_group(const struct field_desc *a, const struct field_desc *b)
{
	if (!a || !b || !a->group || !b->group)
		return false;
	return !strcmp(a->group, b->group);
}

/* "cpu.percent" becomes group "cpu" and leaf "percent". */
static int split_path(struct field_desc *f)
{
	const char *dot = strchr(f->path, '.');
	char *group;

	f->leaf = dot ? dot + 1 : f->path;
	if (!dot)
		return 0;
	group = strndup(f->path, dot - f->path);
	if (!group)
		return -ENOMEM;
	f->group = group;
	return 0;
}

/* Prepares the constant text around a field's value, objects opened and closed with it. */
static int prepare_field(struct field_desc *f, const struct field_desc *prev,
			 const struct field_desc *next)
{
	bool opens = f->group && !same_group(prev, f);
	char *text;
	int n;

	if (opens)
		n = asprintf(&text, "\"%s\":{\"%s\":", f->group, f->leaf);
	else
		n = asprintf(&text, "\"%s\":", f->leaf);
	if (n < 0)
		return -ENOMEM;
	f->before = text;
	f->before_len = n;
	f->closes_group = f->group && !same_group(f, next);
	return 0;
}

static int prepare_event(struct event_desc *d)
{
	char *head;
	int r;

	d->internal = !strcmp(d->source, "internal");
	r = asprintf(&head, ",\"data\":{\"type\":\"%s\",", d->name);
	if (r < 0)
		return -ENOMEM;
	d->head = head;
	d->head_len = r;

	for (size_t i = 0; i < d->n_fields; i++) {
		r = split_path(&d->fields[i]);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < d->n_fields; i++) {
		r = prepare_field(&d->fields[i], i ? &d->fields[i - 1] : NULL,
				  i + 1 < d->n_fields ? &d->fields[i + 1] : NULL);
		if (r < 0)
			return r;
	}
	return 0;
}

int schema_init(void)
{
	static bool done;

	if (done)
		return 0;
	for (unsigned i = 1; i < AS_EV_COUNT; i++) {
		int r = prepare_event(&events[i]);

		if (r < 0)
			return r;
	}
	done = true;
	return 0;
}
