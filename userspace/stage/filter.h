/* SPDX-License-Identifier: MIT */
/*
 * The filter language: `source == "ssl" and data.len > 4K and not (data.host =~ "\.local$")`.
 *
 *   or || / and && / not ! / ( )
 *   path == != < > <= >= literal      numbers, "strings", true, false, null (== and != only)
 *   path =~ "regex"                   see stage/regex.h; in this string \d needs no second backslash
 *   path contains "text"
 *   path in [literal, ...]
 *   path                              it is there, and is true, not zero, or not empty
 *
 * Numbers may end in K, M or G (1024). A string that holds a number compares with number literals as
 * one. A comparison with a field that is absent, or of another kind, is false; != is then true.
 * The engine knows no events: the caller resolves paths to ids and gives values by id.
 */
#ifndef AGENTSIGHT_STAGE_FILTER_H
#define AGENTSIGHT_STAGE_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define FILTER_LEN_MAX   16384
#define FILTER_DEPTH_MAX 64

struct filter;

struct filter_schema {
	/* An id >= 0, -ENOENT or -ENOMEM. The path has no leading dot. */
	int (*resolve)(void *ctx, const char *path, size_t len);
	/* The i-th known path, NULL after the last: for "did you mean". May be NULL. */
	const char *(*path_at)(void *ctx, size_t i);
	void *ctx;
};

struct filter_error {
	size_t column; /* 1-based, in characters; 0 when there is no place to point at */
	char msg[160];
	char hint[160]; /* "" when there is none */
};

/* 0, -EINVAL, -E2BIG (too long, nested too deeply) or -ENOMEM; @err is filled on every failure. */
int filter_compile(const char *text, const struct filter_schema *schema, struct filter **ret,
		   struct filter_error *err);

void filter_free(struct filter *f);

/* The message, the expression with a caret under the column, the hint. */
void filter_error_print(FILE *out, const char *text, const struct filter_error *err);

enum filter_kind {
	FILTER_NONE, /* absent, or null */
	FILTER_BOOL,
	FILTER_INT,
	FILTER_UINT,
	FILTER_NUM,
	FILTER_STR,
};

struct filter_value {
	enum filter_kind kind;
	union {
		bool b;
		int64_t i;
		uint64_t u;
		double num;
		struct {
			const char *p; /* not NUL-terminated; borrowed until the match returns */
			size_t len;
		} str;
	};
};

/* Fills *ret, which is FILTER_NONE on entry. Called only for fields that the result depends on. */
typedef void (*filter_get_fn)(void *ctx, int field, struct filter_value *ret);

/* Allocates nothing and may run in several threads at once. */
bool filter_match(const struct filter *f, filter_get_fn get, void *ctx);

#endif
