/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Plaintext of Go's crypto/tls. A goroutine changes threads and its stack moves, so there are no return
 * probes, which would write to it: every return instruction has a probe of its own. A call is found
 * again by its goroutine and its distance from the end of the stack, which is what moving preserves.
 */
#include "lib/tls_data.bpf.h"
#include "lib/caller.bpf.h"
#include "lib/ends.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#if defined(__TARGET_ARCH_arm64)
#define GO_ARG(ctx, n)    ((ctx)->regs[n])
#define GO_GOROUTINE(ctx) ((ctx)->regs[28])
#else
#define GO_ARG(ctx, n)    ((n) == 0 ? (ctx)->ax : (n) == 1 ? (ctx)->bx : (ctx)->cx)
#define GO_GOROUTINE(ctx) ((ctx)->r14)
#endif

#define S_IFMT   0170000
#define S_IFSOCK 0140000

struct go_key {
	__u32 tgid;
	__u32 pad;
	__u64 g;
};

/* Two, for a session that is carried inside another one. */
struct goroutine {
	struct as_tls_call calls[2];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct go_key);
	__type(value, struct goroutine);
} tls_goroutines SEC(".maps");

/* What every runtime.g begins with. */
struct go_stack {
	__u64 lo, hi;
};

static __always_inline struct goroutine *goroutine_get(const struct go_key *key)
{
	struct goroutine *g = bpf_map_lookup_elem(&tls_goroutines, key);
	struct goroutine fresh = {};

	if (g)
		return g;
	bpf_map_update_elem(&tls_goroutines, key, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&tls_goroutines, key);
}

/* ---- the socket underneath ---- */

/* A tls.Conn begins with a net.Conn. With another one it is another session, in the memory of one that is gone. */
static __always_inline void session_under(struct as_tls_session *s, const struct as_tls_key *key)
{
	__u64 under[2];

	if (bpf_probe_read_user(under, sizeof(under), (void *)key->ssl) ||
	    (under[0] == s->under[0] && under[1] == s->under[1]))
		return;
	if (s->carried)
		s->stream_id = stream_number(key);
	s->under[0] = under[0];
	s->under[1] = under[1];
	s->joined = s->ports = 0;
}

/*
 * The net.Conn's value is a *net.TCPConn, which holds a *netFD, which begins with a mutex of 16 bytes and the
 * descriptor. Something else than a TCPConn gives a number that is hardly ever an open socket.
 */
static __always_inline int conn_descriptor(__u64 tcp)
{
	__u64 fd;
	int n;

	if (bpf_probe_read_user(&fd, sizeof(fd), (void *)tcp) ||
	    bpf_probe_read_user(&n, sizeof(n), (void *)(fd + 16)))
		return -1;
	return n;
}

static __always_inline struct sock *descriptor_sock(int n)
{
	struct file *file = fd_file(n);
	struct socket *socket;

	if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return NULL;
	socket = BPF_CORE_READ(file, private_data);
	return BPF_CORE_READ(socket, sk);
}

static __always_inline void session_find(struct as_tls_session *s)
{
	struct sock *sk = descriptor_sock(conn_descriptor(s->under[1]));
	struct as_conn ends = {};

	if (!sk || sock_protocol(sk) != AS_PROTO_TCP)
		return;
	sock_read_ends(sk, &ends.local, &ends.remote);
	if (!ends.remote.port)
		return; /* closed meanwhile: what was known holds */
	tls_session_join(s, &ends);
}

/* ---- calls ---- */

static __always_inline void go_store(struct as_tls_call *c, struct pt_regs *ctx, __u64 sp,
				     const struct go_stack *stack, __u64 spec)
{
	c->sp = sp;
	c->ssl = GO_ARG(ctx, 0);
	c->buf = GO_ARG(ctx, 1);
	c->num = GO_ARG(ctx, 2);
	/* a buffer on the stack moves with it: its place is told from the end, too */
	c->count = c->buf >= stack->lo && c->buf < stack->hi;
	if (c->count)
		c->buf -= stack->hi;
	c->spec = spec;
	if (AS_TLS_SPEC_KIND(spec) == AS_TLS_KIND_WRITE)
		c->entry_ns = bpf_ktime_get_boot_ns();
}

static __always_inline int go_enter(struct pt_regs *ctx, __u64 id, __u64 spec)
{
	struct go_key key = {.tgid = id >> 32, .g = GO_GOROUTINE(ctx)};
	struct go_stack stack;
	struct goroutine *g;
	__u64 sp;

	if (bpf_probe_read_user(&stack, sizeof(stack), (void *)key.g))
		return 0;
	g = goroutine_get(&key);
	if (!g)
		return 0; /* the return counts it */
	sp = PT_REGS_SP(ctx) - stack.hi;
	/* the function begins again when its stack was too small: then it is the same call */
	go_store(&g->calls[g->calls[0].sp > sp], ctx, sp, &stack, spec);
	return 0;
}

