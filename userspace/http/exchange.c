/* SPDX-License-Identifier: MIT */
/*
 * The text of a message's head lies in one buffer that grows while headers come; its pointers move
 * along. What a message holds, with its decoder, is charged to the pool after each change, and what the observer
 * holds after each of its calls. When there is no more, the largest body of all gives half of itself and keeps
 * nothing further, or the observer gives way, if it holds more of an exchange than that. When none is large, who
 * asks gets nothing.
 */
#include "http/exchange.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/cleanup.h"
#include "http/body.h"

#define GIVE_MIN   65536 /* what is smaller gives nothing */
#define TRIM_MIN   512
#define STREAM_MAX (1ULL << 40) /* decoded bytes of an event stream */

struct message_state {
	struct buf text; /* what head and headers point at */
	size_t headers_cap;
	size_t marks_cap;
	size_t charged;
	struct body_decoder *decoder; /* NULL: the body is not encoded */
	bool streams;                 /* each piece is of interest */
	bool deaf;                    /* its encoding can no longer be undone */
	bool doubt;                   /* something of it may be missing */
	bool over;                    /* nothing of it comes any more, whether or not it began */
	bool told;
};

struct exchange {
	struct http_exchange x;
	uint64_t id; /* the parser's */
	struct http_exchanges *set;
	struct message_state states[2]; /* by side */
	bool upgraded;
	bool ahead; /* its answer came first; the request is expected */
	uint64_t ahead_ns;
	size_t held;                  /* of the observer's, what is charged */
	bool large;                   /* has a body that can give some of itself, or the observer */
	TAILQ_ENTRY(exchange) of_set; /* oldest first */
	LIST_ENTRY(exchange) of_hash;
	LIST_ENTRY(exchange) of_large;
	TAILQ_ENTRY(exchange) of_ahead; /* as they began */
};

LIST_HEAD(exchange_list, exchange);
TAILQ_HEAD(exchange_queue, exchange);

struct http_pool {
	struct http_limits limits;
	struct http_observer observer;
	struct http_pool_counts counts;
	uint64_t last_id;
	struct exchange_queue ahead;
	struct exchange_list large; /* a few thousand: each has GIVE_MIN bytes and more */
};

/* Of one direction: when what comes next began. Only HTTP/1's bytes all belong to a message. */
struct side_state {
	uint64_t first_ns;
	struct as_hdr first_who;
	bool between; /* no byte of the next message was seen */
};

struct http_exchanges {
	struct http_pool *pool;
	struct http_exchanges_options opt;
	struct as_conn conn;
	uint64_t now_ns;
	struct as_hdr now_who; /* of the newest piece */
	struct side_state sides[2];
	size_t memory;              /* of the pool's */
	size_t held;                /* of these, what its owner has */
	struct exchange *upgrading; /* whatever its number is by now */
	struct exchange_queue open;
	size_t n_open;
	struct exchange_list *hash; /* grows with the number of streams; see hash_grow() */
	size_t n_hash;
	struct exchange_list few[8];
};

/* ---- the pool ---- */

int http_pool_new(const struct http_limits *limits, const struct http_observer *observer,
		  struct http_pool **ret)
{
	struct http_pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return -ENOMEM;
	pool->limits = *limits;
	if (!pool->limits.body_max)
		pool->limits.body_max = HTTP_BODY_MAX;
	if (!pool->limits.memory_max)
		pool->limits.memory_max = HTTP_MEMORY_MAX;
	pool->observer = *observer;
	LIST_INIT(&pool->large);
	TAILQ_INIT(&pool->ahead);
	*ret = pool;
	return 0;
}

void http_pool_free(struct http_pool *pool)
{
	free(pool);
}

const struct http_pool_counts *http_pool_counts(const struct http_pool *pool)
{
	return &pool->counts;
}

void http_pool_ws_lost(struct http_pool *pool)
{
	pool->counts.ws_lost++;
}

void http_pool_lost(struct http_pool *pool, enum http_side side)
{
	pool->counts.lost[side]++;
}

static struct http_message *message_of(struct exchange *e, enum http_side side)
{
	return side == HTTP_REQUEST ? &e->x.request : &e->x.response;
}

static struct message_state *state_of(struct exchange *e, enum http_side side)
{
	return side == HTTP_REQUEST ? &e->states[0] : &e->states[1];
}

