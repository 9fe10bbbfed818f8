/* SPDX-License-Identifier: MIT */
#include "base/value.h"

#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/cleanup.h"
#include "base/hex.h"
#include "base/utf8.h"

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static const char *skip_space(const char *p, const char *end)
{
	while (p < end && is_space(*p))
		p++;
	return p;
}

/* ---- what a value spans: behind its last byte, NULL when it is cut off or no JSON ---- */

/* Bytes that end a run inside a string: quote, backslash, control characters. */
static const bool string_stops[256] = {
	[0x00 ... 0x1f] = true,
	['"'] = true,
	['\\'] = true,
};

static const char *skip_escape(const char *p, const char *end)
{
	static const bool short_forms[256] = {
		['"'] = true, ['\\'] = true, ['/'] = true, ['b'] = true,
		['f'] = true, ['n'] = true,  ['r'] = true, ['t'] = true,
	};

	if (end - p < 2)
		return NULL;
	if (p[1] != 'u')
		return short_forms[(unsigned char)p[1]] ? p + 2 : NULL;
	if (end - p < 6)
		return NULL;
	for (int i = 2; i < 6; i++) {
		if (hex_digit(p[i]) < 0)
			return NULL;
	}
	return p + 6;
}

/* The first of these bytes. Requests are walked several times, and nearly all of them is strings. */
static const char *find_stop(const char *p, const char *end)
{
#ifdef __SSE2__
	for (; end - p >= 16; p += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)p);
		__m128i control = _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1f)), v);
		__m128i quote = _mm_cmpeq_epi8(v, _mm_set1_epi8('"'));
		__m128i escape = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'));
		int stops = _mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, escape), control));

		if (stops)
			return p + __builtin_ctz((unsigned)stops);
	}
#endif
	while (p < end && !string_stops[(unsigned char)*p])
		p++;
	return p;
}

static const char *skip_string(const char *p, const char *end)
{
	for (p++; p;) {
		p = find_stop(p, end);
		if (p == end)
			return NULL;
		if (*p == '"')
			return p + 1;
		p = *p == '\\' ? skip_escape(p, end) : NULL;
	}
	return NULL;
}

static const char *skip_digits(const char *p, const char *end)
{
	const char *from = p;

	while (p < end && is_digit(*p))
		p++;
	return p > from ? p : NULL;
}

static const char *skip_number(const char *p, const char *end)
{
	if (*p == '-')
		p++;
	if (p < end && *p == '0')
		p++;
	else
		p = skip_digits(p, end);
	if (p && p < end && *p == '.')
		p = skip_digits(p + 1, end);
	if (p && p < end && (*p | 0x20) == 'e') {
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		p = skip_digits(p, end);
	}
	return p;
}

static const char *skip_word(const char *p, const char *end)
{
	static const char *const words[] = {"true", "false", "null"};

	for (size_t i = 0; i < 3; i++) {
		size_t n = strlen(words[i]);

		if ((size_t)(end - p) >= n && !memcmp(p, words[i], n))
			return p + n;
	}
	return NULL;
}

static const char *skip_scalar(const char *p, const char *end)
{
	if (p == end)
		return NULL;
	if (*p == '"')
		return skip_string(p, end);
	if (*p == '-' || is_digit(*p))
		return skip_number(p, end);
	return skip_word(p, end);
}

/* "key": and the space behind it. */
static const char *skip_key(const char *p, const char *end)
{
	if (p == end || *p != '"')
		return NULL;
	p = skip_string(p, end);
	if (!p)
		return NULL;
	p = skip_space(p, end);
	return p < end && *p == ':' ? skip_space(p + 1, end) : NULL;
}

/* Without recursion: the text decides how deep it is. @open holds the brackets that wait. */
static const char *skip_value(const char *p, const char *end)
{
	char open[VALUE_DEPTH_MAX];
	size_t depth = 0;

	open[0] = '\0';
	for (;;) {
		bool opened = p < end && (*p == '{' || *p == '[');

		if (opened) {
			if (depth == VALUE_DEPTH_MAX)
				return NULL;
			open[depth++] = *p == '{' ? '}' : ']';
			p = skip_space(p + 1, end);
		} else {
			p = skip_scalar(p, end);
			if (!p || !depth)
				return p;
			p = skip_space(p, end);
		}

		/* behind a value, or right behind a bracket: close what closes here */
		while (p < end && *p == open[depth - 1]) {
			p++;
			if (--depth == 0)
				return p;
			p = skip_space(p, end);
			opened = false;
		}
		if (!opened) {
			if (p == end || *p != ',')
				return NULL;
			p = skip_space(p + 1, end);
		}
		if (open[depth - 1] == '}')
			p = skip_key(p, end);
		if (!p)
			return NULL;
	}
}

