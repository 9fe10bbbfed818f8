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

#define SCRATCH_PATHS AS_TEXTS_MAX /* where paths may begin, a power of two */
#define SCRATCH_SIZE  AS_RECORD_MAX

/* Where a walk stands between two rounds. */
struct path_walk {
	struct dentry *dentry;
	struct vfsmount *vfsmnt;
	struct mount *mnt;
	struct dentry *root;
	struct vfsmount *root_mnt;
	__u32 off;
	__u32 end; /* no component begins behind it */
};

struct scratch {
	struct path_walk walk;
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

#define PATH_NAME_MAX 256
#define PATH_CUT      (1U << 31) /* the walk ended before the root */
#define PATH_END(r)   ((r) & ~PATH_CUT)

/*
 * A few steps in a round, some rounds in a turn, and turns: the verifier looks at each of the three loops once. One
 * loop over a path of 2,000 components would be 200 instructions for it each time, two would still be 5,000.
 */
#define PATH_STEPS  4
#define PATH_ROUNDS 16
#define PATH_TURNS  (AS_PATH_DEPTH / PATH_STEPS / PATH_ROUNDS)

enum path_result {
	PATH_GOES_ON,
	PATH_COMPLETE,
	PATH_INCOMPLETE,
};

/* Is what this is the top of in a namespace, or the kernel's own? Else it was taken away: nobody knows from where. */
static __always_inline bool is_mounted(struct mount *mnt)
{
	return !bpf_core_field_exists(mnt->mnt_ns) || BPF_CORE_READ(mnt, mnt_ns);
}

/* One step up: over a mount point, or from a name to its parent. */
static __always_inline enum path_result path_step(struct scratch *s, struct path_walk *w)
{
	struct dentry *dentry = w->dentry, *parent;
	struct vfsmount *vfsmnt = w->vfsmnt;
	struct mount *mnt = w->mnt;
	bool top = dentry == BPF_CORE_READ(vfsmnt, mnt_root);
	__u32 off = w->off;
	long n;

	if (dentry == w->root && vfsmnt == w->root_mnt)
		return PATH_COMPLETE;
	parent = BPF_CORE_READ(dentry, d_parent);
	if (top) {
		struct mount *up = BPF_CORE_READ(mnt, mnt_parent);

		if (up == mnt)
			return is_mounted(mnt) ? PATH_COMPLETE : PATH_INCOMPLETE;
		w->dentry = BPF_CORE_READ(mnt, mnt_mountpoint);
		w->mnt = up;
		w->vfsmnt = (void *)up + bpf_core_field_offset(struct mount, mnt);
		return PATH_GOES_ON;
	}

	if (off >= w->end || off >= SCRATCH_PATHS)
		return PATH_INCOMPLETE;
	barrier_var(off);
	off &= SCRATCH_PATHS - 1;
	n = bpf_probe_read_kernel_str(&s->data[off], PATH_NAME_MAX,
				      BPF_CORE_READ(dentry, d_name.name));
	if (n <= 0)
		return PATH_INCOMPLETE;
	/* in no tree at all: a memfd has a name of its own; a pipe, or a file found by its number, has none */
	if (dentry == parent && (w->off + AS_PATH_MAX != w->end || n == 1 || s->data[off] == '/'))
		return PATH_INCOMPLETE;
	w->off = off + n;
	w->dentry = parent;
	return dentry == parent ? PATH_COMPLETE : PATH_GOES_ON;
}

/* A global function is verified once, however many programs call it. */
__noinline int path_round(void)
{
	struct scratch *s = scratch_get();
	int i;

	if (!s)
		return PATH_INCOMPLETE;
	for (i = 0; i < PATH_STEPS; i++) {
		enum path_result r = path_step(s, &s->walk);

		if (r != PATH_GOES_ON)
			return r;
	}
	return PATH_GOES_ON;
}

__noinline int path_turn(void)
{
	int i, r = PATH_GOES_ON;

	for (i = 0; i < PATH_ROUNDS && r == PATH_GOES_ON; i++)
		r = path_round();
	return r;
}

/*
 * Writes the components of (@dentry, @vfsmnt) at offset @start of this processor's scratch buffer and
 * returns the offset behind them, with PATH_CUT when depth or length did not suffice, or when there is
 * no path; then that is @start.
 */
static __always_inline __u32 path_walk(struct dentry *dentry, struct vfsmount *vfsmnt, __u32 start)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct fs_struct *fs = BPF_CORE_READ(task, fs);
	struct scratch *s = scratch_get();
	int i, r = PATH_GOES_ON;

	if (!s || !dentry || !vfsmnt)
		return start | PATH_CUT;
	s->walk.dentry = dentry;
	s->walk.vfsmnt = vfsmnt;
	s->walk.mnt = (void *)vfsmnt - bpf_core_field_offset(struct mount, mnt);
	s->walk.root = BPF_CORE_READ(fs, root.dentry);
	s->walk.root_mnt = BPF_CORE_READ(fs, root.mnt);
	s->walk.off = start;
	s->walk.end = start + AS_PATH_MAX;
	for (i = 0; i < PATH_TURNS && r == PATH_GOES_ON; i++)
		r = path_turn();
	return s->walk.off | (r == PATH_COMPLETE ? 0 : PATH_CUT);
}

#endif