static void memory_change(struct http_exchanges *set, size_t was, size_t now)
{
	set->memory += now - was;
	set->pool->counts.memory += now - was;
}

/* Who can give some of what is held of an exchange. */
enum holder { OF_REQUEST, OF_RESPONSE, OF_OBSERVER, N_HOLDERS };

static size_t can_give(const struct exchange *e, enum holder holder)
{
	switch (holder) {
	case OF_REQUEST:
		return e->x.request.body.cap;
	case OF_RESPONSE:
		return e->x.response.body.cap;
	default:
		return e->x.yields ? e->x.held : 0;
	}
}

static void large_note(struct exchange *e)
{
	bool large = false;

	for (enum holder i = OF_REQUEST; i < N_HOLDERS; i++)
		large |= can_give(e, i) > GIVE_MIN;

	if (large && !e->large)
		LIST_INSERT_HEAD(&e->set->pool->large, e, of_large);
	else if (!large && e->large)
		LIST_REMOVE(e, of_large);
	e->large = large;
}

static void charge(struct exchange *e, enum http_side side)
{
	struct message_state *s = state_of(e, side);
	size_t now = message_of(e, side)->body.cap + s->text.cap +
		     s->headers_cap * sizeof(struct http_header) +
		     s->marks_cap * sizeof(struct http_mark) +
		     (s->decoder ? body_decoder_memory(s->decoder) : 0);

	memory_change(e->set, s->charged, now);
	s->charged = now;
	large_note(e);
}

static void charge_observer(struct exchange *e)
{
	memory_change(e->set, e->held, e->x.held);
	e->held = e->x.held;
	large_note(e);
}

/* It ends here: what came behind would stand in the wrong place. */
static void body_stop(struct exchange *e, enum http_side side)
{
	struct http_message *m = message_of(e, side);

	m->body_error = m->body_error ?: "the memory for bodies is used up";
	m->cut = true;
	e->set->pool->counts.gave_way++;
}

static void give_half(struct exchange *e, enum http_side side)
{
	struct http_message *m = message_of(e, side);
	size_t half = m->body.cap / 2;
	char *data = realloc(m->body.data, half);

	if (data)
		m->body.data = data;
	m->body.cap = half;
	m->body.len = MIN(m->body.len, half);
	body_stop(e, side);
	charge(e, side);
}

/* false: that was all it can do. */
static bool observer_gives(struct exchange *e)
{
	const struct http_observer *observer = &e->set->pool->observer;

	if (!e->x.yields || !observer->give_way)
		return false;
	e->x.now_ns = e->set->now_ns;
	observer->give_way(observer->context, &e->x);
	charge_observer(e);
	e->set->pool->counts.gave_way++;
	return true;
}

static bool give_way(struct http_pool *pool)
{
	struct exchange *e, *largest = NULL;
	enum holder holder = OF_REQUEST;
	size_t most = GIVE_MIN;

	LIST_FOREACH(e, &pool->large, of_large)
	{
		for (enum holder i = OF_REQUEST; i < N_HOLDERS; i++) {
			if (can_give(e, i) <= most)
				continue;
			most = can_give(e, i);
			largest = e;
			holder = i;
		}
	}
	if (!largest)
		return false;
	if (holder == OF_OBSERVER)
		return observer_gives(largest);
	give_half(largest, holder == OF_REQUEST ? HTTP_REQUEST : HTTP_RESPONSE);
	return true;
}

/* Makes room for @n more bytes in the pool. */
static bool pool_room(struct http_pool *pool, size_t n)
{
	while (pool->counts.memory + n > pool->limits.memory_max) {
		if (!give_way(pool))
			return false;
	}
	return true;
}

/* After a call of the observer. Where there is no room for what it holds now, that gives way itself. */
static void settle(struct exchange *e)
{
	bool more = e->x.held > e->held;

	charge_observer(e);
	while (more && !pool_room(e->set->pool, 0) && observer_gives(e))
		;
}

static void tell(const struct http_pool *pool, void (*what)(void *, struct http_exchange *),
		 struct exchange *e)
{
	e->x.now_ns = e->set->now_ns;
	if (!what)
		return;
	what(pool->observer.context, &e->x);
	settle(e);
}

