/* SPDX-License-Identifier: MIT */
#include "stats/html.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/utf8.h"
#include "stats/chart.h"
#include "stats/text.h"

#define LISTED 100
#define ACTS   200

/* ---- text that anybody may have chosen ---- */

/* Of a character of three bytes. */
static unsigned code_point(const char *p)
{
	const unsigned char *c = (const unsigned char *)p;

	return (c[0] & 15U) << 12 | (c[1] & 63U) << 6 | (c[2] & 63U);
}

/* What cannot be seen, or turns the text around it: it is written out. */
static bool turns_direction(const char *p, size_t len)
{
	unsigned c = len == 3 ? code_point(p) : 0;

	return (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2060 && c <= 0x206f) || c == 0xfeff;
}

static void add_character(struct buf *b, const char *p, size_t len)
{
	static const char *const entities[256] = {
		['&'] = "&amp;", ['<'] = "&lt;", ['>'] = "&gt;", ['"'] = "&quot;", ['\''] = "&#39;",
	};
	unsigned char c = (unsigned char)*p;

	if (turns_direction(p, len))
		buf_printf(b, "\\u%04x", code_point(p));
	else if (len > 1)
		buf_add(b, p, len);
	else if (entities[c])
		buf_add_str(b, entities[c]);
	else if (c < 0x20 || c == 0x7f)
		buf_printf(b, "\\x%02x", c);
	else
		buf_add_char(b, *p);
}

/* In an element of its own, so that it cannot turn the direction of what stands around it. */
static void add_text(struct buf *b, const char *p, size_t n)
{
	buf_add_lit(b, "<bdi>");
	while (n) {
		size_t len = utf8_sequence((const uint8_t *)p, n);
		size_t bad = len ? 0 : utf8_bad_subpart((const uint8_t *)p, n);

		if (bad)
			buf_add_lit(b, "\xef\xbf\xbd");
		else
			add_character(b, p, len);
		p += len + bad;
		n -= len + bad;
	}
	buf_add_lit(b, "</bdi>");
}

static void add_value(struct buf *b, enum stats_unit unit, uint64_t value)
{
	char text[STATS_VALUE_LEN];

	buf_add_str(b, stats_text_value(text, unit, value));
}

static void add_time(struct buf *b, uint64_t unix_ns)
{
	time_t t = (time_t)(unix_ns / NSEC_PER_SEC);
	char text[64];
	struct tm tm;

	if (gmtime_r(&t, &tm) && strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &tm))
		buf_add_str(b, text);
}

/* ---- the page around ---- */

