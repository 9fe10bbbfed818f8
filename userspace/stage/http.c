/* SPDX-License-Identifier: MIT */
/*
 * Connections are found by process and TLS session. What they hold is in http/: here are the table,
 * its bounds, and the events.
 */
#include "stage/http.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include <agentsight/tls.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/recent.h"
#include "event/record.h"
#include "event/schema.h"
#include "http/conn.h"

#define BUCKETS 4096
/* What a socket still held when it was closed can be read for a while: then its TLS session is over. */
#define CLOSED_NS (2 * NSEC_PER_SEC)
/* Whose end nothing tells is over when it was not used for so long, at rest or with something open. */
#define REST_NS (600 * NSEC_PER_SEC)
#define OPEN_NS (3600 * NSEC_PER_SEC)
/* A huge body shall not keep its memory for the rest of the run. */
#define RECORD_KEEP (1U << 20)

/* Of a TLS session: its server's name, its protocol. The kernel's side keeps no more of either. */
struct text {
	uint32_t len;
	char p[AS_SERVER_NAME_MAX];
};

struct entry {
	uint64_t stream_id;
	uint64_t start_ns;
	uint32_t tgid;
	struct http_conn *conn;
	struct as_conn socket; /* of a TLS session, as soon as it is known */
	uint64_t closed_ns;    /* 0: its socket is open, as far as we know */
	uint64_t used_ns;      /* when it was last told of */
	bool tls;
	struct text server_name, alpn;
	TAILQ_ENTRY(entry) by_use; /* longest unused first, or closed first */
	LIST_ENTRY(entry) of_bucket;
	LIST_ENTRY(entry) of_process;
	LIST_ENTRY(entry) of_socket;
};

LIST_HEAD(entry_list, entry);
TAILQ_HEAD(entry_queue, entry);

struct http_stage {
	struct stage stage;
	struct http_observer observer;
	bool no_ends;
	struct http_stage_counts counts;
	struct http_pool *pool;
	uint64_t now_ns; /* of the newest event; what is made here has that time */
	uint64_t now_unix_ns;
	struct entry_queue used;
	struct entry_queue closed; /* their sockets are, and so soon are they */
	struct entry_list buckets[BUCKETS];
	struct entry_list processes[BUCKETS];
	struct entry_list sockets[BUCKETS]; /* of those that have one */
	/* Connections and sockets whose end was told: a call of theirs may be told behind it. */
	struct recent ended;
	bool freed; /* nothing is told any more */
	struct buf rec;
	struct buf json;
};

/* ---- headers as JSON ---- */

/* One header among those of its message: which is the next of the same name. */
struct named {
	const struct http_header *h;
	struct named *next;
	bool follows; /* another one of this name stands before it */
};

static int compare_names(const void *a, const void *b)
{
	const struct named *x = *(struct named *const *)a, *y = *(struct named *const *)b;
	const struct http_text *p = &x->h->name, *q = &y->h->name;
	int r = memcmp(p->p, q->p, MIN(p->len, q->len));

	if (r)
		return r;
	if (p->len != q->len)
		return p->len < q->len ? -1 : 1;
	return x < y ? -1 : 1;
}

/* Chains those of one name, in their order. */
static void chain_names(struct named *all, struct named **sorted, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sorted[i] = &all[i];
	qsort(sorted, n, sizeof(*sorted), compare_names);
	for (size_t i = 1; i < n; i++) {
		const struct http_text *p = &sorted[i - 1]->h->name, *q = &sorted[i]->h->name;

		if (p->len != q->len || memcmp(p->p, q->p, p->len))
			continue;
		sorted[i - 1]->next = sorted[i];
		sorted[i]->follows = true;
	}
}

static void put_text(struct buf *b, const struct http_text *t)
{
	json_string(b, t->p, t->len);
}

static void put_values(struct buf *b, const struct named *first)
{
	if (!first->next) {
		put_text(b, &first->h->value);
		return;
	}
	buf_add_char(b, '[');
	for (const struct named *at = first; at; at = at->next) {
		if (at != first)
			buf_add_char(b, ',');
		put_text(b, &at->h->value);
	}
	buf_add_char(b, ']');
}

