/* SPDX-License-Identifier: MIT */
/* libagentsight as a program outside of this tree has it: its header, its pkg-config file, its symbols. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include <agentsight/agentsight.h>

#define MS         1000000ULL
#define TIMEOUT_MS 30000

static char dir[] = "/tmp/agentsight-library.XXXXXX";
static char error[256];

/* Without the kernel where that is asked for: a checker of memory does not know its system calls. */
static struct agentsight_options options(uint32_t flags)
{
	struct agentsight_options opt = AGENTSIGHT_OPTIONS_INIT;

	opt.flags = flags | (getenv("LIBRARY_NO_KERNEL") ? AGENTSIGHT_NO_KERNEL : 0);
	opt.interval_ns = 50 * MS;
	return opt;
}

static const char *in_dir(const char *name)
{
	static char paths[4][128];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	return path;
}

static struct agentsight *start(const struct agentsight_options *opt, const char *script)
{
	char *argv[] = {(char *)"sh", (char *)"-c", (char *)script, NULL};
	struct agentsight *a;

	if (agentsight_start(opt, argv, &a, error, sizeof(error)) < 0)
		fail_msg("%s", error);
	return a;
}

/* The next event of this type; the run must not end before. */
static struct agentsight_event await(struct agentsight *a, const char *type)
{
	struct agentsight_event ev = AGENTSIGHT_EVENT_INIT;

	do {
		int r = agentsight_next(a, TIMEOUT_MS, &ev);

		if (r != 1)
			fail_msg("%d instead of an event '%s'", r, type);
	} while (strcmp(ev.type, type) != 0);
	return ev;
}

static int finish(struct agentsight *a)
{
	struct agentsight_event ev = AGENTSIGHT_EVENT_INIT;
	int r, status = -1;

	do
		r = agentsight_next(a, TIMEOUT_MS, &ev);
	while (r == 1);
	assert_int_equal(r, -ENODATA);
	agentsight_status(a, &status);
	return status;
}

static void a_command_is_followed_to_its_end(void **state)
{
	struct agentsight_options opt = options(0);
	struct agentsight_event ev = AGENTSIGHT_EVENT_INIT;
	struct agentsight *a = start(&opt, "sleep 2; exit 3");
	char last[32] = "";
	int r, status = -1, trees = 0;

	assert_int_equal(agentsight_status(a, &status), 0);
	while ((r = agentsight_next(a, TIMEOUT_MS, &ev)) == 1) {
		assert_int_equal(strlen(ev.json), ev.json_len);
		assert_int_equal(ev.json[ev.json_len - 1], '\n');
		snprintf(last, sizeof(last), "%s", ev.type);
		if (!ev.sample || strcmp(ev.type, "tree") != 0)
			continue;
		trees++;
		assert_int_equal(ev.sample->size, sizeof(*ev.sample));
		assert_int_equal(ev.sample->pid, agentsight_pid(a));
		assert_int_equal(ev.pid, agentsight_pid(a));
		assert_true(ev.sample->time_ns == ev.time_ns);
	}
	assert_int_equal(r, -ENODATA);
	assert_string_equal(last, "stop");
	assert_true(trees >= 3);
	assert_int_equal(agentsight_status(a, &status), 1);
	assert_int_equal(WEXITSTATUS(status), 3);
	/* nothing is left to be asked for, and asking is no mistake */
	assert_int_equal(agentsight_next(a, -1, &ev), -ENODATA);
	assert_int_equal(agentsight_fd(a), -1);
	assert_int_equal(agentsight_sample(a), -ESHUTDOWN);
	agentsight_stop(a);
	agentsight_free(a);
	agentsight_free(NULL);
}

