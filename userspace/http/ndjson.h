/* SPDX-License-Identifier: MIT */
/* Lines of JSON (NDJSON): bytes in, lines out, cut anywhere. Whether they are JSON is not judged. */
#ifndef AGENTSIGHT_HTTP_NDJSON_H
#define AGENTSIGHT_HTTP_NDJSON_H

#include "base/cleanup.h"
#include "http/message.h"

#define NDJSON_LINE_MAX ((size_t)16 << 20)

/* @full: bytes that the line had; more than @line.len when it was cut. Empty lines are not told. */
typedef void (*ndjson_line_fn)(void *context, struct http_text line, uint64_t full);

struct ndjson;

int ndjson_new(ndjson_line_fn fn, void *context, struct ndjson **ret);
void ndjson_feed(struct ndjson *j, const void *p, size_t n);

/* The stream is over: its last line may lack its end. */
void ndjson_finish(struct ndjson *j);

/* Memory ran out: a line was dropped, and there will be no more. */
bool ndjson_failed(const struct ndjson *j);

void ndjson_free(struct ndjson *j);
DEFINE_FREEP(struct ndjson *, ndjson_free)

#endif
