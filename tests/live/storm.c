/* SPDX-License-Identifier: MIT */
/* Everything that happens is told or counted, at full speed and when nobody reads. */
#include "live.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "../workloads/storm.h"

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#define NOT_HERE    77       /* a workload's status when the machine cannot do it */
#define CLOCK_SLACK 1000     /* ns: user space reads the clock a little differently */
#define WALL_SLACK  50000000 /* ns: the wall clock may be corrected meanwhile */

#define TWO_SECONDS 11000 /* processes that two processors start in that time when idle */

static const char *const all_of_process[] = {"process.fork", "process.exec", "process.exit"};

/* ---- who lived ---- */

/* What the stream has said of a life. */
struct seen {
	uint64_t start_ns;
	bool fork, exec, exit;
};

struct truth {
	const struct life *lives;
	struct seen *seen;
	size_t n;
	uint32_t *by_pid; /* indices, sorted by pid, then by time */
	int64_t wall_ns;  /* the wall clock less CLOCK_BOOTTIME */
	struct census census;
};

static int64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static const struct truth *sorting;

static int by_pid_then_time(const void *a, const void *b)
{
	const struct life *p = &sorting->lives[*(const uint32_t *)a];
	const struct life *q = &sorting->lives[*(const uint32_t *)b];

	if (p->pid != q->pid)
		return p->pid < q->pid ? -1 : 1;
	return p->before_ns < q->before_ns ? -1 : p->before_ns > q->before_ns;
}

static void truth_load(struct truth *t, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	CHECK(fd >= 0 && !fstat(fd, &st), "cannot read %s: %s", path, strerror(errno));
	*t = (struct truth){.n = st.st_size / sizeof(*t->lives)};
	t->lives = mmap(NULL, st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(t->lives != MAP_FAILED, "mmap: %s", strerror(errno));
	close(fd);
	t->seen = calloc(t->n, sizeof(*t->seen));
	t->by_pid = calloc(t->n, sizeof(*t->by_pid));
	for (size_t i = 0; i < t->n; i++)
		t->by_pid[i] = i;
	sorting = t;
	qsort(t->by_pid, t->n, sizeof(*t->by_pid), by_pid_then_time);
	t->wall_ns = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_BOOTTIME);
}

