/* SPDX-License-Identifier: MIT */
#include "stats/event.h"

#include <string.h>

#include "base/clock.h"
#include "event/record.h"

#define RECORD(S, name, ev) const struct S *name = (const struct S *)(ev)->rec

/* What the boot clock shows when an event happens is the same moment as its time. */
static void note_clock(struct stats *s, const struct event *ev)
{
	if (ev->rec->boot_ns)
		stats_started(s, 0, ev->rec->boot_ns, ev->unix_ns);
}

static void begin_sample(struct stats_sample *x, const struct event *ev, enum stats_scope scope)
{
	const struct as_hdr *h = ev->rec;

	*x = (struct stats_sample){
		.scope = scope,
		.pid = h->tgid,
		.start = h->start_ns,
		.comm = h->comm,
		.comm_len = strnlen(h->comm, sizeof(h->comm)),
		.unix_ns = ev->unix_ns,
	};
}

static void set_gauge(struct stats_sample *x, enum stats_gauge g, uint64_t value)
{
	x->gauges[g] = value;
	x->gauges_known |= 1U << g;
}

/* Zero is "not known" where a field is optional, and otherwise a value. */
static void set_optional(struct stats_sample *x, enum stats_gauge g, uint64_t value)
{
	if (value)
		set_gauge(x, g, value);
}

static void set_counter(struct stats_sample *x, enum stats_counter c, uint64_t value)
{
	x->counters[c] = value;
	x->counters_known |= 1U << c;
}

static void set_known(struct stats_sample *x, enum stats_counter c, uint64_t value)
{
	if (value != AS_UNKNOWN)
		set_counter(x, c, value);
}

/* The members that rows of processes and of trees have in common, under the same names. */
#define SET_COMMON(x, e)                                         \
	do {                                                     \
		(x)->interval_ns = (e)->interval_ns;             \
		set_gauge((x), GAUGE_CPU, (e)->cpu_centi);       \
		set_gauge((x), GAUGE_RSS, (e)->rss_kb);          \
		set_optional((x), GAUGE_PSS, (e)->pss_kb);       \
		set_optional((x), GAUGE_USS, (e)->uss_kb);       \
		set_gauge((x), GAUGE_THREADS, (e)->threads);     \
		set_known((x), COUNTER_READ, (e)->read_bytes);   \
		set_known((x), COUNTER_WRITE, (e)->write_bytes); \
	} while (0)

#define SET_OPTIONAL_COUNTER(x, c, value)               \
	do {                                            \
		if (value)                              \
			set_counter((x), (c), (value)); \
	} while (0)

#define SET_COUNTERS(x, e)                                                        \
	do {                                                                      \
		SET_OPTIONAL_COUNTER((x), COUNTER_CPU, (e)->cpu_ns);              \
		SET_OPTIONAL_COUNTER((x), COUNTER_USER, (e)->user_ns);            \
		SET_OPTIONAL_COUNTER((x), COUNTER_SYSTEM, (e)->system_ns);        \
		SET_OPTIONAL_COUNTER((x), COUNTER_WAIT, (e)->wait_ns);            \
		SET_OPTIONAL_COUNTER((x), COUNTER_RCHAR, (e)->rchar);             \
		SET_OPTIONAL_COUNTER((x), COUNTER_WCHAR, (e)->wchar);             \
		SET_OPTIONAL_COUNTER((x), COUNTER_SYSCR, (e)->syscr);             \
		SET_OPTIONAL_COUNTER((x), COUNTER_SYSCW, (e)->syscw);             \
		SET_OPTIONAL_COUNTER((x), COUNTER_MINOR, (e)->minor_faults);      \
		SET_OPTIONAL_COUNTER((x), COUNTER_MAJOR, (e)->major_faults);      \
		SET_OPTIONAL_COUNTER((x), COUNTER_VOLUNTARY, (e)->voluntary);     \
		SET_OPTIONAL_COUNTER((x), COUNTER_INVOLUNTARY, (e)->involuntary); \
		SET_OPTIONAL_COUNTER((x), COUNTER_RX, (e)->rx_bytes);             \
		SET_OPTIONAL_COUNTER((x), COUNTER_TX, (e)->tx_bytes);             \
	} while (0)

