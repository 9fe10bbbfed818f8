/* SPDX-License-Identifier: MIT */
/* Giving privileges up: the user, the capabilities, and the system calls that are left. */
#ifndef AGENTSIGHT_PRIV_SANDBOX_H
#define AGENTSIGHT_PRIV_SANDBOX_H

#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* Whom the core becomes: the account "agentsight" where there is one, else nobody. */
struct identity {
	uid_t uid;
	gid_t gid;
};

void sandbox_identity(struct identity *ret);

/* Younger than some C libraries' headers (Linux 5.8, 5.9). */
#ifndef CAP_PERFMON
#define CAP_PERFMON 38
#define CAP_BPF     39
#endif
#ifndef CAP_CHECKPOINT_RESTORE
#define CAP_CHECKPOINT_RESTORE 40
#endif

/* The permitted capabilities of this thread, as a mask. */
int sandbox_permitted(uint64_t *ret);

/*
 * Runs @try as @id would, without capabilities but those of @keep, in this thread only, and comes back. Its result,
 * or why that is not possible.
 */
int sandbox_try(const struct identity *id, int (*try)(void *ctx), void *ctx);

/*
 * All threads become @id, without capabilities, as far as the kernel takes them from those of another user than root; this
 * one keeps those of @keep.
 */
int sandbox_become(const struct identity *id, uint64_t keep, struct err *e);

/* This process, of one thread, keeps the capabilities of @keep, for itself and for what it may start. */
int sandbox_limit(uint64_t keep);

/* What the kernel says of a process: of its threads, the most that one of them can do. */
struct sandbox_state {
	uint32_t uid;
	uint64_t effective, permitted;
	bool no_new_privs, filtered;
};

int sandbox_read(pid_t pid, struct sandbox_state *ret);

/* "no capability", "SYS_PTRACE BPF" */
void sandbox_describe(uint64_t caps, char *out, size_t cap);

enum sandbox_role {
	SANDBOX_CORE,
	SANDBOX_BROKER,
};

/*
 * From now on all threads can make the system calls of @role, and get no privilege by execve(); others fail with
 * EPERM. @devices: any ioctl().
 */
int sandbox_filter(enum sandbox_role role, bool devices, struct err *e);

#endif
