/* SPDX-License-Identifier: MIT */
#include "source/tls_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define NUMBER_MAX 65535U /* AS_TLS_SPEC_LIBRARY() */

#define IDLE_ROUNDS   2
#define IDLE_MIN_NS   (2 * NSEC_PER_SEC)
#define IDLE_BLIND_NS (60 * NSEC_PER_SEC)
#define IDLE_MAX_NS   (3600 * NSEC_PER_SEC)

/* A round reads the maps of every process; the pause doubles when it was for nothing. */
#define PAUSE_MIN_NS NSEC_PER_SEC
#define PAUSE_MAX_NS (64 * NSEC_PER_SEC)

struct tls_files {
	size_t max, n;
	uint64_t due_ns;
	uint64_t pause_ns;
	struct tls_file slots[];
};

int tls_files_new(size_t max, struct tls_files **ret)
{
	struct tls_files *fs;

	if (max > NUMBER_MAX)
		return -EINVAL;
	fs = calloc(1, sizeof(*fs) + max * sizeof(fs->slots[0]));
	if (!fs)
		return -ENOMEM;
	fs->max = max;
	fs->pause_ns = PAUSE_MIN_NS;
	for (size_t i = 0; i < max; i++)
		fs->slots[i].fd = -1;
	*ret = fs;
	return 0;
}

void tls_files_free(struct tls_files *fs)
{
	if (!fs)
		return;
	for (size_t i = 0; i < fs->max; i++) {
		closep(&fs->slots[i].fd);
		free(fs->slots[i].path);
	}
	free(fs);
}

struct tls_file_key tls_file_key_of(const struct stat *st)
{
	return (struct tls_file_key){
		.dev = st->st_dev,
		.ino = st->st_ino,
		.mtime_ns =
			(uint64_t)st->st_mtim.tv_sec * NSEC_PER_SEC + (uint64_t)st->st_mtim.tv_nsec,
		.size = (uint64_t)st->st_size,
	};
}

/* ---- places and numbers ---- */

/* The one that was freed first, so that late events find the names of the others. */
static struct tls_file *slot_free(struct tls_files *fs)
{
	struct tls_file *best = NULL;

	for (size_t i = 0; i < fs->max; i++) {
		struct tls_file *f = &fs->slots[i];

		if (!f->taken && (!best || f->freed_ns < best->freed_ns))
			best = f;
	}
	return best;
}

/* A place's numbers are its own, and it is found by them. */
static uint32_t number_next(const struct tls_files *fs, const struct tls_file *f)
{
	size_t first = (size_t)(f - fs->slots) + 1;

	if (!f->number || f->number + fs->max > NUMBER_MAX)
		return (uint32_t)first;
	return (uint32_t)(f->number + fs->max);
}

int tls_files_add(struct tls_files *fs, const struct tls_file_key *key, int fd, const char *path,
		  uint64_t now_ns, struct tls_file **ret)
{
	struct tls_file *f = slot_free(fs);
	_cleanup_(freep) char *copy = strdup(path);
	int own;

	if (!f)
		return -ENOSPC;
	if (!copy)
		return -ENOMEM;
	own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (own < 0)
		return -errno;
	free(f->path);
	*f = (struct tls_file){
		.key = *key,
		.number = number_next(fs, f),
		.fd = own,
		.path = TAKE_PTR(copy),
		.taken = true,
		.seen = true,
		.used_ns = now_ns,
	};
	fs->n++;
	fs->pause_ns = PAUSE_MIN_NS;
	fs->due_ns = MIN(fs->due_ns, now_ns + PAUSE_MIN_NS);
	*ret = f;
	return 0;
}

void tls_files_remove(struct tls_files *fs, struct tls_file *f, uint64_t now_ns)
{
	closep(&f->fd);
	f->fd = -1;
	f->taken = false;
	f->freed_ns = now_ns;
	fs->n--;
}

size_t tls_files_count(const struct tls_files *fs)
{
	return fs->n;
}

struct tls_file *tls_files_next(struct tls_files *fs, const struct tls_file *f)
{
	for (size_t i = f ? (size_t)(f - fs->slots) + 1 : 0; i < fs->max; i++) {
		if (fs->slots[i].taken)
			return &fs->slots[i];
	}
	return NULL;
}

struct tls_file *tls_files_find(struct tls_files *fs, uint64_t dev, uint64_t ino)
{
	struct tls_file *f = NULL;

