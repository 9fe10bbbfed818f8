/* SPDX-License-Identifier: MIT */
/*
 * Makes as many short processes as the machine can: a spawner on each of the first PROCESSORS starts one child after
 * the other, each with its own argument and end. Prints how long one took; who lived stands in LOG, see storm.h.
 *
 *	storm [-n COUNT] [-j PROCESSORS] [-r NUMBERS] LOG
 *
 * With -r the children of a spawner share so many process numbers, which are used again at once; then only
 * one in eight execs. Ends with status 77 where a process may not choose numbers.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>

#include <linux/sched.h>

#include "storm.h"
#include "tell.h"

#define NOT_HERE    77
#define NUMBERS_MAX 4096
#define EXEC_EVERY  8  /* of those with a chosen number */
#define FIRST_REAL  34 /* SIGRTMIN, which is a call */

static const int signals[] = {SIGKILL, SIGTERM, SIGUSR1, SIGPIPE,
			      SIGALRM, SIGHUP,  SIGINT,  FIRST_REAL};

static char self[4096];

/* ---- a child ---- */

/* One in eight dies of a signal, the others have all the statuses there are. */
static _Noreturn void be_child(uint32_t i)
{
	uint32_t mixed = i * 2654435761U;
	int sig = signals[i / 8 % (sizeof(signals) / sizeof(signals[0]))];

	if (i % 8 == 5) {
		signal(sig, SIG_DFL);
		kill(getpid(), sig);
	}
	_exit(mixed >> 8 & 0xff);
}

static _Noreturn void exec_child(uint32_t i)
{
	char number[16];
	char *argv[] = {(char *)"storm", (char *)"child", number, NULL};

	snprintf(number, sizeof(number), "%u", i);
	execve(self, argv, NULL);
	_exit(127);
}

/* Returns when the child has executed its program: all of what fork() costs is the new program's. */
static pid_t start_anywhere(struct life *l)
{
	pid_t pid = vfork();

	l->execs = true;
	if (pid == 0)
		exec_child(l->number);
	return MUST(pid);
}

/* ---- chosen numbers ---- */

static pid_t pool[NUMBERS_MAX];
static size_t pool_n, pool_next;

static pid_t fork_as(pid_t pid)
{
	struct clone_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = (uintptr_t)&pid,
		.set_tid_size = 1,
	};

	return syscall(SYS_clone3, &args, sizeof(args));
}

/* The last numbers there are, which nobody gets before all others have been used. */
static void pool_fill(unsigned k, size_t n)
{
	FILE *f = fopen("/proc/sys/kernel/pid_max", "re");
	long max;

	if (!f || fscanf(f, "%ld", &max) != 1) {
		perror("/proc/sys/kernel/pid_max");
		exit(1);
	}
	fclose(f);
	for (pool_n = 0; pool_n < n; pool_n++)
		pool[pool_n] = max - 1 - k * n - pool_n;
}

/* Somebody else may have the number just now. */
static pid_t start_as_chosen(struct life *l)
{
	pid_t pid;

	l->execs = l->number % EXEC_EVERY == 0;
	do {
		pid = fork_as(pool[pool_next++ % pool_n]);
	} while (pid < 0 && errno == EEXIST);
	if (pid == 0 && l->execs)
		exec_child(l->number);
	if (pid == 0)
		be_child(l->number);
	if (pid < 0 && (errno == EPERM || errno == EINVAL || errno == ENOSYS))
		exit(NOT_HERE);
	return MUST(pid);
}

/* ---- spawners ---- */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static void life_end(struct life *l)
{
	MUST(waitpid(l->pid, &l->status, 0));
	l->ended_ns = now_ns();
}

static _Noreturn void spawn(struct life *l, uint32_t from, uint32_t to)
{
	pid_t ppid = getpid();

	for (uint32_t i = from; i < to; i++, l++) {
		*l = (struct life){
			.number = i, .ppid = ppid, .forked = true, .before_ns = now_ns()};
		l->pid = pool_n ? start_as_chosen(l) : start_anywhere(l);
		l->after_ns = now_ns();
		life_end(l);
	}
	exit(0);
}

static void pin_to(unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	/* where there are fewer processors they share what there is */
	(void)sched_setaffinity(0, sizeof(set), &set);
}

/* Spawner @k of @n, which describes @count lives behind the spawners' own. */
static void spawner_start(struct life *lives, unsigned k, unsigned n, uint32_t count,
			  size_t numbers)
{
	struct life *l = &lives[1 + k];
	uint32_t from = (uint64_t)count * k / n, to = (uint64_t)count * (k + 1) / n;
	pid_t pid;

	*l = (struct life){.ppid = getpid(), .forked = true, .before_ns = now_ns()};
	pool_fill(k, numbers);
	pid = MUST(fork());
	if (pid == 0) {
		pin_to(k);
		spawn(&lives[1 + n + from], from, to);
	}
	l->pid = pid;
	l->after_ns = now_ns();
}

static struct life *log_map(const char *path, size_t n)
{
	int fd = MUST(open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
	struct life *lives;

	MUST(ftruncate(fd, n * sizeof(*lives)));
	lives = mmap(NULL, n * sizeof(*lives), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(lives == MAP_FAILED ? -1 : 0);
	close(fd);
	return lives;
}

static int storm(struct life *lives, unsigned spawners, uint32_t count, size_t numbers)
{
	int status = 0;

	/* this process: nobody saw its fork, and its end is yet to come */
	lives[0] = (struct life){
		.pid = getpid(), .ppid = getppid(), .execs = true, .after_ns = now_ns()};
	for (unsigned k = 0; k < spawners; k++)
		spawner_start(lives, k, spawners, count, numbers);
	for (unsigned k = 0; k < spawners; k++) {
		life_end(&lives[1 + k]);
		if (lives[1 + k].status)
			status = WEXITSTATUS(lives[1 + k].status) ?: 1;
	}
	return status;
}

static int usage(void)
{
	fprintf(stderr, "usage: storm [-n COUNT] [-j PROCESSORS] [-r NUMBERS] LOG\n");
	return 2;
}

int main(int argc, char **argv)
{
	unsigned long count = 10000, spawners = 2, numbers = 0;
	struct life *lives;
	uint64_t since;
	int option;

	if (argc == 3 && !strcmp(argv[1], "child"))
		be_child(strtoul(argv[2], NULL, 10));
	while ((option = getopt(argc, argv, "n:j:r:")) != -1) {
		unsigned long n = option == '?' ? 0 : strtoul(optarg, NULL, 10);

		if (option == 'n')
			count = n;
		else if (option == 'j')
			spawners = n;
		else if (option == 'r')
			numbers = n;
		else
			return usage();
	}
	if (argc != optind + 1 || !spawners || numbers > NUMBERS_MAX)
		return usage();
	self[MUST(readlink("/proc/self/exe", self, sizeof(self) - 1))] = '\0';
	lives = log_map(argv[optind], 1 + spawners + count);
	since = now_ns();
	option = storm(lives, spawners, count, numbers);
	printf("{\"spawned\":%lu,\"ns_each\":%llu}\n", count,
	       (unsigned long long)((now_ns() - since) / (count ? count : 1)));
	return option;
}
