/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "event/record.h"
#include "event/schema.h"
#include "stage/tls_join.h"
#include "unit/allocator.h"

/* What came out. */
struct taker {
	struct emitter in;
	size_t n;
	const void *rec; /* of the last event, for comparing only */
	const char *label;
	uint16_t flags, port;
	uint64_t offset;
	struct as_span data;
	char bytes[4 * AS_CHUNK_MAX];
};

struct fixture {
	struct taker taker;
	struct stage *join;
};

static void take(struct emitter *self, const struct event *ev)
{
	struct taker *t = (struct taker *)self;
	const struct as_ssl_data *d = (const void *)ev->rec;

	t->n++;
	t->rec = ev->rec;
	t->label = ev->label;
	if (ev->desc->type != AS_EV_SSL_DATA && ev->desc->type != AS_EV_NET_DATA &&
	    ev->desc->type != AS_EV_STDIO_DATA)
		return;
	t->flags = ev->rec->flags;
	t->offset = d->offset;
	t->data = d->data;
	t->port = d->conn.local.port;
	memcpy(t->bytes, record_bytes(ev->rec, &d->data),
	       d->data.len < sizeof(t->bytes) ? d->data.len : sizeof(t->bytes));
}

static const char *library(void *source, uint32_t number, uint32_t tgid)
{
	return number == 7 ? "libssl.so.3" : NULL;
}

