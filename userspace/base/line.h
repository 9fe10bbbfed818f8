/* SPDX-License-Identifier: MIT */
/*
 * One line for a terminal: never wider than the terminal, and safe whatever the traced programs put
 * into it. Escape sequences come from line_style() only. What controls a terminal, turns the
 * direction of text or cannot be seen is written out (\x1b, \u202e), and so is what is not UTF-8 or not harmless
 * (base/utf8.h).
 */
#ifndef AGENTSIGHT_BASE_LINE_H
#define AGENTSIGHT_BASE_LINE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

enum line_style {
	LINE_PLAIN,
	LINE_DIM,
	LINE_BOLD,
	LINE_RED,
	LINE_GREEN,
	LINE_YELLOW,
	LINE_BLUE,
	LINE_MAGENTA,
	LINE_CYAN,
	LINE_ALARM,
	LINE_STYLES
};

/* All members are the functions' own; `used` and `full` may be read. */
struct line {
	struct buf *b;
	unsigned columns;
	unsigned used;
	bool colour;
	bool styled;      /* a style is on */
	bool full;        /* cut: what is appended now is lost */
	size_t mark;      /* where "…" goes if the next character does not fit */
	bool mark_styled; /* `styled` there */
};

/* Begins behind what @b holds. */
void line_begin(struct line *l, struct buf *b, unsigned columns, bool colour);

void line_style(struct line *l, enum line_style style);

/* Escaped text. */
void line_text(struct line *l, const char *p, size_t n);
void line_str(struct line *l, const char *s);
__attribute__((format(printf, 2, 3))) void line_printf(struct line *l, const char *fmt, ...);

/* Escaped text, cut with "…" where it would be wider than @columns. */
void line_text_max(struct line *l, const char *p, size_t n, unsigned columns);

/* One word of a command line, quoted so that a shell would read it back. */
void line_word(struct line *l, const char *p, size_t n);

/* Spaces up to @column, which counts from 0; none when the line is that long already. */
void line_pad(struct line *l, unsigned column);

/* Ends the style and the line. */
void line_end(struct line *l);

/*
 * Would most of this be escaped? True for binary data, false for text with a few odd characters.
 */
bool line_is_binary(const char *p, size_t n);

#endif
