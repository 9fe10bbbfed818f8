/* SPDX-License-Identifier: MIT */
/* Bytes give the same lines whole and cut. The first byte seeds the cuts. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "http/ndjson.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void on_line(void *context, struct http_text line, uint64_t full)
{
	assert(line.len && line.len <= full && !memchr(line.p, '\n', line.len));
	buf_printf(context, "\n%llu ", (unsigned long long)full);
	buf_add(context, line.p, line.len);
}

static void run(struct buf *told, uint32_t random, const uint8_t *p, size_t n)
{
	struct ndjson *j = NULL;
	size_t len;

	if (ndjson_new(on_line, told, &j) < 0)
		return;
	for (; n; p += len, n -= len) {
		len = fuzz_piece(&random, n);
		ndjson_feed(j, p, len);
	}
	ndjson_finish(j);
	ndjson_free(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	return fuzz_whole_and_cut(run, p, n);
}
