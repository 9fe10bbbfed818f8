/* SPDX-License-Identifier: MIT */
/*
 * Plaintext of TLS libraries other than OpenSSL: whole programs against a server that tells what it saw. Where
 * a program is missing the test is skipped. The agents are fetched from elsewhere, so their tests run only
 * where AGENTSIGHT_AGENTS names the directory: `make check-agents`.
 */
#include "live.h"

#include <errno.h>
#include <glob.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sha256.h"
#include "tls.h"

#define STREAMS_MAX 256

/* One direction of one session. */
struct flow {
	int64_t stream_id;
	const char *direction;
	struct sha256 sum;
	uint64_t bytes, len;
	char hex[65];
	bool told;
};

struct flows {
	struct flow list[STREAMS_MAX];
	size_t n;
};

static struct flow *flow_of(struct flows *f, int64_t stream_id, const char *direction)
{
	for (size_t i = 0; i < f->n; i++) {
		if (f->list[i].stream_id == stream_id && !strcmp(f->list[i].direction, direction))
			return &f->list[i];
	}
	CHECK(f->n < STREAMS_MAX, "there are too many streams");
	f->list[f->n] = (struct flow){.stream_id = stream_id, .direction = direction};
	sha256_begin(&f->list[f->n].sum);
	return &f->list[f->n++];
}

/* Of calls whose function begins with @function only. */
static struct flows *flows_take(const struct stream *st, const char *function)
{
	struct flows *f = calloc(1, sizeof(*f));
	struct line *l;
	size_t i = 0;

	while ((l = stream_find(st, &i, 0, "ssl", "data"))) {
		struct flow *flow;

		if (strncmp(line_str(l, "function"), function, strlen(function)) != 0)
			continue;
		flow = flow_of(f, line_int(l, "stream_id"), line_str(l, "direction"));
		CHECK(!object_at(l->data, "truncated"), "cut: %.300s",
		      json_object_to_json_string(l->json));
		flow->len += line_int(l, "len");
		tls_plaintext_add(l, &flow->sum, &flow->bytes);
	}
	for (i = 0; i < f->n; i++)
		sha256_end(&f->list[i].sum, f->list[i].hex);
	return f;
}

static bool flow_told(struct flows *f, json_object *told)
{
	const char *direction = json_object_get_string(object_at(told, "direction"));
	const char *hex = json_object_get_string(object_at(told, "sha256"));

	for (size_t i = 0; i < f->n; i++) {
		struct flow *flow = &f->list[i];

		if (flow->told || strcmp(flow->direction, direction) || strcmp(flow->hex, hex))
			continue;
		CHECK(flow->bytes == flow->len, "only %llu bytes of %llu are shown",
		      (unsigned long long)flow->bytes, (unsigned long long)flow->len);
		flow->told = true;
		return true;
	}
	return false;
}

/* Each direction that was told of is a flow of its own, and there are no others. */
static size_t flows_compare(struct flows *f, const char *path)
{
	FILE *file = fopen(path, "re");
	char *text = NULL;
	size_t cap = 0, n = 0;

	CHECK(file, "cannot read %s: %s", path, strerror(errno));
	while (getline(&text, &cap, file) > 0) {
		json_object *told = json_tokener_parse(text);

		CHECK(told, "what was told is not JSON: %s", text);
		if (!json_object_get_int64(object_at(told, "bytes")))
			continue;
		CHECK(flow_told(f, told), "no stream has these bytes: %s", text);
		n++;
	}
	for (size_t i = 0; i < f->n; i++)
		CHECK(f->list[i].told, "a stream that nobody told of: %s of %llu bytes",
		      f->list[i].direction, (unsigned long long)f->list[i].bytes);
	fclose(file);
	free(text);
	return n;
}

/* A stream has both directions. */
static void flows_paired(const struct flows *f)
{
	for (size_t i = 0; i < f->n; i++) {
		size_t same = 0;

		for (size_t k = 0; k < f->n; k++)
			same += f->list[k].stream_id == f->list[i].stream_id;
		CHECK(same == 2, "a stream has %zu directions", same);
	}
}

/* ---- Go ---- */

static void go_program(const char *name)
{
	char *path = workload_path(name);
	char *argv[] = {sight_program(),
			(char *)"trace",
			(char *)"--ssl",
			(char *)"--no-redact",
			(char *)"-o",
			live_printf("%s/events", live_dir()),
			(char *)"--ring-size=32", /* eight connections at full speed */
			(char *)"--",
			path,
			(char *)"8",
			live_printf("%lu", live_scaled(60)),
			NULL};
	struct sight s = {};
	struct stream st;

	sight_launch(&s, -1, argv);
	sight_wait(&s);
	CHECK(WIFEXITED(s.status) && !WEXITSTATUS(s.status), "it ended with status %#x: %s",
	      s.status, sight_messages(&s));
	stream_load(&st, argv[5]);
	stream_check_lossless(&st);
	CHECK(flows_compare(flows_take(&st, "crypto/tls."), s.out) == 32,
	      "other than 32 directions were told");
	CHECK(!stream_count(&st, "ssl", "handshake"), "Go has no handshake events");
}

