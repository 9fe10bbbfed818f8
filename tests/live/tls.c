/* SPDX-License-Identifier: MIT */
/* TLS plaintext; the workload `tls` tells calls, bytes and SHA-256 per thread and direction. */
#include "live.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "tls.h"

static int base64_value(char c)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *p = c ? strchr(digits, c) : NULL;

	return p ? (int)(p - digits) : -1;
}

static void add_base64(struct sha256 *sum, const char *text, uint64_t *bytes)
{
	uint32_t v = 0;
	int bits = 0;

	for (; *text && *text != '='; text++) {
		v = v << 6 | base64_value(*text);
		bits += 6;
		if (bits >= 8) {
			uint8_t byte = v >> (bits -= 8);

			sha256_add(sum, &byte, 1);
			(*bytes)++;
		}
	}
}

void tls_plaintext_add(const struct line *l, struct sha256 *sum, uint64_t *bytes)
{
	json_object *text = object_at(l->data, "data");

	if (text) {
		size_t n = json_object_get_string_len(text);

		sha256_add(sum, json_object_get_string(text), n);
		*bytes += n;
	} else {
		add_base64(sum, line_str(l, "data_base64"), bytes);
	}
}

struct tally {
	struct sha256 sum;
	uint64_t calls, bytes, len;
};

/* All calls of one thread in one direction, in the order of the output. */
static void tally_take(struct tally *t, const struct stream *st, int64_t tid, const char *direction)
{
	struct line *l;
	size_t i = 0;

	*t = (struct tally){};
	sha256_begin(&t->sum);
	while ((l = stream_find(st, &i, 0, "ssl", "data"))) {
		if (json_object_get_int64(object_at(l->json, "tid")) != tid ||
		    strcmp(line_str(l, "direction"), direction))
			continue;
		t->calls++;
		t->len += line_int(l, "len");
		CHECK(!object_at(l->data, "truncated"), "cut: %.300s",
		      json_object_to_json_string(l->json));
		tls_plaintext_add(l, &t->sum, &t->bytes);
	}
}

static int64_t told_int(json_object *told, const char *key)
{
	return json_object_get_int64(object_at(told, key));
}

static void compare_side(const struct stream *st, json_object *told)
{
	const char *direction = json_object_get_string(object_at(told, "direction"));
	const char *want = json_object_get_string(object_at(told, "sha256"));
	struct tally t;
	char hex[65];

	tally_take(&t, st, told_int(told, "tid"), direction);
	CHECK((int64_t)t.calls == told_int(told, "calls"), "%llu calls instead of %lld: %s",
	      (unsigned long long)t.calls, (long long)told_int(told, "calls"),
	      json_object_to_json_string(told));
	CHECK((int64_t)t.len == told_int(told, "bytes") && t.bytes == t.len,
	      "%llu bytes, of which %llu shown, instead of %lld: %s", (unsigned long long)t.len,
	      (unsigned long long)t.bytes, (long long)told_int(told, "bytes"),
	      json_object_to_json_string(told));
	sha256_end(&t.sum, hex);
	CHECK(!strcmp(hex, want), "other bytes than were sent: %s",
	      json_object_to_json_string(told));
}

static void compare_sides(const struct stream *st, const char *path)
{
	FILE *f = fopen(path, "re");
	char *text = NULL;
	size_t cap = 0, sides = 0;

	CHECK(f, "cannot read %s: %s", path, strerror(errno));
	while (getline(&text, &cap, f) > 0) {
		json_object *told = json_tokener_parse(text);

		CHECK(told, "the workload printed what is not JSON: %s", text);
		if (!object_at(told, "direction"))
			continue;
		compare_side(st, told);
		sides++;
	}
	CHECK(sides == 4, "the workload speaks of %zu sides", sides);
	fclose(f);
	free(text);
}

static void exchange(const char *mode, const char *n, const char *size, const char *option)
{
	struct workload w;
	struct stream st;
	struct sight s;

	workload_hold(&w, "tls", mode, n, size, option, NULL);
	sight_start(&s, "ssl", "--no-redact", "-p", live_printf("%d", w.pid), NULL);
	workload_finish(&w);
	sight_stop(&s);

	stream_load(&st, s.out);
	stream_check_lossless(&st);
	stream_check_sources(&st, "ssl");
	stream_check_family(&st, w.pid);
	compare_sides(&st, w.out);
	CHECK(stream_count(&st, "ssl", "handshake") > 0, "no handshake was seen");
}

