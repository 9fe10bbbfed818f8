/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Tasks whose members are read directly, at a nanosecond each; a helper call for each costs 20. */
#ifndef AGENTSIGHT_BPF_TASK_H
#define AGENTSIGHT_BPF_TASK_H

#include "maps.bpf.h"

#define PF_KTHREAD 0x00200000 /* linux/sched.h, unchanged since 2.6 */

/* KERNEL < 5.11 has no typed pointer to the current task. */
#define HAVE_TASK_BTF bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_current_task_btf)

/*
 * KERNEL 6.3 to 6.18: for each pointer that is loaded out of one that it trusts the verifier searches all
 * types of the kernel for a name, which takes it 1 ms, a third of the time to load our programs. Those behind a
 * pointer that was cast it does not trust; each load is then half a nanosecond slower. User space puts the kernel's
 * function in the place of this number.
 */
static struct task_struct *(*const task_cast)(struct task_struct *task,
					      __u32 type) = (void *)AS_CALL_CAST;

/* The task at an address from anywhere, whose members, and those of what they point to, LOAD() reads. */
static __always_inline struct task_struct *task_at(const void *address)
{
	struct task_struct *task = (void *)address;
	__u32 type = cfg.task_type;

	return type ? task_cast(task, type) : task;
}

static __always_inline struct task_struct *current_to_read(void)
{
	return task_at(bpf_get_current_task_btf());
}

/* Directly where there are casts, else with a helper call. */
#define LOAD(p, member)                                                   \
	({                                                                \
		__auto_type _at = (p);                                    \
		cfg.task_type ? _at->member : BPF_CORE_READ(_at, member); \
	})

#endif
