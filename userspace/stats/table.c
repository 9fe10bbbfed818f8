/* SPDX-License-Identifier: MIT */
#include "stats/table.h"

void table_row_begin(struct table *t)
{
	buf_reset(&t->buf);
	line_begin(&t->line, &t->buf, t->width, t->colour);
}

void table_row_end(struct table *t)
{
	line_end(&t->line);
	if (t->buf.failed)
		t->failed = true;
	else
		fwrite(t->buf.data, 1, t->buf.len, t->f);
}

void table_cell(struct table *t, enum line_style style, const char *text)
{
	if (t->line.used + t->column > t->width)
		return;
	line_style(&t->line, style);
	line_printf(&t->line, "%*s", (int)t->column, text);
	line_style(&t->line, LINE_PLAIN);
}
