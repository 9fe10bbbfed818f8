/* SPDX-License-Identifier: MIT */
/*
 * Two tables, metrics and units, and a parser that goes from left to right once. Values are doubles in
 * the unit of the metric's kind; those kinds are chosen so that what people write and what records
 * hold are whole numbers in them, and comparisons with a limit exact.
 */
#include "stage/rule.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/utf8.h"

#define HOUR_NS    3600e9
#define DIGITS_MAX 15 /* a double holds them exactly */

/* ---- metrics ---- */

static bool oom_read(const struct as_hdr *rec, double *ret)
{
	*ret = 1;
	return true;
}

static bool quota_read(const struct as_hdr *rec, double *ret)
{
	const struct as_system_metrics *m = (const void *)rec;

	*ret = m->quota_centi;
	return m->limits & AS_LIMIT_CPU;
}

static bool limit_read(const struct as_hdr *rec, double *ret)
{
	const struct as_system_metrics *m = (const void *)rec;

	*ret = m->limit_centi;
	return m->limits & AS_LIMIT_MEMORY;
}

/* Where both ends are watched, an answer is seen twice: what counts is who asked. */
static const struct as_llm_response *answer(const struct as_hdr *rec)
{
	const struct as_llm_response *l = (const void *)rec;

	return l->role == AS_ROLE_SERVER ? NULL : l;
}

static bool llm_cost_read(const struct as_hdr *rec, double *ret)
{
	const struct as_llm_response *l = answer(rec);

	*ret = l ? l->cost_nano_usd : 0;
	return l && l->cost_known;
}

static bool llm_tokens_read(const struct as_hdr *rec, double *ret)
{
	const struct as_llm_response *l = answer(rec);

	*ret = l ? (double)l->input_tokens + (double)l->output_tokens : 0;
	return l && !l->usage_unknown;
}

static bool llm_error_read(const struct as_hdr *rec, double *ret)
{
	const struct as_llm_response *l = answer(rec);

	*ret = l && l->error.len > 0;
	return l;
}

static bool tool_error_read(const struct as_hdr *rec, double *ret)
{
	const struct as_tool_run *t = (const void *)rec;

	*ret = t->is_error || t->exit_code > 0 || t->signal;
	return t->ended;
}

static bool tool_duration_read(const struct as_hdr *rec, double *ret)
{
	const struct as_tool_run *t = (const void *)rec;

	*ret = t->duration_ns;
	return t->ended;
}

#define MEMBER(S, m)                                                         \
	.offset = offsetof(struct S, m), .size = sizeof(((struct S *)0)->m), \
	.is_signed = __builtin_types_compatible_p(__typeof__(((struct S *)0)->m), __s64)

#define ROW(n, ev, S, m, rd, k, sc, unknown, h)                                       \
	{                                                                             \
		.name = n, .event = AS_EV_##ev, MEMBER(S, m), .reading = RULE_##rd,   \
		.kind = RULE_##k, .scale = sc, .zero_is_unknown = unknown, .help = h, \
	}

#define PROCESS(n, m, rd, k, sc, unknown, h) \
	ROW(n, SYSTEM_METRICS, as_system_metrics, m, rd, k, sc, unknown, h)
/* Rates of I/O: see rule_jumped(). */
#define OWN_IO(n, m, h)                                                                   \
	{                                                                                 \
		.name = n, .event = AS_EV_SYSTEM_METRICS, MEMBER(as_system_metrics, m),   \
		.reading = RULE_RATE, .kind = RULE_SIZE_RATE, .scale = 1, .own_io = true, \
		.help = h,                                                                \
	}
#define TREE(n, m, rd, k, sc, unknown, h) \
	ROW(n, SYSTEM_TREE, as_system_tree, m, rd, k, sc, unknown, h)
#define BOTH(n, m, rd, k, sc, unknown, h) \
	PROCESS(n, m, rd, k, sc, unknown, h), TREE("tree." n, m, rd, k, sc, unknown, h)
