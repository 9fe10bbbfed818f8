/* SPDX-License-Identifier: MIT */
/*
 * Cgroups of the followed processes, of version 2, version 1 and both at once: who runs there, what the
 * limits are, and how long tasks were stalled. A cgroup is known as long as somebody holds it, and read
 * once for all of its processes.
 */
#ifndef AGENTSIGHT_SOURCE_CGROUP_H
#define AGENTSIGHT_SOURCE_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "enrich/container.h"
#include "event/event.h"

struct bpf_shared;

/* ---- parsers; -EBADMSG to what the kernel would not have written ---- */

struct cgroup_text {
	const char *p;
	size_t n;
};

/* The lines of /proc/PID/cgroup that are of use; p is NULL where there is none. */
struct cgroup_place {
	struct cgroup_text unified;
	struct cgroup_text memory;
	struct cgroup_text cpu;
	struct cgroup_text cpuacct;
	struct cgroup_text pids;
	struct cgroup_text named; /* systemd's own hierarchy */
};

int cgroup_parse_place(const char *text, size_t n, struct cgroup_place *ret);

/*
 * The path to show: one that tells of a container or pod; else that of version 2, unless the processes are sorted in
 * version 1.
 */
struct cgroup_text cgroup_place_path(const struct cgroup_place *place);

struct cgroup_stall {
	uint64_t some_ns;
	uint64_t full_ns;
	uint64_t some_centi; /* avg10 */
	uint64_t full_centi;
};
int cgroup_parse_pressure(const char *text, size_t n, struct cgroup_stall *ret);

/* cpu.max: the quota as percent of one processor, in hundredths; 0: none. */
int cgroup_parse_quota(const char *text, size_t n, uint64_t *ret_centi);

/* A number of bytes, or "max"; 0: none. Version 1 writes no limit as a number close to 2^63. */
int cgroup_parse_bytes(const char *text, size_t n, uint64_t *ret_kb);

/* The number behind @key at the start of a line; -ENOENT. */
int cgroup_parse_key(const char *text, size_t n, const char *key, uint64_t *ret);

/* ---- known cgroups ---- */

/* All is borrowed. */
struct cgroup_options {
	const char *procfs;        /* "/proc", or what a test has made */
	const char *root;          /* "/sys/fs/cgroup" */
	const char *files;         /* "": in front of the paths of container managers' files */
	struct bpf_shared *shared; /* where capabilities are recorded; may be NULL */
	bool pressure;             /* cgroup_source_sample() will be called */
};

struct cgroup_source;
struct cgroup;

int cgroup_source_open(const struct cgroup_options *opt, struct cgroup_source **ret, struct err *e);
void cgroup_source_free(struct cgroup_source *s);
DEFINE_FREEP(struct cgroup_source *, cgroup_source_free)

/* @text: of /proc/PID/cgroup. NULL when it tells nothing, or too many are known. */
struct cgroup *cgroup_hold(struct cgroup_source *s, const char *text, size_t n);
struct cgroup *cgroup_hold_again(struct cgroup *c);
void cgroup_release(struct cgroup_source *s, struct cgroup *c); /* NULL is allowed */

const char *cgroup_path(const struct cgroup *c);

/* Who runs there. The first calls look for names, which may be written a moment later. */
const struct container *cgroup_container(struct cgroup_source *s, struct cgroup *c);

/* The smallest along the path, as they were at the last look; 0: none. */
void cgroup_limits(const struct cgroup *c, uint64_t *ret_quota_centi, uint64_t *ret_memory_kb);

/* About once a second: looks at the limits of a few again. */
void cgroup_source_tick(struct cgroup_source *s);

/* One `cgroup` event for the machine and one for each held cgroup. */
void cgroup_source_sample(struct cgroup_source *s, uint64_t boot_ns, struct emitter *out);

/* Cgroups that were not taken in, because too many were held. */
uint64_t cgroup_source_refused(const struct cgroup_source *s);

#endif
