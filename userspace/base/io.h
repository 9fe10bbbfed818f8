/* SPDX-License-Identifier: MIT */
/* Files, pipes and terminals. */
#ifndef AGENTSIGHT_BASE_IO_H
#define AGENTSIGHT_BASE_IO_H

#include <stddef.h>
#include <stdint.h>

/*
 * Reads exactly @len bytes at @offset. -EBADMSG when the file ends before, or the place is none that a file
 * can have, so offsets may come from the file itself; else what pread() said.
 */
int io_pread(int fd, uint64_t offset, void *buf, size_t len);

/*
 * A pipe or terminal opened once more for writing, so that it never blocks: O_NONBLOCK on @fd itself would reach
 * everyone who shares it, the shell included. -1 with errno, EINVAL for anything else: a file would be written from
 * its beginning, and does not block.
 */
int io_open_again(int fd);

#endif