void http_pool_ws_message(struct http_pool *pool, struct http_exchange *x, enum http_side side,
			  bool text, struct http_text payload, uint64_t boot_ns)
{
	x->now_ns = boot_ns;
	if (!pool->observer.ws_message)
		return;
	pool->observer.ws_message(pool->observer.context, x, side, text, payload, boot_ns);
	_Static_assert(offsetof(struct exchange, x) == 0, "one is the other");
	settle((struct exchange *)x);
}

bool http_pool_relieve(struct http_pool *pool)
{
	while (pool->counts.memory > pool->limits.memory_max / 4 * 3) {
		if (!give_way(pool))
			return false;
	}
	return true;
}

/* ---- the table of a connection ---- */

static struct exchange_list *hash_slot(const struct http_exchanges *set, uint64_t id)
{
	return &set->hash[(id * 0x9e3779b97f4a7c15ULL >> 32) & (set->n_hash - 1)];
}

static struct exchange *find(const struct http_exchanges *set, uint64_t id)
{
	struct exchange *e;

	LIST_FOREACH(e, hash_slot(set, id), of_hash)
	{
		if (e->id == id)
			return e;
	}
	return NULL;
}

static void hash_use(struct http_exchanges *set, struct exchange_list *hash, size_t n)
{
	struct exchange_list *old = set->hash;
	struct exchange *e;

	set->hash = hash;
	set->n_hash = n;
	TAILQ_FOREACH(e, &set->open, of_set)
	LIST_INSERT_HEAD(hash_slot(set, e->id), e, of_hash);
	if (old != set->few)
		free(old);
}

/* Twice the places. Without memory for them the chains get longer, nothing worse. */
static void hash_grow(struct http_exchanges *set)
{
	struct exchange_list *hash = calloc(set->n_hash * 2, sizeof(*hash));

	if (hash)
		hash_use(set, hash, set->n_hash * 2);
}

/* Back to the few places, once nothing is open. */
static void hash_shrink(struct http_exchanges *set)
{
	if (set->n_open || set->hash == set->few)
		return;
	memset(set->few, 0, sizeof(set->few));
	hash_use(set, set->few, ARRAY_SIZE(set->few));
}

static void message_release(struct exchange *e, enum http_side side)
{
	struct message_state *s = state_of(e, side);
	struct http_message *m = message_of(e, side);

	body_decoder_free(s->decoder);
	buf_done(&s->text);
	buf_done(&m->body);
	free(m->headers);
	free(m->marks);
	*s = (struct message_state){.told = s->told, .charged = s->charged};
	*m = (struct http_message){};
	charge(e, side);
}

static void ahead_done(struct exchange *e)
{
	if (!e->ahead)
		return;
	TAILQ_REMOVE(&e->set->pool->ahead, e, of_ahead);
	e->ahead = false;
}

static void forget(struct exchange *e)
{
	struct http_exchanges *set = e->set;
	struct http_pool *pool = set->pool;

	ahead_done(e);
	if (set->upgrading == e)
		set->upgrading = NULL;
	tell(pool, pool->observer.forget, e);
	e->x.held = 0;
	charge_observer(e);
	message_release(e, HTTP_REQUEST);
	message_release(e, HTTP_RESPONSE);
	memory_change(set, sizeof(*e), 0);
	TAILQ_REMOVE(&set->open, e, of_set);
	LIST_REMOVE(e, of_hash);
	set->n_open--;
	pool->counts.open--;
	free(e);
	hash_shrink(set);
}

/* ---- telling ---- */

/* The first calls of a connection may have come before its socket was known. */
static void know_socket(struct exchange *e)
{
	if (!e->x.conn.local.family)
		e->x.conn = e->set->conn;
}

static void tell_request(struct exchange *e)
{
	struct message_state *s = &e->states[HTTP_REQUEST];

	if (s->told || !e->x.request.begun)
		return;
	s->told = true;
	know_socket(e);
	tell(e->set->pool, e->set->pool->observer.request, e);
}

static void tell_response(struct exchange *e)
{
	struct message_state *s = &e->states[HTTP_RESPONSE];

	if (s->told || !e->x.response.begun)
		return;
	s->told = true;
	know_socket(e);
	tell(e->set->pool, e->set->pool->observer.response, e);
}

/* Something is over: tells what is due. An early answer waits for its request, and for that to end. */
static void advance(struct exchange *e)
{
	if (e->x.request.ended)
		tell_request(e);
	if (!state_of(e, HTTP_RESPONSE)->over || e->ahead ||
	    (e->x.request.begun && !e->x.request.ended))
		return;
	tell_response(e);
	if (!e->upgraded)
		forget(e);
}

