/* SPDX-License-Identifier: MIT */
/*
 * A process's sums only grow, and what has been told is subtracted here. A wait that goes on counts as far
 * as it has come; once it ends, the kernel's sum holds all of it, and less is new.
 *
 * Threads are remembered by the kernel until they are read here, also those that have ended, so that the
 * longest waits of an interval are known.
 */
#include "source/offcpu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <bpf/bpf.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "event/record.h"
#include "source/syscall_names.h"
#include "offcpu.skel.h"

#define TOP_THREADS 10

static const char *const reasons[AS_WAIT_COUNT] = {
	[AS_WAIT_OTHER] = "other",     [AS_WAIT_LOCK] = "lock",
	[AS_WAIT_POLL] = "poll",       [AS_WAIT_SLEEP] = "sleep",
	[AS_WAIT_CHILD] = "child",     [AS_WAIT_SOCKET] = "socket",
	[AS_WAIT_PIPE] = "pipe",       [AS_WAIT_FILE] = "file",
	[AS_WAIT_IPC] = "ipc",         [AS_WAIT_SIGNAL] = "signal",
	[AS_WAIT_DISK] = "disk",       [AS_WAIT_FAULT] = "fault",
	[AS_WAIT_STOPPED] = "stopped", [AS_WAIT_PREEMPTED] = "preempted",
};

struct sum {
	uint64_t count;
	uint64_t time_ns;
	uint64_t max_ns;
};

/* A thread in an event. */
struct row {
	uint32_t tid;
	uint32_t wait; /* what it waited for most */
	uint64_t time_ns;
	char name[AS_COMM_LEN];
};

struct process {
	struct owner owner;
	bool ended;
	struct as_hdr exit; /* when its exit was told */
	struct sum told[AS_WAIT_COUNT];
	uint64_t told_runqueue_ns;
	/* of this pass: waits that go on */
	struct sum open[AS_WAIT_COUNT];
	uint64_t open_runqueue_ns;
	/* of this interval, longest first */
	struct row top[TOP_THREADS];
};

struct offcpu_source {
	struct sums_options opt;
	struct offcpu_bpf__bss *variables;
	int waits_fd, threads_fd;
	struct owners owners;
	struct process **ended; /* to be told at the next tick */
	size_t n_ended, cap_ended;
	uint64_t ended_threads; /* seen so far */
	uint64_t start_ns;
	uint64_t next_ns;
	struct buf record, text;
};

DEFINE_FREEP(struct offcpu_source *, offcpu_source_free)
DEFINE_FREEP(struct offcpu_bpf *, offcpu_bpf__destroy)

/* ---- opening ---- */

static int load(struct bpf_shared *s, struct offcpu_bpf **ret, struct err *e)
{
	_cleanup_(offcpu_bpf__destroyp) struct offcpu_bpf *skel =
		offcpu_bpf__open_opts(bpf_shared_open_opts(s));
	int r;

	if (!skel)
		return err_set(e, -errno, "cannot open the programs for waits: %s",
			       strerror(errno));
	call_waits((uint8_t *)skel->rodata->wait_of_call);
	r = bpf_family_prepare(s, skel->obj, e);
	if (r < 0)
		return r;
	r = offcpu_bpf__load(skel);
	if (r < 0)
		return err_set(e, r, "the kernel refused the programs for waits: %s", strerror(-r));
	if (!skel->bss) /* what libbpf takes for a kernel before 5.5, when a trial of its own fails */
		return err_set(e, -ENOMEM, "the kernel does not share the variables for waits");
	*ret = TAKE_PTR(skel);
	return 0;
}

/* What is needed of the object once its programs are attached. */
static int keep(struct offcpu_source *o, const struct offcpu_bpf *skel)
{
	const struct bpf_kept_map maps[] = {
		{skel->maps.waits, &o->waits_fd},
		{skel->maps.wait_threads, &o->threads_fd},
	};
	int r = bpf_keep_maps(maps, ARRAY_SIZE(maps));

	if (r < 0)
		return r;
	o->variables = bpf_keep_variables(skel->maps.bss);
	return o->variables ? 0 : -errno;
}

/* KERNEL < 5.18 has an argument less, and says so with EINVAL. */
static int attach_switch(struct bpf_shared *s, struct offcpu_bpf *skel)
{
	struct bpf_program *prog = skel->progs.offcpu_switch;
	struct bpf_link *link = bpf_program__attach(prog);
	int r;

	if (!link && errno == EINVAL) {
		prog = skel->progs.offcpu_switch_short;
		link = bpf_program__attach(prog);
	}
	r = link ? bpf_hook_keep(s, link, prog) : -errno;
	bpf_capability(s, "offcpu", "switches", "raw_tp/sched_switch",
		       r < 0 ? CAPABILITY_MISSING : CAPABILITY_ATTACHED, "%s",
		       r < 0 ? strerror(-r) : "");
	return r;
}

