/* SPDX-License-Identifier: MIT */
/*
 * The corners of a process's life. Each scenario does one thing and prints the fork, exec and exit
 * events of all processes it made; how they ended is what the kernel told their parent.
 *
 *	life SCENARIO
 *	life end CODE		ends with CODE
 *	life waits		ends with 6 at SIGUSR1
 *	life holds PROGRAM	starts `PROGRAM waits` and passes SIGUSR1 on
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "tell.h"

static char self[4096];

/* ---- helpers ---- */

static pid_t child_start(void (*run)(void))
{
	pid_t pid = MUST(fork());

	if (pid == 0) {
		run();
		_exit(0);
	}
	tell_fork(getpid(), pid);
	return pid;
}

static void child_end(pid_t pid)
{
	int status;

	MUST(waitpid(pid, &status, 0));
	tell_exit(pid, status);
}

static void exec_end(const char *code)
{
	char *argv[] = {(char *)"life", (char *)"end", (char *)code, NULL};

	tell_exec(getpid(), getppid(), self, argv);
	execv(self, argv);
	abort();
}

static void *start_thread(void *(*run)(void *))
{
	pthread_t t;

	if (pthread_create(&t, NULL, run, NULL))
		abort();
	return NULL;
}

/* The leader has become a zombie. */
static void wait_leader_ended(void)
{
	char path[64], stat[512], *state;

	snprintf(path, sizeof(path), "/proc/%d/stat", getpid());
	do {
		FILE *f = fopen(path, "re");

		if (!f || !fgets(stat, sizeof(stat), f))
			abort();
		fclose(f);
		state = strrchr(stat, ')') + 2;
		sched_yield();
	} while (*state != 'Z');
}

/* ---- threads ---- */

static void *exec_in_thread(void *arg)
{
	exec_end("7");
	return NULL;
}

static void thread_execs(void)
{
	start_thread(exec_in_thread);
	for (;;)
		pause();
}

static void *end_group_with_5(void *arg)
{
	wait_leader_ended();
	exit(5);
}

static void leader_ends_first(void)
{
	start_thread(end_group_with_5);
	syscall(SYS_exit, 0);
}

static void *end_thread_with_0(void *arg)
{
	wait_leader_ended();
	syscall(SYS_exit, 0);
	return NULL;
}

static void leader_ends_with_3(void)
{
	start_thread(end_thread_with_0);
	syscall(SYS_exit, 3);
}

static void *end_thread(void *arg)
{
	syscall(SYS_exit, 9);
	return NULL;
}

static void threads_end(void)
{
	pthread_t t[20];

	for (int i = 0; i < 20; i++)
		pthread_create(&t[i], NULL, end_thread, NULL);
	for (int i = 0; i < 20; i++)
		pthread_join(t[i], NULL);
	_exit(4);
}

/* ---- processes ---- */

static void nothing(void)
{
}

static void wait_forever(void)
{
	for (;;)
		pause();
}

static void exec_twice(void)
{
	char *argv[] = {(char *)"life", (char *)"again", (char *)"42", NULL};

	tell_exec(getpid(), getppid(), self, argv);
	argv[1] = (char *)"end";
	tell_exec(getpid(), getppid(), self, argv);
	argv[1] = (char *)"again";
	execv(self, argv);
}

static void exec_fails(void)
{
	char *argv[] = {(char *)"none", NULL};

	execv("/nonexistent/none", argv);
	execv("/proc", argv);
	_exit(6);
}

static void make_sibling(void)
{
	pid_t parent = getppid(), pid;

	pid = MUST(syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0));
	if (pid == 0)
		_exit(11);
	tell("{\"source\":\"process\",\"pid\":%d,\"data\":{\"type\":\"fork\",\"child_pid\":%d,"
	     "\"ppid\":%d}}\n",
	     getpid(), pid, parent);
}

static int orphan_pipe[2];

static void orphan(void)
{
	char byte;

	/* the parent is gone when its end of the pipe is */
	close(orphan_pipe[1]);
	if (read(orphan_pipe[0], &byte, 1) != 0)
		abort();
	_exit(12);
}

static void leave_orphan(void)
{
	pid_t pid = child_start(orphan);

	tell_exit(pid, 12 << 8);
}

/* ---- scenarios ---- */

static void run_child(void (*run)(void))
{
	child_end(child_start(run));
}

static void scenario_thread_execs(void)
{
	run_child(thread_execs);
}

static void scenario_leader_first(void)
{
	run_child(leader_ends_first);
}

static void scenario_leader_code(void)
{
	run_child(leader_ends_with_3);
}

