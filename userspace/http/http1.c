/* SPDX-License-Identifier: MIT */
/*
 * HTTP/1: llhttp finds the borders, this file joins what llhttp hands out in pieces, pairs answers
 * with requests, and decides what it cannot know by itself: whether an answer has a body, where
 * another protocol begins, and where to go on when bytes are missing. It must not know who feeds it.
 */
#include "http/http1.h"

#include <errno.h>
#include <string.h>

/* llhttp's names for the types of its parsers are ours for the sides. */
#define HTTP_REQUEST  LLHTTP_TYPE_REQUEST
#define HTTP_RESPONSE LLHTTP_TYPE_RESPONSE
#include <llhttp.h>
#undef HTTP_REQUEST
#undef HTTP_RESPONSE

#include "base/buf.h"

#define QUEUE_MASK (HTTP1_PIPELINE_MAX - 1)
#define PREFIX_MAX 16 /* the longest method and a blank fit */

_Static_assert((HTTP1_PIPELINE_MAX & QUEUE_MASK) == 0, "the queue is indexed with a mask");

enum side_state {
	SIDE_START, /* nothing seen yet, or only the beginning of a first line */
	SIDE_OPEN,  /* llhttp knows where it is */
	SIDE_HELD, /* behind a request that asks for another protocol: what follows depends on the answer */
	SIDE_LOST, /* bytes are missing: the next head at the start of a call is certain again */
	SIDE_CLOSED,
};

/* What the answer's shape depends on. */
enum request_kind {
	KIND_UNSEEN,
	KIND_PLAIN,
	KIND_HEAD,
	KIND_CONNECT,
};

struct side {
	llhttp_t parser;
	struct http1 *owner;
	struct buf text; /* the start line, then one header at a time */
	size_t start_len, name_len;
	size_t headers_len;    /* of the message, against HTTP1_HEADERS_MAX */
	uint64_t first_length; /* what an earlier header said, when another one is being read */
	uint64_t id, skipped;
	enum http_side which;
	enum side_state state;
	bool open;      /* a message has begun for llhttp */
	bool told;      /* ... and for the caller */
	bool headed;    /* its headers are over */
	bool holed;     /* bytes of it are missing */
	bool chunked;   /* by on_chunk_header, which only comes when it is */
	bool in_chunk;  /* in the data of a chunk */
	bool switching; /* it asks for another protocol, or is the answer that grants it */
	bool ahead;     /* an answer whose request may be the next one */
	bool again;     /* a second Content-Length is being read */
	bool identity;  /* the last Transfer-Encoding is none */
	bool expects;   /* a request whose body is sent when the server asks for it, if at all */
	uint8_t prefix_len;
	char prefix[PREFIX_MAX];
};

struct http1 {
	const struct http_parser_ops *ops;
	void *context;
	const char *reason;
	bool upgraded, pipelined;
	uint64_t next_request,
		next_response; /* ids; between them are the requests without an answer */
	struct buf held;
	struct side sides[2];
	uint8_t kinds[HTTP1_PIPELINE_MAX];
};

/* ---- what a message begins with ---- */

#define METHOD_TEXT(number, name, text) {#text " ", sizeof(#text)},
static const struct {
	const char *text;
	size_t len;
} methods[] = {HTTP_METHOD_MAP(METHOD_TEXT)};

/* How the two begin: the shorter one may be the beginning of the other. */
static enum http1_look prefix_looks(const char *p, size_t n, const char *word, size_t len)
{
	if (memcmp(p, word, MIN(n, len)) != 0)
		return HTTP1_LOOK_NO;
	return n >= len ? HTTP1_LOOK_YES : HTTP1_LOOK_SHORT;
}

enum http1_look http1_looks_like(enum http_side side, const void *p, size_t n)
{
	enum http1_look best = HTTP1_LOOK_NO;

