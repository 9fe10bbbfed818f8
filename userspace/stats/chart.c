/* SPDX-License-Identifier: MIT */
/*
 * The charts are SVG that is stretched to the width of the page; what is written beside them is HTML, so
 * that it keeps its size and can be read on a phone. Positions are percentages.
 */
#include "stats/chart.h"

#include <math.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "stats/text.h"

#define Y_TICKS  4
#define X_TICKS  5
#define SVG_WIDE 1000 /* of the SVG's own units; 100 high */

void charts_find(struct page *p)
{
	const struct series *x = &p->s->series;

	p->begin_ns = p->s->begin_ns;
	p->span_ns = MAX(p->s->end_ns - p->s->begin_ns, (uint64_t)NSEC_PER_MSEC);
	if (x->n) {
		p->begin_ns = x->origin_ns;
		p->span_ns = x->n * x->width_ns;
	}
	p->n_phases = phases_find(x, p->phases);
}

/* ---- axes ---- */

static double at_percent(const struct page *p, uint64_t unix_ns)
{
	double x = unix_ns > p->begin_ns ? (double)(unix_ns - p->begin_ns) : 0;

	return MIN(x / (double)p->span_ns, 1.0) * 100;
}

/* The smallest round step by which @max takes at most Y_TICKS: powers of two for bytes. */
static double y_step(enum stats_unit unit, double max)
{
	static const double decimal[] = {1, 2, 5, 10};
	bool bytes = unit == UNIT_KB || unit == UNIT_BYTES_PER_S;
	double step = bytes ? exp2(ceil(log2(MAX(max, 1.0) / Y_TICKS)))
			    : pow(10, floor(log10(MAX(max, 1.0) / Y_TICKS)));

	for (size_t i = 0; !bytes && i < ARRAY_SIZE(decimal); i++) {
		if (step * decimal[i] * Y_TICKS >= max) {
			step *= decimal[i];
			break;
		}
	}
	/* there is no half a process, and no half a byte */
	return unit == UNIT_CENTI_PERCENT ? step : MAX(step, 1.0);
}

static void tick_text(struct buf *b, enum stats_unit unit, double value)
{
	char text[STATS_VALUE_LEN], *zero;

	if (unit == UNIT_CENTI_PERCENT) {
		buf_printf(b, "%.*f %%", value < 1 && value > 0 ? 1 : 0, value);
		return;
	}
	stats_text_value(text, unit, series_whole(value));
	/* ticks are whole numbers of their unit */
	zero = strstr(text, ".0 ");
	if (zero)
		memmove(zero, zero + 2, strlen(zero + 2) + 1);
	buf_add_str(b, text);
}

/* From 0 to the top, which is a whole number of steps. */
static unsigned tick_count(double step, double top)
{
	return (unsigned)(top / step + 0.5) + 1;
}

static void put_y_axis(struct buf *b, enum stats_unit unit, double step, double top)
{
	for (unsigned i = 0; i < tick_count(step, top); i++) {
		double v = i * step;

		buf_printf(b, "<span class=\"y\" style=\"bottom:%.2f%%\">", v / top * 100);
		tick_text(b, unit, v);
		buf_add_lit(b, "</span>");
	}
}

static uint64_t x_step(uint64_t span_ns)
{
	static const uint32_t ms[] = {
		1,      2,      5,       10,      20,      50,       100,      200,      500,
		1000,   2000,   5000,    10000,   15000,   30000,    60000,    120000,   300000,
		600000, 900000, 1800000, 3600000, 7200000, 10800000, 21600000, 43200000, 86400000};

	for (size_t i = 0; i < ARRAY_SIZE(ms); i++) {
		if (span_ns / (ms[i] * NSEC_PER_MSEC) <= X_TICKS)
			return ms[i] * NSEC_PER_MSEC;
	}
	return (span_ns / X_TICKS / (86400 * NSEC_PER_SEC) + 1) * 86400 * NSEC_PER_SEC;
}

