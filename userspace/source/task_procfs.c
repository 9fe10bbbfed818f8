/* SPDX-License-Identifier: MIT */
/*
 * The task source that reads /proc. Descriptors are kept, which saves more than half of the time; a
 * kept one also stays with its process when the pid is reused, and then reads as -ESRCH.
 */
#include "source/sampler.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define READ_MAX     1024
#define STATUS_MAX   4096
#define STATUS_LARGE (1 << 20) /* with 65,536 groups, as many as there can be, it has 700 KB */
#define FDS_PER_PROC 3
#define FDS_SPARE    64 /* for everything else */

enum {
	FILE_STAT,
	FILE_STATM,
	FILE_IO,
};

static const char *const file_names[FDS_PER_PROC] = {"stat", "statm", "io"};

struct task_procfs_source {
	struct task_source source;
	struct task_procfs_options opt;
	uint32_t page_size;
	size_t fds_max;
	size_t fds_used;
	char *large; /* STATUS_LARGE bytes, once somebody needed them */
};

/* struct proc.source */
struct kept {
	struct task_procfs_source *owner;
	int fds[FDS_PER_PROC]; /* negative: the error of opening it */
	bool seen;             /* in this pass */
	struct procfs_stat st;
};

static void kept_free(struct proc *p)
{
	struct kept *k = p->source;

	for (int i = 0; i < FDS_PER_PROC; i++) {
		if (k->fds[i] >= 0) {
			close(k->fds[i]);
			k->owner->fds_used--;
		}
	}
	free(k);
	p->source = NULL;
}

static int kept_open(struct task_procfs_source *src, const struct proc *p, const char *file)
{
	int fd;

	if (src->fds_used >= src->fds_max)
		return -EMFILE;
	fd = procfs_pid_open(src->opt.fs, p->tgid, file);
	if (fd >= 0)
		src->fds_used++;
	return fd;
}

static struct kept *kept_new(struct task_procfs_source *src, const struct proc *p)
{
	struct kept *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	k->owner = src;
	for (int i = 0; i < FDS_PER_PROC; i++)
		k->fds[i] = kept_open(src, p, file_names[i]);
	return k;
}

/* By the kept descriptor, or by name when there were too many to keep. */
static ssize_t file_read(const struct proc *p, int file, char buf[READ_MAX])
{
	const struct kept *k = p->source;

	ssize_t n = k->fds[file] >= 0 ? procfs_fd_read(k->fds[file], buf, READ_MAX) : k->fds[file];

	if (n != -EMFILE && n != -EACCES)
		return n;
	return procfs_pid_read(k->owner->opt.fs, p->tgid, file_names[file], buf, READ_MAX);
}

/* 0, -ESRCH when the process is gone, another error when that cannot be told. */
static int stat_read(struct proc *p)
{
	struct kept *k = p->source;
	char buf[READ_MAX];
	ssize_t n = file_read(p, FILE_STAT, buf);
	int r = n < 0 ? (int)n : procfs_parse_stat(buf, n, &k->st);

	if (r == -ENOENT)
		return -ESRCH;
	if (r == 0 && k->st.start_ns / PROC_TICK_NS != p->start_ns / PROC_TICK_NS)
		return -ESRCH;
	return r;
}

/* First all times, so that a parent's sum of waited-for children is older than their end. */
static void times_read(struct task_procfs_source *src)
{
	struct proc_table *t = src->opt.table;
	struct proc *p, *next;

	for (p = proc_table_next(t, NULL); p; p = next) {
		struct kept *k;
		int r;

		next = proc_table_next(t, p);
		if (!p->followed)
			continue;
		if (!p->source)
			p->source = kept_new(src, p);
		if (!p->source)
			continue;
		k = p->source;
		r = stat_read(p);
		k->seen = r == 0;
		p->zombie = k->seen && k->st.dead;
		if (r == -ESRCH)
			procfs_lost(t, p);
	}
}

/*
 * A parent's sum grows by all that a waited-for child used, of which the child's own rows have
 * shown a part. What does not come within the next pass never does: somebody else reaped the child.
 */
static void waited_credit(struct proc *p, uint64_t waited_ns)
{
	struct proc_sample *s = &p->sample;
	uint64_t grown = waited_ns > s->waited_ns ? waited_ns - s->waited_ns : 0;
	uint64_t due = s->due_ns + s->due_old_ns;
	uint64_t shown = MIN(grown, due);
	struct proc_tree *tree = proc_table_tree(p);

	p->exited_cpu_ns += grown - shown;
	if (tree)
		tree->ended.v[TOTAL_CPU] += grown - shown;
	s->waited_ns += grown;
	s->due_old_ns = MIN(due - shown, s->due_ns);
	s->due_ns = 0;
}

