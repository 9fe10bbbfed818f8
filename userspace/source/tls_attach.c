/* SPDX-License-Identifier: MIT */
/*
 * A table says which program serves which shape. Entries are attached before returns: a return without its
 * entry would look like a lost call.
 */
#include "source/tls_attach.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/log.h"
#include "find/image.h"
#include "priv/priv.h"

#include "source/tracepoint.h"
#include "tls.skel.h"
#include "tls_aead.skel.h"
#include "tls_go.skel.h"

#define DETACH_THREADS      64
#define BPF_UPROBE_MULTI    48 /* BPF_TRACE_UPROBE_MULTI; the C library's headers are older */
#define BPF_UPROBE_SESSION  57 /* BPF_TRACE_UPROBE_SESSION, KERNEL >= 6.13 */
#define UPROBE_MULTI_RETURN 1  /* BPF_F_UPROBE_MULTI_RETURN */

/* Objects that are loaded by themselves. */
enum group {
	GROUP_CALLS, /* C functions, in at the start */
	GROUP_GO,
	GROUP_AEAD,
	N_GROUPS,
};

/* Where a probe is put into a function. */
enum end {
	END_NONE,
	END_ENTRY,
	END_RETURN,
	END_BOTH = END_ENTRY | END_RETURN,
};

/* How probes are attached, best last. */
enum mechanism {
	UPROBES, /* a perf event each */
	MULTI_LINK, /* KERNEL >= 6.6: one link for all entries of a group in a file, one for all returns */
	SESSION_LINK, /* KERNEL >= 6.13: one link for both; not of Go, whose returns are places */
};

/* With these links a group has one program for both ends, or one for each. */
static const struct {
	const char *session, *enter, *leave;
} link_programs[N_GROUPS] = {
	[GROUP_CALLS] = {"tls_session", "tls_enter", "tls_leave"},
	[GROUP_GO] = {NULL, "tls_go_enter", "tls_go_leave"},
	[GROUP_AEAD] = {"tls_aead_session", "tls_aead_enter", "tls_aead_leave"},
};

