/* SPDX-License-Identifier: MIT */
/*
 * Does known things to files, and prints what a recording must hold of them: one JSON line per
 * event, with the members that are certain. A line of type `read` or `write` is the sum over all
 * events of that pid, type, path and fd; a line printed twice stands for two events.
 *
 *   files [all|basic|errors|paths|io|threads|exec|many|storm] [COUNT] [DIRECTORY]
 *
 * Links statically: nothing but the system calls below touches a file. Lines are printed at the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

#define MUST(call)                                                                           \
	({                                                                                   \
		long _r = (call);                                                            \
		if (_r < 0) {                                                                \
			fprintf(stderr, "files: %s:%d: %s: %s\n", __FILE__, __LINE__, #call, \
				strerror(errno));                                            \
			exit(1);                                                             \
		}                                                                            \
		_r;                                                                          \
	})

#define REFUSED(call, error)                                                               \
	do {                                                                               \
		if ((call) != -1 || errno != (error)) {                                    \
			fprintf(stderr, "files: %s:%d: %s did not fail with " #error "\n", \
				__FILE__, __LINE__, #call);                                \
			exit(1);                                                           \
		}                                                                          \
	} while (0)

static char dir[4096];
static char *lines;
static size_t lines_len;
static FILE *expected;

static void expected_start(void)
{
	expected = open_memstream(&lines, &lines_len);
	if (!expected)
		abort();
}

/* A child tells only what it did itself. */
static void expected_print(void)
{
	size_t done = 0;

	fflush(expected);
	while (done < lines_len)
		done += MUST(write(STDOUT_FILENO, lines + done, lines_len - done));
	fclose(expected);
	free(lines);
}

/* The members behind "type", as a format. */
__attribute__((format(printf, 2, 3))) static void expect(const char *type, const char *fmt, ...)
{
	va_list ap;

	fprintf(expected, "{\"source\":\"file\",\"pid\":%d,\"data\":{\"type\":\"%s\",", getpid(),
		type);
	va_start(ap, fmt);
	vfprintf(expected, fmt, ap);
	va_end(ap);
	fputs("}}\n", expected);
}

static void expect_open(const char *name, int fd, const char *flags)
{
	expect("open", "\"path\":\"%s/%s\",\"fd\":%d,\"flags\":[%s]", dir, name, fd, flags);
}

static void expect_io(const char *type, const char *name, int fd, uint64_t bytes, uint64_t count)
{
	expect(type, "\"path\":\"%s/%s\",\"fd\":%d,\"bytes\":%llu,\"count\":%llu", dir, name, fd,
	       (unsigned long long)bytes, (unsigned long long)count);
}

static int make_file(const char *name)
{
	return MUST(open(name, O_RDWR | O_CREAT | O_TRUNC, 0644));
}

/* ---- basic: every call once, relative and through a directory's descriptor ---- */

#if defined(SYS_open)
static void basic_old_calls(void)
{
	int fd = MUST(syscall(SYS_open, "old", O_WRONLY | O_CREAT | O_EXCL, 0640));

	expect("open",
	       "\"path\":\"%s/old\",\"fd\":%d,\"mode\":\"0640\","
	       "\"flags\":[\"O_WRONLY\",\"O_CREAT\",\"O_EXCL\"]",
	       dir, fd);
	MUST(close(fd));
	fd = MUST(syscall(SYS_creat, "created", 0600));
	expect("open",
	       "\"path\":\"%s/created\",\"fd\":%d,\"mode\":\"0600\","
	       "\"flags\":[\"O_WRONLY\",\"O_CREAT\",\"O_TRUNC\"]",
	       dir, fd);
	MUST(close(fd));
	MUST(syscall(SYS_mkdir, "olddir", 0750));
	expect("mkdir", "\"path\":\"%s/olddir\",\"mode\":\"0750\"", dir);
	MUST(syscall(SYS_rename, "old", "olddir/new"));
	expect("rename", "\"path\":\"%s/old\",\"new_path\":\"%s/olddir/new\"", dir, dir);
	MUST(syscall(SYS_link, "created", "hard"));
	expect("link", "\"path\":\"%s/created\",\"new_path\":\"%s/hard\"", dir, dir);
	MUST(syscall(SYS_symlink, "../where/ever", "soft"));
	expect("symlink", "\"path\":\"%s/soft\",\"target\":\"../where/ever\"", dir);
	MUST(syscall(SYS_chmod, "created", 04755));
	expect("chmod", "\"path\":\"%s/created\",\"mode\":\"04755\"", dir);
	MUST(syscall(SYS_unlink, "olddir/new"));
	expect("unlink", "\"path\":\"%s/olddir/new\"", dir);
	MUST(syscall(SYS_rmdir, "olddir"));
	expect("rmdir", "\"path\":\"%s/olddir\"", dir);
	MUST(syscall(SYS_unlink, "soft"));
	MUST(syscall(SYS_unlink, "hard"));
	MUST(syscall(SYS_unlink, "created"));
}
#else
static void basic_old_calls(void)
{
}
#endif

