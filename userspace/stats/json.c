/* SPDX-License-Identifier: MIT */
#include "stats/json.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "stats/phases.h"

/* ---- members: every one is followed by a comma, and the last comma becomes the bracket ---- */

static void key(struct buf *b, const char *name)
{
	buf_add_char(b, '"');
	buf_add_str(b, name);
	buf_add_lit(b, "\":");
}

static void open_object(struct buf *b, const char *name)
{
	if (name)
		key(b, name);
	buf_add_char(b, '{');
}

static void open_array(struct buf *b, const char *name)
{
	key(b, name);
	buf_add_char(b, '[');
}

static void close_with(struct buf *b, char bracket)
{
	if (b->len && b->data[b->len - 1] == ',')
		b->len--;
	buf_add_char(b, bracket);
	buf_add_char(b, ',');
}

static void member(struct buf *b, const char *name, uint64_t value)
{
	key(b, name);
	json_u64(b, value);
	buf_add_char(b, ',');
}

static void member_if(struct buf *b, const char *name, uint64_t value)
{
	if (value)
		member(b, name, value);
}

static void member_text(struct buf *b, const char *name, const char *p, size_t n)
{
	key(b, name);
	json_string(b, p, n);
	buf_add_char(b, ',');
}

static void member_bool(struct buf *b, const char *name, bool value)
{
	key(b, name);
	json_boolean(b, value);
	buf_add_char(b, ',');
}

static void member_centi(struct buf *b, const char *name, int64_t value)
{
	key(b, name);
	if (value < 0)
		buf_add_char(b, '-');
	json_fixed(b, value < 0 ? -(uint64_t)value : (uint64_t)value, 2);
	buf_add_char(b, ',');
}

void stats_json_value(struct buf *b, enum stats_unit unit, uint64_t value)
{
	if (unit == UNIT_CENTI_PERCENT)
		json_fixed(b, value, 2);
	else
		json_u64(b, value);
}

static void member_value(struct buf *b, const char *name, enum stats_unit unit, uint64_t value)
{
	key(b, name);
	stats_json_value(b, unit, value);
	buf_add_char(b, ',');
}

/* ---- parts ---- */

static void put_value(struct buf *b, const struct stats_name *name, const struct stats_value *v)
{
	open_object(b, name->key);
	member_value(b, "min", name->unit, v->min);
	member_value(b, "max", name->unit, v->max);
	member_value(b, "mean", name->unit, stats_mean(v));
	member_value(b, "median", name->unit, stats_quantile(v, 500));
	member_value(b, "p95", name->unit, stats_quantile(v, 950));
	member_value(b, "p99", name->unit, stats_quantile(v, 990));
	member_value(b, "last", name->unit, v->last);
	member(b, "max_at", v->max_at_ns);
	member(b, "samples", v->n);
	close_with(b, '}');
}

static void put_values(struct buf *b, const struct stats_value *values, size_t n)
{
	for (size_t g = 0; g < n; g++) {
		if (values[g].n)
			put_value(b, &stats_gauge_names[g], &values[g]);
	}
}

static void put_totals(struct buf *b, uint32_t known, const uint64_t total[COUNTERS])
{
	open_object(b, "totals");
	for (size_t c = 0; c < COUNTERS; c++) {
		if (known & 1U << c)
			member(b, stats_counter_names[c].key, total[c]);
	}
	close_with(b, '}');
}

static void put_intervals(struct buf *b, uint64_t samples, uint64_t min, uint64_t max)
{
	member(b, "samples", samples);
	if (min > max)
		return;
	open_object(b, "interval_ns");
	member(b, "min", min);
	member(b, "max", max);
	close_with(b, '}');
}

static void put_scope(struct buf *b, const char *name, const struct stats_scope_sums *t)
{
	open_object(b, name);
	put_intervals(b, t->samples, t->interval_min_ns, t->interval_max_ns);
	put_values(b, t->values, GAUGES);
	put_totals(b, t->counters_known, t->total);
	close_with(b, '}');
}

/* The machine's memory in use is not a resident set. */
static void put_machine(struct buf *b, const struct stats_scope_sums *t)
{
	static const struct stats_name used = {"used_kb", "memory used", UNIT_KB};

	open_object(b, "machine");
	put_intervals(b, t->samples, t->interval_min_ns, t->interval_max_ns);
	put_values(b, t->values, GAUGE_RSS);
	if (t->values[GAUGE_RSS].n)
		put_value(b, &used, &t->values[GAUGE_RSS]);
	close_with(b, '}');
}

