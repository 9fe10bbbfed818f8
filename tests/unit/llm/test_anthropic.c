/* SPDX-License-Identifier: MIT */
#include "unit/llm/answer.h"

static void a_stream_is_put_together(void **state)
{
	assert_answer(&llm_anthropic, "anthropic-stream.txt",
		      "model=claude-sonnet-4-5-20250929\n"
		      "id=msg_01XFDUDYJgAACzvnptvVoYEL\n"
		      "reasoning=The user wants a listing.\n"
		      "text=Let me look — café 🚀 näh\n\n"
		      "calls=[{\"id\":\"toolu_01A\",\"name\":\"Bash\",\"input\":{\"command\":\"ls "
		      "-la\"}},"
		      "{\"id\":\"toolu_01B\",\"name\":\"TodoRead\",\"input\":{}}]\n"
		      "stop=tool_use\n"
		      "usage in=12 out=89 cache_read=41000 cache_write=300 1h=200\n"
		      "done\n");
}

static void the_first_token_is_no_ping_and_no_start(void **state)
{
	struct buf b = fixture("anthropic-stream.txt");
	struct reading r;
	const char *delta = strstr(buf_cstr(&b), "The user wants");
	const char *end = strstr(delta, "\n\n");

	answer_read(&r, &llm_anthropic, b.data, b.len, 1);
	/* the byte that ends the event; times count from 1 */
	assert_int_equal(r.answer.first_ns, end + 2 - b.data);
	reading_done(&r);
	buf_done(&b);
}

static void raw_usage_joins_what_the_stream_said_in_two_places(void **state)
{
	struct buf b = fixture("anthropic-stream.txt");
	struct reading r;

	answer_read(&r, &llm_anthropic, b.data, b.len, 64);
	assert_string_equal(buf_cstr(&r.answer.usage_raw),
			    "{\"input_tokens\":12,\"cache_creation_input_tokens\":300,"
			    "\"cache_read_input_tokens\":41000,\"cache_creation\":{"
			    "\"ephemeral_5m_input_tokens\":100,\"ephemeral_1h_input_tokens\":200},"
			    "\"service_tier\":\"standard\",\"output_tokens\":89}");
	reading_done(&r);
	buf_done(&b);
}

static void an_answer_in_one_is_read(void **state)
{
	static const char body[] =
		"{\"id\":\"msg_2\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\","
		"\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}"
		","
		"{\"type\":\"server_tool_use\",\"id\":\"s1\",\"name\":\"web_search\","
		"\"input\":{\"query\": "
		"\"q\"}},{\"type\":\"web_search_tool_result\",\"content\":[]},"
		"{\"type\":\"text\",\"text\":\"c\"}],"
		"\"stop_reason\":\"end_turn\",\"usage\":{\"input_tokens\":5,\"output_tokens\":7.0}"
		"}";

	assert_answer_text(
		&llm_anthropic, body, strlen(body),
		"model=m\nid=msg_2\ntext=ab\n\nc\n"
		"calls=[{\"id\":\"s1\",\"name\":\"web_search\",\"input\":{\"query\":\"q\"},"
		"\"server\":true}]\n"
		"stop=end_turn\nusage in=5 out=7\ndone\n");
}

static void a_stream_that_breaks_off_keeps_what_came(void **state)
{
	struct buf b = fixture("anthropic-stream.txt");
	size_t n = (size_t)(strstr(buf_cstr(&b), "\"partial_json\":\"a\\\"}\"") - b.data);

	assert_answer_text(&llm_anthropic, b.data, n,
			   "model=claude-sonnet-4-5-20250929\n"
			   "id=msg_01XFDUDYJgAACzvnptvVoYEL\n"
			   "reasoning=The user wants a listing.\n"
			   "text=Let me look — café 🚀 näh\n\n"
			   "calls=[{\"id\":\"toolu_01A\",\"name\":\"Bash\","
			   "\"input\":\"{\\\"command\\\": \\\"ls -l\"},"
			   "{\"id\":\"toolu_01B\",\"name\":\"TodoRead\",\"input\":{}}]\n"
			   "usage in=12 out=3 cache_read=41000 cache_write=300 1h=200\n"
			   "incomplete\n");
	buf_done(&b);
}

static void an_error_in_the_stream_is_told(void **state)
{
	static const char body[] = "event: message_start\ndata: "
				   "{\"type\":\"message_start\",\"message\":{\"id\":\"i\"}}\n\n"
				   "event: error\ndata: {\"type\": \"error\", \"error\": "
				   "{\"type\": \"overloaded_error\", "
				   "\"message\": \"Overloaded\"}}\n\n";

	assert_answer_text(&llm_anthropic, body, strlen(body),
			   "id=i\nerror=overloaded_error: Overloaded\nusage unknown\nincomplete\n");
}

