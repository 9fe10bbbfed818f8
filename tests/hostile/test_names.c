/* SPDX-License-Identifier: MIT */
/*
 * 10,000 names that want to do something to whoever reads them, as names of processes, arguments, files, servers,
 * models and tools: no control character reaches a line for a terminal, every line of JSON is read by two more
 * parsers, and the bytes of arguments come back as they were.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "base/cleanup.h"
#include "base/utf8.h"
#include "hostile/run.h"
#include "stats/html.h"
#include "stats/read.h"
#include "stats/text.h"
#include "unit/event/line.h"

#define NAMES    10000
#define TEXT_MAX 400
#define LONG_ARG ((size_t)128 << 10)

static const char *const pieces[] = {
	"\x1b[2J",
	"\x1b]0;t\x07",
	"\x1b]52;c;ZXZpbA==\x07",
	"\x1b]8;;http://h/\x1b\\x",
	"\x1bP$q\x1b\\",
	"\x1b[6n",
	"\x1b"
	"c",
	"\x1b[?1049h",
	"\x1b(0",
	"\x9b"
	"2J",
	"\xc2\x9b"
	"31m",
	"\xc2\x90q",
	"\xc2\x85",
	"\xe2\x80\xae",
	"\xe2\x81\xa6",
	"\xe2\x80\x8f",
	"\xd8\x9c",
	"\xe2\x80\x8b",
	"\xe2\x80\x8d",
	"\xef\xbb\xbf",
	"\xe2\x80\xa8",
	"\xe2\x80\xa9",
	"\xf3\xa0\x80\x81",
	"\n",
	"\r",
	"\r\n",
	"\t",
	"\b\b\b",
	"\x7f",
	"\x07",
	"\x0c",
	"\x0e",
	"\xff",
	"\xfe\xff",
	"\xc0\x80",
	"\xed\xa0\x80",
	"\xf4\x90\x80\x80",
	"\xe2\x82",
	"\xf0\x9f",
	"\xc1\xbf",
	"\xf8\x88\x80\x80\x80",
	"\x80\x80\x80",
	"\"",
	"'",
	"\\",
	"\\u0000",
	"\\x1b",
	"{\"a\":1}",
	"%n%s%p",
	"$(id)",
	"`id`",
	"<script>alert(1)</script>",
	"</title>",
	"&lt;",
	"=cmd|' /C calc'!A0",
	"../../etc",
	"a",
	"name",
	" ",
	"\xc3\xaf",
	"\xe4\xb8\xad",
	"\xf0\x9f\x98\x80",
	"e\xcc\x81\xcc\x81\xcc\x81",
};

static uint32_t dice = 77;

static uint32_t roll(void)
{
	dice = dice * 1664525U + 1013904223U;
	return dice >> 8;
}

static size_t make_name(char *name)
{
	size_t n = 0, parts = 1 + roll() % 12;

	while (parts--) {
		const char *piece = pieces[roll() % ARRAY_SIZE(pieces)];
		size_t len = strlen(piece);

		if (n + len >= TEXT_MAX)
			break;
		memcpy(name + n, piece, len);
		n += len;
	}
	name[n] = '\0';
	return n;
}

/* ---- what comes out ---- */

static FILE *json_lines;
static size_t n_lines;
static const char *argument; /* what the second word of the next exec is */
static size_t argument_n;
static bool argument_came;

static bool in_range(uint32_t c, uint32_t from, uint32_t to)
{
	return c >= from && c <= to;
}

static bool controls(uint32_t c)
{
	return c < 0x20 || in_range(c, 0x7f, 0x9f) || c == 0x61c || in_range(c, 0x200b, 0x200f) ||
	       in_range(c, 0x2028, 0x202e) || in_range(c, 0x2060, 0x206f) || c == 0xfeff ||
	       in_range(c, 0xe0000, 0xe007f);
}

static uint32_t code_point(const uint8_t *p, size_t n)
{
	uint32_t c = n == 1 ? p[0] : p[0] & (0x7fU >> n);

	for (size_t i = 1; i < n; i++)
		c = c << 6 | (p[i] & 0x3f);
	return c;
}

