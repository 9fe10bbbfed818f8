/* SPDX-License-Identifier: MIT */
/*
 * A reason for the user. Functions whose errno alone would blur several causes take a `struct err *`
 * as last parameter (NULL is allowed) and leave one sentence in it, naming the thing and what to do.
 */
#ifndef AGENTSIGHT_BASE_ERR_H
#define AGENTSIGHT_BASE_ERR_H

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

struct err {
	char text[512];
};

/*
 * Stores the sentence and returns @r, so that `return err_set(e, -EINVAL, "…")` is one statement. What it
 * returns is an error even if a library failed without setting errno.
 */
__attribute__((format(printf, 3, 4))) static inline int err_set(struct err *e, int r,
								const char *fmt, ...)
{
	va_list ap;

	if (r >= 0)
		r = -EIO;
	if (!e)
		return r;

	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	return r;
}

#endif
