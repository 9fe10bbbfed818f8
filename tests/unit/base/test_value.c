/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/value.h"

static struct value at(const char *text)
{
	return value_at(text, strlen(text));
}

static void only_json_is_whole(void **state)
{
	static const char *const good[] = {
		"0",    "-0.5e+10", "1E9", "\"\"",        "\"\\u00e9\\n\\/\"",     "true",
		"null", "[ ]",      "{ }", " [1 , [2]] ", "{\"a\":{},\"b\":[{}]}",
	};
	static const char *const bad[] = {
		"",        "01",       "1.",         "-",       ".5",          "+1",
		"1e",      "\"",       "\"\n\"",     "\"\\x\"", "\"\\u12g4\"", "tru",
		"NaN",     "[1,]",     "[,1]",       "[1 2]",   "[1",          "]",
		"{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}",   "{\"a\" 1}",   "1 2",
		"[}",      "{]",       "// c",       "'a'",     "{1:2}",       "{\"a\":1",
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		if (!value_whole(at(good[i])))
			fail_msg("%s", good[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (value_whole(at(bad[i])))
			fail_msg("%s", bad[i]);
	}
}

static void depth_has_a_limit(void **state)
{
	char text[2 * VALUE_DEPTH_MAX + 3];

	memset(text, '[', VALUE_DEPTH_MAX);
	memset(text + VALUE_DEPTH_MAX, ']', VALUE_DEPTH_MAX);
	assert_true(value_whole(value_at(text, sizeof(text) - 3)));
	memset(text, '[', VALUE_DEPTH_MAX + 1);
	memset(text + VALUE_DEPTH_MAX + 1, ']', VALUE_DEPTH_MAX + 1);
	assert_false(value_whole(value_at(text, sizeof(text) - 1)));
}

static void what_stands_before_a_cut_is_found(void **state)
{
	struct value v = at("{\"a\":1,\"b\":\"x\",\"c\":12");

	assert_true(value_is(value_get(v, "b"), "x"));
	assert_int_equal(value_kind(value_get(v, "a")), VALUE_NUMBER);
	/* it may have been 123 */
	assert_int_equal(value_kind(value_get(v, "c")), VALUE_NONE);
}

static void the_last_of_equal_names_counts(void **state)
{
	assert_true(value_true(value_get(at("{\"a\":false,\"a\":true}"), "a")));
}

static void numbers_must_fit(void **state)
{
	static const struct {
		const char *text;
		bool good;
		uint64_t n;
	} rows[] = {
		{"0", true, 0},
		{"12", true, 12},
		{"12.00", true, 12},
		{"18446744073709551615", true, UINT64_MAX},
		{"18446744073709551616", false, 0},
		{"-1", false, 0},
		{"1.5", false, 0},
		{"1e3", false, 0},
		{"\"1\"", false, 0},
		{"null", false, 0},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t n = 77;

		assert_int_equal(value_u64(at(rows[i].text), &n), rows[i].good);
		assert_int_equal(n, rows[i].good ? rows[i].n : 77);
	}
}

static void escapes_are_undone(void **state)
{
	static const struct {
		const char *json;
		const char *text;
	} rows[] = {
		{"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
		{"\"\\u0041\\u00e9\\u20ac\"", "Aé€"},
		{"\"\\ud83d\\ude80\"", "🚀"},
		{"\"\\ud83d\"", "\xef\xbf\xbd"},
		{"\"\\ude80x\"", "\xef\xbf\xbdx"},
		{"\"\\ud83d\\u0041\"", "\xef\xbf\xbd"
				       "A"},
		{"\"\\ud83d\\ud83d\\ude80\"", "\xef\xbf\xbd🚀"},
		{"7", ""},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf b = {0};

		assert_true(value_whole(at(rows[i].json)));
		value_text(at(rows[i].json), &b);
		assert_string_equal(buf_cstr(&b), rows[i].text);
		buf_done(&b);
	}
}

static void a_copy_has_no_space_between_tokens_and_keeps_all_else(void **state)
{
	struct buf b = {0};

	value_copy(at("{\r\n \"a b\" : [ 1.50 ,\t\"x\\n y\" , 1e400 ] , \"\xff\":\"\xc3\xa9\" }\n"),
		   &b);
	assert_string_equal(buf_cstr(&b),
			    "{\"a b\":[1.50,\"x\\n y\",1e400],\"\xef\xbf\xbd\":\"\xc3\xa9\"}");
	buf_done(&b);
}

static void a_text_is_cut_between_two_characters(void **state)
{
	static const struct {
		const char *in;
		size_t max;
		const char *out;
		bool whole;
	} cases[] = {
		{"\"abc\"", 3, "abc", true},
		{"\"abcd\"", 3, "abc", false},
		{"\"a\\u0062\\n\"", 3, "ab\n", true},
		{"\"ab\\u00e9\"", 3, "ab", false},
		{"\"ab\xc3\xa9\"", 3, "ab", false},
		{"\"ab\xc3\xa9\"", 4, "ab\xc3\xa9", true},
		{"\"a\\ud83d\\ude00b\"", 4, "a", false},
		{"\"\"", 0, "", true},
		{"\"a\"", 0, "", false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct buf b = {0};

		buf_add_str(&b, "before");
		assert_int_equal(value_text_upto(at(cases[i].in), &b, cases[i].max),
				 cases[i].whole);
		assert_string_equal(buf_cstr(&b) + strlen("before"), cases[i].out);
		buf_done(&b);
	}
}

static void escapes_that_need_not_be_are_undone_in_a_copy(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{"\"a\\u0026b\\u003D\\/\"", "\"a&b=/\""},
		{"{\"\\u0061\":[\"\\u0022x\\u005c\"]}", "{\"a\":[\"\\\"x\\\\\"]}"},
		{"\"\\\\u0026\"", "\"\\\\u0026\""},
		{"\"\\n\\\"\\u001f\\u007f\\u00e9\\ud83d\"",
		 "\"\\n\\\"\\u001f\\u007f\\u00e9\\ud83d\""},
		{"[ \"\\/\" , \"\\/\" ]", "[\"/\",\"/\"]"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct buf b = {0};

		value_copy(at(cases[i].in), &b);
		assert_string_equal(buf_cstr(&b), cases[i].out);
		assert_true(value_whole(at(buf_cstr(&b))));
		buf_done(&b);
	}
}

static void members_are_picked_in_one_pass(void **state)
{
	static const char *const keys[] = {"b", "none", "a"};
	struct value v[3];

	value_pick(at("{\"a\":1,\"b\":[2]}"), keys, 3, v);
	assert_int_equal(value_kind(v[0]), VALUE_ARRAY);
	assert_null(v[1].p);
	assert_int_equal(v[2].len, 1);
	value_pick(at("[1]"), keys, 3, v);
	assert_null(v[0].p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_json_is_whole),
		cmocka_unit_test(depth_has_a_limit),
		cmocka_unit_test(what_stands_before_a_cut_is_found),
		cmocka_unit_test(the_last_of_equal_names_counts),
		cmocka_unit_test(numbers_must_fit),
		cmocka_unit_test(escapes_are_undone),
		cmocka_unit_test(a_copy_has_no_space_between_tokens_and_keeps_all_else),
		cmocka_unit_test(a_text_is_cut_between_two_characters),
		cmocka_unit_test(escapes_that_need_not_be_are_undone_in_a_copy),
		cmocka_unit_test(members_are_picked_in_one_pass),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
