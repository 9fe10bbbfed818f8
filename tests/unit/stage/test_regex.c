/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "stage/regex.h"

DEFINE_FREEP(struct regex *, regex_free)

static bool matches(const char *pattern, const char *text)
{
	_cleanup_(regex_freep) struct regex *re = NULL;
	struct regex_error err;

	if (regex_new(pattern, strlen(pattern), &re, &err) < 0)
		fail_msg("%s: %s", pattern, err.msg);
	return regex_match(re, text, strlen(text));
}

static void everything_in_the_language_matches_as_written(void **state)
{
	static const struct {
		const char *pattern;
		const char *text;
		bool want;
	} cases[] = {
		{"", "", true},
		{"", "x", true},
		{"abc", "xabcx", true},
		{"abc", "xabx", false},
		{"aab", "aaab", true},
		{"a.c", "abc", true},
		{"a.c", "a\nc", false},
		{"^abc$", "abc", true},
		{"^abc$", "xabc", false},
		{"^b", "ab", false},
		{"a$", "ab", false},
		{"a|^b", "xb", false},
		{"a|^b", "bx", true},
		{"[a-c]x", "bx", true},
		{"[^a-c]x", "bx", false},
		{"[]a]", "]", true},
		{"[a-]", "-", true},
		{"[\\d_]+$", "a12_", true},
		{"^a*$", "aaaa", true},
		{"^a+$", "", false},
		{"^ab?c$", "ac", true},
		{"^(ab|cd|ef)+$", "abefcd", true},
		{"^(ab|cd|ef)+$", "abefc", false},
		{"^(a|b|)c$", "c", true},
		{"^a{2,3}$", "a", false},
		{"^a{2,3}$", "aaa", true},
		{"^a{2,3}$", "aaaa", false},
		{"^a{2}$", "aa", true},
		{"^a{2,}$", "aaaaa", true},
		{"^a{0}b$", "b", true},
		{"{\"id\":", "{\"id\":1", true},
		{"^\\d\\D\\w\\W\\s\\S$", "1a_- x", true},
		{"\\bcat\\b", "a cat!", true},
		{"\\bcat\\b", "concat", false},
		{"\\Bcat", "concat", true},
		{"(?i)HeLLo [a-f]", "hEllO C", true},
		{"(?:a|b)c", "bc", true},
		{"^(a*)*$", "aab", false},
		{"^(a*)*$", "aaa", true},
		{"a*?b", "aab", true},
		{"\\.local$", "x.local", true},
		{"\\.local$", "xlocal", false},
		{"^(\xc3\xa9)+$", "\xc3\xa9\xc3\xa9", true},
		{"^\xc3\xa9{2}$", "\xc3\xa9\xc3\xa9", true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (matches(cases[i].pattern, cases[i].text) != cases[i].want)
			fail_msg("%s on %s", cases[i].pattern, cases[i].text);
	}
}

static void malformed_patterns_say_where(void **state)
{
	static const struct {
		const char *pattern;
		int r;
		size_t off;
	} cases[] = {
		{"a(b", -EINVAL, 1},    {"ab)", -EINVAL, 2},   {"x[a", -EINVAL, 1},
		{"*a", -EINVAL, 0},     {"a**", -EINVAL, 2},   {"a{2}{3}", -EINVAL, 4},
		{"a{3,2}", -EINVAL, 1}, {"a{999}", -E2BIG, 1}, {"\\q", -EINVAL, 1},
		{"a\\", -EINVAL, 1},    {"[z-a]", -EINVAL, 4}, {"(?=a)", -EINVAL, 2},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct regex *re = NULL;
		struct regex_error err;
		int r = regex_new(cases[i].pattern, strlen(cases[i].pattern), &re, &err);

		if (r != cases[i].r || err.off != cases[i].off || !err.msg[0])
			fail_msg("%s: %d at %zu: %s", cases[i].pattern, r, err.off, err.msg);
	}
}

static void repeats_that_multiply_are_refused(void **state)
{
	const char *const patterns[] = {"((a{100}){100}){100}", "(((){255}){255}){255}"};

	for (size_t i = 0; i < ARRAY_SIZE(patterns); i++) {
		struct regex *re = NULL;
		struct regex_error err;

		assert_int_equal(regex_new(patterns[i], strlen(patterns[i]), &re, &err), -E2BIG);
	}
}

/* A matcher that backtracks would need longer than the age of the universe. */
static void hostile_patterns_take_linear_time(void **state)
{
	char *text = malloc(100001);

	assert_non_null(text);
	memset(text, 'a', 100000);
	text[100000] = '\0';
	assert_false(matches("^(a+)+b", text));
	assert_false(matches("(a|a|aa)*b$", text));
	assert_false(matches("a?a?a?a?a?a?a?a?a?a?a?a?a?a?aaaaaaaaaaaaaaab", text));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_in_the_language_matches_as_written),
		cmocka_unit_test(malformed_patterns_say_where),
		cmocka_unit_test(repeats_that_multiply_are_refused),
		cmocka_unit_test(hostile_patterns_take_linear_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
