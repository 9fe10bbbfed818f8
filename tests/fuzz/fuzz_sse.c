/* SPDX-License-Identifier: MIT */
/* An event stream of any bytes gives the same events whole and cut. The first byte seeds the cuts. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "http/sse.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void on_event(void *context, const struct sse_event *e)
{
	struct buf *told = context;

	assert(e->event.len && e->event.len <= SSE_NAME_MAX && e->id.len <= SSE_NAME_MAX);
	assert(e->data_full >= e->data.len && !memchr(e->event.p, '\n', e->event.len));
	buf_printf(told, "\n%zu %zu %zu %d ", e->event.len, e->data.len, e->id.len, e->truncated);
	buf_add(told, e->event.p, e->event.len);
	buf_add(told, e->data.p, e->data.len);
	buf_add(told, e->id.p, e->id.len);
}

static void run(struct buf *told, uint32_t random, const uint8_t *p, size_t n)
{
	struct sse *s = NULL;
	size_t len;

	if (sse_new(on_event, told, &s) < 0)
		return;
	for (; n; p += len, n -= len) {
		len = fuzz_piece(&random, n);
		sse_feed(s, p, len);
	}
	sse_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	return fuzz_whole_and_cut(run, p, n);
}
