/* SPDX-License-Identifier: MIT */
/*
 * Every event type, declared once. A type is a plain struct, its field list right under it, and one
 * row in AS_EVENTS at the end. From these come the wire format, the decoder's checks, the JSON
 * encoder, the filter language's paths, `agentsight schema` and docs/EVENTS.md.
 *
 * A field is F(S, KIND, member, "json.path", OPT or ALWAYS, "help" [, table of names]). Fields whose
 * paths share a prefix ("cpu.percent", "cpu.cores") become one object and must stand together.
 * A released type only gains fields: renaming, removing or retyping one makes another type.
 */
#ifndef AGENTSIGHT_EVENTS_H
#define AGENTSIGHT_EVENTS_H

#include <agentsight/wire.h>

#define AS_ALWAYS 0
#define AS_OPT    1 /* left out when zero, empty or unknown */

/* ---- process ---- */

struct as_exec {
	struct as_hdr h;
	struct as_span filename;
	struct as_span argv;
	struct as_path cwd;
	struct as_span env;
	__u32 exe_dev; /* of the file that is run, as the kernel numbers it; 0: not known */
	__u64 exe_ino;
};
#define AS_EXEC_FIELDS(F, S)                                                             \
	F(S, STR, filename, "filename", AS_ALWAYS, "the file as it was given to execve") \
	F(S, ARGV, argv, "argv", AS_ALWAYS, "arguments, complete up to 128 KiB")         \
	F(S, PATH, cwd, "cwd", AS_ALWAYS, "working directory at that moment")            \
	F(S, HDR_PPID, h, "ppid", AS_ALWAYS, "parent process")                           \
	F(S, HDR_UID, h, "uid", AS_ALWAYS, "real user id")                               \
	F(S, ARGV, env, "env", AS_OPT, "variables by which agents mark what they start") \
	F(S, HIDDEN32, exe_dev, "", AS_ALWAYS, "the file that is run")                   \
	F(S, HIDDEN, exe_ino, "", AS_ALWAYS, "the file that is run")

struct as_fork {
	struct as_hdr h; /* of the process that forked */
	__u64 child_start_ns;
	__u32 child_pid;
	__u32 child_ppid; /* differs from the caller for CLONE_PARENT */
};
#define AS_FORK_FIELDS(F, S)                                                          \
	F(S, HIDDEN, child_start_ns, "", AS_ALWAYS, "start of the child, boot clock") \
	F(S, PID, child_pid, "child_pid", AS_ALWAYS, "the new process")               \
	F(S, PID, child_ppid, "ppid", AS_ALWAYS, "its parent")

struct as_exit {
	struct as_hdr h;
	__u64 duration_ns;
	__u64 cpu_user_ns;
	__u64 cpu_system_ns;
	__u64 max_rss_kb;
	__u64 read_bytes;
	__u64 write_bytes;
	__u64 rchar;
	__u64 wchar;
	__u64 syscr;
	__u64 syscw;
	__u64 minor_faults;
	__u64 major_faults;
	__u64 voluntary;
	__u64 involuntary;
	/* I/O of its threads alone, since it belongs; above is that of children that it waited for, too */
	__u64 own_rchar;
	__u64 own_wchar;
	__u64 own_syscr;
	__u64 own_syscw;
	__u64 own_read_bytes;
	__u64 own_write_bytes;
	__u32 exit_code;
	__u32 signal;
	__u32 core_dumped;
	__u32 incomplete; /* more threads ended at once than are summed */
};
#define AS_EXIT_FIELDS(F, S)                                                                      \
	F(S, U32, exit_code, "exit_code", AS_ALWAYS, "0 to 255; 0 when a signal ended it")        \
	F(S, U32, signal, "signal", AS_ALWAYS, "the signal that ended it, 0 if none")             \
	F(S, BOOL, core_dumped, "core_dumped", AS_OPT, "a core file was written")                 \
	F(S, DUR, duration_ns, "duration_ns", AS_ALWAYS,                                          \
	  "from fork to exit; of the run's own command since it was let go")                      \
	F(S, DUR, cpu_user_ns, "cpu_user_ns", AS_ALWAYS, "user CPU time of all its threads")      \
	F(S, DUR, cpu_system_ns, "cpu_system_ns", AS_ALWAYS, "system CPU time of all threads")    \
	F(S, U64, max_rss_kb, "max_rss_kb", AS_ALWAYS, "peak resident set")                       \
	F(S, U64, read_bytes, "read_bytes", AS_ALWAYS, "fetched from storage")                    \
	F(S, U64, write_bytes, "write_bytes", AS_ALWAYS, "sent to storage")                       \
	F(S, U64, rchar, "rchar", AS_ALWAYS, "returned by read calls, cache and pipes included")  \
	F(S, U64, wchar, "wchar", AS_ALWAYS, "passed to write calls, cache and pipes included")   \
	F(S, U64, syscr, "syscr", AS_OPT, "read calls")                                           \
	F(S, U64, syscw, "syscw", AS_OPT, "write calls")                                          \
	F(S, U64, minor_faults, "faults.minor", AS_OPT, "page faults served from memory")         \
	F(S, U64, major_faults, "faults.major", AS_OPT, "page faults that read from storage")     \
	F(S, U64, voluntary, "switches.voluntary", AS_OPT, "it waited for something")             \
	F(S, U64, involuntary, "switches.involuntary", AS_OPT, "another task took its processor") \
	F(S, HIDDEN, own_rchar, "", AS_ALWAYS, "without waited-for children")                     \
	F(S, HIDDEN, own_wchar, "", AS_ALWAYS, "without waited-for children")                     \
	F(S, HIDDEN, own_syscr, "", AS_ALWAYS, "without waited-for children")                     \
	F(S, HIDDEN, own_syscw, "", AS_ALWAYS, "without waited-for children")                     \
	F(S, HIDDEN, own_read_bytes, "", AS_ALWAYS, "without waited-for children")                \
	F(S, HIDDEN, own_write_bytes, "", AS_ALWAYS, "without waited-for children")               \
	F(S, BOOL, incomplete, "sums_incomplete", AS_OPT,                                         \
	  "threads are missing: more than 1,024, or too many ended at once")

/* Kernel to user space only: a process that runs has a name that was asked for, and belongs from now on. */
struct as_named {
	struct as_hdr h;
};
#define AS_NAMED_FIELDS(F, S) F(S, HDR_COMM, h, "", AS_ALWAYS, "")

/* ---- file ---- */

struct as_file_open {
	struct as_hdr h;
	struct as_path path;
	__s32 fd;
	__s32 error;
	__u32 flags;
	__u32 mode;
};
#define AS_FILE_OPEN_FIELDS(F, S)                                               \
	F(S, PATH, path, "path", AS_ALWAYS, "absolute path")                    \
	F(S, FD, fd, "fd", AS_OPT, "the new descriptor")                        \
	F(S, ERRNO, error, "error", AS_OPT, "why it failed")                    \
	F(S, FLAGS, flags, "flags", AS_ALWAYS, "how it was opened", open_flags) \
	F(S, MODE, mode, "mode", AS_OPT, "permission bits of a new file, before the umask")

/* Calls that change names or attributes; each type shows the members it has. */
struct as_file_op {
	struct as_hdr h;
	struct as_path path;
	struct as_path new_path;
	__s64 length;
	__u32 mode;
	__s32 error;
	__u32 exchange;
	__u32 pad;
};
#define AS_FILE_PATH_ROW(F, S)  F(S, PATH, path, "path", AS_ALWAYS, "absolute path")
#define AS_FILE_ERROR_ROW(F, S) F(S, ERRNO, error, "error", AS_OPT, "why it failed")
#define AS_FILE_NO_EXCHANGE(F, S)                \
	F(S, HIDDEN32, exchange, "", AS_OPT, "") \
	F(S, HIDDEN32, pad, "", AS_OPT, "")
#define AS_FILE_OP_FIELDS(F, S)                            \
	AS_FILE_PATH_ROW(F, S)                             \
	F(S, PATH, new_path, "new_path", AS_OPT, "unused") \
	F(S, S64, length, "", AS_OPT, "")                  \
	F(S, HIDDEN32, mode, "", AS_OPT, "") AS_FILE_ERROR_ROW(F, S) AS_FILE_NO_EXCHANGE(F, S)
#define AS_FILE_RENAME_FIELDS(F, S)                                                        \
	AS_FILE_PATH_ROW(F, S)                                                             \
	F(S, PATH, new_path, "new_path", AS_ALWAYS, "absolute path it has from then on")   \
	F(S, BOOL, exchange, "exchange", AS_OPT, "what was there has `path` from then on") \
	F(S, S64, length, "", AS_OPT, "")                                                  \
	F(S, HIDDEN32, pad, "", AS_OPT, "")                                                \
	F(S, HIDDEN32, mode, "", AS_OPT, "") AS_FILE_ERROR_ROW(F, S)
#define AS_FILE_LINK_FIELDS(F, S)                                   \
	F(S, PATH, path, "path", AS_ALWAYS, "the existing file")    \
	F(S, PATH, new_path, "new_path", AS_ALWAYS, "the new name") \
	F(S, S64, length, "", AS_OPT, "")                           \
	F(S, HIDDEN32, mode, "", AS_OPT, "") AS_FILE_ERROR_ROW(F, S) AS_FILE_NO_EXCHANGE(F, S)
#define AS_FILE_SYMLINK_FIELDS(F, S)                                                       \
	F(S, PATH, path, "path", AS_ALWAYS, "the new symbolic link")                       \
	F(S, STR, new_path.base, "", AS_OPT, "")                                           \
	F(S, STR, new_path.rel, "target", AS_ALWAYS, "what it points at, as it was given") \
	F(S, S64, length, "", AS_OPT, "")                                                  \
	F(S, HIDDEN32, mode, "", AS_OPT, "") AS_FILE_ERROR_ROW(F, S) AS_FILE_NO_EXCHANGE(F, S)
#define AS_FILE_MODE_FIELDS(F, S)                              \
	AS_FILE_PATH_ROW(F, S)                                 \
	F(S, PATH, new_path, "", AS_OPT, "")                   \
	F(S, S64, length, "", AS_OPT, "")                      \
	F(S, MODE, mode, "mode", AS_ALWAYS, "permission bits") \
	AS_FILE_ERROR_ROW(F, S) AS_FILE_NO_EXCHANGE(F, S)
#define AS_FILE_TRUNCATE_FIELDS(F, S)                            \
	AS_FILE_PATH_ROW(F, S)                                   \
	F(S, PATH, new_path, "", AS_OPT, "")                     \
	F(S, S64, length, "length", AS_ALWAYS, "the new length") \
	F(S, HIDDEN32, mode, "", AS_OPT, "") AS_FILE_ERROR_ROW(F, S) AS_FILE_NO_EXCHANGE(F, S)

