/* SPDX-License-Identifier: MIT */
/*
 * What a sample of N sleeping processes costs, their JSON lines included, next to top and pidstat on the same
 * processes. All run in the same rounds, one after the other, so that a busy machine slows all; the
 * medians of the CPU time are printed, one JSON object per row. The task iterator needs root. Arguments: processes, rounds.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "event/encode.h"
#include "event/schema.h"
#include "source/bpf.h"
#include "source/sampler.h"

#define ROUNDS        7  /* at most */
#define SAMPLES       10 /* of ours per round */
#define PROCESSES_MAX 20000

struct ours {
	const char *name;
	struct procfs *fs;
	struct proc_table *table;
	struct proc_match match;
	struct bpf_shared *shared;
	struct sampler *sampler;
};

struct peer {
	const char *name;
	const char *few[12]; /* the command for one sample */
	const char *more[12];
	unsigned between; /* samples that the second has more */
};

static struct peer peers[] = {
	{"top -b", {"top", "-b", "-d", "0.1", "-n", "1"}, {"top", "-b", "-d", "0.1", "-n", "6"}, 5},
	{"pidstat -u -r -d -h",
	 {"pidstat", "-u", "-r", "-d", "-h", "-p", "ALL", "1", "1"},
	 {"pidstat", "-u", "-r", "-d", "-h", "-p", "ALL", "1", "3"},
	 2},
	{"pidstat -t",
	 {"pidstat", "-t", "-p", "ALL", "1", "1"},
	 {"pidstat", "-t", "-p", "ALL", "1", "3"},
	 2},
};

enum kind { ITERATOR, ITERATOR_DETAIL, ITERATOR_THREADS, PROC, PROC_DETAIL, KINDS };

static const char *const kind_names[KINDS] = {"task iterator", "task iterator, details and a tree",
					      "task iterator, a row per thread", "/proc",
					      "/proc, details and a tree"};

static pid_t sleepers[PROCESSES_MAX];
static size_t n_sleepers;
static size_t rounds = ROUNDS;
static struct buf line;
static uint64_t n_lines;

/* ---- the processes ---- */

static void sleepers_stop(void)
{
	for (size_t i = 0; i < n_sleepers; i++)
		kill(sleepers[i], SIGKILL);
	for (size_t i = 0; i < n_sleepers; i++)
		waitpid(sleepers[i], NULL, 0);
	n_sleepers = 0;
}

static int sleepers_start(size_t n)
{
	for (size_t i = 0; i < n; i++) {
		pid_t pid = fork();

		if (pid < 0)
			return -errno;
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			prctl(PR_SET_NAME, "sleeper");
			for (;;)
				pause();
		}
		sleepers[n_sleepers++] = pid;
	}
	return 0;
}

/* ---- ours ---- */

static void encode(struct emitter *self, const struct event *ev)
{
	event_encode_json(&line, ev);
	n_lines++;
	if (line.len > 256 * 1024)
		buf_reset(&line);
}

static int procs_fill(const struct bpf_shared *shared)
{
	for (size_t i = 0; i < n_sleepers; i++) {
		uint32_t tgid = sleepers[i];
		struct as_proc proc = {.flags = AS_PROC_GIVEN};

		if (bpf_map_update_elem(bpf_shared_procs(shared), &tgid, &proc, BPF_ANY) < 0)
			return -errno;
	}
	return 0;
}

static int iterator_open(struct ours *o, bool detail, struct task_source **ret, struct err *e)
{
	const struct bpf_options opt = {
		.cfg = {.by_process = 1},
		.ring_events_size = 65536,
		.ring_data_size = 65536,
	};
	int r;

	r = bpf_shared_open(&opt, &o->shared, e);
	if (r < 0)
		return r;
	r = procs_fill(o->shared);
	if (r < 0)
		return r;
	return task_bpf_open(o->shared, detail, ret, e);
}

