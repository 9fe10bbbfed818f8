/* SPDX-License-Identifier: MIT */
/* Whatever a program puts into its arguments and its TLS calls, the terminal gets text, in one line. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/utf8.h"
#include "event/record.h"
#include "event/schema.h"
#include "sink/terminal.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void check(unsigned type, size_t member, const uint8_t *p, size_t n)
{
	struct as_hdr h = {.tgid = 1};
	struct buf record = {}, text = {};
	struct event ev = {};
	struct as_span s;

	memcpy(h.comm, p, n < sizeof(h.comm) ? n : sizeof(h.comm));
	record_begin(&record, type, &h);
	s = record_add(&record, p, n);
	if (!record.failed)
		memcpy(record.data + member, &s, sizeof(s));
	if (record_end(&record, &ev) == 0) {
		terminal_line(&text, &ev, 40 + n % 100, false);
		assert(text.len && text.data[text.len - 1] == '\n');
		for (size_t i = 0; i + 1 < text.len; i++)
			assert((unsigned char)text.data[i] >= ' ' && text.data[i] != 0x7f);
		assert(utf8_valid_prefix(text.data, text.len) == text.len);
	}
	buf_done(&record);
	buf_done(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	if (schema_init() < 0)
		return 0;
	check(AS_EV_EXEC, offsetof(struct as_exec, argv), p, n);
	check(AS_EV_SSL_DATA, offsetof(struct as_ssl_data, data), p, n);
	return 0;
}
