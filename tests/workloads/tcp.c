/* SPDX-License-Identifier: MIT */
/*
 * Traffic over TCP with a known outcome. A server child and a client exchange bytes over loopback;
 * each prints, one per line, the events that a tracer must show of it as JSON objects (what is not
 * named there is left open). `pingpong` and `stream` also print nanoseconds per operation on stderr.
 *
 *	tcp MODE [N] [SIZE] [ADDRESS [PORT]]
 *
 * With a PORT there is only the client; who listens there is the caller's business.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
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

/* ---- what is expected ---- */

static char expected[1 << 22];
static size_t expected_len;

static void end_text(char *out, size_t cap, const union address *a)
{
	char ip[INET6_ADDRSTRLEN];
	const void *raw = a->any.sa_family == AF_INET ? (const void *)&a->v4.sin_addr
						      : (const void *)&a->v6.sin6_addr;

	const char *text = inet_ntop(a->any.sa_family, raw, ip, sizeof(ip));

	/* IPv4 over a socket of IPv6 is shown as what it is */
	if (!strncmp(ip, "::ffff:", 7))
		text = ip + 7;
	snprintf(out, cap, "{\"address\":\"%s\",\"port\":%u}", text,
		 ntohs(a->any.sa_family == AF_INET ? a->v4.sin_port : a->v6.sin6_port));
}

/* Adds a line; @more are members of "data" behind the addresses, each with a leading comma. */
static void expect(const char *type, const union address *local, const union address *remote,
		   const char *more)
{
	char l[128], r[128];
	int n;

	end_text(r, sizeof(r), remote);
	n = snprintf(
		expected + expected_len, sizeof(expected) - expected_len,
		"{\"source\":\"network\",\"pid\":%d,\"data\":{\"type\":\"%s\",\"protocol\":\"tcp\"",
		getpid(), type);
	expected_len += n;
	if (local) {
		end_text(l, sizeof(l), local);
		expected_len += snprintf(expected + expected_len, sizeof(expected) - expected_len,
					 ",\"local\":%s", l);
	}
	n = snprintf(expected + expected_len, sizeof(expected) - expected_len,
		     ",\"remote\":%s%s}}\n", r, more);
	expected_len += n;
	if (expected_len > sizeof(expected) - 1024)
		errx(1, "too many lines");
}

static void expect_print(void)
{
	for (size_t done = 0; done < expected_len;) {
		ssize_t n = write(STDOUT_FILENO, expected + done, expected_len - done);

		if (n < 0)
			err(1, "write");
		done += n;
	}
}

struct conn {
	int fd;
	bool server;
	union address local, remote;
	unsigned long long tx, rx;
};

static void conn_names(struct conn *c)
{
	socklen_t len = sizeof(c->local);

	if (getsockname(c->fd, &c->local.any, &len))
		err(1, "getsockname");
	len = sizeof(c->remote);
	if (getpeername(c->fd, &c->remote.any, &len))
		err(1, "getpeername");
	expect(c->server ? "accept" : "connect", &c->local, &c->remote, "");
}

static void conn_close(struct conn *c, const char *more)
{
	char text[256];

	snprintf(text, sizeof(text), ",\"role\":\"%s\",\"tx_bytes\":%llu,\"rx_bytes\":%llu%s",
		 c->server ? "server" : "client", c->tx, c->rx, more);
	expect("close", &c->local, &c->remote, text);
	close(c->fd);
}

/* ---- moving bytes ---- */

static void conn_send(struct conn *c, size_t n)
{
	while (n) {
		ssize_t r = send(c->fd, bytes, n, MSG_NOSIGNAL);

		if (r < 0)
			err(1, "send");
		c->tx += r;
		n -= r;
	}
}

static void conn_recv(struct conn *c, size_t n)
{
	while (n) {
		ssize_t r = recv(c->fd, bytes, n, 0);

		if (r < 0)
			err(1, "recv");
		if (!r)
			errx(1, "the peer closed too early");
		c->rx += r;
		n -= r;
	}
}

