/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The system call that the current thread is in: its number and arguments as they stand in the saved
 * user registers, and its descriptors. Another processor means other registers and other numbers.
 */
#ifndef AGENTSIGHT_BPF_CALLER_H
#define AGENTSIGHT_BPF_CALLER_H

#include "maps.bpf.h"
#include "task.bpf.h"

#if defined(__TARGET_ARCH_arm64)

#define TIF_32BIT (1UL << 22)

#define CALLER_STATUS thread_info.flags
#define CALLER_32BIT  TIF_32BIT

/* members of struct pt_regs */
#define CALL_NUMBER syscallno
#define CALL_ARG1   orig_x0 /* x0 holds the result by now */
#define CALL_ARG2   regs[1]
#define CALL_ARG3   regs[2]
#define CALL_ARG4   regs[3]
#define CALL_ARG5   regs[4]

enum call_number {
	NR_READ = 63,
	NR_WRITE = 64,
	NR_READV = 65,
	NR_WRITEV = 66,
	NR_SENDTO = 206,
	NR_RECVFROM = 207,
	NR_SENDMSG = 211,
	NR_RECVMSG = 212,
	NR_PREADV2 = 286,
	NR_PWRITEV2 = 287,
};

#else

#define TS_COMPAT 0x2 /* asm/thread_info.h; still set when the call ends */

#define CALLER_STATUS thread_info.status
#define CALLER_32BIT  TS_COMPAT

/* members of struct pt_regs */
#define CALL_NUMBER   orig_ax
#define CALL_ARG1     di
#define CALL_ARG2     si
#define CALL_ARG3     dx
#define CALL_ARG4     r10
#define CALL_ARG5     r8

enum call_number {
	NR_READ = 0,
	NR_WRITE = 1,
	NR_READV = 19,
	NR_WRITEV = 20,
	NR_SENDTO = 44,
	NR_RECVFROM = 45,
	NR_SENDMSG = 46,
	NR_RECVMSG = 47,
	NR_PREADV2 = 327,
	NR_PWRITEV2 = 328,
};

#endif

static __always_inline struct file *fd_file(__s32 fd)
{
	struct file *file = NULL, **files;
	struct task_struct *task;
	struct fdtable *fdt;
	__u32 max;

	if (HAVE_TASK_BTF) {
		task = current_to_read();
		fdt = task->files->fdt;
		max = fdt->max_fds;
		files = fdt->fd;
	} else {
		task = (void *)bpf_get_current_task();
		fdt = BPF_CORE_READ(task, files, fdt);
		max = BPF_CORE_READ(fdt, max_fds);
		files = BPF_CORE_READ(fdt, fd);
	}
	if ((__u32)fd >= max)
		return NULL;
	bpf_probe_read_kernel(&file, sizeof(file), files + fd);
	return file;
}

static __always_inline bool caller_is_32bit(void)
{
	struct task_struct *task;

	if (HAVE_TASK_BTF) {
		task = bpf_get_current_task_btf();
		return task->CALLER_STATUS & CALLER_32BIT;
	}
	task = (void *)bpf_get_current_task();
	return BPF_CORE_READ(task, CALLER_STATUS) & CALLER_32BIT;
}

#define EINTR 4

/* The kernel's own: the call is run again, or the program sees EINTR. */
#define ERESTART_FIRST 512
#define ERESTART_LAST  516

/* The error that the program sees; 0 if there is none. */
static __always_inline __s32 call_error(long ret)
{
	if (ret >= 0)
		return 0;
	if (ret <= -ERESTART_FIRST && ret >= -ERESTART_LAST)
		return EINTR;
	return -ret;
}

/* ---- from inside a call, where no hook hands over the registers ---- */

struct caller {
	__u64 nr;
	__u64 fd;
	__u64 arg2;
	__u64 arg3;
};

#define TASK_KERNEL    0x00200000 /* PF_KTHREAD */
#define TASK_IO_WORKER 0x10 /* PF_IO_WORKER: its registers are those of another thread's call */

#define THREAD_SIZE (16 * 1024) /* KERNEL < 5.15 */

/* Where the registers lie is known only where a helper tells: KERNEL < 5.15 has them at the stack's end. */
static __always_inline void caller_read_stack(struct caller *c)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	const struct pt_regs *regs =
		BPF_CORE_READ(task, stack) + THREAD_SIZE - bpf_core_type_size(struct pt_regs);

	c->nr = BPF_PROBE_READ(regs, CALL_NUMBER);
	c->fd = BPF_PROBE_READ(regs, CALL_ARG1);
	c->arg2 = BPF_PROBE_READ(regs, CALL_ARG2);
	c->arg3 = BPF_PROBE_READ(regs, CALL_ARG3);
}

/* False: current is in no call of a program of 64 bits. */
static __always_inline bool caller_read(struct caller *c)
{
	const struct pt_regs *regs;
	struct task_struct *task = (void *)bpf_get_current_task();

	if (BPF_CORE_READ(task, flags) & (TASK_KERNEL | TASK_IO_WORKER) || caller_is_32bit())
		return false;
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs)) {
		regs = (void *)bpf_task_pt_regs(bpf_get_current_task_btf());
		c->nr = regs->CALL_NUMBER;
		c->fd = regs->CALL_ARG1;
		c->arg2 = regs->CALL_ARG2;
		c->arg3 = regs->CALL_ARG3;
	} else {
		caller_read_stack(c);
	}
	return true;
}

#endif
