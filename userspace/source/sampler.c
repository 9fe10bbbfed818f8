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
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "event/schema.h"
#include "source/slope.h"
#include "source/smaps.h"
#include "source/sock_diag.h"
#include "source/threads.h"
#include "source/who.h"

#define READ_MAX 8192
/* Trees that are over and still told of: what one command was, but not all that ever had its name. */
#define TREES_KEPT 64

/* What looks at PSS may take: CPU time of one pass, and the share of a process's own looks. */
#define PSS_PASS_NS 5000000
#define PSS_SHARE   200

#define SOCKETS_PASS_NS 2000000 /* the same for looks at descriptors */

/* struct proc_detail.sample: what the rows show beside the totals. */
struct row {
	struct proc_totals pass; /* sums of this pass */
	struct as_task_io io;    /* the kernel's account, waited-for children included */
	uint64_t wait_ns;
	uint64_t anon_pages;
	uint64_t file_pages;
	uint64_t shmem_pages;
	uint64_t swap_pages;
	uint64_t peak_pages;
	uint32_t fds;
	int32_t last_cpu;
	struct slope slope;
	struct smaps smaps; /* as of `pss_ns` */
	uint64_t pss_ns;    /* 0: never looked */
	uint64_t pss_cost_ns;
	uint64_t pss_rss_pages; /* the resident set then */
	bool pss_failed;        /* the last look, though the process was there */
	uint32_t sockets_pass;  /* of sock_diag, in which it was first looked at; 0: not yet */
};

/* struct proc_tree.sample */
struct tree_sample {
	struct as_system_tree sum; /* of this pass; the totals never fall, see tree_add() */
	bool pss_missing;          /* a member has not been looked at yet, or could not be */
	uint64_t last_ns;
	struct slope slope;
};

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
	struct threads *threads;
	struct emitter *out; /* of this pass, for the rows of threads */
	enum as_sample_reason reason;
	uint64_t elapsed_from_ns;
	uint64_t next_ns;
	uint64_t (*plan)(void *ctx, uint64_t boot_ns, const struct sampler_load *load);
	void *plan_ctx;
	size_t pss_turn;  /* where in `seen` the next pass goes on */
	bool pss_refused; /* and it has been said */
	struct sock_diag *sockets;
	size_t sockets_turn; /* the same for them */
};

int sampler_new(const struct sampler_options *opt, struct sampler **ret)
{
	_cleanup_(task_source_freep) struct task_source *source = opt->source;
	_cleanup_(sampler_freep) struct sampler *s = NULL;

	if (opt->machine ? !opt->fs : !source || !opt->table)
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->opt = *opt;
	s->opt.source = TAKE_PTR(source);
	if (!s->opt.begin_ns)
		s->opt.begin_ns = clock_boot_ns();
	s->elapsed_from_ns = s->opt.begin_ns;
	if (opt->threads && threads_new(&s->threads) < 0)
		return -ENOMEM;
	if (opt->sockets && opt->fs) {
		int r = sock_diag_new(&s->sockets);

		if (r < 0 && opt->missing)
			opt->missing(opt->ctx, "sockets", r);
	}
	s->page_kb = sysconf(_SC_PAGESIZE) / 1024;
	if (!s->opt.cores)
		s->opt.cores = sysconf(_SC_NPROCESSORS_ONLN);
	*ret = TAKE_PTR(s);
	return 0;
}

void sampler_free(struct sampler *s)
{
	if (!s)
		return;
	task_source_free(s->opt.source);
	threads_free(s->threads);
	sock_diag_free(s->sockets);
	free(s->seen);
	free(s);
}

