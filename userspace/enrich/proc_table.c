/* SPDX-License-Identifier: MIT */
/*
 * Living processes form a forest along `parent`. When one ends, its children go to its own parent,
 * not to init as in the kernel: what a process started belongs to it for good.
 */
#include "enrich/proc_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS   16384
#define SLAB_SIZE 256

struct slab {
	SLIST_ENTRY(slab) next;
	struct proc procs[SLAB_SIZE];
};

struct proc_table {
	LIST_HEAD(, proc) buckets[BUCKETS];
	TAILQ_HEAD(, proc) living;
	TAILQ_HEAD(, proc) ended; /* oldest first */
	LIST_HEAD(, proc) unused;
	SLIST_HEAD(, slab) slabs;
	LIST_HEAD(, proc_tree) trees;
	size_t n_living;
	size_t n_ended;
	size_t n_trees;
	uint64_t last_tree_id;
	uint64_t refused;
	void (*on_end)(struct proc *p);
};

int proc_table_new(struct proc_table **ret)
{
	struct proc_table *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	TAILQ_INIT(&t->living);
	TAILQ_INIT(&t->ended);
	*ret = t;
	return 0;
}

void proc_table_on_end(struct proc_table *t, void (*fn)(struct proc *p))
{
	t->on_end = fn;
}

static void source_release(struct proc_table *t, struct proc *p)
{
	if (t->on_end && p->source)
		t->on_end(p);
	p->source = NULL;
}

static void detail_release(struct proc *p)
{
	if (p->detail)
		free(p->detail->sample);
	free(p->detail);
	p->detail = NULL;
}

static void tree_free(struct proc_table *t, struct proc_tree *tree)
{
	LIST_REMOVE(tree, link);
	t->n_trees--;
	free(tree->sample);
	free(tree);
}

void proc_table_free(struct proc_table *t)
{
	struct proc_tree *tree;
	struct slab *slab;
	struct proc *p;

	if (!t)
		return;
	TAILQ_FOREACH(p, &t->living, order)
	{
		source_release(t, p);
		detail_release(p);
	}
	while ((tree = LIST_FIRST(&t->trees)))
		tree_free(t, tree);
	while ((slab = SLIST_FIRST(&t->slabs))) {
		SLIST_REMOVE_HEAD(&t->slabs, next);
		free(slab);
	}
	free(t);
}

/* ---- memory ---- */

static struct proc *proc_alloc(struct proc_table *t)
{
	struct proc *p = LIST_FIRST(&t->unused);

	if (!p) {
		struct slab *slab = calloc(1, sizeof(*slab));

		if (!slab)
			return NULL;
		SLIST_INSERT_HEAD(&t->slabs, slab, next);
		for (size_t i = 0; i < SLAB_SIZE; i++)
			LIST_INSERT_HEAD(&t->unused, &slab->procs[i], bucket);
		p = LIST_FIRST(&t->unused);
	}
	LIST_REMOVE(p, bucket);
	memset(p, 0, sizeof(*p));
	return p;
}

static void ended_drop_oldest(struct proc_table *t)
{
	struct proc *p = TAILQ_FIRST(&t->ended);

	TAILQ_REMOVE(&t->ended, p, order);
	t->n_ended--;
	LIST_REMOVE(p, bucket);
	LIST_INSERT_HEAD(&t->unused, p, bucket);
}

/* ---- look-up ---- */

/* Numbers are given in turn: those of the same moment lie side by side in the processor's cache. */
static size_t bucket_of(uint32_t tgid)
{
	return tgid & (BUCKETS - 1);
}
_Static_assert((BUCKETS & (BUCKETS - 1)) == 0, "bucket_of() takes the low bits");

/* A new process stands before an ended one with the same pid. */
struct proc *proc_table_find(const struct proc_table *t, uint32_t tgid)
{
	struct proc *p;

	LIST_FOREACH(p, &t->buckets[bucket_of(tgid)], bucket)
	{
		if (p->tgid == tgid)
			return p;
	}
	return NULL;
}

struct proc *proc_table_next(const struct proc_table *t, const struct proc *p)
{
	return p ? TAILQ_NEXT(p, order) : TAILQ_FIRST(&t->living);
}

struct proc *proc_table_rotate(struct proc_table *t)
{
	struct proc *p = TAILQ_FIRST(&t->living);

	if (!p)
		return NULL;
	TAILQ_REMOVE(&t->living, p, order);
	TAILQ_INSERT_TAIL(&t->living, p, order);
	return p;
}