static void basic_names(int dfd)
{
	MUST(mkdirat(dfd, "sub", 0700));
	expect("mkdir", "\"path\":\"%s/sub\",\"mode\":\"0700\"", dir);
	MUST(renameat(dfd, "file", AT_FDCWD, "sub/moved"));
	expect("rename", "\"path\":\"%s/file\",\"new_path\":\"%s/sub/moved\"", dir, dir);
	MUST(renameat2(AT_FDCWD, "sub/moved", dfd, "file", RENAME_NOREPLACE));
	expect("rename", "\"path\":\"%s/sub/moved\",\"new_path\":\"%s/file\"", dir, dir);
	MUST(linkat(dfd, "file", dfd, "sub/link", 0));
	expect("link", "\"path\":\"%s/file\",\"new_path\":\"%s/sub/link\"", dir, dir);
	MUST(symlinkat("/etc/passwd", dfd, "sub/symlink"));
	expect("symlink", "\"path\":\"%s/sub/symlink\",\"target\":\"/etc/passwd\"", dir);
	MUST(unlinkat(dfd, "sub/link", 0));
	expect("unlink", "\"path\":\"%s/sub/link\"", dir);
	MUST(unlinkat(dfd, "sub/symlink", 0));
	expect("unlink", "\"path\":\"%s/sub/symlink\"", dir);
	MUST(unlinkat(dfd, "sub", AT_REMOVEDIR));
	expect("rmdir", "\"path\":\"%s/sub\"", dir);
}

/* Not every file system can do it: then the event says so. */
static void basic_exchange(int dfd)
{
	MUST(close(make_file("other")));
	if (renameat2(AT_FDCWD, "other", dfd, "file", RENAME_EXCHANGE) < 0 && errno != EINVAL)
		MUST(-1);
	expect("rename", "\"path\":\"%s/other\",\"new_path\":\"%s/file\",\"exchange\":true", dir,
	       dir);
	MUST(renameat2(AT_FDCWD, "other", dfd, "file", 0));
	expect("rename", "\"path\":\"%s/other\",\"new_path\":\"%s/file\"", dir, dir);
}

static void basic_attributes(int dfd, int fd)
{
	MUST(truncate("file", 12345));
	expect("truncate", "\"path\":\"%s/file\",\"length\":12345", dir);
	MUST(ftruncate(fd, 7));
	expect("truncate", "\"path\":\"%s/file\",\"length\":7", dir);
	MUST(fchmod(fd, 0600));
	expect("chmod", "\"path\":\"%s/file\",\"mode\":\"0600\"", dir);
	MUST(syscall(SYS_fchmodat, dfd, "file", 0640));
	expect("chmod", "\"path\":\"%s/file\",\"mode\":\"0640\"", dir);
	/* KERNEL < 6.6: there is no such call, and then no event */
	if (syscall(SYS_fchmodat2, fd, "", 0644, AT_EMPTY_PATH) == 0)
		expect("chmod", "\"path\":\"%s/file\",\"mode\":\"0644\"", dir);
}