/* {"host":"x","set-cookie":["a=1","b=2"]}, in the order in which names came first. */
static void put_headers(struct buf *b, const struct http_message *m)
{
	_cleanup_(freep) struct named *all = calloc(m->n_headers + 1, sizeof(*all));
	_cleanup_(freep) struct named **sorted = calloc(m->n_headers + 1, sizeof(*sorted));
	const char *comma = "";

	if (!all || !sorted) {
		b->failed = true;
		return;
	}
	for (size_t i = 0; i < m->n_headers; i++)
		all[i].h = &m->headers[i];
	chain_names(all, sorted, m->n_headers);
	buf_add_char(b, '{');
	for (size_t i = 0; i < m->n_headers; i++) {
		if (all[i].follows)
			continue;
		buf_add_str(b, comma);
		put_text(b, &all[i].h->name);
		buf_add_char(b, ':');
		put_values(b, &all[i]);
		comma = ",";
	}
	buf_add_char(b, '}');
}

/* ---- records ---- */

static struct as_span add_text(struct http_stage *s, struct http_text t)
{
	return record_add(&s->rec, t.p, t.len);
}

static struct as_span add_headers(struct http_stage *s, const struct http_message *m)
{
	buf_reset(&s->json);
	put_headers(&s->json, m);
	s->rec.failed |= s->json.failed;
	return record_add(&s->rec, s->json.data, s->json.len);
}

static struct as_span add_body(struct http_stage *s, const struct http_message *m)
{
	struct as_span span = record_add(&s->rec, m->body.data, m->body.len);

	span.full = (uint32_t)MIN(m->body_full, (uint64_t)UINT32_MAX);
	return span;
}

static struct as_span add_version(struct http_stage *s, unsigned version)
{
	static const struct {
		unsigned version;
		const char *text;
	} names[] = {{10, "HTTP/1.0"}, {11, "HTTP/1.1"}, {20, "HTTP/2"}};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (names[i].version == version)
			return record_add_str(&s->rec, names[i].text);
	}
	return (struct as_span){};
}

static struct as_span add_error(struct http_stage *s, const struct http_message *m)
{
	return record_add_str(&s->rec, m->body_error ?: "");
}

static struct entry *entry_find(struct http_stage *s, const struct as_hdr *h, uint64_t stream_id);

/* Name and protocol of the exchange's TLS session. */
static void add_session(struct http_stage *s, const struct http_exchange *x, struct as_span *name,
			struct as_span *alpn)
{
	const struct entry *e = x->tls ? entry_find(s, &x->who, x->stream_id) : NULL;

	if (!e)
		return;
	*name = record_add(&s->rec, e->server_name.p, e->server_name.len);
	*alpn = record_add(&s->rec, e->alpn.p, e->alpn.len);
}

static uint32_t role_of(const struct http_exchange *x)
{
	return x->server ? AS_ROLE_SERVER : AS_ROLE_CLIENT;
}

static uint64_t since(uint64_t from_ns, uint64_t to_ns)
{
	return from_ns && to_ns > from_ns ? to_ns - from_ns : 0;
}

static void begin_event(struct http_stage *s, unsigned type, const struct as_hdr *who)
{
	struct as_hdr h = *who;

	h.boot_ns = s->now_ns;
	record_begin(&s->rec, type, &h);
}

static void emit_event(struct http_stage *s, unsigned type)
{
	struct event ev;

	if (record_end(&s->rec, &ev) < 0) {
		s->counts.shed[type]++;
	} else {
		/* the clocks may have been compared anew since the newest event */
		ev.unix_ns = s->now_unix_ns;
		event_emit(s->stage.out, &ev);
	}
	if (s->rec.cap > RECORD_KEEP)
		buf_done(&s->rec);
	if (s->json.cap > RECORD_KEEP)
		buf_done(&s->json);
}

static void emit_request(struct http_stage *s, const struct http_exchange *x)
{
	const struct http_message *m = &x->request;
	struct as_http_request r = {};

	begin_event(s, AS_EV_HTTP_REQUEST, &x->who);
	r.conn = x->conn;
	r.stream_id = x->stream_id;
	r.exchange_id = x->id;
	r.body_full = m->body_full;
	r.method = add_text(s, m->head.method);
	r.path = add_text(s, m->head.path);
	r.host = add_text(s, m->head.authority);
	r.version = add_version(s, m->head.version);
	r.headers = add_headers(s, m);
	r.body = add_body(s, m);
	r.body_error = add_error(s, m);
	add_session(s, x, &r.server_name, &r.alpn);
	r.role = role_of(x);
	r.incomplete = !m->complete;
	r.plaintext = !x->tls;
	if (!s->rec.failed) {
		r.h = record_struct(&s->rec, as_http_request)->h;
		*record_struct(&s->rec, as_http_request) = r;
	}
	emit_event(s, AS_EV_HTTP_REQUEST);
}

