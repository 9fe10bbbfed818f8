/* SPDX-License-Identifier: MIT */
/*
 * Makes known numbers of system calls, or waits in known ways, and prints what that was as one JSON object:
 *
 *   calls count [PAUSE_MS]   {"getuid":{"count":N,"errors":0},"fchdir":{"count":N,"errors":N,"errno":"EBADF"},...}
 *   calls wait               {"sleep":{"count":N,"time_ns":T},"lock":...}: by reason
 *   calls hang               prints "waiting", then waits in poll() until it is killed
 *   calls execs N            is exec'd N times, each time by a thread, prints {"execve":...} and waits to be killed
 *   calls exec-wait          the same line for a program that waits, which a thread has exec'd
 */
#include "tell.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

#define MS 1000000L

/* ---- count ---- */

#define THREADS 4
#define EACH    20000

static void *call_getuid(void *arg)
{
	for (int i = 0; i < EACH; i++)
		syscall(SYS_getuid);
	return NULL;
}

/* All that fail, so that nothing else is told apart by luck. */
static void fail_some(void)
{
	for (int i = 0; i < 700; i++)
		syscall(SYS_fchdir, -1);
	for (int i = 0; i < 500; i++)
		syscall(SYS_openat, AT_FDCWD, "/nonexistent/file", O_RDONLY);
	for (int i = 0; i < 30; i++)
		syscall(SYS_openat, -1, "file", O_RDONLY);
	for (int i = 0; i < 3; i++)
		syscall(SYS_openat, AT_FDCWD, "", O_RDONLY);
	for (int i = 0; i < 20; i++)
		syscall(500);
	for (int i = 0; i < 10; i++)
		syscall(-1);
}

static void count(long pause_ms)
{
	struct timespec pause = {pause_ms / 1000, pause_ms % 1000 * MS};
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, call_getuid, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	fail_some();
	if (pause_ms)
		nanosleep(&pause, NULL);
	call_getuid(NULL);
	for (int i = 0; i < 1000; i++)
		syscall(SYS_getsid, 0);

	tell("{\"getuid\":{\"count\":%d,\"errors\":0},\"getsid\":{\"count\":1000,\"errors\":0},"
	     "\"fchdir\":{\"count\":700,\"errors\":700,\"errno\":{\"EBADF\":700}},"
	     "\"openat\":{\"count\":533,\"errors\":533,\"errno\":{\"ENOENT\":503,\"EBADF\":30}},"
	     "\"nr_500\":{\"count\":20,\"errors\":20,\"errno\":{\"ENOSYS\":20}},"
	     "\"unknown\":{\"count\":10,\"errors\":10,\"errno\":{\"ENOSYS\":10}}}\n",
	     (THREADS + 1) * EACH);
}

/* ---- wait ---- */

enum reason {
	SLEEP,
	LOCK,
	POLL,
	PIPE,
	SOCKET,
	CHILD,
	REASONS,
};

static const char *const reason_names[REASONS] = {"sleep", "lock",   "poll",
						  "pipe",  "socket", "child"};

static struct {
	long count;
	long time_ns;
} sums[REASONS];

static int pipe_fds[2], socket_fds[2];
static int left = 6;

static long now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000L + ts.tv_nsec;
}

static long switches(void)
{
	struct rusage u;

	getrusage(RUSAGE_THREAD, &u);
	return u.ru_nvcsw;
}

/* One call: whether it waited, and how long it took. A page fault may give up the processor on the way. */
#define WAIT(reason, call)                                                                      \
	do {                                                                                    \
		long _n = switches(), _begin = now_ns();                                        \
		call;                                                                           \
		__atomic_add_fetch(&sums[reason].time_ns, now_ns() - _begin, __ATOMIC_SEQ_CST); \
		__atomic_add_fetch(&sums[reason].count, switches() > _n, __ATOMIC_SEQ_CST);     \
	} while (0)

static void thread_done(void)
{
	if (__atomic_sub_fetch(&left, 1, __ATOMIC_SEQ_CST) == 0)
		kill(getpid(), SIGUSR1);
}

static void nap(long ms)
{
	struct timespec ts = {0, ms * MS};

	WAIT(SLEEP, nanosleep(&ts, NULL));
}

static void *sleeper(void *arg)
{
	for (int i = 0; i < 10; i++)
		nap(30);
	thread_done();
	return NULL;
}

