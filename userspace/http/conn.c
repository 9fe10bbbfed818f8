/* SPDX-License-Identifier: MIT */
/*
 * Which end the process is follows from the first bytes that say what they are: who writes a request is
 * the client. Bytes that are too few to tell are kept until more come, a few dozen at most.
 *
 * The address of an SSL object is soon that of the next one, and not every program makes its
 * handshake where it can be seen. So another socket underneath, a second preface, or bytes that a
 * parser refuses begin a new connection as a handshake does.
 */
#include "http/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <agentsight/events.h>

#include "base/cleanup.h"
#include "http/http1.h"
#include "http/http2.h"
#include "http/http2_frame.h"
#include "http/websocket.h"

#define SNIFF_MAX 64
#define LOOKS_MAX 16 /* calls in vain, before only certain first bytes are worth a look */

enum protocol {
	PROTO_UNKNOWN,
	PROTO_HTTP1,
	PROTO_HTTP2,
	PROTO_WEBSOCKET,
	PROTO_OTHER, /* none of these until its end */
};

/* First bytes of a direction, too few to tell. */
struct sniff {
	uint8_t len;
	char bytes[SNIFF_MAX];
};

struct http_conn {
	struct http_pool *pool;
	struct http_conn_options opt;
	enum protocol protocol;
	bool server;
	bool preface_due; /* HTTP/2 was agreed upon in HTTP/1 */
	uint8_t looks;
	struct as_conn conn;
	uint64_t last_ns;
	struct sniff sniffs[2]; /* by direction */
	struct http_exchanges *exchanges;
	struct http1 *http1;
	struct http2 *http2;
	struct websocket *websockets[2]; /* by side */
	struct http_exchange *upgraded;
};

/* What a direction's first bytes are. */
struct look {
	enum protocol protocol; /* PROTO_OTHER: none that is known */
	enum http_side side;
};

static enum http_side side_of(const struct http_conn *c, enum as_tls_direction direction)
{
	return (direction == AS_TLS_WRITE) != c->server ? HTTP_REQUEST : HTTP_RESPONSE;
}

/* ---- what is it? ---- */

static bool same_address(const struct as_addr *a, const struct as_addr *b)
{
	return a->port == b->port && !memcmp(a->ip, b->ip, sizeof(a->ip));
}

/* Frames of a connection that is under way do not tell their sender: servers have the lower port. */
static enum http_side middle_side(const struct http_conn *c, enum as_tls_direction direction)
{
	bool server = c->conn.local.family && c->conn.local.port < c->conn.remote.port;

	return (direction == AS_TLS_WRITE) != server ? HTTP_REQUEST : HTTP_RESPONSE;
}

static struct look look_at(const struct http_conn *c, enum as_tls_direction direction,
			   const char *p, size_t n)
{
	bool maybe = false, middle = false;

	for (int i = 0; i < 2; i++) {
		enum http_side side = i ? HTTP_RESPONSE : HTTP_REQUEST;
		enum http1_look one = http1_looks_like(side, p, n);
		enum http2_look two = http2_looks_like(side, p, n);

		if (one == HTTP1_LOOK_YES)
			return (struct look){PROTO_HTTP1, side};
		if (two == HTTP2_LOOK_START)
			return (struct look){PROTO_HTTP2, side};
		maybe |= one == HTTP1_LOOK_SHORT || two == HTTP2_LOOK_SHORT;
		middle |= two == HTTP2_LOOK_MIDDLE;
	}
	if (middle && !c->opt.fresh)
		return (struct look){PROTO_HTTP2, middle_side(c, direction)};
	return (struct look){maybe ? PROTO_UNKNOWN : PROTO_OTHER, HTTP_REQUEST};
}

/* ---- beginning and end ---- */

static void upgraded(void *context, struct http_exchange *x, enum http_side side,
		     struct http_text rest);

static void unasked(void *context)
{
	struct http_conn *c = context;

	if (c->http1)
		http1_unasked(c->http1);
}

static void close_parsers(struct http_conn *c)
{
	http1_free(TAKE_PTR(c->http1));
	http2_free(TAKE_PTR(c->http2));
}

/* The parsers say what they hold, then all that is open is told. */
static void finish(struct http_conn *c, uint64_t boot_ns, bool closed)
{
	if (c->exchanges)
		http_exchanges_time(c->exchanges, boot_ns);
	for (enum http_side side = HTTP_REQUEST; side <= HTTP_RESPONSE; side++) {
		if (c->http1)
			http1_eof(c->http1, side, closed);
		if (c->http2)
			http2_eof(c->http2, side);
		if (c->websockets[side])
			websocket_eof(c->websockets[side]);
		websocket_free(TAKE_PTR(c->websockets[side]));
	}
	close_parsers(c);
	if (c->exchanges)
		http_exchanges_end(c->exchanges, boot_ns);
	http_exchanges_free(TAKE_PTR(c->exchanges));
	c->upgraded = NULL;
}

