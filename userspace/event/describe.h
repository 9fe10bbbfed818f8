/* SPDX-License-Identifier: MIT */
/* The event table for people and tools: what `agentsight schema` and docs/EVENTS.md show. */
#ifndef AGENTSIGHT_EVENT_DESCRIBE_H
#define AGENTSIGHT_EVENT_DESCRIBE_H

#include <stdio.h>

void describe_text(FILE *f);
void describe_markdown(FILE *f);

/* JSON Schema, draft 2020-12: one line of a stream is one instance. */
void describe_json_schema(FILE *f);

#endif
