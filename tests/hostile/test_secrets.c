/* SPDX-License-Identifier: MIT */
/*
 * Keys of many makers, where programs put them, cut at every byte between two calls, chunks or frames: none of
 * them reaches a line of JSON, a line for the terminal or the summary. What docs/ARCHITECTURE.md says is not
 * found (its "Limits") is not asked for here.
 */
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <json-c/json.h>
#include <zlib.h>

#include "base/cleanup.h"
#include "hostile/run.h"
#include "stage/secrets.h"
#include "stage/select.h"

#define READ    AS_TLS_READ
#define WRITE   AS_TLS_WRITE
#define KEY_MAX 2048
#define WINDOW  8 /* so many bytes of a key in a row are a leak, at every fourth place */
#define STEP    4

#define ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
#define LOWER "abcdefghijklmnopqrstuvwxyz0123456789"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
#define HEX   "0123456789abcdef"
#define URL64 ALNUM "-_"

/* A key is its prefix and random bytes; @named: nothing tells it but the name that it has. */
static const struct maker {
	const char *name, *prefix, *alphabet;
	size_t n;
	bool named, dotted;
} makers[] = {
	{"Anthropic", "sk-ant-api03-", URL64, 93, false, false},
	{"Anthropic admin", "sk-ant-admin01-", URL64, 93, false, false},
	{"Anthropic OAuth", "sk-ant-oat01-", URL64, 93, false, false},
	{"OpenAI", "sk-", ALNUM, 48, false, false},
	{"OpenAI project", "sk-proj-", URL64, 120, false, false},
	{"OpenAI service account", "sk-svcacct-", URL64, 120, false, false},
	{"OpenRouter", "sk-or-v1-", HEX, 64, false, false},
	{"DeepSeek", "sk-", HEX, 32, false, false},
	{"Google", "AIzaSy", URL64, 33, false, false},
	{"Google client secret", "GOCSPX-", URL64, 28, false, false},
	{"AWS access key", "AKIA", UPPER, 16, false, false},
	{"AWS session key", "ASIA", UPPER, 16, false, false},
	{"AWS secret key", "", ALNUM "+/", 40, true, false},
	{"GitHub", "ghp_", ALNUM, 36, false, false},
	{"GitHub OAuth", "gho_", ALNUM, 36, false, false},
	{"GitHub app, user", "ghu_", ALNUM, 36, false, false},
	{"GitHub app, server", "ghs_", ALNUM, 36, false, false},
	{"GitHub refresh", "ghr_", ALNUM, 36, false, false},
	{"GitHub fine-grained", "github_pat_", ALNUM "_", 82, false, false},
	{"GitLab", "glpat-", URL64, 20, false, false},
	{"GitLab runner", "glrt-", URL64, 20, false, false},
	{"Slack bot", "xoxb-", ALNUM "-", 50, false, false},
	{"Slack user", "xoxp-", ALNUM "-", 60, false, false},
	{"Slack app", "xapp-1-", ALNUM "-", 60, false, false},
	{"Slack legacy", "xoxs-", ALNUM "-", 50, false, false},
	{"Hugging Face", "hf_", ALNUM, 34, false, false},
	{"Stripe", "sk_live_", ALNUM, 24, false, false},
	{"Stripe, test", "sk_test_", ALNUM, 24, false, false},
	{"Stripe, restricted", "rk_live_", ALNUM, 24, false, false},
	{"Stripe webhook", "whsec_", ALNUM, 32, false, false},
	{"Groq", "gsk_", ALNUM, 52, false, false},
	{"xAI", "xai-", ALNUM, 80, false, false},
	{"Perplexity", "pplx-", ALNUM, 48, false, false},
	{"Replicate", "r8_", ALNUM, 37, false, false},
	{"NVIDIA", "nvapi-", URL64, 64, false, false},
	{"Tavily", "tvly-", ALNUM "-", 32, false, false},
	{"npm", "npm_", ALNUM, 36, false, false},
	{"PyPI", "pypi-AgEIcHlwaS5vcmc", URL64, 140, false, false},
	{"DigitalOcean", "dop_v1_", HEX, 64, false, false},
	{"Docker", "dckr_pat_", URL64, 27, false, false},
	{"Linear", "lin_api_", ALNUM, 40, false, false},
	{"Notion", "ntn_", ALNUM, 46, false, false},
	{"Shopify", "shpat_", HEX, 32, false, false},
	{"Sentry", "sntryu_", HEX, 64, false, false},
	{"Databricks", "dapi-", HEX, 32, true, false},
	{"a JWT", "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9", URL64, 120, false, true},
	{"SendGrid", "SG", URL64, 67, false, true},
	{"Azure", "", ALNUM "+/", 43, true, false},
	{"Mistral", "", ALNUM, 32, true, false},
	{"a password", "", ALNUM, 16, true, false},
};

