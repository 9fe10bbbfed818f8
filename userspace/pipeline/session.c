/* SPDX-License-Identifier: MIT */
#include "pipeline/session.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "enrich/proc_table.h"
#include "event/record.h"
#include "pipeline/chain.h"
#include "pipeline/child.h"
#include "pipeline/ledger.h"
#include "pipeline/sampling.h"
#include "pipeline/sources.h"
#include "pipeline/trust.h"
#include "priv/output.h"
#include "source/order.h"
#include "source/procfs.h"
#include "source/ring.h"
#include "stage/filter.h"
#include "stage/select.h"

#define COALESCE_MS 10 /* between two looks at the rings while events keep coming */
#define COALESCE_FILE_MS \
	100                /* the same when nobody watches and no event makes us attach anything */
#define STATS_TICKS   60   /* seconds between two `stats` events */
#define KILL_AFTER_MS 5000 /* from SIGTERM to SIGKILL, for a command whose time is over */
#define KILLED_MS     1000 /* how long its end is waited for then; a device may hold it */
#define STALL_MS      5000 /* how long the end waits for an output that takes nothing */

enum descriptor {
	FD_RING_EVENTS,
	FD_RING_DATA,
	FD_SIGNAL,
	FD_TICK,
	FD_SAMPLE,
	FD_DURATION,
	FD_CHILD,
	FD_CLOSED,
	FD_KICK, /* embedded: when the caller's loop is to step although nothing came */
	FD_COUNT,
	FD_PIDS = FD_COUNT, /* and behind it: processes whose end is waited for */
};

struct session {
	const struct session_options *opt;
	struct filter *filter;
	struct proc_table *procs;
	struct sources *sources;
	struct chain *chain;
	struct order *order;
	struct ring *rings[2];
	struct child child;
	struct child_end end;
	_Atomic bool closed; /* nobody reads the output any more */
	int *pid_fds;        /* of those that were asked for; -1: it has ended */
	size_t pids_left;
	volatile struct as_shared *doorbell; /* NULL without kernel programs */
	int epoll_fd;
	int fds[FD_COUNT]; /* of which the rings' are borrowed */
	uint64_t start_ns;
	struct ledger reported;       /* what loss events have said */
	uint64_t unmade[AS_EV_COUNT]; /* records for which there was no memory */
	unsigned ticks;
	size_t capabilities_said;
	int coalesce_ms;
	const char *stop_reason; /* not NULL: end */
	bool failed;             /* it could not begin: there is nothing to sum up */
	struct session_result result;
	struct sampling sampling;
	uint64_t next_ns;         /* from the sample that is being taken */
	uint64_t sample_armed_ns; /* what its timer is set to */
};

/* ---- what the run says of itself ---- */

static void read_boot_id(char id[64])
{
	_cleanup_(fclosep) FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (!f || !fgets(id, 64, f))
		id[0] = '\0';
	id[strcspn(id, "\n")] = '\0';
}

static void emit_start(struct session *s)
{
	_cleanup_(buf_done) struct buf b = {};
	struct as_span version, kernel, boot_id, argv;
	struct utsname uts;
	char id[64];
	size_t at;

	uname(&uts);
	read_boot_id(id);
	record_begin_own(&b, AS_EV_START, s->start_ns);
	version = record_add_str(&b, AGENTSIGHT_VERSION);
	kernel = record_add_str(&b, uts.release);
	boot_id = record_add_str(&b, id);
	at = b.len;
	for (int i = 0; i < s->opt->argc; i++)
		buf_add(&b, s->opt->argv[i], strlen(s->opt->argv[i]) + 1);
	argv = (struct as_span){at, b.len - at, b.len - at};
	if (!record_made(&b, AS_EV_START))
		return;
	record_struct(&b, as_start)->version = version;
	record_struct(&b, as_start)->kernel = kernel;
	record_struct(&b, as_start)->boot_id = boot_id;
	record_struct(&b, as_start)->argv = argv;
	record_emit(&b, AS_EV_START, order_input(s->order));
}

