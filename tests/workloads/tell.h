/* SPDX-License-Identifier: MIT */
/*
 * How a workload tells what it did: one JSON object per line, with the members that are certain.
 * The lines are kept in memory and printed at the end, so that telling is no part of what is told.
 */
#ifndef AGENTSIGHT_TESTS_TELL_H
#define AGENTSIGHT_TESTS_TELL_H

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
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

/* Room for @n bytes, which nobody else writes to. */
static inline char *tell_room(size_t n)
{
	size_t at = __atomic_fetch_add(&tale->len, n, __ATOMIC_RELAXED);

	if (at + n > sizeof(tale->text))
		abort();
	return tale->text + at;
}

static inline void tell_bytes(const char *p, size_t n)
{
	memcpy(tell_room(n), p, n);
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

/* @n bytes of UTF-8 as a JSON string at @out; the length it has. NULL as @out: only that. */
static inline size_t put_string(char *out, const char *p, size_t n)
{
	size_t len = 0;

	for (size_t i = 0; i < n + 2; i++) {
		unsigned char c = i && i <= n ? p[i - 1] : '"';
		bool plain = i == 0 || i > n || (c >= 0x20 && c != '"' && c != '\\');
		char text[8];

		snprintf(text, sizeof(text), plain ? "%c" : "\\u%04x", c);
		if (out)
			memcpy(out + len, text, strlen(text));
		len += strlen(text);
	}
	return len;
}

static inline void tell_string(const char *p, size_t n)
{
	put_string(tell_room(put_string(NULL, p, n)), p, n);
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

/* @argv as a JSON array at @out; the length it has. NULL as @out: only that. */
static inline size_t put_array(char *out, char *const argv[])
{
	size_t len = 0;

	for (size_t i = 0; argv[i]; i++) {
		if (out)
			out[len] = i ? ',' : '[';
		len++;
		len += put_string(out ? out + len : NULL, argv[i], strlen(argv[i]));
	}
	if (out)
		out[len] = ']';
	return len + 1;
}

/* In one piece: parent and child may tell at the same time. */
static inline void tell_exec(pid_t pid, pid_t ppid, const char *filename, char *const argv[])
{
	size_t name = put_string(NULL, filename, strlen(filename)), args = put_array(NULL, argv);
	static const char key[] = ",\"argv\":", end[] = "}}\n";
	char head[128], *out;
	int n;

	n = snprintf(head, sizeof(head),
		     "{\"source\":\"process\",\"pid\":%d,\"data\":{\"type\":\"exec\",\"ppid\":%d,"
		     "\"filename\":",
		     pid, ppid);
	out = tell_room(n + name + strlen(key) + args + strlen(end));
	memcpy(out, head, n);
	out += n + put_string(out + n, filename, strlen(filename));
	memcpy(out, key, strlen(key));
	out += strlen(key);
	out += put_array(out, argv);
	memcpy(out, end, strlen(end));
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