enum as_file_flush {
	AS_FLUSH_CLOSE,
	AS_FLUSH_TIMER,
	AS_FLUSH_EXIT,
	AS_FLUSH_STOP,
};

/* Reads or writes of one open file since the last flush; made by user space from kernel sums. */
struct as_file_io {
	struct as_hdr h;
	struct as_path path;
	__u64 bytes;
	__u64 count;
	__s32 fd;
	__u32 reason;
};
#define AS_FILE_IO_FIELDS(F, S)                                            \
	F(S, PATH, path, "path", AS_ALWAYS, "absolute path")               \
	F(S, FD, fd, "fd", AS_OPT, "descriptor that was used")             \
	F(S, U64, bytes, "bytes", AS_ALWAYS, "sum since the last flush")   \
	F(S, U64, count, "count", AS_ALWAYS, "calls since the last flush") \
	F(S, ENUM, reason, "flushed", AS_ALWAYS, "what made the sum due", file_flush)

/* Kernel to user space only: the first transfer on a descriptor, and the end of one. */
struct as_file_seen {
	struct as_hdr h;
	struct as_path path;
	__u64 file_id; /* which opening of the descriptor this is */
	__s32 fd;
	__u32 pad;
};
#define AS_FILE_SEEN_FIELDS(F, S)                \
	F(S, PATH, path, "", AS_ALWAYS, "")      \
	F(S, HIDDEN, file_id, "", AS_ALWAYS, "") \
	F(S, FD, fd, "", AS_ALWAYS, "")          \
	F(S, HIDDEN32, pad, "", AS_ALWAYS, "")

struct as_file_done {
	struct as_hdr h;
	__u64 file_id;
	__u64 read_bytes;
	__u64 read_count;
	__u64 write_bytes;
	__u64 write_count;
	__s32 fd;
	__u32 pad;
};
#define AS_FILE_DONE_FIELDS(F, S)                    \
	F(S, HIDDEN, file_id, "", AS_ALWAYS, "")     \
	F(S, HIDDEN, read_bytes, "", AS_ALWAYS, "")  \
	F(S, HIDDEN, read_count, "", AS_ALWAYS, "")  \
	F(S, HIDDEN, write_bytes, "", AS_ALWAYS, "") \
	F(S, HIDDEN, write_count, "", AS_ALWAYS, "") \
	F(S, FD, fd, "", AS_ALWAYS, "")              \
	F(S, HIDDEN32, pad, "", AS_ALWAYS, "")

/* Key and value of the kernel's table `file_sums`: what was moved through an open descriptor. */
struct as_file_key {
	__u32 tgid;
	__s32 fd;
};

/* Only the kernel adds, so the sums never fall while @id stays. */
struct as_file_sums {
	__u64 file; /* address of the open file and of its name: another pair is another opening */
	__u64 dentry;
	__u64 id; /* file_id of the records */
	__u64 read_bytes;
	__u64 read_count;
	__u64 write_bytes;
	__u64 write_count;
	__u32 seen;   /* FILE_SEEN is in the ring */
	__u32 closed; /* taken out of the table: what is added now comes too late */
};

/* ---- network ---- */

enum as_protocol {
	AS_PROTO_TCP = 6,
	AS_PROTO_UDP = 17,
};

enum as_role {
	AS_ROLE_UNKNOWN,
	AS_ROLE_CLIENT,
	AS_ROLE_SERVER,
};

#define AS_NET_ENDS(F, S)                                                  \
	F(S, ENUM, protocol, "protocol", AS_ALWAYS, "transport", protocol) \
	F(S, ADDR, local, "local", AS_ALWAYS, "this end")                  \
	F(S, ADDR, remote, "remote", AS_ALWAYS, "the other end")           \
	F(S, U64, conn_id, "conn_id", AS_ALWAYS, "the same in all events of one connection")

struct as_connect {
	struct as_hdr h;
	struct as_addr local;
	struct as_addr remote;
	__u64 conn_id;
	__u64 latency_ns;
	__s32 error;
	__u32 protocol;
};
#define AS_CONNECT_FIELDS(F, S)                                                             \
	AS_NET_ENDS(F, S)                                                                   \
	F(S, DUR, latency_ns, "latency_ns", AS_ALWAYS, "from SYN to established or failed") \
	F(S, ERRNO, error, "error", AS_OPT, "why it failed")

struct as_accept {
	struct as_hdr h;
	struct as_addr local;
	struct as_addr remote;
	__u64 conn_id;
	__u32 protocol;
	__u32 pad;
};
#define AS_ACCEPT_FIELDS(F, S) \
	AS_NET_ENDS(F, S)      \
	F(S, HIDDEN32, pad, "", AS_ALWAYS, "")

struct as_net_io {
	struct as_hdr h;
	struct as_addr local;
	struct as_addr remote;
	__u64 conn_id;
	__u64 bytes;
	__u32 protocol;
	__u32 pad;
};
#define AS_NET_IO_FIELDS(F, S)                                             \
	AS_NET_ENDS(F, S)                                                  \
	F(S, U64, bytes, "bytes", AS_ALWAYS, "payload bytes of this call") \
	F(S, HIDDEN32, pad, "", AS_ALWAYS, "")

/* `flow` while it lives, `close` at its end; sums since the connection, or the tracing, began. */
struct as_flow {
	struct as_hdr h;
	struct as_addr local;
	struct as_addr remote;
	__u64 conn_id;
	__u64 tx_bytes;
	__u64 rx_bytes;
	__u64 tx_interval_bytes;
	__u64 rx_interval_bytes;
	__u64 tx_sample_bytes;
	__u64 rx_sample_bytes;
	__u64 duration_ns;
	__u64 interval_ns;
	__u32 rtt_us;
	__u32 min_rtt_us;
	__u32 jitter_us;
	__u32 retransmits;
	__u32 protocol;
	__u32 role;
	__s32 error;
	__u32 ktls;
};
#define AS_FLOW_SUMS(F, S)                                                                         \
	AS_NET_ENDS(F, S)                                                                          \
	F(S, ENUM, role, "role", AS_ALWAYS, "which end asked for the connection", role)            \
	F(S, U64, tx_bytes, "tx_bytes", AS_ALWAYS, "payload bytes sent since it began")            \
	F(S, U64, rx_bytes, "rx_bytes", AS_ALWAYS, "payload bytes read since it began")            \
	F(S, U32, rtt_us, "rtt_us", AS_ALWAYS, "smoothed round-trip time, 0 if not known")         \
	F(S, U32, min_rtt_us, "min_rtt_us", AS_ALWAYS, "smallest round-trip time, 0 if not known") \
	F(S, U32, jitter_us, "jitter_us", AS_ALWAYS, "mean deviation of the round-trip time")      \
	F(S, U32, retransmits, "retransmits", AS_ALWAYS, "segments sent again")                    \
	F(S, DUR, duration_ns, "duration_ns", AS_ALWAYS, "since it was established or first seen")
#define AS_FLOW_KTLS "TLS is set up in the kernel: what sendfile() sends is not seen as plaintext"
#define AS_FLOW_FIELDS(F, S)                                                                      \
	AS_FLOW_SUMS(F, S)                                                                        \
	F(S, U64, tx_interval_bytes, "tx_interval_bytes", AS_ALWAYS, "since the last flow event") \
	F(S, U64, rx_interval_bytes, "rx_interval_bytes", AS_ALWAYS, "since the last flow event") \
	F(S, HIDDEN, tx_sample_bytes, "", AS_ALWAYS, "that no sample has counted yet")            \
	F(S, HIDDEN, rx_sample_bytes, "", AS_ALWAYS, "that no sample has counted yet")            \
	F(S, DUR, interval_ns, "interval_ns", AS_ALWAYS, "since the last flow event")             \
	F(S, ERRNO, error, "error", AS_OPT, "")                                                   \
	F(S, BOOL, ktls, "ktls", AS_OPT, AS_FLOW_KTLS)
#define AS_CLOSE_FIELDS(F, S)                                                            \
	AS_FLOW_SUMS(F, S)                                                               \
	F(S, HIDDEN, tx_interval_bytes, "", AS_ALWAYS, "")                               \
	F(S, HIDDEN, rx_interval_bytes, "", AS_ALWAYS, "")                               \
	F(S, HIDDEN, tx_sample_bytes, "", AS_ALWAYS, "that no sample has counted yet")   \
	F(S, HIDDEN, rx_sample_bytes, "", AS_ALWAYS, "that no sample has counted yet")   \
	F(S, HIDDEN, interval_ns, "", AS_ALWAYS, "")                                     \
	F(S, ERRNO, error, "error", AS_OPT, "what ended it, if it did not end in order") \
	F(S, BOOL, ktls, "ktls", AS_OPT, AS_FLOW_KTLS)

struct as_retransmit {
	struct as_hdr h;
	struct as_addr local;
	struct as_addr remote;
	__u64 conn_id;
	__u32 protocol;
	__u32 retransmits;
};
#define AS_RETRANSMIT_FIELDS(F, S) \
	AS_NET_ENDS(F, S)          \
	F(S, U32, retransmits, "retransmits", AS_ALWAYS, "segments sent again so far")

/* ---- TLS ---- */

enum as_tls_direction {
	AS_TLS_READ,
	AS_TLS_WRITE,
};

enum as_tls_function {
	AS_TLS_FN_SSL_READ,
	AS_TLS_FN_SSL_READ_EX,
	AS_TLS_FN_SSL_WRITE,
	AS_TLS_FN_SSL_WRITE_EX,
	AS_TLS_FN_SSL_DO_HANDSHAKE,
	AS_TLS_FN_GNUTLS_RECV,
	AS_TLS_FN_GNUTLS_RECV_SEQ,
	AS_TLS_FN_GNUTLS_SEND,
	AS_TLS_FN_GNUTLS_SEND2,
	AS_TLS_FN_GNUTLS_HANDSHAKE,
	AS_TLS_FN_GO_READ,
	AS_TLS_FN_GO_WRITE,
	AS_TLS_FN_AEAD_SEAL,
	AS_TLS_FN_AEAD_SEAL_SCATTER,
	AS_TLS_FN_AEAD_OPEN,
	AS_TLS_FN_AEAD_OPEN_GATHER,
	AS_TLS_FN_RING_SEAL,
	AS_TLS_FN_RING_OPEN,
	AS_TLS_FN_SSL_SENDFILE,
	AS_TLS_FN_NSS_RECV,
	AS_TLS_FN_NSS_SEND,
};

/*
 * One call. The kernel sends it in pieces of at most 16 KiB: all carry the same boot_ns, tid and
 * len; @offset says where the piece belongs and AS_F_MORE that another follows.
 */
