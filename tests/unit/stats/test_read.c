/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "stats/read.h"

#define T0 1700000000000000000ULL

static struct stats *read_text(const char *p, size_t n, struct stats_input *in)
{
	struct stats *s = NULL;

	memset(in, 0, sizeof(*in));
	assert_int_equal(stats_new(&s), 0);
	assert_int_equal(stats_read_text(s, p, n, in), 0);
	return s;
}

static void add_tree(struct buf *b, unsigned i)
{
	buf_printf(b,
		   "{\"timestamp\":%llu,\"source\":\"system\",\"pid\":5,\"comm\":\"make\","
		   "\"exec_id\":\"5@77\",\"data\":{\"type\":\"tree\",\"processes\":3,\"threads\":4,"
		   "\"cpu\":{\"percent\":\"50.00\",\"cores\":2,\"total_ns\":%u},"
		   "\"memory\":{\"rss_kb\":%u},\"io\":{\"read_bytes\":%u,\"write_bytes\":0},"
		   "\"reason\":\"timer\",\"elapsed_ns\":%llu,\"interval_ns\":100000000}}\n",
		   (unsigned long long)(T0 + i * 100000000ULL), i * 50000000, 1000 + i, i * 4096,
		   i * 100000000ULL);
}

static void rows_of_agentsight_are_read(void **state)
{
	struct buf b = {0};
	struct stats_input in;
	struct stats *s;

	for (unsigned i = 0; i <= 40; i++)
		add_tree(&b, i);
	s = read_text(b.data, b.len, &in);
	assert_int_equal(in.lines, 41);
	assert_int_equal(in.bad, 0);
	assert_int_equal(s->tree.samples, 41);
	assert_int_equal(s->tree.total[COUNTER_CPU], 2000000000);
	assert_int_equal(s->tree.values[GAUGE_RSS].max, 1040);
	assert_int_equal(stats_wall_ns(s), 4000000000);
	assert_int_equal(s->cores, 2);
	stats_free(s);
	buf_done(&b);
}

static void records_of_denet_are_read(void **state)
{
	static const char text[] =
		"{\"kind\":\"env\",\"ts_ms\":1700000000000,\"host\":\"h\"}\n"
		"{\"kind\":\"metadata\",\"pid\":9,\"cmd\":[\"sleep\",\"1 "
		"0\"],\"executable\":\"/bin/sleep\",\"t0_ms\":1700000000000}\n"
		"{\"kind\":\"tree\",\"ts_ms\":1700000000000,\"parent\":{\"ts_ms\":1700000000000,"
		"\"cpu_usage\":0,\"mem_rss_kb\":100},\"children\":[],\"aggregated\":{\"ts_ms\":"
		"1700000000000,\"cpu_usage\":0.0,\"mem_rss_kb\":100,\"process_count\":1}}\n"
		"{\"kind\":\"tree\",\"ts_ms\":1700000001000,\"parent\":{\"cpu_usage\":50,\"mem_rss_"
		"kb\":100},\"children\":[{\"pid\":10,\"command\":\"kid\",\"metrics\":{\"cpu_"
		"usage\":100.0,\"mem_rss_kb\":300,\"disk_read_bytes\":10}}],\"aggregated\":{\"cpu_"
		"usage\":150.00001,\"mem_rss_kb\":400,\"process_count\":2,\"disk_read_bytes\":4096,"
		"\"gpu\":null,\"page_faults_disk\":null}}\n"
		"{\"kind\":\"exit\",\"ts_ms\":1700000001500}\n";
	struct stats_input in;
	struct stats *s = read_text(text, sizeof(text) - 1, &in);

	assert_int_equal(in.bad, 0);
	assert_string_equal(s->command, "sleep 1 0");
	assert_true(s->has_tree);
	assert_int_equal(s->processes_seen, 2);
	assert_int_equal(s->tree.values[GAUGE_CPU].max, 15000);
	/* the first row stands for no time */
	assert_int_equal(stats_mean(&s->tree.values[GAUGE_CPU]), 15000);
	assert_int_equal(s->tree.total[COUNTER_READ], 4096);
	assert_int_equal(s->tree.total[COUNTER_CPU], 1500000000);
	assert_string_equal(s->processes[1].comm, "kid");
	stats_free(s);
}

