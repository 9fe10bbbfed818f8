/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "sink/writer.h"
#include "unit/allocator.h"

#define SYNC_MS 20000 /* far more than it takes: a test waits for the event, not for the clock */

static char directory[] = "/tmp/test_writer.XXXXXX";
static char path[PATH_MAX];

/* ---- files ---- */

static const char *beside(const char *suffix)
{
	static char name[2][PATH_MAX + 16];
	static unsigned i;

	i = !i;
	snprintf(name[i], sizeof(name[i]), "%s%s", path, suffix);
	return name[i];
}

static void read_fd(int fd, struct buf *b)
{
	char chunk[65536];
	ssize_t n;

	while ((n = read(fd, chunk, sizeof(chunk))) > 0)
		buf_add(b, chunk, n);
}

static void read_file(const char *name, struct buf *b)
{
	_cleanup_(closep) int fd = open(name, O_RDONLY | O_CLOEXEC);

	buf_reset(b);
	assert_true(fd >= 0);
	read_fd(fd, b);
}

static void assert_file(const char *name, const char *content)
{
	_cleanup_(buf_done) struct buf b = {};

	read_file(name, &b);
	assert_string_equal(buf_cstr(&b), content);
}

/* Every line is "<number>xxx…x\n", and the numbers grow. */
static size_t whole_lines(const struct buf *b, long *last)
{
	size_t n = 0;

	for (size_t i = 0; i < b->len; n++) {
		const char *end = memchr(b->data + i, '\n', b->len - i);
		long number;
		char *rest;

		assert_non_null(end);
		number = strtol(b->data + i, &rest, 10);
		assert_true(number > *last);
		*last = number;
		assert_int_equal(strspn(rest, "x"), end - rest);
		assert_int_equal(end - (b->data + i), 99);
		i = end + 1 - b->data;
	}
	return n;
}

/* ---- the writer ---- */

static struct writer *open_path(const struct writer_options *opt)
{
	struct err e = {};
	struct writer *w;
	int r = writer_open(opt, &w, &e);

	if (r < 0)
		fail_msg("%s", e.text);
	return w;
}

static void add(struct writer *w, unsigned type, const char *line)
{
	writer_append(w, type, line, strlen(line));
}

/* A line of 100 bytes. */
static void add_number(struct writer *w, long number)
{
	char line[101];
	int n = snprintf(line, sizeof(line), "%ld", number);

	memset(line + n, 'x', 99 - n);
	line[99] = '\n';
	writer_append(w, AS_EV_EXEC, line, 100);
}

static void assert_counts(struct writer *w, uint64_t delivered, uint64_t dropped)
{
	struct writer_counts c;

	writer_counts(w, &c);
	assert_int_equal(c.delivered[AS_EV_EXEC], delivered);
	assert_int_equal(c.dropped[AS_EV_EXEC], dropped);
}

static uint64_t delivered(struct writer *w)
{
	struct writer_counts c;

	writer_counts(w, &c);
	return c.delivered[AS_EV_EXEC];
}

static uint64_t dropped(struct writer *w)
{
	struct writer_counts c;

	writer_counts(w, &c);
	return c.dropped[AS_EV_EXEC];
}

/* Standard output becomes @fd while the writer is opened. */
static struct writer *open_on(int fd, struct writer_options *opt)
{
	int saved = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 100);
	struct writer *w;

	fflush(stdout);
	assert_true(saved >= 0);
	assert_int_equal(dup2(fd, STDOUT_FILENO), STDOUT_FILENO);
	w = open_path(opt);
	assert_int_equal(dup2(saved, STDOUT_FILENO), STDOUT_FILENO);
	close(saved);
	return w;
}

static void sigxfsz_stays_default(void)
{
	struct sigaction sa;

	assert_int_equal(sigaction(SIGXFSZ, NULL, &sa), 0);
	assert_ptr_equal(sa.sa_handler, SIG_DFL);
}

static void count_call(void *arg)
{
	__atomic_fetch_add((int *)arg, 1, __ATOMIC_SEQ_CST);
}

/* ---- opening ---- */

