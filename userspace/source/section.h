/* SPDX-License-Identifier: MIT */
/*
 * What happens to a program between its relocation and its load, by the section that it is in. Numbers of the
 * kernel's types are put in here: libbpf would read all types again to find one, 12 ms and 10 MB for each object.
 */
#ifndef AGENTSIGHT_SOURCE_SECTION_H
#define AGENTSIGHT_SOURCE_SECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct btf_number;

/* The numbers that are needed, for btf_reduce_file(). */
struct btf_number *section_numbers(size_t *ret_n);

/*
 * With these numbers from now on. What is not known is looked for by libbpf, as ever. @casts: it takes the kernel's
 * verifier long to follow pointers that it trusts. Returns what programs are to have as their `task_type`.
 */
uint32_t section_register(bool casts);

#endif
