/* SPDX-License-Identifier: MIT */
/*
 * The JSON writer. Strings are the hot part: payloads of 16 KiB pass through here. They are read 64 bytes at a
 * time; a block without anything to escape is copied, a block with escapes is copied in segments between
 * them without looking at it again, and UTF-8 is checked only where a byte has its high bit set.
 */
#ifdef __x86_64__
#include <tmmintrin.h>
#endif

#include "base/json.h"

#include <arpa/inet.h>
#include <endian.h>
#include <netinet/in.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json_put.h"
#include "base/utf8.h"

#ifdef __SSE2__
#include "base/utf8_sse2.h"
#endif

/* What one input byte becomes. Eight bytes, so that one store writes it whatever its length. */
struct token {
	char text[7];
	uint8_t len;
};

/* Neither byte occurs in well-formed UTF-8, so they can stand for what to do with an ill-formed one. */
#define BYTE_SILENT  0xfe
#define BYTE_REPLACE 0xff

/* clang-format off */
#define R1(c)  {{(char)(c)}, 1}
#define R2(c)  R1(c), R1((c) + 1)
#define R4(c)  R2(c), R2((c) + 2)
#define R8(c)  R4(c), R4((c) + 4)
#define R16(c) R8(c), R8((c) + 8)
#define R32(c) R16(c), R16((c) + 16)
#define S2(c)  {"\\" c, 2}
#define U6(c)  {"\\u00" c, 6}

static const struct token tokens[256] __attribute__((aligned(64))) = {
	U6("00"), U6("01"), U6("02"), U6("03"), U6("04"), U6("05"), U6("06"), U6("07"),
	S2("b"),  S2("t"),  S2("n"),  U6("0b"), S2("f"),  S2("r"),  U6("0e"), U6("0f"),
	U6("10"), U6("11"), U6("12"), U6("13"), U6("14"), U6("15"), U6("16"), U6("17"),
	U6("18"), U6("19"), U6("1a"), U6("1b"), U6("1c"), U6("1d"), U6("1e"), U6("1f"),
	R2(0x20), S2("\""), R1(0x23), R4(0x24), R8(0x28), R16(0x30),
	R16(0x40), R8(0x50), R4(0x58), S2("\\"), R1(0x5d), R2(0x5e),
	R16(0x60), R8(0x70), R4(0x78), R2(0x7c), R1(0x7e), U6("7f"),
	R32(0x80), R32(0xa0), R32(0xc0), R16(0xe0), R8(0xf0), R4(0xf8), R2(0xfc),
	[BYTE_SILENT] = {"", 0}, [BYTE_REPLACE] = {"\xef\xbf\xbd", 3},
};
/* clang-format on */

/* The longest token is \u00XX; a U+FFFD is shorter than that. */
#define TOKEN_MAX 6

/* Input is taken in pieces, so that a long clean text does not ask for six times its size. */
#define PIECE_LEN ((size_t)1024)

/* What of the next piece may be taken along with it: a sequence, or a block. */
#define PIECE_MORE 64

/* Stores are 8 or 16 bytes wide and may end behind what counts. */
#define STORE_SLACK 32

_Static_assert((PIECE_LEN + PIECE_MORE) * TOKEN_MAX + STORE_SLACK == JSON_PIECE_ROOM,
	       "what the header says");

static inline char *put_token(char *out, uint8_t c)
{
	const struct token *t = &tokens[c];
	uint64_t all;

	memcpy(&all, t, sizeof(all));
	memcpy(out, &all, sizeof(all));
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	/* The length is the top byte of what was loaded: a shift costs less than a second load (30 %). */
	return out + (all >> 56);
#else
	return out + t->len;
#endif
}

/* Writes what starts at p[*i] and moves *i behind it; false for an ill-formed subpart. */
static inline bool put_sequence(char **out, const uint8_t *p, size_t n, size_t *i)
{
	size_t len;

	if (p[*i] < 0x80) {
		*out = put_token(*out, p[(*i)++]);
		return true;
	}

	len = utf8_sequence(p + *i, n - *i);
	if (len == 0) {
		*out = put_token(*out, BYTE_REPLACE);
		*i += utf8_bad_subpart(p + *i, n - *i);
		return false;
	}

	memcpy(*out, p + *i, len);
	*out += len;
	*i += len;
	return true;
}

