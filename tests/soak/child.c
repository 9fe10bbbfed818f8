/* SPDX-License-Identifier: MIT */
/*
 * A short process of the soak test, under ever new names: it opens a file or two, and does what its
 * letters say. Static, so that 1,000 a second are cheap.
 *
 *   child LETTERS DIRECTORY NUMBER [anything]
 *     t  a thread of its own     o  a grandchild that outlives it     k  ends by a signal
 *     r  answers one line of JSON-RPC on standard input               e  becomes itself once more
 *     n  nothing at all
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *thread_main(void *arg)
{
	return arg;
}

static void one_thread(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, thread_main, NULL) == 0)
		pthread_join(thread, NULL);
}

static void orphan(void)
{
	if (fork() == 0) {
		usleep(20000);
		_exit(0);
	}
}

static void answer(void)
{
	static const char reply[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"ok\":true}}\n";
	char line[512];

	if (read(STDIN_FILENO, line, sizeof(line)) > 0 &&
	    write(STDOUT_FILENO, reply, sizeof(reply) - 1) < 0)
		_exit(1);
}

static void files(const char *directory, const char *number)
{
	char path[256], renamed[256];
	int fd;

	snprintf(path, sizeof(path), "%s/f%s", directory, number);
	snprintf(renamed, sizeof(renamed), "%s/g%s", directory, number);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	if (write(fd, path, strlen(path)) > 0 && lseek(fd, 0, SEEK_SET) == 0 &&
	    read(fd, renamed, 0) < 0)
		_exit(1);
	close(fd);
	rename(path, renamed);
	unlink(renamed);
}

static void again(char **argv)
{
	for (char *p = argv[1]; *p; p++) {
		if (*p == 'e')
			*p = 'n';
	}
	execv("/proc/self/exe", argv);
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	if (strchr(argv[1], 'r'))
		answer();
	if (strchr(argv[1], 'n'))
		return 0;
	files(argv[2], argv[3]);
	if (strchr(argv[1], 't'))
		one_thread();
	if (strchr(argv[1], 'o'))
		orphan();
	if (strchr(argv[1], 'k'))
		raise(SIGKILL);
	if (strchr(argv[1], 'e'))
		again(argv);
	return atoi(argv[3]) % 3;
}