struct as_ssl_data {
	struct as_hdr h;
	struct as_conn conn;
	__u64 stream_id; /* the SSL object, hashed: kernel and user addresses stay here */
	__u64 len;       /* bytes of the call */
	__u64 offset;
	struct as_span data;
	__u32 direction;
	__u32 function;
	__u32 library; /* number of the traced file */
};
#define AS_SSL_DATA_FIELDS(F, S)                                                                  \
	F(S, ENUM, direction, "direction", AS_ALWAYS, "seen from the process", tls_direction)     \
	F(S, ENUM, function, "function", AS_ALWAYS, "the call", tls_function)                     \
	F(S, LABEL, h, "library", AS_ALWAYS, "file that holds the function")                      \
	F(S, HIDDEN32, library, "", AS_ALWAYS, "")                                                \
	F(S, U64, stream_id, "stream_id", AS_ALWAYS, "the same in all events of one TLS session") \
	F(S, U64, len, "len", AS_ALWAYS, "plaintext bytes of the call")                           \
	F(S, HIDDEN, offset, "", AS_ALWAYS, "")                                                   \
	F(S, CONN, conn, "connection", AS_OPT, "the socket underneath, when known")               \
	F(S, PAYLOAD, data, "data", AS_ALWAYS, "the plaintext")

/* ---- payload without TLS: the layout and the pieces of struct as_ssl_data ---- */

enum as_net_function {
	AS_NET_FN_NONE,
	AS_NET_FN_READ,
	AS_NET_FN_READV,
	AS_NET_FN_RECVFROM,
	AS_NET_FN_RECVMSG,
	AS_NET_FN_WRITE,
	AS_NET_FN_WRITEV,
	AS_NET_FN_SENDTO,
	AS_NET_FN_SENDMSG,
};

#define AS_NET_DATA_FIELDS(F, S)                                                               \
	F(S, ENUM, direction, "direction", AS_ALWAYS, "seen from the process", tls_direction)  \
	F(S, ENUM, function, "function", AS_ALWAYS,                                            \
	  "the system call; none: one without a buffer, such as sendfile or io_uring's",       \
	  net_function)                                                                        \
	F(S, HIDDEN32, library, "", AS_ALWAYS, "")                                             \
	F(S, U64, stream_id, "stream_id", AS_ALWAYS, "the conn_id of the connection's events") \
	F(S, U64, len, "len", AS_ALWAYS, "bytes of the call")                                  \
	F(S, HIDDEN, offset, "", AS_ALWAYS, "")                                                \
	F(S, CONN, conn, "connection", AS_OPT, "the ends of the socket")                       \
	F(S, PAYLOAD, data, "data", AS_ALWAYS, "the payload")

struct as_stdio_data {
	struct as_hdr h;
	struct as_conn conn;
	__u64 stream_id; /* of this opening of the descriptor */
	__u64 len;
	__u64 offset;
	struct as_span data;
	__u32 direction;
	__u32 function;
	__s32 fd;
};
#define AS_STDIO_DATA_FIELDS(F, S)                                                            \
	F(S, FD, fd, "fd", AS_ALWAYS, "0, 1 or 2")                                            \
	F(S, ENUM, direction, "direction", AS_ALWAYS, "seen from the process", tls_direction) \
	F(S, U64, len, "len", AS_ALWAYS, "bytes of the call")                                 \
	F(S, PAYLOAD, data, "data", AS_ALWAYS, "what was read or written")                    \
	F(S, CONN, conn, "", AS_OPT, "")                                                      \
	F(S, HIDDEN, stream_id, "", AS_ALWAYS, "")                                            \
	F(S, HIDDEN, offset, "", AS_ALWAYS, "")                                               \
	F(S, HIDDEN32, function, "", AS_ALWAYS, "")

#define AS_SAME_PLACE(member, other)                                            \
	_Static_assert(__builtin_offsetof(struct as_ssl_data, member) ==        \
			       __builtin_offsetof(struct as_stdio_data, other), \
		       "all three kinds of payload have one layout")
AS_SAME_PLACE(stream_id, stream_id);
AS_SAME_PLACE(len, len);
AS_SAME_PLACE(offset, offset);
AS_SAME_PLACE(data, data);
AS_SAME_PLACE(direction, direction);
AS_SAME_PLACE(library, fd);
#undef AS_SAME_PLACE

struct as_ssl_handshake {
	struct as_hdr h;
	struct as_conn conn;
	__u64 stream_id;
	__u64 latency_ns;
	struct as_span server_name;
	struct as_span alpn;
	__u32 version;
	__u32 failed;
	__u32 library;
	__u32 pad;
};
#define AS_SSL_HANDSHAKE_FIELDS(F, S)                                                             \
	F(S, DUR, latency_ns, "latency_ns", AS_ALWAYS,                                            \
	  "from the first call to the result, or to the end of a session that got none")          \
	F(S, BOOL, failed, "failed", AS_OPT, "the handshake failed")                              \
	F(S, LABEL, h, "library", AS_ALWAYS, "file that holds the function")                      \
	F(S, HIDDEN32, library, "", AS_ALWAYS, "")                                                \
	F(S, U64, stream_id, "stream_id", AS_ALWAYS, "the same in all events of one TLS session") \
	F(S, STR, server_name, "server_name", AS_OPT, "SNI that the client asked for")            \
	F(S, ENUM, version, "version", AS_OPT, "negotiated protocol version", tls_version)        \
	F(S, STR, alpn, "alpn", AS_OPT, "negotiated application protocol")                        \
	F(S, CONN, conn, "connection", AS_OPT, "the socket underneath, when known")               \
	F(S, HIDDEN32, pad, "", AS_ALWAYS, "")

/* What became known of a session outside of its handshake. Nothing in it takes back what was told. */
struct as_ssl_session {
	struct as_hdr h;
	struct as_conn conn;
	__u64 stream_id;
	struct as_span server_name;
	struct as_span alpn;
	__u32 library;
	__u32 pad;
};
#define AS_SSL_SESSION_FIELDS(F, S)                                                               \
	F(S, LABEL, h, "library", AS_ALWAYS, "file that holds the function")                      \
	F(S, HIDDEN32, library, "", AS_ALWAYS, "")                                                \
	F(S, U64, stream_id, "stream_id", AS_ALWAYS, "the same in all events of one TLS session") \
	F(S, STR, server_name, "server_name", AS_OPT, "SNI that the client asked for")            \
	F(S, STR, alpn, "alpn", AS_OPT, "negotiated application protocol")                        \
	F(S, CONN, conn, "connection", AS_OPT, "the socket underneath, when known")               \
	F(S, HIDDEN32, pad, "", AS_ALWAYS, "")

/* ---- HTTP, made by user space from plaintext ---- */

struct as_http_request {
	struct as_hdr h;
	struct as_conn conn;
	__u64 stream_id;
	__u64 exchange_id;
	__u64 body_full;
	struct as_span method;
	struct as_span path;
	struct as_span host;
	struct as_span version;
	struct as_span headers;
	struct as_span body;
	struct as_span body_error;
	struct as_span server_name;
	struct as_span alpn;
	__u32 role;
	__u32 incomplete;
	__u32 plaintext;
};
#define AS_HTTP_REQUEST_FIELDS(F, S)                                                              \
	F(S, U64, stream_id, "stream_id", AS_ALWAYS, "the connection, as in `data` events")       \
	F(S, U64, exchange_id, "exchange_id", AS_ALWAYS, "the same in request and response")      \
	F(S, ENUM, role, "role", AS_ALWAYS, "what the process is in this connection", role)       \
	F(S, STR, method, "request.method", AS_ALWAYS, "GET, POST, ...")                          \
	F(S, STR, path, "request.path", AS_ALWAYS, "with the query")                              \
	F(S, STR, host, "request.host", AS_OPT, "the host header or :authority")                  \
	F(S, STR, version, "request.version", AS_ALWAYS, "HTTP/1.1, HTTP/2")                      \
	F(S, JSON, headers, "request.headers", AS_ALWAYS,                                         \
	  "names in lower case; an array where one came several times")                           \
	F(S, PAYLOAD, body, "request.body", AS_ALWAYS, "content encodings undone")                \
	F(S, U64, body_full, "request.body_bytes", AS_ALWAYS, "length of the whole decoded body") \
	F(S, STR, body_error, "request.body_error", AS_OPT, "why the body ends early")            \
	F(S, BOOL, incomplete, "incomplete", AS_OPT, "it was cut off")                            \
	F(S, STR, server_name, "server_name", AS_OPT, "SNI of the TLS session, when known")       \
	F(S, STR, alpn, "alpn", AS_OPT, "protocol that the TLS session agreed upon, when known")  \
	F(S, CONN, conn, "connection", AS_OPT, "the socket underneath, when known")               \
	F(S, BOOL, plaintext, "plaintext", AS_OPT, "it went over the network without TLS")

struct as_http_response {
	struct as_hdr h;
	struct as_conn conn;
	__u64 stream_id;
	__u64 exchange_id;
	__u64 request_body_full;
	__u64 body_full;
	__u64 duration_ns;
	__u64 first_byte_ns;
	struct as_span method;
	struct as_span path;
	struct as_span host;
	struct as_span version;
	struct as_span request_headers;
	struct as_span reason;
	struct as_span headers;
	struct as_span body;
	struct as_span body_error;
	struct as_span server_name;
	struct as_span alpn;
	__u32 status;
	__u32 role;
	__u32 incomplete;
	__u32 plaintext;
	__u32 pad;
};
#define AS_HTTP_RESPONSE_FIELDS(F, S)                                                              \
	F(S, U64, stream_id, "stream_id", AS_ALWAYS, "the connection, as in `data` events")        \
	F(S, U64, exchange_id, "exchange_id", AS_ALWAYS, "the same in request and response")       \
	F(S, ENUM, role, "role", AS_ALWAYS, "what the process is in this connection", role)        \
	F(S, STR, method, "request.method", AS_ALWAYS, "empty when the request was not seen")      \
	F(S, STR, path, "request.path", AS_ALWAYS, "with the query")                               \
	F(S, STR, host, "request.host", AS_OPT, "the host header or :authority")                   \
	F(S, STR, version, "request.version", AS_ALWAYS, "HTTP/1.1, HTTP/2")                       \
	F(S, JSON, request_headers, "request.headers", AS_ALWAYS, "as in the request's event")     \
	F(S, U64, request_body_full, "request.body_bytes", AS_ALWAYS,                              \
	  "length of the request's body, which is in its own event")                               \
	F(S, U32, status, "response.status", AS_ALWAYS, "200, 404, ...")                           \
	F(S, STR, reason, "response.reason", AS_OPT, "the text behind the status")                 \
	F(S, JSON, headers, "response.headers", AS_ALWAYS, "as for the request")                   \
	F(S, PAYLOAD, body, "response.body", AS_ALWAYS, "content encodings undone")                \
	F(S, U64, body_full, "response.body_bytes", AS_ALWAYS, "length of the whole decoded body") \
	F(S, STR, body_error, "response.body_error", AS_OPT, "why the body ends early")            \
	F(S, DUR, duration_ns, "duration_ns", AS_ALWAYS, "request's first byte to last byte")      \
	F(S, DUR, first_byte_ns, "first_byte_ns", AS_ALWAYS,                                       \
	  "request's last byte to the response's first")                                           \
	F(S, BOOL, incomplete, "incomplete", AS_OPT, "it was cut off")                             \
	F(S, BOOL, plaintext, "plaintext", AS_OPT, "it went over the network without TLS")         \
	F(S, HIDDEN32, pad, "", AS_ALWAYS, "")                                                     \
	F(S, STR, server_name, "server_name", AS_OPT, "SNI of the TLS session, when known")        \
	F(S, STR, alpn, "alpn", AS_OPT, "protocol that the TLS session agreed upon, when known")   \
	F(S, CONN, conn, "connection", AS_OPT, "the socket underneath, when known")

