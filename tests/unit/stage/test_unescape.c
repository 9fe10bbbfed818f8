/* SPDX-License-Identifier: MIT */
#include "stage/unescape.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"

#define TEXT_MAX 256

static const uint8_t *bytes(const char *text)
{
	return (const uint8_t *)text;
}

/* In two pieces, the second of which is the last. */
static void undo(const char *in, size_t cut, char *ret)
{
	uint8_t out[TEXT_MAX];
	struct unescape u = {};
	size_t n = unescape_piece(&u, bytes(in), cut, out);

	n += unescape_piece(&u, bytes(in) + cut, strlen(in) - cut, out + n);
	n += unescape_end(&u, out + n);
	memcpy(ret, out, n);
	ret[n] = '\0';
}

static void escapes_are_undone_wherever_a_call_ends(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"plain", "plain"},
		{"a\\u0026b\\/c", "a&b/c"},
		{"\\\\u0026 \\\\\\u0026 \\\\/", "& & /"},
		{"\\u0022a\\\\\\u0022b\\u0022", "\"a\\\"b\""},
		{"\\\\u0022a\\\\\\\\\\\\u0022b", "\\\"a\\\\\\\"b"},
		{"\\u005c", "\\"},
		{"a\\u00e9b\\uD83D\\uDE00", "a\xff"
					    "b\xff\xff"},
		{"\\u000aA", "\nA"},
		{"\\n\\\"\\t\\\\", "\\n\\\"\\t\\\\"},
		{"\\u00\\u0026 \\u002", "\\u00& \\u002"},
		{"\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\u0026",
		 "\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\&"},
		{"\\", "\\"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (size_t cut = 0; cut <= strlen(cases[i].in); cut++) {
			char out[TEXT_MAX];

			undo(cases[i].in, cut, out);
			assert_string_equal(out, cases[i].out);
		}
	}
}

static void a_text_without_such_escapes_is_not_looked_at_twice(void **state)
{
	assert_false(unescape_needed(bytes("a\\n\\\"\\\\b"), 8));
	assert_true(unescape_needed(bytes("a\\/"), 3));
	assert_true(unescape_needed(bytes("\\\\u0026"), 7));
	assert_true(unescape_needed(bytes("a\\"), 2));
	assert_false(unescape_needed(bytes(""), 0));
	/* wherever it stands, and only there */
	for (size_t at = 0; at < 60; at++) {
		char text[61];

		memset(text, 'x', sizeof(text));
		memcpy(text + at, "\\/", MIN(sizeof(text) - at, (size_t)2));
		assert_true(unescape_needed(bytes(text), sizeof(text)));
		text[at] = 'x';
		assert_false(unescape_needed(bytes(text), sizeof(text)));
	}
}

/* The words of the text that it becomes, masked in the text that it is. */
static void spans_are_found_again_where_they_came_from(void **state)
{
	static const struct {
		const char *in;
		struct secret_span spans[2];
		size_t n;
		const char *masked;
	} cases[] = {
		{"k\\u003dsecret", {{2, 6}}, 1, "k\\u003d******"},
		{"k\\u003dse\\/et\\u0026", {{2, 5}}, 1, "k\\u003d******\\u0026"},
		{"\\/", {{0, 1}}, 1, "**"},
		{"a\\u0026b\\u0026c", {{0, 2}, {4, 1}}, 2, "*******b\\u0026*"},
		{"abc\\u00", {{1, 2}}, 1, "a******"},
		{"\\nabc", {{0, 2}, {3, 1}}, 2, "**a*c"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t n = strlen(cases[i].in);
		struct secret_span spans[2];
		uint8_t copy[TEXT_MAX];

		memcpy(spans, cases[i].spans, sizeof(spans));
		memcpy(copy, cases[i].in, n + 1);
		unescape_map((struct unescape){}, bytes(cases[i].in), n, spans, cases[i].n);
		secrets_apply(copy, n, spans, cases[i].n);
		assert_string_equal(copy, cases[i].masked);
	}
}

/* Whatever the bytes are: nothing is written beyond what was asked for, and spans stay inside the piece. */
static void any_bytes_stay_within_their_bounds(void **state)
{
	static const char alphabet[] = "\\\\\\u00267/\"n";
	uint32_t dice = 7;

	for (size_t round = 0; round < 20000; round++) {
		uint8_t in[64], *out = malloc(64 + UNESCAPE_HELD);
		struct unescape u = {}, before;

		for (size_t at = 0, n; at < 64; at += n) {
			struct secret_span span = {0};
			size_t made;

			dice = dice * 1664525U + 1013904223U;
			n = MIN(dice >> 27, 64 - at);
			for (size_t i = 0; i < n; i++) {
				dice = dice * 1664525U + 1013904223U;
				in[at + i] =
					(uint8_t)alphabet[(dice >> 8) % (sizeof(alphabet) - 1)];
			}
			before = u;
			made = unescape_piece(&u, in + at, n, out);
			assert_true(made <= n + UNESCAPE_HELD);
			span.len = made;
			unescape_map(before, in + at, n, &span, made > 0);
			if (made)
				assert_true(span.off == 0 && span.len == n);
		}
		free(out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(escapes_are_undone_wherever_a_call_ends),
		cmocka_unit_test(a_text_without_such_escapes_is_not_looked_at_twice),
		cmocka_unit_test(spans_are_found_again_where_they_came_from),
		cmocka_unit_test(any_bytes_stay_within_their_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
