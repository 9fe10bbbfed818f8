/* SPDX-License-Identifier: MIT */
#include "base/line.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/utf8.h"

/* One column wide. */
static const char *cut_mark(void)
{
	return utf8_is_shown() ? "…" : ">";
}

/* What is shown as one unit: a character, or what stands in for one. It is never cut in two. */
struct cell {
	char text[12];
	uint8_t len;
	uint8_t columns;
	bool escaped;
};

struct range {
	uint32_t first, last;
};

/*
 * Characters that control the terminal, reorder the text around them or leave no mark: general
 * categories Cc, Cf, Zl, Zp and what Unicode calls Default_Ignorable_Code_Point. The tag
 * characters at U+E0000 hide whole sentences from a reader, but not from a language model.
 */
static const struct range hidden[] = {
	{0x0000, 0x001f},   {0x007f, 0x009f},   {0x00ad, 0x00ad},   {0x034f, 0x034f},
	{0x061c, 0x061c},   {0x115f, 0x1160},   {0x17b4, 0x17b5},   {0x180b, 0x180f},
	{0x200b, 0x200f},   {0x2028, 0x202e},   {0x2060, 0x206f},   {0x3164, 0x3164},
	{0xfe00, 0xfe0f},   {0xfeff, 0xfeff},   {0xffa0, 0xffa0},   {0xfff0, 0xfffb},
	{0xfffe, 0xffff},   {0x13430, 0x1343f}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a},
	{0xe0000, 0xe0fff},
};

/* Two columns wide (East Asian Width W and F, and emoji); rounded up where terminals differ. */
static const struct range wide[] = {
	{0x1100, 0x115f},   {0x231a, 0x231b},   {0x23e9, 0x23f3},   {0x25fd, 0x25fe},
	{0x2600, 0x27bf},   {0x2b1b, 0x2b55},   {0x2e80, 0x303e},   {0x3041, 0xa4cf},
	{0xa960, 0xa97f},   {0xac00, 0xd7a3},   {0xf900, 0xfaff},   {0xfe30, 0xfe6f},
	{0xff00, 0xff60},   {0xffe0, 0xffe6},   {0x16fe0, 0x18d08}, {0x1aff0, 0x1b2fb},
	{0x1f004, 0x1f0cf}, {0x1f18e, 0x1f2ff}, {0x1f300, 0x1faff}, {0x20000, 0x3fffd},
};

static bool in_ranges(const struct range *r, size_t n, uint32_t c)
{
	for (size_t i = 0; i < n && r[i].first <= c; i++) {
		if (c <= r[i].last)
			return true;
	}
	return false;
}

static uint32_t decode(const uint8_t *p, size_t len)
{
	uint32_t c = len == 1 ? p[0] : p[0] & (0x7f >> len);

	for (size_t i = 1; i < len; i++)
		c = c << 6 | (p[i] & 0x3f);
	return c;
}

static void cell_escape(struct cell *c, uint32_t code, bool is_byte)
{
	static const char letters[32] = {['\t'] = 't', ['\n'] = 'n', ['\r'] = 'r'};
	int n;

	if (code < 32 && letters[code])
		n = snprintf(c->text, sizeof(c->text), "\\%c", letters[code]);
	else if (is_byte || code < 0x80)
		n = snprintf(c->text, sizeof(c->text), "\\x%02x", code);
	else if (code < 0x10000)
		n = snprintf(c->text, sizeof(c->text), "\\u%04x", code);
	else
		n = snprintf(c->text, sizeof(c->text), "\\U%08x", code);
	c->len = c->columns = n;
	c->escaped = true;
}

/* Reads one character of @n > 0 bytes; returns how many bytes it took. */
static size_t cell_read(struct cell *c, const char *text, size_t n)
{
	const uint8_t *p = (const uint8_t *)text;
	size_t len = p[0] < 0x80 ? 1 : utf8_sequence(p, n);
	uint32_t code;

	if (!len) {
		cell_escape(c, p[0], true);
		return 1;
	}
	code = decode(p, len);
	if (in_ranges(hidden, ARRAY_SIZE(hidden), code) || !utf8_is_harmless(p, len)) {
		cell_escape(c, code, false);
		return len;
	}
	memcpy(c->text, p, len);
	c->len = len;
	c->columns = 1 + in_ranges(wide, ARRAY_SIZE(wide), code);
	c->escaped = false;
	return len;
}

void line_begin(struct line *l, struct buf *b, unsigned columns, bool colour)
{
	*l = (struct line){.b = b, .columns = columns, .colour = colour, .mark = b->len};
}

