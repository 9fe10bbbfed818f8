/* SPDX-License-Identifier: MIT */
/*
 * Who is who: every known process by pid and start time. Seeded from /proc at the start and kept
 * by exec, fork and exit events afterwards. Bounded: a process that has ended stays for a while, so
 * that late events find their owner and do not bring it back, and the oldest ended ones go first.
 */
#ifndef AGENTSIGHT_ENRICH_PROC_TABLE_H
#define AGENTSIGHT_ENRICH_PROC_TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include <agentsight/control.h>

#include "base/cleanup.h"
#include "event/event.h"

#define PROC_TABLE_MAX       65536 /* living ones; as many as the kernel's map `procs` */
#define PROC_TABLE_ENDED_MAX 1024
#define PROC_TABLE_TREES_MAX 4096

/* /proc tells a start time in steps of 1/USER_HZ, which is 10 ms on every machine that we serve. */
#define PROC_TICK_NS ((uint64_t)AS_TICK_NS)

/* What the sampler remembers of a process, here so that a sample needs no look-up of its own. */
struct proc_sample {
	uint64_t cpu_ns;  /* highest own CPU time seen: what rows have shown, or the first look */
	uint64_t last_ns; /* when that was; 0: never sampled */
	uint32_t pass;    /* the pass that the sums below belong to */
	uint32_t threads;
	uint32_t waited_faults; /* of this pass */
	uint32_t mixed_faults;  /* with these, the I/O of children is known to be in its own */
	uint64_t pass_cpu_ns;
	uint64_t read_bytes;
	uint64_t write_bytes;
	bool io_unknown; /* another user's, which /proc does not show us */
	uint64_t rss_pages;
	uint64_t vsz_pages;
	/* /proc only: CPU time of ended children, which a parent gets in one sum when it waits */
	uint64_t waited_ns;  /* at the last look */
	uint64_t due_ns;     /* what of the next such time rows of these children have shown */
	uint64_t due_old_ns; /* the same, not come yet when it was first expected */
};

/* What only grows while a process lives. Its own alone: nothing of its children, living or ended. */
enum proc_total {
	TOTAL_CPU,
	TOTAL_USER,
	TOTAL_SYSTEM,
	TOTAL_MINOR,
	TOTAL_MAJOR,
	TOTAL_VOLUNTARY,
	TOTAL_INVOLUNTARY,
	TOTAL_RCHAR,
	TOTAL_WCHAR,
	TOTAL_SYSCR,
	TOTAL_SYSCW,
	TOTAL_READ,
	TOTAL_WRITE,
	TOTAL_RX,
	TOTAL_TX,
	TOTALS
};

struct proc_totals {
	uint64_t v[TOTALS];
};

/*
 * A process that is looked at as a whole with all that descend from it. Its ended members are
 * summed here, so the sum is exact however short they lived.
 */
struct proc_tree {
	LIST_ENTRY(proc_tree) link;
	uint64_t id;
	struct proc *root; /* NULL: it has ended, what follows is how it was */
	uint32_t tgid, ppid, uid;
	uint64_t start_ns;
	char comm[AS_COMM_LEN];
	uint64_t since_ns; /* who began before that counts from the first look, `base` */
	bool waited_io;    /* a parent's I/O grows by that of children that it waits for: /proc */
	uint64_t started;  /* members so far */
	uint64_t ended_n;  /* of these, how many have ended */
	struct proc_totals ended;
	struct proc_totals now;     /* of the living ones as well, when it was last sampled */
	struct proc_totals shown;   /* the highest so far */
	struct tree_sample *sample; /* the sampler's, freed by free() */
	bool dropped;               /* while it goes */
};

/* Of a process that is sampled in detail. Freed when it ends. */
struct proc_detail {
	struct proc_totals total;  /* as far as it was seen */
	struct proc_totals base;   /* of that, what the tree leaves out */
	struct proc_totals before; /* I/O before the kernel's programs kept its own apart */
	bool looked;               /* `base` and `before` are set */
	void *sample;              /* the sampler's, freed by free() */
};

