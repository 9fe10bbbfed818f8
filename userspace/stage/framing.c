/* SPDX-License-Identifier: MIT */
#include "stage/framing.h"

#include <string.h>

#include "base/cleanup.h"

#define SIZE_LINE_MAX 200 /* of a chunk, with its extensions */
#define SIZE_MAX_HEX  8

enum kind {
	FRESH,
	CHUNKS,
	FRAMES,
};

/* "\r\n1f;name=value\r\n": what was seen last. */
enum state {
	S_TEXT,
	S_CR,
	S_LF,
	S_HEX,
	S_EXTENSION,
	S_LAST_CR,
	S_DONE,
};

static bool is_hex(uint8_t c)
{
	return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
}

static enum state behind_hex(const struct framing *f, uint8_t c)
{
	if (is_hex(c) && f->n < SIZE_MAX_HEX)
		return S_HEX;
	if (c == ';' || c == ' ' || c == '\t')
		return S_EXTENSION;
	return c == '\r' ? S_LAST_CR : S_TEXT;
}

static enum state behind_extension(const struct framing *f, uint8_t c)
{
	if (c == '\r')
		return S_LAST_CR;
	return c >= ' ' && f->n < SIZE_LINE_MAX ? S_EXTENSION : S_TEXT;
}

/* S_TEXT: this is no size of a chunk. */
static enum state state_next(const struct framing *f, uint8_t c)
{
	switch ((enum state)f->state) {
	case S_TEXT:
		return c == '\r' ? S_CR : S_TEXT;
	case S_CR:
		return c == '\n' ? S_LF : S_TEXT;
	case S_LF:
		return is_hex(c) ? S_HEX : S_TEXT;
	case S_HEX:
		return behind_hex(f, c);
	case S_EXTENSION:
		return behind_extension(f, c);
	case S_LAST_CR:
		return c == '\n' ? S_DONE : S_TEXT;
	case S_DONE:
		break;
	}
	return S_TEXT;
}

/* Up to where a size may begin; most lines' ends are none, and are gone over here. */
static size_t text_len(const uint8_t *p, size_t n)
{
	for (size_t at = 0; at < n; at++) {
		const uint8_t *cr = memchr(p + at, '\r', n - at);

		if (!cr)
			return n;
		at = (size_t)(cr - p);
		if (n - at < 3 || (cr[1] == '\n' && is_hex(cr[2])))
			return at;
	}
	return n;
}

/* A size that the end of the piece cuts is taken for one. */
static size_t chunks_next(struct framing *f, const uint8_t *p, size_t n, bool *ret_content)
{
	size_t i = 0;

	*ret_content = false;
	while (i < n) {
		enum state before = f->state;

		f->state = state_next(f, p[i]);
		f->n = f->state == before ? f->n + 1 : 1;
		if (f->state == S_TEXT) {
			*ret_content = true;
			/* what does not fit may begin the next one */
			if (i)
				return i;
			if (before != S_TEXT && p[0] == '\r')
				continue;
			return MAX(text_len(p, n), (size_t)1);
		}
		i++;
		if (f->state == S_DONE) {
			f->state = S_TEXT;
			return i;
		}
	}
	return n;
}

static void frame_begin(struct framing *f)
{
	f->n = 0;
	f->left = (uint32_t)f->head[0] << 16 | (uint32_t)f->head[1] << 8 | f->head[2];
	f->text = f->head[3] == HTTP2_DATA || f->head[3] == HTTP2_HEADERS ||
		  f->head[3] == HTTP2_PUSH_PROMISE || f->head[3] == HTTP2_CONTINUATION;
}

static size_t frames_next(struct framing *f, const uint8_t *p, size_t n, bool *ret_content)
{
	size_t len;

	if (f->left) {
		len = MIN((size_t)f->left, n);
		f->left -= (uint32_t)len;
		*ret_content = f->text;
		return len;
	}
	len = MIN((size_t)HTTP2_FRAME_HEAD - f->n, n);
	memcpy(f->head + f->n, p, len);
	f->n += (uint8_t)len;
	if (f->n == HTTP2_FRAME_HEAD)
		frame_begin(f);
	*ret_content = false;
	return len;
}

/* Both sides of HTTP/2 begin with their settings, the client with a preface before. */
static void kind_find(struct framing *f, const uint8_t *p, size_t n)
{
	f->kind = CHUNKS;
	if (n >= HTTP2_PREFACE_LEN && !memcmp(p, HTTP2_PREFACE, HTTP2_PREFACE_LEN)) {
		f->kind = FRAMES;
		f->left = HTTP2_PREFACE_LEN;
	} else if (n >= HTTP2_FRAME_HEAD && http2_frame_begins(p)) {
		f->kind = FRAMES;
	}
}

size_t framing_next(struct framing *f, const uint8_t *p, size_t n, bool *ret_content)
{
	if (f->kind == FRESH)
		kind_find(f, p, n);
	if (f->kind == FRAMES)
		return frames_next(f, p, n, ret_content);
	return chunks_next(f, p, n, ret_content);
}

void framing_lose(struct framing *f)
{
	*f = (struct framing){.kind = CHUNKS};
}
