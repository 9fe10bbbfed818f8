/* SPDX-License-Identifier: MIT */
/*
 * A library to be preloaded: it counts the calls of a program that can fail, and makes one of them fail.
 *
 *   FAULT_LOG=FILE                 where what happened is written, as `struct log`
 *   FAULT_PLAN=count               every call is logged with a hash of the stack that led to it
 *   FAULT_PLAN=NAME:N:ERRNO:MODE   call N of NAME fails with ERRNO; MODE is `once`, `on` (and all that follow), or
 *                                  `short` (only half of the bytes are moved)
 *
 * NAME is a function's, `mem` for every allocation, or `bpf_5` for a command of bpf(2). Calls that libc makes
 * inside itself pass by, but for allocations; fopen() and its like are calls of their own for that reason. The
 * library takes itself out of the environment: a command that the program starts is left alone, and
 * so is a process that it forks, unless FAULT_CHILDREN is set.
 *
 * FAULT_PROCESS=NAME turns that around: counted and failed are the calls of the process alone that is forked and gives
 * itself this name, from then on.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#define BPF_COMMANDS 40
#define LOG_CALLS    (1U << 18)
#define FRAMES       16
#define STACK_DEPTH  8 /* what makes two calls different */
#define MAGIC        0x544c554146ULL

/* ---- the log, which the driver reads ---- */

struct call {
	char name[24];
	uint32_t n;
	uint32_t pid;
	uint64_t stack;
	uint64_t frames[FRAMES];
};

struct log {
	uint64_t magic;
	_Atomic uint64_t hits;
	_Atomic uint32_t n_calls;
	uint32_t pid;
	char pad[40];
	struct call calls[];
};

/* ---- what is counted ---- */

/* clang-format off */
#define FUNCTIONS(X) \
	X(mem) X(open) X(openat) X(read) X(pread) X(write) X(readlink) X(fopen) X(fdopen) \
	X(opendir) X(readdir) X(scandir) X(fgets) X(fread) X(fwrite) X(fflush) X(fclose) X(fstat) \
	X(fstatat) X(access) X(fcntl) X(ioctl) X(mmap) X(munmap) X(epoll_create) X(epoll_ctl) \
	X(epoll_wait) X(poll) X(eventfd) X(signalfd) X(timerfd_create) X(timerfd_settime) X(socket) \
	X(socketpair) X(bind) X(send) X(recv) X(setsockopt) X(getsockname) X(pipe) X(dup) X(fork) \
	X(pthread_create) X(rename) X(unlink) X(mkdir) X(ftruncate) X(fchmod) X(fchown) X(lseek) \
	X(memfd_create) X(wait) X(kill) X(prctl) X(setpriority) X(setrlimit) X(getrlimit) X(uname) \
	X(getrandom) X(realpath) X(dlopen) X(sigprocmask) X(read_event) X(write_event) \
	X(perf_event_open) X(pidfd_open) X(syscall) X(bpf)
/* clang-format on */

enum function {
#define X(name) F_##name,
	FUNCTIONS(X)
#undef X
		F_COUNT = F_bpf + BPF_COMMANDS,
};

static const char *const names[] = {
#define X(name) #name,
	FUNCTIONS(X)
#undef X
};

static struct {
	struct log *log;
	bool counting, children;
	pid_t pid; /* whose calls count; 0: nobody's yet */
	char process[16];
	int function; /* that is to fail; -1: none */
	uint32_t n;
	int error; /* 0: short */
	bool on;
	_Atomic uint32_t calls[F_COUNT];
} plan = {.function = -1};

/* In here, or in the dynamic linker on our behalf: nothing counts. Not with __tls_get_addr(), which allocates. */
static _Thread_local __attribute__((tls_model("initial-exec"))) bool inside;

static void name_of(int function, char out[24])
{
	if (function < F_bpf)
		snprintf(out, 24, "%s", names[function]);
	else
		snprintf(out, 24, "bpf_%d", function - F_bpf);
}

