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
	NO_RENEGOTIATION = 182,
	SSL_HANDSHAKE_FAILURE = 215,
	UNINITIALIZED = 226,
};

/* The functions, once each is unique; NULL when it is not. */
struct found {
	const struct functions *all; /* of the file */
	const struct function *handshake;
	const struct function *write;
	const struct function *fill; /* the internal function that reads records */
	const struct function *read; /* or SSL_peek, where that is a function that SSL_read calls */
	uint64_t read_start;         /* of SSL_read */
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

/* Reading and writing may run the handshake first. */
static bool runs(const struct function *f, const struct function *handshake)
{
	return f != handshake && function_reports(f, UNINITIALIZED) &&
	       function_reports(f, SSL_HANDSHAKE_FAILURE) && function_calls(f, handshake->start);
}

static bool is_handshake(const struct function *f, const struct found *found)
{
	return function_reports(f, CONNECTION_TYPE_NOT_SET);
}

/* Where SSL_connect and SSL_accept hold copies of it, which nothing of this file calls. */
static bool is_called_handshake(const struct function *f, const struct found *found)
{
	if (!is_handshake(f, found))
		return false;
	for (size_t i = 0; i < found->all->n; i++) {
		if (runs(&found->all->list[i], f))
			return true;
	}
	return false;
}

static bool is_transfer(const struct function *f, const struct found *found)
{
	return runs(f, found->handshake);
}

static bool is_write(const struct function *f, const struct found *found)
{
	return is_transfer(f, found) && function_reports(f, BAD_LENGTH);
}

/* Older ones left lengths to others. It refuses QUIC, as does what may be inlined into the other one. */
static bool is_older_write(const struct function *f, const struct found *found)
{
	return is_transfer(f, found) && function_reports(f, SHOULD_NOT_HAVE_BEEN_CALLED) &&
	       !function_reports(f, NO_RENEGOTIATION);
}

static bool is_fill(const struct function *f, const struct found *found)
{
	return is_transfer(f, found) && f != found->write;
}

/*
 * SSL_read with SSL_peek inlined into it, where SSL_peek alone has no callers; or SSL_peek, which SSL_read calls.
 */
static bool is_read(const struct function *f, const struct found *found)
{
	return f != found->write && f != found->fill && f != found->handshake &&
	       function_reports(f, SHOULD_NOT_HAVE_BEEN_CALLED) && f->callers > 0 &&
	       function_calls(f, found->fill->start);
}

/* Where a program calls SSL_peek as well; see read_choose(). */
static bool is_storing_read(const struct function *f, const struct found *found)
{
	return is_read(f, found) && function_stores(f);
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
		is_fn or_else; /* where that is true of none or of several */
		size_t slot;
	} steps[] = {
		{"SSL_do_handshake", is_handshake, is_called_handshake,
		 offsetof(struct found, handshake)},
		{"SSL_write", is_write, is_older_write, offsetof(struct found, write)},
		{"the internal read function", is_fill, NULL, offsetof(struct found, fill)},
		{"SSL_read", is_read, is_storing_read, offsetof(struct found, read)},
	};

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		size_t count;
		const struct function *f = only(fs, steps[i].is, ret, &count);

		if (!f && steps[i].or_else)
			f = only(fs, steps[i].or_else, ret, &count);
		if (!f)
			return refuse(s, path, steps[i].name, count);
		memcpy((char *)ret + steps[i].slot, &f, sizeof(f));
	}
	return 0;
}

/* SSL_read, where @peek is SSL_peek: hands its arguments on, and moves on in what was received. */
static bool is_reader(const struct function *f, uint64_t peek)
{
	return function_forwards(f, peek) && function_stores(f);
}

static int readers_count(struct search *s, const struct targets *calls, uint64_t peek,
			 uint64_t *ret_start, size_t *ret_count)
{
	*ret_count = 0;
	for (size_t i = 0; i < calls->n; i++) {
		struct function f = {};
		int r = function_at(s->im, &s->targets, calls->targets[i].vaddr, &f);

		if (r == -ENOENT || r == -EBADMSG)
			continue;
		if (r < 0)
			return r;
		if (is_reader(&f, peek)) {
			*ret_start = f.start;
			++*ret_count;
		}
		function_done(&f);
	}
	return 0;
}

/*
 * SSL_read takes what it gave out of the buffer, so it writes memory; SSL_peek leaves that alone. What does not
 * write is SSL_peek if a function is seen that makes it a SSL_read.
 */
static int read_choose(struct search *s, const char *path, struct found *found)
{
	_cleanup_(targets_done) struct targets calls = {};
	size_t count;
	int r;

	found->read_start = found->read->start;
	if (function_stores(found->read))
		return 0;

	r = scan_callers(s->im, found->read->start, &calls);
	if (r == 0)
		r = readers_count(s, &calls, found->read->start, &found->read_start, &count);
	if (r == 0 && count > 1)
		r = refuse(s, path, "SSL_read", count);
	return r;
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
				  found->read_start);
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
	struct found found = {.all = &fs};
	int r = functions_collect(s->im, &s->refs, &s->targets, ANCHOR_SSL_LIB, hit, ERR_LIB_SSL,
				  &fs);

	if (r < 0)
		return r;
	if (!reports_any(&fs))
		return 0;

	r = functions_choose(s, path, &fs, &found);
	if (r == 0)
		r = read_choose(s, path, &found);
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
