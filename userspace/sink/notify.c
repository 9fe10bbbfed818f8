/* SPDX-License-Identifier: MIT */
/*
 * The pipeline's thread makes tasks and puts them into a queue; the notifier's thread is the only one that
 * forks and reaps. It waits for the queue's eventfd and for a pidfd per process, and asks for each of its
 * processes by pid: the command of `run` is somebody else's to reap.
 */
#include "sink/notify.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/output.h"
#include "event/encode.h"
#include "event/record.h"
#include "priv/peer.h"

#define PREFIX        "AGENTSIGHT_ALERT_"
#define ENV_TEXT_MAX  4096
#define ENV_MAX       (48U << 10) /* of all variables together, for the launcher */
#define URL_MAX       2048
#define RETRY_MS      1000
#define RETRY_FACTOR  4
#define NO_PIDFD_MS   50 /* between two looks at a process that cannot be waited for */
#define CANNOT_RUN    126
#define NOT_FOUND     127
#define CURL_MAX_TIME "10"
#define EXIT_STATUSES 256

enum channel {
	CHANNEL_COMMAND,
	CHANNEL_WEBHOOK,
	CHANNELS,
};

struct task {
	TAILQ_ENTRY(task) entry;
	enum channel channel;
	unsigned tries;
	uint64_t due_ns;
	pid_t pid;
	int pid_fd;
	struct buf line;
	struct buf env; /* NUL-ended strings */
};

/* The user who called sudo. */
struct caller {
	bool set;
	uid_t uid;
	gid_t gid;
	char *home, *name; /* NULL: not known */
};

struct notify {
	struct notify_options opt;
	struct caller caller;
	struct peer *launcher; /* NULL: the notifier's thread starts what is to run */
	pthread_t thread;
	bool running;
	int wake_fd;
	pthread_mutex_t lock; /* of what follows */
	TAILQ_HEAD(task_list, task) queue;
	size_t n_queued;
	bool stop;
	uint64_t deadline_ns;
	struct notify_counts counts;
	/* the notifier's thread only */
	struct task *active[NOTIFY_RUNNING];
	bool said[CHANNELS][EXIT_STATUSES];
	bool said_signal[CHANNELS], said_start[CHANNELS];
	bool curl_failed;
	/* the pipeline's thread only */
	bool said_full;
};

static const char *const option_names[CHANNELS] = {
	[CHANNEL_COMMAND] = "--on-alert",
	[CHANNEL_WEBHOOK] = "--webhook",
};

static uint64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

/* ---- tasks, made by the pipeline ---- */

static void task_free(struct task *t)
{
	if (!t)
		return;
	buf_done(&t->line);
	buf_done(&t->env);
	free(t);
}
DEFINE_FREEP(struct task *, task_free)

static void env_text(struct buf *b, const char *name, const char *text, size_t max)
{
	buf_add_lit(b, PREFIX);
	buf_add_str(b, name);
	buf_add_char(b, '=');
	buf_add(b, text, strnlen(text, max));
	buf_add_char(b, '\0');
}

static void env_span(struct buf *b, const char *name, const struct as_hdr *rec,
		     const struct as_span *span)
{
	env_text(b, name, record_bytes(rec, span), MIN(span->len, (uint32_t)ENV_TEXT_MAX));
}

static void env_centi(struct buf *b, const char *name, int64_t centi)
{
	uint64_t size = centi < 0 ? -(uint64_t)centi : (uint64_t)centi;
	char text[40];

	snprintf(text, sizeof(text), "%s%llu.%02llu", centi < 0 ? "-" : "",
		 (unsigned long long)size / 100, (unsigned long long)size % 100);
	env_text(b, name, text, sizeof(text));
}

