/* SPDX-License-Identifier: MIT */
/*
 * Thompson's construction and Pike's simulation, without captures: the pattern becomes a tree, the
 * tree a program of at most REGEX_STATES instructions, and the text is read once while the set of
 * live instructions moves on. Nothing backtracks, so a hostile text costs at most its length times
 * the program's.
 */
#include "stage/regex.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define REGEX_STATES  1024
#define REGEX_DEPTH   64
#define REGEX_REPEAT  255
#define REGEX_PATTERN 4096
#define EMIT_STEPS    65536 /* repeats of things that emit nothing must end too */

enum op {
	OP_SET,   /* one byte of set[x] */
	OP_SPLIT, /* x, and y */
	OP_JUMP,  /* x */
	OP_BEGIN, /* at the start of the text */
	OP_END,
	OP_WORD,  /* at a word's edge */
	OP_NWORD, /* not at one */
	OP_MATCH,
};

struct insn {
	uint8_t op;
	uint16_t x;
	uint16_t y;
};

struct set {
	uint64_t bits[4];
};

enum node_kind {
	NODE_EMPTY,
	NODE_SET,    /* a: set */
	NODE_ASSERT, /* a: enum op */
	NODE_CAT,    /* a, b: nodes */
	NODE_ALT,    /* a, b: nodes */
	NODE_REPEAT, /* a: node */
};

struct node {
	uint8_t kind;
	uint8_t min;
	uint8_t max;
	bool endless;
	uint16_t a;
	uint16_t b;
};

struct regex {
	struct insn *code;
	struct set *sets;
	size_t n_code;
	struct set first; /* bytes that a match can start with */
	bool any_first;   /* a match can start without consuming a byte */
	bool anchored;    /* it can start only where the text does */
};

struct parser {
	const char *p;
	size_t len;
	size_t at;
	bool fold;
	unsigned int depth;
	unsigned int steps;
	struct node *nodes;
	size_t n_nodes;
	struct set *sets;
	size_t n_sets;
	struct insn *code;
	size_t n_code;
	struct regex_error *err;
};

static int parse_alt(struct parser *ps, uint16_t *ret);

static int fail_at(struct parser *ps, size_t off, int r, const char *msg)
{
	ps->err->off = off;
	snprintf(ps->err->msg, sizeof(ps->err->msg), "%s", msg);
	return r;
}

static int fail(struct parser *ps, const char *msg)
{
	return fail_at(ps, ps->at, -EINVAL, msg);
}

static inline bool set_has(const struct set *s, uint8_t c)
{
	return s->bits[c >> 6] >> (c & 63) & 1;
}

static void set_add(struct set *s, uint8_t c)
{
	s->bits[c >> 6] |= 1ULL << (c & 63);
}

static void set_range(struct set *s, unsigned int from, unsigned int to)
{
	for (unsigned int c = from; c <= to; c++)
		set_add(s, (uint8_t)c);
}

static void set_invert(struct set *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(s->bits); i++)
		s->bits[i] = ~s->bits[i];
}

static void set_fold(struct set *s)
{
	for (unsigned int c = 'a'; c <= 'z'; c++) {
		unsigned int upper = c - 32;

		if (set_has(s, c))
			set_add(s, upper);
		else if (set_has(s, upper))
			set_add(s, c);
	}
}

static bool is_word(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_';
}

/* \d \w \s and their opposites. False when the letter is none of these. */
static bool set_named(struct set *s, char letter)
{
	struct set add = {{0}};

	switch (letter | 0x20) {
	case 'd':
		set_range(&add, '0', '9');
		break;
	case 'w':
		set_range(&add, '0', '9');
		set_range(&add, 'a', 'z');
		set_range(&add, 'A', 'Z');
		set_add(&add, '_');
		break;
	case 's':
		set_range(&add, '\t', '\r');
		set_add(&add, ' ');
		break;
	default:
		return false;
	}

	if (!(letter & 0x20))
		set_invert(&add);
	for (size_t i = 0; i < ARRAY_SIZE(s->bits); i++)
		s->bits[i] |= add.bits[i];
	return true;
}

