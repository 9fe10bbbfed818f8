/* SPDX-License-Identifier: MIT */
#include "source/tls_maps.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "priv/proc.h"

struct tls_maps {
	uint32_t tgid;
	FILE *file; /* of one thread; NULL between two */
	DIR *tasks; /* NULL until the first thread is found to have nothing mapped */
	bool begun;
	bool any; /* the others have the same */
	char line[4096 + 256];
};

int tls_maps_new(uint32_t tgid, struct tls_maps **ret)
{
	struct tls_maps *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->tgid = tgid;
	*ret = m;
	return 0;
}

void tls_maps_free(struct tls_maps *m)
{
	if (!m)
		return;
	fclosep(&m->file);
	closedirp(&m->tasks);
	free(m);
}

/* "7f3c10000000-7f3c10020000 r-xp 00001000 fe:01 1234   /lib/libssl.so.3" */
static bool line_parse(char *line, struct mapping *m)
{
	unsigned int major, minor;
	uint64_t end;
	char exec;
	int at = 0;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*c%*c%c%*c %*x %x:%x %" SCNu64 " %n", &m->addr,
		   &end, &exec, &major, &minor, &m->ino, &at) != 6 ||
	    !at || exec != 'x' || !m->ino || end < m->addr)
		return false;
	line[strcspn(line, "\n")] = '\0';
	m->len = end - m->addr;
	m->dev = makedev(major, minor);
	m->generation = 0;
	m->path = line + at;
	return true;
}

static int file_open(struct tls_maps *m, const char *path)
{
	_cleanup_(closep) int fd = priv_proc_open(path);

	if (fd < 0)
		return fd == -ENOENT || fd == -ESRCH ? 0 : fd;
	m->file = fdopen(fd, "r");
	if (!m->file)
		return -errno;
	fd = -1; /* the file's */
	return 0;
}

/* A kernel thread has nothing mapped. Neither has a first thread that has ended before the others. */
static int thread_next(struct tls_maps *m)
{
	struct dirent *d;
	uint32_t tid;
	char path[64];

	if (!m->begun) {
		m->begun = true;
		snprintf(path, sizeof(path), "%u/maps", m->tgid);
		return file_open(m, path);
	}
	if (!m->tasks) {
		snprintf(path, sizeof(path), "/proc/%u/task", m->tgid);
		m->tasks = opendir(path);
	}
	d = m->tasks ? readdir(m->tasks) : NULL;
	if (!d)
		return -ENODATA;
	tid = (uint32_t)strtoul(d->d_name, NULL, 10);
	if (!tid || tid == m->tgid)
		return 0;
	snprintf(path, sizeof(path), "%u/task/%u/maps", m->tgid, tid);
	return file_open(m, path);
}

static int file_end(struct tls_maps *m)
{
	int r = ferror(m->file) && errno != ESRCH ? -errno : 0;

	fclose(TAKE_PTR(m->file));
	if (r < 0)
		return r;
	return m->any ? -ENODATA : 0;
}

int tls_maps_next(struct tls_maps *m, struct mapping *ret)
{
	if (!m->file)
		return thread_next(m);
	errno = 0;
	if (!fgets(m->line, sizeof(m->line), m->file))
		return file_end(m);
	m->any = true;
	ret->tgid = m->tgid;
	return line_parse(m->line, ret);
}
