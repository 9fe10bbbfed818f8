/* SPDX-License-Identifier: MIT */
/*
 * The library: a session that is driven by the caller. What a step of it delivers waits in a queue, and no
 * further step is made before that is empty.
 */
#include <agentsight/agentsight.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "event/schema.h"
#include "event/record.h"
#include "pipeline/session.h"
#include "stats/json.h"
#include "stats/read.h"
#include "stats/stats.h"

#define EXPORT __attribute__((visibility("default")))

#define PSS_INTERVAL_NS (5 * NSEC_PER_SEC)

/* One event in the queue; its line follows, NUL-terminated, up to a multiple of 8 bytes. */
struct item {
	const struct event_desc *desc;
	uint64_t time_ns;
	size_t json_len;
	uint32_t pid;
	bool is_sample;
	struct agentsight_sample sample;
};

struct agentsight {
	struct agentsight_options opt;
	struct session_options session_opt;
	struct session *session; /* NULL: it has ended */
	struct session_result result;
	struct buf queue;
	struct buf summary; /* JSON; at the end what the last event said */
	size_t taken;       /* of the queue */
	bool held;
	bool out_of_memory; /* events were lost by it; told once */
	pid_t pid;
};

/* ---- samples as numbers ---- */

/* Members that the three kinds have by the same names. */
#define SAMPLE_COMMON(x)                                                                         \
	.interval_ns = (x)->interval_ns, .cpu_percent = (x)->cpu_centi / 100.0,                  \
	.cpu_ns = (x)->cpu_ns, .user_ns = (x)->user_ns, .system_ns = (x)->system_ns,             \
	.wait_ns = (x)->wait_ns, .read_bytes = (x)->read_bytes, .write_bytes = (x)->write_bytes, \
	.minor_faults = (x)->minor_faults, .major_faults = (x)->major_faults,                    \
	.voluntary_switches = (x)->voluntary, .involuntary_switches = (x)->involuntary

/* And those that a thread has not. */
#define SAMPLE_OF_PROCESSES(x)                                                                   \
	SAMPLE_COMMON(x), .threads = (x)->threads, .rss_kb = (x)->rss_kb, .pss_kb = (x)->pss_kb, \
			  .uss_kb = (x)->uss_kb, .swap_kb = (x)->swap_kb, .vsz_kb = (x)->vsz_kb, \
			  .rchar = (x)->rchar, .wchar = (x)->wchar, .syscr = (x)->syscr,         \
			  .syscw = (x)->syscw, .rx_bytes = (x)->rx_bytes,                        \
			  .tx_bytes = (x)->tx_bytes

static void sample_of_metrics(const struct event *ev, struct agentsight_sample *s)
{
	const struct as_system_metrics *m = (const void *)ev->rec;

	*s = (struct agentsight_sample){
		SAMPLE_OF_PROCESSES(m),
		.processes = 1,
		.peak_kb = m->peak_kb,
	};
	if (m->read_bytes == AS_UNKNOWN)
		s->read_bytes = s->write_bytes = 0;
}

static void sample_of_tree(const struct event *ev, struct agentsight_sample *s)
{
	const struct as_system_tree *t = (const void *)ev->rec;

	*s = (struct agentsight_sample){SAMPLE_OF_PROCESSES(t), .processes = t->processes};
}

static void sample_of_thread(const struct event *ev, struct agentsight_sample *s)
{
	const struct as_system_thread *t = (const void *)ev->rec;

	*s = (struct agentsight_sample){
		SAMPLE_COMMON(t),
		.tid = t->tid,
		.processes = 1,
		.threads = 1,
	};
}

static bool sample_of(const struct event *ev, struct agentsight_sample *s)
{
	static void (*const makers[AS_EV_COUNT])(const struct event *,
						 struct agentsight_sample *) = {
		[AS_EV_SYSTEM_METRICS] = sample_of_metrics,
		[AS_EV_SYSTEM_TREE] = sample_of_tree,
		[AS_EV_SYSTEM_THREAD] = sample_of_thread,
	};

	if (!makers[ev->desc->type])
		return false;
	makers[ev->desc->type](ev, s);
	s->size = sizeof(*s);
	s->pid = ev->rec->tgid;
	s->time_ns = ev->unix_ns;
	return true;
}

/* ---- the queue ---- */

static size_t line_room(size_t len)
{
	return (len + 1 + 7) & ~(size_t)7;
}

static void keep_summary(struct agentsight *a, const struct as_summary *s)
{
	buf_reset(&a->summary);
	buf_add(&a->summary, record_bytes(&s->h, &s->summary), s->summary.len);
}

