/* SPDX-License-Identifier: MIT */
/* The table of known executables. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "find/find.h"
#include "find/table.h"
#include "unit/find/fixture.h"

static const char program[] = "void _start(void) { for (;;); }\n";

static int load(struct find_table *t, const char *text, struct err *e)
{
	int fd = memfd_create("table", MFD_CLOEXEC), r;
	char path[64];

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = find_table_load(t, path, e);
	close(fd);
	return r;
}

/* The fixture's build id in hex, and where its code is. */
static int program_open(char ret_id[65], uint64_t *ret_offset)
{
	int fd = fixture_build(program, "-no-pie -static");
	const struct image_segment *segs;
	struct image_id id = {};
	struct image *im = NULL;
	size_t n;

	if (fd < 0)
		skip();
	assert_int_equal(image_open(fd, NULL, &im), 0);
	assert_int_equal(image_build_id(im, &id), 0);
	assert_int_equal(id.len, 20);
	for (size_t i = 0; i < id.len; i++)
		sprintf(ret_id + 2 * i, "%02x", id.bytes[i]);
	n = image_segments(im, &segs);
	for (size_t i = 0; i < n; i++) {
		if (image_in_text(im, segs[i].vaddr))
			*ret_offset = segs[i].offset;
	}
	image_free(im);
	return fd;
}

/* @format takes the id and the offset. */
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static void look(const char *format, int expected, size_t n)
{
	char text[512], id[65] = "";
	struct find_table *t = NULL;
	struct find_options o;
	struct find_result r;
	uint64_t offset = 0;
	int fd = program_open(id, &offset);

	snprintf(text, sizeof(text), format, id, (unsigned long)offset);
	assert_int_equal(find_table_new(&t), 0);
	assert_int_equal(load(t, text, NULL), 0);
	o = (struct find_options){.table = t};
	assert_int_equal(find_functions(fd, &o, &r), expected);
	assert_int_equal(r.n, n);
	if (n > 0)
		assert_string_equal(r.libraries[0].method, "table of known executables");
	else
		assert_true(*r.reason);
	find_result_done(&r);
	find_table_free(t);
	close(fd);
}

static void a_known_build_id_gives_its_sites(void **state)
{
	look("# known\n\n%s write ret-int 0x%lx # mine\n", 0, 1);
	look("0011223344556677 write ret-int 0x1\n%s\tread\tcount-arg4\t0x%lx\n", 0, 1);
}

static void a_site_that_is_not_in_code_is_refused(void **state)
{
	look("%s write ret-int 0x%lx00000\n", -ENOENT, 0);
}

static void another_build_id_is_not_this_program(void **state)
{
	look("00%.38s write ret-int 0x%lx\n", -ENOENT, 0);
}

static void an_error_names_the_line(void **state)
{
	static const struct {
		const char *text;
		const char *says;
	} cases[] = {
		{"#\nwrite ret-int 0x1\n", "line 2: expected"},
		{"0011223344556677 write ret-int 0x1 more\n", "line 1: expected"},
		{"00112233445566zz write ret-int 0x1\n",
		 "line 1: \"00112233445566zz\" is not a build id"},
		{"0011 write ret-int 0x1\n", "is not a build id"},
		{"0011223344556677 wrote ret-int 0x1\n", "\"wrote\" is not a function"},
		{"0011223344556677 write int 0x1\n", "\"int\" is not a shape"},
		{"0011223344556677 write ret-int 1\n", "\"1\" is not a file offset"},
		{"0011223344556677 write ret-int 0x-1\n", "is not a file offset"},
		{"0011223344556677 write ret-int 0xffffffffffffffffff\n", "is not a file offset"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct find_table *t = NULL;
		struct err e = {};

		assert_int_equal(find_table_new(&t), 0);
		assert_int_equal(load(t, cases[i].text, &e), -EINVAL);
		if (!strstr(e.text, cases[i].says))
			fail_msg("\"%s\" does not say \"%s\"", e.text, cases[i].says);
		find_table_free(t);
	}
}

static void a_line_without_end_is_an_error(void **state)
{
	struct find_table *t = NULL;
	struct err e = {};
	char text[2000];

	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(find_table_new(&t), 0);
	assert_int_equal(load(t, text, &e), -EINVAL);
	assert_non_null(strstr(e.text, "too long"));
	find_table_free(t);
}

static void a_directory_is_read_by_name_and_may_be_missing(void **state)
{
	char directory[] = "/tmp/agentsight-table-XXXXXX", path[64];
	struct find_table *t = NULL;
	struct err e = {};
	FILE *f;

	assert_non_null(mkdtemp(directory));
	assert_int_equal(find_table_new(&t), 0);
	snprintf(path, sizeof(path), "%s/none", directory);
	assert_int_equal(find_table_load_directory(t, path, &e), 0);

	snprintf(path, sizeof(path), "%s/a.conf", directory);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("not a table\n", f);
	fclose(f);
	assert_int_equal(find_table_load_directory(t, directory, &e), 0);
	unlink(path);

	snprintf(path, sizeof(path), "%s/a.txt", directory);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("not a table\n", f);
	fclose(f);
	assert_int_equal(find_table_load_directory(t, directory, &e), -EINVAL);
	assert_non_null(strstr(e.text, "a.txt, line 1"));
	unlink(path);
	rmdir(directory);
	find_table_free(t);
}

/* Tests run in the repository's root; elsewhere there is nothing to check. */
static void the_packaged_table_has_no_error(void **state)
{
	struct find_table *t = NULL;
	struct err e = {};

	if (access("packaging/offsets.txt", R_OK) < 0)
		skip();
	assert_int_equal(find_table_new(&t), 0);
	if (find_table_load(t, "packaging/offsets.txt", &e) < 0)
		fail_msg("%s", e.text);
	find_table_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_known_build_id_gives_its_sites),
		cmocka_unit_test(a_site_that_is_not_in_code_is_refused),
		cmocka_unit_test(another_build_id_is_not_this_program),
		cmocka_unit_test(an_error_names_the_line),
		cmocka_unit_test(a_line_without_end_is_an_error),
		cmocka_unit_test(the_packaged_table_has_no_error),
		cmocka_unit_test(a_directory_is_read_by_name_and_may_be_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
