/* SPDX-License-Identifier: MIT */
/*
 * A cache file is text:
 *
 *	agentsight-find 4
 *	key id d72a… size 381121040
 *	library BoringSSL
 *	site write ret-int 0x311d660 554889e5…
 *	reason …
 *	end
 *
 * The number in the first line changes with what the finder can tell. A build id is only a claim, which anybody's
 * file can make: it is believed of root's files alone, and a site's code is compared as well. That there is nothing
 * cannot be compared with anything, so it is remembered of one file as it is, whose key is its inode.
 */
#include "find/cache.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/buf.h"
#include "find/library.h"
#include "priv/priv.h"

#define MAGIC    "agentsight-find 4"
#define FILE_MAX (32U << 10)
#define KEY_MAX  192

#define NAME_CHARACTERS "0123456789abcdef-.tx" /* of a key's file */

/* Programs that come and go do not fill the disk. */
#define ENTRIES_MAX 4096

struct key {
	char file[KEY_MAX]; /* name in the directory */
	char line[KEY_MAX];
};

void find_cache_directory(char *ret, size_t size)
{
	const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");

	if (geteuid() == 0)
		snprintf(ret, size, "/var/cache/agentsight");
	else if (xdg && *xdg == '/')
		snprintf(ret, size, "%s/agentsight", xdg);
	else if (home && *home == '/')
		snprintf(ret, size, "%s/.cache/agentsight", home);
	else
		*ret = '\0';
}

static void hex_add(char *ret, const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		snprintf(ret + 2 * i, 3, "%02x", bytes[i]);
}

/*
 * Opened by way of one of our own mounts? Who is root in a container is root's equal as far as the owner of a file
 * tells, but not to be believed more than a user. KERNEL < 5.8: no file is.
 */
static bool is_mounted_here(int fd)
{
	_cleanup_(fclosep) FILE *f = fopen("/proc/self/mountinfo", "re");
	_cleanup_(freep) char *line = NULL;
	struct statx st = {};
	size_t size = 0;

	if (!f || statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &st) < 0 ||
	    !(st.stx_mask & STATX_MNT_ID))
		return false;
	while (getline(&line, &size, f) > 0) {
		if (strtoull(line, NULL, 10) == st.stx_mnt_id)
			return true;
	}
	return false;
}

/* Root's, and on a file system that is not somebody else's: such are mounted without set-user-id programs. */
static bool is_roots(int fd, const struct stat *st)
{
	struct statvfs fs;

	return st->st_uid == 0 && !(st->st_mode & (S_IWGRP | S_IWOTH)) && fstatvfs(fd, &fs) == 0 &&
	       !(fs.f_flag & ST_NOSUID) && is_mounted_here(fd);
}

/* Programs that pack scripts behind one runtime share its build id. */
static void key_of_id(const struct stat *st, const struct image_id *id, struct key *ret)
{
	char hex[2 * IMAGE_BUILD_ID_MAX + 1] = "";

	hex_add(hex, id->bytes, id->len);
	snprintf(ret->file, sizeof(ret->file), "%s-%" PRIx64 ".txt", hex, (uint64_t)st->st_size);
	snprintf(ret->line, sizeof(ret->line), "key id %s size %" PRId64, hex,
		 (int64_t)st->st_size);
}

/* Nobody can set the time of the last change of an inode. */
static void key_of_inode(const struct stat *st, struct key *ret)
{
	snprintf(ret->file, sizeof(ret->file), "%" PRIx64 "-%" PRIx64 ".txt", (uint64_t)st->st_dev,
		 (uint64_t)st->st_ino);
	snprintf(ret->line, sizeof(ret->line),
		 "key dev %" PRIu64 " ino %" PRIu64 " size %" PRId64 " mtime %" PRId64
		 ".%09ld ctime %" PRId64 ".%09ld",
		 (uint64_t)st->st_dev, (uint64_t)st->st_ino, (int64_t)st->st_size,
		 (int64_t)st->st_mtim.tv_sec, st->st_mtim.tv_nsec, (int64_t)st->st_ctim.tv_sec,
		 st->st_ctim.tv_nsec);
}

static bool has_id_key(int fd, const struct stat *st, const struct image_id *id)
{
	return id->len >= 8 && is_roots(fd, st);
}

/* Nobody but us and the administrator may have written it. */
static bool is_ours(const struct stat *st)
{
	return (st->st_uid == geteuid() || st->st_uid == 0) && !(st->st_mode & (S_IWGRP | S_IWOTH));
}

static int directory_open(const char *path)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	return is_ours(&st) ? TAKE_FD(fd) : -EPERM;
}

/* The whole file, NUL-terminated. */
static int file_read(int directory, const char *name, char *ret, size_t size)
{
	_cleanup_(closep) int fd =
		openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	size_t len = 0;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || !is_ours(&st))
		return -EPERM;

	while (len < size) {
		ssize_t n = read(fd, ret + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0) {
			ret[len] = '\0';
			return strlen(ret) == len ? 0 : -EBADMSG;
		}
		len += (size_t)n;
	}
	return -E2BIG;
}

