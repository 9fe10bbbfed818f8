/* SPDX-License-Identifier: MIT */
/*
 * A track is what is remembered of a rule and the process that it is about: the sum at the last
 * sample, since when the comparison holds, the numbers of an alert, when the last one started. It
 * exists only while there is something to remember, so a process far from all limits costs one
 * comparison per rule and sample; rules on rates need a track per process.
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

#define BUCKETS          4096
#define START_TICK_NS    10000000ULL /* /proc knows start times only so far */
#define MISSED_INTERVALS 3

enum state {
	STATE_REST,
	STATE_WAIT,   /* beyond the limit, but not for long enough, or held off */
	STATE_OPEN,   /* the start was told */
	STATE_UNTOLD, /* it would have been, but too many were open */
};

struct watch {
	struct rule rule;
	size_t n_tracks;
	double total;           /* RULE_TOTAL */
	uint64_t last_start_ns; /* RULE_ONCE; 0: none */
};

struct track {
	struct as_hdr
		h; /* of the newest record; without `tgid` of the first one, but for the time */
	struct watch *watch;
	uint32_t tgid; /* whom it is about: not always the process in the header */
	uint64_t start_ns;
	enum state state;
	uint64_t interval_ns; /* of the newest record */
	uint64_t value_ns;    /* time of the newest record that told the value */
	double sum;           /* RULE_RATE: at that time */
	uint64_t since_ns;    /* the first sample beyond the limit */
	uint64_t last_start_ns;
	double last, min, max;
	double weighted; /* sum of values times the time that each one stands for */
	uint64_t weight_ns;
	LIST_ENTRY(track) bucket;
	TAILQ_ENTRY(track) order;
	size_t path_len; /* of a cgroup */
	char path[];
};

/* Whom a record is about: a process; by path a cgroup; without both the machine or the run. */
struct subject {
	const struct as_hdr *h;
	uint32_t tgid;
	uint64_t start_ns;
	const char *path; /* of a cgroup; not NUL-terminated */
	size_t path_len;
	uint64_t interval_ns;
};

/* What a rule makes of a record, before anything is changed by it. */
struct verdict {
	struct watch *watch;
	struct track *track;  /* NULL: nothing is remembered */
	struct track *former; /* of a process that had this pid before, and ends */
	double raw;           /* as read */
	double value;
	bool read;  /* the record tells it */
	bool known; /* and `value` is set */
};

struct alert_stage {
	struct stage stage;
	struct watch *watches;
	size_t n_watches;
	struct buf record;
	uint64_t patience_ns;
	uint64_t now_ns; /* of the newest event: a recording has its own time */
	void (*on_start)(void *context);
	void *context;
	struct alert_counts counts;
	size_t n_open, n_tracks;
	uint64_t pass_ns; /* time of the newest samples */
	double nearness, last_nearness;
	LIST_HEAD(, track) buckets[BUCKETS];
	TAILQ_HEAD(, track) tracks;
	struct verdict verdicts[ALERT_RULES_MAX];
};

/* ---- tracks ---- */

static size_t bucket_of(const struct watch *w, const struct subject *who)
{
	uint64_t h = 1469598103934665603ULL ^ (uintptr_t)w ^ ((uint64_t)who->tgid << 32);

	for (size_t i = 0; i < who->path_len; i++)
		h = (h ^ (uint8_t)who->path[i]) * 1099511628211ULL;
	return (h * 11400714819323198485ULL) >> 52;
}
_Static_assert(BUCKETS == 1 << 12, "bucket_of() gives 12 bits");

static struct subject subject_of(const struct as_hdr *h, uint64_t interval_ns)
{
	return (struct subject){
		.h = h,
		.tgid = h->tgid,
		.start_ns = h->start_ns,
		.path = "",
		.interval_ns = interval_ns,
	};
}

static bool same_process(const struct track *t, const struct subject *who)
{
	return t->tgid == who->tgid && t->start_ns / START_TICK_NS == who->start_ns / START_TICK_NS;
}

/* By pid only: a track of a former process with this pid is found, too, so that it can end. */
static struct track *track_find(struct alert_stage *s, struct watch *w, const struct subject *who)
{
	struct track *t;