static void emit_response(struct http_stage *s, const struct http_exchange *x)
{
	const struct http_message *q = &x->request, *m = &x->response;
	struct as_http_response r = {};

	begin_event(s, AS_EV_HTTP_RESPONSE, &x->who);
	r.conn = x->conn;
	r.stream_id = x->stream_id;
	r.exchange_id = x->id;
	r.request_body_full = q->body_full;
	r.body_full = m->body_full;
	r.duration_ns = since(q->begun ? q->begin_ns : m->begin_ns, m->end_ns);
	r.first_byte_ns = since(q->end_ns, m->begin_ns);
	r.method = add_text(s, q->head.method);
	r.path = add_text(s, q->head.path);
	r.host = add_text(s, q->head.authority);
	r.version = add_version(s, q->begun ? q->head.version : m->head.version);
	r.request_headers = add_headers(s, q);
	r.reason = add_text(s, m->head.reason);
	r.headers = add_headers(s, m);
	r.body = add_body(s, m);
	r.body_error = add_error(s, m);
	add_session(s, x, &r.server_name, &r.alpn);
	r.status = m->head.status;
	r.role = role_of(x);
	r.incomplete = !m->complete;
	r.plaintext = !x->tls;
	if (!s->rec.failed) {
		r.h = record_struct(&s->rec, as_http_response)->h;
		*record_struct(&s->rec, as_http_response) = r;
	}
	emit_event(s, AS_EV_HTTP_RESPONSE);
}

static void emit_message(struct http_stage *s, const struct http_exchange *x, enum http_side side,
			 struct http_text payload)
{
	struct as_ws_message r = {};

	begin_event(s, AS_EV_WS_MESSAGE, &x->who);
	r.conn = x->conn;
	r.stream_id = x->stream_id;
	r.exchange_id = x->id;
	r.full = x->message_full;
	r.incomplete = x->message_incomplete;
	r.plaintext = !x->tls;
	r.path = add_text(s, x->request.head.path);
	r.host = add_text(s, x->request.head.authority);
	r.data = add_text(s, payload);
	r.data.full = (uint32_t)MIN(r.full, (uint64_t)UINT32_MAX);
	add_session(s, x, &r.server_name, &r.alpn);
	r.direction = (side == HTTP_REQUEST) != x->server ? AS_TLS_WRITE : AS_TLS_READ;
	if (!s->rec.failed) {
		r.h = record_struct(&s->rec, as_ws_message)->h;
		*record_struct(&s->rec, as_ws_message) = r;
	}
	emit_event(s, AS_EV_WS_MESSAGE);
}

/* ---- what http/ tells: first the event, then who reads along ---- */

static void on_request(void *context, struct http_exchange *x)
{
	struct http_stage *s = context;

	if (s->freed)
		return;
	emit_request(s, x);
	if (s->observer.request)
		s->observer.request(s->observer.context, x);
}

static void on_progress(void *context, struct http_exchange *x)
{
	struct http_stage *s = context;

	s->observer.progress(s->observer.context, x);
}

static void on_response(void *context, struct http_exchange *x)
{
	struct http_stage *s = context;

	if (s->freed)
		return;
	emit_response(s, x);
	if (s->observer.response)
		s->observer.response(s->observer.context, x);
}

static void on_forget(void *context, struct http_exchange *x)
{
	struct http_stage *s = context;

	if (s->observer.forget)
		s->observer.forget(s->observer.context, x);
}

static void on_give_way(void *context, struct http_exchange *x)
{
	struct http_stage *s = context;

	s->observer.give_way(s->observer.context, x);
}

static void on_ws_message(void *context, struct http_exchange *x, enum http_side side, bool text,
			  struct http_text payload, uint64_t boot_ns)
{
	struct http_stage *s = context;

	if (s->freed)
		return;
	emit_message(s, x, side, payload);
	if (s->observer.ws_message)
		s->observer.ws_message(s->observer.context, x, side, text, payload, boot_ns);
}

