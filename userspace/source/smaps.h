/* SPDX-License-Identifier: MIT */
/* /proc/PID/smaps_rollup: what memory a process really takes. The kernel walks its page tables for it. */
#ifndef AGENTSIGHT_SOURCE_SMAPS_H
#define AGENTSIGHT_SOURCE_SMAPS_H

#include <stddef.h>
#include <stdint.h>

#include "source/procfs.h"

struct smaps {
	uint64_t pss_kb; /* shared pages divided by their users */
	uint64_t uss_kb; /* pages that nobody else has */
};

int smaps_parse(const char *text, size_t n, struct smaps *ret);

/* -ESRCH for who has no memory (any more), -EACCES for a process of somebody else. */
int smaps_read(const struct procfs *fs, uint32_t pid, struct smaps *ret);

#endif
