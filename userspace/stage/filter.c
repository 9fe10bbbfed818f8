/* SPDX-License-Identifier: MIT */
/*
 * The expression becomes a flat program: tests that set one truth value, NOT, and conditional jumps
 * forward for `and` and `or`. Matching is one loop without recursion, and fetches a field only when
 * the result still depends on it. The parser recurses, at most FILTER_DEPTH_MAX deep.
 */
#include "stage/filter.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/hex.h"
#include "base/utf8.h"
#include "stage/regex.h"

#define PATH_MAX_LEN 256

enum test_op {
	TEST_TRUE, /* a bare path */
	TEST_EQ,
	TEST_NE,
	TEST_LT,
	TEST_GT,
	TEST_LE,
	TEST_GE,
	TEST_REGEX,
	TEST_CONTAINS,
	TEST_IN,
};

enum insn_op {
	INSN_TEST, /* arg: test */
	INSN_NOT,
	INSN_IF_FALSE, /* arg: where to go on when the truth value is false */
	INSN_IF_TRUE,
};

struct insn {
	enum insn_op op;
	size_t arg;
};

struct test {
	enum test_op op;
	int field;
	struct regex *regex;
	size_t literal; /* the first one */
	size_t n_literals;
};

struct filter {
	struct insn *code;
	size_t n_code;
	struct test *tests;
	size_t n_tests;
	struct filter_value *literals;
	size_t n_literals;
	char *strings; /* what string literals point into */
	size_t n_strings;
};

static const struct operator
{
	const char *text;
	enum test_op op;
}
operators[] = {
	/* longer ones first */
	{"==", TEST_EQ},    {"!=", TEST_NE}, {"<=", TEST_LE}, {">=", TEST_GE},
	{"=~", TEST_REGEX}, {"<", TEST_LT},  {">", TEST_GT},
};

static const struct operator word_operators[] = {
	{"contains", TEST_CONTAINS},
	{"in", TEST_IN},
};

static const char *const keywords[] = {"and",      "or",   "not",   "in",
				       "contains", "true", "false", "null"};

struct parser {
	const char *text;
	size_t len;
	size_t at;
	unsigned int depth;
	const struct filter_schema *schema;
	struct filter *f;
	struct filter_error *err;
};

__attribute__((format(printf, 4, 5))) static int fail(struct parser *ps, size_t off, int r,
						      const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(ps->err->msg, sizeof(ps->err->msg), fmt, ap);
	va_end(ap);
	ps->err->column = utf8_column(ps->text, off);
	return r;
}

/* What to do about the failure just stored. */
__attribute__((format(printf, 2, 3))) static void hint(struct parser *ps, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(ps->err->hint, sizeof(ps->err->hint), fmt, ap);
	va_end(ap);
}

