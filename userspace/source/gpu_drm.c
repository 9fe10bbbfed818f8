/* SPDX-License-Identifier: MIT */
/*
 * Graphics devices of the kernel's own drivers: what each process does from the descriptors that it has open
 * on them, and of a whole device what its driver says in sysfs (amdgpu says most).
 */
#include "source/gpu_drm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include <linux/limits.h>

#include "base/clock.h"
#include "base/json.h"
#include "source/gpu.h"
#include "source/procfs.h"

#define CARDS_MAX   16
#define CLIENTS_MAX 1024
#define FDS_MAX     1024    /* descriptors of a process that are looked at */
#define SCAN_NS     5000000 /* of CPU time in one sample; a descriptor takes some microseconds */
#define READ_MAX    4096

/* ---- parsing ---- */

struct line {
	const char *p;
	size_t n;
};

static bool take(struct line *l, const char *literal)
{
	size_t n = strlen(literal);

	if (l->n < n || memcmp(l->p, literal, n) != 0)
		return false;
	l->p += n;
	l->n -= n;
	return true;
}

static void skip_blanks(struct line *l)
{
	while (l->n && (*l->p == ' ' || *l->p == '\t')) {
		l->p++;
		l->n--;
	}
}

static bool take_number(struct line *l, uint64_t *ret)
{
	uint64_t v = 0;
	size_t digits = 0;

	skip_blanks(l);
	for (; digits < l->n && l->p[digits] >= '0' && l->p[digits] <= '9'; digits++) {
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(l->p[digits] - '0'), &v))
			return false;
	}
	l->p += digits;
	l->n -= digits;
	*ret = v;
	return digits > 0;
}

/* A number of bytes with its unit; without one it is bytes. */
static bool take_kb(struct line *l, uint64_t *ret)
{
	uint64_t v;

	if (!take_number(l, &v))
		return false;
	skip_blanks(l);
	if (take(l, "KiB"))
		*ret = v;
	else if (take(l, "MiB"))
		return !__builtin_mul_overflow(v, 1024, ret);
	else if (take(l, "GiB"))
		return !__builtin_mul_overflow(v, 1024 * 1024, ret);
	else
		*ret = v / 1024;
	return true;
}

static bool take_word(struct line *l, char ret[GPU_DRM_NAME_LEN])
{
	size_t n = 0;

	skip_blanks(l);
	while (n < l->n && (unsigned char)l->p[n] > ' ')
		n++;
	if (!n || n >= GPU_DRM_NAME_LEN)
		return false;
	memcpy(ret, l->p, n);
	ret[n] = '\0';
	return true;
}

/* The engine or region whose name goes up to the colon, which is skipped. */
static bool take_key(struct line *l, char ret[GPU_DRM_NAME_LEN])
{
	const char *colon = memchr(l->p, ':', l->n);
	size_t n = colon ? (size_t)(colon - l->p) : 0;

	if (!n || n >= GPU_DRM_NAME_LEN)
		return false;
	memcpy(ret, l->p, n);
	ret[n] = '\0';
	l->p += n + 1;
	l->n -= n + 1;
	return true;
}

static struct gpu_drm_engine *engine_get(struct gpu_drm_client *c, const char *name)
{
	for (size_t i = 0; i < c->n_engines; i++) {
		if (!strcmp(c->engines[i].name, name))
			return &c->engines[i];
	}
	if (c->n_engines == GPU_DRM_ENGINES)
		return NULL;
	snprintf(c->engines[c->n_engines].name, sizeof(c->engines[0].name), "%s", name);
	c->engines[c->n_engines].capacity = 1;
	return &c->engines[c->n_engines++];
}

static const struct {
	const char *prefix;
	size_t member;
} engine_keys[] = {
	/* the longer ones first */
	{"drm-engine-capacity-", offsetof(struct gpu_drm_engine, capacity)},
	{"drm-engine-", offsetof(struct gpu_drm_engine, busy)},
	{"drm-total-cycles-", offsetof(struct gpu_drm_engine, total)},
	{"drm-cycles-", offsetof(struct gpu_drm_engine, cycles)},
};

