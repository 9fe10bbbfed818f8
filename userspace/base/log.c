/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

static enum log_level log_max = LOG_NOTICE;
static bool log_colour;
static const char *log_before = "";

static const struct {
	const char *word;
	const char *colour;
} levels[] = {
	[LOG_ERROR] = {"error: ", "\033[31m"},
	[LOG_WARNING] = {"warning: ", "\033[33m"},
	[LOG_NOTICE] = {"", ""},
	[LOG_INFO] = {"", ""},
	[LOG_DEBUG] = {"debug: ", "\033[2m"},
};

void log_setup(enum log_level level, bool colour)
{
	log_max = level;
	log_colour = colour;
}

void log_in_place(bool on)
{
	log_before = on ? "\r\033[K" : "";
}

void log_clear(void)
{
	fputs(log_before, stderr);
	log_in_place(false);
}

void log_say(enum log_level level, const char *fmt, ...)
{
	char line[2048];
	va_list ap;

	if (level > log_max)
		return;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);

	/* one write per line, so that lines of several threads do not mix */
	if (log_colour && levels[level].colour[0])
		fprintf(stderr, "%sagentsight: %s%s\033[0m%s\n", log_before, levels[level].colour,
			levels[level].word, line);
	else
		fprintf(stderr, "%sagentsight: %s%s\n", log_before, levels[level].word, line);
}

const char *log_safe(const char *text)
{
	static _Thread_local char slots[4][256];
	static _Thread_local unsigned next;
	char *out = slots[next++ % 4];
	size_t i;

	for (i = 0; i < sizeof(slots[0]) - 1 && text[i]; i++) {
		unsigned char c = text[i];

		out[i] = c < 0x20 || c == 0x7f || (c >= 0x80 && c < 0xa0) ? '?' : text[i];
	}
	out[i] = '\0';
	return out;
}
