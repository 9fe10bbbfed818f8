/* SPDX-License-Identifier: MIT */
/* Statistics as one JSON document: the contract of docs/STATS.md, and the payload of `summary`. */
#ifndef AGENTSIGHT_STATS_JSON_H
#define AGENTSIGHT_STATS_JSON_H

#include "base/buf.h"
#include "stats/read.h"
#include "stats/stats.h"

/* How many processes and names are listed. */
#define STATS_LISTED         200
#define STATS_LISTED_SUMMARY 20 /* in an event */

/*
 * Appends the document without an end of line. @input NULL: not from recordings. @listed: STATS_LISTED
 * at most.
 */
void stats_json(struct buf *b, const struct stats *s, const struct stats_input *input,
		size_t listed);

/* A value of that unit as it stands in JSON: percentages with two decimals. */
void stats_json_value(struct buf *b, enum stats_unit unit, uint64_t value);

#endif