static void what_was_appended_is_in_the_file_after_a_sync(void **state)
{
	struct writer *w = open_path(&(struct writer_options){.path = path});
	struct writer_counts c;

	add(w, AS_EV_EXEC, "one\n");
	add(w, AS_EV_EXIT, "two\n");
	assert_true(writer_sync(w, SYNC_MS));
	assert_file(path, "one\ntwo\n");
	writer_counts(w, &c);
	assert_int_equal(c.delivered[AS_EV_EXEC], 1);
	assert_int_equal(c.delivered[AS_EV_EXIT], 1);
	assert_int_equal(c.bytes, 8);
	writer_free(w);
}

static void the_file_is_private_even_if_it_was_not(void **state)
{
	struct writer *w;
	struct stat st;
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0666);

	assert_int_equal(fchmod(fd, 0666), 0);
	close(fd);
	w = open_path(&(struct writer_options){.path = path});
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	writer_free(w);
}

static void an_old_file_is_emptied(void **state)
{
	FILE *f = fopen(path, "we");

	fputs("old\n", f);
	fclose(f);
	writer_free(open_path(&(struct writer_options){.path = path}));
	assert_file(path, "");
}

static void assert_refused(int expected, const char *sentence)
{
	struct writer *w = NULL;
	struct err e = {};

	assert_int_equal(writer_open(&(struct writer_options){.path = path}, &w, &e), expected);
	assert_null(w);
	assert_non_null(strstr(e.text, sentence));
}

static void write_target(const char *name)
{
	FILE *f = fopen(name, "we");

	fputs("precious\n", f);
	fclose(f);
}

static void a_symbolic_link_is_refused_and_its_target_untouched(void **state)
{
	write_target(beside(".target"));
	assert_int_equal(symlink(beside(".target"), path), 0);
	assert_refused(-ELOOP, "symbolic link");
	assert_file(beside(".target"), "precious\n");
}

static void a_hard_link_is_refused_and_its_file_untouched(void **state)
{
	write_target(beside(".target"));
	assert_int_equal(link(beside(".target"), path), 0);
	assert_refused(-EMLINK, "hard links");
	assert_file(beside(".target"), "precious\n");
}

static void a_file_of_another_user_is_refused_and_untouched(void **state)
{
	if (geteuid() != 0)
		skip();
	write_target(path);
	assert_int_equal(chown(path, 12345, 12345), 0);
	assert_refused(-EEXIST, "another user");
	assert_file(path, "precious\n");
	unlink(path);
}

static void a_directory_is_refused(void **state)
{
	assert_int_equal(mkdir(path, 0700), 0);
	assert_refused(-EISDIR, "cannot write");
	rmdir(path);
}

static void a_named_pipe_without_reader_is_refused_at_once(void **state)
{
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_refused(-ENXIO, "nobody reads");
}

static void the_user_who_called_sudo_owns_the_file(void **state)
{
	struct stat st;

	if (geteuid() != 0)
		skip();
	setenv("SUDO_UID", "12345", 1);
	setenv("SUDO_GID", "23456", 1);
	writer_free(open_path(&(struct writer_options){.path = path}));
	/* and may use it once more */
	writer_free(open_path(&(struct writer_options){.path = path}));
	unsetenv("SUDO_UID");
	unsetenv("SUDO_GID");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, 12345);
	assert_int_equal(st.st_gid, 23456);
	unlink(path);
}

/* ---- many lines ---- */

static void many_lines_arrive_whole_and_in_order(void **state)
{
	_cleanup_(buf_done) struct buf b = {};
	struct writer *w = open_path(&(struct writer_options){.path = path});
	long last = -1;

	for (long i = 0; i < 50000; i++) {
		add_number(w, i);
		if (i % 777 == 0)
			writer_flush(w);
	}
	assert_true(writer_sync(w, SYNC_MS));
	assert_counts(w, 50000, 0);
	writer_free(w);
	read_file(path, &b);
	assert_int_equal(whole_lines(&b, &last), 50000);
}

