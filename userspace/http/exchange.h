/* SPDX-License-Identifier: MIT */
/*
 * A request and its response, as one owner of both sees them: what the parsers tell in parts, put
 * together. What the LLM room and the HTTP stage read.
 *
 * What a stranger can make this room keep is bounded: the headers of a message, its body, its marks,
 * the open exchanges of a connection, and the memory of all connections together, with that of decoders,
 * of WebSocket messages and of who reads along. There the largest body gives way first, or what the reader made
 * of it; where all are small, what comes is left out.
 */
#ifndef AGENTSIGHT_HTTP_EXCHANGE_H
#define AGENTSIGHT_HTTP_EXCHANGE_H

#include <agentsight/wire.h>

#include "base/buf.h"
#include "http/message.h"

#define HTTP_BODY_MAX    (16U << 20) /* kept of one decoded body, where nothing else is asked for */
#define HTTP_MEMORY_MAX  (256U << 20) /* all connections together */
#define HTTP_HEADERS_MAX (256U << 10) /* text of one message's head */
#define HTTP_HEADERS_N   4096
#define HTTP_MARKS_MAX   4096
#define HTTP_OPEN_MAX    4096          /* exchanges of one connection; then the oldest is over */
#define HTTP_OPEN_ALL    65536         /* of all connections: who owns them ends some */
#define HTTP_AHEAD_NS    1000000000ULL /* so long an answer that came first waits for its request */

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
	/* `authority` is made up from HTTP/1's host header */
	struct http_head head;
	struct http_header *headers;
	size_t n_headers;
	struct buf body;        /* content encodings undone; bounded; see `cut` */
	uint64_t body_full;     /* bytes that the whole decoded body had, kept or not */
	uint64_t body_wire;     /* bytes as transferred, still encoded */
	const char *body_error; /* why the body could not be decoded any further; NULL: fine */
	struct http_mark *marks;
	size_t n_marks; /* bounded: then only the first ones are kept */
	/* boot clock: first byte, headers complete, last byte */
	uint64_t begin_ns, head_ns, end_ns;
	bool begun, headed, ended;
	bool complete; /* ended in order, and nothing of it is known to be missing */
	bool hole;     /* a part of the body was not seen: what comes behind it does not follow */
	/* Losses while it was open: each may have been of it. Counted on where a WebSocket goes on. */
	uint32_t doubts;
	/*
	 * The body keeps no more bytes: it reached its bound, a part of it was not seen, or it was the largest
	 * when memory was used up, and then `body.len` has become less between two calls.
	 */
	bool cut;
	/* During `progress`: the decoded bytes that are new, kept or not. */
	struct http_text piece;
};

struct http_exchange {
	uint64_t id;         /* in no other exchange of this run */
	uint64_t stream_id;  /* of the connection, as in ssl events; with tgid its identity */
	struct as_hdr who;   /* header of the event that began it: process, thread, time */
	struct as_conn conn; /* family 0: unknown */
	bool server;         /* the traced process is the server */
	bool tls;            /* else plain text */
	struct http_message request;
	struct http_message response;
	uint64_t now_ns; /* while an observer is told: of its connection's newest event, or end */
	/* during `ws_message`: bytes of the whole message, kept or not; that it was cut off, or not unpacked */
	uint64_t message_full;
	bool message_incomplete;
	void *user; /* the observer's, NULL at first; see http_observer */
	/* The observer's, too: bytes that it holds with @user, and whether it can give some of them back. */
	size_t held;
	bool yields;
};

/* The value of the header @name (lower case); empty when there is none. The first of several. */
struct http_text http_message_header(const struct http_message *m, const char *name);

/*
 * Who wants to read along. All calls are made on the pipeline's thread; the exchange is borrowed. For
 * each exchange: `request` once its request is complete (or was cut off), `progress` for each further
 * piece of a response body that is an event stream or NDJSON, `response` when it is over, `forget`
 * last, also when one of the others never came; it frees what @user points at. Any may be NULL.
 *
 * What an observer holds of an exchange counts in the memory of all connections: each call leaves in @held how
 * much that is. Where memory is used up, `give_way` has it hold less of one exchange that @yields; it never
 * comes within another call.
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
	void (*give_way)(void *context, struct http_exchange *x);
};

/* ---- what all connections share ---- */

