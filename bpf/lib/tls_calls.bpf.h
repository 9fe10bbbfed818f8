/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * From a TLS call to records with its plaintext: what all attach types share.
 *
 * The entry stores the arguments, the return program copies the buffer, when it is resident and
 * holds what was really read or written. A call is found again by the thread's stack pointer: so a
 * function probed twice (two paths to one file under overlayfs) is recorded once, and a TLS session
 * carried inside another one (an HTTPS proxy) is two calls at a time.
 *
 * No scratch memory per processor here: a probe runs in the context of the thread and may be
 * preempted by another one on the same processor. What a thread needs lies in its own map entry.
 */
#ifndef AGENTSIGHT_BPF_TLS_CALLS_H
#define AGENTSIGHT_BPF_TLS_CALLS_H

#include "emit.bpf.h"
#include "filter.bpf.h"
#include "tlsjoin.bpf.h"
#include <agentsight/tls.h>

/* Random, so that neither a stream's number nor a difference of two tells an address. */
const volatile __u64 stream_salt[2] = {};

struct server_name {
	char text[AS_SERVER_NAME_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 2048);
	__type(key, struct as_tls_key);
	__type(value, struct server_name);
} tls_names SEC(".maps");

/* ---- sessions ---- */

static __always_inline __u64 mix64(__u64 x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ULL;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

/* 53 bits, so that JSON readers that keep numbers as doubles do not confuse two streams. */
static __always_inline __u64 stream_number(const struct as_tls_key *key)
{
	__u64 x = mix64(key->ssl ^ stream_salt[0]);

	x = mix64(x + stream_salt[1] + ((__u64)key->tgid << 32) + bpf_ktime_get_boot_ns());
	return x >> 11;
}

static __always_inline struct as_tls_session *session_get(const struct as_tls_key *key)
{
	struct as_tls_session *s = bpf_map_lookup_elem(&tls_sessions, key);
	struct as_tls_session fresh = {};

	if (s)
		return s;
	fresh.stream_id = stream_number(key);
	bpf_map_update_elem(&tls_sessions, key, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&tls_sessions, key);
}

/* The memory of a freed SSL object is often the next one's: other ports, other stream. */
static __always_inline void session_check(struct as_tls_session *s, const struct as_tls_key *key)
{
	__u32 ports = (__u32)s->conn.local.port << 16 | s->conn.remote.port;

	if (!s->joined || s->ports == ports)
		return;
	if (s->ports && s->carried)
		s->stream_id = stream_number(key);
	s->ports = ports;
}

static __always_inline void session_conn(const struct as_tls_session *s, struct as_conn *ret)
{
	if (s && s->joined)
		conn_copy(ret, &s->conn);
	else
		__builtin_memset(__builtin_assume_aligned(ret, 8), 0, sizeof(*ret));
}

/* The session's entry, made when there is none, once it knows the socket that the call has used. */
static __always_inline struct as_tls_session *session_used(const struct as_tls_key *key,
							   const struct as_tls_thread *t)
{
	struct as_tls_session *s = session_get(key);

	if (s && t->bound == AS_TLS_BOUND)
		tls_session_join(s, &t->conn);
	return s;
}

/* ---- plaintext ---- */

/*
 * Ring memory is not zeroed: every member is written. The header was made once per call, outside: the
 * verifier searches the kernel's BTF for each typed load on every path, and eight come by here.
 */
static __noinline void piece_fill(struct as_ssl_data *e, const struct as_tls_send *send, __u64 off,
				  __u64 n)
{
	bool more = off + n < send->len && off + n < (__u64)AS_CHUNK_MAX * AS_CHUNKS_MAX;
	__u64 rest = send->len - off;

	e->h = send->h;
	e->h.len = sizeof(*e) + n;
	e->h.flags = more ? AS_F_MORE : 0;

	conn_copy(&e->conn, &send->conn);
	e->stream_id = send->stream_id;
	e->len = send->len;
	e->offset = off;
	e->direction =
		AS_TLS_SPEC_KIND(send->spec) == AS_TLS_KIND_WRITE ? AS_TLS_WRITE : AS_TLS_READ;
	e->function = AS_TLS_SPEC_FUNCTION(send->spec);
	e->library = AS_TLS_SPEC_LIBRARY(send->spec);
	e->data.off = sizeof(*e);
	e->data.len = n;
	e->data.full = more ? n : rest < 0xffffffff ? rest : 0xffffffff;
}

/* The rest of a call cannot be read: its last piece says how much is missing. */
static __always_inline void piece_unread(struct as_ssl_data *e)
{
	ledger_add(AS_EV_SSL_DATA, unread, 1);
	e->h.len = sizeof(*e);
	e->h.flags = 0;
	e->data.len = 0;
	e->data.full = e->len - e->offset;
}

enum piece_result {
	PIECE_SENT,
	PIECE_LAST, /* nothing more can follow */
};

/*
 * A record's room in the ring must be a constant for the verifier, so there are four sizes. The
 * length is bounded right before it is used: clang derives it anew from another register otherwise.
 */
#define PIECE_OF(room)                                                                             \
	({                                                                                         \
		struct as_ssl_data *_e = bpf_ringbuf_reserve(&ring_data, sizeof(*_e) + (room), 0); \
		int _r = PIECE_LAST;                                                               \
		if (!_e) {                                                                         \
			ledger_add(AS_EV_SSL_DATA, dropped, 1);                                    \
		} else {                                                                           \
			piece_fill(_e, send, off, n);                                              \
			barrier_var(n);                                                            \
			if (n > (room))                                                            \
				n = (room);                                                        \
			if (bpf_probe_read_user(_e + 1, n, (void *)(send->buf + off)))             \
				piece_unread(_e);                                                  \
			else                                                                       \
				_r = PIECE_SENT;                                                   \
			event_submit(&ring_data, _e);                                              \
		}                                                                                  \
		_r;                                                                                \
	})

static __noinline int piece_send(const struct as_tls_send *send, __u64 off)
{
	__u64 n = send->len - off;

	if (n <= 512)
		return PIECE_OF(512);
	if (n <= 2048)
		return PIECE_OF(2048);
	if (n <= 8192)
		return PIECE_OF(8192);
	if (n > AS_CHUNK_MAX)
		n = AS_CHUNK_MAX;
	return PIECE_OF(AS_CHUNK_MAX);
}

/* A global function: verified once, not once per turn of the loop. KERNEL < 5.17: no bpf_loop(). */
__noinline int piece_next(__u64 thread, __u64 off)
{
	struct as_tls_thread *t = bpf_map_lookup_elem(&tls_threads, &thread);

	if (!t || off >= t->send.len)
		return PIECE_LAST;
	return piece_send(&t->send, off);
}

static __always_inline void data_send(__u64 id, struct as_tls_thread *t)
{
	__u64 off = AS_CHUNK_MAX;
	int i;

	if (piece_send(&t->send, 0) == PIECE_LAST || t->send.len <= AS_CHUNK_MAX)
		return;
	for (i = 1; i < AS_CHUNKS_MAX; i++) {
		if (piece_next(id, off) == PIECE_LAST)
			return;
		off += AS_CHUNK_MAX;
	}
}

/* How many bytes the call moved; 0 when it failed or has to be tried again. */
static __always_inline __u64 data_count(const struct as_tls_call *c, int ret)
{
	__u64 n = ret;

	if (ret <= 0)
		return 0;
	if (AS_TLS_SPEC_SHAPE(c->spec) == AS_TLS_SHAPE_RET_INT)
		return n;
	if (ret != 1)
		return 0;
	if (bpf_probe_read_user(&n, sizeof(n), (void *)c->count)) {
		ledger_add(AS_EV_SSL_DATA, produced, 1);
		ledger_add(AS_EV_SSL_DATA, shed, 1);
		return 0;
	}
	return n;
}

/* Which stream and connection the call belongs to. */
static __always_inline void data_session(const struct as_tls_key *key, struct as_tls_thread *t)
{
	struct as_tls_session *s = session_used(key, t);

	session_conn(s, &t->send.conn);
	t->send.stream_id = 0;
	if (!s)
		return;
	session_check(s, key);
	s->carried = 1;
	t->send.stream_id = s->stream_id;
}

static __always_inline void data_leave(__u64 id, struct as_tls_thread *t,
				       const struct as_tls_call *c, int ret)
{
	struct as_tls_key key = {.tgid = id >> 32, .ssl = c->ssl};
	__u64 n = data_count(c, ret);

	/* more than was asked for: not the function that it was taken for */
	if (!n || n > c->num) {
		if (t->bound == AS_TLS_BOUND)
			session_used(&key, t);
		return;
	}
	if (AS_TLS_SPEC_KIND(c->spec) == AS_TLS_KIND_WRITE)
		t->pending_ssl = t->bound ? 0 : c->ssl;

	hdr_fill(&t->send.h, AS_EV_SSL_DATA, 0);
	t->send.buf = c->buf;
	t->send.len = n;
	t->send.spec = c->spec;
	data_session(&key, t);
	ledger_add(AS_EV_SSL_DATA, produced, 1);
	data_send(id, t);
}

/* ---- handshakes ---- */

/* A call on a finished session returns at once; a handshake computes keys, 50 us at the very least. */
#define HANDSHAKE_MIN_NS 25000

#define SSL_NOTHING 1 /* rwstate: the call does not wait for the socket */

/* The beginning of OpenSSL's SSL object, from 1.1.0 to 3.1. */
struct ssl_st {
	int version;
	const void *method;
	const void *rbio, *wbio, *bbio;
	int rwstate;
};

static __always_inline void handshake_enter(const struct as_tls_key *key)
{
	struct as_tls_session *s = session_get(key);

	if (!s || s->handshake_ns)
		return;
	s->handshake_ns = bpf_ktime_get_boot_ns();
	if (s->carried)
		s->joined = 0;
}

/* Fails for good, unlike "try again when the socket is ready". Unknown layouts: only when told so. */
static __always_inline bool handshake_failed(const struct ssl_st *ssl, __u32 version, int ret)
{
	return ret == 0 || (ret < 0 && version && ssl->rwstate == SSL_NOTHING);
}

static __always_inline void handshake_emit(const struct as_tls_key *key,
					   const struct as_tls_session *s, __u64 spec,
					   __u32 version, bool failed)
{
	struct server_name *name;
	struct as_ssl_handshake *e;
	long n = 0;

	e = event_reserve(&ring_events, AS_EV_SSL_HANDSHAKE, sizeof(*e) + AS_SERVER_NAME_MAX);
	if (!e)
		return;
	hdr_fill(&e->h, AS_EV_SSL_HANDSHAKE, 0);
	session_conn(s, &e->conn);
	e->stream_id = s->stream_id;
	e->latency_ns = e->h.boot_ns - s->handshake_ns;
	e->version = version;
	e->failed = failed;
	e->library = AS_TLS_SPEC_LIBRARY(spec);
	e->pad = 0;
	e->alpn = (struct as_span){};

	name = bpf_map_lookup_elem(&tls_names, key);
	if (name)
		n = bpf_probe_read_kernel_str(e + 1, AS_SERVER_NAME_MAX, name->text);
	n = n > 0 ? n - 1 : 0;
	e->server_name = (struct as_span){.off = sizeof(*e), .len = n, .full = n};
	e->h.len = sizeof(*e) + n;
	event_submit(&ring_events, e);
}

static __always_inline void handshake_leave(__u64 id, const struct as_tls_thread *t,
					    const struct as_tls_call *c, int ret)
{
	struct as_tls_key key = {.tgid = id >> 32, .ssl = c->ssl};
	struct as_tls_session *s = session_used(&key, t);
	struct ssl_st ssl = {};
	__u32 version;
	bool failed;

	if (!s || !s->handshake_ns)
		return;
	bpf_probe_read_user(&ssl, sizeof(ssl), (void *)c->ssl);
	version = ssl.version >= 0x0300 && ssl.version <= 0x0304 ? ssl.version : 0;
	failed = handshake_failed(&ssl, version, ret);
	if (ret != 1 && !failed)
		return;
	if ((s->carried || s->established) &&
	    bpf_ktime_get_boot_ns() - s->handshake_ns < HANDSHAKE_MIN_NS) {
		s->handshake_ns = 0;
		return;
	}
	if (s->carried)
		s->stream_id = stream_number(&key);
	handshake_emit(&key, s, c->spec, version, failed);
	s->established = !failed;
	s->carried = 0;
	s->handshake_ns = 0;
}

/* ---- the two ends of a call ---- */

static __always_inline struct as_tls_thread *thread_get(__u64 id)
{
	struct as_tls_thread *t = bpf_map_lookup_elem(&tls_threads, &id);
	struct as_tls_thread fresh = {};
	__u8 *hint;

	if (t)
		return t;
	hint = tls_hint(id);
	if (hint)
		*hint = 1;
	bpf_map_update_elem(&tls_threads, &id, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&tls_threads, &id);
}

static __always_inline void call_store(struct as_tls_call *c, struct pt_regs *ctx, __u64 spec)
{
	__u64 arg4 = PT_REGS_PARM4(ctx), arg5 = PT_REGS_PARM5(ctx);
	int num = PT_REGS_PARM3(ctx);

	/* or clang picks the member first, which the verifier refuses for a context */
	barrier_var(arg4);
	barrier_var(arg5);
	c->sp = PT_REGS_SP(ctx);
	c->ssl = PT_REGS_PARM1(ctx);
	c->buf = PT_REGS_PARM2(ctx);
	c->num = PT_REGS_PARM3(ctx);
	if (AS_TLS_SPEC_SHAPE(spec) == AS_TLS_SHAPE_RET_INT)
		c->num = num > 0 ? num : 0;
	c->count = AS_TLS_SPEC_SHAPE(spec) == AS_TLS_SHAPE_COUNT_ARG5 ? arg5 : arg4;
	c->spec = spec;
}

/* SSL_set_tlsext_host_name() is SSL_ctrl(ssl, 55, 0, name). */
static __always_inline void name_enter(struct pt_regs *ctx)
{
	struct as_tls_key key = {.ssl = PT_REGS_PARM1(ctx)};
	struct server_name name = {};

	if ((int)PT_REGS_PARM2(ctx) != 55 || PT_REGS_PARM3(ctx) != 0)
		return;
	key.tgid = bpf_get_current_pid_tgid() >> 32;
	if (bpf_probe_read_user_str(name.text, sizeof(name.text), (void *)PT_REGS_PARM4(ctx)) < 0)
		return;
	bpf_map_update_elem(&tls_names, &key, &name, BPF_ANY);
}

static __always_inline int call_enter(struct pt_regs *ctx, __u64 spec)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct as_tls_key key = {.tgid = id >> 32};
	struct as_tls_thread *t;
	struct as_tls_call *c;

	t = thread_get(id);
	if (!t)
		return 0; /* the return finds no entry either, and counts */
	if (t->ssl && t->bound == AS_TLS_BOUND) {
		/* the call around this one, or one that was left by a jump */
		key.ssl = t->ssl;
		session_used(&key, t);
	}
	/* the stack grows down: a call that is not above this one was left by a jump */
	c = &t->calls[t->calls[0].sp > PT_REGS_SP(ctx)];
	call_store(c, ctx, spec);

	t->ssl = PT_REGS_PARM1(ctx);
	t->bound = AS_TLS_UNBOUND;
	if (t->pending_ssl != t->ssl)
		t->pending_ssl = 0;
	if (AS_TLS_SPEC_KIND(spec) == AS_TLS_KIND_HANDSHAKE) {
		key.ssl = t->ssl;
		handshake_enter(&key);
	}
	return 0;
}

