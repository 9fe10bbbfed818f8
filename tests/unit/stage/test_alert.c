/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "event/record.h"
#include "event/schema.h"
#include "stage/alert.h"

#define SEC 1000000000ULL

static struct stage *stage;
static char said[4096];     /* the events that came out, as text */
static char rule_text[256]; /* of the last threshold event */

static void hear(struct emitter *self, const struct event *ev)
{
	const struct as_system_metrics *m = (const void *)ev->rec;
	const struct as_system_wide *w = (const void *)ev->rec;
	const struct as_threshold *t = (const void *)ev->rec;
	char *end = said + strlen(said);
	size_t room = said + sizeof(said) - end;

	switch (ev->rec->type) {
	case AS_EV_SYSTEM_METRICS:
		snprintf(end, room, "%s%u ", m->alert ? "!" : "", m->h.tgid);
		break;
	case AS_EV_SYSTEM_WIDE:
		snprintf(end, room, "%smachine ", w->alert ? "!" : "");
		break;
	case AS_EV_THRESHOLD:
		snprintf(end, room, "%s(%u %.*s %llu %llus at %llu) ", t->ended ? "end" : "start",
			 t->h.tgid, (int)t->metric.len, record_bytes(ev->rec, &t->metric),
			 (unsigned long long)t->value_centi,
			 (unsigned long long)(t->duration_ns / SEC),
			 (unsigned long long)(t->h.boot_ns / SEC));
		snprintf(rule_text, sizeof(rule_text), "%.*s %llu", (int)t->rule.len,
			 record_bytes(ev->rec, &t->rule), (unsigned long long)t->limit_centi);
		break;
	default:
		snprintf(end, room, "other ");
	}
}

static struct emitter out = {hear};

static void heard(const char *expected)
{
	assert_string_equal(said, expected);
	said[0] = '\0';
}

static int set_up_with(bool cpu, bool memory)
{
	const struct alert_options opt = {
		.cpu = {.set = cpu, .limit_centi = 8000, .rule = "--cpu-threshold 80"},
		.memory = {.set = memory, .limit_centi = 50000, .rule = "--memory-threshold 500"},
		.interval_ns = SEC,
	};

	said[0] = '\0';
	if (schema_init())
		return -1;
	return alert_new(&opt, &out, &stage);
}

static int set_up(void **state)
{
	return set_up_with(true, true);
}

static int set_up_cpu(void **state)
{
	return set_up_with(true, false);
}

static int tear_down(void **state)
{
	stage->free(stage);
	return 0;
}

static void send(const void *rec)
{
	const struct as_hdr *h = rec;
	const struct event ev = {.rec = h, .desc = schema_event(h->type)};

	event_emit(&stage->in, &ev);
}

static void sample(uint32_t tgid, uint64_t start_ns, uint64_t at, uint64_t cpu_centi,
		   uint64_t rss_kb)
{
	const struct as_system_metrics m = {
		.h = {.type = AS_EV_SYSTEM_METRICS,
		      .len = sizeof(m),
		      .tgid = tgid,
		      .start_ns = start_ns,
		      .boot_ns = at * SEC},
		.cpu_centi = cpu_centi,
		.rss_kb = rss_kb,
	};

	send(&m);
	assert_int_equal(m.alert, 0); /* the sender's record is not written to */
}

static void leave(uint32_t tgid, uint64_t start_ns, uint64_t at)
{
	const struct as_exit e = {.h = {.type = AS_EV_EXIT,
					.len = sizeof(e),
					.tgid = tgid,
					.start_ns = start_ns,
					.boot_ns = at * SEC}};

	send(&e);
}

static void a_start_and_an_end_are_told_once_with_the_peak(void **state)
{
	sample(10, 1, 1, 8000, 0);
	heard("10 "); /* the limit itself is not above it */
	sample(10, 1, 2, 8001, 0);
	heard("!10 start(10 cpu.percent 8001 0s at 2) ");
	assert_string_equal(rule_text, "--cpu-threshold 80 8000");
	sample(10, 1, 3, 9900, 0);
	sample(10, 1, 4, 8500, 0);
	heard("!10 !10 ");
	sample(10, 1, 5, 100, 0);
	heard("10 end(10 cpu.percent 9900 3s at 5) ");
	sample(10, 1, 6, 100, 0);
	heard("10 ");
}

