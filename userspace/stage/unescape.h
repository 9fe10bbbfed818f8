/* SPDX-License-Identifier: MIT */
/*
 * Undoes those escapes of JSON behind which names and ends of secrets hide: Go writes & as \u0026, Gson
 * = as \u003d, .NET " as \u0022, PHP / as \/. JSON inside a JSON string has more backslashes before them.
 * All other escapes stay: secrets.h knows what \n and \" are.
 */
#ifndef AGENTSIGHT_STAGE_UNESCAPE_H
#define AGENTSIGHT_STAGE_UNESCAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stage/secrets.h"

/* An escape is held until it is whole, over the pieces of a stream. */
#define UNESCAPE_SLASHES 16
#define UNESCAPE_HELD    (UNESCAPE_SLASHES + 5)

/* All zeroes is a fresh stream. */
struct unescape {
	uint8_t held[UNESCAPE_HELD];
	uint8_t n_held;
};

/* Is there such an escape, or the beginning of one at the end? */
bool unescape_needed(const uint8_t *in, size_t n);

/* Into @out, of at least @n + UNESCAPE_HELD bytes; returns how many they became. */
size_t unescape_piece(struct unescape *u, const uint8_t *in, size_t n, uint8_t *out);

/* At the end of a text: what is held is no escape. */
size_t unescape_end(struct unescape *u, uint8_t *out);

/*
 * Where in @in spans of the text that it became are, in place. @u is the state before the piece. A span up
 * to the end of that text takes in what is held.
 */
void unescape_map(struct unescape u, const uint8_t *in, size_t n, struct secret_span *spans,
		  size_t n_spans);

#endif
