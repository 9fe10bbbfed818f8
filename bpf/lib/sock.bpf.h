/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What is known about a socket, and how much went through it.
 *
 * Payload bytes of TCP are never summed up call by call: the socket itself knows them. What was
 * written is bytes_acked plus what lies between snd_una and write_seq, what was read is
 * bytes_received less what lies between copied_seq and rcv_nxt, and the SYN and the FIN, which count
 * as one byte each in all of these, are taken off. So a hook that the kernel skips loses nothing,
 * and neither MSG_PEEK, MSG_WAITALL, sendfile, splice nor io_uring can be counted wrongly.
 *
 * In most TCP events `current` has nothing to do with the socket. Each function here says when it
 * must be called in the context of the process that uses the socket.
 */
#ifndef AGENTSIGHT_BPF_SOCK_H
#define AGENTSIGHT_BPF_SOCK_H

#include "emit.bpf.h"
#include "ends.bpf.h"
#include "filter.bpf.h"
#include "payload.bpf.h"
#include "tlsjoin.bpf.h"

enum tcp_state {
	TCP_ESTABLISHED = 1,
	TCP_SYN_SENT = 2,
	TCP_SYN_RECV = 3,
	TCP_FIN_WAIT1 = 4,
	TCP_FIN_WAIT2 = 5,
	TCP_CLOSE = 7,
	TCP_CLOSE_WAIT = 8,
	TCP_LAST_ACK = 9,
	TCP_LISTEN = 10,
	TCP_CLOSING = 11,
};

#define STATE_BIT(state) (1U << (state))

/* states behind tcp_send_fin(): the FIN is part of write_seq */
#define STATES_FIN_SENT                                                                  \
	(STATE_BIT(TCP_FIN_WAIT1) | STATE_BIT(TCP_FIN_WAIT2) | STATE_BIT(TCP_LAST_ACK) | \
	 STATE_BIT(TCP_CLOSING))
#define STATES_CONNECTED (STATE_BIT(TCP_ESTABLISHED) | STATE_BIT(TCP_CLOSE_WAIT) | STATES_FIN_SENT)

/* bits of skc_flags, enum sock_flags of the kernel; see also SK_DEAD */
#define SK_DONE (1UL << 1) /* the FIN of the peer has arrived */

#define SOCKS_MAX 65536

#define RET_UNKNOWN 0x7fffffff /* the hook does not say what the call returned */

struct sock_owner {
	__u64 start_ns;
	__u32 tgid;
	__u32 ppid;
	__u32 uid;
	__u32 execs; /* of its task so far */
	char comm[AS_COMM_LEN];
};

enum sock_entry_flags {
	ENTRY_OWNED = 1 << 0,  /* the owner was observed; else it is the listener's, if any */
	ENTRY_UP = 1 << 1,     /* was established; the members *_seq0 hold */
	ENTRY_ENDED = 1 << 2,  /* reached CLOSE; the totals wait for what is still unread */
	ENTRY_HELD = 1 << 3,   /* a process had it open when it ended: that process will free it */
	ENTRY_OPAQUE = 1 << 4, /* what it carries is not shown */
};

/* Value of `socks`. Sums are since the connection, or the tracing of it, began. */
struct sock_entry {
	__u64 id; /* conn_id */
	struct sock_owner owner;
	struct as_addr local;
	struct as_addr remote;
	__u64 syn_ns;
	__u64 begin_ns;
	__u64 end_ns;
	__u64 flow_ns; /* of the last flow event */
	__u64 flow_tx; /* sums as of then */
	__u64 flow_rx;
	__u64 sample_tx; /* as of when samples were last told of them */
	__u64 sample_rx;
	__u64 base_tx; /* already sent when the tracing began */
	__u64 base_rx;
	__u64 told_tx; /* base and what send events have told; UDP, and at the end of TCP: the sum itself */
	__u64 told_rx;
	__u32 tx_seq0; /* sequence number of the first byte of payload */
	__u32 rx_seq0;
	__u32 flags;
	__s32 error;
	__u16 protocol;
	__u16 role;
	__u32 asked; /* how often net_seed was to find out who has accepted it */
	__u64 ino;   /* of UDP: number of its inode */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SOCKS_MAX);
	__type(key, __u64); /* address of the struct sock */
	__type(value, struct sock_entry);
} socks SEC(".maps");

struct listen_key {
	__u64 net; /* address of the network namespace */
	__u32 port;
	__u32 pad;
};