static void two_at_once_stay_apart(void **state)
{
	struct agentsight_options opt = options(0);
	struct agentsight *a[2] = {start(&opt, "sleep 2; exit 1"),
				   start(&opt, "sleep 1.5; exit 2")};
	int ended = 0, status, samples[2] = {0};

	while (ended != 3) {
		for (int i = 0; i < 2; i++) {
			struct agentsight_event ev = AGENTSIGHT_EVENT_INIT;
			int r = agentsight_next(a[i], 10, &ev);

			ended |= r == -ENODATA ? 1 << i : 0;
			if (r != 1 || !ev.sample || strcmp(ev.type, "tree") != 0)
				continue;
			assert_int_equal(ev.sample->pid, agentsight_pid(a[i]));
			samples[i]++;
		}
	}
	for (int i = 0; i < 2; i++) {
		assert_true(samples[i] >= 2);
		assert_int_equal(agentsight_status(a[i], &status), 1);
		assert_int_equal(WEXITSTATUS(status), i + 1);
		agentsight_free(a[i]);
	}
}

static void *in_a_thread(void *argument)
{
	const char *script = argument;
	struct agentsight_options opt = options(0);
	struct agentsight *a;
	struct agentsight_event ev = AGENTSIGHT_EVENT_INIT;
	char *argv[] = {(char *)"sh", (char *)"-c", (char *)script, NULL};
	int status = -1;

	if (agentsight_start(&opt, argv, &a, NULL, 0) < 0)
		return NULL;
	while (agentsight_next(a, TIMEOUT_MS, &ev) == 1)
		;
	agentsight_status(a, &status);
	agentsight_free(a);
	return (void *)(intptr_t)(WEXITSTATUS(status) + 1);
}

static void two_threads_have_one_each(void **state)
{
	static const char *const scripts[] = {"sleep 0.2; exit 4", "sleep 0.3; exit 5"};
	pthread_t threads[2];
	void *result;

	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, in_a_thread, (void *)scripts[i]),
				 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(pthread_join(threads[i], &result), 0);
		assert_int_equal((intptr_t)result, 5 + i);
	}
}

static void its_descriptor_says_when_there_is_work(void **state)
{
	struct agentsight_options opt = options(0);
	struct agentsight *a;
	struct agentsight_event ev = AGENTSIGHT_EVENT_INIT;
	int r = 0, wakes = 0, trees = 0;

	opt.pace = AGENTSIGHT_PACE_FIXED;
	a = start(&opt, "sleep 1.5");
	while (r != -ENODATA) {
		struct pollfd p = {.fd = agentsight_fd(a), .events = POLLIN};

		if (p.fd >= 0)
			assert_true(poll(&p, 1, TIMEOUT_MS) > 0);
		wakes++;
		while ((r = agentsight_next(a, 0, &ev)) == 1)
			trees += !strcmp(ev.type, "tree");
	}
	/* some 30 on a machine with nothing else to do; 3 if only its own second woke it */
	if (trees < 8)
		fail_msg("only %d samples in %d wakes", trees, wakes);
	/* a caller that polls sleeps in between */
	if (wakes > 600)
		fail_msg("woken %d times for %d samples", wakes, trees);
	agentsight_free(a);
}

/* One at a time: what is left makes it readable, too. So do a sample that was asked for, and the end. */
static void what_was_not_taken_keeps_the_descriptor_readable(void **state)
{
	struct agentsight_options opt = options(AGENTSIGHT_NO_POLLING);
	struct agentsight *a = start(&opt, "exec sleep 60");
	struct agentsight_event ev = AGENTSIGHT_EVENT_INIT;
	int trees = 0, r = 0;

	assert_int_equal(agentsight_sample(a), 0);
	while (r != -ENODATA) {
		struct pollfd p = {.fd = agentsight_fd(a), .events = POLLIN};

		/* less than the second after which it looks around anyway */
		if (p.fd >= 0 && poll(&p, 1, 800) == 0)
			fail_msg("nothing came behind '%s'", r == 1 ? ev.type : "nothing");
		r = agentsight_next(a, 0, &ev);
		if (r != 1 || strcmp(ev.type, "tree") != 0)
			continue;
		if (++trees == 3)
			agentsight_stop(a);
		else
			agentsight_sample(a);
	}
	assert_true(trees >= 3);
	kill(agentsight_pid(a), SIGKILL);
	waitpid(agentsight_pid(a), NULL, 0);
	agentsight_free(a);
}

