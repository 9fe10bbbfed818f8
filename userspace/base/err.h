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

__attribute__((format(printf, 2, 3))) static inline void err_say(struct err *e, const char *fmt,
								 ...)
{
	va_list ap;

	if (!e)
		return;
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
}

/*
 * Stores the sentence and gives @r, so that `return err_set(e, -EINVAL, "…")` is one statement. It gives an
 * error even if a library failed without setting errno.
 */
#define err_set(e, r, ...)               \
	({                               \
		int _err = (r);          \
		err_say(e, __VA_ARGS__); \
		_err < 0 ? _err : -EIO;  \
	})

#endif
