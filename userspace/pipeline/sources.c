/* SPDX-License-Identifier: MIT */
#include "pipeline/sources.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "source/file.h"
#include "source/net.h"
#include "source/offcpu.h"
#include "source/proc.h"
#include "source/procfs.h"
#include "source/sampler.h"
#include "source/syscalls.h"
#include "source/tls.h"
#include "source/who.h"
#include "stage/file_io.h"

#define RING_EVENTS_BYTES \
	(8U << 20) /* what 14,000 short processes leave: more than two seconds of them */
#define RING_DATA_BYTES   (8U << 20)
#define RING_UNUSED_BYTES (64U << 10) /* where nothing sends payload */
#define REAP_BUDGET       8 /* processes checked against /proc per second, for exits that were lost */

/* Between two walks of the kernel's table of connections, each of which takes a millisecond or more. */
#define MOVED_NS (90 * NSEC_PER_MSEC)

#define BREATH_MS     5            /* between two looks at the rings while families are loaded */
#define FIRST_LOOK_NS NSEC_PER_SEC /* then the rest of the processes comes while it runs */
#define FIND_POLL_MS  5            /* while executables are searched */

/* After an exec or a connect, libraries are looked for at these times, in ms. */
static const unsigned poll_plan_ms[] = {5, 20, 80, 320};

/*
 * Loading an object takes 10 to 50 ms of one processor, mostly for the kernel's verifier. Threads share
 * the work. A loader touches nothing of struct sources that changes while it runs.
 */
enum { LOAD_TLS_AND_NET, LOAD_FILE, LOAD_TASKS, LOAD_SUMS, LOADERS };

struct loader {
	const struct sources *s; /* NULL: not begun */
	void (*run)(struct loader *self);
	struct file_source *file;
	struct net_source *net;
	struct tls_source *tls;
	struct syscalls_source *syscalls;
	struct offcpu_source *offcpu;
	struct task_source *tasks;
	pthread_t thread;
	bool running; /* or not waited for yet */
};

struct sources {
	const struct session_options *opt;
	struct proc_table *procs;
	struct procfs *procfs;
	struct bpf_shared *shared;
	struct proc_source *proc;
	struct file_source *file;
	struct net_source *net;
	struct tls_source *tls;
	struct syscalls_source *syscalls;
	struct offcpu_source *offcpu;
	struct task_source *tasks; /* until the sampler has it */
	struct sampler *sampler;
	struct who *who; /* NULL: not asked for */
	struct emitter *samples;
	uint64_t begin_ns; /* of the run */
	struct proc_match match;
	size_t followed;
	int follow_error;  /* of the last process that the kernel was to follow and does not */
	uint64_t moved_ns; /* when samples were last told what connections moved */
	uint64_t polled_ns;
	uint64_t active_ns;   /* last exec or connection */
	size_t poll_step;     /* next entry of the plan; beyond it: nothing is due */
	bool poll_more;       /* discovery has more to look at right away */
	bool who_more;        /* of who was there before, more is to be told */
	bool ktls_told;       /* that a connection has TLS in the kernel */
	bool samples_missing; /* said once */
	struct loader loaders[LOADERS];
};

DEFINE_FREEP(struct sources *, sources_free)

/* ---- what is needed ---- */

static bool wants(const struct session_options *o, unsigned sources)
{
	return o->sources & sources;
}

/* Samples alone can do without kernel programs; everything else is made of them. */
static bool needs_kernel(const struct session_options *o)
{
	return wants(o, ~SOURCE_SYSTEM);
}

/* Conversations are conversations, with TLS and without. */
static enum as_stdio stdio_wanted(const struct session_options *o)
{
	if (wants(o, SOURCE_STDIO))
		return AS_STDIO_ALL;
	return wants(o, SOURCE_TLS) ? AS_STDIO_JSONRPC : AS_STDIO_NONE;
}

static struct as_config configure(const struct session_options *o)
{
	bool chosen = o->n_names || o->n_pids || o->command;

	return (struct as_config){
		.by_process = chosen,
		.by_uid = o->by_uid,
		.accounts = o->by_uid && o->detail,
		.uid = o->uid,
		.by_name = o->n_names > 0,
		.exec_env = wants(o, SOURCE_PROCESS) && wants(o, SOURCE_TLS),
		.follow_children = !o->no_children,
		.net_events = wants(o, SOURCE_NETWORK),
		.net_each_call = wants(o, SOURCE_NETWORK) && o->each_call,
		.tls_join = wants(o, SOURCE_TLS),
		.plain_http = wants(o, SOURCE_TLS),
		.stdio = stdio_wanted(o),
		.file_events = wants(o, SOURCE_FILES),
	};
}

