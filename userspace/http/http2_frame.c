/* SPDX-License-Identifier: MIT */
/* Frame headers: one table of what RFC 9113 allows, and the search for a header in the middle of bytes. */
#include "http/http2_frame.h"

#include "base/cleanup.h"

#define LEN_MAX 0xffffffU

enum stream_rule {
	UNKNOWN_TYPE,
	ON_STREAM,
	ON_CONNECTION,
	ANYWHERE,
};

static const struct frame_rule {
	enum stream_rule stream;
	bool server_only;
	uint8_t flags;
	uint32_t min, max;
} rules[] = {
	[HTTP2_DATA] = {ON_STREAM, false, HTTP2_END_STREAM | HTTP2_PADDED, 0, LEN_MAX},
	[HTTP2_HEADERS] = {ON_STREAM, false,
			   HTTP2_END_STREAM | HTTP2_END_HEADERS | HTTP2_PADDED | HTTP2_HAS_PRIORITY,
			   0, LEN_MAX},
	[HTTP2_PRIORITY] = {ON_STREAM, false, 0, 5, 5},
	[HTTP2_RST_STREAM] = {ON_STREAM, false, 0, 4, 4},
	[HTTP2_SETTINGS] = {ON_CONNECTION, false, HTTP2_ACK, 0, LEN_MAX},
	[HTTP2_PUSH_PROMISE] = {ON_STREAM, true, HTTP2_END_HEADERS | HTTP2_PADDED, 4, LEN_MAX},
	[HTTP2_PING] = {ON_CONNECTION, false, HTTP2_ACK, 8, 8},
	[HTTP2_GOAWAY] = {ON_CONNECTION, false, 0, 8, LEN_MAX},
	[HTTP2_WINDOW_UPDATE] = {ANYWHERE, false, 0, 4, 4},
	[HTTP2_CONTINUATION] = {ON_STREAM, false, HTTP2_END_HEADERS, 0, LEN_MAX},
	[HTTP2_ALTSVC] = {ANYWHERE, true, 0, 2, LEN_MAX},
	[HTTP2_ORIGIN] = {ON_CONNECTION, true, 0, 0, LEN_MAX},
	[HTTP2_PRIORITY_UPDATE] = {ON_CONNECTION, false, 0, 4, LEN_MAX},
};

static const struct frame_rule *rule_of(const struct http2_frame *f)
{
	static const struct frame_rule unknown;

	return f->type < ARRAY_SIZE(rules) ? &rules[f->type] : &unknown;
}

struct http2_frame http2_frame_read(const uint8_t head[HTTP2_FRAME_HEAD])
{
	return (struct http2_frame){
		.len = (uint32_t)head[0] << 16 | (uint32_t)head[1] << 8 | head[2],
		.type = head[3],
		.flags = head[4],
		.reserved = head[5] >> 7,
		.id = (uint32_t)(head[5] & 0x7f) << 24 | (uint32_t)head[6] << 16 |
		      (uint32_t)head[7] << 8 | head[8],
	};
}

bool http2_frame_padded(const struct http2_frame *f)
{
	return rule_of(f)->flags & f->flags & HTTP2_PADDED;
}

size_t http2_frame_fixed(const struct http2_frame *f)
{
	static const uint8_t always[] = {
		[HTTP2_RST_STREAM] = 4,
		[HTTP2_PUSH_PROMISE] = 4,
		[HTTP2_GOAWAY] = 8,
	};
	size_t n = f->type < ARRAY_SIZE(always) ? always[f->type] : 0;

	n += http2_frame_padded(f);
	if (rule_of(f)->flags & f->flags & HTTP2_HAS_PRIORITY)
		n += 5;
	return n;
}

static bool stream_fits(const struct http2_frame *f, const struct frame_rule *rule)
{
	if (rule->stream == ON_STREAM)
		return f->id != 0;
	return rule->stream != ON_CONNECTION || f->id == 0;
}

static bool settings_fit(const struct http2_frame *f)
{
	if (f->type != HTTP2_SETTINGS)
		return true;
	return f->len % 6 == 0 && !(f->len && (f->flags & HTTP2_ACK));
}

/* A client numbers its streams odd, and sends nothing on those of the server but control frames. */
static bool parity_fits(const struct http2_frame *f, enum http_side side)
{
	bool payload =
		f->type == HTTP2_DATA || f->type == HTTP2_HEADERS || f->type == HTTP2_CONTINUATION;

	return side == HTTP_RESPONSE || !payload || f->id % 2 == 1;
}

bool http2_frame_legal(const struct http2_frame *f, enum http_side side)
{
	const struct frame_rule *rule = rule_of(f);

	/* extensions are short, and text that is taken for a header asks for megabytes */
	if (rule->stream == UNKNOWN_TYPE)
		return f->len <= HTTP2_FRAME_DEFAULT_MAX;
	if (rule->server_only && f->type == HTTP2_PUSH_PROMISE && side == HTTP_REQUEST)
		return false;
	return f->len >= rule->min && f->len <= rule->max && f->len >= http2_frame_fixed(f) &&
	       stream_fits(f, rule) && settings_fit(f) && parity_fits(f, side);
}

bool http2_frame_plausible(const struct http2_frame *f, enum http_side side)
{
	const struct frame_rule *rule = rule_of(f);

	if (rule->stream == UNKNOWN_TYPE || f->reserved || (f->flags & ~rule->flags))
		return false;
	if (rule->server_only && side == HTTP_REQUEST)
		return false;
	return http2_frame_legal(f, side);
}

bool http2_frame_begins(const uint8_t head[HTTP2_FRAME_HEAD])
{
	struct http2_frame f = http2_frame_read(head);

	return f.type == HTTP2_SETTINGS && f.len <= HTTP2_FRAME_DEFAULT_MAX &&
	       !(f.flags & HTTP2_ACK) && http2_frame_plausible(&f, HTTP_RESPONSE);
}

static bool begins_at(enum http_side side, const uint8_t *p, uint32_t max, struct http2_frame *ret)
{
	*ret = http2_frame_read(p);
	return ret->len <= max && http2_frame_plausible(ret, side);
}

size_t http2_frame_hunt(enum http_side side, const uint8_t *p, size_t n, uint32_t max, bool aligned)
{
	struct http2_frame f, after;

	for (size_t i = 0; n - i >= HTTP2_FRAME_HEAD; i++) {
		size_t left = n - i - HTTP2_FRAME_HEAD;

		if (!begins_at(side, p + i, max, &f))
			continue;
		if (f.len == left || (aligned && i == 0 && f.len > left))
			return i;
		if (f.len > left || left - f.len < HTTP2_FRAME_HEAD)
			continue;
		if (begins_at(side, p + i + HTTP2_FRAME_HEAD + f.len, max, &after))
			return i;
	}
	return n;
}