	if (n == 0)
		return HTTP1_LOOK_SHORT;
	if (side == HTTP_RESPONSE)
		return prefix_looks(p, n, "HTTP/1.", 7);
	for (size_t i = 0; i < ARRAY_SIZE(methods) && best != HTTP1_LOOK_YES; i++)
		best = MAX(best, prefix_looks(p, n, methods[i].text, methods[i].len));
	return best;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* "HTTP/1.x ddd" */
static bool status_line(const char *p, size_t n)
{
	return n >= 12 && is_digit(p[7]) && p[8] == ' ' && is_digit(p[9]) && is_digit(p[10]) &&
	       is_digit(p[11]);
}

/* "... HTTP/1.x\n": a payload may well begin with GET and a blank. */
static bool request_line(const char *p, size_t n)
{
	const char *end = memchr(p, '\n', n);

	if (!end)
		return false;
	if (end > p && end[-1] == '\r')
		end--;
	return end - p > 9 && memcmp(end - 9, " HTTP/1.", 8) == 0 && is_digit(end[-1]);
}

/* Enough of a head to believe it in the middle of a stream. */
static bool certain_head(enum http_side side, const char *p, size_t n)
{
	if (http1_looks_like(side, p, n) != HTTP1_LOOK_YES)
		return false;
	return side == HTTP_REQUEST ? request_line(p, n) : status_line(p, n);
}

/* ---- ends ---- */

static void message_clear(struct side *s)
{
	buf_done(&s->text);
	s->start_len = s->name_len = s->headers_len = 0;
	s->open = s->told = s->headed = s->holed = s->chunked = s->in_chunk = s->switching = false;
	s->ahead = s->again = s->identity = s->expects = false;
}

/* An answer is over: the next one has the next id, unless this one was interim. */
static void response_over(struct side *s)
{
	unsigned status = (unsigned)s->parser.status_code;

	if (s->headed && status / 100 == 1 && !s->switching) {
		s->owner->sides[HTTP_REQUEST].expects &= status != 100;
		return;
	}
	s->owner->next_response++;
}

static void tell_lost(struct side *s)
{
	struct http1 *h = s->owner;

	if (h->ops->lost)
		h->ops->lost(h->context, s->which);
}

static void message_end(struct side *s, bool complete)
{
	struct http1 *h = s->owner;

	if (!s->open)
		return;
	if (!s->told)
		tell_lost(s);
	else if (h->ops->end)
		h->ops->end(h->context, s->id, s->which, complete && !s->holed);
	if (s->which == HTTP_RESPONSE)
		response_over(s);
	message_clear(s);
}

/* Requests that nobody answers any more. */
static void answers_missing(struct http1 *h, uint64_t below)
{
	for (; h->next_response < below; h->next_response++)
		if (h->ops->end)
			h->ops->end(h->context, h->next_response, HTTP_RESPONSE, false);
}

static int fail(struct http1 *h, const char *reason)
{
	if (h->reason)
		return HPE_USER;
	h->reason = reason ? reason : "not understood";
	for (size_t i = 0; i < ARRAY_SIZE(h->sides); i++)
		message_end(&h->sides[i], false);
	answers_missing(h, h->next_request);
	buf_done(&h->held);
	return HPE_USER;
}

/* ---- which answer belongs to which request ---- */

static bool request_outstanding(const struct http1 *h)
{
	return h->next_response < h->next_request;
}

static int request_take_id(struct side *s)
{
	struct http1 *h = s->owner;

	/* What is sent while answers are missing does not show that the client would not wait. */
	if (request_outstanding(h) && h->sides[HTTP_RESPONSE].state == SIDE_OPEN)
		h->pipelined = true;
	if (request_outstanding(h) && h->next_request - h->next_response >= HTTP1_PIPELINE_MAX)
		return fail(h, "too many requests without an answer");
	s->id = h->next_request++;
	h->kinds[s->id & QUEUE_MASK] = KIND_PLAIN;
	return 0;
}

/* Answers that came first, and get no request any more. */
static void requests_missing(struct http1 *h)
{
	uint64_t below = h->next_response + h->sides[HTTP_RESPONSE].ahead;

	for (; h->next_request < below; h->next_request++)
		if (h->ops->end)
			h->ops->end(h->context, h->next_request, HTTP_REQUEST, false);
	h->sides[HTTP_RESPONSE].ahead = false;
}

/* Of a request in whose middle the client is not: is the next byte the first of one? */
static bool request_may_come(const struct http1 *h)
{
	const struct side *s = &h->sides[HTTP_REQUEST];

	if (s->state == SIDE_START)
		return !s->prefix_len;
	return s->state == SIDE_OPEN && !s->open;
}

/*
 * Nobody asked: its request was sent before we looked, or was lost; or another thread has read the answer before the
 * call that sent the request returned.
 */
static void response_unasked(struct side *s)
{
	struct http1 *h = s->owner;

	requests_missing(h);
	h->kinds[h->next_request & QUEUE_MASK] = KIND_UNSEEN;
	s->ahead = request_may_come(h);
	h->next_request += !s->ahead;
}

static void response_take_id(struct side *s)
{
	if (!request_outstanding(s->owner))
		response_unasked(s);
	s->id = s->owner->next_response;
}

/*
 * Answers were lost. A client that waits for one before it asks again has at most one request open: the
 * last. With one that does not wait nobody can tell any more which of them this answers.
 */
static int response_realign(struct http1 *h)
{
	if (h->next_request <= h->next_response + 1)
		return 0;
	if (h->pipelined)
		return fail(h, "bytes are missing between pipelined answers");
	answers_missing(h, h->next_request - 1);
	return 0;
}

/* ---- llhttp's calls ---- */

static int on_begin(llhttp_t *p)
{
	struct side *s = p->data;

	message_clear(s);
	if (s->which == HTTP_REQUEST && request_take_id(s) != 0)
		return HPE_USER;
	if (s->which == HTTP_RESPONSE)
		response_take_id(s);
	s->open = true;
	return 0;
}

static int text_add(struct side *s, const char *at, size_t n)
{
	buf_add(&s->text, at, n);
	return s->text.failed ? fail(s->owner, "out of memory") : 0;
}

static int on_start_line(llhttp_t *p, const char *at, size_t n)
{
	struct side *s = p->data;

	if (n > HTTP1_START_LINE_MAX - s->text.len)
		return fail(s->owner, "the start line is too long");
	s->start_len += n;
	return text_add(s, at, n);
}

static void side_restart(struct side *s);

/* Its answer was read as far as a body that it does not have. */
static void head_answered(struct http1 *h, uint64_t id)
{
	struct side *s = &h->sides[HTTP_RESPONSE];

	if (!s->ahead || !s->headed || s->id != id)
		return;
	message_end(s, true);
	side_restart(s);
}

static void request_head(struct side *s, struct http_head *head)
{
	const char *method = llhttp_method_name(s->parser.method);

	head->method = (struct http_text){method, strlen(method)};
	head->path = (struct http_text){s->text.data, s->start_len};
	if (s->parser.method == HTTP_HEAD) {
		s->owner->kinds[s->id & QUEUE_MASK] = KIND_HEAD;
		head_answered(s->owner, s->id);
	} else if (s->parser.method == HTTP_CONNECT) {
		s->owner->kinds[s->id & QUEUE_MASK] = KIND_CONNECT;
	}
}

static void response_head(struct side *s, struct http_head *head)
{
	head->status = (unsigned)s->parser.status_code;
	head->reason = (struct http_text){s->text.data, s->start_len};
}

/*
 * The first line is over. Which of llhttp's calls shows that first depends on the line: HTTP/0.9 has no version,
 * an answer may have no reason. Spans would not do: where they are cut depends on the input.
 */
static void tell_head(struct side *s)
{
	struct http1 *h = s->owner;
	struct http_head head = {
		.version = s->parser.http_major * 10U + s->parser.http_minor,
	};

	if (s->told)
		return;
	s->told = true;
	if (s->which == HTTP_REQUEST)
		request_head(s, &head);
	else
		response_head(s, &head);
	if (h->ops->begin)
		h->ops->begin(h->context, s->id, s->which, &head);
	if (s->ahead && h->ops->ahead)
		h->ops->ahead(h->context, s->id);
	/* A name may be there already. */
	s->text.len -= s->start_len;
	if (s->text.len)
		memmove(s->text.data, s->text.data + s->start_len, s->text.len);
}

static int on_version_complete(llhttp_t *p)
{
	struct side *s = p->data;

	if (s->which == HTTP_REQUEST)
		tell_head(s);
	return 0;
}

static int on_status_complete(llhttp_t *p)
{
	tell_head(p->data);
	return 0;
}

static int header_add(struct side *s, const char *at, size_t n)
{
	if (n > HTTP1_HEADERS_MAX - s->headers_len)
		return fail(s->owner, "the headers are too long");
	s->headers_len += n;
	return text_add(s, at, n);
}

static int on_header_field(llhttp_t *p, const char *at, size_t n)
{
	return header_add(p->data, at, n);
}

/* For llhttp a second Content-Length is a fault. One that says the same is none (RFC 9110, section 8.6). */
static void length_again(struct side *s)
{
	const struct http_text name = {s->text.data, s->name_len};

	if (!(s->parser.flags & F_CONTENT_LENGTH) || !http_text_is(name, "content-length"))
		return;
	s->again = true;
	s->first_length = s->parser.content_length;
	s->parser.flags &= (uint16_t)~F_CONTENT_LENGTH;
	s->parser.content_length = 0;
}

static int on_header_field_complete(llhttp_t *p)
{
	struct side *s = p->data;

	tell_head(s);
	s->name_len = s->text.len;
	for (size_t i = 0; i < s->name_len; i++)
		if (s->text.data[i] >= 'A' && s->text.data[i] <= 'Z')
			s->text.data[i] |= 0x20;
	if (!s->headed)
		length_again(s);
	/* The blank and the line end that every header has: many empty ones are a long block, too. */
	return s->headers_len + 4 > HTTP1_HEADERS_MAX ? fail(s->owner, "the headers are too long")
						      : (s->headers_len += 4, 0);
}

static int on_header_value(llhttp_t *p, const char *at, size_t n)
{
	return header_add(p->data, at, n);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static int on_header_value_complete(llhttp_t *p)
{
	struct side *s = p->data;
	struct http1 *h = s->owner;
	/* ": " alone leaves the buffer without memory, and NULL may not even be added to */
	const char *text = s->text.len ? s->text.data : "";
	struct http_text name = {text, s->name_len}, value;

	value = (struct http_text){text + s->name_len, s->text.len - s->name_len};
	while (value.len && is_blank(value.p[value.len - 1]))
		value.len--;
	for (; value.len && is_blank(*value.p); value.len--)
		value.p++;
	/* Some put a blank before the colon; llhttp takes it for a part of the name. */
	while (name.len && is_blank(name.p[name.len - 1]))
		name.len--;
	if (s->again && s->parser.content_length != s->first_length)
		return fail(h, "two lengths that differ");
	s->again = false;
	if (http_text_is(name, "transfer-encoding"))
		s->identity = http_text_is(value, "identity");
	s->expects |= s->which == HTTP_REQUEST && http_text_is(name, "expect") &&
		      http_text_is(value, "100-continue");
	if (h->ops->header)
		h->ops->header(h->context, s->id, s->which, name, value);
	buf_reset(&s->text);
	s->name_len = 0;
	return 0;
}

/* What llhttp is to do with the body: 0 as the headers say, 1 there is none, 2 another protocol follows. */
static int request_body(struct side *s)
{
	/* It only asks: the answer decides, and until then what follows is held. */
	s->switching = s->parser.upgrade || s->parser.method == HTTP_CONNECT;
	s->parser.upgrade = 0;
	return 0;
}

static int response_body(struct side *s)
{
	unsigned status = (unsigned)s->parser.status_code;
	enum request_kind kind = s->owner->kinds[s->id & QUEUE_MASK];

	s->parser.upgrade = 0;
	/* an encoding that was once allowed, and changes nothing */
	if (s->identity && !(s->parser.flags & F_CHUNKED))
		s->parser.flags &= (uint16_t)~F_TRANSFER_ENCODING;
	s->switching = status == 101 || (kind == KIND_CONNECT && status / 100 == 2);
	if (s->switching)
		return 2;
	/* RFC 9112, section 6.3: these have none, whatever their headers say. */
	return kind == KIND_HEAD || status / 100 == 1 || status == 204 || status == 304;
}

static int on_headers_complete(llhttp_t *p)
{
	struct side *s = p->data;
	struct http1 *h = s->owner;

	tell_head(s);
	s->headed = true;
	buf_done(&s->text);
	if (h->ops->headers_done)
		h->ops->headers_done(h->context, s->id, s->which);
	return s->which == HTTP_REQUEST ? request_body(s) : response_body(s);
}

static int on_body(llhttp_t *p, const char *at, size_t n)
{
	struct side *s = p->data;
	struct http1 *h = s->owner;

	s->expects = false;
	if (h->ops->body)
		h->ops->body(h->context, s->id, s->which, (struct http_text){at, n});
	return 0;
}

static int on_chunk_header(llhttp_t *p)
{
	struct side *s = p->data;

	s->chunked = true;
	s->expects = false;
	s->in_chunk = p->content_length > 0;
	return 0;
}

static int on_chunk_complete(llhttp_t *p)
{
	struct side *s = p->data;

	s->in_chunk = false;
	return 0;
}

/* Each message ends in a pause, so that what lies between two is decided outside of llhttp. */
static int on_complete(llhttp_t *p)
{
	struct side *s = p->data;

	if (s->which == HTTP_REQUEST && s->switching && s->id >= s->owner->next_response)
		s->state = SIDE_HELD;
	if (s->which == HTTP_RESPONSE && s->switching)
		s->owner->upgraded = true;
	message_end(s, true);
	return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
	.on_message_begin = on_begin,
	.on_url = on_start_line,
	.on_status = on_start_line,
	.on_version_complete = on_version_complete,
	.on_status_complete = on_status_complete,
	.on_header_field = on_header_field,
	.on_header_field_complete = on_header_field_complete,
	.on_header_value = on_header_value,
	.on_header_value_complete = on_header_value_complete,
	.on_headers_complete = on_headers_complete,
	.on_body = on_body,
	.on_chunk_header = on_chunk_header,
	.on_chunk_complete = on_chunk_complete,
	.on_message_complete = on_complete,
};

/*
 * Only what would let two servers disagree about a border is lenient here: we see what a client and
 * a server did accept. Of a length and chunks the chunks count (RFC 9112, section 6.3).
 */
static void side_restart(struct side *s)
{
	llhttp_init(&s->parser, s->which == HTTP_REQUEST ? (llhttp_type_t)1 : (llhttp_type_t)2,
		    &settings);
	s->parser.data = s;
	llhttp_set_lenient_headers(&s->parser, 1);
	llhttp_set_lenient_chunked_length(&s->parser, 1);
	llhttp_set_lenient_keep_alive(&s->parser, 1);
	llhttp_set_lenient_transfer_encoding(&s->parser, 1);
#if LLHTTP_VERSION_MAJOR > 9 || (LLHTTP_VERSION_MAJOR == 9 && LLHTTP_VERSION_MINOR >= 2)
	llhttp_set_lenient_optional_cr_before_lf(&s->parser, 1);
	llhttp_set_lenient_spaces_after_chunk_size(&s->parser, 1);
#endif
	message_clear(s);
	s->state = SIDE_OPEN;
}

/* ---- feeding ---- */

static void side_feed(struct side *s, const char *p, size_t n);

static bool over(const struct http1 *h)
{
	return h->reason || h->upgraded;
}

static void hold(struct side *s, const char *p, size_t n)
{
	struct http1 *h = s->owner;

	if (n > HTTP1_HELD_MAX - h->held.len) {
		fail(h, "too much was sent behind an upgrade that is not answered");
		return;
	}
	buf_add(&h->held, p, n);
	if (h->held.failed)
		fail(h, "out of memory");
}

/* An answer refused the other protocol: what the client sent behind its request is HTTP. */
static void held_release(struct http1 *h)
{
	struct side *s = &h->sides[HTTP_REQUEST];
	struct buf held = h->held;

	if (s->state != SIDE_HELD || s->id >= h->next_response)
		return;
	side_restart(s);
	h->held = (struct buf){};
	side_feed(s, held.data, held.len);
	buf_done(&held);
}

static void tell_upgraded(struct http1 *h, const char *p, size_t n)
{
	uint64_t id = h->sides[HTTP_RESPONSE].id;
	struct http_text rests[2] = {{h->held.data, h->held.len}, {p, n}};

	/* An answer that came before its request was complete cuts it off. */
	message_end(&h->sides[HTTP_REQUEST], false);
	for (enum http_side side = HTTP_REQUEST; side <= HTTP_RESPONSE && h->ops->upgraded; side++)
		h->ops->upgraded(h->context, id, side, rests[side]);
	buf_done(&h->held);
}

/* Up to the end of a message or of the bytes; how many that were. */
static size_t execute(struct side *s, const char *p, size_t n)
{
	llhttp_errno_t e = llhttp_execute(&s->parser, p, n);
	size_t used = n;

	if (e == HPE_OK)
		return n;
	if (s->parser.error_pos)
		used = (size_t)(s->parser.error_pos - p);
	if (e == HPE_PAUSED)
		llhttp_resume(&s->parser);
	else if (e == HPE_PAUSED_UPGRADE)
		llhttp_resume_after_upgrade(&s->parser);
	else
		fail(s->owner, llhttp_get_error_reason(&s->parser));
	return MIN(used, n);
}

static void side_feed(struct side *s, const char *p, size_t n)
{
	struct http1 *h = s->owner;
	size_t used;

	while (n && !over(h)) {
		if (s->state == SIDE_HELD) {
			hold(s, p, n);
			return;
		}
		used = execute(s, p, n);
		p += used;
		n -= used;
		if (h->upgraded)
			tell_upgraded(h, p, n);
		else if (s->which == HTTP_RESPONSE)
			held_release(h);
	}
}

static void lost(struct side *s)
{
	message_end(s, false);
	if (s->which == HTTP_REQUEST)
		requests_missing(s->owner);
	s->state = SIDE_LOST;
	s->skipped += s->prefix_len;
	s->prefix_len = 0;
}

/* The first bytes are collected until they are a head or are not; then they count as one. */
static void start(struct side *s, const char *p, size_t n)
{
	enum http1_look l = HTTP1_LOOK_SHORT;

	while (n && l == HTTP1_LOOK_SHORT) {
		/* RFC 9112, section 2.2: empty lines in front of a first line are ignored. */
		if (s->prefix_len || (*p != '\r' && *p != '\n')) {
			s->prefix[s->prefix_len++] = *p;
			l = http1_looks_like(s->which, s->prefix, s->prefix_len);
		}
		p++;
		n--;
	}
	if (l == HTTP1_LOOK_SHORT)
		return;
	if (l == HTTP1_LOOK_NO) {
		lost(s);
		s->skipped += n;
		return;
	}
	side_restart(s);
	side_feed(s, s->prefix, s->prefix_len);
	s->prefix_len = 0;
	side_feed(s, p, n);
}

static void seek(struct side *s, const char *p, size_t n)
{
	if (!certain_head(s->which, p, n)) {
		s->skipped += n;
		return;
	}
	side_restart(s);
	if (s->which == HTTP_RESPONSE && response_realign(s->owner) != 0)
		return;
	side_feed(s, p, n);
}

/* The final answer has come in place of the one that asks for the body: here comes the next request instead. */
static bool body_given_up(const struct side *s, const char *p, size_t n)
{
	return s->headed && s->expects && s->id < s->owner->next_response &&
	       certain_head(s->which, p, n);
}

void http1_feed(struct http1 *h, enum http_side side, const void *p, size_t n)
{
	struct side *s = &h->sides[side];

	if (n == 0 || over(h))
		return;
	switch (s->state) {
	case SIDE_START:
		start(s, p, n);
		return;
	case SIDE_LOST:
		seek(s, p, n);
		return;
	case SIDE_CLOSED:
		s->skipped += n;
		return;
	case SIDE_OPEN:
		if (body_given_up(s, p, n)) {
			message_end(s, false);
			side_restart(s);
		}
		side_feed(s, p, n);
		return;
	case SIDE_HELD:
		side_feed(s, p, n);
		return;
	}
}

/* ---- what is missing, and the end ---- */

void http1_gap(struct http1 *h, enum http_side side)
{
	struct side *s = &h->sides[side];

	if (over(h) || s->state == SIDE_CLOSED)
		return;
	if (s->state != SIDE_LOST && !s->open)
		tell_lost(s);
	if (s->state == SIDE_HELD) {
		/* What was held may be the beginning of anything. */
		s->skipped += h->held.len;
		buf_done(&h->held);
	}
	lost(s);
}

/* A body that lasts until the end of the connection has no border that could be missed. */
static bool body_until_eof(const struct side *s)
{
	return s->open && s->headed && !s->chunked && llhttp_message_needs_eof(&s->parser);
}

static void tell_missing(struct side *s, uint64_t n)
{
	struct http1 *h = s->owner;

	s->holed = true;
	if (h->ops->missing)
		h->ops->missing(h->context, s->id, s->which, n);
}

/* llhttp counts down in `content_length` what is left of a body or of a chunk. */
static bool body_skip(struct side *s, uint64_t n)
{
	if (!s->open || !s->headed)
		return false;
	if (body_until_eof(s))
		return true;
	if (!s->in_chunk && (s->chunked || (s->parser.flags & F_CHUNKED)))
		return false;
	if (n >= s->parser.content_length)
		return false;
	s->parser.content_length -= n;
	return true;
}

/* The end of a body is missing, and no more: a large write of which the beginning was seen. */
static bool body_skip_end(struct side *s, uint64_t n)
{
	if (!s->open || !s->headed || (s->parser.flags & F_CHUNKED) ||
	    !(s->parser.flags & F_CONTENT_LENGTH) || n != s->parser.content_length)
		return false;
	tell_missing(s, n);
	on_complete(&s->parser);
	if (s->state == SIDE_OPEN)
		side_restart(s);
	if (s->which == HTTP_RESPONSE)
		held_release(s->owner);
	return true;
}

void http1_unasked(struct http1 *h)
{
	if (!over(h))
		requests_missing(h);
}

void http1_skip(struct http1 *h, enum http_side side, uint64_t n)
{
	struct side *s = &h->sides[side];

	if (n == 0 || over(h))
		return;
	if (s->state == SIDE_OPEN && body_skip_end(s, n))
		return;
	if (s->state != SIDE_OPEN || !body_skip(s, n)) {
		http1_gap(h, side);
		return;
	}
	tell_missing(s, n);
}

void http1_eof(struct http1 *h, enum http_side side, bool closed)
{
	struct side *s = &h->sides[side];

	if (over(h) || s->state == SIDE_CLOSED)
		return;
	if (closed && s->state == SIDE_OPEN && body_until_eof(s))
		message_end(s, true);
	lost(s);
	s->state = SIDE_CLOSED;
	if (side == HTTP_RESPONSE)
		answers_missing(h, h->next_request);
}

/* ---- the object ---- */

int http1_new(const struct http_parser_ops *ops, void *context, struct http1 **ret)
{
	struct http1 *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->ops = ops;
	h->context = context;
	for (enum http_side side = HTTP_REQUEST; side <= HTTP_RESPONSE; side++) {
		h->sides[side].owner = h;
		h->sides[side].which = side;
	}
	*ret = h;
	return 0;
}

bool http1_failed(const struct http1 *h, const char **ret_reason)
{
	if (h->reason && ret_reason)
		*ret_reason = h->reason;
	return h->reason;
}

bool http1_upgraded(const struct http1 *h)
{
	return h->upgraded;
}

uint64_t http1_skipped(const struct http1 *h, enum http_side side)
{
	return h->sides[side].skipped;
}

size_t http1_memory(const struct http1 *h)
{
	return h->sides[HTTP_REQUEST].text.cap + h->sides[HTTP_RESPONSE].text.cap + h->held.cap;
}

void http1_free(struct http1 *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(h->sides); i++)
		buf_done(&h->sides[i].text);
	buf_done(&h->held);
	free(h);
}