static void a_line_larger_than_a_block_arrives(void **state)
{
	_cleanup_(buf_done) struct buf b = {};
	struct writer *w = open_path(&(struct writer_options){.path = path});
	size_t len = 3 << 20;
	char *line = malloc(len);

	memset(line, 'x', len);
	line[len - 1] = '\n';
	add(w, AS_EV_EXEC, "before\n");
	writer_append(w, AS_EV_EXEC, line, len);
	add(w, AS_EV_EXEC, "behind\n");
	assert_true(writer_sync(w, SYNC_MS));
	assert_counts(w, 3, 0);
	writer_free(w);
	read_file(path, &b);
	assert_int_equal(b.len, len + 14);
	assert_memory_equal(b.data + 7, line, len);
	free(line);
}

static void memory_for_long_lines_is_used_again_and_given_back_when_asked_for(void **state)
{
	const struct writer_options opt = {.path = path};
	const size_t len = 1 << 20, pages = len / 4096;
	size_t allocated;
	struct writer *w;
	long before = 0;
	char *line;

	allocator_as_in_main();
	w = open_path(&opt);
	line = malloc(len);
	memset(line, 'x', len);
	line[len - 1] = '\n';
	for (int i = 0; i < 24; i++) {
		if (i == 4)
			before = page_faults();
		/* shorter ones, and short ones in between */
		writer_append(w, AS_EV_EXEC, line + 10000 * i, len - 10000 * i);
		add_number(w, i);
		assert_true(writer_sync(w, SYNC_MS));
	}
	assert_in_range(page_faults() - before, 0, 2 * pages);
	assert_counts(w, 48, 0);
	allocated = allocated_bytes();
	writer_trim(w);
	assert_true(allocated_bytes() + len <= allocated);
	add_number(w, 100);
	assert_true(writer_sync(w, SYNC_MS));
	assert_counts(w, 49, 0);
	writer_free(w);
	free(line);
}

static void a_line_larger_than_the_queue_is_dropped_alone(void **state)
{
	struct writer_options opt = {.path = path, .queue_bytes = 1 << 20};
	struct writer *w = open_path(&opt);
	size_t len = 2 << 20;
	char *line = calloc(1, len);

	add(w, AS_EV_EXEC, "before\n");
	writer_append(w, AS_EV_EXEC, line, len);
	add(w, AS_EV_EXEC, "behind\n");
	assert_true(writer_sync(w, SYNC_MS));
	assert_counts(w, 2, 1);
	writer_free(w);
	assert_file(path, "before\nbehind\n");
	free(line);
}

/* What a codec appends, whose estimate was too small. */
static void make_line(struct writer *w, size_t expected, size_t len)
{
	struct buf *line = writer_begin(w, expected);

	assert_non_null(line);
	for (size_t i = 0; i + 1 < len; i++)
		buf_add_char(line, 'x');
	buf_add_char(line, '\n');
	writer_end(w, AS_EV_EXEC);
}

static void a_line_made_in_place_may_outgrow_what_was_expected(void **state)
{
	_cleanup_(buf_done) struct buf b = {};
	struct writer *w = open_path(&(struct writer_options){.path = path});
	size_t len = 3 << 20;

	add(w, AS_EV_EXEC, "before\n");
	make_line(w, 10, len);
	make_line(w, 1000, 10);
	assert_true(writer_sync(w, SYNC_MS));
	assert_counts(w, 3, 0);
	writer_free(w);
	read_file(path, &b);
	assert_int_equal(b.len, 7 + len + 10);
	assert_memory_equal(b.data, "before\nxxx", 10);
	assert_memory_equal(b.data + 7 + len - 3, "xx\nxxxxxxxxx\n", 13);
}

/* Those before it are in another block then, which the queue has room for. */
static void a_line_that_outgrew_the_queue_is_dropped_alone(void **state)
{
	struct writer_options opt = {.path = path, .queue_bytes = 1 << 20};
	struct writer *w = open_path(&opt);

	add(w, AS_EV_EXEC, "before\n");
	make_line(w, 10, 2 << 20);
	add(w, AS_EV_EXEC, "behind\n");
	assert_true(writer_sync(w, SYNC_MS));
	assert_counts(w, 2, 1);
	writer_free(w);
	assert_file(path, "before\nbehind\n");
}

