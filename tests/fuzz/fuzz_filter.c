/* SPDX-License-Identifier: MIT */
/*
 * Input: an expression, a newline, the text that string fields have. Compiling and matching never
 * crash; compiling twice gives the same verdict; errors point into the expression.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stage/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const paths[] = {"source",           "pid",       "data.path",
				    "data.cpu.percent", "data.type", "a"};

#define N_PATHS (sizeof(paths) / sizeof(paths[0]))

static int resolve(void *ctx, const char *path, size_t len)
{
	for (size_t i = 0; i < N_PATHS; i++) {
		if (strlen(paths[i]) == len && memcmp(paths[i], path, len) == 0)
			return (int)i;
	}
	return -ENOENT;
}

static const char *path_at(void *ctx, size_t i)
{
	return i < N_PATHS ? paths[i] : NULL;
}

struct text {
	const char *p;
	size_t len;
};

static void get(void *ctx, int field, struct filter_value *ret)
{
	const struct text *text = ctx;

	switch (field) {
	case 0:
	case 2:
	case 3:
		ret->kind = FILTER_STR;
		ret->str.p = text->p;
		ret->str.len = text->len;
		break;
	case 1:
		ret->kind = FILTER_UINT;
		ret->u = text->len;
		break;
	case 4:
		ret->kind = FILTER_NUM;
		ret->num = (double)text->len / 3;
		break;
	case 5:
		ret->kind = FILTER_BOOL;
		ret->b = text->len & 1;
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct filter_schema schema = {.resolve = resolve, .path_at = path_at};
	const uint8_t *line = memchr(data, '\n', size);
	size_t len = line ? (size_t)(line - data) : size;
	struct text text = {line ? (const char *)line + 1 : "", line ? size - len - 1 : 0};
	struct filter *f = NULL, *again = NULL;
	struct filter_error err, err_again;
	char *expr = strndup((const char *)data, len);
	int r;

	if (!expr)
		return 0;
	r = filter_compile(expr, &schema, &f, &err);
	if (filter_compile(expr, &schema, &again, &err_again) != r)
		abort();

	if (r == 0) {
		if (filter_match(f, get, &text) != filter_match(again, get, &text))
			abort();
	} else {
		FILE *out = fopen("/dev/null", "w");

		if (err.column > strlen(expr) + 1 || err.msg[0] == '\0' ||
		    strcmp(err.msg, err_again.msg) != 0 || f || again)
			abort();
		if (out) {
			filter_error_print(out, expr, &err);
			fclose(out);
		}
	}
	filter_free(f);
	filter_free(again);
	free(expr);
	return 0;
}