/* Without, one for each kind and shape. */
static const struct shape_row {
	enum as_tls_kind kind;
	enum as_tls_shape shape;
	enum group group;
	enum end ends;
	const char *enter, *leave;
} shapes[] = {
	{AS_TLS_KIND_READ, AS_TLS_SHAPE_RET_INT, GROUP_CALLS, END_BOTH, "tls_read_int",
	 "tls_return"},
	{AS_TLS_KIND_READ, AS_TLS_SHAPE_COUNT_ARG4, GROUP_CALLS, END_BOTH, "tls_read_arg4",
	 "tls_return"},
	{AS_TLS_KIND_READ, AS_TLS_SHAPE_RET_SSIZE, GROUP_CALLS, END_BOTH, "tls_read_ssize",
	 "tls_return"},
	{AS_TLS_KIND_READ, AS_TLS_SHAPE_RET_INT_FLAGS, GROUP_CALLS, END_BOTH, "tls_read_flags",
	 "tls_return"},
	{AS_TLS_KIND_WRITE, AS_TLS_SHAPE_RET_INT, GROUP_CALLS, END_BOTH, "tls_write_int",
	 "tls_return"},
	{AS_TLS_KIND_WRITE, AS_TLS_SHAPE_RET_INT_FLAGS, GROUP_CALLS, END_BOTH, "tls_write_flags",
	 "tls_return"},
	{AS_TLS_KIND_WRITE, AS_TLS_SHAPE_COUNT_ARG4, GROUP_CALLS, END_BOTH, "tls_write_arg4",
	 "tls_return"},
	{AS_TLS_KIND_WRITE, AS_TLS_SHAPE_COUNT_ARG5, GROUP_CALLS, END_BOTH, "tls_write_arg5",
	 "tls_return"},
	{AS_TLS_KIND_WRITE, AS_TLS_SHAPE_RET_SSIZE, GROUP_CALLS, END_BOTH, "tls_write_ssize",
	 "tls_return"},
	{AS_TLS_KIND_HANDSHAKE, AS_TLS_SHAPE_RET_INT, GROUP_CALLS, END_BOTH, "tls_handshake",
	 "tls_return"},
	{AS_TLS_KIND_HANDSHAKE, AS_TLS_SHAPE_RET_SSIZE, GROUP_CALLS, END_BOTH,
	 "tls_handshake_ssize", "tls_return"},
	{AS_TLS_KIND_SENDFILE, AS_TLS_SHAPE_RET_SSIZE, GROUP_CALLS, END_BOTH, "tls_sendfile",
	 "tls_return"},
	{AS_TLS_KIND_ALPN, AS_TLS_SHAPE_RET_INT, GROUP_CALLS, END_BOTH, "tls_alpn_int",
	 "tls_alpn_return"},
	{AS_TLS_KIND_ALPN, AS_TLS_SHAPE_RET_SSIZE, GROUP_CALLS, END_BOTH, "tls_alpn_ssize",
	 "tls_alpn_return"},
	{AS_TLS_KIND_SNI, AS_TLS_SHAPE_CTRL, GROUP_CALLS, END_ENTRY, "tls_name_ctrl", NULL},
	{AS_TLS_KIND_SNI, AS_TLS_SHAPE_RET_SSIZE, GROUP_CALLS, END_ENTRY, "tls_name_ssize", NULL},
	{AS_TLS_KIND_FREE, AS_TLS_SHAPE_RET_INT, GROUP_CALLS, END_ENTRY, "tls_free", NULL},

	/* the return is a place of its own, where an entry program runs */
	{AS_TLS_KIND_READ, AS_TLS_SHAPE_GO_ENTRY, GROUP_GO, END_ENTRY, "tls_go_read", NULL},
	{AS_TLS_KIND_WRITE, AS_TLS_SHAPE_GO_ENTRY, GROUP_GO, END_ENTRY, "tls_go_write", NULL},
	{AS_TLS_KIND_READ, AS_TLS_SHAPE_GO_RETURN, GROUP_GO, END_RETURN, NULL, "tls_go_return"},
	{AS_TLS_KIND_WRITE, AS_TLS_SHAPE_GO_RETURN, GROUP_GO, END_RETURN, NULL, "tls_go_return"},

	{AS_TLS_KIND_WRITE, AS_TLS_SHAPE_AEAD, GROUP_AEAD, END_ENTRY, "tls_seal_whole", NULL},
	{AS_TLS_KIND_WRITE, AS_TLS_SHAPE_AEAD_SCATTER, GROUP_AEAD, END_ENTRY, "tls_seal_scatter",
	 NULL},
	{AS_TLS_KIND_WRITE, AS_TLS_SHAPE_RING, GROUP_AEAD, END_ENTRY, "tls_seal_ring", NULL},
	{AS_TLS_KIND_READ, AS_TLS_SHAPE_AEAD, GROUP_AEAD, END_BOTH, "tls_open_whole",
	 "tls_open_return"},
	{AS_TLS_KIND_READ, AS_TLS_SHAPE_AEAD_GATHER, GROUP_AEAD, END_BOTH, "tls_open_gather",
	 "tls_open_return"},
	{AS_TLS_KIND_READ, AS_TLS_SHAPE_RING, GROUP_AEAD, END_BOTH, "tls_open_ring",
	 "tls_open_return"},
};

#define PROGRAMS_MAX 40

struct program {
	char name[32];
	int fd;
};

struct tls_programs {
	struct bpf_shared *shared;
	enum mechanism mechanism;
	bool cookies; /* else a hit does not tell the file */
	int failed[N_GROUPS];
	bool loaded[N_GROUPS];
	struct program programs[PROGRAMS_MAX]; /* of the groups that are loaded */
	size_t n_programs;
	int threads_fd, sessions_fd;
	/* while the group is being loaded */
	struct tls_bpf *calls;
	struct tls_go_bpf *go;
	struct tls_aead_bpf *aead;
};

