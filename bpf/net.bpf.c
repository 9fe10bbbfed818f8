/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Network: connections of TCP with their owner, latency, totals and round-trip times, and sums of
 * UDP. In the summarised mode nothing is counted per call: an iterator looks at the sockets once a
 * second, and the hooks on sending and receiving only find out who uses an accepted connection.
 *
 * Raw tracepoints, attached one by one: what a kernel lacks fails at attach and for itself alone.
 */
#include "lib/sock_used.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define ECONNABORTED  103
#define EADDRNOTAVAIL 99
#define MSG_OOB       0x1
#define MSG_PEEK      0x2
#define MSG_TRUNC     0x20
#define MSG_ERRQUEUE  0x2000

/* Connections that a process has accepted but not used: who it is must be looked up by net_seed. */
__u32 unowned = 0;
/* The last look: nothing will tell the end of what is still on its way to it. */
__u32 finishing = 0;

/* ---- state changes ---- */

/* CLOSE -> SYN_SENT: inside connect(). The local port is not chosen yet. */
static __always_inline void connecting(const struct sock *sk)
{
	struct sock_entry *old = entry_find(sk);
	struct sock_entry s;

	if (old)
		stale_end(sk, old);
	sock_unsettle(sk);
	if (!current_watched())
		return;
	entry_init(&s, sk, AS_PROTO_TCP, AS_ROLE_CLIENT);
	owner_read(&s.owner, (void *)bpf_get_current_task());
	s.flags = ENTRY_OWNED;
	s.syn_ns = s.begin_ns;
	if (!entry_insert(sk, &s, BPF_ANY))
		connection_shed(sk, AS_EV_CONNECT);
}

/*
 * SYN_RECV -> ESTABLISHED, mostly while the client is current. Whose it is shows when it is used;
 * until then it counts as the listener's.
 */
static __always_inline void came_in(const struct sock *sk)
{
	struct listener *l = listener_of(sk);
	struct sock_entry *old = entry_find(sk);
	struct sock_entry s;

	if (old)
		stale_end(sk, old);
	sock_unsettle(sk);
	if (l && !listener_watched(l))
		return;
	entry_init(&s, sk, AS_PROTO_TCP, AS_ROLE_SERVER);
	if (l)
		s.owner = l->owner;
	entry_set_base(&s, sk, true);
	if (!entry_insert(sk, &s, BPF_ANY))
		connection_shed(sk, AS_EV_ACCEPT);
}

/* A server got data with the SYN, TCP Fast Open, and has used the connection already. */
static __always_inline bool used_before(const struct sock *sk, const struct sock_entry *s)
{
	return s->role == AS_ROLE_SERVER && s->flags & ENTRY_UP && !(s->flags & ENTRY_ENDED) &&
	       entry_has_ends(s, sk);
}

static __always_inline void established(const struct sock *sk, int oldstate)
{
	struct sock_entry *s = entry_find(sk);

	/* with a simultaneous open the connecting end passes SYN_RECV too */
	if (s && s->role == AS_ROLE_CLIENT && !(s->flags & ENTRY_UP))
		connected(sk, s);
	else if (oldstate == TCP_SYN_RECV && !(s && used_before(sk, s)))
		came_in(sk);
}

/* SYN_SENT -> CLOSE, in any context. */
static __always_inline void connect_failed(const struct sock *sk, struct sock_entry *s)
{
	int error = BPF_CORE_READ(sk, sk_err);
	bool has_port;

	sock_read_ends(sk, &s->local, &s->remote);
	/* one that is bound already may be taken for this peer: then it is not hashed */
	has_port = s->local.port && BPF_CORE_READ(sk, __sk_common.skc_hash);
	if (!error) /* given up by the process, or no port was free */
		error = has_port ? ECONNABORTED : EADDRNOTAVAIL;
	connect_emit(s, error);
	entry_delete(sk);
}

#define PF_WQ_WORKER 0x20

/* What the kernel ends when it comes to it, as the connection below one of MPTCP: whose it was does not show there. */
static __always_inline bool in_kernel_worker(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	return BPF_CORE_READ(task, flags) & PF_WQ_WORKER;
}

/* entry_take() by who ends the connection. For one that a worker ends the owner is inferred when it is gone. */
static __always_inline bool entry_take_last(const struct sock *sk, struct sock_entry *s)
{
	return in_kernel_worker() || entry_take(sk, s);
}

/* The current process, which is to end a connection, was not watched, or not known to have it, when it came in. */
static __always_inline struct sock_entry *ended_late(const struct sock *sk)
{
	if (!current_watched() || sock_is_settled(sk) || in_kernel_worker())
		return NULL;
	return entry_late(sk, 0, false);
}