#define MACHINE(n, m, k, sc, h) ROW(n, SYSTEM_WIDE, as_system_wide, m, LEVEL, k, sc, false, h)
#define PRESSURE(n, m, h)       ROW(n, CGROUP, as_cgroup, m, LEVEL, PERCENT, 1, false, h)
#define EXIT(n, m, k, h)        ROW(n, EXIT, as_exit, m, ONCE, k, 1, false, h)
#define READ(n, ev, rd, k, fn, h)                                                       \
	{                                                                               \
		.name = n, .event = AS_EV_##ev, .reading = RULE_##rd, .kind = RULE_##k, \
		.scale = 1, .read = fn, .help = h,                                      \
	}

/* Zero is a part of a limit, too. */
#define PART(n, m, fn, h)                                                                       \
	{                                                                                       \
		.name = n, .event = AS_EV_SYSTEM_METRICS, MEMBER(as_system_metrics, m),         \
		.reading = RULE_LEVEL, .kind = RULE_PERCENT, .scale = 1, .read = fn, .help = h, \
	}

#define KB 1024.0

static const struct rule_metric metrics[] = {
	BOTH("cpu", cpu_centi, LEVEL, PERCENT, 1, false, "CPU time, 100 is one core"),
	/* nanoseconds per hour to hundredths of a percent */
	BOTH("cpu.wait", wait_ns, RATE, PERCENT, 10000 / HOUR_NS, false,
	     "threads waited for a processor, 100 is one thread all the time"),
	PART("quota", quota_centi, quota_read, "CPU time, of the cgroup's quota"),
	BOTH("rss", rss_kb, LEVEL, SIZE, KB, false, "resident set"),
	BOTH("pss", pss_kb, LEVEL, SIZE, KB, true, "PSS, when it was looked at"),
	BOTH("uss", uss_kb, LEVEL, SIZE, KB, true, "USS, when it was looked at"),
	BOTH("swap", swap_kb, LEVEL, SIZE, KB, false, "swapped out"),
	BOTH("anon", anon_kb, LEVEL, SIZE, KB, true, "resident anonymous memory"),
	BOTH("vsz", vsz_kb, LEVEL, SIZE, KB, false, "address space"),
	PART("limit", limit_centi, limit_read, "resident set, of the cgroup's memory limit"),
	BOTH("rss.slope", slope_kb_min, LEVEL, SIZE_RATE, KB * 60, false,
	     "growth of the resident set"),
	BOTH("threads", threads, LEVEL, COUNT, 1, false, "threads"),
	PROCESS("children", children, LEVEL, COUNT, 1, false, "living descendants"),
	TREE("tree.processes", processes, LEVEL, COUNT, 1, false, "living processes"),
	PROCESS("fds", fds, LEVEL, COUNT, 1, true, "open descriptors"),
	OWN_IO("read", own_read_bytes, "fetched from storage"),
	TREE("tree.read", read_bytes, RATE, SIZE_RATE, 1, false, "fetched from storage"),
	OWN_IO("write", own_write_bytes, "sent to storage"),
	TREE("tree.write", write_bytes, RATE, SIZE_RATE, 1, false, "sent to storage"),
	OWN_IO("rchar", own_rchar, "returned by read calls"),
	TREE("tree.rchar", rchar, RATE, SIZE_RATE, 1, false, "returned by read calls"),
	OWN_IO("wchar", own_wchar, "passed to write calls"),
	TREE("tree.wchar", wchar, RATE, SIZE_RATE, 1, false, "passed to write calls"),
	BOTH("rx", rx_bytes, RATE, SIZE_RATE, 1, false, "received, TCP and UDP payload"),
	BOTH("tx", tx_bytes, RATE, SIZE_RATE, 1, false, "sent, TCP and UDP payload"),
	BOTH("faults.major", major_faults, RATE, COUNT_RATE, 1, false,
	     "page faults that read from storage"),
	EXIT("exit_code", exit_code, COUNT, "of a process that ended; 0 when a signal ended it"),
	EXIT("signal", signal, COUNT, "that ended a process, 0 if none"),
	EXIT("duration", duration_ns, TIME,
	     "of a process that ended, from its fork; of the command since it was let go"),
	READ("oom", OOM_KILL, ONCE, FLAG, oom_read, "the kernel killed a process to get memory"),
	MACHINE("system.cpu", cpu_centi, PERCENT, 1, "of all cores, 100 is one core"),
	MACHINE("system.memory", used_centi, PERCENT, 1, "memory in use, of the total"),
	MACHINE("system.used", used_kb, SIZE, KB, "memory in use"),
	MACHINE("system.load1", load1_centi, LOAD, 1, "load average over a minute"),
	PRESSURE("pressure.cpu", cpu_some_centi, "tasks waited for a processor (avg10)"),
	PRESSURE("pressure.memory", memory_some_centi, "tasks waited for memory (avg10)"),
	PRESSURE("pressure.memory.full", memory_full_centi, "all tasks waited for memory (avg10)"),
	PRESSURE("pressure.io", io_some_centi, "tasks waited for I/O (avg10)"),
	PRESSURE("pressure.io.full", io_full_centi, "all tasks waited for I/O (avg10)"),
	READ("llm.cost", LLM_RESPONSE, TOTAL, MONEY, llm_cost_read, "of all answers so far"),
	READ("llm.tokens", LLM_RESPONSE, TOTAL, COUNT, llm_tokens_read,
	     "input and output of all answers so far"),
	READ("llm.error", LLM_RESPONSE, ONCE, FLAG, llm_error_read, "a model gave no answer"),
	READ("tool.error", TOOL_RUN, ONCE, FLAG, tool_error_read, "a tool call failed"),
	READ("tool.duration", TOOL_RUN, ONCE, TIME, tool_duration_read, "of a tool call"),
};

