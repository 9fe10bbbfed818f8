/* SPDX-License-Identifier: MIT */
/*
 * livetest [--list] [NAME]...: runs the live tests, all or those named, and prints
 *
 *	ok NAME
 *	not ok NAME - why
 *	skip NAME - why
 *
 * and a closing line. Static and without helpers, for guests that hold little else.
 */
#include "live.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define WHY_LEN       2048

enum verdict {
	VERDICT_OK = 0,
	VERDICT_FAILED = 1,
	VERDICT_SKIPPED = 77,
};

static const struct live_test *const tables[] = {
	process_tests, life_tests,   storm_tests,    who_tests,   output_tests, file_tests,
	network_tests, tls_tests,    tls_more_tests, plain_tests, system_tests, monitor_tests,
	calls_tests,   who_is_tests, trust_tests,    clock_tests,
};

static char *why; /* shared with the test's process */
static char *dir;
static bool in_guest;

/* ---- for the tests ---- */

__attribute__((format(printf, 2, 0))) static _Noreturn void leave(enum verdict v, const char *fmt,
								  va_list ap)
{
	vsnprintf(why, WHY_LEN, fmt, ap);
	for (char *p = why; *p; p++) {
		if (*p == '\n')
			*p = ' ';
	}
	_exit(v);
}

void live_fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	leave(VERDICT_FAILED, fmt, ap);
}

void live_skip(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	leave(VERDICT_SKIPPED, fmt, ap);
}

const char *live_dir(void)
{
	return dir;
}

bool live_in_guest(void)
{
	return in_guest;
}

unsigned long live_scaled(unsigned long n)
{
	return in_guest ? n / 10 : n;
}

char *live_printf(const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	va_end(ap);
	return text;
}

char *live_read_file(const char *path)
{
	FILE *f = fopen(path, "re"), *out;
	char chunk[4096], *text;
	size_t len, n;

	CHECK(f, "cannot read %s: %s", path, strerror(errno));
	out = open_memstream(&text, &len);
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		fwrite(chunk, 1, n, out);
	fclose(f);
	fclose(out);
	return text;
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ULL + ts.tv_nsec / 1000000;
}

/* Limits are for what never ends, and a slow machine takes several times as long as a quick one. */
static unsigned patience_s(unsigned timeout_s)
{
	return timeout_s * (in_guest ? 10 : 4);
}

void live_wait(const char *what, bool (*ready)(void *), void *context, unsigned timeout_s)
{
	uint64_t end = now_ms() + patience_s(timeout_s) * 1000ULL;

	while (!ready(context)) {
		CHECK(now_ms() < end, "%s: not within %u s", what, patience_s(timeout_s));
		usleep(2000);
	}
}

size_t text_count(const char *text, const char *what)
{
	size_t n = 0;

	for (const char *p = text; (p = strstr(p, what)); p++)
		n++;
	return n;
}

struct awaited {
	const char *path, *text;
	size_t times;
};

static bool has_text(void *context)
{
	const struct awaited *a = context;
	char *text = access(a->path, R_OK) ? NULL : live_read_file(a->path);
	bool yes = text && text_count(text, a->text) >= a->times;

	free(text);
	return yes;
}

void live_wait_text(const char *path, const char *text, size_t times, unsigned timeout_s)
{
	struct awaited a = {path, text, times};

	live_wait(live_printf("\"%s\" in %s", text, path), has_text, &a, timeout_s);
}

/* ---- running them ---- */

static void make_dir(const char *name)
{
	const char *top = getenv("LIVE_OUTPUT");
	char *shell;

	if (!top)
		top = "out/tests/output";
	dir = live_printf("%s/%s", top, name);
	shell = live_printf("rm -rf '%s' && mkdir -p '%s'", dir, dir);
	CHECK(!system(shell), "cannot make %s", dir);
	free(shell);
	free(dir);
	dir = realpath(live_printf("%s/%s", top, name), NULL);
	CHECK(dir, "no directory for %s", name);
}

static _Noreturn void run_here(const struct live_test *t)
{
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	make_dir(t->name);
	t->run();
	_exit(VERDICT_OK);
}

/* Its exit status, or a sentence in @why. */
static int wait_until(pid_t pid, unsigned timeout_s)
{
	uint64_t end = now_ms() + patience_s(timeout_s) * 1000ULL;
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (now_ms() > end) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			snprintf(why, WHY_LEN, "not over within %u s", patience_s(timeout_s));
			return VERDICT_FAILED;
		}
		usleep(5000);
	}
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	snprintf(why, WHY_LEN, "the test itself died of signal %d", WTERMSIG(status));
	return VERDICT_FAILED;
}

static void clean_up(const char *name)
{
	char *shell = live_printf("rm -rf 'out/tests/output/%s'", name);

	if (system(shell))
		fprintf(stderr, "livetest: %s failed\n", shell);
	free(shell);
}

static int run_one(const struct live_test *t)
{
	unsigned timeout_s = t->timeout_s ? t->timeout_s : 60;
	pid_t pid;
	int r;

	why[0] = '\0';
	pid = fork();
	if (pid == 0)
		run_here(t);
	if (pid < 0)
		return VERDICT_FAILED;
	setpgid(pid, pid);
	r = wait_until(pid, timeout_s);
	/* what it started shares its group */
	kill(-pid, SIGKILL);
	/* a guest's files are its memory */
	if (in_guest && r == VERDICT_OK)
		clean_up(t->name);
	return r;
}

static bool is_wanted(const char *name, int argc, char **argv)
{
	if (argc < 2)
		return true;
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], name))
			return true;
	}
	return false;
}

static bool is_known(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		for (const struct live_test *t = tables[i]; t->name; t++) {
			if (!strcmp(t->name, name))
				return true;
		}
	}
	return false;
}

static void list(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		for (const struct live_test *t = tables[i]; t->name; t++)
			puts(t->name);
	}
}

static int run_all(int argc, char **argv)
{
	unsigned passed = 0, failed = 0, skipped = 0;

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		for (const struct live_test *t = tables[i]; t->name; t++) {
			if (!is_wanted(t->name, argc, argv))
				continue;
			switch (run_one(t)) {
			case VERDICT_OK:
				printf("ok %s\n", t->name);
				passed++;
				break;
			case VERDICT_SKIPPED:
				printf("skip %s - %s\n", t->name, why);
				skipped++;
				break;
			default:
				printf("not ok %s - %s\n", t->name, why);
				failed++;
			}
			fflush(stdout);
		}
	}
	printf("%u passed, %u failed, %u skipped\n", passed, failed, skipped);
	return failed > 0 || passed + skipped == 0;
}

int main(int argc, char **argv)
{
	in_guest = getenv("AGENTSIGHT_VM") != NULL;
	if (argc == 2 && !strcmp(argv[1], "--list")) {
		list();
		return 0;
	}
	for (int i = 1; i < argc; i++) {
		if (!is_known(argv[i])) {
			fprintf(stderr, "livetest: no test '%s' (see --list)\n", argv[i]);
			return 2;
		}
	}
	if (geteuid() != 0) {
		fprintf(stderr, "livetest: needs root\n");
		return 2;
	}
	why = mmap(NULL, WHY_LEN, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (why == MAP_FAILED)
		return 2;
	return run_all(argc, argv);
}