static const struct shape_row *shape_find(const struct tls_probe *probe)
{
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		if (shapes[i].kind == probe->kind && shapes[i].shape == probe->shape)
			return &shapes[i];
	}
	return NULL;
}

static struct bpf_object *group_object(const struct tls_programs *p, enum group group)
{
	switch (group) {
	case GROUP_CALLS:
		return p->calls ? p->calls->obj : NULL;
	case GROUP_GO:
		return p->go ? p->go->obj : NULL;
	case GROUP_AEAD:
		return p->aead ? p->aead->obj : NULL;
	case N_GROUPS:
		break;
	}
	return NULL;
}

/* ---- loading ---- */

/* BPF_LINK_CREATE for uprobe multi, as linux/bpf.h has it since 6.6. */
struct multi_attr {
	uint32_t prog_fd;
	uint32_t target_fd;
	uint32_t attach_type;
	uint32_t flags;
	uint64_t path;
	uint64_t offsets;
	uint64_t ref_ctr_offsets;
	uint64_t cookies;
	uint32_t n;
	uint32_t multi_flags;
	uint32_t pid;
	uint32_t pad;
};

static int multi_create(int prog_fd, uint32_t type, const char *path, const uint64_t *offsets,
			const uint64_t *cookies, size_t n, uint32_t flags)
{
	struct multi_attr attr = {
		.prog_fd = (uint32_t)prog_fd,
		.attach_type = type,
		.path = (uintptr_t)path,
		.offsets = (uintptr_t)offsets,
		.cookies = (uintptr_t)cookies,
		.n = (uint32_t)n,
		.multi_flags = flags,
	};
	long fd = syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));

	return fd < 0 ? -errno : (int)fd;
}

/* A kernel with links of @type looks at the path and finds that it is no file; others know no such type. */
static bool link_offered(uint32_t type)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = (enum bpf_attach_type)type);
	_cleanup_(closep) int prog = bpf_prog_load(BPF_PROG_TYPE_KPROBE, "as_probe", "GPL", insns,
						   ARRAY_SIZE(insns), &opts);
	_cleanup_(closep) int link = -1;
	uint64_t offset = 0;

	if (prog < 0)
		return false;
	link = multi_create(prog, type, "/", &offset, NULL, 1, 0);
	return link == -EBADF;
}

static enum mechanism mechanism_offered(void)
{
	if (link_offered(BPF_UPROBE_SESSION))
		return SESSION_LINK;
	return link_offered(BPF_UPROBE_MULTI) ? MULTI_LINK : UPROBES;
}

static bool by_session(const struct tls_programs *p, enum group group)
{
	return p->mechanism == SESSION_LINK && link_programs[group].session;
}

/* Of which kind of link the program is; 0 for those of uprobes, which need none. */
static uint32_t program_link(enum group group, const char *name)
{
	if (link_programs[group].session && !strcmp(name, link_programs[group].session))
		return BPF_UPROBE_SESSION;
	if (!strcmp(name, link_programs[group].enter) || !strcmp(name, link_programs[group].leave))
		return BPF_UPROBE_MULTI;
	return 0;
}

static uint32_t group_link(const struct tls_programs *p, enum group group)
{
	if (p->mechanism == UPROBES)
		return 0;
	return by_session(p, group) ? BPF_UPROBE_SESSION : BPF_UPROBE_MULTI;
}