static bool engine_line(struct gpu_drm_client *c, struct line l)
{
	char name[GPU_DRM_NAME_LEN];
	struct gpu_drm_engine *e;
	uint64_t v;

	for (size_t i = 0; i < ARRAY_SIZE(engine_keys); i++) {
		if (!take(&l, engine_keys[i].prefix))
			continue;
		if (take_key(&l, name) && take_number(&l, &v) && (e = engine_get(c, name)))
			memcpy((char *)e + engine_keys[i].member, &v, sizeof(v));
		return true;
	}
	return false;
}

/* What lies in main memory is named so; all else is the device's own: vram, vram0, local0, stolen. */
static bool in_main_memory(const char *region)
{
	static const char *const names[] = {"memory", "system", "gtt", "cpu", "shmem"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strncmp(region, names[i], strlen(names[i])))
			return true;
	}
	return false;
}

enum memory_key { MEMORY_OLD, MEMORY_RESIDENT, MEMORY_KEYS };

/* Of one region at most; "memory" is what was told before there was "resident". */
struct memory {
	bool seen;
	uint64_t device_kb, system_kb;
};

static void memory_line(struct memory sums[MEMORY_KEYS], struct line l)
{
	static const char *const prefixes[MEMORY_KEYS] = {"drm-memory-", "drm-resident-"};
	char name[GPU_DRM_NAME_LEN];
	uint64_t kb;

	for (size_t i = 0; i < MEMORY_KEYS; i++) {
		uint64_t *to;

		if (!take(&l, prefixes[i]))
			continue;
		if (!take_key(&l, name) || !take_kb(&l, &kb))
			return;
		to = in_main_memory(name) ? &sums[i].system_kb : &sums[i].device_kb;
		if (__builtin_add_overflow(*to, kb, to))
			*to = UINT64_MAX;
		sums[i].seen = true;
		return;
	}
}

int gpu_drm_parse(const char *text, size_t n, struct gpu_drm_client *ret)
{
	struct gpu_drm_client c = {0};
	struct memory memory[MEMORY_KEYS] = {0}, *best;
	const char *end = text + n;
	bool has_id = false;

	while (text < end) {
		const char *nl = memchr(text, '\n', end - text) ?: end;
		struct line l = {text, nl - text};

		text = nl + 1;
		if (l.n < 4 || memcmp(l.p, "drm-", 4) != 0)
			continue;
		if (take(&l, "drm-driver:"))
			take_word(&l, c.driver);
		else if (take(&l, "drm-pdev:"))
			take_word(&l, c.device);
		else if (take(&l, "drm-client-id:"))
			has_id = take_number(&l, &c.id);
		else if (!engine_line(&c, l))
			memory_line(memory, l);
	}
	if (!c.driver[0] || !has_id)
		return -EBADMSG;
	for (size_t i = 0; i < c.n_engines; i++) {
		struct gpu_drm_engine *e = &c.engines[i];

		/* else they say how fast it ran, which is nothing to compare with time */
		if (e->total)
			e->busy = e->cycles;
	}
	best = &memory[memory[MEMORY_RESIDENT].seen ? MEMORY_RESIDENT : MEMORY_OLD];
	c.device_kb = best->device_kb;
	c.system_kb = best->system_kb;
	*ret = c;
	return 0;
}

/* ---- what is known ---- */

struct card {
	uint32_t number;
	char driver[GPU_DRM_NAME_LEN];
	char device[GPU_DRM_NAME_LEN];
	char path[PATH_MAX]; /* of its directory in sysfs */
	char hwmon[PATH_MAX];
	uint64_t last_ns;
};

/* One opening of a device. Descriptors that were passed on or inherited are the same client. */
struct client {
	struct gpu_drm_client last;
	uint64_t last_ns; /* 0: seen for the first time in this sample */
	uint64_t pass;
	uint64_t round;
	LIST_ENTRY(client) entry;
};

/* A process on one device: the sum over its clients. */
struct user {
	const struct card *card;
	uint64_t device_kb, system_kb;
	uint64_t interval_ns;
	size_t n_engines;
	struct {
		char name[GPU_DRM_NAME_LEN];
		uint64_t centi;
	} engines[GPU_DRM_ENGINES];
};

struct drm_backend {
	struct gpu_backend backend;
	char *procfs;
	const struct proc_table *table;
	size_t n_cards;
	struct card cards[CARDS_MAX];
	LIST_HEAD(, client) clients;
	size_t n_clients;
	uint64_t pass;
	uint64_t round;  /* through all processes, which may take several samples */
	uint32_t resume; /* the process that the next sample begins with, when one was not enough */
	size_t n_users;
	struct user users[CARDS_MAX];
	struct buf engines;
};

