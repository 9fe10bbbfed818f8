/* SPDX-License-Identifier: MIT */
/* Amounts as a person reads them: "1.5 KiB", "12.3 ms". */
#ifndef AGENTSIGHT_BASE_UNITS_H
#define AGENTSIGHT_BASE_UNITS_H

#include <stdint.h>

#define UNITS_LEN 24

/* Both write the text to @out and return it. */
const char *units_bytes(char out[UNITS_LEN], uint64_t bytes);
const char *units_duration(char out[UNITS_LEN], uint64_t ns);

#endif
