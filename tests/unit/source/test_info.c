/* SPDX-License-Identifier: MIT */
/* On a made-up /proc, with made-up exec events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "event/record.h"
#include "event/schema.h"
#include "source/cgroup.h"
#include "source/info.h"
#include "unit/source/tree.h"

#define TICK PROC_TICK_NS

static struct info *info;
static struct cgroup_source *cgroups;
static struct proc_table *table;
static struct buf record;
static struct event event;
static char *env_names[] = {(char *)"LANG", (char *)"API_KEY"};

static struct as_process_info seen;
static char seen_bytes[65536];
static size_t n_seen;

static void keep(struct emitter *self, const struct event *ev)
{
	assert_int_equal(ev->rec->type, AS_EV_PROCESS_INFO);
	assert_true(ev->rec->len <= sizeof(seen_bytes));
	memcpy(seen_bytes, ev->rec, ev->rec->len);
	memcpy(&seen, ev->rec, sizeof(seen));
	n_seen++;
}

static struct emitter out = {keep};

static int set_up(void **state)
{
	static char procfs[128], root[128], passwd[128];
	const struct cgroup_options cgroup = {.procfs = procfs, .root = root, .files = tree};
	struct info_options opt = {
		.procfs = procfs, .passwd = passwd, .env_names = env_names, .n_env_names = 2};

	n_seen = 0;
	memset(&seen, 0, sizeof(seen));
	if (schema_init() || tree_make() || proc_table_new(&table))
		return -1;
	strcpy(procfs, tree_path("proc"));
	strcpy(root, tree_path("cgroup"));
	strcpy(passwd, tree_path("passwd"));
	tree_put("proc/version", "");
	tree_put("passwd", "ops:x:1000:0\n");
	tree_put("cgroup/cgroup.controllers", "");
	if (cgroup_source_open(&cgroup, &cgroups, NULL))
		return -1;
	opt.table = table;
	opt.cgroups = cgroups;
	return info_open(&opt, &info);
}

static int tear_down(void **state)
{
	info_free(info);
	cgroup_source_free(cgroups);
	proc_table_free(table);
	buf_done(&record);
	return tree_remove();
}

/* ---- making ---- */

static void put(uint32_t pid, const char *file, const char *text, size_t n)
{
	char name[64];

	snprintf(name, sizeof(name), "proc/%u/%s", pid, file);
	tree_put_bytes(name, text, n);
}

static void put_link(uint32_t pid, const char *file, const char *target)
{
	char name[64];

	snprintf(name, sizeof(name), "proc/%u/%s", pid, file);
	tree_link(name, target);
}

/* Started @start ticks after the boot. */
static void process_put(uint32_t pid, const char *comm, unsigned start)
{
	static const char env[] = "PATH=/bin\0LANG=C.UTF-8\0LANGUAGE=x\0API_KEY=k\0LANG";
	char stat[256];

	snprintf(stat, sizeof(stat), "%u (%s) S 7 1 1 0 -1 4 1 2 3 4 1 5 7 3 20 0 1 0 %u 8192 3 0",
		 pid, comm, start);
	put(pid, "stat", stat, strlen(stat));
	put(pid, "cmdline", "prog\0-x\0", 8);
	put(pid, "cgroup", "0::/system.slice/app.service\n", 29);
	put(pid, "environ", env, sizeof(env));
	put_link(pid, "exe", "/usr/bin/prog");
	put_link(pid, "cwd", "/srv");
}

static void process_know(uint32_t pid, const char *comm, uint64_t start_ns)
{
	char name[AS_COMM_LEN] = "";
	const struct proc_fact f = {.tgid = pid,
				    .ppid = 7,
				    .uid = 1000,
				    .start_ns = start_ns,
				    .start_exact = true,
				    .followed = true,
				    .comm = name};

	strcpy(name, comm);
	assert_non_null(proc_table_learn(table, &f));
}

static void begin(unsigned type, uint32_t pid, const char *comm, uint64_t start_ns)
{
	struct as_hdr h = {.tgid = pid,
			   .tid = pid,
			   .ppid = 7,
			   .uid = 1000,
			   .start_ns = start_ns,
			   .boot_ns = 9};

	strcpy(h.comm, comm);
	record_begin(&record, type, &h);
}

