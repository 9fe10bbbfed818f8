/* SPDX-License-Identifier: MIT */
#include "stats/roster.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define HASH_SIZE (4 * STATS_PROCESSES)
#define NO_INDEX  UINT32_MAX

/* A process that had to make room, as long as it lives: what it counts on goes to the others. */
struct small {
	uint32_t pid;
	bool used;
	uint64_t start;
	uint32_t name;
	uint32_t counters_known, base_known;
	uint64_t first_ns, samples, peak_rss_kb;
	uint64_t base[COUNTERS], total[COUNTERS];
};

struct stats_table {
	uint32_t hash[HASH_SIZE]; /* index into processes, or NO_INDEX */
	uint32_t group_hash[4 * STATS_GROUPS];
	struct small *small; /* open addressing; made when first needed */
	size_t n_small;
	uint64_t fold_bar; /* CPU time that a small process needs to be told apart again, ns */
};

static uint64_t hash_id(uint32_t pid, uint64_t start)
{
	uint64_t h = (start ^ (uint64_t)pid << 32 ^ pid) * 0x9e3779b97f4a7c15ULL;

	return h ^ h >> 29;
}

/* ---- names ---- */

static void copy_comm(char to[STATS_COMM_LEN], uint8_t *ret_len, const char *p, size_t n)
{
	n = MIN(n, (size_t)STATS_COMM_LEN - 1);
	memset(to, 0, STATS_COMM_LEN);
	if (n)
		memcpy(to, p, n);
	*ret_len = (uint8_t)n;
}

static uint64_t hash_comm(const char comm[STATS_COMM_LEN])
{
	uint64_t a, b;

	memcpy(&a, comm, 8);
	memcpy(&b, comm + 8, 8);
	return hash_id((uint32_t)(b >> 32), a ^ b * 31);
}

/* The index of a name; the last one takes all that find no place. */
static uint32_t group_index(struct stats *s, const char comm[STATS_COMM_LEN], uint8_t len)
{
	size_t mask = ARRAY_SIZE(s->table->group_hash) - 1;
	size_t i = hash_comm(comm) & mask;
	struct stats_group *g;

	for (;; i = (i + 1) & mask) {
		uint32_t at = s->table->group_hash[i];

		if (at == NO_INDEX)
			break;
		if (!memcmp(s->groups[at].comm, comm, STATS_COMM_LEN))
			return at;
	}
	if (s->n_groups == STATS_GROUPS)
		return STATS_GROUPS - 1;
	g = &s->groups[s->n_groups];
	memcpy(g->comm, comm, STATS_COMM_LEN);
	g->comm_len = len;
	if (s->n_groups == STATS_GROUPS - 1)
		copy_comm(g->comm, &g->comm_len, "(others)", 8);
	s->table->group_hash[i] = (uint32_t)s->n_groups;
	return (uint32_t)s->n_groups++;
}

/* ---- processes ---- */

struct stats_process *roster_find(const struct stats *s, uint32_t pid, uint64_t start)
{
	size_t mask = HASH_SIZE - 1;

	for (size_t i = hash_id(pid, start) & mask;; i = (i + 1) & mask) {
		uint32_t at = s->table->hash[i];

		if (at == NO_INDEX)
			return NULL;
		if (s->processes[at].pid == pid && s->processes[at].start == start)
			return &s->processes[at];
	}
}

static void hash_process(struct stats *s, uint32_t at)
{
	const struct stats_process *p = &s->processes[at];
	size_t mask = HASH_SIZE - 1, i = hash_id(p->pid, p->start) & mask;

	while (s->table->hash[i] != NO_INDEX)
		i = (i + 1) & mask;
	s->table->hash[i] = at;
}

static void hash_again(struct stats *s)
{
	memset(s->table->hash, 0xff, sizeof(s->table->hash));
	for (size_t i = 0; i < s->n_processes; i++)
		hash_process(s, (uint32_t)i);
}

static struct small *small_slot(const struct stats *s, uint32_t pid, uint64_t start, bool empty)
{
	size_t mask = 2 * STATS_SMALL - 1;

