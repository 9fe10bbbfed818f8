/* SPDX-License-Identifier: MIT */
/* Splits at line feeds. A line that lies in one piece is handed out where it lies; else it is joined. */
#include "http/ndjson.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"

#define BUF_KEEP ((size_t)256 << 10) /* a larger buffer is given back after its line */

struct ndjson {
	ndjson_line_fn fn;
	void *context;
	struct buf line; /* the beginning of a line that is not over */
	uint64_t full;
	bool failed;
};

static void tell(struct ndjson *j, const char *p, size_t n, uint64_t full)
{
	struct http_text line = {p, n < NDJSON_LINE_MAX ? n : NDJSON_LINE_MAX};

	if (full == n && n && p[n - 1] == '\r') {
		full--;
		line.len = MIN(n - 1, NDJSON_LINE_MAX);
	}
	if (full)
		j->fn(j->context, line, full);
}

/* One byte more is kept than told, so that a carriage return at the limit is still one. */
static void keep(struct ndjson *j, const char *p, size_t n)
{
	buf_add(&j->line, p, MIN(n, NDJSON_LINE_MAX + 1 - j->line.len));
	j->full += n;
	j->failed |= j->line.failed;
}

void ndjson_finish(struct ndjson *j)
{
	if (j->failed)
		return;
	tell(j, j->line.data, j->line.len, j->full);
	if (j->line.cap > BUF_KEEP)
		buf_done(&j->line);
	buf_reset(&j->line);
	j->full = 0;
}

void ndjson_feed(struct ndjson *j, const void *bytes, size_t n)
{
	const char *p = bytes, *stop;
	size_t len;

	while (n && !j->failed) {
		stop = memchr(p, '\n', n);
		len = stop ? (size_t)(stop - p) : n;
		if (stop && j->full == 0) {
			tell(j, p, len, len);
		} else {
			keep(j, p, len);
			if (stop)
				ndjson_finish(j);
		}
		p += len + (stop ? 1 : 0);
		n -= len + (stop ? 1 : 0);
	}
}

int ndjson_new(ndjson_line_fn fn, void *context, struct ndjson **ret)
{
	struct ndjson *j = calloc(1, sizeof(*j));

	if (!j)
		return -ENOMEM;
	j->fn = fn;
	j->context = context;
	*ret = j;
	return 0;
}

bool ndjson_failed(const struct ndjson *j)
{
	return j->failed;
}

void ndjson_free(struct ndjson *j)
{
	if (!j)
		return;
	buf_done(&j->line);
	free(j);
}
