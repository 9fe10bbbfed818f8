/* SPDX-License-Identifier: MIT */
/* What the tests of TLS plaintext share. */
#ifndef AGENTSIGHT_TESTS_TLS_H
#define AGENTSIGHT_TESTS_TLS_H

#include "live.h"
#include "sha256.h"

/* Adds the plaintext of an ssl.data event. */
void tls_plaintext_add(const struct line *l, struct sha256 *sum, uint64_t *bytes);

#endif
