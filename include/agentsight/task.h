/* SPDX-License-Identifier: MIT */
/* What the task iterator writes per thread, and the sampler reads: bpf/task.bpf.c. */
#ifndef AGENTSIGHT_TASK_H
#define AGENTSIGHT_TASK_H

#include <agentsight/control.h>

/*
 * One thread. The leader's record also holds what the process as a whole has: memory, and in the
 * sums the threads that ended before. When the leader has left first, memory comes with the others.
 */
struct as_task {
	__u64 start_ns; /* of the process, boot clock */
	__u64 cpu_ns;
	__u64 read_bytes; /* storage; AS_UNKNOWN where /proc does not tell us */
	__u64 write_bytes;
	__u64 rss_pages;
	__u64 vsz_pages;
	__u32 tgid;
	__u32 tid;
	__u32 ppid;
	__u32 uid;
	__u32 threads;       /* living ones; set in the leader's record only, as what follows */
	__u32 waited_faults; /* minor ones of children that were waited for: none is without any */
	char comm[AS_COMM_LEN];
};

struct as_task_usage {
	__u64 user_ns; /* by ticks on most kernels */
	__u64 system_ns;
	__u64 minor_faults;
	__u64 major_faults;
	__u64 voluntary;
	__u64 involuntary;
};

enum as_task_flags {
	AS_TASK_EXITING = 1 << 0, /* its own I/O is in `ended_io` of the leader already, or soon */
	AS_TASK_MEMORY = 1 << 1,  /* this record holds the memory of the process */
	AS_TASK_USAGE = 1 << 2,   /* faults and switches are known */
	AS_TASK_IO = 1 << 3,
	AS_TASK_WAIT = 1 << 4,
};

/*
 * What is read on request only. The kernel adds the I/O of children that were waited for to the
 * parent's: `group_io` holds both theirs and that of threads that ended. `ended_io` holds the
 * latter alone, since the process belongs (struct as_proc).
 */
struct as_task_more {
	__u64 start_ns; /* of the thread */
	__u64 cpu_ns;   /* of the thread alone */
	__u64 wait_ns;
	struct as_task_usage usage;
	struct as_task_io io;
	/* of the process: set in the leader's record only */
	struct as_task_usage group_usage;
	struct as_task_io group_io;
	struct as_task_io ended_io;
	__u64 anon_pages;
	__u64 file_pages;
	__u64 shmem_pages;
	__u64 swap_pages;
	__u64 peak_pages;
	__u32 fds;
	__u32 state; /* enum as_thread_state */
	__s32 last_cpu;
	__s32 nice;
	__u32 policy;
	__u32 priority;
	__u32 flags; /* enum as_task_flags */
	__u32 pad;
	char name[AS_COMM_LEN];
};

/* One record of the iterator when details were asked for. */
struct as_task_full {
	struct as_task task;
	struct as_task_more more;
};

#endif
