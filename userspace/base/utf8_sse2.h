/* SPDX-License-Identifier: MIT */
/*
 * UTF-8 well-formedness of 64 bytes at once, one bit per byte. SSE2 has no byte shuffle, so the usual table
 * look-ups are out; instead each class of byte becomes a 64-bit mask and "is followed by" becomes a shift.
 * Private to base: utf8.c and json.c include it, and only where __SSE2__ is defined.
 */
#ifndef AGENTSIGHT_BASE_UTF8_SSE2_H
#define AGENTSIGHT_BASE_UTF8_SSE2_H

#include <emmintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UTF8_BLOCK_LEN 64

/* utf8_block_read() looks one byte past the block: the second byte of a sequence restricts the first. */
#define UTF8_BLOCK_READ (UTF8_BLOCK_LEN + 1)

/* A sequence that starts here or later may need bytes that are not in the masks. */
#define UTF8_BLOCK_SURE (UTF8_BLOCK_LEN - 3)

struct utf8_block {
	uint64_t bad;    /* a U+FFFD goes here: the first byte of each maximal ill-formed subpart */
	uint64_t silent; /* the other bytes of those subparts */
	size_t len; /* 61 to 64 bytes are decided, always whole sequences; no bit is set beyond */
};

static inline __m128i utf8_load(const void *p)
{
	return _mm_loadu_si128(p);
}

/* One bit per byte: the top bits of four vectors. */
static inline uint64_t utf8_mask(__m128i a, __m128i b, __m128i c, __m128i d)
{
	uint32_t low = (uint32_t)_mm_movemask_epi8(a) | (uint32_t)_mm_movemask_epi8(b) << 16;
	uint32_t high = (uint32_t)_mm_movemask_epi8(c) | (uint32_t)_mm_movemask_epi8(d) << 16;

	return low | (uint64_t)high << 32;
}

static inline __m128i utf8_byte(unsigned char c)
{
	return _mm_set1_epi8((char)c);
}

/*
 * Comparisons are signed: 0x80..0xff are -128..-1 and ASCII is above them all, so "above @low, not above
 * @high" leaves ASCII out by itself.
 */
static inline __m128i utf8_above(__m128i v, unsigned char low)
{
	return _mm_cmpgt_epi8(v, utf8_byte(low));
}

static inline __m128i utf8_between(__m128i v, unsigned char low, unsigned char high)
{
	return _mm_andnot_si128(utf8_above(v, high), utf8_above(v, low));
}

static inline __m128i utf8_equal(__m128i v, unsigned char c)
{
	return _mm_cmpeq_epi8(v, utf8_byte(c));
}

static inline __m128i utf8_continuation(__m128i v)
{
	return _mm_cmplt_epi8(v, utf8_byte(0xc0));
}

/*
 * Lead bytes whose second byte, if it is a continuation at all, is one they may have (RFC 3629 section 4).
 * Below 0xa0 e0 is wrong (overlong) and from 0xa0 ed is (surrogates); with 0x90 the same holds for f0
 * (overlong) and f4 (past U+10FFFF). So each half of the second byte's range forbids just one lead byte.
 */
static inline __m128i utf8_lead(const uint8_t *p)
{
	__m128i v = utf8_load(p), second = utf8_load(p + 1);
	__m128i e0_or_ed = _mm_or_si128(utf8_byte(0xe0),
					_mm_and_si128(utf8_above(second, 0x9f), utf8_byte(0x0d)));
	__m128i f0_or_f4 = _mm_or_si128(utf8_byte(0xf0),
					_mm_and_si128(utf8_above(second, 0x8f), utf8_byte(0x04)));
	__m128i wrong = _mm_or_si128(_mm_cmpeq_epi8(v, e0_or_ed), _mm_cmpeq_epi8(v, f0_or_f4));

	return _mm_andnot_si128(wrong, utf8_between(v, 0xc1, 0xf4));
}

static inline bool utf8_block_is_ascii(const uint8_t *p)
{
	__m128i any = _mm_or_si128(_mm_or_si128(utf8_load(p), utf8_load(p + 16)),
				   _mm_or_si128(utf8_load(p + 32), utf8_load(p + 48)));

	return _mm_movemask_epi8(any) == 0;
}

#define UTF8_MASK(classify, ...)                                            \
	utf8_mask(classify(v0, ##__VA_ARGS__), classify(v1, ##__VA_ARGS__), \
		  classify(v2, ##__VA_ARGS__), classify(v3, ##__VA_ARGS__))

/* Reads UTF8_BLOCK_READ bytes at @p, which must be the start of a sequence. */
static inline void utf8_block_read(struct utf8_block *block, const uint8_t *p)
{
	__m128i v0 = utf8_load(p), v1 = utf8_load(p + 16);
	__m128i v2 = utf8_load(p + 32), v3 = utf8_load(p + 48);
	uint64_t high = utf8_mask(v0, v1, v2, v3);
	uint64_t cont = UTF8_MASK(utf8_continuation);
	uint64_t lead =
		utf8_mask(utf8_lead(p), utf8_lead(p + 16), utf8_lead(p + 32), utf8_lead(p + 48));
	uint64_t lead_3or4 = UTF8_MASK(utf8_between, 0xdf, 0xf4);
	uint64_t lead_4 = UTF8_MASK(utf8_between, 0xef, 0xf4);

	/* Leads with a right second byte, then those with two and three right bytes behind them. */
	uint64_t has_1 = lead & cont >> 1;
	uint64_t has_2 = has_1 & lead_3or4 & cont >> 2;
	uint64_t has_3 = has_2 & lead_4 & cont >> 3;
	uint64_t complete = (has_1 & ~lead_3or4) | (has_2 & ~lead_4) | has_3;
	uint64_t followers = has_1 << 1 | has_2 << 2 | has_3 << 3;
	uint64_t decided;

	/* What follows a sequence that begins before the sure part belongs to this block too. */
	block->len = UTF8_BLOCK_SURE + (size_t)__builtin_ctzll(~(followers >> UTF8_BLOCK_SURE));
	decided = UINT64_MAX >> (UTF8_BLOCK_LEN - block->len);

	block->bad = high & ~complete & ~followers & decided;
	block->silent = ((has_1 & ~complete) << 1 | (has_2 & ~complete) << 2) & decided;
}

#undef UTF8_MASK

#endif
