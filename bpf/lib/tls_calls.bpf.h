/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * From a call of a C library to records with its plaintext: what all attach types share.
 *
 * The entry stores the arguments, the return program copies the buffer, when it is resident and
 * holds what was really read or written. A call is found again by the thread's stack pointer: so a
 * function probed twice (two paths to one file under overlayfs) is recorded once, and a TLS session
 * carried inside another one (an HTTPS proxy) is two calls at a time.
 */
#ifndef AGENTSIGHT_BPF_TLS_CALLS_H
#define AGENTSIGHT_BPF_TLS_CALLS_H

#include "tls_data.bpf.h"

/* Given to a session. Where the end of its object is not seen, the next one may have the same address. */
#define NAME_MAX_NS (30 * 1000000000ULL)

struct server_name {
	__u64 boot_ns;
	char text[AS_SERVER_NAME_MAX];
};

static const struct server_name name_none; /* too large for the stack */

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 2048);
	__type(key, struct as_tls_key);
	__type(value, struct server_name);
} tls_names SEC(".maps");

/* What a session has agreed to speak. */
struct alpn {
	__u32 len; /* may be more than is kept */
	char text[AS_ALPN_MAX];
};

/* What programs were told when they asked for it; see as_tls_session.asked_alpn. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 2048);
	__type(key, struct as_tls_key);
	__type(value, struct alpn);
} tls_alpns SEC(".maps");

/* The session's entry, made when there is none, once it knows the socket that the call has used. */
static __always_inline struct as_tls_session *session_used(const struct as_tls_key *key,
							   const struct as_tls_thread *t)
{
	struct as_tls_session *s = session_get(key);

	if (s && t->bound == AS_TLS_BOUND)
		tls_session_bind(s, t);
	return s;
}

#define NSPR_PEEK 0x2 /* PR_MSG_PEEK */

/* What GnuTLS says of a call that is to be tried again; the last two of a handshake only. */
#define GNUTLS_E_AGAIN                  (-28)
#define GNUTLS_E_INTERRUPTED            (-52)
#define GNUTLS_E_WARNING_ALERT_RECEIVED (-16)
#define GNUTLS_E_GOT_APPLICATION_DATA   (-38)

/* How many bytes the call moved; 0 when it failed or has to be tried again. */
static __always_inline __u64 data_count(const struct as_tls_call *c, long ret)
{
	__u32 shape = AS_TLS_SPEC_SHAPE(c->spec);
	int value = ret;
	__u64 n = value;

	if (shape == AS_TLS_SHAPE_RET_SSIZE)
		return ret > 0 ? ret : 0;
	if (value <= 0)
		return 0;
	if (shape == AS_TLS_SHAPE_RET_INT || shape == AS_TLS_SHAPE_RET_INT_FLAGS)
		return n;
	if (value != 1)
		return 0;
	if (bpf_probe_read_user(&n, sizeof(n), (void *)c->count)) {
		ledger_add(AS_EV_SSL_DATA, produced, 1);
		ledger_add(AS_EV_SSL_DATA, shed, 1);
		return 0;
	}
	return n;
}

/*
 * GnuTLS has taken the bytes when it says "again", how many cannot be told yet, and is called with or without them
 * then. Without, that is, with none to send, the first call's buffer may hold something else by now: how many they
 * were is all that is told.
 */
static __always_inline void data_retry(const struct as_tls_key *key, struct as_tls_call *c,
				       long ret)
{
	struct as_tls_session *s = session_get(key);

	if (!s)
		return;
	if (ret == GNUTLS_E_AGAIN || ret == GNUTLS_E_INTERRUPTED) {
		if (c->num)
			s->kept_num = c->num;
		return;
	}
	if (!c->num && ret > 0)
		c->num = s->kept_num;
	s->kept_num = 0;
}

/* ---- what a session has agreed upon ---- */

static __always_inline bool alpn_read(struct alpn *ret, __u64 text, __u64 len)
{
	__u64 n = len;

	if (!len || len > 255)
		return false;
	ret->len = len;
	barrier_var(n);
	if (n > AS_ALPN_MAX)
		n = AS_ALPN_MAX;
	return !bpf_probe_read_user(ret->text, n, (void *)text);
}

#define EACH_BYTE(b) (0x01010101U * (b))

