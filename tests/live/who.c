/* SPDX-License-Identifier: MIT */
/* Who is watched: names, numbers, users, descendants. */
#include "live.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534

/* The workload `life` under another name, in a directory that everybody may enter. */
static char *copy_of_life(const char *name)
{
	char *path = live_printf("/tmp/livetest.%d.%s", getpid(), name);
	char *command =
		live_printf("cp '%s' '%s' && chmod 755 '%s'", workload_path("life"), path, path);

	CHECK(!system(command), "cannot copy to %s", path);
	return path;
}

static char *base_name(char *path)
{
	return strrchr(path, '/') + 1;
}

static void run_argv(int code, const char *const argv[])
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		execv(argv[0], (char *const *)argv);
		_exit(127);
	}
	CHECK(waitpid(pid, &status, 0) == pid, "waitpid: %s", strerror(errno));
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == code, "'%s' gave status %#x", argv[0],
	      status);
}

#define RUN(code, ...) run_argv(code, (const char *const[]){__VA_ARGS__, NULL})

/* The workload `life`, ending with @code. */
static void run_end(const char *program, int code)
{
	RUN(code, program, "end", live_printf("%d", code));
}

static char *make_script(const char *name)
{
	char *path = live_printf("/tmp/livetest.%d.%s", getpid(), name);
	FILE *f = fopen(path, "we");

	CHECK(f, "cannot make %s", path);
	fprintf(f, "#!/bin/sh\n%s end 3\n%s end 4\nexit 5\n", workload_path("life"),
		workload_path("life"));
	fclose(f);
	CHECK(!chmod(path, 0755), "chmod");
	return path;
}

/* Of one run of a script: its own exec and exit and those of two commands. */
static void check_script(const struct stream *st, size_t runs)
{
	size_t exits[3] = {}, i = 0;
	struct line *l;

	while ((l = stream_find(st, &i, 0, "process", "exit"))) {
		int64_t code = line_int(l, "exit_code");

		CHECK(code >= 3 && code <= 5, "a process of somebody else: %s",
		      json_object_to_json_string(l->json));
		exits[code - 3]++;
	}
	for (i = 0; i < 3; i++)
		CHECK(exits[i] == runs, "%zu exits with %zu instead of %zu", exits[i], i + 3, runs);
	CHECK(stream_count(st, "process", "exec") == 3 * runs, "%zu execs instead of %zu",
	      stream_count(st, "process", "exec"), 3 * runs);
}

static void follow_script(const char *interpreter, const char *option)
{
	char *script = make_script("script");
	struct stream st;
	struct sight s;

	sight_start(&s, "process", "-c", base_name(script), NULL);
	if (option)
		RUN(5, interpreter, option, script, "argument");
	else if (interpreter)
		RUN(5, interpreter, script, "argument");
	else
		RUN(5, script, "argument");
	run_end(workload_path("life"), 9);
	sight_stop(&s);
	unlink(script);

	stream_load(&st, s.out);
	stream_check_lossless(&st);
	check_script(&st, 1);
}

static void shebang(void)
{
	follow_script(NULL, NULL);
}

static void behind_interpreter(void)
{
	follow_script("/bin/sh", NULL);
}

static void behind_option(void)
{
	follow_script("/bin/sh", "-u");
}

/* What -c is followed by is a command, even one that ends in the name of a program. */
static void name_in_command(void)
{
	char *script = make_script("mentioned");
	struct stream st;
	struct sight s;

	sight_start(&s, "process", "-c", base_name(script), NULL);
	RUN(0, "/bin/sh", "-c", live_printf("test -x %s", script));
	RUN(5, script);
	sight_stop(&s);
	unlink(script);

	stream_load(&st, s.out);
	stream_check_lossless(&st);
	check_script(&st, 1);
}

