/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/utf8.h"
#include "event/record.h"
#include "event/schema.h"
#include "sink/terminal.h"
#include "sink/writer.h"

#define WHEN_NS (1700000000ULL * 1000000000 + 123456789) /* 22:13:20 UTC */

static const struct as_hdr header = {.tgid = 4242, .tid = 4242, .comm = "curl"};

/* ---- making events, reading lines ---- */

static struct buf record, text;

static void *begin(unsigned type)
{
	buf_done(&record);
	record_begin(&record, type, &header);
	return record.data;
}

static const char *line_of(unsigned columns, bool colour)
{
	struct event ev = {};

	assert_int_equal(record_end(&record, &ev), 0);
	ev.unix_ns = WHEN_NS;
	ev.label = "/usr/lib/libssl.so.3";
	buf_reset(&text);
	terminal_line(&text, &ev, columns, colour);
	return buf_cstr(&text);
}

static struct as_addr address(const char *ip, uint16_t port)
{
	struct as_addr a = {.family = AF_INET, .port = port};

	assert_int_equal(inet_pton(AF_INET, ip, a.ip + 12), 1);
	return a;
}

static void exec_of(const char *argv, size_t n)
{
	struct as_span s;

	begin(AS_EV_EXEC);
	s = record_add(&record, argv, n);
	record_struct(&record, as_exec)->argv = s;
}
#define EXEC(literal) exec_of("" literal, sizeof(literal)) /* with the last NUL */

static void tls_of(const char *p, size_t n)
{
	struct as_ssl_data *e;
	struct as_span s;

	begin(AS_EV_SSL_DATA);
	s = record_add(&record, p, n);
	e = record_struct(&record, as_ssl_data);
	e->data = s;
	e->len = n;
	e->direction = AS_TLS_WRITE;
	e->conn.remote = address("192.0.2.1", 443);
}
#define TLS(literal) tls_of("" literal, sizeof(literal) - 1)

static struct as_path path_of(const char *s)
{
	return (struct as_path){.rel = record_add_str(&record, s)};
}

static void assert_shows(const char *line, const char *part)
{
	if (!strstr(line, part))
		fail_msg("'%s' is not in '%s'", part, line);
}

/* Columns, for text without wide characters. */
static size_t width_of(const char *line)
{
	size_t n = 0;

	for (; *line && *line != '\n'; line++)
		n += ((unsigned char)*line & 0xc0) != 0x80;
	return n;
}

/* ---- the frame of a line ---- */

static void a_line_has_time_name_pid_and_verb_in_columns(void **state)
{
	EXEC("curl\0-s");
	assert_string_equal(line_of(120, false),
			    "22:13:20.123 curl[4242]             exec       curl -s\n");
}

static void a_long_name_and_pid_leave_the_verb_in_its_column(void **state)
{
	struct as_hdr h = {.tgid = 4194304};

	memcpy(h.comm, "fifteen-letters", 15);
	buf_done(&record);
	record_begin(&record, AS_EV_FORK, &h);
	assert_string_equal(line_of(120, false),
			    "22:13:20.123 fifteen-lett…[4194304] fork       0\n");
}

static void an_event_without_process_belongs_to_the_machine(void **state)
{
	struct as_hdr h = {};

	buf_done(&record);
	record_begin(&record, AS_EV_SYSTEM_WIDE, &h);
	assert_shows(line_of(120, false), " (machine)  ");
}

static void without_colour_there_is_no_escape_sequence(void **state)
{
	EXEC("curl");
	assert_null(strchr(line_of(120, false), '\033'));
	assert_non_null(strchr(line_of(120, true), '\033'));
}

static void a_coloured_line_that_is_cut_ends_uncoloured(void **state)
{
	EXEC("a-very-long-argument-that-does-not-fit-into-sixty-columns-at-all");
	assert_shows(line_of(60, true), "…\033[0m\n");
}

/* ---- cutting ---- */