/* Lines for a terminal, of any number. */
static void check_screen(const char *text, size_t len)
{
	const uint8_t *p = (const uint8_t *)text, *end = p + len;

	while (p < end) {
		size_t n = utf8_sequence(p, (size_t)(end - p));

		if (*p == '\n') {
			p++;
			continue;
		}
		if (!n && *p < 0x80)
			n = 1;
		if (!n || controls(code_point(p, n)))
			fail_msg("byte %02x at %td of: %.*s", *p, p - (const uint8_t *)text,
				 (int)len, text);
		p += n;
	}
}

static size_t base64_undo(const char *p, uint8_t *ret)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t n = 0, bits = 0;
	uint32_t v = 0;

	for (; *p && *p != '='; p++) {
		v = v << 6 | (uint32_t)(strchr(digits, *p) - digits);
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			ret[n++] = (uint8_t)(v >> bits);
		}
	}
	return n;
}

static void check_argument(const char *line, size_t len)
{
	static uint8_t bytes[2 * LONG_ARG];
	struct json_tokener *tok = json_tokener_new();
	struct json_object *o = json_tokener_parse_ex(tok, line, (int)len), *data, *list = NULL;
	const char *text;
	size_t n;
	bool packed;

	json_object_object_get_ex(o, "data", &data);
	packed = json_object_object_get_ex(data, "argv_base64", &list);
	if (!packed)
		assert_true(json_object_object_get_ex(data, "argv", &list));
	list = json_object_array_get_idx(list, 1);
	text = json_object_get_string(list);
	n = packed ? base64_undo(text, bytes) : (size_t)json_object_get_string_len(list);
	assert_int_equal(n, argument_n);
	assert_memory_equal(packed ? (const char *)bytes : text, argument, n);
	argument_came = true;
	json_object_put(o);
	json_tokener_free(tok);
}

static void on_line(struct run *run, const struct event *ev, const char *line, size_t len)
{
	static struct buf narrow;
	const char *wrong = line_check(line, len, ev->desc);

	if (wrong)
		fail_msg("%s: %.*s", wrong, (int)len, line);
	check_screen(run->screen.data, run->screen.len);
	buf_reset(&narrow);
	terminal_line(&narrow, ev, 30, false);
	check_screen(narrow.data, narrow.len);
	fwrite(line, 1, len, json_lines);
	n_lines++;
	if (ev->desc->type == AS_EV_EXEC && argument)
		check_argument(line, len);
}

/* ---- what goes in ---- */

static void exec_of(struct run *run, const char *name, size_t n)
{
	_cleanup_(buf_done) struct buf argv = {0};

	memset(run->who.comm, 0, sizeof(run->who.comm));
	memcpy(run->who.comm, name, MIN(n, sizeof(run->who.comm) - 1));
	buf_add(&argv, "x", 2);
	buf_add(&argv, name, n);
	buf_add_char(&argv, '\0');
	argument = name;
	argument_n = n;
	argument_came = false;
	assert_int_equal(run_exec(run, name, argv.data, argv.len, name, n + 1), 0);
	assert_true(argument_came);
	argument = NULL;
}

static void rename_of(struct run *run, const char *name, size_t n)
{
	struct as_span a, b;

	record_begin(&run->rec, AS_EV_FILE_RENAME, &run->who);
	a = record_add(&run->rec, name, n + 1);
	b = record_add(&run->rec, name, n + 1);
	record_struct(&run->rec, as_file_op)->path.base = a;
	record_struct(&run->rec, as_file_op)->new_path.rel = b;
	assert_int_equal(run_send(run), 0);
}

static void handshake_of(struct run *run, const char *name, size_t n)
{
	struct as_span s;

	record_begin(&run->rec, AS_EV_SSL_HANDSHAKE, &run->who);
	s = record_add(&run->rec, name, n);
	record_struct(&run->rec, as_ssl_handshake)->server_name = s;
	record_struct(&run->rec, as_ssl_handshake)->alpn = s;
	assert_int_equal(run_send(run), 0);
}