static int setup(void **state)
{
	const struct tls_join_names names = {.library = library};
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->taker.in.emit = take;
	assert_int_equal(tls_join_new(&f->taker.in, &names, &f->join), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	f->join->free(f->join);
	free(f);
	return 0;
}

struct piece {
	enum as_event_type type; /* 0: SSL_DATA */
	uint32_t tid;
	uint64_t boot_ns;
	uint64_t call_len;
	uint64_t offset;
	uint32_t len;
	bool more;
	char fill;
};

static char *text(char fill, size_t n)
{
	static char bytes[AS_CHUNK_MAX];

	memset(bytes, fill, n);
	return bytes;
}

static void send_piece(struct fixture *f, const struct piece *p)
{
	struct as_hdr h = {.boot_ns = p->boot_ns, .tid = p->tid, .tgid = 100};
	struct as_span data;
	struct buf b = {};
	struct event ev;

	record_begin(&b, p->type ?: AS_EV_SSL_DATA, &h);
	data = record_add(&b, text(p->fill, p->len), p->len);
	record_struct(&b, as_ssl_data)->data = data;
	record_struct(&b, as_ssl_data)->len = p->call_len;
	record_struct(&b, as_ssl_data)->offset = p->offset;
	record_struct(&b, as_ssl_data)->library = 7;
	record_struct(&b, as_ssl_data)->h.flags = p->more ? AS_F_MORE : 0;
	record_struct(&b, as_ssl_data)->h.tid = p->tid;
	assert_int_equal(record_end(&b, &ev), 0);
	event_emit(&f->join->in, &ev);
	buf_done(&b);
}

#define SEND(...) send_piece(f, &(const struct piece){__VA_ARGS__})
#define CHUNK     AS_CHUNK_MAX

static void a_call_in_one_piece_is_passed_on_where_it_lies(void **state)
{
	struct fixture *f = *state;
	struct as_hdr h = {.tid = 1};
	struct buf b = {};
	struct event ev;

	record_begin(&b, AS_EV_SSL_DATA, &h);
	assert_int_equal(record_end(&b, &ev), 0);
	event_emit(&f->join->in, &ev);
	assert_int_equal(f->taker.n, 1);
	assert_ptr_equal(f->taker.rec, ev.rec);
	buf_done(&b);
}

static void the_library_is_named(void **state)
{
	struct fixture *f = *state;

	SEND(.tid = 1, .call_len = 5, .len = 5, .fill = 'a');
	assert_string_equal(f->taker.label, "libssl.so.3");
}

static void other_events_are_passed_on_unchanged(void **state)
{
	struct fixture *f = *state;
	struct as_hdr h = {};
	struct buf b = {};
	struct event ev;

	record_begin(&b, AS_EV_EXIT, &h);
	assert_int_equal(record_end(&b, &ev), 0);
	event_emit(&f->join->in, &ev);
	assert_int_equal(f->taker.n, 1);
	assert_ptr_equal(f->taker.rec, ev.rec);
	assert_null(f->taker.label);
	buf_done(&b);
}

static void pieces_become_one_record(void **state)
{
	struct fixture *f = *state;
	const uint64_t len = 2 * CHUNK + 3;

	SEND(.tid = 1, .boot_ns = 9, .call_len = len, .len = CHUNK, .more = true, .fill = 'a');
	SEND(.tid = 1, .boot_ns = 9, .call_len = len, .offset = CHUNK, .len = CHUNK, .more = true,
	     .fill = 'b');
	assert_int_equal(f->taker.n, 0);
	SEND(.tid = 1, .boot_ns = 9, .call_len = len, .offset = 2 * CHUNK, .len = 3, .fill = 'c');

	assert_int_equal(f->taker.n, 1);
	assert_int_equal(f->taker.data.len, len);
	assert_int_equal(f->taker.data.full, len);
	assert_int_equal(f->taker.offset, 0);
	assert_int_equal(f->taker.flags, 0);
	assert_string_equal(f->taker.label, "libssl.so.3");
	assert_memory_equal(f->taker.bytes, text('a', CHUNK), CHUNK);
	assert_memory_equal(f->taker.bytes + CHUNK, text('b', CHUNK), CHUNK);
	assert_memory_equal(f->taker.bytes + 2 * CHUNK, "ccc", 3);
}

static void calls_of_several_threads_may_be_interleaved(void **state)
{
	struct fixture *f = *state;

	SEND(.tid = 1, .boot_ns = 1, .call_len = CHUNK + 1, .len = CHUNK, .more = true,
	     .fill = 'a');
	SEND(.tid = 2, .boot_ns = 2, .call_len = CHUNK + 2, .len = CHUNK, .more = true,
	     .fill = 'b');
	SEND(.tid = 3, .boot_ns = 3, .call_len = 4, .len = 4, .fill = 'x');
	SEND(.tid = 1, .boot_ns = 1, .call_len = CHUNK + 1, .offset = CHUNK, .len = 1, .fill = 'a');
	assert_int_equal(f->taker.data.len, CHUNK + 1);
	assert_int_equal(f->taker.bytes[CHUNK], 'a');
	SEND(.tid = 2, .boot_ns = 2, .call_len = CHUNK + 2, .offset = CHUNK, .len = 2, .fill = 'b');
	assert_int_equal(f->taker.data.len, CHUNK + 2);
	assert_int_equal(f->taker.bytes[CHUNK], 'b');
	assert_int_equal(f->taker.n, 3);
	assert_int_equal(tls_join_counts(f->join)->torn, 0);
}

static void a_torn_call_is_never_shown(void **state)
{
	struct fixture *f = *state;

	SEND(.tid = 1, .boot_ns = 1, .call_len = 3 * CHUNK, .len = CHUNK, .more = true,
	     .fill = 'a');
	SEND(.tid = 1, .boot_ns = 5, .call_len = 4, .len = 4, .fill = 'b');
	assert_int_equal(f->taker.n, 1);
	assert_int_equal(f->taker.data.len, 4);
	assert_int_equal(tls_join_counts(f->join)->torn, 1);
	assert_int_equal(tls_join_counts(f->join)->bare, 0);
}

static void a_gap_inside_a_call_tears_it(void **state)
{
	struct fixture *f = *state;

	SEND(.tid = 1, .boot_ns = 1, .call_len = 3 * CHUNK, .len = CHUNK, .more = true,
	     .fill = 'a');
	SEND(.tid = 1, .boot_ns = 1, .call_len = 3 * CHUNK, .offset = 2 * CHUNK, .len = CHUNK,
	     .more = true, .fill = 'a');
	assert_int_equal(f->taker.n, 0);
	assert_int_equal(tls_join_counts(f->join)->torn, 1);
}

static void a_piece_longer_than_the_call_is_refused(void **state)
{
	struct fixture *f = *state;

	SEND(.tid = 1, .boot_ns = 1, .call_len = 10, .len = CHUNK, .more = true, .fill = 'a');
	SEND(.tid = 2, .boot_ns = 1, .call_len = CHUNK + 1, .len = CHUNK, .more = true,
	     .fill = 'a');
	SEND(.tid = 2, .boot_ns = 1, .call_len = CHUNK + 1, .offset = CHUNK, .len = 2, .fill = 'a');
	assert_int_equal(f->taker.n, 1);
	assert_int_equal(f->taker.data.len, 0);
	assert_int_equal(tls_join_counts(f->join)->bare, 1);
}

static void what_could_not_be_read_shows_as_truncated(void **state)
{
	struct fixture *f = *state;

	SEND(.tid = 1, .boot_ns = 1, .call_len = 3 * CHUNK, .len = CHUNK, .more = true,
	     .fill = 'a');
	SEND(.tid = 1, .boot_ns = 1, .call_len = 3 * CHUNK, .offset = CHUNK, .len = 0);
	assert_int_equal(f->taker.n, 1);
	assert_int_equal(f->taker.data.len, CHUNK);
	assert_int_equal(f->taker.data.full, 3 * CHUNK);
}

static void an_unfinished_call_is_given_up_after_a_while(void **state)
{
	struct fixture *f = *state;
	uint64_t now = clock_boot_ns();

	SEND(.tid = 1, .boot_ns = 1, .call_len = 2 * CHUNK, .len = CHUNK, .more = true,
	     .fill = 'a');
	f->join->tick(f->join, now);
	assert_int_equal(tls_join_counts(f->join)->torn, 0);
	f->join->tick(f->join, now + 60 * NSEC_PER_SEC);
	assert_int_equal(tls_join_counts(f->join)->torn, 1);
}

static void of_a_call_given_up_too_early_the_length_is_told(void **state)
{
	struct fixture *f = *state;

	SEND(.tid = 1, .boot_ns = 1, .call_len = 2 * CHUNK, .len = CHUNK, .more = true,
	     .fill = 'a');
	f->join->tick(f->join, clock_boot_ns() + 60 * NSEC_PER_SEC);
	SEND(.tid = 1, .boot_ns = 1, .call_len = 2 * CHUNK, .offset = CHUNK, .len = CHUNK,
	     .fill = 'a');
	assert_int_equal(f->taker.n, 1);
	assert_int_equal(f->taker.data.len, 0);
	assert_int_equal(f->taker.data.full, 2 * CHUNK);
	assert_int_equal(tls_join_counts(f->join)->bare, 1);
}

static void unfinished_calls_are_bounded_in_bytes_and_number(void **state)
{
	struct fixture *f = *state;

	for (uint32_t tid = 1; tid <= 6; tid++)
		SEND(.tid = tid, .boot_ns = tid, .call_len = TLS_JOIN_CALL_MAX, .len = CHUNK,
		     .more = true, .fill = 'a');
	for (uint32_t tid = 1; tid <= 6; tid++)
		SEND(.tid = tid, .boot_ns = tid, .call_len = TLS_JOIN_CALL_MAX, .offset = CHUNK,
		     .len = 0, .fill = 'a');
	/* four of 16 MiB fit into 64; the others had to go */
	assert_int_equal(f->taker.n, 6);
	assert_int_equal(tls_join_counts(f->join)->bare, 2);

	for (uint32_t tid = 1; tid <= TLS_JOIN_CALLS_MAX + 10; tid++)
		SEND(.tid = tid, .boot_ns = tid, .call_len = CHUNK + 1, .len = CHUNK, .more = true,
		     .fill = 'a');
	f->join->finish(f->join);
	assert_int_equal(tls_join_counts(f->join)->torn, TLS_JOIN_CALLS_MAX);
	assert_int_equal(f->taker.n, 6);
}

/* ---- payload that no TLS library has carried ---- */

/* Of @chunks pieces. */
static void long_call(struct fixture *f, uint64_t chunks)
{
	for (uint64_t i = 0; i < chunks; i++)
		SEND(.tid = 1, .call_len = chunks * CHUNK, .offset = i * CHUNK, .len = CHUNK,
		     .more = i + 1 < chunks, .fill = 'a');
}

static void the_memory_of_a_long_call_is_used_again_and_given_back_at_rest(void **state)
{
	const long pages = 64 * CHUNK / 4096;
	struct fixture *f = *state;
	size_t allocated;
	long before;

	allocator_as_in_main();
	long_call(f, 64);
	long_call(f, 64);
	before = page_faults();
	for (int i = 0; i < 20; i++)
		long_call(f, 64 - i);
	assert_in_range(page_faults() - before, 0, pages);
	assert_int_equal(f->taker.n, 22);
	allocated = allocated_bytes();
	f->join->tick(f->join, clock_boot_ns() + TLS_JOIN_WAIT_NS + 1);
	assert_true(allocated_bytes() + 64 * CHUNK <= allocated);
	long_call(f, 64);
	assert_int_equal(f->taker.n, 23);
}

static void payload_of_sockets_and_pipes_is_put_together_too(void **state)
{
	static const enum as_event_type types[] = {AS_EV_NET_DATA, AS_EV_STDIO_DATA};
	struct fixture *f = *state;

	for (unsigned i = 0; i < 2; i++) {
		SEND(.type = types[i], .tid = 1, .boot_ns = 1 + i, .call_len = CHUNK + 3,
		     .len = CHUNK, .more = true, .fill = 'a');
		assert_int_equal(f->taker.n, i);
		SEND(.type = types[i], .tid = 1, .boot_ns = 1 + i, .call_len = CHUNK + 3,
		     .offset = CHUNK, .len = 3, .fill = 'b');
		assert_int_equal(f->taker.n, i + 1);
		assert_int_equal(f->taker.data.len, CHUNK + 3);
		assert_int_equal(f->taker.bytes[CHUNK + 2], 'b');
		assert_null(f->taker.label);
	}
}

static void pieces_of_two_kinds_are_no_call(void **state)
{
	struct fixture *f = *state;

	SEND(.tid = 1, .boot_ns = 1, .call_len = CHUNK + 3, .len = CHUNK, .more = true,
	     .fill = 'a');
	SEND(.type = AS_EV_NET_DATA, .tid = 1, .boot_ns = 1, .call_len = CHUNK + 3, .offset = CHUNK,
	     .len = 3, .fill = 'b');
	assert_int_equal(f->taker.n, 1);
	assert_int_equal(f->taker.data.len, 0);
	assert_int_equal(tls_join_counts(f->join)->torn, 1);
}

/* ---- sockets that become known behind the first call ---- */

static void learn_socket(struct fixture *f, uint64_t stream_id, uint32_t tgid, uint16_t port)
{
	struct as_hdr h = {.boot_ns = 1, .tid = 1, .tgid = tgid};
	struct as_ssl_session *s;
	struct buf b = {};
	struct event ev;

	record_begin(&b, AS_EV_SSL_SESSION, &h);
	s = record_struct(&b, as_ssl_session);
	s->stream_id = stream_id;
	s->library = 7;
	s->conn.local = (struct as_addr){.family = 2, .port = port};
	assert_int_equal(record_end(&b, &ev), 0);
	event_emit(&f->join->in, &ev);
	assert_string_equal(f->taker.label, "libssl.so.3");
	buf_done(&b);
}

/* The local port that a call of the session is passed on with, which has @port by itself. */
static uint16_t port_of_call(struct fixture *f, uint64_t stream_id, uint16_t port)
{
	struct as_hdr h = {.boot_ns = 2, .tid = 1, .tgid = 100};
	struct as_ssl_data *d;
	struct as_span span;
	struct buf b = {};
	struct event ev;

	record_begin(&b, AS_EV_SSL_DATA, &h);
	span = record_add(&b, "abc", 3);
	d = record_struct(&b, as_ssl_data);
	d->stream_id = stream_id;
	d->len = 3;
	d->data = span;
	if (port)
		d->conn.local = (struct as_addr){.family = 2, .port = port};
	assert_int_equal(record_end(&b, &ev), 0);
	event_emit(&f->join->in, &ev);
	assert_int_equal(record_struct(&b, as_ssl_data)->conn.local.port, port);
	assert_memory_equal(f->taker.bytes, "abc", 3);
	buf_done(&b);
	return f->taker.port;
}

static void a_call_without_a_socket_gets_that_of_its_session(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(port_of_call(f, 5, 0), 0);
	learn_socket(f, 5, 100, 4000);
	assert_int_equal(port_of_call(f, 5, 0), 4000);
	assert_int_equal(port_of_call(f, 5, 0), 4000);
	assert_int_equal(port_of_call(f, 5, 77), 77);
	/* another session, with the same place in the table; another process */
	assert_int_equal(port_of_call(f, 5 + 256, 0), 0);
	learn_socket(f, 6, 101, 4001);
	assert_int_equal(port_of_call(f, 6, 0), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_call_in_one_piece_is_passed_on_where_it_lies),
		TEST(the_library_is_named),
		TEST(other_events_are_passed_on_unchanged),
		TEST(pieces_become_one_record),
		TEST(calls_of_several_threads_may_be_interleaved),
		TEST(a_torn_call_is_never_shown),
		TEST(a_gap_inside_a_call_tears_it),
		TEST(a_piece_longer_than_the_call_is_refused),
		TEST(what_could_not_be_read_shows_as_truncated),
		TEST(an_unfinished_call_is_given_up_after_a_while),
		TEST(the_memory_of_a_long_call_is_used_again_and_given_back_at_rest),
		TEST(payload_of_sockets_and_pipes_is_put_together_too),
		TEST(pieces_of_two_kinds_are_no_call),
		TEST(of_a_call_given_up_too_early_the_length_is_told),
		TEST(unfinished_calls_are_bounded_in_bytes_and_number),
		TEST(a_call_without_a_socket_gets_that_of_its_session),
	};

	if (schema_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
