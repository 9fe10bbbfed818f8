/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "event/record.h"
#include "event/schema.h"
#include "stage/file_io.h"

/* ---- a kernel's table, and what comes out ---- */

#define ENTRIES 8
#define OUT_MAX 64

struct out {
	unsigned type;
	uint64_t boot_ns;
	uint64_t bytes;
	uint64_t count;
	uint32_t tgid;
	uint32_t reason;
	int32_t fd;
	struct as_span rel;
	char path[PATH_TEXT_MAX];
};

static struct {
	struct as_file_key keys[ENTRIES];
	struct as_file_sums sums[ENTRIES];
	bool used[ENTRIES];
	uint32_t dead;
	struct emitter end;
	struct stage *stage;
	struct out out[OUT_MAX];
	size_t n;
	struct buf buf;
} t;

static int find(const struct as_file_key *key)
{
	for (int i = 0; i < ENTRIES; i++) {
		if (t.used[i] && t.keys[i].tgid == key->tgid && t.keys[i].fd == key->fd)
			return i;
	}
	return -ENOENT;
}

static int table_each(void *source, file_sums_fn *fn, void *ctx)
{
	for (int i = 0; i < ENTRIES; i++) {
		if (t.used[i])
			fn(ctx, &t.keys[i], &t.sums[i]);
	}
	return 0;
}

static int table_read(void *source, const struct as_file_key *key, struct as_file_sums *ret)
{
	int i = find(key);

	if (i < 0)
		return i;
	*ret = t.sums[i];
	return 0;
}

static void table_remove(void *source, const struct as_file_key *key)
{
	int i = find(key);

	if (i >= 0)
		t.used[i] = false;
}

static bool table_alive(void *source, uint32_t tgid)
{
	return tgid != t.dead;
}

static void collect(struct emitter *self, const struct event *ev)
{
	const struct as_file_io *io = (const struct as_file_io *)ev->rec;
	struct out *o = &t.out[t.n++ % OUT_MAX];

	memset(o, 0, sizeof(*o));
	o->type = ev->rec->type;
	o->boot_ns = ev->rec->boot_ns;
	o->tgid = ev->rec->tgid;
	if (o->type != AS_EV_FILE_READ && o->type != AS_EV_FILE_WRITE)
		return;
	o->bytes = io->bytes;
	o->count = io->count;
	o->reason = io->reason;
	o->fd = io->fd;
	o->rel = io->path.rel;
	if (io->path.rel.len)
		record_path(ev->rec, &io->path, o->path);
}

static int setup(void **state)
{
	static const struct file_sums_ops ops = {
		.each = table_each,
		.read = table_read,
		.remove = table_remove,
		.alive = table_alive,
	};

	memset(&t, 0, sizeof(t));
	t.end.emit = collect;
	return file_io_new(&t.end, &ops, &t.stage);
}

static int teardown(void **state)
{
	t.stage->free(t.stage);
	buf_done(&t.buf);
	return 0;
}

static const struct as_hdr who = {.boot_ns = 1000, .start_ns = 77, .tgid = 5, .tid = 5};

static void send(void)
{
	struct event ev;

	assert_int_equal(record_end(&t.buf, &ev), 0);
	event_emit(&t.stage->in, &ev);
}

/* @base as the kernel writes it: leaf first. */
static void seen_as(const struct as_hdr *h, uint64_t id, int fd, const char *base, size_t len,
		    bool cut)
{
	struct as_file_seen *seen;
	struct as_span span;

	record_begin(&t.buf, AS_EV_FILE_SEEN, h);
	span = record_add(&t.buf, base, len);
	span.full += cut;
	seen = record_struct(&t.buf, as_file_seen);
	seen->path.base = span;
	seen->file_id = id;
	seen->fd = fd;
	send();
}

static void seen(uint64_t id, int fd)
{
	seen_as(&who, id, fd, "name\0dir", 9, false);
}

static void done(uint64_t id, int fd, uint64_t bytes, uint64_t count)
{
	struct as_file_done *d;

	record_begin(&t.buf, AS_EV_FILE_DONE, &who);
	d = record_struct(&t.buf, as_file_done);
	d->h.boot_ns = 2000;
	d->file_id = id;
	d->fd = fd;
	d->write_bytes = bytes;
	d->write_count = count;
	send();
}

