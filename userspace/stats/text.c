/* SPDX-License-Identifier: MIT */
#include "stats/text.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "stats/phases.h"
#include "stats/table.h"

#define PRINTED_PROCESSES 20
#define COLUMN_NAME       18
#define COLUMN            12

const char *stats_text_value(char out[STATS_VALUE_LEN], enum stats_unit unit, uint64_t value)
{
	char part[UNITS_LEN];

	switch (unit) {
	case UNIT_COUNT:
		snprintf(out, STATS_VALUE_LEN, "%llu", (unsigned long long)value);
		break;
	case UNIT_CENTI_PERCENT:
		snprintf(out, STATS_VALUE_LEN, "%.1f %%", (double)value / 100);
		break;
	case UNIT_KB:
		snprintf(out, STATS_VALUE_LEN, "%s",
			 units_bytes(part, value > UINT64_MAX / 1024 ? UINT64_MAX : value * 1024));
		break;
	case UNIT_BYTES:
		snprintf(out, STATS_VALUE_LEN, "%s", units_bytes(part, value));
		break;
	case UNIT_BYTES_PER_S:
		snprintf(out, STATS_VALUE_LEN, "%s/s", units_bytes(part, value));
		break;
	case UNIT_NS:
		snprintf(out, STATS_VALUE_LEN, "%s", value ? units_duration(part, value) : "0 s");
		break;
	case UNIT_NANO_USD:
		snprintf(out, STATS_VALUE_LEN, "$%.4f", (double)value / 1e9);
		break;
	}
	return out;
}

const char *stats_text_clock(char out[STATS_VALUE_LEN], uint64_t unix_ns)
{
	time_t t = (time_t)(unix_ns / NSEC_PER_SEC);
	struct tm tm;

	if (!localtime_r(&t, &tm) || !strftime(out, STATS_VALUE_LEN, "%H:%M:%S", &tm))
		snprintf(out, STATS_VALUE_LEN, "?");
	return out;
}

static const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

void stats_text_input(const struct stats_input *in, void (*say)(const char *sentence))
{
	char text[160];

	if (in->bad) {
		snprintf(text, sizeof(text),
			 "%llu line%s passed over that %s no record, or cut off; the first is line "
			 "%llu",
			 (unsigned long long)in->bad, plural(in->bad), in->bad == 1 ? "is" : "are",
			 (unsigned long long)in->first_bad);
		say(text);
	}
	if (in->long_lines) {
		snprintf(text, sizeof(text), "%llu line%s of more than 8 MiB passed over",
			 (unsigned long long)in->long_lines, plural(in->long_lines));
		say(text);
	}
	if (in->broken) {
		snprintf(
			text, sizeof(text),
			"%llu compressed file%s damaged or not complete: what could be read counts",
			(unsigned long long)in->broken, in->broken == 1 ? " is" : "s are");
		say(text);
	}
}

/* ---- the table ---- */

static void cell_value(struct table *t, enum line_style style, enum stats_unit unit, uint64_t value)
{
	char text[STATS_VALUE_LEN];

	table_cell(t, value ? style : LINE_DIM, stats_text_value(text, unit, value));
}

/* Of a process that ended before it was sampled nothing is known, which is not the same as nothing. */
static void cell_known(struct table *t, enum stats_unit unit, const struct stats_value *v,
		       uint64_t value)
{
	if (v->n)
		cell_value(t, LINE_PLAIN, unit, value);
	else
		table_cell(t, LINE_DIM, "-");
}

static void title(struct table *t, const char *text)
{
	fputc('\n', t->f);
	table_row_begin(t);
	line_style(&t->line, LINE_BOLD);
	line_str(&t->line, text);
	table_row_end(t);
}

static void heads(struct table *t, const char *first, const char *const *rest, size_t n)
{
	table_row_begin(t);
	line_style(&t->line, LINE_DIM);
	line_printf(&t->line, "  %-*s", COLUMN_NAME - 2, first);
	for (size_t i = 0; i < n; i++)
		table_cell(t, LINE_DIM, rest[i]);
	table_row_end(t);
}

/* "  name            " of text that anybody may have chosen. */
static void name_cell(struct table *t, const char *p, size_t n)
{
	line_str(&t->line, "  ");
	line_text_max(&t->line, p, n, COLUMN_NAME - 3);
	line_pad(&t->line, COLUMN_NAME);
}

static void print_end(struct table *t, const struct stats_process *p)
{
	const char *name = p->signal ? sigabbrev_np((int)p->signal) : NULL;

	line_style(&t->line, p->signal || p->exit_code ? LINE_RED : LINE_GREEN);
	if (p->signal && name)
		line_printf(&t->line, "SIG%s", name);
	else if (p->signal)
		line_printf(&t->line, "signal %u", p->signal);
	else
		line_printf(&t->line, "exit %u", p->exit_code);
	line_style(&t->line, LINE_PLAIN);
}