/* Room for what the input from @i to the piece's end, and the sequence or block there, can become. */
static char *piece_room(struct buf *b, size_t n, size_t i, size_t *ret_end)
{
	size_t left = n - i, take = MIN(left, PIECE_LEN);
	size_t reach = MIN(left, PIECE_LEN + PIECE_MORE);

	if (!buf_room(b, reach * TOKEN_MAX + STORE_SLACK))
		return NULL;
	*ret_end = i + take;
	return b->data + b->len;
}

bool json_string_body_scalar(struct buf *b, const char *text, size_t n)
{
	const uint8_t *p = (const uint8_t *)text;
	size_t i = 0, end;
	bool valid = true;
	char *out;

	while (i < n) {
		out = piece_room(b, n, i, &end);
		if (!out)
			return valid;
		while (i < end)
			valid &= put_sequence(&out, p, n, &i);
		b->len = (size_t)(out - b->data);
	}
	return valid;
}

#ifdef __SSE2__

#define BLOCK_LEN UTF8_BLOCK_LEN

/* A segment is copied 16 bytes at a time from any place in the block. */
#define BLOCK_READ (BLOCK_LEN + 16)

static inline void copy_16(char *out, const uint8_t *p)
{
	_mm_storeu_si128((__m128i *)out, utf8_load(p));
}

/*
 * Bytes that are not plain ASCII text. Adding one makes DEL negative like all that is not ASCII, and then one
 * signed comparison finds these and the C0 controls.
 */
static inline __m128i unplain(__m128i v)
{
	__m128i control = _mm_cmplt_epi8(_mm_add_epi8(v, utf8_byte(1)), utf8_byte(0x21));

	return _mm_or_si128(control, _mm_or_si128(utf8_equal(v, '"'), utf8_equal(v, '\\')));
}

static inline char *put_segment(char *out, const uint8_t *p, size_t len)
{
	copy_16(out, p);
	for (size_t k = 16; k < len; k += 16)
		copy_16(out + k, p + k);
	return out + len;
}

/* @len bytes of which those in @escapes need a token and the others are copied. */
static inline char *put_segments(char *out, const uint8_t *p, size_t len, uint64_t escapes)
{
	size_t from = 0;

	for (; escapes; escapes &= escapes - 1) {
		size_t at = (size_t)__builtin_ctzll(escapes);

		out = put_segment(out, p + from, at - from);
		out = put_token(out, p[at]);
		from = at + 1;
	}
	return put_segment(out, p + from, len - from);
}

/* 0xff in each byte whose bit is set. */
static inline __m128i spread(uint64_t bits)
{
	const __m128i each = _mm_set1_epi64x((long long)0x8040201008040201ULL);
	__m128i v = _mm_cvtsi32_si128((int)(bits & 0xffff));

	/* The low byte to the first eight lanes and the high byte to the rest: two, four, eight of each. */
	v = _mm_unpacklo_epi8(v, v);
	v = _mm_shufflelo_epi16(v, 0x50);
	v = _mm_shuffle_epi32(v, 0x50);
	return _mm_cmpeq_epi8(_mm_and_si128(v, each), each);
}

/*
 * A block with ill-formed bytes: every byte goes through the table without a branch, because in binary data
 * no branch would be predicted. The marks replace the bytes that must not come out.
 */
static char *put_marked(char *out, const uint8_t *p, const struct utf8_block *block)
{
	uint8_t marked[BLOCK_LEN] __attribute__((aligned(16)));
	uint64_t drop = block->silent;

	if (block->len < BLOCK_LEN)
		drop |= UINT64_MAX << block->len;

	for (size_t k = 0; k < BLOCK_LEN; k += 16) {
		__m128i silent = spread(drop >> k), bad = spread(block->bad >> k);
		__m128i v = _mm_or_si128(utf8_load(p + k), _mm_or_si128(silent, bad));

		/* 0xff - 1 is BYTE_SILENT; adding the mask of all ones subtracts one. */
		_mm_store_si128((__m128i *)(marked + k), _mm_add_epi8(v, silent));
	}

	for (size_t k = 0; k < BLOCK_LEN; k += 4) {
		out = put_token(out, marked[k]);
		out = put_token(out, marked[k + 1]);
		out = put_token(out, marked[k + 2]);
		out = put_token(out, marked[k + 3]);
	}
	return out;
}

