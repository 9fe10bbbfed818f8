/* SPDX-License-Identifier: MIT */
#include "pipeline/trust.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "priv/priv.h"
#include "priv/sandbox.h"

static int try_maps(void *context)
{
	const struct trust_options *opt = context;

	return opt->shared ? bpf_shared_try(opt->shared) : 0;
}

static void helper_started(void *context, pid_t pid)
{
	const struct trust_options *opt = context;

	if (opt->shared)
		bpf_shared_helper(opt->shared, (uint32_t)pid);
}

/* What the kernel says of a process, not what was asked of it. */
static void tell(struct bpf_shared *shared, const char *who, pid_t pid, const char *why)
{
	struct sandbox_state is;
	char caps[256];
	bool tight;
	int r;

	if (!shared)
		return;
	r = sandbox_read(pid, &is);
	if (r < 0) {
		bpf_capability(shared, "trust", who, NULL, CAPABILITY_DEGRADED,
			       "cannot read what it is: %s", strerror(-r));
		return;
	}
	sandbox_describe(is.effective, caps, sizeof(caps));
	tight = is.filtered && is.no_new_privs &&
		(pid != getpid() || !(is.effective | is.permitted));
	bpf_capability(shared, "trust", who, NULL,
		       tight ? CAPABILITY_ATTACHED : CAPABILITY_DEGRADED, "user %u, %s%s%s%s%.120s",
		       is.uid, caps, is.no_new_privs ? ", no_new_privs" : "",
		       is.filtered ? ", seccomp filter" : "", *why ? "; " : "", why);
}

void trust_split(const struct trust_options *opt)
{
	struct trust_options copy = *opt;
	struct priv_options priv = {
		.devices = opt->devices,
		.keep = &copy.command,
		.n_keep = opt->command >= 0 ? 1 : 0,
		.try_maps = try_maps,
		.started = helper_started,
		.ctx = &copy,
	};
	struct err e = {};
	int r = priv_split(&priv, &e);

	if (r == -ENOTSUP)
		return; /* an ordinary user's, who has none */
	if (r < 0)
		log_warning("going on with more privileges than needed: %s", e.text);
	tell(opt->shared, "core", getpid(), e.text);
	if (!priv_is_split())
		return;
	/* an answer, even that there is no such service, comes when it has begun */
	r = priv_call(&(struct peer_request){.service = PRIV_SERVICES}, NULL);
	if (r == -ENOSYS)
		tell(opt->shared, "broker", priv_broker_pid(), "");
	else if (opt->shared)
		bpf_capability(opt->shared, "trust", "broker", NULL, CAPABILITY_MISSING,
			       "it does not answer: %s", strerror(-r));
}