static void a_line_is_never_wider_than_the_terminal(void **state)
{
	for (unsigned columns = 40; columns < 140; columns++) {
		EXEC("printf\0a b\0\033\xff\0"
		     "gr\xc3\xbc\xc3\x9f\0"
		     "and a very long argument that comes after all of the others in it");
		assert_true(width_of(line_of(columns, false)) <= columns);
		assert_int_equal(utf8_valid_prefix(text.data, text.len), text.len);
	}
}

static void a_line_that_fits_exactly_is_whole(void **state)
{
	size_t n;

	EXEC("gr\xc3\xbc\xc3\x9f-e");
	n = width_of(line_of(120, false));
	assert_null(strstr(line_of(n, false), "…"));
	assert_shows(line_of(n - 1, false), "…\n");
	assert_int_equal(width_of(line_of(n - 1, false)), n - 1);
}

static void a_wide_character_takes_two_columns(void **state)
{
	/* 47 columns stand before the essence; four characters need eight, the quotes two */
	EXEC("\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad\xe4\xb8\xad");
	assert_null(strstr(line_of(47 + 8 + 2, false), "…"));
	assert_shows(line_of(47 + 8 + 1, false), "…\n");
}

static void an_unknown_width_means_120_columns(void **state)
{
	char argument[500];

	memset(argument, 'a', sizeof(argument));
	exec_of(argument, sizeof(argument));
	assert_int_equal(width_of(line_of(0, false)), 120);
}

/* ---- text from traced programs ---- */

static void control_characters_are_written_out(void **state)
{
	TLS("\033]0;title\007 with text enough\x7f\t!");
	assert_shows(line_of(200, false), "\\x1b]0;title\\x07 with text enough\\x7f\\t!\n");
}

static void c1_controls_are_written_out(void **state)
{
	TLS("csi \xc2\x9b-31m with text");
	assert_shows(line_of(120, false), "csi \\u009b-31m with text\n");
}

static void text_direction_cannot_be_turned(void **state)
{
	TLS("name \xe2\x80\xaegpj.exe \xe2\x81\xa6 \xe2\x80\x8f \xd8\x9c end of it");
	assert_shows(line_of(200, false),
		     "name \\u202egpj.exe \\u2066 \\u200f \\u061c end of it\n");
}

static void what_cannot_be_seen_is_written_out(void **state)
{
	TLS("zero\xe2\x80\x8bwidth line\xe2\x80\xa8separator tag\xf3\xa0\x81\x81 bom\xef\xbb\xbf");
	assert_shows(line_of(200, false),
		     "zero\\u200bwidth line\\u2028separator tag\\U000e0041 bom\\ufeff\n");
}

static void bytes_that_are_not_utf8_are_written_out(void **state)
{
	TLS("overlong \xc0\xaf surrogate \xed\xa0\x80 and cut off at its end \xe2\x82");
	assert_shows(line_of(200, false), "overlong \\xc0\\xaf surrogate \\xed\\xa0\\x80 and cut "
					  "off at its end \\xe2\\x82\n");
}

static void other_scripts_stay_readable(void **state)
{
	TLS("gr\xc3\xbc\xc3\x9f-e \xe4\xb8\xad");
	assert_shows(line_of(120, false), "gr\xc3\xbc\xc3\x9f-e \xe4\xb8\xad\n");
}

static void a_name_with_an_escape_sequence_is_harmless(void **state)
{
	struct as_hdr h = {.tgid = 1, .comm = "\033[2Jx\n"};

	buf_done(&record);
	record_begin(&record, AS_EV_FORK, &h);
	assert_shows(line_of(120, false), " \\x1b[2Jx\\n[1]  ");
}