	if (!w->n_tracks)
		return NULL;
	LIST_FOREACH(t, &s->buckets[bucket_of(w, who)], bucket)
	{
		if (t->watch == w && t->tgid == who->tgid && t->path_len == who->path_len &&
		    !memcmp(t->path, who->path, who->path_len))
			return t;
	}
	return NULL;
}

static struct track *track_new(struct alert_stage *s, struct watch *w, const struct subject *who)
{
	struct track *t = NULL;

	if (s->n_tracks < ALERT_TRACKS_MAX)
		t = calloc(1, sizeof(*t) + who->path_len);
	if (!t) {
		s->counts.unjudged++;
		return NULL;
	}
	t->h = *who->h;
	t->watch = w;
	t->tgid = who->tgid;
	t->start_ns = who->start_ns;
	t->path_len = who->path_len;
	memcpy(t->path, who->path, who->path_len);
	LIST_INSERT_HEAD(&s->buckets[bucket_of(w, who)], t, bucket);
	TAILQ_INSERT_TAIL(&s->tracks, t, order);
	w->n_tracks++;
	s->n_tracks++;
	return t;
}

static void track_free(struct alert_stage *s, struct track *t)
{
	TAILQ_REMOVE(&s->tracks, t, order);
	LIST_REMOVE(t, bucket);
	t->watch->n_tracks--;
	s->n_tracks--;
	free(t);
}

/* ---- telling ---- */

static double average(const struct track *t)
{
	return t->weight_ns ? t->weighted / t->weight_ns : t->last;
}

static void fill_numbers(struct as_threshold *rec, const struct track *t, bool ended)
{
	const struct rule *r = &t->watch->rule;
	uint64_t now = rec->h.boot_ns;

	rec->value_centi = rule_centi(r, ended ? rule_worse(r, t->min, t->max) : t->last);
	rec->limit_centi = rule_centi(r, r->limit);
	rec->min_centi = rule_centi(r, t->min);
	rec->avg_centi = rule_centi(r, average(t));
	rec->max_centi = rule_centi(r, t->max);
	rec->duration_ns = now > t->since_ns ? now - t->since_ns : 0;
	rec->once = r->metric->reading == RULE_ONCE;
	rec->ended = ended;
}

static void track_tell(struct alert_stage *s, const struct track *t, uint64_t boot_ns, bool ended)
{
	const struct rule *r = &t->watch->rule;
	struct as_span rule, metric, unit, path;
	struct as_threshold *rec;
	struct as_hdr h = t->h;
	struct event ev;

	h.boot_ns = boot_ns;
	record_begin(&s->record, AS_EV_THRESHOLD, &h);
	rule = record_add_str(&s->record, r->text);
	metric = record_add_str(&s->record, r->metric_name);
	unit = record_add_str(&s->record, r->unit->label);
	path = record_add(&s->record, t->path, t->path_len);
	if (s->record.failed) {
		s->counts.untold += !ended;
		return;
	}
	rec = record_struct(&s->record, as_threshold);
	rec->rule = rule;
	rec->metric = metric;
	rec->unit = unit;
	rec->path = path;
	fill_numbers(rec, t, ended);
	if (record_end(&s->record, &ev) == 0)
		event_emit(s->stage.out, &ev);
}

static void track_start(struct alert_stage *s, struct track *t)
{
	t->last_start_ns = t->h.boot_ns;
	s->counts.started++;
	if (s->n_open == ALERT_MAX) {
		s->counts.untold++;
		t->state = STATE_UNTOLD;
	} else {
		t->state = STATE_OPEN;
		s->n_open++;
		track_tell(s, t, t->h.boot_ns, false);
	}
	if (s->on_start)
		s->on_start(s->context);
}

static void track_end(struct alert_stage *s, struct track *t, uint64_t boot_ns)
{
	if (t->state == STATE_OPEN) {
		track_tell(s, t, boot_ns, true);
		s->n_open--;
	}
	t->state = STATE_REST;
}

/* ---- one rule and one record ---- */

/* The metric by which @r is judged from records of @type; NULL: it is not. */
static const struct rule_metric *metric_of(const struct rule *r, unsigned type)
{
	if (r->metric->event == type)
		return r->metric;
	return r->machine && r->machine->event == type ? r->machine : NULL;
}

