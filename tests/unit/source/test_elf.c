/* SPDX-License-Identifier: MIT */
/* The ELF reader, on a small image built in memory and then damaged in one place per test. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <elf.h>

#include "base/cleanup.h"
#include "source/elf.h"

#define BASE 0x10000 /* address of file offset 0 */
#define SIZE 0x1000

/* Where things lie in the image. */
enum {
	PHDRS = 0x40,
	DYNAMIC = 0x140,
	DYNSYM = 0x200,
	DYNSTR = 0x300,
	HASH = 0x380,
	GNU = 0x400,
	RELA = 0x480,
	NOTE = 0x500,
	SHDRS = 0x600,
	SYMTAB = 0x800,
	STRTAB = 0x900,
	CODE = 0xa00,
	DATA = 0xc00, /* in a second segment, not executable */
};

/* Symbols of both tables, in order. */
enum { NIL, ALPHA, BETA, IMPORT, OBJECT, IFUNC, OUTSIDE, N_SYMBOLS };

static const char strings[] = "\0my_alpha\0beta\0import\0object\0ifunc\0outside";

struct image {
	_Alignas(16) uint8_t bytes[SIZE];
	size_t len;
};

static void put(struct image *im, size_t at, const void *p, size_t len)
{
	memcpy(im->bytes + at, p, len);
}

static uint32_t string_at(const char *name)
{
	const char *p = memmem(strings, sizeof(strings), name, strlen(name) + 1);

	assert_non_null(p);
	return (uint32_t)(p - strings);
}

static uint32_t gnu_hash(const char *s)
{
	uint32_t h = 5381;

	while (*s)
		h = h * 33 + (uint8_t)*s++;
	return h;
}

static void symbols_put(struct image *im, size_t at)
{
	Elf64_Sym syms[N_SYMBOLS] = {
		/* "alpha" is the tail of "my_alpha", as linkers store it. */
		[ALPHA] = {string_at("alpha"), STT_FUNC, 0, 1, BASE + CODE, 0x20},
		[BETA] = {string_at("beta"), STT_FUNC, 0, 1, BASE + CODE + 0x20, 0},
		/* Programs that are not PIE give their imports the address of a stub. */
		[IMPORT] = {string_at("import"), STT_FUNC, 0, SHN_UNDEF, BASE + CODE, 0},
		[OBJECT] = {string_at("object"), STT_OBJECT, 0, 1, BASE + CODE, 8},
		[IFUNC] = {string_at("ifunc"), STT_GNU_IFUNC, 0, 1, BASE + CODE, 8},
		[OUTSIDE] = {string_at("outside"), STT_FUNC, 0, 1, BASE + DATA, 8},
	};

	put(im, at, syms, sizeof(syms));
}

/* One bucket holds everything: every look-up walks the chain. */
static void hashes_put(struct image *im)
{
	static const char *const names[N_SYMBOLS] = {"",       "alpha", "beta",   "import",
						     "object", "ifunc", "outside"};
	uint32_t sysv[2 + 1 + N_SYMBOLS] = {1, N_SYMBOLS, ALPHA};
	uint32_t gnu[7 + N_SYMBOLS - 1] = {1, ALPHA, 1, 6, UINT32_MAX, UINT32_MAX, ALPHA};

	for (uint32_t i = ALPHA; i < N_SYMBOLS; i++) {
		sysv[3 + i] = i + 1 < N_SYMBOLS ? i + 1 : 0;
		gnu[7 + i - 1] = (gnu_hash(names[i]) & ~1U) | (i + 1 == N_SYMBOLS);
	}
	put(im, HASH, sysv, sizeof(sysv));
	put(im, GNU, gnu, sizeof(gnu));
}

static void dynamic_put(struct image *im, bool gnu, bool sysv)
{
	Elf64_Dyn dyn[] = {
		{DT_SYMTAB, {BASE + DYNSYM}},
		{DT_STRTAB, {BASE + DYNSTR}},
		{DT_STRSZ, {sizeof(strings)}},
		{DT_JMPREL, {BASE + RELA}},
		{DT_PLTRELSZ, {sizeof(Elf64_Rela)}},
		{gnu ? DT_GNU_HASH : DT_DEBUG, {BASE + GNU}},
		{sysv ? DT_HASH : DT_DEBUG, {BASE + HASH}},
		{DT_NULL, {0}},
	};

	put(im, DYNAMIC, dyn, sizeof(dyn));
}

