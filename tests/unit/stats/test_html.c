/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "recording.h"
#include "stats/html.h"

static char *page(const char *comm)
{
	struct stats *s = NULL;
	struct buf b = {0};
	char *text;

	stats_new(&s);
	recording_fill(s, 1, comm);
	stats_html(&b, s);
	assert_false(b.failed);
	text = strdup(buf_cstr(&b));
	assert_int_equal(strlen(text), b.len); /* no NUL inside */
	buf_done(&b);
	stats_free(s);
	return text;
}

static size_t times(const char *text, const char *what)
{
	size_t n = 0;

	for (text = strstr(text, what); text; text = strstr(text + 1, what))
		n++;
	return n;
}

static void what_a_program_calls_itself_is_text_only(void **state)
{
	char *text = page("<img src=x onerror=alert(1)>'\"&</script>\x01\xff\xe2\x80\xae");

	assert_int_equal(times(text, "<img"), 0);
	assert_true(times(text,
			  "&lt;img src=x onerror=alert(1)&gt;&#39;&quot;&amp;&lt;/script&gt;") > 0);
	assert_int_equal(times(text, "</script>"), 2); /* the data's and the script's */
	assert_int_equal(times(text, "\xe2\x80\xae"), 0);
	assert_int_equal(times(text, "\xff"), 0);
	assert_int_equal(times(text, "\x01"), 0);
	assert_true(times(text, "\\u202e") > 0);
	free(text);
}

static void nothing_is_fetched_from_elsewhere(void **state)
{
	char *text = page("cc1");

	assert_int_equal(times(text, "http:"), 0);
	assert_int_equal(times(text, "https:"), 0);
	assert_int_equal(times(text, "src="), 0);
	assert_int_equal(times(text, "@import"), 0);
	assert_int_equal(times(text, "url("), 0);
	assert_int_equal(times(text, "default-src 'none'"), 1);
	free(text);
}

static void charts_phases_and_alerts_are_drawn(void **state)
{
	char *text = page("cc1");

	/* CPU, memory, disk, threads and processes; no network here; models and tools */
	assert_int_equal(times(text, "<svg "), 5);
	assert_int_equal(times(text, "<svg "), times(text, "</svg>"));
	assert_int_equal(times(text, "class=\"al\""), 5);
	assert_int_equal(times(text, "class=\"p "), 10);
	assert_true(strlen(text) < 300000);
	assert_int_equal(times(text, "NaN") + times(text, "\"inf") + times(text, "nan,"), 0);
	free(text);
}

static void an_empty_run_is_a_page_as_well(void **state)
{
	struct stats *s = NULL;
	struct buf b = {0};

	stats_new(&s);
	stats_html(&b, s);
	assert_non_null(strstr(buf_cstr(&b), "</html>"));
	buf_done(&b);
	stats_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_program_calls_itself_is_text_only),
		cmocka_unit_test(nothing_is_fetched_from_elsewhere),
		cmocka_unit_test(charts_phases_and_alerts_are_drawn),
		cmocka_unit_test(an_empty_run_is_a_page_as_well),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