const struct rule_metric *rule_metric_at(size_t i)
{
	return i < ARRAY_SIZE(metrics) ? &metrics[i] : NULL;
}

const struct rule_metric *rule_metric_find(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(metrics); i++) {
		if (strlen(metrics[i].name) == len && !memcmp(metrics[i].name, name, len))
			return &metrics[i];
	}
	return NULL;
}

/* ---- units; the first of a kind is that of a bare number ---- */

#define MB (KB * 1024)
#define GB (MB * 1024)
#define TB (GB * 1024)

#define RATE(text, label, time, n)                       \
	{                                                \
		text time, label time, RULE_SIZE_RATE, n \
	}
#define RATES(text, label, n)                                                 \
	RATE(text, label, "/s", (n)*3600), RATE(text, label, "/min", (n)*60), \
		RATE(text, label, "/h", n)

static const struct rule_unit units[] = {
	{"%", "percent", RULE_PERCENT, 100},
	{"MB", "MB", RULE_SIZE, MB},
	{"B", "B", RULE_SIZE, 1},
	{"KB", "KB", RULE_SIZE, KB},
	{"GB", "GB", RULE_SIZE, GB},
	{"TB", "TB", RULE_SIZE, TB},
	{"KiB", "KB", RULE_SIZE, KB},
	{"MiB", "MB", RULE_SIZE, MB},
	{"GiB", "GB", RULE_SIZE, GB},
	{"K", "KB", RULE_SIZE, KB},
	{"M", "MB", RULE_SIZE, MB},
	{"G", "GB", RULE_SIZE, GB},
	RATES("MB", "MB", MB),
	RATES("B", "B", 1),
	RATES("KB", "KB", KB),
	RATES("GB", "GB", GB),
	RATES("KiB", "KB", KB),
	RATES("MiB", "MB", MB),
	RATES("GiB", "GB", GB),
	{"", "", RULE_COUNT, 1},
	{"/s", "/s", RULE_COUNT_RATE, 3600},
	{"/min", "/min", RULE_COUNT_RATE, 60},
	{"/h", "/h", RULE_COUNT_RATE, 1},
	{"s", "s", RULE_TIME, NSEC_PER_SEC},
	{"ms", "ms", RULE_TIME, NSEC_PER_MSEC},
	{"m", "min", RULE_TIME, 60.0 * NSEC_PER_SEC},
	{"min", "min", RULE_TIME, 60.0 * NSEC_PER_SEC},
	{"h", "h", RULE_TIME, HOUR_NS},
	{"", "", RULE_LOAD, 100},
	{"USD", "USD", RULE_MONEY, 1e9},
	{"mUSD", "mUSD", RULE_MONEY, 1e6},
	{"", "", RULE_FLAG, 1},
};

