/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The sampler's source: one pass over all tasks, a binary record for each thread of a watched
 * process. It costs about 0.3 us per task, a file of /proc 7 us per process.
 *
 * The iterator hands out a typed pointer, so members are read directly, without a helper call each;
 * a pointer that leads nowhere reads as zero.
 */
#include "lib/filter.bpf.h"
#include "lib/maps.bpf.h"
#include "lib/task.bpf.h"

#include <agentsight/task.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define CPUS_MAX   512 /* beside it cfg.cpus, which spares the verifier 500 rounds of each loop */
#define PF_EXITING 0x00000004 /* linux/sched.h, unchanged since 2.6 */

/* mm_types_task.h: pages of files, anonymous, swapped out (not resident), shared memory */
enum { RSS_FILE, RSS_ANON, RSS_SWAP, RSS_SHMEM, RSS_KINDS };

/* Holds nothing: where its per-CPU copies lie tells how far apart the kernel's per-CPU areas are. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} yardstick SEC(".maps");

__u64 area_off[CPUS_MAX]; /* what to add to a per-CPU pointer; filled by the first pass */
__u32 areas;

/* The verifier allows no arithmetic on some pointers, but does not know one that was read back. */
static __always_inline __u64 plain_number(const void *ptr)
{
	__u64 n = 0;

	bpf_probe_read_kernel(&n, sizeof(n), &ptr);
	return n;
}

/* Needs bpf_map_lookup_percpu_elem(), of 5.19, which the kernels concerned have. */
static __always_inline void areas_find(void)
{
	const __u32 pptrs = bpf_core_field_offset(struct bpf_array, pptrs);
	__u32 zero = 0, cpu;
	__u64 base = 0;

	bpf_probe_read_kernel(&base, sizeof(base), (void *)plain_number(&yardstick) + pptrs);
	for (cpu = 0; cpu < CPUS_MAX && cpu < cfg.cpus; cpu++) {
		void *copy = bpf_map_lookup_percpu_elem(&yardstick, &zero, cpu);

		if (!copy)
			break;
		area_off[cpu] = plain_number(copy) - base;
		areas = cpu + 1;
	}
}

/*
 * A counter's `count` lags behind its per-CPU parts by up to 32 pages, or twice the number of
 * processors, on each of them: 768 KiB with two processors, 100 MiB with 64. So the parts are
 * added.
 */
static __always_inline void rss_parts(struct mm_struct *mm, __s64 pages[RSS_KINDS], bool detail)
{
	__u64 file = (__u64)mm->rss_stat[RSS_FILE].counters;
	__u64 anon = (__u64)mm->rss_stat[RSS_ANON].counters;
	__u64 swap = (__u64)mm->rss_stat[RSS_SWAP].counters;
	__u64 shmem = (__u64)mm->rss_stat[RSS_SHMEM].counters;
	__s32 part[RSS_KINDS] = {};
	__u32 cpu;

	for (cpu = 0; cpu < CPUS_MAX && cpu < cfg.cpus && cpu < areas; cpu++) {
		__u64 off = area_off[cpu];

		/* they are allocated together since 6.6: one read */
		if (anon == file + 4 && shmem == file + 12) {
			bpf_probe_read_kernel(part, sizeof(part), (void *)(file + off));
		} else {
			bpf_probe_read_kernel(&part[RSS_FILE], 4, (void *)(file + off));
			bpf_probe_read_kernel(&part[RSS_ANON], 4, (void *)(anon + off));
			bpf_probe_read_kernel(&part[RSS_SHMEM], 4, (void *)(shmem + off));
			if (detail)
				bpf_probe_read_kernel(&part[RSS_SWAP], 4, (void *)(swap + off));
		}
		pages[RSS_FILE] += part[RSS_FILE];
		pages[RSS_ANON] += part[RSS_ANON];
		pages[RSS_SHMEM] += part[RSS_SHMEM];
		pages[RSS_SWAP] += part[RSS_SWAP];
	}
}

static __always_inline void rss_exact(struct mm_struct *mm, __s64 pages[RSS_KINDS], bool detail)
{
	pages[RSS_FILE] = mm->rss_stat[RSS_FILE].count;
	pages[RSS_ANON] = mm->rss_stat[RSS_ANON].count;
	pages[RSS_SWAP] = mm->rss_stat[RSS_SWAP].count;
	pages[RSS_SHMEM] = mm->rss_stat[RSS_SHMEM].count;

	/* a kernel with one processor has no parts */
	if (!bpf_core_field_exists(mm->rss_stat[0].counters) ||
	    !bpf_core_field_exists(((struct bpf_array *)0)->pptrs))
		return;
	if (!areas)
		areas_find();
	rss_parts(mm, pages, detail);
}

/* The parts may be negative for a moment. */
static __always_inline __u64 positive(__s64 n)
{
	return n > 0 ? n : 0;
}