/* The byte that an escaped letter stands for; -1 when it has no meaning. */
static int escape_byte(char c)
{
	switch (c) {
	case 'n':
		return '\n';
	case 't':
		return '\t';
	case 'r':
		return '\r';
	default:
		return is_word((uint8_t)c) ? -1 : (uint8_t)c;
	}
}

static bool more(const struct parser *ps)
{
	return ps->at < ps->len;
}

static bool take(struct parser *ps, char c)
{
	if (!more(ps) || ps->p[ps->at] != c)
		return false;
	ps->at++;
	return true;
}

/* A pattern of n bytes makes fewer than 2n + 2 nodes; both arrays are as long as that. */
static uint16_t node_add(struct parser *ps, enum node_kind kind, size_t a, size_t b)
{
	ps->nodes[ps->n_nodes] =
		(struct node){.kind = (uint8_t)kind, .a = (uint16_t)a, .b = (uint16_t)b};
	return (uint16_t)ps->n_nodes++;
}

static uint16_t node_set(struct parser *ps, struct set set)
{
	if (ps->fold)
		set_fold(&set);
	ps->sets[ps->n_sets] = set;
	return node_add(ps, NODE_SET, ps->n_sets++, 0);
}

static uint16_t node_byte(struct parser *ps, uint8_t c)
{
	struct set set = {{0}};

	set_add(&set, c);
	return node_set(ps, set);
}

/* One end of a range in [...]; *ret is -1 when it was a named class, which is added. */
static int class_item(struct parser *ps, struct set *set, int *ret)
{
	uint8_t c = (uint8_t)ps->p[ps->at];

	*ret = c;
	if (c >= 0x80)
		return fail(ps, "only ASCII characters can stand in [...]; use (a|b)");
	ps->at++;
	if (c != '\\')
		return 0;
	if (!more(ps))
		return fail(ps, "the pattern ends after a backslash");

	if (set_named(set, ps->p[ps->at])) {
		*ret = -1;
	} else {
		*ret = escape_byte(ps->p[ps->at]);
		if (*ret < 0)
			return fail(ps, "unknown escape in [...]");
	}
	ps->at++;
	return 0;
}

static int parse_class(struct parser *ps, uint16_t *ret)
{
	size_t open = ps->at - 1;
	bool invert = take(ps, '^');
	struct set set = {{0}};
	int r, from, to;

	for (bool first = true; first || !take(ps, ']'); first = false) {
		if (!more(ps))
			return fail_at(ps, open, -EINVAL, "this '[' is not closed");
		r = class_item(ps, &set, &from);
		if (r < 0)
			return r;
		to = from;

		if (ps->at + 1 < ps->len && ps->p[ps->at] == '-' && ps->p[ps->at + 1] != ']') {
			ps->at++;
			r = class_item(ps, &set, &to);
			if (r < 0)
				return r;
			if (from < 0 || to < from)
				return fail(ps, "the range in [...] runs backwards");
		}
		if (from >= 0)
			set_range(&set, (unsigned int)from, (unsigned int)to);
	}

	if (ps->fold)
		set_fold(&set);
	if (invert)
		set_invert(&set);
	ps->sets[ps->n_sets] = set;
	*ret = node_add(ps, NODE_SET, ps->n_sets++, 0);
	return 0;
}

static int parse_escape(struct parser *ps, uint16_t *ret)
{
	struct set set = {{0}};
	int c;

	if (!more(ps))
		return fail_at(ps, ps->at - 1, -EINVAL, "the pattern ends after a backslash");

	if (ps->p[ps->at] == 'b' || ps->p[ps->at] == 'B') {
		*ret = node_add(ps, NODE_ASSERT, ps->p[ps->at] == 'b' ? OP_WORD : OP_NWORD, 0);
	} else if (set_named(&set, ps->p[ps->at])) {
		*ret = node_set(ps, set);
	} else {
		c = escape_byte(ps->p[ps->at]);
		if (c < 0)
			return fail(ps, "unknown escape; known are \\d \\w \\s \\b \\n \\t \\r and "
					"punctuation");
		*ret = node_byte(ps, (uint8_t)c);
	}
	ps->at++;
	return 0;
}

