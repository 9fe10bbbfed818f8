/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"

/* More than any machine has, less than the ceiling that is refused without asking malloc(). */
#define TOO_MUCH ((size_t)PTRDIFF_MAX / 2)

/* Lets a refused allocation return NULL under AddressSanitizer, which otherwise stops the program. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}

static void nothing_is_allocated_before_the_first_byte(void **state)
{
	struct buf b = {0};

	buf_add(&b, "", 0);
	buf_add_str(&b, "");
	assert_null(b.data);
	assert_false(b.failed);
	buf_done(&b);
}

static void the_first_growth_is_enough_for_a_short_message(void **state)
{
	struct buf b = {0};

	buf_add_char(&b, 'a');
	assert_true(b.cap >= 512);
	buf_done(&b);
}

static void growth_doubles(void **state)
{
	struct buf b = {0};
	size_t growths = 0, cap = 0;

	for (size_t i = 0; i < 1 << 20; i++) {
		buf_add_char(&b, (char)i);
		growths += b.cap != cap;
		cap = b.cap;
	}
	assert_int_equal(growths, 12);
	for (size_t i = 0; i < b.len; i++)
		assert_int_equal(b.data[i], (char)i);
	buf_done(&b);
}

static void one_large_append_gets_room_at_once(void **state)
{
	struct buf b = {0};

	assert_int_equal(buf_grow(&b, 100000), 0);
	assert_true(b.cap >= 100000);
	assert_int_equal(b.len, 0);
	buf_done(&b);
}

static void growing_where_room_is_left_changes_nothing(void **state)
{
	struct buf b = {0};
	size_t cap;

	buf_add_lit(&b, "text");
	cap = b.cap;
	assert_int_equal(buf_grow(&b, cap - 4), 0);
	assert_int_equal(b.cap, cap);
	assert_int_equal(buf_grow(&b, cap - 3), 0);
	assert_true(b.cap > cap);
	buf_done(&b);
}

static void a_buffer_that_fits_holds_no_more_than_its_content(void **state)
{
	struct buf b = {};

	buf_fit(&b);
	assert_null(b.data);
	buf_add_str(&b, "content");
	buf_fit(&b);
	assert_int_equal(b.cap, 7);
	assert_memory_equal(b.data, "content", 7);
	buf_fit(&b);
	buf_add_str(&b, ", and more");
	assert_memory_equal(b.data, "content, and more", 17);
	buf_done(&b);
}

static void a_bound_takes_memory_and_then_the_content(void **state)
{
	struct buf b = {};

	assert_true(buf_bound(&b, 0));
	buf_add_str(&b, "content");
	assert_true(buf_bound(&b, 1 << 20));
	assert_true(b.cap > 7);
	assert_true(buf_bound(&b, 7));
	assert_int_equal(b.cap, 7);
	assert_memory_equal(b.data, "content", 7);
	assert_false(buf_bound(&b, 6));
	assert_int_equal(b.cap, 0);
	buf_add_str(&b, "content");
	buf_reset(&b);
	assert_true(buf_bound(&b, 6));
	assert_int_equal(b.cap, 0);
}

static void a_size_that_overflows_fails_and_keeps_the_content(void **state)
{
	struct buf b = {0};

	buf_add_lit(&b, "kept");
	assert_int_equal(buf_grow(&b, SIZE_MAX), -ENOMEM);
	assert_true(b.failed);
	assert_int_equal(b.len, 4);
	assert_memory_equal(b.data, "kept", 4);
	buf_done(&b);
}

static void a_refused_allocation_fails(void **state)
{
	struct buf b = {0};

	assert_int_equal(buf_grow(&b, TOO_MUCH), -ENOMEM);
	assert_true(b.failed);
	assert_null(b.data);
	buf_done(&b);
}

static void appends_after_a_failure_do_nothing(void **state)
{
	struct buf b = {0};

	buf_add_lit(&b, "kept");
	buf_grow(&b, SIZE_MAX);
	buf_add_lit(&b, "lost");
	buf_add_char(&b, 'x');
	buf_printf(&b, "%d", 1);
	assert_int_equal(buf_grow(&b, 1), -ENOMEM);
	assert_int_equal(b.len, 4);
	assert_string_equal(buf_cstr(&b), "");
	buf_done(&b);
}

static void reset_makes_a_failed_buffer_usable(void **state)
{
	struct buf b = {0};

	buf_grow(&b, SIZE_MAX);
	buf_reset(&b);
	buf_add_lit(&b, "again");
	assert_string_equal(buf_cstr(&b), "again");
	buf_done(&b);
}

static void done_leaves_a_usable_buffer(void **state)
{
	struct buf b = {0};

	buf_done(&b);
	buf_add_lit(&b, "one");
	buf_done(&b);
	assert_null(b.data);
	assert_int_equal(b.len + b.cap, 0);
	buf_add_lit(&b, "two");
	assert_string_equal(buf_cstr(&b), "two");
	buf_done(&b);
}

static void printf_appends_at_every_fill_level(void **state)
{
	for (size_t left = 0; left <= 8; left++) {
		struct buf b = {0};

		buf_add_char(&b, 'x');
		while (b.len < b.cap - left)
			buf_add_char(&b, 'x');
		buf_printf(&b, "%s-%d", "abc", 42);
		assert_int_equal(b.len, 512 - left + 6);
		assert_memory_equal(b.data + b.len - 6, "abc-42", 6);
		buf_done(&b);
	}
}

static void printf_writes_into_an_empty_buffer(void **state)
{
	struct buf b = {0};

	buf_printf(&b, "%0*d", 10000, 7);
	assert_int_equal(b.len, 10000);
	assert_int_equal(b.data[9999], '7');
	buf_done(&b);
}

static void cstr_terminates_without_counting_the_nul(void **state)
{
	struct buf b = {0};

	assert_string_equal(buf_cstr(&b), "");
	while (b.len < 512)
		buf_add_char(&b, 'x');
	assert_int_equal(b.cap, 512);
	assert_int_equal(strlen(buf_cstr(&b)), 512);
	assert_int_equal(b.len, 512);
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_allocated_before_the_first_byte),
		cmocka_unit_test(the_first_growth_is_enough_for_a_short_message),
		cmocka_unit_test(growth_doubles),
		cmocka_unit_test(one_large_append_gets_room_at_once),
		cmocka_unit_test(growing_where_room_is_left_changes_nothing),
		cmocka_unit_test(a_buffer_that_fits_holds_no_more_than_its_content),
		cmocka_unit_test(a_bound_takes_memory_and_then_the_content),
		cmocka_unit_test(a_size_that_overflows_fails_and_keeps_the_content),
		cmocka_unit_test(a_refused_allocation_fails),
		cmocka_unit_test(appends_after_a_failure_do_nothing),
		cmocka_unit_test(reset_makes_a_failed_buffer_usable),
		cmocka_unit_test(done_leaves_a_usable_buffer),
		cmocka_unit_test(printf_appends_at_every_fill_level),
		cmocka_unit_test(printf_writes_into_an_empty_buffer),
		cmocka_unit_test(cstr_terminates_without_counting_the_nul),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
