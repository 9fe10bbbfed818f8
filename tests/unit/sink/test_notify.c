/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "event/record.h"
#include "event/schema.h"
#include "sink/notify.h"

#define WAIT_MS 20000

static struct notify *notify;
static struct err err;
static char dir[64];
static char text[8192];

static int set_up(void **state)
{
	notify = NULL;
	strcpy(dir, "/tmp/test_notify.XXXXXX");
	unsetenv("SUDO_UID");
	unsetenv("SUDO_GID");
	log_setup(LOG_ERROR, false);
	return schema_init() || !mkdtemp(dir) || chmod(dir, 0777) || chdir(dir);
}

static int tear_down(void **state)
{
	char command[128];

	notify_free(notify);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return chdir("/") || system(command);
}

static bool by_launcher;
static unsigned retry_ms = 10;

static void open_with(const char *command, const char *webhook, const char *curl)
{
	const struct notify_options opt = {.command = command,
					   .webhook = webhook,
					   .curl = curl,
					   .retry_ms = retry_ms,
					   .launcher = by_launcher};

	if (notify_open(&opt, &notify, &err) < 0)
		fail_msg("%s", err.text);
}

static void tell(const char *comm, bool ended, bool once)
{
	_cleanup_(buf_done) struct buf b = {};
	struct as_hdr h = {.tgid = 42, .tid = 42, .boot_ns = 7};
	struct as_span rule, metric, unit;
	struct as_threshold *t;
	struct event ev;

	memcpy(h.comm, comm, strnlen(comm, sizeof(h.comm)));
	record_begin(&b, AS_EV_THRESHOLD, &h);
	rule = record_add_str(&b, "cpu > 80");
	metric = record_add_str(&b, "cpu");
	unit = record_add_str(&b, "percent");
	t = record_struct(&b, as_threshold);
	t->rule = rule;
	t->metric = metric;
	t->unit = unit;
	t->ended = ended;
	t->once = once;
	t->value_centi = 9050;
	t->limit_centi = 8000;
	t->min_centi = -5;
	t->duration_ns = 1234567890;
	assert_int_equal(record_end(&b, &ev), 0);
	notify_event(notify, &ev);
}

static const char *file(const char *name)
{
	_cleanup_(fclosep) FILE *f = fopen(name, "re");

	text[f ? fread(text, 1, sizeof(text) - 1, f) : 0] = '\0';
	return text;
}

static struct notify_counts finish(unsigned wait_ms)
{
	struct notify_counts c;

	notify_finish(notify, wait_ms);
	notify_counts(notify, &c);
	return c;
}

/* ---- commands ---- */

static void a_command_gets_the_alert_in_its_environment(void **state)
{
	open_with("env | grep ^AGENTSIGHT_ALERT_ | sort >out", NULL, NULL);
	setenv("AGENTSIGHT_ALERT_STATE", "stale", 1);
	tell("worker", false, false);
	assert_int_equal(finish(WAIT_MS).started, 1);
	unsetenv("AGENTSIGHT_ALERT_STATE");
	assert_string_equal(file("out"), "AGENTSIGHT_ALERT_AVG=0.00\n"
					 "AGENTSIGHT_ALERT_COMM=worker\n"
					 "AGENTSIGHT_ALERT_DURATION=1.234\n"
					 "AGENTSIGHT_ALERT_LIMIT=80.00\n"
					 "AGENTSIGHT_ALERT_MAX=0.00\n"
					 "AGENTSIGHT_ALERT_METRIC=cpu\n"
					 "AGENTSIGHT_ALERT_MIN=-0.05\n"
					 "AGENTSIGHT_ALERT_PATH=\n"
					 "AGENTSIGHT_ALERT_PID=42\n"
					 "AGENTSIGHT_ALERT_RULE=cpu > 80\n"
					 "AGENTSIGHT_ALERT_STATE=start\n"
					 "AGENTSIGHT_ALERT_UNIT=percent\n"
					 "AGENTSIGHT_ALERT_VALUE=90.50\n");
}