static struct run run;
static char key[KEY_MAX];      /* what must not be seen */
static size_t key_n, key_from; /* from there on it is random */
static const struct maker *maker;
static size_t cut;
static size_t leaks, cases, lines;
static bool decoded_only; /* what is told of HTTP, not what a connection carried */
static uint64_t stream;
static uint32_t dice = 20;

static uint32_t roll(void)
{
	dice = dice * 1664525U + 1013904223U;
	return dice >> 8;
}

static void key_make(const struct maker *m)
{
	maker = m;
	key_from = strlen(m->prefix);
	memcpy(key, m->prefix, key_from);
	key_n = key_from + m->n;
	for (size_t i = key_from; i < key_n; i++)
		key[i] = m->alphabet[roll() % strlen(m->alphabet)];
	key[key_n - 2] = '7'; /* no such key has neither digits nor capitals */
	if (m->dotted)
		key[key_from + (key_from > 2 ? 0 : m->n / 3)] = key[key_from + m->n / 2] = '.';
	key[key_n] = '\0';
}

static void leak(const char *where, const char *text, size_t n)
{
	if (leaks++ < 20)
		print_error("%s, cut at %zu: %s in %s: %.*s\n", maker->name, cut, key, where,
			    (int)MIN(n, (size_t)600), text);
}

static void must_not_hold(const char *where, const char *text, size_t n)
{
	for (size_t i = key_from; i + WINDOW <= key_n; i += STEP) {
		if (memmem(text, n, key + i, WINDOW)) {
			leak(where, text, n);
			return;
		}
	}
}

static uint8_t sextet(char c)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = strchr(digits, c);

	return at && c ? (uint8_t)(at - digits) : 0;
}

static size_t base64_undo(const char *p, size_t n, char *ret)
{
	size_t len = 0;

	for (size_t i = 0; i + 4 <= n; i += 4) {
		uint32_t v = (uint32_t)sextet(p[i]) << 18 | (uint32_t)sextet(p[i + 1]) << 12 |
			     (uint32_t)sextet(p[i + 2]) << 6 | sextet(p[i + 3]);

		ret[len++] = (char)(v >> 16);
		ret[len++] = (char)(v >> 8);
		ret[len++] = (char)v;
	}
	return len;
}

/* What stands in "…_base64":"…" is looked at as well. */
static void check_base64(const char *line, size_t len)
{
	static char bytes[1 << 16];
	const char *p = line, *end = line + len, *close;

	while ((p = memmem(p, (size_t)(end - p), "_base64\":\"", 10))) {
		p += 10;
		close = memchr(p, '"', (size_t)(end - p));
		if (!close || (size_t)(close - p) > sizeof(bytes))
			return;
		must_not_hold("bytes", bytes, base64_undo(p, (size_t)(close - p), bytes));
	}
}

static void on_line(struct run *r, const struct event *ev, const char *line, size_t len)
{
	lines++;
	if (decoded_only && ev->desc->type == AS_EV_SSL_DATA)
		return;
	must_not_hold("JSON", line, len);
	check_base64(line, len);
	must_not_hold("the terminal", r->screen.data, r->screen.len);
}

/* ---- what carries a key ---- */

struct text {
	char p[4 * KEY_MAX];
	size_t n;
};

static void add(struct text *t, const void *p, size_t n)
{
	assert_true(t->n + n <= sizeof(t->p));
	memcpy(t->p + t->n, p, n);
	t->n += n;
}

static void add_str(struct text *t, const char *s)
{
	add(t, s, strlen(s));
}

__attribute__((format(printf, 2, 3))) static void add_f(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->p + t->n, sizeof(t->p) - t->n, fmt, ap);
	va_end(ap);
	assert_true(n >= 0 && t->n + (size_t)n < sizeof(t->p));
	t->n += (size_t)n;
}

static void calls(enum as_tls_direction direction, const struct text *t, size_t at)
{
	if (at)
		run_data(&run, stream, direction, t->p, at);
	run_data(&run, stream, direction, t->p + at, t->n - at);
}