static void env_numbers(struct buf *b, const struct as_threshold *t)
{
	char text[40];

	env_centi(b, "VALUE", t->value_centi);
	env_centi(b, "LIMIT", t->limit_centi);
	env_centi(b, "MIN", t->min_centi);
	env_centi(b, "AVG", t->avg_centi);
	env_centi(b, "MAX", t->max_centi);
	snprintf(text, sizeof(text), "%llu.%03llu",
		 (unsigned long long)(t->duration_ns / NSEC_PER_SEC),
		 (unsigned long long)(t->duration_ns % NSEC_PER_SEC / NSEC_PER_MSEC));
	env_text(b, "DURATION", text, sizeof(text));
	snprintf(text, sizeof(text), "%u", t->h.tgid);
	env_text(b, "PID", text, sizeof(text));
}

static struct task *task_new(enum channel channel, const struct event *ev)
{
	const struct as_threshold *t = (const void *)ev->rec;
	_cleanup_(task_freep) struct task *task = calloc(1, sizeof(*task));

	if (!task)
		return NULL;
	task->channel = channel;
	task->pid_fd = -1;
	event_encode_json(&task->line, ev);
	if (channel == CHANNEL_COMMAND) {
		env_text(&task->env, "STATE", t->ended ? "end" : "start", 8);
		env_span(&task->env, "RULE", ev->rec, &t->rule);
		env_span(&task->env, "METRIC", ev->rec, &t->metric);
		env_span(&task->env, "UNIT", ev->rec, &t->unit);
		env_span(&task->env, "PATH", ev->rec, &t->path);
		env_text(&task->env, "COMM", t->h.comm, sizeof(t->h.comm));
		env_numbers(&task->env, t);
	}
	return task->line.failed || task->env.failed ? NULL : TAKE_PTR(task);
}

static void wake(struct notify *n)
{
	uint64_t one = 1;

	if (write(n->wake_fd, &one, sizeof(one)) < 0)
		log_debug("cannot wake the notifier: %s", strerror(errno));
}

static void enqueue(struct notify *n, enum channel channel, const struct event *ev)
{
	struct task *task = task_new(channel, ev);
	bool full;

	pthread_mutex_lock(&n->lock);
	/* those that are tried again come on top of it */
	full = !task || n->n_queued >= NOTIFY_QUEUE;
	if (full) {
		n->counts.dropped++;
	} else {
		TAILQ_INSERT_TAIL(&n->queue, task, entry);
		n->n_queued++;
	}
	pthread_mutex_unlock(&n->lock);
	if (full)
		task_free(task);
	if (full && !n->said_full) {
		log_warning("%s: %d alerts wait already; some are not told", option_names[channel],
			    NOTIFY_QUEUE);
		n->said_full = true;
	}
}

void notify_event(struct notify *n, const struct event *ev)
{
	const struct as_threshold *t = (const void *)ev->rec;

	if (ev->rec->type != AS_EV_THRESHOLD || (t->once && t->ended))
		return;
	if (n->opt.command)
		enqueue(n, CHANNEL_COMMAND, ev);
	if (n->opt.webhook)
		enqueue(n, CHANNEL_WEBHOOK, ev);
	wake(n);
}

/* ---- starting a process ---- */

extern char **environ;

/* Not to be taken over from agentsight's own environment. */
static bool is_replaced(const struct notify *n, const char *entry)
{
	static const char *const users[] = {"HOME=", "USER=", "LOGNAME="};

	if (!strncmp(entry, PREFIX, strlen(PREFIX)))
		return true;
	for (size_t i = 0; n->caller.set && i < ARRAY_SIZE(users); i++) {
		if (!strncmp(entry, users[i], strlen(users[i])))
			return true;
	}
	return false;
}

/* Behind the task's variables; the strings of @env stay valid until it is appended to. */
static void env_add_user(struct notify *n, struct buf *env)
{
	if (n->caller.home)
		buf_printf(env, "HOME=%s%c", n->caller.home, 0);
	if (n->caller.name)
		buf_printf(env, "USER=%s%cLOGNAME=%s%c", n->caller.name, 0, n->caller.name, 0);
}

