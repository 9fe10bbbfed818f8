/* SPDX-License-Identifier: MIT */
/*
 * The kernel's sums only grow; what has been told of each is remembered here and subtracted. Entries go
 * when their process has ended: then none of its threads can add to them any more.
 */
#include "source/syscalls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <bpf/bpf.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "event/record.h"
#include "event/schema.h"
#include "source/sums.h"
#include "source/syscall_names.h"
#include "syscalls.skel.h"

#define TOP_CALLS  32 /* in an event; its totals are over all */
#define TOP_ERRORS 4  /* of a call; the rest is `other` */

/* What has been told of a call, or with `error` of one of its errors. */
struct told {
	uint16_t nr;
	uint16_t error;
	uint64_t count;
	uint64_t errors;
	uint64_t time_ns;
};

/* In the order of nr and error, as the bits are that lead to them. */
struct told_list {
	struct told *items;
	size_t n;
	size_t cap;
};

struct process {
	struct owner owner;
	struct told_list told;
};

struct error_row {
	unsigned error;
	uint64_t count;
};

/* A call in an event. */
struct row {
	unsigned nr;
	uint64_t count;
	uint64_t errors;
	uint64_t time_ns;
	uint64_t max_ns;
	struct error_row top[TOP_ERRORS];
};

struct syscalls_source {
	struct sums_options opt;
	struct syscalls_bpf__bss *variables;
	int calls_fd, sums_fd, errors_fd;
	struct owners owners;
	uint8_t categories[AS_CALLS_MAX];
	uint64_t start_ns;
	uint64_t next_ns;
	struct buf record, text;
	struct told_list next; /* of the process that is being looked at */
	struct row rows[AS_CALLS_MAX];
	size_t n_rows;
};

DEFINE_FREEP(struct syscalls_source *, syscalls_source_free)
DEFINE_FREEP(struct syscalls_bpf *, syscalls_bpf__destroy)

/* ---- opening ---- */

static int load(struct bpf_shared *s, struct syscalls_bpf **ret, struct err *e)
{
	_cleanup_(syscalls_bpf__destroyp) struct syscalls_bpf *skel =
		syscalls_bpf__open_opts(bpf_shared_open_opts(s));
	int r;

	if (!skel)
		return err_set(e, -errno, "cannot open the programs for system calls: %s",
			       strerror(errno));
	skel->rodata->nr_sigreturn = SYS_rt_sigreturn;
	r = bpf_family_prepare(s, skel->obj, e);
	if (r < 0)
		return r;
	r = syscalls_bpf__load(skel);
	if (r < 0)
		return err_set(e, r, "the kernel refused the programs for system calls: %s",
			       strerror(-r));
	if (!skel->bss) /* what libbpf takes for a kernel before 5.5, when a trial of its own fails */
		return err_set(e, -ENOMEM,
			       "the kernel does not share the variables for system calls");
	*ret = TAKE_PTR(skel);
	return 0;
}

/* What is needed of the object once its programs are attached. */
static int keep(struct syscalls_source *c, const struct syscalls_bpf *skel)
{
	const struct bpf_kept_map maps[] = {
		{skel->maps.calls, &c->calls_fd},
		{skel->maps.call_sums, &c->sums_fd},
		{skel->maps.call_errors, &c->errors_fd},
	};
	int r = bpf_keep_maps(maps, ARRAY_SIZE(maps));

	if (r < 0)
		return r;
	c->variables = bpf_keep_variables(skel->maps.bss);
	return c->variables ? 0 : -errno;
}

