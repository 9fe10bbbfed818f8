/* SPDX-License-Identifier: MIT */
/* The event table at run time: include/agentsight/events.h as data. */
#ifndef AGENTSIGHT_EVENT_SCHEMA_H
#define AGENTSIGHT_EVENT_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <agentsight/events.h>

/* Names for FLAGS and ENUM fields. For FLAGS a row applies when all bits of `mask` (or of `value`,
 * when mask is 0) equal `value`. */
struct name_row {
	uint32_t value;
	uint32_t mask;
	const char *name;
};

struct name_table {
	const struct name_row *rows;
	size_t n;
};

/* Constant text lies in memory of this size, so that it can be copied in steps of 16 bytes. */
#define SCHEMA_TEXT_MAX 64

/* No name in a table of names is longer. */
#define SCHEMA_NAME_MAX 40

struct field_desc {
	const char *path;  /* "cpu.percent"; "" for what is not shown */
	const char *leaf;  /* "percent" */
	const char *group; /* "cpu", NULL at top level */
	const char *help;
	const struct name_table *names;
	uint16_t offset;
	uint8_t kind; /* enum as_kind */
	bool optional;
	bool can_be_absent; /* optional, or of a kind that stands for nothing at some value */
	bool closes_group;  /* the last member of its object */
	/* for the encoder: what stands before the value */
	uint8_t before_len;
	char before[SCHEMA_TEXT_MAX];
};

struct event_desc {
	uint16_t type;
	bool internal; /* kernel to user space only, never shown */
	const char *source;
	const char *name;
	const char *help;
	size_t size; /* of the struct */
	struct field_desc *fields;
	size_t n_fields;
	/* what there is to be done for most events is less than to look at every field */
	const struct field_desc **shown; /* fields that are part of the JSON */
	size_t n_shown;
	const struct field_desc **outlying; /* fields with bytes behind the struct */
	size_t n_outlying;
	size_t head_len;
	char head[SCHEMA_TEXT_MAX]; /* ,"data":{"type":"exec", */
};

/* Builds what is derived from the table. Once, before anything else in this room. 0, -ENOMEM, or
 * -ENAMETOOLONG when the table has a name beyond the limits above. */
int schema_init(void);

/* The row of @type; NULL for a number that is none. */
const struct event_desc *schema_event(unsigned type);

/* First name for @value, NULL when there is none. */
const char *name_table_find(const struct name_table *t, uint32_t value);

/* Is the flag of this row among @value? */
static inline bool name_row_applies(const struct name_row *row, uint32_t value)
{
	return (value & (row->mask ? row->mask : row->value)) == row->value;
}

/* "ENOENT" for ENOENT and -ENOENT, NULL for a number without a name. */
const char *errno_name(int error);

#endif