/* A vector for execve(); its strings are borrowed from @strings and from agentsight's environment. */
static char **env_vector(struct notify *n, const struct buf *strings)
{
	size_t own = 0, n_own = 0, at = 0;
	char **vector;

	for (size_t i = 0; i < strings->len; i++)
		n_own += strings->data[i] == '\0';
	while (environ && environ[own])
		own++;
	vector = calloc(own + n_own + 1, sizeof(*vector));
	if (!vector)
		return NULL;
	for (size_t i = 0; i < strings->len; i += strlen(strings->data + i) + 1)
		vector[at++] = strings->data + i;
	for (size_t i = 0; i < own; i++) {
		if (!is_replaced(n, environ[i]))
			vector[at++] = environ[i];
	}
	return vector;
}

/* Memory as a file: it takes a line of any length at once, and another user can open it anew. */
static int body_fd(const struct buf *line)
{
	_cleanup_(closep) int fd = memfd_create("alert", MFD_CLOEXEC);
	ssize_t r;

	if (fd < 0)
		return -errno;
	for (size_t at = 0; at < line->len; at += r) {
		r = write(fd, line->data + at, line->len - at);
		if (r <= 0)
			return r < 0 ? -errno : -EIO;
	}
	if (lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/* System calls themselves: the C library's functions would tell threads that this process has not. */
static bool become(const struct caller *c)
{
	if (!c->set)
		return true;
	return syscall(SYS_setgroups, 0, NULL) == 0 &&
	       syscall(SYS_setresgid, c->gid, c->gid, c->gid) == 0 &&
	       syscall(SYS_setresuid, c->uid, c->uid, c->uid) == 0;
}

/*
 * In the child of a process with threads: nothing but system calls. A session of its own keeps Ctrl-C
 * and the terminal from it, and standard output, which may carry events, is not its own either.
 */
static _Noreturn void run(const struct caller *c, char **argv, char **env, int body, bool quiet)
{
	sigset_t none;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	if (body == STDIN_FILENO)
		fcntl(body, F_SETFD, 0);
	else
		dup2(body, STDIN_FILENO);
	if (quiet && null >= 0)
		dup2(null, STDERR_FILENO);
	dup2(STDERR_FILENO, STDOUT_FILENO);
	syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0);
	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (become(c))
		execvpe(argv[0], argv, env);
	_exit(errno == ENOENT ? NOT_FOUND : CANNOT_RUN);
}

/* What is to be started: the channel, and variables behind one another, each with its NUL. */
struct start_request {
	uint32_t channel;
	uint32_t quiet;
	uint32_t env_len;
	char env[ENV_MAX];
};

static pid_t start(struct notify *n, const struct start_request *want, int body)
{
	char *shell[] = {"/bin/sh", "-c", (char *)n->opt.command, NULL};
	/* no configuration of the user's, no globbing; a redirection is not followed */
	char *curl[] = {(char *)(n->opt.curl ? n->opt.curl : "curl"),
			"-q",
			"-g",
			"-fsS",
			"--max-time",
			CURL_MAX_TIME,
			"--max-redirs",
			"0",
			"--proto",
			"=http,https",
			"-H",
			"Content-Type: application/json",
			"-H",
			"Expect:",
			"--data-binary",
			"@-",
			"-o",
			"/dev/null",
			"--url",
			(char *)n->opt.webhook,
			NULL};
	bool webhook = want->channel == CHANNEL_WEBHOOK;
	_cleanup_(buf_done) struct buf strings = {};
	_cleanup_(freep) char **env = NULL;
	pid_t pid;

	buf_add(&strings, want->env, want->env_len);
	env_add_user(n, &strings);
	env = strings.failed ? NULL : env_vector(n, &strings);
	if (!env)
		return -ENOMEM;
	pid = fork();
	if (pid == 0)
		run(&n->caller, webhook ? curl : shell, env, body, want->quiet);
	return pid < 0 ? -errno : pid;
}

/* ---- the launcher: a process that keeps what is needed to start others, when the core gives that up ---- */

enum launcher_service {
	LAUNCHER_START,
	LAUNCHER_WAIT,
	LAUNCHER_SERVICES,
};

/* Only what the user asked for is started. */
static bool is_asked_for(const struct notify *n, uint32_t channel)
{
	const char *const what[CHANNELS] = {
		[CHANNEL_COMMAND] = n->opt.command,
		[CHANNEL_WEBHOOK] = n->opt.webhook,
	};

	return channel < CHANNELS && what[channel];
}

/* Whole strings, and only variables of ours: LD_PRELOAD and others run code in whoever gets them. */
static bool env_is_ours(const char *env, size_t len)
{
	if (len > ENV_MAX || (len && env[len - 1]))
		return false;
	for (size_t i = 0; i < len; i += strlen(env + i) + 1) {
		if (strncmp(env + i, PREFIX, strlen(PREFIX)) != 0)
			return false;
	}
	return true;
}

static int serve_start(void *ctx, const struct peer_request *rq, struct peer_answer *ret)
{
	const struct start_request *want = rq->data;

	if (rq->len != sizeof(*want) || rq->n_fds != 1 || !is_asked_for(ctx, want->channel) ||
	    !env_is_ours(want->env, want->env_len))
		return -EINVAL;
	return start(ctx, want, rq->fds[0]);
}

/* A status as wait4(2) tells it; -EAGAIN: it has not ended. */
static int serve_wait(void *ctx, const struct peer_request *rq, struct peer_answer *ret)
{
	int status = 0;
	pid_t pid;

	if (rq->len != sizeof(pid))
		return -EINVAL;
	memcpy(&pid, rq->data, sizeof(pid));
	if (pid <= 0)
		return -EINVAL;
	pid = waitpid(pid, &status, WNOHANG);
	return pid < 0 ? -errno : pid == 0 ? -EAGAIN : status;
}

/* It ends with the core, not with a signal to the group, and has nothing open that it could keep alive. */
static void launcher_begin(void *ctx, int fd)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	if (fd > STDERR_FILENO + 1)
		syscall(SYS_close_range, STDERR_FILENO + 1, fd - 1, 0);
	syscall(SYS_close_range, fd + 1, ~0U, 0);
}

