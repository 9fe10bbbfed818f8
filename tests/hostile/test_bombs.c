/* SPDX-License-Identifier: MIT */
/*
 * Small inputs that ask for much: none costs more than 10 MB or 50 ms of one event. Each runs in a process of
 * its own, behind the whole pipeline. Times are those of the thread, and the limit has room for a slow machine.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <zlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "hostile/run.h"

#define READ     AS_TLS_READ
#define WRITE    AS_TLS_WRITE
#define CALL_MAX ((size_t)16 << 10) /* a record of TLS */
#define MIB      ((size_t)1 << 20)

#define MEMORY_MAX_KB 10240
#define EVENT_MAX_NS  (50 * NSEC_PER_MSEC)
#ifdef __SANITIZE_ADDRESS__
#define SLACK 20 /* nothing is measured there, but that it ends */
#else
#define SLACK 1
#endif

struct cost {
	uint64_t slowest_ns; /* one event */
	uint64_t total_ns;
	size_t events;
	long grown_kb;
	size_t lines, longest; /* of JSON */
	bool flagged;
};

/* One that is little more than the same, time and again, tells it here. */
struct bomb {
	const char *name;
	void (*run)(const struct bomb *b);
	const char *must_say;         /* what a line has to say; NULL: nothing */
	const char *request, *answer; /* before it; NULL: there is none */
	enum as_tls_direction direction;
	const char *head;
	const char *unit;
	size_t unit_len, times;
	const char *tail;
};

#define UNIT(text) .unit = (text), .unit_len = sizeof(text) - 1

static struct run run;
static struct cost *cost; /* shared with the child */
static const char *flag;  /* what a line has to say */

static void on_line(struct run *r, const struct event *ev, const char *line, size_t len)
{
	cost->lines++;
	cost->longest = MAX(cost->longest, len);
	cost->flagged |= flag && memmem(line, len, flag, strlen(flag));
}

static void note(uint64_t since)
{
	uint64_t ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - since;

	cost->slowest_ns = MAX(cost->slowest_ns, ns);
	cost->total_ns += ns;
	cost->events++;
}

static void call(uint64_t stream, enum as_tls_direction direction, const void *p, size_t n)
{
	uint64_t since = clock_ns(CLOCK_THREAD_CPUTIME_ID);

	run_data(&run, stream, direction, p, n);
	note(since);
}

static void calls(enum as_tls_direction direction, const void *bytes, size_t n)
{
	const char *p = bytes;

	/* it is about little that asks for much */
	if (n > MIB + MIB / 4)
		abort();
	for (size_t len; n; p += len, n -= len) {
		len = MIN(n, CALL_MAX);
		call(1, direction, p, len);
	}
}

static void str(enum as_tls_direction direction, const char *s)
{
	call(1, direction, s, strlen(s));
}

static long status_kb(const char *name)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[256];
	long kb = 0;

	while (f && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, name, strlen(name)))
			kb = atol(line + strlen(name));
	}
	if (f)
		fclose(f);
	return kb;
}

/* From here on VmHWM is the highest of what follows. */
static long memory_begin(void)
{
	FILE *f = fopen("/proc/self/clear_refs", "we");

	if (f) {
		fputs("5\n", f);
		fclose(f);
	}
	return status_kb("VmRSS:");
}

static int child(const struct bomb *b)
{
	long before;

	run = (struct run){.on_line = on_line};
	if (run_open(&run) < 0)
		return 1;
	before = memory_begin();
	b->run(b);
	run_finish(&run);
	cost->grown_kb = status_kb("VmHWM:") - before;
	run_close(&run);
	return 0;
}

static void explode(const struct bomb *b)
{
	int status;
	pid_t pid;

	memset(cost, 0, sizeof(*cost));
	flag = b->must_say;
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(child(b));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	print_message("%-28s %6zu events, slowest %7.3f ms, all %8.1f ms, grown %6ld kB, longest "
		      "line %zu\n",
		      b->name, cost->events, (double)cost->slowest_ns / 1e6,
		      (double)cost->total_ns / 1e6, cost->grown_kb, cost->longest);
	assert_int_equal(status, 0);
	assert_true(cost->grown_kb <= MEMORY_MAX_KB * SLACK);
	assert_true(cost->slowest_ns <= EVENT_MAX_NS * SLACK);
	assert_true(!flag || cost->flagged);
}

