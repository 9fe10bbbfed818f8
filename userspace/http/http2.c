/* SPDX-License-Identifier: MIT */
/*
 * The connection: frames of both directions, the header blocks in them, and which messages they begin
 * and end. Payload is handed on where it lies, never copied or looked at.
 *
 * The sender's peer checks the protocol; here a message is told as far as it makes sense. What makes none
 * (a frame that cannot be) is taken as missing bytes: the direction is searched for its next frame.
 */
#include "http/http2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "http/http2_frame.h"
#include "http/http2_hpack.h"
#include "http/http2_streams.h"

#define FIELD_OVERHEAD 32 /* RFC 9113, 6.5.2, SETTINGS_MAX_HEADER_LIST_SIZE */
#define RECENT         16

/* A byte may stand for a field of any length: a block is not longer than this, and so many times its bytes. */
#define LIST_FREE  (16U << 10)
#define LIST_RATIO 256

/* Bytes without a frame, and frames that cannot be between two complete messages: it is not HTTP/2. */
#define HUNTED_MAX   (4ULL << 20)
#define NONSENSE_MAX 256

enum place {
	START, /* nothing of this direction was seen */
	HEAD,  /* in a frame's header, or before it */
	FIXED, /* in what comes before its content */
	CONTENT,
	PADDING,
	HUNT, /* somewhere between two frame headers */
	CLOSED,
};

/* Of a message, in http2_stream.sides. */
enum message_flag {
	BEGUN = 1,    /* some head was told */
	HEADED = 2,   /* the final one was: what comes now is body, then trailers */
	UNSURE = 4,   /* ... if it was the final one: its status is not known */
	CUT = 8,      /* something of it is missing */
	CLAIMED = 16, /* a header block of it was begun */
	ENDED = 32,
};

enum pseudo {
	METHOD,
	PATH,
	AUTHORITY,
	STATUS,
	N_PSEUDO,
};

/* A header block that is being received. The text is copied only of pseudo-headers. */
struct block {
	bool open;
	bool heard; /* there is a message that it belongs to */
	bool told;  /* the head, if it is one: fields are passed on as they come */
	bool head;  /* not trailers */
	bool broken;
	bool end_stream;
	enum http_side side; /* of the message; not of the direction when it is a promise */
	uint32_t id;
	uint32_t frame_id; /* the stream that its frames are on: another one when it is a promise */
	size_t list_size;
	size_t wire; /* bytes of its frames so far: whole ones, wherever calls cut them */
	struct buf text;
	struct {
		size_t offset, len;
	} pseudo[N_PSEUDO];
};

struct direction {
	enum place place;
	bool known;    /* seen from its first byte, without a gap */
	bool strict;   /* found by searching, so only what is plausible is believed */
	bool aligned;  /* the next byte is the first of a call of the feeder */
	uint8_t have;  /* bytes gathered */
	uint8_t fixed; /* bytes to gather before the content */
	uint8_t gathered[HTTP2_PREFACE_LEN];
	struct http2_frame frame;
	uint32_t left; /* of the content; then of the padding */
	uint32_t padding;
	uint32_t frame_max; /* the longest so far, at least the default; 0: there was none */
	uint64_t hunted;    /* bytes since the last frame */
	struct hpack hpack;
	struct block block;
};

/*
 * Which streams one end has opened: numbers only rise, so one that is not in the table and not above
 * `last` is over. Below `unsure_below` it may also have been opened while we did not listen.
 */
struct opener {
	uint32_t last;
	uint32_t unsure_below;
	bool unsure; /* whatever comes before the next one that is opened */
};

struct http2 {
	const struct http_parser_ops *ops;
	void *context;
	const char *failure;
	struct direction directions[2];
	struct opener openers[2]; /* by who opens: odd numbers are the client's */
	struct http2_streams streams;
	uint32_t recent[RECENT]; /* streams closed last: what still comes for them opens none */
	unsigned recent_at;
	unsigned nonsense; /* frames that cannot be, since a message was complete */
	struct http2_counts counts;
};