static int launcher_start(struct notify *n)
{
	const struct peer_service services[LAUNCHER_SERVICES] = {
		[LAUNCHER_START] = {serve_start, n},
		[LAUNCHER_WAIT] = {serve_wait, n},
	};

	return peer_start(&(struct peer_options){.name = "agentsight-run",
						 .services = services,
						 .n_services = ARRAY_SIZE(services),
						 .begin = launcher_begin},
			  &n->launcher);
}

static pid_t task_start(struct notify *n, const struct task *t)
{
	_cleanup_(freep) struct start_request *want = calloc(1, sizeof(*want));
	_cleanup_(closep) int body = body_fd(&t->line);

	if (!want)
		return -ENOMEM;
	if (body < 0)
		return body;
	if (t->env.len > sizeof(want->env))
		return -E2BIG;
	want->channel = t->channel;
	want->quiet = t->channel == CHANNEL_WEBHOOK && n->curl_failed;
	want->env_len = (uint32_t)t->env.len;
	if (t->env.len) /* a webhook has none */
		memcpy(want->env, t->env.data, t->env.len);
	if (!n->launcher)
		return start(n, want, body);
	return peer_call(n->launcher,
			 &(struct peer_request){.service = LAUNCHER_START,
						.data = want,
						.len = sizeof(*want),
						.fds = &body,
						.n_fds = 1},
			 NULL);
}

/* False: it has not ended. */
static bool task_ended(struct notify *n, const struct task *t, int *ret_status)
{
	int r;

	if (!n->launcher)
		return waitpid(t->pid, ret_status, WNOHANG) != 0;
	r = peer_call(n->launcher,
		      &(struct peer_request){
			      .service = LAUNCHER_WAIT, .data = &t->pid, .len = sizeof(t->pid)},
		      NULL);
	*ret_status = r < 0 ? 0 : r;
	return r != -EAGAIN;
}

