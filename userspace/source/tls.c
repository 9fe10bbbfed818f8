/* SPDX-License-Identifier: MIT */
/*
 * Three ways lead to a file: the standard library directories, what running processes have mapped,
 * and mappings made later. All end in file_inspect(), which knows files by inode and content, never
 * by path: so containers, deleted and replaced files need nothing of their own.
 */
#include "source/tls.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <agentsight/tls.h>

#include "base/clock.h"
#include "base/log.h"
#include "source/mmaps.h"
#include "source/tls_sites.h"
#include "tls.skel.h"

#define FILES_MAX           256
#define CACHE_SIZE          4096               /* entries of each cache below, a power of two */
#define SEEN_NS             (5 * NSEC_PER_SEC) /* then a file is looked at again: it may have changed */
#define SLICE_NS            (3 * NSEC_PER_MSEC) /* how long one poll may look at processes */
#define REPORTS_MAX         4                   /* capabilities per file */
#define QUEUE_MAX           256
#define DETACH_THREADS      64
#define LINKS_MAX           (2 * TLS_SITES_MAX)
#define BPF_UPROBE_MULTI    48 /* BPF_TRACE_UPROBE_MULTI; the C library's headers are older */
#define UPROBE_MULTI_RETURN 1  /* BPF_F_UPROBE_MULTI_RETURN */

/* A file as stat() sees it: the same key is the same content. */
struct file_key {
	uint64_t dev;
	uint64_t ino;
	uint64_t mtime_ns;
	uint64_t size;
};

/* A probed file. Its number in events is its place in the table plus 1. */
struct tls_file {
	struct file_key key;
	int fd;          /* stays open: names the inode for attaching, and shows changes */
	char *path;      /* as first seen; what capabilities and events say */
	int link_fds[2]; /* uprobe multi: entries, returns; -1: none */
	struct bpf_link *links[LINKS_MAX]; /* older kernels: one per probe */
	size_t n_links;
	unsigned int reports;
	bool waiting; /* for its writer to close it */
};

/* The caches are mapped directly: an entry that is displaced costs one more look, nothing else. */
struct seen {
	uint64_t dev, ino, generation, until_ns;
};

/* KERNEL < 5.15: which probed file a process uses. */
struct user {
	uint32_t tgid;
	uint32_t number;
};

struct tls_source {
	struct bpf_shared *shared;
	struct tls_bpf *skel;
	bool multi;   /* uprobe multi links */
	bool cookies; /* else a hit does not tell the file */
	struct mmaps *mmaps;
	DIR *scan; /* going through /proc; NULL when done */
	bool finished;
	bool full;
	uint32_t queue[QUEUE_MAX]; /* processes to be looked at */
	size_t n_queue;
	struct tls_file files[FILES_MAX];
	size_t n_files;
	struct seen seen[CACHE_SIZE];
	struct file_key inspected[CACHE_SIZE];
	struct user users[CACHE_SIZE];
};

/* ---- caches ---- */

static size_t cache_slot(uint64_t a, uint64_t b)
{
	uint64_t x = (a ^ b * 0x9e3779b97f4a7c15ULL) * 0xbf58476d1ce4e5b9ULL;

	return (x >> 32) & (CACHE_SIZE - 1);
}

/* Was this inode looked at a short while ago? If not, it is from now on. */
static bool seen_lately(struct tls_source *t, uint64_t dev, uint64_t ino, uint64_t generation)
{
	struct seen *s = &t->seen[cache_slot(dev, ino)];
	uint64_t now = clock_boot_ns();

	if (s->dev == dev && s->ino == ino && s->generation == generation && now < s->until_ns)
		return true;
	*s = (struct seen){dev, ino, generation, now + SEEN_NS};
	return false;
}

static struct file_key key_of(const struct stat *st)
{
	return (struct file_key){
		.dev = st->st_dev,
		.ino = st->st_ino,
		.mtime_ns =
			(uint64_t)st->st_mtim.tv_sec * NSEC_PER_SEC + (uint64_t)st->st_mtim.tv_nsec,
		.size = (uint64_t)st->st_size,
	};
}

