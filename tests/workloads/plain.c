/* SPDX-License-Identifier: MIT */
/*
 * Conversations without TLS, between a parent and a child. Each end prints, per direction, how many bytes
 * it moved, how many of them a tracer can show, and their FNV-1a hash.
 *
 *	plain MODE [N] [SIZE]
 *
 * Over TCP: `http` N exchanges of SIZE bytes each way, `vector` the same with lists of small buffers,
 * `sendfile` with answers that no buffer of the process holds, `reset` an exchange, the rest of whose
 * answer is read when the connection has been reset, `other` N connections that are no HTTP.
 * JSON-RPC between a parent and its child's stdin and stdout: `pipe`, `socket`. `text` what is none.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "tell.h"

static unsigned long count = 10;
static size_t size = 1000;
static bool vector;

/* ---- what was moved ---- */

struct sum {
	uint64_t bytes, shown, hash;
};

static struct sum sums[2] = {{.hash = 0xcbf29ce484222325}, {.hash = 0xcbf29ce484222325}};

enum {
	READ,
	WRITE,
};

static void count_bytes(int direction, const char *p, size_t n)
{
	struct sum *s = &sums[direction];

	s->bytes += n;
	s->shown += n;
	for (size_t i = 0; i < n; i++)
		s->hash = (s->hash ^ (unsigned char)p[i]) * 0x100000001b3;
}

static void tell_sums(const char *source)
{
	static const char *const names[] = {"read", "write"};

	for (int d = READ; d <= WRITE; d++)
		tell("{\"pid\":%d,\"from\":\"%s\",\"direction\":\"%s\",\"bytes\":%llu,\"shown\":%"
		     "llu,"
		     "\"hash\":\"%016llx\"}\n",
		     getpid(), source, names[d], (unsigned long long)sums[d].bytes,
		     (unsigned long long)sums[d].shown, (unsigned long long)sums[d].hash);
}

/* ---- moving it ---- */

/*
 * Odd sizes, up to what is left of @n, one to five empty ones among them; @empty in front of the first one, which is
 * the only one behind an even number of them.
 */
static size_t cut(struct iovec *v, size_t cap, char *p, size_t n, size_t empty)
{
	size_t used = 0;

	for (size_t i = 0; i < cap && n; i++, used++) {
		size_t run = i % 10, len = 1 + (i * 37) % 5000;

		if (i < empty || (run >= 3 && run - 3 < i / 10 + 1))
			len = 0;
		else if (i == empty && empty % 2 == 0)
			len = 40000, cap = i + 1;
		if (len > n)
			len = n;
		v[i] = (struct iovec){p, len};
		p += len;
		n -= len;
	}
	return used;
}

static ssize_t send_some(int fd, char *p, size_t n)
{
	static unsigned turn;
	struct iovec v[50];
	struct msghdr m = {.msg_iov = v};

	if (!vector)
		return ++turn & 1 ? send(fd, p, n, 0) : write(fd, p, n);
	m.msg_iovlen = cut(v, 50, p, n, (turn + 4) % 7);
	return ++turn & 1 ? sendmsg(fd, &m, 0) : writev(fd, v, m.msg_iovlen);
}

static ssize_t receive_some(int fd, char *p, size_t n)
{
	static unsigned turn;
	struct iovec v[50];
	struct msghdr m = {.msg_iov = v};

	if (!vector)
		return ++turn & 1 ? recv(fd, p, n, 0) : read(fd, p, n);
	m.msg_iovlen = cut(v, 50, p, n, turn % 7);
	return ++turn & 1 ? recvmsg(fd, &m, 0) : readv(fd, v, m.msg_iovlen);
}

static void put(int fd, char *p, size_t n)
{
	while (n) {
		size_t done = MUST(send_some(fd, p, n));

		count_bytes(WRITE, p, done);
		p += done;
		n -= done;
	}
}

static void get(int fd, char *p, size_t n)
{
	while (n) {
		size_t done = MUST(receive_some(fd, p, n));

		if (!done)
			exit(1);
		count_bytes(READ, p, done);
		p += done;
		n -= done;
	}
}

/* Fills @p with what changes from message to message. */
static void make_body(char *p, size_t n, uint64_t seed)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		p[i] = (char)(seed >> 56);
	}
}

/* ---- TCP ---- */

