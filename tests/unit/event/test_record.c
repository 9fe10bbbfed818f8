/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "event/record.h"
#include "event/schema.h"

static const struct as_hdr who = {.type = AS_EV_EXIT,
				  .flags = AS_F_REDACTED,
				  .boot_ns = 1,
				  .start_ns = 2,
				  .tgid = 3,
				  .comm = "sh"};

static int n_emitted;

static int set_up(void **state)
{
	return schema_init();
}

static void a_record_begins_with_zeros_and_the_identity_given(void **state)
{
	_cleanup_(buf_done) struct buf b = {};
	const struct as_fork *f;
	struct event ev;

	buf_add_lit(&b, "what was there before");
	record_begin(&b, AS_EV_FORK, &who);
	assert_int_equal(record_end(&b, &ev), 0);
	f = (const struct as_fork *)ev.rec;
	assert_int_equal(f->h.len, sizeof(*f));
	assert_int_equal(f->h.type, AS_EV_FORK);
	assert_int_equal(f->h.flags, 0);
	assert_int_equal(f->h.boot_ns, 1);
	assert_int_equal(f->h.start_ns, 2);
	assert_int_equal(f->h.tgid, 3);
	assert_string_equal(f->h.comm, "sh");
	assert_int_equal(f->child_pid, 0);
}

static void appended_bytes_are_found_through_their_span(void **state)
{
	_cleanup_(buf_done) struct buf b = {};
	struct as_span name, argv;
	const struct as_exec *e;
	struct event ev;

	record_begin(&b, AS_EV_EXEC, &who);
	name = record_add_str(&b, "/bin/true");
	argv = record_add(&b, "a\0b", 3);
	record_struct(&b, as_exec)->filename = name;
	record_struct(&b, as_exec)->argv = argv;
	assert_int_equal(record_end(&b, &ev), 0);
	e = (const struct as_exec *)ev.rec;
	assert_int_equal(e->h.len % 8, 0);
	assert_int_equal(e->filename.len, 9);
	assert_int_equal(e->filename.full, 9);
	assert_memory_equal(record_bytes(ev.rec, &e->filename), "/bin/true", 9);
	assert_memory_equal(record_bytes(ev.rec, &e->argv), "a\0b", 3);
}

static void without_memory_no_event_is_made(void **state)
{
	_cleanup_(buf_done) struct buf b = {};
	struct event ev;

	record_begin(&b, AS_EV_FORK, &who);
	b.failed = true;
	assert_int_equal(record_end(&b, &ev), -ENOMEM);
}

/* ---- paths ---- */

struct path_case {
	const char *base; /* as the kernel writes it: leaf first, '|' for the NUL behind each */
	const char *rel;
	const char *text;
	bool unknown;
};

static const struct path_case cases[] = {
	/* absolute: the base does not matter */
	{"", "/etc/hosts", "/etc/hosts", false},
	{"work|", "/etc/hosts", "/etc/hosts", false},
	{"work|", "/", "/", false},
	{"work|", "///", "/", false},
	{"", "/a//b///c/", "/a/b/c", false},
	{"", "/./a/./b/.", "/a/b", false},
	/* relative */
	{"src|home|", "a.c", "/home/src/a.c", false},
	{"src|home|", "./a.c", "/home/src/a.c", false},
	{"src|home|", "d//a.c/", "/home/src/d/a.c", false},
	{"src|home|", ".", "/home/src", false},
	{"src|home|", "", "/home/src", false},
	/* the root: no component, or an empty one */
	{"", "", "/", false},
	{"|", "", "/", false},
	{"|", "a", "/a", false},
	{"|", "..", "/", false},
	{"|", "../../a", "/a", false},
	/* ".." behind what the kernel resolved leads to the parent */
	{"src|home|", "..", "/home", false},
	{"src|home|", "../x", "/home/x", false},
	{"src|home|", "./.././x", "/home/x", false},
	{"src|home|", "../..", "/", false},
	{"src|home|", "../../../x", "/x", false},
	{"", "/../x", "/x", false},
	{"", "/./../x", "/x", false},
	/* behind a name it may leave through a symbolic link */
	{"src|", "a/../x", "/src/a/../x", false},
	{"src|", "../a/../x", "/a/../x", false},
	{"src|", ".a/../x", "/src/.a/../x", false},
	{"src|", "a./../x", "/src/a./../x", false},
	{"src|", "b/../x", "/src/b/../x", false},
	{"src|", ".../../x", "/src/.../../x", false},
	{"", "/a/..", "/a/..", false},
	/* names that look like others */
	{"src|", "...", "/src/...", false},
	{"src|", "..a", "/src/..a", false},
	{"src|", ".b", "/src/.b", false},
	{"a.|.b|..c|", "d", "/..c/.b/a./d", false},
	/* the last component was cut before its NUL */
	{"src|ho", "a", "/ho/src/a", false},
	{"x", "", "/x", false},
	/* nothing to stand on: as it was given */
	{"", "a/../b//c", "a/../b//c", false},
	{"", "..", "..", false},
	/* nothing known at all, or not where it starts */
	{"", "", "", true},
	{"", "a", "/a", true},
};