static int say_missing_privilege(int r, struct err *e)
{
	if (geteuid() != 0)
		return err_set(
			e, -EPERM,
			"this needs root (or CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE): run it "
			"with sudo. Without it, 'agentsight system', 'run' and 'attach' sample "
			"your own processes");
	return err_set(e, -EPERM,
		       "the kernel refuses BPF programs here (%s): a container without CAP_BPF, or "
		       "lockdown? 'agentsight doctor' tells more; 'agentsight system', 'run' and "
		       "'attach' work without",
		       strerror(-r));
}

/* ---- loading ---- */

static bool samples_processes(const struct sources *s)
{
	const struct session_options *o = s->opt;

	return wants(o, SOURCE_SYSTEM) &&
	       (o->n_names || o->n_pids || o->by_uid || o->command || o->examine);
}

static void load_file(struct loader *l)
{
	struct err e = {};

	/* --stdio asks for pipes too; JSON-RPC alone is not worth a look at every system call */
	if (wants(l->s->opt, SOURCE_FILES | SOURCE_STDIO) &&
	    file_source_open(l->s->shared, FILE_HOOK_BEST, &l->file, &e) < 0)
		log_warning("no file events: %s", e.text);
}

static void load_tasks(struct loader *l)
{
	const struct session_options *opt = l->s->opt;
	bool detail = opt->detail || opt->threads;
	struct err e = {};

	if (samples_processes(l->s) && task_bpf_open(l->s->shared, detail, &l->tasks, &e) < 0)
		log_info("samples come from /proc: %s", e.text);
}

static void load_sums(struct loader *l)
{
	const struct sources *s = l->s;
	const struct sums_options opt = {.procs = s->procs, .out = s->samples};
	struct err e = {};

	if (s->opt->syscalls && syscalls_source_open(s->shared, &opt, &l->syscalls, &e) < 0)
		log_warning("no sums of system calls: %s", e.text);
	if (s->opt->offcpu && offcpu_source_open(s->shared, &opt, &l->offcpu, &e) < 0)
		log_warning("no sums of waits: %s", e.text);
}

static void load_tls_and_net(struct loader *l)
{
	const struct sources *s = l->s;
	struct net_options net = {-1, -1, .samples = s->opt->detail && samples_processes(s)};
	struct err e = {};

	if (wants(s->opt, SOURCE_TLS) && tls_source_open(s->shared, &l->tls, &e) < 0)
		log_warning("no TLS plaintext: %s", e.text);
	if (!wants(s->opt, SOURCE_NETWORK | SOURCE_TLS | SOURCE_STDIO))
		return;
	if (l->tls) {
		net.tls_threads_fd = tls_source_threads(l->tls);
		net.tls_sessions_fd = tls_source_sessions(l->tls);
	}
	if (net_source_open(s->shared, &net, &l->net, &e) < 0)
		log_warning("no network events: %s", e.text);
}

static void *loader_main(void *loader)
{
	struct loader *l = loader;

	l->run(l);
	return NULL;
}

static void loader_start(struct sources *s, size_t which)
{
	static void (*const run[LOADERS])(struct loader *) = {
		[LOAD_TLS_AND_NET] = load_tls_and_net,
		[LOAD_FILE] = load_file,
		[LOAD_TASKS] = load_tasks,
		[LOAD_SUMS] = load_sums,
	};
	struct loader *l = &s->loaders[which];

	if (l->s)
		return;
	*l = (struct loader){.s = s, .run = run[which]};
	l->running = !pthread_create(&l->thread, NULL, loader_main, l);
	if (!l->running)
		l->run(l);
}

/* What a loader that has ended has made. */
static void loader_take(struct sources *s, struct loader *l)
{
	if (l->file)
		s->file = TAKE_PTR(l->file);
	if (l->net)
		s->net = TAKE_PTR(l->net);
	if (l->tls)
		s->tls = TAKE_PTR(l->tls);
	if (l->syscalls)
		s->syscalls = TAKE_PTR(l->syscalls);
	if (l->offcpu)
		s->offcpu = TAKE_PTR(l->offcpu);
	if (l->tasks)
		s->tasks = TAKE_PTR(l->tasks);
}

