/* SPDX-License-Identifier: MIT */
/*
 * WebSocket frames: headers are collected byte by byte, payloads in blocks; a message that lies in one
 * unmasked frame in one piece is handed out where it lies. It must not know who sent what for which reason.
 */
#include "http/websocket.h"

#include <errno.h>
#include <string.h>

#include <zlib.h>

#include "base/buf.h"

#define RATIO_FLOOR    (256ULL << 10) /* so much may come of next to nothing */
#define RATIO_STEP     256            /* in which what is read is counted, wherever calls cut it */
#define HEADER_MAX     14             /* two bytes, a length of eight, a mask of four */
#define CONTROL_MAX    125
#define BUF_KEEP       ((size_t)256 << 10) /* a larger buffer is given back after its message */
#define INFLATE_STEP   ((size_t)32 << 10)
#define INFLATE_MEMORY ((size_t)48 << 10) /* zlib's state, and its window */

#define FRAME_FIN    0x80U
#define FRAME_RSV1   0x40U
#define FRAME_RSV23  0x30U
#define FRAME_OPCODE 0x0fU
#define FRAME_MASK   0x80U

enum opcode {
	OP_CONTINUATION = 0,
	OP_TEXT = 1,
	OP_BINARY = 2,
	OP_CLOSE = 8,
	OP_PING = 9,
	OP_PONG = 10,
};

struct frame {
	uint8_t flags;
	uint8_t opcode;
	bool masked;
	uint8_t mask[4];
	uint64_t len, left;
};

/* The message that data frames are joined to; control frames may come between them. */
struct assembly {
	bool open, text, packed;
	bool cut;   /* keeps no payload any more */
	bool doubt; /* something of it may be missing */
	uint64_t wire_len, full_len;
	const char *error;
	struct buf payload;
};

struct websocket {
	const struct websocket_ops *ops;
	void *context;
	enum http_side side;
	struct websocket_params params;
	const char *reason;
	bool closed;

	uint8_t header[HEADER_MAX];
	uint8_t header_len;
	bool in_payload;
	struct frame frame;
	struct assembly message;

	z_stream *inflate; /* made for the first packed message */
	const char *
		inflate_dead; /* why later messages cannot be unpacked: they build upon a lost one */
	uint8_t *scratch;     /* INFLATE_STEP bytes */
};

static void message_tell(struct websocket *w, struct http_text payload, bool whole);

/* What is there of a message is told: its rest will not come, or cannot be read. */
static void message_cut_off(struct websocket *w)
{
	struct assembly *m = &w->message;

	if (m->open)
		message_tell(w, (struct http_text){m->payload.data, m->payload.len}, false);
	m->open = false;
	buf_done(&m->payload);
}

static void fail(struct websocket *w, const char *reason)
{
	if (w->reason)
		return;
	w->reason = reason;
	message_cut_off(w);
}

/* ---- Sec-WebSocket-Extensions ---- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static struct http_text trim(struct http_text t)
{
	for (; t.len && is_blank(*t.p); t.len--)
		t.p++;
	while (t.len && is_blank(t.p[t.len - 1]))
		t.len--;
	return t;
}

/* Up to @separator, which is taken away; what is in quotes does not contain one that counts. */
static struct http_text next_part(struct http_text *rest, char separator)
{
	struct http_text part = {rest->p, 0};
	bool quoted = false;

	while (part.len < rest->len && (quoted || rest->p[part.len] != separator))
		quoted ^= rest->p[part.len++] == '"';
	rest->p += part.len;
	rest->len -= part.len;
	if (rest->len) {
		rest->p++;
		rest->len--;
	}
	return trim(part);
}

/* 8 to 15, maybe in quotes; 0: neither. */
static uint8_t window_bits(struct http_text t)
{
	if (t.len >= 2 && t.p[0] == '"' && t.p[t.len - 1] == '"')
		t = (struct http_text){t.p + 1, t.len - 2};
	if (t.len == 1 && (t.p[0] == '8' || t.p[0] == '9'))
		return (uint8_t)(t.p[0] - '0');
	if (t.len == 2 && t.p[0] == '1' && t.p[1] >= '0' && t.p[1] <= '5')
		return (uint8_t)(10 + t.p[1] - '0');
	return 0;
}