static bool held_off(uint64_t last_start_ns, uint64_t every_ns, uint64_t now)
{
	return last_start_ns && every_ns && now < last_start_ns + every_ns;
}

static void stats_begin(struct track *t, double value)
{
	t->since_ns = t->h.boot_ns;
	t->min = t->max = value;
	t->weighted = 0;
	t->weight_ns = 0;
}

/* A sample stands for the time since the one before. */
static void stats_add(struct track *t, double value, uint64_t ns)
{
	t->last = value;
	t->min = MIN(t->min, value);
	t->max = MAX(t->max, value);
	t->weighted += value * ns;
	t->weight_ns += ns;
}

static bool goes_on(const struct verdict *v)
{
	const struct rule *r = &v->watch->rule;
	bool started = v->track && v->track->state >= STATE_OPEN;

	return started ? rule_holds(r, v->value) : rule_begins(r, v->value);
}

static void track_beyond(struct alert_stage *s, struct track *t, double value, uint64_t since_last)
{
	const struct rule *r = &t->watch->rule;

	if (t->state == STATE_REST) {
		t->state = STATE_WAIT;
		stats_begin(t, value);
	}
	stats_add(t, value, since_last);
	if (t->state == STATE_WAIT && t->h.boot_ns - t->since_ns >= r->for_ns &&
	    !held_off(t->last_start_ns, r->every_ns, t->h.boot_ns))
		track_start(s, t);
}

/* Whether anything of it matters to what comes. */
static bool worth_keeping(const struct track *t)
{
	const struct rule *r = &t->watch->rule;

	return t->state != STATE_REST || r->metric->reading == RULE_RATE ||
	       held_off(t->last_start_ns, r->every_ns, t->h.boot_ns);
}

static void verdict_apply(struct alert_stage *s, struct verdict *v, const struct subject *who)
{
	bool rate = v->watch->rule.metric->reading == RULE_RATE;
	bool beyond = v->known && goes_on(v);
	struct track *t = v->track;
	uint64_t since_last = who->interval_ns;

	if (v->former) {
		track_end(s, v->former, who->h->boot_ns);
		track_free(s, v->former);
	}
	if (!t && (beyond || (rate && v->read)))
		t = track_new(s, v->watch, who);
	if (!t)
		return;
	if (t->state != STATE_REST && who->h->boot_ns > t->value_ns)
		since_last = who->h->boot_ns - t->value_ns;
	/* a value that this record lacks neither starts nor ends anything, but the process is alive */
	if (t->tgid)
		t->h = *who->h;
	else /* of the run, the end is told under the process of the start */
		t->h.boot_ns = who->h->boot_ns;
	t->interval_ns = who->interval_ns;
	if (v->read) {
		t->sum = v->raw;
		t->value_ns = who->h->boot_ns;
	}
	if (beyond)
		track_beyond(s, t, v->value, since_last);
	else if (v->known)
		track_end(s, t, who->h->boot_ns);
	if (!worth_keeping(t))
		track_free(s, t);
}

static void verdict_rate(struct verdict *v, const struct rule_metric *m, const struct subject *who)
{
	const struct track *t = v->track;

	/* sums of the living threads fall when one ends: then nothing is known until the next sample */
	if (!t || who->h->boot_ns <= t->value_ns || v->raw < t->sum)
		return;
	v->value = rule_rate(m, v->raw - t->sum, who->h->boot_ns - t->value_ns);
	v->known = true;
}

static struct verdict judge(struct alert_stage *s, struct watch *w, const struct rule_metric *m,
			    const struct subject *who)
{
	struct verdict v = {.watch = w, .track = track_find(s, w, who)};

	if (v.track && !same_process(v.track, who))
		v.former = TAKE_PTR(v.track);
	v.read = rule_read(m, who->h, &v.raw);
	if (v.read && m->reading == RULE_RATE) {
		if (!rule_jumped(m, who->h))
			verdict_rate(&v, m, who);
	} else if (v.read) {
		v.value = v.raw;
		v.known = true;
	}
	return v;
}

/* ---- samples ---- */

static void note_nearness(struct alert_stage *s, const struct verdict *v)
{
	double near = v->known ? rule_nearness(&v->watch->rule, v->value) : 0;

	if (v->track && v->track->state == STATE_WAIT && v->watch->rule.for_ns)
		near = 1;
	s->nearness = MAX(s->nearness, near);
}