static void headers_put(struct image *im)
{
	Elf64_Ehdr eh = {
		.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		.e_type = ET_DYN,
		.e_machine = EM_X86_64,
		.e_phoff = PHDRS,
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 4,
		.e_shoff = SHDRS,
		.e_shentsize = sizeof(Elf64_Shdr),
		.e_shnum = 5,
	};
	Elf64_Phdr ph[] = {
		{PT_LOAD, PF_R | PF_X, 0, BASE, BASE, DATA, DATA, 0x1000},
		{PT_LOAD, PF_R | PF_W, DATA, BASE + DATA, 0, SIZE - DATA, SIZE, 0x1000},
		{PT_DYNAMIC, PF_R, DYNAMIC, BASE + DYNAMIC, 0, 8 * sizeof(Elf64_Dyn), 0, 8},
		{PT_NOTE, PF_R, NOTE, BASE + NOTE, 0, 64, 0, 4},
	};
	Elf64_Shdr sh[] = {
		{0},
		{0, SHT_DYNSYM, 0, 0, DYNSYM, N_SYMBOLS * sizeof(Elf64_Sym), 2, 0, 8, 24},
		{0, SHT_STRTAB, 0, 0, DYNSTR, sizeof(strings), 0, 0, 1, 0},
		{0, SHT_SYMTAB, 0, 0, SYMTAB, N_SYMBOLS * sizeof(Elf64_Sym), 4, 0, 8, 24},
		{0, SHT_STRTAB, 0, 0, STRTAB, sizeof(strings), 0, 0, 1, 0},
	};

	put(im, 0, &eh, sizeof(eh));
	put(im, PHDRS, ph, sizeof(ph));
	put(im, SHDRS, sh, sizeof(sh));
}

static struct image image_new(void)
{
	static const uint32_t notes[] = {4,         4, 1, 0x00554e47, 7, 4, 20, NT_GNU_BUILD_ID,
					 0x00554e47};
	Elf64_Rela rela = {BASE + DATA + 8, ELF64_R_INFO((uint64_t)IMPORT, R_X86_64_JUMP_SLOT), 0};
	struct image im = {.len = SIZE};

	headers_put(&im);
	dynamic_put(&im, true, true);
	symbols_put(&im, DYNSYM);
	symbols_put(&im, SYMTAB);
	put(&im, DYNSTR, strings, sizeof(strings));
	put(&im, STRTAB, strings, sizeof(strings));
	hashes_put(&im);
	put(&im, RELA, &rela, sizeof(rela));
	put(&im, NOTE, notes, sizeof(notes));
	memset(im.bytes + NOTE + sizeof(notes), 0xab, 20);
	memset(im.bytes + CODE, 0xc3, 0x40);
	return im;
}

static int image_fd(const struct image *im)
{
	int fd = memfd_create("image", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, im->bytes, im->len), im->len);
	return fd;
}

/* Opens the image, looks one dynamic symbol up and gives the result of whichever step failed. */
static int image_find(const struct image *im, const char *name, uint64_t *ret_vaddr)
{
	_cleanup_(closep) int fd = image_fd(im);
	_cleanup_(elf_freep) struct elf *elf = NULL;
	uint64_t size;
	int r = elf_open(fd, &elf);

	return r < 0 ? r : elf_dynsym_find(elf, name, ret_vaddr, &size);
}

#define EHDR(im)     ((Elf64_Ehdr *)(im)->bytes)
#define PHDR(im, i)  (&((Elf64_Phdr *)((im)->bytes + PHDRS))[i])
#define SHDR(im, i)  (&((Elf64_Shdr *)((im)->bytes + SHDRS))[i])
#define WORD(im, at) (*(uint32_t *)((im)->bytes + (at)))

/* The three ways to find a dynamic symbol must agree. */
static void every_lookup_finds_defined_functions_only(void **state)
{
	static const struct {
		bool gnu, sysv;
	} ways[] = {{true, true}, {true, false}, {false, true}, {false, false}};

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		struct image im = image_new();
		uint64_t vaddr = 0;

		dynamic_put(&im, ways[i].gnu, ways[i].sysv);
		assert_int_equal(image_find(&im, "alpha", &vaddr), 0);
		assert_int_equal(vaddr, BASE + CODE);
		assert_int_equal(image_find(&im, "beta", &vaddr), 0);
		assert_int_equal(vaddr, BASE + CODE + 0x20);
		assert_int_equal(image_find(&im, "import", &vaddr), -ENOENT);
		assert_int_equal(image_find(&im, "object", &vaddr), -ENOENT);
		assert_int_equal(image_find(&im, "ifunc", &vaddr), -ENOENT);
		assert_int_equal(image_find(&im, "outside", &vaddr), -ENOENT);
		assert_int_equal(image_find(&im, "alph", &vaddr), -ENOENT);
		assert_int_equal(image_find(&im, "alphab", &vaddr), -ENOENT);
		assert_int_equal(image_find(&im, "", &vaddr), -ENOENT);
	}
}

