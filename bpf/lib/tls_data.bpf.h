/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * From plaintext in a process's memory to records: sessions, and the pieces of a call. What the objects
 * for the single families of TLS libraries share.
 *
 * No scratch memory per processor here: a probe runs in the context of the thread and may be
 * preempted by another one on the same processor. What a thread needs lies in its own map entry.
 */
#ifndef AGENTSIGHT_BPF_TLS_DATA_H
#define AGENTSIGHT_BPF_TLS_DATA_H

#include "emit.bpf.h"
#include "filter.bpf.h"
#include "tlsjoin.bpf.h"
#include <agentsight/tls.h>

/*
 * Since 6.13 the kernel gives a program that uses 64 bytes of stack or more a stack of its own, one per
 * processor, and takes for granted that it does not run twice there. A uprobe is preempted and does:
 * on 7.3 calls of several threads were mixed up. Programs that hold a tail call, even an
 * unreachable one, keep the ordinary stack.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} no_programs SEC(".maps");

const volatile bool never = false;

#define KEEP_ORDINARY_STACK(ctx)                             \
	do {                                                 \
		if (never)                                   \
			bpf_tail_call(ctx, &no_programs, 0); \
	} while (0)

/* KERNEL < 5.15 has no cookies: there a program knows its shape by itself. */
static __always_inline __u64 with_library(struct pt_regs *ctx, __u64 spec)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_attach_cookie))
		return bpf_get_attach_cookie(ctx);
	return spec;
}

/* A program that knows its shape, see with_library(): @handler does with the call what it always does. */
#define SHAPE_PROGRAM(name, handler, kind, shape, function)                                     \
	SEC("uprobe")                                                                           \
	int name(struct pt_regs *ctx)                                                           \
	{                                                                                       \
		__u64 id = bpf_get_current_pid_tgid();                                          \
		if (!thread_watched(id))                                                        \
			return 0;                                                               \
		return handler(ctx, id, with_library(ctx, AS_TLS_SPEC(kind, shape, function))); \
	}

/* Random, so that neither a stream's number nor a difference of two tells an address. */
const volatile __u64 stream_salt[2] = {};

/* ---- sessions ---- */

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
	tls_changed(); /* another thread's call may go on with the one that had to make room */
	bpf_map_update_elem(&tls_sessions, key, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&tls_sessions, key);
}

static __always_inline __u32 session_ports(const struct as_tls_session *s)
{
	return (__u32)s->conn.local.port << 16 | s->conn.remote.port;
}

/* The memory of a freed SSL object is often the next one's: other ports, other stream. */
static __always_inline void session_check(struct as_tls_session *s, const struct as_tls_key *key)
{
	__u32 ports = session_ports(s);

	if (!s->joined || s->ports == ports)
		return;
	if (s->ports && s->carried)
		s->stream_id = stream_number(key);
	s->ports = ports;
	tls_changed();
}

static __always_inline void session_conn(const struct as_tls_session *s, struct as_conn *ret)
{
	if (s && s->joined)
		conn_copy(ret, &s->conn);
	else
		__builtin_memset(__builtin_assume_aligned(ret, 8), 0, sizeof(*ret));
}

/* A call of the session @s has carried bytes, with the header and the ends in @t. */
static __always_inline void session_begins(struct as_tls_session *s, const struct as_tls_thread *t)
{
	if (!s->carried && !s->joined)
		s->first_ns = t->send.h.boot_ns;
	s->carried = 1;
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
	e->h.flags = send->h.flags | (more ? AS_F_MORE : 0);

	conn_copy(&e->conn, &send->conn);
	e->stream_id = send->stream_id;
	e->len = send->len;
	e->offset = off;
	e->direction =
		AS_TLS_SPEC_KIND(send->spec) == AS_TLS_KIND_READ ? AS_TLS_READ : AS_TLS_WRITE;
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
	e->h.flags &= ~AS_F_MORE;
	e->data.len = 0;
	e->data.full = e->len - e->offset < 0xffffffff ? e->len - e->offset : 0xffffffff;
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
	if (!off)
		return PIECE_SENT; /* the first one has been */
	return piece_send(&t->send, off);
}

#define PIECES_ROUND 32 /* as many rounds make AS_CHUNKS_MAX */

/* Loops in two levels: the verifier looks at each once. */
__noinline int piece_round(__u64 thread, __u64 off)
{
	int i, r = PIECE_SENT;

	for (i = 0; i < PIECES_ROUND && r != PIECE_LAST; i++) {
		r = piece_next(thread, off);
		off += AS_CHUNK_MAX;
	}
	return r;
}

static __always_inline void data_send(__u64 id, struct as_tls_thread *t)
{
	__u64 off = 0;
	int i;

	if (piece_send(&t->send, 0) == PIECE_LAST || t->send.len <= AS_CHUNK_MAX)
		return;
	for (i = 0; i < AS_CHUNKS_MAX / PIECES_ROUND; i++) {
		if (piece_round(id, off) == PIECE_LAST)
			return;
		off += (__u64)PIECES_ROUND * AS_CHUNK_MAX;
	}
}

/*
 * In a program of an uprobe session link, which runs at both ends of a call. At the return the kernel has put back
 * the address where the caller goes on.
 */
static __always_inline bool at_return(struct pt_regs *ctx)
{
	return PT_REGS_IP(ctx) != bpf_get_func_ip(ctx);
}

/* What its entry says: does the program want to see the return? */
enum session_verdict {
	SESSION_GOES_ON,
	SESSION_ENDS,
};

static __always_inline int call_unknown(int ret)
{
	if (ret > 0 && current_watched()) {
		ledger_add(AS_EV_SSL_DATA, produced, 1);
		ledger_add(AS_EV_SSL_DATA, shed, 1);
	}
	return 0;
}

#endif
