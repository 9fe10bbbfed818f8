/* SPDX-License-Identifier: MIT */
#include "priv/priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/memory.h"
#include "priv/output.h"
#include "priv/proc.h"
#include "priv/sandbox.h"

#define CAP(name) (1ULL << CAP_##name)

/*
 * What the broker keeps: to read others' /proc and files, to load programs and probe files (SYS_ADMIN for what
 * perf_event_open() wants before 6.6), to lease files of others, to write where the user may, and to end the command.
 */
#define BROKER_CAPS                                                                             \
	(CAP(SYS_PTRACE) | CAP(DAC_READ_SEARCH) | CAP(DAC_OVERRIDE) | CAP(SYS_ADMIN) |          \
	 CAP(SYS_RESOURCE) | CAP(LEASE) | CAP(CHOWN) | CAP(FOWNER) | CAP(KILL) | CAP(PERFMON) | \
	 CAP(BPF) | CAP(CHECKPOINT_RESTORE))

static struct peer_service services[PRIV_SERVICES];
static struct peer *broker;

void priv_offer(enum priv_service service, peer_service_fn fn, void *ctx)
{
	services[service] = (struct peer_service){fn, ctx};
}

bool priv_is_split(void)
{
	return broker;
}

pid_t priv_broker_pid(void)
{
	return broker ? peer_pid(broker) : 0;
}

int priv_call(const struct peer_request *rq, struct peer_answer *ret)
{
	static bool said;
	int r = broker ? peer_call(broker, rq, ret) : -EACCES;

	if (r == -ECONNRESET && !said)
		log_warning("the broker has ended: programs that start now are not probed, and "
			    "nothing is read "
			    "any more of what only their users may");
	said |= r == -ECONNRESET;
	return r;
}

int priv_call_fd(const struct peer_request *rq, char *text, size_t cap)
{
	struct peer_answer answer = {.data = text, .cap = cap};
	int r = priv_call(rq, &answer);

	if (r < 0)
		return r;
	return answer.n_fds == 1 ? answer.fds[0] : -EPROTO;
}

void priv_end(void)
{
	struct peer *p = broker;

	broker = NULL;
	peer_free(p);
}

/* ---- the broker's beginning ---- */

struct birth {
	const struct priv_options *opt;
	uint64_t permitted;
};

/* Programs, maps and types that were loaded, memory that libbpf reads, and what else was asked for. */
static bool is_needed(const struct priv_options *opt, int fd, int requests)
{
	static const char *const kinds[] = {"anon_inode:bpf-prog", "anon_inode:bpf-map",
					    "anon_inode:btf", "/memfd:"};
	char path[32], target[64];
	ssize_t n;

	if (fd <= STDERR_FILENO || fd == requests || fd == log_fd())
		return true;
	for (size_t i = 0; i < opt->n_keep; i++) {
		if (opt->keep[i] == fd)
			return true;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, target, sizeof(target) - 1);
	if (n <= 0)
		return false;
	target[n] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (!strncmp(target, kinds[i], strlen(kinds[i])))
			return true;
	}
	return false;
}

/* Everything else is the core's: a probe that it closes shall be closed, and so shall the command's files. */
static void descriptors_close(const struct priv_options *opt, int requests)
{
	_cleanup_(closedirp) DIR *dir = opendir("/proc/self/fd");
	struct dirent *d;

	if (!dir)
		log_warning("the broker keeps what the core has open: %s", strerror(errno));
	while (dir && (d = readdir(dir))) {
		int fd = (int)strtol(d->d_name, NULL, 10);

		if (fd != dirfd(dir) && !is_needed(opt, fd, requests))
			close(fd);
	}
}

/*
 * Without CAP_SYS_PTRACE, as in most containers, the kernel lets root look only at those who have no capability that it
 * has not itself: it keeps all.
 */
static uint64_t broker_keeps(uint64_t permitted)
{
	return permitted & CAP(SYS_PTRACE) ? permitted & BROKER_CAPS : permitted;
}

/* What fails here leaves the broker with more than it needs, and is said. */
static void broker_begin(void *context, int requests)
{
	const struct birth *birth = context;
	struct err e = {};
	sigset_t all;
	int r;

	/* it ends with the core, and not before */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	if (birth->opt->started)
		birth->opt->started(birth->opt->ctx, getpid());
	descriptors_close(birth->opt, requests);
	r = sandbox_limit(broker_keeps(birth->permitted));
	if (r < 0)
		log_warning("the broker keeps its capabilities: %s", strerror(-r));
	if (sandbox_filter(SANDBOX_BROKER, false, &e) < 0)
		log_warning("broker: %s", e.text);
	memory_give_back();
}

/* ---- the split ---- */

/* With hidepid another user does not see that others' processes exist at all. */
static int try_proc(void *ctx)
{
	/* not access(2), which asks for the real user, who stays root */
	int fd = open("/proc/1/stat", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/*
 * What the core cannot do without, and its reason. It is not always there to be kept: as root of a container, who has
 * no CAP_SYS_PTRACE, the core would see nobody at all where /proc is mounted with hidepid.
 */
static int keep_needed(const struct priv_options *opt, const struct identity *id,
		       uint64_t permitted, uint64_t *ret_keep, struct err *why)
{
	uint64_t keep = 0;

	if (opt->try_maps && sandbox_try(id, opt->try_maps, opt->ctx) == -EPERM) {
		keep |= CAP(BPF);
		err_set(why, 0, "this kernel (before 5.19) lets nobody without CAP_BPF read maps");
	}
	if (opt->devices) {
		keep |= CAP(SYS_PTRACE);
		err_set(why, 0,
			"--gpu: what drivers tell of others' descriptors needs CAP_SYS_PTRACE");
	}
	if (sandbox_try(id, try_proc, NULL) < 0) {
		keep |= CAP(SYS_PTRACE);
		if (!(permitted & CAP(SYS_PTRACE)))
			return err_set(why, -EPERM,
				       "/proc is mounted with hidepid, and CAP_SYS_PTRACE is not "
				       "there to be kept");
		err_set(why, 0, "/proc is mounted with hidepid: CAP_SYS_PTRACE stays");
	}
	*ret_keep = keep & permitted;
	return 0;
}

int priv_split(const struct priv_options *opt, struct err *e)
{
	struct birth birth = {.opt = opt};
	struct identity id;
	struct err why = {};
	uint64_t keep;
	int r = sandbox_permitted(&birth.permitted);

	if (r < 0)
		return err_set(e, r, "cannot tell which capabilities there are: %s", strerror(-r));
	if (!birth.permitted)
		return -ENOTSUP;
	sandbox_identity(&id);
	priv_proc_offer();
	priv_output_offer();
	r = keep_needed(opt, &id, birth.permitted, &keep, &why);
	if (r < 0) {
		*e = why;
		return r;
	}
	r = peer_start(&(struct peer_options){.name = "agentsight-priv",
					      .services = services,
					      .n_services = PRIV_SERVICES,
					      .begin = broker_begin,
					      .ctx = &birth},
		       &broker);
	if (r < 0)
		return err_set(e, r, "cannot start the broker: %s", strerror(-r));
	r = sandbox_become(&id, keep, e);
	if (r < 0) {
		priv_end();
		return r;
	}
	r = sandbox_filter(SANDBOX_CORE, opt->devices, e);
	if (r < 0)
		return r;
	*e = why;
	return 0;
}
