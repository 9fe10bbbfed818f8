/* SPDX-License-Identifier: MIT */
/* Starting and ending agentsight and the workloads. */
#include "live.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_ARGS 64

static char *absolute(const char *path)
{
	char *real = realpath(path, NULL);

	CHECK(real, "there is no %s", path);
	return real;
}

/* ---- workloads ---- */

char *workload_path(const char *name)
{
	const char *top = getenv("LIVE_WORKLOADS");
	char *path = live_printf("%s/%s", top ? top : "out/tests/workloads", name);

	if (access(path, X_OK) < 0)
		live_skip("there is no workload %s", path);
	return absolute(path);
}

static int create(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	CHECK(fd >= 0, "cannot make %s: %s", path, strerror(errno));
	return fd;
}

static _Noreturn void become(char *const argv[], int gate_fd, int out_fd)
{
	char byte;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(out_fd, STDOUT_FILENO);
	if (read(gate_fd, &byte, 1) != 1)
		_exit(126);
	signal(SIGPIPE, SIG_DFL);
	execv(argv[0], argv);
	_exit(127);
}

void workload_hold_argv(struct workload *w, char *const argv[])
{
	static unsigned number;
	int gate[2], out_fd;

	*w = (struct workload){.out = live_printf("%s/expected.%u", live_dir(), number++)};
	out_fd = create(w->out);
	CHECK(!pipe2(gate, O_CLOEXEC), "pipe: %s", strerror(errno));
	w->pid = fork();
	CHECK(w->pid >= 0, "fork: %s", strerror(errno));
	if (w->pid == 0) {
		close(gate[1]);
		become(argv, gate[0], out_fd);
	}
	close(gate[0]);
	close(out_fd);
	w->gate_fd = gate[1];
}

void workload_hold(struct workload *w, ...)
{
	char *argv[MAX_ARGS + 1];
	size_t n = 0;
	va_list ap;

	va_start(ap, w);
	while (n < MAX_ARGS && (argv[n] = va_arg(ap, char *)))
		n++;
	va_end(ap);
	argv[n] = NULL;
	if (!strchr(argv[0], '/'))
		argv[0] = workload_path(argv[0]);
	workload_hold_argv(w, argv);
}

void workload_release(struct workload *w)
{
	CHECK(write(w->gate_fd, "", 1) == 1, "the workload is gone");
	close(w->gate_fd);
	w->gate_fd = -1;
}

void workload_wait(struct workload *w)
{
	CHECK(wait4(w->pid, &w->status, 0, &w->usage) == w->pid, "wait4: %s", strerror(errno));
}

void workload_finish(struct workload *w)
{
	workload_release(w);
	workload_wait(w);
	CHECK(w->status == 0, "the workload failed with status %#x", w->status);
}

/* ---- agentsight ---- */

char *sight_program(void)
{
	const char *path = getenv("AGENTSIGHT");

	return absolute(path ? path : "./agentsight");
}

void sight_launch(struct sight *s, int out_fd, char *const argv[])
{
	static unsigned number;
	int err_fd;

	s->err = live_printf("%s/messages.%u", live_dir(), number);
	if (!s->out)
		s->out = live_printf("%s/events.%u.json", live_dir(), number);
	number++;
	err_fd = create(s->err);
	if (out_fd < 0)
		out_fd = create(s->out);
	s->pid = fork();
	CHECK(s->pid >= 0, "fork: %s", strerror(errno));
	if (s->pid)
		return;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_DFL);
	dup2(out_fd, STDOUT_FILENO);
	dup2(err_fd, STDERR_FILENO);
	execv(argv[0], argv);
	_exit(127);
}

void sight_start(struct sight *s, ...)
{
	static unsigned number;
	char *argv[MAX_ARGS + 5] = {sight_program()};
	int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	size_t n = 1;
	va_list ap;

	*s = (struct sight){.out = live_printf("%s/recording.%u.json", live_dir(), number++)};
	va_start(ap, s);
	argv[n++] = va_arg(ap, char *);
	argv[n++] = (char *)"-v"; /* which says when it watches */
	argv[n++] = live_printf("--output=%s", s->out);
	while (n < MAX_ARGS && (argv[n] = va_arg(ap, char *)))
		n++;
	va_end(ap);
	argv[n] = NULL;
	sight_launch(s, null_fd, argv);
	close(null_fd);
	sight_wait_ready(s);
}

static bool is_ready(void *context)
{
	struct sight *s = context;
	char *text;
	int status;
	bool yes;

	if (waitpid(s->pid, &status, WNOHANG) == s->pid)
		live_fail("agentsight ended with status %#x: %s", status, sight_messages(s));
	text = sight_messages(s);
	yes = strstr(text, "watching\n") != NULL;
	free(text);
	return yes;
}

void sight_wait_ready(struct sight *s)
{
	live_wait("agentsight to watch", is_ready, s, 30);
}

/* Its children with it, where it has some: which of them reads the rings is its own business. */
static void signal_all(pid_t pid, int sig)
{
	FILE *f = fopen(live_printf("/proc/%d/task/%d/children", pid, pid), "re");
	pid_t child;

	CHECK(!kill(pid, sig), "kill: %s", strerror(errno));
	while (f && fscanf(f, "%d", &child) == 1)
		signal_all(child, sig);
	if (f)
		fclose(f);
}

void sight_pause(const struct sight *s)
{
	signal_all(s->pid, SIGSTOP);
}

void sight_resume(const struct sight *s)
{
	signal_all(s->pid, SIGCONT);
}

void sight_wait(struct sight *s)
{
	CHECK(waitpid(s->pid, &s->status, 0) == s->pid, "waitpid: %s", strerror(errno));
}

void sight_stop(struct sight *s)
{
	kill(s->pid, SIGINT);
	sight_wait(s);
	CHECK(WIFEXITED(s->status) && !WEXITSTATUS(s->status),
	      "agentsight ended with status %#x: %s", s->status, sight_messages(s));
}

char *sight_messages(const struct sight *s)
{
	return live_read_file(s->err);
}