static void emit_capability(const struct capability *c, struct emitter *out)
{
	_cleanup_(buf_done) struct buf b = {};
	struct as_span family, hook, mechanism, reason;

	record_begin_own(&b, AS_EV_CAPABILITY, clock_boot_ns());
	family = record_add_str(&b, c->family);
	hook = record_add_str(&b, c->hook);
	mechanism = record_add_str(&b, c->mechanism ? c->mechanism : "");
	reason = record_add_str(&b, c->reason);
	if (!record_made(&b, AS_EV_CAPABILITY))
		return;
	record_struct(&b, as_capability)->family = family;
	record_struct(&b, as_capability)->hook = hook;
	record_struct(&b, as_capability)->mechanism = mechanism;
	record_struct(&b, as_capability)->reason = reason;
	record_struct(&b, as_capability)->state = c->state;
	record_emit(&b, AS_EV_CAPABILITY, out);
}

/* Those that were recorded since the last time. */
static void emit_capabilities(struct session *s, struct emitter *out)
{
	struct bpf_shared *shared = sources_shared(s->sources);
	const struct capability *all;
	size_t n;

	if (!shared)
		return;
	all = bpf_capabilities(shared, &n);
	for (; s->capabilities_said < n; s->capabilities_said++)
		emit_capability(&all[s->capabilities_said], out);
	s->capabilities_said = bpf_capabilities_told(shared, n);
}

/* ---- the ledger ---- */

static void take_ledger(struct session *s, struct ledger *ret)
{
	uint64_t shed[AS_EV_COUNT];
	struct writer_counts written;
	struct ledger_inputs in = {
		.shared = sources_shared(s->sources),
		.missed = sources_missed(s->sources),
		.order = order_counts(s->order),
		.late = chain_late(s->chain),
		.entered = chain_entered(s->chain),
		.arrived = chain_arrived(s->chain),
		.filtered = chain_filtered(s->chain),
		.shed = shed,
		.written = &written,
	};

	chain_shed(s->chain, shed);
	record_take_unmade(s->unmade);
	for (unsigned type = 0; type < AS_EV_COUNT; type++)
		shed[type] += s->unmade[type];
	chain_written(s->chain, &written);
	in.tables[TABLE_PROCESSES].refused = proc_table_refused(s->procs);
	chain_tables(s->chain, in.tables);
	sources_tables(s->sources, in.tables);
	ledger_take(&in, ret);
}

static void report_losses(struct session *s, struct emitter *to)
{
	struct ledger now;

	take_ledger(s, &now);
	ledger_emit_losses(&s->reported, &now, to);
	s->reported = now;
}

/* Who asks may look at our memory next: what is in it then is in use. */
static void report_stats(struct session *s)
{
	struct ledger now;

	chain_trim(s->chain);
	memory_trim();
	take_ledger(s, &now);
	ledger_emit_totals(&now, AS_EV_STATS, NULL, s->start_ns, order_input(s->order));
}

/* ---- samples ---- */

