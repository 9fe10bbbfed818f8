/* SPDX-License-Identifier: MIT */
#include "source/sock_diag.h"

#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>

#include "priv/proc.h"

#define ANSWER_MAX 32768
#define CAP_MIN    256
#define WAIT_S     1 /* for an answer that never comes */

/* The states in which the other side's FIN has been counted as a byte. tcp_states.h */
#define STATES_FIN (1 << TCP_CLOSE_WAIT | 1 << TCP_LAST_ACK | 1 << TCP_CLOSING)
enum {
	TCP_SYN_SENT = 2,
	TCP_TIME_WAIT = 6,
	TCP_CLOSE_WAIT = 8,
	TCP_LAST_ACK,
	TCP_LISTEN,
	TCP_CLOSING,
};

/* inode 0: free. As in threads.c, sock_diag_end() makes a new array without those that are gone. */
struct entry {
	uint32_t inode;
	uint32_t pass;  /* the last that saw it */
	uint32_t first; /* the first one */
	uint32_t round;
	uint32_t tgid; /* 0: nobody's so far */
	uint64_t start_ns;
	uint64_t cookie;
	uint64_t rx_bytes, tx_bytes; /* at this pass */
	uint64_t rx_told, tx_told;
};

struct sock_diag {
	int fd;
	uint32_t uid; /* whose sockets matter; 0: everybody's */
	struct entry *slots;
	size_t cap;
	size_t used;
	uint32_t pass;
	uint32_t round;
	size_t wanted; /* sockets without owner, as of this pass */
	bool failed;   /* no memory for one of them */
};

/* ---- the kernel's answer ---- */

static uint64_t less(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/* The kernel may know a shorter or a longer struct tcp_info than we do. */
static void info_take(const struct inet_diag_msg *m, const struct rtattr *a, struct sock_fact *f)
{
	struct tcp_info info = {0};
	bool fin = m->idiag_state < 32 && (STATES_FIN & 1U << m->idiag_state);

	memcpy(&info, RTA_DATA(a), MIN((size_t)RTA_PAYLOAD(a), sizeof(info)));
	f->rx_bytes = less(info.tcpi_bytes_received, fin);
	f->tx_bytes = less(info.tcpi_bytes_sent, info.tcpi_bytes_retrans);
}

static void socket_take(const struct nlmsghdr *h,
			void (*take)(void *ctx, const struct sock_fact *f), void *ctx)
{
	const struct inet_diag_msg *m = NLMSG_DATA(h);
	const struct rtattr *a = (const void *)(m + 1);
	struct sock_fact f = {0};
	size_t left;

	if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*m)) || !m->idiag_inode)
		return;
	f.inode = m->idiag_inode;
	f.uid = m->idiag_uid;
	f.cookie = (uint64_t)m->id.idiag_cookie[1] << 32 | m->id.idiag_cookie[0];
	left = h->nlmsg_len - NLMSG_LENGTH(sizeof(*m));
	while (left >= sizeof(*a) && a->rta_len >= sizeof(*a) && a->rta_len <= left) {
		size_t step = MIN((size_t)RTA_ALIGN(a->rta_len), left);

		if (a->rta_type == INET_DIAG_INFO)
			info_take(m, a, &f);
		a = (const void *)((const char *)a + step);
		left -= step;
	}
	take(ctx, &f);
}

/* A dump that fails ends as others do; why, or 0, is behind the header of the end. */
static int dump_result(const struct nlmsghdr *h)
{
	int32_t r = 0;

	if (h->nlmsg_len >= NLMSG_LENGTH(sizeof(r)))
		memcpy(&r, NLMSG_DATA(h), sizeof(r));
	return MIN(r, 0);
}

int sock_diag_parse(const void *bytes, size_t n, void (*take)(void *ctx, const struct sock_fact *f),
		    void *ctx)
{
	const char *p = bytes;

	while (n >= sizeof(struct nlmsghdr)) {
		const struct nlmsghdr *h = (const void *)p;
		size_t step;

		if (h->nlmsg_len < sizeof(*h) || h->nlmsg_len > n)
			return -EBADMSG;
		if (h->nlmsg_type == NLMSG_DONE)
			return dump_result(h);
		if (h->nlmsg_type == NLMSG_ERROR) {
			const struct nlmsgerr *e = NLMSG_DATA(h);

			if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*e)) || e->error >= 0)
				return -EBADMSG;
			return e->error;
		}
		if (h->nlmsg_type == SOCK_DIAG_BY_FAMILY)
			socket_take(h, take, ctx);
		step = MIN((size_t)NLMSG_ALIGN(h->nlmsg_len), n);
		p += step;
		n -= step;
	}
	return 1;
}

/* ---- the table ---- */

static struct entry *slot_of(struct entry *slots, size_t cap, uint32_t inode)
{
	size_t i = (inode * 2654435769u) & (cap - 1);

	while (slots[i].inode && slots[i].inode != inode)
		i = (i + 1) & (cap - 1);
	return &slots[i];
}

static bool slots_renew(struct sock_diag *d, size_t cap, uint32_t pass)
{
	struct entry *slots = calloc(MAX(cap, (size_t)1), sizeof(*slots));
	size_t used = 0;

	if (!slots)
		return false;
	for (size_t i = 0; i < d->cap; i++) {
		const struct entry *old = &d->slots[i];

		if (!old->inode || old->pass < pass)
			continue;
		*slot_of(slots, cap, old->inode) = *old;
		used++;
	}
	free(d->slots);
	d->slots = slots;
	d->cap = cap;
	d->used = used;
	return true;
}