static void blocks_that_lines_outgrew_are_used_again(void **state)
{
	struct writer *w;
	long before = 0;

	allocator_as_in_main();
	w = open_path(&(struct writer_options){.path = path});
	for (int i = 0; i < 24; i++) {
		if (i == 4)
			before = page_faults();
		for (int k = 0; k < 200; k++)
			make_line(w, 10, 4000);
		assert_true(writer_sync(w, SYNC_MS));
	}
	/* a block has 64 pages: fresh ones each time would be 20 times four of them */
	assert_in_range(page_faults() - before, 0, 20 * 64);
	assert_counts(w, 24 * 200, 0);
	writer_free(w);
}

static void a_block_that_a_line_outgrew_gives_the_rest_back(void **state)
{
	size_t before, len = 3 << 20;
	struct writer *w;

	allocator_as_in_main();
	w = open_path(&(struct writer_options){.path = path});
	add(w, AS_EV_EXEC, "before\n");
	assert_true(writer_sync(w, SYNC_MS));
	before = allocated_bytes();
	make_line(w, 10, len);
	assert_true(writer_sync(w, SYNC_MS));
	assert_in_range(allocated_bytes(), 0, before + len / 2);
	assert_counts(w, 2, 0);
	writer_free(w);
}

static void a_line_that_memory_did_not_suffice_for_is_taken_back_alone(void **state)
{
	struct writer *w = open_path(&(struct writer_options){.path = path});
	struct buf *line;

	for (int i = 0; i < 2; i++) {
		line = writer_begin(w, 100);
		assert_non_null(line);
		buf_add_lit(line, "the beginning of one");
		line->failed = true;
		writer_end(w, AS_EV_EXEC);
		add(w, AS_EV_EXEC, i ? "behind\n" : "before\n");
	}
	assert_true(writer_sync(w, SYNC_MS));
	assert_counts(w, 2, 2);
	writer_free(w);
	assert_file(path, "before\nbehind\n");
}

static void a_line_of_no_bytes_counts_as_delivered(void **state)
{
	struct writer *w = open_path(&(struct writer_options){.path = path});

	for (int i = 0; i < 200000; i++)
		writer_append(w, AS_EV_EXEC, "", 0);
	assert_true(writer_sync(w, SYNC_MS));
	assert_counts(w, 200000, 0);
	writer_free(w);
	assert_file(path, "");
}

/* ---- rotation ---- */

static void files_rotate_between_lines_and_the_oldest_goes(void **state)
{
	struct writer_options opt = {.path = path, .rotate_bytes = 100000, .rotate_keep = 2};
	const char *const names[] = {".2", ".1", ""};
	struct writer *w = open_path(&opt);
	size_t kept = 0;
	long last = -1;

	for (long i = 0; i < 5000; i++) {
		add_number(w, i);
		if (i % 1000 == 999)
			assert_true(writer_sync(w, SYNC_MS));
	}
	assert_counts(w, 5000, 0);
	writer_free(w);

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_(buf_done) struct buf b = {};
		struct stat st;

		read_file(beside(names[i]), &b);
		kept += whole_lines(&b, &last);
		assert_int_equal(stat(beside(names[i]), &st), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
	}
	assert_int_equal(kept, 3000);
	assert_int_equal(last, 4999);
	assert_int_equal(access(beside(".3"), F_OK), -1);
	assert_int_equal(access(beside(".new"), F_OK), -1);
}

static void an_old_file_is_rotated_where_old_files_are_kept(void **state)
{
	struct writer_options opt = {.path = path, .rotate_bytes = 1000, .rotate_keep = 2};

	write_target(path);
	writer_free(open_path(&opt));
	assert_file(path, "");
	assert_file(beside(".1"), "precious\n");
	writer_free(open_path(&opt)); /* an empty one pushes nothing out */
	assert_int_equal(access(beside(".2"), F_OK), -1);
}

static void rotation_that_keeps_nothing_starts_over(void **state)
{
	struct writer_options opt = {.path = path, .rotate_bytes = 1000};
	struct writer *w = open_path(&opt);

	for (long i = 0; i < 10; i++)
		add_number(w, i);
	assert_true(writer_sync(w, SYNC_MS));
	add(w, AS_EV_EXEC, "new\n");
	assert_true(writer_sync(w, SYNC_MS));
	writer_free(w);
	assert_file(path, "new\n");
	assert_int_equal(access(beside(".1"), F_OK), -1);
}

