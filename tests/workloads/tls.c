/* SPDX-License-Identifier: MIT */
/*
 * TLS traffic whose plaintext is known: a client and a server thread in this process talk over
 * loopback. On standard output stands, as JSON lines, what a tracer must have seen: for each
 * thread and direction the number of calls that moved bytes, their bytes, and the SHA-256 of these
 * in order. The last line says how long a request took.
 *
 *   tls pingpong N SIZE [--keepalive]   N requests of 64 bytes, answers of SIZE bytes
 *   tls ex N SIZE                       the same, kept alive, through SSL_read_ex and SSL_write_ex
 *   tls big BYTES                       one write of BYTES each way
 *   tls many N [--unnamed]              N connections with one small request each
 *   tls memory N                        the same, with a client over memory buffers
 *   tls alpn N                          the same, with another protocol on each connection
 *   tls sendfile BYTES                  a small answer, then BYTES by SSL_sendfile()
 *
 * `alpn` tells for each connection what the client was told; without --ask it is not asked and told by the
 * server alone. `sendfile` ends with status 77 where the library cannot do it.
 *
 * The client names the server "workload.test"; with --unnamed it takes that back.
 *
 * Built with the machine's OpenSSL, and by tests/tls with OpenSSL 1.1.1 and BoringSSL.
 *
 * --cpu K pins both threads to processor K; --wait waits for a line on standard input first;
 * --no-sum leaves the hashing out, for measuring.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#define REQUEST_LEN 64
#define WARM_UP     200 /* requests before the clock starts */

enum direction {
	DIR_READ,
	DIR_WRITE,
	N_DIRS,
};

struct tally {
	EVP_MD_CTX *sum;
	uint64_t bytes;
	uint64_t calls;
};

struct side {
	const char *role;
	pid_t tid;
	struct tally tallies[N_DIRS];
	char *buf;
};

static struct {
	size_t requests;
	size_t request_len;
	size_t answer_len;
	bool keepalive;
	bool ex;
	bool memory;
	bool alpn;
	bool ask;
	bool unnamed;
	bool by_reading;
	bool renegotiate;
	int beside; /* a connection without TLS; 0: none */
	bool broken;
	size_t sendfile_len;
	bool sums;
	int cpu;
	int listener;
	struct sockaddr_in addr;
	SSL_CTX *server_ctx;
} cfg = {.requests = 1, .request_len = REQUEST_LEN, .answer_len = 1024, .sums = true, .cpu = -1};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* What BoringSSL and OpenSSL 1.1.1 lack. */
#ifdef OPENSSL_IS_BORINGSSL
static int SSL_write_ex(SSL *ssl, const void *p, size_t n, size_t *ret)
{
	errx(2, "BoringSSL has no SSL_write_ex");
}

static int SSL_read_ex(SSL *ssl, void *p, size_t n, size_t *ret)
{
	errx(2, "BoringSSL has no SSL_read_ex");
}
#endif

#if OPENSSL_VERSION_NUMBER < 0x30000000L
typedef ssize_t ossl_ssize_t;

#define BIO_CTRL_GET_KTLS_SEND 73

static ossl_ssize_t SSL_sendfile(SSL *ssl, int fd, off_t offset, size_t n, int flags)
{
	return -1;
}

/* Of P-256, whatever the name. */
static EVP_PKEY *EVP_EC_gen(const char *curve)
{
	EC_KEY *ec = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
	EVP_PKEY *key = EVP_PKEY_new();

	if (!ec || !key || EC_KEY_generate_key(ec) != 1 || EVP_PKEY_assign_EC_KEY(key, ec) != 1)
		errx(1, "cannot make a key");
	return key;
}
#endif

/* ---- counting what passes ---- */