/* The goroutine that reads an answer is faster than the call of the other one that sent its request. */
static void go_http(void)
{
	char *path = workload_path("go_tls_exe");
	unsigned long rounds = live_scaled(500);
	char *argv[] = {sight_program(),
			(char *)"trace",
			(char *)"--ssl",
			(char *)"-o",
			live_printf("%s/events", live_dir()),
			(char *)"--",
			path,
			(char *)"2",
			live_printf("%lu", rounds),
			(char *)"--http",
			NULL};
	size_t i = 0, answers = 0;
	struct sight s = {};
	struct line *l;
	struct stream st;

	sight_launch(&s, -1, argv);
	sight_wait(&s);
	CHECK(WIFEXITED(s.status) && !WEXITSTATUS(s.status), "it ended with status %#x: %s",
	      s.status, sight_messages(&s));
	stream_load(&st, argv[4]);
	while ((l = stream_find(&st, &i, 0, "ssl", "http_response"))) {
		const char *asked = json_object_get_string(object_at(l->data, "request.path"));
		const char *said = json_object_get_string(object_at(l->data, "response.body"));

		/* the server is met when it runs already */
		if (strcmp(line_str(l, "role"), "client"))
			continue;
		CHECK(asked && said && !strcmp(asked, said), "'%s' is answered by '%s'", asked,
		      said);
		answers++;
	}
	CHECK(answers == 2 * rounds, "%zu answers", answers);
}

static void go_fixed(void)
{
	go_program("go_tls_exe");
}

static void go_pie(void)
{
	go_program("go_tls_pie");
}

/* ---- programs against a server ---- */

struct server {
	pid_t pid;
	char *dir;
	char *out;
	const char *port;
};

static bool port_known(void *context)
{
	struct server *s = context;

	return access(live_printf("%s/port", s->dir), R_OK) == 0;
}

static void server_start(struct server *s, const char *version)
{
	const char *python = getenv("SYSTEM_PYTHON");
	char *argv[] = {(char *)(python ? python : "/usr/bin/python3"),
			(char *)"tests/live/tls_server.py", (char *)live_dir(), (char *)version,
			NULL};
	struct workload w;

	if (access(argv[0], X_OK) < 0 || access("/usr/bin/openssl", X_OK) < 0)
		live_skip("no python3 or no openssl");
	CHECK(access(argv[1], R_OK) == 0, "there is no %s", argv[1]);
	workload_hold_argv(&w, argv);
	workload_release(&w);
	*s = (struct server){.pid = w.pid, .dir = (char *)live_dir(), .out = w.out};
	live_wait("the server", port_known, s, 30);
	s->port = live_read_file(live_printf("%s/port", s->dir));
}

/* A file of random bytes, to be sent. */
static char *upload(size_t n)
{
	char *path = live_printf("%s/upload", live_dir()), *bytes = malloc(n);
	FILE *from = fopen("/dev/urandom", "re"), *to = fopen(path, "we");

	CHECK(bytes && from && to && fread(bytes, 1, n, from) == n &&
		      fwrite(bytes, 1, n, to) == n && !fclose(to),
	      "cannot make %s", path);
	fclose(from);
	free(bytes);
	return path;
}

/* Runs @program, with arguments up to NULL, under agentsight. */
static void program_record(char *const program[], struct stream *ret)
{
	char *argv[32] = {sight_program(), (char *)"trace",
			  (char *)"--ssl", (char *)"--no-redact",
			  (char *)"-o",    live_printf("%s/events", live_dir()),
			  (char *)"--"};
	struct sight s = {};

	for (size_t i = 0; program[i]; i++)
		argv[7 + i] = program[i];
	sight_launch(&s, -1, argv);
	sight_wait(&s);
	CHECK(WIFEXITED(s.status) && !WEXITSTATUS(s.status), "it ended with status %#x: %s",
	      s.status, sight_messages(&s));
	stream_load(ret, argv[5]);
	stream_check_lossless(ret);
}