static void rotation_that_fails_loses_nothing(void **state)
{
	struct writer_options opt = {.path = path, .rotate_bytes = 1000, .rotate_keep = 2};
	_cleanup_(buf_done) struct buf b = {};
	struct writer *w = open_path(&opt);
	long last = -1;

	write_target(beside(".1"));
	assert_int_equal(mkdir(beside(".new"), 0700), 0);
	for (long i = 0; i < 1000; i++) {
		add_number(w, i);
		if (i % 10 == 9)
			assert_true(writer_sync(w, SYNC_MS));
	}
	assert_counts(w, 1000, 0);
	writer_free(w);
	rmdir(beside(".new"));
	read_file(path, &b);
	assert_int_equal(whole_lines(&b, &last), 1000);
	assert_file(beside(".1"), "precious\n");
}

/* ---- reopening ---- */

static void reopening_goes_on_in_a_new_file(void **state)
{
	struct writer *w = open_path(&(struct writer_options){.path = path});

	add(w, AS_EV_EXEC, "one\n");
	assert_true(writer_sync(w, SYNC_MS));
	assert_int_equal(rename(path, beside(".moved")), 0);
	writer_reopen(w);
	add(w, AS_EV_EXEC, "two\n");
	assert_true(writer_sync(w, SYNC_MS));
	writer_free(w);
	assert_file(beside(".moved"), "one\n");
	assert_file(path, "two\n");
}

static void reopening_the_same_file_keeps_its_content(void **state)
{
	struct writer *w = open_path(&(struct writer_options){.path = path});

	add(w, AS_EV_EXEC, "one\n");
	assert_true(writer_sync(w, SYNC_MS));
	writer_reopen(w);
	add(w, AS_EV_EXEC, "two\n");
	assert_true(writer_sync(w, SYNC_MS));
	writer_free(w);
	assert_file(path, "one\ntwo\n");
}

static void a_file_is_its_writers_alone_until_the_writer_ends(void **state)
{
	struct writer *w = open_path(&(struct writer_options){.path = path});
	pid_t child;

	add(w, AS_EV_EXEC, "one\n");
	assert_true(writer_sync(w, SYNC_MS));
	assert_refused(-EBUSY, "another agentsight");
	writer_reopen(w);
	add(w, AS_EV_EXEC, "two\n");
	assert_true(writer_sync(w, SYNC_MS));
	assert_refused(-EBUSY, "another agentsight");
	assert_file(path, "one\ntwo\n");
	child = fork(); /* has a copy of the descriptor */
	if (child == 0) {
		pause();
		_exit(0);
	}
	writer_free(w);
	writer_free(open_path(&(struct writer_options){.path = path}));
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
}

static void reopening_refuses_a_link_and_goes_on_with_the_open_file(void **state)
{
	struct writer *w = open_path(&(struct writer_options){.path = path});

	write_target(beside(".target"));
	add(w, AS_EV_EXEC, "one\n");
	assert_true(writer_sync(w, SYNC_MS));
	assert_int_equal(rename(path, beside(".moved")), 0);
	assert_int_equal(symlink(beside(".target"), path), 0);
	writer_reopen(w);
	add(w, AS_EV_EXEC, "two\n");
	assert_true(writer_sync(w, SYNC_MS));
	writer_free(w);
	assert_file(beside(".moved"), "one\ntwo\n");
	assert_file(beside(".target"), "precious\n");
}

static void a_file_that_somebody_empties_goes_on_at_its_new_end(void **state)
{
	struct writer *w = open_path(&(struct writer_options){.path = path});

	add(w, AS_EV_EXEC, "one\n");
	assert_true(writer_sync(w, SYNC_MS));
	assert_int_equal(truncate(path, 0), 0);
	add(w, AS_EV_EXEC, "two\n");
	assert_true(writer_sync(w, SYNC_MS));
	writer_free(w);
	assert_file(path, "two\n");
}

/* ---- errors ---- */