static void side_begin(struct side *s, const char *role)
{
	s->role = role;
	s->tid = (pid_t)syscall(SYS_gettid);
	s->buf = malloc(cfg.request_len + cfg.answer_len);
	if (!s->buf)
		err(1, "malloc");
	for (int i = 0; i < N_DIRS; i++) {
		s->tallies[i].sum = EVP_MD_CTX_new();
		EVP_DigestInit_ex(s->tallies[i].sum, EVP_sha256(), NULL);
	}
}

static void side_count(struct side *s, enum direction dir, const void *p, size_t n)
{
	s->tallies[dir].calls++;
	s->tallies[dir].bytes += n;
	if (cfg.sums)
		EVP_DigestUpdate(s->tallies[dir].sum, p, n);
}

static void side_print(struct side *s)
{
	static const char *const names[] = {"read", "write"};
	unsigned char sum[EVP_MAX_MD_SIZE];

	for (int dir = 0; dir < N_DIRS; dir++) {
		struct tally *t = &s->tallies[dir];
		unsigned int n = 0;

		EVP_DigestFinal_ex(t->sum, sum, &n);
		printf("{\"pid\":%d,\"tid\":%d,\"role\":\"%s\",\"direction\":\"%s\",\"calls\":%llu,"
		       "\"bytes\":%llu",
		       getpid(), s->tid, s->role, names[dir], (unsigned long long)t->calls,
		       (unsigned long long)t->bytes);
		if (cfg.sums) {
			printf(",\"sha256\":\"");
			for (unsigned int i = 0; i < n; i++)
				printf("%02x", sum[i]);
			printf("\"");
		}
		printf("}\n");
		EVP_MD_CTX_free(t->sum);
	}
	free(s->buf);
}

/* ---- a session over memory ---- */

/* The socket of a session that does not know it; -1 for all others. */
static int memory_socket(const SSL *ssl)
{
	return cfg.memory ? (int)(intptr_t)SSL_get_ex_data(ssl, 0) - 1 : -1;
}

/* What the session has encrypted goes to its socket. */
static void memory_send(SSL *ssl)
{
	int fd = memory_socket(ssl), n;
	char buf[4096];

	while (fd >= 0 && (n = BIO_read(SSL_get_wbio(ssl), buf, sizeof(buf))) > 0) {
		if (send(fd, buf, (size_t)n, 0) != n)
			err(1, "send");
	}
}

/* Gives the session what has arrived; false when that is nothing, or it has a socket itself. */
static bool memory_receive(SSL *ssl)
{
	int fd = memory_socket(ssl);
	char buf[4096];
	ssize_t n = fd < 0 ? 0 : recv(fd, buf, sizeof(buf), 0);

	return n > 0 && BIO_write(SSL_get_rbio(ssl), buf, (int)n) == n;
}

/* As node does: the handshake is a part of reading. */
static int handshake_by_reading(SSL *ssl)
{
	char c;

	for (;;) {
		SSL_read(ssl, &c, sizeof(c));
		memory_send(ssl);
		if (SSL_is_init_finished(ssl))
			return 1;
		if (!memory_receive(ssl))
			return -1;
	}
}

static int handshake(SSL *ssl)
{
	int r;

	if (cfg.by_reading)
		return handshake_by_reading(ssl);
	while ((r = SSL_do_handshake(ssl)) != 1) {
		memory_send(ssl);
		if (!memory_receive(ssl))
			return r;
	}
	memory_send(ssl);
	return r;
}

static void use_socket(SSL *ssl, int fd, bool memory)
{
	if (!memory) {
		SSL_set_fd(ssl, fd);
		return;
	}
	SSL_set_ex_data(ssl, 0, (void *)(intptr_t)(fd + 1));
	SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
}

/* ---- what is spoken ---- */

/* In the format of the extension: lengths before names. */
static const unsigned char offers[] = "\2h2\10http/1.1\5x-own";

/* The nth connection's: each of the offers, then none. */
static const unsigned char *protocol(size_t nth)
{
	static const size_t at[] = {0, 3, 12};

	return nth % 4 < 3 ? offers + at[nth % 4] : NULL;
}

static size_t selections;

