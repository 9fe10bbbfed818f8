/* SPDX-License-Identifier: MIT */
#include "stats/diff.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "stats/json.h"
#include "stats/table.h"
#include "stats/text.h"

#define ROWS_MAX    96
#define NAMES_MAX   200
#define NAMES_SHOWN 20
#define COLUMN_NAME 22
#define COLUMN      13

/* Differences below this are noise, as a share. */
#define SMALL 0.02

struct row {
	char key[48], title[48];
	enum stats_unit unit;
	bool in_a, in_b;
	uint64_t a, b;
};

struct rows {
	struct row rows[ROWS_MAX];
	size_t n;
};

static void add(struct rows *r, const char *key, const char *title, enum stats_unit unit, bool in_a,
		uint64_t a, bool in_b, uint64_t b)
{
	struct row *x = &r->rows[r->n];

	if (r->n == ROWS_MAX || (!in_a && !in_b))
		return;
	*x = (struct row){.unit = unit, .in_a = in_a, .in_b = in_b, .a = a, .b = b};
	snprintf(x->key, sizeof(x->key), "%s", key);
	snprintf(x->title, sizeof(x->title), "%s", title);
	r->n++;
}

/* "rss_kb.mean": as a member of `tree` in the document of `stats`. */
static void add_gauge(struct rows *r, enum stats_gauge g, const struct stats *a,
		      const struct stats *b)
{
	const struct stats_value *x = &a->tree.values[g], *y = &b->tree.values[g];
	const struct stats_name *name = &stats_gauge_names[g];
	char key[48], title[48];

	snprintf(key, sizeof(key), "%s.mean", name->key);
	snprintf(title, sizeof(title), "%s, mean", name->title);
	add(r, key, title, name->unit, x->n, stats_mean(x), y->n, stats_mean(y));
	snprintf(key, sizeof(key), "%s.p95", name->key);
	snprintf(title, sizeof(title), "%s, p95", name->title);
	add(r, key, title, name->unit, x->n, x->n ? stats_quantile(x, 950) : 0, y->n,
	    y->n ? stats_quantile(y, 950) : 0);
	snprintf(key, sizeof(key), "%s.max", name->key);
	snprintf(title, sizeof(title), "%s, max", name->title);
	add(r, key, title, name->unit, x->n, x->max, y->n, y->max);
}

static void add_counter(struct rows *r, enum stats_counter c, const struct stats *a,
			const struct stats *b)
{
	const struct stats_name *name = &stats_counter_names[c];
	char key[48];

	snprintf(key, sizeof(key), "totals.%s", name->key);
	add(r, key, name->title, name->unit, a->tree.counters_known >> c & 1, a->tree.total[c],
	    b->tree.counters_known >> c & 1, b->tree.total[c]);
}

static void add_calls(struct rows *r, const struct stats_model *x, const struct stats_model *y)
{
	bool in_a = x->calls, in_b = y->calls;

	add(r, "llm.calls", "model calls", UNIT_COUNT, in_a, x->calls, in_b, y->calls);
	add(r, "llm.input_tokens", "input tokens", UNIT_COUNT, in_a, x->input_tokens, in_b,
	    y->input_tokens);
	add(r, "llm.output_tokens", "output tokens", UNIT_COUNT, in_a, x->output_tokens, in_b,
	    y->output_tokens);
	add(r, "llm.cost_nano_usd", "cost", UNIT_NANO_USD, in_a && x->cost_nano_usd,
	    x->cost_nano_usd, in_b && y->cost_nano_usd, y->cost_nano_usd);
	add(r, "llm.duration_ns", "time in models", UNIT_NS, in_a, x->duration_ns, in_b,
	    y->duration_ns);
}

static void compare(struct rows *r, const struct stats *a, const struct stats *b)
{
	r->n = 0;
	add(r, "wall_ns", "wall time", UNIT_NS, true, stats_wall_ns(a), true, stats_wall_ns(b));
	for (size_t c = 0; c < COUNTERS; c++)
		add_counter(r, c, a, b);
	for (size_t g = 0; g < GAUGES; g++)
		add_gauge(r, g, a, b);
	add(r, "processes_seen", "processes", UNIT_COUNT, true, a->processes_seen, true,
	    b->processes_seen);
	add(r, "failed", "processes failed", UNIT_COUNT, true, a->failed, true, b->failed);
	add(r, "alerts_seen", "alerts", UNIT_COUNT, true, a->alerts_seen, true, b->alerts_seen);
	add_calls(r, &a->calls, &b->calls);
}

/* ---- names ---- */

struct pair {
	const struct stats_group *a, *b; /* one may be NULL */
	const char *comm;
};

static uint64_t cpu_of(const struct stats_group *g)
{
	return g ? g->total[COUNTER_CPU] : 0;
}

