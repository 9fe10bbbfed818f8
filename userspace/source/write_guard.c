/* SPDX-License-Identifier: MIT */
/*
 * The kernel tells a thread by SIGIO that one of its leases is wanted back, and keeps saying so through
 * F_GETLEASE. The signal is blocked in that thread and sent to it alone, so nobody else's handlers and masks
 * matter, also not those of a program that this is a library in.
 */
#include "source/write_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include "priv/proc.h"

#define SMB_MAGIC_NUMBER  0x517B
#define CIFS_MAGIC_NUMBER 0xFF534D42
#define SMB2_MAGIC_NUMBER 0xFE534D42
#define STACK_BYTES       (256U << 10)
#define EVENTS_BYTES      4096
#define BATCH             32 /* files left at once; a writer to another waits for them */

struct watch {
	uint32_t number;
	int lease; /* a description of its own, whose end is the lease's end; -1: none */
	int inotify;
	bool asked; /* to be left without a writer */
};

struct write_guard {
	write_guard_fn *leave;
	void *ctx;
	pthread_t thread;
	pid_t tid; /* whom the kernel tells; 0 until it is ready, or its negative errno */
	int signals;
	int inotify;
	int wake; /* something else is to be done: stop, or leave what was asked */
	bool stop;
	const uint32_t *leaving; /* the files that @leave is at work on */
	size_t n_leaving;
	pthread_mutex_t lock;
	pthread_cond_t change; /* of tid and n_leaving */
	struct watch *watches;
	size_t n, cap;
};

/* ---- leases ---- */

/*
 * On a network the client often has no lease to give, whoever has the file open: its refusal tells nothing.
 */
static bool is_remote(int fd)
{
	static const unsigned int remote[] = {NFS_SUPER_MAGIC, SMB_MAGIC_NUMBER, CIFS_MAGIC_NUMBER,
					      SMB2_MAGIC_NUMBER};
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(remote); i++) {
		if ((unsigned int)fs.f_type == remote[i])
			return true;
	}
	return false;
}

static int lease_take(const struct write_guard *g, int fd)
{
	struct f_owner_ex owner = {F_OWNER_TID, g->tid};

	/* whom to tell comes first: without, the kernel enters the process that asks */
	if (fcntl(fd, F_SETOWN_EX, &owner) < 0)
		return -errno;
	return priv_lease(fd);
}

static bool lease_wanted_back(int fd)
{
	return fd >= 0 && fcntl(fd, F_GETLEASE) != F_RDLCK;
}

/* ---- the table ---- */

static struct watch *watch_find(struct write_guard *g, uint32_t number)
{
	for (size_t i = 0; i < g->n; i++) {
		if (g->watches[i].number == number)
			return &g->watches[i];
	}
	return NULL;
}

static struct watch *watch_add(struct write_guard *g, uint32_t number)
{
	struct watch *list = g->watches;

	if (g->n == g->cap) {
		size_t cap = g->cap ? 2 * g->cap : 8;

		list = reallocarray(list, cap, sizeof(list[0]));
		if (!list)
			return NULL;
		g->watches = list;
		g->cap = cap;
	}
	list[g->n] = (struct watch){.number = number, .lease = -1, .inotify = -1};
	return &list[g->n++];
}

/* Takes it out of the table, with what is to be closed when the probes are gone. */
static struct watch watch_take(struct write_guard *g, struct watch *w)
{
	struct watch taken = *w;

	*w = g->watches[--g->n];
	return taken;
}

static void watch_end(struct write_guard *g, struct watch *w)
{
	if (w->inotify >= 0)
		inotify_rm_watch(g->inotify, w->inotify);
	closep(&w->lease);
}

/* ---- the thread ---- */

/* With the lock held, which is let go meanwhile: whoever waits for one of these files to be left can see it. */
static void leave_taken(struct write_guard *g, struct watch *taken, size_t n)
{
	uint32_t numbers[BATCH];

	for (size_t i = 0; i < n; i++)
		numbers[i] = taken[i].number;
	g->leaving = numbers;
	g->n_leaving = n;
	pthread_mutex_unlock(&g->lock);
	g->leave(g->ctx, numbers, n);
	pthread_mutex_lock(&g->lock);
	for (size_t i = 0; i < n; i++)
		watch_end(g, &taken[i]);
	g->n_leaving = 0;
	pthread_cond_broadcast(&g->change);
}

