/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The system calls of the file family: their numbers, and where the arguments that matter stand.
 * Supporting another processor means another list of numbers.
 */
#ifndef AGENTSIGHT_BPF_FILE_CALLS_H
#define AGENTSIGHT_BPF_FILE_CALLS_H

#include "caller.bpf.h"

enum call_kind {
	CALL_NONE,
	CALL_OPEN,
	CALL_CREAT,
	CALL_OPENAT2,
	CALL_OP,       /* changes names or attributes: struct as_file_op */
	CALL_TRANSFER, /* moves bytes */
	CALL_CLOSE,
	CALL_CLOSE_RANGE,
};

/* Members that name an argument count from 1, as manual pages do; 0 means that there is none. */
struct call {
	__u8 kind;
	__u8 type; /* enum as_event_type, for CALL_OP */
	__u8 fd; /* directory, or the file itself if there is no path; what is read from or closed */
	__u8 path;
	__u8 new_fd; /* the same for the second path; what is written to */
	__u8 new_path;
	__u8 extra; /* open flags, mode, length, struct open_how */
	__u8 flags; /* AT_REMOVEDIR, RENAME_EXCHANGE */
};

#define CALLS_MAX 512 /* numbers from here on are of no interest */

#define OPEN(...)                              \
	{                                      \
		.kind = CALL_OPEN, __VA_ARGS__ \
	}
#define OP(name, ...)                                                   \
	{                                                               \
		.kind = CALL_OP, .type = AS_EV_FILE_##name, __VA_ARGS__ \
	}
#define RENAMES(...) OP(RENAME, .fd = 1, .path = 2, .new_fd = 3, .new_path = 4, __VA_ARGS__)
#define READS()                                \
	{                                      \
		.kind = CALL_TRANSFER, .fd = 1 \
	}
#define WRITES()                                   \
	{                                          \
		.kind = CALL_TRANSFER, .new_fd = 1 \
	}
#define COPIES(from, to)                                        \
	{                                                       \
		.kind = CALL_TRANSFER, .fd = from, .new_fd = to \
	}
#define CLOSES(which)                           \
	{                                       \
		.kind = CALL_CLOSE, .fd = which \
	}

#if defined(__TARGET_ARCH_arm64)

static const volatile struct call calls[CALLS_MAX] = {
	[24] = CLOSES(2),                                                /* dup3 */
	[34] = OP(MKDIR, .fd = 1, .path = 2, .extra = 3),                /* mkdirat */
	[35] = OP(UNLINK, .fd = 1, .path = 2, .flags = 3),               /* unlinkat */
	[36] = OP(SYMLINK, .fd = 2, .path = 3, .new_path = 1),           /* symlinkat */
	[37] = OP(LINK, .fd = 1, .path = 2, .new_fd = 3, .new_path = 4), /* linkat */
	[38] = RENAMES(),                                                /* renameat */
	[45] = OP(TRUNCATE, .path = 1, .extra = 2),                      /* truncate */
	[46] = OP(TRUNCATE, .fd = 1, .extra = 2),                        /* ftruncate */
	[52] = OP(CHMOD, .fd = 1, .extra = 2),                           /* fchmod */
	[53] = OP(CHMOD, .fd = 1, .path = 2, .extra = 3),                /* fchmodat */
	[56] = OPEN(.fd = 1, .path = 2, .extra = 3),                     /* openat */
	[57] = CLOSES(1),                                                /* close */
	[63] = READS(),                                                  /* read */
	[64] = WRITES(),                                                 /* write */
	[65] = READS(),                                                  /* readv */
	[66] = WRITES(),                                                 /* writev */
	[67] = READS(),                                                  /* pread64 */
	[68] = WRITES(),                                                 /* pwrite64 */
	[69] = READS(),                                                  /* preadv */
	[70] = WRITES(),                                                 /* pwritev */
	[71] = COPIES(2, 1),                                             /* sendfile */
	[76] = COPIES(1, 3),                                             /* splice */
	[276] = RENAMES(.flags = 5),                                     /* renameat2 */
	[285] = COPIES(1, 3),                                            /* copy_file_range */
	[286] = READS(),                                                 /* preadv2 */
	[287] = WRITES(),                                                /* pwritev2 */
	[436] = {.kind = CALL_CLOSE_RANGE, .fd = 1, .extra = 2},         /* close_range */
	[437] = {.kind = CALL_OPENAT2, .fd = 1, .path = 2, .extra = 3},  /* openat2 */
	[452] = OP(CHMOD, .fd = 1, .path = 2, .extra = 3),               /* fchmodat2 */
};

#else