static int parse_group(struct parser *ps, uint16_t *ret)
{
	size_t open = ps->at - 1;
	int r;

	if (take(ps, '?') && !take(ps, ':'))
		return fail(ps, "only (?:...) and, at the start, (?i) are known");
	if (++ps->depth > REGEX_DEPTH)
		return fail_at(ps, open, -E2BIG, "parentheses are nested too deeply");

	r = parse_alt(ps, ret);
	if (r < 0)
		return r;

	if (!take(ps, ')'))
		return fail_at(ps, open, -EINVAL, "this '(' is not closed");
	ps->depth--;
	return 0;
}

/* A character of several UTF-8 bytes is one atom, so that "é+" repeats all of it. */
static uint16_t parse_literal(struct parser *ps, uint8_t c)
{
	uint16_t node = node_byte(ps, c);

	while (c >= 0xc0 && more(ps) && ((uint8_t)ps->p[ps->at] & 0xc0) == 0x80) {
		uint16_t next = node_byte(ps, (uint8_t)ps->p[ps->at++]);

		node = node_add(ps, NODE_CAT, node, next);
	}
	return node;
}

static int parse_atom(struct parser *ps, uint16_t *ret)
{
	struct set set = {{0}};
	char c = ps->p[ps->at++];

	switch (c) {
	case '(':
		return parse_group(ps, ret);
	case '[':
		return parse_class(ps, ret);
	case '\\':
		return parse_escape(ps, ret);
	case '.':
		set_add(&set, '\n');
		set_invert(&set);
		*ret = node_set(ps, set);
		return 0;
	case '^':
		*ret = node_add(ps, NODE_ASSERT, OP_BEGIN, 0);
		return 0;
	case '$':
		*ret = node_add(ps, NODE_ASSERT, OP_END, 0);
		return 0;
	case '*':
	case '+':
	case '?':
		return fail_at(ps, ps->at - 1, -EINVAL, "there is nothing to repeat");
	default:
		*ret = parse_literal(ps, (uint8_t)c);
		return 0;
	}
}

static bool parse_number(struct parser *ps, unsigned int *ret)
{
	size_t start = ps->at;
	unsigned int n = 0;

	while (more(ps) && ps->p[ps->at] >= '0' && ps->p[ps->at] <= '9' && n <= REGEX_REPEAT)
		n = n * 10 + (unsigned int)(ps->p[ps->at++] - '0');
	*ret = n;
	return ps->at > start;
}

/* {m}, {m,} or {m,n}. A brace that begins none of these stands for itself, as in "{\"id\"". */
static int parse_braces(struct parser *ps, struct node *rep, bool *ret_is)
{
	size_t start = ps->at;
	unsigned int min, max;

	*ret_is = false;
	if (!take(ps, '{') || !parse_number(ps, &min)) {
		ps->at = start;
		return 0;
	}
	max = min;
	rep->endless = false;
	if (take(ps, ',') && !parse_number(ps, &max))
		rep->endless = true;
	if (min > REGEX_REPEAT || max > REGEX_REPEAT)
		return fail_at(ps, start, -E2BIG, "a repeat count can be at most 255");
	if (!take(ps, '}')) {
		ps->at = start;
		return 0;
	}
	if (!rep->endless && max < min)
		return fail_at(ps, start, -EINVAL, "the repeat counts run backwards");

	rep->min = (uint8_t)min;
	rep->max = (uint8_t)max;
	*ret_is = true;
	return 0;
}

static int parse_quantifier(struct parser *ps, struct node *rep, bool *ret_is)
{
	*ret_is = true;
	*rep = (struct node){.kind = NODE_REPEAT};
	if (take(ps, '*')) {
		rep->endless = true;
	} else if (take(ps, '+')) {
		rep->min = 1;
		rep->endless = true;
	} else if (take(ps, '?')) {
		rep->max = 1;
	} else {
		return parse_braces(ps, rep, ret_is);
	}
	return 0;
}

