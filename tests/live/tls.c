/* SPDX-License-Identifier: MIT */
/* TLS plaintext; the workload `tls` tells calls, bytes and SHA-256 per thread and direction. */
#include "live.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

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
	/* a reader that gets no processor for a moment loses nothing */
	sight_start(&s, "ssl", "--no-redact", "--ring-size=32", "-p", live_printf("%d", w.pid),
		    NULL);
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

/* ---- what a session is told to be ---- */

/* Cookies, which tell a program where the session's object has what was agreed upon: since 5.15. */
static bool kernel_has_cookies(void)
{
	unsigned major = 0, minor = 0;
	struct utsname name;

	uname(&name);
	sscanf(name.release, "%u.%u", &major, &minor);
	return major > 5 || (major == 5 && minor >= 15);
}

static void record_tls(struct workload *w, struct stream *st)
{
	struct sight s;

	sight_start(&s, "ssl", "--no-redact", "-p", live_printf("%d", w->pid), NULL);
	workload_finish(w);
	sight_stop(&s);
	stream_load(st, s.out);
	stream_check_lossless(st);
	stream_check_sources(st, "ssl");
}

/* How often an event of @type tells the stream's protocol; *ret is the last one told. */
static size_t protocols_told(const struct stream *st, int64_t stream_id, const char *type,
			     const char **ret)
{
	struct line *l;
	size_t i = 0, n = 0;

	while ((l = stream_find(st, &i, 0, "ssl", type))) {
		if (line_int(l, "stream_id") != stream_id || !object_at(l->data, "alpn"))
			continue;
		*ret = line_str(l, "alpn");
		n++;
	}
	return n;
}

/* The handshakes of a thread, or of all but one: the nth has told what the nth connection speaks. */
static void compare_protocols(const struct stream *st, json_object *told, bool by_itself)
{
	int64_t nth = told_int(told, "nth"), tid = told_int(told, "tid"), seen[2] = {};
	const char *want = json_object_get_string(object_at(told, "alpn"));
	struct line *l;
	size_t i = 0;

	while ((l = stream_find(st, &i, 0, "ssl", "handshake"))) {
		bool server = json_object_get_int64(object_at(l->json, "tid")) != tid;
		int64_t id = line_int(l, "stream_id");
		const char *alpn = "";
		size_t n;

		if (seen[server]++ != nth || (server && !by_itself))
			continue;
		n = protocols_told(st, id, "handshake", &alpn);
		if (!by_itself)
			n += protocols_told(st, id, "session", &alpn);
		CHECK(n == (*want != '\0') && !strcmp(alpn, want),
		      "%s: told %zu times, last as '%s'", json_object_to_json_string(told), n,
		      alpn);
	}
	CHECK(seen[0] > nth && seen[1] > nth, "there is no handshake of %s",
	      json_object_to_json_string(told));
}

static void protocols(const char *option)
{
	struct workload w;
	struct stream st;
	char *text = NULL;
	size_t cap = 0, n = 0;
	FILE *f;

	workload_hold(&w, "tls", "alpn", "9", option, NULL);
	record_tls(&w, &st);
	f = fopen(w.out, "re");
	CHECK(f, "cannot read %s: %s", w.out, strerror(errno));
	while (getline(&text, &cap, f) > 0) {
		json_object *told = json_tokener_parse(text);

		if (!told || !object_at(told, "nth"))
			continue;
		compare_protocols(&st, told, !option);
		n++;
	}
	fclose(f);
	CHECK(n == 9, "the workload speaks of %zu connections", n);
}

/* How many events of a session tell the server's name. */
static size_t names_told(const char *option)
{
	struct workload w;
	struct stream st;
	struct line *l;
	size_t i = 0, n = 0;

	workload_hold(&w, "tls", "many", "5", option, NULL);
	record_tls(&w, &st);
	while ((l = stream_find(&st, &i, 0, "ssl", NULL)))
		n += object_at(l->data, "server_name") &&
		     !strcmp(line_str(l, "server_name"), "workload.test");
	return n;
}