static void drm_free(struct gpu_backend *backend)
{
	struct drm_backend *b = (struct drm_backend *)backend;
	struct client *c;

	while ((c = LIST_FIRST(&b->clients))) {
		LIST_REMOVE(c, entry);
		free(c);
	}
	buf_done(&b->engines);
	free(b->procfs);
	free(b);
}

/* ---- cards ---- */

static ssize_t file_read_at(int dir_fd, const char *name, char text[READ_MAX])
{
	_cleanup_(closep) int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	return fd < 0 ? -errno : procfs_fd_read(fd, text, READ_MAX);
}

static ssize_t file_read(const char *dir, const char *name, char text[READ_MAX])
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	return file_read_at(AT_FDCWD, path, text);
}

static uint64_t number_read(const char *dir, const char *name)
{
	char text[READ_MAX];
	ssize_t n = *dir ? file_read(dir, name, text) : -ENOENT;
	struct line l = {text, n > 0 ? n : 0};
	uint64_t v = 0;

	take_number(&l, &v);
	return v;
}

static void link_name(const char *dir, const char *name, char ret[GPU_DRM_NAME_LEN])
{
	char path[PATH_MAX], target[PATH_MAX];
	const char *base;
	ssize_t n;

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
		return;
	n = readlink(path, target, sizeof(target) - 1);
	if (n <= 0)
		return;
	target[n] = '\0';
	base = strrchr(target, '/');
	snprintf(ret, GPU_DRM_NAME_LEN, "%.*s", GPU_DRM_NAME_LEN - 1, base ? base + 1 : target);
}

/* hwmon<N>, whatever N is */
static void hwmon_find(struct card *c)
{
	_cleanup_(closedirp) DIR *d = NULL;
	char path[PATH_MAX];
	struct dirent *entry;

	if (snprintf(path, sizeof(path), "%s/hwmon", c->path) >= (int)sizeof(path))
		return;
	d = opendir(path);
	while (d && (entry = readdir(d))) {
		if (strncmp(entry->d_name, "hwmon", 5) != 0)
			continue;
		if (snprintf(c->hwmon, sizeof(c->hwmon), "%s/%s", path, entry->d_name) >=
		    (int)sizeof(c->hwmon))
			c->hwmon[0] = '\0';
		return;
	}
}

/* card<N>; behind a hyphen it is a connector of one. */
static void card_add(struct drm_backend *b, const char *class, const char *name)
{
	struct card *c = &b->cards[b->n_cards];
	struct line l = {name, strlen(name)};
	uint64_t number;
	int n;

	if (b->n_cards == CARDS_MAX || !take(&l, "card") || !take_number(&l, &number) || l.n ||
	    number > UINT32_MAX)
		return;
	*c = (struct card){.number = (uint32_t)number};
	n = snprintf(c->path, sizeof(c->path), "%s/%s", class, name);
	if (n < 0 || n >= (int)(sizeof(c->path) - sizeof("/device")))
		return;
	link_name(c->path, "device", c->device); /* it is named by its address on the bus */
	snprintf(c->path + n, sizeof(c->path) - n, "/device");
	link_name(c->path, "driver", c->driver);
	hwmon_find(c);
	if (c->driver[0])
		b->n_cards++;
}

static void drm_sample(struct gpu_backend *backend, uint64_t boot_ns, struct gpu_source *to);

int gpu_drm_open(const struct gpu_options *opt, struct gpu_backend **ret, const char **ret_why)
{
	_cleanup_(closedirp) DIR *d = NULL;
	struct drm_backend *b;
	char class[PATH_MAX];
	struct dirent *entry;

	*ret_why = "there is no graphics device";
	if (snprintf(class, sizeof(class), "%s/class/drm", opt->sysfs) >= (int)sizeof(class))
		return -ENAMETOOLONG;
	d = opendir(class);
	if (!d)
		return -ENOENT;
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->backend = (struct gpu_backend){drm_sample, drm_free};
	b->table = opt->table;
	b->procfs = strdup(opt->procfs);
	while ((entry = readdir(d)))
		card_add(b, class, entry->d_name);
	if (!b->n_cards || !b->procfs) {
		drm_free(&b->backend);
		return -ENOENT;
	}
	*ret = &b->backend;
	return 0;
}

