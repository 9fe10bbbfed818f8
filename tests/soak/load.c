/* SPDX-License-Identifier: MIT */
/*
 * The load of the soak test: processes, connections and TLS sessions at a steady pace, each with something that
 * no table has seen before - a name, a path, a peer, a stream, a tool call. Every second it prints
 * one JSON line with what it has done so far, and a last one when its time is over.
 *
 *   load SECONDS RATE CHILD DIRECTORY
 *
 * RATE 1 is 500 processes, 200 connections, 50 TLS sessions and 100 datagrams a second. What this machine
 * cannot do is left out, never made up for later: the pace is a ceiling. Every three minutes all rest for some seconds,
 * and the line says so: what is held then is held for nobody that lives.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#define NSEC_PER_SEC 1000000000ULL
#define NAMES        997 /* names of programs: symbolic links to the child */
#define TIMEOUT_MS   2000
#define BIG_BODY     (96 * 1024)
#define CYCLE_NS     (180 * NSEC_PER_SEC)
#define REST_NS      (15 * NSEC_PER_SEC) /* the last of each cycle */

extern char **environ;

struct pace {
	const char *what;
	double per_second;
	void (*act)(uint64_t i);
	uint64_t done;
	pthread_t thread;
};

static const char *child, *directory;
static int null_fd;
static uint64_t begin_ns, end_ns;
static int plain_listener, tls_listener;
static uint16_t plain_port, tls_port;
static SSL_CTX *client_ctx, *server_ctx;
static uint64_t failures, processes;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

static void failed(void)
{
	__atomic_fetch_add(&failures, 1, __ATOMIC_RELAXED);
}

/* ---- processes ---- */

static void wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
}

/* 127.0.0.0/8 is all ours: a peer that comes back after millions. */
static struct sockaddr_in address(uint64_t i, uint16_t port)
{
	uint32_t host = (i * 2654435761U) >> 9; /* 23 bits */

	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(0x7f000000 | (host % 0xfffffd + 2)),
	};
}

static pid_t start(const char *path, char *const argv[], const int *in)
{
	posix_spawn_file_actions_t actions;
	pid_t pid = 0;
	int r;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, null_fd, STDOUT_FILENO);
	if (in)
		posix_spawn_file_actions_adddup2(&actions, *in, STDIN_FILENO);
	r = posix_spawn(&pid, path, &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (r) {
		failed();
		return 0;
	}
	__atomic_fetch_add(&processes, 1, __ATOMIC_RELAXED);
	return pid;
}

/* The child with its line of JSON-RPC on standard input. */
static void spawn_server(char *const argv[], uint64_t i)
{
	char line[128];
	int fds[2], n;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0) {
		failed();
		return;
	}
	n = snprintf(line, sizeof(line),
		     "{\"jsonrpc\":\"2.0\",\"id\":%llu,\"method\":\"tools/"
		     "call\",\"params\":{\"name\":\"t%llu\"}}\n",
		     (unsigned long long)i, (unsigned long long)i % 1000);
	pid = start(argv[0], argv, &fds[0]);
	close(fds[0]);
	if (write(fds[1], line, n) < 0)
		failed();
	close(fds[1]);
	if (pid)
		wait_for(pid);
}

static const char *letters(uint64_t i)
{
	static const char *const kinds[20] = {
		"f", "f", "t", "n", "e", "n", "o", "f", "n",  "k",
		"f", "n", "f", "r", "f", "n", "f", "n", "fr", "n",
	};

	return kinds[i % 20];
}

static void spawn_one(uint64_t i)
{
	char path[256], kind[8], number[24], extra[64];
	char *argv[] = {path, kind, (char *)directory, number, extra, NULL};
	pid_t pid;

	snprintf(path, sizeof(path), "%s/n/name%llu", directory, (unsigned long long)(i % NAMES));
	snprintf(kind, sizeof(kind), "%s", letters(i));
	snprintf(number, sizeof(number), "%llu", (unsigned long long)i);
	snprintf(extra, sizeof(extra), "--argument=%llu", (unsigned long long)(i * 7919));
	if (strchr(kind, 'r')) {
		spawn_server(argv, i);
		return;
	}
	pid = start(path, argv, NULL);
	if (pid)
		wait_for(pid);
}

/* A TLS session in a process that ends in the middle of it, and loads the library for it. */
static void spawn_tls(uint64_t i)
{
	char port[16], host[24];
	char *argv[] = {"tls_child", "--session", host, port, NULL};
	pid_t pid;

	snprintf(port, sizeof(port), "%u", tls_port);
	snprintf(host, sizeof(host), "%llu", (unsigned long long)i);
	pid = start("/proc/self/exe", argv, NULL);
	if (pid)
		wait_for(pid);
}

