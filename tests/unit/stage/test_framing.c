/* SPDX-License-Identifier: MIT */
#include "stage/framing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/cleanup.h"

static void feed(struct framing *f, const char *p, size_t n, struct buf *text)
{
	while (n) {
		bool content = false;
		size_t len = framing_next(f, (const uint8_t *)p, n, &content);

		assert_true(len > 0 && len <= n);
		if (content)
			buf_add(text, p, len);
		p += len;
		n -= len;
	}
}

/* What is left of @in when it comes as a whole, and in two calls cut anywhere. */
static void expect(const char *in, size_t n, const char *want, size_t want_n, size_t first)
{
	for (size_t cut = 0; cut < n; cut = cut ? cut + 1 : first) {
		_cleanup_(buf_done) struct buf text = {0};
		struct framing f = {0};

		feed(&f, in, cut, &text);
		feed(&f, in + cut, n - cut, &text);
		assert_int_equal(text.len, want_n);
		assert_memory_equal(text.data, want, want_n);
	}
}

/* A line's end may be the beginning of a size: where a call ends behind it, it is left out as well. */
static void sizes_of_chunks_are_left_out(void **state)
{
	static const char in[] =
		"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1f;n=\"v\"\r\ncd\r\n0\r\n\r\n";

	for (size_t cut = 0; cut < sizeof(in) - 1; cut++) {
		_cleanup_(buf_done) struct buf text = {0};
		struct framing f = {0};

		feed(&f, in, cut, &text);
		feed(&f, in + cut, sizeof(in) - 1 - cut, &text);
		assert_non_null(strstr(buf_cstr(&text), "abcd"));
		assert_null(strchr(buf_cstr(&text), '1'));
	}
}

static void lines_that_are_no_sizes_stay(void **state)
{
	struct framing f = {0};
	struct buf text = {0};
	static const char in[] = "a\r\nb: c\r\n\r\nxyz\r\n123456789\r\n12 \n\r\r\nzz";

	feed(&f, in, sizeof(in) - 1, &text);
	assert_int_equal(text.len, sizeof(in) - 1);
	assert_memory_equal(text.data, in, text.len);
	buf_done(&text);
}

#define PREFACE  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define SETTINGS "\0\0\6\4\0\0\0\0\0\0\1\0\0\0\1"
#define FRAMES   "\0\0\2\0\0\0\0\0\1ab\0\0\4\10\0\0\0\0\0wxyz\0\0\2\0\1\0\0\0\1cd"

static void headers_of_frames_are_left_out(void **state)
{
	/* what comes first tells what it is */
	expect(PREFACE SETTINGS FRAMES, sizeof(PREFACE SETTINGS FRAMES) - 1, "abcd", 4, 24);
	expect(SETTINGS FRAMES, sizeof(SETTINGS FRAMES) - 1, "abcd", 4, 9);
}

static void behind_missing_bytes_frames_are_not_looked_for(void **state)
{
	struct buf text = {0};
	struct framing f = {0};

	feed(&f, SETTINGS, sizeof(SETTINGS) - 1, &text);
	framing_lose(&f);
	feed(&f, FRAMES, sizeof(FRAMES) - 1, &text);
	assert_int_equal(text.len, sizeof(FRAMES) - 1);
	buf_done(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_of_chunks_are_left_out),
		cmocka_unit_test(lines_that_are_no_sizes_stay),
		cmocka_unit_test(headers_of_frames_are_left_out),
		cmocka_unit_test(behind_missing_bytes_frames_are_not_looked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