static void cut_off(struct exchange *e, enum http_side side, uint64_t now_ns)
{
	struct http_message *m = message_of(e, side);

	if (!m->begun || m->ended)
		return;
	m->ended = true;
	m->end_ns = MAX(now_ns, m->begin_ns);
	m->complete = false;
}

static void flush(struct exchange *e, uint64_t now_ns)
{
	cut_off(e, HTTP_REQUEST, now_ns);
	cut_off(e, HTTP_RESPONSE, now_ns);
	tell_request(e);
	tell_response(e);
	forget(e);
}

/* ---- a message's head ---- */

static void rebase_text(struct http_text *t, uintptr_t from, char *to)
{
	if (t->len)
		t->p = to + ((uintptr_t)t->p - from);
}

/* The text lies elsewhere now. */
static void rebase(struct http_message *m, uintptr_t from, char *to)
{
	struct http_text *head[] = {&m->head.method, &m->head.path, &m->head.authority,
				    &m->head.reason};

	for (size_t i = 0; i < ARRAY_SIZE(head); i++)
		rebase_text(head[i], from, to);
	for (size_t i = 0; i < m->n_headers; i++) {
		rebase_text(&m->headers[i].name, from, to);
		rebase_text(&m->headers[i].value, from, to);
	}
}

/* A place for @n more bytes; false when the message may have no more. */
static bool text_room(struct exchange *e, enum http_side side, size_t n)
{
	struct message_state *s = state_of(e, side);
	uintptr_t was = (uintptr_t)s->text.data;
	bool fits = s->text.cap - s->text.len >= n;

	if (s->text.len + n > HTTP_HEADERS_MAX ||
	    (!fits && !pool_room(e->set->pool, s->text.cap + n)) || !buf_room(&s->text, n)) {
		s->doubt = true;
		return false;
	}
	if (was && (uintptr_t)s->text.data != was)
		rebase(message_of(e, side), was, s->text.data);
	charge(e, side);
	return true;
}

/* No more comes of most messages, and thousands may wait for an answer: what is not used goes back. */
static void text_trim(struct exchange *e, enum http_side side)
{
	struct message_state *s = state_of(e, side);
	uintptr_t was = (uintptr_t)s->text.data;
	char *data;

	if (!s->text.len || s->text.cap - s->text.len < TRIM_MIN)
		return;
	data = realloc(s->text.data, s->text.len);
	if (!data)
		return;
	s->text.data = data;
	s->text.cap = s->text.len;
	if ((uintptr_t)data != was)
		rebase(message_of(e, side), was, data);
	charge(e, side);
}

static struct http_text text_add(struct message_state *s, struct http_text t)
{
	size_t at = s->text.len;

	if (!t.len)
		return (struct http_text){"", 0};
	buf_add(&s->text, t.p, t.len);
	return (struct http_text){s->text.data + at, t.len};
}

static void head_keep(struct exchange *e, enum http_side side, const struct http_head *head)
{
	struct message_state *s = state_of(e, side);
	struct http_message *m = message_of(e, side);

	m->head.status = head->status;
	m->head.version = head->version;
	if (!text_room(e, side,
		       head->method.len + head->path.len + head->authority.len + head->reason.len))
		return;
	m->head.method = text_add(s, head->method);
	m->head.path = text_add(s, head->path);
	m->head.authority = text_add(s, head->authority);
	m->head.reason = text_add(s, head->reason);
}

/* Twice the places of an array, at most @max. */
static void *array_grow(void *array, size_t *cap, size_t size, size_t max)
{
	size_t twice = *cap ? *cap * 2 : 8, want = MIN(twice, max);
	void *grown = want > *cap ? realloc(array, want * size) : NULL;

	if (grown)
		*cap = want;
	return grown;
}

static bool headers_room(struct exchange *e, enum http_side side)
{
	struct message_state *s = state_of(e, side);
	struct http_message *m = message_of(e, side);
	void *grown;

	if (m->n_headers < s->headers_cap)
		return true;
	grown = pool_room(e->set->pool, s->headers_cap * sizeof(*m->headers))
			? array_grow(m->headers, &s->headers_cap, sizeof(*m->headers),
				     HTTP_HEADERS_N)
			: NULL;
	if (!grown) {
		s->doubt = true;
		return false;
	}
	m->headers = grown;
	charge(e, side);
	return true;
}

