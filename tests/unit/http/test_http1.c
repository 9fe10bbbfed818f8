/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "http/http1.h"
#include "unit/http/trace.h"

/* ---- what is fed, and what is told ---- */

/* A step of a connection's life; @text NULL: a gap of @n bytes (0: nobody knows), or the end. */
struct step {
	enum http_side side;
	const char *text;
	size_t n;
	bool eof;
};

#define REQ(s)                                        \
	{                                             \
		HTTP_REQUEST, s, sizeof(s) - 1, false \
	}
#define RESP(s)                                        \
	{                                              \
		HTTP_RESPONSE, s, sizeof(s) - 1, false \
	}
#define GAP(s, k)                 \
	{                         \
		s, NULL, k, false \
	}
#define UNASKED_N SIZE_MAX
#define UNASKED   GAP(HTTP_REQUEST, UNASKED_N)
#define END(s)                   \
	{                        \
		s, NULL, 0, true \
	}

static void on_upgraded(void *context, uint64_t id, enum http_side side, struct http_text rest)
{
	struct trace *t = context;

	trace_line(t, id, side, "upgraded ");
	trace_escaped(t, rest);
	buf_add_char(&t->text, '\n');
}

static const struct http_parser_ops trace_ops = {
	.begin = trace_begin,
	.header = trace_header,
	.headers_done = trace_headers_done,
	.body = trace_body,
	.end = trace_end,
	.upgraded = on_upgraded,
};

/* How the input is cut: 0 not at all, 1 into bytes, more: at random places with that seed. */
static size_t piece(unsigned cut, size_t left)
{
	size_t n = cut == 0 ? left : cut == 1 ? 1 : 1 + (size_t)rand() % (cut * 3);

	return n < left ? n : left;
}

/* Each piece in a block of its own size: a sanitizer sees a read behind it. */
static void feed(struct http1 *h, const struct step *s, unsigned cut)
{
	size_t n;

	for (size_t at = 0; at < s->n; at += n) {
		_cleanup_(freep) char *block = NULL;

		n = piece(cut, s->n - at);
		block = malloc(n);
		assert_non_null(block);
		memcpy(block, s->text + at, n);
		http1_feed(h, s->side, block, n);
	}
}

static void step_run(struct http1 *h, const struct step *s, unsigned cut)
{
	if (s->text)
		feed(h, s, cut);
	else if (s->eof)
		http1_eof(h, s->side, true);
	else if (s->n == UNASKED_N)
		http1_unasked(h);
	else if (s->n)
		http1_skip(h, s->side, s->n);
	else
		http1_gap(h, s->side);
}

static char *told(const struct step *steps, size_t n, unsigned cut)
{
	_cleanup_(http1_freep) struct http1 *h = NULL;
	const char *reason = NULL;
	struct trace t = {};
	char *text;

	srand(cut);
	assert_int_equal(http1_new(&trace_ops, &t, &h), 0);
	for (size_t i = 0; i < n; i++)
		step_run(h, &steps[i], cut);
	if (http1_failed(h, &reason)) {
		assert_non_null(reason);
		buf_add_lit(&t.text, "failed\n");
	}
	for (enum http_side side = HTTP_REQUEST; side <= HTTP_RESPONSE; side++)
		if (http1_skipped(h, side))
			buf_printf(&t.text, "skipped %llu\n",
				   (unsigned long long)http1_skipped(h, side));
	text = strdup(buf_cstr(&t.text));
	assert_non_null(text);
	buf_done(&t.text);
	return text;
}

static void check_once(const struct step *steps, size_t n, unsigned cut, const char *expected)
{
	_cleanup_(freep) char *text = told(steps, n, cut);

	assert_string_equal(text, expected);
}

#define CUTS 12
static void check_cuts(const struct step *steps, size_t n, unsigned cuts, const char *expected)
{
	for (unsigned cut = 0; cut < cuts; cut++)
		check_once(steps, n, cut, expected);
}

