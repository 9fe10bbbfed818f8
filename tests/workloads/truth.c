/* SPDX-License-Identifier: MIT */
/*
 * Works as it is told and prints what it did, as one JSON object in a line of 1,024 bytes:
 *
 *   truth [-t THREADS] [-o OWN_MS] [-s SLEEP_MS] [-n CHILDREN] [-p AT_ONCE] [-c EACH_MS] [-m MB] [-f FILE -w BYTES]
 *
 * THREADS threads each burn OWN_MS, sleep SLEEP_MS and read 1,000 bytes in ten calls; CHILDREN, AT_ONCE of them at a
 * time, each burn EACH_MS and write 64 bytes to nowhere; MB of memory are touched; BYTES are written to
 * FILE. Times are by the clocks of thread and process; I/O is counted call by call, what the kernel
 * had counted when main() began on top.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "tell.h"

#define THREADS_LIMIT 64
#define TOLD_BYTES    1024
#define READS         10
#define READ_BYTES    100
#define CHILD_BYTES   64

/* Shared with the children. */
struct sums {
	uint64_t rchar, wchar, syscr, syscw;
	uint64_t child_cpu_ns, child_life_ns;
};

static struct sums *sums;
static uint64_t thread_cpu_ns[THREADS_LIMIT];
static int zero_fd, null_fd;
static unsigned sleep_ms;