static void names_taken_back(void)
{
	size_t named = names_told(NULL), unnamed = names_told("--unnamed");

	CHECK(named == 5, "the name was told %zu times by 5 sessions", named);
	CHECK(unnamed == 0, "a name that was taken back was told %zu times", unnamed);
}

/* Of the workload's first thread, on which its client runs. */
static struct line *client_find(const struct stream *st, const struct workload *w, size_t *i,
				const char *type)
{
	struct line *l;

	while ((l = stream_find(st, i, w->pid, "ssl", type)) &&
	       json_object_get_int64(object_at(l->json, "tid")) != w->pid)
		;
	return l;
}

/* They have a name, and their successors, at the same address, have none. */
static void broken(void)
{
	uint64_t failed_ns = 0;
	size_t i = 0, n = 0;
	struct workload w;
	struct stream st;
	struct line *l;

	workload_hold(&w, "tls", "many", "5", "--broken", NULL);
	record_tls(&w, &st);
	for (; (l = client_find(&st, &w, &i, "handshake")); n++) {
		const char *text = json_object_to_json_string(l->json);

		if (n % 2) {
			CHECK(!object_at(l->data, "failed") && !object_at(l->data, "server_name"),
			      "not of the second session: %s", text);
			CHECK(l->timestamp - (uint64_t)line_int(l, "latency_ns") >= failed_ns,
			      "it began before the first one had failed: %s", text);
			continue;
		}
		CHECK(object_at(l->data, "failed") && object_at(l->data, "connection") &&
			      !strcmp(line_str(l, "server_name"), "broken.test"),
		      "not of the session that failed: %s", text);
		failed_ns = l->timestamp;
	}
	CHECK(n == 10, "%zu handshakes were told", n);
}

/* In TLS 1.2 a session may shake hands again. */
static void renegotiated(void)
{
	size_t i = 0, calls = 0, handshakes = 0;
	int64_t stream_id = 0;
	struct workload w;
	struct stream st;
	struct line *l;

	workload_hold(&w, "tls", "many", "5", "--keepalive", "--renegotiate", NULL);
	record_tls(&w, &st);
	compare_sides(&st, w.out);
	while ((l = client_find(&st, &w, &i, NULL))) {
		calls += !strcmp(l->type, "data");
		handshakes += !strcmp(l->type, "handshake");
		CHECK(!stream_id || line_int(l, "stream_id") == stream_id, "another stream: %.300s",
		      json_object_to_json_string(l->json));
		stream_id = line_int(l, "stream_id");
	}
	CHECK(calls == 10 && handshakes == 6, "%zu calls and %zu handshakes are told", calls,
	      handshakes);
}

static void protocols_asked(void)
{
	protocols("--ask");
}

static void protocols_unasked(void)
{
	if (!kernel_has_cookies())
		live_skip("this kernel's probes do not know where to look");
	protocols(NULL);
}

/* Is it told behind the event @d, which does not know it, what socket its session has? */
static bool socket_follows(const struct stream *st, const struct line *d)
{
	struct line *l;
	size_t i = 0;

	while ((l = stream_find(st, &i, 0, "ssl", "session"))) {
		if (line_int(l, "stream_id") == line_int(d, "stream_id") &&
		    object_at(l->data, "connection") && l->timestamp > d->timestamp)
			return true;
	}
	return false;
}

/* The first call is passed on before its socket is known only if the send is late. */
static void memory(void)
{
	bool slow = live_scaled(10) < 10;
	size_t i = 0, known = 0, late = 0;
	struct workload w;
	struct stream st;
	struct line *l;

	workload_hold(&w, "tls", "memory", "30", NULL);
	record_tls(&w, &st);
	compare_sides(&st, w.out);
	while ((l = stream_find(&st, &i, 0, "ssl", "data"))) {
		if (object_at(l->data, "connection")) {
			known++;
			continue;
		}
		CHECK(socket_follows(&st, l), "no socket: %.300s",
		      json_object_to_json_string(l->json));
		late++;
	}
	CHECK(slow || late < 10, "%zu calls know no socket, %zu do", late, known);
	CHECK(stream_count(&st, "ssl", "session") >= 30, "no session told its socket");
}