static void repeat(const struct bomb *b)
{
	struct buf bytes = {0};

	if (b->request)
		str(WRITE, b->request);
	if (b->answer)
		str(READ, b->answer);
	if (b->head)
		buf_add_str(&bytes, b->head);
	for (size_t i = 0; i < b->times; i++)
		buf_add(&bytes, b->unit, b->unit_len);
	if (b->tail)
		buf_add_str(&bytes, b->tail);
	calls(b->direction, bytes.data, bytes.len);
	buf_done(&bytes);
}

/* ---- compressed bodies ---- */

static void response(const char *type, const char *encoding, size_t n)
{
	char head[256];

	str(WRITE, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
	snprintf(head, sizeof(head),
		 "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Encoding: %s\r\n"
		 "Content-Length: %zu\r\n\r\n",
		 type, encoding, n);
	str(READ, head);
}

static void respond_as(const char *type, const char *encoding, const struct buf *body)
{
	response(type, encoding, body->len);
	calls(READ, body->data, body->len);
}

static void respond(const char *encoding, const struct buf *body)
{
	respond_as("application/json", encoding, body);
}

static void deflate_add(struct buf *b, z_stream *z, int flush)
{
	char out[1 << 16];

	do {
		z->next_out = (void *)out;
		z->avail_out = sizeof(out);
		deflate(z, flush);
		buf_add(b, out, sizeof(out) - z->avail_out);
	} while (!z->avail_out);
}

/* A stream without end: a MiB of zeros is packed once, and repeated. */
static void gzip_zeros_by(struct buf *b, size_t mib, int strategy)
{
	_cleanup_(freep) char *zeros = calloc(1, MIB);
	struct buf one = {0};
	z_stream z = {0};

	deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, strategy);
	deflate_add(b, &z, Z_FULL_FLUSH);
	z.next_in = (void *)zeros;
	z.avail_in = MIB;
	deflate_add(&one, &z, Z_FULL_FLUSH);
	for (size_t i = 0; i < mib; i++)
		buf_add(b, one.data, one.len);
	deflateEnd(&z);
	buf_done(&one);
}

static void gzip_zeros(struct buf *b, size_t mib)
{
	gzip_zeros_by(b, mib, Z_DEFAULT_STRATEGY);
}

static void gzip_again_by(struct buf *b, int strategy)
{
	struct buf packed = {0};
	z_stream z = {0};

	deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, strategy);
	z.next_in = (void *)b->data;
	z.avail_in = (uInt)b->len;
	deflate_add(&packed, &z, Z_FINISH);
	deflateEnd(&z);
	buf_done(b);
	*b = packed;
}

static void gzip_again(struct buf *b)
{
	gzip_again_by(b, Z_DEFAULT_STRATEGY);
}

static void gzip_bomb(const struct bomb *bomb)
{
	struct buf b = {0};

	gzip_zeros(&b, 1024);
	respond("gzip", &b);
	buf_done(&b);
}

static void gzip_nested_bomb(const struct bomb *bomb)
{
	struct buf b = {0};

	gzip_zeros(&b, 1024);
	gzip_again(&b);
	gzip_again(&b);
	respond("gzip, gzip, gzip", &b);
	buf_done(&b);
}

/* Fixed codes pack 158 to 1, which no layer minds; and an event stream may be long. */
static void gzip_nested_stream(const struct bomb *bomb)
{
	struct buf b = {0};

	gzip_zeros_by(&b, 512, Z_FIXED);
	gzip_again_by(&b, Z_FIXED);
	gzip_again_by(&b, Z_FIXED);
	respond_as("text/event-stream", "gzip, gzip, gzip", &b);
	buf_done(&b);
}

static void too_many_layers(const struct bomb *bomb)
{
	struct buf b = {0};

	gzip_zeros(&b, 16);
	for (int i = 0; i < 5; i++)
		gzip_again(&b);
	respond("gzip, gzip, gzip, gzip, gzip, gzip", &b);
	buf_done(&b);
}