static void flat_samples_of_older_files_are_read(void **state)
{
	static const char text[] =
		"{\"pid\":9,\"cmd\":[\"x\"],\"executable\":\"/bin/x\",\"t0_ms\":1700000000000}\n"
		"{\"ts_ms\":1700000000000,\"cpu_usage\":10.0,\"mem_rss_kb\":100,\"sys_net_rx_"
		"bytes\":1}\n"
		"{\"ts_ms\":1700000000100,\"cpu_usage\":30.0,\"mem_rss_kb\":200,\"net_rx_bytes\":5}"
		"\n"
		"{\"ts_ms\":1700000001000,\"cpu_usage\":20.0,\"mem_rss_kb\":200,\"net_rx_bytes\":9}"
		"\n";
	struct stats_input in;
	struct stats *s = read_text(text, sizeof(text) - 1, &in);

	assert_int_equal(in.used, 4);
	assert_int_equal(s->n_processes, 1);
	/* 30 % for 100 ms, 20 % for 900 ms: the unweighted mean would be 20 or 25 */
	assert_int_equal(stats_mean(&s->processes[0].values[GAUGE_CPU]), 2100);
	assert_int_equal(s->tree.samples, 3);
	assert_int_equal(s->tree.total[COUNTER_RX], 9);
	stats_free(s);
}

static void what_is_no_record_is_counted_and_passed_over(void **state)
{
	struct buf b = {0};
	struct stats_input in;
	struct stats *s;

	add_tree(&b, 1);
	buf_add_lit(&b, "\x00\x01\xff\xfe binary \n{\"timestamp\":12,\"sou\n\n{}\n[1,2]\n");
	add_tree(&b, 2);
	buf_add_lit(&b, "{\"timestamp\":1,\"source\":\"system\",\"data\":{\"type\":\"tree\"");
	s = read_text(b.data, b.len, &in);
	assert_int_equal(s->tree.samples, 2);
	assert_int_equal(in.bad, 4);
	assert_int_equal(in.first_bad, 2);
	assert_int_equal(in.lines, 8);
	stats_free(s);
	buf_done(&b);
}

static void a_huge_line_costs_no_memory_and_hides_no_other(void **state)
{
	struct buf b = {0};
	struct stats_input in;
	struct stats *s;

	add_tree(&b, 1);
	/* one of a type that is not wanted, and one that does not say what it is */
	for (int which = 0; which < 2; which++) {
		buf_add_str(&b,
			    which ? "{\"x\":\""
				  : "{\"source\":\"ssl\",\"data\":{\"type\":\"data\",\"text\":\"");
		for (int i = 0; i < 10 << 10; i++)
			buf_printf(&b, "%01024d", i);
		buf_add_lit(&b, "\"}}\n");
	}
	add_tree(&b, 2);
	s = read_text(b.data, b.len, &in);
	assert_int_equal(s->tree.samples, 2);
	assert_int_equal(in.long_lines, 1);
	assert_int_equal(in.bad, 0);
	assert_int_equal(in.lines, 4);
	stats_free(s);
	buf_done(&b);
}

#define LINE(ms, source, pid, start, data)                                                         \
	"{\"timestamp\":" STR(ms) "000000,\"source\":\"" source "\",\"pid\":" STR(                 \
		pid) ",\"comm\":\"c\",\"exec_id\":\"" STR(pid) "@" STR(start) "\",\"data\":{" data \
									      "}}\n"
#define STR(x)  STR_(x)
#define STR_(x) #x
#define ROW(ms, pid, start, cpu_ns)                                    \
	LINE(ms, "system", pid, start,                                 \
	     "\"type\":\"system_metrics\",\"interval_ns\":1000000000," \
	     "\"cpu\":{\"percent\":\"1.00\",\"total_ns\":" STR(        \
		     cpu_ns) "},"                                      \
			     "\"memory\":{\"rss_kb\":1000}")
#define EXEC(ms, pid, start)            \
	LINE(ms, "process", pid, start, \
	     "\"type\":\"exec\",\"started\":" STR(ms) "000000,\"argv\":[\"c\"]")
