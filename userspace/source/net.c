/* SPDX-License-Identifier: MIT */
#include "source/net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/cleanup.h"
#include "net.skel.h"
#include "net_fexit.skel.h"
#include "net_kprobe.skel.h"

#define FAMILY "net"

struct net_source {
	struct bpf_shared *shared;
	struct net_bpf *skel;          /* NULL once all is attached */
	struct net_kprobe_bpf *kprobe; /* the same; where tracepoints are missing */
	struct net_bpf__bss *variables;
	struct bpf_link *flows;
	struct bpf_link *seed;
	struct bpf_link *moved;
};

DEFINE_FREEP(struct net_source *, net_source_free)

/* ---- iterators ---- */

static ssize_t iter_read(int fd, void *to, size_t size)
{
	ssize_t n;

	do {
		n = read(fd, to, size);
	} while (n < 0 && (errno == EAGAIN || errno == EINTR));
	return n < 0 ? -errno : n;
}

/* Runs an iterator over all it has; it writes events, not text. */
static int iterate(struct bpf_link *link)
{
	_cleanup_(closep) int fd = -1;
	char none[64];
	ssize_t n;

	if (!link)
		return 0;
	fd = bpf_iter_create(bpf_link__fd(link));
	if (fd < 0)
		return -errno;
	do {
		n = iter_read(fd, none, sizeof(none));
	} while (n > 0);
	return n;
}

static struct bpf_link *iter_attach(struct net_source *n, const char *hook, const char *mechanism,
				    struct bpf_program *prog, int map_fd)
{
	union bpf_iter_link_info info = {.map.map_fd = map_fd};
	LIBBPF_OPTS(bpf_iter_attach_opts, opts);
	struct bpf_link *link;

	if (map_fd >= 0) {
		opts.link_info = &info;
		opts.link_info_len = sizeof(info);
	}
	link = bpf_program__attach_iter(prog, &opts);
	if (link)
		bpf_capability(n->shared, FAMILY, hook, mechanism, CAPABILITY_ATTACHED, NULL);
	else
		bpf_capability(n->shared, FAMILY, hook, mechanism, CAPABILITY_MISSING, "%s",
			       strerror(errno));
	return link;
}

/* ---- loading ---- */

static int reuse(struct bpf_object *obj, const char *name, int fd, struct err *e)
{
	struct bpf_map *map = bpf_object__find_map_by_name(obj, name);
	int r = map ? bpf_map__reuse_fd(map, fd) : -ENOENT;

	if (r < 0)
		return err_set(e, r, "cannot share the BPF map '%s': %s", name, strerror(-r));
	return 0;
}

