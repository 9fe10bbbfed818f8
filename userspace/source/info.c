/* SPDX-License-Identifier: MIT */
#include "source/info.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <unistd.h>

#include <linux/limits.h>

#include "base/clock.h"
#include "event/record.h"
#include "source/cgroup.h"
#include "source/procfs.h"
#include "source/users.h"

#define BUCKETS      4096
#define SEED_BUDGET  64           /* processes told in one tick: some 5 ms */
#define LOOK_BUDGET  64           /* processes whose cgroup is looked at again */
#define CGROUP_MAX   8192         /* of /proc/PID/cgroup; 13 hierarchies with long paths */
#define ENVIRON_MAX  (256U << 10) /* that is searched */
#define VARIABLE_MAX 4096         /* bytes of one variable that are told */
#define TOLD_MAX     (32U << 10)  /* of all */

/* A process that is known to live, and where. */
struct place {
	uint32_t tgid;
	uint64_t start_ns;
	struct cgroup *cgroup;
	char comm[AS_COMM_LEN]; /* when it was told; for who gets no events */
	LIST_ENTRY(place) bucket;
	TAILQ_ENTRY(place) order; /* longest not looked at first */
};

struct info {
	struct info_options opt;
	struct procfs *fs;
	struct users *users;
	LIST_HEAD(, place) buckets[BUCKETS];
	TAILQ_HEAD(, place) places;
	size_t n;
	uint32_t *seeds; /* those from next_seed on wait */
	size_t n_seeds;
	size_t next_seed;
	size_t cap_seeds;
	struct buf record;
	struct buf text;
	char path[PATH_TEXT_MAX];
};

/* ---- where processes are ---- */

static struct place *place_find(const struct info *in, uint32_t tgid)
{
	struct place *p;

	LIST_FOREACH(p, &in->buckets[tgid % BUCKETS], bucket)
	{
		if (p->tgid == tgid)
			return p;
	}
	return NULL;
}

static void place_forget(struct info *in, struct place *p)
{
	cgroup_release(in->opt.cgroups, p->cgroup);
	LIST_REMOVE(p, bucket);
	TAILQ_REMOVE(&in->places, p, order);
	in->n--;
	free(p);
}

/* A newer start time under the same number is another process. NULL when there are too many. */
static struct place *place_get(struct info *in, uint32_t tgid, uint64_t start_ns)
{
	struct place *p = place_find(in, tgid);

	if (p && p->start_ns / PROC_TICK_NS == start_ns / PROC_TICK_NS)
		return p;
	if (p)
		place_forget(in, p);
	if (in->n >= PROC_TABLE_MAX)
		return NULL;
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->tgid = tgid;
	p->start_ns = start_ns;
	LIST_INSERT_HEAD(&in->buckets[tgid % BUCKETS], p, bucket);
	TAILQ_INSERT_TAIL(&in->places, p, order);
	in->n++;
	return p;
}

/* Takes over one hold of @c. */
static void place_move(struct info *in, struct place *p, struct cgroup *c)
{
	cgroup_release(in->opt.cgroups, p->cgroup);
	p->cgroup = c;
}

/* ---- files of a process ---- */

static void pid_path(char out[48], uint32_t tgid, const char *file)
{
	snprintf(out, 48, "%u/%s", tgid, file);
}

static struct cgroup *cgroup_read(struct info *in, uint32_t tgid)
{
	char path[48], text[CGROUP_MAX];
	ssize_t n;

	pid_path(path, tgid, "cgroup");
	n = procfs_read(in->fs, path, text, sizeof(text));
	return n > 0 ? cgroup_hold(in->opt.cgroups, text, n) : NULL;
}

static void link_add(struct info *in, uint32_t tgid, const char *file, struct as_span *ret)
{
	char path[48], target[PATH_MAX];
	ssize_t n;

	pid_path(path, tgid, file);
	n = procfs_read_link(in->fs, path, target, sizeof(target));
	if (n > 0)
		*ret = record_add(&in->record, target, n);
}

/* Reads up to @max bytes of a file; what is longer is cut. */
static int text_read(struct info *in, uint32_t tgid, const char *file, size_t max)
{
	char path[48];
	ssize_t n;

	buf_reset(&in->text);
	if (!buf_room(&in->text, max))
		return -ENOMEM;
	pid_path(path, tgid, file);
	n = procfs_read(in->fs, path, in->text.data, max);
	if (n < 0)
		return (int)n;
	in->text.len = n;
	return 0;
}

