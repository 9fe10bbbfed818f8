/* SPDX-License-Identifier: MIT */
#include "unit/llm/answer.h"

#include "base/clock.h"
#include "event/encode.h"
#include "unit/event/line.h"
#include "event/record.h"
#include "stage/llm.h"

/* What came out: the data of each line, from "type" on. */
struct taker {
	struct emitter in;
	struct buf lines;
	struct buf heard;
	uint64_t boot_ns;
};

struct fixture {
	struct taker taker;
	struct llm_stage *stage;
	struct prices *prices;
	const struct http_observer *observer;
	struct http_exchange x;
	struct http_header headers[4];
	struct http_mark marks[64];
};

static void take(struct emitter *self, const struct event *ev)
{
	struct taker *t = (struct taker *)self;
	struct buf line = {0};
	const char *data;

	event_encode_json(&line, ev);
	assert_null(line_check(line.data, line.len, ev->desc));
	data = strstr(buf_cstr(&line), "\"data\":") + strlen("\"data\":");
	buf_add(&t->lines, data, strlen(data) - 2);
	buf_add_char(&t->lines, '\n');
	t->boot_ns = ev->rec->boot_ns;
	buf_done(&line);
}

static void hear_call(void *context, const struct llm_tool_call *call)
{
	struct taker *t = context;

	assert_int_equal(strlen(call->input), call->input_len);
	buf_printf(&t->heard, "call %s %s %s session=%s pid=%u at=%llu\n", call->id, call->name,
		   call->input, call->session, call->who.tgid, (unsigned long long)call->boot_ns);
}

static void hear_result(void *context, const struct llm_tool_result *result)
{
	struct taker *t = context;

	buf_printf(&t->heard, "result %s|%s%s bytes=%llu at=%llu\n", result->id, result->name,
		   result->is_error ? " error" : "", (unsigned long long)result->bytes,
		   (unsigned long long)result->boot_ns);
}

static int setup(void **state)
{
	static const char prices[] = "anthropic claude-sonnet-4* 3 15 0.3 3.75 6\n";
	struct fixture *f = calloc(1, sizeof(*f));
	struct llm_stage_options opt = {0};

	assert_non_null(f);
	f->taker.in.emit = take;
	assert_int_equal(prices_new(&f->prices), 0);
	assert_int_equal(prices_parse(f->prices, "p", prices, strlen(prices), NULL), 0);
	opt.prices = f->prices;
	opt.listener = (struct llm_listener){&f->taker, hear_call, hear_result};
	assert_int_equal(llm_stage_new(&opt, &f->taker.in, &f->stage), 0);
	f->observer = llm_stage_observer(f->stage);
	*state = f;
	return 0;
}

static void drop_exchange(struct fixture *f)
{
	f->observer->forget(f->observer->context, &f->x);
	buf_done(&f->x.request.body);
	buf_done(&f->x.response.body);
	memset(&f->x, 0, sizeof(f->x));
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	drop_exchange(f);
	buf_done(&f->taker.lines);
	buf_done(&f->taker.heard);
	llm_stage_free(f->stage);
	prices_free(f->prices);
	free(f);
	return 0;
}

static struct http_text text_of(const char *s)
{
	return (struct http_text){s, strlen(s)};
}

/* A request from 1000 to 2000. */
static void ask(struct fixture *f, const char *path, const char *body)
{
	struct http_exchange *x = &f->x;

	x->id = 4;
	x->stream_id = 9;
	x->who = (struct as_hdr){.tgid = 42, .tid = 43, .boot_ns = 1000, .comm = "agent"};
	x->request.head = (struct http_head){
		.method = text_of("POST"),
		.path = text_of(path),
		.authority = text_of("api.anthropic.com"),
	};
	buf_add_str(&x->request.body, body);
	x->request.body_full = x->request.body.len;
	x->request.begin_ns = 1000;
	x->request.end_ns = 2000;
	x->request.begun = x->request.ended = x->request.complete = true;
	f->observer->request(f->observer->context, x);
}