static const struct {
	const char *name;
	enum http_side side;
	bool bits;
} deflate_params[] = {
	{"client_no_context_takeover", HTTP_REQUEST, false},
	{"server_no_context_takeover", HTTP_RESPONSE, false},
	{"client_max_window_bits", HTTP_REQUEST, true},
	{"server_max_window_bits", HTTP_RESPONSE, true},
};

static int deflate_param(struct http_text param, struct websocket_params *ret)
{
	struct http_text name = next_part(&param, '=');
	uint8_t bits = window_bits(trim(param));

	for (size_t i = 0; i < ARRAY_SIZE(deflate_params); i++) {
		if (!http_text_is(name, deflate_params[i].name))
			continue;
		if (!deflate_params[i].bits)
			ret->no_context_takeover[deflate_params[i].side] = true;
		else if (bits)
			ret->window_bits[deflate_params[i].side] = bits;
		else
			return -EINVAL;
		return 0;
	}
	return -EINVAL;
}

int websocket_params_parse(struct http_text extensions, struct websocket_params *ret)
{
	struct websocket_params params = {.window_bits = {15, 15}};
	struct http_text one;

	while (extensions.len) {
		one = next_part(&extensions, ',');
		if (one.len == 0)
			continue;
		if (params.deflate || !http_text_is(next_part(&one, ';'), "permessage-deflate"))
			return -EINVAL;
		params.deflate = true;
		while (one.len)
			if (deflate_param(next_part(&one, ';'), &params) < 0)
				return -EINVAL;
	}
	*ret = params;
	return 0;
}

/* ---- unpacking ---- */

static int inflate_open(struct websocket *w)
{
	_cleanup_(freep) z_stream *z = NULL;

	if (w->inflate)
		return 0;
	if (!w->scratch)
		w->scratch = malloc(INFLATE_STEP);
	z = calloc(1, sizeof(*z));
	/* Always the largest window: it reads what was packed with a smaller one, which zlib gets wrong for 8. */
	if (!w->scratch || !z || inflateInit2(z, -15) != Z_OK)
		return -ENOMEM;
	w->inflate = TAKE_PTR(z);
	return 0;
}

/* What comes next in this message is not unpacked, nor in later ones if they build upon it. */
static void inflate_give_up(struct websocket *w, const char *why)
{
	w->message.error = why;
	if (!w->params.no_context_takeover[w->side])
		w->inflate_dead = why;
}

static void message_keep(struct websocket *w, const void *p, size_t n)
{
	struct assembly *m = &w->message;

	if (!m->cut)
		buf_add(&m->payload, p, MIN(n, WEBSOCKET_MESSAGE_MAX - m->payload.len));
	m->full_len += n;
	if (m->payload.failed)
		fail(w, "out of memory");
}

static void unpack(struct websocket *w, const uint8_t *p, size_t n)
{
	z_stream *z = w->inflate;
	int r = Z_OK;
	uInt room;

	z->next_in = (uint8_t *)p;
	z->avail_in = (uInt)n;
	do {
		z->next_out = w->scratch;
		/* One byte over the limit shows it, wherever the input was cut. */
		room = (uInt)MIN((uint64_t)INFLATE_STEP,
				 WEBSOCKET_INFLATE_MAX + 1 - w->message.full_len);
		z->avail_out = room;
		r = inflate(z, Z_SYNC_FLUSH);
		message_keep(w, w->scratch, room - z->avail_out);
		if (w->message.full_len > WEBSOCKET_INFLATE_MAX) {
			inflate_give_up(w, "unpacks to too much");
			return;
		}
		/* RFC 7692, section 7.2.3.4: a block may be the last of its stream; the next may refer to it. */
		if (r == Z_STREAM_END && z->avail_in)
			r = inflateResetKeep(z);
	} while (r == Z_OK && (z->avail_in || z->avail_out == 0) && !w->reason);
	if (r != Z_OK && r != Z_BUF_ERROR && r != Z_STREAM_END)
		inflate_give_up(w, "not packed as was agreed");
	else if (r == Z_STREAM_END)
		inflateResetKeep(z);
}

/* ---- messages ---- */

static void message_begin(struct websocket *w)
{
	struct assembly *m = &w->message;

	m->open = true;
	m->cut = m->doubt = false;
	m->text = w->frame.opcode == OP_TEXT;
	m->packed = w->frame.flags & FRAME_RSV1;
	m->wire_len = m->full_len = 0;
	m->error = m->packed ? w->inflate_dead : NULL;
	if (m->packed && !m->error && inflate_open(w) < 0)
		fail(w, "out of memory");
}

