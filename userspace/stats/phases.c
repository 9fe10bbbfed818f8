/* SPDX-License-Identifier: MIT */
#include "stats/phases.h"

#include <math.h>
#include <stdbool.h>

#include "base/cleanup.h"

/* Pairs of cuts are tried, so the points are fewer than the slots: at most POINTS^2 / 2 pairs a cut. */
#define POINTS 512

/* Reads and writes count as one: what matters is that there is I/O. */
enum feature {
	FEATURE_CPU,
	FEATURE_RSS,
	FEATURE_IO,
	FEATURES,
};

struct points {
	size_t n;
	size_t step;                       /* slots that are one point */
	unsigned varying;                  /* features that are not constant */
	double sums[FEATURES][POINTS + 1]; /* of the standardised values before each point */
};

struct cut {
	size_t from, to;
	double gain;
};

/* ---- points ---- */

static double slots_mean(const struct series *s, size_t from, size_t to, enum series_track t)
{
	double weight = 0, sum = 0;

	for (size_t i = from; i < to && i < s->n; i++) {
		weight += s->slots[i].weight[t];
		sum += s->slots[i].sum[t];
	}
	return weight > 0 ? sum / weight : -1;
}

/* Negative where nothing is known. Sizes and rates are compared by ratio: 1 to 2 MB is as 1 to 2 GB. */
static double feature_value(const struct series *s, const struct points *p, size_t i,
			    enum feature feature)
{
	size_t from = i * p->step, to = from + p->step;
	double read, written;

	switch (feature) {
	case FEATURE_CPU:
		return slots_mean(s, from, to, TRACK_CPU);
	case FEATURE_RSS:
		return slots_mean(s, from, to, TRACK_RSS);
	case FEATURE_IO:
		read = slots_mean(s, from, to, TRACK_READ);
		written = slots_mean(s, from, to, TRACK_WRITE);
		return read < 0 && written < 0 ? -1
					       : log1p((MAX(read, 0) + MAX(written, 0)) / 4096);
	case FEATURES:
		break;
	}
	return -1;
}

static void standardise(const struct series *s, struct points *p, enum feature feature)
{
	double values[POINTS], mean = 0, square = 0, last = 0;

	for (size_t i = p->n; i-- > 0;) {
		values[i] = feature_value(s, p, i, feature);
		last = values[i] < 0 ? last : values[i];
	}
	/* where nothing is known it goes on as it was, and begins as it will be */
	for (size_t i = 0; i < p->n; i++) {
		last = values[i] = values[i] < 0 ? last : values[i];
		mean += last / (double)p->n;
	}
	for (size_t i = 0; i < p->n; i++)
		square += (values[i] - mean) * (values[i] - mean) / (double)p->n;
	/* a tenth of a percent of the mean is no difference that anybody sees */
	if (sqrt(square) <= 1e-3 * fabs(mean) || square <= 0)
		square = 0;
	else
		p->varying++;
	p->sums[feature][0] = 0;
	for (size_t i = 0; i < p->n; i++)
		p->sums[feature][i + 1] =
			p->sums[feature][i] + (square > 0 ? (values[i] - mean) / sqrt(square) : 0);
}

static void make_points(const struct series *s, struct points *p)
{
	p->step = (s->n + POINTS - 1) / POINTS;
	p->n = (s->n + p->step - 1) / p->step;
	p->varying = 0;
	for (size_t f = 0; f < FEATURES; f++)
		standardise(s, p, f);
}

/* ---- cuts ---- */

/* What it gains to tell [i, j) from the rest of [from, to). */
static double gain_of(const struct points *p, size_t from, size_t to, size_t i, size_t j)
{
	double inside = (double)(j - i), outside = (double)(to - from) - inside, gain = 0;

	for (size_t f = 0; f < FEATURES; f++) {
		double in = p->sums[f][j] - p->sums[f][i];
		double all = p->sums[f][to] - p->sums[f][from];
		double difference = in / inside - (all - in) / outside;

		gain += difference * difference;
	}
	return gain * inside * outside / (inside + outside);
}

/* The best piece of [from, to): one that touches an end is one cut, any other is two. */
static struct cut best_cut(const struct points *p, size_t from, size_t to, double penalty)
{
	struct cut best = {.gain = 0};