static bool is_name_start(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_name(char c)
{
	return is_name_start(c) || is_digit(c) || c == '-';
}

static void skip_blanks(struct parser *ps)
{
	while (ps->at < ps->len && strchr(" \t\r\n", ps->text[ps->at]))
		ps->at++;
}

/* The next character, 0 at the end. */
static char peek(const struct parser *ps)
{
	return ps->text[ps->at];
}

static bool take(struct parser *ps, const char *symbol)
{
	size_t n = strlen(symbol);

	skip_blanks(ps);
	if (strncmp(ps->text + ps->at, symbol, n) != 0)
		return false;
	ps->at += n;
	return true;
}

static size_t word_len(const struct parser *ps)
{
	size_t n = 0;

	if (!is_name_start(peek(ps)))
		return 0;
	while (is_name(ps->text[ps->at + n]) || ps->text[ps->at + n] == '.')
		n++;
	return n;
}

static bool word_is(const struct parser *ps, size_t n, const char *word)
{
	return n == strlen(word) && strncasecmp(ps->text + ps->at, word, n) == 0;
}

static bool take_word(struct parser *ps, const char *word)
{
	size_t n;

	skip_blanks(ps);
	n = word_len(ps);
	if (!word_is(ps, n, word))
		return false;
	ps->at += n;
	return true;
}

/* What stands at the cursor, for messages. */
static void describe(const struct parser *ps, char *buf, size_t size)
{
	size_t n = word_len(ps), c = (uint8_t)peek(ps);

	if (ps->at == ps->len)
		snprintf(buf, size, "the end of the expression");
	else if (n)
		snprintf(buf, size, "'%.*s'", (int)MIN(n, (size_t)40), ps->text + ps->at);
	else if (c > ' ' && c < 0x7f)
		snprintf(buf, size, "'%c'", (int)c);
	else
		snprintf(buf, size, "byte 0x%02zx", c);
}

/* Appends one zeroed element; the arrays double at powers of two. */
static void *grow(void **array, size_t *n, size_t size)
{
	void *p;

	if ((*n & (*n - 1)) == 0) {
		p = realloc(*array, (*n ? *n * 2 : 1) * size);
		if (!p)
			return NULL;
		*array = p;
	}
	p = (char *)*array + *n * size;
	memset(p, 0, size);
	(*n)++;
	return p;
}

static int emit(struct parser *ps, enum insn_op op, size_t arg, size_t *ret_at)
{
	struct insn *in = grow((void **)&ps->f->code, &ps->f->n_code, sizeof(*in));

	if (!in)
		return fail(ps, ps->at, -ENOMEM, "out of memory");

	in->op = op;
	in->arg = arg;
	if (ret_at)
		*ret_at = ps->f->n_code - 1;
	return 0;
}

static int hex_digits(const struct parser *ps, size_t n, uint32_t *ret)
{
	*ret = 0;
	for (size_t i = 0; i < n; i++) {
		int digit = hex_digit(ps->text[ps->at + i]);

		if (digit < 0)
			return -EINVAL;
		*ret = *ret * 16 + (uint32_t)digit;
	}
	return 0;
}

/* \uHHHH, or two of them for a character outside the basic plane. The cursor is after the u. */
static int escape_unicode(struct parser *ps, size_t start, char *out, size_t *n)
{
	uint32_t c, low;

	if (hex_digits(ps, 4, &c) < 0)
		return fail(ps, start, -EINVAL, "\\u needs four hexadecimal digits");
	ps->at += 4;

	if (c >= 0xd800 && c < 0xdc00 && ps->text[ps->at] == '\\' && ps->text[ps->at + 1] == 'u') {
		ps->at += 2;
		if (hex_digits(ps, 4, &low) < 0 || low < 0xdc00 || low > 0xdfff)
			return fail(ps, start, -EINVAL, "this surrogate has no second half");
		ps->at += 4;
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	}
	if (c >= 0xd800 && c <= 0xdfff)
		return fail(ps, start, -EINVAL, "this is half of a surrogate pair, no character");

	*n += utf8_put(out + *n, c);
	return 0;
}

/* One escape; the cursor is on the backslash. Never writes more bytes than it reads. */
static int string_escape(struct parser *ps, bool regex, char *out, size_t *n)
{
	size_t start = ps->at++;
	char c = peek(ps);
	uint32_t byte;

	if (c)
		ps->at++;
	switch (c) {
	case '"':
	case '\'':
		out[(*n)++] = c;
		return 0;
	case '\\':
		out[(*n)++] = '\\';
		return 0;
	case 'n':
		out[(*n)++] = '\n';
		return 0;
	case 't':
		out[(*n)++] = '\t';
		return 0;
	case 'x':
		if (hex_digits(ps, 2, &byte) < 0)
			return fail(ps, start, -EINVAL, "\\x needs two hexadecimal digits");
		ps->at += 2;
		out[(*n)++] = (char)byte;
		return 0;
	case 'u':
		return escape_unicode(ps, start, out, n);
	case '\0':
		return 0;
	}

	if (regex) {
		out[(*n)++] = '\\';
		out[(*n)++] = c;
		return 0;
	}
	fail(ps, start, -EINVAL, "unknown escape in a string");
	hint(ps, "known are \\\" \\' \\\\ \\n \\t \\xHH \\uHHHH; for a backslash write \\\\");
	return -EINVAL;
}

/* Decoded strings are shorter than their source, so one array of the text's length holds them all. */
static int parse_string(struct parser *ps, bool regex, struct filter_value *ret)
{
	size_t start = ps->at, n = 0;
	char quote = ps->text[ps->at++];
	char *out = ps->f->strings + ps->f->n_strings;
	int r;

	while (ps->at < ps->len && peek(ps) != quote) {
		if (peek(ps) == '\\') {
			r = string_escape(ps, regex, out, &n);
			if (r < 0)
				return r;
		} else {
			out[n++] = ps->text[ps->at++];
		}
	}
	if (ps->at >= ps->len)
		return fail(ps, start, -EINVAL, "this string has no closing %c", quote);

	ps->at++;
	ps->f->n_strings += n;
	ret->kind = FILTER_STR;
	ret->str.p = out;
	ret->str.len = n;
	return 0;
}

static int number_shift(char suffix)
{
	switch (suffix) {
	case 'k':
	case 'K':
		return 10;
	case 'm':
	case 'M':
		return 20;
	case 'g':
	case 'G':
		return 30;
	default:
		return -1;
	}
}

static int number_suffix_error(struct parser *ps, size_t off)
{
	size_t n = 0;

	while (is_name(ps->text[off + n]) || ps->text[off + n] == '.')
		n++;
	fail(ps, off, -EINVAL, "unknown suffix '%.*s' after a number", (int)MIN(n, (size_t)20),
	     ps->text + off);
	hint(ps, "known are K, M and G (1024, 1024K, 1024M), after integers");
	return -EINVAL;
}

static void number_store(struct filter_value *ret, uint64_t n, bool negative)
{
	if (negative) {
		ret->kind = FILTER_INT;
		ret->i = n == 1ULL << 63 ? INT64_MIN : -(int64_t)n;
	} else if (n <= INT64_MAX) {
		ret->kind = FILTER_INT;
		ret->i = (int64_t)n;
	} else {
		ret->kind = FILTER_UINT;
		ret->u = n;
	}
}

static int parse_integer(struct parser *ps, size_t start, bool negative, struct filter_value *ret)
{
	uint64_t n = 0;
	int shift = 0;
	bool over = false;

	for (; is_digit(peek(ps)); ps->at++) {
		over |= __builtin_mul_overflow(n, 10, &n);
		over |= __builtin_add_overflow(n, (uint64_t)(peek(ps) - '0'), &n);
	}
	if (is_name_start(peek(ps))) {
		shift = number_shift(peek(ps));
		if (shift < 0 || is_name(ps->text[ps->at + 1]))
			return number_suffix_error(ps, ps->at);
		ps->at++;
	}
	if (over || n > UINT64_MAX >> shift || (negative && n << shift > 1ULL << 63))
		return fail(ps, start, -EINVAL, "this number does not fit in 64 bits");

	number_store(ret, n << shift, negative);
	return 0;
}

/*
 * Length of the decimal number at the start, 0 when there is none. Stricter than strtod(), which also
 * takes "inf", "nan", hexadecimal and leading blanks.
 */
static size_t decimal_len(const char *p, size_t len, bool *ret_integer)
{
	size_t i = 0, digits = 0, k;

	*ret_integer = true;
	if (i < len && p[i] == '-')
		i++;
	for (; i < len && is_digit(p[i]); i++)
		digits++;
	if (digits && i + 1 < len && p[i] == '.' && is_digit(p[i + 1])) {
		*ret_integer = false;
		for (i++; i < len && is_digit(p[i]);)
			i++;
	}
	if (!digits)
		return 0;

	k = i;
	if (k < len && (p[k] | 0x20) == 'e') {
		k++;
		if (k < len && (p[k] == '-' || p[k] == '+'))
			k++;
		if (k < len && is_digit(p[k])) {
			*ret_integer = false;
			while (k < len && is_digit(p[k]))
				k++;
			i = k;
		}
	}
	return i;
}

static int parse_number(struct parser *ps, struct filter_value *ret)
{
	size_t start = ps->at, n;
	bool integer;

	n = decimal_len(ps->text + start, ps->len - start, &integer);
	if (n == 0)
		return fail(ps, start, -EINVAL, "a digit has to follow the minus");
	if (integer) {
		ps->at += peek(ps) == '-';
		return parse_integer(ps, start, ps->text[start] == '-', ret);
	}

	ret->kind = FILTER_NUM;
	ret->num = strtod(ps->text + start, NULL);
	ps->at += n;
	if (!isfinite(ret->num))
		return fail(ps, start, -EINVAL, "this number is too large");
	if (is_name(peek(ps)) || peek(ps) == '.')
		return number_suffix_error(ps, ps->at);
	return 0;
}

static int parse_literal(struct parser *ps, bool regex, struct filter_value *ret)
{
	char what[64];

	*ret = (struct filter_value){0};
	skip_blanks(ps);
	if (peek(ps) == '"' || peek(ps) == '\'')
		return parse_string(ps, regex, ret);
	if (peek(ps) == '-' || is_digit(peek(ps)))
		return parse_number(ps, ret);
	if (take_word(ps, "null"))
		return 0;
	if (take_word(ps, "true") || take_word(ps, "false")) {
		ret->kind = FILTER_BOOL;
		ret->b = (ps->text[ps->at - 2] | 0x20) == 'u';
		return 0;
	}

	describe(ps, what, sizeof(what));
	fail(ps, ps->at, -EINVAL, "a value is missing: found %s", what);
	if (word_len(ps))
		hint(ps, "text has to be quoted: \"%.*s\"", (int)MIN(word_len(ps), (size_t)100),
		     ps->text + ps->at);
	return -EINVAL;
}

static int literal_add(struct parser *ps, bool regex)
{
	struct filter_value value, *slot;
	int r;

	r = parse_literal(ps, regex, &value);
	if (r < 0)
		return r;

	slot = grow((void **)&ps->f->literals, &ps->f->n_literals, sizeof(*slot));
	if (!slot)
		return fail(ps, ps->at, -ENOMEM, "out of memory");
	*slot = value;
	return 0;
}

static int parse_list(struct parser *ps)
{
	char what[64];
	int r;

	if (!take(ps, "[")) {
		fail(ps, ps->at, -EINVAL, "a list has to follow 'in'");
		hint(ps, "write: in [\"a\", \"b\"]");
		return -EINVAL;
	}
	if (take(ps, "]"))
		return 0;

	do {
		r = literal_add(ps, false);
		if (r < 0)
			return r;
	} while (take(ps, ","));

	if (take(ps, "]"))
		return 0;
	describe(ps, what, sizeof(what));
	return fail(ps, ps->at, -EINVAL, "',' or ']' is missing in the list: found %s", what);
}

/* Edit distance between two short strings; more than @max is the same as max + 1. */
static size_t distance(const char *a, size_t n, const char *b, size_t m, size_t max)
{
	size_t row[65], i, k;

	if (n > 64 || m > 64 || (n > m ? n - m : m - n) > max)
		return max + 1;

	for (k = 0; k <= m; k++)
		row[k] = k;
	for (i = 1; i <= n; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (k = 1; k <= m; k++) {
			size_t best = diagonal + (tolower((unsigned char)a[i - 1]) !=
						  tolower((unsigned char)b[k - 1]));

			diagonal = row[k];
			best = MIN(best, row[k] + 1);
			row[k] = MIN(best, row[k - 1] + 1);
		}
	}
	return row[m];
}

/* The known path nearest to what was written; also when only its last part was written. */
static const char *path_nearest(const struct filter_schema *schema, const char *path, size_t len)
{
	size_t limit = len < 4 ? 1 : len < 9 ? 2 : 3, best = limit + 1;
	const char *known, *nearest = NULL;

	if (!schema->path_at)
		return NULL;
	for (size_t i = 0; (known = schema->path_at(schema->ctx, i)); i++) {
		const char *dot = strrchr(known, '.');
		size_t d = distance(path, len, known, strlen(known), limit);

		if (dot && d > limit && strlen(dot + 1) == len &&
		    strncasecmp(dot + 1, path, len) == 0)
			d = limit;
		if (d < best) {
			best = d;
			nearest = known;
		}
	}
	return nearest;
}

static int path_unknown(struct parser *ps, size_t start, const char *path, size_t len)
{
	const char *nearest = path_nearest(ps->schema, path, len);

	fail(ps, start, -EINVAL, "no event has a field '%.*s'", (int)MIN(len, (size_t)80), path);
	if (nearest)
		hint(ps, "did you mean '%s'?", nearest);
	return -EINVAL;
}

static int parse_path(struct parser *ps, int *ret_field)
{
	size_t start = ps->at, n, i;
	const char *path;
	int field;

	ps->at += peek(ps) == '.';
	path = ps->text + ps->at;
	n = word_len(ps);
	for (i = 0; i < n; i++) {
		if (path[i] == '.' && (i + 1 == n || path[i + 1] == '.'))
			return fail(ps, ps->at + i, -EINVAL, "a name is missing after this '.'");
	}
	if (n == 0)
		return fail(ps, start, -EINVAL, "a name is missing after this '.'");
	if (n > PATH_MAX_LEN)
		return fail(ps, start, -EINVAL, "this field name is longer than %d bytes",
			    PATH_MAX_LEN);

	ps->at += n;
	if (n == 4 && memcmp(path, "type", 4) == 0) {
		path = "data.type";
		n = strlen(path);
	}
	field = ps->schema->resolve(ps->schema->ctx, path, n);
	if (field == -ENOMEM)
		return fail(ps, start, field, "out of memory");
	if (field < 0)
		return path_unknown(ps, start, path, n);
	*ret_field = field;
	return 0;
}

/* TEST_TRUE when no operator follows. */
static int parse_operator(struct parser *ps, enum test_op *ret)
{
	skip_blanks(ps);
	*ret = TEST_TRUE;
	for (size_t i = 0; i < ARRAY_SIZE(operators); i++) {
		if (take(ps, operators[i].text)) {
			*ret = operators[i].op;
			return 0;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(word_operators); i++) {
		if (take_word(ps, word_operators[i].text)) {
			*ret = word_operators[i].op;
			return 0;
		}
	}
	if (peek(ps) != '=' && peek(ps) != '~')
		return 0;

	fail(ps, ps->at, -EINVAL, "unknown operator '%c'", peek(ps));
	hint(ps, peek(ps) == '=' ? "to compare, write ==" : "for a regular expression, write =~");
	return -EINVAL;
}

/* @start is where the literal begins in the text, its quote included. */
static int regex_make(struct parser *ps, size_t start, const struct filter_value *lit,
		      struct regex **ret)
{
	struct regex_error re_err;
	size_t off, raw = ps->at - start - 2;
	int r;

	r = regex_new(lit->str.p, lit->str.len, ret, &re_err);
	if (r == 0)
		return 0;
	if (r == -ENOMEM)
		return fail(ps, start, r, "out of memory");

	/* with escapes decoded the offsets differ: point at the string then */
	off = raw == lit->str.len ? start + 1 + re_err.off : start;
	fail(ps, off, -EINVAL, "regular expression: %s", re_err.msg);
	return -EINVAL;
}

/* Which kinds of literal an operator takes. */
static int operand_check(struct parser *ps, enum test_op op, enum filter_kind kind, size_t start)
{
	if ((op == TEST_REGEX || op == TEST_CONTAINS) && kind != FILTER_STR)
		return fail(ps, start, -EINVAL, "%s takes a string",
			    op == TEST_REGEX ? "=~" : "contains");
	if (op >= TEST_LT && op <= TEST_GE && (kind == FILTER_NONE || kind == FILTER_BOOL))
		return fail(ps, start, -EINVAL, "only numbers and strings have an order");
	return 0;
}

static int parse_operand(struct parser *ps, struct test *test)
{
	size_t start;
	int r;

	test->literal = ps->f->n_literals;
	if (test->op == TEST_IN) {
		r = parse_list(ps);
	} else {
		skip_blanks(ps);
		start = ps->at;
		r = literal_add(ps, test->op == TEST_REGEX);
		if (r == 0)
			r = operand_check(ps, test->op, ps->f->literals[test->literal].kind, start);
		if (r == 0 && test->op == TEST_REGEX)
			r = regex_make(ps, start, &ps->f->literals[test->literal], &test->regex);
	}
	test->n_literals = ps->f->n_literals - test->literal;
	return r;
}

static int parse_comparison(struct parser *ps)
{
	struct test test = {0}, *slot;
	int r;

	r = parse_path(ps, &test.field);
	if (r < 0)
		return r;
	r = parse_operator(ps, &test.op);
	if (r < 0)
		return r;
	if (test.op != TEST_TRUE) {
		r = parse_operand(ps, &test);
		if (r < 0)
			return r;
	}

	slot = grow((void **)&ps->f->tests, &ps->f->n_tests, sizeof(*slot));
	if (!slot) {
		regex_free(test.regex);
		return fail(ps, ps->at, -ENOMEM, "out of memory");
	}
	*slot = test;
	return emit(ps, INSN_TEST, ps->f->n_tests - 1, NULL);
}

static int parse_or(struct parser *ps);

static int parse_group(struct parser *ps)
{
	size_t open = ps->at - 1;
	char what[64];
	int r;

	if (++ps->depth > FILTER_DEPTH_MAX)
		return fail(ps, open, -E2BIG, "nested more than %d deep", FILTER_DEPTH_MAX);
	r = parse_or(ps);
	if (r < 0)
		return r;
	ps->depth--;

	if (take(ps, ")"))
		return 0;
	if (ps->at == ps->len)
		return fail(ps, open, -EINVAL, "this '(' is not closed");
	describe(ps, what, sizeof(what));
	return fail(ps, ps->at, -EINVAL, "'and', 'or' or ')' is missing: found %s", what);
}

/* What may stand where a field is expected, and is not one. */
static int field_missing(struct parser *ps)
{
	char what[64];

	describe(ps, what, sizeof(what));
	fail(ps, ps->at, -EINVAL, "a field is missing: found %s", what);
	if (peek(ps) == '"' || peek(ps) == '\'' || is_digit(peek(ps)))
		hint(ps, "the field stands on the left: pid == 1");
	return -EINVAL;
}

static bool at_keyword(const struct parser *ps)
{
	size_t n = word_len(ps);

	for (size_t i = 0; i < ARRAY_SIZE(keywords); i++) {
		if (word_is(ps, n, keywords[i]))
			return true;
	}
	return false;
}

static int parse_not(struct parser *ps)
{
	bool negate = false;
	int r;

	while (take_word(ps, "not") || take(ps, "!"))
		negate = !negate;

	skip_blanks(ps);
	if (take(ps, "("))
		r = parse_group(ps);
	else if (peek(ps) == '.' || (is_name_start(peek(ps)) && !at_keyword(ps)))
		r = parse_comparison(ps);
	else
		r = field_missing(ps);
	if (r < 0 || !negate)
		return r;
	return emit(ps, INSN_NOT, 0, NULL);
}

/*
 * Operands of one kind, joined by jumps to the end of the chain: as soon as one is false (`and`) or
 * true (`or`), the others do not matter. The jumps are linked through arg until the end is known.
 */
static int parse_chain(struct parser *ps, int (*operand)(struct parser *), const char *word,
		       const char *symbol, enum insn_op jump)
{
	size_t last = SIZE_MAX, next;
	int r;

	r = operand(ps);
	while (r == 0 && (take_word(ps, word) || take(ps, symbol))) {
		r = emit(ps, jump, last, &last);
		if (r == 0)
			r = operand(ps);
	}
	if (r < 0)
		return r;

	for (; last != SIZE_MAX; last = next) {
		next = ps->f->code[last].arg;
		ps->f->code[last].arg = ps->f->n_code;
	}
	return 0;
}

static int parse_and(struct parser *ps)
{
	return parse_chain(ps, parse_not, "and", "&&", INSN_IF_FALSE);
}

static int parse_or(struct parser *ps)
{
	return parse_chain(ps, parse_and, "or", "||", INSN_IF_TRUE);
}

static int parse_all(struct parser *ps)
{
	char what[64];
	int r;

	if (ps->len > FILTER_LEN_MAX) {
		r = fail(ps, 0, -E2BIG, "the filter is longer than %d bytes", FILTER_LEN_MAX);
		ps->err->column = 0;
		return r;
	}
	skip_blanks(ps);
	if (ps->at == ps->len)
		return fail(ps, 0, -EINVAL, "the filter is empty");

	ps->f->strings = malloc(ps->len + 1);
	if (!ps->f->strings)
		return fail(ps, 0, -ENOMEM, "out of memory");
	r = parse_or(ps);
	if (r < 0)
		return r;

	skip_blanks(ps);
	if (ps->at == ps->len)
		return 0;
	if (peek(ps) == ')')
		return fail(ps, ps->at, -EINVAL, "this ')' closes nothing");
	describe(ps, what, sizeof(what));
	fail(ps, ps->at, -EINVAL, "'and' or 'or' is missing: found %s", what);
	if (peek(ps) == '&' || peek(ps) == '|')
		hint(ps, "write %c%c", peek(ps), peek(ps));
	return -EINVAL;
}

DEFINE_FREEP(struct filter *, filter_free)

int filter_compile(const char *text, const struct filter_schema *schema, struct filter **ret,
		   struct filter_error *err)
{
	_cleanup_(filter_freep) struct filter *f = NULL;
	struct parser ps = {.text = text, .len = strlen(text), .schema = schema, .err = err};
	int r;

	*err = (struct filter_error){0};
	f = calloc(1, sizeof(*f));
	if (!f)
		return fail(&ps, 0, -ENOMEM, "out of memory");

	ps.f = f;
	r = parse_all(&ps);
	if (r < 0)
		return r;

	*ret = TAKE_PTR(f);
	return 0;
}

void filter_free(struct filter *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->n_tests; i++)
		regex_free(f->tests[i].regex);
	free(f->tests);
	free(f->code);
	free(f->literals);
	free(f->strings);
	free(f);
}

#define PRINT_BEFORE 60
#define PRINT_AFTER  40

void filter_error_print(FILE *out, const char *text, const struct filter_error *err)
{
	size_t column = 1, from = err->column > PRINT_BEFORE ? err->column - PRINT_BEFORE : 1;

	fprintf(out, "filter: %s\n", err->msg);
	if (err->column) {
		fputs(from > 1 ? "  ..." : "  ", out);
		for (; *text && column < err->column + PRINT_AFTER; text++) {
			if (column >= from)
				fputc((uint8_t)*text < ' ' || *text == 0x7f ? ' ' : *text, out);
			column += !utf8_continues(text[1]);
		}
		fprintf(out, "%s\n%*s^\n", *text ? "..." : "",
			(int)(err->column - from + (from > 1 ? 5 : 2)), "");
	}
	if (err->hint[0])
		fprintf(out, "  %s\n", err->hint);
}

/* A number in a string: "23.45". False when it is anything else, or has blanks around it. */
static bool number_from_string(const char *p, size_t len, struct filter_value *ret)
{
	char buf[64], *end;
	bool integer;

	if (len == 0 || len >= sizeof(buf) || decimal_len(p, len, &integer) != len)
		return false;
	memcpy(buf, p, len);
	buf[len] = '\0';

	if (integer) {
		errno = 0;
		ret->kind = FILTER_INT;
		ret->i = strtoll(buf, &end, 10);
		if (errno == 0)
			return true;
	}
	ret->kind = FILTER_NUM;
	ret->num = strtod(buf, &end);
	return *end == '\0';
}

static bool is_number(const struct filter_value *v)
{
	return v->kind == FILTER_INT || v->kind == FILTER_UINT || v->kind == FILTER_NUM;
}

/* The order of an integer and a fraction, without rounding the integer to 53 bits. */
static int compare_wide(__int128 a, double b)
{
	double whole;

	if (b >= 0x1p64)
		return -1;
	if (b <= -0x1p64)
		return 1;
	whole = trunc(b);
	if (a != (__int128)whole)
		return a < (__int128)whole ? -1 : 1;
	return whole < b ? -1 : whole > b;
}

/* -1, 0, 1; 2 when they have no order (NaN). */
static int compare_numbers(const struct filter_value *a, const struct filter_value *b)
{
	__int128 x, y;

	if (a->kind == FILTER_NUM && b->kind == FILTER_NUM)
		return a->num < b->num ? -1 : a->num > b->num ? 1 : a->num == b->num ? 0 : 2;
	if ((a->kind == FILTER_NUM && isnan(a->num)) || (b->kind == FILTER_NUM && isnan(b->num)))
		return 2;

	x = a->kind == FILTER_UINT ? (__int128)a->u : (__int128)a->i;
	y = b->kind == FILTER_UINT ? (__int128)b->u : (__int128)b->i;
	if (a->kind == FILTER_NUM)
		return -compare_wide(y, a->num);
	if (b->kind == FILTER_NUM)
		return compare_wide(x, b->num);
	return x < y ? -1 : x > y;
}

static int compare_strings(const struct filter_value *a, const struct filter_value *b)
{
	size_t n = MIN(a->str.len, b->str.len);
	int r = n ? memcmp(a->str.p, b->str.p, n) : 0;

	if (r)
		return r < 0 ? -1 : 1;
	return a->str.len < b->str.len ? -1 : a->str.len > b->str.len;
}

/* -1, 0, 1; 2 when the two cannot be compared. */
static int compare(const struct filter_value *v, const struct filter_value *lit)
{
	struct filter_value number;

	if (v->kind == FILTER_STR && lit->kind == FILTER_STR)
		return compare_strings(v, lit);
	if (is_number(v) && is_number(lit))
		return compare_numbers(v, lit);
	if (v->kind == FILTER_STR && is_number(lit))
		return number_from_string(v->str.p, v->str.len, &number)
			       ? compare_numbers(&number, lit)
			       : 2;
	if (is_number(v) && lit->kind == FILTER_STR)
		return number_from_string(lit->str.p, lit->str.len, &number)
			       ? compare_numbers(v, &number)
			       : 2;
	if (v->kind == FILTER_BOOL && lit->kind == FILTER_BOOL)
		return v->b - lit->b;
	return v->kind == FILTER_NONE && lit->kind == FILTER_NONE ? 0 : 2;
}

static bool is_true(const struct filter_value *v)
{
	switch (v->kind) {
	case FILTER_NONE:
		return false;
	case FILTER_BOOL:
		return v->b;
	case FILTER_INT:
		return v->i != 0;
	case FILTER_UINT:
		return v->u != 0;
	case FILTER_NUM:
		return v->num != 0;
	case FILTER_STR:
		return v->str.len != 0;
	}
	return false;
}

static bool regex_holds(const struct regex *re, const struct filter_value *v)
{
	char buf[32];
	int n;

	switch (v->kind) {
	case FILTER_STR:
		return regex_match(re, v->str.p, v->str.len);
	case FILTER_INT:
		n = snprintf(buf, sizeof(buf), "%lld", (long long)v->i);
		return regex_match(re, buf, (size_t)n);
	case FILTER_UINT:
		n = snprintf(buf, sizeof(buf), "%llu", (unsigned long long)v->u);
		return regex_match(re, buf, (size_t)n);
	case FILTER_NONE:
	case FILTER_BOOL:
	case FILTER_NUM:
		break;
	}
	return false;
}

static bool test_holds(const struct filter *f, const struct test *test,
		       const struct filter_value *v)
{
	static const struct filter_value none;
	const struct filter_value *lit = f->literals ? &f->literals[test->literal] : &none;

	switch (test->op) {
	case TEST_TRUE:
		return is_true(v);
	case TEST_EQ:
		return compare(v, lit) == 0;
	case TEST_NE:
		return compare(v, lit) != 0;
	case TEST_LT:
		return compare(v, lit) == -1;
	case TEST_GT:
		return compare(v, lit) == 1;
	case TEST_LE:
		return compare(v, lit) <= 0;
	case TEST_GE:
		return (unsigned int)compare(v, lit) <= 1;
	case TEST_REGEX:
		return regex_holds(test->regex, v);
	case TEST_CONTAINS:
		return v->kind == FILTER_STR &&
		       (lit->str.len == 0 ||
			memmem(v->str.p, v->str.len, lit->str.p, lit->str.len));
	case TEST_IN:
		for (size_t i = 0; i < test->n_literals; i++) {
			if (compare(v, &lit[i]) == 0)
				return true;
		}
		return false;
	}
	return false;
}

bool filter_match(const struct filter *f, filter_get_fn get, void *ctx)
{
	bool truth = true;
	size_t pc = 0;

	while (pc < f->n_code) {
		const struct insn *in = &f->code[pc++];
		struct filter_value value = {0};

		switch (in->op) {
		case INSN_TEST:
			get(ctx, f->tests[in->arg].field, &value);
			truth = test_holds(f, &f->tests[in->arg], &value);
			break;
		case INSN_NOT:
			truth = !truth;
			break;
		case INSN_IF_FALSE:
			pc = truth ? pc : in->arg;
			break;
		case INSN_IF_TRUE:
			pc = truth ? in->arg : pc;
			break;
		}
	}
	return truth;
}
