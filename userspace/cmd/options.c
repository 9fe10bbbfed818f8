/* SPDX-License-Identifier: MIT */
#include "cmd/options.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define IN_DETAIL (1U << 31) /* beside SOURCE_SYSTEM: of detailed samples */

#define CMD_EVENTS \
	(CMD_RECORD | CMD_TRACE | CMD_SSL | CMD_PROCESS | CMD_NETWORK | CMD_FILES | CMD_SYSTEM)
#define CMD_MONITOR (CMD_RUN | CMD_ATTACH)
#define CMD_STREAMS (CMD_EVENTS | CMD_MONITOR)
#define CMD_STARTS  (CMD_EVENTS | CMD_RUN)
#define CMD_SAMPLES (CMD_RECORD | CMD_TRACE | CMD_SYSTEM | CMD_MONITOR)
#define CMD_READS   (CMD_STATS | CMD_DIFF)
#define CMD_CHOOSE  (CMD_RECORD | CMD_TRACE) /* record has all; --files=false takes one away */
#define CMD_TLS     (CMD_RECORD | CMD_TRACE | CMD_SSL)
#define CMD_ALL     (CMD_STREAMS | CMD_READS | CMD_DOCTOR | CMD_SCHEMA)

struct row;

/* @text is the argument, or NULL for a switch given without one. */
typedef int (*option_fn)(const struct row *row, const char *text, struct options *o, struct err *e);

enum argument {
	ARG_NONE,
	ARG_REQUIRED,
	ARG_SWITCH, /* bare, or =true, =false */
};

struct row {
	const char *name; /* --name */
	char letter;      /* -l, or 0 */
	enum argument argument;
	const char *placeholder;
	const char *help;
	unsigned commands;
	option_fn parse;
	size_t offset;    /* for the generic parsers: the member of struct options */
	unsigned sources; /* SOURCE_*: of a switch, which; of others, what they tell more of */
};

/* ---- how arguments are read ---- */

static int bad(const struct row *row, const char *text, const char *expected, struct err *e)
{
	return err_set(e, -EINVAL, "--%s: '%s' is not %s", row->name, text, expected);
}

static int read_number(const char *text, uint64_t max, uint64_t *ret)
{
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	*ret = strtoull(text, &end, 10);
	return errno || *end || *ret > max ? -EINVAL : 0;
}

/* A decimal with up to nine places, times 10^9; exact, unlike a double. */
static int read_nano(const char *text, uint64_t max_units, uint64_t *ret)
{
	uint64_t units = 0, nano = 0, place = NSEC_PER_SEC / 10;
	const char *p = text;

	for (; isdigit((unsigned char)*p); p++) {
		units = units * 10 + (*p - '0');
		if (units > max_units)
			return -EINVAL;
	}
	if (*p == '.') {
		for (p++; isdigit((unsigned char)*p); p++, place /= 10)
			nano += place * (*p - '0');
	}
	if (*p || p == text || (p == text + 1 && *text == '.'))
		return -EINVAL;
	*ret = units * NSEC_PER_SEC + nano;
	return 0;
}

static void *member(struct options *o, const struct row *row)
{
	return (char *)o + row->offset;
}

static int read_bool(const struct row *row, const char *text, bool *ret, struct err *e)
{
	if (!text || !strcmp(text, "true") || !strcmp(text, "1") || !strcmp(text, "yes"))
		*ret = true;
	else if (!strcmp(text, "false") || !strcmp(text, "0") || !strcmp(text, "no"))
		*ret = false;
	else
		return bad(row, text, "true or false", e);
	return 0;
}

static int parse_bool(const struct row *row, const char *text, struct options *o, struct err *e)
{
	return read_bool(row, text, member(o, row), e);
}

static int parse_source(const struct row *row, const char *text, struct options *o, struct err *e)
{
	bool on = false;
	int r = read_bool(row, text, &on, e);

	if (r < 0)
		return r;
	if (on)
		o->session.sources |= row->sources;
	else
		o->sources_off |= row->sources;
	return 0;
}

