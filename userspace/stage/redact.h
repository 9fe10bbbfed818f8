/* SPDX-License-Identifier: MIT */
/*
 * Masks secrets in every text field before any sink sees the event, and marks it as redacted. The
 * plaintext of a TLS session is one text per direction, so a secret cut by a call is found too.
 */
#ifndef AGENTSIGHT_STAGE_REDACT_H
#define AGENTSIGHT_STAGE_REDACT_H

#include "event/event.h"

int redact_new(struct emitter *out, struct stage **ret);

/*
 * The event as it will be told, for who reads it before it gets here: @ev itself, or @ret, in memory that
 * the next event reuses. NULL: no memory. Not for pieces of streams: each is looked at once.
 */
const struct event *redact_view(struct stage *stage, const struct event *ev, struct event *ret);

/* For events that are not told: a secret may begin in one of them and end in one that is. */
struct emitter *redact_unseen(struct stage *stage);

#endif