struct as_ws_message {
	struct as_hdr h;
	struct as_conn conn;
	__u64 stream_id;
	__u64 exchange_id;
	__u64 full;
	struct as_span path;
	struct as_span host;
	struct as_span server_name;
	struct as_span alpn;
	struct as_span data;
	__u32 direction;
	__u32 incomplete;
	__u32 plaintext;
};
#define AS_WS_MESSAGE_FIELDS(F, S)                                                               \
	F(S, ENUM, direction, "direction", AS_ALWAYS, "seen from the process", tls_direction)    \
	F(S, U64, stream_id, "stream_id", AS_ALWAYS, "the connection, as in `data` events")      \
	F(S, U64, exchange_id, "exchange_id", AS_ALWAYS, "the request that opened it")           \
	F(S, STR, path, "request.path", AS_ALWAYS, "of that request")                            \
	F(S, STR, host, "request.host", AS_OPT, "of that request")                               \
	F(S, U64, full, "len", AS_ALWAYS, "bytes of the whole message")                          \
	F(S, BOOL, incomplete, "incomplete", AS_OPT, "it was cut off")                           \
	F(S, BOOL, plaintext, "plaintext", AS_OPT, "it went over the network without TLS")       \
	F(S, STR, server_name, "server_name", AS_OPT, "SNI of the TLS session, when known")      \
	F(S, STR, alpn, "alpn", AS_OPT, "protocol that the TLS session agreed upon, when known") \
	F(S, CONN, conn, "connection", AS_OPT, "the socket underneath, when known")              \
	F(S, PAYLOAD, data, "data", AS_ALWAYS, "fragments joined, compression undone")

/* ---- calls of language models, made by user space from HTTP ---- */

struct as_llm_request {
	struct as_hdr h;
	struct as_conn conn;
	__u64 stream_id;
	__u64 exchange_id;
	__u64 n_messages;
	struct as_span provider;
	struct as_span model;
	struct as_span host;
	struct as_span path;
	struct as_span session;
	struct as_span system;
	struct as_span messages;
	struct as_span tools;
	struct as_span tool_results;
	struct as_span parameters;
	struct as_span prompt;
	__u32 stream;
	__u32 role;
	__u32 incomplete;
};
#define AS_LLM_REQUEST_FIELDS(F, S)                                                              \
	F(S, STR, provider, "provider", AS_ALWAYS, "anthropic, openai, gcp.gemini, ollama, ...") \
	F(S, STR, model, "model", AS_ALWAYS, "as asked for")                                     \
	F(S, STR, host, "host", AS_OPT, "where it was sent")                                     \
	F(S, STR, path, "path", AS_ALWAYS, "which interface")                                    \
	F(S, ENUM, role, "role", AS_ALWAYS, "what the process is: the client asks", role)        \
	F(S, STR, session, "conversation_id", AS_OPT, "where the agent names one")               \
	F(S, STR, prompt, "prompt", AS_OPT, "what the user said last, its first 1,024 bytes")    \
	F(S, JSON, system, "system", AS_OPT, "instructions, as sent")                            \
	F(S, JSON, messages, "messages", AS_ALWAYS, "as sent")                                   \
	F(S, U64, n_messages, "message_count", AS_ALWAYS, "how many")                            \
	F(S, JSON, tools, "tools", AS_OPT, "names of the tools on offer")                        \
	F(S, JSON, tool_results, "tool_results", AS_OPT,                                         \
	  "[{id, is_error, bytes}]: what the tools gave since the model's last message")         \
	F(S, JSON, parameters, "parameters", AS_OPT, "max_tokens, temperature, ...")             \
	F(S, BOOL, stream, "stream", AS_ALWAYS, "the answer is asked for in pieces")             \
	F(S, U64, stream_id, "stream_id", AS_ALWAYS, "the connection")                           \
	F(S, U64, exchange_id, "exchange_id", AS_ALWAYS, "as in the HTTP events")                \
	F(S, BOOL, incomplete, "incomplete", AS_OPT, "the request was cut off, or too long")     \
	F(S, CONN, conn, "connection", AS_OPT, "the socket underneath, when known")

struct as_llm_response {
	struct as_hdr h;
	struct as_conn conn;
	__u64 stream_id;
	__u64 exchange_id;
	__u64 input_tokens;
	__u64 output_tokens;
	__u64 cache_read_tokens;
	__u64 cache_write_tokens;
	__u64 reasoning_tokens;
	__u64 cost_nano_usd;
	__u64 time_to_first_token_ns;
	__u64 duration_ns;
	struct as_span provider;
	struct as_span model;
	struct as_span id;
	struct as_span text;
	struct as_span reasoning;
	struct as_span tool_calls;
	struct as_span stop_reason;
	struct as_span error;
	struct as_span usage_raw;
	struct as_span tools;
	__u32 status;
	__u32 cost_known;
	__u32 incomplete;
	__u32 role;
	__u32 usage_unknown;
	__u32 n_tool_calls;
};
#define AS_LLM_RESPONSE_FIELDS(F, S)                                                             \
	F(S, STR, provider, "provider", AS_ALWAYS, "anthropic, openai, gcp.gemini, ollama, ...") \
	F(S, STR, model, "model", AS_ALWAYS, "that answered")                                    \
	F(S, ENUM, role, "role", AS_ALWAYS, "what the process is: the client asked", role)       \
	F(S, STR, id, "response_id", AS_OPT, "the provider's name for the answer")               \
	F(S, U32, status, "status", AS_ALWAYS, "of HTTP")                                        \
	F(S, STR, text, "text", AS_ALWAYS, "the answer, pieces merged")                          \
	F(S, STR, reasoning, "reasoning", AS_OPT, "what the model thought, where it is told")    \
	F(S, JSON, tool_calls, "tool_calls", AS_ALWAYS, "[{id, name, input}]")                   \
	F(S, U32, n_tool_calls, "tool_call_count", AS_OPT, "how many")                           \
	F(S, ARGV, tools, "tool_names", AS_OPT, "of the tools called, each once")                \
	F(S, STR, stop_reason, "stop_reason", AS_OPT, "as the provider says it")                 \
	F(S, STR, error, "error", AS_OPT, "why there is no answer")                              \
	F(S, U64, input_tokens, "usage.input_tokens", AS_ALWAYS, "as the provider counts them")  \
	F(S, U64, output_tokens, "usage.output_tokens", AS_ALWAYS, "reasoning included")         \
	F(S, U64, cache_read_tokens, "usage.cache_read_tokens", AS_ALWAYS, "taken from a cache") \
	F(S, U64, cache_write_tokens, "usage.cache_write_tokens", AS_ALWAYS, "put into a cache") \
	F(S, U64, reasoning_tokens, "usage.reasoning_tokens", AS_OPT, "of the output")           \
	F(S, BOOL, usage_unknown, "usage.unknown", AS_OPT, "the provider did not say it")        \
	F(S, JSON, usage_raw, "usage.raw", AS_OPT, "as served")                                  \
	F(S, DUR, time_to_first_token_ns, "time_to_first_token_ns", AS_OPT,                      \
	  "request's last byte to the first piece of the answer")                                \
	F(S, DUR, duration_ns, "duration_ns", AS_ALWAYS, "request's first byte to last byte")    \
	F(S, U64, cost_nano_usd, "cost_nano_usd", AS_OPT, "1e-9 USD, from the price file")       \
	F(S, HIDDEN32, cost_known, "", AS_ALWAYS, "")                                            \
	F(S, BOOL, incomplete, "incomplete", AS_OPT, "the answer was cut off")                   \
	F(S, U64, stream_id, "stream_id", AS_ALWAYS, "the connection")                           \
	F(S, U64, exchange_id, "exchange_id", AS_ALWAYS, "as in the HTTP events")                \
	F(S, CONN, conn, "connection", AS_OPT, "the socket underneath, when known")

/* What a tool call of a model did on this machine: once when it is found, once when it is over. */
struct as_tool_run {
	struct as_hdr h; /* of the agent */
	__u64 duration_ns;
	__u64 n_processes;
	__u64 n_files;
	__u64 n_connections;
	__u64 result_bytes;
	struct as_span id;
	struct as_span name;
	struct as_span input;
	struct as_span session;
	struct as_span exec_id;
	struct as_span argv;
	struct as_span evidence;
	struct as_span files;
	struct as_span connections;
	__u32 ended;
	__u32 process;
	__u32 confidence;
	__s32 exit_code;
	__u32 signal;
	__u32 reported;
	__u32 is_error;
};
#define AS_TOOL_RUN_FIELDS(F, S)                                                                \
	F(S, ENUM, ended, "state", AS_ALWAYS, "found, over", alert_state)                       \
	F(S, STR, id, "id", AS_ALWAYS, "of the tool call, as in `response`")                    \
	F(S, STR, name, "name", AS_ALWAYS, "of the tool")                                       \
	F(S, JSON, input, "input", AS_ALWAYS, "what the model passed to it")                    \
	F(S, STR, session, "conversation_id", AS_OPT, "where the agent names one")              \
	F(S, PID, process, "process.pid", AS_OPT, "the process it led to")                      \
	F(S, STR, exec_id, "process.exec_id", AS_OPT, "its identity, as in its own events")     \
	F(S, ARGV, argv, "process.argv", AS_OPT, "its arguments")                               \
	F(S, JSON, evidence, "evidence", AS_ALWAYS,                                             \
	  "how the link was found: environment, command_text, ancestry, time, path")            \
	F(S, U32, confidence, "confidence", AS_ALWAYS, "0 to 100; 0: nothing was found")        \
	F(S, U64, n_processes, "processes", AS_ALWAYS, "processes that it consisted of so far") \
	F(S, FD, exit_code, "exit_code", AS_OPT, "of the process, once it has ended")           \
	F(S, U32, signal, "signal", AS_OPT, "that ended the process")                           \
	F(S, JSON, files, "files", AS_OPT, "[{op, path, bytes}]: files that it changed")        \
	F(S, U64, n_files, "file_count", AS_ALWAYS, "how many, listed or not")                  \
	F(S, JSON, connections, "connections", AS_OPT, "[{address, port}]: where it connected") \
	F(S, U64, n_connections, "connection_count", AS_ALWAYS, "how many, listed or not")      \
	F(S, BOOL, reported, "reported", AS_OPT, "a later request told the model the result")   \
	F(S, BOOL, is_error, "is_error", AS_OPT, "as a failure")                                \
	F(S, U64, result_bytes, "result_bytes", AS_OPT, "length of that result")                \
	F(S, DUR, duration_ns, "duration_ns", AS_ALWAYS, "since the model asked for it")