struct listener {
	__u64 sk;
	struct sock_owner owner;
	__u64 watched; /* when it was entered: who it has left the listener to is, too */
};

/* Whose connection it probably is, until somebody uses it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, struct listen_key);
	__type(value, struct listener);
} listeners SEC(".maps");

/* conn_id of connections whose owner was found, or of sockets found to be gone: once, though by two threads. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, __u32);
} claims SEC(".maps");

/*
 * Sockets that need no look per call, one per slot: 4 ns instead of 35 for asking `socks`. A lost
 * race only costs the long way.
 */
#define SETTLED_SLOTS 4096

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SETTLED_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} settled SEC(".maps");

/* No hook tells that a UDP socket is gone, but one tells that its owner is. Key: tgid. */
struct udp_owner {
	__u64 start_ns;
	__u64 exited;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u32);
	__type(value, struct udp_owner);
} udp_owners SEC(".maps");

struct tcp_sums {
	__u64 tx;
	__u64 rx;
	__u32 write_seq; /* without the FIN */
	__u32 copied_seq;
	__u32 unread;
};

/*
 * Exact where the socket is locked, that is, in its own events. Elsewhere the members may belong to
 * different instants; tcp_sums_exact() puts that right.
 */
static __always_inline void tcp_read_sums(const struct sock *sk, __u16 role, struct tcp_sums *sums)
{
	const struct tcp_sock *tp = (const void *)sk;
	__u32 state = BPF_CORE_READ(sk, __sk_common.skc_state);
	__u32 write_seq = BPF_CORE_READ(tp, write_seq);
	__u32 copied_seq = BPF_CORE_READ(tp, copied_seq);
	__u32 rcv_nxt = BPF_CORE_READ(tp, rcv_nxt);
	__u32 fin_sent = STATES_FIN_SENT & STATE_BIT(state & 31) ? 1 : 0;
	__u32 fin_came = BPF_CORE_READ(sk, __sk_common.skc_flags) & SK_DONE ? 1 : 0;
	__u32 fin_read = fin_came && copied_seq == rcv_nxt;

	sums->write_seq = write_seq - fin_sent;
	sums->copied_seq = copied_seq - fin_read;
	sums->unread = rcv_nxt - copied_seq - (fin_came - fin_read);
	sums->tx = BPF_CORE_READ(tp, bytes_acked) +
		   (__u32)(write_seq - BPF_CORE_READ(tp, snd_una)) - fin_sent;
	if (role == AS_ROLE_CLIENT)
		sums->tx--; /* bytes_acked counts its SYN */
	sums->rx = BPF_CORE_READ(tp, bytes_received) - (__u32)(rcv_nxt - copied_seq) - fin_read;
}

/* The number nearest to @near that leads from @seq0 to @seq: right although sequences wrap. */
static __always_inline __u64 seq_extend(__u64 near, __u32 seq, __u32 seq0)
{
	return near + (__s64)(__s32)(seq - seq0 - (__u32)near);
}

static __always_inline void tcp_sums_exact(struct tcp_sums *sums, const struct sock_entry *s)
{
	if (!(s->flags & ENTRY_UP))
		return;
	sums->tx = seq_extend(sums->tx, sums->write_seq, s->tx_seq0);
	sums->rx = seq_extend(sums->rx, sums->copied_seq, s->rx_seq0);
}

/* From here on differences of sequence numbers are payload. @new: nothing was sent before. */
static __always_inline void entry_set_base(struct sock_entry *s, const struct sock *sk, bool new)
{
	struct tcp_sums sums;

	tcp_read_sums(sk, s->role, &sums);
	s->tx_seq0 = sums.write_seq - (__u32)sums.tx;
	s->rx_seq0 = sums.copied_seq - (__u32)sums.rx;
	s->base_tx = s->told_tx = s->flow_tx = s->sample_tx = new ? 0 : sums.tx;
	s->base_rx = s->told_rx = s->flow_rx = s->sample_rx = new ? 0 : sums.rx;
	s->flags |= ENTRY_UP;
}

/* ---- owners ---- */

static __always_inline void owner_read(struct sock_owner *o, struct task_struct *task)
{
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);

	o->tgid = BPF_CORE_READ(task, tgid);
	o->uid = BPF_CORE_READ(task, cred, uid.val);
	o->ppid = BPF_CORE_READ(leader, real_parent, tgid);
	o->start_ns = BPF_CORE_READ(leader, start_boottime);
	o->execs = BPF_CORE_READ(task, self_exec_id);
	BPF_CORE_READ_INTO(&o->comm, leader, comm);
}