static void fact_keep(void *ctx, const struct sock_fact *f)
{
	struct sock_diag *d = ctx;
	struct entry *e;

	if (d->uid && f->uid != d->uid)
		return;
	if (2 * (d->used + 1) > d->cap && !slots_renew(d, 2 * d->cap, 0)) {
		d->failed = true;
		return;
	}
	e = slot_of(d->slots, d->cap, f->inode);
	if (!e->inode)
		d->used++;
	if (e->cookie != f->cookie || !e->inode)
		*e = (struct entry){.inode = f->inode,
				    .cookie = f->cookie,
				    .first = d->pass,
				    .round = d->round};
	e->pass = d->pass;
	e->rx_bytes = f->rx_bytes;
	e->tx_bytes = f->tx_bytes;
	d->wanted += !e->tgid && d->round <= e->round + 1;
}

int sock_diag_new(struct sock_diag **ret)
{
	_cleanup_(sock_diag_freep) struct sock_diag *d = calloc(1, sizeof(*d));
	const struct timeval wait = {.tv_sec = WAIT_S};

	if (!d)
		return -ENOMEM;
	d->fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (d->fd < 0)
		return -errno;
	if (setsockopt(d->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0)
		return -errno;
	d->uid = geteuid();
	d->cap = CAP_MIN;
	d->slots = calloc(d->cap, sizeof(*d->slots));
	if (!d->slots)
		return -ENOMEM;
	*ret = TAKE_PTR(d);
	return 0;
}

void sock_diag_free(struct sock_diag *d)
{
	if (!d)
		return;
	if (d->fd >= 0)
		close(d->fd);
	free(d->slots);
	free(d);
}

/* ---- a pass ---- */

static int family_ask(struct sock_diag *d, int family)
{
	const struct {
		struct nlmsghdr h;
		struct inet_diag_req_v2 r;
	} ask = {
		.h = {.nlmsg_len = sizeof(ask),
		      .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		      .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
		.r = {.sdiag_family = family,
		      .sdiag_protocol = IPPROTO_TCP,
		      .idiag_ext = 1 << (INET_DIAG_INFO - 1),
		      /* listeners move nothing, and nobody holds what is left of a connection */
		      .idiag_states =
			      ~(1U << TCP_LISTEN | 1U << TCP_TIME_WAIT | 1U << TCP_SYN_SENT)},
	};
	const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};

	if (sendto(d->fd, &ask, sizeof(ask), 0, (const void *)&kernel, sizeof(kernel)) < 0)
		return -errno;
	return 0;
}

static int family_read(struct sock_diag *d, int family)
{
	_Alignas(struct nlmsghdr) char buf[ANSWER_MAX];
	int r = family_ask(d, family);

	while (r >= 0) {
		ssize_t n = recv(d->fd, buf, sizeof(buf), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		r = sock_diag_parse(buf, n, fact_keep, d);
		if (r == 0)
			return 0;
	}
	return r;
}

int sock_diag_begin(struct sock_diag *d)
{
	int r;

	d->pass++;
	d->wanted = 0;
	d->failed = false;
	r = family_read(d, AF_INET);
	if (r < 0)
		return r;
	r = family_read(d, AF_INET6);
	if (r < 0 && r != -ENOENT) /* a kernel without IPv6 */
		return r;
	return d->failed ? -ENOMEM : 0;
}

bool sock_diag_wants(const struct sock_diag *d)
{
	return d->wanted > 0;
}

uint32_t sock_diag_pass(const struct sock_diag *d)
{
	return d->pass;
}

void sock_diag_round(struct sock_diag *d)
{
	d->round++;
}

static void socket_own(struct sock_diag *d, uint32_t inode, uint32_t tgid, uint64_t start_ns,
		       uint32_t pass)
{
	struct entry *e = slot_of(d->slots, d->cap, inode);

	if (!e->inode || e->tgid || e->pass != d->pass)
		return;
	e->tgid = tgid;
	e->start_ns = start_ns;
	if (e->first <= pass) {
		e->rx_told = e->rx_bytes;
		e->tx_told = e->tx_bytes;
	}
}

#define SOCKETS_AT_ONCE 512

int sock_diag_look(struct sock_diag *d, uint32_t tgid, uint64_t start_ns, uint32_t pass)
{
	struct priv_socket sockets[SOCKETS_AT_ONCE];
	uint32_t from = 0;
	ssize_t n;

	do {
		n = priv_proc_sockets(tgid, from, sockets, ARRAY_SIZE(sockets));
		for (ssize_t i = 0; i < n; i++)
			socket_own(d, sockets[i].inode, tgid, start_ns, pass);
		if (n > 0)
			from = sockets[n - 1].fd + 1;
	} while (n == ARRAY_SIZE(sockets));
	return n < 0 ? (int)n : 0;
}

void sock_diag_end(struct sock_diag *d, sock_diag_fn moved, void *ctx)
{
	size_t gone = 0;

	for (size_t i = 0; i < d->cap; i++) {
		struct entry *e = &d->slots[i];

		gone += e->inode && e->pass != d->pass;
		if (!e->inode || !e->tgid || e->pass != d->pass)
			continue;
		if (e->rx_bytes > e->rx_told || e->tx_bytes > e->tx_told)
			moved(ctx, e->tgid, e->start_ns, less(e->rx_bytes, e->rx_told),
			      less(e->tx_bytes, e->tx_told));
		e->rx_told = MAX(e->rx_told, e->rx_bytes);
		e->tx_told = MAX(e->tx_told, e->tx_bytes);
	}
	if (2 * gone > d->used || 4 * d->used > d->cap)
		slots_renew(d, d->cap, d->pass);
}
