/* SPDX-License-Identifier: MIT */
#include "source/order.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "event/decode.h"

#define MAX_RINGS   2
#define BATCH       4096
#define BATCH_BYTES (1U << 20)

struct item {
	uint64_t ns;
	const struct as_hdr *rec; /* in a ring; NULL: in the arena */
	size_t at;                /* in the arena; for a record in a ring, in its batch */
	const char *label;
};

/* Items in order; those that are held lie in the arena, as offsets since it may move. */
struct run {
	struct item *items;
	size_t n, cap, next;
	struct buf arena;
};

struct input {
	struct ring *ring;
	size_t batch_bytes;
	bool more;
	struct ring_record records[BATCH];
	size_t n_records;
	size_t n_done; /* up to here the batch is passed on, or held */
	struct run run;
	uint64_t seen_ns; /* up to here, all that was written to the ring has been seen */
};

struct order {
	struct emitter in;
	struct emitter *out;
	struct input inputs[MAX_RINGS];
	size_t n_inputs;
	struct run held;
	struct run spare;
	struct buf current; /* the held event that is being passed on */
	struct order_counts counts;
};

static int run_room(struct run *r)
{
	size_t cap = r->cap ? 2 * r->cap : 256;
	struct item *items;

	if (r->n < r->cap)
		return 0;
	items = realloc(r->items, cap * sizeof(*items));
	if (!items)
		return -ENOMEM;
	r->items = items;
	r->cap = cap;
	return 0;
}

/*
 * The place of an item of @ns, behind everything that is not younger; nearly always at the end. To be filled in
 * place: a copy would be loaded in wider steps than it was stored in just before, for which the processor waits.
 * NULL without memory.
 */
static struct item *run_place(struct run *r, uint64_t ns)
{
	size_t i = r->n;

	if (run_room(r) < 0)
		return NULL;
	while (i > r->next && r->items[i - 1].ns > ns) {
		r->items[i] = r->items[i - 1];
		i--;
	}
	r->n++;
	r->items[i].ns = ns;
	return &r->items[i];
}

static void run_reset(struct run *r)
{
	r->n = r->next = 0;
	buf_reset(&r->arena);
}

static void run_done(struct run *r)
{
	free(r->items);
	buf_done(&r->arena);
}

/* Copies an event into the arena of @r. */
static int run_hold(struct run *r, const struct as_hdr *rec, const char *label)
{
	static const char zeros[8];
	size_t at = r->arena.len;
	struct item *item = NULL;

	buf_add(&r->arena, rec, rec->len);
	buf_add(&r->arena, zeros, -r->arena.len % 8);
	if (!r->arena.failed)
		item = run_place(r, rec->boot_ns);
	if (!item) {
		r->arena.len = at;
		r->arena.failed = false;
		return -ENOMEM;
	}
	item->rec = NULL;
	item->at = at;
	item->label = label;
	return 0;
}

static const struct as_hdr *item_record(const struct run *r, const struct item *item)
{
	return item->rec ? item->rec : (const struct as_hdr *)(r->arena.data + item->at);
}

static void count_unheld(struct order *o, const struct as_hdr *rec)
{
	if (rec->type < AS_EV_COUNT)
		o->counts.unheld[rec->type]++;
	else
		o->counts.bad++;
}

static void hold_event(struct emitter *self, const struct event *ev)
{
	struct order *o = (struct order *)((char *)self - offsetof(struct order, in));

	if (run_hold(&o->held, ev->rec, ev->label) < 0)
		count_unheld(o, ev->rec);
}

int order_new(struct emitter *out, struct order **ret)
{
	struct order *o = calloc(1, sizeof(*o));

	if (!o)
		return -ENOMEM;
	o->in.emit = hold_event;
	o->out = out;
	*ret = o;
	return 0;
}

void order_free(struct order *o)
{
	if (!o)
		return;
	for (size_t i = 0; i < MAX_RINGS; i++)
		run_done(&o->inputs[i].run);
	run_done(&o->held);
	run_done(&o->spare);
	buf_done(&o->current);
	free(o);
}

void order_add_ring(struct order *o, struct ring *ring, size_t size)
{
	struct input *in = &o->inputs[o->n_inputs++];

	in->ring = ring;
	in->batch_bytes = MIN((size_t)BATCH_BYTES, size / 4);
}

struct emitter *order_input(struct order *o)
{
	return &o->in;
}

static bool input_add(struct input *in, const struct as_hdr *rec, size_t at)
{
	struct item *item = run_place(&in->run, rec->boot_ns);

	if (!item)
		return false;
	item->rec = rec;
	item->at = at;
	item->label = NULL;
	return true;
}

/* Looks at the next records of a ring, in place. */
static void input_read(struct order *o, struct input *in)
{
	size_t n = ring_peek(in->ring, in->records, BATCH, in->batch_bytes, &in->more);

	run_reset(&in->run);
	in->n_records = n;
	in->n_done = 0;
	for (size_t i = 0; i < n; i++) {
		const struct as_hdr *rec = in->records[i].data;
		bool whole = in->records[i].len >= sizeof(*rec) && rec->len <= in->records[i].len;

		if (whole && input_add(in, rec, i))
			continue;
		if (whole)
			count_unheld(o, rec);
		else
			o->counts.bad++;
		in->n_done = i + 1; /* not to be counted twice */
	}
}

