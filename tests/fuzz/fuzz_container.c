/* SPDX-License-Identifier: MIT */
/*
 * Names of cgroups, files of container managers, of the cgroup tree, of /proc/PID/fdinfo and of passwd: the
 * first byte chooses the parser. Each survives any bytes, ends its texts, and writes nothing when it refuses.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "enrich/container.h"
#include "source/cgroup.h"
#include "source/gpu_drm.h"
#include "source/users.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_end(const char *text, size_t cap)
{
	must(strnlen(text, cap) < cap);
}

static void check_container(const struct container *c)
{
	must_end(c->id, sizeof(c->id));
	must_end(c->name, sizeof(c->name));
	must_end(c->pod_uid, sizeof(c->pod_uid));
	must_end(c->pod, sizeof(c->pod));
	must_end(c->pod_namespace, sizeof(c->pod_namespace));
	must_end(c->unit, sizeof(c->unit));
}

static void path(const char *text, size_t n)
{
	struct container c;

	memset(&c, 0x5a, sizeof(c));
	container_parse_path(text, n, &c);
	check_container(&c);
	must(!c.runtime == !c.id[0]);
	must(!memchr(c.id, '/', strlen(c.id)));
	/* docker's id becomes part of a file's path */
	if (c.runtime && !strcmp(c.runtime, "docker"))
		must(strspn(c.id, "0123456789abcdefABCDEF") == strlen(c.id));
}

static void docker(const char *text, size_t n)
{
	char name[CONTAINER_NAME_MAX] = "before";

	if (container_parse_docker(text, n, name) < 0)
		must(!strcmp(name, "before"));
	must_end(name, sizeof(name));
	must(name[0]);
}

static void podman(const char *text, size_t n)
{
	char name[CONTAINER_NAME_MAX] = "before";

	if (container_parse_podman(text, n, "aa", name) < 0)
		must(!strcmp(name, "before"));
	must_end(name, sizeof(name));
}

static void logs(const char *text, size_t n)
{
	struct container c = {0};
	char *file = strndup(text, n);

	if (!file)
		return;
	container_parse_log_file(file, &c);
	check_container(&c);
	container_parse_log_directory(file, &c);
	check_container(&c);
	free(file);
}

static void place(const char *text, size_t n)
{
	struct cgroup_place p;
	struct cgroup_text t;

	if (cgroup_parse_place(text, n, &p) < 0)
		return;
	t = cgroup_place_path(&p);
	must(t.n > 0 && t.p[0] == '/');
	must(!memchr(t.p, '\n', t.n));
}

static void numbers(const char *text, size_t n)
{
	struct cgroup_stall stall;
	uint64_t v = 0;

	cgroup_parse_pressure(text, n, &stall);
	cgroup_parse_quota(text, n, &v);
	cgroup_parse_bytes(text, n, &v);
	cgroup_parse_key(text, n, "oom_kill", &v);
}

static void drm(const char *text, size_t n)
{
	struct gpu_drm_client c;

	if (gpu_drm_parse(text, n, &c) < 0)
		return;
	must(c.n_engines <= GPU_DRM_ENGINES);
	must_end(c.driver, sizeof(c.driver));
	must_end(c.device, sizeof(c.device));
	for (size_t i = 0; i < c.n_engines; i++)
		must_end(c.engines[i].name, sizeof(c.engines[i].name));
}

static void passwd(const char *text, size_t n)
{
	uint32_t uid;
	size_t len;

	if (users_parse_line(text, n, &uid, &len) == 0)
		must(len > 0 && len < n && text[len] == ':');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const parsers[])(const char *, size_t) = {
		path, docker, podman, logs, place, numbers, drm, passwd,
	};
	char *copy;

	if (size == 0)
		return 0;
	/* of just that size, so that the sanitizer sees an overrun */
	copy = malloc(size - 1 ? size - 1 : 1);
	if (!copy)
		return 0;
	memcpy(copy, data + 1, size - 1);
	parsers[data[0] % (sizeof(parsers) / sizeof(parsers[0]))](copy, size - 1);
	free(copy);
	return 0;
}
