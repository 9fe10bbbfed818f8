/* SPDX-License-Identifier: MIT */
/*
 * What could be attached, and how: told as events, and by doctor. A run of days finds more files than there is room
 * for, so what has been told makes room; the first ones, which are of the kernel's hooks, stay for who asks later.
 */
#ifndef AGENTSIGHT_SOURCE_CAPABILITIES_H
#define AGENTSIGHT_SOURCE_CAPABILITIES_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#define CAPABILITIES_MAX  256
#define CAPABILITIES_KEPT 128

/* Each function that is probed in a library, and how it was found. */
#define CAPABILITY_REASON_LEN 512

enum capability_state {
	CAPABILITY_ATTACHED,
	CAPABILITY_DEGRADED,
	CAPABILITY_MISSING,
};

struct capability {
	const char *family;
	const char *hook;
	const char *mechanism; /* may be NULL */
	char reason[CAPABILITY_REASON_LEN];
	uint32_t state;
};

/* Zeroed: none. */
struct capabilities {
	struct capability list[CAPABILITIES_MAX];
	size_t n;
	uint64_t refused; /* too many at once */
};

/* What does not fit ends with "…". */
void capability_say(struct capability *c, const char *reason, va_list ap);

/* Copies @c and its hook; family and mechanism are literals. */
void capabilities_add(struct capabilities *all, const struct capability *c);

/* The first @n have been told. Returns how many of these stay. */
size_t capabilities_told(struct capabilities *all, size_t n);

void capabilities_done(struct capabilities *all);

#endif