/* ---- the notifier's thread ---- */

static void count(struct notify *n, uint64_t *counter)
{
	pthread_mutex_lock(&n->lock);
	++*counter;
	pthread_mutex_unlock(&n->lock);
}

static size_t n_active(const struct notify *n)
{
	size_t active = 0;

	for (size_t i = 0; i < NOTIFY_RUNNING; i++)
		active += n->active[i] != NULL;
	return active;
}

/* The oldest task that is due; NULL: none. *ret_due_ns: when the next one is. */
static struct task *take_due(struct notify *n, uint64_t now, uint64_t *ret_due_ns)
{
	struct task *t;

	*ret_due_ns = UINT64_MAX;
	pthread_mutex_lock(&n->lock);
	for (t = TAILQ_FIRST(&n->queue); t && t->due_ns > now; t = TAILQ_NEXT(t, entry))
		*ret_due_ns = MIN(*ret_due_ns, t->due_ns);
	if (t) {
		TAILQ_REMOVE(&n->queue, t, entry);
		n->n_queued--;
	}
	pthread_mutex_unlock(&n->lock);
	return t;
}

static void start_task(struct notify *n, struct task **slot, struct task *t)
{
	pid_t pid = task_start(n, t);

	if (pid < 0) {
		if (!n->said_start[t->channel])
			log_warning("%s: cannot start a process: %s", option_names[t->channel],
				    strerror(-pid));
		n->said_start[t->channel] = true;
		count(n, &n->counts.dropped);
		task_free(t);
		return;
	}
	t->pid = pid;
	t->pid_fd = syscall(SYS_pidfd_open, pid, 0);
	t->tries++;
	*slot = t;
	count(n, &n->counts.started);
}

/* Returns when the next one is due, if that is what it waits for. */
static uint64_t start_due(struct notify *n)
{
	uint64_t due = UINT64_MAX, now = now_ns();

	for (size_t i = 0; i < NOTIFY_RUNNING; i++) {
		struct task *t;

		if (n->active[i])
			continue;
		t = take_due(n, now, &due);
		if (!t)
			return due;
		start_task(n, &n->active[i], t);
	}
	return UINT64_MAX;
}

static const char *curl_reason(int status)
{
	static const struct {
		int status;
		const char *text;
	} reasons[] = {
		{5, "the proxy has no address"},
		{6, "the host has no address"},
		{7, "cannot connect"},
		{22, "the server refused it"},
		{28, "no answer in " CURL_MAX_TIME " s"},
		{35, "TLS failed"},
		{52, "the server said nothing"},
		{60, "the certificate is not trusted"},
		{CANNOT_RUN, "curl cannot be run"},
		{NOT_FOUND, "curl is not installed"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		if (reasons[i].status == status)
			return reasons[i].text;
	}
	return "see curl(1)";
}

static void say_failure(struct notify *n, const struct task *t, int status)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
	const char *option = option_names[t->channel];

	if (WIFSIGNALED(status)) {
		if (!n->said_signal[t->channel])
			log_warning("%s: ended by signal %d", option, WTERMSIG(status));
		n->said_signal[t->channel] = true;
		return;
	}
	if (n->said[t->channel][code])
		return;
	n->said[t->channel][code] = true;
	if (t->channel == CHANNEL_WEBHOOK)
		log_warning("%s: status %d of curl: %s (tried %u times)", option, code,
			    curl_reason(code), t->tries);
	else
		log_warning("%s: the command ended with status %d", option, code);
}

