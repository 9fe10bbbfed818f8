/* SPDX-License-Identifier: MIT */
/* What user space tells the TLS programs about a probed place: one number, the probe's cookie. */
#ifndef AGENTSIGHT_TLS_H
#define AGENTSIGHT_TLS_H

#include <agentsight/events.h>

enum as_tls_kind {
	AS_TLS_KIND_READ,
	AS_TLS_KIND_WRITE,
	AS_TLS_KIND_HANDSHAKE,
	AS_TLS_KIND_SNI,
	AS_TLS_KIND_ALPN,     /* asks what was negotiated */
	AS_TLS_KIND_SENDFILE, /* (ssl, fd, offset, size, flags): writes without a buffer */
	AS_TLS_KIND_FREE,     /* (ssl): the object's end */
};

/* How the function takes its arguments and tells the count of bytes. */
enum as_tls_shape {
	AS_TLS_SHAPE_RET_INT,
	AS_TLS_SHAPE_COUNT_ARG4,
	AS_TLS_SHAPE_COUNT_ARG5,
	AS_TLS_SHAPE_CTRL,
	AS_TLS_SHAPE_RET_SSIZE, /* as RET_INT with a long; a handshake returns 0 when done */
	AS_TLS_SHAPE_GO_ENTRY,
	AS_TLS_SHAPE_GO_RETURN,
	AS_TLS_SHAPE_AEAD,         /* whole record in, whole record out */
	AS_TLS_SHAPE_AEAD_SCATTER, /* seal: the tag goes elsewhere */
	AS_TLS_SHAPE_AEAD_GATHER,  /* open: the tag comes from elsewhere */
	AS_TLS_SHAPE_RING,
	AS_TLS_SHAPE_RET_INT_FLAGS, /* as RET_INT; the fourth argument may say that it only peeks */
};

/*
 * library 16 bits, function (enum as_tls_function) 8, kind 4, shape 4; of C functions also where the session's
 * object has the negotiated protocol, 16: pointer and length, 0 when not known
 */
#define AS_TLS_SPEC(kind, shape, function) \
	((__u64)(shape) << 28 | (__u64)(kind) << 24 | (__u64)(function) << 16)
#define AS_TLS_SPEC_LIBRARY(spec)  ((__u32)(spec)&0xffff)
#define AS_TLS_SPEC_FUNCTION(spec) ((__u32)(spec) >> 16 & 0xff)
#define AS_TLS_SPEC_KIND(spec)     ((__u32)(spec) >> 24 & 0xf)
#define AS_TLS_SPEC_SHAPE(spec)    ((__u32)(spec) >> 28 & 0xf)

#define AS_TLS_SPEC_AT(offset)    ((__u64)(offset) << 32)
#define AS_TLS_SPEC_ALPN_AT(spec) ((__u32)((spec) >> 32) & 0xffff)

#define AS_TLS_LIBRARIES_MAX 1024

#define AS_SERVER_NAME_MAX 256 /* RFC 1035: 255 bytes, and the NUL */
#define AS_ALPN_MAX        32  /* RFC 7301 allows 255; the longest registered name has 15 */

#endif
