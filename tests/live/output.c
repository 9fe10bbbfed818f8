/* SPDX-License-Identifier: MIT */
/* Where the events go: files, pipes, full disks, wrong usage. */
#include "live.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void launch_with(struct sight *s, int out_fd, const char *const args[])
{
	char *argv[32] = {sight_program()};

	for (size_t i = 0; args[i]; i++)
		argv[i + 1] = (char *)args[i];
	sight_launch(s, out_fd, argv);
}

#define LAUNCH(s, out_fd, ...) launch_with(s, out_fd, (const char *const[]){__VA_ARGS__, NULL})

static int status_of(struct sight *s)
{
	sight_wait(s);
	CHECK(WIFEXITED(s->status), "agentsight died of signal %d: %s", WTERMSIG(s->status),
	      sight_messages(s));
	return WEXITSTATUS(s->status);
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* ---- the file ---- */

static void private_file(void)
{
	struct sight s;
	struct stat st;

	umask(0);
	sight_start(&s, "process", "-p", live_printf("%d", getpid()), NULL);
	sight_stop(&s);
	CHECK(!stat(s.out, &st), "no %s", s.out);
	CHECK((st.st_mode & 07777) == 0600, "mode %o", st.st_mode & 07777);
}

static void sudo_caller(void)
{
	struct sight s;
	struct stat st;

	setenv("SUDO_UID", "54321", 1);
	setenv("SUDO_GID", "54322", 1);
	sight_start(&s, "process", "-p", live_printf("%d", getpid()), NULL);
	sight_stop(&s);
	CHECK(!stat(s.out, &st), "no %s", s.out);
	CHECK(st.st_uid == 54321 && st.st_gid == 54322, "it belongs to %u:%u", st.st_uid,
	      st.st_gid);
}

static void symbolic_link(void)
{
	char *target = live_printf("%s/target", live_dir());
	char *name = live_printf("%s/link", live_dir());
	struct sight s = {};
	char *text;
	FILE *f = fopen(target, "we");

	fputs("precious\n", f);
	fclose(f);
	CHECK(!symlink(target, name), "symlink");
	LAUNCH(&s, -1, "process", "-o", name, "--duration", "5");
	CHECK(status_of(&s) == 1, "status %#x", s.status);
	CHECK(strstr(sight_messages(&s), "symbolic link"), "it says: %s", sight_messages(&s));
	text = live_read_file(target);
	CHECK(!strcmp(text, "precious\n"), "the file behind the link was changed");
}

static size_t count_lines(const char *path)
{
	struct stream st;

	stream_load(&st, path);
	return st.n;
}

/* Every event stands in one of the files, in the order of the files, newest last. */
static void rotation(void)
{
	char *out = live_printf("%s/rotated", live_dir());
	char *all = live_printf("%s/all", live_dir());
	struct sight s = {.out = out};
	struct workload w;
	struct stream st;
	struct stat stat_buf;
	size_t files = 0;
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	workload_hold(&w, "spawn", "-n", "5000", "-j", "2", NULL);
	LAUNCH(&s, fd, "process", "-v", "-o", out, "--rotate-size", "1", "--rotate-keep", "50",
	       "-p", live_printf("%d", w.pid));
	sight_wait_ready(&s);
	workload_finish(&w);
	sight_stop(&s);

	for (int i = 50; i >= 0; i--) {
		char *name = i ? live_printf("%s.%d", out, i) : out;

		if (stat(name, &stat_buf))
			continue;
		CHECK((stat_buf.st_mode & 07777) == 0600, "%s has mode %o", name,
		      stat_buf.st_mode & 07777);
		count_lines(name);
		CHECK(!system(live_printf("cat '%s' >>'%s'", name, all)), "cat");
		files++;
	}
	CHECK(files > 2, "only %zu files", files);
	stream_load(&st, all);
	stream_check_lossless(&st);
}

static bool exists(void *path)
{
	struct stat st;

	return stat(path, &st) == 0 && st.st_size > 0;
}

static void second_writer(void)
{
	struct sight s, second = {};

	sight_start(&s, "process", "-p", live_printf("%d", getpid()), NULL);
	live_wait("the first line", exists, s.out, 10);
	LAUNCH(&second, -1, "process", "-o", s.out, "-p", live_printf("%d", getpid()));
	CHECK(status_of(&second) == 1, "status %#x", second.status);
	CHECK(strstr(sight_messages(&second), "is being written by another agentsight"),
	      "it says: %s", sight_messages(&second));
	CHECK(exists(s.out), "the file was emptied");
	CHECK(!rename(s.out, live_printf("%s.old", s.out)), "rename");
	kill(s.pid, SIGHUP);
	while (access(s.out, F_OK))
		usleep(2000);
	LAUNCH(&second, -1, "process", "-o", s.out, "-p", live_printf("%d", getpid()));
	CHECK(status_of(&second) == 1, "status %#x", second.status);
	sight_stop(&s);
}

static void hangup_reopens(void)
{
	struct stream before, after;
	struct sight s;
	char *old;
	size_t i = 0;

	sight_start(&s, "process", "-p", live_printf("%d", getpid()), NULL);
	old = live_printf("%s.old", s.out);
	live_wait("the first line", exists, s.out, 10);
	CHECK(!rename(s.out, old), "rename");
	kill(s.pid, SIGHUP);
	/* the file is there before the first line that goes into it */
	while (access(s.out, F_OK))
		usleep(2000);
	CHECK(!system("exit 3") || true, "sh");
	live_wait("a line in the new file", exists, s.out, 10);
	sight_stop(&s);

	stream_load(&before, old);
	stream_load(&after, s.out);
	CHECK(stream_find(&before, &i, 0, "agentsight", "start"), "no `start` in the old file");
	CHECK(after.stop, "no `stop` in the new file");
	CHECK(stop_count(&after, "delivered") == before.n + after.n - 1,
	      "%zu and %zu lines, `stop` says %llu", before.n, after.n,
	      (unsigned long long)stop_count(&after, "delivered"));
	CHECK(stop_count(&after, "lost") == 0 && stop_count(&after, "difference") == 0, "lost");
}

/* ---- pipes and terminals ---- */

/* `agentsight ... | head -1`: ends by itself, at once, without a complaint. */
static void closed_pipe(void)
{
	struct sight s = {};
	double since;
	char byte;
	int p[2];

	CHECK(!pipe2(p, O_CLOEXEC), "pipe");
	LAUNCH(&s, p[1], "process");
	close(p[1]);
	CHECK(read(p[0], &byte, 1) == 1, "nothing came");
	close(p[0]);
	since = now_s();
	while (waitpid(s.pid, &s.status, WNOHANG) == 0) {
		CHECK(!system("exit 0"), "sh");
		CHECK(now_s() < since + 10, "it goes on without a reader");
	}
	CHECK(now_s() < since + 5 || live_in_guest(), "it took %.2f s", now_s() - since);
	CHECK(s.status == 0, "status %#x: %s", s.status, sight_messages(&s));
	CHECK(!sight_messages(&s)[0] || !strstr(sight_messages(&s), "rror"), "it complains: %s",
	      sight_messages(&s));
}

static int pipe_reader(const char *path)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	CHECK(fd >= 0, "%s: %s", path, strerror(errno));
	return fd;
}