static void send(void)
{
	assert_int_equal(record_end(&record, &event), 0);
	info_event(info, &event, &out);
}

/* In /home/u; the base of a path lies leaf first. */
static void exec(uint32_t pid, const char *comm, uint64_t start_ns, const char *filename)
{
	struct as_span argv, cwd, name, env;

	begin(AS_EV_EXEC, pid, comm, start_ns);
	argv = record_add(&record, "prog\0a b\0", 9);
	name = record_add_str(&record, filename);
	cwd = record_add(&record, "u\0home\0", 7);
	env = record_add(&record, "LANG=agent\0CLAUDECODE=1\0", 24);
	record_struct(&record, as_exec)->argv = argv;
	record_struct(&record, as_exec)->filename = name;
	record_struct(&record, as_exec)->cwd.base = cwd;
	record_struct(&record, as_exec)->env = env;
	send();
}

static void fork_of(uint32_t parent, uint32_t child, uint64_t start_ns)
{
	begin(AS_EV_FORK, parent, "prog", 100 * TICK);
	record_struct(&record, as_fork)->child_pid = child;
	record_struct(&record, as_fork)->child_start_ns = start_ns;
	send();
}

static void has(const struct as_span *span, const char *text, size_t n)
{
	assert_int_equal(span->len, n);
	assert_memory_equal(seen_bytes + span->off, text, n);
}

static void has_text(const struct as_span *span, const char *text)
{
	has(span, text, strlen(text));
}

/* ---- exec ---- */

static void a_process_that_is_gone_is_told_from_its_exec_alone(void **state)
{
	exec(50, "prog", 100 * TICK + 5, "./bin/prog");
	assert_int_equal(n_seen, 1);
	has(&seen.argv, "prog\0a b\0", 9);
	has_text(&seen.exe, "/home/u/bin/prog");
	has_text(&seen.cwd, "/home/u");
	has(&seen.env, "LANG=agent\0", 11);
	has_text(&seen.user, "ops");
	assert_int_equal(seen.h.tgid, 50);
	assert_int_equal(seen.h.ppid, 7);
	assert_int_equal(seen.h.start_ns, 100 * TICK + 5);
	assert_int_equal(seen.started_ns, clock_unix_ns(100 * TICK + 5));
	assert_int_equal(seen.cgroup.len, 0);
	exec(51, "prog", 100 * TICK, "/opt/prog");
	has_text(&seen.exe, "/opt/prog");
}

static void what_proc_still_tells_is_added(void **state)
{
	process_put(50, "prog", 100);
	tree_put("cgroup/system.slice/app.service/memory.max", "1048576\n");
	tree_put("cgroup/system.slice/app.service/cpu.max", "50000 100000\n");
	exec(50, "prog", 100 * TICK + 5, "./bin/script");
	has(&seen.argv, "prog\0a b\0", 9);
	has_text(&seen.exe, "/usr/bin/prog");
	has_text(&seen.cwd, "/home/u");
	has(&seen.env, "LANG=C.UTF-8\0API_KEY=k\0", 23);
	has_text(&seen.cgroup, "/system.slice/app.service");
	has_text(&seen.unit, "app.service");
	assert_int_equal(seen.runtime.len, 0);
	assert_int_equal(seen.memory_limit_kb, 1024);
	assert_int_equal(seen.quota_centi, 5000);
}

static void a_reused_number_or_a_next_program_is_not_mixed_in(void **state)
{
	process_put(50, "prog", 101);
	exec(50, "prog", 100 * TICK, "/bin/a");
	has_text(&seen.exe, "/bin/a");
	assert_int_equal(seen.cgroup.len, 0);
	process_put(51, "other", 100);
	exec(51, "prog", 100 * TICK, "/bin/a");
	has_text(&seen.exe, "/bin/a");
	has(&seen.env, "LANG=agent\0", 11);
	/* but where it is has nothing to do with the program */
	has_text(&seen.cgroup, "/system.slice/app.service");
}

