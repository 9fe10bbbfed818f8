/* SPDX-License-Identifier: MIT */
/*
 * Lines to a descriptor from a thread of its own, so that a slow disk or a blocked pipe never stalls
 * the reader of the rings. The queue between is bounded; what does not fit is dropped, and counted
 * by event type. Files rotate and reopen between lines, and never end in half a line: what an
 * error cut off is taken back.
 */
#ifndef AGENTSIGHT_SINK_WRITER_H
#define AGENTSIGHT_SINK_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <agentsight/events.h>

#include "base/buf.h"
#include "base/err.h"

struct writer_options {
	const char *path;     /* NULL: standard output */
	size_t rotate_bytes;  /* 0: never */
	unsigned rotate_keep; /* old files that are kept: path.1 is the newest */
	size_t queue_bytes;   /* 0: 32 MiB */
	bool threaded; /* only the thread writes, which SIGPIPE does not reach: the caller does not ignore it */
	void (*on_closed)(void *); /* the reader of a pipe went away; called from the thread */
	void (*on_opened)(void *); /* writer_reopen() found another one; called from the thread */
	void *context;
};

struct writer;

/*
 * Opens the output: a file with mode 0600, owned by the user who called sudo, never through a symbolic
 * link, never a file of another user and never anything but a regular file, pipe or terminal. -ELOOP, -EACCES, … with a sentence.
 * The caller ignores SIGPIPE, unless `threaded`.
 */
int writer_open(const struct writer_options *opt, struct writer **ret, struct err *e);

/*
 * Appends a line of an event of @type. Waits for the thread only while its queue is half full, it moves
 * on, and not longer than 10 ms between two flushes. An event that this output does not show is appended
 * as no bytes at all, and counted as delivered.
 */
void writer_append(struct writer *w, unsigned type, const char *line, size_t len);

/*
 * The same for a line that is made where it is to lie: behind what the buffer holds, by appending to it, between the two.
 * @expected bytes are there, and it may take more. NULL without memory: then there is nothing to end, and the caller
 * drops the event. A line whose buffer `failed` is dropped and counted. In between the writer is left alone.
 */
struct buf *writer_begin(struct writer *w, size_t expected);
void writer_end(struct writer *w, unsigned type);

/* Counts an event of @type that could not be made into a line. */
void writer_drop(struct writer *w, unsigned type);

/*
 * Hands what was appended to the thread, or writes it where that cannot block. Never blocks. A regular
 * file has it within 50 ms.
 */
void writer_flush(struct writer *w);

/*
 * Waits until all is written. After @stall_ms without progress it gives up: what is left counts as
 * dropped, so that appended = delivered + dropped holds afterwards, and it returns false.
 */
bool writer_sync(struct writer *w, unsigned stall_ms);

/* Gives back the memory that is kept for lines that may come. */
void writer_trim(struct writer *w);

/* Opens the path anew (SIGHUP). */
void writer_reopen(struct writer *w);

/* A regular file: nobody waits for the next line. As opened. */
bool writer_is_regular(const struct writer *w);

struct writer_counts {
	uint64_t delivered[AS_EV_COUNT];
	uint64_t dropped[AS_EV_COUNT];
	uint64_t bytes;
};

void writer_counts(struct writer *w, struct writer_counts *ret);

/* Stops the thread; what is still queued is lost, so sync first. */
void writer_free(struct writer *w);

#endif
