/* SPDX-License-Identifier: MIT */
/*
 * CPU, memory and I/O of the followed processes, or of the machine, at each call of sampler_sample().
 * Where the numbers come from is a task source: the BPF task iterator, else /proc.
 */
#ifndef AGENTSIGHT_SOURCE_SAMPLER_H
#define AGENTSIGHT_SOURCE_SAMPLER_H

#include <stdbool.h>
#include <stdint.h>

#include <agentsight/task.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "enrich/proc_table.h"
#include "event/event.h"
#include "source/procfs.h"

struct bpf_shared;
struct who;
struct sampler;

struct task_source {
	const char *name;
	/* Calls sampler_add() for the threads of every followed process. 0 or an error. */
	int (*scan)(struct task_source *self, struct sampler *to);
	void (*free)(struct task_source *self);
	bool waited_io; /* the I/O of a process holds that of children that it waited for */
};

static inline void task_source_free(struct task_source *src)
{
	if (src)
		src->free(src);
}
DEFINE_FREEP(struct task_source *, task_source_free)

/*
 * One pass of a BPF iterator: 0.3 us per task, exact times. -EPERM and others when it cannot be had.
 * @detail: all that struct as_task_more holds; without it the pass is as cheap as can be.
 */
int task_bpf_open(struct bpf_shared *shared, bool detail, struct task_source **ret, struct err *e);

/*
 * /proc, for one's own processes without privilege: finds new ones and ends old ones in the table
 * itself, since no events do. All is borrowed, and must outlive the source.
 */
struct task_procfs_options {
	struct procfs *fs;
	struct proc_table *table;
	const struct proc_match *match;
	procfs_found_fn found; /* may be NULL */
	void *ctx;
	bool detail;  /* struct as_task_more, as far as /proc tells */
	bool threads; /* each thread on its own */
};
int task_procfs_open(const struct task_procfs_options *opt, struct task_source **ret);

struct sampler_options {
	struct proc_table *table; /* borrowed */
	struct procfs *fs; /* borrowed; for the machine's numbers, may be NULL without `machine` */
	struct task_source *source; /* taken over, also when the call fails; NULL with `machine` */
	bool machine;               /* nothing is selected: one system_wide record per sample */
	uint32_t cores;             /* 0: ask */

	/* These need a source that was opened with `detail`, the second one with `threads`. */
	bool detail;  /* all optional fields of system_metrics, and trees */
	bool threads; /* a row per thread */
	uint64_t
		pss_interval_ns; /* between two looks at PSS and USS of a process; 0: never. Needs `fs` */
	const struct who *who; /* borrowed: limits of cgroups; may be NULL */
	bool sockets;      /* ask the kernel for the bytes of TCP sockets (sock_diag); needs `fs` */
	bool since_start;  /* trees: who ran before counts with all that it had used */
	uint64_t begin_ns; /* when the run began, boot clock; 0: at sampler_new() */
	/* Called once for a part that cannot be had: "pss", "sockets". May be NULL. */
	void (*missing)(void *ctx, const char *part, int error);
	void *ctx;
};

int sampler_new(const struct sampler_options *opt, struct sampler **ret);
void sampler_free(struct sampler *s);
DEFINE_FREEP(struct sampler *, sampler_free)

/*
 * From now on every sample ends with a tree record for this process and all that descend from it,
 * also when it has ended itself. Who descends from two roots counts for the nearer one.
 */
int sampler_root(struct sampler *s, uint32_t tgid);

/* The command of the run was held until now: the time that trees tell counts from here. */
void sampler_released(struct sampler *s, uint64_t boot_ns);

/* What all trees together did, by a sample. */
struct sampler_load {
	uint64_t interval_ns; /* since the sample before */
	uint64_t cpu_centi;
	uint64_t rss_kb;
	uint64_t io_bytes; /* of storage and of calls, so far */
};

/*
 * Where the time of the next sample depends on what this one shows: @plan is asked for it, with the
 * processes' records emitted and those of the trees not yet. Not when none is planned.
 */
void sampler_plan(struct sampler *s,
		  uint64_t (*plan)(void *ctx, uint64_t boot_ns, const struct sampler_load *load),
		  void *ctx);

/*
 * One record per followed process, or one of the machine; then the trees. @next_ns: the planned time
 * to the next sample, unless sampler_plan() has it; 0: none. 0, or why there are no records.
 */
int sampler_sample(struct sampler *s, uint64_t boot_ns, enum as_sample_reason reason,
		   uint64_t next_ns, struct emitter *out);

/* Bytes that a process moved over the network, as an event told; for processes that ended, too. */
void sampler_net(struct sampler *s, uint32_t tgid, uint64_t start_ns, uint64_t rx_bytes,
		 uint64_t tx_bytes);

/*
 * What wait4() told of a root: all of it and of the children that were waited for. Without events
 * from the kernel that is more than any sample could see; with them it changes nothing.
 */
struct rusage;
void sampler_waited(struct sampler *s, uint32_t tgid, const struct rusage *use);

/*
 * For task sources. @more is NULL without detail. @exact: the start time is the kernel's own, not that
 * of /proc.
 */
void sampler_add(struct sampler *s, const struct as_task *task, const struct as_task_more *more,
		 bool exact);

#endif