/* Half of the clients are of a type whose socket is not known: then none is told. */
static void go_in_turns(void)
{
	char *argv[] = {workload_path("go_tls_exe"), (char *)"60", (char *)"0",
			(char *)"--in-turns", NULL};
	size_t i = 0, n = 0, known = 0;
	struct flows streams = {};
	struct stream st;
	struct line *l;

	program_record(argv, &st);
	for (; (l = stream_find(&st, &i, 0, "ssl", "data")); n++) {
		const char *text = line_str(l, "data");
		struct flow *flow = flow_of(&streams, line_int(l, "stream_id"), "");
		int64_t port, local, remote;

		CHECK(sscanf(text, "port %" SCNd64, &port) == 1, "nobody has said '%s'", text);
		CHECK(!flow->len || flow->len == (uint64_t)port, "a stream of two ports: '%s'",
		      text);
		flow->len = (uint64_t)port;
		if (!object_at(l->data, "connection"))
			continue;
		local = json_object_get_int64(object_at(l->data, "connection.local.port"));
		remote = json_object_get_int64(object_at(l->data, "connection.remote.port"));
		CHECK(local == port || remote == port, "'%s' is told of %" PRId64 " and %" PRId64,
		      text, local, remote);
		known++;
	}
	CHECK(n == 240 && known == 180, "%zu calls are told, %zu with their socket", n, known);
}

/* Each call knows its socket; when that showed only behind the first ones, the session tells it. */
static void sockets_told(const struct stream *st)
{
	struct line *l, *s;
	size_t i = 0, k;

	while ((l = stream_find(st, &i, 0, "ssl", "data"))) {
		if (object_at(l->data, "connection"))
			continue;
		for (k = 0; (s = stream_find(st, &k, 0, "ssl", "session"));) {
			if (line_int(s, "stream_id") == line_int(l, "stream_id") &&
			    object_at(s->data, "connection") && s->timestamp > l->timestamp)
				break;
		}
		CHECK(s, "no socket: %.300s", json_object_to_json_string(l->json));
	}
}

/* The same; its calls of @function are compared. */
static void program_compare(const struct server *server, const char *function,
			    char *const program[])
{
	struct flows *flows;
	struct stream st;

	program_record(program, &st);
	kill(server->pid, SIGTERM); /* it tells of every connection first */
	waitpid(server->pid, NULL, 0);
	flows = flows_take(&st, function);
	CHECK(flows_compare(flows, server->out) >= 2, "the server saw no requests");
	flows_paired(flows);
	sockets_told(&st);
}

static void wget(void)
{
	struct server server;
	char *argv[] = {(char *)"/usr/bin/wget",
			(char *)"-q",
			(char *)"--no-check-certificate",
			(char *)"-O",
			(char *)"/dev/null",
			NULL,
			NULL,
			NULL};

	if (access(argv[0], X_OK) < 0)
		live_skip("no wget");
	server_start(&server, NULL);
	argv[5] = live_printf("--post-file=%s", upload(300000));
	argv[6] = live_printf("https://localhost:%s/x/200000", server.port);
	program_compare(&server, "gnutls_", argv);
}

/* ---- what a session is told to be ---- */

static bool is(const struct line *l, const char *key, const char *want)
{
	return object_at(l->data, key) && !strcmp(line_str(l, key), want);
}

static void check_names(const struct stream *st, const char *type)
{
	struct line *l;
	size_t i = 0, n = 0;

	while ((l = stream_find(st, &i, 0, "ssl", type))) {
		CHECK(is(l, "server_name", "localhost") && is(l, "alpn", "http/1.1"),
		      "without its session's names: %.600s", json_object_to_json_string(l->json));
		n++;
	}
	CHECK(n, "there is no %s", type);
}

/* Shell @text, with the server's port in AS_PORT: its requests tell their session. @first tells it first. */
static void names_told(const char *program, const char *text, const char *first)
{
	char *argv[] = {(char *)"/bin/sh", (char *)"-c", NULL, NULL};
	struct server server;
	struct stream st;
	struct line *l;
	size_t i = 0;

	if (access(program, X_OK) < 0)
		live_skip("no %s", program);
	server_start(&server, NULL);
	setenv("AS_PORT", server.port, 1);
	argv[2] = (char *)text;
	program_record(argv, &st);
	check_names(&st, "http_request");
	check_names(&st, "http_response");
	while ((l = stream_find(&st, &i, 0, "ssl", first)) && !object_at(l->data, "alpn"))
		;
	CHECK(l, "no %s event tells the protocol", first);
}

static void names_curl(void)
{
	names_told("/usr/bin/curl", "curl -sSk https://localhost:$AS_PORT/x/9 -o /dev/null",
		   "handshake");
}

/* A refused answer is enough. */
static void names_gnutls(void)
{
	names_told("/usr/lib/git-core/git-remote-https",
		   "GIT_SSL_NO_VERIFY=1 git ls-remote https://localhost:$AS_PORT/x; true",
		   "session");
}

static void names_node(void)
{
	names_told("/usr/bin/node",
		   "NODE_TLS_REJECT_UNAUTHORIZED=0 node -e \"fetch('https://localhost:' + "
		   "process.env.AS_PORT + '/x/9').then(r => r.text())\"",
		   "session");
}

