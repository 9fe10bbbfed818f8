/* SPDX-License-Identifier: MIT */
/* Reading files. */
#ifndef AGENTSIGHT_BASE_IO_H
#define AGENTSIGHT_BASE_IO_H

#include <stddef.h>
#include <stdint.h>

/*
 * Reads exactly @len bytes at @offset. -EBADMSG when the file ends before, or the place is none that a file
 * can have, so offsets may come from the file itself; else what pread() said.
 */
int io_pread(int fd, uint64_t offset, void *buf, size_t len);

#endif