static void a_command_gets_the_line_on_its_standard_input(void **state)
{
	open_with("cat /dev/stdin >out", NULL, NULL);
	tell("worker", true, false);
	finish(WAIT_MS);
	assert_non_null(strstr(file("out"), "\"state\":\"end\""));
	assert_true(text[0] == '{' && !strcmp(text + strlen(text) - 2, "}\n"));
}

static void a_name_is_never_a_command(void **state)
{
	open_with("printf %s \"$AGENTSIGHT_ALERT_COMM\" >out", NULL, NULL);
	tell("';>pwn;$(>pwn)`", false, false);
	finish(WAIT_MS);
	assert_string_equal(file("out"), "';>pwn;$(>pwn)`");
	assert_int_equal(access("pwn", F_OK), -1);
}

static void the_end_of_what_has_no_duration_is_not_told(void **state)
{
	open_with("echo $AGENTSIGHT_ALERT_STATE >>out", NULL, NULL);
	tell("worker", false, true);
	tell("worker", true, true);
	assert_int_equal(finish(WAIT_MS).started, 1);
	assert_string_equal(file("out"), "start\n");
}

static void a_failure_is_counted_and_said_once(void **state)
{
	_cleanup_(closep) int old = dup(STDERR_FILENO);
	int said = open("said", O_CREAT | O_RDWR, 0600);
	struct notify_counts c;

	log_setup(LOG_WARNING, false);
	open_with("exit 3", NULL, NULL);
	dup2(said, STDERR_FILENO);
	close(said);
	for (size_t i = 0; i < 3; i++)
		tell("worker", false, false);
	c = finish(WAIT_MS);
	dup2(old, STDERR_FILENO);
	assert_int_equal(c.failed, 3);
	assert_string_equal(file("said"),
			    "agentsight: warning: --on-alert: the command ended with status 3\n");
}

static void standard_output_stays_that_of_the_run(void **state)
{
	_cleanup_(closep) int old = dup(STDOUT_FILENO);
	_cleanup_(closep) int out = open("stdout", O_CREAT | O_RDWR | O_CLOEXEC, 0600);

	fflush(stdout);
	dup2(out, STDOUT_FILENO);
	open_with("echo event; ls -l /proc/self/fd >fds", NULL, NULL);
	tell("worker", false, false);
	finish(WAIT_MS);
	dup2(old, STDOUT_FILENO);
	assert_string_equal(file("stdout"), "");
	/* and no descriptor of ours is open in it */
	assert_null(strstr(file("fds"), "eventfd"));
}

static void a_child_of_somebody_else_is_left_alone(void **state)
{
	int status = 0;
	pid_t pid;

	while (waitpid(-1, &status, WNOHANG) > 0) /* who outlived an earlier test */
		;
	pid = fork();
	if (pid == 0)
		_exit(5);
	open_with("true", NULL, NULL);
	for (size_t i = 0; i < 20; i++)
		tell("worker", false, false);
	assert_int_equal(finish(WAIT_MS).started, 20);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 5);
	/* and none of its own is left, but the launcher, which lives as long as it may be asked */
	assert_int_equal(waitpid(-1, &status, WNOHANG), by_launcher ? 0 : -1);
}

/* Each adds a line to `out` and waits for the file `go`, or for the end of the test. */
#define HOLD "echo >>out; while [ -e out ] && [ ! -e go ]; do sleep 0.01; done"

static size_t lines(const char *name)
{
	size_t n = 0;

	for (const char *p = file(name); (p = strchr(p, '\n')); p++)
		n++;
	return n;
}

static void go(void)
{
	close(open("go", O_CREAT | O_WRONLY, 0600));
}

static void only_some_run_at_once_and_no_more_wait_than_fit(void **state)
{
	struct notify_counts c;

	open_with(HOLD, NULL, NULL);
	for (size_t i = 0; i < NOTIFY_RUNNING; i++)
		tell("worker", false, false);
	do { /* a command may be quicker than the count of it */
		usleep(1000);
		notify_counts(notify, &c);
	} while (c.started < NOTIFY_RUNNING || lines("out") < NOTIFY_RUNNING);
	for (size_t i = 0; i < NOTIFY_QUEUE + 3; i++)
		tell("worker", false, false);
	notify_counts(notify, &c);
	assert_int_equal(c.dropped, 3);
	assert_int_equal(c.started, NOTIFY_RUNNING);
	go();
	c = finish(WAIT_MS);
	assert_int_equal(c.started, NOTIFY_QUEUE + NOTIFY_RUNNING);
	assert_int_equal(lines("out"), NOTIFY_QUEUE + NOTIFY_RUNNING);
	assert_int_equal(c.left, 0);
}

