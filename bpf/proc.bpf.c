/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Processes: exec, fork, exit, and the set of those that are followed.
 *
 * Classic tracepoints, not raw or BTF-typed ones: the kernel skips the latter when a task is preempted inside the
 * same program (up to 1.4 % of these events on 7.2), the former only while somebody's bpf() call on that
 * processor holds an element of a map. We make none of these while we record processes.
 */
#include "lib/emit.bpf.h"
#include "lib/filter.bpf.h"
#include "lib/path.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define SIGNAL_GROUP_EXIT 0x4 /* linux/sched/signal.h, unchanged since 2.6 */

/*
 * Threads whose end has been counted in the process's `ended_io`, and which are still on its list:
 * no more than the walk over that list is allowed, so the others may be forgotten. Not the leader, which
 * stays on the list until the last one has ended.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4 * AS_THREADS_MAX);
	__type(key, __u32);
	__type(value, __u64);
} ended_threads SEC(".maps");

/* ---- who belongs ---- */

#define SCRIPT_PATH_MAX 512
#define SCRIPT_ROUND    16
#define SCRIPT_ARGS     8 /* arguments that are looked at */

static __always_inline bool name_wanted(const struct as_name *name)
{
	return name->text[0] && bpf_map_lookup_elem(&names, name);
}

/* Where the base name begins, some bytes before @at at most: verified once, like path_round(). */
__noinline int base_back(__u32 at)
{
	struct scratch *s = scratch_get();
	int i;

	if (!s)
		return 0;
	for (i = 0; i < SCRIPT_ROUND; i++) {
		if (at == 0 || s->data[(at - 1) & (SCRIPT_PATH_MAX - 1)] == '/')
			break;
		at--;
	}
	return at;
}

/* The base name of the text of @len bytes, NUL included, at the start of the scratch buffer. */
static __always_inline void base_name(struct as_name *out, struct scratch *s, __u32 len)
{
	__u32 at = len, before;
	int i;

	for (i = 0; i < SCRIPT_PATH_MAX / SCRIPT_ROUND; i++) {
		before = at;
		at = base_back(at);
		if (at == before)
			break;
	}
	at &= SCRIPT_PATH_MAX - 1;
	bpf_probe_read_kernel_str(out->text, sizeof(out->text), &s->data[at]);
}

/* What stands behind these is code, not the name of a script: sh -c, bash -lc, node -e, perl -ne. */
static __always_inline bool takes_code(const char *arg)
{
	char last = arg[2] ? arg[2] : arg[1];

	return arg[0] == '-' && arg[1] && (!arg[2] || !arg[3]) && (last == 'c' || last == 'e');
}

/*
 * The base name of the script that an interpreter runs: `node --flag /usr/bin/claude` gives
 * "claude". It is the first argument behind argv[0] that is not an option.
 */
static __always_inline void script_name(struct as_name *out, struct scratch *s, unsigned long args,
					unsigned long end)
{
	int i;

	for (i = 0; i < SCRIPT_ARGS; i++) {
		long n;

		if (args >= end)
			return;
		n = bpf_probe_read_user_str(s->data, SCRIPT_PATH_MAX, (void *)args);
		if (n <= 0)
			return;
		if (i > 0 && s->data[0] != '-') {
			base_name(out, s, n);
			return;
		}
		if (takes_code(s->data))
			return;
		args += n;
	}
}

/* Does the program that was just started carry a name that was asked for? */
static __always_inline bool exec_named(struct task_struct *task, struct scratch *s)
{
	struct as_name name = {};
	struct mm_struct *mm = BPF_CORE_READ(task, mm);
	const unsigned char *exe;

	/* KERNEL < 5.17: behind the text lies what is left of longer ones */
	BPF_CORE_READ_STR_INTO((char(*)[AS_COMM_LEN])name.text, task, comm);
	if (name_wanted(&name))
		return true;

	exe = BPF_CORE_READ(mm, exe_file, f_path.dentry, d_name.name);
	__builtin_memset(&name, 0, sizeof(name));
	bpf_probe_read_kernel_str(name.text, sizeof(name.text), exe);
	if (name_wanted(&name))
		return true;

	__builtin_memset(&name, 0, sizeof(name));
	script_name(&name, s, BPF_CORE_READ(mm, arg_start), BPF_CORE_READ(mm, arg_end));
	return name_wanted(&name);
}

/* Of the user that was asked for, if any was? Not a matter of membership, which users share. */
static __always_inline bool user_wanted(void)
{
	return !cfg.by_uid || (__u32)bpf_get_current_uid_gid() == cfg.uid;
}

/* The table is full: this event is told, and counted once more for all that will not be. */
static __always_inline void not_followed(__u32 type)
{
	ledger_add(type, produced, 1);
	ledger_add(type, shed, 1);
}

/* The name is that of another program now: who belonged by name alone does no longer. */
static __always_inline bool exec_belongs(struct task_struct *task, __u32 tgid, struct scratch *s)
{
	struct as_proc *known = bpf_map_lookup_elem(&procs, &tgid);
	struct as_proc proc = {};

	if (known && (cfg.follow_children || known->flags & (AS_PROC_GIVEN | AS_PROC_CHILD)))
		return true;
	if (!cfg.by_name)
		return known != NULL;
	if (!exec_named(task, s)) {
		if (known)
			bpf_map_delete_elem(&procs, &tgid);
		return false;
	}
	if (known)
		return true;
	proc.start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	proc.flags = AS_PROC_NAMED;
	if (bpf_map_update_elem(&procs, &tgid, &proc, BPF_ANY))
		not_followed(AS_EV_EXEC);
	return true;
}