/* Of the sets of programs only the one that will be attached is loaded. */
static int programs_choose(const struct tls_programs *p, enum group group)
{
	struct bpf_object *obj = group_object(p, group);
	struct bpf_program *prog;

	bpf_object__for_each_program(prog, obj)
	{
		uint32_t link = program_link(group, bpf_program__name(prog));
		int r = bpf_program__set_autoload(prog, link == group_link(p, group));

		if (r == 0 && link)
			r = bpf_program__set_expected_attach_type(prog, (enum bpf_attach_type)link);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The maps of the first object are everybody's. */
static int maps_share(const struct tls_programs *p, struct bpf_object *obj, struct err *e)
{
	const struct {
		const char *name;
		int fd;
	} maps[] = {
		{"tls_threads", p->threads_fd},
		{"tls_sessions", p->sessions_fd},
	};

	for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(obj, maps[i].name);
		int r = map ? bpf_map__reuse_fd(map, maps[i].fd) : -ENOENT;

		if (r < 0)
			return err_set(e, r, "cannot share the BPF map '%s': %s", maps[i].name,
				       strerror(-r));
	}
	return 0;
}

static int group_open(struct tls_programs *p, enum group group)
{
	const struct bpf_object_open_opts *opts = bpf_shared_open_opts(p->shared);

	switch (group) {
	case GROUP_CALLS:
		p->calls = tls_bpf__open_opts(opts);
		break;
	case GROUP_GO:
		p->go = tls_go_bpf__open_opts(opts);
		break;
	case GROUP_AEAD:
		p->aead = tls_aead_bpf__open_opts(opts);
		break;
	case N_GROUPS:
		break;
	}
	return group_object(p, group) ? 0 : -errno;
}

static int salt_set(struct tls_programs *p, enum group group)
{
	const volatile void *salts[N_GROUPS] = {
		[GROUP_CALLS] = p->calls ? p->calls->rodata->stream_salt : NULL,
		[GROUP_GO] = p->go ? p->go->rodata->stream_salt : NULL,
		[GROUP_AEAD] = p->aead ? p->aead->rodata->stream_salt : NULL,
	};

	return getrandom((void *)salts[group], sizeof(p->calls->rodata->stream_salt),
			 GRND_NONBLOCK) < 0
		       ? -errno
		       : 0;
}

static int group_load_object(struct tls_programs *p, enum group group)
{
	switch (group) {
	case GROUP_CALLS:
		return tls_bpf__load(p->calls);
	case GROUP_GO:
		return tls_go_bpf__load(p->go);
	case GROUP_AEAD:
		return tls_aead_bpf__load(p->aead);
	case N_GROUPS:
		break;
	}
	return -EINVAL;
}

static void group_close(struct tls_programs *p, enum group group)
{
	switch (group) {
	case GROUP_CALLS:
		tls_bpf__destroy(TAKE_PTR(p->calls));
		break;
	case GROUP_GO:
		tls_go_bpf__destroy(TAKE_PTR(p->go));
		break;
	case GROUP_AEAD:
		tls_aead_bpf__destroy(TAKE_PTR(p->aead));
		break;
	case N_GROUPS:
		break;
	}
}

static int group_prepare(struct tls_programs *p, enum group group, struct err *e)
{
	int r = group_open(p, group);

	if (r < 0)
		return err_set(e, r, "cannot open the TLS programs: %s", strerror(-r));
	r = salt_set(p, group);
	if (r < 0)
		return err_set(e, r, "no random numbers for stream ids: %s", strerror(-r));
	r = programs_choose(p, group);
	if (r < 0)
		return err_set(e, r, "cannot prepare the TLS programs: %s", strerror(-r));
	r = bpf_family_prepare(p->shared, group_object(p, group), e);
	if (r == 0 && group != GROUP_CALLS)
		r = maps_share(p, group_object(p, group), e);
	if (r < 0)
		return r;
	r = group_load_object(p, group);
	if (r < 0)
		return err_set(e, r, "the kernel refused the TLS programs: %s", strerror(-r));
	return 0;
}

static int program_keep(struct tls_programs *p, const struct bpf_program *prog)
{
	struct program *keep = &p->programs[p->n_programs];
	int r;

	if (p->n_programs == PROGRAMS_MAX)
		return -ENOSPC;
	snprintf(keep->name, sizeof(keep->name), "%s", bpf_program__name(prog));
	r = bpf_keep_fd(bpf_program__fd(prog), &keep->fd);
	if (r < 0)
		return r;
	p->n_programs++;
	return bpf_hook_watch(p->shared, keep->fd);
}

static int maps_keep(struct tls_programs *p)
{
	const struct bpf_kept_map maps[] = {
		{p->calls->maps.tls_threads, &p->threads_fd},
		{p->calls->maps.tls_sessions, &p->sessions_fd},
	};

	return bpf_keep_maps(maps, ARRAY_SIZE(maps));
}

/* What is needed of a group's object once it is loaded. */
static int group_keep(struct tls_programs *p, enum group group)
{
	struct bpf_program *prog;
	int r = group == GROUP_CALLS ? maps_keep(p) : 0;

	bpf_object__for_each_program(prog, group_object(p, group))
	{
		if (r == 0 && bpf_program__autoload(prog))
			r = program_keep(p, prog);
	}
	return r;
}

/* Loads a group unless it is loaded. What failed once is not tried again for each file. */
static int group_need(struct tls_programs *p, enum group group, struct err *e)
{
	int r;

	if (p->failed[group])
		return err_set(e, p->failed[group], "the kernel refused the programs for it");
	if (p->loaded[group])
		return 0;
	r = group_prepare(p, group, e);
	if (r == 0) {
		r = group_keep(p, group);
		if (r < 0)
			err_set(e, r, "cannot keep the TLS programs: %s", strerror(-r));
	}
	group_close(p, group);
	p->loaded[group] = r == 0;
	p->failed[group] = r;
	return r;
}

static int serve_attach(void *ctx, const struct peer_request *rq, struct peer_answer *ret);

int tls_programs_open(struct bpf_shared *s, struct tls_programs **ret, struct err *e)
{
	_cleanup_(tls_programs_freep) struct tls_programs *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->shared = s;
	p->threads_fd = p->sessions_fd = -1;
	p->mechanism = mechanism_offered();
	p->cookies = libbpf_probe_bpf_helper(BPF_PROG_TYPE_KPROBE, BPF_FUNC_get_attach_cookie,
					     NULL) == 1;
	r = group_need(p, GROUP_CALLS, e);
	if (r < 0)
		return r;
	priv_offer(PRIV_TLS_ATTACH, serve_attach, p);
	*ret = TAKE_PTR(p);
	return 0;
}

void tls_programs_free(struct tls_programs *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n_programs; i++)
		close(p->programs[i].fd);
	closep(&p->threads_fd);
	closep(&p->sessions_fd);
	free(p);
}