static void wait_for_bytes(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	CHECK(poll(&p, 1, 20000) == 1 && p.revents & POLLIN, "nothing came");
}

static bool has_ended(void *sight)
{
	struct sight *s = sight;

	return waitpid(s->pid, &s->status, WNOHANG) == s->pid;
}

/* `run` goes on without a reader, and after SIGHUP with the next one, as often as that happens. */
static void reader_comes_back(void)
{
	char *fifo = live_printf("%s/fifo", live_dir()), *end = live_printf("%s/end", live_dir());
	char *wait = live_printf("until [ -e '%s' ]; do sleep 0.05; done", end);
	static char text[1 << 20];
	struct sight s = {};
	ssize_t n;
	int fd;

	CHECK(!mkfifo(fifo, 0600), "mkfifo");
	fd = pipe_reader(fifo);
	LAUNCH(&s, -1, "run", "-v", "-o", fifo, "--", "sh", "-c", wait);
	for (size_t times = 1; times <= 2; times++) {
		wait_for_bytes(fd);
		close(fd);
		live_wait_text(s.err, "nobody reads", times, 20);
		fd = pipe_reader(fifo);
		kill(s.pid, SIGHUP);
		/* what the last reader left is old */
		while (read(fd, text, sizeof(text)) > 0)
			;
	}
	wait_for_bytes(fd);
	CHECK(!close(open(end, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)), "%s", end);
	live_wait("its end", has_ended, &s, 20);
	CHECK(s.status == 0, "status %#x: %s", s.status, sight_messages(&s));
	n = read(fd, text, sizeof(text) - 1);
	CHECK(n > 0, "nothing came behind its end");
	text[n] = '\0';
	CHECK(strstr(text, "\"type\":\"stop\""), "no `stop`: %s", text);
	CHECK(strstr(sight_messages(&s), "events were lost"), "it says: %s", sight_messages(&s));
}