	for (size_t i = hash_id(pid, start) & mask; s->table->small; i = (i + 1) & mask) {
		struct small *x = &s->table->small[i];

		if (!x->used)
			return empty ? x : NULL;
		if (x->pid == pid && x->start == start)
			return x;
	}
	return NULL;
}

struct small *roster_small(const struct stats *s, uint32_t pid, uint64_t start)
{
	return small_slot(s, pid, start, false);
}

/* Takes it out, and moves those up that stand behind it for want of its place. */
static void remove_small(struct stats *s, struct small *x)
{
	size_t mask = 2 * STATS_SMALL - 1, hole = (size_t)(x - s->table->small);

	for (size_t i = (hole + 1) & mask; s->table->small[i].used; i = (i + 1) & mask) {
		struct small *y = &s->table->small[i];
		size_t home = hash_id(y->pid, y->start) & mask;

		if (((i - home) & mask) >= ((i - hole) & mask)) {
			s->table->small[hole] = *y;
			hole = i;
		}
	}
	s->table->small[hole].used = false;
	s->table->n_small--;
}

static void keep_small(struct stats *s, const struct stats_process *p)
{
	struct small *x;

	if (p->exited)
		return;
	if (!s->table->small)
		s->table->small = calloc(2 * STATS_SMALL, sizeof(*s->table->small));
	x = s->table->n_small < STATS_SMALL ? small_slot(s, p->pid, p->start, true) : NULL;
	if (!x) {
		s->others_approximate = true;
		return;
	}
	*x = (struct small){
		.pid = p->pid,
		.used = true,
		.start = p->start,
		.name = p->name,
		.counters_known = p->counters_known,
		.base_known = p->base_known,
		.first_ns = p->first_ns,
		.samples = p->samples,
		.peak_rss_kb = p->peak_rss_kb,
	};
	memcpy(x->base, p->base, sizeof(x->base));
	memcpy(x->total, p->total, sizeof(x->total));
	s->table->n_small++;
}

static void release_sketches(struct stats *s, struct stats_process *p)
{
	for (size_t g = 0; g < ARRAY_SIZE(p->values); g++) {
		s->memory -= MIN(s->memory, sketch_bytes(&p->values[g].sketch));
		sketch_done(&p->values[g].sketch);
	}
}

static void fold(struct stats *s, struct stats_process *p)
{
	keep_small(s, p);
	s->others.processes++;
	s->others.exits += p->exited;
	s->others.failed += p->exited && (p->exit_code || p->signal);
	s->others.peak_rss_kb = MAX(s->others.peak_rss_kb, p->peak_rss_kb);
	s->others.counters_known |= p->counters_known;
	for (size_t c = 0; c < COUNTERS; c++)
		s->others.total[c] += p->total[c];
	release_sketches(s, p);
}

/* Most CPU time first, then memory; roots of trees before all. */
static int by_size(const void *a, const void *b)
{
	const struct stats_process *x = a, *y = b;
	uint64_t cpu_x = x->total[COUNTER_CPU], cpu_y = y->total[COUNTER_CPU];

	if (x->root != y->root)
		return x->root ? -1 : 1;
	if (cpu_x != cpu_y)
		return cpu_x > cpu_y ? -1 : 1;
	if (x->peak_rss_kb != y->peak_rss_kb)
		return x->peak_rss_kb > y->peak_rss_kb ? -1 : 1;
	return (x->pid > y->pid) - (x->pid < y->pid);
}

/* The smaller half makes room. Half at once, so that it costs little per process. */
void roster_fold(struct stats *s)
{
	size_t keep = s->n_processes / 2;

	qsort(s->processes, s->n_processes, sizeof(*s->processes), by_size);
	s->table->fold_bar = MAX(2 * s->processes[keep].total[COUNTER_CPU], 10 * NSEC_PER_MSEC);
	for (size_t i = keep; i < s->n_processes; i++)
		fold(s, &s->processes[i]);
	s->n_processes = keep;
	hash_again(s);
}

struct stats_process *roster_add(struct stats *s, uint32_t pid, uint64_t start)
{
	struct stats_process *p;