static void names_python(void)
{
	names_told("/usr/bin/python3",
		   "/usr/bin/python3 -c \"import asyncio, os, ssl\n"
		   "c = ssl._create_unverified_context()\n"
		   "c.set_alpn_protocols(['http/1.1'])\n"
		   "async def ask():\n"
		   "    r, w = await asyncio.open_connection('localhost', os.environ['AS_PORT'], "
		   "ssl=c)\n"
		   "    w.write(b'GET /x/9 HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n')\n"
		   "    await r.read(1000)\n"
		   "asyncio.run(ask())\"",
		   "handshake");
}

/* ---- agents ---- */

static char *agent(const char *pattern)
{
	const char *top = getenv("AGENTSIGHT_AGENTS");
	glob_t found = {};
	char *path;

	if (!top)
		live_skip("AGENTSIGHT_AGENTS is not set");
	if (glob(live_printf("%s/%s", top, pattern), 0, NULL, &found) != 0)
		live_skip("there is no %s", pattern);
	path = live_printf("%s", found.gl_pathv[0]);
	globfree(&found);
	return path;
}

static char *script(const char *port, const char *options)
{
	char *path = live_printf("%s/fetch.js", live_dir());
	FILE *f = fopen(path, "we");

	CHECK(f, "cannot make %s", path);
	fprintf(f,
		"const up = new Uint8Array(300000).map((_, i) => (i * i + 7) & 255);\n"
		"for (const n of [300000, 1, 20000]) {\n"
		"  const r = await fetch('https://localhost:%s/x/' + n,\n"
		"                        {method: 'POST', body: up.slice(0, n)%s});\n"
		"  if ((await r.arrayBuffer()).byteLength != n) throw 'short';\n"
		"}\n",
		port, options);
	CHECK(!fclose(f), "cannot write %s", path);
	return path;
}

static void bun(const char *pattern)
{
	char *path = agent(pattern);
	char *argv[] = {path, (char *)"run", NULL, NULL};
	struct server server;

	server_start(&server, NULL);
	argv[2] = script(server.port, ", tls: {rejectUnauthorized: false}");
	program_compare(&server, "SSL_", argv);
}

static void bun_old(void)
{
	bun("bun-1.0.36/package/bin/bun");
}

static void bun_new(void)
{
	bun("bun-1.4.*/package/bin/bun");
}

static void deno(const char *pattern, const char *version, const char *function)
{
	char *path = agent(pattern);
	char *argv[] = {path,         (char *)"run",
			(char *)"-A", (char *)"--unsafely-ignore-certificate-errors",
			NULL,         NULL};
	struct server server;

	server_start(&server, version);
	setenv("DENO_NO_UPDATE_CHECK", "1", 1);
	argv[4] = script(server.port, "");
	program_compare(&server, function, argv);
}

static void deno_ring(void)
{
	deno("deno-2.2.*/package/deno", NULL, "ring::aead ");
}

static void deno_ring_tls12(void)
{
	deno("deno-2.2.*/package/deno", "TLSv1_2", "ring::aead ");
}

static void deno_aws(void)
{
	deno("deno-2.9.*/package/deno", NULL, "EVP_AEAD_CTX_");
}

static void deno_aws_tls12(void)
{
	deno("deno-2.9.*/package/deno", "TLSv1_2", "EVP_AEAD_CTX_");
}

const struct live_test tls_more_tests[] = {
	{"a_Go_program_is_exact_both_ways", go_fixed, 120},
	{"answers_of_a_Go_program_have_their_own_requests", go_http, 120},
	{"a_position_independent_Go_program_is_exact_both_ways", go_pie, 120},
	{"Go_connections_in_each_others_memory_are_kept_apart", go_in_turns, 60},
	{"what_wget_sends_and_gets_over_GnuTLS_is_exact", wget, 60},
	{"requests_of_curl_tell_name_and_protocol_of_their_session", names_curl, 60},
	{"requests_over_GnuTLS_tell_name_and_protocol_of_their_session", names_gnutls, 60},
	{"requests_of_node_tell_name_and_protocol_of_their_session", names_node, 60},
	{"requests_over_memory_tell_name_and_protocol_of_their_session", names_python, 60},
	{"an_old_bun_is_exact_both_ways", bun_old, 60},
	{"a_new_bun_is_exact_both_ways", bun_new, 60},
	{"deno_on_ring_is_exact_both_ways", deno_ring, 60},
	{"deno_on_ring_with_TLS_1_2_is_exact_both_ways", deno_ring_tls12, 60},
	{"deno_on_AWS_LC_is_exact_both_ways", deno_aws, 60},
	{"deno_on_AWS_LC_with_TLS_1_2_is_exact_both_ways", deno_aws_tls12, 60},
	{},
};
