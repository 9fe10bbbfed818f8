/* SPDX-License-Identifier: MIT */
/*
 * Three ways lead to a file: the standard library directories, what running processes have mapped,
 * and mappings made later. All end in file_inspect(), which knows files by inode and content, never
 * by path: so containers, deleted and replaced files need nothing of their own.
 */
#include "source/tls.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include <bpf/bpf.h>

#include <agentsight/tls.h>

#include "base/clock.h"
#include "base/log.h"
#include "priv/proc.h"
#include "source/mmaps.h"
#include "source/tls_attach.h"
#include "source/tls_files.h"
#include "source/tls_finder.h"
#include "source/tls_maps.h"
#include "source/tls_sites.h"
#include "source/write_guard.h"

#define FILES_MAX    256
#define LIBRARY_MIN  (256U << 10)       /* a TLS library has 400 KiB, its ciphers not counted */
#define CACHE_SIZE   4096               /* entries of each cache below, a power of two */
#define SEEN_NS      (5 * NSEC_PER_SEC) /* then a file is looked at again: it may have changed */
#define LEASED_NS    (6 * NSEC_PER_SEC) /* longer than SEEN_NS */
#define SLICE_NS     (3 * NSEC_PER_MSEC) /* how long one poll may look at what processes have mapped */
#define TOUCH_MIN_NS NSEC_PER_SEC        /* the second time; the first one waits for nothing */
#define TOUCH_MAX_NS (64 * NSEC_PER_SEC)
#define REPORTS_MAX  32   /* capabilities per file */
#define TEXT_LEN     1024 /* more than a capability tells */
#define QUEUE_MAX    256
#define ARRIVED_MAX  512 /* mappings, with paths of up to 4 KiB */
#define SCRIPT_DEPTH 4   /* interpreters of interpreters */

/* Who uses a file, when it is no process that is known. */
#define NOBODY   0          /* yet: it is there before who uses it */
#define SOMEBODY UINT32_MAX /* somebody did */

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
	struct tls_programs *programs;
	struct tls_finder *finder;
	struct write_guard *guard;
	pthread_mutex_t
		lock; /* of the files' links and `leave`: the guard's thread takes probes out */
	struct mmaps *mmaps;
	bool unopened; /* a file could not be, which was said */
	/* when to look again at files that somebody had leased; 0: there were none */
	uint64_t leased_ns;
	DIR *scan;       /* going through /proc; NULL when done */
	bool scan_again; /* when it is done */
	bool scan_blind; /* of somebody we may not know what he has mapped */
	bool scan_void;  /* something went wrong */
	bool finished;
	bool again;   /* the finder could not take all */
	bool refused; /* a file, for want of a place, since one was given back */
	struct tls_counts counts;
	struct tls_maps *maps;     /* of the process that is being looked at; NULL: of none */
	uint32_t queue[QUEUE_MAX]; /* processes to be looked at */
	size_t n_queue;
	struct mapping arrived[ARRIVED_MAX]; /* to be looked at, in a circle; the paths are ours */
	size_t first_arrived, n_arrived;
	struct tls_files *files;
	struct seen seen[CACHE_SIZE];
	struct tls_file_key inspected[CACHE_SIZE];
	struct user users[CACHE_SIZE];
};

/* ---- caches ---- */

static size_t cache_slot(uint64_t a, uint64_t b)
{
	uint64_t x = (a ^ b * 0x9e3779b97f4a7c15ULL) * 0xbf58476d1ce4e5b9ULL;

	return (x >> 32) & (CACHE_SIZE - 1);
}

/* Was this inode looked at a short while ago? */
static bool seen_lately(const struct tls_source *t, uint64_t dev, uint64_t ino, uint64_t generation)
{
	const struct seen *s = &t->seen[cache_slot(dev, ino)];

	return s->dev == dev && s->ino == ino && s->generation == generation &&
	       clock_boot_ns() < s->until_ns;
}

/* It was, which does not hold of a file that could not be opened: the next process that has it may stay longer. */
static void seen_note(struct tls_source *t, uint64_t dev, uint64_t ino, uint64_t generation)
{
	t->seen[cache_slot(dev, ino)] =
		(struct seen){dev, ino, generation, clock_boot_ns() + SEEN_NS};
}

static void seen_forget(struct tls_source *t, uint64_t dev, uint64_t ino)
{
	t->seen[cache_slot(dev, ino)] = (struct seen){};
}

static bool key_equal(const struct tls_file_key *a, const struct tls_file_key *b)
{
	return !memcmp(a, b, sizeof(*a));
}

/* Has the file that @fd is open on become another since it had @key? */
static bool is_changed(int fd, const struct tls_file_key *key)
{
	struct tls_file_key now;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return true;
	now = tls_file_key_of(&st);
	return !key_equal(&now, key);
}

static bool inspected_before(struct tls_source *t, const struct tls_file_key *key)
{
	struct tls_file_key *k = &t->inspected[cache_slot(key->dev, key->ino)];

	if (key_equal(k, key))
		return true;
	*k = *key;
	return false;
}

static void inspected_forget(struct tls_source *t, const struct tls_file_key *key)
{
	t->inspected[cache_slot(key->dev, key->ino)] = (struct tls_file_key){};
}

static void user_note(struct tls_source *t, uint32_t tgid, const struct tls_file *f)
{
	if (tgid != NOBODY && tgid != SOMEBODY)
		t->users[tgid & (CACHE_SIZE - 1)] = (struct user){tgid, f->number};
}

/* ---- from sites to probes ---- */

/* The numbers in tls_sites.h and in agentsight/tls.h are the same on purpose. */
_Static_assert(TLS_READ == (int)AS_TLS_KIND_READ && TLS_WRITE == (int)AS_TLS_KIND_WRITE &&
		       TLS_HANDSHAKE == (int)AS_TLS_KIND_HANDSHAKE &&
		       TLS_SNI == (int)AS_TLS_KIND_SNI && TLS_ALPN == (int)AS_TLS_KIND_ALPN &&
		       TLS_SENDFILE == (int)AS_TLS_KIND_SENDFILE &&
		       TLS_FREE == (int)AS_TLS_KIND_FREE,
	       "kinds of sites");
