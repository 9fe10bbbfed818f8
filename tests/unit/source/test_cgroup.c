/* SPDX-License-Identifier: MIT */
/* The parsers, and the source on a made-up cgroup tree. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "event/record.h"
#include "event/schema.h"
#include "source/cgroup.h"
#include "unit/source/tree.h"

#define SEC 1000000000ULL

static struct cgroup_source *source;
static struct as_cgroup events[64];
static char paths[64][64];
static size_t n_events;

static void keep(struct emitter *self, const struct event *ev)
{
	const struct as_cgroup *e = (const struct as_cgroup *)ev->rec;

	assert_int_equal(e->h.type, AS_EV_CGROUP);
	snprintf(paths[n_events], sizeof(paths[0]), "%.*s", (int)e->path.len,
		 record_bytes(&e->h, &e->path));
	events[n_events++] = *e;
}

static struct emitter out = {keep};

static int set_up(void **state)
{
	n_events = 0;
	return schema_init() || tree_make();
}

static int tear_down(void **state)
{
	cgroup_source_free(source);
	source = NULL;
	return tree_remove();
}

static void open_source(bool pressure)
{
	static char procfs[128], root[128];
	const struct cgroup_options opt = {
		.procfs = procfs, .root = root, .files = tree, .pressure = pressure};

	strcpy(procfs, tree_path("proc"));
	strcpy(root, tree_path("cgroup"));
	assert_int_equal(cgroup_source_open(&opt, &source, NULL), 0);
}

static struct cgroup *hold(const char *text)
{
	return cgroup_hold(source, text, strlen(text));
}

static const struct as_cgroup *event_of(const char *path)
{
	for (size_t i = n_events; i-- > 0;) {
		if (!strcmp(paths[i], path))
			return &events[i];
	}
	fail_msg("no event of '%s'", path);
	return NULL;
}

/* ---- parsers ---- */

static void place_is(const char *text, const char *path)
{
	struct cgroup_place place;
	struct cgroup_text t;

	assert_int_equal(cgroup_parse_place(text, strlen(text), &place), 0);
	t = cgroup_place_path(&place);
	assert_int_equal(t.n, strlen(path));
	assert_memory_equal(t.p, path, t.n);
}

static void the_path_is_that_of_the_hierarchy_in_which_processes_are_sorted(void **state)
{
	place_is("0::/user.slice/a:b.scope\n", "/user.slice/a:b.scope");
	place_is("9:name=systemd:/\n4:memory:/box/1\n1:cpu:/\n0::/\n", "/box/1");
	place_is("12:cpu,cpuacct:/c\n11:pids:/p\n0::/\n", "/p");
	place_is("1:name=systemd:/s\n0::/u\n", "/u");
	place_is("0::/\n", "/");
	/* without the newline at its end it is not complete, but still a path */
	place_is("0::/a", "/a");
}

#define DOCKER "/docker/2f1cd6e2a5b5b5d9e6ab7a3d3b0b9f1e0c7d8a9b2f1cd6e2a5b5b5d9e6ab7a3d"
#define POD    "/kubepods/burstable/pod3b0b9f1e-0c7d-4a9b-9e6a-b7a3d3b0b9f1/2f1cd6e2a5b5"

static void a_container_counts_in_whatever_hierarchy_it_is(void **state)
{
	place_is("4:memory:" DOCKER "\n1:name=systemd:" DOCKER
		 "\n0::/system.slice/containerd.service\n",
		 DOCKER);
	place_is("4:memory:/system.slice/docker.service\n3:pids:" POD "\n0::/\n", POD);
	place_is("4:memory:/user.slice\n0::" DOCKER "\n", DOCKER);
}

static void what_is_no_place_is_refused(void **state)
{
	struct cgroup_place place = {.unified = {"x", 1}};

	assert_int_equal(cgroup_parse_place("", 0, &place), -EBADMSG);
	assert_int_equal(cgroup_parse_place("0:/a\n", 5, &place), -EBADMSG);
	assert_int_equal(cgroup_parse_place("0::a\n", 5, &place), -EBADMSG);
	assert_int_equal(place.unified.n, 1);
}

