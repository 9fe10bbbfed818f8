/* SPDX-License-Identifier: MIT */
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
#include "stage/select.h"

static const struct as_hdr who = {
	.boot_ns = 1, .start_ns = 77, .tgid = 12, .tid = 13, .ppid = 11, .uid = 1000, .comm = "sh"};

static uint8_t wanted[AS_EV_COUNT];
static size_t n_heard;
static struct buf rec;

static void hear(struct emitter *self, const struct event *ev)
{
	n_heard++;
}

static struct emitter out = {hear};
static size_t n_unseen;

static void pass_over(struct emitter *self, const struct event *ev)
{
	n_unseen++;
}

static struct emitter unseen = {pass_over};

static int set_up(void **state)
{
	memset(wanted, 1, sizeof(wanted));
	return schema_init();
}

static int tear_down(void **state)
{
	buf_done(&rec);
	return 0;
}

static void *begin(unsigned type)
{
	record_begin(&rec, type, &who);
	return rec.data;
}

/* Is what is in `rec` passed on by a selection with this filter (NULL: none)? */
static bool passes(const char *text)
{
	struct filter *filter = NULL;
	struct filter_error e;
	struct stage *stage;
	struct event ev;
	bool passed;

	if (text && filter_compile(text, select_schema(), &filter, &e) < 0)
		fail_msg("%s: %s", text, e.msg);
	assert_int_equal(record_end(&rec, &ev), 0);
	ev.unix_ns = 1000;
	ev.label = "/usr/lib/libssl.so.3";
	assert_int_equal(select_new(wanted, filter, NULL, &out, &stage), 0);
	n_heard = 0;
	event_emit(&stage->in, &ev);
	passed = n_heard == 1;
	assert_int_equal(select_filtered(stage)[ev.desc->type], !passed);
	stage->free(stage);
	filter_free(filter);
	return passed;
}

static void is_true(const char *text)
{
	if (!passes(text))
		fail_msg("not true: %s", text);
}

static void is_false(const char *text)
{
	if (passes(text))
		fail_msg("not false: %s", text);
}

static void without_a_filter_wanted_types_pass(void **state)
{
	begin(AS_EV_FORK);
	assert_true(passes(NULL));
	wanted[AS_EV_FORK] = 0;
	begin(AS_EV_FORK);
	assert_false(passes(NULL));
	begin(AS_EV_EXIT);
	assert_true(passes(NULL));
}

static void what_is_not_wanted_does_not_pass_whatever_the_filter_says(void **state)
{
	wanted[AS_EV_FORK] = 0;
	begin(AS_EV_FORK);
	is_false("pid == 12");
}

static void what_agentsight_says_of_itself_always_passes(void **state)
{
	static const unsigned types[] = {AS_EV_START, AS_EV_CAPABILITY, AS_EV_LOSS, AS_EV_STATS,
					 AS_EV_STOP};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		begin(types[i]);
		is_true("source == \"ssl\"");
	}
}

static void what_is_kept_back_is_counted_by_type(void **state)
{
	struct filter *filter;
	struct filter_error e;
	struct stage *stage;
	struct event ev;

	assert_int_equal(filter_compile("type == \"exit\"", select_schema(), &filter, &e), 0);
	assert_int_equal(select_new(wanted, filter, &unseen, &out, &stage), 0);
	n_heard = n_unseen = 0;
	for (unsigned i = 0; i < 30; i++) {
		begin(i % 3 ? AS_EV_FORK : AS_EV_EXIT);
		assert_int_equal(record_end(&rec, &ev), 0);
		event_emit(&stage->in, &ev);
	}
	assert_int_equal(n_heard, 10);
	assert_int_equal(n_unseen, 20);
	assert_int_equal(select_filtered(stage)[AS_EV_FORK], 20);
	assert_int_equal(select_filtered(stage)[AS_EV_EXIT], 0);
	stage->free(stage);
	filter_free(filter);
}

static void the_envelope_can_be_asked_for(void **state)
{
	begin(AS_EV_FORK);
	is_true("source == \"process\" and type == \"fork\" and data.type == \"fork\"");
	is_true("pid == 12 and tid == 13 and ppid == 11 and uid == 1000 and comm == \"sh\"");
	is_true("timestamp == 1000 and exec_id == \"12@77\"");
	is_true(".pid in [11, 12]");
	is_false("pid == 13");
}