static struct as_path add_path(struct buf *b, const struct path_case *c)
{
	struct as_path path = {.rel = record_add_str(b, c->rel)};
	size_t at = b->len;

	path.base = record_add_str(b, c->base);
	for (size_t i = at; i < b->len; i++) {
		if (b->data[i] == '|')
			b->data[i] = '\0';
	}
	path.base.full += c->unknown;
	return path;
}

static void count_emitted(struct emitter *e, const struct event *ev)
{
	assert_int_equal(ev->rec->type, AS_EV_FORK);
	n_emitted++;
}

static void a_record_that_could_not_be_made_is_counted_once(void **state)
{
	_cleanup_(buf_done) struct buf b = {};
	uint64_t unmade[AS_EV_COUNT] = {};
	struct emitter out = {.emit = count_emitted};

	n_emitted = 0;
	record_begin(&b, AS_EV_FORK, &who);
	assert_true(record_made(&b, AS_EV_FORK));
	record_emit(&b, AS_EV_FORK, &out);
	assert_int_equal(n_emitted, 1);
	record_take_unmade(unmade);
	assert_int_equal(unmade[AS_EV_FORK], 0);

	b.failed = true;
	assert_false(record_made(&b, AS_EV_FORK));
	record_emit(&b, AS_EV_FORK, &out);
	assert_int_equal(n_emitted, 1);
	record_take_unmade(unmade);
	record_take_unmade(unmade);
	assert_int_equal(unmade[AS_EV_FORK], 2);
}

static void paths_read_as_the_program_would_write_them(void **state)
{
	_cleanup_(buf_done) struct buf b = {};
	char text[PATH_TEXT_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct as_path path;
		struct event ev;
		size_t n;

		record_begin(&b, AS_EV_FILE_OPEN, &who);
		path = add_path(&b, &cases[i]);
		record_struct(&b, as_file_open)->path = path;
		assert_int_equal(record_end(&b, &ev), 0);
		memset(text, 'x', sizeof(text));
		n = record_path(ev.rec, &path, text);
		if (n != strlen(cases[i].text) || memcmp(text, cases[i].text, n + 1))
			fail_msg("base %s rel %s: %.*s", cases[i].base, cases[i].rel, (int)n, text);
	}
}

static void an_unreadable_name_is_not_the_root(void **state)
{
	const struct as_path path = {.rel = {.full = 1}};
	char text[PATH_TEXT_MAX];
	struct as_hdr h = who;

	assert_int_equal(record_path(&h, &path, text), 0);
	assert_string_equal(text, "");
}

static void the_deepest_path_that_a_program_can_make_is_whole(void **state)
{
	_cleanup_(buf_done) struct buf b = {}, base = {}, rel = {};
	char text[PATH_TEXT_MAX];
	struct as_path path;
	struct event ev;

	for (int i = 0; i < AS_PATH_MAX / 2; i++) {
		buf_add(&base, "b", 2);
		buf_add_lit(&rel, "r/");
	}
	record_begin(&b, AS_EV_FILE_OPEN, &who);
	path.base = record_add(&b, base.data, base.len);
	path.rel = record_add(&b, rel.data, rel.len);
	record_struct(&b, as_file_open)->path = path;
	assert_int_equal(record_end(&b, &ev), 0);
	assert_int_equal(record_path(ev.rec, &path, text), 2 * AS_PATH_MAX);
	assert_memory_equal(text, "/b/b", 4);
	assert_string_equal(text + 2 * AS_PATH_MAX - 4, "/r/r");
}

static void what_is_cut_is_never_less_than_nothing(void **state)
{
	assert_int_equal(span_cut(&(struct as_span){0, 5, 8}), 3);
	assert_int_equal(span_cut(&(struct as_span){0, 5, 5}), 0);
	assert_int_equal(span_cut(&(struct as_span){0, 5, 0}), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_record_begins_with_zeros_and_the_identity_given),
		cmocka_unit_test(appended_bytes_are_found_through_their_span),
		cmocka_unit_test(without_memory_no_event_is_made),
		cmocka_unit_test(a_record_that_could_not_be_made_is_counted_once),
		cmocka_unit_test(paths_read_as_the_program_would_write_them),
		cmocka_unit_test(an_unreadable_name_is_not_the_root),
		cmocka_unit_test(the_deepest_path_that_a_program_can_make_is_whole),
		cmocka_unit_test(what_is_cut_is_never_less_than_nothing),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
