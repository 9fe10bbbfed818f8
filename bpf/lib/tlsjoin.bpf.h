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

#include "emit.bpf.h"
#include "ends.bpf.h"
#include <agentsight/tls.h>

/* A probed function that has not returned yet. */
struct as_tls_call {
	__u64 sp; /* stack pointer at its entry, which finds it again at the return; 0: free */
	__u64 ssl;
	__u64 buf;
	__u64 num;
	__u64 count;    /* where the function stores the count of bytes, for shapes that do */
	__u64 spec;     /* AS_TLS_SPEC() */
	__u64 entry_ns; /* Go: when a write began */
};

/* A call whose plaintext is being sent. */
struct as_tls_send {
	struct as_hdr h; /* of all pieces, but for length and flags */
	__u64 ssl;     /* the session that stream and conn are of; 0: of none, or not settled yet */
	__u64 changes; /* how many there had been when they were looked up */
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

	__u64 pending_ssl;  /* of a finished SSL_write that saw no send; the next send takes it */
	__u32 pending_len;  /* bytes that send has at least, when that is known */
	__u32 pending_most; /* at most; 0 of a single direction, whose records are counted */
	__u32 bound;        /* enum as_tls_bound: `ssl`, during this call */
	__u32 received;     /* `conn` is of a receive */
	struct as_sock_mark mark; /* the socket used last */
	struct as_conn conn;      /* its ends; good for no longer than the mark */

	/* private to the TLS programs; here so that a call costs one look-up, not two */
	struct as_tls_call calls[2];
	struct as_tls_send send;
};

/* Key of `tls_sessions`. */
struct as_tls_key {
	__u32 tgid;
	__u32 socket; /* `ssl` is the hash of a socket's mark: what its two directions share */
	__u64 ssl;    /* the session's object; of a single direction: see bpf/tls_aead.bpf.c */
};

struct as_tls_session {
	__u64 stream_id;
	__u64 handshake_ns; /* first call of the handshake under way; 0 when there is none */
	__u32 ports;        /* of the socket underneath, when last seen */
	__u32 carried;      /* plaintext has passed */
	__u32 established;  /* a handshake was reported */
	__u32 joined;       /* `conn` holds; set behind it */
	union {
		__u64 kept_num; /* GnuTLS: of a write that is to be tried again, without it */
		__u64 nonce;    /* AEAD: of the last record */
		__u64 under[2]; /* Go: the net.Conn underneath, its type and its value */
	};
	__u64 told;       /* stream whose server name was told, or is not known */
	__u64 told_alpn;  /* stream whose protocol was told */
	__u64 asked_alpn; /* the program has asked for the protocol since then: see `tls_alpns` */
	__u64 first_ns;   /* of the first call whose event had no socket */
	__u64 sk;         /* whose ends are in `conn`, where a socket was bound */
	__u64 wrote_ns;   /* Go: when the last write returned */
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

/* All zero: a thread's entry is too large for the stack of the programs that make one. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct as_tls_thread);
} tls_fresh SEC(".maps");

enum as_tls_hint {
	TLS_HINT_THREAD = 1 << 0, /* a thread with this number has an entry in `tls_threads` */
	TLS_HINT_OPENS = 1 << 1,  /* a process decrypts what it received before the call */
};

/* The hints for the thread or process @id. Never cleared; two may share a place. */
static __always_inline __u8 *tls_hint(__u64 id)
{
	__u32 zero = 0;
	struct as_shared *s = bpf_map_lookup_elem(&shared, &zero);

	return s ? &s->tls_hints[id & (AS_TLS_HINTS - 1)] : NULL;
}

static __always_inline void tls_hint_set(__u64 id, __u8 bit)
{
	__u8 *hint = tls_hint(id);

	if (hint && !(*hint & bit))
		*hint |= bit;
}

/*
 * Of a thread whose socket is known there is nothing to learn until its next call: its reads of the rest of a
 * record are spared the look-up of its entry. One thread per place: who is displaced goes the long way.
 */
static __always_inline __u64 *tls_settled(__u64 id)
{
	__u32 zero = 0;
	struct as_shared *s = bpf_map_lookup_elem(&shared, &zero);

	return s ? &s->tls_settled[id & (AS_TLS_SETTLED - 1)] : NULL;
}

static __always_inline bool tls_is_settled(__u64 id)
{
	__u64 *place = tls_settled(id);

	return place && *place == id;
}

static __always_inline void tls_settle(__u64 id)
{
	__u64 *place = tls_settled(id);

	if (place)
		*place = id;
}

/* Only the thread itself takes itself out. */
static __always_inline void tls_unsettle(__u64 id)
{
	__u64 *place = tls_settled(id);

	if (place && *place == id)
		*place = 0;
}

