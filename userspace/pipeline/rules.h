/* SPDX-License-Identifier: MIT */
/* The alert rules of a run: those of --alert, and the two that the threshold options stand for. */
#ifndef AGENTSIGHT_PIPELINE_RULES_H
#define AGENTSIGHT_PIPELINE_RULES_H

#include <stddef.h>

#include "base/err.h"
#include "pipeline/session.h"
#include "stage/rule.h"

/*
 * @ret is the caller's, to be freed; NULL when there are none. -EINVAL when a rule is wrong, which is then
 * shown on stderr, or can never apply with these options; -ENOMEM.
 */
int rules_read(const struct session_options *opt, struct rule **ret, size_t *ret_n, struct err *e);

/* Of the kernel programs: how processes end. Without them, warns of rules about that. */
void rules_without_kernel(const struct rule *rules, size_t n);

#endif