/* No byte below a space reaches the terminal from any text of any type. */
static void every_text_of_every_type_is_escaped(void **state)
{
	for (unsigned type = 1; type < AS_EV_COUNT; type++) {
		const struct event_desc *d = schema_event(type);

		begin(type);
		for (size_t i = 0; i < d->n_fields; i++) {
			const struct field_desc *f = &d->fields[i];
			struct as_span s;

			if (f->kind != AS_KIND_STR && f->kind != AS_KIND_ARGV &&
			    f->kind != AS_KIND_PATH && f->kind != AS_KIND_PAYLOAD &&
			    f->kind != AS_KIND_JSON)
				continue;
			s = record_add(&record, "x\033[2J\n\xff", 7);
			memcpy(record.data + f->offset, &s, sizeof(s));
		}
		line_of(400, false);
		for (size_t i = 0; i + 1 < text.len; i++)
			assert_true((unsigned char)text.data[i] >= ' ');
		assert_true(!text.len || text.data[text.len - 1] == '\n');
	}
}

/* ---- the essence, type by type ---- */

static void arguments_are_quoted_for_a_shell(void **state)
{
	EXEC("sh\0-c\0echo 'a b'\0\0a=1,b\0$HOME");
	assert_shows(line_of(200, false), "sh -c 'echo '\\''a b'\\''' '' a=1,b '$HOME'\n");
}

static void arguments_with_control_characters_use_dollar_quotes(void **state)
{
	EXEC("printf\0it's\n\\n\033[1m");
	assert_shows(line_of(200, false), "printf $'it\\'s\\n\\\\n\\x1b[1m'\n");
}

static void arguments_that_were_cut_say_so(void **state)
{
	EXEC("cat\0file");
	record_struct(&record, as_exec)->argv.full += 1000;
	assert_shows(line_of(200, false), "cat file [cut]\n");
}

static void an_exec_without_arguments_shows_the_file(void **state)
{
	struct as_span s;

	begin(AS_EV_EXEC);
	s = record_add_str(&record, "/bin/true");
	record_struct(&record, as_exec)->filename = s;
	assert_shows(line_of(120, false), "exec       /bin/true\n");
}

static void exit_shows_code_times_and_memory(void **state)
{
	struct as_exit *e = begin(AS_EV_EXIT);

	e->exit_code = 3;
	e->duration_ns = 1234567890;
	e->cpu_user_ns = 40000000;
	e->cpu_system_ns = 2300000;
	e->max_rss_kb = 10240;
	assert_shows(line_of(120, false),
		     "exit       3  after 1.23 s  cpu 42.3 ms  peak 10.0 MiB\n");
}

static void exit_names_the_signal(void **state)
{
	struct as_exit *e = begin(AS_EV_EXIT);

	e->signal = SIGSEGV;
	e->core_dumped = 1;
	assert_shows(line_of(120, false), "exit       SIGSEGV (core dumped)  after");
	record_struct(&record, as_exit)->signal = 40;
	assert_shows(line_of(120, false), "exit       signal 40 ");
}

static void open_shows_access_error_and_path(void **state)
{
	struct as_path p;

	begin(AS_EV_FILE_OPEN);
	p = path_of("/tmp/a b");
	record_struct(&record, as_file_open)->path = p;
	record_struct(&record, as_file_open)->flags = O_WRONLY | O_CREAT | O_TRUNC;
	assert_shows(line_of(120, false), "open       w create trunc  /tmp/a b\n");
	record_struct(&record, as_file_open)->flags = O_RDONLY;
	record_struct(&record, as_file_open)->error = -2;
	assert_shows(line_of(120, false), "open       ENOENT  r  /tmp/a b\n");
}

static void transfers_show_bytes_before_the_path(void **state)
{
	struct as_path p;

	begin(AS_EV_FILE_WRITE);
	p = path_of("/tmp/out");
	record_struct(&record, as_file_io)->path = p;
	record_struct(&record, as_file_io)->bytes = 1536;
	record_struct(&record, as_file_io)->count = 2;
	assert_shows(line_of(120, false), "write         1.5 KiB  /tmp/out  in 2 calls\n");
}

static void rename_shows_both_names(void **state)
{
	struct as_path from, to;

	begin(AS_EV_FILE_RENAME);
	from = path_of("/a");
	to = path_of("/b");
	record_struct(&record, as_file_op)->path = from;
	record_struct(&record, as_file_op)->new_path = to;
	assert_shows(line_of(120, false), "rename     /a -> /b\n");
	record_struct(&record, as_file_op)->exchange = 1;
	assert_shows(line_of(120, false), "rename     /a <-> /b\n");
}

