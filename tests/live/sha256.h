/* SPDX-License-Identifier: MIT */
/* FIPS 180-4, so that the static test program needs no library for it. */
#ifndef AGENTSIGHT_TESTS_SHA256_H
#define AGENTSIGHT_TESTS_SHA256_H

#include <stddef.h>
#include <stdint.h>

struct sha256 {
	uint32_t h[8];
	uint8_t block[64];
	uint64_t len;
};

void sha256_begin(struct sha256 *s);
void sha256_add(struct sha256 *s, const void *p, size_t n);
void sha256_end(struct sha256 *s, char hex[65]);

#endif
