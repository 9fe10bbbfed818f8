/* SPDX-License-Identifier: MIT */
/*
 * JSON where it lies: what is taken for a value is one to json-c, and all it holds are values; what is not
 * can be walked all the same, up to where it breaks.
 */
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/value.h"

#include "json_c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS_MAX 10000

static void look(struct value v, struct buf *text)
{
	static const char *const keys[] = {"a", "text", "", "b"};
	struct value out[ARRAY_SIZE(keys)], one;
	uint64_t number;

	buf_reset(text);
	value_text(v, text);
	must(text->len <= v.len);
	if (value_u64(v, &number))
		must(value_kind(v) == VALUE_NUMBER);
	value_true(v);
	value_is(v, "text");
	value_pick(v, keys, ARRAY_SIZE(keys), out);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		one = value_get(v, keys[i]);
		must(one.p == out[i].p && one.len == out[i].len);
	}
}

/* Depth first, without recursion. */
static void walk(struct value v, bool whole, struct buf *text)
{
	static struct value_walk stack[VALUE_DEPTH_MAX + 2];
	size_t depth = 0, steps = 0;

	look(v, text);
	stack[depth++] = value_walk(v);
	while (depth && steps++ < STEPS_MAX) {
		struct value_walk *w = &stack[depth - 1];
		struct value item;

		if (!value_next(w)) {
			depth--;
			continue;
		}
		item = w->item;
		must(item.p >= v.p && item.p + item.len <= v.p + v.len);
		must(!whole || value_whole(item));
		look(item, text);
		if (depth < ARRAY_SIZE(stack))
			stack[depth++] = value_walk(item);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(freep) char *copy = malloc(size + !size);
	_cleanup_(buf_done) struct buf text = {0};
	struct value v;
	bool whole;

	if (!copy || size > INT_MAX / 8)
		return 0;
	memcpy(copy, data, size);
	v = value_at(copy, size);
	whole = value_whole(v);
	if (whole)
		must(json_c_takes(v.p, v.len, 0));
	walk(v, whole, &text);
	return 0;
}
