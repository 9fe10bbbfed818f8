/* SPDX-License-Identifier: MIT */
#include "priv/proc.h"

#include <ctype.h>
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "priv/priv.h"

/* ---- which paths ---- */

static const char *const proc_files[] = {
	"cgroup", "cmdline",      "environ", "io",    "maps",   "schedstat",
	"smaps",  "smaps_rollup", "stat",    "statm", "status",
};

static const char *const proc_links[] = {"cwd", "exe"};

/* Behind a number; NULL when there is none. */
static const char *skip_number(const char *s)
{
	size_t n = strspn(s, "0123456789");

	return n && n <= 10 ? s + n : NULL;
}

static bool is_one_of(const char *name, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!strcmp(name, names[i]))
			return true;
	}
	return false;
}

/* "PID/rest": the rest. */
static const char *below_pid(const char *path)
{
	const char *rest = skip_number(path);

	return rest && *rest == '/' ? rest + 1 : NULL;
}

static bool is_proc_file(const char *path)
{
	const char *rest = below_pid(path);

	if (rest && !strncmp(rest, "task/", 5))
		rest = below_pid(rest + 5);
	if (!rest)
		return false;
	if (!strncmp(rest, "fdinfo/", 7)) {
		rest = skip_number(rest + 7);
		return rest && !*rest;
	}
	return !strcmp(rest, "fdinfo") || is_one_of(rest, proc_files, ARRAY_SIZE(proc_files));
}

static bool is_proc_link(const char *path)
{
	const char *rest = below_pid(path);

	return rest && is_one_of(rest, proc_links, ARRAY_SIZE(proc_links));
}

/* "7f3c10000000-7f3c10020000" */
static bool is_range(const char *s)
{
	size_t n = strspn(s, "0123456789abcdef");

	if (!n || s[n] != '-')
		return false;
	s += n + 1;
	n = strspn(s, "0123456789abcdef");
	return n && !s[n];
}

/* "/proc/PID/rest": the rest. */
static const char *below_process(const char *path)
{
	return strncmp(path, "/proc/", 6) ? NULL : below_pid(path + 6);
}

/* "/proc/PID/root/usr/bin/node": "/usr/bin/node". */
static const char *below_root(const char *path)
{
	const char *rest = below_process(path);

	return rest && !strncmp(rest, "root/", 5) ? rest + 4 : NULL;
}

static bool is_program(const char *path)
{
	const char *rest = below_process(path);

	return rest && (!strcmp(rest, "exe") || below_root(path) ||
			(!strncmp(rest, "map_files/", 10) && is_range(rest + 10)));
}

/* ---- doing it ---- */

static int below_proc(const char *path, char out[PATH_MAX])
{
	return snprintf(out, PATH_MAX, "/proc/%s", path) < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int proc_open(const char *path)
{
	char full[PATH_MAX];
	int r = below_proc(path, full), fd;

	if (r < 0)
		return r;
	fd = open(full, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/*
 * What a process calls @path, which its root directory may be made up to mislead us with: a symbolic link there would be
 * followed in ours. What the kernel says is mapped has none.
 */
static int handle_below(const char *root, const char *path)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	_cleanup_(closep) int dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	long fd;

	if (dir < 0)
		return -errno;
	fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));
	return fd < 0 ? -errno : (int)fd;
}