const char *tls_programs_mechanism(const struct tls_programs *p)
{
	static const char *const names[] = {
		[UPROBES] = "uprobes",
		[MULTI_LINK] = "uprobe multi link",
		[SESSION_LINK] = "uprobe session link",
	};

	return names[p->mechanism];
}

int tls_programs_threads(const struct tls_programs *p)
{
	return p->threads_fd;
}

int tls_programs_sessions(const struct tls_programs *p)
{
	return p->sessions_fd;
}

/* ---- attaching ---- */

/* Takes @fd, also when it fails. */
static int links_add(struct tls_links *links, int fd)
{
	int *fds = links->fds;

	if (links->n == links->cap) {
		size_t cap = links->cap ? 2 * links->cap : 8;

		fds = reallocarray(fds, cap, sizeof(fds[0]));
		if (!fds) {
			close(fd);
			return -ENOMEM;
		}
		links->fds = fds;
		links->cap = cap;
	}
	fds[links->n++] = fd;
	return 0;
}

static uint64_t probe_spec(const struct tls_probe *probe, size_t number)
{
	return AS_TLS_SPEC(probe->kind, probe->shape, probe->function) |
	       AS_TLS_SPEC_AT(probe->alpn_at) | number;
}

/* The descriptor of a loaded program; -1: there is none. */
static int program_find(const struct tls_programs *p, const char *name)
{
	for (size_t i = 0; name && i < p->n_programs; i++) {
		if (!strcmp(p->programs[i].name, name))
			return p->programs[i].fd;
	}
	return -1;
}