size_t proc_table_count(const struct proc_table *t)
{
	return t->n_living;
}

uint64_t proc_table_refused(const struct proc_table *t)
{
	return t->refused;
}

/* Two times are the same start when they are equal as far as both are known. */
static int start_compare(const struct proc *p, uint64_t start_ns, bool exact)
{
	uint64_t a = p->start_ns, b = start_ns;

	if (!p->start_exact || !exact) {
		a /= PROC_TICK_NS;
		b /= PROC_TICK_NS;
	}
	return a < b ? -1 : a > b;
}

/* ---- the forest ---- */

static bool descends_from(const struct proc *p, const struct proc *ancestor)
{
	for (; p; p = p->parent) {
		if (p == ancestor)
			return true;
	}
	return false;
}

static void parent_set(struct proc *p, struct proc *parent)
{
	p->parent = parent;
	if (parent)
		LIST_INSERT_HEAD(&parent->kids, p, sibling);
}

static void parent_link(struct proc_table *t, struct proc *p)
{
	struct proc *parent = proc_table_find(t, p->ppid);

	if (!parent || parent->exited || parent->start_ns > p->start_ns + PROC_TICK_NS)
		return;
	/* a stale entry under a reused pid must not close a circle */
	if (parent == p || (LIST_FIRST(&p->kids) && descends_from(parent, p)))
		return;
	parent_set(p, parent);
}

void proc_table_link(struct proc_table *t)
{
	struct proc *p;

	TAILQ_FOREACH(p, &t->living, order)
	{
		if (!p->parent && p->ppid)
			parent_link(t, p);
	}
}

static void kids_hand_over(struct proc *p)
{
	struct proc *kid;

	while ((kid = LIST_FIRST(&p->kids))) {
		proc_table_tree(kid);
		LIST_REMOVE(kid, sibling);
		parent_set(kid, p->parent);
	}
}

static struct proc *leftmost(struct proc *p)
{
	while (LIST_FIRST(&p->kids))
		p = LIST_FIRST(&p->kids);
	return p;
}

/* Without recursion, since a chain of forks can be as deep as the table. */
static void count_tree(struct proc *root)
{
	struct proc *p = leftmost(root);

	while (p != root) {
		struct proc *next = LIST_NEXT(p, sibling);

		p->parent->children += p->children + (p->followed && !p->zombie);
		p = next ? leftmost(next) : p->parent;
	}
}

void proc_table_count_children(struct proc_table *t)
{
	struct proc *p;

	TAILQ_FOREACH(p, &t->living, order)
	p->children = 0;
	TAILQ_FOREACH(p, &t->living, order)
	{
		if (!p->parent)
			count_tree(p);
	}
}

/* ---- trees ---- */

int proc_table_add_tree(struct proc_table *t, struct proc *p, uint64_t since_ns,
			struct proc_tree **ret)
{
	struct proc_tree *tree;

	if (p->tree && p->tree->root == p)
		return -EEXIST;
	if (t->n_trees == PROC_TABLE_TREES_MAX) {
		t->refused++;
		return -ENOSPC;
	}
	tree = calloc(1, sizeof(*tree));
	if (!tree)
		return -ENOMEM;
	tree->id = ++t->last_tree_id;
	tree->root = p;
	tree->since_ns = since_ns;
	tree->started = 1;
	p->tree = tree;
	LIST_INSERT_HEAD(&t->trees, tree, link);
	t->n_trees++;
	*ret = tree;
	return 0;
}

/* Is there nobody any more who could be a member, or start one? */
static bool tree_over(const struct proc_tree *tree)
{
	return !tree->root && tree->ended_n >= tree->started;
}

/* Those who belonged to trees that go, and are not forgotten yet, belong to none from now on. */
static void trees_leave(struct proc_table *t)
{
	struct proc *p;

	TAILQ_FOREACH(p, &t->living, order)
	p->tree = p->tree && p->tree->dropped ? NULL : p->tree;
	TAILQ_FOREACH(p, &t->ended, order)
	p->tree = p->tree && p->tree->dropped ? NULL : p->tree;
}

void proc_table_drop_trees(struct proc_table *t, size_t keep)
{
	struct proc_tree *tree, *next;
	bool any = false;

	LIST_FOREACH(tree, &t->trees, link)
	{
		if (!tree_over(tree))
			continue;
		tree->dropped = !keep;
		any |= tree->dropped;
		keep -= keep > 0;
	}
	if (!any)
		return;
	trees_leave(t);
	for (tree = LIST_FIRST(&t->trees); tree; tree = next) {
		next = LIST_NEXT(tree, link);
		if (tree->dropped)
			tree_free(t, tree);
	}
}

