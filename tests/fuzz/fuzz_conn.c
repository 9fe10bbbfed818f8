/* SPDX-License-Identifier: MIT */
/*
 * A connection call by call: each starts with a byte that says what happens (read, write, gap,
 * handshake, doubt, end) and one with the length. Small limits, so that all of them are met. What the
 * observer is told must be consistent, and nothing may be left at the end.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <agentsight/events.h>

#include "base/cleanup.h"
#include "http/conn.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

#define BODY_MAX   4096
#define MEMORY_MAX (1U << 20)

static size_t open_users;

/* So that a sanitizer sees text that is not there. */
static void touch(struct http_text t)
{
	volatile char sum = 0;

	for (size_t i = 0; i < t.len; i++)
		sum = (char)(sum ^ t.p[i]);
}

static void check_message(const struct http_message *m)
{
	const struct http_text head[] = {m->head.method, m->head.path, m->head.authority,
					 m->head.reason};
	size_t text = 0;

	for (size_t i = 0; i < ARRAY_SIZE(head); i++)
		touch(head[i]);
	for (size_t i = 0; i < m->n_headers; i++) {
		touch(m->headers[i].name);
		touch(m->headers[i].value);
		text += m->headers[i].name.len + m->headers[i].value.len;
	}
	touch((struct http_text){m->body.data, m->body.len});
	must(text <= HTTP_HEADERS_MAX && m->n_headers <= HTTP_HEADERS_N);
	must(m->body.len <= BODY_MAX && m->body_full >= m->body.len);
	must(m->body_full == m->body.len || m->cut);
	must(m->n_marks <= HTTP_MARKS_MAX);
	for (size_t i = 0; i < m->n_marks; i++)
		must(m->marks[i].offset <= BODY_MAX);
	must(!m->ended || m->end_ns >= m->begin_ns);
	must(!m->complete || m->ended);
}

/* As if it kept what it gets, and half of that in the end. */
static void on_give_way(void *context, struct http_exchange *x)
{
	must(x->yields);
	x->held /= 2;
	x->yields = x->held > 64;
}

static void hold(struct http_exchange *x, size_t n)
{
	x->held += n;
	x->yields = x->held > 64;
}

static void on_request(void *context, struct http_exchange *x)
{
	hold(x, x->request.body.len);
	must(!x->user && x->request.begun && x->request.ended);
	x->user = malloc(1);
	open_users++;
	check_message(&x->request);
}

static void on_progress(void *context, struct http_exchange *x)
{
	must(!x->request.begun || x->user);
	touch(x->response.piece);
	hold(x, x->response.piece.len);
	check_message(&x->response);
}

static void on_response(void *context, struct http_exchange *x)
{
	must(x->response.begun && x->response.ended);
	check_message(&x->request);
	check_message(&x->response);
}

static void on_forget(void *context, struct http_exchange *x)
{
	open_users -= x->user != NULL;
	free(x->user);
}

static void on_ws(void *context, struct http_exchange *x, enum http_side side, bool text,
		  struct http_text payload, uint64_t boot_ns)
{
	touch(payload);
	hold(x, payload.len);
	check_message(&x->request);
}

static void step(struct http_conn *c, uint8_t what, const uint8_t *p, size_t n,
		 const struct http_origin *origin)
{
	_cleanup_(freep) void *copy = malloc(n + !n);

	if (!copy)
		return;
	memcpy(copy, p, n);
	switch (what % 16) {
	case 12:
		http_conn_gap(c, what >> 7, n);
		break;
	case 13:
		http_conn_handshake(c, origin);
		break;
	case 14:
		http_conn_doubt(c);
		break;
	case 15:
		http_conn_end(c, origin->who->boot_ns, true);
		break;
	default:
		http_conn_feed(c, what >> 7, copy, n, origin);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	const struct http_observer observer = {NULL,      on_request, on_progress, on_response,
					       on_forget, on_ws,      on_give_way};
	const struct http_limits limits = {BODY_MAX, MEMORY_MAX};
	struct http_conn_options opt = {.stream_id = 1, .fresh = n & 1};
	struct as_hdr who = {.boot_ns = 1, .tgid = 2};
	struct as_conn ends = {};
	const struct http_origin origin = {&who, &ends};
	struct http_pool *pool;
	struct http_conn *c;

	must(http_pool_new(&limits, &observer, &pool) == 0);
	must(http_conn_new(pool, &opt, &c) == 0);
	while (n > 2) {
		size_t len = MIN((size_t)p[1] << (p[0] >> 4 & 3), n - 2);

		who.boot_ns++;
		step(c, p[0], p + 2, len, &origin);
		p += 2 + len;
		n -= 2 + len;
	}
	http_conn_free(c);
	must(!open_users && !http_pool_counts(pool)->open && !http_pool_counts(pool)->memory);
	http_pool_free(pool);
	return 0;
}
