/* SPDX-License-Identifier: MIT */
/*
 * NSS's ssl_SecureRecv(socket, buf, num, flags) and ssl_SecureSend(). What programs call, PR_Read() and
 * its relatives of NSPR, serves every descriptor: files, pipes, plain sockets. The library has two
 * constant tables of operations, one for sockets with TLS and one for those that TLS was not turned on
 * for yet, and gives each socket one of them; what only the first one holds sees plaintext of TLS and
 * nothing else, whichever call it came by.
 *
 * The tables share the four operations that do not depend on TLS, and neither has one to accept. Which
 * one is which is proven by the code: read and write with TLS only add a flag of 0 and go on to receive and
 * send, without TLS they go to the layer below.
 */
#include "find/library.h"

#include <errno.h>
#include <string.h>

/* In the order of struct sslSocketOps; the same in 3.87 and 3.125. */
enum operation {
	CONNECT,
	ACCEPT,
	BIND,
	LISTEN,
	SHUTDOWN,
	CLOSE,
	RECV,
	SEND,
	READ,
	WRITE,
	PEER_NAME,
	OWN_NAME,
	N_OPERATIONS,
};

#define WORDS_MAX  (1U << 17) /* of tables that are read-only at run time; 2,000 are usual */
#define TABLES_MAX 64

struct tables {
	size_t n;
	const uint64_t *of[TABLES_MAX]; /* N_OPERATIONS pointers each */
};

static bool is_shared(enum operation i)
{
	return i == ACCEPT || i == BIND || i == LISTEN || i == PEER_NAME || i == OWN_NAME;
}

/* Functions in all places but one, and no function twice. */
static bool is_table(const struct image *im, const uint64_t *words)
{
	for (enum operation i = 0; i < N_OPERATIONS; i++) {
		if (i == ACCEPT ? words[i] != 0 : !image_in_text(im, words[i]))
			return false;
		for (enum operation k = 0; k < i; k++) {
			if (words[k] == words[i])
				return false;
		}
	}
	return true;
}

static bool is_pair(const uint64_t *a, const uint64_t *b)
{
	for (enum operation i = 0; i < N_OPERATIONS; i++) {
		if ((a[i] == b[i]) != is_shared(i))
			return false;
	}
	return true;
}

/* -E2BIG when so much looks like a table that none can be believed. */
static int tables_collect(const struct image *im, const uint64_t *words, size_t n,
			  struct tables *ret)
{
	ret->n = 0;
	for (size_t i = 0; i + N_OPERATIONS <= n; i++) {
		if (!is_table(im, words + i))
			continue;
		if (ret->n == TABLES_MAX)
			return -E2BIG;
		ret->of[ret->n++] = words + i;
	}
	return 0;
}

/* Does the function at @from call the one at @to, or end in it? An error when it cannot be read. */
static int leads_to(struct search *s, uint64_t from, uint64_t to)
{
	_cleanup_(function_done) struct function f = {};
	int r = function_at(s->im, &s->targets, from, &f);

	if (r < 0)
		return r;
	return f.start == from && function_calls(&f, to);
}

/* Read goes on to receive, write to send. What cannot be read is no proof. */
static int is_secure(struct search *s, const uint64_t *table)
{
	int r = leads_to(s, table[READ], table[RECV]);

	if (r > 0)
		r = leads_to(s, table[WRITE], table[SEND]);
	return r == -ENOENT || r == -EBADMSG ? 0 : r;
}

/* The only table of those with a twin that reads and writes with TLS; NULL with the reason told. */
static int secure_choose(struct search *s, const struct tables *t, const uint64_t **ret)
{
	size_t twins = 0, secure = 0;

	*ret = NULL;
	for (size_t i = 0; i < t->n; i++) {
		for (size_t k = 0; k < t->n; k++) {
			int r;

			if (i == k || !is_pair(t->of[i], t->of[k]))
				continue;
			twins++;
			r = is_secure(s, t->of[i]);
			if (r < 0)
				return r;
			if (r == 0)
				continue;
			secure++;
			*ret = t->of[i];
		}
	}
	if (secure == 1 && twins == 2)
		return 0;
	find_refuse(s->result,
		    "NSS is there, but %zu tables look like its socket operations, %zu like those "
		    "with TLS",
		    twins, secure);
	*ret = NULL;
	return 0;
}

static int sites_add(struct search *s, const uint64_t *table)
{
	int r = find_library_add(s->result, LIBRARY_NSS, "");

	if (r == 0)
		r = find_site_add(s->result, s->im, FIND_WRITE, FIND_SHAPE_RET_INT_FLAGS,
				  table[SEND]);
	if (r == 0)
		r = find_site_add(s->result, s->im, FIND_READ, FIND_SHAPE_RET_INT_FLAGS,
				  table[RECV]);
	return r;
}

static int words_search(struct search *s, const uint64_t *words, size_t n)
{
	struct tables t;
	const uint64_t *secure;
	int r = tables_collect(s->im, words, n, &t);

	if (r == -E2BIG) {
		find_refuse(s->result, "NSS is there, but too much looks like its tables");
		return 0;
	}
	r = secure_choose(s, &t, &secure);
	return r == 0 && secure ? sites_add(s, secure) : r;
}

int find_nss(struct search *s)
{
	_cleanup_(freep) uint64_t *words = NULL;
	struct image_segment relro;
	uint64_t begin;
	size_t n;
	int r;

	if (s->hits.n[ANCHOR_NSS] == 0)
		return 0;
	if (!image_relro(s->im, &relro) || relro.filesz / 8 > WORDS_MAX) {
		find_refuse(s->result, "NSS is there, but not as a library of its own");
		return 0;
	}
	begin = (relro.vaddr + 7) & ~7ULL;
	n = (relro.filesz - MIN(relro.filesz, begin - relro.vaddr)) / 8;
	words = calloc(n + 1, sizeof(*words));
	if (!words)
		return -ENOMEM;
	r = n > 0 ? image_pointer_table(s->im, begin, words, n) : -EBADMSG;
	if (r == -EBADMSG) {
		find_refuse(s->result, "NSS is there, but its read-only tables cannot be read");
		return 0;
	}
	return r < 0 ? r : words_search(s, words, n);
}