static int by_cpu(const void *p, const void *q)
{
	const struct pair *x = p, *y = q;
	uint64_t cpu_x = MAX(cpu_of(x->a), cpu_of(x->b)), cpu_y = MAX(cpu_of(y->a), cpu_of(y->b));

	if (cpu_x != cpu_y)
		return cpu_x > cpu_y ? -1 : 1;
	return memcmp(x->comm, y->comm, STATS_COMM_LEN);
}

static int by_name(const void *p, const void *q)
{
	const struct stats_group *x = *(const struct stats_group *const *)p;
	const struct stats_group *y = *(const struct stats_group *const *)q;

	return memcmp(x->comm, y->comm, sizeof(x->comm));
}

/* Both lists by name, side by side; then those that used most come first. */
static size_t match(const struct stats *a, const struct stats *b, struct pair *out)
{
	const struct stats_group *x[STATS_GROUPS], *y[STATS_GROUPS];
	size_t n_x = stats_largest_groups(a, x, STATS_GROUPS);
	size_t n_y = stats_largest_groups(b, y, STATS_GROUPS), n = 0;

	qsort(x, n_x, sizeof(*x), by_name);
	qsort(y, n_y, sizeof(*y), by_name);
	for (size_t i = 0, j = 0; i < n_x || j < n_y;) {
		int order = i == n_x ? 1 : j == n_y ? -1 : by_name(&x[i], &y[j]);

		out[n++] = (struct pair){
			.a = order <= 0 ? x[i] : NULL,
			.b = order >= 0 ? y[j] : NULL,
			.comm = order <= 0 ? x[i]->comm : y[j]->comm,
		};
		i += order <= 0;
		j += order >= 0;
	}
	qsort(out, n, sizeof(*out), by_cpu);
	return n;
}

/* ---- JSON ---- */

/* The change in percent; false where there was nothing before. */
static bool percent(uint64_t a, uint64_t b, double *ret)
{
	if (!a)
		return false;
	*ret = ((double)b - (double)a) / (double)a * 100;
	return true;
}

static void put_change(struct buf *out, enum stats_unit unit, uint64_t a, uint64_t b)
{
	double share;

	buf_add_lit(out, ",\"change\":");
	if (b < a)
		buf_add_char(out, '-');
	stats_json_value(out, unit, b < a ? a - b : b - a);
	buf_add_lit(out, ",\"percent\":");
	if (percent(a, b, &share))
		buf_printf(out, "%.2f", share);
	else
		buf_add_lit(out, "null");
}

static void put_side(struct buf *out, const char *key, bool known, enum stats_unit unit,
		     uint64_t value)
{
	buf_printf(out, ",\"%s\":", key);
	if (known)
		stats_json_value(out, unit, value);
	else
		buf_add_lit(out, "null");
}

static void put_row(struct buf *out, const struct row *x)
{
	buf_printf(out, "{\"name\":\"%s\"", x->key);
	put_side(out, "a", x->in_a, x->unit, x->a);
	put_side(out, "b", x->in_b, x->unit, x->b);
	if (x->in_a && x->in_b)
		put_change(out, x->unit, x->a, x->b);
	buf_add_char(out, '}');
}

static void put_group(struct buf *out, const char *key, const struct stats_group *g)
{
	buf_printf(out, ",\"%s\":", key);
	if (!g) {
		buf_add_lit(out, "null");
		return;
	}
	buf_printf(out,
		   "{\"processes\":%llu,\"failed\":%llu,\"cpu_ns\":%llu,\"peak_rss_kb\":%llu,"
		   "\"read_bytes\":%llu,\"write_bytes\":%llu}",
		   (unsigned long long)g->processes, (unsigned long long)g->failed,
		   (unsigned long long)g->total[COUNTER_CPU], (unsigned long long)g->peak_rss_kb,
		   (unsigned long long)g->total[COUNTER_READ],
		   (unsigned long long)g->total[COUNTER_WRITE]);
}

void stats_diff_json(struct buf *out, const struct stats *a, const char *a_name,
		     const struct stats *b, const char *b_name)
{
	_cleanup_(freep) struct rows *rows = malloc(sizeof(*rows));
	_cleanup_(freep) struct pair *pairs = malloc(2 * STATS_GROUPS * sizeof(*pairs));
	size_t n;

	if (!rows || !pairs) {
		out->failed = true;
		return;
	}
	compare(rows, a, b);
	n = match(a, b, pairs);
	buf_add_lit(out, "{\"format\":\"agentsight-diff\",\"version\":1,\"a\":");
	json_string(out, a_name, strlen(a_name));
	buf_add_lit(out, ",\"b\":");
	json_string(out, b_name, strlen(b_name));
	buf_add_lit(out, ",\"metrics\":[");
	for (size_t i = 0; i < rows->n; i++) {
		if (i)
			buf_add_char(out, ',');
		put_row(out, &rows->rows[i]);
	}
	buf_add_lit(out, "],\"names\":[");
	for (size_t i = 0; i < n && i < NAMES_MAX; i++) {
		const struct stats_group *g = pairs[i].a ? pairs[i].a : pairs[i].b;

		buf_add_str(out, i ? ",{\"comm\":" : "{\"comm\":");
		json_string(out, g->comm, g->comm_len);
		put_group(out, "a", pairs[i].a);
		put_group(out, "b", pairs[i].b);
		buf_add_char(out, '}');
	}
	buf_add_lit(out, "]}");
}

