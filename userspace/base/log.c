/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

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

/* Also those of Unicode (80 to 9f), which some terminals obey. */
static bool is_control(const uint8_t *p)
{
	return p[0] < 0x20 || p[0] == 0x7f || (p[0] == 0xc2 && p[1] < 0xa0);
}

const char *log_safe(const char *text)
{
	static _Thread_local char slots[4][256];
	static _Thread_local unsigned next;
	const uint8_t *p = (const uint8_t *)text;
	char *out = slots[next++ % 4];
	size_t i = 0, len;

	for (; *p && i < sizeof(slots[0]) - 4; p += len) {
		len = utf8_sequence(p, strnlen((const char *)p, 4));
		if (!len || is_control(p)) {
			out[i++] = '?';
			len += !len;
			continue;
		}
		memcpy(out + i, p, len);
		i += len;
	}
	out[i] = '\0';
	return out;
}
