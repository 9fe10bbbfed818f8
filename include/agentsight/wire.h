/* SPDX-License-Identifier: MIT */
/*
 * How a record is built: header, spans, addresses, and the kinds of field that a record may hold.
 * Included by the BPF programs and by user space, so only fixed-width types and no library.
 *
 * A record is as long as its data: a struct of fixed members, followed by bytes that the members
 * point at with spans. Both sides check a declaration when they compile it (see AS_CHECK_EVENT).
 */
#ifndef AGENTSIGHT_WIRE_H
#define AGENTSIGHT_WIRE_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#include <stddef.h>
#endif

#define AS_COMM_LEN 16

struct as_hdr {
	__u32 len;      /* bytes of the whole record, this header included */
	__u16 type;     /* enum as_event_type */
	__u16 flags;    /* AS_F_* */
	__u64 boot_ns;  /* CLOCK_BOOTTIME: goes on during suspend */
	__u64 start_ns; /* start of the process, CLOCK_BOOTTIME; with tgid its identity */
	__u32 tgid;
	__u32 tid;
	__u32 ppid;
	__u32 uid;
	char comm[AS_COMM_LEN]; /* of the thread group leader */
};

enum as_flags {
	AS_F_REDACTED = 1 << 0, /* a secret was overwritten */
	AS_F_MORE = 1 << 1,     /* a piece of a call; further pieces follow */
	AS_F_INFERRED = 1 << 2, /* the owner was derived, not observed */
	AS_F_CLOSED = 1 << 3,   /* a payload that was read behind the end of its connection */
	AS_F_EARLIER = 1 << 4,  /* of a write: it began still earlier than its time */
};

/* Bytes behind the struct. @full is the length before truncation; len < full means truncated. */
struct as_span {
	__u32 off; /* from the start of the record */
	__u32 len;
	__u32 full;
};

/*
 * A path. @base holds path components as a dentry walk finds them, leaf first, each ended by NUL;
 * @rel holds what the program passed. The path is rel if that is absolute, else base + "/" + rel.
 */
struct as_path {
	struct as_span base;
	struct as_span rel;
};

/* IPv4 is stored in the last four bytes, as in a v4-mapped address. family 0: unknown. */
struct as_addr {
	__u8 ip[16];
	__u16 port; /* host order */
	__u16 family;
};

struct as_conn {
	struct as_addr local;
	struct as_addr remote;
};

struct as_nothing {
};

/* Where zero is a number like others. */
#define AS_UNKNOWN (~0ULL)

/*
 * The kinds of field: name, type of the member. A kind owns how the field looks in JSON, in the JSON
 * schema and to the filter language (userspace/event/kinds.c). Kinds with `struct as_nothing` have
 * no storage of their own: what they show stands in the header or beside the record.
 */
#define AS_KINDS(K)                                                                        \
	K(U32, __u32)                  /* number */                                        \
	K(U64, __u64)                  /* number */                                        \
	K(KNOWN, __u64)                /* number; left out when AS_UNKNOWN */              \
	K(S64, __s64)                  /* number, may be negative */                       \
	K(BOOL, __u32)                 /* true, false */                                   \
	K(DUR, __u64)                  /* nanoseconds */                                   \
	K(PID, __u32)                  /* thread group id */                               \
	K(FD, __s32)                   /* small number; left out when negative */          \
	K(ERRNO, __s32)                /* "ENOENT"; left out when 0 */                     \
	K(MODE, __u32)                 /* "0644" */                                        \
	K(FLAGS, __u32)                /* ["O_RDONLY", "O_CLOEXEC"], names from a table */ \
	K(ENUM, __u32)                 /* "read", name from a table */                     \
	K(CENTI, __u64)                /* hundredths: 23.45 */                             \
	K(SCENTI, __s64)               /* hundredths, may be negative: -0.5 */             \
	K(CENTI_TEXT, __u64)           /* hundredths as a string: "23.45" */               \
	K(ADDR, struct as_addr)        /* {"address":…,"port":…} */                    \
	K(CONN, struct as_conn)        /* {"local":{…},"remote":{…}} */                \
	K(PATH, struct as_path)        /* absolute path */                                 \
	K(STR, struct as_span)         /* text */                                          \
	K(ARGV, struct as_span)        /* NUL-separated strings, as an array */            \
	K(PAYLOAD, struct as_span)     /* text, or <name>_base64 when it is not text */    \
	K(JSON, struct as_span)        /* JSON text made by user space */                  \
	K(HIDDEN, __u64)               /* not shown */                                     \
	K(HIDDEN32, __u32)             /* not shown */                                     \
	K(HDR_TGID, struct as_nothing) /* from the header */                               \
	K(HDR_PPID, struct as_nothing) /* from the header */                               \
	K(HDR_UID, struct as_nothing)  /* from the header */                               \
	K(HDR_COMM, struct as_nothing) /* from the header */                               \
	K(UNIX_NS, struct as_nothing)  /* the event's time, nanoseconds since the epoch */ \
	K(LABEL, struct as_nothing)    /* a name that the source knows and the kernel does not */

enum as_kind {
#define AS_KIND_ENUM(name, ctype) AS_KIND_##name,
	AS_KINDS(AS_KIND_ENUM)
#undef AS_KIND_ENUM
		AS_KIND_COUNT
};

#define AS_KIND_TYPE(name, ctype) typedef ctype as_kind_##name;
AS_KINDS(AS_KIND_TYPE)
#undef AS_KIND_TYPE

/*
 * The compiler's proof that a struct and its field list agree: each listed member has the type of
 * its kind, and header plus members fill the struct, so that neither a forgotten member nor silent
 * padding passes. Storage-less kinds name the member `h` and count nothing.
 */
#define AS_CHECK_FIELD(S, KIND, member, name, opt, help, ...)                                    \
	_Static_assert(sizeof(as_kind_##KIND) == 0 ||                                            \
			       __builtin_types_compatible_p(__typeof__(((struct S *)0)->member), \
							    as_kind_##KIND),                     \
		       #S "." #member " has not the type of kind " #KIND);
#define AS_SIZE_FIELD(S, KIND, member, name, opt, help, ...) +sizeof(as_kind_##KIND)
#define AS_CHECK_EVENT(ID, S, source, type, FIELDS, help)                                  \
	FIELDS(AS_CHECK_FIELD, S)                                                          \
	_Static_assert(sizeof(struct S) == sizeof(struct as_hdr) FIELDS(AS_SIZE_FIELD, S), \
		       "struct " #S ": a member is not in its field list, or there is padding");

#endif