static int select_protocol(SSL *ssl, const unsigned char **out, unsigned char *len,
			   const unsigned char *in, unsigned int in_len, void *arg)
{
	const unsigned char *p = protocol(selections++);

	if (!p)
		return SSL_TLSEXT_ERR_NOACK;
	*out = p + 1;
	*len = *p;
	return SSL_TLSEXT_ERR_OK;
}

static void tell_protocol(const SSL *ssl, size_t nth)
{
	const unsigned char *p = protocol(nth), *told = NULL;
	unsigned int len = 0;

	if (cfg.ask) {
		SSL_get0_alpn_selected(ssl, &told, &len);
		if (len != (p ? *p : 0) || (p && memcmp(told, p + 1, len)))
			errx(1, "another protocol was agreed upon");
	}
	printf("{\"pid\":%d,\"tid\":%d,\"nth\":%zu,\"alpn\":\"%.*s\"}\n", getpid(),
	       (pid_t)syscall(SYS_gettid), nth, p ? *p : 0, p ? (const char *)p + 1 : "");
}

/* ---- sending a file ---- */

static bool offloaded;

/* Says that the kernel encrypts, as long as that is pretended. */
static long offload_ctrl(BIO *b, int cmd, long num, void *ptr)
{
	if (cmd == BIO_CTRL_GET_KTLS_SEND)
		return offloaded;
	return BIO_ctrl(BIO_next(b), cmd, num, ptr);
}

static int offload_write(BIO *b, const char *p, int n)
{
	return BIO_write(BIO_next(b), p, n);
}

static int offload_read(BIO *b, char *p, int n)
{
	return BIO_read(BIO_next(b), p, n);
}

static void offload_push(SSL *ssl, int fd)
{
	BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_FILTER, "offload");
	BIO *filter;

	BIO_meth_set_ctrl(m, offload_ctrl);
	BIO_meth_set_write(m, offload_write);
	BIO_meth_set_read(m, offload_read);
	filter = BIO_new(m);
	BIO_set_init(filter, 1);
	filter = BIO_push(filter, BIO_new_socket(fd, BIO_NOCLOSE));
	SSL_set_bio(ssl, filter, filter);
}

/* The file's bytes go out as they are: the kernel was to encrypt them. */
static void send_file(SSL *ssl)
{
	int file = memfd_create("answer", MFD_CLOEXEC);
	ossl_ssize_t n;

	if (file < 0 || ftruncate(file, (off_t)cfg.sendfile_len) < 0)
		err(1, "memfd_create");
	offloaded = true;
	for (size_t done = 0; done < cfg.sendfile_len; done += (size_t)n) {
		n = SSL_sendfile(ssl, file, (off_t)done, cfg.sendfile_len - done, 0);
		if (n <= 0)
			_exit(77);
	}
	offloaded = false;
	close(file);
}

static void receive_file(SSL *ssl)
{
	char buf[65536];
	ssize_t n;

	for (size_t done = 0; done < cfg.sendfile_len; done += (size_t)n) {
		n = recv(SSL_get_fd(ssl), buf, sizeof(buf), 0);
		if (n <= 0)
			err(1, "recv");
	}
}

/* ---- moving bytes ---- */

/*
 * What another connection sends before the session's nth write gets to its socket: less than was written; more; nothing,
 * once; and from then on as much.
 */
static void send_beside(size_t nth)
{
	static const size_t sizes[] = {8, 5000, 0, REQUEST_LEN + 22};
	size_t n = sizes[nth < 3 ? nth : 3];
	char buf[5000] = {};

	if (n && send(cfg.beside, buf, n, 0) != (ssize_t)n)
		err(1, "send");
}