#define CHECK(expected, ...)                                            \
	do {                                                            \
		const struct step _steps[] = {__VA_ARGS__};             \
		check_cuts(_steps, ARRAY_SIZE(_steps), CUTS, expected); \
	} while (0)

/* Where a resynchronisation depends on where the calls begin. */
#define CHECK_WHOLE(expected, ...)                                   \
	do {                                                         \
		const struct step _steps[] = {__VA_ARGS__};          \
		check_cuts(_steps, ARRAY_SIZE(_steps), 1, expected); \
	} while (0)

/* ---- public corpus ---- */

#define CASE(side, eof, in, out) {side, eof, in, sizeof(in) - 1, out},
static const struct {
	enum http_side side;
	bool eof;
	const char *in;
	size_t n;
	const char *out;
} corpus[] = {
#include "unit/http/corpus/llhttp.h"
};

/* Its logs do not say that a message was cut off, nor how many bytes were passed over. */
static void drop_ours(char *text)
{
	char *to = text, *line = text, *end;

	for (; *line; line = end) {
		end = strchr(line, '\n') + 1;
		if (!memcmp(end - 4, "cut\n", 4) || !strncmp(line, "skipped", 7))
			continue;
		memmove(to, line, (size_t)(end - line));
		to += end - line;
	}
	*to = '\0';
}

static void llhttps_cases_are_read_as_its_logs_say_however_they_are_cut(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(corpus); i++) {
		const struct step steps[] = {
			{corpus[i].side, corpus[i].in, corpus[i].n, false},
			{corpus[i].side, corpus[i].eof ? NULL : "", 0, true},
		};
		_cleanup_(freep) char *whole = told(steps, 2, 0);

		/* What follows an upgrade is not the parser's, so only there the cuts show. */
		if (!strstr(whole, "upgraded"))
			check_cuts(steps, 2, CUTS, whole);
		drop_ours(whole);
		if (corpus[i].out)
			assert_string_equal(whole, corpus[i].out);
	}
}

/* ---- exchanges ---- */

#define GET_A     "GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
#define GET_A_OUT "0> GET /a 11\n0>h host=x\n0>headers\n0>end\n"
#define OK_2      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
#define OK_2_OUT(id) \
	id "< 200 OK 11\n" id "<h content-length=2\n" id "<headers\n" id "<b hi\n" id "<end\n"

static void an_answer_carries_the_id_of_its_request(void **state)
{
	CHECK(GET_A_OUT OK_2_OUT("0") "1> POST /b 11\n1>h content-length=3\n1>headers\n1>b xyz\n"
				      "1>end\n" OK_2_OUT("1"),
	      REQ(GET_A), RESP(OK_2), REQ("POST /b HTTP/1.1\r\nContent-Length: 3\r\n\r\nxyz"),
	      RESP(OK_2));
}

static void pipelined_requests_are_answered_in_order(void **state)
{
	CHECK(GET_A_OUT "1> GET /b 11\n1>headers\n1>end\n" OK_2_OUT("0") OK_2_OUT("1"),
	      REQ(GET_A "GET /b HTTP/1.1\r\n\r\n"), RESP(OK_2 OK_2));
}

static void an_answer_to_head_has_no_body(void **state)
{
	CHECK("0> HEAD /a 11\n0>headers\n0>end\n"
	      "0< 200 OK 11\n0<h content-length=99\n0<headers\n0<end\n"
	      "1> GET /b 11\n1>headers\n1>end\n" OK_2_OUT("1"),
	      REQ("HEAD /a HTTP/1.1\r\n\r\n"),
	      RESP("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"), REQ("GET /b HTTP/1.1\r\n\r\n"),
	      RESP(OK_2));
}

