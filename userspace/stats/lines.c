/* SPDX-License-Identifier: MIT */
#include "stats/lines.h"

#include <errno.h>
#include <string.h>

#include <agentsight/events.h>

#include "base/clock.h"

struct counter_row {
	enum stats_counter counter;
	enum scan_member member;
};

static void read_counters(const struct scan *m, const struct counter_row *rows, size_t n,
			  uint64_t counters[COUNTERS], uint32_t *known)
{
	for (size_t i = 0; i < n; i++) {
		if (!scan_number(m, rows[i].member))
			continue;
		counters[rows[i].counter] = scan_u64(m, rows[i].member);
		*known |= 1U << rows[i].counter;
	}
}

static void read_gauge(const struct scan *m, struct stats_sample *x, enum stats_gauge g,
		       enum scan_member member)
{
	if (!scan_number(m, member))
		return;
	x->gauges[g] = scan_u64(m, member);
	x->gauges_known |= 1U << g;
}

/* Percentages are numbers, and strings in older types. None is below zero. */
static void read_percent(const struct scan *m, struct stats_sample *x, enum scan_member member)
{
	int64_t centi = scan_centi(m, member);

	if (!scan_has(m, member))
		return;
	x->gauges[GAUGE_CPU] = centi > 0 ? (uint64_t)centi : 0;
	x->gauges_known |= 1U << GAUGE_CPU;
}

/* What a string says; most have no escapes, and stay where they are, others come into @b. */
static struct value plain(const struct scan *m, enum scan_member member, struct buf *b)
{
	struct value raw = scan_raw(m, member);

	if (!raw.len || !memchr(raw.p, '\\', raw.len) || !value_whole(m->members[member]))
		return raw;
	buf_reset(b);
	value_text(m->members[member], b);
	return (struct value){buf_cstr(b), b->len};
}

/* ---- events of agentsight ---- */

static const struct counter_row sample_counters[] = {
	{COUNTER_CPU, SCAN_CPU_TOTAL},
	{COUNTER_USER, SCAN_CPU_USER},
	{COUNTER_SYSTEM, SCAN_CPU_SYSTEM},
	{COUNTER_WAIT, SCAN_CPU_WAIT},
	{COUNTER_READ, SCAN_READ_BYTES},
	{COUNTER_WRITE, SCAN_WRITE_BYTES},
	{COUNTER_RCHAR, SCAN_RCHAR},
	{COUNTER_WCHAR, SCAN_WCHAR},
	{COUNTER_SYSCR, SCAN_SYSCR},
	{COUNTER_SYSCW, SCAN_SYSCW},
	{COUNTER_MINOR, SCAN_MINOR},
	{COUNTER_MAJOR, SCAN_MAJOR},
	{COUNTER_VOLUNTARY, SCAN_VOLUNTARY},
	{COUNTER_INVOLUNTARY, SCAN_INVOLUNTARY},
	{COUNTER_RX, SCAN_RX},
	{COUNTER_TX, SCAN_TX},
};

static void read_identity(const struct scan *m, uint32_t *pid, uint64_t *start)
{
	*pid = (uint32_t)scan_u64(m, SCAN_PID);
	*start = 0;
	scan_exec_id(m, pid, start);
}

static void begin_sample(struct lines *l, const struct scan *m, enum stats_scope scope,
			 struct stats_sample *x)
{
	struct value comm = plain(m, SCAN_COMM, &l->text);

	*x = (struct stats_sample){
		.scope = scope,
		.comm = comm.p,
		.comm_len = comm.len,
		.unix_ns = scan_u64(m, SCAN_TIMESTAMP),
		.interval_ns = scan_u64(m, SCAN_INTERVAL),
	};
	read_identity(m, &x->pid, &x->start);
	read_percent(m, x, SCAN_CPU_PERCENT);
	read_gauge(m, x, GAUGE_RSS, SCAN_RSS);
	if (scan_number(m, SCAN_CORES))
		l->stats->cores = (uint32_t)scan_u64(m, SCAN_CORES);
}