static int parse_text(const struct row *row, const char *text, struct options *o, struct err *e)
{
	if (!*text)
		return bad(row, text, "a name", e);
	*(const char **)member(o, row) = text;
	return 0;
}

/* A time: "2", "0.5s", "500ms", "5m", "1h". @unit is what a bare number counts. */
static int read_time(const char *text, const char *unit, uint64_t *ret)
{
	static const struct {
		const char *suffix;
		uint64_t ns;
	} units[] = {
		{"ms", NSEC_PER_MSEC},
		{"s", NSEC_PER_SEC},
		{"m", 60 * NSEC_PER_SEC},
		{"h", 3600 * NSEC_PER_SEC},
	};
	size_t len = strspn(text, "0123456789.");
	char number[64];
	uint64_t nano;

	if (len >= sizeof(number))
		return -EINVAL;
	memcpy(number, text, len);
	number[len] = '\0';
	if (read_nano(number, 1000000000, &nano) < 0)
		return -EINVAL;
	if (text[len])
		unit = text + len;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		unsigned __int128 ns = (unsigned __int128)nano * units[i].ns / NSEC_PER_SEC;

		if (strcmp(unit, units[i].suffix))
			continue;
		if (ns > INT64_MAX)
			return -EINVAL;
		*ret = ns;
		return 0;
	}
	return -EINVAL;
}

static int parse_seconds(const struct row *row, const char *text, struct options *o, struct err *e)
{
	uint64_t ns;

	if (read_time(text, "s", &ns) < 0 || ns == 0)
		return bad(row, text, "a number of seconds above 0, such as 2, 0.5 or 500ms", e);
	*(uint64_t *)member(o, row) = ns;
	return 0;
}

/* 0: no limit, as other monitors have it. */
static int parse_duration(const struct row *row, const char *text, struct options *o, struct err *e)
{
	if (read_time(text, "s", member(o, row)) < 0)
		return bad(row, text, "a number of seconds, such as 2, 0.5 or 5m", e);
	return 0;
}

static int parse_pace(const struct row *row, const char *text, struct options *o, struct err *e)
{
	uint64_t ns;

	if (read_time(text, "ms", &ns) < 0 || ns < NSEC_PER_MSEC)
		return bad(row, text, "a number of milliseconds from 1, such as 100, or 2s", e);
	*(uint64_t *)member(o, row) = ns;
	return 0;
}

static int parse_interval(const struct row *row, const char *text, struct options *o, struct err *e)
{
	int r = parse_seconds(row, text, o, e);

	if (r < 0)
		return r;
	if (o->session.interval_ns < 10 * NSEC_PER_MSEC)
		return bad(row, text, "0.01 seconds or more", e);
	return 0;
}

static int parse_percent(const struct row *row, const char *text, struct options *o, struct err *e)
{
	uint64_t nano;

	if (read_nano(text, 1000000, &nano) < 0 || nano < NSEC_PER_SEC / 100)
		return bad(row, text, "a percentage above 0 (100 is one core)", e);
	*(uint64_t *)member(o, row) = nano / (NSEC_PER_SEC / 100);
	return 0;
}

static int parse_megabytes_kb(const struct row *row, const char *text, struct options *o,
			      struct err *e)
{
	uint64_t nano;

	if (read_nano(text, 1000000000, &nano) < 0 || nano < NSEC_PER_SEC / 1024)
		return bad(row, text, "a number of megabytes above 0", e);
	*(uint64_t *)member(o, row) =
		nano / NSEC_PER_SEC * 1024 + nano % NSEC_PER_SEC * 1024 / NSEC_PER_SEC;
	return 0;
}

static int parse_megabytes(const struct row *row, const char *text, struct options *o,
			   struct err *e)
{
	uint64_t mb;

	if (read_number(text, 1 << 20, &mb) < 0 || mb == 0)
		return bad(row, text, "a whole number of megabytes above 0", e);
	*(size_t *)member(o, row) = mb << 20;
	return 0;
}

