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

#define SEC  1000000000ULL
#define MSEC 1000000ULL

static struct stage *stage;
static char said[4096];     /* the events that came out, as text */
static char rule_text[300]; /* of the last threshold event */
static struct as_threshold last;
static char last_unit[32], last_path[64];
static unsigned calls; /* of the hook */

static void copy_span(char *to, size_t cap, const struct event *ev, const struct as_span *span)
{
	snprintf(to, cap, "%.*s", (int)span->len, record_bytes(ev->rec, span));
}

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
		last = *t;
		copy_span(last_unit, sizeof(last_unit), ev, &t->unit);
		copy_span(last_path, sizeof(last_path), ev, &t->path);
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

static void on_start(void *context)
{
	++*(unsigned *)context;
}

static void add_rule(struct alert_options *opt, struct rule *rules, const char *text)
{
	struct rule_error err;

	if (rule_parse(text, &rules[opt->n_rules++], &err) < 0)
		fail_msg("%s: %s", text, err.msg);
}

static int open_stage(struct alert_options *opt, const struct rule *rules)
{
	opt->rules = rules;
	opt->interval_ns = SEC;
	opt->on_start = on_start;
	opt->context = &calls;
	calls = 0;
	said[0] = '\0';
	out.emit = hear;
	if (schema_init())
		return -1;
	return alert_new(opt, &out, &stage);
}

/* The two rules that the options --cpu-threshold and --memory-threshold are. */
static int set_up_with(bool cpu, bool memory)
{
	struct alert_options opt = {};
	struct rule rules[2];

	if (cpu) {
		add_rule(&opt, rules, "cpu > 80.00 %");
		rules[0].machine = rule_metric_find("system.cpu", 10);
		strcpy(rules[0].metric_name, "cpu.percent");
	}
	if (memory) {
		add_rule(&opt, rules, "rss > 500.00 MB");
		rules[1].machine = rule_metric_find("system.used", 11);
		strcpy(rules[1].metric_name, "memory.rss_mb");
	}
	return open_stage(&opt, rules);
}

/* Instead of what set_up() opened. */
static void rules_are(const char *first, const char *second)
{
	struct alert_options opt = {};
	struct rule rules[2];

	stage->free(stage);
	add_rule(&opt, rules, first);
	if (second)
		add_rule(&opt, rules, second);
	assert_int_equal(open_stage(&opt, rules), 0);
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
	assert_string_equal(rule_text, "cpu > 80.00 % 8000");
	sample(10, 1, 3, 9900, 0);
	sample(10, 1, 4, 8500, 0);
	heard("!10 !10 ");
	sample(10, 1, 5, 100, 0);
	heard("10 end(10 cpu.percent 9900 3s at 5) ");
	sample(10, 1, 6, 100, 0);
	heard("10 ");
}

static void part_of_quota(uint64_t at, uint64_t centi)
{
	const struct as_system_metrics m = {
		.h = {.type = AS_EV_SYSTEM_METRICS,
		      .len = sizeof(m),
		      .tgid = 10,
		      .start_ns = 1,
		      .boot_ns = at * SEC},
		.quota_centi = centi,
		.limits = AS_LIMIT_CPU,
	};

	send(&m);
}

static void an_alert_on_the_quota_ends_with_who_does_nothing_any_more(void **state)
{
	rules_are("quota > 50", NULL);
	part_of_quota(1, 9000);
	part_of_quota(2, 0);
	heard("!10 start(10 quota 9000 0s at 1) 10 end(10 quota 9000 1s at 2) ");
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
	assert_int_equal(alert_counts(stage)->untold, 10);
	assert_int_equal(alert_counts(stage)->started, ALERT_MAX + 10);
	for (uint32_t pid = 1; pid <= ALERT_MAX + 10; pid++)
		sample(pid, 1, 2, 9000, 0);
	assert_int_equal(alert_counts(stage)->untold, 10); /* each once */
	stage->finish(stage);
	assert_int_equal(starts, 2 * ALERT_MAX);
	sample(1, 1, 3, 9000, 0);
	assert_int_equal(starts, 2 * ALERT_MAX + 1);
}

/* ---- rules ---- */