/* ---- exec ---- */

/* Appends the bytes [@from, @from + @len) of the process at @off; returns the offset behind them. */
static __always_inline __u32 append_user(struct scratch *s, struct as_span *span, __u32 off,
					 unsigned long from, unsigned long len)
{
	__u64 n = len < AS_ARGV_MAX ? len : AS_ARGV_MAX;

	span->full = len;
	span->off = off;
	span->len = 0;
	barrier_var(off);
	off &= SCRATCH_PATHS - 1;
	barrier_var(n);
	if (n > AS_ARGV_MAX)
		return off;
	if (bpf_probe_read_user(&s->data[off], n, (void *)from)) {
		ledger_add(AS_EV_EXEC, unread, 1);
		return off;
	}
	span->len = n;
	return off + n;
}

/*
 * Environment variables by which agents mark the processes that they start. Only these are taken: an
 * environment is full of keys. Names are told by their first eight bytes.
 */
#define ENV_TEXT_MAX 256 /* of one variable */
#define ENV_MAX      2048
#define ENV_ROUND    4 /* variables in one round, see PATH_STEPS */
#define ENV_ROUNDS   8
#define ENV_TURNS    16

struct environ {
	unsigned long pos, end; /* in the memory of the process */
	__u32 off;              /* in the scratch buffer */
	__u32 limit;
	bool inside; /* of a variable whose beginning was as long as one read */
	bool wanted; /* the last one that began */
	bool cut;    /* one that is wanted has more */
};

/* Of the process that execs on this processor; a tracepoint is not preempted. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct environ);
} environs SEC(".maps");

static __always_inline struct environ *environ_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&environs, &zero);
}

#define EIGHT(a, b, c, d, e, f, g, h)                                                            \
	((__u64)(a) | (__u64)(b) << 8 | (__u64)(c) << 16 | (__u64)(d) << 24 | (__u64)(e) << 32 | \
	 (__u64)(f) << 40 | (__u64)(g) << 48 | (__u64)(h) << 56)
#define FIRST(n) ((1ULL << 8 * (n)) - 1)

/* @first: eight bytes. */
static __always_inline bool env_wanted(__u64 first)
{
	return first == EIGHT('C', 'L', 'A', 'U', 'D', 'E', 'C', 'O') ||
	       first == EIGHT('C', 'L', 'A', 'U', 'D', 'E', '_', 'C') ||
	       first == EIGHT('T', 'R', 'A', 'C', 'E', 'P', 'A', 'R') ||
	       first == EIGHT('A', 'I', '_', 'A', 'G', 'E', 'N', 'T') ||
	       first == EIGHT('G', 'E', 'M', 'I', 'N', 'I', '_', 'C') ||
	       (first & FIRST(6)) == EIGHT('C', 'O', 'D', 'E', 'X', '_', 0, 0);
}

/* Some variables. True when there are more. */
__noinline int environ_round(void)
{
	struct scratch *s = scratch_get();
	struct environ *e = environ_get();
	int i;

	if (!s || !e)
		return 0;
	for (i = 0; i < ENV_ROUND; i++) {
		bool whole, begins = !e->inside;
		__u32 off = e->off;
		__u64 first = 0;
		long n;

		if (e->pos >= e->end || off >= e->limit)
			return 0;
		barrier_var(off);
		off &= SCRATCH_PATHS - 1;
		n = bpf_probe_read_user_str(&s->data[off], ENV_TEXT_MAX, (void *)e->pos);
		if (n < 0)
			return 0;
		if (!n) /* KERNEL < 6.13: of an empty text, as is left of one that was cut behind its last byte */
			n = 1;
		whole = n < ENV_TEXT_MAX;
		e->pos += whole ? n : n - 1; /* where it was cut no NUL was read */
		e->inside = !whole;
		if (!begins) {
			e->cut |= e->wanted && n > 1;
			continue;
		}
		bpf_probe_read_kernel(&first, sizeof(first), &s->data[off]);
		e->wanted = n > 8 && env_wanted(first);
		if (e->wanted)
			e->off = off + n;
	}
	return 1;
}

__noinline int environ_turn(void)
{
	int i, more = 1;

	for (i = 0; i < ENV_ROUNDS && more; i++)
		more = environ_round();
	return more;
}

/* Writes the variables at @off of the scratch buffer; returns the offset behind them. */
static __always_inline __u32 environ_append(struct as_span *span, struct mm_struct *mm, __u32 off)
{
	struct environ *e = environ_get();
	int i;

	*span = (struct as_span){.off = off};
	if (!cfg.exec_env || !e || off > SCRATCH_PATHS - ENV_MAX - ENV_TEXT_MAX)
		return off;
	e->pos = BPF_CORE_READ(mm, env_start);
	e->end = BPF_CORE_READ(mm, env_end);
	e->off = off;
	e->limit = off + ENV_MAX;
	e->inside = false;
	e->cut = false;
	for (i = 0; i < ENV_TURNS; i++) {
		if (!environ_turn())
			break;
	}
	span->len = span->full = e->off - off;
	if (e->cut || e->pos < e->end) /* what was not looked at may hold some */
		span->full++;
	return e->off;
}