/* ---- the table ---- */

#define GOLDEN 0x9e3779b97f4a7c15ULL

static size_t bucket_of(uint64_t key)
{
	return key * GOLDEN >> 52;
}
_Static_assert(BUCKETS == 1 << 12, "the shift above");

static struct entry *entry_find(struct http_stage *s, const struct as_hdr *h, uint64_t stream_id)
{
	struct entry *e;

	LIST_FOREACH(e, &s->buckets[bucket_of(stream_id)], of_bucket)
	{
		if (e->stream_id == stream_id && e->tgid == h->tgid && e->start_ns == h->start_ns)
			return e;
	}
	return NULL;
}

static struct entry_queue *entry_queue(struct http_stage *s, const struct entry *e)
{
	return e->closed_ns ? &s->closed : &s->used;
}

/* @closed_ns: 0, or when its socket was closed. */
static void entry_queue_again(struct http_stage *s, struct entry *e, uint64_t closed_ns)
{
	TAILQ_REMOVE(entry_queue(s, e), e, by_use);
	e->closed_ns = closed_ns;
	TAILQ_INSERT_TAIL(entry_queue(s, e), e, by_use);
}

/* What is read behind the close of its socket does not open that again. */
static void entry_use(struct http_stage *s, struct entry *e)
{
	e->used_ns = s->now_ns;
	entry_queue_again(s, e, e->closed_ns ? s->now_ns : 0);
}

/* Never that of a connection, which is a time. */
static uint64_t socket_key(uint32_t tgid, const struct as_conn *conn)
{
	uint64_t words[sizeof(*conn) / sizeof(uint64_t)], key = tgid;

	_Static_assert(sizeof(words) == sizeof(*conn), "nothing behind the words");
	memcpy(words, conn, sizeof(words));
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		key = (key ^ words[i]) * GOLDEN;
		key ^= key >> 32;
	}
	return key | 1ULL << 63;
}

/* A session may go on over another socket, which is open unless its end was told before. */
static void entry_socket(struct http_stage *s, struct entry *e, const struct as_conn *conn)
{
	uint64_t key;

	if (!conn->local.family || !memcmp(&e->socket, conn, sizeof(*conn)))
		return;
	key = socket_key(e->tgid, conn);
	if (e->socket.local.family)
		LIST_REMOVE(e, of_socket);
	e->socket = *conn;
	LIST_INSERT_HEAD(&s->sockets[bucket_of(key)], e, of_socket);
	entry_queue_again(s, e, recent_has(&s->ended, key) ? s->now_ns : 0);
}

/* All whose socket is @conn. */
static void sessions_queue_again(struct http_stage *s, uint32_t tgid, const struct as_conn *conn,
				 uint64_t closed_ns)
{
	struct entry *e;

	LIST_FOREACH(e, &s->sockets[bucket_of(socket_key(tgid, conn))], of_socket)
	{
		if (e->tgid == tgid && !memcmp(&e->socket, conn, sizeof(*conn)))
			entry_queue_again(s, e, closed_ns);
	}
}

/* What is open is told first, while the session's name is known. */
static void entry_end(struct http_stage *s, struct entry *e, bool closed)
{
	http_conn_end(e->conn, e->closed_ns ? e->closed_ns : s->now_ns, closed);
	TAILQ_REMOVE(entry_queue(s, e), e, by_use);
	LIST_REMOVE(e, of_bucket);
	LIST_REMOVE(e, of_process);
	if (e->socket.local.family)
		LIST_REMOVE(e, of_socket);
	s->counts.connections--;
	http_conn_free(e->conn);
	free(e);
}

/* It goes on, as far as we know, unless its socket is closed. */
static void entry_remove(struct http_stage *s, struct entry *e)
{
	entry_end(s, e, e->closed_ns);
}

static void evict_oldest(struct http_stage *s)
{
	struct entry *e = TAILQ_FIRST(&s->closed);

	s->counts.evicted += !e;
	entry_remove(s, e ? e : TAILQ_FIRST(&s->used));
}

static struct entry *largest_of(const struct entry_queue *queue, struct entry *largest)
{
	struct entry *e;

	TAILQ_FOREACH(e, queue, by_use)
	{
		if (!largest || http_conn_memory(e->conn) > http_conn_memory(largest->conn))
			largest = e;
	}
	return largest;
}

