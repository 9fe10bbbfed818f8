/* SPDX-License-Identifier: MIT */
/*
 * From the ring to lines in a file, through the real order, stages and writer. A kernel program fills
 * the ring. One JSON object per measurement:
 *
 *   bench_ring cost FILE [ROUNDS]     CPU time per event when a full ring is drained
 *   bench_ring limit                  records of 256 bytes per second that are copied in and out
 *   bench_ring count                  our events per second when they are only decoded and counted
 *   bench_ring loss FILE RATE SECONDS what is lost at RATE events per second; FILE -: they are only counted
 *   bench_ring stall FIFO             how long the reader is held up when nobody reads its output
 */
#include <err.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "event/schema.h"
#include "pipeline/chain.h"
#include "source/bpf.h"
#include "source/order.h"
#include "source/ring.h"
#include "generate.skel.h"

#define RING_BYTES  (8U << 20)
#define PER_RUN     100
#define FILL_EVENTS 40000 /* fewer than the ring holds */
#define COPY_BYTES  256
#define PEEK_MAX    4096
#define COALESCE_MS 5
#define PACE_NS     100000 /* how far the generator may run ahead */

static struct {
	struct bpf_shared *shared;
	struct generate_bpf *skel;
	struct ring *ring;
	struct order *order;
	struct chain *chain;
	int epoll_fd;
	struct bpf_program *program;
	uint64_t rate; /* of the generator; 0: as fast as the reader */
	uint64_t end_ns;
	_Atomic uint64_t generated;
	_Atomic uint64_t consumed;
	_Atomic bool generator_done;
} b;

static void die(const char *what, int r, const struct err *e)
{
	errx(1, "%s: %s", what, e && e->text[0] ? e->text : strerror(-r));
}

/* ---- the ring and its generator ---- */

static void open_kernel(void)
{
	struct bpf_options opt = {.ring_events_size = RING_BYTES, .ring_data_size = 1 << 20};
	struct err e = {};
	int r = bpf_shared_open(&opt, &b.shared, &e);

	if (r < 0)
		die("maps", r, &e);
	b.skel = generate_bpf__open();
	if (!b.skel)
		errx(1, "cannot open the generator");
	r = bpf_family_prepare(b.shared, b.skel->obj, &e);
	if (r < 0)
		die("generator", r, &e);
	r = generate_bpf__load(b.skel);
	if (r < 0)
		die("generator", r, NULL);
	b.program = b.skel->progs.generate;
	r = ring_open(bpf_shared_ring_events(b.shared), RING_BYTES, AS_RECORD_MAX, &b.ring);
	if (r < 0)
		die("ring", r, NULL);
}

static void generate(uint64_t n)
{
	static const char bytes[COPY_BYTES];
	uint64_t ctx[2] = {PER_RUN, (uintptr_t)bytes};
	LIBBPF_OPTS(bpf_test_run_opts, run, .ctx_in = ctx, .ctx_size_in = sizeof(ctx));
	int fd = bpf_program__fd(b.program);

	for (uint64_t i = 0; i < n; i += PER_RUN) {
		if (bpf_prog_test_run_opts(fd, &run) < 0)
			err(1, "cannot run the generator");
	}
	b.generated += n;
}

static void kernel_counts(struct as_count *ret)
{
	static const unsigned types[] = {AS_EV_CONNECT, AS_EV_SEND, AS_EV_RECV};
	struct as_count all[AS_EV_COUNT];

	*ret = (struct as_count){};
	if (bpf_shared_counts(b.shared, all) < 0)
		errx(1, "cannot read the ledger");
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		ret->produced += all[types[i]].produced;
		ret->dropped += all[types[i]].dropped;
	}
}

/* ---- scheduling ---- */

/* First come, first served before everything else, where that is permitted. */
static void run_on(int cpu, int priority)
{
	struct sched_param param = {.sched_priority = priority};
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
	sched_setscheduler(0, SCHED_FIFO, &param);
}

/* ---- what is behind the ring ---- */

static void count_event(struct emitter *self, const struct event *ev)
{
	b.consumed++;
}