static void put_x_text(struct buf *b, uint64_t ns)
{
	uint64_t s = ns / NSEC_PER_SEC;

	if (ns % NSEC_PER_SEC && s < 10)
		buf_printf(b, "%g s", (double)ns / NSEC_PER_SEC);
	else if (s < 60)
		buf_printf(b, "%u s", (unsigned)s);
	else if (s < 3600)
		buf_printf(b, "%u:%02u", (unsigned)(s / 60), (unsigned)(s % 60));
	else
		buf_printf(b, "%lu:%02u h", (unsigned long)(s / 3600), (unsigned)(s / 60 % 60));
}

static void put_x_axis(const struct page *p)
{
	uint64_t step = x_step(p->span_ns);

	for (uint64_t at = 0; at <= p->span_ns; at += step) {
		double left = (double)at / (double)p->span_ns * 100;

		if (left > 97) /* it would stand out of the page */
			break;
		buf_printf(p->b, "<span class=\"x%s\" style=\"left:%.2f%%\">", at ? "" : " first",
			   left);
		put_x_text(p->b, at);
		buf_add_lit(p->b, "</span>");
	}
}

/* ---- charts ---- */

struct curve {
	enum series_track track;
	const char *name, *label;
};

struct chart {
	const char *title;
	enum stats_unit unit;
	const char *unit_name; /* for the script */
	struct curve curves[2];
};

static const struct chart charts[] = {
	{"CPU",
	 UNIT_CENTI_PERCENT,
	 "percent",
	 {{TRACK_CPU, "cpu", "all processes, 100 % = one core"}}},
	{"Memory", UNIT_KB, "kb", {{TRACK_RSS, "rss", "RSS"}, {TRACK_PSS, "pss", "PSS"}}},
	{"Disk",
	 UNIT_BYTES_PER_S,
	 "rate",
	 {{TRACK_READ, "read", "read"}, {TRACK_WRITE, "write", "written"}}},
	{"Network",
	 UNIT_BYTES_PER_S,
	 "rate",
	 {{TRACK_RX, "rx", "received"}, {TRACK_TX, "tx", "sent"}}},
	{"Processes and threads",
	 UNIT_COUNT,
	 "count",
	 {{TRACK_THREADS, "threads", "threads"}, {TRACK_PROCESSES, "processes", "processes"}}},
};

static bool has_curve(const struct series *x, const struct curve *c)
{
	return c->name && x->seen & 1U << c->track;
}

static double curve_max(const struct series *x, const struct curve *c)
{
	double max = 0;

	for (size_t i = 0; has_curve(x, c) && i < x->n; i++)
		max = MAX(max, series_mean(x, i, c->track));
	return max;
}

/* A slot's mean stands in its middle; the first and the last reach to the edge. */
static double slot_x(const struct series *x, size_t i)
{
	double at = i == 0 ? 0 : i + 1 == x->n ? (double)x->n : (double)i + 0.5;

	return at / (double)x->n * SVG_WIDE;
}

/* The points from @i on, until one is not known; behind it. */
static size_t put_stretch(struct buf *b, const struct series *x, const struct curve *c, size_t i,
			  double top)
{
	size_t from = i;

	for (; i < x->n; i++) {
		double v = series_mean(x, i, c->track);

		if (v < 0)
			break;
		buf_printf(b, "%s%.1f %.2f", i == from ? "M" : "L", slot_x(x, i),
			   100 - v / top * 100);
		if (i == from) /* one alone is a line, too */
			buf_add_lit(b, "h.1");
	}
	return i;
}

static void put_curve(struct buf *b, const struct series *x, const struct curve *c, char which,
		      double top, bool filled)
{
	buf_printf(b, "<path class=\"%c %c\" d=\"", filled ? 'f' : 'l', which);
	for (size_t i = 0; i < x->n;) {
		size_t from = i;

		if (series_mean(x, i, c->track) < 0) {
			i++;
			continue;
		}
		i = put_stretch(b, x, c, i, top);
		if (filled)
			buf_printf(b, "V100H%.1fZ", slot_x(x, from));
	}
	buf_add_lit(b, "\"/>");
}

