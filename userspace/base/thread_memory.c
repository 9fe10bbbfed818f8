/* SPDX-License-Identifier: MIT */
#include "base/thread_memory.h"

#include <pthread.h>
#include <stdlib.h>

struct piece {
	struct piece *next;
	max_align_t memory[];
};

static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int key_error;

static void pieces_free(void *first)
{
	struct piece *p = first, *next;

	for (; p; p = next) {
		next = p->next;
		free(p);
	}
}

static void key_make(void)
{
	key_error = pthread_key_create(&key, pieces_free);
}

void *thread_calloc(size_t size)
{
	struct piece *p;

	pthread_once(&once, key_make);
	if (key_error)
		return NULL;
	p = calloc(1, sizeof(*p) + size);
	if (!p)
		return NULL;
	p->next = pthread_getspecific(key);
	if (pthread_setspecific(key, p)) {
		free(p);
		return NULL;
	}
	return p->memory;
}
