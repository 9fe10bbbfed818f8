/* SPDX-License-Identifier: MIT */
/*
 * Go programs carry a table of all functions for the runtime's own use, so stripping does not remove it.
 * Read here: the layouts of Go 1.18 and 1.19 (magic ...f0) and of 1.20 and later (...f1). It also tells
 * where the stack pointer is back at its value of the entry: a return instruction stands there.
 *
 * A return probe would be wrong in Go, whose stacks move.
 */
#include "find/library.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "find/x86.h"

#define FUNCS_MAX    (1U << 20)
#define NAMES_MAX    (256U << 20)
#define PCSP_MAX     4096
#define RETURNS_MAX  48
#define CODE_MAX     (64U << 10)
#define MODULE_MINPC 160 /* bytes from moduledata's begin, unchanged since 1.18 */
#define WRITABLE_MAX (256U << 20)

/* runtime.pcHeader */
struct header {
	uint32_t magic;
	uint16_t zero;
	uint8_t min_lc;
	uint8_t ptr_size;
	uint64_t nfunc;
	uint64_t nfiles;
	uint64_t text_start; /* 0 since 1.26 */
	uint64_t funcname_offset;
	uint64_t cu_offset;
	uint64_t filetab_offset;
	uint64_t pctab_offset;
	uint64_t pcln_offset;
};

struct entry {
	uint32_t pc; /* from the text's start */
	uint32_t func;
};

/* The begin of runtime._func */
struct func {
	uint32_t entry;
	int32_t name;
	int32_t args;
	uint32_t deferreturn;
	uint32_t pcsp;
};

enum { CONN_WRITE, CONN_READ, N_METHODS };

static const struct {
	const char *name;
	enum find_function function;
} methods[N_METHODS] = {
	[CONN_WRITE] = {"crypto/tls.(*Conn).Write", FIND_WRITE},
	[CONN_READ] = {"crypto/tls.(*Conn).Read", FIND_READ},
};

struct method {
	int32_t name; /* offset of the name; -1 when the program does not have it */
	bool found;
	uint64_t entry;
	uint64_t end;
	uint32_t pcsp;
	size_t n_returns;
	uint64_t returns[RETURNS_MAX];
};

struct program {
	struct image *im;
	uint64_t vaddr; /* of the header */
	struct header h;
	uint64_t text;
	struct method methods[N_METHODS];
};

/* A part of the image that is read forwards, in large pieces. */
struct window {
	struct image *im;
	uint64_t vaddr;
	size_t len;
	uint8_t bytes[64 << 10];
};

static const uint8_t *window_at(struct window *w, uint64_t vaddr, size_t len)
{
	ssize_t n;

	if (vaddr >= w->vaddr && vaddr - w->vaddr <= w->len && w->len - (vaddr - w->vaddr) >= len)
		return w->bytes + (vaddr - w->vaddr);

	n = image_read_upto(w->im, vaddr, w->bytes, sizeof(w->bytes));
	w->vaddr = vaddr;
	w->len = n < 0 ? 0 : (size_t)n;
	return w->len >= len ? w->bytes : NULL;
}

/* Is it a header? Its parts follow each other, and the table of functions fits into its segment. */
static bool header_sane(const struct header *h)
{
	return h->zero == 0 && h->min_lc == 1 && h->ptr_size == 8 && h->nfunc > 0 &&
	       h->nfunc < FUNCS_MAX && h->funcname_offset >= sizeof(*h) &&
	       h->funcname_offset <= h->cu_offset && h->cu_offset <= h->filetab_offset &&
	       h->filetab_offset <= h->pctab_offset && h->pctab_offset <= h->pcln_offset &&
	       h->pcln_offset <= UINT32_MAX && h->cu_offset - h->funcname_offset <= NAMES_MAX;
}

/* Searches a block of names, which are NUL-terminated and stand behind each other. */
static void names_look(struct program *p, const uint8_t *bytes, size_t len, uint64_t offset)
{
	for (size_t i = 0; i < N_METHODS; i++) {
		size_t n = strlen(methods[i].name) + 1;
		const uint8_t *at = bytes;

		/* behind other names' ends, too */
		while (p->methods[i].name < 0 &&
		       (at = memmem(at, len - (size_t)(at - bytes), methods[i].name, n))) {
			if (at > bytes && at[-1] == '\0')
				p->methods[i].name = (int32_t)(offset + (uint64_t)(at - bytes));
			at += n;
		}
	}
}

static int names_find(struct program *p)
{
	_cleanup_(freep) uint8_t *bytes = malloc(IMAGE_BLOCK);
	uint64_t size = p->h.cu_offset - p->h.funcname_offset;

	if (!bytes)
		return -ENOMEM;
	for (uint64_t at = 0; at < size; at += IMAGE_BLOCK - 64) {
		size_t n = MIN(size - at, (uint64_t)IMAGE_BLOCK);
		int r = image_read(p->im, p->vaddr + p->h.funcname_offset + at, bytes, n);

		if (r < 0)
			return r;
		names_look(p, bytes, n, at);
	}
	return 0;
}

