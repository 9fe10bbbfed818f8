/* SPDX-License-Identifier: MIT */
/*
 * The JSON writer. Strings are the hot part: payloads of 16 KiB pass through here. They are read 64 bytes at a
 * time; a block without anything to escape is copied, a block with escapes is copied in segments between
 * them without looking at it again, and UTF-8 is checked only where a byte has its high bit set.
 */
#include "base/json.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "base/cleanup.h"
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

/* Stores are 8 or 16 bytes wide and may end behind what counts. */
#define STORE_SLACK 32

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
	size_t reach = MIN(left, PIECE_LEN + 64);

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
		if (n - i >= 16 && _mm_movemask_epi8(unplain(utf8_load(p + i))) == 0) {
			copy_16(out, p + i);
			out += 16;
			i += 16;
			continue;
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

/* Two digits per division. */
static const char digit_pairs[] = "00010203040506070809101112131415161718192021222324"
				  "25262728293031323334353637383940414243444546474849"
				  "50515253545556575859606162636465666768697071727374"
				  "75767778798081828384858687888990919293949596979899";

/* UINT64_MAX has twenty digits. */
#define DIGITS_MAX 20

/* Writes the digits so that they end at @end; returns where they begin. */
static inline char *digits_before(char *end, uint64_t value)
{
	while (value >= 100) {
		end -= 2;
		memcpy(end, &digit_pairs[value % 100 * 2], 2);
		value /= 100;
	}
	if (value < 10) {
		*--end = (char)('0' + value);
		return end;
	}
	end -= 2;
	memcpy(end, &digit_pairs[value * 2], 2);
	return end;
}

void json_u64(struct buf *b, uint64_t value)
{
	char digits[DIGITS_MAX];
	char *end = digits + sizeof(digits);
	char *begin = digits_before(end, value);

	buf_add(b, begin, (size_t)(end - begin));
}

void json_u32(struct buf *b, uint32_t value)
{
	json_u64(b, value);
}

void json_i64(struct buf *b, int64_t value)
{
	/* Negated as unsigned: -INT64_MIN does not fit an int64_t. */
	uint64_t size = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

	if (value < 0)
		buf_add_char(b, '-');
	json_u64(b, size);
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
	char digits[DIGITS_MAX];
	char *end = digits + sizeof(digits);
	char *begin = digits_before(end, value);
	size_t len = (size_t)(end - begin);

	if (decimals == 0) {
		buf_add(b, begin, len);
		return;
	}
	if (len > decimals) {
		buf_add(b, begin, len - decimals);
		buf_add_char(b, '.');
		buf_add(b, end - decimals, decimals);
		return;
	}

	buf_add_lit(b, "0.");
	for (size_t zeros = decimals - len; zeros; zeros--)
		buf_add_char(b, '0');
	buf_add(b, begin, len);
}

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

void json_base64(struct buf *b, const void *p, size_t n)
{
	const uint8_t *s = p;
	size_t i, left;
	char *out;

	/* n / 3 + 1 groups of four and two quotes; a size that overflows here cannot exist in memory. */
	if (!buf_room(b, (n / 3 + 1) * 4 + 2))
		return;

	out = b->data + b->len;
	*out++ = '"';
	for (i = 0; n - i >= 3; i += 3)
		out = put_base64(out, (uint32_t)s[i] << 16 | (uint32_t)s[i + 1] << 8 | s[i + 2]);

	left = n - i;
	if (left) {
		out = put_base64(out,
				 (uint32_t)s[i] << 16 | (left == 2 ? (uint32_t)s[i + 1] << 8 : 0));
		memset(out - (3 - left), '=', 3 - left);
	}
	*out++ = '"';
	b->len = (size_t)(out - b->data);
}

static void ip_dotted(struct buf *b, const uint8_t ip[4])
{
	buf_add_char(b, '"');
	for (int i = 0; i < 4; i++) {
		if (i)
			buf_add_char(b, '.');
		json_u32(b, ip[i]);
	}
	buf_add_char(b, '"');
}

static void ip_colons(struct buf *b, const uint8_t ip[16])
{
	char text[INET6_ADDRSTRLEN];

	/* Cannot fail: the family is known and the text fits. */
	inet_ntop(AF_INET6, ip, text, sizeof(text));
	buf_add_char(b, '"');
	buf_add_str(b, text);
	buf_add_char(b, '"');
}

static bool ip_is_mapped(const uint8_t ip[16])
{
	static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

	return memcmp(ip, prefix, sizeof(prefix)) == 0;
}

void json_ip(struct buf *b, const uint8_t ip[16], int family)
{
	if (family != AF_INET && family != AF_INET6)
		buf_add_lit(b, "null");
	else if (family == AF_INET || ip_is_mapped(ip))
		ip_dotted(b, ip + 12);
	else
		ip_colons(b, ip);
}
