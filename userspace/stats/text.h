/* SPDX-License-Identifier: MIT */
/* Values with units for people, and the summary as a table. */
#ifndef AGENTSIGHT_STATS_TEXT_H
#define AGENTSIGHT_STATS_TEXT_H

#include <stdio.h>

#include "base/units.h"
#include "stats/read.h"
#include "stats/stats.h"

#define STATS_VALUE_LEN (UNITS_LEN + 4)

/* Writes to @out and returns it. */
const char *stats_text_value(char out[STATS_VALUE_LEN], enum stats_unit unit, uint64_t value);

/* "12:34:56" of the local day, for times of a run. */
const char *stats_text_clock(char out[STATS_VALUE_LEN], uint64_t unix_ns);

/* The sentences that a person has to know about the input: lines that are no JSON, ... */
void stats_text_input(const struct stats_input *input, void (*say)(const char *sentence));

/* The table, @width columns wide at most. -ENOMEM: something is missing in it. */
int stats_print(const struct stats *s, FILE *f, bool colour, unsigned width);

#endif