/* Of process 10, which began at 1 s; times in milliseconds, each sample measures half a second. */
static struct as_system_metrics at_ms(uint64_t ms)
{
	return (struct as_system_metrics){
		.h = {.type = AS_EV_SYSTEM_METRICS,
		      .len = sizeof(struct as_system_metrics),
		      .tgid = 10,
		      .start_ns = SEC,
		      .boot_ns = ms * MSEC},
		.interval_ns = 500 * MSEC,
	};
}

static void cpu_at(uint64_t ms, uint64_t centi)
{
	struct as_system_metrics m = at_ms(ms);

	m.cpu_centi = centi;
	send(&m);
}

static void a_rule_with_a_duration_waits_for_it(void **state)
{
	rules_are("cpu > 80 for 2s", NULL);
	cpu_at(1000, 9000);
	cpu_at(2000, 9000);
	cpu_at(2500, 100); /* begins anew */
	cpu_at(3000, 9000);
	cpu_at(4999, 9000);
	heard("!10 !10 10 !10 !10 ");
	assert_int_equal(calls, 0);
	cpu_at(5000, 9500);
	heard("!10 start(10 cpu 9500 2s at 5) ");
	assert_int_equal(calls, 1);
	cpu_at(6000, 100);
	heard("10 end(10 cpu 9500 3s at 6) ");
	assert_int_equal(alert_counts(stage)->started, 1);
}

static void who_ends_while_its_rule_waits_raises_nothing(void **state)
{
	rules_are("cpu > 80 for 2s", NULL);
	cpu_at(1000, 9000);
	leave(10, SEC, 2);
	cpu_at(3000, 9000);
	heard("!10 other !10 ");
}

static void with_clear_an_alert_goes_on_to_that_value(void **state)
{
	rules_are("cpu > 80 clear 60", NULL);
	cpu_at(1000, 7000);
	heard("10 ");
	cpu_at(2000, 9000);
	cpu_at(3000, 7000);
	heard("!10 start(10 cpu 9000 0s at 2) 10 ");
	cpu_at(4000, 6000);
	heard("10 end(10 cpu 9000 2s at 4) ");
	assert_int_equal(last.min_centi, 7000);
}

static void a_hold_off_counts_from_the_last_start(void **state)
{
	rules_are("cpu > 80 every 10s", NULL);
	cpu_at(1000, 9000);
	cpu_at(2000, 0);
	cpu_at(3000, 9100); /* not told */
	cpu_at(4000, 0);
	cpu_at(10500, 9200);
	heard("!10 start(10 cpu 9000 0s at 1) 10 end(10 cpu 9000 1s at 2) !10 10 !10 ");
	cpu_at(11000, 9300);
	heard("!10 start(10 cpu 9300 0s at 11) ");
	cpu_at(12000, 0);
	heard("10 end(10 cpu 9300 1s at 12) ");
	assert_int_equal(alert_counts(stage)->started, 2);
}

static void a_hold_off_is_of_one_process(void **state)
{
	rules_are("cpu > 80 every 10s", NULL);
	sample(10, SEC, 1, 9000, 0);
	sample(11, SEC, 1, 9000, 0);
	sample(10, SEC, 2, 0, 0);
	sample(10, 2 * SEC, 3, 9000, 0); /* another one with this pid */
	heard("!10 start(10 cpu 9000 0s at 1) !11 start(11 cpu 9000 0s at 1) "
	      "10 end(10 cpu 9000 1s at 2) !10 start(10 cpu 9000 0s at 3) ");
}

static void an_alert_tells_min_average_and_max(void **state)
{
	rules_are("cpu > 80", NULL);
	cpu_at(1000, 100);
	cpu_at(2000, 9000); /* stands for the half second that it was measured over */
	assert_int_equal(last.avg_centi, 9000);
	cpu_at(3000, 10000); /* for 1 s */
	cpu_at(6000, 8100);  /* for 3 s */
	cpu_at(7000, 100);
	assert_int_equal(last.ended, 1);
	assert_int_equal(last.min_centi, 8100);
	assert_int_equal(last.max_centi, 10000);
	assert_int_equal(last.avg_centi, (9000 / 2 + 10000 + 3 * 8100) / 4.5 + 0.5);
	assert_int_equal(last.value_centi, 10000);
	assert_int_equal(last.duration_ns, 5 * SEC);
	assert_string_equal(last_unit, "percent");
}

