/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "event/decode.h"
#include "event/encode.h"
#include "event/record.h"
#include "event/schema.h"
#include "stage/redact.h"
#include "unit/event/line.h"

#define KEY "sk-ant-api03-AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEf"

static const struct as_hdr who = {.boot_ns = 1, .start_ns = 2, .tgid = 3, .comm = "sh"};

static struct stage *stage;
static struct buf rec, line;
static const struct as_hdr *received; /* where the record lay */
static bool redacted;
static size_t n_received;

static void hear(struct emitter *self, const struct event *ev)
{
	n_received++;
	received = ev->rec;
	redacted = ev->rec->flags & AS_F_REDACTED;
	buf_reset(&line);
	event_encode_json(&line, ev);
	buf_cstr(&line);
}

static struct emitter out = {hear};

static int set_up(void **state)
{
	n_received = 0;
	return schema_init() < 0 ? -1 : redact_new(&out, &stage);
}

static int tear_down(void **state)
{
	stage->free(stage);
	buf_done(&rec);
	buf_done(&line);
	return 0;
}

/* Sends what is in `rec`; the sender's copy must not be written to. */
static void send(void)
{
	_cleanup_(freep) char *before = NULL;
	struct event ev;

	assert_int_equal(record_end(&rec, &ev), 0);
	before = malloc(rec.len);
	assert_non_null(before);
	memcpy(before, rec.data, rec.len);
	event_emit(&stage->in, &ev);
	assert_memory_equal(before, rec.data, rec.len);
}

static void send_exec(const char *argv, size_t n)
{
	struct as_span span, name;

	record_begin(&rec, AS_EV_EXEC, &who);
	name = record_add_str(&rec, "/usr/bin/curl");
	span = record_add(&rec, argv, n);
	record_struct(&rec, as_exec)->filename = name;
	record_struct(&rec, as_exec)->argv = span;
	send();
}

struct piece {
	uint32_t tgid;
	uint64_t stream;
	enum as_tls_direction direction;
};

static enum as_event_type payload_type = AS_EV_SSL_DATA;

static void send_piece(struct piece p, const void *text, size_t n)
{
	struct as_span span;

	record_begin(&rec, payload_type, &who);
	span = record_add(&rec, text, n);
	record_struct(&rec, as_hdr)->tgid = p.tgid;
	record_struct(&rec, as_ssl_data)->stream_id = p.stream;
	record_struct(&rec, as_ssl_data)->direction = p.direction;
	record_struct(&rec, as_ssl_data)->data = span;
	send();
}

static void send_text(struct piece p, const char *text)
{
	send_piece(p, text, strlen(text));
}

static void line_has(const char *text)
{
	if (!strstr(line.data, text))
		fail_msg("no %s in %s", text, line.data);
}

static void line_has_not(const char *text)
{
	if (strstr(line.data, text))
		fail_msg("%s in %s", text, line.data);
}

static void an_event_without_a_secret_passes_as_it_is(void **state)
{
	send_exec("curl\0http://localhost/\0", 23);
	assert_int_equal(n_received, 1);
	assert_ptr_equal(received, rec.data);
	assert_false(redacted);
	line_has_not("redacted");
}

static void a_secret_in_the_arguments_is_masked_in_a_copy(void **state)
{
	static const char argv[] = "curl\0-H\0Authorization: Bearer " KEY "\0http://x/\0";

	send_exec(argv, sizeof(argv) - 1);
	assert_ptr_not_equal(received, rec.data);
	assert_true(redacted);
	line_has_not("AbCdEfGh");
	line_has("\"curl\",\"-H\",\"Authorization: Bearer ");
	line_has("\"http://x/\"]");
	line_has("\"redacted\":true");
}

/* Whatever is left of a key is one: it may have been long enough. */
static void a_key_that_the_end_of_a_field_cuts_is_masked(void **state)
{
	static const char argv[] = "curl\0https://h/?x=1\0AIzaSyAbCdEfGhIjKlMnOpQrStUvWxYz01234567";
	struct as_span span;

	for (size_t n = 30; n <= sizeof(argv) - 1; n++) {
		record_begin(&rec, AS_EV_EXEC, &who);
		span = record_add(&rec, argv, n);
		span.full = sizeof(argv) + 1000;
		record_struct(&rec, as_exec)->argv = span;
		send();
		line_has_not("AbCd");
		line_has("\"AIz");
	}
}