/* What a number may be followed by, and whether it must be. */
static const struct {
	const char *expected;
	bool needed; /* 500 of what? */
} kinds[] = {
	[RULE_PERCENT] = {"a percentage: 80 or 80%", false},
	[RULE_SIZE] = {"a size in B, KB, MB, GB or TB, such as 500MB", true},
	[RULE_SIZE_RATE] = {"a size per time, such as 10MB/s, 10MB/min or 1GB/h", true},
	[RULE_COUNT] = {"a number without a unit", false},
	[RULE_COUNT_RATE] = {"a number per time, such as 100/s or 10/min", false},
	[RULE_TIME] = {"a time in ms, s, m or h, such as 500ms or 10s", true},
	[RULE_LOAD] = {"a number without a unit", false},
	[RULE_MONEY] = {"an amount in USD or mUSD, such as 2.50 or 2.50USD", false},
	[RULE_FLAG] = {"nothing", false},
};

static const struct rule_unit *unit_find(enum rule_kind kind, const char *text, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		const struct rule_unit *u = &units[i];

		if (u->kind == kind && strlen(u->text) == len && !strncasecmp(u->text, text, len))
			return u;
	}
	return NULL;
}

static const struct rule_unit *unit_default(enum rule_kind kind)
{
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (units[i].kind == kind)
			return &units[i];
	}
	return NULL;
}

/* ---- the parser ---- */

struct parser {
	const char *text;
	size_t at;
	struct rule *rule;
	struct rule_error *err;
};

__attribute__((format(printf, 3, 4))) static int fail(struct parser *ps, size_t off,
						      const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(ps->err->msg, sizeof(ps->err->msg), fmt, ap);
	va_end(ap);
	ps->err->column = utf8_column(ps->text, off);
	return -EINVAL;
}

static void skip_space(struct parser *ps)
{
	ps->at += strspn(ps->text + ps->at, " \t");
}

/* What stands at @off, for messages: a word, one character, or the end. */
static const char *found(struct parser *ps, size_t off, char out[48])
{
	const char *p = ps->text + off;
	size_t n = strcspn(p, " \t"), cut = utf8_cut(p, n, 32);

	if (!n)
		snprintf(out, 48, "the end");
	else
		snprintf(out, 48, "'%.*s%s'", (int)cut, p, cut < n ? "..." : "");
	return out;
}

static size_t span_of(const struct parser *ps, const char *set)
{
	return strspn(ps->text + ps->at, set);
}

#define LOWER  "abcdefghijklmnopqrstuvwxyz"
#define UPPER  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

/* Of known names, one that begins as @name does, up to a dot or as long as it is. */
static void metric_hint(struct parser *ps, const char *name, size_t len)
{
	size_t best = 1, n;
	const char *nearest = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(metrics); i++) {
		for (n = 0; n < len && metrics[i].name[n] == name[n];)
			n++;
		if (n > best) {
			best = n;
			nearest = metrics[i].name;
		}
	}
	if (nearest)
		snprintf(ps->err->hint, sizeof(ps->err->hint), "did you mean '%s'?", nearest);
	else
		snprintf(ps->err->hint, sizeof(ps->err->hint),
			 "there are cpu, rss, rss.slope, threads, read, exit_code, tree.cpu, "
			 "system.cpu, ...");
}