static void *locker(void *arg)
{
	struct timespec ts = {0, 40 * MS};
	int word = 0;

	for (int i = 0; i < 8; i++)
		WAIT(LOCK, syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &ts, NULL, 0));
	thread_done();
	return NULL;
}

static void *poller(void *arg)
{
	struct epoll_event ev;
	struct pollfd none = {.fd = -1};
	int fd = epoll_create1(0);

	for (int i = 0; i < 5; i++) {
		WAIT(POLL, poll(&none, 1, 50));
		WAIT(POLL, epoll_wait(fd, &ev, 1, 20));
	}
	thread_done();
	return NULL;
}

static void *reader(void *arg)
{
	char c;

	for (int i = 0; i < 8; i++) {
		WAIT(PIPE, MUST(read(pipe_fds[0], &c, 1)));
		WAIT(SOCKET, MUST(recv(socket_fds[0], &c, 1, 0)));
	}
	thread_done();
	return NULL;
}

static void *feeder(void *arg)
{
	for (int i = 0; i < 8; i++) {
		nap(35);
		MUST(write(pipe_fds[1], "x", 1));
		nap(25);
		MUST(send(socket_fds[1], "x", 1, 0));
	}
	thread_done();
	return NULL;
}

static void *parent(void *arg)
{
	struct timespec ts = {0, 150 * MS};
	int status;
	pid_t pid = MUST(fork());

	if (!pid) {
		nanosleep(&ts, NULL);
		_exit(0);
	}
	WAIT(CHILD, MUST(waitpid(pid, &status, 0)));
	thread_done();
	return NULL;
}

static void sums_tell(void)
{
	const char *comma = "{";

	for (int i = 0; i < REASONS; i++) {
		if (!sums[i].count)
			continue;
		tell("%s\"%s\":{\"count\":%ld,\"time_ns\":%ld}", comma, reason_names[i],
		     sums[i].count, sums[i].time_ns);
		comma = ",";
	}
	tell("}\n");
}

static void wait_all(void)
{
	void *(*const run[])(void *) = {sleeper, locker, poller, reader, feeder, parent};
	pthread_t thread;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	MUST(pipe(pipe_fds));
	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, socket_fds));
	for (size_t i = 0; i < sizeof(run) / sizeof(*run); i++)
		pthread_create(&thread, NULL, run[i], NULL);
	sigwaitinfo(&set, NULL);

	sums_tell();
}

static void *hanger(void *arg)
{
	poll(NULL, 0, -1);
	return NULL;
}

static void hang(void)
{
	pthread_t thread;

	MUST(write(STDOUT_FILENO, "waiting\n", 8));
	pthread_create(&thread, NULL, hanger, NULL);
	poll(NULL, 0, -1);
}

/* ---- execs by threads ---- */

static void *execer(void *arg)
{
	char *const *argv = arg;

	usleep(20000); /* the first thread waits by now */
	execv("/proc/self/exe", argv);
	exit(1);
}

/* On one processor the first thread has left it for good before the other one takes over its number. */
static void exec_by_thread(char *const argv[])
{
	pthread_t thread;
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	MUST(sched_setaffinity(0, sizeof(one), &one));
	pthread_create(&thread, NULL, execer, (void *)argv);
	for (;;)
		pause();
}

/* One exec was that of the workload itself. */
static void execs(long more, long made, char *self)
{
	char more_text[24], made_text[24];

	snprintf(more_text, sizeof(more_text), "%ld", more - 1);
	snprintf(made_text, sizeof(made_text), "%ld", made + 1);
	if (more)
		exec_by_thread((char *[]){self, "execs", more_text, made_text, NULL});
	tell("{\"execve\":{\"count\":%ld,\"errors\":0}}\n", made + 1);
	tell_end();
	pause();
}

/* Longer than what is looked at once a second. */
static void wait_long(void)
{
	WAIT(POLL, poll(NULL, 0, 2500));
	sums_tell();
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	tell_begin();
	if (!strcmp(what, "count"))
		count(argc > 2 ? atol(argv[2]) : 0);
	else if (!strcmp(what, "wait"))
		wait_all();
	else if (!strcmp(what, "hang"))
		hang();
	else if (!strcmp(what, "execs"))
		execs(argc > 2 ? atol(argv[2]) : 20, argc > 3 ? atol(argv[3]) : 0, argv[0]);
	else if (!strcmp(what, "exec-wait"))
		exec_by_thread((char *[]){argv[0], "wait-long", NULL});
	else if (!strcmp(what, "wait-long"))
		wait_long();
	else
		return 2;
	tell_end();
	_exit(0);
}
