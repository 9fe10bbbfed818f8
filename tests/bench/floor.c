/* SPDX-License-Identifier: MIT */
/*
 * The floor of tracing: programs at the places where agentsight attaches its own, which do nothing, or record
 * and do nothing else. Says "ready" and stays until its standard input ends.
 *
 *   floor [record|unchecked] process|network|files|tls FILE ...
 *
 * Several places may be named; FILE has the TLS library. "unchecked" records, too, but what a write of it was asked
 * for: so it needs no probe at the return, and what is not sent, or sent again, it has all the same.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include <agentsight/control.h>

#include "base/cleanup.h"
#include "source/ring.h"
#include "source/tls_sites.h"
#include "source/tracepoint.h"
#include "floor.skel.h"

/* As often as agentsight looks when it writes a file; not when a ring fills up, too. */
#define LOOK_MS     100
#define LOOK_TLS_MS 10

static struct floor_bpf *skel;
static unsigned n_links;
static bool records, unchecked;
static int look_ms = LOOK_MS;

static const struct tp {
	const char *group, *category, *name; /* no category: a raw tracepoint */
} tracepoints[] = {
	{"process", "sched", "sched_process_exec"}, {"process", "sched", "sched_process_fork"},
	{"process", "sched", "sched_process_exit"}, {"network", NULL, "inet_sock_set_state"},
	{"network", NULL, "tcp_destroy_sock"},      {"network", NULL, "tcp_retransmit_skb"},
	{"network", NULL, "sock_send_length"},      {"network", NULL, "sock_recv_length"},
};

/* Links are never given back: they end with the process. */
static void link_check(struct bpf_link *link, const char *name)
{
	if (!link)
		err(1, "cannot attach to %s", name);
	n_links++;
}

static struct bpf_link *attach(const struct tp *t)
{
	struct bpf_program *tp = records ? skel->progs.record_tp : skel->progs.empty_tp;
	struct bpf_program *raw = records ? skel->progs.record_raw_tp : skel->progs.empty_raw_tp;
	struct bpf_link *link = NULL;

	if (!t->category)
		return bpf_program__attach_raw_tracepoint(raw, t->name);
	errno = -tracepoint_attach(tp, t->category, t->name, &link);
	return link;
}

static void tracepoints_attach(const char *group)
{
	for (size_t i = 0; i < ARRAY_SIZE(tracepoints); i++) {
		const struct tp *t = &tracepoints[i];

		if (strcmp(t->group, group))
			continue;
		link_check(attach(t), t->name);
	}
}

static struct bpf_program *entry_program(enum tls_shape shape)
{
	if (!records)
		return skel->progs.empty_uprobe;
	if (shape == TLS_SHAPE_COUNT_ARG4)
		return skel->progs.record_entry_arg4;
	return shape == TLS_SHAPE_COUNT_ARG5 ? skel->progs.record_entry_arg5
					     : skel->progs.record_entry;
}

static void uprobes_attach(const char *path)
{
	_cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct bpf_program *at_return =
		records ? skel->progs.record_return : skel->progs.empty_uretprobe;
	struct tls_sites sites;
	struct err e = {};

	look_ms = LOOK_TLS_MS;
	if (fd < 0)
		err(1, "%s", path);
	if (tls_sites_find(fd, &sites, &e) < 0)
		errx(1, "%s: %s", path, e.text);
	for (size_t i = 0; i < sites.n; i++) {
		const struct tls_site *s = &sites.sites[i];

		if (s->kind != TLS_READ && s->kind != TLS_WRITE)
			continue;
		if (unchecked && s->kind == TLS_WRITE) {
			link_check(bpf_program__attach_uprobe(skel->progs.record_asked, false, -1,
							      path, s->offset),
				   s->function);
			continue;
		}
		link_check(bpf_program__attach_uprobe(entry_program(s->shape), false, -1, path,
						      s->offset),
			   s->function);
		link_check(bpf_program__attach_uprobe(at_return, true, -1, path, s->offset),
			   s->function);
	}
}

/* Takes records out of the ring, a look every look_ms, until the input ends. Returns how many there were. */
static unsigned long consume(void)
{
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
	struct ring_record found[256];
	unsigned long total = 0;
	struct ring *ring;
	bool more, ended;
	size_t n;

	if (ring_open(bpf_map__fd(skel->maps.ring), bpf_map__max_entries(skel->maps.ring),
		      AS_RECORD_MAX, &ring) < 0)
		err(1, "cannot map the ring");
	do {
		ended = poll(&input, 1, look_ms) > 0;
		do {
			n = ring_peek(ring, found, ARRAY_SIZE(found), SIZE_MAX, &more);
			total += n;
			ring_release(ring, NULL);
		} while (n);
	} while (!ended);
	ring_free(ring);
	return total;
}

int main(int argc, char **argv)
{
	int i = 1;
	char c;

	skel = floor_bpf__open_and_load();
	if (!skel)
		err(1, "cannot load the programs");
	unchecked = i < argc && !strcmp(argv[i], "unchecked");
	records = unchecked || (i < argc && !strcmp(argv[i], "record"));
	for (i += records; i < argc; i++) {
		if (!strcmp(argv[i], "tls") && i + 1 < argc)
			uprobes_attach(argv[++i]);
		else if (!strcmp(argv[i], "files"))
			link_check(bpf_program__attach(skel->progs.empty_tp_btf), "sys_exit");
		else
			tracepoints_attach(argv[i]);
	}
	if (!n_links)
		errx(2, "usage: floor [record|unchecked] process|network|files|tls FILE ...");
	puts("ready");
	fflush(stdout);
	if (records)
		printf("%lu records, %lu lost\n", consume(), (unsigned long)skel->bss->lost);
	while (!records && read(STDIN_FILENO, &c, 1) > 0)
		;
	return 0;
}
