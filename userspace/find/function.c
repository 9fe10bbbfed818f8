/* SPDX-License-Identifier: MIT */
/*
 * Where a function begins: at the unwind table's word if its range covers the address (the tables of some
 * programs cover only their assembly code), else at an address that is called directly from somewhere,
 * stands behind padding or the end of other code, and from which the instructions lead to the address.
 */
#include "find/function.h"
#include "find/sorted.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CANDIDATES_MAX 32 /* call targets looked at before an address */
#define LOOK_MAX       32 /* instructions looked at around a reference */
#define VISITS_MAX     96 /* and back from it, along all ways that lead there */
#define FUNCTION_HEAD  64 /* bytes that are to be instructions at a function's begin */

/* Everything that reading functions needs. */
struct reader {
	struct image *im;
	const struct targets *targets;
	uint8_t bytes[FUNCTION_BYTES_MAX];
};

void function_done(struct function *f)
{
	free(f->steps);
	f->steps = NULL;
}

void functions_done(struct functions *f)
{
	for (size_t i = 0; i < f->n; i++)
		function_done(&f->list[i]);
	free(f->list);
	*f = (struct functions){};
}

static bool is_target(const struct targets *t, uint64_t vaddr)
{
	const struct target *found = targets_before(t, vaddr);

	return found && found->vaddr == vaddr;
}

static uint64_t callers_of(const struct targets *t, uint64_t vaddr)
{
	const struct target *found = targets_before(t, vaddr);

	return found && found->vaddr == vaddr ? found->callers : 0;
}

static int step_add(struct function *f, size_t *cap, uint64_t vaddr, const struct x86_insn *insn)
{
	if (f->n_steps == *cap) {
		size_t more = *cap ? *cap * 2 : 256;
		struct step *steps = reallocarray(f->steps, more, sizeof(*steps));

		if (!steps)
			return -ENOMEM;
		f->steps = steps;
		*cap = more;
	}
	f->steps[f->n_steps++] = (struct step){vaddr, *insn};
	return 0;
}

/* How far the code is known to go on because of this jump. A jump to a function's start leaves for good. */
static uint64_t jump_reach(const struct reader *rd, const struct function *f,
			   const struct x86_insn *insn)
{
	if (insn->kind != X86_BRANCH && insn->kind != X86_JUMP)
		return 0;
	if (insn->value < f->start || insn->value >= f->end || is_target(rd->targets, insn->value))
		return 0;
	return insn->value;
}

static bool ends_flow(enum x86_kind kind)
{
	return kind == X86_RET || kind == X86_END || kind == X86_JUMP;
}

static bool is_nop(const uint8_t *code, size_t len)
{
	size_t at = 0;

	while (at < len && (code[at] == 0x66 || code[at] == 0x2e))
		at++;
	return at < len &&
	       (code[at] == 0x90 || (len - at > 1 && code[at] == 0x0f && code[at + 1] == 0x1f));
}

/*
 * Decodes from @f->start until @f->end, what is no instruction, or, where @open, the end of the last block that
 * a jump leads to. A last call that does not return, abort() for one, has the next function behind it.
 */
static int function_decode(struct reader *rd, struct function *f, bool open)
{
	uint64_t len = MIN(f->end - f->start, (uint64_t)FUNCTION_BYTES_MAX), reach = 0;
	ssize_t n = image_read_upto(rd->im, f->start, rd->bytes, len);
	bool behind_call = false;
	size_t cap = 0;
	int r = 0;

	if (n < 0)
		return (int)n;

	for (size_t at = 0; at < (size_t)n;) {
		struct x86_insn insn;
		uint64_t vaddr = f->start + at;

		if (open && behind_call && reach < vaddr && is_target(rd->targets, vaddr))
			break;
		if (x86_decode(rd->bytes + at, (size_t)n - at, vaddr, &insn) < 0)
			break;
		r = step_add(f, &cap, vaddr, &insn);
		if (r < 0)
			return r;
		reach = MAX(reach, jump_reach(rd, f, &insn));
		behind_call =
			insn.kind == X86_CALL || (behind_call && is_nop(rd->bytes + at, insn.len));
		at += insn.len;
		if (open && ends_flow(insn.kind) && reach < f->start + at)
			break;
	}
	if (f->n_steps == 0)
		return -ENOENT;
	f->end = f->steps[f->n_steps - 1].vaddr + f->steps[f->n_steps - 1].insn.len;
	return image_looks(rd->im, f->n_steps);
}

/* The instruction at @vaddr, exactly; -1 when none begins there. */
static ssize_t step_find(const struct function *f, uint64_t vaddr)
{
	size_t at = sorted_from(f->steps, sizeof(*f->steps), f->n_steps, vaddr);

	return at < f->n_steps && f->steps[at].vaddr == vaddr ? (ssize_t)at : -1;
}