static int parse_ring(const struct row *row, const char *text, struct options *o, struct err *e)
{
	int r = parse_megabytes(row, text, o, e);
	size_t bytes = o->session.ring_bytes;

	if (r < 0)
		return r;
	if (bytes & (bytes - 1) || bytes > (1U << 30))
		return bad(row, text, "a power of two from 1 to 1024", e);
	return 0;
}

static int parse_keep(const struct row *row, const char *text, struct options *o, struct err *e)
{
	uint64_t n;

	if (read_number(text, 10000, &n) < 0)
		return bad(row, text, "a whole number from 0 to 10000", e);
	o->session.rotate_keep = n;
	o->rotate_keep = true;
	return 0;
}

static int parse_uid(const struct row *row, const char *text, struct options *o, struct err *e)
{
	uint64_t n;

	if (read_number(text, UINT32_MAX - 1, &n) < 0)
		return bad(row, text, "a numeric user id; `id -u NAME` prints it", e);
	o->session.uid = n;
	o->session.by_uid = true;
	return 0;
}

static int append_text(char ***list, size_t *n, const char *text, size_t len)
{
	char **more = realloc(*list, (*n + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	*list = more;
	more[*n] = strndup(text, len);
	if (!more[*n])
		return -ENOMEM;
	++*n;
	return 0;
}

static int parse_names(const struct row *row, const char *text, struct options *o, struct err *e)
{
	for (const char *p = text;;) {
		size_t len = strcspn(p, ",");
		int r;

		if (!len || len > 63)
			return bad(row, text, "NAME[,NAME...] with names of 1 to 63 bytes", e);
		r = append_text(&o->session.names, &o->session.n_names, p, len);
		if (r < 0)
			return r;
		if (!p[len])
			break;
		p += len + 1;
	}
	if (o->session.n_names > 64)
		return err_set(e, -EINVAL, "--%s takes 64 names at most", row->name);
	return 0;
}

static int bad_pid(const char *text, struct err *e)
{
	const char *hint = "";

	if (isdigit((unsigned char)*text))
		hint = ", which are 1 to 4194304";
	else if (isalpha((unsigned char)*text))
		hint = "; names are for --comm";
	return err_set(e, -EINVAL, "'%s' is not a process id%s", text, hint);
}

static int parse_pids(const struct row *row, const char *text, struct options *o, struct err *e)
{
	for (const char *p = text;;) {
		_cleanup_(freep) char *one = strndup(p, strcspn(p, ","));
		uint32_t *more;
		uint64_t pid;

		if (!one)
			return -ENOMEM;
		if (read_number(one, 1 << 22, &pid) < 0 || pid == 0)
			return bad_pid(one, e);
		more = realloc(o->session.pids, (o->session.n_pids + 1) * sizeof(*more));
		if (!more)
			return -ENOMEM;
		o->session.pids = more;
		more[o->session.n_pids++] = pid;
		p += strlen(one);
		if (!*p)
			return 0;
		p++;
	}
}

static int parse_rule(const struct row *row, const char *text, struct options *o, struct err *e)
{
	if (!*text)
		return bad(row, text, "a rule such as 'cpu > 80 for 10s'", e);
	return append_text(&o->session.alerts, &o->session.n_alerts, text, strlen(text));
}

static int parse_env(const struct row *row, const char *text, struct options *o, struct err *e)
{
	for (const char *p = text;; p++) {
		size_t len = strcspn(p, ",");
		int r;

		if (!len || memchr(p, '=', len))
			return bad(row, text, "NAME[,NAME...], without values", e);
		r = append_text(&o->session.env_names, &o->session.n_env_names, p, len);
		if (r < 0)
			return r;
		p += len;
		if (!*p)
			return 0;
	}
}

static int parse_adaptive(const struct row *row, const char *text, struct options *o, struct err *e)
{
	static const char *const modes[] = {
		[PACE_FIXED] = "fixed",
		[PACE_TIME] = "time",
		[PACE_ACTIVITY] = "activity",
	};

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		if (!strcmp(text, modes[i])) {
			o->session.pace.mode = i;
			return 0;
		}
	}
	return bad(row, text, "time, activity or fixed", e);
}

static int parse_format(const struct row *row, const char *text, struct options *o, struct err *e)
{
	if (!strcmp(text, "agentsight"))
		o->session.format = FORMAT_AGENTSIGHT;
	else if (!strcmp(text, "denet"))
		o->session.format = FORMAT_DENET;
	else
		return bad(row, text, "agentsight or denet", e);
	return 0;
}

/* Accepted for programs that were written for another monitor; here it says nothing. */
static int parse_nothing(const struct row *row, const char *text, struct options *o, struct err *e)
{
	return 0;
}

int options_pids(struct options *o, const char *text, struct err *e)
{
	return parse_pids(NULL, text, o, e);
}

/* A run that nothing could ever fail would look like one without trouble. */
int options_check(const struct options *o, unsigned command, struct err *e)
{
	static const char alert[] = "an alert, such as --alert 'cpu > 80 for 10s'";
	const struct session_options *s = &o->session;
	const bool alerts = s->n_alerts || s->cpu_threshold_centi || s->memory_threshold_kb;
	const struct {
		const char *option;
		bool given, useful;
		const char *needed;
	} pairs[] = {
		{"--exit-over", o->exit_over, alerts, alert},
		{"--on-alert", s->on_alert, alerts, alert},
		{"--webhook", s->webhook, alerts, alert},
		{"--rotate-size", s->rotate_bytes, s->output || command == CMD_RECORD,
		 "a file: --output FILE"},
		{"--rotate-keep", o->rotate_keep, s->rotate_bytes, "--rotate-size MB"},
		{"--markdown", o->markdown, !o->json, "to stand without --json"},
		{"--write-env", s->write_env, s->format == FORMAT_DENET, "--format denet"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
		if (pairs[i].given && !pairs[i].useful)
			return err_set(e, -EINVAL, "%s needs %s", pairs[i].option, pairs[i].needed);
	}
	return 0;
}

int options_sources(struct options *o, unsigned fixed, struct err *e)
{
	struct session_options *s = &o->session;
	unsigned off;

	if (fixed) /* --stdio is the one that record has not by itself */
		s->sources = fixed | (s->sources & SOURCE_STDIO);
	else if (!s->sources)
		s->sources = SOURCE_TLS | SOURCE_PROCESS;
	s->sources = (s->sources | o->sources_more) & ~o->sources_off;
	if (!s->sources)
		return err_set(e, -EINVAL,
			       "every source is switched off; name one: --ssl, --process, "
			       "--network, --files or --system");
	off = o->sources_more & ~s->sources;
	if (off)
		return err_set(e, -EINVAL, "--%s tells more of a source that is switched off",
			       o->more[__builtin_ctz(off)]);
	return 0;
}

static int parse_binary(const struct row *row, const char *text, struct options *o, struct err *e)
{
	if (!*text)
		return bad(row, text, "a file", e);
	return append_text(&o->session.binary_paths, &o->session.n_binary_paths, text,
			   strlen(text));
}

/* ---- the table ---- */

#define AT(m) offsetof(struct options, m)

static const struct row rows[] = {
	{"comm", 'c', ARG_REQUIRED, "NAME[,NAME]",
	 "processes with this name: comm, executable, or script of an interpreter",
	 CMD_EVENTS | CMD_ATTACH, parse_names, 0, 0},
	{"pid", 'p', ARG_REQUIRED, "PID[,PID]", "these processes; it ends with the last",
	 CMD_EVENTS | CMD_ATTACH, parse_pids, 0, 0},
	{"uid", 'u', ARG_REQUIRED, "UID", "only processes of this user", CMD_EVENTS & ~CMD_RECORD,
	 parse_uid, 0, 0},
	{"no-children", 0, ARG_NONE, NULL, "do not follow what they start", CMD_STREAMS, parse_bool,
	 AT(session.no_children), 0},
	{"ssl", 0, ARG_SWITCH, NULL, "plaintext at TLS library calls", CMD_CHOOSE, parse_source, 0,
	 SOURCE_TLS},
	{"process", 0, ARG_SWITCH, NULL, "exec, fork and exit", CMD_CHOOSE, parse_source, 0,
	 SOURCE_PROCESS},
	{"network", 0, ARG_SWITCH, NULL, "connections, every send and receive", CMD_CHOOSE,
	 parse_source, 0, SOURCE_NETWORK},
	{"files", 0, ARG_SWITCH, NULL, "file operations, reads and writes summed", CMD_CHOOSE,
	 parse_source, 0, SOURCE_FILES},
	{"system", 0, ARG_SWITCH, NULL, "CPU and memory samples", CMD_CHOOSE, parse_source, 0,
	 SOURCE_SYSTEM},
	{"stdio", 0, ARG_SWITCH, NULL,
	 "all that pipes and sockets carry as stdin, stdout, stderr; else JSON-RPC only",
	 CMD_CHOOSE, parse_source, 0, SOURCE_STDIO},
	{"binary-path", 0, ARG_REQUIRED, "FILE",
	 "also attach to the TLS library inside this executable", CMD_TLS, parse_binary, 0,
	 SOURCE_TLS},
	{"system-interval", 0, ARG_REQUIRED, "SEC", "time between samples (2)",
	 CMD_SAMPLES & ~CMD_MONITOR, parse_interval, AT(session.interval_ns), 0},
	{"interval", 'i', ARG_REQUIRED, "SEC", "the same", CMD_SAMPLES & ~CMD_MONITOR,
	 parse_interval, AT(session.interval_ns), 0},
	{"interval", 'i', ARG_REQUIRED, "MS",
	 "time between samples at the start (100), or 0.5s, 2s", CMD_MONITOR, parse_pace,
	 AT(session.pace.base_ns), 0},
	{"max-interval", 'm', ARG_REQUIRED, "MS", "the longest time between samples (1000)",
	 CMD_MONITOR, parse_pace, AT(session.pace.max_ns), 0},
	{"adaptive", 0, ARG_REQUIRED, "MODE",
	 "time: longer as the run goes on; activity: closer when much happens; fixed", CMD_MONITOR,
	 parse_adaptive, 0, 0},
	{"detail", 0, ARG_NONE, NULL, "samples with all that costs little, and sums of the tree",
	 CMD_SAMPLES & ~CMD_MONITOR, parse_bool, AT(session.detail), SOURCE_SYSTEM},
	{"threads", 0, ARG_NONE, NULL, "a sample of every thread", CMD_SAMPLES, parse_bool,
	 AT(session.threads), SOURCE_SYSTEM},
	{"pss-interval", 0, ARG_REQUIRED, "SEC",
	 "time between two looks at a process's PSS and USS (never)", CMD_SAMPLES & ~CMD_MONITOR,
	 parse_seconds, AT(session.pss_interval_ns), SOURCE_SYSTEM | IN_DETAIL},
	{"pss-interval", 0, ARG_REQUIRED, "SEC",
	 "time between two looks at a process's PSS and USS (5)", CMD_MONITOR, parse_seconds,
	 AT(session.pss_interval_ns), 0},
	{"syscalls", 0, ARG_NONE, NULL, "system calls of each process, summed in the kernel",
	 CMD_SAMPLES, parse_bool, AT(session.syscalls), SOURCE_SYSTEM},
	{"offcpu", 0, ARG_NONE, NULL, "what threads waited for, summed in the kernel", CMD_SAMPLES,
	 parse_bool, AT(session.offcpu), SOURCE_SYSTEM},
	{"gpu", 0, ARG_NONE, NULL, "graphics and compute devices", CMD_SAMPLES, parse_bool,
	 AT(session.gpu), SOURCE_SYSTEM | IN_DETAIL},
	{"pressure", 0, ARG_NONE, NULL, "stalls and limits of the machine and of cgroups",
	 CMD_SAMPLES, parse_bool, AT(session.pressure), SOURCE_SYSTEM | IN_DETAIL},
	{"env", 0, ARG_REQUIRED, "NAME[,NAME]", "variables to tell of each process", CMD_SAMPLES,
	 parse_env, 0, SOURCE_SYSTEM | IN_DETAIL},
	{"alert", 0, ARG_REQUIRED, "RULE", "alert while it holds: 'cpu > 80 for 10s'; repeatable",
	 CMD_SAMPLES, parse_rule, 0, 0},
	{"on-alert", 0, ARG_REQUIRED, "CMD", "run this when an alert starts or ends", CMD_SAMPLES,
	 parse_text, AT(session.on_alert), 0},
	{"webhook", 0, ARG_REQUIRED, "URL", "tell this address of alerts", CMD_SAMPLES, parse_text,
	 AT(session.webhook), 0},
	{"exit-over", 0, ARG_NONE, NULL, "exit with status 4 when an alert was raised", CMD_SAMPLES,
	 parse_bool, AT(exit_over), 0},
	{"exclude-children", 0, ARG_NONE, NULL, "only the process itself", CMD_MONITOR, parse_bool,
	 AT(exclude_children), 0},
	{"since-process-start", 0, ARG_NONE, NULL,
	 "sums of I/O since the process started, not since the first sample", CMD_ATTACH | CMD_RUN,
	 parse_bool, AT(since_process_start), 0},
	{"no-update", 'n', ARG_NONE, NULL, "a new line for each sample instead of one in place",
	 CMD_MONITOR, parse_bool, AT(no_update), 0},
	{"no-polling", 0, ARG_NONE, NULL, "no samples between the first and the last", CMD_MONITOR,
	 parse_bool, AT(no_polling), 0},
	{"format", 0, ARG_REQUIRED, "NAME", "records as agentsight or denet writes them",
	 CMD_MONITOR, parse_format, 0, 0},
	{"write-env", 0, ARG_NONE, NULL, "with --format denet: begin with what the machine is",
	 CMD_MONITOR, parse_bool, AT(session.write_env), 0},
	{"html", 0, ARG_REQUIRED, "FILE", "write a report with charts", CMD_STATS, parse_text,
	 AT(html), 0},
	{"cpu-threshold", 0, ARG_REQUIRED, "PCT", "alert while a process uses more (100: one core)",
	 CMD_SAMPLES, parse_percent, AT(session.cpu_threshold_centi), SOURCE_SYSTEM},
	{"memory-threshold", 0, ARG_REQUIRED, "MB",
	 "alert while a process's resident set is larger", CMD_SAMPLES, parse_megabytes_kb,
	 AT(session.memory_threshold_kb), SOURCE_SYSTEM},
	{"output", 'o', ARG_REQUIRED, "FILE", "write JSON lines there", CMD_STREAMS, parse_text,
	 AT(session.output), 0},
	{"output", 'o', ARG_REQUIRED, "FILE", "write it there", CMD_READS, parse_text,
	 AT(session.output), 0},
	{"out", 0, ARG_REQUIRED, "FILE", "the same", CMD_MONITOR, parse_text, AT(session.output),
	 0},
	{"log-file", 0, ARG_REQUIRED, "FILE", "the same", CMD_STREAMS, parse_text,
	 AT(session.output), 0},
	{"rotate-size", 0, ARG_REQUIRED, "MB", "start a new file at this size", CMD_STREAMS,
	 parse_megabytes, AT(session.rotate_bytes), 0},
	{"rotate-keep", 0, ARG_REQUIRED, "N", "old files to keep (5)", CMD_STREAMS, parse_keep, 0,
	 0},
	{"filter", 0, ARG_REQUIRED, "EXPR", "keep only events for which it is true", CMD_STREAMS,
	 parse_text, AT(session.filter), 0},
	{"duration", 'd', ARG_REQUIRED, "SEC", "stop after this time", CMD_EVENTS, parse_seconds,
	 AT(session.duration_ns), 0},
	{"duration", 'd', ARG_REQUIRED, "SEC", "stop after this time; 0: when it ends", CMD_MONITOR,
	 parse_duration, AT(session.duration_ns), 0},
	{"ring-size", 0, ARG_REQUIRED, "MB", "size of each ring buffer (8)", CMD_EVENTS, parse_ring,
	 AT(session.ring_bytes), 0},
	{"ring-size", 0, ARG_REQUIRED, "MB", "size of each ring buffer (1)", CMD_MONITOR,
	 parse_ring, AT(session.ring_bytes), 0},
	{"queue-size", 0, ARG_REQUIRED, "MB", "memory for output that cannot be written yet (32)",
	 CMD_STREAMS, parse_megabytes, AT(session.queue_bytes), 0},
	{"keep-privileges", 0, ARG_NONE, NULL,
	 "stay one process with all privileges, to be debugged", CMD_STREAMS, parse_bool,
	 AT(session.keep_privileges), 0},
	{"prices", 0, ARG_REQUIRED, "FILE", "what models cost (instead of the installed list)",
	 CMD_TLS, parse_text, AT(session.prices), SOURCE_TLS},
	{"no-redact", 0, ARG_NONE, NULL, "keep secrets in the output", CMD_STREAMS, parse_bool,
	 AT(session.no_redact), 0},
	{"json", 'j', ARG_NONE, NULL, "JSON also on a terminal", CMD_EVENTS, parse_bool, AT(json),
	 0},
	{"json", 'j', ARG_NONE, NULL,
	 "events on standard output, or in the file if there is one; no summary", CMD_MONITOR,
	 parse_bool, AT(json), 0},
	{"json", 'j', ARG_NONE, NULL, "the answer as JSON", CMD_ALL & ~CMD_STREAMS, parse_bool,
	 AT(json), 0},
	{"markdown", 0, ARG_NONE, NULL, "as the page docs/EVENTS.md", CMD_SCHEMA, parse_bool,
	 AT(markdown), 0},
	{"no-color", 0, ARG_NONE, NULL, "no colours", CMD_ALL, parse_bool, AT(no_color), 0},
	{"quiet", 'q', ARG_NONE, NULL, "only errors on standard error, nothing readable",
	 CMD_STREAMS, parse_bool, AT(quiet), 0},
	{"verbose", 'v', ARG_NONE, NULL, "say more on standard error", CMD_ALL, parse_bool,
	 AT(verbose), 0},
	{"enable-ebpf", 0, ARG_NONE, NULL, "nothing: it is always used where it can be",
	 CMD_MONITOR, parse_nothing, 0, 0},
	{"nodump", 0, ARG_NONE, NULL, "nothing: no file is written that was not asked for",
	 CMD_MONITOR, parse_nothing, 0, 0},
	{"debug", 0, ARG_NONE, NULL, "the same as --verbose", CMD_MONITOR, parse_bool, AT(verbose),
	 0},
	{"help", 'h', ARG_NONE, NULL, "this text", CMD_ALL, parse_bool, AT(help), 0},
};

/* ---- parsing ---- */

static const struct row *find_long(const char *name, size_t len, unsigned command)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if ((rows[i].commands & command) && strlen(rows[i].name) == len &&
		    !memcmp(rows[i].name, name, len))
			return &rows[i];
	}
	return NULL;
}