static void print_head(struct table *t, const struct stats *s)
{
	const struct stats_process *p = stats_main_process(s);
	char text[STATS_VALUE_LEN];

	table_row_begin(t);
	line_style(&t->line, LINE_BOLD);
	if (s->command[0])
		line_text(&t->line, s->command, strlen(s->command));
	else if (p)
		line_text(&t->line, p->comm, p->comm_len);
	else
		line_str(&t->line, "Recording");
	table_row_end(t);

	table_row_begin(t);
	line_printf(&t->line, "  %s", stats_text_value(text, UNIT_NS, stats_wall_ns(s)));
	line_printf(&t->line, "  %llu sample%s", (unsigned long long)s->samples,
		    plural(s->samples));
	line_printf(&t->line, "  %llu process%s", (unsigned long long)s->processes_seen,
		    s->processes_seen == 1 ? "" : "es");
	if (p && p->exited) {
		line_str(&t->line, "  ");
		print_end(t, p);
	}
	if (s->failed) {
		line_style(&t->line, LINE_YELLOW);
		line_printf(&t->line, "  %llu failed", (unsigned long long)s->failed);
	}
	table_row_end(t);
}

/* Rows that are zero from beginning to end say nothing. */
static void print_gauges(struct table *t, const char *what, const struct stats_value *values,
			 size_t n)
{
	static const char *const columns[] = {"mean", "median", "p95",   "p99",
					      "max",  "min",    "max at"};
	char text[STATS_VALUE_LEN];

	title(t, what);
	heads(t, "", columns, ARRAY_SIZE(columns));
	for (size_t g = 0; g < n; g++) {
		const struct stats_value *v = &values[g];
		enum stats_unit unit = stats_gauge_names[g].unit;

		if (!v->n || (!v->max && g != GAUGE_CPU))
			continue;
		table_row_begin(t);
		line_printf(&t->line, "  %-*s", COLUMN_NAME - 2, stats_gauge_names[g].title);
		cell_value(t, LINE_BOLD, unit, stats_mean(v));
		cell_value(t, LINE_PLAIN, unit, stats_quantile(v, 500));
		cell_value(t, LINE_PLAIN, unit, stats_quantile(v, 950));
		cell_value(t, LINE_PLAIN, unit, stats_quantile(v, 990));
		cell_value(t, LINE_CYAN, unit, v->max);
		cell_value(t, LINE_DIM, unit, v->min);
		table_cell(t, LINE_DIM, stats_text_clock(text, v->max_at_ns));
		table_row_end(t);
	}
}

static void print_totals(struct table *t, const struct stats_scope_sums *sums)
{
	size_t shown = 0;

	title(t, "Totals");
	for (size_t c = 0; c < COUNTERS; c++) {
		char text[STATS_VALUE_LEN];

		if (!(sums->counters_known & 1U << c) || (!sums->total[c] && c != COUNTER_CPU))
			continue;
		if (shown % 2 == 0)
			table_row_begin(t);
		line_pad(&t->line, shown % 2 ? 42 : 0);
		line_printf(&t->line, "  %-20s", stats_counter_names[c].title);
		line_printf(&t->line, "%14s",
			    stats_text_value(text, stats_counter_names[c].unit, sums->total[c]));
		if (shown++ % 2)
			table_row_end(t);
	}
	if (shown % 2)
		table_row_end(t);
}

static void print_phases(struct table *t, const struct stats *s)
{
	static const char *const columns[] = {"from", "for", "CPU", "RSS", "read/s", "write/s"};
	static const enum line_style styles[] = {
		[PHASE_STARTUP] = LINE_BLUE,
		[PHASE_STEADY] = LINE_GREEN,
		[PHASE_BURST] = LINE_YELLOW,
		[PHASE_IDLE] = LINE_DIM,
	};
	struct phase phases[PHASES_MAX];
	size_t n = phases_find(&s->series, phases);

	if (n < 2)
		return;
	title(t, "Phases");
	heads(t, "", columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < n; i++) {
		const struct phase *p = &phases[i];

		table_row_begin(t);
		line_str(&t->line, "  ");
		line_style(&t->line, styles[p->kind]);
		line_str(&t->line, phase_name(p->kind));
		line_style(&t->line, LINE_PLAIN);
		line_pad(&t->line, COLUMN_NAME);
		cell_value(t, LINE_PLAIN, UNIT_NS, p->begin_ns - phases[0].begin_ns);
		cell_value(t, LINE_PLAIN, UNIT_NS, p->end_ns - p->begin_ns);
		cell_value(t, LINE_PLAIN, UNIT_CENTI_PERCENT,
			   series_whole(p->mean[TRACK_CPU] * 100));
		cell_value(t, LINE_PLAIN, UNIT_KB, series_whole(p->mean[TRACK_RSS]));
		cell_value(t, LINE_PLAIN, UNIT_BYTES, series_whole(p->mean[TRACK_READ]));
		cell_value(t, LINE_PLAIN, UNIT_BYTES, series_whole(p->mean[TRACK_WRITE]));
		table_row_end(t);
	}
}

