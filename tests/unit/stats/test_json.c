/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "no_memory.h"
#include "recording.h"
#include "stats/json.h"
#include "stats/text.h"

#define HOSTILE "<b>\"\\\x01\xff\xe2\x80\xae"

static struct json_object *document(const struct stats *s, const struct stats_input *in)
{
	struct buf b = {0};
	struct json_object *o;

	stats_json(&b, s, in, STATS_LISTED);
	assert_false(b.failed);
	o = json_tokener_parse(buf_cstr(&b));
	assert_non_null(o);
	buf_done(&b);
	return o;
}

/* "tree.cpu_percent.mean" */
static double number(struct json_object *o, const char *path)
{
	char copy[128], *rest = copy, *key;

	snprintf(copy, sizeof(copy), "%s", path);
	while ((key = strsep(&rest, ".")))
		assert_true(json_object_object_get_ex(o, key, &o));
	return json_object_get_double(o);
}

static void every_part_stands_in_the_document(void **state)
{
	struct stats_input in = {.files = 1, .lines = 200, .used = 200};
	struct stats *s = NULL;
	struct json_object *o, *part;

	stats_new(&s);
	recording_fill(s, 1, HOSTILE);
	o = document(s, &in);
	assert_true(number(o, "version") == 1);
	assert_true(number(o, "input.lines") == 200);
	assert_true(number(o, "wall_ns") == 61e9);
	assert_true(number(o, "exit_code") == 3);
	assert_true(number(o, "tree.cpu_percent.max") == 80);
	assert_true(number(o, "tree.totals.cpu_ns") == 24e9);
	assert_true(number(o, "tree.interval_ns.max") == 1e9);
	assert_true(number(o, "llm.input_tokens") == 1000);
	assert_true(number(o, "alerts_seen") == 1);
	assert_true(json_object_object_get_ex(o, "processes", &part));
	assert_int_equal(json_object_array_length(part), 2);
	assert_true(json_object_object_get_ex(o, "names", &part));
	assert_int_equal(json_object_array_length(part), 2);
	assert_true(json_object_object_get_ex(o, "tools", &part));
	assert_true(json_object_object_get_ex(o, "phases", &part));
	assert_int_equal(json_object_array_length(part), 2);
	json_object_put(o);
	stats_free(s);
}

static void nothing_is_left_out_for_want_of_memory(void **state)
{
	struct buf whole = {0}, scarce = {0};
	struct stats *s = NULL;

	stats_new(&s);
	recording_fill(s, 1, "cc1");
	stats_json(&whole, s, NULL, STATS_LISTED);
	no_memory = true;
	stats_json(&scarce, s, NULL, STATS_LISTED);
	no_memory = false;
	assert_false(scarce.failed);
	assert_string_equal(buf_cstr(&scarce), buf_cstr(&whole));
	buf_done(&whole);
	buf_done(&scarce);
	stats_free(s);
}

static void an_empty_run_is_a_document_as_well(void **state)
{
	struct stats *s = NULL;

	stats_new(&s);
	json_object_put(document(s, NULL));
	stats_free(s);
}

/* The row of the table that begins with @title, without the spaces. */
static const char *row(const char *text, const char *title, char out[256])
{
	const char *at = strstr(text, title);
	size_t n = 0;

	assert_non_null(at);
	for (; *at && *at != '\n' && n < 255; at++) {
		if (*at != ' ')
			out[n++] = *at;
	}
	out[n] = '\0';
	return out;
}

/* To be freed. */
static char *table(const struct stats *s, int width)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	assert_int_equal(stats_print(s, f, false, width), 0);
	fclose(f);
	assert_int_equal(strlen(text), len);
	return text;
}

static void the_table_and_the_document_agree(void **state)
{
	char *text, line[256], want[64];
	struct stats *s = NULL;
	struct json_object *o;

	stats_new(&s);
	recording_fill(s, 1, "cc1");
	o = document(s, NULL);
	text = table(s, 200);

	snprintf(want, sizeof(want), "CPU%.1f%%%.1f%%%.1f%%", number(o, "tree.cpu_percent.mean"),
		 number(o, "tree.cpu_percent.median"), number(o, "tree.cpu_percent.p95"));
	assert_int_equal(strncmp(row(text, "  CPU  ", line), want, strlen(want)), 0);
	snprintf(want, sizeof(want), "RSS%.1fMiB", number(o, "tree.rss_kb.mean") / 1024);
	assert_int_equal(strncmp(row(text, "  RSS ", line), want, strlen(want)), 0);
	snprintf(want, sizeof(want), "CPUtime%.2fs", number(o, "tree.totals.cpu_ns") / 1e9);
	assert_int_equal(strncmp(row(text, "  CPU time ", line), want, strlen(want)), 0);
	json_object_put(o);
	stats_free(s);
	free(text);
}

static void trees_that_found_no_place_are_told_by_both(void **state)
{
	struct stats *s = NULL;
	struct json_object *o;
	char *text;

	stats_new(&s);
	recording_fill(s, 1, "cc1");
	s->tree_rows_refused = 7;
	o = document(s, NULL);
	text = table(s, 200);
	assert_true(number(o, "tree_rows_refused") == 7);
	assert_non_null(strstr(text, "7 rows of trees left out"));
	json_object_put(o);
	stats_free(s);
	free(text);
}

static void no_line_is_wider_than_the_terminal_and_none_has_control_bytes(void **state)
{
	struct stats *s = NULL;
	char *text, *rest;

	stats_new(&s);
	recording_fill(s, 1, "a\x1b[31mb");
	text = table(s, 60);
	assert_null(strchr(text, '\x1b'));
	rest = text;
	for (char *line; (line = strsep(&rest, "\n"));)
		assert_true(strlen(line) <= 60 + 8); /* the ellipsis is three bytes */
	stats_free(s);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_part_stands_in_the_document),
		cmocka_unit_test(nothing_is_left_out_for_want_of_memory),
		cmocka_unit_test(an_empty_run_is_a_document_as_well),
		cmocka_unit_test(the_table_and_the_document_agree),
		cmocka_unit_test(trees_that_found_no_place_are_told_by_both),
		cmocka_unit_test(no_line_is_wider_than_the_terminal_and_none_has_control_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
