/* SPDX-License-Identifier: MIT */
/* The image reader, on compiled programs and on headers that lie. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include <elf.h>

#include "find/image.h"
#include "unit/find/fixture.h"

#define VADDR 0x400000

struct small {
	Elf64_Ehdr eh;
	Elf64_Phdr ph[3];
	struct {
		Elf64_Nhdr nh;
		char name[4];
		uint8_t id[20];
	} note;
	uint8_t code[64];
};

static struct small small(void)
{
	struct small s = {
		.eh =
			{
				.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB,
					    EV_CURRENT},
				.e_type = ET_EXEC,
				.e_machine = EM_X86_64,
				.e_phoff = offsetof(struct small, ph),
				.e_phentsize = sizeof(Elf64_Phdr),
				.e_phnum = 3,
			},
		.ph =
			{
				{.p_type = PT_LOAD,
				 .p_flags = PF_R | PF_X,
				 .p_vaddr = VADDR,
				 .p_filesz = sizeof(s)},
				{.p_type = PT_NOTE,
				 .p_offset = offsetof(struct small, note),
				 .p_filesz = sizeof(s.note)},
				{.p_type = PT_NULL},
			},
		.note = {.nh = {4, 20, NT_GNU_BUILD_ID}, .name = "GNU", .id = {1, 2, 3}},
		.code = {0x90, 0xc3},
	};
	return s;
}

static int opened(const struct small *s, size_t len, int *ret_fd, struct image **ret)
{
	*ret_fd = memfd_create("small", MFD_CLOEXEC);
	assert_int_equal(write(*ret_fd, s, len), len);
	return image_open(*ret_fd, NULL, ret);
}

static void fails(const struct small *s, size_t len, int error)
{
	struct image *im = NULL;
	int fd;

	assert_int_equal(opened(s, len, &fd, &im), error);
	assert_null(im);
	close(fd);
}

static void addresses_and_offsets_belong_together(void **state)
{
	struct small s = small();
	struct image *im = NULL;
	struct image_id id;
	uint64_t offset, vaddr;
	uint8_t b[2];
	int fd;

	assert_int_equal(opened(&s, sizeof(s), &fd, &im), 0);
	assert_false(image_is_pie(im));
	assert_int_equal(image_offset(im, VADDR + 5, &offset), 0);
	assert_int_equal(offset, 5);
	assert_true(image_offset_in_text(im, 5, &vaddr));
	assert_int_equal(vaddr, VADDR + 5);
	assert_false(image_offset_in_text(im, sizeof(s), NULL));
	assert_int_equal(image_offset(im, VADDR + sizeof(s), &offset), -ENOENT);
	assert_int_equal(image_before(im, VADDR + 5), 5);
	assert_int_equal(image_read(im, VADDR + offsetof(struct small, code), b, 2), 0);
	assert_int_equal(b[1], 0xc3);
	assert_int_equal(image_read(im, VADDR + sizeof(s) - 1, b, 2), -EBADMSG);
	assert_int_equal(image_read_upto(im, VADDR + sizeof(s) - 1, b, 2), 1);
	assert_int_equal(image_build_id(im, &id), 0);
	assert_int_equal(id.len, 20);
	assert_memory_equal(id.bytes, s.note.id, 20);
	image_free(im);
	close(fd);
}

static void headers_that_lie_are_refused(void **state)
{
	struct small s = small();

	fails(&s, 10, -ENOEXEC);
	fails(&s, 100, -EBADMSG);

	s.eh.e_ident[EI_CLASS] = ELFCLASS32;
	fails(&s, sizeof(s), -EOPNOTSUPP);
	s = small();
	s.eh.e_machine = EM_386;
	fails(&s, sizeof(s), -EOPNOTSUPP);
	s = small();
	s.eh.e_phnum = 60000;
	fails(&s, sizeof(s), -E2BIG);
	s = small();
	s.eh.e_phoff = UINT64_MAX - 8;
	fails(&s, sizeof(s), -EBADMSG);
	s = small();
	s.ph[0].p_filesz = UINT64_MAX;
	fails(&s, sizeof(s), -EBADMSG);
	s = small();
	s.ph[0].p_offset = INT64_MAX;
	fails(&s, sizeof(s), -EBADMSG);
}

static void notes_with_lying_sizes_give_no_build_id(void **state)
{
	static const Elf64_Nhdr lies[] = {
		{UINT32_MAX, 20, NT_GNU_BUILD_ID}, {4, UINT32_MAX, NT_GNU_BUILD_ID},
		{4, 0x7fffffff, NT_GNU_BUILD_ID},  {4, 0, NT_GNU_BUILD_ID},
		{4, 21, NT_GNU_BUILD_ID},
	};

	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		struct small s = small();
		struct image *im = NULL;
		struct image_id id = {.len = 1};
		int fd;

		s.note.nh = lies[i];
		assert_int_equal(opened(&s, sizeof(s), &fd, &im), 0);
		assert_int_equal(image_build_id(im, &id), 0);
		assert_int_equal(id.len, 0);
		image_free(im);
		close(fd);
	}
}

static int count(void *userdata, uint64_t vaddr, const uint8_t *bytes, size_t fresh, size_t len)
{
	uint64_t *next = userdata;

	assert_int_equal(vaddr, *next);
	assert_true(fresh <= len);
	*next += fresh;
	return 0;
}

static void a_scan_passes_over_every_byte_once(void **state)
{
	struct small s = small();
	struct image *im = NULL;
	const struct image_segment *segs;
	uint64_t next = VADDR;
	int fd;

	s.ph[0].p_filesz = 3 * IMAGE_BLOCK + 77;
	assert_int_equal(opened(&s, sizeof(s), &fd, &im), 0);
	assert_int_equal(ftruncate(fd, 3 * IMAGE_BLOCK + 77), 0);
	assert_int_equal(image_segments(im, &segs), 1);
	assert_int_equal(image_scan(im, segs, 256, count, &next), 0);
	assert_int_equal(next, VADDR + 3 * IMAGE_BLOCK + 77);

	/* Cut behind its header. */
	assert_int_equal(ftruncate(fd, IMAGE_BLOCK), 0);
	next = VADDR;
	assert_int_equal(image_scan(im, segs, 256, count, &next), -EBADMSG);
	image_free(im);
	close(fd);
}

