/* SPDX-License-Identifier: MIT */
/*
 * What the parsers of HTTP/1 and HTTP/2 tell of the bytes they are fed: messages in parts, as they
 * come. One object parses one connection, both directions; nothing is kept per thread or per call.
 *
 * All text is borrowed for the length of the callback and comes from a stranger: no length is trusted
 * and nothing is NUL-terminated.
 */
#ifndef AGENTSIGHT_HTTP_MESSAGE_H
#define AGENTSIGHT_HTTP_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

/* Which way bytes go. Of the two ends the client is the one that sends requests. */
enum http_side {
	HTTP_REQUEST,  /* from the client */
	HTTP_RESPONSE, /* from the server */
};

struct http_text {
	const char *p;
	size_t len;
};

/* Whatever its case. */
static inline bool http_text_is(struct http_text t, const char *word)
{
	return t.len == strlen(word) && !strncasecmp(t.p, word, t.len);
}

/* The first line, or the pseudo-headers of HTTP/2. What a side does not have is empty. */
struct http_head {
	struct http_text method;
	struct http_text path;      /* with the query; as sent */
	struct http_text authority; /* HTTP/2 only: HTTP/1 has it in `host` */
	struct http_text reason;
	unsigned status;
	unsigned version; /* 10, 11 or 20 */
};

/*
 * @id: numbers the exchanges of a connection; a response carries that of its request. In order for
 * HTTP/1 (0, 1, 2, ...: with pipelining the n-th response answers the n-th request, and an interim 1xx
 * response is reported under the id of the final one), the stream id for HTTP/2.
 */
struct http_parser_ops {
	/* A head, with its headers following one by one; then `headers_done`. */
	void (*begin)(void *context, uint64_t id, enum http_side side,
		      const struct http_head *head);
	void (*header)(void *context, uint64_t id, enum http_side side, struct http_text name,
		       struct http_text value);
	void (*headers_done)(void *context, uint64_t id, enum http_side side);
	/* Payload: chunks, padding and frames are gone, content encodings are not. */
	void (*body)(void *context, uint64_t id, enum http_side side, struct http_text piece);
	/* In place of `body`: @n bytes of payload that nobody saw. */
	void (*missing)(void *context, uint64_t id, enum http_side side, uint64_t n);
	/*
	 * Behind `begin`: the answer came first, and its request is expected. Comes none, `end` says that once its
	 * place is taken.
	 */
	void (*ahead)(void *context, uint64_t id);
	/* The message is over; not @complete when the connection, a reset or a gap cut it off. */
	void (*end)(void *context, uint64_t id, enum http_side side, bool complete);
	/* Bytes are missing, or not understood, that no message shows which was told: at least one is lost. */
	void (*lost)(void *context, enum http_side side);
	/*
	 * The connection is no longer HTTP from here on: both sides agreed on an upgrade (101), or a CONNECT
	 * succeeded. The parser takes no further bytes; @rest are those it was fed behind that point.
	 */
	void (*upgraded)(void *context, uint64_t id, enum http_side side, struct http_text rest);
};

#endif
