/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Payload of system calls: what a call that has just moved @len bytes has in the user's buffer, sent in
 * the pieces of struct as_ssl_data. The buffer is found in the registers of the call, one buffer or a
 * list of them, and is resident: the kernel has copied from it or to it a moment ago.
 *
 * Everything about the call lies in an entry of its thread: global functions of 5.10 take scalars only,
 * and scratch memory per processor could be another thread's by the time that it is used.
 */
#ifndef AGENTSIGHT_BPF_PAYLOAD_H
#define AGENTSIGHT_BPF_PAYLOAD_H

#include "caller.bpf.h"
#include "emit.bpf.h"

#define PAYLOAD_HEAD 256 /* what is searched of a message's beginning */
#define PAYLOAD_TAIL 64  /* and of its end */

struct payload {
	struct as_hdr h; /* of all pieces, but for length and flags */
	struct as_conn conn;
	__u64 stream_id;
	__u64 len;
	__u64 off;  /* of the next piece */
	__u64 skip; /* bytes in front of the user's memory that have been told already */
	__u64 buf;  /* what is left of the present buffer */
	__u64 left;
	__u64 iov; /* those that follow */
	__u64 n_iov;
	__u32 direction;
	__u32 function;
	__u32 last; /* last member of the record: the descriptor */
	__u32 turn;
	char head[2 * PAYLOAD_HEAD]; /* twice, for the verifier's sum of offset and length */
};

/* Key: bpf_get_current_pid_tgid(). */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct payload);
} payloads SEC(".maps");

static const struct payload payload_none; /* too large for the stack */

static __always_inline struct payload *payload_get(__u64 thread)
{
	struct payload *p = bpf_map_lookup_elem(&payloads, &thread);

	if (p)
		return p;
	bpf_map_update_elem(&payloads, &thread, &payload_none, BPF_NOEXIST);
	return bpf_map_lookup_elem(&payloads, &thread);
}

/* Boot time in 256 ns steps and the processor: unique, as making an entry takes longer than that. */
static __always_inline __u64 id_new(__u64 boot_ns)
{
	return (boot_ns & ~0xffULL) | (bpf_get_smp_processor_id() & 0xff);
}

/* ---- where the buffer is ---- */

/* uapi */
struct user_iovec {
	__u64 base;
	__u64 len;
};

struct user_msghdr {
	__u64 name;
	__u64 namelen;
	__u64 iov;
	__u64 n_iov;
};

static __always_inline void payload_at_buffer(struct payload *p, __u64 buf)
{
	p->buf = buf;
	p->left = p->len + p->skip;
}

static __always_inline void payload_at_list(struct payload *p, __u64 iov, __u64 n)
{
	p->iov = iov;
	p->n_iov = n;
}

static __always_inline void payload_at_message(struct payload *p, __u64 msg)
{
	struct user_msghdr m;

	if (!bpf_probe_read_user(&m, sizeof(m), (void *)msg))
		payload_at_list(p, m.iov, m.n_iov);
}

/* Sets function and buffers; a call that has none leaves them empty, and its bytes are a gap. */
static __always_inline void payload_locate(struct payload *p, const struct caller *c)
{
	p->function = AS_NET_FN_NONE;
	p->buf = p->left = p->iov = p->n_iov = 0;
	switch (c->nr) {
	case NR_READ:
		p->function = AS_NET_FN_READ;
		payload_at_buffer(p, c->arg2);
		break;
	case NR_WRITE:
		p->function = AS_NET_FN_WRITE;
		payload_at_buffer(p, c->arg2);
		break;
	case NR_RECVFROM:
		p->function = AS_NET_FN_RECVFROM;
		payload_at_buffer(p, c->arg2);
		break;
	case NR_SENDTO:
		p->function = AS_NET_FN_SENDTO;
		payload_at_buffer(p, c->arg2);
		break;
	case NR_READV:
	case NR_PREADV2:
		p->function = AS_NET_FN_READV;
		payload_at_list(p, c->arg2, c->arg3);
		break;
	case NR_WRITEV:
	case NR_PWRITEV2:
		p->function = AS_NET_FN_WRITEV;
		payload_at_list(p, c->arg2, c->arg3);
		break;
	case NR_RECVMSG:
		p->function = AS_NET_FN_RECVMSG;
		payload_at_message(p, c->arg2);
		break;
	case NR_SENDMSG:
		p->function = AS_NET_FN_SENDMSG;
		payload_at_message(p, c->arg2);
		break;
	}
}