static __always_inline void rss_read(struct mm_struct *mm, __s64 pages[RSS_KINDS], bool detail)
{
	struct mm_struct___v510 *old = (void *)mm;

	/* KERNEL < 6.2: whose verifier takes an atomic_long_t for no struct, so by helper */
	if (bpf_core_field_exists(old->rss_stat.count)) {
		pages[RSS_FILE] = BPF_CORE_READ(old, rss_stat.count[RSS_FILE].counter);
		pages[RSS_ANON] = BPF_CORE_READ(old, rss_stat.count[RSS_ANON].counter);
		pages[RSS_SHMEM] = BPF_CORE_READ(old, rss_stat.count[RSS_SHMEM].counter);
		if (detail)
			pages[RSS_SWAP] = BPF_CORE_READ(old, rss_stat.count[RSS_SWAP].counter);
	} else {
		rss_exact(mm, pages, detail);
	}
}

/* @ret_proc: what is kept of the process, if something is. */
static __always_inline bool task_wanted(struct task_struct *task, __u32 tgid,
					struct as_proc **ret_proc)
{
	*ret_proc = NULL;
	if (is_own(tgid) || task->flags & PF_KTHREAD)
		return false;
	if (cfg.by_uid && task->real_cred->uid.val != cfg.uid)
		return false;
	if (cfg.accounts)
		*ret_proc = proc_kept(tgid, task->group_leader->start_boottime);
	if (cfg.by_process && !*ret_proc)
		return false;
	/* 0: its exit has been reported, with all that it used */
	return task->signal->live.counter > 0;
}

static __always_inline void fill_process(struct as_task *t, struct task_struct *leader)
{
	struct signal_struct *sig = leader->signal;

	t->cpu_ns += sig->sum_sched_runtime;
	t->read_bytes += sig->ioac.read_bytes;
	t->write_bytes += sig->ioac.write_bytes;
	t->threads = sig->nr_threads;
	t->waited_faults = sig->cmin_flt;
}

/* ---- details ---- */

#define NICE_ZERO    120 /* linux/sched/prio.h: the priority of nice 0 */
#define STATE_BITS   0xff
#define STATE_DISK   0x9000 /* TASK_RTLOCK_WAIT, TASK_FROZEN, whatever else there is */
#define STATE_NOLOAD 0x400  /* with TASK_UNINTERRUPTIBLE: a kernel thread's sleep */

/* linux/sched.h: as /proc shows them, unchanged since 4.14 but for those that came since (5.15, 6.1) */
static __always_inline __u32 thread_state(struct task_struct *task)
{
	struct task_struct___v510 *old = (void *)task;
	__u32 state;

	if (bpf_core_field_exists(task->__state))
		state = task->__state;
	else
		state = old->state;
	if (task->exit_state)
		return AS_THREAD_DEAD;
	if (state & STATE_DISK)
		return AS_THREAD_DISK;
	if (state & 0x4)
		return AS_THREAD_STOPPED;
	if (state & 0x8)
		return AS_THREAD_TRACED;
	if (state & 0x2)
		return state & STATE_NOLOAD ? AS_THREAD_SLEEPING : AS_THREAD_DISK;
	if (state & 0x1)
		return AS_THREAD_SLEEPING;
	return state & STATE_BITS ? AS_THREAD_OTHER : AS_THREAD_RUNNING;
}

static __always_inline __s32 last_cpu(struct task_struct *task)
{
	struct task_struct___v510 *old = (void *)task;

	if (bpf_core_field_exists(task->thread_info.cpu))
		return task->thread_info.cpu;
	if (bpf_core_field_exists(old->cpu))
		return old->cpu;
	return -1;
}

/* @of: a task or its signal_struct, which have the same members. */
#define FILL_USAGE(to, of)                                                       \
	((to)->user_ns = (of)->utime, (to)->system_ns = (of)->stime,             \
	 (to)->minor_faults = (of)->min_flt, (to)->major_faults = (of)->maj_flt, \
	 (to)->voluntary = (of)->nvcsw, (to)->involuntary = (of)->nivcsw)

#define FILL_IO(to, of)                                                  \
	((to)->rchar = (of)->ioac.rchar, (to)->wchar = (of)->ioac.wchar, \
	 (to)->syscr = (of)->ioac.syscr, (to)->syscw = (of)->ioac.syscw, \
	 (to)->read_bytes = (of)->ioac.read_bytes, (to)->write_bytes = (of)->ioac.write_bytes)

static __always_inline void fill_memory(struct as_task_more *m, struct mm_struct *mm,
					const __s64 pages[RSS_KINDS])
{
	m->flags |= AS_TASK_MEMORY;
	m->anon_pages = positive(pages[RSS_ANON]);
	m->file_pages = positive(pages[RSS_FILE]);
	m->shmem_pages = positive(pages[RSS_SHMEM]);
	m->swap_pages = positive(pages[RSS_SWAP]);
	m->peak_pages = mm->hiwater_rss;
}

