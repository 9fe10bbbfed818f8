/* SPDX-License-Identifier: MIT */
/*
 * Of other users' processes: files in /proc that only their owner and a privileged process may read. Paths are
 * relative to /proc, of the few forms that are listed in proc.c.
 */
#ifndef AGENTSIGHT_PRIV_PROC_H
#define AGENTSIGHT_PRIV_PROC_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

/* "PID/environ", "PID/task/TID/io". */
int priv_proc_open(const char *path);

/* By the broker; -EACCES when there is none. */
ssize_t priv_proc_read(const char *path, char *buf, size_t cap);

/* "PID/exe", "PID/cwd": the link's text, not terminated. */
ssize_t priv_proc_link(const char *path, char *buf, size_t cap);

/*
 * The file behind "/proc/PID/exe", "/proc/PID/map_files/..." or a path below "/proc/PID/root" in which are no symbolic
 * links, if it is a regular file with this inode number (0: with any), and none of the kernel's own; without a broker any
 * other path, too. The broker opens ELF programs and libraries only.
 * -EWOULDBLOCK when somebody has a lease of it, which he is told to give back.
 */
int priv_program_open(const char *path, uint64_t ino, struct stat *ret);

/* A description of its own for a program's file that @fd is open on. */
int priv_reopen(int fd);

/*
 * fcntl(@fd, F_SETLEASE, F_RDLCK), which only the file's owner may ask for, or who has CAP_LEASE. The lease belongs to
 * the open file, whoever sets it, and ends with it; the one to be told is to be set before.
 */
int priv_lease(int fd);

/* A descriptor of a process that is a socket. */
struct priv_socket {
	uint32_t fd;
	uint32_t inode;
};

/* Up to @max sockets whose descriptors are @from or larger; how many, or an error. */
ssize_t priv_proc_sockets(uint32_t tgid, uint32_t from, struct priv_socket *ret, size_t max);

/* Makes the services known. */
void priv_proc_offer(void);

#endif