_Static_assert(TLS_SHAPE_RET_INT == (int)AS_TLS_SHAPE_RET_INT &&
		       TLS_SHAPE_COUNT_ARG4 == (int)AS_TLS_SHAPE_COUNT_ARG4 &&
		       TLS_SHAPE_COUNT_ARG5 == (int)AS_TLS_SHAPE_COUNT_ARG5 &&
		       TLS_SHAPE_CTRL == (int)AS_TLS_SHAPE_CTRL &&
		       TLS_SHAPE_RET_SSIZE == (int)AS_TLS_SHAPE_RET_SSIZE,
	       "shapes of sites");

static const struct {
	const char *name;
	enum as_tls_function function;
} function_names[] = {
	{"SSL_read", AS_TLS_FN_SSL_READ},
	{"SSL_read_ex", AS_TLS_FN_SSL_READ_EX},
	{"SSL_write", AS_TLS_FN_SSL_WRITE},
	{"SSL_write_ex", AS_TLS_FN_SSL_WRITE_EX},
	{"SSL_write_ex2", AS_TLS_FN_SSL_WRITE_EX},
	{"SSL_do_handshake", AS_TLS_FN_SSL_DO_HANDSHAKE},
	{"gnutls_record_recv", AS_TLS_FN_GNUTLS_RECV},
	{"gnutls_record_recv_seq", AS_TLS_FN_GNUTLS_RECV_SEQ},
	{"gnutls_record_send", AS_TLS_FN_GNUTLS_SEND},
	{"gnutls_record_send2", AS_TLS_FN_GNUTLS_SEND2},
	{"gnutls_handshake", AS_TLS_FN_GNUTLS_HANDSHAKE},
	{"SSL_sendfile", AS_TLS_FN_SSL_SENDFILE},
};

static enum as_tls_function function_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(function_names); i++) {
		if (!strcmp(function_names[i].name, name))
			return function_names[i].function;
	}
	return AS_TLS_FN_SSL_READ;
}

static void probes_of_sites(const struct tls_sites *sites, struct tls_probes *ret)
{
	ret->n = 0;
	for (size_t i = 0; i < sites->n; i++) {
		const struct tls_site *site = &sites->sites[i];

		ret->list[ret->n++] = (struct tls_probe){
			.kind = (enum as_tls_kind)site->kind,
			.shape = (enum as_tls_shape)site->shape,
			.function = function_of(site->function),
			.alpn_at = sites->alpn_at,
			.offset = site->offset,
		};
	}
}

/* What a function is called in events, by how it was found. */
static const struct found_row {
	enum find_function function;
	enum find_shape shape;
	enum as_tls_kind kind;
	enum as_tls_shape as_shape;
	enum as_tls_function name;
} found_rows[] = {
	{FIND_READ, FIND_SHAPE_RET_INT, AS_TLS_KIND_READ, AS_TLS_SHAPE_RET_INT, AS_TLS_FN_SSL_READ},
	{FIND_READ, FIND_SHAPE_COUNT_ARG4, AS_TLS_KIND_READ, AS_TLS_SHAPE_COUNT_ARG4,
	 AS_TLS_FN_SSL_READ},
	{FIND_WRITE, FIND_SHAPE_RET_INT, AS_TLS_KIND_WRITE, AS_TLS_SHAPE_RET_INT,
	 AS_TLS_FN_SSL_WRITE},
	{FIND_WRITE, FIND_SHAPE_COUNT_ARG4, AS_TLS_KIND_WRITE, AS_TLS_SHAPE_COUNT_ARG4,
	 AS_TLS_FN_SSL_WRITE},
	{FIND_WRITE, FIND_SHAPE_COUNT_ARG5, AS_TLS_KIND_WRITE, AS_TLS_SHAPE_COUNT_ARG5,
	 AS_TLS_FN_SSL_WRITE},
	{FIND_HANDSHAKE, FIND_SHAPE_RET_INT, AS_TLS_KIND_HANDSHAKE, AS_TLS_SHAPE_RET_INT,
	 AS_TLS_FN_SSL_DO_HANDSHAKE},
	{FIND_READ, FIND_SHAPE_GO_ENTRY, AS_TLS_KIND_READ, AS_TLS_SHAPE_GO_ENTRY,
	 AS_TLS_FN_GO_READ},
	{FIND_READ, FIND_SHAPE_GO_RETURN, AS_TLS_KIND_READ, AS_TLS_SHAPE_GO_RETURN,
	 AS_TLS_FN_GO_READ},
	{FIND_WRITE, FIND_SHAPE_GO_ENTRY, AS_TLS_KIND_WRITE, AS_TLS_SHAPE_GO_ENTRY,
	 AS_TLS_FN_GO_WRITE},
	{FIND_WRITE, FIND_SHAPE_GO_RETURN, AS_TLS_KIND_WRITE, AS_TLS_SHAPE_GO_RETURN,
	 AS_TLS_FN_GO_WRITE},
	{FIND_READ, FIND_SHAPE_RET_INT_FLAGS, AS_TLS_KIND_READ, AS_TLS_SHAPE_RET_INT_FLAGS,
	 AS_TLS_FN_NSS_RECV},
	{FIND_WRITE, FIND_SHAPE_RET_INT_FLAGS, AS_TLS_KIND_WRITE, AS_TLS_SHAPE_RET_INT_FLAGS,
	 AS_TLS_FN_NSS_SEND},
	{FIND_SEAL, FIND_SHAPE_AEAD, AS_TLS_KIND_WRITE, AS_TLS_SHAPE_AEAD, AS_TLS_FN_AEAD_SEAL},
	{FIND_SEAL, FIND_SHAPE_AEAD_SCATTER, AS_TLS_KIND_WRITE, AS_TLS_SHAPE_AEAD_SCATTER,
	 AS_TLS_FN_AEAD_SEAL_SCATTER},
	{FIND_SEAL, FIND_SHAPE_RING, AS_TLS_KIND_WRITE, AS_TLS_SHAPE_RING, AS_TLS_FN_RING_SEAL},
	{FIND_OPEN, FIND_SHAPE_AEAD, AS_TLS_KIND_READ, AS_TLS_SHAPE_AEAD, AS_TLS_FN_AEAD_OPEN},
	{FIND_OPEN, FIND_SHAPE_AEAD_GATHER, AS_TLS_KIND_READ, AS_TLS_SHAPE_AEAD_GATHER,
	 AS_TLS_FN_AEAD_OPEN_GATHER},
	{FIND_OPEN, FIND_SHAPE_RING, AS_TLS_KIND_READ, AS_TLS_SHAPE_RING, AS_TLS_FN_RING_OPEN},
};