static struct emitter counter = {count_event};

static void open_reader(const char *path)
{
	static struct session_options session = {.sources = SOURCE_NETWORK};
	struct chain_options opt = {.session = &session};
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
	struct err e = {};
	int r;

	session.output = path;
	r = proc_table_new(&opt.procs);
	if (r < 0)
		die("processes", r, NULL);
	if (path) {
		r = chain_open(&opt, &b.chain, &e);
		if (r < 0)
			die("chain", r, &e);
	}
	r = order_new(path ? chain_input(b.chain) : &counter, &b.order);
	if (r < 0)
		die("order", r, NULL);
	order_add_ring(b.order, b.ring, RING_BYTES);
	run_on(0, 2); /* on the one processor of both, the reader goes before the writer */
	b.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_ctl(b.epoll_fd, EPOLL_CTL_ADD, bpf_shared_ring_events(b.shared), &ev))
		err(1, "epoll");
}

/* Takes a copy of each record, and does nothing with it. */
static void copy_out(void)
{
	static struct ring_record records[PEEK_MAX];
	static char copies[PEEK_MAX][COPY_BYTES];
	bool more = true;

	while (more) {
		size_t n = ring_peek(b.ring, records, PEEK_MAX, RING_BYTES, &more);

		for (size_t i = 0; i < n; i++)
			memcpy(copies[i], records[i].data,
			       MIN(records[i].len, (uint32_t)COPY_BYTES));
		__asm__ volatile("" : : "r"(copies) : "memory");
		ring_release(b.ring, NULL);
		b.consumed += n;
	}
}

static void drain(uint64_t watermark_ns)
{
	if (b.program == b.skel->progs.copy)
		return copy_out();
	order_drain(b.order, watermark_ns);
	if (b.chain)
		chain_flush(b.chain);
}

static uint64_t delivered(void)
{
	struct writer_counts counts;
	uint64_t sum = 0;

	if (!b.chain)
		return b.consumed;
	chain_written(b.chain, &counts);
	for (size_t i = 0; i < AS_EV_COUNT; i++)
		sum += counts.delivered[i];
	return sum;
}

/* ---- cost ---- */

struct cost {
	double reader_ns, writer_ns;
};

static struct cost cost_once(void)
{
	uint64_t all = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	uint64_t mine = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	uint64_t reader;

	drain(UINT64_MAX);
	reader = clock_ns(CLOCK_THREAD_CPUTIME_ID) - mine;
	chain_sync(b.chain, 10000);
	all = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - all;
	return (struct cost){(double)reader / FILL_EVENTS, (double)(all - reader) / FILL_EVENTS};
}

static int bench_cost(char **args)
{
	unsigned rounds = args[1] ? atoi(args[1]) : 25;
	uint64_t before;

	open_reader(args[0]);
	for (unsigned i = 0; i < rounds; i++) {
		struct cost c;

		before = delivered();
		generate(FILL_EVENTS);
		c = cost_once();
		printf("{\"reader_ns\":%.1f,\"writer_ns\":%.1f,\"delivered\":%llu,"
		       "\"expected\":%d}\n",
		       c.reader_ns, c.writer_ns, (unsigned long long)(delivered() - before),
		       FILL_EVENTS);
	}
	return 0;
}

/* ---- with a generator beside the reader ---- */

static void pace(uint64_t begin_ns)
{
	uint64_t n = b.generated, due;

	if (!b.rate) {
		while (n > b.consumed + FILL_EVENTS / 2 && clock_boot_ns() < b.end_ns)
			;
		return;
	}
	due = begin_ns + n * NSEC_PER_SEC / b.rate;
	/* asleep, not turning: a real-time thread that never sleeps is stopped for 50 ms each second */
	if (clock_boot_ns() + PACE_NS < due)
		clock_nanosleep(CLOCK_BOOTTIME, TIMER_ABSTIME,
				&(struct timespec){due / NSEC_PER_SEC, due % NSEC_PER_SEC}, NULL);
}

