/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "no_memory.h"
#include "recording.h"
#include "stats/diff.h"

static struct stats *a, *b;

static int set_up(void **state)
{
	stats_new(&a);
	stats_new(&b);
	recording_fill(a, 1, "cc1");
	recording_fill(b, 2, "cc2");
	return 0;
}

static int tear_down(void **state)
{
	stats_free(a);
	stats_free(b);
	return 0;
}

static struct json_object *find(struct json_object *o, const char *list, const char *key,
				const char *value)
{
	struct json_object *array, *name;

	assert_true(json_object_object_get_ex(o, list, &array));
	for (size_t i = 0; i < json_object_array_length(array); i++) {
		struct json_object *x = json_object_array_get_idx(array, i);

		assert_true(json_object_object_get_ex(x, key, &name));
		if (!strcmp(json_object_get_string(name), value))
			return x;
	}
	return NULL;
}

static double number(struct json_object *o, const char *key)
{
	struct json_object *x;

	assert_true(json_object_object_get_ex(o, key, &x));
	return json_object_get_double(x);
}

static void changes_are_told_in_absolute_numbers_and_percent(void **state)
{
	struct buf out = {0};
	struct json_object *o, *x;

	stats_diff_json(&out, a, "a\"", b, "b");
	o = json_tokener_parse(buf_cstr(&out));
	assert_non_null(o);
	x = find(o, "metrics", "name", "totals.cpu_ns");
	assert_non_null(x);
	assert_true(number(x, "a") == 24e9 && number(x, "b") == 48e9);
	assert_true(number(x, "change") == 24e9 && number(x, "percent") == 100);
	x = find(o, "metrics", "name", "cpu_percent.max");
	assert_true(number(x, "a") == 80 && number(x, "b") == 160);
	x = find(o, "metrics", "name", "wall_ns");
	assert_true(number(x, "change") == 0);
	json_object_put(o);
	buf_done(&out);
}

static void processes_are_matched_by_name(void **state)
{
	struct buf out = {0};
	struct json_object *o, *x, *side;

	stats_diff_json(&out, a, "a", b, "b");
	o = json_tokener_parse(buf_cstr(&out));
	x = find(o, "names", "comm", "agent");
	assert_true(json_object_object_get_ex(x, "b", &side));
	assert_true(number(side, "cpu_ns") == 48e9);
	x = find(o, "names", "comm", "cc1");
	assert_true(json_object_object_get_ex(x, "b", &side));
	assert_null(side);
	x = find(o, "names", "comm", "cc2");
	assert_true(json_object_object_get_ex(x, "a", &side));
	assert_null(side);
	json_object_put(o);
	buf_done(&out);
}

static void more_is_red_and_what_stays_is_not_coloured(void **state)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	stats_diff_print(a, "a", b, "b", f, true, 200);
	fclose(f);
	assert_non_null(strstr(text, "+100.0 %"));
	assert_non_null(strstr(text, "\033[31m"));
	free(text);

	f = open_memstream(&text, &len);
	stats_diff_print(a, "a", a, "a", f, true, 200);
	fclose(f);
	assert_null(strstr(text, "\033[31m"));
	assert_null(strstr(text, "\033[32m"));
	free(text);
}

static void a_table_that_could_not_be_made_is_an_error(void **state)
{
	FILE *f = fopen("/dev/null", "we");

	no_memory = true;
	assert_int_equal(stats_diff_print(a, "a", b, "b", f, true, 200), -ENOMEM);
	no_memory = false;
	assert_int_equal(stats_diff_print(a, "a", b, "b", f, true, 200), 0);
	fclose(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(changes_are_told_in_absolute_numbers_and_percent,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_table_that_could_not_be_made_is_an_error, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(processes_are_matched_by_name, set_up, tear_down),
		cmocka_unit_test_setup_teardown(more_is_red_and_what_stays_is_not_coloured, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