static void write_all(struct side *s, SSL *ssl, size_t n)
{
	size_t done = n;

	if (!cfg.ex)
		done = (size_t)SSL_write(ssl, s->buf, (int)n);
	else if (SSL_write_ex(ssl, s->buf, n, &done) != 1)
		errx(1, "SSL_write_ex failed");
	if (done != n)
		errx(1, "SSL_write failed");
	side_count(s, DIR_WRITE, s->buf, n);
	if (cfg.beside && memory_socket(ssl) >= 0)
		send_beside(s->tallies[DIR_WRITE].calls - 1);
	if (cfg.memory)
		memory_send(ssl);
}

/* False when the other side has closed. */
static bool read_all(struct side *s, SSL *ssl, size_t n)
{
	for (size_t done = 0; done < n;) {
		size_t got = 0;
		int r = 1;

		if (cfg.ex)
			r = SSL_read_ex(ssl, s->buf + done, n - done, &got);
		else
			r = SSL_read(ssl, s->buf + done, (int)(n - done));
		if (r <= 0 && memory_receive(ssl))
			continue;
		if (r <= 0)
			return false;
		if (!cfg.ex)
			got = (size_t)r;
		side_count(s, DIR_READ, s->buf + done, got);
		done += got;
	}
	return true;
}

/* Other bytes each time, so that a mix-up shows. */
static void fill(char *p, size_t n, uint32_t seed)
{
	uint32_t x = seed * 2654435761U + 1;

	for (size_t i = 0; i < n; i++) {
		x = x * 1664525 + 1013904223;
		p[i] = (char)(x >> 24);
	}
}