static int parse_metric(struct parser *ps)
{
	size_t start, n;
	char what[48];

	skip_space(ps);
	start = ps->at;
	n = span_of(ps, LOWER UPPER DIGITS "._");
	if (!n)
		return fail(ps, start, "expected a metric, such as cpu or rss: found %s",
			    found(ps, start, what));
	ps->rule->metric = rule_metric_find(ps->text + start, n);
	if (!ps->rule->metric) {
		metric_hint(ps, ps->text + start, n);
		return fail(ps, start, "there is no metric '%.*s'", (int)MIN(n, (size_t)64),
			    ps->text + start);
	}
	ps->at += n;
	snprintf(ps->rule->metric_name, sizeof(ps->rule->metric_name), "%s",
		 ps->rule->metric->name);
	return 0;
}

static int parse_op(struct parser *ps)
{
	static const struct {
		const char *text;
		enum rule_op op;
	} ops[] = {
		/* longer ones first */
		{">=", RULE_GE}, {"<=", RULE_LE}, {"==", RULE_EQ},
		{"!=", RULE_NE}, {">", RULE_GT},  {"<", RULE_LT},
	};
	char what[48];

	skip_space(ps);
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		size_t n = strlen(ops[i].text);

		if (strncmp(ps->text + ps->at, ops[i].text, n))
			continue;
		ps->rule->op = ops[i].op;
		ps->at += n;
		return 0;
	}
	return fail(ps, ps->at, "expected > >= < <= == or != behind '%s': found %s",
		    ps->rule->metric->name, found(ps, ps->at, what));
}

struct decimal {
	double digits; /* a whole number */
	double divisor;
};

/* "-12.5"; at most DIGITS_MAX digits, so that it is exact. */
static int parse_decimal(struct parser *ps, const char *expected, struct decimal *ret)
{
	struct decimal d = {0, 1};
	size_t start, n_digits = 0;
	bool negative, point = false;
	char what[48];

	skip_space(ps);
	start = ps->at;
	negative = ps->text[ps->at] == '-';
	ps->at += negative;
	for (;; ps->at++) {
		char c = ps->text[ps->at];

		if (c == '.' && !point) {
			point = true;
			continue;
		}
		if (c < '0' || c > '9')
			break;
		n_digits++;
		d.digits = d.digits * 10 + (c - '0');
		d.divisor *= point ? 10 : 1;
	}
	if (!n_digits)
		return fail(ps, start, "expected %s: found %s", expected, found(ps, start, what));
	if (n_digits > DIGITS_MAX)
		return fail(ps, start, "this number has more than %d digits", DIGITS_MAX);
	if (negative)
		d.digits = -d.digits;
	*ret = d;
	return 0;
}

static size_t unit_len(const struct parser *ps)
{
	return ps->text[ps->at] == '%' ? 1 : span_of(ps, LOWER UPPER "/");
}

/* What follows a number: its unit, or after a blank the next clause. */
static int parse_unit(struct parser *ps, enum rule_kind kind, const struct rule_unit **ret)
{
	size_t start = ps->at, n;
	char what[48];

	skip_space(ps);
	n = unit_len(ps);
	*ret = n ? unit_find(kind, ps->text + ps->at, n) : NULL;
	if (*ret) {
		ps->at += n;
		return 0;
	}
	if (n && ps->at == start)
		return fail(ps, start, "expected %s: found %s", kinds[kind].expected,
			    found(ps, start, what));
	ps->at = start;
	return 0;
}

static int parse_value(struct parser *ps, enum rule_kind kind, double *ret,
		       const struct rule_unit **ret_unit)
{
	const char *expected = kinds[kind].expected;
	const struct rule_unit *unit;
	struct decimal d = {0, 1};
	int r;

	r = parse_decimal(ps, expected, &d);
	if (r < 0)
		return r;
	r = parse_unit(ps, kind, &unit);
	if (r < 0)
		return r;
	if (!unit && kinds[kind].needed && d.digits != 0)
		return fail(ps, ps->at, "expected %s: the unit is missing", expected);
	if (!unit)
		unit = unit_default(kind);
	*ret = d.digits * unit->scale / d.divisor;
	*ret_unit = unit;
	return 0;
}

