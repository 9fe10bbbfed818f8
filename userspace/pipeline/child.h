/* SPDX-License-Identifier: MIT */
/* A command that is started and watched: held before its first instruction until all is attached. */
#ifndef AGENTSIGHT_PIPELINE_CHILD_H
#define AGENTSIGHT_PIPELINE_CHILD_H

#include <sys/types.h>

#include "base/err.h"

struct child {
	pid_t pid;    /* 0: none */
	int gate_fd;  /* a byte lets the command start; closed without one, it never will */
	int pid_fd;   /* readable when it has ended; -1 on kernels without pidfd_open() */
	int error_fd; /* tells why execve() failed */
};

/* Forks and holds the child. @argv as for execvp(). */
int child_hold(char **argv, struct child *ret, struct err *e);

/* Lets it go. -ENOENT, … with a sentence when the command cannot be started. */
int child_release(struct child *c, const char *name, struct err *e);

/* Ends a child that was never released, and reaps; closes the descriptors. */
void child_done(struct child *c);

#endif
