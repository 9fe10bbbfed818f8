/* SPDX-License-Identifier: MIT */
/*
 * The image reader. Every number in the file is a claim: sums are checked before they are used. It knows
 * nothing about TLS.
 */
#include "find/image.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "find/sorted.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "structs are read as they lie in the file, which is little-endian"
#endif

/* Largest seen: 14 program headers, 12 loads, 2.5 MiB of unwind table, 11 MiB of relocations. */
#define PHDRS_MAX   128
#define DYNAMIC_MAX 1024
#define NOTES_MAX   8192

/* One unit for a read and one for each 4 KiB of it: 4 GiB, or a million small reads. */
#define WORK_MAX (1U << 20)

/* Code has some 60 calls in 4 KiB, which are then read for two units. */
#define LOOKS_PER_UNIT 64

/* What DW_EH_PE says of a pointer in .eh_frame and its header; only what linkers write is read. */
#define EH_SDATA4         0x0b
#define EH_PCREL          0x10
#define EH_DATAREL        0x30
#define EH_UDATA4         0x03
#define EH_ROW            8 /* bytes of one row of the search table: start and FDE, both 32 bits */
#define EH_AUGMENTATION   64
#define EH_HEADER_VERSION 1

struct table {
	uint64_t vaddr;
	uint64_t size;
};

struct image {
	int fd;
	const _Atomic(bool) *stop;
	bool pie;
	uint16_t machine;
	uint64_t sections; /* in the file */
	uint32_t n_sections;
	uint64_t work, work_max;
	uint64_t looks; /* less than a unit */
	size_t n_segments;
	struct image_segment segments[IMAGE_SEGMENTS_MAX];
	struct image_segment relro;
	size_t n_notes;
	struct image_segment notes[IMAGE_SEGMENTS_MAX];
	struct image_segment dynamic;
	struct table eh;
	struct table rela;
	uint8_t *block; /* of image_scan() */
};

static int charge(struct image *im, uint64_t units)
{
	im->work += units;
	if (im->work > im->work_max)
		return -E2BIG;
	if (im->stop && atomic_load_explicit(im->stop, memory_order_relaxed))
		return -ECANCELED;
	return 0;
}

/* The end of the file in between is damage. */
int image_read_file(struct image *im, uint64_t offset, void *buf, size_t len)
{
	int r = charge(im, 1 + len / 4096);

	return r < 0 ? r : io_pread(im->fd, offset, buf, len);
}

bool image_affords(const struct image *im, uint64_t bytes)
{
	return im->work <= im->work_max && bytes / 4096 < im->work_max - im->work;
}

int image_looks(struct image *im, size_t n)
{
	uint64_t looks = im->looks + n;

	im->looks = looks % LOOKS_PER_UNIT;
	return charge(im, looks / LOOKS_PER_UNIT);
}

static const struct image_segment *segment_find(const struct image *im, uint64_t vaddr)
{
	for (size_t i = 0; i < im->n_segments; i++) {
		const struct image_segment *s = &im->segments[i];

		if (vaddr >= s->vaddr && vaddr - s->vaddr < s->filesz)
			return s;
	}
	return NULL;
}

uint16_t image_machine(const struct image *im)
{
	return im->machine;
}

uint32_t image_sections(const struct image *im, uint64_t *ret_offset)
{
	*ret_offset = im->sections;
	return im->n_sections;
}

size_t image_segments(const struct image *im, const struct image_segment **ret)
{
	*ret = im->segments;
	return im->n_segments;
}

bool image_relro(const struct image *im, struct image_segment *ret)
{
	*ret = im->relro;
	return im->relro.filesz > 0;
}

bool image_is_pie(const struct image *im)
{
	return im->pie;
}

int image_offset(const struct image *im, uint64_t vaddr, uint64_t *ret)
{
	const struct image_segment *s = segment_find(im, vaddr);

	if (!s)
		return -ENOENT;

	/* No overflow: segment_add() checked offset + filesz. */
	*ret = vaddr - s->vaddr + s->offset;
	return 0;
}

uint64_t image_before(const struct image *im, uint64_t vaddr)
{
	const struct image_segment *s = segment_find(im, vaddr);

	return s ? vaddr - s->vaddr : 0;
}

bool image_in_text(const struct image *im, uint64_t vaddr)
{
	const struct image_segment *s = segment_find(im, vaddr);

	return s && (s->flags & PF_X);
}

