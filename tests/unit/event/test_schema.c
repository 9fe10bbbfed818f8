/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "event/names.h"
#include "event/schema.h"

static int set_up(void **state)
{
	return schema_init();
}

static void numbers_that_are_no_type_have_no_row(void **state)
{
	assert_null(schema_event(AS_EV_NONE));
	assert_null(schema_event(AS_EV_COUNT));
	assert_null(schema_event(UINT32_MAX));
	for (unsigned type = 1; type < AS_EV_COUNT; type++)
		assert_int_equal(schema_event(type)->type, type);
}

static void preparing_twice_changes_nothing(void **state)
{
	const char *before = schema_event(AS_EV_EXEC)->head;

	assert_int_equal(schema_init(), 0);
	assert_ptr_equal(schema_event(AS_EV_EXEC)->head, before);
}

static void each_type_is_named_once(void **state)
{
	for (unsigned a = 1; a < AS_EV_COUNT; a++) {
		for (unsigned b = 1; b < a; b++) {
			const struct event_desc *x = schema_event(a), *y = schema_event(b);

			assert_true(strcmp(x->source, y->source) || strcmp(x->name, y->name));
		}
	}
}

static void only_what_goes_between_kernel_and_user_space_is_internal(void **state)
{
	for (unsigned type = 1; type < AS_EV_COUNT; type++) {
		const struct event_desc *d = schema_event(type);

		assert_int_equal(d->internal, !strcmp(d->source, "internal"));
	}
	assert_true(schema_event(AS_EV_FILE_SEEN)->internal);
	assert_false(schema_event(AS_EV_EXEC)->internal);
}

static void a_path_is_split_into_object_and_member(void **state)
{
	const struct event_desc *d = schema_event(AS_EV_SYSTEM_METRICS);
	const struct field_desc *cpu = NULL;

	for (size_t i = 0; i < d->n_fields; i++) {
		if (!strcmp(d->fields[i].path, "cpu.percent"))
			cpu = &d->fields[i];
	}
	assert_non_null(cpu);
	assert_string_equal(cpu->group, "cpu");
	assert_string_equal(cpu->leaf, "percent");
	assert_string_equal(cpu->before, "\"percent\":");
	assert_false(cpu->closes_group);
	assert_string_equal(cpu[1].before, "\"cores\":");
	while (cpu[1].group && !strcmp(cpu[1].group, "cpu"))
		assert_false(cpu++->closes_group);
	assert_true(cpu->closes_group);
}

/* Else the encoder would write the bracket of one and not the other. */
static void the_members_of_an_object_stand_together(void **state)
{
	for (unsigned type = 1; type < AS_EV_COUNT; type++) {
		const struct event_desc *d = schema_event(type);
		size_t groups = 0, closed = 0;

		for (size_t i = 0; i < d->n_fields; i++) {
			const struct field_desc *f = &d->fields[i];

			if (!f->group)
				continue;
			groups += !i || !d->fields[i - 1].group ||
				  strcmp(d->fields[i - 1].group, f->group) != 0;
			closed += f->closes_group;
			for (size_t j = 0; j < i; j++) {
				const struct field_desc *other = &d->fields[j];

				if (other->group && !strcmp(other->group, f->group) && j + 1 < i)
					assert_string_equal(d->fields[j + 1].group, f->group);
			}
		}
		assert_int_equal(groups, closed);
	}
}

static void what_is_shown_has_a_name_of_its_own_and_a_description(void **state)
{
	for (unsigned type = 1; type < AS_EV_COUNT; type++) {
		const struct event_desc *d = schema_event(type);

		for (size_t i = 0; !d->internal && i < d->n_fields; i++) {
			const struct field_desc *f = &d->fields[i];

			if (!f->path[0] || f->kind == AS_KIND_HIDDEN || f->kind == AS_KIND_HIDDEN32)
				continue;
			assert_true(strcmp(f->path, "type") && strcmp(f->path, "truncated"));
			for (size_t j = 0; j < i; j++)
				assert_string_not_equal(d->fields[j].path, f->path);
			if (f->kind == AS_KIND_ENUM || f->kind == AS_KIND_FLAGS)
				assert_true(f->names->n > 0);
		}
	}
}

