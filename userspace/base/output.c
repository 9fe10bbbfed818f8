/* SPDX-License-Identifier: MIT */
#include "base/output.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

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

/*
 * A regular file gets its owner and permissions. One that somebody else made is refused: they may hold
 * it open, and would read along.
 */
static int make_ours(int fd, const struct stat *st, const char *path, mode_t mode, struct err *e)
{
	uid_t uid = geteuid();
	gid_t gid;
	bool sudo = output_sudo_caller(&uid, &gid) > 0;

	if (st->st_nlink > 1)
		return err_set(e, -EMLINK, "'%s' has other hard links; name a new file", path);
	if (st->st_uid != geteuid() && st->st_uid != uid)
		return err_set(e, -EPERM, "'%s' belongs to another user; name a new file", path);
	if (fchmod(fd, mode) < 0)
		log_warning("cannot set the permissions of '%s': %s", path, strerror(errno));
	if (sudo && fchown(fd, uid, gid) < 0)
		log_debug("cannot give the output to the caller: %s", strerror(errno));
	return 0;
}

/* Nothing is truncated before it is known to be the right file. */
int output_open(const char *path, int extra_flags, bool empty, mode_t mode, int *ret_fd,
		struct err *e)
{
	_cleanup_(closep) int fd = -1;
	struct stat st;
	int r;

	/* O_APPEND, so that a file that somebody truncates goes on at its new end; O_NONBLOCK, so
	 * that a pipe without a reader hangs neither the start nor the end */
	fd = open(path,
		  O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC |
			  extra_flags,
		  0600);
	if (fd < 0 && errno == ELOOP)
		return err_set(e, -ELOOP, "'%s' is a symbolic link; name the file itself", path);
	if (fd < 0 && errno == ENXIO)
		return err_set(e, -ENXIO, "nobody reads the named pipe '%s'", path);
	if (fd < 0)
		return err_set(e, -errno, "cannot write '%s': %s", path, strerror(errno));
	if (fstat(fd, &st) < 0)
		return err_set(e, -errno, "cannot examine '%s': %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode) && !S_ISCHR(st.st_mode))
		return err_set(e, -EINVAL, "'%s' is neither a file nor a pipe", path);

	if (S_ISREG(st.st_mode)) {
		r = make_ours(fd, &st, path, mode, e);
		if (r < 0)
			return r;
		if (empty && ftruncate(fd, 0) < 0)
			return err_set(e, -errno, "cannot empty '%s': %s", path, strerror(errno));
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* path.N, or the path itself for 0; false when that is too long for a name. */
static bool old_name(const char *path, unsigned int i, char out[PATH_MAX])
{
	int n = i ? snprintf(out, PATH_MAX, "%s.%u", path, i) : snprintf(out, PATH_MAX, "%s", path);

	return n < PATH_MAX;
}

/* path.1 is the newest old file; the oldest one goes. */
static void shift_old_files(const char *path, unsigned int keep)
{
	char from[PATH_MAX], to[PATH_MAX];

	for (unsigned int i = keep; i > 0; i--) {
		if (!old_name(path, i - 1, from) || !old_name(path, i, to))
			continue;
		if (rename(from, to) < 0 && errno != ENOENT)
			log_warning("cannot rotate '%s': %s", from, strerror(errno));
	}
}

int output_rotate(const char *path, unsigned int keep, int *ret_fd, struct err *e)
{
	char name[PATH_MAX];
	int r;

	if (snprintf(name, sizeof(name), "%s.new", path) >= PATH_MAX)
		return err_set(e, -ENAMETOOLONG, "the name is too long");
	unlink(name); /* left by a run that was killed here */
	r = output_open(name, O_EXCL, true, 0600, ret_fd, e);
	if (r < 0)
		return r;
	shift_old_files(path, keep);
	if (rename(name, path) < 0)
		log_warning("cannot rename '%s': %s", name, strerror(errno));
	return 0;
}
