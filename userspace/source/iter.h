/* SPDX-License-Identifier: MIT */
/*
 * Iterators, without libbpf's search for the function of the kernel that one is made for: for that
 * number it reads all the kernel's types again for each object, 12 ms and 10 MB.
 */
#ifndef AGENTSIGHT_SOURCE_ITER_H
#define AGENTSIGHT_SOURCE_ITER_H

#include <stddef.h>

struct btf_function;

/* The functions whose numbers are needed, for btf_reduce_file(). */
struct btf_function *iter_functions(size_t *ret_n);

/* With these numbers from now on. One that is not known is looked for by libbpf, as ever. */
void iter_register(void);

#endif
