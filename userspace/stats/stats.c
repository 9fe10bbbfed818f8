/* SPDX-License-Identifier: MIT */
#include "stats/stats.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

const struct stats_name stats_gauge_names[GAUGES] = {
	[GAUGE_CPU] = {"cpu_percent", "CPU", UNIT_CENTI_PERCENT},
	[GAUGE_RSS] = {"rss_kb", "RSS", UNIT_KB},
	[GAUGE_PSS] = {"pss_kb", "PSS", UNIT_KB},
	[GAUGE_USS] = {"uss_kb", "USS", UNIT_KB},
	[GAUGE_SWAP] = {"swap_kb", "swap", UNIT_KB},
	[GAUGE_THREADS] = {"threads", "threads", UNIT_COUNT},
	[GAUGE_FDS] = {"fds", "descriptors", UNIT_COUNT},
	[GAUGE_PROCESSES] = {"processes", "processes", UNIT_COUNT},
	[GAUGE_READ_RATE] = {"read_bytes_per_s", "disk read", UNIT_BYTES_PER_S},
	[GAUGE_WRITE_RATE] = {"write_bytes_per_s", "disk write", UNIT_BYTES_PER_S},
	[GAUGE_RX_RATE] = {"rx_bytes_per_s", "received", UNIT_BYTES_PER_S},
	[GAUGE_TX_RATE] = {"tx_bytes_per_s", "sent", UNIT_BYTES_PER_S},
};

const struct stats_name stats_counter_names[COUNTERS] = {
	[COUNTER_CPU] = {"cpu_ns", "CPU time", UNIT_NS},
	[COUNTER_USER] = {"user_ns", "  in user mode", UNIT_NS},
	[COUNTER_SYSTEM] = {"system_ns", "  in the kernel", UNIT_NS},
	[COUNTER_WAIT] = {"wait_ns", "waited for a CPU", UNIT_NS},
	[COUNTER_READ] = {"read_bytes", "disk read", UNIT_BYTES},
	[COUNTER_WRITE] = {"write_bytes", "disk written", UNIT_BYTES},
	[COUNTER_RCHAR] = {"rchar", "read calls gave", UNIT_BYTES},
	[COUNTER_WCHAR] = {"wchar", "write calls took", UNIT_BYTES},
	[COUNTER_SYSCR] = {"syscr", "read calls", UNIT_COUNT},
	[COUNTER_SYSCW] = {"syscw", "write calls", UNIT_COUNT},
	[COUNTER_MINOR] = {"minor_faults", "minor faults", UNIT_COUNT},
	[COUNTER_MAJOR] = {"major_faults", "major faults", UNIT_COUNT},
	[COUNTER_VOLUNTARY] = {"voluntary_switches", "switches, voluntary", UNIT_COUNT},
	[COUNTER_INVOLUNTARY] = {"involuntary_switches", "switches, forced", UNIT_COUNT},
	[COUNTER_RX] = {"rx_bytes", "received", UNIT_BYTES},
	[COUNTER_TX] = {"tx_bytes", "sent", UNIT_BYTES},
};

/* 36 years of samples: no interval that a recording tells makes a sum overflow. */
#define WEIGHT_MAX (1ULL << 60)

/* Sketches of all processes together; beyond, the smaller half of the processes makes room. */
#define SKETCH_BYTES_MAX (24U << 20)

#define HASH_SIZE (4 * STATS_PROCESSES)
#define NO_INDEX  UINT32_MAX

