/* SPDX-License-Identifier: MIT */
/*
 * A thread makes one call at a time and the kernel sends its pieces in order, so an unfinished call is
 * found by its thread. The kernel stops sending at the first piece that finds no room: the last
 * piece of a call that lost one never comes. So where a last piece has no beginning, the beginning
 * was given up here; what is told then is how long the call was.
 *
 * A session over memory buffers shows its socket with its first send, that is behind the first call. The
 * kernel tells the socket in an event of its own, with a time before that call: so the call gets it here.
 */
#include "stage/tls_join.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "event/schema.h"

/* The record grows behind its struct, in memory for the whole call. */
struct call {
	struct as_ssl_data *rec;
	size_t room; /* allocated for plaintext */
	size_t cap;  /* how much of that it may use */
	size_t len;
	uint64_t touched_ns;
};

/* Which socket a session has whose first calls came before it was known. */
struct ends {
	uint64_t stream_id;
	uint32_t tgid;
	struct as_conn conn;
};

#define ENDS_MAX 256 /* places, one for each session; a power of two */

/*
 * As much memory of one call is kept for the next, beside what is in use: fresh pages cost more than filling them.
 */
#define SPARE_MAX (4U << 20)

struct tls_join {
	struct stage stage;
	struct tls_join_names names;
	struct tls_join_counts counts;
	size_t bytes; /* allocated for all of them */
	size_t n_calls;
	struct call spare;                     /* rec and room of one that is over */
	struct call calls[TLS_JOIN_CALLS_MAX]; /* oldest first */
	struct ends ends[ENDS_MAX];
};

static void call_remove(struct tls_join *j, size_t i)
{
	struct call *c = &j->calls[i];

	j->bytes -= c->room;
	if (c->room > j->spare.room && c->room <= SPARE_MAX) {
		free(j->spare.rec);
		j->spare = *c;
	} else {
		free(c->rec);
	}
	j->n_calls--;
	memmove(c, c + 1, (j->n_calls - i) * sizeof(*c));
}

/* Memory for a call of @cap bytes. */
static struct call call_new(struct tls_join *j, size_t cap)
{
	struct call c = j->spare;

	/* what it does not need would be missing elsewhere */
	if (c.rec && c.room >= cap && c.room <= 2 * cap)
		j->spare = (struct call){};
	else
		c = (struct call){.rec = malloc(sizeof(*c.rec) + cap), .room = cap};
	c.cap = cap;
	c.len = 0;
	return c;
}

static void call_tear(struct tls_join *j, size_t i)
{
	j->counts.torn++;
	call_remove(j, i);
}

/* The unfinished call of a thread; n_calls when there is none. */
static size_t call_find(const struct tls_join *j, uint32_t tid)
{
	size_t i = 0;

	while (i < j->n_calls && j->calls[i].rec->h.tid != tid)
		i++;
	return i;
}

/* ---- sockets ---- */

static struct ends *ends_place(struct tls_join *j, uint64_t stream_id)
{
	return &j->ends[stream_id & (ENDS_MAX - 1)];
}

static void ends_learn(struct tls_join *j, const struct as_ssl_session *s)
{
	if (s->conn.local.family)
		*ends_place(j, s->stream_id) = (struct ends){s->stream_id, s->h.tgid, s->conn};
}

/* NULL: nothing is known that the call does not tell by itself. */
static const struct as_conn *ends_find(struct tls_join *j, const struct as_ssl_data *d)
{
	const struct ends *e = ends_place(j, d->stream_id);

	if (d->conn.local.family || e->stream_id != d->stream_id || e->tgid != d->h.tgid ||
	    !e->conn.local.family)
		return NULL;
	return &e->conn;
}

/* ---- passing on ---- */

/* In a copy, since records may lie in memory that cannot be written. */
static void emit_with_ends(struct tls_join *j, struct event *ev, const struct as_conn *conn)
{
	_cleanup_(freep) struct as_ssl_data *d = malloc(ev->rec->len);

	if (d) {
		memcpy(d, ev->rec, ev->rec->len);
		d->conn = *conn;
		ev->rec = &d->h;
	}
	event_emit(j->stage.out, ev);
}

/* Only TLS calls have a library. */
static void emit_named(struct tls_join *j, const struct event *ev, uint32_t library)
{
	struct event named = *ev;
	const struct as_conn *conn = NULL;

	if (j->names.library && ev->desc->type != AS_EV_NET_DATA &&
	    ev->desc->type != AS_EV_STDIO_DATA)
		named.label = j->names.library(j->names.source, library, ev->rec->tgid);
	if (ev->desc->type == AS_EV_SSL_DATA)
		conn = ends_find(j, (const struct as_ssl_data *)ev->rec);
	if (conn)
		emit_with_ends(j, &named, conn);
	else
		event_emit(j->stage.out, &named);
}

static void call_append(struct call *c, const struct as_ssl_data *piece)
{
	memcpy((char *)(c->rec + 1) + c->len, (const char *)piece + piece->data.off,
	       piece->data.len);
	c->len += piece->data.len;
	c->touched_ns = clock_boot_ns();
}