static const struct found_row *found_row(const struct find_site *site)
{
	for (size_t i = 0; i < ARRAY_SIZE(found_rows); i++) {
		if (found_rows[i].function == site->function && found_rows[i].shape == site->shape)
			return &found_rows[i];
	}
	return NULL;
}

static bool is_call(const struct find_site *site)
{
	return site->shape == FIND_SHAPE_RET_INT || site->shape == FIND_SHAPE_COUNT_ARG4 ||
	       site->shape == FIND_SHAPE_COUNT_ARG5;
}

static bool is_boringssl(const struct find_result *found, const struct find_site *site)
{
	return site->library < found->n_libraries &&
	       !strcmp(found->libraries[site->library].name, "BoringSSL");
}

/*
 * BoringSSL has the same AEAD functions as AWS-LC: below SSL_write() they would tell everything a second time.
 */
static bool tells_twice(const struct find_result *found, const struct find_site *site)
{
	if (site->function != FIND_SEAL && site->function != FIND_OPEN)
		return false;
	if (site->shape == FIND_SHAPE_RING)
		return false;
	for (size_t i = 0; i < found->n; i++) {
		if (is_call(&found->sites[i]) && is_boringssl(found, &found->sites[i]))
			return true;
	}
	return false;
}

static void probes_of_found(const struct find_result *found, bool calls, struct tls_probes *ret)
{
	ret->n = 0;
	for (size_t i = 0; i < found->n && ret->n < TLS_PROBES_MAX; i++) {
		const struct find_site *site = &found->sites[i];
		const struct found_row *row = found_row(site);

		if (!row || (calls && is_call(site)) || tells_twice(found, site))
			continue;
		ret->list[ret->n++] = (struct tls_probe){
			.kind = row->kind,
			.shape = row->as_shape,
			.function = row->name,
			.offset = site->offset,
		};
	}
}

/* ---- files ---- */

__attribute__((format(printf, 4, 5))) static void file_report(struct tls_source *t,
							      struct tls_file *f,
							      enum capability_state state,
							      const char *fmt, ...)
{
	char reason[TEXT_LEN];
	va_list ap;

	if (f->reports++ >= REPORTS_MAX)
		return; /* its owner can touch it as often as he likes */
	va_start(ap, fmt);
	vsnprintf(reason, sizeof(reason), fmt, ap);
	va_end(ap);
	bpf_capability(t->shared, "tls", f->path, tls_programs_mechanism(t->programs), state, "%s",
		       reason);
}

static struct tls_file *file_find(struct tls_source *t, const struct tls_file_key *key)
{
	return tls_files_find(t->files, key->dev, key->ino);
}

/* Told when it begins; how many there were is counted. */
static void file_refuse(struct tls_source *t, const char *path)
{
	log_debug("tls: %s: %d files are probed already", log_safe(path), FILES_MAX);
	if (!t->refused)
		bpf_capability(t->shared, "tls", "further files", "uprobes", CAPABILITY_MISSING,
			       "%d are probed already, and in use", FILES_MAX);
	t->refused = true;
	t->counts.refused++;
}

