/* SPDX-License-Identifier: MIT */
/* System calls of this architecture by number: what they are called, and what they are for. */
#ifndef AGENTSIGHT_SOURCE_SYSCALL_NAMES_H
#define AGENTSIGHT_SOURCE_SYSCALL_NAMES_H

#include <stdint.h>

#include <agentsight/calls.h>

enum call_category {
	CALL_CATEGORY_OTHER,
	CALL_CATEGORY_FILE_IO,
	CALL_CATEGORY_MEMORY,
	CALL_CATEGORY_PROCESS,
	CALL_CATEGORY_NETWORK,
	CALL_CATEGORY_TIME,
	CALL_CATEGORY_IPC,
	CALL_CATEGORY_SECURITY,
	CALL_CATEGORY_SIGNAL,
	CALL_CATEGORY_SYSTEM,
	CALL_CATEGORIES,
};

/* NULL when the headers this was built with do not know the number, or it is beyond all. */
const char *syscall_name(unsigned nr);

const char *call_category_name(enum call_category c);

/* CALL_CATEGORIES when no row has the name. */
unsigned call_category_of(const char *name);

/* Of all numbers at once: a search by name for each is nothing to do twice. */
void call_categories(uint8_t ret[AS_CALLS_MAX]);

/* What a thread waits for that sleeps in this call: enum as_wait, with AS_WAIT_BY_…. */
void call_waits(uint8_t ret[AS_CALLS_MAX]);

#endif