/* A piece that is not told is seen nevertheless. */
static void a_name_in_a_piece_that_is_not_told_makes_a_secret(void **state)
{
	struct as_span span;
	struct event ev;

	record_begin(&rec, AS_EV_SSL_DATA, &who);
	span = record_add(&rec, "x-api-key: ", 11);
	record_struct(&rec, as_ssl_data)->stream_id = 7;
	record_struct(&rec, as_ssl_data)->data = span;
	assert_int_equal(record_end(&rec, &ev), 0);
	event_emit(redact_unseen(stage), &ev);
	assert_int_equal(n_received, 0);
	send_text((struct piece){.tgid = who.tgid, .stream = 7}, "fourteen-words\r\n");
	line_has_not("fourteen");
}

static void the_view_of_an_event_is_what_will_be_told(void **state)
{
	static const char argv[] = "tool\0--password=" KEY "\0";
	const struct event *view;
	struct event ev, masked;
	struct as_span span;

	record_begin(&rec, AS_EV_EXEC, &who);
	span = record_add(&rec, argv, sizeof(argv) - 1);
	record_struct(&rec, as_exec)->argv = span;
	assert_int_equal(record_end(&rec, &ev), 0);
	view = redact_view(stage, &ev, &masked);
	assert_ptr_equal(view, &masked);
	assert_null(memmem(view->rec, view->rec->len, "AbCdEfGh", 8));
	assert_non_null(memmem(rec.data, rec.len, "AbCdEfGh", 8));
	assert_int_equal(n_received, 0);
}

static void a_secret_in_the_next_argument_is_found(void **state)
{
	static const char argv[] = "tool\0--api-key\0" KEY "\0--verbose\0";

	send_exec(argv, sizeof(argv) - 1);
	assert_true(redacted);
	line_has_not("AbCdEfGh");
	line_has("\"--verbose\"]");
}

static void the_copy_is_not_used_for_the_next_event(void **state)
{
	send_exec(KEY, sizeof(KEY));
	assert_true(redacted);
	send_exec("ls\0", 3);
	assert_false(redacted);
	assert_ptr_equal(received, rec.data);
	line_has("[\"ls\"]");
}

static void several_fields_of_one_event_are_masked(void **state)
{
	struct as_span name, argv;

	record_begin(&rec, AS_EV_EXEC, &who);
	name = record_add_str(&rec, "/tmp/" KEY);
	argv = record_add_str(&rec, "first\npassword=hunter2hunter2 and " KEY);
	record_struct(&rec, as_exec)->filename = name;
	record_struct(&rec, as_exec)->argv = argv;
	send();
	line_has_not("AbCdEfGh");
	line_has_not("hunter2");
	line_has("\"filename\":\"/tmp/sk-");
	line_has("[\"first\\n");
}

static void lengths_stay_as_they_were(void **state)
{
	const struct as_exec *e;

	send_exec(KEY, sizeof(KEY));
	e = (const struct as_exec *)received;
	assert_int_equal(e->argv.len, sizeof(KEY));
	assert_int_equal(received->len, rec.len);
}

/* ---- streams ---- */

static const struct piece one = {10, 77, AS_TLS_WRITE};

static void a_secret_in_a_payload_is_masked(void **state)
{
	send_text(one, "POST / HTTP/1.1\r\nAuthorization: Bearer " KEY "\r\nHost: x\r\n\r\n{}");
	assert_true(redacted);
	line_has_not("AbCdEfGh");
	line_has("POST / HTTP/1.1");
	line_has("Host: x");
}

static void a_secret_cut_by_a_call_is_masked_in_both_parts(void **state)
{
	send_text(one, "GET / HTTP/1.1\r\nx-api-key: abcdefgh");
	assert_true(redacted);
	line_has_not("abcdefgh");
	send_text(one, "ijklmnop12345678\r\nHost: y\r\n\r\n");
	assert_true(redacted);
	line_has_not("ijklmnop");
	line_has("Host: y");
}

static void a_name_cut_from_its_secret_is_remembered(void **state)
{
	send_text(one, "GET / HTTP/1.1\r\nAuthori");
	assert_false(redacted);
	send_text(one, "zation: Bearer abcdefgh12345678\r\n\r\n");
	assert_true(redacted);
	line_has_not("abcdefgh");
}