/* All samples of a pass have one time; cgroups are looked at on their own. */
static void note_pass(struct alert_stage *s, const struct as_hdr *h)
{
	if (h->boot_ns == s->pass_ns || h->type == AS_EV_CGROUP)
		return;
	s->pass_ns = h->boot_ns;
	s->last_nearness = s->nearness;
	s->nearness = 0;
}

/* Fills s->verdicts and returns how many; *ret_beyond: a limit is exceeded. */
static size_t subject_judge(struct alert_stage *s, const struct subject *who, bool *ret_beyond)
{
	size_t n = 0;

	*ret_beyond = false;
	note_pass(s, who->h);
	for (size_t i = 0; i < s->n_watches; i++) {
		struct watch *w = &s->watches[i];
		const struct rule_metric *m = metric_of(&w->rule, who->h->type);
		struct verdict *v = &s->verdicts[n];

		if (!m)
			continue;
		*v = judge(s, w, m, who);
		*ret_beyond |= v->known && rule_begins(&w->rule, v->value);
		note_nearness(s, v);
		n++;
	}
	return n;
}

static void verdicts_apply(struct alert_stage *s, size_t n, const struct subject *who)
{
	for (size_t i = 0; i < n; i++)
		verdict_apply(s, &s->verdicts[i], who);
}

/* The record may be read-only: who marks it copies it. */
static void metrics_pass(struct alert_stage *s, const struct event *ev)
{
	const struct as_system_metrics *m = (const void *)ev->rec;
	const struct subject who = subject_of(ev->rec, m->interval_ns);
	struct as_system_metrics copy = *m;
	struct event marked = *ev;
	bool beyond;
	size_t n = subject_judge(s, &who, &beyond);

	copy.alert = beyond;
	marked.rec = &copy.h;
	event_emit(s->stage.out, &marked);
	verdicts_apply(s, n, &who);
}

static void machine_pass(struct alert_stage *s, const struct event *ev)
{
	const struct as_system_wide *w = (const void *)ev->rec;
	const struct subject who = subject_of(ev->rec, w->interval_ns);
	struct as_system_wide copy = *w;
	struct event marked = *ev;
	bool beyond;
	size_t n = subject_judge(s, &who, &beyond);

	copy.alert = beyond;
	marked.rec = &copy.h;
	event_emit(s->stage.out, &marked);
	verdicts_apply(s, n, &who);
}

static void tree_pass(struct alert_stage *s, const struct event *ev)
{
	const struct as_system_tree *t = (const void *)ev->rec;
	const struct subject who = subject_of(ev->rec, t->interval_ns);
	bool beyond;

	event_emit(s->stage.out, ev);
	verdicts_apply(s, subject_judge(s, &who, &beyond), &who);
}

static void cgroup_pass(struct alert_stage *s, const struct event *ev)
{
	const struct as_cgroup *c = (const void *)ev->rec;
	const struct subject who = {
		.h = ev->rec,
		.path = record_bytes(ev->rec, &c->path),
		.path_len = c->path.len,
		.interval_ns = c->interval_ns,
	};
	bool beyond;

	event_emit(s->stage.out, ev);
	verdicts_apply(s, subject_judge(s, &who, &beyond), &who);
}

/* ---- what happens once, and what only grows ---- */

/* Each process ends once, so here `every` counts for the rule. */
static void once_apply(struct alert_stage *s, struct watch *w, const struct as_hdr *h, double value)
{
	struct track t = {.h = *h, .watch = w};

	if (!rule_begins(&w->rule, value) ||
	    held_off(w->last_start_ns, w->rule.every_ns, h->boot_ns))
		return;
	w->last_start_ns = h->boot_ns;
	stats_begin(&t, value);
	stats_add(&t, value, 0);
	s->counts.started++;
	track_tell(s, &t, h->boot_ns, false);
	track_tell(s, &t, h->boot_ns, true);
	if (s->on_start)
		s->on_start(s->context);
}

/* Of the whole run: told with the process that was answered last. */
static void total_apply(struct alert_stage *s, struct watch *w, const struct as_hdr *h,
			double value)
{
	const struct subject run = {.h = h, .path = ""};
	struct verdict v = {
		.watch = w, .track = track_find(s, w, &run), .read = true, .known = true};

	w->total += value;
	v.raw = v.value = w->total;
	note_nearness(s, &v);
	verdict_apply(s, &v, &run);
}

