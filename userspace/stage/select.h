/* SPDX-License-Identifier: MIT */
/* Keeps what the user asked for: the sources that were named, and events the filter is true for. */
#ifndef AGENTSIGHT_STAGE_SELECT_H
#define AGENTSIGHT_STAGE_SELECT_H

#include "event/event.h"
#include "stage/filter.h"

/* The filter language over the fields of events, for filter_compile(). */
const struct filter_schema *select_schema(void);

/*
 * @wanted: one byte per event type, not 0 for types to be passed on. @filter may be NULL; owned by the
 * caller. Events of source "agentsight" are passed on whatever the filter says: they tell what is
 * missing. @unseen (may be NULL) gets what the filter keeps back.
 */
int select_new(const uint8_t wanted[AS_EV_COUNT], const struct filter *filter,
	       struct emitter *unseen, struct emitter *out, struct stage **ret);

/* How many events of each type were kept back. */
const uint64_t *select_filtered(const struct stage *s);

#endif