static void big(void)
{
	exchange("big", "1000000", NULL, NULL);
}

static void keepalive(void)
{
	exchange("pingpong", live_printf("%lu", live_scaled(20000)), "200", "--keepalive");
}

static void ex(void)
{
	exchange("ex", "1000", "5000", NULL);
}

static void reconnecting(void)
{
	exchange("pingpong", live_printf("%lu", live_scaled(300)), "2000", NULL);
}

static void many(void)
{
	exchange("many", live_printf("%lu", live_scaled(300)), NULL, NULL);
}

/* ---- files that are named ---- */

static void named_without_functions(void)
{
	char *path = workload_path("cpu");
	char *argv[] = {sight_program(), (char *)"ssl", (char *)"--binary-path", path, NULL};
	struct sight s = {};

	sight_launch(&s, -1, argv);
	sight_wait(&s);
	CHECK(WIFEXITED(s.status) && WEXITSTATUS(s.status) == 1, "it ended with status %#x: %s",
	      s.status, sight_messages(&s));
	CHECK(strstr(sight_messages(&s), path), "it does not name the file: %s",
	      sight_messages(&s));
}

static void hold_with(struct workload *w, const char *variable, const char *value)
{
	setenv(variable, value, 1);
	workload_hold(w, "tls", "ex", "50", "3000", NULL);
	unsetenv(variable);
}

/* Where the workload's libssl lies: the dynamic loader tells, and runs nothing. */
static char *library_path(void)
{
	char *text, *path, *end;
	struct workload w;

	hold_with(&w, "LD_TRACE_LOADED_OBJECTS", "1");
	workload_finish(&w);
	text = live_read_file(w.out);
	path = strstr(text, "libssl.so");
	path = path ? strchr(path, '/') : NULL;
	end = path ? strpbrk(path, " \n") : NULL;
	CHECK(end, "the workload uses no libssl: %s", text);
	*end = '\0';
	return path;
}

/* Under a name that says nothing. The loader takes it for libssl, by the name inside. */
static char *library_copy(const char *path)
{
	char *copy = live_printf("%s/private-copy.so", live_dir()), chunk[65536];
	FILE *from = fopen(path, "re"), *to = fopen(copy, "we");
	size_t n;

	CHECK(from && to, "cannot copy %s: %s", path, strerror(errno));
	while ((n = fread(chunk, 1, sizeof(chunk), from)) > 0)
		CHECK(fwrite(chunk, 1, n, to) == n, "cannot write %s", copy);
	fclose(from);
	CHECK(!fclose(to), "cannot write %s: %s", copy, strerror(errno));
	return copy;
}

static void exchange_with_copy(const char *copy, const char *option)
{
	struct workload w;
	struct stream st;
	struct sight s;

	hold_with(&w, "LD_PRELOAD", copy);
	sight_start(&s, "ssl", "--no-redact", "-p", live_printf("%d", w.pid), option, NULL);
	workload_finish(&w);
	sight_stop(&s);
	stream_load(&st, s.out);
	stream_check_lossless(&st);
	stream_check_family(&st, w.pid);
	if (option)
		compare_sides(&st, w.out);
	else
		CHECK(!stream_count(&st, "ssl", "data"), "it was found without its name");
}

static void named_library(void)
{
	char *copy = library_copy(library_path());

	exchange_with_copy(copy, NULL);
	exchange_with_copy(copy, live_printf("--binary-path=%s", copy));
}

const struct live_test tls_tests[] = {
	{"a_megabyte_over_TLS_is_exact_both_ways", big, 60},
	{"twenty_thousand_kept_alive_requests_are_all_there", keepalive, 180},
	{"SSL_read_ex_and_SSL_write_ex_are_seen", ex, 60},
	{"requests_on_new_connections_are_exact", reconnecting, 120},
	{"many_connections_with_one_request_are_exact", many, 120},
	{"a_named_file_without_TLS_functions_is_an_error", named_without_functions, 30},
	{"a_library_under_another_name_is_captured_when_named", named_library, 60},
	{},
};
