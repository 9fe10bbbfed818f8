// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Programs that do nothing: what is left is the price of being called at all. And programs that record and do
 * nothing else: the least that anybody pays who wants to know when, who and what was done.
 */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tp")
int empty_tp(void *ctx)
{
	return 0;
}

SEC("raw_tp")
int empty_raw_tp(void *ctx)
{
	return 0;
}

SEC("tp_btf/sys_exit")
int empty_tp_btf(void *ctx)
{
	return 0;
}

SEC("uprobe")
int empty_uprobe(void *ctx)
{
	return 0;
}

SEC("uretprobe")
int empty_uretprobe(void *ctx)
{
	return 0;
}

/* ---- recording ---- */

#define ROOM 16384

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} ring SEC(".maps");

struct call {
	__u64 buf;
	__u64 count; /* where the function stores how much it has moved; 0: it returns that */
};

/* Key: bpf_get_current_pid_tgid(). */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, struct call);
} calls SEC(".maps");

struct record {
	__u64 boot_ns;
	__u64 thread;
	__u64 len;
	char comm[16];
};

static __always_inline void record_fill(struct record *r, __u64 len)
{
	r->boot_ns = bpf_ktime_get_boot_ns();
	r->thread = bpf_get_current_pid_tgid();
	r->len = len;
	bpf_get_current_comm(r->comm, sizeof(r->comm));
}

__u64 lost;

static __always_inline struct record *record_reserve(__u64 room)
{
	struct record *r = bpf_ringbuf_reserve(&ring, sizeof(*r) + room, 0);

	if (!r)
		__sync_fetch_and_add(&lost, 1);
	return r;
}

static __always_inline int record_event(void)
{
	struct record *r = record_reserve(0);

	if (!r)
		return 0;
	record_fill(r, 0);
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
	return 0;
}

SEC("tp")
int record_tp(void *ctx)
{
	return record_event();
}

SEC("raw_tp")
int record_raw_tp(void *ctx)
{
	return record_event();
}

static __always_inline int call_begins(struct pt_regs *ctx, __u64 count)
{
	__u64 thread = bpf_get_current_pid_tgid();
	struct call c = {.buf = PT_REGS_PARM2(ctx), .count = count};

	bpf_map_update_elem(&calls, &thread, &c, BPF_ANY);
	return 0;
}

SEC("uprobe")
int record_entry(struct pt_regs *ctx)
{
	return call_begins(ctx, 0);
}

SEC("uprobe")
int record_entry_arg4(struct pt_regs *ctx)
{
	return call_begins(ctx, PT_REGS_PARM4(ctx));
}

SEC("uprobe")
int record_entry_arg5(struct pt_regs *ctx)
{
	return call_begins(ctx, PT_REGS_PARM5(ctx));
}

#define RECORD_TEXT(room)                                            \
	({                                                           \
		struct record *_r = record_reserve(room);            \
		if (_r) {                                            \
			record_fill(_r, n);                          \
			if (n > (room))                              \
				n = (room);                          \
			bpf_probe_read_user(_r + 1, n, (void *)buf); \
			bpf_ringbuf_submit(_r, BPF_RB_NO_WAKEUP);    \
		}                                                    \
		0;                                                   \
	})

static __always_inline int record_text(__u64 buf, __u64 n)
{
	if (n <= 512)
		return RECORD_TEXT(512);
	if (n <= 2048)
		return RECORD_TEXT(2048);
	return RECORD_TEXT(ROOM);
}

SEC("uretprobe")
int record_return(struct pt_regs *ctx)
{
	__u64 thread = bpf_get_current_pid_tgid(), n;
	struct call *c = bpf_map_lookup_elem(&calls, &thread);
	int ret = PT_REGS_RC(ctx);

	if (!c || ret <= 0)
		return 0;
	n = ret;
	if (c->count)
		bpf_probe_read_user(&n, sizeof(n), (void *)c->count);
	return record_text(c->buf, n);
}

/* What a write is asked for, whether it does that or not. */
SEC("uprobe")
int record_asked(struct pt_regs *ctx)
{
	__u32 n = PT_REGS_PARM3(ctx);

	return record_text(PT_REGS_PARM2(ctx), n);
}