/* ---- system ---- */

enum as_limits {
	AS_LIMIT_CPU = 1 << 0,
	AS_LIMIT_MEMORY = 1 << 1,
};

/* What is zero behind `alert` was not asked for, or not to be had from this source. */
struct as_system_metrics {
	struct as_hdr h;
	__u64 cpu_centi;
	__u64 rss_kb;
	__u64 rss_mb;
	__u64 vsz_kb;
	__u64 vsz_mb;
	__u64 read_bytes;
	__u64 write_bytes;
	__u64 own_read_bytes; /* these four are what rules on rates compare, see `mixed` */
	__u64 own_write_bytes;
	__u64 interval_ns;
	__u32 cores;
	__u32 threads;
	__u32 children;
	__u32 mixed; /* what ended children had moved has come into its own sums, and is not told apart */
	__u32 alert;
	__u32 limits; /* enum as_limits: what its cgroup has; without, the part of it is no zero */
	__u64 cpu_ns;
	__u64 user_ns;
	__u64 system_ns;
	__u64 wait_ns;
	__u64 quota_centi;
	__u64 anon_kb;
	__u64 file_kb;
	__u64 shmem_kb;
	__u64 swap_kb;
	__u64 peak_kb;
	__u64 pss_kb;
	__u64 uss_kb;
	__s64 slope_kb_min;
	__u64 limit_centi;
	__u64 rchar;
	__u64 wchar;
	__u64 own_rchar;
	__u64 own_wchar;
	__u64 syscr;
	__u64 syscw;
	__u64 minor_faults;
	__u64 major_faults;
	__u64 voluntary;
	__u64 involuntary;
	__u64 rx_bytes;
	__u64 tx_bytes;
	__u64 tree_id; /* whose row it is part of; 0: none's */
	__s32 last_cpu;
	__u32 fds;
};
#define AS_SYSTEM_METRICS_FIELDS(F, S)                                                           \
	F(S, HDR_TGID, h, "pid", AS_ALWAYS, "the process")                                       \
	F(S, HDR_COMM, h, "comm", AS_ALWAYS, "its name")                                         \
	F(S, UNIX_NS, h, "timestamp", AS_ALWAYS, "as in the envelope")                           \
	F(S, CENTI_TEXT, cpu_centi, "cpu.percent", AS_ALWAYS,                                    \
	  "since the last sample, 100 = one core, ended children included")                      \
	F(S, U32, cores, "cpu.cores", AS_ALWAYS, "processors of the machine")                    \
	F(S, DUR, cpu_ns, "cpu.total_ns", AS_OPT, "its own CPU time since it started")           \
	F(S, DUR, user_ns, "cpu.user_ns", AS_OPT, "of that in user mode")                        \
	F(S, DUR, system_ns, "cpu.system_ns", AS_OPT, "of that in the kernel")                   \
	F(S, DUR, wait_ns, "cpu.wait_ns", AS_OPT, "living threads waited for a processor")       \
	F(S, FD, last_cpu, "cpu.last", AS_OPT, "processor that its first thread was last on")    \
	F(S, CENTI, quota_centi, "cpu.quota_percent", AS_OPT,                                    \
	  "the percentage, of its cgroup's quota")                                               \
	F(S, U64, rss_kb, "memory.rss_kb", AS_ALWAYS, "resident set")                            \
	F(S, U64, rss_mb, "memory.rss_mb", AS_ALWAYS, "resident set")                            \
	F(S, U64, vsz_kb, "memory.vsz_kb", AS_ALWAYS, "address space")                           \
	F(S, U64, vsz_mb, "memory.vsz_mb", AS_ALWAYS, "address space")                           \
	F(S, U64, anon_kb, "memory.anon_kb", AS_OPT, "resident anonymous memory")                \
	F(S, U64, file_kb, "memory.file_kb", AS_OPT, "resident pages of files")                  \
	F(S, U64, shmem_kb, "memory.shmem_kb", AS_OPT, "resident shared memory")                 \
	F(S, U64, swap_kb, "memory.swap_kb", AS_OPT, "swapped out")                              \
	F(S, U64, peak_kb, "memory.peak_kb", AS_OPT, "largest resident set so far (HWM)")        \
	F(S, U64, pss_kb, "memory.pss_kb", AS_OPT, "PSS: shared pages divided by their users")   \
	F(S, U64, uss_kb, "memory.uss_kb", AS_OPT, "USS: pages that nobody else has")            \
	F(S, S64, slope_kb_min, "memory.slope_kb_min", AS_OPT,                                   \
	  "growth of the resident set per minute")                                               \
	F(S, CENTI, limit_centi, "memory.limit_percent", AS_OPT,                                 \
	  "resident set, of its cgroup's limit")                                                 \
	F(S, U32, threads, "process.threads", AS_ALWAYS, "threads")                              \
	F(S, U32, children, "process.children", AS_ALWAYS, "living descendants")                 \
	F(S, U32, fds, "process.fds", AS_OPT, "open descriptors")                                \
	F(S, BOOL, alert, "alert", AS_ALWAYS, "a threshold is exceeded")                         \
	F(S, KNOWN, read_bytes, "io.read_bytes", AS_ALWAYS,                                      \
	  "fetched from storage since its start")                                                \
	F(S, KNOWN, write_bytes, "io.write_bytes", AS_ALWAYS, "sent to storage since its start") \
	AS_COUNTER_FIELDS(F, S)                                                                  \
	F(S, DUR, interval_ns, "interval_ns", AS_ALWAYS, "what the percentage is measured over") \
	F(S, HIDDEN, tree_id, "", AS_ALWAYS, "")                                                 \
	F(S, HIDDEN32, limits, "", AS_ALWAYS, "what its cgroup has")                             \
	F(S, HIDDEN, own_read_bytes, "", AS_ALWAYS, "without waited-for children")               \
	F(S, HIDDEN, own_write_bytes, "", AS_ALWAYS, "without waited-for children")              \
	F(S, HIDDEN, own_rchar, "", AS_ALWAYS, "without waited-for children")                    \
	F(S, HIDDEN, own_wchar, "", AS_ALWAYS, "without waited-for children")                    \
	F(S, HIDDEN32, mixed, "", AS_ALWAYS, "those of children are in these four")

/* A process and all that it started: the living, and exactly what the ended ones had used. */
struct as_system_tree {
	struct as_hdr h;
	__u64 cpu_centi;
	__u64 cpu_ns;
	__u64 user_ns;
	__u64 system_ns;
	__u64 wait_ns;
	__u64 rss_kb;
	__u64 vsz_kb;
	__u64 anon_kb;
	__u64 file_kb;
	__u64 shmem_kb;
	__u64 swap_kb;
	__u64 pss_kb;
	__u64 uss_kb;
	__s64 slope_kb_min;
	__u64 read_bytes;
	__u64 write_bytes;
	__u64 rchar;
	__u64 wchar;
	__u64 syscr;
	__u64 syscw;
	__u64 minor_faults;
	__u64 major_faults;
	__u64 voluntary;
	__u64 involuntary;
	__u64 rx_bytes;
	__u64 tx_bytes;
	__u64 started;
	__u64 ended;
	__u64 elapsed_ns;
	__u64 interval_ns;
	__u64 next_ns;
	__u64 tree_id; /* of this run, never used again */
	__u32 processes;
	__u32 threads;
	__u32 cores;
	__u32 reason;
};
/* Sums since the process's start; for a tree, of all its processes since each one's start. */
#define AS_COUNTER_FIELDS(F, S)                                                                   \
	F(S, U64, rchar, "io.rchar", AS_OPT, "returned by read calls, cache and pipes included")  \
	F(S, U64, wchar, "io.wchar", AS_OPT, "passed to write calls, cache and pipes included")   \
	F(S, U64, syscr, "io.syscr", AS_OPT, "read calls")                                        \
	F(S, U64, syscw, "io.syscw", AS_OPT, "write calls")                                       \
	F(S, U64, minor_faults, "faults.minor", AS_OPT, "page faults served from memory")         \
	F(S, U64, major_faults, "faults.major", AS_OPT, "page faults that read from storage")     \
	F(S, U64, voluntary, "switches.voluntary", AS_OPT, "it waited for something")             \
	F(S, U64, involuntary, "switches.involuntary", AS_OPT, "another task took its processor") \
	F(S, U64, rx_bytes, "net.rx_bytes", AS_OPT, "payload received, TCP and UDP")              \
	F(S, U64, tx_bytes, "net.tx_bytes", AS_OPT, "payload sent, TCP and UDP")