/* ---- the table ---- */

static void side(struct table *t, bool known, enum stats_unit unit, uint64_t value)
{
	char text[STATS_VALUE_LEN];

	table_cell(t, known ? LINE_PLAIN : LINE_DIM,
		   known ? stats_text_value(text, unit, value) : "-");
}

/* All that is compared here costs something: less is green. */
static void changes(struct table *t, enum stats_unit unit, uint64_t a, uint64_t b)
{
	char text[STATS_VALUE_LEN], signed_text[STATS_VALUE_LEN + 1];
	uint64_t difference = b < a ? a - b : b - a;
	double share = 0;
	bool known = percent(a, b, &share);
	bool small = known ? share < SMALL * 100 && share > -SMALL * 100 : b == 0;
	enum line_style style = small ? LINE_DIM : b > a ? LINE_RED : LINE_GREEN;

	if (!difference) {
		table_cell(t, LINE_DIM, "=");
		return;
	}
	stats_text_value(text, unit, difference);
	snprintf(signed_text, sizeof(signed_text), "%s%s",
		 b < a        ? "-"
		 : difference ? "+"
			      : "",
		 text);
	table_cell(t, style, signed_text);
	if (known && share < 100000)
		snprintf(text, sizeof(text), "%+.1f %%", share);
	else
		snprintf(text, sizeof(text), "new");
	table_cell(t, style, text);
}

static void heads(struct table *t, const char *first)
{
	static const char *const columns[] = {"A", "B", "change", ""};

	fputc('\n', t->f);
	table_row_begin(t);
	line_style(&t->line, LINE_BOLD);
	line_printf(&t->line, "%-*s", COLUMN_NAME, first);
	for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
		table_cell(t, LINE_DIM, columns[i]);
	table_row_end(t);
}

static void print_row(struct table *t, const struct row *x)
{
	if (!x->a && !x->b)
		return;
	table_row_begin(t);
	line_printf(&t->line, "  %-*s", COLUMN_NAME - 2, x->title);
	side(t, x->in_a, x->unit, x->a);
	side(t, x->in_b, x->unit, x->b);
	if (x->in_a && x->in_b)
		changes(t, x->unit, x->a, x->b);
	table_row_end(t);
}

static void print_pair(struct table *t, const struct pair *p)
{
	const struct stats_group *g = p->a ? p->a : p->b;

	table_row_begin(t);
	line_str(&t->line, "  ");
	line_text_max(&t->line, g->comm, g->comm_len, COLUMN_NAME - 3);
	line_pad(&t->line, COLUMN_NAME);
	side(t, p->a, UNIT_NS, cpu_of(p->a));
	side(t, p->b, UNIT_NS, cpu_of(p->b));
	changes(t, UNIT_NS, cpu_of(p->a), cpu_of(p->b));
	line_style(&t->line, LINE_DIM);
	line_printf(&t->line, "   %llu, %llu times",
		    (unsigned long long)(p->a ? p->a->processes : 0),
		    (unsigned long long)(p->b ? p->b->processes : 0));
	table_row_end(t);
}

static void print_name(struct table *t, char which, const char *name)
{
	table_row_begin(t);
	line_style(&t->line, LINE_BOLD);
	line_printf(&t->line, "%c", which);
	line_style(&t->line, LINE_PLAIN);
	line_printf(&t->line, "  %s", name);
	table_row_end(t);
}

int stats_diff_print(const struct stats *a, const char *a_name, const struct stats *b,
		     const char *b_name, FILE *f, bool colour, unsigned width)
{
	_cleanup_(freep) struct rows *rows = malloc(sizeof(*rows));
	_cleanup_(freep) struct pair *pairs = malloc(2 * STATS_GROUPS * sizeof(*pairs));
	struct table t = {.f = f, .colour = colour, .width = width, .column = COLUMN};
	size_t n;

	if (!rows || !pairs)
		return -ENOMEM;
	compare(rows, a, b);
	n = match(a, b, pairs);
	print_name(&t, 'A', a_name);
	print_name(&t, 'B', b_name);
	heads(&t, "All processes");
	for (size_t i = 0; i < rows->n; i++)
		print_row(&t, &rows->rows[i]);
	heads(&t, "CPU time by name");
	for (size_t i = 0; i < n && i < NAMES_SHOWN; i++)
		print_pair(&t, &pairs[i]);
	buf_done(&t.buf);
	return t.failed ? -ENOMEM : 0;
}