static void print_group(struct table *t, const struct stats_group *g)
{
	cell_value(t, LINE_PLAIN, UNIT_COUNT, g->processes);
	cell_value(t, LINE_BOLD, UNIT_NS, g->total[COUNTER_CPU]);
	cell_value(t, LINE_PLAIN, UNIT_KB, g->peak_rss_kb);
	cell_value(t, LINE_PLAIN, UNIT_BYTES, g->total[COUNTER_READ]);
	cell_value(t, LINE_PLAIN, UNIT_BYTES, g->total[COUNTER_WRITE]);
	cell_value(t, g->failed ? LINE_RED : LINE_PLAIN, UNIT_COUNT, g->failed);
}

static void print_groups(struct table *t, const struct stats *s)
{
	static const char *const columns[] = {"processes", "CPU time", "peak RSS",
					      "read",      "written",  "failed"};
	const struct stats_group *list[PRINTED_PROCESSES];
	size_t n = stats_largest_groups(s, list, ARRAY_SIZE(list));

	if (!n)
		return;
	title(t, "Programs");
	heads(t, "name", columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < n; i++) {
		table_row_begin(t);
		name_cell(t, list[i]->comm, list[i]->comm_len);
		print_group(t, list[i]);
		table_row_end(t);
	}
	if (s->n_groups > n) {
		table_row_begin(t);
		line_style(&t->line, LINE_DIM);
		line_printf(&t->line, "  and others, up to %zu names", s->n_groups);
		table_row_end(t);
	}
}

static void print_processes(struct table *t, const struct stats *s)
{
	static const char *const columns[] = {"pid",     "CPU time", "mean CPU",
					      "max CPU", "mean RSS", "peak RSS"};
	const struct stats_process *list[PRINTED_PROCESSES];
	size_t n = stats_largest(s, list, ARRAY_SIZE(list));

	if (n < 2)
		return;
	title(t, "Processes");
	heads(t, "name", columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < n; i++) {
		const struct stats_value *v = list[i]->values;

		table_row_begin(t);
		name_cell(t, list[i]->comm, list[i]->comm_len);
		cell_value(t, LINE_PLAIN, UNIT_COUNT, list[i]->pid);
		cell_value(t, LINE_BOLD, UNIT_NS, list[i]->total[COUNTER_CPU]);
		cell_known(t, UNIT_CENTI_PERCENT, &v[GAUGE_CPU], stats_mean(&v[GAUGE_CPU]));
		cell_known(t, UNIT_CENTI_PERCENT, &v[GAUGE_CPU], v[GAUGE_CPU].max);
		cell_known(t, UNIT_KB, &v[GAUGE_RSS], stats_mean(&v[GAUGE_RSS]));
		cell_value(t, LINE_PLAIN, UNIT_KB, list[i]->peak_rss_kb);
		if (list[i]->exited && (list[i]->exit_code || list[i]->signal)) {
			line_str(&t->line, "  ");
			print_end(t, list[i]);
		}
		table_row_end(t);
	}
	if (s->processes_seen > n) {
		table_row_begin(t);
		line_style(&t->line, LINE_DIM);
		line_printf(&t->line, "  and %llu more",
			    (unsigned long long)(s->processes_seen - n));
		table_row_end(t);
	}
}

/* In the unit of the rule; two decimals where they say something. */
static void put_centi(struct table *t, int64_t centi, const char *unit)
{
	line_printf(&t->line, centi % 100 ? "%.2f" : "%.0f", (double)centi / 100);
	if (unit[0]) {
		line_str(&t->line, " ");
		line_str(&t->line, unit);
	}
}

