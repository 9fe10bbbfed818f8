/* SPDX-License-Identifier: MIT */
/*
 * Who is traced may run as the user who called sudo, and change every directory of theirs at any moment. So a
 * path is walked part by part, each from the descriptor of the one before, and a symbolic link on
 * the way counts only where nobody but root and this user can have made it.
 */
#include "base/output.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

#define LINKS_MAX 40 /* as the kernel has it */
#define RACES_MAX 8

static int read_id(const char *text, uint32_t *ret)
{
	unsigned long long id;
	char *end;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	id = strtoull(text, &end, 10);
	if (errno || *end || id >= UINT32_MAX)
		return -EINVAL;
	*ret = id;
	return 0;
}

int output_sudo_caller(uid_t *ret_uid, gid_t *ret_gid)
{
	const char *uid_text = getenv("SUDO_UID"), *gid_text = getenv("SUDO_GID");
	uint32_t uid, gid;

	if (geteuid() != 0 || !uid_text || !gid_text)
		return 0;
	if (read_id(uid_text, &uid) < 0 || read_id(gid_text, &gid) < 0)
		return -EINVAL;
	*ret_uid = uid;
	*ret_gid = gid;
	return 1;
}

/* ---- the directory ---- */

/* A way through directories: what is behind us is open, what lies before us is text. */
struct walk {
	const char *path; /* all of it, for messages */
	int fd;
	unsigned links;
	char rest[PATH_MAX];
};

static bool is_trusted(uid_t uid)
{
	return uid == 0 || uid == geteuid();
}

/* Could nobody else have made the link that @link describes, in the directory @fd? */
static bool link_is_trusted(int fd, const struct stat *link)
{
	struct statfs fs;
	struct stat dir;

	if (fstat(fd, &dir) < 0 || fstatfs(fd, &fs) < 0)
		return false;
	/* links there lead to places of other processes */
	if (fs.f_type == PROC_SUPER_MAGIC || !is_trusted(link->st_uid) || !is_trusted(dir.st_uid))
		return false;
	if (dir.st_mode & S_ISVTX)
		return true;
	if (dir.st_mode & S_IWGRP && dir.st_gid != 0 && dir.st_gid != getegid())
		return false;
	return !(dir.st_mode & S_IWOTH);
}

