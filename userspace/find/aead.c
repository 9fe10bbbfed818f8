/* SPDX-License-Identifier: MIT */
/*
 * The authenticated encryption below rustls, which has no functions of its own to recognise. AWS-LC's
 * EVP_AEAD_CTX_ functions report errors as BoringSSL's do, and ring keeps one table per algorithm.
 */
#include "find/library.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ERR_LIB_CIPHER 30

enum reason {
	BAD_DECRYPT = 101,
	BUFFER_TOO_SMALL = 103,
	CTRL_NOT_IMPLEMENTED = 104,
	INVALID_NONCE_SIZE_OR_OPERATION = 112,
	OUTPUT_ALIASES_INPUT = 115,
	TOO_LARGE = 117,
};

/* All four check for overlapping buffers; nothing else in the file does. */
static const struct {
	const char *name;
	enum find_function function;
	enum find_shape shape;
	unsigned int has[2];
	unsigned int lacks[2];
} kinds[] = {
	{"EVP_AEAD_CTX_seal",
	 FIND_SEAL,
	 FIND_SHAPE_AEAD,
	 {TOO_LARGE, BUFFER_TOO_SMALL},
	 {BAD_DECRYPT, CTRL_NOT_IMPLEMENTED}},
	{"EVP_AEAD_CTX_seal_scatter",
	 FIND_SEAL,
	 FIND_SHAPE_AEAD_SCATTER,
	 {INVALID_NONCE_SIZE_OR_OPERATION, OUTPUT_ALIASES_INPUT},
	 {TOO_LARGE, BAD_DECRYPT}},
	{"EVP_AEAD_CTX_open",
	 FIND_OPEN,
	 FIND_SHAPE_AEAD,
	 {BAD_DECRYPT, BUFFER_TOO_SMALL},
	 {TOO_LARGE, INVALID_NONCE_SIZE_OR_OPERATION}},
	{"EVP_AEAD_CTX_open_gather",
	 FIND_OPEN,
	 FIND_SHAPE_AEAD_GATHER,
	 {CTRL_NOT_IMPLEMENTED, OUTPUT_ALIASES_INPUT},
	 {BAD_DECRYPT, TOO_LARGE}},
};

static bool is_kind(const struct function *f, size_t kind)
{
	if (!function_reports(f, OUTPUT_ALIASES_INPUT))
		return false;
	for (size_t i = 0; i < 2; i++) {
		if (!function_reports(f, kinds[kind].has[i]) ||
		    function_reports(f, kinds[kind].lacks[i]))
			return false;
	}
	return true;
}

/* The only function of this kind; 0 when there is none or a second one, which is told. */
static uint64_t kind_find(struct search *s, const struct functions *fs, size_t kind)
{
	uint64_t vaddr = 0;
	size_t count = 0;

	for (size_t i = 0; i < fs->n; i++) {
		if (is_kind(&fs->list[i], kind)) {
			vaddr = fs->list[i].start;
			count++;
		}
	}
	if (count > 1)
		find_refuse(s->result, "AWS-LC is there, but %zu functions look like %s", count,
			    kinds[kind].name);
	return count == 1 ? vaddr : 0;
}

static int aws_lc_add(struct search *s, const struct functions *fs)
{
	uint64_t vaddrs[ARRAY_SIZE(kinds)];
	bool seal = false, open = false;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		vaddrs[i] = kind_find(s, fs, i);
		seal |= vaddrs[i] && kinds[i].function == FIND_SEAL;
		open |= vaddrs[i] && kinds[i].function == FIND_OPEN;
	}
	if (!seal || !open) {
		find_refuse(s->result, "AWS-LC is there, but its %s cannot be told",
			    seal ? "decryption" : "encryption");
		return 0;
	}

	r = find_library_add(s->result, LIBRARY_AWS_LC, "");
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(kinds); i++) {
		if (vaddrs[i])
			r = find_site_add(s->result, s->im, kinds[i].function, kinds[i].shape,
					  vaddrs[i]);
	}
	return r;
}

/* Is there a TLS of the same source tree? Then its records pass through these functions a second time. */
static bool below_tls(const struct search *s, const char *path)
{
	for (size_t i = 0; i < s->hits.n[ANCHOR_SSL_LIB]; i++) {
		const char *tree = s->hits.of[ANCHOR_SSL_LIB][i].text;

		if (*tree && strncmp(path, tree, strlen(tree)) == 0)
			return true;
	}
	return false;
}

int find_aead(struct search *s)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < s->hits.n[ANCHOR_AEAD]; i++) {
		_cleanup_(functions_done) struct functions fs = {};

		if (below_tls(s, s->hits.of[ANCHOR_AEAD][i].text))
			continue;
		r = functions_collect(s->im, &s->refs, &s->targets, ANCHOR_AEAD, (int)i,
				      ERR_LIB_CIPHER, &fs);
		if (r == 0 && fs.n > 0)
			r = aws_lc_add(s, &fs);
	}
	return r;
}

/*
 * ring: AES-128 and AES-256 share seal and open, so two tables with the right key lengths and ids and with
 * the same two pointers are the proof. Tables may be some KiB apart.
 */
#define RING_NEAR   8192
#define RING_TABLES 64

/* None is shorter: the shortest seen only forwards its arguments, in 58 bytes. */
#define RING_FUNCTION 16

struct ring_table {
	uint64_t vaddr;
	uint64_t id;
	uint64_t pointers[3]; /* init, seal, open */
};