/*
 * Without the wake-ups there still are waits; the time in run queues is part of them then. Without the execs
 * what is known of threads that made one stays until their process ends.
 */
static int attach(struct bpf_shared *s, struct offcpu_bpf *skel, struct err *e)
{
	int r;

	bpf_hook_attach(s, "offcpu", "wake-ups", "raw_tp/sched_wakeup", skel->progs.offcpu_wakeup);
	bpf_hook_attach(s, "offcpu", "execs", "raw_tp/sched_process_exec", skel->progs.offcpu_exec);
	r = attach_switch(s, skel);
	return r < 0 ? err_set(e, r, "cannot attach to the scheduler: %s", strerror(-r)) : 0;
}

int offcpu_source_open(struct bpf_shared *s, const struct sums_options *opt,
		       struct offcpu_source **ret, struct err *e)
{
	_cleanup_(offcpu_source_freep) struct offcpu_source *o = calloc(1, sizeof(*o));
	_cleanup_(offcpu_bpf__destroyp) struct offcpu_bpf *skel = NULL;
	int r;

	if (!o)
		return -ENOMEM;
	o->waits_fd = o->threads_fd = -1;
	o->opt = *opt;
	if (!o->opt.interval_ns)
		o->opt.interval_ns = SUMS_INTERVAL_NS;
	r = load(s, &skel, e);
	if (r < 0)
		return r;
	r = keep(o, skel);
	if (r < 0)
		return err_set(e, r, "cannot keep the tables of waits: %s", strerror(-r));
	o->start_ns = clock_boot_ns();
	o->next_ns = o->start_ns + o->opt.interval_ns;
	o->variables->turn_ns = o->start_ns;
	r = attach(s, skel, e);
	if (r < 0)
		return r;

	*ret = TAKE_PTR(o);
	return 0;
}

void offcpu_source_free(struct offcpu_source *o)
{
	struct owner *w;

	if (!o)
		return;
	while ((w = owners_pop(&o->owners)))
		free(w);
	if (o->variables)
		munmap(o->variables, sizeof(*o->variables));
	closep(&o->waits_fd);
	closep(&o->threads_fd);
	buf_done(&o->record);
	buf_done(&o->text);
	free(o->ended);
	free(o);
}

/* ---- threads ---- */

static struct process *process_get(struct offcpu_source *o, const struct as_life *life)
{
	struct process *p = (struct process *)owners_get(&o->owners, life, sizeof(*p));

	if (p && !p->owner.told_ns)
		p->owner.told_ns = MAX(o->start_ns, life->start_ns);
	return p;
}

/* Among the longest, if it is one; a thread comes once in an interval. */
static void process_add_row(struct process *p, struct row row)
{
	for (size_t i = 0; row.time_ns && i < TOP_THREADS; i++) {
		struct row swap = p->top[i];

		if (row.time_ns <= swap.time_ns)
			continue;
		p->top[i] = row;
		row = swap;
	}
}

/* The wait that the thread is in, up to @now; what of it lies in this turn goes to @times. */
static void process_add_open(struct process *p, const struct as_wait_thread *t, uint64_t turn_ns,
			     uint64_t now, uint64_t times[AS_WAIT_COUNT])
{
	struct sum *open = &p->open[t->wait];
	uint64_t ready_ns = t->ready_ns ? t->ready_ns : now, ns;

	if (t->since_ns > now || ready_ns > now || ready_ns < t->since_ns)
		return;
	p->open_runqueue_ns += now - ready_ns;
	ns = t->wait == AS_WAIT_PREEMPTED ? now - t->since_ns : ready_ns - t->since_ns;
	open->time_ns += ns;
	open->max_ns = MAX(open->max_ns, ns);
	if (t->wait != AS_WAIT_PREEMPTED && ready_ns > MAX(t->since_ns, turn_ns))
		times[t->wait] += ready_ns - MAX(t->since_ns, turn_ns);
}

static void process_add_thread(struct process *p, uint32_t tid, const struct as_wait_thread *t,
			       uint64_t turn, uint64_t turn_ns, uint64_t now)
{
	const struct as_wait_turn *of = &t->turns[turn & 1];
	uint64_t times[AS_WAIT_COUNT] = {};
	struct row row = {.tid = tid};

	if (of->turn == turn)
		memcpy(times, of->time_ns, sizeof(times));
	if (t->since_ns && t->wait < AS_WAIT_COUNT && !p->ended)
		process_add_open(p, t, turn_ns, now, times);
	for (uint32_t wait = 0; wait < AS_WAIT_COUNT; wait++) {
		row.time_ns += times[wait];
		if (times[wait] > times[row.wait])
			row.wait = wait;
	}
	memcpy(row.name, t->name, sizeof(row.name));
	process_add_row(p, row);
}