static void begin_answer(struct fixture *f, unsigned status, const char *type)
{
	struct http_message *m = &f->x.response;

	f->headers[0] = (struct http_header){text_of("content-type"), text_of(type)};
	m->headers = f->headers;
	m->n_headers = 1;
	m->marks = f->marks;
	m->head.status = status;
	m->begin_ns = 3000;
	m->begun = true;
}

/* The next part of the body; the reader is told at once where @streams. */
static void answer_part(struct fixture *f, const char *p, size_t n, uint64_t boot_ns, bool streams)
{
	struct http_message *m = &f->x.response;

	if (m->n_marks < 64 && (!m->n_marks || m->marks[m->n_marks - 1].boot_ns != boot_ns))
		m->marks[m->n_marks++] = (struct http_mark){m->body.len, boot_ns};
	buf_add(&m->body, p, n);
	m->body_full += n;
	f->x.now_ns = boot_ns;
	if (!streams)
		return;
	m->piece = (struct http_text){p, n};
	f->observer->progress(f->observer->context, &f->x);
	m->piece = (struct http_text){0};
}

static void end_answer(struct fixture *f, bool complete)
{
	f->x.response.end_ns = 9000;
	f->x.response.ended = true;
	f->x.response.complete = complete;
	f->observer->response(f->observer->context, &f->x);
}

#define ASKED                                                                               \
	"{\"type\":\"request\",\"provider\":\"anthropic\",\"model\":\"claude-sonnet-4-5\"," \
	"\"host\":\"api.anthropic.com\",\"path\":\"/v1/messages\",\"role\":\"client\","     \
	"\"prompt\":\"hi\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],"          \
	"\"message_count\":1,\"stream\":false,\"stream_id\":9,\"exchange_id\":4}\n"

#define BODY \
	"{\"model\":\"claude-sonnet-4-5\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"

static void a_request_is_told_when_it_is_complete(void **state)
{
	struct fixture *f = *state;

	ask(f, "/v1/messages", BODY);
	assert_string_equal(buf_cstr(&f->taker.lines), ASKED);
	assert_int_equal(f->taker.boot_ns, 2000);
	buf_reset(&f->taker.lines);
}

static void an_answer_in_one_has_no_first_token(void **state)
{
	static const char body[] =
		"{\"type\":\"message\",\"id\":\"msg_1\",\"model\":\"claude-sonnet-4-5\","
		"\"content\":[{"
		"\"type\":\"text\",\"text\":\"yo\"}],\"stop_reason\":\"end_turn\",\"usage\":{"
		"\"input_tokens\":1000,\"output_tokens\":10,\"cache_read_input_tokens\":5}}";
	struct fixture *f = *state;

	ask(f, "/v1/messages", BODY);
	buf_reset(&f->taker.lines);
	begin_answer(f, 200, "application/json");
	answer_part(f, body, strlen(body), 3000, false);
	end_answer(f, true);
	assert_string_equal(
		buf_cstr(&f->taker.lines),
		"{\"type\":\"response\",\"provider\":\"anthropic\",\"model\":\"claude-sonnet-4-5\","
		"\"role\":\"client\",\"response_id\":\"msg_1\",\"status\":200,\"text\":\"yo\","
		"\"tool_calls\":[],\"stop_reason\":\"end_turn\",\"usage\":{\"input_tokens\":1000,"
		"\"output_tokens\":10,\"cache_read_tokens\":5,\"cache_write_tokens\":0,\"raw\":{"
		"\"input_tokens\":1000,\"output_tokens\":10,\"cache_read_input_tokens\":5}},"
		"\"duration_ns\":8000,\"cost_nano_usd\":3151500,\"stream_id\":9,\"exchange_id\":4}"
		"\n");
	assert_int_equal(f->taker.boot_ns, 9000);
}