static struct opener *opener_of(struct http2 *h, uint32_t id)
{
	return &h->openers[id % 2 ? HTTP_REQUEST : HTTP_RESPONSE];
}

/* ---- messages ---- */

static void message_end(struct http2 *h, struct http2_stream *s, enum http_side side, bool complete)
{
	uint8_t *flags = &s->sides[side];

	if (*flags & ENDED)
		return;
	*flags |= ENDED;
	complete = complete && !(*flags & CUT);
	if (complete)
		h->nonsense = 0;
	if (h->ops->end)
		h->ops->end(h->context, s->id, side, complete);
}

static void stream_close(struct http2 *h, struct http2_stream *s)
{
	message_end(h, s, HTTP_REQUEST, false);
	message_end(h, s, HTTP_RESPONSE, false);
	h->recent[h->recent_at++ % RECENT] = s->id;
	http2_streams_remove(&h->streams, s);
}

/* The request cannot come any more: it was sent before we listened, or is lost. */
static bool request_is_past(struct http2 *h, const struct http2_stream *s)
{
	struct direction *opens = &h->directions[s->id % 2 ? HTTP_REQUEST : HTTP_RESPONSE];

	return !opens->known || s->id <= opener_of(h, s->id)->last;
}

/* The request may have been sent by a call that has not returned yet, when another thread reads the answer. */
static void response_begun(struct http2 *h, const struct http2_stream *s)
{
	if (!s->sides[HTTP_REQUEST] && !request_is_past(h, s) && h->ops->ahead)
		h->ops->ahead(h->context, s->id);
}

/* Called when a side has ended: is the other one still to be waited for? */
static void stream_settle(struct http2 *h, struct http2_stream *s)
{
	uint8_t request = s->sides[HTTP_REQUEST], response = s->sides[HTTP_RESPONSE];

	if (!(response & ENDED))
		return;
	if (request & (ENDED | CUT) || (!(request & CLAIMED) && request_is_past(h, s)))
		stream_close(h, s);
}

static void fail(struct http2 *h, const char *reason)
{
	struct http2_stream *s;

	if (h->failure)
		return;
	h->failure = reason;
	while ((s = http2_streams_oldest(&h->streams)))
		stream_close(h, s);
}

static bool was_recent(const struct http2 *h, uint32_t id)
{
	for (size_t i = 0; i < RECENT; i++)
		if (h->recent[i] == id)
			return true;
	return false;
}

/* Whether what came for @id, which is not in the table, may be the first that we hear of it. */
static bool may_be_new(struct http2 *h, enum http_side side, uint32_t id, bool headers)
{
	struct opener *o = opener_of(h, id);

	if (id == 0 || was_recent(h, id))
		return false;
	/* Payload of a direction in which no header block was missed belongs to a block that we saw. */
	if (!headers && h->directions[side].known)
		return false;
	return id > o->last || id < o->unsure_below;
}

static void opener_saw(struct opener *o, uint32_t id)
{
	if (id <= o->last)
		return;
	o->last = id;
	if (o->unsure)
		o->unsure_below = id;
	o->unsure = false;
}

static struct http2_stream *stream_add(struct http2 *h, uint32_t id)
{
	struct http2_stream *s;

	if (http2_streams_full(&h->streams)) {
		h->counts.evicted++;
		stream_close(h, http2_streams_oldest(&h->streams));
	}
	s = http2_streams_add(&h->streams, id);
	if (!s)
		fail(h, "out of memory");
	return s;
}

/* The stream if its message from @side is under way or may begin now; else NULL. */
static struct http2_stream *stream_take(struct http2 *h, enum http_side side, uint32_t id,
					bool headers)
{
	struct http2_stream *s = http2_streams_find(&h->streams, id);

	if (s)
		return s->sides[side] & ENDED ? NULL : s;
	return may_be_new(h, side, id, headers) ? stream_add(h, id) : NULL;
}

