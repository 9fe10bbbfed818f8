/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What threads wait for, summed up per process and reason. A thread that leaves its processor is
 * still `current`: the system call it is in stands in its saved registers, so nothing has to be
 * hooked at the calls themselves.
 *
 * A wait is the time until the thread is woken; from there until it gets a processor it waits in a
 * run queue, which is told apart. What a process does while it ends is not looked at.
 */
#include "lib/turns.bpf.h"
#include "lib/filter.bpf.h"
#include "lib/caller.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* linux/sched.h; these have been the same since 4.14 */
#define STATE_UNINTERRUPTIBLE 0x02
#define STATE_STOPPED         0x04
#define STATE_TRACED          0x08
#define STATE_DEAD            0x80
#define STATE_FROZEN          0x8000 /* since 6.1 */
#define TASK_EXITING          0x04   /* PF_EXITING */

#define CLONE_VFORK 0x4000 /* linux/sched.h of user space */

#define S_IFMT   0170000
#define S_IFIFO  0010000
#define S_IFSOCK 0140000

/* enum as_wait by number of the system call; filled by user space, by name. */
const volatile __u8 wait_of_call[AS_CALLS_MAX] = {};

__u64 turn_ns;        /* when this turn began; written before `turn` */
volatile __u64 ended; /* threads that have; user space takes their entries away */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32);
	__type(value, struct as_wait_thread);
} wait_threads SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct as_life);
	__type(value, struct as_waits);
} waits SEC(".maps");

/* All zero: too large for the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct as_waits);
} fresh_waits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct as_wait_thread);
} fresh_thread SEC(".maps");

/* ---- why ---- */

static __always_inline __u32 wait_by_fd(__s32 fd)
{
	struct file *file = fd_file(fd);
	__u32 kind = file ? BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT : 0;

	if (kind == S_IFSOCK)
		return AS_WAIT_SOCKET;
	return kind == S_IFIFO ? AS_WAIT_PIPE : AS_WAIT_FILE;
}

/* A clone() may wait for its child's exec, like vfork(), or for a lock in the kernel. */
static __always_inline __u32 wait_by_flags(__u64 flags)
{
	return flags & CLONE_VFORK ? AS_WAIT_CHILD : AS_WAIT_OTHER;
}

static __always_inline __u32 wait_in_call(const struct caller *c)
{
	__u32 wait = c->nr < AS_CALLS_MAX ? wait_of_call[c->nr] : AS_WAIT_OTHER;
	__u64 flags = 0;

	if (wait == AS_WAIT_BY_FD)
		return wait_by_fd(c->fd);
	if (wait == AS_WAIT_BY_FLAGS)
		return wait_by_flags(c->fd);
	if (wait == AS_WAIT_BY_STRUCT) {
		bpf_probe_read_user(&flags, sizeof(flags), (void *)c->fd);
		return wait_by_flags(flags);
	}
	return wait;
}

/* Of the current thread, which is about to leave its processor in @state. */
static __always_inline __u32 wait_reason(__u64 state)
{
	struct caller c = {};
	__u32 wait;

	if (state & (STATE_STOPPED | STATE_TRACED | STATE_FROZEN))
		return AS_WAIT_STOPPED;
	if (!caller_read(&c))
		return state & STATE_UNINTERRUPTIBLE ? AS_WAIT_DISK : AS_WAIT_OTHER;
	if ((__s32)c.nr < 0)
		return AS_WAIT_FAULT;
	wait = wait_in_call(&c);
	if (state & STATE_UNINTERRUPTIBLE && wait != AS_WAIT_CHILD)
		return AS_WAIT_DISK;
	return wait;
}

/* ---- entries ---- */

