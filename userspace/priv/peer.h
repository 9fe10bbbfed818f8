/* SPDX-License-Identifier: MIT */
/*
 * A process that does for its parent what that one may no longer do itself. It knows a table of services,
 * each with a number; a request is a number, bytes of a bounded length and descriptors, and so is its answer.
 * It ends when its parent does.
 */
#ifndef AGENTSIGHT_PRIV_PEER_H
#define AGENTSIGHT_PRIV_PEER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/err.h"

#define PEER_DATA_MAX (64U << 10)
#define PEER_FDS_MAX  240 /* the kernel passes 253 at once (SCM_MAX_FD) */

/* What is sent: bytes that are borrowed, descriptors that stay the sender's. */
struct peer_request {
	uint32_t service;
	const void *data;
	size_t len;
	const int *fds;
	size_t n_fds;
};

/* What comes back. The descriptors are the receiver's. */
struct peer_answer {
	char *data; /* room for it, NULL: none is wanted */
	size_t cap;
	size_t len;
	int fds[PEER_FDS_MAX];
	size_t n_fds;
};

/*
 * In the peer: does what @rq asks. The answer's `data` has room for PEER_DATA_MAX; descriptors that are put into it
 * are closed once they are sent. Returns 0, a number, or a negative errno, which is peer_call()'s result.
 */
typedef int (*peer_service_fn)(void *ctx, const struct peer_request *rq, struct peer_answer *ret);

/* The request's bytes as text; NULL unless they are one terminated string. */
const char *peer_request_text(const struct peer_request *rq);

struct peer_service {
	peer_service_fn fn; /* NULL: there is no such service */
	void *ctx;
};

struct peer_options {
	const char *name; /* as comm */
	const struct peer_service *services;
	size_t n_services;
	void (*begin)(void *ctx,
		      int fd); /* in the peer, before the first request, which comes through @fd */
	void *ctx;
};

struct peer;

/* Forks. -errno when that is not possible. */
int peer_start(const struct peer_options *opt, struct peer **ret);

/* Waits for the peer's end, which it comes to at once. */
void peer_free(struct peer *p);
DEFINE_FREEP(struct peer *, peer_free)

pid_t peer_pid(const struct peer *p);

/*
 * Asks, and waits for the answer; one thread at a time. @ret may be NULL when neither bytes nor descriptors are
 * expected. -ECONNRESET when the peer is gone, -EMSGSIZE for an answer that does not fit.
 */
int peer_call(struct peer *p, const struct peer_request *rq, struct peer_answer *ret);

#endif