static void argv_read(struct info *in, uint32_t tgid, struct as_span *ret)
{
	if (text_read(in, tgid, "cmdline", AS_ARGV_MAX) < 0)
		return;
	*ret = record_add(&in->record, in->text.data, in->text.len);
	if (ret->len == AS_ARGV_MAX)
		ret->full = ret->len + 1; /* by how much is not known */
}

/* ---- chosen variables ---- */

static bool env_wanted(const struct info *in, const char *variable, size_t n)
{
	for (size_t i = 0; i < in->opt.n_env_names; i++) {
		size_t len = strlen(in->opt.env_names[i]);

		if (n > len && variable[len] == '=' && !memcmp(variable, in->opt.env_names[i], len))
			return true;
	}
	return false;
}

/* Those of the NUL-separated @text that were asked for, behind one another. */
static struct as_span env_select(struct info *in, const char *text, size_t n)
{
	struct as_span span = {.off = in->record.len};
	const char *end = text + n;

	while (text < end) {
		size_t len = strnlen(text, end - text);

		if (env_wanted(in, text, len)) {
			size_t kept = MIN(len, (size_t)VARIABLE_MAX);

			span.full += len + 1;
			if (span.len + kept + 1 <= TOLD_MAX) {
				buf_add(&in->record, text, kept);
				buf_add_char(&in->record, '\0');
				span.len += kept + 1;
			}
		}
		text += len + 1;
	}
	return span;
}

static void env_read(struct info *in, uint32_t tgid, struct as_span *ret)
{
	if (in->opt.n_env_names && text_read(in, tgid, "environ", ENVIRON_MAX) == 0)
		*ret = env_select(in, in->text.data, in->text.len);
}

/* ---- the event ---- */

static struct as_span text_add(struct info *in, const char *text)
{
	return *text ? record_add_str(&in->record, text) : (struct as_span){0};
}

static void container_add(struct info *in, const struct container *c, struct as_process_info *i)
{
	i->runtime = text_add(in, c->runtime ?: "");
	i->container = text_add(in, c->id);
	i->container_name = text_add(in, c->name);
	i->pod = text_add(in, c->pod[0] ? c->pod : c->pod_uid);
	i->pod_namespace = text_add(in, c->pod_namespace);
	i->qos = text_add(in, c->qos ?: "");
	i->unit = text_add(in, c->unit);
}

static void cgroup_add(struct info *in, const struct place *p, struct as_process_info *i)
{
	uint64_t quota_centi, memory_kb;

	if (!p || !p->cgroup)
		return;
	i->cgroup = text_add(in, cgroup_path(p->cgroup));
	container_add(in, cgroup_container(in->opt.cgroups, p->cgroup), i);
	cgroup_limits(p->cgroup, &quota_centi, &memory_kb);
	i->quota_centi = quota_centi;
	i->memory_limit_kb = memory_kb;
}

/* @i has been filled apart from the record, whose memory moves as it grows. */
static void info_emit(struct info *in, const struct place *p, struct as_process_info *i,
		      struct emitter *out)
{

	cgroup_add(in, p, i);
	i->user = text_add(in, users_name(in->users, i->h.uid));
	i->started_ns = clock_unix_ns(i->h.start_ns);
	if (!record_made(&in->record, AS_EV_PROCESS_INFO))
		return;
	*record_struct(&in->record, as_process_info) = *i;
	record_emit(&in->record, AS_EV_PROCESS_INFO, out);
}

static void info_begin(struct info *in, const struct as_hdr *h, struct as_process_info *i)
{
	*i = (struct as_process_info){.h = *h};
	i->h.type = AS_EV_PROCESS_INFO;
	i->h.flags = 0;
	record_begin(&in->record, AS_EV_PROCESS_INFO, &i->h);
}

/* ---- exec ---- */

/*
 * By the time an event is read the process may have ended, its number may be another's, and it may run the
 * next program already.
 */
enum presence {
	GONE,
	SAME_PROCESS, /* in another program, or it has changed both its name and its arguments */
	SAME_PROGRAM,
};

static bool same_arguments(struct info *in, const struct as_exec *e)
{
	size_t n = e->argv.len;

	if (!n || text_read(in, e->h.tgid, "cmdline", n + 1) < 0 || in->text.len < n)
		return false;
	return (in->text.len == n || span_cut(&e->argv)) &&
	       !memcmp(in->text.data, record_bytes(&e->h, &e->argv), n);
}

static enum presence presence_of(struct info *in, const struct as_exec *e)
{
	struct procfs_stat st;

