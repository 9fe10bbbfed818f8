/* SPDX-License-Identifier: MIT */
/* One run: sources, stages and sinks put together, the loop that drives them, and the ledger. */
#ifndef AGENTSIGHT_PIPELINE_SESSION_H
#define AGENTSIGHT_PIPELINE_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "event/event.h"
#include "pipeline/child.h"
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
	bool no_kernel;   /* /proc only */
	bool best_effort; /* without kernel programs go on with what /proc tells */
	bool since_start; /* trees: sums since the processes started, not since the first sample */
	bool write_env;   /* denet: begin with what the machine is */
	bool statistics;  /* of the samples, at the end */
	bool forced_samples;  /* fork, exec, exit and alerts make a sample due */
	uint64_t duration_ns; /* 0: until it is stopped */
	const char *filter;   /* NULL: everything */
	bool no_redact;
	const char *prices; /* file; NULL: the system's and the user's */
	const char *output; /* NULL: standard output */
	size_t rotate_bytes;
	unsigned rotate_keep;
	size_t ring_bytes; /* of each ring; 0: the defaults */
	size_t queue_bytes;
	bool no_output;           /* no JSON at all: readable lines and observer only */
	char **command;           /* started and followed; NULL: none */
	bool command_first;       /* it gets the signals that end us; we end when it has ended */
	struct child_files files; /* where the output of the command goes */
	const struct child_signals *signals; /* it begins with; NULL: with all as by default */
	bool end_with_pids;                  /* when the last of `pids` has ended */
	bool end_with_members;               /* when all that they have started has ended, too */
	bool readable;                       /* lines for a person on standard output */
	bool colour;
	bool colour_err; /* the same for standard error */
	bool quiet;
	bool summary;      /* say at the end what was seen */
	bool status;       /* one line on standard error, rewritten in place */
	bool status_lines; /* the same as a new line each time */
	bool examine;      /* load whatever can be loaded: nothing is recorded, only told */
	char **argv;       /* how agentsight was called, for the `start` event */
	int argc;
	bool embedded; /* in a program of somebody else: signals, priority and privileges are left alone */
	bool keep_privileges; /* one process does all */
	/* gets every event that is delivered, with its JSON line, and leaves the session alone; may be NULL */
	void (*observer)(void *context, const struct event *ev, const char *line, size_t len);
	void *observer_context;
};

struct session_result {
	bool released; /* the command was let go: an error is then why it could not be executed */
	bool command_ended;
	bool status_unknown; /* SIGCHLD is ignored, and so nobody can tell */
	int command_status;  /* as of wait4(2) */
	bool interrupted;    /* SIGINT ended the run */
	bool timed_out;      /* its duration was over */
	uint64_t alerts;     /* that were raised */
};

struct session;

/*
 * Attaches everything; the command, if there is one, is held. Everything in @opt must outlive the session. -EPERM
 * when privilege is missing; another negative errno, with a sentence in @e, when it cannot do its work.
 */
int session_open(const struct session_options *opt, struct session **ret, struct err *e);

/* Lets the command go. An error, with a sentence, when it cannot be started. */
int session_start(struct session *s, struct err *e);

/* For the caller's own loop: readable when session_step() has something to do. */
int session_fd(const struct session *s);

/* Waits up to @timeout_ms (-1: until something happens) and works. False when the run has ended. */
bool session_step(struct session *s, int timeout_ms);

/* Makes session_fd() readable, also when nothing else does. */
void session_kick(struct session *s);

void session_stop(struct session *s, const char *reason);
void session_sample(struct session *s); /* one more, now */

pid_t session_command_pid(const struct session *s); /* 0: none */

/* Statistics so far as JSON, appended (docs/STATS.md). -ENODATA when they were not asked for. */
int session_statistics(const struct session *s, struct buf *json);

/* Passes on what is on its way, writes `stop` and frees. @ret may be NULL. */
void session_close(struct session *s, struct session_result *ret);

/* All of it. 0 when it ended as asked; errors as of session_open(), which leave @ret alone, and session_start(). */
int session_run(const struct session_options *opt, struct session_result *ret, struct err *e);

/* Will the run give its privileges up? See priv_split(). */
bool session_splits(const struct session_options *opt);

#endif
