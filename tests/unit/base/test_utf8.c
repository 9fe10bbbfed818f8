/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/utf8.h"

/* Decodes by arithmetic instead of tables: the length at @p, or 0. */
static size_t reference_sequence(const uint8_t *p, size_t n)
{
	static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
	uint32_t point;
	size_t len;

	if (n == 0)
		return 0;
	if (p[0] < 0x80)
		return 1;
	if (p[0] >> 5 == 6)
		len = 2;
	else if (p[0] >> 4 == 14)
		len = 3;
	else if (p[0] >> 3 == 30)
		len = 4;
	else
		return 0;
	if (len > n)
		return 0;

	point = p[0] & (0x7fU >> len);
	for (size_t i = 1; i < len; i++) {
		if (p[i] >> 6 != 2)
			return 0;
		point = point << 6 | (p[i] & 63U);
	}
	if (point < smallest[len] || point > 0x10ffff || point >> 11 == 0x1b)
		return 0;
	return len;
}

static size_t reference_prefix(const uint8_t *p, size_t n)
{
	size_t i = 0, len;

	while ((len = reference_sequence(p + i, n - i)) > 0)
		i += len;
	return i;
}

/* A copy of exactly @n bytes, so that AddressSanitizer sees a read behind them. */
static size_t prefix_of_copy(const uint8_t *p, size_t n)
{
	_cleanup_(freep) uint8_t *copy = malloc(n ? n : 1);

	assert_non_null(copy);
	memcpy(copy, p, n);
	return utf8_valid_prefix(n ? copy : copy + 1, n);
}

static void every_code_point_is_one_sequence(void **state)
{
	for (uint32_t c = 0; c <= 0x10ffff; c++) {
		uint8_t s[4];
		size_t n;

		if (c < 0x80) {
			n = 1;
			s[0] = (uint8_t)c;
		} else if (c < 0x800) {
			n = 2;
			s[0] = (uint8_t)(0xc0 | c >> 6);
		} else if (c < 0x10000) {
			n = 3;
			s[0] = (uint8_t)(0xe0 | c >> 12);
		} else {
			n = 4;
			s[0] = (uint8_t)(0xf0 | c >> 18);
		}
		for (size_t i = 1; i < n; i++)
			s[i] = (uint8_t)(0x80 | (c >> 6 * (n - 1 - i) & 63));

		assert_int_equal(utf8_sequence(s, n), c >> 11 == 0x1b ? 0 : n);
		for (size_t cut = 0; cut < n; cut++)
			assert_int_equal(utf8_sequence(s, cut), 0);
	}
}

static void every_three_bytes_agree_with_the_reference(void **state)
{
	for (uint32_t x = 0; x < 1 << 24; x++) {
		uint8_t s[4] = {(uint8_t)(x >> 16), (uint8_t)(x >> 8), (uint8_t)x, 0x80};

		if (utf8_sequence(s, 3) != reference_sequence(s, 3) ||
		    utf8_sequence(s, 4) != reference_sequence(s, 4))
			fail_msg("%02x %02x %02x", s[0], s[1], s[2]);
	}
}

static void wrong_forms_are_refused(void **state)
{
	static const char *const wrong[] = {
		"\x80",
		"\xbf",
		"\xc0\x80",
		"\xc1\xbf",
		"\xe0\x80\x80",
		"\xe0\x9f\xbf",
		"\xed\xa0\x80",
		"\xed\xbf\xbf",
		"\xf0\x80\x80\x80",
		"\xf0\x8f\xbf\xbf",
		"\xf4\x90\x80\x80",
		"\xf5\x80\x80\x80",
		"\xfe",
		"\xff",
		"\xc3",
		"\xe2\x82",
		"\xf0\x9f\x98",
		"\xf8\x88\x80\x80\x80",
	};

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
		assert_int_equal(utf8_sequence((const uint8_t *)wrong[i], strlen(wrong[i])), 0);
}