/* What processes and trees have in common. */
static void read_use(const struct scan *m, struct stats_sample *x)
{
	read_gauge(m, x, GAUGE_PSS, SCAN_PSS);
	read_gauge(m, x, GAUGE_USS, SCAN_USS);
	read_gauge(m, x, GAUGE_SWAP, SCAN_SWAP);
	read_counters(m, sample_counters, ARRAY_SIZE(sample_counters), x->counters,
		      &x->counters_known);
	/* a row with all details leaves it out when it is zero, another when it is not known */
	if (x->counters_known & 1U << COUNTER_CPU)
		x->gauges_known |= 1U << GAUGE_SWAP;
}

static int on_process(struct lines *l, const struct scan *m)
{
	struct stats_sample x;

	begin_sample(l, m, STATS_PROCESS, &x);
	read_use(m, &x);
	read_gauge(m, &x, GAUGE_THREADS, SCAN_PROCESS_THREADS);
	read_gauge(m, &x, GAUGE_FDS, SCAN_FDS);
	x.peak_rss_kb = scan_u64(m, SCAN_PEAK);
	return stats_sample(l->stats, &x);
}

static int on_tree(struct lines *l, const struct scan *m)
{
	struct stats_sample x;

	begin_sample(l, m, STATS_TREE, &x);
	read_use(m, &x);
	read_gauge(m, &x, GAUGE_THREADS, SCAN_THREADS);
	read_gauge(m, &x, GAUGE_PROCESSES, SCAN_PROCESSES);
	l->stats->elapsed_ns = MAX(l->stats->elapsed_ns, scan_u64(m, SCAN_ELAPSED));
	return stats_sample(l->stats, &x);
}

static int on_machine(struct lines *l, const struct scan *m)
{
	struct stats_sample x;

	begin_sample(l, m, STATS_MACHINE, &x);
	read_gauge(m, &x, GAUGE_RSS, SCAN_USED);
	return stats_sample(l->stats, &x);
}

static int on_exit_event(struct lines *l, const struct scan *m)
{
	static const struct counter_row rows[] = {
		{COUNTER_USER, SCAN_EXIT_USER},   {COUNTER_SYSTEM, SCAN_EXIT_SYSTEM},
		{COUNTER_READ, SCAN_EXIT_READ},   {COUNTER_WRITE, SCAN_EXIT_WRITE},
		{COUNTER_RCHAR, SCAN_EXIT_RCHAR}, {COUNTER_WCHAR, SCAN_EXIT_WCHAR},
	};
	struct value comm = plain(m, SCAN_COMM, &l->text);
	struct stats_exit x = {
		.comm = comm.p,
		.comm_len = comm.len,
		.unix_ns = scan_u64(m, SCAN_TIMESTAMP),
		.duration_ns = scan_u64(m, SCAN_DURATION),
		.peak_rss_kb = scan_u64(m, SCAN_MAX_RSS),
		.exit_code = (uint32_t)scan_u64(m, SCAN_EXIT_CODE),
		.signal = (uint32_t)scan_u64(m, SCAN_SIGNAL),
	};

	read_identity(m, &x.pid, &x.start);
	read_counters(m, rows, ARRAY_SIZE(rows), x.counters, &x.counters_known);
	x.counters[COUNTER_CPU] = x.counters[COUNTER_USER] + x.counters[COUNTER_SYSTEM];
	x.counters_known |= 1U << COUNTER_CPU;
	return stats_exit(l->stats, &x);
}

/* The items of an array of strings, joined by spaces. */
static void join(struct value array, struct buf *out)
{
	struct value_walk w = value_walk(array);

	buf_reset(out);
	while (value_next(&w) && out->len < STATS_COMMAND_LEN) {
		if (out->len)
			buf_add_char(out, ' ');
		value_text(w.item, out);
	}
}

static void tell_command(struct lines *l, uint32_t pid, uint64_t start, struct value argv)
{
	join(argv, &l->text);
	if (l->text.len)
		stats_command(l->stats, pid, start, buf_cstr(&l->text), l->text.len);
}

