/* SPDX-License-Identifier: MIT */
/*
 * How a run is going, as one line: in a terminal's last row, which is taken for it, or a new line for each sample.
 * It stays away while the traced program has the terminal for itself (an editor, a pager), and from terminals of
 * fewer than three rows.
 */
#ifndef AGENTSIGHT_SINK_STATUS_H
#define AGENTSIGHT_SINK_STATUS_H

#include "sink/sink.h"

struct status_options {
	int fd;        /* borrowed; standard error */
	bool in_place; /* only if @fd is a terminal */
	bool colour;
};

int status_sink_new(const struct status_options *opt, struct sink **ret);

#endif