static uint64_t clock_now(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static void add(uint64_t *to, uint64_t n)
{
	__atomic_fetch_add(to, n, __ATOMIC_RELAXED);
}

static ssize_t tell_read(int fd, void *buf, size_t n)
{
	ssize_t r = MUST(read(fd, buf, n));

	add(&sums->rchar, r);
	add(&sums->syscr, 1);
	return r;
}

static void tell_write(int fd, const void *buf, size_t n)
{
	MUST(write(fd, buf, n));
	add(&sums->wchar, n);
	add(&sums->syscw, 1);
}

static void burn_until(clockid_t clock, uint64_t end_ns)
{
	volatile uint64_t x = 1;

	while (clock_now(clock) < end_ns) {
		for (int i = 0; i < 200; i++)
			x = x * 6364136223846793005ULL + 1;
	}
}

/* What the kernel says of the process; the look itself is one call of @ret_len bytes. */
static uint64_t kernel_count(const char *text, const char *key)
{
	const char *p = strstr(text, key);

	return p ? strtoull(p + strlen(key), NULL, 10) : 0;
}

static void io_text(char *buf, size_t cap, ssize_t *ret_len)
{
	int fd = MUST(open("/proc/self/io", O_RDONLY | O_CLOEXEC));

	*ret_len = MUST(read(fd, buf, cap - 1));
	buf[*ret_len] = '\0';
	close(fd);
}

static void begin(void)
{
	char text[512];
	ssize_t n;

	sums = mmap(NULL, sizeof(*sums), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sums == MAP_FAILED)
		exit(1);
	io_text(text, sizeof(text), &n);
	sums->rchar = kernel_count(text, "rchar: ") + n;
	sums->wchar = kernel_count(text, "wchar: ");
	sums->syscr = kernel_count(text, "syscr: ") + 1;
	sums->syscw = kernel_count(text, "syscw: ");
	zero_fd = MUST(open("/dev/zero", O_RDONLY | O_CLOEXEC));
	null_fd = MUST(open("/dev/null", O_WRONLY | O_CLOEXEC));
}

struct share {
	unsigned i;
	uint64_t ns;
};

static void *thread_run(void *arg)
{
	const struct share *s = arg;
	char buf[READ_BYTES];

	for (int i = 0; i < READS; i++)
		tell_read(zero_fd, buf, sizeof(buf));
	burn_until(CLOCK_THREAD_CPUTIME_ID, s->ns);
	thread_cpu_ns[s->i] = clock_now(CLOCK_THREAD_CPUTIME_ID);
	usleep(sleep_ms * 1000);
	return NULL;
}

static void threads_run(unsigned n, uint64_t ns)
{
	pthread_t threads[THREADS_LIMIT];
	struct share shares[THREADS_LIMIT];

	for (unsigned i = 0; i < n; i++) {
		shares[i] = (struct share){i, ns};
		MUST(-pthread_create(&threads[i], NULL, thread_run, &shares[i]));
	}
	for (unsigned i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
}

static void child_run(uint64_t ns)
{
	uint64_t begin_ns = clock_now(CLOCK_MONOTONIC);
	char buf[CHILD_BYTES] = {0};

	tell_write(null_fd, buf, sizeof(buf));
	burn_until(CLOCK_PROCESS_CPUTIME_ID, ns);
	add(&sums->child_life_ns, clock_now(CLOCK_MONOTONIC) - begin_ns);
	add(&sums->child_cpu_ns, clock_now(CLOCK_PROCESS_CPUTIME_ID));
	_exit(0);
}

static void children_run(unsigned n, unsigned at_once, uint64_t ns)
{
	unsigned running = 0;

	for (unsigned i = 0; i < n; i++) {
		if (running == at_once) {
			MUST(wait(NULL));
			running--;
		}
		if (MUST(fork()) == 0)
			child_run(ns);
		running++;
	}
	while (running--)
		MUST(wait(NULL));
}

static void memory_touch(size_t bytes)
{
	char *p = bytes ? malloc(bytes) : NULL;

	for (size_t i = 0; i < bytes; i += 4096)
		((volatile char *)p)[i] = 1;
}

static void file_write(const char *path, size_t bytes)
{
	static char block[64 * 1024];
	int fd = MUST(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));

	for (size_t n; bytes; bytes -= n) {
		n = bytes < sizeof(block) ? bytes : sizeof(block);
		tell_write(fd, block, n);
	}
	close(fd);
}

static void tell_all(unsigned threads, unsigned children)
{
	char line[TOLD_BYTES + 1], text[512], cpus[512] = "";
	size_t at = 0;
	ssize_t n;

	for (unsigned i = 0; i < threads && at < sizeof(cpus) - 24; i++)
		at += snprintf(cpus + at, sizeof(cpus) - at, "%s%llu", i ? "," : "",
			       (unsigned long long)thread_cpu_ns[i]);
	/* a page of the output becomes dirty now, so that the last write adds nothing to `write_bytes` */
	memset(line, ' ', TOLD_BYTES);
	tell_write(1, line, TOLD_BYTES);
	io_text(text, sizeof(text), &n);
	snprintf(line, sizeof(line),
		 "{\"threads_ns\":[%s],\"cpu_ns\":%llu,\"children\":%u,\"children_ns\":%llu,"
		 "\"children_lived_ns\":%llu,\"rchar\":%llu,\"wchar\":%llu,\"syscr\":%llu,"
		 "\"syscw\":%llu,\"read_bytes\":%llu,\"write_bytes\":%llu}",
		 cpus, (unsigned long long)clock_now(CLOCK_PROCESS_CPUTIME_ID), children,
		 (unsigned long long)sums->child_cpu_ns, (unsigned long long)sums->child_life_ns,
		 (unsigned long long)sums->rchar + n, (unsigned long long)sums->wchar + TOLD_BYTES,
		 (unsigned long long)sums->syscr + 1, (unsigned long long)sums->syscw + 1,
		 (unsigned long long)kernel_count(text, "\nread_bytes: "),
		 (unsigned long long)kernel_count(text, "\nwrite_bytes: "));
	n = strlen(line);
	memset(line + n, ' ', TOLD_BYTES - 1 - n);
	line[TOLD_BYTES - 1] = '\n';
	MUST(write(1, line, TOLD_BYTES));
}

int main(int argc, char **argv)
{
	unsigned threads = 0, children = 0, at_once = 2;
	uint64_t own_ms = 0, each_ms = 5, mb = 0, bytes = 0;
	const char *file = NULL;
	int c;

	begin();
	while ((c = getopt(argc, argv, "t:o:s:n:p:c:m:f:w:")) != -1) {
		switch (c) {
		case 't':
			threads = strtoul(optarg, NULL, 10);
			break;
		case 'o':
			own_ms = strtoull(optarg, NULL, 10);
			break;
		case 's':
			sleep_ms = strtoul(optarg, NULL, 10);
			break;
		case 'n':
			children = strtoul(optarg, NULL, 10);
			break;
		case 'p':
			at_once = strtoul(optarg, NULL, 10);
			break;
		case 'c':
			each_ms = strtoull(optarg, NULL, 10);
			break;
		case 'm':
			mb = strtoull(optarg, NULL, 10);
			break;
		case 'f':
			file = optarg;
			break;
		case 'w':
			bytes = strtoull(optarg, NULL, 10);
			break;
		default:
			return 2;
		}
	}
	if (threads > THREADS_LIMIT || !at_once)
		return 2;
	memory_touch(mb << 20);
	threads_run(threads, own_ms * 1000000);
	children_run(children, at_once, each_ms * 1000000);
	if (file)
		file_write(file, bytes);
	tell_all(threads, children);
	return 0;
}
