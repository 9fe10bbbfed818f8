/* SPDX-License-Identifier: MIT */
/* A recording of any bytes gives statistics, a document that is JSON, and a page that is closed. */
#include <assert.h>
#include <json-c/json.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "stats/diff.h"
#include "stats/html.h"
#include "stats/json.h"
#include "stats/read.h"
#include "stats/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void check_json(struct buf *b)
{
	struct json_object *o;

	assert(!b->failed);
	o = json_tokener_parse(buf_cstr(b));
	assert(o);
	json_object_put(o);
	buf_reset(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct stats_input in = {0};
	struct stats *s = NULL;
	struct buf b = {0};
	FILE *f = fopen("/dev/null", "w");

	if (!f || stats_new(&s) < 0)
		return 0;
	assert(stats_read_text(s, (const char *)p, n, &in) == 0);
	assert(in.used + in.bad + in.long_lines <= in.lines);
	assert(s->tree.values[GAUGE_RSS].min <= stats_mean(&s->tree.values[GAUGE_RSS]));
	assert(stats_mean(&s->tree.values[GAUGE_RSS]) <= s->tree.values[GAUGE_RSS].max);
	stats_json(&b, s, &in, STATS_LISTED);
	check_json(&b);
	stats_diff_json(&b, s, "a", s, "b");
	check_json(&b);
	stats_html(&b, s);
	assert(!strcmp(buf_cstr(&b) + b.len - 15, "</body></html>\n"));
	stats_print(s, f, true, 80);
	stats_diff_print(s, "a", s, "b", f, true, 80);
	fclose(f);
	buf_done(&b);
	stats_free(s);
	return 0;
}