static void evict_largest(struct http_stage *s)
{
	struct entry *e = largest_of(&s->used, largest_of(&s->closed, NULL));

	s->counts.evicted += !e->closed_ns;
	entry_remove(s, e);
}

/*
 * Exchanges and memory of all connections: @keep of these stay, whatever they hold. So the one that holds most
 * does not do so at the cost of others.
 */
static void bound_open(struct http_stage *s, size_t keep)
{
	while (http_pool_counts(s->pool)->open > HTTP_OPEN_ALL && s->counts.connections > keep)
		evict_oldest(s);
	while (s->counts.connections > keep && !http_pool_relieve(s->pool))
		evict_largest(s);
}

static struct entry *entry_new(struct http_stage *s, const struct as_hdr *h, uint64_t stream_id,
			       bool fresh)
{
	const struct http_conn_options opt = {
		.stream_id = stream_id, .tls = h->type != AS_EV_NET_DATA, .fresh = fresh};
	struct entry *e;

	if (s->counts.connections >= HTTP_STAGE_CONNECTIONS)
		evict_oldest(s);
	bound_open(s, 0);
	e = calloc(1, sizeof(*e));
	if (!e || http_conn_new(s->pool, &opt, &e->conn) < 0) {
		s->counts.unwatched++;
		free(e);
		return NULL;
	}
	e->stream_id = stream_id;
	e->tgid = h->tgid;
	e->start_ns = h->start_ns;
	e->used_ns = s->now_ns;
	e->tls = opt.tls;
	TAILQ_INSERT_TAIL(&s->used, e, by_use);
	LIST_INSERT_HEAD(&s->buckets[bucket_of(stream_id)], e, of_bucket);
	LIST_INSERT_HEAD(&s->processes[bucket_of(h->tgid)], e, of_process);
	s->counts.connections++;
	return e;
}

/* ---- events ---- */

/* The connection that is a stream without TLS: a call of it is told when its end has been. */
static bool is_told_late(const struct http_stage *s, const struct as_hdr *h, uint64_t stream_id)
{
	return h->flags & AS_F_CLOSED || recent_has(&s->ended, stream_id);
}

static struct entry *data_entry(struct http_stage *s, const struct as_hdr *h,
				const struct as_ssl_data *d)
{
	struct entry *e = entry_find(s, h, d->stream_id);
	bool plain = h->type == AS_EV_NET_DATA;

	if (e) {
		entry_use(s, e);
	} else {
		e = entry_new(s, h, d->stream_id, false);
		if (e && plain && is_told_late(s, h, d->stream_id))
			entry_queue_again(s, e, s->now_ns);
	}
	if (e && !plain)
		entry_socket(s, e, &d->conn);
	return e;
}

/* Records may hold anything: what is no read counts as a write. */
static enum as_tls_direction direction_of(const struct as_ssl_data *d)
{
	return d->direction == AS_TLS_READ ? AS_TLS_READ : AS_TLS_WRITE;
}

static void data_event(struct http_stage *s, const struct event *ev)
{
	const struct as_ssl_data *d = (const struct as_ssl_data *)ev->rec;
	const struct http_origin origin = {ev->rec, &d->conn};
	struct entry *e = data_entry(s, ev->rec, d);
	uint64_t missing = MAX(d->len, (uint64_t)d->data.full);

	if (!e)
		return;
	http_conn_feed(e->conn, direction_of(d), record_bytes(ev->rec, &d->data), d->data.len,
		       &origin);
	if (missing > d->data.len)
		http_conn_gap(e->conn, direction_of(d), missing - d->data.len);
	bound_open(s, 1);
}

static void text_set(struct text *t, const struct as_hdr *rec, const struct as_span *span)
{
	t->len = MIN(span->len, (uint32_t)sizeof(t->p));
	memcpy(t->p, record_bytes(rec, span), t->len);
}

static void handshake_event(struct http_stage *s, const struct event *ev)
{
	const struct as_ssl_handshake *d = (const struct as_ssl_handshake *)ev->rec;
	const struct http_origin origin = {ev->rec, &d->conn};
	struct entry *e = entry_find(s, ev->rec, d->stream_id);
	bool fresh = true;

	if (e) {
		entry_use(s, e);
		fresh = http_conn_handshake(e->conn, &origin);
	} else {
		e = entry_new(s, ev->rec, d->stream_id, true);
	}
	if (!e)
		return;
	entry_socket(s, e, &d->conn);
	/* what a session is told to be once holds when it shakes hands again */
	if (fresh || d->server_name.len)
		text_set(&e->server_name, ev->rec, &d->server_name);
	if (fresh || d->alpn.len)
		text_set(&e->alpn, ev->rec, &d->alpn);
}

