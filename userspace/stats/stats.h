/* SPDX-License-Identifier: MIT */
/*
 * What a run used: for each process, for the tree and for the machine the smallest, largest and mean
 * value and quantiles of what varies, sums of what is counted, and when the peaks were. Every value
 * stands for the interval it was measured over, so that unequal intervals do not shift a mean.
 *
 * Fed live from events (stats/event.h) or from recordings (stats/read.h). Memory is bounded: the
 * largest processes are kept, the others are summed.
 */
#ifndef AGENTSIGHT_STATS_STATS_H
#define AGENTSIGHT_STATS_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "stats/series.h"
#include "stats/sketch.h"

#define STATS_COMM_LEN    16
#define STATS_TEXT_LEN    64
#define STATS_PATH_LEN    256
#define STATS_COMMAND_LEN 512

enum stats_gauge {
	GAUGE_CPU, /* hundredths of a percent of one core */
	GAUGE_RSS, /* kB, as the next three */
	GAUGE_PSS,
	GAUGE_USS,
	GAUGE_SWAP,
	GAUGE_THREADS,
	GAUGE_FDS,
	GAUGE_PROCESSES, /* of a tree */
	GAUGE_READ_RATE, /* bytes per second, made from the counters of a tree, as the next three */
	GAUGE_WRITE_RATE,
	GAUGE_RX_RATE,
	GAUGE_TX_RATE,
	GAUGES,
};

enum stats_counter {
	COUNTER_CPU, /* nanoseconds, as the next three */
	COUNTER_USER,
	COUNTER_SYSTEM,
	COUNTER_WAIT,
	COUNTER_READ, /* bytes from and to storage */
	COUNTER_WRITE,
	COUNTER_RCHAR, /* bytes of read and write calls */
	COUNTER_WCHAR,
	COUNTER_SYSCR, /* those calls */
	COUNTER_SYSCW,
	COUNTER_MINOR, /* page faults */
	COUNTER_MAJOR,
	COUNTER_VOLUNTARY, /* context switches */
	COUNTER_INVOLUNTARY,
	COUNTER_RX, /* payload */
	COUNTER_TX,
	COUNTERS,
};

/* How a value is told to people. */
enum stats_unit {
	UNIT_COUNT,
	UNIT_CENTI_PERCENT,
	UNIT_KB,
	UNIT_BYTES,
	UNIT_BYTES_PER_S,
	UNIT_NS,
	UNIT_NANO_USD,
};

struct stats_name {
	const char *key;   /* in JSON */
	const char *title; /* for people */
	enum stats_unit unit;
};

extern const struct stats_name stats_gauge_names[GAUGES];
extern const struct stats_name stats_counter_names[COUNTERS];

/* ---- what goes in ---- */

enum stats_scope {
	STATS_PROCESS,
	STATS_TREE,    /* a process with all that it started */
	STATS_MACHINE, /* the whole machine */
};

struct stats_sample {
	enum stats_scope scope;
	uint32_t pid;
	uint64_t start;   /* of the process, boot clock: with pid its identity; 0: not known */
	const char *comm; /* @comm_len bytes, may be anything */
	size_t comm_len;
	uint64_t unix_ns;
	uint64_t interval_ns;    /* what it stands for */
	uint64_t peak_rss_kb;    /* as the kernel keeps it; 0: not known */
	uint32_t gauges_known;   /* 1 << enum stats_gauge */
	uint32_t counters_known; /* 1 << enum stats_counter */
	bool counters_relative;  /* they count from the first sample, not from the start */
	uint64_t gauges[GAUGES];
	uint64_t counters[COUNTERS]; /* so far, not since the last sample */
};

struct stats_exit {
	uint32_t pid;
	uint64_t start;
	const char *comm;
	size_t comm_len;
	uint64_t unix_ns;
	uint64_t duration_ns;
	uint64_t peak_rss_kb;
	uint32_t exit_code;
	uint32_t signal;
	uint32_t counters_known;
	uint64_t counters[COUNTERS];
};

struct stats_alert_event {
	uint32_t pid;
	const char *rule, *metric, *unit, *path;
	size_t rule_len, metric_len, unit_len, path_len;
	bool ended;
	uint64_t unix_ns;
	int64_t value, limit, min, avg, max; /* hundredths */
	uint64_t duration_ns;
};