/* Of the current process: is it another program, or user, than when that was read? */
static __always_inline bool owner_changed(const struct sock_owner *o)
{
	struct task_struct *task;

	if (HAVE_TASK_BTF) {
		task = current_to_read();
		return o->execs != (__u32)task->self_exec_id || o->uid != task->cred->uid.val;
	}
	task = (void *)bpf_get_current_task();
	return o->execs != (__u32)BPF_CORE_READ(task, self_exec_id) ||
	       o->uid != (__u32)bpf_get_current_uid_gid();
}

/* The process @tgid is current; if it is the owner, it may be another program by now. */
static __always_inline void owner_refresh(struct sock_owner *o, __u32 tgid)
{
	if (o->tgid == tgid && owner_changed(o))
		owner_read(o, (void *)bpf_get_current_task());
}

static __always_inline bool owner_watched(const struct sock_owner *o)
{
	if (cfg.by_uid && o->uid != cfg.uid)
		return false;
	return proc_watched(o->tgid);
}

/* hdr_fill() for an event that happens to the process @o, not in it. */
static __always_inline void hdr_fill_of(struct as_hdr *h, __u32 type, __u32 len, __u32 flags,
					const struct sock_owner *o)
{
	h->len = len;
	h->type = type;
	h->flags = flags;
	h->boot_ns = bpf_ktime_get_boot_ns();
	h->tgid = o->tgid;
	h->tid = o->tgid;
	h->uid = o->uid;
	h->ppid = o->ppid;
	h->start_ns = o->start_ns;
	__builtin_memcpy(h->comm, o->comm, sizeof(h->comm));
}

static __always_inline void hdr_fill_owner(struct as_hdr *h, __u32 type, __u32 len,
					   const struct sock_entry *s)
{
	hdr_fill_of(h, type, len, s->flags & ENTRY_OWNED ? 0 : AS_F_INFERRED, &s->owner);
}

static __always_inline struct listen_key listen_key(const struct sock *sk)
{
	struct listen_key key = {
		.net = (__u64)BPF_CORE_READ(sk, __sk_common.skc_net.net),
		.port = sock_local_port(sk),
	};

	return key;
}

static __always_inline struct listener *listener_of(const struct sock *sk)
{
	struct listen_key key = listen_key(sk);

	return bpf_map_lookup_elem(&listeners, &key);
}

static __always_inline bool listener_watched(const struct listener *l)
{
	return l->watched || owner_watched(&l->owner);
}

/* ---- the table ---- */

static __always_inline void entry_init(struct sock_entry *s, const struct sock *sk, __u16 protocol,
				       __u16 role)
{
	__u64 now = bpf_ktime_get_boot_ns();

	__builtin_memset(s, 0, sizeof(*s));
	s->id = id_new(now);
	s->protocol = protocol;
	s->role = role;
	s->begin_ns = s->flow_ns = now;
	sock_read_ends(sk, &s->local, &s->remote);
}

static __always_inline struct sock_entry *entry_find(const struct sock *sk)
{
	__u64 key = (__u64)sk;

	return bpf_map_lookup_elem(&socks, &key);
}

/* The entry of @sk, if it is still that of the connection @id: its memory is handed out again at once. */
static __always_inline struct sock_entry *entry_still(const struct sock *sk, __u64 id)
{
	struct sock_entry *s = entry_find(sk);

	return s && s->id == id ? s : NULL;
}

/* Counted, since walking an empty table costs as much as a full one. */
static __always_inline void entries_add(__u32 n)
{
	__u32 zero = 0;
	struct as_shared *s = bpf_map_lookup_elem(&shared, &zero);

	if (s)
		__sync_fetch_and_add(&s->sockets, n);
}

/* Else the kernel skipped the end of it: its memory is another socket's or nobody's. */
static __always_inline bool entry_has_ends(const struct sock_entry *s, const struct sock *sk)
{
	return sock_local_port(sk) == s->local.port && sock_remote_port(sk) == s->remote.port;
}

static __always_inline bool entry_delete(const struct sock *sk)
{
	__u64 key = (__u64)sk;

	if (bpf_map_delete_elem(&socks, &key))
		return false;
	entries_add(-1);
	return true;
}

