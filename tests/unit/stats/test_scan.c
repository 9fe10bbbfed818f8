/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "stats/scan.h"

static char text[4096 + SCAN_SLACK];

static enum scan_event scan(const char *line, struct scan *s)
{
	size_t n = strlen(line);

	memset(text, 'x', sizeof(text));
	memcpy(text, line, n);
	return scan_line(text, n, s);
}

#define ROW(members)                                                                 \
	"{\"timestamp\":12,\"source\":\"system\",\"pid\":7,\"comm\":\"a\\\"b\\\\\"," \
	"\"exec_id\":\"7@99\",\"data\":{\"type\":\"system_metrics\"," members "}}"

static void members_are_found_wherever_they_stand(void **state)
{
	struct scan s;
	uint32_t pid = 0;
	uint64_t start = 0;

	assert_int_equal(scan(ROW("\"cpu\":{\"percent\":\"12.34\",\"cores\":4},"
				  "\"other\":{\"x\":[1,{\"a\":\"}]\"}]},"
				  "\"memory\":{\"rss_kb\":1234567890123}"),
			      &s),
			 SCAN_EV_PROCESS);
	assert_int_equal(scan_centi(&s, SCAN_CPU_PERCENT), 1234);
	assert_int_equal(scan_u64(&s, SCAN_RSS), 1234567890123);
	assert_int_equal(scan_u64(&s, SCAN_TIMESTAMP), 12);
	assert_true(scan_exec_id(&s, &pid, &start));
	assert_int_equal(pid, 7);
	assert_int_equal(start, 99);
	assert_false(scan_has(&s, SCAN_PSS));
	assert_int_equal(scan_raw(&s, SCAN_COMM).len, 6);
}

/* What was learnt of one line must not be seen in the next. */
static void keys_in_another_order_are_found_as_well(void **state)
{
	struct scan s;

	for (int i = 0; i < 3; i++) {
		assert_int_equal(scan(ROW("\"memory\":{\"rss_kb\":1,\"pss_kb\":2}"), &s),
				 SCAN_EV_PROCESS);
		assert_int_equal(scan_u64(&s, SCAN_RSS), 1);
		assert_int_equal(scan_u64(&s, SCAN_PSS), 2);
		assert_int_equal(scan(ROW(" \"memory\" : { \"pss_kb\" : 3 , \"rss_kb\" : 4 }"), &s),
				 SCAN_EV_PROCESS);
		assert_int_equal(scan_u64(&s, SCAN_RSS), 4);
		assert_int_equal(scan_u64(&s, SCAN_PSS), 3);
		/* the same keys in another object are others */
		scan(ROW("\"memory\":{\"pss_kb\":5},\"rss_kb\":6"), &s);
		assert_false(scan_has(&s, SCAN_RSS));
	}
}

static void numbers_of_all_lengths_are_read(void **state)
{
	static const uint64_t numbers[] = {0,
					   9,
					   12345678,
					   123456789,
					   9999999999999999,
					   10000000000000000,
					   1795280619073890020,
					   UINT64_MAX};
	struct scan s;
	char line[512];

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		snprintf(line, sizeof(line), ROW("\"memory\":{\"rss_kb\":%llu}"),
			 (unsigned long long)numbers[i]);
		scan(line, &s);
		assert_true(scan_u64(&s, SCAN_RSS) == numbers[i]);
	}
	scan(ROW("\"memory\":{\"rss_kb\":99999999999999999999999}"), &s);
	assert_true(scan_u64(&s, SCAN_RSS) == UINT64_MAX);
	scan(ROW("\"cpu\":{\"percent\":1.5e-05}"), &s);
	assert_int_equal(scan_centi(&s, SCAN_CPU_PERCENT), 0);
	scan(ROW("\"cpu\":{\"percent\":99.995}"), &s);
	assert_int_equal(scan_centi(&s, SCAN_CPU_PERCENT), 10000);
	scan(ROW("\"cpu\":{\"percent\":-0.5}"), &s);
	assert_int_equal(scan_centi(&s, SCAN_CPU_PERCENT), -50);
}

static void a_line_cut_anywhere_is_no_record(void **state)
{
	const char *line = ROW("\"cpu\":{\"percent\":\"12.34\"},\"memory\":{\"rss_kb\":12}");
	struct scan s;

	for (size_t n = 1; n < strlen(line); n++) {
		char cut[512];

		memcpy(cut, line, n);
		cut[n] = '\0';
		assert_int_equal(scan(cut, &s), SCAN_EV_BAD);
	}
	assert_int_equal(scan("not json", &s), SCAN_EV_BAD);
	assert_int_equal(scan("{}x", &s), SCAN_EV_BAD);
	assert_int_equal(scan("", &s), SCAN_EV_NONE);
}

static void what_is_not_wanted_is_left_at_its_type(void **state)
{
	struct scan s;

	assert_int_equal(
		scan("{\"timestamp\":1,\"source\":\"ssl\",\"data\":{\"type\":\"data\",cut", &s),
		SCAN_EV_NONE);
	assert_int_equal(scan("{\"timestamp\":1,\"source\":\"network\",\"data\":{\"type\":\"exit\","
			      "\"x\":1}}",
			      &s),
			 SCAN_EV_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_are_found_wherever_they_stand),
		cmocka_unit_test(keys_in_another_order_are_found_as_well),
		cmocka_unit_test(numbers_of_all_lengths_are_read),
		cmocka_unit_test(a_line_cut_anywhere_is_no_record),
		cmocka_unit_test(what_is_not_wanted_is_left_at_its_type),
	};

	scan_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
