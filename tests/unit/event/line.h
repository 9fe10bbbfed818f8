/* SPDX-License-Identifier: MIT */
/*
 * What every line of output must be, whatever the record held: one line, valid UTF-8, strict JSON, its
 * keys those of the contract and in their order. Used by the unit tests and by the fuzz target.
 */
#ifndef AGENTSIGHT_TESTS_LINE_H
#define AGENTSIGHT_TESTS_LINE_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <json-c/json.h>

#include "base/cleanup.h"
#include "base/utf8.h"
#include "event/schema.h"

static inline const char *line_envelope_check(struct json_object *line)
{
	static const struct {
		const char *key;
		bool always;
	} keys[] = {
		{"timestamp", true}, {"source", true}, {"pid", true}, {"comm", true},
		{"comm_base64", 0},  {"tid", 0},       {"ppid", 0},   {"uid", 0},
		{"exec_id", 0},      {"data", true},
	};
	size_t at = 0;

	json_object_object_foreach(line, key, value)
	{
		while (at < ARRAY_SIZE(keys) && strcmp(keys[at].key, key)) {
			if (keys[at++].always)
				return "a key of the envelope is missing, or out of order";
		}
		if (at++ == ARRAY_SIZE(keys) || !value)
			return "a key that the envelope has not";
	}
	return at == ARRAY_SIZE(keys) ? NULL : "no data";
}

/* Is @key the field's own, or one that stands beside it? */
static inline bool line_key_of(const struct field_desc *f, const char *key)
{
	const char *name = f->group ? f->group : f->leaf;
	size_t n = strlen(name);

	if (!name[0] || strncmp(key, name, n))
		return false;
	return !key[n] || !strcmp(key + n, "_base64") || !strcmp(key + n, "_length");
}

static inline const char *line_data_check(struct json_object *data, const struct event_desc *d)
{
	static const char *const marks[] = {"truncated", "inferred", "redacted"};
	size_t at = 0, n = 0;

	json_object_object_foreach(data, key, value)
	{
		bool mark = false;

		if (!n++) {
			if (strcmp(key, "type") || strcmp(json_object_get_string(value), d->name))
				return "data does not begin with its type";
			continue;
		}
		for (size_t i = 0; i < ARRAY_SIZE(marks); i++)
			mark |= !strcmp(key, marks[i]);
		if (mark)
			continue;
		while (at < d->n_fields && !line_key_of(&d->fields[at], key))
			at++;
		if (at == d->n_fields)
			return "a key of data is not a field, or out of order";
	}
	return NULL;
}

/* A plain field that is always there; others may be left out at some value. */
static inline bool line_field_required(const struct field_desc *f)
{
	return f->path[0] && !f->optional && !f->group && f->kind != AS_KIND_HIDDEN &&
	       f->kind != AS_KIND_HIDDEN32 && f->kind != AS_KIND_FD && f->kind != AS_KIND_ERRNO &&
	       f->kind != AS_KIND_PAYLOAD && f->kind != AS_KIND_KNOWN;
}

static inline const char *line_required_check(struct json_object *data, const struct event_desc *d)
{
	for (size_t i = 0; i < d->n_fields; i++) {
		if (line_field_required(&d->fields[i]) &&
		    !json_object_object_get_ex(data, d->fields[i].leaf, NULL))
			return "a field that is always there is missing";
	}
	return NULL;
}

static inline const char *line_members_check(struct json_object *line, const struct event_desc *d)
{
	struct json_object *data;
	const char *wrong = line_envelope_check(line);

	if (wrong)
		return wrong;
	json_object_object_get_ex(line, "data", &data);
	if (!json_object_is_type(data, json_type_object))
		return "data is no object";
	wrong = line_data_check(data, d);
	return wrong ? wrong : line_required_check(data, d);
}

/* NULL, or what is wrong with the line of an event of type @d. */
static inline const char *line_check(const char *text, size_t n, const struct event_desc *d)
{
	struct json_tokener *tok;
	struct json_object *line;
	const char *wrong;

	if (n < 2 || memchr(text, '\n', n) != text + n - 1)
		return "not one line";
	if (utf8_valid_prefix(text, n) != n)
		return "not UTF-8";

	tok = json_tokener_new();
	if (!tok)
		return "no memory";
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	line = json_tokener_parse_ex(tok, text, (int)(n - 1));
	if (json_tokener_get_error(tok) != json_tokener_success ||
	    json_tokener_get_parse_end(tok) != n - 1 ||
	    !json_object_is_type(line, json_type_object))
		wrong = "not JSON";
	else
		wrong = line_members_check(line, d);
	json_object_put(line);
	json_tokener_free(tok);
	return wrong;
}

#endif