	if (procfs_read_stat(in->fs, e->h.tgid, &st) < 0 ||
	    st.start_ns / PROC_TICK_NS != e->h.start_ns / PROC_TICK_NS)
		return GONE;
	if (!strncmp(st.comm, e->h.comm, sizeof(st.comm)) || same_arguments(in, e))
		return SAME_PROGRAM;
	return SAME_PROCESS;
}

static struct as_span span_take(struct info *in, const struct as_hdr *rec,
				const struct as_span *from)
{
	struct as_span span = record_add(&in->record, record_bytes(rec, from), from->len);

	span.full = from->full;
	return span;
}

/* The program, as far as the event alone tells: in a script's case that is the script. */
static void exe_from_event(struct info *in, const struct as_exec *e, size_t cwd_len,
			   struct as_span *ret)
{
	const char *name = record_bytes(&e->h, &e->filename);
	size_t n = e->filename.len;
	bool absolute = n && name[0] == '/';

	if (!n || (!absolute && !cwd_len))
		return;
	*ret = (struct as_span){.off = in->record.len};
	if (!absolute) {
		if (n > 2 && name[0] == '.' && name[1] == '/') {
			name += 2;
			n -= 2;
		}
		buf_add(&in->record, in->path, cwd_len);
		if (in->path[cwd_len - 1] != '/')
			buf_add_char(&in->record, '/');
	}
	buf_add(&in->record, name, n);
	ret->len = ret->full = in->record.len - ret->off;
}

static void exec_tell(struct info *in, const struct as_exec *e, struct emitter *out)
{
	struct place *p = place_get(in, e->h.tgid, e->h.start_ns);
	enum presence there = presence_of(in, e);
	struct as_process_info i;
	size_t cwd_len;

	info_begin(in, &e->h, &i);
	i.argv = span_take(in, &e->h, &e->argv);
	cwd_len = record_path(&e->h, &e->cwd, in->path);
	i.cwd = record_add(&in->record, in->path, cwd_len);
	if (there == SAME_PROGRAM) {
		link_add(in, e->h.tgid, "exe", &i.exe);
		env_read(in, e->h.tgid, &i.env);
	}
	if (there != GONE && p)
		place_move(in, p, cgroup_read(in, e->h.tgid));
	if (!i.exe.len)
		exe_from_event(in, e, cwd_len, &i.exe);
	if (!i.env.len)
		i.env = env_select(in, record_bytes(&e->h, &e->env), e->env.len);
	info_emit(in, p, &i, out);
}

/* A child is where its parent is, until it is moved. */
static void fork_learn(struct info *in, const struct as_fork *f)
{
	const struct place *parent = place_find(in, f->h.tgid);
	struct place *p;

	if (!parent || !parent->cgroup)
		return;
	p = place_get(in, f->child_pid, f->child_start_ns);
	if (p && !p->cgroup)
		p->cgroup = cgroup_hold_again(parent->cgroup);
}

static void exit_learn(struct info *in, const struct as_hdr *h)
{
	struct place *p = place_find(in, h->tgid);

	if (p && p->start_ns / PROC_TICK_NS == h->start_ns / PROC_TICK_NS)
		place_forget(in, p);
}

void info_event(struct info *in, const struct event *ev, struct emitter *out)
{
	switch (ev->rec->type) {
	case AS_EV_EXEC:
		exec_tell(in, (const struct as_exec *)ev->rec, out);
		break;
	case AS_EV_FORK:
		fork_learn(in, (const struct as_fork *)ev->rec);
		break;
	case AS_EV_EXIT:
		exit_learn(in, ev->rec);
		break;
	default:
		break;
	}
}

/* ---- who was there before ---- */

void info_process(struct info *in, uint32_t tgid)
{
	uint32_t *more;

	if (in->next_seed == in->n_seeds)
		in->next_seed = in->n_seeds = 0;
	if (in->n_seeds == in->cap_seeds) {
		size_t cap = MAX(in->cap_seeds * 2, (size_t)64);

		if (cap > 2 * (size_t)PROC_TABLE_MAX)
			return;
		more = realloc(in->seeds, cap * sizeof(*more));
		if (!more)
			return;
		in->seeds = more;
		in->cap_seeds = cap;
	}
	in->seeds[in->n_seeds++] = tgid;
}

/* The table has the start time that the events of this process carry. */
static int seed_header(const struct info *in, uint32_t tgid, struct as_hdr *ret)
{
	const struct proc *p = proc_table_find(in->opt.table, tgid);
	struct procfs_stat st;
	int r = procfs_read_stat(in->fs, tgid, &st);

	if (r < 0)
		return r;
	if (!p || p->exited || p->start_ns / PROC_TICK_NS != st.start_ns / PROC_TICK_NS)
		return -ESRCH;
	*ret = (struct as_hdr){
		.boot_ns = clock_boot_ns(),
		.start_ns = p->start_ns,
		.tgid = tgid,
		.tid = tgid,
		.ppid = st.ppid,
		.uid = p->uid,
	};
	memcpy(ret->comm, st.comm, sizeof(ret->comm));
	return 0;
}