/* All kernel programs go, also those that are still being loaded. */
static void close_kernel(struct sources *s)
{
	for (size_t i = 0; i < LOADERS; i++) {
		if (s->loaders[i].running)
			pthread_join(s->loaders[i].thread, NULL);
		s->loaders[i].running = false;
		loader_take(s, &s->loaders[i]);
	}
	task_source_free(TAKE_PTR(s->tasks));
	net_source_free(TAKE_PTR(s->net));
	tls_source_free(TAKE_PTR(s->tls));
	file_source_free(TAKE_PTR(s->file));
	syscalls_source_free(TAKE_PTR(s->syscalls));
	offcpu_source_free(TAKE_PTR(s->offcpu));
	proc_source_free(TAKE_PTR(s->proc));
	bpf_shared_free(TAKE_PTR(s->shared));
}

/* ---- the process family, which all others need ---- */

static void raise_limits(void)
{
	struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
	struct rlimit files;

	/* KERNEL < 5.11: maps count as locked memory. Refused without CAP_SYS_RESOURCE, then harmless */
	setrlimit(RLIMIT_MEMLOCK, &unlimited);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

static size_t ring_data_bytes(const struct session_options *o)
{
	if (!wants(o, SOURCE_TLS | SOURCE_STDIO))
		return RING_UNUSED_BYTES;
	return o->ring_bytes ? o->ring_bytes : RING_DATA_BYTES;
}

static int open_kernel(struct sources *s, struct err *e)
{
	struct bpf_options bpf = {
		.cfg = configure(s->opt),
		.ring_events_size = s->opt->ring_bytes ? s->opt->ring_bytes : RING_EVENTS_BYTES,
		.ring_data_size = ring_data_bytes(s->opt),
	};
	int r;

	if (s->opt->no_kernel)
		return err_set(e, -EPERM, "not asked for");
	if (!s->opt->embedded)
		raise_limits(); /* libbpf raises what it cannot do without */
	if (access(AS_KERNEL_BTF, F_OK) < 0)
		return err_set(
			e, -EOPNOTSUPP,
			"this kernel does not describe its types (/sys/kernel/btf/vmlinux is "
			"missing): boot one built with CONFIG_DEBUG_INFO_BTF, as Debian's and "
			"Ubuntu's are. 'agentsight system', 'run' and 'attach' work without");
	if (!bpf_pids_are_ours())
		return err_set(
			e, -EOPNOTSUPP,
			"processes have other numbers here than the kernel tells: this is a PID "
			"namespace of its own. Start the container with the host's (--pid=host). "
			"'agentsight system', 'run' and 'attach' work without");
	r = bpf_shared_open(&bpf, &s->shared, e);
	if (r < 0)
		return r;
	/* a command waits for all of it; else who reads shall soon have a first line */
	if (s->opt->command) {
		loader_start(s, LOAD_TLS_AND_NET);
		loader_start(s, LOAD_TASKS);
	}
	r = proc_source_open(s->shared, &s->proc, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < s->opt->n_names; i++) {
		r = proc_source_name(s->proc, s->opt->names[i]);
		if (r < 0)
			return err_set(e, r, "cannot watch for the name '%s': %s", s->opt->names[i],
				       strerror(-r));
	}
	return 0;
}

/* EINVAL of the kernel is not one of what was asked for, which would be wrong usage. */
static int refusal(int r)
{
	return r == -EINVAL ? -EIO : r;
}

/* ---- who belongs at the start ---- */

static void follow(struct sources *s, const struct proc *p, uint32_t flags)
{
	int r = proc_source_follow(s->proc, p->tgid, p->start_ns, flags);

	if (r < 0 && !s->follow_error)
		log_warning("process %u cannot be followed: %s", p->tgid, strerror(-r));
	if (r < 0)
		s->follow_error = r;
	/* it may have ended meanwhile: the hook of its end has found nothing to take out */
	if (procfs_gone(s->procfs, p))
		proc_source_unfollow(s->proc, p->tgid);
}

static void ask_who(struct sources *s, uint32_t tgid)
{
	if (!s->who)
		return;
	who_process(s->who, tgid);
	s->who_more = true;
}

static void found(void *context, const struct proc *p, uint32_t flags)
{
	struct sources *s = context;

	s->followed++;
	if (s->proc && bpf_shared_config(s->shared)->by_process)
		follow(s, p, flags);
	if (s->tls)
		tls_source_process(s->tls, p->tgid);
	if (s->opt->by_uid && p->uid != s->opt->uid)
		return; /* it belongs, and is not shown */
	/* the command tells of itself when it execs */
	if (!(s->opt->command && s->shared))
		ask_who(s, p->tgid);
}

/* Threads have a place in /proc, too, which no listing shows. */
static int check_pid(const struct procfs *fs, uint32_t pid, struct err *e)
{
	uint32_t tgid;
	int r = procfs_read_tgid(fs, pid, &tgid);

	if (r == -ENOENT || r == -ESRCH)
		return err_set(e, -ESRCH, "there is no process %u", pid);
	/* one that tells us nothing (hidepid) is there */
	if (r < 0 || tgid == pid)
		return 0;
	return err_set(e, -ESRCH, "%u is a thread of process %u: give the process", pid, tgid);
}

static int check_pids(const struct sources *s, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < s->opt->n_pids; i++)
		r = check_pid(s->procfs, s->opt->pids[i], e);
	return r;
}

