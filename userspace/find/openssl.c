/* SPDX-License-Identifier: MIT */
/*
 * OpenSSL 3 without symbols. Its error reports carry the reporting function's name, so the names of functions
 * that report errors are in the file, each referenced from inside of that function. SSL_read and SSL_read_ex
 * both end in ssl_read_internal(ssl, buf, num, &done), SSL_write and its relatives in ssl_write_internal(),
 * which since 3.3 has a word of flags before the pointer.
 *
 * OpenSSL 1.1.1 passes numbers in the names' place, which are only in a table of messages; it is recognised and
 * refused.
 */
#include "find/library.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LETTERS_MAX 7 /* behind the number: "1.1.1w" */

struct version {
	unsigned int major;
	unsigned int minor;
	char text[32]; /* "OpenSSL 3.5.5" */
};

/* sscanf() would take blanks and line ends before a number for a part of it, and they of the version. */
static bool number_parse(const char **at, unsigned int *ret)
{
	size_t n = strspn(*at, "0123456789");

	if (n == 0 || n > 3)
		return false;
	*ret = (unsigned int)strtoul(*at, NULL, 10);
	*at += n;
	return true;
}

/* "OpenSSL 3.5.5 27 Jan 2026": with a date, or it is prose. */
static bool version_parse(const char *text, struct version *ret)
{
	const char *at = text + strlen("OpenSSL ");
	unsigned int patch, day;
	char month[4];
	int len;

	if (strncmp(text, "OpenSSL ", (size_t)(at - text)) != 0 ||
	    !number_parse(&at, &ret->major) || *at++ != '.' || !number_parse(&at, &ret->minor) ||
	    *at++ != '.' || !number_parse(&at, &patch))
		return false;
	at += MIN(strspn(at, "abcdefghijklmnopqrstuvwxyz"), (size_t)LETTERS_MAX);
	len = (int)(at - text);
	if (sscanf(at, " %2u %3[A-Za-z]", &day, month) != 2)
		return false;

	snprintf(ret->text, sizeof(ret->text), "%.*s", len, text);
	return true;
}

struct versions {
	size_t n;
	bool differ; /* in what matters: the arguments of ssl_write_internal() */
	struct version first;
};

static void version_take(struct versions *vs, const struct version *v)
{
	if (vs->n++ == 0)
		vs->first = *v;
	else if (v->major != vs->first.major || (v->minor < 3) != (vs->first.minor < 3))
		vs->differ = true;
}

static void versions_short(const struct hits *h, struct versions *vs)
{
	for (size_t i = 0; i < h->n[ANCHOR_VERSION]; i++) {
		struct version v = {.major = 3};

		v.minor = (unsigned int)(h->of[ANCHOR_VERSION][i].text[2] - '0');
		snprintf(v.text, sizeof(v.text), "OpenSSL 3.%u", v.minor);
		version_take(vs, &v);
	}
}

/*
 * The version that the file states. The long form is linked in only where a program asks for it; the short
 * one is always there, as its default provider has it, but may stand among other libraries' versions, so all
 * have to agree.
 */
static bool version_find(const struct search *s, struct version *ret)
{
	const struct hits *h = &s->hits;
	struct versions vs = {};

	for (size_t i = 0; i < h->n[ANCHOR_OPENSSL]; i++) {
		struct version v;

		if (version_parse(h->of[ANCHOR_OPENSSL][i].text, &v))
			version_take(&vs, &v);
	}
	if (vs.n == 0 && h->n[ANCHOR_VERSION] < HITS_MAX)
		versions_short(h, &vs);
	*ret = vs.first;
	return vs.n > 0 && !vs.differ;
}

/*
 * The one function that refers to a name. It is called directly: the cold half that compilers split off
 * functions holds the error reports as well, but is only jumped to.
 */
static int named_find(struct search *s, enum anchor anchor, const char *name, uint64_t *ret)
{
	_cleanup_(functions_done) struct functions fs = {};
	int r = functions_collect(s->im, &s->refs, &s->targets, anchor, -1, 0, &fs);

	if (r < 0)
		return r;
	if (fs.n != 1) {
		find_refuse(s->result, "OpenSSL is there, but %zu functions call themselves %s",
			    fs.n, name);
		return -ENOENT;
	}
	if (fs.list[0].callers == 0) {
		find_refuse(s->result, "OpenSSL is there, but nothing calls what looks like %s",
			    name);
		return -ENOENT;
	}
	*ret = fs.list[0].start;
	return 0;
}

static int sites_add(struct search *s, const struct version *v)
{
	enum find_shape write_shape = v->minor < 3 ? FIND_SHAPE_COUNT_ARG4 : FIND_SHAPE_COUNT_ARG5;
	uint64_t read, write, handshake = 0;
	int r = named_find(s, ANCHOR_READ, "ssl_read_internal", &read);

	if (r == 0)
		r = named_find(s, ANCHOR_WRITE, "ssl_write_internal", &write);
	if (r < 0)
		return r == -ENOENT ? 0 : r;

	/* Only a mark in the stream: data can be recorded without it. */
	r = named_find(s, ANCHOR_HANDSHAKE, "SSL_do_handshake", &handshake);
	if (r < 0 && r != -ENOENT)
		return r;

	r = find_library_add(s->result, LIBRARY_OPENSSL, v->text);
	if (r == 0)
		r = find_site_add(s->result, s->im, FIND_WRITE, write_shape, write);
	if (r == 0)
		r = find_site_add(s->result, s->im, FIND_READ, FIND_SHAPE_COUNT_ARG4, read);
	if (r == 0 && handshake)
		r = find_site_add(s->result, s->im, FIND_HANDSHAKE, FIND_SHAPE_RET_INT, handshake);
	return r;
}

int find_openssl(struct search *s)
{
	bool named = s->hits.n[ANCHOR_READ] > 0 && s->hits.n[ANCHOR_WRITE] > 0;
	struct version v;
	bool known = version_find(s, &v);

	if (known && v.major == 3 && named)
		return sites_add(s, &v);

	if (named && !(known && v.major < 3))
		find_refuse(s->result, "OpenSSL 3 is there, but its version cannot be told");
	else if (known && v.major < 3 && (named || s->hits.n[ANCHOR_SSL_LIB] > 0))
		find_refuse(s->result, "%s without symbols has no functions that name themselves",
			    v.text);
	return 0;
}
