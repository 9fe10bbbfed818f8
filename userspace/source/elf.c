/* SPDX-License-Identifier: MIT */
/*
 * Symbols. Every number in the file is a claim: sums and products are checked, and each read is charged against one
 * budget per file, so loops and huge counts end in -E2BIG instead of in time. It knows nothing about TLS or probes.
 */
#include "source/elf.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "find/image.h"

/* Largest seen: 40 sections, 110 000 symbols with 5 MB of names. */
#define ELF_SECTIONS_MAX 4096
#define ELF_CHAIN_MAX    4096 /* symbols of one hash chain */
#define ELF_RELOCS_MAX   16384
#define ELF_SYMBOLS_MAX  (1U << 18)
#define ELF_STRTAB_MAX   (16U << 20)
#define ELF_CHUNK        65520 /* a multiple of the symbol size, just below 64 KiB */
#define ELF_NAMED_MAX    64    /* places in a string table that hold a wanted name */

/* At worst 65 000 small reads or 256 MiB. */
#define ELF_WORK_MAX (1U << 16)

/* Where a table of symbols and its strings lie in the file. */
struct symtab {
	uint64_t offset;
	uint64_t count;
	uint64_t strings;
	uint64_t strings_len;
};

/* What the dynamic section says, as addresses; 0 when the tag is missing. */
struct dynamic {
	uint64_t gnu_hash;
	uint64_t hash;
	uint64_t symtab;
	uint64_t strtab;
	uint64_t strsz;
	uint64_t jmprel;
	uint64_t pltrelsz;
	uint64_t rela;
	uint64_t relasz;
};

static const int64_t dynamic_tags[] = {
	DT_GNU_HASH, DT_HASH,     DT_SYMTAB, DT_STRTAB, DT_STRSZ,
	DT_JMPREL,   DT_PLTRELSZ, DT_RELA,   DT_RELASZ,
};
_Static_assert(sizeof(struct dynamic) == ARRAY_SIZE(dynamic_tags) * sizeof(uint64_t),
	       "a tag for each member, in this order");

struct elf {
	struct image *im;
	uint64_t shoff;
	uint32_t shnum;
	struct dynamic dyn;
};

/* A place in a string table, and which wanted name stands there. */
struct named {
	uint32_t offset;
	uint32_t index;
};

/* Address of element @index of a table; false when that leaves the address space. */
static bool element(uint64_t base, uint64_t index, uint64_t size, uint64_t *ret)
{
	uint64_t bytes;

	return !__builtin_mul_overflow(index, size, &bytes) &&
	       !__builtin_add_overflow(base, bytes, ret);
}

int elf_vaddr_to_offset(const struct elf *elf, uint64_t vaddr, uint64_t *ret_offset)
{
	return image_offset(elf->im, vaddr, ret_offset);
}

bool elf_in_text(const struct elf *elf, uint64_t vaddr)
{
	return image_in_text(elf->im, vaddr);
}

int elf_read(struct elf *elf, uint64_t vaddr, void *buf, size_t len)
{
	return image_read(elf->im, vaddr, buf, len);
}

ssize_t elf_read_upto(struct elf *elf, uint64_t vaddr, void *buf, size_t len)
{
	return image_read_upto(elf->im, vaddr, buf, len);
}

static int element_read(struct elf *elf, uint64_t base, uint64_t index, void *buf, size_t size)
{
	uint64_t vaddr;

	if (!element(base, index, size, &vaddr))
		return -EBADMSG;

	return elf_read(elf, vaddr, buf, size);
}

int elf_open(int fd, struct elf **ret)
{
	_cleanup_(elf_freep) struct elf *elf = calloc(1, sizeof(*elf));
	int r;

	if (!elf)
		return -ENOMEM;
	r = image_open(fd, NULL, &elf->im);
	if (r < 0)
		return r;
	image_limit(elf->im, ELF_WORK_MAX);
	elf->shnum = image_sections(elf->im, &elf->shoff);
	r = image_dynamic(elf->im, dynamic_tags, (uint64_t *)&elf->dyn, ARRAY_SIZE(dynamic_tags));
	if (r < 0)
		return r;
	*ret = TAKE_PTR(elf);
	return 0;
}