static void a_program_that_renamed_itself_is_known_by_its_arguments(void **state)
{
	process_put(50, "worker-1", 100);
	put(50, "cmdline", "prog\0a b\0", 9);
	exec(50, "prog", 100 * TICK, "/bin/a");
	has_text(&seen.exe, "/usr/bin/prog");
	put(50, "cmdline", "prog\0a b\0c\0", 11);
	exec(50, "prog", 100 * TICK, "/bin/a");
	has_text(&seen.exe, "/bin/a");
}

static void containers_are_told(void **state)
{
#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	static const char cgroup[] =
		"0::/kubepods/burstable/poda1b2c3d4-0000-1111-2222-333344445555/" ID "\n";

	process_put(50, "prog", 100);
	put(50, "cgroup", cgroup, sizeof(cgroup) - 1);
	tree_put("var/log/containers/web_prod_nginx-" ID ".log", "");
	exec(50, "prog", 100 * TICK, "/bin/a");
	has_text(&seen.runtime, "containerd");
	has_text(&seen.container, ID);
	has_text(&seen.container_name, "nginx");
	has_text(&seen.pod, "web");
	has_text(&seen.pod_namespace, "prod");
	has_text(&seen.qos, "burstable");
}

static void a_cut_argument_list_stays_marked_as_cut(void **state)
{
	struct as_span argv;

	begin(AS_EV_EXEC, 50, "prog", 100 * TICK);
	argv = record_add(&record, "prog\0a", 6);
	argv.full = 500000;
	record_struct(&record, as_exec)->argv = argv;
	send();
	assert_int_equal(seen.argv.len, 6);
	assert_int_equal(seen.argv.full, 500000);
}

static void huge_variables_are_cut(void **state)
{
	static char env[200000];

	process_put(50, "prog", 100);
	memset(env, 'x', sizeof(env));
	memcpy(env, "LANG=", 5);
	memcpy(env + 100000, "\0API_KEY=", 9);
	put(50, "environ", env, sizeof(env));
	exec(50, "prog", 100 * TICK, "/bin/a");
	assert_int_equal(seen.env.len, 2 * (4096 + 1));
	assert_int_equal(seen.env.full, sizeof(env) + 1);
}

/* ---- fork and exit ---- */

static void a_child_is_where_its_parent_is(void **state)
{
	uint64_t centi, kb;

	process_put(50, "prog", 100);
	tree_put("cgroup/system.slice/app.service/memory.max", "1048576\n");
	exec(50, "prog", 100 * TICK, "/bin/a");
	fork_of(50, 60, 200 * TICK);
	assert_int_equal(n_seen, 1);
	assert_true(info_limits(info, 60, &centi, &kb));
	assert_int_equal(kb, 1024);
	assert_false(info_limits(info, 61, &centi, &kb));
	/* it ended before /proc was looked at */
	exec(60, "prog", 200 * TICK, "/bin/b");
	has_text(&seen.cgroup, "/system.slice/app.service");
}

static void an_end_forgets_only_the_process_that_ended(void **state)
{
	uint64_t centi, kb;

	process_put(50, "prog", 100);
	exec(50, "prog", 100 * TICK, "/bin/a");
	begin(AS_EV_EXIT, 50, "prog", 90 * TICK);
	send();
	assert_true(info_limits(info, 50, &centi, &kb));
	begin(AS_EV_EXIT, 50, "prog", 100 * TICK);
	send();
	assert_false(info_limits(info, 50, &centi, &kb));
	assert_int_equal(n_seen, 1);
}

/* ---- who was there before ---- */

static void who_was_there_before_is_told_from_proc(void **state)
{
	process_put(50, "prog", 100);
	process_know(50, "prog", 100 * TICK + 7);
	info_process(info, 50);
	info_process(info, 51);
	assert_int_equal(n_seen, 0);
	assert_false(info_tick(info, false, &out));
	assert_int_equal(n_seen, 1);
	has(&seen.argv, "prog\0-x\0", 8);
	has_text(&seen.exe, "/usr/bin/prog");
	has_text(&seen.cwd, "/srv");
	has_text(&seen.cgroup, "/system.slice/app.service");
	has_text(&seen.user, "ops");
	/* the exact time, as in this process's other events */
	assert_int_equal(seen.h.start_ns, 100 * TICK + 7);
}