static void group_basic(unsigned long n)
{
	struct open_how how = {.flags = O_RDONLY | O_CLOEXEC};
	int dfd = MUST(open(dir, O_RDONLY | O_DIRECTORY)), fd, fd2;

	fd = MUST(openat(dfd, "file", O_RDWR | O_CREAT | O_APPEND, 0644));
	expect_open("file", fd, "\"O_RDWR\",\"O_CREAT\",\"O_APPEND\"");
	fd2 = MUST(syscall(SYS_openat2, dfd, "./file", &how, sizeof(how)));
	expect_open("file", fd2, "\"O_RDONLY\",\"O_CLOEXEC\"");
	MUST(close(fd2));

	basic_names(dfd);
	basic_attributes(dfd, fd);
	basic_exchange(dfd);
	MUST(close(fd));
	MUST(unlinkat(dfd, "file", 0));
	MUST(close(dfd));
	basic_old_calls();
}

/* ---- errors ---- */

static void errors_as_nobody(void)
{
	int status;
	pid_t pid = MUST(fork());

	if (pid == 0) {
		expected_start();
		MUST(setresuid(65534, 65534, 65534));
		REFUSED(open("secret", O_RDONLY), EACCES);
		expect("open", "\"path\":\"%s/secret\",\"error\":\"EACCES\"", dir);
		REFUSED(truncate("secret", 0), EACCES);
		expect("truncate", "\"path\":\"%s/secret\",\"error\":\"EACCES\",\"length\":0", dir);
		expected_print();
		_exit(0);
	}
	MUST(waitpid(pid, &status, 0));
	if (status)
		exit(1);
}

/* With the directory as root. */
static void errors_below(void)
{
	struct open_how how = {.flags = O_RDONLY, .resolve = RESOLVE_IN_ROOT};
	int dfd = MUST(open(dir, O_RDONLY | O_DIRECTORY));

	REFUSED(syscall(SYS_openat2, dfd, "//etc/none", &how, sizeof(how)), ENOENT);
	expect("open", "\"path\":\"%s/etc/none\",\"error\":\"ENOENT\"", dir);
	REFUSED(syscall(SYS_openat2, dfd, "etc/none", &how, sizeof(how)), ENOENT);
	expect("open", "\"path\":\"%s/etc/none\",\"error\":\"ENOENT\"", dir);
	how.resolve = 0;
	REFUSED(syscall(SYS_openat2, dfd, "/etc/none", &how, sizeof(how)), ENOENT);
	expect("open", "\"path\":\"/etc/none\",\"error\":\"ENOENT\"");
	MUST(close(dfd));
}

static void group_errors(unsigned long n)
{
	char *longest = malloc(6001);
	int fd;

	memset(longest, 'x', 6000);
	longest[6000] = '\0';
	REFUSED(open("none", O_RDONLY), ENOENT);
	expect("open", "\"path\":\"%s/none\",\"error\":\"ENOENT\"", dir);
	REFUSED(unlink("none/../none"), ENOENT);
	expect("unlink", "\"path\":\"%s/none/../none\",\"error\":\"ENOENT\"", dir);
	REFUSED(rename("none", "elsewhere"), ENOENT);
	expect("rename", "\"path\":\"%s/none\",\"new_path\":\"%s/elsewhere\",\"error\":\"ENOENT\"",
	       dir, dir);
	REFUSED(mkdir(dir, 0700), EEXIST);
	expect("mkdir", "\"path\":\"%s\",\"error\":\"EEXIST\"", dir);
	MUST(close(make_file("secret")));
	MUST(chmod("secret", 0600));
	REFUSED(open("secret", O_WRONLY | O_CREAT | O_EXCL, 0600), EEXIST);
	expect("open", "\"path\":\"%s/secret\",\"error\":\"EEXIST\"", dir);
	REFUSED(rmdir("secret"), ENOTDIR);
	expect("rmdir", "\"path\":\"%s/secret\",\"error\":\"ENOTDIR\"", dir);
	REFUSED(openat(999, "none", O_RDONLY), EBADF);
	expect("open", "\"path\":\"none\",\"error\":\"EBADF\"");
	REFUSED(ftruncate(999, 1), EBADF);
	expect("truncate", "\"error\":\"EBADF\",\"length\":1");
	REFUSED(open(longest, O_RDONLY), ENAMETOOLONG);
	expect("open", "\"error\":\"ENAMETOOLONG\"");
	REFUSED(syscall(SYS_openat, AT_FDCWD, (char *)8, O_RDONLY), EFAULT);
	expect("open", "\"error\":\"EFAULT\"");
	fd = make_file("short");
	REFUSED(ftruncate(fd, -1), EINVAL);
	expect("truncate", "\"path\":\"%s/short\",\"error\":\"EINVAL\",\"length\":-1", dir);
	MUST(close(fd));
	MUST(unlink("short"));
	errors_below();
	if (geteuid() == 0)
		errors_as_nobody();
	MUST(unlink("secret"));
	free(longest);
}

