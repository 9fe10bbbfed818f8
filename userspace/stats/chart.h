/* SPDX-License-Identifier: MIT */
/* The charts of the report: the run over time, and the same numbers for the page's script. */
#ifndef AGENTSIGHT_STATS_CHART_H
#define AGENTSIGHT_STATS_CHART_H

#include "base/buf.h"
#include "stats/phases.h"
#include "stats/stats.h"

struct page {
	struct buf *b;
	const struct stats *s;
	uint64_t begin_ns, span_ns; /* of all charts */
	struct phase phases[PHASES_MAX];
	size_t n_phases;
};

/* From `b` and `s` the rest. */
void charts_find(struct page *p);

void charts_put(const struct page *p);

/* Numbers, and names of our own: an element that holds JSON. */
void charts_put_data(const struct page *p);

#endif