/* Once it is known, it stays: what is sent behind a write may be another connection's. */
static void memory_queued(void)
{
	size_t i = 0, n = 0, known = 0;
	int64_t stream_id = 0, port = 0;
	struct workload w;
	struct stream st;
	struct line *l;

	workload_hold(&w, "tls", "memory", "20", "--keepalive", "--beside", NULL);
	record_tls(&w, &st);
	for (; (l = client_find(&st, &w, &i, "data")); n++) {
		const char *text = json_object_to_json_string(l->json);

		CHECK(!n || line_int(l, "stream_id") == stream_id, "another stream: %.300s", text);
		stream_id = line_int(l, "stream_id");
		if (!object_at(l->data, "connection"))
			continue;
		CHECK(!known || told_int(l->data, "connection.local.port") == port,
		      "another socket than %lld: %.300s", (long long)port, text);
		port = told_int(l->data, "connection.local.port");
		CHECK(!strstr(live_read_file(w.out),
			      live_printf("{\"beside\":%lld}",
					  (long long)told_int(l->data, "connection.remote.port"))),
		      "not its socket: %.300s", text);
		known++;
	}
	CHECK(n == 40 && known >= 34, "%zu calls are told, the socket of %zu", n, known);
}

/* Nothing but its end tells a session's object from the next one at its address. */
static void memory_reused(void)
{
	enum { SESSIONS = 10 };
	struct {
		int64_t stream_id, port;
		size_t calls;
	} seen[2 * SESSIONS] = {};
	size_t i = 0, n = 0, k;
	struct workload w;
	struct stream st;
	struct line *l;

	workload_hold(&w, "tls", "memory", live_printf("%d", SESSIONS), "--by-reading", NULL);
	record_tls(&w, &st);
	compare_sides(&st, w.out);
	while ((l = client_find(&st, &w, &i, "data"))) {
		int64_t port = json_object_get_int64(object_at(l->data, "connection.local.port"));

		for (k = 0; k < n && seen[k].stream_id != line_int(l, "stream_id"); k++)
			;
		CHECK(k < 2 * SESSIONS, "there are more than %zu streams", n);
		n += k == n;
		seen[k].stream_id = line_int(l, "stream_id");
		seen[k].calls++;
		CHECK(!port || !seen[k].port || port == seen[k].port,
		      "a stream has the ports %lld and %lld", (long long)port,
		      (long long)seen[k].port);
		seen[k].port = port ? port : seen[k].port;
	}
	CHECK(n == SESSIONS, "%zu streams are told", n);
	for (k = 0; k < n; k++)
		CHECK(seen[k].calls == 2, "a stream has %zu calls", seen[k].calls);
}

static void sent_file(void)
{
	struct workload w;
	struct stream st;
	struct line *l;
	struct sight s;
	uint64_t len = 0;
	size_t i = 0;

	workload_hold(&w, "tls", "sendfile", "3000000", NULL);
	sight_start(&s, "ssl", "--no-redact", "-p", live_printf("%d", w.pid), NULL);
	workload_release(&w);
	workload_wait(&w);
	sight_stop(&s);
	if (WIFEXITED(w.status) && WEXITSTATUS(w.status) == 77)
		live_skip("this libssl has no SSL_sendfile()");
	stream_load(&st, s.out);
	stream_check_lossless(&st);
	while ((l = stream_find(&st, &i, 0, "ssl", "data"))) {
		if (strcmp(line_str(l, "function"), "SSL_sendfile"))
			continue;
		len += (uint64_t)line_int(l, "len");
		CHECK(!strcmp(line_str(l, "direction"), "write") &&
			      !json_object_get_string_len(object_at(l->data, "data")) &&
			      object_at(l->data, "truncated") && object_at(l->data, "connection"),
		      "told as %.300s", json_object_to_json_string(l->json));
	}
	CHECK(len == 3000000, "%llu bytes are told", (unsigned long long)len);
}

