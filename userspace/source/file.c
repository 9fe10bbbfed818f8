/* SPDX-License-Identifier: MIT */
#include "source/file.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "base/cleanup.h"
#include "source/sums.h"
#include "file.skel.h"

/* Said to the user: what the hook does not see, and what it costs. Measured on 6.18. */
#define UNSEEN "calls that seccomp refuses, or has another process answer, are not seen"
#define COST   "about 100 ns for every system call of every process"

struct file_source {
	int sums_fd;
};

DEFINE_FREEP(struct file_source *, file_source_free)
DEFINE_FREEP(struct file_bpf *, file_bpf__destroy)

/* ---- the functions behind the system calls ---- */

#if defined(__aarch64__)
#define CALL(name) "__arm64_sys_" #name
#else
#define CALL(name) "__x64_sys_" #name
#endif

/* The calls of bpf/lib/file_calls.bpf.h. All exist where this hook is used; one missing fails it. */
static const char *const functions[] = {
	CALL(read),      CALL(write),     CALL(close),     CALL(pread64),
	CALL(pwrite64),  CALL(readv),     CALL(writev),    CALL(preadv),
	CALL(pwritev),   CALL(preadv2),   CALL(pwritev2),  CALL(sendfile64),
	CALL(splice),    CALL(truncate),  CALL(ftruncate), CALL(copy_file_range),
	CALL(dup3),      CALL(openat),    CALL(openat2),   CALL(close_range),
	CALL(mkdirat),   CALL(unlinkat),  CALL(symlinkat), CALL(linkat),
	CALL(renameat),  CALL(renameat2), CALL(fchmod),    CALL(fchmodat),
	CALL(fchmodat2),
#if !defined(__aarch64__)
	CALL(open),      CALL(creat),     CALL(dup2),      CALL(rename),
	CALL(mkdir),     CALL(rmdir),     CALL(link),      CALL(unlink),
	CALL(symlink),   CALL(chmod),
#endif
};

/*
 * Return probes on many functions keep their state in a pool until 6.13: as many threads as wait in
 * read() at a time are covered, the next call is skipped without a count. Since 6.14 every
 * task has a stack for it.
 */
static bool function_returns_reliable(const struct bpf_shared *s)
{
	return bpf_shared_memory(s)->features & AS_FEATURE_RETURN_STACK;
}

/* ---- opening ---- */

/* Best first. */
static const struct rung {
	enum file_hook hook;
	const char *mechanism;
	const char *program;
	bool functions;
} rungs[] = {
	{FILE_HOOK_FUNCTIONS, "kretprobe.multi", "file_call_return", true},
	{FILE_HOOK_SYS_EXIT_TYPED, "tp_btf/sys_exit", "file_sys_exit_typed", false},
	{FILE_HOOK_SYS_EXIT, "raw_tp/sys_exit", "file_sys_exit", false},
};

/* Opens the object and loads the one program that @rung needs. */
static int load(struct bpf_shared *s, const struct rung *rung, struct file_bpf **ret, struct err *e)
{
	_cleanup_(file_bpf__destroyp) struct file_bpf *skel =
		file_bpf__open_opts(bpf_shared_open_opts(s));
	struct bpf_program *prog;
	int r;

	if (!skel)
		return err_set(e, -errno, "cannot open the file programs: %s", strerror(errno));
	bpf_object__for_each_program(prog, skel->obj)
		bpf_program__set_autoload(prog, !strcmp(bpf_program__name(prog), rung->program));
	if (!bpf_shared_config(s)->stdio) {
		bpf_map__set_max_entries(skel->maps.payloads, 1);
		bpf_map__set_max_entries(skel->maps.stdio_entries, 1);
	}
	r = bpf_family_prepare(s, skel->obj, e);
	if (r < 0)
		return r;
	r = file_bpf__load(skel);
	if (r < 0)
		return err_set(e, r, "the kernel refused the file programs: %s", strerror(-r));
	*ret = TAKE_PTR(skel);
	return 0;
}