/* What drivers other than amdgpu do not say is not told: there is no event without a busy number. */
static void card_tell(struct card *c, uint64_t boot_ns, struct gpu_source *to)
{
	char text[READ_MAX];
	uint64_t uw;
	struct gpu_reading r = {
		.device = c->number,
		.name = c->device,
		.driver = c->driver,
	};

	if (file_read(c->path, "gpu_busy_percent", text) <= 0)
		return;
	r.use_centi = MIN(number_read(c->path, "gpu_busy_percent"), (uint64_t)100) * 100;
	r.memory_kb = number_read(c->path, "mem_info_vram_used") / 1024;
	r.memory_total_kb = number_read(c->path, "mem_info_vram_total") / 1024;
	r.temperature = number_read(c->hwmon, "temp1_input") / 1000;
	uw = number_read(c->hwmon, "power1_average") ?: number_read(c->hwmon, "power1_input");
	r.power_mw = uw / 1000;
	if (c->last_ns && boot_ns > c->last_ns)
		r.interval_ns = boot_ns - c->last_ns;
	c->last_ns = boot_ns;
	gpu_source_add(to, &r);
}

/* ---- clients ---- */

static const struct card *card_of(const struct drm_backend *b, const struct gpu_drm_client *c)
{
	for (size_t i = 0; i < b->n_cards; i++) {
		if (!strcmp(b->cards[i].driver, c->driver) &&
		    (!c->device[0] || !strcmp(b->cards[i].device, c->device)))
			return &b->cards[i];
	}
	return NULL;
}

static struct client *client_get(struct drm_backend *b, const struct gpu_drm_client *now)
{
	struct client *c;

	LIST_FOREACH(c, &b->clients, entry)
	{
		if (c->last.id == now->id && !strcmp(c->last.device, now->device) &&
		    !strcmp(c->last.driver, now->driver))
			return c;
	}
	if (b->n_clients == CLIENTS_MAX)
		return NULL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->last = *now;
	LIST_INSERT_HEAD(&b->clients, c, entry);
	b->n_clients++;
	return c;
}

static struct user *user_get(struct drm_backend *b, const struct card *card)
{
	for (size_t i = 0; i < b->n_users; i++) {
		if (b->users[i].card == card)
			return &b->users[i];
	}
	if (b->n_users == CARDS_MAX)
		return NULL;
	b->users[b->n_users] = (struct user){.card = card};
	return &b->users[b->n_users++];
}

static const struct gpu_drm_engine *engine_find(const struct gpu_drm_client *c, const char *name)
{
	for (size_t i = 0; i < c->n_engines; i++) {
		if (!strcmp(c->engines[i].name, name))
			return &c->engines[i];
	}
	return NULL;
}

/* Of the time that all engines of the kind had. A counter that fell has begun anew. */
static uint64_t engine_centi(const struct gpu_drm_engine *now, const struct gpu_drm_engine *last,
			     uint64_t interval_ns)
{
	uint64_t busy = last && now->busy > last->busy ? now->busy - last->busy : 0;
	uint64_t of = interval_ns;
	double centi;

	if (now->total)
		of = last && now->total > last->total ? now->total - last->total : 0;
	if (!of)
		return 0;
	centi = 10000.0 * (double)busy / ((double)of * (double)MAX(now->capacity, (uint64_t)1));
	return centi > 10000.0 ? 10000 : (uint64_t)(centi + 0.5);
}

static void user_add_engine(struct user *u, const char *name, uint64_t centi)
{
	size_t i = 0;

	while (i < u->n_engines && strcmp(u->engines[i].name, name) != 0)
		i++;
	if (i == GPU_DRM_ENGINES)
		return;
	if (i == u->n_engines)
		memcpy(u->engines[u->n_engines++].name, name, GPU_DRM_NAME_LEN);
	u->engines[i].centi = MIN(u->engines[i].centi + centi, (uint64_t)10000);
}