void elf_limit(struct elf *elf, uint64_t work)
{
	image_limit(elf->im, work);
}

void elf_free(struct elf *elf)
{
	if (!elf)
		return;
	image_free(elf->im);
	free(elf);
}

uint16_t elf_machine(const struct elf *elf)
{
	return image_machine(elf->im);
}

/* A function that has code here. STT_GNU_IFUNC names the resolver, not the function: not one of them. */
static bool symbol_is_function(const struct elf *elf, const Elf64_Sym *sym)
{
	return ELF64_ST_TYPE(sym->st_info) == STT_FUNC && sym->st_shndx != SHN_UNDEF &&
	       sym->st_shndx < SHN_LORESERVE && sym->st_value != 0 &&
	       elf_in_text(elf, sym->st_value);
}

/* 1 when the dynamic string at @st_name is @name. */
static int dynstr_equals(struct elf *elf, uint32_t st_name, const char *name, size_t len)
{
	char text[ELF_NAME_MAX];
	uint64_t vaddr;
	int r;

	if (st_name >= elf->dyn.strsz || elf->dyn.strsz - st_name < len + 1)
		return 0;
	if (!element(elf->dyn.strtab, st_name, 1, &vaddr))
		return -EBADMSG;

	r = elf_read(elf, vaddr, text, len + 1);
	if (r < 0)
		return r;

	return memcmp(text, name, len + 1) == 0;
}

/* 1 when dynamic symbol @index is the function @name. */
static int dynsym_match(struct elf *elf, uint64_t index, const char *name, Elf64_Sym *ret)
{
	Elf64_Sym sym;
	int r = element_read(elf, elf->dyn.symtab, index, &sym, sizeof(sym));

	if (r < 0)
		return r;
	if (!symbol_is_function(elf, &sym))
		return 0;

	r = dynstr_equals(elf, sym.st_name, name, strlen(name));
	if (r > 0)
		*ret = sym;
	return r;
}

static uint32_t gnu_hash(const char *name)
{
	uint32_t h = 5381;

	for (; *name; name++)
		h = h * 33 + (uint8_t)*name;
	return h;
}

static uint32_t sysv_hash(const char *name)
{
	uint32_t h = 0;

	for (; *name; name++) {
		h = (h << 4) + (uint8_t)*name;
		h ^= (h & 0xf0000000) >> 24;
		h &= 0x0fffffff;
	}
	return h;
}

/* Walks the chain from symbol @index on; a chain ends at a hash with its lowest bit set. */
static int gnu_chain_find(struct elf *elf, uint64_t chains, uint32_t index, uint32_t first,
			  const char *name, Elf64_Sym *ret)
{
	uint32_t hash = gnu_hash(name);

	for (uint32_t i = 0; i < ELF_CHAIN_MAX; i++) {
		uint32_t h;
		int r = element_read(elf, chains, (uint64_t)index - first + i, &h, sizeof(h));

		if (r < 0)
			return r;
		if ((h | 1) == (hash | 1)) {
			r = dynsym_match(elf, (uint64_t)index + i, name, ret);
			if (r != 0)
				return r < 0 ? r : 0;
		}
		if (h & 1)
			return -ENOENT;
	}
	return -E2BIG;
}