/* ---- paths ---- */

#define LEVELS 30

static void paths_deep(void)
{
	char path[4096] = "";
	size_t len = 0;
	int fd;

	for (int i = 0; i < LEVELS; i++) {
		char name[32];

		snprintf(name, sizeof(name), "level%02d", i);
		MUST(mkdir(name, 0755));
		MUST(chdir(name));
		len += snprintf(path + len, sizeof(path) - len, "%s%s", i ? "/" : "", name);
		expect("mkdir", "\"path\":\"%s/%s\"", dir, path);
	}
	fd = make_file("bottom");
	expect("open", "\"path\":\"%s/%s/bottom\",\"fd\":%d", dir, path, fd);
	MUST(write(fd, "deep", 4));
	expect("write", "\"path\":\"%s/%s/bottom\",\"fd\":%d,\"bytes\":4,\"count\":1", dir, path,
	       fd);
	MUST(close(fd));
	MUST(unlink("../level29/bottom"));
	expect("unlink", "\"path\":\"%s/%s/bottom\"", dir, path);
	for (int i = LEVELS - 1; i >= 0; i--) {
		char name[32];

		snprintf(name, sizeof(name), "level%02d", i);
		MUST(chdir(".."));
		MUST(rmdir(name));
	}
}

/* As long as a path may be: 4095 bytes. */
static void paths_long(void)
{
	char path[4096], parts[64];
	size_t len = strlen(dir), n = 0, ends[64];
	int fd;

	memcpy(path, dir, len);
	while (len < 4095 - 220) {
		path[len++] = '/';
		memset(path + len, 'a' + n, 200);
		len += 200;
		path[len] = '\0';
		MUST(mkdir(path, 0755));
		expect("mkdir", "\"path\":\"%s\"", path);
		ends[n++] = len;
	}
	path[len++] = '/';
	memset(path + len, 'z', 4095 - len);
	path[4095] = '\0';
	fd = MUST(open(path, O_WRONLY | O_CREAT, 0644));
	expect("open", "\"path\":\"%s\",\"fd\":%d", path, fd);
	MUST(write(fd, parts, sizeof(parts)));
	expect("write", "\"path\":\"%s\",\"fd\":%d,\"bytes\":64,\"count\":1", path, fd);
	MUST(close(fd));
	MUST(unlink(path));
	expect("unlink", "\"path\":\"%s\"", path);
	while (n > 0) {
		path[ends[--n]] = '\0';
		MUST(rmdir(path));
		expect("rmdir", "\"path\":\"%s\"", path);
	}
}

/* The name lies on a page that nobody has read yet. */
static void paths_fresh_page(void)
{
	int fd = make_file("names");
	char *page;

	MUST(ftruncate(fd, 8192));
	MUST(pwrite(fd, "fresh", 6, 4096));
	expect_io("write", "names", fd, 6, 1);
	page = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, fd, 0);
	if (page == MAP_FAILED)
		exit(1);
	MUST(mkdir(page + 4096, 0755));
	expect("mkdir", "\"path\":\"%s/fresh\"", dir);
	MUST(rmdir("fresh"));
	munmap(page, 8192);
	MUST(close(fd));
	MUST(unlink("names"));
}

/* A file is known by the name that it has when it is first used. */
static void paths_renamed(void)
{
	int fd = make_file("before");

	MUST(rename("before", "after"));
	MUST(write(fd, "x", 1));
	expect_io("write", "after", fd, 1, 1);
	MUST(close(fd));
	MUST(unlink("after"));
}

static void paths_root(void)
{
	int fd;

	MUST(chdir("/"));
	REFUSED(open("no-such-file", O_RDONLY), ENOENT);
	expect("open", "\"path\":\"/no-such-file\",\"error\":\"ENOENT\"");
	fd = MUST(open(".", O_RDONLY | O_DIRECTORY));
	expect("open", "\"path\":\"/\",\"fd\":%d", fd);
	MUST(close(fd));
	MUST(chdir(dir));
}

