/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Plaintext of rustls, below it: the functions of AWS-LC and ring that encrypt and decrypt one record. They
 * serve everything else in the program, too. What is a TLS record shows in its additional data, which
 * also says how long it is; of those, only application data is passed on.
 *
 * A session here is one direction: its key is made of the address of the encryption context and what is
 * constant in its nonces, so a context at the address of a freed one is another session. The two
 * directions of a connection get one stream_id when their socket is known: a record is decrypted
 * right behind the receive, on its thread, and encrypted right before the send.
 */
#include "lib/tls_data.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define RECORD_MAX (AS_CHUNK_MAX + 256) /* RFC 5246: what a record may grow by, and then some */
#define TAG_LEN    16
#define TAG_SHORT  8 /* AES-CCM-8 */

/* Types of records, RFC 8446 section 5.1. In TLS 1.2 they stand outside. */
#define HANDSHAKE        0x16
#define APPLICATION_DATA 0x17

/* In `spec`, behind what user space has set: the record ends in its type, and in padding (TLS 1.3). */
#define SPEC_INNER (1ULL << 32)

/* What the function was called with. */
struct aead {
	__u64 context;
	__u64 nonce;
	__u64 text;    /* plaintext: where it is, or will be */
	__u64 len;     /* of it, or of what it comes in */
	__u64 tag_len; /* part of `len`; 0 when the tag is elsewhere */
	__u64 count;   /* where its length will be stored; 0: it is `len` */
	__u64 ad;
	__u64 ad_len;
	__u8 type; /* of the record, as seen from outside */
};

#if defined(__TARGET_ARCH_arm64)
#define REGISTERS            8
#define REGISTER_ARG(ctx, n) ((ctx)->regs[n])
#define STACK_ARGS(ctx)      PT_REGS_SP(ctx)
#define ENTRY_SP(ctx)        PT_REGS_SP(ctx)
#else
#define REGISTERS 6
#define REGISTER_ARG(ctx, n)    \
	((n) == 0   ? (ctx)->di \
	 : (n) == 1 ? (ctx)->si \
	 : (n) == 2 ? (ctx)->dx \
	 : (n) == 3 ? (ctx)->cx \
	 : (n) == 4 ? (ctx)->r8 \
		    : (ctx)->r9)
#define STACK_ARGS(ctx) (PT_REGS_SP(ctx) + 8)
#define ENTRY_SP(ctx)   (PT_REGS_SP(ctx) - 8) /* the return has taken its address from the stack */
#endif

/* Argument @n, a constant, counted from 0; false when the stack cannot be read. */
#define ARG(ctx, n, ret)                                             \
	((n) < REGISTERS ? (*(ret) = REGISTER_ARG(ctx, n), true)     \
			 : !bpf_probe_read_user(ret, sizeof(*(ret)), \
						(void *)(STACK_ARGS(ctx) + ((n)-REGISTERS) * 8)))

/* EVP_AEAD_CTX_seal and _open: (ctx, out, *out_len, max_out, nonce, nonce_len, in, in_len, ad, ad_len) */
static __always_inline bool args_whole(struct pt_regs *ctx, bool seal, struct aead *a)
{
	if (!ARG(ctx, 0, &a->context) || !ARG(ctx, 4, &a->nonce) || !ARG(ctx, 7, &a->len) ||
	    !ARG(ctx, 8, &a->ad) || !ARG(ctx, 9, &a->ad_len))
		return false;
	if (seal)
		return ARG(ctx, 6, &a->text);
	a->tag_len = TAG_LEN;
	return ARG(ctx, 1, &a->text) && ARG(ctx, 2, &a->count);
}

/* (ctx, out, tag, *tag_len, max_tag, nonce, nonce_len, in, in_len, extra, extra_len, ad, ad_len) */
static __always_inline bool args_scatter(struct pt_regs *ctx, struct aead *a)
{
	__u64 extra_len;

	return ARG(ctx, 0, &a->context) && ARG(ctx, 5, &a->nonce) && ARG(ctx, 7, &a->text) &&
	       ARG(ctx, 8, &a->len) && ARG(ctx, 10, &extra_len) && !extra_len &&
	       ARG(ctx, 11, &a->ad) && ARG(ctx, 12, &a->ad_len);
}

