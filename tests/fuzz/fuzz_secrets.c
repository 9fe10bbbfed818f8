/* SPDX-License-Identifier: MIT */
/*
 * Cutting a text in two never reveals a byte that is masked in the whole, except the backslashes and
 * dashes at the cut that may be part of a closing quote or a PEM footer.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "stage/secrets.h"

/* Enough for any input of the fuzzer: with too few the last span grows over what lies between. */
#define SPANS 8192

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Masks one piece of @copy in place; checks what the header promises about spans. */
static void piece_mask(struct secret_scan *st, const uint8_t *in, size_t n, uint8_t *copy)
{
	struct secret_span spans[SPANS];
	size_t n_spans, total, sum = 0, end = 0, i;
	uint8_t *exact = malloc(n ? n : 1); /* so that ASan sees a read past the end */

	if (!exact)
		return;
	memcpy(exact, in, n);

	n_spans = secrets_mask(st, exact, n, spans, SPANS, &total);
	if (n_spans > SPANS)
		abort();
	for (i = 0; i < n_spans; i++) {
		if (spans[i].len == 0 || spans[i].off < end || spans[i].off + spans[i].len > n)
			abort();
		end = spans[i].off + spans[i].len;
		sum += spans[i].len;
	}
	if (sum != total)
		abort();

	secrets_apply(copy, n, spans, n_spans);
	free(exact);
}

static void check(const uint8_t *text, size_t n, size_t cut, const uint8_t *whole)
{
	struct secret_scan st = {0};
	uint8_t *split = malloc(n + 1);
	size_t i, held = cut;

	if (!split)
		return;
	memcpy(split, text, n);
	piece_mask(&st, text, cut, split);
	piece_mask(&st, text + cut, n - cut, split + cut);

	while (held && (text[held - 1] == '\\' || text[held - 1] == '-'))
		held--;
	for (i = 0; i < n; i++) {
		if (whole[i] == '*' && split[i] != '*' && !(i >= held && i < cut))
			abort();
	}
	free(split);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *whole;
	size_t cut;

	if (size < 2)
		return 0;
	cut = (size_t)(data[0] | data[1] << 8);
	data += 2;
	size -= 2;

	whole = malloc(size + 1);
	if (!whole)
		return 0;
	memcpy(whole, data, size);
	piece_mask(NULL, data, size, whole);
	check(data, size, cut % (size + 1), whole);
	free(whole);
	return 0;
}