static void limit_file_size(rlim_t bytes)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void an_error_leaves_whole_lines_and_counts_the_others(void **state)
{
	_cleanup_(buf_done) struct buf b = {};
	struct writer *w = open_path(&(struct writer_options){.path = path});
	long last = -1;

	sigxfsz_stays_default();
	for (long i = 0; i < 100; i++)
		add_number(w, i);
	limit_file_size(5050);
	assert_true(writer_sync(w, SYNC_MS));
	limit_file_size(RLIM_INFINITY);
	assert_counts(w, 50, 50);
	read_file(path, &b);
	assert_int_equal(whole_lines(&b, &last), 50);
	writer_free(w);
}

static void writing_goes_on_when_the_error_is_gone(void **state)
{
	_cleanup_(buf_done) struct buf b = {};
	struct writer *w = open_path(&(struct writer_options){.path = path});
	long last = -1;

	for (long i = 0; i < 100; i++) {
		limit_file_size(i / 20 % 2 ? 2050 : RLIM_INFINITY);
		add_number(w, i);
		assert_true(writer_sync(w, SYNC_MS));
	}
	limit_file_size(RLIM_INFINITY);
	/* 0-19 fit, of 20-39 none does, 40-59 have no limit, 60-79 are beyond it */
	assert_counts(w, 60, 40);
	read_file(path, &b);
	assert_int_equal(whole_lines(&b, &last), 60);
	writer_free(w);
}

static void a_full_device_drops_and_counts(void **state)
{
	struct writer *w = open_path(&(struct writer_options){.path = "/dev/full"});

	for (long i = 0; i < 1000; i++)
		add_number(w, i);
	assert_true(writer_sync(w, SYNC_MS));
	assert_counts(w, 0, 1000);
	writer_free(w);
}

static void what_others_wrote_behind_half_a_line_is_never_cut_off(void **state)
{
	_cleanup_(buf_done) struct buf b = {};
	_cleanup_(closep) int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	struct writer *w = open_on(fd, &(struct writer_options){});

	/* standard output shared with somebody else's lines */
	assert_int_equal(write(fd, "other\n", 6), 6);
	add(w, AS_EV_EXEC, "one\n");
	assert_true(writer_sync(w, SYNC_MS));
	assert_int_equal(write(fd, "other\n", 6), 6);
	for (long i = 0; i < 100; i++)
		add_number(w, i);
	limit_file_size(5050);
	assert_true(writer_sync(w, SYNC_MS));
	limit_file_size(RLIM_INFINITY);
	writer_free(w);
	read_file(path, &b);
	assert_memory_equal(b.data, "other\none\nother\n0xxx", 20);
	assert_int_equal((b.len - 16) % 100, 0);
}

/* ---- pipes ---- */

static void a_closed_pipe_is_told_once_and_the_rest_is_dropped(void **state)
{
	int ends[2], calls = 0;
	struct writer_options opt = {.on_closed = count_call, .context = &calls};
	struct writer *w;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	w = open_on(ends[1], &opt);
	close(ends[1]);
	close(ends[0]);
	for (long i = 0; i < 10; i++) {
		add_number(w, i);
		assert_true(writer_sync(w, SYNC_MS));
	}
	assert_counts(w, 0, 10);
	assert_int_equal(__atomic_load_n(&calls, __ATOMIC_SEQ_CST), 1);
	writer_free(w);
}

static void count_second(void *arg)
{
	count_call((int *)arg + 1);
}

static int named_pipe_reader(void)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void append_number(struct writer *w, long number)
{
	add_number(w, number);
	assert_true(writer_sync(w, SYNC_MS));
}

static void a_closed_pipe_that_is_opened_again_is_written_again(void **state)
{
	int calls[2] = {}, fd;
	struct writer *w;
	char line[200];

	assert_int_equal(mkfifo(path, 0600), 0);
	fd = named_pipe_reader();
	w = open_path(&(struct writer_options){.path = path,
					       .on_closed = count_call,
					       .on_opened = count_second,
					       .context = calls});
	close(fd);
	append_number(w, 0);
	/* still nobody reads */
	writer_reopen(w);
	append_number(w, 1);
	assert_counts(w, 0, 2);
	assert_int_equal(__atomic_load_n(&calls[1], __ATOMIC_SEQ_CST), 0);

	fd = named_pipe_reader();
	writer_reopen(w);
	append_number(w, 2);
	assert_counts(w, 1, 2);
	assert_int_equal(__atomic_load_n(&calls[1], __ATOMIC_SEQ_CST), 1);
	assert_int_equal(read(fd, line, sizeof(line)), 100);
	close(fd);
	append_number(w, 3);
	assert_counts(w, 1, 3);
	assert_int_equal(__atomic_load_n(&calls[0], __ATOMIC_SEQ_CST), 2);
	writer_free(w);
}

