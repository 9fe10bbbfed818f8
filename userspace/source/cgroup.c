/* SPDX-License-Identifier: MIT */
#include "source/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include <linux/limits.h>

#include "base/clock.h"
#include "base/log.h"
#include "event/record.h"
#include "source/bpf.h"
#include "source/container_names.h"
#include "source/procfs.h"

#define CGROUPS_MAX 1024 /* known ones */
#define SAMPLED_MAX 128  /* with descriptors that are kept open */
#define BUCKETS     256
#define TICK_BUDGET 16 /* cgroups whose limits are read again in one tick */
#define NAME_LOOKS  3
#define READ_MAX    4096
#define NO_LIMIT_KB (1ULL << 50) /* nobody has that much */

/* ---- parsers ---- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* A decimal number that fits, at the start of @t. */
static bool take_u64(struct cgroup_text *t, uint64_t *ret)
{
	uint64_t v = 0;

	if (!t->n || !is_digit(*t->p))
		return false;
	for (; t->n && is_digit(*t->p); t->p++, t->n--) {
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*t->p - '0'), &v))
			return false;
	}
	*ret = v;
	return true;
}

static bool take_text(struct cgroup_text *t, const char *literal)
{
	size_t n = strlen(literal);

	if (t->n < n || memcmp(t->p, literal, n) != 0)
		return false;
	t->p += n;
	t->n -= n;
	return true;
}

/* Up to the byte @end, which is skipped; all that is left when there is none. */
static struct cgroup_text take_until(struct cgroup_text *t, char end)
{
	const char *at = t->n ? memchr(t->p, end, t->n) : NULL;
	struct cgroup_text part = {t->p, at ? (size_t)(at - t->p) : t->n};
	size_t skip = part.n + (at != NULL);

	t->p += skip;
	t->n -= skip;
	return part;
}

static bool text_is(struct cgroup_text t, const char *literal)
{
	return t.n == strlen(literal) && !memcmp(t.p, literal, t.n);
}

static void place_set(struct cgroup_place *place, struct cgroup_text controllers,
		      struct cgroup_text path)
{
	const struct {
		const char *name;
		struct cgroup_text *to;
	} known[] = {
		{"memory", &place->memory},      {"cpu", &place->cpu},
		{"cpuacct", &place->cpuacct},    {"pids", &place->pids},
		{"name=systemd", &place->named},
	};

	while (controllers.n) {
		struct cgroup_text name = take_until(&controllers, ',');

		for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
			if (text_is(name, known[i].name))
				*known[i].to = path;
		}
	}
}

/* number:controllers:path; a path may hold colons, but no newline. */
int cgroup_parse_place(const char *text, size_t n, struct cgroup_place *ret)
{
	struct cgroup_text rest = {text, n};
	struct cgroup_place place = {0};
	bool any = false;

	while (rest.n) {
		struct cgroup_text line = take_until(&rest, '\n');
		struct cgroup_text number = take_until(&line, ':');
		struct cgroup_text controllers = take_until(&line, ':');

		if (!line.n || *line.p != '/')
			continue;
		if (!controllers.n && text_is(number, "0"))
			place.unified = line;
		place_set(&place, controllers, line);
		any = true;
	}
	if (!any)
		return -EBADMSG;
	*ret = place;
	return 0;
}

static bool deeper_than_root(struct cgroup_text t)
{
	return t.n > 1;
}

static bool in_container(struct cgroup_text path)
{
	struct container c;

	if (!deeper_than_root(path))
		return false;
	container_parse_path(path.p, path.n, &c);
	return c.runtime || c.pod_uid[0];
}

struct cgroup_text cgroup_place_path(const struct cgroup_place *place)
{
	const struct cgroup_text *const order[] = {
		&place->unified, &place->memory, &place->pids,
		&place->cpu,     &place->named,  &place->cpuacct,
	};