/* As if nothing had been seen: what was is of a connection that is closed by now. */
static void restart(struct http_conn *c, bool fresh)
{
	finish(c, c->last_ns, true);
	c->protocol = PROTO_UNKNOWN;
	c->opt.fresh = fresh;
	c->looks = 0;
	c->preface_due = false;
	c->sniffs[AS_TLS_READ].len = 0;
	c->sniffs[AS_TLS_WRITE].len = 0;
	c->conn = (struct as_conn){};
}

static int open_parser(struct http_conn *c, enum protocol protocol)
{
	const struct http_exchanges_options opt = {
		.stream_id = c->opt.stream_id,
		.server = c->server,
		.tls = c->opt.tls,
		.upgraded = upgraded,
		.unasked = unasked,
		.context = c,
	};
	int r = http_exchanges_new(c->pool, &opt, &c->exchanges);

	if (r < 0)
		return r;
	if (protocol == PROTO_HTTP1)
		r = http1_new(&http_exchanges_ops, c->exchanges, &c->http1);
	else
		r = http2_new(&http_exchanges_ops, c->exchanges, &c->http2);
	if (r < 0)
		http_exchanges_free(TAKE_PTR(c->exchanges));
	return r;
}

/* ---- WebSocket ---- */

static void on_message(void *context, enum http_side side, const struct websocket_message *m)
{
	struct http_conn *c = context;

	c->upgraded->message_full = m->full_len;
	/* what is merely not kept shows in the length; behind a fault of the packing nobody knows that */
	c->upgraded->message_incomplete = m->incomplete || m->error;
	http_pool_ws_message(c->pool, c->upgraded, side, m->text, m->payload, c->last_ns);
}

static bool is_websocket(const struct http_exchange *x)
{
	return x->response.head.status == 101 &&
	       http_text_is(http_message_header(&x->response, "upgrade"), "websocket") &&
	       http_message_header(&x->response, "sec-websocket-accept").len;
}

static void open_websocket(struct http_conn *c, struct http_exchange *x)
{
	static const struct websocket_ops ops = {.message = on_message};
	struct http_text extensions = http_message_header(&x->response, "sec-websocket-extensions");
	struct websocket_params params;

	c->protocol = PROTO_WEBSOCKET;
	c->upgraded = x;
	if (websocket_params_parse(extensions, &params) < 0 ||
	    websocket_new(HTTP_REQUEST, &params, &ops, c, &c->websockets[HTTP_REQUEST]) < 0)
		return;
	if (websocket_new(HTTP_RESPONSE, &params, &ops, c, &c->websockets[HTTP_RESPONSE]) < 0)
		websocket_free(TAKE_PTR(c->websockets[HTTP_REQUEST]));
}

/* What comes behind a fault, or with an extension that is not known, is only counted. */
static bool is_read(const struct websocket *w)
{
	return w && !websocket_failed(w, NULL);
}

/* What both directions hold is the pool's. False: that has no more. */
static bool hold_websockets(struct http_conn *c)
{
	return http_exchanges_hold(c->exchanges,
				   websocket_memory(c->websockets[HTTP_REQUEST]) +
					   websocket_memory(c->websockets[HTTP_RESPONSE]));
}

/* Where there is no room, the newest message gives way. */
static void feed_websocket(struct http_conn *c, enum http_side side, const char *p, size_t n)
{
	struct websocket *w = c->websockets[side];

	if (w)
		websocket_feed(w, p, n);
	if (n && !is_read(w))
		http_pool_ws_lost(c->pool);
	if (!w || hold_websockets(c))
		return;
	websocket_drop(w);
	hold_websockets(c);
}

static void feed_http2(struct http_conn *c, enum http_side side, const char *p, size_t n)
{
	c->preface_due &= side != HTTP_REQUEST || !n;
	http2_feed(c->http2, side, p, n);
}

/* From HTTP/1: the answer is still to come. */
static void open_http2(struct http_conn *c, struct http_exchange *x)
{
	c->protocol = PROTO_OTHER;
	if (http2_new(&http_exchanges_ops, c->exchanges, &c->http2) < 0) {
		http_pool_lost(c->pool, HTTP_RESPONSE);
		return;
	}
	c->protocol = PROTO_HTTP2;
	c->preface_due = true;
	http_exchanges_take_over(c->exchanges, x, HTTP2_TAKEN_OVER);
	http2_take_over(c->http2);
}