/* A frame's header, then blocks of one byte that stands 128 KiB times. */
static void zstd_zeros(struct buf *b, uint8_t window, size_t blocks)
{
	const uint8_t head[] = {0x28, 0xb5, 0x2f, 0xfd, 0x00, window};
	const uint8_t block[] = {0x02, 0x00, 0x10, 0x00};

	buf_add(b, head, sizeof(head));
	for (size_t i = 0; i < blocks; i++)
		buf_add(b, block, sizeof(block));
}

static void zstd_bomb(const struct bomb *bomb)
{
	struct buf b = {0};

	zstd_zeros(&b, 0x68, 8192); /* 8 MiB window */
	respond("zstd", &b);
	buf_done(&b);
}

static void zstd_window(const struct bomb *bomb)
{
	struct buf b = {0};

	zstd_zeros(&b, 0xa8, 0); /* 2 GiB window, as much as there is */
	buf_add(&b, "\1\0\0", 3);
	respond("zstd", &b);
	buf_done(&b);
}

/* 1 GiB of zeros, packed by brotli itself. */
static void brotli_bomb(const struct bomb *bomb)
{
	FILE *f = fopen("tests/hostile/zeros.br", "re");
	struct buf b = {0};
	char bytes[4096];
	size_t n = f ? fread(bytes, 1, sizeof(bytes), f) : 0;

	if (f)
		fclose(f);
	if (!n)
		abort();
	buf_add(&b, bytes, n);
	respond("br", &b);
	buf_done(&b);
}

/* ---- HTTP/1 ---- */

static void many_headers(const struct bomb *bomb)
{
	struct buf b = {0};

	buf_add_str(&b, "GET / HTTP/1.1\r\nHost: h\r\n");
	for (int i = 0; i < 100000; i++)
		buf_printf(&b, "x-%x: y\r\n", i);
	buf_add_str(&b, "\r\n");
	calls(WRITE, b.data, b.len);
	buf_done(&b);
}

/* ---- event streams and JSON ---- */

/* A body whose length stands before it. */
static void repeat_json(const struct bomb *b)
{
	char request[160];
	struct bomb with = *b;

	snprintf(request, sizeof(request),
		 "POST /v1/messages HTTP/1.1\r\nHost: api.anthropic.com\r\n"
		 "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
		 strlen(b->head) + b->times * b->unit_len + strlen(b->tail));
	with.request = request;
	repeat(&with);
}

/* ---- HTTP/2 ---- */

static void frame(struct buf *b, uint8_t type, uint8_t flags, uint32_t id, const void *p, size_t n)
{
	const uint8_t head[] = {
		(uint8_t)(n >> 16),  (uint8_t)(n >> 8),   (uint8_t)n,         type,       flags,
		(uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8), (uint8_t)id};

	buf_add(b, head, sizeof(head));
	buf_add(b, p, n);
}

