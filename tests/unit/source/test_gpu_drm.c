/* SPDX-License-Identifier: MIT */
/* The parser, and the source on a made-up /proc and /sys. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/log.h"
#include "event/record.h"
#include "event/schema.h"
#include "source/gpu.h"
#include "source/gpu_drm.h"
#include "unit/source/tree.h"

#define SEC 1000000000ULL

static struct proc_table *table;
static struct gpu_source *gpu;
static struct as_gpu events[16];
static char engines[16][128];
static char names[16][64];
static size_t n_events;

static void text_of(char *to, size_t cap, const struct as_hdr *rec, const struct as_span *span)
{
	snprintf(to, cap, "%.*s", (int)span->len, record_bytes(rec, span));
}

static void keep(struct emitter *self, const struct event *ev)
{
	const struct as_gpu *e = (const struct as_gpu *)ev->rec;

	text_of(engines[n_events], sizeof(engines[0]), &e->h, &e->engines);
	text_of(names[n_events], sizeof(names[0]), &e->h, &e->name);
	events[n_events++] = *e;
}

static struct emitter out = {keep};

static void know(uint32_t pid)
{
	const struct proc_fact f = {.tgid = pid,
				    .start_ns = 1,
				    .followed = true,
				    .comm = "x\0\0\0\0\0\0\0\0\0\0\0\0\0\0"};

	assert_non_null(proc_table_learn(table, &f));
}

static void card_put(const char *card, const char *address, const char *driver)
{
	char name[128], target[128];

	snprintf(name, sizeof(name), "sys/devices/%s/vendor", address);
	tree_put(name, "0x1002\n");
	snprintf(name, sizeof(name), "sys/devices/%s/driver", address);
	snprintf(target, sizeof(target), "../../bus/pci/drivers/%s", driver);
	tree_link(name, target);
	snprintf(name, sizeof(name), "sys/class/drm/%s/device", card);
	snprintf(target, sizeof(target), "../../../devices/%s", address);
	tree_link(name, target);
}

static int set_up(void **state)
{
	n_events = 0;
	if (schema_init() || tree_make() || proc_table_new(&table))
		return -1;
	tree_put("proc/version", "");
	tree_put("sys/kernel/x", "");
	return 0;
}

static int tear_down(void **state)
{
	gpu_source_free(gpu);
	gpu = NULL;
	proc_table_free(table);
	return tree_remove();
}

static void open_gpu(void)
{
	const struct gpu_options opt = {.procfs = tree_path("proc"),
					.sysfs = tree_path("sys"),
					.nvml = "no_such_library.so",
					.table = table};

	assert_int_equal(gpu_source_open(&opt, &gpu), 0);
}

/* Others than its user do not see what lies in /proc/PID/fd, and there is none. */
static void fd_put(uint32_t pid, unsigned fd, const char *info)
{
	char name[64];

	snprintf(name, sizeof(name), "proc/%u/fdinfo/%u", pid, fd);
	tree_put(name, info);
}

static void client_put(uint32_t pid, unsigned fd, unsigned id, unsigned long gfx_ns,
		       unsigned long compute_ns)
{
	char text[512];

	snprintf(text, sizeof(text),
		 "pos:\t0\nflags:\t02\ndrm-driver:\tamdgpu\ndrm-client-id:\t%u\n"
		 "drm-pdev:\t0000:03:00.0\ndrm-memory-vram:\t2048 KiB\ndrm-memory-gtt: \t64 KiB\n"
		 "drm-engine-gfx:\t%lu ns\ndrm-engine-compute:\t%lu ns\n"
		 "drm-engine-capacity-compute:\t4\n",
		 id, gfx_ns, compute_ns);
	fd_put(pid, fd, text);
}

/* ---- parsing ---- */

static int parse(const char *text, struct gpu_drm_client *c)
{
	return gpu_drm_parse(text, strlen(text), c);
}

static void a_client_is_read(void **state)
{
	struct gpu_drm_client c;

	assert_int_equal(parse("pos: 0\ndrm-driver:\ti915\ndrm-pdev:\t0000:00:02.0\n"
			       "drm-client-id:\t12\ndrm-engine-render:\t9288864723 ns\n"
			       "drm-engine-capacity-video: 2\ndrm-engine-video: 7 ns\n"
			       "drm-total-system0: 9 MiB\ndrm-resident-system0:\t3 MiB\n"
			       "drm-resident-local0: 5 KiB\ndrm-resident-local1: 2048\n"
			       "drm-memory-vram: 1 GiB\n",
			       &c),
			 0);
	assert_string_equal(c.driver, "i915");
	assert_string_equal(c.device, "0000:00:02.0");
	assert_int_equal(c.id, 12);
	assert_int_equal(c.n_engines, 2);
	assert_string_equal(c.engines[0].name, "render");
	assert_int_equal(c.engines[0].busy, 9288864723);
	assert_int_equal(c.engines[0].capacity, 1);
	assert_string_equal(c.engines[1].name, "video");
	assert_int_equal(c.engines[1].capacity, 2);
	/* "resident" is what counts where there is any */
	assert_int_equal(c.system_kb, 3072);
	assert_int_equal(c.device_kb, 7);
}