#define EMPTY_BUFFERS 4 /* in a row; the next turn goes on behind them */

/* What has been told of the present buffer, which has more. */
static __always_inline bool payload_skip(struct payload *p)
{
	p->buf += p->skip;
	p->left -= p->skip;
	p->skip = 0;
	return true;
}

/* Sees to it that the present buffer has bytes. False: it has none yet, or there are no more. */
static __always_inline bool payload_buffer(struct payload *p)
{
	struct user_iovec v;
	int i;

	for (i = 0; i < EMPTY_BUFFERS; i++) {
		if (p->left > p->skip)
			return payload_skip(p);
		p->skip -= p->left;
		p->left = 0;
		if (!p->n_iov)
			return false;
		p->n_iov--;
		if (bpf_probe_read_user(&v, sizeof(v), (void *)p->iov)) {
			p->n_iov = 0;
			return false;
		}
		p->iov += sizeof(v);
		p->buf = v.base;
		p->left = v.len;
	}
	return p->left > p->skip && payload_skip(p);
}

/* ---- pieces ---- */

/* Ring memory is not zeroed: every member is written. @n: of this piece. */
static __noinline void payload_fill(struct as_ssl_data *e, const struct payload *p, __u64 n,
				    bool more)
{
	__u64 rest = p->len - p->off;

	e->h = p->h;
	e->h.len = sizeof(*e) + n;
	e->h.flags = p->h.flags | (more ? AS_F_MORE : 0);
	__builtin_memcpy(__builtin_assume_aligned(&e->conn, 8),
			 __builtin_assume_aligned(&p->conn, 8), sizeof(e->conn));
	e->stream_id = p->stream_id;
	e->len = p->len;
	e->offset = p->off;
	e->direction = p->direction;
	e->function = p->function;
	e->library = p->last;
	e->data.off = sizeof(*e);
	e->data.len = n;
	e->data.full = more ? n : rest < 0xffffffff ? rest : 0xffffffff;
}

/* The rest of a call, which is nowhere to be read: its last piece says how much is missing. */
static __noinline int payload_gap(const struct payload *p)
{
	struct as_ssl_data *e = bpf_ringbuf_reserve(&ring_data, sizeof(*e), 0);

	ledger_add(p->h.type, unread, 1);
	if (!e) {
		ledger_add(p->h.type, dropped, 1);
		return 0;
	}
	payload_fill(e, p, 0, false);
	e->data.full = p->len - p->off < 0xffffffff ? p->len - p->off : 0xffffffff;
	event_submit(&ring_data, e);
	return 0;
}

/* See PIECE_OF() in tls_calls.bpf.h. The result: whether more can follow. */
#define PAYLOAD_PIECE(room)                                                                        \
	({                                                                                         \
		struct as_ssl_data *_e = bpf_ringbuf_reserve(&ring_data, sizeof(*_e) + (room), 0); \
		int _r = 0;                                                                        \
		if (!_e) {                                                                         \
			ledger_add(p->h.type, dropped, 1);                                         \
		} else {                                                                           \
			payload_fill(_e, p, n, more);                                              \
			barrier_var(n);                                                            \
			if (n > (room))                                                            \
				n = (room);                                                        \
			if (!bpf_probe_read_user(_e + 1, n, (void *)p->buf)) {                     \
				_r = more;                                                         \
			} else {                                                                   \
				ledger_add(p->h.type, unread, 1);                                  \
				_e->h.len = sizeof(*_e);                                           \
				_e->h.flags = p->h.flags;                                          \
				_e->data.len = 0;                                                  \
				_e->data.full = p->len - p->off;                                   \
			}                                                                          \
			event_submit(&ring_data, _e);                                              \
		}                                                                                  \
		_r;                                                                                \
	})

static __noinline int payload_piece(const struct payload *p, __u64 n, bool more)
{
	if (n <= 512)
		return PAYLOAD_PIECE(512);
	if (n <= 2048)
		return PAYLOAD_PIECE(2048);
	if (n <= 8192)
		return PAYLOAD_PIECE(8192);
	return PAYLOAD_PIECE(AS_CHUNK_MAX);
}