/* A file that is read. */
struct reading {
	struct image *im;
	const struct key *key;
	bool one_file; /* the key stands for one file, which may be said to have nothing */
	struct find_result *result;
	bool key_seen;
	bool end_seen;
};

static int key_take(struct reading *rd, char *line)
{
	rd->key_seen = strcmp(line, rd->key->line + strlen("key ")) == 0;
	return rd->key_seen ? 0 : -ESTALE;
}

static int library_take(struct reading *rd, char *line)
{
	enum library library;
	char *version = strchr(line, ' ');

	if (version)
		*version++ = '\0';
	if (!rd->key_seen || find_library_parse(line, &library) < 0)
		return -EBADMSG;
	return find_library_add(rd->result, library, version ? version : "");
}

static int site_take(struct reading *rd, char *line)
{
	char function_name[16], shape_name[16], code[2 * FIND_CODE + 1];
	char hex[2 * FIND_CODE + 1];
	enum find_function function;
	enum find_shape shape;
	uint64_t offset;
	int r, end = 0;

	if (rd->result->n_libraries == 0 ||
	    sscanf(line, "%15s %15s 0x%" SCNx64 " %32[0-9a-f]%n", function_name, shape_name,
		   &offset, code, &end) != 4 ||
	    line[end] || find_function_parse(function_name, &function) < 0 ||
	    find_shape_parse(shape_name, &shape) < 0)
		return -EBADMSG;

	r = find_offset_add(rd->result, rd->im, function, shape, offset);
	if (r < 0)
		return r == -ENOENT ? -ESTALE : r;
	hex_add(hex, rd->result->sites[rd->result->n - 1].code, FIND_CODE);
	return strcmp(hex, code) == 0 ? 0 : -ESTALE;
}

static int reason_take(struct reading *rd, char *line)
{
	find_refuse(rd->result, "%s", line);
	return 0;
}

static int end_take(struct reading *rd, char *line)
{
	rd->end_seen = true;
	return 0;
}

static int line_take(struct reading *rd, char *line)
{
	static const struct {
		const char *word;
		int (*take)(struct reading *rd, char *line);
	} words[] = {
		{"key", key_take},       {"library", library_take}, {"site", site_take},
		{"reason", reason_take}, {"end", end_take},
	};
	char *rest = line + strcspn(line, " ");

	if (*rest)
		*rest++ = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcmp(line, words[i].word) == 0)
			return rd->end_seen ? -EBADMSG : words[i].take(rd, rest);
	}
	return -EBADMSG;
}

/* Parts of it are printed later. */
static bool is_text(const char *p)
{
	for (; *p; p++) {
		if (*p != '\n' && ((uint8_t)*p < ' ' || (uint8_t)*p > '~'))
			return false;
	}
	return true;
}

static int text_take(struct reading *rd, char *text)
{
	char *line;
	int r = 0;

	if (!is_text(text))
		return -EBADMSG;
	line = strsep(&text, "\n");
	if (strcmp(line, MAGIC) != 0)
		return -ESTALE;
	while (r == 0 && text && *text) {
		line = strsep(&text, "\n");
		r = line_take(rd, line);
	}
	if (r < 0)
		return r;
	if (!rd->key_seen || !rd->end_seen)
		return -EBADMSG;
	if (rd->result->n > 0)
		return 0;

	/* That there is nothing has a reason, and no library. */
	return rd->one_file && *rd->result->reason && rd->result->n_libraries == 0 ? -ENOENT
										   : -EBADMSG;
}

static int entry_load(int directory, struct reading *rd)
{
	_cleanup_(freep) char *text = calloc(1, FILE_MAX + 1);
	int r;

	if (!text)
		return -ENOMEM;
	r = file_read(directory, rd->key->file, text, FILE_MAX);
	if (r < 0)
		return r == -ENOENT ? -ENODATA : r;

	r = text_take(rd, text);
	rd->result->cached = r == 0 || r == -ENOENT;
	if (!rd->result->cached) {
		find_sites_clear(rd->result);
		rd->result->reason[0] = '\0';
	}
	return r;
}

int find_cache_load(const char *directory, int fd, struct image *im, struct find_result *ret)
{
	_cleanup_(closep) int dir = directory_open(directory);
	struct key key;
	struct reading rd = {.im = im, .key = &key, .result = ret};
	int r = -ENODATA, of_inode;
	struct stat st;

	if (dir < 0)
		return dir == -ENOENT ? -ENODATA : dir;
	if (fstat(fd, &st) < 0)
		return -errno;

	if (has_id_key(fd, &st, &ret->id)) {
		key_of_id(&st, &ret->id, &key);
		r = entry_load(dir, &rd);
	}
	if (r == 0)
		return 0;
	key_of_inode(&st, &key);
	rd = (struct reading){.im = im, .key = &key, .result = ret, .one_file = true};
	of_inode = entry_load(dir, &rd);
	return of_inode == -ENODATA ? r : of_inode;
}