static int parse_repeat(struct parser *ps, uint16_t *ret)
{
	struct node rep;
	bool is;
	int r;

	r = parse_atom(ps, ret);
	if (r < 0)
		return r;
	r = parse_quantifier(ps, &rep, &is);
	if (r < 0 || !is)
		return r;

	rep.a = *ret;
	ps->nodes[ps->n_nodes] = rep;
	*ret = (uint16_t)ps->n_nodes++;

	/* lazy or not makes no difference to whether it matches */
	take(ps, '?');
	if (more(ps) && ps->p[ps->at] && strchr("*+?{", ps->p[ps->at]))
		return fail(ps, "a repeat cannot follow a repeat; use (?:...)");
	return 0;
}

static int parse_cat(struct parser *ps, uint16_t *ret)
{
	uint16_t next;
	int r;

	*ret = node_add(ps, NODE_EMPTY, 0, 0);
	for (bool first = true; more(ps) && ps->p[ps->at] != '|' && ps->p[ps->at] != ')';
	     first = false) {
		r = parse_repeat(ps, &next);
		if (r < 0)
			return r;
		*ret = first ? next : node_add(ps, NODE_CAT, *ret, next);
	}
	return 0;
}

static int parse_alt(struct parser *ps, uint16_t *ret)
{
	uint16_t next;
	int r;

	r = parse_cat(ps, ret);
	while (r == 0 && take(ps, '|')) {
		r = parse_cat(ps, &next);
		if (r == 0)
			*ret = node_add(ps, NODE_ALT, *ret, next);
	}
	return r;
}

static int emit(struct parser *ps, enum op op, size_t x, size_t y)
{
	if (ps->n_code == REGEX_STATES)
		return fail_at(ps, 0, -E2BIG, "the pattern needs more than 1024 states");

	ps->code[ps->n_code++] = (struct insn){(uint8_t)op, (uint16_t)x, (uint16_t)y};
	return 0;
}

static int emit_node(struct parser *ps, uint16_t i);

/* Both are left-leaning chains as long as the pattern; walking the chain keeps the stack short. */
static int emit_chain(struct parser *ps, uint16_t i, enum node_kind kind,
		      int (*each)(struct parser *, uint16_t, bool, size_t *))
{
	uint16_t *chain;
	size_t n = 0, state = SIZE_MAX;
	int r = 0;

	chain = malloc((ps->n_nodes + 1) * sizeof(*chain));
	if (!chain)
		return -ENOMEM;
	for (; ps->nodes[i].kind == kind; i = ps->nodes[i].a)
		chain[n++] = ps->nodes[i].b;
	chain[n++] = i;

	while (n && r == 0) {
		n--;
		r = each(ps, chain[n], n == 0, &state);
	}
	free(chain);
	return r;
}

static int emit_cat_item(struct parser *ps, uint16_t i, bool last, size_t *state)
{
	return emit_node(ps, i);
}

/* The jumps to the end are chained through their targets until the end is known. */
static int emit_alt_item(struct parser *ps, uint16_t i, bool last, size_t *state)
{
	size_t split = ps->n_code, jump, next;
	int r;

	if (last) {
		r = emit_node(ps, i);
		for (jump = *state; r == 0 && jump != SIZE_MAX; jump = next) {
			next = ps->code[jump].x == UINT16_MAX ? SIZE_MAX : ps->code[jump].x;
			ps->code[jump].x = (uint16_t)ps->n_code;
		}
		return r;
	}

	r = emit(ps, OP_SPLIT, split + 1, 0);
	if (r == 0)
		r = emit_node(ps, i);
	jump = ps->n_code;
	if (r == 0)
		r = emit(ps, OP_JUMP, *state == SIZE_MAX ? UINT16_MAX : *state, 0);
	if (r < 0)
		return r;
	ps->code[split].y = (uint16_t)ps->n_code;
	*state = jump;
	return 0;
}

