/* SPDX-License-Identifier: MIT */
/* Who processes are, where they are, and what the kernel kills for lack of memory. */
#include "live.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIMIT_MIB 24
#define TAKEN_MIB "96"

static bool file_put(const char *dir, const char *name, const char *text)
{
	FILE *f = fopen(live_printf("%s/%s", dir, name), "we");
	bool ok = f && fputs(text, f) >= 0;

	return f && !fclose(f) && ok;
}

/* A memory cgroup of LIMIT_MIB, of whichever version there is. */
static char *cgroup_make(void)
{
	static const char *const kinds[][2] = {
		{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"},
		{"/sys/fs/cgroup", "memory.max"},
	};

	file_put("/sys/fs/cgroup", "cgroup.subtree_control", "+memory");
	for (size_t i = 0; i < 2; i++) {
		char *dir = live_printf("%s/livetest.%d", kinds[i][0], getpid());

		if (mkdir(dir, 0755) < 0)
			continue;
		if (file_put(dir, kinds[i][1], live_printf("%dM", LIMIT_MIB))) {
			file_put(dir, "memory.swap.max", "0");
			return dir;
		}
		rmdir(dir);
	}
	live_skip("no memory cgroup can be made here: %s", strerror(errno));
}

static void killed_for_lack_of_memory(void)
{
	char *cgroup = cgroup_make();
	struct expected x = {};
	struct workload w;
	struct stream st;
	struct sight s;
	struct line *l;
	int64_t kb;

	workload_hold(&w, "oom", cgroup, TAKEN_MIB, NULL);
	sight_start(&s, "process", "-p", live_printf("%d", w.pid), NULL);
	workload_release(&w);
	workload_wait(&w);
	sight_stop(&s);
	rmdir(cgroup);
	CHECK(w.status == 0, "the workload ended with %#x", w.status);

	stream_load(&st, s.out);
	stream_check_lossless(&st);
	expected_load(&x, w.out);
	stream_match(&st, &x, "process.oom_kill");
	l = stream_only(&st, 0, "process", "oom_kill");
	kb = line_int(l, "memory.anon_kb");
	CHECK(kb > LIMIT_MIB * 512 && kb <= LIMIT_MIB * 1024, "it had %lld KB of anonymous memory",
	      (long long)kb);
}

/* ---- who a process is ---- */

/* `run` with @options up to NULL and then @command, to its end. */
static void run_command(struct sight *s, struct stream *st, const char *const options[],
			const char *const command[])
{
	char *out = live_printf("%s/run.json", live_dir());
	char *argv[24] = {sight_program(), (char *)"run", (char *)"--out", out};
	int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	size_t n = 4;

	while (*options)
		argv[n++] = (char *)*options++;
	argv[n++] = (char *)"--";
	while (*command)
		argv[n++] = (char *)*command++;
	*s = (struct sight){.out = out};
	sight_launch(s, null_fd, argv);
	sight_wait(s);
	close(null_fd);
	stream_load(st, out);
	stream_check_lossless(st);
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Behind each exec stands who the process is now, with the same arguments. */
static void check_infos(const struct stream *st, size_t execs)
{
	struct line *exec, *info;
	size_t i = 0, found = 0;

	while ((exec = stream_find(st, &i, 0, "process", "exec"))) {
		size_t at = i;

		info = stream_find(st, &at, exec->pid, "process", "info");
		CHECK(info, "no info of process %d", exec->pid);
		CHECK(json_object_equal(object_at(exec->data, "argv"),
					object_at(info->data, "argv")),
		      "of another program: %s", json_object_to_json_string(info->json));
		CHECK(!strcmp(line_str(info, "cwd"), line_str(exec, "cwd")), "cwd: %s",
		      json_object_to_json_string(info->json));
		CHECK(object_at(info->data, "exe"), "no executable: %s",
		      json_object_to_json_string(info->json));
		found++;
	}
	CHECK(found == execs, "%zu execs instead of %zu", found, execs);
	CHECK(stream_count(st, "process", "info") == execs, "%zu infos of %zu programs",
	      stream_count(st, "process", "info"), execs);
}

static void each_program_once(void)
{
	unsigned long n = live_scaled(400);
	struct stream st;
	struct sight s;

	run_command(&s, &st, LIST("--env", "LIVE_NONE"),
		    LIST(workload_path("spawn"), "-q", "-n", live_printf("%lu", n), "-j", "2"));
	check_infos(&st, n + 1);
}

static bool infos_written(void *path)
{
	char *text = live_read_file(path);

	return strstr(text, "\"type\":\"info\"");
}

static void was_there_before(void)
{
	struct workload w;
	struct stream st;
	struct sight s;
	struct line *l;
	size_t i = 0;

	workload_hold(&w, "life", "end", "0", NULL);
	sight_start(&s, "attach", live_printf("%d", w.pid), NULL);
	live_wait("info of who was there before", infos_written, s.out, 10);
	workload_finish(&w);
	sight_wait(&s); /* it ends with what it was attached to */
	stream_load(&st, s.out);
	stream_check_lossless(&st);
	CHECK(stream_count(&st, "process", "info") == 2, "%zu infos",
	      stream_count(&st, "process", "info"));
	l = stream_find(&st, &i, w.pid, "process", "info");
	CHECK(strstr(line_str(l, "exe"), "livetest"), "exe: %s", line_str(l, "exe"));
	l = stream_find(&st, &i, w.pid, "process", "info");
	CHECK(strstr(line_str(l, "exe"), "life"), "exe: %s", line_str(l, "exe"));
	CHECK(line_int(l, "uid") == getuid(), "uid");
}

static void limits_are_told(void)
{
	char *cgroup = cgroup_make(), *path = strrchr(cgroup, '/');
	char *script = live_printf("echo $$ >%s/cgroup.procs && exec sleep 1", cgroup);
	struct line *l, *found = NULL;
	struct stream st;
	struct sight s;
	size_t i = 0;

	CHECK(!setenv("LIVE_INFO", "a value", 1), "setenv");
	run_command(&s, &st, LIST("--pressure", "--env", "LIVE_INFO,LIVE_NONE"),
		    LIST("/bin/sh", "-c", script));
	rmdir(cgroup);
	while ((l = stream_find(&st, &i, 0, "process", "info")))
		found = l;
	CHECK(found && !strcmp(line_str(found, "cgroup"), path), "info: %s",
	      found ? json_object_to_json_string(found->json) : "none");
	CHECK(!strcmp(json_object_to_json_string_ext(object_at(found->data, "env"),
						     JSON_C_TO_STRING_PLAIN),
		      "[\"LIVE_INFO=a value\"]"),
	      "env: %s", json_object_to_json_string(found->json));
	CHECK(line_int(found, "limits.memory_kb") == LIMIT_MIB * 1024, "limit: %s",
	      json_object_to_json_string(found->json));
	for (i = 0, found = NULL; (l = stream_find(&st, &i, 0, "system", "cgroup"));) {
		if (!strcmp(line_str(l, "path"), path))
			found = l;
	}
	CHECK(found && line_int(found, "memory.limit_kb") == LIMIT_MIB * 1024 &&
		      line_int(found, "memory.current_kb") <= LIMIT_MIB * 1024,
	      "cgroup: %s", found ? json_object_to_json_string(found->json) : "none");
}

/* As /proc does. The run ends by itself, so that whatever fails nothing stays frozen. */
static void frozen(void)
{
	char *cgroup = live_printf("/sys/fs/cgroup/freezer/livetest.%d", getpid());
	struct line *l, *last = NULL;
	struct workload w;
	struct stream st;
	struct sight s;
	size_t i = 0;

	if (mkdir(cgroup, 0755) < 0)
		live_skip("no freezer: %s", strerror(errno));
	workload_hold(&w, "life", "fork-only", NULL);
	sight_start(&s, "system", "--interval", "0.1", "--threads", "--duration", "1.5", "-p",
		    live_printf("%d", w.pid), NULL);
	if (!file_put(cgroup, "cgroup.procs", live_printf("%d", w.pid)) ||
	    !file_put(cgroup, "freezer.state", "FROZEN"))
		live_skip("nothing can be frozen: %s", strerror(errno));
	sight_wait(&s);
	file_put(cgroup, "freezer.state", "THAWED");
	workload_finish(&w);
	rmdir(cgroup);

	stream_load(&st, s.out);
	while ((l = stream_find(&st, &i, w.pid, "system", "thread")))
		last = l;
	CHECK(last && !strcmp(line_str(last, "state"), "disk"), "the last thread: %s",
	      last ? json_object_to_json_string(last->json) : "none");
}

const struct live_test who_is_tests[] = {
	{"each_program_that_is_started_says_once_who_it_is", each_program_once, 60},
	{"who_was_there_before_is_told_once_and_again_when_it_execs", was_there_before, 30},
	{"cgroup_limits_and_chosen_variables_are_told_of_a_process", limits_are_told, 30},
	{"a_frozen_thread_has_the_state_that_proc_tells", frozen, 30},
	{"what_the_kernel_kills_for_lack_of_memory_is_told_with_what_it_had",
	 killed_for_lack_of_memory, 60},
	{},
};