static void a_sample_can_be_asked_for(void **state)
{
	struct agentsight_options opt = options(AGENTSIGHT_NO_POLLING);
	struct agentsight *a = start(&opt, "exec sleep 60");
	struct agentsight_event ev;

	for (int i = 0; i < 3; i++) {
		assert_int_equal(agentsight_sample(a), 0);
		ev = await(a, "tree");
		assert_non_null(strstr(ev.json, "\"reason\":\"request\""));
		assert_int_equal(ev.sample->processes, 1);
		assert_true(ev.sample->rss_kb > 0);
		assert_true(ev.sample->threads == 1);
	}
	assert_int_equal(kill(agentsight_pid(a), SIGKILL), 0);
	assert_int_equal(WTERMSIG(finish(a)), SIGKILL);
	agentsight_free(a);
}

static void a_held_command_waits_for_its_release(void **state)
{
	struct agentsight_options opt = options(AGENTSIGHT_HOLD);
	const char *mark = in_dir("mark");
	char script[200];
	struct agentsight *a;
	struct agentsight_event ev = AGENTSIGHT_EVENT_INIT;

	snprintf(script, sizeof(script), ">%s", mark);
	a = start(&opt, script);
	for (int i = 0; i < 20; i++)
		assert_true(agentsight_next(a, 10, &ev) >= 0);
	assert_int_equal(access(mark, F_OK), -1);
	assert_int_equal(agentsight_release(a, error, sizeof(error)), 0);
	assert_int_equal(finish(a), 0);
	assert_int_equal(access(mark, F_OK), 0);
	agentsight_free(a);

	/* never released, it never runs */
	assert_int_equal(unlink(mark), 0);
	a = start(&opt, script);
	agentsight_free(a);
	usleep(100000);
	assert_int_equal(access(mark, F_OK), -1);
}

static void what_cannot_be_started_is_named(void **state)
{
	char *argv[] = {(char *)"/nonexistent/program", NULL};
	struct agentsight_options opt = options(0);
	struct agentsight *a;

	assert_int_equal(agentsight_start(&opt, argv, &a, error, sizeof(error)), -ENOENT);
	assert_non_null(strstr(error, "/nonexistent/program"));
	argv[0] = (char *)"/etc/passwd";
	assert_int_equal(agentsight_start(&opt, argv, &a, error, sizeof(error)), -EACCES);
	opt = options(AGENTSIGHT_HOLD);
	argv[0] = (char *)"/nonexistent/program";
	assert_int_equal(agentsight_start(&opt, argv, &a, error, sizeof(error)), 0);
	assert_int_equal(agentsight_release(a, error, sizeof(error)), -ENOENT);
	assert_non_null(strstr(error, "/nonexistent/program"));
	agentsight_free(a);
}

static void attached_to_it_ends_with_the_last(void **state)
{
	struct agentsight_options opt = options(0);
	int seen[2] = {0}; /* samples */
	int left = 0;      /* those of the second, when the first was killed */
	pid_t pids[2];
	struct agentsight *a;
	struct agentsight_event ev = AGENTSIGHT_EVENT_INIT;

	for (int i = 0; i < 2; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			execlp("sleep", "sleep", "600", NULL);
			_exit(127);
		}
	}
	assert_int_equal(agentsight_attach(&opt, pids, 2, &a, error, sizeof(error)), 0);
	assert_int_equal(agentsight_pid(a), pids[0]);
	while (agentsight_next(a, TIMEOUT_MS, &ev) == 1) {
		for (int i = 0; i < 2; i++)
			seen[i] += ev.sample && (pid_t)ev.sample->pid == pids[i];
		if (seen[0] && seen[1] && !left) {
			left = seen[1];
			kill(pids[0], SIGKILL);
		}
		if (left && seen[1] == left + 3)
			kill(pids[1], SIGKILL);
	}
	assert_true(left && seen[1] >= left + 3);
	agentsight_free(a);
	for (int i = 0; i < 2; i++)
		assert_int_equal(waitpid(pids[i], NULL, 0), pids[i]);
}

