/* SPDX-License-Identifier: MIT */
/* An exchange with a model, in which each allocation fails once: what is not told is counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dlfcn.h>

#include "event/record.h"
#include "event/schema.h"
#include "stage/http.h"
#include "stage/llm.h"

static long allocations_left = -1; /* until one fails; less than 0: none does */

static bool fails(void)
{
	return allocations_left >= 0 && allocations_left-- == 0;
}

void *malloc(size_t n)
{
	static void *(*next)(size_t);

	if (!next)
		next = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
	return fails() ? NULL : next(n);
}

void *calloc(size_t n, size_t size)
{
	static void *(*next)(size_t, size_t);

	if (!next)
		next = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "calloc");
	return fails() ? NULL : next(n, size);
}

void *realloc(void *p, size_t n)
{
	static void *(*next)(void *, size_t);

	if (!next)
		next = (void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc");
	return fails() ? NULL : next(p, n);
}

static uint64_t told[AS_EV_COUNT]; /* or counted, in the end */
static bool request_complete;
static struct as_hdr who;
static struct stage *stage;
static struct buf rec;

static void hear(struct emitter *self, const struct event *ev)
{
	told[ev->desc->type]++;
	if (ev->desc->type == AS_EV_HTTP_REQUEST)
		request_complete = !((const struct as_http_request *)ev->rec)->incomplete;
}

static struct emitter out = {hear};

static void call(uint32_t direction, const char *text)
{
	long left = allocations_left;
	struct as_ssl_data *d;
	struct as_span span;
	struct event ev;

	allocations_left = -1;
	who.boot_ns += 1000;
	record_begin(&rec, AS_EV_SSL_DATA, &who);
	span = record_add(&rec, text, strlen(text));
	d = record_struct(&rec, as_ssl_data);
	d->stream_id = 5;
	d->direction = direction;
	d->len = strlen(text);
	d->data = span;
	assert_int_equal(record_end(&rec, &ev), 0);
	allocations_left = left;
	event_emit(&stage->in, &ev);
}

static void exchange(void)
{
	call(AS_TLS_WRITE, "PO"); /* too few bytes to tell what it is */
	call(AS_TLS_WRITE, "ST /v1/messages HTTP/1.1\r\nHost: api.anthropic.com\r\n"
			   "Content-Length: 99\r\n\r\n{\"model\":\"c\",\"system\":\"s\","
			   "\"tools\":[{\"name\":\"t\"}],"
			   "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"a\":1}");
	call(AS_TLS_READ, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
			  "Transfer-Encoding: chunked\r\n\r\n");
	call(AS_TLS_READ, "5a\r\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\","
			  "\"model\":\"c\",\"usage\":{\"input_tokens\":3}}}\n\n\r\n");
	call(AS_TLS_READ, "1f\r\ndata: {\"type\":\"message_stop\"}\n\n\r\n0\r\n\r\n");
}

/* One run; false: it had fewer allocations. */
static bool run(long allocations)
{
	struct http_stage_options opt = {};
	struct llm_stage *llm;
	uint64_t unwatched;
	bool hit;

	memset(told, 0, sizeof(told));
	request_complete = false;
	who = (struct as_hdr){.boot_ns = 1000, .start_ns = 2, .tgid = 3, .tid = 4};
	assert_int_equal(llm_stage_new(NULL, &out, &llm), 0);
	opt.observer = llm_stage_observer(llm);
	assert_int_equal(http_stage_new(&opt, &out, &stage), 0);

	allocations_left = allocations;
	exchange();
	hit = allocations_left < 0;
	allocations_left = -1;
	stage->finish(stage);
	http_stage_shed(stage, told);
	llm_stage_shed(llm, told);
	unwatched = http_stage_counts(stage)->unwatched;
	stage->free(stage);
	llm_stage_free(llm);

	assert_true(told[AS_EV_HTTP_REQUEST] || unwatched);
	assert_true(told[AS_EV_HTTP_RESPONSE] || unwatched);
	/* whose head was kept */
	assert_true(told[AS_EV_LLM_REQUEST] || !request_complete);
	assert_true(told[AS_EV_LLM_RESPONSE] || !request_complete);
	return hit;
}

static void what_an_allocation_that_fails_takes_away_is_counted(void **state)
{
	long n = 0;

	while (run(n))
		n++;
	assert_true(n > 20);
	buf_done(&rec);
}

static int set_up_all(void **state)
{
	return schema_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_an_allocation_that_fails_takes_away_is_counted),
	};

	return cmocka_run_group_tests(tests, set_up_all, NULL);
}
