/* SPDX-License-Identifier: MIT */
/*
 * The order of things: known executables, the cache, then the passes over the file and the finders of each
 * library, of which several may be in one program.
 */
#include "find/find.h"

#include <elf.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "find/cache.h"
#include "find/library.h"
#include "find/table.h"

static const char *const function_names[N_FIND_FUNCTIONS] = {
	[FIND_WRITE] = "write", [FIND_READ] = "read", [FIND_HANDSHAKE] = "handshake",
	[FIND_SEAL] = "seal",   [FIND_OPEN] = "open",
};

static const char *const shape_names[N_FIND_SHAPES] = {
	[FIND_SHAPE_RET_INT] = "ret-int",
	[FIND_SHAPE_RET_INT_FLAGS] = "ret-int-flags",
	[FIND_SHAPE_COUNT_ARG4] = "count-arg4",
	[FIND_SHAPE_COUNT_ARG5] = "count-arg5",
	[FIND_SHAPE_AEAD] = "aead",
	[FIND_SHAPE_AEAD_SCATTER] = "aead-scatter",
	[FIND_SHAPE_AEAD_GATHER] = "aead-gather",
	[FIND_SHAPE_RING] = "ring",
	[FIND_SHAPE_GO_ENTRY] = "go-entry",
	[FIND_SHAPE_GO_RETURN] = "go-return",
};

const char *find_function_name(enum find_function function)
{
	return function_names[function];
}

const char *find_shape_name(enum find_shape shape)
{
	return shape_names[shape];
}

int find_function_parse(const char *name, enum find_function *ret)
{
	for (enum find_function i = 0; i < N_FIND_FUNCTIONS; i++) {
		if (strcmp(name, function_names[i]) == 0) {
			*ret = i;
			return 0;
		}
	}
	return -EINVAL;
}

int find_shape_parse(const char *name, enum find_shape *ret)
{
	for (enum find_shape i = 0; i < N_FIND_SHAPES; i++) {
		if (strcmp(name, shape_names[i]) == 0) {
			*ret = i;
			return 0;
		}
	}
	return -EINVAL;
}

void find_refuse(struct find_result *result, const char *fmt, ...)
{
	size_t len = strlen(result->reason);
	va_list ap;

	if (len > 0 && len + 2 < sizeof(result->reason)) {
		memcpy(result->reason + len, "; ", 3);
		len += 2;
	}
	va_start(ap, fmt);
	vsnprintf(result->reason + len, sizeof(result->reason) - len, fmt, ap);
	va_end(ap);
}

static const struct {
	const char *name;
	const char *method;
} libraries[N_LIBRARIES] = {
	[LIBRARY_BORINGSSL] = {"BoringSSL", "BoringSSL error sites"},
	[LIBRARY_OPENSSL] = {"OpenSSL", "OpenSSL function names"},
	[LIBRARY_NSS] = {"NSS", "NSS tables of socket operations"},
	[LIBRARY_AWS_LC] = {"AWS-LC", "AWS-LC AEAD error sites"},
	[LIBRARY_RING] = {"ring", "ring algorithm tables"},
	[LIBRARY_GO] = {"Go", "Go function table"},
	[LIBRARY_TABLE] = {"TLS", "table of known executables"},
};

int find_library_add(struct find_result *result, enum library library, const char *version)
{
	struct find_library *l = &result->libraries[result->n_libraries];

	if (result->n_libraries == FIND_LIBRARIES_MAX)
		return -E2BIG;

	*l = (struct find_library){
		.name = libraries[library].name,
		.method = libraries[library].method,
	};
	snprintf(l->version, sizeof(l->version), "%s", version);
	result->n_libraries++;
	return 0;
}

int find_library_parse(const char *name, enum library *ret)
{
	for (enum library i = 0; i < N_LIBRARIES; i++) {
		if (strcmp(name, libraries[i].name) == 0) {
			*ret = i;
			return 0;
		}
	}
	return -EINVAL;
}

void find_sites_clear(struct find_result *result)
{
	free(result->sites);
	result->sites = NULL;
	result->n = 0;
	result->n_libraries = 0;
}

int find_offset_add(struct find_result *result, struct image *im, enum find_function function,
		    enum find_shape shape, uint64_t offset)
{
	struct find_site *sites, site = {
					 .function = function,
					 .shape = shape,
					 .library = (uint8_t)(result->n_libraries - 1),
					 .offset = offset,
				 };
	ssize_t n;

	if (result->n == FIND_SITES_MAX)
		return -E2BIG;
	if (!image_offset_in_text(im, offset, &site.vaddr))
		return -ENOENT;
	n = image_read_upto(im, site.vaddr, site.code, sizeof(site.code));
	if (n < 0)
		return (int)n;

	sites = reallocarray(result->sites, result->n + 1, sizeof(*sites));
	if (!sites)
		return -ENOMEM;
	result->sites = sites;
	sites[result->n++] = site;
	return 0;
}

/* endbr64 changes neither stack nor registers, and is single-stepped where push behind it is emulated. */
static uint64_t endbr_skip(struct image *im, uint64_t vaddr)
{
	uint8_t code[5];

	return image_read(im, vaddr, code, sizeof(code)) == 0 &&
			       memcmp(code, "\xf3\x0f\x1e\xfa", 4) == 0
		       ? vaddr + 4
		       : vaddr;
}

