/* SPDX-License-Identifier: MIT */
/* Rows of a table for a terminal: safe text, styles, and columns of one width that are never cut. */
#ifndef AGENTSIGHT_STATS_TABLE_H
#define AGENTSIGHT_STATS_TABLE_H

#include <stdbool.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/line.h"

/* The caller sets @f to @column, and may append to @line within a row. Ends with buf_done(&buf). */
struct table {
	FILE *f;
	bool colour;
	unsigned width;  /* of the terminal */
	unsigned column; /* of a cell */
	bool failed;     /* a row is missing for want of memory */
	struct line line;
	struct buf buf;
};

void table_row_begin(struct table *t);
void table_row_end(struct table *t);

/* A column that does not fit is left out: half a number is worse than none. */
void table_cell(struct table *t, enum line_style style, const char *text);

#endif