static void text_make(const struct key *key, const struct find_result *result, struct buf *b)
{
	char hex[2 * FIND_CODE + 1];

	buf_printf(b, MAGIC "\n%s\n", key->line);
	for (size_t i = 0; i < result->n_libraries; i++) {
		const struct find_library *l = &result->libraries[i];

		buf_printf(b, "library %s%s%s\n", l->name, *l->version ? " " : "", l->version);
		for (size_t k = 0; k < result->n; k++) {
			const struct find_site *s = &result->sites[k];

			if (s->library != i)
				continue;
			hex_add(hex, s->code, FIND_CODE);
			buf_printf(b, "site %s %s 0x%" PRIx64 " %s\n",
				   find_function_name(s->function), find_shape_name(s->shape),
				   s->offset, hex);
		}
	}
	if (*result->reason)
		buf_printf(b, "reason %s\n", result->reason);
	buf_add_lit(b, "end\n");
}

/* Makes room for one more. Which one goes does not matter: it is found again when it is needed. */
static void entries_limit(int directory)
{
	int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(closedirp) DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	size_t n = 0;

	if (!d && fd >= 0)
		close(fd);
	while (d && (entry = readdir(d))) {
		if (entry->d_name[0] != '.' && ++n >= ENTRIES_MAX)
			(void)unlinkat(directory, entry->d_name, 0);
	}
}

static int text_write(int directory, const char *name, const char *text, size_t len)
{
	_cleanup_(closep) int fd = -1;
	char temporary[64];
	size_t done = 0;

	snprintf(temporary, sizeof(temporary), ".new-%d-%p", getpid(), (const void *)text);
	fd = openat(directory, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		    0600);
	if (fd < 0)
		return -errno;
	/* places in public files are no secret, and the core that looks them up is another user */
	if (fchmod(fd, 0644) < 0)
		return -errno;

	while (done < len) {
		ssize_t n = write(fd, text + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	if (done == len && renameat(directory, temporary, directory, name) == 0)
		return 0;

	(void)unlinkat(directory, temporary, 0);
	return -EIO;
}

/* Root's is for all to look into, whatever the umask: places in public files, and the core is another user. */
static void directory_add(const char *path)
{
	_cleanup_(closep) int fd = -1;

	if (mkdir(path, 0700) < 0 || geteuid() != 0)
		return;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0)
		(void)!fchmod(fd, 0755);
}

/* The directory and, for a new user, the one above it. */
static void directory_make(const char *path)
{
	char parent[PATH_MAX];
	char *slash;

	snprintf(parent, sizeof(parent), "%s", path);
	slash = strrchr(parent, '/');
	if (slash && slash != parent) {
		*slash = '\0';
		directory_add(parent);
	}
	directory_add(path);
}

static int store(const char *directory, const char *name, const char *text, size_t len)
{
	_cleanup_(closep) int dir = -1;

	directory_make(directory);
	dir = directory_open(directory);
	if (dir < 0)
		return dir;
	entries_limit(dir);
	return text_write(dir, name, text, len);
}

/* ---- by the broker ---- */

struct store_request {
	char name[KEY_MAX];
	char text[FILE_MAX];
};

static bool is_name(const char name[KEY_MAX])
{
	size_t n = strnlen(name, KEY_MAX);

	return n && n < KEY_MAX && name[0] != '.' && strspn(name, NAME_CHARACTERS) == n;
}

static int serve_store(void *ctx, const struct peer_request *rq, struct peer_answer *ret)
{
	const struct store_request *want = rq->data;

	if (rq->len != sizeof(*want) || !is_name(want->name) ||
	    strnlen(want->text, FILE_MAX) == FILE_MAX)
		return -EINVAL;
	return store(ctx, want->name, want->text, strlen(want->text));
}

void find_cache_offer(char *directory)
{
	if (*directory)
		priv_offer(PRIV_CACHE_STORE, serve_store, directory);
}

static int store_there(const char *name, const struct buf *b)
{
	_cleanup_(freep) struct store_request *want = calloc(1, sizeof(*want));

	if (!want)
		return -ENOMEM;
	if (b->len >= sizeof(want->text))
		return -E2BIG;
	snprintf(want->name, sizeof(want->name), "%s", name);
	memcpy(want->text, b->data, b->len);
	return priv_call(&(struct peer_request){.service = PRIV_CACHE_STORE,
						.data = want,
						.len = sizeof(*want)},
			 NULL);
}

int find_cache_store(const char *directory, int fd, const struct stat *st,
		     const struct find_result *result)
{
	_cleanup_(buf_done) struct buf b = {};
	struct key key;

	if (result->n && has_id_key(fd, st, &result->id))
		key_of_id(st, &result->id, &key);
	else
		key_of_inode(st, &key);
	text_make(&key, result, &b);
	if (b.failed)
		return -ENOMEM;
	if (priv_is_split())
		return store_there(key.file, &b);
	return store(directory, key.file, b.data, b.len);
}