static const char style[] =
	":root{color-scheme:light dark;--bg:#fff;--fg:#1c2024;--dim:#687076;--line:#e3e6e8;"
	"--card:#f7f8f9;--a:#2f6bb3;--b:#c0702a;--bad:#c4332b;--ok:#2c7a4b;--start:#2f6bb3;"
	"--burst:#d99a1c;--idle:#8a9299}"
	"@media(prefers-color-scheme:dark){:root{--bg:#131618;--fg:#e6e8ea;--dim:#98a1a8;"
	"--line:#2b3136;--card:#1b1f22;--a:#76a9e6;--b:#e2a065;--bad:#f0756c;--ok:#6cc08b;"
	"--start:#76a9e6;--burst:#e3b04b;--idle:#98a1a8}}"
	"*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--fg);"
	"font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}"
	"main{max-width:1080px;margin:0 auto;padding:20px 16px 48px}"
	"h1{font:600 19px/1.4 "
	"ui-monospace,Menlo,Consolas,monospace;margin:0;overflow-wrap:anywhere}"
	"h2{font-size:16px;margin:32px 0 8px}.sub{color:var(--dim);margin:4px 0 20px}"
	".bad{color:var(--bad)}.ok{color:var(--ok)}.dim{color:var(--dim)}"
	".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px}"
	".card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:10px "
	"12px}"
	".card b{display:block;font-size:19px;font-weight:600;font-variant-numeric:tabular-nums}"
	".card span{color:var(--dim);font-size:13px}"
	"figure{margin:26px 0 0}figcaption{font-weight:600;margin:0 0 "
	"12px;display:flex;flex-wrap:wrap;"
	"gap:2px 16px;align-items:baseline}"
	".key{font-weight:400;font-size:13px;color:var(--dim)}.key:before{content:'';display:"
	"inline-block;"
	"width:14px;height:3px;border-radius:2px;margin-right:6px;vertical-align:middle;background:"
	"var(--k)}"
	".frame{position:relative;margin-left:72px;height:150px;touch-action:pan-y}"
	".frame.lanes{height:64px}"
	".frame svg{position:absolute;inset:0;width:100%;height:100%;overflow:visible}"
	".y,.x{position:absolute;color:var(--dim);font-size:12px;line-height:1;white-space:nowrap;"
	"font-variant-numeric:tabular-nums}"
	".y{right:100%;margin-right:8px;transform:translateY(50%)}.x{top:100%;margin-top:7px;"
	"transform:translateX(-50%)}.x.first{transform:none}"
	".foot{height:22px}"
	".grid{stroke:var(--line);stroke-width:1;fill:none;vector-effect:non-scaling-stroke}"
	".l{fill:none;stroke-width:1.6;vector-effect:non-scaling-stroke;stroke-linejoin:round}"
	".f{stroke:none;opacity:.13}.l.a{stroke:var(--a)}.l.b{stroke:var(--b)}.f.a{fill:var(--a)}"
	".f.b{fill:none}.p{opacity:.1}.p.start-up{fill:var(--start)}.p.burst{fill:var(--burst)}"
	".p.idle{fill:var(--idle)}.p.steady{fill:none}"
	".al{stroke:var(--bad);stroke-width:1.2;stroke-dasharray:3 "
	"3;vector-effect:non-scaling-stroke}"
	".call{fill:var(--a)}.tool{fill:var(--b)}.failed{fill:var(--bad)}"
	".cur{position:absolute;top:0;bottom:0;width:1px;background:var(--dim);pointer-events:none}"
	".tip{position:absolute;top:4px;background:var(--bg);border:1px solid "
	"var(--line);border-radius:6px;"
	"padding:5px "
	"9px;font-size:12px;line-height:1.45;pointer-events:none;white-space:nowrap;z-index:2;"
	"font-variant-numeric:tabular-nums;box-shadow:0 2px 8px rgba(0,0,0,.12)}"
	".wide{overflow-x:auto;border:1px solid var(--line);border-radius:8px}"
	"table{border-collapse:collapse;width:100%;font-size:13.5px;font-variant-numeric:tabular-"
	"nums}"
	"th,td{padding:6px 12px;text-align:right;white-space:nowrap}"
	"th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:var(--bg);"
	"max-width:46vw;overflow:hidden;text-overflow:ellipsis}"
	"th{color:var(--dim);font-weight:500;border-bottom:1px solid var(--line)}"
	"tr+tr td{border-top:1px solid var(--line)}td.t{text-align:left}"
	"[hidden]{display:none}"
	"@media(max-width:520px){.frame{margin-left:62px;height:130px}main{padding:14px 12px 40px}"
	"th,td{padding:6px 9px}}";

/* Shows the values under the pointer; everything else works without it. */
static const char script[] =
	"'use strict';(()=>{"
	"const d=JSON.parse(document.getElementById('data').textContent);"
	"const bytes=v=>{const u=['B','KiB','MiB','GiB','TiB'];let i=0;"
	"while(v>=1024&&i<u.length-1){v/=1024;i++}return v.toFixed(i?1:0)+' '+u[i]};"
	"const units={percent:v=>v.toFixed(1)+' %',kb:v=>bytes(v*1024),rate:v=>bytes(v)+'/s',"
	"count:v=>v.toFixed(v%1?1:0)};"
	"const time=s=>s<120?s.toFixed(s<10?2:1)+' s':s<7200?Math.floor(s/60)+' min '"
	"+Math.floor(s%60)+' s':Math.floor(s/3600)+' h '+Math.floor(s%3600/60)+' min';"
	"const frames=[...document.querySelectorAll('.frame[data-tracks]')];"
	"const hide=()=>frames.forEach(f=>{f.querySelector('.cur').hidden=true;"
	"f.querySelector('.tip').hidden=true});"
	"const show=(at,own)=>frames.forEach(f=>{"
	"const i=Math.min(d.n-1,Math.max(0,Math.floor(at*d.n))),left=(i+.5)/d.n*100;"
	"const cur=f.querySelector('.cur'),tip=f.querySelector('.tip');"
	"cur.hidden=false;cur.style.left=left+'%';tip.hidden=f!==own;if(f!==own)return;"
	"tip.replaceChildren();const line=t=>{const "
	"e=document.createElement('div');e.textContent=t;"
	"tip.append(e)};line(time((i+.5)*d.width_s));"
	"for(const p of d.phases)if(i>=p[1]&&i<p[2])line(p[0]);"
	"f.dataset.tracks.split(',').forEach(t=>{const[name,label,unit]=t.split(':');"
	"const v=d.tracks[name][i];line(label+': '+(v===null?'-':units[unit](v)))});"
	"tip.style.left=left<50?`calc(${left}% + 10px)`:'';"
	"tip.style.right=left<50?'':`calc(${100-left}% + 10px)`});"
	"for(const f of frames){"
	"const move=e=>{const r=f.getBoundingClientRect();show((e.clientX-r.left)/r.width,f)};"
	"f.addEventListener('pointermove',move);f.addEventListener('pointerdown',move);"
	"f.addEventListener('pointerleave',hide)}})();";