static __always_inline void count_shed(__u32 type)
{
	ledger_add(type, produced, 1);
	ledger_add(type, shed, 1);
}

static __always_inline bool entry_insert(const struct sock *sk, const struct sock_entry *s,
					 __u64 flags)
{
	__u64 key = (__u64)sk;

	if (bpf_map_update_elem(&socks, &key, s, flags))
		return false;
	entries_add(1);
	return true;
}

static __always_inline __u64 *settled_slot(const struct sock *sk)
{
	__u32 slot = ((__u64)sk >> 6 ^ (__u64)sk >> 18) & (SETTLED_SLOTS - 1);

	return bpf_map_lookup_elem(&settled, &slot);
}

static __always_inline bool sock_is_settled(const struct sock *sk)
{
	__u64 *slot = settled_slot(sk);

	return slot && *slot == (__u64)sk;
}

static __always_inline void sock_settle(const struct sock *sk)
{
	__u64 *slot = settled_slot(sk);

	if (slot)
		*slot = (__u64)sk;
}

/* Another socket may come to lie at the same address. */
static __always_inline void sock_unsettle(const struct sock *sk)
{
	__u64 *slot = settled_slot(sk);

	if (slot && *slot == (__u64)sk)
		*slot = 0;
}

static __always_inline void count_dropped(__u32 type)
{
	ledger_add(type, produced, 1);
	ledger_add(type, dropped, 1);
}

/* The table is full: what will not be told of this connection, and no second try at every call. */
static __always_inline void connection_shed(const struct sock *sk, __u32 type)
{
	count_shed(type);
	count_shed(AS_EV_CLOSE);
	sock_settle(sk);
}

/* ---- events ---- */

static __always_inline void connect_emit(const struct sock_entry *s, int error)
{
	struct as_connect *e = event_reserve(&ring_events, AS_EV_CONNECT, sizeof(*e));

	if (!e)
		return;
	hdr_fill_owner(&e->h, AS_EV_CONNECT, sizeof(*e), s);
	e->local = s->local;
	e->remote = s->remote;
	e->conn_id = s->id;
	/* 0: it was on its way before the tracing began */
	e->latency_ns = s->syn_ns ? e->h.boot_ns - s->syn_ns : 0;
	e->error = error;
	e->protocol = s->protocol;
	event_submit(&ring_events, e);
}

static __always_inline void connected(const struct sock *sk, struct sock_entry *s)
{
	s->begin_ns = s->flow_ns = bpf_ktime_get_boot_ns();
	sock_read_ends(sk, &s->local, &s->remote);
	entry_set_base(s, sk, true);
	connect_emit(s, 0);
}

/* The kernel may skip a hook that interrupts itself, here the one that tells of ESTABLISHED. */
static __always_inline void came_up_unseen(const struct sock *sk, struct sock_entry *s)
{
	__u32 state;

	if (s->flags & ENTRY_UP)
		return;
	state = BPF_CORE_READ(sk, __sk_common.skc_state);
	if (!(STATES_CONNECTED & STATE_BIT(state & 31)))
		return;
	s->syn_ns = 0; /* how long it took is not known */
	connected(sk, s);
}

/* One send or receive by the thread @id, which is current; 0: by the owner, some time ago. */
static __always_inline void call_emit(struct sock_entry *s, __u32 type, __u64 bytes, __u64 id)
{
	struct as_net_io *e = event_reserve(&ring_events, type, sizeof(*e));

	if (!e)
		return;
	/* reading the header from the entry costs a third of asking the task */
	if (id && id >> 32 != s->owner.tgid) {
		hdr_fill(&e->h, type, sizeof(*e));
	} else {
		if (id)
			owner_refresh(&s->owner, id >> 32);
		hdr_fill_owner(&e->h, type, sizeof(*e), s);
	}
	if (id)
		e->h.tid = (__u32)id;
	e->local = s->local;
	e->remote = s->remote;
	e->conn_id = s->id;
	e->bytes = bytes;
	e->protocol = s->protocol;
	e->pad = 0;
	event_submit(&ring_events, e);
}

/*
 * Is TLS set up in the kernel for this socket? Whether keys followed is not asked: what knows of them is
 * gone before the first state change of the end; the name is there until behind tcp_destroy_sock.
 */
