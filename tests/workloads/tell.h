/* SPDX-License-Identifier: MIT */
/*
 * How a workload tells what it did: one JSON object per line, with the members that are certain.
 * The lines are kept in memory and printed at the end, so that telling is no part of what is told.
 */
#ifndef AGENTSIGHT_TESTS_TELL_H
#define AGENTSIGHT_TESTS_TELL_H

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MUST(call)                                                                    \
	({                                                                            \
		long _r = (call);                                                     \
		if (_r < 0) {                                                         \
			fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, \
				strerror(errno));                                     \
			exit(1);                                                      \
		}                                                                     \
		_r;                                                                   \
	})

/* Shared with children: each adds behind what the others wrote. */
struct tale {
	size_t len;
	char text[256 << 20];
};

static struct tale *tale;

static inline void tell_begin(void)
{
	tale = mmap(NULL, sizeof(*tale), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (tale == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
}

static inline void tell_bytes(const char *p, size_t n)
{
	size_t at = __atomic_fetch_add(&tale->len, n, __ATOMIC_RELAXED);

	if (at + n > sizeof(tale->text))
		abort();
	memcpy(tale->text + at, p, n);
}

__attribute__((format(printf, 1, 2))) static inline void tell(const char *fmt, ...)
{
	char text[4096];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n >= (int)sizeof(text))
		abort();
	tell_bytes(text, n);
}

/* @n bytes of UTF-8 as a JSON string. */
static inline void tell_string(const char *p, size_t n)
{
	tell("\"");
	for (size_t i = 0; i < n; i++) {
		unsigned char c = p[i];

		if (c < 0x20 || c == '"' || c == '\\')
			tell("\\u%04x", c);
		else
			tell_bytes(p + i, 1);
	}
	tell("\"");
}

static inline void tell_base64(const char *p, size_t n)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	tell("\"");
	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = 0;
		char out[4];

		for (size_t j = 0; j < 3; j++)
			v = v << 8 | (i + j < n ? (unsigned char)p[i + j] : 0);
		for (size_t j = 0; j < 4; j++)
			out[j] = i + j > n ? '=' : digits[v >> (18 - 6 * j) & 63];
		tell_bytes(out, 4);
	}
	tell("\"");
}

/* ---- processes ---- */

static inline void tell_fork(pid_t parent, pid_t child)
{
	tell("{\"source\":\"process\",\"pid\":%d,\"data\":{\"type\":\"fork\",\"child_pid\":%d,"
	     "\"ppid\":%d}}\n",
	     parent, child, parent);
}

static inline void tell_exec(pid_t pid, pid_t ppid, const char *filename, char *const argv[])
{
	tell("{\"source\":\"process\",\"pid\":%d,\"data\":{\"type\":\"exec\",\"ppid\":%d,"
	     "\"filename\":",
	     pid, ppid);
	tell_string(filename, strlen(filename));
	tell(",\"argv\":[");
	for (size_t i = 0; argv[i]; i++) {
		if (i)
			tell(",");
		tell_string(argv[i], strlen(argv[i]));
	}
	tell("]}}\n");
}

/* @status is what wait() gave. */
static inline void tell_exit(pid_t pid, int status)
{
	tell("{\"source\":\"process\",\"pid\":%d,\"data\":{\"type\":\"exit\",\"exit_code\":%d,"
	     "\"signal\":%d}}\n",
	     pid, WIFEXITED(status) ? WEXITSTATUS(status) : 0,
	     WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

static inline void tell_end(void)
{
	for (size_t done = 0; done < tale->len;)
		done += MUST(write(STDOUT_FILENO, tale->text + done, tale->len - done));
}

#endif
