/* SPDX-License-Identifier: MIT */
/* What the finders of the single libraries share. Each adds its library and sites, or says why not. */
#ifndef AGENTSIGHT_FIND_LIBRARY_H
#define AGENTSIGHT_FIND_LIBRARY_H

#include "find/find.h"
#include "find/function.h"
#include "find/image.h"
#include "find/scan.h"

struct search {
	struct image *im;
	struct hits hits;
	struct refs refs;
	struct targets targets;
	struct find_result *result;
};

/*
 * 0 whether the library is there or not; what looked like one and could not be proven is told by
 * find_refuse(). An errno only when the file cannot be read.
 */
int find_boringssl(struct search *s);
int find_openssl(struct search *s);
int find_nss(struct search *s);
int find_aead(struct search *s);
int find_ring(struct search *s);
int find_golang(struct search *s);

/* Adds a sentence to the reason. */
__attribute__((format(printf, 2, 3))) void find_refuse(struct find_result *result, const char *fmt,
						       ...);

enum library {
	LIBRARY_BORINGSSL,
	LIBRARY_OPENSSL,
	LIBRARY_NSS,
	LIBRARY_AWS_LC,
	LIBRARY_RING,
	LIBRARY_GO,
	LIBRARY_TABLE, /* whatever a line of the table of known executables is about */
	N_LIBRARIES,
};

/* Sites that follow belong to it. -E2BIG when there are too many. */
int find_library_add(struct find_result *result, enum library library, const char *version);
int find_library_parse(const char *name, enum library *ret);

/* Drops all libraries and sites, keeps the reason. */
void find_sites_clear(struct find_result *result);

/* Of the library added last, at exactly this file offset. -ENOENT when that is not in code. */
int find_offset_add(struct find_result *result, struct image *im, enum find_function function,
		    enum find_shape shape, uint64_t offset);

/* As find_offset_add(), but from a function's address, and behind endbr64. */
int find_site_add(struct find_result *result, struct image *im, enum find_function function,
		  enum find_shape shape, uint64_t vaddr);

#endif
