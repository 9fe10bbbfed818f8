/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <json-c/json.h>
#include <string.h>

#include "base/clock.h"
#include "event/encode.h"
#include "event/record.h"
#include "event/schema.h"
#include "stats/event.h"
#include "stats/json.h"

#define T0 (1700000000ULL * NSEC_PER_SEC)

static const struct as_hdr header = {
	.tgid = 10, .tid = 10, .start_ns = 5, .boot_ns = 6, .comm = "agent"};

struct both {
	struct stats *live, *read;
	struct buf lines;
	uint64_t boot_ns; /* how much later than in the others the boot clock is */
};

/* Goes both ways: as it is, and as a line that is read later. */
static void tell(struct both *x, struct buf *b, uint64_t at_ns)
{
	struct event ev;

	assert_int_equal(record_end(b, &ev), 0);
	ev.unix_ns = T0 + at_ns;
	stats_event(x->live, &ev);
	event_encode_json(&x->lines, &ev);
	buf_reset(b);
}

static struct as_hdr at(uint64_t at_ns)
{
	struct as_hdr h = header;

	h.boot_ns = 6 + at_ns;
	return h;
}

static void tell_samples(struct both *x, struct buf *b, uint64_t i)
{
	struct as_hdr h = at(i * NSEC_PER_SEC);
	struct as_system_metrics *m;
	struct as_system_tree *t;

	record_begin(b, AS_EV_SYSTEM_METRICS, &h);
	m = record_struct(b, as_system_metrics);
	m->cpu_centi = 1000 + i * 10;
	m->rss_kb = 2000 + i;
	m->pss_kb = i % 3 ? 0 : 1500;
	m->threads = 3;
	m->cpu_ns = i * 1000;
	m->read_bytes = i * 512;
	m->rx_bytes = i * 7;
	m->interval_ns = NSEC_PER_SEC;
	m->cores = 4;
	tell(x, b, i * NSEC_PER_SEC);

	record_begin(b, AS_EV_SYSTEM_TREE, &h);
	t = record_struct(b, as_system_tree);
	t->cpu_centi = 1500 + i * 10;
	t->cpu_ns = i * 1500;
	t->rss_kb = 9000;
	t->processes = 2;
	t->threads = 5;
	t->write_bytes = i * 4096;
	t->elapsed_ns = i * NSEC_PER_SEC;
	t->interval_ns = NSEC_PER_SEC;
	t->cores = 4;
	tell(x, b, i * NSEC_PER_SEC);
}

static void tell_others(struct both *x, struct buf *b)
{
	struct as_hdr h = at(51 * NSEC_PER_SEC);
	struct as_threshold *t;
	struct as_span span;
	struct as_exit *e;

	record_begin(b, AS_EV_THRESHOLD, &h);
	span = record_add_str(b, "cpu > \"10\"");
	record_struct(b, as_threshold)->rule = span;
	span = record_add_str(b, "/app-a\\x2db.scope");
	record_struct(b, as_threshold)->path = span;
	span = record_add_str(b, "cpu");
	t = record_struct(b, as_threshold);
	t->metric = span;
	t->value_centi = 1250;
	t->limit_centi = 1000;
	tell(x, b, 51 * NSEC_PER_SEC);

	record_begin(b, AS_EV_PROCESS_INFO, &h);
	span = record_add(b, "agent\0a b", 10);
	record_struct(b, as_process_info)->argv = span;
	record_struct(b, as_process_info)->started_ns = T0 - 1;
	tell(x, b, 51 * NSEC_PER_SEC);

	record_begin(b, AS_EV_EXIT, &h);
	e = record_struct(b, as_exit);
	e->duration_ns = 51 * NSEC_PER_SEC;
	e->exit_code = 2;
	e->cpu_user_ns = 90000;
	e->max_rss_kb = 4000;
	tell(x, b, 51 * NSEC_PER_SEC);
}

static void begin_both(struct both *x)
{
	*x = (struct both){0};
	assert_int_equal(stats_new(&x->live), 0);
	assert_int_equal(stats_new(&x->read), 0);
}

