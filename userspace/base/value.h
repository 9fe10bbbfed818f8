/* SPDX-License-Identifier: MIT */
/*
 * A JSON value where it lies. Requests carry whole conversations, a megabyte each turn, of which a few
 * members are wanted as they stand: so no tree is built. Walking checks what it passes, and a text
 * that was cut off still gives the members before the cut. Strict (RFC 8259); only UTF-8 is not
 * checked here: value_copy() repairs it and value_text() leaves it to the encoder.
 */
#ifndef AGENTSIGHT_BASE_VALUE_H
#define AGENTSIGHT_BASE_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define VALUE_DEPTH_MAX 256

/* p NULL: there is none. All functions take that as a value without anything in it. */
struct value {
	const char *p;
	size_t len;
};

enum value_kind {
	VALUE_NONE,
	VALUE_NULL,
	VALUE_BOOL,
	VALUE_NUMBER,
	VALUE_STRING,
	VALUE_ARRAY,
	VALUE_OBJECT,
};

/* The value that @p begins with, not checked yet. */
struct value value_at(const char *p, size_t n);

/* Is it one value from its first byte to its last? */
bool value_whole(struct value v);

enum value_kind value_kind(struct value v);

/* Members or items one by one. Ends at the end, or where the text is not JSON or cut off. */
struct value_walk {
	const char *p;
	const char *end;
	char close;
	bool first;
	struct value key; /* of an object's member: a string */
	struct value item;
};

struct value_walk value_walk(struct value container);
bool value_next(struct value_walk *w);

/* The member of an object; the last of several, as most readers take it. */
struct value value_get(struct value object, const char *key);

/* The same for several members in one pass: @out[i] is that of @keys[i]. */
void value_pick(struct value object, const char *const *keys, size_t n, struct value *out);

/* Is it this string? Escapes are not looked through: names and types have none. */
bool value_is(struct value v, const char *text);

bool value_true(struct value v);

/* A whole number from 0 to UINT64_MAX, also written as 12.0; false for anything else. */
bool value_u64(struct value v, uint64_t *ret);

/* Appends what a string says, escapes undone; nothing when it is no string. */
void value_text(struct value v, struct buf *out);

/* The same, but not more than @max bytes; true when that was all. It is cut between two characters. */
bool value_text_upto(struct value v, struct buf *out, size_t max);

/*
 * Appends a checked value without space between its tokens, in valid UTF-8. Escapes that need not be,
 * \/ and those of printable ASCII, are undone: what is looked for in the text is not hidden by them.
 */
void value_copy(struct value v, struct buf *out);

#endif