static int ours_open(struct ours *o, enum kind kind)
{
	const char *name = kind_names[kind];
	bool iterator = kind < PROC;
	static const char *const names[] = {"sleeper"};
	struct sampler_options opt = {
		.detail = kind == ITERATOR_DETAIL || kind == PROC_DETAIL,
		.threads = kind == ITERATOR_THREADS,
	};
	struct task_procfs_options proc;
	struct err e = {0};
	int r;

	o->name = name;
	o->match = (struct proc_match){.names = names, .n_names = 1};
	if (proc_table_new(&o->table) < 0 || procfs_open("/proc", &o->fs) < 0)
		return -ENOMEM;
	procfs_seed(o->fs, o->table, &o->match, NULL, NULL);
	proc = (struct task_procfs_options){
		.fs = o->fs, .table = o->table, .match = &o->match, .detail = opt.detail};
	r = iterator ? iterator_open(o, opt.detail || opt.threads, &opt.source, &e)
		     : task_procfs_open(&proc, &opt.source);
	if (r < 0) {
		fprintf(stderr, "%s is left out: %s\n", name, e.text[0] ? e.text : strerror(-r));
		return r;
	}
	opt.table = o->table;
	opt.fs = o->fs;
	r = sampler_new(&opt, &o->sampler);
	if (r < 0 || !opt.detail)
		return r;
	/* they are all ours */
	proc_table_find(o->table, getpid())->followed = true;
	return sampler_root(o->sampler, getpid());
}

static void ours_close(struct ours *o)
{
	sampler_free(o->sampler);
	bpf_shared_free(o->shared);
	proc_table_free(o->table);
	procfs_free(o->fs);
}

/* CPU nanoseconds per sample; 0 when a process was missed. */
static uint64_t ours_round(struct ours *o)
{
	struct emitter out = {encode};
	uint64_t begin;

	n_lines = 0;
	begin = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	for (int i = 0; i < SAMPLES; i++) {
		if (sampler_sample(o->sampler, clock_boot_ns(), AS_SAMPLE_TIMER, 0, &out) < 0)
			return 0;
	}
	begin = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - begin;
	return n_lines >= n_sleepers * SAMPLES ? begin / SAMPLES : 0;
}

/* ---- peers ---- */

/* CPU nanoseconds of a command whose output goes nowhere; 0 when it is not there. */
static uint64_t command_cpu(const char *const argv[])
{
	struct rusage use;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		int fd = open("/dev/null", O_WRONLY);

		dup2(fd, 1);
		dup2(fd, 2);
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	if (pid < 0 || wait4(pid, &status, 0, &use) < 0 || status != 0)
		return 0;
	return (use.ru_utime.tv_sec + use.ru_stime.tv_sec) * NSEC_PER_SEC +
	       (use.ru_utime.tv_usec + use.ru_stime.tv_usec) * NSEC_PER_USEC;
}

static uint64_t peer_round(const struct peer *p)
{
	uint64_t few = command_cpu(p->few), more = few ? command_cpu(p->more) : 0;

	return more > few ? (more - few) / p->between : 0;
}

/* ---- result ---- */

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void print_row(const char *name, uint64_t ns[ROUNDS])
{
	qsort(ns, rounds, sizeof(ns[0]), by_value);
	if (ns[rounds / 2] == 0)
		return;
	printf("{\"bench\":\"sampler\",\"what\":\"%s\",\"processes\":%zu,\"us_per_process\":%.3f,"
	       "\"ms_per_sample\":%.3f,\"best_us_per_process\":%.3f}\n",
	       name, n_sleepers, ns[rounds / 2] / 1e3 / n_sleepers, ns[rounds / 2] / 1e6,
	       ns[0] / 1e3 / n_sleepers);
}

int main(int argc, char **argv)
{
	size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000;
	struct ours ours[KINDS] = {0};
	uint64_t ns[KINDS][ROUNDS] = {0}, peer_ns[ARRAY_SIZE(peers)][ROUNDS] = {0};

	if (argc > 2)
		rounds = strtoul(argv[2], NULL, 10);
	if (n < 1 || n > PROCESSES_MAX || rounds < 1 || rounds > ROUNDS || schema_init() < 0 ||
	    sleepers_start(n) < 0) {
		sleepers_stop();
		return 1;
	}
	for (int kind = 0; kind < KINDS; kind++)
		ours_open(&ours[kind], kind);

	for (size_t round = 0; round < rounds; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
			ns[i][round] = ours[i].sampler ? ours_round(&ours[i]) : 0;
		for (size_t i = 0; i < ARRAY_SIZE(peers); i++)
			peer_ns[i][round] = peer_round(&peers[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		print_row(ours[i].name, ns[i]);
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++)
		print_row(peers[i].name, peer_ns[i]);

	for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
		ours_close(&ours[i]);
	sleepers_stop();
	buf_done(&line);
	return 0;
}