/* Called by the parser for each side, the request's first; it is freed once it has returned. */
static void upgraded(void *context, struct http_exchange *x, enum http_side side,
		     struct http_text rest)
{
	struct http_conn *c = context;

	if (c->protocol == PROTO_HTTP1 && !x->response.begun)
		open_http2(c, x);
	else if (c->protocol == PROTO_HTTP1 && is_websocket(x))
		open_websocket(c, x);
	else if (c->protocol == PROTO_HTTP1)
		c->protocol = PROTO_OTHER;
	if (c->protocol == PROTO_HTTP2)
		feed_http2(c, side, rest.p, rest.len);
	else if (c->protocol == PROTO_WEBSOCKET)
		feed_websocket(c, side, rest.p, rest.len);
}

/* ---- bytes ---- */

static bool parser_failed(const struct http_conn *c)
{
	if (c->http1)
		return http1_failed(c->http1, NULL);
	return c->http2 && http2_failed(c->http2, NULL);
}

/* There is nothing to take from a parser: where there is no room, who owns the connections ends some. */
static void hold_parser(struct http_conn *c)
{
	size_t n = c->http1 ? http1_memory(c->http1) : c->http2 ? http2_memory(c->http2) : 0;

	http_exchanges_hold(c->exchanges, n);
}

static void feed_protocol(struct http_conn *c, enum as_tls_direction direction, const char *p,
			  size_t n, const struct http_origin *origin)
{
	enum http_side side = side_of(c, direction);

	switch (c->protocol) {
	case PROTO_HTTP1:
		if (side == HTTP_REQUEST && http_exchanges_unasked(c->exchanges, origin->who))
			http1_unasked(c->http1);
		http_exchanges_piece(c->exchanges, side, origin);
		http1_feed(c->http1, side, p, n);
		break;
	case PROTO_HTTP2:
		http_exchanges_piece(c->exchanges, side, origin);
		feed_http2(c, side, p, n);
		break;
	case PROTO_WEBSOCKET:
		feed_websocket(c, side, p, n);
		break;
	case PROTO_UNKNOWN:
	case PROTO_OTHER:
		return;
	}
	if (c->http2)
		http1_free(TAKE_PTR(c->http1));
	if (c->protocol == PROTO_WEBSOCKET || c->protocol == PROTO_OTHER)
		close_parsers(c);
	else if (parser_failed(c))
		restart(c, false);
	else
		hold_parser(c);
}

/* Keeps what is too short. What does not fit is longer than any beginning that is still in doubt. */
static void sniff_keep(struct http_conn *c, enum as_tls_direction direction, const char *p,
		       size_t n)
{
	struct sniff *s = &c->sniffs[direction];

	if (n > SNIFF_MAX) {
		s->len = 0;
		return;
	}
	memmove(s->bytes, p, n);
	s->len = (uint8_t)n;
}

/* The first bytes of a direction, for which there is no memory. */
static void unread(struct http_conn *c, enum as_tls_direction direction)
{
	http_pool_lost(c->pool, side_of(c, direction));
	c->sniffs[direction].len = 0;
}

static void identify(struct http_conn *c, enum as_tls_direction direction, const char *p, size_t n,
		     const struct http_origin *origin)
{
	struct look look = look_at(c, direction, p, n);
	struct sniff *other = &c->sniffs[!direction];

	switch (look.protocol) {
	case PROTO_UNKNOWN:
		sniff_keep(c, direction, p, n);
		return;
	case PROTO_OTHER:
		c->sniffs[direction].len = 0;
		c->looks += c->looks < LOOKS_MAX;
		if (c->opt.fresh)
			c->protocol = PROTO_OTHER;
		return;
	case PROTO_HTTP1:
	case PROTO_HTTP2:
	case PROTO_WEBSOCKET:
		break;
	}
	c->server = (direction == AS_TLS_WRITE) != (look.side == HTTP_REQUEST);
	if (open_parser(c, look.protocol) < 0) {
		unread(c, direction);
		return;
	}
	c->protocol = look.protocol;
	if (other->len)
		feed_protocol(c, !direction, other->bytes, other->len, origin);
	other->len = 0;
	feed_protocol(c, direction, p, n, origin);
	c->sniffs[direction].len = 0;
}

