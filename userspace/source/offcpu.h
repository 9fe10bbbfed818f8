/* SPDX-License-Identifier: MIT */
/*
 * What threads wait for, summed up per process in the kernel: an `offcpu` event at an interval, when the
 * process ends and at the end of the run, each with what was since the one before. Waits that go on are
 * in it as far as they have come.
 */
#ifndef AGENTSIGHT_SOURCE_OFFCPU_H
#define AGENTSIGHT_SOURCE_OFFCPU_H

#include <stdint.h>

#include "base/err.h"
#include "source/bpf.h"
#include "source/sums.h"

struct offcpu_source;

int offcpu_source_open(struct bpf_shared *s, const struct sums_options *opt,
		       struct offcpu_source **ret, struct err *e);

/* A process has ended; @exit is the header of its exit event. Told at the next tick. */
void offcpu_source_exit(struct offcpu_source *s, const struct as_hdr *exit);

/* About once a second: emits for what has ended, and for all when the interval is over. */
void offcpu_source_tick(struct offcpu_source *s, uint64_t boot_ns);

/* Emits for every process now; the interval begins anew. */
void offcpu_source_flush(struct offcpu_source *s, uint64_t boot_ns);

/* Before the last drain: the sums up to now, with the waits that go on. */
void offcpu_source_finish(struct offcpu_source *s);

void offcpu_source_free(struct offcpu_source *s);

#endif