static __always_inline bool sock_has_ktls(const struct sock *sk)
{
	const struct inet_connection_sock *icsk = (const void *)sk;
	const struct tcp_ulp_ops *ulp = BPF_CORE_READ(icsk, icsk_ulp_ops);
	char name[4] = {};

	if (!ulp)
		return false;
	bpf_core_read(name, sizeof(name), &ulp->name);
	return name[0] == 't' && name[1] == 'l' && name[2] == 's' && !name[3];
}

/* @sk NULL: the socket is gone. */
static __always_inline void flow_fill(struct as_flow *e, __u32 type, const struct sock_entry *s,
				      const struct sock *sk, __u64 tx, __u64 rx)
{
	const struct tcp_sock *tp = (const void *)sk;
	__u32 srtt = 0, mdev = 0, min_rtt = 0, retransmits = 0, ktls = 0;

	if (sk && s->protocol == AS_PROTO_TCP) {
		srtt = BPF_CORE_READ(tp, srtt_us);
		mdev = BPF_CORE_READ(tp, mdev_us);
		min_rtt = BPF_CORE_READ(tp, rtt_min.s[0].v);
		retransmits = BPF_CORE_READ(tp, total_retrans);
		ktls = sock_has_ktls(sk);
	}
	hdr_fill_owner(&e->h, type, sizeof(*e), s);
	e->local = s->local;
	e->remote = s->remote;
	e->conn_id = s->id;
	e->tx_bytes = tx - s->base_tx;
	e->rx_bytes = rx - s->base_rx;
	e->tx_interval_bytes = tx - s->flow_tx;
	e->rx_interval_bytes = rx - s->flow_rx;
	e->tx_sample_bytes = tx - s->sample_tx;
	e->rx_sample_bytes = rx - s->sample_rx;
	e->duration_ns = (s->end_ns ? s->end_ns : e->h.boot_ns) - s->begin_ns;
	e->interval_ns = e->h.boot_ns - s->flow_ns;
	/* before the first sample these hold the initial timeout and all ones */
	e->rtt_us = srtt >> 3;
	e->jitter_us = srtt ? mdev >> 2 : 0;
	e->min_rtt_us = min_rtt == ~0U ? 0 : min_rtt;
	e->retransmits = retransmits;
	e->protocol = s->protocol;
	e->role = s->role;
	e->error = s->error;
	e->ktls = ktls;
}

/*
 * What no call event has told: bytes of a skipped hook, of splice() from a socket, or of one that a reset has
 * overtaken. That finds, when it goes on with the entry, that they are told.
 */
static __always_inline void calls_settle(struct sock_entry *s, __u64 tx, __u64 rx)
{
	__u64 sent = tx - s->told_tx, received = rx - s->told_rx;

	if ((__s64)sent > 0) {
		s->told_tx = tx;
		call_emit(s, AS_EV_SEND, sent, 0);
	}
	if ((__s64)received > 0) {
		s->told_rx = rx;
		call_emit(s, AS_EV_RECV, received, 0);
	}
}

/*
 * Ends the entry with its totals. Who deletes it tells; the record is complete by then, since the
 * memory of a deleted entry is handed out again at once.
 */
static __always_inline void close_emit(const struct sock *key, struct sock_entry *s,
				       const struct sock *sk, __u64 tx, __u64 rx)
{
	struct as_flow *e;

	if (cfg.net_each_call && s->protocol == AS_PROTO_TCP)
		calls_settle(s, tx, rx);
	/* KERNEL < 6.3: asking twice whether there is a record makes the verifier see a leak */
	e = bpf_ringbuf_reserve(&ring_events, sizeof(*e), 0);
	if (!e) {
		if (entry_delete(key))
			count_dropped(AS_EV_CLOSE);
		return;
	}
	flow_fill(e, AS_EV_CLOSE, s, sk, tx, rx);
	if (!entry_delete(key)) {
		bpf_ringbuf_discard(e, BPF_RB_NO_WAKEUP);
		return;
	}
	ledger_add(AS_EV_CLOSE, produced, 1);
	e->h.boot_ns = bpf_ktime_get_boot_ns(); /* behind every flow event of this connection */
	event_submit(&ring_events, e);
}

/* An entry whose socket is gone without a word: the last that is known. */
static __always_inline void stale_end(const struct sock *key, struct sock_entry *s)
{
	if (!s->owner.tgid || !(s->flags & ENTRY_UP)) {
		entry_delete(key);
		return;
	}
	close_emit(key, s, NULL, s->told_tx > s->sample_tx ? s->told_tx : s->sample_tx,
		   s->told_rx > s->sample_rx ? s->told_rx : s->sample_rx);
}

