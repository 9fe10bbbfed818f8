/* SPDX-License-Identifier: MIT */
/*
 * Classic tracepoints, attached through a perf event. libbpf needs tracefs mounted at one of two
 * places for that; here it is enough that the kernel has it.
 */
#ifndef AGENTSIGHT_SOURCE_TRACEPOINT_H
#define AGENTSIGHT_SOURCE_TRACEPOINT_H

struct bpf_link;
struct bpf_program;
struct perf_event_attr;

/* An event of any process on the first processor that is switched on: a descriptor, to be closed, or an error. */
int tracepoint_event(struct perf_event_attr *attr);

/* -ENOENT when the kernel has no such tracepoint or no tracefs. */
int tracepoint_attach(struct bpf_program *prog, const char *category, const char *name,
		      struct bpf_link **ret);

#endif