/* What it has become is looked at in fixed steps, so that it does not matter where calls cut it. */
static void message_unpack(struct websocket *w, const uint8_t *p, size_t n)
{
	struct assembly *m = &w->message;

	while (n && !m->error && !w->reason) {
		size_t step = MIN(n, RATIO_STEP - (size_t)(m->wire_len % RATIO_STEP));

		m->wire_len += step;
		unpack(w, p, step);
		if (!m->error && m->wire_len % RATIO_STEP == 0 && m->full_len > RATIO_FLOOR &&
		    m->full_len / WEBSOCKET_RATIO_MAX > m->wire_len)
			inflate_give_up(w, "expands out of proportion");
		p += step;
		n -= step;
	}
	m->wire_len += n;
}

static void message_add(struct websocket *w, const uint8_t *p, size_t n)
{
	struct assembly *m = &w->message;

	if (m->packed) {
		message_unpack(w, p, n);
		return;
	}
	m->wire_len += n;
	message_keep(w, p, n);
}

/* Of what was announced and did not come only the length is known. */
static uint64_t announced(const struct websocket *w)
{
	bool within = w->in_payload && w->frame.opcode < OP_CLOSE && !w->message.packed;

	return within ? w->frame.left : 0;
}

static void message_tell(struct websocket *w, struct http_text payload, bool whole)
{
	struct assembly *m = &w->message;
	struct websocket_message told = {
		.text = m->text,
		.incomplete = !whole || m->doubt,
		.payload = payload,
		.full_len = m->full_len ? m->full_len : m->wire_len,
		.error = m->error,
	};

	if (m->packed && !m->error)
		told.full_len = m->full_len;
	if (!whole)
		told.full_len += announced(w);
	told.truncated = m->error || told.full_len > payload.len;
	if (w->ops->message)
		w->ops->message(w->context, w->side, &told);
}

static void message_end(struct websocket *w)
{
	static const uint8_t tail[4] = {0, 0, 0xff, 0xff};
	struct assembly *m = &w->message;

	/* RFC 7692, section 7.2.2: the sender takes these four away. */
	if (m->packed && !m->error)
		unpack(w, tail, sizeof(tail));
	if (w->reason)
		return;
	message_tell(w, (struct http_text){m->payload.data, m->payload.len}, true);
	if (w->inflate && m->packed && w->params.no_context_takeover[w->side])
		inflateReset(w->inflate);
	if (m->payload.cap > BUF_KEEP)
		buf_done(&m->payload);
	buf_reset(&m->payload);
	m->open = false;
}

/* ---- frames ---- */

static size_t length_size(uint8_t second)
{
	uint8_t len = second & 0x7f;

	return len == 127 ? 8 : len == 126 ? 2 : 0;
}

static size_t header_size(const struct websocket *w)
{
	if (w->header_len < 2)
		return 2;
	return 2 + length_size(w->header[1]) + (w->header[1] & FRAME_MASK ? 4 : 0);
}

static const char *frame_fault(const struct websocket *w, const struct frame *f)
{
	bool control = f->opcode >= OP_CLOSE;

	if (f->flags & FRAME_RSV23)
		return "a frame with reserved bits";
	if ((f->flags & FRAME_RSV1) &&
	    (!w->params.deflate || (f->opcode != OP_TEXT && f->opcode != OP_BINARY)))
		return "a packed frame where none may be";
	if (f->opcode > OP_PONG || (f->opcode > OP_BINARY && !control))
		return "a frame of an unknown type";
	if (control && (!(f->flags & FRAME_FIN) || f->len > CONTROL_MAX))
		return "a control frame in parts or too long";
	if (!control && (f->opcode == OP_CONTINUATION) != w->message.open)
		return "frames out of order";
	return f->len >> 63 ? "a frame of impossible length" : NULL;
}

static void frame_begin(struct websocket *w)
{
	struct frame *f = &w->frame;
	const uint8_t *p = w->header + 2;
	size_t size = length_size(w->header[1]);
	const char *fault;

	f->flags = w->header[0];
	f->opcode = w->header[0] & FRAME_OPCODE;
	f->masked = w->header[1] & FRAME_MASK;
	f->len = size ? 0 : w->header[1] & 0x7f;
	for (; size; size--)
		f->len = f->len << 8 | *p++;
	f->left = f->len;
	if (f->masked)
		memcpy(f->mask, p, 4);

	fault = frame_fault(w, f);
	if (fault) {
		fail(w, fault);
		return;
	}
	w->header_len = 0;
	w->in_payload = true;
	if (f->opcode == OP_TEXT || f->opcode == OP_BINARY)
		message_begin(w);
}