/* On x86 the return has taken its address from the stack. */
#if defined(__TARGET_ARCH_arm64)
#define ENTRY_SP(ctx) PT_REGS_SP(ctx)
#else
#define ENTRY_SP(ctx) (PT_REGS_SP(ctx) - 8)
#endif

static __always_inline int call_unknown(int ret)
{
	if (ret > 0 && current_watched()) {
		ledger_add(AS_EV_SSL_DATA, produced, 1);
		ledger_add(AS_EV_SSL_DATA, shed, 1);
	}
	return 0;
}

static __always_inline int call_leave(struct pt_regs *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct as_tls_thread *t = bpf_map_lookup_elem(&tls_threads, &id);
	__u64 sp = ENTRY_SP(ctx);
	struct as_tls_call c;

	if (!t)
		return call_unknown(PT_REGS_RC(ctx));
	t->ssl = 0;
	if (t->calls[0].sp == sp) {
		c = t->calls[0];
		t->calls[0].sp = 0;
	} else if (t->calls[1].sp == sp) {
		c = t->calls[1];
		t->calls[1].sp = 0;
		t->ssl = t->calls[0].ssl; /* the call around this one */
	} else {
		return 0;
	}
	if (AS_TLS_SPEC_KIND(c.spec) == AS_TLS_KIND_HANDSHAKE)
		handshake_leave(id, t, &c, PT_REGS_RC(ctx));
	else
		data_leave(id, t, &c, PT_REGS_RC(ctx));
	if (t->ssl && t->bound)
		t->bound = AS_TLS_NESTED;
	return 0;
}

#endif
