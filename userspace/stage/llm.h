/* SPDX-License-Identifier: MIT */
/*
 * Calls of language models out of HTTP exchanges: reads along with the HTTP stage and emits a request when
 * it is complete and a response when it is over. An answer over a WebSocket is over when the provider says so.
 */
#ifndef AGENTSIGHT_STAGE_LLM_H
#define AGENTSIGHT_STAGE_LLM_H

#include <stdint.h>

#include "event/event.h"
#include "http/exchange.h"
#include "llm/listener.h"
#include "llm/price.h"

struct llm_stage;

struct llm_stage_options {
	const struct prices *prices; /* NULL: no cost is told. Must outlive the stage */
	struct llm_listener listener;
};

struct llm_tally {
	uint64_t made;
	uint64_t unmade; /* for lack of memory */
};

struct llm_stage_counts {
	struct llm_tally requests;
	struct llm_tally responses;
};

/* Copies @opt (may be NULL). 0 or -ENOMEM. */
int llm_stage_new(const struct llm_stage_options *opt, struct emitter *out, struct llm_stage **ret);

/* To hand to the HTTP stage. Lives as long as the stage, which must outlive the exchanges. */
const struct http_observer *llm_stage_observer(struct llm_stage *s);

const struct llm_stage_counts *llm_stage_counts(const struct llm_stage *s);

/* Adds the events that were not made. */
void llm_stage_shed(const struct llm_stage *s, uint64_t shed[AS_EV_COUNT]);

void llm_stage_free(struct llm_stage *s);

#endif
