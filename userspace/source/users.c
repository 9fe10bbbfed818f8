/* SPDX-License-Identifier: MIT */
#include "source/users.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/io.h"

#define FILE_MAX   (4U << 20)
#define USERS_MAX  65536
#define NAME_MAX_  256                /* with its NUL; useradd allows 32 */
#define LOOK_AGAIN (2 * NSEC_PER_SEC) /* at most that often is the file asked for changes */

struct user {
	uint32_t uid;
	uint32_t at; /* of the name, in the text */
};

struct users {
	char *path;
	char *text; /* NULs behind names */
	struct user *rows;
	size_t n;
	struct timespec changed;
	uint64_t looked_ns;
};

/* name:password:uid:... */
int users_parse_line(const char *line, size_t n, uint32_t *ret_uid, size_t *ret_name_len)
{
	const char *end = line + n;
	const char *name = n ? memchr(line, ':', n) : NULL;
	const char *p = name ? memchr(name + 1, ':', end - name - 1) : NULL;
	uint64_t uid = 0;

	if (!p || name == line || name - line >= NAME_MAX_ || ++p == end || *p == ':')
		return -EBADMSG;
	for (; p < end && *p != ':'; p++) {
		if (*p < '0' || *p > '9')
			return -EBADMSG;
		uid = uid * 10 + (*p - '0');
		if (uid > UINT32_MAX)
			return -EBADMSG;
	}
	*ret_uid = uid;
	*ret_name_len = name - line;
	return 0;
}

static void forget(struct users *u)
{
	free(TAKE_PTR(u->text));
	free(TAKE_PTR(u->rows));
	u->n = 0;
}

static int read_text(int fd, size_t size, char **ret)
{
	_cleanup_(freep) char *text = malloc(size + 1);
	int r;

	if (!text)
		return -ENOMEM;
	r = io_pread(fd, 0, text, size);
	if (r < 0)
		return r;
	text[size] = '\0';
	*ret = TAKE_PTR(text);
	return 0;
}

/* Of several with one number the first counts, as for getpwuid(). */
static void parse(struct users *u, size_t size)
{
	char *line = u->text, *end = u->text + size;

	while (line < end && u->n < USERS_MAX) {
		char *nl = memchr(line, '\n', end - line) ?: end;
		size_t name_len;
		uint32_t uid;

		if (users_parse_line(line, nl - line, &uid, &name_len) == 0) {
			u->rows[u->n++] = (struct user){uid, line - u->text};
			line[name_len] = '\0';
		}
		line = nl + 1;
	}
}

static size_t count_lines(const char *p, size_t n)
{
	size_t lines = 1;

	for (size_t i = 0; i < n; i++)
		lines += p[i] == '\n';
	return MIN(lines, (size_t)USERS_MAX);
}

static void load(struct users *u)
{
	_cleanup_(closep) int fd = open(u->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_MAX)
		return;
	if (u->text && st.st_mtim.tv_sec == u->changed.tv_sec &&
	    st.st_mtim.tv_nsec == u->changed.tv_nsec)
		return;
	forget(u);
	if (read_text(fd, st.st_size, &u->text) < 0)
		return;
	u->rows = calloc(count_lines(u->text, st.st_size), sizeof(*u->rows));
	if (!u->rows) {
		forget(u);
		return;
	}
	u->changed = st.st_mtim;
	parse(u, st.st_size);
}

int users_open(const char *path, struct users **ret)
{
	_cleanup_(users_freep) struct users *u = calloc(1, sizeof(*u));

	if (!u)
		return -ENOMEM;
	u->path = strdup(path);
	if (!u->path)
		return -ENOMEM;
	*ret = TAKE_PTR(u);
	return 0;
}

void users_free(struct users *u)
{
	if (!u)
		return;
	forget(u);
	free(u->path);
	free(u);
}

static const char *find(const struct users *u, uint32_t uid)
{
	for (size_t i = 0; i < u->n; i++) {
		if (u->rows[i].uid == uid)
			return u->text + u->rows[i].at;
	}
	return NULL;
}

const char *users_name(struct users *u, uint32_t uid)
{
	uint64_t now = clock_boot_ns();

	if (!u->looked_ns || now - u->looked_ns > LOOK_AGAIN) {
		u->looked_ns = now;
		load(u);
	}
	return find(u, uid) ?: "";
}