static void pin(void)
{
	cpu_set_t set;

	if (cfg.cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET((unsigned int)cfg.cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		err(1, "sched_setaffinity");
}

/* ---- server ---- */

static void serve_connection(struct side *s, int fd, uint32_t *seed)
{
	SSL *ssl = SSL_new(cfg.server_ctx);
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (cfg.sendfile_len)
		offload_push(ssl, fd);
	else
		use_socket(ssl, fd, false);
	if (SSL_accept(ssl) != 1)
		errx(1, "SSL_accept failed");
	while (read_all(s, ssl, cfg.request_len)) {
		if (cfg.sums)
			fill(s->buf, cfg.answer_len, ++*seed);
		write_all(s, ssl, cfg.answer_len);
		if (cfg.sendfile_len)
			send_file(ssl);
	}
	SSL_free(ssl);
	close(fd);
}

static void *serve(void *arg)
{
	size_t connections = cfg.keepalive ? 1 : cfg.requests;
	struct side *s = arg;
	uint32_t seed = 1000000;

	pin();
	side_begin(s, "server");
	for (size_t i = 0; i < connections; i++) {
		int fd = accept(cfg.listener, NULL, NULL);

		if (fd < 0)
			err(1, "accept");
		serve_connection(s, fd, &seed);
	}
	return NULL;
}

/* ---- client ---- */

/* Both ends of a connection. */
static void connect_to_self(int ends[2])
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(addr);

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ends[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || ends[0] < 0 || bind(listener, (struct sockaddr *)&addr, len) < 0 ||
	    listen(listener, 1) < 0 || getsockname(listener, (struct sockaddr *)&addr, &len) < 0 ||
	    connect(ends[0], (struct sockaddr *)&addr, len) < 0)
		err(1, "cannot connect");
	ends[1] = accept(listener, NULL, NULL);
	if (ends[1] < 0)
		err(1, "accept");
	close(listener);
}

/* A session whose peer ends it before it is one. */
static void connect_in_vain(SSL_CTX *ctx)
{
	SSL *ssl = SSL_new(ctx);
	int ends[2];

	connect_to_self(ends);
	shutdown(ends[1], SHUT_WR);
	use_socket(ssl, ends[0], false);
	SSL_set_tlsext_host_name(ssl, "broken.test");
	if (SSL_connect(ssl) == 1)
		errx(1, "there is nobody whose hand was shaken");
	SSL_free(ssl);
	close(ends[0]);
	close(ends[1]);
}

static SSL *client_connect(SSL_CTX *ctx)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
	SSL *ssl;

	if (cfg.broken)
		connect_in_vain(ctx);
	ssl = SSL_new(ctx);
	if (fd < 0 || connect(fd, (struct sockaddr *)&cfg.addr, sizeof(cfg.addr)) < 0)
		err(1, "connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	use_socket(ssl, fd, cfg.memory);
	if (!cfg.broken)
		SSL_set_tlsext_host_name(ssl, "workload.test");
	if (cfg.unnamed)
		SSL_set_tlsext_host_name(ssl, NULL);
	SSL_set_connect_state(ssl);
	if (handshake(ssl) != 1)
		errx(1, "SSL_do_handshake failed");
	return ssl;
}

/* What the server answers to while it reads; TLS 1.3 has no such thing. */
static void renegotiate(SSL *ssl)
{
	if (SSL_renegotiate(ssl) != 1 || SSL_do_handshake(ssl) != 1)
		errx(1, "cannot shake hands again");
}

static void client_close(SSL *ssl)
{
	int fd = cfg.memory ? memory_socket(ssl) : SSL_get_fd(ssl);

	SSL_shutdown(ssl);
	SSL_free(ssl);
	close(fd);
}

/* The connection's port is told. */
static void connect_beside(void)
{
	struct sockaddr_in addr;
	socklen_t len = sizeof(addr);
	int ends[2];

	connect_to_self(ends);
	if (getpeername(ends[0], (struct sockaddr *)&addr, &len) < 0)
		err(1, "getpeername");
	printf("{\"beside\":%d}\n", ntohs(addr.sin_port));
	cfg.beside = ends[0];
}

/* Returns the time per request behind the warm-up. */
static uint64_t ask(struct side *s)
{
	size_t warm = cfg.requests > 2 * WARM_UP ? WARM_UP : 0;
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	uint64_t start = now_ns();
	SSL *ssl = NULL;

	if (cfg.alpn)
		SSL_CTX_set_alpn_protos(ctx, offers, sizeof(offers) - 1);
	if (cfg.renegotiate)
		SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
	for (size_t i = 0; i < cfg.requests; i++) {
		if (i == warm)
			start = now_ns();
		if (!ssl) {
			ssl = client_connect(ctx);
			if (cfg.alpn)
				tell_protocol(ssl, i);
		}
		if (cfg.sums || i == 0)
			fill(s->buf, cfg.request_len, (uint32_t)i);
		write_all(s, ssl, cfg.request_len);
		if (!read_all(s, ssl, cfg.answer_len))
			errx(1, "the answer is incomplete");
		if (cfg.sendfile_len)
			receive_file(ssl);
		if (cfg.renegotiate)
			renegotiate(ssl);
		if (!cfg.keepalive) {
			client_close(ssl);
			ssl = NULL;
		}
	}
	start = now_ns() - start;
	if (ssl)
		client_close(ssl);
	SSL_CTX_free(ctx);
	return start / (cfg.requests - warm);
}

/* ---- setting up ---- */

static SSL_CTX *server_context(void)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = X509_new();
	X509_NAME *name = X509_get_subject_name(cert);

	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
	X509_gmtime_adj(X509_getm_notAfter(cert), 24 * 3600);
	X509_set_pubkey(cert, key);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"workload.test",
				   -1, -1, 0);
	X509_set_issuer_name(cert, name);
	if (!X509_sign(cert, key, EVP_sha256()) || SSL_CTX_use_certificate(ctx, cert) != 1 ||
	    SSL_CTX_use_PrivateKey(ctx, key) != 1)
		errx(1, "cannot make a certificate");
	X509_free(cert);
	EVP_PKEY_free(key);
	if (cfg.alpn)
		SSL_CTX_set_alpn_select_cb(ctx, select_protocol, NULL);
#ifdef SSL_OP_ALLOW_CLIENT_RENEGOTIATION
	SSL_CTX_set_options(ctx, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
#endif
	return ctx;
}