static void below_a_limit_the_peak_is_the_smallest(void **state)
{
	rules_are("threads < 3", NULL);
	for (unsigned i = 1; i <= 4; i++) {
		struct as_system_metrics m = at_ms(i * 1000);

		m.threads = i == 4 ? 3 : 3 - i % 2 - 1;
		send(&m);
	}
	heard("!10 start(10 threads 100 0s at 1) !10 !10 10 end(10 threads 100 3s at 4) ");
	assert_int_equal(last.max_centi, 200);
}

static void written_at(uint64_t ms, uint64_t bytes, const char *expected)
{
	struct as_system_metrics m = at_ms(ms);

	m.own_write_bytes = bytes;
	send(&m);
	heard(expected);
}

static void a_rate_is_the_growth_between_two_samples(void **state)
{
	rules_are("write > 1MB/s", NULL);
	written_at(1000, 100 << 20, "10 "); /* of before: nothing is known */
	written_at(1500, 101 << 20, "!10 start(10 write 200 0s at 1) ");
	assert_string_equal(last_unit, "MB/s");
	written_at(2500, 102 << 20, "10 end(10 write 200 1s at 2) "); /* 1 MB/s is not above */
	written_at(2500, 109 << 20, "10 ");                           /* no time has passed */
	written_at(3500, 10 << 20, "10 "); /* a sum that falls tells nothing */
	written_at(4500, 12 << 20, "!10 start(10 write 200 0s at 4) ");
}

static void what_children_had_written_is_no_rate(void **state)
{
	struct as_system_metrics m = at_ms(2000);

	rules_are("write > 1MB/s", NULL);
	written_at(1000, 1 << 20, "10 ");
	m.own_write_bytes = 500 << 20;
	m.mixed = 1;
	send(&m);
	heard("10 ");
	written_at(3000, 501 << 20, "10 ");
	written_at(4000, 503 << 20, "!10 start(10 write 200 0s at 4) ");
}

static void a_sum_that_falls_is_no_rate(void **state)
{
	rules_are("write < 1MB/s", NULL);
	written_at(1000, 10 << 20, "10 ");
	written_at(2000, 5 << 20, "10 ");
	written_at(3000, 5 << 20, "!10 start(10 write 0 0s at 3) ");
}

static void a_value_that_a_sample_lacks_changes_nothing(void **state)
{
	struct as_system_metrics m = at_ms(1000);

	rules_are("pss > 1MB", NULL);
	m.pss_kb = 2048;
	send(&m);
	for (unsigned ms = 2000; ms <= 9000; ms += 1000) {
		struct as_system_metrics none = at_ms(ms);

		send(&none);
		stage->tick(stage, ms * MSEC);
	}
	m = at_ms(10000);
	m.pss_kb = 4096;
	send(&m);
	heard("!10 start(10 pss 200 0s at 1) 10 10 10 10 10 10 10 10 !10 ");
	m.h.boot_ns = 11 * SEC;
	m.pss_kb = 1024;
	send(&m);
	heard("10 end(10 pss 400 10s at 11) ");
	/* 2 MB for half a second, 4 MB for the nine since the value before */
	assert_int_equal(last.avg_centi, (200 / 2 + 400 * 9) / 9.5 + 0.5);
}

static void a_tree_is_not_its_first_process(void **state)
{
	struct as_system_tree t = {.h = {.type = AS_EV_SYSTEM_TREE,
					 .len = sizeof(t),
					 .tgid = 10,
					 .start_ns = SEC,
					 .boot_ns = 2 * SEC},
				   .interval_ns = SEC,
				   .processes = 150};

	rules_are("tree.processes > 100", "threads > 100");
	send(&t);
	heard("other start(10 tree.processes 15000 0s at 2) ");
	leave(10, SEC, 3); /* its descendants live on */
	heard("other ");
	t.h.boot_ns = 4 * SEC;
	t.processes = 3;
	send(&t);
	heard("other end(10 tree.processes 15000 2s at 4) ");
}