/* To FIN_WAIT1 or LAST_ACK: inside close(), shutdown() or the end of the process. */
static __always_inline void closing(const struct sock *sk)
{
	struct sock_entry *s = entry_find(sk);

	if (!s)
		s = ended_late(sk);
	if (!s)
		return;
	came_up_unseen(sk, s);
	if (!entry_take_last(sk, s))
		return;
	owner_refresh(&s->owner, bpf_get_current_pid_tgid() >> 32);
	if (cfg.plain_http)
		plain_end((__u64)sk);
}

/* The last owner that can be had is the listener's; without one only a run that watches all tells. */
static __always_inline bool entry_infer(const struct sock *sk, struct sock_entry *s)
{
	if (s->flags & ENTRY_OWNED)
		return true;
	if (!s->owner.tgid && (cfg.by_process || cfg.by_uid)) {
		entry_delete(sk);
		return false;
	}
	accept_emit(s, s->id, &s->owner, AS_F_INFERRED);
	return true;
}

/* To CLOSE: a reset by the peer or a time-out sets sk_err first; else a process dropped unread data. */
static __always_inline bool dropped_by_process(const struct sock *sk, int oldstate)
{
	return (oldstate == TCP_ESTABLISHED || oldstate == TCP_CLOSE_WAIT) &&
	       !BPF_CORE_READ(sk, sk_err);
}

/*
 * Any state but SYN_SENT and LISTEN -> CLOSE. What has arrived may still be read by the process that
 * holds the socket: then the totals wait for its close().
 */
static __always_inline void ended(const struct sock *sk, struct sock_entry *s, int oldstate)
{
	bool by_process = dropped_by_process(sk, oldstate), held;
	struct tcp_sums sums;

	s->error = BPF_CORE_READ(sk, sk_err);
	s->end_ns = bpf_ktime_get_boot_ns();
	if (by_process && !entry_take_last(sk, s))
		return;
	owner_refresh(&s->owner, bpf_get_current_pid_tgid() >> 32);
	tcp_read_sums(sk, s->role, &sums);
	tcp_sums_exact(&sums, s);
	held = !by_process && !(BPF_CORE_READ(sk, __sk_common.skc_flags) & SK_DEAD);
	if (s->flags & ENTRY_OWNED && !(held && sums.unread)) {
		close_emit(sk, s, sk, sums.tx, sums.rx);
		return;
	}
	if (cfg.net_each_call && s->flags & ENTRY_OWNED)
		calls_settle(s, sums.tx, sums.rx);
	s->told_tx = sums.tx;
	s->told_rx = sums.rx;
	s->flags |= ENTRY_ENDED | (held ? ENTRY_HELD : 0);
}

static __always_inline void listening(const struct sock *sk)
{
	struct listen_key key = listen_key(sk);
	struct listener *known = bpf_map_lookup_elem(&listeners, &key);
	struct listener l = {.sk = (__u64)sk};

	owner_read(&l.owner, (void *)bpf_get_current_task());
	l.watched = owner_watched(&l.owner);
	/* at other addresses, or together, others may listen there: one that is watched counts */
	if (!known || l.watched || !listener_watched(known))
		bpf_map_update_elem(&listeners, &key, &l, BPF_ANY);
}

static __always_inline void listening_no_more(const struct sock *sk)
{
	struct listen_key key = listen_key(sk);
	struct listener *l = bpf_map_lookup_elem(&listeners, &key);

	if (l && l->sk == (__u64)sk)
		bpf_map_delete_elem(&listeners, &key);
}

static __always_inline void closed(const struct sock *sk, int oldstate)
{
	struct sock_entry *s;

	if (oldstate == TCP_LISTEN) {
		listening_no_more(sk);
		return;
	}
	s = entry_find(sk);
	if (!s && dropped_by_process(sk, oldstate))
		s = ended_late(sk);
	if (!s)
		return;
	if (s->flags & ENTRY_UP)
		ended(sk, s, oldstate);
	else
		connect_failed(sk, s);
}

SEC("raw_tp/inet_sock_set_state")
int BPF_PROG(net_state, const struct sock *sk, int oldstate, int newstate)
{
	if (sock_protocol(sk) != AS_PROTO_TCP)
		return 0;
	switch (newstate) {
	case TCP_SYN_SENT:
		connecting(sk);
		break;
	case TCP_ESTABLISHED:
		established(sk, oldstate);
		break;
	case TCP_FIN_WAIT1:
	case TCP_LAST_ACK:
		closing(sk);
		break;
	case TCP_CLOSE:
		closed(sk, oldstate);
		break;
	case TCP_LISTEN:
		listening(sk);
		break;
	}
	return 0;
}

