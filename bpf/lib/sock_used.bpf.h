/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What follows when a process has sent or received on a socket: its accounts, and where it carries HTTP
 * without TLS, its payload. A connection is looked at on its first calls. Most carry something else:
 * these are remembered, and cost nothing more.
 *
 * Everything here runs in the context of the process that uses the socket, inside its system call.
 */
#ifndef AGENTSIGHT_BPF_SOCK_USED_H
#define AGENTSIGHT_BPF_SOCK_USED_H

#include "sock.bpf.h"

#define AF_UNIX 1

enum used_how {
	USED_SENT = 1 << 0,       /* else received */
	USED_UNREADABLE = 1 << 1, /* the bytes went nowhere, or are no part of the stream */
	USED_UDP = 1 << 2,        /* the hook is UDP's: what follows for others is left out */
};

/* ---- connections that carry HTTP ---- */

#define PLAIN_LOOKS 8

struct plain_sock {
	struct as_sock_mark mark;
	__u64 id;     /* stream, where no entry of `socks` has one */
	__u32 seq[2]; /* by direction: number of the first byte that has not been told */
	__u32 known;  /* bits: seq holds */
	__u32 looks;
	__u32 verdict; /* enum verdict */
	__u32 tunnel;  /* began with CONNECT: TLS may follow */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64); /* address of the struct sock */
	__type(value, struct plain_sock);
} plain_socks SEC(".maps");

static __always_inline void plain_forget(const struct sock *sk)
{
	__u64 key = (__u64)sk;

	if (cfg.plain_http)
		bpf_map_delete_elem(&plain_socks, &key);
}

/* A reset takes the local port, the upper half, from a socket from which what has come can still be read. */
static __always_inline bool same_ends(const struct as_sock_mark *known,
				      const struct as_sock_mark *fresh)
{
	__u32 other = known->ports ^ fresh->ports;

	return known->addrs == fresh->addrs && known->hash == fresh->hash &&
	       !(fresh->ports >> 16 ? other : other & 0xffff);
}

static __always_inline struct plain_sock *plain_get(const struct sock *sk)
{
	struct plain_sock fresh = {}, *p;
	__u64 key = (__u64)sk;

	if (!sock_mark(sk, &fresh.mark))
		return NULL;
	p = bpf_map_lookup_elem(&plain_socks, &key);
	if (p && same_ends(&p->mark, &fresh.mark))
		return p;
	fresh.id = id_new(bpf_ktime_get_boot_ns());
	bpf_map_update_elem(&plain_socks, &key, &fresh, BPF_ANY);
	return bpf_map_lookup_elem(&plain_socks, &key);
}

static __always_inline void plain_never(const struct sock *sk, struct plain_sock *p)
{
	struct sock_entry *e = cfg.net_events ? entry_find(sk) : NULL;

	p->verdict = VERDICT_NEVER;
	if (e)
		e->flags |= ENTRY_OPAQUE;
	if (!cfg.net_each_call) /* there, a settled socket is one without an entry */
		sock_settle(sk);
}

/* ---- which bytes ---- */

/*
 * KERNEL < 6.3: nothing tells how much a receive returned, but each buffer that it empties is told while
 * it runs: the number of the first byte at its beginning says where in the user's memory they lie.
 */
struct receive {
	__u64 sk;
	__u32 begin_seq;
	__u32 told_seq;
};

/* Key: bpf_get_current_pid_tgid(). */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct receive);
} receives SEC(".maps");

static __always_inline void receive_begin(const struct sock *sk)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct receive r = {.sk = (__u64)sk};

	if (!cfg.plain_http || !current_watched())
		return;
	r.begin_seq = r.told_seq = BPF_CORE_READ((const struct tcp_sock *)sk, copied_seq);
	bpf_map_update_elem(&receives, &thread, &r, BPF_ANY);
}

/* Sets length and skip to what the receive has got since the last time. */
static __always_inline bool receive_goes_on(const struct sock *sk, __u64 thread, struct payload *p)
{
	struct receive *r = bpf_map_lookup_elem(&receives, &thread);
	__u32 seq = BPF_CORE_READ((const struct tcp_sock *)sk, copied_seq);

	if (!r || r->sk != (__u64)sk || (__s32)(seq - r->told_seq) <= 0)
		return false;
	p->len = seq - r->told_seq;
	p->skip = r->told_seq - r->begin_seq;
	r->told_seq = seq;
	return true;
}

