/* SPDX-License-Identifier: MIT */
/* Files for the user, opened by whoever may: output_open() and output_rotate(), for paths that were allowed before. */
#ifndef AGENTSIGHT_PRIV_OUTPUT_H
#define AGENTSIGHT_PRIV_OUTPUT_H

#include <stdbool.h>

#include "base/err.h"

/* Before the split: @path may be written, and @keep old files of it are kept. */
void priv_output_allow(const char *path, unsigned int keep);

/* As output_open() without further flags, for its owner only. */
int priv_output_open(const char *path, bool empty, int *ret_fd, struct err *e);

/* As output_rotate(). The broker keeps as many as it was told before the split. */
int priv_output_rotate(const char *path, unsigned int keep, int *ret_fd, struct err *e);

void priv_output_offer(void);

#endif
