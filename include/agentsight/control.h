/* SPDX-License-Identifier: MIT */
/*
 * What user space tells the kernel programs and what they count for it: configuration, the set of
 * followed processes, the ledger, and the doorbell that wakes the reader.
 */
#ifndef AGENTSIGHT_CONTROL_H
#define AGENTSIGHT_CONTROL_H

#include <agentsight/events.h>

/* Read-only for the verifier, so that what is switched off costs nothing. */
struct as_config {
	__u32 self_tgid;  /* agentsight never reports itself */
	__u32 by_process; /* only processes in the map `procs`; else everyone */
	__u32 by_uid;     /* only processes of `uid` */
	__u32 accounts; /* in `procs`: the I/O of threads that have ended; always with by_process */
	__u32 uid;      /* compared with the real user id */
	__u32 by_name;  /* exec adds processes whose name is in `names` */
	__u32 follow_children; /* fork adds the children of followed processes */
	__u32 net_each_call;   /* network: an event per send and receive, not sums only */
	__u32 net_events;      /* network: events are wanted; else sockets are only joined to TLS */
	__u32 tls_join;        /* network: tell the TLS family which socket a call used */
	__u32 page_kb;
	__u32 exec_env;    /* exec: look for the variables of agents */
	__u32 file_events; /* files: events are wanted; else only what goes through stdio */
	__u32 plain_http;  /* network: payload of sockets that carry HTTP without TLS */
	__u32 stdio;       /* enum as_stdio: payload of stdin, stdout and stderr */
	__u32 cpus;        /* numbers of processors are below */
	__u32 task_type; /* the kernel's number of struct task_struct; 0: AS_CALL_CAST is not to be called */
};

/* A call to this number is one of bpf_rdonly_cast() when the program is loaded (userspace/source/section.c). */
#define AS_CALL_CAST 0x41530001

enum as_stdio {
	AS_STDIO_NONE,
	AS_STDIO_JSONRPC, /* of descriptors that carry JSON-RPC */
	AS_STDIO_ALL,
};

enum as_proc_flags {
	AS_PROC_NAMED = 1 << 0, /* a name that was asked for */
	AS_PROC_GIVEN = 1 << 1, /* a pid that was asked for */
	AS_PROC_CHILD = 1 << 2, /* descends from one of these */
};

struct as_task_io {
	__u64 rchar;
	__u64 wchar;
	__u64 syscr;
	__u64 syscw;
	__u64 read_bytes;
	__u64 write_bytes;
};

/*
 * Value of `procs`; the key is the tgid. @ended_io is kept because the kernel adds the I/O of a thread
 * that ended to the same sum as that of children that were waited for.
 */
struct as_proc {
	__u64 start_ns; /* as /proc tells it in steps of AS_TICK_NS, or exact */
	__u32 flags;
	__u32 ends_begun;           /* of threads that add their I/O, */
	__u32 ends_done;            /* and of those, who are done */
	__u32 leader_ended;         /* its I/O is in `ended_io`, too */
	struct as_task_io ended_io; /* of its threads that ended since it belongs */
};

#define AS_TICK_NS  10000000
#define AS_NAME_LEN 64

/* Key of `names`: a base name, NUL-padded. */
struct as_name {
	char text[AS_NAME_LEN];
};

/* Per processor and event type. What is neither dropped nor shed was put into a ring. */
struct as_count {
	__u64 produced;
	__u64 dropped; /* no room in the ring */
	__u64 shed;    /* a stated limit: a full table, a call too long */
	__u64 unread; /* delivered, but memory of the process could not be read: a part is missing */
};

enum as_feature {
	AS_FEATURE_RETURN_STACK = 1 << 0, /* return hooks never run out of room (6.14) */
	AS_FEATURE_SOCK_LENGTH = 1 << 1,  /* tracepoints at the end of send and receive (6.3) */
	AS_FEATURE_OOM_TASK = 1 << 2, /* mark_victim tells the task, not only its number (6.9) */
};

#define AS_HELPERS 2

/* With the rest of `struct as_shared` less than a page. */
#define AS_TLS_HINTS   2048
#define AS_TLS_SETTLED 128

/* One record of the iterator over connections: what a process moved since a sample last asked. */
struct as_moved {
	__u32 tgid;
	__u32 pad;
	__u64 start_ns;
	__u64 tx_bytes;
	__u64 rx_bytes;
};

/*
 * One word of memory shared with the reader. Before it sleeps it sets `armed`; the first record
 * after that wakes it, all others are submitted without a wake-up. While it waits for more to
 * come it sets `urgent`: then only a ring that fills up wakes it.
 */
struct as_shared {
	__u32 armed;
	__u32 urgent;
	__s64 sched_offset_ns;     /* scheduler clock less CLOCK_MONOTONIC; see bpf/proc.bpf.c */
	__s64 sched_sample_ns;     /* the last measurement of it */
	__u32 features;            /* enum as_feature: what this kernel has, asked once */
	__u32 helpers[AS_HELPERS]; /* processes of ours that are not to be watched either */
	__u32 sockets; /* in the network family's table: none, nothing to look through */
	__u8 tls_hints[AS_TLS_HINTS]; /* threads that have called TLS functions; see tls_hint() */
	__u64 tls_settled[AS_TLS_SETTLED]; /* threads, see tls_is_settled() */
	__u64 tls_changes;                 /* grows when what is known of any TLS session changes */
};

#define AS_RING_HIGH_WATER 4 /* wake the reader when 1/4 of a ring is in use */

#define AS_ARGV_MAX    (128 * 1024)
#define AS_PATH_MAX    4096
#define AS_PATH_DEPTH  2048 /* components of a path: as many as PATH_MAX holds */
#define AS_CHUNK_MAX   (16 * 1024)
#define AS_CHUNKS_MAX  1024 /* pieces of one call: 16 MiB */
#define AS_THREADS_MAX 1024 /* threads summed at exit that have not been reaped yet */

/* Records with texts: the structure, paths and environment, which begin in the first part, and arguments. */
#define AS_TEXTS_MAX  (16 * 1024)
#define AS_RECORD_MAX (AS_TEXTS_MAX + AS_PATH_MAX + AS_ARGV_MAX)

#endif