static __always_inline void exec_emit(struct trace_event_raw_sched_process_exec *ctx,
				      struct task_struct *task, struct scratch *s)
{
	struct as_exec *e = (void *)s->data;
	struct fs_struct *fs = LOAD(task, fs);
	struct mm_struct *mm = LOAD(task, mm);
	struct inode *inode = LOAD(LOAD(mm, exe_file), f_inode);
	unsigned long arg_start = LOAD(mm, arg_start);
	unsigned long arg_end = LOAD(mm, arg_end);
	__u32 off = sizeof(*e), end;
	__u64 len;
	long n;

	hdr_fill(&e->h, AS_EV_EXEC, 0);

	n = bpf_probe_read_kernel_str(&s->data[sizeof(*e)], AS_PATH_MAX,
				      (void *)ctx + (ctx->__data_loc_filename & 0xffff));
	if (n < 1)
		n = 1;
	e->filename = (struct as_span){.off = off, .len = n - 1, .full = n - 1};
	off += n;

	end = path_walk(BPF_CORE_READ(fs, pwd.dentry), BPF_CORE_READ(fs, pwd.mnt), off);
	e->cwd = (struct as_path){};
	e->cwd.base.off = off;
	e->cwd.base.len = PATH_END(end) - off;
	e->cwd.base.full = e->cwd.base.len + (end & PATH_CUT ? 1 : 0);
	off = PATH_END(end);

	off = environ_append(&e->env, mm, off);
	e->exe_dev = LOAD(LOAD(inode, i_sb), s_dev);
	e->exe_ino = LOAD(inode, i_ino);

	len = append_user(s, &e->argv, off, arg_start, arg_end - arg_start);
	barrier_var(len);
	if (len > SCRATCH_SIZE)
		return;
	e->h.len = len;
	event_output(&ring_events, AS_EV_EXEC, s->data, len);
}

SEC("tp/sched/sched_process_exec")
int proc_exec(struct trace_event_raw_sched_process_exec *ctx)
{
	struct task_struct *task = task_at((void *)bpf_get_current_task());
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	struct scratch *s = scratch_get();
	struct as_proc *proc;

	if (!s || is_own(tgid))
		return 0;
	if (cfg.by_process && !exec_belongs(task, tgid, s))
		return 0;
	if (!user_wanted())
		return 0;

	/* a thread that execs takes over number and start time of the leader, which has ended */
	proc = bpf_map_lookup_elem(&procs, &tgid);
	if (proc)
		proc->leader_ended = 0;
	exec_emit(ctx, task, s);
	return 0;
}

/* ---- names that are set ---- */

/*
 * A program that gives itself a name that was asked for belongs from then on, as if it had been started under it.
 * The name that exec sets is left to the hook of exec: what fails behind this point is no exec yet.
 */
SEC("raw_tp/task_rename")
int proc_rename(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = task_at((void *)ctx->args[0]);
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	struct as_proc proc = {.flags = AS_PROC_NAMED};
	struct as_name name = {};
	struct as_named *e;

	/* a thread may set the name of another one of its process; who makes a kernel thread gives it its name */
	if (LOAD(task, pid) != tgid || is_own(tgid) || LOAD(task, flags) & PF_KTHREAD ||
	    BPF_CORE_READ_BITFIELD_PROBED(task, in_execve))
		return 0;
	bpf_probe_read_kernel_str(name.text, AS_COMM_LEN, (void *)ctx->args[1]);
	if (!name_wanted(&name) || bpf_map_lookup_elem(&procs, &tgid))
		return 0;
	proc.start_ns = LOAD(task, start_boottime);
	if (bpf_map_update_elem(&procs, &tgid, &proc, BPF_ANY)) {
		ledger_add(AS_EV_NAMED, produced, 1);
		ledger_add(AS_EV_NAMED, shed, 1);
		return 0;
	}
	if (!user_wanted())
		return 0;
	e = event_reserve(&ring_events, AS_EV_NAMED, sizeof(*e));
	if (!e)
		return 0;
	hdr_fill(&e->h, AS_EV_NAMED, sizeof(*e));
	__builtin_memcpy(e->h.comm, name.text, sizeof(e->h.comm));
	event_submit(&ring_events, e);
	return 0;
}

/* ---- fork ---- */

/*
 * The tracepoint names the child by number only. A new process is mostly the last entry in the list
 * of the calling thread's children, a new thread the last in that of its process. Not with
 * CLONE_PARENT, nor when another CPU has put something behind it: orphans that are adopted, another
 * new thread. Then the kernel's own table of numbers is asked.
 */
#define NUMBER_LEVELS 6 /* 22 bits of a number, 4 to 6 in each */
#define XA_INTERNAL   2 /* linux/xarray.h: the low bits of what leads to another level */

