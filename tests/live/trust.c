/* SPDX-License-Identifier: MIT */
/* What is left of privileges while events are read, and what becomes of the two processes when one of them ends. */
#include "live.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#define CAP_BPF 39

/* A line of /proc/PID/status, as a number; UINT64_MAX when the process or the line is not there. */
static uint64_t status_number(pid_t pid, const char *key, int base)
{
	char line[256];
	uint64_t n = UINT64_MAX;
	FILE *f = fopen(live_printf("/proc/%d/status", pid), "re");

	while (f && n == UINT64_MAX && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, key, strlen(key)) && line[strlen(key)] == ':')
			n = strtoull(line + strlen(key) + 1, NULL, base);
	}
	if (f)
		fclose(f);
	return n;
}

static bool comm_is(pid_t pid, const char *name)
{
	char line[64] = "";
	FILE *f = fopen(live_printf("/proc/%d/comm", pid), "re");
	bool same = f && fgets(line, sizeof(line), f) && !strncmp(line, name, strlen(name)) &&
		    line[strlen(name)] == '\n';

	if (f)
		fclose(f);
	return same;
}

/* The child of @parent that is called @name; 0: there is none. */
static pid_t child_called(pid_t parent, const char *name)
{
	DIR *dir = opendir("/proc");
	struct dirent *d;
	pid_t found = 0;

	CHECK(dir, "no /proc: %s", strerror(errno));
	while (!found && (d = readdir(dir))) {
		pid_t pid = (pid_t)strtol(d->d_name, NULL, 10);

		if (pid > 0 && comm_is(pid, name) &&
		    status_number(pid, "PPid", 10) == (uint64_t)parent)
			found = pid;
	}
	closedir(dir);
	return found;
}

static bool maps_need_a_capability(void)
{
	struct utsname uts;
	unsigned int major = 0, minor = 0;

	uname(&uts);
	sscanf(uts.release, "%u.%u", &major, &minor);
	return major < 5 || (major == 5 && minor < 19);
}

static void core(void)
{
	uint64_t allowed = maps_need_a_capability() ? 1ULL << CAP_BPF : 0;
	struct sight s;
	pid_t broker;

	sight_start(&s, "record", "-p", live_printf("%d", getpid()), NULL);
	for (const char *const *key =
		     (const char *const[]){"CapInh", "CapPrm", "CapEff", "CapAmb", NULL};
	     *key; key++)
		CHECK(!(status_number(s.pid, *key, 16) & ~allowed), "%s of the core: %" PRIx64,
		      *key, status_number(s.pid, *key, 16));
	CHECK(status_number(s.pid, "NoNewPrivs", 10) == 1, "the core may gain privileges");
	CHECK(status_number(s.pid, "Seccomp", 10) == 2, "the core has no filter");
	CHECK(status_number(s.pid, "Uid", 10) != 0, "the core is root");

	broker = child_called(s.pid, "agentsight-priv");
	CHECK(broker, "there is no broker");
	CHECK(status_number(broker, "NoNewPrivs", 10) == 1, "the broker may gain privileges");
	CHECK(status_number(broker, "Seccomp", 10) == 2, "the broker has no filter");
	sight_stop(&s);
	CHECK(status_number(broker, "PPid", 10) == UINT64_MAX, "the broker is still there");
}

static void threads(void)
{
	struct sight s;
	struct dirent *d;
	DIR *dir;
	int n = 0;

	sight_start(&s, "record", "-p", live_printf("%d", getpid()), NULL);
	dir = opendir(live_printf("/proc/%d/task", s.pid));
	CHECK(dir, "no threads: %s", strerror(errno));
	while ((d = readdir(dir))) {
		pid_t tid = (pid_t)strtol(d->d_name, NULL, 10);

		if (tid <= 0)
			continue;
		n++;
		CHECK(status_number(tid, "Seccomp", 10) == 2, "thread %d has no filter", tid);
		CHECK(status_number(tid, "Uid", 10) != 0, "thread %d is root", tid);
		CHECK(!(status_number(tid, "CapPrm", 16) & ~(1ULL << CAP_BPF)),
		      "thread %d can do more", tid);
	}
	closedir(dir);
	CHECK(n >= 2, "there is but one thread");
	sight_stop(&s);
}

static void broker_killed(void)
{
	struct workload w;
	struct stream st;
	struct sight s;
	pid_t broker;

	workload_hold(&w, "spawn", "500", NULL);
	sight_start(&s, "record", "-p", live_printf("%d", w.pid), NULL);
	broker = child_called(s.pid, "agentsight-priv");
	CHECK(broker && !kill(broker, SIGKILL), "there is no broker");
	workload_finish(&w);
	sight_stop(&s);
	stream_load(&st, s.out);
	stream_check_lossless(&st);
	CHECK(strstr(sight_messages(&s), "broker"), "nothing is said of it: %s",
	      sight_messages(&s));
}

static bool is_gone(void *context)
{
	return kill(*(pid_t *)context, 0) < 0 && errno == ESRCH;
}

static void core_killed(void)
{
	struct sight s;
	pid_t broker;

	sight_start(&s, "record", "-p", live_printf("%d", getpid()), NULL);
	broker = child_called(s.pid, "agentsight-priv");
	CHECK(broker && !kill(s.pid, SIGKILL), "there is no broker");
	live_wait("the broker's end", is_gone, &broker, 30);
}

/* Who starts us does not want to know of his children. */
static void child_ignored(void)
{
	char *argv[] = {
		sight_program(),  (char *)"run", live_printf("--output=%s/run.json", live_dir()),
		(char *)"--",     (char *)"sh",  (char *)"-c",
		(char *)"exit 7", NULL};
	struct sight s = {};

	/* for no longer than it takes: who ends meanwhile cannot be waited for */
	signal(SIGCHLD, SIG_IGN);
	sight_launch(&s, -1, argv);
	signal(SIGCHLD, SIG_DFL);
	sight_wait(&s);
	CHECK(WIFEXITED(s.status) && WEXITSTATUS(s.status) == 7, "status %#x: %s", s.status,
	      sight_messages(&s));
}

/* It takes five seconds until it is killed, in which it does more than the ring holds. */
static void stubborn_command(void)
{
	struct stream st;
	struct sight s;

	sight_start(&s, "run", "-d", "1", "--", "sh", "-c",
		    "trap '' TERM; while :; do /bin/true; done", NULL);
	sight_wait(&s);
	CHECK(WIFEXITED(s.status) && WEXITSTATUS(s.status) == 124, "status %#x: %s", s.status,
	      sight_messages(&s));
	stream_load(&st, s.out);
	stream_check_lossless(&st);
}

const struct live_test trust_tests[] = {
	{"who_reads_events_has_no_privilege_and_few_system_calls", core, 30},
	{"no_thread_keeps_a_privilege", threads, 30},
	{"a_broker_that_is_killed_takes_no_event_with_it", broker_killed, 60},
	{"a_core_that_is_killed_leaves_no_broker_behind", core_killed, 30},
	{"a_command_of_whom_ignores_its_children_has_its_status", child_ignored, 30},
	{"a_command_that_does_not_end_when_told_is_read_to_its_end", stubborn_command, 60},
	{},
};
