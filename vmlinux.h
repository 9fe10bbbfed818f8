/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The kernel's types, as far as the programs under bpf/ read them: a subset written by hand that
 * serves 5.10 to 7.x on x86-64 and arm64. Offsets and sizes come from the running kernel's BTF
 * (CO-RE), so members may stand in any order and those that are not read are left out. Where a
 * layout changed, old and new stand side by side as `___flavour` types, and the reader asks with
 * bpf_core_field_exists(). A dump of one kernel would be a thousand times longer, know only that
 * kernel's names, and lose members under clang 14 when made from 6.19 or later.
 *
 * libbpf's tracing header looks for this guard's name to choose the kernel's spelling of registers.
 */
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

typedef unsigned char __u8;
typedef signed char __s8;
typedef unsigned short __u16;
typedef short __s16;
typedef unsigned int __u32;
typedef int __s32;
typedef unsigned long long __u64;
typedef long long __s64;
typedef __u8 u8;
typedef __s8 s8;
typedef __u16 u16;
typedef __s16 s16;
typedef __u32 u32;
typedef __s32 s32;
typedef __u64 u64;
typedef __s64 s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u32 __wsum;
typedef __u16 __sum16;
typedef _Bool bool;
typedef unsigned long size_t;
typedef int pid_t;

enum {
	false = 0,
	true = 1,
};

#define NULL ((void *)0)

/* ---- fixed interfaces (include/uapi), complete and not relocated ---- */

enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PROG_ARRAY = 3,
	BPF_MAP_TYPE_PERCPU_HASH = 5,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_SK_STORAGE = 24,
	BPF_MAP_TYPE_RINGBUF = 27,
	BPF_MAP_TYPE_TASK_STORAGE = 29,
};

enum {
	BPF_ANY = 0,
	BPF_NOEXIST = 1,
	BPF_EXIST = 2,
};

enum {
	BPF_F_NO_PREALLOC = 1U << 0,
	BPF_F_MMAPABLE = 1U << 10,
};

enum {
	BPF_F_CURRENT_CPU = 0xffffffffULL,
};

enum {
	BPF_RB_NO_WAKEUP = 1ULL << 0,
	BPF_RB_FORCE_WAKEUP = 1ULL << 1,
};

enum {
	BPF_RB_AVAIL_DATA = 0,
	BPF_RB_RING_SIZE = 1,
};

#if defined(__TARGET_ARCH_arm64)
struct user_pt_regs {
	__u64 regs[31];
	__u64 sp;
	__u64 pc;
	__u64 pstate;
};

struct pt_regs {
	union {
		struct user_pt_regs user_regs;
		struct {
			u64 regs[31];
			u64 sp;
			u64 pc;
			u64 pstate;
		};
	};
	u64 orig_x0;
	s32 syscallno;
	u32 pad;
};
#else
struct pt_regs {
	unsigned long r15;
	unsigned long r14;
	unsigned long r13;
	unsigned long r12;
	unsigned long bp;
	unsigned long bx;
	unsigned long r11;
	unsigned long r10;
	unsigned long r9;
	unsigned long r8;
	unsigned long ax;
	unsigned long cx;
	unsigned long dx;
	unsigned long si;
	unsigned long di;
	unsigned long orig_ax;
	unsigned long ip;
	unsigned long cs;
	unsigned long flags;
	unsigned long sp;
	unsigned long ss;
};
#endif

struct bpf_raw_tracepoint_args {
	__u64 args[0];
};

/* ---- the kernel's own types, relocated ---- */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct list_head {
	struct list_head *next;
	struct list_head *prev;
};

struct hlist_node {
	struct hlist_node *next;
};

struct hlist_head {
	struct hlist_node *first;
};

struct xarray {
	void *xa_head;
};

struct xa_node {
	unsigned char shift;
	void *slots[64];
};

struct idr {
	struct xarray idr_rt;
};

struct pid_namespace {
	struct idr idr;
};

struct upid {
	struct pid_namespace *ns;
};

struct pid {
	struct hlist_head tasks[4];
	struct upid numbers[1];
};

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	s64 counter;
} atomic64_t;

typedef struct {
	long counter;
} atomic_long_t;

typedef struct {
	u32 val;
} kuid_t;

struct cred {
	kuid_t uid;
};

struct qstr {
	u32 len;
	const unsigned char *name;
};

struct super_block {
	u32 s_dev;
};

struct inode {
	u16 i_mode;
	struct super_block *i_sb;
	unsigned long i_ino;
};

struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
};

struct vfsmount {
	struct dentry *mnt_root;
};

struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct mnt_namespace *mnt_ns;
	struct vfsmount mnt;
};

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct file {
	struct path f_path;
	struct inode *f_inode;
	void *private_data;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct fs_struct {
	struct path root;
	struct path pwd;
};

/* since 6.2: `count` and what is in the per-CPU `counters` */
struct percpu_counter {
	s64 count;
	s32 *counters;
};

struct mm_struct {
	unsigned long total_vm;
	unsigned long arg_start;
	unsigned long arg_end;
	unsigned long env_start;
	unsigned long env_end;
	unsigned long hiwater_rss;
	struct file *exe_file;
	struct percpu_counter rss_stat[4];
};

/* KERNEL < 6.2 */
struct mm_rss_stat {
	atomic_long_t count[4];
};

struct mm_struct___v510 {
	struct mm_rss_stat rss_stat;
};

struct task_io_accounting {
	u64 rchar;
	u64 wchar;
	u64 syscr;
	u64 syscw;
	u64 read_bytes;
	u64 write_bytes;
};

struct rq {
	u64 clock;
	u64 clock_task;
};

struct cfs_rq {
	struct rq *rq;
};

struct sched_entity {
	struct cfs_rq *cfs_rq;
	u64 exec_start;
	u64 sum_exec_runtime;
};

struct seqcount {
	unsigned int sequence;
};

struct seqcount_spinlock {
	struct seqcount seqcount;
};

typedef struct {
	struct seqcount_spinlock seqcount;
} seqlock_t;

struct signal_struct {
	atomic_t live;
	int nr_threads;
	struct list_head thread_head;
	int group_exit_code;
	unsigned int flags;
	u64 utime;
	u64 stime;
	seqlock_t stats_lock; /* of the sums */
	unsigned long nvcsw;
	unsigned long nivcsw;
	unsigned long min_flt;
	unsigned long cmin_flt;
	unsigned long maj_flt;
	unsigned long long sum_sched_runtime;
	unsigned long maxrss;
	short oom_score_adj;
	struct task_io_accounting ioac;
};

struct thread_info {
	u32 status;
	u32 cpu; /* KERNEL < 5.16: not on x86, see task_struct___v510 */
	unsigned long flags;
};

struct sched_info {
	unsigned long long run_delay;
};

struct task_struct {
	struct thread_info thread_info;
	void *stack;
	unsigned int flags;
	unsigned int __state;
	int static_prio;
	unsigned int rt_priority;
	unsigned int policy;
	struct sched_info sched_info;
	struct mm_struct *mm;
	int exit_state;
	int exit_code;
	pid_t pid;
	pid_t tgid;
	struct task_struct *real_parent;
	struct list_head children;
	struct list_head sibling;
	struct task_struct *group_leader;
	struct pid *thread_pid;
	struct hlist_node pid_links[4];
	struct list_head thread_node;
	u64 utime;
	u64 stime;
	u64 start_boottime;
	unsigned in_execve : 1;
	struct sched_entity se;
	u64 self_exec_id; /* grows with each exec */
	const struct cred *real_cred;
	const struct cred *cred;
	char comm[16];
	struct fs_struct *fs;
	struct files_struct *files;
	struct signal_struct *signal;
	struct task_io_accounting ioac;
	unsigned long nvcsw;
	unsigned long nivcsw;
	unsigned long min_flt;
	unsigned long maj_flt;
};

/* KERNEL < 5.14: `state`; KERNEL < 5.16: `cpu`, on x86 */
struct task_struct___v510 {
	long state;
	unsigned int cpu;
};

struct trace_event_raw_sched_process_exec {
	u32 __data_loc_filename;
	pid_t old_pid; /* of the thread; it has its process's number by now */
};

struct trace_event_raw_sched_process_fork {
	pid_t child_pid;
};

/* since 6.16 */
struct trace_event_raw_sched_process_exit {
	bool group_dead;
};

/* since 6.9 and some stable releases, with the victim itself as the first argument of the hook */
struct trace_event_raw_mark_victim {
	unsigned long anon_rss;
};

struct trace_event_raw_sys_enter {
	long id;
};

struct trace_event_raw_sys_exit {
	long id;
	long ret;
};

/* sockets */

struct in6_addr {
	u8 s6_addr[16];
};

typedef struct {
	void *net;
} possible_net_t;

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	u32 skc_hash;
	__be16 skc_dport;
	u16 skc_num;
	u16 skc_family;
	volatile unsigned char skc_state;
	unsigned long skc_flags;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

struct sock {
	struct sock_common __sk_common;
	u16 sk_type;
	u16 sk_protocol;
	int sk_err;
	struct socket *sk_socket;
};

/* KERNEL < 5.6 packed type and protocol in bit fields; the floor is 5.10, so plain members do. */

struct inet_sock {
	struct sock sk;
	__be16 inet_sport;
};

struct tcp_ulp_ops {
	char name[16];
};

struct inet_connection_sock {
	const struct tcp_ulp_ops *icsk_ulp_ops;
};

struct minmax_sample {
	u32 t;
	u32 v;
};

struct minmax {
	struct minmax_sample s[3];
};

struct tcp_sock {
	u32 rcv_nxt;
	u32 copied_seq;
	u32 snd_una;
	u32 write_seq;
	u64 bytes_acked;
	u64 bytes_received;
	u32 srtt_us;
	u32 mdev_us;
	struct minmax rtt_min;
	u32 total_retrans;
};

/* not where the kernel was built without it; `first`: of the connections of TCP below, the one it began with */
struct mptcp_sock {
	struct sock *first;
};

struct socket {
	struct file *file;
	struct sock *sk;
};

/* every struct socket begins one */
struct socket_alloc {
	struct inode vfs_inode;
};

/* since 6.3: the tracepoints that tell the result of every send and receive */
typedef void (*btf_trace_sock_send_length)(void *, struct sock *, int, int);

/* since 6.14, with a stack per task for the state of return hooks: hlist_array came with it */
struct fprobe {
	void *hlist_array;
};

/* iterators */

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
	u64 session_id;
	u64 seq_num;
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	u32 fd;
	struct file *file;
};

struct bpf_map {
	u32 max_entries;
};

struct bpf_array {
	void *pptrs[1];
};

struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	void *key;
	void *value;
};

#pragma clang attribute pop

/* Which helpers a kernel has; asked with bpf_core_enum_value_exists(). */
enum bpf_func_id {
	BPF_FUNC_get_current_task_btf = 158,
	BPF_FUNC_get_attach_cookie = 174,
	BPF_FUNC_task_pt_regs = 175,
};

#endif