static int tcp_listen(struct sockaddr_in *where)
{
	socklen_t len = sizeof(*where);
	int fd = MUST(socket(AF_INET, SOCK_STREAM, 0));

	*where = (struct sockaddr_in){.sin_family = AF_INET};
	where->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	MUST(bind(fd, (void *)where, len));
	MUST(getsockname(fd, (void *)where, &len));
	MUST(listen(fd, 64));
	return fd;
}

static int tcp_connect(const struct sockaddr_in *where)
{
	int fd = MUST(socket(AF_INET, SOCK_STREAM, 0));

	MUST(connect(fd, (const void *)where, sizeof(*where)));
	return fd;
}

#define HEAD 128

static size_t make_head(char *p, bool request)
{
	return sprintf(p, "%s%s\r\nContent-Length: %zu\r\n\r\n", request ? "POST /v1/x?y=1 " : "",
		       request ? "HTTP/1.1" : "HTTP/1.1 200 OK", size);
}

static void say(int fd, bool request, uint64_t seed)
{
	char *p = malloc(HEAD + size);
	size_t n = make_head(p, request);

	make_body(p + n, size, seed);
	put(fd, p, n + size);
	free(p);
}

static void hear(int fd, bool request)
{
	char *p = malloc(HEAD + size);

	get(fd, p, make_head(p, request) + size);
	free(p);
}

/* The body goes from file to socket, unseen by anybody who looks at buffers. */
static void say_from_file(int fd)
{
	char head[HEAD], *body = malloc(size);
	int file = MUST(memfd_create("body", MFD_CLOEXEC));
	off_t from = 0;

	make_body(body, size, 1);
	MUST(write(file, body, size));
	put(fd, head, make_head(head, false));
	while ((size_t)from < size)
		MUST(sendfile(fd, file, &from, size - from));
	sums[WRITE].bytes += size;
	close(file);
	free(body);
}

static void http_server(int listener, bool from_file)
{
	int fd = MUST(accept(listener, NULL, NULL));

	for (unsigned long i = 0; i < count; i++) {
		hear(fd, true);
		if (from_file)
			say_from_file(fd);
		else
			say(fd, false, i + 1000);
	}
	close(fd);
	tell_sums("network");
}

static void http(bool from_file)
{
	struct sockaddr_in where;
	int listener = tcp_listen(&where), fd, status;
	pid_t child = MUST(fork());

	if (!child) {
		http_server(listener, from_file);
		exit(0);
	}
	fd = tcp_connect(&where);
	for (unsigned long i = 0; i < count; i++) {
		say(fd, true, i);
		hear(fd, false);
	}
	close(fd);
	MUST(waitpid(child, &status, 0));
	if (status)
		exit(1);
	tell_sums("network");
}

static void reset_server(int listener)
{
	const struct linger at_once = {.l_onoff = 1};
	int fd = MUST(accept(listener, NULL, NULL));

	hear(fd, true);
	say(fd, false, 1000);
	hear(fd, true);
	MUST(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)));
	close(fd);
	tell_sums("network");
}

/* The answer is small enough to have come as a whole before the second question is asked. */
static void http_reset(void)
{
	char *p = malloc(HEAD + size);
	size_t n = make_head(p, false) + size;
	struct sockaddr_in where;
	int listener = tcp_listen(&where), fd, status;
	pid_t child = MUST(fork());
	struct pollfd gone = {};

	if (!child) {
		reset_server(listener);
		exit(0);
	}
	gone.fd = fd = tcp_connect(&where);
	say(fd, true, 0);
	get(fd, p, n / 2);
	say(fd, true, 1);
	while (!(gone.revents & POLLHUP))
		MUST(poll(&gone, 1, -1));
	get(fd, p, n - n / 2);
	close(fd);
	MUST(waitpid(child, &status, 0));
	if (status)
		exit(1);
	tell_sums("network");
}

/* What no tracer shall take for HTTP. */
static void other(void)
{
	static const char *const openings[] = {
		"*1\r\n$4\r\nPING\r\n",        "GET key\r\n",
		"SSH-2.0-OpenSSH_9.2\r\n",     "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"POST key value\r\n",          "set a 0 0 1\r\n1\r\n",
		"\x17\x03\x03\x00\x20 GET / ", "GETX / HTTP/1.1\r\n",
	};
	char text[64];
	struct sockaddr_in where;
	int listener = tcp_listen(&where);

	for (unsigned long i = 0; i < count; i++) {
		const char *opening = openings[i % (sizeof(openings) / sizeof(*openings))];
		int a = tcp_connect(&where), b = MUST(accept(listener, NULL, NULL));

		for (int turn = 0; turn < 20; turn++) {
			size_t n = strlen(opening);

			MUST(write(a, opening, n));
			MUST(read(b, text, n));
			make_body(text, sizeof(text), i * 20 + turn);
			MUST(write(b, text, sizeof(text)));
			MUST(read(a, text, sizeof(text)));
		}
		close(a);
		close(b);
	}
}