	while ((f = tls_files_next(fs, f))) {
		if (f->key.dev == dev && f->key.ino == ino)
			return f;
	}
	return NULL;
}

struct tls_file *tls_files_number(struct tls_files *fs, uint32_t number)
{
	struct tls_file *f = number ? &fs->slots[(number - 1) % fs->max] : NULL;

	return f && f->number == number ? f : NULL;
}

/* ---- who is used ---- */

/* Overlay may put the number of a layer into the upper half of an inode number. */
void tls_files_use(struct tls_files *fs, uint64_t ino, uint64_t now_ns)
{
	struct tls_file *f = NULL;

	while ((f = tls_files_next(fs, f))) {
		if ((uint32_t)f->key.ino == (uint32_t)ino)
			tls_file_called(f, now_ns);
	}
}

void tls_file_called(struct tls_file *f, uint64_t now_ns)
{
	f->seen = true;
	f->unseen = 0;
	f->used_ns = now_ns;
}

/* What is probed for those to come stays, until it has been replaced. */
static bool may_go(const struct tls_file *f)
{
	return f->taken && !f->giving && (!f->expected || f->deleted);
}

static bool is_old(const struct tls_file *f, uint64_t now_ns)
{
	return now_ns - f->used_ns >= IDLE_MAX_NS;
}

static bool is_idle(const struct tls_file *f, uint64_t now_ns, bool blind)
{
	return may_go(f) && f->unseen >= IDLE_ROUNDS &&
	       now_ns - f->used_ns >= (blind ? IDLE_BLIND_NS : IDLE_MIN_NS);
}

/* How many are too many; 0 until the table is nearly full. */
static size_t surplus(const struct tls_files *fs)
{
	size_t n = fs->n;

	for (size_t i = 0; i < fs->max; i++)
		n -= fs->slots[i].taken && fs->slots[i].giving;
	return n > fs->max / 4 * 3 ? n - fs->max / 2 : 0;
}

bool tls_files_round_due(const struct tls_files *fs, uint64_t now_ns)
{
	bool crowded = surplus(fs) > 0;

	if (now_ns < fs->due_ns)
		return false;
	for (size_t i = 0; i < fs->max; i++) {
		const struct tls_file *f = &fs->slots[i];

		if (may_go(f) && (crowded || f->deleted || is_old(f, now_ns)))
			return true;
	}
	return false;
}

void tls_files_round_begin(struct tls_files *fs)
{
	for (size_t i = 0; i < fs->max; i++)
		fs->slots[i].seen = false;
}

static int by_use(const void *a, const void *b)
{
	const struct tls_file *x = *(const struct tls_file *const *)a;
	const struct tls_file *y = *(const struct tls_file *const *)b;

	return (x->used_ns > y->used_ns) - (x->used_ns < y->used_ns);
}

/* The idle ones, the longest unused first. */
static size_t idle_list(struct tls_files *fs, uint64_t now_ns, bool blind, struct tls_file **ret,
			size_t max)
{
	struct tls_file *f = NULL;
	size_t n = 0;

	while (n < max && (f = tls_files_next(fs, f))) {
		if (is_idle(f, now_ns, blind))
			ret[n++] = f;
	}
	qsort(ret, n, sizeof(*ret), by_use);
	return n;
}

static void round_pause(struct tls_files *fs, uint64_t now_ns, uint64_t pause_ns)
{
	fs->pause_ns = MIN(pause_ns, PAUSE_MAX_NS);
	fs->due_ns = now_ns + fs->pause_ns;
}

size_t tls_files_round_end(struct tls_files *fs, uint64_t now_ns, bool blind, struct tls_file **ret,
			   size_t max)
{
	size_t n, given = 0, too_many = surplus(fs);
	struct tls_file *f = NULL;

	while ((f = tls_files_next(fs, f)))
		f->unseen += !f->seen;
	n = idle_list(fs, now_ns, blind, ret, max);
	for (size_t i = 0; i < n; i++) {
		f = ret[i];
		if (given >= too_many && !f->deleted && !is_old(f, now_ns))
			continue;
		f->giving = true;
		ret[given++] = f;
	}
	round_pause(fs, now_ns, given ? PAUSE_MIN_NS : 2 * fs->pause_ns);
	return given;
}

void tls_files_round_void(struct tls_files *fs, uint64_t now_ns)
{
	round_pause(fs, now_ns, PAUSE_MAX_NS);
}