static int on_exec(struct lines *l, const struct scan *m)
{
	uint32_t pid;
	uint64_t start;

	read_identity(m, &pid, &start);
	/* where there is no `start` it tells when that began which the clock is compared with */
	stats_span(l->stats, scan_u64(m, SCAN_TIMESTAMP), 0);
	if (scan_number(m, SCAN_STARTED))
		stats_started(l->stats, pid, start, scan_u64(m, SCAN_STARTED));
	if (scan_has(m, SCAN_ARGV))
		tell_command(l, pid, start, m->members[SCAN_ARGV]);
	return 0;
}

static int on_threshold(struct lines *l, const struct scan *m)
{
	struct value rule = plain(m, SCAN_RULE, &l->text), metric = scan_raw(m, SCAN_METRIC);
	struct value unit = scan_raw(m, SCAN_UNIT), path = plain(m, SCAN_PATH, &l->path);
	struct stats_alert_event x = {
		.pid = (uint32_t)scan_u64(m, SCAN_PID),
		.rule = rule.p,
		.rule_len = rule.len,
		.metric = metric.p,
		.metric_len = metric.len,
		.unit = unit.p,
		.unit_len = unit.len,
		.path = path.p,
		.path_len = path.len,
		.ended = scan_is(m, SCAN_STATE, "end"),
		.unix_ns = scan_u64(m, SCAN_TIMESTAMP),
		.value = scan_centi(m, SCAN_VALUE),
		.limit = scan_centi(m, SCAN_LIMIT),
		.min = scan_centi(m, SCAN_MIN),
		.avg = scan_centi(m, SCAN_AVG),
		.max = scan_centi(m, SCAN_MAX),
		.duration_ns = scan_u64(m, SCAN_DURATION),
	};

	stats_alert(l->stats, &x);
	return 0;
}

static int on_response(struct lines *l, const struct scan *m)
{
	struct value model = plain(m, SCAN_MODEL, &l->text), provider = scan_raw(m, SCAN_PROVIDER);
	struct stats_call x = {
		.model = model.p,
		.model_len = model.len,
		.provider = provider.p,
		.provider_len = provider.len,
		.unix_ns = scan_u64(m, SCAN_TIMESTAMP),
		.duration_ns = scan_u64(m, SCAN_DURATION),
		.input_tokens = scan_u64(m, SCAN_TOKENS_IN),
		.output_tokens = scan_u64(m, SCAN_TOKENS_OUT),
		.cache_read_tokens = scan_u64(m, SCAN_TOKENS_READ),
		.cache_write_tokens = scan_u64(m, SCAN_TOKENS_WRITTEN),
		.reasoning_tokens = scan_u64(m, SCAN_TOKENS_REASONING),
		.cost_nano_usd = scan_u64(m, SCAN_COST),
		.tool_calls = scan_u64(m, SCAN_TOOL_CALLS),
		.status = (uint32_t)scan_u64(m, SCAN_STATUS),
		.failed = scan_raw(m, SCAN_ERROR).len || scan_u64(m, SCAN_STATUS) >= 400,
	};

	/* where the server is recorded, too, its side is the same call once more */
	if (!scan_is(m, SCAN_ROLE, "server"))
		stats_call(l->stats, &x);
	return 0;
}

static int on_tool_run(struct lines *l, const struct scan *m)
{
	struct value name = plain(m, SCAN_NAME, &l->text);
	struct stats_tool x = {
		.name = name.p,
		.name_len = name.len,
		.unix_ns = scan_u64(m, SCAN_TIMESTAMP),
		.duration_ns = scan_u64(m, SCAN_DURATION),
		.processes = scan_u64(m, SCAN_PROCESSES),
		.files = scan_u64(m, SCAN_FILE_COUNT),
		.failed = scan_u64(m, SCAN_EXIT_CODE) || scan_u64(m, SCAN_SIGNAL) ||
			  (scan_has(m, SCAN_IS_ERROR) && value_true(m->members[SCAN_IS_ERROR])),
	};

	if (!scan_is(m, SCAN_STATE, "start"))
		stats_tool(l->stats, &x);
	return 0;
}

static int on_oom_kill(struct lines *l, const struct scan *m)
{
	l->stats->oom_kills++;
	return 0;
}

static int on_loss(struct lines *l, const struct scan *m)
{
	if (!scan_is(m, SCAN_REASON, AS_LOSS_LIMIT))
		stats_lost(l->stats, scan_u64(m, SCAN_COUNT));
	return 0;
}

