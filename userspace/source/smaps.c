/* SPDX-License-Identifier: MIT */
#include "source/smaps.h"

#include <errno.h>

#define READ_MAX 4096

int smaps_parse(const char *text, size_t n, struct smaps *ret)
{
	uint64_t pss, clean, dirty;

	if (!procfs_find_u64(text, n, "Pss:", &pss) ||
	    !procfs_find_u64(text, n, "Private_Clean:", &clean) ||
	    !procfs_find_u64(text, n, "Private_Dirty:", &dirty))
		return -EBADMSG;
	ret->pss_kb = pss;
	if (__builtin_add_overflow(clean, dirty, &ret->uss_kb))
		return -EBADMSG;
	return 0;
}

int smaps_read(const struct procfs *fs, uint32_t pid, struct smaps *ret)
{
	_cleanup_(closep) int fd = procfs_pid_open(fs, pid, "smaps_rollup");
	char buf[READ_MAX];
	ssize_t n;

	if (fd < 0)
		return fd == -ENOENT ? -ESRCH : fd;
	n = procfs_fd_read(fd, buf, sizeof(buf));
	if (n < 0)
		return n;
	return n ? smaps_parse(buf, n, ret) : -ESRCH;
}