static void a_length_below_zero_is_a_number(void **state)
{
	struct as_path p;

	begin(AS_EV_FILE_TRUNCATE);
	p = path_of("/a");
	record_struct(&record, as_file_op)->path = p;
	record_struct(&record, as_file_op)->length = -1;
	assert_shows(line_of(120, false), "truncate           -1  /a\n");
	record_struct(&record, as_file_op)->length = 2048;
	assert_shows(line_of(120, false), "truncate      2.0 KiB  /a\n");
}

static void connect_shows_both_ends_and_what_went_wrong(void **state)
{
	struct as_connect *e = begin(AS_EV_CONNECT);

	e->local = address("10.0.0.2", 40000);
	e->remote = address("192.0.2.1", 443);
	e->protocol = AS_PROTO_TCP;
	e->latency_ns = 1500000;
	assert_shows(line_of(120, false), "connect    10.0.0.2:40000 -> 192.0.2.1:443  1.5 ms\n");
	record_struct(&record, as_connect)->error = -111;
	assert_shows(line_of(120, false), "connect    ECONNREFUSED  10.0.0.2:40000");
}

static void close_shows_sums_and_round_trip_time(void **state)
{
	struct as_flow *e = begin(AS_EV_CLOSE);

	e->local = address("10.0.0.2", 443);
	e->remote = (struct as_addr){.family = AF_INET6, .port = 5000, .ip = {[15] = 1}};
	e->protocol = AS_PROTO_TCP;
	e->role = AS_ROLE_SERVER;
	e->tx_bytes = 100;
	e->rx_bytes = 2048;
	e->rtt_us = 250;
	e->duration_ns = 3000000000;
	assert_shows(line_of(200, false), "close      10.0.0.2:443 <- [::1]:5000  sent 100 B  "
					  "received 2.0 KiB  rtt 250.0 us  after 3.00 s\n");
}

static void tls_shows_the_first_line_of_text(void **state)
{
	TLS("POST /v1/messages HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_shows(line_of(200, false), "TLS write        39 B  libssl.so.3 -> 192.0.2.1:443  "
					  "POST /v1/messages HTTP/1.1\n");
	record_struct(&record, as_ssl_data)->direction = AS_TLS_READ;
	assert_shows(line_of(200, false), "TLS read         39 B  libssl.so.3 <- 192.0.2.1:443 ");
}

static void tls_skips_lines_that_are_not_text(void **state)
{
	TLS("\x01\x02\x03\x04\r\n\nreadable\nmore");
	assert_shows(line_of(200, false), "  readable\n");
	TLS("\x01\x02\x03\x04");
	assert_shows(line_of(200, false), "  (binary)\n");
}

static void http_shows_method_target_and_status(void **state)
{
	struct as_http_response *e = begin(AS_EV_HTTP_RESPONSE);
	struct as_span method, host, path;

	e->status = 404;
	e->body_full = 2048;
	e->duration_ns = 3000000000;
	method = record_add_str(&record, "POST");
	host = record_add_str(&record, "example.com");
	path = record_add_str(&record, "/v1/\033messages");
	e = record_struct(&record, as_http_response);
	e->method = method;
	e->host = host;
	e->path = path;
	assert_shows(line_of(200, false),
		     "response      2.0 KiB  404 3.00 s  POST example.com/v1/");
	record_struct(&record, as_http_response)->incomplete = 1;
	assert_shows(line_of(200, false), "404 3.00 s  cut off  POST example.com/v1/");
}

static void http_shows_requests_and_messages(void **state)
{
	struct as_span method, path;

	begin(AS_EV_HTTP_REQUEST);
	method = record_add_str(&record, "GET");
	path = record_add_str(&record, "/x?y");
	record_struct(&record, as_http_request)->method = method;
	record_struct(&record, as_http_request)->path = path;
	assert_shows(line_of(200, false), "request           0 B  GET /x?y\n");
	begin(AS_EV_WS_MESSAGE);
	path = record_add_str(&record, "/chat");
	method = record_add_str(&record, "hello\nthere");
	record_struct(&record, as_ws_message)->path = path;
	record_struct(&record, as_ws_message)->data = method;
	record_struct(&record, as_ws_message)->full = 11;
	record_struct(&record, as_ws_message)->direction = AS_TLS_WRITE;
	assert_shows(line_of(200, false), "WebSocket        11 B  -> /chat  hello\n");
}