static bool key_equal(const struct file_key *a, const struct file_key *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static bool inspected_before(struct tls_source *t, const struct file_key *key)
{
	struct file_key *k = &t->inspected[cache_slot(key->dev, key->ino)];

	if (key_equal(k, key))
		return true;
	*k = *key;
	return false;
}

static void user_note(struct tls_source *t, uint32_t tgid, const struct tls_file *f)
{
	if (tgid)
		t->users[tgid & (CACHE_SIZE - 1)] =
			(struct user){tgid, (uint32_t)(f - t->files) + 1};
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* ---- attaching ---- */

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

static int multi_create(int prog_fd, const char *path, const uint64_t *offsets,
			const uint64_t *cookies, size_t n, uint32_t flags)
{
	struct multi_attr attr = {
		.prog_fd = (uint32_t)prog_fd,
		.attach_type = BPF_UPROBE_MULTI,
		.path = (uintptr_t)path,
		.offsets = (uintptr_t)offsets,
		.cookies = (uintptr_t)cookies,
		.n = (uint32_t)n,
		.multi_flags = flags,
	};
	long fd = syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));

	return fd < 0 ? -errno : (int)fd;
}

/* A kernel with multi links looks at the path and finds that it is no file; others know no such type. */
static bool multi_offered(void)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts,
		    .expected_attach_type = (enum bpf_attach_type)BPF_UPROBE_MULTI);
	_cleanup_(closep) int prog = bpf_prog_load(BPF_PROG_TYPE_KPROBE, "as_probe", "GPL", insns,
						   ARRAY_SIZE(insns), &opts);
	_cleanup_(closep) int link = -1;
	uint64_t offset = 0;

	if (prog < 0)
		return false;
	link = multi_create(prog, "/", &offset, NULL, 1, 0);
	return link == -EBADF;
}

/* The numbers in tls_sites.h and in agentsight/tls.h are the same on purpose. */
_Static_assert(TLS_READ == (int)AS_TLS_KIND_READ && TLS_WRITE == (int)AS_TLS_KIND_WRITE &&
		       TLS_HANDSHAKE == (int)AS_TLS_KIND_HANDSHAKE &&
		       TLS_SNI == (int)AS_TLS_KIND_SNI,
	       "kinds of sites");
_Static_assert(TLS_SHAPE_RET_INT == (int)AS_TLS_SHAPE_RET_INT &&
		       TLS_SHAPE_COUNT_ARG4 == (int)AS_TLS_SHAPE_COUNT_ARG4 &&
		       TLS_SHAPE_COUNT_ARG5 == (int)AS_TLS_SHAPE_COUNT_ARG5 &&
		       TLS_SHAPE_CTRL == (int)AS_TLS_SHAPE_CTRL,
	       "shapes of sites");

static const struct {
	const char *name;
	enum as_tls_function function;
} function_names[] = {
	{"SSL_read", AS_TLS_FN_SSL_READ},          {"SSL_read_ex", AS_TLS_FN_SSL_READ_EX},
	{"SSL_write", AS_TLS_FN_SSL_WRITE},        {"SSL_write_ex", AS_TLS_FN_SSL_WRITE_EX},
	{"SSL_write_ex2", AS_TLS_FN_SSL_WRITE_EX}, {"SSL_do_handshake", AS_TLS_FN_SSL_DO_HANDSHAKE},
};

static uint64_t site_spec(const struct tls_site *site, size_t number)
{
	enum as_tls_function function = AS_TLS_FN_SSL_READ;

	for (size_t i = 0; i < ARRAY_SIZE(function_names); i++) {
		if (!strcmp(function_names[i].name, site->function))
			function = function_names[i].function;
	}
	return AS_TLS_SPEC(site->kind, site->shape, function) | number;
}

