/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/line.h"

#define RESET "\033[0m"

/* A word in red, one as it is, one in green. */
static void three_words(struct line *l)
{
	line_style(l, LINE_RED);
	line_str(l, "red");
	line_style(l, LINE_PLAIN);
	line_str(l, "word");
	line_style(l, LINE_GREEN);
	line_str(l, "green");
	line_style(l, LINE_PLAIN);
	line_str(l, "end");
}

static const char *last_style(const char *text)
{
	const char *last = NULL;

	while ((text = strstr(text, "\033[")))
		last = text++;
	return last;
}

static void no_style_outlives_its_line_wherever_it_is_cut(void **state)
{
	for (unsigned columns = 1; columns < 20; columns++) {
		_cleanup_(buf_done) struct buf b = {};
		const char *last;
		struct line l;

		line_begin(&l, &b, columns, true);
		three_words(&l);
		line_end(&l);
		buf_add_char(&b, '\0');
		assert_false(b.failed);
		last = last_style(b.data);
		if (last)
			assert_memory_equal(last, RESET, strlen(RESET));
	}
}

static void what_is_cut_off_takes_its_style_along(void **state)
{
	_cleanup_(buf_done) struct buf b = {};
	struct line l;

	line_begin(&l, &b, 3, true);
	line_str(&l, "ab");
	line_style(&l, LINE_RED);
	line_str(&l, "cd");
	line_end(&l);
	buf_add_char(&b, '\0');
	assert_string_equal(b.data, "ab…\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_style_outlives_its_line_wherever_it_is_cut),
		cmocka_unit_test(what_is_cut_off_takes_its_style_along),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
