/* SPDX-License-Identifier: MIT */
/*
 * The files that are probed, and which of them nobody uses any more: a table whose places are used again. It
 * attaches and detaches nothing itself.
 *
 * Nobody tells when the last process lets go of a file. It is seen by looking at all of them, one after the other: a
 * round. What two rounds in a row saw nobody use is idle; one could have overlooked a process that began meanwhile
 * with what it inherited from one that has ended. Idle files are given back when they are deleted, whose room on the
 * disk we would keep, when they have been idle for an hour, and the longest unused ones when the table fills up.
 */
#ifndef AGENTSIGHT_SOURCE_TLS_FILES_H
#define AGENTSIGHT_SOURCE_TLS_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "source/tls_attach.h"

/* A file as stat() sees it: the same key is the same content. */
struct tls_file_key {
	uint64_t dev;
	uint64_t ino;
	uint64_t mtime_ns;
	uint64_t size;
};

struct tls_file_key tls_file_key_of(const struct stat *st);

/* Whether its probes are being taken out, which happens in the guard's thread. */
enum tls_leave {
	TLS_STAYS,
	TLS_LEAVING,
	TLS_LEFT, /* and nobody has taken notice yet */
};

struct tls_file {
	struct tls_file_key key;
	uint32_t number; /* what events call it */
	int fd;          /* stays open: names the inode for attaching, and shows changes */
	char *path;      /* as first seen; what capabilities and events say */
	struct tls_links links[2]; /* of functions with symbols, of those found without */
	enum tls_leave leave;
	unsigned int reports;
	bool calls;   /* its functions have symbols, which are better than what is found without */
	bool waiting; /* for its writer to close it, or for its time */
	bool touched; /* its times are others, and its probes are to be taken out for that */
	uint64_t touch_pause_ns, touch_due_ns; /* how long it waits then, and until when */
	bool unsearched; /* for the functions without symbols: others had to be searched first */
	bool expected;   /* probed before anybody uses it: the system's, or named by the user */
	bool deleted;
	bool giving; /* back: as soon as its probes are out */

	/* the table's own */
	bool taken;
	bool seen; /* in this round */
	unsigned int unseen;
	uint64_t used_ns, freed_ns;
};

struct tls_files;

/* Room for @max files, of up to 65535. */
int tls_files_new(size_t max, struct tls_files **ret);

/* Closes descriptors; the files' links are to be detached before. */
void tls_files_free(struct tls_files *fs);
DEFINE_FREEP(struct tls_files *, tls_files_free)

/*
 * @path and @fd are copied. -ENOSPC when all places are taken. A number is given to another file only when the place
 * has been used some hundred times since.
 */
int tls_files_add(struct tls_files *fs, const struct tls_file_key *key, int fd, const char *path,
		  uint64_t now_ns, struct tls_file **ret);

/* Frees its place; its probes are out. */
void tls_files_remove(struct tls_files *fs, struct tls_file *f, uint64_t now_ns);

size_t tls_files_count(const struct tls_files *fs);

/* The first one behind @f, or of all with NULL; NULL behind the last one. */
struct tls_file *tls_files_next(struct tls_files *fs, const struct tls_file *f);
struct tls_file *tls_files_find(struct tls_files *fs, uint64_t dev, uint64_t ino);

/* Also one that has been given back, for events that come late, until its place is taken. */
struct tls_file *tls_files_number(struct tls_files *fs, uint32_t number);

/*
 * Somebody has a file with this inode number mapped. Whatever its device: those of overlay and of subvolumes differ by
 * who tells them.
 */
void tls_files_use(struct tls_files *fs, uint64_t ino, uint64_t now_ns);

/* Somebody has called a function of this one. */
void tls_file_called(struct tls_file *f, uint64_t now_ns);

/* Is there something that may be given back, and was the last round long enough ago? */
bool tls_files_round_due(const struct tls_files *fs, uint64_t now_ns);

/*
 * Between these two, tls_files_use() is called for all that processes have mapped. Returns how many of @ret are to be
 * given back; they are marked. @blind: of some process nobody may tell us; it shows by what it calls, and is given
 * longer. tls_files_round_void() instead when something went wrong.
 */
void tls_files_round_begin(struct tls_files *fs);
size_t tls_files_round_end(struct tls_files *fs, uint64_t now_ns, bool blind, struct tls_file **ret,
			   size_t max);
void tls_files_round_void(struct tls_files *fs, uint64_t now_ns);

#endif