struct value value_at(const char *p, size_t n)
{
	const char *end;

	if (!n)
		return (struct value){0};
	end = p + n;
	p = skip_space(p, end);
	while (end > p && is_space(end[-1]))
		end--;
	return p < end ? (struct value){p, (size_t)(end - p)} : (struct value){0};
}

bool value_whole(struct value v)
{
	return v.p && skip_value(v.p, v.p + v.len) == v.p + v.len;
}

enum value_kind value_kind(struct value v)
{
	if (!v.p)
		return VALUE_NONE;
	switch (*v.p) {
	case '{':
		return VALUE_OBJECT;
	case '[':
		return VALUE_ARRAY;
	case '"':
		return VALUE_STRING;
	case 't':
	case 'f':
		return VALUE_BOOL;
	case 'n':
		return VALUE_NULL;
	default:
		return *v.p == '-' || is_digit(*v.p) ? VALUE_NUMBER : VALUE_NONE;
	}
}

/* ---- members ---- */

struct value_walk value_walk(struct value container)
{
	enum value_kind kind = value_kind(container);

	if (kind != VALUE_ARRAY && kind != VALUE_OBJECT)
		return (struct value_walk){0};
	return (struct value_walk){
		.p = container.p + 1,
		.end = container.p + container.len,
		.close = kind == VALUE_OBJECT ? '}' : ']',
		.first = true,
	};
}

/* To where the next member begins; NULL at the end. */
static const char *next_begin(struct value_walk *w)
{
	const char *p = skip_space(w->p, w->end);

	if (p == w->end || *p == w->close)
		return NULL;
	if (!w->first) {
		if (*p != ',')
			return NULL;
		p = skip_space(p + 1, w->end);
	}
	w->first = false;
	return p;
}

bool value_next(struct value_walk *w)
{
	const char *p, *item;

	if (!w->p)
		return false;
	p = next_begin(w);
	w->p = NULL;
	if (!p)
		return false;
	item = p;
	if (w->close == '}') {
		item = skip_key(p, w->end);
		if (!item)
			return false;
		w->key = (struct value){p, (size_t)(skip_string(p, w->end) - p)};
	}

	p = skip_value(item, w->end);
	if (!p)
		return false;
	/* A number that the end of the text touches may have been longer; a container always has its end. */
	if (p == w->end)
		return false;
	w->item = (struct value){item, (size_t)(p - item)};
	w->p = p;
	return true;
}

bool value_is(struct value v, const char *text)
{
	size_t n = strlen(text);

	return value_kind(v) == VALUE_STRING && v.len == n + 2 && !memcmp(v.p + 1, text, n);
}

struct value value_get(struct value object, const char *key)
{
	struct value found = {0};

	value_pick(object, &key, 1, &found);
	return found;
}

void value_pick(struct value object, const char *const *keys, size_t n, struct value *out)
{
	struct value_walk w = value_walk(object);

	memset(out, 0, n * sizeof(*out));
	if (value_kind(object) != VALUE_OBJECT)
		return;
	while (value_next(&w)) {
		for (size_t i = 0; i < n; i++) {
			if (value_is(w.key, keys[i]))
				out[i] = w.item;
		}
	}
}

bool value_true(struct value v)
{
	return value_kind(v) == VALUE_BOOL && *v.p == 't';
}

bool value_u64(struct value v, uint64_t *ret)
{
	uint64_t n = 0;
	size_t i = 0;

	if (value_kind(v) != VALUE_NUMBER || *v.p == '-')
		return false;
	for (; i < v.len && is_digit(v.p[i]); i++) {
		if (__builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(v.p[i] - '0'), &n))
			return false;
	}
	if (i < v.len && v.p[i] == '.') {
		for (i++; i < v.len && v.p[i] == '0';)
			i++;
	}
	if (i < v.len)
		return false;
	*ret = n;
	return true;
}

/* ---- text ---- */

static void put_utf8(struct buf *out, uint32_t c)
{
	char s[4];

	buf_add(out, s, utf8_put(s, c));
}

static uint32_t four_digits(const char *p)
{
	uint32_t value = 0;

	for (int i = 0; i < 4; i++)
		value = value << 4 | ((uint32_t)hex_digit(p[i]) & 15);
	return value;
}