/* Printable ASCII only; four bytes at a time, which spares the verifier three rounds of four. */
static __always_inline bool alpn_is_text(const struct alpn *alpn)
{
	int i;

#pragma unroll
	for (i = 0; i < AS_ALPN_MAX; i += 4) {
		__u32 four = *(const __u32 *)&alpn->text[i], keep = ~0U;

		if (alpn->len <= i)
			break;
		if (alpn->len < i + 4)
			keep >>= 8 * (i + 4 - alpn->len);
		four = (four & keep) | (EACH_BYTE(' ') & ~keep);
		/* below a space; DEL; above ASCII */
		if ((((four - EACH_BYTE(' ')) & ~four) | (four + EACH_BYTE(1)) | four) &
		    EACH_BYTE(0x80))
			return false;
	}
	return true;
}

/* Since 3.2 an SSL object begins with its type, before with its version. QUIC's are other objects. */
#define SSL_TYPE_SSL_CONNECTION 0

/*
 * From where the library's own accessor takes it (see source/tls_sites.c), if it can be one: another
 * build of the library may have been loaded under the file's name.
 */
static __always_inline bool alpn_read_at(struct alpn *ret, __u64 ssl, __u32 offset)
{
	__u64 field[2] = {}; /* pointer and length */
	int type = -1;

	if (!offset || bpf_probe_read_user(&type, sizeof(type), (void *)ssl) ||
	    (type != SSL_TYPE_SSL_CONNECTION && (type & ~0xff) != 0x0300) ||
	    bpf_probe_read_user(field, sizeof(field), (void *)(ssl + offset)) ||
	    !alpn_read(ret, field[0], field[1]))
		return false;
	return alpn_is_text(ret);
}

static __always_inline struct as_span alpn_span(const struct alpn *alpn, __u32 off)
{
	struct as_span span = {.off = off, .full = alpn->len};

	span.len = alpn->len < AS_ALPN_MAX ? alpn->len : AS_ALPN_MAX;
	return span;
}

static __always_inline struct server_name *name_find(const struct as_tls_key *key)
{
	struct server_name *name = bpf_map_lookup_elem(&tls_names, key);

	return name && bpf_ktime_get_boot_ns() - name->boot_ns < NAME_MAX_NS ? name : NULL;
}

/* The name is told once; see NAME_MAX_NS. */
static __always_inline long name_take(const struct as_tls_key *key, char *to)
{
	struct server_name *name = name_find(key);
	long n;

	if (!name)
		return 0;
	n = bpf_probe_read_kernel_str(to, AS_SERVER_NAME_MAX, name->text);
	bpf_map_delete_elem(&tls_names, key);
	return n > 0 ? n - 1 : 0;
}

/* The protocol lies at the beginning, since it has a fixed place there. */
struct session_texts {
	char alpn[AS_ALPN_MAX];
	char name[AS_SERVER_NAME_MAX];
};

static __always_inline void session_emit(const struct as_tls_key *key,
					 const struct as_tls_session *s,
					 const struct as_tls_send *send, const struct alpn *alpn)
{
	struct session_texts *texts;
	struct as_ssl_session *e;
	long n;

	e = event_reserve(&ring_events, AS_EV_SSL_SESSION, sizeof(*e) + sizeof(*texts));
	if (!e)
		return;
	texts = (void *)(e + 1);
	e->h = send->h;
	e->h.type = AS_EV_SSL_SESSION;
	e->h.boot_ns--; /* in front of the call */
	session_conn(s, &e->conn);
	e->stream_id = s->stream_id;
	e->library = AS_TLS_SPEC_LIBRARY(send->spec);
	e->pad = 0;
	__builtin_memcpy(texts->alpn, alpn->text, sizeof(texts->alpn));
	e->alpn = alpn_span(alpn, sizeof(*e));
	n = name_take(key, texts->name);
	e->server_name =
		(struct as_span){.off = sizeof(*e) + sizeof(texts->alpn), .len = n, .full = n};
	e->h.len = sizeof(*e) + sizeof(texts->alpn) + n;
	event_submit(&ring_events, e);
}