/* Which program of a group serves @end; NULL when there is nothing to attach there. */
static const char *link_program(const struct tls_programs *p, enum group group, enum end end)
{
	if (by_session(p, group))
		return end == END_ENTRY ? link_programs[group].session : NULL;
	return end == END_ENTRY ? link_programs[group].enter : link_programs[group].leave;
}

/* One link for all entries of a group, which serves returns, too, if it is a session's, or for all returns. */
static int attach_link(struct tls_programs *p, enum group group, enum end end,
		       const struct tls_probes *probes, size_t number, const char *path,
		       struct tls_links *links)
{
	const char *name = link_program(p, group, end);
	uint64_t offsets[TLS_PROBES_MAX], specs[TLS_PROBES_MAX];
	/* Go's returns are places: an entry program runs there */
	bool at_return = end == END_RETURN && group != GROUP_GO;
	size_t n = 0;
	int fd;

	for (size_t i = 0; i < probes->n; i++) {
		const struct shape_row *row = shape_find(&probes->list[i]);

		if (!row || row->group != group || !(row->ends & end))
			continue;
		offsets[n] = probes->list[i].offset;
		specs[n++] = probe_spec(&probes->list[i], number);
	}
	if (!n || !name)
		return 0;
	fd = multi_create(program_find(p, name), group_link(p, group), path, offsets, specs, n,
			  at_return ? UPROBE_MULTI_RETURN : 0);
	return fd < 0 ? fd : links_add(links, fd);
}

/* The number of a kind of event, or of the bit that says "at the return", which the kernel chooses as it boots. */
static int uprobe_number(const char *file, const char *before)
{
	char path[96], text[32] = "";
	_cleanup_(closep) int fd = -1;
	size_t skip = strlen(before);

	snprintf(path, sizeof(path), "/sys/bus/event_source/devices/uprobe/%s", file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0 || strncmp(text, before, skip) != 0)
		return -EOPNOTSUPP;
	return (int)strtol(text + skip, NULL, 10);
}

static int uprobe_event(const char *path, uint64_t offset, bool at_return)
{
	int type = uprobe_number("type", "");
	int bit = at_return ? uprobe_number("format/retprobe", "config:") : 0;
	struct perf_event_attr attr = {
		.type = (uint32_t)type,
		.size = sizeof(attr),
		.config = at_return ? 1ULL << bit : 0,
		.uprobe_path = (uintptr_t)path,
		.probe_offset = offset,
	};

	if (type < 0 || bit < 0)
		return -EOPNOTSUPP;
	/* any process, seen from any processor: the probe is in the file */
	return tracepoint_event(&attr);
}

/* KERNEL < 5.15: no link, the program hangs on the event itself. */
static int uprobe_program(int event, int prog, uint64_t cookie, struct tls_links *links)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .perf_event.bpf_cookie = cookie);
	int link = bpf_link_create(prog, event, BPF_PERF_EVENT, &opts);
	int r = link >= 0 ? links_add(links, link) : 0;

	if (link < 0 && ioctl(event, PERF_EVENT_IOC_SET_BPF, prog) < 0)
		return -errno;
	return r == 0 && ioctl(event, PERF_EVENT_IOC_ENABLE, 0) < 0 ? -errno : r;
}

/* KERNEL < 6.6: a perf event for each end of each function; closing one takes about 0.1 s. */
static int attach_single(struct tls_programs *p, const struct tls_probe *probe, enum end end,
			 size_t number, const char *path, struct tls_links *links)
{
	const struct shape_row *row = shape_find(probe);
	int prog = program_find(p, end == END_ENTRY ? row->enter : row->leave);
	int event, r;

	if (prog < 0)
		return -EOPNOTSUPP;
	event = uprobe_event(path, probe->offset, end == END_RETURN && row->group != GROUP_GO);
	if (event < 0)
		return event;
	r = uprobe_program(event, prog, p->cookies ? probe_spec(probe, number) : 0, links);
	if (r < 0) {
		close(event);
		return r;
	}
	return links_add(links, event);
}