/* What is no program is said before an output is emptied; what is in one shows only later. */
static int check_named_files(const struct sources *s, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && wants(s->opt, SOURCE_TLS) && i < s->opt->n_binary_paths; i++)
		r = tls_source_check_file(s->opt->binary_paths[i], e);
	return r;
}

static int seed(struct sources *s, struct err *e)
{
	int r;

	s->match = (struct proc_match){
		.names = (const char *const *)s->opt->names,
		.n_names = s->opt->n_names,
		.pids = s->opt->pids,
		.n_pids = s->opt->n_pids,
		.command = s->opt->command != NULL,
		.by_uid = s->opt->by_uid,
		.uid = s->opt->uid,
		.follow_children = !s->opt->no_children,
	};
	r = procfs_seed(s->procfs, s->procs, &s->match, found, s);
	s->match.pids_found = true;
	return r < 0 ? err_set(e, r, "cannot read /proc: %s", strerror(-r)) : 0;
}

static int open_who(struct sources *s, struct err *e)
{
	const struct who_options opt = {
		.table = s->procs,
		.shared = s->shared,
		.env_names = s->opt->env_names,
		.n_env_names = s->opt->n_env_names,
		.pressure = s->opt->pressure,
		.gpu = s->opt->gpu,
	};

	return s->opt->detail ? who_open(&opt, &s->who, e) : 0;
}

int sources_open(const struct session_options *opt, struct proc_table *procs, uint64_t begin_ns,
		 struct sources **ret, struct err *e)
{
	_cleanup_(sources_freep) struct sources *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->opt = opt;
	s->procs = procs;
	s->begin_ns = begin_ns;
	s->poll_step = ARRAY_SIZE(poll_plan_ms);
	r = procfs_open("/proc", &s->procfs);
	if (r < 0)
		return err_set(e, r, "cannot open /proc: %s", strerror(-r));
	r = check_pids(s, e);
	if (r == 0)
		r = check_named_files(s, e);
	if (r < 0)
		return r;

