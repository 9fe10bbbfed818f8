/* SPDX-License-Identifier: MIT */
#include "stats/sketch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_BUCKETS 64
#define PAGE_BYTES   (PAGE_BUCKETS * sizeof(uint64_t))
#define TABLE_BYTES  (SKETCH_PAGES * sizeof(uint64_t *))

/* Page p > 0 holds [64 << (p - 1), 64 << p) in 64 buckets of equal width. */
static unsigned page_of(uint64_t value)
{
	return value < PAGE_BUCKETS ? 0 : 58U - (unsigned)__builtin_clzll(value);
}

static uint64_t bucket_middle(unsigned page, unsigned bucket)
{
	unsigned shift = page ? page - 1 : 0;

	if (!page)
		return bucket;
	return ((uint64_t)(PAGE_BUCKETS + bucket) << shift) + (1ULL << shift >> 1);
}

static int count(struct sketch *s, uint64_t value, uint64_t weight)
{
	unsigned page = page_of(value);
	uint64_t *buckets = s->pages[page];
	int grown = 0;

	if (!buckets) {
		buckets = calloc(PAGE_BUCKETS, sizeof(*buckets));
		if (!buckets)
			return -ENOMEM;
		s->pages[page] = buckets;
		grown = PAGE_BYTES;
	}
	buckets[(page ? value >> (page - 1) : value) % PAGE_BUCKETS] += weight;
	s->weight += weight;
	return grown;
}

/* From single values to buckets. */
static int spread(struct sketch *s)
{
	struct sketch_pair *pairs = s->pairs;
	uint64_t weight = s->weight;
	int grown = (int)TABLE_BYTES - (int)(SKETCH_EXACT * sizeof(*pairs));

	s->pages = calloc(SKETCH_PAGES, sizeof(*s->pages));
	if (!s->pages)
		return -ENOMEM;
	s->weight = 0;
	for (size_t i = 0; pairs && i < s->n_pairs; i++) {
		int r = count(s, pairs[i].value, pairs[i].weight);

		if (r < 0) {
			sketch_done(&(struct sketch){.pages = s->pages});
			s->pages = NULL;
			s->weight = weight;
			return r;
		}
		grown += r;
	}
	free(pairs);
	s->pairs = NULL;
	s->n_pairs = 0;
	return grown;
}

static int keep(struct sketch *s, uint64_t value, uint64_t weight)
{
	uint32_t n = s->n_pairs;
	int grown = 0;

	/* most processes give a handful of samples: 4, 8, 16, 32 */
	if (!s->pairs || (n >= 4 && !(n & (n - 1)))) {
		uint32_t cap = n ? 2 * n : 4;
		struct sketch_pair *more = realloc(s->pairs, cap * sizeof(*more));

		if (!more)
			return -ENOMEM;
		s->pairs = more;
		grown = (int)((cap - n) * sizeof(*more));
	}
	s->pairs[s->n_pairs++] = (struct sketch_pair){value, weight};
	s->weight += weight;
	return grown;
}

int sketch_add(struct sketch *s, uint64_t value, uint64_t weight)
{
	int grown = 0, r;

	if (!s->pages) {
		/* a value that stays takes no room, whatever the number of samples */
		struct sketch_pair *last = s->n_pairs ? &s->pairs[s->n_pairs - 1] : NULL;

		if (last && last->value == value) {
			last->weight += weight;
			s->weight += weight;
			return 0;
		}
		if (s->n_pairs < SKETCH_EXACT)
			return keep(s, value, weight);
		grown = spread(s);
		if (grown < 0)
			return grown;
	}
	r = count(s, value, weight);
	return r < 0 ? r : grown + r;
}

static int by_value(const void *a, const void *b)
{
	const struct sketch_pair *x = a, *y = b;

	return (x->value > y->value) - (x->value < y->value);
}

static uint64_t exact_quantile(const struct sketch *s, uint64_t wanted)
{
	struct sketch_pair sorted[SKETCH_EXACT];
	uint64_t seen = 0;
	size_t i = 0;

	memcpy(sorted, s->pairs, s->n_pairs * sizeof(*sorted));
	qsort(sorted, s->n_pairs, sizeof(*sorted), by_value);
	for (; i + 1 < s->n_pairs; i++) {
		seen += sorted[i].weight;
		if (seen >= wanted)
			break;
	}
	return sorted[i].value;
}

uint64_t sketch_quantile(const struct sketch *s, unsigned permille)
{
	uint64_t wanted, seen = 0, value = 0;

	wanted = (uint64_t)(((unsigned __int128)s->weight * permille + 999) / 1000);
	if (s->n_pairs)
		return exact_quantile(s, wanted);
	for (unsigned page = 0; s->pages && page < SKETCH_PAGES; page++) {
		for (unsigned i = 0; s->pages[page] && i < PAGE_BUCKETS; i++) {
			if (!s->pages[page][i])
				continue;
			value = bucket_middle(page, i);
			seen += s->pages[page][i];
			if (seen >= wanted)
				return value;
		}
	}
	return value;
}

size_t sketch_bytes(const struct sketch *s)
{
	size_t n = s->pages ? TABLE_BYTES : 0, cap = 4;

	for (unsigned i = 0; s->pages && i < SKETCH_PAGES; i++)
		n += s->pages[i] ? PAGE_BYTES : 0;
	while (cap < s->n_pairs)
		cap *= 2;
	return n + (s->pairs ? cap * sizeof(*s->pairs) : 0);
}

void sketch_done(struct sketch *s)
{
	for (unsigned i = 0; s->pages && i < SKETCH_PAGES; i++)
		free(s->pages[i]);
	free(s->pages);
	free(s->pairs);
	*s = (struct sketch){0};
}
