/* SPDX-License-Identifier: MIT */
#include "source/slope.h"

#include <stddef.h>

#include "base/clock.h"

#define SPACING_MS 1000
#define WINDOW_MS  30000
#define SPAN_MS    5000
#define POINTS_MIN 5

/* The @i-th last point. */
static uint32_t back(const struct slope *s, uint32_t i)
{
	return (s->at + SLOPE_POINTS - 1 - i) % SLOPE_POINTS;
}

void slope_add(struct slope *s, uint64_t boot_ns, uint64_t kb)
{
	uint32_t ms = boot_ns / NSEC_PER_MSEC;

	if (s->n && ms - s->points[back(s, 0)].ms < SPACING_MS)
		return;
	s->points[s->at].ms = ms;
	s->points[s->at].kb = kb > UINT32_MAX ? UINT32_MAX : kb;
	s->at = (s->at + 1) % SLOPE_POINTS;
	if (s->n < SLOPE_POINTS)
		s->n++;
}

/* Those of the window; with long intervals the last five, whatever time they cover. */
static uint32_t points_used(const struct slope *s)
{
	uint32_t n = 0, last = s->points[back(s, 0)].ms;

	while (n < s->n && (n < POINTS_MIN || last - s->points[back(s, n)].ms <= WINDOW_MS))
		n++;
	return n;
}

int64_t slope_kb_min(const struct slope *s)
{
	double sx = 0, sy = 0, sxx = 0, sxy = 0, slope;
	uint32_t n, last;

	if (s->n < POINTS_MIN)
		return 0;
	n = points_used(s);
	last = s->points[back(s, 0)].ms;
	if (last - s->points[back(s, n - 1)].ms < SPAN_MS)
		return 0;
	for (uint32_t i = 0; i < n; i++) {
		double x = -(double)(last - s->points[back(s, i)].ms) / 60000;
		double y = s->points[back(s, i)].kb;

		sx += x;
		sy += y;
		sxx += x * x;
		sxy += x * y;
	}
	slope = (n * sxy - sx * sy) / (n * sxx - sx * sx);
	return slope < 0 ? slope - 0.5 : slope + 0.5;
}
