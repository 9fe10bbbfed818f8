/* SPDX-License-Identifier: MIT */
/* Header compression of HTTP/2 on nghttp2's inflater; see the header for what is done about lost tables. */
#include "http/http2_hpack.h"

#include <errno.h>

#include <nghttp2/nghttp2.h>

#include "base/cleanup.h"

#define TABLE_DEFAULT 4096U
#define ENTRY_MIN     32U /* what an entry with neither name nor value counts, RFC 7541, 4.1 */

/*
 * How many unknown entries a table gets, by how often it was not enough. No table of the default size
 * has more than 128; real ones have some 60, and each costs 160 bytes here.
 */
static const struct {
	uint32_t table_size;
	uint32_t entries;
} blind_fill[] = {
	{TABLE_DEFAULT, 64},
	{TABLE_DEFAULT, TABLE_DEFAULT / ENTRY_MIN},
	{HPACK_TABLE_MAX, HPACK_TABLE_MAX / ENTRY_MIN},
};

static int errno_of(ssize_t r)
{
	return r == NGHTTP2_ERR_NOMEM ? -ENOMEM : -EBADMSG;
}

static int inflate(nghttp2_hd_inflater *inflater, const uint8_t *p, size_t n, bool last,
		   hpack_field field, void *context)
{
	for (;;) {
		nghttp2_nv nv;
		int flags = 0;
		ssize_t used = nghttp2_hd_inflate_hd2(inflater, &nv, &flags, p, n, last);

		if (used < 0)
			return errno_of(used);
		p += used;
		n -= (size_t)used;

		if (flags & NGHTTP2_HD_INFLATE_EMIT)
			field(context, (struct http_text){(const char *)nv.name, nv.namelen},
			      (struct http_text){(const char *)nv.value, nv.valuelen});
		if (flags & NGHTTP2_HD_INFLATE_FINAL)
			return nghttp2_hd_inflate_end_headers(inflater) == 0 ? 0 : -EBADMSG;
		if (n == 0 && !(flags & NGHTTP2_HD_INFLATE_EMIT))
			return 0;
	}
}

static void ignore(void *context, struct http_text name, struct http_text value)
{
}

/* An integer with a prefix of @bits, RFC 7541, 5.1. */
static size_t integer_put(uint8_t *p, uint8_t first, unsigned bits, uint32_t value)
{
	uint32_t max = (1U << bits) - 1;
	size_t n = 0;

	if (value < max) {
		p[n++] = (uint8_t)(first | value);
		return n;
	}
	p[n++] = (uint8_t)(first | max);
	for (value -= max; value >= 128; value >>= 7)
		p[n++] = (uint8_t)(value | 128);
	p[n++] = (uint8_t)value;
	return n;
}

/* Header blocks as a sender would write them: a table size, then fields with empty name and value. */
static int fill_unknown(nghttp2_hd_inflater *inflater, uint32_t table_size, uint32_t entries)
{
	static const uint8_t first[] = {0x40, 0, 0};   /* a new name, of length 0 */
	static const uint8_t again[] = {0x40 | 62, 0}; /* the name of the newest entry: shared */
	uint8_t size[8];
	int r;

	r = inflate(inflater, size, integer_put(size, 0x20, 5, table_size), false, ignore, NULL);
	if (r == 0)
		r = inflate(inflater, first, sizeof(first), false, ignore, NULL);
	for (uint32_t i = 1; i < entries && r == 0; i++)
		r = inflate(inflater, again, sizeof(again), false, ignore, NULL);
	if (r == 0)
		r = inflate(inflater, size, 0, true, ignore, NULL);
	return r;
}

static int inflater_fill(struct hpack *z)
{
	size_t step = MIN((size_t)z->failures, ARRAY_SIZE(blind_fill) - 1);
	bool often = z->fills >= HPACK_FILLS_MAX;

	while (step < ARRAY_SIZE(blind_fill) - 1 && blind_fill[step].table_size < z->table_size)
		step++;
	z->fills += !often;
	return fill_unknown(z->inflater, blind_fill[step].table_size,
			    blind_fill[often ? 0 : step].entries);
}

static int inflater_make(struct hpack *z)
{
	int r;

	if (nghttp2_hd_inflate_new(&z->inflater) != 0)
		return -ENOMEM;

	r = nghttp2_hd_inflate_change_table_size(z->inflater, HPACK_TABLE_MAX);
	if (r == 0 && z->blind)
		r = inflater_fill(z);
	if (r == 0)
		return 0;
	hpack_done(z);
	return -ENOMEM; /* what is fed is our own, so nothing else can fail */
}

int hpack_decode(struct hpack *z, const uint8_t *p, size_t n, bool last, hpack_field field,
		 void *context)
{
	int r;

	if (z->failures >= HPACK_FAILURES_MAX)
		return -EBADMSG;
	if (!z->inflater) {
		r = inflater_make(z);
		if (r < 0)
			return r;
	}

	r = inflate(z->inflater, p, n, last, field, context);
	if (r == -EBADMSG) {
		hpack_lose(z);
		z->failures++;
	}
	return r;
}

void hpack_lose(struct hpack *z)
{
	if (z->inflater)
		z->table_size =
			(uint32_t)nghttp2_hd_inflate_get_max_dynamic_table_size(z->inflater);
	hpack_done(z);
	z->blind = true;
}

void hpack_done(struct hpack *z)
{
	if (z->inflater)
		nghttp2_hd_inflate_del(z->inflater);
	z->inflater = NULL;
}
