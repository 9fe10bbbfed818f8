/* SPDX-License-Identifier: MIT */
/*
 * Starts many short commands, each with its own argument and exit status, one in ten killed by a
 * signal, and prints the fork, exec and exit of each.
 *
 *	spawn [-n COUNT] [-j PARALLEL] [-q]
 *
 * -q prints only how many there were and the time each took.
 */
#include <signal.h>
#include <stdbool.h>
#include <time.h>

#include "tell.h"

static const int signals[] = {SIGKILL, SIGTERM, SIGUSR1, SIGPIPE};

static _Noreturn void be_child(unsigned long i)
{
	if (i % 10 == 9) {
		raise(signals[i / 10 % 4]);
		pause();
	}
	_exit(i % 256);
}

static char self[4096];
static bool quiet;

static pid_t start(unsigned long i)
{
	char number[24], token[40];
	char *argv[] = {(char *)"spawn", (char *)"child", number, token, NULL};
	pid_t pid;

	snprintf(number, sizeof(number), "%lu", i);
	snprintf(token, sizeof(token), "token-%lx", i * 2654435761UL);
	/* vfork: the child of a process with much memory costs no copy of its page tables */
	pid = vfork();
	if (pid == 0) {
		execve(self, argv, NULL);
		_exit(127);
	}
	MUST(pid);
	if (!quiet) {
		tell_fork(getpid(), pid);
		tell_exec(pid, getpid(), self, argv);
	}
	return pid;
}

static void reap(void)
{
	int status;
	pid_t pid = MUST(waitpid(-1, &status, 0));

	if (!quiet)
		tell_exit(pid, status);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

int main(int argc, char **argv)
{
	unsigned long count = 1000, parallel = 1, running = 0;
	uint64_t since;
	int option;

	if (argc > 2 && !strcmp(argv[1], "child"))
		be_child(strtoul(argv[2], NULL, 10));
	while ((option = getopt(argc, argv, "n:j:q")) != -1) {
		switch (option) {
		case 'n':
			count = strtoul(optarg, NULL, 10);
			break;
		case 'j':
			parallel = strtoul(optarg, NULL, 10);
			break;
		case 'q':
			quiet = true;
			break;
		default:
			return 2;
		}
	}
	self[MUST(readlink("/proc/self/exe", self, sizeof(self) - 1))] = '\0';
	tell_begin();

	since = now_ns();
	for (unsigned long i = 0; i < count; i++) {
		if (running == parallel) {
			reap();
			running--;
		}
		start(i);
		running++;
	}
	while (running-- > 0)
		reap();
	if (quiet)
		tell("{\"spawned\":%lu,\"ns_each\":%llu}\n", count,
		     (unsigned long long)((now_ns() - since) / (count ? count : 1)));
	tell_end();
	return 0;
}