static struct tls_file *file_add(struct tls_source *t, const struct tls_file_key *key, int fd,
				 const char *path, uint32_t tgid)
{
	struct tls_file *f;
	int r = tls_files_add(t->files, key, fd, path, clock_boot_ns(), &f);

	if (r == -ENOSPC)
		file_refuse(t, path);
	else if (r < 0)
		log_warning("tls: %s is not probed: %s", log_safe(path), strerror(-r));
	if (r < 0)
		return NULL;
	f->expected = tgid == NOBODY;
	user_note(t, tgid, f);
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

/* "BoringSSL: BoringSSL error sites; aws-lc: ..." */
static void found_describe(const struct find_result *found, char *out, size_t cap)
{
	size_t n = 0;

	*out = '\0';
	for (size_t i = 0; i < found->n_libraries && n < cap; i++) {
		const struct find_library *l = &found->libraries[i];

		n += (size_t)snprintf(out + n, cap - n, "%s%s (%s)", i ? "; " : "",
				      *l->version ? l->version : l->name, l->method);
	}
	if (*found->reason && n < cap)
		snprintf(out + n, cap - n, "; %s", found->reason);
}

static bool file_attached(struct tls_source *t, const struct tls_file *f)
{
	bool attached;

	pthread_mutex_lock(&t->lock);
	attached = f->links[0].n || f->links[1].n || f->leave == TLS_LEAVING;
	pthread_mutex_unlock(&t->lock);
	return attached;
}

/* Its probes are on their way out, or will be. */
static bool file_leaves(struct tls_source *t, const struct tls_file *f)
{
	bool leaves;

	pthread_mutex_lock(&t->lock);
	leaves = f->giving || f->leave != TLS_STAYS;
	pthread_mutex_unlock(&t->lock);
	return leaves;
}

/* Both sets of probes at once: each wait for the kernel's grace period is the same one. */
static void file_detach(struct tls_source *t, struct tls_file *f)
{
	struct tls_links *links[] = {&f->links[0], &f->links[1]};

	pthread_mutex_lock(&t->lock);
	tls_links_detach_all(links, ARRAY_SIZE(links));
	pthread_mutex_unlock(&t->lock);
}

/* Probes that are on their way out, of files that the table keeps meanwhile. */
struct leaving {
	size_t n;
	struct tls_file *files[FILES_MAX];
	struct tls_links links[2 * FILES_MAX];
	struct tls_links *list[2 * FILES_MAX];
};

static void leaving_add(struct leaving *l, struct tls_file *f)
{
	size_t at = 2 * l->n;

	f->leave = TLS_LEAVING;
	l->files[l->n++] = f;
	for (size_t i = 0; i < ARRAY_SIZE(f->links); i++) {
		l->links[at + i] = f->links[i];
		l->list[at + i] = &l->links[at + i];
		f->links[i] = (struct tls_links){};
	}
}

/*
 * In the guard's thread: somebody wants to write, and waits until the probes are gone, or nobody uses these files any
 * more. That takes the kernel a while, in which nobody else waits for the lock.
 */
static void guard_leave(void *ctx, const uint32_t *numbers, size_t n)
{
	struct tls_source *t = ctx;
	struct leaving l;

	l.n = 0;
	pthread_mutex_lock(&t->lock);
	for (size_t i = 0; i < n; i++)
		leaving_add(&l, tls_files_number(t->files, numbers[i]));
	pthread_mutex_unlock(&t->lock);

	tls_links_detach_all(l.list, 2 * l.n);

	pthread_mutex_lock(&t->lock);
	for (size_t i = 0; i < l.n; i++)
		l.files[i]->leave = TLS_LEFT;
	pthread_mutex_unlock(&t->lock);
}

/*
 * Code that is written over a breakpoint kills whoever runs it: no file is probed that nobody watches. False while
 * somebody has it open for writing.
 */
static bool file_guard(struct tls_source *t, struct tls_file *f)
{
	enum write_guard_kind kind = WRITE_GUARD_LEASE;
	int r = write_guard_watch(t->guard, f->fd, f->number, &kind);

	if (r == 0 && kind != WRITE_GUARD_LEASE)
		bpf_capability(t->shared, "tls", f->path, "file lease", CAPABILITY_DEGRADED,
			       "there are none on its file system: programs that start while it is "
			       "overwritten in place may crash");
	return r == 0 || r == -EEXIST;
}

static int file_attach_locked(struct tls_source *t, struct tls_file *f,
			      const struct tls_probes *probes, struct tls_links *links,
			      struct err *e)
{
	int r;

	if (!write_guard_watches(t->guard, f->number))
		return -EAGAIN; /* the writer has come meanwhile */
	if (is_changed(f->fd, &f->key))
		return -ESTALE; /* he came, and was done, before it was watched */
	r = tls_programs_attach(t->programs, probes, f->number, f->fd, links, e);
	if (r < 0)
		tls_links_detach(links);
	return r;
}

/* Who writes into what is not probed waits for nobody. */
static void file_unguard(struct tls_source *t, const struct tls_file *f)
{
	if (!file_attached(t, f))
		write_guard_forget(t->guard, f->number);
}

static void file_attach(struct tls_source *t, struct tls_file *f, const struct tls_probes *probes,
			struct tls_links *links, const char *how)
{
	struct err e = {};
	int r = -EAGAIN;

	if (file_guard(t, f)) {
		pthread_mutex_lock(&t->lock);
		r = file_attach_locked(t, f, probes, links, &e);
		pthread_mutex_unlock(&t->lock);
	}
	f->waiting = r == -EAGAIN && !*e.text;
	if (r == -ESTALE)
		log_debug("tls: %s: has just changed", log_safe(f->path)); /* as file_look() sees */
	else if (f->waiting)
		file_report(t, f, CAPABILITY_MISSING,
			    "not probed: it is open for writing, and its users would crash");
	else if (r < 0)
		file_report(t, f, CAPABILITY_MISSING, "%s", e.text);
	else
		file_report(t, f, CAPABILITY_ATTACHED, "%s", how);
	file_unguard(t, f);
}

/* Attaches to the functions that have symbols. */
static void sites_attach(struct tls_source *t, struct tls_file *f, const struct tls_sites *sites)
{
	struct tls_probes probes;
	char text[TEXT_LEN];

	probes_of_sites(sites, &probes);
	sites_describe(sites, text, sizeof(text));
	f->calls = true;
	file_attach(t, f, &probes, &f->links[0], text);
}

static bool is_library(const char *path)
{
	return strstr(basename(path), ".so") != NULL;
}

/* Any library may have TLS linked in; those that are named so are TLS libraries themselves. */
static enum tls_find_kind find_kind(const char *path)
{
	const char *name = basename(path);

	return !is_library(path) || strcasestr(name, "ssl") || strcasestr(name, "gnutls")
		       ? TLS_FIND_LIKELY
		       : TLS_FIND_LIBRARY;
}

/* What is left to be done when a glance at the symbols ended with @glance. */
static enum tls_find_kind search_kind(enum tls_find_kind kind, int glance)
{
	return kind == TLS_FIND_LIKELY && glance == -E2BIG ? TLS_FIND_SYMBOLS : kind;
}

/* -E2BIG: many are searched already; all are looked at again when these are done. */
static int finder_ask(struct tls_source *t, enum tls_find_kind kind, int fd,
		      const struct tls_file_key *key, const char *path, uint32_t tgid)
{
	int r = tls_finder_submit(t->finder, kind, fd, key, path, tgid);

	if (r == -E2BIG)
		t->again = true;
	else if (r < 0)
		log_warning("tls: %s is not searched: %s", log_safe(path), strerror(-r));
	return r;
}

/* For a file that is not probed: only one that found no place among those waiting is asked for again. */
static void finder_ask_once(struct tls_source *t, enum tls_find_kind kind, int fd,
			    const struct tls_file_key *key, const char *path, uint32_t tgid)
{
	if (finder_ask(t, kind, fd, key, path, tgid) == -E2BIG)
		inspected_forget(t, key);
}

/* Every process is looked at, from the first one on. What none of them has mapped is seen then, too. */
static void scan_begin(struct tls_source *t)
{
	t->scan_again = t->scan;
	if (t->scan)
		return;
	t->scan = opendir("/proc");
	t->scan_blind = t->scan_void = false;
	tls_files_round_begin(t->files);
}

/* Many were to be searched at once: the rest is asked for anew. */
static void finder_again(struct tls_source *t)
{
	if (!t->again || tls_finder_busy(t->finder))
		return;
	t->again = false;
	memset(t->seen, 0, sizeof(t->seen));
	scan_begin(t);
}

/* When everything is looked at again, it is one that is known. */
static void file_search(struct tls_source *t, struct tls_file *f, enum tls_find_kind kind,
			uint32_t tgid)
{
	f->unsearched = finder_ask(t, kind, f->fd, &f->key, f->path, tgid) == -E2BIG;
}

/* What has symbols is libssl's like, and holds nothing else when it is a library. */
static void file_probe(struct tls_source *t, struct tls_file *f, const struct tls_sites *sites,
		       uint32_t tgid)
{
	sites_attach(t, f, sites);
	if (!is_library(f->path))
		file_search(t, f, TLS_FIND_LIKELY, tgid);
}

/* Its content may be another now, or may be probed now. The file keeps its number. */
static void file_refresh(struct tls_source *t, struct tls_file *f, const struct tls_file_key *key)
{
	enum tls_find_kind kind = find_kind(f->path);
	struct tls_sites sites;
	int r = -E2BIG;

	file_detach(t, f);
	f->key = *key;
	f->waiting = f->touched = false;
	f->calls = false;
	if (kind == TLS_FIND_LIKELY)
		r = tls_sites_glance(f->fd, &sites, NULL);
	if (r == 0)
		file_probe(t, f, &sites, SOMEBODY);
	else
		file_search(t, f, search_kind(kind, r), SOMEBODY);
	file_unguard(t, f);
}

static enum tls_leave leave_take(struct tls_source *t, struct tls_file *f)
{
	enum tls_leave leave;

	pthread_mutex_lock(&t->lock);
	leave = f->leave;
	if (leave == TLS_LEFT)
		f->leave = TLS_STAYS;
	pthread_mutex_unlock(&t->lock);
	return leave;
}

/* Its probes are out. Whoever maps it from now on, and who has done so this moment, finds it unknown. */
static void file_give_back(struct tls_source *t, struct tls_file *f)
{
	struct tls_file_key key = f->key;

	log_debug("tls: %s is not used any more", log_safe(f->path));
	write_guard_forget(t->guard, f->number);
	tls_files_remove(t->files, f, clock_boot_ns());
	t->counts.given_back++;
	inspected_forget(t, &key);
	memset(t->seen, 0, sizeof(t->seen));
	if (!t->refused)
		return;
	/* those for which there was no place */
	t->refused = false;
	memset(t->inspected, 0, sizeof(t->inspected));
	scan_begin(t);
}

/* Its probes are out; somebody may have come for it meanwhile. */
static void file_given(struct tls_source *t, struct tls_file *f)
{
	f->giving = false;
	if (f->unseen)
		file_give_back(t, f);
	else
		file_refresh(t, f, &f->key);
}

/*
 * Its content may be another, behind the back of who guards it, or its owner has set its times, which he can do as often
 * as he likes: its probes go at once, but in the guard's thread, and come back later every time.
 */
static void file_touched(struct tls_source *t, struct tls_file *f)
{
	uint64_t now = clock_boot_ns(), pause = MAX(2 * f->touch_pause_ns, TOUCH_MIN_NS);

	if (f->touched)
		return;
	f->touched = true;
	f->touch_pause_ns = now < f->touch_due_ns + TOUCH_MAX_NS ? MIN(pause, TOUCH_MAX_NS) : 0;
	f->touch_due_ns = now + f->touch_pause_ns;
	write_guard_leave(t->guard, &f->number, 1);
}

/* Has somebody begun to write, or finished? */
static void file_look(struct tls_source *t, struct tls_file *f)
{
	enum tls_leave leave = leave_take(t, f);
	struct tls_file_key key;
	struct stat st;
	bool changed;

	if (leave == TLS_LEAVING)
		return;
	if (f->giving) {
		if (!file_attached(t, f))
			file_given(t, f);
		return;
	}
	if (leave == TLS_LEFT) {
		f->waiting = true;
		file_report(t, f, CAPABILITY_MISSING, "not probed any more: %s",
			    f->touched ? "its times have changed" : "it was opened for writing");
	}
	if (f->waiting && (clock_boot_ns() < f->touch_due_ns || !file_guard(t, f)))
		return;
	if (fstat(f->fd, &st) < 0)
		return;
	f->deleted = !st.st_nlink;
	key = tls_file_key_of(&st);
	changed = !key_equal(&key, &f->key);
	if (changed && file_attached(t, f))
		file_touched(t, f);
	else if (f->waiting || changed)
		file_refresh(t, f, &key);
	else if (f->unsearched)
		file_search(t, f, search_kind(find_kind(f->path), f->calls ? 0 : -E2BIG), SOMEBODY);
}

/*
 * Probes the file at @fd (a regular file) if it holds a TLS library and is not known yet. @path is for people,
 * @tgid is who uses it.
 */
static void file_inspect(struct tls_source *t, enum tls_find_kind kind, int fd, const char *path,
			 uint32_t tgid)
{
	struct tls_sites sites;
	struct tls_file *f;
	struct tls_file_key key;
	struct stat st;
	struct err e = {};
	int r;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	key = tls_file_key_of(&st);
	f = file_find(t, &key);
	if (f) {
		tls_files_use(t->files, key.ino, clock_boot_ns());
		user_note(t, tgid, f);
		if (f->waiting || !key_equal(&f->key, &key))
			file_look(t, f);
		return;
	}
	if (inspected_before(t, &key))
		return;
	if (kind == TLS_FIND_LIBRARY) {
		finder_ask_once(t, kind, fd, &key, path, tgid);
		return;
	}

	r = tls_sites_glance(fd, &sites, &e);
	if (r == 0) {
		f = file_add(t, &key, fd, path, tgid);
		if (f)
			file_probe(t, f, &sites, tgid);
		return;
	}
	log_debug("tls: %s: %s", log_safe(path), e.text);
	if (r == -ENOENT || r == -E2BIG)
		finder_ask_once(t, search_kind(kind, r), fd, &key, path, tgid);
}

/* Has other content than what was searched: the places that were found are anywhere. */
static void found_late(struct tls_source *t, const struct tls_find *find)
{
	log_debug("tls: %s: has changed while it was searched", log_safe(find->path));
	seen_forget(t, find->key.dev, find->key.ino);
	file_inspect(t, find->kind == TLS_FIND_LIBRARY ? TLS_FIND_LIBRARY : TLS_FIND_LIKELY,
		     find->fd, find->path, find->tgid);
}

/* The symbols of a likely file have been searched. @f: the file, if it is known. */
static void symbols_attach(struct tls_source *t, struct tls_file *f, const struct tls_find *find)
{
	bool likely = find->result == -ENOENT || find->result == -E2BIG;

	if (f && f->calls)
		return; /* an earlier search has told */
	if (find->symbols.n) {
		if (!f)
			f = file_add(t, &find->key, find->fd, find->path, find->tgid);
		if (f)
			file_probe(t, f, &find->symbols, find->tgid);
	} else if (f) {
		file_search(t, f, TLS_FIND_LIKELY, find->tgid);
	} else if (likely) {
		finder_ask_once(t, TLS_FIND_LIKELY, find->fd, &find->key, find->path, find->tgid);
	}
}

/* Attaches to what was found without symbols, unless the file has changed since. */
static void found_attach(struct tls_source *t, const struct tls_find *find)
{
	struct tls_probes probes;
	struct tls_file *f;
	char text[TEXT_LEN];

	if (is_changed(find->fd, &find->key)) {
		found_late(t, find);
		return;
	}
	f = file_find(t, &find->key);
	if (f && (file_leaves(t, f) || !key_equal(&f->key, &find->key)))
		return; /* the next look at it asks again */
	if (find->kind == TLS_FIND_SYMBOLS) {
		symbols_attach(t, f, find);
		return;
	}
	if (find->symbols.n)
		probes_of_sites(&find->symbols, &probes);
	else
		probes_of_found(&find->found, f && f->calls, &probes);
	if (f && !probes.n && !file_attached(t, f))
		file_report(t, f, CAPABILITY_MISSING, "changed in place: %s", find->found.reason);
	if (!probes.n)
		return;
	if (f) {
		pthread_mutex_lock(&t->lock);
		tls_links_detach(&f->links[1]); /* of an earlier search */
		pthread_mutex_unlock(&t->lock);
	}
	if (!f)
		f = file_add(t, &find->key, find->fd, find->path, find->tgid);
	if (!f)
		return;
	if (find->symbols.n)
		sites_describe(&find->symbols, text, sizeof(text));
	else
		found_describe(&find->found, text, sizeof(text));
	file_attach(t, f, &probes, &f->links[1], text);
}

static void finder_poll(struct tls_source *t)
{
	static const char *const subjects[] = {
		[TLS_FIND_SYMBOLS] = "by symbols: ",
		[TLS_FIND_LIKELY] = "besides exported functions: ",
		[TLS_FIND_LIBRARY] = "",
	};
	struct tls_find *find;

	while ((find = tls_finder_take(t->finder))) {
		log_debug("tls: %s: %s%zu sites%s; %s", log_safe(find->path), subjects[find->kind],
			  find->symbols.n + find->found.n, find->found.cached ? ", known" : "",
			  log_safe(find->found.reason));
		found_attach(t, find);
		tls_find_free(find);
	}
}

/* Many paths in library directories are links for the linker: the name of the file itself is kept. */
static void path_inspect(struct tls_source *t, const char *path)
{
	struct stat st;
	_cleanup_(closep) int fd = priv_program_open(path, 0, &st);
	_cleanup_(freep) char *real = fd < 0 ? NULL : realpath(path, NULL);

	if (real)
		file_inspect(t, find_kind(real), fd, real, NOBODY);
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
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "/proc/%u/map_files/%" PRIx64 "-%" PRIx64, m->tgid, m->addr,
		 m->addr + m->len);
	/* devices differ between the two views of a file under overlayfs; inode numbers do not */
	fd = priv_program_open(path, m->ino, &st);
	if (fd < 0) {
		snprintf(path, sizeof(path), "/proc/%u/root%s", m->tgid, m->path);
		fd = priv_program_open(path, m->ino, &st);
	}
	return fd;
}