/* ---- a process uses a socket: all of these run in its context ---- */

#define PF_EXITING 0x4

/* Of several that come upon the entry @id at the same instant, one is the first. */
static __always_inline bool entry_claim(__u64 id)
{
	__u32 one = 1;

	return !bpf_map_update_elem(&claims, &id, &one, BPF_NOEXIST);
}

/* Unless the entry is another connection's by now. */
static __always_inline void entry_set_owner(struct sock_entry *s, __u64 id,
					    const struct sock_owner *owner)
{
	if (s->id != id)
		return;
	s->owner = *owner;
	s->flags |= ENTRY_OWNED;
}

/*
 * The accepted connection @id is @owner's. Of two that find that out the first tells; the search for owners may
 * be held up in between, so the record is complete before it is claimed: see close_emit().
 */
static __always_inline void accept_emit(const struct sock_entry *s, __u64 id,
					const struct sock_owner *owner, __u32 flags)
{
	struct as_accept *e;

	/* KERNEL < 6.3: asking twice whether there is a record makes the verifier see a leak */
	e = bpf_ringbuf_reserve(&ring_events, sizeof(*e), 0);
	if (!e) {
		if (entry_claim(id))
			count_dropped(AS_EV_ACCEPT);
		return;
	}
	hdr_fill_of(&e->h, AS_EV_ACCEPT, sizeof(*e), flags, owner);
	e->local = s->local;
	e->remote = s->remote;
	e->conn_id = s->id;
	e->protocol = s->protocol;
	e->pad = 0;
	if (e->conn_id != id || !entry_claim(id)) {
		bpf_ringbuf_discard(e, BPF_RB_NO_WAKEUP);
		return;
	}
	ledger_add(AS_EV_ACCEPT, produced, 1);
	event_submit(&ring_events, e);
}

/*
 * Makes the current process the owner of an accepted connection. A process that is ending has
 * already left `procs`; it belongs if the listener's owner did, which is why there is an entry.
 * False: the connection belongs to nobody who is watched.
 */
static __always_inline bool entry_take(const struct sock *sk, struct sock_entry *s)
{
	struct task_struct *task;
	struct sock_owner owner;
	__u64 id;

	if (s->flags & ENTRY_OWNED)
		return true;
	task = (void *)bpf_get_current_task();
	if (!current_watched() && !(s->owner.tgid && BPF_CORE_READ(task, flags) & PF_EXITING)) {
		entry_delete(sk);
		return false;
	}
	id = s->id;
	owner_read(&owner, task);
	accept_emit(s, id, &owner, 0);
	entry_set_owner(s, id, &owner);
	return true;
}

/*
 * A watched process uses a connection that is not in the table: it got it from one that is not
 * watched, or is watched only since then. What the present call moved counts: @ret as for tcp_call().
 */
static __always_inline struct sock_entry *entry_late(const struct sock *sk, int ret, bool sent)
{
	__u32 state = BPF_CORE_READ(sk, __sk_common.skc_state);
	__u32 n = ret > 0 && ret != RET_UNKNOWN ? ret : 0;
	struct sock_entry s;
	bool server;

	/* with TCP Fast Open a server reads and answers what came with the SYN before the handshake is over */
	if (!((STATES_CONNECTED | STATE_BIT(TCP_SYN_RECV)) & STATE_BIT(state & 31)))
		return NULL;
	server = state == TCP_SYN_RECV || listener_of(sk);
	entry_init(&s, sk, AS_PROTO_TCP, server ? AS_ROLE_SERVER : AS_ROLE_UNKNOWN);
	entry_set_base(&s, sk, false);
	s.told_tx = s.flow_tx = s.sample_tx = s.base_tx -= sent ? n : 0;
	s.told_rx = s.flow_rx = s.sample_rx = s.base_rx -= sent ? 0 : n;
	if (server) {
		s.base_tx = s.base_rx = 0; /* the totals are those of the connection */
		if (ret == RET_UNKNOWN)    /* mostly the first bytes */
			s.told_rx = s.flow_rx = s.sample_rx = 0;
	} else {
		owner_read(&s.owner, (void *)bpf_get_current_task());
		s.flags |= ENTRY_OWNED;
	}
	if (!entry_insert(sk, &s, BPF_NOEXIST) && !entry_find(sk))
		connection_shed(sk, AS_EV_ACCEPT);
	return entry_find(sk);
}