/* With and without being told of each piece, and cut anywhere, the same line comes out. */
static char *stream_line(struct fixture *f, size_t step, bool streams)
{
	struct buf b = fixture("anthropic-stream.txt");
	const char *token = strstr(buf_cstr(&b), "The user wants");
	size_t first = (size_t)(strstr(token, "\n\n") + 2 - b.data);
	char *line;

	ask(f, "/v1/messages", BODY);
	buf_reset(&f->taker.lines);
	begin_answer(f, 200, "text/event-stream; charset=utf-8");
	/* up to the first token at 3000, the byte that ends it at 5000, all else at 6000 */
	for (size_t at = 0; at < b.len; at += step) {
		uint64_t ns = at < first - 1 ? 3000 : at == first - 1 ? 5000 : 6000;
		size_t end = at < first - 1 ? first - 1 : at == first - 1 ? first : b.len;

		if (step == 1) {
			answer_part(f, b.data + at, 1, ns, streams);
			continue;
		}
		answer_part(f, b.data + at, end - at, ns, streams);
		at = end - step;
	}
	end_answer(f, true);
	line = strdup(buf_cstr(&f->taker.lines));
	drop_exchange(f);
	buf_done(&b);
	return line;
}

static void a_stream_gives_the_same_however_it_was_cut(void **state)
{
	struct fixture *f = *state;
	char *a = stream_line(f, 2, true), *b = stream_line(f, 2, false);

	assert_string_equal(a, b);
	assert_non_null(strstr(a, "\"time_to_first_token_ns\":3000,\"duration_ns\":8000,"));
	assert_non_null(
		strstr(a, "],\"tool_call_count\":2,\"tool_names\":[\"Bash\",\"TodoRead\"],"));
	/* 12 x 3 + 89 x 15 + 41,000 x 0.3 + 100 x 3.75 + 200 x 6, in thousands of nano-dollars */
	assert_non_null(strstr(a, "\"cost_nano_usd\":15246000,"));
	free(b);
	b = stream_line(f, 1, true);
	assert_string_equal(a, b);
	free(a);
	free(b);
}

static void tool_calls_are_heard_before_the_answer_is_over(void **state)
{
	struct fixture *f = *state;
	struct buf b = fixture("anthropic-stream.txt");
	const char *stop = strstr(buf_cstr(&b), "event: message_delta");

	f->x.request.headers = &f->headers[1];
	f->x.request.n_headers = 1;
	f->headers[1] = (struct http_header){text_of("x-claude-code-session-id"), text_of("s9")};
	ask(f, "/v1/messages", BODY);
	begin_answer(f, 200, "text/event-stream");
	answer_part(f, b.data, (size_t)(stop - b.data), 3500, true);
	assert_string_equal(
		buf_cstr(&f->taker.heard),
		"call toolu_01A Bash {\"command\":\"ls -la\"} session=s9 pid=42 at=3500\n"
		"call toolu_01B TodoRead {} session=s9 pid=42 at=3500\n");
	answer_part(f, stop, b.len - (size_t)(stop - b.data), 4000, true);
	end_answer(f, true);
	/* and once only */
	assert_null(strstr(strstr(buf_cstr(&f->taker.heard), "TodoRead"), "\ncall"));
	buf_done(&b);
}

static void results_of_tools_are_heard(void **state)
{
	struct fixture *f = *state;
	struct buf b = fixture("anthropic-request.json");

	ask(f, "/v1/messages", buf_cstr(&b));
	assert_string_equal(buf_cstr(&f->taker.heard), "result toolu_1| error bytes=7 at=2000\n");
	assert_non_null(
		strstr(buf_cstr(&f->taker.lines),
		       "\"tool_results\":[{\"id\":\"toolu_1\",\"is_error\":true,\"bytes\":7}]"));
	buf_done(&b);
}

static void an_error_status_says_why(void **state)
{
	static const char body[] = "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\","
				   "\"message\":\"slow down\"}}";
	struct fixture *f = *state;

	ask(f, "/v1/messages", BODY);
	buf_reset(&f->taker.lines);
	begin_answer(f, 429, "application/json");
	answer_part(f, body, strlen(body), 3000, false);
	end_answer(f, true);
	assert_string_equal(
		buf_cstr(&f->taker.lines),
		"{\"type\":\"response\",\"provider\":\"anthropic\",\"model\":\"claude-sonnet-4-5\","
		"\"role\":\"client\",\"status\":429,\"text\":\"\",\"tool_calls\":[],\"error\":"
		"\"rate_limit_error: slow down\",\"usage\":{\"input_tokens\":0,\"output_tokens\":0,"
		"\"cache_read_tokens\":0,\"cache_write_tokens\":0,\"unknown\":true},"
		"\"duration_ns\":8000,\"stream_id\":9,\"exchange_id\":4}\n");
}