enum border {
	BORDER_NONE,
	BORDER_CODE,    /* behind an instruction that ends a block: also inside of functions */
	BORDER_PADDING, /* behind int3, which only stands between functions */
};

/* What stands before @vaddr. */
static int border_before(struct image *im, uint64_t vaddr, enum border *ret)
{
	uint8_t b[16] = {};
	int r;

	*ret = BORDER_PADDING;
	if (vaddr < sizeof(b) || !image_in_text(im, vaddr - sizeof(b)))
		return 0; /* the segment's first function */

	r = image_read(im, vaddr - sizeof(b), b, sizeof(b));
	if (r < 0)
		return r;
	if (b[15] == 0xcc)
		return 0;

	*ret = BORDER_CODE;
	if (b[15] == 0xc3 || b[15] == 0x90 || (b[14] == 0x0f && b[15] == 0x0b) || b[11] == 0xe9 ||
	    b[14] == 0xeb || b[10] == 0xff || b[14] == 0xff || b[13] == 0xc2)
		return 0;
	/* Long nops, 0f 1f /0, end in zeros or in 40 00, 44 00 00, 80 00 00 00 00 and the like. */
	for (size_t i = 4; i + 2 < sizeof(b) && b[15] == 0; i++) {
		if (b[i] == 0x0f && b[i + 1] == 0x1f)
			return 0;
	}
	*ret = BORDER_NONE;
	return 0;
}

bool function_begins(struct image *im, uint64_t vaddr)
{
	uint8_t code[FUNCTION_HEAD];
	uint64_t start, end;
	enum border border;
	ssize_t n;

	if (!image_in_text(im, vaddr))
		return false;
	if (image_function(im, vaddr, &start, &end) == 0)
		return start == vaddr;
	if (border_before(im, vaddr, &border) < 0 || border == BORDER_NONE)
		return false;

	n = image_read_upto(im, vaddr, code, sizeof(code));
	for (ssize_t at = 0; at + 15 <= n;) {
		struct x86_insn insn;

		if (x86_decode(code + at, (size_t)(n - at), vaddr, &insn) < 0)
			return false;
		if (ends_flow(insn.kind))
			return at > 0;
		at += insn.len;
	}
	return n > 0;
}

/* Tries the call target @start as the begin of the function around @vaddr. -ENOENT when it is not. */
static int candidate_try(struct reader *rd, uint64_t start, uint64_t vaddr, enum border *ret_border,
			 struct function *ret)
{
	struct function f = {.start = start, .end = start + FUNCTION_BYTES_MAX};
	int r = border_before(rd->im, start, ret_border);

	if (r == 0 && *ret_border == BORDER_NONE)
		return -ENOENT;
	if (r == 0)
		r = function_decode(rd, &f, true);
	if (r == 0 && step_find(&f, vaddr) < 0)
		r = -ENOENT;
	if (r < 0) {
		function_done(&f);
		return r;
	}
	*ret = f;
	return 0;
}

/*
 * The nearest candidate may be the middle of a function, made up by bytes that look like a call. So earlier
 * ones are tried as well, as long as their code also leads to @vaddr.
 */
static int function_guess(struct reader *rd, uint64_t vaddr, struct function *ret)
{
	const struct target *t = targets_before(rd->targets, vaddr);
	bool found = false;

	for (size_t i = 0; t && i < CANDIDATES_MAX && t >= rd->targets->targets; i++, t--) {
		enum border border = BORDER_NONE;
		struct function f = {};
		int r;

		if (vaddr - t->vaddr >= FUNCTION_BYTES_MAX)
			break;
		r = candidate_try(rd, t->vaddr, vaddr, &border, &f);
		if (r == -ENOENT && border == BORDER_NONE)
			continue;
		if (r == -ENOENT)
			break;
		if (r < 0)
			return r;

		if (found)
			function_done(ret);
		*ret = f;
		found = true;
		if (border == BORDER_PADDING)
			break;
	}
	return found ? 0 : -ENOENT;
}

static int function_around(struct reader *rd, uint64_t vaddr, struct function *ret)
{
	struct function f = {};
	int r = image_function(rd->im, vaddr, &f.start, &f.end);

	if (r == -ENOENT)
		r = function_guess(rd, vaddr, &f);
	else if (r == 0)
		r = function_decode(rd, &f, false);
	if (r == 0 && step_find(&f, vaddr) < 0)
		r = -ENOENT;
	if (r < 0) {
		function_done(&f);
		return r;
	}
	f.callers = callers_of(rd->targets, f.start);
	*ret = f;
	return 0;
}

