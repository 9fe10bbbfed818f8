/* SPDX-License-Identifier: MIT */
/*
 * Reads the format itself: one pass finds where each type lies and which ones have a name that is asked
 * for; then these are written out, and what they refer to is put at the end of the same queue.
 */
#include "source/btf.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <linux/btf.h>

#include "base/buf.h"
#include "base/cleanup.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

#define KINDS       20   /* those known to linux/btf.h of 6.0, up to BTF_KIND_ENUM64 */
#define NAMES_SLOTS 2048 /* a power of two, several times the number of names */
#define NAMES_MAX   (NAMES_SLOTS / 2)
#define CHAIN_MAX   32 /* modifiers and typedefs in a row, as in libbpf */

/* Ids in the copy: 0 is void as everywhere. */
#define SHELL_STRUCT 1 /* what a pointer to any struct leads to */
#define SHELL_UNION  2
#define FIRST_ID     3

/* What follows the fixed part of a type: some bytes, and so many for each of `vlen`. */
static const struct kind {
	unsigned char fixed, each;
	bool known;
	bool named; /* a program can name it */
} kinds[KINDS] = {
	[BTF_KIND_INT] = {.known = true, .named = true, .fixed = 4},
	[BTF_KIND_PTR] = {.known = true},
	[BTF_KIND_ARRAY] = {.known = true, .fixed = sizeof(struct btf_array)},
	[BTF_KIND_STRUCT] = {.known = true, .named = true, .each = sizeof(struct btf_member)},
	[BTF_KIND_UNION] = {.known = true, .named = true, .each = sizeof(struct btf_member)},
	[BTF_KIND_ENUM] = {.known = true, .named = true, .each = sizeof(struct btf_enum)},
	[BTF_KIND_FWD] = {.known = true, .named = true},
	[BTF_KIND_TYPEDEF] = {.known = true, .named = true},
	[BTF_KIND_VOLATILE] = {.known = true},
	[BTF_KIND_CONST] = {.known = true},
	[BTF_KIND_RESTRICT] = {.known = true},
	[BTF_KIND_FUNC] = {.known = true},
	[BTF_KIND_FUNC_PROTO] = {.known = true, .each = sizeof(struct btf_param)},
	[BTF_KIND_VAR] = {.known = true, .fixed = sizeof(struct btf_var)},
	[BTF_KIND_DATASEC] = {.known = true, .each = sizeof(struct btf_var_secinfo)},
	[BTF_KIND_FLOAT] = {.known = true, .named = true},
	[BTF_KIND_DECL_TAG] = {.known = true, .fixed = sizeof(struct btf_decl_tag)},
	[BTF_KIND_TYPE_TAG] = {.known = true},
	[BTF_KIND_ENUM64] = {.known = true, .named = true, .each = sizeof(struct btf_enum64)},
};

struct name {
	const char *text;
	size_t len;
};

/* The first two letters of all names that are asked for, a bit for each: most others differ there already. */
struct beginnings {
	unsigned char bits[(1 << 16) / CHAR_BIT];
};

struct reduction {
	const char *types, *strings; /* sections of the original */
	uint32_t types_len, strings_len;
	uint32_t *offsets; /* of each type, by id */
	uint32_t *ids;     /* its id in the copy; 0: not there */
	uint32_t n, cap;   /* of types in the original */
	uint32_t *queue;   /* what the copy has, in the order of its ids */
	uint32_t n_queue, cap_queue;
	struct name names[NAMES_SLOTS];
	struct beginnings types_begin, numbers_begin;
	const struct btf_wanted *wanted;
	struct buf out, out_strings;
	const char *last; /* of the names that are asked for */
	bool sorted;
	bool broken; /* the original refers to what it does not have */
};

static void reduction_done(struct reduction *r)
{
	free(r->offsets);
	free(r->ids);
	free(r->queue);
	buf_done(&r->out);
	buf_done(&r->out_strings);
}

