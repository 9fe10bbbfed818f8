/* SPDX-License-Identifier: MIT */
/*
 * A child takes more memory than its cgroup has. Prints the `oom_kill` and `exit` events of that child;
 * ends with 3 when nobody killed it.
 *
 *	oom CGROUP-DIRECTORY MIB
 */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>

#include "tell.h"

#define MIB   (1UL << 20)
#define SCORE "300"

static void file_write(const char *dir, const char *name, const char *text)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = MUST(open(path, O_WRONLY));
	MUST(write(fd, text, strlen(text)));
	MUST(close(fd));
}

static void child_main(const char *cgroup, size_t size)
{
	char pid[16];
	char *p;

	snprintf(pid, sizeof(pid), "%d", getpid());
	file_write("/proc/self", "oom_score_adj", SCORE);
	file_write(cgroup, "cgroup.procs", pid);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		_exit(2);
	for (size_t i = 0; i < size; i += 4096)
		((volatile char *)p)[i] = 1;
	_exit(3);
}

int main(int argc, char **argv)
{
	int status;
	pid_t pid;

	if (argc != 3)
		return 2;
	tell_begin();
	pid = MUST(fork());
	if (pid == 0)
		child_main(argv[1], strtoul(argv[2], NULL, 10) * MIB);
	tell_fork(getpid(), pid);
	tell("{\"source\":\"process\",\"pid\":%d,\"data\":{\"type\":\"oom_kill\","
	     "\"oom_score_adj\":" SCORE "}}\n",
	     pid);
	MUST(waitpid(pid, &status, 0));
	tell_exit(pid, status);
	tell_end();
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? 0 : 3;
}
