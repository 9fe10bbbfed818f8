/* SPDX-License-Identifier: MIT */
/*
 * Who processes are, which cgroups they are in and which devices they use: info, cgroup and gpu behind one
 * door, for whoever drives the sources.
 */
#ifndef AGENTSIGHT_SOURCE_WHO_H
#define AGENTSIGHT_SOURCE_WHO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "enrich/proc_table.h"
#include "event/event.h"

struct bpf_shared;
struct who;

/* All is borrowed. */
struct who_options {
	const struct proc_table *table;
	struct bpf_shared *shared; /* NULL: there are no kernel programs, and no events of them */
	char *const *env_names;
	size_t n_env_names;
	bool pressure;
	bool gpu;
};

int who_open(const struct who_options *opt, struct who **ret, struct err *e);
void who_free(struct who *w);
DEFINE_FREEP(struct who *, who_free)

/* See info_process(), info_event(), info_tick() and info_limits(). */
void who_process(struct who *w, uint32_t tgid);
void who_event(struct who *w, const struct event *ev, struct emitter *out);
bool who_tick(struct who *w, bool second, struct emitter *out);
bool who_limits(const struct who *w, uint32_t tgid, uint64_t *ret_quota_centi,
		uint64_t *ret_memory_kb);

/* See cgroup_source_refused(). */
uint64_t who_cgroups_refused(const struct who *w);

/* `cgroup` events when there is `pressure`, `gpu` events when there is `gpu`. */
void who_sample(struct who *w, uint64_t boot_ns, struct emitter *out);

#endif