bool image_offset_in_text(const struct image *im, uint64_t offset, uint64_t *ret_vaddr)
{
	for (size_t i = 0; i < im->n_segments; i++) {
		const struct image_segment *s = &im->segments[i];

		if ((s->flags & PF_X) && offset >= s->offset && offset - s->offset < s->filesz) {
			if (ret_vaddr)
				*ret_vaddr = offset - s->offset + s->vaddr;
			return true;
		}
	}
	return false;
}

int image_read(struct image *im, uint64_t vaddr, void *buf, size_t len)
{
	const struct image_segment *s = segment_find(im, vaddr);

	if (!s || s->filesz - (vaddr - s->vaddr) < len)
		return -EBADMSG;

	return image_read_file(im, vaddr - s->vaddr + s->offset, buf, len);
}

ssize_t image_read_upto(struct image *im, uint64_t vaddr, void *buf, size_t len)
{
	const struct image_segment *s = segment_find(im, vaddr);
	int r;

	if (!s || len == 0)
		return -EBADMSG;

	len = MIN(len, s->filesz - (vaddr - s->vaddr));
	r = image_read_file(im, vaddr - s->vaddr + s->offset, buf, len);
	return r < 0 ? r : (ssize_t)len;
}

static int segment_set(struct image_segment *s, const Elf64_Phdr *ph)
{
	uint64_t end;

	if (__builtin_add_overflow(ph->p_vaddr, ph->p_filesz, &end) ||
	    __builtin_add_overflow(ph->p_offset, ph->p_filesz, &end) || end > INT64_MAX)
		return -EBADMSG;

	*s = (struct image_segment){
		.vaddr = ph->p_vaddr,
		.filesz = ph->p_filesz,
		.offset = ph->p_offset,
		.flags = ph->p_flags,
	};
	return 0;
}

static int segment_add(struct image_segment *table, size_t *n, const Elf64_Phdr *ph)
{
	int r;

	if (ph->p_filesz == 0)
		return 0;
	if (*n == IMAGE_SEGMENTS_MAX)
		return -E2BIG;

	r = segment_set(&table[*n], ph);
	*n += r == 0;
	return r;
}

static void dynamic_take(const Elf64_Dyn *d, const int64_t *tags, uint64_t *values, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (d->d_tag == tags[i])
			values[i] = d->d_un.d_val;
	}
}

int image_dynamic(struct image *im, const int64_t *tags, uint64_t *ret_values, size_t n)
{
	uint64_t left = MIN(im->dynamic.filesz / sizeof(Elf64_Dyn), (uint64_t)DYNAMIC_MAX);
	uint64_t offset = im->dynamic.offset;
	Elf64_Dyn entries[64];

	memset(ret_values, 0, n * sizeof(*ret_values));
	while (left > 0) {
		size_t count = MIN(left, (uint64_t)ARRAY_SIZE(entries));
		int r = image_read_file(im, offset, entries, count * sizeof(entries[0]));

		if (r < 0)
			return r;
		for (size_t i = 0; i < count; i++) {
			if (entries[i].d_tag == DT_NULL)
				return 0;
			dynamic_take(&entries[i], tags, ret_values, n);
		}
		offset += count * sizeof(entries[0]);
		left -= count;
	}
	return 0;
}

static int rela_read(struct image *im)
{
	static const int64_t tags[] = {DT_RELA, DT_RELASZ};
	uint64_t values[ARRAY_SIZE(tags)];
	int r = image_dynamic(im, tags, values, ARRAY_SIZE(tags));

	im->rela = (struct table){values[0], values[1]};
	return r;
}

static int phdr_take(struct image *im, const Elf64_Phdr *ph)
{
	switch (ph->p_type) {
	case PT_LOAD:
		return segment_add(im->segments, &im->n_segments, ph);
	case PT_NOTE:
		return segment_add(im->notes, &im->n_notes, ph);
	case PT_GNU_RELRO:
		return segment_set(&im->relro, ph);
	case PT_GNU_EH_FRAME:
		im->eh = (struct table){ph->p_vaddr, ph->p_filesz};
		return 0;
	case PT_DYNAMIC:
		return segment_set(&im->dynamic, ph);
	default:
		return 0;
	}
}

static int phdrs_read(struct image *im, const Elf64_Ehdr *eh)
{
	Elf64_Phdr phdrs[PHDRS_MAX];
	int r;

	if (eh->e_phentsize != sizeof(phdrs[0]) || eh->e_phnum == 0)
		return -EBADMSG;
	if (eh->e_phnum > PHDRS_MAX)
		return -E2BIG;

	r = image_read_file(im, eh->e_phoff, phdrs, eh->e_phnum * sizeof(phdrs[0]));
	for (size_t i = 0; r >= 0 && i < eh->e_phnum; i++)
		r = phdr_take(im, &phdrs[i]);
	return r;
}

