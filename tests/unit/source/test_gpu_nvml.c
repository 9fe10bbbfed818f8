/* SPDX-License-Identifier: MIT */
/* On a library of our own that pretends to be NVIDIA's. */
#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "event/record.h"
#include "event/schema.h"
#include "source/gpu.h"

#define SEC 1000000000ULL

struct use {
	unsigned pid;
	unsigned long long time_us;
	unsigned sm, memory, encoder, decoder;
};

struct fake {
	int init_result;
	int shutdowns;
	unsigned busy;
	unsigned n_processes;
	unsigned pids[4];
	unsigned long long memory[4];
	unsigned n_uses;
	struct use uses[4];
	unsigned long long asked_since;
};

static struct proc_table *table;
static struct gpu_source *gpu;
static void *library;
static struct fake *fake;
static struct as_gpu events[16];
static char names[16][64];
static size_t n_events;

static void keep(struct emitter *self, const struct event *ev)
{
	const struct as_gpu *e = (const struct as_gpu *)ev->rec;

	assert_int_equal(e->h.type, AS_EV_GPU);
	snprintf(names[n_events], sizeof(names[0]), "%.*s", (int)e->name.len,
		 record_bytes(&e->h, &e->name));
	events[n_events++] = *e;
}

static struct emitter out = {keep};

static void know(uint32_t pid, bool followed)
{
	const struct proc_fact f = {.tgid = pid,
				    .start_ns = 1,
				    .followed = followed,
				    .comm = "x\0\0\0\0\0\0\0\0\0\0\0\0\0\0"};

	assert_non_null(proc_table_learn(table, &f));
}

static int set_up(void **state)
{
	n_events = 0;
	if (schema_init() || proc_table_new(&table))
		return -1;
	know(50, true);
	know(51, false);
	return 0;
}

static int tear_down(void **state)
{
	gpu_source_free(gpu);
	gpu = NULL;
	proc_table_free(table);
	if (library)
		dlclose(library);
	library = NULL;
	return 0;
}

/* The library lies beside this program. */
static const char *library_path(const char *name)
{
	static char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 64);

	assert_true(n > 0);
	path[n] = '\0';
	strcpy(strrchr(path, '/') + 1, name);
	return path;
}

static void load(const char *name)
{
	library = dlopen(library_path(name), RTLD_NOW);
	assert_non_null(library);
	fake = dlsym(library, "fake_nvml");
	memset(fake, 0, sizeof(*fake));
}

static void open_gpu(const char *name)
{
	const struct gpu_options opt = {.procfs = "/nowhere",
					.sysfs = "/nowhere",
					.nvml = library_path(name),
					.table = table};

	assert_int_equal(gpu_source_open(&opt, &gpu), 0);
}

static void a_device_is_told_with_all_that_is_known(void **state)
{
	load("fake_nvml.so");
	fake->busy = 37;
	open_gpu("fake_nvml.so");
	gpu_source_sample(gpu, SEC, &out);
	gpu_source_sample(gpu, 3 * SEC, &out);
	assert_int_equal(n_events, 2);
	assert_string_equal(names[1], "Fake 9000");
	assert_int_equal(events[1].h.tgid, 0);
	assert_int_equal(events[1].device, 0);
	assert_int_equal(events[1].use_centi, 3700);
	assert_int_equal(events[1].memory_kb, 1 << 20);
	assert_int_equal(events[1].memory_total_kb, 8 << 20);
	assert_int_equal(events[1].temperature, 61);
	assert_int_equal(events[1].power_mw, 250500);
	assert_int_equal(events[1].energy_mj, 123456789);
	assert_int_equal(events[0].interval_ns, 0);
	assert_int_equal(events[1].interval_ns, 2 * SEC);
}

static void followed_processes_are_told_once_with_their_mean(void **state)
{
	load("fake_nvml.so");
	fake->n_processes = 3;
	memcpy(fake->pids, (unsigned[]){50, 51, 52}, 12);
	memcpy(fake->memory, (unsigned long long[]){1 << 20, 2 << 20, -1ULL}, 24);
	fake->n_uses = 3;
	fake->uses[0] = (struct use){.pid = 50, .time_us = 1000, .sm = 20};
	fake->uses[1] = (struct use){.pid = 50, .time_us = 2000, .sm = 50};
	fake->uses[2] = (struct use){.pid = 51, .time_us = 1500, .sm = 90};
	open_gpu("fake_nvml.so");
	gpu_source_sample(gpu, SEC, &out);
	assert_int_equal(n_events, 2);
	assert_int_equal(events[1].h.tgid, 50);
	assert_int_equal(events[1].memory_kb, 1024);
	assert_int_equal(events[1].use_centi, 3500);
	assert_int_equal(fake->asked_since, 0);
	/* the same samples again are no news */
	gpu_source_sample(gpu, 2 * SEC, &out);
	assert_int_equal(fake->asked_since, 2000);
	assert_int_equal(events[3].use_centi, 0);
}

static void memory_that_the_driver_does_not_tell_is_none(void **state)
{
	load("fake_nvml.so");
	fake->n_processes = 1;
	fake->pids[0] = 50;
	fake->memory[0] = -1ULL;
	open_gpu("fake_nvml.so");
	gpu_source_sample(gpu, SEC, &out);
	assert_int_equal(n_events, 2);
	assert_int_equal(events[1].memory_kb, 0);
}

static void an_old_driver_serves_as_far_as_it_goes(void **state)
{
	load("fake_nvml_old.so");
	fake->n_processes = 2;
	memcpy(fake->pids, (unsigned[]){51, 50}, 8);
	memcpy(fake->memory, (unsigned long long[]){1 << 20, 3 << 20}, 16);
	open_gpu("fake_nvml_old.so");
	gpu_source_sample(gpu, SEC, &out);
	assert_int_equal(n_events, 2);
	assert_int_equal(events[0].energy_mj, 0);
	assert_int_equal(events[1].h.tgid, 50);
	assert_int_equal(events[1].memory_kb, 3072);
}

static void the_library_is_shut_down_only_if_it_was_started(void **state)
{
	load("fake_nvml.so");
	fake->init_result = 9;
	open_gpu("fake_nvml.so");
	gpu_source_sample(gpu, SEC, &out);
	gpu_source_free(gpu);
	assert_int_equal(fake->shutdowns, 0);
	fake->init_result = 0;
	open_gpu("fake_nvml.so");
	gpu_source_free(gpu);
	gpu = NULL;
	assert_int_equal(fake->shutdowns, 1);
	assert_int_equal(n_events, 0);
}

static void without_the_library_there_are_no_events(void **state)
{
	open_gpu("no_such_library.so");
	gpu_source_sample(gpu, SEC, &out);
	assert_int_equal(n_events, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_device_is_told_with_all_that_is_known),
		TEST(followed_processes_are_told_once_with_their_mean),
		TEST(memory_that_the_driver_does_not_tell_is_none),
		TEST(an_old_driver_serves_as_far_as_it_goes),
		TEST(the_library_is_shut_down_only_if_it_was_started),
		TEST(without_the_library_there_are_no_events),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
