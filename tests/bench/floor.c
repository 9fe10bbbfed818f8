/* SPDX-License-Identifier: MIT */
/*
 * The floor of tracing: empty programs at the places where agentsight attaches its own. Says "ready" and
 * stays until its standard input ends.
 *
 *   floor process|network|files|tls FILE ...   several may be named; FILE has the TLS library
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "base/cleanup.h"
#include "source/tls_sites.h"
#include "floor.skel.h"

static struct floor_bpf *skel;
static unsigned n_links;

static const struct tp {
	const char *group, *category, *name; /* no category: a raw tracepoint */
} tracepoints[] = {
	{"process", "sched", "sched_process_exec"}, {"process", "sched", "sched_process_fork"},
	{"process", "sched", "sched_process_exit"}, {"network", NULL, "inet_sock_set_state"},
	{"network", NULL, "tcp_destroy_sock"},      {"network", NULL, "tcp_retransmit_skb"},
	{"network", NULL, "sock_send_length"},      {"network", NULL, "sock_recv_length"},
	{"network", NULL, "tcp_rcv_space_adjust"},
};

/* Links are never given back: they end with the process. */
static void link_check(struct bpf_link *link, const char *name)
{
	if (!link)
		err(1, "cannot attach to %s", name);
	n_links++;
}

static void tracepoints_attach(const char *group)
{
	for (size_t i = 0; i < ARRAY_SIZE(tracepoints); i++) {
		const struct tp *t = &tracepoints[i];

		if (strcmp(t->group, group))
			continue;
		link_check(t->category ? bpf_program__attach_tracepoint(skel->progs.empty_tp,
									t->category, t->name)
				       : bpf_program__attach_raw_tracepoint(
						 skel->progs.empty_raw_tp, t->name),
			   t->name);
	}
}

static void uprobes_attach(const char *path)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct tls_sites sites;
	struct err e = {};

	if (fd < 0)
		err(1, "%s", path);
	if (tls_sites_find(fd, &sites, &e) < 0)
		errx(1, "%s: %s", path, e.text);
	for (size_t i = 0; i < sites.n; i++) {
		const struct tls_site *s = &sites.sites[i];

		if (s->kind != TLS_READ && s->kind != TLS_WRITE)
			continue;
		link_check(bpf_program__attach_uprobe(skel->progs.empty_uprobe, false, -1, path,
						      s->offset),
			   s->function);
		link_check(bpf_program__attach_uprobe(skel->progs.empty_uretprobe, true, -1, path,
						      s->offset),
			   s->function);
	}
}

int main(int argc, char **argv)
{
	char c;

	skel = floor_bpf__open_and_load();
	if (!skel)
		err(1, "cannot load the empty programs");
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "tls") && i + 1 < argc)
			uprobes_attach(argv[++i]);
		else if (!strcmp(argv[i], "files"))
			link_check(bpf_program__attach(skel->progs.empty_tp_btf), "sys_exit");
		else
			tracepoints_attach(argv[i]);
	}
	if (!n_links)
		errx(2, "usage: floor process|network|files|tls FILE ...");
	puts("ready");
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	return 0;
}