static __always_inline struct task_struct *last_child(struct task_struct *parent)
{
	struct list_head *last = LOAD(parent, children.prev);

	return task_at((void *)last - bpf_core_field_offset(struct task_struct, sibling));
}

static __always_inline struct task_struct *last_thread(struct task_struct *task)
{
	struct list_head *last = LOAD(LOAD(task, signal), thread_head.prev);

	return task_at((void *)last - bpf_core_field_offset(struct task_struct, thread_node));
}

/* What find_pid_ns() does, in the namespace of the numbers that tracepoints tell. */
static __always_inline struct pid *pid_find(struct task_struct *task, __u32 number)
{
	unsigned long entry;
	int i;

	if (!bpf_core_field_exists(struct pid_namespace, idr))
		return NULL;
	entry = (unsigned long)BPF_CORE_READ(task, thread_pid, numbers[0].ns, idr.idr_rt.xa_head);
	for (i = 0; i < NUMBER_LEVELS && (entry & 3) == XA_INTERNAL; i++) {
		struct xa_node *node = (void *)(entry - XA_INTERNAL);
		__u32 width = bpf_core_field_size(node->slots) / sizeof(void *);
		__u32 at = number >> (BPF_CORE_READ(node, shift) & 31) & (width - 1);

		bpf_probe_read_kernel(&entry, sizeof(entry),
				      (void *)node + bpf_core_field_offset(node->slots) +
					      at * sizeof(void *));
	}
	return entry & 3 ? NULL : (void *)entry;
}

static __always_inline struct task_struct *task_find(struct task_struct *task, __u32 number)
{
	struct pid *pid = pid_find(task, number);
	struct hlist_node *node = BPF_CORE_READ(pid, tasks[0].first); /* PIDTYPE_PID */

	if (!node)
		return NULL;
	return task_at((void *)node - bpf_core_field_offset(struct task_struct, pid_links));
}

/* NULL when it is a thread. */
static __always_inline struct task_struct *forked_child(struct task_struct *task, __u32 number)
{
	struct task_struct *child = last_child(task);

	if (LOAD(child, pid) == number)
		return child;
	if (LOAD(last_thread(task), pid) == number)
		return NULL;
	child = task_find(task, number);
	if (!child || LOAD(child, pid) != number) {
		ledger_add(AS_EV_FORK, unread, 1);
		return NULL;
	}
	return LOAD(child, tgid) == number ? child : NULL;
}

/* Membership is inherited before the child runs its first instruction. */
static __always_inline bool child_follows(__u32 parent, __u32 child, __u64 start_ns)
{
	struct as_proc *known = bpf_map_lookup_elem(&procs, &parent);
	struct as_proc proc = {.start_ns = start_ns};

	if (!known)
		return false;
	/* until it execs, a child has the name that its parent was chosen by */
	proc.flags = cfg.follow_children ? AS_PROC_CHILD : known->flags & AS_PROC_NAMED;
	if (!proc.flags)
		return false;
	if (bpf_map_update_elem(&procs, &child, &proc, BPF_ANY))
		not_followed(AS_EV_FORK);
	return true;
}

/* Who had its number before was followed, and nothing told its end. */
static __always_inline void former_forget(__u32 pid, __u64 start_ns)
{
	struct as_proc *former = bpf_map_lookup_elem(&procs, &pid);

	/* else /proc has just been read: it is the child itself */
	if (former && former->start_ns / AS_TICK_NS != start_ns / AS_TICK_NS)
		bpf_map_delete_elem(&procs, &pid);
}

SEC("tp/sched/sched_process_fork")
int proc_fork(struct trace_event_raw_sched_process_fork *ctx)
{
	struct task_struct *task = task_at((void *)bpf_get_current_task());
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	__u32 child_pid = ctx->child_pid;
	struct task_struct *child;
	struct as_fork *e;
	__u64 start_ns;

	if (is_own(tgid))
		return 0;
	if (!cfg.by_process && !user_wanted())
		return 0;
	child = forked_child(task, child_pid);
	if (!child)
		return 0; /* a thread */
	start_ns = LOAD(child, start_boottime);
	if (cfg.by_process && !child_follows(tgid, child_pid, start_ns)) {
		former_forget(child_pid, start_ns);
		return 0;
	}
	if (cfg.accounts && !cfg.by_process)
		former_forget(child_pid, start_ns);
	if (!user_wanted())
		return 0;

	e = event_reserve(&ring_events, AS_EV_FORK, sizeof(*e));
	if (!e)
		return 0;
	hdr_fill(&e->h, AS_EV_FORK, sizeof(*e));
	e->child_start_ns = start_ns;
	e->child_pid = child_pid;
	e->child_ppid = LOAD(LOAD(child, real_parent), tgid);
	event_submit(&ring_events, e);
	return 0;
}

/* ---- exit ---- */

#define IO_BYTES 64 /* struct task_io_accounting has 56 with all its options */

/*
 * Not the kernel's own struct for the I/O: accesses to that would be relocated here, too. @all is what
 * the kernel says: children that were waited for are in it.
 */
struct usage {
	__u64 utime, stime, runtime;
	__u64 minor, major, voluntary, involuntary;
	struct as_task_io all, own;
	struct as_task_io io; /* the last that was read: the stack is too small for it */
	char raw[IO_BYTES];
	struct list_head *pos, *head; /* of the threads that are still to be added */
	bool leader_ended;            /* its I/O is in the process's `ended_io` */
};

