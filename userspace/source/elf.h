/* SPDX-License-Identifier: MIT */
/*
 * Reads what a probe needs from an ELF file that may be hostile: symbols, and on top of find/image.h bytes by address
 * and file offsets. All work on one `struct elf` is bounded.
 *
 * Errors: -ENOEXEC not an ELF file, -EOPNOTSUPP another class, byte order or machine, -EBADMSG damaged or
 * cut short, -E2BIG more work than a sane file asks for, -ENOENT not there, or what pread() said.
 */
#ifndef AGENTSIGHT_SOURCE_ELF_H
#define AGENTSIGHT_SOURCE_ELF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"

#define ELF_NAME_MAX 64 /* names asked for, and names of import slots, with the NUL */

struct elf;

struct elf_symbol {
	const char *name; /* set by the caller, shorter than ELF_NAME_MAX */
	uint64_t vaddr;   /* 0 when not found */
	uint64_t size;    /* 0 when the file does not say */
};

/* Keeps @fd, which must stay open until elf_free(). */
int elf_open(int fd, struct elf **ret);

/* Reads may come to so many units from now on: one each, and one for each 4 KiB. Then they end with -E2BIG. */
void elf_limit(struct elf *elf, uint64_t work);
void elf_free(struct elf *elf);
DEFINE_FREEP(struct elf *, elf_free)

/* EM_X86_64 or EM_AARCH64. */
uint16_t elf_machine(const struct elf *elf);

/* Finds one defined function among the dynamic symbols. A hash look-up: a few reads whatever the size. */
int elf_dynsym_find(struct elf *elf, const char *name, uint64_t *ret_vaddr, uint64_t *ret_size);

/*
 * Finds defined functions in the full symbol table, for programs that export nothing but are not
 * stripped. Streams the table, so it asks for all names at once and gives up with -ENOENT as soon as
 * @wanted[0] is known to be missing. Otherwise the count found.
 */
int elf_symtab_find(struct elf *elf, struct elf_symbol *wanted, size_t n);

/* The name of the symbol that the dynamic linker stores at @vaddr (a slot of the PLT). */
int elf_slot_symbol(struct elf *elf, uint64_t vaddr, char ret_name[ELF_NAME_MAX]);

/* Uprobes take file offsets: vaddr - p_vaddr + p_offset of the segment that holds the address. */
int elf_vaddr_to_offset(const struct elf *elf, uint64_t vaddr, uint64_t *ret_offset);

bool elf_in_text(const struct elf *elf, uint64_t vaddr);

/* Reads exactly @len bytes of one segment. */
int elf_read(struct elf *elf, uint64_t vaddr, void *buf, size_t len);

/* As elf_read(), but stops at the end of the segment. The count (> 0), or an error. */
ssize_t elf_read_upto(struct elf *elf, uint64_t vaddr, void *buf, size_t len);

#endif