static void queue_event(void *context, const struct event *ev, const char *line, size_t len)
{
	struct agentsight *a = context;
	struct item item = {
		.desc = ev->desc,
		.time_ns = ev->unix_ns,
		.json_len = len,
		.pid = ev->rec->tgid,
	};

	item.is_sample = sample_of(ev, &item.sample);
	if (ev->desc->type == AS_EV_SUMMARY)
		keep_summary(a, (const void *)ev->rec);
	if (!buf_room(&a->queue, sizeof(item) + line_room(len))) {
		a->out_of_memory = true;
		a->queue.failed = false;
		return;
	}
	buf_add(&a->queue, &item, sizeof(item));
	memcpy(a->queue.data + a->queue.len, line, len);
	memset(a->queue.data + a->queue.len + len, 0, line_room(len) - len);
	a->queue.len += line_room(len);
}

static bool queue_take(struct agentsight *a, struct agentsight_event *ret)
{
	const struct item *item = (const void *)(a->queue.data + a->taken);
	struct agentsight_event ev = {.size = ret->size};

	if (a->taken == a->queue.len) {
		buf_reset(&a->queue);
		a->taken = 0;
		return false;
	}
	ev.pid = item->pid;
	ev.time_ns = item->time_ns;
	ev.source = item->desc->source;
	ev.type = item->desc->name;
	ev.json = (const char *)(item + 1);
	ev.json_len = item->json_len;
	ev.sample = item->is_sample ? &item->sample : NULL;
	a->taken += sizeof(*item) + line_room(item->json_len);
	memcpy(ret, &ev, MIN((size_t)ret->size, sizeof(ev)));
	return true;
}

/* ---- opening ---- */

/* The reader of recordings keeps a table of its own. */
static pthread_mutex_t reading = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;
static int tables_error;

/* Constant from here on. */
static void tables_init(void)
{
	log_setup(LOG_NOTHING, false);
	tables_error = schema_init();
}

static size_t list_length(const char *const *list)
{
	size_t n = 0;

	while (list && list[n])
		n++;
	return n;
}

static int choose_format(struct agentsight *a, struct err *e)
{
	const char *format = a->opt.format ? a->opt.format : "agentsight";

	if (!strcmp(format, "denet"))
		a->session_opt.format = FORMAT_DENET;
	else if (strcmp(format, "agentsight") != 0)
		return err_set(e, -EINVAL, "unknown format '%s': agentsight or denet", format);
	return 0;
}

static int choose_pace(struct agentsight *a, struct err *e)
{
	static const enum pace_mode modes[] = {
		[AGENTSIGHT_PACE_TIME] = PACE_TIME,
		[AGENTSIGHT_PACE_ACTIVITY] = PACE_ACTIVITY,
		[AGENTSIGHT_PACE_FIXED] = PACE_FIXED,
	};
	struct pace *p = &a->session_opt.pace;

	if (a->opt.pace >= ARRAY_SIZE(modes))
		return err_set(e, -EINVAL, "unknown pace %u", a->opt.pace);
	*p = (struct pace){modes[a->opt.pace], a->opt.interval_ns, a->opt.max_interval_ns};
	pace_complete(p, a->opt.flags & AGENTSIGHT_NO_POLLING);
	if (p->base_ns < NSEC_PER_MSEC || p->max_ns < p->base_ns)
		return err_set(e, -EINVAL,
			       "the interval must be 1 ms or more, and not above its maximum");
	a->session_opt.interval_ns = p->max_ns;
	return 0;
}

static unsigned choose_sources(uint32_t flags)
{
	unsigned sources = SOURCE_SYSTEM;

	if (flags & AGENTSIGHT_NO_KERNEL)
		return sources;
	sources |= SOURCE_PROCESS | SOURCE_NETWORK;
	if (flags & AGENTSIGHT_FILES)
		sources |= SOURCE_FILES;
	if (flags & AGENTSIGHT_TLS)
		sources |= SOURCE_TLS;
	return sources;
}