#define EXIT(ms, pid, start, duration_ms, cpu_ns)                                   \
	LINE(ms, "process", pid, start,                                             \
	     "\"type\":\"exit\",\"exit_code\":0,\"signal\":0,\"duration_ns\":" STR( \
		     duration_ms) "000000,\"cpu_user_ns\":" STR(cpu_ns) ",\"cpu_system_ns\":0")
#define OWN(ms, data) LINE(ms, "agentsight", 1, 1, data)
#define START(ms)     OWN(ms, "\"type\":\"start\"")
#define LOSS(ms, reason, n) \
	OWN(ms, "\"type\":\"loss\",\"reason\":\"" reason "\",\"event\":\"x.y\",\"count\":" STR(n))
#define STOP(ms, n) OWN(ms, "\"type\":\"stop\",\"reason\":\"end\",\"lost\":" STR(n))

static struct stats *read_string(const char *text)
{
	struct stats_input in;
	struct stats *s = read_text(text, strlen(text), &in);

	assert_int_equal(in.bad, 0);
	return s;
}

/* The part of a rotated recording that the `start` line is not in. */
static void a_part_that_begins_with_an_exec_counts_old_processes_from_their_first_row(void **state)
{
	struct stats *s =
		read_string(EXEC(1700000000000, 500, 999000000000)
				    ROW(1700000000500, 100, 1000000000, 36000000000000)
					    ROW(1700000001500, 100, 1000000000, 36000010000000)
						    ROW(1700000001500, 500, 999000000000, 2000));

	assert_int_equal(s->processes[0].total[COUNTER_CPU], 10000000);
	assert_int_equal(s->processes[1].total[COUNTER_CPU], 2000);
	assert_int_equal(s->begin_ns, T0 - 500000000);
	stats_free(s);
}

/* In the second one the boot clock is a day younger: another boot. */
static void each_of_several_recordings_has_its_own_clock(void **state)
{
	struct stats *s = read_string(
		START(1700000000000) EXEC(1700000000100, 5, 90000100000000) EXIT(
			1700000002000, 6, 90001100000000, 900, 700) START(1700100000000)
			EXEC(1700100000100, 7, 60100000000) ROW(1700100002000, 8, 61000000000, 800)
				ROW(1700100002000, 9, 1000000000, 5000)
					EXIT(1700100003000, 10, 62100000000, 900, 900));

	assert_int_equal(s->n_processes, 4);
	assert_int_equal(s->processes[0].total[COUNTER_CPU], 700);
	assert_int_equal(s->processes[1].total[COUNTER_CPU], 800);
	assert_int_equal(s->processes[2].total[COUNTER_CPU], 0);
	assert_int_equal(s->processes[3].total[COUNTER_CPU], 900);
	stats_free(s);
}

/* Nor is one that was there before the second recording new to it because the first one was read before. */
static void without_a_clock_the_first_pass_of_each_recording_is_of_older_processes(void **state)
{
	struct stats *s = read_string(START(1700000000000) ROW(1700000000100, 5, 77, 4000) START(
		1700100000000) ROW(1700100000100, 6, 77, 5000) ROW(1700100001100, 7, 99, 600));

	assert_int_equal(s->processes[0].total[COUNTER_CPU], 0);
	assert_int_equal(s->processes[1].total[COUNTER_CPU], 0);
	assert_int_equal(s->processes[2].total[COUNTER_CPU], 600);
	stats_free(s);
}

static void what_was_shed_was_not_lost(void **state)
{
	struct stats *s = read_string(START(1700000000000) LOSS(1700000000500, "limit", 7)
					      LOSS(1700000000600, "ring full", 2));

	assert_int_equal(s->lost, 2);
	stats_free(s);
}

/* The first one was killed, the other two know at their end what was not announced. */
static void what_several_recordings_lost_is_added_up(void **state)
{
	struct stats *s = read_string(
		START(1700000000000) LOSS(1700000000500, "output", 3) START(1700000010000)
			LOSS(1700000010500, "ring full", 2) STOP(1700000011000, 10)
				START(1700000020000) LOSS(1700000020500, "ring full", 4)
					STOP(1700000021000, 5));

	assert_int_equal(s->lost, 3 + 10 + 5);
	stats_free(s);
}