static int on_start(struct lines *l, const struct scan *m)
{
	stats_recording_begin(l->stats, scan_u64(m, SCAN_TIMESTAMP));
	return 0;
}

static int on_stop(struct lines *l, const struct scan *m)
{
	stats_recording_stop(l->stats, scan_u64(m, SCAN_LOST));
	return 0;
}

/* ---- records of denet ---- */

static const struct counter_row denet_counters[] = {
	{COUNTER_READ, SCAN_DISK_READ},      {COUNTER_WRITE, SCAN_DISK_WRITE},
	{COUNTER_RCHAR, SCAN_SYSCALL_READ},  {COUNTER_WCHAR, SCAN_SYSCALL_WRITE},
	{COUNTER_MINOR, SCAN_FAULTS_CACHED}, {COUNTER_MAJOR, SCAN_FAULTS_DISK},
	{COUNTER_RX, SCAN_NET_RX},           {COUNTER_TX, SCAN_NET_TX},
	{COUNTER_RX, SCAN_TCP_RX},           {COUNTER_TX, SCAN_TCP_TX},
};

static int denet_sample(struct lines *l, const struct scan *m, enum stats_scope scope, uint32_t pid,
			struct value comm, uint64_t unix_ns, uint64_t interval_ns)
{
	struct stats_sample x = {
		.scope = scope,
		.pid = pid,
		.comm = comm.p,
		.comm_len = comm.len,
		.unix_ns = unix_ns,
		.interval_ns = interval_ns,
		.counters_relative = true,
	};

	read_percent(m, &x, SCAN_CPU_USAGE);
	read_gauge(m, &x, GAUGE_RSS, SCAN_MEM_RSS);
	read_gauge(m, &x, GAUGE_THREADS, SCAN_THREAD_COUNT);
	if (scope == STATS_TREE) {
		x.gauges[GAUGE_PROCESSES] = 1;
		x.gauges_known |= 1U << GAUGE_PROCESSES;
		read_gauge(m, &x, GAUGE_PROCESSES, SCAN_PROCESS_COUNT);
	}
	read_counters(m, denet_counters, ARRAY_SIZE(denet_counters), x.counters, &x.counters_known);
	return stats_sample(l->stats, &x);
}

static struct value own_comm(const struct lines *l)
{
	return (struct value){l->comm, strlen(l->comm)};
}

static void denet_metadata(struct lines *l, const struct scan *m)
{
	struct value exe = plain(m, SCAN_EXECUTABLE, &l->text);
	const char *slash = exe.len ? memrchr(exe.p, '/', exe.len) : NULL;
	size_t n;

	if (slash)
		exe = (struct value){slash + 1, exe.len - (size_t)(slash + 1 - exe.p)};
	n = MIN(exe.len, sizeof(l->comm) - 1);
	memcpy(l->comm, exe.p, n);
	l->comm[n] = '\0';
	l->pid = (uint32_t)scan_u64(m, SCAN_PID);
	if (scan_has(m, SCAN_CMD))
		tell_command(l, l->pid, 0, m->members[SCAN_CMD]);
}

static int denet_children(struct lines *l, struct value children, uint64_t unix_ns,
			  uint64_t interval_ns)
{
	struct value_walk w = value_walk(children);
	int failed = 0;

	while (value_next(&w)) {
		struct scan child;
		int r = 0;

		if (scan_metrics(w.item, true, &child))
			r = denet_sample(
				l, &child, STATS_PROCESS, (uint32_t)scan_u64(&child, SCAN_PID),
				plain(&child, SCAN_COMMAND, &l->text), unix_ns, interval_ns);
		failed = MIN(failed, r);
	}
	return failed;
}

/* denet has no CPU time: the percentage over the interval gives it. */
static int denet_whole(struct lines *l, const struct scan *m, uint64_t unix_ns,
		       uint64_t interval_ns)
{
	return denet_sample(l, m, STATS_TREE, l->pid, own_comm(l), unix_ns, interval_ns);
}

