/* SPDX-License-Identifier: MIT */
#include "base/memory.h"

#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#define LARGE (1 << 20)

/* Of a segment that nobody writes to, the file holds all there is: nothing is lost. */
static int segments_drop(struct dl_phdr_info *info, size_t size, void *ctx)
{
	const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	for (size_t i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uintptr_t begin = (info->dlpi_addr + ph->p_vaddr) & ~(page - 1);
		uintptr_t end = info->dlpi_addr + ph->p_vaddr + ph->p_memsz;

		if (ph->p_type == PT_LOAD && !(ph->p_flags & PF_W) && end > begin)
			madvise((void *)begin, end - begin, MADV_DONTNEED);
	}
	return 0;
}

void memory_one_heap(void)
{
	mallopt(M_ARENA_MAX, 1);
}

void memory_large_apart(void)
{
	mallopt(M_MMAP_THRESHOLD, LARGE);
	/* else it stays at what goes with the smaller one that the C library begins with */
	mallopt(M_TRIM_THRESHOLD, 2 * LARGE);
}

void memory_trim(void)
{
	malloc_trim(0);
}

void memory_give_back(void)
{
	memory_trim();
	dl_iterate_phdr(segments_drop, NULL);
}