struct proc {
	uint32_t tgid;
	uint32_t ppid;
	uint32_t uid;
	uint64_t start_ns; /* boot clock; in steps of PROC_TICK_NS unless start_exact */
	bool start_exact;
	char comm[AS_COMM_LEN];
	bool followed; /* belongs to what the user asked for */
	bool exited;
	bool zombie;
	uint8_t missing; /* looks in a row that did not find it in /proc */
	uint8_t looks;   /* the first few, in which it was compared with what the user asked for */
	uint32_t pass;   /* over /proc, the last that saw it */
	struct proc *parent; /* nearest ancestor that lives and is known; NULL when there is none */
	uint32_t children;   /* living followed descendants; see proc_table_count_children() */
	uint64_t exited_cpu_ns; /* of ended descendants, not yet credited to a sample */
	struct proc_sample sample;
	struct proc_tree *tree;     /* NULL: of none, or not known yet; see proc_table_tree() */
	struct proc_detail *detail; /* NULL: not sampled in detail */
	void *source; /* the sampler's source keeps descriptors here; see proc_table_on_end() */

	LIST_HEAD(proc_kids, proc) kids;
	LIST_ENTRY(proc) sibling;
	LIST_ENTRY(proc) bucket;
	TAILQ_ENTRY(proc) order;
};

/* What a source knows about a living process. */
struct proc_fact {
	uint32_t tgid;
	uint32_t ppid;
	uint32_t uid;
	uint64_t start_ns;
	bool start_exact;
	bool followed;    /* false leaves the mark as it is */
	const char *comm; /* AS_COMM_LEN bytes; NULL: unknown */
};

struct proc_table;

int proc_table_new(struct proc_table **ret);
void proc_table_free(struct proc_table *t);
DEFINE_FREEP(struct proc_table *, proc_table_free)

/* Called with every process that ends or is forgotten, before it goes; frees `source`. */
void proc_table_on_end(struct proc_table *t, void (*fn)(struct proc *p));

/* The process that has, or had last, this pid; `exited` tells which. */
struct proc *proc_table_find(const struct proc_table *t, uint32_t tgid);

/* The next living one after @p, in the order they were learnt; the first when @p is NULL. */
struct proc *proc_table_next(const struct proc_table *t, const struct proc *p);

/* The one that was looked at longest ago, for checks that take turns; NULL when there is none. */
struct proc *proc_table_rotate(struct proc_table *t);

/* Learns from exec, fork and exit; any other event only confirms name and start time. */
void proc_table_event(struct proc_table *t, const struct event *ev);

/*
 * Finds or makes the process and updates it. A newer start time under the same pid is another
 * process: the old one ends. NULL when this one is known to have ended or the table is full.
 */
struct proc *proc_table_learn(struct proc_table *t, const struct proc_fact *f);

/* Finds the parents of processes that were learnt before their parents. */
void proc_table_link(struct proc_table *t);

/*
 * The process has ended. @cpu_ns is all that it used; what its rows have not shown is credited to the
 * nearest living followed ancestor. UINT64_MAX when unknown: then only what it held for its own
 * ended children is passed on.
 */
void proc_table_end(struct proc_table *t, struct proc *p, uint64_t cpu_ns);

/*
 * Makes a living process the root of a tree. It and its descendants belong to that from now on. -EEXIST when it is
 * one already, -ENOSPC when there are PROC_TABLE_TREES_MAX.
 */
int proc_table_add_tree(struct proc_table *t, struct proc *p, uint64_t since_ns,
			struct proc_tree **ret);

/* The next tree after @tree; the first when that is NULL. */
struct proc_tree *proc_table_next_tree(const struct proc_table *t, const struct proc_tree *tree);

/* Forgets trees whose members have all ended, but not the @keep that began last. */
void proc_table_drop_trees(struct proc_table *t, size_t keep);

/* The tree that a living process belongs to, or an ended one belonged to; NULL when there is none. */
struct proc_tree *proc_table_tree(struct proc *p);

/* Makes `detail` unless it is there. NULL without memory. */
struct proc_detail *proc_table_detail(struct proc *p);

/* Brings `children` up to date. */
void proc_table_count_children(struct proc_table *t);

size_t proc_table_count(const struct proc_table *t);

/* Processes that were not taken in, and not made roots of trees, because there were too many. */
uint64_t proc_table_refused(const struct proc_table *t);

#endif