static int choose(struct agentsight *a, struct err *e)
{
	struct session_options *s = &a->session_opt;
	uint32_t flags = a->opt.flags;
	int r;

	*s = (struct session_options){
		.sources = choose_sources(flags),
		.no_children = flags & AGENTSIGHT_NO_CHILDREN,
		.detail = true,
		.threads = flags & AGENTSIGHT_THREADS,
		.syscalls = flags & AGENTSIGHT_SYSCALLS,
		.offcpu = flags & AGENTSIGHT_OFFCPU,
		.gpu = flags & AGENTSIGHT_GPU,
		.pressure = flags & AGENTSIGHT_PRESSURE,
		.statistics = true,
		.since_start = flags & AGENTSIGHT_SINCE_START,
		.no_kernel = flags & AGENTSIGHT_NO_KERNEL,
		.forced_samples = !(flags & AGENTSIGHT_NO_POLLING),
		.pss_interval_ns =
			a->opt.pss_interval_ns ? a->opt.pss_interval_ns : PSS_INTERVAL_NS,
		.output = a->opt.output,
		.no_output = !a->opt.output,
		.filter = a->opt.filter,
		.alerts = (char **)a->opt.alerts,
		.n_alerts = list_length(a->opt.alerts),
		.env_names = (char **)a->opt.env,
		.n_env_names = list_length(a->opt.env),
		.best_effort = true,
		.embedded = true,
		.observer = queue_event,
		.observer_context = a,
		.files = {.out = a->opt.stdout_fd, .err = a->opt.stderr_fd},
	};
	r = choose_pace(a, e);
	return r < 0 ? r : choose_format(a, e);
}

static int object_new(const struct agentsight_options *opt, struct agentsight **ret, struct err *e)
{
	struct agentsight *a;

	pthread_once(&tables_once, tables_init);
	if (tables_error < 0)
		return err_set(e, tables_error, "not enough memory");
	if (opt && (opt->size < sizeof(opt->size) || opt->size > 4096))
		return err_set(e, -EINVAL, "the options do not say how long they are");
	a = calloc(1, sizeof(*a));
	if (!a)
		return err_set(e, -ENOMEM, "not enough memory");
	/* what an older caller does not know is zero */
	if (opt)
		memcpy(&a->opt, opt, MIN((size_t)opt->size, sizeof(a->opt)));
	*ret = a;
	return 0;
}

/* The caller's words, since `struct err` is ours. */
static int tell(int r, const struct err *e, char *error, size_t error_len)
{
	if (error && error_len)
		snprintf(error, error_len, "%s", e->text[0] ? e->text : strerror(-r));
	return r;
}

static void free_pids(struct agentsight *a)
{
	free(a->session_opt.pids);
	a->session_opt.pids = NULL;
}

static void object_free(struct agentsight *a)
{
	if (a->session)
		session_close(a->session, &a->result);
	if (a->session_opt.command) {
		for (size_t i = 0; a->session_opt.command[i]; i++)
			free(a->session_opt.command[i]);
		free(a->session_opt.command);
	}
	free_pids(a);
	buf_done(&a->queue);
	buf_done(&a->summary);
	free(a);
}

