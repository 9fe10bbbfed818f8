/* SPDX-License-Identifier: MIT */
/* A request and its response, as one owner of both sees them. What the LLM room reads. */
#ifndef AGENTSIGHT_HTTP_EXCHANGE_H
#define AGENTSIGHT_HTTP_EXCHANGE_H

#include <agentsight/wire.h>

#include "base/buf.h"
#include "http/message.h"

struct http_header {
	struct http_text name; /* lower case */
	struct http_text value;
};

/* Where in the decoded body a piece began that arrived at @boot_ns. The first piece has one, too. */
struct http_mark {
	size_t offset;
	uint64_t boot_ns;
};

struct http_message {
	struct http_head
		head; /* method, path, authority, reason; `host` is made up from HTTP/1's header */
	struct http_header *headers;
	size_t n_headers;
	struct buf body;        /* content encodings undone; bounded */
	uint64_t body_full;     /* bytes that the whole decoded body had, kept or not */
	uint64_t body_wire;     /* bytes as transferred, still encoded */
	const char *body_error; /* why the body could not be decoded any further; NULL: fine */
	struct http_mark *marks;
	size_t n_marks; /* bounded: then only the first ones are kept */
	uint64_t begin_ns, head_ns,
		end_ns; /* boot clock: first byte, headers complete, last byte */
	bool begun, headed, ended;
	bool complete; /* ended in order */
};

struct http_exchange {
	uint64_t id;         /* of the exchange on its connection */
	uint64_t stream_id;  /* of the connection, as in ssl events; with tgid its identity */
	struct as_hdr who;   /* header of the event that began it: process, thread, time */
	struct as_conn conn; /* family 0: unknown */
	bool server;         /* the traced process is the server */
	bool tls;            /* else plain text */
	struct http_message request;
	struct http_message response;
	void *user; /* the observer's, NULL at first; see http_observer */
};

/* The value of the header @name (lower case); empty when there is none. The first of several. */
struct http_text http_message_header(const struct http_message *m, const char *name);

/*
 * Who wants to read along. All calls are made on the pipeline's thread; the exchange is borrowed. For
 * each exchange: `request` once its request is complete (or was cut off), `progress` for each further piece of a
 * response body that is an event stream or NDJSON, `response` when it is over, `forget` last, also when one of the others never
 * came; it frees what @user points at. Any may be NULL.
 */
struct http_observer {
	void *context;
	void (*request)(void *context, struct http_exchange *x);
	void (*progress)(void *context, struct http_exchange *x);
	void (*response)(void *context, struct http_exchange *x);
	void (*forget)(void *context, struct http_exchange *x);
	/* A whole WebSocket message on an upgraded connection; @x is the exchange that upgraded it. */
	void (*ws_message)(void *context, struct http_exchange *x, enum http_side side, bool text,
			   struct http_text payload, uint64_t boot_ns);
};

#endif
