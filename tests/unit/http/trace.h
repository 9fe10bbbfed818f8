/* SPDX-License-Identifier: MIT */
/* What a parser told, as text: pieces of a body that follow each other are one, however they were cut. */
#ifndef TESTS_UNIT_HTTP_TRACE_H
#define TESTS_UNIT_HTTP_TRACE_H

#include "base/buf.h"
#include "http/message.h"

struct trace {
	struct buf text;
	bool in_body;
};

static inline void trace_escaped(struct trace *t, struct http_text text)
{
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.p[i];

		if (c > ' ' && c < 0x7f && c != '\\')
			buf_add_char(&t->text, (char)c);
		else
			buf_printf(&t->text, "\\%03o", c);
	}
}

/* "0>" begins what is told of the request with the id 0, "0<" of its answer. */
static inline void trace_line(struct trace *t, uint64_t id, enum http_side side, const char *what)
{
	t->in_body = false;
	buf_printf(&t->text, "%llu%c%s", (unsigned long long)id, side == HTTP_REQUEST ? '>' : '<',
		   what);
}

static inline void trace_begin(void *context, uint64_t id, enum http_side side,
			       const struct http_head *head)
{
	struct trace *t = context;

	trace_line(t, id, side, " ");
	if (side == HTTP_REQUEST) {
		trace_escaped(t, head->method);
		buf_add_char(&t->text, ' ');
		trace_escaped(t, head->path);
	} else {
		buf_printf(&t->text, "%u ", head->status);
		trace_escaped(t, head->reason);
	}
	buf_printf(&t->text, " %u\n", head->version);
}

static inline void trace_header(void *context, uint64_t id, enum http_side side,
				struct http_text name, struct http_text value)
{
	struct trace *t = context;

	trace_line(t, id, side, "h ");
	trace_escaped(t, name);
	buf_add_char(&t->text, '=');
	trace_escaped(t, value);
	buf_add_char(&t->text, '\n');
}

static inline void trace_headers_done(void *context, uint64_t id, enum http_side side)
{
	trace_line(context, id, side, "headers\n");
}

static inline void trace_body(void *context, uint64_t id, enum http_side side,
			      struct http_text piece)
{
	struct trace *t = context;

	if (piece.len == 0)
		return;
	if (t->in_body)
		t->text.len--; /* the line end */
	else
		trace_line(t, id, side, "b ");
	trace_escaped(t, piece);
	buf_add_char(&t->text, '\n');
	t->in_body = true;
}

static inline void trace_end(void *context, uint64_t id, enum http_side side, bool complete)
{
	trace_line(context, id, side, complete ? "end\n" : "cut\n");
}

#endif