/* Both say the same; @used lines were of use. The document stays in @x->lines. */
static void compare_both(struct both *x, uint64_t used)
{
	struct stats_input in = {0};
	struct buf live = {0};

	stats_finish(x->live);
	assert_int_equal(stats_read_text(x->read, x->lines.data, x->lines.len, &in), 0);
	assert_int_equal(in.bad, 0);
	assert_int_equal(in.used, used);
	stats_json(&live, x->live, NULL, STATS_LISTED);
	buf_reset(&x->lines);
	stats_json(&x->lines, x->read, NULL, STATS_LISTED);
	assert_string_equal(buf_cstr(&live), buf_cstr(&x->lines));
	buf_done(&live);
}

static void end_both(struct both *x, struct buf *b)
{
	buf_done(b);
	buf_done(&x->lines);
	stats_free(x->live);
	stats_free(x->read);
}

static void what_is_told_live_is_what_is_read_from_the_recording(void **state)
{
	struct both x;
	struct buf b = {0};

	begin_both(&x);
	for (uint64_t i = 0; i <= 50; i++)
		tell_samples(&x, &b, i);
	tell_others(&x, &b);
	compare_both(&x, 105);
	assert_non_null(strstr(buf_cstr(&x.lines), "\"command\":\"agent a b\""));
	assert_non_null(strstr(buf_cstr(&x.lines), "\"exit_code\":2"));
	assert_non_null(strstr(buf_cstr(&x.lines), "\"cpu > \\\"10\\\"\""));
	assert_int_equal(x.live->tree.total[COUNTER_CPU], 75000);
	end_both(&x, &b);
}

static void tell_start(struct both *x, struct buf *b)
{
	struct as_hdr h = at(x->boot_ns);

	record_begin(b, AS_EV_START, &h);
	tell(x, b, 0);
}

static void tell_loss(struct both *x, struct buf *b, const char *reason, uint64_t count)
{
	struct as_hdr h = at(NSEC_PER_SEC);
	struct as_span span;

	record_begin(b, AS_EV_LOSS, &h);
	span = record_add_str(b, reason);
	record_struct(b, as_loss)->reason = span;
	record_struct(b, as_loss)->count = count;
	tell(x, b, NSEC_PER_SEC);
}

static void what_was_shed_was_not_lost_and_the_end_has_the_last_word(void **state)
{
	struct as_hdr h = at(2 * NSEC_PER_SEC);
	struct both x;
	struct buf b = {0};

	begin_both(&x);
	tell_start(&x, &b);
	tell_loss(&x, &b, "limit", 7);
	tell_loss(&x, &b, "ring full", 2);
	assert_int_equal(x.live->lost, 2);
	record_begin(&b, AS_EV_STOP, &h);
	record_struct(&b, as_stats)->lost = 4;
	record_struct(&b, as_stats)->shed = 7;
	tell(&x, &b, 2 * NSEC_PER_SEC);
	assert_int_equal(x.live->lost, 4);
	compare_both(&x, 4);
	end_both(&x, &b);
}

/* As of `attach`: what they are is told behind the first sample. */
static void old_processes_are_the_same_live_and_read(void **state)
{
	struct as_hdr h = at(150 * NSEC_PER_MSEC);
	struct as_system_metrics *m;
	struct as_span span;
	struct both x;
	struct buf b = {0};

	h.start_ns = 1;
	begin_both(&x);
	x.boot_ns = 3600 * NSEC_PER_SEC;
	h.boot_ns += x.boot_ns;
	tell_start(&x, &b);
	for (unsigned i = 0; i < 3; i++) {
		record_begin(&b, AS_EV_SYSTEM_METRICS, &h);
		m = record_struct(&b, as_system_metrics);
		m->cpu_ns = 1800 * NSEC_PER_SEC + i * 1000;
		m->interval_ns = i ? 100 * NSEC_PER_MSEC : 50 * NSEC_PER_MSEC;
		tell(&x, &b, (150 + i * 100) * NSEC_PER_MSEC);
		record_begin(&b, AS_EV_PROCESS_INFO, &h);
		span = record_add(&b, "old", 4);
		record_struct(&b, as_process_info)->argv = span;
		record_struct(&b, as_process_info)->started_ns = T0 - 3600 * NSEC_PER_SEC;
		tell(&x, &b, (150 + i * 100) * NSEC_PER_MSEC);
		h.boot_ns += 100 * NSEC_PER_MSEC;
	}
	compare_both(&x, 7);
	assert_int_equal(x.read->processes[0].total[COUNTER_CPU], 2000);
	end_both(&x, &b);
}