/* Of the process that ends on this processor; a tracepoint is not preempted. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct usage);
} usages SEC(".maps");

static __always_inline struct usage *usage_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&usages, &zero);
}

/* See PATH_STEPS. */
#define THREADS_ROUND  2
#define THREADS_ROUNDS 16
#define THREADS_TURNS  (AS_THREADS_MAX / THREADS_ROUND / THREADS_ROUNDS)

/* One read for all members; where they lie in it is the kernel's business. */
static __always_inline void io_read(struct usage *u, const struct task_io_accounting *io)
{
	struct as_task_io *to = &u->io;

	bpf_probe_read_kernel(u->raw,
			      bpf_core_type_size(struct task_io_accounting) & (IO_BYTES - 1), io);
#define IO_MEMBER(m) \
	(*(__u64 *)&u->raw[bpf_core_field_offset(struct task_io_accounting, m) & (IO_BYTES - 8)])
	to->rchar = IO_MEMBER(rchar);
	to->wchar = IO_MEMBER(wchar);
	to->syscr = IO_MEMBER(syscr);
	to->syscw = IO_MEMBER(syscw);
	to->read_bytes = IO_MEMBER(read_bytes);
	to->write_bytes = IO_MEMBER(write_bytes);
#undef IO_MEMBER
}

static __always_inline void io_add(struct as_task_io *to, const struct as_task_io *io)
{
	to->rchar += io->rchar;
	to->wchar += io->wchar;
	to->syscr += io->syscr;
	to->syscw += io->syscw;
	to->read_bytes += io->read_bytes;
	to->write_bytes += io->write_bytes;
}

/* Of the process @tgid that @task is a thread of; where not everybody is chosen, it is there or never will be. */
static __always_inline struct as_proc *account_get(struct task_struct *task, __u32 tgid)
{
	struct as_proc fresh = {.start_ns = LOAD(LOAD(task, group_leader), start_boottime)};
	struct as_proc *proc = proc_kept(tgid, fresh.start_ns);

	if (proc || !cfg.accounts || cfg.by_process)
		return proc;
	/* KERNEL >= 6.16: the process may have been reported by its last thread before this one comes here */
	if (!user_wanted() || !LOAD(LOAD(task, signal), live.counter))
		return NULL;
	former_forget(tgid, fresh.start_ns);
	/* of several threads the first one makes it */
	bpf_map_update_elem(&procs, &tgid, &fresh, BPF_NOEXIST);
	return proc_kept(tgid, fresh.start_ns);
}

/* A thread ends, its process lives on: the only chance to tell its I/O from that of children. */
static __always_inline void thread_ended(struct usage *u, struct task_struct *task)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32, tid = (__u32)bpf_get_current_pid_tgid();
	struct as_proc *proc = account_get(task, tgid);
	__u64 start_ns = LOAD(task, start_boottime);

	if (!proc)
		return;
	io_read(u, &task->ioac);
	/* several may end at the same time */
	__sync_fetch_and_add(&proc->ends_begun, 1);
	__sync_fetch_and_add(&proc->ended_io.rchar, u->io.rchar);
	__sync_fetch_and_add(&proc->ended_io.wchar, u->io.wchar);
	__sync_fetch_and_add(&proc->ended_io.syscr, u->io.syscr);
	__sync_fetch_and_add(&proc->ended_io.syscw, u->io.syscw);
	__sync_fetch_and_add(&proc->ended_io.read_bytes, u->io.read_bytes);
	__sync_fetch_and_add(&proc->ended_io.write_bytes, u->io.write_bytes);
	if (tid == tgid)
		proc->leader_ended = 1;
	else
		bpf_map_update_elem(&ended_threads, &tid, &start_ns, BPF_ANY);
	__sync_fetch_and_add(&proc->ends_done, 1);
}

static __always_inline bool thread_counted(const struct usage *u, struct task_struct *t)
{
	__u32 tid = LOAD(t, pid);
	__u64 *start_ns;

	if (tid == LOAD(t, tgid))
		return u->leader_ended;
	start_ns = bpf_map_lookup_elem(&ended_threads, &tid);
	return start_ns && *start_ns == LOAD(t, start_boottime);
}

static __always_inline void usage_add_thread(struct usage *u, struct task_struct *t)
{
	u->utime += LOAD(t, utime);
	u->stime += LOAD(t, stime);
	u->runtime += LOAD(t, se.sum_exec_runtime);
	u->minor += LOAD(t, min_flt);
	u->major += LOAD(t, maj_flt);
	u->voluntary += LOAD(t, nvcsw);
	u->involuntary += LOAD(t, nivcsw);
	io_read(u, &t->ioac);
	io_add(&u->all, &u->io);
	if (!thread_counted(u, t))
		io_add(&u->own, &u->io);
}

/* Some threads of the list. True when none is left. */
__noinline int usage_round(void)
{
	struct usage *u = usage_get();
	int i;

	if (!u)
		return 1;
	for (i = 0; i < THREADS_ROUND; i++) {
		struct list_head *pos = u->pos;

		if (!pos || pos == u->head)
			return 1;
		usage_add_thread(u, task_at((void *)pos - bpf_core_field_offset(struct task_struct,
										thread_node)));
		u->pos = BPF_CORE_READ(pos, next);
	}
	return 0;
}