/* A transfer of TCP as an event of its own. @ret: what it returned, or RET_UNKNOWN. */
static __always_inline void tcp_call(const struct sock *sk, struct sock_entry *s, __u64 id, int ret,
				     bool sent)
{
	const struct tcp_sock *tp = (const void *)sk;
	__u32 bytes;

	if (ret <= 0 || !(s->flags & ENTRY_UP))
		return;
	if (sent) {
		bytes = BPF_CORE_READ(tp, write_seq) - s->tx_seq0 - (__u32)s->told_tx;
	} else {
		bytes = BPF_CORE_READ(tp, copied_seq) - s->rx_seq0 - (__u32)s->told_rx;
		/* a read may swallow the FIN behind the last bytes */
		if (bytes != ret && BPF_CORE_READ(sk, __sk_common.skc_flags) & SK_DONE &&
		    BPF_CORE_READ(tp, copied_seq) == BPF_CORE_READ(tp, rcv_nxt))
			bytes--;
	}
	if ((__s32)bytes <= 0)
		return; /* MSG_PEEK; or another thread has told these */
	if (sent)
		s->told_tx += bytes;
	else
		s->told_rx += bytes;
	call_emit(s, sent ? AS_EV_SEND : AS_EV_RECV, bytes, id);
}

/* False: there is nothing to tell of this connection, or it is somebody's who is not watched. */
static __always_inline bool tcp_used(const struct sock *sk, struct sock_entry *s, __u64 id, int ret,
				     bool sent)
{
	if (!s && sock_is_settled(sk))
		return false;
	if (!s)
		s = entry_late(sk, ret, sent);
	if (!s)
		return false;
	came_up_unseen(sk, s);
	if (!entry_take(sk, s))
		return false;
	if (cfg.net_each_call)
		tcp_call(sk, s, id, ret, sent);
	else if (!cfg.plain_http) /* else when it is known what the connection carries */
		sock_settle(sk);
	return true;
}

/* The mark is what the struct sock_common begins with, in all kernels: ends, their hash, ports. */
static __always_inline bool sock_mark(const struct sock *sk, struct as_sock_mark *ret)
{
	ret->sk = (__u64)sk;
	return !bpf_core_read(&ret->addrs, sizeof(*ret) - offsetof(struct as_sock_mark, addrs),
			      &sk->__sk_common.skc_daddr);
}

/* Of all sockets that there are only one has it, while its memory is handed out again at once. */
static __always_inline __u64 sock_ino(const struct sock *sk)
{
	const struct socket_alloc *socket = (const void *)BPF_CORE_READ(sk, sk_socket);

	return BPF_CORE_READ(socket, vfs_inode.i_ino);
}

static __always_inline struct sock_entry *udp_entry_new(const struct sock *sk)
{
	struct udp_owner known = {};
	struct sock_entry s;

	entry_init(&s, sk, AS_PROTO_UDP, AS_ROLE_UNKNOWN);
	owner_read(&s.owner, (void *)bpf_get_current_task());
	s.flags = ENTRY_OWNED | ENTRY_UP;
	s.ino = sock_ino(sk);
	known.start_ns = s.owner.start_ns;
	bpf_map_update_elem(&udp_owners, &s.owner.tgid, &known, BPF_ANY);
	entry_insert(sk, &s, BPF_NOEXIST); /* or another thread has just done so */
	return entry_find(sk);
}

/* The address of the peer is that of the entry. */
static __always_inline bool udp_has_peer(const struct sock_entry *s, const struct sock *sk,
					 const struct as_sock_mark *mark)
{
	const __u32 *ip = (const void *)s->remote.ip;
	__u32 now[4] = {};

	if (s->local.family == AF_INET)
		return ip[3] == (__u32)mark->addrs;
	BPF_CORE_READ_INTO((struct in6_addr *)now, sk, __sk_common.skc_v6_daddr);
	return ip[0] == now[0] && ip[1] == now[1] && ip[2] == now[2] && ip[3] == now[3];
}

/* Else the socket that lay at this address is gone, or has another peer now. */
static __always_inline bool udp_is_of(const struct sock_entry *s, const struct sock *sk)
{
	struct as_sock_mark mark = {};

	return sock_mark(sk, &mark) && s->local.port == mark.ports >> 16 &&
	       s->remote.port == bpf_ntohs((__u16)mark.ports) && s->ino == sock_ino(sk) &&
	       udp_has_peer(s, sk, &mark);
}