void sampler_released(struct sampler *s, uint64_t boot_ns)
{
	s->elapsed_from_ns = boot_ns;
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

static struct row *row_of(const struct proc *p)
{
	return p->detail ? p->detail->sample : NULL;
}

/* NULL without memory: then the row has no details. */
static struct row *row_get(struct proc *p)
{
	struct proc_detail *d = proc_table_detail(p);

	if (d && !d->sample)
		d->sample = calloc(1, sizeof(struct row));
	return d ? d->sample : NULL;
}

static void row_reset(struct row *r)
{
	memset(&r->pass, 0, sizeof(r->pass));
	memset(&r->io, 0, sizeof(r->io));
	r->wait_ns = 0;
	r->anon_pages = 0;
	r->file_pages = 0;
	r->shmem_pages = 0;
	r->swap_pages = 0;
	r->peak_pages = 0;
	r->fds = 0;
	r->last_cpu = -1;
}

/* The first task of a process in this pass. */
static bool pass_begin(struct sampler *s, struct proc *p)
{
	struct proc_sample *a = &p->sample;
	struct row *r;

	if (s->n_seen == s->cap_seen && !seen_grow(s)) {
		s->lost++;
		return false;
	}
	s->seen[s->n_seen++] = p;
	a->pass = s->pass;
	a->pass_cpu_ns = 0;
	a->read_bytes = 0;
	a->write_bytes = 0;
	a->io_unknown = false;
	a->rss_pages = 0;
	a->vsz_pages = 0;
	a->threads = 0;
	a->waited_faults = 0;
	r = s->opt.detail ? row_get(p) : NULL;
	if (r)
		row_reset(r);
	return true;
}

/* ---- details ---- */

static void usage_add(struct proc_totals *to, const struct as_task_usage *u)
{
	to->v[TOTAL_USER] += u->user_ns;
	to->v[TOTAL_SYSTEM] += u->system_ns;
	to->v[TOTAL_MINOR] += u->minor_faults;
	to->v[TOTAL_MAJOR] += u->major_faults;
	to->v[TOTAL_VOLUNTARY] += u->voluntary;
	to->v[TOTAL_INVOLUNTARY] += u->involuntary;
}

static void own_io_add(struct proc_totals *to, const struct as_task_io *io)
{
	to->v[TOTAL_RCHAR] += io->rchar;
	to->v[TOTAL_WCHAR] += io->wchar;
	to->v[TOTAL_SYSCR] += io->syscr;
	to->v[TOTAL_SYSCW] += io->syscw;
	to->v[TOTAL_READ] += io->read_bytes;
	to->v[TOTAL_WRITE] += io->write_bytes;
}

static void io_add(struct as_task_io *to, const struct as_task_io *io)
{
	to->rchar += io->rchar;
	to->wchar += io->wchar;
	to->syscr += io->syscr;
	to->syscw += io->syscw;
	to->read_bytes += io->read_bytes;
	to->write_bytes += io->write_bytes;
}

static void row_memory(struct row *r, const struct as_task_more *m)
{
	r->anon_pages = m->anon_pages;
	r->file_pages = m->file_pages;
	r->shmem_pages = m->shmem_pages;
	r->swap_pages = m->swap_pages;
	r->peak_pages = m->peak_pages;
}

static bool ran_before(const struct sampler *s, const struct proc *p)
{
	return p->start_ns + (p->start_exact ? 0 : PROC_TICK_NS) < s->opt.begin_ns;
}

/* The kernel's sum for a group holds what it did before its threads were kept apart: that is kept. */
static void io_before(struct sampler *s, struct proc *p, const struct as_task_more *m)
{
	struct proc_totals all = {0}, ended = {0};

	if (p->detail->looked || !ran_before(s, p))
		return;
	own_io_add(&all, &m->group_io);
	own_io_add(&ended, &m->ended_io);
	for (int i = 0; i < TOTALS; i++)
		p->detail->before.v[i] = all.v[i] > ended.v[i] ? all.v[i] - ended.v[i] : 0;
}

static void row_add(struct sampler *s, struct proc *p, const struct as_task *t,
		    const struct as_task_more *m)
{
	struct row *r = row_of(p);

	r->pass.v[TOTAL_CPU] += t->cpu_ns;
	usage_add(&r->pass, &m->usage);
	io_add(&r->io, &m->io);
	/* the leader stays until the others have ended, too */
	if (!(m->flags & AS_TASK_EXITING))
		own_io_add(&r->pass, &m->io);
	r->wait_ns += m->wait_ns;
	if (m->flags & AS_TASK_MEMORY)
		row_memory(r, m);
	if (t->tid != t->tgid)
		return;
	usage_add(&r->pass, &m->group_usage);
	io_add(&r->io, &m->group_io);
	own_io_add(&r->pass, &m->ended_io);
	io_before(s, p, m);
	r->last_cpu = m->last_cpu;
	r->fds = m->fds;
}

/* User and system time are known by ticks, their sum exactly: the one is split as the other is. */
static void cpu_split(struct proc_totals *t)
{
	uint64_t user = t->v[TOTAL_USER], ticks = user + t->v[TOTAL_SYSTEM];

	if (ticks)
		user = (unsigned __int128)t->v[TOTAL_CPU] * user / ticks;
	else
		user = t->v[TOTAL_CPU];
	t->v[TOTAL_USER] = user;
	t->v[TOTAL_SYSTEM] = t->v[TOTAL_CPU] - user;
}

/* What is not system time is user time: the sum of both is what is known. */
static void user_set(struct proc_totals *t)
{
	t->v[TOTAL_SYSTEM] = MIN(t->v[TOTAL_SYSTEM], t->v[TOTAL_CPU]);
	t->v[TOTAL_USER] = t->v[TOTAL_CPU] - t->v[TOTAL_SYSTEM];
}

/* A thread that ends during the pass may be missed by it: what was seen before counts until it shows. */
static void row_settle(struct sampler *s, struct proc *p)
{
	struct proc_detail *d = p->detail;
	struct row *r = row_of(p);

	if (!r)
		return;
	cpu_split(&r->pass);
	for (int i = 0; i < TOTAL_RX; i++)
		d->total.v[i] = MAX(d->total.v[i], r->pass.v[i] + d->before.v[i]);
	user_set(&d->total);
	if (!d->looked && !s->opt.since_start && ran_before(s, p))
		d->base = d->total;
	d->looked = true;
}

void sampler_add(struct sampler *s, const struct as_task *t, const struct as_task_more *more,
		 bool exact)
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
	a->io_unknown |= t->read_bytes == AS_UNKNOWN;
	a->rss_pages = MAX(a->rss_pages, (uint64_t)t->rss_pages);
	a->vsz_pages = MAX(a->vsz_pages, (uint64_t)t->vsz_pages);
	a->threads = MAX(a->threads, (uint32_t)t->threads);
	a->waited_faults = MAX(a->waited_faults, (uint32_t)t->waited_faults);
	if (!more)
		return;
	if (row_of(p))
		row_add(s, p, t, more);
	if (s->threads)
		threads_emit(s->threads, t, more, s->out);
}