/* Phases and alerts, behind the curves. */
static void put_background(const struct page *p)
{
	for (size_t i = 0; i < p->n_phases; i++) {
		double from = at_percent(p, p->phases[i].begin_ns);
		double to = at_percent(p, p->phases[i].end_ns);

		buf_printf(
			p->b,
			"<rect class=\"p %s\" x=\"%.1f\" y=\"0\" width=\"%.1f\" height=\"100\"/>",
			phase_name(p->phases[i].kind), from * 10, (to - from) * 10);
	}
	for (size_t i = 0; i < p->s->n_alerts; i++)
		buf_printf(p->b, "<path class=\"al\" d=\"M%.1f 0V100\"/>",
			   at_percent(p, p->s->alerts[i].begin_ns) * 10);
}

static void put_caption(struct buf *b, const struct series *x, const struct chart *c)
{
	buf_printf(b, "<figure><figcaption>%s", c->title);
	for (size_t i = 0; i < ARRAY_SIZE(c->curves); i++) {
		if (has_curve(x, &c->curves[i]))
			buf_printf(b, "<span class=\"key\" style=\"--k:var(--%c)\">%s</span>",
				   (char)('a' + i), c->curves[i].label);
	}
	buf_add_lit(b, "</figcaption>\n<div class=\"frame\" data-tracks=\"");
	for (size_t i = 0, n = 0; i < ARRAY_SIZE(c->curves); i++) {
		if (has_curve(x, &c->curves[i]))
			buf_printf(b, "%s%s:%s:%s", n++ ? "," : "", c->curves[i].name,
				   i || has_curve(x, &c->curves[1]) ? c->curves[i].label : c->title,
				   c->unit_name);
	}
	buf_add_lit(b, "\">");
}

static void put_chart(const struct page *p, const struct chart *c)
{
	const struct series *x = &p->s->series;
	double max = MAX(curve_max(x, &c->curves[0]), curve_max(x, &c->curves[1]));
	double step = y_step(c->unit, max), top = MAX(ceil(max / step), 1) * step;
	struct buf *b = p->b;

	put_caption(b, x, c);
	put_y_axis(b, c->unit, step, top);
	put_x_axis(p);
	buf_printf(b,
		   "<svg viewBox=\"0 0 %d 100\" preserveAspectRatio=\"none\" role=\"img\" "
		   "aria-label=\"%s over time\">",
		   SVG_WIDE, c->title);
	for (unsigned i = 0; i < tick_count(step, top); i++)
		buf_printf(b, "<path class=\"grid\" d=\"M0 %.2fH%d\"/>", 100 - i * step / top * 100,
			   SVG_WIDE);
	put_background(p);
	for (size_t i = 0; i < ARRAY_SIZE(c->curves); i++) {
		if (!has_curve(x, &c->curves[i]))
			continue;
		put_curve(b, x, &c->curves[i], (char)('a' + i), top, true);
		put_curve(b, x, &c->curves[i], (char)('a' + i), top, false);
	}
	buf_add_lit(b,
		    "</svg><div class=\"cur\" hidden></div><div class=\"tip\" hidden></div></div>"
		    "<div class=\"foot\"></div></figure>\n");
}