static void a_file_that_claims_too_much_is_given_up(void **state)
{
	struct small s = small();
	struct image *im = NULL;
	const struct image_segment *segs;
	uint64_t next = VADDR;
	int fd;

	s.ph[0].p_filesz = 1ULL << 40;
	assert_int_equal(opened(&s, sizeof(s), &fd, &im), 0);
	assert_int_equal(ftruncate(fd, 1LL << 40), 0);
	image_segments(im, &segs);
	assert_int_equal(image_scan(im, segs, 256, count, &next), -E2BIG);
	image_free(im);
	close(fd);
}

static const char program[] = "extern int f(void); void *volatile p = (void *)f;\n"
			      "__attribute__((noinline)) int f(void) { return (int)(long)p; }\n"
			      "void _start(void) { for (;;) f(); }\n";

static void unwind_tables_tell_functions_and_their_ends(void **state)
{
	int fd = fixture_build(program, "-fPIE -static-pie -fasynchronous-unwind-tables");
	const struct image_segment *segs;
	uint64_t start, end, next, last, text = 0;
	struct image *im = NULL;
	size_t n;

	if (fd < 0)
		skip();
	assert_int_equal(image_open(fd, NULL, &im), 0);
	n = image_segments(im, &segs);
	for (size_t i = 0; i < n; i++)
		text = segs[i].flags & PF_X ? segs[i].vaddr : text;
	assert_int_equal(image_function(im, text, &start, &end), 0);
	assert_int_equal(start, text);
	assert_int_equal(image_function(im, end - 1, &next, &last), 0);
	assert_int_equal(next, start);
	assert_int_equal(image_function(im, text - 1, &next, &last), -ENOENT);
	assert_int_equal(image_function(im, text + 0x1000, &next, &last), -ENOENT);
	image_free(im);
	close(fd);
}

