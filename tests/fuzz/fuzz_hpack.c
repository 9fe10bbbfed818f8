/* SPDX-License-Identifier: MIT */
/*
 * Header blocks one after the other, each with a byte that says what happens before it (bit 0: bytes were lost,
 * bits 1 to 7 seed the cuts) and two with its length. Cut or not, the same fields come out.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "http/http2_hpack.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void on_field(void *context, struct http_text name, struct http_text value)
{
	buf_printf(context, "\n%zu %zu ", name.len, value.len);
	buf_add(context, name.p, name.len);
	buf_add(context, value.p, value.len);
}

static int feed(struct hpack *z, const uint8_t *p, size_t n, bool last, struct buf *told)
{
	_cleanup_(freep) uint8_t *copy = malloc(n + !n);

	if (!copy)
		return -1;
	memcpy(copy, p, n);
	return hpack_decode(z, copy, n, last, on_field, told);
}

static void block(struct hpack *z, const uint8_t *p, size_t n, size_t step, struct buf *told)
{
	int r = 0;

	do {
		size_t len = MIN(step, n);

		r = feed(z, p, len, len == n, told);
		p += len;
		n -= len;
	} while (n && r == 0);
	buf_printf(told, "\n%d", r);
}

static void run(const uint8_t *p, size_t n, bool cut, struct buf *told)
{
	struct hpack z = {0};

	while (n >= 3) {
		size_t len = MIN((size_t)p[1] | (size_t)p[2] << 8, n - 3);

		if (p[0] & 1)
			hpack_lose(&z);
		block(&z, p + 3, len, cut ? 1U + (p[0] >> 1) % 16U : SIZE_MAX, told);
		p += 3 + len;
		n -= 3 + len;
	}
	assert(z.failures <= HPACK_FAILURES_MAX);
	hpack_done(&z);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct buf whole = {}, cut = {};

	run(p, n, false, &whole);
	run(p, n, true, &cut);
	assert(whole.len == cut.len);
	assert(!whole.len || !memcmp(whole.data, cut.data, whole.len));
	buf_done(&whole);
	buf_done(&cut);
	return 0;
}
