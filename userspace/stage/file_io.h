/* SPDX-License-Identifier: MIT */
/*
 * Reads and writes: turns the kernel's sums per open descriptor into `read` and `write` events. The
 * kernel tells the path behind an opening with its first transfer (FILE_SEEN) and the final sums at
 * its close (FILE_DONE). In between, and when a process ends, the sums are looked up. They never
 * fall, so what is reported is always the difference to what was reported before.
 *
 * Every event but those two is passed on unchanged.
 */
#ifndef AGENTSIGHT_STAGE_FILE_IO_H
#define AGENTSIGHT_STAGE_FILE_IO_H

#include <stdbool.h>
#include <stdint.h>

#include "event/event.h"

#define FILE_IO_MAX        65536 /* openings known at a time; twice the kernel's table */
#define FILE_IO_PATH_BYTES (16 * 1024 * 1024) /* all their paths together */

typedef void file_sums_fn(void *ctx, const struct as_file_key *key,
			  const struct as_file_sums *sums);

/* The kernel's table. */
struct file_sums_ops {
	/* Calls @fn for every entry. 0 or a negative errno. */
	int (*each)(void *source, file_sums_fn *fn, void *ctx);
	/* 0 or -ENOENT. */
	int (*read)(void *source, const struct as_file_key *key, struct as_file_sums *ret);
	void (*remove)(void *source, const struct as_file_key *key);
	/* Does the process still exist? */
	bool (*alive)(void *source, uint32_t tgid);
	void *source;
};

/* [0] for `read`, [1] for `write`. For the ledger, made is produced. */
struct file_io_counts {
	uint64_t made[2];
	uint64_t dropped[2]; /* of these: no memory for the record */
	uint64_t pathless;   /* of these: the path was lost, or there was no room to keep it */
	uint64_t abandoned;  /* openings given up because the kernel no longer knew them */
};

/* Copies @ops; its source must outlive the stage. 0 or -ENOMEM. */
int file_io_new(struct emitter *out, const struct file_sums_ops *ops, struct stage **ret);

const struct file_io_counts *file_io_counts(const struct stage *s);

#endif
