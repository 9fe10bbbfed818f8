/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <json-c/json.h>

#include "base/clock.h"
#include "event/encode.h"
#include "event/schema.h"
#include "pipeline/ledger.h"

static char said[4096]; /* loss events, as text */
static struct buf line; /* the last event, as JSON */

static void hear(struct emitter *self, const struct event *ev)
{
	const struct as_loss *l = (const void *)ev->rec;
	size_t len = strlen(said);

	buf_reset(&line);
	event_encode_json(&line, ev);
	if (ev->rec->type != AS_EV_LOSS)
		return;
	snprintf(said + len, sizeof(said) - len, "%.*s %.*s +%llu=%llu;", (int)l->reason.len,
		 (const char *)ev->rec + l->reason.off, (int)l->event.len,
		 (const char *)ev->rec + l->event.off, (unsigned long long)l->count,
		 (unsigned long long)l->total);
}

static struct emitter out = {hear};

static int set_up(void **state)
{
	said[0] = '\0';
	return schema_init();
}

static int tear_down(void **state)
{
	buf_done(&line);
	return 0;
}

static uint64_t data_number(const char *key)
{
	struct json_object *root, *data, *value;
	uint64_t n;

	root = json_tokener_parse(buf_cstr(&line));
	assert_non_null(root);
	assert_true(json_object_object_get_ex(root, "data", &data));
	assert_true(json_object_object_get_ex(data, key, &value));
	n = json_object_get_uint64(value);
	json_object_put(root);
	return n;
}

static void streams_are(const char *expected)
{
	const char *at = strstr(buf_cstr(&line), "\"streams\":");

	assert_non_null(at);
	at += strlen("\"streams\":");
	if (strncmp(at, expected, strlen(expected)) != 0)
		fail_msg("streams: %s", at);
}

static void totals(const struct ledger *l)
{
	ledger_emit_totals(l, AS_EV_STOP, "SIGINT", clock_boot_ns(), &out);
}

/* ---- losses ---- */

static void without_growth_there_is_no_loss_event(void **state)
{
	struct ledger now = {.missed = 3, .bad = 2};

	now.rows[AS_EV_EXEC] = (struct ledger_row){
		.produced = 9, .dropped_ring = 1, .dropped_output = 2, .shed = 3};
	ledger_emit_losses(&now, &now, &out);
	assert_string_equal(said, "");
}

static void each_count_that_grew_is_one_event_with_growth_and_total(void **state)
{
	struct ledger before = {.missed = 3, .bad = 1}, now = {.missed = 5, .bad = 4};

	before.rows[AS_EV_EXEC].dropped_ring = 10;
	now.rows[AS_EV_EXEC].dropped_ring = 12;
	now.rows[AS_EV_EXEC].dropped_output = 1;
	now.rows[AS_EV_EXEC].dropped_memory = 9;
	now.rows[AS_EV_SSL_DATA].shed = 7;
	ledger_emit_losses(&before, &now, &out);
	assert_string_equal(said,
			    "ring full process.exec +2=12;output process.exec +1=1;"
			    "no memory process.exec +9=9;limit ssl.data +7=7;not understood * +3=4;"
			    "skipped by the kernel * +2=5;");
}

static void what_was_asked_for_or_delivered_is_no_loss(void **state)
{
	struct ledger before = {}, now = {.late = 5};

	now.rows[AS_EV_EXEC] =
		(struct ledger_row){.produced = 9, .delivered = 4, .filtered = 5, .unread = 1};
	ledger_emit_losses(&before, &now, &out);
	assert_string_equal(said, "");
}

/* ---- totals ---- */

static void rows_add_up_and_the_difference_is_nothing(void **state)
{
	struct ledger l = {.missed = 7, .late = 3};

	l.rows[AS_EV_EXEC] = (struct ledger_row){.produced = 21,
						 .delivered = 1,
						 .dropped_ring = 2,
						 .dropped_output = 2,
						 .dropped_memory = 1,
						 .filtered = 4,
						 .shed = 11};
	l.rows[AS_EV_FORK] = (struct ledger_row){.produced = 100, .delivered = 100};
	totals(&l);
	assert_int_equal(data_number("produced"), 128);
	assert_int_equal(data_number("delivered"), 101);
	assert_int_equal(data_number("dropped"), 5);
	assert_int_equal(data_number("missed"), 7);
	assert_int_equal(data_number("filtered"), 4);
	assert_int_equal(data_number("shed"), 11);
	assert_int_equal(data_number("lost"), 12);
	assert_int_equal(data_number("late"), 3);
	assert_int_equal(data_number("difference"), 0);
	assert_true(data_number("rss_kb") > 0);
	assert_int_equal(ledger_delivered(&l), 101);
	assert_int_equal(ledger_lost(&l), 12);
}

static void what_is_not_accounted_for_shows_as_difference_either_way(void **state)
{
	struct ledger l = {};

	l.rows[AS_EV_EXEC] = (struct ledger_row){.produced = 10, .delivered = 7};
	totals(&l);
	assert_int_equal(data_number("difference"), 3);
	l.rows[AS_EV_EXEC].delivered = 12;
	totals(&l);
	assert_int_equal(data_number("difference"), 2);
}

static void records_that_were_not_understood_are_lost(void **state)
{
	struct ledger l = {.bad = 2};

	l.rows[AS_EV_EXEC] = (struct ledger_row){.produced = 10, .delivered = 8};
	totals(&l);
	assert_int_equal(data_number("difference"), 0);
	assert_int_equal(data_number("lost"), 2);
	assert_int_equal(ledger_lost(&l), 2);
}

