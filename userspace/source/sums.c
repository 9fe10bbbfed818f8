/* SPDX-License-Identifier: MIT */
#include "source/sums.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "base/cleanup.h"
#include "enrich/proc_table.h"

#define BATCH 1024 /* entries per look-up; no hash bucket holds as many */

/* ---- owners ---- */

static bool same_life(const struct as_life *a, const struct as_life *b)
{
	return a->tgid == b->tgid && a->start_ns == b->start_ns;
}

struct owner *owners_find(struct owners *o, const struct as_life *life)
{
	struct owner *w;

	LIST_FOREACH(w, &o->buckets[life->tgid % OWNER_BUCKETS], bucket)
	{
		if (same_life(&w->life, life))
			return w;
	}
	return NULL;
}

struct owner *owners_get(struct owners *o, const struct as_life *life, size_t size)
{
	struct owner *w = owners_find(o, life);

	if (w)
		return w;
	w = calloc(1, size);
	if (!w)
		return NULL;
	w->life = *life;
	LIST_INSERT_HEAD(&o->buckets[life->tgid % OWNER_BUCKETS], w, bucket);
	return w;
}

void owners_remove(struct owner *w)
{
	LIST_REMOVE(w, bucket);
}

struct owner *owners_pop(struct owners *o)
{
	for (size_t i = 0; i < OWNER_BUCKETS; i++) {
		struct owner *w = LIST_FIRST(&o->buckets[i]);

		if (w) {
			owners_remove(w);
			return w;
		}
	}
	return NULL;
}

/* Start times that /proc told are in steps. */
static bool is_life(const struct proc *p, const struct as_life *life)
{
	uint64_t a = p->start_ns, b = life->start_ns;

	return (a > b ? a - b : b - a) < PROC_TICK_NS;
}

bool life_ended(const struct as_life *life, const struct proc_table *procs)
{
	const struct proc *p = proc_table_find(procs, life->tgid);

	if (p && (p->exited || (!is_life(p, life) && p->start_ns > life->start_ns)))
		return true;
	return kill(life->tgid, 0) < 0 && errno == ESRCH;
}

void life_header(struct as_hdr *h, const struct proc_table *procs)
{
	const struct as_life life = {.start_ns = h->start_ns, .tgid = h->tgid};
	const struct proc *p = proc_table_find(procs, h->tgid);

	h->tid = h->tgid;
	h->flags = 0;
	if (!p || !is_life(p, &life))
		return;
	h->ppid = p->ppid;
	h->uid = p->uid;
	if (p->comm[0])
		memcpy(h->comm, p->comm, sizeof(h->comm));
}

/* ---- tables ---- */

static int table_grow(struct table *t, size_t key_size, size_t value_size)
{
	size_t cap = t->cap ? 2 * t->cap : BATCH;
	char *p;

	if (t->cap - t->n >= BATCH)
		return 0;
	p = realloc(t->keys, cap * key_size);
	if (!p)
		return -ENOMEM;
	t->keys = p;
	p = realloc(t->values, cap * value_size);
	if (!p)
		return -ENOMEM;
	t->values = p;
	t->cap = cap;
	return 0;
}

int table_read(int fd, size_t key_size, size_t value_size, struct table *ret)
{
	_cleanup_(table_done) struct table t = {};
	void *from = NULL;
	uint32_t at, n;
	int r;

	do {
		r = table_grow(&t, key_size, value_size);
		if (r < 0)
			return r;
		n = BATCH;
		r = bpf_map_lookup_batch(fd, from, &at, t.keys + t.n * key_size,
					 t.values + t.n * value_size, &n, NULL);
		if (r < 0 && errno != ENOENT) /* ENOENT: these were the last */
			return -errno;
		t.n += n;
		from = &at;
	} while (r == 0);

	*ret = t;
	t = (struct table){};
	return 0;
}

void table_done(struct table *t)
{
	free(t->keys);
	free(t->values);
	*t = (struct table){};
}