static void timer_set(int fd, uint64_t at_boot_ns)
{
	uint64_t at_ns = at_boot_ns + (uint64_t)clock_boot_added_ns;
	struct itimerspec spec = {.it_value = {at_ns / NSEC_PER_SEC, at_ns % NSEC_PER_SEC}};

	timerfd_settime(fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

static void sample_arm(struct session *s)
{
	if (s->fds[FD_SAMPLE] < 0 || s->sample_armed_ns == s->sampling.due_ns)
		return;
	s->sample_armed_ns = s->sampling.due_ns;
	timer_set(s->fds[FD_SAMPLE], s->sample_armed_ns);
}

/* The sample that is being taken shows how much moves, and so when the next one is due. */
static uint64_t sample_plan(void *context, uint64_t boot_ns, const struct sampler_load *load)
{
	struct session *s = context;

	sampling_load(&s->sampling, load);
	s->next_ns = sampling_next(&s->sampling, boot_ns, chain_alert_nearness(s->chain));
	return s->next_ns;
}

static void sample_now(struct session *s, bool requested)
{
	enum as_sample_reason reason;
	uint64_t now;

	/* who has ended by now is to be counted as ended: what it used belongs to this interval */
	order_drain(s->order, clock_boot_ns() - ORDER_WINDOW_NS);
	now = clock_boot_ns();
	/* what has been drained may have a process in it that this sample is for */
	reason = requested ? AS_SAMPLE_REQUEST : s->sampling.reason;
	s->next_ns = sampling_next(&s->sampling, now, chain_alert_nearness(s->chain));
	sources_sample(s->sources, now, reason, s->next_ns);
	sampling_taken(&s->sampling, now, s->next_ns);
}

/* With all that the processes had done until now, those that ended included. */
static void sample_last(struct session *s)
{
	order_drain(s->order, UINT64_MAX);
	sources_sample(s->sources, clock_boot_ns(), AS_SAMPLE_LAST, 0);
}

/* ---- opening ---- */

static int compile_filter(struct session *s, struct err *e)
{
	struct filter_error fe;
	int r;

	if (!s->opt->filter)
		return 0;
	r = filter_compile(s->opt->filter, select_schema(), &s->filter, &fe);
	if (r == -ENOMEM)
		return err_set(e, r, "not enough memory for the filter");
	if (r < 0) {
		if (s->opt->embedded)
			return err_set(e, -EINVAL, "filter, character %zu: %s", fe.column, fe.msg);
		filter_error_print(stderr, s->opt->filter, &fe);
		return err_set(e, -EINVAL, "the filter expression cannot be used");
	}
	return 0;
}

static void output_closed(void *context)
{
	struct session *s = context;
	uint64_t one = 1;

	s->closed = true;
	if (write(s->fds[FD_CLOSED], &one, sizeof(one)) < 0)
		log_debug("cannot tell the loop: %s", strerror(errno));
}

static void output_opened(void *context)
{
	struct session *s = context;

	s->closed = false;
}

static void activity(void *context, const struct event *ev)
{
	struct session *s = context;

	sources_activity(s->sources, ev);
	if (s->fds[FD_SAMPLE] >= 0)
		sampling_event(&s->sampling, ev);
}

static void behind(void *context, const struct event *ev, struct emitter *out)
{
	struct session *s = context;

	sources_behind(s->sources, ev, out);
}

static const char *library_name(void *context, uint32_t number, uint32_t tgid)
{
	struct session *s = context;

	return sources_library(s->sources, number, tgid);
}

static void alert_started(void *context)
{
	struct session *s = context;

	sampling_force(&s->sampling, AS_SAMPLE_ALERT);
}

static int open_chain(struct session *s, struct err *e)
{
	struct file_sums_ops sums = sources_file_sums(s->sources);
	struct chain_options opt = {
		.session = s->opt,
		.filter = s->filter,
		.procs = s->procs,
		.no_kernel = !sources_shared(s->sources),
		.file_sums = s->opt->sources & SOURCE_FILES ? &sums : NULL,
		.on_activity = activity,
		.on_behind = behind,
		.on_alert = alert_started,
		.library_name = library_name,
		.context = s,
		.on_closed = output_closed,
		.on_opened = output_opened,
	};

	return chain_open(&opt, &s->chain, e);
}

static int open_rings(struct session *s, struct err *e)
{
	struct bpf_shared *shared = sources_shared(s->sources);
	/* of payload programs reserve one piece at a time */
	const size_t longest[2] = {AS_RECORD_MAX, sizeof(struct as_ssl_data) + AS_CHUNK_MAX};
	size_t sizes[2];
	int r;

	if (!shared)
		return 0;
	s->fds[FD_RING_EVENTS] = bpf_shared_ring_events(shared);
	s->fds[FD_RING_DATA] = bpf_shared_ring_data(shared);
	s->doorbell = bpf_shared_memory(shared);
	sizes[0] = bpf_shared_ring_events_size(shared);
	sizes[1] = bpf_shared_ring_data_size(shared);
	for (size_t i = 0; i < 2; i++) {
		r = ring_open(s->fds[FD_RING_EVENTS + i], sizes[i], longest[i], &s->rings[i]);
		if (r < 0)
			return err_set(e, r, "cannot map a ring buffer of %zu MiB: %s",
				       sizes[i] >> 20, strerror(-r));
		order_add_ring(s->order, s->rings[i], sizes[i]);
	}
	return 0;
}

static int add_fd(struct session *s, enum descriptor which, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.u32 = which};

	if (s->fds[which] < 0)
		return 0;
	return epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->fds[which], &ev) < 0 ? -errno : 0;
}

