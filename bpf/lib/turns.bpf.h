/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What the families that sum up share: whose sums they are, and which turn it is. */
#ifndef AGENTSIGHT_BPF_TURNS_H
#define AGENTSIGHT_BPF_TURNS_H

#include "emit.bpf.h"
#include <agentsight/calls.h>

/* User space adds one before it reads what has been summed up so far. */
volatile __u64 turn;

/*
 * Two processors may do this at the same time, and then the shorter one may stay. That is a few
 * nanoseconds of time against the price of a locked instruction; counts and sums are exact.
 */
static __always_inline void peak_add(struct as_peak peaks[2], __u64 ns)
{
	__u64 now = turn;
	struct as_peak *p = &peaks[now & 1];

	if (p->turn == now && p->ns >= ns)
		return;
	p->ns = ns;
	p->turn = now;
}

static __always_inline void life_of_current(struct as_life *life)
{
	life->tgid = bpf_get_current_pid_tgid() >> 32;
	life->pad = 0;
	if (HAVE_TASK_BTF) {
		life->start_ns = current_to_read()->group_leader->start_boottime;
	} else {
		struct task_struct *task = (void *)bpf_get_current_task();

		life->start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	}
}

#endif