static void relocated_pointers_are_as_at_run_time(void **state)
{
	int fd = fixture_build(program, "-fPIE -static-pie");
	const struct image_segment *segs;
	uint64_t text = 0, vaddr = 0, value = 0;
	struct image *im = NULL;
	size_t n;

	if (fd < 0)
		skip();
	assert_int_equal(image_open(fd, NULL, &im), 0);
	assert_true(image_is_pie(im));
	n = image_segments(im, &segs);
	for (size_t i = 0; i < n; i++)
		text = segs[i].flags & PF_X ? segs[i].vaddr : text;

	assert_int_equal(image_pointer_to(im, text, &vaddr), 0);
	assert_int_equal(image_pointers(im, &vaddr, &value, 1), 0);
	assert_int_equal(value, text);
	assert_int_equal(image_pointer_to(im, text + 1, &vaddr), -ENOENT);
	image_free(im);
	close(fd);
}

/* With relocations, and with those that are packed: then the addresses stand in the file. */
static void a_table_of_pointers_is_as_at_run_time(void **state)
{
	static const char source[] =
		"static int f(void) { return 1; } static int g(void) { return 2; }\n"
		"static int (*const table[])(void) = {f, 0, g};\n"
		"int (*const *volatile p)(void) = table;\nvoid _start(void) { for (;;) p[0](); }\n";
	static const char *const flags[] = {
		"-fPIE -static-pie -Wl,-z,now",
		"-fPIE -static-pie -Wl,-z,now -Wl,-z,pack-relative-relocs",
	};

	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		int fd = fixture_build(source, flags[i]);
		struct image_segment relro = {};
		uint64_t values[512] = {};
		struct image *im = NULL;
		size_t n, at = 0;

		if (fd < 0)
			skip();
		assert_int_equal(image_open(fd, NULL, &im), 0);
		assert_true(image_relro(im, &relro));
		n = MIN(relro.filesz / 8, (uint64_t)ARRAY_SIZE(values));
		assert_int_equal(image_pointer_table(im, relro.vaddr, values, n), 0);
		while (at < n && !image_in_text(im, values[at]))
			at++;
		assert_true(at + 2 < n);
		assert_int_equal(values[at + 1], 0);
		assert_true(image_in_text(im, values[at + 2]));
		assert_int_equal(image_pointer_table(im, relro.vaddr, values, 1U << 20), -EBADMSG);
		image_free(im);
		close(fd);
	}
}

static void nothing_is_mapped_at_no_address(void **state)
{
	int fd = fixture_build(program, "-fPIE -static-pie");
	struct image *im = NULL;
	uint64_t value;

	if (fd < 0)
		skip();
	assert_int_equal(image_open(fd, NULL, &im), 0);
	assert_int_equal(image_pointer_table(im, UINT64_MAX - 8, &value, 1), -EBADMSG);
	image_free(im);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_and_offsets_belong_together),
		cmocka_unit_test(headers_that_lie_are_refused),
		cmocka_unit_test(notes_with_lying_sizes_give_no_build_id),
		cmocka_unit_test(a_scan_passes_over_every_byte_once),
		cmocka_unit_test(a_file_that_claims_too_much_is_given_up),
		cmocka_unit_test(unwind_tables_tell_functions_and_their_ends),
		cmocka_unit_test(relocated_pointers_are_as_at_run_time),
		cmocka_unit_test(a_table_of_pointers_is_as_at_run_time),
		cmocka_unit_test(nothing_is_mapped_at_no_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