static void answer(void)
{
	static const char ok[] = "HTTP/1.1 204 No Content\r\n\r\n";

	run_data(&run, stream, READ, ok, sizeof(ok) - 1);
}

static void request_head(struct text *t, const char *more, size_t body)
{
	add_f(t, "POST /v1/messages HTTP/1.1\r\nHost: h\r\n%sContent-Length: %zu\r\n\r\n", more,
	      body);
}

/* Cut at every byte from a little before the key to a little behind it. */
static void each_cut(const struct text *t, void (*send)(const struct text *t, size_t at))
{
	const char *at = memmem(t->p, t->n, key, key_n);
	size_t from, to;

	assert_non_null(at);
	from = (size_t)(at - t->p) > 24 ? (size_t)(at - t->p) - 24 : 1;
	to = MIN((size_t)(at - t->p) + key_n + 3, t->n - 1);
	for (cut = from; cut <= to; cut++) {
		stream++;
		cases++;
		send(t, cut);
	}
}

static void as_request(const struct text *t, size_t at)
{
	calls(WRITE, t, at);
	answer();
}

static void in_header(const char *before, const char *after)
{
	struct text t = {.n = 0}, more = {.n = 0};

	add_f(&more, "%s%s%s\r\n", before, key, after);
	add(&more, "", 1);
	request_head(&t, more.p, 2);
	add_str(&t, "{}");
	each_cut(&t, as_request);
}

static void in_body(const char *before, const char *after)
{
	struct text t = {.n = 0};

	request_head(&t, "Content-Type: application/json\r\n",
		     strlen(before) + key_n + strlen(after));
	add_f(&t, "%s%s%s", before, key, after);
	each_cut(&t, as_request);
}

static void in_query(void)
{
	struct text t = {.n = 0};

	add_f(&t, "GET /v1beta/models?key=%s&alt=sse HTTP/1.1\r\nHost: h\r\n\r\n", key);
	each_cut(&t, as_request);
}

/* Two chunks, in one call and in two. */
static void send_chunks(const struct text *t, size_t at)
{
	struct text whole = {.n = 0};
	size_t first;

	add_str(&whole,
		"POST /v1/messages HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
		"Transfer-Encoding: chunked\r\n\r\n");
	add_f(&whole, "%zx\r\n", at);
	add(&whole, t->p, at);
	add_str(&whole, "\r\n");
	first = whole.n;
	add_f(&whole, "%zX;name=\"value\"\r\n", t->n - at);
	add(&whole, t->p + at, t->n - at);
	add_str(&whole, "\r\n0\r\n\r\n");
	calls(WRITE, &whole, first);
	answer();
	stream++;
	calls(WRITE, &whole, 0);
	answer();
}

static void in_chunks(const char *before, const char *after)
{
	struct text t = {.n = 0};

	add_f(&t, "%s%s%s", before, key, after);
	each_cut(&t, send_chunks);
}

