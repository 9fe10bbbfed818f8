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
#include "stage/rule.h"

#define SEC  1e9
#define HOUR (3600 * SEC)
#define KB   1024.0
#define MB   (1024 * KB)

static struct rule rule;
static struct rule_error err;

static const struct rule *ok(const char *text)
{
	if (rule_parse(text, &rule, &err) != 0)
		fail_msg("'%s' is refused at %zu: %s", text, err.column, err.msg);
	return &rule;
}

static void refused(const char *text, size_t column, const char *msg)
{
	struct rule before = rule;

	if (rule_parse(text, &rule, &err) == 0)
		fail_msg("'%s' is a rule", text);
	assert_string_equal(err.msg, msg);
	assert_int_equal(err.column, column);
	assert_memory_equal(&rule, &before, sizeof(rule)); /* written only on success */
}

/* ---- the language ---- */

static void operators_compare(void **state)
{
	static const struct {
		const char *text;
		bool below, at, above;
	} ops[] = {
		{"threads > 5", false, false, true},  {"threads >= 5", false, true, true},
		{"threads < 5", true, false, false},  {"threads <= 5", true, true, false},
		{"threads == 5", false, true, false}, {"threads != 5", true, false, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		const struct rule *r = ok(ops[i].text);

		assert_int_equal(rule_begins(r, 4), ops[i].below);
		assert_int_equal(rule_begins(r, 5), ops[i].at);
		assert_int_equal(rule_begins(r, 6), ops[i].above);
	}
}

static void blanks_may_stand_anywhere_or_nowhere(void **state)
{
	static const char *const texts[] = {
		"cpu>80%for 10s every 1m",
		"  cpu\t>  80 % \t for  10 s every 1 m  ",
		"cpu > 80 every 1m for 10s",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		const struct rule *r = ok(texts[i]);

		assert_string_equal(r->metric->name, "cpu");
		assert_true(r->limit == 8000);
		assert_int_equal(r->for_ns, 10 * SEC);
		assert_int_equal(r->every_ns, 60 * SEC);
	}
	ok("  cpu\t> 80 ");
	assert_string_equal(rule.text, "cpu\t> 80");
}

static void units_have_their_sizes(void **state)
{
	static const struct {
		const char *text;
		double limit;
		const char *label;
	} rows[] = {
		{"cpu > 80.1", 8010, "percent"},
		{"rss > 512B", 512, "B"},
		{"rss > 1KB", KB, "KB"},
		{"rss > 0.5KiB", 512, "KB"},
		{"rss > 500MB", 500 * MB, "MB"},
		{"rss > 500M", 500 * MB, "MB"},
		{"rss > 1.5gb", 1536 * MB, "GB"},
		{"rss > 2TB", 2 * MB * MB, "TB"},
		{"swap > 0", 0, "MB"},
		{"rss.slope > 10MB/min", 600 * MB, "MB/min"},
		{"rss.slope > 1GB/h", 1024 * MB, "GB/h"},
		{"rss.slope < -1MB/min", -60 * MB, "MB/min"},
		{"read > 1MB/s", 3600 * MB, "MB/s"},
		{"faults.major > 10", 36000, "/s"},
		{"faults.major > 10/min", 600, "/min"},
		{"duration > 1.5s", 1.5 * SEC, "s"},
		{"duration > 500ms", 0.5 * SEC, "ms"},
		{"duration > 2m", 120 * SEC, "min"},
		{"duration > 2min", 120 * SEC, "min"},
		{"duration > 1h", HOUR, "h"},
		{"system.load1 > 1.25", 125, ""},
		{"exit_code != 0", 0, ""},
		{"llm.cost > 2.50", 2.5e9, "USD"},
		{"llm.cost > 0.5mUSD", 5e5, "mUSD"},
		{"llm.tokens >= 1000000", 1e6, ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct rule *r = ok(rows[i].text);

		if (r->limit != rows[i].limit)
			fail_msg("%s: %.17g", rows[i].text, r->limit);
		assert_string_equal(r->unit->label, rows[i].label);
	}
}

static void clear_is_the_limit_at_which_it_ends(void **state)
{
	const struct rule *r = ok("cpu > 80 clear 60");

	assert_false(rule_begins(r, 7000));
	assert_true(rule_holds(r, 7000));
	assert_false(rule_holds(r, 6000));
	r = ok("cpu < 10 clear 20 for 1s");
	assert_true(rule_holds(r, 1500));
	assert_false(rule_holds(r, 2000));
	r = ok("rss > 1GB clear 900MB");
	assert_true(r->clear == 900 * MB);
	assert_string_equal(r->unit->label, "GB");
	r = ok("cpu > 80");
	assert_false(rule_holds(r, 8000));
}

static void yes_or_no_stands_alone(void **state)
{
	assert_true(rule_begins(ok("oom"), 1));
	assert_false(rule_begins(ok("llm.error every 1m"), 0));
	assert_int_equal(rule.every_ns, 60 * SEC);
	refused("oom > 0", 5, "expected 'for', 'clear', 'every' or the end: found '>'");
}

static void errors_name_the_place_and_what_is_expected(void **state)
{
	refused("", 1, "expected a metric, such as cpu or rss: found the end");
	refused("> 5", 1, "expected a metric, such as cpu or rss: found '>'");
	refused("  cup > 5", 3, "there is no metric 'cup'");
	assert_string_equal(err.hint, "there are cpu, rss, rss.slope, threads, read, exit_code, "
				      "tree.cpu, system.cpu, ...");
	refused("rss.slop > 5", 1, "there is no metric 'rss.slop'");
	assert_string_equal(err.hint, "did you mean 'rss.slope'?");
	refused("cpu", 4, "expected > >= < <= == or != behind 'cpu': found the end");
	refused("cpu = 5", 5, "expected > >= < <= == or != behind 'cpu': found '='");
	refused("cpu > ", 7, "expected a percentage: 80 or 80%: found the end");
	refused("cpu > much", 7, "expected a percentage: 80 or 80%: found 'much'");
	refused("cpu > 5MB", 8, "expected a percentage: 80 or 80%: found 'MB'");
	refused("rss > 500", 10,
		"expected a size in B, KB, MB, GB or TB, such as 500MB: the unit is missing");
	refused("rss > 500 for 1s", 10,
		"expected a size in B, KB, MB, GB or TB, such as 500MB: the unit is missing");
	refused("threads > 5K", 12, "expected a number without a unit: found 'K'");
	refused("cpu > 5 for", 12,
		"expected a time in ms, s, m or h, such as 500ms or 10s: found the end");
	refused("cpu > 5 for 10", 15,
		"expected a time in ms, s, m or h, such as 500ms or 10s: the unit is missing");
	refused("cpu > 5 for -1s", 13, "expected a time from 0 to 1000 days");
	refused("cpu > 5 for 24001h", 13, "expected a time from 0 to 1000 days");
	refused("cpu > 5 for 1s for 2s", 16, "'for' was given before");
	refused("cpu > 5 since 1s", 9,
		"expected 'for', 'clear', 'every' or the end: found 'since'");
	refused("cpu > 80 clear 90", 16, "'clear' takes a value below the limit");
	refused("cpu < 80 clear 70", 16, "'clear' takes a value above the limit");
	refused("cpu == 80 clear 70", 17, "'clear' goes with > >= < and <= only");
	refused("exit_code != 0 for 1s", 16,
		"'for' means nothing for exit_code, which has no duration");
	refused("llm.cost > 5 every 1s", 14,
		"'every' means nothing for llm.cost, which only grows");
	refused("cpu > 1234567890123456", 7, "this number has more than 15 digits");
	refused("cpu > é", 7, "expected a percentage: 80 or 80%: found 'é'");
	refused("cpu > 5 ö", 9, "expected 'for', 'clear', 'every' or the end: found 'ö'");
	refused("cpu > 5\nfor 1s", 8, "expected 'for', 'clear', 'every' or the end: found '\nfor'");
}

static void a_rule_has_a_longest_length(void **state)
{
	char text[RULE_LEN_MAX + 2];

	memset(text, ' ', sizeof(text));
	memcpy(text, "cpu > 5", 7);
	memcpy(text + RULE_LEN_MAX - 6, "for 1s", 7);
	ok(text);
	assert_int_equal(strlen(rule.text), RULE_LEN_MAX);
	memmove(text + 8, text + 7, RULE_LEN_MAX - 6);
	text[7] = ' ';
	assert_int_equal(rule_parse(text, &rule, &err), -E2BIG);
	assert_string_equal(err.msg, "a rule has 256 bytes at most");
}

static void the_error_is_printed_with_a_caret(void **state)
{
	_cleanup_(freep) char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	refused("cup > 5\x1b", 1, "there is no metric 'cup'");
	rule_error_print(f, "cup > 5\x1b", &err);
	fclose(f);
	assert_non_null(strstr(text, "alert rule: there is no metric 'cup'\n  cup > 5 \n  ^\n"));
	assert_null(strchr(text, '\x1b'));
}

/* ---- every metric, from the record that tells it ---- */

static const struct as_system_metrics process = {
	.cpu_centi = 101,
	.wait_ns = 102,
	.quota_centi = 103,
	.rss_kb = 104,
	.pss_kb = 105,
	.uss_kb = 106,
	.swap_kb = 107,
	.anon_kb = 108,
	.vsz_kb = 109,
	.limit_centi = 110,
	.slope_kb_min = -111,
	.threads = 112,
	.children = 113,
	.fds = 114,
	.own_read_bytes = 115,
	.own_write_bytes = 116,
	.own_rchar = 117,
	.own_wchar = 118,
	.rx_bytes = 119,
	.tx_bytes = 120,
	.major_faults = 121,
	.limits = AS_LIMIT_CPU | AS_LIMIT_MEMORY,
};
static const struct as_system_tree tree = {
	.cpu_centi = 201,
	.wait_ns = 202,
	.rss_kb = 204,
	.pss_kb = 205,
	.uss_kb = 206,
	.swap_kb = 207,
	.anon_kb = 208,
	.vsz_kb = 209,
	.slope_kb_min = -211,
	.threads = 212,
	.processes = 213,
	.read_bytes = 215,
	.write_bytes = 216,
	.rchar = 217,
	.wchar = 218,
	.rx_bytes = 219,
	.tx_bytes = 220,
	.major_faults = 221,
};
static const struct as_exit gone = {.exit_code = 301, .signal = 302, .duration_ns = 303};
static const struct as_oom_kill oom;
static const struct as_system_wide machine = {
	.cpu_centi = 401, .used_centi = 402, .used_kb = 403, .load1_centi = 404};
static const struct as_cgroup cgroup = {.cpu_some_centi = 501,
					.memory_some_centi = 502,
					.memory_full_centi = 503,
					.io_some_centi = 504,
					.io_full_centi = 505};
static const struct as_llm_response answer = {.role = AS_ROLE_CLIENT,
					      .cost_known = 1,
					      .cost_nano_usd = 601,
					      .input_tokens = 600,
					      .output_tokens = 2,
					      .cache_read_tokens = 1000,
					      .error = {.len = 4}};
static const struct as_tool_run tool = {.ended = 1, .exit_code = 2, .duration_ns = 702};

#define RATE_MS 500 /* rates are asked for this time */

static const struct {
	const char *name;
	const void *rec;
	enum as_event_type event;
	double value; /* of a rate: of its growth from 0 in RATE_MS */
} sources[] = {
#define FROM(R, EV) &R, AS_EV_##EV
	{"cpu", FROM(process, SYSTEM_METRICS), 101},
	{"cpu.wait", FROM(process, SYSTEM_METRICS), 102 / 5e8 * 10000},
	{"quota", FROM(process, SYSTEM_METRICS), 103},
	{"rss", FROM(process, SYSTEM_METRICS), 104 * KB},
	{"pss", FROM(process, SYSTEM_METRICS), 105 * KB},
	{"uss", FROM(process, SYSTEM_METRICS), 106 * KB},
	{"swap", FROM(process, SYSTEM_METRICS), 107 * KB},
	{"anon", FROM(process, SYSTEM_METRICS), 108 * KB},
	{"vsz", FROM(process, SYSTEM_METRICS), 109 * KB},
	{"limit", FROM(process, SYSTEM_METRICS), 110},
	{"rss.slope", FROM(process, SYSTEM_METRICS), -111 * KB * 60},
	{"threads", FROM(process, SYSTEM_METRICS), 112},
	{"children", FROM(process, SYSTEM_METRICS), 113},
	{"fds", FROM(process, SYSTEM_METRICS), 114},
	{"read", FROM(process, SYSTEM_METRICS), 115 * 7200},
	{"write", FROM(process, SYSTEM_METRICS), 116 * 7200},
	{"rchar", FROM(process, SYSTEM_METRICS), 117 * 7200},
	{"wchar", FROM(process, SYSTEM_METRICS), 118 * 7200},
	{"rx", FROM(process, SYSTEM_METRICS), 119 * 7200},
	{"tx", FROM(process, SYSTEM_METRICS), 120 * 7200},
	{"faults.major", FROM(process, SYSTEM_METRICS), 121 * 7200},
	{"tree.cpu", FROM(tree, SYSTEM_TREE), 201},
	{"tree.cpu.wait", FROM(tree, SYSTEM_TREE), 202 / 5e8 * 10000},
	{"tree.rss", FROM(tree, SYSTEM_TREE), 204 * KB},
	{"tree.pss", FROM(tree, SYSTEM_TREE), 205 * KB},
	{"tree.uss", FROM(tree, SYSTEM_TREE), 206 * KB},
	{"tree.swap", FROM(tree, SYSTEM_TREE), 207 * KB},
	{"tree.anon", FROM(tree, SYSTEM_TREE), 208 * KB},
	{"tree.vsz", FROM(tree, SYSTEM_TREE), 209 * KB},
	{"tree.rss.slope", FROM(tree, SYSTEM_TREE), -211 * KB * 60},
	{"tree.threads", FROM(tree, SYSTEM_TREE), 212},
	{"tree.processes", FROM(tree, SYSTEM_TREE), 213},
	{"tree.read", FROM(tree, SYSTEM_TREE), 215 * 7200},
	{"tree.write", FROM(tree, SYSTEM_TREE), 216 * 7200},
	{"tree.rchar", FROM(tree, SYSTEM_TREE), 217 * 7200},
	{"tree.wchar", FROM(tree, SYSTEM_TREE), 218 * 7200},
	{"tree.rx", FROM(tree, SYSTEM_TREE), 219 * 7200},
	{"tree.tx", FROM(tree, SYSTEM_TREE), 220 * 7200},
	{"tree.faults.major", FROM(tree, SYSTEM_TREE), 221 * 7200},
	{"exit_code", FROM(gone, EXIT), 301},
	{"signal", FROM(gone, EXIT), 302},
	{"duration", FROM(gone, EXIT), 303},
	{"oom", FROM(oom, OOM_KILL), 1},
	{"system.cpu", FROM(machine, SYSTEM_WIDE), 401},
	{"system.memory", FROM(machine, SYSTEM_WIDE), 402},
	{"system.used", FROM(machine, SYSTEM_WIDE), 403 * KB},
	{"system.load1", FROM(machine, SYSTEM_WIDE), 404},
	{"pressure.cpu", FROM(cgroup, CGROUP), 501},
	{"pressure.memory", FROM(cgroup, CGROUP), 502},
	{"pressure.memory.full", FROM(cgroup, CGROUP), 503},
	{"pressure.io", FROM(cgroup, CGROUP), 504},
	{"pressure.io.full", FROM(cgroup, CGROUP), 505},
	{"llm.cost", FROM(answer, LLM_RESPONSE), 601},
	{"llm.tokens", FROM(answer, LLM_RESPONSE), 602},
	{"llm.error", FROM(answer, LLM_RESPONSE), 1},
	{"tool.error", FROM(tool, TOOL_RUN), 1},
	{"tool.duration", FROM(tool, TOOL_RUN), 702},
};

static bool nearly(double a, double b)
{
	double d = a > b ? a - b : b - a, size = a < 0 ? -a : a;

	return d <= size * 1e-12;
}

static void every_metric_is_read_from_its_own_member(void **state)
{
	const struct rule_metric *m;
	size_t n = 0;

	for (; (m = rule_metric_at(n)); n++) {
		size_t i = 0;
		double value;

		while (i < ARRAY_SIZE(sources) && strcmp(sources[i].name, m->name))
			i++;
		if (i == ARRAY_SIZE(sources))
			fail_msg("no test knows '%s'", m->name);
		assert_int_equal(m->event, sources[i].event);
		assert_true(rule_read(m, sources[i].rec, &value));
		if (m->reading == RULE_RATE)
			value = rule_rate(m, value, RATE_MS * 1000000ULL);
		if (!nearly(value, sources[i].value))
			fail_msg("%s is %.17g, not %.17g", m->name, value, sources[i].value);
		assert_true(m->help[0] != '\0');
	}
	assert_int_equal(n, ARRAY_SIZE(sources));
}

static void every_metric_can_stand_in_a_rule(void **state)
{
	static const char *const values[] = {"", " > 0", " > 0 for 1s clear 0 every 1s"};
	const struct rule_metric *m;

	for (size_t i = 0; (m = rule_metric_at(i)); i++) {
		size_t form = m->kind == RULE_FLAG ? 0 : m->reading <= RULE_RATE ? 2 : 1;
		char text[128];

		snprintf(text, sizeof(text), "%s%s", m->name, values[form]);
		assert_ptr_equal(ok(text)->metric, m);
		assert_true(strlen(m->name) < sizeof(rule.metric_name));
	}
}

static void what_was_not_looked_at_is_not_zero(void **state)
{
	static const char *const unknown[] = {"pss", "uss", "quota", "limit", "fds", "anon"};
	static const struct as_system_metrics nothing, others = {.own_read_bytes = AS_UNKNOWN};
	static const struct as_system_metrics idle = {.limits = AS_LIMIT_CPU};
	double value = 5;

	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
		const struct rule_metric *m = rule_metric_find(unknown[i], strlen(unknown[i]));

		assert_false(rule_read(m, &nothing.h, &value));
	}
	assert_true(rule_read(rule_metric_find("swap", 4), &nothing.h, &value));
	assert_true(value == 0);
	value = 5;
	assert_true(rule_read(rule_metric_find("quota", 5), &idle.h, &value));
	assert_true(value == 0);
	assert_false(rule_read(rule_metric_find("limit", 5), &idle.h, &value));
	assert_true(rule_read(rule_metric_find("read", 4), &nothing.h, &value));
	assert_false(rule_read(rule_metric_find("read", 4), &others.h, &value));
}

static void what_a_model_did_not_say_is_not_counted(void **state)
{
	const struct rule_metric *cost = rule_metric_find("llm.cost", 8),
				 *tokens = rule_metric_find("llm.tokens", 10),
				 *error = rule_metric_find("llm.error", 9);
	struct as_llm_response l = answer;
	double value;

	l.cost_known = 0;
	assert_false(rule_read(cost, &l.h, &value));
	l.usage_unknown = 1;
	assert_false(rule_read(tokens, &l.h, &value));
	l = answer;
	l.role = AS_ROLE_SERVER; /* the client is seen, too */
	assert_false(rule_read(cost, &l.h, &value));
	assert_false(rule_read(tokens, &l.h, &value));
	assert_false(rule_read(error, &l.h, &value));
	l = answer;
	l.error.len = 0;
	assert_true(rule_read(error, &l.h, &value));
	assert_true(value == 0);
}

static void a_tool_call_is_judged_when_it_is_over(void **state)
{
	const struct rule_metric *m = rule_metric_find("tool.error", 10);
	struct as_tool_run t = tool;
	double value;

	t.ended = 0;
	assert_false(rule_read(m, &t.h, &value));
	t = (struct as_tool_run){.ended = 1, .exit_code = -1}; /* not known */
	assert_true(rule_read(m, &t.h, &value));
	assert_true(value == 0);
	t.signal = 9;
	assert_true(rule_read(m, &t.h, &value) && value == 1);
	t = (struct as_tool_run){.ended = 1, .is_error = 1};
	assert_true(rule_read(m, &t.h, &value) && value == 1);
}

/* ---- numbers ---- */

static void numbers_are_told_in_the_unit_of_the_rule(void **state)
{
	assert_int_equal(rule_centi(ok("rss > 1MB"), 1.5 * MB), 150);
	assert_int_equal(rule_centi(ok("rss > 1KB"), 1.5 * MB), 153600);
	assert_int_equal(rule_centi(ok("rss.slope > 1MB/min"), -60 * MB), -100);
	assert_int_equal(rule_centi(ok("cpu > 80.1"), 8010), 8010);
	assert_int_equal(rule_centi(ok("rss > 1B"), 1e300), INT64_MAX);
	assert_int_equal(rule_centi(ok("rss > 1B"), -1e300), INT64_MIN);
	assert_int_equal(rule_centi(ok("llm.cost > 1"), 1.234e9), 123);
}

static void nearness_is_highest_at_the_limit(void **state)
{
	const struct rule *r = ok("threads > 100");

	assert_true(rule_nearness(r, 100) == 1);
	assert_true(rule_nearness(r, 50) == 0);
	assert_true(rule_nearness(r, 75) == 0.5);
	assert_true(rule_nearness(r, 0) == 0);
	assert_true(rule_nearness(r, 200) == 0);
	assert_true(nearly(rule_nearness(r, 160), 0.25));
	assert_true(rule_nearness(ok("threads < 100"), 125) > 0.59);
	assert_true(rule_nearness(ok("threads != 100"), 100) == 0);
	assert_true(rule_nearness(ok("swap > 0"), 5) == 0);
	assert_true(rule_nearness(ok("rss.slope < -1MB/min"), -5) == 0);
}

static void the_worse_of_two_values_is_further_beyond(void **state)
{
	assert_true(rule_worse(ok("cpu > 5"), 1, 2) == 2);
	assert_true(rule_worse(ok("cpu < 5"), 1, 2) == 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(operators_compare),
		cmocka_unit_test(blanks_may_stand_anywhere_or_nowhere),
		cmocka_unit_test(units_have_their_sizes),
		cmocka_unit_test(clear_is_the_limit_at_which_it_ends),
		cmocka_unit_test(yes_or_no_stands_alone),
		cmocka_unit_test(errors_name_the_place_and_what_is_expected),
		cmocka_unit_test(a_rule_has_a_longest_length),
		cmocka_unit_test(the_error_is_printed_with_a_caret),
		cmocka_unit_test(every_metric_is_read_from_its_own_member),
		cmocka_unit_test(every_metric_can_stand_in_a_rule),
		cmocka_unit_test(what_was_not_looked_at_is_not_zero),
		cmocka_unit_test(what_a_model_did_not_say_is_not_counted),
		cmocka_unit_test(a_tool_call_is_judged_when_it_is_over),
		cmocka_unit_test(numbers_are_told_in_the_unit_of_the_rule),
		cmocka_unit_test(nearness_is_highest_at_the_limit),
		cmocka_unit_test(the_worse_of_two_values_is_further_beyond),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
