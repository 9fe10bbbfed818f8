/* SPDX-License-Identifier: MIT */
/*
 * Graphics and compute devices: what they do, and what the followed processes do with them. NVIDIA's
 * library is loaded, and the kernel's graphics files are read, only when this source is opened; a machine
 * without such devices pays nothing after that.
 */
#ifndef AGENTSIGHT_SOURCE_GPU_H
#define AGENTSIGHT_SOURCE_GPU_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "enrich/proc_table.h"
#include "event/event.h"

struct bpf_shared;
struct gpu_source;

struct gpu_options {
	const char *procfs;             /* "/proc", or what a test has made */
	const char *sysfs;              /* "/sys" */
	const char *nvml;               /* "libnvidia-ml.so.1" */
	const struct proc_table *table; /* borrowed */
	struct bpf_shared *shared;      /* where capabilities are recorded; may be NULL */
};

int gpu_source_open(const struct gpu_options *opt, struct gpu_source **ret);
void gpu_source_free(struct gpu_source *g);
DEFINE_FREEP(struct gpu_source *, gpu_source_free)

/* One `gpu` event for each device, and one for each followed process and device that it uses. */
void gpu_source_sample(struct gpu_source *g, uint64_t boot_ns, struct emitter *out);

/* ---- between the source and its two backends ---- */

struct gpu_reading {
	const struct proc *process; /* NULL: the device as a whole */
	uint32_t device;
	const char *name;
	const char *driver;
	const struct buf *engines; /* JSON; may be NULL */
	uint64_t use_centi;
	uint64_t memory_kb;
	uint64_t memory_total_kb;
	uint64_t temperature;
	uint64_t power_mw;
	uint64_t energy_mj;
	uint64_t interval_ns;
};

struct gpu_backend {
	void (*sample)(struct gpu_backend *self, uint64_t boot_ns, struct gpu_source *to);
	void (*free)(struct gpu_backend *self);
};

/* -ENOENT: there is no such device, or no driver; @ret_why is a literal. */
int gpu_nvml_open(const struct gpu_options *opt, struct gpu_backend **ret, const char **ret_why);
int gpu_drm_open(const struct gpu_options *opt, struct gpu_backend **ret, const char **ret_why);

void gpu_source_add(struct gpu_source *to, const struct gpu_reading *r);

/* There is a process that @backend may not look at. */
void gpu_source_refused(struct gpu_source *to, const struct gpu_backend *backend, int error);

#endif