	/* beside version 1, a runtime may leave a container where it runs itself in the other hierarchies */
	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		if (in_container(*order[i]))
			return *order[i];
	}
	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		if (deeper_than_root(*order[i]))
			return *order[i];
	}
	return (struct cgroup_text){"/", 1};
}

/* 19.03 -> 1903 */
static bool take_centi(struct cgroup_text *t, uint64_t *ret)
{
	uint64_t whole;

	if (!take_u64(t, &whole) || whole > UINT32_MAX || t->n < 3 || t->p[0] != '.' ||
	    !is_digit(t->p[1]) || !is_digit(t->p[2]))
		return false;
	*ret = whole * 100 + (t->p[1] - '0') * 10 + (t->p[2] - '0');
	t->p += 3;
	t->n -= 3;
	return true;
}

/* avg10=0.00 avg60=0.00 avg300=0.00 total=0, in microseconds */
static bool take_stall(struct cgroup_text line, uint64_t *ret_centi, uint64_t *ret_ns)
{
	uint64_t avg60, avg300, us;

	return take_text(&line, "avg10=") && take_centi(&line, ret_centi) &&
	       take_text(&line, " avg60=") && take_centi(&line, &avg60) &&
	       take_text(&line, " avg300=") && take_centi(&line, &avg300) &&
	       take_text(&line, " total=") && take_u64(&line, &us) &&
	       !__builtin_mul_overflow(us, NSEC_PER_USEC, ret_ns);
}

int cgroup_parse_pressure(const char *text, size_t n, struct cgroup_stall *ret)
{
	struct cgroup_text rest = {text, n};
	struct cgroup_stall stall = {0};
	bool some = false;

	while (rest.n) {
		struct cgroup_text line = take_until(&rest, '\n');

		if (take_text(&line, "some ")) {
			some = take_stall(line, &stall.some_centi, &stall.some_ns);
			if (!some)
				return -EBADMSG;
		} else if (take_text(&line, "full ") &&
			   !take_stall(line, &stall.full_centi, &stall.full_ns)) {
			return -EBADMSG;
		}
	}
	if (!some)
		return -EBADMSG;
	*ret = stall;
	return 0;
}

static bool quota_centi(uint64_t quota, uint64_t period, uint64_t *ret)
{
	uint64_t scaled;

	if (!period || __builtin_mul_overflow(quota, 10000, &scaled))
		return false;
	*ret = scaled / period ?: 1;
	return true;
}

int cgroup_parse_quota(const char *text, size_t n, uint64_t *ret_centi)
{
	struct cgroup_text t = {text, n};
	uint64_t quota, period;

	if (take_text(&t, "max ")) {
		if (!take_u64(&t, &period))
			return -EBADMSG;
		*ret_centi = 0;
		return 0;
	}
	if (!take_u64(&t, &quota) || !take_text(&t, " ") || !take_u64(&t, &period))
		return -EBADMSG;
	return quota_centi(quota, period, ret_centi) ? 0 : -EBADMSG;
}

int cgroup_parse_bytes(const char *text, size_t n, uint64_t *ret_kb)
{
	struct cgroup_text t = {text, n};
	uint64_t bytes;

	if (take_text(&t, "max")) {
		*ret_kb = 0;
		return 0;
	}
	if (!take_u64(&t, &bytes))
		return -EBADMSG;
	*ret_kb = bytes / 1024 >= NO_LIMIT_KB ? 0 : bytes / 1024;
	return 0;
}

int cgroup_parse_key(const char *text, size_t n, const char *key, uint64_t *ret)
{
	struct cgroup_text rest = {text, n};

	while (rest.n) {
		struct cgroup_text line = take_until(&rest, '\n');

		if (take_text(&line, key) && take_text(&line, " "))
			return take_u64(&line, ret) ? 0 : -EBADMSG;
	}
	return -ENOENT;
}

/* ---- what is read in each sample ---- */

