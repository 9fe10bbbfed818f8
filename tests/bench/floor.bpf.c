// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Programs that do nothing: what is left is the price of being called at all. */
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

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