static void event_judge(struct alert_stage *s, const struct as_hdr *h)
{
	for (size_t i = 0; i < s->n_watches; i++) {
		struct watch *w = &s->watches[i];
		const struct rule_metric *m = w->rule.metric;
		double value;

		if (m->event != h->type || !rule_read(m, h, &value))
			continue;
		if (m->reading == RULE_ONCE)
			once_apply(s, w, h, value);
		else
			total_apply(s, w, h, value);
	}
}

static void process_gone(struct alert_stage *s, const struct as_hdr *h)
{
	const struct subject who = subject_of(h, 0);

	for (size_t i = 0; i < s->n_watches; i++) {
		struct watch *w = &s->watches[i];
		struct track *t;

		if (w->rule.metric->event != AS_EV_SYSTEM_METRICS)
			continue;
		t = track_find(s, w, &who);
		if (!t || !same_process(t, &who))
			continue;
		track_end(s, t, h->boot_ns);
		track_free(s, t);
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
	case AS_EV_SYSTEM_TREE:
		tree_pass(s, ev);
		return;
	case AS_EV_CGROUP:
		cgroup_pass(s, ev);
		return;
	}
	event_emit(s->stage.out, ev);
	if (ev->rec->type == AS_EV_EXIT)
		process_gone(s, ev->rec);
	event_judge(s, ev->rec);
}

/* A total has no samples that could stay away. */
static bool is_gone(const struct alert_stage *s, const struct track *t, uint64_t boot_ns)
{
	uint64_t patience = MAX(s->patience_ns, MISSED_INTERVALS * t->interval_ns);

	return t->watch->rule.metric->reading != RULE_TOTAL && t->h.boot_ns + patience < boot_ns;
}

static void alert_tick(struct stage *self, uint64_t boot_ns)
{
	struct alert_stage *s = (struct alert_stage *)self;
	struct track *t = TAILQ_FIRST(&s->tracks), *next;

	for (; t; t = next) {
		next = TAILQ_NEXT(t, order);
		if (!is_gone(s, t, boot_ns))
			continue;
		track_end(s, t, boot_ns);
		track_free(s, t);
	}
}

static void alert_finish(struct stage *self)
{
	struct alert_stage *s = (struct alert_stage *)self;
	struct track *t;

	while ((t = TAILQ_FIRST(&s->tracks))) {
		track_end(s, t, s->now_ns);
		track_free(s, t);
	}
}

static void alert_free(struct stage *self)
{
	struct alert_stage *s = (struct alert_stage *)self;
	struct track *t;

	while ((t = TAILQ_FIRST(&s->tracks)))
		track_free(s, t);
	buf_done(&s->record);
	free(s->watches);
	free(s);
}

int alert_new(const struct alert_options *opt, struct emitter *out, struct stage **ret)
{
	struct alert_stage *s;

	if (opt->n_rules > ALERT_RULES_MAX)
		return -E2BIG;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	TAILQ_INIT(&s->tracks);
	s->watches = calloc(opt->n_rules ? opt->n_rules : 1, sizeof(*s->watches));
	if (!s->watches) {
		alert_free(&s->stage);
		return -ENOMEM;
	}
	for (size_t i = 0; i < opt->n_rules; i++)
		s->watches[i].rule = opt->rules[i];
	s->stage = (struct stage){
		.in = {.emit = alert_in},
		.out = out,
		.tick = alert_tick,
		.finish = alert_finish,
		.free = alert_free,
	};
	s->n_watches = opt->n_rules;
	s->patience_ns = MISSED_INTERVALS * (opt->interval_ns ? opt->interval_ns : NSEC_PER_SEC);
	s->on_start = opt->on_start;
	s->context = opt->context;
	*ret = &s->stage;
	return 0;
}

const struct alert_counts *alert_counts(const struct stage *alert)
{
	return &((const struct alert_stage *)alert)->counts;
}

double alert_nearness(const struct stage *alert)
{
	const struct alert_stage *s = (const void *)alert;

	return MAX(s->nearness, s->last_nearness);
}