struct totals {
	struct cgroup_stall cpu, memory, io;
	uint64_t memory_kb;
	uint64_t peak_kb;
	uint64_t oom_kills;
	uint64_t cpu_ns;
	uint64_t throttled_ns;
	uint64_t throttled;
};

static void read_cpu_stall(const char *text, size_t n, struct totals *t)
{
	cgroup_parse_pressure(text, n, &t->cpu);
}

static void read_memory_stall(const char *text, size_t n, struct totals *t)
{
	cgroup_parse_pressure(text, n, &t->memory);
}

static void read_io_stall(const char *text, size_t n, struct totals *t)
{
	cgroup_parse_pressure(text, n, &t->io);
}

static void read_memory(const char *text, size_t n, struct totals *t)
{
	cgroup_parse_bytes(text, n, &t->memory_kb);
}

static void read_peak(const char *text, size_t n, struct totals *t)
{
	cgroup_parse_bytes(text, n, &t->peak_kb);
}

static void read_oom(const char *text, size_t n, struct totals *t)
{
	cgroup_parse_key(text, n, "oom_kill", &t->oom_kills);
}

static void read_us(const char *text, size_t n, const char *key, uint64_t *ret_ns)
{
	uint64_t us;

	if (cgroup_parse_key(text, n, key, &us) == 0 && us <= UINT64_MAX / NSEC_PER_USEC)
		*ret_ns = us * NSEC_PER_USEC;
}

static void read_cpu(const char *text, size_t n, struct totals *t)
{
	read_us(text, n, "usage_usec", &t->cpu_ns);
	read_us(text, n, "throttled_usec", &t->throttled_ns);
	cgroup_parse_key(text, n, "nr_throttled", &t->throttled);
}

static void read_cpu_v1(const char *text, size_t n, struct totals *t)
{
	cgroup_parse_key(text, n, "throttled_time", &t->throttled_ns);
	cgroup_parse_key(text, n, "nr_throttled", &t->throttled);
}

static void read_cpuacct(const char *text, size_t n, struct totals *t)
{
	struct cgroup_text number = {text, n};

	take_u64(&number, &t->cpu_ns);
}

/* Directories in which files of a cgroup lie. With version 2 alone they are one. */
enum dir {
	DIR_UNIFIED,
	DIR_MEMORY, /* the following of version 1 */
	DIR_CPU,
	DIR_CPUACCT,
	DIR_COUNT,
};

static const char *const dir_names[DIR_COUNT] = {"", "memory", "cpu", "cpuacct"};

static const struct {
	enum dir dir;
	const char *name;
	void (*read)(const char *text, size_t n, struct totals *t);
} files[] = {
	{DIR_UNIFIED, "cpu.pressure", read_cpu_stall},
	{DIR_UNIFIED, "memory.pressure", read_memory_stall},
	{DIR_UNIFIED, "io.pressure", read_io_stall},
	{DIR_UNIFIED, "memory.current", read_memory},
	{DIR_UNIFIED, "memory.peak", read_peak},
	{DIR_UNIFIED, "memory.events", read_oom},
	{DIR_UNIFIED, "cpu.stat", read_cpu},
	{DIR_MEMORY, "memory.usage_in_bytes", read_memory},
	{DIR_MEMORY, "memory.max_usage_in_bytes", read_peak},
	{DIR_MEMORY, "memory.oom_control", read_oom},
	{DIR_CPU, "cpu.stat", read_cpu_v1},
	{DIR_CPUACCT, "cpuacct.usage", read_cpuacct},
};

#define FILES ARRAY_SIZE(files)

static const struct {
	const char *name;
	void (*read)(const char *text, size_t n, struct totals *t);
} machine_files[] = {
	{"cpu", read_cpu_stall},
	{"memory", read_memory_stall},
	{"io", read_io_stall},
};