struct http_text http_message_header(const struct http_message *m, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < m->n_headers; i++) {
		const struct http_text *have = &m->headers[i].name;

		if (have->len == len && !memcmp(have->p, name, len))
			return m->headers[i].value;
	}
	return (struct http_text){};
}

/* Bodies of which each piece means something of its own. */
static bool is_stream(struct http_text type)
{
	static const char *const types[] = {
		"text/event-stream",       "application/x-ndjson",
		"application/ndjson",      "application/jsonl",
		"application/x-jsonlines", "application/stream+json",
		"application/json-seq",    "application/vnd.amazon.eventstream",
	};
	size_t len = 0;

	while (len < type.len && type.p[len] != ';' && type.p[len] != ' ')
		len++;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (http_text_is((struct http_text){type.p, len}, types[i]))
			return true;
	}
	return false;
}

/* ---- a message's body ---- */

static void mark_add(struct exchange *e, enum http_side side)
{
	struct message_state *s = state_of(e, side);
	struct http_message *m = message_of(e, side);
	uint64_t now_ns = e->set->now_ns;
	void *grown;

	if (m->n_marks && m->marks[m->n_marks - 1].boot_ns == now_ns)
		return;
	if (m->n_marks == s->marks_cap) {
		grown = array_grow(m->marks, &s->marks_cap, sizeof(*m->marks), HTTP_MARKS_MAX);
		if (!grown)
			return;
		m->marks = grown;
		charge(e, side);
	}
	m->marks[m->n_marks++] = (struct http_mark){m->body.len, now_ns};
}

/* As far as the bounds allow. Once something was left out, nothing is put behind the hole. */
static void body_keep(struct exchange *e, enum http_side side, const char *p, size_t n)
{
	struct http_message *m = message_of(e, side);
	struct http_pool *pool = e->set->pool;
	size_t kept = m->cut ? 0 : MIN(n, pool->limits.body_max - m->body.len);

	m->body_full += n;
	if (kept > m->body.cap - m->body.len && !pool_room(pool, kept))
		body_stop(e, side);
	/* it may just have given way itself */
	if (!kept || m->cut) {
		m->cut |= n > 0;
		return;
	}
	mark_add(e, side);
	buf_add(&m->body, p, kept);
	if (m->body.failed)
		m->body_error = m->body_error ?: "there is no memory for more";
	m->cut |= kept < n || m->body.failed;
	charge(e, side);
	if (!pool_room(pool, 0))
		body_stop(e, side);
}

struct piece_target {
	struct exchange *e;
	enum http_side side;
};

static void on_decoded(void *context, const void *p, size_t n)
{
	const struct piece_target *t = context;
	struct http_message *m = message_of(t->e, t->side);
	struct message_state *s = state_of(t->e, t->side);
	struct http_pool *pool = t->e->set->pool;

	body_keep(t->e, t->side, p, n);
	if (!s->streams || t->e->ahead ||
	    (t->e->x.request.begun && !state_of(t->e, HTTP_REQUEST)->told))
		return;
	m->piece = (struct http_text){p, n};
	tell(pool, pool->observer.progress, t->e);
	m->piece = (struct http_text){};
}

static void note_error(struct http_message *m, const struct body_decoder *d)
{
	if (!m->body_error)
		m->body_error = body_decoder_error(d);
}

/*
 * What is decoded behind the bound is only counted, and not without end: a bomb costs time, too.
 * Each piece of a stream is of use.
 */
static void decoder_open(struct exchange *e, enum http_side side)
{
	struct http_message *m = message_of(e, side);
	struct message_state *s = state_of(e, side);
	struct http_text encoding = http_message_header(m, "content-encoding");
	uint64_t most = s->streams ? STREAM_MAX : 4 * (uint64_t)e->set->pool->limits.body_max;
	const struct body_limits limits = {.output = most};

	if (!encoding.len)
		return;
	if (body_decoder_new(encoding, &limits, &s->decoder) < 0) {
		m->body_error = "there is no memory to decode it";
		m->cut = true;
		return;
	}
	note_error(m, s->decoder);
}

/* What comes of the message is counted as transferred, and no more. */
static void decoder_drop(struct exchange *e, enum http_side side)
{
	struct message_state *s = state_of(e, side);

	body_decoder_free(TAKE_PTR(s->decoder));
	s->deaf = true;
	charge(e, side);
}

