/* SPDX-License-Identifier: MIT */
#include "pipeline/sampling.h"

#include "base/clock.h"

void sampling_begin(struct sampling *s, const struct pace *pace, bool by_events, uint64_t begin_ns,
		    uint64_t now_ns)
{
	*s = (struct sampling){
		.pace = pace,
		.by_events = by_events,
		.begin_ns = begin_ns,
		.last_ns = now_ns,
		.due_ns = now_ns + pace->base_ns,
	};
}

void sampling_released(struct sampling *s, uint64_t now_ns)
{
	s->begin_ns = now_ns;
}

void sampling_load(struct sampling *s, const struct sampler_load *load)
{
	struct pace_activity *a = &s->activity;

	a->last_cpu_centi = a->cpu_centi;
	a->last_rss_kb = a->rss_kb;
	a->last_io_rate = a->io_rate;
	a->cpu_centi = load->cpu_centi;
	a->rss_kb = load->rss_kb;
	if (load->interval_ns && load->io_bytes >= s->io_bytes)
		a->io_rate = (unsigned __int128)(load->io_bytes - s->io_bytes) * NSEC_PER_SEC /
			     load->interval_ns;
	s->io_bytes = load->io_bytes;
}

void sampling_event(struct sampling *s, const struct event *ev)
{
	switch (ev->rec->type) {
	case AS_EV_FORK:
		sampling_force(s, AS_SAMPLE_FORK);
		break;
	case AS_EV_EXEC:
		sampling_force(s, AS_SAMPLE_EXEC);
		break;
	case AS_EV_EXIT:
		sampling_force(s, AS_SAMPLE_EXIT);
		break;
	}
}

void sampling_force(struct sampling *s, enum as_sample_reason reason)
{
	if (!s->by_events || s->reason != AS_SAMPLE_TIMER ||
	    s->last_ns + s->pace->base_ns >= s->due_ns)
		return;
	s->reason = reason;
	s->due_ns = s->last_ns + s->pace->base_ns;
}

uint64_t sampling_next(struct sampling *s, uint64_t now_ns, double nearness)
{
	s->activity.changed = s->reason != AS_SAMPLE_TIMER;
	s->activity.alert_nearness = nearness;
	return pace_next(s->pace, now_ns - s->begin_ns, &s->activity);
}

/* A sample that came when it was planned does not delay those behind it. */
void sampling_taken(struct sampling *s, uint64_t now_ns, uint64_t next_ns)
{
	bool planned = s->reason == AS_SAMPLE_TIMER && now_ns >= s->due_ns &&
		       now_ns - s->due_ns < next_ns / 2;

	s->due_ns = (planned ? s->due_ns : now_ns) + next_ns;
	s->last_ns = now_ns;
	s->reason = AS_SAMPLE_TIMER;
}
