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
struct sampler;

struct task_source {
	const char *name;
	/* Calls sampler_add() for the threads of every followed process. 0 or an error. */
	int (*scan)(struct task_source *self, struct sampler *to);
	void (*free)(struct task_source *self);
};

static inline void task_source_free(struct task_source *src)
{
	if (src)
		src->free(src);
}
DEFINE_FREEP(struct task_source *, task_source_free)

/* One pass of a BPF iterator: 0.3 us per task, exact times. -EPERM and others when it cannot be had. */
int task_bpf_open(struct bpf_shared *shared, struct task_source **ret, struct err *e);

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
};
int task_procfs_open(const struct task_procfs_options *opt, struct task_source **ret);

struct sampler_options {
	struct proc_table *table; /* borrowed */
	struct procfs *fs; /* borrowed; for the machine's numbers, may be NULL without `machine` */
	struct task_source *source; /* taken over, also when the call fails; NULL with `machine` */
	bool machine;               /* nothing is selected: one system_wide record per sample */
	uint32_t cores;             /* 0: ask */
};

int sampler_new(const struct sampler_options *opt, struct sampler **ret);
void sampler_free(struct sampler *s);
DEFINE_FREEP(struct sampler *, sampler_free)

/* One record per followed process, or one of the machine. 0, or why there are none. */
int sampler_sample(struct sampler *s, uint64_t boot_ns, struct emitter *out);

/* For task sources. @exact: the start time is the kernel's own, not that of /proc. */
void sampler_add(struct sampler *s, const struct as_task *task, bool exact);

#endif