/* (ctx, out, nonce, nonce_len, in, in_len, tag, tag_len, ad, ad_len) */
static __always_inline bool args_gather(struct pt_regs *ctx, struct aead *a)
{
	return ARG(ctx, 0, &a->context) && ARG(ctx, 1, &a->text) && ARG(ctx, 2, &a->nonce) &&
	       ARG(ctx, 5, &a->len) && ARG(ctx, 8, &a->ad) && ARG(ctx, 9, &a->ad_len);
}

/* ring: (result, key, nonce, aad, aad_len, buf, buf_len, open: where the ciphertext begins in buf) */
static __always_inline bool args_ring(struct pt_regs *ctx, bool seal, struct aead *a)
{
	__u64 skip = 0;

	if (!ARG(ctx, 1, &a->context) || !ARG(ctx, 2, &a->nonce) || !ARG(ctx, 3, &a->ad) ||
	    !ARG(ctx, 4, &a->ad_len) || !ARG(ctx, 5, &a->text) || !ARG(ctx, 6, &a->len))
		return false;
	if (!seal && !ARG(ctx, 7, &skip))
		return false;
	a->len -= skip;
	return true;
}

static __always_inline bool args_read(struct pt_regs *ctx, __u64 spec, struct aead *a)
{
	bool seal = AS_TLS_SPEC_KIND(spec) == AS_TLS_KIND_WRITE;

	switch (AS_TLS_SPEC_SHAPE(spec)) {
	case AS_TLS_SHAPE_AEAD:
		return args_whole(ctx, seal, a);
	case AS_TLS_SHAPE_AEAD_SCATTER:
		return args_scatter(ctx, a);
	case AS_TLS_SHAPE_AEAD_GATHER:
		return args_gather(ctx, a);
	case AS_TLS_SHAPE_RING:
		return args_ring(ctx, seal, a);
	default:
		return false;
	}
}

/* ---- what is a record ---- */

/*
 * TLS 1.3: type, version and the length of the ciphertext. TLS 1.2: a sequence number, type, version and
 * the length of the plaintext.
 */
static __always_inline bool is_record(struct aead *a)
{
	bool inner = a->ad_len == 5;
	__u8 header[5];
	__u64 len;

	if ((!inner && a->ad_len != 13) || a->len > RECORD_MAX ||
	    bpf_probe_read_user(header, sizeof(header), (void *)(a->ad + (inner ? 0 : 8))) ||
	    (header[0] != APPLICATION_DATA && header[0] != HANDSHAKE) || header[1] != 3)
		return false;
	a->type = header[0];
	len = header[3] << 8 | header[4];
	if (inner == !!a->tag_len)
		return len == a->len;
	if (inner)
		return len == a->len + TAG_LEN || len == a->len + TAG_SHORT;
	return len + TAG_LEN == a->len || len + TAG_SHORT == a->len;
}

#define WORD        8
#define PADDING_MAX 2048 /* nobody is known to pad; more is counted as shed */
#define ZEROS_ROUND 128

/* @len less words of zeros at the end, or -1. */
__noinline int zeros_skip(__u64 text, __u32 len)
{
	__u64 word;
	int i;

	for (i = 0; i < ZEROS_ROUND / WORD && len > WORD; i++) {
		if (bpf_probe_read_user(&word, sizeof(word), (void *)(text + len - WORD)))
			return -1;
		if (word)
			break;
		len -= WORD;
	}
	return len;
}

/*
 * The length of what TLS 1.3 calls the content: less zeros and the byte of its type before them; 0 when it is
 * of another type. A global function: verified once. Padding is rare, so mostly one word is looked at.
 */