__noinline int usage_turn(void)
{
	int i, done = 0;

	for (i = 0; i < THREADS_ROUNDS && !done; i++)
		done = usage_round();
	return done;
}

/*
 * Threads that were reaped are summed in signal_struct; those still on its list, this one and
 * perhaps the leader among them, are added. False when there are more than the walk is allowed.
 */
static __always_inline bool usage_sum(struct usage *u, struct signal_struct *sig,
				      const struct as_proc *proc)
{
	int i;

	__builtin_memset(u, 0, sizeof(*u));
	u->leader_ended = proc && proc->leader_ended;
	u->utime = LOAD(sig, utime);
	u->stime = LOAD(sig, stime);
	u->runtime = LOAD(sig, sum_sched_runtime);
	u->minor = LOAD(sig, min_flt);
	u->major = LOAD(sig, maj_flt);
	u->voluntary = LOAD(sig, nvcsw);
	u->involuntary = LOAD(sig, nivcsw);
	io_read(u, &sig->ioac);
	u->all = u->io;
	u->head = &sig->thread_head;
	u->pos = BPF_CORE_READ(sig, thread_head.next);

	for (i = 0; i < THREADS_TURNS; i++) {
		if (usage_turn())
			return true;
	}
	return false;
}

/* What changes while another thread is moved from the list into the sums, or into `ended_io`. */
struct moves {
	__u32 reaped, begun;
	bool none; /* under way */
};

static __always_inline struct moves moves_seen(struct signal_struct *sig, struct as_proc *proc)
{
	struct moves m = {
		/* odd while somebody writes: kernel/exit.c, __exit_signal() */
		.reaped = BPF_CORE_READ(sig, stats_lock.seqcount.seqcount.sequence),
	};
	__u32 done = 0;

	if (proc) {
		done = *(volatile __u32 *)&proc->ends_done;
		m.begun = *(volatile __u32 *)&proc->ends_begun;
	}
	m.none = !(m.reaped & 1) && m.begun == done;
	return m;
}

enum usage_result {
	USAGE_MOVED,    /* threads went past on another processor */
	USAGE_TOO_MANY, /* threads */
	USAGE_ALL,
};

/* Global, as path_round() is. */
__noinline int usage_try(void)
{
	struct task_struct *task = task_at((void *)bpf_get_current_task());
	struct signal_struct *sig = LOAD(task, signal);
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	struct as_proc *proc = proc_kept(tgid, LOAD(LOAD(task, group_leader), start_boottime));
	struct usage *u = usage_get();
	struct moves before, after;
	bool all;

	if (!u)
		return USAGE_TOO_MANY;
	before = moves_seen(sig, proc);
	all = usage_sum(u, sig, proc);
	if (proc)
		io_add(&u->own, &proc->ended_io);
	after = moves_seen(sig, proc);
	if (!before.none || before.reaped != after.reaped || before.begun != after.begun)
		return USAGE_MOVED;
	return all ? USAGE_ALL : USAGE_TOO_MANY;
}

#define USAGE_TRIES 16

/* True when nobody is left out, or counted twice. */
static __always_inline bool usage_collect(void)
{
	int r = USAGE_MOVED, i;

	for (i = 0; i < USAGE_TRIES && r == USAGE_MOVED; i++)
		r = usage_try();
	return r == USAGE_ALL;
}

/*
 * The clock that a task's run time is measured with: the scheduler's, less what interrupts and the
 * hypervisor took from this processor. @mono_ns is CLOCK_MONOTONIC now; 0 when it cannot be told.
 */
static __always_inline __u64 task_clock(struct rq *rq, __u64 mono_ns, __s64 offset_ns)
{
	return mono_ns + offset_ns - (LOAD(rq, clock) - LOAD(rq, clock_task));
}

/* The run queue of the current task; NULL on kernels without group scheduling. */
static __always_inline struct rq *current_rq(struct task_struct *task)
{
	if (!bpf_core_field_exists(task->se.cfs_rq) || !bpf_core_type_exists(struct rq))
		return NULL;
	return LOAD(LOAD(task, se.cfs_rq), rq);
}

/*
 * The scheduler adds a running task's time to its sum at ticks and switches only: up to 10 ms are
 * missing, half of what a short process used. exec_start says when it last did. User space keeps
 * the difference of the scheduler's clock to CLOCK_MONOTONIC in `shared` (see clock_compare).
 */
static __always_inline __u64 unaccounted_ns(struct task_struct *task)
{
	__u32 zero = 0;
	struct as_shared *s = bpf_map_lookup_elem(&shared, &zero);
	struct rq *rq = current_rq(task);
	__s64 ns;

	if (!s || !s->sched_offset_ns || !rq)
		return 0;
	ns = task_clock(rq, bpf_ktime_get_ns(), s->sched_offset_ns) - LOAD(task, se.exec_start);
	return ns > 0 && ns < 1000000000 ? ns : 0;
}

