/* SPDX-License-Identifier: MIT */
#include "base/recent.h"

#include <string.h>

static unsigned row_of(uint64_t key)
{
	return key * 0x9e3779b97f4a7c15ULL >> 54;
}
_Static_assert(RECENT_ROWS == 1 << 10, "the shift above");

/* Its place in the row, RECENT_WAYS when it has none. */
static int place_of(const uint64_t *row, uint64_t key)
{
	int i = 0;

	while (i < RECENT_WAYS && row[i] != key)
		i++;
	return i;
}

void recent_add(struct recent *r, uint64_t key)
{
	uint64_t *row = r->rows[row_of(key)];
	int at = place_of(row, key);

	memmove(row + 1, row, (at < RECENT_WAYS ? at : RECENT_WAYS - 1) * sizeof(*row));
	row[0] = key;
}

bool recent_has(const struct recent *r, uint64_t key)
{
	return place_of(r->rows[row_of(key)], key) < RECENT_WAYS;
}

void recent_remove(struct recent *r, uint64_t key)
{
	uint64_t *row = r->rows[row_of(key)];
	int at = place_of(row, key);

	if (at == RECENT_WAYS)
		return;
	memmove(row + at, row + at + 1, (RECENT_WAYS - 1 - at) * sizeof(*row));
	row[RECENT_WAYS - 1] = 0;
}