/* A stream's first call, or the first since the program has asked for the protocol. */
static __noinline int session_tell(const struct as_tls_key *key, struct as_tls_session *s,
				   const struct as_tls_send *send)
{
	bool asked = s->asked_alpn && s->told_alpn != s->stream_id;
	bool first = s->told != s->stream_id;
	struct alpn alpn = {}, *answer;

	s->asked_alpn = 0;
	s->told = s->stream_id;
	if (asked) {
		answer = bpf_map_lookup_elem(&tls_alpns, key);
		if (answer)
			alpn = *answer;
	} else if (first && s->told_alpn != s->stream_id &&
		   !alpn_read_at(&alpn, key->ssl, AS_TLS_SPEC_ALPN_AT(send->spec))) {
		alpn.len = 0;
	}
	if (!alpn.len && (!first || !name_find(key)))
		return 0;
	if (alpn.len)
		s->told_alpn = s->stream_id;
	session_emit(key, s, send, &alpn);
	return 0;
}

/* Do stream and conn of the thread's last call hold for this one? They were those of the socket in `mark`. */
static __always_inline bool session_same(const struct as_tls_thread *t, __u64 ssl)
{
	return t->send.ssl == ssl && t->bound != AS_TLS_NESTED && t->send.changes == tls_changes();
}

/* Which stream and connection the call belongs to. */
static __always_inline void data_session(const struct as_tls_key *key, struct as_tls_thread *t)
{
	struct as_tls_session *s;

	if (session_same(t, key->ssl))
		return;
	t->send.ssl = 0;
	t->send.changes = tls_changes(); /* before it is looked at */
	s = session_used(key, t);
	session_conn(s, &t->send.conn);
	t->send.stream_id = 0;
	if (!s)
		return;
	session_check(s, key);
	if (s->asked_alpn || s->told != s->stream_id)
		session_tell(key, s, &t->send);
	session_begins(s, t);
	t->send.stream_id = s->stream_id;
	if (t->bound == AS_TLS_BOUND)
		t->send.ssl = key->ssl;
}

/* A call without a buffer: what it moved is a gap. */
static __noinline int piece_gap(const struct as_tls_send *send)
{
	struct as_ssl_data *e = bpf_ringbuf_reserve(&ring_data, sizeof(*e), 0);

	if (!e) {
		ledger_add(AS_EV_SSL_DATA, dropped, 1);
		return 0;
	}
	piece_fill(e, send, 0, 0);
	piece_unread(e);
	event_submit(&ring_data, e);
	return 0;
}

#define RECORD_MAX   16384
#define RECORD_ADDS  13   /* a header and the shortest tag */
#define WRITES_ADDED 1024 /* what else may be sent first: the end of the handshake, tickets */

/*
 * Over memory: how much of it the next send has. A full socket takes a part, but hardly less than a record; what was
 * written since the last send is sent together, with all that its records add.
 */
static __always_inline void write_pending(struct as_tls_thread *t, __u64 ssl, __u64 n)
{
	__u64 most = n + n / 8 + WRITES_ADDED;

	if (t->bound) {
		t->pending_ssl = 0;
		return;
	}
	if (t->pending_ssl == ssl)
		most += t->pending_most;
	t->pending_ssl = ssl;
	t->pending_len = (n < RECORD_MAX ? n : RECORD_MAX) + RECORD_ADDS;
	t->pending_most = most < 0xffffffff ? most : 0xffffffff;
}