struct sample {
	bool opened;
	uint64_t last_ns;
	struct totals last;
	int fds[FILES]; /* of the machine, the first three */
};

/* ---- known cgroups ---- */

struct cgroup {
	char *dirs[DIR_COUNT]; /* the path in each hierarchy, NULL: not there */
	char *path;
	char *key;
	size_t key_len;
	unsigned holders;
	uint64_t quota_centi;
	uint64_t memory_kb;
	struct container container;
	unsigned looks; /* for names */
	bool named;
	struct sample sample;
	LIST_ENTRY(cgroup) bucket;
	TAILQ_ENTRY(cgroup) order; /* those nobody holds: longest unused first */
};

struct cgroup_source {
	struct cgroup_options opt;
	int roots[DIR_COUNT]; /* where each hierarchy is mounted; -1: nowhere */
	LIST_HEAD(, cgroup) buckets[BUCKETS];
	TAILQ_HEAD(cgroups, cgroup) held;
	struct cgroups idle;
	size_t n;
	size_t n_sampled;
	uint64_t refused;
	struct sample machine;
	bool machine_stalls; /* the kernel measures them */
	bool crowded;        /* it has been said that not all are sampled */
	struct buf record;
};

static void sample_close(struct sample *m)
{
	for (size_t i = 0; m->opened && i < FILES; i++)
		closep(&m->fds[i]);
	m->opened = false;
}

static void sample_drop(struct cgroup_source *s, struct cgroup *c)
{
	if (!c->sample.opened)
		return;
	sample_close(&c->sample);
	c->sample = (struct sample){0};
	s->n_sampled--;
}

static void cgroup_free(struct cgroup *c)
{
	if (!c)
		return;
	sample_close(&c->sample);
	for (size_t i = 0; i < DIR_COUNT; i++)
		free(c->dirs[i]);
	free(c->path);
	free(c->key);
	free(c);
}
DEFINE_FREEP(struct cgroup *, cgroup_free)

static void cgroup_forget(struct cgroup_source *s, struct cgroup *c)
{
	sample_drop(s, c);
	LIST_REMOVE(c, bucket);
	s->n--;
	cgroup_free(c);
}

/* ---- opening ---- */

static int root_open(const char *root, const char *below)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", root, below) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* Version 2 is what has this file; beside version 1 it is mounted one below. */
static int unified_open(const char *root)
{
	static const char *const places[] = {"", "unified"};

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		_cleanup_(closep) int fd = root_open(root, places[i]);

		if (fd >= 0 && faccessat(fd, "cgroup.controllers", F_OK, 0) == 0)
			return TAKE_FD(fd);
	}
	return -1;
}

static void stalls_missing(struct cgroup_source *s)
{
	static const char why[] = "the kernel measures no stalls (psi=1 on its command line, "
				  "or CONFIG_PSI, is missing)";

	if (s->opt.shared)
		bpf_capability(s->opt.shared, "system", "pressure", "/proc/pressure",
			       CAPABILITY_MISSING, "%s", why);
	else
		log_info("no pressure: %s", why);
}

/* With psi=0 the files are there, but give EOPNOTSUPP. */
static void machine_open(struct cgroup_source *s)
{
	struct sample *m = &s->machine;
	char text[READ_MAX], path[PATH_MAX];

	m->opened = true;
	for (size_t i = 0; i < FILES; i++)
		m->fds[i] = -1;
	for (size_t i = 0; i < ARRAY_SIZE(machine_files); i++) {
		_cleanup_(closep) int fd = -1;

		if (snprintf(path, sizeof(path), "%s/pressure/%s", s->opt.procfs,
			     machine_files[i].name) < (int)sizeof(path))
			fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || procfs_fd_read(fd, text, sizeof(text)) <= 0)
			continue;
		m->fds[i] = TAKE_FD(fd);
		s->machine_stalls = true;
	}
	if (!s->machine_stalls)
		stalls_missing(s);
	else if (s->opt.shared)
		bpf_capability(s->opt.shared, "system", "pressure", "/proc/pressure",
			       CAPABILITY_ATTACHED, NULL);
}