static void what_one_stream_began_does_not_go_on_in_another(void **state)
{
	const struct piece others[] = {{10, 77, AS_TLS_READ},
				       {10, 78, AS_TLS_WRITE},
				       {11, 77, AS_TLS_WRITE},
				       {11, 77, AS_TLS_READ}};

	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		send_text(one, "x-api-key: abcdefgh");
		assert_true(redacted);
		send_text(others[i], "plainandinnocent\r\n");
		assert_false(redacted);
		line_has("plainandinnocent");
		send_text(one, "ijklmnop12345678\r\n\r\n");
		assert_true(redacted);
		line_has_not("ijklmnop");
	}
}

static void payload_without_TLS_is_a_stream_too(void **state)
{
	static const enum as_event_type types[] = {AS_EV_NET_DATA, AS_EV_STDIO_DATA};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		payload_type = types[i];
		a_name_cut_from_its_secret_is_remembered(state);
		what_one_stream_began_does_not_go_on_in_another(state);
	}
	payload_type = AS_EV_SSL_DATA;
}

static void many_streams_are_remembered_at_once(void **state)
{
	enum { STREAMS = 150 };

	for (uint32_t i = 0; i < STREAMS; i++) {
		const struct piece p = {10 + i % 3, 77 + i / 2, i % 2};

		send_text(p, "x-api-key: abcdefgh");
	}
	for (uint32_t i = 0; i < STREAMS; i++) {
		const struct piece p = {10 + i % 3, 77 + i / 2, i % 2};

		send_text(p, "ijklmnop12345678\r\n\r\n");
		line_has_not("ijklmnop");
	}
}

static void arguments_do_not_go_on_in_a_stream(void **state)
{
	static const char argv[] = "curl\0x-api-key: abcdefgh";

	send_exec(argv, sizeof(argv) - 1);
	send_text((struct piece){3, 0, 0}, "plainandinnocent\r\n");
	assert_false(redacted);
}

static uint32_t random_next(void)
{
	static uint64_t seed = 1;

	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(seed >> 33);
}

/* Cuts a text with keys anywhere; no piece shows eight bytes of any key, and the rest is there. */
static void planted_keys_never_come_out(void **state)
{
	static const char *const plants[] = {
		"Authorization: Bearer " KEY "\r\n",
		"x-api-key: " KEY "\r\n",
		"{\"api_key\": \"" KEY "\"}\n",
		" " KEY " ",
	};
	char text[4096];

	for (int round = 0; round < 2000; round++) {
		struct piece p = {random_next() % 5, random_next() % 50, random_next() % 2};
		size_t n = 0, cut;

		while (n < 800) {
			bool plant = random_next() % 4 == 0;

			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s",
					      plant ? plants[random_next() % ARRAY_SIZE(plants)]
						    : "\r\nmiddle of nowhere\r\n");
		}
		for (size_t at = 0; at < n; at += cut) {
			cut = 1 + random_next() % 400;
			cut = MIN(cut, n - at);
			send_piece(p, text + at, cut);
			for (size_t i = 14; i + 8 < sizeof(KEY); i++) {
				char part[9] = "";

				memcpy(part, &KEY[i], 8);
				line_has_not(part);
			}
		}
		/* the streams end apart, as texts do */
		send_text(p, "\r\n\r\n   \r\n");
	}
}

static void more_secrets_than_spans_are_all_masked(void **state)
{
	_cleanup_(buf_done) struct buf text = {};

	for (int i = 0; i < 600; i++)
		buf_add_lit(&text, KEY "\n");
	send_piece(one, text.data, text.len);
	assert_true(redacted);
	line_has_not("AbCdEfGh");
}

/* ---- JSON ---- */

static void send_headers(const char *json, size_t n, const char *path)
{
	struct as_span headers, target;

	record_begin(&rec, AS_EV_HTTP_REQUEST, &who);
	target = record_add_str(&rec, path);
	headers = record_add(&rec, json, n);
	record_struct(&rec, as_http_request)->path = target;
	record_struct(&rec, as_http_request)->headers = headers;
	send();
}

static void headers_become(const char *json, const char *want)
{
	send_headers(json, strlen(json), "/");
	line_has(want);
}

static void secret_headers_are_masked_also_in_arrays(void **state)
{
	headers_become("{\"host\":\"h\",\"authorization\":\"Bearer abcdef123456\",\"x\":\"y\"}",
		       "{\"host\":\"h\",\"authorization\":\"Bearer ************\",\"x\":\"y\"}");
	assert_true(redacted);
	headers_become("{\"set-cookie\":[\"a=b; Path=/\",\"c=\\\"d\\\"\"],\"x\":[\"1\",\"2\"]}",
		       "{\"set-cookie\":[\"***********\",\"*******\"],\"x\":[\"1\",\"2\"]}");
	headers_become("{\"authorization\":[\"one\",\"two\"]}",
		       "{\"authorization\":[\"***\",\"***\"]}");
	headers_become("{\"x-api-key\" : [ \"one\" ],\"cookie\":\"a=b\"}",
		       "{\"x-api-key\" : [ \"***\" ],\"cookie\":\"***\"}");
	headers_become("{\"x\":[\"" KEY "\"],\"y\":\"z\"}", "\"],\"y\":\"z\"}");
	line_has_not("AbCdEfGh");
}