static void metrics_show_percent_and_memory(void **state)
{
	struct as_system_metrics *e = begin(AS_EV_SYSTEM_METRICS);

	e->cpu_centi = 10205;
	e->rss_kb = 2048;
	e->threads = 1;
	assert_shows(line_of(120, false), "system     cpu 102.05 %  rss 2.0 MiB  1 thread\n");
}

static void losses_stand_out(void **state)
{
	struct as_span reason, event;

	begin(AS_EV_LOSS);
	reason = record_add_str(&record, "ring full");
	event = record_add_str(&record, "open");
	record_struct(&record, as_loss)->reason = reason;
	record_struct(&record, as_loss)->event = event;
	record_struct(&record, as_loss)->count = 7;
	record_struct(&record, as_loss)->total = 9;
	assert_shows(line_of(120, false), "LOST       7 open events: ring full (9 in all)\n");
	assert_shows(line_of(120, true), "\033[1;31m");
}

static void only_capabilities_that_are_not_whole_are_shown(void **state)
{
	struct as_span family, hook;

	begin(AS_EV_CAPABILITY);
	family = record_add_str(&record, "tls");
	hook = record_add_str(&record, "SSL_read");
	record_struct(&record, as_capability)->family = family;
	record_struct(&record, as_capability)->hook = hook;
	assert_string_equal(line_of(120, false), "");
	record_struct(&record, as_capability)->state = 2;
	assert_shows(line_of(120, false), "missing: tls SSL_read\n");
}

static void the_ledger_so_far_is_not_shown(void **state)
{
	begin(AS_EV_STATS);
	assert_string_equal(line_of(120, false), "");
}

static void a_type_without_a_view_is_key_and_value(void **state)
{
	struct event ev = {};
	struct as_ssl_handshake *e;
	struct as_span s;

	begin(AS_EV_SSL_HANDSHAKE);
	s = record_add_str(&record, "a b");
	e = record_struct(&record, as_ssl_handshake);
	e->server_name = s;
	e->version = 0x0304;
	e->latency_ns = 1000000;
	assert_int_equal(record_end(&record, &ev), 0);
	ev.unix_ns = WHEN_NS;
	ev.label = "/lib/libssl.so.3";
	/* number 0 has no row in the table of views, as a new type has none */
	record_struct(&record, as_hdr)->type = AS_EV_NONE;
	buf_reset(&text);
	terminal_line(&text, &ev, 200, false);
	assert_shows(buf_cstr(&text), "handshake  latency_ns=1.0 ms library=libssl.so.3 "
				      "stream_id=0 server_name='a b' version=TLSv1.3\n");
}

/* ---- the sink ---- */

struct shown {
	char path[32];
	struct writer *w;
	struct sink *sink;
	struct writer_counts counts;
};

static void shown_begin(struct shown *s)
{
	struct writer_options opt = {.path = s->path};
	int fd;

	*s = (struct shown){.path = "/tmp/test_terminal.XXXXXX"};
	fd = mkstemp(s->path);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(writer_open(&opt, &s->w, NULL), 0);
	assert_int_equal(terminal_sink_new(s->w, false, 80, &s->sink), 0);
}

static void shown_end(struct shown *s)
{
	assert_true(writer_sync(s->w, 10000));
	writer_counts(s->w, &s->counts);
	s->sink->free(s->sink);
	writer_free(s->w);
	unlink(s->path);
}