/* Writes one block of which @special are not plain ASCII; *ret_len bytes are done. */
static inline char *put_wide(char *out, const uint8_t *p, uint64_t special, uint64_t high,
			     size_t *ret_len, bool *valid)
{
	struct utf8_block block;

	utf8_block_read(&block, p);
	*ret_len = block.len;
	if (block.bad) {
		*valid = false;
		return put_marked(out, p, &block);
	}
	special &= UINT64_MAX >> (BLOCK_LEN - block.len);
	return put_segments(out, p, block.len, special & ~high);
}

static inline char *put_block(char *out, const uint8_t *p, size_t *ret_len, bool *valid)
{
	__m128i v0 = utf8_load(p), v1 = utf8_load(p + 16);
	__m128i v2 = utf8_load(p + 32), v3 = utf8_load(p + 48);
	uint64_t special = utf8_mask(unplain(v0), unplain(v1), unplain(v2), unplain(v3));
	uint64_t high;

	*ret_len = BLOCK_LEN;
	if (special == 0) {
		_mm_storeu_si128((__m128i *)out, v0);
		_mm_storeu_si128((__m128i *)(out + 16), v1);
		_mm_storeu_si128((__m128i *)(out + 32), v2);
		_mm_storeu_si128((__m128i *)(out + 48), v3);
		return out + BLOCK_LEN;
	}

	high = utf8_mask(v0, v1, v2, v3);
	if (high)
		return put_wide(out, p, special, high, ret_len, valid);
	return put_segments(out, p, BLOCK_LEN, special);
}

static inline bool all_plain(__m128i v)
{
	return _mm_movemask_epi8(unplain(v)) == 0;
}

/*
 * Copies 4 to 15 bytes, from both ends towards the middle; false when one of them is not plain, or
 * when there are fewer: they go one by one as fast. Bytes read twice do not change the answer.
 */
static inline bool copy_plain(char *out, const uint8_t *p, size_t n)
{
	uint64_t head = 0, tail = 0;

	if (n >= 8) {
		memcpy(&head, p, 8);
		memcpy(&tail, p + n - 8, 8);
		memcpy(out, &head, 8);
		memcpy(out + n - 8, &tail, 8);
		return all_plain(_mm_set_epi64x((long long)tail, (long long)head));
	}
	if (n >= 4) {
		memcpy(&head, p, 4);
		memcpy(&tail, p + n - 4, 4);
		memcpy(out, &head, 4);
		memcpy(out + n - 4, &tail, 4);
		return all_plain(_mm_set1_epi64x((long long)(head | tail << 32)));
	}
	return false;
}

/* What is too short for a block, as most strings are: names, paths, addresses. Clean 16 bytes need one look. */
static bool body_short(struct buf *b, const uint8_t *p, size_t n, size_t i)
{
	bool valid = true;
	size_t end;
	char *out;

	if (!buf_room(b, (n - i) * TOKEN_MAX + STORE_SLACK))
		return valid;

	out = b->data + b->len;
	while (i < n) {
		if (n - i >= 16 && all_plain(utf8_load(p + i))) {
			copy_16(out, p + i);
			out += 16;
			i += 16;
			continue;
		}
		if (n - i < 16 && copy_plain(out, p + i, n - i)) {
			out += n - i;
			break;
		}
		for (end = MIN(n, i + 16); i < end;)
			valid &= put_sequence(&out, p, n, &i);
	}
	b->len = (size_t)(out - b->data);
	return valid;
}

