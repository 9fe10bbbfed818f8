/* SPDX-License-Identifier: MIT */
#include "source/container_names.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/limits.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "priv/priv.h"

#define FILE_MAX    (4U << 20)
#define ENTRIES_MAX 4096 /* of a directory; a node has some hundred pods */

static int file_open(const char *path)
{
	/* not blocking: what lies there may be a pipe that nobody writes to */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	return fd < 0 ? -errno : fd;
}

/* ---- by the broker ---- */

#define DOCKER "/var/lib/docker/containers/"
#define PODMAN "/var/lib/containers/storage/overlay-containers/"

/* Files that only root reads; of a form that leads nowhere else. */
static bool is_served(const char *path)
{
	size_t id;

	if (!strcmp(path, PODMAN "containers.json") ||
	    !strcmp(path, PODMAN "volatile-containers.json"))
		return true;
	if (strncmp(path, DOCKER, sizeof(DOCKER) - 1) != 0)
		return false;
	path += sizeof(DOCKER) - 1;
	id = strspn(path, "0123456789abcdef");
	return id && !strcmp(path + id, "/config.v2.json");
}

static int serve_file(void *ctx, const struct peer_request *rq, struct peer_answer *ret)
{
	const char *path = peer_request_text(rq);
	int fd;

	if (!path || !is_served(path))
		return -EINVAL;
	fd = file_open(path);
	if (fd < 0)
		return fd;
	ret->fds[ret->n_fds++] = fd;
	return 0;
}

void container_names_offer(void)
{
	priv_offer(PRIV_CONTAINER, serve_file, NULL);
}

static int file_open_there(const char *path)
{
	return priv_call_fd(&(struct peer_request){.service = PRIV_CONTAINER,
						   .data = path,
						   .len = strlen(path) + 1},
			    NULL, 0);
}

/* A regular file, at most FILE_MAX long. */
static int file_read(const char *path, char **ret, size_t *ret_n)
{
	_cleanup_(closep) int fd = priv_is_split() ? file_open_there(path) : file_open(path);
	_cleanup_(freep) char *text = NULL;
	struct stat st;
	int r;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EBADF;
	if (st.st_size > FILE_MAX)
		return -EFBIG;
	text = malloc(st.st_size + 1);
	if (!text)
		return -ENOMEM;
	r = io_pread(fd, 0, text, st.st_size);
	if (r < 0)
		return r;
	*ret_n = st.st_size;
	*ret = TAKE_PTR(text);
	return 0;
}

__attribute__((format(printf, 2, 3))) static bool path_make(char out[PATH_MAX], const char *fmt,
							    ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(out, PATH_MAX, fmt, ap);
	va_end(ap);
	return n > 0 && n < PATH_MAX;
}

static bool docker_find(const char *root, struct container *c)
{
	_cleanup_(freep) char *text = NULL;
	char path[PATH_MAX];
	size_t n;

	return path_make(path, "%s" DOCKER "%s/config.v2.json", root, c->id) &&
	       file_read(path, &text, &n) == 0 && container_parse_docker(text, n, c->name) == 0;
}

static bool podman_find(const char *root, struct container *c)
{
	static const char *const files[] = {"containers.json", "volatile-containers.json"};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		_cleanup_(freep) char *text = NULL;
		char path[PATH_MAX];
		size_t n;

		if (path_make(path, "%s" PODMAN "%s", root, files[i]) &&
		    file_read(path, &text, &n) == 0 &&
		    container_parse_podman(text, n, c->id, c->name) == 0)
			return true;
	}
	return false;
}

/* Calls @take for the entries of a directory until it is content. */
static bool directory_each(const char *root, const char *dir,
			   bool (*take)(const char *file, struct container *c), struct container *c)
{
	_cleanup_(closedirp) DIR *d = NULL;
	char path[PATH_MAX];
	struct dirent *entry;

	if (!path_make(path, "%s/%s", root, dir))
		return false;
	d = opendir(path);
	for (size_t i = 0; d && i < ENTRIES_MAX && (entry = readdir(d)); i++) {
		if (take(entry->d_name, c))
			return true;
	}
	return false;
}

static bool log_file_take(const char *file, struct container *c)
{
	struct container found = {0};

	if (!container_parse_log_file(file, &found) || strcmp(found.id, c->id) != 0)
		return false;
	memcpy(c->name, found.name, sizeof(c->name));
	memcpy(c->pod, found.pod, sizeof(c->pod));
	memcpy(c->pod_namespace, found.pod_namespace, sizeof(c->pod_namespace));
	return true;
}

static bool log_directory_take(const char *file, struct container *c)
{
	struct container found = {0};

	if (!container_parse_log_directory(file, &found) || strcmp(found.pod_uid, c->pod_uid) != 0)
		return false;
	memcpy(c->pod, found.pod, sizeof(c->pod));
	memcpy(c->pod_namespace, found.pod_namespace, sizeof(c->pod_namespace));
	return true;
}

bool container_names_find(const char *root, struct container *c)
{
	if (c->pod_uid[0]) {
		if (c->runtime && directory_each(root, "var/log/containers", log_file_take, c))
			return true;
		/* the container that only keeps the pod's namespaces has no log */
		return directory_each(root, "var/log/pods", log_directory_take, c) && !c->runtime;
	}
	if (!c->runtime || c->name[0])
		return true;
	if (!strcmp(c->runtime, "docker"))
		return docker_find(root, c);
	if (!strcmp(c->runtime, "podman"))
		return podman_find(root, c);
	return true;
}