	r = refusal(open_kernel(s, e));
	if (r < 0 && needs_kernel(opt) && !opt->best_effort)
		return r == -EPERM || r == -EACCES ? say_missing_privilege(r, e) : r;
	if (r < 0) {
		/* to others than root this is what the documents promise */
		log_say(geteuid() == 0 && !opt->no_kernel ? LOG_NOTICE : LOG_INFO,
			"no kernel programs (%s): processes that live between two samples are "
			"seen only as their parents' child time",
			e->text);
		close_kernel(s);
	}
	r = open_who(s, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(s);
	return 0;
}

/* ---- the other families ---- */

static bool loader_done(struct loader *l)
{
	struct timespec until;

	if (!l->running)
		return true;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += BREATH_MS * NSEC_PER_MSEC;
	if (until.tv_nsec >= (long)NSEC_PER_SEC) {
		until.tv_sec++;
		until.tv_nsec -= NSEC_PER_SEC;
	}
	l->running = pthread_timedjoin_np(l->thread, NULL, &until) == ETIMEDOUT;
	return !l->running;
}

/*
 * Now that events find the names of their libraries. Who runs already is looked at before the hooks are
 * said to be in place; a machine that has very many is finished while it runs.
 */
static void start_tls(struct sources *s, void (*breathe)(void *context), void *context)
{
	/* a whole machine is searched while it runs */
	bool waits = bpf_shared_config(s->shared)->by_process || s->opt->examine;
	uint64_t until = clock_boot_ns() + FIRST_LOOK_NS;
	struct proc *p = NULL;

	if (!s->tls)
		return;
	tls_source_start(s->tls);
	if (s->opt->command)
		tls_source_expect(s->tls, s->opt->command[0]);
	for (size_t i = 0; i < s->opt->n_names; i++)
		tls_source_expect(s->tls, s->opt->names[i]);
	while ((p = proc_table_next(s->procs, p))) {
		if (p->followed || !bpf_shared_config(s->shared)->by_process)
			tls_source_process(s->tls, p->tgid);
	}
	do {
		breathe(context);
		s->poll_more = tls_source_poll(s->tls);
		if (s->poll_more || !waits || !tls_source_busy(s->tls))
			continue;
		usleep(FIND_POLL_MS * 1000);
		s->poll_more = true;
	} while (s->poll_more && clock_boot_ns() < until);
}

static void loader_finish(struct sources *s, size_t which, void (*breathe)(void *context),
			  void *context)
{
	while (!loader_done(&s->loaders[which]))
		breathe(context);
	loader_take(s, &s->loaders[which]);
}

/* Libraries are probed while the rest is still being loaded. */
static void loaders_finish(struct sources *s, void (*breathe)(void *context), void *context)
{
	loader_finish(s, LOAD_TLS_AND_NET, breathe, context);
	if (s->net)
		net_source_seed(s->net);
	start_tls(s, breathe, context);
	for (size_t i = LOAD_FILE; i < LOADERS; i++)
		loader_finish(s, i, breathe, context);
}

/* --binary-path: for what is not found by itself. */
static int probe_named_files(struct sources *s, struct err *e)
{
	for (size_t i = 0; s->tls && i < s->opt->n_binary_paths; i++) {
		int r = tls_source_file(s->tls, s->opt->binary_paths[i], e);

		if (r < 0)
			return r;
	}
	return 0;
}

static void discard(struct emitter *self, const struct event *ev)
{
}

static void part_missing(void *context, const char *part, int error)
{
	struct sources *s = context;

	if (s->shared)
		bpf_capability(s->shared, "system", part, "/proc", CAPABILITY_MISSING, "%s",
			       strerror(-error));
	else
		log_info("no %s of processes: %s", part, strerror(-error));
}

static bool is_given(const struct sources *s, uint32_t pid)
{
	for (size_t i = 0; i < s->opt->n_pids; i++) {
		if (s->opt->pids[i] == pid)
			return true;
	}
	return false;
}

/* The nearest process above @pid that was given, too; NULL: there is none. */
static const struct proc *given_above(const struct sources *s, uint32_t pid)
{
	const struct proc *p = proc_table_find(s->procs, pid);

	p = p ? p->parent : NULL;
	while (p && !is_given(s, p->tgid))
		p = p->parent;
	return p;
}

/* A tree holds all that its root has started: a second one in it would take its members away. */
static void plant_given(struct sources *s, uint32_t pid)
{
	const struct proc *above = s->opt->no_children ? NULL : given_above(s, pid);

	if (above)
		log_notice("process %u is part of the tree of %u, and has none of its own", pid,
			   above->tgid);
	else if (sampler_root(s->sampler, pid) == -ESRCH)
		log_warning("process %u ended before it was sampled, and is left out", pid);
}

/* Trees begin with those that were asked for, and with who is followed below nobody that is. */
static void plant_trees(struct sources *s)
{
	struct proc *p = NULL;

	for (size_t i = 0; i < s->opt->n_pids; i++)
		plant_given(s, s->opt->pids[i]);
	while ((p = proc_table_next(s->procs, p))) {
		if (p->followed && !(p->parent && p->parent->followed) && !proc_table_tree(p))
			sampler_root(s->sampler, p->tgid);
	}
}

static int open_sampler(struct sources *s, struct err *e)
{
	struct task_procfs_options procfs = {
		.fs = s->procfs,
		.table = s->procs,
		.match = &s->match,
		.found = found,
		.ctx = s,
		.detail = s->opt->detail || s->opt->threads,
		.threads = s->opt->threads,
	};
	struct sampler_options opt = {
		.table = s->procs,
		.who = s->who,
		.fs = s->procfs,
		.detail = s->opt->detail,
		.threads = s->opt->threads,
		.pss_interval_ns = s->opt->pss_interval_ns,
		.since_start = s->opt->since_start,
		.begin_ns = s->begin_ns,
		.sockets = s->opt->detail && !s->net,
		.missing = part_missing,
		.ctx = s,
	};
	struct emitter nowhere = {discard};
	int r;

	if (!wants(s->opt, SOURCE_SYSTEM))
		return 0;
	opt.machine = !samples_processes(s);
	opt.source = TAKE_PTR(s->tasks);
	if (!opt.machine && !opt.source) {
		r = task_procfs_open(&procfs, &opt.source);
		if (r < 0)
			return err_set(e, r, "cannot sample processes: %s", strerror(-r));
	}
	r = sampler_new(&opt, &s->sampler);
	if (r < 0)
		return err_set(e, r, "cannot sample: %s", strerror(-r));
	if (s->opt->detail)
		plant_trees(s);
	/* the first look is what the first percentages are measured from */
	r = sampler_sample(s->sampler, clock_boot_ns(), AS_SAMPLE_FIRST, 0, &nowhere);
	return r < 0 ? err_set(e, refusal(r), "cannot take a first sample: %s", strerror(-r)) : 0;
}

int sources_attach(struct sources *s, struct emitter *samples, void (*breathe)(void *context),
		   void *context, struct err *e)
{
	int r;

	s->samples = samples;
	/*
	 * What has been said so far shall be on disk before the long work begins. Under a real-time
	 * policy the writer gets the processor only when this thread gives it up.
	 */
	breathe(context);
	sched_yield();
	if (!s->shared && (s->opt->syscalls || s->opt->offcpu))
		log_warning("no sums of system calls and waits: these need kernel programs");
	for (size_t i = 0; s->shared && i < LOADERS; i++)
		loader_start(s, i);
	/* meanwhile this thread finds out who belongs, and passes on what the process family sees */
	r = seed(s, e);
	if (s->shared)
		loaders_finish(s, breathe, context);
	if (r >= 0 && s->shared)
		r = probe_named_files(s, e);
	if (r < 0)
		return r;
	return open_sampler(s, e);
}

void sources_free(struct sources *s)
{
	if (!s)
		return;
	sampler_free(s->sampler);
	who_free(s->who);
	close_kernel(s);
	procfs_free(s->procfs);
	free(s);
}

struct bpf_shared *sources_shared(const struct sources *s)
{
	return s->shared;
}

/* The stage that asks for sums is there before the family is loaded, and without it. */
static int sums_each(void *source, file_sums_fn *fn, void *ctx)
{
	struct sources *s = source;

	return s->file ? file_source_sums_each(s->file, fn, ctx) : 0;
}

static int sums_read(void *source, const struct as_file_key *key, struct as_file_sums *ret)
{
	struct sources *s = source;

	return s->file ? file_source_sums_read(s->file, key, ret) : -ENOENT;
}

static void sums_remove(void *source, const struct as_file_key *key)
{
	struct sources *s = source;

	if (s->file)
		file_source_sums_remove(s->file, key);
}

static bool sums_alive(void *source, uint32_t tgid)
{
	struct sources *s = source;

	return s->file && file_source_alive(s->file, tgid);
}

struct file_sums_ops sources_file_sums(struct sources *s)
{
	return (struct file_sums_ops){sums_each, sums_read, sums_remove, sums_alive, s};
}

const char *sources_library(void *sources, uint32_t number, uint32_t tgid)
{
	struct sources *s = sources;

	return s->tls ? tls_source_library(s->tls, number, tgid) : NULL;
}

void sources_tables(const struct sources *s, struct table_counts ret[LEDGER_TABLES])
{
	if (s->tls) {
		struct tls_counts tls = tls_source_counts(s->tls);

		ret[TABLE_TLS_FILES] = (struct table_counts){tls.refused, tls.given_back};
	}
	if (s->who)
		ret[TABLE_CGROUPS].refused = who_cgroups_refused(s->who);
	if (s->shared)
		ret[TABLE_CAPABILITIES].refused = bpf_capabilities_refused(s->shared);
}

size_t sources_followed(const struct sources *s)
{
	return s->followed;
}

bool sources_has_members(const struct sources *s)
{
	const struct proc *p = NULL;

	if (s->proc)
		return proc_source_has_members(s->proc);
	while ((p = proc_table_next(s->procs, p))) {
		if (p->followed)
			return true;
	}
	return false;
}

static int follow_given(struct sources *s, uint32_t tgid)
{
	struct emitter nowhere = {discard};
	struct procfs_stat stat;
	struct proc_fact fact;
	struct proc *p;
	int r;

	r = procfs_read_stat(s->procfs, tgid, &stat);
	if (r < 0)
		return r;
	fact = (struct proc_fact){.tgid = tgid,
				  .ppid = stat.ppid,
				  .uid = getuid(),
				  .start_ns = stat.start_ns,
				  .followed = true,
				  .comm = stat.comm};
	p = proc_table_learn(s->procs, &fact);
	if (!p)
		return -ENOMEM;
	s->follow_error = 0;
	found(s, p, AS_PROC_GIVEN);
	if (s->follow_error)
		return s->follow_error;
	if (!s->sampler || !s->opt->detail)
		return 0;
	r = sampler_root(s->sampler, tgid);
	if (r < 0)
		return r;
	/* what it used so far is not the command's */
	return sampler_sample(s->sampler, clock_boot_ns(), AS_SAMPLE_FIRST, 0, &nowhere);
}

int sources_follow(struct sources *s, uint32_t tgid, struct err *e)
{
	int r = follow_given(s, tgid);

	return r < 0 ? err_set(e, refusal(r), "cannot follow the command: %s", strerror(-r)) : 0;
}

void sources_released(struct sources *s, uint64_t boot_ns)
{
	if (s->sampler)
		sampler_released(s->sampler, boot_ns);
}

/* ---- while it runs ---- */

static void process_gone(struct sources *s, const struct as_hdr *h)
{
	if (s->syscalls)
		syscalls_source_exit(s->syscalls, h);
	if (s->offcpu)
		offcpu_source_exit(s->offcpu, h);
}

static void bytes_moved(struct sources *s, const struct as_flow *f)
{
	if (s->sampler)
		sampler_net(s->sampler, f->h.tgid, f->h.start_ns, f->rx_sample_bytes,
			    f->tx_sample_bytes);
}

/* Once; the events of the connections themselves tell which. */
static void kernel_tls_seen(struct sources *s, const struct as_flow *f)
{
	if (!f->ktls || s->ktls_told || !wants(s->opt, SOURCE_TLS))
		return;
	s->ktls_told = true;
	bpf_capability(s->shared, "tls", "kernel TLS", NULL, CAPABILITY_DEGRADED,
		       "what sendfile() sends there is not seen as plaintext; `ktls` marks these "
		       "connections");
}

/* A program whose name was asked for, and that nobody followed has started. */
static void plant_tree(struct sources *s, uint32_t tgid)
{
	struct proc *p;

	if (!s->sampler || !s->opt->detail || !s->opt->n_names)
		return;
	p = proc_table_find(s->procs, tgid);
	if (p && p->followed && !(p->parent && p->parent->followed) && !proc_table_tree(p))
		sampler_root(s->sampler, tgid);
}

/* A process that runs already is called by a name that was asked for: the kernel follows it. */
static void name_taken(struct sources *s, uint32_t tgid)
{
	s->followed++;
	plant_tree(s, tgid);
	ask_who(s, tgid);
	if (!s->tls)
		return;
	tls_source_process(s->tls, tgid);
	s->poll_more = true;
}

/* New libraries may be mapped any moment. */
static void look_for_libraries(struct sources *s)
{
	s->active_ns = clock_boot_ns();
	s->poll_step = 0;
}

void sources_activity(void *sources, const struct event *ev)
{
	struct sources *s = sources;

	switch (ev->rec->type) {
	case AS_EV_EXIT:
		process_gone(s, ev->rec);
		break;
	case AS_EV_FLOW:
	case AS_EV_CLOSE:
		bytes_moved(s, (const void *)ev->rec);
		kernel_tls_seen(s, (const void *)ev->rec);
		break;
	case AS_EV_EXEC:
		plant_tree(s, ev->rec->tgid);
		if (s->tls) {
			tls_source_exec(s->tls, (const void *)ev->rec);
			look_for_libraries(s);
		}
		break;
	case AS_EV_NAMED:
		name_taken(s, ev->rec->tgid);
		break;
	case AS_EV_CONNECT:
	case AS_EV_ACCEPT:
		if (s->tls)
			look_for_libraries(s);
		break;
	}
}

void sources_behind(void *sources, const struct event *ev, struct emitter *out)
{
	struct sources *s = sources;

	if (s->who)
		who_event(s->who, ev, out);
}

int sources_poll_ms(const struct sources *s, uint64_t boot_ns)
{
	uint64_t due;

	if (s->who_more)
		return 0;
	if (!s->tls)
		return -1;
	if (s->poll_more)
		return 0;
	if (tls_source_busy(s->tls)) {
		due = s->polled_ns + FIND_POLL_MS * NSEC_PER_MSEC;
		return due <= boot_ns ? 0 : FIND_POLL_MS;
	}
	if (s->poll_step >= ARRAY_SIZE(poll_plan_ms))
		return -1;
	due = s->active_ns + poll_plan_ms[s->poll_step] * NSEC_PER_MSEC;
	return due <= boot_ns ? 0 : (int)((due - boot_ns) / NSEC_PER_MSEC) + 1;
}

void sources_poll(struct sources *s, uint64_t boot_ns)
{
	if (s->who_more)
		s->who_more = who_tick(s->who, false, s->samples);
	if (!s->tls)
		return;
	s->polled_ns = boot_ns;
	s->poll_more = tls_source_poll(s->tls);
	while (s->poll_step < ARRAY_SIZE(poll_plan_ms) &&
	       s->active_ns + poll_plan_ms[s->poll_step] * NSEC_PER_MSEC <= boot_ns)
		s->poll_step++;
}

void sources_tick(struct sources *s, uint64_t boot_ns)
{
	if (s->proc)
		proc_source_sync_clock(s->proc);
	if (s->net)
		net_source_tick(s->net, boot_ns);
	if (s->tls) {
		tls_source_tick(s->tls, boot_ns);
		s->poll_more |= tls_source_poll(s->tls);
	}
	if (s->syscalls)
		syscalls_source_tick(s->syscalls, boot_ns);
	if (s->offcpu)
		offcpu_source_tick(s->offcpu, boot_ns);
	if (s->who)
		s->who_more = who_tick(s->who, true, s->samples);
	if (s->proc)
		procfs_reap(s->procfs, s->procs, REAP_BUDGET);
}

static void moved(void *sampler, const struct as_moved *m)
{
	sampler_net(sampler, m->tgid, m->start_ns, m->rx_bytes, m->tx_bytes);
}

static void connections_sample(struct sources *s, uint64_t boot_ns, enum as_sample_reason reason)
{
	if (!s->net || (boot_ns - s->moved_ns < MOVED_NS && reason != AS_SAMPLE_LAST))
		return;
	s->moved_ns = boot_ns;
	net_source_moved(s->net, moved, s->sampler);
}

void sources_sample(struct sources *s, uint64_t boot_ns, enum as_sample_reason reason,
		    uint64_t next_ns)
{
	int r = 0;

	if (s->who)
		who_sample(s->who, boot_ns, s->samples);
	if (s->sampler) {
		connections_sample(s, boot_ns, reason);
		r = sampler_sample(s->sampler, boot_ns, reason, next_ns, s->samples);
	}
	if (r < 0 && !s->samples_missing)
		log_warning("at least one sample is not complete: %s", strerror(-r));
	s->samples_missing |= r < 0;
}

void sources_plan(struct sources *s,
		  uint64_t (*plan)(void *ctx, uint64_t boot_ns, const struct sampler_load *load),
		  void *ctx)
{
	if (s->sampler)
		sampler_plan(s->sampler, plan, ctx);
}

void sources_waited(struct sources *s, uint32_t tgid, const struct rusage *used)
{
	if (s->sampler)
		sampler_waited(s->sampler, tgid, used);
}

static void finish_tls(void *context)
{
	struct sources *s = context;

	if (s->tls)
		tls_source_finish(s->tls);
}

void sources_finish(struct sources *s)
{
	if (s->net)
		net_source_finish(s->net);
	if (s->syscalls)
		syscalls_source_finish(s->syscalls);
	if (s->offcpu)
		offcpu_source_finish(s->offcpu);
	/*
	 * Three tracepoints wait for one another; a wait for the probes that had begun before theirs would
	 * come on top.
	 */
	if (s->shared)
		bpf_shared_detach(s->shared, finish_tls, s);
}

uint64_t sources_missed(const struct sources *s)
{
	return s->shared ? bpf_shared_missed(s->shared) : 0;
}