struct http_pool;

struct http_limits {
	size_t body_max;   /* 0: HTTP_BODY_MAX */
	size_t memory_max; /* 0: HTTP_MEMORY_MAX */
};

struct http_pool_counts {
	size_t memory; /* bytes held now */
	size_t open;   /* exchanges now */
	/* bodies that were cut since memory was used up, and times that the observer gave way */
	uint64_t gave_way;
	/* per side: messages that never became part of an exchange: no memory, or in bytes that are missing */
	uint64_t lost[2];
	uint64_t ws_lost; /* calls with messages of a WebSocket that cannot be read any more */
};

/* @observer is copied; its context must outlive the pool. */
int http_pool_new(const struct http_limits *limits, const struct http_observer *observer,
		  struct http_pool **ret);
void http_pool_free(struct http_pool *pool); /* after all its exchanges */

/* Large bodies, and what the observer holds, give way until a quarter of the memory is free; false: something else has to. */
bool http_pool_relieve(struct http_pool *pool);

/* Answers that came first are told without a request, if none came meanwhile. */
void http_pool_tick(struct http_pool *pool, uint64_t boot_ns);

const struct http_pool_counts *http_pool_counts(const struct http_pool *pool);

/* ---- the open exchanges of one connection ---- */

struct http_exchanges;

/* An event with bytes of a connection: whose, when, where. */
struct http_origin {
	const struct as_hdr *who; /* `boot_ns` is the time of the piece */
	const struct as_conn *conn;
};

struct http_exchanges_options {
	uint64_t stream_id;
	bool server;
	bool tls;
	/*
	 * The connection is no longer HTTP/1. @x stays until http_exchanges_end(), unless http_exchanges_take_over()
	 * is called: HTTP/2 answers it when it has no response yet.
	 */
	void (*upgraded)(void *context, struct http_exchange *x, enum http_side side,
			 struct http_text rest);
	/* For no answer that came first a request is expected any more. */
	void (*unasked)(void *context);
	void *context;
};

int http_exchanges_new(struct http_pool *pool, const struct http_exchanges_options *opt,
		       struct http_exchanges **ret);

/* For the parsers; their context is the struct http_exchanges. */
extern const struct http_parser_ops http_exchanges_ops;

/* Has an answer come first to which this call, which sends requests, cannot belong? It began behind it. */
bool http_exchanges_unasked(const struct http_exchanges *set, const struct as_hdr *call);

/* Before bytes go to the parser: what it tells until the next call comes from them. */
void http_exchanges_piece(struct http_exchanges *set, enum http_side side,
			  const struct http_origin *origin);

/* The same where no bytes come any more. */
void http_exchanges_time(struct http_exchanges *set, uint64_t boot_ns);

/* Somewhere something was lost: what is open now will not be told as complete. */
void http_exchanges_doubt(struct http_exchanges *set);

/* Tells what is open as incomplete, and forgets it. */
void http_exchanges_end(struct http_exchanges *set, uint64_t boot_ns);

void http_exchanges_free(struct http_exchanges *set);

/* What HTTP/1 began: the answer comes from HTTP/2, on stream @id. */
void http_exchanges_take_over(struct http_exchanges *set, struct http_exchange *x, uint64_t id);

size_t http_exchanges_open(const struct http_exchanges *set);

/* Bytes of the pool's that it holds. */
size_t http_exchanges_memory(const struct http_exchanges *set);

/* Its owner keeps @n bytes for it now. false: the pool has no room for them. */
bool http_exchanges_hold(struct http_exchanges *set, size_t n);

void http_pool_ws_message(struct http_pool *pool, struct http_exchange *x, enum http_side side,
			  bool text, struct http_text payload, uint64_t boot_ns);
void http_pool_ws_lost(struct http_pool *pool);
void http_pool_lost(struct http_pool *pool, enum http_side side);

#endif