static void pressure(const char *path, uint64_t at, uint64_t centi)
{
	struct {
		struct as_cgroup c;
		char path[32];
	} r = {.c = {.h = {.type = AS_EV_CGROUP, .len = sizeof(r), .boot_ns = at * SEC},
		     .path = {offsetof(__typeof__(r), path), strlen(path), strlen(path)},
		     .memory_some_centi = centi,
		     .interval_ns = 10 * SEC}};

	snprintf(r.path, sizeof(r.path), "%s", path);
	send(&r);
}

static void cgroups_are_told_apart_by_their_paths(void **state)
{
	rules_are("pressure.memory > 10", NULL);
	pressure("/a", 1, 2000);
	heard("other start(0 pressure.memory 2000 0s at 1) ");
	assert_string_equal(last_path, "/a");
	pressure("/b", 1, 500);
	pressure("", 1, 3000);
	heard("other other start(0 pressure.memory 3000 0s at 1) ");
	assert_string_equal(last_path, "");
	pressure("/a", 11, 100);
	heard("other end(0 pressure.memory 2000 10s at 11) ");
	assert_string_equal(last_path, "/a");
	/* its own interval is longer than that of the samples */
	stage->tick(stage, 31 * SEC);
	heard("");
	stage->tick(stage, 32 * SEC);
	heard("end(0 pressure.memory 3000 31s at 32) ");
}

static void leave_with(uint32_t tgid, uint64_t at, uint32_t code)
{
	const struct as_exit e = {
		.h = {.type = AS_EV_EXIT, .len = sizeof(e), .tgid = tgid, .boot_ns = at * SEC},
		.exit_code = code};

	send(&e);
}

static void what_has_no_duration_starts_and_ends_at_once(void **state)
{
	rules_are("exit_code != 0", "oom");
	leave_with(10, 1, 0);
	heard("other ");
	leave_with(11, 2, 3);
	heard("other start(11 exit_code 300 0s at 2) end(11 exit_code 300 0s at 2) ");
	assert_int_equal(last.once, 1);
	assert_int_equal(last.avg_centi, 300);
	assert_int_equal(calls, 1);
	stage->finish(stage);
	heard("");
}

static void the_hold_off_of_what_happens_once_is_of_the_rule(void **state)
{
	rules_are("exit_code != 0 every 10s", NULL);
	leave_with(10, 1, 1);
	leave_with(11, 10, 1);
	leave_with(12, 11, 1);
	heard("other start(10 exit_code 100 0s at 1) end(10 exit_code 100 0s at 1) other "
	      "other start(12 exit_code 100 0s at 11) end(12 exit_code 100 0s at 11) ");
}

static void a_kill_for_memory_is_an_alert(void **state)
{
	const struct as_oom_kill k = {
		.h = {.type = AS_EV_OOM_KILL, .len = sizeof(k), .tgid = 9, .boot_ns = SEC}};

	rules_are("oom", NULL);
	send(&k);
	heard("other start(9 oom 100 0s at 1) end(9 oom 100 0s at 1) ");
}

static void answered(uint32_t tgid, uint64_t at, uint64_t nano_usd)
{
	const struct as_llm_response l = {.h = {.type = AS_EV_LLM_RESPONSE,
						.len = sizeof(l),
						.tgid = tgid,
						.start_ns = SEC,
						.boot_ns = at * SEC},
					  .role = AS_ROLE_CLIENT,
					  .cost_known = 1,
					  .cost_nano_usd = nano_usd};

	send(&l);
}

static void costs_are_summed_over_the_run(void **state)
{
	rules_are("llm.cost > 1", NULL);
	answered(10, 1, 600000000);
	heard("other ");
	answered(11, 2, 600000000);
	heard("other start(11 llm.cost 120 0s at 2) ");
	assert_string_equal(last_unit, "USD");
	leave(11, SEC, 3);
	stage->tick(stage, 1000 * SEC);
	answered(10, 2000, 600000000);
	heard("other other ");
	stage->finish(stage);
	heard("end(11 llm.cost 180 1998s at 2000) ");
}