static void an_error_without_json_is_its_status(void **state)
{
	struct fixture *f = *state;

	ask(f, "/v1/messages", BODY);
	begin_answer(f, 502, "text/html");
	f->x.response.head.reason = text_of("Bad Gateway");
	answer_part(f, "<html>", 6, 3000, false);
	end_answer(f, false);
	assert_non_null(strstr(buf_cstr(&f->taker.lines), "\"error\":\"HTTP 502 Bad Gateway\""));
	assert_non_null(strstr(buf_cstr(&f->taker.lines), "\"incomplete\":true"));
}

static void a_stream_that_breaks_off_is_incomplete_and_its_open_calls_are_not_heard(void **state)
{
	struct fixture *f = *state;
	struct buf b = fixture("anthropic-stream.txt");
	size_t n = (size_t)(strstr(buf_cstr(&b), "\"partial_json\":\"a\\\"}\"") - b.data);

	ask(f, "/v1/messages", BODY);
	begin_answer(f, 200, "text/event-stream");
	answer_part(f, b.data, n, 3000, true);
	end_answer(f, false);
	assert_non_null(strstr(buf_cstr(&f->taker.lines), "\"incomplete\":true"));
	assert_string_equal(buf_cstr(&f->taker.heard), "");
	buf_done(&b);
}

static void whole_stream(struct fixture *f, void (*meanwhile)(struct http_message *m))
{
	struct buf b = fixture("anthropic-stream.txt");

	ask(f, "/v1/messages", BODY);
	begin_answer(f, 200, "text/event-stream");
	answer_part(f, b.data, b.len / 2, 3000, true);
	meanwhile(&f->x.response);
	answer_part(f, b.data + b.len / 2, b.len - b.len / 2, 4000, true);
	end_answer(f, false); /* agents close behind the last event */
	buf_done(&b);
}

static void nothing(struct http_message *m)
{
}

static void lose_bytes(struct http_message *m)
{
	m->hole = true;
}

static void lose_something(struct http_message *m)
{
	m->doubts++;
}

static void a_stream_of_which_something_was_lost_is_incomplete(void **state)
{
	static const struct {
		void (*meanwhile)(struct http_message *m);
		bool incomplete;
	} cases[] = {{nothing, false}, {lose_bytes, true}, {lose_something, true}};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		buf_reset(&f->taker.lines);
		whole_stream(f, cases[i].meanwhile);
		assert_int_equal(strstr(buf_cstr(&f->taker.lines), "\"incomplete\":true") != NULL,
				 cases[i].incomplete);
		drop_exchange(f);
	}
}

static void a_question_without_an_answer_is_told_at_the_end(void **state)
{
	struct fixture *f = *state;

	ask(f, "/v1/messages", BODY);
	buf_reset(&f->taker.lines);
	f->x.now_ns = 7000;
	drop_exchange(f);
	assert_non_null(strstr(buf_cstr(&f->taker.lines), "\"duration_ns\":6000,"));
	assert_non_null(strstr(buf_cstr(&f->taker.lines), "\"status\":0,\"text\":\"\""));
	assert_non_null(strstr(buf_cstr(&f->taker.lines), "\"incomplete\":true"));
	assert_int_equal(llm_stage_counts(f->stage)->requests.made, 1);
	assert_int_equal(llm_stage_counts(f->stage)->responses.made, 1);
}

static void other_traffic_is_passed_over(void **state)
{
	struct fixture *f = *state;

	ask(f, "/v1/messages/count_tokens", BODY);
	begin_answer(f, 200, "application/json");
	answer_part(f, "{}", 2, 3000, true);
	end_answer(f, true);
	assert_int_equal(f->taker.lines.len, 0);
	assert_null(f->x.user);
}