/*
 * Once is enough: what keeps one file from being opened keeps others, too. A process that has ended and what is no
 * program are no news; neither is a broker that has ended, which is said where it is asked.
 */
static void unopened_tell(struct tls_source *t, const char *path, int error)
{
	static const int usual[] = {ENOENT, ESRCH, EINVAL, ENOEXEC, ENOTDIR, ELOOP, ECONNRESET};

	for (size_t i = 0; i < ARRAY_SIZE(usual); i++) {
		if (error == -usual[i])
			return;
	}
	if (error == -EWOULDBLOCK && !t->leased_ns)
		t->leased_ns = clock_boot_ns() + LEASED_NS;
	if (!t->unopened)
		log_warning("'%s' cannot be looked at, and is not probed if it should be: %s",
			    log_safe(path),
			    error == -EWOULDBLOCK ? "somebody has a lease of it; it is tried again"
						  : strerror(-error));
	t->unopened = true;
}

/* These errors tell of the file itself, others of who had it. */
static bool is_no_program(int error)
{
	return error == -EINVAL || error == -ENOEXEC;
}

/* Most libraries are small: nothing else is to be known about them. */
static bool worth_a_look(int fd, const char *path)
{
	struct stat st;

	return find_kind(path) == TLS_FIND_LIKELY ||
	       (fstat(fd, &st) == 0 && st.st_size >= (off_t)LIBRARY_MIN);
}

