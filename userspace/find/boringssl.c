/* SPDX-License-Identifier: MIT */
/*
 * BoringSSL's SSL_write, SSL_read and SSL_do_handshake. Its error reports name the file ssl/ssl_lib.cc and a
 * reason; the reasons' numbers have not changed since January 2017, and which function of that file uses
 * which of them is unique. Calls between the functions found are the proof.
 */
#include "find/library.h"

#include <errno.h>
#include <string.h>

#define ERR_LIB_SSL 16

enum reason {
	SHOULD_NOT_HAVE_BEEN_CALLED = 66,
	BAD_LENGTH = 111,
	CONNECTION_TYPE_NOT_SET = 134,
	SSL_HANDSHAKE_FAILURE = 215,
	UNINITIALIZED = 226,
};

/* The functions, once each is unique; NULL when it is not. */
struct found {
	const struct function *handshake;
	const struct function *write;
	const struct function *fill; /* the internal function that reads records */
	const struct function *read;
};

typedef bool (*is_fn)(const struct function *f, const struct found *found);

/* The only function that @is accepts; NULL when there is none or a second one. */
static const struct function *only(const struct functions *fs, is_fn is, const struct found *found,
				   size_t *ret_count)
{
	const struct function *match = NULL;

	*ret_count = 0;
	for (size_t i = 0; i < fs->n; i++) {
		if (is(&fs->list[i], found)) {
			match = &fs->list[i];
			++*ret_count;
		}
	}
	return *ret_count == 1 ? match : NULL;
}

static bool is_handshake(const struct function *f, const struct found *found)
{
	return function_reports(f, CONNECTION_TYPE_NOT_SET);
}

/* Both may run the handshake first. */
static bool is_transfer(const struct function *f, const struct found *found)
{
	return f != found->handshake && function_reports(f, UNINITIALIZED) &&
	       function_reports(f, SSL_HANDSHAKE_FAILURE) &&
	       function_calls(f, found->handshake->start);
}

static bool is_write(const struct function *f, const struct found *found)
{
	return is_transfer(f, found) && function_reports(f, BAD_LENGTH);
}

static bool is_fill(const struct function *f, const struct found *found)
{
	return is_transfer(f, found) && !function_reports(f, BAD_LENGTH);
}

/* SSL_read with SSL_peek inlined into it; SSL_peek alone has no callers in any build seen. */
static bool is_read(const struct function *f, const struct found *found)
{
	return f != found->write && f != found->fill && f != found->handshake &&
	       function_reports(f, SHOULD_NOT_HAVE_BEEN_CALLED) && f->callers > 0 &&
	       function_calls(f, found->fill->start);
}

static int refuse(struct search *s, const char *path, const char *name, size_t count)
{
	find_refuse(s->result, "BoringSSL (%sssl/ssl_lib) is there, but %zu functions look like %s",
		    path, count, name);
	return -ENOENT;
}

/* -ENOENT when this set of functions is not BoringSSL's, or not all of it can be told. */
static int functions_choose(struct search *s, const char *path, const struct functions *fs,
			    struct found *ret)
{
	static const struct {
		const char *name;
		is_fn is;
		size_t slot;
	} steps[] = {
		{"SSL_do_handshake", is_handshake, offsetof(struct found, handshake)},
		{"SSL_write", is_write, offsetof(struct found, write)},
		{"the internal read function", is_fill, offsetof(struct found, fill)},
		{"SSL_read", is_read, offsetof(struct found, read)},
	};

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		size_t count;
		const struct function *f = only(fs, steps[i].is, ret, &count);

		if (!f)
			return refuse(s, path, steps[i].name, count);
		memcpy((char *)ret + steps[i].slot, &f, sizeof(f));
	}
	return 0;
}

/* OpenSSL has a ssl/ssl_lib.c, too, but another number for itself. */
static bool reports_any(const struct functions *fs)
{
	for (size_t i = 0; i < fs->n; i++) {
		for (unsigned int reason = 0; reason < REASONS_MAX; reason++) {
			if (function_reports(&fs->list[i], reason))
				return true;
		}
	}
	return false;
}

static int sites_add(struct search *s, const struct found *found)
{
	int r = find_library_add(s->result, LIBRARY_BORINGSSL, "");

	if (r == 0)
		r = find_site_add(s->result, s->im, FIND_WRITE, FIND_SHAPE_RET_INT,
				  found->write->start);
	if (r == 0)
		r = find_site_add(s->result, s->im, FIND_READ, FIND_SHAPE_RET_INT,
				  found->read->start);
	if (r == 0)
		r = find_site_add(s->result, s->im, FIND_HANDSHAKE, FIND_SHAPE_RET_INT,
				  found->handshake->start);
	return r;
}

/* One copy of the library, told by its path. */
static int copy_find(struct search *s, int hit)
{
	const char *path = s->hits.of[ANCHOR_SSL_LIB][hit].text;
	_cleanup_(functions_done) struct functions fs = {};
	struct found found = {};
	int r = functions_collect(s->im, &s->refs, &s->targets, ANCHOR_SSL_LIB, hit, ERR_LIB_SSL,
				  &fs);

	if (r < 0)
		return r;
	if (!reports_any(&fs))
		return 0;

	r = functions_choose(s, path, &fs, &found);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return sites_add(s, &found);
}

int find_boringssl(struct search *s)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < s->hits.n[ANCHOR_SSL_LIB]; i++)
		r = copy_find(s, (int)i);
	return r;
}