/* ---- names ---- */

static uint32_t beginning(const char *name)
{
	return (unsigned char)name[0] << 8 | (name[0] ? (unsigned char)name[1] : 0);
}

static void beginning_add(struct beginnings *b, const char *name)
{
	b->bits[beginning(name) / CHAR_BIT] |= 1 << beginning(name) % CHAR_BIT;
}

static bool begins(const struct beginnings *b, const char *name)
{
	return b->bits[beginning(name) / CHAR_BIT] & 1 << beginning(name) % CHAR_BIT;
}

/* Without the flavour: "mm_struct" of "mm_struct___v510". As libbpf does, the last separator counts. */
static size_t essential_len(const char *name)
{
	size_t len = strlen(name);

	if (!strstr(name, "___"))
		return len;
	for (size_t i = len; i-- > 4;) {
		if (name[i] != '_' && !memcmp(name + i - 3, "___", 3) && name[i - 4] != '_')
			return i - 3;
	}
	return len;
}

/* FNV-1a */
static struct name *name_slot(struct reduction *r, const char *text, size_t len)
{
	uint32_t hash = 2166136261U;
	struct name *slot;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)text[i]) * 16777619U;
	for (;; hash++) {
		slot = &r->names[hash & (NAMES_SLOTS - 1)];
		if (!slot->text || (slot->len == len && !memcmp(slot->text, text, len)))
			return slot;
	}
}

static int names_take(struct reduction *r)
{
	const char *const *names = r->wanted->names;

	if (r->wanted->n_names > NAMES_MAX)
		return -E2BIG;
	for (size_t i = 0; i < r->wanted->n_names; i++) {
		size_t len = essential_len(names[i]);

		*name_slot(r, names[i], len) = (struct name){names[i], len};
		beginning_add(&r->types_begin, names[i]);
	}
	for (size_t i = 0; i < r->wanted->n_numbers; i++)
		beginning_add(&r->numbers_begin, r->wanted->numbers[i].name);
	return 0;
}

/* The section ends with a NUL, so every string in it does. */
static const char *string_at(struct reduction *r, uint32_t offset)
{
	if (offset < r->strings_len)
		return r->strings + offset;
	r->broken = true;
	return "";
}

static uint32_t string_copy(struct reduction *r, uint32_t offset)
{
	const char *text = string_at(r, offset);
	uint32_t at = r->out_strings.len;

	if (!*text)
		return 0;
	buf_add(&r->out_strings, text, strlen(text) + 1);
	return at;
}

/* ---- finding ---- */

/* The number that type @id of the original has in the copy. */
static uint32_t want(struct reduction *r, uint32_t id)
{
	if (id >= r->n) {
		r->broken = true;
		return 0;
	}
	if (id && !r->ids[id]) {
		r->ids[id] = FIRST_ID + r->n_queue;
		r->queue[r->n_queue++] = id;
	}
	return r->ids[id];
}

static bool is_wanted(struct reduction *r, const char *name)
{
	return *name && begins(&r->types_begin, name) &&
	       name_slot(r, name, essential_len(name))->text;
}

static void note_number(struct reduction *r, uint32_t id, uint32_t kind, const char *name)
{
	if (!begins(&r->numbers_begin, name))
		return;
	for (size_t i = 0; i < r->wanted->n_numbers; i++) {
		struct btf_number *n = &r->wanted->numbers[i];

		if (n->kind == kind && !strcmp(n->name, name))
			n->id = id;
	}
}

