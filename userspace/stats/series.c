/* SPDX-License-Identifier: MIT */
#include "stats/series.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define WIDTH_MIN (10 * NSEC_PER_MSEC)

static void merge_slot(struct series_slot *to, const struct series_slot *a,
		       const struct series_slot *b)
{
	struct series_slot sum;

	for (size_t t = 0; t < TRACKS; t++) {
		sum.weight[t] = a->weight[t] + b->weight[t];
		sum.sum[t] = a->sum[t] + b->sum[t];
		sum.max[t] = MAX(a->max[t], b->max[t]);
	}
	*to = sum;
}

static void merge_neighbours(struct series *s)
{
	for (size_t i = 0; i < SERIES_SLOTS / 2; i++)
		merge_slot(&s->slots[i], &s->slots[2 * i], &s->slots[2 * i + 1]);
	memset(&s->slots[SERIES_SLOTS / 2], 0, sizeof(s->slots) / 2);
	s->n = (s->n + 1) / 2;
	s->width_ns *= 2;
}

static void add_to_slot(struct series_slot *slot, double weight, uint32_t known,
			const double values[TRACKS])
{
	for (size_t t = 0; t < TRACKS; t++) {
		if (!(known & 1U << t))
			continue;
		slot->weight[t] += weight;
		slot->sum[t] += values[t] * weight;
		slot->max[t] = MAX(slot->max[t], (float)values[t]);
	}
}

/* Intervals never overlap, so that the work is bounded by samples and slots together. */
static uint64_t begin_of(const struct series *s, uint64_t end_ns, uint64_t interval_ns)
{
	uint64_t begin = interval_ns < end_ns ? end_ns - interval_ns : 0;

	return MAX(begin, s->width_ns ? s->end_ns : begin);
}

void series_add(struct series *s, uint64_t end_ns, uint64_t interval_ns, uint32_t known,
		const double values[TRACKS])
{
	uint64_t begin = begin_of(s, end_ns, interval_ns), from, to;

	if (s->width_ns && end_ns < s->end_ns)
		return;
	if (!s->width_ns) {
		s->origin_ns = begin;
		s->width_ns = WIDTH_MIN;
	}
	s->end_ns = end_ns;
	s->samples++;
	s->seen |= known;
	while ((end_ns - s->origin_ns) / SERIES_SLOTS >= s->width_ns)
		merge_neighbours(s);

	/* one nanosecond for a moment, so that it counts where nothing else does */
	from = begin - s->origin_ns;
	to = end_ns - s->origin_ns;
	if (from == to)
		to++;
	for (size_t i = from / s->width_ns; i < SERIES_SLOTS && i * s->width_ns < to; i++) {
		uint64_t first = MAX(from, i * s->width_ns);
		uint64_t last = MIN(to, (i + 1) * s->width_ns);

		add_to_slot(&s->slots[i], (double)(last - first), known, values);
		s->n = MAX(s->n, i + 1);
	}
}

double series_mean(const struct series *s, size_t slot, enum series_track track)
{
	const struct series_slot *x = &s->slots[slot];

	return x->weight[track] > 0 ? x->sum[track] / x->weight[track] : -1;
}