static int emit_repeat(struct parser *ps, const struct node *node)
{
	size_t split;
	int r = 0;

	for (unsigned int i = 0; i < node->min && r == 0; i++)
		r = emit_node(ps, node->a);
	if (r < 0)
		return r;

	if (node->endless) {
		split = ps->n_code;
		r = emit(ps, OP_SPLIT, split + 1, 0);
		if (r == 0)
			r = emit_node(ps, node->a);
		if (r == 0)
			r = emit(ps, OP_JUMP, split, 0);
		if (r == 0)
			ps->code[split].y = (uint16_t)ps->n_code;
		return r;
	}

	/* x? x? x?: leaving early from one is the same as not matching the next ones */
	for (unsigned int i = node->min; i < node->max && r == 0; i++) {
		split = ps->n_code;
		r = emit(ps, OP_SPLIT, split + 1, 0);
		if (r == 0)
			r = emit_node(ps, node->a);
		if (r == 0)
			ps->code[split].y = (uint16_t)ps->n_code;
	}
	return r;
}

static int emit_node(struct parser *ps, uint16_t i)
{
	const struct node *node = &ps->nodes[i];

	if (++ps->steps > EMIT_STEPS)
		return fail_at(ps, 0, -E2BIG, "the repeats in this pattern multiply to too much");

	switch ((enum node_kind)node->kind) {
	case NODE_EMPTY:
		return 0;
	case NODE_SET:
		return emit(ps, OP_SET, node->a, 0);
	case NODE_ASSERT:
		return emit(ps, (enum op)node->a, 0, 0);
	case NODE_CAT:
		return emit_chain(ps, i, NODE_CAT, emit_cat_item);
	case NODE_ALT:
		return emit_chain(ps, i, NODE_ALT, emit_alt_item);
	case NODE_REPEAT:
		return emit_repeat(ps, node);
	}
	return -EINVAL;
}

/* The set of live instructions: a list, and a bitmap to keep it without duplicates. */
struct live {
	size_t n;
	uint16_t list[REGEX_STATES];
};

struct sim {
	const struct regex *re;
	const char *text;
	size_t len;
	uint64_t seen[REGEX_STATES / 64];
	uint16_t stack[REGEX_STATES * 2];
};

static bool assert_holds(const struct sim *sim, enum op op, size_t at)
{
	bool before = at > 0 && is_word((uint8_t)sim->text[at - 1]);
	bool after = at < sim->len && is_word((uint8_t)sim->text[at]);

	switch (op) {
	case OP_BEGIN:
		return at == 0;
	case OP_END:
		return at == sim->len;
	case OP_WORD:
		return before != after;
	case OP_NWORD:
		return before == after;
	case OP_SET:
	case OP_SPLIT:
	case OP_JUMP:
	case OP_MATCH:
		break;
	}
	return false;
}

/* Adds what is reachable from @pc without consuming a byte. True when that includes the match. */
static bool live_add(struct sim *sim, struct live *live, size_t pc, size_t at)
{
	size_t n = 0;

	sim->stack[n++] = (uint16_t)pc;
	while (n) {
		const struct insn *in;

		pc = sim->stack[--n];
		/* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): seen_clear() */
		if (sim->seen[pc / 64] >> (pc % 64) & 1)
			continue;
		sim->seen[pc / 64] |= 1ULL << (pc % 64);

		in = &sim->re->code[pc];
		if (in->op == OP_MATCH)
			return true;
		if (in->op == OP_SET) {
			live->list[live->n++] = (uint16_t)pc;
		} else if (in->op == OP_SPLIT || in->op == OP_JUMP) {
			/* each instruction is expanded once, so two places each are enough */
			if (in->op == OP_SPLIT)
				sim->stack[n++] = in->y;
			sim->stack[n++] = in->x;
		} else if (assert_holds(sim, (enum op)in->op, at)) {
			sim->stack[n++] = (uint16_t)(pc + 1);
		}
	}
	return false;
}

static void seen_clear(struct sim *sim)
{
	memset(sim->seen, 0, (sim->re->n_code + 63) / 64 * sizeof(sim->seen[0]));
}

