/* SPDX-License-Identifier: MIT */
/* Memory that goes with its thread. */
#ifndef AGENTSIGHT_BASE_THREAD_MEMORY_H
#define AGENTSIGHT_BASE_THREAD_MEMORY_H

#include <stddef.h>

/*
 * @size zeroed bytes that are freed when the calling thread ends, or NULL. For what is too large to be
 * _Thread_local: that is cleared, and thus resident, in every thread, also in those that never use it.
 */
void *thread_calloc(size_t size);

#endif