static void the_metrics_are_judged_apart(void **state)
{
	sample(10, 1, 1, 9000, 600 * 1024);
	heard("!10 start(10 cpu.percent 9000 0s at 1) start(10 memory.rss_mb 60000 0s at 1) ");
	sample(10, 1, 2, 0, 700 * 1024);
	heard("!10 end(10 cpu.percent 9000 1s at 2) ");
	sample(10, 1, 3, 0, 500 * 1024);
	heard("10 end(10 memory.rss_mb 70000 2s at 3) ");
}

static void without_a_threshold_nothing_is_marked(void **state)
{
	sample(10, 1, 1, 100, UINT64_MAX);
	heard("10 ");
}

static void an_exit_ends_the_alerts_of_that_process(void **state)
{
	sample(10, SEC, 2, 9000, 600 * 1024);
	said[0] = '\0';
	leave(11, SEC, 3);
	leave(10, 2 * SEC, 3); /* another process with this pid */
	heard("other other ");
	leave(10, SEC, 4);
	heard("other end(10 cpu.percent 9000 2s at 4) end(10 memory.rss_mb 60000 2s at 4) ");
	leave(10, SEC, 5);
	heard("other ");
}

static void a_reused_pid_ends_the_alert_of_the_former_process(void **state)
{
	sample(10, SEC, 2, 9000, 0);
	said[0] = '\0';
	sample(10, 3 * SEC, 4, 9500, 0);
	heard("!10 end(10 cpu.percent 9000 2s at 4) start(10 cpu.percent 9500 0s at 4) ");
}

static void the_same_start_time_told_exactly_is_no_other_process(void **state)
{
	sample(10, 3 * SEC, 4, 9000, 0);
	said[0] = '\0';
	sample(10, 3 * SEC + 9999999, 5, 9000, 0);
	heard("!10 ");
}

static void who_is_no_longer_sampled_ends(void **state)
{
	sample(10, 1, 1, 9000, 0);
	sample(20, 1, 2, 9000, 0);
	said[0] = '\0';
	stage->tick(stage, 4 * SEC);
	heard("");
	stage->tick(stage, 5 * SEC);
	heard("end(10 cpu.percent 9000 4s at 5) ");
	stage->tick(stage, 6 * SEC);
	heard("end(20 cpu.percent 9000 4s at 6) ");
}

static void the_end_of_the_run_ends_what_is_open(void **state)
{
	sample(10, 1, 1, 9000, 0);
	sample(11, 1, 7, 0, 0);
	said[0] = '\0';
	stage->finish(stage);
	heard("end(10 cpu.percent 9000 6s at 7) ");
	stage->finish(stage);
	heard("");
}

static void the_machine_has_thresholds_too(void **state)
{
	struct as_system_wide w = {
		.h = {.type = AS_EV_SYSTEM_WIDE, .len = sizeof(w), .boot_ns = SEC},
		.cpu_centi = 20000,
		.used_kb = 1024,
	};

	send(&w);
	heard("!machine start(0 cpu.percent 20000 0s at 1) ");
	w.cpu_centi = 0;
	send(&w);
	heard("machine end(0 cpu.percent 20000 0s at 1) ");
}

static unsigned starts;

static void count(struct emitter *self, const struct event *ev)
{
	starts += ev->rec->type == AS_EV_THRESHOLD;
}

static void more_than_the_table_holds_are_marked_and_counted(void **state)
{
	stage->out->emit = count;
	for (uint32_t pid = 1; pid <= ALERT_MAX + 10; pid++)
		sample(pid, 1, 1, 9000, 0);
	assert_int_equal(starts, ALERT_MAX);
	assert_int_equal(alert_untold(stage), 10);
	stage->finish(stage);
	assert_int_equal(starts, 2 * ALERT_MAX);
	sample(1, 1, 2, 9000, 0);
	assert_int_equal(starts, 2 * ALERT_MAX + 1);
	stage->out->emit = hear;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_start_and_an_end_are_told_once_with_the_peak),
		TEST(the_metrics_are_judged_apart),
		cmocka_unit_test_setup_teardown(without_a_threshold_nothing_is_marked, set_up_cpu,
						tear_down),
		TEST(an_exit_ends_the_alerts_of_that_process),
		TEST(a_reused_pid_ends_the_alert_of_the_former_process),
		TEST(the_same_start_time_told_exactly_is_no_other_process),
		TEST(who_is_no_longer_sampled_ends),
		TEST(the_end_of_the_run_ends_what_is_open),
		TEST(the_machine_has_thresholds_too),
		TEST(more_than_the_table_holds_are_marked_and_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