static void the_shared_pipe_stays_blocking_for_others(void **state)
{
	struct writer *w;
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	w = open_on(ends[1], &(struct writer_options){});
	assert_int_equal(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
	writer_free(w);
	close(ends[0]);
	close(ends[1]);
}

static void a_blocked_pipe_never_blocks_the_caller_and_drops_are_counted(void **state)
{
	struct writer_options opt = {.queue_bytes = 1 << 20};
	_cleanup_(buf_done) struct buf b = {};
	struct writer *w;
	long last = -1;
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	w = open_on(ends[1], &opt);
	close(ends[1]);
	for (long i = 0; i < 100000; i++)
		add_number(w, i);
	writer_flush(w);
	/* ten megabytes do not fit into one, a pipe and a block or two */
	assert_true(dropped(w) > 70000);

	/* nobody reads: it is given up, and then every line is accounted for */
	assert_false(writer_sync(w, 50));
	assert_int_equal(delivered(w) + dropped(w), 100000);
	writer_free(w);

	/* what reached the pipe is what was counted, and the tail of a line at most */
	read_fd(ends[0], &b);
	close(ends[0]);
	b.len -= b.len % 100;
	assert_true(whole_lines(&b, &last) > 0);
}

static void a_pipe_that_is_read_again_begins_a_new_line(void **state)
{
	_cleanup_(buf_done) struct buf b = {};
	struct writer *w;
	uint64_t before;
	int ends[2];
	char *behind;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	w = open_on(ends[1], &(struct writer_options){});
	close(ends[1]);
	for (long i = 0; i < 2000; i++)
		add_number(w, i);
	assert_false(writer_sync(w, 50));
	assert_int_equal(delivered(w) + dropped(w), 2000);
	before = delivered(w);

	/* 64 KiB are no multiple of 100: a line was torn */
	buf_grow(&b, 70000);
	b.len = read(ends[0], b.data, 70000);
	assert_int_equal(b.len / 100, before);
	add(w, AS_EV_EXEC, "behind\n");
	assert_true(writer_sync(w, SYNC_MS));
	assert_int_equal(delivered(w), before + 1);
	writer_free(w);
	read_fd(ends[0], &b);
	close(ends[0]);
	behind = strstr(buf_cstr(&b), "behind\n");
	assert_non_null(behind);
	assert_int_equal(behind[-1], '\n');
}

static void a_line_larger_than_the_queue_is_cut_off_before_the_next_one(void **state)
{
	_cleanup_(buf_done) struct buf b = {};
	size_t len = 2 << 20, before;
	char *line = malloc(len);
	struct writer *w;
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	w = open_on(ends[1], &(struct writer_options){.queue_bytes = 1 << 20});
	close(ends[1]);
	memset(line, 'x', len);
	line[len - 1] = '\n';
	add(w, AS_EV_EXEC, "before\n");
	assert_true(writer_sync(w, SYNC_MS));
	writer_append(w, AS_EV_EXEC, line, len);
	writer_flush(w);
	assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	read_fd(ends[0], &b);
	before = b.len;
	assert_true(before > 4096 && before < len);

	add(w, AS_EV_EXEC, "behind\n");
	assert_true(writer_sync(w, SYNC_MS));
	assert_counts(w, 2, 1);
	writer_free(w);
	read_fd(ends[0], &b);
	close(ends[0]);
	assert_string_equal(buf_cstr(&b) + before, "\nbehind\n");
	free(line);
}

static void many_small_flushes_behind_a_blocked_pipe_lose_nothing(void **state)
{
	_cleanup_(buf_done) struct buf b = {};
	struct writer *w;
	long last = -1;
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	w = open_on(ends[1], &(struct writer_options){});
	close(ends[1]);
	/* a block of its own for each would be more memory than most machines have */
	for (long i = 0; i < 200000; i++) {
		add_number(w, i);
		writer_flush(w);
	}
	assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	while (b.len < 200000 * 100) {
		struct pollfd p = {.fd = ends[0], .events = POLLIN};

		assert_int_equal(poll(&p, 1, SYNC_MS), 1);
		read_fd(ends[0], &b);
	}
	assert_true(writer_sync(w, SYNC_MS));
	assert_counts(w, 200000, 0);
	writer_free(w);
	close(ends[0]);
	assert_int_equal(whole_lines(&b, &last), 200000);
}

static void freeing_with_a_blocked_pipe_returns(void **state)
{
	struct writer *w;
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	w = open_on(ends[1], &(struct writer_options){});
	for (long i = 0; i < 10000; i++)
		add_number(w, i);
	writer_flush(w);
	writer_free(w);
	close(ends[0]);
	close(ends[1]);
}

/* ---- */

static int remove_files(void **state)
{
	const char *const suffixes[] = {"", ".1", ".2", ".3", ".new", ".moved", ".target"};

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++)
		unlink(beside(suffixes[i]));
	return 0;
}

