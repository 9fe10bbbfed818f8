/* SPDX-License-Identifier: MIT */
/*
 * A line of a recording, looked through once: where the members stand that statistics are made from.
 * No tree, no copy, and nothing behind the type of an event that is not wanted: a recording is a
 * gigabyte of which most is passed over.
 */
#ifndef AGENTSIGHT_STATS_SCAN_H
#define AGENTSIGHT_STATS_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/value.h"

/* That many bytes behind the text are read, and may be anything. */
#define SCAN_SLACK 32

enum scan_member {
	/* the envelope, and records of denet */
	SCAN_TIMESTAMP,
	SCAN_SOURCE,
	SCAN_PID,
	SCAN_COMM,
	SCAN_EXEC_ID,
	SCAN_DATA,
	SCAN_KIND,
	SCAN_TS_MS,
	SCAN_T0_MS,
	SCAN_CMD,
	SCAN_EXECUTABLE,
	SCAN_COMMAND,
	SCAN_PARENT,
	SCAN_CHILDREN,
	SCAN_AGGREGATED,
	SCAN_METRICS,
	/* of denet's metrics */
	SCAN_CPU_USAGE,
	SCAN_MEM_RSS,
	SCAN_DISK_READ,
	SCAN_DISK_WRITE,
	SCAN_SYSCALL_READ,
	SCAN_SYSCALL_WRITE,
	SCAN_FAULTS_CACHED,
	SCAN_FAULTS_DISK,
	SCAN_NET_RX,
	SCAN_NET_TX,
	SCAN_TCP_RX,
	SCAN_TCP_TX,
	SCAN_THREAD_COUNT,
	SCAN_PROCESS_COUNT,
	/* of the event */
	SCAN_TYPE,
	SCAN_INTERVAL,
	SCAN_ELAPSED,
	SCAN_CPU_PERCENT,
	SCAN_CORES,
	SCAN_CPU_TOTAL,
	SCAN_CPU_USER,
	SCAN_CPU_SYSTEM,
	SCAN_CPU_WAIT,
	SCAN_RSS,
	SCAN_PSS,
	SCAN_USS,
	SCAN_SWAP,
	SCAN_PEAK,
	SCAN_USED,
	SCAN_PROCESS_THREADS,
	SCAN_FDS,
	SCAN_THREADS,
	SCAN_PROCESSES,
	SCAN_READ_BYTES,
	SCAN_WRITE_BYTES,
	SCAN_RCHAR,
	SCAN_WCHAR,
	SCAN_SYSCR,
	SCAN_SYSCW,
	SCAN_MINOR,
	SCAN_MAJOR,
	SCAN_VOLUNTARY,
	SCAN_INVOLUNTARY,
	SCAN_RX,
	SCAN_TX,
	SCAN_EXIT_CODE,
	SCAN_SIGNAL,
	SCAN_DURATION,
	SCAN_EXIT_USER,
	SCAN_EXIT_SYSTEM,
	SCAN_MAX_RSS,
	SCAN_EXIT_READ,
	SCAN_EXIT_WRITE,
	SCAN_EXIT_RCHAR,
	SCAN_EXIT_WCHAR,
	SCAN_ARGV,
	SCAN_STARTED,
	SCAN_RULE,
	SCAN_METRIC,
	SCAN_UNIT,
	SCAN_PATH,
	SCAN_STATE,
	SCAN_VALUE,
	SCAN_LIMIT,
	SCAN_MIN,
	SCAN_AVG,
	SCAN_MAX,
	SCAN_PROVIDER,
	SCAN_MODEL,
	SCAN_ROLE,
	SCAN_STATUS,
	SCAN_ERROR,
	SCAN_TOOL_CALLS,
	SCAN_COST,
	SCAN_TOKENS_IN,
	SCAN_TOKENS_OUT,
	SCAN_TOKENS_READ,
	SCAN_TOKENS_WRITTEN,
	SCAN_TOKENS_REASONING,
	SCAN_NAME,
	SCAN_FILE_COUNT,
	SCAN_IS_ERROR,
	SCAN_REASON,
	SCAN_COUNT,
	SCAN_LOST,
	SCAN_MEMBERS,
};

enum scan_event {
	SCAN_EV_NONE, /* nothing that is wanted here */
	SCAN_EV_PROCESS,
	SCAN_EV_TREE,
	SCAN_EV_MACHINE,
	SCAN_EV_EXIT,
	SCAN_EV_EXEC,
	SCAN_EV_INFO,
	SCAN_EV_OOM_KILL,
	SCAN_EV_THRESHOLD,
	SCAN_EV_RESPONSE,
	SCAN_EV_TOOL_RUN,
	SCAN_EV_LOSS,
	SCAN_EV_START,
	SCAN_EV_STOP,
	SCAN_EV_DENET,
	SCAN_EV_BAD, /* no line of a recording, or cut */
};

struct scan {
	uint64_t present[(SCAN_MEMBERS + 63) / 64];
	struct value members[SCAN_MEMBERS]; /* as they stand there; those not present are not set */
	uint64_t numbers[SCAN_MEMBERS];     /* what the digits they begin with say, else 0 */
};

/* Once, before the others. */
void scan_init(void);

/* What the line is; the text is told without its end of line. */
enum scan_event scan_line(const char *p, size_t n, struct scan *out);

/* The members of a `metrics` object of denet, or of one of its children, into @out. */
bool scan_metrics(struct value object, bool child, struct scan *out);

static inline bool scan_has(const struct scan *s, enum scan_member m)
{
	return s->present[m / 64] >> m % 64 & 1;
}

static inline bool scan_number(const struct scan *s, enum scan_member m)
{
	char c;

	if (!scan_has(s, m))
		return false;
	c = *s->members[m].p;
	return c == '-' || (c >= '0' && c <= '9');
}

/* Whole numbers, UINT64_MAX for larger ones; 0 when there is none. */
static inline uint64_t scan_u64(const struct scan *s, enum scan_member m)
{
	return scan_has(s, m) ? s->numbers[m] : 0;
}

/* Hundredths of a decimal number, also of one in quotes. */
int64_t scan_centi(const struct scan *s, enum scan_member m);

/* A string as it stands there, without its quotes. */
struct value scan_raw(const struct scan *s, enum scan_member m);

/* Is it this string? */
bool scan_is(const struct scan *s, enum scan_member m, const char *text);

/* The two numbers of "pid@start". */
bool scan_exec_id(const struct scan *s, uint32_t *ret_pid, uint64_t *ret_start);

#endif