/* Is its file no file, or known? Then its use is noted, and nothing else is to be done. */
static bool mapping_known(struct tls_source *t, const struct mapping *m)
{
	struct tls_file *f;

	if (m->path[0] != '/')
		return true;
	tls_files_use(t->files, m->ino, clock_boot_ns());
	f = tls_files_find(t->files, m->dev, m->ino);
	if (f)
		user_note(t, m->tgid, f);
	return seen_lately(t, m->dev, m->ino, m->generation);
}

static void mapping_inspect(struct tls_source *t, const struct mapping *m)
{
	_cleanup_(closep) int fd = -1;

	if (mapping_known(t, m))
		return;
	fd = mapping_open(m);
	if (fd < 0)
		unopened_tell(t, m->path, fd);
	if (fd >= 0 || is_no_program(fd))
		seen_note(t, m->dev, m->ino, m->generation);
	if (fd >= 0 && worth_a_look(fd, m->path))
		file_inspect(t, find_kind(m->path), fd, m->path, m->tgid);
}

/* Opening and reading a file takes a while, and the kernel's ring waits: that is for arrived_step(). */
static void mapping_arrived(void *arg, const struct mapping *m)
{
	struct tls_source *t = arg;
	struct mapping *at = &t->arrived[(t->first_arrived + t->n_arrived) % ARRIVED_MAX];
	char *path;

	if (!wanted(t, m->tgid) || mapping_known(t, m))
		return;
	path = t->n_arrived < ARRIVED_MAX ? strdup(m->path) : NULL;
	if (!path) {
		scan_begin(t); /* too many: everyone */
		return;
	}
	*at = *m;
	at->path = path;
	t->n_arrived++;
}

static void arrived_step(struct tls_source *t)
{
	struct mapping m = t->arrived[t->first_arrived];

	t->first_arrived = (t->first_arrived + 1) % ARRIVED_MAX;
	t->n_arrived--;
	mapping_inspect(t, &m);
	free((char *)m.path);
}

static void process_inspect(struct tls_source *t, uint32_t tgid)
{
	t->scan_void |= tls_maps_new(tgid, &t->maps) < 0;
}

/* One mapping more. */
static void process_step(struct tls_source *t)
{
	struct mapping m;
	int r = tls_maps_next(t->maps, &m);

	if (r > 0)
		mapping_inspect(t, &m);
	if (r >= 0)
		return;
	if (r == -EACCES || r == -EPERM)
		t->scan_blind = true;
	else if (r != -ENODATA)
		t->scan_void = true;
	tls_maps_free(TAKE_PTR(t->maps));
}