/* In no directory: what has a name of its own has that, the others what they were opened by. */
static void paths_nowhere(void)
{
	char name[32];
	int fd, ends[2];

	fd = MUST(memfd_create("live", 0));
	MUST(write(fd, "memory", 6));
	expect("write", "\"path\":\"/memfd:live\",\"fd\":%d,\"bytes\":6,\"count\":1", fd);
	MUST(ftruncate(fd, 3));
	expect("truncate", "\"path\":\"/memfd:live\",\"length\":3");
	MUST(close(fd));

	MUST(pipe(ends));
	snprintf(name, sizeof(name), "/dev/fd/%d", ends[1]);
	fd = MUST(open(name, O_WRONLY));
	expect("open", "\"path\":\"%s\",\"fd\":%d", name, fd);
	MUST(close(fd));
	MUST(close(ends[0]));
	MUST(close(ends[1]));

	fd = MUST(open("/proc/self/ns/net", O_RDONLY));
	expect("open", "\"path\":\"/proc/self/ns/net\",\"fd\":%d", fd);
	MUST(close(fd));
}

/* A file system that was taken away while a file of it is open: where it was nobody knows. */
static void paths_detached(void)
{
	int fd;

	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0)
		return;
	MUST(mkdir("away", 0755));
	MUST(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	MUST(mount("live", "away", "tmpfs", 0, NULL));
	fd = make_file("away/file");
	expect("open", "\"path\":\"%s/away/file\",\"fd\":%d", dir, fd);
	MUST(umount2("away", MNT_DETACH));
	MUST(ftruncate(fd, 4));
	expect("truncate", "\"path\":\"/file\",\"truncated\":true,\"length\":4");
	MUST(close(fd));
	MUST(rmdir("away"));
}

static void group_paths(unsigned long n)
{
	paths_detached();
	paths_nowhere();
	paths_deep();
	paths_long();
	paths_fresh_page();
	paths_renamed();
	paths_root();
}

/* ---- io ---- */

static char block[65536];

static void io_all_calls(void)
{
	struct iovec v[2] = {{block, 100}, {block, 28}};
	int fd = make_file("all");

	MUST(write(fd, block, 1000));
	MUST(pwrite(fd, block, 500, 10));
	MUST(writev(fd, v, 2));
	MUST(pwritev(fd, v, 2, 0));
	MUST(pwritev2(fd, v, 2, 0, 0));
	expect_io("write", "all", fd, 1000 + 500 + 3 * 128, 5);
	MUST(lseek(fd, 0, SEEK_SET));
	MUST(read(fd, block, 300));
	MUST(pread(fd, block, 200, 5));
	MUST(readv(fd, v, 2));
	MUST(preadv(fd, v, 2, 0));
	MUST(preadv2(fd, v, 2, 0, 0));
	MUST(pread(fd, block, 100, 1 << 20)); /* behind the end: nothing */
	expect_io("read", "all", fd, 300 + 200 + 3 * 128, 5);
	MUST(close(fd));
	MUST(unlink("all"));
}

static void io_copies(void)
{
	int in = make_file("from"), out = make_file("to"), p[2];
	uint64_t copied = 0, copies = 0;
	long r;

	MUST(write(in, block, 50000));
	expect_io("write", "from", in, 50000, 1);
	MUST(lseek(in, 0, SEEK_SET));
	MUST(pipe(p));
	r = MUST(sendfile(out, in, NULL, 10000));
	copied += r, copies++;
	r = copy_file_range(in, NULL, out, NULL, 20000, 0);
	if (r > 0)
		copied += r, copies++;
	r = MUST(splice(in, NULL, p[1], NULL, 4096, 0));
	MUST(splice(p[0], NULL, out, NULL, r, 0));
	copied += r, copies++;
	expect_io("read", "from", in, copied, copies);
	expect_io("write", "to", out, copied, copies);
	MUST(close(in));
	MUST(close(out));
	MUST(close(p[0]));
	MUST(close(p[1]));
	MUST(unlink("from"));
	MUST(unlink("to"));
}