static int ehdr_read(struct image *im, Elf64_Ehdr *ret)
{
	struct stat st;
	int r;

	if (fstat(im->fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENOEXEC;

	r = image_read_file(im, 0, ret, sizeof(*ret));
	if (r == -EBADMSG)
		return -ENOEXEC;
	if (r < 0)
		return r;
	if (memcmp(ret->e_ident, ELFMAG, SELFMAG) != 0)
		return -ENOEXEC;
	if (ret->e_ident[EI_CLASS] != ELFCLASS64 || ret->e_ident[EI_DATA] != ELFDATA2LSB ||
	    (ret->e_machine != EM_X86_64 && ret->e_machine != EM_AARCH64) ||
	    (ret->e_type != ET_EXEC && ret->e_type != ET_DYN))
		return -EOPNOTSUPP;
	return 0;
}

int image_open(int fd, const _Atomic(bool) *stop, struct image **ret)
{
	_cleanup_(image_freep) struct image *im = calloc(1, sizeof(*im));
	Elf64_Ehdr eh = {};
	int r;

	if (!im)
		return -ENOMEM;
	im->fd = fd;
	im->stop = stop;
	im->work_max = WORK_MAX;

	r = ehdr_read(im, &eh);
	if (r < 0)
		return r;
	im->pie = eh.e_type == ET_DYN;
	im->machine = eh.e_machine;
	im->sections = eh.e_shoff;
	if (eh.e_shoff && eh.e_shentsize == sizeof(Elf64_Shdr))
		im->n_sections = eh.e_shnum;

	r = phdrs_read(im, &eh);
	if (r == 0)
		r = rela_read(im);
	if (r < 0)
		return r;

	*ret = TAKE_PTR(im);
	return 0;
}

void image_free(struct image *im)
{
	if (!im)
		return;
	free(im->block);
	free(im);
}

void image_limit(struct image *im, uint64_t work)
{
	im->work_max = im->work + work;
}

/* 1 when the note at @p is the build id. @ret_next is where the next one begins. */
static int note_take(const uint8_t *p, size_t len, struct image_id *ret, size_t *ret_next)
{
	uint64_t name_len, desc_len, desc;
	Elf64_Nhdr nh;

	if (len < sizeof(nh))
		return -ENOENT;
	memcpy(&nh, p, sizeof(nh));

	name_len = ((uint64_t)nh.n_namesz + 3) & ~3ULL;
	desc_len = ((uint64_t)nh.n_descsz + 3) & ~3ULL;
	desc = sizeof(nh) + name_len;
	if (desc + desc_len > len)
		return -ENOENT;

	*ret_next = desc + desc_len;
	if (nh.n_type != NT_GNU_BUILD_ID || nh.n_namesz != 4 ||
	    memcmp(p + sizeof(nh), "GNU", 4) != 0 || nh.n_descsz == 0 ||
	    nh.n_descsz > sizeof(ret->bytes))
		return 0;

	memcpy(ret->bytes, p + desc, nh.n_descsz);
	ret->len = nh.n_descsz;
	return 1;
}

static int notes_read(struct image *im, const struct image_segment *s, struct image_id *ret)
{
	uint8_t bytes[NOTES_MAX];
	size_t len = MIN(s->filesz, (uint64_t)sizeof(bytes));
	int r = image_read_file(im, s->offset, bytes, len);

	for (size_t at = 0, next = 0; r == 0; at += next)
		r = note_take(bytes + at, len - at, ret, &next);
	return r;
}

int image_build_id(struct image *im, struct image_id *ret)
{
	*ret = (struct image_id){};
	for (size_t i = 0; i < im->n_notes; i++) {
		int r = notes_read(im, &im->notes[i], ret);

		if (r == 1)
			return 0;
		if (r < 0 && r != -ENOENT)
			return r;
	}
	return 0;
}

int image_scan(struct image *im, const struct image_segment *seg, size_t overlap, image_block_fn fn,
	       void *userdata)
{
	uint64_t at = 0;
	size_t kept = 0;

	if (overlap >= IMAGE_BLOCK / 2)
		return -EINVAL;
	if (!im->block)
		im->block = malloc(IMAGE_BLOCK);
	if (!im->block)
		return -ENOMEM;

	/* Only a hint; the first block's wait then covers the next ones' as well. */
	(void)posix_fadvise(im->fd, (off_t)seg->offset, (off_t)seg->filesz, POSIX_FADV_SEQUENTIAL);
	while (at < seg->filesz) {
		size_t n = MIN((uint64_t)(IMAGE_BLOCK - kept), seg->filesz - at);
		bool last = at + n == seg->filesz;
		size_t len = kept + n, fresh = last ? len : len - overlap;
		int r = image_read_file(im, seg->offset + at, im->block + kept, n);

		if (r < 0)
			return r;
		r = fn(userdata, seg->vaddr + at - kept, im->block, fresh, len);
		if (r < 0)
			return r;

		kept = len - fresh;
		memmove(im->block, im->block + fresh, kept);
		at += n;
	}
	return 0;
}

/* Where the search table of .eh_frame_hdr lies, and how many rows it has. */
static int eh_table(struct image *im, uint64_t *ret_rows, uint32_t *ret_count)
{
	uint8_t head[12];
	int r;

	if (im->eh.size < sizeof(head))
		return -ENOENT;
	r = image_read(im, im->eh.vaddr, head, sizeof(head));
	if (r < 0)
		return r;
	if (head[0] != EH_HEADER_VERSION || head[1] != (EH_PCREL | EH_SDATA4) ||
	    head[2] != EH_UDATA4 || head[3] != (EH_DATAREL | EH_SDATA4))
		return -ENOENT;

	memcpy(ret_count, head + 8, sizeof(*ret_count));
	if (*ret_count == 0 || *ret_count > (im->eh.size - sizeof(head)) / EH_ROW)
		return -ENOENT;
	*ret_rows = im->eh.vaddr + sizeof(head);
	return 0;
}

static int eh_row(struct image *im, uint64_t rows, uint32_t i, uint64_t *ret_start,
		  uint64_t *ret_fde)
{
	int32_t row[2];
	int r = image_read(im, rows + (uint64_t)i * EH_ROW, row, sizeof(row));

	if (r < 0)
		return r;
	*ret_start = im->eh.vaddr + (uint64_t)(int64_t)row[0];
	*ret_fde = im->eh.vaddr + (uint64_t)(int64_t)row[1];
	return 0;
}

/* How the FDEs of this CIE write addresses; only "zR" and its relatives say. */
static int cie_encoding(struct image *im, uint64_t cie, uint8_t *ret)
{
	uint8_t bytes[EH_AUGMENTATION];
	ssize_t n = image_read_upto(im, cie, bytes, sizeof(bytes));
	const char *augmentation = (const char *)bytes + 9;
	size_t at;

	if (n < (ssize_t)sizeof(bytes))
		return n < 0 ? (int)n : -ENOENT;
	at = 9 + strnlen(augmentation, 16) + 1;
	if (augmentation[0] != 'z' || at > 9 + 16)
		return -ENOENT;

	/* Code and data alignment and the return register are LEB128, then the data's length. */
	for (int skipped = 0; skipped < 4; skipped++) {
		while (at < sizeof(bytes) - 1 && (bytes[at] & 0x80))
			at++;
		at++;
	}
	for (const char *a = augmentation + 1; *a && at + 6 < sizeof(bytes); a++) {
		if (*a == 'R') {
			*ret = bytes[at];
			return 0;
		}
		if (*a == 'L')
			at++;
		else if (*a == 'P')
			at += 5; /* encoding and a 32-bit pointer, the only size seen */
		else if (*a != 'S' && *a != 'B')
			return -ENOENT;
	}
	return -ENOENT;
}

/* The FDE's own range: the row before an address is no proof that it belongs there. */
static int fde_range(struct image *im, uint64_t fde, uint64_t *ret_start, uint64_t *ret_end)
{
	uint8_t encoding = 0;
	uint32_t word[4]; /* length, distance to the CIE, start, size */
	int r = image_read(im, fde, word, sizeof(word));

	if (r < 0)
		return r;
	if (word[0] == 0 || word[0] >= 0xfffffff0 || word[1] == 0)
		return -ENOENT;
	r = cie_encoding(im, fde + 4 - word[1], &encoding);
	if (r < 0)
		return r;
	if (encoding != (EH_PCREL | EH_SDATA4))
		return -ENOENT;

	*ret_start = fde + 8 + (uint64_t)(int64_t)(int32_t)word[2];
	*ret_end = *ret_start + word[3];
	return *ret_end < *ret_start ? -ENOENT : 0;
}

int image_function(struct image *im, uint64_t vaddr, uint64_t *ret_start, uint64_t *ret_end)
{
	uint64_t rows, start = 0, fde = 0, end = 0;
	uint32_t low = 0, high = 0;
	int r = eh_table(im, &rows, &high);

	/* The last row that begins at or before the address: [0, low) begin there, [high, ...) behind. */
	while (r == 0 && low < high) {
		uint32_t mid = low + (high - low) / 2;

		r = eh_row(im, rows, mid, &start, &fde);
		if (start <= vaddr)
			low = mid + 1;
		else
			high = mid;
	}
	if (r == 0 && low == 0)
		return -ENOENT;
	if (r == 0)
		r = eh_row(im, rows, low - 1, &start, &fde);
	if (r == 0)
		r = fde_range(im, fde, &start, &end);
	if (r < 0)
		return r == -EBADMSG ? -ENOENT : r;
	if (vaddr < start || vaddr >= end)
		return -ENOENT;

	*ret_start = start;
	*ret_end = end;
	return 0;
}

/* Every RELATIVE relocation with an addend of its own. RELR has none: its pointers are in place. */
static int rela_each(struct image *im, int (*fn)(void *, const Elf64_Rela *), void *userdata)
{
	uint64_t left = im->rela.size / sizeof(Elf64_Rela), at = im->rela.vaddr;
	Elf64_Rela chunk[1024] = {};
	int r = 0;

	while (r == 0 && left > 0) {
		size_t n = MIN(left, (uint64_t)ARRAY_SIZE(chunk));

		r = image_read(im, at, chunk, n * sizeof(chunk[0]));
		for (size_t i = 0; r == 0 && i < n; i++) {
			if (ELF64_R_TYPE(chunk[i].r_info) == R_X86_64_RELATIVE)
				r = fn(userdata, &chunk[i]);
		}
		at += n * sizeof(chunk[0]);
		left -= n;
	}
	return r;
}

struct wanted {
	uint64_t vaddr;
	uint64_t *value;
};

struct wanted_list {
	size_t n;
	struct wanted *of; /* by address, of which some may be the same */
};

static int wanted_take(void *userdata, const Elf64_Rela *rela)
{
	const struct wanted_list *w = userdata;
	size_t at = sorted_from(w->of, sizeof(*w->of), w->n, rela->r_offset);

	for (; at < w->n && w->of[at].vaddr == rela->r_offset; at++)
		*w->of[at].value = (uint64_t)rela->r_addend;
	return 0;
}

int image_pointers(struct image *im, const uint64_t *vaddrs, uint64_t *ret_values, size_t n)
{
	_cleanup_(freep) struct wanted *wanted = calloc(n + 1, sizeof(*wanted));
	struct wanted_list w = {n, wanted};
	int r = wanted ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < n; i++) {
		r = image_read(im, vaddrs[i], &ret_values[i], sizeof(ret_values[i]));
		wanted[i] = (struct wanted){vaddrs[i], &ret_values[i]};
	}
	if (r < 0)
		return r;
	qsort(wanted, n, sizeof(*wanted), sorted_compare);
	return rela_each(im, wanted_take, &w);
}

struct pointer_table {
	uint64_t vaddr;
	uint64_t *values;
	size_t n;
};

static int table_take(void *userdata, const Elf64_Rela *rela)
{
	struct pointer_table *t = userdata;
	uint64_t at = rela->r_offset - t->vaddr;

	if (rela->r_offset >= t->vaddr && at % 8 == 0 && at / 8 < t->n)
		t->values[at / 8] = (uint64_t)rela->r_addend;
	return 0;
}

int image_pointer_table(struct image *im, uint64_t vaddr, uint64_t *ret_values, size_t n)
{
	struct pointer_table t = {vaddr, ret_values, n};
	int r = image_read(im, vaddr, ret_values, n * sizeof(*ret_values));

	return r < 0 ? r : rela_each(im, table_take, &t);
}

struct sought {
	uint64_t value;
	uint64_t vaddr;
};

static int sought_take(void *userdata, const Elf64_Rela *rela)
{
	struct sought *s = userdata;

	if ((uint64_t)rela->r_addend != s->value)
		return 0;
	s->vaddr = rela->r_offset;
	return 1;
}

int image_pointer_to(struct image *im, uint64_t value, uint64_t *ret_vaddr)
{
	struct sought s = {.value = value};
	int r = rela_each(im, sought_take, &s);

	if (r < 0)
		return r;
	if (r == 0)
		return -ENOENT;
	*ret_vaddr = s.vaddr;
	return 0;
}