/* The function among those known that holds an instruction at @vaddr. */
static struct function *function_known(const struct functions *fs, uint64_t vaddr)
{
	for (size_t i = 0; i < fs->n; i++) {
		struct function *f = &fs->list[i];

		if (vaddr >= f->start && vaddr < f->end && step_find(f, vaddr) >= 0)
			return f;
	}
	return NULL;
}

static int function_add(struct functions *fs, const struct function *f, struct function **ret)
{
	if (fs->n == FUNCTIONS_MAX || fs->n_steps + f->n_steps > FUNCTIONS_STEPS_MAX)
		return -E2BIG;
	if (fs->n == fs->cap) {
		size_t cap = fs->cap ? fs->cap * 2 : 64;
		struct function *list = reallocarray(fs->list, cap, sizeof(*list));

		if (!list)
			return -ENOMEM;
		fs->list = list;
		fs->cap = cap;
	}
	*ret = &fs->list[fs->n++];
	**ret = *f;
	fs->n_steps += f->n_steps;
	return 0;
}

/* Does instruction @i leave the constant @ret in @reg? Also push and pop, as size-optimised code has it. */
static bool step_sets(const struct function *f, size_t i, uint8_t reg, uint64_t *ret)
{
	const struct x86_insn *insn = &f->steps[i].insn;

	if (insn->reg != reg)
		return false;
	if (insn->kind == X86_POP && i > 0 && f->steps[i - 1].insn.kind == X86_PUSH) {
		*ret = f->steps[i - 1].insn.value;
		return true;
	}
	*ret = insn->value;
	return insn->kind == X86_SET;
}

/* Does the instruction behind it always follow, on the same line? */
static bool goes_on(enum x86_kind kind)
{
	return kind == X86_OTHER || kind == X86_SET || kind == X86_PUSH || kind == X86_POP ||
	       kind == X86_FRAME || kind == X86_STORE;
}

/* From the reference on to the call of the error function, along jumps. The last constant counts. */
static bool constant_behind(const struct function *f, size_t i, uint8_t reg, uint64_t *ret)
{
	bool found = false;

	for (size_t n = 0; n < LOOK_MAX && ++i < f->n_steps; n++) {
		const struct x86_insn *insn = &f->steps[i].insn;
		ssize_t to;

		found |= step_sets(f, i, reg, ret);
		if (insn->kind == X86_JUMP) {
			to = step_find(f, insn->value);
			if (to <= 0)
				return found;
			i = (size_t)to - 1;
		} else if (!goes_on(insn->kind)) {
			return found;
		}
	}
	return found;
}

/* Constants that reach an instruction from before. */
struct values {
	size_t n;
	uint64_t of[LOOK_MAX];
	size_t looks; /* instructions that were looked at for them */
};

/* Instructions still to be looked back from. */
struct work {
	size_t n;
	size_t of[LOOK_MAX];
	size_t visited;
};

/* Also what jumps to instruction @i. */
static void jumps_push(const struct function *f, size_t i, struct work *w)
{
	for (size_t k = 0; k < f->n_steps && w->n < LOOK_MAX; k++) {
		const struct x86_insn *insn = &f->steps[k].insn;

		if ((insn->kind == X86_JUMP || insn->kind == X86_BRANCH) &&
		    insn->value == f->steps[i].vaddr)
			w->of[w->n++] = k;
	}
}

/*
 * Backwards along one straight line until a constant, a call, or the end of other code. The visit that ends it counts
 * as well: behind other code, a jump to itself leads here for ever.
 */
static void line_look(const struct function *f, size_t i, uint8_t reg, struct work *w,
		      struct values *ret)
{
	while (w->visited++ < VISITS_MAX) {
		uint64_t value;

		jumps_push(f, i, w);
		ret->looks += f->n_steps;
		if (i-- == 0)
			return;
		if (step_sets(f, i, reg, &value)) {
			if (ret->n < LOOK_MAX)
				ret->of[ret->n++] = value;
			return;
		}
		if (ends_flow(f->steps[i].insn.kind) || f->steps[i].insn.kind == X86_CALL ||
		    f->steps[i].insn.kind == X86_CALL_SLOT)
			return;
	}
}

static void constants_before(const struct function *f, size_t i, uint8_t reg, struct values *ret)
{
	struct work w = {.n = 1, .of = {i}};

	while (w.n > 0 && w.visited < VISITS_MAX)
		line_look(f, w.of[--w.n], reg, &w, ret);
}