/* ---- sockets ---- */

static int listen_any(uint16_t *ret_port)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	socklen_t len = sizeof(a);
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 512) < 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		err(1, "cannot listen");
	*ret_port = ntohs(a.sin_port);
	return fd;
}

static void set_timeout(int fd)
{
	struct timeval tv = {.tv_sec = TIMEOUT_MS / 1000};
	int one = 1;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

/* From an address to an address that were not used for a long time, so that no port is waited for. */
static int connect_new(uint64_t i, uint16_t port)
{
	struct sockaddr_in from = address(i * 3 + 1, 0), to = address(i * 5 + 2, port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0)
		return -1;
	set_timeout(fd);
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&from, sizeof(from)) < 0 ||
	    connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void reset(int fd)
{
	struct linger linger = {.l_onoff = 1};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(fd);
}

/* Answers whatever comes, until it ends. */
static void *plain_server(void *arg)
{
	static const char answer[] =
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
		"14\r\n\r\n{\"done\": true}";
	char buf[8192];

	for (;;) {
		int fd = accept4(plain_listener, NULL, NULL, SOCK_CLOEXEC);
		ssize_t n;

		if (fd < 0)
			continue;
		set_timeout(fd);
		while ((n = read(fd, buf, sizeof(buf))) > 0) {
			if (write(fd, answer, sizeof(answer) - 1) < 0)
				break;
		}
		close(fd);
	}
	return NULL;
}

static void talk_http(int fd, uint64_t i)
{
	char request[512], answer[1024];
	int n = snprintf(request, sizeof(request),
			 "GET /item/%llu?page=%llu HTTP/1.1\r\nHost: host%llu.example\r\n"
			 "User-Agent: soak/%llu\r\nX-Request: %llu\r\n\r\n",
			 (unsigned long long)i, (unsigned long long)i % 13, (unsigned long long)i,
			 (unsigned long long)i % 99, (unsigned long long)i);

	/* every eighth is never answered as far as the client knows, every ninth is cut off */
	if (i % 9 == 0)
		n /= 2;
	if (write(fd, request, n) != n)
		failed();
	else if (i % 8 && i % 9 && read(fd, answer, sizeof(answer)) <= 0)
		failed();
}

static void connect_one(uint64_t i)
{
	int fd = connect_new(i, plain_port);

	if (fd < 0) {
		failed();
		return;
	}
	if (i % 4 == 3 && write(fd, &i, sizeof(i)) < 0)
		failed();
	else if (i % 4 < 3)
		talk_http(fd, i);
	if (i % 5 == 0)
		reset(fd);
	else
		close(fd);
}

static void datagram_one(uint64_t i)
{
	struct sockaddr_in to = address(i, 53530 + i % 7);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || sendto(fd, &i, sizeof(i), 0, (struct sockaddr *)&to, sizeof(to)) < 0)
		failed();
	if (fd >= 0)
		close(fd);
}

/* ---- TLS ---- */

static void make_contexts(void)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	X509_NAME *name = X509_get_subject_name(cert);

	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -86400);
	X509_gmtime_adj(X509_getm_notAfter(cert), 864000);
	X509_set_pubkey(cert, key);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"soak", -1, -1,
				   0);
	X509_set_issuer_name(cert, name);
	X509_sign(cert, key, EVP_sha256());

	server_ctx = SSL_CTX_new(TLS_server_method());
	client_ctx = SSL_CTX_new(TLS_client_method());
	if (SSL_CTX_use_certificate(server_ctx, cert) != 1 ||
	    SSL_CTX_use_PrivateKey(server_ctx, key) != 1)
		errx(1, "cannot make a certificate");
	/* a cache of sessions is a table that grows, too, and none of ours */
	SSL_CTX_set_session_cache_mode(server_ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(server_ctx, 0);
	X509_free(cert);
	EVP_PKEY_free(key);
}

/* A model that answers with a tool call, as Anthropic's interface has it. */
static int model_answer(char *out, size_t cap, uint64_t i, size_t padding)
{
	char body[512];
	int n = snprintf(
		body, sizeof(body),
		"{\"id\":\"msg_%llu\",\"type\":\"message\",\"role\":\"assistant\",\"model\":"
		"\"claude-soak-%llu\","
		"\"content\":[{\"type\":\"tool_use\",\"id\":\"toolu_%llu\",\"name\":\"Bash\","
		"\"input\":{\"command\":\"tool --number=%llu\"}}],\"stop_reason\":\"tool_use\","
		"\"usage\":{\"input_tokens\":10,\"output_tokens\":%llu}}",
		(unsigned long long)i, (unsigned long long)i % 50, (unsigned long long)i,
		(unsigned long long)i, (unsigned long long)i % 1000);
	int head = snprintf(
		out, cap,
		"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nrequest-id: req_%llu\r\n"
		"Content-Length: %zu\r\n\r\n%s",
		(unsigned long long)i, n + padding, body);

	memset(out + head, ' ', padding);
	return head + (int)padding;
}

