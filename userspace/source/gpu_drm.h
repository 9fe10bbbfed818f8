/* SPDX-License-Identifier: MIT */
/* The drm- lines of /proc/PID/fdinfo/FD, as Documentation/gpu/drm-usage-stats.rst defines them. */
#ifndef AGENTSIGHT_SOURCE_GPU_DRM_H
#define AGENTSIGHT_SOURCE_GPU_DRM_H

#include <stddef.h>
#include <stdint.h>

#define GPU_DRM_ENGINES  16
#define GPU_DRM_NAME_LEN 32

struct gpu_drm_engine {
	char name[GPU_DRM_NAME_LEN];
	uint64_t busy;     /* ns; where there is a total, cycles */
	uint64_t cycles;   /* as told, whether they can be compared with something or not */
	uint64_t total;    /* cycles that went by; 0: busy is in ns */
	uint64_t capacity; /* engines of that kind */
};

struct gpu_drm_client {
	char driver[GPU_DRM_NAME_LEN];
	char device[GPU_DRM_NAME_LEN]; /* PCI address; "" for what is not on that bus */
	uint64_t id;
	uint64_t device_kb; /* in memory of the device's own */
	uint64_t system_kb; /* in main memory */
	size_t n_engines;
	struct gpu_drm_engine engines[GPU_DRM_ENGINES];
};

/* -EBADMSG, and nothing is written, when there is no driver or no client id. */
int gpu_drm_parse(const char *text, size_t n, struct gpu_drm_client *ret);

#endif