static int grow(uint32_t **p, uint32_t *cap, uint32_t least)
{
	uint32_t n = *cap ? *cap * 2 : least;
	uint32_t *grown = realloc(*p, n * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	*p = grown;
	*cap = n;
	return 0;
}

/* Notes type @id when it is asked for; its id in the copy comes later. */
static int type_look(struct reduction *r, uint32_t id, const struct btf_type *t)
{
	uint32_t kind = BTF_INFO_KIND(t->info);
	const char *name;

	if (!kinds[kind].named && kind != BTF_KIND_FUNC)
		return 0;
	name = string_at(r, t->name_off);
	note_number(r, id, kind, name);
	if (kind == BTF_KIND_FUNC || !is_wanted(r, name))
		return 0;
	r->sorted &= strcmp(r->last, name) <= 0;
	r->last = name;
	if (r->n_queue >= r->cap_queue && grow(&r->queue, &r->cap_queue, 1U << 10) < 0)
		return -ENOMEM;
	r->queue[r->n_queue++] = id;
	return 0;
}

/* Where each type lies, and which ones are asked for. */
static int types_index(struct reduction *r)
{
	struct btf_type t;
	uint64_t at = 0, size;
	uint32_t kind;

	for (r->n = 1; at < r->types_len; r->n++) {
		if (r->n >= r->cap && grow(&r->offsets, &r->cap, 1U << 17) < 0)
			return -ENOMEM;
		if (r->types_len - at < sizeof(t))
			return -EINVAL;
		memcpy(&t, r->types + at, sizeof(t));
		kind = BTF_INFO_KIND(t.info);
		if (kind >= KINDS || !kinds[kind].known)
			return -EINVAL;
		size = sizeof(t) + kinds[kind].fixed +
		       (uint64_t)kinds[kind].each * BTF_INFO_VLEN(t.info);
		if (r->types_len - at < size)
			return -EINVAL;
		r->offsets[r->n] = at;
		at += size;
		if (type_look(r, r->n, &t) < 0)
			return -ENOMEM;
	}
	return 0;
}

static struct btf_type type_at(const struct reduction *r, uint32_t id)
{
	struct btf_type t;

	memcpy(&t, r->types + r->offsets[id], sizeof(t));
	return t;
}

/* Room for all types, since those that are asked for may refer to any. */
static int ids_give(struct reduction *r)
{
	uint32_t *queue = realloc(r->queue, r->n * sizeof(*queue));

	if (!queue)
		return -ENOMEM;
	r->queue = queue;
	r->ids = calloc(r->n, sizeof(*r->ids));
	if (!r->ids)
		return -ENOMEM;
	for (uint32_t i = 0; i < r->n_queue; i++)
		r->ids[r->queue[i]] = FIRST_ID + i;
	return 0;
}

/* ---- writing ---- */

static bool is_alias(uint32_t kind)
{
	return kind == BTF_KIND_TYPEDEF || kind == BTF_KIND_CONST || kind == BTF_KIND_VOLATILE ||
	       kind == BTF_KIND_RESTRICT || kind == BTF_KIND_TYPE_TAG;
}

/*
 * What lies behind a pointer or in a function's signature: nothing is read through it by name, and only
 * kinds are compared. Without a name it is not taken for the type itself.
 */
static uint32_t want_kind(struct reduction *r, uint32_t id)
{
	for (size_t i = 0; id && id < r->n && i < CHAIN_MAX; i++) {
		struct btf_type t = type_at(r, id);

		if (BTF_INFO_KIND(t.info) == BTF_KIND_STRUCT)
			return SHELL_STRUCT;
		if (BTF_INFO_KIND(t.info) == BTF_KIND_UNION)
			return SHELL_UNION;
		if (!is_alias(BTF_INFO_KIND(t.info)))
			break;
		id = t.type;
	}
	return want(r, id);
}

static void write_array(struct reduction *r, const char *from)
{
	struct btf_array a;

	memcpy(&a, from, sizeof(a));
	a.type = want(r, a.type);
	a.index_type = want(r, a.index_type);
	buf_add(&r->out, &a, sizeof(a));
}

static void write_member(struct reduction *r, const char *from)
{
	struct btf_member m;

	memcpy(&m, from, sizeof(m));
	m.name_off = string_copy(r, m.name_off);
	m.type = want(r, m.type);
	buf_add(&r->out, &m, sizeof(m));
}

static void write_enumerator(struct reduction *r, const char *from)
{
	struct btf_enum e;

	memcpy(&e, from, sizeof(e));
	e.name_off = string_copy(r, e.name_off);
	buf_add(&r->out, &e, sizeof(e));
}

static void write_enumerator64(struct reduction *r, const char *from)
{
	struct btf_enum64 e;

	memcpy(&e, from, sizeof(e));
	e.name_off = string_copy(r, e.name_off);
	buf_add(&r->out, &e, sizeof(e));
}

static void write_param(struct reduction *r, const char *from)
{
	struct btf_param p;

	memcpy(&p, from, sizeof(p));
	p.name_off = 0;
	p.type = want_kind(r, p.type);
	buf_add(&r->out, &p, sizeof(p));
}

static void write_bits(struct reduction *r, const char *from)
{
	buf_add(&r->out, from, sizeof(uint32_t));
}

/* How a type and each of its parts are copied; what is not here is never referred to. */
static const struct {
	uint32_t (*refer)(struct reduction *r,
			  uint32_t id); /* NULL: `type` is a size, or nothing */
	void (*part)(struct reduction *r, const char *from);
	bool copied;
} copies[KINDS] = {
	[BTF_KIND_INT] = {.copied = true, .part = write_bits},
	[BTF_KIND_PTR] = {.copied = true, .refer = want_kind},
	[BTF_KIND_ARRAY] = {.copied = true, .part = write_array},
	[BTF_KIND_STRUCT] = {.copied = true, .part = write_member},
	[BTF_KIND_UNION] = {.copied = true, .part = write_member},
	[BTF_KIND_ENUM] = {.copied = true, .part = write_enumerator},
	[BTF_KIND_FWD] = {.copied = true},
	[BTF_KIND_TYPEDEF] = {.copied = true, .refer = want},
	[BTF_KIND_VOLATILE] = {.copied = true, .refer = want},
	[BTF_KIND_CONST] = {.copied = true, .refer = want},
	[BTF_KIND_RESTRICT] = {.copied = true, .refer = want},
	[BTF_KIND_FUNC_PROTO] = {.copied = true, .refer = want_kind, .part = write_param},
	[BTF_KIND_FLOAT] = {.copied = true},
	[BTF_KIND_TYPE_TAG] = {.copied = true, .refer = want},
	[BTF_KIND_ENUM64] = {.copied = true, .part = write_enumerator64},
};

static int write_type(struct reduction *r, uint32_t id)
{
	struct btf_type t = type_at(r, id);
	uint32_t kind = BTF_INFO_KIND(t.info);
	size_t parts = kinds[kind].fixed ? 1 : BTF_INFO_VLEN(t.info);
	const char *from = r->types + r->offsets[id] + sizeof(t);

	if (!copies[kind].copied)
		return -EINVAL;
	t.name_off = string_copy(r, t.name_off);
	if (copies[kind].refer)
		t.type = copies[kind].refer(r, t.type);
	buf_add(&r->out, &t, sizeof(t));
	for (size_t i = 0; copies[kind].part && i < parts; i++)
		copies[kind].part(r, from + i * (kinds[kind].fixed + kinds[kind].each));
	return 0;
}

static int write_types(struct reduction *r)
{
	const struct btf_type shells[] = {{.info = BTF_KIND_STRUCT << 24},
					  {.info = BTF_KIND_UNION << 24}};

	buf_add(&r->out_strings, "", 1);
	buf_add(&r->out, shells, sizeof(shells));
	for (uint32_t i = 0; i < r->n_queue; i++) {
		int err = write_type(r, r->queue[i]);

		if (err < 0)
			return err;
	}
	if (r->out.failed || r->out_strings.failed)
		return -ENOMEM;
	return r->broken ? -EINVAL : 0;
}

static int put_together(const struct reduction *r, struct buf *ret)
{
	struct btf_header h = {
		.magic = BTF_MAGIC,
		.version = BTF_VERSION,
		.hdr_len = sizeof(h),
		.type_len = r->out.len,
		.str_off = r->out.len,
		.str_len = r->out_strings.len,
	};

	buf_add(ret, &h, sizeof(h));
	buf_add(ret, r->out.data, r->out.len);
	buf_add(ret, r->out_strings.data, r->out_strings.len);
	return ret->failed ? -ENOMEM : 0;
}

/* ---- as a whole ---- */

static int sections_find(struct reduction *r, const char *data, size_t len)
{
	struct btf_header h;

	if (len < sizeof(h))
		return -EINVAL;
	memcpy(&h, data, sizeof(h));
	if (h.magic != BTF_MAGIC || h.version != BTF_VERSION || h.hdr_len < sizeof(h) ||
	    h.hdr_len > len)
		return -EINVAL;
	data += h.hdr_len;
	len -= h.hdr_len;
	if (h.type_off > len || h.type_len > len - h.type_off || h.str_off > len ||
	    h.str_len > len - h.str_off || !h.str_len || data[h.str_off + h.str_len - 1])
		return -EINVAL;
	r->types = data + h.type_off;
	r->types_len = h.type_len;
	r->strings = data + h.str_off;
	r->strings_len = h.str_len;
	return 0;
}

int btf_reduce(const void *data, size_t len, const struct btf_wanted *wanted, struct buf *ret)
{
	_cleanup_(reduction_done) struct reduction r = {
		.wanted = wanted, .last = "", .sorted = true};
	int err;

	err = sections_find(&r, data, len);
	if (err < 0)
		return err;
	err = names_take(&r);
	if (err < 0)
		return err;
	err = types_index(&r);
	if (err < 0)
		return err;
	if (wanted->sorted)
		*wanted->sorted = r.sorted;
	err = ids_give(&r);
	if (err < 0)
		return err;
	err = write_types(&r);
	if (err < 0)
		return err;
	return put_together(&r, ret);
}

/* KERNEL < 6.16: the file cannot be mapped, and is read in pages. */
static int read_all(int fd, size_t len, struct buf *ret)
{
	if (buf_grow(ret, len) < 0)
		return -ENOMEM;
	while (ret->len < len) {
		ssize_t n = read(fd, ret->data + ret->len, len - ret->len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EINVAL;
		ret->len += n;
	}
	return 0;
}

static int reduce_open(int fd, const struct btf_wanted *wanted, struct buf *ret)
{
	_cleanup_(buf_done) struct buf content = {};
	struct stat st;
	void *p;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size <= 0)
		return -EINVAL;
	p = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p != MAP_FAILED) {
		r = btf_reduce(p, st.st_size, wanted, ret);
		munmap(p, st.st_size);
		return r;
	}
	r = read_all(fd, st.st_size, &content);
	return r < 0 ? r : btf_reduce(content.data, content.len, wanted, ret);
}

/* KERNEL < 6.3: has no such flag; later ones say in their log who does not use it. */
static int open_unnamed(void)
{
	int fd = memfd_create("types", MFD_CLOEXEC | MFD_NOEXEC_SEAL);

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("types", MFD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int btf_reduce_file(const char *path, const struct btf_wanted *wanted, int *ret_fd)
{
	_cleanup_(closep) int from = open(path, O_RDONLY | O_CLOEXEC);
	_cleanup_(closep) int to = -1;
	_cleanup_(buf_done) struct buf b = {};
	int r;

	if (from < 0)
		return -errno;
	r = reduce_open(from, wanted, &b);
	if (r < 0)
		return r;
	to = open_unnamed();
	if (to < 0)
		return to;
	if (write(to, b.data, b.len) != (ssize_t)b.len)
		return -EIO;
	*ret_fd = TAKE_FD(to);
	return 0;
}
