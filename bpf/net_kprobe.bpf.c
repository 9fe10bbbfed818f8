/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * KERNEL < 6.3: sends of TCP and both directions of UDP by kprobes, where the tracepoints
 * sock_send_length and sock_recv_length do not exist. An object of its own, loaded only then, since
 * some kernels have no kprobes. It works on the maps of net.bpf.c.
 *
 * How many bytes TCP sent comes from the socket, so that a call which these probes do not see
 * (sendfile, splice) is part of the next one that they do.
 */
#include "lib/sock.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Thread and direction -> socket of the call it is in; a return that is missed is written over. */
struct call_key {
	__u64 thread;
	__u64 sent;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct call_key);
	__type(value, __u64);
} calls SEC(".maps");

static __always_inline int call_begin(const struct sock *sk, bool sent)
{
	struct call_key key = {.thread = bpf_get_current_pid_tgid(), .sent = sent};
	__u64 addr = (__u64)sk;

	bpf_map_update_elem(&calls, &key, &addr, BPF_ANY);
	return 0;
}

static __always_inline int call_end(int ret, bool sent)
{
	struct call_key key = {.thread = bpf_get_current_pid_tgid(), .sent = sent};
	__u64 *addr = bpf_map_lookup_elem(&calls, &key);
	const struct sock *sk;

	if (!addr)
		return 0;
	sk = (const void *)*addr;
	bpf_map_delete_elem(&calls, &key);
	sock_used(sk, ret, sent);
	return 0;
}

SEC("kprobe/tcp_sendmsg")
int BPF_KPROBE(net_tcp_send, struct sock *sk)
{
	return call_begin(sk, true);
}

SEC("kretprobe/tcp_sendmsg")
int BPF_KRETPROBE(net_tcp_sent, int ret)
{
	return call_end(ret, true);
}

SEC("kprobe/udp_sendmsg")
int BPF_KPROBE(net_udp_send, struct sock *sk)
{
	return call_begin(sk, true);
}

SEC("kretprobe/udp_sendmsg")
int BPF_KRETPROBE(net_udp_sent, int ret)
{
	return call_end(ret, true);
}

/* For a v4-mapped peer it calls udp_sendmsg(), whose return takes the entry: counted once. */
SEC("kprobe/udpv6_sendmsg")
int BPF_KPROBE(net_udp6_send, struct sock *sk)
{
	return call_begin(sk, true);
}

SEC("kretprobe/udpv6_sendmsg")
int BPF_KRETPROBE(net_udp6_sent, int ret)
{
	return call_end(ret, true);
}

#define MSG_PEEK     0x2
#define MSG_ERRQUEUE 0x2000

/*
 * recvmsg(sk, msg, len, [nonblock,] flags, addr_len): the fourth went in 5.19, and addr_len, never
 * NULL, moved into its successor's place; no flags look like a kernel address.
 */
static __always_inline int recv_begin(const struct sock *sk, __u64 arg4, __u64 arg5)
{
	__u32 flags = arg5 >> 32 ? arg4 : arg5;

	if (flags & (MSG_PEEK | MSG_ERRQUEUE))
		return 0;
	return call_begin(sk, false);
}

SEC("kprobe/udp_recvmsg")
int BPF_KPROBE(net_udp_recv, struct sock *sk, void *msg, __u64 len, __u64 arg4, __u64 arg5)
{
	return recv_begin(sk, arg4, arg5);
}

SEC("kretprobe/udp_recvmsg")
int BPF_KRETPROBE(net_udp_recvd, int ret)
{
	return call_end(ret, false);
}

SEC("kprobe/udpv6_recvmsg")
int BPF_KPROBE(net_udp6_recv, struct sock *sk, void *msg, __u64 len, __u64 arg4, __u64 arg5)
{
	return recv_begin(sk, arg4, arg5);
}

SEC("kretprobe/udpv6_recvmsg")
int BPF_KRETPROBE(net_udp6_recvd, int ret)
{
	return call_end(ret, false);
}
