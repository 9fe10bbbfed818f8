/* SPDX-License-Identifier: MIT */
/*
 * The part of NVIDIA's management library that is asked for, with one device whose state the test sets. With
 * FAKE_OLD it has the functions of an old driver only.
 */
#include <string.h>

#define API __attribute__((visibility("default")))

enum { SUCCESS = 0, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7, NOT_RUNNING = 9 };

struct process {
	unsigned pid;
	unsigned long long used;
#ifndef FAKE_OLD
	unsigned gpu_instance, compute_instance;
#endif
};

struct use {
	unsigned pid;
	unsigned long long time_us;
	unsigned sm, memory, encoder, decoder;
};

/* What the test sets. */
API struct {
	int init_result;
	int shutdowns;
	unsigned busy;
	unsigned n_processes;
	unsigned pids[4];
	unsigned long long memory[4];
	unsigned n_uses;
	struct use uses[4];
	unsigned long long asked_since;
} fake_nvml;

#ifdef FAKE_OLD
#define VERSIONED(name, version) name
#else
#define VERSIONED(name, version) name##version
#endif

API int VERSIONED(nvmlInit, _v2)(void);
API int VERSIONED(nvmlInit, _v2)(void)
{
	return fake_nvml.init_result;
}

API int nvmlShutdown(void);
API int nvmlShutdown(void)
{
	fake_nvml.shutdowns++;
	return SUCCESS;
}

API int VERSIONED(nvmlDeviceGetCount, _v2)(unsigned *ret);
API int VERSIONED(nvmlDeviceGetCount, _v2)(unsigned *ret)
{
	*ret = 2; /* the second cannot be opened */
	return SUCCESS;
}

API int VERSIONED(nvmlDeviceGetHandleByIndex, _v2)(unsigned index, void **ret);
API int VERSIONED(nvmlDeviceGetHandleByIndex, _v2)(unsigned index, void **ret)
{
	*ret = &fake_nvml;
	return index ? NOT_SUPPORTED : SUCCESS;
}

API int nvmlDeviceGetName(void *d, char *ret, unsigned cap);
API int nvmlDeviceGetName(void *d, char *ret, unsigned cap)
{
	strncpy(ret, "Fake 9000", cap);
	return SUCCESS;
}

API int nvmlDeviceGetUtilizationRates(void *d, unsigned ret[2]);
API int nvmlDeviceGetUtilizationRates(void *d, unsigned ret[2])
{
	ret[0] = fake_nvml.busy;
	ret[1] = 1;
	return SUCCESS;
}

API int nvmlDeviceGetMemoryInfo(void *d, unsigned long long ret[3]);
API int nvmlDeviceGetMemoryInfo(void *d, unsigned long long ret[3])
{
	ret[0] = 8ULL << 30;
	ret[1] = 7ULL << 30;
	ret[2] = 1ULL << 30;
	return SUCCESS;
}

API int nvmlDeviceGetTemperature(void *d, int sensor, unsigned *ret);
API int nvmlDeviceGetTemperature(void *d, int sensor, unsigned *ret)
{
	*ret = sensor == 0 ? 61 : 0;
	return SUCCESS;
}

API int nvmlDeviceGetPowerUsage(void *d, unsigned *ret);
API int nvmlDeviceGetPowerUsage(void *d, unsigned *ret)
{
	*ret = 250500;
	return SUCCESS;
}

#ifndef FAKE_OLD
API int nvmlDeviceGetTotalEnergyConsumption(void *d, unsigned long long *ret);
API int nvmlDeviceGetTotalEnergyConsumption(void *d, unsigned long long *ret)
{
	*ret = 123456789;
	return SUCCESS;
}

API int nvmlDeviceGetProcessUtilization(void *d, struct use *ret, unsigned *count,
					unsigned long long since_us);
API int nvmlDeviceGetProcessUtilization(void *d, struct use *ret, unsigned *count,
					unsigned long long since_us)
{
	fake_nvml.asked_since = since_us;
	memcpy(ret, fake_nvml.uses, fake_nvml.n_uses * sizeof(*ret));
	*count = fake_nvml.n_uses;
	return SUCCESS;
}
#endif

static int list(unsigned *count, struct process *ret)
{
	if (*count < fake_nvml.n_processes)
		return INSUFFICIENT_SIZE;
	*count = fake_nvml.n_processes;
	for (unsigned i = 0; i < *count; i++)
		ret[i] = (struct process){.pid = fake_nvml.pids[i], .used = fake_nvml.memory[i]};
	return SUCCESS;
}

API int VERSIONED(nvmlDeviceGetComputeRunningProcesses, _v3)(void *d, unsigned *count,
							     struct process *ret);
API int VERSIONED(nvmlDeviceGetComputeRunningProcesses, _v3)(void *d, unsigned *count,
							     struct process *ret)
{
	return list(count, ret);
}

/* The same processes again: they draw and compute. */
API int VERSIONED(nvmlDeviceGetGraphicsRunningProcesses, _v3)(void *d, unsigned *count,
							      struct process *ret);
API int VERSIONED(nvmlDeviceGetGraphicsRunningProcesses, _v3)(void *d, unsigned *count,
							      struct process *ret)
{
	return list(count, ret);
}