static int attach(struct bpf_shared *s, struct syscalls_bpf *skel, struct err *e)
{
	const struct {
		const char *hook;
		struct bpf_program *prog;
		const char *category;
		const char *tracepoint;
	} hooks[] = {
		/* the end of calls first: one that was entered unseen is left alone */
		{"end of threads", skel->progs.calls_thread_exit, "sched", "sched_process_exit"},
		{"exec by threads", skel->progs.calls_exec, "sched", "sched_process_exec"},
		{"end of calls", skel->progs.calls_exit, "raw_syscalls", "sys_exit"},
		{"begin of calls", skel->progs.calls_enter, "raw_syscalls", "sys_enter"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(hooks); i++) {
		int r = bpf_hook_attach_tracepoint(s, "syscalls", hooks[i].hook, hooks[i].prog,
						   hooks[i].category, hooks[i].tracepoint);

		if (r < 0)
			return err_set(e, r, "cannot attach to system calls: %s", strerror(-r));
	}
	return 0;
}

int syscalls_source_open(struct bpf_shared *s, const struct sums_options *opt,
			 struct syscalls_source **ret, struct err *e)
{
	_cleanup_(syscalls_source_freep) struct syscalls_source *c = calloc(1, sizeof(*c));
	_cleanup_(syscalls_bpf__destroyp) struct syscalls_bpf *skel = NULL;
	int r;

	if (!c)
		return -ENOMEM;
	c->calls_fd = c->sums_fd = c->errors_fd = -1;
	c->opt = *opt;
	if (!c->opt.interval_ns)
		c->opt.interval_ns = SUMS_INTERVAL_NS;
	call_categories(c->categories);
	r = load(s, &skel, e);
	if (r < 0)
		return r;
	r = keep(c, skel);
	if (r < 0)
		return err_set(e, r, "cannot keep the tables of system calls: %s", strerror(-r));
	r = attach(s, skel, e);
	if (r < 0)
		return r;
	c->start_ns = clock_boot_ns();
	c->next_ns = c->start_ns + c->opt.interval_ns;

	*ret = TAKE_PTR(c);
	return 0;
}

static void process_free(struct process *p)
{
	free(p->told.items);
	free(p);
}

void syscalls_source_free(struct syscalls_source *c)
{
	struct owner *w;

	if (!c)
		return;
	while ((w = owners_pop(&c->owners)))
		process_free((struct process *)w);
	if (c->variables)
		munmap(c->variables, sizeof(*c->variables));
	closep(&c->calls_fd);
	closep(&c->sums_fd);
	closep(&c->errors_fd);
	buf_done(&c->record);
	buf_done(&c->text);
	free(c->next.items);
	free(c);
}

/* ---- what is new ---- */

/* Appends a place to @l; NULL when memory ran out. */
static struct told *told_add(struct told_list *l, const struct as_call_key *key)
{
	size_t cap = l->cap ? 2 * l->cap : 64;
	struct told *t;

	if (l->n == l->cap) {
		t = realloc(l->items, cap * sizeof(*t));
		if (!t)
			return NULL;
		l->items = t;
		l->cap = cap;
	}
	t = &l->items[l->n++];
	*t = (struct told){.nr = key->nr, .error = key->error};
	return t;
}

/* What was told of @key the last time; *@i goes along in the same order. */
static struct told told_before(const struct told_list *l, size_t *i, const struct as_call_key *key)
{
	uint32_t wanted = (uint32_t)key->nr << 16 | key->error;

	while (*i < l->n) {
		const struct told *t = &l->items[*i];
		uint32_t at = (uint32_t)t->nr << 16 | t->error;

		if (at > wanted)
			break;
		(*i)++;
		if (at == wanted)
			return *t;
	}
	return (struct told){};
}

static void row_add_error(struct row *row, unsigned error, uint64_t count)
{
	for (size_t i = 0; count && i < TOP_ERRORS; i++) {
		struct error_row swap = row->top[i];

		if (count <= swap.count)
			continue;
		row->top[i] = (struct error_row){error, count};
		error = swap.error;
		count = swap.count;
	}
}

/* The errors of one call that are new. */
static int errors_collect(struct syscalls_source *c, struct process *p, size_t *i,
			  const __u64 *seen, struct as_call_key key, struct row *row)
{
	for (unsigned error = 0; error < AS_ERRORS_MAX; error++) {
		struct told before, *now;
		uint64_t count;

		key.error = error;
		if (!(seen[error / 64] >> error % 64 & 1) ||
		    bpf_map_lookup_elem(c->errors_fd, &key, &count) < 0)
			continue;
		before = told_before(&p->told, i, &key);
		now = told_add(&c->next, &key);
		if (!now)
			return -ENOMEM;
		now->count = count;
		row_add_error(row, error, count - before.count);
	}
	return 0;
}

/* One call: what is new of it, into a row if there is any. */
static int call_collect(struct syscalls_source *c, struct process *p, size_t *i, unsigned nr,
			uint64_t turn)
{
	struct as_call_key key = {
		.start_ns = p->owner.life.start_ns, .tgid = p->owner.life.tgid, .nr = nr};
	struct row *row = &c->rows[c->n_rows];
	struct as_call_sums sums;
	struct told before, *now;

	if (bpf_map_lookup_elem(c->sums_fd, &key, &sums) < 0)
		return 0;
	before = told_before(&p->told, i, &key);
	now = told_add(&c->next, &key);
	if (!now)
		return -ENOMEM;
	now->count = sums.count;
	now->errors = sums.errors;
	now->time_ns = sums.time_ns;
	*row = (struct row){
		.nr = nr,
		.count = sums.count - before.count,
		.errors = sums.errors - before.errors,
		.time_ns = sums.time_ns - before.time_ns,
		.max_ns = peak_ns(sums.peaks, turn),
	};
	if (row->count)
		c->n_rows++;
	return errors_collect(c, p, i, sums.seen, key, row);
}

static int rows_collect(struct syscalls_source *c, struct process *p, const struct as_calls *calls,
			uint64_t turn)
{
	struct told_list swap;
	size_t i = 0;
	int r = 0;

	c->n_rows = 0;
	c->next.n = 0;
	for (unsigned nr = 0; r >= 0 && nr < AS_CALLS_MAX; nr++) {
		if (calls->seen[nr / 64] >> nr % 64 & 1)
			r = call_collect(c, p, &i, nr, turn);
	}
	if (r < 0)
		return r; /* nothing is told now, all the next time */
	swap = p->told;
	p->told = c->next;
	c->next = swap;
	return 0;
}

/* ---- the event ---- */

static void put_sums(struct buf *b, uint64_t count, uint64_t errors, uint64_t time_ns)
{
	buf_add_lit(b, "\"count\":");
	json_u64(b, count);
	buf_add_lit(b, ",\"errors\":");
	json_u64(b, errors);
	buf_add_lit(b, ",\"time_ns\":");
	json_u64(b, time_ns);
}

static void put_categories(struct syscalls_source *c, struct buf *b)
{
	struct row by[CALL_CATEGORIES] = {};
	const char *comma = "";

	for (size_t i = 0; i < c->n_rows; i++) {
		struct row *sum = &by[c->categories[c->rows[i].nr]];

		sum->count += c->rows[i].count;
		sum->errors += c->rows[i].errors;
		sum->time_ns += c->rows[i].time_ns;
	}
	buf_add_char(b, '{');
	for (size_t i = 0; i < CALL_CATEGORIES; i++) {
		if (!by[i].count)
			continue;
		buf_printf(b, "%s\"%s\":{", comma, call_category_name(i));
		put_sums(b, by[i].count, by[i].errors, by[i].time_ns);
		buf_add_char(b, '}');
		comma = ",";
	}
	buf_add_char(b, '}');
}

static void put_name(struct buf *b, unsigned nr)
{
	const char *name = syscall_name(nr);

	if (name)
		buf_printf(b, "\"%s\"", name);
	else if (nr == AS_CALL_COMPAT)
		buf_add_lit(b, "\"compat\"");
	else if (nr == AS_CALL_UNKNOWN)
		buf_add_lit(b, "\"unknown\"");
	else
		buf_printf(b, "\"nr_%u\"", nr);
}

/* {"ENOENT":3,"other":1} */
static void put_errors(struct buf *b, const struct row *row)
{
	uint64_t rest = row->errors;
	const char *comma = "";

	buf_add_lit(b, ",\"errno\":{");
	for (size_t i = 0; i < TOP_ERRORS && row->top[i].count; i++) {
		unsigned error = row->top[i].error;
		const char *name = error < AS_ERRORS_MAX - 1 ? errno_name(error) : NULL;

		/* an error counted behind the look at the sum */
		if (row->top[i].count > rest)
			break;
		rest -= row->top[i].count;
		if (name)
			buf_printf(b, "%s\"%s\":", comma, name);
		else
			buf_printf(b, "%s\"%u\":", comma, error);
		json_u64(b, row->top[i].count);
		comma = ",";
	}
	if (rest)
		buf_printf(b, "%s\"other\":%llu", comma, (unsigned long long)rest);
	buf_add_char(b, '}');
}

static int by_time(const void *a, const void *b)
{
	const struct row *x = a, *y = b;

	if (x->time_ns != y->time_ns)
		return x->time_ns < y->time_ns ? 1 : -1;
	return (x->nr > y->nr) - (x->nr < y->nr);
}

static void put_top(struct syscalls_source *c, struct buf *b)
{
	qsort(c->rows, c->n_rows, sizeof(*c->rows), by_time);
	buf_add_char(b, '[');
	for (size_t i = 0; i < c->n_rows && i < TOP_CALLS; i++) {
		const struct row *row = &c->rows[i];

		buf_add_str(b, i ? ",{\"name\":" : "{\"name\":");
		put_name(b, row->nr);
		buf_add_char(b, ',');
		put_sums(b, row->count, row->errors, row->time_ns);
		buf_add_lit(b, ",\"max_ns\":");
		json_u64(b, row->max_ns);
		if (row->errors)
			put_errors(b, row);
		buf_add_char(b, '}');
	}
	buf_add_char(b, ']');
}

static void rows_emit(struct syscalls_source *c, struct process *p, const struct as_hdr *h,
		      uint64_t end_ns)
{
	struct as_span categories, top;
	struct as_syscalls sum = {};
	struct as_syscalls *e;

	for (size_t i = 0; i < c->n_rows; i++) {
		sum.total += c->rows[i].count;
		sum.errors += c->rows[i].errors;
		sum.time_ns += c->rows[i].time_ns;
	}
	record_begin(&c->record, AS_EV_SYSCALLS, h);
	buf_reset(&c->text);
	put_categories(c, &c->text);
	categories = record_add(&c->record, c->text.data, c->text.len);
	buf_reset(&c->text);
	put_top(c, &c->text);
	top = record_add(&c->record, c->text.data, c->text.len);
	c->record.failed |= c->text.failed;
	if (!record_made(&c->record, AS_EV_SYSCALLS))
		return;
	e = record_struct(&c->record, as_syscalls);
	e->h.boot_ns = clock_boot_ns();
	e->categories = categories;
	e->top = top;
	e->total = sum.total;
	e->errors = sum.errors;
	e->time_ns = sum.time_ns;
	e->interval_ns = end_ns > p->owner.told_ns ? end_ns - p->owner.told_ns : 0;
	p->owner.told_ns = end_ns;
	record_emit(&c->record, AS_EV_SYSCALLS, c->opt.out);
}

/* ---- a process ---- */

/* Nobody adds to these any more. */
static void entries_remove(struct syscalls_source *c, const struct process *p)
{
	for (size_t i = 0; i < p->told.n; i++) {
		const struct told *t = &p->told.items[i];
		struct as_call_key key = {.start_ns = p->owner.life.start_ns,
					  .tgid = p->owner.life.tgid,
					  .nr = t->nr,
					  .error = t->error};

		bpf_map_delete_elem(t->error ? c->errors_fd : c->sums_fd, &key);
	}
	bpf_map_delete_elem(c->calls_fd, &p->owner.life);
}

static void process_flush(struct syscalls_source *c, const struct as_life *life,
			  const struct as_calls *calls, const struct as_hdr *h, uint64_t turn,
			  bool ended)
{
	struct process *p = (struct process *)owners_get(&c->owners, life, sizeof(*p));

	if (!p)
		return; /* the kernel's sums stay for the next time */
	if (!p->owner.told_ns)
		p->owner.told_ns = MAX(c->start_ns, life->start_ns);
	if (rows_collect(c, p, calls, turn) < 0)
		return;
	if (c->n_rows)
		rows_emit(c, p, h, h->boot_ns);
	if (!ended)
		return;
	entries_remove(c, p);
	owners_remove(&p->owner);
	process_free(p);
}

void syscalls_source_exit(struct syscalls_source *c, const struct as_hdr *exit)
{
	const struct as_life life = {.start_ns = exit->start_ns, .tgid = exit->tgid};
	struct as_calls calls;
	struct as_hdr h = *exit;

	if (bpf_map_lookup_elem(c->calls_fd, &life, &calls) < 0)
		return;
	h.tid = h.tgid;
	process_flush(c, &life, &calls, &h, c->variables->turn, true);
}

void syscalls_source_flush(struct syscalls_source *c, uint64_t boot_ns)
{
	_cleanup_(table_done) struct table t = {};
	uint64_t turn = c->variables->turn;
	int r = table_read(c->calls_fd, sizeof(struct as_life), sizeof(struct as_calls), &t);

	c->next_ns = boot_ns + c->opt.interval_ns;
	if (r < 0) {
		log_debug("cannot read the sums of system calls: %s", strerror(-r));
		return;
	}
	c->variables->turn = turn + 1;
	for (size_t i = 0; i < t.n; i++) {
		const struct as_life *life = &((const struct as_life *)t.keys)[i];
		const struct as_calls *calls = &((const struct as_calls *)t.values)[i];
		struct as_hdr h = calls->h;

		life_header(&h, c->opt.procs);
		h.boot_ns = boot_ns;
		process_flush(c, life, calls, &h, turn, life_ended(life, c->opt.procs));
	}
}

void syscalls_source_tick(struct syscalls_source *c, uint64_t boot_ns)
{
	if (boot_ns >= c->next_ns)
		syscalls_source_flush(c, boot_ns);
}

void syscalls_source_finish(struct syscalls_source *c)
{
	syscalls_source_flush(c, clock_boot_ns());
}
