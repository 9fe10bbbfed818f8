/* SPDX-License-Identifier: MIT */
/* Type information of any bytes: what comes out is type information, and has all of itself. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <linux/btf.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "source/btf.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const names[] = {"task_struct", "a", "int", "mm_struct___v510", "list_head"};

static bool reduce(const void *data, size_t size, struct buf *ret)
{
	struct btf_number numbers[] = {{.name = "a", .kind = BTF_KIND_STRUCT},
				       {.name = "do_exit", .kind = BTF_KIND_FUNC}};
	bool sorted;
	const struct btf_wanted wanted = {names, ARRAY_SIZE(names), numbers, ARRAY_SIZE(numbers),
					  &sorted};

	if (btf_reduce(data, size, &wanted, ret) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		must(numbers[i].id <= size / 12);
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(buf_done) struct buf once = {0}, twice = {0};
	_cleanup_(freep) uint8_t *copy = malloc(size + !size);

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	if (!reduce(copy, size, &once))
		return 0;
	must(reduce(once.data, once.len, &twice));
	must(twice.len <= once.len);
	return 0;
}