static void scenario_threads_end(void)
{
	run_child(threads_end);
}

static void scenario_fork_only(void)
{
	run_child(nothing);
}

static void scenario_killed(void)
{
	pid_t pid = child_start(wait_forever);

	MUST(kill(pid, SIGKILL));
	child_end(pid);
}

static void scenario_double_exec(void)
{
	run_child(exec_twice);
}

static void scenario_failed_exec(void)
{
	run_child(exec_fails);
}

static void scenario_vfork(void)
{
	char *argv[] = {(char *)"life", (char *)"end", (char *)"8", NULL};
	pid_t pid = vfork();

	if (pid == 0) {
		execv(self, argv);
		_exit(127);
	}
	tell_fork(getpid(), pid);
	tell_exec(pid, getpid(), self, argv);
	child_end(pid);
}

static void scenario_sibling(void)
{
	int status;
	pid_t first = child_start(make_sibling), pid;

	for (int i = 0; i < 2; i++) {
		pid = MUST(wait(&status));
		/* the other one is known only by its number */
		if (pid != first && WEXITSTATUS(status) != 11)
			abort();
		tell_exit(pid, status);
	}
}

static void scenario_orphan(void)
{
	pid_t middle, other;
	int status;

	/* the orphan comes back here, so that its end can be waited for */
	MUST(prctl(PR_SET_CHILD_SUBREAPER, 1));
	MUST(pipe(orphan_pipe));
	middle = child_start(leave_orphan);
	MUST(waitpid(middle, &status, 0));
	tell_exit(middle, status);
	close(orphan_pipe[0]);
	close(orphan_pipe[1]);
	other = MUST(wait(&status));
	(void)other;
}

/* What the sums of the exit event must be: nothing but these two calls moves bytes. */
static void move_bytes(void)
{
	static char block[1 << 20];
	int zero = MUST(open("/dev/zero", O_RDONLY)), null = MUST(open("/dev/null", O_WRONLY));

	MUST(read(zero, block, sizeof(block)));
	MUST(read(zero, block, 4321));
	MUST(write(null, block, 777777));
	_exit(0);
}

static void scenario_moved_bytes(void)
{
	pid_t pid = child_start(move_bytes);
	int status;

	MUST(waitpid(pid, &status, 0));
	tell("{\"source\":\"process\",\"pid\":%d,\"data\":{\"type\":\"exit\",\"exit_code\":0,"
	     "\"rchar\":%d,\"wchar\":777777}}\n",
	     pid, (1 << 20) + 4321);
}

/* ---- for those who start it ---- */

static void wait_for_signal(void)
{
	sigset_t set;
	int number;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigwait(&set, &number);
}

static int hold(char *program)
{
	char *argv[] = {program, (char *)"waits", NULL};
	sigset_t set;
	pid_t pid;

	/* blocked from before the exec on, or a signal that comes early would end the child */
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	pid = MUST(fork());
	if (pid == 0) {
		execv(program, argv);
		_exit(127);
	}
	wait_for_signal();
	MUST(kill(pid, SIGUSR1));
	MUST(waitpid(pid, NULL, 0));
	return 0;
}

static const struct {
	const char *name;
	void (*run)(void);
} scenarios[] = {
	{"thread-execs", scenario_thread_execs},
	{"leader-first", scenario_leader_first},
	{"leader-code", scenario_leader_code},
	{"threads-end", scenario_threads_end},
	{"fork-only", scenario_fork_only},
	{"killed", scenario_killed},
	{"double-exec", scenario_double_exec},
	{"failed-exec", scenario_failed_exec},
	{"vfork", scenario_vfork},
	{"sibling", scenario_sibling},
	{"orphan", scenario_orphan},
	{"moved-bytes", scenario_moved_bytes},
};

int main(int argc, char **argv)
{
	self[MUST(readlink("/proc/self/exe", self, sizeof(self) - 1))] = '\0';
	if (argc == 3 && !strcmp(argv[1], "end"))
		return atoi(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "again")) {
		argv[1] = (char *)"end";
		execv(self, argv);
		return 127;
	}
	if (argc == 3 && !strcmp(argv[1], "holds"))
		return hold(argv[2]);
	if (argc == 2 && !strcmp(argv[1], "waits")) {
		wait_for_signal();
		return 6;
	}
	for (size_t i = 0; argc == 2 && i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
		if (strcmp(scenarios[i].name, argv[1]))
			continue;
		tell_begin();
		scenarios[i].run();
		tell_end();
		return 0;
	}
	fprintf(stderr, "life: no such scenario\n");
	return 2;
}