void sampler_net(struct sampler *s, uint32_t tgid, uint64_t start_ns, uint64_t rx_bytes,
		 uint64_t tx_bytes)
{
	struct proc *p = s->opt.table ? proc_table_find(s->opt.table, tgid) : NULL;
	struct proc_totals *to;

	if (!p || !s->opt.detail || p->start_ns / PROC_TICK_NS != start_ns / PROC_TICK_NS)
		return;
	if (p->exited)
		to = p->tree ? &p->tree->ended : NULL;
	else
		to = proc_table_detail(p) ? &p->detail->total : NULL;
	if (!to)
		return;
	to->v[TOTAL_RX] += rx_bytes;
	to->v[TOTAL_TX] += tx_bytes;
}

static struct proc_tree *tree_find(const struct sampler *s, uint32_t tgid)
{
	struct proc_tree *tree = NULL;

	while ((tree = proc_table_next_tree(s->opt.table, tree))) {
		if ((tree->root ? tree->root->tgid : tree->tgid) == tgid)
			return tree;
	}
	return NULL;
}

static uint64_t timeval_ns(const struct timeval *t)
{
	return t->tv_sec * NSEC_PER_SEC + t->tv_usec * NSEC_PER_USEC;
}

/* 512: the kernel counts storage in these, and what it counts is whole ones. */
void sampler_waited(struct sampler *s, uint32_t tgid, const struct rusage *use)
{
	struct proc_tree *tree = s->opt.table ? tree_find(s, tgid) : NULL;
	const struct proc_totals all = {{
		[TOTAL_CPU] = timeval_ns(&use->ru_utime) + timeval_ns(&use->ru_stime),
		[TOTAL_USER] = timeval_ns(&use->ru_utime),
		[TOTAL_SYSTEM] = timeval_ns(&use->ru_stime),
		[TOTAL_MINOR] = use->ru_minflt,
		[TOTAL_MAJOR] = use->ru_majflt,
		[TOTAL_VOLUNTARY] = use->ru_nvcsw,
		[TOTAL_INVOLUNTARY] = use->ru_nivcsw,
		[TOTAL_READ] = use->ru_inblock * 512ULL,
		[TOTAL_WRITE] = use->ru_oublock * 512ULL,
	}};

	if (!tree || !tree->waited_io)
		return;
	for (int i = 0; i < TOTALS; i++)
		tree->shown.v[i] = MAX(tree->shown.v[i], all.v[i]);
	/* the ratio of user to system time is taken from what is known of the parts */
	tree->ended.v[TOTAL_USER] = all.v[TOTAL_USER];
	tree->ended.v[TOTAL_SYSTEM] = all.v[TOTAL_SYSTEM];
}