static __always_inline void data_leave(__u64 id, struct as_tls_thread *t, struct as_tls_call *c,
				       long ret)
{
	struct as_tls_key key = {.tgid = id >> 32, .ssl = c->ssl};
	__u64 n = data_count(c, ret);

	if (AS_TLS_SPEC_SHAPE(c->spec) == AS_TLS_SHAPE_RET_SSIZE &&
	    AS_TLS_SPEC_KIND(c->spec) == AS_TLS_KIND_WRITE)
		data_retry(&key, c, ret);

	/* more than was asked for: not the function that it was taken for */
	if (!n || n > c->num) {
		if (t->bound == AS_TLS_BOUND && !session_same(t, c->ssl))
			session_used(&key, t);
		return;
	}
	if (AS_TLS_SPEC_KIND(c->spec) == AS_TLS_KIND_WRITE)
		write_pending(t, c->ssl, n);

	hdr_fill_thread(&t->send.h, AS_EV_SSL_DATA, 0, id);
	t->send.buf = c->buf;
	t->send.len = n;
	t->send.spec = c->spec;
	data_session(&key, t);
	ledger_add(AS_EV_SSL_DATA, produced, 1);
	if (c->buf)
		data_send(id, t);
	else
		piece_gap(&t->send);
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

/* A session whose socket still lives shakes hands again; else its object may be another's by now. */
static __always_inline void handshake_enter(const struct as_tls_key *key)
{
	struct as_tls_session *s = session_get(key);

	if (!s || s->handshake_ns)
		return;
	s->handshake_ns = bpf_ktime_get_boot_ns();
	if (!s->carried)
		return;
	if (tls_session_lives(s)) {
		session_check(s, key);
		return;
	}
	s->joined = 0;
	s->first_ns = 0;
	tls_changed();
}

enum handshake_result {
	HANDSHAKE_PENDING,
	HANDSHAKE_DONE,
	HANDSHAKE_FAILED,
};

static __always_inline enum handshake_result gnutls_result(int ret)
{
	if (!ret)
		return HANDSHAKE_DONE;
	if (ret == GNUTLS_E_AGAIN || ret == GNUTLS_E_INTERRUPTED ||
	    ret == GNUTLS_E_WARNING_ALERT_RECEIVED || ret == GNUTLS_E_GOT_APPLICATION_DATA)
		return HANDSHAKE_PENDING;
	return HANDSHAKE_FAILED;
}

/* Failed for good, or to be tried when the socket is ready? Unknown layouts: only when told so. */
static __always_inline enum handshake_result openssl_result(const struct ssl_st *ssl, __u32 version,
							    int ret)
{
	if (ret == 1)
		return HANDSHAKE_DONE;
	if (ret == 0 || (ret < 0 && version && ssl->rwstate == SSL_NOTHING))
		return HANDSHAKE_FAILED;
	return HANDSHAKE_PENDING;
}

static __always_inline void handshake_emit(const struct as_tls_key *key,
					   const struct as_tls_session *s, __u64 spec,
					   __u32 version, bool failed, const struct alpn *alpn)
{
	struct session_texts *texts;
	struct as_ssl_handshake *e;
	long n;

	e = event_reserve(&ring_events, AS_EV_SSL_HANDSHAKE, sizeof(*e) + sizeof(*texts));
	if (!e)
		return;
	texts = (void *)(e + 1);
	hdr_fill(&e->h, AS_EV_SSL_HANDSHAKE, 0);
	session_conn(s, &e->conn);
	e->stream_id = s->stream_id;
	e->latency_ns = e->h.boot_ns - s->handshake_ns;
	e->version = version;
	e->failed = failed;
	e->library = AS_TLS_SPEC_LIBRARY(spec);
	e->pad = 0;
	__builtin_memcpy(texts->alpn, alpn->text, sizeof(texts->alpn));
	e->alpn = alpn_span(alpn, sizeof(*e));
	n = name_take(key, texts->name);
	e->server_name =
		(struct as_span){.off = sizeof(*e) + sizeof(texts->alpn), .len = n, .full = n};
	e->h.len = sizeof(*e) + sizeof(texts->alpn) + n;
	event_submit(&ring_events, e);
}

/* Tells of the handshake; what the program asked in its course was not settled yet. */
static __noinline int handshake_tell(const struct as_tls_key *key, struct as_tls_session *s,
				     __u64 spec, __u32 version, bool failed)
{
	struct alpn alpn = {};

	if (failed || !alpn_read_at(&alpn, key->ssl, AS_TLS_SPEC_ALPN_AT(spec)))
		alpn.len = 0;
	s->asked_alpn = 0;
	s->told = s->stream_id;
	s->told_alpn = alpn.len ? s->stream_id : 0;
	handshake_emit(key, s, spec, version, failed, &alpn);
	return 0;
}

static __always_inline void handshake_leave(__u64 id, const struct as_tls_thread *t,
					    const struct as_tls_call *c, int ret)
{
	struct as_tls_key key = {.tgid = id >> 32, .ssl = c->ssl};
	struct as_tls_session *s = session_used(&key, t);
	enum handshake_result result;
	struct ssl_st ssl = {};
	__u32 version = 0;

	if (!s || !s->handshake_ns)
		return;
	if (AS_TLS_SPEC_SHAPE(c->spec) == AS_TLS_SHAPE_RET_SSIZE) {
		result = gnutls_result(ret);
	} else {
		bpf_probe_read_user(&ssl, sizeof(ssl), (void *)c->ssl);
		version = ssl.version >= 0x0300 && ssl.version <= 0x0304 ? ssl.version : 0;
		result = openssl_result(&ssl, version, ret);
	}
	if (result == HANDSHAKE_PENDING)
		return;
	if ((s->carried || s->established) &&
	    bpf_ktime_get_boot_ns() - s->handshake_ns < HANDSHAKE_MIN_NS) {
		s->handshake_ns = 0;
		return;
	}
	if (s->carried && !(s->joined && s->ports == session_ports(s)))
		s->stream_id = stream_number(&key);
	handshake_tell(&key, s, c->spec, version, result == HANDSHAKE_FAILED);
	s->established = result == HANDSHAKE_DONE;
	s->carried = 0;
	s->handshake_ns = 0;
	tls_changed();
}

/* ---- the end of a session's object ---- */

/*
 * What comes to lie at its address is another session. An object of which there are more references goes on, and is
 * told as another one. A handshake that its peer has ended waits for the socket as far as OpenSSL says, so
 * that it has failed shows here.
 */
static __always_inline int free_enter(struct pt_regs *ctx, __u64 id, __u64 spec)
{
	struct as_tls_key key = {.tgid = id >> 32, .ssl = PT_REGS_PARM1(ctx)};
	struct as_tls_thread *t = bpf_map_lookup_elem(&tls_threads, &id);
	struct as_tls_session *s = bpf_map_lookup_elem(&tls_sessions, &key);

	if (t && t->pending_ssl == key.ssl)
		t->pending_ssl = 0;
	if (s && s->handshake_ns && !s->established && !s->carried)
		handshake_tell(&key, s, spec, 0, true);
	bpf_map_delete_elem(&tls_sessions, &key);
	bpf_map_delete_elem(&tls_names, &key);
	bpf_map_delete_elem(&tls_alpns, &key);
	tls_changed();
	return 0;
}

/* ---- the question what was negotiated ---- */

/* The answer of SSL_get0_alpn_selected(ssl, &text, &len) or gnutls_alpn_get_selected_protocol(session, &datum). */
static __always_inline void alpn_leave(__u64 id, const struct as_tls_call *c, int ret)
{
	struct as_tls_key key = {.tgid = id >> 32, .ssl = c->ssl};
	struct as_tls_session *s;
	struct alpn alpn = {};
	__u64 text;
	__u32 len;

	if (AS_TLS_SPEC_SHAPE(c->spec) == AS_TLS_SHAPE_RET_SSIZE && ret)
		return;
	if (bpf_probe_read_user(&text, sizeof(text), (void *)c->buf) ||
	    bpf_probe_read_user(&len, sizeof(len), (void *)c->count) ||
	    !alpn_read(&alpn, text, len))
		return;
	s = session_get(&key);
	if (!s || bpf_map_update_elem(&tls_alpns, &key, &alpn, BPF_ANY))
		return;
	s->asked_alpn = 1;
	tls_changed();
}

/* ---- the two ends of a call ---- */

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
	/* who peeks reads the same again: it has no room, so data_leave() passes over it */
	if (AS_TLS_SPEC_SHAPE(spec) == AS_TLS_SHAPE_RET_INT_FLAGS)
		c->num = num > 0 && !(arg4 & NSPR_PEEK) ? num : 0;
	c->count = AS_TLS_SPEC_SHAPE(spec) == AS_TLS_SHAPE_COUNT_ARG5 ? arg5 : arg4;
	c->spec = spec;
	if (AS_TLS_SPEC_KIND(spec) == AS_TLS_KIND_SENDFILE) {
		c->buf = 0;
		c->num = arg4;
	}
}