static const struct row *find_letter(char letter, unsigned command)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if ((rows[i].commands & command) && rows[i].letter == letter)
			return &rows[i];
	}
	return NULL;
}

static void more_add(const struct row *row, struct options *o)
{
	o->sources_more |= row->sources & ~IN_DETAIL;
	o->session.detail |= (row->sources & IN_DETAIL) != 0;
	for (unsigned bit = 0; bit < OPTIONS_SOURCES; bit++) {
		if (row->sources & (1U << bit))
			o->more[bit] = row->name;
	}
}

/* One option at argv[*i]; *i moves on over an argument that stands behind it. */
static int parse_one(int argc, char **argv, int *i, unsigned command, struct options *o,
		     struct err *e)
{
	const char *arg = argv[*i], *text = NULL;
	const struct row *row;

	if (arg[1] == '-') {
		size_t len = strcspn(arg + 2, "=");

		row = find_long(arg + 2, len, command);
		if (arg[2 + len])
			text = arg + 3 + len;
	} else {
		row = find_letter(arg[1], command);
		if (row && arg[2] && row->argument == ARG_REQUIRED)
			text = arg + 2 + (arg[2] == '=');
		else if (arg[2])
			row = NULL;
	}
	if (!row)
		return err_set(e, -EINVAL,
			       "unknown option '%s'; --help lists those of this command", arg);
	if (row->argument == ARG_NONE && text)
		return err_set(e, -EINVAL, "--%s takes no argument", row->name);
	if (row->argument == ARG_REQUIRED && !text) {
		/* "-c -- claude": what follows "--" is a program, never an argument */
		if (*i + 1 >= argc || !strcmp(argv[*i + 1], "--"))
			return err_set(e, -EINVAL, "--%s needs %s", row->name, row->placeholder);
		text = argv[++*i];
	}
	/* "--ssl false" in older documents; anything else behind a switch is not its argument */
	if (row->argument == ARG_SWITCH && !text && *i + 1 < argc &&
	    (!strcmp(argv[*i + 1], "true") || !strcmp(argv[*i + 1], "false")))
		text = argv[++*i];
	if (row->sources && row->parse != parse_source)
		more_add(row, o);
	return row->parse(row, text, o, e);
}

