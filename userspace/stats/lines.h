/* SPDX-License-Identifier: MIT */
/* From lines of a recording to samples: what agentsight writes, and what denet writes. */
#ifndef AGENTSIGHT_STATS_LINES_H
#define AGENTSIGHT_STATS_LINES_H

#include "base/buf.h"
#include "stats/scan.h"
#include "stats/stats.h"

/* What has to be remembered from one line of a file to the next. */
struct lines {
	struct stats *stats;
	struct buf text, path; /* scratch */
	/* denet tells them once */
	uint32_t pid;
	char comm[STATS_COMM_LEN];
	uint64_t last_ms;
};

/* With SCAN_SLACK bytes behind the line. -ENOMEM, or what the line was. */
int lines_add(struct lines *l, const char *p, size_t n);

/* When the line says it was written, nanoseconds since the epoch; 0 when it does not. */
uint64_t lines_time(const char *p, size_t n);

#endif