static void interleaved_blocks_stay_apart(void **state)
{
	static const char body[] = "data: "
				   "{\"type\":\"content_block_start\",\"index\":1,\"content_"
				   "block\":{\"type\":\"text\",\"text\":\"x\"}}\n\n"
				   "data: "
				   "{\"type\":\"content_block_start\",\"index\":0,\"content_"
				   "block\":{\"type\":\"text\",\"text\":\"\"}}\n\n"
				   "data: "
				   "{\"type\":\"content_block_delta\",\"index\":1,\"delta\":{"
				   "\"type\":\"text_delta\",\"text\":\"y\"}}\n\n"
				   "data: "
				   "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{"
				   "\"type\":\"text_delta\",\"text\":\"a\"}}\n\n"
				   "data: "
				   "{\"type\":\"content_block_delta\",\"index\":1,\"delta\":{"
				   "\"type\":\"text_delta\",\"text\":\"z\"}}\n\n"
				   "data: {\"type\":\"something_new\",\"index\":0}\n\n"
				   "data: {\"type\":\"message_stop\"}\n\n";

	assert_answer_text(&llm_anthropic, body, strlen(body), "text=axyz\nusage unknown\ndone\n");
}

static void wrong_types_everywhere_do_no_harm(void **state)
{
	static const char body[] =
		"data: {\"type\":\"message_start\",\"message\":7}\n\n"
		"data: "
		"{\"type\":\"message_start\",\"message\":{\"id\":[],\"model\":{},\"usage\":\"x\","
		"\"content\":3}}\n\n"
		"data: {\"type\":\"content_block_start\",\"index\":\"0\",\"content_block\":[]}\n\n"
		"data: "
		"{\"type\":\"content_block_start\",\"index\":-1,\"content_block\":{\"type\":\"tool_"
		"use\",\"id\":1,\"name\":null,\"input\":[1e999]}}\n\n"
		"data: "
		"{\"type\":\"content_block_delta\",\"index\":99999999999999999999,\"delta\":{"
		"\"type\":\"text_delta\",\"text\":5}}\n\n"
		"data: "
		"{\"type\":\"message_delta\",\"delta\":null,\"usage\":{\"input_tokens\":-4,"
		"\"output_tokens\":1e3,\"cache_read_input_tokens\":99999999999999999999999}}\n\n"
		"data: [1,2\n\ndata: nonsense\n\ndata: 3\n\ndata: {}\n\ndata: {\"type\":{}}\n\n";

	assert_answer_text(&llm_anthropic, body, strlen(body),
			   "calls=[{\"id\":\"\",\"name\":\"\",\"input\":[1e999]}]\n"
			   "usage unknown\nincomplete\n");
}

static void bad_text_is_kept_within_json(void **state)
{
	static const char body[] = "{\"type\":\"message\",\"content\":[{\"type\":\"text\",\"text\":"
				   "\"\\ud83d \\ude80\\u0041\"},"
				   "{\"type\":\"tool_use\",\"id\":\"a\\\"b\",\"name\":\"\xff\","
				   "\"input\":{\"k\":\"\xc3\x28\"}}]}";

	assert_answer_text(&llm_anthropic, body, strlen(body),
			   "text=\xef\xbf\xbd \xef\xbf\xbd"
			   "A\n"
			   "calls=[{\"id\":\"a\\\"b\",\"name\":\"\xef\xbf\xbd\","
			   "\"input\":{\"k\":\"\xef\xbf\xbd(\"}}]\n"
			   "usage unknown\ndone\n");
}

static const char request_text[] =
	"anthropic provider=anthropic stream\n"
	"model=claude-sonnet-4-5-20250929\n"
	"session=0f8fad5b-d9cb\n"
	"system=[{\"type\":\"text\",\"text\":\"You are an agent.\",\"cache_control\":{\"type\":"
	"\"ephemeral\"}}]\n"
	"messages=[{\"role\":\"user\",\"content\":\"list the\\tfiles\"},{\"role\":\"assistant\","
	"\"content\":[{\"type\":\"tool_use\",\"id\":\"toolu_0\",\"name\":\"Bash\",\"input\":{"
	"\"command\":\"pwd\"}}]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\","
	"\"tool_use_id\":\"toolu_0\",\"content\":\"/"
	"root\"}]},{\"role\":\"assistant\",\"content\":[{"
	"\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"Bash\",\"input\":{\"command\":\"ls\"}}"
	"]},"
	"{\"role\":\"user\",\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"toolu_1\","
	"\"is_error\":true,\"content\":[{\"type\":\"text\",\"text\":\"no \"},{\"type\":\"text\","
	"\"text\":\"such\"}]},{\"type\":\"text\",\"text\":\"go on, \\ud83d\\ude80\"}]}]\n"
	"n=5\n"
	"prompt=go on, 🚀\n"
	"tools=[\"Bash\",\"web_search\"]\n"
	"parameters={\"max_tokens\":32000,\"temperature\":1}\n"
	"result toolu_1 error: no such\n";