struct proc_tree *proc_table_next_tree(const struct proc_table *t, const struct proc_tree *tree)
{
	return tree ? LIST_NEXT(tree, link) : LIST_FIRST(&t->trees);
}

/* Not at birth, since a process may be learnt before its parent. */
struct proc_tree *proc_table_tree(struct proc *p)
{
	struct proc *up = p;

	while (!up->tree && up->parent)
		up = up->parent;
	if (up->tree && !p->tree && p->followed) {
		p->tree = up->tree;
		p->tree->started++;
	}
	return p->tree;
}

struct proc_detail *proc_table_detail(struct proc *p)
{
	if (!p->detail)
		p->detail = calloc(1, sizeof(*p->detail));
	return p->detail;
}

static void root_freeze(struct proc_tree *tree, const struct proc *p)
{
	tree->tgid = p->tgid;
	tree->ppid = p->ppid;
	tree->uid = p->uid;
	tree->start_ns = p->start_ns;
	memcpy(tree->comm, p->comm, sizeof(tree->comm));
	tree->root = NULL;
}

/* Will its I/O show in that of a living member? */
static bool folds(const struct proc_tree *tree, const struct proc *p)
{
	return tree->waited_io && p->parent && p->parent->tree == tree;
}

/* @all: what the exit event told, NULL when there was none: then what was seen counts. */
static void tree_credit(struct proc *p, const struct proc_totals *all)
{
	static const struct proc_totals nothing;
	struct proc_tree *tree = proc_table_tree(p);
	const struct proc_detail *d = p->detail;
	const struct proc_totals *seen = d ? &d->total : &nothing, *base = d ? &d->base : &nothing;

	if (!tree)
		return;
	tree->ended_n++;
	/* before the first look: it began before the run, and nobody knows how much of it that was */
	if (!d && p->start_ns < tree->since_ns)
		all = NULL;
	for (int i = 0; i < TOTALS; i++) {
		uint64_t v = all ? MAX(seen->v[i], all->v[i]) : seen->v[i];

		if (i >= TOTAL_RCHAR && i <= TOTAL_WRITE && folds(tree, p))
			continue;
		/* how the sum of both is split is an estimate, which may fall, and the last one counts */
		if (all && (i == TOTAL_USER || i == TOTAL_SYSTEM))
			v = all->v[i];
		tree->ended.v[i] += MAX(v, base->v[i]) - base->v[i];
	}
	if (tree->root == p)
		root_freeze(tree, p);
}

/* ---- life ---- */

static void cpu_credit(struct proc *p, uint64_t cpu_ns)
{
	struct proc *up = p->parent;
	uint64_t owed = p->exited_cpu_ns;

	if (cpu_ns != UINT64_MAX && cpu_ns > p->sample.cpu_ns)
		owed += cpu_ns - p->sample.cpu_ns;
	while (up && !up->followed)
		up = up->parent;
	if (up && p->followed)
		up->exited_cpu_ns += owed;
	p->exited_cpu_ns = 0;
}

static void proc_end(struct proc_table *t, struct proc *p, uint64_t cpu_ns,
		     const struct proc_totals *all)
{
	if (p->exited)
		return;
	cpu_credit(p, cpu_ns);
	tree_credit(p, all);
	detail_release(p);
	source_release(t, p);
	kids_hand_over(p);
	if (p->parent)
		LIST_REMOVE(p, sibling);
	p->parent = NULL;
	p->exited = true;

	TAILQ_REMOVE(&t->living, p, order);
	TAILQ_INSERT_TAIL(&t->ended, p, order);
	t->n_living--;
	if (++t->n_ended > PROC_TABLE_ENDED_MAX)
		ended_drop_oldest(t);
}

void proc_table_end(struct proc_table *t, struct proc *p, uint64_t cpu_ns)
{
	proc_end(t, p, cpu_ns, NULL);
}

static struct proc *proc_create(struct proc_table *t, const struct proc_fact *f)
{
	struct proc *p = t->n_living < PROC_TABLE_MAX ? proc_alloc(t) : NULL;

	if (!p) {
		t->refused++;
		return NULL;
	}
	p->tgid = f->tgid;
	p->ppid = f->ppid;
	p->start_ns = f->start_ns;
	p->start_exact = f->start_exact;
	LIST_INSERT_HEAD(&t->buckets[bucket_of(f->tgid)], p, bucket);
	TAILQ_INSERT_TAIL(&t->living, p, order);
	t->n_living++;
	parent_link(t, p);
	return p;
}

