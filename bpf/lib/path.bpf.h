/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Absolute paths by walking dentries and mounts, in tracepoints where bpf_d_path() is refused.
 * Components are written leaf first, each ended by NUL; user space turns them round. The walk ends
 * at the root of the process, so a path reads as the process would write it.
 *
 * Variable-length records are built in `scratch`, one buffer per processor and per object: one
 * program never interrupts itself on a processor, but two programs may (kernel 7.2, measured), so
 * families do not share it. The value is larger than a per-CPU map allows (32 KiB), hence an array
 * indexed by processor; user space sets max_entries to the number of possible ones.
 */
#ifndef AGENTSIGHT_BPF_PATH_H
#define AGENTSIGHT_BPF_PATH_H

#include "maps.bpf.h"

#define SCRATCH_PATHS (16 * 1024) /* where paths may begin, a power of two */
#define SCRATCH_SIZE  (SCRATCH_PATHS + 4096 + AS_ARGV_MAX)

struct scratch {
	char data[SCRATCH_SIZE];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

static __always_inline struct scratch *scratch_get(void)
{
	__u32 cpu = bpf_get_smp_processor_id();

	return bpf_map_lookup_elem(&scratch, &cpu);
}

#define PATH_NAME_MAX	256
#define PATH_CUT	(1U << 31) /* the walk ended before the root */
#define PATH_END(r)	((r) & ~PATH_CUT)

/*
 * Writes the components of (@dentry, @mnt) at offset @start of this processor's scratch buffer and
 * returns the offset behind them, with PATH_CUT when depth or length did not suffice.
 * A global function: verified once, however many programs call it (5.10 has no better).
 */
__noinline __u32 path_walk(__u64 dentry_addr, __u64 mnt_addr, __u32 start)
{
	struct dentry *dentry = (void *)dentry_addr;
	struct vfsmount *vfsmnt = (void *)mnt_addr;
	struct task_struct *task = (void *)bpf_get_current_task();
	struct fs_struct *fs = BPF_CORE_READ(task, fs);
	struct dentry *root = BPF_CORE_READ(fs, root.dentry);
	struct vfsmount *root_mnt = BPF_CORE_READ(fs, root.mnt);
	struct mount *mnt = (void *)vfsmnt - bpf_core_field_offset(struct mount, mnt);
	struct scratch *s = scratch_get();
	__u32 off = start;
	int i;

	if (!s || !dentry || !vfsmnt)
		return start | PATH_CUT;

	for (i = 0; i < AS_PATH_DEPTH; i++) {
		struct dentry *parent;
		const unsigned char *name;
		long n;

		if (dentry == root && vfsmnt == root_mnt)
			return off;

		parent = BPF_CORE_READ(dentry, d_parent);
		if (dentry == BPF_CORE_READ(vfsmnt, mnt_root) || dentry == parent) {
			struct mount *up = BPF_CORE_READ(mnt, mnt_parent);

			if (up == mnt || dentry != BPF_CORE_READ(vfsmnt, mnt_root))
				return off; /* the top of a mount tree, or of a lone file system */
			dentry = BPF_CORE_READ(mnt, mnt_mountpoint);
			mnt = up;
			vfsmnt = (void *)mnt + bpf_core_field_offset(struct mount, mnt);
			continue;
		}

		if (off >= start + AS_PATH_MAX || off >= SCRATCH_PATHS)
			return off | PATH_CUT;
		name = BPF_CORE_READ(dentry, d_name.name);
		barrier_var(off);
		off &= SCRATCH_PATHS - 1;
		n = bpf_probe_read_kernel_str(&s->data[off], PATH_NAME_MAX, name);
		if (n <= 0)
			return off | PATH_CUT;
		off += n & (2 * PATH_NAME_MAX - 1);
		dentry = parent;
	}
	return off | PATH_CUT;
}

#endif