struct ring_tables {
	size_t n;
	struct ring_table of[RING_TABLES];
};

static const uint64_t ring_key_lens[] = {16, 32, 32};

/* Three functions, none inside of another: words of some other table are small numbers or neighbours. */
static bool table_sane(struct image *im, const struct ring_table *t)
{
	for (size_t i = 0; i < 3; i++) {
		uint64_t a = t->pointers[i], b = t->pointers[(i + 1) % 3];

		if (MAX(a, b) - MIN(a, b) < RING_FUNCTION || !function_begins(im, a))
			return false;
	}
	return true;
}

/* Reads the tables' pointers as they are at run time and keeps the tables that hold three functions. */
static int tables_resolve(struct search *s, struct ring_tables *t)
{
	uint64_t vaddrs[RING_TABLES * 3], values[RING_TABLES * 3];
	size_t kept = 0;
	int r;

	for (size_t i = 0; i < t->n * 3; i++)
		vaddrs[i] = t->of[i / 3].vaddr + i % 3 * 8;
	r = image_pointers(s->im, vaddrs, values, t->n * 3);
	if (r < 0)
		return r == -EBADMSG ? -ENOENT : r;

	for (size_t i = 0; i < t->n; i++) {
		struct ring_table table = t->of[i];

		memcpy(table.pointers, values + i * 3, sizeof(table.pointers));
		if (table_sane(s->im, &table))
			t->of[kept++] = table;
	}
	t->n = kept;
	return 0;
}

/* Candidates for tables of @id around @vaddr. */
static int tables_around(struct search *s, uint64_t vaddr, uint64_t id, struct ring_tables *t)
{
	uint64_t start = vaddr - MIN(image_before(s->im, vaddr) & ~7ULL, (uint64_t)RING_NEAR);
	uint64_t words[2 * RING_NEAR / 8];
	ssize_t n;

	n = image_read_upto(s->im, start, words, sizeof(words));
	if (n < 0)
		return n == -EBADMSG ? 0 : (int)n;

	for (size_t i = 3; i + 2 <= (size_t)n / 8 && t->n < RING_TABLES; i++) {
		if (words[i] == ring_key_lens[id] && words[i + 1] == id)
			t->of[t->n++] = (struct ring_table){.vaddr = start + (i - 3) * 8, .id = id};
	}
	return 0;
}

static bool same_functions(const struct ring_table *a, const struct ring_table *b)
{
	return a->pointers[1] == b->pointers[1] && a->pointers[2] == b->pointers[2];
}

static int ring_add(struct search *s, const struct ring_table *aes, const struct ring_table *chacha)
{
	int r = find_library_add(s->result, LIBRARY_RING, "");

	if (r == 0)
		r = find_site_add(s->result, s->im, FIND_SEAL, FIND_SHAPE_RING, aes->pointers[1]);
	if (r == 0)
		r = find_site_add(s->result, s->im, FIND_OPEN, FIND_SHAPE_RING, aes->pointers[2]);
	if (r == 0 && chacha)
		r = find_site_add(s->result, s->im, FIND_SEAL, FIND_SHAPE_RING,
				  chacha->pointers[1]);
	if (r == 0 && chacha)
		r = find_site_add(s->result, s->im, FIND_OPEN, FIND_SHAPE_RING,
				  chacha->pointers[2]);
	return r;
}

/* The table for ChaCha20 near the others; NULL when it is not there or not the only one. */
static const struct ring_table *chacha_choose(struct search *s, const struct ring_tables *t)
{
	const struct ring_table *chacha = NULL;
	size_t count = 0;

	for (size_t i = 0; i < t->n; i++) {
		if (t->of[i].id == 2) {
			chacha = &t->of[i];
			count++;
		}
	}
	if (count > 1)
		find_refuse(s->result, "ring is there, but %zu tables look like ChaCha20's", count);
	return count == 1 ? chacha : NULL;
}

/* 1 when a pair was found around this table for AES-256. */
static int ring_pair_find(struct search *s, const struct ring_table *aes256)
{
	_cleanup_(freep) struct ring_tables *t = calloc(1, sizeof(*t));
	int r = t ? tables_around(s, aes256->vaddr, 0, t) : -ENOMEM;

	if (r == 0)
		r = tables_around(s, aes256->vaddr, 2, t);
	if (r == 0)
		r = tables_resolve(s, t);
	if (r < 0)
		return r == -ENOENT ? 0 : r;

	for (size_t i = 0; i < t->n; i++) {
		if (t->of[i].id == 0 && same_functions(&t->of[i], aes256)) {
			r = ring_add(s, aes256, chacha_choose(s, t));
			return r < 0 ? r : 1;
		}
	}
	return 0;
}

int find_ring(struct search *s)
{
	_cleanup_(freep) struct ring_tables *t = calloc(1, sizeof(*t));
	int r = t ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < s->hits.n[ANCHOR_RING]; i++)
		t->of[t->n++] =
			(struct ring_table){.vaddr = s->hits.of[ANCHOR_RING][i].vaddr, .id = 1};
	if (r == 0 && t->n > 0)
		r = tables_resolve(s, t);
	if (r < 0)
		return r == -ENOENT ? 0 : r;

	for (size_t i = 0; r == 0 && i < t->n; i++)
		r = ring_pair_find(s, &t->of[i]);
	return r < 0 ? r : 0;
}