static void conn_recv_all(struct conn *c)
{
	ssize_t r;

	while ((r = recv(c->fd, bytes, size, 0)) > 0)
		c->rx += r;
	if (r < 0)
		err(1, "recv");
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static void report(const char *mode, uint64_t since)
{
	fprintf(stderr, "%s %.1f ns per operation\n", mode,
		(double)(now_ns() - since) / (double)(count ? count : 1));
}

/* ---- the modes: what each end does with one connection ---- */

static void pingpong_server(struct conn *c)
{
	for (unsigned long i = 0; i < count; i++) {
		conn_recv(c, size);
		conn_send(c, size);
	}
	conn_recv_all(c);
	conn_close(c, "");
}

static void pingpong_client(struct conn *c)
{
	uint64_t begin = now_ns();

	for (unsigned long i = 0; i < count; i++) {
		conn_send(c, size);
		conn_recv(c, size);
	}
	report("pingpong", begin);
	conn_close(c, "");
}

static void stream_server(struct conn *c)
{
	conn_recv_all(c);
	conn_close(c, "");
}

static void stream_client(struct conn *c)
{
	uint64_t begin = now_ns();

	for (unsigned long i = 0; i < count; i++)
		conn_send(c, size);
	report("stream", begin);
	conn_close(c, "");
}

/* The accepting side only closes: its owner shows nowhere else. */
static void short_server(struct conn *c)
{
	conn_close(c, "");
}

static void short_client(struct conn *c)
{
	conn_recv_all(c);
	conn_close(c, "");
}

/* The client stops writing first and reads late: what it reads arrived before the end. */
static void halfclose_server(struct conn *c)
{
	conn_recv_all(c);
	conn_send(c, 2 * size);
	conn_close(c, "");
}

static void halfclose_client(struct conn *c)
{
	struct tcp_info info = {};
	socklen_t len = sizeof(info);

	conn_send(c, size);
	shutdown(c->fd, SHUT_WR);
	/* once the FIN of the server is here too, the connection is over for the kernel */
	while (info.tcpi_state != TCP_CLOSE) {
		if (getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &len))
			err(1, "getsockopt");
	}
	conn_recv_all(c);
	conn_close(c, "");
}

/* Closing with unread data resets the connection. */
static void reset_server(struct conn *c)
{
	int unread = 0;

	conn_recv(c, 1);
	while ((size_t)unread < size - 1) {
		if (recv(c->fd, bytes, size, MSG_PEEK) < 0)
			err(1, "recv");
		unread = recv(c->fd, bytes, size, MSG_PEEK | MSG_DONTWAIT);
	}
	conn_close(c, "");
}

static void reset_client(struct conn *c)
{
	conn_send(c, size);
	if (recv(c->fd, bytes, size, 0) >= 0 || errno != ECONNRESET)
		errx(1, "no reset came");
	conn_close(c, ",\"error\":\"ECONNRESET\"");
}

static void peek_server(struct conn *c)
{
	for (int i = 0; i < 3; i++) {
		if (recv(c->fd, bytes, size, MSG_PEEK) < 0)
			err(1, "recv");
	}
	c->rx += recv(c->fd, bytes, size, MSG_WAITALL);
	conn_recv_all(c);
	conn_close(c, "");
}

static void peek_client(struct conn *c)
{
	struct timespec nap = {.tv_nsec = 20000000};

	conn_send(c, size / 2);
	nanosleep(&nap, NULL); /* so that MSG_WAITALL has to wait */
	conn_send(c, size - size / 2);
	conn_close(c, "");
}

/* Some traffic both ways in each second, for the sums that are told once a second. */
static void paced_server(struct conn *c)
{
	for (unsigned long i = 0; i < count; i++) {
		conn_recv(c, size);
		conn_send(c, 2 * size);
	}
	conn_recv_all(c);
	conn_close(c, "");
}

static void paced_client(struct conn *c)
{
	struct timespec nap = {.tv_nsec = 200000000};

	for (unsigned long i = 0; i < count; i++) {
		conn_send(c, size);
		conn_recv(c, 2 * size);
		nanosleep(&nap, NULL);
	}
	conn_close(c, "");
}

/* Has the kernel drop what arrives for this end: segments longer than any bare header. */
static void conn_deaf(struct conn *c, bool deaf)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 60, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};
	struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

	if (setsockopt(c->fd, SOL_SOCKET, deaf ? SO_ATTACH_FILTER : SO_DETACH_FILTER, &program,
		       sizeof(program)))
		err(1, "cannot set a socket filter");
}