	if (s->n_processes == STATS_PROCESSES)
		roster_fold(s);
	p = &s->processes[s->n_processes];
	*p = (struct stats_process){
		.pid = pid,
		.start = start,
		.name = NO_INDEX,
		.interval_min_ns = UINT64_MAX,
	};
	hash_process(s, (uint32_t)s->n_processes++);
	return p;
}

void roster_name(struct stats *s, struct stats_process *p, const char *comm, size_t len)
{
	char name[STATS_COMM_LEN];
	uint8_t n;

	copy_comm(name, &n, comm, len);
	if (p->name != NO_INDEX && !memcmp(name, p->comm, sizeof(name)))
		return;
	memcpy(p->comm, name, sizeof(name));
	p->comm_len = n;
	if (p->name != NO_INDEX)
		s->groups[p->name].processes--;
	p->name = group_index(s, name, n);
	s->groups[p->name].processes++;
}

/* ---- counting ---- */

/* Sums never fall; one that does was read from somewhere else and counts for nothing. */
uint64_t roster_raise(uint64_t *total, uint64_t base, uint64_t value)
{
	uint64_t now = value > base ? value - base : 0, more;

	if (now <= *total)
		return 0;
	more = now - *total;
	*total = now;
	return more;
}

void roster_learn(uint32_t *base_known, uint64_t *base, const uint64_t *total,
		  const struct stats_sample *x)
{
	uint32_t told = x->counters_known & ~*base_known;

	if (!told)
		return;
	/* what was guessed before stands */
	for (size_t c = 0; c < COUNTERS; c++) {
		if (told & 1U << c)
			base[c] = x->counters[c] - MIN(total[c], x->counters[c]);
	}
	*base_known |= told & 1U << COUNTER_CPU ? UINT32_MAX : told;
}

void roster_count(struct stats *s, uint32_t name, uint64_t *base, uint64_t *total, uint32_t known,
		  const uint64_t counters[COUNTERS], struct stats_group *also)
{
	struct stats_group *g = &s->groups[name];

	g->counters_known |= known;
	for (size_t c = 0; c < COUNTERS; c++) {
		uint64_t more;

		if (!(known & 1U << c))
			continue;
		more = roster_raise(&total[c], base[c], counters[c]);
		g->total[c] += more;
		if (also)
			also->total[c] += more;
		if (!s->has_tree)
			s->tree.total[c] += more;
	}
	if (!s->has_tree)
		s->tree.counters_known |= known;
}

/* ---- those without a place of their own ---- */

static void raise_peak(struct stats *s, uint32_t name, uint64_t peak_rss_kb)
{
	s->others.peak_rss_kb = MAX(s->others.peak_rss_kb, peak_rss_kb);
	s->groups[name].peak_rss_kb = MAX(s->groups[name].peak_rss_kb, peak_rss_kb);
}

bool roster_small_sample(struct stats *s, struct small *x, const struct stats_sample *row)
{
	roster_learn(&x->base_known, x->base, x->total, row);
	roster_count(s, x->name, x->base, x->total, row->counters_known, row->counters, &s->others);
	/* the row itself is for the place that it gets */
	if (x->total[COUNTER_CPU] > s->table->fold_bar)
		return true;
	x->samples++;
	x->counters_known |= row->counters_known;
	x->peak_rss_kb = MAX(x->peak_rss_kb, roster_peak_rss_kb(row));
	raise_peak(s, x->name, x->peak_rss_kb);
	return false;
}

struct stats_root *roster_root(struct stats *s, uint32_t pid, uint64_t start)
{
	for (size_t i = 0; i < s->n_roots; i++) {
		if (s->roots[i].pid == pid && s->roots[i].start == start)
			return &s->roots[i];
	}
	return NULL;
}

/* What varied is gone with its sketches, and how long the intervals were. */
struct stats_process *roster_promote(struct stats *s, struct small *x)
{
	struct small was = *x;
	struct stats_process *p;