static void queue_add(struct tls_source *t, uint32_t tgid)
{
	if (t->n_queue < QUEUE_MAX)
		t->queue[t->n_queue++] = tgid;
	else
		scan_begin(t); /* too many: everyone */
}

/* Their probes are taken out in the guard's thread, as if somebody wanted to write; see file_given(). */
static void files_give_back(struct tls_source *t, struct tls_file *const *idle, size_t n)
{
	uint32_t numbers[FILES_MAX];
	size_t attached = 0;

	for (size_t i = 0; i < n; i++) {
		if (file_attached(t, idle[i]))
			numbers[attached++] = idle[i]->number;
	}
	if (attached)
		write_guard_leave(t->guard, numbers, attached);
}

static void scan_end(struct tls_source *t)
{
	struct tls_file *idle[FILES_MAX];
	uint64_t now = clock_boot_ns();
	size_t n = 0;

	closedir(TAKE_PTR(t->scan));
	if (t->scan_void)
		tls_files_round_void(t->files, now);
	else
		n = tls_files_round_end(t->files, now, t->scan_blind, idle, ARRAY_SIZE(idle));
	files_give_back(t, idle, n);
	if (t->scan_again)
		scan_begin(t);
}

/*
 * One more mapping that was made later, process, or mapping of the one that is being looked at; false when there is none.
 * Who has made a mapping just now may be gone soon.
 */
static bool look_step(struct tls_source *t)
{
	struct dirent *d;

	if (t->n_arrived) {
		arrived_step(t);
		return true;
	}
	if (t->maps) {
		process_step(t);
		return true;
	}
	if (t->n_queue) {
		process_inspect(t, t->queue[--t->n_queue]);
		return true;
	}
	if (!t->scan)
		return false;
	d = readdir(t->scan);
	if (!d) {
		scan_end(t);
		return t->scan;
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
	finder_poll(t);
	finder_again(t);
	if (t->mmaps && mmaps_poll(t->mmaps, mapping_arrived, t))
		scan_begin(t); /* records were lost: look at everyone again */

	end = clock_boot_ns() + SLICE_NS;
	while (clock_boot_ns() < end) {
		if (!look_step(t))
			return false;
	}
	return true;
}

void tls_source_exec(struct tls_source *t, const struct as_exec *e)
{
	char link[64], path[4096];
	_cleanup_(closep) int fd = -1;
	struct stat st;
	ssize_t n;

	/* who runs the same program again and again costs no look at it */
	if (t->finished || (e->exe_ino && seen_lately(t, e->exe_dev, e->exe_ino, 0)))
		return;
	snprintf(link, sizeof(link), "/proc/%u/exe", e->h.tgid);
	fd = priv_program_open(link, 0, &st);
	if (fd < 0) {
		unopened_tell(t, link, fd);
		return;
	}
	if (st.st_ino == e->exe_ino) /* else it runs yet another one by now */
		seen_note(t, e->exe_dev, e->exe_ino, 0);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return;
	path[n] = '\0';
	file_inspect(t, find_kind(path), fd, path, e->h.tgid);
}

void tls_source_process(struct tls_source *t, uint32_t tgid)
{
	queue_add(t, tgid);
}

void tls_source_tick(struct tls_source *t, uint64_t boot_ns)
{
	struct tls_file *f = NULL;

	if (t->finished)
		return;
	while ((f = tls_files_next(t->files, f)))
		file_look(t, f);
	if (t->leased_ns && boot_ns >= t->leased_ns) {
		t->leased_ns = 0;
		scan_begin(t);
	}
	if (!t->scan && tls_files_round_due(t->files, boot_ns))
		scan_begin(t);
}

/* ---- opening and closing ---- */

static bool is_tls_library(const char *name)
{
	return !strncmp(name, "libssl.so", 9) || !strncmp(name, "libgnutls.so", 12) ||
	       !strcmp(name, "libssl3.so"); /* NSS */
}

/* What is for one architecture lies a level below. glob() would read each directory once for every library. */
static void directory_inspect(struct tls_source *t, const char *path, bool below)
{
	_cleanup_(closedirp) DIR *dir = opendir(path);
	char inner[PATH_MAX];
	struct dirent *d;

	while (dir && (errno = 0, d = readdir(dir))) {
		bool library = is_tls_library(d->d_name);

		if (!library && (below || !strstr(d->d_name, "-linux-gnu")))
			continue;
		snprintf(inner, sizeof(inner), "%s/%s", path, d->d_name);
		if (library)
			path_inspect(t, inner);
		else
			directory_inspect(t, inner, true);
	}
	if (errno && errno != ENOENT && errno != ENOTDIR)
		log_warning("%s: cannot look for libraries there: %s; they are found when a "
			    "process maps them",
			    path, strerror(errno));
}

static void inspect_directories(struct tls_source *t)
{
	static const char *const paths[] = {
		"/usr/lib",
		"/usr/lib64",
		"/lib",
		"/lib64",
		"/usr/local/lib",
		"/usr/local/lib64",
		"/usr/local/ssl/lib",
		"/usr/local/ssl/lib64",
	};
	struct stat seen[ARRAY_SIZE(paths)];
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		size_t k = 0;

		if (stat(paths[i], &seen[n]) < 0)
			continue;
		/* one may be a link to another */
		while (seen[k].st_dev != seen[n].st_dev || seen[k].st_ino != seen[n].st_ino)
			k++;
		if (k < n)
			continue;
		n++;
		directory_inspect(t, paths[i], false);
	}
}

int tls_source_open(struct bpf_shared *s, struct tls_source **ret, struct err *e)
{
	_cleanup_(tls_source_freep) struct tls_source *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	t->shared = s;
	pthread_mutex_init(&t->lock, NULL);
	r = tls_programs_open(s, &t->programs, e);
	if (r < 0)
		return r;
	r = tls_files_new(FILES_MAX, &t->files);
	if (r < 0)
		return r;
	r = tls_finder_new(&t->finder);
	if (r < 0)
		return err_set(e, r, "cannot search executables: %s", strerror(-r));
	r = write_guard_new(guard_leave, t, &t->guard);
	if (r < 0)
		return err_set(e, r, "cannot guard what is probed: %s", strerror(-r));

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
	scan_begin(t);
}

