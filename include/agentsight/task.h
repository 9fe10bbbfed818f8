/* SPDX-License-Identifier: MIT */
/* What the task iterator writes per thread, and the sampler reads: bpf/task.bpf.c. */
#ifndef AGENTSIGHT_TASK_H
#define AGENTSIGHT_TASK_H

#include <agentsight/wire.h>

/*
 * One thread. The leader's record also holds what the process as a whole has: memory, and in the
 * sums the threads that ended before. When the leader has left first, memory comes with the others.
 */
struct as_task {
	__u64 start_ns; /* of the process, boot clock */
	__u64 cpu_ns;
	__u64 read_bytes; /* storage */
	__u64 write_bytes;
	__u64 rss_pages;
	__u64 vsz_pages;
	__u32 tgid;
	__u32 tid;
	__u32 ppid;
	__u32 uid;
	__u32 threads; /* living ones; set in the leader's record only */
	__u32 pad;
	char comm[AS_COMM_LEN];
};

#endif