static void hidden_events_count_as_delivered(void **state)
{
	struct event ev = {};
	struct shown s;

	shown_begin(&s);
	begin(AS_EV_STATS);
	assert_int_equal(record_end(&record, &ev), 0);
	s.sink->write(s.sink, &ev, "{}\n", 3);
	s.sink->flush(s.sink);
	shown_end(&s);
	assert_int_equal(s.counts.delivered[AS_EV_STATS], 1);
	assert_int_equal(s.counts.bytes, 0);
}

static bool no_memory;

void *realloc(void *p, size_t n)
{
	static void *(*next)(void *, size_t);

	if (!next)
		next = (void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc");
	return no_memory ? NULL : next(p, n);
}

static void a_line_that_could_not_be_made_is_dropped(void **state)
{
	struct event ev = {};
	struct shown s;

	shown_begin(&s);
	EXEC("ls");
	assert_int_equal(record_end(&record, &ev), 0);
	no_memory = true;
	s.sink->write(s.sink, &ev, NULL, 0);
	no_memory = false;
	shown_end(&s);
	assert_int_equal(s.counts.delivered[AS_EV_EXEC], 0);
	assert_int_equal(s.counts.dropped[AS_EV_EXEC], 1);
}

static int set_up(void **state)
{
	setenv("TZ", "UTC", 1);
	return schema_init();
}

static int tear_down(void **state)
{
	buf_done(&record);
	buf_done(&text);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_has_time_name_pid_and_verb_in_columns),
		cmocka_unit_test(a_long_name_and_pid_leave_the_verb_in_its_column),
		cmocka_unit_test(an_event_without_process_belongs_to_the_machine),
		cmocka_unit_test(without_colour_there_is_no_escape_sequence),
		cmocka_unit_test(a_coloured_line_that_is_cut_ends_uncoloured),
		cmocka_unit_test(a_line_is_never_wider_than_the_terminal),
		cmocka_unit_test(a_line_that_fits_exactly_is_whole),
		cmocka_unit_test(a_wide_character_takes_two_columns),
		cmocka_unit_test(an_unknown_width_means_120_columns),
		cmocka_unit_test(control_characters_are_written_out),
		cmocka_unit_test(c1_controls_are_written_out),
		cmocka_unit_test(text_direction_cannot_be_turned),
		cmocka_unit_test(what_cannot_be_seen_is_written_out),
		cmocka_unit_test(bytes_that_are_not_utf8_are_written_out),
		cmocka_unit_test(other_scripts_stay_readable),
		cmocka_unit_test(a_name_with_an_escape_sequence_is_harmless),
		cmocka_unit_test(every_text_of_every_type_is_escaped),
		cmocka_unit_test(arguments_are_quoted_for_a_shell),
		cmocka_unit_test(arguments_with_control_characters_use_dollar_quotes),
		cmocka_unit_test(arguments_that_were_cut_say_so),
		cmocka_unit_test(an_exec_without_arguments_shows_the_file),
		cmocka_unit_test(exit_shows_code_times_and_memory),
		cmocka_unit_test(exit_names_the_signal),
		cmocka_unit_test(open_shows_access_error_and_path),
		cmocka_unit_test(transfers_show_bytes_before_the_path),
		cmocka_unit_test(rename_shows_both_names),
		cmocka_unit_test(a_length_below_zero_is_a_number),
		cmocka_unit_test(connect_shows_both_ends_and_what_went_wrong),
		cmocka_unit_test(close_shows_sums_and_round_trip_time),
		cmocka_unit_test(tls_shows_the_first_line_of_text),
		cmocka_unit_test(tls_skips_lines_that_are_not_text),
		cmocka_unit_test(http_shows_method_target_and_status),
		cmocka_unit_test(http_shows_requests_and_messages),
		cmocka_unit_test(metrics_show_percent_and_memory),
		cmocka_unit_test(losses_stand_out),
		cmocka_unit_test(only_capabilities_that_are_not_whole_are_shown),
		cmocka_unit_test(the_ledger_so_far_is_not_shown),
		cmocka_unit_test(a_type_without_a_view_is_key_and_value),
		cmocka_unit_test(hidden_events_count_as_delivered),
		cmocka_unit_test(a_line_that_could_not_be_made_is_dropped),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
