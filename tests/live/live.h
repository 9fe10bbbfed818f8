/* SPDX-License-Identifier: MIT */
/*
 * The live tests: each runs ./agentsight beside a workload that tells what it does, and compares.
 *
 * A test is a function that returns when all is well and leaves through live_fail() or live_skip()
 * otherwise. It runs in a process, a process group and a directory of its own, so that whatever it
 * started can be ended behind it.
 */
#ifndef AGENTSIGHT_TESTS_LIVE_H
#define AGENTSIGHT_TESTS_LIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include <json-c/json.h>

#define PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))

/* ---- a test ---- */

struct live_test {
	const char *name; /* a sentence */
	void (*run)(void);
	unsigned timeout_s;
};

/* Each file's table ends with a row without a name. */
extern const struct live_test process_tests[];
extern const struct live_test life_tests[];
extern const struct live_test storm_tests[];
extern const struct live_test who_tests[];
extern const struct live_test output_tests[];
extern const struct live_test file_tests[];
extern const struct live_test network_tests[];
extern const struct live_test tls_tests[];
extern const struct live_test tls_more_tests[];
extern const struct live_test plain_tests[];
extern const struct live_test system_tests[];
extern const struct live_test calls_tests[];
extern const struct live_test monitor_tests[];
extern const struct live_test who_is_tests[];
extern const struct live_test trust_tests[];
extern const struct live_test clock_tests[];

_Noreturn void live_fail(const char *fmt, ...) PRINTF(1, 2);
_Noreturn void live_skip(const char *fmt, ...) PRINTF(1, 2);

#define CHECK(condition, ...)                   \
	do {                                    \
		if (!(condition))               \
			live_fail(__VA_ARGS__); \
	} while (0)

/* The test's own directory, kept when it fails and, on a real machine, when it succeeds. */
const char *live_dir(void);

/* An emulated guest is some thirty times slower: @n there divided by ten. */
unsigned long live_scaled(unsigned long n);
bool live_in_guest(void);

/* Polls @ready until it returns true; fails after some times @timeout_s, which is what a quiet machine never needs. */
void live_wait(const char *what, bool (*ready)(void *), void *context, unsigned timeout_s);

/* Waits as live_wait() does until @text stands @times times in the file @path, or more; no file has no text. */
void live_wait_text(const char *path, const char *text, size_t times, unsigned timeout_s);
size_t text_count(const char *text, const char *what);

/* Text that lives until the test ends. */
char *live_printf(const char *fmt, ...) PRINTF(1, 2);
char *live_read_file(const char *path);

/* ---- a workload ---- */

/* A process that waits before its first instruction, until it is released. */
struct workload {
	pid_t pid;
	int gate_fd;
	char *out; /* file with what it prints */
	int status;
	struct rusage usage;
};

/* @... are its arguments, up to NULL; a name without slash is one of out/tests/workloads. */
void workload_hold(struct workload *w, ...);
void workload_hold_argv(struct workload *w, char *const argv[]);
void workload_release(struct workload *w);
/* Waits for its end; @workload_finish also expects a status of 0. */
void workload_wait(struct workload *w);
void workload_finish(struct workload *w);
char *workload_path(const char *name);

/* ---- agentsight ---- */

struct sight {
	pid_t pid;
	char *out; /* file with its events */
	char *err; /* file with its messages */
	int status;
};

/* Starts agentsight with @... up to NULL and --output, and waits until it watches. */
void sight_start(struct sight *s, ...);
/* The same without waiting, without --output; its standard output goes to @out_fd, or to s->out. */
void sight_launch(struct sight *s, int out_fd, char *const argv[]);
/* Until all hooks are in place, which it says when it has the option -v. */
void sight_wait_ready(struct sight *s);
/* It stands still, with all processes that it has started; and goes on. */
void sight_pause(const struct sight *s);
void sight_resume(const struct sight *s);
/* Interrupts it and expects an end in order. */
void sight_stop(struct sight *s);
/* Waits for an end by itself. */
void sight_wait(struct sight *s);
char *sight_messages(const struct sight *s);
char *sight_program(void);

/* ---- what it wrote ---- */

struct line {
	json_object *json;
	json_object *data;
	const char *source;
	const char *type;
	uint64_t timestamp;
	pid_t pid;
	bool matched;
};

struct stream {
	struct line *lines;
	size_t n;
	size_t *by_pid;    /* indices, sorted by pid, then by position */
	json_object *stop; /* data of the last line, if that is `stop` */
};

/* Every line is whole, strict JSON in valid UTF-8 and has the envelope. */
void stream_load(struct stream *st, const char *path);

/* Calls @on_line for each without keeping them; for millions. */
void stream_each(const char *path, void (*on_line)(const struct line *, void *), void *context);

/* Starts, ends, is in order but for `late`, and its ledger closes. */
void stream_check_whole(const struct stream *st);
/* No event was lost either. */
void stream_check_lossless(const struct stream *st);
/* Nothing but @sources ("process file"), and of processes only @root and its descendants. */
void stream_check_sources(const struct stream *st, const char *sources);
void stream_check_family(const struct stream *st, pid_t root);

/*
 * How many lines there are of each type, and how many events the `loss` events speak of; for streams that are too
 * long to be kept.
 */
struct census {
	struct census_row {
		char type[64]; /* process.exec */
		uint64_t lines;
		uint64_t told_lost[4]; /* by reason, see stream.c */
	} rows[128];
	size_t n;
	json_object *stop; /* data of `stop`, once it came */
};

/* To be called for every line; at `stop` it checks all that stream_check_whole() does, less the order. */
void census_line(struct census *t, const struct line *l);
/* The ledger's count @key ("produced") of @type ("process.exec"); and what of it was lost. */
uint64_t census_ledger(const struct census *t, const char *type, const char *key);
uint64_t census_lost(const struct census *t, const char *type);

size_t stream_count(const struct stream *st, const char *source, const char *type);
/* The first at or behind *@i; *@i is then behind it. NULL as source, type: any; 0 as pid: any. */
struct line *stream_find(const struct stream *st, size_t *i, pid_t pid, const char *source,
			 const char *type);
/* The only one; fails unless there is exactly one. */
struct line *stream_only(const struct stream *st, pid_t pid, const char *source, const char *type);

int64_t line_int(const struct line *l, const char *key);
const char *line_str(const struct line *l, const char *key);
json_object *object_at(json_object *o, const char *path);
uint64_t stop_count(const struct stream *st, const char *key);

/* ---- what was to be expected ---- */

struct expected {
	json_object **lines;
	size_t n;
};

void expected_add(struct expected *x, const char *fmt, ...) PRINTF(2, 3);
/* The JSON objects with a "source" in the file. */
void expected_load(struct expected *x, const char *path);

/*
 * Each is contained in one line of its own, in order per process. Of the types in @complete
 * ("process.exec process.exit"), the processes that are expected to have any have no others.
 */
void stream_match(struct stream *st, const struct expected *x, const char *complete);
/* The same without regard to order. */
void stream_match_unordered(struct stream *st, const struct expected *x, const char *complete);
bool json_contains(json_object *whole, json_object *part);

#endif
