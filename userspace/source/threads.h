/* SPDX-License-Identifier: MIT */
/* Rows of single threads: what each used since the sample before. */
#ifndef AGENTSIGHT_SOURCE_THREADS_H
#define AGENTSIGHT_SOURCE_THREADS_H

#include <stdint.h>

#include <agentsight/task.h>

#include "base/cleanup.h"
#include "event/event.h"

struct threads;

int threads_new(struct threads **ret);
void threads_free(struct threads *t);
DEFINE_FREEP(struct threads *, threads_free)

/* A pass over all threads. @since_ns: who began later is measured from its start. */
void threads_begin(struct threads *t, uint64_t boot_ns, uint64_t since_ns);
void threads_emit(struct threads *t, const struct as_task *task, const struct as_task_more *more,
		  struct emitter *out);
/* Forgets those that were not in the pass. */
void threads_end(struct threads *t);

#endif