/* What every match starts with, so that text which cannot start one is skipped. */
static void first_find(struct regex *re)
{
	struct sim sim;
	struct live live;

	/* with no text around it, ^ $ \B hold and \b does not: look through all of them instead */
	for (size_t i = 0; i < re->n_code; i++)
		re->any_first |= re->code[i].op >= OP_BEGIN && re->code[i].op <= OP_NWORD;
	re->anchored = re->code[0].op == OP_BEGIN;
	if (re->any_first)
		return;

	sim.re = re;
	sim.text = "";
	sim.len = 0;
	live.n = 0;
	seen_clear(&sim);
	re->any_first = live_add(&sim, &live, 0, 0);
	for (size_t i = 0; i < live.n; i++) {
		const struct set *set = &re->sets[re->code[live.list[i]].x];

		for (size_t k = 0; k < ARRAY_SIZE(set->bits); k++)
			re->first.bits[k] |= set->bits[k];
	}
}

bool regex_match(const struct regex *re, const char *text, size_t len)
{
	struct live lists[2], *now = &lists[0], *next = &lists[1];
	struct sim sim;

	sim.re = re;
	sim.text = text;
	sim.len = len;
	now->n = 0;
	seen_clear(&sim);

	for (size_t at = 0;; at++) {
		struct live *old;

		if (now->n == 0 && !re->any_first) {
			while (at < len && !set_has(&re->first, (uint8_t)text[at]))
				at++;
			if (at == len)
				return false;
		}
		/* a match may begin at every byte; `seen` still holds what is in `now` */
		if ((!re->anchored || at == 0) && live_add(&sim, now, 0, at))
			return true;
		if (at == len || (re->anchored && now->n == 0))
			return false;

		next->n = 0;
		seen_clear(&sim);
		for (size_t i = 0; i < now->n; i++) {
			const struct insn *in = &re->code[now->list[i]];

			if (set_has(&re->sets[in->x], (uint8_t)text[at]) &&
			    live_add(&sim, next, now->list[i] + 1U, at + 1))
				return true;
		}
		old = now;
		now = next;
		next = old;
	}
}

static int parser_alloc(struct parser *ps)
{
	size_t n = 3 * ps->len + 8;

	ps->nodes = calloc(n, sizeof(*ps->nodes));
	ps->sets = calloc(ps->len + 1, sizeof(*ps->sets));
	ps->code = calloc(REGEX_STATES, sizeof(*ps->code));
	return ps->nodes && ps->sets && ps->code ? 0 : -ENOMEM;
}

static void parser_done(struct parser *ps)
{
	free(ps->nodes);
	free(ps->sets);
	free(ps->code);
}

static int program_make(struct parser *ps)
{
	uint16_t root;
	int r;

	if (ps->len >= 4 && memcmp(ps->p, "(?i)", 4) == 0) {
		ps->fold = true;
		ps->at = 4;
	}
	r = parse_alt(ps, &root);
	if (r < 0)
		return r;
	if (more(ps))
		return fail(ps, "this ')' closes nothing");

	r = emit_node(ps, root);
	if (r < 0)
		return r;
	return emit(ps, OP_MATCH, 0, 0);
}

int regex_new(const char *pattern, size_t len, struct regex **ret, struct regex_error *err)
{
	_cleanup_(parser_done) struct parser ps = {.p = pattern, .len = len, .err = err};
	struct regex *re;
	int r;

	err->off = 0;
	err->msg[0] = '\0';
	if (len > REGEX_PATTERN)
		return fail(&ps, "the pattern is longer than 4096 bytes");
	r = parser_alloc(&ps);
	if (r < 0)
		return r;
	r = program_make(&ps);
	if (r < 0)
		return r;

	re = calloc(1, sizeof(*re));
	if (!re)
		return -ENOMEM;
	re->n_code = ps.n_code;
	re->code = TAKE_PTR(ps.code);
	re->sets = TAKE_PTR(ps.sets);
	first_find(re);
	*ret = re;
	return 0;
}

void regex_free(struct regex *re)
{
	if (!re)
		return;
	free(re->code);
	free(re->sets);
	free(re);
}
