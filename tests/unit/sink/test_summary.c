/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "event/record.h"
#include "event/schema.h"
#include "sink/summary.h"

static struct buf record;

static void *begin(unsigned type)
{
	const struct as_hdr h = {.tgid = 1, .comm = "test"};

	buf_done(&record);
	record_begin(&record, type, &h);
	return record.data;
}

static void feed(struct summary *s)
{
	struct event ev = {};

	assert_int_equal(record_end(&record, &ev), 0);
	summary_event(s, &ev);
}

static void feed_flow(struct summary *s, unsigned type, uint64_t id, uint64_t tx, uint64_t rx)
{
	struct as_flow *e = begin(type);

	e->conn_id = id;
	e->tx_bytes = tx;
	e->rx_bytes = rx;
	feed(s);
}

static void feed_tls(struct summary *s, const char *text)
{
	struct as_span data;

	begin(AS_EV_SSL_DATA);
	data = record_add_str(&record, text);
	record_struct(&record, as_ssl_data)->data = data;
	record_struct(&record, as_ssl_data)->len = strlen(text);
	feed(s);
}

static void assert_prints(const struct summary *s, const char *part)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	summary_print(s, f, false);
	fclose(f);
	if (!strstr(text, part))
		fail_msg("'%s' is not in '%s'", part, text);
	free(text);
}

static void sums_of_a_connection_are_counted_once(void **state)
{
	struct summary *s = *state;

	feed_flow(s, AS_EV_FLOW, 7, 100, 10);
	feed_flow(s, AS_EV_FLOW, 7, 300, 20);
	feed_flow(s, AS_EV_CLOSE, 7, 400, 30);
	assert_prints(s, "400 B sent, 30 B received");
	/* the same id again is another connection */
	feed_flow(s, AS_EV_CLOSE, 7, 1, 1);
	assert_prints(s, "401 B sent, 31 B received");
}

static void connections_beyond_the_table_count_at_their_end(void **state)
{
	struct summary *s = *state;

	for (uint64_t id = 1; id <= 20000; id++)
		feed_flow(s, AS_EV_FLOW, id, 1, 1);
	for (uint64_t id = 1; id <= 20000; id++)
		feed_flow(s, AS_EV_CLOSE, id, 1024, 2048);
	assert_prints(s, "19.5 MiB sent, 39.1 MiB received");
}

static void requests_are_counted_beside_the_calls(void **state)
{
	struct summary *s = *state;

	feed_tls(s, "GET /x HTTP/1.1\r\n\r\n");
	begin(AS_EV_HTTP_REQUEST);
	feed(s);
	assert_prints(s, "TLS          1 call, 19 B of plaintext, 1 HTTP request\n");
	feed_tls(s, "HTTP/1.1 200 OK\r\n");
	begin(AS_EV_HTTP_RESPONSE);
	feed(s);
	begin(AS_EV_HTTP_REQUEST);
	feed(s);
	assert_prints(s, "TLS          2 calls, 36 B of plaintext, 2 HTTP requests");
}

static void one_is_no_plural(void **state)
{
	struct summary *s = *state;

	assert_prints(s, "0 programs started");
	begin(AS_EV_EXEC);
	feed(s);
	((struct as_file_io *)begin(AS_EV_FILE_WRITE))->count = 1;
	feed(s);
	assert_prints(s, "1 program started");
	assert_prints(s, "written in 1 call,");
}

static void failures_are_counted_apart(void **state)
{
	struct summary *s = *state;

	begin(AS_EV_EXIT);
	feed(s);
	((struct as_exit *)begin(AS_EV_EXIT))->exit_code = 1;
	feed(s);
	((struct as_exit *)begin(AS_EV_EXIT))->signal = 9;
	feed(s);
	((struct as_file_open *)begin(AS_EV_FILE_OPEN))->error = -2;
	feed(s);
	assert_prints(s, "3 ended, 2 with an error");
	assert_prints(s, "0 opened, 1 not");
}

static void feed_loss(struct summary *s, const char *reason, uint64_t count)
{
	struct as_span span;

	begin(AS_EV_LOSS);
	span = record_add_str(&record, reason);
	record_struct(&record, as_loss)->reason = span;
	record_struct(&record, as_loss)->count = count;
	feed(s);
}

static void what_was_left_out_at_a_limit_is_not_lost(void **state)
{
	struct summary *s = *state;

	feed_loss(s, "limit", 7);
	assert_prints(s, "lost events  0");
}

static void the_ledger_has_the_last_word_on_losses(void **state)
{
	struct summary *s = *state;

	feed_loss(s, "ring full", 3);
	assert_prints(s, "lost events  3");
	((struct as_stats *)begin(AS_EV_STOP))->lost = 5;
	feed(s);
	assert_prints(s, "lost events  5");
}

static int set_up(void **state)
{
	return schema_init() || summary_new((struct summary **)state);
}

static int tear_down(void **state)
{
	summary_free(*state);
	buf_done(&record);
	return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(sums_of_a_connection_are_counted_once),
		TEST(connections_beyond_the_table_count_at_their_end),
		TEST(requests_are_counted_beside_the_calls),
		TEST(one_is_no_plural),
		TEST(failures_are_counted_apart),
		TEST(what_was_left_out_at_a_limit_is_not_lost),
		TEST(the_ledger_has_the_last_word_on_losses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
