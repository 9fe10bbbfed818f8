/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "source/users.h"
#include "unit/source/tree.h"

static int set_up(void **state)
{
	return tree_make();
}

static int tear_down(void **state)
{
	return tree_remove();
}

static void line_is(const char *line, int r, uint32_t uid, size_t len)
{
	uint32_t got_uid = 7;
	size_t got_len = 7;

	assert_int_equal(users_parse_line(line, strlen(line), &got_uid, &got_len), r);
	assert_int_equal(got_uid, r < 0 ? 7 : uid);
	assert_int_equal(got_len, r < 0 ? 7 : len);
}

static void a_line_has_a_name_and_a_number(void **state)
{
	line_is("root:x:0:0:root:/root:/bin/bash", 0, 0, 4);
	line_is("a::4294967295", 0, UINT32_MAX, 1);
	line_is("a:x:4294967296:0", -EBADMSG, 0, 0);
	line_is("a:x::0", -EBADMSG, 0, 0);
	line_is("a:x:", -EBADMSG, 0, 0);
	line_is("a:x", -EBADMSG, 0, 0);
	line_is(":x:0:0", -EBADMSG, 0, 0);
	line_is("a:x:-1:0", -EBADMSG, 0, 0);
	line_is("+::::::", -EBADMSG, 0, 0);
	line_is("", -EBADMSG, 0, 0);
}

static void the_first_of_two_names_counts(void **state)
{
	struct users *u;

	tree_put("passwd", "root:x:0:0\n# comment\nops:x:1000:0\nalias:x:1000:0\nlast:x:5:5");
	assert_int_equal(users_open(tree_path("passwd"), &u), 0);
	assert_string_equal(users_name(u, 1000), "ops");
	assert_string_equal(users_name(u, 0), "root");
	assert_string_equal(users_name(u, 5), "last");
	assert_string_equal(users_name(u, 6), "");
	users_free(u);
}

static void without_a_file_nobody_has_a_name(void **state)
{
	struct users *u;

	assert_int_equal(users_open(tree_path("passwd"), &u), 0);
	assert_string_equal(users_name(u, 0), "");
	users_free(u);
	tree_put("passwd", "");
	assert_int_equal(users_open(tree_path("passwd"), &u), 0);
	assert_string_equal(users_name(u, 0), "");
	users_free(u);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_has_a_name_and_a_number),
		TEST(the_first_of_two_names_counts),
		TEST(without_a_file_nobody_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