static void symbol_table_finds_all_names_in_one_call(void **state)
{
	struct image im = image_new();
	_cleanup_(closep) int fd = image_fd(&im);
	_cleanup_(elf_freep) struct elf *elf = NULL;
	struct elf_symbol some[] = {{.name = "beta"}, {.name = "none"}, {.name = "alpha"}};
	struct elf_symbol none[] = {{.name = "none"}, {.name = "alpha"}};

	assert_int_equal(elf_open(fd, &elf), 0);
	assert_int_equal(elf_symtab_find(elf, some, 3), 2);
	assert_int_equal(some[0].vaddr, BASE + CODE + 0x20);
	assert_int_equal(some[1].vaddr, 0);
	assert_int_equal(some[2].vaddr, BASE + CODE);
	assert_int_equal(some[2].size, 0x20);
	assert_int_equal(elf_symtab_find(elf, none, 2), -ENOENT);
}

/* The string table is read in pieces: a name across the seam must be found, and found once. */
static void names_across_the_pieces_of_a_string_table_are_found(void **state)
{
	for (size_t seam = 65520 - 8; seam <= 65520 + 2; seam++) {
		struct image im = image_new();
		_cleanup_(closep) int fd = -1;
		_cleanup_(elf_freep) struct elf *elf = NULL;
		struct elf_symbol wanted = {.name = "alpha"};

		SHDR(&im, 4)->sh_offset = SIZE;
		SHDR(&im, 4)->sh_size = 70000;
		((Elf64_Sym *)(im.bytes + SYMTAB))[ALPHA].st_name = (uint32_t)seam;
		fd = image_fd(&im);
		assert_int_equal(ftruncate(fd, SIZE + 70000), 0);
		assert_int_equal(pwrite(fd, "alpha", 6, (off_t)(SIZE + seam)), 6);

		assert_int_equal(elf_open(fd, &elf), 0);
		assert_int_equal(elf_symtab_find(elf, &wanted, 1), 1);
		assert_int_equal(wanted.vaddr, BASE + CODE);
	}
}

static void addresses_become_offsets_of_their_segment(void **state)
{
	struct image im = image_new();
	_cleanup_(closep) int fd = -1;
	_cleanup_(elf_freep) struct elf *elf = NULL;
	uint64_t offset = 0;
	uint8_t b[8];

	PHDR(&im, 1)->p_vaddr = 0x700000;
	fd = image_fd(&im);
	assert_int_equal(elf_open(fd, &elf), 0);
	assert_int_equal(elf_machine(elf), EM_X86_64);
	assert_int_equal(elf_vaddr_to_offset(elf, BASE + CODE, &offset), 0);
	assert_int_equal(offset, CODE);
	assert_int_equal(elf_vaddr_to_offset(elf, 0x700010, &offset), 0);
	assert_int_equal(offset, DATA + 0x10);
	assert_int_equal(elf_vaddr_to_offset(elf, BASE + DATA, &offset), -ENOENT);
	assert_int_equal(elf_vaddr_to_offset(elf, BASE - 1, &offset), -ENOENT);
	assert_true(elf_in_text(elf, BASE + CODE));
	assert_false(elf_in_text(elf, 0x700010));

	/* Reads stop at the end of a segment. */
	assert_int_equal(elf_read(elf, BASE + DATA - 8, b, 8), 0);
	assert_int_equal(elf_read(elf, BASE + DATA - 7, b, 8), -EBADMSG);
	assert_int_equal(elf_read_upto(elf, BASE + DATA - 7, b, 8), 7);
	assert_int_equal(elf_read_upto(elf, BASE + DATA, b, 8), -EBADMSG);
}

static void slots_name_their_import(void **state)
{
	struct image im = image_new();
	_cleanup_(closep) int fd = image_fd(&im);
	_cleanup_(elf_freep) struct elf *elf = NULL;
	char name[ELF_NAME_MAX];

	assert_int_equal(elf_open(fd, &elf), 0);
	assert_int_equal(elf_slot_symbol(elf, BASE + DATA + 8, name), 0);
	assert_string_equal(name, "import");
	assert_int_equal(elf_slot_symbol(elf, BASE + DATA, name), -ENOENT);
}