static void answers_204_and_304_have_no_body_whatever_they_say(void **state)
{
	CHECK(GET_A_OUT "1> GET /b 11\n1>headers\n1>end\n"
			"0< 304  11\n0<h content-length=7\n0<headers\n0<end\n"
			"1< 204  11\n1<h transfer-encoding=chunked\n1<headers\n1<end\n",
	      REQ(GET_A "GET /b HTTP/1.1\r\n\r\n"),
	      RESP("HTTP/1.1 304 \r\nContent-Length: 7\r\n\r\n"
		   "HTTP/1.1 204 \r\nTransfer-Encoding: chunked\r\n\r\n"));
}

static void an_interim_answer_is_told_under_the_id_of_the_final_one(void **state)
{
	CHECK(GET_A_OUT "0< 100 Continue 11\n0<headers\n0<end\n" OK_2_OUT("0"), REQ(GET_A),
	      RESP("HTTP/1.1 100 Continue\r\n\r\n" OK_2));
}

static void an_answer_may_come_before_its_request_is_complete(void **state)
{
	CHECK("0> POST /a 11\n0>h content-length=4\n0>headers\n0>b ab\n" OK_2_OUT(
		      "0") "0>b cd\n0>end\n"
			   "1> GET /b 11\n1>headers\n1>end\n" OK_2_OUT("1"),
	      REQ("POST /a HTTP/1.1\r\nContent-Length: 4\r\n\r\nab"), RESP(OK_2),
	      REQ("cdGET /b HTTP/1.1\r\n\r\n"), RESP(OK_2));
}

#define EXPECT     "PUT /a HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 58\r\n\r\n"
#define EXPECT_OUT "0> PUT /a 11\n0>h expect=100-Continue\n0>h content-length=58\n0>headers\n"
#define NO         "HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n"
#define NO_OUT     "0< 417 No 11\n0<h content-length=0\n0<headers\n0<end\n"
#define BODY_58    "GET /b HTTP/1.1\r\n123456789012345678901234567890123456789\r\n"

static void a_request_may_go_without_the_body_that_nobody_asked_for(void **state)
{
	CHECK_WHOLE(EXPECT_OUT NO_OUT "0>cut\n1> GET /b 11\n1>headers\n1>end\n" OK_2_OUT("1"),
		    REQ(EXPECT), RESP(NO), REQ("GET /b HTTP/1.1\r\n\r\n"), RESP(OK_2));
	/* it was asked for, or is sent all the same */
	CHECK_WHOLE(EXPECT_OUT "0< 100 Go 11\n0<headers\n0<end\n" NO_OUT
			       "0>b GET\\040/b\\040HTTP/1.1\\015\\012"
			       "123456789012345678901234567890123456789\\015\\012\n0>end\n",
		    REQ(EXPECT), RESP("HTTP/1.1 100 Go\r\n\r\n" NO), REQ(BODY_58));
	CHECK_WHOLE(EXPECT_OUT NO_OUT "0>b xGET\\040/b\\040HTTP/1.1\\015\\012\n", REQ(EXPECT),
		    RESP(NO), REQ("x"), REQ("GET /b HTTP/1.1\r\n"));
}

static void an_answer_without_a_request_gets_an_id_of_its_own(void **state)
{
	CHECK(OK_2_OUT("0") "0>cut\n1> GET /a 11\n1>h host=x\n1>headers\n1>end\n" OK_2_OUT("1"),
	      RESP(OK_2), UNASKED, REQ(GET_A), RESP(OK_2));
	CHECK(OK_2_OUT("0") "0>cut\n" OK_2_OUT("1") "1> GET /a 11\n1>h host=x\n1>headers\n1>end\n",
	      RESP(OK_2), RESP(OK_2), REQ(GET_A));
	CHECK(OK_2_OUT("0") "0>cut\n", RESP(OK_2), GAP(HTTP_REQUEST, 0));
	CHECK(OK_2_OUT("0") "0>cut\n", RESP(OK_2), END(HTTP_REQUEST), END(HTTP_RESPONSE));
}