static int walk_begin(struct walk *w)
{
	closep(&w->fd);
	w->fd = open(*w->rest == '/' ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return w->fd < 0 ? -errno : 0;
}

/* The next part of what is left; NULL when nothing is. */
static char *walk_part(struct walk *w, char part[NAME_MAX + 1])
{
	size_t skip = strspn(w->rest, "/"), len = strcspn(w->rest + skip, "/");

	if (!len || len > NAME_MAX)
		return NULL;
	memcpy(part, w->rest + skip, len);
	part[len] = '\0';
	memmove(w->rest, w->rest + skip + len, strlen(w->rest + skip + len) + 1);
	return part;
}

static int follow_link(struct walk *w, const char *part, int link_fd, const struct stat *st,
		       struct err *e)
{
	char target[PATH_MAX], rest[PATH_MAX];
	ssize_t n;

	if (!link_is_trusted(w->fd, st))
		return err_set(e, -ELOOP,
			       "'%s' leads through the symbolic link '%s', which others can "
			       "change; name the directory itself",
			       w->path, part);
	if (++w->links > LINKS_MAX)
		return err_set(e, -ELOOP, "'%s' leads through too many symbolic links", w->path);
	n = readlinkat(link_fd, "", target, sizeof(target));
	if (n < 0)
		return err_set(e, -errno, "cannot read the link '%s': %s", part, strerror(errno));
	memcpy(rest, w->rest, strlen(w->rest) + 1);
	if (snprintf(w->rest, sizeof(w->rest), "%.*s/%s", (int)n, target, rest) >= PATH_MAX)
		return err_set(e, -ENAMETOOLONG, "'%s' is too long", w->path);
	return *target == '/' ? walk_begin(w) : 0;
}

/* O_DIRECTORY makes an automounter mount what is to be there. A link is none, and opened as what it is. */
static int part_open(int directory, const char *part)
{
	int fd = openat(directory, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 && errno == ENOTDIR)
		fd = openat(directory, part, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return fd;
}

static int walk_step(struct walk *w, const char *part, struct err *e)
{
	_cleanup_(closep) int fd = part_open(w->fd, part);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(e, -errno, "cannot write '%s': '%s': %s", w->path, part,
			       strerror(errno));
	if (S_ISLNK(st.st_mode))
		return follow_link(w, part, fd, &st, e);
	if (!S_ISDIR(st.st_mode))
		return err_set(e, -ENOTDIR, "cannot write '%s': '%s' is not a directory", w->path,
			       part);
	close(w->fd);
	w->fd = TAKE_FD(fd);
	return 0;
}

static int walk_all(struct walk *w, struct err *e)
{
	char part[NAME_MAX + 1];
	int r = walk_begin(w);

	if (r < 0)
		return err_set(e, r, "cannot write '%s': %s", w->path, strerror(-r));
	while (r >= 0 && walk_part(w, part))
		r = walk_step(w, part, e);
	if (r >= 0 && w->rest[strspn(w->rest, "/")])
		return err_set(e, -ENAMETOOLONG, "'%s' has a name that is too long", w->path);
	return r;
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* The directory that holds @path. */
static int directory_of(const char *path, int *ret_fd, struct err *e)
{
	struct walk w = {.path = path, .fd = -1};
	size_t len = last_part(path) - path;
	int r;

	if (len >= sizeof(w.rest))
		return err_set(e, -ENAMETOOLONG, "'%.64s...' is too long", path);
	memcpy(w.rest, path, len);
	r = walk_all(&w, e);
	if (r < 0)
		closep(&w.fd);
	else
		*ret_fd = w.fd;
	return r;
}

/* ---- the file ---- */

/* Consoles and terminals; /dev/null, /dev/zero and /dev/full. Opening another device may do what nobody asked for. */
static bool device_is_harmless(dev_t device)
{
	switch (major(device)) {
	case 1:
		return minor(device) == 3 || minor(device) == 5 || minor(device) == 7;
	case 4:
	case 5:
	case 136 ... 143:
		return true;
	default:
		return false;
	}
}

/* Who made a file or a pipe may have it open, and would read along. */
static int check_kind(const struct stat *st, const char *path, struct err *e)
{
	bool fifo = S_ISFIFO(st->st_mode);
	uid_t uid = geteuid();
	gid_t gid;

	output_sudo_caller(&uid, &gid);
	if (S_ISLNK(st->st_mode))
		return err_set(e, -ELOOP, "'%s' is a symbolic link; name the file itself", path);
	if (S_ISDIR(st->st_mode))
		return err_set(e, -EISDIR,
			       "cannot write '%s': it is a directory; name a file in it", path);
	if (S_ISCHR(st->st_mode) && device_is_harmless(st->st_rdev))
		return 0;
	if (!S_ISREG(st->st_mode) && !fifo)
		return err_set(e, -EINVAL, "'%s' is neither a file nor a pipe", path);
	if (st->st_uid != geteuid() && st->st_uid != uid && !(fifo && st->st_uid == 0))
		return err_set(e, -EEXIST, "'%s' belongs to another user; name a new file", path);
	return 0;
}

/* May a file with this content go to the user who called sudo? Root's he could have moved here. */
static int check_content(const struct stat *st, const char *path, bool empty, struct err *e)
{
	uid_t uid = geteuid();
	gid_t gid;

	if (st->st_nlink > 1)
		return err_set(e, -EMLINK, "'%s' has other hard links; name a new file", path);
	if (!empty && st->st_size && output_sudo_caller(&uid, &gid) > 0 && st->st_uid != uid)
		return err_set(e, -EEXIST, "'%s' is root's and not empty; name a new file", path);
	return 0;
}

/*
 * Two of us would empty the file for each other, and mix their lines. Who rotates gives its lock up with the
 * old file, which may be the one that we had just opened.
 */
static int lock_file(int directory, int fd, const char *path, struct err *e)
{
	struct stat opened, named;
	bool ours = true;

	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		ours = errno != EWOULDBLOCK;
		log_debug("cannot lock '%s': %s", path, strerror(errno));
	}
	if (!ours || fstat(fd, &opened) < 0 ||
	    fstatat(directory, last_part(path), &named, AT_SYMLINK_NOFOLLOW) < 0 ||
	    opened.st_dev != named.st_dev || opened.st_ino != named.st_ino)
		return err_set(e, -EBUSY, "'%s' is being written by another agentsight", path);
	return 0;
}

/* A regular file gets its owner and permissions, once it is known that no content goes to somebody else with it. */
static int make_ours(int fd, const struct stat *st, const char *path, bool empty, mode_t mode,
		     struct err *e)
{
	uid_t uid = geteuid();
	gid_t gid;
	bool sudo = output_sudo_caller(&uid, &gid) > 0;
	int r = check_content(st, path, empty, e);

	if (r < 0)
		return r;
	if (empty && ftruncate(fd, 0) < 0)
		return err_set(e, -errno, "cannot empty '%s': %s", path, strerror(errno));
	if (fchmod(fd, mode) < 0)
		log_warning("cannot set the permissions of '%s': %s", path, strerror(errno));
	if (sudo && fchown(fd, uid, gid) < 0)
		log_debug("cannot give the output to the caller: %s", strerror(errno));
	return 0;
}

/* One that is there is looked at before it is opened; a new one is made by nobody but us. */
static int open_or_make(int directory, const char *path, int extra_flags, struct err *e)
{
	/* O_APPEND, so that a file that somebody truncates goes on at its new end; O_NONBLOCK, so
	 * that a pipe without a reader hangs neither the start nor the end */
	const int flags = O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	const char *name = last_part(path);
	struct stat st;
	int fd, r;

	if (!*name)
		return err_set(e, -EISDIR,
			       "cannot write '%s': it is a directory; name a file in it", path);
	if (!(extra_flags & O_EXCL) && fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		r = check_kind(&st, path, e);
		if (r < 0)
			return r;
		fd = openat(directory, name, flags);
	} else {
		fd = openat(directory, name, flags | O_CREAT | O_EXCL, 0600);
	}
	if (fd < 0 && errno == ELOOP)
		return err_set(e, -ELOOP, "'%s' is a symbolic link; name the file itself", path);
	if (fd < 0 && errno == ENXIO)
		return err_set(e, -ENXIO, "nobody reads the named pipe '%s'", path);
	if (fd < 0)
		return err_set(e, -errno, "cannot write '%s': %s", path, strerror(errno));
	return fd;
}

/* Nothing is truncated before it is known to be the right file. */
static int open_in(int directory, const char *path, int extra_flags, bool empty, mode_t mode,
		   int *ret_fd, struct err *e)
{
	_cleanup_(closep) int fd = -1;
	struct stat st;
	int r;

	/* somebody may make it, or remove it, between two of our steps */
	for (int i = 0; i < RACES_MAX; i++) {
		fd = open_or_make(directory, path, extra_flags, e);
		if (fd >= 0 || extra_flags & O_EXCL || (fd != -EEXIST && fd != -ENOENT))
			break;
	}
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return err_set(e, -errno, "cannot examine '%s': %s", path, strerror(errno));
	r = check_kind(&st, path, e);
	if (r < 0)
		return r;
	if (S_ISREG(st.st_mode)) {
		r = lock_file(directory, fd, path, e);
		if (r < 0)
			return r;
		r = make_ours(fd, &st, path, empty, mode, e);
		if (r < 0)
			return r;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int output_open(const char *path, int extra_flags, bool empty, mode_t mode, int *ret_fd,
		struct err *e)
{
	_cleanup_(closep) int directory = -1;
	int r = directory_of(path, &directory, e);

	if (r < 0)
		return r;
	return open_in(directory, path, extra_flags, empty, mode, ret_fd, e);
}

/* ---- old files ---- */

/* name.N, or the name itself for 0; false when that is too long. */
static bool old_name(const char *name, unsigned int i, char out[NAME_MAX + 1])
{
	int n = i ? snprintf(out, NAME_MAX + 1, "%s.%u", name, i)
		  : snprintf(out, NAME_MAX + 1, "%s", name);

	return n <= NAME_MAX;
}

/* name.1 is the newest old file; the oldest one goes. An error when the file itself cannot be moved. */
static int shift_old_files(int directory, const char *name, unsigned int keep)
{
	char from[NAME_MAX + 1], to[NAME_MAX + 1];
	int r = 0;

	for (unsigned int i = keep; i > 0; i--) {
		r = -ENAMETOOLONG;
		if (!old_name(name, i - 1, from) || !old_name(name, i, to))
			continue;
		r = renameat(directory, from, directory, to) < 0 && errno != ENOENT ? -errno : 0;
		if (r < 0 && i > 1)
			log_warning("cannot rotate '%s': %s", from, strerror(-r));
	}
	return r;
}

/* A run that was killed in the middle leaves a new file, empty as yet. Whatever else has that name is somebody's. */
static int remove_leftover(int directory, const char *name, struct err *e)
{
	uid_t uid = geteuid();
	struct stat st;
	gid_t gid;

	if (fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	output_sudo_caller(&uid, &gid);
	if (!S_ISREG(st.st_mode) || st.st_size || (st.st_uid != geteuid() && st.st_uid != uid))
		return err_set(e, -EEXIST, "'%s' is in the way; move it elsewhere", name);
	return unlinkat(directory, name, 0) < 0 ? err_set(e, -errno, "%s", strerror(errno)) : 0;
}

int output_rotate(const char *path, unsigned int keep, int *ret_fd, struct err *e)
{
	_cleanup_(closep) int directory = -1, fd = -1;
	const char *name = last_part(path);
	char new_name[NAME_MAX + 1];
	int r = directory_of(path, &directory, e);

	if (r < 0)
		return r;
	if (snprintf(new_name, sizeof(new_name), "%s.new", name) > NAME_MAX)
		return err_set(e, -ENAMETOOLONG, "the name is too long");
	r = remove_leftover(directory, new_name, e);
	if (r < 0)
		return r;
	r = open_in(directory, new_name, O_EXCL, true, 0600, &fd, e);
	if (r < 0)
		return r;
	r = shift_old_files(directory, name, keep);
	if (r >= 0 && renameat(directory, new_name, directory, name) < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(directory, new_name, 0);
		return err_set(e, r, "%s", strerror(-r));
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}