/* Calls of models above, what their tools did below, on the same axis. */
static void put_lanes(const struct page *p)
{
	struct buf *b = p->b;

	if (!p->s->n_acts)
		return;
	buf_add_lit(b, "<figure><figcaption>Models and tools"
		       "<span class=\"key\" style=\"--k:var(--a)\">calls of models</span>"
		       "<span class=\"key\" style=\"--k:var(--b)\">tool runs</span></figcaption>\n"
		       "<div class=\"frame lanes\">"
		       "<span class=\"y\" style=\"bottom:75%\">models</span>"
		       "<span class=\"y\" style=\"bottom:25%\">tools</span>");
	put_x_axis(p);
	buf_printf(b,
		   "<svg viewBox=\"0 0 %d 100\" preserveAspectRatio=\"none\" role=\"img\" "
		   "aria-label=\"models and tools over time\">"
		   "<path class=\"grid\" d=\"M0 0H1000M0 50H1000M0 100H1000\"/>",
		   SVG_WIDE);
	put_background(p);
	for (size_t i = 0; i < p->s->n_acts; i++) {
		const struct stats_act *a = &p->s->acts[i];
		char text[STATS_VALUE_LEN];
		double from = at_percent(p, a->begin_ns) * 10, to = at_percent(p, a->end_ns) * 10;

		buf_printf(b,
			   "<rect class=\"%s\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" "
			   "height=\"34\"><title>",
			   a->failed    ? "failed"
			   : a->is_tool ? "tool"
					: "call",
			   from, a->is_tool ? 58 : 8, MAX(to - from, 1.5));
		/* a title holds text only, no element */
		buf_add_str(b, a->is_tool ? "tool run, " : "call, ");
		buf_add_str(b, stats_text_value(text, UNIT_NS, a->end_ns - a->begin_ns));
		buf_add_lit(b, "</title></rect>");
	}
	buf_add_lit(b, "</svg></div><div class=\"foot\"></div></figure>\n");
}

static void put_phase_keys(const struct page *p)
{
	static const char *const colours[] = {
		[PHASE_STARTUP] = "start",
		[PHASE_STEADY] = "line",
		[PHASE_BURST] = "burst",
		[PHASE_IDLE] = "idle",
	};
	bool told[ARRAY_SIZE(colours)] = {false};

	if (p->n_phases < 2)
		return;
	buf_add_lit(p->b, "<figure><figcaption>Phases");
	for (size_t i = 0; i < p->n_phases; i++) {
		enum phase_kind kind = p->phases[i].kind;

		if (!told[kind])
			buf_printf(p->b, "<span class=\"key\" style=\"--k:var(--%s)\">%s</span>",
				   colours[kind], phase_name(kind));
		told[kind] = true;
	}
	buf_add_lit(p->b, "</figcaption></figure>\n");
}

/* ---- the data for the script: numbers, and names of our own ---- */

static void put_track(struct buf *b, const struct series *x, const struct curve *c)
{
	buf_printf(b, "\"%s\":[", c->name);
	for (size_t i = 0; i < x->n; i++) {
		double v = series_mean(x, i, c->track);

		if (i)
			buf_add_char(b, ',');
		if (v < 0)
			buf_add_lit(b, "null");
		else
			buf_printf(b, v < 1000 ? "%.4g" : "%.0f", v);
	}
	buf_add_char(b, ']');
}

void charts_put_data(const struct page *p)
{
	const struct series *x = &p->s->series;
	struct buf *b = p->b;
	size_t n = 0;

	buf_printf(b,
		   "<script type=\"application/json\" "
		   "id=\"data\">{\"n\":%zu,\"width_s\":%.9g,\"phases\":[",
		   x->n, (double)x->width_ns / NSEC_PER_SEC);
	for (size_t i = 0; p->n_phases > 1 && i < p->n_phases; i++)
		buf_printf(b, "%s[\"%s\",%.2f,%.2f]", i ? "," : "", phase_name(p->phases[i].kind),
			   at_percent(p, p->phases[i].begin_ns) * (double)x->n / 100,
			   at_percent(p, p->phases[i].end_ns) * (double)x->n / 100);
	buf_add_lit(b, "],\"tracks\":{");
	for (size_t i = 0; i < ARRAY_SIZE(charts); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(charts[i].curves); j++) {
			if (!has_curve(x, &charts[i].curves[j]))
				continue;
			if (n++)
				buf_add_char(b, ',');
			put_track(b, x, &charts[i].curves[j]);
		}
	}
	buf_add_lit(b, "}}</script>\n");
}

void charts_put(const struct page *p)
{
	const struct series *x = &p->s->series;

	if (!x->n)
		return;
	put_phase_keys(p);
	for (size_t i = 0; i < ARRAY_SIZE(charts); i++) {
		if (has_curve(x, &charts[i].curves[0]) || has_curve(x, &charts[i].curves[1]))
			put_chart(p, &charts[i]);
	}
	put_lanes(p);
}