int cgroup_source_open(const struct cgroup_options *opt, struct cgroup_source **ret, struct err *e)
{
	_cleanup_(cgroup_source_freep) struct cgroup_source *s = calloc(1, sizeof(*s));

	if (!s)
		return err_set(e, -ENOMEM, "no memory for what is known of cgroups");
	s->opt = *opt;
	TAILQ_INIT(&s->held);
	TAILQ_INIT(&s->idle);
	container_names_offer();
	s->roots[DIR_UNIFIED] = unified_open(opt->root);
	for (size_t i = DIR_UNIFIED + 1; i < DIR_COUNT; i++)
		s->roots[i] = root_open(opt->root, dir_names[i]);
	if (opt->pressure)
		machine_open(s);
	*ret = TAKE_PTR(s);
	return 0;
}

static void list_free(struct cgroups *list)
{
	struct cgroup *c;

	while ((c = TAILQ_FIRST(list))) {
		TAILQ_REMOVE(list, c, order);
		cgroup_free(c);
	}
}

void cgroup_source_free(struct cgroup_source *s)
{
	if (!s)
		return;
	list_free(&s->held);
	list_free(&s->idle);
	sample_close(&s->machine);
	for (size_t i = 0; i < DIR_COUNT; i++)
		closep(&s->roots[i]);
	buf_done(&s->record);
	free(s);
}

/* ---- limits ---- */

static ssize_t file_read(const struct cgroup_source *s, enum dir dir, const char *below,
			 const char *name, char text[READ_MAX])
{
	_cleanup_(closep) int fd = -1;
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", below, name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = openat(s->roots[dir], path + strspn(path, "/"), O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : procfs_fd_read(fd, text, READ_MAX);
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return !a || (b && b < a) ? b : a;
}

static uint64_t bytes_read(const struct cgroup_source *s, enum dir dir, const char *below,
			   const char *name)
{
	char text[READ_MAX];
	ssize_t n = file_read(s, dir, below, name, text);
	uint64_t kb = 0;

	if (n > 0)
		cgroup_parse_bytes(text, n, &kb);
	return kb;
}

static uint64_t quota_read(const struct cgroup_source *s, const char *below)
{
	char text[READ_MAX];
	ssize_t n = file_read(s, DIR_UNIFIED, below, "cpu.max", text);
	uint64_t centi = 0;

	if (n > 0)
		cgroup_parse_quota(text, n, &centi);
	return centi;
}

/* Two files; without a quota the first holds -1. */
static uint64_t quota_read_v1(const struct cgroup_source *s, const char *below)
{
	char quota[READ_MAX], period[READ_MAX];
	ssize_t n = file_read(s, DIR_CPU, below, "cpu.cfs_quota_us", quota);
	ssize_t m = n > 0 ? file_read(s, DIR_CPU, below, "cpu.cfs_period_us", period) : n;
	struct cgroup_text q = {quota, n > 0 ? n : 0}, p = {period, m > 0 ? m : 0};
	uint64_t quota_us, period_us, centi = 0;

	if (take_u64(&q, &quota_us) && take_u64(&p, &period_us))
		quota_centi(quota_us, period_us, &centi);
	return centi;
}

/* From the cgroup itself up to the root of its hierarchy. */
static void limits_collect(const struct cgroup_source *s, struct cgroup *c, enum dir dir)
{
	char below[PATH_MAX];
	char *slash = below;

	if (!c->dirs[dir] || s->roots[dir] < 0)
		return;
	snprintf(below, sizeof(below), "%s", c->dirs[dir]);
	while (slash) {
		if (dir == DIR_UNIFIED) {
			c->quota_centi = smaller(c->quota_centi, quota_read(s, below));
			c->memory_kb =
				smaller(c->memory_kb, bytes_read(s, dir, below, "memory.max"));
		} else if (dir == DIR_MEMORY) {
			c->memory_kb = smaller(c->memory_kb,
					       bytes_read(s, dir, below, "memory.limit_in_bytes"));
		} else if (dir == DIR_CPU) {
			c->quota_centi = smaller(c->quota_centi, quota_read_v1(s, below));
		}
		slash = strrchr(below, '/');
		if (slash)
			*slash = '\0';
	}
}