static void process_exit(const struct as_hdr *h)
{
	record_begin(&t.buf, AS_EV_EXIT, h);
	send();
}

static void entry(int i, uint64_t id, int fd, uint64_t bytes, uint64_t count)
{
	t.used[i] = true;
	t.keys[i] = (struct as_file_key){.tgid = who.tgid, .fd = fd};
	t.sums[i] = (struct as_file_sums){.id = id, .write_bytes = bytes, .write_count = count};
}

static void assert_out(size_t i, uint64_t bytes, uint64_t count, unsigned reason, const char *path)
{
	assert_true(i < t.n);
	assert_int_equal(t.out[i].type, AS_EV_FILE_WRITE);
	assert_int_equal(t.out[i].bytes, bytes);
	assert_int_equal(t.out[i].count, count);
	assert_int_equal(t.out[i].reason, reason);
	assert_string_equal(t.out[i].path, path);
}

/* ---- tests ---- */

static void a_close_reports_the_sums_with_the_path_of_the_first_transfer(void **state)
{
	seen(1, 3);
	assert_int_equal(t.n, 0);
	done(1, 3, 100, 2);
	assert_int_equal(t.n, 1);
	assert_out(0, 100, 2, AS_FLUSH_CLOSE, "/dir/name");
	assert_int_equal(t.out[0].fd, 3);
	assert_int_equal(t.out[0].boot_ns, 2000);
}

static void reads_and_writes_of_one_opening_are_two_events(void **state)
{
	struct as_file_done *d;

	seen(1, 3);
	record_begin(&t.buf, AS_EV_FILE_DONE, &who);
	d = record_struct(&t.buf, as_file_done);
	*d = (struct as_file_done){d->h, 1, 10, 1, 20, 2, 3, 0};
	send();
	assert_int_equal(t.n, 2);
	assert_int_equal(t.out[0].type, AS_EV_FILE_READ);
	assert_int_equal(t.out[0].bytes, 10);
	assert_out(1, 20, 2, AS_FLUSH_CLOSE, "/dir/name");
	assert_int_equal(file_io_counts(t.stage)->made[0], 1);
	assert_int_equal(file_io_counts(t.stage)->made[1], 1);
}

static void the_timer_reports_only_what_is_new(void **state)
{
	seen(1, 3);
	entry(0, 1, 3, 100, 2);
	t.stage->tick(t.stage, 5000);
	t.stage->tick(t.stage, 6000);
	t.sums[0].write_bytes = 150;
	t.sums[0].write_count = 3;
	t.stage->tick(t.stage, 7000);
	assert_int_equal(t.n, 2);
	assert_out(0, 100, 2, AS_FLUSH_TIMER, "/dir/name");
	assert_int_equal(t.out[0].boot_ns, 5000);
	assert_int_equal(t.out[0].tgid, 5);
	assert_out(1, 50, 1, AS_FLUSH_TIMER, "/dir/name");
	done(1, 3, 160, 4);
	assert_out(2, 10, 1, AS_FLUSH_CLOSE, "/dir/name");
}

static void a_close_without_news_since_the_timer_says_nothing(void **state)
{
	seen(1, 3);
	entry(0, 1, 3, 100, 2);
	t.stage->tick(t.stage, 5000);
	done(1, 3, 100, 2);
	assert_int_equal(t.n, 1);
}

static void bytes_whose_call_is_not_counted_yet_wait_for_it(void **state)
{
	seen(1, 3);
	entry(0, 1, 3, 100, 0);
	t.stage->tick(t.stage, 5000);
	assert_int_equal(t.n, 0);
	t.sums[0].write_count = 1;
	t.stage->tick(t.stage, 6000);
	assert_out(0, 100, 1, AS_FLUSH_TIMER, "/dir/name");
}

static void bytes_left_over_at_the_close_are_reported_without_a_call(void **state)
{
	seen(1, 3);
	entry(0, 1, 3, 50, 1);
	t.stage->tick(t.stage, 5000);
	done(1, 3, 100, 1);
	assert_out(1, 50, 0, AS_FLUSH_CLOSE, "/dir/name");
}

static void the_timer_leaves_a_later_opening_of_the_descriptor_alone(void **state)
{
	seen(1, 3);
	entry(0, 2, 3, 100, 1);
	t.stage->tick(t.stage, 5000);
	assert_int_equal(t.n, 0);
}

