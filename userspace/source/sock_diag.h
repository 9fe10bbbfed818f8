/* SPDX-License-Identifier: MIT */
/*
 * Bytes of TCP connections per process, without privilege: the kernel lists the sockets of this
 * network namespace with their sums (sock_diag(7)), and /proc/PID/fd tells whose they are. What a
 * connection moved between the last look and its end is missed. UDP has no such sums.
 */
#ifndef AGENTSIGHT_SOURCE_SOCK_DIAG_H
#define AGENTSIGHT_SOURCE_SOCK_DIAG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"


/* What the kernel says of a socket. */
struct sock_fact {
	uint32_t inode;
	uint32_t uid;
	uint64_t cookie; /* never used again, unlike the inode number */
	uint64_t rx_bytes;
	uint64_t tx_bytes;
};

/*
 * One answer of the kernel. 1: more follow, 0: that was the last one, or an error. @take is called
 * for each socket that a process may hold.
 */
int sock_diag_parse(const void *bytes, size_t n, void (*take)(void *ctx, const struct sock_fact *f),
		    void *ctx);

struct sock_diag;

int sock_diag_new(struct sock_diag **ret);
void sock_diag_free(struct sock_diag *d);
DEFINE_FREEP(struct sock_diag *, sock_diag_free)

/* A pass: asks for all sockets. */
int sock_diag_begin(struct sock_diag *d);

/* True while there are sockets that might belong to a process that has not been looked at since. */
bool sock_diag_wants(const struct sock_diag *d);

/*
 * Looks which sockets the process holds; one that several hold belongs to the first that was seen with
 * it. @pass: the first one that saw this process, if it ran before: what its sockets moved until
 * then is left out. 0: all counts.
 */
int sock_diag_look(struct sock_diag *d, uint32_t tgid, uint64_t start_ns, uint32_t pass);

/* Every process has been looked at since the last such call. */
void sock_diag_round(struct sock_diag *d);

/* Tells what was moved since the last pass, and forgets sockets that are gone. */
typedef void (*sock_diag_fn)(void *ctx, uint32_t tgid, uint64_t start_ns, uint64_t rx_bytes,
			     uint64_t tx_bytes);
void sock_diag_end(struct sock_diag *d, sock_diag_fn moved, void *ctx);

/* The number of the pass, from 1. */
uint32_t sock_diag_pass(const struct sock_diag *d);

#endif
