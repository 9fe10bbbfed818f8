/* SPDX-License-Identifier: MIT */
/*
 * Strict UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above U+10FFFF. Ill-formed input is
 * cut the way the Unicode Standard recommends (section 3.9, "maximal subpart"), so that every reader
 * of the output counts the same number of U+FFFD.
 */
#ifndef AGENTSIGHT_BASE_UTF8_H
#define AGENTSIGHT_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How many bytes from the start are well-formed; @n when all are. */
size_t utf8_valid_prefix(const void *p, size_t n);

/* The length (1 to 4) of the well-formed sequence at @p, or 0 when there is none. */
size_t utf8_sequence(const uint8_t *p, size_t n);

/* Where utf8_sequence() said 0: the length (1 to 3) of what one U+FFFD replaces; 0 only when @n is 0. */
size_t utf8_bad_subpart(const uint8_t *p, size_t n);

/* Is it a byte of a sequence behind its first? */
static inline bool utf8_continues(char c)
{
	return ((uint8_t)c & 0xc0) == 0x80;
}

/* Writes the character @c, up to U+10FFFF; returns how many bytes (1 to 4) it took. */
size_t utf8_put(char out[4], uint32_t c);

/* How much of @text, @len bytes long, is whole characters in not more than @max bytes. */
size_t utf8_cut(const char *text, size_t len, size_t max);

/*
 * Do terminals show UTF-8? As the name of the locale says (LC_ALL, LC_CTYPE, LANG), which need not be installed for
 * that; before it was looked at they do.
 */
void utf8_look_at_locale(void);
bool utf8_is_shown(void);

/*
 * May a terminal get this character, of @len bytes? One of another encoding takes bytes from 80 to 9f for controls
 * (C1), and obeys them.
 */
bool utf8_is_harmless(const void *p, size_t len);

/* Where a reader finds the byte at @off, in characters from 1 on. */
size_t utf8_column(const char *text, size_t off);

#endif