void line_style(struct line *l, enum line_style style)
{
	static const char *const codes[LINE_STYLES] = {
		[LINE_PLAIN] = "\033[0m",  [LINE_DIM] = "\033[2m",
		[LINE_BOLD] = "\033[1m",   [LINE_RED] = "\033[31m",
		[LINE_GREEN] = "\033[32m", [LINE_YELLOW] = "\033[33m",
		[LINE_BLUE] = "\033[34m",  [LINE_MAGENTA] = "\033[35m",
		[LINE_CYAN] = "\033[36m",  [LINE_ALARM] = "\033[1;31m",
	};

	if (!l->colour || l->full)
		return;
	if (l->styled)
		buf_add_str(l->b, codes[LINE_PLAIN]);
	l->styled = style != LINE_PLAIN;
	if (l->styled)
		buf_add_str(l->b, codes[style]);
}

/* Appends text of a known width, or cuts the line. */
static void put(struct line *l, const char *text, size_t len, unsigned columns)
{
	if (l->full)
		return;
	if (l->used + columns > l->columns) {
		if (!l->b->failed)
			l->b->len = l->mark;
		l->styled = l->mark_styled; /* with the tail went its styles and their ends */
		buf_add_str(l->b, cut_mark());
		l->full = true;
		return;
	}
	buf_add(l->b, text, len);
	l->used += columns;
	if (l->used < l->columns) {
		l->mark = l->b->len;
		l->mark_styled = l->styled;
	}
}

void line_text(struct line *l, const char *p, size_t n)
{
	struct cell c;

	while (n && !l->full) {
		size_t len = cell_read(&c, p, n);

		put(l, c.text, c.len, c.columns);
		p += len;
		n -= len;
	}
}

void line_str(struct line *l, const char *s)
{
	line_text(l, s, strlen(s));
}

void line_printf(struct line *l, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	line_str(l, text);
}

/* How many bytes fit into @columns. */
static size_t fitting(const char *p, size_t n, unsigned columns)
{
	unsigned used = 0;
	struct cell c;
	size_t i = 0;

	while (i < n) {
		size_t len = cell_read(&c, p + i, n - i);

		if (used + c.columns > columns)
			break;
		used += c.columns;
		i += len;
	}
	return i;
}

void line_text_max(struct line *l, const char *p, size_t n, unsigned columns)
{
	if (fitting(p, n, columns) == n) {
		line_text(l, p, n);
		return;
	}
	line_text(l, p, fitting(p, n, columns - 1));
	put(l, cut_mark(), strlen(cut_mark()), 1);
}

/* How a word is written: as it is, 'so', or $'so' (when something in it is escaped). */
enum quoting {
	QUOTE_NONE,
	QUOTE_SINGLE,
	QUOTE_DOLLAR,
};

static bool is_plain(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("_@%+=:,./-", c));
}

/* Looks no further than a line can show. */
static enum quoting quoting_of(const struct line *l, const char *p, size_t n)
{
	enum quoting q = n ? QUOTE_NONE : QUOTE_SINGLE;
	struct cell c;
	unsigned used = 0;

	for (size_t i = 0; i < n && used <= l->columns; used += c.columns) {
		if (!is_plain(p[i]))
			q = QUOTE_SINGLE;
		i += cell_read(&c, p + i, n - i);
		if (c.escaped)
			return QUOTE_DOLLAR;
	}
	return q;
}

static void put_quoted(struct line *l, const char *p, size_t n, enum quoting q)
{
	struct cell c;

	for (size_t i = 0; i < n && !l->full;) {
		char ch = p[i];

		i += cell_read(&c, p + i, n - i);
		if (ch == '\'' && q == QUOTE_SINGLE)
			put(l, "'\\''", 4, 4);
		else if ((ch == '\'' || ch == '\\') && q == QUOTE_DOLLAR && !c.escaped)
			put(l, ch == '\'' ? "\\'" : "\\\\", 2, 2);
		else
			put(l, c.text, c.len, c.columns);
	}
}

void line_word(struct line *l, const char *p, size_t n)
{
	enum quoting q = quoting_of(l, p, n);

	if (q == QUOTE_NONE) {
		line_text(l, p, n);
		return;
	}
	line_str(l, q == QUOTE_SINGLE ? "'" : "$'");
	put_quoted(l, p, n, q);
	line_str(l, "'");
}

void line_pad(struct line *l, unsigned column)
{
	while (l->used < column && !l->full)
		put(l, " ", 1, 1);
}

void line_end(struct line *l)
{
	if (l->styled)
		buf_add_lit(l->b, "\033[0m");
	buf_add_char(l->b, '\n');
}

bool line_is_binary(const char *p, size_t n)
{
	size_t cells = 0, escaped = 0;
	struct cell c;

	for (size_t i = 0; i < n && cells < 256; cells++) {
		/* tabs are text, and a character that was cut at the end of the data is one cell */
		bool tab = p[i] == '\t';

		i += cell_read(&c, p + i, n - i);
		escaped += c.escaped && !tab;
	}
	return escaped * 4 > cells;
}
