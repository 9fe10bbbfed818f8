/* SPDX-License-Identifier: MIT */
/*
 * Many files with TLS, one after the other, as programs that bring their own library and are thrown away: each is a
 * copy of libssl, an inode that nobody has seen before, and is used by one process.
 *
 *   tls_bundles LIBRARY DIRECTORY N
 *
 * Copy K is DIRECTORY/bundle-K.so. Its process waits until it is probed, and sends "bundle K" to itself. The one of
 * copy 0 stays, and says so once more when the others have ended. Every other copy is deleted at once, the rest at
 * the end. What was not probed within some seconds is told, and is an error.
 */
#include <dlfcn.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <openssl/ssl.h>

#define PATIENCE_MS 20000
#define RETURNS_MS  20

/* The functions of one copy. */
static struct {
	typeof(&TLS_method) tls_method;
	typeof(&SSL_CTX_new) ctx_new;
	typeof(&SSL_CTX_set_cipher_list) ctx_ciphers;
	typeof(&SSL_CTX_ctrl) ctx_ctrl;
	typeof(&SSL_new) new;
	typeof(&SSL_set_fd) set_fd;
	typeof(&SSL_set_accept_state) set_accept;
	typeof(&SSL_set_connect_state) set_connect;
	typeof(&SSL_do_handshake) handshake;
	typeof(&SSL_read) read;
	typeof(&SSL_write) write;
} ssl;

static void library_open(const char *path)
{
	const struct {
		const char *name;
		void **at;
	} functions[] = {
		{"TLS_method", (void **)&ssl.tls_method},
		{"SSL_CTX_new", (void **)&ssl.ctx_new},
		{"SSL_CTX_set_cipher_list", (void **)&ssl.ctx_ciphers},
		{"SSL_CTX_ctrl", (void **)&ssl.ctx_ctrl},
		{"SSL_new", (void **)&ssl.new},
		{"SSL_set_fd", (void **)&ssl.set_fd},
		{"SSL_set_accept_state", (void **)&ssl.set_accept},
		{"SSL_set_connect_state", (void **)&ssl.set_connect},
		{"SSL_do_handshake", (void **)&ssl.handshake},
		{"SSL_read", (void **)&ssl.read},
		{"SSL_write", (void **)&ssl.write},
	};
	void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (!handle)
		errx(1, "%s", dlerror());
	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		*functions[i].at = dlsym(handle, functions[i].name);
		if (!*functions[i].at)
			errx(1, "%s", dlerror());
	}
}

/* The kernel's breakpoint stands where the function begins, or behind the landing pad of an indirect branch. */
static bool is_probed(const void *function)
{
#ifdef __aarch64__
	return *(const volatile uint32_t *)function == 0xd42000a0;
#else
	const volatile uint8_t *p = function;
	bool endbr64 = p[0] == 0xf3 && p[1] == 0x0f && p[2] == 0x1e && p[3] == 0xfa;

	return p[endbr64 ? 4 : 0] == 0xcc;
#endif
}

/* The others may be probed further in. Returns come behind entries, and nothing of them shows. */
static void wait_for_probes(const char *path)
{
	for (int ms = 0; !is_probed((const void *)ssl.handshake); ms++) {
		if (ms == PATIENCE_MS)
			errx(1, "%s is not probed", path);
		usleep(1000);
	}
	usleep(RETURNS_MS * 1000);
}

/* Without certificates, which would take longer than the rest. */
static SSL *session_new(int fd, bool server)
{
	SSL_CTX *ctx = ssl.ctx_new(ssl.tls_method());
	SSL *s;

	if (!ctx || ssl.ctx_ciphers(ctx, "aNULL:@SECLEVEL=0") != 1)
		errx(1, "no ciphers without certificates");
	ssl.ctx_ctrl(ctx, SSL_CTRL_SET_MAX_PROTO_VERSION, TLS1_2_VERSION, NULL);
	s = ssl.new(ctx);
	ssl.set_fd(s, fd);
	(server ? ssl.set_accept : ssl.set_connect)(s);
	return s;
}

static void say(SSL *from, SSL *to, const char *text)
{
	int len = (int)strlen(text);
	char got[64];

	if (ssl.write(from, text, len) != len || ssl.read(to, got, sizeof(got)) != len)
		errx(1, "'%s' did not arrive", text);
}

/* @stays: stops behind the first time, and goes on when it is told to. */
static int one(const char *path, const char *text, bool stays)
{
	int fds[2], done[2] = {};
	SSL *ends[2];

	library_open(path);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		err(1, "socketpair");
	for (int i = 0; i < 2; i++)
		ends[i] = session_new(fds[i], i);
	wait_for_probes(path);
	for (int i = 0; i < 20 && !(done[0] && done[1]); i++)
		done[i % 2] = ssl.handshake(ends[i % 2]) == 1;
	say(ends[0], ends[1], text);
	if (stays) {
		raise(SIGSTOP);
		say(ends[0], ends[1], text);
	}
	return 0;
}

static void copy(const char *from, const char *to)
{
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	struct stat st;

	if (in < 0 || out < 0 || fstat(in, &st) < 0)
		err(1, "%s to %s", from, to);
	for (off_t at = 0; at < st.st_size;) {
		if (sendfile(out, in, &at, (size_t)(st.st_size - at)) <= 0)
			err(1, "%s", to);
	}
	close(in);
	close(out);
}

static const char *bundle_path(const char *directory, int k)
{
	static char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/bundle-%d.so", directory, k);
	return path;
}

static pid_t bundle_run(const char *library, const char *directory, int k, const char *how)
{
	const char *path = bundle_path(directory, k);
	char text[32];
	pid_t pid;

	copy(library, path);
	snprintf(text, sizeof(text), "bundle %d", k);
	pid = fork();
	if (pid == 0) {
		execl("/proc/self/exe", "tls_bundles", how, path, text, (char *)NULL);
		_exit(127);
	}
	return pid;
}

static int ended_well(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid && status == 0;
}

int main(int argc, char **argv)
{
	int n, status, failed = 0;
	pid_t first;

	if (argc == 4 && (!strcmp(argv[1], "leaves") || !strcmp(argv[1], "stays")))
		return one(argv[2], argv[3], argv[1][0] == 's');
	if (argc != 4)
		errx(2, "usage: tls_bundles LIBRARY DIRECTORY N");

	n = atoi(argv[3]);
	first = bundle_run(argv[1], argv[2], 0, "stays");
	if (waitpid(first, &status, WUNTRACED) != first || !WIFSTOPPED(status))
		errx(1, "the first one has ended");
	for (int k = 1; k < n && !failed; k++) {
		failed = !ended_well(bundle_run(argv[1], argv[2], k, "leaves"));
		if (k % 2)
			unlink(bundle_path(argv[2], k));
	}
	kill(first, SIGCONT);
	failed += !ended_well(first);
	for (int k = 0; k < n; k++)
		unlink(bundle_path(argv[2], k));
	printf("{\"bundles\":%d,\"failed\":%d}\n", n, failed);
	return failed ? 1 : 0;
}