static void pass_on(struct order *o, const struct as_hdr *rec, const char *label)
{
	struct event ev;

	if (event_decode(rec, rec->len, &ev) < 0) {
		o->counts.bad++;
		return;
	}
	ev.label = label;
	event_emit(o->out, &ev);
}

/* From a copy: who receives it may send an event of its own, which may move the arena. */
static void pass_on_held(struct order *o, const struct item *item)
{
	const struct as_hdr *rec = item_record(&o->held, item);

	buf_reset(&o->current);
	buf_add(&o->current, rec, rec->len);
	if (o->current.failed)
		count_unheld(o, rec);
	else
		pass_on(o, (const struct as_hdr *)o->current.data, item->label);
}

/* The run whose next item is the oldest one not younger than @limit; NULL when there is none. */
static struct run *oldest(struct order *o, uint64_t limit)
{
	struct run *best = NULL;

	if (o->held.next < o->held.n && o->held.items[o->held.next].ns <= limit)
		best = &o->held;
	for (size_t i = 0; i < o->n_inputs; i++) {
		struct run *r = &o->inputs[i].run;

		if (r->next == r->n || r->items[r->next].ns > limit)
			continue;
		if (!best || r->items[r->next].ns < best->items[best->next].ns)
			best = r;
	}
	return best;
}

static void merge(struct order *o, uint64_t limit)
{
	struct run *r;

	while ((r = oldest(o, limit))) {
		struct item item = r->items[r->next++];

		if (item.rec)
			pass_on(o, item.rec, item.label);
		else
			pass_on_held(o, &item);
	}
}

/* How far into the batch the merge came. */
static size_t input_reached(const struct input *in)
{
	size_t reached = in->n_done;

	for (size_t i = 0; i < in->run.next; i++)
		reached = MAX(reached, in->run.items[i].at + 1);
	return reached;
}

/*
 * Gives back the ring up to the last record that was passed on. What is too young stays where it is
 * and is looked at again; only what lies before that point is copied, which is as good as nothing.
 * False: all were too young.
 */
static bool input_release(struct order *o, struct input *in)
{
	size_t reached = input_reached(in);

	for (size_t i = in->run.next; i < in->run.n; i++) {
		const struct item *item = &in->run.items[i];

		if (item->at < reached && run_hold(&o->held, item->rec, NULL) < 0)
			count_unheld(o, item->rec);
	}
	run_reset(&in->run);
	if (reached == in->n_records)
		ring_release(in->ring, NULL); /* discarded ones behind it, too */
	else if (reached)
		ring_release(in->ring, &in->records[reached - 1]);
	return reached > 0;
}

/* Takes the memory of held events that were passed on back; amortised, each is copied about once. */
static void compact_held(struct order *o)
{
	struct run *r = &o->held, was = o->held;

	if (r->next == r->n) {
		run_reset(r);
		return;
	}
	if (r->next <= r->n / 2)
		return;
	run_reset(&o->spare);
	for (; r->next < r->n; r->next++) {
		const struct item *item = &r->items[r->next];

		if (run_hold(&o->spare, item_record(r, item), item->label) < 0)
			count_unheld(o, item_record(r, item));
	}
	was.next = was.n;
	o->held = o->spare;
	o->spare = was;
}

/* What follows in a ring is hardly older than the last one seen. */
static uint64_t last_seen(const struct input *in)
{
	return in->run.n ? in->run.items[in->run.n - 1].ns : 0;
}

/* Up to where nothing older is to come from the ring, as long as it is worth waiting for that. */
static uint64_t held_up_at(struct input *in, uint64_t watermark_ns)
{
	uint64_t oldest_ns = watermark_ns - MIN(watermark_ns, (uint64_t)ORDER_HOLD_NS);

	if (!in->more && !ring_held_up(in->ring)) {
		in->seen_ns = watermark_ns;
		return watermark_ns;
	}
	in->seen_ns = MAX(in->seen_ns, last_seen(in));
	oldest_ns = MAX(oldest_ns, in->seen_ns);
	return MIN(watermark_ns, oldest_ns);
}

/* Reads all rings, and tells what may be passed on. */
static uint64_t read_inputs(struct order *o, uint64_t watermark_ns, bool *ret_more)
{
	uint64_t limit = watermark_ns, held_up = watermark_ns;

	*ret_more = false;
	for (size_t i = 0; i < o->n_inputs; i++) {
		struct input *in = &o->inputs[i];

		input_read(o, in);
		if (in->more && in->run.n)
			limit = MIN(limit, last_seen(in));
		if (watermark_ns != UINT64_MAX)
			held_up = MIN(held_up, held_up_at(in, watermark_ns));
		*ret_more |= in->more;
	}
	return *ret_more ? limit : held_up;
}

uint64_t order_drain(struct order *o, uint64_t watermark_ns)
{
	bool more, moved;
	uint64_t limit;

	do {
		moved = false;
		limit = read_inputs(o, watermark_ns, &more);
		merge(o, limit);
		for (size_t i = 0; i < o->n_inputs; i++)
			moved |= input_release(o, &o->inputs[i]);
		compact_held(o);
	} while (more && moved); /* else the rest is younger than the watermark */
	return limit;
}

bool order_idle(const struct order *o)
{
	for (size_t i = 0; i < o->n_inputs; i++) {
		if (!ring_empty(o->inputs[i].ring))
			return false;
	}
	return o->held.n == o->held.next;
}

struct order_counts order_counts(const struct order *o)
{
	return o->counts;
}