/* The command has standard output for itself then, and nothing readable is said. */
static void json_goes_to_the_file(void)
{
	char *out = live_printf("%s/events", live_dir()), *text;
	struct sight s = {};
	struct stream st;

	LAUNCH(&s, -1, "run", "--json", "-o", out, "--", "echo", "words");
	CHECK(status_of(&s) == 0, "status %#x", s.status);
	text = live_read_file(s.out);
	CHECK(!strcmp(text, "words\n"), "standard output: %s", text);
	CHECK(!strstr(sight_messages(&s), " events in "), "it says: %s", sight_messages(&s));
	stream_load(&st, out);
	stream_check_whole(&st);
}

static int shell_status(const char *command)
{
	int status = system(command);

	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* ---- disks ---- */

/* Everything that stands between two line ends is JSON, even where the disk was full. */
static void full_disk(void)
{
	char *disk = live_printf("%s/disk", live_dir());
	struct workload w, later;
	struct stream st;
	struct sight s = {};
	char *ballast = live_printf("%s/ballast", disk);
	int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

	CHECK(!mkdir(disk, 0700), "mkdir");
	/* of our own, so that it goes with us whatever happens */
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", disk, "tmpfs", 0, "size=4m"))
		live_skip("cannot mount a tmpfs: %s", strerror(errno));
	/* without it there is room for all that is still on its way */
	CHECK(!system(live_printf("head -c 3600000 /dev/zero >'%s'", ballast)), "ballast");
	s.out = live_printf("%s/events", disk);
	workload_hold(&w, "spawn", "-q", "-n", "2000", "-j", "2", NULL);
	workload_hold(&later, "spawn", "-q", "-n", "50", NULL);
	LAUNCH(&s, fd, "process", "-v", "-o", s.out, "-p", live_printf("%d,%d", w.pid, later.pid));
	sight_wait_ready(&s);
	workload_finish(&w);
	live_wait_text(s.err, "No space left", 1, 20);
	CHECK(!unlink(ballast), "unlink");
	workload_finish(&later);
	sight_stop(&s);

	CHECK(text_count(sight_messages(&s), "No space left") == 1, "it says: %s",
	      sight_messages(&s));
	CHECK(!system(live_printf("cp '%s' '%s/kept'", s.out, live_dir())), "cp");
	stream_load(&st, live_printf("%s/kept", live_dir()));
	stream_check_whole(&st);
	CHECK(stop_count(&st, "lost") > 0, "nothing was lost?");
	CHECK(stream_count(&st, "agentsight", "loss") > 0, "no `loss` event");
	stream_only(&st, later.pid, "process", "exec");
	stream_only(&st, later.pid, "process", "exit");
}

static bool has_grown(void *path)
{
	struct stat st;

	return stat(path, &st) == 0 && st.st_size > 100000;
}

static void killed_hard(void)
{
	struct workload w;
	struct stream st;
	struct sight s;
	char *text;

	workload_hold(&w, "spawn", "-q", "-n", "3000", "-j", "2", NULL);
	sight_start(&s, "process", "-p", live_printf("%d", w.pid), NULL);
	workload_release(&w);
	live_wait("some lines", has_grown, s.out, 20);
	kill(s.pid, SIGKILL);
	sight_wait(&s);
	workload_wait(&w);

	/* the very last line may have been cut */
	text = live_read_file(s.out);
	if (strrchr(text, '\n')) {
		strrchr(text, '\n')[1] = '\0';
		truncate(s.out, strlen(text));
	}
	stream_load(&st, s.out);
	CHECK(st.n > 0, "nothing was written");
}

/* ---- usage ---- */

static void expect_usage(int status, const char *word, const char *const args[])
{
	struct sight s = {};
	int got;

	launch_with(&s, -1, args);
	got = status_of(&s);
	CHECK(got == status, "%s gives status %d instead of %d: %s", args[1], got, status,
	      sight_messages(&s));
	CHECK(strstr(sight_messages(&s), word), "%s: it does not speak of '%s': %s", args[1], word,
	      sight_messages(&s));
}

#define EXPECT_USAGE(status, word, ...) \
	expect_usage(status, word, (const char *const[]){__VA_ARGS__, NULL})

static void wrong_usage(void)
{
	EXPECT_USAGE(2, "--nonsense", "trace", "--nonsense");
	EXPECT_USAGE(2, "nonsense", "nonsense", "--json");
	EXPECT_USAGE(2, "12x", "process", "-p", "12x");
	EXPECT_USAGE(2, "abc", "process", "--duration", "abc");
	EXPECT_USAGE(2, "record", "record", "--json");
	EXPECT_USAGE(2, "--output FILE", "trace", "--rotate-size", "1", "--duration", "1");
	EXPECT_USAGE(2, "--output FILE or --json", "run", "--format", "denet", "--", "true");
	EXPECT_USAGE(2, "would never apply", "run", "--no-polling", "--alert", "cpu > 10",
		     "--exit-over", "--", "true");
}

static _Noreturn void *idle(void *id)
{
	__atomic_store_n((pid_t *)id, gettid(), __ATOMIC_SEQ_CST);
	for (;;)
		pause();
}

static bool is_told(void *id)
{
	return __atomic_load_n((pid_t *)id, __ATOMIC_SEQ_CST) != 0;
}

static void other_encoding(void)
{
	setenv("LC_ALL", "C", 1);
	EXPECT_USAGE(2, "'?'", "\u65e5", "--json");
	setenv("LC_ALL", "C.UTF-8", 1);
	EXPECT_USAGE(2, "'\u65e5'", "\u65e5", "--json");
}

static void check_old(const char *path)
{
	CHECK(!strcmp(live_read_file(path), "old\n"), "what was recorded before is gone");
}

static void wrong_file(void)
{
	char *old = live_printf("%s/old", live_dir());
	FILE *f = fopen(old, "we");

	fputs("old\n", f);
	fclose(f);
	EXPECT_USAGE(2, "^", "record", "-c", "x", "-o", old, "--alert", "rss > 500");
	check_old(old);
	EXPECT_USAGE(1, "/nonexistent", "record", "-c", "x", "-o", old, "--prices", "/nonexistent");
	check_old(old);
	EXPECT_USAGE(1, "/nonexistent", "ssl", "-o", old, "--binary-path", "/nonexistent");
	check_old(old);
	EXPECT_USAGE(1, "ELF", "ssl", "-o", old, "--binary-path", old);
	check_old(old);
}

static void not_a_process(void)
{
	char *out = live_printf("%s/events", live_dir()), *word, *text;
	static pid_t id;
	pthread_t thread;

	CHECK(!pthread_create(&thread, NULL, idle, &id), "no thread");
	live_wait("the thread", is_told, &id, 10);
	text = live_printf("%d", id);
	word = live_printf("%d is a thread of process %d", id, getpid());
	EXPECT_USAGE(1, word, "record", "--duration", "1", "-o", out, "-p", text);
	EXPECT_USAGE(1, word, "attach", "--duration", "1", text);
	EXPECT_USAGE(1, "no process 4194304", "attach", "--duration", "1", "4194304");
}

static void wrong_filter(void)
{
	EXPECT_USAGE(2, "^", "process", "--filter", "pid == ==");
	EXPECT_USAGE(2, "^", "process", "--filter", "data.exit_code > \"x");
}

/* The program for a user who may not search the directories above it, a clone below /root say. */
static char *program_for_anyone(void)
{
	int fd = open(sight_program(), O_RDONLY);

	CHECK(fd >= 0, "%s: %s", sight_program(), strerror(errno));
	return live_printf("/proc/self/fd/%d", fd);
}

static int status_as_nobody(const char *command)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (setgid(65534) || setuid(65534))
			_exit(99);
		_exit(shell_status(command));
	}
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