static void say(struct fixture *f, enum http_side side, const char *text, uint64_t boot_ns)
{
	f->x.message_full = strlen(text);
	f->observer->ws_message(f->observer->context, &f->x, side, true, text_of(text), boot_ns);
}

static void requests_on_a_websocket_follow_one_another(void **state)
{
	struct fixture *f = *state;

	f->x.request.head.path = text_of("/v1/responses");
	f->x.request.head.authority = text_of("api.openai.com");
	f->x.response.head.status = 101;
	say(f, HTTP_REQUEST, "{\"type\":\"response.create\",\"model\":\"gpt-5\",\"input\":\"a\"}",
	    100);
	say(f, HTTP_RESPONSE,
	    "{\"type\":\"response.created\",\"response\":{\"status\":\"in_progress\"}}", 200);
	say(f, HTTP_RESPONSE,
	    "{\"type\":\"response.output_text.delta\",\"output_index\":0,\"delta\":\"yes\"}", 300);
	/* what else is said there is no answer */
	say(f, HTTP_REQUEST, "{\"type\":\"ping\"}", 310);
	say(f, HTTP_RESPONSE, "{\"type\":\"codex.rate_limits\"}", 320);
	buf_reset(&f->taker.lines);
	say(f, HTTP_RESPONSE,
	    "{\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"usage\":{"
	    "\"input_tokens\":3,\"output_tokens\":1}}}",
	    400);
	assert_string_equal(
		buf_cstr(&f->taker.lines),
		"{\"type\":\"response\",\"provider\":\"openai\",\"model\":\"gpt-5\",\"role\":"
		"\"client\","
		"\"status\":101,\"text\":\"yes\",\"tool_calls\":[],\"stop_reason\":\"completed\","
		"\"usage\":{\"input_tokens\":3,\"output_tokens\":1,\"cache_read_tokens\":0,"
		"\"cache_write_tokens\":0,\"raw\":{\"input_tokens\":3,\"output_tokens\":1}},"
		"\"time_to_first_token_ns\":200,\"duration_ns\":300,\"stream_id\":0,"
		"\"exchange_id\":0}\n");
	/* the second is given up for the third, and the third when the connection ends */
	say(f, HTTP_REQUEST, "{\"type\":\"response.create\",\"model\":\"gpt-5\",\"input\":\"b\"}",
	    500);
	say(f, HTTP_REQUEST, "{\"type\":\"response.create\",\"model\":\"gpt-5\",\"input\":\"c\"}",
	    600);
	drop_exchange(f);
	assert_int_equal(llm_stage_counts(f->stage)->requests.made, 3);
	assert_int_equal(llm_stage_counts(f->stage)->responses.made, 3);
}

static void a_server_hears_of_no_tools_but_tells_its_calls(void **state)
{
	struct fixture *f = *state;
	struct buf b = fixture("anthropic-stream.txt");

	f->x.server = true;
	ask(f, "/v1/messages", BODY);
	begin_answer(f, 200, "text/event-stream");
	answer_part(f, b.data, b.len, 3000, true);
	end_answer(f, true);
	assert_string_equal(buf_cstr(&f->taker.heard), "");
	assert_non_null(strstr(buf_cstr(&f->taker.lines), "\"role\":\"server\""));
	buf_done(&b);
}

static int set_up_all(void **state)
{
	return schema_init();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_request_is_told_when_it_is_complete),
		TEST(an_answer_in_one_has_no_first_token),
		TEST(a_stream_gives_the_same_however_it_was_cut),
		TEST(tool_calls_are_heard_before_the_answer_is_over),
		TEST(results_of_tools_are_heard),
		TEST(an_error_status_says_why),
		TEST(an_error_without_json_is_its_status),
		TEST(a_stream_that_breaks_off_is_incomplete_and_its_open_calls_are_not_heard),
		TEST(a_stream_of_which_something_was_lost_is_incomplete),
		TEST(a_question_without_an_answer_is_told_at_the_end),
		TEST(other_traffic_is_passed_over),
		TEST(requests_on_a_websocket_follow_one_another),
		TEST(a_server_hears_of_no_tools_but_tells_its_calls),
	};

	return cmocka_run_group_tests(tests, set_up_all, NULL);
}