enum payload_result {
	PAYLOAD_END,
	PAYLOAD_GOES_ON,
	PAYLOAD_GONE, /* the entry of the thread */
};

/* A global function: verified once, not once per turn of the loop. KERNEL < 5.17: no bpf_loop(). */
__noinline int payload_next(__u64 thread)
{
	struct payload *p = bpf_map_lookup_elem(&payloads, &thread);
	bool last;
	__u64 n;

	if (!p)
		return PAYLOAD_GONE;
	last = ++p->turn >= AS_CHUNKS_MAX;
	if (!payload_buffer(p)) {
		if (p->n_iov && !last)
			return PAYLOAD_GOES_ON;
		return payload_gap(p);
	}
	n = p->left;
	if (n > AS_CHUNK_MAX)
		n = AS_CHUNK_MAX;
	if (n > p->len - p->off)
		n = p->len - p->off;
	if (!payload_piece(p, n, !last && p->off + n < p->len))
		return PAYLOAD_END;
	p->off += n;
	p->buf += n;
	p->left -= n;
	return PAYLOAD_GOES_ON;
}

#define PAYLOAD_ROUND 32 /* pieces; as many rounds make AS_CHUNKS_MAX */

__noinline int payload_round(__u64 thread)
{
	int i, r = PAYLOAD_GOES_ON;

	for (i = 0; i < PAYLOAD_ROUND && r == PAYLOAD_GOES_ON; i++)
		r = payload_next(thread);
	return r;
}

/* Counts the call and sends it; all but the pieces' own state is filled in. */
static __always_inline void payload_send(__u64 thread, struct payload *p)
{
	__u32 type = p->h.type;
	int i, r = PAYLOAD_GOES_ON;

	ledger_add(type, produced, 1);
	p->off = 0;
	p->turn = 0;
	for (i = 0; i < AS_CHUNKS_MAX / PAYLOAD_ROUND && r == PAYLOAD_GOES_ON; i++)
		r = payload_round(thread);
	if (r != PAYLOAD_END)
		ledger_add(type, shed, 1);
}

/* ---- what it looks like ---- */

#define HEAD_BUFFERS 4 /* a head may be spread over so many */
#define HEAD_EMPTY   4 /* times EMPTY_BUFFERS in front of it */

/*
 * The first bytes of what will be sent into the entry, @want at most, a constant below PAYLOAD_HEAD.
 * Returns how many. What lies in further buffers is only looked at: sending begins with the first.
 */
static __always_inline __u64 payload_head(struct payload *p, __u64 want)
{
	struct user_iovec v;
	__u64 got = 0, n, iov;
	int i;

	for (i = 0; i < HEAD_EMPTY && !payload_buffer(p); i++) {
		if (!p->n_iov)
			return 0;
	}
	if (!p->left)
		return 0;
	v.base = p->buf;
	v.len = p->left;
	iov = p->iov;
	if (want > p->len)
		want = p->len;
	for (i = 0; i < HEAD_BUFFERS; i++) {
		n = want - got < v.len ? want - got : v.len;
		/* masks, since a compared copy is not what clang hands over */
		barrier_var(n);
		n &= PAYLOAD_HEAD - 1;
		got &= PAYLOAD_HEAD - 1;
		if (bpf_probe_read_user(&p->head[got], n, (void *)v.base))
			return 0;
		got += n;
		if (got >= want || i >= p->n_iov)
			break;
		if (bpf_probe_read_user(&v, sizeof(v), (void *)iov))
			break;
		iov += sizeof(v);
	}
	return got;
}

/* The last bytes, behind the first ones; only if all lies in one buffer. */
static __always_inline bool payload_tail(struct payload *p)
{
	if (p->len < PAYLOAD_TAIL || p->left < p->len)
		return false;
	return !bpf_probe_read_user(&p->head[PAYLOAD_HEAD], PAYLOAD_TAIL,
				    (void *)(p->buf + p->len - PAYLOAD_TAIL));
}

/* `jsonrpc"`, as a number in the order of bytes of both processors */
#define WORD_JSONRPC 0x226370726e6f736aULL