/* A row with all details leaves it out when it is zero, another when it is not known. */
static void set_swap(struct stats_sample *x, uint64_t kb)
{
	if (kb || x->counters_known & 1U << COUNTER_CPU)
		set_gauge(x, GAUGE_SWAP, kb);
}

static void on_process(struct stats *s, const struct event *ev)
{
	RECORD(as_system_metrics, e, ev);
	struct stats_sample x;

	begin_sample(&x, ev, STATS_PROCESS);
	SET_COMMON(&x, e);
	SET_COUNTERS(&x, e);
	set_swap(&x, e->swap_kb);
	set_optional(&x, GAUGE_FDS, e->fds);
	x.peak_rss_kb = e->peak_kb;
	s->cores = e->cores;
	stats_sample(s, &x);
}

static void on_tree(struct stats *s, const struct event *ev)
{
	RECORD(as_system_tree, e, ev);
	struct stats_sample x;

	begin_sample(&x, ev, STATS_TREE);
	SET_COMMON(&x, e);
	SET_COUNTERS(&x, e);
	set_counter(&x, COUNTER_CPU, e->cpu_ns);
	set_swap(&x, e->swap_kb);
	set_gauge(&x, GAUGE_PROCESSES, e->processes);
	s->cores = e->cores;
	s->elapsed_ns = MAX(s->elapsed_ns, e->elapsed_ns);
	stats_sample(s, &x);
}

static void on_machine(struct stats *s, const struct event *ev)
{
	RECORD(as_system_wide, e, ev);
	struct stats_sample x;

	begin_sample(&x, ev, STATS_MACHINE);
	x.interval_ns = e->interval_ns;
	set_gauge(&x, GAUGE_CPU, e->cpu_centi);
	set_gauge(&x, GAUGE_RSS, e->used_kb);
	s->cores = e->cores;
	stats_sample(s, &x);
}

static void on_exit_event(struct stats *s, const struct event *ev)
{
	RECORD(as_exit, e, ev);
	struct stats_exit x = {
		.pid = e->h.tgid,
		.start = e->h.start_ns,
		.comm = e->h.comm,
		.comm_len = strnlen(e->h.comm, sizeof(e->h.comm)),
		.unix_ns = ev->unix_ns,
		.duration_ns = e->duration_ns,
		.peak_rss_kb = e->max_rss_kb,
		.exit_code = e->exit_code,
		.signal = e->signal,
		.counters_known = 1U << COUNTER_CPU | 1U << COUNTER_USER | 1U << COUNTER_SYSTEM |
				  1U << COUNTER_READ | 1U << COUNTER_WRITE | 1U << COUNTER_RCHAR |
				  1U << COUNTER_WCHAR,
	};

	x.counters[COUNTER_CPU] = e->cpu_user_ns + e->cpu_system_ns;
	x.counters[COUNTER_USER] = e->cpu_user_ns;
	x.counters[COUNTER_SYSTEM] = e->cpu_system_ns;
	x.counters[COUNTER_READ] = e->read_bytes;
	x.counters[COUNTER_WRITE] = e->write_bytes;
	x.counters[COUNTER_RCHAR] = e->rchar;
	x.counters[COUNTER_WCHAR] = e->wchar;
	stats_exit(s, &x);
}

/* NUL-separated arguments, joined by spaces. */
static void command(struct stats *s, const struct as_hdr *h, const struct as_span *argv)
{
	char text[STATS_COMMAND_LEN];
	const char *p = record_bytes(h, argv);
	size_t n = MIN((size_t)argv->len, sizeof(text));

	while (n && !p[n - 1])
		n--;
	for (size_t i = 0; i < n; i++)
		text[i] = p[i] ? p[i] : ' ';
	if (n)
		stats_command(s, h->tgid, h->start_ns, text, n);
}

static void on_exec(struct stats *s, const struct event *ev)
{
	stats_span(s, ev->unix_ns, 0);
	command(s, ev->rec, &((const struct as_exec *)ev->rec)->argv);
}