static int handle_open(const char *path)
{
	const char *below = below_root(path);
	char root[32];
	int fd;

	if (below) {
		snprintf(root, sizeof(root), "%.*s", (int)(below - path), path);
		return handle_below(root, below);
	}
	fd = open(path, O_PATH | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Where files are the kernel's, and opening one may do something. */
static bool is_kernels(int fd)
{
	static const unsigned int kernels[] = {
		PROC_SUPER_MAGIC,   SYSFS_MAGIC,         TRACEFS_MAGIC,
		DEBUGFS_MAGIC,      SECURITYFS_MAGIC,    BPF_FS_MAGIC,
		CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, SELINUX_MAGIC,
	};
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(kernels); i++) {
		if ((unsigned int)fs.f_type == kernels[i])
			return true;
	}
	return false;
}

/*
 * First as a mere handle: opening a pipe or a device that has been put there may block or do harm. Opening a file that
 * somebody has leased for writing waits for him, 45 s at most: -EWOULDBLOCK instead.
 */
static int regular_open(const char *path, uint64_t ino, struct stat *ret)
{
	_cleanup_(closep) int handle = handle_open(path);
	char link[32];
	int fd;

	if (handle < 0)
		return handle;
	if (fstat(handle, ret) < 0)
		return -errno;
	if (ino && ret->st_ino != ino)
		return -ENOENT;
	if (!S_ISREG(ret->st_mode) || is_kernels(handle))
		return -EINVAL;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", handle);
	fd = open(link, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

/* "socket:[1234]" */
static uint32_t socket_inode(const char *text)
{
	static const char head[] = "socket:[";
	unsigned long n;
	char *end;

	if (strncmp(text, head, sizeof(head) - 1) != 0)
		return 0;
	n = strtoul(text + sizeof(head) - 1, &end, 10);
	return *end == ']' && n <= UINT32_MAX ? (uint32_t)n : 0;
}

static DIR *descriptors_open(uint32_t tgid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%u/fd", tgid);
	return opendir(path);
}

/* The kernel lists descriptors in ascending order; their position is their number, behind "." and "..". */
#define FD_POSITION 2

static ssize_t sockets_read(uint32_t tgid, uint32_t from, struct priv_socket *ret, size_t max)
{
	_cleanup_(closedirp) DIR *dir = descriptors_open(tgid);
	struct dirent *d;
	size_t n = 0;

	if (!dir)
		return -errno;
	if (from)
		seekdir(dir, (long)from + FD_POSITION);
	while (n < max && (errno = 0, d = readdir(dir))) {
		uint32_t fd = isdigit((unsigned char)d->d_name[0])
				      ? (uint32_t)strtoul(d->d_name, NULL, 10)
				      : 0;
		char text[64];
		ssize_t len;

		if (!isdigit((unsigned char)d->d_name[0]) || fd < from)
			continue;
		len = readlinkat(dirfd(dir), d->d_name, text, sizeof(text) - 1);
		if (len <= 0)
			continue;
		text[len] = '\0';
		ret[n] = (struct priv_socket){fd, socket_inode(text)};
		n += ret[n].inode != 0;
	}
	return n == max || !errno ? (ssize_t)n : -errno;
}

/* ---- in the broker ---- */

static int fd_answer(int fd, struct peer_answer *ret)
{
	if (fd < 0)
		return fd;
	ret->fds[ret->n_fds++] = fd;
	return 0;
}

static int serve_open(void *ctx, const struct peer_request *rq, struct peer_answer *ret)
{
	const char *path = peer_request_text(rq);

	return path && is_proc_file(path) ? fd_answer(proc_open(path), ret) : -EINVAL;
}

static int serve_read(void *ctx, const struct peer_request *rq, struct peer_answer *ret)
{
	const char *path = peer_request_text(rq);
	_cleanup_(closep) int fd = -1;
	ssize_t n;

	if (!path || !is_proc_file(path))
		return -EINVAL;
	fd = proc_open(path);
	if (fd < 0)
		return fd;
	n = read(fd, ret->data, ret->cap);
	if (n < 0)
		return -errno;
	ret->len = (size_t)n;
	return 0;
}

static int serve_link(void *ctx, const struct peer_request *rq, struct peer_answer *ret)
{
	const char *path = peer_request_text(rq);
	char full[PATH_MAX];
	ssize_t n;

	if (!path || !is_proc_link(path) || below_proc(path, full) < 0)
		return -EINVAL;
	n = readlink(full, ret->data, PATH_MAX);
	if (n < 0)
		return -errno;
	ret->len = (size_t)n;
	return 0;
}

/*
 * Nothing but programs and libraries: who asks shall not get at anything else that lies where he says. ELF files are
 * also the memory of programs that crashed, and that of the kernel in /proc/kcore.
 */
static int elf_check(int fd)
{
	struct {
		unsigned char ident[EI_NIDENT];
		uint16_t type;
	} head;
	ssize_t n;

	do {
		n = pread(fd, &head, sizeof(head), 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n != sizeof(head) || memcmp(head.ident, ELFMAG, SELFMAG) != 0)
		return -ENOEXEC;
	return head.type == ET_EXEC || head.type == ET_DYN ? 0 : -ENOEXEC;
}

struct program_request {
	uint64_t ino;
	char path[PATH_MAX];
};

static int serve_program(void *ctx, const struct peer_request *rq, struct peer_answer *ret)
{
	const struct program_request *want = rq->data;
	_cleanup_(closep) int fd = -1;
	struct stat st;
	int r;

	if (rq->len != sizeof(*want) || strnlen(want->path, PATH_MAX) == PATH_MAX ||
	    !is_program(want->path))
		return -EINVAL;
	fd = regular_open(want->path, want->ino, &st);
	if (fd < 0)
		return fd;
	r = elf_check(fd);
	return r < 0 ? r : fd_answer(TAKE_FD(fd), ret);
}

struct sockets_request {
	uint32_t tgid, from, max;
};

static int serve_sockets(void *ctx, const struct peer_request *rq, struct peer_answer *ret)
{
	const struct sockets_request *s = rq->data;
	ssize_t n;

	if (rq->len != sizeof(*s))
		return -EINVAL;
	n = sockets_read(s->tgid, s->from, (void *)ret->data,
			 MIN(s->max, ret->cap / sizeof(struct priv_socket)));
	if (n < 0)
		return (int)n;
	ret->len = (size_t)n * sizeof(struct priv_socket);
	return 0;
}

static int fd_reopen(int fd)
{
	char path[32];
	int own;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	own = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	return own < 0 ? -errno : own;
}

static int serve_reopen(void *ctx, const struct peer_request *rq, struct peer_answer *ret)
{
	int r = rq->n_fds == 1 ? elf_check(rq->fds[0]) : -EINVAL;

	return r < 0 ? r : fd_answer(fd_reopen(rq->fds[0]), ret);
}

static int lease(int fd)
{
	return fcntl(fd, F_SETLEASE, F_RDLCK) < 0 ? -errno : 0;
}

static int serve_lease(void *ctx, const struct peer_request *rq, struct peer_answer *ret)
{
	int r = rq->n_fds == 1 ? elf_check(rq->fds[0]) : -EINVAL;

	return r < 0 ? r : lease(rq->fds[0]);
}

void priv_proc_offer(void)
{
	priv_offer(PRIV_REOPEN, serve_reopen, NULL);
	priv_offer(PRIV_LEASE, serve_lease, NULL);
	priv_offer(PRIV_PROC_OPEN, serve_open, NULL);
	priv_offer(PRIV_PROC_READ, serve_read, NULL);
	priv_offer(PRIV_PROC_LINK, serve_link, NULL);
	priv_offer(PRIV_PROC_SOCKETS, serve_sockets, NULL);
	priv_offer(PRIV_PROGRAM_OPEN, serve_program, NULL);
}

/* ---- who asks ---- */

static struct peer_request text_request(enum priv_service service, const char *text)
{
	return (struct peer_request){.service = service, .data = text, .len = strlen(text) + 1};
}

static int fd_call(enum priv_service service, const char *text)
{
	struct peer_request rq = text_request(service, text);

	return priv_call_fd(&rq, NULL, 0);
}

int priv_proc_open(const char *path)
{
	if (!priv_is_split())
		return proc_open(path);
	return fd_call(PRIV_PROC_OPEN, path);
}

int priv_reopen(int fd)
{
	if (!priv_is_split())
		return fd_reopen(fd);
	return priv_call_fd(&(struct peer_request){.service = PRIV_REOPEN, .fds = &fd, .n_fds = 1},
			    NULL, 0);
}

int priv_lease(int fd)
{
	if (!priv_is_split())
		return lease(fd);
	return priv_call(&(struct peer_request){.service = PRIV_LEASE, .fds = &fd, .n_fds = 1},
			 NULL);
}

static ssize_t bytes_call(enum priv_service service, const char *text, char *buf, size_t cap)
{
	char data[PEER_DATA_MAX];
	struct peer_answer answer = {.data = data, .cap = sizeof(data)};
	struct peer_request rq = text_request(service, text);
	int r = priv_call(&rq, &answer);

	if (r < 0)
		return r;
	memcpy(buf, data, answer.len < cap ? answer.len : cap);
	return answer.len < cap ? (ssize_t)answer.len : (ssize_t)cap;
}

ssize_t priv_proc_read(const char *path, char *buf, size_t cap)
{
	return bytes_call(PRIV_PROC_READ, path, buf, cap);
}

ssize_t priv_proc_link(const char *path, char *buf, size_t cap)
{
	return bytes_call(PRIV_PROC_LINK, path, buf, cap);
}

int priv_program_open(const char *path, uint64_t ino, struct stat *ret)
{
	struct program_request want = {.ino = ino};
	int fd;

	if (!priv_is_split())
		return regular_open(path, ino, ret);
	if (snprintf(want.path, sizeof(want.path), "%s", path) >= (int)sizeof(want.path))
		return -ENAMETOOLONG;
	fd = priv_call_fd(&(struct peer_request){.service = PRIV_PROGRAM_OPEN,
						 .data = &want,
						 .len = sizeof(want)},
			  NULL, 0);
	if (fd >= 0 && fstat(fd, ret) < 0)
		closep(&(int){TAKE_FD(fd)});
	return fd;
}

ssize_t priv_proc_sockets(uint32_t tgid, uint32_t from, struct priv_socket *ret, size_t max)
{
	struct sockets_request rq = {tgid, from, (uint32_t)MIN(max, (size_t)UINT32_MAX)};
	char data[PEER_DATA_MAX];
	struct peer_answer answer = {.data = data, .cap = sizeof(data)};
	int r;

	if (!priv_is_split())
		return sockets_read(tgid, from, ret, max);
	r = priv_call(&(struct peer_request){.service = PRIV_PROC_SOCKETS,
					     .data = &rq,
					     .len = sizeof(rq)},
		      &answer);
	if (r < 0)
		return r;
	max = answer.len / sizeof(*ret) < max ? answer.len / sizeof(*ret) : max;
	memcpy(ret, data, max * sizeof(*ret));
	return (ssize_t)max;
}
