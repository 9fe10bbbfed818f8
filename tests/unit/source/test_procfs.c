/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "source/procfs.h"

#define STAT_TAIL                                                              \
	" S 7 1 1 0 -1 4194560 1 2 3 4 150 50 7 3 20 0 4 0 12345 8192000 300 " \
	"18446744073709551615 1 2\n"

static int parse_stat(const char *text, struct procfs_stat *st)
{
	return procfs_parse_stat(text, strlen(text), st);
}

/* ---- parsers ---- */

static void stat_is_read(void **state)
{
	struct procfs_stat st;

	assert_int_equal(parse_stat("42 (sleep)" STAT_TAIL, &st), 0);
	assert_int_equal(st.pid, 42);
	assert_int_equal(st.ppid, 7);
	assert_string_equal(st.comm, "sleep");
	assert_int_equal(st.threads, 4);
	assert_int_equal(st.cpu_ns, 2000000000);
	assert_int_equal(st.waited_ns, 100000000);
	assert_int_equal(st.waited_faults, 2);
	assert_int_equal(st.start_ns, 123450000000);
	assert_int_equal(st.vsz_bytes, 8192000);
	assert_false(st.dead);
	assert_false(st.kernel_thread);
}

static void a_name_may_hold_parentheses_and_newlines(void **state)
{
	struct procfs_stat st;

	assert_int_equal(parse_stat("42 (a) S 1 (b\n) R" STAT_TAIL, &st), -EBADMSG);
	assert_int_equal(parse_stat("42 (a) S 1 (b\n))" STAT_TAIL, &st), 0);
	assert_string_equal(st.comm, "a) S 1 (b\n)");
	assert_int_equal(st.ppid, 7);
	assert_int_equal(parse_stat("42 ()" STAT_TAIL, &st), 0);
	assert_string_equal(st.comm, "");
}

static void a_long_name_is_cut_to_comm(void **state)
{
	struct procfs_stat st;

	assert_int_equal(parse_stat("42 (kworker/u8:2-events_unbound)" STAT_TAIL, &st), 0);
	assert_string_equal(st.comm, "kworker/u8:2-ev");
}

static void a_leader_that_ended_before_its_threads_is_not_dead(void **state)
{
	struct procfs_stat st;

	assert_int_equal(parse_stat("4 (x) Z 7 1 1 0 -1 4 1 2 3 4 1 5 7 3 20 0 2 0 1 8 3", &st), 0);
	assert_false(st.dead);
	assert_int_equal(parse_stat("4 (x) Z 7 1 1 0 -1 4 1 2 3 4 1 5 7 3 20 0 1 0 1 8 3", &st), 0);
	assert_true(st.dead);
}

static void every_cut_of_stat_is_refused_or_read_without_overrun(void **state)
{
	static const char text[] = "42 (sl eep)" STAT_TAIL;
	const size_t whole = strstr(text, " 300") - text;

	for (size_t n = 0; n < sizeof(text); n++) {
		char *copy = malloc(n ? n : 1);
		struct procfs_stat st;
		int r;

		memcpy(copy, text, n);
		r = procfs_parse_stat(copy, n, &st);
		free(copy);
		/* from the first digit of the last number wanted on */
		assert_int_equal(r, n > whole - 7 ? 0 : -EBADMSG);
	}
}

static void numbers_beyond_64_bits_are_refused(void **state)
{
	struct procfs_stat st;
	uint64_t a, b;

	assert_int_equal(
		parse_stat("4 (x) S 7 1 1 0 -1 4 1 2 3 4 99999999999999999999 5 7 3 20 0 2 0 1 8 3",
			   &st),
		-EBADMSG);
	/* fits, but not as nanoseconds */
	assert_int_equal(
		parse_stat("4 (x) S 7 1 1 0 -1 4 1 2 3 4 1 18446744073709551615 7 3 20 0 2 0 1 8 3",
			   &st),
		-EBADMSG);
	assert_int_equal(parse_stat("4294967296 (x)" STAT_TAIL, &st), -EBADMSG);
	assert_int_equal(procfs_parse_statm("18446744073709551616 1", 22, &a, &b), -EBADMSG);
	assert_int_equal(procfs_parse_statm("12 34 5", 7, &a, &b), 0);
	assert_int_equal(a, 12);
	assert_int_equal(b, 34);
}