/* The number behind the last byte that was sent, or received without the FIN. */
static __always_inline __u32 plain_seq(const struct sock *sk, __u32 direction)
{
	const struct tcp_sock *tp = (const void *)sk;
	__u32 seq;

	if (direction == AS_TLS_WRITE)
		return BPF_CORE_READ(tp, write_seq);
	seq = BPF_CORE_READ(tp, copied_seq);
	if (BPF_CORE_READ(sk, __sk_common.skc_flags) & SK_DONE && seq == BPF_CORE_READ(tp, rcv_nxt))
		seq--;
	return seq;
}

/*
 * How many bytes no call has told of lie before this one: of a skipped hook, of sendfile() where
 * that is no send. Another thread's call in between moves the boundary, and only that.
 */
static __always_inline __u32 plain_missing(const struct sock *sk, struct plain_sock *s,
					   __u32 direction, __u32 n)
{
	__u32 d = direction & 1, seq = plain_seq(sk, d), missing = 0;

	if (s->known & 1U << d && (__s32)(seq - s->seq[d]) > (__s32)n)
		missing = seq - s->seq[d] - n;
	if (!(s->known & 1U << d) || (__s32)(seq - s->seq[d]) > 0)
		s->seq[d] = seq;
	s->known |= 1U << d;
	return missing;
}

/* From here on the bytes of the direction are told. */
static __always_inline void plain_begin(const struct sock *sk, struct plain_sock *s,
					__u32 direction)
{
	__u32 d = direction & 1;

	s->seq[d] = plain_seq(sk, d);
	s->known |= 1U << d;
}

/*
 * The registers are those of this call if its descriptor is this socket. They are not when the thread
 * does what an io_uring has left for it, and sendfile() names it elsewhere: then there is no buffer.
 */
static __always_inline bool caller_uses(const struct caller *c, const struct sock *sk)
{
	const struct file *file = fd_file(c->fd);
	const struct socket *socket;

	if (!file)
		return false;
	socket = BPF_CORE_READ(file, private_data);
	return BPF_CORE_READ(socket, file) == file && BPF_CORE_READ(socket, sk) == sk;
}

/* ---- what they look like ---- */

#define WORD4(a, b, c, d) ((__u32)(a) | (__u32)(b) << 8 | (__u32)(c) << 16 | (__u32)(d) << 24)

/* A target: a path, an absolute one, or the asterisk of OPTIONS. "GET key" is somebody else's. */
static __always_inline bool is_target(const char *at)
{
	return *at == '/' || *at == '*' || *(const __u32 *)at == WORD4('h', 't', 't', 'p');
}

#define PLAIN_HEAD 16 /* bytes that decide: the longest method, and where its target begins */

/* @at: the first PLAIN_HEAD bytes of a call. */
static __always_inline bool is_http(const char *at)
{
	__u32 first = *(const __u32 *)at, second = *(const __u32 *)(at + 4);

	switch (first) {
	case WORD4('H', 'T', 'T', 'P'):
		return (second & 0xffff) == WORD4('/', '1', 0, 0);
	case WORD4('P', 'R', 'I', ' '):
		return second == WORD4('*', ' ', 'H', 'T');
	case WORD4('G', 'E', 'T', ' '):
	case WORD4('P', 'U', 'T', ' '):
		return is_target(at + 4);
	case WORD4('P', 'O', 'S', 'T'):
	case WORD4('H', 'E', 'A', 'D'):
		return at[4] == ' ' && is_target(at + 5);
	case WORD4('P', 'A', 'T', 'C'):
		return (second & 0xffff) == WORD4('H', ' ', 0, 0) && is_target(at + 6);
	case WORD4('D', 'E', 'L', 'E'):
		return (second & 0xffffff) == WORD4('T', 'E', ' ', 0) && is_target(at + 7);
	case WORD4('O', 'P', 'T', 'I'):
		return second == WORD4('O', 'N', 'S', ' ') && is_target(at + 8);
	case WORD4('C', 'O', 'N', 'N'):
		return second == WORD4('E', 'C', 'T', ' ');
	}
	return false;
}

