/* SPDX-License-Identifier: MIT */
/*
 * NVIDIA's devices, through its management library, which is loaded and not linked. What is declared here of
 * its interface has not changed since its functions got the versions that are looked for.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "source/gpu.h"

#define DEVICES_MAX   64
#define PROCESSES_MAX 1024 /* of one device */
#define NAME_LEN      96

#define NVML_SUCCESS         0
#define NVML_TEMPERATURE_GPU 0
#define NVML_NOT_AVAILABLE   UINT64_MAX /* memory of a process under some drivers */

typedef struct nvml_device *nvml_device;

struct nvml_utilization {
	unsigned gpu; /* percent */
	unsigned memory;
};

struct nvml_memory {
	unsigned long long total, free, used;
};

/* of version 1 the first two */
struct nvml_process {
	unsigned pid;
	unsigned long long used;
	unsigned gpu_instance, compute_instance;
};

struct nvml_process_v1 {
	unsigned pid;
	unsigned long long used;
};

struct nvml_process_use {
	unsigned pid;
	unsigned long long time_us;
	unsigned sm, memory, encoder, decoder; /* percent */
};

struct nvml {
	int (*init)(void);
	int (*shutdown)(void);
	int (*count)(unsigned *ret);
	int (*handle)(unsigned index, nvml_device *ret);
	int (*name)(nvml_device d, char *ret, unsigned cap);
	int (*utilization)(nvml_device d, struct nvml_utilization *ret);
	int (*memory)(nvml_device d, struct nvml_memory *ret);
	int (*temperature)(nvml_device d, int sensor, unsigned *ret);
	int (*power)(nvml_device d, unsigned *ret_mw);
	int (*energy)(nvml_device d, unsigned long long *ret_mj);
	int (*compute)(nvml_device d, unsigned *count, void *ret);
	int (*graphics)(nvml_device d, unsigned *count, void *ret);
	int (*process_use)(nvml_device d, struct nvml_process_use *ret, unsigned *count,
			   unsigned long long since_us);
};

#define MEMBER(m) offsetof(struct nvml, m)

/* Newest first. Without the needed ones the library is of no use. */
static const struct {
	size_t member;
	bool needed;
	const char *names[3];
} symbols[] = {
	{MEMBER(init), true, {"nvmlInit_v2", "nvmlInit"}},
	{MEMBER(shutdown), true, {"nvmlShutdown"}},
	{MEMBER(count), true, {"nvmlDeviceGetCount_v2", "nvmlDeviceGetCount"}},
	{MEMBER(handle), true, {"nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetHandleByIndex"}},
	{MEMBER(name), false, {"nvmlDeviceGetName"}},
	{MEMBER(utilization), false, {"nvmlDeviceGetUtilizationRates"}},
	{MEMBER(memory), false, {"nvmlDeviceGetMemoryInfo"}},
	{MEMBER(temperature), false, {"nvmlDeviceGetTemperature"}},
	{MEMBER(power), false, {"nvmlDeviceGetPowerUsage"}},
	{MEMBER(energy), false, {"nvmlDeviceGetTotalEnergyConsumption"}},
	{MEMBER(compute),
	 false,
	 {"nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2"}},
	{MEMBER(graphics),
	 false,
	 {"nvmlDeviceGetGraphicsRunningProcesses_v3", "nvmlDeviceGetGraphicsRunningProcesses_v2"}},
	{MEMBER(process_use), false, {"nvmlDeviceGetProcessUtilization"}},
};

struct device {
	nvml_device handle;
	char name[NAME_LEN];
	uint64_t last_ns;
	unsigned long long seen_us; /* newest of the uses by processes */
};

/* A process on one device, put together from several lists. */
struct user {
	unsigned pid;
	uint64_t memory;
	uint64_t percent; /* sum over @samples */
	uint64_t samples;
};

struct nvml_backend {
	struct gpu_backend backend;
	const struct proc_table *table;
	void *library;
	bool old_lists; /* the shorter struct */
	bool started;
	struct nvml nvml;
	unsigned n;
	struct device devices[DEVICES_MAX];
	size_t n_users;
	struct user users[PROCESSES_MAX];
	struct nvml_process_use uses[PROCESSES_MAX];
	union {
		struct nvml_process now[PROCESSES_MAX];
		struct nvml_process_v1 old[PROCESSES_MAX];
	} list;
};