static void preface(struct buf *b)
{
	buf_add_str(b, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
	frame(b, 4, 0, 0, "", 0);
}

/* One field of 4,000 bytes, told again with each byte that follows. */
static void hpack_bomb(const struct bomb *bomb)
{
	static char block[CALL_MAX], first[4008];
	struct buf b = {0};

	preface(&b);
	memset(first, 'v', sizeof(first));
	memcpy(first, "\x82\x84\x87\x40\x01n\x7f\xa1\x1e", 9); /* 4000 */
	frame(&b, 1, 0, 1, first, sizeof(first));
	memset(block, 0xbe, sizeof(block));
	for (int i = 0; i < 20; i++)
		frame(&b, 9, 0, 1, block, sizeof(block));
	calls(WRITE, b.data, b.len);
	buf_done(&b);
}

static void many_fields(const struct bomb *bomb)
{
	static char block[CALL_MAX];
	struct buf b = {0};

	preface(&b);
	for (size_t i = 0; i + 4 <= sizeof(block); i += 4)
		memcpy(block + i, "\0\1n\0", 4);
	frame(&b, 1, 0, 1, "\x82\x84\x87", 3);
	for (int i = 0; i < 25; i++)
		frame(&b, 9, 0, 1, block, sizeof(block));
	calls(WRITE, b.data, b.len);
	buf_done(&b);
}

static void empty_continuations(const struct bomb *bomb)
{
	struct buf b = {0};

	preface(&b);
	frame(&b, 1, 0, 1, "\x82\x84\x87", 3);
	for (int i = 0; i < 100000; i++)
		frame(&b, 9, 0, 1, "", 0);
	calls(WRITE, b.data, b.len);
	buf_done(&b);
}

static void tiny_frames(const struct bomb *bomb)
{
	struct buf b = {0};

	preface(&b);
	frame(&b, 1, 4, 1, "\x82\x84\x87", 3);
	for (int i = 0; i < 100000; i++)
		frame(&b, i % 3 ? 0 : 6, 0, i % 3 ? 1 : 0, "12345678", i % 3 ? 1 : 8);
	calls(WRITE, b.data, b.len);
	buf_done(&b);
}

static void rapid_reset(const struct bomb *bomb)
{
	struct buf b = {0};

	preface(&b);
	for (uint32_t i = 0; i < 40000; i++) {
		frame(&b, 1, 5, 2 * i + 1, "\x82\x84\x87", 3);
		frame(&b, 3, 0, 2 * i + 1, "\0\0\0\1", 4);
	}
	calls(WRITE, b.data, b.len);
	buf_done(&b);
}

static void table_sizes(const struct bomb *bomb)
{
	struct buf b = {0};

	preface(&b);
	for (uint32_t i = 0; i < 20000; i++)
		frame(&b, 1, 5, 2 * i + 1, "\x20\x3f\xe1\xff\x03\x82\x84\x87", 8);
	calls(WRITE, b.data, b.len);
	buf_done(&b);
}

/* A large table is lost, and made anew, again and again. */
static void rebuilt_tables(const struct bomb *bomb)
{
	struct buf b = {0};

	preface(&b);
	frame(&b, 1, 4, 1, "\x3f\xe1\xff\x03\x82\x84\x87", 7);
	for (int i = 0; i < 1700; i++) {
		frame(&b, 1, 0, 1, "", 0);
		frame(&b, 1, 4, 1, "\x82", 1);
	}
	calls(WRITE, b.data, b.len);
	buf_done(&b);
}

/* ---- WebSocket ---- */

static void upgrade(const char *extension)
{
	char text[512];

	snprintf(text, sizeof(text),
		 "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
		 "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
		 "dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n",
		 extension);
	str(WRITE, text);
	snprintf(text, sizeof(text),
		 "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
		 "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n%s\r\n",
		 extension);
	str(READ, text);
}

static void websocket_bomb(const struct bomb *bomb)
{
	struct buf b = {0}, zeros = {0};
	uint8_t head[10] = {0xc1, 127};

	upgrade("Sec-WebSocket-Extensions: permessage-deflate\r\n");
	gzip_zeros(&zeros, 64);
	for (int i = 0; i < 8; i++)
		head[2 + i] = (uint8_t)((uint64_t)(zeros.len - 10) >> (56 - 8 * i));
	buf_add(&b, head, sizeof(head));
	buf_add(&b, zeros.data + 10, zeros.len - 10);
	calls(READ, b.data, b.len);
	buf_done(&b);
	buf_done(&zeros);
}

static void websocket_fragments(const struct bomb *b)
{
	upgrade("");
	repeat(b);
}

/* ---- the tests ---- */

#define CHUNKED "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
#define ASKED                                                       \
	"POST /v1/messages HTTP/1.1\r\nHost: api.anthropic.com\r\n" \
	"Content-Length: 2\r\n\r\n{}"
#define STREAMED "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
#define MESSAGES "{\"model\":\"m\",\"messages\":"

static const struct bomb bodies[] = {
	{.name = "gzip, 1 GiB of zeros", .run = gzip_bomb, .must_say = "\"body_error\""},
	{.name = "gzip, three times", .run = gzip_nested_bomb, .must_say = "\"body_error\""},
	{.name = "gzip, three times, a stream",
	 .run = gzip_nested_stream,
	 .must_say = "\"body_error\""},
	{.name = "gzip, six times", .run = too_many_layers, .must_say = "\"body_error\""},
	{.name = "br, 1 GiB of zeros", .run = brotli_bomb, .must_say = "\"body_error\""},
	{.name = "zstd, 1 GiB of zeros", .run = zstd_bomb, .must_say = "\"body_error\""},
	{.name = "zstd, window of 2 GiB", .run = zstd_window, .must_say = "\"body_error\""},
};

static const struct bomb heads[] = {
	{.name = "100,000 headers", .run = many_headers},
	{.name = "an extension without end",
	 .run = repeat,
	 .request = CHUNKED,
	 .direction = WRITE,
	 .head = "5;",
	 UNIT("x"),
	 .times = MIB},
	{.name = "chunks of one byte",
	 .run = repeat,
	 .request = CHUNKED,
	 .direction = WRITE,
	 UNIT("1\r\nx\r\n"),
	 .times = 150000,
	 .tail = "0\r\n\r\n"},
	{.name = "30,000 requests, no answer",
	 .run = repeat,
	 .direction = WRITE,
	 UNIT("GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
	 .times = 30000},
};

static const struct bomb texts[] = {
	{.name = "a line without end",
	 .run = repeat,
	 .request = ASKED,
	 .answer = STREAMED,
	 .direction = READ,
	 .head = "data: ",
	 UNIT("x"),
	 .times = MIB},
	{.name = "100,000 events",
	 .run = repeat,
	 .request = ASKED,
	 .answer = STREAMED,
	 .direction = READ,
	 UNIT("data:{}\n\n"),
	 .times = 100000},
	{.name = "500,000 brackets",
	 .run = repeat_json,
	 .direction = WRITE,
	 .head = MESSAGES,
	 UNIT("["),
	 .times = 500000,
	 .tail = "}"},
	{.name = "100,000 objects",
	 .run = repeat_json,
	 .direction = WRITE,
	 .head = MESSAGES,
	 UNIT("{\"a\":"),
	 .times = 100000,
	 .tail = "}"},
	{.name = "quotes and backslashes",
	 .run = repeat_json,
	 .direction = WRITE,
	 .head = MESSAGES,
	 UNIT("\"\\\\\\\\\\\\"),
	 .times = 60000,
	 .tail = "}"},
};

static const struct bomb frames[] = {
	{.name = "HPACK, 1.3 GB of fields", .run = hpack_bomb},
	{.name = "HPACK, 100,000 fields", .run = many_fields},
	{.name = "empty CONTINUATIONs", .run = empty_continuations},
	{.name = "frames of one byte", .run = tiny_frames},
	{.name = "streams opened and reset", .run = rapid_reset},
	{.name = "HPACK, tables resized", .run = table_sizes},
	{.name = "HPACK, tables made anew", .run = rebuilt_tables},
};

static const struct bomb messages[] = {
	{.name = "a message of 64 MiB", .run = websocket_bomb},
	{.name = "300,000 fragments",
	 .run = websocket_fragments,
	 .direction = READ,
	 .head = "\x01\x01x",
	 UNIT("\x00\x01x"),
	 .times = 300000},
};

static void explode_all(const struct bomb *bombs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		explode(&bombs[i]);
}

static void compressed_bodies_stay_small(void **state)
{
	explode_all(bodies, ARRAY_SIZE(bodies));
}

static void heads_and_chunks_stay_small(void **state)
{
	explode_all(heads, ARRAY_SIZE(heads));
}

static void streams_of_text_stay_small(void **state)
{
	explode_all(texts, ARRAY_SIZE(texts));
}

static void frames_stay_small(void **state)
{
	explode_all(frames, ARRAY_SIZE(frames));
}

static void messages_stay_small(void **state)
{
	explode_all(messages, ARRAY_SIZE(messages));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(compressed_bodies_stay_small),
		cmocka_unit_test(heads_and_chunks_stay_small),
		cmocka_unit_test(streams_of_text_stay_small),
		cmocka_unit_test(frames_stay_small),
		cmocka_unit_test(messages_stay_small),
	};

	cost = mmap(NULL, sizeof(*cost), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (cost == MAP_FAILED)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
