/* SPDX-License-Identifier: MIT */
/* Open streams: a pool that doubles, chained into buckets and into the order of opening. */
#include "http/http2_streams.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NONE      UINT16_MAX
#define FIRST_CAP 8U
#define KEPT_CAP  64U /* an idle connection keeps no more: a burst may have been long ago */

static uint16_t *bucket_of(const struct http2_streams *t, uint32_t id)
{
	uint32_t mixed = (id ^ t->seed) * 0x9E3779B1U;

	return &t->buckets[(mixed >> 16) & (t->cap - 1U)];
}

static uint16_t place_of(const struct http2_streams *t, const struct http2_stream *s)
{
	return (uint16_t)(s - t->pool);
}

static struct http2_stream *at(const struct http2_streams *t, uint16_t i)
{
	return i == NONE ? NULL : &t->pool[i];
}

static void chain(struct http2_streams *t, struct http2_stream *s)
{
	uint16_t *bucket = bucket_of(t, s->id);

	s->chain = *bucket;
	*bucket = place_of(t, s);
}

static int grow(struct http2_streams *t)
{
	uint16_t cap = (uint16_t)(t->cap ? t->cap * 2U : FIRST_CAP);
	struct http2_stream *pool = realloc(t->pool, cap * sizeof(*pool));
	uint16_t *buckets;

	if (!pool)
		return -ENOMEM;
	t->pool = pool;
	buckets = realloc(t->buckets, cap * sizeof(*buckets));
	if (!buckets)
		return -ENOMEM;
	t->buckets = buckets;

	/* Only a full pool grows, so all places up to the old size are in use and all others free. */
	memset(buckets, 0xff, cap * sizeof(*buckets));
	for (uint16_t i = t->cap; i < cap; i++)
		pool[i].chain = i + 1 < cap ? (uint16_t)(i + 1) : NONE;
	t->free = t->cap;
	t->cap = cap;
	for (uint16_t i = 0; i < t->n; i++)
		chain(t, &pool[i]);
	return 0;
}

int http2_streams_init(struct http2_streams *t, uint32_t seed)
{
	*t = (struct http2_streams){.seed = seed, .free = NONE, .oldest = NONE, .newest = NONE};
	return grow(t);
}

void http2_streams_done(struct http2_streams *t)
{
	free(t->pool);
	free(t->buckets);
	*t = (struct http2_streams){.free = NONE, .oldest = NONE, .newest = NONE};
}

struct http2_stream *http2_streams_find(const struct http2_streams *t, uint32_t id)
{
	struct http2_stream *s = at(t, *bucket_of(t, id));

	while (s && s->id != id)
		s = at(t, s->chain);
	return s;
}

struct http2_stream *http2_streams_add(struct http2_streams *t, uint32_t id)
{
	struct http2_stream *s;
	uint16_t place;

	if (t->free == NONE && grow(t) < 0)
		return NULL;

	place = t->free;
	s = &t->pool[place];
	t->free = s->chain;
	*s = (struct http2_stream){.id = id, .older = t->newest, .newer = NONE};
	if (t->newest == NONE)
		t->oldest = place;
	else
		t->pool[t->newest].newer = place;
	t->newest = place;
	t->n++;
	chain(t, s);
	return s;
}

/* The old table is kept if there is no memory for a smaller one. */
static void start_over(struct http2_streams *t)
{
	struct http2_streams fresh;

	if (http2_streams_init(&fresh, t->seed) < 0) {
		http2_streams_done(&fresh);
		return;
	}
	http2_streams_done(t);
	*t = fresh;
}

void http2_streams_remove(struct http2_streams *t, struct http2_stream *s)
{
	uint16_t place = place_of(t, s), *link = bucket_of(t, s->id);

	while (*link != place)
		link = &t->pool[*link].chain;
	*link = s->chain;

	*(s->older == NONE ? &t->oldest : &t->pool[s->older].newer) = s->newer;
	*(s->newer == NONE ? &t->newest : &t->pool[s->newer].older) = s->older;
	s->chain = t->free;
	t->free = place;
	t->n--;
	if (t->n == 0 && t->cap > KEPT_CAP)
		start_over(t);
}

struct http2_stream *http2_streams_oldest(const struct http2_streams *t)
{
	return at(t, t->oldest);
}

struct http2_stream *http2_streams_newer(const struct http2_streams *t,
					 const struct http2_stream *s)
{
	return at(t, s->newer);
}