static void on_info(struct stats *s, const struct event *ev)
{
	stats_span(s, ev->unix_ns, 0);
	command(s, ev->rec, &((const struct as_process_info *)ev->rec)->argv);
}

static void on_oom(struct stats *s, const struct event *ev)
{
	s->oom_kills++;
}

static void on_threshold(struct stats *s, const struct event *ev)
{
	RECORD(as_threshold, e, ev);
	struct stats_alert_event x = {
		.pid = e->h.tgid,
		.rule = record_bytes(&e->h, &e->rule),
		.rule_len = e->rule.len,
		.metric = record_bytes(&e->h, &e->metric),
		.metric_len = e->metric.len,
		.unit = record_bytes(&e->h, &e->unit),
		.unit_len = e->unit.len,
		.path = record_bytes(&e->h, &e->path),
		.path_len = e->path.len,
		.ended = e->ended,
		.unix_ns = ev->unix_ns,
		.value = e->value_centi,
		.limit = e->limit_centi,
		.min = e->min_centi,
		.avg = e->avg_centi,
		.max = e->max_centi,
		.duration_ns = e->duration_ns,
	};

	stats_alert(s, &x);
}

static void on_response(struct stats *s, const struct event *ev)
{
	RECORD(as_llm_response, e, ev);
	struct stats_call x = {
		.model = record_bytes(&e->h, &e->model),
		.model_len = e->model.len,
		.provider = record_bytes(&e->h, &e->provider),
		.provider_len = e->provider.len,
		.unix_ns = ev->unix_ns,
		.duration_ns = e->duration_ns,
		.input_tokens = e->input_tokens,
		.output_tokens = e->output_tokens,
		.cache_read_tokens = e->cache_read_tokens,
		.cache_write_tokens = e->cache_write_tokens,
		.reasoning_tokens = e->reasoning_tokens,
		.cost_nano_usd = e->cost_nano_usd,
		.tool_calls = e->n_tool_calls,
		.status = e->status,
		.failed = e->error.len || e->status >= 400,
	};

	/* where the server is recorded, too, its side is the same call once more */
	if (e->role != AS_ROLE_SERVER)
		stats_call(s, &x);
}

static void on_tool_run(struct stats *s, const struct event *ev)
{
	RECORD(as_tool_run, e, ev);
	struct stats_tool x = {
		.name = record_bytes(&e->h, &e->name),
		.name_len = e->name.len,
		.unix_ns = ev->unix_ns,
		.duration_ns = e->duration_ns,
		.processes = e->n_processes,
		.files = e->n_files,
		.failed = e->is_error || e->signal || e->exit_code > 0,
	};

	if (e->ended)
		stats_tool(s, &x);
}

static void on_loss(struct stats *s, const struct event *ev)
{
	RECORD(as_loss, e, ev);

	if (!record_is(ev->rec, &e->reason, AS_LOSS_LIMIT))
		stats_lost(s, e->count);
}

static void on_start(struct stats *s, const struct event *ev)
{
	stats_recording_begin(s, ev->unix_ns);
}

static void on_stop(struct stats *s, const struct event *ev)
{
	stats_recording_stop(s, ((const struct as_stats *)ev->rec)->lost);
}

void stats_event(struct stats *s, const struct event *ev)
{
	static void (*const on[AS_EV_COUNT])(struct stats *, const struct event *) = {
		[AS_EV_SYSTEM_METRICS] = on_process,
		[AS_EV_SYSTEM_TREE] = on_tree,
		[AS_EV_SYSTEM_WIDE] = on_machine,
		[AS_EV_EXIT] = on_exit_event,
		[AS_EV_EXEC] = on_exec,
		[AS_EV_PROCESS_INFO] = on_info,
		[AS_EV_OOM_KILL] = on_oom,
		[AS_EV_THRESHOLD] = on_threshold,
		[AS_EV_LLM_RESPONSE] = on_response,
		[AS_EV_TOOL_RUN] = on_tool_run,
		[AS_EV_LOSS] = on_loss,
		[AS_EV_STOP] = on_stop,
		[AS_EV_START] = on_start,
	};

	if (!on[ev->rec->type])
		return;
	note_clock(s, ev);
	on[ev->rec->type](s, ev);
}