static int parse_time(struct parser *ps, uint64_t *ret)
{
	const struct rule_unit *unit;
	double ns = 0;
	size_t start;
	int r;

	skip_space(ps);
	start = ps->at;
	r = parse_value(ps, RULE_TIME, &ns, &unit);
	if (r < 0)
		return r;
	if (ns < 0 || ns > 1000 * 24 * HOUR_NS)
		return fail(ps, start, "expected a time from 0 to 1000 days");
	*ret = ns;
	return 0;
}

static int parse_for(struct parser *ps)
{
	return parse_time(ps, &ps->rule->for_ns);
}

static int parse_every(struct parser *ps)
{
	return parse_time(ps, &ps->rule->every_ns);
}

static int parse_clear(struct parser *ps)
{
	struct rule *r = ps->rule;
	const struct rule_unit *unit;
	size_t start;
	int err;

	skip_space(ps);
	start = ps->at;
	err = parse_value(ps, r->metric->kind, &r->clear, &unit);
	if (err < 0)
		return err;
	switch (r->op) {
	case RULE_GT:
	case RULE_GE:
		if (r->clear > r->limit)
			return fail(ps, start, "'clear' takes a value below the limit");
		return 0;
	case RULE_LT:
	case RULE_LE:
		if (r->clear < r->limit)
			return fail(ps, start, "'clear' takes a value above the limit");
		return 0;
	case RULE_EQ:
	case RULE_NE:
		break;
	}
	return fail(ps, start, "'clear' goes with > >= < and <= only");
}

#define LASTS (1U << RULE_LEVEL | 1U << RULE_RATE)
#define ENDS  (LASTS | 1U << RULE_ONCE)

static const struct clause {
	const char *word;
	unsigned readings;
	int (*parse)(struct parser *ps);
} clauses[] = {
	{"for", LASTS, parse_for},
	{"clear", LASTS, parse_clear},
	{"every", ENDS, parse_every},
};

static int parse_clause(struct parser *ps, unsigned *seen)
{
	size_t start = ps->at, n = span_of(ps, LOWER UPPER);
	const struct rule_metric *m = ps->rule->metric;
	char what[48];

	for (size_t i = 0; i < ARRAY_SIZE(clauses); i++) {
		const struct clause *c = &clauses[i];

		if (strlen(c->word) != n || memcmp(c->word, ps->text + start, n))
			continue;
		if (*seen & 1U << i)
			return fail(ps, start, "'%s' was given before", c->word);
		if (!(c->readings & 1U << m->reading))
			return fail(ps, start, "'%s' means nothing for %s, which %s", c->word,
				    m->name,
				    m->reading == RULE_ONCE ? "has no duration" : "only grows");
		*seen |= 1U << i;
		ps->at += n;
		return c->parse(ps);
	}
	return fail(ps, start, "expected 'for', 'clear', 'every' or the end: found %s",
		    found(ps, start, what));
}

static int parse_comparison(struct parser *ps)
{
	struct rule *r = ps->rule;
	int err;

	if (r->metric->kind == RULE_FLAG) {
		r->op = RULE_GT;
		r->unit = unit_default(RULE_FLAG);
		return 0;
	}
	err = parse_op(ps);
	if (err < 0)
		return err;
	err = parse_value(ps, r->metric->kind, &r->limit, &r->unit);
	r->clear = r->limit;
	return err;
}

static int parse_rule(struct parser *ps)
{
	unsigned seen = 0;
	int r;

	r = parse_metric(ps);
	if (r < 0)
		return r;
	r = parse_comparison(ps);
	if (r < 0)
		return r;
	for (skip_space(ps); ps->text[ps->at]; skip_space(ps)) {
		r = parse_clause(ps, &seen);
		if (r < 0)
			return r;
	}
	return 0;
}

