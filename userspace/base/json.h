/* SPDX-License-Identifier: MIT */
/*
 * JSON values written straight into a byte buffer: no tree, no state, no commas. Whatever the input, what is
 * written is valid JSON in valid UTF-8. Running out of memory shows in the buffer's `failed`.
 */
#ifndef AGENTSIGHT_BASE_JSON_H
#define AGENTSIGHT_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

void json_u32(struct buf *b, uint32_t value);
void json_u64(struct buf *b, uint64_t value);
void json_i64(struct buf *b, int64_t value);
void json_boolean(struct buf *b, bool value);

/* @value / 10^@decimals with all its decimals: 2345, 2 -> 23.45 and 5, 2 -> 0.05. */
void json_fixed(struct buf *b, uint64_t value, unsigned decimals);

/* The most room that a text asks for at a time while it is written: for a piece of it in which all is escaped. */
#define JSON_PIECE_ROOM ((size_t)6560)

/*
 * A quoted string. False when the bytes were not UTF-8 throughout: each maximal ill-formed subpart has
 * become one U+FFFD. The answer means nothing when the buffer failed.
 */
bool json_string(struct buf *b, const char *p, size_t n);

/* The same without the quotes. */
bool json_string_body(struct buf *b, const char *p, size_t n);

/* The byte-by-byte form that machines without SSE2 get; always present so that tests can compare. */
bool json_string_body_scalar(struct buf *b, const char *p, size_t n);

/* Quoted base64 with padding (RFC 4648 section 4). */
void json_base64(struct buf *b, const void *p, size_t n);

/*
 * A quoted address. AF_INET takes the last four bytes; AF_INET6 is written as RFC 5952 says, and as dotted
 * IPv4 when it is an IPv4-mapped address. Any other @family gives null.
 */
void json_ip(struct buf *b, const uint8_t ip[16], int family);

#endif
