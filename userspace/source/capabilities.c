/* SPDX-License-Identifier: MIT */
#include "source/capabilities.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/utf8.h"

void capability_say(struct capability *c, const char *reason, va_list ap)
{
	static const char mark[] = "…";
	int n = vsnprintf(c->reason, sizeof(c->reason), reason, ap);
	size_t whole;

	if (n < (int)sizeof(c->reason))
		return;
	whole = utf8_cut(c->reason, sizeof(c->reason) - 1, sizeof(c->reason) - sizeof(mark));
	memcpy(c->reason + whole, mark, sizeof(mark));
}

void capabilities_add(struct capabilities *all, const struct capability *c)
{
	char *hook = all->n < CAPABILITIES_MAX ? strdup(c->hook) : NULL;

	if (!hook) {
		all->refused++;
		return;
	}
	all->list[all->n] = *c;
	all->list[all->n++].hook = hook;
}

static void forget(struct capabilities *all, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		free((char *)all->list[i].hook);
	memmove(&all->list[from], &all->list[to], (all->n - to) * sizeof(all->list[0]));
	all->n -= to - from;
}

size_t capabilities_told(struct capabilities *all, size_t n)
{
	if (n <= CAPABILITIES_KEPT)
		return n;
	forget(all, CAPABILITIES_KEPT, n);
	return CAPABILITIES_KEPT;
}

void capabilities_done(struct capabilities *all)
{
	forget(all, 0, all->n);
}