static void put_head(struct page *p)
{
	const struct stats *s = p->s;
	struct buf *b = p->b;

	buf_add_lit(b, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
		       "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
		       "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none';"
		       "img-src data:;style-src 'unsafe-inline';script-src 'unsafe-inline'\">"
		       "<link rel=\"icon\" href=\"data:,\">"
		       "<title>agentsight report</title><style>");
	buf_add_str(b, style);
	buf_add_lit(b, "</style></head><body><main>\n<h1>");
	if (s->command[0])
		add_text(b, s->command, strlen(s->command));
	else
		buf_add_lit(b, "Recording");
	buf_add_lit(b, "</h1>\n<p class=\"sub\">");
	add_time(b, s->begin_ns);
}

static void put_end(struct buf *b, const struct stats_process *p)
{
	const char *name = p->signal ? sigabbrev_np((int)p->signal) : NULL;

	if (!p->exited)
		return;
	buf_printf(b, "<span class=\"%s\">", p->signal || p->exit_code ? "bad" : "ok");
	if (name)
		buf_printf(b, "SIG%s", name);
	else if (p->signal)
		buf_printf(b, "signal %u", p->signal);
	else
		buf_printf(b, "exit %u", p->exit_code);
	buf_add_lit(b, "</span>");
}

static void card(struct buf *b, const char *title)
{
	buf_printf(b, "<div class=\"card\"><span>%s</span><b>", title);
}

static void card_end(struct buf *b, const char *what, enum stats_unit unit, uint64_t value)
{
	buf_printf(b, "</b><span>%s ", what);
	add_value(b, unit, value);
	buf_add_lit(b, "</span></div>\n");
}

/* Memory is PSS where it is known: then shared pages count once. */
static const struct stats_value *memory_of(const struct stats *s, const char **ret_name)
{
	bool pss = s->tree.values[GAUGE_PSS].n;

	*ret_name = pss ? "Peak PSS" : "Peak RSS";
	return &s->tree.values[pss ? GAUGE_PSS : GAUGE_RSS];
}

static void put_cards(struct page *p)
{
	const struct stats *s = p->s;
	const uint64_t *total = s->tree.total;
	const struct stats_value *memory;
	const char *name;
	struct buf *b = p->b;

	memory = memory_of(s, &name);
	buf_add_lit(b, "<div class=\"cards\">\n");
	card(b, "Wall time");
	add_value(b, UNIT_NS, stats_wall_ns(s));
	card_end(b, "samples", UNIT_COUNT, s->samples);
	card(b, "CPU time");
	add_value(b, UNIT_NS, total[COUNTER_CPU]);
	card_end(b, "mean", UNIT_CENTI_PERCENT, stats_mean(&s->tree.values[GAUGE_CPU]));
	card(b, name);
	add_value(b, UNIT_KB, memory->max);
	card_end(b, "mean", UNIT_KB, stats_mean(memory));
	card(b, "Disk read");
	add_value(b, UNIT_BYTES, total[COUNTER_READ]);
	card_end(b, "written", UNIT_BYTES, total[COUNTER_WRITE]);
	if (s->tree.counters_known & (1U << COUNTER_RX | 1U << COUNTER_TX)) {
		card(b, "Received");
		add_value(b, UNIT_BYTES, total[COUNTER_RX]);
		card_end(b, "sent", UNIT_BYTES, total[COUNTER_TX]);
	}
	card(b, "Processes");
	add_value(b, UNIT_COUNT, s->processes_seen);
	card_end(b, "failed", UNIT_COUNT, s->failed);
	buf_add_lit(b, "</div>\n");
}