static void *generator_main(void *seconds)
{
	uint64_t begin;

	run_on(1, 1);
	begin = clock_boot_ns();
	b.end_ns = begin + *(uint64_t *)seconds * NSEC_PER_SEC;
	while (clock_boot_ns() < b.end_ns) {
		generate(PER_RUN);
		pace(begin);
	}
	b.generator_done = true;
	return NULL;
}

/* The same way to wait as in a real run. */
static void reader_wait(void)
{
	volatile struct as_shared *doorbell = bpf_shared_memory(b.shared);
	struct epoll_event ready;

	doorbell->urgent = 1;
	epoll_wait(b.epoll_fd, &ready, 1, COALESCE_MS);
}

/* Reads until the generator ends; returns the longest time that one look at the ring took. */
static uint64_t read_along(uint64_t seconds)
{
	pthread_attr_t attr;
	pthread_t thread;
	uint64_t worst = 0;
	cpu_set_t other;

	/* a thread that began on this processor would never get it: this one does not give it up */
	CPU_ZERO(&other);
	CPU_SET(1, &other);
	pthread_attr_init(&attr);
	pthread_attr_setaffinity_np(&attr, sizeof(other), &other);
	if (pthread_create(&thread, &attr, generator_main, &seconds))
		errx(1, "pthread_create failed");
	pthread_attr_destroy(&attr);
	while (!b.generator_done) {
		uint64_t now = clock_boot_ns();

		drain(now - ORDER_WINDOW_NS);
		worst = MAX(worst, clock_boot_ns() - now);
		if (b.rate || b.program == b.skel->progs.copy)
			reader_wait();
	}
	pthread_join(thread, NULL);
	drain(UINT64_MAX);
	return worst;
}

static int bench_count(char **args)
{
	open_reader(NULL);
	read_along(1);
	printf("{\"events_per_s\":%llu}\n", (unsigned long long)b.consumed);
	return 0;
}

static int bench_limit(char **args)
{
	b.program = b.skel->progs.copy;
	return bench_count(args);
}

static void print_run(uint64_t worst, bool synced)
{
	uint64_t written = delivered();
	struct as_count count;

	kernel_counts(&count);
	printf("{\"produced\":%llu,\"ring_full\":%llu,\"delivered\":%llu,\"longest_ms\":%.2f,"
	       "\"synced\":%s}\n",
	       (unsigned long long)count.produced, (unsigned long long)count.dropped,
	       (unsigned long long)written, (double)worst / NSEC_PER_MSEC,
	       synced ? "true" : "false");
}

static int bench_loss(char **args)
{
	uint64_t worst;

	if (!args[1] || !args[2])
		errx(2, "usage: bench_ring loss FILE RATE SECONDS");
	b.rate = strtoull(args[1], NULL, 10);
	open_reader(strcmp(args[0], "-") ? args[0] : NULL);
	worst = read_along(strtoull(args[2], NULL, 10));
	print_run(worst, !b.chain || chain_sync(b.chain, 10000));
	return 0;
}

static int bench_stall(char **args)
{
	uint64_t worst;
	int fd;

	unlink(args[0]);
	if (mkfifo(args[0], 0600))
		err(1, "%s", args[0]);
	fd = open(args[0], O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		err(1, "%s", args[0]);
	b.rate = 200000;
	open_reader(args[0]);
	worst = read_along(1);
	print_run(worst, chain_sync(b.chain, 100));
	close(fd);
	unlink(args[0]);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int args;
		int (*run)(char **args);
	} modes[] = {
		{"cost", 1, bench_cost}, {"limit", 0, bench_limit}, {"count", 0, bench_count},
		{"loss", 3, bench_loss}, {"stall", 1, bench_stall},
	};

	clock_sync();
	if (schema_init() < 0)
		errx(1, "not enough memory");
	for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(modes); i++) {
		if (strcmp(argv[1], modes[i].name) || argc - 2 < modes[i].args)
			continue;
		open_kernel();
		run_on(0, 1); /* the writer's thread inherits it */
		return modes[i].run(argv + 2);
	}
	errx(2, "usage: bench_ring cost|limit|count|loss|stall ARGUMENTS");
}