/* ---- libraries that the machine need not have ---- */

/* tests/tls/make.sh leaves word of why one is missing. */
static void library_needed(const char *name)
{
	char *path = live_printf("%s_%s.why", workload_path("tls"), name), *why;

	if (access(path, R_OK) < 0)
		live_skip("there is no %s (make tests)", path);
	why = live_read_file(path);
	if (*why)
		live_skip("%s", why);
}

/* Multi links came with 6.6, sessions with 6.13; below, each probe is a perf event of its own. */
static const char *mechanism_expected(void)
{
	int major = 0, minor = 0;
	struct utsname u;

	uname(&u);
	CHECK(sscanf(u.release, "%d.%d", &major, &minor) == 2, "which kernel is %s?", u.release);
	if (major < 6 || (major == 6 && minor < 6))
		return "uprobes";
	return major > 6 || minor >= 13 ? "uprobe session link" : "uprobe multi link";
}

/* How the functions in @file were found, and what probes them. */
static void check_attached(const struct stream *st, const char *file, const char *how)
{
	struct line *l;
	size_t i = 0;

	while ((l = stream_find(st, &i, 0, "agentsight", "capability"))) {
		if (!strstr(line_str(l, "hook"), file))
			continue;
		CHECK(!strcmp(line_str(l, "state"), "attached") &&
			      !strcmp(line_str(l, "mechanism"), mechanism_expected()) &&
			      strstr(line_str(l, "reason"), how),
		      "not '%s' by '%s': %s", how, mechanism_expected(),
		      json_object_to_json_string(l->data));
		return;
	}
	live_fail("nothing is said about %s", file);
}

/* Runs the workload @program with @... under agentsight, which knows of it before it starts. */
static void traced(const char *program, struct stream *st, const char *option, char *const args[])
{
	char *argv[16] = {
		sight_program(),       (char *)"trace", (char *)"--ssl",
		(char *)"--no-redact", (char *)"-o",    live_printf("%s/events", live_dir()),
		(char *)option,        (char *)"--",    workload_path(program)};
	struct sight s = {};

	for (size_t i = 0; args[i]; i++)
		argv[9 + i] = args[i];
	sight_launch(&s, -1, argv);
	sight_wait(&s);
	CHECK(WIFEXITED(s.status) && !WEXITSTATUS(s.status), "it ended with status %#x: %s",
	      s.status, sight_messages(&s));
	stream_load(st, argv[5]);
	stream_check_lossless(st);
	compare_sides(st, s.out);
	CHECK(stream_count(st, "ssl", "handshake") > 0, "no handshake was seen");
}

static void boringssl(const char *program, const char *mode, const char *n, const char *size,
		      const char *option)
{
	char *const args[] = {(char *)mode, (char *)n, (char *)size, (char *)option, NULL};
	struct stream st;

	library_needed("boringssl");
	traced(program, &st, "--ring-size=32", args);
	check_attached(&st, program, "BoringSSL (BoringSSL error sites)");
}

static void boringssl_big(void)
{
	boringssl("tls_boringssl_exe", "big", "1000000", NULL, NULL);
}

static void boringssl_keepalive(void)
{
	boringssl("tls_boringssl_exe", "pingpong", live_printf("%lu", live_scaled(5000)), "2000",
		  "--keepalive");
}

static void boringssl_reconnecting(void)
{
	boringssl("tls_boringssl_pie", "pingpong", live_printf("%lu", live_scaled(300)), "2000",
		  NULL);
}

static void openssl11(const char *mode, const char *n, const char *size)
{
	char *const args[] = {(char *)mode, (char *)n, (char *)size, NULL};
	struct stream st;
	char *library;

	library_needed("openssl11");
	library = live_printf("%s.lib/libssl.so.1.1", workload_path("tls_openssl11"));
	/* It lies where no library is looked for. */
	traced("tls_openssl11", &st, live_printf("--binary-path=%s", library), args);
	check_attached(&st, "libssl.so.1.1", "OpenSSL 1.1");
}