#define GET_B_OUT(id) id "> GET /b 11\n" id ">headers\n" id ">end\n"

static void an_answer_may_be_read_before_its_request_is_told(void **state)
{
	CHECK(OK_2_OUT("0") GET_A_OUT OK_2_OUT("1") GET_B_OUT("1"), RESP(OK_2), REQ(GET_A),
	      RESP(OK_2), REQ("GET /b HTTP/1.1\r\n\r\n"));
	CHECK(GET_A_OUT OK_2_OUT("0") "1< 200 OK 11\n1<h content-length=2\n1<headers\n1<b "
				      "h\n" GET_B_OUT("1") "1<b i\n1<end\n" GET_B_OUT("2"),
	      REQ(GET_A), RESP(OK_2), RESP("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh"),
	      REQ("GET /b HTTP/1.1\r\n\r\n"), RESP("i"), REQ("GET /b HTTP/1.1\r\n\r\n"));
	/* what it answers shows that it has no body */
	CHECK("0< 200 OK 11\n0<h content-length=2\n0<headers\n0<end\n0> HEAD /b 11\n"
	      "0>headers\n0>end\n" GET_B_OUT("1") OK_2_OUT("1"),
	      RESP("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"),
	      REQ("HEAD /b HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n"), RESP(OK_2));
}

#define LENGTHS(a, b) \
	"HTTP/1.1 200 OK\r\nContent-Length: " a "\r\nX: 1\r\nContent-Length: " b "\r\n\r\n"

static void a_length_may_be_said_twice_if_it_is_the_same(void **state)
{
	CHECK(GET_A_OUT "0< 200 OK 11\n0<h content-length=2\n0<h x=1\n0<h content-length=2\n"
			"0<headers\n0<b hi\n0<end\n" OK_2_OUT("1"),
	      REQ(GET_A), RESP(LENGTHS("2", "2") "hi" OK_2));
	CHECK(GET_A_OUT "0< 200 OK 11\n0<h content-length=2\n0<h x=1\n0<cut\nfailed\n", REQ(GET_A),
	      RESP(LENGTHS("2", "3") "hi"));
	CHECK(GET_A_OUT "0< 200 OK 11\n0<h content-length=2\n0<h x=1\n0<cut\nfailed\n", REQ(GET_A),
	      RESP(LENGTHS("2", "") "hi"));
}

static void the_encoding_that_is_none_changes_nothing(void **state)
{
	CHECK(GET_A_OUT "0< 200 OK 11\n0<h transfer-encoding=Identity\n0<h content-length=2\n"
			"0<headers\n0<b hi\n0<end\n" OK_2_OUT("1"),
	      REQ(GET_A),
	      RESP("HTTP/1.1 200 OK\r\nTransfer-Encoding: Identity\r\nContent-Length: "
		   "2\r\n\r\nhi" OK_2));
	CHECK(GET_A_OUT "0< 200 OK 11\n0<h transfer-encoding=identity\n0<headers\n0<b hi\n0<end\n",
	      REQ(GET_A), RESP("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nhi"),
	      END(HTTP_RESPONSE));
}

static void chunks_are_joined_and_trailers_come_before_the_end(void **state)
{
	CHECK(GET_A_OUT
	      "0< 200 OK 11\n0<h transfer-encoding=chunked\n0<headers\n0<b hello\\040you\n"
	      "0<h x-sum=1\n0<end\n" OK_2_OUT("1"),
	      REQ(GET_A),
	      RESP("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
		   "5;q=\"1\"\r\nhello\r\n4\r\n you\r\n0\r\nX-Sum: 1\r\n\r\n" OK_2));
}

static void a_body_until_the_end_of_the_connection_is_complete_with_it(void **state)
{
	CHECK(GET_A_OUT "0< 200 OK 10\n0<headers\n0<b abc\n0<end\n", REQ(GET_A),
	      RESP("HTTP/1.0 200 OK\r\n\r\nabc"), END(HTTP_RESPONSE), END(HTTP_REQUEST));
}

