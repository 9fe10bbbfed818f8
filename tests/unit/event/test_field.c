/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "event/field.h"
#include "event/record.h"
#include "event/schema.h"

static const struct as_hdr who = {
	.boot_ns = 1, .start_ns = 77, .tgid = 12, .tid = 13, .ppid = 11, .uid = 1000, .comm = "sh"};

static struct buf b, scratch;
static struct event ev;

static int set_up(void **state)
{
	return schema_init();
}

static int tear_down(void **state)
{
	buf_done(&b);
	buf_done(&scratch);
	return 0;
}

static void *begin(unsigned type)
{
	record_begin(&b, type, &who);
	return b.data;
}

static void end(void)
{
	assert_int_equal(record_end(&b, &ev), 0);
}

static struct field_value get(const char *path)
{
	struct field_value v = {.kind = FIELD_BOOL};
	int id = field_resolve(path, strlen(path));

	if (id < 0)
		fail_msg("no path %s", path);
	field_get(&ev, id, &scratch, &v);
	return v;
}

static void text_is(const char *path, const char *text)
{
	struct field_value v = get(path);

	if (v.kind != FIELD_TEXT || v.text.len != strlen(text) ||
	    memcmp(v.text.p, text, v.text.len) != 0)
		fail_msg("%s is kind %d: %.*s", path, v.kind,
			 v.kind == FIELD_TEXT ? (int)v.text.len : 0, v.text.p);
}

static void number_is(const char *path, uint64_t n)
{
	struct field_value v = get(path);

	assert_int_equal(v.kind, FIELD_UINT);
	assert_int_equal(v.u, n);
}

static void absent(const char *path)
{
	assert_int_equal(get(path).kind, FIELD_ABSENT);
}

static void every_path_is_found_by_its_text(void **state)
{
	size_t n = 0;

	assert_int_equal(field_resolve("timestamp", 9), 0);
	for (; field_path(n); n++) {
		char dotted[160];

		assert_int_equal(field_resolve(field_path(n), strlen(field_path(n))), n);
		snprintf(dotted, sizeof(dotted), ".%s", field_path(n));
		assert_int_equal(field_resolve(dotted, strlen(dotted)), n);
	}
	assert_true(n > 100);
	assert_null(field_path(SIZE_MAX));
}

static void what_is_no_path_is_not_found(void **state)
{
	static const char *const none[] = {"",          ".",    "..pid",       "pi",
					   "pidd",      "data", "data.",       "data.cpu",
					   "data.nope", "path", "data.remote", "data.streams",
					   "data.pad",  "pid.x"};

	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		assert_int_equal(field_resolve(none[i], strlen(none[i])), -ENOENT);
	assert_true(field_resolve("pid, and more", 3) >= 0);
}

static void every_shown_field_can_be_asked_for(void **state)
{
	for (unsigned type = 1; type < AS_EV_COUNT; type++) {
		const struct event_desc *d = schema_event(type);

		for (size_t i = 0; !d->internal && i < d->n_fields; i++) {
			const struct field_desc *f = &d->fields[i];
			const char *part = f->kind == AS_KIND_ADDR   ? ".port"
					   : f->kind == AS_KIND_CONN ? ".remote.address"
								     : "";
			char path[160];

			if (!f->path[0] || f->kind == AS_KIND_JSON || f->kind == AS_KIND_HIDDEN ||
			    f->kind == AS_KIND_HIDDEN32)
				continue;
			snprintf(path, sizeof(path), "data.%s%s", f->path, part);
			assert_true(field_resolve(path, strlen(path)) >= 0);
		}
	}
}

static void the_envelope_has_its_values(void **state)
{
	begin(AS_EV_FORK);
	end();
	ev.unix_ns = 99;
	number_is("timestamp", 99);
	text_is("source", "process");
	text_is("type", "fork");
	text_is("data.type", "fork");
	number_is("pid", 12);
	number_is("tid", 13);
	number_is("ppid", 11);
	number_is("uid", 1000);
	text_is("comm", "sh");
	text_is("exec_id", "12@77");
}