/* DT_GNU_HASH: {buckets, first symbol, bloom words, shift}, bloom filter, buckets, chain hashes. */
static int gnu_find(struct elf *elf, const char *name, Elf64_Sym *ret)
{
	uint32_t header[4], hash = gnu_hash(name), index;
	uint64_t bloom, buckets, chains, word;
	int r = elf_read(elf, elf->dyn.gnu_hash, header, sizeof(header));

	if (r < 0)
		return r;
	if (header[0] == 0 || header[2] == 0)
		return -ENOENT;
	if (!element(elf->dyn.gnu_hash, 1, sizeof(header), &bloom) ||
	    !element(bloom, header[2], sizeof(word), &buckets) ||
	    !element(buckets, header[0], sizeof(index), &chains))
		return -EBADMSG;

	r = element_read(elf, bloom, (hash / 64) % header[2], &word, sizeof(word));
	if (r < 0)
		return r;
	if (!(word >> (hash % 64) & 1) || !(word >> ((hash >> (header[3] & 31)) % 64) & 1))
		return -ENOENT;

	r = element_read(elf, buckets, hash % header[0], &index, sizeof(index));
	if (r < 0)
		return r;
	if (index == 0)
		return -ENOENT;
	if (index < header[1])
		return -EBADMSG;
	return gnu_chain_find(elf, chains, index, header[1], name, ret);
}

/* DT_HASH: {buckets, chains}, buckets, next indexes. 0 ends a chain, ELF_CHAIN_MAX a loop. */
static int sysv_find(struct elf *elf, const char *name, Elf64_Sym *ret)
{
	uint32_t header[2], index;
	uint64_t buckets, chains;
	int r = elf_read(elf, elf->dyn.hash, header, sizeof(header));

	if (r < 0)
		return r;
	if (header[0] == 0)
		return -ENOENT;
	if (!element(elf->dyn.hash, 1, sizeof(header), &buckets) ||
	    !element(buckets, header[0], sizeof(index), &chains))
		return -EBADMSG;

	r = element_read(elf, buckets, sysv_hash(name) % header[0], &index, sizeof(index));
	for (uint32_t i = 0; r >= 0 && i < ELF_CHAIN_MAX; i++) {
		if (index == 0)
			return -ENOENT;
		if (index >= header[1])
			return -EBADMSG;

		r = dynsym_match(elf, index, name, ret);
		if (r != 0)
			return r < 0 ? r : 0;
		r = element_read(elf, chains, index, &index, sizeof(index));
	}
	return r < 0 ? r : -E2BIG;
}

static int section_read(struct elf *elf, uint32_t index, Elf64_Shdr *ret)
{
	uint64_t offset;

	if (index >= elf->shnum || !element(elf->shoff, index, sizeof(*ret), &offset))
		return -EBADMSG;

	return image_read_file(elf->im, offset, ret, sizeof(*ret));
}

/* The first table of @type (SHT_DYNSYM or SHT_SYMTAB) and the strings it links to. */
static int section_symtab(struct elf *elf, uint32_t type, struct symtab *ret)
{
	Elf64_Shdr sh, strings;
	uint32_t i;
	int r;

	if (elf->shnum == 0)
		return -ENOENT;
	if (elf->shnum > ELF_SECTIONS_MAX)
		return -E2BIG;

	for (i = 0; i < elf->shnum; i++) {
		r = section_read(elf, i, &sh);
		if (r < 0)
			return r;
		if (sh.sh_type == type)
			break;
	}
	if (i == elf->shnum)
		return -ENOENT;

	r = section_read(elf, sh.sh_link, &strings);
	if (r < 0)
		return r;
	if (sh.sh_entsize != sizeof(Elf64_Sym) || strings.sh_type != SHT_STRTAB)
		return -EBADMSG;
	if (sh.sh_size / sizeof(Elf64_Sym) > ELF_SYMBOLS_MAX || strings.sh_size > ELF_STRTAB_MAX)
		return -E2BIG;
	/* at once what would end so */
	if (!image_affords(elf->im, sh.sh_size + strings.sh_size))
		return -E2BIG;

	*ret = (struct symtab){
		.offset = sh.sh_offset,
		.count = sh.sh_size / sizeof(Elf64_Sym),
		.strings = strings.sh_offset,
		.strings_len = strings.sh_size,
	};
	return 0;
}

