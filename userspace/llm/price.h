/* SPDX-License-Identifier: MIT */
/*
 * What an answer costs, by a table that users edit. A line of it:
 *
 *	provider model [>tokens] input output cache_read cache_write [cache_write_1h]
 *
 * Provider and model may hold * and ?; prices are USD per million tokens, and - stands for the price
 * of input. A line with >tokens is for prompts longer than that. The longest model wins; among equals
 * the longer provider, then the higher >tokens, then the later line. # begins a comment.
 */
#ifndef AGENTSIGHT_LLM_PRICE_H
#define AGENTSIGHT_LLM_PRICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "llm/llm.h"

struct prices;

int prices_new(struct prices **ret);

/* Adds the lines of a file. One that is wrong: -EINVAL, and @err names file, line and reason. */
int prices_load(struct prices *t, const char *path, struct err *err);

/*
 * The system's file, then the user's, of which either may be missing. @system_path NULL: the installed
 * one.
 */
int prices_load_default(struct prices *t, const char *system_path, struct err *err);

/* The same for a text in memory; @name stands for the file in messages. */
int prices_parse(struct prices *t, const char *name, const char *text, size_t n, struct err *err);

/*
 * False when no line is for the model. @input_without_cache: as in struct llm_format. Rounded down to
 * nano-USD; UINT64_MAX when it is more than fits.
 */
bool prices_cost(const struct prices *t, const char *provider, const char *model,
		 const struct llm_usage *usage, bool input_without_cache, uint64_t *ret_nano_usd);

void prices_free(struct prices *t);

#endif
