/* SPDX-License-Identifier: MIT */
/*
 * A connection of any bytes in any order: what is told is well-formed, and the same when every piece is cut once
 * more. Input: a seed for the cuts, then steps of a control byte (bit 0: the side; bits 1 to 3: what), a length
 * and so many bytes.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "http/http1.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

enum step {
	STEP_SKIP = 5,
	STEP_GAP = 6,
	STEP_EOF = 7, /* all others feed */
};

struct run {
	struct buf told, tails[2];
	struct http1 *http1;
	bool open[2], headed[2], in_body;
	uint64_t ids[2];
	uint32_t random; /* 0: pieces are not cut */
	bool by_call;    /* what was told depends on where calls begin */
};

static void tell(struct run *r, char what, uint64_t id, enum http_side side)
{
	r->in_body = false;
	buf_printf(&r->told, "\n%c%u,%llu ", what, side, (unsigned long long)id);
}

static void on_begin(void *context, uint64_t id, enum http_side side, const struct http_head *head)
{
	struct run *r = context;

	assert(!r->open[side] && id >= r->ids[side]);
	assert(head->path.len <= HTTP1_START_LINE_MAX && head->reason.len <= HTTP1_START_LINE_MAX);
	r->open[side] = true;
	r->headed[side] = false;
	r->ids[side] = id;
	tell(r, 'm', id, side);
	buf_add(&r->told, head->method.p, head->method.len);
	buf_add(&r->told, head->path.p, head->path.len);
	buf_add(&r->told, head->reason.p, head->reason.len);
	buf_printf(&r->told, " %u %u", head->status, head->version);
}

static void on_header(void *context, uint64_t id, enum http_side side, struct http_text name,
		      struct http_text value)
{
	struct run *r = context;

	assert(r->open[side] && id == r->ids[side]);
	tell(r, 'h', id, side);
	buf_add(&r->told, name.p, name.len);
	buf_add_char(&r->told, '=');
	buf_add(&r->told, value.p, value.len);
}

static void on_headers_done(void *context, uint64_t id, enum http_side side)
{
	struct run *r = context;

	assert(r->open[side] && !r->headed[side] && id == r->ids[side]);
	r->headed[side] = true;
	tell(r, 'd', id, side);
}

static void on_body(void *context, uint64_t id, enum http_side side, struct http_text piece)
{
	struct run *r = context;

	assert(r->open[side] && r->headed[side] && id == r->ids[side]);
	if (!r->in_body)
		tell(r, 'b', id, side);
	r->in_body = true;
	buf_add(&r->told, piece.p, piece.len);
}

static void on_end(void *context, uint64_t id, enum http_side side, bool complete)
{
	struct run *r = context;

	assert(!r->open[side] || id == r->ids[side]);
	assert(r->open[side] || !complete);
	assert(!complete || r->headed[side]);
	r->open[side] = false;
	tell(r, complete ? 'e' : 'c', id, side);
}

static void on_upgraded(void *context, uint64_t id, enum http_side side, struct http_text rest)
{
	struct run *r = context;

	assert(!r->open[side]);
	tell(r, 'u', id, side);
	buf_add(&r->tails[side], rest.p, rest.len);
}

static const struct http_parser_ops ops = {
	.begin = on_begin,
	.header = on_header,
	.headers_done = on_headers_done,
	.body = on_body,
	.end = on_end,
	.upgraded = on_upgraded,
};

static void feed(struct run *r, enum http_side side, const uint8_t *p, size_t n)
{
	size_t len;

	for (; n; p += len, n -= len) {
		len = fuzz_piece(&r->random, n);
		if (http1_upgraded(r->http1))
			buf_add(&r->tails[side], p, len);
		else
			http1_feed(r->http1, side, p, len);
	}
}

static void steps(struct run *r, const uint8_t *p, size_t n)
{
	size_t len;

	while (n >= 2) {
		enum http_side side = p[0] & 1 ? HTTP_RESPONSE : HTTP_REQUEST;
		unsigned what = p[0] >> 1 & 7;

		len = p[1] < n - 2 ? p[1] : n - 2;
		r->by_call |= what == STEP_GAP || what == STEP_SKIP;
		if (what == STEP_GAP)
			http1_gap(r->http1, side);
		else if (what == STEP_SKIP)
			http1_skip(r->http1, side, p[1]);
		else if (what == STEP_EOF)
			http1_eof(r->http1, side, true);
		else
			feed(r, side, p + 2, len);
		if (what >= STEP_SKIP)
			len = 0;
		p += 2 + len;
		n -= 2 + len;
	}
}

static void run(struct run *r, const uint8_t *p, size_t n)
{
	if (http1_new(&ops, r, &r->http1) < 0)
		return;
	steps(r, p, n);
	r->by_call |=
		http1_skipped(r->http1, HTTP_REQUEST) || http1_skipped(r->http1, HTTP_RESPONSE);
	http1_eof(r->http1, HTTP_REQUEST, true);
	http1_eof(r->http1, HTTP_RESPONSE, true);
	assert(!r->open[HTTP_REQUEST] && !r->open[HTTP_RESPONSE]);
	tell(r, http1_failed(r->http1, NULL) ? 'f' : '.', 0, HTTP_REQUEST);
	http1_free(r->http1);
}

static void same(const struct buf *a, const struct buf *b)
{
	assert(a->len == b->len);
	assert(a->len == 0 || !memcmp(a->data, b->data, a->len));
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct run whole = {}, cut = {};

	if (n == 0)
		return 0;
	cut.random = p[0] + 1U;
	run(&whole, p + 1, n - 1);
	run(&cut, p + 1, n - 1);
	if (!whole.by_call && !cut.by_call) {
		same(&whole.told, &cut.told);
		same(&whole.tails[0], &cut.tails[0]);
		same(&whole.tails[1], &cut.tails[1]);
	}
	for (size_t i = 0; i < 2; i++) {
		buf_done(&whole.tails[i]);
		buf_done(&cut.tails[i]);
	}
	buf_done(&whole.told);
	buf_done(&cut.told);
	return 0;
}
