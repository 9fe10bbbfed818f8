/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "stage/filter.h"

#define STR(s)                                                  \
	{                                                       \
		.kind = FILTER_STR, .str = { s, sizeof(s) - 1 } \
	}

/* One event; fields without a value are known, and absent. */
static const struct field {
	const char *path;
	struct filter_value value;
} fields[] = {
	{"source", STR("ssl")},
	{"pid", {.kind = FILTER_UINT, .u = 4242}},
	{"data.type", STR("request")},
	{"data.path", STR("/v1/messages?x=\"y\"")},
	{"data.cpu.percent", STR("23.45")},
	{"data.len", {.kind = FILTER_INT, .i = 8192}},
	{"data.delta", {.kind = FILTER_INT, .i = -5}},
	{"data.ratio", {.kind = FILTER_NUM, .num = 0.5}},
	{"data.big", {.kind = FILTER_UINT, .u = UINT64_MAX}},
	{"data.exact", {.kind = FILTER_INT, .i = (1LL << 53) + 1}},
	{"data.ok", {.kind = FILTER_BOOL, .b = true}},
	{"data.failed", {.kind = FILTER_BOOL, .b = false}},
	{"data.empty", STR("")},
	{"data.zero", {.kind = FILTER_INT, .i = 0}},
	{"data.name", STR("caf\xc3\xa9\tA")},
	{"data.gone", {.kind = FILTER_NONE}},
};

struct event {
	unsigned int gets;
};

static int resolve(void *ctx, const char *path, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		if (strlen(fields[i].path) == len && memcmp(fields[i].path, path, len) == 0)
			return (int)i;
	}
	return -ENOENT;
}

static const char *path_at(void *ctx, size_t i)
{
	return i < ARRAY_SIZE(fields) ? fields[i].path : NULL;
}

static const struct filter_schema schema = {.resolve = resolve, .path_at = path_at};

static void get(void *ctx, int field, struct filter_value *ret)
{
	struct event *event = ctx;

	event->gets++;
	*ret = fields[field].value;
}

static bool holds(const char *text, unsigned int *ret_gets)
{
	struct filter *f = NULL;
	struct filter_error err;
	struct event event = {0};
	bool r;

	if (filter_compile(text, &schema, &f, &err) < 0)
		fail_msg("%s: column %zu: %s", text, err.column, err.msg);
	r = filter_match(f, get, &event);
	filter_free(f);
	if (ret_gets)
		*ret_gets = event.gets;
	return r;
}

static void expect_all(const char *const *texts, size_t n, bool want)
{
	for (size_t i = 0; i < n; i++) {
		if (holds(texts[i], NULL) != want)
			fail_msg("%s is %s", texts[i], want ? "false" : "true");
	}
}

static void true_expressions_hold(void **state)
{
	static const char *const texts[] = {
		"source == \"ssl\"",
		"source == 'ssl'",
		".source==\"ssl\"",
		"type == 'request'",
		"data.type == 'request'",
		"pid == 4242",
		"pid == '4242'",
		"pid > 4K and pid < 5k",
		"data.len == 8K",
		"data.len >= 8192 && data.len <= 8192",
		"data.cpu.percent > 20",
		"data.cpu.percent == 23.45",
		"data.cpu.percent < 1e2",
		"data.delta == -5",
		"data.delta < 0.5",
		"data.delta > -5.5",
		"data.ratio == 0.5",
		"data.ratio > 0",
		"data.big == 18446744073709551615",
		"data.big > -1",
		"data.exact > 9007199254740992.0",
		"data.exact == 9007199254740993",
		"data.ok",
		"data.ok == true",
		"not data.failed",
		"!data.failed",
		"not not data.ok",
		"!!data.ok",
		"not data.empty and not data.zero and not data.gone",
		"source",
		"data.path == \"/v1/messages?x=\\\"y\\\"\"",
		"data.name == 'caf\\u00e9\\t\\x41'",
		"data.path contains 'messages'",
		"data.path contains ''",
		"data.path =~ '^/v\\d+/mess.*'",
		"data.path =~ \"^/v\\\\d+/\"",
		"data.path =~ '(?i)MESSAGES'",
		"pid =~ '^42'",
		"pid in [1, 4242, 'x']",
		"source in ['stdio', 'ssl']",
		"data.cpu.percent in [23.45]",
		"data.gone == null and pid != null",
		"data.gone in [null]",
		"data.gone != 5",
		"not (data.gone == 5)",
		"source != 5",
		"source < 'sslx' and source > 'ssk'",
		"data.failed or data.ok",
		"data.failed || data.ok && data.len",
		"data.failed and data.failed or data.ok",
		"data.ok or data.failed and data.failed",
		"not (data.failed and data.ok)",
		"NOT data.failed AND data.ok",
		"((((pid))))",
		" \t\npid\n",
	};

	expect_all(texts, ARRAY_SIZE(texts), true);
}

static void false_expressions_do_not_hold(void **state)
{
	static const char *const texts[] = {
		"source == 'SSL'",
		"source == 5",
		"source > 5",
		"pid == 'x'",
		"pid == true",
		"data.gone == 5",
		"data.gone < 5",
		"data.gone > 5",
		"data.gone <= 5",
		"data.gone >= 5",
		"data.gone =~ ''",
		"data.gone contains ''",
		"data.gone in [1]",
		"data.gone",
		"pid in []",
		"data.cpu.percent > 23.45",
		"data.exact == 9007199254740992.0",
		"data.ok and data.failed",
		"not data.ok or data.failed",
		"(data.ok or data.ok) and data.failed",
		"data.path =~ '^messages'",
		"data.ratio =~ '0'",
	};

	expect_all(texts, ARRAY_SIZE(texts), false);
}