/* ---- the end ---- */

SEC("raw_tp/tcp_destroy_sock")
int BPF_PROG(net_destroy, const struct sock *sk)
{
	struct sock_entry *s;
	struct tcp_sums sums;

	sock_unsettle(sk);
	plain_forget(sk);
	s = cfg.net_events ? entry_find(sk) : NULL;
	if (!s)
		return 0;
	if (!(s->flags & ENTRY_UP)) {
		entry_delete(sk);
		return 0;
	}
	if (s->flags & ENTRY_HELD && !entry_take_last(sk, s))
		return 0;
	if (!entry_infer(sk, s))
		return 0;
	tcp_read_sums(sk, s->role, &sums);
	tcp_sums_exact(&sums, s);
	if (s->flags & ENTRY_ENDED) {
		/* nothing is sent any more, and a disconnect has set the socket's own sums to zero */
		sums.tx = s->told_tx;
		if (sums.rx < s->told_rx || sums.rx - s->told_rx > 1U << 31)
			sums.rx = s->told_rx;
		if (!(s->flags & ENTRY_OWNED)) { /* no call of it was told */
			s->told_tx = s->base_tx;
			s->told_rx = s->base_rx;
		}
	}
	close_emit(sk, s, sk, sums.tx, sums.rx);
	return 0;
}

/* ---- retransmissions ---- */

/* Only the leading argument: others came and changed with the versions. */
SEC("raw_tp/tcp_retransmit_skb")
int BPF_PROG(net_retransmit, const struct sock *sk)
{
	struct sock_entry *s = entry_find(sk);
	struct as_retransmit *e;

	if (!s || (!s->owner.tgid && (cfg.by_process || cfg.by_uid)))
		return 0;
	if (!(s->flags & ENTRY_UP)) /* since its entry was made it has got a port */
		sock_read_ends(sk, &s->local, &s->remote);
	e = event_reserve(&ring_events, AS_EV_RETRANSMIT, sizeof(*e));
	if (!e)
		return 0;
	hdr_fill_owner(&e->h, AS_EV_RETRANSMIT, sizeof(*e), s);
	e->local = s->local;
	e->remote = s->remote;
	e->conn_id = s->id;
	e->protocol = s->protocol;
	e->retransmits = BPF_CORE_READ((const struct tcp_sock *)sk, total_retrans);
	event_submit(&ring_events, e);
	return 0;
}

/* ---- sending and receiving ---- */

SEC("raw_tp/sock_send_length")
int BPF_PROG(net_send, const struct sock *sk, int ret)
{
	sock_used(sk, ret, USED_SENT);
	return 0;
}

/* With MSG_TRUNC, TCP throws away what it counts; the byte of MSG_OOB stands beside the stream. */
SEC("raw_tp/sock_recv_length")
int BPF_PROG(net_recv, const struct sock *sk, int ret, int flags)
{
	if (flags & MSG_ERRQUEUE)
		return 0; /* time stamps and errors, not payload */
	sock_used(sk, flags & MSG_PEEK ? 0 : ret,
		  flags & (MSG_TRUNC | MSG_OOB) ? USED_UNREADABLE : 0);
	return 0;
}

/* KERNEL < 6.3: in the reader's context too, but without its result and for each buffer it empties. */
SEC("raw_tp/tcp_rcv_space_adjust")
int BPF_PROG(net_recv_tcp, const struct sock *sk)
{
	sock_used(sk, RET_UNKNOWN, 0);
	return 0;
}

/* Nothing else tells that a UDP socket is closed. */
SEC("raw_tp/sched_process_exit")
int BPF_PROG(net_exit, struct task_struct *task)
{
	__u32 tgid = BPF_CORE_READ(task, tgid);
	struct udp_owner *o = bpf_map_lookup_elem(&udp_owners, &tgid);

	if (o && BPF_CORE_READ(task, signal, live.counter) == 0)
		o->exited = 1;
	return 0;
}

/* ---- once a second ---- */

#define UDP_IDLE_NS 60000000000ULL

static __always_inline bool udp_owner_gone(const struct sock_entry *s)
{
	__u32 tgid = s->owner.tgid;
	struct udp_owner *o = bpf_map_lookup_elem(&udp_owners, &tgid);

	return o && (o->exited || o->start_ns != s->owner.start_ns);
}