static void limits_read(const struct cgroup_source *s, struct cgroup *c)
{
	c->quota_centi = 0;
	c->memory_kb = 0;
	for (enum dir dir = DIR_UNIFIED; dir <= DIR_CPU; dir++)
		limits_collect(s, c, dir);
}

void cgroup_source_tick(struct cgroup_source *s)
{
	const struct cgroup *first = TAILQ_FIRST(&s->held);

	for (size_t i = 0; i < TICK_BUDGET; i++) {
		struct cgroup *c = TAILQ_FIRST(&s->held);

		if (!c || (i && c == first))
			return;
		limits_read(s, c);
		TAILQ_REMOVE(&s->held, c, order);
		TAILQ_INSERT_TAIL(&s->held, c, order);
	}
}

/* ---- holding ---- */

static uint32_t key_hash(const char *p, size_t n)
{
	uint32_t hash = 2166136261U;

	for (size_t i = 0; i < n; i++)
		hash = (hash ^ (uint8_t)p[i]) * 16777619U;
	return hash % BUCKETS;
}

static struct cgroup *cgroup_find(struct cgroup_source *s, const char *text, size_t n)
{
	struct cgroup *c;

	LIST_FOREACH(c, &s->buckets[key_hash(text, n)], bucket)
	{
		if (c->key_len == n && !memcmp(c->key, text, n))
			return c;
	}
	return NULL;
}

static bool leaves_root(struct cgroup_text path)
{
	while (path.n) {
		if (text_is(take_until(&path, '/'), ".."))
			return true;
	}
	return false;
}

/* A path that leads out of our own cgroup namespace is shown, but there is nothing to be opened. */
static int dir_set(char **to, struct cgroup_text path)
{
	if (!path.p || leaves_root(path))
		return 0;
	*to = strndup(path.p, path.n);
	return *to ? 0 : -ENOMEM;
}

static int cgroup_fill(struct cgroup *c, const struct cgroup_place *place)
{
	struct cgroup_text path = cgroup_place_path(place);
	const struct cgroup_text *const dirs[DIR_COUNT] = {
		[DIR_UNIFIED] = &place->unified,
		[DIR_MEMORY] = &place->memory,
		[DIR_CPU] = &place->cpu,
		[DIR_CPUACCT] = &place->cpuacct,
	};

	for (size_t i = 0; i < DIR_COUNT; i++) {
		/* beside one in which they are sorted, the root of a hierarchy stands for the machine */
		if (path.n > 1 && !deeper_than_root(*dirs[i]))
			continue;
		if (dir_set(&c->dirs[i], *dirs[i]) < 0)
			return -ENOMEM;
	}
	c->path = strndup(path.p, path.n);
	container_parse_path(path.p, path.n, &c->container);
	return c->path ? 0 : -ENOMEM;
}

static struct cgroup *cgroup_new(struct cgroup_source *s, const char *text, size_t n)
{
	_cleanup_(cgroup_freep) struct cgroup *c = NULL;
	struct cgroup_place place;

	if (cgroup_parse_place(text, n, &place) < 0)
		return NULL;
	c = calloc(1, sizeof(*c));
	if (!c || cgroup_fill(c, &place) < 0)
		return NULL;
	c->key = malloc(n);
	if (!c->key)
		return NULL;
	memcpy(c->key, text, n);
	c->key_len = n;
	limits_read(s, c);
	return TAKE_PTR(c);
}

