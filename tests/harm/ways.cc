/* SPDX-License-Identifier: MIT */
/*
 * ways WAY...: leaves a TLS call in every way there is, looks at the stack from within one, or makes it where little
 * is allowed, and says what became of it. What it prints does not depend on the day: traced and untraced, it is
 * the same.
 *
 * Client and server are two sessions of one process, over memory or a pair of sockets. A return probe puts
 * another address where the caller's was; whoever walks the stack finds it there.
 */
#include <csetjmp>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include <execinfo.h>
#include <pthread.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include <unwind.h>

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

static const int LEN = 4000;

static void need(bool ok, const char *what)
{
	if (ok)
		return;
	printf("failed: %s\n", what);
	fflush(stdout);
	_exit(9);
}

/* ---- two sessions ---- */

static SSL_CTX *context(bool server)
{
	static EVP_PKEY *key = EVP_EC_gen("P-256");
	SSL_CTX *ctx = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
	X509 *cert;

	need(ctx && key, "a context");
	if (!server)
		return ctx;
	cert = X509_new();
	X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_set_pubkey(cert, key);
	X509_sign(cert, key, EVP_sha256());
	SSL_CTX_use_certificate(ctx, cert);
	SSL_CTX_use_PrivateKey(ctx, key);
	return ctx;
}

struct Pair {
	SSL *client, *server;
	int fds[2] = {-1, -1};

	explicit Pair(bool sockets = false)
	{
		BIO *a, *b;

		client = SSL_new(context(false));
		server = SSL_new(context(true));
		SSL_set_connect_state(client);
		SSL_set_accept_state(server);
		if (sockets) {
			need(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0, "sockets");
			SSL_set_fd(client, fds[0]);
			SSL_set_fd(server, fds[1]);
			return;
		}
		need(BIO_new_bio_pair(&a, 65536, &b, 65536) == 1, "buffers");
		SSL_set_bio(client, a, a);
		SSL_set_bio(server, b, b);
	}

	/* Over memory each side has its turn. */
	void shake()
	{
		for (int i = 0; i < 10; i++) {
			SSL_do_handshake(client);
			SSL_do_handshake(server);
		}
		need(SSL_is_init_finished(client) && SSL_is_init_finished(server), "the handshake");
	}

	/* Over sockets the server has a thread. */
	void shake_sockets()
	{
		pthread_t t;

		pthread_create(
			&t, nullptr,
			[](void *s) -> void * {
				SSL_do_handshake(static_cast<SSL *>(s));
				return nullptr;
			},
			server);
		need(SSL_do_handshake(client) == 1, "the handshake");
		pthread_join(t, nullptr);
	}

	/* Still usable: something goes each way. */
	void talk()
	{
		std::string sent(LEN, 'x'), got(LEN, ' ');

		need(SSL_write(client, sent.data(), LEN) == LEN, "a write");
		need(SSL_read(server, &got[0], LEN) == LEN && got == sent, "a read");
		need(SSL_write(server, sent.data(), LEN) == LEN, "a write back");
		need(SSL_read(client, &got[0], LEN) == LEN && got == sent, "a read back");
		printf("talked\n");
	}
};

/* ---- what a callback does ---- */

static void (*in_callback)();

static void called_back(const SSL *, int where, int)
{
	if (where == SSL_CB_HANDSHAKE_START && in_callback)
		in_callback();
}

static void watch(Pair &p, void (*fn)())
{
	in_callback = fn;
	SSL_set_info_callback(p.client, called_back);
}

static void throws()
{
	throw std::runtime_error("from within");
}

struct Guard {
	const char *name;
	~Guard()
	{
		printf("%s is left\n", name);
	}
};

__attribute__((noinline)) static int handshake_guarded(Pair &p)
{
	Guard g{"the guard"};

	return SSL_do_handshake(p.client);
}

static void way_throw()
{
	for (int i = 0; i < 3; i++) {
		Pair p, q;

		watch(p, throws);
		try {
			handshake_guarded(p);
			printf("nothing was thrown\n");
		} catch (const std::exception &e) {
			printf("caught %s\n", e.what());
		}
		q.shake();
		q.talk();
	}
}

static jmp_buf back;

static void jumps()
{
	longjmp(back, 1);
}

static void way_jump()
{
	for (volatile int i = 0; i < 20; i = i + 1) {
		Pair p, q;

		watch(p, jumps);
		if (setjmp(back) == 0)
			SSL_do_handshake(p.client);
		else
			printf("jumped\n");
		q.shake();
		q.talk();
	}
}