/* ---- PSS ---- */

/* What has grown or shrunk by an eighth since is looked at again, as soon as its looks may cost that. */
static bool pss_due(const struct sampler *s, const struct proc *p, const struct row *r,
		    uint64_t boot_ns)
{
	uint64_t then = r->pss_rss_pages, now = p->sample.rss_pages;
	uint64_t passed_ns = boot_ns - r->pss_ns, pause_ns = PSS_SHARE * r->pss_cost_ns;
	bool moved = MAX(then, now) - MIN(then, now) > then / 8;

	if (!r->pss_ns)
		return true;
	return passed_ns >= pause_ns && (moved || passed_ns >= s->opt.pss_interval_ns);
}

static void pss_look(struct sampler *s, const struct proc *p, struct row *r, uint64_t boot_ns)
{
	uint64_t begin_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	int k = smaps_read(s->opt.fs, p->tgid, &r->smaps);

	r->pss_ns = boot_ns;
	r->pss_rss_pages = p->sample.rss_pages;
	r->fds = procfs_count_fds(s->opt.fs, p->tgid);
	r->pss_cost_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - begin_ns;
	r->pss_failed = k < 0 && k != -ESRCH;
	if (r->pss_failed)
		r->smaps = (struct smaps){0};
	if (r->pss_failed && !s->pss_refused) {
		s->pss_refused = true;
		if (s->opt.missing)
			s->opt.missing(s->opt.ctx, "pss", k);
	}
}

