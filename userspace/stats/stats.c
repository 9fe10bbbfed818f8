/* SPDX-License-Identifier: MIT */
#include "stats/stats.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "stats/roster.h"

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
	if (!s->run_begin_ns || begin < s->run_begin_ns)
		s->run_begin_ns = begin;
	s->end_ns = MAX(s->end_ns, unix_ns);
}

/* What comes next may be of another machine. */
static void recording_end(struct stats *s)
{
	s->lost_before = s->lost;
	s->offset_known = false;
	s->run_begin_ns = 0;
	s->first_sample_ns = 0;
}

/* One that was killed has no `stop`: what it announced is all that is known of its losses. */
void stats_recording_begin(struct stats *s, uint64_t unix_ns)
{
	recording_end(s);
	stats_span(s, unix_ns, 0);
}

void stats_lost(struct stats *s, uint64_t events)
{
	s->lost += events;
}

/* The ledger knows better than the sum of what was announced. Of the next one, rotation may have removed the `start`. */
void stats_recording_stop(struct stats *s, uint64_t lost)
{
	s->lost = s->lost_before + lost;
	recording_end(s);
}

/* Without root a start is told in steps of a tick, rounded down: what a run starts itself may seem older. */
#define START_STEP_NS 10000000

/* Was it started after the recording began? Then everything it counts belongs to it. */
static bool started_inside(const struct stats *s, uint64_t started_ns)
{
	return s->run_begin_ns && (int64_t)(started_ns + START_STEP_NS - s->run_begin_ns) > 0;
}

static uint64_t begin_of(uint64_t unix_ns, uint64_t interval_ns)
{
	return unix_ns - MIN(interval_ns, unix_ns);
}

static bool born_inside(const struct stats *s, const struct stats_sample *x)
{
	if (x->counters_relative)
		return true;
	if (x->start && s->offset_known)
		return started_inside(s, x->start + (uint64_t)s->boot_offset_ns);
	/* a whole interval since others were sampled and it was not; of some the first interval is empty */
	return s->first_sample_ns && x->unix_ns > s->first_sample_ns &&
	       begin_of(x->unix_ns, x->interval_ns) >= s->first_sample_ns;
}

/* @inside: it began in the recording, and all its sums at zero. */
static struct stats_process *first_sight(struct stats *s, uint32_t pid, uint64_t start,
					 uint64_t first_ns, bool inside)
{
	struct stats_process *p = roster_add(s, pid, start);

	s->processes_seen++;
	p->first_ns = first_ns;
	p->base_known = inside ? UINT32_MAX : 0;
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
} rates[] = {
	{GAUGE_READ_RATE, COUNTER_READ},
	{GAUGE_WRITE_RATE, COUNTER_WRITE},
	{GAUGE_RX_RATE, COUNTER_RX},
	{GAUGE_TX_RATE, COUNTER_TX},
};

