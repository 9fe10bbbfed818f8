/* SPDX-License-Identifier: MIT */
/*
 * Tells who is about to write into a file, before the first byte is written. A breakpoint belongs to a place
 * in a file: if other code comes there, every program that is started with it crashes, until the probe is
 * gone. So a probed file is leased: whoever opens it for writing or cuts it is held by the kernel until the
 * lease is given back, for /proc/sys/fs/lease-break-time (45 s) at most, or gets EWOULDBLOCK if he asked
 * not to wait.
 *
 * The guard has a thread of its own, because the writer waits for it, however busy the rest is.
 *
 * Where a file system has no leases, its changes are told by inotify: after the first write.
 */
#ifndef AGENTSIGHT_SOURCE_WRITE_GUARD_H
#define AGENTSIGHT_SOURCE_WRITE_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"

struct write_guard;

/* How a file is guarded. */
enum write_guard_kind {
	WRITE_GUARD_LEASE,  /* the writer waits */
	WRITE_GUARD_NOTIFY, /* the write is seen when it has begun */
	WRITE_GUARD_NONE,   /* neither works there */
};

/*
 * Takes the probes out of the files @numbers; called in the guard's thread, once for each watch. When it returns, the
 * writer goes on. It must not call the guard.
 */
typedef void write_guard_fn(void *ctx, const uint32_t *numbers, size_t n);

int write_guard_new(write_guard_fn *leave, void *ctx, struct write_guard **ret);

/* Ends the thread; what it was doing is finished first. All leases are given back. */
void write_guard_free(struct write_guard *g);
DEFINE_FREEP(struct write_guard *, write_guard_free)

/*
 * From now on until @leave has been called for it, or until write_guard_forget(). @fd is not kept. -EAGAIN when
 * somebody has the file open for writing at this moment; -EEXIST when @number is watched already. While it is being left
 * this waits.
 */
int write_guard_watch(struct write_guard *g, int fd, uint32_t number, enum write_guard_kind *ret);

/*
 * Has them left soon, as if somebody wanted to write, many at a time: the wait for the kernel that each costs is then the
 * same one. Who is not watched is passed over.
 */
void write_guard_leave(struct write_guard *g, const uint32_t *numbers, size_t n);

/* The file is not probed any more. Afterwards @leave is not called for it, and no call of it is under way. */
void write_guard_forget(struct write_guard *g, uint32_t number);

/* Is @number watched? Not any more, once its @leave has begun. */
bool write_guard_watches(struct write_guard *g, uint32_t number);

#endif
