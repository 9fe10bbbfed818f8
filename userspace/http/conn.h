/* SPDX-License-Identifier: MIT */
/*
 * One connection's plaintext, call by call: finds out what is spoken, and by whom, feeds the parser of
 * that, and follows an upgrade to WebSocket. What is not HTTP is remembered and costs one comparison.
 */
#ifndef AGENTSIGHT_HTTP_CONN_H
#define AGENTSIGHT_HTTP_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <agentsight/events.h>

#include "http/exchange.h"

struct http_conn;

struct http_conn_options {
	uint64_t stream_id;
	bool tls;
	bool fresh; /* its first byte is known to be the first: then what is not HTTP never will be */
};

/* @pool must outlive it. 0 or -ENOMEM. */
int http_conn_new(struct http_pool *pool, const struct http_conn_options *opt,
		  struct http_conn **ret);

/* Bytes of one call, read or written by the traced process. */
void http_conn_feed(struct http_conn *c, enum as_tls_direction direction, const void *p, size_t n,
		    const struct http_origin *origin);

/* Behind what was fed, @n bytes of that direction are missing. */
void http_conn_gap(struct http_conn *c, enum as_tls_direction direction, uint64_t n);

/* Something was lost, not known where: what is open now is not told as complete. */
void http_conn_doubt(struct http_conn *c);

/* A handshake: what comes next is another connection, if it is not on the same socket. Is it? */
bool http_conn_handshake(struct http_conn *c, const struct http_origin *origin);

/* It is over: tells what is open. Not @closed: there may have been more, but nobody listens. */
void http_conn_end(struct http_conn *c, uint64_t boot_ns, bool closed);

/* The same, not closed, with the time of the last byte. */
void http_conn_free(struct http_conn *c);

/*
 * Nothing is open, and what follows can be read without what is known of it: HTTP/2 has tables of headers, a
 * WebSocket its beginning.
 */
bool http_conn_at_rest(const struct http_conn *c);

/* Bytes of the pool's memory that it holds. */
size_t http_conn_memory(const struct http_conn *c);

#endif