static void usage_set(struct as_task_usage *u, const struct procfs_stat *st)
{
	u->user_ns = st->user_ns;
	u->system_ns = st->system_ns;
	u->minor_faults = st->minor_faults;
	u->major_faults = st->major_faults;
}

static void io_set(struct as_task_io *to, const struct procfs_io *io)
{
	*to = (struct as_task_io){io->rchar, io->wchar,      io->syscr,
				  io->syscw, io->read_bytes, io->write_bytes};
}

/* Both structs are nothing but numbers. Sums wrap around, and come out right all the same. */
static void numbers_take(void *from, const void *part, size_t bytes)
{
	uint64_t *f = from;
	const uint64_t *p = part;

	for (size_t i = 0; i < bytes / sizeof(*f); i++)
		f[i] -= p[i];
}

static int status_read(struct task_procfs_source *src, uint32_t pid, const char *name,
		       struct procfs_status *ret)
{
	char buf[STATUS_MAX];
	ssize_t n = procfs_pid_read(src->opt.fs, pid, name, buf, sizeof(buf));

	if (n < 0 || (size_t)n < sizeof(buf))
		return n < 0 ? (int)n : procfs_parse_status(buf, n, ret);
	if (!src->large)
		src->large = malloc(STATUS_LARGE);
	if (!src->large)
		return -ENOMEM;
	n = procfs_pid_read(src->opt.fs, pid, name, src->large, STATUS_LARGE);
	return n < 0 ? (int)n : procfs_parse_status(src->large, n, ret);
}

/* What a thread has on its own; @dir is "task/TID", or "." for the one that a process began with. */
static void thread_more(struct task_procfs_source *src, uint32_t pid, const char *dir,
			struct as_task_more *m)
{
	char name[48], buf[READ_MAX];
	struct procfs_status status;
	uint64_t cpu_ns, wait_ns;
	ssize_t n;

	snprintf(name, sizeof(name), "%s/schedstat", dir);
	n = procfs_pid_read(src->opt.fs, pid, name, buf, sizeof(buf));
	if (n > 0 && procfs_parse_schedstat(buf, n, &cpu_ns, &wait_ns) == 0) {
		m->cpu_ns = cpu_ns;
		m->wait_ns = wait_ns;
	}
	snprintf(name, sizeof(name), "%s/status", dir);
	if (status_read(src, pid, name, &status) < 0)
		return;
	m->usage.voluntary = status.voluntary;
	m->usage.involuntary = status.involuntary;
}

static void sched_set(struct as_task_more *m, const struct procfs_stat *st)
{
	m->start_ns = st->start_ns;
	m->cpu_ns = st->cpu_ns;
	m->state = st->state;
	m->last_cpu = st->last_cpu;
	m->nice = st->nice;
	m->policy = st->policy;
	m->priority = st->priority;
	memcpy(m->name, st->comm, sizeof(m->name));
}

struct thread_visit {
	struct task_procfs_source *src;
	struct sampler *to;
	const struct proc *p;
	struct as_task *task;      /* of the process */
	struct as_task_more *more; /* the leader's; what the threads have goes off its group's */
};

static bool thread_visit(void *ctx, uint32_t tid)
{
	const struct thread_visit *v = ctx;
	struct as_task t = {.start_ns = v->task->start_ns,
			    .tgid = v->task->tgid,
			    .tid = tid,
			    .ppid = v->task->ppid,
			    .uid = v->task->uid};
	struct as_task_more own = {0}, *m = tid == t.tgid ? v->more : &own;
	char dir[24], name[32], buf[READ_MAX];
	struct procfs_stat st;
	struct procfs_io io;
	ssize_t n;

	snprintf(dir, sizeof(dir), "task/%u", tid);
	snprintf(name, sizeof(name), "%s/stat", dir);
	n = procfs_pid_read(v->src->opt.fs, t.tgid, name, buf, sizeof(buf));
	if (n <= 0 || procfs_parse_stat(buf, n, &st) < 0)
		return true;
	memcpy(t.comm, v->task->comm, sizeof(t.comm));
	sched_set(m, &st);
	usage_set(&m->usage, &st);
	thread_more(v->src, t.tgid, dir, m);
	snprintf(name, sizeof(name), "%s/io", dir);
	n = procfs_pid_read(v->src->opt.fs, t.tgid, name, buf, sizeof(buf));
	if (n > 0 && procfs_parse_io(buf, n, &io) == 0)
		io_set(&m->io, &io);
	numbers_take(&v->more->group_usage, &m->usage, offsetof(struct as_task_usage, voluntary));
	numbers_take(&v->more->group_io, &m->io, sizeof(m->io));
	if (m == &own)
		sampler_add(v->to, &t, m, v->p->start_exact);
	return true;
}