static void no_privilege(void)
{
	int status = status_as_nobody(
		live_printf("%s process --duration 1 >/dev/null", program_for_anyone()));

	CHECK(status == 3, "status %d instead of 3", status);
}

/* What execve() says is about the file, not about who may trace. */
static void no_program(void)
{
	char *out = live_printf("%s/events", live_dir());
	char *file = live_printf("%s/file", live_dir());
	FILE *f = fopen(file, "we");

	fclose(f);
	EXPECT_USAGE(1, "Permission denied", "record", "-o", out, "--", file);
	EXPECT_USAGE(1, "Permission denied", "process", "-o", out, "--", file);
	EXPECT_USAGE(1, "No such file", "record", "-o", out, "--", "/nonexistent");
	EXPECT_USAGE(126, "Permission denied", "run", "-o", out, "--", file);
	EXPECT_USAGE(127, "No such file", "run", "-o", out, "--", "/nonexistent");
}

/* It gives up its privileges to look at what is left, and tells those that it was started with. */
static void doctor_privilege(void)
{
	char *out = live_printf("%s/doctor", live_dir());
	char *command = live_printf("%s doctor 2>/dev/null >'%s'", program_for_anyone(), out),
	     *text;

	CHECK(!chmod(live_dir(), 0755) && !close(open(out, O_CREAT | O_WRONLY | O_CLOEXEC, 0666)) &&
		      !chmod(out, 0666),
	      "%s: %s", out, strerror(errno));
	shell_status(command);
	text = live_read_file(out);
	CHECK(strstr(text, "what is left of privileges") && !strstr(text, "not root"),
	      "as root: %s", text);
	CHECK(status_as_nobody(command) == 3, "not the status of no privilege");
	text = live_read_file(out);
	CHECK(strstr(text, "not root") && strstr(text, "'run' and 'attach' work") &&
		      strstr(text, "your own processes        /proc "),
	      "as nobody: %s", text);
	CHECK(!strstr(text, " \n"), "blanks at the end of a line: %s", text);
}