static int attach_ends(struct tls_programs *p, enum end end, const struct tls_probes *probes,
		       size_t number, const char *path, struct tls_links *links)
{
	bool single = p->mechanism == UPROBES;
	int r = 0;

	for (enum group g = 0; !single && r == 0 && g < N_GROUPS; g++)
		r = attach_link(p, g, end, probes, number, path, links);
	for (size_t i = 0; single && r == 0 && i < probes->n; i++) {
		const struct shape_row *row = shape_find(&probes->list[i]);

		if (row && (row->ends & end))
			r = attach_single(p, &probes->list[i], end, number, path, links);
	}
	return r;
}

static int attach_here(struct tls_programs *p, const struct tls_probes *probes, size_t number,
		       int fd, struct tls_links *links, struct err *e)
{
	char path[32];
	int r = 0;

	for (size_t i = 0; r == 0 && i < probes->n; i++) {
		const struct shape_row *row = shape_find(&probes->list[i]);

		if (row)
			r = group_need(p, row->group, e);
	}
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	r = attach_ends(p, END_ENTRY, probes, number, path, links);
	if (r == 0)
		r = attach_ends(p, END_RETURN, probes, number, path, links);
	return r < 0 ? err_set(e, r, "cannot attach: %s", strerror(-r)) : 0;
}

/* ---- attaching by the broker ---- */

#define ASKED_MAX 50 /* probes at once: with perf events each may take four descriptors */

struct attach_request {
	uint64_t number;
	struct tls_probes probes;
};

/* The links come first; behind them programs that had to be loaded, so that what they miss is counted. */
struct attach_answer {
	uint32_t n_links;
	char text[256];
};

/* Of known shapes, in code of a program or library. */
static int request_check(const struct peer_request *rq)
{
	const struct attach_request *want = rq->data;
	_cleanup_(image_freep) struct image *im = NULL;
	int r;

	if (rq->len != sizeof(*want) || rq->n_fds != 1 || want->probes.n > TLS_PROBES_MAX ||
	    AS_TLS_SPEC_LIBRARY(want->number) != want->number)
		return -EINVAL;
	r = image_open(rq->fds[0], NULL, &im);
	if (r < 0)
		return r;
	for (size_t i = 0; i < want->probes.n; i++) {
		if (!shape_find(&want->probes.list[i]) ||
		    !image_offset_in_text(im, want->probes.list[i].offset, NULL))
			return -EINVAL;
	}
	return 0;
}

/* A descriptor that is none would keep the whole answer from being sent. */
static void program_tell(const struct program *prog, struct peer_answer *ret)
{
	if (ret->n_fds < PEER_FDS_MAX && bpf_keep_fd(prog->fd, &ret->fds[ret->n_fds]) == 0)
		ret->n_fds++;
	else
		log_warning("events that the kernel skips in '%s' are not counted", prog->name);
}

static int serve_attach(void *ctx, const struct peer_request *rq, struct peer_answer *ret)
{
	const struct attach_request *want = rq->data;
	struct attach_answer *answer = (void *)ret->data;
	struct tls_programs *p = ctx;
	struct tls_links links = {};
	struct err e = {};
	size_t known;
	int r;

	r = request_check(rq);
	if (r < 0)
		return r;
	known = p->n_programs;
	r = attach_here(p, &want->probes, want->number, rq->fds[0], &links, &e);
	if (r == 0 && links.n > PEER_FDS_MAX - 2 * N_GROUPS)
		r = err_set(&e, -E2BIG, "too many probes at once");
	if (r < 0)
		tls_links_detach(&links);
	*answer = (struct attach_answer){.n_links = (uint32_t)links.n};
	memcpy(answer->text, e.text, MIN(sizeof(answer->text), sizeof(e.text)) - 1);
	ret->len = sizeof(*answer);
	memcpy(ret->fds, links.fds, links.n * sizeof(int));
	ret->n_fds = links.n;
	free(links.fds);
	for (size_t i = known; i < p->n_programs; i++)
		program_tell(&p->programs[i], ret);
	return r;
}

