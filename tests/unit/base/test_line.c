/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/line.h"
#include "base/utf8.h"

#define RESET "\033[0m"

/* A word in red, one as it is, one in green. */
static void three_words(struct line *l)
{
	line_style(l, LINE_RED);
	line_str(l, "red");
	line_style(l, LINE_PLAIN);
	line_str(l, "word");
	line_style(l, LINE_GREEN);
	line_str(l, "green");
	line_style(l, LINE_PLAIN);
	line_str(l, "end");
}

static const char *last_style(const char *text)
{
	const char *last = NULL;

	while ((text = strstr(text, "\033[")))
		last = text++;
	return last;
}

static void no_style_outlives_its_line_wherever_it_is_cut(void **state)
{
	for (unsigned columns = 1; columns < 20; columns++) {
		_cleanup_(buf_done) struct buf b = {};
		const char *last;
		struct line l;

		line_begin(&l, &b, columns, true);
		three_words(&l);
		line_end(&l);
		buf_add_char(&b, '\0');
		assert_false(b.failed);
		last = last_style(b.data);
		if (last)
			assert_memory_equal(last, RESET, strlen(RESET));
	}
}

static void what_is_cut_off_takes_its_style_along(void **state)
{
	_cleanup_(buf_done) struct buf b = {};
	struct line l;

	line_begin(&l, &b, 3, true);
	line_str(&l, "ab");
	line_style(&l, LINE_RED);
	line_str(&l, "cd");
	line_end(&l);
	buf_add_char(&b, '\0');
	assert_string_equal(b.data, "ab…\n");
}

/* ---- locales ---- */

static void look_at(const char *all, const char *ctype, const char *lang)
{
	setenv("LC_ALL", all, 1);
	setenv("LC_CTYPE", ctype, 1);
	setenv("LANG", lang, 1);
	utf8_look_at_locale();
}

static int tear_down(void **state)
{
	look_at("C.UTF-8", "", "");
	return 0;
}

static void shows(const char *text, unsigned columns, const char *expected)
{
	_cleanup_(buf_done) struct buf b = {};
	struct line l;

	line_begin(&l, &b, columns, false);
	line_str(&l, text);
	line_end(&l);
	buf_add_char(&b, '\0');
	assert_string_equal(b.data, expected);
}

static void the_name_of_the_locale_tells_the_encoding(void **state)
{
	static const struct {
		const char *all, *ctype, *lang;
		bool utf8;
	} cases[] = {
		{"", "", "", false},
		{"C", "", "en_US.UTF-8", false},
		{"", "POSIX", "en_US.UTF-8", false},
		{"", "", "en_US.UTF-8", true},
		{"", "C.UTF-8", "", true},
		{"de_DE.utf8@euro", "", "C", true},
		{"de_DE.ISO-8859-15", "", "", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		look_at(cases[i].all, cases[i].ctype, cases[i].lang);
		assert_int_equal(utf8_is_shown(), cases[i].utf8);
	}
}

static void text_of_any_language_is_shown_where_it_can_be(void **state)
{
	look_at("C.UTF-8", "", "");
	shows("ä 日本", 80, "ä 日本\n");
	shows("abcdef", 4, "abc…\n");
	look_at("C", "", "");
	shows("ä 日本", 80, "ä \\u65e5\\u672c\n");
	shows("abcdef", 4, "abc>\n");
}

/* Without UTF-8 they are CSI, OSC and others. */
static void no_byte_of_a_character_is_a_control_of_another_encoding(void **state)
{
	look_at("C", "", "");
	for (uint32_t c = 1; c <= 0x10ffff; c++) {
		_cleanup_(buf_done) struct buf b = {};
		char bytes[4];
		struct line l;

		line_begin(&l, &b, 80, false);
		line_text(&l, bytes, utf8_put(bytes, c));
		assert_true(b.len > 0);
		for (size_t i = 0; i < b.len; i++)
			assert_false(((uint8_t)b.data[i] & 0xe0) == 0x80 ||
				     (uint8_t)b.data[i] < ' ');
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_style_outlives_its_line_wherever_it_is_cut),
		cmocka_unit_test(what_is_cut_off_takes_its_style_along),
		cmocka_unit_test_teardown(the_name_of_the_locale_tells_the_encoding, tear_down),
		cmocka_unit_test_teardown(text_of_any_language_is_shown_where_it_can_be, tear_down),
		cmocka_unit_test_teardown(no_byte_of_a_character_is_a_control_of_another_encoding,
					  tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
