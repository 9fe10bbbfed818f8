/* SPDX-License-Identifier: MIT */
#include "source/tls_finder.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "find/cache.h"
#include "find/table.h"
#include "source/elf.h"

#define OFFSETS_DEFAULT AGENTSIGHT_DATADIR "/offsets.txt"
#define OFFSETS_LOCAL   "/etc/agentsight/offsets.d"

#define WAITING_MAX 128 /* of a kind; each holds a descriptor */

struct queue {
	struct tls_find *first, **end;
	size_t n;
};

struct tls_finder {
	pthread_t thread;
	bool started; /* with the first search */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct queue waiting[N_TLS_FIND_KINDS], done;
	bool searching;
	_Atomic(bool) stop;
	struct find_table *table;
	char cache[4096];
};

static void queue_put(struct queue *q, struct tls_find *find)
{
	/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): nobody puts nothing */
	find->next = NULL;
	*q->end = find;
	q->end = &find->next;
	q->n++;
}

static struct tls_find *queue_get(struct queue *q)
{
	struct tls_find *find = q->first;

	if (!find)
		return NULL;
	q->first = find->next;
	if (!q->first)
		q->end = &q->first;
	q->n--;
	return find;
}

static void queue_clear(struct queue *q)
{
	struct tls_find *find;

	while ((find = queue_get(q)))
		tls_find_free(find);
}

void tls_find_free(struct tls_find *find)
{
	if (!find)
		return;
	find_result_done(&find->found);
	closep(&find->fd);
	free(find->path);
	free(find);
}

/* Known executables. Without them everything is searched. */
static void table_load(struct find_table *table)
{
	struct err e = {};
	int r = find_table_load(table, OFFSETS_DEFAULT, &e);

	if (r < 0 && r != -ENOENT)
		log_warning("tls: %s", e.text);
	r = find_table_load_directory(table, OFFSETS_LOCAL, &e);
	if (r < 0 && r != -ENOENT)
		log_warning("tls: %s", e.text);
}

int tls_finder_new(struct tls_finder **ret)
{
	struct tls_finder *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	if (find_table_new(&f->table) < 0) {
		free(f);
		return -ENOMEM;
	}
	table_load(f->table);
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->wake, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(f->waiting); i++)
		f->waiting[i].end = &f->waiting[i].first;
	f->done.end = &f->done.first;
	find_cache_directory(f->cache, sizeof(f->cache));
	find_cache_offer(f->cache);
	*ret = f;
	return 0;
}

/*
 * The ciphers of a TLS library that is a file of its own: what uses them is probed itself, and would be told
 * twice. Who has them linked in does not export them.
 */
static bool exports_aead(int fd)
{
	_cleanup_(elf_freep) struct elf *elf = NULL;
	uint64_t vaddr, size;

	return elf_open(fd, &elf) == 0 &&
	       elf_dynsym_find(elf, "EVP_AEAD_CTX_open", &vaddr, &size) == 0;
}

static void symbols_search(struct tls_find *find)
{
	struct err e = {};

	find->result = tls_sites_find(find->fd, &find->symbols, &e);
	if (find->result < 0)
		snprintf(find->found.reason, sizeof(find->found.reason), "%s", e.text);
}

static void search(struct tls_finder *f, struct tls_find *find)
{
	struct find_options options = {
		.table = f->table, .cache = *f->cache ? f->cache : NULL, .stop = &f->stop};

	if (find->kind == TLS_FIND_SYMBOLS) {
		symbols_search(find);
		return;
	}
	if (find->kind == TLS_FIND_LIBRARY) {
		if (tls_sites_find(find->fd, &find->symbols, NULL) == 0)
			return;
		find->symbols.n = 0;
		if (exports_aead(find->fd)) {
			find->result = -ENOENT;
			snprintf(find->found.reason, sizeof(find->found.reason),
				 "has ciphers for TLS in other files");
			return;
		}
	}
	find->result = find_functions(find->fd, &options, &find->found);
}

static struct tls_find *waiting_get(struct tls_finder *f)
{
	struct tls_find *find = NULL;

	for (size_t i = 0; !find && i < ARRAY_SIZE(f->waiting); i++)
		find = queue_get(&f->waiting[i]);
	return find;
}

static void *finder_main(void *arg)
{
	struct tls_finder *f = arg;
	struct tls_find *find;

	pthread_mutex_lock(&f->lock);
	while (!f->stop) {
		find = waiting_get(f);
		if (!find) {
			pthread_cond_wait(&f->wake, &f->lock);
			continue;
		}
		f->searching = true;
		pthread_mutex_unlock(&f->lock);
		search(f, find);
		pthread_mutex_lock(&f->lock);
		f->searching = false;
		queue_put(&f->done, find);
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}

void tls_finder_free(struct tls_finder *f)
{
	if (!f)
		return;
	pthread_mutex_lock(&f->lock);
	f->stop = true;
	pthread_cond_signal(&f->wake);
	pthread_mutex_unlock(&f->lock);
	if (f->started)
		pthread_join(f->thread, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(f->waiting); i++)
		queue_clear(&f->waiting[i]);
	queue_clear(&f->done);
	find_table_free(f->table);
	pthread_cond_destroy(&f->wake);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

static int find_new(enum tls_find_kind kind, int fd, const struct tls_file_key *key,
		    const char *path, uint32_t tgid, struct tls_find **ret)
{
	_cleanup_(tls_find_freep) struct tls_find *find = calloc(1, sizeof(*find));

	if (!find)
		return -ENOMEM;
	find->fd = -1;
	find->key = *key;
	find->tgid = tgid;
	find->kind = kind;
	find->path = strdup(path);
	find->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (!find->path || find->fd < 0)
		return find->path ? -errno : -ENOMEM;
	*ret = TAKE_PTR(find);
	return 0;
}

int tls_finder_submit(struct tls_finder *f, enum tls_find_kind kind, int fd,
		      const struct tls_file_key *key, const char *path, uint32_t tgid)
{
	struct tls_find *find = NULL;
	int r = find_new(kind, fd, key, path, tgid, &find);

	if (r < 0)
		return r;
	pthread_mutex_lock(&f->lock);
	if (!f->started)
		r = -pthread_create(&f->thread, NULL, finder_main, f);
	if (r == 0)
		f->started = true;
	if (r == 0 && f->waiting[kind].n == WAITING_MAX)
		r = -E2BIG;
	if (r == 0)
		queue_put(&f->waiting[kind], find);
	pthread_cond_signal(&f->wake);
	pthread_mutex_unlock(&f->lock);
	if (r < 0)
		tls_find_free(find);
	return r;
}

struct tls_find *tls_finder_take(struct tls_finder *f)
{
	struct tls_find *find;

	pthread_mutex_lock(&f->lock);
	find = queue_get(&f->done);
	pthread_mutex_unlock(&f->lock);
	return find;
}

bool tls_finder_busy(struct tls_finder *f)
{
	bool busy;

	pthread_mutex_lock(&f->lock);
	busy = f->searching || f->done.first;
	for (size_t i = 0; i < ARRAY_SIZE(f->waiting); i++)
		busy |= f->waiting[i].first != NULL;
	pthread_mutex_unlock(&f->lock);
	return busy;
}