static void func_take(struct program *p, const struct entry *e, const struct func *f)
{
	for (size_t i = 0; i < N_METHODS; i++) {
		struct method *m = &p->methods[i];

		if (m->name < 0 || m->name != f->name || m->found)
			continue;
		m->found = true;
		m->entry = e[0].pc;
		m->end = e[1].pc;
		m->pcsp = f->pcsp;
	}
}

/* The table of functions, and what it says of each one, both by address. */
static int funcs_read(struct program *p)
{
	_cleanup_(freep) struct window *table = calloc(1, sizeof(*table));
	_cleanup_(freep) struct window *funcs = calloc(1, sizeof(*funcs));
	uint64_t base = p->vaddr + p->h.pcln_offset;

	if (!table || !funcs)
		return -ENOMEM;
	table->im = p->im;
	funcs->im = p->im;

	for (uint64_t i = 0; i < p->h.nfunc; i++) {
		size_t n = sizeof(struct entry) + (i + 1 < p->h.nfunc ? 8 : 4);
		const uint8_t *at = window_at(table, base + i * sizeof(struct entry), n);
		struct entry e[2] = {};
		struct func f;

		if (!at)
			return -EBADMSG;
		memcpy(e, at, n);
		at = window_at(funcs, base + e[0].func, sizeof(f));
		if (!at)
			return -EBADMSG;
		memcpy(&f, at, sizeof(f));
		if (f.entry != e[0].pc)
			return -EBADMSG;
		func_take(p, e, &f);
	}
	return 0;
}

struct word_search {
	uint64_t value;
	uint64_t vaddr;
};

static int word_block(void *userdata, uint64_t vaddr, const uint8_t *bytes, size_t fresh,
		      size_t len)
{
	struct word_search *s = userdata;

	for (size_t at = -vaddr & 7; at < fresh && at + 8 <= len; at += 8) {
		if (memcmp(bytes + at, &s->value, 8) == 0 && !s->vaddr)
			s->vaddr = vaddr + at;
	}
	return 0;
}

/* moduledata begins with the header's address. */
static int module_find(struct program *p, uint64_t *ret)
{
	const struct image_segment *segs;
	size_t n = image_segments(p->im, &segs);
	struct word_search s = {.value = p->vaddr};
	int r = image_pointer_to(p->im, p->vaddr, ret);

	if (r != -ENOENT)
		return r;
	for (size_t i = 0; i < n && !s.vaddr; i++) {
		if (!(segs[i].flags & PF_W) || segs[i].filesz > WRITABLE_MAX)
			continue;
		r = image_scan(p->im, &segs[i], 8, word_block, &s);
		if (r < 0)
			return r;
	}
	*ret = s.vaddr;
	return s.vaddr ? 0 : -ENOENT;
}

/*
 * The address that entries count from. From 1.26 on the header does not say; the module's data does: it is `minpc` less
 * the first function's entry.
 */
static int text_find(struct program *p)
{
	uint64_t module, vaddr, value;
	struct entry first;
	int r;

	p->text = p->h.text_start;
	if (p->text && image_in_text(p->im, p->text))
		return 0;

	/* A position-independent program's header is relocated like the rest. */
	vaddr = p->vaddr + offsetof(struct header, text_start);
	r = image_pointers(p->im, &vaddr, &value, 1);
	if (r == 0 && value && image_in_text(p->im, value)) {
		p->text = value;
		return 0;
	}

	r = module_find(p, &module);
	if (r < 0)
		return r;
	r = image_read(p->im, p->vaddr + p->h.pcln_offset, &first, sizeof(first));
	if (r < 0)
		return r;
	vaddr = module + MODULE_MINPC;
	r = image_pointers(p->im, &vaddr, &value, 1);
	if (r < 0)
		return r;

	p->text = value - first.pc;
	return image_in_text(p->im, value) ? 0 : -ENOENT;
}