static bool is_listed(const struct field_desc *const *list, size_t n, const struct field_desc *f)
{
	for (size_t i = 0; i < n; i++) {
		if (list[i] == f)
			return true;
	}
	return false;
}

static void fields_are_listed_by_what_is_to_be_done_with_them(void **state)
{
	for (unsigned type = 1; type < AS_EV_COUNT; type++) {
		const struct event_desc *d = schema_event(type);
		size_t shown = 0, outlying = 0;

		for (size_t i = 0; i < d->n_fields; i++) {
			const struct field_desc *f = &d->fields[i];
			bool hidden = !f->path[0] || f->kind == AS_KIND_HIDDEN ||
				      f->kind == AS_KIND_HIDDEN32;
			bool bytes = f->kind == AS_KIND_STR || f->kind == AS_KIND_ARGV ||
				     f->kind == AS_KIND_PAYLOAD || f->kind == AS_KIND_JSON ||
				     f->kind == AS_KIND_PATH;

			assert_int_equal(is_listed(d->shown, d->n_shown, f), !hidden);
			assert_int_equal(is_listed(d->outlying, d->n_outlying, f), bytes);
			shown += !hidden;
			outlying += bytes;
		}
		assert_int_equal(d->n_shown, shown);
		assert_int_equal(d->n_outlying, outlying);
	}
}

static void a_field_lies_inside_its_struct(void **state)
{
	for (unsigned type = 1; type < AS_EV_COUNT; type++) {
		const struct event_desc *d = schema_event(type);

		assert_int_equal(d->size % 8, 0);
		for (size_t i = 0; i < d->n_fields; i++)
			assert_true(d->fields[i].offset < d->size);
	}
}

static void a_name_is_found_by_its_value(void **state)
{
	assert_string_equal(name_table_find(&names_protocol, 6), "tcp");
	assert_string_equal(name_table_find(&names_tls_version, 0x0304), "TLSv1.3");
	assert_null(name_table_find(&names_protocol, 0));
	assert_null(name_table_find(&names_protocol, UINT32_MAX));
}

static void no_two_rows_of_a_table_have_the_same_value_or_name(void **state)
{
	static const struct name_table *const tables[] = {
		&names_protocol,    &names_role,          &names_open_flags,
		&names_file_flush,  &names_tls_direction, &names_tls_function,
		&names_tls_version, &names_alert_state,   &names_capability,
	};

	for (size_t t = 0; t < ARRAY_SIZE(tables); t++) {
		for (size_t a = 0; a < tables[t]->n; a++) {
			for (size_t b = 0; b < a; b++) {
				const struct name_row *x = &tables[t]->rows[a];
				const struct name_row *y = &tables[t]->rows[b];

				assert_string_not_equal(x->name, y->name);
				assert_int_not_equal(x->value, y->value);
			}
		}
	}
}

static void an_error_has_its_name_with_either_sign(void **state)
{
	assert_string_equal(errno_name(ENOENT), "ENOENT");
	assert_string_equal(errno_name(-ENOENT), "ENOENT");
	assert_null(errno_name(512));
	assert_null(errno_name(INT32_MAX));
	assert_null(errno_name(INT32_MIN));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_that_are_no_type_have_no_row),
		cmocka_unit_test(preparing_twice_changes_nothing),
		cmocka_unit_test(each_type_is_named_once),
		cmocka_unit_test(only_what_goes_between_kernel_and_user_space_is_internal),
		cmocka_unit_test(a_path_is_split_into_object_and_member),
		cmocka_unit_test(the_members_of_an_object_stand_together),
		cmocka_unit_test(what_is_shown_has_a_name_of_its_own_and_a_description),
		cmocka_unit_test(fields_are_listed_by_what_is_to_be_done_with_them),
		cmocka_unit_test(a_field_lies_inside_its_struct),
		cmocka_unit_test(a_name_is_found_by_its_value),
		cmocka_unit_test(no_two_rows_of_a_table_have_the_same_value_or_name),
		cmocka_unit_test(an_error_has_its_name_with_either_sign),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