static void one_path_means_the_field_of_each_type_that_has_it(void **state)
{
	begin(AS_EV_FORK);
	record_struct(&b, as_fork)->child_ppid = 5;
	end();
	number_is("data.ppid", 5);
	absent("data.path");
	begin(AS_EV_EXEC);
	end();
	number_is("data.ppid", 11);
	absent("data.child_pid");
}

static void paths_and_arguments_are_text(void **state)
{
	struct as_span base, rel, argv;

	begin(AS_EV_EXEC);
	base = record_add(&b, "src\0home", 9);
	argv = record_add(&b, "a\0b c\0", 6);
	record_struct(&b, as_exec)->cwd.base = base;
	record_struct(&b, as_exec)->argv = argv;
	end();
	text_is("data.cwd", "/home/src");
	text_is("data.argv", "a b c");
	text_is("data.filename", "");

	begin(AS_EV_FILE_OPEN);
	rel = record_add_str(&b, "/etc/hosts");
	record_struct(&b, as_file_open)->path.rel = rel;
	end();
	text_is("data.path", "/etc/hosts");
}

static void an_optional_path_that_is_not_there_is_absent(void **state)
{
	begin(AS_EV_FILE_UNLINK);
	end();
	text_is("data.path", "/");
	absent("data.new_path");
}

static void numbers_with_names_read_as_in_the_output(void **state)
{
	struct as_file_open *o = begin(AS_EV_FILE_OPEN);

	o->fd = -1;
	o->error = -ENOENT;
	o->flags = O_WRONLY | O_CREAT | 0x80000000;
	o->mode = 0100644;
	end();
	absent("data.fd");
	text_is("data.error", "ENOENT");
	text_is("data.flags", "O_WRONLY|O_CREAT|0x80000000");
	text_is("data.mode", "0644");

	o = begin(AS_EV_FILE_OPEN);
	o->fd = 3;
	o->error = INT32_MIN;
	end();
	assert_int_equal(get("data.fd").kind, FIELD_INT);
	assert_int_equal(get("data.fd").i, 3);
	text_is("data.error", "-2147483648");
	absent("data.mode");
	text_is("data.flags", "O_RDONLY");

	record_struct(&b, as_file_open)->error = 0;
	absent("data.error");
}

static void values_without_a_name_are_numbers_in_text(void **state)
{
	struct as_ssl_handshake *h = begin(AS_EV_SSL_HANDSHAKE);

	h->version = 0x0304;
	end();
	text_is("data.version", "TLSv1.3");
	record_struct(&b, as_ssl_handshake)->version = 0x7f00;
	text_is("data.version", "32512");
	record_struct(&b, as_ssl_handshake)->version = 0;
	absent("data.version");
}

static void addresses_have_two_parts(void **state)
{
	struct as_connect *c = begin(AS_EV_CONNECT);

	c->remote = (struct as_addr){.ip = {[12] = 1, 2, 3, 4}, .port = 443, .family = AF_INET};
	c->local = (struct as_addr){.ip = {[15] = 1}, .port = 1, .family = AF_INET6};
	end();
	text_is("data.remote.address", "1.2.3.4");
	number_is("data.remote.port", 443);
	text_is("data.local.address", "::1");

	c = begin(AS_EV_CONNECT);
	c->remote = (struct as_addr){
		.ip = {[10] = 0xff, 0xff, 1, 2, 3, 4}, .port = 443, .family = AF_INET6};
	c->local.family = AF_UNIX;
	end();
	text_is("data.remote.address", "1.2.3.4");
	absent("data.local.address");
	absent("data.local.port");
}

