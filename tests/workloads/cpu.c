/* SPDX-License-Identifier: MIT */
/*
 * Burns a stated CPU time and prints what the kernel says it was, as one JSON object:
 *
 *   cpu [-w WAIT_MS] [-o OWN_MS] [-t THREADS] [-n CHILDREN -c EACH_MS] [-i IDLE_MS] [-H]
 *
 * OWN_MS is burnt by each of THREADS threads (default 1, the main thread); then CHILDREN are forked
 * one after the other, each burning EACH_MS. -w sleeps first; -i sleeps at the end, so that a last
 * sample sees all; -H prints before that sleep instead of after it.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define THREADS_LIMIT 256

static uint64_t clock_now(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* Measured on the thread's own CPU clock: a busy machine makes it take longer, not burn more. */
static void *burn(void *arg)
{
	uint64_t ns = *(const uint64_t *)arg * 1000000;
	uint64_t end = clock_now(CLOCK_THREAD_CPUTIME_ID) + ns;
	volatile uint64_t x = 1;

	while (clock_now(CLOCK_THREAD_CPUTIME_ID) < end) {
		for (int i = 0; i < 1000; i++)
			x = x * 6364136223846793005ULL + 1;
	}
	return NULL;
}

static int burn_in_threads(uint64_t ms, unsigned n)
{
	pthread_t threads[THREADS_LIMIT];

	if (n == 1) {
		burn(&ms);
		return 0;
	}
	for (unsigned i = 0; i < n; i++) {
		if (pthread_create(&threads[i], NULL, burn, &ms))
			return -1;
	}
	for (unsigned i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	return 0;
}

static int burn_in_child(uint64_t ms)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return -1;
	if (pid == 0) {
		burn(&ms);
		_exit(0);
	}
	return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

static void sleep_ms(uint64_t ms)
{
	struct timespec ts = {ms / 1000, ms % 1000 * 1000000};

	nanosleep(&ts, NULL);
}

static double seconds(const struct timeval *user, const struct timeval *sys)
{
	return user->tv_sec + sys->tv_sec + (user->tv_usec + sys->tv_usec) / 1e6;
}

static void print_truth(uint64_t start_ns)
{
	struct rusage own, children;

	getrusage(RUSAGE_SELF, &own);
	getrusage(RUSAGE_CHILDREN, &children);
	printf("{\"pid\":%d,\"wall_s\":%.6f,\"own_s\":%.6f,\"children_s\":%.6f}\n", getpid(),
	       (clock_now(CLOCK_MONOTONIC) - start_ns) / 1e9, seconds(&own.ru_utime, &own.ru_stime),
	       seconds(&children.ru_utime, &children.ru_stime));
	fflush(stdout);
}

int main(int argc, char **argv)
{
	uint64_t own_ms = 0, each_ms = 20, idle_ms = 0, start_ns = clock_now(CLOCK_MONOTONIC);
	unsigned threads = 1, children = 0;
	bool hasty = false;
	int opt;

	while ((opt = getopt(argc, argv, "w:o:t:n:c:i:H")) != -1) {
		switch (opt) {
		case 'w':
			sleep_ms(strtoull(optarg, NULL, 10));
			break;
		case 'o':
			own_ms = strtoull(optarg, NULL, 10);
			break;
		case 't':
			threads = strtoul(optarg, NULL, 10);
			break;
		case 'n':
			children = strtoul(optarg, NULL, 10);
			break;
		case 'c':
			each_ms = strtoull(optarg, NULL, 10);
			break;
		case 'i':
			idle_ms = strtoull(optarg, NULL, 10);
			break;
		case 'H':
			hasty = true;
			break;
		default:
			return 2;
		}
	}
	if (threads < 1 || threads > THREADS_LIMIT || burn_in_threads(own_ms, threads))
		return 1;
	for (unsigned i = 0; i < children; i++) {
		if (burn_in_child(each_ms))
			return 1;
	}

	if (hasty)
		print_truth(start_ns);
	sleep_ms(idle_ms);
	if (!hasty)
		print_truth(start_ns);
	return 0;
}
