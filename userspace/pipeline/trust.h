/* SPDX-License-Identifier: MIT */
/*
 * The moment at which a run gives its privileges up: everything is open that needs them, and no command has begun. See
 * priv/priv.h.
 */
#ifndef AGENTSIGHT_PIPELINE_TRUST_H
#define AGENTSIGHT_PIPELINE_TRUST_H

#include <stdbool.h>

#include "source/bpf.h"

struct trust_options {
	struct bpf_shared *shared; /* NULL without kernel programs */
	int command; /* a descriptor of the command's process, which signals are sent to; -1 */
	bool devices;
};

/*
 * What core and broker have left is recorded as capabilities, as /proc tells it; a failure also as a warning, and the
 * run goes on with what it has.
 */
void trust_split(const struct trust_options *opt);

#endif
