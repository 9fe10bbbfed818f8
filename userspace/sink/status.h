/* SPDX-License-Identifier: MIT */
/*
 * How a run is going, as one line on a terminal: rewritten in place below what the traced program writes, or a new one
 * for each sample. It stays away while a program has the terminal for itself (an editor, a pager, a shell's job) or
 * asks for a password.
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