static int timer_open(uint64_t first_ns, uint64_t every_ns, int *ret_fd)
{
	struct itimerspec spec = {
		.it_value = {first_ns / NSEC_PER_SEC, first_ns % NSEC_PER_SEC},
		.it_interval = {every_ns / NSEC_PER_SEC, every_ns % NSEC_PER_SEC},
	};
	_cleanup_(closep) int fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);

	if (fd < 0 || timerfd_settime(fd, 0, &spec, NULL) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* What a run would go on without: none of them is optional once it is asked for. */
static int open_timers(struct session *s)
{
	const struct {
		enum descriptor which;
		bool wanted;
		uint64_t first_ns, every_ns;
	} timers[] = {
		{FD_TICK, true, NSEC_PER_SEC, NSEC_PER_SEC},
		{FD_SAMPLE, s->opt->sources & SOURCE_SYSTEM, 0, 0},
		{FD_KICK, s->opt->embedded, 0, 0},
		{FD_DURATION, s->opt->duration_ns > 0, s->opt->duration_ns, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(timers); i++) {
		int r = 0;

		if (timers[i].wanted)
			r = timer_open(timers[i].first_ns, timers[i].every_ns,
				       &s->fds[timers[i].which]);
		if (r < 0)
			return r;
	}
	return 0;
}

static bool is_ignored(int signo)
{
	struct sigaction action;

	return sigaction(signo, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

static int open_signals(struct session *s)
{
	sigset_t set;

	if (s->opt->embedded)
		return 0;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	/* it opens a file again; the end of a terminal ends what is shown there, but not under nohup(1) */
	if (s->opt->output || !is_ignored(SIGHUP))
		sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	if (s->opt->command_first)
		sigaddset(&set, SIGQUIT);
	signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	s->fds[FD_SIGNAL] = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->fds[FD_SIGNAL] < 0 ? -errno : 0;
}

/* To be told when they have ended. One that is gone already has ended. */
static int add_pids(struct session *s)
{
	size_t n = s->opt->n_pids;

	s->pid_fds = malloc((n ? n : 1) * sizeof(*s->pid_fds));
	if (!s->pid_fds)
		return -ENOMEM;
	memset(s->pid_fds, -1, n * sizeof(*s->pid_fds));
	for (size_t i = 0; i < n; i++) {
		struct epoll_event ev = {.events = EPOLLIN, .data.u32 = FD_PIDS + i};

		s->pid_fds[i] = syscall(SYS_pidfd_open, s->opt->pids[i], 0);
		if (s->pid_fds[i] < 0 && errno != ESRCH)
			return -errno;
		if (s->pid_fds[i] < 0)
			continue;
		if (epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->pid_fds[i], &ev) < 0)
			return -errno;
		s->pids_left++;
	}
	if (!s->pids_left)
		s->stop_reason = "processes ended";
	return 0;
}

static int open_loop(struct session *s, struct err *e)
{
	int r;

	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll_fd < 0)
		return err_set(e, -errno, "cannot make an epoll descriptor: %s", strerror(errno));
	r = open_timers(s);
	if (r < 0)
		return err_set(e, r, "cannot make a timer: %s", strerror(-r));
	if (s->fds[FD_SAMPLE] >= 0)
		sampling_begin(&s->sampling, &s->opt->pace, s->opt->forced_samples, s->start_ns,
			       clock_boot_ns());
	s->fds[FD_CHILD] = s->child.pid ? s->child.pid_fd : -1;

	/* edge-triggered: a ring that holds records shall not end the wait for more of them */
	r = add_fd(s, FD_RING_EVENTS, EPOLLIN | EPOLLET);
	if (r >= 0)
		r = add_fd(s, FD_RING_DATA, EPOLLIN | EPOLLET);
	for (enum descriptor i = FD_SIGNAL; r >= 0 && i < FD_COUNT; i++)
		r = add_fd(s, i, EPOLLIN);
	if (r >= 0 && s->opt->end_with_pids)
		r = add_pids(s);
	return r < 0 ? err_set(e, r, "cannot set up the loop: %s", strerror(-r)) : 0;
}

/* ---- the loop ---- */

/*
 * A signal for the command: from the terminal it got it itself, with its whole process group; one that
 * was sent to us alone is passed on. Whoever sent it wants an end, if need be ours alone.
 */
static void pass_signal(struct session *s, const struct signalfd_siginfo *info)
{
	int r = 0;

	if (info->ssi_code != SI_KERNEL)
		r = child_signal(&s->child, info->ssi_signo);
	if (r < 0) {
		log_warning("a signal cannot be passed on to the command: %s", strerror(-r));
		s->stop_reason = "terminated";
	}
	if (info->ssi_signo == SIGINT)
		s->result.interrupted = true;
}

static void on_signal(struct session *s)
{
	struct signalfd_siginfo info;

	while (read(s->fds[FD_SIGNAL], &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGHUP && s->opt->output)
			chain_reopen(s->chain);
		else if (info.ssi_signo == SIGUSR1)
			report_stats(s);
		else if (s->opt->command_first)
			pass_signal(s, &info);
		else
			s->stop_reason = info.ssi_signo == SIGINT ? "interrupted" : "terminated";
		s->result.interrupted |= info.ssi_signo == SIGINT;
	}
}

static uint64_t timer_read(int fd)
{
	uint64_t times;

	return read(fd, &times, sizeof(times)) == sizeof(times) ? times : 0;
}

static void on_tick(struct session *s)
{
	uint64_t now = clock_boot_ns();

	timer_read(s->fds[FD_TICK]);
	clock_sync();
	sources_tick(s->sources, now);
	/*
	 * What lies in the rings came before: to stages that wait for it, it is not missing. And what they tell is not
	 * to be younger than what follows.
	 */
	chain_tick(s->chain, order_drain(s->order, now - ORDER_WINDOW_NS));
	emit_capabilities(s, order_input(s->order));
	report_losses(s, order_input(s->order));
	if (s->opt->end_with_members && !sources_has_members(s->sources))
		s->stop_reason = "processes ended";
	if (++s->ticks % STATS_TICKS == 0)
		report_stats(s);
}

static void on_duration(struct session *s)
{
	timer_read(s->fds[FD_DURATION]);
	s->result.timed_out = true;
	s->stop_reason = "duration";
}

/* Has the command ended? Then what it used is known, too. */
static bool command_ended(struct session *s)
{
	if (s->end.ended)
		return true;
	child_look(&s->child, &s->end);
	if (s->end.ended && !s->end.unknown)
		sources_waited(s->sources, s->child.pid, &s->end.used);
	return s->end.ended;
}

static void on_child(struct session *s)
{
	command_ended(s);
	s->stop_reason = "command ended";
}

static void on_pid(struct session *s, size_t i)
{
	epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, s->pid_fds[i], NULL);
	closep(&s->pid_fds[i]);
	s->pid_fds[i] = -1;
	if (--s->pids_left == 0)
		s->stop_reason = "processes ended";
}

/* A command of `run` is not ended because nobody reads of it any more; SIGHUP may find somebody who does. */
static void on_closed(struct session *s)
{
	eventfd_t times;

	if (s->opt->command_first && s->child.pid) {
		eventfd_read(s->fds[FD_CLOSED], &times);
		log_debug("nobody reads the output any more; the command goes on");
	} else {
		s->stop_reason = "output closed";
	}
}

static void handle(struct session *s, unsigned which)
{
	if (which >= FD_PIDS) {
		on_pid(s, which - FD_PIDS);
		return;
	}
	switch ((enum descriptor)which) {
	case FD_RING_EVENTS:
	case FD_RING_DATA:
		break; /* the rings are looked at after every wait */
	case FD_SIGNAL:
		on_signal(s);
		break;
	case FD_TICK:
		on_tick(s);
		break;
	case FD_SAMPLE:
		timer_read(s->fds[FD_SAMPLE]);
		sample_now(s, false);
		break;
	case FD_DURATION:
		on_duration(s);
		break;
	case FD_CHILD:
		on_child(s);
		break;
	case FD_CLOSED:
		on_closed(s);
		break;
	case FD_KICK:
		timer_read(s->fds[FD_KICK]);
		break;
	case FD_COUNT:
		break;
	}
}

/*
 * How long to wait. While events come, a few milliseconds, so that many are taken at once; only a
 * ring that fills up ends this wait early. With nothing on its way, until the doorbell rings: the
 * first record after `armed` was set wakes us, and one that slipped in before is seen by the second look.
 */
static int wait_ms(struct session *s)
{
	int due = sources_poll_ms(s->sources, clock_boot_ns());

	if (!order_idle(s->order)) {
		if (s->doorbell)
			s->doorbell->urgent = 1;
		return s->coalesce_ms;
	}
	if (!s->doorbell)
		return due;
	s->doorbell->armed = 1;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!order_idle(s->order)) {
		s->doorbell->armed = 0;
		return s->coalesce_ms;
	}
	return due;
}