	for (size_t i = from; i < to; i++) {
		for (size_t j = i + 1; j <= to; j++) {
			unsigned cuts = (i > from) + (j < to);
			double gain;

			if (!cuts)
				continue;
			gain = gain_of(p, from, to, i, j) - cuts * penalty;
			if (gain > best.gain)
				best = (struct cut){i, j, gain};
		}
	}
	return best;
}

/*
 * Below this a cut is chance: the maximum over n cuts of a sum of squares grows with ln(n). Slots that are
 * narrower than the samples repeat one another, and count for as many as there were samples.
 */
static double penalty_of(const struct series *s, const struct points *p)
{
	double n = (double)p->n, real = MIN(n, (double)s->samples);

	return real < 2 ? INFINITY : 1.5 * p->varying * log(n) * n / real + 1;
}

/* Ends of the pieces in @ends, sorted; how many. */
static size_t cut_up(const struct points *p, double penalty, size_t ends[PHASES_MAX])
{
	struct cut cuts[PHASES_MAX];
	size_t n = 1;

	ends[0] = p->n;
	cuts[0] = best_cut(p, 0, p->n, penalty);
	for (;;) {
		size_t best = 0, begin, more;
		size_t pieces[3];
		struct cut c;

		for (size_t i = 1; i < n; i++)
			best = cuts[i].gain > cuts[best].gain ? i : best;
		c = cuts[best];
		begin = best ? ends[best - 1] : 0;
		more = (size_t)(c.from > begin) + (size_t)(c.to < ends[best]);
		if (c.gain <= 0 || n + more > PHASES_MAX)
			return n;

		for (size_t i = n; i-- > best + 1;) {
			ends[i + more] = ends[i];
			cuts[i + more] = cuts[i];
		}
		pieces[0] = c.from > begin ? c.from : c.to;
		pieces[1] = c.from > begin ? c.to : ends[best];
		pieces[2] = ends[best];
		for (size_t i = 0; i <= more; i++) {
			size_t from = i ? pieces[i - 1] : begin;
			size_t to = i == more ? pieces[2] : pieces[i];

			ends[best + i] = to;
			cuts[best + i] = best_cut(p, from, to, penalty);
		}
		n += more;
	}
}

/* ---- names ---- */

static bool busier(const struct phase *p)
{
	return p->level[TRACK_CPU] > 1.5 || p->level[TRACK_READ] > 3 || p->level[TRACK_WRITE] > 3;
}

static bool is_idle(const struct phase *p)
{
	double io = MAX(p->mean[TRACK_READ], 0) + MAX(p->mean[TRACK_WRITE], 0);

	return p->mean[TRACK_CPU] < 2 && io < 64 * 1024;
}

static void name_phases(struct phase *p, size_t n, uint64_t run_ns)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t span = p[i].end_ns - p[i].begin_ns;

		p[i].kind = is_idle(&p[i])                       ? PHASE_IDLE
			    : n > 1 && !i && span <= run_ns / 4  ? PHASE_STARTUP
			    : busier(&p[i]) && span < run_ns / 3 ? PHASE_BURST
								 : PHASE_STEADY;
	}
}

size_t phases_find(const struct series *s, struct phase out[PHASES_MAX])
{
	size_t ends[PHASES_MAX], n;
	struct points p; /* 12 KiB */

	if (!s->n)
		return 0;
	make_points(s, &p);
	n = cut_up(&p, penalty_of(s, &p), ends);
	for (size_t i = 0; i < n; i++) {
		size_t from = (i ? ends[i - 1] : 0) * p.step, to = ends[i] * p.step;
		const uint64_t end_ns = MIN(s->origin_ns + to * s->width_ns, s->end_ns);

		out[i] = (struct phase){
			.begin_ns = s->origin_ns + from * s->width_ns,
			.end_ns = end_ns,
		};
		for (size_t t = 0; t < TRACKS; t++) {
			double run = slots_mean(s, 0, s->n, t);

			out[i].mean[t] = slots_mean(s, from, to, t);
			out[i].level[t] = run > 0 ? out[i].mean[t] / run : 0;
		}
	}
	name_phases(out, n, s->end_ns - s->origin_ns);
	return n;
}

const char *phase_name(enum phase_kind kind)
{
	static const char *const names[] = {
		[PHASE_STARTUP] = "start-up",
		[PHASE_STEADY] = "steady",
		[PHASE_BURST] = "burst",
		[PHASE_IDLE] = "idle",
	};

	return names[kind];
}