/* ---- tables ---- */

static void table_begin(struct buf *b, const char *title, const char *const *heads, size_t n)
{
	buf_printf(b, "<h2>%s</h2>\n<div class=\"wide\"><table><tr>", title);
	for (size_t i = 0; i < n; i++)
		buf_printf(b, "<th>%s</th>", heads[i]);
	buf_add_lit(b, "</tr>\n");
}

static void table_end(struct buf *b)
{
	buf_add_lit(b, "</table></div>\n");
}

static void td_text(struct buf *b, const char *text, size_t len)
{
	buf_add_lit(b, "<td>");
	add_text(b, text, len);
	buf_add_lit(b, "</td>");
}

static void row_begin(struct buf *b, const char *name, size_t len)
{
	buf_add_lit(b, "<tr>");
	td_text(b, name, len);
}

static void td(struct buf *b, enum stats_unit unit, uint64_t value)
{
	buf_add_str(b, value ? "<td>" : "<td class=\"dim\">");
	add_value(b, unit, value);
	buf_add_lit(b, "</td>");
}

static void td_mean(struct buf *b, enum stats_unit unit, double mean)
{
	if (mean < 0)
		buf_add_lit(b, "<td class=\"dim\">-</td>");
	else
		td(b, unit, series_whole(unit == UNIT_CENTI_PERCENT ? mean * 100 : mean));
}

static void put_phase_table(struct page *p)
{
	static const char *const heads[] = {"", "from", "for", "CPU", "RSS", "read", "written"};

	if (p->n_phases < 2)
		return;
	table_begin(p->b, "Phases", heads, ARRAY_SIZE(heads));
	for (size_t i = 0; i < p->n_phases; i++) {
		const struct phase *x = &p->phases[i];
		const char *name = phase_name(x->kind);

		row_begin(p->b, name, strlen(name));
		td(p->b, UNIT_NS, x->begin_ns - p->phases[0].begin_ns);
		td(p->b, UNIT_NS, x->end_ns - x->begin_ns);
		td_mean(p->b, UNIT_CENTI_PERCENT, x->mean[TRACK_CPU]);
		td_mean(p->b, UNIT_KB, x->mean[TRACK_RSS]);
		td_mean(p->b, UNIT_BYTES_PER_S, x->mean[TRACK_READ]);
		td_mean(p->b, UNIT_BYTES_PER_S, x->mean[TRACK_WRITE]);
		buf_add_lit(p->b, "</tr>\n");
	}
	table_end(p->b);
}

static void put_gauge_table(struct page *p)
{
	static const char *const heads[] = {"All processes", "mean", "median", "p95",
					    "p99",           "max",  "min",    "peak at"};

	if (!p->s->tree.samples)
		return;
	table_begin(p->b, "Statistics", heads, ARRAY_SIZE(heads));
	for (size_t g = 0; g < GAUGES; g++) {
		const struct stats_value *v = &p->s->tree.values[g];
		const struct stats_name *name = &stats_gauge_names[g];

		if (!v->n)
			continue;
		row_begin(p->b, name->title, strlen(name->title));
		td(p->b, name->unit, stats_mean(v));
		td(p->b, name->unit, stats_quantile(v, 500));
		td(p->b, name->unit, stats_quantile(v, 950));
		td(p->b, name->unit, stats_quantile(v, 990));
		td(p->b, name->unit, v->max);
		td(p->b, name->unit, v->min);
		td(p->b, UNIT_NS, v->max_at_ns - MIN(p->begin_ns, v->max_at_ns));
		buf_add_lit(p->b, "</tr>\n");
	}
	table_end(p->b);
}

static void put_alert_table(struct page *p)
{
	static const char *const heads[] = {"rule",  "pid, cgroup", "from", "for",
					    "limit", "peak",        "mean"};

	if (!p->s->n_alerts)
		return;
	table_begin(p->b, "Alerts", heads, ARRAY_SIZE(heads));
	for (size_t i = 0; i < p->s->n_alerts && i < LISTED; i++) {
		const struct stats_alert *a = &p->s->alerts[i];

		row_begin(p->b, a->rule, strlen(a->rule));
		if (a->path[0])
			td_text(p->b, a->path, strlen(a->path));
		else
			td(p->b, UNIT_COUNT, a->pid);
		td(p->b, UNIT_NS, a->begin_ns - MIN(p->begin_ns, a->begin_ns));
		if (a->ended)
			td(p->b, UNIT_NS, a->end_ns - a->begin_ns);
		else
			buf_add_lit(p->b, "<td class=\"bad\">not over</td>");
		buf_printf(p->b, "<td>%.10g</td><td>%.10g</td>", (double)a->limit / 100,
			   (double)a->max / 100);
		if (a->ended)
			buf_printf(p->b, "<td>%.10g</td></tr>\n", (double)a->avg / 100);
		else
			buf_add_lit(p->b, "<td class=\"dim\">-</td></tr>\n");
	}
	table_end(p->b);
}

