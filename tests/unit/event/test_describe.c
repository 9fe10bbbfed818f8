/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <json-c/json.h>

#include "event/describe.h"
#include "event/schema.h"

static char *text;
static size_t text_len;

static int set_up(void **state)
{
	return schema_init();
}

static int tear_down(void **state)
{
	free(text);
	text = NULL;
	return 0;
}

static void describe(void (*fn)(FILE *))
{
	FILE *f = open_memstream(&text, &text_len);

	assert_non_null(f);
	fn(f);
	assert_int_equal(fclose(f), 0);
}

static size_t count(const char *what)
{
	size_t n = 0;

	for (const char *p = text; (p = strstr(p, what)); p++)
		n++;
	return n;
}

static size_t shown_types(void)
{
	size_t n = 0;

	for (unsigned type = 1; type < AS_EV_COUNT; type++)
		n += !schema_event(type)->internal;
	return n;
}

static void the_text_has_every_type_but_internal_ones(void **state)
{
	describe(describe_text);
	for (unsigned type = 1; type < AS_EV_COUNT; type++) {
		const struct event_desc *d = schema_event(type);
		char head[96];

		snprintf(head, sizeof(head), "%s.%s - ", d->source, d->name);
		assert_int_equal(!!strstr(text, head), !d->internal);
	}
}

static void each_row_of_the_page_has_three_cells(void **state)
{
	describe(describe_markdown);
	assert_int_equal(count("\n### `"), shown_types());
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		size_t bars = 0;

		for (const char *p = line; line[0] == '|' && *p; p++)
			bars += *p == '|';
		if (line[0] == '|')
			assert_int_equal(bars, 4);
	}
}

static struct json_object *parse(void)
{
	struct json_tokener *tok = json_tokener_new_ex(64);
	struct json_object *schema;

	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	schema = json_tokener_parse_ex(tok, text, (int)text_len);
	assert_int_equal(json_tokener_get_error(tok), json_tokener_success);
	json_tokener_free(tok);
	return schema;
}

static struct json_object *member(struct json_object *o, const char *key)
{
	struct json_object *value;

	if (!json_object_object_get_ex(o, key, &value))
		fail_msg("no %s in %s", key, json_object_to_json_string(o));
	return value;
}

static struct json_object *data_schema(struct json_object *schema, size_t i)
{
	struct json_object *alternative = json_object_array_get_idx(member(schema, "oneOf"), i);

	return member(member(alternative, "properties"), "data");
}

static void the_schema_is_json_with_one_alternative_per_type(void **state)
{
	struct json_object *schema;
	size_t i = 0;

	describe(describe_json_schema);
	schema = parse();
	assert_int_equal(json_object_array_length(member(schema, "oneOf")), shown_types());
	for (unsigned type = 1; type < AS_EV_COUNT; type++) {
		const struct event_desc *d = schema_event(type);
		struct json_object *type_schema;

		if (d->internal)
			continue;
		type_schema = member(member(data_schema(schema, i++), "properties"), "type");
		assert_string_equal(json_object_get_string(member(type_schema, "const")), d->name);
	}
	json_object_put(schema);
}

static void what_is_required_is_also_described(void **state)
{
	struct json_object *schema;

	describe(describe_json_schema);
	schema = parse();
	for (size_t i = 0; i < shown_types(); i++) {
		struct json_object *data = data_schema(schema, i);
		struct json_object *required = member(data, "required");

		for (size_t k = 0; k < json_object_array_length(required); k++)
			member(member(data, "properties"),
			       json_object_get_string(json_object_array_get_idx(required, k)));
	}
	json_object_put(schema);
}

static void what_may_be_cut_has_its_length_and_bytes_described(void **state)
{
	struct json_object *schema, *exec;

	describe(describe_json_schema);
	schema = parse();
	exec = member(data_schema(schema, 0), "properties");
	assert_string_equal(json_object_get_string(member(member(exec, "argv"), "type")), "array");
	member(exec, "argv_length");
	member(exec, "argv_base64");
	member(exec, "filename_length");
	member(exec, "cwd_base64");
	assert_false(json_object_object_get_ex(exec, "ppid_length", NULL));
	json_object_put(schema);
}

static void descriptions_need_no_escape_in_json_or_in_a_table(void **state)
{
	for (unsigned type = 1; type < AS_EV_COUNT; type++) {
		const struct event_desc *d = schema_event(type);

		assert_null(strpbrk(d->help, "\"\\|\n"));
		assert_true(d->help[0]);
		for (size_t i = 0; i < d->n_fields; i++)
			assert_null(strpbrk(d->fields[i].help, "\"\\|\n"));
	}
}

#define TEST(f) cmocka_unit_test_teardown(f, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_text_has_every_type_but_internal_ones),
		TEST(each_row_of_the_page_has_three_cells),
		TEST(the_schema_is_json_with_one_alternative_per_type),
		TEST(what_is_required_is_also_described),
		TEST(what_may_be_cut_has_its_length_and_bytes_described),
		TEST(descriptions_need_no_escape_in_json_or_in_a_table),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