static void openssl11_big(void)
{
	openssl11("big", "1000000", NULL);
}

static void openssl11_ex(void)
{
	openssl11("ex", "1000", "5000");
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
static char *library_copy(const char *path, const char *name)
{
	char *copy = live_printf("%s/%s", live_dir(), name), chunk[65536];
	FILE *from = fopen(path, "re"), *to = fopen(copy, "we");
	size_t n;

	CHECK(from && to, "cannot copy %s: %s", path, strerror(errno));
	while ((n = fread(chunk, 1, sizeof(chunk), from)) > 0)
		CHECK(fwrite(chunk, 1, n, to) == n, "cannot write %s", copy);
	fclose(from);
	CHECK(!fclose(to), "cannot write %s: %s", copy, strerror(errno));
	return copy;
}

/* A workload that uses the file, of which the tracer is told. */
static void watch_library(struct workload *w, struct sight *s, const char *copy)
{
	hold_with(w, "LD_PRELOAD", copy);
	sight_start(s, "ssl", "--no-redact", "-p", live_printf("%d", w->pid),
		    live_printf("--binary-path=%s", copy), NULL);
}

/* It would be found by what is in it, too, but perhaps behind the first bytes. */
static void named_library(void)
{
	char *copy = library_copy(library_path(), "private-copy.so");
	struct workload w;
	struct stream st;
	struct sight s;

	watch_library(&w, &s, copy);
	workload_finish(&w);
	sight_stop(&s);
	stream_load(&st, s.out);
	stream_check_lossless(&st);
	stream_check_family(&st, w.pid);
	compare_sides(&st, w.out);
}

static bool is_there(void *path)
{
	return access(path, F_OK) == 0;
}

/* Both map the library once. What the first one had is not to be seen any more when it is looked for. */
static void brief_and_longer(void)
{
	char *copy = library_copy(library_path(), "private-copy.so"), *tls = workload_path("tls");
	char *flag = live_printf("%s/flag", live_dir());
	struct workload w;
	struct stream st;
	struct sight s;
	int line[2];

	CHECK(!pipe(line), "pipe: %s", strerror(errno));
	workload_hold(&w, "/bin/sh", "-c",
		      live_printf("export LD_PRELOAD=%s; %s ex 1 100 --no-sum; : >%s; "
				  "exec %s ex 2 100 --no-sum --wait <&%d",
				  copy, tls, flag, tls, line[0]),
		      NULL);
	sight_start(&s, "ssl",
		    NULL); /* of all: nobody looks at a process that is watched no more */
	sight_pause(&s);
	workload_release(&w);
	live_wait("the first one to end", is_there, flag, 30);
	sight_resume(&s);
	live_wait_text(s.out, "private-copy.so", 1, 30);
	CHECK(write(line[1], "\n", 1) == 1, "the workload is gone");
	workload_wait(&w);
	CHECK(w.status == 0, "the workload failed with status %#x", w.status);
	sight_stop(&s);
	stream_load(&st, s.out);
	check_attached(&st, "private-copy.so", "SSL_read");
	CHECK(stream_count(&st, "ssl", "data"), "no plaintext");
}

/* Nobody wrote: its probes go nevertheless, since that is not known, and come back. */
static void touched_library(void)
{
	char *copy = library_copy(library_path(), "touched-copy.so");
	struct workload w;
	struct stream st;
	struct sight s;

	watch_library(&w, &s, copy);
	live_wait_text(s.out, "touched-copy.so", 1, 30);
	CHECK(!utimensat(AT_FDCWD, copy, NULL, 0), "cannot touch %s: %s", copy, strerror(errno));
	live_wait_text(s.out, "not probed any more: its times have changed", 1, 30);
	live_wait_text(s.out, "touched-copy.so", 3, 30);
	workload_finish(&w);
	sight_stop(&s);
	stream_load(&st, s.out);
	stream_check_lossless(&st);
	compare_sides(&st, w.out);
}

/* ---- files that take long to be read ---- */

#define NAMES_BYTES ((16U << 20) - 4096)
#define SYMBOLS     (1U << 18)
#define COSTLY      200

/* As many symbols as are read at all, none of them of TLS; nearly nothing of it takes room on the disk. */
static void costly_file(const char *path)
{
	static const char name[] = "SSL_read";
	uint64_t symbols = 4096 + NAMES_BYTES, sections = symbols + SYMBOLS * sizeof(Elf64_Sym);
	struct {
		Elf64_Ehdr head;
		Elf64_Phdr load;
	} file = {.head = {.e_ident = ELFMAG "\2\1\1",
			   .e_type = ET_DYN,
			   .e_machine = EM_X86_64,
			   .e_version = EV_CURRENT,
			   .e_phoff = sizeof(file.head),
			   .e_shoff = sections,
			   .e_ehsize = sizeof(file.head),
			   .e_phentsize = sizeof(file.load),
			   .e_phnum = 1,
			   .e_shentsize = sizeof(Elf64_Shdr),
			   .e_shnum = 3},
		  .load = {.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_filesz = 4096}};
	Elf64_Shdr tables[] = {{},
			       {.sh_type = SHT_SYMTAB,
				.sh_offset = symbols,
				.sh_size = SYMBOLS * sizeof(Elf64_Sym),
				.sh_link = 2,
				.sh_entsize = sizeof(Elf64_Sym)},
			       {.sh_type = SHT_STRTAB, .sh_offset = 4096, .sh_size = NAMES_BYTES}};
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0755);

	CHECK(pwrite(fd, &file, sizeof(file), 0) == sizeof(file) &&
		      pwrite(fd, name, sizeof(name), (off_t)(symbols - sizeof(name))) ==
			      sizeof(name) &&
		      pwrite(fd, tables, sizeof(tables), (off_t)sections) == sizeof(tables),
	      "cannot write %s: %s", path, strerror(errno));
	CHECK(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) != MAP_FAILED,
	      "cannot map %s: %s", path, strerror(errno));
	close(fd);
}