static const volatile struct call calls[CALLS_MAX] = {
	[0] = READS(),                                                    /* read */
	[1] = WRITES(),                                                   /* write */
	[2] = OPEN(.path = 1, .extra = 2),                                /* open */
	[3] = CLOSES(1),                                                  /* close */
	[17] = READS(),                                                   /* pread64 */
	[18] = WRITES(),                                                  /* pwrite64 */
	[19] = READS(),                                                   /* readv */
	[20] = WRITES(),                                                  /* writev */
	[33] = CLOSES(2),                                                 /* dup2 */
	[40] = COPIES(2, 1),                                              /* sendfile */
	[76] = OP(TRUNCATE, .path = 1, .extra = 2),                       /* truncate */
	[77] = OP(TRUNCATE, .fd = 1, .extra = 2),                         /* ftruncate */
	[82] = OP(RENAME, .path = 1, .new_path = 2),                      /* rename */
	[83] = OP(MKDIR, .path = 1, .extra = 2),                          /* mkdir */
	[84] = OP(RMDIR, .path = 1),                                      /* rmdir */
	[85] = {.kind = CALL_CREAT, .path = 1, .extra = 2},               /* creat */
	[86] = OP(LINK, .path = 1, .new_path = 2),                        /* link */
	[87] = OP(UNLINK, .path = 1),                                     /* unlink */
	[88] = OP(SYMLINK, .path = 2, .new_path = 1),                     /* symlink */
	[90] = OP(CHMOD, .path = 1, .extra = 2),                          /* chmod */
	[91] = OP(CHMOD, .fd = 1, .extra = 2),                            /* fchmod */
	[257] = OPEN(.fd = 1, .path = 2, .extra = 3),                     /* openat */
	[258] = OP(MKDIR, .fd = 1, .path = 2, .extra = 3),                /* mkdirat */
	[263] = OP(UNLINK, .fd = 1, .path = 2, .flags = 3),               /* unlinkat */
	[264] = RENAMES(),                                                /* renameat */
	[265] = OP(LINK, .fd = 1, .path = 2, .new_fd = 3, .new_path = 4), /* linkat */
	[266] = OP(SYMLINK, .fd = 2, .path = 3, .new_path = 1),           /* symlinkat */
	[268] = OP(CHMOD, .fd = 1, .path = 2, .extra = 3),                /* fchmodat */
	[275] = COPIES(1, 3),                                             /* splice */
	[292] = CLOSES(2),                                                /* dup3 */
	[295] = READS(),                                                  /* preadv */
	[296] = WRITES(),                                                 /* pwritev */
	[316] = RENAMES(.flags = 5),                                      /* renameat2 */
	[326] = COPIES(1, 3),                                             /* copy_file_range */
	[327] = READS(),                                                  /* preadv2 */
	[328] = WRITES(),                                                 /* pwritev2 */
	[436] = {.kind = CALL_CLOSE_RANGE, .fd = 1, .extra = 2},          /* close_range */
	[437] = {.kind = CALL_OPENAT2, .fd = 1, .path = 2, .extra = 3},   /* openat2 */
	[452] = OP(CHMOD, .fd = 1, .path = 2, .extra = 3),                /* fchmodat2 */
};

#endif

#undef OPEN
#undef OP
#undef RENAMES
#undef READS
#undef WRITES
#undef COPIES
#undef CLOSES

/* A call that ended: what stood in the user's registers when it began, and its result. */
struct ended {
	__u64 nr;
	__u64 arg[5];
	long ret;
};

/* For a pointer that the kernel has typed: members are read directly. */
static __always_inline void ended_take(struct ended *call, const struct pt_regs *regs)
{
	call->arg[0] = regs->CALL_ARG1;
	call->arg[1] = regs->CALL_ARG2;
	call->arg[2] = regs->CALL_ARG3;
	call->arg[3] = regs->CALL_ARG4;
	call->arg[4] = regs->CALL_ARG5;
}

/* For any pointer. One by one: a copy of all registers would not fit on the stack of 5.10. */
static __always_inline void ended_read(struct ended *call, const struct pt_regs *regs)
{
	call->arg[0] = BPF_PROBE_READ(regs, CALL_ARG1);
	call->arg[1] = BPF_PROBE_READ(regs, CALL_ARG2);
	call->arg[2] = BPF_PROBE_READ(regs, CALL_ARG3);
	call->arg[3] = BPF_PROBE_READ(regs, CALL_ARG4);
	call->arg[4] = BPF_PROBE_READ(regs, CALL_ARG5);
}

/* Argument @which, from 1. Spelled out, since 5.10 refuses a variable index into the stack. */
static __always_inline __u64 call_arg(const struct ended *call, __u8 which)
{
	switch (which) {
	case 1:
		return call->arg[0];
	case 2:
		return call->arg[1];
	case 3:
		return call->arg[2];
	case 4:
		return call->arg[3];
	default:
		return call->arg[4];
	}
}

#endif
