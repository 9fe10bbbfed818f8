/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "event/record.h"
#include "event/schema.h"
#include "pipeline/chain.h"

#define SYNC_MS 20000

static struct proc_table *procs;

static int set_up(void **state)
{
	signal(SIGPIPE, SIG_IGN);
	log_setup(LOG_NOTHING, false);
	return schema_init() < 0 || proc_table_new(&procs) < 0;
}

static int tear_down(void **state)
{
	proc_table_free(procs);
	return 0;
}

static struct chain *open_chain(const struct session_options *s)
{
	const struct chain_options opt = {.session = s, .procs = procs};
	struct chain *c = NULL;
	struct err e = {};

	if (chain_open(&opt, &c, &e) < 0)
		fail_msg("%s", e.text);
	return c;
}

static void put_trees(struct chain *c, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		_cleanup_(buf_done) struct buf b = {};
		const struct as_hdr h = {.tgid = 10, .tid = 10, .boot_ns = i + 1};

		record_begin(&b, AS_EV_SYSTEM_TREE, &h);
		record_emit(&b, AS_EV_SYSTEM_TREE, chain_input(c));
	}
	chain_sync(c, SYNC_MS);
}

/* Whatever the format is: what the output did not take is dropped, and not delivered. */
static void what_a_full_disk_did_not_take_is_not_delivered(void **state)
{
	static const enum session_format formats[] = {FORMAT_AGENTSIGHT, FORMAT_DENET};

	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		const struct session_options s = {
			.sources = SOURCE_SYSTEM, .output = "/dev/full", .format = formats[i]};
		struct chain *c = open_chain(&s);
		struct writer_counts written;

		put_trees(c, 3);
		chain_written(c, &written);
		assert_int_equal(written.delivered[AS_EV_SYSTEM_TREE], 0);
		assert_int_equal(written.dropped[AS_EV_SYSTEM_TREE], 3);
		chain_free(c);
	}
}

static uint64_t told_ns;

static void take_duration(void *context, const struct event *ev, const char *json, size_t len)
{
	if (ev->rec->type == AS_EV_EXIT)
		told_ns = ((const struct as_exit *)ev->rec)->duration_ns;
}

static uint64_t told_of_end(struct chain *c, uint32_t tgid, uint64_t start_ns, uint64_t end_ns)
{
	_cleanup_(buf_done) struct buf b = {};
	const struct as_hdr h = {
		.tgid = tgid, .tid = tgid, .start_ns = start_ns, .boot_ns = end_ns};

	record_begin(&b, AS_EV_EXIT, &h);
	record_struct(&b, as_exit)->duration_ns = end_ns - start_ns;
	record_emit(&b, AS_EV_EXIT, chain_input(c));
	return told_ns;
}

static void the_time_for_which_the_command_was_held_is_not_in_its_duration(void **state)
{
	const struct session_options s = {
		.sources = SOURCE_PROCESS, .no_output = true, .observer = take_duration};
	struct chain *c = open_chain(&s);

	chain_released(c, 10, 500);
	assert_int_equal(told_of_end(c, 11, 100, 900), 800);
	assert_int_equal(told_of_end(c, 10, 100, 1700), 1200);
	/* who has its number later */
	assert_int_equal(told_of_end(c, 10, 1800, 1900), 100);
	chain_free(c);
}

static void what_is_asked_for_wrongly_empties_no_output(void **state)
{
	char *wrong_rule[] = {(char *)"cpu >"}, *rule[] = {(char *)"cpu > 80"};
	char path[] = "/tmp/test_chain.XXXXXX";
	const struct session_options wrong[] = {
		{.output = path, .alerts = wrong_rule, .n_alerts = 1, .embedded = true},
		{.output = path, .sources = SOURCE_TLS, .prices = "/nonexistent"},
		{.output = path, .alerts = rule, .n_alerts = 1, .webhook = "ftp://host"},
	};
	int fd = mkstemp(path);
	struct stat st;

	assert_int_equal(write(fd, "old\n", 4), 4);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		const struct chain_options opt = {.session = &wrong[i], .procs = procs};
		struct chain *c = NULL;
		struct err e = {};

		assert_true(chain_open(&opt, &c, &e) < 0);
		assert_true(e.text[0]);
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(st.st_size, 4);
	}
	close(fd);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_a_full_disk_did_not_take_is_not_delivered,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			the_time_for_which_the_command_was_held_is_not_in_its_duration, set_up,
			tear_down),
		cmocka_unit_test_setup_teardown(what_is_asked_for_wrongly_empties_no_output, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