/* The number behind "soak-", which client and server share. */
static uint64_t number_in(const char *request, int n)
{
	const char *p = memmem(request, n, "soak-", 5);

	return p ? strtoull(p + 5, NULL, 10) : 0;
}

static void serve_session(SSL *ssl, char *answer, size_t cap)
{
	char request[4096];
	int n;

	if (SSL_accept(ssl) != 1)
		return;
	while ((n = SSL_read(ssl, request, sizeof(request) - 1)) > 0) {
		uint64_t i;

		request[n] = '\0';
		i = number_in(request, n);
		/* every eleventh is answered by a part and an end */
		n = model_answer(answer, cap, i, i % 20 == 7 ? BIG_BODY : 0);
		if (SSL_write(ssl, answer, i % 11 == 3 ? n / 2 : n) <= 0 || i % 11 == 3)
			break;
	}
}

static void *tls_server(void *arg)
{
	size_t cap = BIG_BODY + 2048;
	char *answer = malloc(cap);

	for (;;) {
		int fd = accept4(tls_listener, NULL, NULL, SOCK_CLOEXEC);
		SSL *ssl;

		if (fd < 0)
			continue;
		set_timeout(fd);
		ssl = SSL_new(server_ctx);
		SSL_set_fd(ssl, fd);
		serve_session(ssl, answer, cap);
		SSL_free(ssl);
		close(fd);
	}
	return NULL;
}

static bool ask_model(SSL *ssl, uint64_t i)
{
	char body[256], request[1024], answer[16384];
	int n = snprintf(
		body, sizeof(body),
		"{\"model\":\"claude-soak-%llu\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\","
		"\"content\":\"soak-%llu\"}]}",
		(unsigned long long)i % 50, (unsigned long long)i);

	n = snprintf(request, sizeof(request),
		     "POST /v1/messages HTTP/1.1\r\nHost: api.anthropic.com\r\nContent-Type: "
		     "application/json\r\n"
		     "x-api-key: sk-ant-soak\r\nContent-Length: %d\r\n\r\n%s",
		     n, body);
	if (SSL_write(ssl, request, n) != n)
		return false;
	if (i % 13 == 5)
		return true; /* the answer is not waited for */
	return SSL_read(ssl, answer, sizeof(answer)) > 0;
}

/* Some sessions have several requests, some end without a word, some objects are used again. */
static bool session(uint64_t i, bool leave)
{
	char name[64];
	int fd = connect_new(i, tls_port);
	bool ok;
	SSL *ssl;

	if (fd < 0)
		return false;
	ssl = SSL_new(client_ctx);
	snprintf(name, sizeof(name), "model%llu.example", (unsigned long long)i);
	SSL_set_tlsext_host_name(ssl, name);
	SSL_set_fd(ssl, fd);
	ok = SSL_connect(ssl) == 1;
	for (uint64_t k = 0; ok && k <= i % 3; k++)
		ok = ask_model(ssl, i) && i % 11 != 3 && i % 13 != 5 && i % 20 != 7;
	if (leave)
		_exit(0);
	if (i % 4 == 0)
		SSL_shutdown(ssl);
	SSL_free(ssl);
	if (i % 6 == 0)
		reset(fd);
	else
		close(fd);
	return true;
}

static void session_one(uint64_t i)
{
	char path[256], number[24], option[64];
	char *argv[] = {path, "n", (char *)directory, number, option, NULL};
	pid_t pid;

	if (!session(i, false))
		failed();
	if (i % 5)
		return;
	/* the tool that the model asked for */
	snprintf(path, sizeof(path), "%s/n/tool", directory);
	snprintf(number, sizeof(number), "%llu", (unsigned long long)i);
	snprintf(option, sizeof(option), "tool --number=%llu", (unsigned long long)i);
	pid = start(path, argv, NULL);
	if (pid)
		wait_for(pid);
}

/* ---- the pace ---- */

static struct pace paces[] = {
	{.what = "spawns", .per_second = 250, .act = spawn_one},
	{.what = "spawns", .per_second = 250, .act = spawn_one},
	{.what = "connections", .per_second = 200, .act = connect_one},
	{.what = "sessions", .per_second = 50, .act = session_one},
	{.what = "datagrams", .per_second = 100, .act = datagram_one},
	{.what = "session_processes", .per_second = 2, .act = spawn_tls},
};

