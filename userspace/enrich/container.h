/* SPDX-License-Identifier: MIT */
/*
 * What a cgroup's path tells about who runs in it: runtime and id of a container, pod, systemd unit; and
 * what container managers keep about names. Nothing here opens a file. Names of cgroups are made by
 * whoever may make one, and the files by programs that run beside containers: all of it is hostile.
 */
#ifndef AGENTSIGHT_ENRICH_CONTAINER_H
#define AGENTSIGHT_ENRICH_CONTAINER_H

#include <stdbool.h>
#include <stddef.h>

#define CONTAINER_NAME_MAX 256 /* a file name, and its NUL */
#define CONTAINER_UID_MAX  64

struct container {
	const char *runtime;         /* "docker", ...; NULL: in no container that is known */
	const char *qos;             /* of a pod: "guaranteed", "burstable", "besteffort" */
	char id[CONTAINER_NAME_MAX]; /* hexadecimal, or the name where a runtime has no other id */
	char name[CONTAINER_NAME_MAX];   /* "": not known */
	char pod_uid[CONTAINER_UID_MAX]; /* "": in no pod */
	char pod[CONTAINER_NAME_MAX];    /* its name; "": not known */
	char pod_namespace[CONTAINER_NAME_MAX];
	char unit[CONTAINER_NAME_MAX]; /* systemd's, the innermost; "": none */
};

/* Fills @ret from a path as /proc/PID/cgroup has it. */
void container_parse_path(const char *path, size_t n, struct container *ret);

/* The name in docker's config.v2.json. 0, or -EBADMSG and nothing is written. */
int container_parse_docker(const char *json, size_t n, char ret_name[CONTAINER_NAME_MAX]);

/* The name that podman's containers.json has for @id. -ENOENT when it has none. */
int container_parse_podman(const char *json, size_t n, const char *id,
			   char ret_name[CONTAINER_NAME_MAX]);

/*
 * The names of kubelet's log files and directories: <pod>_<namespace>_<container>-<id>.log fills id, name,
 * pod and namespace; <namespace>_<pod>_<uid> fills pod, namespace and pod_uid. False: it is neither.
 */
bool container_parse_log_file(const char *file, struct container *ret);
bool container_parse_log_directory(const char *file, struct container *ret);

#endif
