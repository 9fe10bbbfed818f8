/* SPDX-License-Identifier: MIT */
#include "event/schema.h"

#include <errno.h>
#include <stdarg.h>
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

/* Left out at times: optional ones, and kinds that stand for nothing at some value. */
static bool can_be_absent(const struct field_desc *f)
{
	return f->optional || f->kind == AS_KIND_FD || f->kind == AS_KIND_ERRNO ||
	       f->kind == AS_KIND_PAYLOAD || f->kind == AS_KIND_KNOWN;
}

/* Constant text; -ENAMETOOLONG when the names in the table are longer than anybody wants to read. */
__attribute__((format(printf, 2, 3))) static int set_text(char to[SCHEMA_TEXT_MAX], const char *fmt,
							  ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(to, SCHEMA_TEXT_MAX, fmt, ap);
	va_end(ap);
	return n < SCHEMA_TEXT_MAX ? n : -ENAMETOOLONG;
}

static bool names_fit(const struct name_table *t)
{
	for (size_t i = 0; i < t->n; i++) {
		if (strlen(t->rows[i].name) > SCHEMA_NAME_MAX)
			return false;
	}
	return true;
}

/* Prepares the constant text before a field's value. */
static int prepare_field(struct field_desc *f, const struct field_desc *next)
{
	int r;

	/* the encoder makes room for both at once */
	r = set_text(f->before, "\"%s\":{\"%s\":", f->group ? f->group : "", f->leaf);
	if (r >= 0)
		r = set_text(f->before, "\"%s\":", f->leaf);
	if (r < 0 || !names_fit(f->names))
		return -ENAMETOOLONG;
	f->before_len = r;
	f->closes_group = f->group && !same_group(f, next);
	f->can_be_absent = can_be_absent(f);
	return 0;
}

/* A kind whose member says where bytes lie; a new kind is one or not by its type. */
static bool is_outlying(const struct field_desc *f)
{
#define KIND_OUTLYING(name, ctype)                                                \
	[AS_KIND_##name] = __builtin_types_compatible_p(ctype, struct as_span) || \
			   __builtin_types_compatible_p(ctype, struct as_path),
	static const bool outlying[AS_KIND_COUNT] = {AS_KINDS(KIND_OUTLYING)};

	return outlying[f->kind];
}

static bool is_shown(const struct field_desc *f)
{
	return f->path[0] && f->kind != AS_KIND_HIDDEN && f->kind != AS_KIND_HIDDEN32;
}

/* The fields of @d for which @test is true. */
static int list_fields(const struct event_desc *d, bool (*test)(const struct field_desc *),
		       const struct field_desc ***ret, size_t *ret_n)
{
	*ret = calloc(d->n_fields + 1, sizeof(**ret));
	if (!*ret)
		return -ENOMEM;
	for (size_t i = 0; i < d->n_fields; i++) {
		if (test(&d->fields[i]))
			(*ret)[(*ret_n)++] = &d->fields[i];
	}
	return 0;
}

static int prepare_event(struct event_desc *d)
{
	int r;

	d->internal = !strcmp(d->source, "internal");
	r = set_text(d->head, ",\"data\":{\"type\":\"%s\",", d->name);
	if (r < 0)
		return r;
	d->head_len = r;

	for (size_t i = 0; i < d->n_fields; i++) {
		r = split_path(&d->fields[i]);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < d->n_fields; i++) {
		r = prepare_field(&d->fields[i], i + 1 < d->n_fields ? &d->fields[i + 1] : NULL);
		if (r < 0)
			return r;
	}
	r = list_fields(d, is_shown, &d->shown, &d->n_shown);
	if (r < 0)
		return r;
	return list_fields(d, is_outlying, &d->outlying, &d->n_outlying);
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