/* Of the second and the third one rotation has removed the beginning. */
static void what_a_tail_lost_is_added_to_what_was_before(void **state)
{
	struct stats *s = read_string(
		START(1700000000000) LOSS(1700000000500, "ring full", 5) STOP(1700000001000, 5)
			LOSS(1700000010500, "ring full", 2) STOP(1700000011000, 2)
				LOSS(1700000020500, "ring full", 1) STOP(1700000021000, 3));

	assert_int_equal(s->lost, 5 + 2 + 3);
	stats_free(s);
}

static void write_file(const char *path, const void *p, size_t n)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(p, 1, n, f), n);
	fclose(f);
}

/* Three parts, plain, gzip and zstd, named in the wrong order. */
static void rotated_and_compressed_files_are_read_in_the_order_of_time(void **state)
{
	char dir[] = "/tmp/test_read.XXXXXX", path[3][64], *paths[3];
	struct stats *s = NULL;
	struct stats_input in;
	struct buf parts[3] = {{0}};
	char packed[65536];
	struct err e = {0};
	gzFile gz;
	size_t n;

	assert_non_null(mkdtemp(dir));
	for (unsigned i = 0; i < 30; i++)
		add_tree(&parts[i / 10], i);
	for (int i = 0; i < 3; i++)
		snprintf(path[i], sizeof(path[i]), "%s/%d", dir, i);
	gz = gzopen(path[0], "w");
	gzwrite(gz, parts[0].data, (unsigned)parts[0].len);
	gzclose(gz);
	write_file(path[1], parts[1].data, parts[1].len);
	n = ZSTD_compress(packed, sizeof(packed), parts[2].data, parts[2].len, 3);
	write_file(path[2], packed, n);

	paths[0] = path[2];
	paths[1] = path[0];
	paths[2] = path[1];
	assert_int_equal(stats_new(&s), 0);
	assert_int_equal(stats_read(s, paths, 3, &in, &e), 0);
	assert_int_equal(s->tree.samples, 30);
	assert_int_equal(s->tree.total[COUNTER_READ], 29 * 4096);
	assert_int_equal(s->tree.values[GAUGE_RSS].last, 1029);
	assert_int_equal(in.files, 3);
	assert_int_equal(in.broken, 0);
	assert_int_equal(in.bad, 0);
	stats_free(s);

	/* cut in the middle: what is there counts, and it is said */
	write_file(path[2], packed, n - 5);
	assert_int_equal(stats_new(&s), 0);
	assert_int_equal(stats_read(s, &paths[0], 1, &in, &e), 0);
	assert_int_equal(in.broken, 1);
	stats_free(s);

	for (int i = 0; i < 3; i++) {
		unlink(path[i]);
		buf_done(&parts[i]);
	}
	rmdir(dir);
}

static void a_file_that_is_not_there_is_named(void **state)
{
	char *paths[] = {(char *)"/nonexistent/file"};
	struct stats *s = NULL;
	struct stats_input in;
	struct err e = {0};

	assert_int_equal(stats_new(&s), 0);
	assert_true(stats_read(s, paths, 1, &in, &e) < 0);
	assert_non_null(strstr(e.text, "/nonexistent/file"));
	stats_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_of_agentsight_are_read),
		cmocka_unit_test(records_of_denet_are_read),
		cmocka_unit_test(flat_samples_of_older_files_are_read),
		cmocka_unit_test(what_is_no_record_is_counted_and_passed_over),
		cmocka_unit_test(a_huge_line_costs_no_memory_and_hides_no_other),
		cmocka_unit_test(
			a_part_that_begins_with_an_exec_counts_old_processes_from_their_first_row),
		cmocka_unit_test(each_of_several_recordings_has_its_own_clock),
		cmocka_unit_test(
			without_a_clock_the_first_pass_of_each_recording_is_of_older_processes),
		cmocka_unit_test(what_was_shed_was_not_lost),
		cmocka_unit_test(what_several_recordings_lost_is_added_up),
		cmocka_unit_test(what_a_tail_lost_is_added_to_what_was_before),
		cmocka_unit_test(rotated_and_compressed_files_are_read_in_the_order_of_time),
		cmocka_unit_test(a_file_that_is_not_there_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