static void base_name_of_program(void)
{
	/* longer than the 15 bytes of a comm, which alone would not match it */
	char *program = copy_of_life("a-rather-long-name");
	struct stream st;
	struct sight s;
	struct line *l;

	sight_start(&s, "process", "-c", base_name(program), NULL);
	run_end(program, 7);
	run_end(workload_path("life"), 8);
	sight_stop(&s);
	unlink(program);

	stream_load(&st, s.out);
	stream_check_lossless(&st);
	l = stream_only(&st, 0, "process", "exit");
	CHECK(line_int(l, "exit_code") == 7, "exit code %lld", (long long)line_int(l, "exit_code"));
	stream_only(&st, l->pid, "process", "exec");
}

static bool has_child(void *context)
{
	const struct workload *w = context;
	char *text = live_read_file(live_printf("/proc/%d/task/%d/children", w->pid, w->pid));
	bool yes = text[0] >= '1' && text[0] <= '9';

	free(text);
	return yes;
}

/* Started before agentsight, and the child of one that is named. */
static void running_family(void)
{
	char *parent = copy_of_life("parent"), *child = copy_of_life("child");
	struct workload w;
	struct stream st;
	struct sight s;
	struct line *l;
	size_t i = 0;

	workload_hold(&w, parent, "holds", child, NULL);
	workload_release(&w);
	live_wait("the child", has_child, &w, 10);
	sight_start(&s, "process", "-c", base_name(parent), NULL);
	kill(w.pid, SIGUSR1);
	workload_wait(&w);
	sight_stop(&s);
	unlink(parent);
	unlink(child);

	stream_load(&st, s.out);
	stream_check_lossless(&st);
	while ((l = stream_find(&st, &i, 0, "process", "exit")) && line_int(l, "exit_code") != 6)
		;
	CHECK(l, "the child that was there already was not seen");
	stream_only(&st, w.pid, "process", "exit");
}

static void no_children(void)
{
	struct workload w;
	struct stream st;
	struct sight s;

	workload_hold(&w, "spawn", "-n", "20", NULL);
	sight_start(&s, "process", "--no-children", "-p", live_printf("%d", w.pid), NULL);
	workload_finish(&w);
	sight_stop(&s);

	stream_load(&st, s.out);
	stream_check_lossless(&st);
	stream_only(&st, w.pid, "process", "exec");
	stream_only(&st, w.pid, "process", "exit");
	for (size_t i = 0; i < st.n; i++)
		CHECK(st.lines[i].pid == w.pid || !strcmp(st.lines[i].source, "agentsight"),
		      "a child was followed: %s", json_object_to_json_string(st.lines[i].json));
}

static pid_t end_as(uid_t uid, char *program, char *code)
{
	char *argv[] = {program, (char *)"end", code, NULL};
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (setgid(uid) || setuid(uid))
			_exit(99);
		execv(program, argv);
		_exit(98);
	}
	CHECK(waitpid(pid, &status, 0) == pid, "waitpid: %s", strerror(errno));
	CHECK(WEXITSTATUS(status) == atoi(code), "%s ended with status %#x", program, status);
	return pid;
}

static void one_user(void)
{
	char *program = copy_of_life("user");
	uid_t uid = 54321; /* nobody else's */
	struct stream st;
	struct sight s;
	pid_t pid;

	sight_start(&s, "process", "-u", live_printf("%u", uid), NULL);
	end_as(0, program, (char *)"1");
	pid = end_as(uid, program, (char *)"2");
	end_as(NOBODY, program, (char *)"3");
	sight_stop(&s);
	unlink(program);

	stream_load(&st, s.out);
	stream_check_lossless(&st);
	stream_only(&st, 0, "process", "exec");
	CHECK(line_int(stream_only(&st, 0, "process", "exit"), "exit_code") == 2, "not its exit");
	CHECK(line_int(stream_only(&st, pid, "process", "exec"), "uid") == uid, "not its uid");
}

