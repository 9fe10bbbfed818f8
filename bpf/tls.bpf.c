/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Plaintext of TLS calls. User space loads either the two programs for uprobe multi links, which
 * learn from the cookie what was hit, or one program per shape for uprobes of the older kind, whose
 * cookies KERNEL < 5.15 lacks.
 */
#include "lib/tls_calls.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

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

SEC("uprobe")
int tls_enter(struct pt_regs *ctx)
{
	__u64 spec;

	KEEP_ORDINARY_STACK(ctx);
	if (!current_watched())
		return 0;
	spec = bpf_get_attach_cookie(ctx);
	if (AS_TLS_SPEC_KIND(spec) == AS_TLS_KIND_SNI)
		name_enter(ctx);
	else
		call_enter(ctx, spec);
	return 0;
}

SEC("uretprobe")
int tls_leave(struct pt_regs *ctx)
{
	KEEP_ORDINARY_STACK(ctx);
	return call_leave(ctx);
}

/* ---- one program per shape ---- */

SEC("uretprobe")
int tls_return(struct pt_regs *ctx)
{
	return call_leave(ctx);
}

static __always_inline __u64 with_library(struct pt_regs *ctx, __u64 spec)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_attach_cookie))
		return bpf_get_attach_cookie(ctx);
	return spec;
}

#define ENTER(name, kind, shape, function)                                                     \
	SEC("uprobe")                                                                          \
	int name(struct pt_regs *ctx)                                                          \
	{                                                                                      \
		if (!current_watched())                                                        \
			return 0;                                                              \
		return call_enter(ctx, with_library(ctx, AS_TLS_SPEC(kind, shape, function))); \
	}

ENTER(tls_read_int, AS_TLS_KIND_READ, AS_TLS_SHAPE_RET_INT, AS_TLS_FN_SSL_READ)
ENTER(tls_read_arg4, AS_TLS_KIND_READ, AS_TLS_SHAPE_COUNT_ARG4, AS_TLS_FN_SSL_READ_EX)
ENTER(tls_write_int, AS_TLS_KIND_WRITE, AS_TLS_SHAPE_RET_INT, AS_TLS_FN_SSL_WRITE)
ENTER(tls_write_arg4, AS_TLS_KIND_WRITE, AS_TLS_SHAPE_COUNT_ARG4, AS_TLS_FN_SSL_WRITE_EX)
ENTER(tls_write_arg5, AS_TLS_KIND_WRITE, AS_TLS_SHAPE_COUNT_ARG5, AS_TLS_FN_SSL_WRITE_EX)
ENTER(tls_handshake, AS_TLS_KIND_HANDSHAKE, AS_TLS_SHAPE_RET_INT, AS_TLS_FN_SSL_DO_HANDSHAKE)

SEC("uprobe")
int tls_server_name(struct pt_regs *ctx)
{
	if (current_watched())
		name_enter(ctx);
	return 0;
}