static void identify_joined(struct http_conn *c, enum as_tls_direction direction, const char *p,
			    size_t n, const struct http_origin *origin)
{
	_cleanup_(buf_done) struct buf both = {};

	buf_add(&both, c->sniffs[direction].bytes, c->sniffs[direction].len);
	buf_add(&both, p, n);
	if (both.failed)
		unread(c, direction);
	else
		identify(c, direction, both.data, both.len, origin);
}

/* Bytes that can only be the first of a connection, while another one is under way. */
static bool begins_again(const struct http_conn *c, const char *p, size_t n)
{
	if (!c->exchanges || *p < 'A' || *p > 'Z')
		return false;
	if (n >= HTTP2_PREFACE_LEN && !memcmp(p, HTTP2_PREFACE, HTTP2_PREFACE_LEN))
		return !c->preface_due;
	return c->http2 && !http_exchanges_open(c->exchanges) &&
	       http1_looks_like(HTTP_REQUEST, p, n) == HTTP1_LOOK_YES;
}

/* Another socket than before? What it is may become known only after the first calls. */
static bool moved(struct http_conn *c, const struct as_conn *now)
{
	bool same = same_address(&c->conn.local, &now->local) &&
		    same_address(&c->conn.remote, &now->remote);

	if (!now->local.family || same)
		return false;
	if (c->conn.local.family)
		return true;
	c->conn = *now;
	return false;
}

/* A connection that was met in its middle: may it go on with something else now? */
static bool worth_a_look(const struct http_conn *c, const char *p)
{
	return c->looks < LOOKS_MAX || (*p >= 'A' && *p <= 'Z') || *p == '\0';
}

void http_conn_feed(struct http_conn *c, enum as_tls_direction direction, const void *p, size_t n,
		    const struct http_origin *origin)
{
	if (!n)
		return;
	if (moved(c, origin->conn) || begins_again(c, p, n))
		restart(c, false);
	if (c->protocol == PROTO_OTHER)
		return;
	c->last_ns = origin->who->boot_ns;
	moved(c, origin->conn);
	if (c->protocol != PROTO_UNKNOWN)
		feed_protocol(c, direction, p, n, origin);
	else if (c->sniffs[direction].len)
		identify_joined(c, direction, p, n, origin);
	else if (worth_a_look(c, p))
		identify(c, direction, p, n, origin);
}

void http_conn_gap(struct http_conn *c, enum as_tls_direction direction, uint64_t n)
{
	enum http_side side = side_of(c, direction);

	switch (c->protocol) {
	case PROTO_HTTP1:
		http1_skip(c->http1, side, n);
		break;
	case PROTO_HTTP2:
		http2_skip(c->http2, side, n);
		break;
	case PROTO_WEBSOCKET:
		if (c->websockets[side])
			websocket_gap(c->websockets[side]);
		if (!is_read(c->websockets[side]))
			http_pool_ws_lost(c->pool);
		break;
	case PROTO_UNKNOWN:
		c->sniffs[direction].len = 0;
		c->opt.fresh = false;
		break;
	case PROTO_OTHER:
		break;
	}
}

void http_conn_doubt(struct http_conn *c)
{
	if (c->exchanges)
		http_exchanges_doubt(c->exchanges);
	for (size_t i = 0; i < ARRAY_SIZE(c->websockets); i++) {
		if (c->websockets[i])
			websocket_doubt(c->websockets[i]);
	}
}

bool http_conn_handshake(struct http_conn *c, const struct http_origin *origin)
{
	bool known = c->conn.local.family && origin->conn->local.family;

	/* once more on the same socket: keys are renewed, the bytes go on */
	if (known && !moved(c, origin->conn))
		return false;
	restart(c, true);
	moved(c, origin->conn);
	return true;
}

void http_conn_end(struct http_conn *c, uint64_t boot_ns, bool closed)
{
	finish(c, boot_ns, closed);
	c->protocol = PROTO_UNKNOWN;
}

int http_conn_new(struct http_pool *pool, const struct http_conn_options *opt,
		  struct http_conn **ret)
{
	struct http_conn *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->pool = pool;
	c->opt = *opt;
	*ret = c;
	return 0;
}

void http_conn_free(struct http_conn *c)
{
	if (!c)
		return;
	finish(c, c->last_ns, false);
	free(c);
}

bool http_conn_at_rest(const struct http_conn *c)
{
	return !c->http2 && !c->upgraded && !(c->exchanges && http_exchanges_open(c->exchanges));
}

size_t http_conn_memory(const struct http_conn *c)
{
	return c->exchanges ? http_exchanges_memory(c->exchanges) : 0;
}