/* The sequences of Unicode 15, table 3-8 and those around it. */
static void bad_subparts_are_maximal(void **state)
{
	static const struct {
		const char *text;
		size_t len;
	} cases[] = {
		{"\x80", 1},
		{"\xc0\xaf", 1},
		{"\xe0\x80\xaf", 1},
		{"\xed\xa0\x80", 1},
		{"\xf4\x91\x92\x93", 1},
		{"\xff", 1},
		{"\xe1\x80", 2},
		{"\xe1\x80\xe2", 2},
		{"\xe2\xf0\x91", 1},
		{"\xf0\x91\x92\xf1", 3},
		{"\xf1\xbf", 2},
		{"\xf1\xbf\x41", 2},
		{"\xc3", 1},
		{"\xc3\x28", 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(
			utf8_bad_subpart((const uint8_t *)cases[i].text, strlen(cases[i].text)),
			cases[i].len);
	assert_int_equal(utf8_bad_subpart((const uint8_t *)"", 0), 0);
}

static void the_prefix_ends_before_the_first_bad_byte_wherever_it_is(void **state)
{
	static const char *const pieces[] = {
		"\x80",         "\xff",
		"\xc3\xa9",     "\xc3",
		"\xe2\x82\xac", "\xe2\x82",
		"\xed\xa0\x80", "\xf0\x9f\x98\x80",
		"\xf0\x9f\x98", "\xf4\x90\x80\x80",
		"\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf",
	};

	for (size_t n = 0; n <= 200; n++) {
		uint8_t text[204];

		for (size_t at = 0; at <= n; at++) {
			for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
				memset(text, 'a', sizeof(text));
				memcpy(text + at, pieces[i], strlen(pieces[i]));
				assert_int_equal(prefix_of_copy(text, n),
						 reference_prefix(text, n));
			}
		}
	}
}

static uint32_t random_next(void)
{
	static uint32_t seed = 1;

	seed = seed * 1103515245 + 12345;
	return seed >> 16;
}

/* Mostly whole sequences, so that the first bad byte is often blocks away; from time to time any byte. */
static size_t random_piece(uint8_t *p)
{
	static const char *const whole[] = {"a", "bcdef", "\xc3\xa9", "\xe2\x82\xac",
					    "\xf0\x9f\x98\x80"};
	const char *piece = whole[random_next() % ARRAY_SIZE(whole)];

	if (random_next() % 64 == 0) {
		*p = (uint8_t)random_next();
		return 1;
	}
	memcpy(p, piece, strlen(piece));
	return strlen(piece);
}

static void random_texts_agree_with_the_reference(void **state)
{
	uint8_t text[512];

	for (int round = 0; round < 50000; round++) {
		size_t want = random_next() % 500, n = 0;

		while (n < want)
			n += random_piece(text + n);
		assert_int_equal(prefix_of_copy(text, want), reference_prefix(text, want));
	}
}

static void what_is_put_is_one_sequence(void **state)
{
	static const uint32_t chars[] = {0, 0x7f, 0x80, 0x7ff, 0x800, 0xffff, 0x10000, 0x10ffff};
	static const size_t lens[] = {1, 1, 2, 2, 3, 3, 4, 4};

	for (size_t i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
		char out[4];

		assert_int_equal(utf8_put(out, chars[i]), lens[i]);
		assert_int_equal(utf8_sequence((uint8_t *)out, 4), lens[i]);
	}
}

static void columns_are_counted_in_characters(void **state)
{
	assert_int_equal(utf8_column("abc", 0), 1);
	assert_int_equal(utf8_column("abc", 2), 3);
	assert_int_equal(utf8_column("\xc3\xa9\xf0\x9f\x98\x80x", 6), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_put_is_one_sequence),
		cmocka_unit_test(columns_are_counted_in_characters),
		cmocka_unit_test(every_code_point_is_one_sequence),
		cmocka_unit_test(every_three_bytes_agree_with_the_reference),
		cmocka_unit_test(wrong_forms_are_refused),
		cmocka_unit_test(bad_subparts_are_maximal),
		cmocka_unit_test(the_prefix_ends_before_the_first_bad_byte_wherever_it_is),
		cmocka_unit_test(random_texts_agree_with_the_reference),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