static void a_uid_is_looked_for_at_the_start_of_a_line_only(void **state)
{
	static const char text[] = "Name:\tx\\nUid:\t0 Uid:\t0\nTgid:\t1\nUid:\t1000\t0\t0\t0\n";
	uint32_t uid = 7;

	assert_int_equal(procfs_parse_status_uid(text, strlen(text), &uid), 0);
	assert_int_equal(uid, 1000);
	assert_int_equal(procfs_parse_status_uid("Uid:", 4, &uid), -EBADMSG);
	assert_int_equal(procfs_parse_status_uid("", 0, &uid), -EBADMSG);
	assert_int_equal(uid, 1000);
}

static void io_needs_both_sums(void **state)
{
	static const char text[] = "rchar: 9\nread_bytes: 4096\nwrite_bytes: 8192\n";
	struct procfs_io io;

	assert_int_equal(procfs_parse_io(text, strlen(text), &io), 0);
	assert_int_equal(io.read_bytes, 4096);
	assert_int_equal(io.write_bytes, 8192);
	assert_int_equal(procfs_parse_io(text, 30, &io), -EBADMSG);
}

static void script_is(const char *args, size_t n, const char *expected)
{
	char *copy = malloc(n ? n : 1), name[AS_NAME_LEN];

	memcpy(copy, args, n);
	procfs_parse_script(copy, n, name);
	free(copy);
	assert_string_equal(name, expected);
}

static void the_script_is_the_first_argument_that_is_no_option(void **state)
{
	char longer[600];

	script_is("node\0--flag\0/usr/bin/claude\0x\0", 31, "claude");
	script_is("node\0claude\0", 12, "claude");
	script_is("node\0", 5, "");
	script_is("node\0cut", 8, "");
	script_is("node\0\0claude\0", 13, ""); /* an empty argument is one */
	script_is("node\0dir/\0", 10, "");
	script_is("", 0, "");
	memset(longer, 'a', sizeof(longer));
	script_is(longer, sizeof(longer), "");
	memcpy(longer, "n", 2);
	longer[100] = '\0';
	script_is(longer, sizeof(longer),
		  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
}

static void the_machine_is_read(void **state)
{
	static const char stat[] = "cpu  10 20 30 400 50 6 7 8 9 0\ncpu0 1\n";
	static const char mem[] = "MemTotal:  1000 kB\nMemFree: 200 kB\nMemAvailable: 600 kB\n";
	struct procfs_memory m;
	uint64_t ns, load[3];

	assert_int_equal(procfs_parse_busy(stat, strlen(stat), &ns), 0);
	assert_int_equal(ns, (10 + 20 + 30 + 6 + 7) * 10000000ULL);
	assert_int_equal(procfs_parse_busy(stat, 20, &ns), -EBADMSG);
	assert_int_equal(procfs_parse_busy("cpu0 1", 6, &ns), -EBADMSG);

	assert_int_equal(procfs_parse_meminfo(mem, strlen(mem), &m), 0);
	assert_int_equal(m.available_kb, 600);
	assert_int_equal(procfs_parse_meminfo(mem, 30, &m), -EBADMSG);

	assert_int_equal(procfs_parse_loadavg("0.52 10.05 0.59 1/2 3\n", 22, load), 0);
	assert_int_equal(load[0], 52);
	assert_int_equal(load[1], 1005);
	assert_int_equal(procfs_parse_loadavg("0.52 10.05 0.5", 14, load), -EBADMSG);
	assert_int_equal(procfs_parse_loadavg("1 2 3", 5, load), -EBADMSG);
}

/* ---- who belongs, on a made-up /proc ---- */

static char root[64];
static struct procfs *fs;
static struct proc_table *table;
static unsigned n_found;
static uint32_t found_flags[1000];

static void put(uint32_t pid, const char *file, const char *text, size_t n)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%u/%s", root, pid, file);
	f = fopen(path, "w");
	assert_non_null(f);
	fwrite(text, 1, n, f);
	fclose(f);
}