static void put_end(struct buf *b, const struct stats_process *p)
{
	if (!p->exited)
		return;
	member(b, "exit_code", p->exit_code);
	member(b, "signal", p->signal);
}

static void put_process(struct buf *b, const struct stats_process *p)
{
	open_object(b, NULL);
	member(b, "pid", p->pid);
	if (p->start)
		member(b, "start", p->start);
	member_text(b, "comm", p->comm, p->comm_len);
	member(b, "first", p->first_ns);
	member(b, "last", p->last_ns);
	member(b, "wall_ns",
	       p->exited ? p->duration_ns : p->last_ns - MIN(p->first_ns, p->last_ns));
	put_end(b, p);
	put_intervals(b, p->samples, p->interval_min_ns, p->interval_max_ns);
	member(b, "peak_rss_kb", p->peak_rss_kb);
	put_values(b, p->values, ARRAY_SIZE(p->values));
	put_totals(b, p->counters_known, p->total);
	close_with(b, '}');
}

static void put_group(struct buf *b, const struct stats_group *g)
{
	member(b, "processes", g->processes);
	member(b, "exits", g->exits);
	member(b, "failed", g->failed);
	member(b, "peak_rss_kb", g->peak_rss_kb);
	put_totals(b, g->counters_known, g->total);
}

static void put_processes(struct buf *b, const struct stats *s, size_t listed)
{
	const struct stats_process *list[STATS_LISTED];
	size_t n = stats_largest(s, list, MIN(listed, ARRAY_SIZE(list)));

	open_array(b, "processes");
	for (size_t i = 0; i < n; i++)
		put_process(b, list[i]);
	close_with(b, ']');
	member(b, "processes_not_listed", s->n_processes - n);
	if (!s->others.processes)
		return;
	open_object(b, "others");
	put_group(b, &s->others);
	member_bool(b, "approximate", s->others_approximate);
	close_with(b, '}');
}

static void put_names(struct buf *b, const struct stats *s, size_t listed)
{
	const struct stats_group *list[STATS_LISTED];
	size_t n = stats_largest_groups(s, list, MIN(listed, ARRAY_SIZE(list)));

	open_array(b, "names");
	for (size_t i = 0; i < n; i++) {
		open_object(b, NULL);
		member_text(b, "comm", list[i]->comm, list[i]->comm_len);
		put_group(b, list[i]);
		close_with(b, '}');
	}
	close_with(b, ']');
}

static void put_mean(struct buf *b, const char *name, double value)
{
	if (value >= 0)
		member_value(b, name, UNIT_CENTI_PERCENT, series_whole(value * 100 + 0.5));
}

static void put_phases(struct buf *b, const struct stats *s)
{
	struct phase phases[PHASES_MAX];
	size_t n = phases_find(&s->series, phases);

	open_array(b, "phases");
	for (size_t i = 0; i < n; i++) {
		const char *name = phase_name(phases[i].kind);

		open_object(b, NULL);
		member_text(b, "name", name, strlen(name));
		member(b, "begin", phases[i].begin_ns);
		member(b, "end", phases[i].end_ns);
		put_mean(b, "cpu_percent", phases[i].mean[TRACK_CPU]);
		put_mean(b, "rss_kb", phases[i].mean[TRACK_RSS]);
		put_mean(b, "read_bytes_per_s", phases[i].mean[TRACK_READ]);
		put_mean(b, "write_bytes_per_s", phases[i].mean[TRACK_WRITE]);
		close_with(b, '}');
	}
	close_with(b, ']');
}

static void put_alerts(struct buf *b, const struct stats *s)
{
	member(b, "alerts_seen", s->alerts_seen);
	open_array(b, "alerts");
	for (size_t i = 0; i < s->n_alerts; i++) {
		const struct stats_alert *a = &s->alerts[i];

		open_object(b, NULL);
		member_text(b, "rule", a->rule, strlen(a->rule));
		member_text(b, "metric", a->metric, strlen(a->metric));
		if (a->unit[0])
			member_text(b, "unit", a->unit, strlen(a->unit));
		if (a->path[0])
			member_text(b, "path", a->path, strlen(a->path));
		member(b, "pid", a->pid);
		member(b, "begin", a->begin_ns);
		if (a->ended)
			member(b, "end", a->end_ns);
		member_centi(b, "limit", a->limit);
		member_centi(b, "max", a->max);
		if (a->ended) {
			member_centi(b, "min", a->min);
			member_centi(b, "avg", a->avg);
		}
		close_with(b, '}');
	}
	close_with(b, ']');
}