/* Runs as another user with root's rights, waits for the byte, and starts a child that is root again. */
static _Noreturn void start_of_root(uid_t uid, int gate)
{
	pid_t child;
	char byte;

	if (setresuid(uid, 0, 0) || read(gate, &byte, 1) != 1)
		_exit(99);
	child = fork();
	if (child == 0) {
		setuid(0);
		execl(workload_path("life"), "life", "end", "7", NULL);
	}
	_exit(child > 0 && waitpid(child, NULL, 0) == child ? 0 : 98);
}

/* Who belongs is one question, of whom is told another. */
static void children_of_another_user(void)
{
	char *program = copy_of_life("again");
	uid_t uid = 54321;
	int gate[2], status;
	struct stream st;
	struct sight s;
	size_t i = 0;
	pid_t pid, named;

	CHECK(!pipe(gate), "pipe");
	pid = fork();
	if (pid == 0)
		start_of_root(uid, gate[0]);
	sight_start(&s, "trace", "--process", "--system", "--detail", "-u", "0", "-c",
		    base_name(program), "-p", live_printf("%d", pid), NULL);
	CHECK(write(gate[1], "", 1) == 1, "the process is gone");
	CHECK(waitpid(pid, &status, 0) == pid && status == 0, "it ended with status %#x", status);
	named = fork();
	if (named == 0 && !setresuid(uid, 0, 0))
		execl(program, program, "back", "8", NULL);
	CHECK(waitpid(named, &status, 0) == named && WEXITSTATUS(status) == 8, "status %#x",
	      status);
	sight_stop(&s);
	unlink(program);

	stream_load(&st, s.out);
	stream_check_lossless(&st);
	CHECK(!stream_find(&st, &i, pid, "process", NULL), "an event of another user");
	CHECK(line_int(stream_only(&st, named, "process", "exit"), "exit_code") == 8,
	      "not its end");
	CHECK(stream_count(&st, "process", "exec") == 1, "not one exec of root");
	CHECK(stream_count(&st, "process", "exit") == 2, "not two ends of root");
}

/* Who runs already is of the same user, and not of the command. */
static void command_of_one_user(void)
{
	char *gate = live_printf("%s/gate", live_dir());
	struct sight s = {.out = live_printf("%s/recording.json", live_dir())};
	struct workload w;
	struct stream st;
	int fd;

	CHECK(!mkfifo(gate, 0600), "mkfifo");
	workload_hold(&w, "life", "fork-only", NULL);
	sight_launch(&s, open("/dev/null", O_WRONLY | O_CLOEXEC),
		     (char *[]){sight_program(), (char *)"process", (char *)"-v", (char *)"-u",
				(char *)"0", live_printf("--output=%s", s.out), (char *)"--",
				(char *)"/bin/sh", (char *)"-c", live_printf("read x <%s", gate),
				NULL});
	sight_wait_ready(&s);
	workload_finish(&w);
	fd = open(gate, O_WRONLY | O_CLOEXEC);
	CHECK(write(fd, "x\n", 2) == 2, "the command is gone");
	sight_wait(&s);
	CHECK(s.status == 0, "status %#x: %s", s.status, sight_messages(&s));

	stream_load(&st, s.out);
	stream_check_lossless(&st);
	stream_check_family(&st, stream_only(&st, 0, "process", "exec")->pid);
	stream_only(&st, 0, "process", "exit");
}

/* Given by its number, whatever it is called. */
static void given_and_named(void)
{
	struct workload w;
	struct stream st;
	struct sight s;

	workload_hold(&w, "life", "fork-only", NULL);
	sight_start(&s, "process", "--no-children", "-c", program_invocation_short_name, "-p",
		    live_printf("%d", w.pid), NULL);
	workload_finish(&w);
	sight_stop(&s);

	stream_load(&st, s.out);
	stream_check_lossless(&st);
	stream_only(&st, w.pid, "process", "exec");
	stream_only(&st, w.pid, "process", "exit");
}

static void *take_name(void *name)
{
	prctl(PR_SET_NAME, name);
	return NULL;
}