static void client_count(struct drm_backend *b, const struct gpu_drm_client *now, uint64_t boot_ns)
{
	const struct card *card = card_of(b, now);
	struct client *c = card ? client_get(b, now) : NULL;
	struct user *u = c && c->pass != b->pass ? user_get(b, card) : NULL;
	uint64_t interval;

	if (!u)
		return; /* no card, too many, or counted already */
	interval = c->last_ns && boot_ns > c->last_ns ? boot_ns - c->last_ns : 0;
	u->interval_ns = MAX(u->interval_ns, interval);
	u->device_kb += now->device_kb;
	u->system_kb += now->system_kb;
	for (size_t i = 0; i < now->n_engines; i++) {
		const struct gpu_drm_engine *e = &now->engines[i];

		user_add_engine(u, e->name,
				engine_centi(e, engine_find(&c->last, e->name), interval));
	}
	c->last = *now;
	c->last_ns = boot_ns;
	c->pass = b->pass;
	c->round = b->round;
}

/* Who was not met in a whole round is gone. */
static void clients_forget(struct drm_backend *b)
{
	struct client *c = LIST_FIRST(&b->clients);

	while (c) {
		struct client *next = LIST_NEXT(c, entry);

		if (c->round + 1 < b->round) {
			LIST_REMOVE(c, entry);
			free(c);
			b->n_clients--;
		}
		c = next;
	}
}

/* ---- processes ---- */

static void fdinfo_read(struct drm_backend *b, int dir_fd, const char *fd, uint64_t boot_ns)
{
	struct gpu_drm_client now;
	char text[READ_MAX];
	ssize_t n;

	n = file_read_at(dir_fd, fd, text);
	if (n > 0 && gpu_drm_parse(text, n, &now) == 0)
		client_count(b, &now, boot_ns);
}

/* What others have open is listed in `fd` to their users alone, in `fdinfo` to who may look at them. */
static int process_read(struct drm_backend *b, uint32_t tgid, uint64_t boot_ns)
{
	_cleanup_(closedirp) DIR *d = NULL;
	char path[PATH_MAX];
	struct dirent *entry;

	b->n_users = 0;
	if (snprintf(path, sizeof(path), "%s/%u/fdinfo", b->procfs, tgid) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	d = opendir(path);
	if (!d)
		return -errno;
	for (size_t i = 0; i < FDS_MAX && (entry = readdir(d)); i++) {
		if (entry->d_name[0] != '.')
			fdinfo_read(b, dirfd(d), entry->d_name, boot_ns);
	}
	return 0;
}

/* The busiest engine is what the process is limited by. */
static void user_tell(struct drm_backend *b, const struct proc *p, const struct user *u,
		      struct gpu_source *to)
{
	struct gpu_reading r = {
		.process = p,
		.device = u->card->number,
		.name = u->card->device,
		.driver = u->card->driver,
		.memory_kb = u->device_kb ?: u->system_kb,
		.interval_ns = u->interval_ns,
	};

	buf_reset(&b->engines);
	for (size_t i = 0; i < u->n_engines; i++) {
		r.use_centi = MAX(r.use_centi, u->engines[i].centi);
		buf_add_char(&b->engines, i ? ',' : '{');
		json_string(&b->engines, u->engines[i].name, strlen(u->engines[i].name));
		buf_add_char(&b->engines, ':');
		json_fixed(&b->engines, u->engines[i].centi, 2);
	}
	if (u->n_engines)
		buf_add_char(&b->engines, '}');
	r.engines = &b->engines;
	gpu_source_add(to, &r);
}

/* The process after @p in turn, back to the first behind the last. */
static const struct proc *first_in_turn(const struct drm_backend *b)
{
	const struct proc *p = b->resume ? proc_table_find(b->table, b->resume) : NULL;

	return p && !p->exited ? p : proc_table_next(b->table, NULL);
}

static void drm_sample(struct gpu_backend *backend, uint64_t boot_ns, struct gpu_source *to)
{
	struct drm_backend *b = (struct drm_backend *)backend;
	const struct proc *p = first_in_turn(b);
	uint64_t begin_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	int r;

	b->pass++;
	for (size_t i = 0; i < b->n_cards; i++)
		card_tell(&b->cards[i], boot_ns, to);
	for (; p && clock_ns(CLOCK_THREAD_CPUTIME_ID) - begin_ns < SCAN_NS;
	     p = proc_table_next(b->table, p)) {
		if (!p->followed)
			continue;
		r = process_read(b, p->tgid, boot_ns);
		if (r < 0 && r != -ENOENT && r != -ESRCH)
			gpu_source_refused(to, backend, r);
		for (size_t i = 0; i < b->n_users; i++)
			user_tell(b, p, &b->users[i], to);
	}
	b->resume = p ? p->tgid : 0;
	b->round += !p;
	clients_forget(b);
}