__noinline int content_len(__u64 text, __u32 len)
{
	__u8 last;
	int i, rest = len, before;

	for (i = 0; i < PADDING_MAX / ZEROS_ROUND; i++) {
		before = rest;
		rest = zeros_skip(text, rest);
		if (rest < 0)
			return -1;
		if (before - rest < ZEROS_ROUND)
			break;
	}
	len = rest;
	for (i = 0; i < WORD && len; i++) {
		len--;
		if (bpf_probe_read_user(&last, sizeof(last), (void *)(text + len)))
			return -1;
		if (last)
			return last == APPLICATION_DATA ? len : 0;
	}
	return len ? -1 : 0;
}

/* ---- sessions ---- */

/* A nonce is used once: a second look at it is a function within another one, or another path. */
static __always_inline struct as_tls_session *direction_get(const struct aead *a,
							    struct as_tls_key *key)
{
	struct as_tls_session *s;
	__u64 constant, counted;

	if (bpf_probe_read_user(&constant, sizeof(constant), (void *)a->nonce) ||
	    bpf_probe_read_user(&counted, sizeof(counted), (void *)(a->nonce + 4)))
		return NULL;
	key->ssl = mix64(a->context) ^ mix64(constant);
	s = session_get(key);
	if (!s || s->nonce == counted)
		return NULL;
	s->nonce = counted;
	return s;
}

static __always_inline void record_send(struct as_tls_thread *t, struct as_tls_session *s,
					__u64 text, __u64 len, __u64 spec)
{
	int n = len;

	if (spec & SPEC_INNER)
		n = content_len(text, len);
	if (!n)
		return;
	ledger_add(AS_EV_SSL_DATA, produced, 1);
	if (n < 0 || n > AS_CHUNK_MAX) {
		ledger_add(AS_EV_SSL_DATA, shed, 1);
		return;
	}
	hdr_fill(&t->send.h, AS_EV_SSL_DATA, 0);
	t->send.buf = text;
	t->send.len = n;
	t->send.spec = spec;
	t->send.ssl = 0;
	t->send.stream_id = s->stream_id;
	session_conn(s, &t->send.conn);
	session_begins(s, t);
	piece_send(&t->send, 0);
}

/* In place, so before it is done. The send that follows tells the socket. */
static __always_inline void record_seal(struct as_tls_thread *t, struct as_tls_session *s,
					const struct as_tls_key *key, const struct aead *a,
					__u64 spec)
{
	if (t->pending_ssl != key->ssl) {
		t->pending_ssl = key->ssl;
		t->pending_len = 0;
		t->pending_most = 0;
	}
	t->pending_len += a->len + TAG_SHORT;
	if (a->type == APPLICATION_DATA)
		record_send(t, s, a->text, a->len, spec);
}

static __always_inline void record_open(struct as_tls_thread *t, struct as_tls_session *s,
					const struct as_tls_key *key, const struct aead *a,
					__u64 sp, __u64 spec)
{
	struct as_tls_call *c = &t->calls[t->calls[0].sp > sp];

	if (t->received) {
		tls_session_join(s, &t->conn);
		if (!s->carried)
			tls_session_pair(s, &t->mark, key->tgid);
	}
	if (a->type != APPLICATION_DATA)
		return;
	c->sp = sp;
	c->ssl = key->ssl;
	c->buf = a->text;
	c->num = a->len;
	c->count = a->count;
	c->spec = spec;
}

static __always_inline int aead_enter(struct pt_regs *ctx, __u64 id, __u64 spec)
{
	struct as_tls_key key = {.tgid = id >> 32};
	struct as_tls_session *s;
	struct as_tls_thread *t;
	struct aead a = {};

	spec &= SPEC_INNER - 1;
	if (!args_read(ctx, spec, &a) || !is_record(&a))
		return 0;
	if (a.ad_len == 5)
		spec |= SPEC_INNER;
	tls_hint_set(key.tgid, TLS_HINT_OPENS);
	tls_unsettle(id);
	t = tls_thread_get(id);
	if (!t)
		return 0;
	s = direction_get(&a, &key);
	if (!s)
		return 0;
	if (AS_TLS_SPEC_KIND(spec) == AS_TLS_KIND_WRITE)
		record_seal(t, s, &key, &a, spec);
	else
		record_open(t, s, &key, &a, PT_REGS_SP(ctx), spec);
	return 0;
}

