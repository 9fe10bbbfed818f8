/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * KERNEL < 6.3: sends of TCP where functions can be left through a trampoline. No send is kept from being seen by
 * others that sleep in the same function, as with net_kprobe.bpf.c, which is for where there are none. An object of
 * its own, since the kernel that refuses it refuses all that is in it. It works on the maps of net.bpf.c.
 */
#include "lib/sock_used.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* KERNEL < 5.12: a pointer that the verifier trusts cannot be given to a global function, a number can. */
SEC("fexit/tcp_sendmsg")
int net_tcp_left(__u64 *arguments)
{
	const struct sock *sk;

	/* behind the last one is what the function returns */
	if (!bpf_probe_read_kernel(&sk, sizeof(sk), &arguments[0]))
		sock_used(sk, (int)arguments[3], USED_SENT);
	return 0;
}