/*
 * SSL_set_tlsext_host_name() is SSL_ctrl(ssl, 55, 0, name). The other one is
 * gnutls_server_name_set(session, 1, name, length).
 */
static __always_inline bool name_is_given(struct pt_regs *ctx, __u64 spec)
{
	if (AS_TLS_SPEC_SHAPE(spec) == AS_TLS_SHAPE_CTRL)
		return (int)PT_REGS_PARM2(ctx) == 55 && PT_REGS_PARM3(ctx) == 0;
	return (int)PT_REGS_PARM2(ctx) == 1;
}

/* How long it is. None, which takes an earlier one back, is a name at NULL or of no length. */
static __always_inline long name_read(struct pt_regs *ctx, __u64 spec, struct server_name *ret)
{
	__u64 len = PT_REGS_PARM4(ctx);

	if (AS_TLS_SPEC_SHAPE(spec) == AS_TLS_SHAPE_CTRL)
		return bpf_probe_read_user_str(ret->text, sizeof(ret->text), (void *)len) - 1;
	barrier_var(len);
	if (len >= sizeof(ret->text) ||
	    bpf_probe_read_user(ret->text, len, (void *)PT_REGS_PARM3(ctx)))
		return -1;
	return len;
}

/* Names are given before the handshake: one that has begun is of who had this address before. */
static __noinline int handshake_not_begun(const struct as_tls_key *key)
{
	struct as_tls_session *s = bpf_map_lookup_elem(&tls_sessions, key);

	if (s)
		s->handshake_ns = 0;
	return 0;
}