/* They are read beside the events, and by somebody for whom the next library does not wait. */
static void costly_files(void)
{
	char *copy = library_copy(library_path(), "libssl-copy.so");
	struct timespec before, after;
	struct workload w;
	struct sight s;
	double seconds;
	int line[2];

	CHECK(!pipe(line), "pipe: %s", strerror(errno));
	workload_hold(&w, "/bin/sh", "-c",
		      live_printf("LD_PRELOAD=%s exec %s ex 2 100 --no-sum --wait <&%d", copy,
				  workload_path("tls"), line[0]),
		      NULL);
	sight_start(&s, "ssl", NULL);
	for (unsigned long k = 0; k < live_scaled(COSTLY); k++)
		costly_file(live_printf("%s/costly-%lu", live_dir(), k));
	clock_gettime(CLOCK_MONOTONIC, &before);
	workload_release(&w);
	live_wait_text(s.out, "libssl-copy.so", 1, 60);
	clock_gettime(CLOCK_MONOTONIC, &after);
	CHECK(write(line[1], "\n", 1) == 1, "the workload is gone");
	workload_wait(&w);
	sight_stop(&s);
	seconds = (double)(after.tv_sec - before.tv_sec) +
		  (double)(after.tv_nsec - before.tv_nsec) / 1e9;
	CHECK(live_in_guest() || seconds < 3, "it took %.1f s", seconds);
}

/* ---- more files than can be probed at once ---- */

#define PROBED_MAX 256

/* The text that copy @k sends, and how often it is told, written and read. */
static size_t bundle_told(const struct stream *st, unsigned long k)
{
	const char *text = live_printf("bundle %lu", k);
	const char *library = live_printf("bundle-%lu.so", k);
	struct line *l;
	size_t i = 0, n = 0;

	while ((l = stream_find(st, &i, 0, "ssl", "data"))) {
		if (strcmp(line_str(l, "data"), text))
			continue;
		CHECK(!strcmp(line_str(l, "library"), library), "of another file: %.300s",
		      json_object_to_json_string(l->json));
		n++;
	}
	return n;
}