bool json_string_body(struct buf *b, const char *p, size_t n)
{
	const uint8_t *s = (const uint8_t *)p;
	size_t i = 0, end, len;
	bool valid = true;
	char *out;

	while (n - i >= BLOCK_READ) {
		out = piece_room(b, n, i, &end);
		if (!out)
			return valid;
		while (i < end && n - i >= BLOCK_READ) {
			out = put_block(out, s + i, &len, &valid);
			i += len;
		}
		b->len = (size_t)(out - b->data);
	}
	return body_short(b, s, n, i) && valid;
}

#else

bool json_string_body(struct buf *b, const char *p, size_t n)
{
	return json_string_body_scalar(b, p, n);
}

#endif

bool json_string(struct buf *b, const char *p, size_t n)
{
	bool valid;

	buf_add_char(b, '"');
	valid = json_string_body(b, p, n);
	buf_add_char(b, '"');
	return valid;
}

/* ---- numbers ---- */

/*
 * The eight digits of a number below 10^8, the first one in the lowest byte, as numbers from 0 to 9. Each step
 * halves all groups of digits at once; the factors are reciprocals, exact for the size of a group.
 */
static inline uint64_t eight_digits(uint32_t value)
{
	uint64_t fours = value / 10000 | (uint64_t)(value % 10000) << 32;
	uint64_t tops = (fours * 10486 >> 20) & 0x0000007f0000007fULL;
	uint64_t twos = tops | (fours - 100 * tops) << 16;

	tops = (twos * 103 >> 10) & 0x000f000f000f000fULL;
	return tops | (twos - 10 * tops) << 8;
}

#define ASCII_ZEROS 0x3030303030303030ULL

char *json_put_eight_digits(char *out, uint32_t value)
{
	uint64_t text = htole64(eight_digits(value) + ASCII_ZEROS);

	memcpy(out, &text, sizeof(text));
	return out + sizeof(text);
}

/*
 * How many digits a number has, without a branch: what is added carries into the upper half, by number of bits, when
 * the number is not less than the power of ten among those of as many bits.
 */
static inline unsigned digit_count(uint32_t value)
{
#define FROM(digits, power) ((uint64_t)(digits) << 32) - (power)
	static const uint64_t by_bits[] = {
		FROM(1, 0), FROM(1, 0),         FROM(1, 0), FROM(2, 10),       FROM(2, 0),
		FROM(2, 0), FROM(3, 100),       FROM(3, 0), FROM(3, 0),        FROM(4, 1000),
		FROM(4, 0), FROM(4, 0),         FROM(4, 0), FROM(5, 10000),    FROM(5, 0),
		FROM(5, 0), FROM(6, 100000),    FROM(6, 0), FROM(6, 0),        FROM(7, 1000000),
		FROM(7, 0), FROM(7, 0),         FROM(7, 0), FROM(8, 10000000), FROM(8, 0),
		FROM(8, 0), FROM(9, 100000000),
	};
#undef FROM
	/* below 10^8 there are 27 bits at most */
	return (unsigned)((value + by_bits[31 - __builtin_clz(value | 1)]) >> 32);
}

/*
 * Without leading zeros. Where the next text begins is known before the digits are: the processor goes on with it
 * meanwhile.
 */
static inline char *put_below_1e8(char *out, uint32_t value)
{
	unsigned n = digit_count(value);
	uint64_t text = htole64((eight_digits(value) + ASCII_ZEROS) >> 8 * (8 - n));

	memcpy(out, &text, sizeof(text));
	return out + n;
}

char *json_put_digits(char *out, uint64_t value)
{
	const uint64_t e8 = 100000000;

	if (value < e8)
		return put_below_1e8(out, (uint32_t)value);
	if (value < e8 * e8) {
		out = put_below_1e8(out, (uint32_t)(value / e8));
	} else {
		out = put_below_1e8(out, (uint32_t)(value / (e8 * e8)));
		out = json_put_eight_digits(out, (uint32_t)(value / e8 % e8));
	}
	return json_put_eight_digits(out, (uint32_t)(value % e8));
}