/* Whoever waits with a poll of its own is woken for all that session_step() would wake up for. */
static void prepare_poll(struct session *s)
{
	int due;

	sample_arm(s);
	due = wait_ms(s);
	if (due >= 0)
		timer_set(s->fds[FD_KICK], clock_boot_ns() + due * NSEC_PER_MSEC + 1);
}

void session_kick(struct session *s)
{
	if (s->fds[FD_KICK] >= 0)
		timer_set(s->fds[FD_KICK], clock_boot_ns());
}

bool session_step(struct session *s, int timeout_ms)
{
	struct epoll_event ready[FD_COUNT];
	uint64_t now;
	int due, n;

	sample_arm(s);
	due = wait_ms(s);
	if (due < 0 || (timeout_ms >= 0 && timeout_ms < due))
		due = timeout_ms;
	n = s->stop_reason ? 0 : epoll_wait(s->epoll_fd, ready, FD_COUNT, due);
	for (int i = 0; i < n; i++)
		handle(s, ready[i].data.u32);
	now = clock_boot_ns();
	if (sources_poll_ms(s->sources, now) == 0)
		sources_poll(s->sources, now);
	order_drain(s->order, now - ORDER_WINDOW_NS);
	chain_flush(s->chain);
	if (s->opt->embedded)
		prepare_poll(s);
	return !s->stop_reason;
}