static int function_named(const char *name)
{
	char one[24];

	for (int i = 0; i < F_COUNT; i++) {
		name_of(i, one);
		if (!strcmp(one, name))
			return i;
	}
	return -1;
}

/* Not our own. */
static long (*raw_syscall)(long, ...);

static void log_call(int function, uint32_t n)
{
	uint32_t at = atomic_fetch_add(&plan.log->n_calls, 1);
	void *frames[FRAMES + 3];
	struct call *c;
	int depth;

	if (at >= LOG_CALLS)
		return;
	c = &plan.log->calls[at];
	name_of(function, c->name);
	c->n = n;
	c->pid = raw_syscall(SYS_gettid);
	/* without ourselves: backtrace's caller, fails(), the wrapper */
	depth = backtrace(frames, FRAMES + 3);
	c->stack = 14695981039346656037ULL;
	for (int i = 3; i < depth; i++) {
		c->frames[i - 3] = (uintptr_t)frames[i];
		if (i - 3 < STACK_DEPTH)
			c->stack = (c->stack ^ (uintptr_t)frames[i]) * 1099511628211ULL;
	}
}

/* 0: go on; -1: move half; else the error that this call is to have. */
static __attribute__((noinline)) int fails(int function)
{
	uint32_t n;
	bool hit;

	if (!plan.log || inside || (!plan.children && getpid() != plan.pid))
		return 0;
	inside = true;
	n = atomic_fetch_add(&plan.calls[function], 1) + 1;
	hit = plan.function == function && (n == plan.n || (plan.on && n > plan.n));
	if (plan.counting)
		log_call(function, n);
	else if (hit && atomic_fetch_add(&plan.log->hits, 1) == 0)
		log_call(function, n);
	inside = false;
	if (!hit)
		return 0;
	return plan.error ? plan.error : -1;
}

static void *next(const char *name)
{
	bool before = inside;
	void *p;

	inside = true;
	p = dlsym(RTLD_NEXT, name);
	inside = before;
	if (!p)
		abort();
	return p;
}

/* ---- the functions ---- */

#define EXPORT __attribute__((visibility("default")))