/* The constants that @reg may hold at the call that follows instruction @i. */
static void constants_find(const struct function *f, size_t i, uint8_t reg, struct values *ret)
{
	uint64_t value;

	*ret = (struct values){};
	if (constant_behind(f, i, reg, &value)) {
		ret->of[0] = value;
		ret->n = 1;
	} else {
		constants_before(f, i, reg, ret);
	}
}

/*
 * Which registers hold what, by the one that holds the file's name. Link-time optimisation removes the second
 * argument, which is always 0.
 */
static const struct {
	uint8_t path;
	uint8_t reason;
} conventions[] = {
	{X86_RCX, X86_RDX},
	{X86_RDX, X86_RSI},
};

static int report_take(struct image *im, struct function *f, size_t i, unsigned int library)
{
	struct values libraries, reasons = {};

	constants_find(f, i, X86_RDI, &libraries);
	if (libraries.n != 1 || libraries.of[0] != library)
		return image_looks(im, libraries.looks);

	for (size_t k = 0; k < ARRAY_SIZE(conventions); k++) {
		if (f->steps[i].insn.reg == conventions[k].path)
			constants_find(f, i, conventions[k].reason, &reasons);
	}
	for (size_t k = 0; k < reasons.n; k++) {
		if (reasons.of[k] < REASONS_MAX)
			f->reasons[reasons.of[k] / 64] |= 1ULL << reasons.of[k] % 64;
	}
	return image_looks(im, libraries.looks + reasons.looks);
}

static int ref_take(struct reader *rd, const struct ref *ref, unsigned int library,
		    struct functions *fs)
{
	struct function *known = function_known(fs, ref->vaddr), f = {};
	ssize_t i;
	int r;

	if (!known) {
		r = function_around(rd, ref->vaddr, &f);
		if (r < 0)
			return r == -ENOENT || r == -EBADMSG ? 0 : r;
		r = function_add(fs, &f, &known);
		if (r < 0) {
			function_done(&f);
			return r;
		}
	}

	i = step_find(known, ref->vaddr);
	known->refs[ref->anchor] = true;
	if (library && known->steps[i].insn.kind == X86_SET)
		return report_take(rd->im, known, (size_t)i, library);
	return 0;
}

int functions_collect(struct image *im, const struct refs *refs, const struct targets *targets,
		      enum anchor anchor, int hit, unsigned int library, struct functions *ret)
{
	_cleanup_(freep) struct reader *rd = malloc(sizeof(*rd));
	struct functions fs = {};
	int r = 0;

	if (!rd)
		return -ENOMEM;
	rd->im = im;
	rd->targets = targets;

	for (size_t i = 0; r == 0 && i < refs->n; i++) {
		const struct ref *ref = &refs->refs[i];

		if (ref->anchor == anchor && (hit < 0 || ref->hit == (uint32_t)hit))
			r = ref_take(rd, ref, library, &fs);
	}
	if (r < 0) {
		functions_done(&fs);
		return r;
	}
	*ret = fs;
	return 0;
}

int function_at(struct image *im, const struct targets *targets, uint64_t vaddr,
		struct function *ret)
{
	_cleanup_(freep) struct reader *rd = malloc(sizeof(*rd));

	if (!rd)
		return -ENOMEM;
	rd->im = im;
	rd->targets = targets;
	return function_around(rd, vaddr, ret);
}

bool function_reports(const struct function *f, unsigned int reason)
{
	return reason < REASONS_MAX && (f->reasons[reason / 64] >> reason % 64 & 1);
}

bool function_calls(const struct function *f, uint64_t vaddr)
{
	for (size_t i = 0; i < f->n_steps; i++) {
		const struct x86_insn *insn = &f->steps[i].insn;

		if ((insn->kind == X86_CALL || insn->kind == X86_JUMP) && insn->value == vaddr)
			return true;
	}
	return false;
}

bool function_stores(const struct function *f)
{
	bool frame = false;

	for (size_t i = 0; i < f->n_steps; i++) {
		const struct x86_insn *insn = &f->steps[i].insn;

		frame |= insn->kind == X86_FRAME;
		if (insn->kind == X86_STORE && insn->reg != X86_RSP &&
		    !(frame && insn->reg == X86_RBP))
			return true;
	}
	return false;
}

static bool is_argument(uint8_t reg)
{
	return reg == X86_RDI || reg == X86_RSI || reg == X86_RDX;
}

bool function_forwards(const struct function *f, uint64_t vaddr)
{
	for (size_t i = 0; i < f->n_steps && i < LOOK_MAX; i++) {
		const struct x86_insn *insn = &f->steps[i].insn;

		if (insn->kind == X86_CALL)
			return insn->value == vaddr;
		if (!goes_on(insn->kind) || (insn->kind == X86_SET && is_argument(insn->reg)))
			return false;
	}
	return false;
}