static void decode(struct exchange *e, enum http_side side, struct http_text piece)
{
	struct message_state *s = state_of(e, side);
	struct piece_target target = {e, side};

	if (body_decoder_feed(s->decoder, piece.p, piece.len, on_decoded, &target) < 0) {
		note_error(message_of(e, side), s->decoder);
		decoder_drop(e, side);
		return;
	}
	charge(e, side);
	if (pool_room(e->set->pool, 0))
		return;
	body_stop(e, side);
	decoder_drop(e, side);
}

static void decoder_close(struct exchange *e, enum http_side side, bool complete)
{
	struct message_state *s = state_of(e, side);

	if (!s->decoder)
		return;
	if (complete && !s->deaf && body_decoder_finish(s->decoder) < 0)
		note_error(message_of(e, side), s->decoder);
	body_decoder_free(TAKE_PTR(s->decoder));
	charge(e, side);
}

/* ---- what the parser tells ---- */

/*
 * 101 is the last response of its connection; HTTP/2 has none (RFC 9113, 8.6), but answers what asked for it
 * (RFC 7540, 3.2).
 */
static bool switches(const struct http_message *m)
{
	return m->head.status == 101 && m->head.version < 20 &&
	       !http_text_is(http_message_header(m, "upgrade"), "h2c");
}

/* An interim response: another one follows. */
static bool is_interim(const struct http_message *m)
{
	return m->head.status >= 100 && m->head.status < 200 && !switches(m);
}

static struct exchange *exchange_new(struct http_exchanges *set, uint64_t id)
{
	struct http_pool *pool = set->pool;
	struct exchange *e;

	while (set->n_open >= HTTP_OPEN_MAX)
		flush(TAILQ_FIRST(&set->open), set->now_ns);
	e = pool_room(pool, sizeof(*e)) ? calloc(1, sizeof(*e)) : NULL;
	if (!e)
		return NULL;
	e->id = id;
	e->set = set;
	e->x.id = ++pool->last_id;
	e->x.stream_id = set->opt.stream_id;
	e->x.server = set->opt.server;
	e->x.tls = set->opt.tls;
	TAILQ_INSERT_TAIL(&set->open, e, of_set);
	LIST_INSERT_HEAD(hash_slot(set, id), e, of_hash);
	pool->counts.open++;
	memory_change(set, 0, sizeof(*e));
	if (++set->n_open > set->n_hash * 2)
		hash_grow(set);
	return e;
}

static struct as_hdr call_of_head(const struct http_exchanges *set, enum http_side side,
				  const struct http_head *head)
{
	return head->version >= 20 ? set->now_who : set->sides[side].first_who;
}

/* The exchange that a head belongs to. */
static struct exchange *exchange_for(struct http_exchanges *set, uint64_t id, enum http_side side,
				     const struct http_head *head)
{
	struct exchange *e = find(set, id);

	if (e)
		return e;
	e = exchange_new(set, id);
	if (!e) {
		http_pool_lost(set->pool, side);
		return NULL;
	}
	e->x.who = call_of_head(set, side, head);
	e->x.conn = set->conn;
	return e;
}

static void on_begin(void *context, uint64_t id, enum http_side side, const struct http_head *head)
{
	struct http_exchanges *set = context;
	struct exchange *e = exchange_for(set, id, side, head);
	struct http_message *m;

	if (!e)
		return;
	m = message_of(e, side);
	if (m->begun && side == HTTP_RESPONSE && is_interim(m))
		message_release(e, side);
	if (m->begun)
		return; /* trailers come without a head of their own */
	if (side == HTTP_REQUEST && e->ahead) {
		ahead_done(e);
		e->x.who = call_of_head(set, side, head);
	}
	m->begun = true;
	m->begin_ns = head->version >= 20 ? set->now_ns : set->sides[side].first_ns;
	set->sides[side].between = false;
	head_keep(e, side, head);
}

static void fold(char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = (char)tolower((unsigned char)p[i]);
}

static void on_header(void *context, uint64_t id, enum http_side side, struct http_text name,
		      struct http_text value)
{
	struct http_exchanges *set = context;
	struct exchange *e = find(set, id);
	struct http_message *m;
	struct http_text kept;

