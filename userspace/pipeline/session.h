/* SPDX-License-Identifier: MIT */
/* One run: sources, stages and sinks put together, the loop that drives them, and the ledger. */
#ifndef AGENTSIGHT_PIPELINE_SESSION_H
#define AGENTSIGHT_PIPELINE_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "pipeline/pace.h"

enum session_source {
	SOURCE_PROCESS = 1 << 0,
	SOURCE_FILES = 1 << 1,
	SOURCE_NETWORK = 1 << 2,
	SOURCE_TLS = 1 << 3,
	SOURCE_SYSTEM = 1 << 4,
	SOURCE_STDIO = 1 << 5, /* all of it; JSON-RPC comes with SOURCE_TLS */
};

enum session_format {
	FORMAT_AGENTSIGHT,
	FORMAT_DENET, /* the records of denet, for tools that read them */
};

struct session_options {
	unsigned sources; /* SOURCE_*: whose events are delivered */
	bool each_call;   /* network: every send and receive */
	char **names;     /* -c; with n_names */
	size_t n_names;
	uint32_t *pids; /* -p; with n_pids */
	size_t n_pids;
	bool by_uid;
	uint32_t uid;
	bool no_children;
	char **binary_paths;
	size_t n_binary_paths;
	uint64_t interval_ns;     /* of the samples */
	struct pace pace;         /* how interval_ns varies */
	bool detail;              /* samples with all that can be had cheaply, and trees */
	bool threads;             /* a sample of every thread */
	uint64_t pss_interval_ns; /* between two looks at PSS and USS of a process; 0: never */
	bool syscalls;            /* sums of system calls per process */
	bool offcpu;              /* sums of waits per process */
	bool gpu;                 /* look for graphics and compute devices */
	bool pressure;            /* stalls of the machine and of the processes' cgroups */
	char **env_names;         /* variables to tell in `info`; with n_env_names */
	size_t n_env_names;
	uint64_t cpu_threshold_centi; /* 0: none */
	uint64_t memory_threshold_kb; /* 0: none */
	char **alerts;                /* rules: "cpu > 80 for 10s"; with n_alerts */
	size_t n_alerts;
	const char *on_alert; /* command to run when an alert starts or ends; NULL: none */
	const char *webhook;  /* URL that is told of it; NULL: none */
	enum session_format format;
	uint64_t duration_ns; /* 0: until it is stopped */
	const char *filter;   /* NULL: everything */
	bool no_redact;
	const char *prices; /* file; NULL: the system's and the user's */
	const char *output; /* NULL: standard output */
	size_t rotate_bytes;
	unsigned rotate_keep;
	size_t ring_bytes; /* of each ring; 0: the defaults */
	size_t queue_bytes;
	char **command; /* started and followed; NULL: none */
	bool readable;  /* lines for a person on standard output */
	bool colour;
	bool quiet;
	bool summary;      /* say at the end what was seen */
	bool status;       /* one line on standard error, rewritten in place */
	bool status_lines; /* the same as a new line each time */
	bool examine;      /* load whatever can be loaded: nothing is recorded, only told */
	char **argv;       /* how agentsight was called, for the `start` event */
	int argc;
};

/*
 * Runs until it is stopped. 0 when it ended as asked; -EPERM when privilege is missing; another
 * negative errno, with a sentence in @e, when it could not do its work.
 */
int session_run(const struct session_options *opt, struct err *e);

#endif