static bool varint(const uint8_t *bytes, size_t len, size_t *at, uint32_t *ret)
{
	*ret = 0;
	for (unsigned int shift = 0; shift < 32 && *at < len; shift += 7) {
		uint8_t b = bytes[(*at)++];

		*ret |= (uint32_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			return true;
	}
	return false;
}

/*
 * Return instructions in [start, end), where the stack is as at the entry. Behind the last one the code that
 * grows the stack may follow, so the bytes are decoded, not searched.
 */
static int returns_take(struct method *m, const uint8_t *code, uint64_t start, uint64_t end)
{
	while (start < end) {
		struct x86_insn insn;

		if (x86_decode(code + (start - m->entry), end - start, start, &insn) < 0)
			return -EBADMSG;
		if (insn.kind == X86_RET) {
			if (m->n_returns == RETURNS_MAX)
				return -E2BIG;
			m->returns[m->n_returns++] = start;
		}
		start += insn.len;
	}
	return 0;
}

/* Walks the table of stack depths: pairs of a signed change of depth and a distance, up to a zero. */
static int returns_find(struct program *p, struct method *m)
{
	_cleanup_(freep) uint8_t *code = NULL;
	uint8_t table[PCSP_MAX];
	uint64_t pc = m->entry, size = m->end - m->entry;
	int32_t depth = -1;
	bool moved = false;
	size_t at = 0;
	ssize_t n = image_read_upto(p->im, p->vaddr + p->h.pctab_offset + m->pcsp, table,
				    sizeof(table));
	int r = 0;

	if (n < 0)
		return (int)n;
	if (m->end <= m->entry || size > CODE_MAX)
		return -EBADMSG;
	code = malloc(size);
	if (!code)
		return -ENOMEM;
	r = image_read(p->im, m->entry, code, size);

	while (r == 0 && pc < m->end) {
		uint32_t change, distance;
		bool first = at == 0;

		if (!varint(table, (size_t)n, &at, &change))
			return -EBADMSG;
		if (change == 0 && !first)
			break;
		if (!varint(table, (size_t)n, &at, &distance) || distance > m->end - pc)
			return -EBADMSG;

		depth += (int32_t)(change >> 1) ^ -(int32_t)(change & 1);
		moved |= depth > 0;
		if (depth == 0 && moved)
			r = returns_take(m, code, pc, pc + distance);
		pc += distance;
	}
	return r < 0 ? r : m->n_returns ? 0 : -ENOENT;
}

/* Every function that needs stack begins by comparing it with the goroutine's limit at [r14 + 16]. */
static bool starts_as_go(struct image *im, uint64_t vaddr)
{
	uint8_t code[24] = {};

	return image_read_upto(im, vaddr, code, sizeof(code)) >= 16 &&
	       (memmem(code, sizeof(code), "\x49\x3b\x66\x10", 4) || /* cmp rsp, [r14+16] */
		memmem(code, sizeof(code), "\x4d\x3b\x66\x10", 4));  /* cmp r12, [r14+16] */
}

static int methods_locate(struct program *p)
{
	for (size_t i = 0; i < N_METHODS; i++) {
		struct method *m = &p->methods[i];
		int r;

		if (__builtin_add_overflow(m->entry, p->text, &m->entry) ||
		    __builtin_add_overflow(m->end, p->text, &m->end) ||
		    !image_in_text(p->im, m->entry) || !starts_as_go(p->im, m->entry))
			return -ENOENT;
		r = returns_find(p, m);
		if (r < 0)
			return r;
	}
	return 0;
}

static int sites_add(struct search *s, const struct program *p)
{
	const char *version = p->h.magic == 0xfffffff0 ? "Go 1.18 or 1.19" : "Go 1.20 or later";
	int r = find_library_add(s->result, LIBRARY_GO, version);

	for (size_t i = 0; r == 0 && i < N_METHODS; i++) {
		const struct method *m = &p->methods[i];

		r = find_site_add(s->result, s->im, methods[i].function, FIND_SHAPE_GO_ENTRY,
				  m->entry);
		for (size_t k = 0; r == 0 && k < m->n_returns; k++)
			r = find_site_add(s->result, s->im, methods[i].function,
					  FIND_SHAPE_GO_RETURN, m->returns[k]);
	}
	return r;
}

/* -ENOENT: not a table of functions, or one without TLS. */
static int program_read(struct program *p)
{
	int r = image_read(p->im, p->vaddr, &p->h, sizeof(p->h));

	if (r < 0)
		return r;
	if (!header_sane(&p->h))
		return -ENOENT;

	for (size_t i = 0; i < N_METHODS; i++)
		p->methods[i].name = -1;
	r = names_find(p);
	if (r < 0)
		return r;
	if (p->methods[CONN_READ].name < 0 && p->methods[CONN_WRITE].name < 0)
		return -ENOENT;
	return funcs_read(p);
}

static int program_find(struct search *s, uint64_t vaddr)
{
	_cleanup_(freep) struct program *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->im = s->im;
	p->vaddr = vaddr;

	r = program_read(p);
	if (r == -ENOENT || r == -EBADMSG)
		return 0;
	if (r < 0)
		return r;
	if (!p->methods[CONN_READ].found || !p->methods[CONN_WRITE].found) {
		find_refuse(s->result, "Go's crypto/tls is there, but the program never %s",
			    p->methods[CONN_READ].found ? "writes" : "reads");
		return 0;
	}

	r = text_find(p);
	if (r == 0)
		r = methods_locate(p);
	if (r == -ENOENT || r == -EBADMSG) {
		find_refuse(s->result, "Go's crypto/tls is there, but not where its table says");
		return 0;
	}
	return r < 0 ? r : sites_add(s, p);
}

int find_golang(struct search *s)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < s->hits.n[ANCHOR_GO]; i++)
		r = program_find(s, s->hits.of[ANCHOR_GO][i].vaddr);
	return r;
}
