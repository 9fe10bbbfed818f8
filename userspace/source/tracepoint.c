/* SPDX-License-Identifier: MIT */
#include "source/tracepoint.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "base/cleanup.h"

#define CPUS_MAX 8192 /* as many as Linux can be built for */

/* A mount of tracefs that hangs nowhere (fsopen(2), 5.2): nobody else sees it, and it goes with us. */
static int open_detached(void)
{
	_cleanup_(closep) int fs = syscall(SYS_fsopen, "tracefs", FSOPEN_CLOEXEC);

	if (fs < 0 || syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -1;
	return syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
}

/* -1 with errno. */
static int open_tracefs(void)
{
	static const char *const places[] = {"/sys/kernel/tracing/events",
					     "/sys/kernel/debug/tracing/events"};
	_cleanup_(closep) int mount = -1;

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		int fd = open(places[i], O_PATH | O_DIRECTORY | O_CLOEXEC);

		if (fd >= 0)
			return fd;
	}
	mount = open_detached();
	if (mount < 0)
		return -1;
	return openat(mount, "events", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static int tracepoint_id(const char *category, const char *name)
{
	_cleanup_(closep) int events = open_tracefs();
	_cleanup_(closep) int fd = -1;
	char path[128], text[16] = "";
	ssize_t n;

	if (events < 0)
		return -errno;
	snprintf(path, sizeof(path), "%s/%s/id", category, name);
	fd = openat(events, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return -errno;
	return n ? atoi(text) : -ENOENT;
}

int tracepoint_event(struct perf_event_attr *attr)
{
	int fd = -1;

	for (int cpu = 0; cpu < CPUS_MAX; cpu++) {
		fd = (int)syscall(SYS_perf_event_open, attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC);
		if (fd >= 0 || errno != ENODEV) /* switched off */
			break;
	}
	return fd < 0 ? -errno : fd;
}

int tracepoint_attach(struct bpf_program *prog, const char *category, const char *name,
		      struct bpf_link **ret)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT,
		.size = sizeof(attr),
		.sample_period = 1,
		.wakeup_events = 1,
	};
	_cleanup_(closep) int fd = -1;
	struct bpf_link *link;
	int id;

	id = tracepoint_id(category, name);
	if (id < 0)
		return id;
	attr.config = id;
	/* the processor matters not: a program runs for the tracepoint, wherever that is hit */
	fd = tracepoint_event(&attr);
	if (fd < 0)
		return fd;
	link = bpf_program__attach_perf_event(prog, fd);
	if (!link)
		return -errno;
	TAKE_FD(fd); /* the link has it now */
	*ret = link;
	return 0;
}