static __always_inline bool waits_exist(const struct as_life *life)
{
	struct as_waits *w = bpf_map_lookup_elem(&waits, life);
	__u32 zero = 0;

	if (w)
		return true;
	w = bpf_map_lookup_elem(&fresh_waits, &zero);
	if (!w)
		return false;
	bpf_map_update_elem(&waits, life, w, BPF_NOEXIST);
	w = bpf_map_lookup_elem(&waits, life);
	if (!w)
		return false;
	hdr_fill(&w->h, AS_EV_OFFCPU, 0);
	return true;
}

/* The entry of the current thread, made anew if another thread had its number before. */
static __always_inline struct as_wait_thread *thread_get(__u32 tid, __u64 start_ns)
{
	struct as_wait_thread *t = bpf_map_lookup_elem(&wait_threads, &tid);
	struct as_life life;
	__u32 zero = 0;

	if (t && t->start_ns == start_ns)
		return t;
	life_of_current(&life);
	t = bpf_map_lookup_elem(&fresh_thread, &zero);
	if (!t || !waits_exist(&life))
		return NULL;
	bpf_map_update_elem(&wait_threads, &tid, t, BPF_ANY);
	t = bpf_map_lookup_elem(&wait_threads, &tid);
	if (!t)
		return NULL;
	t->life = life;
	t->start_ns = start_ns;
	return t;
}

static __always_inline void thread_add(struct as_wait_thread *t, __u32 wait, __u64 since_ns,
				       __u64 ready_ns)
{
	struct as_wait_turn *now = &t->turns[turn & 1];

	if (now->turn != turn) {
		__builtin_memset(now->time_ns, 0, sizeof(now->time_ns));
		now->turn = turn;
	}
	if (since_ns < turn_ns)
		since_ns = turn_ns;
	if (ready_ns > since_ns)
		now->time_ns[wait] += ready_ns - since_ns;
}

static __always_inline void wait_add(struct as_wait_thread *t, __u64 since_ns, __u64 ready_ns,
				     __u64 now)
{
	struct as_life life = t->life;
	struct as_waits *w = bpf_map_lookup_elem(&waits, &life);
	__u32 wait = t->wait;
	__u64 ns;

	if (wait >= AS_WAIT_COUNT)
		return;
	if (!w) {
		ledger_add(AS_EV_OFFCPU, shed, 1);
		return;
	}
	ns = wait == AS_WAIT_PREEMPTED ? now - since_ns : ready_ns - since_ns;
	/* not an atomic addition of 0, for which the compiler takes an atomic operation of 5.12 */
	if (now > ready_ns)
		__sync_fetch_and_add(&w->runqueue_ns, now - ready_ns);
	__sync_fetch_and_add(&w->by[wait].count, 1);
	__sync_fetch_and_add(&w->by[wait].time_ns, ns);
	peak_add(w->by[wait].peaks, ns);
	if (wait != AS_WAIT_PREEMPTED)
		thread_add(t, wait, since_ns, ready_ns);
}

/* The kernel does not tell of every switch. Then a wait has ended when the thread was woken, if that was told. */
static __always_inline void wait_close(struct as_wait_thread *t)
{
	__u64 since_ns = t->since_ns, ready_ns = t->ready_ns;

	if (!since_ns)
		return;
	t->since_ns = 0;
	if (ready_ns < since_ns)
		ledger_add(AS_EV_OFFCPU, shed, 1);
	else
		wait_add(t, since_ns, ready_ns, ready_ns);
}

/*
 * The leader's entry stays until the process ends: a thread that execs takes over its number and start time,
 * and with them the entry.
 */
static __always_inline void thread_end(__u32 tgid, __u32 tid)
{
	struct as_wait_thread *t;

	if (tid == tgid)
		return;
	t = bpf_map_lookup_elem(&wait_threads, &tid);
	if (!t || t->ended || t->life.tgid != tgid)
		return;
	wait_close(t);
	t->ended = 1;
	__sync_fetch_and_add(&ended, 1);
}

/* ---- the switch ---- */