static void send_events(const struct text *t, size_t at)
{
	static const char get[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
	struct text whole = {.n = 0};

	run_data(&run, stream, WRITE, get, sizeof(get) - 1);
	add_str(&whole, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
			"Transfer-Encoding: chunked\r\n\r\n");
	add_f(&whole, "%zx\r\n", at);
	add(&whole, t->p, at);
	add_f(&whole, "\r\n%zx\r\n", t->n - at);
	add(&whole, t->p + at, t->n - at);
	add_str(&whole, "\r\n0\r\n\r\n");
	calls(READ, &whole, 0);
}

static void in_events(const char *before, const char *after)
{
	struct text t = {.n = 0};

	add_f(&t, "event: content_block_delta\ndata: %s%s%s\n\nevent: message_stop\ndata: {}\n\n",
	      before, key, after);
	each_cut(&t, send_events);
}

static void gzip_add(struct text *ret, const char *p, size_t n)
{
	z_stream z = {0};

	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	z.next_in = (void *)(uintptr_t)p;
	z.avail_in = (uInt)n;
	z.next_out = (void *)(ret->p + ret->n);
	z.avail_out = (uInt)(sizeof(ret->p) - ret->n);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	ret->n = sizeof(ret->p) - z.avail_out;
	deflateEnd(&z);
}

/* Compressed, so that any byte may be a part of it. */
static void in_gzip(void)
{
	struct text t = {.n = 0}, body = {.n = 0}, packed = {.n = 0};

	add_f(&body, "{\"model\":\"m\",\"api_key\":\"%s\",\"note\":\"take %s\"}", key,
	      maker->named ? "it" : key);
	gzip_add(&packed, body.p, body.n);
	request_head(&t, "Content-Encoding: gzip\r\n", packed.n);
	add(&t, packed.p, packed.n);
	for (cut = t.n - packed.n; cut < t.n; cut += 3) {
		stream++;
		cases++;
		as_request(&t, cut);
	}
}

/* ---- HTTP/2 ---- */

static void frame(struct text *t, uint8_t type, uint8_t flags, uint32_t id, const void *p, size_t n)
{
	const uint8_t head[] = {
		(uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n, type, flags, 0, 0, 0,
		(uint8_t)id};

	add(t, head, sizeof(head));
	add(t, p, n);
}

static void preface(struct text *t)
{
	add_str(t, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
	frame(t, 4, 0, 0, "", 0);
}

static void hpack_literal(struct text *t, const char *name, const char *value, size_t n)
{
	const uint8_t head[] = {0x00, (uint8_t)strlen(name)};

	add(t, head, sizeof(head));
	add_str(t, name);
	if (n < 127) {
		add(t, &(uint8_t){(uint8_t)n}, 1);
	} else {
		assert_true(n - 127 < 128 * 128);
		add(t, "\x7f", 1);
		if (n - 127 >= 128) {
			add(t, &(uint8_t){(uint8_t)(0x80 | ((n - 127) & 127))}, 1);
			add(t, &(uint8_t){(uint8_t)((n - 127) >> 7)}, 1);
		} else {
			add(t, &(uint8_t){(uint8_t)(n - 127)}, 1);
		}
	}
	add(t, value, n);
}

/* Where the key is cut there is the header of a frame. */
static void send_frames(const struct text *t, size_t at, uint8_t type, uint8_t next, bool two_calls)
{
	static const char head[] = "\x83\x84\x86\x41\x01h";
	struct text whole = {.n = 0};
	size_t first;

	preface(&whole);
	if (type == 0)
		frame(&whole, 1, 4, 1, head, sizeof(head) - 1);
	frame(&whole, type, 0, 1, t->p, at);
	first = whole.n;
	if (type == 0)
		frame(&whole, 8, 0, 1, "\0\0\1\0", 4); /* WINDOW_UPDATE */
	frame(&whole, next, type ? 4 | 1 : 1, 1, t->p + at, t->n - at);
	calls(WRITE, &whole, two_calls ? first : 0);
	run_data(&run, stream, READ, "\0\0\0\4\0\0\0\0\0\0\0\1\1\5\0\0\0\1\x88", 19);
}

static void send_data(const struct text *t, size_t at)
{
	send_frames(t, at, 0, 0, false);
	stream++;
	send_frames(t, at, 0, 0, true);
}

static void send_headers(const struct text *t, size_t at)
{
	send_frames(t, at, 1, 9, false);
	stream++;
	send_frames(t, at, 1, 9, true);
}

static void in_frames(const char *before, const char *after)
{
	struct text t = {.n = 0};

	add_f(&t, "%s%s%s", before, key, after);
	each_cut(&t, send_data);
}

static void in_hpack(const char *name, const char *scheme)
{
	struct text t = {.n = 0}, value = {.n = 0};

	add_str(&t, "\x82\x84\x87\x41\x01h");
	add_f(&value, "%s%s", scheme, key);
	hpack_literal(&t, name, value.p, value.n);
	each_cut(&t, send_headers);
}

/* ---- arguments, environment, messages ---- */

/* @before: words, each with a NUL behind it; the key goes on with the last one. */
static void in_words(const char *before, const char *after, bool env)
{
	struct text t = {.n = 0};

	cut = 0;
	cases++;
	for (; *before; before += strlen(before) + 1)
		add(&t, before, strlen(before) + 1);
	/* the key is a word of its own where the last one ends with a blank */
	if (t.n && t.p[t.n - 2] != '\n')
		t.n--;
	else if (t.n)
		t.p[t.n - 2] = '\0', t.n--;
	add(&t, key, key_n);
	add_str(&t, after);
	add(&t, "", 1);
	if (env)
		run_exec(&run, "/bin/tool", "tool", 5, t.p, t.n);
	else
		run_exec(&run, "/bin/tool", t.p, t.n, "", 0);
}

static void send_messages(const struct text *t, size_t at)
{
	static const char up[] =
		"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
		"Sec-WebSocket-Version: 13\r\n"
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
	static const char yes[] =
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
	struct text f = {.n = 0};

	run_data(&run, stream, WRITE, up, sizeof(up) - 1);
	run_data(&run, stream, READ, yes, sizeof(yes) - 1);
	add(&f, "\x81\x7e", 2);
	add(&f, &(uint8_t){(uint8_t)(t->n >> 8)}, 1);
	add(&f, &(uint8_t){(uint8_t)t->n}, 1);
	add(&f, t->p, t->n);
	calls(READ, &f, at + 4);
}

static void in_message(const char *before, const char *after)
{
	struct text t = {.n = 0};

	add_f(&t, "%s%s%s", before, key, after);
	each_cut(&t, send_messages);
}

/* ---- the tests ---- */

static void everywhere(void (*place)(void), bool named_too)
{
	for (size_t i = 0; i < ARRAY_SIZE(makers); i++) {
		if (makers[i].named && !named_too)
			continue;
		key_make(&makers[i]);
		place();
	}
	assert_int_equal(leaks, 0);
	assert_true(cases > ARRAY_SIZE(makers) / 2 && lines >= cases);
}

static void named_headers(void)
{
	in_header("Authorization: Bearer ", "");
	in_header("x-api-key: ", "");
	in_header("X-Goog-Api-Key: ", "");
	in_header("Cookie: a=b; session=", "; c=d");
}

static void bare_headers(void)
{
	in_header("X-Odd: ", "");
}

static void query(void)
{
	in_query();
}

static void named_members(void)
{
	in_body("{\"model\":\"m\",\"api_key\":\"", "\",\"n\":1}");
	in_body("{\"t\":\"{\\\"client_secret\\\":\\\"", "\\\"}\"}");
	in_body("a=b&password=", "&c=d");
	in_body("{\"headers\":{\"Authorization\":[\"Bearer ", "\"],\"Host\":[\"h\"]}}");
	in_body("{\"x-api-key\"\t\r\n:\n[\"a\",\n\"", "\"],\"n\":1}");
	in_body("{\"t\":\"{\\\"Cookie\\\":[\\\"a=b\\\",\\\"c=", "\\\"]}\"}");
	in_body("{\"A_NAME_THAT_IS_LONGER_THAN_WHAT_IS_REMEMBERED_OF_A_STREAM_AND_ENDS_IN_API_"
		"KEY\":\"",
		"\"}");
	in_body("{\"t\":\"GET / HTTP/1.1\\r\\nCookie: a=\\\"x\\\"; session=",
		"\\r\\nHost: h\\r\\n\"}");
	in_body("{\"c\":\"curl -H 'Authorization: Token token=\\\"", "\\\"' h\"}");
	in_body("{\"t\":\"\\nAuthorization: Digest username=\\\"D\\\\\\\\name\\\", response=\\\"",
		"\\\"\\u000d\\u000a\"}");
}

static void bare_texts(void)
{
	in_body("{\"messages\":[{\"role\":\"user\",\"content\":\"the key is ", ", use it\"}]}");
	in_body("{\"c\":\"export A=\\n", "\\n\"}");
}

/* As Go, .NET, Gson and PHP write JSON, and JSON inside a string of it. */
static void escaped_members(void)
{
	in_body("{\"c\":\"http://h/x?a=1\\u0026api_key=", " is it\"}");
	in_body("{\"c\":\"http://h/x?a=1\\\\u0026api_key=", "\\\\u0026b=2\"}");
	in_body("{\"c\":\"{\\u0022password\\u0022:\\u0022", "\\u0022}\"}");
	in_body("{\"c\":\"{\\u0022password\\u0022:\\u0022a\\\\\\u0022", "\\u0022}\"}");
	in_body("{\"c\":\"{\\\\u0022password\\\\u0022:\\\\u0022", "\\\\u0022}\"}");
	in_body("{\"c\":\"AWS_SECRET_ACCESS_KEY=wJalr\\/", "\\/k\"}");
	in_body("{\"c\":\"DB_PASSWORD\\u003da\\u00e9\\u002b", "\"}");
	in_chunks("{\"c\":\"http://h/x?a=1\\u0026api_key=", "\"}");
}

static void escaped_texts(void)
{
	in_body("{\"c\":\"export KEY\\u003d", "\"}");
	in_body("{\"c\":\"it is\\u000a", "\"}");
	in_body("{\"c\":\"c\\u2019est\\u00a0", "\"}");
}

static void chunks(void)
{
	in_chunks("{\"model\":\"m\",\"api_key\":\"", "\",\"n\":1}");
}

static void bare_chunks(void)
{
	in_chunks("{\"messages\":[{\"role\":\"user\",\"content\":\"the key is ", ", use it\"}]}");
}

static void events(void)
{
	in_events("{\"type\":\"x\",\"access_token\":\"", "\"}");
}

static void bare_events(void)
{
	in_events("{\"type\":\"content_block_delta\",\"delta\":{\"text\":\"it is ", " \"}}");
}

static void frames(void)
{
	in_frames("{\"model\":\"m\",\"api_key\":\"", "\",\"n\":1}");
}

static void bare_frames(void)
{
	in_frames("{\"content\":\"the key is ", ", use it\"}");
}

/* A length stands right before a literal, and what that looks like nobody knows. */
static void hpack(void)
{
	decoded_only = true;
	in_hpack("x-odd", "");
	in_hpack("authorization", "Bearer ");
}

static void words(void)
{
	in_words("tool\0--api-key\n\0", "", false);
	in_words("tool\0--password=\0", "", false);
	in_words("tool\0-H\0Authorization: Bearer \0", "", false);
	in_words("tool\0-c\0curl -H 'x-api-key: \0", "' http://h/", false);
	in_words("API_KEY=\0", "", true);
	in_words("CLAUDE_TOKEN=\0", "", true);
}

static void bare_words(void)
{
	in_words("tool\n\0", "", false);
	in_words("sh\0-c\0echo \0", " | tool", false);
	in_words("WHATEVER=\0", "", true);
}

static void messages(void)
{
	in_message("{\"type\":\"login\",\"access_token\":\"",
		   "\",\"n\":\""
		   "0123456789012345678901234567890123456789"
		   "0123456789012345678901234567890123456789012345678901234567890123456789\"}");
	in_message("{\"headers\":{\"Authorization\":[\"Bearer ",
		   "\"]},\"n\":\""
		   "0123456789012345678901234567890123456789012345678901234567890123456789012345678"
		   "9\"}");
}

#define PLACE(name, place, named)         \
	static void name(void **state)    \
	{                                 \
		everywhere(place, named); \
	}

PLACE(headers_that_hold_keys_are_masked_wherever_a_call_ends, named_headers, true)
PLACE(keys_in_other_headers_are_masked_wherever_a_call_ends, bare_headers, false)
PLACE(keys_in_a_query_are_masked_wherever_a_call_ends, query, true)
PLACE(members_that_hold_keys_are_masked_wherever_a_call_ends, named_members, true)
PLACE(keys_in_a_text_are_masked_wherever_a_call_ends, bare_texts, false)
PLACE(members_behind_escapes_are_masked_wherever_a_call_ends, escaped_members, true)
PLACE(keys_behind_escapes_are_masked_wherever_a_call_ends, escaped_texts, false)
PLACE(members_that_hold_keys_are_masked_wherever_a_chunk_ends, chunks, true)
PLACE(keys_in_a_text_are_masked_wherever_a_chunk_ends, bare_chunks, false)
PLACE(keys_in_an_event_stream_are_masked_wherever_a_chunk_ends, events, true)
PLACE(keys_in_the_text_of_events_are_masked_wherever_a_chunk_ends, bare_events, false)
PLACE(members_that_hold_keys_are_masked_wherever_a_frame_ends, frames, true)
PLACE(keys_in_a_text_are_masked_wherever_a_frame_ends, bare_frames, false)
PLACE(keys_in_literal_fields_are_masked_wherever_a_frame_ends, hpack, false)
PLACE(keys_in_compressed_bodies_are_masked, in_gzip, true)
PLACE(words_that_hold_keys_are_masked, words, true)
PLACE(keys_among_words_are_masked, bare_words, false)
PLACE(messages_that_hold_keys_are_masked, messages, true)

static void numbers_behind_a_name_are_masked_wherever_a_call_ends(void **state)
{
	key_make(&(struct maker){"a number", "", "123456789", 24, true, false});
	in_body("{\"n\":1,\"password\": ", ",\"b\":2}");
	in_body("{\"t\":\"{\\\"api_key\\\":-", "}\"}");
	in_chunks("{\"client_secret\":", "}");
	in_frames("{\"client_secret\":", "}");
	assert_int_equal(leaks, 0);
	assert_true(lines >= cases);
}

static void the_summary_holds_none_of_them(void **state)
{
	_cleanup_(freep) char *text = NULL;

	key_make(&makers[0]);
	in_header("Authorization: Bearer ", "");
	in_query();
	run_finish(&run);
	text = run_summary(&run);
	assert_non_null(text);
	must_not_hold("the summary", text, strlen(text));
	assert_int_equal(leaks, 0);
}

/* What is told at the end: as an event, and on the screen. */
static void the_statistics_hold_no_command_lines_keys(void **state)
{
	_cleanup_(freep) char *text = NULL;
	struct text argv = {.n = 0};

	key_make(&makers[0]);
	add_f(&argv, "curl -H 'Authorization: Bearer %s'%c--password=%s%c%0400d ", key, 0, key, 0,
	      7);
	add_f(&argv, "%s", key); /* across what is kept of a command line */
	run_exec(&run, "/usr/bin/curl", argv.p, argv.n, "", 0);
	run_finish(&run);
	chain_emit_statistics(run.chain, run.who.boot_ns);
	text = run_summary(&run);
	assert_non_null(strstr(text, "curl"));
	must_not_hold("the summary", text, strlen(text));
	assert_int_equal(leaks, 0);
}

static void a_name_that_the_filter_keeps_back_still_names_a_key(void **state)
{
	struct chain_options opt = {.session = &run.session, .procs = run.procs};
	struct filter *filter = NULL;
	struct filter_error why;
	struct err e = {0};

	assert_int_equal(filter_compile("data.len > 11", select_schema(), &filter, &why), 0);
	chain_free(run.chain);
	opt.filter = filter;
	assert_int_equal(chain_open(&opt, &run.chain, &e), 0);
	key_make(&(struct maker){"a password", "", ALNUM, 16, true, false});
	run_data(&run, 1, WRITE, "x-api-key: ", 11);
	run_data(&run, 1, WRITE, key, key_n);
	assert_true(lines > 0);
	assert_int_equal(leaks, 0);
	run_finish(&run);
	chain_free(run.chain);
	run.chain = NULL;
	filter_free(filter);
}

/* A prompt is kept up to its 1,024th byte. */
static void a_key_that_the_end_of_the_prompt_cuts_is_masked(void **state)
{
	static const struct maker google = {"Google", "AIzaSy", URL64, 33, false, false};

	for (size_t before = 1024 - 38; before < 1024 - 12; before++) {
		struct text t = {.n = 0}, body = {.n = 0};

		key_make(&google);
		add_str(&body, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"");
		for (size_t i = 0; i < before; i++)
			add_str(&body, i % 8 && i < before - 1 ? "x" : " ");
		add_f(&body, "%s is it\"}]}", key);
		request_head(&t, "", body.n);
		add(&t, body.p, body.n);
		stream++;
		as_request(&t, 0);
	}
	assert_int_equal(leaks, 0);
	assert_true(lines > 2 * 26);
}

/* ---- blocks of lines ---- */

static void block(const char *begin, const char *line_end, const char *end)
{
	static const struct maker pem = {
		.name = "PEM", .prefix = "", .n = 64, .alphabet = ALNUM "+/"};
	struct text t = {.n = 0};

	key_make(&pem);
	add_f(&t,
	      "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\nContent-Length: "
	      "%zu\r\n\r\n%s",
	      strlen(begin) + 5 * (key_n + strlen(line_end)) + strlen(end), begin);
	for (size_t i = 0; i < 5; i++)
		add_f(&t, "%s%s", key, line_end);
	add_str(&t, end);
	for (cut = 70; cut < t.n; cut++) {
		stream++;
		cases++;
		as_request(&t, cut);
	}
}

static void private_keys_are_masked_wherever_a_call_ends(void **state)
{
	block("-----BEGIN PRIVATE KEY-----\n", "\n", "-----END PRIVATE KEY-----\n");
	block("-----BEGIN OPENSSH PRIVATE KEY-----\r\n", "\r\n",
	      "-----END OPENSSH PRIVATE KEY-----\r\n");
	block("{\"key\":\"-----BEGIN RSA PRIVATE KEY-----\\n", "\\n",
	      "-----END RSA PRIVATE KEY-----\\n\"}");
	assert_int_equal(leaks, 0);
}

/* ---- what is no secret ---- */

#define PARAGRAPH_MAX 4000

static size_t paragraphs, masked;

static void paragraph(const char *p, size_t n)
{
	struct secret_span spans[8];
	size_t n_spans = secrets_mask(NULL, (const uint8_t *)p, n, spans, ARRAY_SIZE(spans), NULL);

	paragraphs++;
	masked += n_spans > 0;
	if (n_spans && masked <= 100)
		print_message("masked: %.*s\n", (int)MIN(spans[0].len, (size_t)80),
			      p + spans[0].off);
}

static void read_paragraphs(const char *path)
{
	gzFile f = gzopen(path, "re");
	char line[1024];
	struct text t = {.n = 0};

	while (f && gzgets(f, line, sizeof(line))) {
		size_t n = strlen(line);

		if (n > 1 && t.n + n < PARAGRAPH_MAX) {
			add(&t, line, n);
		} else if (t.n > 200) {
			paragraph(t.p, t.n);
			t.n = 0;
		}
	}
	if (f)
		gzclose(f);
}

/* Manuals, licences, our own documents: what people ask models about. At most one of 1,000 may be masked. */
static void ordinary_text_is_left_alone(void **state)
{
	static const char *const patterns[] = {
		"docs/*.md",
		"LICENSES/*",
		"/usr/share/common-licenses/*",
		"/usr/share/man/man[158]/*",
		"/usr/lib/python3*/*.py",
		"/usr/share/doc/*/README*",
	};
	glob_t found;

	paragraphs = masked = 0;
	for (size_t i = 0; i < ARRAY_SIZE(patterns); i++) {
		if (glob(patterns[i], 0, NULL, &found) == 0) {
			for (size_t j = 0; j < found.gl_pathc && paragraphs < 40000; j++)
				read_paragraphs(found.gl_pathv[j]);
			globfree(&found);
		}
	}
	print_message("%zu paragraphs, %zu with something masked\n", paragraphs, masked);
	if (paragraphs < 100)
		skip();
	assert_true(masked * 1000 <= paragraphs);
}

static int set_up(void **state)
{
	leaks = cases = lines = 0;
	decoded_only = false;
	run = (struct run){.on_line = on_line};
	return run_open(&run);
}

static int set_up_statistics(void **state)
{
	leaks = cases = lines = 0;
	run = (struct run){.on_line = on_line, .session.statistics = true};
	return run_open(&run);
}

static int tear_down(void **state)
{
	if (run.chain)
		run_finish(&run);
	run_close(&run);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(headers_that_hold_keys_are_masked_wherever_a_call_ends),
		TEST(keys_in_other_headers_are_masked_wherever_a_call_ends),
		TEST(keys_in_a_query_are_masked_wherever_a_call_ends),
		TEST(members_that_hold_keys_are_masked_wherever_a_call_ends),
		TEST(keys_in_a_text_are_masked_wherever_a_call_ends),
		TEST(members_behind_escapes_are_masked_wherever_a_call_ends),
		TEST(keys_behind_escapes_are_masked_wherever_a_call_ends),
		TEST(members_that_hold_keys_are_masked_wherever_a_chunk_ends),
		TEST(keys_in_a_text_are_masked_wherever_a_chunk_ends),
		TEST(keys_in_an_event_stream_are_masked_wherever_a_chunk_ends),
		TEST(keys_in_the_text_of_events_are_masked_wherever_a_chunk_ends),
		TEST(members_that_hold_keys_are_masked_wherever_a_frame_ends),
		TEST(keys_in_a_text_are_masked_wherever_a_frame_ends),
		TEST(keys_in_literal_fields_are_masked_wherever_a_frame_ends),
		TEST(keys_in_compressed_bodies_are_masked),
		TEST(words_that_hold_keys_are_masked),
		TEST(keys_among_words_are_masked),
		TEST(messages_that_hold_keys_are_masked),
		TEST(numbers_behind_a_name_are_masked_wherever_a_call_ends),
		cmocka_unit_test_setup_teardown(the_statistics_hold_no_command_lines_keys,
						set_up_statistics, tear_down),
		TEST(a_name_that_the_filter_keeps_back_still_names_a_key),
		TEST(a_key_that_the_end_of_the_prompt_cuts_is_masked),
		TEST(the_summary_holds_none_of_them),
		TEST(private_keys_are_masked_wherever_a_call_ends),
		TEST(ordinary_text_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
