/* SPDX-License-Identifier: MIT */
/* Bytes give the same lines whole and cut. The first byte seeds the cuts. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "http/ndjson.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void on_line(void *context, struct http_text line, uint64_t full)
{
	assert(line.len && line.len <= full && !memchr(line.p, '\n', line.len));
	buf_printf(context, "\n%llu ", (unsigned long long)full);
	buf_add(context, line.p, line.len);
}

static size_t piece(uint32_t *random, size_t left)
{
	size_t len = left;

	if (*random) {
		*random = *random * 1664525U + 1013904223U;
		len = 1 + (*random >> 16) % ((*random & 0x100) ? 2 : 40);
	}
	return len < left ? len : left;
}

static void run(struct buf *told, uint32_t random, const uint8_t *p, size_t n)
{
	struct ndjson *j = NULL;
	size_t len;

	if (ndjson_new(on_line, told, &j) < 0)
		return;
	for (; n; p += len, n -= len) {
		len = piece(&random, n);
		ndjson_feed(j, p, len);
	}
	ndjson_finish(j);
	ndjson_free(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct buf whole = {}, cut = {};

	if (n == 0)
		return 0;
	run(&whole, 0, p + 1, n - 1);
	run(&cut, p[0] + 1U, p + 1, n - 1);
	assert(whole.len == cut.len);
	assert(!whole.len || !memcmp(whole.data, cut.data, whole.len));
	buf_done(&whole);
	buf_done(&cut);
	return 0;
}