/* Tries once more, or gives up. */
static void task_failed(struct notify *n, struct task *t, int status)
{
	bool hopeless = WIFEXITED(status) && WEXITSTATUS(status) >= CANNOT_RUN;
	uint64_t pause = (n->opt.retry_ms ? n->opt.retry_ms : RETRY_MS) * NSEC_PER_MSEC;

	n->curl_failed |= t->channel == CHANNEL_WEBHOOK;
	if (t->channel == CHANNEL_COMMAND || hopeless || t->tries == NOTIFY_TRIES) {
		say_failure(n, t, status);
		count(n, &n->counts.failed);
		task_free(t);
		return;
	}
	for (unsigned i = 1; i < t->tries; i++)
		pause *= RETRY_FACTOR;
	t->due_ns = now_ns() + pause;
	pthread_mutex_lock(&n->lock);
	TAILQ_INSERT_TAIL(&n->queue, t, entry);
	n->n_queued++;
	pthread_mutex_unlock(&n->lock);
}

static void reap(struct notify *n)
{
	for (size_t i = 0; i < NOTIFY_RUNNING; i++) {
		struct task *t = n->active[i];
		int status = 0;

		if (!t || !task_ended(n, t, &status))
			continue;
		n->active[i] = NULL;
		closep(&t->pid_fd);
		t->pid_fd = -1;
		if (status)
			task_failed(n, t, status);
		else
			task_free(t);
	}
}

/* Until the queue has something, a process has ended, or @until_ns. */
static void wait_for_work(struct notify *n, uint64_t until_ns)
{
	struct pollfd fds[NOTIFY_RUNNING + 1] = {{.fd = n->wake_fd, .events = POLLIN}};
	uint64_t now = now_ns(), ms = until_ns > now ? (until_ns - now) / NSEC_PER_MSEC + 1 : 0;
	int timeout = until_ns == UINT64_MAX ? -1 : (int)MIN(ms, (uint64_t)60000);
	uint64_t wakes;

	for (size_t i = 0; i < NOTIFY_RUNNING; i++) {
		const struct task *t = n->active[i];

		fds[i + 1] = (struct pollfd){.fd = t ? t->pid_fd : -1, .events = POLLIN};
		if (t && t->pid_fd < 0 && (timeout < 0 || timeout > NO_PIDFD_MS))
			timeout = NO_PIDFD_MS;
	}
	poll(fds, NOTIFY_RUNNING + 1, timeout);
	if (fds[0].revents && read(n->wake_fd, &wakes, sizeof(wakes)) < 0)
		log_debug("notifier: %s", strerror(errno));
}

/* False when it is time to end. */
static bool go_on(struct notify *n, uint64_t *until_ns)
{
	bool stop, idle;

	pthread_mutex_lock(&n->lock);
	stop = n->stop;
	idle = TAILQ_EMPTY(&n->queue);
	if (stop)
		*until_ns = MIN(*until_ns, n->deadline_ns);
	pthread_mutex_unlock(&n->lock);
	if (!stop)
		return true;
	return now_ns() < n->deadline_ns && (!idle || n_active(n));
}

static void *notify_main(void *context)
{
	struct notify *n = context;

	for (;;) {
		uint64_t until = start_due(n);

		if (!go_on(n, &until))
			return NULL;
		wait_for_work(n, until);
		reap(n);
	}
}

/* ---- opening and ending ---- */

static int check_url(const char *url, struct err *e)
{
	size_t scheme = !strncasecmp(url, "http://", 7)    ? 7
			: !strncasecmp(url, "https://", 8) ? 8
							   : 0;
	size_t len = strlen(url);

	if (!scheme || !url[scheme] || url[scheme] == '/')
		return err_set(e, -EINVAL,
			       "--webhook: '%s' is not an address that begins with "
			       "http:// or https://",
			       log_safe(url));
	if (len > URL_MAX)
		return err_set(e, -EINVAL, "--webhook: an address has %d bytes at most", URL_MAX);
	for (size_t i = 0; i < len; i++) {
		if (!isgraph((unsigned char)url[i]))
			return err_set(e, -EINVAL,
				       "--webhook: byte %zu of the address must be "
				       "percent-encoded",
				       i + 1);
	}
	return 0;
}