static void put_usage(struct buf *b, const struct stats_model *m)
{
	member(b, "calls", m->calls);
	member(b, "failed", m->failed);
	member(b, "input_tokens", m->input_tokens);
	member(b, "output_tokens", m->output_tokens);
	member(b, "cache_read_tokens", m->cache_read_tokens);
	member(b, "cache_write_tokens", m->cache_write_tokens);
	member_if(b, "reasoning_tokens", m->reasoning_tokens);
	member(b, "tool_calls", m->tool_calls);
	member_if(b, "cost_nano_usd", m->cost_nano_usd);
	member(b, "duration_ns", m->duration_ns);
}

static void put_models(struct buf *b, const struct stats *s)
{
	open_object(b, "llm");
	put_usage(b, &s->calls);
	open_array(b, "models");
	for (size_t i = 0; i < s->n_models; i++) {
		const struct stats_model *m = &s->models[i];

		open_object(b, NULL);
		member_text(b, "model", m->name, strlen(m->name));
		member_text(b, "provider", m->provider, strlen(m->provider));
		put_usage(b, m);
		close_with(b, '}');
	}
	close_with(b, ']');
	close_with(b, '}');
}

static void put_tools(struct buf *b, const struct stats *s)
{
	open_array(b, "tools");
	for (size_t i = 0; i < s->n_tools; i++) {
		const struct stats_tool_sums *t = &s->tools[i];

		open_object(b, NULL);
		member_text(b, "name", t->name, strlen(t->name));
		member(b, "runs", t->runs);
		member(b, "failed", t->failed);
		member(b, "processes", t->processes);
		member(b, "files", t->files);
		member(b, "duration_ns", t->duration_ns);
		close_with(b, '}');
	}
	close_with(b, ']');
}

static void put_input(struct buf *b, const struct stats_input *in)
{
	open_object(b, "input");
	member(b, "files", in->files);
	member(b, "bytes", in->bytes);
	member(b, "lines", in->lines);
	member(b, "used", in->used);
	member(b, "bad", in->bad);
	member_if(b, "first_bad", in->first_bad);
	member(b, "too_long", in->long_lines);
	member(b, "broken_files", in->broken);
	close_with(b, '}');
}

static void put_run(struct buf *b, const struct stats *s)
{
	const struct stats_process *p = stats_main_process(s);

	if (s->command[0])
		member_text(b, "command", s->command, strlen(s->command));
	if (p) {
		member(b, "pid", p->pid);
		member_text(b, "comm", p->comm, p->comm_len);
		put_end(b, p);
	}
	member(b, "begin", s->begin_ns);
	member(b, "end", s->end_ns);
	member(b, "wall_ns", stats_wall_ns(s));
	member_if(b, "cores", s->cores);
	member(b, "samples", s->samples);
	member(b, "processes_seen", s->processes_seen);
	member(b, "exits", s->exits);
	member(b, "failed", s->failed);
	member_if(b, "oom_kills", s->oom_kills);
	member(b, "lost", s->lost);
	member_if(b, "tree_rows_refused", s->tree_rows_refused);
}

void stats_json(struct buf *b, const struct stats *s, const struct stats_input *input,
		size_t listed)
{
	open_object(b, NULL);
	member_text(b, "format", "agentsight-stats", strlen("agentsight-stats"));
	member(b, "version", 1);
	if (input)
		put_input(b, input);
	put_run(b, s);
	if (s->tree.samples) {
		member_bool(b, "tree_is_sum", !s->has_tree);
		put_scope(b, "tree", &s->tree);
	}
	if (s->machine.samples)
		put_machine(b, &s->machine);
	put_phases(b, s);
	put_alerts(b, s);
	if (s->calls.calls)
		put_models(b, s);
	if (s->tool_runs.runs)
		put_tools(b, s);
	put_names(b, s, listed);
	put_processes(b, s, listed);
	close_with(b, '}');
	if (!b->failed)
		b->len--; /* its comma */
}