int session_fd(const struct session *s)
{
	return s->epoll_fd;
}

void session_stop(struct session *s, const char *reason)
{
	s->stop_reason = reason;
	session_kick(s);
}

void session_sample(struct session *s)
{
	sample_now(s, true);
	session_kick(s);
}

int session_statistics(const struct session *s, struct buf *json)
{
	return chain_statistics(s->chain, json);
}

pid_t session_command_pid(const struct session *s)
{
	return s->child.pid;
}

/* ---- the end ---- */

static void say_summary(const struct session *s)
{
	_cleanup_(freep) char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);
	bool failed = !f;

	if (f) {
		chain_print_summary(s->chain, f, s->opt->colour);
		failed = fflush(f) != 0 || ferror(f);
		failed |= fclose(f) != 0 || !text;
	}
	if (failed)
		log_error("not enough memory for the summary");
	else
		log_text(text, len, STALL_MS);
}

static void finish(struct session *s)
{
	struct writer_counts written;
	struct ledger ledger;
	uint64_t lost;

	if (s->fds[FD_SAMPLE] >= 0 && s->opt->detail)
		sample_last(s);
	sources_finish(s->sources);
	emit_capabilities(s, order_input(s->order));
	order_drain(s->order, UINT64_MAX);
	emit_capabilities(s, chain_input(s->chain)); /* what the last events showed */
	chain_finish(s->chain);
	chain_emit_statistics(s->chain, clock_boot_ns());
	report_losses(s, chain_input(s->chain));
	if (!chain_sync(s->chain, STALL_MS))
		log_warning("the output takes nothing any more; what it did not take is lost");

	take_ledger(s, &ledger);
	ledger_emit_totals(&ledger, AS_EV_STOP, s->stop_reason, s->start_ns, chain_sinks(s->chain));
	chain_sync(s->chain, STALL_MS);
	chain_written(s->chain, &written);

	/* whoever closed the output wants no more of it */
	lost = s->closed ? 0 : ledger_lost(&ledger);
	if (!s->closed && !written.delivered[AS_EV_STOP])
		log_warning("`stop`, the last line, could not be written");
	if (lost)
		log_warning("%llu events were lost; `stop` says where (a larger --ring-size helps "
			    "when a ring was full)",
			    (unsigned long long)lost);
	if (s->opt->summary && !s->failed) {
		say_summary(s);
		if (s->opt->output)
			log_notice("%llu events in %s",
				   (unsigned long long)ledger_delivered(&ledger), s->opt->output);
	}
}

