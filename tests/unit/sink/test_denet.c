/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <json-c/json.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "event/record.h"
#include "event/schema.h"
#include "sink/denet.h"

#define SYNC_MS 20000

static char path[] = "/tmp/test_denet.XXXXXX";
static struct writer *w;
static struct sink *sink;
static struct json_object *lines; /* what was written, as an array */

static void open_with(bool single, bool env)
{
	const struct denet_options opt = {.single = single, .env = env};
	struct err e = {};

	if (writer_open(&(struct writer_options){.path = path}, &w, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(denet_sink_new(&opt, w, &sink), 0);
}

static int set_up(void **state)
{
	int fd;

	strcpy(path, "/tmp/test_denet.XXXXXX");
	fd = mkstemp(path);
	if (fd < 0 || schema_init() < 0)
		return -1;
	close(fd);
	unsetenv("SUDO_UID");
	unsetenv("SUDO_GID");
	return 0;
}

static int tear_down(void **state)
{
	sink->free(sink);
	writer_free(w);
	json_object_put(lines);
	lines = NULL;
	return unlink(path);
}

/* ---- events ---- */

static void write_record(struct buf *b, uint64_t ms)
{
	struct event ev;

	assert_int_equal(record_end(b, &ev), 0);
	ev.unix_ns = ms * NSEC_PER_MSEC;
	sink->write(sink, &ev, NULL, 0);
}

static void row(uint64_t ms, uint64_t tree_id, uint32_t pid, uint64_t rss_kb)
{
	_cleanup_(buf_done) struct buf b = {};
	const struct as_hdr h = {.tgid = pid, .tid = pid, .comm = "worker"};

	record_begin(&b, AS_EV_SYSTEM_METRICS, &h);
	record_struct(&b, as_system_metrics)->tree_id = tree_id;
	record_struct(&b, as_system_metrics)->rss_kb = rss_kb;
	record_struct(&b, as_system_metrics)->last_cpu = -1;
	write_record(&b, ms);
}

static void tree(uint64_t ms, uint64_t tree_id, uint32_t root, uint32_t processes)
{
	_cleanup_(buf_done) struct buf b = {};
	const struct as_hdr h = {.tgid = root, .tid = root};

	record_begin(&b, AS_EV_SYSTEM_TREE, &h);
	record_struct(&b, as_system_tree)->tree_id = tree_id;
	record_struct(&b, as_system_tree)->processes = processes;
	write_record(&b, ms);
}

static void info(uint32_t pid, const char *exe)
{
	_cleanup_(buf_done) struct buf b = {};
	const struct as_hdr h = {.tgid = pid, .tid = pid};
	struct as_span argv, file;

	record_begin(&b, AS_EV_PROCESS_INFO, &h);
	argv = record_add(&b, "sleep\0005", 8);
	file = record_add_str(&b, exe);
	record_struct(&b, as_process_info)->argv = argv;
	record_struct(&b, as_process_info)->exe = file;
	record_struct(&b, as_process_info)->started_ns = 7 * NSEC_PER_MSEC;
	write_record(&b, 10);
}

static void plain(unsigned type, uint32_t pid, uint64_t ms)
{
	_cleanup_(buf_done) struct buf b = {};
	const struct as_hdr h = {.tgid = pid, .tid = pid};

	record_begin(&b, type, &h);
	write_record(&b, ms);
}

/* ---- lines ---- */

static size_t read_lines(void)
{
	_cleanup_(fclosep) FILE *f = NULL;
	char text[8192];

	assert_true(writer_sync(w, SYNC_MS));
	f = fopen(path, "re");
	assert_non_null(f);
	json_object_put(lines);
	lines = json_object_new_array();
	while (fgets(text, sizeof(text), f)) {
		struct json_object *o = json_tokener_parse(text);

		assert_non_null(o);
		json_object_array_add(lines, o);
	}
	return json_object_array_length(lines);
}

/* "parent.mem_rss_kb" of the i-th line; NULL when it is null. */
static struct json_object *member(size_t i, const char *name)
{
	struct json_object *o = json_object_array_get_idx(lines, i);
	char copy[64], *rest = copy, *key;

	snprintf(copy, sizeof(copy), "%s", name);
	while ((key = strsep(&rest, ".")))
		assert_true(json_object_object_get_ex(o, key, &o));
	return o;
}

static void assert_kind(size_t i, const char *kind)
{
	assert_string_equal(json_object_get_string(member(i, "kind")), kind);
}

static void assert_number(size_t i, const char *name, int64_t value)
{
	assert_int_equal(json_object_get_int64(member(i, name)), value);
}

/* "11 12": the pids of the children. */
static void assert_children(size_t i, const char *want)
{
	struct json_object *list = member(i, "children"), *pid;
	char got[64] = "";

	for (size_t k = 0; k < json_object_array_length(list); k++) {
		size_t len = strlen(got);

		assert_true(
			json_object_object_get_ex(json_object_array_get_idx(list, k), "pid", &pid));
		snprintf(got + len, sizeof(got) - len, "%s%d", len ? " " : "",
			 json_object_get_int(pid));
	}
	assert_string_equal(got, want);
}

/* ---- tests ---- */

static void every_tree_has_its_own_processes(void **state)
{
	open_with(false, false);
	for (uint64_t ms = 1000; ms <= 1100; ms += 100) {
		row(ms, 1, 10, 100);
		row(ms, 2, 20, 200);
		row(ms, 1, 11, 110);
		row(ms, 2, 21, 210);
		row(ms, 2, 22, 220);
		row(ms, 0, 30, 300); /* of none */
		tree(ms, 2, 20, 3);
		tree(ms, 1, 10, 2);
	}
	assert_int_equal(read_lines(), 4);
	for (size_t i = 0; i < 4; i += 2) {
		assert_kind(i, "tree");
		assert_number(i, "ts_ms", i ? 1100 : 1000);
		assert_number(i, "parent.mem_rss_kb", 200);
		assert_children(i, "21 22");
		assert_number(i, "aggregated.process_count", 3);
		assert_number(i + 1, "parent.mem_rss_kb", 100);
		assert_children(i + 1, "11");
	}
}

static void a_tree_whose_root_has_ended_has_no_parent(void **state)
{
	open_with(false, false);
	row(1000, 1, 11, 110);
	tree(1000, 1, 10, 1);
	assert_int_equal(read_lines(), 1);
	assert_null(member(0, "parent"));
	assert_children(0, "11");
}

static void rows_of_the_sample_before_are_not_told_again(void **state)
{
	open_with(false, false);
	row(1000, 1, 10, 100);
	row(1000, 1, 11, 110);
	tree(1000, 1, 10, 2);
	tree(1100, 1, 10, 0);
	assert_int_equal(read_lines(), 2);
	assert_null(member(1, "parent"));
	assert_children(1, "");
}

static void without_children_there_are_samples_of_the_root(void **state)
{
	open_with(true, false);
	row(1000, 1, 10, 100);
	row(1000, 1, 11, 110);
	tree(1000, 1, 10, 2);
	row(1100, 1, 11, 110);
	tree(1100, 1, 10, 1);
	assert_int_equal(read_lines(), 1);
	assert_kind(0, "sample");
	assert_number(0, "mem_rss_kb", 100);
}

static void the_first_process_is_metadata_and_its_end_is_told(void **state)
{
	open_with(false, true);
	plain(AS_EV_START, 0, 1);
	info(10, "/bin/sleep");
	info(11, "/bin/child");
	row(1000, 1, 10, 100);
	tree(1000, 1, 10, 1);
	plain(AS_EV_EXIT, 11, 1010);
	plain(AS_EV_EXIT, 10, 1020);
	assert_int_equal(read_lines(), 5);
	assert_kind(0, "env");
	assert_kind(1, "metadata");
	assert_number(1, "pid", 10);
	assert_number(1, "t0_ms", 7);
	assert_string_equal(json_object_get_string(member(1, "executable")), "/bin/sleep");
	assert_int_equal(json_object_array_length(member(1, "cmd")), 2);
	assert_kind(2, "child");
	assert_number(2, "pid", 11);
	assert_kind(3, "tree");
	assert_kind(4, "exit");
	assert_number(4, "last_sample_to_exit_ms", 20);
}

static void every_event_is_counted_once_with_a_line_or_without(void **state)
{
	struct writer_counts c;

	open_with(true, false);
	plain(AS_EV_EXEC, 10, 1);
	plain(AS_EV_START, 0, 1);
	info(10, "/bin/sleep");
	row(1000, 1, 10, 100);
	row(1000, 1, 11, 110);
	tree(1000, 1, 10, 2);
	tree(1000, 2, 20, 0);
	plain(AS_EV_EXIT, 11, 1010);
	plain(AS_EV_STOP, 0, 1010);
	assert_int_equal(read_lines(), 2);
	writer_counts(w, &c);
	assert_int_equal(c.delivered[AS_EV_EXEC], 1);
	assert_int_equal(c.delivered[AS_EV_START], 1);
	assert_int_equal(c.delivered[AS_EV_PROCESS_INFO], 1);
	assert_int_equal(c.delivered[AS_EV_SYSTEM_METRICS], 2);
	assert_int_equal(c.delivered[AS_EV_SYSTEM_TREE], 2);
	assert_int_equal(c.delivered[AS_EV_EXIT], 1);
	assert_int_equal(c.delivered[AS_EV_STOP], 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_tree_has_its_own_processes),
		TEST(a_tree_whose_root_has_ended_has_no_parent),
		TEST(rows_of_the_sample_before_are_not_told_again),
		TEST(without_children_there_are_samples_of_the_root),
		TEST(the_first_process_is_metadata_and_its_end_is_told),
		TEST(every_event_is_counted_once_with_a_line_or_without),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