/* Descriptors that end without close(). */
static void io_replaced(void)
{
	int a = make_file("a"), b = make_file("b"), c;

	MUST(write(a, block, 11));
	MUST(write(b, block, 22));
	MUST(dup2(b, a));
	expect_io("write", "a", a, 11, 1);
	MUST(write(a, block, 33));
	expect_io("write", "b", a, 33, 1);
	c = make_file("c");
	MUST(write(c, block, 44));
	MUST(dup3(b, c, O_CLOEXEC));
	expect_io("write", "c", c, 44, 1);
	MUST(dup2(b, b)); /* closes nothing */
	MUST(write(b, block, 1));
	expect_io("write", "b", b, 23, 2);
	if (syscall(SYS_close_range, a, c, 0) < 0) {
		MUST(close(a));
		MUST(close(b));
		MUST(close(c));
	}
	MUST(unlink("a"));
	MUST(unlink("b"));
	MUST(unlink("c"));
}

static void io_repeated(void)
{
	int fd = make_file("again");
	uint64_t sum = 0;

	MUST(write(fd, block, 4096));
	expect_io("write", "again", fd, 4096, 1);
	for (int i = 0; i < 20000; i++)
		sum += MUST(pread(fd, block, 100 + i % 7, 0));
	expect_io("read", "again", fd, sum, 20000);
	MUST(close(fd));
	MUST(unlink("again"));
}

/* A disk made of a file, where one can be made. */
static void io_disk(void)
{
	int ctl = open("/dev/loop-control", O_RDWR | O_CLOEXEC), number, file, fd;
	char path[32];

	if (ctl < 0)
		return;
	number = ioctl(ctl, LOOP_CTL_GET_FREE);
	close(ctl);
	snprintf(path, sizeof(path), "/dev/loop%d", number);
	fd = number < 0 ? -1 : open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	file = make_file("disk");
	MUST(ftruncate(file, 1 << 20));
	MUST(ioctl(fd, LOOP_SET_FD, file));
	MUST(pwrite(fd, block, 4096, 0));
	expect("write", "\"path\":\"%s\",\"fd\":%d,\"bytes\":4096,\"count\":1", path, fd);
	MUST(pread(fd, block, 512, 0));
	expect("read", "\"path\":\"%s\",\"fd\":%d,\"bytes\":512,\"count\":1", path, fd);
	MUST(ioctl(fd, LOOP_CLR_FD));
	MUST(close(fd));
	MUST(close(file));
	MUST(unlink("disk"));
}

static void group_io(unsigned long n)
{
	io_disk();
	io_all_calls();
	io_copies();
	io_replaced();
	io_repeated();
}

/* ---- threads ---- */

#define THREADS    4
#define PER_THREAD 5000

static int shared_fd;

static void *write_shared(void *size)
{
	for (int i = 0; i < PER_THREAD; i++)
		MUST(pwrite(shared_fd, block, (size_t)size, 0));
	return NULL;
}

/* Opens, writes and closes: numbers go from thread to thread all the time. */
static void *write_own(void *number)
{
	char name[64];

	for (int i = 0; i < 500; i++) {
		int fd;

		snprintf(name, sizeof(name), "own-%zu-%d", (size_t)number, i);
		fd = MUST(open(name, O_WRONLY | O_CREAT, 0644));
		MUST(write(fd, block, 1 + i + 1000 * (size_t)number));
		MUST(close(fd));
		MUST(unlink(name));
	}
	return NULL;
}

static void run_threads(void *(*fn)(void *))
{
	pthread_t t[THREADS];

	for (size_t i = 0; i < THREADS; i++) {
		if (pthread_create(&t[i], NULL, fn, (void *)(i + 1)))
			exit(1);
	}
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
}

static void group_threads(unsigned long n)
{
	uint64_t per_size = THREADS * (THREADS + 1) / 2;

	shared_fd = make_file("shared");
	run_threads(write_shared);
	expect_io("write", "shared", shared_fd, per_size * PER_THREAD, THREADS * PER_THREAD);
	MUST(close(shared_fd));
	MUST(unlink("shared"));

	run_threads(write_own);
	for (int t = 1; t <= THREADS; t++) {
		for (int i = 0; i < 500; i++)
			expect("write", "\"path\":\"%s/own-%d-%d\",\"bytes\":%d,\"count\":1", dir,
			       t, i, 1 + i + 1000 * t);
	}
}