/* Calls itself @name, or only a thread of it; starts a command that ends with @code when @gate is closed, and ends. */
static pid_t call(char *name, bool thread, int code, int gate[2])
{
	pthread_t t;
	pid_t pid;
	char byte;

	CHECK(!pipe2(gate, O_CLOEXEC), "pipe: %s", strerror(errno));
	pid = fork();
	if (pid)
		return pid;
	close(gate[1]);
	if (!thread)
		take_name(name);
	else if (pthread_create(&t, NULL, take_name, name) || pthread_join(t, NULL))
		_exit(99);
	if (read(gate[0], &byte, 1) < 0)
		_exit(98);
	run_end(workload_path("life"), code);
	_exit(0);
}

static void let_go(pid_t pid, int gate[2])
{
	int status;

	close(gate[1]);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0, "it ended with status %#x", status);
}

static void name_of_its_own(void)
{
	char *name = live_printf("called.%d", getpid() % 1000000);
	char *program = live_printf("%s/%s", live_dir(), name);
	json_object *named = NULL;
	struct stream st;
	struct sight s;
	int gate[2];
	pid_t pid;

	CHECK(!symlink(workload_path("life"), program), "symlink");
	sight_start(&s, "trace", "--process", "--system", "--detail", "-c", name, NULL);
	pid = call(name, false, 7, gate);
	live_wait_text(s.out, "\"info\"", 1, 10);
	let_go(pid, gate);
	let_go(call(name, true, 8, gate), gate);
	run_end(program, 9);
	sight_stop(&s);

	stream_load(&st, s.out);
	stream_check_lossless(&st);
	stream_only(&st, pid, "process", "info");
	stream_only(&st, pid, "process", "fork");
	stream_only(&st, pid, "process", "exit");
	CHECK(stream_count(&st, "process", "exec") == 2, "not the execs of 7 and 9");
	CHECK(stream_count(&st, "process", "exit") == 3, "not 7, who started it, and 9");
	/* the name that an exec sets is no other way to belong */
	json_object_object_get_ex(object_at(st.stop, "streams"), "internal.named", &named);
	CHECK(json_object_get_int(object_at(named, "produced")) == 1, "not one name: %s",
	      json_object_to_json_string(st.stop));
}

/* A loop of agentsight's own writes would never end. */
static void not_itself(void)
{
	struct stream st;
	struct sight s;
	int code = 100 + getpid() % 100;

	sight_start(&s, "trace", "--process", "--files", "--network", NULL);
	run_end(workload_path("life"), code);
	sight_stop(&s);

	stream_load(&st, s.out);
	stream_check_whole(&st);
	for (size_t i = 0; i < st.n; i++)
		CHECK(st.lines[i].pid != s.pid || !strcmp(st.lines[i].source, "agentsight"),
		      "agentsight watches itself: %s",
		      json_object_to_json_string(st.lines[i].json));
	CHECK(stream_count(&st, "process", "exit") > 0, "nothing was seen at all");
}

static void started_command(void)
{
	char *argv[] = {sight_program(),       (char *)"process",     (char *)"--",
			workload_path("life"), (char *)"double-exec", NULL};
	struct expected x = {};
	struct stream st;
	struct sight s = {};
	FILE *f;

	/* the command's lines and agentsight's own, both on standard output */
	sight_launch(&s, -1, argv);
	sight_wait(&s);
	CHECK(s.status == 0, "status %#x: %s", s.status, sight_messages(&s));

	/* what the workload prints are the lines without timestamp */
	f = fopen(live_printf("%s/split.sh", live_dir()), "we");
	fprintf(f, "grep '^{\"timestamp\"' %s >%s/events\ngrep -v '^{\"timestamp\"' %s >%s/told\n",
		s.out, live_dir(), s.out, live_dir());
	fclose(f);
	RUN(0, "/bin/sh", live_printf("%s/split.sh", live_dir()));
	stream_load(&st, live_printf("%s/events", live_dir()));
	stream_check_lossless(&st);
	expected_load(&x, live_printf("%s/told", live_dir()));
	stream_match(&st, &x, "process.fork");
	CHECK(stream_count(&st, "process", "exec") == 3, "%zu execs instead of 3",
	      stream_count(&st, "process", "exec"));
	CHECK(stream_count(&st, "process", "exit") == 2, "%zu exits instead of 2",
	      stream_count(&st, "process", "exit"));
}