struct stats_call {
	const char *model, *provider;
	size_t model_len, provider_len;
	uint64_t unix_ns; /* of its end */
	uint64_t duration_ns;
	uint64_t input_tokens, output_tokens, cache_read_tokens, cache_write_tokens;
	uint64_t reasoning_tokens;
	uint64_t cost_nano_usd;
	uint64_t tool_calls;
	uint32_t status;
	bool failed;
};

struct stats_tool {
	const char *name;
	size_t name_len;
	uint64_t unix_ns; /* of its end */
	uint64_t duration_ns;
	uint64_t processes, files;
	bool failed;
};

/* ---- what comes out; all of it may be read ---- */

struct stats_value {
	uint64_t n; /* samples; 0: the value was never known */
	uint64_t min, max, last;
	uint64_t max_at_ns;    /* since the epoch */
	uint64_t weight;       /* nanoseconds */
	unsigned __int128 sum; /* value times weight */
	struct sketch sketch;
};

struct stats_process {
	uint32_t pid;
	uint32_t name; /* index of its name */
	uint64_t start;
	char comm[STATS_COMM_LEN];
	uint8_t comm_len;
	bool exited;
	bool root; /* of a tree */
	uint32_t exit_code, signal;
	uint64_t first_ns, last_ns, duration_ns;
	uint64_t samples;
	uint64_t interval_min_ns, interval_max_ns;
	uint64_t peak_rss_kb;
	uint64_t pass; /* the last one it was part of */
	uint32_t counters_known;
	uint32_t base_known;      /* counters whose base is true */
	uint64_t base[COUNTERS];  /* before the recording */
	uint64_t total[COUNTERS]; /* since then */
	struct stats_value values[GAUGE_PROCESSES];
};

/* All processes of one name. */
struct stats_group {
	char comm[STATS_COMM_LEN];
	uint8_t comm_len;
	uint64_t processes, exits, failed;
	uint64_t peak_rss_kb;
	uint32_t counters_known;
	uint64_t total[COUNTERS];
};

struct stats_scope_sums {
	uint64_t samples;
	uint64_t first_ns, last_ns;
	uint64_t interval_min_ns, interval_max_ns, interval_sum_ns;
	uint32_t counters_known;
	uint64_t total[COUNTERS];
	struct stats_value values[GAUGES];
};

struct stats_alert {
	char rule[STATS_TEXT_LEN];
	char metric[STATS_TEXT_LEN];
	char unit[STATS_COMM_LEN];
	char path[STATS_PATH_LEN]; /* of a cgroup, or "" */
	uint32_t pid;
	bool ended;
	uint64_t begin_ns, end_ns;
	int64_t limit, min, avg, max; /* hundredths */
};

struct stats_model {
	char name[STATS_TEXT_LEN];
	char provider[STATS_TEXT_LEN];
	uint64_t calls, failed, tool_calls;
	uint64_t input_tokens, output_tokens, cache_read_tokens, cache_write_tokens;
	uint64_t reasoning_tokens;
	uint64_t cost_nano_usd, duration_ns;
};

struct stats_tool_sums {
	char name[STATS_TEXT_LEN];
	uint64_t runs, failed, processes, files, duration_ns;
};

/* One call or tool run, for the report. */
struct stats_act {
	bool is_tool, failed;
	uint16_t which; /* model or tool */
	uint64_t begin_ns, end_ns;
	uint64_t input_tokens, output_tokens, cost_nano_usd;
};

/* Trees of a recording: what each moved is added up, and what each has, of those of one moment. */
struct stats_root {
	uint32_t pid;
	uint64_t start;
	uint64_t moment; /* the last one that it has a row of */
	uint64_t base[COUNTERS], total[COUNTERS];
	uint32_t counters_known, gauges_known;
	uint64_t gauges[GAUGES];
};

#define STATS_PROCESSES 4096
#define STATS_SMALL     32768
#define STATS_GROUPS    1024
#define STATS_ROOTS     1024
#define STATS_ALERTS    256
#define STATS_MODELS    64
#define STATS_TOOLS     64
#define STATS_ACTS      512

struct stats_table;

struct stats {
	uint64_t begin_ns, end_ns; /* of all that was told */
	uint64_t samples;          /* rows of all scopes */