/* As a header, a body, a model's name, a prompt and a tool. */
static void request_of(struct run *run, uint64_t stream, const char *name, size_t n)
{
	_cleanup_(buf_done) struct buf body = {0}, head = {0};
	static const char *const parts[] = {"{\"model\":\"",
					    "\",\"messages\":[{\"role\":\"user\",\"content\":\"",
					    "\"}],\"tools\":[{\"name\":\"", "\"}]}"};

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		buf_add_str(&body, parts[i]);
		for (size_t j = 0; j < n && i + 1 < ARRAY_SIZE(parts); j++) {
			if ((uint8_t)name[j] < 0x20 || name[j] == '"' || name[j] == '\\')
				buf_printf(&body, "\\u%04x", (uint8_t)name[j]);
			else
				buf_add_char(&body, name[j]);
		}
	}
	buf_printf(&head, "POST /v1/messages HTTP/1.1\r\nHost: api.anthropic.com\r\nx-name: ");
	for (size_t j = 0; j < n; j++)
		buf_add_char(&head, name[j] == '\r' || name[j] == '\n' ? '?' : name[j]);
	buf_printf(&head, "\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
		   body.len);
	buf_add(&head, body.data, body.len);
	run_data(run, stream, AS_TLS_WRITE, head.data, head.len);
	run_data(run, stream, AS_TLS_READ, "HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n", 37);
}

static void parse_with(const char *command, const char *path)
{
	char line[512];

	snprintf(line, sizeof(line), "command -v %.*s >/dev/null 2>&1", (int)strcspn(command, " "),
		 command);
	if (system(line)) {
		print_message("no %.*s\n", (int)strcspn(command, " "), command);
		return;
	}
	snprintf(line, sizeof(line), "%s <%s >/dev/null", command, path);
	assert_int_equal(system(line), 0);
}

static void report_of(const char *path)
{
	_cleanup_(fclosep) FILE *f = fopen(path, "re");
	struct stats_input in = {0};
	struct stats *s = NULL;
	struct buf text = {0}, html = {0};
	char *shown = NULL;
	size_t n = 0;
	char bytes[4096];
	FILE *screen = open_memstream(&shown, &n);

	assert_true(f && screen);
	while ((n = fread(bytes, 1, sizeof(bytes), f)))
		buf_add(&text, bytes, n);
	assert_int_equal(stats_new(&s), 0);
	assert_int_equal(stats_read_text(s, text.data, text.len, &in), 0);
	assert_int_equal(in.bad, 0);
	stats_print(s, screen, false, 100);
	fclose(screen);
	check_screen(shown, strlen(shown));
	stats_html(&html, s);
	assert_null(strstr(buf_cstr(&html), "<script>alert"));
	free(shown);
	buf_done(&text);
	buf_done(&html);
	stats_free(s);
}

static void names_do_nothing_to_who_reads_them(void **state)
{
	char path[] = "/tmp/agentsight-names-XXXXXX", name[TEXT_MAX + 1];
	struct run run = {.on_line = on_line};
	int fd = mkstemp(path);
	char *summary;

	assert_true(fd >= 0);
	json_lines = fdopen(fd, "w");
	assert_int_equal(run_open(&run), 0);
	for (size_t i = 0; i < NAMES; i++) {
		size_t n = make_name(name);

		exec_of(&run, name, n);
		rename_of(&run, name, n);
		if (i % 8)
			continue;
		handshake_of(&run, name, n);
		request_of(&run, 100 + i, name, n);
	}
	run_finish(&run);
	summary = run_summary(&run);
	assert_non_null(summary);
	check_screen(summary, strlen(summary));
	free(summary);
	run_close(&run);
	fclose(json_lines);
	print_message("%zu lines\n", n_lines);
	parse_with("python3 -c 'import json, sys\nfor line in sys.stdin.buffer: "
		   "json.loads(line.decode())'",
		   path);
	parse_with("jq -c .", path);
	report_of(path);
	unlink(path);
}

static void an_argument_of_128_kilobytes_is_one_line(void **state)
{
	struct run run = {.on_line = on_line};
	char *name = malloc(LONG_ARG);

	assert_non_null(name);
	for (size_t i = 0; i < LONG_ARG; i++)
		name[i] = "\x1b\n\xff"
			  "a"[i % 4];
	json_lines = fopen("/dev/null", "we");
	assert_int_equal(run_open(&run), 0);
	exec_of(&run, name, LONG_ARG - 1);
	run_close(&run);
	fclose(json_lines);
	free(name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_do_nothing_to_who_reads_them),
		cmocka_unit_test(an_argument_of_128_kilobytes_is_one_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