static void memory_set(struct task_procfs_source *src, uint32_t pid, struct as_task_more *m)
{
	const uint32_t page_kb = src->page_size / 1024;
	struct procfs_status status;

	if (status_read(src, pid, "status", &status) < 0)
		return;
	m->flags |= AS_TASK_MEMORY;
	m->anon_pages = status.anon_kb / page_kb;
	m->file_pages = status.file_kb / page_kb;
	m->shmem_pages = status.shmem_kb / page_kb;
	m->swap_pages = status.swap_kb / page_kb;
	m->peak_pages = status.peak_kb / page_kb;
}

/* /proc tells sums for the process, but waits and switches for threads only. */
static void detail_add(struct task_procfs_source *src, const struct proc *p, struct as_task *t,
		       const struct procfs_io *io, struct sampler *to)
{
	const struct kept *k = p->source;
	struct as_task_more m = {0};
	struct thread_visit v = {src, to, p, t, &m};

	sched_set(&m, &k->st);
	usage_set(&m.group_usage, &k->st);
	io_set(&m.group_io, io);
	memory_set(src, p->tgid, &m);
	if (src->opt.threads)
		procfs_each_thread(src->opt.fs, p->tgid, thread_visit, &v);
	else if (t->threads <= 1)
		thread_more(src, p->tgid, ".", &m);
	m.ended_io = m.group_io;
	sampler_add(to, t, &m, p->start_exact);
}

static void task_add(struct task_procfs_source *src, const struct proc *p, struct sampler *to)
{
	const struct kept *k = p->source;
	struct procfs_io io = {0};
	char buf[READ_MAX];
	struct as_task t = {
		.start_ns = p->start_ns,
		.cpu_ns = k->st.cpu_ns,
		.tgid = p->tgid,
		.tid = p->tgid,
		.ppid = k->st.ppid,
		.uid = p->uid,
		.threads = k->st.threads,
		.waited_faults = k->st.waited_faults,
		.vsz_pages = k->st.vsz_bytes / src->page_size,
	};
	uint64_t vsz_pages, rss_pages;
	ssize_t n;

	memcpy(t.comm, k->st.comm, sizeof(t.comm));
	n = file_read(p, FILE_STATM, buf);
	if (n > 0 && procfs_parse_statm(buf, n, &vsz_pages, &rss_pages) == 0)
		t.rss_pages = rss_pages;
	n = file_read(p, FILE_IO, buf);
	if (n > 0 && procfs_parse_io(buf, n, &io) == 0) {
		t.read_bytes = io.read_bytes;
		t.write_bytes = io.write_bytes;
	} else {
		t.read_bytes = t.write_bytes = AS_UNKNOWN;
	}
	if (src->opt.detail)
		detail_add(src, p, &t, &io, to);
	else
		sampler_add(to, &t, NULL, p->start_exact);
}

static int procfs_scan(struct task_source *source, struct sampler *to)
{
	struct task_procfs_source *src = (struct task_procfs_source *)source;
	const struct task_procfs_options *o = &src->opt;
	struct proc *p;
	int r;

	r = procfs_refresh(o->fs, o->table, o->match, o->found, o->ctx);
	if (r < 0)
		return r;
	times_read(src);
	for (p = proc_table_next(o->table, NULL); p; p = proc_table_next(o->table, p)) {
		const struct kept *k = p->source;

		if (!k || !k->seen)
			continue;
		if (o->match->follow_children)
			waited_credit(p, k->st.waited_ns);
		if (!p->zombie && (!o->match->by_uid || p->uid == o->match->uid))
			task_add(src, p, to);
	}
	return 0;
}

static void procfs_source_free(struct task_source *source)
{
	struct task_procfs_source *src = (struct task_procfs_source *)source;
	struct proc *p;

	for (p = proc_table_next(src->opt.table, NULL); p; p = proc_table_next(src->opt.table, p)) {
		if (p->source)
			kept_free(p);
	}
	proc_table_on_end(src->opt.table, NULL);
	free(src->large);
	free(src);
}

int task_procfs_open(const struct task_procfs_options *opt, struct task_source **ret)
{
	struct task_procfs_source *src = calloc(1, sizeof(*src));
	struct rlimit limit;

	if (!src)
		return -ENOMEM;
	src->source = (struct task_source){.name = "/proc",
					   .scan = procfs_scan,
					   .free = procfs_source_free,
					   .waited_io = true};
	src->opt = *opt;
	src->page_size = sysconf(_SC_PAGESIZE);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > FDS_SPARE)
		src->fds_max = limit.rlim_cur - FDS_SPARE;
	proc_table_on_end(opt->table, kept_free);
	*ret = &src->source;
	return 0;
}