/* A flow event, unless the socket ended while it was read: then `close` tells, and told it all. */
static __always_inline void flow_emit(const struct sock *sk, struct sock_entry *s, __u64 id,
				      __u64 tx, __u64 rx)
{
	struct as_flow *e = bpf_ringbuf_reserve(&ring_events, sizeof(*e), 0);
	struct sock_entry *again;

	if (!e) {
		count_dropped(AS_EV_FLOW);
		return;
	}
	flow_fill(e, AS_EV_FLOW, s, sk, tx, rx);
	again = entry_still(sk, id);
	if (!again) {
		bpf_ringbuf_discard(e, BPF_RB_NO_WAKEUP);
		return;
	}
	ledger_add(AS_EV_FLOW, produced, 1);
	again->flow_ns = e->h.boot_ns;
	again->flow_tx = tx;
	again->flow_rx = rx;
	again->sample_tx = tx;
	again->sample_rx = rx;
	event_submit(&ring_events, e);
}

static __always_inline void udp_look(const struct sock *sk, struct sock_entry *s)
{
	__u64 tx = s->told_tx, rx = s->told_rx;

	if (udp_owner_gone(s))
		close_emit(sk, s, NULL, tx, rx);
	else if (tx != s->flow_tx || rx != s->flow_rx)
		flow_emit(sk, s, s->id, tx, rx);
	else if (bpf_ktime_get_boot_ns() - s->flow_ns > UDP_IDLE_NS)
		close_emit(sk, s, NULL, tx, rx);
}

/*
 * The process has let go of it, so the sums are final, but the peer's last acknowledgment is still to
 * come: that takes up to a minute with a slow peer. In CLOSE the hooks are about to tell.
 */
static __always_inline bool closed_by_owner(const struct sock *sk)
{
	__u32 state = BPF_CORE_READ(sk, __sk_common.skc_state);

	return STATES_FIN_SENT & STATE_BIT(state & 31) &&
	       BPF_CORE_READ(sk, __sk_common.skc_flags) & SK_DEAD;
}

/* How often all open files are searched for one connection: see may_be_copy(). */
#define SEEDS 2

static __always_inline void tcp_look(const struct sock *sk, struct sock_entry *s)
{
	struct sock_entry *again;
	struct tcp_sums sums;
	__u64 id = s->id;

	if (!(s->flags & ENTRY_UP) || s->flags & ENTRY_ENDED)
		return;
	if (!entry_has_ends(s, sk)) {
		/* or it ended just now, and the entry is another's already */
		again = entry_still(sk, id);
		if (again)
			stale_end(sk, again);
		return;
	}
	if (!(s->flags & ENTRY_OWNED)) {
		if (s->asked < SEEDS && BPF_CORE_READ(sk, sk_socket)) {
			s->asked++;
			unowned++;
		}
		return;
	}
	tcp_read_sums(sk, s->role, &sums);
	tcp_sums_exact(&sums, s);
	/* behind what was told: close() is about to queue its FIN */
	if ((__s64)(sums.tx - s->flow_tx) < 0 || (__s64)(sums.rx - s->flow_rx) < 0)
		return;
	if (finishing && closed_by_owner(sk))
		close_emit(sk, s, sk, sums.tx, sums.rx);
	else if (sums.tx != s->flow_tx || sums.rx != s->flow_rx)
		flow_emit(sk, s, id, sums.tx, sums.rx);
}

/* The entry that an iterator has come to, looked up: the value that it gets may not be handed to every helper. */
static __always_inline struct sock_entry *entry_of_walk(const struct bpf_iter__bpf_map_elem *ctx,
							const struct sock **ret_sk)
{
	const __u64 *key = ctx->key;

	if (!key)
		return NULL;
	*ret_sk = (const void *)*key;
	return entry_find(*ret_sk);
}

SEC("iter/bpf_map_elem")
int net_flows(struct bpf_iter__bpf_map_elem *ctx)
{
	const struct sock *sk;
	struct sock_entry *s = entry_of_walk(ctx, &sk);

	if (!s)
		return 0;
	if (s->protocol == AS_PROTO_UDP)
		udp_look(sk, s);
	else
		tcp_look(sk, s);
	return 0;
}

/* ---- with each sample ---- */