/* A function that returns @bad and sets errno, behind @failed; @cut is what makes it do only half of its work. */
#define WRAP_CALL(function, type, bad, name, params, args, failed, cut) \
	EXPORT type name params;                                        \
	EXPORT type name params                                         \
	{                                                               \
		static type(*real) params;                              \
		int error;                                              \
                                                                        \
		if (!real)                                              \
			real = (type(*) params)next(#name);             \
		error = fails(F_##function);                            \
		if (error > 0) {                                        \
			failed;                                         \
			errno = error;                                  \
			return bad;                                     \
		}                                                       \
		if (error < 0) {                                        \
			cut;                                            \
		}                                                       \
		return real args;                                       \
	}

#define WRAP(function, type, bad, name, params, args) \
	WRAP_CALL(function, type, bad, name, params, args, , )

/* One that moves @len bytes, and may move fewer. */
#define WRAP_BYTES(function, name, params, args) \
	WRAP_CALL(function, ssize_t, -1, name, params, args, , len = (len + 1) / 2)

/* What is done with a stream also leaves its mark on it, which ferror() sees: a bit that has no other way in. */
#define STREAM_ERROR 0x20 /* glibc's _IO_ERR_SEEN */

static void stream_mark(FILE *f)
{
	if (f)
		f->_flags |= STREAM_ERROR;
}

#define WRAP_STREAM(function, type, bad, name, params, args) \
	WRAP_CALL(function, type, bad, name, params, args, stream_mark(f), )

/* A descriptor comes back, or -1. One number or pointer stands behind @params, of which @last is the last. */
#define WRAP_VARIADIC(function, name, params, last, args)  \
	EXPORT int name params;                            \
	EXPORT int name params                             \
	{                                                  \
		static int(*real) params;                  \
		va_list ap;                                \
		void *arg;                                 \
		int error;                                 \
                                                           \
		va_start(ap, last);                        \
		arg = va_arg(ap, void *);                  \
		va_end(ap);                                \
		if (!real)                                 \
			real = (int(*) params)next(#name); \
		error = fails(F_##function);               \
		if (error > 0) {                           \
			errno = error;                     \
			return -1;                         \
		}                                          \
		return real args;                          \
	}

WRAP(mem, void *, NULL, malloc, (size_t size), (size))
WRAP(mem, void *, NULL, calloc, (size_t n, size_t size), (n, size))
WRAP(mem, void *, NULL, realloc, (void *p, size_t size), (p, size))
WRAP(mem, void *, NULL, reallocarray, (void *p, size_t n, size_t size), (p, n, size))
WRAP(mem, void *, NULL, aligned_alloc, (size_t align, size_t size), (align, size))

EXPORT int posix_memalign(void **ret, size_t align, size_t size)
{
	static int (*real)(void **, size_t, size_t);

	if (!real)
		real = (int (*)(void **, size_t, size_t))next("posix_memalign");
	return fails(F_mem) > 0 ? ENOMEM : real(ret, align, size);
}

WRAP_VARIADIC(open, open, (const char *path, int flags, ...), flags, (path, flags, arg))
WRAP_VARIADIC(open, open64, (const char *path, int flags, ...), flags, (path, flags, arg))
WRAP_VARIADIC(openat, openat, (int dir, const char *path, int flags, ...), flags,
	      (dir, path, flags, arg))
WRAP_VARIADIC(openat, openat64, (int dir, const char *path, int flags, ...), flags,
	      (dir, path, flags, arg))
WRAP_VARIADIC(fcntl, fcntl, (int fd, int request, ...), request, (fd, request, arg))
WRAP_VARIADIC(fcntl, fcntl64, (int fd, int request, ...), request, (fd, request, arg))
WRAP_VARIADIC(ioctl, ioctl, (int fd, unsigned long request, ...), request, (fd, request, arg))

WRAP_BYTES(pread, pread, (int fd, void *p, size_t len, off_t at), (fd, p, len, at))
WRAP_BYTES(pread, pread64, (int fd, void *p, size_t len, off64_t at), (fd, p, len, at))
WRAP_BYTES(send, send, (int fd, const void *p, size_t len, int flags), (fd, p, len, flags))
WRAP_BYTES(send, sendto,
	   (int fd, const void *p, size_t len, int flags, const struct sockaddr *to, socklen_t n),
	   (fd, p, len, flags, to, n))
WRAP_BYTES(recv, recv, (int fd, void *p, size_t len, int flags), (fd, p, len, flags))
/* An eventfd, a timer, an iterator: what stands in no file system has errors of its own. */
static bool is_event(int fd)
{
	int before = errno;
	struct stat st;
	bool is = raw_syscall(SYS_fstat, fd, &st) == 0 && !(st.st_mode & S_IFMT);

	errno = before;
	return is;
}

EXPORT ssize_t read(int fd, void *p, size_t len)
{
	static ssize_t (*real)(int, void *, size_t);
	int error;

	if (!real)
		real = (ssize_t(*)(int, void *, size_t))next("read");
	error = plan.log ? fails(is_event(fd) ? F_read_event : F_read) : 0;
	if (error > 0) {
		errno = error;
		return -1;
	}
	return real(fd, p, error < 0 ? (len + 1) / 2 : len);
}

/* By it is told what has failed: a full disk that takes no messages either is another test. */
static bool is_messages(int fd)
{
	int before = errno;
	struct stat st, err;
	bool is = raw_syscall(SYS_fstat, fd, &st) == 0 &&
		  raw_syscall(SYS_fstat, STDERR_FILENO, &err) == 0 && st.st_dev == err.st_dev &&
		  st.st_ino == err.st_ino;

	errno = before;
	return is;
}

EXPORT ssize_t write(int fd, const void *p, size_t len)
{
	static ssize_t (*real)(int, const void *, size_t);
	int error;

	if (!real)
		real = (ssize_t(*)(int, const void *, size_t))next("write");
	error = plan.log && !is_messages(fd) ? fails(is_event(fd) ? F_write_event : F_write) : 0;
	if (error > 0) {
		errno = error;
		return -1;
	}
	return real(fd, p, error < 0 ? (len + 1) / 2 : len);
}

WRAP(send, ssize_t, -1, sendmsg, (int fd, const struct msghdr *m, int flags), (fd, m, flags))
WRAP(recv, ssize_t, -1, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags))
WRAP_BYTES(readlink, readlink, (const char *path, char *p, size_t len), (path, p, len))
WRAP_BYTES(readlink, readlinkat, (int dir, const char *path, char *p, size_t len),
	   (dir, path, p, len))
WRAP(fopen, FILE *, NULL, fopen, (const char *path, const char *mode), (path, mode))
WRAP(fopen, FILE *, NULL, fopen64, (const char *path, const char *mode), (path, mode))
WRAP(fopen, FILE *, NULL, fmemopen, (void *p, size_t len, const char *mode), (p, len, mode))
WRAP(fdopen, FILE *, NULL, fdopen, (int fd, const char *mode), (fd, mode))
WRAP(opendir, DIR *, NULL, opendir, (const char *path), (path))
WRAP(opendir, DIR *, NULL, fdopendir, (int fd), (fd))
WRAP(readdir, struct dirent *, NULL, readdir, (DIR * d), (d))
WRAP(scandir, int, -1, scandir,
     (const char *path, struct dirent ***list, int (*filter)(const struct dirent *),
      int (*compare)(const struct dirent **, const struct dirent **)),
     (path, list, filter, compare))
WRAP_STREAM(fgets, char *, NULL, fgets, (char *p, int n, FILE *f), (p, n, f))
WRAP_STREAM(fread, size_t, 0, fread, (void *p, size_t size, size_t n, FILE *f), (p, size, n, f))
WRAP_STREAM(fwrite, size_t, 0, fwrite, (const void *p, size_t size, size_t n, FILE *f),
	    (p, size, n, f))
WRAP_STREAM(fflush, int, EOF, fflush, (FILE * f), (f))
WRAP(fstat, int, -1, fstat, (int fd, struct stat *st), (fd, st))
WRAP(fstatat, int, -1, stat, (const char *path, struct stat *st), (path, st))
WRAP(fstatat, int, -1, fstatat, (int dir, const char *path, struct stat *st, int flags),
     (dir, path, st, flags))
WRAP(access, int, -1, access, (const char *path, int mode), (path, mode))
WRAP(access, int, -1, faccessat, (int dir, const char *path, int mode, int flags),
     (dir, path, mode, flags))
WRAP(mmap, void *, MAP_FAILED, mmap, (void *p, size_t len, int prot, int flags, int fd, off_t at),
     (p, len, prot, flags, fd, at))
WRAP(mmap, void *, MAP_FAILED, mmap64,
     (void *p, size_t len, int prot, int flags, int fd, off64_t at), (p, len, prot, flags, fd, at))
WRAP(munmap, int, -1, munmap, (void *p, size_t len), (p, len))
WRAP(epoll_create, int, -1, epoll_create1, (int flags), (flags))
WRAP(epoll_ctl, int, -1, epoll_ctl, (int fd, int op, int which, struct epoll_event *ev),
     (fd, op, which, ev))
WRAP(epoll_wait, int, -1, epoll_wait, (int fd, struct epoll_event *ev, int n, int ms),
     (fd, ev, n, ms))
WRAP(poll, int, -1, poll, (struct pollfd * fds, nfds_t n, int ms), (fds, n, ms))
WRAP(eventfd, int, -1, eventfd, (unsigned n, int flags), (n, flags))
WRAP(signalfd, int, -1, signalfd, (int fd, const sigset_t *set, int flags), (fd, set, flags))
WRAP(timerfd_create, int, -1, timerfd_create, (clockid_t clock, int flags), (clock, flags))
WRAP(timerfd_settime, int, -1, timerfd_settime,
     (int fd, int flags, const struct itimerspec *to, struct itimerspec *old), (fd, flags, to, old))
WRAP(socket, int, -1, socket, (int domain, int type, int protocol), (domain, type, protocol))
WRAP(socketpair, int, -1, socketpair, (int domain, int type, int protocol, int fds[2]),
     (domain, type, protocol, fds))
WRAP(bind, int, -1, bind, (int fd, const struct sockaddr *to, socklen_t n), (fd, to, n))
WRAP(setsockopt, int, -1, setsockopt, (int fd, int level, int name, const void *p, socklen_t n),
     (fd, level, name, p, n))
WRAP(getsockname, int, -1, getsockname, (int fd, struct sockaddr *of, socklen_t *n), (fd, of, n))
WRAP(pipe, int, -1, pipe2, (int fds[2], int flags), (fds, flags))
WRAP(dup, int, -1, dup2, (int fd, int to), (fd, to))
WRAP(dup, int, -1, dup3, (int fd, int to, int flags), (fd, to, flags))
WRAP(fork, pid_t, -1, fork, (void), ())
WRAP(rename, int, -1, rename, (const char *from, const char *to), (from, to))
WRAP(rename, int, -1, renameat, (int from_dir, const char *from, int to_dir, const char *to),
     (from_dir, from, to_dir, to))
WRAP(unlink, int, -1, unlink, (const char *path), (path))
WRAP(unlink, int, -1, unlinkat, (int dir, const char *path, int flags), (dir, path, flags))
WRAP(mkdir, int, -1, mkdir, (const char *path, mode_t mode), (path, mode))
WRAP(ftruncate, int, -1, ftruncate, (int fd, off_t len), (fd, len))
WRAP(fchmod, int, -1, fchmod, (int fd, mode_t mode), (fd, mode))
WRAP(fchown, int, -1, fchown, (int fd, uid_t uid, gid_t gid), (fd, uid, gid))
WRAP(lseek, off_t, -1, lseek, (int fd, off_t at, int whence), (fd, at, whence))
WRAP(memfd_create, int, -1, memfd_create, (const char *name, unsigned flags), (name, flags))
WRAP(wait, pid_t, -1, waitpid, (pid_t pid, int *status, int flags), (pid, status, flags))
WRAP(wait, pid_t, -1, wait4, (pid_t pid, int *status, int flags, struct rusage *used),
     (pid, status, flags, used))
WRAP(kill, int, -1, kill, (pid_t pid, int signo), (pid, signo))
WRAP(setrlimit, int, -1, setrlimit, (__rlimit_resource_t which, const struct rlimit *to),
     (which, to))
WRAP(setrlimit, int, -1, setrlimit64, (__rlimit_resource_t which, const struct rlimit64 *to),
     (which, to))
WRAP(getrlimit, int, -1, getrlimit, (__rlimit_resource_t which, struct rlimit *to), (which, to))
WRAP(getrlimit, int, -1, getrlimit64, (__rlimit_resource_t which, struct rlimit64 *to), (which, to))
WRAP(uname, int, -1, uname, (struct utsname * to), (to))
WRAP(getrandom, ssize_t, -1, getrandom, (void *p, size_t len, unsigned flags), (p, len, flags))
WRAP(realpath, char *, NULL, realpath, (const char *path, char *to), (path, to))
WRAP(dlopen, void *, NULL, dlopen, (const char *path, int flags), (path, flags))
WRAP(sigprocmask, int, -1, sigprocmask, (int how, const sigset_t *set, sigset_t *old),
     (how, set, old))

static void look_at_name(const char *name)
{
	if (*plan.process && !strcmp(name, plan.process))
		plan.pid = getpid();
}

EXPORT int prctl(int option, ...)
{
	static int (*real)(int, ...);
	unsigned long a[4];
	va_list ap;
	int error;

	va_start(ap, option);
	for (int i = 0; i < 4; i++)
		a[i] = va_arg(ap, unsigned long);
	va_end(ap);
	if (!real)
		real = (int (*)(int, ...))next("prctl");
	if (option == PR_SET_NAME)
		look_at_name((const char *)a[0]);
	error = fails(F_prctl);
	if (error > 0) {
		errno = error;
		return -1;
	}
	return real(option, a[0], a[1], a[2], a[3]);
}

/* Thousands of runs shall not be in anybody's way: the priority stays what it is. */
EXPORT int setpriority(__priority_which_t which, id_t who, int value)
{
	int error = fails(F_setpriority);

	if (error > 0) {
		errno = error;
		return -1;
	}
	return 0;
}

/* It closes in any case, as the kernel does. */
EXPORT int fclose(FILE *f)
{
	static int (*real)(FILE *);
	int error, r;

	if (!real)
		real = (int (*)(FILE *))next("fclose");
	error = fails(F_fclose);
	r = real(f);
	if (error > 0) {
		errno = error;
		return EOF;
	}
	return r;
}

EXPORT int pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*start)(void *),
			  void *arg)
{
	static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
	int error;

	if (!real)
		real = (int (*)(pthread_t *, const pthread_attr_t *, void *(*)(void *),
				void *))next("pthread_create");
	error = fails(F_pthread_create);
	return error > 0 ? error : real(ret, attr, start, arg);
}

static int function_of_syscall(long number, long first)
{
	switch (number) {
	case SYS_bpf:
		return first >= 0 && first < BPF_COMMANDS ? F_bpf + (int)first : F_syscall;
	case SYS_perf_event_open:
		return F_perf_event_open;
	case SYS_pidfd_open:
		return F_pidfd_open;
	case SYS_gettid:
		return -1;
	default:
		return F_syscall;
	}
}

EXPORT long syscall(long number, ...)
{
	static long (*real)(long, ...);
	int function, error = 0;
	va_list ap;
	long a[6];

	va_start(ap, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (!real)
		real = (long (*)(long, ...))next("syscall");
	function = function_of_syscall(number, a[0]);
	if (function >= 0)
		error = fails(function);
	if (error > 0) {
		errno = error;
		return -1;
	}
	return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- the beginning ---- */

static void *map_log(const char *path)
{
	size_t len = sizeof(struct log) + LOG_CALLS * sizeof(struct call);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	void *p = MAP_FAILED;

	if (fd < 0)
		return NULL;
	if (ftruncate(fd, len) == 0)
		p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return p == MAP_FAILED ? NULL : p;
}

static bool read_plan(char *text)
{
	char *name = strsep(&text, ":"), *n = strsep(&text, ":"), *error = strsep(&text, ":");

	plan.counting = !strcmp(name, "count");
	if (plan.counting)
		return true;
	plan.function = function_named(name);
	if (plan.function < 0 || !n || !error || !text)
		return false;
	plan.n = strtoul(n, NULL, 10);
	plan.error = strcmp(text, "short") ? atoi(error) : 0;
	plan.on = !strcmp(text, "on");
	return true;
}

static __attribute__((constructor)) void begin(void)
{
	const char *path = getenv("FAULT_LOG"), *text = getenv("FAULT_PLAN");
	const char *process = getenv("FAULT_PROCESS");
	char copy[128];
	void *frames[4];
	struct log *log;

	plan.children = getenv("FAULT_CHILDREN");
	if (!path || !text)
		return;
	inside = true;
	snprintf(copy, sizeof(copy), "%s", text);
	log = map_log(path);
	if (!log || !read_plan(copy)) {
		static const char message[] = "fault: FAULT_LOG or FAULT_PLAN cannot be used\n";

		if (write(STDERR_FILENO, message, sizeof(message) - 1) < 0)
			abort();
		_exit(99);
	}
	raw_syscall = (long (*)(long, ...))next("syscall");
	backtrace(frames, 4); /* which allocates, the first time */
	unsetenv("LD_PRELOAD");
	unsetenv("FAULT_LOG");
	unsetenv("FAULT_PLAN");
	unsetenv("FAULT_CHILDREN");
	unsetenv("FAULT_PROCESS");
	snprintf(plan.process, sizeof(plan.process), "%s", process ?: "");
	plan.pid = process ? 0 : getpid();
	log->magic = MAGIC;
	log->pid = getpid();
	plan.log = log;
	inside = false;
}
