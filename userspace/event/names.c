/* SPDX-License-Identifier: MIT */
/* Names for the values of ENUM and FLAGS fields. */
#include "event/names.h"

#include <fcntl.h>
#include <sched.h>

#include "base/cleanup.h"

#define TABLE(table) \
	const struct name_table names_##table = {table##_rows, ARRAY_SIZE(table##_rows)}

static const struct name_row protocol_rows[] = {
	{.value = AS_PROTO_TCP, .name = "tcp"},
	{.value = AS_PROTO_UDP, .name = "udp"},
};
TABLE(protocol);

static const struct name_row role_rows[] = {
	{.value = AS_ROLE_UNKNOWN, .name = "unknown"},
	{.value = AS_ROLE_CLIENT, .name = "client"},
	{.value = AS_ROLE_SERVER, .name = "server"},
};
TABLE(role);

/* The C library says 0 where programs of 64 bits need it not; many pass the kernel's bit. */
#ifdef __aarch64__
#define LARGEFILE 0400000
#else
#define LARGEFILE 0100000
#endif

/* The access mode is a number in two bits, not a set of flags; O_SYNC holds the bit of O_DSYNC and
 * O_TMPFILE that of O_DIRECTORY. */
static const struct name_row open_flags_rows[] = {
	{.value = O_RDONLY, .mask = O_ACCMODE, .name = "O_RDONLY"},
	{.value = O_WRONLY, .mask = O_ACCMODE, .name = "O_WRONLY"},
	{.value = O_RDWR, .mask = O_ACCMODE, .name = "O_RDWR"},
	{.value = O_CREAT, .name = "O_CREAT"},
	{.value = O_EXCL, .name = "O_EXCL"},
	{.value = O_NOCTTY, .name = "O_NOCTTY"},
	{.value = O_TRUNC, .name = "O_TRUNC"},
	{.value = O_APPEND, .name = "O_APPEND"},
	{.value = O_NONBLOCK, .name = "O_NONBLOCK"},
	{.value = O_DSYNC, .mask = O_SYNC, .name = "O_DSYNC"},
	{.value = O_SYNC, .name = "O_SYNC"},
	{.value = O_DIRECT, .name = "O_DIRECT"},
	{.value = O_NOFOLLOW, .name = "O_NOFOLLOW"},
	{.value = O_NOATIME, .name = "O_NOATIME"},
	{.value = O_ASYNC, .name = "O_ASYNC"},
	{.value = LARGEFILE, .name = "O_LARGEFILE"},
	{.value = O_CLOEXEC, .name = "O_CLOEXEC"},
	{.value = O_PATH, .name = "O_PATH"},
	{.value = O_DIRECTORY, .mask = O_TMPFILE, .name = "O_DIRECTORY"},
	{.value = O_TMPFILE, .name = "O_TMPFILE"},
};
TABLE(open_flags);

static const struct name_row file_flush_rows[] = {
	{.value = AS_FLUSH_CLOSE, .name = "close"},
	{.value = AS_FLUSH_TIMER, .name = "timer"},
	{.value = AS_FLUSH_EXIT, .name = "exit"},
	{.value = AS_FLUSH_STOP, .name = "stop"},
};
TABLE(file_flush);

static const struct name_row tls_direction_rows[] = {
	{.value = AS_TLS_READ, .name = "read"},
	{.value = AS_TLS_WRITE, .name = "write"},
};
TABLE(tls_direction);