static void other_files_are_told_apart_from_damaged_ones(void **state)
{
	struct image im = image_new();
	uint64_t vaddr;

	EHDR(&im)->e_machine = EM_386;
	assert_int_equal(image_find(&im, "alpha", &vaddr), -EOPNOTSUPP);

	im = image_new();
	EHDR(&im)->e_ident[EI_CLASS] = ELFCLASS32;
	assert_int_equal(image_find(&im, "alpha", &vaddr), -EOPNOTSUPP);

	im = image_new();
	EHDR(&im)->e_ident[EI_DATA] = ELFDATA2MSB;
	assert_int_equal(image_find(&im, "alpha", &vaddr), -EOPNOTSUPP);

	im = image_new();
	EHDR(&im)->e_ident[0] = '#';
	assert_int_equal(image_find(&im, "alpha", &vaddr), -ENOEXEC);

	im = image_new();
	im.len = 0;
	assert_int_equal(image_find(&im, "alpha", &vaddr), -ENOEXEC);

	im = image_new();
	EHDR(&im)->e_machine = EM_AARCH64;
	assert_int_equal(image_find(&im, "alpha", &vaddr), 0);
}

static void what_is_not_a_regular_file_is_not_read(void **state)
{
	_cleanup_(closep) int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	_cleanup_(closep) int dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct elf *elf;
	int pipes[2];

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(elf_open(zero, &elf), -ENOEXEC);
	assert_int_equal(elf_open(dir, &elf), -ENOEXEC);
	assert_int_equal(elf_open(pipes[0], &elf), -ENOEXEC);
	assert_int_equal(elf_open(-1, &elf), -EBADF);
	close(pipes[0]);
	close(pipes[1]);
}

/* Cut at every length: an error each time, and never a wrong answer. */
static void every_truncation_ends_in_an_error_or_the_right_answer(void **state)
{
	for (size_t len = 0; len < SIZE; len += 4) {
		struct image im = image_new();
		uint64_t vaddr = 0;
		int r;

		im.len = len;
		r = image_find(&im, "beta", &vaddr);
		assert_true(r == 0 || r == -ENOEXEC || r == -EBADMSG || r == -ENOENT);
		if (r == 0)
			assert_int_equal(vaddr, BASE + CODE + 0x20);
		if (len < HASH)
			assert_true(r < 0);
	}
}

static void a_file_that_shrinks_while_open_is_damage(void **state)
{
	struct image im = image_new();
	_cleanup_(closep) int fd = image_fd(&im);
	_cleanup_(elf_freep) struct elf *elf = NULL;
	struct elf_symbol wanted = {.name = "alpha"};
	uint64_t vaddr, size;

	assert_int_equal(elf_open(fd, &elf), 0);
	assert_int_equal(ftruncate(fd, 0x40), 0);
	assert_int_equal(elf_dynsym_find(elf, "alpha", &vaddr, &size), -EBADMSG);
	assert_int_equal(elf_symtab_find(elf, &wanted, 1), -EBADMSG);
}

static void lying_headers_are_refused(void **state)
{
	struct image im;
	uint64_t vaddr;

	im = image_new();
	EHDR(&im)->e_phnum = 0xffff;
	assert_int_equal(image_find(&im, "alpha", &vaddr), -E2BIG);

	im = image_new();
	EHDR(&im)->e_phnum = 0;
	assert_int_equal(image_find(&im, "alpha", &vaddr), -EBADMSG);

	im = image_new();
	EHDR(&im)->e_phentsize = 1;
	assert_int_equal(image_find(&im, "alpha", &vaddr), -EBADMSG);

	im = image_new();
	EHDR(&im)->e_phoff = UINT64_MAX - 8;
	assert_int_equal(image_find(&im, "alpha", &vaddr), -EBADMSG);

	im = image_new();
	EHDR(&im)->e_phoff = INT64_MAX - 8;
	assert_int_equal(image_find(&im, "alpha", &vaddr), -EBADMSG);

	im = image_new();
	PHDR(&im, 0)->p_filesz = UINT64_MAX;
	assert_int_equal(image_find(&im, "alpha", &vaddr), -EBADMSG);

	im = image_new();
	PHDR(&im, 0)->p_offset = UINT64_MAX - 1;
	assert_int_equal(image_find(&im, "alpha", &vaddr), -EBADMSG);

	/* The headers lie over each other: no crash is all that is asked. */
	im = image_new();
	EHDR(&im)->e_phoff = 0;
	EHDR(&im)->e_shoff = 0;
	assert_true(image_find(&im, "alpha", &vaddr) < 0);
}