static void internal_types_are_accounted_for_but_not_delivered_to_a_person(void **state)
{
	struct ledger l = {};

	l.rows[AS_EV_FILE_SEEN] = (struct ledger_row){.produced = 4, .delivered = 4};
	l.rows[AS_EV_EXEC] = (struct ledger_row){.produced = 1, .delivered = 1};
	totals(&l);
	assert_int_equal(data_number("difference"), 0);
	assert_int_equal(ledger_delivered(&l), 1);
}

static void streams_tell_what_is_not_zero_by_type(void **state)
{
	struct ledger l = {};

	totals(&l);
	streams_are("{}");
	l.rows[AS_EV_EXEC] = (struct ledger_row){.produced = 1, .delivered = 2, .dropped_ring = 3};
	l.rows[AS_EV_STOP] = (struct ledger_row){.dropped_output = 4,
						 .dropped_memory = 7,
						 .filtered = 5,
						 .shed = 6,
						 .unread = UINT64_MAX};
	totals(&l);
	streams_are("{\"process.exec\":{\"produced\":1,\"delivered\":2,\"ring_full\":3},"
		    "\"agentsight.stop\":{\"output_dropped\":4,\"no_memory\":7,\"filtered\":5,"
		    "\"shed\":6,"
		    "\"unread\":18446744073709551615}}");
}

static void tables_tell_what_found_no_room_and_what_went(void **state)
{
	struct ledger l = {};

	totals(&l);
	assert_null(strstr(buf_cstr(&line), "\"tables\""));
	l.tables[TABLE_PROCESSES].refused = 1;
	l.tables[TABLE_CONNECTIONS] = (struct table_counts){.refused = 2, .evicted = UINT64_MAX};
	l.tables[TABLE_CGROUPS].evicted = 4;
	totals(&l);
	assert_non_null(strstr(buf_cstr(&line), ",\"tables\":{\"processes\":{\"refused\":1},"
						"\"connections\":{\"refused\":2,"
						"\"evicted\":18446744073709551615},"
						"\"cgroups\":{\"evicted\":4}}}"));
}

static void every_table_has_a_name(void **state)
{
	struct ledger l = {};

	for (size_t i = 0; i < LEDGER_TABLES; i++)
		l.tables[i].refused = 1;
	totals(&l);
	assert_non_null(strstr(buf_cstr(&line), "\"tables\":{\""));
	assert_null(strstr(buf_cstr(&line), "null"));
}

static void the_reason_is_left_out_when_there_is_none(void **state)
{
	struct ledger l = {};

	ledger_emit_totals(&l, AS_EV_STATS, NULL, clock_boot_ns(), &out);
	assert_null(strstr(buf_cstr(&line), "\"reason\""));
	assert_non_null(strstr(buf_cstr(&line), "\"type\":\"stats\""));
	totals(&l);
	assert_non_null(strstr(buf_cstr(&line), "\"type\":\"stop\",\"reason\":\"SIGINT\","));
}

/* ---- where the counts come from ---- */

static void each_room_is_asked_for_its_own_counts(void **state)
{
	uint64_t entered[AS_EV_COUNT] = {}, arrived[AS_EV_COUNT] = {}, filtered[AS_EV_COUNT] = {};
	uint64_t shed[AS_EV_COUNT] = {};
	struct writer_counts written = {.delivered[AS_EV_LOSS] = 2, .dropped[AS_EV_LOSS] = 3};
	struct ledger_inputs in = {.missed = 6,
				   .written = &written,
				   .late = 1,
				   .order = {.bad = 2, .unheld[AS_EV_LOSS] = 8},
				   .entered = entered,
				   .arrived = arrived,
				   .filtered = filtered,
				   .shed = shed,
				   .tables[TABLE_TLS_FILES] = {7, 8}};
	struct ledger l;

	arrived[AS_EV_LOSS] = 4; /* and what was shed never arrived */
	filtered[AS_EV_LOSS] = 2;
	shed[AS_EV_LOSS] = 1;
	arrived[AS_EV_FILE_SEEN] = 0;
	entered[AS_EV_FILE_SEEN] = 9;

	ledger_take(&in, &l);
	assert_int_equal(l.missed, 6);
	assert_int_equal(l.late, 1);
	assert_int_equal(l.bad, 2);
	assert_int_equal(l.rows[AS_EV_LOSS].produced, 13);
	assert_int_equal(l.rows[AS_EV_LOSS].dropped_memory, 8);
	assert_int_equal(l.rows[AS_EV_LOSS].delivered, 2);
	assert_int_equal(l.rows[AS_EV_LOSS].filtered, 2);
	assert_int_equal(l.rows[AS_EV_LOSS].shed, 1);
	assert_int_equal(l.rows[AS_EV_LOSS].dropped_output, 3);
	assert_int_equal(l.rows[AS_EV_FILE_SEEN].delivered, 9);
	assert_int_equal(l.rows[AS_EV_EXEC].produced, 0);
	assert_int_equal(l.tables[TABLE_TLS_FILES].refused, 7);
	assert_int_equal(l.tables[TABLE_TLS_FILES].evicted, 8);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(without_growth_there_is_no_loss_event),
		TEST(each_count_that_grew_is_one_event_with_growth_and_total),
		TEST(what_was_asked_for_or_delivered_is_no_loss),
		TEST(rows_add_up_and_the_difference_is_nothing),
		TEST(what_is_not_accounted_for_shows_as_difference_either_way),
		TEST(records_that_were_not_understood_are_lost),
		TEST(internal_types_are_accounted_for_but_not_delivered_to_a_person),
		TEST(streams_tell_what_is_not_zero_by_type),
		TEST(tables_tell_what_found_no_room_and_what_went),
		TEST(every_table_has_a_name),
		TEST(the_reason_is_left_out_when_there_is_none),
		TEST(each_room_is_asked_for_its_own_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
