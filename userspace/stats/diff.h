/* SPDX-License-Identifier: MIT */
/* Two runs beside one another: what became more and what became less. Processes are matched by name. */
#ifndef AGENTSIGHT_STATS_DIFF_H
#define AGENTSIGHT_STATS_DIFF_H

#include <stdio.h>

#include "base/buf.h"
#include "stats/stats.h"

/* One JSON document, see docs/STATS.md; without an end of line. */
void stats_diff_json(struct buf *out, const struct stats *a, const char *a_name,
		     const struct stats *b, const char *b_name);

/* A table. -ENOMEM: something is missing in it. */
int stats_diff_print(const struct stats *a, const char *a_name, const struct stats *b,
		     const char *b_name, FILE *f, bool colour, unsigned width);

#endif