static void stalls_are_read_with_their_averages(void **state)
{
	static const char text[] = "some avg10=19.03 avg60=8.13 avg300=3.83 total=6461427934\n"
				   "full avg10=0.50 avg60=0.00 avg300=0.00 total=12\n";
	const size_t some = strchr(text, '\n') - text;
	struct cgroup_stall stall;

	assert_int_equal(cgroup_parse_pressure(text, strlen(text), &stall), 0);
	assert_int_equal(stall.some_centi, 1903);
	assert_int_equal(stall.some_ns, 6461427934000);
	assert_int_equal(stall.full_centi, 50);
	assert_int_equal(stall.full_ns, 12000);
	/* KERNEL < 5.13: processors have no "full" */
	assert_int_equal(cgroup_parse_pressure(text, some, &stall), 0);
	assert_int_equal(stall.full_ns, 0);
	assert_int_equal(cgroup_parse_pressure(text, 40, &stall), -EBADMSG);
	assert_int_equal(cgroup_parse_pressure("full avg10=1.00\n", 16, &stall), -EBADMSG);
	assert_int_equal(cgroup_parse_pressure("", 0, &stall), -EBADMSG);
}

static void quota(const char *text, int r, uint64_t expected)
{
	uint64_t centi = 77;

	assert_int_equal(cgroup_parse_quota(text, strlen(text), &centi), r);
	assert_int_equal(centi, r < 0 ? 77 : expected);
}

static void a_quota_is_a_share_of_one_processor(void **state)
{
	quota("max 100000\n", 0, 0);
	quota("50000 100000\n", 0, 5000);
	quota("250000 100000\n", 0, 25000);
	quota("1 1000000\n", 0, 1);
	quota("50000 0\n", -EBADMSG, 0);
	quota("50000\n", -EBADMSG, 0);
	quota("18446744073709551615 1\n", -EBADMSG, 0);
	quota("", -EBADMSG, 0);
}

static void bytes(const char *text, int r, uint64_t expected)
{
	uint64_t kb = 77;

	assert_int_equal(cgroup_parse_bytes(text, strlen(text), &kb), r);
	assert_int_equal(kb, r < 0 ? 77 : expected);
}

static void no_limit_is_zero_in_both_versions(void **state)
{
	bytes("max\n", 0, 0);
	bytes("9223372036854771712\n", 0, 0);
	bytes("20971520\n", 0, 20480);
	bytes("-1\n", -EBADMSG, 0);
	bytes("", -EBADMSG, 0);
}

static void keys_are_whole_words_at_the_start_of_a_line(void **state)
{
	static const char text[] = "oom 5\noom_kill 3\noom_group_kill 1\n";
	uint64_t v = 0;

	assert_int_equal(cgroup_parse_key(text, strlen(text), "oom_kill", &v), 0);
	assert_int_equal(v, 3);
	assert_int_equal(cgroup_parse_key(text, strlen(text), "oom_ki", &v), -ENOENT);
	assert_int_equal(cgroup_parse_key("oom_kill x\n", 11, "oom_kill", &v), -EBADMSG);
	assert_int_equal(v, 3);
}

/* ---- limits ---- */

static void limits_are(const struct cgroup *c, uint64_t centi, uint64_t kb)
{
	uint64_t quota_centi, memory_kb;

	cgroup_limits(c, &quota_centi, &memory_kb);
	assert_int_equal(quota_centi, centi);
	assert_int_equal(memory_kb, kb);
}

static void the_smallest_limit_along_the_path_counts(void **state)
{
	struct cgroup *c;

	tree_put("cgroup/cgroup.controllers", "cpu memory\n");
	tree_put("cgroup/a/cpu.max", "150000 100000\n");
	tree_put("cgroup/a/memory.max", "1048576\n");
	tree_put("cgroup/a/b/cpu.max", "200000 100000\n");
	tree_put("cgroup/a/b/memory.max", "max\n");
	open_source(false);
	c = hold("0::/a/b\n");
	limits_are(c, 15000, 1024);
	tree_put("cgroup/a/b/memory.max", "524288\n");
	limits_are(c, 15000, 1024);
	cgroup_source_tick(source);
	limits_are(c, 15000, 512);
	cgroup_release(source, c);
}