static void what_goes_on_after_a_stop_is_the_callers(void **state)
{
	struct agentsight_options opt = options(0);
	struct agentsight *a = start(&opt, "exec sleep 60");
	pid_t pid = agentsight_pid(a);
	int status;

	await(a, "tree");
	agentsight_stop(a);
	finish(a);
	assert_int_equal(agentsight_status(a, &status), 0);
	agentsight_free(a);
	assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WTERMSIG(status), SIGKILL);
}

static void the_summary_is_there_at_any_time(void **state)
{
	struct agentsight_options opt = options(0);
	struct agentsight *a;
	char *of_file = NULL;

	opt.output = in_dir("recording");
	a = start(&opt, "sleep 0.3");
	await(a, "tree");
	assert_non_null(strstr(agentsight_summary(a), "\"format\":\"agentsight-stats\""));
	finish(a);
	assert_non_null(strstr(agentsight_summary(a), "\"tree\":{\"samples\":"));
	agentsight_free(a);

	assert_int_equal(agentsight_summary_of_file(opt.output, &of_file, error, sizeof(error)), 0);
	assert_non_null(strstr(of_file, "\"command\":\"sh -c sleep 0.3\""));
	free(of_file);
	assert_int_equal(
		agentsight_summary_of_file(in_dir("missing"), &of_file, error, sizeof(error)),
		-ENOENT);
	assert_non_null(strstr(error, "missing"));
	assert_int_equal(agentsight_summary_of_file(in_dir("missing"), &of_file, NULL, 0), -ENOENT);
}

static void refused(struct agentsight_options opt, const char *word)
{
	char *argv[] = {(char *)"true", NULL};
	struct agentsight *a;

	assert_int_equal(agentsight_start(&opt, argv, &a, error, sizeof(error)), -EINVAL);
	if (!strstr(error, word))
		fail_msg("'%s' does not name '%s'", error, word);
}

static void a_sentence_says_what_is_wrong(void **state)
{
	static const char *const alerts[] = {"nonsense > 3", NULL}, *const unit[] = {"rss > 5",
										     NULL};
	struct agentsight_options opt = options(0);
	char *nothing[] = {NULL};
	pid_t pid = 1 << 22;
	struct agentsight *a;

	opt.alerts = alerts;
	refused(opt, "nonsense");
	opt.alerts = unit;
	refused(opt, "MB");
	opt = options(0);
	opt.filter = "(";
	refused(opt, "filter");
	opt = options(0);
	opt.format = "xml";
	refused(opt, "xml");
	opt = options(0);
	opt.interval_ns = 1;
	refused(opt, "interval");
	opt = options(0);
	opt.max_interval_ns = 10 * MS;
	refused(opt, "interval");
	opt = options(0);
	opt.pace = 7;
	refused(opt, "7");
	opt = options(0);
	opt.size = 0;
	refused(opt, "how long");
	opt = options(0);
	assert_int_equal(agentsight_start(&opt, nothing, &a, error, sizeof(error)), -EINVAL);
	assert_int_equal(agentsight_start(&opt, NULL, &a, error, sizeof(error)), -EINVAL);
	assert_int_equal(agentsight_attach(&opt, &pid, 0, &a, error, sizeof(error)), -EINVAL);
	assert_int_equal(agentsight_attach(&opt, &pid, 1, &a, error, sizeof(error)), -ESRCH);
	assert_non_null(strstr(error, "4194304"));
	pid = -1;
	assert_int_equal(agentsight_attach(&opt, &pid, 1, &a, error, sizeof(error)), -EINVAL);
	/* a short room is filled, and no more than that */
	memset(error, 'x', sizeof(error));
	assert_int_equal(agentsight_attach(&opt, &pid, 1, &a, error, 4), -EINVAL);
	assert_int_equal(strlen(error), 3);
	assert_int_equal(error[4], 'x');
}

