/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * KERNEL < 6.3: sends of TCP and both directions of UDP by kprobes, where the tracepoints
 * sock_send_length and sock_recv_length do not exist. An object of its own, loaded only then, since
 * some kernels have no kprobes. It works on the maps of net.bpf.c.
 *
 * A kernel keeps few returns in wait (5.10: one per processor), so a function that sleeps must not
 * have its return probed where every one counts. tcp_sendmsg() sleeps; it is probed only where net_fexit.bpf.c
 * cannot be. Its bytes come from the socket: a call that is not seen (sendfile and splice too) is part of the
 * next one that is.
 */
#include "lib/sock_used.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Thread -> socket it sends on; what a missed return leaves is written over. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u64);
	__type(value, __u64);
} sending SEC(".maps");

static __always_inline int send_begin(const struct sock *sk)
{
	__u64 thread = bpf_get_current_pid_tgid();
	__u64 addr = (__u64)sk;

	bpf_map_update_elem(&sending, &thread, &addr, BPF_ANY);
	return 0;
}

static __always_inline int send_end(int ret, __u32 how)
{
	__u64 thread = bpf_get_current_pid_tgid();
	__u64 *addr = bpf_map_lookup_elem(&sending, &thread);
	const struct sock *sk;

	if (!addr)
		return 0;
	sk = (const void *)*addr;
	bpf_map_delete_elem(&sending, &thread);
	sock_used(sk, ret, USED_SENT | how);
	return 0;
}

SEC("kprobe/tcp_sendmsg")
int BPF_KPROBE(net_tcp_send, struct sock *sk)
{
	return send_begin(sk);
}

SEC("kretprobe/tcp_sendmsg")
int BPF_KRETPROBE(net_tcp_sent, int ret)
{
	return send_end(ret, 0);
}

/* Only the beginning: how far it is, tcp_rcv_space_adjust tells. */
SEC("kprobe/tcp_recvmsg")
int BPF_KPROBE(net_tcp_recv, struct sock *sk)
{
	receive_begin(sk);
	return 0;
}

SEC("kprobe/udp_sendmsg")
int BPF_KPROBE(net_udp_send, struct sock *sk)
{
	return send_begin(sk);
}

SEC("kretprobe/udp_sendmsg")
int BPF_KRETPROBE(net_udp_sent, int ret)
{
	return send_end(ret, USED_UDP);
}

/* For a v4-mapped peer it calls udp_sendmsg(), whose return takes the entry: counted once. */
SEC("kprobe/udpv6_sendmsg")
int BPF_KPROBE(net_udp6_send, struct sock *sk)
{
	return send_begin(sk);
}

SEC("kretprobe/udpv6_sendmsg")
int BPF_KRETPROBE(net_udp6_sent, int ret)
{
	return send_end(ret, USED_UDP);
}

/* The end of udp_recvmsg() and udpv6_recvmsg(): what was read, or with MSG_PEEK its negative. */
SEC("kprobe/skb_consume_udp")
int BPF_KPROBE(net_udp_recv, struct sock *sk, void *skb, int len)
{
	sock_used(sk, len, USED_UDP);
	return 0;
}
