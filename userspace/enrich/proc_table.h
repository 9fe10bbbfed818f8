/* SPDX-License-Identifier: MIT */
/*
 * Who is who: every known process by pid and start time. Seeded from /proc at the start and kept
 * by exec, fork and exit events afterwards. Bounded: an entry goes when its process has ended and
 * nobody holds it, and the oldest ended ones go first when the table is full.
 */
#ifndef AGENTSIGHT_ENRICH_PROC_TABLE_H
#define AGENTSIGHT_ENRICH_PROC_TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <agentsight/control.h>

#include "event/event.h"

struct proc {
	uint32_t tgid;
	uint32_t ppid;
	uint32_t uid;
	uint64_t start_ns; /* boot clock; from /proc in 10 ms steps until the kernel says it exactly */
	char comm[AS_COMM_LEN];
	bool followed;	/* belongs to what the user asked for */
	bool exited;
	struct proc *parent;	  /* NULL when unknown */
	uint32_t living_children; /* followed ones, direct */
	uint64_t exited_cpu_ns;	  /* of ended children, not yet credited to a sample */
	void *sampler;		  /* the sampler's own state; freed by its callback */
};

struct proc_table;

int proc_table_new(struct proc_table **ret);
void proc_table_free(struct proc_table *t);

struct proc *proc_table_find(const struct proc_table *t, uint32_t tgid);

/* Learns from exec, fork and exit; any other event only confirms name and start time. */
void proc_table_event(struct proc_table *t, const struct event *ev);

#endif