static void absent_name(void)
{
	char *program = copy_of_life("absent");
	struct stream st;
	struct sight s;

	sight_start(&s, "process", "-c", base_name(program), NULL);
	live_wait_text(s.err, "waiting", 1, 5);
	run_end(program, 7);
	sight_stop(&s);
	unlink(program);

	stream_load(&st, s.out);
	stream_check_lossless(&st);
	stream_only(&st, 0, "process", "exit");
}

static void gone_target(void)
{
	struct sight s = {};
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	waitpid(pid, NULL, 0);
	sight_launch(&s, -1,
		     (char *[]){sight_program(), (char *)"process", (char *)"-p",
				live_printf("%d", pid), NULL});
	sight_wait(&s);
	CHECK(WIFEXITED(s.status) && WEXITSTATUS(s.status) == 1, "status %#x", s.status);
	CHECK(strstr(sight_messages(&s), live_printf("%d", pid)), "it says: %s",
	      sight_messages(&s));
}

/* Whenever the end comes: a clear refusal, or a run in order. */
static void ending_target(void)
{
	for (int ms = 0; ms < 200; ms += 25) {
		struct sight s = {};
		struct stream st;
		int status;
		pid_t pid = fork();

		if (pid == 0) {
			usleep(ms * 1000);
			_exit(0);
		}
		sight_launch(&s, -1,
			     (char *[]){sight_program(), (char *)"process", (char *)"-p",
					live_printf("%d", pid), (char *)"--duration", (char *)"0.5",
					NULL});
		waitpid(pid, &status, 0);
		sight_wait(&s);
		CHECK(WIFEXITED(s.status), "it died of signal %d", WTERMSIG(s.status));
		if (WEXITSTATUS(s.status) == 1) {
			CHECK(strstr(sight_messages(&s), "no process"), "it says: %s",
			      sight_messages(&s));
			continue;
		}
		CHECK(s.status == 0, "status %#x: %s", s.status, sight_messages(&s));
		stream_load(&st, s.out);
		stream_check_lossless(&st);
	}
}

const struct live_test who_tests[] = {
	{"a_script_belongs_by_its_own_name_through_its_shebang", shebang, 30},
	{"a_script_belongs_by_its_own_name_behind_its_interpreter", behind_interpreter, 30},
	{"a_script_belongs_by_its_own_name_behind_an_option", behind_option, 30},
	{"a_command_that_mentions_a_name_does_not_belong", name_in_command, 30},
	{"a_program_belongs_by_the_base_name_of_its_executable", base_name_of_program, 30},
	{"children_that_run_already_are_watched_with_their_parent", running_family, 30},
	{"no_children_means_none", no_children, 30},
	{"one_user_means_that_user_alone", one_user, 30},
	{"children_of_another_users_process_belong", children_of_another_user, 30},
	{"a_command_of_one_user_is_watched_alone", command_of_one_user, 30},
	{"a_number_that_was_given_belongs_whatever_its_name", given_and_named, 30},
	{"a_process_belongs_once_it_calls_itself_by_the_name", name_of_its_own, 30},
	{"agentsight_is_never_in_its_own_stream", not_itself, 60},
	{"a_command_is_watched_from_its_first_instruction", started_command, 30},
	{"a_name_that_matches_nothing_is_said_and_waited_for", absent_name, 30},
	{"a_process_that_is_gone_is_refused_by_its_number", gone_target, 30},
	{"a_process_that_ends_during_the_start_hurts_nobody", ending_target, 60},
	{},
};