/* ---- stdio ---- */

static size_t make_message(char *p, unsigned long i)
{
	static const char filler[] = "abcdefghijklmnopqrstuvwxyz \\n0123456789";
	size_t n, body = size ? i * 997 % size : 0;

	/* as the libraries write them: the protocol first, or near the end */
	n = sprintf(
		p,
		i & 1 ? "{\"jsonrpc\":\"2.0\",\"id\":%lu,\"method\":\"tools/call\",\"params\":\""
		      : "{\"id\":%lu,\"method\":\"initialize\",\"params\":\"",
		i);
	for (size_t j = 0; j < body; j++)
		p[n++] = filler[j % 26];
	return n + sprintf(p + n, i & 1 ? "\"}\n" : "\",\"jsonrpc\":\"2.0\"}\n");
}

/* Answers every line with a message; what is read is counted as it comes. */
static void rpc_child(bool rpc)
{
	char *p = malloc(size + 256), *in = malloc(65536);
	unsigned long answered = 0;
	ssize_t n;

	while ((n = MUST(read(0, in, 65536))) > 0) {
		count_bytes(READ, in, n);
		if (!rpc)
			MUST(write(1, "plain text\n", 11));
		for (ssize_t i = 0; rpc && i < n; i++) {
			if (in[i] != '\n')
				continue;
			size_t len = make_message(p, answered++);

			for (size_t done = 0; done < len;) {
				size_t some = MUST(write(1, p + done, len - done));

				count_bytes(WRITE, p + done, some);
				done += some;
			}
		}
		MUST(write(2, "log: {a line}\n", 14));
	}
	if (rpc)
		tell_sums("stdio");
}

static void rpc_parent(int to, int from, bool rpc)
{
	char *p = malloc(size + 256), *in = malloc(65536);

	for (unsigned long i = 0; i < count; i++) {
		size_t len = rpc ? make_message(p, i) : (size_t)sprintf(p, "{line %lu}\n", i);
		bool end = false;

		for (size_t done = 0; done < len;)
			done += MUST(write(to, p + done, len - done));
		while (!end) {
			ssize_t n = MUST(read(from, in, 65536));

			if (!n)
				exit(1);
			end = in[n - 1] == '\n';
		}
	}
}

static void rpc(bool sockets, bool is_rpc)
{
	int in[2], out[2], errors = MUST(open("/dev/null", O_WRONLY)), status;
	pid_t child;

	if (sockets) {
		MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, in));
		MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, out));
	} else {
		MUST(pipe(in));
		MUST(pipe(out));
	}
	child = MUST(fork());
	if (!child) {
		MUST(dup2(in[0], 0));
		MUST(dup2(out[1], 1));
		MUST(dup2(errors, 2));
		close(in[0]), close(in[1]), close(out[0]), close(out[1]);
		rpc_child(is_rpc);
		_exit(0);
	}
	close(in[0]);
	close(out[1]);
	rpc_parent(in[1], out[0], is_rpc);
	close(in[1]);
	MUST(waitpid(child, &status, 0));
	if (status)
		exit(1);
}

/* ---- modes ---- */

static void run(const char *mode)
{
	vector = !strcmp(mode, "vector");
	if (!strcmp(mode, "http") || vector)
		http(false);
	else if (!strcmp(mode, "sendfile"))
		http(true);
	else if (!strcmp(mode, "reset"))
		http_reset();
	else if (!strcmp(mode, "other"))
		other();
	else if (!strcmp(mode, "pipe") || !strcmp(mode, "socket"))
		rpc(!strcmp(mode, "socket"), true);
	else if (!strcmp(mode, "text"))
		rpc(false, false);
	else
		exit(2);
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 2;
	if (argc > 2)
		count = strtoul(argv[2], NULL, 10);
	if (argc > 3)
		size = strtoul(argv[3], NULL, 10);
	tell_begin();
	run(argv[1]);
	tell_end();
	return 0;
}