/* Splits the exact run time by the sampled user and system times, as getrusage() does. */
static __always_inline void usage_split(const struct usage *u, struct as_exit *e)
{
	__u64 ratio, stime = u->stime, sum = u->utime + stime;

	if (!stime || !sum) {
		e->cpu_user_ns = u->runtime;
		e->cpu_system_ns = 0;
		return;
	}
	if (sum >> 40) { /* 18 minutes and more: a shift by 16 shall not lose bits */
		stime >>= 16;
		sum >>= 16;
	}
	ratio = (stime << 16) / sum; /* of 65536 */
	e->cpu_system_ns = (u->runtime >> 16) * ratio + (((u->runtime & 0xffff) * ratio) >> 16);
	e->cpu_user_ns = u->runtime - e->cpu_system_ns;
}

static __always_inline void exit_status(struct task_struct *task, struct signal_struct *sig,
					struct as_exit *e)
{
	int status;

	/* with the flag the whole group ends for one reason; else the leader's own status counts */
	if (LOAD(sig, flags) & SIGNAL_GROUP_EXIT)
		status = LOAD(sig, group_exit_code);
	else
		status = LOAD(LOAD(task, group_leader), exit_code);
	e->signal = status & 0x7f;
	e->core_dumped = !!(status & 0x80);
	e->exit_code = e->signal ? 0 : (status >> 8) & 0xff;
}

/*
 * KERNEL < 6.16: the hook does not say whether this is the last thread. Two that end at the same
 * instant may both see that none lives: one report, even when the other has been buried meanwhile.
 */
struct end {
	__u64 start_ns;
	__u64 tgid;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct end);
	__type(value, __u8);
} reported SEC(".maps");

#define EEXIST 17

static __always_inline bool first_to_report(__u32 tgid, __u64 start_ns, bool alone)
{
	struct end end = {.start_ns = start_ns, .tgid = tgid};
	__u8 yes = 1;

	/* whoever was first did not see itself alone: the leader is buried last */
	if (alone)
		return !bpf_map_lookup_elem(&reported, &end);
	/* KERNEL < 6.4: an int comes back, whose sign is not in the upper half */
	return (int)bpf_map_update_elem(&reported, &end, &yes, BPF_NOEXIST) != -EEXIST;
}

#define HAVE_GROUP_DEAD bpf_core_field_exists(struct trace_event_raw_sched_process_exit, group_dead)

/* Is the process over with this thread? Else it is a thread that ends, or the old leader at an exec. */
static __always_inline bool process_ends(struct trace_event_raw_sched_process_exit *ctx,
					 struct signal_struct *sig)
{
	if (HAVE_GROUP_DEAD)
		return ctx->group_dead;
	return LOAD(sig, live.counter) == 0;
}

static __always_inline void exit_sums(struct as_exit *e, const struct usage *u)
{
	e->minor_faults = u->minor;
	e->major_faults = u->major;
	e->voluntary = u->voluntary;
	e->involuntary = u->involuntary;
	e->rchar = u->all.rchar;
	e->wchar = u->all.wchar;
	e->syscr = u->all.syscr;
	e->syscw = u->all.syscw;
	e->read_bytes = u->all.read_bytes;
	e->write_bytes = u->all.write_bytes;
	e->own_rchar = u->own.rchar;
	e->own_wchar = u->own.wchar;
	e->own_syscr = u->own.syscr;
	e->own_syscw = u->own.syscw;
	e->own_read_bytes = u->own.read_bytes;
	e->own_write_bytes = u->own.write_bytes;
}

SEC("tp/sched/sched_process_exit")
int proc_exit(struct trace_event_raw_sched_process_exit *ctx)
{
	struct task_struct *task = task_at((void *)bpf_get_current_task());
	struct signal_struct *sig = LOAD(task, signal);
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	struct usage *u = usage_get();
	struct as_exit *e;
	__u64 start_ns;

	if (!u)
		return 0;
	if (!process_ends(ctx, sig)) {
		thread_ended(u, task);
		return 0;
	}
	if (!current_watched()) {
		/* followed, though of another user now: the number may come again */
		if (cfg.accounts && cfg.by_uid)
			bpf_map_delete_elem(&procs, &tgid);
		return 0;
	}
	start_ns = LOAD(LOAD(task, group_leader), start_boottime);
	if (!HAVE_GROUP_DEAD && !first_to_report(tgid, start_ns, LOAD(sig, nr_threads) == 1))
		return 0;

	e = event_reserve(&ring_events, AS_EV_EXIT, sizeof(*e));
	if (e) {
		hdr_fill(&e->h, AS_EV_EXIT, sizeof(*e));
		exit_status(task, sig, e);
		e->incomplete = !usage_collect();
		u->runtime += unaccounted_ns(task);
		usage_split(u, e);
		e->duration_ns = e->h.boot_ns - start_ns;
		e->max_rss_kb = LOAD(sig, maxrss) * cfg.page_kb;
		exit_sums(e, u);
		event_submit(&ring_events, e);
	}
	if (cfg.accounts)
		bpf_map_delete_elem(&procs, &tgid);
	return 0;
}

/* ---- killed for lack of memory ---- */

/* linux/mm_types_task.h; 2 is what was swapped out */
enum {
	RSS_FILE = 0,
	RSS_ANON = 1,
	RSS_SHMEM = 3,
};