static bool is_leaving(const struct write_guard *g, uint32_t number)
{
	for (size_t i = 0; i < g->n_leaving; i++) {
		if (g->leaving[i] == number)
			return true;
	}
	return false;
}

typedef bool watch_fn(const struct watch *w, int wd);

/* As many as can be left at once of those that @which picks; how many they were. */
static size_t some_leave(struct write_guard *g, watch_fn *which, int wd)
{
	struct watch taken[BATCH];
	size_t n = 0, i = 0;

	while (i < g->n && n < BATCH) {
		if (which(&g->watches[i], wd))
			taken[n++] = watch_take(g, &g->watches[i]);
		else
			i++;
	}
	if (n)
		leave_taken(g, taken, n);
	return n;
}

/* From the beginning after some: the table may have changed. */
static void all_leave(struct write_guard *g, watch_fn *which, int wd)
{
	while (some_leave(g, which, wd))
		;
}

static bool is_wanted_back(const struct watch *w, int wd)
{
	return lease_wanted_back(w->lease);
}

static bool is_asked(const struct watch *w, int wd)
{
	return w->asked;
}

static bool is_changed(const struct watch *w, int wd)
{
	return w->inotify == wd;
}

static bool is_any(const struct watch *w, int wd)
{
	return true;
}

static void changes_read(struct write_guard *g)
{
	_Alignas(struct inotify_event) char buf[EVENTS_BYTES];
	const struct inotify_event *ev;
	ssize_t n = read(g->inotify, buf, sizeof(buf));

	for (ssize_t at = 0; at < n; at += (ssize_t)(sizeof(*ev) + ev->len)) {
		ev = (const void *)(buf + at);
		if (ev->mask & IN_Q_OVERFLOW) {
			all_leave(g, is_any, -1); /* which one is not known */
			return;
		}
		if (ev->mask & IN_MODIFY)
			some_leave(g, is_changed, ev->wd);
	}
}

/* One signal stands for all leases that are wanted back. */
static void signals_read(struct write_guard *g)
{
	struct signalfd_siginfo info[8];

	while (read(g->signals, info, sizeof(info)) > 0)
		;
	all_leave(g, is_wanted_back, -1);
}

/* Some at a time: who wants to write meanwhile comes in between. */
static void asked_look(struct write_guard *g)
{
	eventfd_t count;

	eventfd_read(g->wake, &count);
	if (some_leave(g, is_asked, -1) == BATCH)
		eventfd_write(g->wake, 1);
}

/* Nothing but SIGIO, which is this thread's own, is ever taken here. */
static int thread_prepare(struct write_guard *g)
{
	sigset_t set;

	sigfillset(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGIO);
	g->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return g->signals < 0 ? -errno : 0;
}

static void *guard_main(void *arg)
{
	struct write_guard *g = arg;
	struct pollfd fds[3];
	int r = thread_prepare(g);

	pthread_mutex_lock(&g->lock);
	g->tid = r < 0 ? r : (pid_t)syscall(SYS_gettid);
	pthread_cond_broadcast(&g->change);
	fds[0] = (struct pollfd){.fd = g->signals, .events = POLLIN};
	fds[1] = (struct pollfd){.fd = g->inotify, .events = POLLIN};
	fds[2] = (struct pollfd){.fd = g->wake, .events = POLLIN};
	while (r == 0 && !g->stop) {
		pthread_mutex_unlock(&g->lock);
		poll(fds, ARRAY_SIZE(fds), -1);
		pthread_mutex_lock(&g->lock);
		if (fds[0].revents)
			signals_read(g);
		if (fds[1].revents)
			changes_read(g);
		if (fds[2].revents && !g->stop)
			asked_look(g);
	}
	pthread_mutex_unlock(&g->lock);
	return NULL;
}

/* ---- for the others ---- */

static int thread_start(struct write_guard *g)
{
	pthread_attr_t attr;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, MAX((size_t)STACK_BYTES, (size_t)PTHREAD_STACK_MIN));
	r = -pthread_create(&g->thread, &attr, guard_main, g);
	pthread_attr_destroy(&attr);
	if (r < 0)
		return r;
	pthread_mutex_lock(&g->lock);
	while (!g->tid)
		pthread_cond_wait(&g->change, &g->lock);
	r = MIN(g->tid, 0);
	pthread_mutex_unlock(&g->lock);
	if (r < 0)
		pthread_join(g->thread, NULL);
	return r;
}