static void frame_end(struct websocket *w)
{
	w->in_payload = false;
	if (w->frame.opcode >= OP_CLOSE)
		w->closed |= w->frame.opcode == OP_CLOSE;
	else if (w->frame.flags & FRAME_FIN)
		message_end(w);
}

/* The input is not ours to change: masked bytes go through a block on the stack. */
static void payload_unmask(struct websocket *w, const uint8_t *p, size_t n)
{
	uint8_t block[4096];
	size_t at = (size_t)(w->frame.len - w->frame.left), len;
	uint8_t mask[4];

	for (; n && !w->reason; p += len, n -= len, at += len) {
		len = MIN(n, sizeof(block));
		for (size_t i = 0; i < 4; i++)
			mask[i] = w->frame.mask[(at + i) & 3];
		for (size_t i = 0; i < len; i++)
			block[i] = p[i] ^ mask[i & 3];
		message_add(w, block, len);
	}
}

/* All of a plain message lies here in one piece: no copy. */
static bool payload_direct(struct websocket *w, const uint8_t *p, uint64_t n)
{
	struct frame *f = &w->frame;

	if (f->masked || !(f->flags & FRAME_FIN) || f->left != f->len || n < f->len ||
	    (f->opcode != OP_TEXT && f->opcode != OP_BINARY) || w->message.packed ||
	    f->len > WEBSOCKET_MESSAGE_MAX)
		return false;
	w->message.wire_len = w->message.full_len = f->len;
	message_tell(w, (struct http_text){(const char *)p, (size_t)f->len}, true);
	w->message.open = false;
	w->in_payload = false;
	return true;
}

static size_t payload_feed(struct websocket *w, const uint8_t *p, size_t n)
{
	/* zlib counts in 32 bits. */
	size_t take = (size_t)MIN((uint64_t)(n >> 30 ? 1U << 30 : n), w->frame.left);

	if (payload_direct(w, p, n))
		return take;
	if (w->frame.opcode >= OP_CLOSE)
		; /* it ends in this frame and is of no use */
	else if (w->frame.masked)
		payload_unmask(w, p, take);
	else if (take)
		message_add(w, p, take);
	w->frame.left -= take;
	if (w->frame.left == 0 && !w->reason)
		frame_end(w);
	return take;
}

void websocket_feed(struct websocket *w, const void *bytes, size_t n)
{
	const uint8_t *p = bytes;
	size_t used;

	/* A frame without payload ends without a further byte. */
	while ((n || (w->in_payload && w->frame.left == 0)) && !w->reason && !w->closed) {
		if (w->in_payload) {
			used = payload_feed(w, p, n);
		} else {
			w->header[w->header_len++] = *p;
			used = 1;
			if (w->header_len >= 2 && w->header_len == header_size(w))
				frame_begin(w);
		}
		p += used;
		n -= used;
	}
}

size_t websocket_memory(const struct websocket *w)
{
	return sizeof(*w) + w->message.payload.cap + (w->scratch ? INFLATE_STEP : 0) +
	       (w->inflate ? INFLATE_MEMORY : 0);
}

void websocket_drop(struct websocket *w)
{
	buf_done(&w->message.payload);
	w->message.cut = w->message.open;
}

void websocket_gap(struct websocket *w)
{
	if (!w->closed)
		fail(w, "bytes are missing");
}

void websocket_doubt(struct websocket *w)
{
	w->message.doubt |= w->message.open;
}

void websocket_eof(struct websocket *w)
{
	if (!w->reason)
		message_cut_off(w);
}

bool websocket_failed(const struct websocket *w, const char **reason)
{
	if (w->reason && reason)
		*reason = w->reason;
	return w->reason;
}

int websocket_new(enum http_side side, const struct websocket_params *params,
		  const struct websocket_ops *ops, void *context, struct websocket **ret)
{
	struct websocket *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->side = side;
	w->params = *params;
	w->ops = ops;
	w->context = context;
	*ret = w;
	return 0;
}

void websocket_free(struct websocket *w)
{
	if (!w)
		return;
	if (w->inflate)
		inflateEnd(w->inflate);
	free(w->inflate);
	free(w->scratch);
	buf_done(&w->message.payload);
	free(w);
}
