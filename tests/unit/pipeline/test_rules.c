/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "pipeline/rules.h"
#include "stage/alert.h"

static struct rule *rules;
static size_t n;
static struct err err;

static int tear_down(void **state)
{
	free(rules);
	rules = NULL;
	return 0;
}

static void thresholds_are_rules(void **state)
{
	const struct session_options opt = {.sources = SOURCE_SYSTEM,
					    .cpu_threshold_centi = 8050,
					    .memory_threshold_kb = 512000};

	assert_int_equal(rules_read(&opt, &rules, &n, &err), 0);
	assert_int_equal(n, 2);
	assert_string_equal(rules[0].text, "cpu > 80.50 %");
	assert_string_equal(rules[0].metric_name, "cpu.percent");
	assert_true(rules[0].limit == 8050);
	assert_int_equal(rules[0].machine->event, AS_EV_SYSTEM_WIDE);
	assert_string_equal(rules[1].text, "rss > 500.00 MB");
	assert_string_equal(rules[1].metric_name, "memory.rss_mb");
	assert_true(rules[1].limit == 500.0 * 1024 * 1024);
	assert_string_equal(rules[1].machine->name, "system.used");
}

static void thresholds_need_samples(void **state)
{
	struct session_options opt = {.sources = SOURCE_PROCESS, .cpu_threshold_centi = 8000};

	assert_int_equal(rules_read(&opt, &rules, &n, &err), -EINVAL);
	assert_non_null(strstr(err.text, "cpu > 80.00 %"));
	assert_non_null(strstr(err.text, "--system"));
	opt = (struct session_options){.sources = SOURCE_PROCESS, .memory_threshold_kb = 1024};
	assert_int_equal(rules_read(&opt, &rules, &n, &err), -EINVAL);
}

static void without_rules_there_are_none(void **state)
{
	const struct session_options opt = {};

	n = 5;
	assert_int_equal(rules_read(&opt, &rules, &n, &err), 0);
	assert_null(rules);
	assert_int_equal(n, 0);
}

static int read_one(const char *text, struct session_options opt)
{
	char *alerts[] = {(char *)text};

	free(rules);
	rules = NULL;
	err.text[0] = '\0';
	opt.alerts = alerts;
	opt.n_alerts = 1;
	return rules_read(&opt, &rules, &n, &err);
}

static void a_rule_that_can_never_apply_is_refused(void **state)
{
	static const struct {
		const char *text, *advice;
		struct session_options needed;
	} rows[] = {
		{"cpu > 5", "--system", {.sources = SOURCE_SYSTEM}},
		{"rss.slope > 5MB/min", "--detail", {.sources = SOURCE_SYSTEM, .detail = true}},
		{"tree.cpu > 5", "--detail", {.sources = SOURCE_SYSTEM, .detail = true}},
		{"pss > 5MB",
		 "--pss-interval",
		 {.sources = SOURCE_SYSTEM, .detail = true, .pss_interval_ns = 1}},
		{"fds > 5",
		 "--pss-interval",
		 {.sources = SOURCE_SYSTEM, .detail = true, .pss_interval_ns = 1}},
		{"pressure.io > 5", "--pressure", {.pressure = true}},
		{"llm.cost > 5", "record", {.sources = SOURCE_TLS}},
		{"tool.error", "record", {.sources = SOURCE_TLS}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct session_options without = rows[i].needed;

		assert_int_equal(read_one(rows[i].text, rows[i].needed), 0);
		assert_int_equal(n, 1);
		if (without.pss_interval_ns)
			without.pss_interval_ns = 0;
		else if (without.detail)
			without.detail = false;
		else
			without = (struct session_options){};
		assert_int_equal(read_one(rows[i].text, without), -EINVAL);
		assert_non_null(strstr(err.text, rows[i].advice));
		assert_null(rules);
	}
}

static void simple_samples_are_enough_for_simple_metrics(void **state)
{
	static const char *const texts[] = {"cpu > 5",     "rss > 1MB",    "vsz > 1MB",
					    "read > 1B/s", "write > 1B/s", "threads > 5",
					    "children > 5"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		assert_int_equal(
			read_one(texts[i], (struct session_options){.sources = SOURCE_SYSTEM}), 0);
	assert_int_equal(read_one("exit_code != 0", (struct session_options){}), 0);
}

static void one_sample_at_the_end_is_not_enough_for_every_rule(void **state)
{
	static const struct {
		const char *text;
		const char *run, *attach; /* what the refusal speaks of; NULL: there is none */
	} rows[] = {
		{"cpu > 10", "tree.cpu", NULL},
		{"rss > 1MB", "tree.cpu", NULL},
		{"tree.cpu > 10", NULL, NULL},
		{"tree.rss > 1MB", NULL, NULL},
		{"tree.cpu > 10 for 1s", "several samples", "several samples"},
		{"pressure.io > 5 for 1s", "several samples", "several samples"},
		{"pressure.io > 5", NULL, NULL},
		{"tree.write > 1MB/s", "several samples", "several samples"},
		{"exit_code != 0", NULL, NULL},
	};
	struct session_options opt = {.sources = SOURCE_SYSTEM, .detail = true, .pressure = true};

	for (size_t i = 0; i < 4 * ARRAY_SIZE(rows); i++) {
		const char *text = rows[i / 4].text, *refused;

		opt.command_first = i % 2;
		opt.embedded = i / 2 % 2;
		refused = opt.embedded        ? NULL
			  : opt.command_first ? rows[i / 4].run
					      : rows[i / 4].attach;
		opt.pace = (struct pace){};
		pace_complete(&opt.pace, true);
		assert_int_equal(read_one(text, opt), refused ? -EINVAL : 0);
		assert_true(!refused || strstr(err.text, refused));
		opt.pace = (struct pace){};
		pace_complete(&opt.pace, false);
		assert_int_equal(read_one(text, opt), 0);
	}
}

static void a_wrong_rule_is_refused(void **state)
{
	assert_int_equal(read_one("cpu", (struct session_options){.sources = SOURCE_SYSTEM}),
			 -EINVAL);
	assert_string_equal(err.text, "the alert rule cannot be used");
}

static void there_can_be_so_many_rules(void **state)
{
	char *alerts[ALERT_RULES_MAX - 1];
	struct session_options opt = {.sources = SOURCE_SYSTEM,
				      .cpu_threshold_centi = 1,
				      .memory_threshold_kb = 1024,
				      .alerts = alerts,
				      .n_alerts = ALERT_RULES_MAX - 2};

	for (size_t i = 0; i < ARRAY_SIZE(alerts); i++)
		alerts[i] = (char *)"cpu > 5";
	assert_int_equal(rules_read(&opt, &rules, &n, &err), 0);
	assert_int_equal(n, ALERT_RULES_MAX);
	free(rules);
	rules = NULL;
	opt.n_alerts++;
	assert_int_equal(rules_read(&opt, &rules, &n, &err), -EINVAL);
	assert_string_equal(err.text, "there can be 62 alert rules");
}

#define TEST(f) cmocka_unit_test_teardown(f, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(thresholds_are_rules),
		TEST(thresholds_need_samples),
		TEST(without_rules_there_are_none),
		TEST(a_rule_that_can_never_apply_is_refused),
		TEST(simple_samples_are_enough_for_simple_metrics),
		TEST(one_sample_at_the_end_is_not_enough_for_every_rule),
		TEST(a_wrong_rule_is_refused),
		TEST(there_can_be_so_many_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
