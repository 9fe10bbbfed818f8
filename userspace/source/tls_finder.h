/* SPDX-License-Identifier: MIT */
/*
 * Searches executables and libraries for TLS functions in a thread of its own: a large one takes half a
 * second, in which events go on. What was found is kept on disk by userspace/find.
 */
#ifndef AGENTSIGHT_SOURCE_TLS_FINDER_H
#define AGENTSIGHT_SOURCE_TLS_FINDER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "find/find.h"
#include "source/tls_files.h"
#include "source/tls_sites.h"

struct tls_finder;

/* What is searched, and what comes first: few libraries hold TLS, and a program may talk soon. */
enum tls_find_kind {
	TLS_FIND_SYMBOLS, /* for symbols alone, of which a likely file has many */
	TLS_FIND_LIKELY, /* a program, or a library that says what it is; its symbols told nothing */
	TLS_FIND_LIBRARY, /* any other library, also for symbols */
	N_TLS_FIND_KINDS,
};

/* A search; owned by who holds it. */
struct tls_find {
	struct tls_find *next;
	int fd;
	struct tls_file_key key; /* when it was submitted: what was found is of that content */
	char *path;              /* for people */
	uint32_t tgid;
	enum tls_find_kind kind;
	struct tls_sites
		symbols; /* when there are some, nothing else is searched for. None: n is 0 */
	int result;      /* as find_functions() says, or tls_sites_find() of symbols alone */
	struct find_result found;
};

int tls_finder_new(struct tls_finder **ret);

/* Ends a search under way. */
void tls_finder_free(struct tls_finder *f);
DEFINE_FREEP(struct tls_finder *, tls_finder_free)

/* Queues the file; @fd, @key and @path are copied. -E2BIG when many wait already: ask again later. */
int tls_finder_submit(struct tls_finder *f, enum tls_find_kind kind, int fd,
		      const struct tls_file_key *key, const char *path, uint32_t tgid);

/* A search that is done, or NULL. In the order of submission, the likely ones first. */
struct tls_find *tls_finder_take(struct tls_finder *f);

/* Is anything waiting, being searched, or not taken yet? */
bool tls_finder_busy(struct tls_finder *f);

void tls_find_free(struct tls_find *find);
DEFINE_FREEP(struct tls_find *, tls_find_free)

#endif
