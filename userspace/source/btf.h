/* SPDX-License-Identifier: MIT */
/*
 * A short copy of the kernel's type information: what our programs name, and what that is made of.
 * libbpf goes through all it is given for every type that an object names, and the kernel's own has more
 * than 100,000 types; with the copy it has some 1,500 to look at.
 */
#ifndef AGENTSIGHT_SOURCE_BTF_H
#define AGENTSIGHT_SOURCE_BTF_H

#include <stddef.h>

struct buf;

/*
 * Copies from the type information in @data every type with one of the @n @names (what follows a `___` in a
 * name does not count), with all that it holds by value. A pointer leads to its kind of type only.
 * Relocations of fields, sizes, enumerators and the existence of types come out as with the original; those
 * of type numbers and bpf_core_type_matches() do not.
 * -EINVAL when @data is not type information as we know it.
 */
int btf_reduce(const void *data, size_t len, const char *const *names, size_t n, struct buf *ret);

/* The same from the file at @path, into a file without a name. */
int btf_reduce_file(const char *path, const char *const *names, size_t n, int *ret_fd);

#endif
