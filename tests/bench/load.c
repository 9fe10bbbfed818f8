/* SPDX-License-Identifier: MIT */
/*
 * The workloads that the benchmarks time and that no test needs. Each prints one JSON object: how
 * many operations it did, and nanoseconds of wall time and of CPU time (its own and its children's)
 * for each of them, and the largest resident set of a child.
 *
 *   load hold PROGRAM [ARGUMENTS]  waits for a line on standard input, then becomes PROGRAM
 *   load timed PROGRAM [ARGUMENTS] the same, and is measured
 *   load spawn N PROGRAM           N times vfork, exec with four arguments, wait
 *   load getuid N                  N system calls that no tracer cares about
 *   load files N DIRECTORY         N times open, write, close, of a hundred files
 *   load paced RATE SECONDS        RATE socket calls per second, half sends, half receives
 *   load crowd N                   N sleeping children until standard input ends
 *   load now                       what the monotonic clock says
 */
#include <arpa/inet.h>
#include <err.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NSEC_PER_SEC 1000000000ULL
#define WARM_UP      50

extern char **environ;

struct times {
	uint64_t wall_ns;
	uint64_t cpu_ns;
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

static uint64_t timeval_ns(struct timeval tv)
{
	return tv.tv_sec * NSEC_PER_SEC + tv.tv_usec * 1000;
}

static uint64_t usage_ns(int who)
{
	struct rusage ru;

	getrusage(who, &ru);
	return timeval_ns(ru.ru_utime) + timeval_ns(ru.ru_stime);
}

static struct times times_now(void)
{
	return (struct times){now_ns(), usage_ns(RUSAGE_SELF) + usage_ns(RUSAGE_CHILDREN)};
}

static void report(unsigned long n, struct times since)
{
	struct times now = times_now();
	struct rusage children;

	getrusage(RUSAGE_CHILDREN, &children);
	printf("{\"pid\":%d,\"n\":%lu,\"ns\":%.1f,\"cpu_ns\":%.1f,\"max_rss_kb\":%ld}\n", getpid(),
	       n, (double)(now.wall_ns - since.wall_ns) / (double)n,
	       (double)(now.cpu_ns - since.cpu_ns) / (double)n, children.ru_maxrss);
}

static unsigned long number(const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*end || end == text || n < 1 || n > 1000000000)
		errx(2, "'%s' is not a number from 1 to 1000000000", text);
	return n;
}

/* ---- hold ---- */

static void wait_for_line(void)
{
	char c = 0;

	while (c != '\n') {
		if (read(STDIN_FILENO, &c, 1) != 1)
			exit(1);
	}
}

static int hold(char **args)
{
	wait_for_line();
	execvp(args[0], args);
	err(1, "%s", args[0]);
}

static int timed(char **args)
{
	struct times begin;
	int status;
	pid_t pid;

	wait_for_line();
	begin = times_now();
	pid = fork();
	if (pid < 0)
		err(1, "fork");
	if (!pid) {
		execvp(args[0], args);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) < 0 || status)
		errx(1, "%s failed", args[0]);
	report(1, begin);
	return 0;
}

/* ---- spawn ---- */

static void spawn(char *program)
{
	char *args[] = {program, "one", "two", "three", "four", NULL};
	int status;
	pid_t pid = vfork();

	if (pid < 0)
		err(1, "vfork");
	if (!pid) {
		execve(program, args, environ);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) < 0 || status)
		errx(1, "%s failed", program);
}

static int spawn_many(char **args)
{
	unsigned long n = number(args[0]);
	struct times begin;

	for (unsigned i = 0; i < WARM_UP; i++)
		spawn(args[1]);
	begin = times_now();
	for (unsigned long i = 0; i < n; i++)
		spawn(args[1]);
	report(n, begin);
	return 0;
}

/* ---- getuid ---- */

static int getuid_many(char **args)
{
	unsigned long n = number(args[0]);
	struct times begin = times_now();

	for (unsigned long i = 0; i < n; i++)
		syscall(SYS_getuid);
	report(n, begin);
	return 0;
}

/* ---- files ---- */

#define FILES 100

static void file_write(char *path)
{
	static const char bytes[100];
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, bytes, sizeof(bytes)) != sizeof(bytes) || close(fd))
		err(1, "%s", path);
}

static int write_files(char **args)
{
	unsigned long n = number(args[0]);
	char paths[FILES][512];
	struct times begin;

	for (unsigned i = 0; i < FILES; i++)
		snprintf(paths[i], sizeof(paths[i]), "%s/storm-%u", args[1], i);
	begin = times_now();
	for (unsigned long i = 0; i < n; i++)
		file_write(paths[i % FILES]);
	report(n, begin);
	return 0;
}

/* ---- paced ---- */

struct pair {
	int from, to;
};

static struct pair pair_open(void)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);
	int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct pair p = {.from = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};

	if (listener < 0 || bind(listener, (struct sockaddr *)&addr, len) ||
	    getsockname(listener, (struct sockaddr *)&addr, &len) || listen(listener, 1) ||
	    connect(p.from, (struct sockaddr *)&addr, len))
		err(1, "cannot connect");
	p.to = accept(listener, NULL, NULL);
	if (p.to < 0)
		err(1, "accept");
	setsockopt(p.from, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	close(listener);
	return p;
}

static void pair_pass(struct pair p)
{
	char bytes[100] = "";

	if (send(p.from, bytes, sizeof(bytes), 0) != sizeof(bytes) ||
	    recv(p.to, bytes, sizeof(bytes), MSG_WAITALL) != sizeof(bytes))
		err(1, "cannot pass bytes");
}

static void sleep_until(uint64_t ns)
{
	struct timespec ts = {ns / NSEC_PER_SEC, ns % NSEC_PER_SEC};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL))
		;
}

static int paced(char **args)
{
	unsigned long rate = number(args[0]), seconds = number(args[1]);
	unsigned long pairs = rate * seconds / 2;
	struct pair p = pair_open();
	struct times begin = times_now();

	for (unsigned long i = 0; i < pairs; i++) {
		pair_pass(p);
		sleep_until(begin.wall_ns + (i + 1) * 2 * NSEC_PER_SEC / rate);
	}
	report(2 * pairs, begin);
	return 0;
}

/* ---- crowd ---- */

static void sleep_with(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
	for (;;)
		pause();
}

static int crowd(char **args)
{
	unsigned long n = number(args[0]);
	pid_t self = getpid();
	char c;

	signal(SIGCHLD, SIG_IGN);
	for (unsigned long i = 0; i < n; i++) {
		pid_t pid = fork();

		if (pid < 0)
			err(1, "fork");
		if (!pid)
			sleep_with(self);
	}
	printf("{\"pid\":%d,\"n\":%lu}\n", self, n);
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	return 0; /* the children die with this process */
}

/* ---- now ---- */

static int tell_time(char **args)
{
	printf("{\"ns\":%llu}\n", (unsigned long long)now_ns());
	return 0;
}

static const struct mode {
	const char *name;
	int min_args;
	int (*run)(char **args);
} modes[] = {
	{"hold", 1, hold},          {"timed", 1, timed},       {"spawn", 2, spawn_many},
	{"getuid", 1, getuid_many}, {"files", 2, write_files}, {"paced", 2, paced},
	{"crowd", 1, crowd},        {"now", 0, tell_time},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (!strcmp(argv[1], modes[i].name) && argc - 2 >= modes[i].min_args)
			return modes[i].run(argv + 2);
	}
	errx(2, "usage: load hold|timed|spawn|getuid|files|paced|crowd|now ARGUMENTS");
}