static void put_model_table(struct page *p)
{
	static const char *const heads[] = {"model",         "calls",      "failed", "input tokens",
					    "output tokens", "from cache", "cost",   "time"};

	if (!p->s->n_models)
		return;
	table_begin(p->b, "Models", heads, ARRAY_SIZE(heads));
	for (size_t i = 0; i < p->s->n_models; i++) {
		const struct stats_model *m = &p->s->models[i];

		row_begin(p->b, m->name, strlen(m->name));
		td(p->b, UNIT_COUNT, m->calls);
		td(p->b, UNIT_COUNT, m->failed);
		td(p->b, UNIT_COUNT, m->input_tokens);
		td(p->b, UNIT_COUNT, m->output_tokens);
		td(p->b, UNIT_COUNT, m->cache_read_tokens);
		td(p->b, UNIT_NANO_USD, m->cost_nano_usd);
		td(p->b, UNIT_NS, m->duration_ns);
		buf_add_lit(p->b, "</tr>\n");
	}
	table_end(p->b);
}

static void put_tool_table(struct page *p)
{
	static const char *const heads[] = {"tool", "runs", "failed", "processes", "files", "time"};

	if (!p->s->n_tools)
		return;
	table_begin(p->b, "Tools", heads, ARRAY_SIZE(heads));
	for (size_t i = 0; i < p->s->n_tools; i++) {
		const struct stats_tool_sums *t = &p->s->tools[i];

		row_begin(p->b, t->name, strlen(t->name));
		td(p->b, UNIT_COUNT, t->runs);
		td(p->b, UNIT_COUNT, t->failed);
		td(p->b, UNIT_COUNT, t->processes);
		td(p->b, UNIT_COUNT, t->files);
		td(p->b, UNIT_NS, t->duration_ns);
		buf_add_lit(p->b, "</tr>\n");
	}
	table_end(p->b);
}

static void put_act_table(struct page *p)
{
	static const char *const heads[] = {"call",          "",    "from", "for", "input tokens",
					    "output tokens", "cost"};
	const struct stats *s = p->s;
	unsigned long long all;

	if (!s->n_acts)
		return;
	table_begin(p->b, "Calls in order", heads, ARRAY_SIZE(heads));
	for (size_t i = 0; i < s->n_acts && i < ACTS; i++) {
		const struct stats_act *a = &s->acts[i];
		const char *name = a->is_tool ? s->tools[a->which].name : s->models[a->which].name;

		row_begin(p->b, name, strlen(name));
		buf_printf(p->b, "<td class=\"%s\">%s</td>", a->failed ? "bad" : "dim",
			   a->failed    ? "failed"
			   : a->is_tool ? "tool"
					: "model");
		td(p->b, UNIT_NS, a->begin_ns - MIN(p->begin_ns, a->begin_ns));
		td(p->b, UNIT_NS, a->end_ns - a->begin_ns);
		if (a->is_tool) {
			buf_add_lit(p->b, "<td></td><td></td><td></td></tr>\n");
			continue;
		}
		td(p->b, UNIT_COUNT, a->input_tokens);
		td(p->b, UNIT_COUNT, a->output_tokens);
		td(p->b, UNIT_NANO_USD, a->cost_nano_usd);
		buf_add_lit(p->b, "</tr>\n");
	}
	table_end(p->b);
	all = s->calls.calls + s->tool_runs.runs;
	if (all > ACTS)
		buf_printf(p->b, "<p class=\"dim\">The first %d of %llu.</p>\n", ACTS, all);
}