int find_site_add(struct find_result *result, struct image *im, enum find_function function,
		  enum find_shape shape, uint64_t vaddr)
{
	uint64_t offset;

	vaddr = endbr_skip(im, vaddr);
	if (!image_in_text(im, vaddr) || image_offset(im, vaddr, &offset) < 0)
		return -ENOENT;
	return find_offset_add(result, im, function, shape, offset);
}

/* Two copies of one library: which one is used cannot be told, and its twin may be half of it. */
static bool library_twice(const struct find_result *result, const char **ret)
{
	for (size_t i = 0; i < result->n_libraries; i++) {
		for (size_t k = 0; k < i; k++) {
			if (result->libraries[i].method == result->libraries[k].method) {
				*ret = result->libraries[i].name;
				return true;
			}
		}
	}
	return false;
}

static int libraries_find(struct search *s)
{
	static int (*const finders[])(struct search *) = {
		find_boringssl, find_openssl, find_nss, find_aead, find_ring, find_golang,
	};
	int r = scan_anchors(s->im, &s->hits);

	if (r == 0)
		r = scan_refs(s->im, &s->hits, &s->refs);
	if (r == 0)
		r = scan_targets(s->im, &s->refs, &s->targets);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(finders); i++)
		r = finders[i](s);
	return r;
}

static int image_search(struct image *im, struct find_result *ret)
{
	_cleanup_(freep) struct search *s = calloc(1, sizeof(*s));
	const char *name;
	int r;

	if (!s)
		return -ENOMEM;
	s->im = im;
	s->result = ret;

	r = libraries_find(s);
	refs_done(&s->refs);
	targets_done(&s->targets);
	if (r < 0)
		return r;

	if (library_twice(ret, &name)) {
		find_sites_clear(ret);
		find_refuse(ret, "%s is there twice", name);
	}
	if (ret->n > 0)
		return 0;
	if (!*ret->reason)
		find_refuse(ret, "no TLS library that can be recognised without symbols");
	return -ENOENT;
}

/* Reads the table and the cache; -ENODATA when neither knows the file. */
static int known_look(int fd, struct image *im, const struct find_options *o,
		      struct find_result *ret)
{
	int r = o->table ? find_table_look(o->table, im, ret) : -ENOENT;

	if (r == 0)
		return 0;
	if (r == -ESTALE)
		find_refuse(ret, "the table of known executables is wrong about this file");

	r = o->cache ? find_cache_load(o->cache, fd, im, ret) : -ENODATA;
	return r == 0 || r == -ENOENT ? r : -ENODATA;
}

static int file_find(int fd, const struct find_options *o, struct find_result *ret)
{
	_cleanup_(image_freep) struct image *im = NULL;
	struct stat before;
	int r = fstat(fd, &before) < 0 ? -errno : image_open(fd, o->stop, &im);

	if (r < 0)
		return r;
	if (image_machine(im) != EM_X86_64)
		return -EOPNOTSUPP;
	r = image_build_id(im, &ret->id);
	if (r < 0)
		return r;

	r = known_look(fd, im, o, ret);
	if (r != -ENODATA)
		return r;

	r = image_search(im, ret);
	if (o->cache && (r == 0 || r == -ENOENT))
		(void)find_cache_store(o->cache, fd, &before, ret);
	return r;
}

static const char *errno_reason(int r)
{
	switch (r) {
	case -ENOEXEC:
		return "not an ELF file";
	case -EOPNOTSUPP:
		return "not a 64-bit x86-64 program or library";
	case -EBADMSG:
		return "a damaged or truncated ELF file";
	case -E2BIG:
		return "more tables or references than any program seen";
	case -ECANCELED:
		return "the search was stopped";
	default:
		return strerror(-r);
	}
}

int find_functions(int fd, const struct find_options *options, struct find_result *ret)
{
	static const struct find_options none;
	int r;

	*ret = (struct find_result){};
	r = file_find(fd, options ? options : &none, ret);
	if (r < 0 && r != -ENOENT) {
		find_sites_clear(ret);
		find_refuse(ret, "%s", errno_reason(r));
	}
	return r;
}

void find_result_done(struct find_result *result)
{
	find_sites_clear(result);
	*result = (struct find_result){};
}

void find_result_print(const struct find_result *result, FILE *out)
{
	for (size_t i = 0; i < result->n_libraries; i++) {
		const struct find_library *l = &result->libraries[i];

		fprintf(out, "%s, by %s%s\n", *l->version ? l->version : l->name, l->method,
			result->cached ? " (cached)" : "");
		for (size_t k = 0; k < result->n; k++) {
			const struct find_site *s = &result->sites[k];

			if (s->library == i)
				fprintf(out,
					"  %-9s %-12s offset 0x%" PRIx64 ", address 0x%" PRIx64
					"\n",
					find_function_name(s->function), find_shape_name(s->shape),
					s->offset, s->vaddr);
		}
	}
	if (*result->reason)
		fprintf(out, "%s: %s\n", result->n ? "not found" : "nothing found", result->reason);
}