#define AS_SYSTEM_TREE_FIELDS(F, S)                                                              \
	F(S, U32, processes, "processes", AS_ALWAYS, "living ones")                              \
	F(S, U64, started, "started", AS_ALWAYS, "processes that belonged so far")               \
	F(S, U64, ended, "ended", AS_ALWAYS, "of which have ended")                              \
	F(S, U32, threads, "threads", AS_ALWAYS, "of the living ones")                           \
	F(S, CENTI_TEXT, cpu_centi, "cpu.percent", AS_ALWAYS,                                    \
	  "since the last sample, 100 = one core")                                               \
	F(S, U32, cores, "cpu.cores", AS_ALWAYS, "processors of the machine")                    \
	F(S, DUR, cpu_ns, "cpu.total_ns", AS_ALWAYS, "CPU time of all, the ended ones included") \
	F(S, DUR, user_ns, "cpu.user_ns", AS_OPT, "of that in user mode")                        \
	F(S, DUR, system_ns, "cpu.system_ns", AS_OPT, "of that in the kernel")                   \
	F(S, DUR, wait_ns, "cpu.wait_ns", AS_OPT, "living threads waited for a processor")       \
	F(S, U64, rss_kb, "memory.rss_kb", AS_ALWAYS,                                            \
	  "sum of the resident sets: shared pages count more than once")                         \
	F(S, U64, vsz_kb, "memory.vsz_kb", AS_ALWAYS, "sum of the address spaces")               \
	F(S, U64, anon_kb, "memory.anon_kb", AS_OPT, "sum")                                      \
	F(S, U64, file_kb, "memory.file_kb", AS_OPT, "sum")                                      \
	F(S, U64, shmem_kb, "memory.shmem_kb", AS_OPT, "sum")                                    \
	F(S, U64, swap_kb, "memory.swap_kb", AS_OPT, "sum")                                      \
	F(S, U64, pss_kb, "memory.pss_kb", AS_OPT, "sum of the PSS: what the tree really takes") \
	F(S, U64, uss_kb, "memory.uss_kb", AS_OPT, "sum of the USS: what its end would free")    \
	F(S, S64, slope_kb_min, "memory.slope_kb_min", AS_OPT,                                   \
	  "growth of the sum of resident sets per minute")                                       \
	F(S, U64, read_bytes, "io.read_bytes", AS_ALWAYS, "fetched from storage by all")         \
	F(S, U64, write_bytes, "io.write_bytes", AS_ALWAYS, "sent to storage by all")            \
	AS_COUNTER_FIELDS(F, S)                                                                  \
	F(S, ENUM, reason, "reason", AS_ALWAYS, "what made the sample due", sample_reason)       \
	F(S, DUR, elapsed_ns, "elapsed_ns", AS_ALWAYS,                                           \
	  "since the run began; where it starts a command, since that was let go")               \
	F(S, DUR, interval_ns, "interval_ns", AS_ALWAYS, "since the last sample")                \
	F(S, DUR, next_ns, "next_ns", AS_OPT, "planned time to the next one")                    \
	F(S, HIDDEN, tree_id, "", AS_ALWAYS, "")

enum as_sample_reason {
	AS_SAMPLE_TIMER,
	AS_SAMPLE_FIRST,
	AS_SAMPLE_FORK,
	AS_SAMPLE_EXEC,
	AS_SAMPLE_EXIT,
	AS_SAMPLE_ALERT,
	AS_SAMPLE_REQUEST,
	AS_SAMPLE_LAST,
};

enum as_thread_state {
	AS_THREAD_RUNNING,
	AS_THREAD_SLEEPING,
	AS_THREAD_DISK,
	AS_THREAD_STOPPED,
	AS_THREAD_TRACED,
	AS_THREAD_DEAD,
	AS_THREAD_OTHER,
};

struct as_system_thread {
	struct as_hdr h; /* comm is the process's */
	struct as_span name;
	__u32 state;
	__u64 cpu_centi;
	__u64 cpu_ns;
	__u64 user_ns;
	__u64 system_ns;
	__u64 wait_ns;
	__u64 wait_centi;
	__u64 minor_faults;
	__u64 major_faults;
	__u64 voluntary;
	__u64 involuntary;
	__u64 read_bytes;
	__u64 write_bytes;
	__u64 interval_ns;
	__s64 nice;
	__u32 tid;
	__s32 last_cpu;
	__u32 policy;
	__u32 priority;
};
#define AS_SYSTEM_THREAD_FIELDS(F, S)                                                             \
	F(S, PID, tid, "tid", AS_ALWAYS, "the thread")                                            \
	F(S, STR, name, "name", AS_ALWAYS, "its name")                                            \
	F(S, ENUM, state, "state", AS_ALWAYS, "at that moment", thread_state)                     \
	F(S, CENTI_TEXT, cpu_centi, "cpu.percent", AS_ALWAYS,                                     \
	  "since the last sample, 100 = one core")                                                \
	F(S, DUR, cpu_ns, "cpu.total_ns", AS_ALWAYS, "since it started")                          \
	F(S, DUR, user_ns, "cpu.user_ns", AS_OPT, "of that in user mode")                         \
	F(S, DUR, system_ns, "cpu.system_ns", AS_OPT, "of that in the kernel")                    \
	F(S, DUR, wait_ns, "cpu.wait_ns", AS_OPT, "it waited for a processor, since it started")  \
	F(S, CENTI, wait_centi, "cpu.wait_percent", AS_OPT,                                       \
	  "the same, of the time since the last sample")                                          \
	F(S, FD, last_cpu, "cpu.last", AS_OPT, "processor that it was last on")                   \
	F(S, U64, minor_faults, "faults.minor", AS_OPT, "page faults served from memory")         \
	F(S, U64, major_faults, "faults.major", AS_OPT, "page faults that read from storage")     \
	F(S, U64, voluntary, "switches.voluntary", AS_OPT, "it waited for something")             \
	F(S, U64, involuntary, "switches.involuntary", AS_OPT, "another task took its processor") \
	F(S, U64, read_bytes, "io.read_bytes", AS_OPT, "fetched from storage")                    \
	F(S, U64, write_bytes, "io.write_bytes", AS_OPT, "sent to storage")                       \
	F(S, ENUM, policy, "policy", AS_OPT, "of the scheduler, when not the ordinary one",       \
	  sched_policy)                                                                           \
	F(S, U32, priority, "priority", AS_OPT, "real-time priority")                             \
	F(S, S64, nice, "nice", AS_OPT, "nice value")                                             \
	F(S, DUR, interval_ns, "interval_ns", AS_ALWAYS, "what the percentages are measured over")

/* Who a process is: told when it is first seen and after each exec. */
struct as_process_info {
	struct as_hdr h;
	struct as_span argv;
	struct as_span exe;
	struct as_span cwd;
	struct as_span env;
	struct as_span user;
	struct as_span cgroup;
	struct as_span runtime;
	struct as_span container;
	struct as_span container_name;
	struct as_span pod;
	struct as_span pod_namespace;
	struct as_span qos;
	struct as_span unit;
	__u32 pad;
	__u64 started_ns;
	__u64 quota_centi;
	__u64 memory_limit_kb;
};
#define AS_PROCESS_INFO_FIELDS(F, S)                                                               \
	F(S, ARGV, argv, "argv", AS_ALWAYS, "arguments")                                           \
	F(S, STR, exe, "exe", AS_OPT, "the executable")                                            \
	F(S, STR, cwd, "cwd", AS_OPT, "working directory")                                         \
	F(S, ARGV, env, "env", AS_OPT, "the variables that --env names")                           \
	F(S, HDR_PPID, h, "ppid", AS_ALWAYS, "parent process")                                     \
	F(S, HDR_UID, h, "uid", AS_ALWAYS, "real user id")                                         \
	F(S, STR, user, "user", AS_OPT, "its name")                                                \
	F(S, U64, started_ns, "started", AS_ALWAYS, "start, nanoseconds since the epoch")          \
	F(S, STR, cgroup, "cgroup", AS_OPT, "path in its hierarchy")                               \
	F(S, STR, unit, "unit", AS_OPT, "systemd unit")                                            \
	F(S, STR, runtime, "container.runtime", AS_OPT, "docker, podman, containerd, ...")         \
	F(S, STR, container, "container.id", AS_OPT, "of the container")                           \
	F(S, STR, container_name, "container.name", AS_OPT, "its name, where it is known")         \
	F(S, STR, pod, "container.pod", AS_OPT, "pod name or uid")                                 \
	F(S, STR, pod_namespace, "container.namespace", AS_OPT, "of the pod")                      \
	F(S, STR, qos, "container.qos", AS_OPT, "of the pod: guaranteed, burstable or besteffort") \
	F(S, HIDDEN32, pad, "", AS_ALWAYS, "")                                                     \
	F(S, CENTI, quota_centi, "limits.cpu_percent", AS_OPT, "CPU quota, 100 = one core")        \
	F(S, U64, memory_limit_kb, "limits.memory_kb", AS_OPT, "smallest limit of its cgroups")

/* The kernel killed a process to get memory. */
struct as_oom_kill {
	struct as_hdr h; /* of the victim */
	__u64 anon_kb;
	__u64 file_kb;
	__u64 shmem_kb;
	__s64 score_adj;
};
#define AS_OOM_KILL_FIELDS(F, S)                                                     \
	F(S, U64, anon_kb, "memory.anon_kb", AS_ALWAYS, "resident anonymous memory") \
	F(S, U64, file_kb, "memory.file_kb", AS_ALWAYS, "resident pages of files")   \
	F(S, U64, shmem_kb, "memory.shmem_kb", AS_ALWAYS, "resident shared memory")  \
	F(S, S64, score_adj, "oom_score_adj", AS_OPT, "how it had been marked for this case")

/* Stalls, and use of limits, of a cgroup; of the machine when `path` is empty. */
struct as_cgroup {
	struct as_hdr h;
	struct as_span path;
	__u32 pad;
	__u64 cpu_some_ns;
	__u64 memory_some_ns;
	__u64 memory_full_ns;
	__u64 io_some_ns;
	__u64 io_full_ns;
	__u64 cpu_some_centi;
	__u64 memory_some_centi;
	__u64 memory_full_centi;
	__u64 io_some_centi;
	__u64 io_full_centi;
	__u64 memory_kb;
	__u64 memory_peak_kb;
	__u64 memory_limit_kb;
	__u64 oom_kills;
	__u64 cpu_ns;
	__u64 quota_centi;
	__u64 throttled_ns;
	__u64 throttled;
	__u64 interval_ns;
};
#define AS_CGROUP_FIELDS(F, S)                                                                   \
	F(S, STR, path, "path", AS_ALWAYS, "the cgroup; empty: the machine")                     \
	F(S, HIDDEN32, pad, "", AS_ALWAYS, "")                                                   \
	F(S, DUR, cpu_some_ns, "pressure.cpu_some_ns", AS_OPT,                                   \
	  "in the interval, a task waited for a processor")                                      \
	F(S, DUR, memory_some_ns, "pressure.memory_some_ns", AS_OPT, "a task waited for memory") \
	F(S, DUR, memory_full_ns, "pressure.memory_full_ns", AS_OPT, "all of them did")          \
	F(S, DUR, io_some_ns, "pressure.io_some_ns", AS_OPT, "a task waited for I/O")            \
	F(S, DUR, io_full_ns, "pressure.io_full_ns", AS_OPT, "all of them did")                  \
	F(S, CENTI, cpu_some_centi, "pressure.cpu_some_avg10", AS_OPT,                           \
	  "percent, the kernel's average over 10 s")                                             \
	F(S, CENTI, memory_some_centi, "pressure.memory_some_avg10", AS_OPT, "the same")         \
	F(S, CENTI, memory_full_centi, "pressure.memory_full_avg10", AS_OPT, "the same")         \
	F(S, CENTI, io_some_centi, "pressure.io_some_avg10", AS_OPT, "the same")                 \
	F(S, CENTI, io_full_centi, "pressure.io_full_avg10", AS_OPT, "the same")                 \
	F(S, U64, memory_kb, "memory.current_kb", AS_OPT, "charged to the cgroup")               \
	F(S, U64, memory_peak_kb, "memory.peak_kb", AS_OPT, "the most so far")                   \
	F(S, U64, memory_limit_kb, "memory.limit_kb", AS_OPT, "its limit")                       \
	F(S, U64, oom_kills, "memory.oom_kills", AS_OPT, "processes killed for lack of memory")  \
	F(S, DUR, cpu_ns, "cpu.total_ns", AS_OPT, "CPU time of the cgroup")                      \
	F(S, CENTI, quota_centi, "cpu.quota_percent", AS_OPT, "its quota, 100 = one core")       \
	F(S, DUR, throttled_ns, "cpu.throttled_ns", AS_OPT, "time held back by the quota")       \
	F(S, U64, throttled, "cpu.throttled", AS_OPT, "periods in which that happened")          \
	F(S, DUR, interval_ns, "interval_ns", AS_ALWAYS, "since the last one")