static bool make_room(struct cgroup_source *s)
{
	struct cgroup *oldest = TAILQ_FIRST(&s->idle);

	if (s->n < CGROUPS_MAX)
		return true;
	if (!oldest) {
		if (!s->refused++)
			log_info("more than %d cgroups: no containers and limits for the rest",
				 CGROUPS_MAX);
		return false;
	}
	TAILQ_REMOVE(&s->idle, oldest, order);
	cgroup_forget(s, oldest);
	return true;
}

struct cgroup *cgroup_hold(struct cgroup_source *s, const char *text, size_t n)
{
	struct cgroup *c;

	if (!n)
		return NULL;
	c = cgroup_find(s, text, n);
	if (c && c->holders)
		return cgroup_hold_again(c);
	if (c) {
		TAILQ_REMOVE(&s->idle, c, order);
		limits_read(s, c); /* it may be another of the same name */
	} else {
		c = make_room(s) ? cgroup_new(s, text, n) : NULL;
		if (!c)
			return NULL;
		LIST_INSERT_HEAD(&s->buckets[key_hash(text, n)], c, bucket);
		s->n++;
	}
	TAILQ_INSERT_TAIL(&s->held, c, order);
	return cgroup_hold_again(c);
}

struct cgroup *cgroup_hold_again(struct cgroup *c)
{
	c->holders++;
	return c;
}

void cgroup_release(struct cgroup_source *s, struct cgroup *c)
{
	if (!c || --c->holders)
		return;
	TAILQ_REMOVE(&s->held, c, order);
	TAILQ_INSERT_TAIL(&s->idle, c, order);
}

const char *cgroup_path(const struct cgroup *c)
{
	return c->path;
}

const struct container *cgroup_container(struct cgroup_source *s, struct cgroup *c)
{
	if (!c->named && c->looks < NAME_LOOKS) {
		c->looks++;
		c->named = container_names_find(s->opt.files, &c->container);
	}
	return &c->container;
}

void cgroup_limits(const struct cgroup *c, uint64_t *ret_quota_centi, uint64_t *ret_memory_kb)
{
	*ret_quota_centi = c->quota_centi;
	*ret_memory_kb = c->memory_kb;
}

uint64_t cgroup_source_refused(const struct cgroup_source *s)
{
	return s->refused;
}

/* ---- samples ---- */

static bool sample_open(struct cgroup_source *s, struct cgroup *c)
{
	struct sample *m = &c->sample;

	if (m->opened)
		return true;
	if (s->n_sampled >= SAMPLED_MAX) {
		if (!s->crowded)
			log_info("more than %d cgroups: no pressure for the rest", SAMPLED_MAX);
		s->crowded = true;
		return false;
	}
	s->n_sampled++;
	m->opened = true;
	for (size_t i = 0; i < FILES; i++) {
		enum dir dir = files[i].dir;
		char path[PATH_MAX];

		m->fds[i] = -1;
		if (!c->dirs[dir] || s->roots[dir] < 0 ||
		    snprintf(path, sizeof(path), "%s/%s", c->dirs[dir], files[i].name) >=
			    (int)sizeof(path))
			continue;
		m->fds[i] = openat(s->roots[dir], path + strspn(path, "/"), O_RDONLY | O_CLOEXEC);
	}
	return true;
}

/* One that is gone, or is refused, is not read again. */
static ssize_t kept_read(int *fd, char text[READ_MAX])
{
	ssize_t n;

	if (*fd < 0)
		return -EBADF;
	n = procfs_fd_read(*fd, text, READ_MAX);
	if (n < 0) {
		closep(fd);
		*fd = -1;
	}
	return n;
}

static uint64_t grown(uint64_t now, uint64_t before)
{
	return now > before ? now - before : 0;
}

