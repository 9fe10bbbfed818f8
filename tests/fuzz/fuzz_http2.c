/* SPDX-License-Identifier: MIT */
/*
 * Bytes of both directions of an HTTP/2 connection: pieces, each with one byte that says whose they are or
 * what happened, and one with their length. However they are split they tell the same, as long as no
 * search for a frame depends on where a call begins; and whatever they are, each message begins before it goes
 * on and has one end.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "http/http2.h"
#include "http/http2_streams.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum act {
	FEED,
	FRAME, /* the length byte is that of a frame's payload, made into a header */
	GAP,
	SKIP,
	N_ACTS,
};

struct exchange {
	uint64_t id;
	bool begun[2], ended[2];
};

struct told {
	uint64_t sum; /* of all that was told but where pieces of a body end */
	uint64_t body;
	uint64_t fed;
	struct exchange open[HTTP2_STREAMS_MAX];
	size_t n_open;
};

static void must(bool holds, const char *what)
{
	if (holds)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

static struct exchange *exchange(struct told *t, uint64_t id)
{
	for (size_t i = t->n_open; i-- > 0;)
		if (t->open[i].id == id)
			return &t->open[i];
	must(t->n_open < HTTP2_STREAMS_MAX, "the number of open streams");
	t->open[t->n_open] = (struct exchange){.id = id};
	return &t->open[t->n_open++];
}

static void must_be_under_way(struct told *t, uint64_t id, enum http_side side)
{
	const struct exchange *x = exchange(t, id);

	must(x->begun[side] && !x->ended[side], "a message begins before it goes on");
}

static void sum_add(struct told *t, const void *p, size_t n)
{
	const uint8_t *bytes = p;

	for (size_t i = 0; i < n; i++)
		t->sum = (t->sum ^ bytes[i]) * 0x100000001b3ULL;
}

static void sum_event(struct told *t, char what, uint64_t id, enum http_side side)
{
	sum_add(t, &what, 1);
	sum_add(t, &id, sizeof(id));
	sum_add(t, &side, sizeof(side));
}

static void on_begin(void *context, uint64_t id, enum http_side side, const struct http_head *head)
{
	struct told *t = context;

	must(!exchange(t, id)->ended[side], "a message does not go on behind its end");
	exchange(t, id)->begun[side] = true;
	sum_event(t, 'b', id, side);
	sum_add(t, head->method.p, head->method.len);
	sum_add(t, head->path.p, head->path.len);
	sum_add(t, head->authority.p, head->authority.len);
	sum_add(t, &head->status, sizeof(head->status));
}

static void on_header(void *context, uint64_t id, enum http_side side, struct http_text name,
		      struct http_text value)
{
	struct told *t = context;

	must_be_under_way(t, id, side);
	must(name.len > 0 && name.p[0] != ':', "a header's name");
	sum_event(t, 'h', id, side);
	sum_add(t, name.p, name.len);
	sum_add(t, value.p, value.len);
}

static void on_headers_done(void *context, uint64_t id, enum http_side side)
{
	struct told *t = context;

	must_be_under_way(t, id, side);
	sum_event(t, 'd', id, side);
}

static void on_body(void *context, uint64_t id, enum http_side side, struct http_text piece)
{
	struct told *t = context;

	must_be_under_way(t, id, side);
	must(piece.len > 0, "an empty piece");
	t->body += piece.len;
	sum_add(t, piece.p, piece.len);
}

static void on_end(void *context, uint64_t id, enum http_side side, bool complete)
{
	struct told *t = context;
	struct exchange *x = exchange(t, id);

	must(!x->ended[side], "one end");
	x->ended[side] = true;
	if (x->ended[!side])
		*x = t->open[--t->n_open];
	sum_event(t, complete ? 'e' : 'c', id, side);
}

static const struct http_parser_ops ops = {
	.begin = on_begin,
	.header = on_header,
	.headers_done = on_headers_done,
	.body = on_body,
	.end = on_end,
};

static void feed(struct http2 *h, enum http_side side, const uint8_t *p, size_t n, unsigned split)
{
	while (n > 0) {
		size_t piece =
			split ? (size_t)(split = split * 1103515245U + 12345U) / 65536 % 9 + 1 : n;
		_cleanup_(freep) uint8_t *copy = NULL;

		piece = MIN(piece, n);
		copy = malloc(piece);
		must(copy != NULL, "memory");
		memcpy(copy, p, piece);
		http2_feed(h, side, copy, piece);
		p += piece;
		n -= piece;
	}
}

static void prologue(struct http2 *h, uint8_t how)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

	if (how & 1)
		http2_feed(h, HTTP_REQUEST, preface, sizeof(preface) - 1);
	if (how & 2)
		http2_feed(h, HTTP_RESPONSE, "\0\0\0\4\0\0\0\0\0", 9);
}

/* Returns whether what was told may depend on the splitting. */
static bool run(const uint8_t *p, size_t n, unsigned split, struct told *t)
{
	struct http2_counts counts;
	struct http2 *h;

	must(http2_new(&ops, t, &h) == 0, "memory");
	if (n > 0)
		prologue(h, *p++);
	n -= n > 0;
	while (n >= 2) {
		enum http_side side = p[0] & 1;
		enum act act = p[0] / 2 % N_ACTS;
		size_t len = MIN((size_t)p[1] * (p[0] & 0x80 ? 64 : 1), n - 2);

		if (act == FRAME) {
			const uint8_t head[] = {0, (uint8_t)(len >> 8), (uint8_t)len};

			feed(h, side, head, sizeof(head), split);
			len = MIN(len + 6, n - 2);
		}
		if (act == GAP)
			http2_gap(h, side);
		else if (act == SKIP)
			http2_skip(h, side, p[1]);
		else
			feed(h, side, p + 2, len, split);
		t->fed += act >= GAP ? 0 : len + 3;
		n -= act >= GAP ? 2 : len + 2;
		p += act >= GAP ? 2 : len + 2;
	}
	http2_eof(h, n & 1 ? HTTP_RESPONSE : HTTP_REQUEST);
	http2_eof(h, n & 1 ? HTTP_REQUEST : HTTP_RESPONSE);
	counts = *http2_counts(h);
	http2_free(h);
	return counts.resyncs > 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct told whole, split;
	bool searched;

	whole.n_open = split.n_open = 0;
	whole.sum = whole.body = whole.fed = split.sum = split.body = split.fed = 0;
	searched = run(data, size, 0, &whole);

	run(data, size, (unsigned)size | 1, &split);
	must(whole.n_open == 0 && split.n_open == 0, "an end for each side");
	must(whole.body <= whole.fed, "more body than bytes");
	must(searched || (whole.sum == split.sum && whole.body == split.body),
	     "told something else when split");
	return 0;
}
