/* SPDX-License-Identifier: MIT */
/*
 * A row's CPU time is the process's own since its last row, and what children that ended meanwhile
 * had used beyond what their own rows had shown. So the sum over all rows is what the kernel
 * accounted, however short-lived a child was.
 */
#include "source/sampler.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "event/schema.h"

#define READ_MAX 8192

struct sampler {
	struct sampler_options opt;
	uint32_t page_kb;
	uint32_t pass;
	uint64_t last_ns;        /* of the sample before this one */
	uint64_t before_last_ns; /* and the one before that */
	struct proc **seen;      /* in this pass */
	size_t n_seen;
	size_t cap_seen;
	size_t lost;      /* no memory for them in this pass */
	uint64_t busy_ns; /* of the machine, at the last sample */
};

int sampler_new(const struct sampler_options *opt, struct sampler **ret)
{
	_cleanup_(task_source_freep) struct task_source *source = opt->source;
	struct sampler *s;

	if (opt->machine ? !opt->fs : !source || !opt->table)
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->opt = *opt;
	s->opt.source = TAKE_PTR(source);
	s->page_kb = sysconf(_SC_PAGESIZE) / 1024;
	if (!s->opt.cores)
		s->opt.cores = sysconf(_SC_NPROCESSORS_ONLN);
	*ret = s;
	return 0;
}

void sampler_free(struct sampler *s)
{
	if (!s)
		return;
	task_source_free(s->opt.source);
	free(s->seen);
	free(s);
}

static uint64_t percent_centi(uint64_t cpu_ns, uint64_t elapsed_ns)
{
	if (elapsed_ns == 0)
		return 0;
	return ((unsigned __int128)cpu_ns * 10000 + elapsed_ns / 2) / elapsed_ns;
}

static void record_emit(struct emitter *out, const struct as_hdr *h)
{
	const struct event ev = {
		.rec = h,
		.desc = schema_event(h->type),
		.unix_ns = clock_unix_ns(h->boot_ns),
	};

	event_emit(out, &ev);
}

/* ---- processes ---- */

static bool seen_grow(struct sampler *s)
{
	size_t cap = s->cap_seen ? 2 * s->cap_seen : 256;
	struct proc **seen = realloc(s->seen, cap * sizeof(*seen));

	if (!seen)
		return false;
	s->seen = seen;
	s->cap_seen = cap;
	return true;
}

static struct proc *task_learn(struct sampler *s, const struct as_task *t, bool exact)
{
	const struct proc_fact f = {
		.tgid = t->tgid,
		.ppid = t->ppid,
		.uid = t->uid,
		.start_ns = t->start_ns,
		.start_exact = exact,
		.followed = true,
		.comm = t->comm,
	};

	return proc_table_learn(s->opt.table, &f);
}

/* The first task of a process in this pass. */
static bool pass_begin(struct sampler *s, struct proc *p)
{
	struct proc_sample *a = &p->sample;

	if (s->n_seen == s->cap_seen && !seen_grow(s)) {
		s->lost++;
		return false;
	}
	s->seen[s->n_seen++] = p;
	a->pass = s->pass;
	a->pass_cpu_ns = 0;
	a->read_bytes = 0;
	a->write_bytes = 0;
	a->rss_pages = 0;
	a->vsz_pages = 0;
	a->threads = 0;
	return true;
}

void sampler_add(struct sampler *s, const struct as_task *t, bool exact)
{
	struct proc *p = task_learn(s, t, exact);
	struct proc_sample *a;

	if (!p)
		return;
	a = &p->sample;
	if (a->pass != s->pass && !pass_begin(s, p))
		return;
	a->pass_cpu_ns += t->cpu_ns;
	a->read_bytes += t->read_bytes;
	a->write_bytes += t->write_bytes;
	a->rss_pages = MAX(a->rss_pages, (uint64_t)t->rss_pages);
	a->vsz_pages = MAX(a->vsz_pages, (uint64_t)t->vsz_pages);
	a->threads = MAX(a->threads, (uint32_t)t->threads);
}

/*
 * What the row covers: since the last one; for the first, since the process's start, when that was
 * after the last sample but one (its fork may be told late). 0: nothing to compare with yet.
 */
static uint64_t row_begin(const struct sampler *s, const struct proc *p)
{
	if (p->sample.last_ns)
		return p->sample.last_ns;
	return s->last_ns && p->start_ns >= s->before_last_ns ? p->start_ns : 0;
}

/* CPU time that this row shows; the account is settled up to now. */
static uint64_t row_cpu(struct proc *p, uint64_t begin_ns)
{
	struct proc_sample *a = &p->sample;
	uint64_t cpu_ns = p->exited_cpu_ns;

	/* a thread that ends during the pass may be missed by it: then its time comes next time */
	if (a->pass_cpu_ns > a->cpu_ns) {
		cpu_ns += a->pass_cpu_ns - a->cpu_ns;
		a->cpu_ns = a->pass_cpu_ns;
	}
	p->exited_cpu_ns = 0;
	return begin_ns ? cpu_ns : 0;
}

