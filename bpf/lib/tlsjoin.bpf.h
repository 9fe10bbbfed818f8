/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Which socket lies under a TLS session. The TLS programs say in `tls_threads` which session a
 * thread is busy with; the socket programs, which run on the same thread inside that call or right
 * behind it, store the socket's addresses in `tls_conns`.
 *
 * Both objects declare the maps. The TLS side creates them; the network side is given their
 * descriptors before it loads (struct net_options in userspace/source/net.h).
 */
#ifndef AGENTSIGHT_BPF_TLSJOIN_H
#define AGENTSIGHT_BPF_TLSJOIN_H

#include "maps.bpf.h"

/* A probed function that has not returned yet. */
struct as_tls_call {
	__u64 sp; /* stack pointer at its entry, which finds it again at the return; 0: free */
	__u64 ssl;
	__u64 buf;
	__u64 num;
	__u64 count; /* where the function stores the count of bytes, for shapes that do */
	__u64 spec;  /* AS_TLS_SPEC() */
};

/* A call whose plaintext is being sent. */
struct as_tls_send {
	struct as_hdr h; /* of all pieces, but for length and flags */
	__u64 ssl;
	__u64 buf;
	__u64 len;
	__u64 spec;
	__u64 stream_id;
};

/*
 * Written by the TLS programs, but for `bound` and `pending_ssl`, which the socket programs also
 * change; only the thread itself touches its entry. An entry may stay behind with all zero.
 */
struct as_tls_thread {
	__u64 ssl;         /* session of the call that the thread is in; 0 outside */
	__u64 pending_ssl; /* of a finished SSL_write that saw no send; the next send takes it */
	__u32 bound;       /* sockets bound to `ssl` during this call; the TLS side clears it */
	__u32 pad;
	/* private to the TLS programs; here so that a call costs one look-up, not two */
	struct as_tls_call calls[2];
	struct as_tls_send send;
};

/* Key of `tls_conns`. */
struct as_tls_key {
	__u32 tgid;
	__u32 pad;
	__u64 ssl;
};

struct as_tls_conn {
	struct as_conn conn;
	__u64 conn_id; /* as in network events; 0 when these are off */
};

/* Key: bpf_get_current_pid_tgid(). */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, __u64);
	__type(value, struct as_tls_thread);
} tls_threads SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct as_tls_key);
	__type(value, struct as_tls_conn);
} tls_conns SEC(".maps");

#endif