/* False: there is nobody to count them for yet, or `close` is about to tell. */
static __always_inline bool sums_read(const struct sock *sk, const struct sock_entry *s,
				      struct tcp_sums *sums)
{
	if (s->protocol == AS_PROTO_UDP) {
		sums->tx = s->told_tx;
		sums->rx = s->told_rx;
		return true;
	}
	if (!(s->flags & ENTRY_UP) || !(s->flags & ENTRY_OWNED) || s->flags & ENTRY_ENDED)
		return false;
	if (!entry_has_ends(s, sk)) /* see tcp_look(), which ends the entry */
		return false;
	tcp_read_sums(sk, s->role, sums);
	tcp_sums_exact(sums, s);
	return (__s64)(sums->tx - s->sample_tx) >= 0 && (__s64)(sums->rx - s->sample_rx) >= 0;
}

/* Flow events once a second are too few for rates of shorter intervals, and one per sample too many. */
SEC("iter/bpf_map_elem")
int net_moved(struct bpf_iter__bpf_map_elem *ctx)
{
	const struct sock *sk;
	struct sock_entry *s = entry_of_walk(ctx, &sk);
	struct as_moved m = {};
	struct tcp_sums sums;
	__u64 id;

	if (!s)
		return 0;
	id = s->id;
	if (!sums_read(sk, s, &sums))
		return 0;
	m.tgid = s->owner.tgid;
	m.start_ns = s->owner.start_ns;
	m.tx_bytes = sums.tx - s->sample_tx;
	m.rx_bytes = sums.rx - s->sample_rx;
	if (!m.tx_bytes && !m.rx_bytes)
		return 0;
	/* what finds no room in this read comes once more in the next one */
	s = entry_still(sk, id);
	if (!s || bpf_seq_write(ctx->meta->seq, &m, sizeof(m)))
		return 0;
	s->sample_tx = sums.tx;
	s->sample_rx = sums.rx;
	return 0;
}

/* ---- what is open already ---- */

#define S_IFMT   0170000
#define S_IFSOCK 0140000

/* Several processes may hold a listener: one that is watched counts. */
static __always_inline void seed_listener(const struct sock *sk, struct task_struct *task)
{
	struct listen_key key = listen_key(sk);
	struct listener *known = bpf_map_lookup_elem(&listeners, &key);
	struct listener l = {.sk = (__u64)sk};

	if (known && owner_watched(&known->owner))
		return;
	owner_read(&l.owner, task);
	l.watched = owner_watched(&l.owner);
	if (!known || l.watched)
		bpf_map_update_elem(&listeners, &key, &l, BPF_ANY);
}

/*
 * A process that is younger than the connection may hold no more than a copy of a descriptor, as every child
 * does until its exec. So in the first search it is not the one; when that finds nobody, the second takes whoever
 * holds it.
 */
static __always_inline bool may_be_copy(const struct sock_entry *known,
					const struct sock_owner *owner)
{
	return known->asked < SEEDS && !finishing && owner->start_ns > known->begin_ns;
}

static __always_inline void seed_connection(const struct sock *sk, struct task_struct *task,
					    __u32 state)
{
	struct sock_owner owner;
	struct sock_entry s, *known = entry_find(sk);
	__u64 id;

	if (known && known->flags & ENTRY_OWNED)
		return;
	owner_read(&owner, task);
	if (!owner_watched(&owner))
		return;
	if (known) {
		id = known->id;
		if (may_be_copy(known, &owner))
			return;
		accept_emit(known, id, &owner, 0);
		if (!(known->flags & ENTRY_OWNED)) /* else its user has shown meanwhile */
			entry_set_owner(known, id, &owner);
		return;
	}
	entry_init(&s, sk, AS_PROTO_TCP, listener_of(sk) ? AS_ROLE_SERVER : AS_ROLE_UNKNOWN);
	s.owner = owner;
	s.flags = ENTRY_OWNED;
	if (state == TCP_SYN_SENT)
		s.role = AS_ROLE_CLIENT;
	else
		entry_set_base(&s, sk, false);
	if (!entry_insert(sk, &s, BPF_NOEXIST) && !entry_find(sk))
		count_shed(AS_EV_CLOSE);
}

SEC("iter/task_file")
int net_seed(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	const struct sock *sk;
	struct socket *socket;
	__u32 state;

	if (!task || !file || (file->f_inode->i_mode & S_IFMT) != S_IFSOCK)
		return 0;
	socket = BPF_CORE_READ(file, private_data);
	sk = BPF_CORE_READ(socket, sk);
	if (!sk || sock_protocol(sk) != AS_PROTO_TCP)
		return 0;
	state = BPF_CORE_READ(sk, __sk_common.skc_state);
	if (state == TCP_LISTEN)
		seed_listener(sk, task);
	else if ((STATES_CONNECTED | STATE_BIT(TCP_SYN_SENT)) & STATE_BIT(state & 31))
		seed_connection(sk, task, state);
	return 0;
}