static void a_connection_has_four_parts(void **state)
{
	struct as_ssl_data *d = begin(AS_EV_SSL_DATA);
	struct as_span data;

	d->conn.local = (struct as_addr){.ip = {[12] = 10, 0, 0, 1}, .port = 5, .family = AF_INET};
	d->conn.remote = (struct as_addr){.ip = {[12] = 10, 0, 0, 2}, .port = 6, .family = AF_INET};
	data = record_add(&b, "\xff\0z", 3);
	record_struct(&b, as_ssl_data)->data = data;
	end();
	text_is("data.connection.local.address", "10.0.0.1");
	number_is("data.connection.local.port", 5);
	text_is("data.connection.remote.address", "10.0.0.2");
	number_is("data.connection.remote.port", 6);
	assert_int_equal(get("data.data").text.len, 3);
	text_is("data.function", "SSL_read");
	absent("data.library");
	ev.label = "libssl.so.3";
	text_is("data.library", "libssl.so.3");
}

static void members_of_objects_and_hundredths(void **state)
{
	struct as_system_metrics *m = begin(AS_EV_SYSTEM_METRICS);

	m->cpu_centi = 5;
	m->rss_mb = 100;
	m->alert = 7;
	end();
	ev.unix_ns = 98;
	text_is("data.cpu.percent", "0.05");
	number_is("data.memory.rss_mb", 100);
	assert_int_equal(get("data.alert").kind, FIELD_BOOL);
	assert_true(get("data.alert").b);
	number_is("data.pid", 12);
	text_is("data.comm", "sh");
	number_is("data.timestamp", 98);
}

/* Of a record of zeros, from which the JSON leaves out all that it may. */
static void what_the_json_leaves_out_is_absent_and_nothing_else(void **state)
{
	for (unsigned type = 1; type < AS_EV_COUNT; type++) {
		const struct event_desc *d = schema_event(type);

		begin(type);
		end();
		for (size_t i = 0; !d->internal && i < d->n_shown; i++) {
			const struct field_desc *f = d->shown[i];
			char path[160];

			snprintf(path, sizeof(path), "data.%s", f->path);
			if (f->kind == AS_KIND_JSON || f->kind == AS_KIND_ADDR ||
			    f->kind == AS_KIND_CONN || f->kind == AS_KIND_FD ||
			    f->kind == AS_KIND_LABEL)
				continue;
			if ((get(path).kind == FIELD_ABSENT) !=
			    (f->kind == AS_KIND_ERRNO || (f->optional && f->kind != AS_KIND_BOOL)))
				fail_msg("%s: %s", d->name, path);
		}
	}
}

/* To ask whether it is false is of use, and so it is what it says. */
static void a_boolean_that_is_left_out_is_false(void **state)
{
	begin(AS_EV_LLM_RESPONSE);
	end();
	assert_int_equal(get("data.incomplete").kind, FIELD_BOOL);
	assert_false(get("data.incomplete").b);
}

static void optional_fields_that_are_there_have_their_values(void **state)
{
	struct as_llm_response *r = begin(AS_EV_LLM_RESPONSE);
	struct as_span error;

	r->cost_nano_usd = 7;
	r->n_tool_calls = 1;
	r->conn.local = (struct as_addr){.port = 5, .family = AF_INET};
	error = record_add_str(&b, "overloaded");
	record_struct(&b, as_llm_response)->error = error;
	end();
	text_is("data.error", "overloaded");
	number_is("data.cost_nano_usd", 7);
	number_is("data.tool_call_count", 1);
	/* half a connection is left out as a whole */
	absent("data.connection.local.port");
}

#define TEST(f) cmocka_unit_test_teardown(f, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_path_is_found_by_its_text),
		TEST(what_is_no_path_is_not_found),
		TEST(every_shown_field_can_be_asked_for),
		TEST(the_envelope_has_its_values),
		TEST(one_path_means_the_field_of_each_type_that_has_it),
		TEST(paths_and_arguments_are_text),
		TEST(an_optional_path_that_is_not_there_is_absent),
		TEST(numbers_with_names_read_as_in_the_output),
		TEST(values_without_a_name_are_numbers_in_text),
		TEST(addresses_have_two_parts),
		TEST(a_connection_has_four_parts),
		TEST(members_of_objects_and_hundredths),
		TEST(what_the_json_leaves_out_is_absent_and_nothing_else),
		TEST(a_boolean_that_is_left_out_is_false),
		TEST(optional_fields_that_are_there_have_their_values),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
