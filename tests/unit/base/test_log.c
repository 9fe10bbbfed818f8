/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/log.h"

static void text_of_any_language_stays_what_it_is(void **state)
{
	assert_string_equal(log_safe("NAME[,NAME…] ä 日本 🙂"),
			    "NAME[,NAME…] ä 日本 🙂");
	assert_string_equal(log_safe(""), "");
}

static void nothing_that_a_terminal_obeys_gets_through(void **state)
{
	assert_string_equal(log_safe("a\033[2Jb\nc\td\x7f"), "a?[2Jb?c?d?");
	assert_string_equal(log_safe("\xc2\x9b[2J"), "?[2J"); /* CSI in UTF-8 */
	assert_string_equal(log_safe("\x9b[2J"), "?[2J");     /* and in one byte */
	assert_string_equal(log_safe("\xc2\xa0"), "\xc2\xa0");
}

static void what_is_no_UTF_8_is_replaced_byte_by_byte(void **state)
{
	assert_string_equal(log_safe("\xff\xfe"
				     "a"),
			    "??a");
	assert_string_equal(log_safe("a\xe2\x80"), "a??"); /* cut off */
	assert_string_equal(log_safe("\xc0\xaf"), "??");   /* overlong */
}

static void a_long_text_is_cut_between_characters(void **state)
{
	char text[600];
	const char *safe;

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	assert_in_range(strlen(log_safe(text)), 250, 255);
	for (size_t i = 0; i + 3 < sizeof(text); i += 3)
		memcpy(text + i, "…", 3);
	text[597] = '\0';
	safe = log_safe(text);
	assert_int_equal(strlen(safe) % 3, 0);
	assert_in_range(strlen(safe), 250, 255);
}

static void several_are_there_at_once(void **state)
{
	const char *a = log_safe("a"), *b = log_safe("b"), *c = log_safe("c"), *d = log_safe("d");

	assert_string_equal(a, "a");
	assert_string_equal(b, "b");
	assert_string_equal(c, "c");
	assert_string_equal(d, "d");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_of_any_language_stays_what_it_is),
		cmocka_unit_test(nothing_that_a_terminal_obeys_gets_through),
		cmocka_unit_test(what_is_no_UTF_8_is_replaced_byte_by_byte),
		cmocka_unit_test(a_long_text_is_cut_between_characters),
		cmocka_unit_test(several_are_there_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
