/* SPDX-License-Identifier: MIT */
#include "unit/llm/answer.h"

static void lines_are_put_together(void **state)
{
	assert_answer(&llm_ollama, "ollama-chat.ndjson",
		      "model=qwen3:8b\nreasoning=Okay\ntext=Hi there\n"
		      "calls=[{\"id\":\"\",\"name\":\"get_time\",\"input\":{\"zone\":\"UTC\"}}]\n"
		      "stop=stop\nusage in=26 out=298\ndone\n");
}

static void raw_numbers_stand_beside_the_last_line(void **state)
{
	struct buf b = fixture("ollama-chat.ndjson");
	struct reading r;

	answer_read(&r, &llm_ollama, b.data, b.len, 100);
	assert_string_equal(
		buf_cstr(&r.answer.usage_raw),
		"{\"prompt_eval_count\":26,\"eval_count\":298,\"total_duration\":"
		"5191566416,\"load_duration\":2154458,\"prompt_eval_duration\":383809000,"
		"\"eval_duration\":4799921000}");
	reading_done(&r);
	buf_done(&b);
}

static void generate_has_a_response_instead(void **state)
{
	static const char body[] = "{\"model\":\"m\",\"response\":\"a\",\"done\":false}\n"
				   "{\"model\":\"m\",\"response\":\"b\",\"done\":true}\n";

	assert_answer_text(&llm_ollama, body, strlen(body),
			   "model=m\ntext=ab\nusage unknown\ndone\n");
}

static void an_error_in_the_stream_is_told(void **state)
{
	static const char body[] = "{\"error\":\"model 'x' not found\"}";

	assert_answer_text(&llm_ollama, body, strlen(body),
			   "error=model 'x' not found\nusage unknown\nincomplete\n");
}

static void a_request_streams_unless_it_says_otherwise(void **state)
{
	assert_request_text(
		"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"q\"},{\"role\":"
		"\"assistant\",\"content\":\"\"},{\"role\":\"tool\",\"tool_name\":\"t\","
		"\"content\":\"r\"}],"
		"\"options\":{\"num_ctx\":4096}}",
		"ollama provider=ollama stream\nmodel=m\nmessages=[{\"role\":\"user\",\"content\":"
		"\"q\"},{\"role\":\"assistant\",\"content\":\"\"},{\"role\":\"tool\",\"tool_name\":"
		"\"t\","
		"\"content\":\"r\"}]\nn=3\nprompt=q\nparameters={\"options\":{\"num_ctx\":4096}}\n"
		"result =t: r\n",
		.path = "/api/chat", .host = "localhost:11434");
	assert_request_text(
		"{\"model\":\"m\",\"messages\":[{\"role\":\"tool\",\"tool_name\":\"t\","
		"\"tool_call_id\":\"call_1\",\"content\":\"r\"}]}",
		"ollama provider=ollama "
		"stream\nmodel=m\nmessages=[{\"role\":\"tool\",\"tool_name\":"
		"\"t\",\"tool_call_id\":\"call_1\",\"content\":\"r\"}]\nn=1\nresult call_1=t: r\n",
		.path = "/api/chat", .host = "localhost:11434");
	assert_request_text("{\"model\":\"m\",\"prompt\":\"p\",\"stream\":false}",
			    "ollama provider=ollama\nmodel=m\nmessages=\"p\"\nn=1\nprompt=p\n",
			    .path = "/api/generate", .host = "gw");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_put_together),
		cmocka_unit_test(raw_numbers_stand_beside_the_last_line),
		cmocka_unit_test(generate_has_a_response_instead),
		cmocka_unit_test(an_error_in_the_stream_is_told),
		cmocka_unit_test(a_request_streams_unless_it_says_otherwise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