#define SIGKILL       9
#define HAVE_OOM_TASK bpf_core_field_exists(struct trace_event_raw_mark_victim, anon_rss)

/*
 * KERNEL < 6.9: mark_victim tells a number, and a number is no way to a task. The kernel has sent the
 * victim its signal a moment before, on the same processor with preemption off.
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} killed SEC(".maps");

SEC("raw_tp/signal_generate")
int oom_signal(struct bpf_raw_tracepoint_args *ctx)
{
	__u64 task = ctx->args[2];
	__u32 zero = 0;

	if ((int)ctx->args[0] == SIGKILL)
		bpf_map_update_elem(&killed, &zero, &task, BPF_ANY);
	return 0;
}

static __always_inline struct task_struct *victim_by_number(pid_t pid)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	__u32 zero = 0;
	__u64 *last = bpf_map_lookup_elem(&killed, &zero);

	if (BPF_CORE_READ(task, pid) == pid)
		return task; /* was ending already and is let through */
	if (!last || !*last)
		return NULL;
	task = (void *)*last;
	return BPF_CORE_READ(task, pid) == pid ? task : NULL;
}

/*
 * Without what lies in the per-CPU parts of the counters, as the kernel's own message has it. A macro,
 * since only a constant index is relocated to the size that the kernel's counters have.
 */
#define RSS_KB(mm, member)                                                                   \
	({                                                                                   \
		struct mm_struct___v510 *_old = (void *)(mm); /* KERNEL < 6.2 */             \
		__s64 _pages = bpf_core_field_exists(_old->rss_stat.count)                   \
				       ? BPF_CORE_READ(_old, rss_stat.count[member].counter) \
				       : BPF_CORE_READ(mm, rss_stat[member].count);          \
		_pages > 0 ? _pages *cfg.page_kb : 0;                                        \
	})

/* The header of what happens to @task. */
static __always_inline void hdr_fill_task(struct as_hdr *h, __u32 type, __u32 len,
					  struct task_struct *task)
{
	struct task_struct *leader = BPF_CORE_READ(task, group_leader);

	h->len = len;
	h->type = type;
	h->flags = 0;
	h->boot_ns = bpf_ktime_get_boot_ns();
	h->start_ns = BPF_CORE_READ(leader, start_boottime);
	h->tgid = BPF_CORE_READ(task, tgid);
	h->tid = BPF_CORE_READ(task, pid);
	h->ppid = BPF_CORE_READ(leader, real_parent, tgid);
	h->uid = BPF_CORE_READ(task, cred, uid.val);
	BPF_CORE_READ_INTO(&h->comm, leader, comm);
}

static __always_inline bool victim_watched(struct task_struct *task)
{
	if (cfg.by_uid && BPF_CORE_READ(task, cred, uid.val) != cfg.uid)
		return false;
	return proc_watched(BPF_CORE_READ(task, tgid));
}

SEC("raw_tp/mark_victim")
int proc_oom(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task;
	struct as_oom_kill *e;
	struct mm_struct *mm;

	if (HAVE_OOM_TASK)
		task = (void *)ctx->args[0];
	else
		task = victim_by_number(ctx->args[0]);
	if (!task) {
		ledger_add(AS_EV_OOM_KILL, unread, 1);
		return 0;
	}
	if (!victim_watched(task))
		return 0;
	e = event_reserve(&ring_events, AS_EV_OOM_KILL, sizeof(*e));
	if (!e)
		return 0;
	hdr_fill_task(&e->h, AS_EV_OOM_KILL, sizeof(*e), task);
	mm = BPF_CORE_READ(task, mm);
	e->anon_kb = RSS_KB(mm, RSS_ANON);
	e->file_kb = RSS_KB(mm, RSS_FILE);
	e->shmem_kb = RSS_KB(mm, RSS_SHMEM);
	e->score_adj = BPF_CORE_READ(task, signal, oom_score_adj);
	event_submit(&ring_events, e);
	return 0;
}

/* ---- the scheduler's clock ---- */

/* Run by user space right after it was switched in: the run queue's clock was set a moment ago. */
SEC("raw_tp/sched_switch")
int clock_compare(void *ctx)
{
	struct task_struct *task = task_at((void *)bpf_get_current_task());
	struct rq *rq = current_rq(task);
	__u32 zero = 0;
	struct as_shared *s = bpf_map_lookup_elem(&shared, &zero);

	if (s && rq)
		s->sched_sample_ns = LOAD(rq, clock) - bpf_ktime_get_ns();
	return 0;
}

/* ---- what this kernel has ---- */

/* Questions to the kernel's type information, answered once for all families. */
SEC("raw_tp/sched_switch")
int ask_features(void *ctx)
{
	__u32 zero = 0;
	struct as_shared *s = bpf_map_lookup_elem(&shared, &zero);

	if (s && bpf_core_field_exists(struct fprobe, hlist_array))
		s->features |= AS_FEATURE_RETURN_STACK;
	if (s && bpf_core_type_exists(btf_trace_sock_send_length))
		s->features |= AS_FEATURE_SOCK_LENGTH;
	if (s && HAVE_OOM_TASK)
		s->features |= AS_FEATURE_OOM_TASK;
	return 0;
}