/*
 * Reads the threads of @turn: all, or only those that are no more. Whose process has ended have ended, too.
 */
static void threads_collect(struct offcpu_source *o, uint64_t turn, uint64_t turn_ns, uint64_t now,
			    bool all)
{
	_cleanup_(table_done) struct table t = {};
	int r = table_read(o->threads_fd, sizeof(uint32_t), sizeof(struct as_wait_thread), &t);

	if (r < 0) {
		log_debug("cannot read the waits of threads: %s", strerror(-r));
		return;
	}
	for (size_t i = 0; i < t.n; i++) {
		const uint32_t *tid = &((const uint32_t *)t.keys)[i];
		const struct as_wait_thread *thread = &((const struct as_wait_thread *)t.values)[i];
		struct process *p = process_get(o, &thread->life);

		if (!p)
			continue;
		if (all || thread->ended || p->ended)
			process_add_thread(p, *tid, thread, turn, turn_ns, now);
		if (thread->ended || p->ended)
			bpf_map_delete_elem(o->threads_fd, tid);
	}
}

/* ---- the event ---- */

static void put_reasons(struct buf *b, const struct sum sums[AS_WAIT_COUNT])
{
	const char *comma = "";

	buf_add_char(b, '{');
	for (size_t i = 0; i < AS_WAIT_COUNT; i++) {
		if (!sums[i].count && !sums[i].time_ns)
			continue;
		buf_printf(b, "%s\"%s\":{\"count\":%llu,\"time_ns\":%llu,\"max_ns\":%llu}", comma,
			   reasons[i], (unsigned long long)sums[i].count,
			   (unsigned long long)sums[i].time_ns, (unsigned long long)sums[i].max_ns);
		comma = ",";
	}
	buf_add_char(b, '}');
}

static void put_threads(struct buf *b, const struct row top[TOP_THREADS])
{
	buf_add_char(b, '[');
	for (size_t i = 0; i < TOP_THREADS && top[i].time_ns; i++) {
		buf_printf(b, "%s{\"tid\":%u,\"name\":", i ? "," : "", top[i].tid);
		json_string(b, top[i].name, strnlen(top[i].name, sizeof(top[i].name)));
		buf_printf(b, ",\"time_ns\":%llu,\"reason\":\"%s\"}",
			   (unsigned long long)top[i].time_ns, reasons[top[i].wait]);
	}
	buf_add_char(b, ']');
}

static void process_emit(struct offcpu_source *o, struct process *p, const struct as_hdr *h,
			 const struct sum news[AS_WAIT_COUNT], uint64_t runqueue_ns)
{
	struct as_span spans[2];
	struct as_offcpu *e;

	record_begin(&o->record, AS_EV_OFFCPU, h);
	buf_reset(&o->text);
	put_reasons(&o->text, news);
	spans[0] = record_add(&o->record, o->text.data, o->text.len);
	buf_reset(&o->text);
	put_threads(&o->text, p->top);
	spans[1] = record_add(&o->record, o->text.data, o->text.len);
	o->record.failed |= o->text.failed;
	if (!record_made(&o->record, AS_EV_OFFCPU))
		return;
	e = record_struct(&o->record, as_offcpu);
	e->h.boot_ns = clock_boot_ns();
	e->reasons = spans[0];
	e->threads = spans[1];
	e->wait_ns = runqueue_ns;
	for (size_t i = 0; i < AS_WAIT_COUNT; i++) {
		if (i == AS_WAIT_PREEMPTED)
			continue;
		e->count += news[i].count;
		e->time_ns += news[i].time_ns;
	}
	e->interval_ns = h->boot_ns > p->owner.told_ns ? h->boot_ns - p->owner.told_ns : 0;
	p->owner.told_ns = h->boot_ns;
	record_emit(&o->record, AS_EV_OFFCPU, o->opt.out);
}

/* What @now is beyond @told, which is brought up to date. */
static uint64_t advance(uint64_t *told, uint64_t now)
{
	uint64_t more = now > *told ? now - *told : 0;

	*told += more;
	return more;
}

static void process_tell(struct offcpu_source *o, struct process *p, const struct as_waits *w,
			 const struct as_hdr *h, uint64_t turn)
{
	struct sum news[AS_WAIT_COUNT];
	uint64_t runqueue_ns, any;

	runqueue_ns = advance(&p->told_runqueue_ns, w->runqueue_ns + p->open_runqueue_ns);
	any = runqueue_ns;
	for (size_t i = 0; i < AS_WAIT_COUNT; i++) {
		const struct as_wait_sum *by = &w->by[i];

		news[i] = (struct sum){
			.count = advance(&p->told[i].count, by->count),
			.time_ns = advance(&p->told[i].time_ns, by->time_ns + p->open[i].time_ns),
			.max_ns = MAX(peak_ns(by->peaks, turn), p->open[i].max_ns),
		};
		any |= news[i].count | news[i].time_ns;
	}
	if (any)
		process_emit(o, p, h, news, runqueue_ns);
	memset(p->open, 0, sizeof(p->open));
	p->open_runqueue_ns = 0;
	memset(p->top, 0, sizeof(p->top));
}