	if (!e || !headers_room(e, side) || !text_room(e, side, name.len + value.len))
		return;
	m = message_of(e, side);
	kept = text_add(state_of(e, side), name);
	fold((char *)kept.p, kept.len);
	m->headers[m->n_headers].name = kept;
	m->headers[m->n_headers].value = text_add(state_of(e, side), value);
	m->n_headers++;
}

static void on_headers_done(void *context, uint64_t id, enum http_side side)
{
	struct http_exchanges *set = context;
	struct exchange *e = find(set, id);
	struct http_message *m;

	if (!e)
		return;
	m = message_of(e, side);
	if (m->headed)
		return;
	m->headed = true;
	m->head_ns = set->now_ns;
	if (!m->head.authority.len)
		m->head.authority = http_message_header(m, "host");
	if (side == HTTP_RESPONSE && is_interim(m))
		return;
	text_trim(e, side);
	state_of(e, side)->streams = side == HTTP_RESPONSE && set->pool->observer.progress &&
				     is_stream(http_message_header(m, "content-type"));
	decoder_open(e, side);
}

static void on_body(void *context, uint64_t id, enum http_side side, struct http_text piece)
{
	struct exchange *e = find(context, id);
	struct piece_target target = {e, side};

	if (!e)
		return;
	message_of(e, side)->body_wire += piece.len;
	if (state_of(e, side)->deaf)
		return;
	if (state_of(e, side)->decoder)
		decode(e, side, piece);
	else
		on_decoded(&target, piece.p, piece.len);
}

/* Nothing can be decoded behind a hole, and nothing that comes then would stand in its place. */
static void on_missing(void *context, uint64_t id, enum http_side side, uint64_t n)
{
	struct exchange *e = find(context, id);
	struct message_state *s;
	struct http_message *m;

	if (!e)
		return;
	s = state_of(e, side);
	m = message_of(e, side);
	m->body_wire += n;
	m->body_error = m->body_error ?: "bytes behind these were not seen";
	m->cut = m->hole = true;
	if (s->decoder)
		decoder_drop(e, side);
	else if (!s->deaf)
		m->body_full += n;
}

/* The exchange is needed as long as what it opened. */
static bool upgrades(const struct http_exchange *x)
{
	const struct http_head *head = &x->response.head;

	return switches(&x->response) || (head->version < 20 && head->status / 100 == 2 &&
					  http_text_is(x->request.head.method, "CONNECT"));
}

static void message_end(struct exchange *e, enum http_side side, bool complete)
{
	struct http_message *m = message_of(e, side);

	decoder_close(e, side, complete);
	m->ended = true;
	m->end_ns = e->set->now_ns;
	m->complete = complete && !state_of(e, side)->doubt;
}

static void on_ahead(void *context, uint64_t id)
{
	struct exchange *e = find(context, id);

	if (!e || e->ahead || e->x.request.begun || state_of(e, HTTP_REQUEST)->over)
		return;
	e->ahead = true;
	e->ahead_ns = e->x.response.begin_ns;
	TAILQ_INSERT_TAIL(&e->set->pool->ahead, e, of_ahead);
}

static void on_end(void *context, uint64_t id, enum http_side side, bool complete)
{
	struct http_exchanges *set = context;
	struct exchange *e = find(set, id);
	struct http_message *m;

	set->sides[side].between = true;
	set->sides[side].first_ns = set->now_ns;
	if (!e)
		return;
	m = message_of(e, side);
	if (side == HTTP_RESPONSE && is_interim(m) && complete) {
		message_release(e, side);
		return;
	}
	state_of(e, side)->over = true;
	if (side == HTTP_REQUEST)
		ahead_done(e);
	if (m->begun && !m->ended)
		message_end(e, side, complete);
	e->upgraded |= side == HTTP_RESPONSE && upgrades(&e->x);
	advance(e);
}

static void on_lost(void *context, enum http_side side)
{
	struct http_exchanges *set = context;

	http_pool_lost(set->pool, side);
}

static void upgrade_begin(struct http_exchanges *set, uint64_t id)
{
	struct exchange *e = find(set, id);

	set->upgrading = e;
	if (!e)
		return;
	e->upgraded = true;
	if (e->x.request.begun && !e->x.request.ended)
		on_end(set, id, HTTP_REQUEST, true);
	if (e->x.response.begun && !e->x.response.ended)
		on_end(set, id, HTTP_RESPONSE, true);
}