static void print_alerts(struct table *t, const struct stats *s)
{
	if (!s->alerts_seen)
		return;
	title(t, "Alerts");
	for (size_t i = 0; i < s->n_alerts && i < PRINTED_PROCESSES; i++) {
		const struct stats_alert *a = &s->alerts[i];
		char text[STATS_VALUE_LEN];

		table_row_begin(t);
		line_printf(&t->line, "  %s  ", stats_text_clock(text, a->begin_ns));
		line_style(&t->line, LINE_YELLOW);
		line_str(&t->line, a->rule);
		line_style(&t->line, LINE_PLAIN);
		line_str(&t->line, "  ");
		if (a->path[0])
			line_str(&t->line, a->path);
		else
			line_printf(&t->line, "pid %u", a->pid);
		line_str(&t->line, "  peak ");
		put_centi(t, a->max, a->unit);
		if (a->ended)
			line_printf(&t->line, "  for %s",
				    stats_text_value(text, UNIT_NS, a->end_ns - a->begin_ns));
		else
			line_str(&t->line, "  not over");
		table_row_end(t);
	}
	if (s->alerts_seen > MIN(s->n_alerts, (size_t)PRINTED_PROCESSES)) {
		table_row_begin(t);
		line_printf(&t->line, "  %llu in all", (unsigned long long)s->alerts_seen);
		table_row_end(t);
	}
}

static void print_models(struct table *t, const struct stats *s)
{
	static const char *const columns[] = {"calls", "failed", "input", "output", "cost", "time"};

	if (!s->calls.calls)
		return;
	title(t, "Models");
	heads(t, "name", columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < s->n_models; i++) {
		const struct stats_model *m = &s->models[i];

		table_row_begin(t);
		name_cell(t, m->name, strlen(m->name));
		cell_value(t, LINE_PLAIN, UNIT_COUNT, m->calls);
		cell_value(t, m->failed ? LINE_RED : LINE_PLAIN, UNIT_COUNT, m->failed);
		cell_value(t, LINE_PLAIN, UNIT_COUNT, m->input_tokens);
		cell_value(t, LINE_PLAIN, UNIT_COUNT, m->output_tokens);
		cell_value(t, LINE_PLAIN, UNIT_NANO_USD, m->cost_nano_usd);
		cell_value(t, LINE_PLAIN, UNIT_NS, m->duration_ns);
		table_row_end(t);
	}
}

static void print_tools(struct table *t, const struct stats *s)
{
	static const char *const columns[] = {"runs", "failed", "processes", "files", "time"};

	if (!s->tool_runs.runs)
		return;
	title(t, "Tools");
	heads(t, "name", columns, ARRAY_SIZE(columns));
	for (size_t i = 0; i < s->n_tools; i++) {
		const struct stats_tool_sums *x = &s->tools[i];

		table_row_begin(t);
		name_cell(t, x->name, strlen(x->name));
		cell_value(t, LINE_PLAIN, UNIT_COUNT, x->runs);
		cell_value(t, x->failed ? LINE_RED : LINE_PLAIN, UNIT_COUNT, x->failed);
		cell_value(t, LINE_PLAIN, UNIT_COUNT, x->processes);
		cell_value(t, LINE_PLAIN, UNIT_COUNT, x->files);
		cell_value(t, LINE_PLAIN, UNIT_NS, x->duration_ns);
		table_row_end(t);
	}
}

static void print_warnings(struct table *t, const struct stats *s)
{
	if (s->lost) {
		table_row_begin(t);
		line_style(&t->line, LINE_RED);
		line_printf(&t->line, "%llu event%s lost while recording",
			    (unsigned long long)s->lost, plural(s->lost));
		table_row_end(t);
	}
	if (s->tree_rows_refused) {
		table_row_begin(t);
		line_style(&t->line, LINE_RED);
		line_printf(&t->line, "%llu row%s of trees left out: more than %d trees at once",
			    (unsigned long long)s->tree_rows_refused, plural(s->tree_rows_refused),
			    STATS_ROOTS);
		table_row_end(t);
	}
	if (s->oom_kills) {
		table_row_begin(t);
		line_style(&t->line, LINE_RED);
		line_printf(&t->line, "%llu process%s killed for lack of memory",
			    (unsigned long long)s->oom_kills, s->oom_kills == 1 ? "" : "es");
		table_row_end(t);
	}
}

int stats_print(const struct stats *s, FILE *f, bool colour, unsigned width)
{
	struct table t = {.f = f, .colour = colour, .width = width, .column = COLUMN};

	print_head(&t, s);
	if (s->tree.samples) {
		print_gauges(&t, s->has_tree ? "All processes" : "All processes, added up",
			     s->tree.values, GAUGES);
		print_totals(&t, &s->tree);
	}
	if (s->machine.samples)
		print_gauges(&t, "Machine", s->machine.values, GAUGES);
	print_phases(&t, s);
	print_alerts(&t, s);
	print_models(&t, s);
	print_tools(&t, s);
	print_groups(&t, s);
	print_processes(&t, s);
	print_warnings(&t, s);
	buf_done(&t.buf);
	return t.failed ? -ENOMEM : 0;
}