/* ---- exec: descriptors that exec closes, and that the exit closes ---- */

static void group_exec(unsigned long n)
{
	pid_t pid = MUST(fork());
	int status;

	if (pid == 0) {
		int fd = MUST(open("cloexec", O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
		int kept = MUST(open("kept", O_WRONLY | O_CREAT, 0644));

		expected_start();
		MUST(write(fd, block, 777));
		expect_io("write", "cloexec", fd, 777, 1);
		MUST(write(kept, block, 888));
		expect_io("write", "kept", kept, 888, 1);
		expected_print();
		MUST(execl("/proc/self/exe", "files", "nothing", dir, NULL));
	}
	MUST(waitpid(pid, &status, 0));
	if (status)
		exit(1);
	MUST(unlink("cloexec"));
	MUST(unlink("kept"));
}

/* ---- many, storm ---- */

static void group_many(unsigned long n)
{
	char name[64];

	for (unsigned long i = 1; i <= n; i++) {
		int fd;

		snprintf(name, sizeof(name), "many%lu", i);
		fd = make_file(name);
		expect_open(name, fd, "\"O_RDWR\",\"O_CREAT\",\"O_TRUNC\"");
		MUST(write(fd, block, i % sizeof(block) + 1));
		expect_io("write", name, fd, i % sizeof(block) + 1, 1);
		MUST(close(fd));
	}
	for (unsigned long i = 1; i <= n; i++) {
		snprintf(name, sizeof(name), "many%lu", i);
		MUST(unlink(name));
		expect("unlink", "\"path\":\"%s/%s\"", dir, name);
	}
}

/* As fast as possible, so no line each: the count is in the last one, for whoever wants to compare. */
static void group_storm(unsigned long n)
{
	char byte = 0;
	int fd = make_file("storm");

	MUST(write(fd, block, 1));
	MUST(close(fd));
	for (unsigned long i = 0; i < n; i++) {
		fd = MUST(open("storm", O_RDONLY));
		MUST(read(fd, &byte, 1));
		MUST(close(fd));
	}
	expect("read", "\"path\":\"%s/storm\",\"bytes\":%lu,\"count\":%lu", dir, n, n);
	MUST(unlink("storm"));
}

static void group_nothing(unsigned long n)
{
}

/* ---- main ---- */

static void group_all(unsigned long n);

static const struct {
	const char *name;
	void (*run)(unsigned long n);
	unsigned long n;
} groups[] = {
	{"basic", group_basic, 0}, {"errors", group_errors, 0},   {"paths", group_paths, 0},
	{"io", group_io, 0},       {"threads", group_threads, 0}, {"exec", group_exec, 0},
	{"many", group_many, 500}, {"storm", group_storm, 10000}, {"nothing", group_nothing, 0},
	{"all", group_all, 0},
};

#define GROUPS_IN_ALL 7

static void group_all(unsigned long n)
{
	for (size_t i = 0; i < GROUPS_IN_ALL; i++)
		groups[i].run(groups[i].n);
}

/* The directory without symbolic links, made if none was given. */
static bool enter_directory(const char *given)
{
	static char made[] = "/tmp/files-XXXXXX";

	if (!given)
		given = mkdtemp(made);
	MUST(given ? chdir(given) : -1);
	MUST(chmod(".", 0755));
	if (!getcwd(dir, sizeof(dir)))
		exit(1);
	return given == made;
}

int main(int argc, char **argv)
{
	const char *group = argc > 1 ? argv[1] : "all", *given = NULL;
	unsigned long n = 0;
	bool made;

	for (int i = 2; i < argc; i++) {
		if (argv[i][0] >= '0' && argv[i][0] <= '9')
			n = strtoul(argv[i], NULL, 10);
		else
			given = argv[i];
	}
	umask(0);
	expected_start();
	made = enter_directory(given);
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		if (strcmp(groups[i].name, group))
			continue;
		groups[i].run(n ? n : groups[i].n);
		expected_print();
		if (made)
			rmdir(dir);
		return 0;
	}
	fprintf(stderr, "usage: files [all|basic|errors|paths|io|threads|exec|many|storm] [COUNT] "
			"[DIRECTORY]\n");
	return 2;
}