static int attach_there(struct tls_programs *p, const struct attach_request *want, int fd,
			struct tls_links *links, struct err *e)
{
	struct attach_answer text = {};
	struct peer_answer answer = {.data = (void *)&text, .cap = sizeof(text)};
	int r = priv_call(&(struct peer_request){.service = PRIV_TLS_ATTACH,
						 .data = want,
						 .len = sizeof(*want),
						 .fds = &fd,
						 .n_fds = 1},
			  &answer);
	size_t n = MIN((size_t)text.n_links, answer.n_fds);
	int added = 0;

	for (size_t i = 0; i < n; i++) {
		int fail = links_add(links, answer.fds[i]);

		added = fail < 0 ? fail : added;
	}
	for (size_t i = n; i < answer.n_fds; i++) {
		bpf_hook_watch(p->shared, answer.fds[i]);
		close(answer.fds[i]);
	}
	if (r < 0)
		return err_set(e, r, "%.250s", *text.text ? text.text : strerror(-r));
	return added;
}

/* As many as can be asked for at once. With multi links these are all, which then share them. */
static int attach_by_broker(struct tls_programs *p, const struct tls_probes *probes, size_t number,
			    int fd, struct tls_links *links, struct err *e)
{
	size_t step = p->mechanism == UPROBES ? ASKED_MAX : TLS_PROBES_MAX;
	int r = 0;

	for (size_t at = 0; r == 0 && at < probes->n; at += step) {
		struct attach_request want = {.number = number};

		want.probes.n = MIN(step, probes->n - at);
		memcpy(want.probes.list, probes->list + at,
		       want.probes.n * sizeof(want.probes.list[0]));
		r = attach_there(p, &want, fd, links, e);
	}
	return r;
}

int tls_programs_attach(struct tls_programs *p, const struct tls_probes *probes, size_t number,
			int fd, struct tls_links *links, struct err *e)
{
	if (priv_is_split())
		return attach_by_broker(p, probes, number, fd, links, e);
	return attach_here(p, probes, number, fd, links, e);
}

/* ---- detaching ---- */

void tls_links_detach(struct tls_links *links)
{
	for (size_t i = 0; i < links->n; i++)
		close(links->fds[i]);
	free(links->fds);
	*links = (struct tls_links){};
}

/* What all files hold open in the kernel; threads take one after the other. */
struct detach {
	int *fds;
	size_t n, next;
};

static bool detach_collect(struct tls_links *const *files, size_t n, struct detach *d)
{
	size_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += files[i]->n;
	d->fds = calloc(sum + 1, sizeof(d->fds[0]));
	if (!d->fds)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (files[i]->n)
			memcpy(d->fds + d->n, files[i]->fds, files[i]->n * sizeof(d->fds[0]));
		d->n += files[i]->n;
		free(files[i]->fds);
		*files[i] = (struct tls_links){};
	}
	return true;
}

static void *detach_run(void *arg)
{
	struct detach *d = arg;
	size_t i;

	while ((i = __atomic_fetch_add(&d->next, 1, __ATOMIC_RELAXED)) < d->n)
		close(d->fds[i]);
	return NULL;
}

/*
 * Each close waits for the kernel's grace period. All at once wait for the same one; a later one would
 * also hold up the tracepoints, which are closed one after the other meanwhile.
 */
void tls_links_detach_all(struct tls_links *const *files, size_t n)
{
	pthread_t threads[DETACH_THREADS];
	struct detach d = {};
	size_t started = 0;

	if (!detach_collect(files, n, &d)) {
		for (size_t i = 0; i < n; i++)
			tls_links_detach(files[i]);
		return;
	}
	while (started < MIN(d.n, (size_t)DETACH_THREADS) &&
	       !pthread_create(&threads[started], NULL, detach_run, &d))
		started++;
	detach_run(&d); /* all, if there are no threads */
	for (size_t i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	free(d.fds);
}
