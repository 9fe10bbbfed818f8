/* SPDX-License-Identifier: MIT */
/* What the kernel sums up of system calls and of waits: keys and values of the maps that user space reads. */
#ifndef AGENTSIGHT_CALLS_H
#define AGENTSIGHT_CALLS_H

#include <agentsight/wire.h>

/* A process, once and for all: numbers are used again. */
struct as_life {
	__u64 start_ns;
	__u32 tgid;
	__u32 pad;
};

/*
 * The longest one since the last report. Two places take turns: while user space reads one, what
 * ends goes to the other.
 */
struct as_peak {
	__u64 ns;
	__u64 turn; /* in which it was written; of another turn: nothing yet */
};

/* ---- system calls ---- */

#define AS_CALLS_MAX    512 /* numbers; the kernel has 470, and adds a handful each year */
#define AS_CALL_UNKNOWN 510 /* numbers beyond */
#define AS_CALL_COMPAT  511 /* calls of 32-bit programs, and of x32 */
#define AS_ERRORS_MAX   192 /* error numbers; Linux has 133. The last one: all beyond */

/* `error` is 0 in the table of calls. */
struct as_call_key {
	__u64 start_ns;
	__u32 tgid;
	__u16 nr;
	__u16 error;
};

/* Never reset: user space subtracts what it has told. */
struct as_call_sums {
	__u64 count;
	__u64 errors;
	__u64 time_ns;
	struct as_peak peaks[2];
	__u64 seen[AS_ERRORS_MAX / 64]; /* bits: errors that have an entry of their own */
};

/* One per process that has made a call: user space finds all else from here, by key. */
struct as_calls {
	struct as_hdr h;
	__u64 seen[AS_CALLS_MAX / 64]; /* bits: calls that have an entry */
};

/* ---- waits ---- */

/* What a thread was doing when it gave up its processor. */
enum as_wait {
	AS_WAIT_OTHER,
	AS_WAIT_LOCK,
	AS_WAIT_POLL,
	AS_WAIT_SLEEP,
	AS_WAIT_CHILD,
	AS_WAIT_SOCKET,
	AS_WAIT_PIPE,
	AS_WAIT_FILE, /* read or write of anything else, a terminal for example */
	AS_WAIT_IPC,
	AS_WAIT_SIGNAL,
	AS_WAIT_DISK,    /* uninterruptible: storage, or a lock inside the kernel */
	AS_WAIT_FAULT,   /* in no system call: a page that is not there */
	AS_WAIT_STOPPED, /* by a signal or a debugger */
	AS_WAIT_PREEMPTED,
	AS_WAIT_COUNT,
	/* in the table of calls only: an argument tells */
	AS_WAIT_BY_FD = AS_WAIT_COUNT,
	AS_WAIT_BY_FLAGS,
	AS_WAIT_BY_STRUCT, /* flags, the first member of what it points at */
};

struct as_wait_sum {
	__u64 count;
	__u64 time_ns;
	struct as_peak peaks[2];
};

/* One per process; never reset. */
struct as_waits {
	struct as_hdr h;
	__u64 runqueue_ns;
	struct as_wait_sum by[AS_WAIT_COUNT];
};

/* Of a thread in one turn. */
struct as_wait_turn {
	__u64 turn;
	__u64 time_ns[AS_WAIT_COUNT];
};

/* One per thread; the key is its number. Written where it leaves and gets a processor: by itself. */
struct as_wait_thread {
	struct as_life life;
	__u64 start_ns; /* of the thread */
	__u64 since_ns; /* it has had no processor since then; 0: it has one */
	__u64 ready_ns; /* it was woken, another one wakes it: 0 before */
	__u32 wait;     /* enum as_wait */
	__u32 ended;
	char name[AS_COMM_LEN];
	struct as_wait_turn turns[2];
};

#endif