/* JSON has no stars outside of strings. */
static void secret_numbers_become_strings(void **state)
{
	headers_become("{\"password\":12345678,\"n\":-1}", "{\"password\":\"******\",\"n\":-1}");
	assert_true(redacted);
	headers_become("{\"n\":1,\"api_key\" : -1.5E+3}", "{\"n\":1,\"api_key\" : \"*****\"}");
	headers_become("[{\"passwd\":7},{\"passwd\":42}]", "[{\"passwd\":0},{\"passwd\":\"\"}]");
	headers_become("{\"passwd\":12.5}", "{\"passwd\":\"**\"}");
	headers_become("{\"x\":\"{\\\"password\\\":1234}\"}",
		       "{\"x\":\"{\\\"password\\\":****}\"}");
	headers_become("{\"max_tokens\":100,\"password\":null,\"n\":[1,2]}",
		       "{\"max_tokens\":100,\"password\":null,\"n\":[1,2]}");
	assert_false(redacted);
}

static void lists_of_secrets_are_masked_as_deep_as_they_go(void **state)
{
	headers_become("{\"api_key\":[[\"ab\",{\"cd\":\"ef\"}],1,\"gh\"],\"x\":[\"y\"]}",
		       "{\"api_key\":[[\"**\",{\"**\":\"**\"}],1,\"**\"],\"x\":[\"y\"]}");
	headers_become("{\"authorization\":[\"Bearer ab\"]}",
		       "{\"authorization\":[\"Bearer **\"]}");
	headers_become("{\"token\":[\"ab\"],\"y\":\"z\"}", "{\"token\":[\"**\"],\"y\":\"z\"}");
	headers_become("{\"x\":\"{\\\"cookie\\\":[\\\"ab\\\"]}\",\"y\":[\"z\"]}",
		       "{\"x\":\"{\\\"cookie\\\":[\\\"**\\\"]}\",\"y\":[\"z\"]}");
}

static void headers_without_a_secret_are_not_copied(void **state)
{
	headers_become("{\"accept\":[\"a\",\"b\"],\"n\":[1,2]}",
		       "{\"accept\":[\"a\",\"b\"],\"n\":[1,2]}");
	assert_false(redacted);
	assert_ptr_equal(received, rec.data);
}

static void a_secret_in_the_query_is_masked(void **state)
{
	send_headers("{}", 2, "/v1/models?key=AIzaSyA0123456789012345678901234567890123&alt=sse");
	line_has_not("0123456789");
	line_has("&alt=sse");
	line_has("/v1/models?key=");
}