static int share_tls_maps(struct bpf_object *obj, const struct net_options *opt, struct err *e)
{
	static const char *const names[] = {"tls_threads", "tls_sessions"};
	const int fds[] = {opt->tls_threads_fd, opt->tls_sessions_fd};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		int r;

		if (fds[i] >= 0)
			r = reuse(obj, names[i], fds[i], e);
		else
			r = bpf_map__set_max_entries(bpf_object__find_map_by_name(obj, names[i]),
						     1);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Without network events only the hooks that see who uses a socket are needed, and no tables. */
static void keep_use_only(struct net_bpf *skel)
{
	struct bpf_map *const tables[] = {skel->maps.socks, skel->maps.listeners, skel->maps.claims,
					  skel->maps.udp_owners};
	struct bpf_program *prog;

	bpf_object__for_each_program(prog, skel->obj)
	{
		bpf_program__set_autoload(prog, prog == skel->progs.net_send ||
							prog == skel->progs.net_recv ||
							prog == skel->progs.net_recv_tcp ||
							prog == skel->progs.net_destroy);
	}
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		bpf_map__set_max_entries(tables[i], 1);
}

/* What is needed for payload only: a megabyte each that a run without it can do without. */
static void drop_payload_tables(const struct as_config *cfg, struct net_bpf *skel)
{
	if (!cfg->plain_http) {
		bpf_map__set_max_entries(skel->maps.plain_socks, 1);
		bpf_map__set_max_entries(skel->maps.receives, 1);
	}
	if (!cfg->stdio)
		bpf_map__set_max_entries(skel->maps.stdio_entries, 1);
	if (!cfg->plain_http && !cfg->stdio)
		bpf_map__set_max_entries(skel->maps.payloads, 1);
}

static int load(struct net_source *n, const struct net_options *opt, struct err *e)
{
	const struct as_config *cfg = bpf_shared_config(n->shared);
	int r;

	n->skel = net_bpf__open_opts(bpf_shared_open_opts(n->shared));
	if (!n->skel)
		return err_set(e, -errno, "cannot open the network programs: %s", strerror(errno));
	if (!cfg->net_events)
		keep_use_only(n->skel);
	drop_payload_tables(cfg, n->skel);
	bpf_program__set_autoload(n->skel->progs.net_moved, cfg->net_events && opt->samples);
	if (bpf_shared_memory(n->shared)->features & AS_FEATURE_SOCK_LENGTH)
		bpf_program__set_autoload(n->skel->progs.net_recv_tcp, false);
	r = bpf_family_prepare(n->shared, n->skel->obj, e);
	if (r < 0)
		return r;
	r = share_tls_maps(n->skel->obj, opt, e);
	if (r < 0)
		return r;
	r = net_bpf__load(n->skel);
	if (r < 0)
		return err_set(e, r, "the kernel refused the network programs: %s", strerror(-r));
	if (!n->skel->bss) /* what libbpf takes for a kernel before 5.5, when a trial of its own fails */
		return err_set(e, -ENOMEM, "the kernel does not share the network variables");
	n->variables = bpf_keep_variables(n->skel->maps.bss);
	return n->variables ? 0 : -errno;
}

/* ---- KERNEL < 6.3: functions, where sock_send_length and sock_recv_length are missing ---- */

/* What an object of its own has in common with the one of this family. */
static int share_tables(struct net_source *n, struct bpf_object *obj, const struct net_options *opt,
			struct err *e)
{
	struct bpf_map *const tables[] = {
		n->skel->maps.socks,    n->skel->maps.listeners,  n->skel->maps.claims,
		n->skel->maps.settled,  n->skel->maps.udp_owners, n->skel->maps.plain_socks,
		n->skel->maps.receives, n->skel->maps.payloads,   n->skel->maps.stdio_entries};
	int r = bpf_family_prepare(n->shared, obj, e);

	for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(tables); i++)
		r = reuse(obj, bpf_map__name(tables[i]), bpf_map__fd(tables[i]), e);
	return r < 0 ? r : share_tls_maps(obj, opt, e);
}

/* The sums of TCP need no hook on sending. */
static bool sends_wanted(const struct as_config *cfg)
{
	return cfg->net_each_call || cfg->tls_join || cfg->plain_http;
}

/* Is every send of TCP seen? */
static bool fexit_attach(struct net_source *n, const struct net_options *opt)
{
	struct net_fexit_bpf *skel = net_fexit_bpf__open_opts(bpf_shared_open_opts(n->shared));
	struct err e = {};
	bool attached;

	if (!skel || share_tables(n, skel->obj, opt, &e) < 0 || net_fexit_bpf__load(skel) < 0) {
		bpf_capability(n->shared, FAMILY, "tcp_send", "fexit", CAPABILITY_MISSING, "%s",
			       e.text[0] ? e.text : strerror(errno));
		net_fexit_bpf__destroy(skel);
		return false;
	}
	attached = bpf_hook_attach(n->shared, FAMILY, "tcp_send", "fexit",
				   skel->progs.net_tcp_left) == 0;
	net_fexit_bpf__destroy(skel);
	return attached;
}

static int kprobe_load(struct net_source *n, const struct net_options *opt, bool sends,
		       struct err *e)
{
	int r;

