/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Who is watched. The first thing every program asks. */
#ifndef AGENTSIGHT_BPF_FILTER_H
#define AGENTSIGHT_BPF_FILTER_H

#include "maps.bpf.h"

/* Processes that were started for us, when the programs had been loaded already. */
static __always_inline bool is_helper(__u32 tgid)
{
	__u32 zero = 0;
	const struct as_shared *s = bpf_map_lookup_elem(&shared, &zero);

	return s && (tgid == s->helpers[0] || tgid == s->helpers[1]);
}

/* Is this process of ours? Where some are chosen, no helper is among them. */
static __always_inline bool is_own(__u32 tgid)
{
	return tgid == cfg.self_tgid || (!cfg.by_process && is_helper(tgid));
}

/* Is the process @tgid watched? For another than the current process, uid is not looked at. */
static __always_inline bool proc_watched(__u32 tgid)
{
	if (is_own(tgid))
		return false;
	if (!cfg.by_process)
		return true;
	return bpf_map_lookup_elem(&procs, &tgid) != NULL;
}

/* What is kept of the process @tgid that began at @start_ns. Where none is chosen it may be a former one's. */
static __always_inline struct as_proc *proc_kept(__u32 tgid, __u64 start_ns)
{
	struct as_proc *proc = bpf_map_lookup_elem(&procs, &tgid);

	return proc && (cfg.by_process || proc->start_ns == start_ns) ? proc : NULL;
}

/* Is the current thread's process watched? @id is the thread. */
static __always_inline bool thread_watched(__u64 id)
{
	if (cfg.by_uid && (__u32)bpf_get_current_uid_gid() != cfg.uid)
		return false;
	return proc_watched(id >> 32);
}

static __always_inline bool current_watched(void)
{
	return thread_watched(bpf_get_current_pid_tgid());
}

#endif