/* A record of TLS, of any kind. */
static __always_inline bool is_tls(const char *at)
{
	return at[0] >= 0x14 && at[0] <= 0x17 && at[1] == 3 && at[2] <= 4;
}

static __always_inline void plain_looked(const struct sock *sk, struct plain_sock *s)
{
	if (s->verdict == VERDICT_OPEN && ++s->looks >= PLAIN_LOOKS)
		plain_never(sk, s);
}

/* Does the call belong to a connection whose payload is shown? Looks at it as long as that is open. */
static __always_inline bool plain_is_shown(const struct sock *sk, struct plain_sock *s,
					   struct payload *p, __u32 direction)
{
	__u64 n;

	if (s->verdict == VERDICT_SHOWN && !s->tunnel)
		return true;
	n = payload_head(p, PLAIN_HEAD);
	if (n > 4 && is_tls(p->head)) {
		plain_never(sk, s);
		return false;
	}
	if (s->verdict == VERDICT_SHOWN)
		return true;
	if (n == PLAIN_HEAD && is_http(p->head)) {
		if (sock_has_ktls(sk)) { /* encrypted behind the call */
			plain_never(sk, s);
			return false;
		}
		plain_begin(sk, s, !direction); /* of this one, the call itself says where */
		s->verdict = VERDICT_SHOWN;
		s->tunnel = p->head[0] == 'C';
		return true;
	}
	plain_looked(sk, s);
	return false;
}

/* ---- payload ---- */

static __always_inline void plain_fill(const struct sock *sk, const struct plain_sock *s,
				       struct payload *p, __u32 direction)
{
	struct sock_entry *e = cfg.net_events ? entry_find(sk) : NULL;

	hdr_fill(&p->h, AS_EV_NET_DATA, 0);
	/* what a reset connection still held: its close is told, here or on another processor, and no other follows */
	if (!e && (cfg.net_events || BPF_CORE_READ(sk, __sk_common.skc_state) == TCP_CLOSE))
		p->h.flags = AS_F_CLOSED;
	sock_read_ends(sk, &p->conn.local, &p->conn.remote);
	p->stream_id = e ? e->id : s->id;
	p->direction = direction;
	p->last = 0;
}

/* A call of its own for what was not seen, then the one that was; @p knows about the latter. */
static __always_inline void plain_tell_missing(struct payload *p, __u32 missing)
{
	__u64 len = p->len;
	__u32 function = p->function;

	p->len = missing;
	p->function = AS_NET_FN_NONE;
	p->off = 0;
	ledger_add(AS_EV_NET_DATA, produced, 1);
	payload_gap(p);
	p->len = len;
	p->function = function;
}

/*
 * A watched process has moved @ret bytes, or RET_UNKNOWN, through the TCP socket at @addr. Global for
 * the verifier's sake.
 */
__noinline int plain_used(__u64 addr, __u32 ret, __u32 how)
{
	__u32 direction = how & USED_SENT ? AS_TLS_WRITE : AS_TLS_READ, missing;
	__u64 thread = bpf_get_current_pid_tgid();
	const struct sock *sk = (const void *)addr;
	struct plain_sock *s = plain_get(sk);
	struct caller c = {};
	struct payload *p;

	if (!s)
		return 0;
	if (s->verdict == VERDICT_NEVER) {
		plain_never(sk, s);
		return 0;
	}
	p = payload_get(thread);
	if (!p)
		return 0;
	p->len = ret;
	p->skip = 0;
	if (ret == RET_UNKNOWN && !receive_goes_on(sk, thread, p)) {
		plain_looked(sk, s); /* without kprobes nothing is known of any receive */
		return 0;
	}
	if (how & USED_UNREADABLE || !caller_read(&c) || !caller_uses(&c, sk))
		c.nr = ~0ULL;
	payload_locate(p, &c);
	if (!plain_is_shown(sk, s, p, direction))
		return 0;
	missing = plain_missing(sk, s, direction, p->len);
	plain_fill(sk, s, p, direction);
	if (missing)
		plain_tell_missing(p, missing);
	payload_send(thread, p);
	return 0;
}

static __always_inline void plain_end_of(const struct sock *sk, struct plain_sock *s,
					 struct payload *p, __u32 direction)
{
	__u32 missing = plain_missing(sk, s, direction, 0);