static __always_inline void switch_out(struct task_struct *task, bool preempted, __u64 state)
{
	__u64 id = bpf_get_current_pid_tgid(), now;
	struct as_wait_thread *t;
	__u32 flags;

	if (!id || !thread_watched(id))
		return;
	flags = BPF_CORE_READ(task, flags);
	if (flags & TASK_KERNEL)
		return;
	if (state & STATE_DEAD || flags & TASK_EXITING) {
		thread_end(id >> 32, id);
		return;
	}
	t = thread_get(id, BPF_CORE_READ(task, start_boottime));
	if (!t) {
		ledger_add(AS_EV_OFFCPU, shed, 1);
		return;
	}
	wait_close(t);
	BPF_CORE_READ_INTO(&t->name, task, comm);
	preempted |= !state;
	t->wait = preempted ? AS_WAIT_PREEMPTED : wait_reason(state);
	now = bpf_ktime_get_boot_ns();
	t->ready_ns = preempted ? now : 0;
	barrier();
	t->since_ns = now; /* last: from here on it may be woken */
}

static __always_inline void switch_in(struct task_struct *next)
{
	__u32 tid = BPF_CORE_READ(next, pid);
	__u64 since_ns, ready_ns, now;
	struct as_wait_thread *t;

	if (!tid)
		return;
	t = bpf_map_lookup_elem(&wait_threads, &tid);
	if (!t || !t->since_ns || t->start_ns != BPF_CORE_READ(next, start_boottime))
		return;
	now = bpf_ktime_get_boot_ns();
	since_ns = t->since_ns;
	ready_ns = t->ready_ns;
	t->since_ns = 0;
	/* clocks of two processors */
	if (!ready_ns || ready_ns > now)
		ready_ns = now;
	if (ready_ns < since_ns)
		ready_ns = since_ns;
	if (now >= since_ns)
		wait_add(t, since_ns, ready_ns, now);
}

/* ---- hooks ---- */

/*
 * The state comes as an argument, since the task may be woken meanwhile: a program that reads more
 * arguments than there are is refused when it is attached. 5.18 had it in front of the tasks.
 */
SEC("raw_tp/sched_switch")
int offcpu_switch(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *prev = (void *)bpf_get_current_task();
	__u64 first = ctx->args[1], second = ctx->args[2], third = ctx->args[3];
	bool in_front;

	/* or the compiler chooses among addresses of arguments, which the verifier does not follow */
	barrier_var(first);
	barrier_var(second);
	barrier_var(third);
	in_front = first != (__u64)prev;
	switch_out(prev, ctx->args[0], (__u32)(in_front ? first : third));
	switch_in((void *)(in_front ? third : second));
	return 0;
}

/* KERNEL < 5.18 */
SEC("raw_tp/sched_switch")
int offcpu_switch_short(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *prev = (void *)bpf_get_current_task();
	struct task_struct___v510 *old = (void *)prev;
	__u64 state;

	if (bpf_core_field_exists(old->state))
		state = BPF_CORE_READ(old, state);
	else
		state = BPF_CORE_READ(prev, __state);
	switch_out(prev, ctx->args[0], state);
	switch_in((void *)ctx->args[2]);
	return 0;
}

/* In its run queue now. Not sched_waking: that may come before the thread has left its processor. */
SEC("raw_tp/sched_wakeup")
int offcpu_wakeup(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (void *)ctx->args[0];
	__u32 tid = BPF_CORE_READ(task, pid);
	struct as_wait_thread *t = bpf_map_lookup_elem(&wait_threads, &tid);

	if (t && t->since_ns && !t->ready_ns)
		t->ready_ns = bpf_ktime_get_boot_ns();
	return 0;
}

/* A thread that execs has its process's number by now, and another process may have its own already. */
SEC("raw_tp/sched_process_exec")
int offcpu_exec(struct bpf_raw_tracepoint_args *ctx)
{
	thread_end(bpf_get_current_pid_tgid() >> 32, ctx->args[1]);
	return 0;
}