static void an_exit_reports_the_rest_before_it_is_passed_on(void **state)
{
	seen(1, 3);
	seen(2, 4);
	entry(0, 1, 3, 10, 1);
	entry(1, 2, 4, 20, 1);
	process_exit(&who);
	assert_int_equal(t.n, 3);
	assert_int_equal(t.out[0].bytes + t.out[1].bytes, 30);
	assert_int_equal(t.out[0].reason, AS_FLUSH_EXIT);
	assert_int_equal(t.out[2].type, AS_EV_EXIT);
	assert_false(t.used[0]);
	assert_false(t.used[1]);
}

static void an_exit_of_another_process_with_the_same_number_changes_nothing(void **state)
{
	struct as_hdr other = who;

	other.start_ns = 78;
	seen(1, 3);
	entry(0, 1, 3, 10, 1);
	process_exit(&other);
	assert_int_equal(t.n, 1);
	assert_true(t.used[0]);
}

static void an_exit_does_not_remove_what_another_process_made_of_the_key(void **state)
{
	seen(1, 3);
	entry(0, 9, 3, 10, 1);
	process_exit(&who);
	assert_int_equal(t.n, 1);
	assert_true(t.used[0]);
}

static void the_end_of_the_run_reports_what_is_open(void **state)
{
	seen(1, 3);
	entry(0, 1, 3, 10, 1);
	t.stage->finish(t.stage);
	assert_int_equal(t.n, 1);
	assert_out(0, 10, 1, AS_FLUSH_STOP, "/dir/name");
}

static void sums_whose_path_was_lost_are_reported_without_one_and_counted(void **state)
{
	done(1, 3, 100, 2);
	assert_out(0, 100, 2, AS_FLUSH_CLOSE, "");
	assert_int_equal(t.out[0].rel.len, 0);
	assert_int_equal(t.out[0].rel.full, 1);

	entry(0, 2, 4, 10, 1);
	t.stage->tick(t.stage, 5000);
	assert_int_equal(t.n, 1);
	t.stage->finish(t.stage);
	assert_out(1, 10, 1, AS_FLUSH_STOP, "");
	assert_int_equal(file_io_counts(t.stage)->pathless, 2);
}

static void a_cut_path_stays_marked(void **state)
{
	seen_as(&who, 1, 3, "name\0dir", 9, true);
	done(1, 3, 1, 1);
	assert_int_equal(t.out[0].rel.full, t.out[0].rel.len + 1);
}

static void the_second_report_of_a_first_transfer_is_ignored(void **state)
{
	seen(1, 3);
	entry(0, 1, 3, 100, 1);
	t.stage->tick(t.stage, 5000);
	seen_as(&who, 1, 3, "other", 6, false);
	done(1, 3, 100, 1);
	assert_int_equal(t.n, 1);
}

static void what_nobody_speaks_of_any_more_is_given_up(void **state)
{
	seen(1, 3);
	seen(2, 4);
	entry(0, 2, 4, 10, 1);
	for (int i = 0; i < 120; i++)
		t.stage->tick(t.stage, 5000);
	assert_int_equal(file_io_counts(t.stage)->abandoned, 1);
	assert_out(0, 10, 1, AS_FLUSH_TIMER, "/dir/name");
}

static void a_process_whose_exit_was_lost_is_found_to_be_gone(void **state)
{
	seen(1, 3);
	entry(0, 1, 3, 10, 1);
	t.stage->tick(t.stage, 5000);
	t.sums[0].write_bytes = 15;
	t.sums[0].write_count = 2;
	t.dead = who.tgid;
	for (int i = 0; i < 61; i++)
		t.stage->tick(t.stage, 6000);
	assert_int_equal(t.out[0].bytes + t.out[1].bytes, 15);
	assert_false(t.used[0]);
	assert_int_equal(file_io_counts(t.stage)->abandoned, 0);
}

static void what_a_process_that_is_gone_did_last_may_still_be_on_its_way(void **state)
{
	seen(1, 3);
	entry(0, 1, 3, 10, 1);
	for (int i = 0; i < 59; i++)
		t.stage->tick(t.stage, 5000);
	t.used[0] = false;
	t.dead = who.tgid;
	t.stage->tick(t.stage, 6000);
	done(1, 3, 15, 2);
	assert_int_equal(t.n, 2);
	assert_out(1, 5, 1, AS_FLUSH_CLOSE, "/dir/name");
	assert_int_equal(file_io_counts(t.stage)->pathless, 0);
}