static __always_inline void name_enter(struct pt_regs *ctx, __u64 spec)
{
	struct as_tls_key key = {.ssl = PT_REGS_PARM1(ctx)};
	struct server_name *name;

	if (!name_is_given(ctx, spec))
		return;
	key.tgid = bpf_get_current_pid_tgid() >> 32;
	bpf_map_update_elem(&tls_names, &key, &name_none, BPF_ANY);
	name = bpf_map_lookup_elem(&tls_names, &key);
	if (!name)
		return;
	name->boot_ns = bpf_ktime_get_boot_ns();
	if (name_read(ctx, spec, name) <= 0) {
		bpf_map_delete_elem(&tls_names, &key);
		return;
	}
	handshake_not_begun(&key);
}

static __always_inline int call_enter(struct pt_regs *ctx, __u64 id, __u64 spec)
{
	struct as_tls_key key = {.tgid = id >> 32};
	struct as_tls_thread *t;
	struct as_tls_call *c;

	t = tls_thread_get(id);
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
	if (!c->num)
		c->buf = 0; /* see data_retry() */

	tls_unsettle(id);
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

/* Not a call that moves bytes: the thread stays with the session it is busy with. */
static __always_inline int alpn_enter(struct pt_regs *ctx, __u64 id, __u64 spec)
{
	struct as_tls_thread *t = tls_thread_get(id);
	struct as_tls_call *c;

	if (!t)
		return 0;
	c = &t->calls[t->calls[0].sp > PT_REGS_SP(ctx)];
	call_store(c, ctx, spec);
	/* a datum is the pointer and an unsigned length */
	c->count = AS_TLS_SPEC_SHAPE(spec) == AS_TLS_SHAPE_RET_SSIZE ? PT_REGS_PARM2(ctx) + 8
								     : PT_REGS_PARM3(ctx);
	return 0;
}

/* On x86 the return has taken its address from the stack. */
#if defined(__TARGET_ARCH_arm64)
#define ENTRY_SP(ctx) PT_REGS_SP(ctx)
#else
#define ENTRY_SP(ctx) (PT_REGS_SP(ctx) - 8)
#endif

#define KIND_IN_COOKIE -1

/* @kind: what is known of the function at its return. */
static __always_inline int call_leave(struct pt_regs *ctx, int kind)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct as_tls_thread *t = bpf_map_lookup_elem(&tls_threads, &id);
	__u64 sp = ENTRY_SP(ctx);
	struct as_tls_call c;

	if (!t) {
		if (kind == KIND_IN_COOKIE)
			kind = AS_TLS_SPEC_KIND(bpf_get_attach_cookie(ctx));
		return kind == AS_TLS_KIND_ALPN ? 0 : call_unknown(PT_REGS_RC(ctx));
	}
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
	else if (AS_TLS_SPEC_KIND(c.spec) == AS_TLS_KIND_ALPN)
		alpn_leave(id, &c, PT_REGS_RC(ctx));
	else
		data_leave(id, t, &c, PT_REGS_RC(ctx));
	if (t->ssl && t->bound)
		t->bound = AS_TLS_NESTED;
	return 0;
}

#endif
