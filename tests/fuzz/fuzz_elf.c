/* SPDX-License-Identifier: MIT */
/*
 * The ELF reader and the TLS site finder on arbitrary files. Whatever is found must lie in the file's
 * executable segments, and a site's offset must fit its address.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "source/elf.h"
#include "source/tls_sites.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void symbols_check(struct elf *elf)
{
	struct elf_symbol wanted[] = {{.name = "SSL_read"}, {.name = "SSL_write"}, {.name = "f"}};
	uint64_t vaddr, length;

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		if (elf_dynsym_find(elf, wanted[i].name, &vaddr, &length) == 0 &&
		    !elf_in_text(elf, vaddr))
			abort();
	}

	if (elf_symtab_find(elf, wanted, ARRAY_SIZE(wanted)) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		if (wanted[i].vaddr && !elf_in_text(elf, wanted[i].vaddr))
			abort();
	}
}

static void reads_check(struct elf *elf, const uint8_t *data, size_t size)
{
	char name[ELF_NAME_MAX];
	uint8_t bytes[32];
	uint64_t vaddr = 0, offset;

	memcpy(&vaddr, data + size - MIN(size, sizeof(vaddr)), MIN(size, sizeof(vaddr)));
	elf_slot_symbol(elf, vaddr, name);
	elf_read(elf, vaddr, bytes, sizeof(bytes));
	if (elf_read_upto(elf, vaddr, bytes, sizeof(bytes)) > 0 &&
	    (elf_vaddr_to_offset(elf, vaddr, &offset) < 0 || offset >= size))
		abort();
}

static void sites_check(int fd, struct elf *elf)
{
	struct tls_sites sites;
	struct err e = {.text = ""};

	if (tls_sites_find(fd, &sites, &e) < 0) {
		if (!e.text[0])
			abort();
		return;
	}

	for (size_t i = 0; i < sites.n; i++) {
		uint64_t offset;

		if (!elf_in_text(elf, sites.sites[i].vaddr) ||
		    elf_vaddr_to_offset(elf, sites.sites[i].vaddr, &offset) < 0 ||
		    offset != sites.sites[i].offset || !sites.sites[i].covers[0])
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(elf_freep) struct elf *elf = NULL;
	_cleanup_(closep) int fd = memfd_create("elf", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		return 0;

	if (elf_open(fd, &elf) < 0)
		return 0;

	symbols_check(elf);
	reads_check(elf, data, size);
	sites_check(fd, elf);
	return 0;
}
