/* SPDX-License-Identifier: MIT */
/*
 * Functions of an image, found from an address inside of them, and what they say when they report an error:
 * BoringSSL's and AWS-LC's error reports are calls with (library, 0, reason, file, line), so the constants
 * around a reference to a file's name tell which function it is in.
 */
#ifndef AGENTSIGHT_FIND_FUNCTION_H
#define AGENTSIGHT_FIND_FUNCTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "find/image.h"
#include "find/scan.h"
#include "find/x86.h"

#define FUNCTION_BYTES_MAX  (16U << 10) /* the longest that matters had 5 KiB */
#define FUNCTIONS_MAX       2048
#define FUNCTIONS_STEPS_MAX (1U << 18) /* of all of them, 6 MiB; the most seen were 8,353 */
#define REASONS_MAX         2048       /* numbers of reasons; TLS alerts end at 1255 */

struct step {
	uint64_t vaddr;
	struct x86_insn insn;
};

struct function {
	uint64_t start;
	uint64_t end;
	uint64_t callers; /* direct calls from anywhere */
	bool refs[N_ANCHORS];
	uint64_t reasons[REASONS_MAX / 64];
	size_t n_steps;
	struct step *steps; /* its instructions, as far as they could be decoded */
};

/* By address. */
struct functions {
	size_t n;
	size_t cap;
	size_t n_steps; /* of all of them */
	struct function *list;
};

/*
 * The functions that hold references to the strings of one anchor. For one with error reports, those of
 * @library alone count, and @hit chooses the string; -1 takes them all. A reference whose function cannot
 * be told is passed over: what is missing then is found to be missing by who needs it.
 */
int functions_collect(struct image *im, const struct refs *refs, const struct targets *targets,
		      enum anchor anchor, int hit, unsigned int library, struct functions *ret);
void functions_done(struct functions *f);

/* The function that holds the instruction at @vaddr, without its error reports. -ENOENT when it cannot be told. */
int function_at(struct image *im, const struct targets *targets, uint64_t vaddr,
		struct function *ret);
void function_done(struct function *f);

bool function_reports(const struct function *f, unsigned int reason);

/*
 * Can a function begin at @vaddr? The unwind table says so where it covers the address; else instructions begin
 * there, behind padding or the end of other code.
 */
bool function_begins(struct image *im, uint64_t vaddr);

/* A direct call, or a jump out of the function, to @vaddr. */
bool function_calls(const struct function *f, uint64_t vaddr);

/* Writes memory through a register, other than its own stack. */
bool function_stores(const struct function *f);

/* First of all calls @vaddr, with the arguments that it was given, as far as constants tell. */
bool function_forwards(const struct function *f, uint64_t vaddr);

#endif