	remove_small(s, x);
	p = roster_add(s, was.pid, was.start);
	p->root = roster_root(s, was.pid, was.start); /* it may have become one meanwhile */
	p->first_ns = was.first_ns;
	p->samples = was.samples;
	p->peak_rss_kb = was.peak_rss_kb;
	p->counters_known = was.counters_known;
	p->base_known = was.base_known;
	memcpy(p->base, was.base, sizeof(p->base));
	memcpy(p->total, was.total, sizeof(p->total));
	p->name = was.name;
	memcpy(p->comm, s->groups[was.name].comm, sizeof(p->comm));
	p->comm_len = s->groups[was.name].comm_len;
	s->others.processes--;
	for (size_t c = 0; c < COUNTERS; c++)
		s->others.total[c] -= MIN(s->others.total[c], was.total[c]);
	return p;
}

void roster_small_exit(struct stats *s, struct small *x, const struct stats_exit *e)
{
	bool failed = e->exit_code || e->signal;

	roster_count(s, x->name, x->base, x->total, e->counters_known & x->base_known, e->counters,
		     &s->others);
	raise_peak(s, x->name, e->peak_rss_kb);
	s->others.exits++;
	s->others.failed += failed;
	s->groups[x->name].exits++;
	s->groups[x->name].failed += failed;
	remove_small(s, x);
}

/* ---- opening and closing ---- */

int roster_open(struct stats *s)
{
	s->table = calloc(1, sizeof(*s->table));
	s->processes = calloc(STATS_PROCESSES, sizeof(*s->processes));
	s->groups = calloc(STATS_GROUPS, sizeof(*s->groups));
	if (!s->table || !s->processes || !s->groups)
		return -ENOMEM;
	memset(s->table->hash, 0xff, sizeof(s->table->hash));
	memset(s->table->group_hash, 0xff, sizeof(s->table->group_hash));
	return 0;
}

void roster_close(struct stats *s)
{
	for (size_t i = 0; i < s->n_processes; i++)
		release_sketches(s, &s->processes[i]);
	if (s->table)
		free(s->table->small);
	free(s->table);
	free(s->processes);
	free(s->groups);
}

/* ---- reading ---- */

/* Among the @n that @out holds in their order; the smallest one makes room when there are @max. */
static size_t insert(const struct stats_process **out, size_t n, size_t max,
		     const struct stats_process *p)
{
	size_t at = n;

	if (n == max && (!max || by_size(p, out[n - 1]) >= 0))
		return n;
	at -= n == max;
	for (; at && by_size(p, out[at - 1]) < 0; at--)
		out[at] = out[at - 1];
	out[at] = p;
	return MIN(n + 1, max);
}

/* Without memory of its own: who is told of the largest shall not be told of none. */
size_t stats_largest(const struct stats *s, const struct stats_process **out, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n_processes; i++)
		n = insert(out, n, max, &s->processes[i]);
	return n;
}

static int by_group_size(const void *a, const void *b)
{
	const struct stats_group *x = *(const struct stats_group *const *)a;
	const struct stats_group *y = *(const struct stats_group *const *)b;
	uint64_t cpu_x = x->total[COUNTER_CPU], cpu_y = y->total[COUNTER_CPU];

	if (cpu_x != cpu_y)
		return cpu_x > cpu_y ? -1 : 1;
	if (x->peak_rss_kb != y->peak_rss_kb)
		return x->peak_rss_kb > y->peak_rss_kb ? -1 : 1;
	return memcmp(x->comm, y->comm, sizeof(x->comm));
}

size_t stats_largest_groups(const struct stats *s, const struct stats_group **out, size_t max)
{
	const struct stats_group *all[STATS_GROUPS];
	size_t n = 0;

	/* a name that its processes gave up again, by exec, before they used anything, says nothing */
	for (size_t i = 0; i < s->n_groups; i++) {
		if (s->groups[i].processes || s->groups[i].total[COUNTER_CPU])
			all[n++] = &s->groups[i];
	}
	if (!n)
		return 0;
	qsort(all, n, sizeof(*all), by_group_size);
	n = MIN(n, max);
	memcpy(out, all, n * sizeof(*out));
	return n;
}