static void call_begin(struct tls_join *j, const struct as_ssl_data *piece)
{
	size_t cap = (size_t)MIN(piece->len, TLS_JOIN_CALL_MAX);
	struct call *c;

	while (j->n_calls &&
	       (j->n_calls == TLS_JOIN_CALLS_MAX || j->bytes + cap > TLS_JOIN_BYTES_MAX))
		call_remove(j, 0);
	if (piece->data.len > cap)
		return;
	c = &j->calls[j->n_calls];
	*c = call_new(j, cap);
	if (!c->rec)
		return; /* its last piece tells how long it was */
	*c->rec = *piece;
	j->n_calls++;
	j->bytes += c->room;
	call_append(c, piece);
}

/* Nothing of it was cut: what is missing is behind the limit, or could not be read. */
static void call_end(struct tls_join *j, size_t i, const struct event *last)
{
	struct call *c = &j->calls[i];
	struct as_ssl_data *rec = c->rec;
	uint64_t full = MAX(rec->len, (uint64_t)c->len);
	struct event whole = *last;

	rec->h.flags &= ~AS_F_MORE;
	rec->h.len = (uint32_t)(sizeof(*rec) + c->len);
	rec->data.off = sizeof(*rec);
	rec->data.len = (uint32_t)c->len;
	rec->data.full = (uint32_t)MIN(full, (uint64_t)UINT32_MAX);
	whole.rec = &rec->h;
	emit_named(j, &whole, rec->library);
	call_remove(j, i);
}

/* What comes behind it shall not be taken for what it held. */
static void tell_length(struct tls_join *j, const struct event *last)
{
	struct as_ssl_data rec = *(const struct as_ssl_data *)last->rec;
	struct event bare = *last;

	rec.h.len = sizeof(rec);
	rec.offset = 0;
	rec.data.off = sizeof(rec);
	rec.data.len = 0;
	rec.data.full = (uint32_t)MIN(rec.len, (uint64_t)UINT32_MAX);
	bare.rec = &rec.h;
	j->counts.bare++;
	emit_named(j, &bare, rec.library);
}

static bool is_next(const struct call *c, const struct as_ssl_data *piece)
{
	return c->rec->h.type == piece->h.type && c->rec->h.boot_ns == piece->h.boot_ns &&
	       c->len == piece->offset && piece->data.len <= c->cap - c->len;
}

/* A piece behind the first one. */
static void piece_follows(struct tls_join *j, size_t i, const struct event *ev)
{
	const struct as_ssl_data *piece = (const struct as_ssl_data *)ev->rec;
	bool last = !(piece->h.flags & AS_F_MORE);
	struct call *c = &j->calls[i];

	if (i < j->n_calls && !is_next(c, piece)) {
		call_tear(j, i);
		i = j->n_calls;
	}
	if (i == j->n_calls) {
		if (last)
			tell_length(j, ev);
		return;
	}
	call_append(c, piece);
	if (last)
		call_end(j, i, ev);
}

static void data_event(struct tls_join *j, const struct event *ev)
{
	const struct as_ssl_data *piece = (const struct as_ssl_data *)ev->rec;
	size_t i = j->n_calls ? call_find(j, piece->h.tid) : 0;

	if (piece->offset) {
		piece_follows(j, i, ev);
		return;
	}
	if (i < j->n_calls)
		call_tear(j, i); /* the thread is in its next call */
	if (piece->h.flags & AS_F_MORE)
		call_begin(j, piece);
	else
		emit_named(j, ev, piece->library);
}

static void join_event(struct emitter *self, const struct event *ev)
{
	struct tls_join *j = (struct tls_join *)self;

	switch (ev->desc->type) {
	case AS_EV_SSL_DATA:
	case AS_EV_NET_DATA:
	case AS_EV_STDIO_DATA: /* of one layout: agentsight/events.h */
		data_event(j, ev);
		break;
	case AS_EV_SSL_HANDSHAKE:
		emit_named(j, ev, ((const struct as_ssl_handshake *)ev->rec)->library);
		break;
	case AS_EV_SSL_SESSION:
		ends_learn(j, (const struct as_ssl_session *)ev->rec);
		emit_named(j, ev, ((const struct as_ssl_session *)ev->rec)->library);
		break;
	default:
		event_emit(j->stage.out, ev);
	}
}

static void join_tick(struct stage *s, uint64_t boot_ns)
{
	struct tls_join *j = (struct tls_join *)s;

	for (size_t i = j->n_calls; i-- > 0;) {
		if (boot_ns > j->calls[i].touched_ns + TLS_JOIN_WAIT_NS)
			call_tear(j, i);
	}
	if (j->spare.rec && boot_ns > j->spare.touched_ns + TLS_JOIN_WAIT_NS) {
		free(j->spare.rec);
		j->spare = (struct call){};
	}
}

static void join_finish(struct stage *s)
{
	struct tls_join *j = (struct tls_join *)s;

	while (j->n_calls)
		call_tear(j, j->n_calls - 1);
}

static void join_free(struct stage *s)
{
	join_finish(s);
	free(((struct tls_join *)s)->spare.rec);
	free(s);
}

int tls_join_new(struct emitter *out, const struct tls_join_names *names, struct stage **ret)
{
	struct tls_join *j = calloc(1, sizeof(*j));

	if (!j)
		return -ENOMEM;
	j->stage = (struct stage){
		.in.emit = join_event,
		.out = out,
		.tick = join_tick,
		.finish = join_finish,
		.free = join_free,
	};
	if (names)
		j->names = *names;
	*ret = &j->stage;
	return 0;
}

const struct tls_join_counts *tls_join_counts(const struct stage *s)
{
	return &((const struct tls_join *)s)->counts;
}