/* How many segments were sent again, the kernel knows. */
static unsigned conn_close_retransmitted(struct conn *c)
{
	struct tcp_info info = {};
	socklen_t len = sizeof(info);
	char text[64];

	if (getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &len))
		err(1, "getsockopt");
	snprintf(text, sizeof(text), ",\"retransmits\":%u", info.tcpi_total_retrans);
	conn_close(c, text);
	return info.tcpi_total_retrans;
}

/* SIZE is that of one segment. */
static void retransmit_server(struct conn *c)
{
	conn_recv(c, 1);
	conn_send(c, size);
	conn_recv_all(c);
	if (!conn_close_retransmitted(c))
		errx(1, "nothing was sent again");
}

static void retransmit_client(struct conn *c)
{
	struct timespec nap = {.tv_sec = 1, .tv_nsec = 500000000};

	conn_deaf(c, true);
	conn_send(c, 1);
	nanosleep(&nap, NULL);
	conn_deaf(c, false);
	conn_recv(c, size);
	conn_close_retransmitted(c);
}

/* A process with a lower number than ours, which waits for a signal with copies of our descriptors. */
static pid_t copy_below(void)
{
	pid_t number = getpid();
	struct clone_args args = {
		.exit_signal = SIGCHLD,
		.set_tid = (uintptr_t)&number,
		.set_tid_size = 1,
	};
	long child = -1;

	while (child < 0 && --number > 1) {
		child = syscall(SYS_clone3, &args, sizeof(args));
		if (child < 0 && errno != EEXIST)
			err(1, "clone3");
	}
	if (child < 0)
		errx(1, "no number below %d is free", getpid());
	if (!child) {
		pause();
		_exit(0);
	}
	return child;
}

/* Accepted, and not used before the client gets SIGUSR1; another process has the descriptor as well. */
static void copied_server(struct conn *c)
{
	pid_t child = copy_below();

	conn_recv(c, size);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	conn_recv_all(c);
	conn_close(c, "");
}

static void copied_client(struct conn *c)
{
	sigset_t go;
	int signal;

	sigemptyset(&go);
	sigaddset(&go, SIGUSR1);
	sigwait(&go, &signal);
	conn_send(c, size);
	conn_close(c, "");
}

static void sendfile_client(struct conn *c)
{
	int fd = memfd_create("payload", 0);

	if (fd < 0 || ftruncate(fd, size))
		err(1, "memfd_create");
	while (c->tx < size) {
		ssize_t r = sendfile(c->fd, fd, NULL, size - c->tx);

		if (r <= 0)
			err(1, "sendfile");
		c->tx += r;
	}
	close(fd);
	conn_close(c, "");
}

/* From here on the kernel encrypts what is written. */
static void conn_encrypt(struct conn *c)
{
	struct tls12_crypto_info_aes_gcm_128 keys = {
		.info = {.version = TLS_1_2_VERSION, .cipher_type = TLS_CIPHER_AES_GCM_128},
		.key = "a key of no use",
	};

	if (setsockopt(c->fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof("tls")))
		err(1, "TCP_ULP");
	if (setsockopt(c->fd, SOL_TLS, TLS_TX, &keys, sizeof(keys)))
		err(1, "TLS_TX");
}

/*
 * One record by send() and one by sendfile(), SIZE bytes in each. The server reads them as they are. The first looks
 * like HTTP.
 */