static _Noreturn void sample_as_nobody(int out_fd, pid_t pid)
{
	char *argv[] = {program_for_anyone(),   (char *)"system",     (char *)"-p",
			live_printf("%d", pid), (char *)"--interval", (char *)"0.2",
			(char *)"--duration",   (char *)"1.5",        NULL};

	dup2(out_fd, STDOUT_FILENO);
	if (setgid(65534) || setuid(65534))
		_exit(99);
	execv(argv[0], argv);
	_exit(98);
}

static void own_processes_without_privilege(void)
{
	char *out = live_printf("%s/unprivileged.json", live_dir());
	int status, fd = open(out, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	struct stream st;
	pid_t own, pid;

	own = fork();
	if (own == 0) {
		if (setgid(65534) || setuid(65534))
			_exit(99);
		for (;;)
			pause();
	}
	pid = fork();
	if (pid == 0)
		sample_as_nobody(fd, own);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0, "status %#x", status);
	stream_load(&st, out);
	stream_check_whole(&st);
	CHECK(stream_count(&st, "system", "system_metrics") >= 2, "%zu samples",
	      stream_count(&st, "system", "system_metrics"));
}

static void duration(void)
{
	double since = now_s();
	struct sight s = {};
	struct stream st;

	LAUNCH(&s, -1, "process", "--duration", "1.5", "-p", live_printf("%d", getpid()));
	CHECK(status_of(&s) == 0, "status %#x: %s", s.status, sight_messages(&s));
	since = now_s() - since;
	CHECK(since > 1.4, "it ended after %.2f s", since);
	stream_load(&st, s.out);
	stream_check_lossless(&st);
	CHECK(!strcmp(json_object_get_string(object_at(st.stop, "reason")), "duration"),
	      "the reason is %s", json_object_get_string(object_at(st.stop, "reason")));
}