static __always_inline bool call_take(struct goroutine *g, __u64 sp, struct as_tls_call *ret)
{
	if (g->calls[0].sp == sp) {
		*ret = g->calls[0];
		g->calls[0].sp = 0;
	} else if (g->calls[1].sp == sp) {
		*ret = g->calls[1];
		g->calls[1].sp = 0;
	} else {
		return false;
	}
	return true;
}

/*
 * Another goroutine may have read the answer before a write returns. So it has the time of its entry, as far back as
 * user space still sorts it in, but behind the write that returned before: one waits for the other inside. A call in
 * several pieces keeps its time: they take too long to be sorted in together.
 */
static __always_inline void go_write_time(struct as_tls_session *s, const struct as_tls_call *c,
					  struct as_tls_send *send)
{
	__u64 now = send->h.boot_ns, ns = c->entry_ns;
	__u64 oldest = send->len > AS_CHUNK_MAX ? now : now - TLS_SORT_NS;

	if (ns <= s->wrote_ns)
		ns = s->wrote_ns + 1;
	if (ns < oldest) {
		ns = oldest;
		send->h.flags = AS_F_EARLIER;
	}
	s->wrote_ns = now;
	send->h.boot_ns = ns;
}

static __always_inline void go_session(__u64 id, struct as_tls_thread *t,
				       const struct as_tls_call *c)
{
	struct as_tls_key key = {.tgid = id >> 32, .ssl = c->ssl};
	struct as_tls_session *s = session_get(&key);

	t->send.ssl = 0;
	t->send.stream_id = 0;
	session_conn(NULL, &t->send.conn);
	if (!s)
		return;
	session_under(s, &key);
	session_find(s);
	session_check(s, &key);
	session_conn(s, &t->send.conn);
	s->carried = 1;
	t->send.stream_id = s->stream_id;
	if (AS_TLS_SPEC_KIND(c->spec) == AS_TLS_KIND_WRITE)
		go_write_time(s, c, &t->send);
}

static __always_inline void go_send(__u64 id, const struct as_tls_call *c, __u64 hi, __u64 n)
{
	struct as_tls_thread *t = tls_thread_get(id);

	ledger_add(AS_EV_SSL_DATA, produced, 1);
	if (!t) {
		ledger_add(AS_EV_SSL_DATA, shed, 1);
		return;
	}
	hdr_fill(&t->send.h, AS_EV_SSL_DATA, 0);
	t->send.buf = c->count ? c->buf + hi : c->buf;
	t->send.len = n;
	t->send.spec = c->spec;
	go_session(id, t, c);
	data_send(id, t);
}

static __always_inline int go_return(struct pt_regs *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct go_key key = {.tgid = id >> 32, .g = GO_GOROUTINE(ctx)};
	struct as_tls_call c = {};
	long n = GO_ARG(ctx, 0);
	struct go_stack stack;
	struct goroutine *g;

	g = bpf_map_lookup_elem(&tls_goroutines, &key);
	if (!g)
		return call_unknown(n > 0); /* begun before it was watched, or forgotten */
	if (bpf_probe_read_user(&stack, sizeof(stack), (void *)key.g))
		return 0;
	if (!call_take(g, PT_REGS_SP(ctx) - stack.hi, &c))
		return 0; /* recorded: two paths lead to the file */
	if (n > 0 && (__u64)n <= c.num)
		go_send(id, &c, stack.hi, n);
	return 0;
}

/* ---- for uprobe multi links ---- */

SEC("uprobe")
int tls_go_enter(struct pt_regs *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();

	KEEP_ORDINARY_STACK(ctx);
	if (!thread_watched(id))
		return 0;
	return go_enter(ctx, id, bpf_get_attach_cookie(ctx));
}

SEC("uprobe")
int tls_go_leave(struct pt_regs *ctx)
{
	KEEP_ORDINARY_STACK(ctx);
	if (!current_watched())
		return 0;
	return go_return(ctx);
}

/* ---- one program per shape ---- */

SHAPE_PROGRAM(tls_go_read, go_enter, AS_TLS_KIND_READ, AS_TLS_SHAPE_GO_ENTRY, AS_TLS_FN_GO_READ)
SHAPE_PROGRAM(tls_go_write, go_enter, AS_TLS_KIND_WRITE, AS_TLS_SHAPE_GO_ENTRY, AS_TLS_FN_GO_WRITE)

SEC("uprobe")
int tls_go_return(struct pt_regs *ctx)
{
	if (!current_watched())
		return 0;
	return go_return(ctx);
}
