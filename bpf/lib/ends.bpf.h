/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Reading a socket: its protocol, and the addresses of its two ends. */
#ifndef AGENTSIGHT_BPF_ENDS_H
#define AGENTSIGHT_BPF_ENDS_H

#include "maps.bpf.h"
#include <bpf/bpf_endian.h>

#define AF_INET  2
#define AF_INET6 10

/* a bit of skc_flags, enum sock_flags of the kernel */
#define SK_DEAD (1UL << 0) /* no process holds it any more */

#define SOCK_STREAM 1
#define SOCK_DGRAM  2

#define PROTO_MPTCP 262

/*
 * AS_PROTO_TCP, AS_PROTO_UDP or PROTO_MPTCP over IP, else 0. Netlink uses the same numbers for other things, a raw
 * socket for what it receives.
 */
static __always_inline __u16 sock_protocol(const struct sock *sk)
{
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);
	__u16 protocol, type;

	if (family != AF_INET && family != AF_INET6)
		return 0;
	protocol = BPF_CORE_READ(sk, sk_protocol);
	type = BPF_CORE_READ(sk, sk_type);
	if (protocol == AS_PROTO_TCP || protocol == PROTO_MPTCP)
		return type == SOCK_STREAM ? protocol : 0;
	return protocol == AS_PROTO_UDP && type == SOCK_DGRAM ? protocol : 0;
}

/* skc_num is already 0 at the transition to CLOSE, inet_sport is not. */
static __always_inline __u16 sock_local_port(const struct sock *sk)
{
	return bpf_ntohs(BPF_CORE_READ((const struct inet_sock *)sk, inet_sport));
}

static __always_inline __u16 sock_remote_port(const struct sock *sk)
{
	return bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
}

static __always_inline void addr_set_v4(struct as_addr *addr, __be32 ip)
{
	__builtin_memset(addr->ip, 0, sizeof(addr->ip));
	addr->ip[10] = 0xff;
	addr->ip[11] = 0xff;
	__builtin_memcpy(&addr->ip[12], &ip, sizeof(ip));
}

static __always_inline void sock_read_ends(const struct sock *sk, struct as_addr *local,
					   struct as_addr *remote)
{
	__u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	if (family == AF_INET) {
		addr_set_v4(local, BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr));
		addr_set_v4(remote, BPF_CORE_READ(sk, __sk_common.skc_daddr));
	} else {
		BPF_CORE_READ_INTO((struct in6_addr *)local->ip, sk, __sk_common.skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO((struct in6_addr *)remote->ip, sk, __sk_common.skc_v6_daddr);
	}
	local->port = sock_local_port(sk);
	local->family = family;
	remote->port = sock_remote_port(sk);
	remote->family = remote->port ? family : 0; /* a UDP socket without a peer */
}

#endif