static void nvml_free(struct gpu_backend *backend)
{
	struct nvml_backend *b = (struct nvml_backend *)backend;

	if (b->started)
		b->nvml.shutdown();
	if (b->library)
		dlclose(b->library);
	free(b);
}

/* ---- opening ---- */

static bool symbols_find(struct nvml_backend *b)
{
	for (size_t i = 0; i < ARRAY_SIZE(symbols); i++) {
		void *found = NULL;

		for (size_t j = 0; !found && j < 3 && symbols[i].names[j]; j++)
			found = dlsym(b->library, symbols[i].names[j]);
		if (!found && symbols[i].needed)
			return false;
		memcpy((char *)&b->nvml + symbols[i].member, &found, sizeof(found));
	}
	if (!b->nvml.compute && !b->nvml.graphics) {
		void *compute = dlsym(b->library, "nvmlDeviceGetComputeRunningProcesses");
		void *graphics = dlsym(b->library, "nvmlDeviceGetGraphicsRunningProcesses");

		memcpy(&b->nvml.compute, &compute, sizeof(compute));
		memcpy(&b->nvml.graphics, &graphics, sizeof(graphics));
		b->old_lists = true;
	}
	return true;
}

static void devices_find(struct nvml_backend *b)
{
	unsigned count = 0;

	if (b->nvml.count(&count) != NVML_SUCCESS)
		return;
	for (unsigned i = 0; i < MIN(count, (unsigned)DEVICES_MAX); i++) {
		struct device *d = &b->devices[b->n];

		if (b->nvml.handle(i, &d->handle) != NVML_SUCCESS)
			continue;
		if (!b->nvml.name ||
		    b->nvml.name(d->handle, d->name, sizeof(d->name)) != NVML_SUCCESS)
			strcpy(d->name, "NVIDIA");
		d->name[sizeof(d->name) - 1] = '\0';
		b->n++;
	}
}

static void nvml_sample(struct gpu_backend *backend, uint64_t boot_ns, struct gpu_source *to);

static int give_up(struct nvml_backend *b, const char **ret_why, const char *why)
{
	nvml_free(&b->backend);
	*ret_why = why;
	return -ENOENT;
}

int gpu_nvml_open(const struct gpu_options *opt, struct gpu_backend **ret, const char **ret_why)
{
	struct nvml_backend *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	b->backend = (struct gpu_backend){nvml_sample, nvml_free};
	b->table = opt->table;
	/* without a loader, a library would bring a second libc */
	if (!getauxval(AT_BASE))
		return give_up(b, ret_why,
			       "this program is linked statically and loads no library");
	b->library = dlopen(opt->nvml, RTLD_NOW | RTLD_LOCAL);
	if (!b->library)
		return give_up(b, ret_why, "the library of NVIDIA's driver is not installed");
	if (!symbols_find(b))
		return give_up(b, ret_why, "the library of NVIDIA's driver lacks functions");
	if (b->nvml.init() != NVML_SUCCESS)
		return give_up(b, ret_why, "NVIDIA's driver is not running");
	b->started = true;
	devices_find(b);
	if (!b->n)
		return give_up(b, ret_why, "NVIDIA's driver has no device");
	*ret = &b->backend;
	return 0;
}

/* ---- processes ---- */

static struct user *user_get(struct nvml_backend *b, unsigned pid)
{
	for (size_t i = 0; i < b->n_users; i++) {
		if (b->users[i].pid == pid)
			return &b->users[i];
	}
	if (b->n_users == PROCESSES_MAX)
		return NULL;
	b->users[b->n_users] = (struct user){.pid = pid};
	return &b->users[b->n_users++];
}

/* A process with both kinds of contexts is in both lists, with the same memory. */
static void memory_note(struct nvml_backend *b, unsigned pid, uint64_t used)
{
	struct user *u = user_get(b, pid);

	if (u && used != NVML_NOT_AVAILABLE)
		u->memory = MAX(u->memory, used);
}