static void ktls_client(struct conn *c)
{
	const size_t framing = 5 + TLS_CIPHER_AES_GCM_128_IV_SIZE + TLS_CIPHER_AES_GCM_128_TAG_SIZE;
	int fd = memfd_create("payload", 0);

	if (fd < 0 || ftruncate(fd, size))
		err(1, "memfd_create");
	snprintf(bytes, size, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
	conn_encrypt(c);
	conn_send(c, size);
	if (sendfile(c->fd, fd, NULL, size) != (ssize_t)size)
		err(1, "sendfile");
	c->tx += size + 2 * framing;
	close(fd);
	conn_close(c, ",\"ktls\":true");
}

static const struct mode {
	const char *name;
	void (*server)(struct conn *c);
	void (*client)(struct conn *c);
	bool many; /* N connections, not N operations */
} modes[] = {
	{"pingpong", pingpong_server, pingpong_client, false},
	{"stream", stream_server, stream_client, false},
	{"short", short_server, short_client, true},
	{"halfclose", halfclose_server, halfclose_client, false},
	{"refused", NULL, NULL, false},
	{"reset", reset_server, reset_client, false},
	{"peek", peek_server, peek_client, false},
	{"sendfile", stream_server, sendfile_client, false},
	{"ktls", stream_server, ktls_client, false},
	{"paced", paced_server, paced_client, false},
	{"retransmit", retransmit_server, retransmit_client, false},
	{"copied", copied_server, copied_client, false},
};

/* ---- both ends ---- */

static void set_where(const char *text)
{
	where.any.sa_family = strchr(text, ':') ? AF_INET6 : AF_INET;
	where_len = where.any.sa_family == AF_INET ? sizeof(where.v4) : sizeof(where.v6);
	if (inet_pton(where.any.sa_family, text,
		      where.any.sa_family == AF_INET ? (void *)&where.v4.sin_addr
						     : (void *)&where.v6.sin6_addr) != 1)
		errx(2, "%s: not an address", text);
}

static int tcp_socket(void)
{
	int fd = socket(where.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		err(1, "socket");
	return fd;
}

static int listen_anywhere(void)
{
	int fd = tcp_socket();

	if (bind(fd, &where.any, where_len) || getsockname(fd, &where.any, &where_len) ||
	    listen(fd, 1024))
		err(1, "listen");
	return fd;
}

static void serve(const struct mode *m, int fd)
{
	unsigned long n = m->many ? count : 1;

	for (unsigned long i = 0; i < n; i++) {
		struct conn c = {.fd = accept(fd, NULL, NULL), .server = true};
		int one = 1;

		if (c.fd < 0)
			err(1, "accept");
		setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		conn_names(&c);
		m->server(&c);
	}
	expect_print();
	exit(0);
}

static void visit(const struct mode *m)
{
	unsigned long n = m->many ? count : 1;

	for (unsigned long i = 0; i < n; i++) {
		struct conn c = {.fd = tcp_socket()};
		int one = 1;

		if (connect(c.fd, &where.any, where_len))
			err(1, "connect");
		setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		conn_names(&c);
		m->client(&c);
	}
}

/* A port that was bound a moment ago and is not listened on. */
static void refused(void)
{
	int bound = tcp_socket(), fd = tcp_socket();

	if (bind(bound, &where.any, where_len) || getsockname(bound, &where.any, &where_len))
		err(1, "bind");
	if (!connect(fd, &where.any, where_len) || errno != ECONNREFUSED)
		errx(1, "the connection was not refused");
	expect("connect", NULL, &where, ",\"error\":\"ECONNREFUSED\"");
	close(fd);
	close(bound);
}

/* For sigwait(), whenever it comes. */
static void hold_signal(void)
{
	sigset_t held;

	sigemptyset(&held);
	sigaddset(&held, SIGUSR1);
	sigprocmask(SIG_BLOCK, &held, NULL);
}

static const struct mode *mode_find(const char *name)
{
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (!strcmp(modes[i].name, name))
			return &modes[i];
	}
	errx(2, "%s: no such mode", name);
}

int main(int argc, char **argv)
{
	const struct mode *m;
	int fd, status;
	pid_t child;

	if (argc < 2)
		errx(2, "usage: tcp MODE [N] [SIZE] [ADDRESS [PORT]]");
	hold_signal();
	m = mode_find(argv[1]);
	if (argc > 2)
		count = strtoul(argv[2], NULL, 10);
	if (argc > 3)
		size = strtoul(argv[3], NULL, 10);
	set_where(argc > 4 ? argv[4] : "127.0.0.1");
	bytes = calloc(2, size + 1);
	if (!bytes)
		err(1, "calloc");
	if (!m->server) {
		refused();
		expect_print();
		return 0;
	}

	if (argc > 5) {
		where.v4.sin_port = htons(atoi(argv[5])); /* at the same place in both families */
		visit(m);
		expect_print();
		return 0;
	}
	fd = listen_anywhere();
	child = fork();
	if (child < 0)
		err(1, "fork");
	if (!child)
		serve(m, fd);
	close(fd);
	visit(m);
	expect_print();
	if (waitpid(child, &status, 0) < 0)
		err(1, "waitpid");
	return status != 0;
}