/* Who was never looked at comes first, then the others in turn, until the time of a pass is spent. */
static void pss_pass(struct sampler *s, uint64_t boot_ns)
{
	const size_t from = s->pss_turn;
	uint64_t spent_ns = 0;

	for (int first = 1; first >= 0; first--) {
		for (size_t n = 0; n < s->n_seen && spent_ns < PSS_PASS_NS; n++) {
			size_t i = first ? n : (from + n) % s->n_seen;
			struct row *r = row_of(s->seen[i]);

			if (!r || (first && r->pss_ns) || !pss_due(s, s->seen[i], r, boot_ns))
				continue;
			if (!first)
				s->pss_turn = i + 1;
			pss_look(s, s->seen[i], r, boot_ns);
			spent_ns += r->pss_cost_ns;
		}
	}
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

/* What of a record stands in a total. */
#define TOTALS_SHOW(m, t)                                                                   \
	((m)->cpu_ns = (t)->v[TOTAL_CPU], (m)->user_ns = (t)->v[TOTAL_USER],                \
	 (m)->system_ns = (t)->v[TOTAL_SYSTEM], (m)->minor_faults = (t)->v[TOTAL_MINOR],    \
	 (m)->major_faults = (t)->v[TOTAL_MAJOR], (m)->voluntary = (t)->v[TOTAL_VOLUNTARY], \
	 (m)->involuntary = (t)->v[TOTAL_INVOLUNTARY], (m)->rx_bytes = (t)->v[TOTAL_RX],    \
	 (m)->tx_bytes = (t)->v[TOTAL_TX])

static void row_details(struct sampler *s, struct proc *p, uint64_t boot_ns,
			struct as_system_metrics *m)
{
	struct row *r = row_of(p);

	if (!r)
		return;
	row_settle(s, p);
	TOTALS_SHOW(m, &p->detail->total);
	m->wait_ns = r->wait_ns;
	m->last_cpu = r->last_cpu;
	m->anon_kb = r->anon_pages * s->page_kb;
	m->file_kb = r->file_pages * s->page_kb;
	m->shmem_kb = r->shmem_pages * s->page_kb;
	m->swap_kb = r->swap_pages * s->page_kb;
	m->peak_kb = MAX(r->peak_pages * s->page_kb, m->rss_kb);
	/* the last look is no longer true of who has given all back, on its way out */
	m->pss_kb = m->rss_kb ? r->smaps.pss_kb : 0;
	m->uss_kb = m->rss_kb ? r->smaps.uss_kb : 0;
	slope_add(&r->slope, boot_ns, m->rss_kb);
	m->slope_kb_min = slope_kb_min(&r->slope);
	m->rchar = r->io.rchar;
	m->wchar = r->io.wchar;
	m->syscr = r->io.syscr;
	m->syscw = r->io.syscw;
	m->fds = r->fds;
}

/*
 * The kernel adds to a process's I/O that of children when it waits for them: one that writes nothing itself seems to
 * have written all at once.
 */
static void row_own_io(const struct sampler *s, struct proc *p, struct as_system_metrics *m)
{
	struct proc_sample *a = &p->sample;

	if (row_of(p) && !s->opt.source->waited_io) {
		m->own_read_bytes = p->detail->total.v[TOTAL_READ];
		m->own_write_bytes = p->detail->total.v[TOTAL_WRITE];
		m->own_rchar = p->detail->total.v[TOTAL_RCHAR];
		m->own_wchar = p->detail->total.v[TOTAL_WCHAR];
		return;
	}
	m->own_read_bytes = m->read_bytes;
	m->own_write_bytes = m->write_bytes;
	m->own_rchar = m->rchar;
	m->own_wchar = m->wchar;
	m->mixed = a->waited_faults != a->mixed_faults;
	a->mixed_faults = a->waited_faults;
}

/* Of what the cgroup allows. */
static void row_limits(const struct sampler *s, struct as_system_metrics *m)
{
	uint64_t quota_centi, memory_kb;

	if (!s->opt.who || !who_limits(s->opt.who, m->h.tgid, &quota_centi, &memory_kb))
		return;
	if (quota_centi) {
		m->quota_centi = percent_centi(m->cpu_centi, quota_centi);
		m->limits |= AS_LIMIT_CPU;
	}
	if (memory_kb) {
		m->limit_centi = percent_centi(m->rss_kb, memory_kb);
		m->limits |= AS_LIMIT_MEMORY;
	}
}

static void row_emit(struct sampler *s, struct proc *p, uint64_t boot_ns, struct emitter *out)
{
	struct proc_sample *a = &p->sample;
	const struct proc_tree *tree = p->followed ? proc_table_tree(p) : NULL;
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
		.read_bytes = a->io_unknown ? AS_UNKNOWN : a->read_bytes,
		.write_bytes = a->io_unknown ? AS_UNKNOWN : a->write_bytes,
		.cores = s->opt.cores,
		.threads = a->threads,
		.children = p->children,
		.tree_id = tree ? tree->id : 0,
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
	row_details(s, p, boot_ns, &m);
	row_own_io(s, p, &m);
	row_limits(s, &m);
	record_emit(out, &m.h);
}

/* ---- sockets ---- */

static void bytes_moved(void *ctx, uint32_t tgid, uint64_t start_ns, uint64_t rx_bytes,
			uint64_t tx_bytes)
{
	sampler_net(ctx, tgid, start_ns, rx_bytes, tx_bytes);
}

static void sockets_look(struct sampler *s, const struct proc *p, struct row *r)
{
	if (!r->sockets_pass)
		r->sockets_pass = sock_diag_pass(s->sockets);
	sock_diag_look(s->sockets, p->tgid, p->start_ns, ran_before(s, p) ? r->sockets_pass : 0);
}

/* All in turn, as far as there is time; who is new, and all as long as a socket has no owner. */
static void sockets_looks(struct sampler *s)
{
	uint64_t begin_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	bool wants = sock_diag_wants(s->sockets);

	for (size_t n = 0; n < s->n_seen; n++) {
		size_t i = s->sockets_turn++ % s->n_seen;
		struct row *r = row_of(s->seen[i]);

		if (r && (wants || !r->sockets_pass))
			sockets_look(s, s->seen[i], r);
		if (i + 1 == s->n_seen) {
			s->sockets_turn = 0;
			sock_diag_round(s->sockets);
		}
		if (clock_ns(CLOCK_THREAD_CPUTIME_ID) - begin_ns > SOCKETS_PASS_NS)
			return;
	}
}

static void sockets_sample(struct sampler *s)
{
	int r = sock_diag_begin(s->sockets);

	if (r < 0) {
		if (s->opt.missing)
			s->opt.missing(s->opt.ctx, "sockets", r);
		sock_diag_free(s->sockets);
		s->sockets = NULL;
		return;
	}
	sockets_looks(s);
	sock_diag_end(s->sockets, bytes_moved, s);
}

/* ---- trees ---- */

int sampler_root(struct sampler *s, uint32_t tgid)
{
	struct proc *p = s->opt.table ? proc_table_find(s->opt.table, tgid) : NULL;
	_cleanup_(freep) struct tree_sample *sample = NULL;
	struct proc_tree *tree;
	int r;

	if (!p || p->exited)
		return -ESRCH;
	sample = calloc(1, sizeof(*sample));
	if (!sample)
		return -ENOMEM;
	r = proc_table_add_tree(s->opt.table, p, s->opt.since_start ? 0 : s->opt.begin_ns, &tree);
	if (r < 0)
		return r == -EEXIST ? 0 : r;
	tree->waited_io = s->opt.source->waited_io;
	tree->sample = TAKE_PTR(sample);
	return 0;
}

static void tree_reset(struct proc_tree *tree)
{
	struct as_system_tree *m = &tree->sample->sum;

	m->processes = 0;
	m->threads = 0;
	m->wait_ns = 0;
	m->rss_kb = m->vsz_kb = 0;
	m->anon_kb = m->file_kb = m->shmem_kb = m->swap_kb = 0;
	m->pss_kb = m->uss_kb = 0;
	tree->sample->pss_missing = false;
	tree->now = tree->ended;
}

/* What a member that was seen in this pass has now. */
static void tree_add_state(struct sampler *s, struct tree_sample *t, const struct proc *p)
{
	struct as_system_tree *m = &t->sum;
	const struct row *r = row_of(p);

	m->processes++;
	m->threads += p->sample.threads;
	m->rss_kb += p->sample.rss_pages * s->page_kb;
	m->vsz_kb += p->sample.vsz_pages * s->page_kb;
	if (!r)
		return;
	m->wait_ns += r->wait_ns;
	m->anon_kb += r->anon_pages * s->page_kb;
	m->file_kb += r->file_pages * s->page_kb;
	m->shmem_kb += r->shmem_pages * s->page_kb;
	m->swap_kb += r->swap_pages * s->page_kb;
	if (p->sample.rss_pages) {
		m->pss_kb += r->smaps.pss_kb;
		m->uss_kb += r->smaps.uss_kb;
	}
	if (!r->pss_ns || r->pss_failed)
		t->pss_missing = true;
}

/* A member that was not seen has ended, and the event that tells is on its way. */
static void tree_add(struct sampler *s, struct proc *p)
{
	struct proc_tree *tree = p->followed ? proc_table_tree(p) : NULL;

	if (!tree)
		return;
	if (p->detail) {
		const struct proc_totals *base = &p->detail->base;

		/* of these two the split is an estimate, which may fall */
		for (int i = 0; i < TOTALS; i++)
			tree->now.v[i] += MAX(p->detail->total.v[i], base->v[i]) - base->v[i];
	}
	if (p->sample.pass == s->pass)
		tree_add_state(s, tree->sample, p);
}

static void tree_identity(const struct proc_tree *tree, struct as_hdr *h)
{
	const struct proc *p = tree->root;

	h->tgid = h->tid = p ? p->tgid : tree->tgid;
	h->ppid = p ? p->ppid : tree->ppid;
	h->uid = p ? p->uid : tree->uid;
	h->start_ns = p ? p->start_ns : tree->start_ns;
	memcpy(h->comm, p ? p->comm : tree->comm, sizeof(h->comm));
}

/* Since the last sample; before the first, since it began to count. */
static void tree_rate(struct tree_sample *t, uint64_t cpu_ns, uint64_t boot_ns)
{
	struct as_system_tree *m = &t->sum;

	m->interval_ns = t->last_ns && boot_ns > t->last_ns ? boot_ns - t->last_ns : 0;
	m->cpu_centi = cpu_ns > m->cpu_ns ? percent_centi(cpu_ns - m->cpu_ns, m->interval_ns) : 0;
	t->last_ns = boot_ns;
}

static void tree_finish(struct sampler *s, struct proc_tree *tree, uint64_t boot_ns)
{
	struct tree_sample *t = tree->sample;
	struct as_system_tree *m = &t->sum;

	for (int i = 0; i < TOTALS; i++)
		tree->shown.v[i] = MAX(tree->shown.v[i], tree->now.v[i]);
	tree->now.v[TOTAL_CPU] = tree->shown.v[TOTAL_CPU];
	/* of children that nobody saw only the sum of both is known */
	if (tree->waited_io)
		cpu_split(&tree->now);
	else
		user_set(&tree->now);
	tree_rate(t, tree->shown.v[TOTAL_CPU], boot_ns);
	TOTALS_SHOW(m, &tree->shown);
	m->user_ns = tree->now.v[TOTAL_USER];
	m->system_ns = tree->now.v[TOTAL_SYSTEM];
	m->rchar = tree->shown.v[TOTAL_RCHAR];
	m->wchar = tree->shown.v[TOTAL_WCHAR];
	m->syscr = tree->shown.v[TOTAL_SYSCR];
	m->syscw = tree->shown.v[TOTAL_SYSCW];
	m->read_bytes = tree->shown.v[TOTAL_READ];
	m->write_bytes = tree->shown.v[TOTAL_WRITE];
	m->started = tree->started;
	m->ended = tree->ended_n;
	m->elapsed_ns = boot_ns > s->elapsed_from_ns ? boot_ns - s->elapsed_from_ns : 0;
	m->reason = s->reason;
	m->cores = s->opt.cores;
	if (t->pss_missing)
		m->pss_kb = m->uss_kb = 0;
	slope_add(&t->slope, boot_ns, m->rss_kb);
	m->slope_kb_min = slope_kb_min(&t->slope);
	m->h.len = sizeof(*m);
	m->h.type = AS_EV_SYSTEM_TREE;
	m->h.boot_ns = boot_ns;
	m->tree_id = tree->id;
	tree_identity(tree, &m->h);
}

/* What all of them moved says when the next sample is due, and each of them tells it. */
static void trees_plan(struct sampler *s, uint64_t boot_ns)
{
	struct sampler_load load = {
		.interval_ns = s->last_ns && boot_ns > s->last_ns ? boot_ns - s->last_ns : 0,
	};
	struct proc_table *t = s->opt.table;
	struct proc_tree *tree;

	if (!s->plan || !s->next_ns)
		return;
	for (tree = proc_table_next_tree(t, NULL); tree; tree = proc_table_next_tree(t, tree)) {
		const struct tree_sample *sample = tree->sample;
		const struct as_system_tree *m = &sample->sum;

		load.cpu_centi += m->cpu_centi;
		load.rss_kb += m->rss_kb;
		load.io_bytes += m->read_bytes + m->write_bytes + m->rchar + m->wchar;
	}
	s->next_ns = s->plan(s->plan_ctx, boot_ns, &load);
}

static void trees_sample(struct sampler *s, uint64_t boot_ns, struct emitter *out)
{
	struct proc_table *t = s->opt.table;
	struct proc_tree *tree;
	struct proc *p;

	for (tree = proc_table_next_tree(t, NULL); tree; tree = proc_table_next_tree(t, tree))
		tree_reset(tree);
	if (proc_table_next_tree(t, NULL)) {
		for (p = proc_table_next(t, NULL); p; p = proc_table_next(t, p))
			tree_add(s, p);
	}
	for (tree = proc_table_next_tree(t, NULL); tree; tree = proc_table_next_tree(t, tree))
		tree_finish(s, tree, boot_ns);
	trees_plan(s, boot_ns);
	for (tree = proc_table_next_tree(t, NULL); tree; tree = proc_table_next_tree(t, tree)) {
		struct tree_sample *sample = tree->sample;

		sample->sum.next_ns = s->next_ns;
		record_emit(out, &sample->sum.h);
	}
	/* by now each of them has told its last */
	proc_table_drop_trees(t, TREES_KEPT);
}

/* ---- a pass ---- */

static int processes_scan(struct sampler *s, uint64_t boot_ns, struct emitter *out)
{
	int r;

	s->pass++;
	s->n_seen = 0;
	s->lost = 0;
	s->out = out;
	if (s->threads)
		threads_begin(s->threads, boot_ns, s->last_ns ? s->before_last_ns : 0);
	r = s->opt.source->scan(s->opt.source, s);
	if (s->threads)
		threads_end(s->threads);
	return r;
}

static int processes_sample(struct sampler *s, uint64_t boot_ns, struct emitter *out)
{
	int r = processes_scan(s, boot_ns, out);

	if (r < 0)
		return r;
	proc_table_count_children(s->opt.table);
	if (s->opt.detail && s->opt.pss_interval_ns && s->opt.fs)
		pss_pass(s, boot_ns);
	if (s->opt.detail && s->sockets)
		sockets_sample(s);
	for (size_t i = 0; i < s->n_seen; i++)
		row_emit(s, s->seen[i], boot_ns, out);
	if (s->opt.detail)
		trees_sample(s, boot_ns, out);
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

void sampler_plan(struct sampler *s,
		  uint64_t (*plan)(void *ctx, uint64_t boot_ns, const struct sampler_load *load),
		  void *ctx)
{
	s->plan = plan;
	s->plan_ctx = ctx;
}

int sampler_sample(struct sampler *s, uint64_t boot_ns, enum as_sample_reason reason,
		   uint64_t next_ns, struct emitter *out)
{
	int r;

	s->reason = reason;
	s->next_ns = next_ns;
	r = s->opt.machine ? machine_sample(s, boot_ns, out) : processes_sample(s, boot_ns, out);
	if (r < 0 && r != -ENOMEM)
		return r;
	s->before_last_ns = s->last_ns ? s->last_ns : boot_ns;
	s->last_ns = boot_ns;
	return r;
}
