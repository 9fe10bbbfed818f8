/* SPDX-License-Identifier: MIT */
/*
 * Where the functions of TLS libraries are in an executable that has no symbols for them: by structure, never
 * by byte patterns, and refusing rather than guessing, because a probe in the wrong function records
 * nonsense silently. Knows nothing about probes; it may be called from any thread and takes about as long as
 * reading the file takes.
 */
#ifndef AGENTSIGHT_FIND_FIND_H
#define AGENTSIGHT_FIND_FIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "find/image.h"

#define FIND_SITES_MAX     128 /* Go has one site per return instruction */
#define FIND_LIBRARIES_MAX 8
#define FIND_CODE          16 /* bytes of code at a site, to recognise it again */

enum find_function {
	FIND_WRITE,     /* SSL_write, crypto/tls.(*Conn).Write */
	FIND_READ,      /* SSL_read, crypto/tls.(*Conn).Read */
	FIND_HANDSHAKE, /* SSL_do_handshake */
	FIND_SEAL,      /* the AEAD below TLS: encrypts a record */
	FIND_OPEN,      /* decrypts a record */
	N_FIND_FUNCTIONS,
};

/* How the arguments come and the result goes. Registers are those of the System V ABI unless Go says. */
enum find_shape {
	/* (ssl, buf, num): returns the count when > 0; handshake: 1 is success */
	FIND_SHAPE_RET_INT,
	/* (socket, buf, num, flags): as ret-int; nothing when the flags say that it only peeks */
	FIND_SHAPE_RET_INT_FLAGS,
	/* (ssl, buf, num, size_t *count): returns 1 on success */
	FIND_SHAPE_COUNT_ARG4,
	/* (ssl, buf, num, flags, size_t *count): returns 1 on success */
	FIND_SHAPE_COUNT_ARG5,
	/* (ctx, out, *out_len, max_out, nonce, nonce_len, in, in_len, ad, ad_len): 1 on success */
	FIND_SHAPE_AEAD,
	/* seal: (ctx, out, tag, *tag_len, max_tag, nonce, nonce_len, in, in_len, extra, extra_len, ad, ad_len) */
	FIND_SHAPE_AEAD_SCATTER,
	/* open: (ctx, out, nonce, nonce_len, in, in_len, tag, tag_len, ad, ad_len) */
	FIND_SHAPE_AEAD_GATHER,
	/* (result, key, nonce, aad, aad_len, buf, [buf_len, open: src.start]): in place */
	FIND_SHAPE_RING,
	/* rax conn, rbx buf, rcx len, r14 goroutine */
	FIND_SHAPE_GO_ENTRY,
	/* a return instruction: rax count, rbx error, r14 goroutine */
	FIND_SHAPE_GO_RETURN,
	N_FIND_SHAPES,
};

struct find_site {
	enum find_function function;
	enum find_shape shape;
	uint8_t library; /* index into the result's libraries */
	uint64_t
		offset; /* in the file: what a uprobe takes; behind endbr64 where the function has one */
	uint64_t vaddr;          /* of the same, for people with a disassembler */
	uint8_t code[FIND_CODE]; /* what stands there, shorter ends are zero */
};

/*
 * aead sites may nest: EVP_AEAD_CTX_open calls EVP_AEAD_CTX_open_gather in some builds, so only the outermost
 * call of a thread is to be taken.
 */
struct find_library {
	const char *name;   /* "BoringSSL", "OpenSSL", ...; static */
	const char *method; /* how its functions were recognised; static */
	char version[32];   /* as the file says it, or "" */
};

struct find_result {
	size_t n;
	struct find_site *sites;
	size_t n_libraries;
	struct find_library libraries[FIND_LIBRARIES_MAX];
	struct image_id id;
	bool cached; /* the sites come from the cache */
	char reason
		[512]; /* why nothing, or what is missing or was ambiguous; "" when all is well */
};

struct find_table;

struct find_options {
	const struct find_table *table; /* known executables, see find/table.h; may be NULL */
	const char *cache;              /* directory, see find/cache.h; NULL: no cache */
	const _Atomic(bool) *stop;      /* ends the search with -ECANCELED; may be NULL */
};

/*
 * 0 with at least one site; -ENOENT when there is no library that could be recognised, with the reason in
 * @ret; another errno, with a reason, when the file cannot be read or is damaged. @ret is to be released in any
 * case. @fd is borrowed; @options may be NULL.
 */
int find_functions(int fd, const struct find_options *options, struct find_result *ret);
void find_result_done(struct find_result *result);

/* For people: one line per library and per site, or the reason. */
void find_result_print(const struct find_result *result, FILE *out);

/* The names used in tables and caches; -EINVAL for an unknown name. */
const char *find_function_name(enum find_function function);
const char *find_shape_name(enum find_shape shape);
int find_function_parse(const char *name, enum find_function *ret);
int find_shape_parse(const char *name, enum find_shape *ret);

#endif