static void text_and_paths_can_be_asked_for(void **state)
{
	struct as_span name, argv, base;

	begin(AS_EV_EXEC);
	name = record_add_str(&rec, "/bin/sh");
	argv = record_add(&rec, "sh\0-c\0make\0", 11);
	base = record_add(&rec, "src\0home\0", 9);
	record_struct(&rec, as_exec)->filename = name;
	record_struct(&rec, as_exec)->argv = argv;
	record_struct(&rec, as_exec)->cwd.base = base;
	is_true("data.filename == \"/bin/sh\" and data.argv contains \"-c make\"");
	is_true("data.cwd =~ \"^/home/\"");
	is_false("data.path");
	is_false("data.path == \"/\"");
	is_true("data.path == null");
}

static void numbers_with_names_can_be_asked_for(void **state)
{
	struct as_file_open *o = begin(AS_EV_FILE_OPEN);

	o->fd = 3;
	o->flags = O_WRONLY | O_CREAT;
	o->mode = 0600;
	is_true("data.fd == 3 and data.flags contains \"O_CREAT\" and data.mode == \"0600\"");
	is_false("data.error");

	o = begin(AS_EV_FILE_OPEN);
	o->fd = -1;
	o->error = -13;
	is_true("data.error == \"EACCES\" and data.fd == null");
	is_false("data.fd < 0");
}

static void addresses_can_be_asked_for(void **state)
{
	struct as_connect *c = begin(AS_EV_CONNECT);

	c->remote = (struct as_addr){.ip = {[12] = 1, 2, 3, 4}, .port = 443, .family = AF_INET};
	c->protocol = AS_PROTO_TCP;
	c->latency_ns = 5000;
	is_true("data.remote.address == \"1.2.3.4\" and data.remote.port == 443");
	is_true("data.protocol == \"tcp\" and data.latency_ns > 4K");
	is_true("data.local.address == null");

	c = begin(AS_EV_CONNECT);
	c->protocol = 132;
	is_true("data.protocol == \"132\" and data.protocol == 132");
}

static void payload_and_library_can_be_asked_for(void **state)
{
	struct as_ssl_data *d = begin(AS_EV_SSL_DATA);
	struct as_span data;

	d->len = 5000;
	d->direction = AS_TLS_WRITE;
	data = record_add_str(&rec, "POST /v1/messages HTTP/1.1");
	record_struct(&rec, as_ssl_data)->data = data;
	is_true("data.data contains \"/v1/\" and data.len > 4K and data.direction == \"write\"");
	is_true("data.library =~ \"libssl\"");
	is_false("data.connection.remote.port");
}

static void samples_can_be_asked_for(void **state)
{
	struct as_system_metrics *m = begin(AS_EV_SYSTEM_METRICS);

	m->cpu_centi = 5001;
	m->rss_mb = 100;
	m->alert = 1;
	is_true("data.cpu.percent > 50 and data.memory.rss_mb == 100 and data.alert");
	is_false("data.cpu.percent > 50.01");
	is_true("data.alert == true");
}

static void a_field_that_the_type_has_not_is_absent(void **state)
{
	begin(AS_EV_FORK);
	is_false("data.cpu.percent > 0");
	is_false("data.argv contains \"x\"");
	is_true("not data.argv");
	is_true("data.argv != \"x\"");
}

static void what_the_json_leaves_out_is_null(void **state)
{
	struct as_llm_response *r;
	struct as_span error;

	begin(AS_EV_LLM_RESPONSE);
	is_true("data.error == null and data.cost_nano_usd == null");
	is_false("data.error != null or data.tool_names != null");
	is_false("data.cost_nano_usd < 1000 or data.cost_nano_usd == 0");
	is_true("data.usage.input_tokens == 0 and data.incomplete == false");

	r = begin(AS_EV_LLM_RESPONSE);
	r->cost_nano_usd = 7;
	error = record_add_str(&rec, "overloaded");
	record_struct(&rec, as_llm_response)->error = error;
	is_true("data.error != null and data.cost_nano_usd < 1000");
}

static void a_path_that_is_none_is_refused(void **state)
{
	struct filter *filter;
	struct filter_error e;

	assert_true(filter_compile("data.pth == 1", select_schema(), &filter, &e) < 0);
	assert_true(strstr(e.msg, "data.pth") || strstr(e.hint, "data.path"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(without_a_filter_wanted_types_pass),
		TEST(what_is_not_wanted_does_not_pass_whatever_the_filter_says),
		TEST(what_agentsight_says_of_itself_always_passes),
		TEST(what_is_kept_back_is_counted_by_type),
		TEST(the_envelope_can_be_asked_for),
		TEST(text_and_paths_can_be_asked_for),
		TEST(numbers_with_names_can_be_asked_for),
		TEST(addresses_can_be_asked_for),
		TEST(payload_and_library_can_be_asked_for),
		TEST(samples_can_be_asked_for),
		TEST(a_field_that_the_type_has_not_is_absent),
		TEST(what_the_json_leaves_out_is_null),
		TEST(a_path_that_is_none_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
