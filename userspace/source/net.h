/* SPDX-License-Identifier: MIT */
/*
 * The network family: TCP connections with owner, latency, totals and round-trip times, sums of
 * UDP, for the TLS family which socket lies under a session, and payload of sockets that carry HTTP
 * without TLS or are a process's stdin, stdout or stderr. What is wanted is in the shared
 * configuration: net_events, net_each_call, tls_join, plain_http, stdio.
 */
#ifndef AGENTSIGHT_SOURCE_NET_H
#define AGENTSIGHT_SOURCE_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "source/bpf.h"

struct net_source;

struct net_options {
	/* The maps `tls_threads` and `tls_sessions` (bpf/lib/tlsjoin.bpf.h); -1 without tls_join. Borrowed. */
	int tls_threads_fd;
	int tls_sessions_fd;
	bool samples; /* net_source_moved() will be called */
};

/*
 * Loads and attaches. Fails only if nothing at all can be seen; a hook that this kernel lacks becomes
 * a capability.
 */
int net_source_open(struct bpf_shared *s, const struct net_options *opt, struct net_source **ret,
		    struct err *e);

/* Takes in the sockets that are open already, once it is known which processes are watched. */
void net_source_seed(struct net_source *n);

/* About once a second: makes the flow events. */
void net_source_tick(struct net_source *n, uint64_t boot_ns);

typedef void net_moved_fn(void *ctx, const struct as_moved *m);

/* What moved since the last call, as far as no flow or close event has told it meanwhile. */
void net_source_moved(struct net_source *n, net_moved_fn *fn, void *ctx);

/* Before the last drain: the sums up to now of what is still open. */
void net_source_finish(struct net_source *n);

void net_source_free(struct net_source *n);

#endif
