/* SPDX-License-Identifier: MIT */
#include "source/who.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "source/cgroup.h"
#include "source/gpu.h"
#include "source/info.h"

struct who {
	struct cgroup_source *cgroups;
	struct info *info;
	struct gpu_source *gpu; /* NULL: not asked for */
};

static int open_info(struct who *w, const struct who_options *opt)
{
	const struct info_options info = {
		.procfs = "/proc",
		.passwd = "/etc/passwd",
		.table = opt->table,
		.cgroups = w->cgroups,
		.env_names = opt->env_names,
		.n_env_names = opt->n_env_names,
		.polling = !opt->shared,
	};

	return info_open(&info, &w->info);
}

static int open_gpu(struct who *w, const struct who_options *opt)
{
	const struct gpu_options gpu = {
		.procfs = "/proc",
		.sysfs = "/sys",
		.nvml = "libnvidia-ml.so.1",
		.table = opt->table,
		.shared = opt->shared,
	};

	return opt->gpu ? gpu_source_open(&gpu, &w->gpu) : 0;
}

int who_open(const struct who_options *opt, struct who **ret, struct err *e)
{
	_cleanup_(who_freep) struct who *w = calloc(1, sizeof(*w));
	const struct cgroup_options cgroup = {
		.procfs = "/proc",
		.root = "/sys/fs/cgroup",
		.files = "",
		.shared = opt->shared,
		.pressure = opt->pressure,
	};
	int r;

	if (!w)
		return -ENOMEM;
	r = cgroup_source_open(&cgroup, &w->cgroups, e);
	if (r < 0)
		return r;
	r = open_info(w, opt);
	if (r >= 0)
		r = open_gpu(w, opt);
	if (r < 0)
		return err_set(e, r, "cannot tell who processes are: %s", strerror(-r));
	*ret = TAKE_PTR(w);
	return 0;
}

void who_free(struct who *w)
{
	if (!w)
		return;
	gpu_source_free(w->gpu);
	info_free(w->info); /* it holds cgroups */
	cgroup_source_free(w->cgroups);
	free(w);
}

void who_process(struct who *w, uint32_t tgid)
{
	info_process(w->info, tgid);
}

void who_event(struct who *w, const struct event *ev, struct emitter *out)
{
	info_event(w->info, ev, out);
}

bool who_tick(struct who *w, bool second, struct emitter *out)
{
	if (second)
		cgroup_source_tick(w->cgroups);
	return info_tick(w->info, second, out);
}

bool who_limits(const struct who *w, uint32_t tgid, uint64_t *ret_quota_centi,
		uint64_t *ret_memory_kb)
{
	return info_limits(w->info, tgid, ret_quota_centi, ret_memory_kb);
}

uint64_t who_cgroups_refused(const struct who *w)
{
	return cgroup_source_refused(w->cgroups);
}

void who_sample(struct who *w, uint64_t boot_ns, struct emitter *out)
{
	cgroup_source_sample(w->cgroups, boot_ns, out);
	if (w->gpu)
		gpu_source_sample(w->gpu, boot_ns, out);
}