/* A device, or with a pid what a process does with it. */
struct as_gpu {
	struct as_hdr h;
	struct as_span name;
	struct as_span driver;
	struct as_span engines;
	__u32 device;
	__u64 use_centi;
	__u64 memory_kb;
	__u64 memory_total_kb;
	__u64 temperature;
	__u64 power_mw;
	__u64 energy_mj;
	__u64 interval_ns;
};
#define AS_GPU_FIELDS(F, S)                                                                  \
	F(S, U32, device, "device", AS_ALWAYS, "its number")                                 \
	F(S, STR, name, "name", AS_OPT, "its name")                                          \
	F(S, STR, driver, "driver", AS_ALWAYS, "nvidia, i915, amdgpu, ...")                  \
	F(S, CENTI, use_centi, "percent", AS_ALWAYS, "busy, of the interval")                \
	F(S, JSON, engines, "engines", AS_OPT, "{name: percent}")                            \
	F(S, U64, memory_kb, "memory.used_kb", AS_ALWAYS, "memory of the device in use")     \
	F(S, U64, memory_total_kb, "memory.total_kb", AS_OPT, "of the device")               \
	F(S, U64, temperature, "temperature", AS_OPT, "degrees Celsius")                     \
	F(S, U64, power_mw, "power_mw", AS_OPT, "milliwatts")                                \
	F(S, U64, energy_mj, "energy_mj", AS_OPT, "millijoules since the driver was loaded") \
	F(S, DUR, interval_ns, "interval_ns", AS_ALWAYS, "what the percentage is measured over")

/* System calls of a process since the last such event, summed in the kernel. */
struct as_syscalls {
	struct as_hdr h;
	struct as_span categories;
	struct as_span top;
	__u64 total;
	__u64 errors;
	__u64 time_ns;
	__u64 interval_ns;
};
#define AS_SYSCALLS_FIELDS(F, S)                                                                  \
	F(S, U64, total, "total", AS_ALWAYS, "calls that returned")                               \
	F(S, U64, errors, "errors", AS_ALWAYS, "of which failed")                                 \
	F(S, DUR, time_ns, "time_ns", AS_ALWAYS, "spent inside, waits included")                  \
	F(S, JSON, categories, "categories", AS_ALWAYS, "{category: {count, errors, time_ns}}")   \
	F(S, JSON, top, "top", AS_ALWAYS,                                                         \
	  "[{name, count, errors, time_ns, max_ns, errno: {name: count}}]: those that took most " \
	  "time")                                                                                 \
	F(S, DUR, interval_ns, "interval_ns", AS_ALWAYS, "since the last one")

/* Where the threads of a process waited since the last such event, summed in the kernel. */
struct as_offcpu {
	struct as_hdr h;
	struct as_span reasons;
	struct as_span threads;
	__u64 count;
	__u64 time_ns;
	__u64 wait_ns;
	__u64 interval_ns;
};
#define AS_OFFCPU_FIELDS(F, S)                                                                   \
	F(S, U64, count, "count", AS_ALWAYS, "waits that ended")                                 \
	F(S, DUR, time_ns, "time_ns", AS_ALWAYS,                                                 \
	  "their sum over all threads, with those that go on")                                   \
	F(S, DUR, wait_ns, "runqueue_ns", AS_ALWAYS, "ready, and waiting for a processor")       \
	F(S, JSON, reasons, "reasons", AS_ALWAYS,                                                \
	  "{reason: {count, time_ns, max_ns}}; `preempted` is no wait and part of runqueue_ns")  \
	F(S, JSON, threads, "threads", AS_ALWAYS, "[{tid, name, time_ns, reason}]: the longest") \
	F(S, DUR, interval_ns, "interval_ns", AS_ALWAYS, "since the last one")

/* What `agentsight stats` would say of the run; the last thing that `run` and `attach` tell. */
struct as_summary {
	struct as_hdr h;
	struct as_span summary;
	__u32 pad;
};
#define AS_SUMMARY_FIELDS(F, S)                                                             \
	F(S, JSON, summary, "summary", AS_ALWAYS, "as `agentsight stats --json` prints it") \
	F(S, HIDDEN32, pad, "", AS_ALWAYS, "")

struct as_system_wide {
	struct as_hdr h;
	__u64 cpu_centi;
	__u64 load1_centi;
	__u64 load5_centi;
	__u64 load15_centi;
	__u64 total_kb;
	__u64 used_kb;
	__u64 free_kb;
	__u64 available_kb;
	__u64 total_mb;
	__u64 used_mb;
	__u64 rss_mb;
	__u64 used_centi;
	__u64 interval_ns;
	__u32 cores;
	__u32 alert;
};
#define AS_SYSTEM_WIDE_FIELDS(F, S)                                                             \
	F(S, UNIX_NS, h, "timestamp", AS_ALWAYS, "as in the envelope")                          \
	F(S, U32, cores, "cpu.cores", AS_ALWAYS, "processors of the machine")                   \
	F(S, CENTI_TEXT, cpu_centi, "cpu.percent", AS_ALWAYS, "of all cores, 100 = one core")   \
	F(S, CENTI, load1_centi, "cpu.load_avg_1min", AS_ALWAYS, "load average")                \
	F(S, CENTI, load5_centi, "cpu.load_avg_5min", AS_ALWAYS, "load average")                \
	F(S, CENTI, load15_centi, "cpu.load_avg_15min", AS_ALWAYS, "load average")              \
	F(S, U64, total_kb, "memory.total_kb", AS_ALWAYS, "main memory")                        \
	F(S, U64, used_kb, "memory.used_kb", AS_ALWAYS, "total less available")                 \
	F(S, U64, free_kb, "memory.free_kb", AS_ALWAYS, "unused")                               \
	F(S, U64, available_kb, "memory.available_kb", AS_ALWAYS, "to be had without swapping") \
	F(S, U64, total_mb, "memory.total_mb", AS_ALWAYS, "main memory")                        \
	F(S, U64, used_mb, "memory.used_mb", AS_ALWAYS, "total less available")                 \
	F(S, U64, rss_mb, "memory.rss_mb", AS_ALWAYS, "the same as used_mb")                    \
	F(S, CENTI, used_centi, "memory.used_percent", AS_ALWAYS, "of the total")               \
	F(S, BOOL, alert, "alert", AS_ALWAYS, "a threshold is exceeded")                        \
	F(S, DUR, interval_ns, "interval_ns", AS_ALWAYS, "what the percentage is measured over")

/* ---- alert ---- */

struct as_threshold {
	struct as_hdr h;
	struct as_span rule;
	struct as_span metric;
	struct as_span unit;
	struct as_span path;
	__u32 once;
	__u32 ended;
	__s64 value_centi;
	__s64 limit_centi;
	__s64 min_centi;
	__s64 avg_centi;
	__s64 max_centi;
	__u64 duration_ns;
};
#define AS_THRESHOLD_FIELDS(F, S)                                                              \
	F(S, STR, rule, "rule", AS_ALWAYS, "the rule in words")                                \
	F(S, STR, metric, "metric", AS_ALWAYS, "what is compared")                             \
	F(S, STR, unit, "unit", AS_OPT, "of the numbers: percent, MB, ...")                    \
	F(S, STR, path, "path", AS_OPT, "of the cgroup whose pressure it is")                  \
	F(S, BOOL, once, "once", AS_OPT, "it has no duration: the end comes with the start")   \
	F(S, SCENTI, value_centi, "value", AS_ALWAYS, "at start: the value; at end: the peak") \
	F(S, SCENTI, limit_centi, "limit", AS_ALWAYS, "the threshold")                         \
	F(S, ENUM, ended, "state", AS_ALWAYS, "start or end", alert_state)                     \
	F(S, DUR, duration_ns, "duration_ns", AS_ALWAYS, "beyond the limit so far")            \
	F(S, SCENTI, min_centi, "min", AS_OPT, "while it lasted")                              \
	F(S, SCENTI, avg_centi, "avg", AS_OPT, "while it lasted, weighted by time")            \
	F(S, SCENTI, max_centi, "max", AS_OPT, "while it lasted")

/* ---- agentsight ---- */

struct as_start {
	struct as_hdr h;
	struct as_span version;
	struct as_span kernel;
	struct as_span boot_id;
	struct as_span argv;
};
#define AS_START_FIELDS(F, S)                                                   \
	F(S, STR, version, "version", AS_ALWAYS, "of agentsight")               \
	F(S, STR, kernel, "kernel", AS_ALWAYS, "release of the running kernel") \
	F(S, STR, boot_id, "boot_id", AS_ALWAYS, "random id of this boot")      \
	F(S, ARGV, argv, "argv", AS_ALWAYS, "how agentsight was called")

struct as_capability {
	struct as_hdr h;
	struct as_span family;
	struct as_span hook;
	struct as_span mechanism;
	struct as_span reason;
	__u32 state;
	__u32 pad;
};
#define AS_CAPABILITY_FIELDS(F, S)                                                         \
	F(S, STR, family, "family", AS_ALWAYS, "proc, file, net, tls or system")           \
	F(S, STR, hook, "hook", AS_ALWAYS, "what is watched")                              \
	F(S, ENUM, state, "state", AS_ALWAYS, "attached, degraded or missing", capability) \
	F(S, STR, mechanism, "mechanism", AS_OPT, "how it is watched")                     \
	F(S, STR, reason, "reason", AS_OPT, "why not, or what the mechanism costs")        \
	F(S, HIDDEN32, pad, "", AS_ALWAYS, "")

/* The reason of what was shed at a stated limit, which is not lost. */
#define AS_LOSS_LIMIT "limit"