/* A process that had to make room, as long as it lives: what it counts on goes to the others. */
struct small {
	uint32_t pid;
	bool used;
	uint64_t start;
	uint32_t name;
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

/* ---- values ---- */

/* What stands for no time at all counts one nanosecond: enough where there is nothing else. */
static int value_add(struct stats_value *v, uint64_t value, uint64_t unix_ns, uint64_t interval_ns)
{
	uint64_t weight = interval_ns ? interval_ns : 1;

	weight = MIN(weight, WEIGHT_MAX - v->weight);

	if (!v->n || value < v->min)
		v->min = value;
	if (!v->n || value > v->max) {
		v->max = value;
		v->max_at_ns = unix_ns;
	}
	v->n++;
	v->last = value;
	v->weight += weight;
	v->sum += (unsigned __int128)value * weight;
	return sketch_add(&v->sketch, value, weight);
}

uint64_t stats_mean(const struct stats_value *v)
{
	return v->weight ? (uint64_t)((v->sum + v->weight / 2) / v->weight) : 0;
}

uint64_t stats_quantile(const struct stats_value *v, unsigned permille)
{
	uint64_t value = sketch_quantile(&v->sketch, permille);

	value = MAX(value, v->min);
	return MIN(value, v->max);
}

void stats_span(struct stats *s, uint64_t unix_ns, uint64_t interval_ns)
{
	uint64_t begin = unix_ns - MIN(interval_ns, unix_ns);

	if (!s->begin_ns || begin < s->begin_ns)
		s->begin_ns = begin;
	s->end_ns = MAX(s->end_ns, unix_ns);
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

static struct stats_process *find_process(const struct stats *s, uint32_t pid, uint64_t start)
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

static struct small *find_small(const struct stats *s, uint32_t pid, uint64_t start, bool empty)
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
	x = s->table->n_small < STATS_SMALL ? find_small(s, p->pid, p->start, true) : NULL;
	if (!x) {
		s->others_approximate = true;
		return;
	}
	*x = (struct small){.pid = p->pid, .start = p->start, .name = p->name, .used = true};
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
static void fold_half(struct stats *s)
{
	size_t keep = s->n_processes / 2;

	qsort(s->processes, s->n_processes, sizeof(*s->processes), by_size);
	s->table->fold_bar = MAX(2 * s->processes[keep].total[COUNTER_CPU], 10 * NSEC_PER_MSEC);
	for (size_t i = keep; i < s->n_processes; i++)
		fold(s, &s->processes[i]);
	s->n_processes = keep;
	hash_again(s);
}

static struct stats_process *new_process(struct stats *s, uint32_t pid, uint64_t start)
{
	struct stats_process *p;

	if (s->n_processes == STATS_PROCESSES)
		fold_half(s);
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

static void set_name(struct stats *s, struct stats_process *p, const char *comm, size_t len)
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

/* Was it started after the recording began? Then everything it counts belongs to it. */
static bool born_inside(const struct stats *s, const struct stats_sample *x)
{
	int64_t started = (int64_t)x->start + s->boot_offset_ns;

	if (x->counters_relative)
		return true;
	if (x->start && s->offset_known)
		return started >= (int64_t)s->begin_ns;
	/* a whole interval in which others were sampled and it was not */
	return s->begin_ns && x->unix_ns - MIN(x->interval_ns, x->unix_ns) > s->begin_ns;
}

/* Sums never fall; one that does was read from somewhere else and counts for nothing. */
static uint64_t raise_total(uint64_t *total, uint64_t base, uint64_t value)
{
	uint64_t now = value > base ? value - base : 0, more;

	if (now <= *total)
		return 0;
	more = now - *total;
	*total = now;
	return more;
}

static void count_on(struct stats *s, uint32_t name, uint64_t *base, uint64_t *total,
		     uint32_t known, const uint64_t counters[COUNTERS], struct stats_group *also)
{
	struct stats_group *g = &s->groups[name];

	g->counters_known |= known;
	for (size_t c = 0; c < COUNTERS; c++) {
		uint64_t more;

		if (!(known & 1U << c))
			continue;
		more = raise_total(&total[c], base[c], counters[c]);
		g->total[c] += more;
		if (also)
			also->total[c] += more;
		if (!s->has_tree)
			s->tree.total[c] += more;
	}
	if (!s->has_tree)
		s->tree.counters_known |= known;
}

/* A process without a place of its own; true when it shall have one again. */
static bool add_small(struct stats *s, struct small *x, uint32_t known,
		      const uint64_t counters[COUNTERS])
{
	count_on(s, x->name, x->base, x->total, known, counters, &s->others);
	return x->total[COUNTER_CPU] > s->table->fold_bar;
}

static struct stats_process *promote(struct stats *s, struct small *x)
{
	struct small was = *x;
	struct stats_process *p;

	remove_small(s, x);
	p = new_process(s, was.pid, was.start);
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

static struct stats_process *first_sight(struct stats *s, const struct stats_sample *x)
{
	struct stats_process *p = new_process(s, x->pid, x->start);

	s->processes_seen++;
	p->first_ns = x->unix_ns - MIN(x->interval_ns, x->unix_ns);
	if (!born_inside(s, x))
		memcpy(p->base, x->counters, sizeof(p->base));
	return p;
}

/* CPU time where only the percentage is told. @so_far is what was counted. */
static void guess_cpu(struct stats_sample *x, uint64_t so_far)
{
	unsigned __int128 used = (unsigned __int128)x->gauges[GAUGE_CPU] * x->interval_ns / 10000;

	if (x->counters_known & 1U << COUNTER_CPU || !(x->gauges_known & 1U << GAUGE_CPU))
		return;
	x->counters[COUNTER_CPU] = so_far + (uint64_t)used;
	x->counters_known |= 1U << COUNTER_CPU;
}

static void note_interval(uint64_t interval_ns, uint64_t *min, uint64_t *max)
{
	if (!interval_ns)
		return;
	*min = MIN(*min, interval_ns);
	*max = MAX(*max, interval_ns);
}

static int add_gauges(struct stats_value *values, size_t n, const struct stats_sample *x,
		      size_t *memory)
{
	int failed = 0;

	for (size_t g = 0; g < n; g++) {
		int r;

		if (!(x->gauges_known & 1U << g))
			continue;
		r = value_add(&values[g], x->gauges[g], x->unix_ns, x->interval_ns);
		if (r < 0)
			failed = r;
		else
			*memory += (size_t)r;
	}
	return failed;
}

/* ---- the tree ---- */

static const struct {
	enum stats_gauge gauge;
	enum stats_counter counter;
	enum series_track track;
} rates[] = {
	{GAUGE_READ_RATE, COUNTER_READ, TRACK_READ},
	{GAUGE_WRITE_RATE, COUNTER_WRITE, TRACK_WRITE},
	{GAUGE_RX_RATE, COUNTER_RX, TRACK_RX},
	{GAUGE_TX_RATE, COUNTER_TX, TRACK_TX},
};

/* What was moved since the last sample of the tree, per second. */
static void add_rates(struct stats *s, struct stats_sample *x)
{
	for (size_t i = 0; i < ARRAY_SIZE(rates); i++) {
		enum stats_counter c = rates[i].counter;
		uint64_t now = s->tree.total[c], more = now - MIN(s->rate_last[c], now);

		if (!(s->tree.counters_known & 1U << c) || !x->interval_ns)
			continue;
		/* the first sum of a tree that is older says nothing of the time before */
		if (!(s->rate_known & 1U << c) && !now) {
			s->rate_known |= 1U << c;
			continue;
		}
		x->gauges[rates[i].gauge] =
			(uint64_t)((unsigned __int128)more * NSEC_PER_SEC / x->interval_ns);
		x->gauges_known |= 1U << rates[i].gauge;
		s->rate_last[c] = now;
	}
}

static void add_series(struct stats *s, const struct stats_sample *x)
{
	static const struct {
		enum stats_gauge gauge;
		enum series_track track;
	} gauges[] = {
		{GAUGE_CPU, TRACK_CPU},
		{GAUGE_RSS, TRACK_RSS},
		{GAUGE_PSS, TRACK_PSS},
		{GAUGE_THREADS, TRACK_THREADS},
		{GAUGE_PROCESSES, TRACK_PROCESSES},
		{GAUGE_READ_RATE, TRACK_READ},
		{GAUGE_WRITE_RATE, TRACK_WRITE},
		{GAUGE_RX_RATE, TRACK_RX},
		{GAUGE_TX_RATE, TRACK_TX},
	};
	double values[TRACKS] = {0};
	uint32_t known = 0;

	for (size_t i = 0; i < ARRAY_SIZE(gauges); i++) {
		if (!(x->gauges_known & 1U << gauges[i].gauge))
			continue;
		known |= 1U << gauges[i].track;
		values[gauges[i].track] = (double)x->gauges[gauges[i].gauge] /
					  (gauges[i].gauge == GAUGE_CPU ? 100 : 1);
	}
	series_add(&s->series, x->unix_ns, x->interval_ns, known, values);
}

static int add_scope(struct stats_scope_sums *t, const struct stats_sample *x)
{
	size_t ignored = 0;

	if (!t->samples) {
		t->first_ns = x->unix_ns;
		t->interval_min_ns = UINT64_MAX;
	}
	t->samples++;
	t->last_ns = MAX(t->last_ns, x->unix_ns);
	t->interval_sum_ns += x->interval_ns;
	note_interval(x->interval_ns, &t->interval_min_ns, &t->interval_max_ns);
	return add_gauges(t->values, GAUGES, x, &ignored);
}

static int add_tree(struct stats *s, struct stats_sample *x)
{
	add_rates(s, x);
	add_series(s, x);
	return add_scope(&s->tree, x);
}

static void reset_scope(struct stats_scope_sums *t)
{
	for (size_t g = 0; g < GAUGES; g++)
		sketch_done(&t->values[g].sketch);
	memset(t, 0, sizeof(*t));
}

/* Rows of the tree are worth more than sums of processes: what was added up so far goes. */
static void begin_tree(struct stats *s)
{
	if (s->has_tree)
		return;
	s->has_tree = true;
	reset_scope(&s->tree);
	memset(&s->series, 0, sizeof(s->series));
	memset(s->rate_last, 0, sizeof(s->rate_last));
	s->rate_known = 0;
	s->pass_known = 0;
}

/* What a tree has, not what it did. */
#define STATE_GAUGES                                                              \
	(1U << GAUGE_RSS | 1U << GAUGE_PSS | 1U << GAUGE_USS | 1U << GAUGE_SWAP | \
	 1U << GAUGE_THREADS | 1U << GAUGE_FDS | 1U << GAUGE_PROCESSES)

static struct stats_root *find_root(struct stats *s, const struct stats_sample *x)
{
	struct stats_process *p = find_process(s, x->pid, x->start);
	struct stats_root *root;

	for (size_t i = 0; i < s->n_roots; i++) {
		if (s->roots[i].pid == x->pid && s->roots[i].start == x->start)
			return &s->roots[i];
	}
	if (p)
		p->root = true;
	if (s->n_roots == STATS_ROOTS)
		return NULL;
	root = &s->roots[s->n_roots++];
	*root = (struct stats_root){.pid = x->pid, .start = x->start};
	if (!born_inside(s, x))
		memcpy(root->base, x->counters, sizeof(root->base));
	return root;
}

/* Several trees at once: the row stands for all of them, and for its part of the interval. */
static void join_roots(struct stats *s, struct stats_sample *x)
{
	size_t alive = 1;

	for (size_t i = 0; i < s->n_roots; i++) {
		const struct stats_root *r = &s->roots[i];

		if ((r->pid == x->pid && r->start == x->start) ||
		    r->last_ns + 2 * r->interval_ns < x->unix_ns)
			continue;
		alive++;
		for (size_t g = 0; g < GAUGES; g++)
			x->gauges[g] += r->gauges_known & 1U << g ? r->gauges[g] : 0;
	}
	x->interval_ns /= alive;
}

static int tree_sample(struct stats *s, const struct stats_sample *row)
{
	struct stats_sample x = *row;
	struct stats_root *root;

	begin_tree(s);
	root = find_root(s, &x);
	if (!root)
		return 0;
	guess_cpu(&x, root->base[COUNTER_CPU] + root->total[COUNTER_CPU]);
	root->last_ns = x.unix_ns;
	root->interval_ns = x.interval_ns;
	root->gauges_known = x.gauges_known;
	memcpy(root->gauges, x.gauges, sizeof(root->gauges));
	s->tree.counters_known |= x.counters_known;
	for (size_t c = 0; c < COUNTERS; c++) {
		if (x.counters_known & 1U << c)
			s->tree.total[c] +=
				raise_total(&root->total[c], root->base[c], x.counters[c]);
	}
	if (s->n_roots > 1)
		join_roots(s, &x);
	/* when the last has ended nobody is left to have little memory */
	if (x.gauges_known & 1U << GAUGE_PROCESSES && !x.gauges[GAUGE_PROCESSES])
		x.gauges_known &= ~STATE_GAUGES;
	return add_tree(s, &x);
}

/* Without rows of the tree, one pass over all processes makes one. */
static int end_pass(struct stats *s, uint64_t unix_ns)
{
	struct stats_sample x = {.scope = STATS_TREE, .unix_ns = unix_ns};

	s->pass++;
	if (!s->pass_known || s->has_tree)
		return 0;
	x.interval_ns = s->pass_interval_ns;
	x.gauges_known = s->pass_known;
	memcpy(x.gauges, s->pass_gauges, sizeof(x.gauges));
	s->pass_known = 0;
	memset(s->pass_gauges, 0, sizeof(s->pass_gauges));
	s->pass_interval_ns = 0;
	return add_tree(s, &x);
}

static int join_pass(struct stats *s, struct stats_process *p, const struct stats_sample *x)
{
	int r = 0;

	if (s->has_tree)
		return 0;
	if (p->pass == s->pass && s->pass_known)
		r = end_pass(s, s->pass_begin_ns);
	p->pass = s->pass;
	s->pass_begin_ns = x->unix_ns;
	s->pass_interval_ns = MAX(s->pass_interval_ns, x->interval_ns);
	/* PSS is not in every sample: the last one stands */
	for (size_t g = 0; g < GAUGE_PROCESSES; g++)
		s->pass_gauges[g] += x->gauges_known & 1U << g ? x->gauges[g] : p->values[g].last;
	s->pass_gauges[GAUGE_PROCESSES]++;
	s->pass_known |= x->gauges_known | 1U << GAUGE_PROCESSES;
	return r;
}

/* ---- what goes in ---- */

static int process_sample(struct stats *s, const struct stats_sample *row)
{
	struct stats_sample copy = *row, *x = &copy;
	struct stats_process *p;
	int r;

	if (s->memory > SKETCH_BYTES_MAX && s->n_processes > 1)
		fold_half(s);
	p = find_process(s, x->pid, x->start);
	if (!p) {
		struct small *small = find_small(s, x->pid, x->start, false);

		if (small && !add_small(s, small, x->counters_known, x->counters))
			return 0;
		p = small ? promote(s, small) : first_sight(s, x);
	}
	guess_cpu(x, p->base[COUNTER_CPU] + p->total[COUNTER_CPU]);
	set_name(s, p, x->comm, x->comm_len);
	r = join_pass(s, p, x);
	p->samples++;
	p->last_ns = MAX(p->last_ns, x->unix_ns);
	note_interval(x->interval_ns, &p->interval_min_ns, &p->interval_max_ns);
	if (x->gauges_known & 1U << GAUGE_RSS)
		p->peak_rss_kb = MAX(p->peak_rss_kb, x->gauges[GAUGE_RSS]);
	p->peak_rss_kb = MAX(p->peak_rss_kb, x->peak_rss_kb);
	s->groups[p->name].peak_rss_kb = MAX(s->groups[p->name].peak_rss_kb, p->peak_rss_kb);

	p->counters_known |= x->counters_known;
	count_on(s, p->name, p->base, p->total, x->counters_known, x->counters, NULL);
	return MIN(r, add_gauges(p->values, ARRAY_SIZE(p->values), x, &s->memory));
}

int stats_sample(struct stats *s, const struct stats_sample *x)
{
	int r = 0;

	s->samples++;
	switch (x->scope) {
	case STATS_PROCESS:
		r = process_sample(s, x);
		break;
	case STATS_TREE:
		r = tree_sample(s, x);
		break;
	case STATS_MACHINE:
		r = add_scope(&s->machine, x);
		break;
	}
	/* behind the sample: what was the beginning decides whether it was born inside */
	stats_span(s, x->unix_ns, x->interval_ns);
	return r;
}

/* The end of a process that was never sampled is all that is known of it. */
static struct stats_process *exit_only(struct stats *s, const struct stats_exit *x)
{
	struct stats_sample sight = {
		.pid = x->pid,
		.start = x->start,
		.unix_ns = x->unix_ns,
		.interval_ns = x->duration_ns,
	};
	struct stats_process *p;

	memcpy(sight.counters, x->counters, sizeof(sight.counters));
	p = first_sight(s, &sight);
	if (!s->begin_ns)
		memset(p->base, 0, sizeof(p->base));
	return p;
}

static void exit_small(struct stats *s, struct small *x, const struct stats_exit *e)
{
	bool failed = e->exit_code || e->signal;

	add_small(s, x, e->counters_known, e->counters);
	s->others.exits++;
	s->others.failed += failed;
	s->others.peak_rss_kb = MAX(s->others.peak_rss_kb, e->peak_rss_kb);
	s->groups[x->name].exits++;
	s->groups[x->name].failed += failed;
	remove_small(s, x);
}

int stats_exit(struct stats *s, const struct stats_exit *x)
{
	struct stats_process *p = find_process(s, x->pid, x->start);
	struct small *small = p ? NULL : find_small(s, x->pid, x->start, false);
	bool failed = x->exit_code || x->signal;

	if (!s->offset_known && x->start && x->unix_ns > x->duration_ns)
		stats_started(s, x->pid, x->start, x->unix_ns - x->duration_ns);
	s->exits++;
	s->failed += failed;
	if (small) {
		exit_small(s, small, x);
		stats_span(s, x->unix_ns, 0);
		return 0;
	}
	if (!p)
		p = exit_only(s, x);
	set_name(s, p, x->comm, x->comm_len);
	p->exited = true;
	p->exit_code = x->exit_code;
	p->signal = x->signal;
	p->duration_ns = x->duration_ns;
	p->last_ns = MAX(p->last_ns, x->unix_ns);
	p->peak_rss_kb = MAX(p->peak_rss_kb, x->peak_rss_kb);
	p->counters_known |= x->counters_known;
	s->groups[p->name].exits++;
	s->groups[p->name].failed += failed;
	s->groups[p->name].peak_rss_kb = MAX(s->groups[p->name].peak_rss_kb, p->peak_rss_kb);
	count_on(s, p->name, p->base, p->total, x->counters_known, x->counters, NULL);
	stats_span(s, x->unix_ns, 0);
	return 0;
}

void stats_started(struct stats *s, uint32_t pid, uint64_t start, uint64_t unix_ns)
{
	if (s->offset_known || !start || !unix_ns)
		return;
	s->boot_offset_ns = (int64_t)(unix_ns - start);
	s->offset_known = true;
}

/* The first process's is shown until it is known who the root is. */
void stats_command(struct stats *s, uint32_t pid, uint64_t start, const char *text, size_t len)
{
	bool root = s->n_roots && s->roots[0].pid == pid && s->roots[0].start == start;

	if (s->command[0] && !root && (s->command_pid != pid || s->command_start != start))
		return;
	len = MIN(len, sizeof(s->command) - 1);
	memcpy(s->command, text, len);
	s->command[len] = '\0';
	s->command_pid = pid;
	s->command_start = start;
}

static void copy_text(char *to, size_t size, const char *p, size_t n)
{
	n = MIN(n, size - 1);
	if (n)
		memcpy(to, p, n);
	to[n] = '\0';
}

static bool text_is(const char *text, size_t size, const char *p, size_t n)
{
	n = MIN(n, size - 1);
	return strlen(text) == n && !memcmp(text, p, n);
}

static struct stats_alert *open_alert(struct stats *s, const struct stats_alert_event *x)
{
	for (size_t i = s->n_alerts; i-- > 0;) {
		struct stats_alert *a = &s->alerts[i];

		if (!a->ended && a->pid == x->pid &&
		    text_is(a->rule, sizeof(a->rule), x->rule, x->rule_len))
			return a;
	}
	return NULL;
}

void stats_alert(struct stats *s, const struct stats_alert_event *x)
{
	struct stats_alert *a = open_alert(s, x);

	stats_span(s, x->unix_ns, 0);
	if (!x->ended || !a) {
		/* an end without a beginning: of one for which there was no room, or from before */
		s->alerts_seen += !x->ended || s->n_alerts < STATS_ALERTS;
		if (s->n_alerts == STATS_ALERTS)
			return;
		a = &s->alerts[s->n_alerts++];
		copy_text(a->rule, sizeof(a->rule), x->rule, x->rule_len);
		copy_text(a->metric, sizeof(a->metric), x->metric, x->metric_len);
		copy_text(a->unit, sizeof(a->unit), x->unit, x->unit_len);
		a->pid = x->pid;
		a->begin_ns = x->unix_ns - (x->ended ? MIN(x->duration_ns, x->unix_ns) : 0);
	}
	a->ended = x->ended;
	a->end_ns = x->ended ? x->unix_ns : 0;
	a->limit = x->limit;
	a->min = x->min;
	a->avg = x->avg;
	a->max = MAX(x->max, x->value);
}

static struct stats_model *find_model(struct stats *s, const struct stats_call *x)
{
	struct stats_model *m;

	for (size_t i = 0; i < s->n_models; i++) {
		m = &s->models[i];
		if (text_is(m->name, sizeof(m->name), x->model, x->model_len) &&
		    text_is(m->provider, sizeof(m->provider), x->provider, x->provider_len))
			return m;
	}
	if (s->n_models == STATS_MODELS)
		return &s->models[STATS_MODELS - 1];
	m = &s->models[s->n_models++];
	if (s->n_models == STATS_MODELS) {
		copy_text(m->name, sizeof(m->name), "(others)", 8);
		return m;
	}
	copy_text(m->name, sizeof(m->name), x->model, x->model_len);
	copy_text(m->provider, sizeof(m->provider), x->provider, x->provider_len);
	return m;
}

static void model_add(struct stats_model *m, const struct stats_call *x)
{
	m->calls++;
	m->failed += x->failed;
	m->tool_calls += x->tool_calls;
	m->input_tokens += x->input_tokens;
	m->output_tokens += x->output_tokens;
	m->cache_read_tokens += x->cache_read_tokens;
	m->cache_write_tokens += x->cache_write_tokens;
	m->reasoning_tokens += x->reasoning_tokens;
	m->cost_nano_usd += x->cost_nano_usd;
	m->duration_ns += x->duration_ns;
}

static struct stats_act *new_act(struct stats *s, uint64_t unix_ns, uint64_t duration_ns)
{
	struct stats_act *act;

	stats_span(s, unix_ns, 0);
	if (s->n_acts == STATS_ACTS)
		return NULL;
	act = &s->acts[s->n_acts++];
	*act = (struct stats_act){
		.begin_ns = unix_ns - MIN(duration_ns, unix_ns),
		.end_ns = unix_ns,
	};
	return act;
}

void stats_call(struct stats *s, const struct stats_call *x)
{
	struct stats_model *m = find_model(s, x);
	struct stats_act *act = new_act(s, x->unix_ns, x->duration_ns);

	model_add(m, x);
	model_add(&s->calls, x);
	if (!act)
		return;
	act->which = (uint16_t)(m - s->models);
	act->failed = x->failed;
	act->input_tokens = x->input_tokens;
	act->output_tokens = x->output_tokens;
	act->cost_nano_usd = x->cost_nano_usd;
}

static struct stats_tool_sums *find_tool(struct stats *s, const struct stats_tool *x)
{
	struct stats_tool_sums *t;

	for (size_t i = 0; i < s->n_tools; i++) {
		t = &s->tools[i];
		if (text_is(t->name, sizeof(t->name), x->name, x->name_len))
			return t;
	}
	if (s->n_tools == STATS_TOOLS)
		return &s->tools[STATS_TOOLS - 1];
	t = &s->tools[s->n_tools++];
	if (s->n_tools == STATS_TOOLS)
		copy_text(t->name, sizeof(t->name), "(others)", 8);
	else
		copy_text(t->name, sizeof(t->name), x->name, x->name_len);
	return t;
}

static void tool_add(struct stats_tool_sums *t, const struct stats_tool *x)
{
	t->runs++;
	t->failed += x->failed;
	t->processes += x->processes;
	t->files += x->files;
	t->duration_ns += x->duration_ns;
}

void stats_tool(struct stats *s, const struct stats_tool *x)
{
	struct stats_tool_sums *t = find_tool(s, x);
	struct stats_act *act = new_act(s, x->unix_ns, x->duration_ns);

	tool_add(t, x);
	tool_add(&s->tool_runs, x);
	if (!act)
		return;
	act->is_tool = true;
	act->which = (uint16_t)(t - s->tools);
	act->failed = x->failed;
}

void stats_finish(struct stats *s)
{
	if (s->pass_known)
		end_pass(s, s->pass_begin_ns);
}

int stats_new(struct stats **ret)
{
	_cleanup_(stats_freep) struct stats *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->table = calloc(1, sizeof(*s->table));
	s->processes = calloc(STATS_PROCESSES, sizeof(*s->processes));
	s->groups = calloc(STATS_GROUPS, sizeof(*s->groups));
	if (!s->table || !s->processes || !s->groups)
		return -ENOMEM;
	memset(s->table->hash, 0xff, sizeof(s->table->hash));
	memset(s->table->group_hash, 0xff, sizeof(s->table->group_hash));
	s->pass = 1;
	*ret = TAKE_PTR(s);
	return 0;
}

void stats_free(struct stats *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n_processes; i++)
		release_sketches(s, &s->processes[i]);
	reset_scope(&s->tree);
	reset_scope(&s->machine);
	if (s->table)
		free(s->table->small);
	free(s->table);
	free(s->processes);
	free(s->groups);
	free(s);
}

/* ---- reading ---- */

uint64_t stats_wall_ns(const struct stats *s)
{
	/* of one run; several are as long as from the first to the last */
	return s->elapsed_ns && s->n_roots == 1 ? s->elapsed_ns : s->end_ns - s->begin_ns;
}

static int by_size_p(const void *a, const void *b)
{
	return by_size(*(const void *const *)a, *(const void *const *)b);
}

size_t stats_largest(const struct stats *s, const struct stats_process **out, size_t max)
{
	_cleanup_(freep) const struct stats_process **all = calloc(STATS_PROCESSES, sizeof(*all));
	size_t n = MIN(max, s->n_processes);

	if (!all)
		return 0;
	for (size_t i = 0; i < s->n_processes; i++)
		all[i] = &s->processes[i];
	qsort(all, s->n_processes, sizeof(*all), by_size_p);
	if (n)
		memcpy(out, all, n * sizeof(*out));
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
	qsort(all, n, sizeof(*all), by_group_size);
	n = MIN(n, max);
	memcpy(out, all, n * sizeof(*out));
	return n;
}

const struct stats_process *stats_main_process(const struct stats *s)
{
	const struct stats_process *p = NULL;

	if (s->n_roots)
		p = find_process(s, s->roots[0].pid, s->roots[0].start);
	else if (s->command_pid)
		p = find_process(s, s->command_pid, s->command_start);
	return p;
}