static void process_forget(struct offcpu_source *o, struct process *p)
{
	bpf_map_delete_elem(o->waits_fd, &p->owner.life);
	owners_remove(&p->owner);
	free(p);
}

/* ---- when ---- */

/* @h is the header of what will be told of it. */
static void process_end(struct offcpu_source *o, const struct as_life *life, const struct as_hdr *h)
{
	struct process *p, **more;
	size_t cap;

	if (o->n_ended == o->cap_ended) {
		cap = o->cap_ended ? 2 * o->cap_ended : 64;
		more = realloc(o->ended, cap * sizeof(*more));
		if (!more)
			return; /* found to be gone at the end of the interval */
		o->ended = more;
		o->cap_ended = cap;
	}
	p = process_get(o, life);
	if (!p || p->ended)
		return;
	p->ended = true;
	p->exit = *h;
	p->exit.tid = h->tgid;
	o->ended[o->n_ended++] = p;
}

void offcpu_source_exit(struct offcpu_source *o, const struct as_hdr *exit)
{
	const struct as_life life = {.start_ns = exit->start_ns, .tgid = exit->tgid};
	struct as_waits w;

	if (bpf_map_lookup_elem(o->waits_fd, &life, &w) == 0)
		process_end(o, &life, exit);
}

static void tell_ended(struct offcpu_source *o, uint64_t turn)
{
	for (size_t i = 0; i < o->n_ended; i++) {
		struct process *p = o->ended[i];
		struct as_waits w;

		if (bpf_map_lookup_elem(o->waits_fd, &p->owner.life, &w) == 0)
			process_tell(o, p, &w, &p->exit, turn);
		process_forget(o, p);
	}
	o->n_ended = 0;
}

/* Between two intervals: those that are no more. */
static void tick_ended(struct offcpu_source *o, uint64_t boot_ns)
{
	uint64_t ended = o->variables->ended, turn = o->variables->turn;

	if (ended == o->ended_threads && !o->n_ended)
		return;
	o->ended_threads = ended;
	threads_collect(o, turn, o->variables->turn_ns, boot_ns, false);
	tell_ended(o, turn);
}

/* Has it ended without a word? */
static void process_look(struct offcpu_source *o, const struct as_life *life,
			 const struct as_waits *w, uint64_t boot_ns)
{
	struct as_hdr h = w->h;

	if (!process_get(o, life) || !life_ended(life, o->opt.procs))
		return;
	life_header(&h, o->opt.procs);
	h.boot_ns = boot_ns;
	process_end(o, life, &h);
}

void offcpu_source_flush(struct offcpu_source *o, uint64_t boot_ns)
{
	_cleanup_(table_done) struct table t = {};
	uint64_t turn = o->variables->turn, turn_ns = o->variables->turn_ns;
	const struct as_life *lives;
	const struct as_waits *waits;
	int r;

	o->next_ns = boot_ns + o->opt.interval_ns;
	o->variables->turn_ns = boot_ns;
	o->variables->turn = turn + 1;
	r = table_read(o->waits_fd, sizeof(struct as_life), sizeof(struct as_waits), &t);
	if (r < 0) {
		log_debug("cannot read the sums of waits: %s", strerror(-r));
		return;
	}
	lives = (const struct as_life *)t.keys;
	waits = (const struct as_waits *)t.values;
	for (size_t i = 0; i < t.n; i++)
		process_look(o, &lives[i], &waits[i], boot_ns);
	/* behind the sums: a wait that ends in between is told the next time, not twice */
	threads_collect(o, turn, turn_ns, boot_ns, true);
	tell_ended(o, turn);
	for (size_t i = 0; i < t.n; i++) {
		struct process *p = (struct process *)owners_find(&o->owners, &lives[i]);
		struct as_hdr h = waits[i].h;

		if (!p)
			continue; /* told as one that has ended */
		life_header(&h, o->opt.procs);
		h.boot_ns = boot_ns;
		process_tell(o, p, &waits[i], &h, turn);
	}
}

void offcpu_source_tick(struct offcpu_source *o, uint64_t boot_ns)
{
	tick_ended(o, boot_ns);
	if (boot_ns >= o->next_ns)
		offcpu_source_flush(o, boot_ns);
}

void offcpu_source_finish(struct offcpu_source *o)
{
	offcpu_source_flush(o, clock_boot_ns());
}