/* A body whose head was never seen begins with an empty one. */
static void message_assume_head(struct http2 *h, struct http2_stream *s, enum http_side side)
{
	static const struct http_head unknown = {.version = 20};

	if (s->sides[side] & HEADED)
		return;
	s->sides[side] |= BEGUN | HEADED | UNSURE | CUT;
	if (h->ops->begin)
		h->ops->begin(h->context, s->id, side, &unknown);
	if (side == HTTP_RESPONSE)
		response_begun(h, s);
	if (h->ops->headers_done)
		h->ops->headers_done(h->context, s->id, side);
}

/* ---- header blocks ---- */

static struct http2_stream *block_stream(struct http2 *h, const struct block *b)
{
	struct http2_stream *s = b->heard ? http2_streams_find(&h->streams, b->id) : NULL;

	return s && !(s->sides[b->side] & ENDED) ? s : NULL;
}

static void block_open(struct http2 *h, struct direction *d, enum http_side side, uint32_t id,
		       bool end_stream)
{
	struct block *b = &d->block;
	struct http2_stream *s = stream_take(h, side, id, true);

	*b = (struct block){
		.open = true,
		.heard = s != NULL,
		.side = side,
		.id = id,
		.frame_id = d->frame.id,
		.end_stream = end_stream,
		.wire = d->left,
	};
	if (s)
		s->sides[side] |= CLAIMED;
	if (side == HTTP_REQUEST)
		opener_saw(opener_of(h, id), id);
}

static void pseudo_keep(struct block *b, struct http_text name, struct http_text value)
{
	static const struct http_text names[N_PSEUDO] = {
		[METHOD] = {":method", 7},
		[PATH] = {":path", 5},
		[AUTHORITY] = {":authority", 10},
		[STATUS] = {":status", 7},
	};

	for (size_t i = 0; i < N_PSEUDO; i++) {
		if (name.len != names[i].len || memcmp(name.p, names[i].p, name.len) != 0)
			continue;
		b->pseudo[i].offset = b->text.len;
		b->pseudo[i].len = value.len;
		buf_add(&b->text, value.p, value.len);
	}
}

static struct http_text pseudo_text(const struct block *b, enum pseudo which)
{
	if (b->text.failed || !b->pseudo[which].len)
		return (struct http_text){"", 0};
	return (struct http_text){b->text.data + b->pseudo[which].offset, b->pseudo[which].len};
}

static unsigned status_of(struct http_text t)
{
	unsigned status = 0;

	if (t.len != 3)
		return 0;
	for (size_t i = 0; i < t.len; i++) {
		if (t.p[i] < '0' || t.p[i] > '9')
			return 0;
		status = status * 10 + (unsigned)(t.p[i] - '0');
	}
	return status;
}

/* The pseudo-headers are complete: is it a head, and which? */
static void block_tell(struct http2 *h, struct block *b, struct http2_stream *s)
{
	uint8_t *flags = &s->sides[b->side];
	struct http_head head = {
		.method = pseudo_text(b, METHOD),
		.path = pseudo_text(b, PATH),
		.authority = pseudo_text(b, AUTHORITY),
		.reason = {"", 0},
		.version = 20,
	};

	if (b->side == HTTP_RESPONSE)
		head.status = status_of(pseudo_text(b, STATUS));
	b->told = true;
	b->head = !(*flags & HEADED) || (*flags & UNSURE && head.status);
	if (!b->head)
		return;

	*flags |= BEGUN;
	*flags &= (uint8_t)~UNSURE;
	if (head.status / 100 != 1)
		*flags |= HEADED;
	if (b->side == HTTP_RESPONSE && !head.status)
		*flags |= UNSURE;
	if (h->ops->begin)
		h->ops->begin(h->context, b->id, b->side, &head);
	if (b->side == HTTP_RESPONSE)
		response_begun(h, s);
}

struct field_context {
	struct http2 *h;
	struct block *block;
	struct http2_stream *stream; /* NULL: decoded for the table only */
};