static void on_upgraded(void *context, uint64_t id, enum http_side side, struct http_text rest)
{
	struct http_exchanges *set = context;

	if (side == HTTP_REQUEST)
		upgrade_begin(set, id);
	if (set->upgrading)
		set->opt.upgraded(set->opt.context, &set->upgrading->x, side, rest);
}

const struct http_parser_ops http_exchanges_ops = {
	.begin = on_begin,
	.header = on_header,
	.headers_done = on_headers_done,
	.body = on_body,
	.missing = on_missing,
	.ahead = on_ahead,
	.end = on_end,
	.lost = on_lost,
	.upgraded = on_upgraded,
};

/* ---- the owner's side ---- */

int http_exchanges_new(struct http_pool *pool, const struct http_exchanges_options *opt,
		       struct http_exchanges **ret)
{
	struct http_exchanges *set = calloc(1, sizeof(*set));

	if (!set)
		return -ENOMEM;
	set->pool = pool;
	set->opt = *opt;
	set->sides[HTTP_REQUEST].between = true;
	set->sides[HTTP_RESPONSE].between = true;
	set->hash = set->few;
	set->n_hash = ARRAY_SIZE(set->few);
	TAILQ_INIT(&set->open);
	*ret = set;
	return 0;
}

void http_pool_tick(struct http_pool *pool, uint64_t boot_ns)
{
	struct exchange *e;

	while ((e = TAILQ_FIRST(&pool->ahead)) && e->ahead_ns + HTTP_AHEAD_NS <= boot_ns) {
		struct http_exchanges *set = e->set;

		on_end(set, e->id, HTTP_REQUEST, false);
		set->opt.unasked(set->opt.context);
	}
}

bool http_exchanges_unasked(const struct http_exchanges *set, const struct as_hdr *call)
{
	struct exchange *e;

	if (TAILQ_EMPTY(&set->pool->ahead))
		return false;
	TAILQ_FOREACH(e, &set->open, of_set)
	{
		if (e->ahead)
			return !(call->flags & AS_F_EARLIER) && call->boot_ns > e->ahead_ns;
	}
	return false;
}

void http_exchanges_piece(struct http_exchanges *set, enum http_side side,
			  const struct http_origin *origin)
{
	struct side_state *s = &set->sides[side];

	set->now_ns = origin->who->boot_ns;
	set->now_who = *origin->who;
	if (origin->conn->local.family)
		set->conn = *origin->conn;
	if (!s->between)
		return;
	s->between = false;
	s->first_ns = set->now_ns;
	s->first_who = *origin->who;
}

void http_exchanges_time(struct http_exchanges *set, uint64_t boot_ns)
{
	set->now_ns = boot_ns;
}

void http_exchanges_doubt(struct http_exchanges *set)
{
	struct exchange *e;

	TAILQ_FOREACH(e, &set->open, of_set)
	{
		state_of(e, HTTP_REQUEST)->doubt = true;
		state_of(e, HTTP_RESPONSE)->doubt = true;
		e->x.request.doubts++;
		e->x.response.doubts++;
	}
}

void http_exchanges_end(struct http_exchanges *set, uint64_t boot_ns)
{
	while (set->n_open)
		flush(TAILQ_FIRST(&set->open), boot_ns);
}

void http_exchanges_free(struct http_exchanges *set)
{
	if (!set)
		return;
	http_exchanges_end(set, set->now_ns);
	http_exchanges_hold(set, 0);
	if (set->hash != set->few)
		free(set->hash);
	free(set);
}

size_t http_exchanges_memory(const struct http_exchanges *set)
{
	return set->memory;
}

bool http_exchanges_hold(struct http_exchanges *set, size_t n)
{
	memory_change(set, set->held, n);
	set->held = n;
	return pool_room(set->pool, 0);
}

void http_exchanges_take_over(struct http_exchanges *set, struct http_exchange *x, uint64_t id)
{
	struct exchange *e = (struct exchange *)x, *other, *next;

	for (other = TAILQ_FIRST(&set->open); other; other = next) {
		next = TAILQ_NEXT(other, of_set);
		if (other != e)
			flush(other, set->now_ns);
	}
	LIST_REMOVE(e, of_hash);
	e->id = id;
	LIST_INSERT_HEAD(hash_slot(set, id), e, of_hash);
	e->upgraded = false;
}

size_t http_exchanges_open(const struct http_exchanges *set)
{
	return set->n_open;
}
