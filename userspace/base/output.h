/* SPDX-License-Identifier: MIT */
/* Files that are written for the user, by a program that runs as root in directories of others. */
#ifndef AGENTSIGHT_BASE_OUTPUT_H
#define AGENTSIGHT_BASE_OUTPUT_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/* The user who called sudo: 1; 0 when nobody did, -EINVAL when the variables of sudo are no numbers. */
int output_sudo_caller(uid_t *ret_uid, gid_t *ret_gid);

/*
 * Opens @path for appending, made if it is not there, with @mode and owned by the user who called sudo:
 * never through a symbolic link that somebody else could have made, never a file of another user, and
 * never anything but a regular file, a pipe or a terminal. @empty truncates it, once it is known to be the
 * right one. A regular file is locked (flock) where its file system can: -EBUSY when another of us writes it.
 * O_EXCL in @extra_flags: only if it is not there. -ELOOP, -EACCES, ... with a sentence.
 */
int output_open(const char *path, int extra_flags, bool empty, mode_t mode, int *ret_fd,
		struct err *e);

/*
 * Moves @path to path.1, path.1 to path.2 and so on, of which @keep stay, and opens a new @path. It is made before any
 * old file moves, as path.new: when it cannot be made, because that is somebody's file say, or the file itself cannot
 * be moved, nothing has been lost.
 */
int output_rotate(const char *path, unsigned int keep, int *ret_fd, struct err *e);

#endif