static int depth_seen;

/* How many frames of the way down to main() can be found? */
static void walks()
{
	struct walk {
		static _Unwind_Reason_Code frame(struct _Unwind_Context *, void *n)
		{
			++*static_cast<int *>(n);
			return _URC_NO_REASON;
		}
	};

	depth_seen = 0;
	_Unwind_Backtrace(walk::frame, &depth_seen);
}

static int backtrace_len;

static void traces()
{
	void *frames[64];

	backtrace_len = backtrace(frames, 64);
}

static void way_walk()
{
	Pair p, q;

	watch(p, walks);
	SSL_do_handshake(p.client);
	printf("%d frames\n", depth_seen);
	watch(q, traces);
	SSL_do_handshake(q.client);
	printf("%d frames\n", backtrace_len);
}

static void forks()
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		return; /* the child goes on, and returns from the call, too */
	waitpid(pid, &status, 0);
	printf("the child ended with %d\n", WEXITSTATUS(status));
}

static void way_fork()
{
	pid_t self = getpid();

	for (int i = 0; i < 5; i++) {
		Pair p;

		watch(p, forks);
		fflush(stdout);
		p.shake();
		if (getpid() != self)
			_exit(30 + i);
		p.talk();
	}
}

/* ---- threads that are cancelled in the middle ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *reads(void *arg)
{
	struct Locked {
		Locked()
		{
			pthread_mutex_lock(&lock);
		}
		~Locked()
		{
			pthread_mutex_unlock(&lock);
		}
	} locked;
	char buf[10];

	SSL_read(static_cast<SSL *>(arg), buf, sizeof(buf));
	return nullptr;
}

static void way_cancel()
{
	for (int i = 0; i < 3; i++) {
		Pair p(true);
		pthread_t t;
		void *result;

		p.shake_sockets();
		pthread_create(&t, nullptr, reads, p.server);
		usleep(50000);
		pthread_cancel(t);
		pthread_join(t, &result);
		printf("%s, its lock is %s\n",
		       result == PTHREAD_CANCELED ? "cancelled" : "returned",
		       pthread_mutex_trylock(&lock) == 0 ? "free" : "held");
		pthread_mutex_unlock(&lock);
	}
}

/* ---- signals ---- */

static volatile sig_atomic_t signals, in_handler;
static SSL *handler_client, *handler_server;

/* Not allowed, and done: TLS calls from within a handler, which interrupts TLS calls. */
static void handles(int)
{
	char c = 'h';

	signals = signals + 1;
	if (!handler_client || in_handler++)
		return;
	need(SSL_write(handler_client, &c, 1) == 1, "a write in a handler");
	need(SSL_read(handler_server, &c, 1) == 1, "a read in a handler");
	in_handler = 0;
}

static void ring(int usec)
{
	struct itimerval every = {{0, usec}, {0, usec}};

	setitimer(ITIMER_REAL, &every, nullptr);
}

static void way_signal()
{
	static char other[65536];
	stack_t stack = {};
	struct sigaction act = {};
	std::string sent(LEN, 's'), got(LEN, ' ');
	Pair p, h;

	stack.ss_sp = other;
	stack.ss_size = sizeof(other);
	sigaltstack(&stack, nullptr);
	act.sa_handler = handles;
	act.sa_flags = SA_ONSTACK | SA_RESTART;
	sigaction(SIGALRM, &act, nullptr);
	p.shake();
	h.shake();
	handler_client = h.client;
	handler_server = h.server;
	ring(200);
	for (int i = 0; i < 2000; i++) {
		need(SSL_write(p.client, sent.data(), LEN) == LEN, "a write");
		need(SSL_read(p.server, &got[0], LEN) == LEN && got == sent, "a read");
	}
	while (signals < 100)
		;
	ring(0);
	printf("signals came\n");
	p.talk();
}

static sigjmp_buf from_fault;
static volatile int *nowhere;

static void faults()
{
	*nowhere = 1;
}

static void jumps_out(int)
{
	siglongjmp(from_fault, 1);
}