static void say_who_is_watched(const struct session *s)
{
	if (s->opt->n_names && !sources_followed(s->sources))
		log_notice("nothing called '%s' is running yet; waiting for it",
			   log_safe(s->opt->names[0]));
	/* with -v: who starts us can tell when the hooks are in place */
	log_debug("watching");
}

static void breathe(void *context)
{
	struct session *s = context;

	emit_capabilities(s, order_input(s->order));
	order_drain(s->order, clock_boot_ns() - ORDER_WINDOW_NS);
	chain_flush(s->chain);
}

static bool is_released(const struct session *s)
{
	return s->child.pid && s->child.gate_fd < 0;
}

int session_start(struct session *s, struct err *e)
{
	uint64_t now;
	int r;

	if (!s->opt->command)
		return 0;
	r = sources_follow(s->sources, s->child.pid, e);
	if (r < 0)
		return r;
	now = clock_boot_ns();
	sources_released(s->sources, now);
	sampling_released(&s->sampling, now);
	chain_released(s->chain, (uint32_t)s->child.pid, now);
	return child_release(&s->child, s->opt->command[0], e);
}

/* ---- privileges ---- */

bool session_splits(const struct session_options *opt)
{
	return !opt->embedded && !opt->keep_privileges;
}

static void split(struct session *s)
{
	child_offer(&s->child);
	if (s->opt->output)
		priv_output_allow(s->opt->output, s->opt->rotate_keep);
	trust_split(&(struct trust_options){
		.shared = sources_shared(s->sources),
		.command = s->child.pid ? s->child.pid_fd : -1,
		.devices = s->opt->gpu,
	});
}

static int open_all(struct session *s, struct err *e)
{
	int r;

	r = compile_filter(s, e);
	if (r < 0)
		return r;
	if (s->opt->command) {
		/* before we ignore and block signals ourselves */
		r = child_hold(s->opt->command, &s->opt->files, s->opt->signals, &s->child, e);
		if (r < 0)
			return r;
	}
	r = open_signals(s);
	if (r < 0)
		return err_set(e, r, "cannot handle signals: %s", strerror(-r));
	s->fds[FD_CLOSED] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->fds[FD_CLOSED] < 0)
		return err_set(e, -errno, "cannot make an eventfd: %s", strerror(errno));

	r = proc_table_new(&s->procs);
	if (r < 0)
		return r;
	r = sources_open(s->opt, s->procs, s->start_ns, &s->sources, e);
	if (r < 0)
		return r;
	r = open_chain(s, e);
	if (r < 0)
		return r;
	if (sources_shared(s->sources) && chain_launcher(s->chain))
		bpf_shared_helper(sources_shared(s->sources), (uint32_t)chain_launcher(s->chain));
	s->coalesce_ms = chain_is_watched(s->chain) || s->opt->sources & SOURCE_TLS
				 ? COALESCE_MS
				 : COALESCE_FILE_MS;
	r = order_new(chain_input(s->chain), &s->order);
	if (r < 0)
		return r;
	r = open_rings(s, e);
	if (r < 0)
		return r;
	emit_start(s);
	r = sources_attach(s->sources, order_input(s->order), breathe, s, e);
	if (r < 0)
		return r;
	sources_plan(s->sources, sample_plan, s);
	emit_capabilities(s, order_input(s->order));
	return open_loop(s, e);
}

