/* SPDX-License-Identifier: MIT */
/*
 * System calls, summed up per process in the kernel: a `syscalls` event at an interval, when the process
 * ends and at the end of the run, each with what was since the one before.
 */
#ifndef AGENTSIGHT_SOURCE_SYSCALLS_H
#define AGENTSIGHT_SOURCE_SYSCALLS_H

#include <stdint.h>

#include "base/err.h"
#include "source/bpf.h"
#include "source/sums.h"

struct syscalls_source;

int syscalls_source_open(struct bpf_shared *s, const struct sums_options *opt,
			 struct syscalls_source **ret, struct err *e);

/* A process has ended; @exit is the header of its exit event. Emits at once. */
void syscalls_source_exit(struct syscalls_source *s, const struct as_hdr *exit);

/* About once a second: emits when the interval is over. */
void syscalls_source_tick(struct syscalls_source *s, uint64_t boot_ns);

/* Emits for every process now; the interval begins anew. */
void syscalls_source_flush(struct syscalls_source *s, uint64_t boot_ns);

/* Before the last drain: the sums up to now. */
void syscalls_source_finish(struct syscalls_source *s);

void syscalls_source_free(struct syscalls_source *s);

#endif