void json_u64(struct buf *b, uint64_t value)
{
	if (buf_room(b, JSON_NUMBER_MAX + JSON_PUT_SLACK))
		b->len = (size_t)(json_put_u64(b->data + b->len, value) - b->data);
}

void json_u32(struct buf *b, uint32_t value)
{
	json_u64(b, value);
}

void json_i64(struct buf *b, int64_t value)
{
	if (buf_room(b, JSON_NUMBER_MAX + JSON_PUT_SLACK))
		b->len = (size_t)(json_put_i64(b->data + b->len, value) - b->data);
}

void json_boolean(struct buf *b, bool value)
{
	if (value)
		buf_add_lit(b, "true");
	else
		buf_add_lit(b, "false");
}

void json_fixed(struct buf *b, uint64_t value, unsigned decimals)
{
	char digits[JSON_NUMBER_MAX + JSON_PUT_SLACK];
	size_t len = (size_t)(json_put_u64(digits, value) - digits);

	if (decimals == 0) {
		buf_add(b, digits, len);
		return;
	}
	if (len > decimals) {
		buf_add(b, digits, len - decimals);
		buf_add_char(b, '.');
		buf_add(b, digits + len - decimals, decimals);
		return;
	}

	buf_add_lit(b, "0.");
	for (size_t zeros = decimals - len; zeros; zeros--)
		buf_add_char(b, '0');
	buf_add(b, digits, len);
}

/* ---- base64 ---- */

static const char base64_digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Two digits for every 12 bits: half the look-ups, which are what the time goes into. */
static char base64_pairs[1 << 12][2];

__attribute__((constructor)) static void fill_base64_pairs(void)
{
	for (unsigned i = 0; i < 1 << 12; i++) {
		base64_pairs[i][0] = base64_digits[i >> 6];
		base64_pairs[i][1] = base64_digits[i & 63];
	}
}

static inline char *put_base64(char *out, uint32_t three)
{
	memcpy(out, base64_pairs[three >> 12], 2);
	memcpy(out + 2, base64_pairs[three & 0xfff], 2);
	return out + 4;
}

#ifdef __x86_64__
/*
 * Twelve bytes at once. A shuffle puts the three bytes of a group into four places, two multiplications
 * shift the six bits of each to where they belong, and a table of differences makes digits of them.
 */
__attribute__((target("ssse3"))) static char *put_base64_ssse3(char *out, const uint8_t **from,
							       const uint8_t *end)
{
	const __m128i places = _mm_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10);
	/* by what a digit differs from its value: 0 to 25 have row 13, 26 to 51 row 0, 52 and on 1 to 12 */
	const __m128i differences = _mm_setr_epi8('a' - 26, '0' - 52, '0' - 52, '0' - 52, '0' - 52,
						  '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52,
						  '0' - 52, '+' - 62, '/' - 63, 'A', 0, 0);
	const uint8_t *s = *from;

	for (; end - s >= 16; s += 12, out += 16) {
		__m128i in = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)s), places);
		__m128i odd = _mm_mulhi_epu16(_mm_and_si128(in, _mm_set1_epi32(0x0fc0fc00)),
					      _mm_set1_epi32(0x04000040));
		__m128i even = _mm_mullo_epi16(_mm_and_si128(in, _mm_set1_epi32(0x003f03f0)),
					       _mm_set1_epi32(0x01000010));
		__m128i value = _mm_or_si128(odd, even);
		__m128i row = _mm_subs_epu8(value, _mm_set1_epi8(51));
		__m128i capital = _mm_cmpgt_epi8(_mm_set1_epi8(26), value);

		row = _mm_or_si128(row, _mm_and_si128(capital, _mm_set1_epi8(13)));
		_mm_storeu_si128((__m128i *)out,
				 _mm_add_epi8(_mm_shuffle_epi8(differences, row), value));
	}
	*from = s;
	return out;
}
#endif