	n->kprobe = net_kprobe_bpf__open_opts(bpf_shared_open_opts(n->shared));
	if (!n->kprobe)
		return err_set(e, -errno, "cannot open the probes: %s", strerror(errno));
	bpf_program__set_autoload(n->kprobe->progs.net_tcp_send, sends);
	bpf_program__set_autoload(n->kprobe->progs.net_tcp_sent, sends);
	r = share_tables(n, n->kprobe->obj, opt, e);
	if (r < 0)
		return r;
	r = net_kprobe_bpf__load(n->kprobe);
	if (r < 0)
		return err_set(e, r, "the kernel refused them: %s", strerror(-r));
	return 0;
}

static void kprobe_attach(struct net_source *n, bool sends)
{
	const struct as_config *cfg = bpf_shared_config(n->shared);
	const struct net_kprobe_bpf *k = n->kprobe;
	const struct {
		const char *hook;
		struct bpf_program *entry, *ret;
		bool wanted;
	} hooks[] = {
		{"tcp_send", k->progs.net_tcp_send, k->progs.net_tcp_sent, sends},
		{"tcp_recv", k->progs.net_tcp_recv, NULL, cfg->plain_http},
		{"udp_send", k->progs.net_udp_send, k->progs.net_udp_sent, cfg->net_events},
		{"udp_send_v6", k->progs.net_udp6_send, k->progs.net_udp6_sent, cfg->net_events},
		{"udp_recv", k->progs.net_udp_recv, NULL, cfg->net_events},
	};

	for (size_t i = 0; i < ARRAY_SIZE(hooks); i++) {
		if (!hooks[i].wanted)
			continue;
		if (bpf_hook_attach(n->shared, FAMILY, hooks[i].hook, "kprobe", hooks[i].entry) < 0)
			continue;
		if (hooks[i].ret)
			bpf_hook_attach(n->shared, FAMILY, hooks[i].hook, "kretprobe",
					hooks[i].ret);
	}
}

/* ---- attaching ---- */

static void attach_transfers(struct net_source *n, const struct net_options *opt)
{
	const struct net_bpf *skel = n->skel;
	struct err e = {};
	bool sends, receives, probes;

	sends = bpf_hook_attach(n->shared, FAMILY, "send", "sock_send_length",
				skel->progs.net_send) == 0;
	receives = bpf_hook_attach(n->shared, FAMILY, "recv", "sock_recv_length",
				   skel->progs.net_recv) == 0;
	if (!receives)
		bpf_hook_attach(n->shared, FAMILY, "recv", "tcp_rcv_space_adjust",
				skel->progs.net_recv_tcp);
	if (sends && receives)
		return;
	if (bpf_shared_config(n->shared)->stdio && !bpf_shared_config(n->shared)->file_events)
		bpf_capability(n->shared, FAMILY, "stdio", "socket pairs", CAPABILITY_MISSING,
			       "before Linux 6.3 only where file operations are recorded too");
	probes = sends_wanted(bpf_shared_config(n->shared)) && !fexit_attach(n, opt);
	if (kprobe_load(n, opt, probes, &e) < 0)
		bpf_capability(n->shared, FAMILY, "send", "kprobe", CAPABILITY_MISSING, "%s",
			       e.text);
	else
		kprobe_attach(n, probes);
}

static int attach_states(struct net_source *n, struct err *e)
{
	const struct net_bpf *skel = n->skel;
	int r;

	/* the end before the beginning: no entry is made that nothing would remove */
	r = bpf_hook_attach(n->shared, FAMILY, "destroy", "tcp_destroy_sock",
			    skel->progs.net_destroy);
	if (r == 0)
		r = bpf_hook_attach(n->shared, FAMILY, "state", "inet_sock_set_state",
				    skel->progs.net_state);
	if (r < 0)
		return err_set(e, r, "cannot attach to the sockets' tracepoints: %s", strerror(-r));
	bpf_hook_attach(n->shared, FAMILY, "retransmit", "tcp_retransmit_skb",
			skel->progs.net_retransmit);
	bpf_hook_attach(n->shared, FAMILY, "exit", "sched_process_exit", skel->progs.net_exit);
	return 0;
}