static bool await_command(struct session *s, int ms)
{
	struct timespec moment = {.tv_nsec = 10 * NSEC_PER_MSEC};

	for (int i = 0; i < ms / 10 && !command_ended(s); i++) {
		nanosleep(&moment, NULL);
		breathe(s);
	}
	return command_ended(s);
}

/* A command that is still there when its time is over: as timeout(1) does. */
static void end_command(struct session *s)
{
	int r;

	if (!s->opt->command_first || !is_released(s) || command_ended(s))
		return;
	r = child_signal(&s->child, SIGTERM);
	if (r == 0 && !await_command(s, KILL_AFTER_MS)) {
		r = child_signal(&s->child, SIGKILL);
		if (r == 0)
			await_command(s, KILLED_MS);
	}
	if (r < 0)
		log_warning("the command cannot be ended, and goes on: %s", strerror(-r));
}

static void free_all(struct session *s)
{
	child_done(&s->child);
	sources_free(s->sources);
	order_free(s->order);
	chain_free(s->chain);
	ring_free(s->rings[0]);
	ring_free(s->rings[1]);
	proc_table_free(s->procs);
	filter_free(s->filter);
	for (enum descriptor i = FD_SIGNAL; i < FD_COUNT; i++) {
		if (i != FD_CHILD)
			closep(&s->fds[i]);
	}
	for (size_t i = 0; s->pid_fds && i < s->opt->n_pids; i++)
		closep(&s->pid_fds[i]);
	free(s->pid_fds);
	closep(&s->epoll_fd);
	free(s);
}

void session_close(struct session *s, struct session_result *ret)
{
	if (s->order) {
		end_command(s);
		finish(s); /* what has begun ends in order, also when it could not go on */
	}
	s->result.released = is_released(s);
	s->result.command_ended = s->end.ended;
	s->result.status_unknown = s->end.unknown;
	s->result.command_status = s->end.status;
	if (s->chain)
		s->result.alerts = chain_alerts_started(s->chain);
	if (ret)
		*ret = s->result;
	free_all(s);
}

int session_open(const struct session_options *opt, struct session **ret, struct err *e)
{
	struct session *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->opt = opt;
	s->epoll_fd = -1;
	if (!opt->embedded)
		memory_one_heap();
	clock_namespace();
	procfs_namespace();
	s->start_ns = clock_boot_ns();
	for (size_t i = 0; i < FD_COUNT; i++)
		s->fds[i] = -1;
	clock_sync();

	r = open_all(s, e);
	if (r >= 0) {
		/* the reader must not wait behind the programs it watches */
		if (!opt->embedded)
			setpriority(PRIO_PROCESS, 0, -20);
		if (session_splits(opt))
			split(s);
		if (opt->embedded)
			memory_trim(); /* the program is another's */
		else
			memory_give_back();
		say_who_is_watched(s);
		session_kick(s);
	}
	if (r < 0) {
		s->failed = true;
		session_stop(s, "failed");
		session_close(s, NULL);
		return r;
	}
	*ret = s;
	return 0;
}

int session_run(const struct session_options *opt, struct session_result *ret, struct err *e)
{
	struct session *s;
	int r = session_open(opt, &s, e);

	if (r < 0)
		return r;
	r = session_start(s, e);
	s->failed = r < 0;
	if (s->failed)
		session_stop(s, "failed");
	while (session_step(s, -1))
		;
	session_close(s, ret);
	return r;
}