/* \uXXXX at @p, perhaps the first half of a pair; half a pair alone becomes U+FFFD. */
static const char *put_unicode(struct buf *out, const char *p, const char *end)
{
	uint32_t c = four_digits(p + 2), low = 0;
	bool high = c >= 0xd800 && c < 0xdc00;

	p += 6;
	if (high && end - p >= 6 && p[0] == '\\' && p[1] == 'u')
		low = four_digits(p + 2);
	if (low >= 0xdc00 && low < 0xe000) {
		put_utf8(out, 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00));
		return p + 6;
	}
	put_utf8(out, c >= 0xd800 && c < 0xe000 ? 0xfffd : c);
	return p;
}

static const char *put_escape(struct buf *out, const char *p, const char *end)
{
	static const char names[] = "bfnrt", values[] = "\b\f\n\r\t";
	const char *at;

	if (end - p < 2 || (p[1] == 'u' && end - p < 6))
		return end; /* not checked before, against the contract */
	if (p[1] == 'u')
		return put_unicode(out, p, end);
	at = strchr(names, p[1]);
	buf_add_char(out, at ? values[at - names] : p[1]);
	return p + 2;
}

bool value_text_upto(struct value v, struct buf *out, size_t max)
{
	const char *p, *end;
	size_t start = out->len;

	if (value_kind(v) != VALUE_STRING)
		return true;
	p = v.p + 1;
	end = v.p + v.len - 1;
	/* one byte more than wanted tells whether a character ends there */
	while (p < end && !out->failed && out->len - start <= max) {
		size_t n = MIN((size_t)(end - p), max + 1 - (out->len - start));
		const char *from = p;

		p = memchr(p, '\\', n);
		if (!p)
			p = from + n;
		buf_add(out, from, (size_t)(p - from));
		if (p < end && *p == '\\' && out->len - start <= max)
			p = put_escape(out, p, end);
	}
	if (out->failed || out->len - start <= max)
		return !out->failed;
	out->len = start + utf8_cut(out->data + start, out->len - start, max);
	return false;
}

void value_text(struct value v, struct buf *out)
{
	value_text_upto(v, out, SIZE_MAX / 2);
}

/* Everything but ill-formed UTF-8 stays; that becomes U+FFFD, as in all of our output. */
static void copy_utf8(struct buf *out, const char *p, size_t n)
{
	while (n) {
		size_t good = utf8_valid_prefix(p, n);
		size_t bad;

		buf_add(out, p, good);
		if (good == n)
			return;
		bad = utf8_bad_subpart((const uint8_t *)p + good, n - good);
		buf_add_lit(out, "\xef\xbf\xbd");
		p += good + bad;
		n -= good + bad;
	}
}

/* The escape at @p as short as it can be: a character, or a backslash before it; 0: it is. */
static size_t shorter_escape(const char *p, char text[2])
{
	size_t len = 0;
	uint32_t c;

	if (p[1] != '/' && p[1] != 'u')
		return 0;
	c = p[1] == '/' ? '/' : four_digits(p + 2);
	if (c < ' ' || c > '~')
		return 0;
	if (c == '"' || c == '\\')
		text[len++] = '\\';
	text[len++] = (char)c;
	return len;
}

/* The string at @p, of which what stands before @from was copied; moves @from to what was not. */
static const char *copy_string(struct buf *out, const char *p, const char *end, const char **from)
{
	for (p++; p;) {
		const char *next;
		char text[2];
		size_t len;

		p = find_stop(p, end);
		if (p == end)
			return NULL;
		if (*p == '"')
			return p + 1;
		next = *p == '\\' ? skip_escape(p, end) : NULL;
		len = next ? shorter_escape(p, text) : 0;
		if (len) {
			copy_utf8(out, *from, (size_t)(p - *from));
			buf_add(out, text, len);
			*from = next;
		}
		p = next;
	}
	return NULL;
}

void value_copy(struct value v, struct buf *out)
{
	const char *p = v.p, *from = p, *end;

	if (!p)
		return;
	end = p + v.len;
	while (p < end) {
		if (*p == '"') {
			p = copy_string(out, p, end, &from);
			if (!p)
				return; /* not checked before, against the contract */
		} else if (is_space(*p)) {
			copy_utf8(out, from, (size_t)(p - from));
			p = from = skip_space(p, end);
		} else {
			p++;
		}
	}
	copy_utf8(out, from, (size_t)(end - from));
}