	if (!missing)
		return;
	plain_fill(sk, s, p, direction);
	plain_tell_missing(p, missing);
}

/* Its process closes the socket at @addr: the last calls may have been seen by no hook. */
__noinline int plain_end(__u64 addr)
{
	struct plain_sock *s = bpf_map_lookup_elem(&plain_socks, &addr);
	const struct sock *sk = (const void *)addr;
	struct payload *p;

	if (!s || s->verdict != VERDICT_SHOWN)
		return 0;
	p = payload_get(bpf_get_current_pid_tgid());
	if (!p)
		return 0;
	plain_end_of(sk, s, p, AS_TLS_READ);
	plain_end_of(sk, s, p, AS_TLS_WRITE);
	return 0;
}

/* ---- sockets that are stdin, stdout or stderr ---- */

__noinline int stdio_used(__u64 addr, __u32 n, __u32 how)
{
	const struct sock *sk = (const void *)addr;
	struct caller c = {};

	if (BPF_CORE_READ(sk, __sk_common.skc_family) != AF_UNIX ||
	    BPF_CORE_READ(sk, sk_type) != SOCK_STREAM)
		return 0;
	if (!caller_read(&c) || c.fd > 2 || !caller_uses(&c, sk))
		return 0;
	stdio_call(&c, addr, n, how & USED_SENT ? AS_TLS_WRITE : AS_TLS_READ);
	return 0;
}

/* ---- the common end of all hooks ---- */

#define CARRIES_NOTHING -1 /* that is of interest */

/* Programs use a socket of MPTCP; what is known of the connection is known of the socket of TCP below. */
static __always_inline const struct sock *mptcp_first(const struct sock *sk)
{
	const struct mptcp_sock *msk = (const void *)sk;

	return bpf_core_field_exists(msk->first) ? BPF_CORE_READ(msk, first) : NULL;
}

/*
 * The accounts of the socket at @addr, which the thread @id has used. Returns its protocol, or
 * CARRIES_NOTHING. Global, since its entry for a new connection and what payload needs
 * would not fit on one stack.
 */
__noinline int sock_account(__u64 addr, __u64 id, int ret, __u32 how)
{
	const struct sock *sk = (const void *)addr;
	struct sock_entry *s = cfg.net_events ? entry_find(sk) : NULL;
	__u16 protocol;

	if (s && s->protocol == AS_PROTO_UDP && ret > 0)
		s = udp_entry_of(sk, s);
	protocol = s ? s->protocol : sock_protocol(sk);
	if (!cfg.net_events)
		return protocol;
	if (protocol == PROTO_MPTCP) {
		sk = mptcp_first(sk);
		if (!sk)
			return CARRIES_NOTHING;
		s = entry_find(sk);
	}
	if (protocol == PROTO_MPTCP || (protocol == AS_PROTO_TCP && !(how & USED_UDP))) {
		if (!tcp_used(sk, s, id, ret, how & USED_SENT) || (s && s->flags & ENTRY_OPAQUE))
			return CARRIES_NOTHING;
		return protocol;
	}
	if (protocol == AS_PROTO_UDP)
		udp_used(sk, s, id, ret, how & USED_SENT);
	return protocol;
}

/*
 * In the order of cost. What a process that is not watched does on a watched socket shows in the totals
 * only.
 */
static __always_inline void sock_used(const struct sock *sk, int ret, __u32 how)
{
	int protocol;
	__u64 id;

	if (cfg.tls_join && ret > 0)
		tls_join(sk, ret, how & USED_SENT);
	if (!cfg.net_events && !cfg.plain_http && !cfg.stdio)
		return;
	if (!cfg.net_each_call && sock_is_settled(sk))
		return;
	id = bpf_get_current_pid_tgid();
	if (!proc_watched(id >> 32))
		return;
	if (cfg.by_uid && (__u32)bpf_get_current_uid_gid() != cfg.uid)
		return;
	protocol = sock_account((__u64)sk, id, ret, how);
	if (how & USED_UDP || ret <= 0)
		return;
	if (protocol == AS_PROTO_TCP && cfg.plain_http)
		plain_used((__u64)sk, ret, how);
	else if (!protocol && cfg.stdio)
		stdio_used((__u64)sk, ret, how);
}

#endif