/* Has the file that @fd is open on been probed? */
static bool is_probed(struct tls_source *t, int fd)
{
	struct tls_file *f;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return false;
	f = tls_files_find(t->files, st.st_dev, st.st_ino);
	return f && (file_attached(t, f) || f->waiting);
}

/* Waits for the finder; only where nothing is lost meanwhile. */
static void finder_wait(struct tls_source *t)
{
	while (tls_finder_busy(t->finder)) {
		finder_poll(t);
		usleep(1000);
	}
}

static int named_file_open(const char *path, struct err *e)
{
	struct stat st;
	int fd = priv_program_open(path, 0, &st);

	return fd < 0 ? err_set(e, fd, "cannot open '%s': %s", path, strerror(-fd)) : fd;
}

static int nothing_in_file(const char *path, int r, const char *why, struct err *e)
{
	return err_set(e, r, "no TLS functions to watch in '%s': %.300s", path, why);
}

int tls_source_check_file(const char *path, struct err *e)
{
	_cleanup_(closep) int fd = named_file_open(path, e);
	struct err why = {};
	int r;

	if (fd < 0)
		return fd;
	r = tls_sites_check(fd, &why);
	return r < 0 ? nothing_in_file(path, r, why.text, e) : 0;
}

int tls_source_file(struct tls_source *t, const char *path, struct err *e)
{
	_cleanup_(closep) int fd = named_file_open(path, e);
	_cleanup_(freep) char *real = fd < 0 ? NULL : realpath(path, NULL);
	struct find_result found = {};
	struct tls_sites sites;
	struct err why = {};
	int r;

	if (fd < 0)
		return fd;
	if (!real)
		return err_set(e, -errno, "cannot open '%s': %s", path, strerror(errno));
	file_inspect(t, TLS_FIND_LIKELY, fd, real, NOBODY);
	finder_wait(t);
	if (is_probed(t, fd))
		return 0;
	r = tls_sites_find(fd, &sites, &why);
	if (r == -ENOENT)
		r = find_functions(fd, NULL, &found);
	if (r < 0)
		nothing_in_file(path, r, *found.reason ? log_safe(found.reason) : why.text, e);
	find_result_done(&found);
	return r;
}

/* The program behind a script's first line: "#!/usr/bin/env node" is node. False: it is no script. */
static bool script_interpreter(int fd, char *ret, size_t cap)
{
	char line[256], *word, *rest = line;
	ssize_t n = pread(fd, line, sizeof(line) - 1, 0);

	if (n < 3 || memcmp(line, "#!", 2) != 0)
		return false;
	line[n] = '\0';
	line[strcspn(line, "\n")] = '\0';
	rest += 2;
	word = strsep(&rest, " \t");
	while (word && !*word)
		word = strsep(&rest, " \t");
	if (!word)
		return false;
	if (!strcmp(basename(word), "env")) {
		word = strsep(&rest, " \t");
		while (word && (!*word || *word == '-' || strchr(word, '=')))
			word = strsep(&rest, " \t");
	}
	if (!word || strlen(word) >= cap)
		return false;
	memcpy(ret, word, strlen(word) + 1);
	return true;
}

/* As execvp() would find it. */
static char *program_path(const char *name)
{
	const char *dirs = getenv("PATH");
	char path[4096];

	if (strchr(name, '/'))
		return realpath(name, NULL);
	for (const char *d = dirs ? dirs : "/usr/bin:/bin"; *d; d += *d == ':') {
		size_t len = strcspn(d, ":");

		snprintf(path, sizeof(path), "%.*s/%s", (int)len, len ? d : ".", name);
		d += len;
		if (access(path, X_OK) == 0)
			return realpath(path, NULL);
	}
	return NULL;
}

void tls_source_expect(struct tls_source *t, const char *name)
{
	char program[256];
	struct stat st;

	for (int depth = 0; depth < SCRIPT_DEPTH; depth++) {
		_cleanup_(freep) char *real = program_path(name);
		_cleanup_(closep) int fd = real ? priv_program_open(real, 0, &st) : -1;

		if (fd < 0)
			return;
		if (!script_interpreter(fd, program, sizeof(program))) {
			file_inspect(t, find_kind(real), fd, real, NOBODY);
			return;
		}
		name = program;
	}
}

bool tls_source_busy(const struct tls_source *t)
{
	return !t->finished && tls_finder_busy(t->finder);
}

static void links_detach(struct tls_source *t)
{
	struct tls_links *links[2 * FILES_MAX];
	struct tls_file *f = NULL;
	size_t n = 0;

	while (t->files && (f = tls_files_next(t->files, f))) {
		links[n++] = &f->links[0];
		links[n++] = &f->links[1];
	}
	pthread_mutex_lock(&t->lock);
	tls_links_detach_all(links, n);
	pthread_mutex_unlock(&t->lock);
}

void tls_source_finish(struct tls_source *t)
{
	t->finished = true;
	links_detach(t);
	write_guard_free(TAKE_PTR(t->guard)); /* last: until then writers wait */
}

void tls_source_free(struct tls_source *t)
{
	if (!t)
		return;
	tls_finder_free(t->finder);
	links_detach(t);
	write_guard_free(t->guard);
	tls_files_free(t->files);
	tls_maps_free(t->maps);
	for (size_t i = 0; i < t->n_arrived; i++)
		free((char *)t->arrived[(t->first_arrived + i) % ARRIVED_MAX].path);
	if (t->scan)
		closedir(t->scan);
	mmaps_free(t->mmaps);
	tls_programs_free(t->programs);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

int tls_source_threads(const struct tls_source *t)
{
	return tls_programs_threads(t->programs);
}

int tls_source_sessions(const struct tls_source *t)
{
	return tls_programs_sessions(t->programs);
}

const char *tls_source_library(struct tls_source *t, uint32_t number, uint32_t tgid)
{
	const struct user *u = &t->users[tgid & (CACHE_SIZE - 1)];
	struct tls_file *f;

	if (!number && u->tgid == tgid)
		number = u->number;
	f = tls_files_number(t->files, number);
	if (!number && tls_files_count(t->files) == 1)
		f = tls_files_next(t->files, NULL);
	if (!f)
		return NULL;
	tls_file_called(f, clock_boot_ns());
	return basename(f->path);
}

struct tls_counts tls_source_counts(const struct tls_source *t)
{
	return t->counts;
}
