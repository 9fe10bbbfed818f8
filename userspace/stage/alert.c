/* SPDX-License-Identifier: MIT */
/*
 * One entry per process and metric, only while it is above. An alert ends with the first sample that
 * is not above, with the exit of the process, when samples stay away for several intervals (nobody
 * saw the exit), or with the run, so that each start has its end.
 */
#include "stage/alert.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "event/record.h"

#define BUCKETS          1024
#define START_TICK_NS    10000000ULL /* /proc knows start times only so far */
#define MISSED_INTERVALS 3

enum metric {
	METRIC_CPU,
	METRIC_MEMORY,
	METRICS,
};

static const char *const metric_names[METRICS] = {
	[METRIC_CPU] = "cpu.percent",
	[METRIC_MEMORY] = "memory.rss_mb",
};

struct alert {
	struct as_hdr h; /* of the newest sample */
	enum metric metric;
	uint64_t begin_ns;
	uint64_t peak_centi;
	LIST_ENTRY(alert) bucket;
	TAILQ_ENTRY(alert) order;
};

struct alert_stage {
	struct stage stage;
	struct alert_threshold thresholds[METRICS];
	struct buf record;
	uint64_t patience_ns;
	uint64_t now_ns; /* of the newest event: a recording has its own time */
	uint64_t untold;
	LIST_HEAD(, alert) buckets[BUCKETS];
	TAILQ_HEAD(, alert) open; /* longest without a sample first */
	LIST_HEAD(, alert) unused;
	struct alert pool[ALERT_MAX];
};

/* ---- entries ---- */

static size_t bucket_of(uint32_t tgid)
{
	return (tgid * 2654435769u) % BUCKETS;
}

static bool same_process(const struct as_hdr *a, const struct as_hdr *b)
{
	return a->tgid == b->tgid && a->start_ns / START_TICK_NS == b->start_ns / START_TICK_NS;
}

/* By pid only: an entry of a former process with this pid is found, too, so that it can end. */
static struct alert *alert_find(struct alert_stage *s, uint32_t tgid, enum metric metric)
{
	struct alert *a;

	LIST_FOREACH(a, &s->buckets[bucket_of(tgid)], bucket)
	{
		if (a->h.tgid == tgid && a->metric == metric)
			return a;
	}
	return NULL;
}

static void alert_emit(struct alert_stage *s, const struct alert *a, uint64_t value_centi,
		       uint64_t boot_ns, bool ended)
{
	const struct alert_threshold *t = &s->thresholds[a->metric];
	struct as_hdr h = a->h;
	struct as_span rule, metric;
	struct as_threshold *rec;
	struct event ev;

	h.boot_ns = boot_ns;
	record_begin(&s->record, AS_EV_THRESHOLD, &h);
	rule = record_add_str(&s->record, t->rule);
	metric = record_add_str(&s->record, metric_names[a->metric]);
	if (s->record.failed) {
		s->untold++;
		return;
	}
	rec = record_struct(&s->record, as_threshold);
	rec->rule = rule;
	rec->metric = metric;
	rec->value_centi = value_centi;
	rec->limit_centi = t->limit_centi;
	rec->duration_ns = boot_ns > a->begin_ns ? boot_ns - a->begin_ns : 0;
	rec->ended = ended;
	if (record_end(&s->record, &ev) == 0)
		event_emit(s->stage.out, &ev);
}

static void alert_begin(struct alert_stage *s, const struct as_hdr *h, enum metric metric,
			uint64_t value_centi)
{
	struct alert *a = LIST_FIRST(&s->unused);

	if (!a) {
		s->untold++;
		return;
	}
	LIST_REMOVE(a, bucket);
	a->h = *h;
	a->metric = metric;
	a->begin_ns = h->boot_ns;
	a->peak_centi = value_centi;
	LIST_INSERT_HEAD(&s->buckets[bucket_of(h->tgid)], a, bucket);
	TAILQ_INSERT_TAIL(&s->open, a, order);
	alert_emit(s, a, value_centi, h->boot_ns, false);
}

static void alert_go_on(struct alert_stage *s, struct alert *a, const struct as_hdr *h,
			uint64_t value_centi)
{
	a->h = *h;
	a->peak_centi = MAX(a->peak_centi, value_centi);
	TAILQ_REMOVE(&s->open, a, order);
	TAILQ_INSERT_TAIL(&s->open, a, order);
}

static void alert_end(struct alert_stage *s, struct alert *a, uint64_t boot_ns)
{
	alert_emit(s, a, a->peak_centi, boot_ns, true);
	TAILQ_REMOVE(&s->open, a, order);
	LIST_REMOVE(a, bucket);
	LIST_INSERT_HEAD(&s->unused, a, bucket);
}

/* ---- samples ---- */

struct sample {
	const struct as_hdr *h;
	uint64_t value_centi[METRICS];
};

