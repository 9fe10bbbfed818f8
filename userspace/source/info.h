/* SPDX-License-Identifier: MIT */
/*
 * Who a process is: an `info` event for each program that a process runs, from the exec event itself and
 * what /proc still tells, and for those that were there before, from /proc alone. A child that was forked
 * and runs its parent's program is no news.
 */
#ifndef AGENTSIGHT_SOURCE_INFO_H
#define AGENTSIGHT_SOURCE_INFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "enrich/proc_table.h"
#include "event/event.h"

struct cgroup_source;
struct info;

/* All is borrowed. */
struct info_options {
	const char *procfs;             /* "/proc", or what a test has made */
	const char *passwd;             /* "/etc/passwd" */
	const struct proc_table *table; /* borrowed */
	struct cgroup_source *cgroups;  /* borrowed */
	char *const *env_names;         /* borrowed; exact names */
	size_t n_env_names;
	bool polling; /* there are no exec events: a change of name tells of a new program */
};

int info_open(const struct info_options *opt, struct info **ret);
void info_free(struct info *in);
DEFINE_FREEP(struct info *, info_free)

/* Learns from exec, fork and exit; behind an exec the `info` event goes to @out. */
void info_event(struct info *in, const struct event *ev, struct emitter *out);

/* A process that was there before: told by one of the next info_tick(). */
void info_process(struct info *in, uint32_t tgid);

/*
 * Tells of some that info_process() named, and about once a second (@second) looks at the cgroups of a few
 * processes, which may have been moved. True when more wait to be told.
 */
bool info_tick(struct info *in, bool second, struct emitter *out);

/* The limits of the cgroup that the process is in; false when it is not known. */
bool info_limits(const struct info *in, uint32_t tgid, uint64_t *ret_quota_centi,
		 uint64_t *ret_memory_kb);

#endif