	char command[STATS_COMMAND_LEN]; /* of the first tree's root, or of the first process */
	uint32_t command_pid;
	uint64_t command_start;

	/* processes, in no order; those that had to make room are in `others` */
	struct stats_process *processes;
	size_t n_processes;
	uint64_t processes_seen, exits, failed, oom_kills;
	struct stats_group others;
	bool others_approximate; /* more processes at once than can be told apart */
	struct stats_group *groups;
	size_t n_groups; /* the last one stands for all names that found no place */

	bool has_tree; /* `tree` comes from rows of the tree, else from adding up processes */
	uint32_t cores;
	uint64_t elapsed_ns; /* as the recording says; 0: not known */
	struct stats_scope_sums tree, machine;
	/* the first one stays; the place of another that is over is used again */
	struct stats_root roots[STATS_ROOTS];
	size_t n_roots;
	uint64_t tree_rows_refused; /* of trees that found no place among those */
	struct series series;

	struct stats_alert alerts[STATS_ALERTS];
	size_t n_alerts;
	uint64_t alerts_seen;

	struct stats_model models[STATS_MODELS], calls;
	size_t n_models;
	struct stats_tool_sums tools[STATS_TOOLS], tool_runs;
	size_t n_tools;
	struct stats_act acts[STATS_ACTS];
	size_t n_acts;

	uint64_t lost; /* events, as the recordings say */

	/* the functions' own */
	struct stats_table *table;
	uint64_t lost_before;                   /* in the recordings that are over */
	uint64_t run_begin_ns, first_sample_ns; /* of the recording that is not; 0: not known */
	bool offset_known;
	int64_t boot_offset_ns;                         /* unix less boot */
	uint64_t moment, moment_ns, moment_interval_ns; /* of the rows of trees */
	bool moment_open;                               /* not in `tree` yet */
	uint64_t pass, pass_begin_ns, pass_interval_ns;
	uint64_t pass_gauges[GAUGES];
	uint32_t pass_known;
	size_t memory;                /* of the sketches of processes */
	uint64_t pass_last[COUNTERS]; /* sums when the last pass ended */
	uint32_t pass_counters;       /* those that were known then */
};

int stats_new(struct stats **ret);

/* A recording begins. What follows has its own clock, and its own losses, until the next one does. */
void stats_recording_begin(struct stats *s, uint64_t unix_ns);

/* 0, or -ENOMEM: then the sample is only partly in. */
int stats_sample(struct stats *s, const struct stats_sample *x);
int stats_exit(struct stats *s, const struct stats_exit *x);

/* A process exists since then (unix clock), so all it counts belongs to the recording. */
void stats_started(struct stats *s, uint32_t pid, uint64_t start, uint64_t unix_ns);

/* Its arguments, joined by spaces. */
void stats_command(struct stats *s, uint32_t pid, uint64_t start, const char *text, size_t len);

/* The recording covers this time, whether or not there was a sample. */
void stats_span(struct stats *s, uint64_t unix_ns, uint64_t interval_ns);

void stats_alert(struct stats *s, const struct stats_alert_event *x);
void stats_call(struct stats *s, const struct stats_call *x);
void stats_tool(struct stats *s, const struct stats_tool *x);

/* Events were lost: some as it is announced, and all of the recording as its end says. */
void stats_lost(struct stats *s, uint64_t events);
void stats_recording_stop(struct stats *s, uint64_t events);

/* After the last sample, before anything is read. */
void stats_finish(struct stats *s);

void stats_free(struct stats *s);
DEFINE_FREEP(struct stats *, stats_free);

/* ---- reading ---- */

uint64_t stats_mean(const struct stats_value *v);
uint64_t stats_quantile(const struct stats_value *v, unsigned permille);

/* From begin to end, by the recording's own account where there is one. */
uint64_t stats_wall_ns(const struct stats *s);

/*
 * The processes that used most CPU time, then memory: writes at most @max pointers, returns how many.
 */
size_t stats_largest(const struct stats *s, const struct stats_process **out, size_t max);

/* The same for names. */
size_t stats_largest_groups(const struct stats *s, const struct stats_group **out, size_t max);

/* The process whose end was the run's: the root of the tree. NULL when there is none. */
const struct stats_process *stats_main_process(const struct stats *s);

#endif