static void guard_release(struct write_guard *g)
{
	for (size_t i = 0; i < g->n; i++)
		closep(&g->watches[i].lease);
	free(g->watches);
	closep(&g->signals);
	closep(&g->inotify);
	closep(&g->wake);
	pthread_cond_destroy(&g->change);
	pthread_mutex_destroy(&g->lock);
	free(g);
}

int write_guard_new(write_guard_fn *leave_fn, void *ctx, struct write_guard **ret)
{
	struct write_guard *g = calloc(1, sizeof(*g));
	int r = 0;

	if (!g)
		return -ENOMEM;
	g->leave = leave_fn;
	g->ctx = ctx;
	g->signals = -1;
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->change, NULL);
	g->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK); /* -1: users have few of them */
	g->wake = eventfd(0, EFD_CLOEXEC);
	if (g->wake < 0)
		r = -errno;
	if (r == 0)
		r = thread_start(g);
	if (r < 0) {
		guard_release(g);
		return r;
	}
	*ret = g;
	return 0;
}

void write_guard_free(struct write_guard *g)
{
	if (!g)
		return;
	pthread_mutex_lock(&g->lock);
	g->stop = true;
	pthread_mutex_unlock(&g->lock);
	eventfd_write(g->wake, 1);
	pthread_join(g->thread, NULL);
	guard_release(g);
}

static int notify_take(const struct write_guard *g, int fd)
{
	char path[32];

	if (g->inotify < 0)
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return inotify_add_watch(g->inotify, path, IN_MODIFY);
}

/* With the lock held. */
static int watch_begin(struct write_guard *g, struct watch *w, int fd, enum write_guard_kind *ret)
{
	int r;

	w->lease =
		priv_reopen(fd); /* a lease belongs to a description: nothing else may share it */
	r = w->lease < 0 ? w->lease : lease_take(g, w->lease);
	if (r == -EAGAIN && !is_remote(w->lease))
		return r;
	*ret = WRITE_GUARD_LEASE;
	if (r == 0)
		return 0;
	closep(&w->lease);
	w->lease = -1;
	w->inotify = notify_take(g, fd);
	*ret = w->inotify < 0 ? WRITE_GUARD_NONE : WRITE_GUARD_NOTIFY;
	return 0;
}

int write_guard_watch(struct write_guard *g, int fd, uint32_t number, enum write_guard_kind *ret)
{
	struct watch *w;
	int r = -EEXIST;

	pthread_mutex_lock(&g->lock);
	while (is_leaving(g, number)) /* inotify has one watch for a file, which then ends */
		pthread_cond_wait(&g->change, &g->lock);
	if (!watch_find(g, number)) {
		w = watch_add(g, number);
		r = w ? watch_begin(g, w, fd, ret) : -ENOMEM;
		if (w && r < 0) {
			struct watch taken = watch_take(g, w);

			watch_end(g, &taken);
		}
	}
	pthread_mutex_unlock(&g->lock);
	return r;
}

void write_guard_leave(struct write_guard *g, const uint32_t *numbers, size_t n)
{
	pthread_mutex_lock(&g->lock);
	for (size_t i = 0; i < n; i++) {
		struct watch *w = watch_find(g, numbers[i]);

		if (w)
			w->asked = true;
	}
	pthread_mutex_unlock(&g->lock);
	eventfd_write(g->wake, 1);
}

void write_guard_forget(struct write_guard *g, uint32_t number)
{
	struct watch *w;

	pthread_mutex_lock(&g->lock);
	w = watch_find(g, number);
	if (w) {
		struct watch taken = watch_take(g, w);

		watch_end(g, &taken);
	}
	while (is_leaving(g, number))
		pthread_cond_wait(&g->change, &g->lock);
	pthread_mutex_unlock(&g->lock);
}

bool write_guard_watches(struct write_guard *g, uint32_t number)
{
	bool watched;

	pthread_mutex_lock(&g->lock);
	watched = watch_find(g, number) != NULL;
	pthread_mutex_unlock(&g->lock);
	return watched;
}