/* The time of a row is beside its metrics or inside the first of them. */
static uint64_t denet_ms(const struct scan *m)
{
	static const enum scan_member objects[] = {SCAN_AGGREGATED, SCAN_PARENT};

	if (scan_has(m, SCAN_TS_MS))
		return scan_u64(m, SCAN_TS_MS);
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
		struct scan inner;

		if (scan_has(m, objects[i]) &&
		    scan_metrics(m->members[objects[i]], false, &inner) &&
		    scan_has(&inner, SCAN_TS_MS))
			return scan_u64(&inner, SCAN_TS_MS);
	}
	return 0;
}

static int denet_row(struct lines *l, const struct scan *m)
{
	uint64_t ms = denet_ms(m), unix_ns, interval_ns;
	struct scan inner;
	int r = 0, r2;

	if (!ms || ms > UINT64_MAX / 4 / NSEC_PER_MSEC)
		return 0;
	unix_ns = ms * NSEC_PER_MSEC;
	interval_ns = l->last_ms && ms > l->last_ms ? (ms - l->last_ms) * NSEC_PER_MSEC : 0;
	l->last_ms = MAX(ms, l->last_ms);

	if (scan_has(m, SCAN_PARENT) && scan_metrics(m->members[SCAN_PARENT], false, &inner))
		r = denet_sample(l, &inner, STATS_PROCESS, l->pid, own_comm(l), unix_ns,
				 interval_ns);
	if (scan_has(m, SCAN_CHILDREN)) {
		r2 = denet_children(l, m->members[SCAN_CHILDREN], unix_ns, interval_ns);
		r = MIN(r, r2);
	}
	if (scan_has(m, SCAN_AGGREGATED) &&
	    scan_metrics(m->members[SCAN_AGGREGATED], false, &inner))
		r2 = denet_whole(l, &inner, unix_ns, interval_ns);
	else if (scan_number(m, SCAN_CPU_USAGE) && !scan_is(m, SCAN_KIND, "aggregated"))
		r2 = denet_sample(l, m, STATS_PROCESS, l->pid, own_comm(l), unix_ns, interval_ns);
	else if (scan_number(m, SCAN_CPU_USAGE))
		r2 = denet_whole(l, m, unix_ns, interval_ns);
	else
		r2 = 0;
	return MIN(r, r2);
}

static int on_denet(struct lines *l, const struct scan *m)
{
	if (scan_is(m, SCAN_KIND, "metadata") ||
	    (scan_has(m, SCAN_T0_MS) && scan_has(m, SCAN_CMD))) {
		denet_metadata(l, m);
		return 0;
	}
	if (scan_is(m, SCAN_KIND, "env") || scan_is(m, SCAN_KIND, "child") ||
	    scan_is(m, SCAN_KIND, "exit"))
		return 0;
	return denet_row(l, m);
}

/* ---- lines ---- */

int lines_add(struct lines *l, const char *p, size_t n)
{
	static int (*const on[])(struct lines *, const struct scan *) = {
		[SCAN_EV_PROCESS] = on_process,
		[SCAN_EV_TREE] = on_tree,
		[SCAN_EV_MACHINE] = on_machine,
		[SCAN_EV_EXIT] = on_exit_event,
		[SCAN_EV_EXEC] = on_exec,
		[SCAN_EV_INFO] = on_exec,
		[SCAN_EV_OOM_KILL] = on_oom_kill,
		[SCAN_EV_THRESHOLD] = on_threshold,
		[SCAN_EV_RESPONSE] = on_response,
		[SCAN_EV_TOOL_RUN] = on_tool_run,
		[SCAN_EV_LOSS] = on_loss,
		[SCAN_EV_START] = on_start,
		[SCAN_EV_STOP] = on_stop,
		[SCAN_EV_DENET] = on_denet,
		[SCAN_EV_BAD] = NULL,
	};
	struct scan m;
	enum scan_event event = scan_line(p, n, &m);
	int r = on[event] ? on[event](l, &m) : 0;

	return r < 0 ? r : (int)event;
}

uint64_t lines_time(const char *p, size_t n)
{
	struct scan m;

	scan_line(p, n, &m);
	if (scan_number(&m, SCAN_TIMESTAMP))
		return scan_u64(&m, SCAN_TIMESTAMP);
	return denet_ms(&m) * NSEC_PER_MSEC;
}