/*
 * Notes where in a piece of the string table @name ends a string. Linkers share tails: "SSL_read" may be
 * the end of "my_SSL_read".
 */
static int strings_note(const char *piece, size_t len, uint64_t offset, const char *name,
			uint32_t index, struct named *named, size_t *n)
{
	size_t size = strlen(name) + 1;
	const char *p = piece;

	while ((p = memmem(p, len - (size_t)(p - piece), name, size))) {
		if (*n == ELF_NAMED_MAX)
			return -E2BIG;
		named[(*n)++] = (struct named){
			.offset = (uint32_t)(offset + (uint64_t)(p - piece)),
			.index = index,
		};
		p++;
	}
	return 0;
}

/* Streams the string table once for the wanted names [from, to). */
static int strings_find(struct elf *elf, const struct symtab *tab, const struct elf_symbol *wanted,
			size_t from, size_t to, struct named *named, size_t *n)
{
	_cleanup_(freep) char *chunk = malloc(ELF_NAME_MAX + ELF_CHUNK);
	uint64_t offset = 0;
	size_t kept = 0;
	int r;

	if (!chunk)
		return -ENOMEM;

	while (offset < tab->strings_len) {
		size_t len = MIN(tab->strings_len - offset, (uint64_t)ELF_CHUNK);
		uint64_t at;

		if (!element(tab->strings, offset, 1, &at))
			return -EBADMSG;
		r = image_read_file(elf->im, at, chunk + kept, len);
		for (size_t i = from; r >= 0 && i < to; i++) {
			/* A name that fits in the part kept from last time was found then. */
			size_t skip =
				kept > strlen(wanted[i].name) ? kept - strlen(wanted[i].name) : 0;

			r = strings_note(chunk + skip, kept + len - skip, offset - kept + skip,
					 wanted[i].name, (uint32_t)i, named, n);
		}
		if (r < 0)
			return r;

		offset += len;
		len += kept;
		kept = MIN(len, (size_t)ELF_NAME_MAX);
		memmove(chunk, chunk + len - kept, kept);
	}
	return 0;
}

static void symbol_take(const struct elf *elf, const Elf64_Sym *sym, struct elf_symbol *wanted,
			const struct named *named, size_t n_named)
{
	for (size_t i = 0; i < n_named; i++) {
		struct elf_symbol *w = &wanted[named[i].index];

		if (sym->st_name != named[i].offset || w->vaddr || !symbol_is_function(elf, sym))
			continue;
		w->vaddr = sym->st_value;
		w->size = sym->st_size;
	}
}

/* Streams the symbols once and takes those whose name was noted. */
static int symbols_scan(struct elf *elf, const struct symtab *tab, struct elf_symbol *wanted,
			const struct named *named, size_t n_named)
{
	_cleanup_(freep) Elf64_Sym *chunk = malloc(ELF_CHUNK);
	const uint64_t per_chunk = ELF_CHUNK / sizeof(*chunk);

	if (!chunk)
		return -ENOMEM;

	for (uint64_t i = 0; i < tab->count; i += per_chunk) {
		size_t n = MIN(tab->count - i, per_chunk);
		uint64_t offset;
		int r;

		if (!element(tab->offset, i, sizeof(*chunk), &offset))
			return -EBADMSG;
		r = image_read_file(elf->im, offset, chunk, n * sizeof(*chunk));
		if (r < 0)
			return r;
		for (size_t k = 0; k < n; k++)
			symbol_take(elf, &chunk[k], wanted, named, n_named);
	}
	return 0;
}

