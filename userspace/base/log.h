/* SPDX-License-Identifier: MIT */
/*
 * What is said to a person, on stderr. Text that came from a traced program is shown with
 * log_safe(), so that it cannot send escape sequences to the terminal.
 */
#ifndef AGENTSIGHT_BASE_LOG_H
#define AGENTSIGHT_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

enum log_level {
	LOG_NOTHING = -1,
	LOG_ERROR,
	LOG_WARNING,
	LOG_NOTICE,
	LOG_INFO,
	LOG_DEBUG,
};

/*
 * Standard error once more, so that a message that nobody takes is left out after a tenth of a second, instead of
 * holding up who reads events. How many there were is said with the next one that is taken.
 */
void log_open(void);

/* The descriptor that log_open() has made, or -1. */
int log_fd(void);

/* Messages above @level are left out; @colour switches ANSI colours on. */
void log_setup(enum log_level level, bool colour);

/* A text that is no message. False: not all of it was taken within @wait_ms. */
bool log_text(const char *text, size_t len, int wait_ms);

__attribute__((format(printf, 2, 3))) void log_say(enum log_level level, const char *fmt, ...);

#define log_error(...)   log_say(LOG_ERROR, __VA_ARGS__)
#define log_warning(...) log_say(LOG_WARNING, __VA_ARGS__)
#define log_notice(...)  log_say(LOG_NOTICE, __VA_ARGS__)
#define log_info(...)    log_say(LOG_INFO, __VA_ARGS__)
#define log_debug(...)   log_say(LOG_DEBUG, __VA_ARGS__)

/*
 * @text with control characters, what is no UTF-8 and what is not harmless (base/utf8.h) replaced by '?', in one of a
 * few static buffers.
 */
const char *log_safe(const char *text);

#endif