static void a_connection_that_ends_early_cuts_messages_off(void **state)
{
	CHECK(GET_A_OUT "0< 200 OK 11\n0<h content-length=9\n0<headers\n0<b abc\n0<cut\n",
	      REQ(GET_A), RESP("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"),
	      END(HTTP_RESPONSE));
	CHECK(GET_A_OUT "0<cut\n", REQ(GET_A), END(HTTP_RESPONSE));
}

static void names_are_lower_case_and_values_without_blanks_around(void **state)
{
	CHECK("0> GET / 11\n0>h x-mixed=a\\040b\n0>h empty=\n0>h same=1\n0>h "
	      "same=2\n0>headers\n0>end\n",
	      REQ("GET / HTTP/1.1\r\nX-MiXed: \t a b \t\r\nEmpty:\r\nSame:1\r\nSAME: 2\r\n\r\n"));
}

/* ---- other protocols ---- */

#define ASK       "GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
#define ASK_OUT   "0> GET /ws 11\n0>h connection=Upgrade\n0>h upgrade=websocket\n0>headers\n0>end\n"
#define GRANT     "HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
#define GRANT_OUT "0< 101 Go 11\n0<h connection=Upgrade\n0<h upgrade=websocket\n0<headers\n0<end\n"

static void an_upgrade_that_is_granted_ends_http_on_both_sides(void **state)
{
	CHECK_WHOLE(ASK_OUT GRANT_OUT "0>upgraded \n0<upgraded \\201\\000\n", REQ(ASK),
		    RESP(GRANT "\x81\0"), REQ("GET / no http"), RESP("HTTP/1.1 neither"));
	CHECK(ASK_OUT GRANT_OUT "0>upgraded early\n0<upgraded \n", REQ(ASK), REQ("early"),
	      RESP(GRANT));
}

static void an_upgrade_that_is_refused_goes_on_as_http(void **state)
{
	CHECK(ASK_OUT OK_2_OUT("0") "1> GET /b 11\n1>headers\n1>end\n" OK_2_OUT("1"), REQ(ASK),
	      RESP(OK_2), REQ("GET /b HTTP/1.1\r\n\r\n"), RESP(OK_2));
}

static void what_follows_an_upgrade_is_held_until_it_is_answered(void **state)
{
	CHECK(ASK_OUT OK_2_OUT("0") "1> GET /b 11\n1>headers\n1>end\n" OK_2_OUT("1"),
	      REQ(ASK "GET /b HTTP/1.1\r\n\r\n"), RESP(OK_2 OK_2));
}

