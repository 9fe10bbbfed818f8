/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/utf8.h"

#define WAIT_MS 100

static enum log_level log_max = LOG_NOTICE;
static bool log_colour;
static int own_fd = -1; /* standard error once more, which never blocks; -1: there is none */
static bool is_socket;  /* standard error is: of a service */

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

void log_open(void)
{
	struct stat st;

	own_fd = io_open_again(STDERR_FILENO);
	is_socket = fstat(STDERR_FILENO, &st) == 0 && S_ISSOCK(st.st_mode);
}

int log_fd(void)
{
	return own_fd;
}

static ssize_t put(const char *text, size_t len)
{
	struct iovec part = {.iov_base = (char *)text, .iov_len = len};
	struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};

	if (is_socket)
		return sendmsg(STDERR_FILENO, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (own_fd >= 0)
		return write(own_fd, text, MIN(len, (size_t)PIPE_BUF));
	return write(STDERR_FILENO, text, len);
}

bool log_text(const char *text, size_t len, int wait_ms)
{
	struct pollfd p = {.fd = own_fd >= 0 ? own_fd : STDERR_FILENO, .events = POLLOUT};

	while (len) {
		ssize_t n = put(text, len);

		if (n >= 0) {
			text += n;
			len -= (size_t)n;
		} else if ((errno != EAGAIN && errno != EINTR) || poll(&p, 1, wait_ms) <= 0) {
			return false;
		}
	}
	return true;
}

/* Whoever has not taken one message is not waited for with the next. */
static void put_message(const char *text, size_t len)
{
	static unsigned long left_out;
	/* one thread tells of them */
	unsigned long n = __atomic_exchange_n(&left_out, 0, __ATOMIC_RELAXED);
	char before[96];

	if (n) {
		int k = snprintf(before, sizeof(before),
				 "agentsight: %lu messages before this one were not taken\n", n);

		if (!log_text(before, (size_t)k, 0))
			__atomic_fetch_add(&left_out, n, __ATOMIC_RELAXED);
	}
	if (!log_text(text, len, n ? 0 : WAIT_MS))
		__atomic_fetch_add(&left_out, 1, __ATOMIC_RELAXED);
}

void log_say(enum log_level level, const char *fmt, ...)
{
	char line[2048], text[PIPE_BUF];
	bool colour = log_colour && levels[level].colour[0];
	va_list ap;
	int n;

	if (level > log_max)
		return;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);

	/* one write per line, so that lines of several threads do not mix */
	n = snprintf(text, sizeof(text), "agentsight: %s%s%s%s\n",
		     colour ? levels[level].colour : "", levels[level].word,
		     colour ? "\033[0m" : "", line);
	put_message(text, (size_t)n);
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
		if (!len || is_control(p) || !utf8_is_harmless(p, len)) {
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