static void row_emit(struct sampler *s, struct proc *p, uint64_t boot_ns, struct emitter *out)
{
	struct proc_sample *a = &p->sample;
	uint64_t begin_ns = row_begin(s, p), interval_ns = 0;
	struct as_system_metrics m = {
		.h = {.len = sizeof(m),
		      .type = AS_EV_SYSTEM_METRICS,
		      .boot_ns = boot_ns,
		      .start_ns = p->start_ns,
		      .tgid = p->tgid,
		      .tid = p->tgid,
		      .ppid = p->ppid,
		      .uid = p->uid},
		.rss_kb = a->rss_pages * s->page_kb,
		.vsz_kb = a->vsz_pages * s->page_kb,
		.read_bytes = a->read_bytes,
		.write_bytes = a->write_bytes,
		.cores = s->opt.cores,
		.threads = a->threads,
		.children = p->children,
		.last_cpu = -1,
	};

	if (begin_ns && begin_ns < boot_ns)
		interval_ns = boot_ns - begin_ns;
	m.interval_ns = interval_ns;
	m.cpu_centi = percent_centi(row_cpu(p, begin_ns), interval_ns);
	m.rss_mb = m.rss_kb / 1024;
	m.vsz_mb = m.vsz_kb / 1024;
	memcpy(m.h.comm, p->comm, sizeof(m.h.comm));
	a->last_ns = boot_ns;
	record_emit(out, &m.h);
}

static int processes_sample(struct sampler *s, uint64_t boot_ns, struct emitter *out)
{
	int r;

	s->pass++;
	s->n_seen = 0;
	s->lost = 0;
	r = s->opt.source->scan(s->opt.source, s);
	if (r < 0)
		return r;
	proc_table_count_children(s->opt.table);
	for (size_t i = 0; i < s->n_seen; i++)
		row_emit(s, s->seen[i], boot_ns, out);
	return s->lost ? -ENOMEM : 0;
}

/* ---- the machine ---- */

static int busy_read(struct sampler *s, uint64_t *ret)
{
	char buf[READ_MAX];
	ssize_t n = procfs_read(s->opt.fs, "stat", buf, sizeof(buf));

	return n < 0 ? (int)n : procfs_parse_busy(buf, n, ret);
}

static int load_read(struct sampler *s, struct as_system_wide *w)
{
	char buf[READ_MAX];
	ssize_t n = procfs_read(s->opt.fs, "loadavg", buf, sizeof(buf));
	uint64_t centi[3];
	int r = n < 0 ? (int)n : procfs_parse_loadavg(buf, n, centi);

	if (r < 0)
		return r;
	w->load1_centi = centi[0];
	w->load5_centi = centi[1];
	w->load15_centi = centi[2];
	return 0;
}

static int memory_read(struct sampler *s, struct as_system_wide *w)
{
	char buf[READ_MAX];
	ssize_t n = procfs_read(s->opt.fs, "meminfo", buf, sizeof(buf));
	struct procfs_memory m;
	int r = n < 0 ? (int)n : procfs_parse_meminfo(buf, n, &m);

	if (r < 0)
		return r;
	w->total_kb = m.total_kb;
	w->free_kb = m.free_kb;
	w->available_kb = MIN(m.available_kb, m.total_kb);
	w->used_kb = w->total_kb - w->available_kb;
	w->total_mb = w->total_kb / 1024;
	w->used_mb = w->used_kb / 1024;
	w->rss_mb = w->used_mb;
	w->used_centi = percent_centi(w->used_kb, w->total_kb);
	return 0;
}

static int machine_sample(struct sampler *s, uint64_t boot_ns, struct emitter *out)
{
	struct as_system_wide w = {
		.h = {.len = sizeof(w), .type = AS_EV_SYSTEM_WIDE, .boot_ns = boot_ns},
		.cores = s->opt.cores,
	};
	uint64_t busy_ns;
	int r;

	r = busy_read(s, &busy_ns);
	if (r < 0)
		return r;
	r = load_read(s, &w);
	if (r < 0)
		return r;
	r = memory_read(s, &w);
	if (r < 0)
		return r;

	if (s->last_ns && boot_ns > s->last_ns) {
		w.interval_ns = boot_ns - s->last_ns;
		if (busy_ns > s->busy_ns)
			w.cpu_centi = percent_centi(busy_ns - s->busy_ns, w.interval_ns);
	}
	s->busy_ns = busy_ns;
	record_emit(out, &w.h);
	return 0;
}

int sampler_sample(struct sampler *s, uint64_t boot_ns, struct emitter *out)
{
	int r = s->opt.machine ? machine_sample(s, boot_ns, out)
			       : processes_sample(s, boot_ns, out);

	if (r < 0 && r != -ENOMEM)
		return r;
	s->before_last_ns = s->last_ns ? s->last_ns : boot_ns;
	s->last_ns = boot_ns;
	return r;
}