static size_t list_max(const struct block *b)
{
	return MIN(HTTP2_HEADER_LIST_MAX, LIST_FREE + b->wire * LIST_RATIO);
}

static void block_field(void *context, struct http_text name, struct http_text value)
{
	struct field_context *x = context;
	struct block *b = x->block;
	bool was_within = b->list_size <= list_max(b);

	if (!x->stream)
		return;
	b->list_size += name.len + value.len + FIELD_OVERHEAD;
	if (b->list_size > list_max(b)) {
		x->h->counts.long_blocks += was_within;
		x->stream->sides[b->side] |= CUT;
		return;
	}
	if (name.len == 0) {
		x->h->counts.unknown_fields++;
		return;
	}

	if (name.p[0] == ':') {
		if (!b->told)
			pseudo_keep(b, name, value);
		return;
	}
	if (!b->told)
		block_tell(x->h, b, x->stream);
	if (x->h->ops->header)
		x->h->ops->header(x->h->context, b->id, b->side, name, value);
}

static void block_decode(struct http2 *h, struct direction *d, const uint8_t *p, size_t n,
			 bool last)
{
	struct field_context x = {h, &d->block, block_stream(h, &d->block)};
	int r;

	if (d->block.broken)
		return;
	r = hpack_decode(&d->hpack, p, n, last, block_field, &x);
	if (r == -ENOMEM)
		fail(h, "out of memory");
	if (r < 0)
		d->block.broken = true;
}

static void block_close(struct http2 *h, struct direction *d, bool ended)
{
	struct block *b = &d->block;
	struct http2_stream *s = block_stream(h, b);

	h->counts.broken_blocks += b->broken;
	if (s) {
		if (b->broken || b->text.failed)
			s->sides[b->side] |= CUT;
		if (!b->told)
			block_tell(h, b, s);
		if (b->head && h->ops->headers_done)
			h->ops->headers_done(h->context, b->id, b->side);
		if (ended)
			message_end(h, s, b->side, true);
		if (ended)
			stream_settle(h, s);
	}
	buf_done(&b->text);
	b->open = false;
}

/* The rest of the block will not come. */
static void block_abandon(struct http2 *h, struct direction *d)
{
	hpack_lose(&d->hpack);
	if (!d->block.open)
		return;
	d->block.broken = true;
	block_close(h, d, d->block.end_stream);
}

/* ---- losing and finding the frames ---- */

/* What this direction told of the streams it opens has holes from here on. */
static void direction_unknown(struct http2 *h, enum http_side side)
{
	struct direction *d = &h->directions[side];

	d->known = false;
	d->strict = true;
	d->hpack.blind = true;
	h->openers[side].unsure = true;
}

static void direction_lose(struct http2 *h, enum http_side side)
{
	struct direction *d = &h->directions[side];
	/* what was said before we listened is not lost */
	bool shows = d->place == HUNT || (d->place == START && d->have);

	h->counts.resyncs++;
	block_abandon(h, d);
	direction_unknown(h, side);
	d->place = HUNT;
	d->have = 0;
	d->hunted = 0;

	for (struct http2_stream *s = http2_streams_oldest(&h->streams), *next; s; s = next) {
		next = http2_streams_newer(&h->streams, s);
		shows |= !(s->sides[side] & ENDED);
		s->sides[side] |= CUT;
		stream_settle(h, s);
	}
	if (!shows && h->ops->lost)
		h->ops->lost(h->context, side);
}

static void frame_reject(struct http2 *h, enum http_side side)
{
	direction_lose(h, side);
	if (++h->nonsense > NONSENSE_MAX)
		fail(h, "the frames make no sense, time and again");
}

static size_t hunt(struct http2 *h, enum http_side side, const uint8_t *p, size_t n)
{
	struct direction *d = &h->directions[side];
	size_t at = http2_frame_hunt(side, p, n, MAX(d->frame_max, HTTP2_FRAME_DEFAULT_MAX),
				     d->aligned);

	d->hunted += at;
	h->counts.skipped_bytes += at;
	if (at < n)
		d->place = HEAD;
	if (d->hunted > HUNTED_MAX)
		fail(h, "no frames found");
	return at;
}

