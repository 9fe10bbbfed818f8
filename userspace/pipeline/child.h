/* SPDX-License-Identifier: MIT */
/* A command that is started and watched: held before its first instruction until all is attached. */
#ifndef AGENTSIGHT_PIPELINE_CHILD_H
#define AGENTSIGHT_PIPELINE_CHILD_H

#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "base/err.h"

struct child {
	pid_t pid;    /* 0: none */
	int gate_fd;  /* a byte lets the command start; closed without one, it never will */
	int pid_fd;   /* readable when it has ended */
	int error_fd; /* tells why execve() failed */
	bool reaped;
};

/* How the command ended; wait4(2). */
struct child_end {
	bool ended;
	bool unknown; /* nobody can tell how: this process ignores SIGCHLD */
	int status;
	struct rusage used; /* by it and by the children that it waited for */
};

/* Where its output goes; 0: where ours goes. */
struct child_files {
	int out, err;
};

/* What main() found of signals, and changes for us alone: the command begins as it would without us. */
struct child_signals {
	sigset_t blocked;
	bool children_ignored; /* SIGCHLD */
};

/*
 * Forks and holds the child. @argv as for execvp(). Without @signals, in a program of somebody else, it begins with no
 * signal blocked and with SIGPIPE as it is by default; with them SIGPIPE is to be as it was found as yet.
 */
int child_hold(char **argv, const struct child_files *files, const struct child_signals *signals,
	       struct child *ret, struct err *e);

/* Lets it go. -ENOENT, … with a sentence when the command cannot be started. */
int child_release(struct child *c, const char *name, struct err *e);

/* Reaps the command if it has ended. */
void child_look(struct child *c, struct child_end *ret);

/* So that the broker can send it signals. */
void child_offer(struct child *c);
/* 0, also when it has ended; an error when nobody may send it one. */
int child_signal(const struct child *c, int signal);

/* Ends a child that was never released, and reaps; closes the descriptors. */
void child_done(struct child *c);

#endif