/* What the handshake did not tell, or in place of one: mostly right before the first bytes. */
static void session_event(struct http_stage *s, const struct event *ev)
{
	const struct as_ssl_session *d = (const struct as_ssl_session *)ev->rec;
	struct entry *e = entry_find(s, ev->rec, d->stream_id);

	if (!e && (d->server_name.len || d->alpn.len))
		e = entry_new(s, ev->rec, d->stream_id, false);
	if (!e)
		return;
	entry_use(s, e);
	entry_socket(s, e, &d->conn);
	if (d->server_name.len)
		text_set(&e->server_name, ev->rec, &d->server_name);
	if (d->alpn.len)
		text_set(&e->alpn, ev->rec, &d->alpn);
}

/* Its memory is gone, and with it all sessions in it. */
static void process_event(struct http_stage *s, const struct event *ev)
{
	struct entry *e = LIST_FIRST(&s->processes[bucket_of(ev->rec->tgid)]);

	while (e) {
		struct entry *next = LIST_NEXT(e, of_process);

		if (e->tgid == ev->rec->tgid)
			entry_end(s, e, true);
		e = next;
	}
}

/* Without TLS the stream is the connection, whoever uses it: an answer may be as long as that lasts. */
static void stream_ended(struct http_stage *s, uint64_t stream_id)
{
	struct entry *e = LIST_FIRST(&s->buckets[bucket_of(stream_id)]);

	while (e) {
		struct entry *next = LIST_NEXT(e, of_bucket);

		if (e->stream_id == stream_id)
			entry_end(s, e, true);
		e = next;
	}
	recent_add(&s->ended, stream_id);
}

/* Of a TLS session nothing else tells that it is over. */
static void close_event(struct http_stage *s, const struct event *ev)
{
	const struct as_flow *d = (const struct as_flow *)ev->rec;
	const struct as_conn conn = {d->local, d->remote};
	uint64_t key = socket_key(d->h.tgid, &conn);

	if (d->protocol == AS_PROTO_UDP)
		return;
	stream_ended(s, d->conn_id);
	sessions_queue_again(s, d->h.tgid, &conn, s->now_ns);
	recent_add(&s->ended, key);
}

/* The next one between the same ends. What was told before it has been taken for the last one's. */
static void open_event(struct http_stage *s, const struct as_hdr *h, uint64_t conn_id,
		       const struct as_addr *local, const struct as_addr *remote)
{
	const struct as_conn conn = {*local, *remote};

	if (recent_has(&s->ended, conn_id))
		return; /* its own end was told first */
	recent_remove(&s->ended, socket_key(h->tgid, &conn));
	sessions_queue_again(s, h->tgid, &conn, 0);
}

static void connect_event(struct http_stage *s, const struct event *ev)
{
	const struct as_connect *d = (const struct as_connect *)ev->rec;

	open_event(s, ev->rec, d->conn_id, &d->local, &d->remote);
}

static void accept_event(struct http_stage *s, const struct event *ev)
{
	const struct as_accept *d = (const struct as_accept *)ev->rec;

	open_event(s, ev->rec, d->conn_id, &d->local, &d->remote);
}

/* Calls were lost, nobody knows of which connection: what is open may lack a part. */
static void loss_event(struct http_stage *s, const struct event *ev)
{
	const struct as_loss *l = (const struct as_loss *)ev->rec;
	struct entry *e;

	if (!record_is(&l->h, &l->event, "ssl.data") &&
	    !record_is(&l->h, &l->event, "network.data") && !record_is(&l->h, &l->event, "*"))
		return;
	TAILQ_FOREACH(e, &s->used, by_use)
	http_conn_doubt(e->conn);
	TAILQ_FOREACH(e, &s->closed, by_use)
	http_conn_doubt(e->conn);
}

