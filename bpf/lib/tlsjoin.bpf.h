/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Which socket lies under a TLS session. The TLS programs say in `tls_threads` which session a
 * thread is busy with; the socket programs, which run on the same thread inside that call, leave
 * the socket's addresses there, and the end of the call hands them to the session. For a send right
 * behind the call they do that themselves.
 *
 * A thread mostly uses the same socket again: then its addresses stand in the thread's entry already,
 * and what a socket operation costs is one look-up.
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
	struct as_conn conn;
};

enum as_tls_bound {
	AS_TLS_UNBOUND,
	AS_TLS_BOUND,  /* to the socket whose addresses are in `conn` */
	AS_TLS_NESTED, /* a call inside this one was bound: to this session's socket or another */
};

/* What tells a connected socket from the next one at its address: for IPv6 the hash of its ends. */
struct as_sock_mark {
	__u64 sk;
	__u64 addrs;
	__u32 hash;
	__u32 ports;
};

/*
 * Written by the TLS programs, but for the members of the second group, which the socket programs
 * write too; only the thread itself touches its entry. An entry may stay behind with all zero.
 */
struct as_tls_thread {
	__u64 ssl; /* session of the call that the thread is in; 0 outside */

	__u64 pending_ssl; /* of a finished SSL_write that saw no send; the next send takes it */
	__u32 bound;       /* enum as_tls_bound: `ssl`, during this call */
	__u32 pad;
	struct as_sock_mark mark; /* the socket used last */
	struct as_conn conn;      /* its ends; good for no longer than the mark */

	/* private to the TLS programs; here so that a call costs one look-up, not two */
	struct as_tls_call calls[2];
	struct as_tls_send send;
};

/* Key of `tls_sessions`. */
struct as_tls_key {
	__u32 tgid;
	__u32 pad;
	__u64 ssl;
};

struct as_tls_session {
	__u64 stream_id;
	__u64 handshake_ns; /* first call of the handshake under way; 0 when there is none */
	__u32 ports;        /* of the socket underneath, when last seen */
	__u32 carried;      /* plaintext has passed */
	__u32 established;  /* a handshake was reported */
	__u32 joined;       /* `conn` holds; set behind it */
	struct as_conn conn;
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
	__uint(max_entries, 16384);
	__type(key, struct as_tls_key);
	__type(value, struct as_tls_session);
} tls_sessions SEC(".maps");

/* The hint for the thread @id: 0 as long as it has no entry in `tls_threads`. Never cleared. */
static __always_inline __u8 *tls_hint(__u64 id)
{
	__u32 zero = 0;
	struct as_shared *s = bpf_map_lookup_elem(&shared, &zero);

	return s ? &s->tls_hints[id & (AS_TLS_HINTS - 1)] : NULL;
}

/* In words: for the compiler the struct is aligned to two bytes, here and in records it is to eight. */
static __always_inline void conn_copy(struct as_conn *to, const struct as_conn *from)
{
	__builtin_memcpy(__builtin_assume_aligned(to, 8), __builtin_assume_aligned(from, 8),
			 sizeof(*to));
}

/* Conn and flag are read by other threads, so in this order. */
static __always_inline void tls_session_join(struct as_tls_session *s, const struct as_conn *conn)
{
	conn_copy(&s->conn, conn);
	barrier();
	s->joined = 1;
}

#endif