static int set_up(void **state)
{
	signal(SIGPIPE, SIG_IGN);
	log_setup(LOG_ERROR, false);
	unsetenv("SUDO_UID");
	unsetenv("SUDO_GID");
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/out", directory);
	return 0;
}

static int tear_down(void **state)
{
	return rmdir(directory);
}

#define TEST(f) cmocka_unit_test_teardown(f, remove_files)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_was_appended_is_in_the_file_after_a_sync),
		TEST(the_file_is_private_even_if_it_was_not),
		TEST(an_old_file_is_emptied),
		TEST(a_symbolic_link_is_refused_and_its_target_untouched),
		TEST(a_hard_link_is_refused_and_its_file_untouched),
		TEST(a_file_of_another_user_is_refused_and_untouched),
		TEST(a_directory_is_refused),
		TEST(a_named_pipe_without_reader_is_refused_at_once),
		TEST(the_user_who_called_sudo_owns_the_file),
		TEST(many_lines_arrive_whole_and_in_order),
		TEST(a_line_larger_than_a_block_arrives),
		TEST(memory_for_long_lines_is_used_again_and_given_back_when_asked_for),
		TEST(a_line_larger_than_the_queue_is_dropped_alone),
		TEST(a_line_made_in_place_may_outgrow_what_was_expected),
		TEST(a_line_that_outgrew_the_queue_is_dropped_alone),
		TEST(blocks_that_lines_outgrew_are_used_again),
		TEST(a_block_that_a_line_outgrew_gives_the_rest_back),
		TEST(a_line_that_memory_did_not_suffice_for_is_taken_back_alone),
		TEST(a_line_of_no_bytes_counts_as_delivered),
		TEST(files_rotate_between_lines_and_the_oldest_goes),
		TEST(an_old_file_is_rotated_where_old_files_are_kept),
		TEST(rotation_that_keeps_nothing_starts_over),
		TEST(rotation_that_fails_loses_nothing),
		TEST(reopening_goes_on_in_a_new_file),
		TEST(reopening_the_same_file_keeps_its_content),
		TEST(a_file_is_its_writers_alone_until_the_writer_ends),
		TEST(reopening_refuses_a_link_and_goes_on_with_the_open_file),
		TEST(a_file_that_somebody_empties_goes_on_at_its_new_end),
		TEST(an_error_leaves_whole_lines_and_counts_the_others),
		TEST(writing_goes_on_when_the_error_is_gone),
		TEST(a_full_device_drops_and_counts),
		TEST(what_others_wrote_behind_half_a_line_is_never_cut_off),
		TEST(a_closed_pipe_is_told_once_and_the_rest_is_dropped),
		TEST(a_closed_pipe_that_is_opened_again_is_written_again),
		TEST(the_shared_pipe_stays_blocking_for_others),
		TEST(a_blocked_pipe_never_blocks_the_caller_and_drops_are_counted),
		TEST(a_pipe_that_is_read_again_begins_a_new_line),
		TEST(a_line_larger_than_the_queue_is_cut_off_before_the_next_one),
		TEST(many_small_flushes_behind_a_blocked_pipe_lose_nothing),
		TEST(freeing_with_a_blocked_pipe_returns),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
