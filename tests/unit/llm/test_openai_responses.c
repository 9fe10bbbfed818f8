/* SPDX-License-Identifier: MIT */
#include "unit/llm/answer.h"

#define WHOLE                                                                               \
	"model=gpt-5-codex\nid=resp_67c\nreasoning=**Looking around**\ntext=I will look.\n" \
	"calls=[{\"id\":\"call_9\",\"name\":\"shell\",\"input\":{\"command\":[\"ls\"]}},"   \
	"{\"id\":\"call_10\",\"name\":\"apply_patch\",\"input\":\"42\"}]\n"                 \
	"stop=completed\nusage in=9000 out=120 cache_read=8000 reasoning=64\ndone\n"

static void a_stream_is_put_together(void **state)
{
	assert_answer(&llm_openai_responses, "openai-responses-stream.txt", WHOLE);
}

static void the_last_event_alone_suffices(void **state)
{
	static const char body[] =
		"event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{"
		"\"id\":\"resp_67c\",\"object\":\"response\",\"status\":\"completed\",\"model\":"
		"\"gpt-5-codex\",\"output\":[{\"type\":\"reasoning\",\"summary\":[{\"type\":"
		"\"summary_text\",\"text\":\"**Looking "
		"around**\"}]},{\"type\":\"message\",\"content\":[{"
		"\"type\":\"output_text\",\"text\":\"I will look.\"}]},{\"type\":\"function_call\","
		"\"arguments\":\"{\\\"command\\\": "
		"[\\\"ls\\\"]}\",\"call_id\":\"call_9\",\"name\":\"shell\"},"
		"{\"type\":\"custom_tool_call\",\"input\":\"42\",\"call_id\":\"call_10\","
		"\"name\":\"apply_patch\"}],\"usage\":{\"input_tokens\":9000,\"input_tokens_"
		"details\":{"
		"\"cached_tokens\":8000},\"output_tokens\":120,\"output_tokens_details\":{"
		"\"reasoning_tokens\":64}}}}\n\n";

	assert_answer_text(&llm_openai_responses, body, strlen(body), WHOLE);
}

static void the_same_events_together_count_once(void **state)
{
	struct buf b = fixture("openai-responses-stream.txt");
	static const char again[] =
		"data: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\","
		"\"output\":[{\"type\":\"reasoning\",\"summary\":[{\"text\":\"**Looking "
		"around**\"}]},"
		"{\"type\":\"message\",\"content\":[{\"text\":\"I will look.\"}]}]}}\n\n";

	buf_add_str(&b, again);
	assert_answer_text(&llm_openai_responses, b.data, b.len, WHOLE);
	buf_done(&b);
}

static void an_aborted_stream_keeps_its_pieces(void **state)
{
	struct buf b = fixture("openai-responses-stream.txt");
	size_t n = (size_t)(strstr(buf_cstr(&b), "event: response.function_call") - b.data);

	assert_answer_text(&llm_openai_responses, b.data, n,
			   "model=gpt-5-codex\nid=resp_67c\nreasoning=**Looking around**\n"
			   "text=I will look.\n"
			   "calls=[{\"id\":\"call_9\",\"name\":\"shell\",\"input\":{}}]\n"
			   "usage unknown\nincomplete\n");
	buf_done(&b);
}

static void failures_are_told(void **state)
{
	static const char failed[] =
		"data: "
		"{\"type\":\"response.failed\",\"response\":{\"id\":\"r\",\"status\":\"failed\","
		"\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"Slow down\"}}}\n\n";
	static const char limit[] =
		"data: {\"type\":\"response.incomplete\",\"response\":{\"status\":\"incomplete\","
		"\"incomplete_details\":{\"reason\":\"max_output_tokens\"}}}\n\n";
	static const char event[] =
		"data: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"Oops\"}\n\n";

	assert_answer_text(
		&llm_openai_responses, failed, strlen(failed),
		"id=r\nstop=failed\nerror=rate_limit_exceeded: Slow down\nusage unknown\n"
		"done\n");
	assert_answer_text(&llm_openai_responses, limit, strlen(limit),
			   "stop=max_output_tokens\nusage unknown\ndone\n");
	assert_answer_text(&llm_openai_responses, event, strlen(event),
			   "error=server_error: Oops\nusage unknown\ndone\n");
}

static void a_request_is_read(void **state)
{
	assert_request_text(
		"{\"model\":\"gpt-5-codex\",\"instructions\":\"You are "
		"Codex\",\"input\":[{\"type\":"
		"\"message\",\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":"
		"\"fix it\"}]},"
		"{\"type\":\"function_call\",\"call_id\":\"call_9\",\"name\":\"shell\"},"
		"{\"type\":\"function_call_output\",\"call_id\":\"call_9\",\"output\":\"ok\"}],"
		"\"tools\":[{\"type\":\"function\",\"name\":\"shell\"},{\"type\":\"web_search\"}],"
		"\"stream\":true,\"store\":false,\"prompt_cache_key\":\"0199-abc\"}",
		"openai_responses provider=openai stream\nmodel=gpt-5-codex\nsession=0199-abc\n"
		"system=\"You are Codex\"\n"
		"messages=[{\"type\":\"message\",\"role\":\"user\",\"content\":[{\"type\":"
		"\"input_text\",\"text\":\"fix it\"}]},{\"type\":\"function_call\",\"call_id\":"
		"\"call_9\",\"name\":\"shell\"},{\"type\":\"function_call_output\",\"call_id\":"
		"\"call_9\",\"output\":\"ok\"}]\n"
		"n=3\nprompt=fix it\ntools=[\"shell\",\"web_search\"]\n"
		"parameters={\"store\":false,\"prompt_cache_key\":\"0199-abc\"}\n"
		"result call_9: ok\n",
		.path = "/backend-api/codex/responses", .host = "chatgpt.com");
}

static void on_a_socket_the_request_is_an_event(void **state)
{
	assert_request_text("{\"type\":\"response.create\",\"model\":\"gpt-5\",\"input\":\"hi\"}",
			    "openai_responses provider=openai "
			    "stream\nmodel=gpt-5\nmessages=\"hi\"\nn=1\nprompt=hi\n",
			    .path = "/v1/responses", .host = "api.openai.com");
	assert_request_text(
		"{\"type\":\"response.create\",\"response\":{\"model\":\"gpt-5\",\"input\":[]}}",
		"openai_responses provider=openai stream\nmodel=gpt-5\nmessages=[]\nn=0\n",
		.path = "/v1/responses", .host = "api.openai.com");
}

static void a_survey_is_no_model(void **state)
{
	assert_request_text("{\"answers\":[1],\"input\":\"x\"}", "none\n",
			    .path = "/api/surveys/7/responses", .host = "h");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stream_is_put_together),
		cmocka_unit_test(the_last_event_alone_suffices),
		cmocka_unit_test(the_same_events_together_count_once),
		cmocka_unit_test(an_aborted_stream_keeps_its_pieces),
		cmocka_unit_test(failures_are_told),
		cmocka_unit_test(a_request_is_read),
		cmocka_unit_test(on_a_socket_the_request_is_an_event),
		cmocka_unit_test(a_survey_is_no_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