/* It outlives the process that was asked for, and is sampled for longer than agentsight takes to look. */
static void last_of_the_processes(void)
{
	const char *sample = "\"type\":\"system_metrics\"", *reason;
	char *fifo = live_printf("%s/fifo", live_dir());
	struct workload w;
	struct stream st;
	struct sight s;
	int fd;

	CHECK(!mkfifo(fifo, 0600), "mkfifo");
	workload_hold(&w, "/bin/sh", "-c", live_printf("cat '%s' & :", fifo), NULL);
	sight_start(&s, "trace", "--process", "--system", "--interval", "0.5", "-p",
		    live_printf("%d", w.pid), NULL);
	workload_finish(&w);
	live_wait_text(s.out, "\"type\":\"exit\"", 1, 20);
	live_wait_text(s.out, sample, text_count(live_read_file(s.out), sample) + 5, 20);
	fd = open(fifo, O_WRONLY | O_CLOEXEC);
	CHECK(fd >= 0, "open: %s", strerror(errno));
	close(fd);
	CHECK(status_of(&s) == 0, "it ended with %d: %s", s.status, sight_messages(&s));

	stream_load(&st, s.out);
	stream_check_lossless(&st);
	CHECK(stream_count(&st, "process", "exit") == 2, "%zu processes ended",
	      stream_count(&st, "process", "exit"));
	reason = json_object_get_string(object_at(st.stop, "reason"));
	CHECK(!strcmp(reason, "processes ended"), "it ended because: %s", reason);
}

static void terminated(void)
{
	struct stream st;
	struct sight s;

	sight_start(&s, "process", "-p", live_printf("%d", getpid()), NULL);
	kill(s.pid, SIGTERM);
	CHECK(status_of(&s) == 0, "status %#x", s.status);
	stream_load(&st, s.out);
	stream_check_lossless(&st);
}

static void filtered(void)
{
	struct workload w;
	struct stream st;
	struct sight s;

	workload_hold(&w, "spawn", "-q", "-n", "300", NULL);
	sight_start(&s, "process", "--filter", "type == \"exit\" && data.exit_code == 7", "-p",
		    live_printf("%d", w.pid), NULL);
	workload_finish(&w);
	sight_stop(&s);
	stream_load(&st, s.out);
	stream_check_lossless(&st);
	/* 7 and 7 + 256; 9 in 10 end by themselves, and both of these do */
	CHECK(stream_count(&st, "process", "exit") == 2, "%zu exits",
	      stream_count(&st, "process", "exit"));
	CHECK(stream_count(&st, "process", NULL) == 2, "other lines than those");
	CHECK(stop_count(&st, "filtered") == 300 * 3 + 2 - 2, "%llu filtered",
	      (unsigned long long)stop_count(&st, "filtered"));
}

/* ---- the ledger on request ---- */

/* What @row counts under @key: not there when zero. */
static int64_t row_count(json_object *row, const char *key)
{
	return json_object_get_int64(object_at(row, key));
}

/* Every event type accounts for itself, and the sum is what @stats says was produced. */
static void check_rows(const struct line *stats)
{
	json_object *streams = object_at(stats->data, "streams");
	int64_t produced = 0;

	CHECK(streams, "no streams: %s", json_object_to_json_string(stats->json));
	json_object_object_foreach(streams, name, row)
	{
		CHECK(row_count(row, "produced") ==
			      row_count(row, "delivered") + row_count(row, "filtered"),
		      "%s: %s", name, json_object_to_json_string(row));
		if (strncmp(name, "internal.", 9))
			produced += row_count(row, "produced");
	}
	CHECK(produced == line_int(stats, "produced"), "the types sum up to %lld: %s",
	      (long long)produced, json_object_to_json_string(stats->json));
}

/* Nothing is on its way any more: the newest ledger closes. */
static bool has_settled(const char *path)
{
	char *text = live_read_file(path), *last = text, *next;
	bool yes;

	while ((next = strstr(last, "\"type\":\"stats\"")))
		last = next + 1;
	yes = strstr(last, "\"difference\":0,") != NULL;
	free(text);
	return yes;
}