static void cycles_come_with_their_total(void **state)
{
	struct gpu_drm_client c;

	assert_int_equal(parse("drm-driver: xe\ndrm-client-id: 1\ndrm-cycles-rcs: 30\n"
			       "drm-total-cycles-rcs: 100\n",
			       &c),
			 0);
	assert_int_equal(c.n_engines, 1);
	assert_int_equal(c.engines[0].busy, 30);
	assert_int_equal(c.engines[0].total, 100);
}

/* panfrost and panthor tell cycles beside the time, as how fast the engine ran. */
static void cycles_without_a_total_are_no_time(void **state)
{
	struct gpu_drm_client c;

	assert_int_equal(
		parse("drm-driver: panfrost\ndrm-client-id: 14\n"
		      "drm-engine-fragment: 1846584880 ns\ndrm-cycles-fragment: 1424359409\n"
		      "drm-maxfreq-fragment: 799999987 Hz\n",
		      &c),
		0);
	assert_int_equal(c.n_engines, 1);
	assert_int_equal(c.engines[0].busy, 1846584880);
	assert_int_equal(c.engines[0].total, 0);
	assert_int_equal(parse("drm-driver: x\ndrm-client-id: 14\ndrm-cycles-a: 9\n", &c), 0);
	assert_int_equal(c.engines[0].busy, 0);
}

static void what_is_no_client_is_refused(void **state)
{
	struct gpu_drm_client c = {.id = 7};

	assert_int_equal(parse("pos: 0\n", &c), -EBADMSG);
	assert_int_equal(parse("drm-driver: xe\n", &c), -EBADMSG);
	assert_int_equal(parse("drm-client-id: 1\n", &c), -EBADMSG);
	assert_int_equal(parse("drm-driver: xe\ndrm-client-id: x\n", &c), -EBADMSG);
	assert_int_equal(parse("drm-driver:\n drm-client-id: 1\n", &c), -EBADMSG);
	assert_int_equal(parse("", &c), -EBADMSG);
	assert_int_equal(c.id, 7);
}

static void more_engines_than_there_is_room_for_are_left_out(void **state)
{
	char text[2048] = "drm-driver: x\ndrm-client-id: 1\n";
	struct gpu_drm_client c;

	for (unsigned i = 0; i < 30; i++)
		snprintf(text + strlen(text), 40, "drm-engine-e%u: 1 ns\n", i);
	assert_int_equal(parse(text, &c), 0);
	assert_int_equal(c.n_engines, GPU_DRM_ENGINES);
}

/* ---- processes ---- */

static void engines_are_busy_for_their_part_of_the_interval(void **state)
{
	card_put("card1", "0000:03:00.0", "amdgpu");
	know(50);
	client_put(50, 3, 7, 1000, 0);
	open_gpu();
	gpu_source_sample(gpu, SEC, &out);
	client_put(50, 3, 7, 1000 + SEC / 2, 2 * SEC);
	gpu_source_sample(gpu, 3 * SEC, &out);
	assert_int_equal(n_events, 2);
	assert_int_equal(events[0].use_centi, 0);
	assert_int_equal(events[1].h.tgid, 50);
	assert_int_equal(events[1].device, 1);
	assert_int_equal(events[1].use_centi, 2500);
	assert_string_equal(engines[1], "{\"gfx\":25.00,\"compute\":25.00}");
	assert_int_equal(events[1].memory_kb, 2048);
	assert_int_equal(events[1].interval_ns, 2 * SEC);
	assert_string_equal(names[1], "0000:03:00.0");
}