static void a_request_is_read_and_becomes_one_line(void **state)
{
	struct buf b = fixture("anthropic-request.json");

	assert_request((struct http_said){"/v1/messages?beta=true", "127.0.0.1:8080", NULL}, b.data,
		       b.len, true, request_text);
	buf_done(&b);
}

static void a_request_that_was_cut_gives_what_stands_before_the_cut(void **state)
{
	static const char body[] = "{\"model\":\"m\",\"max_tokens\":5,\"messages\":[{\"role\":\"us";

	assert_request((struct http_said){"/v1/messages", "", NULL}, body, strlen(body), false,
		       "anthropic provider=anthropic incomplete\nmodel=m\nn=0\n"
		       "parameters={\"max_tokens\":5}\n");
}

static void counting_tokens_is_no_call(void **state)
{
	assert_request_text("{\"model\":\"m\",\"messages\":[]}", "none\n",
			    .path = "/v1/messages/count_tokens", .host = "api.anthropic.com");
	assert_request_text("{\"messages\":[]}", "none\n", .path = "/v1/messages", .host = "");
	assert_request_text("[]", "none\n", .path = "/v1/messages", .host = "");
	assert_request_text("", "none\n", .path = "/v1/messages", .host = "");
}

static void other_hosts_of_the_format_are_named(void **state)
{
	assert_request_text("{\"anthropic_version\":\"vertex-2023-10-16\",\"messages\":[]}",
			    "anthropic provider=gcp.vertex_ai stream\nmodel=claude-x@1\n"
			    "messages=[]\nn=0\n"
			    "parameters={\"anthropic_version\":\"vertex-2023-10-16\"}\n",
			    .path = "/v1/projects/p/locations/l/publishers/anthropic/models/"
				    "claude-x%401:streamRawPredict",
			    .host = "us-east5-aiplatform.googleapis.com");
	assert_request_text("{\"model\":\"deepseek-chat\",\"messages\":[]}",
			    "anthropic provider=deepseek\nmodel=deepseek-chat\nmessages=[]\nn=0\n",
			    .path = "/anthropic/v1/messages", .host = "api.deepseek.com");
}

static void the_session_comes_from_a_header_first(void **state)
{
	assert_request_text("{\"model\":\"m\",\"messages\":[],\"metadata\":{\"user_id\":\"{"
			    "\\\"session_id\\\":\\\"s1\\\"}\"}}",
			    "anthropic provider=anthropic\nmodel=m\nsession=s1\nmessages=[]\nn=0\n",
			    .path = "/v1/messages", .host = "h");
	assert_request_text(
		"{\"model\":\"m\",\"messages\":[],\"metadata\":{\"user_id\":\"someone\"}}",
		"anthropic provider=anthropic\nmodel=m\nmessages=[]\nn=0\n", .path = "/v1/messages",
		.host = "h");
	assert_request_text(
		"{\"model\":\"m\",\"messages\":[],\"metadata\":{\"user_id\":\"u_session_s2\"}}",
		"anthropic provider=anthropic\nmodel=m\nsession=s3\nmessages=[]\nn=0\n",
		.path = "/v1/messages", .host = "h", .header = "x-claude-code-session-id: s3");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stream_is_put_together),
		cmocka_unit_test(the_first_token_is_no_ping_and_no_start),
		cmocka_unit_test(raw_usage_joins_what_the_stream_said_in_two_places),
		cmocka_unit_test(an_answer_in_one_is_read),
		cmocka_unit_test(a_stream_that_breaks_off_keeps_what_came),
		cmocka_unit_test(an_error_in_the_stream_is_told),
		cmocka_unit_test(interleaved_blocks_stay_apart),
		cmocka_unit_test(wrong_types_everywhere_do_no_harm),
		cmocka_unit_test(bad_text_is_kept_within_json),
		cmocka_unit_test(a_request_is_read_and_becomes_one_line),
		cmocka_unit_test(a_request_that_was_cut_gives_what_stands_before_the_cut),
		cmocka_unit_test(counting_tokens_is_no_call),
		cmocka_unit_test(other_hosts_of_the_format_are_named),
		cmocka_unit_test(the_session_comes_from_a_header_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
