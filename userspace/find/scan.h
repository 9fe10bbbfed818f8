/* SPDX-License-Identifier: MIT */
/*
 * The passes over a whole executable: anchors in its read-only data, then references to them in its code,
 * then direct calls to where those references are. Each pass looks for everything at once.
 */
#ifndef AGENTSIGHT_FIND_SCAN_H
#define AGENTSIGHT_FIND_SCAN_H

#include <stddef.h>
#include <stdint.h>

#include "find/image.h"

/* What to look for in data. */
enum anchor {
	ANCHOR_SSL_LIB, /* a path of BoringSSL's or AWS-LC's ssl_lib.c */
	ANCHOR_AEAD,    /* a path of their cipher/aead.c */
	ANCHOR_OPENSSL, /* "OpenSSL 3.5.5 27 Jan 2026" */
	ANCHOR_READ,    /* names of functions that OpenSSL 3 keeps for its error queue */
	ANCHOR_WRITE,
	ANCHOR_HANDSHAKE,
	ANCHOR_NSS,     /* the name of a variable of the environment that NSS's TLS library reads */
	ANCHOR_VERSION, /* "3.0.22", as OpenSSL's providers state it, and others */
	ANCHOR_RING,    /* what may be ring's table for AES-256-GCM */
	ANCHOR_GO,      /* the header of Go's table of functions */
	N_ANCHORS,
};

#define HITS_MAX    64   /* of one anchor: identical strings, and what looks like a table */
#define TEXT_MAX    128  /* of a hit's text that is kept */
#define REFS_MAX    1024 /* a file with more references is not one that was seen */
#define TARGETS_MAX (1U << 20)

/*
 * ring's `struct Algorithm`: pointers to init, seal and open, key_len: usize, id: u8. Padding behind the id is
 * zero in all builds seen.
 */
#define RING_KEY_LEN 24
#define RING_SIZE    40

struct hit {
	uint64_t vaddr;      /* of the first byte of the string or table */
	char text[TEXT_MAX]; /* the string, cut if it is longer; "" for tables */
};

struct hits {
	size_t n[N_ANCHORS];
	struct hit of[N_ANCHORS][HITS_MAX];
};

/* An instruction that puts the address of an anchor's string into a register. */
struct ref {
	uint64_t vaddr; /* of the instruction */
	enum anchor anchor;
	uint32_t hit;
};

struct refs {
	size_t n;
	size_t cap;
	struct ref *refs; /* by address */
};

/* Direct calls into the neighbourhood of references. */
struct target {
	uint64_t vaddr;
	uint64_t callers;
};

struct targets {
	size_t n;
	size_t cap;
	struct target *targets; /* by address, each once */
};

/* More hits than HITS_MAX of one anchor are not kept; the count says so by being HITS_MAX. */
int scan_anchors(struct image *im, struct hits *ret);
int scan_refs(struct image *im, const struct hits *hits, struct refs *ret);
int scan_targets(struct image *im, const struct refs *refs, struct targets *ret);

/* Not what is called but where @vaddr is called from, directly: addresses of instructions, or what looks like them. */
int scan_callers(struct image *im, uint64_t vaddr, struct targets *ret);

/* The target at @vaddr or the last one before it; NULL when there is none. */
const struct target *targets_before(const struct targets *t, uint64_t vaddr);

static inline void refs_done(struct refs *r)
{
	free(r->refs);
	*r = (struct refs){};
}

static inline void targets_done(struct targets *t)
{
	free(t->targets);
	*t = (struct targets){};
}

#endif
