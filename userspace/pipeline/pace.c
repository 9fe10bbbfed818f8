/* SPDX-License-Identifier: MIT */
#include "pipeline/pace.h"

#include <math.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define BASE_NS  (100 * NSEC_PER_MSEC)
#define MAX_NS   (1000 * NSEC_PER_MSEC)
#define NEVER_NS (365ULL * 24 * 3600 * NSEC_PER_SEC)

#define RAMP_BEGIN_NS (1 * NSEC_PER_SEC)
#define RAMP_END_NS   (10 * NSEC_PER_SEC)

/* Halvings at full activity: with these, what is 1/8 of the most brings the interval to a half. */
#define HALVINGS 8

void pace_complete(struct pace *p, bool never)
{
	if (never)
		*p = (struct pace){PACE_FIXED, NEVER_NS, NEVER_NS};
	if (!p->base_ns)
		p->base_ns = BASE_NS;
	if (!p->max_ns)
		p->max_ns = MAX(p->base_ns, MAX_NS);
}

bool pace_never(const struct pace *p)
{
	return p->base_ns >= NEVER_NS;
}

static uint64_t by_time(const struct pace *p, uint64_t elapsed_ns)
{
	unsigned __int128 rise;

	if (elapsed_ns < RAMP_BEGIN_NS)
		return p->base_ns;
	if (elapsed_ns >= RAMP_END_NS)
		return p->max_ns;
	rise = (unsigned __int128)(p->max_ns - p->base_ns) * (elapsed_ns - RAMP_BEGIN_NS);
	return p->base_ns + (uint64_t)(rise / (RAMP_END_NS - RAMP_BEGIN_NS));
}

/* How far @now is from @before, of the larger one: 0 to 1. */
static double change(uint64_t now, uint64_t before)
{
	uint64_t high = MAX(now, before), low = MIN(now, before);

	return high ? (double)(high - low) / high : 0;
}

/* CPU in cores; I/O that nobody would notice, below 64 KiB a second, is no activity. */
static double activity(const struct pace_activity *a)
{
	uint64_t cpu = a->cpu_centi > a->last_cpu_centi ? a->cpu_centi - a->last_cpu_centi
							: a->last_cpu_centi - a->cpu_centi;
	double most = cpu / 10000.0;

	if (a->changed)
		return 1;
	most = fmax(most, change(a->rss_kb, a->last_rss_kb));
	if (MAX(a->io_rate, a->last_io_rate) >= 65536)
		most = fmax(most, change(a->io_rate, a->last_io_rate));
	most = fmax(most, a->alert_nearness);
	return fmin(most, 1);
}

static uint64_t by_activity(const struct pace *p, const struct pace_activity *a)
{
	double next = a ? p->max_ns * exp2(-HALVINGS * activity(a)) : p->base_ns;

	return next > p->base_ns ? (uint64_t)next : p->base_ns;
}

uint64_t pace_next(const struct pace *p, uint64_t elapsed_ns, const struct pace_activity *a)
{
	if (p->max_ns <= p->base_ns)
		return p->base_ns;
	switch (p->mode) {
	case PACE_TIME:
		return by_time(p, elapsed_ns);
	case PACE_ACTIVITY:
		return by_activity(p, a);
	case PACE_FIXED:
		break;
	}
	return p->base_ns;
}