static void stat_put(uint32_t pid, uint32_t ppid, const char *comm, unsigned start, unsigned cpu,
		     unsigned waited)
{
	char text[512];

	snprintf(text, sizeof(text),
		 "%u (%s) S %u 1 1 0 -1 0 1 2 3 4 %u 0 %u 0 20 0 1 0 %u 4096 1\n", pid, comm, ppid,
		 cpu, waited, start);
	put(pid, "stat", text, strlen(text));
}

static void process_put(uint32_t pid, uint32_t ppid, const char *comm, const char *exe,
			const char *args, size_t n_args)
{
	char path[128], uid[64];

	snprintf(path, sizeof(path), "%s/%u", root, pid);
	mkdir(path, 0700);
	stat_put(pid, ppid, comm, 100 + pid, 5, 0);
	snprintf(uid, sizeof(uid), "Name:\tx\nUid:\t%u\t0\t0\t0\n", pid >= 500 ? 1000 : 0);
	put(pid, "status", uid, strlen(uid));
	put(pid, "statm", "10 5 1", 6);
	put(pid, "cmdline", args, n_args);
	snprintf(path, sizeof(path), "%s/%u/exe", root, pid);
	if (exe)
		assert_int_equal(symlink(exe, path), 0);
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	return remove(path);
}

