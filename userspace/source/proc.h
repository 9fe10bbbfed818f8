/* SPDX-License-Identifier: MIT */
/* The process family: exec, fork, exit, and the kernel's set of followed processes. */
#ifndef AGENTSIGHT_SOURCE_PROC_H
#define AGENTSIGHT_SOURCE_PROC_H

#include "base/err.h"
#include "source/bpf.h"

struct proc_source;

/* Loads and attaches. Every other family needs this one: it keeps the set of followed processes. */
int proc_source_open(struct bpf_shared *s, struct proc_source **ret, struct err *e);
void proc_source_free(struct proc_source *p);

/*
 * Measures the scheduler's clock against CLOCK_MONOTONIC, for the CPU time of processes that end
 * between two ticks. About once a second: the two drift apart by some parts in a million.
 */
void proc_source_sync_clock(struct proc_source *p);

/* Puts a process into the kernel's set, or takes it out, or a base name into the names that exec looks for. */
int proc_source_follow(struct proc_source *p, uint32_t tgid, uint64_t start_ns, uint32_t flags);
void proc_source_unfollow(struct proc_source *p, uint32_t tgid);

/* Is anybody in the kernel's set? Who is forked is, before the event comes and though it may be lost. */
bool proc_source_has_members(const struct proc_source *p);

int proc_source_name(struct proc_source *p, const char *name);

#endif
