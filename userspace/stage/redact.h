/* SPDX-License-Identifier: MIT */
/*
 * Masks secrets in every text field before any sink sees the event, and marks it as redacted. The
 * plaintext of a TLS session is one text per direction, so a secret cut by a call is found too.
 */
#ifndef AGENTSIGHT_STAGE_REDACT_H
#define AGENTSIGHT_STAGE_REDACT_H

#include "event/event.h"

int redact_new(struct emitter *out, struct stage **ret);

#endif