static void fields_that_do_not_matter_are_not_fetched(void **state)
{
	unsigned int gets;

	assert_false(holds("data.failed and pid == 1 and source", &gets));
	assert_int_equal(gets, 1);
	assert_true(holds("data.ok or pid == 1 or source", &gets));
	assert_int_equal(gets, 1);
	assert_true(holds("data.failed and pid or data.ok", &gets));
	assert_int_equal(gets, 2);
}

static void errors_name_the_column_and_help(void **state)
{
	static const struct {
		const char *text;
		size_t column;
		const char *msg;
		const char *hint;
	} cases[] = {
		{"", 1, "empty", ""},
		{"pid = 5", 5, "'='", "=="},
		{"pid ~ 5", 5, "'~'", "=~"},
		{"pid == ", 8, "value is missing", ""},
		{"source == ssl", 11, "value is missing", "\"ssl\""},
		{"5 == pid", 1, "field is missing", "left"},
		{"pid == 5 source", 10, "'and' or 'or'", ""},
		{"pid & source", 5, "'and' or 'or'", "&&"},
		{"(pid", 1, "not closed", ""},
		{"pid)", 4, "closes nothing", ""},
		{"pid == 10ms", 10, "'ms'", "K, M and G"},
		{"pid == 1.5K", 11, "'K'", "integers"},
		{"pid == 99999999999999999999", 8, "64 bits", ""},
		{"pid == 99999999999G", 8, "64 bits", ""},
		{"source == 'abc", 11, "closing", ""},
		{"source == 'a\\qb'", 13, "escape", "\\\\"},
		{"source == '\\ud800'", 12, "surrogate", ""},
		{"source == '\\xg1'", 12, "hexadecimal", ""},
		{"sorce == 1", 1, "'sorce'", "'source'"},
		{"data.cpu.precent > 1", 1, "data.cpu.precent", "'data.cpu.percent'"},
		{"path == 1", 1, "'path'", "'data.path'"},
		{"zzzzzzzzzzzz == 1", 1, "zzzz", ""},
		{"data..x", 5, "name is missing", ""},
		{"source == '\xc3\xa9\xc3\xa9' and sorce", 20, "sorce", "source"},
		{"source =~ 'a(b'", 13, "regular expression", ""},
		{"source =~ 5", 11, "takes a string", ""},
		{"source contains 5", 17, "takes a string", ""},
		{"pid < true", 7, "order", ""},
		{"pid in 5", 8, "list", "in ["},
		{"pid in [1 2]", 11, "','", ""},
		{"pid and", 8, "field is missing", ""},
		{"not", 4, "field is missing", ""},
		{"and", 1, "field is missing", ""},
		{"pid == 1 \x01", 10, "0x01", ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct filter *f = NULL;
		struct filter_error err;
		int r = filter_compile(cases[i].text, &schema, &f, &err);

		if (r != -EINVAL || f || err.column != cases[i].column ||
		    !strstr(err.msg, cases[i].msg) || !strstr(err.hint, cases[i].hint))
			fail_msg("%s: %d, column %zu: %s (%s)", cases[i].text, r, err.column,
				 err.msg, err.hint);
	}
}

static void depth_and_length_are_limited(void **state)
{
	char *text = malloc(40001);
	struct filter *f = NULL;
	struct filter_error err;

	assert_non_null(text);
	memset(text, '(', 40000);
	text[40000] = '\0';
	assert_int_equal(filter_compile(text, &schema, &f, &err), -E2BIG);
	text[16000] = '\0';
	assert_int_equal(filter_compile(text, &schema, &f, &err), -E2BIG);
	assert_int_equal(err.column, 65);

	memset(text, '!', 16000);
	memcpy(text + 16000, "data.ok", 8);
	assert_true(holds(text, NULL));

	text[0] = '\0';
	for (size_t i = 0; i < 1600; i++)
		memcpy(text + i * 7, "pid or ", 8);
	memcpy(text + 1600 * 7, "pid", 4);
	assert_true(holds(text, NULL));
	free(text);
}

static void print(const char *text, char *buf, size_t size)
{
	struct filter *f = NULL;
	struct filter_error err;
	FILE *out = fmemopen(buf, size, "w");

	assert_non_null(out);
	assert_true(filter_compile(text, &schema, &f, &err) < 0);
	filter_error_print(out, text, &err);
	fclose(out);
}

static void the_printed_caret_stands_under_the_column(void **state)
{
	char buf[1024], text[300];
	const char *line, *caret;

	print("pid == 1 and sorce", buf, sizeof(buf));
	assert_string_equal(buf, "filter: no event has a field 'sorce'\n"
				 "  pid == 1 and sorce\n"
				 "               ^\n"
				 "  did you mean 'source'?\n");

	memset(text, ' ', sizeof(text));
	memcpy(text, "pid and", 7);
	memcpy(text + 200, "sorce", 6);
	print(text, buf, sizeof(buf));
	line = strchr(buf, '\n') + 1;
	caret = strchr(line, '\n') + 1;
	assert_int_equal(line[strchr(caret, '^') - caret], 's');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(true_expressions_hold),
		cmocka_unit_test(false_expressions_do_not_hold),
		cmocka_unit_test(fields_that_do_not_matter_are_not_fetched),
		cmocka_unit_test(errors_name_the_column_and_help),
		cmocka_unit_test(depth_and_length_are_limited),
		cmocka_unit_test(the_printed_caret_stands_under_the_column),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