static void the_end_waits_no_longer_than_it_says(void **state)
{
	uint64_t begin = clock_ns(CLOCK_MONOTONIC);
	struct notify_counts c;

	open_with(HOLD, NULL, NULL);
	for (size_t i = 0; i < NOTIFY_RUNNING + 2; i++)
		tell("worker", false, false);
	c = finish(100);
	assert_true(clock_ns(CLOCK_MONOTONIC) - begin < 5 * NSEC_PER_SEC);
	assert_int_equal(c.left, NOTIFY_RUNNING + 2);
	go();
}

static void as_root_for_sudo_it_runs_as_the_caller(void **state)
{
	if (geteuid() != 0)
		skip();
	setenv("SUDO_UID", "65534", 1);
	setenv("SUDO_GID", "65534", 1);
	open_with("{ id -u; id -g; id -G; cat /dev/stdin | wc -l; echo $HOME $USER; } >out 2>&1",
		  NULL, NULL);
	tell("worker", false, false);
	finish(WAIT_MS);
	assert_string_equal(file("out"), "65534\n65534\n65534\n1\n/nonexistent nobody\n");
}

static void a_caller_that_is_no_number_is_refused(void **state)
{
	const struct notify_options opt = {.command = "true"};

	if (geteuid() != 0)
		skip();
	setenv("SUDO_UID", "0x0", 1);
	setenv("SUDO_GID", "0", 1);
	assert_int_equal(notify_open(&opt, &notify, &err), -EINVAL);
}

/* ---- webhooks, with a curl that tells its arguments ---- */

static void make_curl(const char *script)
{
	FILE *f = fopen("curl", "we");

	fprintf(f, "#!/bin/sh\n%s\n", script);
	fclose(f);
	chmod("curl", 0755);
}

static void an_address_is_an_argument_and_the_line_is_the_body(void **state)
{
	make_curl("printf '%s\\n' \"$@\" >args; cat >body");
	open_with(NULL, "https://example.org/?a=[1]&b={2}$(id)", "./curl");
	tell("worker", false, false);
	finish(WAIT_MS);
	assert_string_equal(file("args"),
			    "-q\n-g\n-fsS\n--max-time\n10\n--max-redirs\n0\n--proto\n=http,https\n"
			    "-H\nContent-Type: application/json\n-H\nExpect:\n--data-binary\n@-\n"
			    "-o\n/dev/null\n--url\nhttps://example.org/?a=[1]&b={2}$(id)\n");
	assert_non_null(strstr(file("body"), "\"rule\":\"cpu > 80\""));
}

static void a_webhook_is_tried_three_times(void **state)
{
	struct notify_counts c;

	make_curl("cat >>bodies; exit 7");
	open_with(NULL, "http://127.0.0.1:1/", "./curl");
	tell("worker", false, false);
	c = finish(WAIT_MS);
	assert_int_equal(c.started, NOTIFY_TRIES);
	assert_int_equal(c.failed, 1);
	assert_int_equal(lines("bodies"), NOTIFY_TRIES); /* the whole line each time */
}

static void a_webhook_that_works_the_second_time_has_not_failed(void **state)
{
	struct notify_counts c;

	make_curl("[ -e once ] || { >once; exit 22; }");
	open_with(NULL, "http://127.0.0.1:1/", "./curl");
	tell("worker", false, false);
	c = finish(WAIT_MS);
	assert_int_equal(c.started, 2);
	assert_int_equal(c.failed, 0);
}

static void wait_started(uint64_t n)
{
	struct notify_counts c;

	do {
		usleep(1000);
		notify_counts(notify, &c);
	} while (c.started < n);
}