struct as_loss {
	struct as_hdr h;
	struct as_span reason;
	struct as_span event;
	__u64 count;
	__u64 total;
};
#define AS_LOSS_FIELDS(F, S)                                              \
	F(S, STR, reason, "reason", AS_ALWAYS, "where it was lost")       \
	F(S, STR, event, "event", AS_ALWAYS, "type of the events lost")   \
	F(S, U64, count, "count", AS_ALWAYS, "since the last loss event") \
	F(S, U64, total, "total", AS_ALWAYS, "since the start")

/* The ledger: produced = delivered + dropped + missed + filtered + shed + difference. */
struct as_stats {
	struct as_hdr h;
	__u64 produced;
	__u64 delivered;
	__u64 dropped;
	__u64 missed;
	__u64 filtered;
	__u64 shed;
	__u64 lost;
	__u64 late;
	__u64 duration_ns;
	__u64 rss_kb;
	__u64 cpu_ns;
	__u64 difference;
	struct as_span streams;
	struct as_span tables;
	struct as_span reason;
	__u32 pad;
};
#define AS_STATS_FIELDS(F, S)                                                                \
	F(S, STR, reason, "reason", AS_OPT, "what ended the run")                            \
	F(S, DUR, duration_ns, "duration_ns", AS_ALWAYS, "since the start")                  \
	F(S, U64, produced, "produced", AS_ALWAYS, "events that happened")                   \
	F(S, U64, delivered, "delivered", AS_ALWAYS, "events written to the output")         \
	F(S, U64, lost, "lost", AS_ALWAYS, "dropped + missed")                               \
	F(S, U64, dropped, "dropped", AS_ALWAYS, "for lack of room, or an output error")     \
	F(S, U64, missed, "missed", AS_ALWAYS, "hooks that the kernel skipped")              \
	F(S, U64, filtered, "filtered", AS_ALWAYS, "not asked for")                          \
	F(S, U64, shed, "shed", AS_ALWAYS, "beyond a stated limit")                          \
	F(S, U64, difference, "difference", AS_ALWAYS,                                       \
	  "produced less the others: 0; in `stats`, on its way")                             \
	F(S, U64, late, "late", AS_ALWAYS, "delivered out of their order in time")           \
	F(S, U64, rss_kb, "rss_kb", AS_ALWAYS, "agentsight's own memory")                    \
	F(S, DUR, cpu_ns, "cpu_ns", AS_ALWAYS, "agentsight's own CPU time")                  \
	F(S, JSON, streams, "streams", AS_ALWAYS, "the same per event type, where not zero") \
	F(S, JSON, tables, "tables", AS_OPT,                                                 \
	  "{table: {refused, evicted}}: what found no room, and what was given up")          \
	F(S, HIDDEN32, pad, "", AS_ALWAYS, "")

/*
 * One row per type: id, struct, source, data.type, fields, help. Types of source "internal" go from
 * the kernel to user space and are never shown.
 */
#define AS_EVENTS(E)                                                                               \
	E(EXEC, as_exec, "process", "exec", AS_EXEC_FIELDS, "a program was started")               \
	E(FORK, as_fork, "process", "fork", AS_FORK_FIELDS, "a process was created")               \
	E(EXIT, as_exit, "process", "exit", AS_EXIT_FIELDS, "the last thread of a process ended")  \
	E(NAMED, as_named, "internal", "named", AS_NAMED_FIELDS, "it has a name asked for")        \
	E(FILE_OPEN, as_file_open, "file", "open", AS_FILE_OPEN_FIELDS,                            \
	  "open, creat, openat, openat2")                                                          \
	E(FILE_READ, as_file_io, "file", "read", AS_FILE_IO_FIELDS,                                \
	  "reads of an open file or block device")                                                 \
	E(FILE_WRITE, as_file_io, "file", "write", AS_FILE_IO_FIELDS,                              \
	  "writes to an open file or block device")                                                \
	E(FILE_UNLINK, as_file_op, "file", "unlink", AS_FILE_OP_FIELDS, "a name was removed")      \
	E(FILE_RENAME, as_file_op, "file", "rename", AS_FILE_RENAME_FIELDS, "a name was changed")  \
	E(FILE_MKDIR, as_file_op, "file", "mkdir", AS_FILE_MODE_FIELDS, "a directory was made")    \
	E(FILE_RMDIR, as_file_op, "file", "rmdir", AS_FILE_OP_FIELDS, "a directory was removed")   \
	E(FILE_TRUNCATE, as_file_op, "file", "truncate", AS_FILE_TRUNCATE_FIELDS,                  \
	  "truncate, ftruncate")                                                                   \
	E(FILE_LINK, as_file_op, "file", "link", AS_FILE_LINK_FIELDS, "a hard link was made")      \
	E(FILE_SYMLINK, as_file_op, "file", "symlink", AS_FILE_SYMLINK_FIELDS,                     \
	  "a symbolic link was made")                                                              \
	E(FILE_CHMOD, as_file_op, "file", "chmod", AS_FILE_MODE_FIELDS, "permissions changed")     \
	E(FILE_SEEN, as_file_seen, "internal", "file_seen", AS_FILE_SEEN_FIELDS, "first transfer") \
	E(FILE_DONE, as_file_done, "internal", "file_done", AS_FILE_DONE_FIELDS, "last sums")      \
	E(CONNECT, as_connect, "network", "connect", AS_CONNECT_FIELDS,                            \
	  "a connection was made, or was refused or failed once it was asked for")                 \
	E(ACCEPT, as_accept, "network", "accept", AS_ACCEPT_FIELDS, "a connection came in")        \
	E(SEND, as_net_io, "network", "send", AS_NET_IO_FIELDS, "one send call")                   \
	E(RECV, as_net_io, "network", "recv", AS_NET_IO_FIELDS, "one receive call")                \
	E(FLOW, as_flow, "network", "flow", AS_FLOW_FIELDS, "a connection's sums, once a second")  \
	E(CLOSE, as_flow, "network", "close", AS_CLOSE_FIELDS, "a connection's exact totals")      \
	E(RETRANSMIT, as_retransmit, "network", "retransmit", AS_RETRANSMIT_FIELDS,                \
	  "a segment was sent again")                                                              \
	E(NET_DATA, as_ssl_data, "network", "data", AS_NET_DATA_FIELDS,                            \
	  "what one call sent or received of HTTP without TLS")                                    \
	E(STDIO_DATA, as_stdio_data, "stdio", "data", AS_STDIO_DATA_FIELDS,                        \
	  "what one call moved through a pipe or socket that is stdin, stdout or stderr")          \
	E(SSL_DATA, as_ssl_data, "ssl", "data", AS_SSL_DATA_FIELDS, "plaintext of one call")       \
	E(SSL_HANDSHAKE, as_ssl_handshake, "ssl", "handshake", AS_SSL_HANDSHAKE_FIELDS,            \
	  "a TLS session was set up")                                                              \
	E(SSL_SESSION, as_ssl_session, "ssl", "session", AS_SSL_SESSION_FIELDS,                    \
	  "what no handshake told: the name, the protocol or the socket of a TLS session")         \
	E(HTTP_REQUEST, as_http_request, "ssl", "http_request", AS_HTTP_REQUEST_FIELDS,            \
	  "a request is complete")                                                                 \
	E(HTTP_RESPONSE, as_http_response, "ssl", "http_response", AS_HTTP_RESPONSE_FIELDS,        \
	  "a response is complete")                                                                \
	E(WS_MESSAGE, as_ws_message, "ssl", "ws_message", AS_WS_MESSAGE_FIELDS,                    \
	  "a message of a WebSocket")                                                              \
	E(LLM_REQUEST, as_llm_request, "llm", "request", AS_LLM_REQUEST_FIELDS,                    \
	  "a language model was asked")                                                            \
	E(LLM_RESPONSE, as_llm_response, "llm", "response", AS_LLM_RESPONSE_FIELDS,                \
	  "a language model answered")                                                             \
	E(TOOL_RUN, as_tool_run, "llm", "tool_run", AS_TOOL_RUN_FIELDS, "what a tool call did")    \
	E(SYSTEM_METRICS, as_system_metrics, "system", "system_metrics", AS_SYSTEM_METRICS_FIELDS, \
	  "CPU and memory of one process")                                                         \
	E(SYSTEM_WIDE, as_system_wide, "system", "system_wide", AS_SYSTEM_WIDE_FIELDS,             \
	  "CPU and memory of the machine")                                                         \
	E(SYSTEM_TREE, as_system_tree, "system", "tree", AS_SYSTEM_TREE_FIELDS,                    \
	  "a process with all that it started")                                                    \
	E(SYSTEM_THREAD, as_system_thread, "system", "thread", AS_SYSTEM_THREAD_FIELDS,            \
	  "CPU, waits and I/O of one thread")                                                      \
	E(PROCESS_INFO, as_process_info, "process", "info", AS_PROCESS_INFO_FIELDS,                \
	  "who a process is")                                                                      \
	E(OOM_KILL, as_oom_kill, "process", "oom_kill", AS_OOM_KILL_FIELDS,                        \
	  "the kernel killed it to get memory")                                                    \
	E(CGROUP, as_cgroup, "system", "cgroup", AS_CGROUP_FIELDS,                                 \
	  "stalls and limits of a cgroup, or of the machine")                                      \
	E(GPU, as_gpu, "system", "gpu", AS_GPU_FIELDS, "a graphics or compute device")             \
	E(SYSCALLS, as_syscalls, "system", "syscalls", AS_SYSCALLS_FIELDS,                         \
	  "what a process asked the kernel for")                                                   \
	E(OFFCPU, as_offcpu, "system", "offcpu", AS_OFFCPU_FIELDS,                                 \
	  "what the threads of a process waited for")                                              \
	E(SUMMARY, as_summary, "system", "summary", AS_SUMMARY_FIELDS, "the whole run")            \
	E(THRESHOLD, as_threshold, "alert", "threshold", AS_THRESHOLD_FIELDS,                      \
	  "a threshold was crossed")                                                               \
	E(START, as_start, "agentsight", "start", AS_START_FIELDS, "the run began")                \
	E(CAPABILITY, as_capability, "agentsight", "capability", AS_CAPABILITY_FIELDS,             \
	  "what could be attached, and how")                                                       \
	E(LOSS, as_loss, "agentsight", "loss", AS_LOSS_FIELDS, "events were lost")                 \
	E(STATS, as_stats, "agentsight", "stats", AS_STATS_FIELDS, "the ledger so far")            \
	E(STOP, as_stats, "agentsight", "stop", AS_STATS_FIELDS, "the run ended: the whole ledger")

enum as_event_type {
	AS_EV_NONE,
#define AS_EVENT_ENUM(ID, ...) AS_EV_##ID,
	AS_EVENTS(AS_EVENT_ENUM)
#undef AS_EVENT_ENUM
		AS_EV_COUNT
};

AS_EVENTS(AS_CHECK_EVENT)

#endif