static const struct name_row tls_function_rows[] = {
	{.value = AS_TLS_FN_SSL_READ, .name = "SSL_read"},
	{.value = AS_TLS_FN_SSL_READ_EX, .name = "SSL_read_ex"},
	{.value = AS_TLS_FN_SSL_WRITE, .name = "SSL_write"},
	{.value = AS_TLS_FN_SSL_WRITE_EX, .name = "SSL_write_ex"},
	{.value = AS_TLS_FN_SSL_DO_HANDSHAKE, .name = "SSL_do_handshake"},
	{.value = AS_TLS_FN_GNUTLS_RECV, .name = "gnutls_record_recv"},
	{.value = AS_TLS_FN_GNUTLS_RECV_SEQ, .name = "gnutls_record_recv_seq"},
	{.value = AS_TLS_FN_GNUTLS_SEND, .name = "gnutls_record_send"},
	{.value = AS_TLS_FN_GNUTLS_SEND2, .name = "gnutls_record_send2"},
	{.value = AS_TLS_FN_GNUTLS_HANDSHAKE, .name = "gnutls_handshake"},
	{.value = AS_TLS_FN_GO_READ, .name = "crypto/tls.(*Conn).Read"},
	{.value = AS_TLS_FN_GO_WRITE, .name = "crypto/tls.(*Conn).Write"},
	{.value = AS_TLS_FN_AEAD_SEAL, .name = "EVP_AEAD_CTX_seal"},
	{.value = AS_TLS_FN_AEAD_SEAL_SCATTER, .name = "EVP_AEAD_CTX_seal_scatter"},
	{.value = AS_TLS_FN_AEAD_OPEN, .name = "EVP_AEAD_CTX_open"},
	{.value = AS_TLS_FN_AEAD_OPEN_GATHER, .name = "EVP_AEAD_CTX_open_gather"},
	{.value = AS_TLS_FN_RING_SEAL, .name = "ring::aead seal"},
	{.value = AS_TLS_FN_RING_OPEN, .name = "ring::aead open"},
	{.value = AS_TLS_FN_SSL_SENDFILE, .name = "SSL_sendfile"},
	{.value = AS_TLS_FN_NSS_RECV, .name = "ssl_SecureRecv"},
	{.value = AS_TLS_FN_NSS_SEND, .name = "ssl_SecureSend"},
};
TABLE(tls_function);

static const struct name_row net_function_rows[] = {
	{.value = AS_NET_FN_NONE, .name = "none"},
	{.value = AS_NET_FN_READ, .name = "read"},
	{.value = AS_NET_FN_READV, .name = "readv"},
	{.value = AS_NET_FN_RECVFROM, .name = "recvfrom"},
	{.value = AS_NET_FN_RECVMSG, .name = "recvmsg"},
	{.value = AS_NET_FN_WRITE, .name = "write"},
	{.value = AS_NET_FN_WRITEV, .name = "writev"},
	{.value = AS_NET_FN_SENDTO, .name = "sendto"},
	{.value = AS_NET_FN_SENDMSG, .name = "sendmsg"},
};
TABLE(net_function);

/* RFC 8446, section 4.2.1, and its predecessors */
static const struct name_row tls_version_rows[] = {
	{.value = 0x0300, .name = "SSLv3"},   {.value = 0x0301, .name = "TLSv1.0"},
	{.value = 0x0302, .name = "TLSv1.1"}, {.value = 0x0303, .name = "TLSv1.2"},
	{.value = 0x0304, .name = "TLSv1.3"},
};
TABLE(tls_version);

static const struct name_row sample_reason_rows[] = {
	{.value = AS_SAMPLE_TIMER, .name = "timer"},
	{.value = AS_SAMPLE_FIRST, .name = "first"},
	{.value = AS_SAMPLE_FORK, .name = "fork"},
	{.value = AS_SAMPLE_EXEC, .name = "exec"},
	{.value = AS_SAMPLE_EXIT, .name = "exit"},
	{.value = AS_SAMPLE_ALERT, .name = "alert"},
	{.value = AS_SAMPLE_REQUEST, .name = "request"},
	{.value = AS_SAMPLE_LAST, .name = "last"},
};
TABLE(sample_reason);

static const struct name_row thread_state_rows[] = {
	{.value = AS_THREAD_RUNNING, .name = "running"},
	{.value = AS_THREAD_SLEEPING, .name = "sleeping"},
	{.value = AS_THREAD_DISK, .name = "disk"},
	{.value = AS_THREAD_STOPPED, .name = "stopped"},
	{.value = AS_THREAD_TRACED, .name = "traced"},
	{.value = AS_THREAD_DEAD, .name = "dead"},
	{.value = AS_THREAD_OTHER, .name = "other"},
};
TABLE(thread_state);

static const struct name_row sched_policy_rows[] = {
	{.value = SCHED_OTHER, .name = "other"},
	{.value = SCHED_FIFO, .name = "fifo"},
	{.value = SCHED_RR, .name = "rr"},
	{.value = SCHED_BATCH, .name = "batch"},
	{.value = SCHED_IDLE, .name = "idle"},
	{.value = 6, .name = "deadline"}, /* SCHED_DEADLINE, which the C library lacks */
};
TABLE(sched_policy);

static const struct name_row alert_state_rows[] = {
	{.value = 0, .name = "start"},
	{.value = 1, .name = "end"},
};
TABLE(alert_state);

static const struct name_row capability_rows[] = {
	{.value = 0, .name = "attached"},
	{.value = 1, .name = "degraded"},
	{.value = 2, .name = "missing"},
};
TABLE(capability);
