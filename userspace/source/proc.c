/* SPDX-License-Identifier: MIT */
#include "source/proc.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "proc.skel.h"

struct proc_source {
	struct bpf_shared *shared;
	int compare_fd;           /* the program that compares the clocks */
	int64_t clock_samples[4]; /* the last ones; older ones have drifted */
	size_t next_sample;
};

DEFINE_FREEP(struct proc_source *, proc_source_free)
DEFINE_FREEP(struct proc_bpf *, proc_bpf__destroy)

static int attach(struct bpf_shared *s, struct proc_bpf *skel)
{
	const struct {
		const char *hook;
		const char *tracepoint;
		struct bpf_program *prog;
	} hooks[] = {
		/* fork before exec: no child of a process found by exec is missed */
		{"fork", "sched_process_fork", skel->progs.proc_fork},
		{"exit", "sched_process_exit", skel->progs.proc_exit},
		{"exec", "sched_process_exec", skel->progs.proc_exec},
	};

	for (size_t i = 0; i < ARRAY_SIZE(hooks); i++) {
		int r = bpf_hook_attach_tracepoint(s, "proc", hooks[i].hook, hooks[i].prog, "sched",
						   hooks[i].tracepoint);

		if (r < 0)
			return r;
	}
	return 0;
}

/* What a kernel lacks here is recorded, and costs that event only. */
static void attach_oom(struct bpf_shared *s, struct proc_bpf *skel)
{
	/* KERNEL < 6.9: the signal tells whose number it is; no look at signals without need */
	if (!(bpf_shared_memory(s)->features & AS_FEATURE_OOM_TASK) &&
	    bpf_hook_attach(s, "proc", "oom_signal", "raw tracepoint", skel->progs.oom_signal) < 0)
		return;
	bpf_hook_attach(s, "proc", "oom_kill", "raw tracepoint", skel->progs.proc_oom);
}

/* Of who runs already, and is called by a name that was asked for from now on. */
static void attach_rename(struct bpf_shared *s, struct proc_bpf *skel)
{
	if (bpf_shared_config(s)->by_name)
		bpf_hook_attach(s, "proc", "rename", "raw tracepoint", skel->progs.proc_rename);
}

static void ask_features(const struct proc_bpf *skel)
{
	LIBBPF_OPTS(bpf_test_run_opts, run);
	int r = bpf_prog_test_run_opts(bpf_program__fd(skel->progs.ask_features), &run);

	if (r < 0)
		log_debug("cannot ask the kernel what it has: %s", strerror(-r));
}

void proc_source_free(struct proc_source *p)
{
	if (!p)
		return;
	closep(&p->compare_fd);
	free(p);
}

/* One look at the difference of the clocks; 0 when it failed. */
static int64_t compare_clocks(struct proc_source *p)
{
	volatile struct as_shared *memory = bpf_shared_memory(p->shared);
	LIBBPF_OPTS(bpf_test_run_opts, run);

	memory->sched_sample_ns = 0;
	if (bpf_prog_test_run_opts(p->compare_fd, &run) < 0)
		return 0;
	return memory->sched_sample_ns;
}

/* The run queue's clock is that of the last switch: the largest difference is the freshest. */
void proc_source_sync_clock(struct proc_source *p)
{
	int64_t best = 0;

	p->clock_samples[p->next_sample++ % ARRAY_SIZE(p->clock_samples)] = compare_clocks(p);
	for (size_t i = 0; i < ARRAY_SIZE(p->clock_samples); i++) {
		int64_t sample = p->clock_samples[i];

		if (sample && (!best || sample > best))
			best = sample;
	}
	bpf_shared_memory(p->shared)->sched_offset_ns = best;
}

/* At the start there is no earlier sample to rely on: short sleeps make fresh ones. */
static void first_sync(struct proc_source *p)
{
	struct timespec nap = {.tv_nsec = 1000};

	for (size_t i = 0; i < ARRAY_SIZE(p->clock_samples); i++) {
		nanosleep(&nap, NULL);
		proc_source_sync_clock(p);
	}
}

int proc_source_open(struct bpf_shared *s, struct proc_source **ret, struct err *e)
{
	_cleanup_(proc_source_freep) struct proc_source *p = calloc(1, sizeof(*p));
	_cleanup_(proc_bpf__destroyp) struct proc_bpf *skel = NULL;
	int r;

	if (!p)
		return -ENOMEM;
	p->shared = s;
	p->compare_fd = -1;
	skel = proc_bpf__open_opts(bpf_shared_open_opts(s));
	if (!skel)
		return err_set(e, -errno, "cannot open the process programs: %s", strerror(errno));
	r = bpf_family_prepare(s, skel->obj, e);
	if (r < 0)
		return r;
	/* threads are counted for a process that has an account only */
	if (!bpf_shared_config(s)->accounts)
		bpf_map__set_max_entries(skel->maps.ended_threads, 1);
	bpf_program__set_autoload(skel->progs.proc_rename, bpf_shared_config(s)->by_name);
	r = proc_bpf__load(skel);
	if (r < 0)
		return err_set(e, r, "the kernel refused the process programs: %s", strerror(-r));
	r = bpf_keep_fd(bpf_program__fd(skel->progs.clock_compare), &p->compare_fd);
	if (r < 0)
		return r;
	r = attach(s, skel);
	if (r < 0)
		return err_set(e, r, "cannot attach to the scheduler's tracepoints: %s",
			       strerror(-r));
	ask_features(skel);
	attach_rename(s, skel);
	attach_oom(s, skel);
	first_sync(p);

	*ret = TAKE_PTR(p);
	return 0;
}

int proc_source_follow(struct proc_source *p, uint32_t tgid, uint64_t start_ns, uint32_t flags)
{
	struct as_proc proc = {.start_ns = start_ns, .flags = flags};

	return bpf_map_update_elem(bpf_shared_procs(p->shared), &tgid, &proc, BPF_ANY) < 0 ? -errno
											   : 0;
}

bool proc_source_has_members(const struct proc_source *p)
{
	uint32_t first;

	return bpf_map_get_next_key(bpf_shared_procs(p->shared), NULL, &first) == 0 ||
	       errno != ENOENT;
}

void proc_source_unfollow(struct proc_source *p, uint32_t tgid)
{
	bpf_map_delete_elem(bpf_shared_procs(p->shared), &tgid);
}

int proc_source_name(struct proc_source *p, const char *name)
{
	struct as_name key = {};
	uint32_t one = 1;

	strncpy(key.text, name, sizeof(key.text) - 1);
	return bpf_map_update_elem(bpf_shared_names(p->shared), &key, &one, BPF_ANY) < 0 ? -errno
											 : 0;
}