/* All wait for their second try when the last four fail, and put themselves behind a full queue. */
static void what_is_to_be_tried_again_leaves_no_room_for_more(void **state)
{
	const size_t more = 300;
	struct notify_counts c;

	make_curl("[ ! -e hold ] || while [ ! -e go ]; do sleep 0.01; done; echo >>out; exit 7");
	retry_ms = 3600000;
	open_with(NULL, "http://127.0.0.1:1/", "./curl");
	retry_ms = 10;
	for (size_t i = 0; i < NOTIFY_QUEUE - NOTIFY_RUNNING; i++)
		tell("worker", false, false);
	while (lines("out") < NOTIFY_QUEUE - NOTIFY_RUNNING)
		usleep(1000);
	close(open("hold", O_CREAT | O_WRONLY, 0600));
	for (size_t i = 0; i < NOTIFY_RUNNING; i++)
		tell("worker", false, false);
	wait_started(NOTIFY_QUEUE);
	for (size_t i = 0; i < NOTIFY_RUNNING; i++)
		tell("worker", false, false);
	go();
	wait_started(NOTIFY_QUEUE + NOTIFY_RUNNING);

	for (size_t i = 0; i < more; i++) {
		tell("worker", false, false);
		usleep(1000);
	}
	c = finish(0);
	assert_int_equal(c.dropped, more);
	assert_int_equal(c.started, NOTIFY_QUEUE + NOTIFY_RUNNING);
	assert_int_equal(c.left, NOTIFY_QUEUE + NOTIFY_RUNNING);
}

static void without_curl_it_is_not_tried_again(void **state)
{
	struct notify_counts c;

	open_with(NULL, "http://127.0.0.1:1/", "./no-such-curl");
	tell("worker", false, false);
	c = finish(WAIT_MS);
	assert_int_equal(c.started, 1);
	assert_int_equal(c.failed, 1);
}

static void addresses_are_checked(void **state)
{
	static const char *const bad[] = {
		"",          "example.org",   "ftp://x/",   "file:///etc/x", "http://",
		"http:///x", "-o/etc/passwd", "http://a b", "http://a\n",    "https://\xc3\xa9/"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const struct notify_options opt = {.webhook = bad[i]};

		assert_int_equal(notify_open(&opt, &notify, &err), -EINVAL);
		assert_non_null(strstr(err.text, "--webhook"));
		assert_null(notify);
	}
	open_with(NULL, "HTTPS://example.org", NULL);
}

static void other_events_are_passed_over(void **state)
{
	const struct as_exit e = {.h = {.type = AS_EV_EXIT, .len = sizeof(e)}};
	const struct event ev = {.rec = &e.h, .desc = schema_event(AS_EV_EXIT)};

	open_with("true", NULL, NULL);
	notify_event(notify, &ev);
	assert_int_equal(finish(WAIT_MS).started, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_command_gets_the_alert_in_its_environment),
		TEST(a_command_gets_the_line_on_its_standard_input),
		TEST(a_name_is_never_a_command),
		TEST(the_end_of_what_has_no_duration_is_not_told),
		TEST(a_failure_is_counted_and_said_once),
		TEST(standard_output_stays_that_of_the_run),
		TEST(a_child_of_somebody_else_is_left_alone),
		TEST(only_some_run_at_once_and_no_more_wait_than_fit),
		TEST(the_end_waits_no_longer_than_it_says),
		TEST(as_root_for_sudo_it_runs_as_the_caller),
		TEST(a_caller_that_is_no_number_is_refused),
		TEST(an_address_is_an_argument_and_the_line_is_the_body),
		TEST(a_webhook_is_tried_three_times),
		TEST(a_webhook_that_works_the_second_time_has_not_failed),
		TEST(what_is_to_be_tried_again_leaves_no_room_for_more),
		TEST(without_curl_it_is_not_tried_again),
		TEST(addresses_are_checked),
		TEST(other_events_are_passed_over),
	};

	int failed = cmocka_run_group_tests_name("by itself", tests, NULL, NULL);

	by_launcher = true;
	return failed + cmocka_run_group_tests_name("by a launcher", tests, NULL, NULL);
}