int rule_parse(const char *text, struct rule *ret, struct rule_error *err)
{
	struct rule rule = {};
	struct parser ps = {.text = text, .rule = &rule, .err = err};
	size_t blank, len;
	int r;

	*err = (struct rule_error){};
	blank = strspn(text, " \t");
	len = strlen(text + blank);
	if (len > RULE_LEN_MAX) {
		fail(&ps, blank + RULE_LEN_MAX, "a rule has %d bytes at most", RULE_LEN_MAX);
		return -E2BIG;
	}
	r = parse_rule(&ps);
	if (r < 0)
		return r;
	while (len && strchr(" \t", text[blank + len - 1]))
		len--;
	memcpy(rule.text, text + blank, len);
	*ret = rule;
	return 0;
}

void rule_error_print(FILE *out, const char *text, const struct rule_error *err)
{
	size_t column = 1;

	fprintf(out, "alert rule: %s\n  ", err->msg);
	for (; *text && column < err->column + 60; text++) {
		fputc((uint8_t)*text < ' ' || *text == 0x7f ? ' ' : *text, out);
		column += !utf8_continues(text[1]);
	}
	fprintf(out, "%s\n%*s^\n", *text ? "..." : "", (int)err->column + 1, "");
	if (err->hint[0])
		fprintf(out, "  %s\n", err->hint);
}

/* ---- reading and comparing ---- */

static double member_read(const struct rule_metric *m, const struct as_hdr *rec)
{
	const char *p = (const char *)rec + m->offset;
	uint32_t u32;
	uint64_t u64;

	if (m->size == sizeof(u32)) {
		memcpy(&u32, p, sizeof(u32));
		return u32;
	}
	memcpy(&u64, p, sizeof(u64));
	return m->is_signed ? (double)(int64_t)u64 : (double)u64;
}

bool rule_read(const struct rule_metric *m, const struct as_hdr *rec, double *ret)
{
	double value;

	if (m->read)
		return m->read(rec, ret);
	value = member_read(m, rec);
	if (value == 0 && m->zero_is_unknown)
		return false;
	if (!m->is_signed && value == (double)AS_UNKNOWN)
		return false;
	*ret = m->reading == RULE_RATE ? value : value * m->scale;
	return true;
}

bool rule_jumped(const struct rule_metric *m, const struct as_hdr *rec)
{
	return m->own_io && ((const struct as_system_metrics *)rec)->mixed;
}

double rule_rate(const struct rule_metric *m, double growth, uint64_t ns)
{
	return growth * HOUR_NS * m->scale / ns;
}

static bool compare(enum rule_op op, double a, double b)
{
	switch (op) {
	case RULE_GT:
		return a > b;
	case RULE_GE:
		return a >= b;
	case RULE_LT:
		return a < b;
	case RULE_LE:
		return a <= b;
	case RULE_EQ:
		return a == b;
	case RULE_NE:
		return a != b;
	}
	return false;
}

bool rule_begins(const struct rule *r, double value)
{
	return compare(r->op, value, r->limit);
}

bool rule_holds(const struct rule *r, double value)
{
	return compare(r->op, value, r->clear);
}

double rule_worse(const struct rule *r, double a, double b)
{
	return r->op == RULE_LT || r->op == RULE_LE ? MIN(a, b) : MAX(a, b);
}

double rule_nearness(const struct rule *r, double value)
{
	double low = MIN(value, r->limit), high = MAX(value, r->limit);

	if (r->op == RULE_EQ || r->op == RULE_NE || low <= 0 || high >= 2 * low)
		return 0;
	return 2 * low / high - 1;
}

int64_t rule_centi(const struct rule *r, double value)
{
	double centi = value * 100 / r->unit->scale;

	/* the largest double below 2^63 */
	if (centi > 9223372036854774784.0)
		return INT64_MAX;
	if (centi < -9223372036854774784.0)
		return INT64_MIN;
	return (int64_t)(centi + (centi < 0 ? -0.5 : 0.5));
}
