/* SPDX-License-Identifier: MIT */
/*
 * Joins the pieces in which the kernel sends the payload of a long call, of TLS libraries and system
 * calls alike, and names the library in every TLS event. A call whose end never comes is dropped: never is a part shown as the whole.
 */
#ifndef AGENTSIGHT_STAGE_TLS_JOIN_H
#define AGENTSIGHT_STAGE_TLS_JOIN_H

#include <stdint.h>

#include <agentsight/control.h>

#include "event/event.h"

#define TLS_JOIN_CALL_MAX  ((uint64_t)AS_CHUNK_MAX * AS_CHUNKS_MAX)
#define TLS_JOIN_BYTES_MAX (64U << 20) /* all unfinished calls together */
#define TLS_JOIN_CALLS_MAX 256
#define TLS_JOIN_WAIT_NS   2000000000ULL

/* Where an event's `library` comes from; NULL when it is not known. */
struct tls_join_names {
	const char *(*library)(void *source, uint32_t number, uint32_t tgid);
	void *source;
};

struct tls_join_counts {
	uint64_t torn; /* ended by a lost piece: the kernel has counted the call as dropped */
	uint64_t bare; /* complete calls told without their bytes, for lack of room or time */
};

/* Copies @names (may be NULL); its source must outlive the stage. 0 or -ENOMEM. */
int tls_join_new(struct emitter *out, const struct tls_join_names *names, struct stage **ret);

const struct tls_join_counts *tls_join_counts(const struct stage *s);

#endif