static void nearness_is_of_the_newest_samples(void **state)
{
	rules_are("cpu > 80", "threads > 10");
	assert_true(alert_nearness(stage) == 0);
	sample(10, SEC, 1, 6000, 0);
	sample(11, SEC, 1, 100, 0);
	assert_true(alert_nearness(stage) == 0.5);
	sample(10, SEC, 2, 100, 0);
	assert_true(alert_nearness(stage) == 0.5); /* others of this pass are to come */
	sample(10, SEC, 3, 100, 0);
	assert_true(alert_nearness(stage) == 0);
}

static void a_rule_that_waits_is_as_near_as_can_be(void **state)
{
	rules_are("cpu > 10 for 10s", NULL);
	sample(10, SEC, 1, 9000, 0);
	assert_true(alert_nearness(stage) == 0);
	sample(10, SEC, 2, 9000, 0);
	assert_true(alert_nearness(stage) == 1);
}

static void more_than_can_be_remembered_are_counted(void **state)
{
	rules_are("write > 1MB/s", NULL);
	stage->out->emit = count;
	for (uint32_t pid = 1; pid <= ALERT_TRACKS_MAX + 5; pid++)
		sample(pid, 1, 1, 0, 0);
	assert_int_equal(alert_counts(stage)->unjudged, 5);
	stage->tick(stage, 10 * SEC);
	sample(ALERT_TRACKS_MAX + 1, 1, 10, 0, 0);
	assert_int_equal(alert_counts(stage)->unjudged, 5);
}

/* 4 MB more each second; the slope is that of the samples, as a sampler tells it. */
static void growth_is_told_before_the_limit_is_reached(void **state)
{
	rules_are("rss.slope > 10MB/min for 2s", "rss > 64MB");
	for (unsigned i = 1; i <= 17; i++) {
		struct as_system_metrics m = at_ms(i * 1000);

		m.rss_kb = i * 4096;
		m.slope_kb_min = i < 3 ? 0 : 240 * 1024;
		stage->out->emit = i == 5 || i == 17 ? hear : count;
		send(&m);
	}
	heard("!10 start(10 rss.slope 24000 2s at 5) !10 start(10 rss 6800 0s at 17) ");
	leave(10, SEC, 18);
	heard("other end(10 rss.slope 24000 15s at 18) end(10 rss 6800 1s at 18) ");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_start_and_an_end_are_told_once_with_the_peak),
		TEST(the_metrics_are_judged_apart),
		TEST(an_alert_on_the_quota_ends_with_who_does_nothing_any_more),
		cmocka_unit_test_setup_teardown(without_a_threshold_nothing_is_marked, set_up_cpu,
						tear_down),
		TEST(an_exit_ends_the_alerts_of_that_process),
		TEST(a_reused_pid_ends_the_alert_of_the_former_process),
		TEST(the_same_start_time_told_exactly_is_no_other_process),
		TEST(who_is_no_longer_sampled_ends),
		TEST(the_end_of_the_run_ends_what_is_open),
		TEST(the_machine_has_thresholds_too),
		TEST(more_than_the_table_holds_are_marked_and_counted),
		TEST(a_rule_with_a_duration_waits_for_it),
		TEST(who_ends_while_its_rule_waits_raises_nothing),
		TEST(with_clear_an_alert_goes_on_to_that_value),
		TEST(a_hold_off_counts_from_the_last_start),
		TEST(a_hold_off_is_of_one_process),
		TEST(an_alert_tells_min_average_and_max),
		TEST(below_a_limit_the_peak_is_the_smallest),
		TEST(a_rate_is_the_growth_between_two_samples),
		TEST(what_children_had_written_is_no_rate),
		TEST(a_sum_that_falls_is_no_rate),
		TEST(a_value_that_a_sample_lacks_changes_nothing),
		TEST(a_tree_is_not_its_first_process),
		TEST(cgroups_are_told_apart_by_their_paths),
		TEST(what_has_no_duration_starts_and_ends_at_once),
		TEST(the_hold_off_of_what_happens_once_is_of_the_rule),
		TEST(a_kill_for_memory_is_an_alert),
		TEST(costs_are_summed_over_the_run),
		TEST(nearness_is_of_the_newest_samples),
		TEST(a_rule_that_waits_is_as_near_as_can_be),
		TEST(more_than_can_be_remembered_are_counted),
		TEST(growth_is_told_before_the_limit_is_reached),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
