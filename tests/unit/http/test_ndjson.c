/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "http/ndjson.h"

static void on_line(void *context, struct http_text line, uint64_t full)
{
	struct buf *told = context;

	if (line.len < 100)
		buf_add(told, line.p, line.len);
	buf_printf(told, "|%zu %llu\n", line.len, (unsigned long long)full);
}

static void check(const char *in, size_t n, size_t step, const char *out)
{
	_cleanup_(ndjson_freep) struct ndjson *j = NULL;
	struct buf told = {};

	assert_int_equal(ndjson_new(on_line, &told, &j), 0);
	for (size_t at = 0; at < n; at += step)
		ndjson_feed(j, in + at, MIN(step, n - at));
	ndjson_finish(j);
	assert_false(ndjson_failed(j));
	assert_string_equal(buf_cstr(&told), out);
	buf_done(&told);
}

static void lines_come_out_however_they_are_cut(void **state)
{
	static const char in[] = "{\"a\":1}\n\n\r\n[2]\r\ntrue\r\rx\nlast";

	for (size_t step = 1; step <= sizeof(in); step++)
		check(in, sizeof(in) - 1, step,
		      "{\"a\":1}|7 7\n[2]|3 3\ntrue\r\rx|7 7\nlast|4 4\n");
}

static void too_long_a_line_is_cut_and_tells_how_long_it_was(void **state)
{
	size_t n = NDJSON_LINE_MAX + 5;
	_cleanup_(freep) char *in = calloc(1, n);

	assert_non_null(in);
	memset(in, 'x', n);
	in[NDJSON_LINE_MAX + 1] = '\n';
	check(in, n, n, "|16777216 16777217\nxxx|3 3\n");
	check(in, n, 100000, "|16777216 16777217\nxxx|3 3\n");
	in[NDJSON_LINE_MAX] = '\r';
	check(in, n, n, "|16777216 16777216\nxxx|3 3\n");
	check(in, n, 100000, "|16777216 16777216\nxxx|3 3\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_come_out_however_they_are_cut),
		cmocka_unit_test(too_long_a_line_is_cut_and_tells_how_long_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
