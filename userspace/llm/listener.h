/* SPDX-License-Identifier: MIT */
/*
 * What the stage that follows tool calls wants to hear from the one that reads language models. All text
 * is borrowed for the length of the call and NUL-terminated; "" where it is not known.
 */
#ifndef AGENTSIGHT_LLM_LISTENER_H
#define AGENTSIGHT_LLM_LISTENER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <agentsight/wire.h>

/* A model asked for a tool. Told as soon as the call is complete, before the answer is. */
struct llm_tool_call {
	const char *id; /* the provider's; "" where it has none */
	const char *name;
	const char *input; /* JSON text */
	size_t input_len;
	const char *session; /* the conversation, where the agent names it */
	struct as_hdr who;   /* the process that was answered */
	uint64_t boot_ns;
};

/* A later request told the model what came of it. */
struct llm_tool_result {
	const char *id, *name; /* either may be "": what the provider's format has not */
	bool is_error;
	uint64_t bytes; /* of the result's text */
	struct as_hdr who;
	uint64_t boot_ns;
};

struct llm_listener {
	void *context;
	void (*tool_call)(void *context, const struct llm_tool_call *call);
	void (*tool_result)(void *context, const struct llm_tool_result *result);
};

#endif
