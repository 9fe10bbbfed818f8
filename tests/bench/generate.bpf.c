// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Fills the ring of the events with network records as fast as a processor can, from
 * BPF_PROG_TEST_RUN: no system call per record, so that what is measured is the reader.
 */
#include "lib/emit.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define RECORDS_MAX 100
#define COPY_BYTES  256

static __always_inline void fill_ends(struct as_addr *local, struct as_addr *remote, __u32 i)
{
	__builtin_memset(local->ip, 0, sizeof(local->ip));
	local->ip[10] = local->ip[11] = 0xff;
	local->ip[12] = 127;
	local->ip[15] = 1;
	local->port = 40000 + i;
	local->family = 2;
	*remote = *local;
	remote->ip[15] = i;
	remote->port = 443;
}

static __always_inline void generate_connect(__u32 i)
{
	struct as_connect *e = event_reserve(&ring_events, AS_EV_CONNECT, sizeof(*e));

	if (!e)
		return;
	hdr_fill(&e->h, AS_EV_CONNECT, sizeof(*e));
	fill_ends(&e->local, &e->remote, i);
	e->conn_id = i;
	e->latency_ns = 1000 * i;
	e->error = 0;
	e->protocol = AS_PROTO_TCP;
	event_submit(&ring_events, e);
}

static __always_inline void generate_io(__u32 type, __u32 i)
{
	struct as_net_io *e = event_reserve(&ring_events, type, sizeof(*e));

	if (!e)
		return;
	hdr_fill(&e->h, type, sizeof(*e));
	fill_ends(&e->local, &e->remote, i);
	e->conn_id = i;
	e->bytes = 100 * i;
	e->protocol = AS_PROTO_TCP;
	e->pad = 0;
	event_submit(&ring_events, e);
}

SEC("raw_tp/sys_enter")
int generate(__u64 *ctx)
{
	__u32 n = ctx[0], i;

	for (i = 0; i < RECORDS_MAX; i++) {
		if (i >= n)
			return 0;
		if (i % 4 == 0)
			generate_connect(i);
		else
			generate_io(i & 1 ? AS_EV_SEND : AS_EV_RECV, i);
	}
	return 0;
}

/* What a ring can carry at all: records copied from user memory, neither ledger nor header. */
SEC("raw_tp/sys_enter")
int copy(__u64 *ctx)
{
	__u32 n = ctx[0], i;

	for (i = 0; i < RECORDS_MAX; i++) {
		void *rec;

		if (i >= n)
			return 0;
		rec = bpf_ringbuf_reserve(&ring_events, COPY_BYTES, 0);
		if (!rec)
			return 0;
		bpf_probe_read_user(rec, COPY_BYTES, (void *)ctx[1]);
		bpf_ringbuf_submit(rec, wakeup_flags(&ring_events));
	}
	return 0;
}
