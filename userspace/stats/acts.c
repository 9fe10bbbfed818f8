/* SPDX-License-Identifier: MIT */
/* What happened beside the samples: alerts, calls of models, tool runs. */
#include <string.h>

#include "stats/stats.h"

static void copy_text(char *to, size_t size, const char *p, size_t n)
{
	n = MIN(n, size - 1);
	if (n)
		memcpy(to, p, n);
	to[n] = '\0';
}

static bool text_is(const char *text, size_t size, const char *p, size_t n)
{
	n = MIN(n, size - 1);
	return strlen(text) == n && (!n || !memcmp(text, p, n));
}

static struct stats_alert *open_alert(struct stats *s, const struct stats_alert_event *x)
{
	for (size_t i = s->n_alerts; i-- > 0;) {
		struct stats_alert *a = &s->alerts[i];

		if (!a->ended && a->pid == x->pid &&
		    text_is(a->rule, sizeof(a->rule), x->rule, x->rule_len) &&
		    text_is(a->path, sizeof(a->path), x->path, x->path_len))
			return a;
	}
	return NULL;
}

void stats_alert(struct stats *s, const struct stats_alert_event *x)
{
	struct stats_alert *a = open_alert(s, x);

	stats_span(s, x->unix_ns, 0);
	if (!x->ended || !a) {
		/* an end without a beginning: of one for which there was no room, or from before */
		s->alerts_seen += !x->ended || s->n_alerts < STATS_ALERTS;
		if (s->n_alerts == STATS_ALERTS)
			return;
		a = &s->alerts[s->n_alerts++];
		copy_text(a->rule, sizeof(a->rule), x->rule, x->rule_len);
		copy_text(a->metric, sizeof(a->metric), x->metric, x->metric_len);
		copy_text(a->unit, sizeof(a->unit), x->unit, x->unit_len);
		copy_text(a->path, sizeof(a->path), x->path, x->path_len);
		a->pid = x->pid;
		a->begin_ns = x->unix_ns - (x->ended ? MIN(x->duration_ns, x->unix_ns) : 0);
	}
	a->ended = x->ended;
	a->end_ns = x->ended ? x->unix_ns : 0;
	a->limit = x->limit;
	a->min = x->min;
	a->avg = x->avg;
	a->max = MAX(x->max, x->value);
}

static struct stats_model *find_model(struct stats *s, const struct stats_call *x)
{
	struct stats_model *m;

	for (size_t i = 0; i < s->n_models; i++) {
		m = &s->models[i];
		if (text_is(m->name, sizeof(m->name), x->model, x->model_len) &&
		    text_is(m->provider, sizeof(m->provider), x->provider, x->provider_len))
			return m;
	}
	if (s->n_models == STATS_MODELS)
		return &s->models[STATS_MODELS - 1];
	m = &s->models[s->n_models++];
	if (s->n_models == STATS_MODELS) {
		copy_text(m->name, sizeof(m->name), "(others)", 8);
		return m;
	}
	copy_text(m->name, sizeof(m->name), x->model, x->model_len);
	copy_text(m->provider, sizeof(m->provider), x->provider, x->provider_len);
	return m;
}

static void model_add(struct stats_model *m, const struct stats_call *x)
{
	m->calls++;
	m->failed += x->failed;
	m->tool_calls += x->tool_calls;
	m->input_tokens += x->input_tokens;
	m->output_tokens += x->output_tokens;
	m->cache_read_tokens += x->cache_read_tokens;
	m->cache_write_tokens += x->cache_write_tokens;
	m->reasoning_tokens += x->reasoning_tokens;
	m->cost_nano_usd += x->cost_nano_usd;
	m->duration_ns += x->duration_ns;
}

static struct stats_act *new_act(struct stats *s, uint64_t unix_ns, uint64_t duration_ns)
{
	struct stats_act *act;

	stats_span(s, unix_ns, 0);
	if (s->n_acts == STATS_ACTS)
		return NULL;
	act = &s->acts[s->n_acts++];
	*act = (struct stats_act){.end_ns = unix_ns};
	act->begin_ns = unix_ns - MIN(duration_ns, unix_ns);
	return act;
}

void stats_call(struct stats *s, const struct stats_call *x)
{
	struct stats_model *m = find_model(s, x);
	struct stats_act *act = new_act(s, x->unix_ns, x->duration_ns);

	model_add(m, x);
	model_add(&s->calls, x);
	if (!act)
		return;
	act->which = (uint16_t)(m - s->models);
	act->failed = x->failed;
	act->input_tokens = x->input_tokens;
	act->output_tokens = x->output_tokens;
	act->cost_nano_usd = x->cost_nano_usd;
}

static struct stats_tool_sums *find_tool(struct stats *s, const struct stats_tool *x)
{
	struct stats_tool_sums *t;

	for (size_t i = 0; i < s->n_tools; i++) {
		t = &s->tools[i];
		if (text_is(t->name, sizeof(t->name), x->name, x->name_len))
			return t;
	}
	if (s->n_tools == STATS_TOOLS)
		return &s->tools[STATS_TOOLS - 1];
	t = &s->tools[s->n_tools++];
	if (s->n_tools == STATS_TOOLS)
		copy_text(t->name, sizeof(t->name), "(others)", 8);
	else
		copy_text(t->name, sizeof(t->name), x->name, x->name_len);
	return t;
}

static void tool_add(struct stats_tool_sums *t, const struct stats_tool *x)
{
	t->runs++;
	t->failed += x->failed;
	t->processes += x->processes;
	t->files += x->files;
	t->duration_ns += x->duration_ns;
}

void stats_tool(struct stats *s, const struct stats_tool *x)
{
	struct stats_tool_sums *t = find_tool(s, x);
	struct stats_act *act = new_act(s, x->unix_ns, x->duration_ns);

	tool_add(t, x);
	tool_add(&s->tool_runs, x);
	if (!act)
		return;
	act->is_tool = true;
	act->which = (uint16_t)(t - s->tools);
	act->failed = x->failed;
}