/* Position in by_pid behind the last life of @pid that began no later than @ns. */
static size_t behind(const struct truth *t, pid_t pid, uint64_t ns)
{
	size_t low = 0, high = t->n;

	while (low < high) {
		size_t mid = (low + high) / 2;
		const struct life *l = &t->lives[t->by_pid[mid]];

		if (l->pid < pid || (l->pid == pid && l->before_ns <= ns))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* The process @pid that was made at @start_ns; NULL when there was none. */
static const struct life *life_of(const struct truth *t, pid_t pid, uint64_t start_ns)
{
	size_t i = behind(t, pid, start_ns + CLOCK_SLACK);
	const struct life *l = i ? &t->lives[t->by_pid[i - 1]] : NULL;

	return l && l->pid == pid && start_ns <= l->after_ns + CLOCK_SLACK ? l : NULL;
}

/* Whose fork is told by a line of @boot_ns: of those with this number the first that was not told of yet. */
static const struct life *life_forked(const struct truth *t, pid_t pid, uint64_t boot_ns)
{
	size_t i = behind(t, pid, boot_ns < WALL_SLACK ? 0 : boot_ns - WALL_SLACK);

	for (i = i ? i - 1 : 0; i < t->n; i++) {
		const struct life *l = &t->lives[t->by_pid[i]];

		if (l->pid > pid || (l->pid == pid && l->before_ns > boot_ns + WALL_SLACK))
			break;
		if (l->pid == pid && l->forked && !t->seen[t->by_pid[i]].fork &&
		    boot_ns <= l->after_ns + WALL_SLACK)
			return l;
	}
	return NULL;
}

/* ---- what the stream says ---- */

#define CHECK_LINE(condition, l, ...) \
	CHECK(condition, "%s: %s", live_printf(__VA_ARGS__), json_object_to_json_string((l)->json))

static uint64_t line_start(const struct line *l)
{
	const char *id = json_object_get_string(object_at(l->json, "exec_id"));
	unsigned long long start_ns;
	int pid;

	CHECK_LINE(id && sscanf(id, "%d@%llu", &pid, &start_ns) == 2 && pid == l->pid, l,
		   "no exec_id of %d", l->pid);
	return start_ns;
}

/* A process begins once, whatever line speaks of it. */
static const struct life *line_life(struct truth *t, const struct line *l)
{
	uint64_t start_ns = line_start(l);
	const struct life *life = life_of(t, l->pid, start_ns);
	struct seen *s;

	CHECK_LINE(life, l, "no such process began then");
	s = &t->seen[life - t->lives];
	CHECK_LINE(!s->start_ns || s->start_ns == start_ns, l, "it began at another time, too");
	s->start_ns = start_ns;
	CHECK_LINE(json_object_get_int(object_at(l->json, "ppid")) == life->ppid, l,
		   "the parent is %d", life->ppid);
	CHECK_LINE(json_object_get_int64(object_at(l->json, "uid")) == getuid(), l, "another user");
	return life;
}

static void on_fork(struct truth *t, const struct line *l)
{
	const struct life *parent = line_life(t, l), *child;

	child = life_forked(t, line_int(l, "child_pid"), l->timestamp - t->wall_ns);
	CHECK_LINE(child, l, "no such process was made then, or it is told twice");
	CHECK_LINE(child->ppid == parent->pid && line_int(l, "ppid") == child->ppid, l,
		   "the parent is %d", child->ppid);
	t->seen[child - t->lives].fork = true;
}

static void on_exec(struct truth *t, const struct line *l)
{
	const struct life *life = line_life(t, l);
	struct seen *s = &t->seen[life - t->lives];
	json_object *number = json_object_array_get_idx(object_at(l->data, "argv"), 2);

	CHECK_LINE(life->execs && !s->exec, l, "it executes no program, or is told twice");
	CHECK_LINE(!s->exit, l, "it has ended");
	s->exec = true;
	CHECK_LINE(line_int(l, "ppid") == life->ppid, l, "the parent is %d", life->ppid);
	if (life->forked)
		CHECK_LINE(number && json_object_get_int64(number) == life->number, l,
			   "its number is %u", life->number);
}

static void on_exit_line(struct truth *t, const struct line *l)
{
	const struct life *life = line_life(t, l);
	struct seen *s = &t->seen[life - t->lives];
	int status = life->status;

	CHECK_LINE(!s->exit, l, "it ends twice");
	s->exit = true;
	CHECK_LINE(line_int(l, "exit_code") == (WIFEXITED(status) ? WEXITSTATUS(status) : 0) &&
			   line_int(l, "signal") == (WIFSIGNALED(status) ? WTERMSIG(status) : 0),
		   l, "wait says %#x", status);
	if (life->ended_ns)
		CHECK_LINE(s->start_ns + line_int(l, "duration_ns") <= life->ended_ns + CLOCK_SLACK,
			   l, "it had been waited for by then");
}

static void on_line(const struct line *l, void *context)
{
	static void (*const on[])(struct truth *, const struct line *) = {on_fork, on_exec,
									  on_exit_line};
	struct truth *t = context;
	bool process = false;

	census_line(&t->census, l);
	for (size_t i = 0; i < 3; i++) {
		if (strcmp(l->source, "process") || strcmp(l->type, all_of_process[i] + 8))
			continue;
		on[i](t, l);
		process = true;
	}
	CHECK_LINE(process || !strcmp(l->source, "agentsight"), l, "a line that nobody asked for");
}

/* ---- what it comes to ---- */

/* Of each kind: how many there were, and of how many the stream says nothing. */
static void count_lives(const struct truth *t, uint64_t real[3], uint64_t missing[3])
{
	for (size_t i = 0; i < t->n; i++) {
		const struct life *l = &t->lives[i];
		const struct seen *s = &t->seen[i];

		real[0] += l->forked;
		real[1] += l->execs;
		real[2]++;
		missing[0] += l->forked && !s->fork;
		missing[1] += l->execs && !s->exec;
		missing[2] += !s->exit;
	}
}

/* The ledger knows of each event that there was, and of each that is not told. Returns how many are not. */
static uint64_t check_accounts(const struct truth *t)
{
	uint64_t real[3] = {}, missing[3] = {}, sum = 0;

	count_lives(t, real, missing);
	for (size_t i = 0; i < 3; i++) {
		const char *type = all_of_process[i];
		uint64_t produced = census_ledger(&t->census, type, "produced");

		CHECK(produced == real[i],
		      "%s: there were %llu, the ledger says %llu, and of hooks skipped %lld", type,
		      (unsigned long long)real[i], (unsigned long long)produced,
		      (long long)json_object_get_int64(object_at(t->census.stop, "missed")));
		CHECK(census_lost(&t->census, type) == missing[i],
		      "%s: %llu are missing, the ledger says %llu", type,
		      (unsigned long long)missing[i],
		      (unsigned long long)census_lost(&t->census, type));
		sum += missing[i];
	}
	CHECK(json_object_get_int64(object_at(t->census.stop, "dropped")) == (int64_t)sum,
	      "%llu are missing: %s", (unsigned long long)sum,
	      json_object_to_json_string(t->census.stop));
	return sum;
}

/* ---- storms ---- */

struct storm {
	struct workload w;
	struct sight s;
	char *log;
	size_t n;
};

/* Many where there is time for it. */
static unsigned long storm_size(unsigned long n, unsigned long slow)
{
	return live_scaled(getenv("SLOW") ? slow : n);
}

static void storm_hold(struct storm *x, unsigned long n, unsigned numbers)
{
	*x = (struct storm){.log = live_printf("%s/lives", live_dir()), .n = n};
	workload_hold(&x->w, "storm", "-n", live_printf("%lu", n), "-r", live_printf("%u", numbers),
		      x->log, NULL);
}

/* How many children have ended so far. */
static size_t storm_ended(const struct storm *x)
{
	int fd = open(x->log, O_RDONLY | O_CLOEXEC);
	struct stat st = {};
	const struct life *lives;
	size_t ended = 0;

	if (fd < 0 || fstat(fd, &st) || !st.st_size) {
		close(fd);
		return 0;
	}
	lives = mmap(NULL, st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	CHECK(lives != MAP_FAILED, "mmap: %s", strerror(errno));
	for (size_t i = 0; i < st.st_size / sizeof(*lives); i++)
		ended += lives[i].ended_ns != 0;
	munmap((void *)lives, st.st_size);
	return ended;
}

struct progress {
	const struct storm *storm;
	size_t wanted;
};

static bool has_come(void *context)
{
	const struct progress *p = context;

	usleep(20000);
	return storm_ended(p->storm) >= MIN(p->wanted, p->storm->n);
}

/* The reader stands still in the midst of it: for two seconds at least, and until @n children have ended meanwhile. */
static void stand_still(const struct storm *x, size_t n)
{
	struct progress p = {x, x->n / 5};

	live_wait("the storm", has_come, &p, 300);
	sight_pause(&x->s);
	p.wanted = storm_ended(x) + n;
	sleep(2);
	live_wait("more of the storm", has_come, &p, 300);
	sight_resume(&x->s);
}

static void storm_finish(struct storm *x)
{
	workload_wait(&x->w);
	if (WIFEXITED(x->w.status) && WEXITSTATUS(x->w.status) == NOT_HERE)
		live_skip("the kernel does not let a process choose a number");
	CHECK(x->w.status == 0, "the workload failed with status %#x", x->w.status);
	sight_stop(&x->s);
}

/* Compares, and returns how many events are missing. */
static uint64_t storm_compare(const struct storm *x, struct truth *t)
{
	uint64_t missing;

	truth_load(t, x->log);
	stream_each(x->s.out, on_line, t);
	missing = check_accounts(t);
	unlink(x->s.out);
	unlink(x->log);
	return missing;
}

static void exact(void)
{
	struct truth t;
	struct storm x;

	storm_hold(&x, storm_size(5000, 100000), 0);
	sight_start(&x.s, "process", "-p", live_printf("%d", x.w.pid), NULL);
	workload_release(&x.w);
	storm_finish(&x);
	CHECK(!storm_compare(&x, &t), "events are missing: %s",
	      json_object_to_json_string(t.census.stop));
}

static void exact_beside_a_pause(void)
{
	struct truth t;
	struct storm x;

	/* what comes behind the first fifth fits into the ring, however fast that is; with SLOW=1 the reader is quick enough for it */
	storm_hold(&x, storm_size(15000, 100000), 0);
	sight_start(&x.s, "process", "-p", live_printf("%d", x.w.pid), NULL);
	workload_release(&x.w);
	stand_still(&x, live_scaled(TWO_SECONDS));
	storm_finish(&x);
	CHECK(!storm_compare(&x, &t), "events are missing: %s",
	      json_object_to_json_string(t.census.stop));
}

/* More than fits into the ring happens while nobody reads. */
static void exact_losses(void)
{
	struct truth t;
	struct storm x;

	storm_hold(&x, MAX(storm_size(10000, 100000), 4000), 0);
	sight_start(&x.s, "process", "--ring-size", "1", "-p", live_printf("%d", x.w.pid), NULL);
	workload_release(&x.w);
	stand_still(&x, 2500);
	storm_finish(&x);
	CHECK(storm_compare(&x, &t), "a ring of 1 MiB has held all of it: %s",
	      json_object_to_json_string(t.census.stop));
}

/* ---- numbers that come again ---- */

static void compare_reused(unsigned long n, unsigned numbers)
{
	struct truth t;
	struct storm x;

	storm_hold(&x, n, numbers);
	sight_start(&x.s, "process", "--ring-size", "16", "-p", live_printf("%d", x.w.pid), NULL);
	workload_release(&x.w);
	storm_finish(&x);
	CHECK(!storm_compare(&x, &t), "events are missing: %s",
	      json_object_to_json_string(t.census.stop));
}

static void set_pid_max(int max)
{
	FILE *f = fopen("/proc/sys/kernel/pid_max", "we");

	CHECK(f && fprintf(f, "%d\n", max) > 0 && !fclose(f), "cannot set pid_max: %s",
	      strerror(errno));
}

/* Eight numbers on each processor; a guest, which is ours alone, has also no more than 400 for all. */
static void reused(void)
{
	compare_reused(storm_size(50000, 1000000), 8);
	if (!live_in_guest())
		return;
	set_pid_max(400);
	compare_reused(storm_size(20000, 100000), 0);
	set_pid_max(32768);
}

/* ---- the ledger ---- */

/* Of every source at once, more than a ring of 1 MiB holds. */
static const struct deed {
	const char *argv[3];
	unsigned long n;
	const char *type; /* of which some must be lost then */
} deeds[] = {
	{{"tls", "pingpong", "4096"}, 1000, "ssl.data"},
	{{"files", "storm", NULL}, 30000, "file.open"},
	{{"tcp", "pingpong", "100"}, 5000, "network.send"},
	{{"storm", "-n", NULL}, 2000, "process.exit"},
};
#define N_DEEDS (sizeof(deeds) / sizeof(deeds[0]))

static char *deed_hold(const struct deed *d, struct workload *w)
{
	char *n = live_printf("%lu", live_scaled(d->n));
	const char *last = d->argv[2];

	if (!last)
		last = !strcmp(d->argv[0], "storm") ? live_printf("%s/lives", live_dir())
						    : live_dir();
	workload_hold(w, d->argv[0], d->argv[1], n, last, NULL);
	return live_printf("%d", w->pid);
}

static void all_wait(struct workload *w)
{
	for (size_t i = 0; i < N_DEEDS; i++) {
		workload_wait(&w[i]);
		CHECK(w[i].status == 0, "%s failed with status %#x", deeds[i].argv[0], w[i].status);
	}
}

/* All at once, while nobody reads for @stall_s; with a small ring nobody reads before it is over. */
static void do_all(struct sight *s, struct workload *w, bool small, unsigned stall_s)
{
	workload_release(&w[0]);
	/* a library that nobody has looked at yet has to be found first */
	live_wait_text(s->out, "\"source\":\"ssl\"", 1, 30);
	if (stall_s)
		sight_pause(s);
	for (size_t i = 1; i < N_DEEDS; i++)
		workload_release(&w[i]);
	sleep(stall_s);
	if (!small)
		sight_resume(s);
	all_wait(w);
	sight_resume(s);
	sight_stop(s);
}

static void on_any(const struct line *l, void *context)
{
	census_line(context, l);
}

static void check_all_lose(const struct census *t)
{
	for (size_t i = 0; i < N_DEEDS; i++)
		CHECK(census_lost(t, deeds[i].type), "nothing of %s was lost: %s", deeds[i].type,
		      json_object_to_json_string(t->stop));
}

static void account(const char *ring, unsigned stall_s)
{
	bool small = !strcmp(ring, "1");
	struct workload w[N_DEEDS];
	struct census t = {};
	char *pids = live_printf("%d", getpid()); /* somebody who is there to the end */
	struct sight s;

	for (size_t i = 0; i < N_DEEDS; i++)
		pids = live_printf("%s,%s", pids, deed_hold(&deeds[i], &w[i]));
	sight_start(&s, "trace", "--process", "--files", "--network", "--ssl", "--system",
		    "--interval", "0.2", "--ring-size", ring, "-p", pids, NULL);
	do_all(&s, w, small && stall_s, stall_s);
	stream_each(s.out, on_any, &t);
	CHECK(census_ledger(&t, "system.system_metrics", "delivered"), "no samples");
	if (small && stall_s)
		check_all_lose(&t);
	json_object_put(t.stop);
	unlink(s.out);
}

static void accounts(void)
{
	static const char *const rings[] = {"1", "4", "16"};
	static const unsigned stalls_s[] = {0, 2, 10};

	for (size_t i = 0; i < sizeof(rings) / sizeof(rings[0]); i++) {
		for (size_t k = 0; k < (getenv("SLOW") ? 3 : 2); k++)
			account(rings[i], stalls_s[k]);
	}
}

/* ---- what a person sees of it ---- */

static int terminal_open(int *ret_slave)
{
	struct winsize size = {.ws_row = 50, .ws_col = 160};
	int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd < 0 || grantpt(fd) || unlockpt(fd))
		live_skip("no terminals here: %s", strerror(errno));
	*ret_slave = open(ptsname(fd), O_RDWR | O_NOCTTY | O_CLOEXEC);
	CHECK(*ret_slave >= 0, "%s: %s", ptsname(fd), strerror(errno));
	ioctl(*ret_slave, TIOCSWINSZ, &size);
	return fd;
}

/* What is shown goes into @path, until nobody writes any more. */
static pid_t terminal_copy(int fd, int slave, const char *path)
{
	pid_t pid = fork();
	char chunk[65536];
	FILE *f;
	ssize_t n;

	if (pid)
		return pid;
	close(slave);
	f = fopen(path, "we");
	while (f && (n = read(fd, chunk, sizeof(chunk))) > 0) {
		fwrite(chunk, 1, n, f);
		fflush(f);
	}
	_exit(0);
}

/* On the screen, in the summary behind it and in the recording it is the same number. */
static void check_screen(const char *screen, const struct sight *s, const struct census *t)
{
	uint64_t lost = json_object_get_int64(object_at(t->stop, "lost"));
	char *said = live_printf("%llu events were lost", (unsigned long long)lost);
	char *last = live_printf(", %llu lost", (unsigned long long)lost);
	char *summary = live_printf("lost events  %llu", (unsigned long long)lost);

	CHECK(lost, "nothing was lost");
	CHECK(strstr(screen, "process.exec event") && strstr(screen, "ring full ("),
	      "no loss on the screen");
	CHECK(strstr(screen, last), "the screen does not end with '%s'", last);
	CHECK(strstr(sight_messages(s), said), "no message '%s': %s", said, sight_messages(s));
	CHECK(strstr(sight_messages(s), summary), "no line '%s': %s", summary, sight_messages(s));
}

static void shown(void)
{
	char *screen = live_printf("%s/screen", live_dir());
	struct census t = {};
	struct storm x;
	pid_t copier;
	int fd, slave;

	fd = terminal_open(&slave);
	storm_hold(&x, 4000, 0);
	x.s.out = live_printf("%s/recording", live_dir());
	copier = terminal_copy(fd, slave, screen);
	sight_launch(&x.s, slave,
		     (char *[]){sight_program(), (char *)"record", (char *)"-v",
				(char *)"--no-color", (char *)"--ring-size", (char *)"1",
				(char *)"-o", x.s.out, (char *)"-p", live_printf("%d", x.w.pid),
				NULL});
	close(slave);
	sight_wait_ready(&x.s);
	sight_pause(&x.s);
	workload_release(&x.w);
	workload_wait(&x.w);
	sight_resume(&x.s);
	sight_stop(&x.s);
	waitpid(copier, NULL, 0);
	stream_each(x.s.out, on_any, &t);
	check_screen(live_read_file(screen), &x.s, &t);
}

const struct live_test storm_tests[] = {
	{"every_process_of_a_storm_is_told_exactly", exact, 900},
	{"a_reader_that_stands_still_for_two_seconds_misses_no_process", exact_beside_a_pause, 900},
	{"what_a_small_ring_cannot_hold_is_counted_to_the_event", exact_losses, 900},
	{"a_number_used_thousands_of_times_is_each_time_another_process", reused, 1800},
	{"every_source_accounts_for_all_events_whatever_the_ring_and_the_pause", accounts, 900},
	{"losses_are_on_the_screen_and_in_the_summary", shown, 300},
	{},
};