static bool above(const struct alert_stage *s, const struct sample *v, enum metric metric)
{
	const struct alert_threshold *t = &s->thresholds[metric];

	return t->set && v->value_centi[metric] > t->limit_centi;
}

static bool any_above(const struct alert_stage *s, const struct sample *v)
{
	return above(s, v, METRIC_CPU) || above(s, v, METRIC_MEMORY);
}

static void metric_judge(struct alert_stage *s, const struct sample *v, enum metric metric)
{
	struct alert *a = alert_find(s, v->h->tgid, metric);
	uint64_t value = v->value_centi[metric];

	if (a && !same_process(&a->h, v->h)) {
		alert_end(s, a, v->h->boot_ns);
		a = NULL;
	}
	if (a && above(s, v, metric))
		alert_go_on(s, a, v->h, value);
	else if (a)
		alert_end(s, a, v->h->boot_ns);
	else if (above(s, v, metric))
		alert_begin(s, v->h, metric, value);
}

static void sample_judge(struct alert_stage *s, const struct sample *v)
{
	for (int m = 0; m < METRICS; m++)
		metric_judge(s, v, m);
}

static uint64_t centi_mb(uint64_t kb)
{
	return kb > UINT64_MAX / 100 ? UINT64_MAX : kb * 100 / 1024;
}

/* The record may be read-only: who marks it copies it. */
static void metrics_pass(struct alert_stage *s, const struct event *ev)
{
	const struct as_system_metrics *m = (const void *)ev->rec;
	const struct sample v = {
		.h = ev->rec,
		.value_centi = {m->cpu_centi, centi_mb(m->rss_kb)},
	};
	struct as_system_metrics copy = *m;
	struct event marked = *ev;

	copy.alert = any_above(s, &v);
	marked.rec = &copy.h;
	event_emit(s->stage.out, &marked);
	sample_judge(s, &v);
}

static void machine_pass(struct alert_stage *s, const struct event *ev)
{
	const struct as_system_wide *w = (const void *)ev->rec;
	const struct sample v = {
		.h = ev->rec,
		.value_centi = {w->cpu_centi, centi_mb(w->used_kb)},
	};
	struct as_system_wide copy = *w;
	struct event marked = *ev;

	copy.alert = any_above(s, &v);
	marked.rec = &copy.h;
	event_emit(s->stage.out, &marked);
	sample_judge(s, &v);
}

static void process_gone(struct alert_stage *s, const struct as_hdr *h)
{
	for (int m = 0; m < METRICS; m++) {
		struct alert *a = alert_find(s, h->tgid, m);

		if (a && same_process(&a->h, h))
			alert_end(s, a, h->boot_ns);
	}
}

/* ---- the stage ---- */

static void alert_in(struct emitter *self, const struct event *ev)
{
	struct alert_stage *s = (struct alert_stage *)self;

	s->now_ns = MAX(s->now_ns, (uint64_t)ev->rec->boot_ns);
	switch (ev->rec->type) {
	case AS_EV_SYSTEM_METRICS:
		metrics_pass(s, ev);
		return;
	case AS_EV_SYSTEM_WIDE:
		machine_pass(s, ev);
		return;
	}
	event_emit(s->stage.out, ev);
	if (ev->rec->type == AS_EV_EXIT)
		process_gone(s, ev->rec);
}

static void alert_tick(struct stage *self, uint64_t boot_ns)
{
	struct alert_stage *s = (struct alert_stage *)self;
	struct alert *a;

	while ((a = TAILQ_FIRST(&s->open))) {
		if (a->h.boot_ns + s->patience_ns >= boot_ns)
			return;
		alert_end(s, a, boot_ns);
	}
}

static void alert_finish(struct stage *self)
{
	struct alert_stage *s = (struct alert_stage *)self;
	struct alert *a;

	while ((a = TAILQ_FIRST(&s->open)))
		alert_end(s, a, s->now_ns);
}

static void alert_free(struct stage *self)
{
	struct alert_stage *s = (struct alert_stage *)self;

	buf_done(&s->record);
	free(s);
}

int alert_new(const struct alert_options *opt, struct emitter *out, struct stage **ret)
{
	struct alert_stage *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->stage = (struct stage){
		.in = {.emit = alert_in},
		.out = out,
		.tick = alert_tick,
		.finish = alert_finish,
		.free = alert_free,
	};
	s->patience_ns = MISSED_INTERVALS * (opt->interval_ns ? opt->interval_ns : NSEC_PER_SEC);
	s->thresholds[METRIC_CPU] = opt->cpu;
	s->thresholds[METRIC_MEMORY] = opt->memory;
	TAILQ_INIT(&s->open);
	for (size_t i = ALERT_MAX; i-- > 0;)
		LIST_INSERT_HEAD(&s->unused, &s->pool[i], bucket);
	*ret = &s->stage;
	return 0;
}

uint64_t alert_untold(const struct stage *alert)
{
	return ((const struct alert_stage *)alert)->untold;
}