static void callers_of_another_age_are_served(void **state)
{
	struct {
		struct agentsight_event ev;
		char guard;
	} old = {.ev.size = offsetof(struct agentsight_event, json_len), .guard = 'x'};
	struct agentsight_options opt = options(0);
	struct agentsight *a;

	old.ev.json_len = 12345;
	opt.size = offsetof(struct agentsight_options, pace); /* what is behind is not looked at */
	opt.pace = 99;
	a = start(&opt, "exit 0");
	assert_int_equal(agentsight_next(a, TIMEOUT_MS, &old.ev), 1);
	assert_non_null(old.ev.json);
	assert_int_equal(old.ev.json_len, 12345);
	assert_int_equal(old.guard, 'x');
	finish(a);
	agentsight_free(a);
}

/* ---- what it leaves alone ---- */

static size_t entries(const char *path)
{
	DIR *d = opendir(path);
	size_t n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void signals_descriptors_and_threads_are_as_before(void **state)
{
	struct sigaction before[32], after;
	sigset_t mask, mask_after;
	size_t fds, threads;
	struct agentsight_options opt = options(0);
	struct agentsight *a;

	finish(a = start(&opt, "exit 0")); /* what a first call makes once */
	agentsight_free(a);
	fds = entries("/proc/self/fd");
	threads = entries("/proc/self/task");
	sigprocmask(SIG_SETMASK, NULL, &mask);
	for (int i = 1; i < 32; i++)
		sigaction(i, NULL, &before[i]);

	a = start(&opt, "exec sleep 60");
	await(a, "tree");
	sigprocmask(SIG_SETMASK, NULL, &mask_after);
	assert_memory_equal(&mask, &mask_after, 8); /* 64 signals */
	for (int i = 1; i < 32; i++) {
		sigaction(i, NULL, &after);
		assert_ptr_equal(before[i].sa_handler, after.sa_handler);
	}
	kill(agentsight_pid(a), SIGKILL);
	finish(a);
	agentsight_free(a);
	assert_int_equal(entries("/proc/self/fd"), fds);
	assert_int_equal(entries("/proc/self/task"), threads);
}

/* In a child of our own, since this program prints. */
/* A thread's number is none of a process. */
static void *tells_its_number(void *argument)
{
	const int *held = argument;
	pid_t tid = (pid_t)syscall(SYS_gettid);

	if (write(held[1], &tid, sizeof(tid)) == sizeof(tid))
		pause();
	return NULL;
}

/* A process that cannot be waited for makes the whole start fail. */
static void what_cannot_be_attached_closes_nothing_of_the_callers(void **state)
{
	struct agentsight_options opt = options(AGENTSIGHT_NO_KERNEL);
	struct agentsight *a;
	pthread_t thread;
	int held[2];
	pid_t pids[2] = {0, getpid()};

	assert_int_equal(pipe(held), 0);
	assert_int_equal(pthread_create(&thread, NULL, tells_its_number, held), 0);
	assert_int_equal(read(held[0], &pids[0], sizeof(pids[0])), sizeof(pids[0]));
	assert_true(fcntl(STDIN_FILENO, F_GETFD) >= 0);
	assert_true(agentsight_attach(&opt, pids, 2, &a, error, sizeof(error)) < 0);
	assert_true(fcntl(STDIN_FILENO, F_GETFD) >= 0);
	pthread_cancel(thread);
	pthread_join(thread, NULL);
	close(held[0]);
	close(held[1]);
}

/* In a program that has SIGPIPE as it is by default. */
static void a_reader_of_the_output_that_goes_ends_nobody(void **state)
{
	const char *fifo = in_dir("fifo");
	struct agentsight_options opt = options(0);
	struct agentsight *a;
	int status, reader;
	pid_t pid;

	assert_int_equal(mkfifo(fifo, 0600), 0);
	opt.output = fifo;
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		signal(SIGPIPE, SIG_DFL);
		reader = open(fifo, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		a = start(&opt, "sleep 0.5");
		close(reader);
		finish(a);
		agentsight_free(a);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	unlink(fifo);
	assert_int_equal(status, 0);
}

static void limits_are_as_before(void **state)
{
	struct agentsight_options opt = options(0);
	struct rlimit before, after;
	struct agentsight *a;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	before.rlim_cur = before.rlim_max > 1024 ? 1024 : before.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	a = start(&opt, "exit 0");
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &after), 0);
	assert_int_equal(after.rlim_cur, before.rlim_cur);
	finish(a);
	agentsight_free(a);
}

