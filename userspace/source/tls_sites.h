/* SPDX-License-Identifier: MIT */
/*
 * Where to put uprobes in a file to see the plaintext of its TLS. A table of finders is tried in order;
 * each knows one way to recognise a TLS library. A finder answers only when it is sure: a probe in the
 * wrong function would record nonsense silently.
 */
#ifndef AGENTSIGHT_SOURCE_TLS_SITES_H
#define AGENTSIGHT_SOURCE_TLS_SITES_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define TLS_SITES_MAX  16
#define TLS_COVERS_MAX 64

enum tls_family {
	TLS_NONE,
	TLS_OPENSSL, /* OpenSSL 1.1 and 3, and libraries with the same functions */
	TLS_GNUTLS,
};

enum tls_kind {
	TLS_READ,
	TLS_WRITE,
	TLS_HANDSHAKE,
	TLS_SNI,
	TLS_ALPN,
	TLS_SENDFILE,
	TLS_FREE,
};

/* How the probed function takes its arguments and tells the count of bytes. */
enum tls_shape {
	TLS_SHAPE_RET_INT, /* (ssl, buf, num): returns the count when > 0; handshake: 1 is success */
	TLS_SHAPE_COUNT_ARG4, /* (ssl, buf, num, size_t *count): returns 1 on success */
	TLS_SHAPE_COUNT_ARG5, /* (ssl, buf, num, flags, size_t *count): returns 1 on success */
	TLS_SHAPE_CTRL,       /* (ssl, cmd, larg, parg): cmd 55 sets the server name to parg */
	TLS_SHAPE_RET_SSIZE,  /* (session, buf, size_t num): returns the count as a long when > 0;
				handshake: 0 is success; server name: (session, 1, name, len);
				protocol: (session, {text, unsigned len} *), 0 is success, and
				(ssl, **text, unsigned *len) where the shape is RET_INT;
				sendfile: (ssl, fd, offset, size_t num, flags) */
};

/* Decides the price of a hit: about 0.6 us for an emulated instruction, 9 us for a stepped one. */
enum tls_place {
	TLS_PLACE_ENTRY,      /* at the symbol: its first instruction is one the kernel emulates */
	TLS_PLACE_ENDBR,      /* behind endbr64; stack and registers are still those of the entry */
	TLS_PLACE_INTERNAL,   /* in the function that the exported wrappers share */
	TLS_PLACE_ENTRY_SLOW, /* at the symbol: right, but single-stepped at every call */
	TLS_PLACE_INTERNAL_SLOW, /* in the shared function, single-stepped like the wrappers */
};

struct tls_site {
	enum tls_kind kind;
	enum tls_shape shape;
	enum tls_place place;
	const char *function; /* name for events; static */
	uint64_t offset;      /* in the file: what a uprobe takes */
	uint64_t vaddr;       /* for people with a disassembler */
	char covers
		[TLS_COVERS_MAX]; /* the API functions whose calls arrive here, space-separated */
};

struct tls_sites {
	enum tls_family family;
	const char *finder; /* which one answered; static */
	/*
	 * Where a session's object has the negotiated protocol, as a pointer and a length behind it: 0 when the
	 * function that returns it does not show that.
	 */
	uint16_t alpn_at;
	const char *
		version; /* a hint for people, such as "OpenSSL 3.3 or later"; static, never NULL */
	size_t n;
	struct tls_site sites[TLS_SITES_MAX];
};

/* Is this a file that tls_sites_find() could search? @e tells why not. @fd is borrowed. */
int tls_sites_check(int fd, struct err *e);

/*
 * 0 with at least one read and one write site; -ENOENT when no finder recognises a TLS library; another
 * errno when the file cannot be read or is damaged. @e (may be NULL) tells why. @fd is borrowed.
 */
int tls_sites_find(int fd, struct tls_sites *ret, struct err *e);

/* The same where it takes a millisecond at most, which it does for TLS libraries themselves; else -E2BIG. */
int tls_sites_glance(int fd, struct tls_sites *ret, struct err *e);

const char *tls_place_name(enum tls_place place);

#endif
