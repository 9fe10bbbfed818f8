/* SPDX-License-Identifier: MIT */
/*
 * What was found before, one small text file per executable, so that a program which talks 26 ms after its start
 * is known by then. Of files that only root can write, what was found is named by the build id and size, so that a copy
 * in a container is known, too. All else is of one file: named by device and inode, with size and times of change.
 * Cache files that somebody else could have written are refused, and the sites in them are checked against the
 * executable's code.
 */
#ifndef AGENTSIGHT_FIND_CACHE_H
#define AGENTSIGHT_FIND_CACHE_H

#include <stddef.h>
#include <sys/stat.h>

#include "find/find.h"

/* /var/cache/agentsight for root, else below $XDG_CACHE_HOME or $HOME; "" when there is none. */
void find_cache_directory(char *ret, size_t size);

/* 0 with sites, or -ENOENT when it tells that there are none; other errors: nothing usable is stored. */
int find_cache_load(const char *directory, int fd, struct image *im, struct find_result *ret);

/*
 * Also stores that there is nothing. @st is what the file was like before it was searched. Makes the directory; an error
 * is of no consequence.
 */
int find_cache_store(const char *directory, int fd, const struct stat *st,
		     const struct find_result *result);

/* So that the broker can store in @directory, which is borrowed. */
void find_cache_offer(char *directory);

#endif