static void proc_update(struct proc *p, const struct proc_fact *f)
{
	p->ppid = f->ppid;
	p->uid = f->uid;
	p->followed |= f->followed;
	p->missing = 0;
	if (f->comm)
		memcpy(p->comm, f->comm, sizeof(p->comm));
	if (f->start_exact && !p->start_exact) {
		p->start_ns = f->start_ns;
		p->start_exact = true;
	}
}

struct proc *proc_table_learn(struct proc_table *t, const struct proc_fact *f)
{
	struct proc *p = proc_table_find(t, f->tgid);
	int age = p ? start_compare(p, f->start_ns, f->start_exact) : -1;

	/* told late: of a process that had this pid before, or that has ended meanwhile */
	if (age > 0 || (age == 0 && p->exited))
		return NULL;
	if (age < 0) {
		if (p)
			proc_table_end(t, p, UINT64_MAX); /* its exit was lost */
		p = proc_create(t, f);
	}
	if (p)
		proc_update(p, f);
	return p;
}

/* ---- events ---- */

static void child_learn(struct proc_table *t, const struct as_fork *e)
{
	const struct proc_fact f = {
		.tgid = e->child_pid,
		.ppid = e->child_ppid,
		.uid = e->h.uid,
		.start_ns = e->child_start_ns,
		.start_exact = true,
		.followed = true,
		.comm = e->h.comm,
	};

	proc_table_learn(t, &f);
}

/* What a tree gets of it. Its I/O before it belonged was seen in its first sample, if it is to count. */
static struct proc_totals exit_totals(const struct proc *p, const struct as_exit *x)
{
	struct proc_totals all = {{
		[TOTAL_CPU] = x->cpu_user_ns + x->cpu_system_ns,
		[TOTAL_USER] = x->cpu_user_ns,
		[TOTAL_SYSTEM] = x->cpu_system_ns,
		[TOTAL_MINOR] = x->minor_faults,
		[TOTAL_MAJOR] = x->major_faults,
		[TOTAL_VOLUNTARY] = x->voluntary,
		[TOTAL_INVOLUNTARY] = x->involuntary,
		[TOTAL_RCHAR] = x->own_rchar,
		[TOTAL_WCHAR] = x->own_wchar,
		[TOTAL_SYSCR] = x->own_syscr,
		[TOTAL_SYSCW] = x->own_syscw,
		[TOTAL_READ] = x->own_read_bytes,
		[TOTAL_WRITE] = x->own_write_bytes,
	}};

	for (int i = 0; p->detail && i < TOTALS; i++)
		all.v[i] += p->detail->before.v[i];
	return all;
}

static void exit_take(struct proc_table *t, struct proc *p, const struct as_exit *x)
{
	uint64_t cpu_ns = x->cpu_user_ns + x->cpu_system_ns;
	struct proc_totals all;

	if (!proc_table_tree(p)) {
		proc_end(t, p, cpu_ns, NULL);
		return;
	}
	all = exit_totals(p, x);
	proc_end(t, p, cpu_ns, &all);
}

/* What is told of a socket comes under its owner, as that was when the socket was first seen; it may be gone. */
static bool of_socket(uint32_t type)
{
	switch (type) {
	case AS_EV_CONNECT:
	case AS_EV_ACCEPT:
	case AS_EV_SEND:
	case AS_EV_RECV:
	case AS_EV_FLOW:
	case AS_EV_CLOSE:
	case AS_EV_RETRANSMIT:
		return true;
	default:
		return false;
	}
}

/* Only the kernel's programs see a living process; other records are about one at most. */
static bool proves_life(const struct as_hdr *h)
{
	return h->type > AS_EV_NONE && h->type < AS_EV_SYSTEM_METRICS && h->tgid && h->start_ns &&
	       !(h->flags & AS_F_INFERRED) && !of_socket(h->type);
}

void proc_table_event(struct proc_table *t, const struct event *ev)
{
	const struct as_hdr *h = ev->rec;
	const struct proc_fact f = {
		.tgid = h->tgid,
		.ppid = h->ppid,
		.uid = h->uid,
		.start_ns = h->start_ns,
		.start_exact = true,
		.followed = true,
		.comm = h->comm,
	};
	struct proc *p;

	if (!proves_life(h))
		return;
	p = proc_table_learn(t, &f);
	if (h->type == AS_EV_FORK)
		child_learn(t, (const void *)h);
	if (p && h->type == AS_EV_EXIT)
		exit_take(t, p, (const void *)h);
}