#define N_PACES (sizeof(paces) / sizeof(paces[0]))

static void sleep_until(uint64_t ns)
{
	struct timespec ts = {.tv_sec = ns / NSEC_PER_SEC, .tv_nsec = ns % NSEC_PER_SEC};

	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

static bool resting(uint64_t now)
{
	return (now - begin_ns) % CYCLE_NS >= CYCLE_NS - REST_NS;
}

/* When to act that is due at `due`. */
static uint64_t behind_a_rest(uint64_t due)
{
	return resting(due) ? due + CYCLE_NS - (due - begin_ns) % CYCLE_NS : due;
}

static void *pace_main(void *arg)
{
	struct pace *p = arg;
	uint64_t every = NSEC_PER_SEC / p->per_second, due = now_ns();
	uint64_t first = (uint64_t)(p - paces) << 40 >> 3; /* numbers of its own */

	while (now_ns() < end_ns) {
		p->act(first + p->done);
		__atomic_fetch_add(&p->done, 1, __ATOMIC_RELAXED);
		due += every;
		if (due + NSEC_PER_SEC / 10 < now_ns())
			due = now_ns();
		due = behind_a_rest(due);
		sleep_until(due);
	}
	return NULL;
}

static uint64_t done(const char *what)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < N_PACES; i++) {
		if (!strcmp(paces[i].what, what))
			sum += __atomic_load_n(&paces[i].done, __ATOMIC_RELAXED);
	}
	return sum;
}

static void tell(void)
{
	printf("{\"tls_port\": %u, \"processes\": %llu, \"spawns\": %llu, \"connections\": %llu, "
	       "\"sessions\": %llu, "
	       "\"datagrams\": %llu, \"session_processes\": %llu, \"failures\": %llu, \"resting\": "
	       "%s}\n",
	       tls_port, (unsigned long long)__atomic_load_n(&processes, __ATOMIC_RELAXED),
	       (unsigned long long)done("spawns"), (unsigned long long)done("connections"),
	       (unsigned long long)done("sessions"), (unsigned long long)done("datagrams"),
	       (unsigned long long)done("session_processes"),
	       (unsigned long long)__atomic_load_n(&failures, __ATOMIC_RELAXED),
	       resting(now_ns()) ? "true" : "false");
	fflush(stdout);
}

static void make_names(void)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/n/tool", directory);
	if (symlink(child, path) < 0 && errno != EEXIST)
		err(1, "cannot make %s", path);
	for (int i = 0; i < NAMES; i++) {
		snprintf(path, sizeof(path), "%s/n/name%d", directory, i);
		if (symlink(child, path) < 0 && errno != EEXIST)
			err(1, "cannot make %s", path);
	}
}

static void servers(void)
{
	pthread_t thread;

	plain_listener = listen_any(&plain_port);
	tls_listener = listen_any(&tls_port);
	for (int i = 0; i < 4; i++) {
		if (pthread_create(&thread, NULL, plain_server, NULL) ||
		    pthread_create(&thread, NULL, tls_server, NULL))
			errx(1, "cannot start a thread");
	}
}

static int one_session(char **argv)
{
	client_ctx = SSL_CTX_new(TLS_client_method());
	tls_port = atoi(argv[3]);
	return session(strtoull(argv[2], NULL, 10), true) ? 0 : 1;
}

int main(int argc, char **argv)
{
	double seconds, rate;

	signal(SIGPIPE, SIG_IGN);
	if (argc == 4 && !strcmp(argv[1], "--session"))
		return one_session(argv);
	if (argc != 5)
		errx(2, "usage: load SECONDS RATE CHILD DIRECTORY");
	seconds = atof(argv[1]);
	rate = atof(argv[2]);
	child = argv[3];
	directory = argv[4];
	if (seconds <= 0 || rate <= 0)
		errx(2, "SECONDS and RATE are above 0");
	null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (null_fd < 0)
		err(1, "/dev/null");
	make_names();
	make_contexts();
	servers();

	begin_ns = now_ns();
	end_ns = begin_ns + seconds * NSEC_PER_SEC;
	for (size_t i = 0; i < N_PACES; i++) {
		paces[i].per_second *= rate;
		if (pthread_create(&paces[i].thread, NULL, pace_main, &paces[i]))
			errx(1, "cannot start a thread");
	}
	while (now_ns() < end_ns) {
		sleep(1);
		tell();
	}
	for (size_t i = 0; i < N_PACES; i++)
		pthread_join(paces[i].thread, NULL);
	tell();
	return 0;
}
