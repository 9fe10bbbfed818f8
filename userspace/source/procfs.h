/* SPDX-License-Identifier: MIT */
/*
 * /proc: parsers for its files, and the search for the processes that the user asked for. A process
 * writes its own name and arguments there, so every text is hostile: the parsers take bytes and a
 * length, and answer -EBADMSG to what the kernel would not have written.
 */
#ifndef AGENTSIGHT_SOURCE_PROCFS_H
#define AGENTSIGHT_SOURCE_PROCFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "enrich/proc_table.h"

/* ---- parsers ---- */

/* The number behind @key at the start of a line; true when there is one. */
bool procfs_find_u64(const char *text, size_t n, const char *key, uint64_t *ret);

struct procfs_stat {
	uint32_t pid;
	uint32_t ppid;
	uint32_t threads;
	uint32_t waited_faults; /* minor ones of children that were waited for */
	bool kernel_thread;
	bool dead; /* a zombie, or about to be one */
	char comm[AS_COMM_LEN];
	uint64_t start_ns; /* boot clock, in steps of PROC_TICK_NS */
	uint64_t cpu_ns;
	uint64_t waited_ns; /* of children that ended and were waited for */
	uint64_t vsz_bytes;
	uint64_t user_ns; /* of `cpu_ns` */
	uint64_t system_ns;
	uint64_t minor_faults;
	uint64_t major_faults;
	int32_t nice;
	int32_t last_cpu; /* -1: not told, as may be what follows */
	uint32_t priority;
	uint32_t policy;
	uint32_t state; /* enum as_thread_state */
};

/* Of one thread, but the memory, which is the process's. 0 for what is not told. */
struct procfs_status {
	uint64_t anon_kb;
	uint64_t file_kb;
	uint64_t shmem_kb;
	uint64_t swap_kb;
	uint64_t peak_kb;
	uint64_t voluntary;
	uint64_t involuntary;
};

struct procfs_io {
	uint64_t read_bytes;
	uint64_t write_bytes;
	uint64_t rchar; /* these may be absent: 0 */
	uint64_t wchar;
	uint64_t syscr;
	uint64_t syscw;
};

struct procfs_memory {
	uint64_t total_kb;
	uint64_t free_kb;
	uint64_t available_kb;
};

/* Behind clock_namespace(): by which clock this kernel says when a process began. */
void procfs_namespace(void);

int procfs_parse_stat(const char *text, size_t n, struct procfs_stat *ret);
int procfs_parse_status(const char *text, size_t n, struct procfs_status *ret);
int procfs_parse_schedstat(const char *text, size_t n, uint64_t *ret_cpu_ns, uint64_t *ret_wait_ns);
int procfs_parse_status_uid(const char *text, size_t n, uint32_t *ret);
int procfs_parse_statm(const char *text, size_t n, uint64_t *ret_vsz_pages,
		       uint64_t *ret_rss_pages);
int procfs_parse_io(const char *text, size_t n, struct procfs_io *ret);

/* The base name of the first argument behind argv[0] that is no option; "" when there is none. */
void procfs_parse_script(const char *args, size_t n, char ret[AS_NAME_LEN]);

/* The machine's: time that processors spent working, memory, load in hundredths. */
int procfs_parse_busy(const char *text, size_t n, uint64_t *ret_ns);
int procfs_parse_meminfo(const char *text, size_t n, struct procfs_memory *ret);
int procfs_parse_loadavg(const char *text, size_t n, uint64_t ret_centi[3]);

/* ---- reading ---- */

struct procfs;

/* @root is "/proc", or what a test has made. */
int procfs_open(const char *root, struct procfs **ret);
void procfs_free(struct procfs *fs);
DEFINE_FREEP(struct procfs *, procfs_free)

/* A file of a process, to be kept and read again: it stays with that process when the pid is reused. */
int procfs_pid_open(const struct procfs *fs, uint32_t pid, const char *file);

/* Reads the file from its start: the length (at most @cap), or an error. */
ssize_t procfs_fd_read(int fd, char *buf, size_t cap);

/* The same for a file that is not kept. @name is relative to the root. */
ssize_t procfs_read(const struct procfs *fs, const char *name, char *buf, size_t cap);

/* A file of a process, by its name there. */
ssize_t procfs_pid_read(const struct procfs *fs, uint32_t pid, const char *file, char *buf,
			size_t cap);

/* Where a link leads, not terminated. @name is relative to the root. */
ssize_t procfs_read_link(const struct procfs *fs, const char *name, char *buf, size_t cap);

/* Open descriptors of a process; 0 where the kernel does not tell (before 6.2) or must not. */
uint32_t procfs_count_fds(const struct procfs *fs, uint32_t pid);

int procfs_read_stat(const struct procfs *fs, uint32_t pid, struct procfs_stat *ret);

/* The process that @id, a thread's or its own, belongs to. */
int procfs_read_tgid(const struct procfs *fs, uint32_t id, uint32_t *ret);

/* Calls @visit for each thread of the process, until it returns false. */
int procfs_each_thread(const struct procfs *fs, uint32_t pid,
		       bool (*visit)(void *ctx, uint32_t tid), void *ctx);

/* ---- who belongs ---- */

/*
 * Names have one meaning everywhere, the kernel's included (exec_named() in bpf/proc.bpf.c): comm, the
 * base name of the executable, or the base name of the script that an interpreter runs. Names, pids and
 * the command add up; a uid alone selects all of its processes, beside them it restricts what is shown and not
 * who belongs.
 */
struct proc_match {
	const char *const *names;
	size_t n_names;
	const uint32_t *pids;
	size_t n_pids;
	bool pids_found; /* who has one of these numbers from now on is somebody else */
	bool command;    /* one is started, and belongs */
	bool by_uid;
	uint32_t uid;
	bool follow_children;
};

/* Called once for each process that newly belongs; @flags is enum as_proc_flags. */
typedef void (*procfs_found_fn)(void *ctx, const struct proc *p, uint32_t flags);

/*
 * Learns all processes and marks those that belong, with their descendants if these are to be
 * followed. Repeats until a pass finds no new one: a child may be forked behind the pass's back as
 * long as @found has not told the kernel about its parent. How many were newly marked, or an error.
 */
int procfs_seed(struct procfs *fs, struct proc_table *t, const struct proc_match *m,
		procfs_found_fn found, void *ctx);

/* One such pass; it also ends the processes that are gone. For when no events tell. */
int procfs_refresh(struct procfs *fs, struct proc_table *t, const struct proc_match *m,
		   procfs_found_fn found, void *ctx);

/*
 * Ends a process that is gone without an exit event. What its rows have shown is kept at its parent,
 * whose sum of waited-for children will hold it.
 */
void procfs_lost(struct proc_table *t, struct proc *p);

/* Has it ended, so that its number is nobody's, or another's? False when that cannot be told. */
bool procfs_gone(const struct procfs *fs, const struct proc *p);

/*
 * Looks at the @budget processes whose turn it is and ends those that are gone although no exit
 * event said so; twice in a row, since the event may be on its way. How many ended.
 */
unsigned procfs_reap(const struct procfs *fs, struct proc_table *t, unsigned budget);

#endif