static __always_inline bool call_take(struct as_tls_thread *t, __u64 sp, struct as_tls_call *ret)
{
	if (t->calls[0].sp == sp) {
		*ret = t->calls[0];
		t->calls[0].sp = 0;
	} else if (t->calls[1].sp == sp) {
		*ret = t->calls[1];
		t->calls[1].sp = 0;
	} else {
		return false;
	}
	return true;
}

/* EVP_AEAD_CTX_open says whether the record was genuine. ring's functions leave that to their caller. */
static __always_inline int aead_return(struct pt_regs *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct as_tls_thread *t = bpf_map_lookup_elem(&tls_threads, &id);
	struct as_tls_key key = {.tgid = id >> 32};
	struct as_tls_session *s;
	struct as_tls_call c = {};

	if (!t || !call_take(t, ENTRY_SP(ctx), &c))
		return 0;
	if (AS_TLS_SPEC_SHAPE(c.spec) != AS_TLS_SHAPE_RING && (int)PT_REGS_RC(ctx) != 1)
		return 0;
	if (c.count && bpf_probe_read_user(&c.count, sizeof(c.count), (void *)c.count))
		return 0;
	if (c.count && c.count < c.num)
		c.num = c.count;
	key.ssl = c.ssl;
	s = session_get(&key);
	if (s)
		record_send(t, s, c.buf, c.num, c.spec);
	return 0;
}

/* ---- for uprobe session links ---- */

SEC("uprobe")
int tls_aead_session(struct pt_regs *ctx)
{
	__u64 id = bpf_get_current_pid_tgid(), spec;

	KEEP_ORDINARY_STACK(ctx);
	if (at_return(ctx))
		return aead_return(ctx);
	if (!thread_watched(id))
		return SESSION_ENDS;
	spec = bpf_get_attach_cookie(ctx);
	aead_enter(ctx, id, spec);
	return AS_TLS_SPEC_KIND(spec) == AS_TLS_KIND_READ ? SESSION_GOES_ON : SESSION_ENDS;
}

/* ---- for uprobe multi links ---- */

SEC("uprobe")
int tls_aead_enter(struct pt_regs *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();

	KEEP_ORDINARY_STACK(ctx);
	if (!thread_watched(id))
		return 0;
	return aead_enter(ctx, id, bpf_get_attach_cookie(ctx));
}

SEC("uretprobe")
int tls_aead_leave(struct pt_regs *ctx)
{
	KEEP_ORDINARY_STACK(ctx);
	return aead_return(ctx);
}

/* ---- one program per shape ---- */

SHAPE_PROGRAM(tls_seal_whole, aead_enter, AS_TLS_KIND_WRITE, AS_TLS_SHAPE_AEAD, AS_TLS_FN_AEAD_SEAL)
SHAPE_PROGRAM(tls_seal_scatter, aead_enter, AS_TLS_KIND_WRITE, AS_TLS_SHAPE_AEAD_SCATTER,
	      AS_TLS_FN_AEAD_SEAL_SCATTER)
SHAPE_PROGRAM(tls_seal_ring, aead_enter, AS_TLS_KIND_WRITE, AS_TLS_SHAPE_RING, AS_TLS_FN_RING_SEAL)
SHAPE_PROGRAM(tls_open_whole, aead_enter, AS_TLS_KIND_READ, AS_TLS_SHAPE_AEAD, AS_TLS_FN_AEAD_OPEN)
SHAPE_PROGRAM(tls_open_gather, aead_enter, AS_TLS_KIND_READ, AS_TLS_SHAPE_AEAD_GATHER,
	      AS_TLS_FN_AEAD_OPEN_GATHER)
SHAPE_PROGRAM(tls_open_ring, aead_enter, AS_TLS_KIND_READ, AS_TLS_SHAPE_RING, AS_TLS_FN_RING_OPEN)

SEC("uretprobe")
int tls_open_return(struct pt_regs *ctx)
{
	return aead_return(ctx);
}