static __always_inline void fill_more(struct as_task_full *t, struct task_struct *task,
				      const struct as_proc *proc)
{
	struct as_task_more *m = &t->more;
	struct signal_struct *sig = task->signal;

	m->start_ns = task->start_boottime;
	m->cpu_ns = task->se.sum_exec_runtime;
	if (bpf_core_field_exists(task->sched_info.run_delay))
		m->wait_ns = task->sched_info.run_delay;
	FILL_USAGE(&m->usage, task);
	FILL_IO(&m->io, task);
	m->state = thread_state(task);
	m->last_cpu = last_cpu(task);
	m->nice = task->static_prio - NICE_ZERO;
	m->policy = task->policy;
	m->priority = task->rt_priority;
	if (task->flags & PF_EXITING)
		m->flags |= AS_TASK_EXITING;
	if (t->task.tid != t->task.tgid) {
		BPF_CORE_READ_INTO(&m->name, task, comm);
		return;
	}
	__builtin_memcpy(m->name, t->task.comm, sizeof(m->name));
	FILL_USAGE(&m->group_usage, sig);
	FILL_IO(&m->group_io, sig);
	if (proc)
		m->ended_io = proc->ended_io; /* counted by bpf/proc.bpf.c */
}

/* ---- the pass ---- */

static __always_inline void fill_task(struct as_task *t, struct task_struct *task,
				      struct task_struct *leader)
{
	t->tgid = task->tgid;
	t->tid = task->pid;
	t->ppid = leader->real_parent->tgid;
	t->uid = task->real_cred->uid.val;
	t->start_ns = leader->start_boottime;
	t->cpu_ns = task->se.sum_exec_runtime;
	t->read_bytes = task->ioac.read_bytes;
	t->write_bytes = task->ioac.write_bytes;
	BPF_CORE_READ_INTO(&t->comm, leader, comm);
	if (t->tid == t->tgid)
		fill_process(t, task);
}

static __always_inline struct mm_struct *memory_of(struct task_struct *task,
						   struct task_struct *leader)
{
	return task == leader || !leader->mm ? task->mm : NULL;
}

static __always_inline void fill_rss(struct as_task *t, struct mm_struct *mm,
				     const __s64 pages[RSS_KINDS])
{
	t->vsz_pages = mm->total_vm;
	t->rss_pages = positive(pages[RSS_FILE] + pages[RSS_ANON] + pages[RSS_SHMEM]);
}

SEC("iter/task")
int task_sample(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task, *leader;
	__s64 pages[RSS_KINDS] = {};
	struct as_task t = {};
	struct mm_struct *mm;
	struct as_proc *proc;

	if (!task)
		return 0;
	task = task_at(task);
	if (!task_wanted(task, task->tgid, &proc))
		return 0;

	leader = task->group_leader;
	fill_task(&t, task, leader);
	mm = memory_of(task, leader);
	if (mm) {
		rss_read(mm, pages, false);
		fill_rss(&t, mm, pages);
	}
	bpf_seq_write(ctx->meta->seq, &t, sizeof(t));
	return 0;
}

/* Too large for the stack. One reader at a time makes the passes. */
struct as_task_full full;

/* What the record before had there and what is not filled in always: all of it would take longer. */
static __always_inline void full_clear(bool leader)
{
	struct as_task_more *m = &full.more;

	full.task.rss_pages = 0;
	full.task.vsz_pages = 0;
	full.task.threads = 0;
	full.task.waited_faults = 0;
	m->wait_ns = 0;
	m->anon_pages = 0;
	m->file_pages = 0;
	m->shmem_pages = 0;
	m->swap_pages = 0;
	m->peak_pages = 0;
	m->flags = 0;
	__builtin_memset(&m->ended_io, 0, sizeof(m->ended_io));
	if (leader)
		return;
	__builtin_memset(&m->group_usage, 0, sizeof(m->group_usage));
	__builtin_memset(&m->group_io, 0, sizeof(m->group_io));
}

SEC("iter/task")
int task_detail(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task, *leader;
	__s64 pages[RSS_KINDS] = {};
	struct mm_struct *mm;
	struct as_proc *proc;

	if (!task)
		return 0;
	task = task_at(task);
	if (!task_wanted(task, task->tgid, &proc))
		return 0;

	leader = task->group_leader;
	full_clear(task->pid == task->tgid);
	fill_task(&full.task, task, leader);
	fill_more(&full, task, proc);
	mm = memory_of(task, leader);
	if (mm) {
		rss_read(mm, pages, true);
		fill_rss(&full.task, mm, pages);
		fill_memory(&full.more, mm, pages);
	}
	bpf_seq_write(ctx->meta->seq, &full, sizeof(full));
	return 0;
}