/* @max: how many bytes there can be, of which there are @n. */
static __always_inline int says_jsonrpc(const char *at, __u64 n, int max)
{
	int i;

	/* behind @n lies what was read before: found there, it is not in front either */
#pragma unroll 8
	for (i = 0; i <= max - 8; i++) {
		if (*(const __u64 *)(at + i) == WORD_JSONRPC)
			return i + 8 <= n;
	}
	return 0;
}

/* Is it in the first @n bytes of the thread's message? Global for the verifier's sake. */
__noinline int payload_begins_jsonrpc(__u64 thread, __u64 n)
{
	struct payload *p = bpf_map_lookup_elem(&payloads, &thread);

	return p ? says_jsonrpc(p->head, n, PAYLOAD_HEAD) : 0;
}

/* Is it in the last ones? */
__noinline int payload_ends_jsonrpc(__u64 thread)
{
	struct payload *p = bpf_map_lookup_elem(&payloads, &thread);

	return p ? says_jsonrpc(&p->head[PAYLOAD_HEAD], PAYLOAD_TAIL, PAYLOAD_TAIL) : 0;
}

/* ---- stdin, stdout and stderr ---- */

enum verdict {
	VERDICT_OPEN,
	VERDICT_SHOWN,
	VERDICT_NEVER,
};

#define STDIO_LOOKS 16

struct stdio_key {
	__u32 tgid;
	__u32 fd;
};

/* What a descriptor carries. */
struct stdio_entry {
	__u64 file; /* the opening: its file, or its socket */
	__u64 id;
	__u32 looks;
	__u32 verdict; /* enum verdict */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct stdio_key);
	__type(value, struct stdio_entry);
} stdio_entries SEC(".maps");

static __always_inline struct stdio_entry *stdio_entry_get(__u64 thread, __u32 fd, __u64 file)
{
	struct stdio_key key = {.tgid = thread >> 32, .fd = fd};
	struct stdio_entry *e = bpf_map_lookup_elem(&stdio_entries, &key);
	struct stdio_entry fresh = {.file = file};

	if (e && e->file == file)
		return e;
	fresh.id = id_new(bpf_ktime_get_boot_ns());
	fresh.verdict = cfg.stdio == AS_STDIO_ALL ? VERDICT_SHOWN : VERDICT_OPEN;
	bpf_map_update_elem(&stdio_entries, &key, &fresh, BPF_ANY);
	return bpf_map_lookup_elem(&stdio_entries, &key);
}

/*
 * A message is an object that names the protocol: near its beginning, or as the last but one of its
 * members, where the libraries for TypeScript put it.
 */
static __always_inline bool stdio_is_jsonrpc(__u64 thread, struct payload *p)
{
	__u64 n = payload_head(p, PAYLOAD_HEAD - 1);

	if (!n || p->head[0] != '{')
		return false;
	if (payload_begins_jsonrpc(thread, n))
		return true;
	return payload_tail(p) && payload_ends_jsonrpc(thread);
}

static __always_inline bool stdio_is_shown(__u64 thread, struct stdio_entry *e, struct payload *p)
{
	if (e->verdict == VERDICT_SHOWN)
		return true;
	if (stdio_is_jsonrpc(thread, p)) {
		e->verdict = VERDICT_SHOWN;
		return true;
	}
	if (++e->looks >= STDIO_LOOKS)
		e->verdict = VERDICT_NEVER;
	return false;
}

/* The call @c has moved @n bytes through descriptor 0, 1 or 2, an opening told by @file. */
static __always_inline void stdio_call(const struct caller *c, __u64 file, __u64 n, __u32 direction)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct stdio_entry *e = stdio_entry_get(thread, c->fd, file);
	struct payload *p;

	if (!e || e->verdict == VERDICT_NEVER)
		return;
	p = payload_get(thread);
	if (!p)
		return;
	p->len = n;
	p->skip = 0;
	payload_locate(p, c);
	if (!stdio_is_shown(thread, e, p))
		return;
	hdr_fill(&p->h, AS_EV_STDIO_DATA, 0);
	__builtin_memset(__builtin_assume_aligned(&p->conn, 8), 0, sizeof(p->conn));
	p->stream_id = e->id;
	p->direction = direction;
	p->last = c->fd;
	payload_send(thread, p);
}

#endif