static void io_that_could_not_be_read_is_not_known(void **state)
{
	struct both x;
	struct buf b = {0};
	struct as_hdr h;

	begin_both(&x);
	for (uint64_t i = 0; i < 3; i++) {
		h = at(i * NSEC_PER_SEC);
		record_begin(&b, AS_EV_SYSTEM_METRICS, &h);
		record_struct(&b, as_system_metrics)->read_bytes = AS_UNKNOWN;
		record_struct(&b, as_system_metrics)->write_bytes = i * 10;
		record_struct(&b, as_system_metrics)->interval_ns = NSEC_PER_SEC;
		tell(&x, &b, i * NSEC_PER_SEC);
	}
	compare_both(&x, 3);
	assert_false(x.live->processes[0].counters_known & 1U << COUNTER_READ);
	assert_true(x.live->processes[0].counters_known & 1U << COUNTER_WRITE);
	end_both(&x, &b);
}

/* Swap that is zero is left out, as all that is; but a row with all details knows it. */
static void swap_that_returns_to_zero_is_zero(void **state)
{
	struct both x;
	struct buf b = {0};
	struct as_hdr h;

	begin_both(&x);
	for (uint64_t i = 0; i < 10; i++) {
		h = at(i * NSEC_PER_SEC);
		record_begin(&b, AS_EV_SYSTEM_METRICS, &h);
		record_struct(&b, as_system_metrics)->cpu_ns = 1000 + i;
		record_struct(&b, as_system_metrics)->swap_kb = i ? 0 : 102400;
		record_struct(&b, as_system_metrics)->interval_ns = NSEC_PER_SEC;
		tell(&x, &b, i * NSEC_PER_SEC);
	}
	compare_both(&x, 10);
	assert_int_equal(x.live->processes[0].values[GAUGE_SWAP].last, 0);
	assert_int_equal(stats_mean(&x.live->processes[0].values[GAUGE_SWAP]), 10240);
	assert_int_equal(x.live->tree.values[GAUGE_SWAP].last, 0);
	assert_int_equal(stats_mean(&x.live->tree.values[GAUGE_SWAP]), 10240);
	end_both(&x, &b);
}

static void swap_of_a_row_without_details_is_not_known(void **state)
{
	struct as_hdr h = at(0);
	struct both x;
	struct buf b = {0};

	begin_both(&x);
	record_begin(&b, AS_EV_SYSTEM_METRICS, &h);
	tell(&x, &b, 0);
	/* a tree always knows its CPU time, zero included */
	record_begin(&b, AS_EV_SYSTEM_TREE, &h);
	record_struct(&b, as_system_tree)->processes = 1;
	tell(&x, &b, 0);
	compare_both(&x, 2);
	assert_int_equal(x.live->processes[0].values[GAUGE_SWAP].n, 0);
	assert_int_equal(x.live->tree.values[GAUGE_SWAP].n, 1);
	end_both(&x, &b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_told_live_is_what_is_read_from_the_recording),
		cmocka_unit_test(what_was_shed_was_not_lost_and_the_end_has_the_last_word),
		cmocka_unit_test(old_processes_are_the_same_live_and_read),
		cmocka_unit_test(io_that_could_not_be_read_is_not_known),
		cmocka_unit_test(swap_that_returns_to_zero_is_zero),
		cmocka_unit_test(swap_of_a_row_without_details_is_not_known),
	};

	if (schema_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
