/* SPDX-License-Identifier: MIT */
/* What the commands that read recordings have in common. */
#ifndef AGENTSIGHT_CMD_REPORT_H
#define AGENTSIGHT_CMD_REPORT_H

#include <stdio.h>

#include "base/buf.h"
#include "cmd/options.h"
#include "stats/read.h"

/* Reads recordings and says what a person has to know about them; 0 or an exit status. */
int report_read(char *const *paths, size_t n, struct stats **ret, struct stats_input *input);

/* The file that --output names, or standard output; NULL, having said why. */
FILE *report_open(const struct options *o);

/* Closes it; 0, or an exit status when not all could be written. */
int report_close(FILE *f, int status);

/* Writes a whole file of mode 0600; 0 or an exit status. */
int report_write(const char *path, const struct buf *b);

/* Columns of the terminal, or as many as are needed. */
unsigned report_width(FILE *f);

#endif
