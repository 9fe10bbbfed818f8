/* SPDX-License-Identifier: MIT */
/*
 * Finds secrets in bytes, so that they can be masked before any sink sees them. It knows names
 * ("authorization", "api_key") and shapes ("sk-…", "ghp_…"), not events: the caller hands over text,
 * whole or piece by piece, and gets the spans to overwrite. The input is never written to.
 *
 * What stays readable on purpose: the name, the scheme word of an Authorization value, and the
 * fixed prefix of a key shape ("sk-", "ghp_"), which tell what kind of secret stood there; of a
 * private key in JSON what makes its lines strings, so that it stays JSON.
 */
#ifndef AGENTSIGHT_STAGE_SECRETS_H
#define AGENTSIGHT_STAGE_SECRETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How far back a name may reach, with quotes and indentation; a longer one is known by its end. */
#define SECRETS_BACK 64

struct secret_span {
	size_t off;
	size_t len;
};

/* The state of one stream. All zeroes is a fresh stream; there is nothing to release. */
struct secret_scan {
	uint32_t count;  /* bytes of the candidate or value seen so far */
	uint32_t held;   /* trailing backslashes that may turn out not to belong to it */
	bool last;       /* for the caller to set: nothing comes behind the next piece */
	uint8_t mode;    /* what the next byte is part of */
	uint8_t kind;    /* what ends the value */
	uint8_t shape;   /* row of the shape table */
	uint8_t min;     /* a value shorter than this is left alone */
	uint8_t dots;    /* dots seen in the candidate */
	bool mixed;      /* a digit or capital was seen in the candidate */
	bool scheme;     /* the value starts with a scheme word */
	uint8_t quote;   /* the quote that closes the value */
	uint8_t escaped; /* backslashes before that quote: 1 in JSON inside a JSON string */
	uint8_t list;    /* so many lists is the value in */

	/* in a private key, whatever the mode says besides */
	bool pem;
	uint16_t block; /* bytes since its header */
	uint16_t far;   /* bytes since a word that may be of the key */
	uint8_t word;   /* length of such a word, as far as it matters */
	bool digit;     /* it has one */
	bool upper;     /* it has a capital */
	uint8_t dashes; /* as many in a row */

	uint8_t tail_len; /* valid bytes in tail; less than SECRETS_BACK only at the stream's start */
	uint8_t tail[SECRETS_BACK];
};

_Static_assert(sizeof(struct secret_scan) <= 128, "one of these per stream");

/* The state before a list of arguments or variables, each of which ends with a NUL; @whole: it is one piece. */
struct secret_scan secrets_list(bool whole);

/*
 * Finds the spans to mask in the next piece of a stream, ascending and disjoint. @st is NULL for a
 * text that stands alone. A candidate that the end of a piece cuts is masked at once, since the piece
 * is gone when its rest arrives; so cutting a text can only mask more. When @spans has no room, the
 * last span grows over everything up to the newest secret: nothing is revealed for want of room.
 * Returns the number of spans; @ret_total (may be NULL) gets the number of bytes in them. With
 * @max_spans 0 only the total is found.
 */
size_t secrets_mask(struct secret_scan *st, const uint8_t *in, size_t n, struct secret_span *spans,
		    size_t max_spans, size_t *ret_total);

/* Does the rest of a stream give the same from either state? Only told of text outside of any secret. */
bool secrets_agree(const struct secret_scan *a, const struct secret_scan *b);

/* Overwrites the spans in a copy of the text with '*'. Lengths and offsets stay as they are. */
void secrets_apply(uint8_t *copy, size_t n, const struct secret_span *spans, size_t n_spans);

#endif
