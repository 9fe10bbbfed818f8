/* SPDX-License-Identifier: MIT */
#include "source/btf.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <cmocka.h>

#include <agentsight/control.h>
#include <agentsight/tls.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "file.skel.h"
#include "net.skel.h"
#include "net_fexit.skel.h"
#include "net_kprobe.skel.h"
#include "proc.skel.h"
#include <agentsight/task.h> /* what the next one holds */
#include "task.skel.h"
#include "tls.skel.h"

#define KERNEL "/sys/kernel/btf/vmlinux"

static const char *const names[] = {
#include "types.inc"
};

static const struct btf_wanted programs = {.names = names, .n_names = ARRAY_SIZE(names)};

/* ---- a kernel of a few types ---- */

static struct btf *small_kernel(void)
{
	struct btf *b = btf__new_empty();
	int integer = btf__add_int(b, "int", 4, BTF_INT_SIGNED);
	int inner, other, pointer, constant, alias, array;

	other = btf__add_struct(b, "other", 8);
	assert_int_equal(btf__add_field(b, "hidden", integer, 0, 0), 0);
	constant = btf__add_const(b, other);
	pointer = btf__add_ptr(b, constant);
	inner = btf__add_union(b, NULL, 4);
	assert_int_equal(btf__add_field(b, "deep", integer, 0, 0), 0);
	alias = btf__add_typedef(b, "number", integer);
	array = btf__add_array(b, integer, alias, 3);
	btf__add_struct(b, "task", 32);
	assert_int_equal(btf__add_field(b, "to", pointer, 0, 0), 0);
	assert_int_equal(btf__add_field(b, "", inner, 64, 0), 0);
	assert_int_equal(btf__add_field(b, "numbers", array, 96, 0), 0);
	assert_int_equal(btf__add_field(b, "bits", integer, 193, 5), 0);
	btf__add_enum(b, "colour", 4);
	assert_int_equal(btf__add_enum_value(b, "RED", 7), 0);
	btf__add_struct(b, "unasked", 4);
	btf__add_func(b, "task", BTF_FUNC_GLOBAL, btf__add_func_proto(b, integer));
	return b;
}

static struct btf *reduced(const struct btf *from, const char *const *asked, size_t n)
{
	_cleanup_(buf_done) struct buf out = {};
	uint32_t len;
	const void *data = btf__raw_data(from, &len);
	struct btf *ret;

	assert_int_equal(
		btf_reduce(data, len, &(struct btf_wanted){.names = asked, .n_names = n}, &out), 0);
	ret = btf__new(out.data, out.len);
	assert_false(libbpf_get_error(ret));
	return ret;
}

static const struct btf_type *find(const struct btf *b, const char *name, uint32_t kind)
{
	int id = btf__find_by_name_kind(b, name, kind);

	return id > 0 ? btf__type_by_id(b, id) : NULL;
}

static void a_type_comes_with_what_it_holds_by_value(void **state)
{
	const char *const asked[] = {"task", "colour"};
	struct btf *kernel = small_kernel(), *copy = reduced(kernel, asked, 2);
	const struct btf_type *t = find(copy, "task", BTF_KIND_STRUCT), *u;
	const struct btf_member *m;

	assert_non_null(t);
	m = btf_members(t);
	assert_int_equal(t->size, 32);
	assert_int_equal(btf_vlen(t), 4);
	assert_string_equal(btf__name_by_offset(copy, m[0].name_off), "to");
	u = btf__type_by_id(copy, m[1].type);
	assert_true(btf_is_union(u));
	assert_string_equal(btf__name_by_offset(copy, btf_members(u)->name_off), "deep");
	assert_int_equal(btf_member_bit_offset(t, 1), 64);
	assert_int_equal(btf__resolve_size(copy, m[2].type), 12);
	assert_int_equal(btf_member_bit_offset(t, 3), 193);
	assert_int_equal(btf_member_bitfield_size(t, 3), 5);
	u = find(copy, "colour", BTF_KIND_ENUM);
	assert_non_null(u);
	assert_int_equal(btf_enum(u)->val, 7);
	btf__free(copy);
	btf__free(kernel);
}

static void a_pointer_leads_to_a_struct_without_a_name(void **state)
{
	const char *const asked[] = {"task"};
	struct btf *kernel = small_kernel(), *copy = reduced(kernel, asked, 1);
	const struct btf_type *p, *t = find(copy, "task", BTF_KIND_STRUCT);

	p = btf__type_by_id(copy, btf_members(t)->type);
	assert_true(btf_is_ptr(p));
	p = btf__type_by_id(copy, p->type);
	assert_true(btf_is_struct(p));
	assert_int_equal(p->name_off, 0);
	assert_null(find(copy, "other", BTF_KIND_STRUCT));
	btf__free(copy);
	btf__free(kernel);
}