static void list_read(struct nvml_backend *b, nvml_device d,
		      int (*list)(nvml_device, unsigned *, void *))
{
	unsigned n = PROCESSES_MAX;

	if (!list || list(d, &n, &b->list) != NVML_SUCCESS)
		return;
	for (unsigned i = 0; i < MIN(n, (unsigned)PROCESSES_MAX); i++) {
		if (b->old_lists)
			memory_note(b, b->list.old[i].pid, b->list.old[i].used);
		else
			memory_note(b, b->list.now[i].pid, b->list.now[i].used);
	}
}

/* The driver samples a few times a second; some samples are of processes that have ended. */
static void uses_read(struct nvml_backend *b, struct device *d)
{
	unsigned long long since = d->seen_us;
	unsigned n = PROCESSES_MAX;

	if (!b->nvml.process_use ||
	    b->nvml.process_use(d->handle, b->uses, &n, since) != NVML_SUCCESS)
		return;
	for (unsigned i = 0; i < MIN(n, (unsigned)PROCESSES_MAX); i++) {
		const struct nvml_process_use *use = &b->uses[i];
		struct user *u;

		if (use->time_us <= since || !use->pid)
			continue;
		d->seen_us = MAX(d->seen_us, use->time_us);
		u = user_get(b, use->pid);
		if (!u || use->sm > 100)
			continue;
		u->percent += use->sm;
		u->samples++;
	}
}

static void processes_tell(struct nvml_backend *b, unsigned device, uint64_t interval_ns,
			   struct gpu_source *to)
{
	struct device *d = &b->devices[device];

	b->n_users = 0;
	list_read(b, d->handle, b->nvml.compute);
	list_read(b, d->handle, b->nvml.graphics);
	uses_read(b, d);
	for (size_t i = 0; i < b->n_users; i++) {
		const struct user *u = &b->users[i];
		const struct proc *p = proc_table_find(b->table, u->pid);

		if (!p || p->exited || !p->followed)
			continue;
		gpu_source_add(to,
			       &(struct gpu_reading){
				       .process = p,
				       .device = device,
				       .name = d->name,
				       .driver = "nvidia",
				       .memory_kb = u->memory / 1024,
				       .use_centi = u->samples ? u->percent * 100 / u->samples : 0,
				       .interval_ns = interval_ns,
			       });
	}
}

/* ---- devices ---- */

static void device_read(const struct nvml *nvml, nvml_device d, struct gpu_reading *r)
{
	struct nvml_utilization use;
	struct nvml_memory memory;
	unsigned long long energy;
	unsigned number;

	if (nvml->utilization && nvml->utilization(d, &use) == NVML_SUCCESS)
		r->use_centi = (uint64_t)use.gpu * 100;
	if (nvml->memory && nvml->memory(d, &memory) == NVML_SUCCESS) {
		r->memory_kb = memory.used / 1024;
		r->memory_total_kb = memory.total / 1024;
	}
	if (nvml->temperature &&
	    nvml->temperature(d, NVML_TEMPERATURE_GPU, &number) == NVML_SUCCESS)
		r->temperature = number;
	if (nvml->power && nvml->power(d, &number) == NVML_SUCCESS)
		r->power_mw = number;
	if (nvml->energy && nvml->energy(d, &energy) == NVML_SUCCESS)
		r->energy_mj = energy;
}

static void nvml_sample(struct gpu_backend *backend, uint64_t boot_ns, struct gpu_source *to)
{
	struct nvml_backend *b = (struct nvml_backend *)backend;

	for (unsigned i = 0; i < b->n; i++) {
		struct device *d = &b->devices[i];
		struct gpu_reading r = {.device = i, .name = d->name, .driver = "nvidia"};

		if (d->last_ns && boot_ns > d->last_ns)
			r.interval_ns = boot_ns - d->last_ns;
		d->last_ns = boot_ns;
		device_read(&b->nvml, d->handle, &r);
		gpu_source_add(to, &r);
		processes_tell(b, i, r.interval_ns, to);
	}
}