/* Its entry, or NULL; @s is the one of UDP that is found under its address. */
static __always_inline struct sock_entry *udp_entry_of(const struct sock *sk, struct sock_entry *s)
{
	/* before it is judged: its memory may become that of another entry */
	__u64 id = s->id;

	if (udp_is_of(s, sk))
		return s;
	if (entry_claim(id))
		stale_end(sk, s);
	return NULL;
}

static __always_inline void udp_used(const struct sock *sk, struct sock_entry *s, __u64 id, int ret,
				     bool sent)
{
	__u32 type = sent ? AS_EV_SEND : AS_EV_RECV;

	if (ret <= 0)
		return;
	if (!s) {
		s = udp_entry_new(sk);
		/* another thread has not yet ended the last one */
		if (!s || s->protocol != AS_PROTO_UDP || !udp_is_of(s, sk)) {
			count_shed(cfg.net_each_call ? type : AS_EV_FLOW);
			return;
		}
	}
	__sync_fetch_and_add(sent ? &s->told_tx : &s->told_rx, ret);
	if (cfg.net_each_call)
		call_emit(s, type, ret, id);
}

/* ---- joining sockets to TLS sessions ---- */

/* Sees to it that the thread's entry has the ends of @sk. False: they are of no interest. */
static __always_inline bool tls_thread_sock(struct as_tls_thread *t, const struct sock *sk)
{
	struct as_sock_mark mark = {};

	if (!sock_mark(sk, &mark))
		return false;
	if (mark.sk == t->mark.sk && mark.addrs == t->mark.addrs && mark.hash == t->mark.hash &&
	    mark.ports == t->mark.ports)
		return true;
	if (sock_protocol(sk) != AS_PROTO_TCP)
		return false;
	sock_read_ends(sk, &t->conn.local, &t->conn.remote);
	t->mark = mark;
	t->send.ssl = 0;
	return true;
}

/*
 * What a session over memory wrote is sent behind the call, unless its socket does not take it yet: then what is sent
 * next is another's. So it keeps the socket that it has, and is bound by neither less nor more than it wrote:
 * the next record will do.
 */
static __always_inline void tls_join_pending(struct as_tls_thread *t, __u64 id, int ret)
{
	struct as_tls_key key = {.tgid = id >> 32, .ssl = t->pending_ssl};
	struct as_tls_session *s = bpf_map_lookup_elem(&tls_sessions, &key);

	if (!s || (__u32)ret < t->pending_len)
		return;
	if (t->pending_most && ret != RET_UNKNOWN && (__u32)ret > t->pending_most)
		return;
	if (s->sk != t->mark.sk && tls_session_lives(s))
		return;
	tls_session_bind(s, t);
	if (!t->pending_most)
		tls_session_pair(s, &t->mark, key.tgid);
}

/*
 * The thread @id is busy with TLS, or may be: @opens when its process opens records itself. Global, so
 * that its stack does not lie below that of all that follows.
 */
__noinline int tls_join_thread(__u64 addr, __u64 id, int ret, bool sent, bool opens)
{
	const struct sock *sk = (const void *)addr;
	struct as_tls_thread *t;

	t = opens ? tls_thread_get(id) : bpf_map_lookup_elem(&tls_threads, &id);
	if (!t || (t->ssl ? t->bound : !(sent ? t->pending_ssl : opens))) {
		if (!t || t->ssl || !t->pending_ssl)
			tls_settle(id);
		return 0;
	}
	if (!tls_thread_sock(t, sk))
		return 0;
	t->received = !sent;
	if (t->ssl)
		t->bound = AS_TLS_BOUND;
	else if (sent)
		tls_join_pending(t, id, ret);
	else
		return 0;
	t->pending_ssl = 0;
	tls_settle(id);
	return 0;
}

/* Tells the TLS programs which socket the session uses that this thread is busy with. */
static __always_inline void tls_join(const struct sock *sk, int ret, bool sent)
{
	__u64 id = bpf_get_current_pid_tgid();
	__u8 *thread = tls_hint(id), *process = tls_hint(id >> 32);
	bool opens;

	if (!thread || !process)
		return;
	opens = !sent && *process & TLS_HINT_OPENS;
	if (opens || (*thread && !tls_is_settled(id)))
		tls_join_thread((__u64)sk, id, ret, sent, opens);
}

#endif