static void what_is_not_asked_for_stays_behind(void **state)
{
	const char *const asked[] = {"task"};
	struct btf *kernel = small_kernel(), *copy = reduced(kernel, asked, 1);

	assert_null(find(copy, "unasked", BTF_KIND_STRUCT));
	assert_null(find(copy, "colour", BTF_KIND_ENUM));
	assert_null(find(copy, "task", BTF_KIND_FUNC));
	btf__free(copy);
	btf__free(kernel);
}

static void a_number_is_found_by_name_and_kind(void **state)
{
	struct btf_number numbers[] = {{.name = "none", .kind = BTF_KIND_FUNC},
				       {.name = "task", .kind = BTF_KIND_FUNC}};
	const struct btf_wanted wanted = {.numbers = numbers, .n_numbers = 2};
	struct btf *kernel = small_kernel();
	_cleanup_(buf_done) struct buf out = {};
	uint32_t len;
	const void *data = btf__raw_data(kernel, &len);

	assert_int_equal(btf_reduce(data, len, &wanted, &out), 0);
	assert_int_equal(numbers[0].id, 0);
	/* not the struct of that name */
	assert_int_equal(numbers[1].id, btf__find_by_name_kind(kernel, "task", BTF_KIND_FUNC));
	btf__free(kernel);
}

static void names_in_order_are_told(void **state)
{
	/* "other" comes before "task" there, "colour" behind both */
	const char *const asked[] = {"task", "other", "colour"};
	struct btf *kernel = small_kernel();
	uint32_t len;
	const void *data = btf__raw_data(kernel, &len);
	bool sorted = false;

	for (size_t n = 1; n <= 3; n++) {
		_cleanup_(buf_done) struct buf out = {};
		const struct btf_wanted wanted = {.names = asked, .n_names = n, .sorted = &sorted};

		assert_int_equal(btf_reduce(data, len, &wanted, &out), 0);
		assert_int_equal(sorted, n < 3);
	}
	btf__free(kernel);
}

static void a_flavour_asks_for_the_type_without_it(void **state)
{
	const char *const asked[] = {"task___old", "other___v5_10___x", "colour____odd"};
	struct btf *kernel = small_kernel(), *copy = reduced(kernel, asked, 3);

	assert_non_null(find(copy, "task", BTF_KIND_STRUCT));
	assert_null(find(copy, "other", BTF_KIND_STRUCT)); /* the last separator counts */
	assert_null(find(copy, "colour", BTF_KIND_ENUM));  /* four are no separator */
	btf__free(copy);
	btf__free(kernel);
}

/* ---- broken input ---- */

static void what_is_cut_short_is_refused(void **state)
{
	const char *const asked[] = {"task", "colour", "other"};
	const struct btf_wanted wanted = {.names = asked, .n_names = 3};
	struct btf *kernel = small_kernel();
	uint32_t len;
	const void *data = btf__raw_data(kernel, &len);

	for (uint32_t n = 0; n < len; n++) {
		_cleanup_(buf_done) struct buf out = {};
		_cleanup_(freep) void *part = malloc(n + 1);

		memcpy(part, data, n);
		assert_int_equal(btf_reduce(part, n, &wanted, &out), -EINVAL);
	}
	btf__free(kernel);
}

/* Every byte made every power of two different: an error or a copy, never a crash (see with ASan). */
static void damaged_bytes_do_no_harm(void **state)
{
	const char *const asked[] = {"task", "colour", "other", "number"};
	struct btf_number number = {.name = "task", .kind = BTF_KIND_FUNC};
	const struct btf_wanted wanted = {
		.names = asked, .n_names = 4, .numbers = &number, .n_numbers = 1};
	struct btf *kernel = small_kernel();
	uint32_t len;
	const void *data = btf__raw_data(kernel, &len);
	_cleanup_(freep) unsigned char *copy = malloc(len);

	for (uint32_t i = 0; i < len * 8; i++) {
		_cleanup_(buf_done) struct buf out = {};
		int r;

		memcpy(copy, data, len);
		copy[i / 8] ^= 1U << i % 8;
		r = btf_reduce(copy, len, &wanted, &out);
		assert_true(r == 0 || r == -EINVAL);
	}
	btf__free(kernel);
}

static void a_file_that_is_not_there_is_an_error(void **state)
{
	int fd = -1;

	assert_int_equal(btf_reduce_file("/nonexistent", &programs, &fd), -ENOENT);
	assert_int_equal(btf_reduce_file("/dev/null", &programs, &fd), -EINVAL);
	assert_int_equal(fd, -1);
}

/* ---- the running kernel ---- */