static void a_connect_that_succeeds_is_a_tunnel(void **state)
{
	CHECK("0> CONNECT h:443 11\n0>headers\n0>end\n0< 200 OK 11\n0<h content-length=5\n"
	      "0<headers\n0<end\n0>upgraded \n0<upgraded \n",
	      REQ("CONNECT h:443 HTTP/1.1\r\n\r\n"),
	      RESP("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), REQ("\x16\x03"));
	CHECK("0> CONNECT h:443 11\n0>headers\n0>end\n0< 407 No 11\n0<h "
	      "content-length=2\n0<headers\n"
	      "0<b hi\n0<end\n1> GET / 11\n1>headers\n1>end\n",
	      REQ("CONNECT h:443 HTTP/1.1\r\n\r\n"),
	      RESP("HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nhi"),
	      REQ("GET / HTTP/1.1\r\n\r\n"));
}

/* ---- missing bytes ---- */

static void a_stream_that_begins_in_the_middle_is_read_from_its_next_head(void **state)
{
	CHECK_WHOLE(OK_2_OUT("0") "skipped 9\n", RESP("e of body"), RESP(OK_2));
	CHECK_WHOLE(GET_A_OUT "skipped 16\n", REQ("of"), REQ("GET / anything"), REQ(GET_A));
}

static void a_gap_cuts_the_message_off_and_the_next_head_goes_on(void **state)
{
	CHECK_WHOLE(GET_A_OUT "0< 200 OK 11\n0<h content-length=9\n0<headers\n0<b abc\n0<cut\n"
			      "1> GET /b 11\n1>headers\n1>end\n" OK_2_OUT("1") "skipped 3\n",
		    REQ(GET_A), RESP("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"),
		    GAP(HTTP_RESPONSE, 0), RESP("ghi"), REQ("GET /b HTTP/1.1\r\n\r\n"), RESP(OK_2));
}

static void a_gap_of_known_length_in_a_body_is_only_a_hole(void **state)
{
	CHECK(GET_A_OUT "0< 200 OK 11\n0<h content-length=9\n0<headers\n0<b abci\n0<cut\n"
			"1> GET /b 11\n1>headers\n1>end\n" OK_2_OUT("1"),
	      REQ(GET_A), RESP("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"),
	      GAP(HTTP_RESPONSE, 5), RESP("i"), REQ("GET /b HTTP/1.1\r\n\r\n"), RESP(OK_2));
	CHECK(GET_A_OUT "0< 200 OK 11\n0<h transfer-encoding=chunked\n0<headers\n0<b ahi\n0<cut\n",
	      REQ(GET_A), RESP("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na"),
	      GAP(HTTP_RESPONSE, 2), RESP("h\r\n1\r\ni\r\n0\r\n\r\n"));
}

static void a_gap_up_to_the_end_of_a_body_ends_it(void **state)
{
	CHECK("0> POST / 11\n0>h content-length=9\n0>headers\n0>b abc\n0>cut\n" OK_2_OUT(
		      "0") "1> GET /b 11\n1>headers\n1>end\n",
	      REQ("POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc"), GAP(HTTP_REQUEST, 6),
	      RESP(OK_2), REQ("GET /b HTTP/1.1\r\n\r\n"));
}

static void a_gap_in_a_chunks_border_is_a_gap(void **state)
{
	CHECK_WHOLE(GET_A_OUT
		    "0< 200 OK 11\n0<h transfer-encoding=chunked\n0<headers\n0<b a\n0<cut\n"
		    "skipped 2\n",
		    REQ(GET_A), RESP("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na"),
		    GAP(HTTP_RESPONSE, 3), RESP("\r\n"));
}

static void an_answer_that_is_lost_whole_does_not_shift_the_others(void **state)
{
	CHECK_WHOLE(GET_A_OUT "1> GET /b 11\n1>headers\n1>end\n0<cut\n" OK_2_OUT("1"), REQ(GET_A),
		    GAP(HTTP_RESPONSE, 0), REQ("GET /b HTTP/1.1\r\n\r\n"), RESP(OK_2));
}

static void lost_answers_to_pipelined_requests_are_not_guessed(void **state)
{
	CHECK_WHOLE(GET_A_OUT "1> GET /b 11\n1>headers\n1>end\n" OK_2_OUT(
			    "0") "2> GET /c 11\n2>headers\n2>end\n1<cut\n2<cut\nfailed\n",
		    REQ(GET_A "GET /b HTTP/1.1\r\n\r\n"), RESP(OK_2),
		    REQ("GET /c HTTP/1.1\r\n\r\n"), GAP(HTTP_RESPONSE, 0), RESP(OK_2));
}

/* ---- limits ---- */

static char *repeated(const char *head, char c, size_t n, const char *tail)
{
	struct buf b = {};

	buf_add_str(&b, head);
	for (size_t i = 0; i < n; i++)
		buf_add_char(&b, c);
	buf_add_str(&b, tail);
	buf_cstr(&b);
	assert_false(b.failed);
	return b.data;
}

static bool fails(const char *text, size_t step, const char **reason)
{
	_cleanup_(http1_freep) struct http1 *h = NULL;
	struct trace t = {};
	size_t n = strlen(text);

	assert_int_equal(http1_new(&trace_ops, &t, &h), 0);
	for (size_t at = 0; at < n; at += step)
		http1_feed(h, HTTP_REQUEST, text + at, MIN(step, n - at));
	buf_done(&t.text);
	return http1_failed(h, reason);
}

static void a_start_line_or_headers_over_the_limit_fail_and_say_so(void **state)
{
	_cleanup_(freep) char *fits =
		repeated("GET /", 'a', HTTP1_START_LINE_MAX - 1, " HTTP/1.1\r\n");
	_cleanup_(freep) char *url = repeated("GET /", 'a', HTTP1_START_LINE_MAX, " HTTP/1.1\r\n");
	_cleanup_(freep) char *value =
		repeated("GET / HTTP/1.1\r\na: ", 'v', HTTP1_HEADERS_MAX, "\r\n\r\n");
	_cleanup_(freep) char *trailers =
		repeated("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nt: ", 'v',
			 HTTP1_HEADERS_MAX, "");
	static const size_t steps[] = {1, 4000, SIZE_MAX / 2};
	const char *reason = "";

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		assert_false(fails(fits, steps[i], &reason));
		assert_true(fails(url, steps[i], &reason));
		assert_string_equal(reason, "the start line is too long");
		assert_true(fails(value, steps[i], &reason));
		assert_string_equal(reason, "the headers are too long");
		assert_true(fails(trailers, steps[i], &reason));
	}
}

static void many_empty_headers_are_bounded_too(void **state)
{
	_cleanup_(http1_freep) struct http1 *h = NULL;
	static const struct http_parser_ops none;
	size_t n = 0;

	assert_int_equal(http1_new(&none, NULL, &h), 0);
	http1_feed(h, HTTP_REQUEST, "GET / HTTP/1.1\r\n", 16);
	for (; n < HTTP1_HEADERS_MAX && !http1_failed(h, NULL); n++)
		http1_feed(h, HTTP_REQUEST, "a:\r\n", 4);
	assert_in_range(n, HTTP1_HEADERS_MAX / 5, HTTP1_HEADERS_MAX / 5 + 1);
}

static void too_many_requests_without_an_answer_fail(void **state)
{
	_cleanup_(http1_freep) struct http1 *h = NULL;
	static const struct http_parser_ops none;
	const char *reason = "";

	assert_int_equal(http1_new(&none, NULL, &h), 0);
	for (size_t i = 0; i < HTTP1_PIPELINE_MAX; i++)
		http1_feed(h, HTTP_REQUEST, GET_A, sizeof(GET_A) - 1);
	assert_false(http1_failed(h, &reason));
	http1_feed(h, HTTP_REQUEST, GET_A, sizeof(GET_A) - 1);
	assert_true(http1_failed(h, &reason));
	assert_string_equal(reason, "too many requests without an answer");
}

static void what_is_held_behind_an_upgrade_is_bounded(void **state)
{
	_cleanup_(http1_freep) struct http1 *h = NULL;
	static const struct http_parser_ops none;
	char block[1024] = "";

	assert_int_equal(http1_new(&none, NULL, &h), 0);
	http1_feed(h, HTTP_REQUEST, ASK, sizeof(ASK) - 1);
	for (size_t i = 0; i < HTTP1_HELD_MAX / sizeof(block); i++)
		http1_feed(h, HTTP_REQUEST, block, sizeof(block));
	assert_false(http1_failed(h, NULL));
	http1_feed(h, HTTP_REQUEST, block, 1);
	assert_true(http1_failed(h, NULL));
}

static void a_message_is_recognised_by_its_first_bytes(void **state)
{
	assert_int_equal(http1_looks_like(HTTP_REQUEST, "GET /", 5), HTTP1_LOOK_YES);
	assert_int_equal(http1_looks_like(HTTP_REQUEST, "PROPP", 5), HTTP1_LOOK_SHORT);
	assert_int_equal(http1_looks_like(HTTP_REQUEST, "", 0), HTTP1_LOOK_SHORT);
	assert_int_equal(http1_looks_like(HTTP_REQUEST, "GETS ", 5), HTTP1_LOOK_NO);
	assert_int_equal(http1_looks_like(HTTP_REQUEST, "get /", 5), HTTP1_LOOK_NO);
	assert_int_equal(http1_looks_like(HTTP_REQUEST, "PRI * HTTP/2.0", 14), HTTP1_LOOK_NO);
	assert_int_equal(http1_looks_like(HTTP_REQUEST, "HTTP/1.1", 8), HTTP1_LOOK_NO);
	assert_int_equal(http1_looks_like(HTTP_RESPONSE, "HTTP/1.1", 8), HTTP1_LOOK_YES);
	assert_int_equal(http1_looks_like(HTTP_RESPONSE, "HTTP", 4), HTTP1_LOOK_SHORT);
	assert_int_equal(http1_looks_like(HTTP_RESPONSE, "HTTP/2", 6), HTTP1_LOOK_NO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(llhttps_cases_are_read_as_its_logs_say_however_they_are_cut),
		cmocka_unit_test(an_answer_carries_the_id_of_its_request),
		cmocka_unit_test(pipelined_requests_are_answered_in_order),
		cmocka_unit_test(an_answer_to_head_has_no_body),
		cmocka_unit_test(answers_204_and_304_have_no_body_whatever_they_say),
		cmocka_unit_test(an_interim_answer_is_told_under_the_id_of_the_final_one),
		cmocka_unit_test(an_answer_may_come_before_its_request_is_complete),
		cmocka_unit_test(a_request_may_go_without_the_body_that_nobody_asked_for),
		cmocka_unit_test(an_answer_without_a_request_gets_an_id_of_its_own),
		cmocka_unit_test(an_answer_may_be_read_before_its_request_is_told),
		cmocka_unit_test(a_length_may_be_said_twice_if_it_is_the_same),
		cmocka_unit_test(the_encoding_that_is_none_changes_nothing),
		cmocka_unit_test(chunks_are_joined_and_trailers_come_before_the_end),
		cmocka_unit_test(a_body_until_the_end_of_the_connection_is_complete_with_it),
		cmocka_unit_test(a_connection_that_ends_early_cuts_messages_off),
		cmocka_unit_test(names_are_lower_case_and_values_without_blanks_around),
		cmocka_unit_test(an_upgrade_that_is_granted_ends_http_on_both_sides),
		cmocka_unit_test(an_upgrade_that_is_refused_goes_on_as_http),
		cmocka_unit_test(what_follows_an_upgrade_is_held_until_it_is_answered),
		cmocka_unit_test(a_connect_that_succeeds_is_a_tunnel),
		cmocka_unit_test(a_stream_that_begins_in_the_middle_is_read_from_its_next_head),
		cmocka_unit_test(a_gap_cuts_the_message_off_and_the_next_head_goes_on),
		cmocka_unit_test(a_gap_of_known_length_in_a_body_is_only_a_hole),
		cmocka_unit_test(a_gap_up_to_the_end_of_a_body_ends_it),
		cmocka_unit_test(a_gap_in_a_chunks_border_is_a_gap),
		cmocka_unit_test(an_answer_that_is_lost_whole_does_not_shift_the_others),
		cmocka_unit_test(lost_answers_to_pipelined_requests_are_not_guessed),
		cmocka_unit_test(a_start_line_or_headers_over_the_limit_fail_and_say_so),
		cmocka_unit_test(many_empty_headers_are_bounded_too),
		cmocka_unit_test(too_many_requests_without_an_answer_fail),
		cmocka_unit_test(what_is_held_behind_an_upgrade_is_bounded),
		cmocka_unit_test(a_message_is_recognised_by_its_first_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
