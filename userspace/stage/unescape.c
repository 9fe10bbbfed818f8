/* SPDX-License-Identifier: MIT */
#include "stage/unescape.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/cleanup.h"
#include "base/hex.h"

#define NO_ASCII 0xff /* stands for any character that is none */

/* Nearly all backslashes of JSON stand before an n or a quote: these cost no look of their own. */
static const uint8_t *skip_others(const uint8_t *in, const uint8_t *end)
{
#ifdef __SSE2__
	for (; end - in > 16; in += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)in);
		__m128i next = _mm_loadu_si128((const __m128i *)(const void *)(in + 1));
		__m128i slash = _mm_cmpeq_epi8(v, _mm_set1_epi8('\\'));
		__m128i wanted = _mm_or_si128(_mm_cmpeq_epi8(next, _mm_set1_epi8('/')),
					      _mm_cmpeq_epi8(next, _mm_set1_epi8('u')));

		if (_mm_movemask_epi8(_mm_and_si128(slash, wanted)))
			break;
	}
#endif
	return in;
}

bool unescape_needed(const uint8_t *in, size_t n)
{
	const uint8_t *end = in + n;

	/* most texts have none at all, and memchr() is the fastest to say so */
	in = memchr(in, '\\', n);
	if (!in)
		return false;
	for (in = skip_others(in, end); in < end; in++) {
		if (*in == '\\' && (in + 1 == end || in[1] == '/' || in[1] == 'u'))
			return true;
	}
	return false;
}

static size_t held_slashes(const struct unescape *u)
{
	size_t n = 0;

	while (n < u->n_held && u->held[n] == '\\')
		n++;
	return n;
}

/* May @c continue what is held? */
static bool escape_fits(const struct unescape *u, size_t slashes, uint8_t c)
{
	if (slashes == u->n_held)
		return c == '\\' ? slashes < UNESCAPE_SLASHES : c == 'u' || c == '/';
	return hex_digit((char)c) >= 0;
}

static size_t put(uint8_t *out, const uint8_t *p, size_t n)
{
	if (out)
		memcpy(out, p, n);
	return n;
}

/* What was held is no escape. */
static size_t put_held(struct unescape *u, uint8_t *out)
{
	size_t n = put(out, u->held, u->n_held);

	u->n_held = 0;
	return n;
}

/*
 * The escape that @last completes. A quote inside a string inside this one keeps the backslashes that tell
 * it from the quotes of this one: half of them, as each level doubles them.
 */
static size_t put_escape(struct unescape *u, size_t slashes, uint8_t last, uint8_t *out)
{
	uint8_t text[UNESCAPE_SLASHES / 2 + 1];
	unsigned value = last;
	size_t n = 0;

	if (last != '/' || u->n_held > slashes) {
		value = 0;
		for (size_t i = slashes + 1; i < u->n_held; i++)
			value = value << 4 | (unsigned)hex_digit((char)u->held[i]);
		value = value << 4 | (unsigned)hex_digit((char)last);
	}
	if (value == '"' || value == '\'' || value == '\\') {
		n = slashes / 2;
		memset(text, '\\', n);
	}
	text[n++] = value < 0x80 ? (uint8_t)value : NO_ASCII;
	u->n_held = 0;
	return put(out, text, n);
}

/* What is held with what may belong to it; returns how much of @in that is. */
static size_t next_escape(struct unescape *u, const uint8_t *in, size_t n, uint8_t *out,
			  size_t *ret_made)
{
	*ret_made = 0;
	for (size_t i = 0; i < n; i++) {
		size_t slashes = held_slashes(u);

		if (!escape_fits(u, slashes, in[i])) {
			*ret_made = put_held(u, out);
			return i;
		}
		if ((slashes == u->n_held && in[i] == '/') || u->n_held == slashes + 4) {
			*ret_made = put_escape(u, slashes, in[i], out);
			return i + 1;
		}
		u->held[u->n_held++] = in[i];
	}
	return n;
}

/* A run without escapes, or one escape, into @out (NULL: only told how long it would be). */
static size_t next_part(struct unescape *u, const uint8_t *in, size_t n, uint8_t *out,
			size_t *ret_made)
{
	const uint8_t *slash;

	if (u->n_held || in[0] == '\\')
		return next_escape(u, in, n, out, ret_made);
	slash = memchr(in, '\\', n);
	*ret_made = put(out, in, slash ? (size_t)(slash - in) : n);
	return *ret_made;
}

size_t unescape_piece(struct unescape *u, const uint8_t *in, size_t n, uint8_t *out)
{
	size_t made, total = 0;

	for (size_t at = 0; at < n; total += made)
		at += next_part(u, in + at, n - at, out + total, &made);
	return total;
}

size_t unescape_end(struct unescape *u, uint8_t *out)
{
	return put_held(u, out);
}

void unescape_map(struct unescape u, const uint8_t *in, size_t n, struct secret_span *spans,
		  size_t n_spans)
{
	size_t at = 0, to = 0, len = 0, made, from = 0, until = 0, i = 0;
	bool open = false;

	for (; at < n; at += len, to += made) {
		bool plain = !u.n_held && in[at] != '\\';

		len = next_part(&u, in + at, n - at, NULL, &made);
		while (i < n_spans && (open || spans[i].off < to + made)) {
			if (!open) {
				from = plain ? at + spans[i].off - to : at;
				until = spans[i].off + spans[i].len;
			}
			open = until > to + made;
			if (open)
				break;
			spans[i].off = from;
			spans[i].len = (plain ? at + until - to : at + len) - from;
			i++;
		}
	}
	if (i && i == n_spans && until == to)
		spans[i - 1].len = n - spans[i - 1].off;
	/* in what is held */
	for (; i < n_spans; i++, open = false) {
		from = open ? from : n - len;
		spans[i] = (struct secret_span){from, n - from};
	}
}