static const struct skeleton {
	const char *name;
	const void *(*bytes)(size_t *len);
} skeletons[] = {
	{"proc", proc_bpf__elf_bytes},
	{"file", file_bpf__elf_bytes},
	{"net", net_bpf__elf_bytes},
	{"net_kprobe", net_kprobe_bpf__elf_bytes},
	{"net_fexit", net_fexit_bpf__elf_bytes},
	{"tls", tls_bpf__elf_bytes},
	{"task", task_bpf__elf_bytes},
};

static int say_nothing(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	return 0;
}

static struct bpf_object *open_object(const struct skeleton *skeleton, const char *types)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .btf_custom_path = types);
	size_t len;
	const void *bytes = skeleton->bytes(&len);
	struct bpf_object *obj = bpf_object__open_mem(bytes, len, &opts);
	struct bpf_map *map;

	assert_false(libbpf_get_error(obj));
	bpf_object__for_each_map(map, obj)
	{
		if (!bpf_map__max_entries(map)) /* sized by who opens it */
			bpf_map__set_max_entries(map, 4096);
	}
	return obj;
}

/* The programs of an object after libbpf has relocated them, whatever the kernel says to them then. */
static struct bpf_object *relocate(const struct skeleton *skeleton, const char *types)
{
	struct bpf_object *obj = open_object(skeleton, types);

	bpf_object__load(obj);
	return obj;
}

/* Whether libbpf has come so far at all. */
static bool was_relocated(struct bpf_object *obj, const struct skeleton *skeleton)
{
	struct bpf_object *plain = open_object(skeleton, NULL);
	struct bpf_program *a = NULL, *b = NULL;
	bool changed = false;

	while ((a = bpf_object__next_program(obj, a))) {
		size_t n = bpf_program__insn_cnt(a);

		b = bpf_object__next_program(plain, b);
		changed |= n != bpf_program__insn_cnt(b) ||
			   memcmp(bpf_program__insns(a), bpf_program__insns(b),
				  n * sizeof(struct bpf_insn));
	}
	bpf_object__close(plain);
	return changed;
}

/* Numbers of descriptors differ between two loads of the same object; they are in loads of 64 bits. */
static size_t compare(const struct bpf_program *a, const struct bpf_program *b)
{
	const struct bpf_insn *x = bpf_program__insns(a), *y = bpf_program__insns(b);
	size_t n = bpf_program__insn_cnt(a);

	assert_int_equal(n, bpf_program__insn_cnt(b));
	for (size_t i = 0; i < n; i++) {
		bool map = x[i].code == (BPF_LD | BPF_IMM | BPF_DW) && x[i].src_reg;

		assert_int_equal(x[i].code, y[i].code);
		assert_int_equal(x[i].off, y[i].off);
		assert_int_equal(x[i].src_reg, y[i].src_reg);
		assert_int_equal(x[i].dst_reg, y[i].dst_reg);
		if (!map)
			assert_int_equal(x[i].imm, y[i].imm);
	}
	return n;
}

static void programs_are_relocated_as_with_the_whole_kernel(void **state)
{
	struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
	_cleanup_(closep) int fd = -1;
	char path[32];

	if (geteuid() != 0 || access(KERNEL, R_OK) < 0)
		skip();
	libbpf_set_print(say_nothing);
	setrlimit(RLIMIT_MEMLOCK, &unlimited); /* KERNEL < 5.11: maps count */
	assert_int_equal(btf_reduce_file(KERNEL, &programs, &fd), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);

	for (size_t i = 0; i < ARRAY_SIZE(skeletons); i++) {
		struct bpf_object *whole = relocate(&skeletons[i], NULL);
		struct bpf_object *part = relocate(&skeletons[i], path);
		struct bpf_program *a = NULL, *b = NULL;
		size_t n = 0;

		while ((a = bpf_object__next_program(whole, a))) {
			b = bpf_object__next_program(part, b);
			n += compare(a, b);
		}
		assert_true(n > 0);
		assert_true(was_relocated(whole, &skeletons[i]));
		bpf_object__close(whole);
		bpf_object__close(part);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_type_comes_with_what_it_holds_by_value),
		cmocka_unit_test(a_pointer_leads_to_a_struct_without_a_name),
		cmocka_unit_test(what_is_not_asked_for_stays_behind),
		cmocka_unit_test(a_flavour_asks_for_the_type_without_it),
		cmocka_unit_test(a_number_is_found_by_name_and_kind),
		cmocka_unit_test(names_in_order_are_told),
		cmocka_unit_test(what_is_cut_short_is_refused),
		cmocka_unit_test(damaged_bytes_do_no_harm),
		cmocka_unit_test(a_file_that_is_not_there_is_an_error),
		cmocka_unit_test(programs_are_relocated_as_with_the_whole_kernel),
	};

	return cmocka_run_group_tests_name("source/btf", tests, NULL, NULL);
}