static void seen_tell(struct info *in, const struct as_hdr *h, struct emitter *out)
{
	struct place *p = place_get(in, h->tgid, h->start_ns);
	struct as_process_info i;

	info_begin(in, h, &i);
	argv_read(in, h->tgid, &i.argv);
	link_add(in, h->tgid, "exe", &i.exe);
	link_add(in, h->tgid, "cwd", &i.cwd);
	env_read(in, h->tgid, &i.env);
	if (p) {
		memcpy(p->comm, h->comm, sizeof(p->comm));
		place_move(in, p, cgroup_read(in, h->tgid));
	}
	info_emit(in, p, &i, out);
}

/* A child of ours that has not yet become what it was forked for. */
static bool our_copy(const struct info *in, const struct as_hdr *h)
{
	char comm[AS_COMM_LEN + 1] = "";

	return in->opt.polling && h->ppid == (uint32_t)getpid() && prctl(PR_GET_NAME, comm) == 0 &&
	       !strncmp(comm, h->comm, sizeof(h->comm));
}

static void seed_tell(struct info *in, uint32_t tgid, struct emitter *out)
{
	const struct place *known = place_find(in, tgid);
	struct as_hdr h;

	if (seed_header(in, tgid, &h) < 0)
		return;
	/* an exec may have told of it already */
	if (known && known->start_ns / PROC_TICK_NS == h.start_ns / PROC_TICK_NS)
		return;
	if (our_copy(in, &h))
		place_get(in, tgid, h.start_ns);
	else
		seen_tell(in, &h, out);
}

/* ---- while it runs ---- */

/* A process that is gone although no exit said so, or that was moved to another cgroup. */
static void place_look(struct info *in, struct place *p, struct emitter *out)
{
	const struct proc *known = proc_table_find(in->opt.table, p->tgid);
	struct cgroup *c;
	struct as_hdr h;

	TAILQ_REMOVE(&in->places, p, order);
	TAILQ_INSERT_TAIL(&in->places, p, order);
	if (!known || known->exited ||
	    known->start_ns / PROC_TICK_NS != p->start_ns / PROC_TICK_NS) {
		place_forget(in, p);
		return;
	}
	/* without events, a new program shows in a new name */
	if (in->opt.polling && seed_header(in, p->tgid, &h) == 0 && !our_copy(in, &h) &&
	    memcmp(p->comm, h.comm, sizeof(p->comm)) != 0) {
		seen_tell(in, &h, out);
		return;
	}
	c = cgroup_read(in, p->tgid);
	if (c)
		place_move(in, p, c);
}

bool info_tick(struct info *in, bool second, struct emitter *out)
{
	for (size_t i = 0; i < SEED_BUDGET && in->next_seed < in->n_seeds; i++)
		seed_tell(in, in->seeds[in->next_seed++], out);
	for (size_t i = 0; second && i < MIN(in->n, (size_t)LOOK_BUDGET); i++)
		place_look(in, TAILQ_FIRST(&in->places), out);
	return in->next_seed < in->n_seeds;
}

bool info_limits(const struct info *in, uint32_t tgid, uint64_t *ret_quota_centi,
		 uint64_t *ret_memory_kb)
{
	const struct place *p = place_find(in, tgid);

	if (!p || !p->cgroup)
		return false;
	cgroup_limits(p->cgroup, ret_quota_centi, ret_memory_kb);
	return true;
}

/* ---- life ---- */

int info_open(const struct info_options *opt, struct info **ret)
{
	_cleanup_(info_freep) struct info *in = calloc(1, sizeof(*in));
	int r;

	if (!in)
		return -ENOMEM;
	in->opt = *opt;
	TAILQ_INIT(&in->places);
	r = procfs_open(opt->procfs, &in->fs);
	if (r < 0)
		return r;
	r = users_open(opt->passwd, &in->users);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(in);
	return 0;
}

void info_free(struct info *in)
{
	struct place *p;

	if (!in)
		return;
	while ((p = TAILQ_FIRST(&in->places)))
		place_forget(in, p);
	users_free(in->users);
	procfs_free(in->fs);
	buf_done(&in->record);
	buf_done(&in->text);
	free(in->seeds);
	free(in);
}
