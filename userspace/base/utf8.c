/* SPDX-License-Identifier: MIT */
/*
 * UTF-8 validation. One scalar decoder says what is right; the vector block in utf8_sse2.h must agree with it.
 */
#include "base/utf8.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"

#ifdef __SSE2__
#include "base/utf8_sse2.h"
#endif

/* RFC 3629 section 4: the lead byte decides the length and the range of the second byte. */
struct lead {
	uint8_t len;
	uint8_t second_min;
	uint8_t second_max;
};

static const struct lead leads[256] = {
	[0x00 ... 0x7f] = {1, 0, 0},
	[0xc2 ... 0xdf] = {2, 0x80, 0xbf}, /* c0 and c1 could only begin overlong forms */
	[0xe0] = {3, 0xa0, 0xbf},          /* below: overlong */
	[0xe1 ... 0xec] = {3, 0x80, 0xbf},
	[0xed] = {3, 0x80, 0x9f}, /* above: surrogates */
	[0xee ... 0xef] = {3, 0x80, 0xbf},
	[0xf0] = {4, 0x90, 0xbf}, /* below: overlong */
	[0xf1 ... 0xf3] = {4, 0x80, 0xbf},
	[0xf4] = {4, 0x80, 0x8f}, /* above: past U+10FFFF */
};

/* How many bytes at @p agree with one sequence of @l->len bytes; the lead byte itself counts. */
static size_t agreeing(const struct lead *l, const uint8_t *p, size_t n)
{
	size_t i;

	if (n < 2 || l->len < 2 || p[1] < l->second_min || p[1] > l->second_max)
		return 1;

	for (i = 2; i < l->len && i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			break;
	return i;
}

size_t utf8_sequence(const uint8_t *p, size_t n)
{
	const struct lead *l;

	if (n == 0)
		return 0;

	l = &leads[p[0]];
	return agreeing(l, p, n) == l->len ? l->len : 0;
}

size_t utf8_bad_subpart(const uint8_t *p, size_t n)
{
	return n ? agreeing(&leads[p[0]], p, n) : 0;
}

#ifdef __SSE2__
/* Whole blocks only; *ret_bad tells that the byte at the returned offset is the first wrong one. */
static size_t valid_blocks(const uint8_t *p, size_t n, bool *ret_bad)
{
	struct utf8_block block;
	size_t i = 0;

	*ret_bad = false;
	while (n - i >= UTF8_BLOCK_READ) {
		if (utf8_block_is_ascii(p + i)) {
			i += UTF8_BLOCK_LEN;
			continue;
		}
		utf8_block_read(&block, p + i);
		if (block.bad) {
			*ret_bad = true;
			return i + (size_t)__builtin_ctzll(block.bad);
		}
		i += block.len;
	}
	return i;
}
#endif

/* Most texts are ASCII and shorter than a block. */
static bool eight_are_ascii(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return (v & 0x8080808080808080ULL) == 0;
}

size_t utf8_valid_prefix(const void *p, size_t n)
{
	const uint8_t *s = p;
	size_t i = 0, len;

#ifdef __SSE2__
	bool bad;

	i = valid_blocks(s, n, &bad);
	if (bad)
		return i;
#endif
	for (; i < n; i += len) {
		len = n - i >= 8 && eight_are_ascii(s + i) ? 8 : utf8_sequence(s + i, n - i);
		if (len == 0)
			break;
	}
	return i;
}

size_t utf8_put(char out[4], uint32_t c)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

size_t utf8_cut(const char *text, size_t len, size_t max)
{
	if (len <= max)
		return len;
	while (max && utf8_continues(text[max]))
		max--;
	return max;
}

size_t utf8_column(const char *text, size_t off)
{
	size_t column = 1;

	for (size_t i = 0; i < off; i++)
		column += !utf8_continues(text[i]);
	return column;
}

static bool other_encoding;

void utf8_look_at_locale(void)
{
	static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
	const char *locale = "", *codeset;

	for (size_t i = 0; i < ARRAY_SIZE(names) && !*locale; i++)
		locale = getenv(names[i]) ?: "";
	codeset = strchr(locale, '.') ?: "";
	other_encoding = strncasecmp(codeset, ".utf-8", 6) && strncasecmp(codeset, ".utf8", 5);
}

bool utf8_is_shown(void)
{
	return !other_encoding;
}

bool utf8_is_harmless(const void *p, size_t len)
{
	const uint8_t *s = p;

	for (size_t i = 0; other_encoding && i < len; i++) {
		if (s[i] >= 0x80 && s[i] < 0xa0)
			return false;
	}
	return true;
}
