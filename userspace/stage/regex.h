/* SPDX-License-Identifier: MIT */
/*
 * Regular expressions in time linear in the text, for filters: literals, . [a-z] [^a-z] \d \w \s \b
 * (and \D \W \S \B), ( ) (?: ), |, * + ? {m,n}, ^ $, and (?i) at the start. It works on bytes; "." is
 * any byte but a newline. A match may stand anywhere in the text.
 */
#ifndef AGENTSIGHT_STAGE_REGEX_H
#define AGENTSIGHT_STAGE_REGEX_H

#include <stdbool.h>
#include <stddef.h>

struct regex;

struct regex_error {
	size_t off; /* in bytes */
	char msg[128];
};

/* 0, -EINVAL (malformed, @err says where), -E2BIG (too many states), -ENOMEM. */
int regex_new(const char *pattern, size_t len, struct regex **ret, struct regex_error *err);

void regex_free(struct regex *re);

/* Allocates nothing and may run in several threads at once. */
bool regex_match(const struct regex *re, const char *text, size_t len);

#endif
