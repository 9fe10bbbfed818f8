/* SPDX-License-Identifier: MIT */
/*
 * Frames of any bytes give the same messages whole and cut, under any parameters. The first byte seeds the cuts, the
 * second says whether messages are packed and keep their context; what follows the third is one time the
 * stream, one time the header that is to hold the parameters.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "http/websocket.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* Unpacked messages are long: their sum tells them apart as well. */
static uint64_t sum(struct http_text t)
{
	uint64_t h = 1469598103934665603U;

	for (size_t i = 0; i < t.len; i++)
		h = (h ^ (uint8_t)t.p[i]) * 1099511628211U;
	return h;
}

static void on_message(void *context, enum http_side side, const struct websocket_message *m)
{
	assert(m->payload.len <= WEBSOCKET_MESSAGE_MAX);
	assert(m->truncated || (m->payload.len == m->full_len && !m->error));
	buf_printf(context, "\nm%d %llu %zu %d %d %s %llx", m->text,
		   (unsigned long long)m->full_len, m->payload.len, m->truncated, m->incomplete,
		   m->error ? m->error : "", (unsigned long long)sum(m->payload));
}

static const struct websocket_ops ops = {on_message};

static void run(struct buf *told, uint32_t random, const struct websocket_params *params,
		const uint8_t *p, size_t n)
{
	struct websocket *w = NULL;
	const char *reason = "";
	size_t len;

	if (websocket_new(HTTP_RESPONSE, params, &ops, told, &w) < 0)
		return;
	for (; n; p += len, n -= len) {
		len = fuzz_piece(&random, n);
		websocket_feed(w, p, len);
	}
	websocket_eof(w);
	websocket_failed(w, &reason);
	buf_printf(told, "\n%s", reason);
	websocket_free(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct websocket_params params = {.window_bits = {15, 15}}, parsed;
	struct buf whole = {}, cut = {};

	if (n < 2)
		return 0;
	params.deflate = p[1] & 1;
	params.no_context_takeover[HTTP_RESPONSE] = p[1] & 2;
	run(&whole, 0, &params, p + 2, n - 2);
	run(&cut, p[0] + 1U, &params, p + 2, n - 2);
	assert(whole.len == cut.len && !memcmp(whole.data, cut.data, whole.len));
	if (websocket_params_parse((struct http_text){(const char *)p + 2, n - 2}, &parsed) == 0)
		for (size_t i = 0; i < 2; i++)
			assert(parsed.window_bits[i] >= 8 && parsed.window_bits[i] <= 15);
	buf_done(&whole);
	buf_done(&cut);
	return 0;
}
