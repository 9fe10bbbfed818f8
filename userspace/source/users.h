/* SPDX-License-Identifier: MIT */
/*
 * Names of users from the passwd file alone: a name service may ask the network, and hang. The file is read
 * when a name is first asked for, and again when it has changed.
 */
#ifndef AGENTSIGHT_SOURCE_USERS_H
#define AGENTSIGHT_SOURCE_USERS_H

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

struct users;

/* The uid of a line of passwd, and its name as a part of that line. -EBADMSG: it is none. */
int users_parse_line(const char *line, size_t n, uint32_t *ret_uid, size_t *ret_name_len);

int users_open(const char *path, struct users **ret);
void users_free(struct users *u);
DEFINE_FREEP(struct users *, users_free)

/* "" when there is none; valid until the next call. */
const char *users_name(struct users *u, uint32_t uid);

#endif