/* From the file itself: a static program has no name service. */
static void read_home(struct caller *c)
{
	_cleanup_(fclosep) FILE *f = fopen("/etc/passwd", "re");
	struct passwd *pw;

	while (f && (pw = fgetpwent(f))) {
		if (pw->pw_uid != c->uid)
			continue;
		c->home = strdup(pw->pw_dir);
		c->name = strdup(pw->pw_name);
		return;
	}
}

static int find_caller(struct caller *c, struct err *e)
{
	int r = output_sudo_caller(&c->uid, &c->gid);

	if (r == 0)
		return 0;
	if (r < 0)
		return err_set(e, r,
			       "SUDO_UID and SUDO_GID are no numbers, so nobody can be "
			       "found to run commands as");
	c->set = c->uid != 0;
	if (c->set)
		read_home(c);
	return 0;
}

static int start_thread(struct notify *n)
{
	sigset_t all, old;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&n->thread, NULL, notify_main, n);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	n->running = r == 0;
	return -r;
}

DEFINE_FREEP(struct notify *, notify_free)

int notify_open(const struct notify_options *opt, struct notify **ret, struct err *e)
{
	_cleanup_(notify_freep) struct notify *n = calloc(1, sizeof(*n));
	int r;

	if (!n)
		return err_set(e, -ENOMEM, "not enough memory");
	n->opt = *opt;
	n->wake_fd = -1;
	TAILQ_INIT(&n->queue);
	pthread_mutex_init(&n->lock, NULL);
	r = opt->webhook ? check_url(opt->webhook, e) : 0;
	if (r < 0)
		return r;
	r = find_caller(&n->caller, e);
	if (r < 0)
		return r;
	n->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (n->wake_fd < 0)
		return err_set(e, -errno, "cannot make an eventfd: %s", strerror(errno));
	r = opt->launcher ? launcher_start(n) : 0;
	if (r < 0)
		return err_set(e, r, "cannot fork: %s", strerror(-r));
	r = start_thread(n);
	if (r < 0)
		return err_set(e, r, "cannot start a thread: %s", strerror(-r));
	*ret = TAKE_PTR(n);
	return 0;
}

pid_t notify_launcher(const struct notify *n)
{
	return n->launcher ? peer_pid(n->launcher) : 0;
}

static void say_left(const struct notify *n)
{
	if (n->counts.dropped)
		log_warning("%llu alerts found no room and were not told with --on-alert or "
			    "--webhook",
			    (unsigned long long)n->counts.dropped);
	if (n->counts.left)
		log_warning("%llu of --on-alert or --webhook were not over at the end of the run",
			    (unsigned long long)n->counts.left);
}

void notify_finish(struct notify *n, unsigned wait_ms)
{
	struct task *t;

	if (!n->running)
		return;
	pthread_mutex_lock(&n->lock);
	n->stop = true;
	n->deadline_ns = now_ns() + wait_ms * NSEC_PER_MSEC;
	pthread_mutex_unlock(&n->lock);
	wake(n);
	pthread_join(n->thread, NULL);
	n->running = false;

	n->counts.left = n->n_queued + n_active(n);
	while ((t = TAILQ_FIRST(&n->queue))) {
		TAILQ_REMOVE(&n->queue, t, entry);
		task_free(t);
	}
	n->n_queued = 0;
	say_left(n);
}

void notify_counts(struct notify *n, struct notify_counts *ret)
{
	pthread_mutex_lock(&n->lock);
	*ret = n->counts;
	pthread_mutex_unlock(&n->lock);
}

void notify_free(struct notify *n)
{
	if (!n)
		return;
	notify_finish(n, 0);
	for (size_t i = 0; i < NOTIFY_RUNNING; i++) {
		if (n->active[i])
			closep(&n->active[i]->pid_fd);
		task_free(n->active[i]);
	}
	peer_free(n->launcher);
	closep(&n->wake_fd);
	pthread_mutex_destroy(&n->lock);
	free(n->caller.home);
	free(n->caller.name);
	free(n);
}
