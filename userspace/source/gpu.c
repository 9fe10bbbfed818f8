/* SPDX-License-Identifier: MIT */
#include "source/gpu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "event/record.h"
#include "source/bpf.h"

static const struct {
	const char *hook;
	const char *mechanism;
	int (*open)(const struct gpu_options *opt, struct gpu_backend **ret, const char **ret_why);
} kinds[] = {
	{"gpu nvidia", "NVML", gpu_nvml_open},
	{"gpu drm", "fdinfo", gpu_drm_open},
};

struct gpu_source {
	struct gpu_backend *backends[ARRAY_SIZE(kinds)];
	bool refused[ARRAY_SIZE(kinds)]; /* said once */
	struct bpf_shared *shared;
	struct emitter *out; /* during a sample */
	uint64_t boot_ns;
	struct buf record;
};

int gpu_source_open(const struct gpu_options *opt, struct gpu_source **ret)
{
	struct gpu_source *g = calloc(1, sizeof(*g));

	if (!g)
		return -ENOMEM;
	g->shared = opt->shared;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const char *why = "no memory";
		int r = kinds[i].open(opt, &g->backends[i], &why);

		if (opt->shared && r < 0)
			bpf_capability(opt->shared, "system", kinds[i].hook, kinds[i].mechanism,
				       CAPABILITY_MISSING, "%s", why);
		else if (opt->shared)
			bpf_capability(opt->shared, "system", kinds[i].hook, kinds[i].mechanism,
				       CAPABILITY_ATTACHED, NULL);
		else if (r < 0)
			log_info("%s: %s", kinds[i].hook, why);
	}
	*ret = g;
	return 0;
}

void gpu_source_free(struct gpu_source *g)
{
	if (!g)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (g->backends[i])
			g->backends[i]->free(g->backends[i]);
	}
	buf_done(&g->record);
	free(g);
}

void gpu_source_sample(struct gpu_source *g, uint64_t boot_ns, struct emitter *out)
{
	g->boot_ns = boot_ns;
	g->out = out;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (g->backends[i])
			g->backends[i]->sample(g->backends[i], boot_ns, g);
	}
}

void gpu_source_refused(struct gpu_source *g, const struct gpu_backend *backend, int error)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (g->backends[i] != backend || g->refused[i])
			continue;
		g->refused[i] = true;
		if (g->shared)
			bpf_capability(g->shared, "system", kinds[i].hook, kinds[i].mechanism,
				       CAPABILITY_DEGRADED, "not of all processes: %s",
				       strerror(-error));
		else
			log_info("%s: not of all processes: %s", kinds[i].hook, strerror(-error));
	}
}

static struct as_hdr header(const struct gpu_source *g, const struct proc *p)
{
	struct as_hdr h = {.boot_ns = g->boot_ns};

	if (!p)
		return h;
	h.start_ns = p->start_ns;
	h.tgid = h.tid = p->tgid;
	h.ppid = p->ppid;
	h.uid = p->uid;
	memcpy(h.comm, p->comm, sizeof(h.comm));
	return h;
}

void gpu_source_add(struct gpu_source *g, const struct gpu_reading *r)
{
	const struct as_hdr h = header(g, r->process);
	struct as_span name, driver, engines = {0};
	struct as_gpu *e;

	record_begin(&g->record, AS_EV_GPU, &h);
	name = record_add_str(&g->record, r->name);
	driver = record_add_str(&g->record, r->driver);
	if (r->engines && r->engines->len)
		engines = record_add(&g->record, r->engines->data, r->engines->len);
	g->record.failed |= r->engines && r->engines->failed;
	if (!record_made(&g->record, AS_EV_GPU))
		return;
	e = record_struct(&g->record, as_gpu);
	e->name = name;
	e->driver = driver;
	e->engines = engines;
	e->device = r->device;
	e->use_centi = r->use_centi;
	e->memory_kb = r->memory_kb;
	e->memory_total_kb = r->memory_total_kb;
	e->temperature = r->temperature;
	e->power_mw = r->power_mw;
	e->energy_mj = r->energy_mj;
	e->interval_ns = r->interval_ns;
	record_emit(&g->record, AS_EV_GPU, g->out);
}