/* ---- frames ---- */

static void data_content(struct http2 *h, enum http_side side, const uint8_t *p, size_t n)
{
	uint32_t id = h->directions[side].frame.id;
	struct http2_stream *s = stream_take(h, side, id, false);

	if (!s)
		return;
	message_assume_head(h, s, side);
	if (h->ops->body)
		h->ops->body(h->context, id, side, (struct http_text){(const char *)p, n});
}

static void data_finish(struct http2 *h, enum http_side side)
{
	const struct http2_frame *f = &h->directions[side].frame;
	struct http2_stream *s;

	if (!(f->flags & HTTP2_END_STREAM))
		return;
	s = stream_take(h, side, f->id, false);
	if (!s)
		return;
	message_assume_head(h, s, side);
	message_end(h, s, side, true);
	stream_settle(h, s);
}

static void headers_ready(struct http2 *h, enum http_side side)
{
	struct direction *d = &h->directions[side];

	block_open(h, d, side, d->frame.id, d->frame.flags & HTTP2_END_STREAM);
}

static void continuation_ready(struct http2 *h, enum http_side side)
{
	struct direction *d = &h->directions[side];

	d->block.wire += d->left;
}

static uint32_t number_at(const uint8_t *p)
{
	return (uint32_t)(p[0] & 0x7f) << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The server sends a request that it is going to answer. */
static void promise_ready(struct http2 *h, enum http_side side)
{
	struct direction *d = &h->directions[side];
	uint32_t id = number_at(d->gathered + d->fixed - 4);

	/* An odd number is the client's: no stream, but the block changes the table. */
	block_open(h, d, HTTP_REQUEST, id % 2 ? 0 : id, true);
}

static void block_content(struct http2 *h, enum http_side side, const uint8_t *p, size_t n)
{
	if (h->directions[side].block.open)
		block_decode(h, &h->directions[side], p, n, false);
}

static void block_finish(struct http2 *h, enum http_side side)
{
	struct direction *d = &h->directions[side];

	if (!(d->frame.flags & HTTP2_END_HEADERS) || !d->block.open)
		return;
	block_decode(h, d, d->gathered, 0, true);
	if (!h->failure)
		block_close(h, d, d->block.end_stream);
}

static void reset_ready(struct http2 *h, enum http_side side)
{
	struct http2_stream *s = http2_streams_find(&h->streams, h->directions[side].frame.id);

	if (s)
		stream_close(h, s);
}

/* Streams of the other end above the number that it gives will get no answer. */
static void goaway_ready(struct http2 *h, enum http_side side)
{
	uint32_t last = number_at(h->directions[side].gathered);
	uint32_t parity = side == HTTP_RESPONSE;

	for (struct http2_stream *s = http2_streams_oldest(&h->streams), *next; s; s = next) {
		next = http2_streams_newer(&h->streams, s);
		if (s->id % 2 == parity && s->id > last)
			stream_close(h, s);
	}
}

/* What is of use: all other types are passed over. */
static const struct frame_kind {
	void (*ready)(struct http2 *h, enum http_side side); /* what is fixed was gathered */
	void (*content)(struct http2 *h, enum http_side side, const uint8_t *p, size_t n);
	void (*finish)(struct http2 *h, enum http_side side);
} kinds[] = {
	[HTTP2_DATA] = {NULL, data_content, data_finish},
	[HTTP2_HEADERS] = {headers_ready, block_content, block_finish},
	[HTTP2_RST_STREAM] = {reset_ready, NULL, NULL},
	[HTTP2_PUSH_PROMISE] = {promise_ready, block_content, block_finish},
	[HTTP2_GOAWAY] = {goaway_ready, NULL, NULL},
	[HTTP2_CONTINUATION] = {continuation_ready, block_content, block_finish},
};

static const struct frame_kind *kind_of(const struct direction *d)
{
	static const struct frame_kind ignored;

	return d->frame.type < ARRAY_SIZE(kinds) ? &kinds[d->frame.type] : &ignored;
}

static void frame_finish(struct http2 *h, enum http_side side)
{
	struct direction *d = &h->directions[side];

	d->place = HEAD;
	d->have = 0;
	if (kind_of(d)->finish)
		kind_of(d)->finish(h, side);
}

static void content_begin(struct http2 *h, enum http_side side)
{
	struct direction *d = &h->directions[side];

	if (kind_of(d)->ready)
		kind_of(d)->ready(h, side);
	d->place = d->left ? CONTENT : PADDING;
	if (d->left + d->padding == 0)
		frame_finish(h, side);
}

static bool block_follows(const struct direction *d)
{
	return d->block.open && d->frame.id == d->block.frame_id;
}

/* What may stand between the frames of a header block: nothing. */
static void block_check(struct http2 *h, struct direction *d)
{
	bool follows = d->frame.type == HTTP2_CONTINUATION;

	if (follows ? !block_follows(d) : d->block.open)
		block_abandon(h, d);
}

/*
 * A direction that was joined late may be joined anywhere, in a header block as well: its first frame is not
 * believed to be long.
 */
static bool frame_believed(const struct direction *d, enum http_side side)
{
	if (d->known && d->frame.type == HTTP2_CONTINUATION && !block_follows(d))
		return false;
	if (!d->strict)
		return http2_frame_legal(&d->frame, side);
	return http2_frame_plausible(&d->frame, side) &&
	       (d->frame_max || d->frame.len <= HTTP2_FRAME_DEFAULT_MAX);
}

static void frame_begin(struct http2 *h, enum http_side side)
{
	struct direction *d = &h->directions[side];

	d->frame = http2_frame_read(d->gathered);
	if (!frame_believed(d, side)) {
		frame_reject(h, side);
		return;
	}

	block_check(h, d);
	d->hunted = 0;
	d->frame_max = MAX(d->frame_max, HTTP2_FRAME_DEFAULT_MAX);
	d->frame_max = MAX(d->frame_max, d->frame.len);
	d->fixed = (uint8_t)http2_frame_fixed(&d->frame);
	d->left = d->frame.len - d->fixed;
	d->padding = 0;
	d->have = 0;
	d->place = FIXED;
	if (!d->fixed)
		content_begin(h, side);
}

static void fixed_end(struct http2 *h, enum http_side side)
{
	struct direction *d = &h->directions[side];

	if (http2_frame_padded(&d->frame))
		d->padding = d->gathered[0];
	if (d->padding > d->left) {
		frame_reject(h, side);
		return;
	}
	d->left -= d->padding;
	content_begin(h, side);
}

/* ---- bytes ---- */

static bool gathered(struct direction *d, size_t want, const uint8_t *p, size_t n, size_t *used)
{
	*used = MIN(n, want - d->have);
	memcpy(d->gathered + d->have, p, *used);
	d->have = (uint8_t)(d->have + *used);
	return d->have == want;
}

/* A client's first bytes are the preface, or we came too late. */
static size_t client_start(struct http2 *h, enum http_side side, const uint8_t *p, size_t n)
{
	static const char preface[] = HTTP2_PREFACE;
	struct direction *d = &h->directions[side];
	size_t take = MIN(n, HTTP2_PREFACE_LEN - d->have);

	if (memcmp(p, preface + d->have, take) == 0) {
		d->have = (uint8_t)(d->have + take);
		if (d->have < HTTP2_PREFACE_LEN)
			return take;
		d->known = true;
		d->place = HEAD;
		d->have = 0;
		return take;
	}

	/* What was taken for the preface is the beginning of a frame, or of nothing. */
	direction_unknown(h, side);
	if (d->have >= HTTP2_FRAME_HEAD) {
		frame_reject(h, side);
		return 0;
	}
	memcpy(d->gathered, preface, d->have);
	d->place = HEAD;
	return 0;
}

/* A server's first frame are its settings, or we came too late. */
static size_t server_start(struct http2 *h, enum http_side side, const uint8_t *p, size_t n)
{
	const struct direction *client = &h->directions[HTTP_REQUEST];
	struct direction *d = &h->directions[side];
	size_t used;

	if (!gathered(d, HTTP2_FRAME_HEAD, p, n, &used))
		return used;

	d->known = http2_frame_begins(d->gathered) && (client->place == START || client->known);
	if (!d->known)
		direction_unknown(h, side);
	frame_begin(h, side);
	return used;
}

static size_t start_step(struct http2 *h, enum http_side side, const uint8_t *p, size_t n)
{
	return (side == HTTP_REQUEST ? client_start : server_start)(h, side, p, n);
}

static size_t head_step(struct http2 *h, enum http_side side, const uint8_t *p, size_t n)
{
	size_t used;

	if (gathered(&h->directions[side], HTTP2_FRAME_HEAD, p, n, &used))
		frame_begin(h, side);
	return used;
}

static size_t fixed_step(struct http2 *h, enum http_side side, const uint8_t *p, size_t n)
{
	struct direction *d = &h->directions[side];
	size_t used;

	if (gathered(d, d->fixed, p, n, &used))
		fixed_end(h, side);
	return used;
}

static void content_take(struct http2 *h, enum http_side side, size_t n)
{
	struct direction *d = &h->directions[side];

	d->left -= (uint32_t)n;
	if (d->left)
		return;
	d->place = PADDING;
	if (!d->padding)
		frame_finish(h, side);
}

static size_t content_step(struct http2 *h, enum http_side side, const uint8_t *p, size_t n)
{
	struct direction *d = &h->directions[side];
	size_t take = MIN(n, (size_t)d->left);

	if (kind_of(d)->content)
		kind_of(d)->content(h, side, p, take);
	if (!h->failure)
		content_take(h, side, take);
	return take;
}

static void padding_take(struct http2 *h, enum http_side side, size_t n)
{
	struct direction *d = &h->directions[side];

	d->padding -= (uint32_t)n;
	if (!d->padding)
		frame_finish(h, side);
}

static size_t padding_step(struct http2 *h, enum http_side side, const uint8_t *p, size_t n)
{
	size_t take = MIN(n, (size_t)h->directions[side].padding);

	padding_take(h, side, take);
	return take;
}

static size_t closed_step(struct http2 *h, enum http_side side, const uint8_t *p, size_t n)
{
	return n;
}

static size_t (*const steps[])(struct http2 *h, enum http_side side, const uint8_t *p, size_t n) = {
	[START] = start_step,     [HEAD] = head_step,       [FIXED] = fixed_step,
	[CONTENT] = content_step, [PADDING] = padding_step, [HUNT] = hunt,
	[CLOSED] = closed_step,
};

void http2_feed(struct http2 *h, enum http_side side, const void *bytes, size_t n)
{
	struct direction *d = &h->directions[side];
	const uint8_t *p = bytes;

	d->aligned = true;
	while (n > 0 && !h->failure) {
		size_t used = steps[d->place](h, side, p, n);

		p += used;
		n -= used;
		if (used)
			d->aligned = false;
	}
}

void http2_gap(struct http2 *h, enum http_side side)
{
	if (!h->failure && h->directions[side].place != CLOSED)
		direction_lose(h, side);
}

/* Of @n bytes of payload that never came. */
static void content_skip(struct http2 *h, enum http_side side, size_t n)
{
	struct direction *d = &h->directions[side];
	struct http2_stream *s = NULL;

	if (d->frame.type == HTTP2_DATA)
		s = stream_take(h, side, d->frame.id, false);
	if (s) {
		message_assume_head(h, s, side);
		s->sides[side] |= CUT;
		if (h->ops->missing)
			h->ops->missing(h->context, d->frame.id, side, n);
	}
	if (!h->failure)
		content_take(h, side, n);
}

void http2_skip(struct http2 *h, enum http_side side, uint64_t n)
{
	struct direction *d = &h->directions[side];
	bool within = d->place == CONTENT || d->place == PADDING;
	size_t content = d->place == CONTENT ? (size_t)MIN(n, (uint64_t)d->left) : 0;

	if (n == 0 || h->failure)
		return;
	if (!within || n > (uint64_t)d->left + d->padding || kind_of(d)->content == block_content) {
		http2_gap(h, side);
		return;
	}
	if (content)
		content_skip(h, side, content);
	if (n > content && !h->failure)
		padding_take(h, side, (size_t)(n - content));
}

void http2_eof(struct http2 *h, enum http_side side)
{
	struct direction *d = &h->directions[side];
	bool over;

	if (h->failure || d->place == CLOSED)
		return;
	block_abandon(h, d);
	d->place = CLOSED;
	over = h->directions[HTTP_RESPONSE].place == CLOSED;

	for (struct http2_stream *s = http2_streams_oldest(&h->streams), *next; s; s = next) {
		next = http2_streams_newer(&h->streams, s);
		if (over) {
			stream_close(h, s);
			continue;
		}
		message_end(h, s, side, false);
		stream_settle(h, s);
	}
}

bool http2_failed(const struct http2 *h, const char **reason)
{
	if (reason)
		*reason = h->failure;
	return h->failure;
}

const struct http2_counts *http2_counts(const struct http2 *h)
{
	return &h->counts;
}

int http2_new(const struct http_parser_ops *ops, void *context, struct http2 **ret)
{
	_cleanup_(freep) struct http2 *h = calloc(1, sizeof(*h));
	int r;

	if (!h)
		return -ENOMEM;
	h->ops = ops;
	h->context = context;
	r = http2_streams_init(&h->streams, (uint32_t)((uintptr_t)h >> 4));
	if (r < 0) {
		http2_streams_done(&h->streams);
		return r;
	}
	*ret = TAKE_PTR(h);
	return 0;
}

void http2_take_over(struct http2 *h)
{
	struct http2_stream *s = stream_add(h, HTTP2_TAKEN_OVER);

	if (s)
		s->sides[HTTP_REQUEST] = BEGUN | HEADED | CLAIMED | ENDED;
	opener_saw(opener_of(h, HTTP2_TAKEN_OVER), HTTP2_TAKEN_OVER);
}

size_t http2_memory(const struct http2 *h)
{
	size_t n = h->streams.cap * (sizeof(*h->streams.pool) + sizeof(*h->streams.buckets));

	for (size_t i = 0; i < ARRAY_SIZE(h->directions); i++)
		n += hpack_memory(&h->directions[i].hpack) + h->directions[i].block.text.cap;
	return n;
}

void http2_free(struct http2 *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(h->directions); i++) {
		hpack_done(&h->directions[i].hpack);
		buf_done(&h->directions[i].block.text);
	}
	http2_streams_done(&h->streams);
	free(h);
}

/* ---- a connection's first bytes ---- */

static enum http2_look look_at_frame(enum http_side side, const uint8_t *p, size_t n)
{
	if (n < HTTP2_FRAME_HEAD) {
		/* Frames are short at first: nothing that is text begins with a zero. */
		return n && p[0] ? HTTP2_LOOK_NO : HTTP2_LOOK_SHORT;
	}
	if (side == HTTP_RESPONSE && http2_frame_begins(p))
		return HTTP2_LOOK_START;
	return http2_frame_hunt(side, p, n, HTTP2_FRAME_DEFAULT_MAX, true) == 0 ? HTTP2_LOOK_MIDDLE
										: HTTP2_LOOK_NO;
}

enum http2_look http2_looks_like(enum http_side side, const void *p, size_t n)
{
	if (side == HTTP_RESPONSE || n == 0 ||
	    memcmp(p, HTTP2_PREFACE, MIN(n, HTTP2_PREFACE_LEN)) != 0)
		return look_at_frame(side, p, n);
	return n < HTTP2_PREFACE_LEN ? HTTP2_LOOK_SHORT : HTTP2_LOOK_START;
}