/* What was moved in the row's interval, per second. */
static void add_rates(struct stats_sample *x, uint32_t known, const uint64_t more[COUNTERS])
{
	for (size_t i = 0; i < ARRAY_SIZE(rates); i++) {
		enum stats_counter c = rates[i].counter;

		if (!(known & 1U << c) || !x->interval_ns)
			continue;
		x->gauges[rates[i].gauge] =
			(uint64_t)((unsigned __int128)more[c] * NSEC_PER_SEC / x->interval_ns);
		x->gauges_known |= 1U << rates[i].gauge;
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

static int add_tree(struct stats *s, const struct stats_sample *x)
{
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
	s->pass_known = 0;
}

/* What a tree has, not what it did. */
#define STATE_GAUGES                                                              \
	(1U << GAUGE_RSS | 1U << GAUGE_PSS | 1U << GAUGE_USS | 1U << GAUGE_SWAP | \
	 1U << GAUGE_THREADS | 1U << GAUGE_FDS | 1U << GAUGE_PROCESSES)

/* Moments for which a tree is remembered that has no rows any more: some may be lost on their way. */
#define ROOT_MISSED 64

/* Of those without a row for more than @moments. The first one stays: the run is called after it. */
static struct stats_root *root_gone(struct stats *s, uint64_t moments)
{
	for (size_t i = 1; i < s->n_roots; i++) {
		if (s->roots[i].moment + moments < s->moment)
			return &s->roots[i];
	}
	return NULL;
}

/* Who missed a whole moment has ended, and never comes back. NULL when nobody has. */
static struct stats_root *root_place(struct stats *s)
{
	struct stats_root *root = root_gone(s, ROOT_MISSED);
	struct stats_process *p;

	if (!root && s->n_roots < STATS_ROOTS)
		return &s->roots[s->n_roots++];
	if (!root)
		root = root_gone(s, 1);
	p = root ? roster_find(s, root->pid, root->start) : NULL;
	if (p)
		p->root = false;
	return root;
}

static struct stats_root *find_root(struct stats *s, const struct stats_sample *x)
{
	struct stats_root *root = roster_root(s, x->pid, x->start);
	struct stats_process *p;

	if (root)
		return root;
	root = root_place(s);
	if (!root)
		return NULL;
	p = roster_find(s, x->pid, x->start);
	if (p)
		p->root = true;
	*root = (struct stats_root){.pid = x->pid, .start = x->start};
	if (!born_inside(s, x))
		memcpy(root->base, x->counters, sizeof(root->base));
	return root;
}

/* Its sums and rates, and what it has. */
static void root_row(struct stats *s, struct stats_root *root, struct stats_sample *x)
{
	uint64_t more[COUNTERS] = {0};
	uint32_t rated;

	root->counters_known |= x->counters_known;
	s->tree.counters_known |= x->counters_known;
	rated = root->counters_known;
	for (size_t c = 0; c < COUNTERS; c++) {
		if (!(x->counters_known & 1U << c))
			continue;
		more[c] = roster_raise(&root->total[c], root->base[c], x->counters[c]);
		s->tree.total[c] += more[c];
		/* the first sum of a tree that is older says nothing of the time before */
		if (!root->moment && !more[c])
			rated &= ~(1U << c);
	}
	add_rates(x, rated, more);
	root->moment = s->moment;
	root->gauges_known = x->gauges_known;
	memcpy(root->gauges, x->gauges, sizeof(root->gauges));
}

/* All trees together, at the moment that is over; with their last row those of which one is missing. */
static int end_moment(struct stats *s)
{
	struct stats_sample x = {
		.scope = STATS_TREE,
		.unix_ns = s->moment_ns,
		.interval_ns = s->moment_interval_ns,
	};

	if (!s->moment_open)
		return 0;
	s->moment_open = false;
	for (size_t i = 0; i < s->n_roots; i++) {
		const struct stats_root *root = &s->roots[i];

		if (root->moment + 1 < s->moment)
			continue;
		x.gauges_known |= root->gauges_known;
		for (size_t g = 0; g < GAUGES; g++)
			x.gauges[g] += root->gauges_known & 1U << g ? root->gauges[g] : 0;
	}
	/* rows of one sample that differ in their times share the interval */
	if (s->n_roots > 1 && s->tree.samples && x.unix_ns >= s->tree.last_ns)
		x.interval_ns = MIN(x.interval_ns, x.unix_ns - s->tree.last_ns);
	/* when the last has ended nobody is left to have little memory */
	if (x.gauges_known & 1U << GAUGE_PROCESSES && !x.gauges[GAUGE_PROCESSES])
		x.gauges_known &= ~STATE_GAUGES;
	return add_tree(s, &x);
}

/* Rows of trees that were looked at together have the same time, and are one sample. */
static int begin_moment(struct stats *s, uint64_t unix_ns)
{
	int r;

	if (s->moment && unix_ns == s->moment_ns)
		return 0;
	r = end_moment(s);
	s->moment++;
	s->moment_ns = unix_ns;
	s->moment_interval_ns = 0;
	return r;
}

static int tree_sample(struct stats *s, const struct stats_sample *row)
{
	struct stats_sample x = *row;
	struct stats_root *root;
	int r, r2 = 0;

	begin_tree(s);
	r = begin_moment(s, x.unix_ns);
	root = find_root(s, &x);
	if (!root) {
		s->tree_rows_refused++;
		return r;
	}
	guess_cpu(&x, root->base[COUNTER_CPU] + root->total[COUNTER_CPU]);
	root_row(s, root, &x);
	s->moment_open = true;
	s->moment_interval_ns = MAX(s->moment_interval_ns, x.interval_ns);
	/* a single one need not wait for others, but at the first moment nobody knows */
	if (s->n_roots == 1 && s->moment > 1)
		r2 = end_moment(s);
	return MIN(r, r2);
}

/* What was moved since the pass before. The first sum of what is older says nothing of the time before it. */
static uint32_t pass_moved(struct stats *s, uint64_t more[COUNTERS])
{
	uint32_t known = s->tree.counters_known;

	for (size_t c = 0; c < COUNTERS; c++) {
		more[c] = s->tree.total[c] - s->pass_last[c];
		s->pass_last[c] = s->tree.total[c];
		if (!s->tree.total[c] && !(s->pass_counters & 1U << c))
			known &= ~(1U << c);
	}
	s->pass_counters |= s->tree.counters_known;
	return known;
}

/* Without rows of the tree, one pass over all processes makes one. */
static int end_pass(struct stats *s, uint64_t unix_ns)
{
	struct stats_sample x = {.scope = STATS_TREE, .unix_ns = unix_ns};
	uint64_t more[COUNTERS];
	uint32_t known;

	s->pass++;
	if (!s->pass_known || s->has_tree)
		return 0;
	x.interval_ns = s->pass_interval_ns;
	x.gauges_known = s->pass_known;
	memcpy(x.gauges, s->pass_gauges, sizeof(x.gauges));
	s->pass_known = 0;
	memset(s->pass_gauges, 0, sizeof(s->pass_gauges));
	s->pass_interval_ns = 0;
	known = pass_moved(s, more);
	add_rates(&x, known, more);
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

/* NULL when it has no place of its own, and only its sums were taken. */
static struct stats_process *process_of(struct stats *s, const struct stats_sample *x)
{
	struct stats_process *p = roster_find(s, x->pid, x->start);
	struct small *small = p ? NULL : roster_small(s, x->pid, x->start);

	if (p)
		return p;
	if (!small)
		return first_sight(s, x->pid, x->start, begin_of(x->unix_ns, x->interval_ns),
				   born_inside(s, x));
	return roster_small_sample(s, small, x) ? roster_promote(s, small) : NULL;
}

static int process_sample(struct stats *s, const struct stats_sample *row)
{
	struct stats_sample copy = *row, *x = &copy;
	struct stats_process *p;
	int r;

	if (s->memory > SKETCH_BYTES_MAX && s->n_processes > 1)
		roster_fold(s);
	p = process_of(s, x);
	if (!p)
		return 0;
	roster_learn(&p->base_known, p->base, p->total, x);
	guess_cpu(x, p->base[COUNTER_CPU] + p->total[COUNTER_CPU]);
	roster_name(s, p, x->comm, x->comm_len);
	r = join_pass(s, p, x);
	p->samples++;
	p->last_ns = MAX(p->last_ns, x->unix_ns);
	note_interval(x->interval_ns, &p->interval_min_ns, &p->interval_max_ns);
	p->peak_rss_kb = MAX(p->peak_rss_kb, roster_peak_rss_kb(x));
	s->groups[p->name].peak_rss_kb = MAX(s->groups[p->name].peak_rss_kb, p->peak_rss_kb);

	p->counters_known |= x->counters_known;
	roster_count(s, p->name, p->base, p->total, x->counters_known, x->counters, NULL);
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
	if (!s->first_sample_ns)
		s->first_sample_ns = x->unix_ns;
	return r;
}

/* The end of a process that was never sampled is all that is known of it. */
static struct stats_process *exit_only(struct stats *s, const struct stats_exit *x)
{
	uint64_t started_ns = begin_of(x->unix_ns, x->duration_ns);

	return first_sight(s, x->pid, x->start, started_ns, started_inside(s, started_ns));
}

/* It tells sums since its start; of those that were not told before nobody knows what is new. */
static void process_exit(struct stats *s, struct stats_process *p, const struct stats_exit *x)
{
	uint32_t known = x->counters_known & p->base_known;
	bool failed = x->exit_code || x->signal;

	roster_name(s, p, x->comm, x->comm_len);
	p->exited = true;
	p->exit_code = x->exit_code;
	p->signal = x->signal;
	p->duration_ns = x->duration_ns;
	p->last_ns = MAX(p->last_ns, x->unix_ns);
	p->peak_rss_kb = MAX(p->peak_rss_kb, x->peak_rss_kb);
	p->counters_known |= known;
	s->groups[p->name].exits++;
	s->groups[p->name].failed += failed;
	s->groups[p->name].peak_rss_kb = MAX(s->groups[p->name].peak_rss_kb, p->peak_rss_kb);
	roster_count(s, p->name, p->base, p->total, known, x->counters, NULL);
}

int stats_exit(struct stats *s, const struct stats_exit *x)
{
	struct stats_process *p = roster_find(s, x->pid, x->start);
	struct small *small = p ? NULL : roster_small(s, x->pid, x->start);

	if (x->unix_ns > x->duration_ns)
		stats_started(s, x->pid, x->start, x->unix_ns - x->duration_ns);
	s->exits++;
	s->failed += x->exit_code || x->signal;
	if (small)
		roster_small_exit(s, small, x);
	else
		process_exit(s, p ? p : exit_only(s, x), x);
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

void stats_finish(struct stats *s)
{
	if (s->pass_known)
		end_pass(s, s->pass_begin_ns);
	end_moment(s);
}

int stats_new(struct stats **ret)
{
	_cleanup_(stats_freep) struct stats *s = calloc(1, sizeof(*s));

	if (!s || roster_open(s) < 0)
		return -ENOMEM;
	s->pass = 1;
	*ret = TAKE_PTR(s);
	return 0;
}

void stats_free(struct stats *s)
{
	if (!s)
		return;
	roster_close(s);
	reset_scope(&s->tree);
	reset_scope(&s->machine);
	free(s);
}

/* ---- reading ---- */

uint64_t stats_wall_ns(const struct stats *s)
{
	/* of one run; several are as long as from the first to the last */
	return s->elapsed_ns && s->n_roots == 1 ? s->elapsed_ns : s->end_ns - s->begin_ns;
}

const struct stats_process *stats_main_process(const struct stats *s)
{
	const struct stats_process *p = NULL;

	if (s->n_roots)
		p = roster_find(s, s->roots[0].pid, s->roots[0].start);
	else if (s->command_pid)
		p = roster_find(s, s->command_pid, s->command_start);
	return p;
}
