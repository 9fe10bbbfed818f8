/* SPDX-License-Identifier: MIT */
/*
 * Commands with arguments and names that break naive tools. Prints the exec events; text that is not
 * UTF-8 is told by its bytes in base64.
 *
 *	args long BYTES		two commands, whose arguments take BYTES and BYTES + 1
 *	args many COUNT BYTES	commands one after another, each with 1,000 bytes less than the one before
 *	args odd
 *	args names DIRECTORY	comm and file names instead of arguments
 */
#include <fcntl.h>
#include <stdbool.h>
#include <sys/prctl.h>

#include "tell.h"

static char self[4096];

static void end_of(pid_t pid)
{
	int status;

	MUST(waitpid(pid, &status, 0));
	if (status) {
		fprintf(stderr, "args: a command failed with %#x\n", status);
		exit(1);
	}
}

static pid_t run(const char *file, char *const argv[])
{
	pid_t pid = MUST(fork());

	if (pid == 0) {
		execv(file, argv);
		_exit(127);
	}
	end_of(pid);
	return pid;
}

/* ---- long ---- */

/* Arguments of @bytes in all, each with its zero. */
static char **arguments_of(size_t bytes)
{
	static const size_t most = 100000; /* the kernel takes 128 KiB in one */
	char **argv = calloc(bytes / most + 3, sizeof(*argv));
	size_t n = 0;

	argv[n++] = (char *)"args";
	bytes -= sizeof("args");
	while (bytes) {
		size_t len = bytes > most + 1 ? most : bytes - 1;
		char *text = malloc(len + 1);

		for (size_t i = 0; i < len; i++)
			text[i] = 'a' + (i * 7 + n) % 26;
		text[len] = '\0';
		argv[n++] = text;
		bytes -= len + 1;
	}
	return argv;
}

static void group_long(const char *bytes)
{
	size_t n = strtoul(bytes, NULL, 10);
	char **argv = arguments_of(n);
	pid_t pid = run(self, argv);

	tell_exec(pid, getpid(), self, argv);
	pid = run(self, arguments_of(n + 1));
	tell("{\"source\":\"process\",\"pid\":%d,\"data\":{\"type\":\"exec\",\"truncated\":true,"
	     "\"argv_length\":%zu}}\n",
	     pid, n + 1);
}

static void group_many(const char *count, const char *bytes)
{
	size_t n = strtoul(count, NULL, 10), most = strtoul(bytes, NULL, 10);

	for (size_t i = 0; i < n; i++) {
		char **argv = arguments_of(most - i * 1000);

		tell_exec(run(self, argv), getpid(), self, argv);
		usleep(10000); /* a ring holds few of these */
	}
}

/* ---- odd ---- */

static void odd_text(char *const argv[])
{
	tell_exec(run(self, argv), getpid(), self, argv);
}

static void odd_bytes(char *const argv[])
{
	pid_t pid = run(self, argv);

	tell("{\"source\":\"process\",\"pid\":%d,\"data\":{\"type\":\"exec\",\"argv_base64\":[",
	     pid);
	for (size_t i = 0; argv[i]; i++) {
		tell("%s", i ? "," : "");
		tell_base64(argv[i], strlen(argv[i]));
	}
	tell("]}}\n");
}

static void group_odd(void)
{
#define ARGV(...) ((char *const[]){__VA_ARGS__, NULL})
	odd_text(ARGV((char *)""));
	odd_text(ARGV((char *)"", (char *)"", (char *)"x", (char *)""));
	odd_text(ARGV((char *)"two\nlines", (char *)"tab\there", (char *)"\r"));
	odd_text(ARGV((char *)"quote\"", (char *)"back\\slash", (char *)"{\"a\":1}", (char *)"'"));
	odd_text(ARGV((char *)"\033[31mred\033[0m", (char *)"\033]0;title\007", (char *)"\177"));
	odd_text(ARGV((char *)"\303\244\303\266\303\274", (char *)"\360\237\246\212",
		      (char *)"\342\200\250"));
	odd_bytes(ARGV((char *)"args", (char *)"\377\376", (char *)"ok"));
	odd_bytes(ARGV((char *)"args", (char *)"cut\303"));
	odd_bytes(ARGV((char *)"args", (char *)"\355\240\200", (char *)"\300\257",
		       (char *)"\364\220\200\200"));
}

/* ---- names ---- */

/* Runs a copy of this program under another name; the copy sets its comm and forks. */
static void odd_file(const char *dir, const char *name, bool is_text)
{
	char path[4096];
	char *argv[] = {(char *)"args", NULL};
	pid_t pid;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	MUST(symlink(self, path));
	pid = run(path, argv);
	tell("{\"source\":\"process\",\"pid\":%d,\"data\":{\"type\":\"exec\",", pid);
	if (is_text) {
		tell("\"filename\":");
		tell_string(path, strlen(path));
	} else {
		tell("\"filename_base64\":");
		tell_base64(path, strlen(path));
	}
	tell("}}\n");
	MUST(unlink(path));
}

static void odd_comm(const char *comm, bool is_text)
{
	pid_t pid = MUST(fork());

	if (pid == 0) {
		prctl(PR_SET_NAME, comm);
		_exit(0);
	}
	end_of(pid);
	tell("{\"source\":\"process\",\"pid\":%d,\"comm%s\":", pid, is_text ? "" : "_base64");
	(is_text ? tell_string : tell_base64)(comm, strlen(comm));
	tell(",\"data\":{\"type\":\"exit\"}}\n");
}

static void group_names(const char *dir)
{
	odd_file(dir, "with space", true);
	odd_file(dir, "new\nline", true);
	odd_file(dir, "quote\"back\\slash", true);
	odd_file(dir, "\033[2J", true);
	odd_file(dir, "\303\244", true);
	odd_file(dir, "\377bad", false);
	odd_comm("a\nb\"c\\", true);
	odd_comm("\033[31m", true);
	odd_comm("", true);
	odd_comm("\303\244\303\266\303\274\303\237\303\251\303\250\303\240", true);
	odd_comm("\377\376\375", false);
	odd_comm("cut in the mid\303", false);
}

int main(int argc, char **argv)
{
	self[MUST(readlink("/proc/self/exe", self, sizeof(self) - 1))] = '\0';
	tell_begin();
	/* the commands are this program, too, without any of these */
	if (argc == 3 && !strcmp(argv[1], "long"))
		group_long(argv[2]);
	else if (argc == 4 && !strcmp(argv[1], "many"))
		group_many(argv[2], argv[3]);
	else if (argc == 2 && !strcmp(argv[1], "odd"))
		group_odd();
	else if (argc == 3 && !strcmp(argv[1], "names"))
		group_names(argv[2]);
	tell_end();
	return 0;
}