static void objects_close(struct net_source *n)
{
	net_kprobe_bpf__destroy(TAKE_PTR(n->kprobe));
	net_bpf__destroy(TAKE_PTR(n->skel));
}

int net_source_open(struct bpf_shared *s, const struct net_options *opt, struct net_source **ret,
		    struct err *e)
{
	_cleanup_(net_source_freep) struct net_source *n = calloc(1, sizeof(*n));
	bool events = bpf_shared_config(s)->net_events;
	int r;

	if (!n)
		return -ENOMEM;
	n->shared = s;
	r = load(n, opt, e);
	if (r < 0)
		return r;
	if (events) {
		r = attach_states(n, e);
		if (r < 0)
			return r;
	}
	if (!events && bpf_shared_config(s)->plain_http)
		bpf_hook_attach(s, FAMILY, "destroy", "tcp_destroy_sock",
				n->skel->progs.net_destroy);
	attach_transfers(n, opt);
	if (events) {
		n->flows = iter_attach(n, "flow", "bpf_map_elem iterator", n->skel->progs.net_flows,
				       bpf_map__fd(n->skel->maps.socks));
		if (opt->samples)
			n->moved = iter_attach(n, "moved", "bpf_map_elem iterator",
					       n->skel->progs.net_moved,
					       bpf_map__fd(n->skel->maps.socks));
		n->seed = iter_attach(n, "seed", "task_file iterator", n->skel->progs.net_seed, -1);
	}
	objects_close(n);

	*ret = TAKE_PTR(n);
	return 0;
}

void net_source_seed(struct net_source *n)
{
	int r = iterate(n->seed);

	if (r < 0)
		bpf_capability(n->shared, FAMILY, "seed", "task_file iterator", CAPABILITY_DEGRADED,
			       "%s", strerror(-r));
}

/* ---- once a second ---- */

void net_source_tick(struct net_source *n, uint64_t boot_ns)
{
	if (!n->flows || !bpf_shared_memory(n->shared)->sockets)
		return;
	n->variables->unowned = 0;
	iterate(n->flows);
	/* accepted but never used: only the table of open files knows by whom */
	if (n->variables->unowned)
		iterate(n->seed);
}

/* ---- with each sample ---- */

static int moved_read(struct net_source *n, net_moved_fn *fn, void *ctx)
{
	struct as_moved moved[128]; /* a read of whole records gives whole records */
	_cleanup_(closep) int fd = -1;
	ssize_t got;

	fd = bpf_iter_create(bpf_link__fd(n->moved));
	if (fd < 0)
		return -errno;
	while ((got = iter_read(fd, moved, sizeof(moved))) > 0) {
		for (size_t i = 0; i < got / sizeof(moved[0]); i++)
			fn(ctx, &moved[i]);
	}
	return got;
}

void net_source_moved(struct net_source *n, net_moved_fn *fn, void *ctx)
{
	int r;

	if (!n->moved || !bpf_shared_memory(n->shared)->sockets)
		return;
	r = moved_read(n, fn, ctx);
	if (r < 0)
		bpf_capability(n->shared, FAMILY, "moved", "bpf_map_elem iterator",
			       CAPABILITY_DEGRADED, "%s", strerror(-r));
}

void net_source_finish(struct net_source *n)
{
	n->variables->finishing = 1;
	net_source_tick(n, 0);
	/* what has found its owner only now is told too */
	if (n->flows && n->variables->unowned)
		iterate(n->flows);
}

void net_source_free(struct net_source *n)
{
	if (!n)
		return;
	bpf_link__destroy(n->flows);
	bpf_link__destroy(n->seed);
	bpf_link__destroy(n->moved);
	objects_close(n);
	if (n->variables)
		munmap(n->variables, sizeof(*n->variables));
	free(n);
}
