/* SPDX-License-Identifier: MIT */
/* Threads, files, pipes, children and signals of a program that is linked statically, with any C library. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t rang;

static void rings(int signal)
{
	rang = rang + 1;
}

static void *counts(void *arg)
{
	unsigned long n = (unsigned long)arg;

	for (int i = 0; i < 1000000; i++)
		n = n * 6364136223846793005UL + 1442695040888963407UL;
	return (void *)n;
}

static void child_tell(int fd)
{
	char text[20000];

	memset(text, 'x', sizeof(text));
	for (size_t at = 0; at < sizeof(text);)
		at += (size_t)write(fd, text + at, sizeof(text) - at);
	_exit(7);
}

int main(void)
{
	pthread_t threads[8];
	int fds[2], status;
	size_t got = 0;
	char buf[999];
	ssize_t n;
	FILE *f;

	for (unsigned long i = 0; i < 8; i++)
		pthread_create(&threads[i], NULL, counts, (void *)i);
	for (int i = 0; i < 8; i++) {
		void *result;

		pthread_join(threads[i], &result);
		printf("%lx\n", (unsigned long)result);
	}
	fflush(stdout);
	if (pipe(fds) < 0)
		return 1;
	if (fork() == 0)
		child_tell(fds[1]);
	close(fds[1]);
	while ((n = read(fds[0], buf, sizeof(buf))) > 0)
		got += (size_t)n;
	wait(&status);
	printf("%zu bytes, status %d\n", got, WEXITSTATUS(status));
	signal(SIGUSR1, rings);
	for (int i = 0; i < 100; i++)
		raise(SIGUSR1);
	f = tmpfile();
	for (int i = 0; i < 10000; i++)
		fprintf(f, "%d\n", i);
	printf("%d signals, %ld bytes in a file\n", (int)rang, ftell(f));
	return 3;
}
