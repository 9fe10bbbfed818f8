/* SPDX-License-Identifier: MIT */
/*
 * A bounded view of an executable that may be hostile and may change while it is read: segments, bytes by
 * address, unwind ranges, relocations, build id. It reads with pread() only: a mapping of a file that
 * shrinks raises SIGBUS, and its pages would count as resident memory. Little-endian ELF64 of x86-64 and aarch64;
 * relocations and code are read of x86-64 only. Symbols are source/elf.h's.
 *
 * Everything that is read, and looked at twice, is charged to one budget per image, so hostile tables and code end in
 * -E2BIG and not in time. Other errors: -ENOEXEC not an ELF file, -EOPNOTSUPP another class, byte order or machine, -EBADMSG
 * damaged or cut short, -ENOENT not there, -ECANCELED stopped by the caller, or what pread() said.
 */
#ifndef AGENTSIGHT_FIND_IMAGE_H
#define AGENTSIGHT_FIND_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"

#define IMAGE_SEGMENTS_MAX 32
#define IMAGE_BUILD_ID_MAX 32
#define IMAGE_BLOCK        (1U << 20) /* bytes read at a time by image_scan() */

struct image_segment {
	uint64_t vaddr;
	uint64_t filesz; /* only what the file holds; no address behind it is readable here */
	uint64_t offset;
	uint32_t flags; /* PF_R, PF_W, PF_X */
};

struct image_id {
	uint8_t bytes[IMAGE_BUILD_ID_MAX];
	size_t len; /* 0: the file has none */
};

struct image;

/* Keeps @fd, which must stay open. @stop (may be NULL) ends any read with -ECANCELED once it is true. */
int image_open(int fd, const _Atomic(bool) *stop, struct image **ret);
void image_free(struct image *im);

/* Reads may come to so many units from now on: one each, and one for each 4 KiB or 64 looks. */
void image_limit(struct image *im, uint64_t work);
DEFINE_FREEP(struct image *, image_free)

/* Can so many bytes still be read? */
bool image_affords(const struct image *im, uint64_t bytes);

/* Charges @n places in what was read that deserved a second look: there may be one at every byte. */
int image_looks(struct image *im, size_t n);

/* EM_X86_64 or EM_AARCH64. */
uint16_t image_machine(const struct image *im);

size_t image_segments(const struct image *im, const struct image_segment **ret);

/* Where the table of sections lies in the file, and how many it has; 0 when there is none, or of another shape. */
uint32_t image_sections(const struct image *im, uint64_t *ret_offset);

/* What the dynamic section says of @tags, 0 where it says nothing. */
int image_dynamic(struct image *im, const int64_t *tags, uint64_t *ret_values, size_t n);

/* The part that is read-only once the dynamic linker is done; false when the file has none. */
bool image_relro(const struct image *im, struct image_segment *ret);

/* False for programs at a fixed address, whose pointers need no relocation. */
bool image_is_pie(const struct image *im);

/* Zero-length when there is none or it is longer than IMAGE_BUILD_ID_MAX. */
int image_build_id(struct image *im, struct image_id *ret);

/* Uprobes take file offsets. -ENOENT for an address that no byte of the file is mapped to. */
int image_offset(const struct image *im, uint64_t vaddr, uint64_t *ret);
bool image_in_text(const struct image *im, uint64_t vaddr);

/* True when a uprobe at this file offset would be in code; the address is optional. */
bool image_offset_in_text(const struct image *im, uint64_t offset, uint64_t *ret_vaddr);

/* How many bytes stand before @vaddr in its segment; 0 when it has none. */
uint64_t image_before(const struct image *im, uint64_t vaddr);

/* Reads exactly @len bytes at a place in the file. */
int image_read_file(struct image *im, uint64_t offset, void *buf, size_t len);

/* Reads exactly @len bytes of one segment. */
int image_read(struct image *im, uint64_t vaddr, void *buf, size_t len);

/* As image_read(), but stops at the end of the segment. The count (> 0), or an error. */
ssize_t image_read_upto(struct image *im, uint64_t vaddr, void *buf, size_t len);

/*
 * Hands a segment over block by block. @bytes stands for address @vaddr; matches are to begin in the first
 * @fresh bytes, the rest is there to look ahead and comes again with the next block. At most @overlap bytes.
 * A negative result ends the scan and is passed on.
 */
typedef int (*image_block_fn)(void *userdata, uint64_t vaddr, const uint8_t *bytes, size_t fresh,
			      size_t len);
int image_scan(struct image *im, const struct image_segment *seg, size_t overlap, image_block_fn fn,
	       void *userdata);

/* The unwind table's function that covers @vaddr; -ENOENT when there is no table or it has a gap here. */
int image_function(struct image *im, uint64_t vaddr, uint64_t *ret_start, uint64_t *ret_end);

/*
 * The pointers at @vaddrs as they are at run time, relative to the same base as all addresses here. One
 * pass over the relocations whatever @n is.
 */
int image_pointers(struct image *im, const uint64_t *vaddrs, uint64_t *ret_values, size_t n);

/* As image_pointers(), for the @n pointers that stand one behind the other from @vaddr on. */
int image_pointer_table(struct image *im, uint64_t vaddr, uint64_t *ret_values, size_t n);

/* Where a relative relocation stores the address @value (the first such place); -ENOENT when nowhere. */
int image_pointer_to(struct image *im, uint64_t value, uint64_t *ret_vaddr);

#endif