static int attach(struct bpf_shared *s, const struct rung *rung, struct file_bpf *skel)
{
	struct bpf_program *prog = bpf_object__find_program_by_name(skel->obj, rung->program);
	LIBBPF_OPTS(bpf_kprobe_multi_opts, opts, .syms = (const char **)functions,
		    .cnt = ARRAY_SIZE(functions), .retprobe = true);
	struct bpf_link *link;

	link = rung->functions ? bpf_program__attach_kprobe_multi_opts(prog, NULL, &opts)
			       : bpf_program__attach(prog);
	if (!link)
		return -errno;
	return bpf_hook_keep(s, link, prog);
}

static int open_rung(struct bpf_shared *s, const struct rung *rung, struct file_bpf **ret,
		     struct err *e)
{
	_cleanup_(file_bpf__destroyp) struct file_bpf *skel = NULL;
	int r = load(s, rung, &skel, e);

	if (r < 0)
		return r;
	r = attach(s, rung, skel);
	if (r < 0)
		return err_set(e, r, "cannot attach to %s: %s", rung->mechanism, strerror(-r));
	*ret = TAKE_PTR(skel);
	return 0;
}

/* A front end that costs other processes something is a degraded one. */
static int open_best(struct bpf_shared *s, enum file_hook hook, struct file_bpf **ret,
		     struct err *e)
{
	int r = -EINVAL;

	for (size_t i = 0; i < ARRAY_SIZE(rungs); i++) {
		const struct rung *rung = &rungs[i];

		if (hook != FILE_HOOK_BEST && hook != rung->hook)
			continue;
		if (hook == FILE_HOOK_BEST && rung->functions && !function_returns_reliable(s))
			continue;
		r = open_rung(s, rung, ret, e);
		if (r == 0) {
			bpf_capability(s, "file", "system calls", rung->mechanism,
				       rung->functions ? CAPABILITY_ATTACHED : CAPABILITY_DEGRADED,
				       "%s", rung->functions ? UNSEEN : COST);
			return 0;
		}
	}
	bpf_capability(s, "file", "system calls", NULL, CAPABILITY_MISSING, "%s", strerror(-r));
	return r;
}

int file_source_open(struct bpf_shared *s, enum file_hook hook, struct file_source **ret,
		     struct err *e)
{
	_cleanup_(file_source_freep) struct file_source *f = calloc(1, sizeof(*f));
	_cleanup_(file_bpf__destroyp) struct file_bpf *skel = NULL;
	int r;

	if (!f)
		return -ENOMEM;
	f->sums_fd = -1;
	r = open_best(s, hook, &skel, e);
	if (r < 0)
		return r;
	r = bpf_keep_fd(bpf_map__fd(skel->maps.file_sums), &f->sums_fd);
	if (r < 0)
		return r;

	*ret = TAKE_PTR(f);
	return 0;
}

void file_source_free(struct file_source *f)
{
	if (!f)
		return;
	closep(&f->sums_fd);
	free(f);
}

/* ---- the table of sums ---- */

int file_source_sums_each(void *source,
			  void (*fn)(void *ctx, const struct as_file_key *key,
				     const struct as_file_sums *sums),
			  void *ctx)
{
	const struct file_source *f = source;
	_cleanup_(table_done) struct table t = {};
	int r = table_read(f->sums_fd, sizeof(struct as_file_key), sizeof(struct as_file_sums), &t);

	if (r < 0)
		return r;
	for (size_t i = 0; i < t.n; i++)
		fn(ctx, &((const struct as_file_key *)t.keys)[i],
		   &((const struct as_file_sums *)t.values)[i]);
	return 0;
}

int file_source_sums_read(void *source, const struct as_file_key *key, struct as_file_sums *ret)
{
	struct file_source *f = source;

	return bpf_map_lookup_elem(f->sums_fd, key, ret) < 0 ? -errno : 0;
}

void file_source_sums_remove(void *source, const struct as_file_key *key)
{
	struct file_source *f = source;

	bpf_map_delete_elem(f->sums_fd, key);
}

bool file_source_alive(void *source, uint32_t tgid)
{
	return kill(tgid, 0) == 0 || errno != ESRCH;
}
