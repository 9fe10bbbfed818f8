/* SPDX-License-Identifier: MIT */
/*
 * Datagrams with a known outcome: a client and a server child exchange N of SIZE bytes each way over
 * loopback. Each prints the sums that a tracer must show when the process has ended, as JSON.
 *
 *	udp connected|unconnected|peek [N] [SIZE] [ADDRESS]
 *
 * Or two threads send one datagram each on each of N sockets, at the same instant.
 *
 *	udp together N SIZE
 */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static union address where;
static socklen_t where_len;
static unsigned long count = 100;
static size_t size = 100;
static char *bytes;
static bool is_connected, is_peek;

static int udp_socket(void)
{
	int fd = socket(where.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		err(1, "socket");
	return fd;
}

static void set_where(const char *text)
{
	where.any.sa_family = strchr(text, ':') ? AF_INET6 : AF_INET;
	where_len = where.any.sa_family == AF_INET ? sizeof(where.v4) : sizeof(where.v6);
	if (inet_pton(where.any.sa_family, text,
		      where.any.sa_family == AF_INET ? (void *)&where.v4.sin_addr
						     : (void *)&where.v6.sin6_addr) != 1)
		errx(2, "%s: not an address", text);
}

static void expect(int fd, unsigned long long tx, unsigned long long rx)
{
	union address local;
	socklen_t len = sizeof(local);
	char line[256];
	int n;

	if (getsockname(fd, &local.any, &len))
		err(1, "getsockname");
	n = snprintf(line, sizeof(line),
		     "{\"source\":\"network\",\"pid\":%d,\"data\":{\"type\":\"close\",\"protocol\":"
		     "\"udp\",\"local\":{\"port\":%u},\"tx_bytes\":%llu,\"rx_bytes\":%llu}}\n",
		     getpid(),
		     ntohs(local.any.sa_family == AF_INET ? local.v4.sin_port : local.v6.sin6_port),
		     tx, rx);
	if (write(STDOUT_FILENO, line, n) != n)
		err(1, "write");
}

static size_t receive(int fd, union address *from)
{
	socklen_t len = sizeof(*from);
	ssize_t n;

	if (is_peek && recv(fd, bytes, size, MSG_PEEK) < 0)
		err(1, "recv");
	n = recvfrom(fd, bytes, size, 0, &from->any, &len);
	if (n < 0)
		err(1, "recvfrom");
	return n;
}

static void serve(int fd)
{
	unsigned long long sum = 0;
	union address from;

	for (unsigned long i = 0; i < count; i++) {
		size_t n = receive(fd, &from);

		sum += n;
		if (sendto(fd, bytes, n, 0, &from.any, where_len) != (ssize_t)n)
			err(1, "sendto");
	}
	expect(fd, sum, sum);
	exit(0);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static void visit(void)
{
	unsigned long long tx = 0, rx = 0;
	int fd = udp_socket();
	uint64_t begin = now_ns();
	union address from;

	if (is_connected && connect(fd, &where.any, where_len))
		err(1, "connect");
	for (unsigned long i = 0; i < count; i++) {
		ssize_t n = is_connected ? send(fd, bytes, size, 0)
					 : sendto(fd, bytes, size, 0, &where.any, where_len);

		if (n < 0)
			err(1, "send");
		tx += n;
		rx += receive(fd, &from);
	}
	fprintf(stderr, "udp %.1f ns per operation\n",
		(double)(now_ns() - begin) / (double)(count ? count : 1));
	expect(fd, tx, rx);
}

/* ---- two threads ---- */

static int shared_fd;
static unsigned long begun, ended; /* how many sends, of both threads */

static void wait_for(const unsigned long *counter, unsigned long n)
{
	/* is there but one processor? */
	for (unsigned long spins = 0; __atomic_load_n(counter, __ATOMIC_SEQ_CST) < n; spins++) {
		if (spins > 100000)
			sched_yield();
	}
}

static void send_one(unsigned long i)
{
	__atomic_fetch_add(&begun, 1, __ATOMIC_SEQ_CST);
	wait_for(&begun, 2 * (i + 1));
	if (sendto(shared_fd, bytes, size, 0, &where.any, where_len) != (ssize_t)size)
		err(1, "sendto");
	__atomic_fetch_add(&ended, 1, __ATOMIC_SEQ_CST);
	wait_for(&ended, 2 * (i + 1));
}

static void *send_beside(void *unused)
{
	for (unsigned long i = 0; i < count; i++) {
		wait_for(&begun, 2 * i + 1);
		send_one(i);
	}
	return NULL;
}

/* The kernel gives the next socket the memory of the last one. */
static void send_together(void)
{
	union address any = where;
	pthread_t other;

	any.v4.sin_port = 0;
	if (pthread_create(&other, NULL, send_beside, NULL))
		errx(1, "no thread");
	for (unsigned long i = 0; i < count; i++) {
		shared_fd = udp_socket();
		if (bind(shared_fd, &any.any, where_len))
			err(1, "bind");
		send_one(i);
		close(shared_fd);
	}
	pthread_join(other, NULL);
}

int main(int argc, char **argv)
{
	int fd, status;
	pid_t child;

	if (argc < 2)
		errx(2, "usage: udp connected|unconnected|peek [N] [SIZE] [ADDRESS]");
	is_connected = strcmp(argv[1], "unconnected");
	is_peek = !strcmp(argv[1], "peek");
	if (argc > 2)
		count = strtoul(argv[2], NULL, 10);
	if (argc > 3)
		size = strtoul(argv[3], NULL, 10);
	set_where(argc > 4 ? argv[4] : "127.0.0.1");
	bytes = calloc(1, size + 1);
	if (!bytes)
		err(1, "calloc");

	fd = udp_socket();
	if (bind(fd, &where.any, where_len) || getsockname(fd, &where.any, &where_len))
		err(1, "bind");
	if (!strcmp(argv[1], "together")) {
		send_together();
		return 0;
	}
	child = fork();
	if (child < 0)
		err(1, "fork");
	if (!child)
		serve(fd);
	close(fd);
	visit();
	if (waitpid(child, &status, 0) < 0)
		err(1, "waitpid");
	return status != 0;
}