static void version_1_limits_come_from_two_hierarchies(void **state)
{
	struct cgroup *c;

	tree_put("cgroup/unified/cgroup.controllers", "");
	tree_put("cgroup/memory/m/memory.limit_in_bytes", "2097152\n");
	tree_put("cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
	tree_put("cgroup/cpu/c/cpu.cfs_quota_us", "25000\n");
	tree_put("cgroup/cpu/c/cpu.cfs_period_us", "100000\n");
	tree_put("cgroup/cpu/cpu.cfs_quota_us", "-1\n");
	tree_put("cgroup/cpu/cpu.cfs_period_us", "100000\n");
	open_source(false);
	c = hold("4:memory:/m\n3:cpu,cpuacct:/c\n0::/\n");
	limits_are(c, 2500, 2048);
	assert_string_equal(cgroup_path(c), "/m");
	cgroup_release(source, c);
}

static void a_path_out_of_the_namespace_is_shown_but_not_opened(void **state)
{
	struct cgroup *c;

	tree_put("cgroup/cgroup.controllers", "");
	tree_put("outside/memory.max", "1048576\n");
	open_source(false);
	c = hold("0::/../outside\n");
	assert_string_equal(cgroup_path(c), "/../outside");
	limits_are(c, 0, 0);
	cgroup_release(source, c);
}

static void processes_share_what_is_known_of_their_cgroup(void **state)
{
	struct cgroup *a, *b;

	open_source(false);
	a = hold("0::/a\n");
	b = hold("0::/b\n");
	assert_ptr_not_equal(a, b);
	assert_ptr_equal(hold("0::/a\n"), a);
	cgroup_release(source, a);
	cgroup_release(source, a);
	assert_ptr_equal(hold("0::/a\n"), a);
	assert_null(hold("nonsense"));
	assert_null(hold(""));
	cgroup_release(source, NULL);
}

static void cgroups_beyond_the_limit_are_counted_and_unused_ones_make_room(void **state)
{
	struct cgroup *first = NULL;
	char text[64];

	open_source(false);
	for (unsigned i = 0; i < 1024; i++) {
		struct cgroup *c;

		snprintf(text, sizeof(text), "0::/%u\n", i);
		c = hold(text);
		assert_non_null(c);
		first = first ?: c;
	}
	assert_null(hold("0::/more\n"));
	assert_int_equal(cgroup_source_refused(source), 1);
	cgroup_release(source, first);
	assert_non_null(hold("0::/more\n"));
	assert_int_equal(cgroup_source_refused(source), 1);
}

static void a_container_gets_its_name_when_it_is_written_later(void **state)
{
#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	struct cgroup *c;

	open_source(false);
	c = hold("0::/docker/" ID "\n");
	assert_string_equal(cgroup_container(source, c)->name, "");
	tree_put("var/lib/docker/containers/" ID "/config.v2.json", "{\"Name\":\"/web\"}");
	assert_string_equal(cgroup_container(source, c)->name, "web");
	cgroup_release(source, c);
}

/* ---- samples ---- */

static void stall_put(const char *name, unsigned avg10, unsigned long some, unsigned long full)
{
	char text[256];

	snprintf(text, sizeof(text),
		 "some avg10=%u.25 avg60=0.00 avg300=0.00 total=%lu\n"
		 "full avg10=0.00 avg60=0.00 avg300=0.00 total=%lu\n",
		 avg10, some, full);
	tree_put(name, text);
}

static void stalls_are_those_of_the_interval(void **state)
{
	const struct as_cgroup *e;
	struct cgroup *c;

	stall_put("proc/pressure/cpu", 3, 1000, 0);
	stall_put("proc/pressure/memory", 4, 10, 5);
	stall_put("proc/pressure/io", 5, 20, 7);
	tree_put("cgroup/cgroup.controllers", "");
	stall_put("cgroup/a/cpu.pressure", 7, 500, 0);
	tree_put("cgroup/a/memory.current", "1048576\n");
	tree_put("cgroup/a/memory.peak", "2097152\n");
	tree_put("cgroup/a/memory.max", "4194304\n");
	tree_put("cgroup/a/memory.events", "low 0\noom 2\noom_kill 1\n");
	tree_put("cgroup/a/cpu.max", "50000 100000\n");
	tree_put("cgroup/a/cpu.stat",
		 "usage_usec 3000\nnr_periods 9\nnr_throttled 4\nthrottled_usec 800\n");
	open_source(true);
	c = hold("0::/a\n");
	cgroup_source_sample(source, 10 * SEC, &out);
	assert_int_equal(n_events, 2);
	e = event_of("");
	assert_int_equal(e->cpu_some_ns, 0);
	assert_int_equal(e->interval_ns, 0);
	assert_int_equal(e->cpu_some_centi, 325);
	e = event_of("/a");
	assert_int_equal(e->memory_kb, 1024);
	assert_int_equal(e->memory_peak_kb, 2048);
	assert_int_equal(e->memory_limit_kb, 4096);
	assert_int_equal(e->oom_kills, 1);
	assert_int_equal(e->quota_centi, 5000);
	assert_int_equal(e->cpu_ns, 3000000);
	assert_int_equal(e->throttled_ns, 800000);
	assert_int_equal(e->throttled, 4);

	stall_put("proc/pressure/cpu", 3, 1250, 0);
	stall_put("proc/pressure/memory", 3, 30, 8);
	stall_put("proc/pressure/io", 3, 60, 17);
	stall_put("cgroup/a/cpu.pressure", 8, 900, 0);
	cgroup_source_sample(source, 12 * SEC, &out);
	e = event_of("");
	assert_int_equal(e->interval_ns, 2 * SEC);
	assert_int_equal(e->cpu_some_ns, 250000);
	assert_int_equal(e->memory_some_ns, 20000);
	assert_int_equal(e->memory_full_ns, 3000);
	assert_int_equal(e->io_some_ns, 40000);
	assert_int_equal(e->io_full_ns, 10000);
	e = event_of("/a");
	assert_int_equal(e->cpu_some_ns, 400000);
	assert_int_equal(e->cpu_some_centi, 825);
	cgroup_release(source, c);
}

static void version_1_has_sums_but_no_stalls(void **state)
{
	const struct as_cgroup *e;
	struct cgroup *c;

	tree_put("cgroup/memory/m/memory.usage_in_bytes", "4096\n");
	tree_put("cgroup/memory/m/memory.max_usage_in_bytes", "8192\n");
	tree_put("cgroup/memory/m/memory.oom_control",
		 "oom_kill_disable 0\nunder_oom 0\noom_kill 6\n");
	tree_put("cgroup/cpu/c/cpu.stat", "nr_periods 1\nnr_throttled 2\nthrottled_time 77\n");
	tree_put("cgroup/cpuacct/c/cpuacct.usage", "123456789\n");
	open_source(true);
	c = hold("4:memory:/m\n3:cpu,cpuacct:/c\n");
	cgroup_source_sample(source, SEC, &out);
	assert_int_equal(n_events, 1);
	e = event_of("/m");
	assert_int_equal(e->memory_kb, 4);
	assert_int_equal(e->memory_peak_kb, 8);
	assert_int_equal(e->oom_kills, 6);
	assert_int_equal(e->throttled, 2);
	assert_int_equal(e->throttled_ns, 77);
	assert_int_equal(e->cpu_ns, 123456789);
	cgroup_release(source, c);
}

static void what_is_not_held_or_has_no_files_gives_no_events(void **state)
{
	struct cgroup *c;

	tree_put("cgroup/cgroup.controllers", "");
	tree_put("cgroup/a/memory.current", "4096\n");
	open_source(true);
	c = hold("0::/a\n");
	cgroup_release(source, c);
	c = hold("0::/nowhere\n");
	cgroup_source_sample(source, SEC, &out);
	assert_int_equal(n_events, 0);
	cgroup_release(source, c);
}

static void the_last_process_leaves_one_more_event_behind(void **state)
{
	struct cgroup *c;

	tree_put("cgroup/cgroup.controllers", "");
	tree_put("cgroup/a/memory.events", "oom_kill 0\n");
	open_source(true);
	c = hold("0::/a\n");
	cgroup_source_sample(source, SEC, &out);
	tree_put("cgroup/a/memory.events", "oom_kill 1\n");
	cgroup_release(source, c);
	cgroup_source_sample(source, 2 * SEC, &out);
	assert_int_equal(n_events, 2);
	assert_int_equal(events[1].oom_kills, 1);
	cgroup_source_sample(source, 3 * SEC, &out);
	assert_int_equal(n_events, 2);
}

/* A file of a cgroup that was removed cannot be read any more; here neither can a directory. */
static void a_cgroup_that_is_made_anew_is_sampled_again(void **state)
{
	struct cgroup *c;

	tree_put("cgroup/cgroup.controllers", "");
	tree_put("cgroup/a/memory.current/file", "");
	open_source(true);
	c = hold("0::/a\n");
	cgroup_source_sample(source, SEC, &out);
	assert_int_equal(n_events, 0);
	assert_int_equal(unlink(tree_path("cgroup/a/memory.current/file")), 0);
	assert_int_equal(rmdir(tree_path("cgroup/a/memory.current")), 0);
	tree_put("cgroup/a/memory.current", "4096\n");
	cgroup_source_sample(source, 2 * SEC, &out);
	assert_int_equal(n_events, 1);
	assert_int_equal(event_of("/a")->memory_kb, 4);
	cgroup_release(source, c);
}

static void the_root_of_one_hierarchy_beside_another_is_the_machine(void **state)
{
	struct cgroup *c;

	tree_put("cgroup/unified/cgroup.controllers", "");
	stall_put("cgroup/unified/cpu.pressure", 9, 500, 0);
	tree_put("cgroup/memory/m/memory.usage_in_bytes", "4096\n");
	tree_put("cgroup/cpuacct/cpuacct.usage", "99\n");
	open_source(true);
	c = hold("5:cpuacct:/\n4:memory:/m\n0::/\n");
	cgroup_source_sample(source, SEC, &out);
	assert_int_equal(event_of("/m")->cpu_some_centi, 0);
	assert_int_equal(event_of("/m")->cpu_ns, 0);
	cgroup_release(source, c);
	/* alone, it is the cgroup that a container sees as its own */
	c = hold("0::/\n");
	cgroup_source_sample(source, SEC, &out);
	assert_int_equal(event_of("/")->cpu_some_centi, 925);
	cgroup_release(source, c);
}

static void without_pressure_nothing_is_sampled(void **state)
{
	stall_put("proc/pressure/cpu", 3, 1000, 0);
	open_source(false);
	cgroup_source_sample(source, SEC, &out);
	assert_int_equal(n_events, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_path_is_that_of_the_hierarchy_in_which_processes_are_sorted),
		cmocka_unit_test(a_container_counts_in_whatever_hierarchy_it_is),
		cmocka_unit_test(what_is_no_place_is_refused),
		cmocka_unit_test(stalls_are_read_with_their_averages),
		cmocka_unit_test(a_quota_is_a_share_of_one_processor),
		cmocka_unit_test(no_limit_is_zero_in_both_versions),
		cmocka_unit_test(keys_are_whole_words_at_the_start_of_a_line),
		TEST(the_smallest_limit_along_the_path_counts),
		TEST(version_1_limits_come_from_two_hierarchies),
		TEST(a_path_out_of_the_namespace_is_shown_but_not_opened),
		TEST(processes_share_what_is_known_of_their_cgroup),
		TEST(cgroups_beyond_the_limit_are_counted_and_unused_ones_make_room),
		TEST(a_container_gets_its_name_when_it_is_written_later),
		TEST(stalls_are_those_of_the_interval),
		TEST(version_1_has_sums_but_no_stalls),
		TEST(what_is_not_held_or_has_no_files_gives_no_events),
		TEST(the_last_process_leaves_one_more_event_behind),
		TEST(a_cgroup_that_is_made_anew_is_sampled_again),
		TEST(the_root_of_one_hierarchy_beside_another_is_the_machine),
		TEST(without_pressure_nothing_is_sampled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
