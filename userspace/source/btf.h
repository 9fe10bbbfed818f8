/* SPDX-License-Identifier: MIT */
/*
 * A short copy of the kernel's type information: what our programs name, and what that is made of.
 * libbpf goes through all it is given for every type that an object names, and the kernel's own has more
 * than 100,000 types; with the copy it has some 1,500 to look at.
 */
#ifndef AGENTSIGHT_SOURCE_BTF_H
#define AGENTSIGHT_SOURCE_BTF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;

/* Something of the kernel whose number is found on the way. */
struct btf_number {
	const char *name;
	uint32_t kind; /* BTF_KIND_ */
	uint32_t id;   /* in the original; stays 0 when there is none */
};

struct btf_wanted {
	const char *const *names; /* what follows a `___` does not count */
	size_t n_names;
	struct btf_number *numbers;
	size_t n_numbers;
	bool *sorted; /* told: do names come in order, so that the kernel finds one by halves? May be NULL */
};

/*
 * Copies from the type information in @data every type with one of the names that are @wanted, with all
 * that it holds by value. A pointer leads to its kind of type only.
 * Relocations of fields, sizes, enumerators and the existence of types come out as with the original; those
 * of type numbers and bpf_core_type_matches() do not.
 * -EINVAL when @data is not type information as we know it.
 */
int btf_reduce(const void *data, size_t len, const struct btf_wanted *wanted, struct buf *ret);

/* The same from the file at @path, into a file without a name. */
int btf_reduce_file(const char *path, const struct btf_wanted *wanted, int *ret_fd);

#endif