static void too_many_segments_are_refused(void **state)
{
	struct image im = image_new();
	uint64_t vaddr;

	/* All of the file from PHDRS on: 33 PT_LOAD of a byte. */
	EHDR(&im)->e_phnum = 33;
	memset(im.bytes + PHDRS, 0, 33 * sizeof(Elf64_Phdr));
	for (size_t i = 0; i < 33; i++) {
		PHDR(&im, i)->p_type = PT_LOAD;
		PHDR(&im, i)->p_filesz = 1;
	}
	assert_int_equal(image_find(&im, "alpha", &vaddr), -E2BIG);
}

static void broken_gnu_hash_tables_are_refused(void **state)
{
	static const struct {
		uint32_t at, value;
		int result;
	} cases[] = {
		{GNU, 0, -ENOENT},                /* no buckets */
		{GNU, UINT32_MAX, -EBADMSG},      /* buckets past the end */
		{GNU + 4, 100, -EBADMSG},         /* chain starts before the first symbol */
		{GNU + 8, 0, -ENOENT},            /* no bloom filter */
		{GNU + 8, UINT32_MAX, -EBADMSG},  /* bloom filter past the end */
		{GNU + 12, UINT32_MAX, 0},        /* a shift is taken modulo the word */
		{GNU + 24, UINT32_MAX, -EBADMSG}, /* bucket points nowhere */
		{GNU + 24, 0, -ENOENT},           /* empty bucket */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct image im = image_new();
		uint64_t vaddr;

		dynamic_put(&im, true, false);
		WORD(&im, cases[i].at) = cases[i].value;
		assert_int_equal(image_find(&im, "beta", &vaddr), cases[i].result);
	}
}

static void a_chain_without_end_stops(void **state)
{
	struct image im = image_new();
	_cleanup_(closep) int fd = -1;
	_cleanup_(elf_freep) struct elf *elf = NULL;
	uint64_t vaddr, size;

	/* 1 MB of zeros behind the file: no chain word has its end bit set. */
	WORD(&im, GNU + 24) = 1000;
	PHDR(&im, 0)->p_filesz = 1 << 20;
	fd = image_fd(&im);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	assert_int_equal(elf_open(fd, &elf), 0);
	assert_int_equal(elf_dynsym_find(elf, "beta", &vaddr, &size), -E2BIG);
}

static void a_loop_in_a_hash_chain_stops(void **state)
{
	struct image im = image_new();
	uint64_t vaddr;

	dynamic_put(&im, false, true);
	WORD(&im, HASH + 4 * (3 + OUTSIDE)) = ALPHA;
	assert_int_equal(image_find(&im, "missing", &vaddr), -E2BIG);
	assert_int_equal(image_find(&im, "beta", &vaddr), 0);

	WORD(&im, HASH + 4) = BETA; /* symbols up to ALPHA only */
	assert_int_equal(image_find(&im, "alpha", &vaddr), 0);
	assert_int_equal(image_find(&im, "beta", &vaddr), -EBADMSG);
	WORD(&im, HASH + 8) = UINT32_MAX;
	assert_int_equal(image_find(&im, "beta", &vaddr), -EBADMSG);
	WORD(&im, HASH) = 0;
	assert_int_equal(image_find(&im, "beta", &vaddr), -ENOENT);
}

/* However often a hostile file makes us ask, the whole work on it is limited. */
static void work_on_one_file_is_bounded(void **state)
{
	struct image im = image_new();
	_cleanup_(closep) int fd = -1;
	_cleanup_(elf_freep) struct elf *elf = NULL;
	uint64_t vaddr, size;
	int r = 0;

	dynamic_put(&im, false, true);
	WORD(&im, HASH + 4 * (3 + OUTSIDE)) = ALPHA;
	fd = image_fd(&im);
	assert_int_equal(elf_open(fd, &elf), 0);
	for (int i = 0; i < 100; i++)
		r = elf_dynsym_find(elf, "missing", &vaddr, &size);
	assert_int_equal(r, -E2BIG);
	assert_int_equal(elf_dynsym_find(elf, "alpha", &vaddr, &size), -E2BIG);
}