static void nobody_is_told_twice(void **state)
{
	process_put(50, "prog", 100);
	process_know(50, "prog", 100 * TICK);
	exec(50, "prog", 100 * TICK, "/bin/a");
	info_process(info, 50);
	info_tick(info, false, &out);
	assert_int_equal(n_seen, 1);
	exec(50, "prog", 100 * TICK, "/bin/b");
	assert_int_equal(n_seen, 2);
}

static void thousands_are_told_a_few_at_a_time(void **state)
{
	unsigned ticks = 1;

	for (unsigned pid = 1000; pid < 1300; pid++) {
		process_put(pid, "prog", 100);
		process_know(pid, "prog", 100 * TICK);
		info_process(info, pid);
	}
	while (info_tick(info, false, &out))
		ticks++;
	assert_int_equal(n_seen, 300);
	assert_in_range(ticks, 4, 10);
}

static void a_process_that_was_moved_is_found_in_its_new_cgroup(void **state)
{
	uint64_t centi, kb;

	process_put(50, "prog", 100);
	process_know(50, "prog", 100 * TICK);
	tree_put("cgroup/small/memory.max", "1048576\n");
	exec(50, "prog", 100 * TICK, "/bin/a");
	assert_true(info_limits(info, 50, &centi, &kb));
	assert_int_equal(kb, 0);
	put(50, "cgroup", "0::/small\n", 10);
	info_tick(info, false, &out);
	assert_true(info_limits(info, 50, &centi, &kb));
	assert_int_equal(kb, 0);
	info_tick(info, true, &out);
	assert_true(info_limits(info, 50, &centi, &kb));
	assert_int_equal(kb, 1024);
}

static void an_end_that_was_not_told_is_noticed(void **state)
{
	uint64_t centi, kb;

	process_put(50, "prog", 100);
	process_know(50, "prog", 100 * TICK);
	exec(50, "prog", 100 * TICK, "/bin/a");
	proc_table_end(table, proc_table_find(table, 50), UINT64_MAX);
	info_tick(info, true, &out);
	assert_false(info_limits(info, 50, &centi, &kb));
}

static void without_events_a_new_name_is_a_new_program(void **state)
{
	static char procfs[128];
	const struct info_options opt = {.procfs = procfs,
					 .passwd = "/nowhere",
					 .table = table,
					 .cgroups = cgroups,
					 .polling = true};

	strcpy(procfs, tree_path("proc"));
	info_free(info);
	assert_int_equal(info_open(&opt, &info), 0);
	process_put(50, "prog", 100);
	process_know(50, "prog", 100 * TICK);
	info_process(info, 50);
	info_tick(info, true, &out);
	info_tick(info, true, &out);
	assert_int_equal(n_seen, 1);
	process_put(50, "other", 100);
	info_tick(info, true, &out);
	info_tick(info, true, &out);
	assert_int_equal(n_seen, 2);
	assert_string_equal(seen.h.comm, "other");
}

static void a_name_alone_is_no_news_where_there_are_events(void **state)
{
	process_put(50, "prog", 100);
	process_know(50, "prog", 100 * TICK);
	info_process(info, 50);
	info_tick(info, true, &out);
	process_put(50, "other", 100);
	info_tick(info, true, &out);
	assert_int_equal(n_seen, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_process_that_is_gone_is_told_from_its_exec_alone),
		TEST(what_proc_still_tells_is_added),
		TEST(a_reused_number_or_a_next_program_is_not_mixed_in),
		TEST(a_program_that_renamed_itself_is_known_by_its_arguments),
		TEST(containers_are_told),
		TEST(a_cut_argument_list_stays_marked_as_cut),
		TEST(huge_variables_are_cut),
		TEST(a_child_is_where_its_parent_is),
		TEST(an_end_forgets_only_the_process_that_ended),
		TEST(who_was_there_before_is_told_from_proc),
		TEST(nobody_is_told_twice),
		TEST(thousands_are_told_a_few_at_a_time),
		TEST(a_process_that_was_moved_is_found_in_its_new_cgroup),
		TEST(an_end_that_was_not_told_is_noticed),
		TEST(without_events_a_new_name_is_a_new_program),
		TEST(a_name_alone_is_no_news_where_there_are_events),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