static __always_inline struct as_tls_thread *tls_thread_get(__u64 id)
{
	struct as_tls_thread *t = bpf_map_lookup_elem(&tls_threads, &id), *fresh;
	__u32 zero = 0;

	if (t)
		return t;
	fresh = bpf_map_lookup_elem(&tls_fresh, &zero);
	if (!fresh)
		return NULL;
	tls_hint_set(id, TLS_HINT_THREAD);
	bpf_map_update_elem(&tls_threads, &id, fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&tls_threads, &id);
}

/* In words: for the compiler the struct is aligned to two bytes, here and in records it is to eight. */
static __always_inline void conn_copy(struct as_conn *to, const struct as_conn *from)
{
	__builtin_memcpy(__builtin_assume_aligned(to, 8), __builtin_assume_aligned(from, 8),
			 sizeof(*to));
}

static __always_inline __u64 mix64(__u64 x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ULL;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

/*
 * A thread mostly calls for the same session again, of which nothing has changed meanwhile: then stream and conn of
 * its last call hold, and the session's entry need not be looked up. So whatever changes an entry says so.
 */
static __always_inline __u64 tls_changes(void)
{
	__u32 zero = 0;
	struct as_shared *s = bpf_map_lookup_elem(&shared, &zero);

	return s ? s->tls_changes : 0;
}

static __always_inline void tls_changed(void)
{
	__u32 zero = 0;
	struct as_shared *s = bpf_map_lookup_elem(&shared, &zero);

	if (s)
		__sync_fetch_and_add(&s->tls_changes, 1);
}

static __always_inline bool conn_same(const struct as_conn *a, const struct as_conn *b)
{
	const __u64 *x = (const void *)a, *y = (const void *)b;
	__u64 differs = 0;
	int i;

	for (i = 0; i < sizeof(*a) / sizeof(*x); i++)
		differs |= x[i] ^ y[i];
	return !differs;
}

/* Conn and flag are read by other threads, so in this order. */
static __always_inline void tls_session_join(struct as_tls_session *s, const struct as_conn *conn)
{
	if (s->joined && conn_same(&s->conn, conn))
		return;
	conn_copy(&s->conn, conn);
	barrier();
	s->joined = 1;
	tls_changed();
}

/*
 * Where only a direction is known, the stream is its socket's: the direction that has carried nothing yet
 * takes the other one's number. Of a client that is what it reads, since it writes first.
 */
static __always_inline void tls_session_pair(struct as_tls_session *s,
					     const struct as_sock_mark *mark, __u32 tgid)
{
	struct as_tls_key key = {.tgid = tgid, .socket = 1};
	struct as_tls_session *both, fresh = {};

	key.ssl = mix64(mark->sk ^ mix64(mark->addrs) ^ ((__u64)mark->ports << 32 | mark->hash));
	both = bpf_map_lookup_elem(&tls_sessions, &key);
	if (!both) {
		fresh.stream_id = s->stream_id;
		bpf_map_update_elem(&tls_sessions, &key, &fresh, BPF_ANY);
	} else if (s->carried) {
		both->stream_id = s->stream_id; /* of an earlier connection, or nothing new */
	} else {
		s->stream_id = both->stream_id;
		tls_changed();
	}
}

#define TLS_SORT_NS 400000 /* less than ORDER_WINDOW_NS in source/order.h */

/*
 * A session whose first calls had no socket has one. With a time before them, as long as user space may
 * still sort it in there: then they get it, too.
 */
static __always_inline void tls_socket_emit(const struct as_tls_session *s,
					    const struct as_tls_thread *t)
{
	struct as_ssl_session *e = event_reserve(&ring_events, AS_EV_SSL_SESSION, sizeof(*e));

	if (!e)
		return;
	hdr_fill(&e->h, AS_EV_SSL_SESSION, sizeof(*e));
	if (e->h.boot_ns - s->first_ns < TLS_SORT_NS)
		e->h.boot_ns = s->first_ns - 1;
	conn_copy(&e->conn, &t->conn);
	e->stream_id = s->stream_id;
	e->server_name = (struct as_span){};
	e->alpn = (struct as_span){};
	e->library = AS_TLS_SPEC_LIBRARY(t->send.spec);
	e->pad = 0;
	event_submit(&ring_events, e);
}

/* Has it a socket that somebody still holds? The memory of one that is gone may be another's, with other ports. */
static __always_inline bool tls_session_lives(const struct as_tls_session *s)
{
	const struct sock *sk = (const void *)s->sk;

	return s->joined && !(BPF_CORE_READ(sk, __sk_common.skc_flags) & SK_DEAD) &&
	       sock_local_port(sk) == s->conn.local.port &&
	       sock_remote_port(sk) == s->conn.remote.port;
}

/* The thread has used the session's socket. */
static __always_inline void tls_session_bind(struct as_tls_session *s,
					     const struct as_tls_thread *t)
{
	if (s->first_ns && !s->joined)
		tls_socket_emit(s, t);
	s->sk = t->mark.sk;
	tls_session_join(s, &t->conn);
}

#endif