static void stats(void)
{
	struct workload w;
	struct stream st;
	struct sight s;
	size_t asked = 0;
	struct line *l = NULL;
	size_t i = 0;

	workload_hold(&w, "tcp", "pingpong", "100", "100", NULL);
	sight_start(&s, "network", "-p", live_printf("%d", w.pid), NULL);
	workload_finish(&w);
	live_wait_text(s.out, "\"type\":\"close\"", 2, 10);
	/* the workload's own end may still be on its way, and counts until it has arrived */
	do {
		asked++;
		kill(s.pid, SIGUSR1);
		live_wait_text(s.out, "\"type\":\"stats\"", asked, 10);
	} while (asked < 100 && !has_settled(s.out));
	sight_stop(&s);

	stream_load(&st, s.out);
	stream_check_lossless(&st);
	CHECK(stream_count(&st, "network", "close") == 2, "%zu ends instead of 2",
	      stream_count(&st, "network", "close"));
	CHECK(stream_count(&st, "agentsight", "stats") == asked, "%zu ledgers for %zu signals",
	      stream_count(&st, "agentsight", "stats"), asked);
	for (size_t k = 0; k < asked; k++)
		l = stream_find(&st, &i, s.pid, "agentsight", "stats");
	CHECK(line_int(l, "difference") == 0 && line_int(l, "lost") == 0, "it does not close: %s",
	      json_object_to_json_string(l->json));
	CHECK(line_int(l, "produced") >= 400, "the workload made more than %lld events",
	      (long long)line_int(l, "produced"));
	/* what agentsight says of itself may be on its way, where it counts as nothing yet */
	CHECK(line_int(l, "delivered") <= l - st.lines &&
		      line_int(l, "delivered") + 2 >= l - st.lines,
	      "%td lines stand before it: %s", l - st.lines, json_object_to_json_string(l->json));
	CHECK(line_int(l, "delivered") <= (int64_t)stop_count(&st, "delivered"),
	      "more than at the end");
	check_rows(l);
}

const struct live_test output_tests[] = {
	{"the_output_file_is_private", private_file, 30},
	{"the_output_file_belongs_to_who_called_sudo", sudo_caller, 30},
	{"a_symbolic_link_is_refused_and_its_target_left_alone", symbolic_link, 30},
	{"rotation_under_load_loses_and_splits_no_line", rotation, 120},
	{"a_file_that_another_writes_is_refused_and_untouched", second_writer, 30},
	{"a_hangup_opens_the_output_again", hangup_reopens, 30},
	{"a_closed_pipe_ends_the_run_quietly_and_at_once", closed_pipe, 30},
	{"a_pipe_is_written_again_when_a_hangup_finds_a_new_reader", reader_comes_back, 60},
	{"a_full_disk_is_said_once_counted_and_survived", full_disk, 60},
	{"a_hard_kill_leaves_every_line_whole", killed_hard, 60},
	{"json_goes_to_the_file_that_is_named", json_goes_to_the_file, 30},
	{"wrong_usage_ends_with_2_and_names_the_cause", wrong_usage, 30},
	{"what_a_terminal_may_obey_is_not_said_in_another_encoding", other_encoding, 30},
	{"a_mistake_costs_no_older_recording", wrong_file, 30},
	{"a_thread_id_is_no_process_id", not_a_process, 30},
	{"a_wrong_filter_ends_with_2_and_points_at_the_place", wrong_filter, 30},
	{"a_missing_privilege_ends_with_3", no_privilege, 30},
	{"a_command_that_cannot_be_executed_is_no_missing_privilege", no_program, 30},
	{"doctor_tells_the_privileges_that_it_was_started_with", doctor_privilege, 60},
	{"samples_of_ones_own_processes_need_no_privilege", own_processes_without_privilege, 30},
	{"a_duration_ends_the_run_in_order", duration, 30},
	{"a_termination_ends_the_run_in_order", terminated, 30},
	{"the_end_of_the_last_of_its_processes_ends_the_run", last_of_the_processes, 30},
	{"a_filter_keeps_what_it_says_and_counts_the_rest", filtered, 30},
	{"a_signal_puts_the_ledger_so_far_into_the_stream_once", stats, 30},
	{},
};
