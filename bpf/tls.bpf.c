/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Plaintext of TLS calls. User space loads the program for uprobe session links, or the two for uprobe multi
 * links, which learn from the cookie what was hit, or one program per shape for uprobes of the
 * older kind, whose cookies KERNEL < 5.15 lacks.
 */
#include "lib/tls_calls.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline enum session_verdict site_enter(struct pt_regs *ctx)
{
	__u64 id = bpf_get_current_pid_tgid(), spec;

	if (!thread_watched(id))
		return SESSION_ENDS;
	spec = bpf_get_attach_cookie(ctx);
	if (AS_TLS_SPEC_KIND(spec) == AS_TLS_KIND_SNI) {
		name_enter(ctx, spec);
		return SESSION_ENDS;
	}
	if (AS_TLS_SPEC_KIND(spec) == AS_TLS_KIND_FREE) {
		free_enter(ctx, id, spec);
		return SESSION_ENDS;
	}
	if (AS_TLS_SPEC_KIND(spec) == AS_TLS_KIND_ALPN)
		alpn_enter(ctx, id, spec);
	else
		call_enter(ctx, id, spec);
	return SESSION_GOES_ON;
}

/*
 * For uprobe session links: both ends. A return is prepared only where its entry asks for it, so who is not
 * watched pays for a look at the entry alone.
 */
SEC("uprobe")
int tls_session(struct pt_regs *ctx)
{
	KEEP_ORDINARY_STACK(ctx);
	if (at_return(ctx))
		return call_leave(ctx, KIND_IN_COOKIE);
	return site_enter(ctx);
}

/* For uprobe multi links. */
SEC("uprobe")
int tls_enter(struct pt_regs *ctx)
{
	KEEP_ORDINARY_STACK(ctx);
	site_enter(ctx);
	return 0;
}

SEC("uretprobe")
int tls_leave(struct pt_regs *ctx)
{
	KEEP_ORDINARY_STACK(ctx);
	return call_leave(ctx, KIND_IN_COOKIE);
}

/* ---- one program per shape ---- */

SEC("uretprobe")
int tls_return(struct pt_regs *ctx)
{
	return call_leave(ctx, AS_TLS_KIND_READ);
}

SEC("uretprobe")
int tls_alpn_return(struct pt_regs *ctx)
{
	return call_leave(ctx, AS_TLS_KIND_ALPN);
}

SHAPE_PROGRAM(tls_read_int, call_enter, AS_TLS_KIND_READ, AS_TLS_SHAPE_RET_INT, AS_TLS_FN_SSL_READ)
SHAPE_PROGRAM(tls_read_flags, call_enter, AS_TLS_KIND_READ, AS_TLS_SHAPE_RET_INT_FLAGS,
	      AS_TLS_FN_NSS_RECV)
SHAPE_PROGRAM(tls_write_flags, call_enter, AS_TLS_KIND_WRITE, AS_TLS_SHAPE_RET_INT_FLAGS,
	      AS_TLS_FN_NSS_SEND)
SHAPE_PROGRAM(tls_read_arg4, call_enter, AS_TLS_KIND_READ, AS_TLS_SHAPE_COUNT_ARG4,
	      AS_TLS_FN_SSL_READ_EX)
SHAPE_PROGRAM(tls_write_int, call_enter, AS_TLS_KIND_WRITE, AS_TLS_SHAPE_RET_INT,
	      AS_TLS_FN_SSL_WRITE)
SHAPE_PROGRAM(tls_write_arg4, call_enter, AS_TLS_KIND_WRITE, AS_TLS_SHAPE_COUNT_ARG4,
	      AS_TLS_FN_SSL_WRITE_EX)
SHAPE_PROGRAM(tls_write_arg5, call_enter, AS_TLS_KIND_WRITE, AS_TLS_SHAPE_COUNT_ARG5,
	      AS_TLS_FN_SSL_WRITE_EX)
SHAPE_PROGRAM(tls_read_ssize, call_enter, AS_TLS_KIND_READ, AS_TLS_SHAPE_RET_SSIZE,
	      AS_TLS_FN_GNUTLS_RECV)
SHAPE_PROGRAM(tls_write_ssize, call_enter, AS_TLS_KIND_WRITE, AS_TLS_SHAPE_RET_SSIZE,
	      AS_TLS_FN_GNUTLS_SEND)
SHAPE_PROGRAM(tls_handshake, call_enter, AS_TLS_KIND_HANDSHAKE, AS_TLS_SHAPE_RET_INT,
	      AS_TLS_FN_SSL_DO_HANDSHAKE)
SHAPE_PROGRAM(tls_handshake_ssize, call_enter, AS_TLS_KIND_HANDSHAKE, AS_TLS_SHAPE_RET_SSIZE,
	      AS_TLS_FN_GNUTLS_HANDSHAKE)

SHAPE_PROGRAM(tls_sendfile, call_enter, AS_TLS_KIND_SENDFILE, AS_TLS_SHAPE_RET_SSIZE,
	      AS_TLS_FN_SSL_SENDFILE)
SHAPE_PROGRAM(tls_free, free_enter, AS_TLS_KIND_FREE, AS_TLS_SHAPE_RET_INT, 0)
SHAPE_PROGRAM(tls_alpn_int, alpn_enter, AS_TLS_KIND_ALPN, AS_TLS_SHAPE_RET_INT, 0)
SHAPE_PROGRAM(tls_alpn_ssize, alpn_enter, AS_TLS_KIND_ALPN, AS_TLS_SHAPE_RET_SSIZE, 0)

#define NAME(name, shape)                                                        \
	SEC("uprobe")                                                            \
	int name(struct pt_regs *ctx)                                            \
	{                                                                        \
		if (current_watched())                                           \
			name_enter(ctx, AS_TLS_SPEC(AS_TLS_KIND_SNI, shape, 0)); \
		return 0;                                                        \
	}

NAME(tls_name_ctrl, AS_TLS_SHAPE_CTRL)
NAME(tls_name_ssize, AS_TLS_SHAPE_RET_SSIZE)