static int copy_command(struct agentsight *a, char *const argv[])
{
	size_t n = list_length((const char *const *)argv);
	char **copy = calloc(n + 1, sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	a->session_opt.command = copy;
	for (size_t i = 0; i < n; i++) {
		copy[i] = strdup(argv[i]);
		if (!copy[i])
			return -ENOMEM;
	}
	return 0;
}

static int start(struct agentsight *a, char *const argv[], struct err *e)
{
	int r;

	if (!argv || !argv[0])
		return err_set(e, -EINVAL, "no command");
	r = choose(a, e);
	if (r < 0)
		return r;
	a->session_opt.since_start = true;
	r = copy_command(a, argv);
	if (r < 0)
		return err_set(e, r, "not enough memory");
	r = session_open(&a->session_opt, &a->session, e);
	if (r < 0)
		return r;
	a->pid = session_command_pid(a->session);
	a->held = a->opt.flags & AGENTSIGHT_HOLD;
	return a->held ? 0 : session_start(a->session, e);
}

EXPORT int agentsight_start(const struct agentsight_options *opt, char *const argv[],
			    struct agentsight **ret, char *error, size_t error_len)
{
	struct agentsight *a;
	struct err e = {};
	int r = object_new(opt, &a, &e);

	if (r < 0)
		return tell(r, &e, error, error_len);
	r = start(a, argv, &e);
	if (r < 0) {
		object_free(a);
		return tell(r, &e, error, error_len);
	}
	*ret = a;
	return 0;
}

static int attach(struct agentsight *a, const pid_t *pids, size_t n, struct err *e)
{
	int r;

	if (!n)
		return err_set(e, -EINVAL, "no process");
	r = choose(a, e);
	if (r < 0)
		return r;
	a->session_opt.pids = calloc(n, sizeof(*a->session_opt.pids));
	if (!a->session_opt.pids)
		return err_set(e, -ENOMEM, "not enough memory");
	for (size_t i = 0; i < n; i++) {
		if (pids[i] <= 0)
			return err_set(e, -EINVAL, "%d is no process id", (int)pids[i]);
		a->session_opt.pids[i] = pids[i];
	}
	a->session_opt.n_pids = n;
	a->session_opt.end_with_pids = true;
	a->pid = pids[0];
	return session_open(&a->session_opt, &a->session, e);
}

EXPORT int agentsight_attach(const struct agentsight_options *opt, const pid_t *pids, size_t n,
			     struct agentsight **ret, char *error, size_t error_len)
{
	struct agentsight *a;
	struct err e = {};
	int r = object_new(opt, &a, &e);

	if (r < 0)
		return tell(r, &e, error, error_len);
	r = attach(a, pids, n, &e);
	if (r < 0) {
		object_free(a);
		return tell(r, &e, error, error_len);
	}
	*ret = a;
	return 0;
}

EXPORT int agentsight_release(struct agentsight *a, char *error, size_t error_len)
{
	struct err e = {};
	int r = 0;

	if (a->session && a->held)
		r = session_start(a->session, &e);
	a->held = false;
	return r < 0 ? tell(r, &e, error, error_len) : 0;
}

/* ---- while it runs ---- */

static void end(struct agentsight *a)
{
	session_close(a->session, &a->result);
	a->session = NULL;
}

EXPORT int agentsight_next(struct agentsight *a, int timeout_ms, struct agentsight_event *ret)
{
	uint64_t until = clock_boot_ns() + (uint64_t)MAX(timeout_ms, 0) * NSEC_PER_MSEC;

	for (;;) {
		int wait_ms = timeout_ms;
		uint64_t now;

		if (queue_take(a, ret))
			return 1;
		if (a->out_of_memory) {
			a->out_of_memory = false;
			return -ENOMEM;
		}
		if (!a->session)
			return -ENODATA;
		now = clock_boot_ns();
		if (timeout_ms >= 0)
			wait_ms = now < until ? (int)((until - now) / NSEC_PER_MSEC) + 1 : 0;
		if (!session_step(a->session, wait_ms))
			end(a);
		else if (a->queue.len)
			session_kick(a->session); /* one may be taken, and the others polled for */
		else if (timeout_ms >= 0 && clock_boot_ns() >= until)
			return 0;
	}
}

EXPORT int agentsight_fd(const struct agentsight *a)
{
	return a->session ? session_fd(a->session) : -1;
}

EXPORT int agentsight_sample(struct agentsight *a)
{
	if (!a->session)
		return -ESHUTDOWN;
	session_sample(a->session);
	return 0;
}

EXPORT void agentsight_stop(struct agentsight *a)
{
	if (a->session)
		session_stop(a->session, "stopped");
}

EXPORT pid_t agentsight_pid(const struct agentsight *a)
{
	return a->pid;
}

EXPORT int agentsight_status(const struct agentsight *a, int *status)
{
	if (a->session || !a->result.command_ended)
		return 0;
	if (a->result.status_unknown)
		return -ECHILD;
	*status = a->result.command_status;
	return 1;
}

EXPORT const char *agentsight_summary(struct agentsight *a)
{
	if (a->session) {
		buf_reset(&a->summary);
		session_statistics(a->session, &a->summary);
	}
	return a->summary.failed ? NULL : buf_cstr(&a->summary);
}

EXPORT int agentsight_summary_of_file(const char *path, char **ret, char *error, size_t error_len)
{
	_cleanup_(stats_freep) struct stats *s = NULL;
	_cleanup_(buf_done) struct buf json = {};
	struct stats_input input;
	struct err e = {};
	char *paths[] = {(char *)path};
	int r;

	pthread_once(&tables_once, tables_init);
	r = tables_error < 0 ? tables_error : stats_new(&s);
	if (r >= 0) {
		pthread_mutex_lock(&reading);
		r = stats_read(s, paths, 1, &input, &e);
		pthread_mutex_unlock(&reading);
	}
	if (r < 0)
		return tell(r, &e, error, error_len);
	stats_json(&json, s, &input, STATS_LISTED);
	*ret = json.failed ? NULL : strdup(buf_cstr(&json));
	return *ret ? 0 : tell(-ENOMEM, &e, error, error_len);
}

EXPORT void agentsight_free(struct agentsight *a)
{
	if (a)
		object_free(a);
}

EXPORT const char *agentsight_version(void)
{
	return AGENTSIGHT_VERSION;
}