/* What is no option: a process to attach to, or a file to read. */
static int plain_argument(char *text, unsigned command, struct options *o, struct err *e)
{
	char **more;

	if (!(command & (CMD_ATTACH | CMD_READS)))
		return err_set(e, -EINVAL,
			       "unexpected argument '%s'; a program to start goes behind '--'",
			       text);
	more = realloc(o->args, (o->n_args + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	o->args = more;
	more[o->n_args++] = text;
	return 0;
}

int options_command_index(int argc, char **argv)
{
	int i = 1;

	for (; i < argc && argv[i][0] == '-' && argv[i][1] && strcmp(argv[i], "--"); i++) {
		size_t len = strcspn(argv[i] + 2, "=");
		const struct row *row = argv[i][1] == '-' ? find_long(argv[i] + 2, len, CMD_MONITOR)
							  : find_letter(argv[i][1], CMD_MONITOR);
		bool has_text = argv[i][1] == '-' ? argv[i][2 + len] : argv[i][2];

		if (row && row->argument == ARG_REQUIRED && !has_text)
			i++;
	}
	return i < argc ? i : 1;
}

int options_parse(int argc, char **argv, unsigned command, struct options *o, struct err *e)
{
	for (int i = 0; i < argc; i++) {
		int r;

		if (!strcmp(argv[i], "--")) {
			if (!(command & CMD_STARTS))
				return err_set(e, -EINVAL, "this command starts no program");
			if (i + 1 == argc)
				return err_set(e, -EINVAL,
					       "the program to start is missing after '--'");
			o->session.command = argv + i + 1;
			return 0;
		}
		if (argv[i][0] != '-' || !argv[i][1]) {
			if (command == CMD_RUN) {
				o->session.command = argv + i;
				return 0;
			}
			r = plain_argument(argv[i], command, o, e);
			if (r < 0)
				return r;
			continue;
		}
		r = parse_one(argc, argv, &i, command, o, e);
		if (r < 0)
			return r;
	}
	return 0;
}

void options_done(struct options *o)
{
	for (size_t i = 0; i < o->session.n_names; i++)
		free(o->session.names[i]);
	for (size_t i = 0; i < o->session.n_binary_paths; i++)
		free(o->session.binary_paths[i]);
	for (size_t i = 0; i < o->session.n_alerts; i++)
		free(o->session.alerts[i]);
	for (size_t i = 0; i < o->session.n_env_names; i++)
		free(o->session.env_names[i]);
	free(o->session.alerts);
	free(o->session.env_names);
	free(o->session.names);
	free(o->session.binary_paths);
	free(o->session.pids);
	free(o->args);
}

void options_help(FILE *f, unsigned command)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];
		char left[64];

		if (!(row->commands & command))
			continue;
		snprintf(left, sizeof(left), "%s%c%s --%s%s%s", row->letter ? "-" : " ",
			 row->letter ? row->letter : ' ', row->letter ? "," : " ", row->name,
			 row->placeholder ? " " : "", row->placeholder ? row->placeholder : "");
		fprintf(f, "  %-32s %s\n", left, row->help);
	}
}