/* Two links: all entries, and the returns of all but the server name's function. */
static int attach_multi(struct tls_source *t, struct tls_file *f, const struct tls_sites *sites,
			const char *path)
{
	uint64_t offsets[TLS_SITES_MAX], specs[TLS_SITES_MAX], returns[TLS_SITES_MAX];
	size_t n_returns = 0, number = (size_t)(f - t->files) + 1;

	for (size_t i = 0; i < sites->n; i++) {
		offsets[i] = sites->sites[i].offset;
		specs[i] = site_spec(&sites->sites[i], number);
		if (sites->sites[i].kind != TLS_SNI)
			returns[n_returns++] = offsets[i];
	}

	/* entries first: a return without its entry would look like a lost call */
	f->link_fds[0] = multi_create(bpf_program__fd(t->skel->progs.tls_enter), path, offsets,
				      specs, sites->n, 0);
	if (f->link_fds[0] < 0)
		return f->link_fds[0];

	f->link_fds[1] = multi_create(bpf_program__fd(t->skel->progs.tls_leave), path, returns,
				      NULL, n_returns, UPROBE_MULTI_RETURN);
	return f->link_fds[1] < 0 ? f->link_fds[1] : 0;
}

static const struct bpf_program *entry_program(const struct tls_source *t,
					       const struct tls_site *site)
{
	const struct bpf_program *progs[][4] = {
		[TLS_READ] = {t->skel->progs.tls_read_int, t->skel->progs.tls_read_arg4},
		[TLS_WRITE] = {t->skel->progs.tls_write_int, t->skel->progs.tls_write_arg4,
			       t->skel->progs.tls_write_arg5},
		[TLS_HANDSHAKE] = {t->skel->progs.tls_handshake},
		[TLS_SNI] = {[TLS_SHAPE_CTRL] = t->skel->progs.tls_server_name},
	};

	return progs[site->kind][site->shape];
}

static int attach_one(struct tls_file *f, const struct bpf_program *prog, const char *path,
		      uint64_t offset, uint64_t cookie, bool at_return)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .retprobe = at_return, .bpf_cookie = cookie);
	struct bpf_link *link;

	if (!prog)
		return -EOPNOTSUPP;
	link = bpf_program__attach_uprobe_opts(prog, -1, path, offset, &opts);
	if (!link)
		return -errno;
	f->links[f->n_links++] = link;
	return 0;
}

/* KERNEL < 6.6: a perf event for each end of each function; closing one takes about 0.1 s. */
static int attach_single(struct tls_source *t, struct tls_file *f, const struct tls_sites *sites,
			 const char *path)
{
	size_t number = (size_t)(f - t->files) + 1;

	for (size_t i = 0; i < sites->n; i++) {
		const struct tls_site *site = &sites->sites[i];
		uint64_t cookie = t->cookies ? site_spec(site, number) : 0;
		int r = attach_one(f, entry_program(t, site), path, site->offset, cookie, false);

		if (r == 0 && site->kind != TLS_SNI)
			r = attach_one(f, t->skel->progs.tls_return, path, site->offset, 0, true);
		if (r < 0)
			return r;
	}
	return 0;
}

static void file_detach(struct tls_file *f)
{
	for (size_t i = 0; i < ARRAY_SIZE(f->link_fds); i++)
		closep(&(int){TAKE_FD(f->link_fds[i])});
	for (size_t i = 0; i < f->n_links; i++)
		bpf_link__destroy(f->links[i]);
	f->n_links = 0;
}

/* What all files hold open in the kernel; threads take one after the other. */
struct detach {
	struct handle {
		int fd;
		struct bpf_link *link;
	} * handles;
	size_t n, next;
};

