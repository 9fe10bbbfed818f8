/* SPDX-License-Identifier: MIT */
/* The file family: loads and attaches its programs, and gives access to the table of sums. */
#ifndef AGENTSIGHT_SOURCE_FILE_H
#define AGENTSIGHT_SOURCE_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "source/bpf.h"

struct file_source;

/* Which front end to use; for tests, FILE_HOOK_BEST otherwise. */
enum file_hook {
	FILE_HOOK_BEST,
	FILE_HOOK_FUNCTIONS,      /* costs other calls and processes nothing */
	FILE_HOOK_SYS_EXIT_TYPED, /* costs every system call */
	FILE_HOOK_SYS_EXIT,
};

/* A hook that was not had is recorded as a capability; an error means that there is none at all. */
int file_source_open(struct bpf_shared *s, enum file_hook hook, struct file_source **ret,
		     struct err *e);
void file_source_free(struct file_source *f);

/* The members of struct file_sums_ops (stage/file_io.h), with a struct file_source as @source. */
int file_source_sums_each(void *source,
			  void (*fn)(void *ctx, const struct as_file_key *key,
				     const struct as_file_sums *sums),
			  void *ctx);
int file_source_sums_read(void *source, const struct as_file_key *key, struct as_file_sums *ret);
void file_source_sums_remove(void *source, const struct as_file_key *key);
bool file_source_alive(void *source, uint32_t tgid);

#endif
