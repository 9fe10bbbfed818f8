/* SPDX-License-Identifier: MIT */
/*
 * What needs privileges, once the process that reads events has none. priv_split() makes two of one process: the
 * broker, which keeps them and reads no event, and the core, which goes on with everything else: another user,
 * no capability, and a filter for system calls. Until then, and in a process that never splits, the same functions
 * do the work themselves.
 *
 * This is one of the few places with state of its own: privileges belong to a process, not to a session.
 */
#ifndef AGENTSIGHT_PRIV_PRIV_H
#define AGENTSIGHT_PRIV_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "priv/peer.h"

enum priv_service {
	PRIV_PROC_OPEN,     /* a file of a process */
	PRIV_PROC_READ,     /* the same, where who reads is asked, not who opened */
	PRIV_PROC_LINK,     /* where exe and cwd lead */
	PRIV_PROC_SOCKETS,  /* inodes of the sockets that a process has open */
	PRIV_PROGRAM_OPEN,  /* an ELF file that a process runs or has mapped */
	PRIV_REOPEN,        /* the same file once more */
	PRIV_LEASE,         /* to be asked before a file is written */
	PRIV_OUTPUT_OPEN,   /* a file that the user named when he started us */
	PRIV_OUTPUT_ROTATE, /* the same, with what is there moved aside */
	PRIV_CONTAINER,     /* what a container runtime has written about its containers */
	PRIV_SIGNAL,        /* to the command that we started */
	PRIV_TLS_ATTACH,    /* probes into a file */
	PRIV_MMAPS_OPEN,    /* what is mapped executable on a processor */
	PRIV_CACHE_STORE,   /* where functions were found */
	PRIV_SERVICES,
};

/* Before the split: who does @service in the broker. What @ctx points to is copied with the process. */
void priv_offer(enum priv_service service, peer_service_fn fn, void *ctx);

struct priv_options {
	bool devices;    /* whoever samples a GPU talks to its driver by ioctl() */
	const int *keep; /* descriptors that the broker needs, besides programs and maps */
	size_t n_keep;
	int (*try_maps)(void *ctx);               /* reads a map; -EPERM: that needs CAP_BPF here */
	void (*started)(void *ctx, pid_t broker); /* in the broker, first: it is not to be traced */
	void *ctx;
};

/*
 * All threads lose their privileges. -ENOTSUP when there are none to lose, which is no failure. @e: what went wrong;
 * with 0, which privilege had to stay and why, if one had to.
 */
int priv_split(const struct priv_options *opt, struct err *e);

bool priv_is_split(void);

/* The broker or another helper of ours, which is not to be traced. */
pid_t priv_broker_pid(void);

/* Ends the broker. */
void priv_end(void);

/* Asks the broker; -EACCES when there is none. See peer_call(). */
int priv_call(const struct peer_request *rq, struct peer_answer *ret);

/* The same where one descriptor is the answer: it, or an error. @text, @cap: room for what is said besides; NULL, 0. */
int priv_call_fd(const struct peer_request *rq, char *text, size_t cap);

#endif