static void process_remove(uint32_t pid)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%u", root, pid);
	nftw(path, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static int set_up(void **state)
{
	strcpy(root, "/tmp/test_procfs.XXXXXX");
	if (!mkdtemp(root) || procfs_open(root, &fs) || proc_table_new(&table))
		return -1;
	n_found = 0;
	memset(found_flags, 0, sizeof(found_flags));
	process_put(1, 0, "init", "/sbin/init", "init\0", 5);
	process_put(10, 1, "node", "/usr/bin/node", "node\0--x\0/opt/claude\0", 21);
	process_put(11, 10, "bash", "/bin/bash", "bash\0", 5);
	process_put(12, 11, "sleep", "/bin/sleep", "sleep\0009\0", 8);
	process_put(20, 1, "claude", "/bin/x", "x\0", 2);
	process_put(30, 1, "main", "/opt/claude (deleted)", "x\0", 2);
	process_put(500, 1, "other", "/bin/other", "claude\0", 7);
	return 0;
}

static int tear_down(void **state)
{
	proc_table_free(table);
	procfs_free(fs);
	return nftw(root, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static void note(void *ctx, const struct proc *p, uint32_t flags)
{
	n_found++;
	found_flags[p->tgid] = flags;
}

static const char *const claude[] = {"claude"};

static void a_name_is_comm_executable_or_script(void **state)
{
	const struct proc_match m = {.names = claude, .n_names = 1};

	assert_int_equal(procfs_seed(fs, table, &m, note, NULL), 3);
	assert_int_equal(n_found, 3);
	assert_int_equal(found_flags[10], AS_PROC_NAMED);
	assert_int_equal(found_flags[20], AS_PROC_NAMED);
	assert_int_equal(found_flags[30], AS_PROC_NAMED);
	assert_int_equal(proc_table_count(table), 7);
	assert_false(proc_table_find(table, 11)->followed);
}

static void descendants_of_all_levels_belong(void **state)
{
	const struct proc_match m = {.names = claude, .n_names = 1, .follow_children = true};

	assert_int_equal(procfs_seed(fs, table, &m, note, NULL), 5);
	assert_int_equal(found_flags[11], AS_PROC_CHILD);
	assert_int_equal(found_flags[12], AS_PROC_CHILD);
	assert_ptr_equal(proc_table_find(table, 12)->parent, proc_table_find(table, 11));
}

static void fork_behind_the_pass(void *ctx, const struct proc *p, uint32_t flags)
{
	note(ctx, p, flags);
	if (p->tgid == 20)
		process_put(21, 20, "late", NULL, "late\0", 5);
}

static void a_child_forked_during_the_pass_is_found_by_the_next(void **state)
{
	const struct proc_match m = {.names = claude, .n_names = 1, .follow_children = true};

	assert_int_equal(procfs_seed(fs, table, &m, fork_behind_the_pass, NULL), 6);
	assert_int_equal(found_flags[21], AS_PROC_CHILD);
}

static void pids_add_to_names_whoever_runs_them(void **state)
{
	const uint32_t pids[] = {500, 11};
	const struct proc_match both = {.names = claude,
					.n_names = 1,
					.pids = pids,
					.n_pids = 2,
					.by_uid = true,
					.uid = 1000};

	assert_int_equal(procfs_seed(fs, table, &both, note, NULL), 5);
	assert_int_equal(found_flags[500], AS_PROC_GIVEN);
	assert_int_equal(found_flags[10], AS_PROC_NAMED);
	assert_int_equal(found_flags[11], AS_PROC_GIVEN);
}

static void a_number_that_comes_again_is_somebody_else(void **state)
{
	const uint32_t pids[] = {500, 11};
	struct proc_match m = {.pids = pids, .n_pids = 2, .follow_children = true};

	assert_int_equal(procfs_seed(fs, table, &m, note, NULL), 3);
	m.pids_found = true;
	process_remove(500);
	proc_table_end(table, proc_table_find(table, 500), 0);
	process_put(500, 1, "stranger", "/bin/s", "s\0", 2);
	stat_put(500, 1, "stranger", 900, 0, 0);
	process_put(501, 11, "child", "/bin/c", "c\0", 2);
	assert_int_equal(procfs_refresh(fs, table, &m, note, NULL), 1);
	assert_int_equal(found_flags[501], AS_PROC_CHILD);
	assert_false(proc_table_find(table, 500)->followed);
}

static void a_uid_alone_selects_all_its_processes(void **state)
{
	const struct proc_match m = {.by_uid = true, .uid = 0};

	assert_int_equal(procfs_seed(fs, table, &m, note, NULL), 6);
}

static void a_uid_beside_a_command_selects_nobody(void **state)
{
	const struct proc_match m = {.command = true, .by_uid = true, .uid = 0};

	assert_int_equal(procfs_seed(fs, table, &m, note, NULL), 0);
}

static void what_was_used_before_the_first_look_is_no_samples(void **state)
{
	const struct proc_match m = {.names = claude, .n_names = 1};

	procfs_seed(fs, table, &m, NULL, NULL);
	assert_int_equal(proc_table_find(table, 10)->sample.cpu_ns, 50000000);
	process_put(22, 1, "claude", NULL, "", 0);
	assert_int_equal(procfs_refresh(fs, table, &m, NULL, NULL), 1);
	assert_int_equal(proc_table_find(table, 22)->sample.cpu_ns, 0);
}

static void a_process_that_execs_a_wanted_program_is_found(void **state)
{
	const struct proc_match m = {.names = claude, .n_names = 1};

	for (int i = 0; i < 6; i++)
		procfs_refresh(fs, table, &m, NULL, NULL);
	assert_false(proc_table_find(table, 12)->followed);
	stat_put(12, 11, "claude", 112, 5, 0);
	assert_int_equal(procfs_refresh(fs, table, &m, NULL, NULL), 1);
	assert_true(proc_table_find(table, 12)->followed);
}

static void a_young_process_that_execs_under_the_same_name_is_found(void **state)
{
	const struct proc_match m = {.names = claude, .n_names = 1};

	procfs_refresh(fs, table, &m, NULL, NULL);
	put(12, "cmdline", "sleep\0/x/claude\0", 16);
	assert_int_equal(procfs_refresh(fs, table, &m, NULL, NULL), 1);
	assert_true(proc_table_find(table, 12)->followed);
}

static void who_is_gone_or_replaced_ends(void **state)
{
	const struct proc_match m = {.names = claude, .n_names = 1};

	procfs_refresh(fs, table, &m, NULL, NULL);
	process_remove(11);
	stat_put(20, 1, "reused", 5000, 0, 0);
	procfs_refresh(fs, table, &m, NULL, NULL);
	assert_true(proc_table_find(table, 11)->exited);
	assert_string_equal(proc_table_find(table, 20)->comm, "reused");
	assert_false(proc_table_find(table, 20)->followed);
	assert_int_equal(proc_table_count(table), 6);
}

static void the_reaper_believes_only_the_second_look(void **state)
{
	const struct proc_match m = {.by_uid = true};

	procfs_seed(fs, table, &m, NULL, NULL);
	process_remove(11);
	stat_put(12, 11, "sleep", 9999, 0, 0);
	assert_int_equal(procfs_reap(fs, table, 1000), 0);
	assert_int_equal(procfs_reap(fs, table, 1000), 2);
	assert_int_equal(proc_table_count(table), 5);
	assert_int_equal(procfs_reap(fs, table, 1000), 0);
}

static void rubbish_in_proc_is_passed_over(void **state)
{
	const struct proc_match m = {.names = claude, .n_names = 1};
	char path[128];

	put(10, "stat", "10 (claude", 10);
	put(20, "stat", "77 (claude)" STAT_TAIL, strlen("77 (claude)" STAT_TAIL));
	snprintf(path, sizeof(path), "%s/99999999999", root);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/12x", root);
	mkdir(path, 0700);
	assert_int_equal(procfs_seed(fs, table, &m, note, NULL), 1);
	assert_int_equal(found_flags[30], AS_PROC_NAMED);
}

static void our_own_entry_in_the_real_proc_is_readable(void **state)
{
	struct procfs *real;
	struct procfs_stat st;

	assert_int_equal(procfs_open("/proc", &real), 0);
	assert_int_equal(procfs_read_stat(real, getpid(), &st), 0);
	assert_int_equal(st.ppid, getppid());
	assert_int_equal(procfs_read_stat(real, UINT32_MAX, &st), -ENOENT);
	procfs_free(real);
	assert_int_equal(procfs_open("/proc/no such", &real), -ENOENT);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

static void stat_tells_of_the_scheduler_what_it_has(void **state)
{
	static const char text[] = "7 (a) D 1 7 7 0 -1 4194304 11 22 33 44 5 6 7 8 20 -20 3 0 100 "
				   "8192 1 1 1 1 1 1 1 0 0 0 0 1 "
				   "0 0 17 6 99 1 0 0 0";
	struct procfs_stat st;

	assert_int_equal(procfs_parse_stat(text, strlen(text), &st), 0);
	assert_int_equal(st.minor_faults, 11);
	assert_int_equal(st.major_faults, 33);
	assert_int_equal(st.user_ns, 5 * PROC_TICK_NS);
	assert_int_equal(st.system_ns, 6 * PROC_TICK_NS);
	assert_int_equal(st.nice, -20);
	assert_int_equal(st.threads, 3);
	assert_int_equal(st.last_cpu, 6);
	assert_int_equal(st.priority, 99);
	assert_int_equal(st.policy, 1);
	assert_int_equal(st.state, AS_THREAD_DISK);
	assert_int_equal(procfs_parse_stat(text, strstr(text, " 8192") + 5 - text, &st), 0);
	assert_int_equal(st.last_cpu, -1);
}

static void status_tells_memory_and_switches(void **state)
{
	static const char text[] =
		"Name:\tx\nVmHWM:\t   90 kB\nRssAnon:\t  40 kB\nRssFile:\t   30 kB\n"
		"RssShmem:\t  20 kB\nVmSwap:\t 10 kB\n"
		"voluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t6\n";
	struct procfs_status st;

	assert_int_equal(procfs_parse_status(text, strlen(text), &st), 0);
	assert_int_equal(st.peak_kb, 90);
	assert_int_equal(st.anon_kb, 40);
	assert_int_equal(st.file_kb, 30);
	assert_int_equal(st.shmem_kb, 20);
	assert_int_equal(st.swap_kb, 10);
	assert_int_equal(st.voluntary, 5);
	assert_int_equal(st.involuntary, 6);
	assert_int_equal(procfs_parse_status(text, strlen(text) - 4, &st), -EBADMSG);
}

static void schedstat_tells_run_and_wait(void **state)
{
	uint64_t cpu, wait;

	assert_int_equal(procfs_parse_schedstat("12 34 5\n", 8, &cpu, &wait), 0);
	assert_int_equal(cpu, 12);
	assert_int_equal(wait, 34);
	assert_int_equal(procfs_parse_schedstat("12\n", 3, &cpu, &wait), -EBADMSG);
}

static bool count_thread(void *ctx, uint32_t tid)
{
	(*(unsigned *)ctx)++;
	return true;
}

static void threads_are_visited(void **state)
{
	_cleanup_(procfs_freep) struct procfs *real = NULL;
	unsigned n = 0;

	assert_int_equal(procfs_open("/proc", &real), 0);
	assert_int_equal(procfs_each_thread(real, getpid(), count_thread, &n), 0);
	assert_int_equal(n, 1);
	assert_int_equal(procfs_each_thread(real, UINT32_MAX, count_thread, &n), -ENOENT);
}

static void a_thread_tells_the_process_that_it_belongs_to(void **state)
{
	static const char status[] = "Name:\tTgid: 7\nUmask:\t0022\nTgid:\t30\nPid:\t31\n";
	uint32_t tgid = 0;

	process_put(31, 1, "x", NULL, "", 0);
	assert_int_equal(procfs_read_tgid(fs, 31, &tgid), -EBADMSG);
	put(31, "status", status, sizeof(status) - 1);
	assert_int_equal(procfs_read_tgid(fs, 31, &tgid), 0);
	assert_int_equal(tgid, 30);
	assert_int_equal(procfs_read_tgid(fs, 32, &tgid), -ENOENT);
	assert_int_equal(tgid, 30);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stat_is_read),
		cmocka_unit_test(a_name_may_hold_parentheses_and_newlines),
		cmocka_unit_test(a_long_name_is_cut_to_comm),
		cmocka_unit_test(a_leader_that_ended_before_its_threads_is_not_dead),
		cmocka_unit_test(every_cut_of_stat_is_refused_or_read_without_overrun),
		cmocka_unit_test(numbers_beyond_64_bits_are_refused),
		cmocka_unit_test(a_uid_is_looked_for_at_the_start_of_a_line_only),
		cmocka_unit_test(io_needs_both_sums),
		cmocka_unit_test(the_script_is_the_first_argument_that_is_no_option),
		cmocka_unit_test(the_machine_is_read),
		TEST(a_name_is_comm_executable_or_script),
		TEST(descendants_of_all_levels_belong),
		TEST(a_child_forked_during_the_pass_is_found_by_the_next),
		TEST(pids_add_to_names_whoever_runs_them),
		TEST(a_uid_alone_selects_all_its_processes),
		TEST(a_uid_beside_a_command_selects_nobody),
		TEST(a_number_that_comes_again_is_somebody_else),
		TEST(what_was_used_before_the_first_look_is_no_samples),
		TEST(a_process_that_execs_a_wanted_program_is_found),
		TEST(a_young_process_that_execs_under_the_same_name_is_found),
		TEST(who_is_gone_or_replaced_ends),
		TEST(the_reaper_believes_only_the_second_look),
		TEST(rubbish_in_proc_is_passed_over),
		TEST(a_thread_tells_the_process_that_it_belongs_to),
		TEST(our_own_entry_in_the_real_proc_is_readable),
		cmocka_unit_test(stat_tells_of_the_scheduler_what_it_has),
		cmocka_unit_test(status_tells_memory_and_switches),
		cmocka_unit_test(schedstat_tells_run_and_wait),
		cmocka_unit_test(threads_are_visited),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