static void way_fault()
{
	static char other[65536];
	stack_t stack = {};
	struct sigaction act = {};

	stack.ss_sp = other;
	stack.ss_size = sizeof(other);
	sigaltstack(&stack, nullptr);
	act.sa_handler = jumps_out;
	act.sa_flags = SA_ONSTACK;
	sigaction(SIGSEGV, &act, nullptr);
	for (volatile int i = 0; i < 10; i = i + 1) {
		Pair p, q;

		watch(p, faults);
		if (sigsetjmp(from_fault, 1) == 0)
			SSL_do_handshake(p.client);
		else
			printf("out of the fault\n");
		q.shake();
		q.talk();
	}
}

/* ---- ends in the middle of a call ---- */

static void way_segv()
{
	Pair p;

	watch(p, faults);
	SSL_do_handshake(p.client);
}

static void way_abort()
{
	Pair p;

	watch(p, abort);
	SSL_do_handshake(p.client);
}

static void exits()
{
	exit(42);
}

static void way_exit()
{
	Pair p;

	watch(p, exits);
	SSL_do_handshake(p.client);
}

static void execs()
{
	fflush(stdout);
	execl("/bin/echo", "echo", "another program", nullptr);
}

static void way_exec()
{
	Pair p;

	watch(p, execs);
	SSL_do_handshake(p.client);
}

static void vforks()
{
	pid_t pid = vfork();
	int status;

	if (pid == 0) {
		execl("/bin/false", "false", nullptr);
		_exit(3);
	}
	waitpid(pid, &status, 0);
	printf("false ended with %d\n", WEXITSTATUS(status));
}

static void way_vfork()
{
	for (int i = 0; i < 5; i++) {
		Pair p;

		watch(p, vforks);
		p.shake();
		p.talk();
	}
}

/* More calls within calls than a kernel keeps returns for. */
static int nesting;
static Pair *nested[100];

static void nests(const SSL *, int where, int)
{
	if (where == SSL_CB_HANDSHAKE_START && ++nesting < 100)
		SSL_do_handshake(nested[nesting]->client);
}

static void way_nest()
{
	for (Pair *&p : nested) {
		p = new Pair;
		SSL_set_info_callback(p->client, nests);
	}
	nesting = 0;
	SSL_do_handshake(nested[0]->client);
	for (Pair *p : nested) {
		SSL_set_info_callback(p->client, nullptr);
		p->shake();
	}
	printf("%d deep\n", nesting);
	nested[99]->talk();
}

/* ---- where little is allowed ---- */

static void says(const char *text)
{
	need(write(1, text, strlen(text)) == (ssize_t)strlen(text), "standard output");
}

/* Nothing but TLS calls over memory; what these need has been there before. */
static void talks_confined(Pair &p, const char *name)
{
	static char sent[LEN], got[LEN];

	for (int i = 0; i < 20; i++) {
		need(SSL_write(p.client, sent, LEN) == LEN, "a write");
		need(SSL_read(p.server, got, LEN) == LEN, "a read");
	}
	says(name);
	syscall(SYS_exit, 0); /* exit_group() is not allowed */
}

static void way_strict()
{
	Pair p;

	p.shake();
	p.talk();
	need(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) == 0, "seccomp");
	talks_confined(p, "strictly confined\n");
}

static void way_filter()
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog prog = {sizeof(filter) / sizeof(filter[0]), filter};
	Pair p;

	p.shake();
	p.talk();
	need(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
	need(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) == 0, "seccomp");
	talks_confined(p, "confined by a filter\n");
}

static void way_talk()
{
	Pair p;

	p.shake();
	for (int i = 0; i < 100; i++)
		p.talk();
}

static void way_setuid()
{
	Pair p;

	printf("user %d acts as %d, %s\n", (int)getuid(), (int)geteuid(),
	       getauxval(AT_SECURE) ? "secure" : "not secure");
	p.shake();
	p.talk();
}

static const struct {
	const char *name;
	void (*run)();
} ways[] = {
	{"throw", way_throw},   {"jump", way_jump},     {"walk", way_walk},
	{"fork", way_fork},     {"cancel", way_cancel}, {"signal", way_signal},
	{"fault", way_fault},   {"segv", way_segv},     {"abort", way_abort},
	{"exit", way_exit},     {"exec", way_exec},     {"vfork", way_vfork},
	{"nest", way_nest},     {"strict", way_strict}, {"filter", way_filter},
	{"setuid", way_setuid}, {"talk", way_talk},
};

int main(int argc, char **argv)
{
	setvbuf(stdout, nullptr, _IOLBF, 0);
	for (int i = 1; i < argc; i++) {
		for (const auto &way : ways) {
			if (!strcmp(way.name, argv[i]))
				way.run();
		}
	}
	return 0;
}
