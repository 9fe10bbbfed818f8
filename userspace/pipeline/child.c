/* SPDX-License-Identifier: MIT */
#include "pipeline/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "priv/priv.h"

/* What is said to the child at its gate. */
static const char go = 'g', stay = 's';

static void signals_restore(const struct child_signals *found)
{
	sigset_t none;

	if (found) {
		if (found->children_ignored)
			signal(SIGCHLD, SIG_IGN);
		sigprocmask(SIG_SETMASK, &found->blocked, NULL);
		return;
	}
	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* In the child: waits for the word to go, then becomes the command; an end without it is none. */
static _Noreturn void run_command(char **argv, const struct child_files *files,
				  const struct child_signals *signals, int gate_fd, int error_fd)
{
	char byte;
	ssize_t n;
	int error;

	do {
		n = read(gate_fd, &byte, 1);
	} while (n < 0 && errno == EINTR);
	if (n != 1 || byte != go)
		_exit(126);
	signals_restore(signals);
	if (files->out > 0 && dup2(files->out, STDOUT_FILENO) < 0)
		_exit(126);
	if (files->err > 0 && dup2(files->err, STDERR_FILENO) < 0)
		_exit(126);
	execvp(argv[0], argv);
	error = errno;
	if (write(error_fd, &error, sizeof(error)) < 0)
		_exit(126);
	_exit(error == ENOENT ? 127 : 126);
}

static void close_pair(int (*pair)[2])
{
	closep(&(*pair)[0]);
	closep(&(*pair)[1]);
}

int child_hold(char **argv, const struct child_files *files, const struct child_signals *signals,
	       struct child *ret, struct err *e)
{
	_cleanup_(close_pair) int gate[2] = {-1, -1};
	_cleanup_(close_pair) int error[2] = {-1, -1};
	pid_t pid;

	/* a socket, since writing to a pipe whose reader was killed would raise SIGPIPE */
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, gate) < 0 ||
	    pipe2(error, O_CLOEXEC) < 0)
		return err_set(e, -errno, "cannot make a pipe: %s", strerror(errno));
	pid = fork();
	if (pid < 0)
		return err_set(e, -errno, "cannot fork: %s", strerror(errno));
	if (pid == 0) {
		close(gate[1]);
		close(error[0]);
		run_command(argv, files, signals, gate[0], error[1]);
	}
	*ret = (struct child){
		.pid = pid,
		.gate_fd = TAKE_FD(gate[1]),
		.pid_fd = syscall(SYS_pidfd_open, pid, 0),
		.error_fd = TAKE_FD(error[0]),
	};
	/* nothing else would tell us of its end; child_done() takes it back */
	if (ret->pid_fd < 0)
		return err_set(e, -errno, "cannot watch the command: %s", strerror(errno));
	return 0;
}

/* An end of the child that came first is told by its status. */
static int open_gate(struct child *c)
{
	ssize_t n;

	do {
		n = send(c->gate_fd, &go, 1, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 && errno != EPIPE && errno != ECONNRESET ? -errno : 0;
}

int child_release(struct child *c, const char *name, struct err *e)
{
	int error, r = open_gate(c);
	ssize_t n;

	if (r < 0)
		return err_set(e, r, "cannot let '%s' go: %s", log_safe(name), strerror(-r));
	closep(&c->gate_fd);
	c->gate_fd = -1;
	/* execve() closes the other end; bytes arrive only when it failed */
	do {
		n = read(c->error_fd, &error, sizeof(error));
	} while (n < 0 && errno == EINTR);
	if (n == sizeof(error))
		return err_set(e, -error, "cannot start '%s': %s", log_safe(name), strerror(error));
	return 0;
}

void child_look(struct child *c, struct child_end *ret)
{
	pid_t pid;

	if (!c->pid || ret->ended)
		return;
	do {
		pid = wait4(c->pid, &ret->status, WNOHANG, &ret->used);
	} while (pid < 0 && errno == EINTR);
	/* with SIGCHLD ignored the kernel reaps it; the number may be another process's by now */
	ret->unknown = pid < 0 && errno == ECHILD;
	ret->ended = pid == c->pid || ret->unknown;
	c->reaped = ret->ended;
}

/* By its descriptor, which never means another process. */
static int send_signal(const struct child *c, int signal)
{
	return syscall(SYS_pidfd_send_signal, c->pid_fd, signal, NULL, 0) < 0 ? -errno : 0;
}

static int serve_signal(void *ctx, const struct peer_request *rq, struct peer_answer *ret)
{
	return rq->len == sizeof(int) ? send_signal(ctx, *(const int *)rq->data) : -EINVAL;
}

void child_offer(struct child *c)
{
	priv_offer(PRIV_SIGNAL, serve_signal, c);
}

int child_signal(const struct child *c, int signal)
{
	int r;

	if (priv_is_split())
		r = priv_call(&(struct peer_request){.service = PRIV_SIGNAL,
						     .data = &signal,
						     .len = sizeof(signal)},
			      NULL);
	else
		r = send_signal(c, signal);
	return r == -ESRCH ? 0 : r;
}

void child_done(struct child *c)
{
	bool held = c->gate_fd >= 0;

	if (!c->pid)
		return;
	/* without a word it ends by itself, but not while a helper that was forked meanwhile has the gate open, too */
	if (held)
		send(c->gate_fd, &stay, 1, MSG_NOSIGNAL);
	closep(&c->gate_fd);
	if (!c->reaped)
		waitpid(c->pid, NULL, held ? 0 : WNOHANG);
	closep(&c->pid_fd);
	closep(&c->error_fd);
	c->pid = 0;
}