static void a_client_is_counted_once_and_two_are_added(void **state)
{
	card_put("card1", "0000:03:00.0", "amdgpu");
	know(50);
	client_put(50, 3, 7, 0, 0);
	client_put(50, 4, 7, 0, 0);
	client_put(50, 5, 8, 0, 0);
	fd_put(50, 6, "pos:\t0\nflags:\t02\nmnt_id:\t15\nino:\t4\n");
	open_gpu();
	gpu_source_sample(gpu, SEC, &out);
	assert_int_equal(n_events, 1);
	assert_int_equal(events[0].memory_kb, 4096);
	client_put(50, 3, 7, SEC / 4, 0);
	client_put(50, 4, 7, SEC / 4, 0);
	client_put(50, 5, 8, SEC / 4, 0);
	gpu_source_sample(gpu, 2 * SEC, &out);
	assert_int_equal(events[1].use_centi, 5000);
}

static void a_counter_that_fell_is_no_use(void **state)
{
	card_put("card1", "0000:03:00.0", "amdgpu");
	know(50);
	client_put(50, 3, 7, 1000, 0);
	open_gpu();
	gpu_source_sample(gpu, SEC, &out);
	client_put(50, 3, 7, 10, 0);
	gpu_source_sample(gpu, 2 * SEC, &out);
	assert_int_equal(events[1].use_centi, 0);
}

static void a_client_of_no_card_is_left_out(void **state)
{
	card_put("card1", "0000:04:00.0", "amdgpu");
	know(50);
	client_put(50, 3, 7, 1000, 0);
	open_gpu();
	gpu_source_sample(gpu, SEC, &out);
	assert_int_equal(n_events, 0);
}

static void a_look_that_is_refused_is_told_once(void **state)
{
	char text[512];
	ssize_t n;
	FILE *said = tmpfile();
	int err = dup(STDERR_FILENO);

	card_put("card1", "0000:03:00.0", "amdgpu");
	know(50);
	know(51); /* has ended meanwhile */
	tree_put("proc/50/fdinfo", "");
	open_gpu();
	dup2(fileno(said), STDERR_FILENO);
	log_open();
	log_setup(LOG_INFO, false);
	gpu_source_sample(gpu, SEC, &out);
	gpu_source_sample(gpu, 2 * SEC, &out);
	log_setup(LOG_NOTICE, false);
	dup2(err, STDERR_FILENO);
	close(err);
	log_open();
	n = pread(fileno(said), text, sizeof(text) - 1, 0);
	fclose(said);
	assert_true(n > 0);
	text[n] = '\0';
	assert_non_null(strstr(text, "gpu drm: not of all processes"));
	assert_ptr_equal(strchr(text, '\n'), text + n - 1);
}

/* ---- devices ---- */

static void amdgpu_says_what_the_whole_device_does(void **state)
{
	card_put("card0", "0000:03:00.0", "amdgpu");
	tree_put("sys/class/drm/card0-DP-1/status", "connected\n");
	tree_put("sys/devices/0000:03:00.0/gpu_busy_percent", "42\n");
	tree_put("sys/devices/0000:03:00.0/mem_info_vram_used", "1073741824\n");
	tree_put("sys/devices/0000:03:00.0/mem_info_vram_total", "8589934592\n");
	tree_put("sys/devices/0000:03:00.0/hwmon/hwmon5/temp1_input", "51000\n");
	tree_put("sys/devices/0000:03:00.0/hwmon/hwmon5/power1_average", "35000000\n");
	open_gpu();
	gpu_source_sample(gpu, SEC, &out);
	assert_int_equal(n_events, 1);
	assert_int_equal(events[0].h.tgid, 0);
	assert_int_equal(events[0].use_centi, 4200);
	assert_int_equal(events[0].memory_kb, 1 << 20);
	assert_int_equal(events[0].memory_total_kb, 8 << 20);
	assert_int_equal(events[0].temperature, 51);
	assert_int_equal(events[0].power_mw, 35000);
}

static void without_cards_nothing_is_looked_at(void **state)
{
	know(50);
	client_put(50, 3, 7, 1000, 0);
	open_gpu();
	gpu_source_sample(gpu, SEC, &out);
	assert_int_equal(n_events, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_client_is_read),
		cmocka_unit_test(cycles_come_with_their_total),
		cmocka_unit_test(cycles_without_a_total_are_no_time),
		cmocka_unit_test(what_is_no_client_is_refused),
		cmocka_unit_test(more_engines_than_there_is_room_for_are_left_out),
		TEST(engines_are_busy_for_their_part_of_the_interval),
		TEST(a_client_is_counted_once_and_two_are_added),
		TEST(a_counter_that_fell_is_no_use),
		TEST(a_client_of_no_card_is_left_out),
		TEST(a_look_that_is_refused_is_told_once),
		TEST(amdgpu_says_what_the_whole_device_does),
		TEST(without_cards_nothing_is_looked_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