static bool detach_collect(struct tls_source *t, struct detach *d)
{
	d->handles = calloc(t->n_files, sizeof(d->handles[0]) * (LINKS_MAX + 2));
	if (!d->handles)
		return false;
	for (size_t i = 0; i < t->n_files; i++) {
		struct tls_file *f = &t->files[i];

		for (size_t k = 0; k < ARRAY_SIZE(f->link_fds); k++) {
			if (f->link_fds[k] >= 0)
				d->handles[d->n++] = (struct handle){.fd = TAKE_FD(f->link_fds[k])};
		}
		for (size_t k = 0; k < f->n_links; k++)
			d->handles[d->n++] = (struct handle){-1, f->links[k]};
		f->n_links = 0;
	}
	return true;
}

static void *detach_run(void *arg)
{
	struct detach *d = arg;
	size_t i;

	while ((i = __atomic_fetch_add(&d->next, 1, __ATOMIC_RELAXED)) < d->n) {
		closep(&d->handles[i].fd);
		bpf_link__destroy(d->handles[i].link);
	}
	return NULL;
}

/*
 * Each close waits for the kernel's grace period. All at once wait for the same one; a later one would
 * also hold up the tracepoints, which are closed one after the other meanwhile.
 */
static void detach_all(struct tls_source *t)
{
	pthread_t threads[DETACH_THREADS];
	struct detach d = {};
	size_t started = 0;

	if (!t->n_files)
		return;
	if (!detach_collect(t, &d)) {
		for (size_t i = 0; i < t->n_files; i++)
			file_detach(&t->files[i]);
		return;
	}
	while (started < MIN(d.n, (size_t)DETACH_THREADS) &&
	       !pthread_create(&threads[started], NULL, detach_run, &d))
		started++;
	detach_run(&d); /* all, if there are no threads */
	for (size_t i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	free(d.handles);
}

/* ---- files ---- */

__attribute__((format(printf, 4, 5))) static void file_report(struct tls_source *t,
							      struct tls_file *f,
							      enum capability_state state,
							      const char *fmt, ...)
{
	char reason[160];
	va_list ap;

	if (f->reports++ >= REPORTS_MAX)
		return; /* its owner can touch it as often as he likes */
	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	bpf_capability(t->shared, "tls", f->path, t->multi ? "uprobe multi link" : "uprobes", state,
		       "%s", reason);
}

/*
 * A breakpoint in a page that is then overwritten in place kills who runs it. The kernel grants a read
 * lease only while nobody has the file open for writing. Where leases do not work, nothing is known
 * and the file is probed.
 */
static bool open_for_writing(int fd)
{
	if (fcntl(fd, F_SETLEASE, F_RDLCK) < 0)
		return errno == EAGAIN;
	fcntl(fd, F_SETLEASE, F_UNLCK);
	return false;
}

static struct tls_file *file_find(struct tls_source *t, uint64_t dev, uint64_t ino)
{
	for (size_t i = 0; i < t->n_files; i++) {
		if (t->files[i].key.dev == dev && t->files[i].key.ino == ino)
			return &t->files[i];
	}
	return NULL;
}

/* Numbers are never given twice: events on their way refer to them. */
static struct tls_file *file_add(struct tls_source *t, const struct file_key *key, int fd,
				 const char *path)
{
	struct tls_file *f = &t->files[t->n_files];

	if (t->n_files == FILES_MAX) {
		if (!t->full)
			bpf_capability(t->shared, "tls", "further files", "uprobes",
				       CAPABILITY_MISSING, "%d are probed already", FILES_MAX);
		t->full = true;
		return NULL;
	}
	*f = (struct tls_file){.key = *key, .fd = -1, .link_fds = {-1, -1}};
	f->path = strdup(path);
	f->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (!f->path || f->fd < 0) {
		free(f->path);
		closep(&f->fd);
		return NULL;
	}
	t->n_files++;
	return f;
}

/* "SSL_read SSL_write SSL_do_handshake: symbol" and the like, for the capability. */
static void sites_describe(const struct tls_sites *sites, char *out, size_t cap)
{
	size_t n = (size_t)snprintf(out, cap, "%s;", sites->version);

	for (size_t i = 0; i < sites->n && n < cap; i++)
		n += (size_t)snprintf(out + n, cap - n, " %s (%s)", sites->sites[i].function,
				      tls_place_name(sites->sites[i].place));
}

static void file_attach(struct tls_source *t, struct tls_file *f, const struct tls_sites *sites)
{
	char path[32], text[160];
	int r;

	f->waiting = open_for_writing(f->fd);
	if (f->waiting) {
		file_report(t, f, CAPABILITY_MISSING,
			    "not probed: it is open for writing, and its users would crash");
		return;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", f->fd);
	r = t->multi ? attach_multi(t, f, sites, path) : attach_single(t, f, sites, path);
	if (r < 0) {
		file_detach(f);
		file_report(t, f, CAPABILITY_MISSING, "cannot attach: %s", strerror(-r));
		return;
	}
	sites_describe(sites, text, sizeof(text));
	file_report(t, f, CAPABILITY_ATTACHED, "%s", text);
}

/* Its content may be another now, or may be probed now. The file keeps its number. */
static void file_refresh(struct tls_source *t, struct tls_file *f, const struct file_key *key)
{
	struct tls_sites sites;
	struct err e = {};

	file_detach(f);
	f->key = *key;
	f->waiting = false;
	if (tls_sites_find(f->fd, &sites, &e) < 0)
		file_report(t, f, CAPABILITY_MISSING, "changed in place: %.100s", e.text);
	else
		file_attach(t, f, &sites);
}

static bool says_ssl(const char *path)
{
	return strcasestr(base_name(path), "ssl") != NULL;
}

/* Programs, and libraries that say in their name what they are. */
static bool worth_a_look(const char *path)
{
	return says_ssl(path) || !strstr(base_name(path), ".so");
}

/*
 * Probes the file at @fd (a regular file) if it holds a TLS library and is not known yet. @path is for people,
 * @tgid is who uses it, 0 for nobody in particular.
 */
static void file_inspect(struct tls_source *t, int fd, const char *path, uint32_t tgid)
{
	struct tls_sites sites;
	struct tls_file *f;
	struct file_key key;
	struct stat st;
	struct err e = {};
	int r;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	key = key_of(&st);
	f = file_find(t, key.dev, key.ino);
	if (f) {
		user_note(t, tgid, f);
		if (!key_equal(&f->key, &key))
			file_refresh(t, f, &key);
		return;
	}
	if (inspected_before(t, &key))
		return;

	r = tls_sites_find(fd, &sites, &e);
	if (r < 0) {
		log_debug("tls: %s: %s", log_safe(path), e.text);
		return;
	}
	f = file_add(t, &key, fd, path);
	if (!f) {
		log_debug("tls: %s: %d files are probed already", log_safe(path), FILES_MAX);
		return;
	}
	user_note(t, tgid, f);
	file_attach(t, f, &sites);
}

/* First as a mere handle: opening a pipe or a device that has been put there may block or do harm. */
static int open_regular(const char *path, struct stat *ret)
{
	_cleanup_(closep) int handle = open(path, O_PATH | O_CLOEXEC);
	char link[32];
	int fd;

	if (handle < 0 || fstat(handle, ret) < 0)
		return -errno;
	if (!S_ISREG(ret->st_mode))
		return -EINVAL;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", handle);
	fd = open(link, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* Many paths in library directories are links for the linker: the name of the file itself is kept. */
static void path_inspect(struct tls_source *t, const char *path)
{
	struct stat st;
	_cleanup_(closep) int fd = open_regular(path, &st);
	_cleanup_(freep) char *real = fd < 0 ? NULL : realpath(path, NULL);

	if (real)
		file_inspect(t, fd, real, 0);
}

/* ---- processes ---- */

static bool wanted(const struct tls_source *t, uint32_t tgid)
{
	const struct as_config *cfg = bpf_shared_config(t->shared);
	struct as_proc proc;

	if (tgid == cfg->self_tgid)
		return false;
	return !cfg->by_process ||
	       bpf_map_lookup_elem(bpf_shared_procs(t->shared), &tgid, &proc) == 0;
}

/*
 * The file behind a mapping. The link in map_files names it whatever has become of its path, but only
 * while the mapping is as it was; the path through the process's root is the other way.
 */
static int mapping_open(const struct mapping *m)
{
	char path[4096 + 64];
	struct stat st = {};
	int fd;

	snprintf(path, sizeof(path), "/proc/%u/map_files/%" PRIx64 "-%" PRIx64, m->tgid, m->addr,
		 m->addr + m->len);
	fd = open_regular(path, &st);
	if (fd < 0) {
		snprintf(path, sizeof(path), "/proc/%u/root%s", m->tgid, m->path);
		fd = open_regular(path, &st);
	}
	/* devices differ between the two views of a file under overlayfs; inode numbers do not */
	if (fd >= 0 && st.st_ino != m->ino)
		closep(&(int){TAKE_FD(fd)});
	return fd;
}

static void mapping_inspect(struct tls_source *t, const struct mapping *m)
{
	_cleanup_(closep) int fd = -1;
	struct tls_file *f;

	if (m->path[0] != '/' || !worth_a_look(m->path))
		return;
	f = file_find(t, m->dev, m->ino);
	if (f)
		user_note(t, m->tgid, f);
	if (seen_lately(t, m->dev, m->ino, m->generation))
		return;
	fd = mapping_open(m);
	if (fd >= 0)
		file_inspect(t, fd, m->path, m->tgid);
}

static void mapping_arrived(void *arg, const struct mapping *m)
{
	struct tls_source *t = arg;

	if (wanted(t, m->tgid))
		mapping_inspect(t, m);
}

/* "7f3c10000000-7f3c10020000 r-xp 00001000 fe:01 1234   /lib/libssl.so.3" */
static bool maps_line_parse(char *line, struct mapping *m)
{
	unsigned int major, minor;
	uint64_t end;
	char exec;
	int at = 0;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*c%*c%c%*c %*x %x:%x %" SCNu64 " %n", &m->addr,
		   &end, &exec, &major, &minor, &m->ino, &at) != 6 ||
	    !at || exec != 'x' || !m->ino || end < m->addr)
		return false;
	line[strcspn(line, "\n")] = '\0';
	m->len = end - m->addr;
	m->dev = makedev(major, minor);
	m->generation = 0;
	m->path = line + at;
	return true;
}

static void process_inspect(struct tls_source *t, uint32_t tgid)
{
	_cleanup_(fclosep) FILE *maps = NULL;
	char line[4096 + 256];
	struct mapping m = {.tgid = tgid};

	snprintf(line, sizeof(line), "/proc/%u/maps", tgid);
	maps = fopen(line, "re");
	if (!maps)
		return; /* gone, or a kernel thread's */
	while (fgets(line, sizeof(line), maps)) {
		if (maps_line_parse(line, &m))
			mapping_inspect(t, &m);
	}
}

static void queue_add(struct tls_source *t, uint32_t tgid)
{
	if (t->n_queue < QUEUE_MAX)
		t->queue[t->n_queue++] = tgid;
	else if (!t->scan)
		t->scan = opendir("/proc"); /* too many: everyone */
}

/* One more process; false when there is none. */
static bool process_next(struct tls_source *t)
{
	struct dirent *d;

	if (t->n_queue) {
		process_inspect(t, t->queue[--t->n_queue]);
		return true;
	}
	if (!t->scan)
		return false;
	d = readdir(t->scan);
	if (!d) {
		closedir(TAKE_PTR(t->scan));
		return false;
	}
	if (isdigit((unsigned char)d->d_name[0])) {
		uint32_t tgid = (uint32_t)strtoul(d->d_name, NULL, 10);

		if (wanted(t, tgid))
			process_inspect(t, tgid);
	}
	return true;
}

bool tls_source_poll(struct tls_source *t)
{
	uint64_t end;

	if (t->finished)
		return false;
	if (t->mmaps && mmaps_poll(t->mmaps, mapping_arrived, t) && !t->scan)
		t->scan = opendir("/proc"); /* records were lost: look at everyone again */

	if (!t->n_queue && !t->scan)
		return false;
	end = clock_boot_ns() + SLICE_NS;
	while (clock_boot_ns() < end) {
		if (!process_next(t))
			return false;
	}
	return true;
}

void tls_source_exec(struct tls_source *t, uint32_t tgid)
{
	char link[64], path[4096];
	_cleanup_(closep) int fd = -1;
	struct stat st;
	ssize_t n;

	if (t->finished)
		return;
	snprintf(link, sizeof(link), "/proc/%u/exe", tgid);
	if (stat(link, &st) < 0 || seen_lately(t, st.st_dev, st.st_ino, 0))
		return;
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return;
	path[n] = '\0';
	fd = open_regular(link, &st);
	if (fd >= 0)
		file_inspect(t, fd, path, tgid);
}

void tls_source_process(struct tls_source *t, uint32_t tgid)
{
	queue_add(t, tgid);
}

void tls_source_tick(struct tls_source *t, uint64_t boot_ns)
{
	for (size_t i = 0; i < t->n_files && !t->finished; i++) {
		struct tls_file *f = &t->files[i];
		struct file_key key;
		struct stat st;

		if (fstat(f->fd, &st) < 0)
			continue;
		key = key_of(&st);
		if (!key_equal(&key, &f->key) || (f->waiting && !open_for_writing(f->fd)))
			file_refresh(t, f, &key);
	}
}

/* ---- opening and closing ---- */

static void inspect_directories(struct tls_source *t)
{
	static const char *const patterns[] = {
		"/usr/lib/libssl.so*",
		"/usr/lib64/libssl.so*",
		"/lib/libssl.so*",
		"/lib64/libssl.so*",
		"/usr/lib/*-linux-gnu*/libssl.so*",
		"/lib/*-linux-gnu*/libssl.so*",
		"/usr/local/lib/libssl.so*",
		"/usr/local/lib64/libssl.so*",
		"/usr/local/ssl/lib*/libssl.so*",
	};
	glob_t found = {};

	for (size_t i = 0; i < ARRAY_SIZE(patterns); i++)
		glob(patterns[i], i ? GLOB_APPEND : 0, NULL, &found);
	for (size_t i = 0; i < found.gl_pathc; i++)
		path_inspect(t, found.gl_pathv[i]);
	globfree(&found);
}

/* Of the two sets of programs only the one that will be attached is loaded. */
static int programs_choose(struct tls_source *t)
{
	const struct {
		struct bpf_program *prog;
		bool multi, single;
	} programs[] = {
		{t->skel->progs.tls_enter, true, false},
		{t->skel->progs.tls_leave, true, false},
		{t->skel->progs.tls_return, false, true},
		{t->skel->progs.tls_read_int, false, true},
		{t->skel->progs.tls_read_arg4, false, true},
		{t->skel->progs.tls_write_int, false, true},
		{t->skel->progs.tls_write_arg4, false, true},
		{t->skel->progs.tls_write_arg5, false, true},
		{t->skel->progs.tls_handshake, false, true},
		{t->skel->progs.tls_server_name, false, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
		bool used = t->multi ? programs[i].multi : programs[i].single;
		int r = bpf_program__set_autoload(programs[i].prog, used);

		if (r == 0 && used && t->multi)
			r = bpf_program__set_expected_attach_type(
				programs[i].prog, (enum bpf_attach_type)BPF_UPROBE_MULTI);
		if (r < 0)
			return r;
	}
	return 0;
}

static int programs_load(struct tls_source *t, struct err *e)
{
	int r;

	t->skel = tls_bpf__open_opts(bpf_shared_open_opts(t->shared));
	if (!t->skel)
		return err_set(e, -errno, "cannot open the TLS programs: %s", strerror(errno));
	t->multi = multi_offered();
	t->cookies = libbpf_probe_bpf_helper(BPF_PROG_TYPE_KPROBE, BPF_FUNC_get_attach_cookie,
					     NULL) == 1;
	if (getrandom((void *)t->skel->rodata->stream_salt, sizeof(t->skel->rodata->stream_salt),
		      GRND_NONBLOCK) < 0)
		return err_set(e, -errno, "no random numbers for stream ids: %s", strerror(errno));

	r = programs_choose(t);
	if (r < 0)
		return err_set(e, r, "cannot prepare the TLS programs: %s", strerror(-r));
	r = bpf_family_prepare(t->shared, t->skel->obj, e);
	if (r < 0)
		return r;
	r = tls_bpf__load(t->skel);
	if (r < 0)
		return err_set(e, r, "the kernel refused the TLS programs: %s", strerror(-r));
	return 0;
}

static void programs_watch(struct tls_source *t)
{
	struct bpf_program *prog;

	bpf_object__for_each_program(prog, t->skel->obj)
	{
		if (bpf_program__autoload(prog))
			bpf_hook_watch(t->shared, prog);
	}
}

int tls_source_open(struct bpf_shared *s, struct tls_source **ret, struct err *e)
{
	_cleanup_(tls_source_freep) struct tls_source *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	t->shared = s;
	signal(SIGIO, SIG_IGN);
	r = programs_load(t, e);
	if (r < 0)
		return r;
	programs_watch(t);

	r = mmaps_open(&t->mmaps);
	bpf_capability(s, "tls", "libraries that are loaded later", "perf mmap records",
		       r < 0 ? CAPABILITY_MISSING : CAPABILITY_ATTACHED, r < 0 ? "%s" : NULL,
		       strerror(-r));

	*ret = TAKE_PTR(t);
	return 0;
}

void tls_source_start(struct tls_source *t)
{
	inspect_directories(t);
	t->scan = opendir("/proc");
}

int tls_source_file(struct tls_source *t, const char *path, struct err *e)
{
	struct stat st;
	_cleanup_(closep) int fd = open_regular(path, &st);
	_cleanup_(freep) char *real = fd < 0 ? NULL : realpath(path, NULL);
	struct tls_sites sites;
	struct err why = {};
	int r;

	if (!real)
		return err_set(e, fd < 0 ? fd : -errno, "cannot open '%s': %s", path,
			       strerror(fd < 0 ? -fd : errno));
	r = tls_sites_find(fd, &sites, &why);
	if (r < 0)
		return err_set(e, r, "no TLS functions to watch in '%s': %s", path, why.text);
	file_inspect(t, fd, real, 0);
	return 0;
}

void tls_source_finish(struct tls_source *t)
{
	t->finished = true;
	detach_all(t);
}

void tls_source_free(struct tls_source *t)
{
	if (!t)
		return;
	detach_all(t);
	for (size_t i = 0; i < t->n_files; i++) {
		closep(&t->files[i].fd);
		free(t->files[i].path);
	}
	if (t->scan)
		closedir(t->scan);
	mmaps_free(t->mmaps);
	tls_bpf__destroy(t->skel);
	free(t);
}

int tls_source_threads(const struct tls_source *t)
{
	return bpf_map__fd(t->skel->maps.tls_threads);
}

int tls_source_sessions(const struct tls_source *t)
{
	return bpf_map__fd(t->skel->maps.tls_sessions);
}

const char *tls_source_library(const struct tls_source *t, uint32_t number, uint32_t tgid)
{
	const struct user *u = &t->users[tgid & (CACHE_SIZE - 1)];

	if (!number && u->tgid == tgid)
		number = u->number;
	if (!number && t->n_files == 1)
		number = 1;
	return number && number <= t->n_files ? base_name(t->files[number - 1].path) : NULL;
}