static void sections_that_lie_are_refused(void **state)
{
	struct image im;
	uint64_t vaddr;

	im = image_new();
	dynamic_put(&im, false, false);
	SHDR(&im, 1)->sh_size = UINT64_MAX;
	assert_int_equal(image_find(&im, "alpha", &vaddr), -E2BIG);

	im = image_new();
	dynamic_put(&im, false, false);
	SHDR(&im, 1)->sh_link = 77;
	assert_int_equal(image_find(&im, "alpha", &vaddr), -EBADMSG);

	im = image_new();
	dynamic_put(&im, false, false);
	SHDR(&im, 1)->sh_link = 3;
	assert_int_equal(image_find(&im, "alpha", &vaddr), -EBADMSG);

	im = image_new();
	dynamic_put(&im, false, false);
	SHDR(&im, 1)->sh_offset = UINT64_MAX - 4;
	assert_int_equal(image_find(&im, "alpha", &vaddr), -EBADMSG);

	im = image_new();
	dynamic_put(&im, false, false);
	SHDR(&im, 2)->sh_offset = SIZE - 4;
	assert_int_equal(image_find(&im, "alpha", &vaddr), -EBADMSG);

	im = image_new();
	dynamic_put(&im, false, false);
	EHDR(&im)->e_shnum = 0xffff;
	assert_int_equal(image_find(&im, "alpha", &vaddr), -E2BIG);

	im = image_new();
	dynamic_put(&im, false, false);
	EHDR(&im)->e_shnum = 0;
	assert_int_equal(image_find(&im, "alpha", &vaddr), -ENOENT);
}

static void a_name_that_cannot_be_asked_for_is_an_error(void **state)
{
	struct image im = image_new();
	char name[ELF_NAME_MAX + 1];
	uint64_t vaddr;

	memset(name, 'x', sizeof(name));
	name[ELF_NAME_MAX] = '\0';
	assert_int_equal(image_find(&im, name, &vaddr), -EINVAL);
	name[ELF_NAME_MAX - 1] = '\0';
	assert_int_equal(image_find(&im, name, &vaddr), -ENOENT);
}

/* Every byte of the headers and tables set to three values: nothing but errors may come of it. */
static void no_single_byte_makes_it_crash(void **state)
{
	static const uint8_t values[] = {0x00, 0x7f, 0xff};
	struct elf_symbol wanted[2] = {{.name = "alpha"}, {.name = "beta"}};
	char name[ELF_NAME_MAX];
	uint64_t vaddr, size;

	for (size_t i = 0; i < CODE * ARRAY_SIZE(values); i++) {
		struct image im = image_new();
		_cleanup_(closep) int fd = -1;
		_cleanup_(elf_freep) struct elf *elf = NULL;

		im.bytes[i / ARRAY_SIZE(values)] = values[i % ARRAY_SIZE(values)];
		fd = image_fd(&im);
		if (elf_open(fd, &elf) < 0)
			continue;
		if (elf_dynsym_find(elf, "alpha", &vaddr, &size) == 0)
			assert_true(elf_in_text(elf, vaddr));
		elf_symtab_find(elf, wanted, 2);
		elf_slot_symbol(elf, BASE + DATA + 8, name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_lookup_finds_defined_functions_only),
		cmocka_unit_test(symbol_table_finds_all_names_in_one_call),
		cmocka_unit_test(names_across_the_pieces_of_a_string_table_are_found),
		cmocka_unit_test(addresses_become_offsets_of_their_segment),
		cmocka_unit_test(slots_name_their_import),
		cmocka_unit_test(other_files_are_told_apart_from_damaged_ones),
		cmocka_unit_test(what_is_not_a_regular_file_is_not_read),
		cmocka_unit_test(every_truncation_ends_in_an_error_or_the_right_answer),
		cmocka_unit_test(a_file_that_shrinks_while_open_is_damage),
		cmocka_unit_test(lying_headers_are_refused),
		cmocka_unit_test(too_many_segments_are_refused),
		cmocka_unit_test(broken_gnu_hash_tables_are_refused),
		cmocka_unit_test(a_chain_without_end_stops),
		cmocka_unit_test(a_loop_in_a_hash_chain_stops),
		cmocka_unit_test(work_on_one_file_is_bounded),
		cmocka_unit_test(sections_that_lie_are_refused),
		cmocka_unit_test(a_name_that_cannot_be_asked_for_is_an_error),
		cmocka_unit_test(no_single_byte_makes_it_crash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