static void the_sums_of_a_dead_process_whose_path_was_lost_are_told_and_removed(void **state)
{
	entry(0, 1, 3, 10, 1);
	entry(1, 2, 4, 20, 2);
	t.sums[1].seen = 1;
	t.stage->tick(t.stage, 5000);
	assert_int_equal(t.n, 0); /* it may do more, and try again */
	t.dead = who.tgid;
	t.stage->tick(t.stage, 6000);
	assert_int_equal(t.n, 1);
	assert_out(0, 10, 1, AS_FLUSH_EXIT, "");
	assert_int_equal(t.out[0].tgid, who.tgid);
	assert_int_equal(t.out[0].boot_ns, 6000);
	assert_false(t.used[0]);
	assert_true(t.used[1]); /* that path is on its way */
	t.stage->finish(t.stage);
	assert_out(1, 20, 2, AS_FLUSH_STOP, "");
}

static void a_full_table_costs_paths_but_no_bytes(void **state)
{
	for (uint64_t id = 1; id <= FILE_IO_MAX + 1; id++)
		seen(id, 3);
	done(FILE_IO_MAX, 3, 10, 1);
	assert_out(0, 10, 1, AS_FLUSH_CLOSE, "/dir/name");
	done(FILE_IO_MAX + 1, 3, 20, 1);
	assert_out(1, 20, 1, AS_FLUSH_CLOSE, "");
	assert_int_equal(file_io_counts(t.stage)->pathless, 1);
}

static void paths_take_a_bounded_amount_of_memory(void **state)
{
	_cleanup_(freep) char *base = malloc(AS_PATH_MAX);
	uint64_t n = FILE_IO_PATH_BYTES / AS_PATH_MAX + 1;

	memset(base, 'x', AS_PATH_MAX);
	base[AS_PATH_MAX - 1] = '\0';
	for (uint64_t id = 1; id <= n; id++)
		seen_as(&who, id, 3, base, AS_PATH_MAX, false);
	done(n, 3, 10, 1);
	assert_out(0, 10, 1, AS_FLUSH_CLOSE, "");
	done(1, 3, 10, 1);
	assert_int_equal(strlen(t.out[1].path), AS_PATH_MAX);
}

static void other_events_are_passed_on_as_they_are(void **state)
{
	record_begin(&t.buf, AS_EV_FORK, &who);
	send();
	assert_int_equal(t.n, 1);
	assert_int_equal(t.out[0].type, AS_EV_FORK);
}

static int init(void **state)
{
	return schema_init();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_close_reports_the_sums_with_the_path_of_the_first_transfer),
		TEST(reads_and_writes_of_one_opening_are_two_events),
		TEST(the_timer_reports_only_what_is_new),
		TEST(a_close_without_news_since_the_timer_says_nothing),
		TEST(bytes_whose_call_is_not_counted_yet_wait_for_it),
		TEST(bytes_left_over_at_the_close_are_reported_without_a_call),
		TEST(the_timer_leaves_a_later_opening_of_the_descriptor_alone),
		TEST(an_exit_reports_the_rest_before_it_is_passed_on),
		TEST(an_exit_of_another_process_with_the_same_number_changes_nothing),
		TEST(an_exit_does_not_remove_what_another_process_made_of_the_key),
		TEST(the_end_of_the_run_reports_what_is_open),
		TEST(sums_whose_path_was_lost_are_reported_without_one_and_counted),
		TEST(a_cut_path_stays_marked),
		TEST(the_second_report_of_a_first_transfer_is_ignored),
		TEST(what_nobody_speaks_of_any_more_is_given_up),
		TEST(a_process_whose_exit_was_lost_is_found_to_be_gone),
		TEST(what_a_process_that_is_gone_did_last_may_still_be_on_its_way),
		TEST(the_sums_of_a_dead_process_whose_path_was_lost_are_told_and_removed),
		TEST(a_full_table_costs_paths_but_no_bytes),
		TEST(paths_take_a_bounded_amount_of_memory),
		TEST(other_events_are_passed_on_as_they_are),
	};

	return cmocka_run_group_tests(tests, init, NULL);
}