static void be_silent(int fd)
{
	static const char *const rules[] = {"nonsense", NULL};
	char *argv[] = {(char *)"true", NULL}, *missing[] = {(char *)"/nonexistent", NULL};
	struct agentsight_options opt = options(AGENTSIGHT_SYSCALLS | AGENTSIGHT_GPU);
	struct agentsight *a;

	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	if (agentsight_start(&opt, argv, &a, NULL, 0) < 0)
		_exit(1);
	finish(a);
	agentsight_free(a);
	opt.alerts = rules;
	agentsight_start(&opt, argv, &a, NULL, 0);
	opt.alerts = NULL;
	opt.filter = "(";
	agentsight_start(&opt, argv, &a, NULL, 0);
	opt.filter = NULL;
	agentsight_start(&opt, missing, &a, NULL, 0);
	_exit(0);
}

static void nothing_is_printed(void **state)
{
	const char *path = in_dir("printed");
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), status;
	char text[200] = "";
	pid_t pid = fork();

	if (pid == 0)
		be_silent(fd);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_true(pread(fd, text, sizeof(text) - 1, 0) >= 0);
	assert_string_equal(text, "");
	close(fd);
}

static void the_version_is_that_of_the_package(void **state)
{
	assert_string_equal(agentsight_version(), VERSION);
}

static int set_up(void **state)
{
	return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
	static const char *const names[] = {"mark", "recording", "printed"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlink(in_dir(names[i]));
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_version_is_that_of_the_package),
		cmocka_unit_test(a_command_is_followed_to_its_end),
		cmocka_unit_test(two_at_once_stay_apart),
		cmocka_unit_test(two_threads_have_one_each),
		cmocka_unit_test(its_descriptor_says_when_there_is_work),
		cmocka_unit_test(what_was_not_taken_keeps_the_descriptor_readable),
		cmocka_unit_test(a_sample_can_be_asked_for),
		cmocka_unit_test(a_held_command_waits_for_its_release),
		cmocka_unit_test(what_cannot_be_started_is_named),
		cmocka_unit_test(attached_to_it_ends_with_the_last),
		cmocka_unit_test(what_goes_on_after_a_stop_is_the_callers),
		cmocka_unit_test(the_summary_is_there_at_any_time),
		cmocka_unit_test(a_sentence_says_what_is_wrong),
		cmocka_unit_test(callers_of_another_age_are_served),
		cmocka_unit_test(signals_descriptors_and_threads_are_as_before),
		cmocka_unit_test(what_cannot_be_attached_closes_nothing_of_the_callers),
		cmocka_unit_test(a_reader_of_the_output_that_goes_ends_nobody),
		cmocka_unit_test(limits_are_as_before),
		cmocka_unit_test(nothing_is_printed),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