/* Any JSON stays JSON, and as long as it was. */
static void masked_JSON_is_JSON(void **state)
{
	static const char *const parts[] = {
		"authorization",
		"x-api-key",
		"set-cookie",
		"password",
		"token",
		KEY,
		"Bearer ",
		"\\\"",
		"\\\\",
		"\\n",
		"\\u0000",
		"\\u00e9",
		"\xc3\xa9",
		"\xf0\x9f\x98\x80",
		": ",
		"=",
		"?key=",
		"&sig=",
		"//user:pw@host",
		"-----BEGIN RSA PRIVATE KEY-----",
		"-----END RSA PRIVATE KEY-----",
		"'",
		",",
		"[",
		"]",
		"{",
		"}",
		"--token ",
		" ",
		"eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJhIjoxfQ.0123456789abcdef",
		"\\\"password\\\":\\\"",
		"Cookie: ",
		"API_KEY=",
		"sk-\\u0041",
		"\\nCookie: a=",
		"\\u000a",
		"\\\"cookie\\\":[\\\"",
		"\\\"password\\\":1",
	};
	static const char *const bare[] = {
		"12345678901234567890", "null", "7", "-1.5e+3", "42", "{}", "[]", "true",
	};

	for (int round = 0; round < 20000; round++) {
		_cleanup_(buf_done) struct buf json = {};
		const char *wrong;
		struct event ev;

		buf_add_char(&json, '{');
		for (uint32_t i = 0, members = 1 + random_next() % 6; i < members; i++) {
			uint32_t kind = random_next() % 5, strings = kind == 1 ? 3 : 1;
			bool first = random_next() % 2; /* a name is known by its end */

			if (i)
				buf_add_char(&json, ',');
			buf_add_char(&json, '"');
			if (first)
				buf_printf(&json, "%u", i);
			for (uint32_t k = random_next() % 3; k; k--)
				buf_add_str(&json, parts[random_next() % ARRAY_SIZE(parts)]);
			if (!first)
				buf_printf(&json, "_%u", i);
			buf_printf(&json, "\"%s:", kind == 3 ? " \t " : "");
			if (kind == 2) {
				buf_add_str(&json, bare[random_next() % ARRAY_SIZE(bare)]);
				continue;
			}
			buf_add_str(&json, kind == 1 ? "[" : "");
			for (uint32_t k = 0; k < strings; k++) {
				buf_add_str(&json, k ? ",\"" : "\"");
				for (uint32_t n = random_next() % 6; n; n--)
					buf_add_str(&json,
						    parts[random_next() % ARRAY_SIZE(parts)]);
				buf_add_char(&json, '"');
			}
			buf_add_str(&json, kind == 1 ? "]" : "");
		}
		buf_add_char(&json, '}');
		send_headers(json.data, json.len, "/");
		assert_int_equal(event_decode(rec.data, rec.len, &ev), 0);
		wrong = line_check(line.data, line.len, ev.desc);
		if (wrong)
			fail_msg("%s: %.*s became %s", wrong, (int)json.len, json.data, line.data);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

/* Three of them are secrets by their name, one by its form. */
static void who_a_process_is_keeps_its_secrets(void **state)
{
	static const char env[] =
		"A_TOKEN=it's mine\0LANG=C\0OPENAI_API_KEY=abcdefghijklmnop\0OTHER=" KEY
		"\0DB_PASSWORD=hunter2 hunter2";
	static const char argv[] = "curl\0-H\0Authorization: Bearer abcdefghijklmnop1234";
	struct as_span span, arguments;

	record_begin(&rec, AS_EV_PROCESS_INFO, &who);
	arguments = record_add(&rec, argv, sizeof(argv));
	span = record_add(&rec, env, sizeof(env));
	record_struct(&rec, as_process_info)->argv = arguments;
	record_struct(&rec, as_process_info)->env = span;
	send();
	assert_true(redacted);
	assert_non_null(strstr(line.data, "A_TOKEN=***"));
	assert_null(strstr(line.data, "mine"));
	assert_non_null(strstr(line.data, "LANG=C"));
	assert_non_null(strstr(line.data, "OPENAI_API_KEY=***"));
	assert_non_null(strstr(line.data, "DB_PASSWORD=***"));
	assert_null(strstr(line.data, "abcdefghijklmnop"));
	assert_null(strstr(line.data, "hunter2"));
	assert_null(strstr(line.data, KEY));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_event_without_a_secret_passes_as_it_is),
		TEST(a_secret_in_the_arguments_is_masked_in_a_copy),
		TEST(a_secret_in_the_next_argument_is_found),
		TEST(a_key_that_the_end_of_a_field_cuts_is_masked),
		TEST(a_name_in_a_piece_that_is_not_told_makes_a_secret),
		TEST(the_view_of_an_event_is_what_will_be_told),
		TEST(the_copy_is_not_used_for_the_next_event),
		TEST(several_fields_of_one_event_are_masked),
		TEST(lengths_stay_as_they_were),
		TEST(a_secret_in_a_payload_is_masked),
		TEST(a_secret_cut_by_a_call_is_masked_in_both_parts),
		TEST(a_name_cut_from_its_secret_is_remembered),
		TEST(what_one_stream_began_does_not_go_on_in_another),
		TEST(payload_without_TLS_is_a_stream_too),
		TEST(many_streams_are_remembered_at_once),
		TEST(arguments_do_not_go_on_in_a_stream),
		TEST(planted_keys_never_come_out),
		TEST(more_secrets_than_spans_are_all_masked),
		TEST(secret_headers_are_masked_also_in_arrays),
		TEST(secret_numbers_become_strings),
		TEST(lists_of_secrets_are_masked_as_deep_as_they_go),
		TEST(headers_without_a_secret_are_not_copied),
		TEST(a_secret_in_the_query_is_masked),
		TEST(masked_JSON_is_JSON),
		TEST(who_a_process_is_keeps_its_secrets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