static void listen_on_loopback(void)
{
	socklen_t len = sizeof(cfg.addr);

	cfg.addr.sin_family = AF_INET;
	cfg.addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cfg.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (cfg.listener < 0 || bind(cfg.listener, (struct sockaddr *)&cfg.addr, len) < 0 ||
	    listen(cfg.listener, 128) < 0 ||
	    getsockname(cfg.listener, (struct sockaddr *)&cfg.addr, &len) < 0)
		err(1, "cannot listen");
}

static size_t number(const char *text)
{
	char *end;
	unsigned long long n;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno || *end || end == text || n < 1 || n > INT32_MAX)
		errx(2, "'%s' is not a number from 1 to %d", text, INT32_MAX);
	return (size_t)n;
}

static int usage(void)
{
	fprintf(stderr, "usage: tls pingpong N SIZE [--keepalive] | ex N SIZE | big BYTES | many N "
			"[--unnamed] [--broken] [--keepalive --renegotiate] |\n"
			"           memory N [--by-reading | --keepalive --beside] | alpn N "
			"[--ask] | sendfile BYTES\n"
			"       [--cpu K] [--wait] [--no-sum]\n");
	return 2;
}

int main(int argc, char **argv)
{
	const char *args[3] = {};
	struct side server = {}, client = {};
	bool wait_first = false, beside = false;
	pthread_t thread;
	uint64_t ns;
	int n = 0;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--keepalive"))
			cfg.keepalive = true;
		else if (!strcmp(argv[i], "--ask"))
			cfg.ask = true;
		else if (!strcmp(argv[i], "--unnamed"))
			cfg.unnamed = true;
		else if (!strcmp(argv[i], "--broken"))
			cfg.broken = true;
		else if (!strcmp(argv[i], "--beside"))
			beside = true;
		else if (!strcmp(argv[i], "--renegotiate"))
			cfg.renegotiate = true;
		else if (!strcmp(argv[i], "--by-reading"))
			cfg.by_reading = true;
		else if (!strcmp(argv[i], "--wait"))
			wait_first = true;
		else if (!strcmp(argv[i], "--no-sum"))
			cfg.sums = false;
		else if (!strcmp(argv[i], "--cpu") && i + 1 < argc)
			cfg.cpu = atoi(argv[++i]);
		else if (n < 3)
			args[n++] = argv[i];
	}

	if (n == 3 && (!strcmp(args[0], "pingpong") || !strcmp(args[0], "ex"))) {
		cfg.ex = args[0][0] == 'e';
		cfg.keepalive |= cfg.ex;
		cfg.requests = number(args[1]);
		cfg.answer_len = number(args[2]);
	} else if (n == 2 && !strcmp(args[0], "big")) {
		cfg.request_len = cfg.answer_len = number(args[1]);
		cfg.keepalive = true;
	} else if (n == 2 && (!strcmp(args[0], "many") || !strcmp(args[0], "memory") ||
			      !strcmp(args[0], "alpn"))) {
		cfg.memory = !strcmp(args[0], "memory");
		cfg.alpn = !strcmp(args[0], "alpn");
		cfg.requests = number(args[1]);
		cfg.answer_len = REQUEST_LEN;
	} else if (n == 2 && !strcmp(args[0], "sendfile")) {
		cfg.sendfile_len = number(args[1]);
		cfg.answer_len = REQUEST_LEN;
		cfg.keepalive = true;
	} else {
		return usage();
	}

	pin();
	cfg.server_ctx = server_context();
	listen_on_loopback();
	if (wait_first)
		(void)!getchar();
	side_begin(&client, "client");
	if (beside)
		connect_beside();
	if (pthread_create(&thread, NULL, serve, &server))
		errx(1, "pthread_create failed");
	ns = ask(&client);
	pthread_join(thread, NULL);

	side_print(&client);
	side_print(&server);
	printf("{\"requests\":%zu,\"ns_per_request\":%llu}\n", cfg.requests,
	       (unsigned long long)ns);
	SSL_CTX_free(cfg.server_ctx);
	return 0;
}
