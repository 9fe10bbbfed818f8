/* SPDX-License-Identifier: MIT */
/*
 * Recordings, as plain text or compressed with gzip or zstd, read as a stream: memory does not grow with
 * their length. What cannot be used is counted and passed over.
 */
#ifndef AGENTSIGHT_STATS_READ_H
#define AGENTSIGHT_STATS_READ_H

#include "base/err.h"
#include "stats/stats.h"

struct stats_input {
	uint64_t files;
	uint64_t bytes; /* after decompression */
	uint64_t lines;
	uint64_t used;       /* lines that said something */
	uint64_t bad;        /* no JSON, cut off, or not of a recording */
	uint64_t long_lines; /* beyond 8 MiB: passed over */
	uint64_t first_bad;  /* number of the line, from 1 */
	uint64_t broken;     /* files whose compression ended early or is damaged */
};

/*
 * Reads all files into @s, oldest first, whatever order they are named in: the rotated files of a recording
 * belong together. "-" is standard input. A file that cannot be read is an error, with a sentence.
 * Ends with stats_finish().
 */
int stats_read(struct stats *s, char *const *paths, size_t n, struct stats_input *ret,
	       struct err *e);

/* The same for text in memory, for tests. */
int stats_read_text(struct stats *s, const char *p, size_t n, struct stats_input *ret);

#endif