static void put_group_table(struct page *p)
{
	static const char *const heads[] = {"program", "processes", "CPU time", "peak RSS", "read",
					    "written", "received",  "sent",     "failed"};
	const struct stats_group *list[LISTED];
	size_t n = stats_largest_groups(p->s, list, LISTED);

	if (!n)
		return;
	table_begin(p->b, "Programs", heads, ARRAY_SIZE(heads));
	for (size_t i = 0; i < n; i++) {
		const struct stats_group *g = list[i];

		row_begin(p->b, g->comm, g->comm_len);
		td(p->b, UNIT_COUNT, g->processes);
		td(p->b, UNIT_NS, g->total[COUNTER_CPU]);
		td(p->b, UNIT_KB, g->peak_rss_kb);
		td(p->b, UNIT_BYTES, g->total[COUNTER_READ]);
		td(p->b, UNIT_BYTES, g->total[COUNTER_WRITE]);
		td(p->b, UNIT_BYTES, g->total[COUNTER_RX]);
		td(p->b, UNIT_BYTES, g->total[COUNTER_TX]);
		td(p->b, UNIT_COUNT, g->failed);
		buf_add_lit(p->b, "</tr>\n");
	}
	table_end(p->b);
}

static void put_process_table(struct page *p)
{
	static const char *const heads[] = {"process", "pid",       "CPU time", "mean CPU",
					    "max CPU", "mean RSS",  "peak RSS", "read",
					    "written", "wall time", "end"};
	const struct stats_process *list[LISTED];
	size_t n = stats_largest(p->s, list, LISTED);

	if (!n)
		return;
	table_begin(p->b, "Processes", heads, ARRAY_SIZE(heads));
	for (size_t i = 0; i < n; i++) {
		const struct stats_process *x = list[i];

		row_begin(p->b, x->comm, x->comm_len);
		td(p->b, UNIT_COUNT, x->pid);
		td(p->b, UNIT_NS, x->total[COUNTER_CPU]);
		td(p->b, UNIT_CENTI_PERCENT, stats_mean(&x->values[GAUGE_CPU]));
		td(p->b, UNIT_CENTI_PERCENT, x->values[GAUGE_CPU].max);
		td(p->b, UNIT_KB, stats_mean(&x->values[GAUGE_RSS]));
		td(p->b, UNIT_KB, x->peak_rss_kb);
		td(p->b, UNIT_BYTES, x->total[COUNTER_READ]);
		td(p->b, UNIT_BYTES, x->total[COUNTER_WRITE]);
		td(p->b, UNIT_NS,
		   x->exited ? x->duration_ns : x->last_ns - MIN(x->first_ns, x->last_ns));
		buf_add_lit(p->b, "<td>");
		put_end(p->b, x);
		buf_add_lit(p->b, "</td></tr>\n");
	}
	table_end(p->b);
	if (p->s->processes_seen > n)
		buf_printf(p->b, "<p class=\"dim\">The %zu largest of %llu.</p>\n", n,
			   (unsigned long long)p->s->processes_seen);
}

static void put_script(struct page *p)
{
	charts_put_data(p);
	buf_add_lit(p->b, "<script>");
	buf_add_str(p->b, script);
	buf_add_lit(p->b, "</script>\n");
}

static void put_warnings(struct page *p)
{
	if (p->s->lost)
		buf_printf(p->b, "<p class=\"bad\">%llu events were lost while recording.</p>\n",
			   (unsigned long long)p->s->lost);
	if (p->s->tree_rows_refused)
		buf_printf(
			p->b,
			"<p class=\"bad\">%llu rows of trees were left out: more than %d trees at "
			"once.</p>\n",
			(unsigned long long)p->s->tree_rows_refused, STATS_ROOTS);
	if (p->s->oom_kills)
		buf_printf(p->b,
			   "<p class=\"bad\">%llu processes were killed for lack of memory.</p>\n",
			   (unsigned long long)p->s->oom_kills);
}

void stats_html(struct buf *b, const struct stats *s)
{
	const struct stats_process *main_process = stats_main_process(s);
	struct page p = {.b = b, .s = s};

	charts_find(&p);
	put_head(&p);
	if (main_process && main_process->exited) {
		buf_add_lit(b, " \xc2\xb7 ");
		put_end(b, main_process);
	}
	buf_add_lit(b, "</p>\n");
	put_warnings(&p);
	put_cards(&p);
	charts_put(&p);
	put_gauge_table(&p);
	put_phase_table(&p);
	put_alert_table(&p);
	put_model_table(&p);
	put_tool_table(&p);
	put_act_table(&p);
	put_group_table(&p);
	put_process_table(&p);
	if (s->series.n)
		put_script(&p);
	buf_add_lit(b, "</main></body></html>\n");
}