/* Stalls are told for the interval, all else as it stands. */
static void event_fill(struct as_cgroup *e, const struct sample *m, const struct totals *now)
{
	const struct totals *last = &m->last;

	e->cpu_some_centi = now->cpu.some_centi;
	e->memory_some_centi = now->memory.some_centi;
	e->memory_full_centi = now->memory.full_centi;
	e->io_some_centi = now->io.some_centi;
	e->io_full_centi = now->io.full_centi;
	e->memory_kb = now->memory_kb;
	e->memory_peak_kb = now->peak_kb;
	e->oom_kills = now->oom_kills;
	e->cpu_ns = now->cpu_ns;
	e->throttled_ns = now->throttled_ns;
	e->throttled = now->throttled;
	if (!m->last_ns)
		return;
	e->interval_ns = grown(e->h.boot_ns, m->last_ns);
	e->cpu_some_ns = grown(now->cpu.some_ns, last->cpu.some_ns);
	e->memory_some_ns = grown(now->memory.some_ns, last->memory.some_ns);
	e->memory_full_ns = grown(now->memory.full_ns, last->memory.full_ns);
	e->io_some_ns = grown(now->io.some_ns, last->io.some_ns);
	e->io_full_ns = grown(now->io.full_ns, last->io.full_ns);
}

static void sample_emit(struct cgroup_source *s, const struct cgroup *c, struct sample *m,
			const struct totals *now, uint64_t boot_ns, struct emitter *out)
{
	const struct as_hdr h = {.boot_ns = boot_ns};
	struct as_span path;
	struct as_cgroup *e;

	record_begin(&s->record, AS_EV_CGROUP, &h);
	path = record_add_str(&s->record, c ? c->path : "");
	if (!s->record.failed) {
		e = record_struct(&s->record, as_cgroup);
		e->path = path;
		event_fill(e, m, now);
		if (c) {
			e->quota_centi = c->quota_centi;
			e->memory_limit_kb = c->memory_kb;
		}
	}
	m->last = *now;
	m->last_ns = boot_ns;
	record_emit(&s->record, AS_EV_CGROUP, out);
}

static void machine_sample(struct cgroup_source *s, uint64_t boot_ns, struct emitter *out)
{
	struct totals now = {0};
	char text[READ_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(machine_files); i++) {
		ssize_t n = kept_read(&s->machine.fds[i], text);

		if (n > 0)
			machine_files[i].read(text, n, &now);
	}
	sample_emit(s, NULL, &s->machine, &now, boot_ns, out);
}

static void cgroup_sample(struct cgroup_source *s, struct cgroup *c, uint64_t boot_ns,
			  struct emitter *out)
{
	struct totals now = {0};
	char text[READ_MAX];
	bool any = false;

	if (!sample_open(s, c))
		return;
	for (size_t i = 0; i < FILES; i++) {
		ssize_t n = kept_read(&c->sample.fds[i], text);

		if (n <= 0)
			continue;
		files[i].read(text, n, &now);
		any = true;
	}
	if (any)
		sample_emit(s, c, &c->sample, &now, boot_ns, out);
	else
		sample_drop(s, c); /* another of the same name may have taken its place */
}

/* What was the last process's until it ended. */
static void last_samples(struct cgroup_source *s, uint64_t boot_ns, struct emitter *out)
{
	struct cgroup *c;

	TAILQ_FOREACH(c, &s->idle, order)
	{
		if (!c->sample.opened)
			continue;
		cgroup_sample(s, c, boot_ns, out);
		sample_drop(s, c);
	}
}

void cgroup_source_sample(struct cgroup_source *s, uint64_t boot_ns, struct emitter *out)
{
	struct cgroup *c;

	if (!s->opt.pressure)
		return;
	if (s->machine_stalls)
		machine_sample(s, boot_ns, out);
	TAILQ_FOREACH(c, &s->held, order)
	cgroup_sample(s, c, boot_ns, out);
	last_samples(s, boot_ns, out);
}
