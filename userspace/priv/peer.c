/* SPDX-License-Identifier: MIT */
#include "priv/peer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* In front of the bytes, both ways. An answer has the number of its request. */
struct head {
	uint32_t service;
	uint32_t number;
	int32_t result;
};

struct peer {
	pid_t pid;
	int fd;
	uint32_t number; /* of the last request */
	pthread_mutex_t lock;
};

/* ---- messages ---- */

/* A message's descriptors, aligned as the kernel wants them. */
union control {
	char bytes[CMSG_SPACE(PEER_FDS_MAX * sizeof(int))];
	struct cmsghdr head;
};

static void fds_close(const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
}

static int message_send(int fd, const struct head *head, const void *data, size_t len,
			const int *fds, size_t n_fds)
{
	struct iovec parts[] = {{(void *)head, sizeof(*head)}, {(void *)data, len}};
	struct msghdr m = {.msg_iov = parts, .msg_iovlen = len ? 2 : 1};
	union control control;
	ssize_t n;

	if (n_fds) {
		memset(&control, 0, sizeof(control));
		control.head = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
						.cmsg_type = SCM_RIGHTS,
						.cmsg_len = CMSG_LEN(n_fds * sizeof(int))};
		memcpy(CMSG_DATA(&control.head), fds, n_fds * sizeof(int));
		m.msg_control = control.bytes;
		m.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
	}
	do {
		n = sendmsg(fd, &m, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static size_t control_fds(struct msghdr *m, int fds[PEER_FDS_MAX])
{
	size_t n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(c), n * sizeof(int));
	}
	return n;
}

/* What was cut is refused: it would be misunderstood. Of descriptors the kernel leaves out those without a place. */
static int message_cut(const struct msghdr *m, size_t n_fds)
{
	if (m->msg_flags & MSG_TRUNC)
		return -EMSGSIZE;
	if (m->msg_flags & MSG_CTRUNC)
		return n_fds < PEER_FDS_MAX ? -EMFILE : -EMSGSIZE;
	return 0;
}

static bool is_cut(ssize_t n)
{
	return n == -EMSGSIZE || n == -EMFILE;
}

/* The length of the bytes, -ECONNRESET at the end; @head is there also when the rest was cut. */
static ssize_t message_receive(int fd, struct head *head, void *data, size_t cap,
			       int fds[PEER_FDS_MAX], size_t *ret_n_fds)
{
	struct iovec parts[] = {{head, sizeof(*head)}, {data, cap}};
	union control control;
	struct msghdr m = {.msg_iov = parts,
			   .msg_iovlen = 2,
			   .msg_control = control.bytes,
			   .msg_controllen = sizeof(control.bytes)};
	ssize_t n;
	int r;

	*ret_n_fds = 0;
	do {
		n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n < (ssize_t)sizeof(*head))
		return -ECONNRESET;
	*ret_n_fds = control_fds(&m, fds);
	r = message_cut(&m, *ret_n_fds);
	if (r < 0) {
		fds_close(fds, *ret_n_fds);
		*ret_n_fds = 0;
		return r;
	}
	return n - (ssize_t)sizeof(*head);
}

/* ---- the peer ---- */

const char *peer_request_text(const struct peer_request *rq)
{
	return rq->len && strnlen(rq->data, rq->len) == rq->len - 1 ? rq->data : NULL;
}

static int serve(const struct peer_options *opt, uint32_t service, const struct peer_request *rq,
		 struct peer_answer *answer)
{
	if (service >= opt->n_services || !opt->services[service].fn)
		return -ENOSYS;
	return opt->services[service].fn(opt->services[service].ctx, rq, answer);
}

/* Whoever asked waits for an answer: what cannot be sent leaves at least the reason. */
static int answer_send(int fd, struct head *head, const struct peer_answer *answer)
{
	int r = message_send(fd, head, answer->data, answer->len, answer->fds, answer->n_fds);

	if (r == 0 || r == -EPIPE)
		return r;
	head->result = r;
	return message_send(fd, head, NULL, 0, NULL, 0);
}

static _Noreturn void peer_main(const struct peer_options *opt, int fd)
{
	static char in[PEER_DATA_MAX], out[PEER_DATA_MAX];
	static struct peer_answer answer;
	int fds[PEER_FDS_MAX];
	struct head head;

	prctl(PR_SET_NAME, opt->name);
	if (opt->begin)
		opt->begin(opt->ctx, fd);
	for (;;) {
		struct peer_request rq = {.data = in, .fds = fds};
		ssize_t n = message_receive(fd, &head, in, sizeof(in), fds, &rq.n_fds);

		if (n < 0 && !is_cut(n))
			_exit(0);
		rq.len = n < 0 ? 0 : (size_t)n;
		rq.service = head.service;
		answer = (struct peer_answer){.data = out, .cap = sizeof(out)};
		head.result = n < 0 ? (int)n : serve(opt, head.service, &rq, &answer);
		fds_close(fds, rq.n_fds);
		if (answer_send(fd, &head, &answer) < 0)
			_exit(1);
		fds_close(answer.fds, answer.n_fds);
	}
}

/* ---- who asks ---- */

int peer_start(const struct peer_options *opt, struct peer **ret)
{
	_cleanup_(freep) struct peer *p = calloc(1, sizeof(*p));
	int fds[2];

	if (!p)
		return -ENOMEM;
	/* messages stay whole, and whose other end is closed says so */
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	p->pid = fork();
	if (p->pid < 0) {
		int r = -errno;

		fds_close(fds, 2);
		return r;
	}
	if (p->pid == 0) {
		close(fds[0]);
		peer_main(opt, fds[1]);
	}
	close(fds[1]);
	p->fd = fds[0];
	pthread_mutex_init(&p->lock, NULL);
	*ret = TAKE_PTR(p);
	return 0;
}

void peer_free(struct peer *p)
{
	if (!p)
		return;
	close(p->fd);
	while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
		;
	pthread_mutex_destroy(&p->lock);
	free(p);
}

pid_t peer_pid(const struct peer *p)
{
	return p->pid;
}

/* Answers to earlier requests, which nobody could receive, are thrown away. */
static ssize_t answer_receive(struct peer *p, struct head *head, struct peer_answer *ret)
{
	for (;;) {
		ssize_t n =
			message_receive(p->fd, head, ret->data, ret->cap, ret->fds, &ret->n_fds);

		if ((n < 0 && !is_cut(n)) || head->number == p->number)
			return n;
		fds_close(ret->fds, ret->n_fds);
	}
}

static int call_locked(struct peer *p, const struct peer_request *rq, struct peer_answer *ret)
{
	struct head head = {.service = rq->service, .number = ++p->number};
	int r = message_send(p->fd, &head, rq->data, rq->len, rq->fds, rq->n_fds);
	ssize_t n;

	ret->n_fds = 0;
	if (r < 0)
		return r == -EPIPE ? -ECONNRESET : r;
	n = answer_receive(p, &head, ret);
	if (n < 0)
		return (int)n;
	ret->len = (size_t)n;
	return head.result;
}

int peer_call(struct peer *p, const struct peer_request *rq, struct peer_answer *ret)
{
	struct peer_answer none = {};
	int r;

	pthread_mutex_lock(&p->lock);
	r = call_locked(p, rq, ret ? ret : &none);
	pthread_mutex_unlock(&p->lock);
	fds_close(none.fds, none.n_fds);
	return r;
}