void json_base64(struct buf *b, const void *p, size_t n)
{
	const uint8_t *s = p, *end = s + n;
	size_t left;
	char *out;

	/* n / 3 + 1 groups of four and two quotes; a size that overflows here cannot exist in memory. */
	if (!buf_room(b, (n / 3 + 1) * 4 + 2))
		return;

	out = b->data + b->len;
	*out++ = '"';
#ifdef __x86_64__
	if (__builtin_cpu_supports("ssse3"))
		out = put_base64_ssse3(out, &s, end);
#endif
	for (; end - s >= 3; s += 3)
		out = put_base64(out, (uint32_t)s[0] << 16 | (uint32_t)s[1] << 8 | s[2]);

	left = (size_t)(end - s);
	if (left) {
		out = put_base64(out, (uint32_t)s[0] << 16 | (left == 2 ? (uint32_t)s[1] << 8 : 0));
		memset(out - (3 - left), '=', 3 - left);
	}
	*out++ = '"';
	b->len = (size_t)(out - b->data);
}

/* ---- addresses ---- */

/* What a byte of an address becomes, behind it a dot; a length of four includes that. */
struct octet {
	char text[4];
	uint8_t len;
};

static struct octet octets[256];

__attribute__((constructor)) static void fill_octets(void)
{
	char text[JSON_NUMBER_MAX + JSON_PUT_SLACK];

	for (unsigned i = 0; i < 256; i++) {
		char *end = json_put_u64(text, i);

		*end++ = '.';
		memcpy(octets[i].text, text, sizeof(octets[i].text));
		octets[i].len = (uint8_t)(end - text);
	}
}

/* Four bytes with dots between them. */
static char *put_dotted(char *out, const uint8_t ip[4])
{
	for (int i = 0; i < 4; i++) {
		memcpy(out, octets[ip[i]].text, sizeof(octets[0].text));
		out += octets[ip[i]].len;
	}
	return out - 1; /* the last dot */
}

static char *put_hex(char *out, unsigned group)
{
	unsigned digits = (unsigned)(35 - __builtin_clz(group | 1)) / 4;

	for (unsigned i = digits; i-- > 0; group >>= 4)
		out[i] = "0123456789abcdef"[group & 15];
	return out + digits;
}

/* RFC 5952, 4.2: the longest run of two or more zero groups, the first among equals, becomes "::". */
static void longest_zeros(const uint8_t ip[16], int *ret_first, int *ret_n)
{
	int n = 0;

	*ret_first = -1;
	*ret_n = 1;
	for (int i = 0; i < 8; i++) {
		n = ip[2 * i] | ip[2 * i + 1] ? 0 : n + 1;
		if (n > *ret_n) {
			*ret_n = n;
			*ret_first = i + 1 - n;
		}
	}
}

/* ::1.2.3.4, once used by IPv4-compatible addresses, is still how the C library writes them. */
static bool ends_dotted(int first_zero, int n_zeros)
{
	return first_zero == 0 && n_zeros == 6;
}

static char *put_colons(char *out, const uint8_t ip[16])
{
	int first, n;

	longest_zeros(ip, &first, &n);
	for (int i = 0; i < 8; i++) {
		if (i == first) {
			*out++ = ':';
			i += n - 1;
			if (i == 7)
				*out++ = ':';
			continue;
		}
		if (i)
			*out++ = ':';
		if (i == 6 && ends_dotted(first, n))
			return put_dotted(out, ip + 12);
		out = put_hex(out, (unsigned)ip[2 * i] << 8 | ip[2 * i + 1]);
	}
	return out;
}

static bool ip_is_mapped(const uint8_t ip[16])
{
	static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

	return memcmp(ip, prefix, sizeof(prefix)) == 0;
}

char *json_put_ip(char *out, const uint8_t ip[16], int family)
{
	if (family != AF_INET && family != AF_INET6)
		return json_put_lit(out, "null");
	*out++ = '"';
	if (family == AF_INET || ip_is_mapped(ip))
		out = put_dotted(out, ip + 12);
	else
		out = put_colons(out, ip);
	*out++ = '"';
	return out;
}

void json_ip(struct buf *b, const uint8_t ip[16], int family)
{
	if (buf_room(b, JSON_ADDRESS_MAX + JSON_PUT_SLACK))
		b->len = (size_t)(json_put_ip(b->data + b->len, ip, family) - b->data);
}