static void http_event(struct emitter *self, const struct event *ev)
{
	struct http_stage *s = (struct http_stage *)self;

	event_emit(s->stage.out, ev);
	if (ev->rec->boot_ns > s->now_ns) {
		s->now_ns = ev->rec->boot_ns;
		s->now_unix_ns = ev->unix_ns;
	}
	switch (ev->desc->type) {
	case AS_EV_SSL_DATA:
	case AS_EV_NET_DATA:
		data_event(s, ev);
		break;
	case AS_EV_CONNECT:
		connect_event(s, ev);
		break;
	case AS_EV_ACCEPT:
		accept_event(s, ev);
		break;
	case AS_EV_CLOSE:
		close_event(s, ev);
		break;
	case AS_EV_SSL_HANDSHAKE:
		handshake_event(s, ev);
		break;
	case AS_EV_SSL_SESSION:
		session_event(s, ev);
		break;
	case AS_EV_EXEC:
	case AS_EV_EXIT:
		process_event(s, ev);
		break;
	case AS_EV_LOSS:
		loss_event(s, ev);
		break;
	default:
		break;
	}
}

static void http_finish(struct stage *stage)
{
	struct http_stage *s = (struct http_stage *)stage;

	while (!TAILQ_EMPTY(&s->closed))
		entry_remove(s, TAILQ_FIRST(&s->closed));
	while (!TAILQ_EMPTY(&s->used))
		entry_remove(s, TAILQ_FIRST(&s->used));
}

static bool is_over(const struct http_stage *s, const struct entry *e, uint64_t boot_ns)
{
	if (!s->no_ends && (!e->tls || e->socket.local.family))
		return false; /* its end will be told */
	return http_conn_at_rest(e->conn) || e->used_ns + OPEN_NS <= boot_ns;
}

static void http_tick(struct stage *stage, uint64_t boot_ns)
{
	struct http_stage *s = (struct http_stage *)stage;
	struct entry *e, *next;

	http_pool_tick(s->pool, boot_ns);
	while ((e = TAILQ_FIRST(&s->closed)) && e->closed_ns + CLOSED_NS <= boot_ns)
		entry_remove(s, e);
	for (e = TAILQ_FIRST(&s->used); e && e->used_ns + REST_NS <= boot_ns; e = next) {
		next = TAILQ_NEXT(e, by_use);
		if (is_over(s, e, boot_ns))
			entry_remove(s, e);
	}
}

static void http_free(struct stage *stage)
{
	struct http_stage *s = (struct http_stage *)stage;

	s->freed = true;
	http_finish(stage);
	http_pool_free(s->pool);
	buf_done(&s->rec);
	buf_done(&s->json);
	free(s);
}

static int open_pool(struct http_stage *s, const struct http_limits *limits)
{
	const struct http_observer own = {
		.context = s,
		.request = on_request,
		.progress = s->observer.progress ? on_progress : NULL,
		.response = on_response,
		.forget = on_forget,
		.give_way = s->observer.give_way ? on_give_way : NULL,
		.ws_message = on_ws_message,
	};

	return http_pool_new(limits, &own, &s->pool);
}

int http_stage_new(const struct http_stage_options *opt, struct emitter *out, struct stage **ret)
{
	struct http_stage *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->stage = (struct stage){
		.in.emit = http_event,
		.out = out,
		.tick = http_tick,
		.finish = http_finish,
		.free = http_free,
	};
	if (opt->observer)
		s->observer = *opt->observer;
	s->no_ends = opt->no_ends;
	TAILQ_INIT(&s->used);
	TAILQ_INIT(&s->closed);
	if (open_pool(s, &opt->limits) < 0) {
		free(s);
		return -ENOMEM;
	}
	*ret = &s->stage;
	return 0;
}

const struct http_stage_counts *http_stage_counts(const struct stage *stage)
{
	return &((const struct http_stage *)stage)->counts;
}

void http_stage_shed(const struct stage *stage, uint64_t shed[AS_EV_COUNT])
{
	const struct http_stage *s = (const struct http_stage *)stage;
	const struct http_pool_counts *pool = http_pool_counts(s->pool);

	for (unsigned type = 1; type < AS_EV_COUNT; type++)
		shed[type] += s->counts.shed[type];
	shed[AS_EV_HTTP_REQUEST] += pool->lost[HTTP_REQUEST];
	shed[AS_EV_HTTP_RESPONSE] += pool->lost[HTTP_RESPONSE];
	shed[AS_EV_WS_MESSAGE] += pool->ws_lost;
}
