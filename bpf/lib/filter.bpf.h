/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Who is watched. The first thing every program asks. */
#ifndef AGENTSIGHT_BPF_FILTER_H
#define AGENTSIGHT_BPF_FILTER_H

#include "maps.bpf.h"

/* Is the process @tgid watched? For another than the current process, uid is not looked at. */
static __always_inline bool proc_watched(__u32 tgid)
{
	if (tgid == cfg.self_tgid)
		return false;
	if (!cfg.by_process)
		return true;
	return bpf_map_lookup_elem(&procs, &tgid) != NULL;
}

/* Is the current process watched? */
static __always_inline bool current_watched(void)
{
	if (cfg.by_uid && (__u32)bpf_get_current_uid_gid() != cfg.uid)
		return false;
	return proc_watched(bpf_get_current_pid_tgid() >> 32);
}

#endif