static size_t bundles_probed(const struct stream *st)
{
	struct line *l;
	size_t i = 0, n = 0;

	while ((l = stream_find(st, &i, 0, "agentsight", "capability")))
		n += strstr(line_str(l, "hook"), "/bundle-") &&
		     !strcmp(line_str(l, "state"), "attached");
	return n;
}

/* Nobody has most of them open any more; what is still in use keeps its probes. */
static void bundles(void)
{
	unsigned long n = live_scaled(PROBED_MAX + 64);
	char *argv[] = {workload_path("tls_bundles"), library_path(), (char *)live_dir(),
			live_printf("%lu", n), NULL};
	struct workload w;
	struct stream st;
	struct sight s;

	workload_hold_argv(&w, argv);
	sight_start(&s, "ssl", "--no-redact", "-p", live_printf("%d", w.pid), NULL);
	workload_finish(&w);
	sight_stop(&s);
	stream_load(&st, s.out);
	stream_check_lossless(&st);
	for (unsigned long k = 0; k < n; k++)
		CHECK(bundle_told(&st, k) == (k ? 2 : 4), "bundle %lu was told %zu times", k,
		      bundle_told(&st, k));
	CHECK(bundles_probed(&st) >= n, "only %zu of %lu were said to be probed",
	      bundles_probed(&st), n);
	CHECK(n < PROBED_MAX ||
		      json_object_get_int64(object_at(st.stop, "tables.tls_files.evicted")),
	      "no file was given back");
	CHECK(!object_at(st.stop, "tables.tls_files.refused"), "files were refused");
}

const struct live_test tls_tests[] = {
	{"a_megabyte_over_TLS_is_exact_both_ways", big, 60},
	{"twenty_thousand_kept_alive_requests_are_all_there", keepalive, 180},
	{"SSL_read_ex_and_SSL_write_ex_are_seen", ex, 60},
	{"requests_on_new_connections_are_exact", reconnecting, 120},
	{"many_connections_with_one_request_are_exact", many, 120},
	{"what_a_session_agreed_upon_is_told_once", protocols_asked, 60},
	{"what_nobody_asks_for_is_told_by_the_handshake", protocols_unasked, 60},
	{"a_server_name_that_is_taken_back_is_not_told", names_taken_back, 60},
	{"a_handshake_that_its_peer_ends_has_failed", broken, 60},
	{"a_session_that_shakes_hands_again_keeps_its_number", renegotiated, 60},
	{"a_session_over_memory_knows_its_socket", memory, 60},
	{"a_session_over_memory_keeps_its_socket", memory_queued, 60},
	{"a_session_over_memory_has_nothing_of_the_one_before_at_its_address", memory_reused, 60},
	{"SSL_sendfile_is_a_gap_of_its_length", sent_file, 60},
	{"a_megabyte_over_BoringSSL_linked_in_is_exact_both_ways", boringssl_big, 60},
	{"kept_alive_requests_over_BoringSSL_linked_in_are_exact", boringssl_keepalive, 120},
	{"new_connections_over_position_independent_BoringSSL_are_exact", boringssl_reconnecting,
	 120},
	{"a_megabyte_over_OpenSSL_1_1_1_is_exact_both_ways", openssl11_big, 60},
	{"SSL_read_ex_and_SSL_write_ex_of_OpenSSL_1_1_1_are_seen", openssl11_ex, 60},
	{"a_named_file_without_TLS_functions_is_an_error", named_without_functions, 30},
	{"a_library_under_another_name_is_captured_when_named", named_library, 60},
	{"a_process_that_is_gone_hides_no_library_from_the_next_one", brief_and_longer, 60},
	{"a_library_whose_times_are_set_is_probed_again", touched_library, 60},
	{"a_library_is_probed_at_once_beside_files_with_many_symbols", costly_files, 120},
	{"more_files_than_can_be_probed_at_once_are_seen_one_after_the_other", bundles, 300},
	{},
};