static int symtab_find(struct elf *elf, uint32_t type, struct elf_symbol *wanted, size_t n)
{
	struct named named[ELF_NAMED_MAX];
	struct symtab tab;
	size_t n_named = 0;
	int r, found = 0;

	for (size_t i = 0; i < n; i++) {
		if (strlen(wanted[i].name) >= ELF_NAME_MAX)
			return -EINVAL;
		wanted[i].vaddr = wanted[i].size = 0;
	}

	r = section_symtab(elf, type, &tab);
	if (r < 0)
		return r;
	r = strings_find(elf, &tab, wanted, 0, 1, named, &n_named);
	if (r < 0)
		return r;
	if (n_named == 0)
		return -ENOENT;
	r = strings_find(elf, &tab, wanted, 1, n, named, &n_named);
	if (r < 0)
		return r;
	r = symbols_scan(elf, &tab, wanted, named, n_named);
	if (r < 0)
		return r;

	for (size_t i = 0; i < n; i++)
		found += wanted[i].vaddr != 0;
	return wanted[0].vaddr ? found : -ENOENT;
}

int elf_symtab_find(struct elf *elf, struct elf_symbol *wanted, size_t n)
{
	return n ? symtab_find(elf, SHT_SYMTAB, wanted, n) : 0;
}

int elf_dynsym_find(struct elf *elf, const char *name, uint64_t *ret_vaddr, uint64_t *ret_size)
{
	struct elf_symbol wanted = {.name = name};
	Elf64_Sym sym = {0};
	int r;

	if (strlen(name) >= ELF_NAME_MAX)
		return -EINVAL;

	if (elf->dyn.gnu_hash && elf->dyn.symtab && elf->dyn.strtab) {
		r = gnu_find(elf, name, &sym);
	} else if (elf->dyn.hash && elf->dyn.symtab && elf->dyn.strtab) {
		r = sysv_find(elf, name, &sym);
	} else {
		r = symtab_find(elf, SHT_DYNSYM, &wanted, 1);
		sym.st_value = wanted.vaddr;
		sym.st_size = wanted.size;
	}
	if (r < 0)
		return r;

	*ret_vaddr = sym.st_value;
	*ret_size = sym.st_size;
	return 0;
}

/* The symbol index of the relocation for @slot in one table; -ENOENT when there is none. */
static int relocs_find(struct elf *elf, uint64_t base, uint64_t len, uint64_t slot)
{
	uint64_t left = MIN(len / sizeof(Elf64_Rela), (uint64_t)ELF_RELOCS_MAX);
	Elf64_Rela relocs[170];

	while (left > 0) {
		size_t n = MIN(left, (uint64_t)ARRAY_SIZE(relocs));
		int r = elf_read(elf, base, relocs, n * sizeof(relocs[0]));

		if (r < 0)
			return r;
		for (size_t i = 0; i < n; i++) {
			if (relocs[i].r_offset == slot)
				return (int)MIN(ELF64_R_SYM(relocs[i].r_info), (uint64_t)INT32_MAX);
		}
		base += n * sizeof(relocs[0]);
		left -= n;
	}
	return -ENOENT;
}

int elf_slot_symbol(struct elf *elf, uint64_t vaddr, char ret_name[ELF_NAME_MAX])
{
	char name[ELF_NAME_MAX];
	Elf64_Sym sym;
	uint64_t at;
	ssize_t n;
	int r;

	r = relocs_find(elf, elf->dyn.jmprel, elf->dyn.pltrelsz, vaddr);
	if (r == -ENOENT)
		r = relocs_find(elf, elf->dyn.rela, elf->dyn.relasz, vaddr);
	if (r < 0)
		return r;
	if (r == 0)
		return -ENOENT;

	r = element_read(elf, elf->dyn.symtab, (uint64_t)r, &sym, sizeof(sym));
	if (r < 0)
		return r;
	if (sym.st_name >= elf->dyn.strsz || !element(elf->dyn.strtab, sym.st_name, 1, &at))
		return -EBADMSG;

	n = elf_read_upto(elf, at, name, sizeof(name));
	if (n < 0)
		return (int)n;
	if (!memchr(name, '\0', (size_t)n))
		return -ENOENT; /* longer than any name we ask about */

	memcpy(ret_name, name, (size_t)n);
	return 0;
}
