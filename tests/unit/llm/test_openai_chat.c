/* SPDX-License-Identifier: MIT */
#include "unit/llm/answer.h"

static void a_stream_with_parallel_calls_is_put_together(void **state)
{
	assert_answer(&llm_openai_chat, "openai-chat-stream.txt",
		      "model=gpt-4o-2024-08-06\nid=chatcmpl-B1\nreasoning=hm\ntext=Two calls.\n"
		      "calls=[{\"id\":\"call_a\",\"name\":\"get_weather\",\"input\":{\"city\":"
		      "\"Paris\"}},"
		      "{\"id\":\"call_b\",\"name\":\"now\",\"input\":{}}]\n"
		      "stop=tool_calls\nusage in=82 out=17 cache_read=64 reasoning=5\ndone\n");
}

/* Ollama's OpenAI interface and proxies of Gemini: each call has an id, and all have index 0. */
static void calls_that_share_an_index_are_told_apart_by_their_ids(void **state)
{
	static const char whole[] =
		"data: {\"choices\":[{\"delta\":{\"tool_calls\":["
		"{\"index\":0,\"id\":\"c1\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}},"
		"{\"index\":0,\"id\":\"c2\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]}}]"
		"}\n\n"
		"data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n";
	static const char pieces[] =
		"data: {\"choices\":[{\"delta\":{\"tool_calls\":["
		"{\"index\":0,\"id\":\"c1\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}}]}"
		"\n\n"
		"data: {\"choices\":[{\"delta\":{\"tool_calls\":["
		"{\"index\":0,\"function\":{\"arguments\":\"{\\\"a\\\"\"}}]}}]}\n\n"
		"data: {\"choices\":[{\"delta\":{\"tool_calls\":["
		"{\"index\":0,\"id\":\"c2\",\"function\":{\"name\":\"g\",\"arguments\":\"{"
		"\\\"b\\\"\"}}]}}]}\n\n"
		"data: {\"choices\":[{\"delta\":{\"tool_calls\":["
		"{\"index\":0,\"id\":\"c1\",\"function\":{\"arguments\":\":1}\"}}]}}]}\n\n"
		"data: {\"choices\":[{\"delta\":{\"tool_calls\":["
		"{\"index\":0,\"id\":\"\",\"function\":{\"arguments\":\":2}\"}}]}}]}\n\n"
		"data: [DONE]\n\n";

	assert_answer_text(&llm_openai_chat, whole, strlen(whole),
			   "calls=[{\"id\":\"c1\",\"name\":\"f\",\"input\":{}},"
			   "{\"id\":\"c2\",\"name\":\"g\",\"input\":{}}]\n"
			   "stop=tool_calls\nusage unknown\ndone\n");
	assert_answer_text(&llm_openai_chat, pieces, strlen(pieces),
			   "calls=[{\"id\":\"c1\",\"name\":\"f\",\"input\":{\"a\":1}},"
			   "{\"id\":\"c2\",\"name\":\"g\",\"input\":{\"b\":2}}]\n"
			   "usage unknown\ndone\n");
}

/* As Poolside serves it: the name comes with the first piece alone. */
static void a_call_whose_pieces_have_different_ids_is_one(void **state)
{
	static const char body[] =
		"data: {\"choices\":[{\"delta\":{\"tool_calls\":["
		"{\"index\":0,\"id\":\"c1\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}}]}"
		"\n\n"
		"data: {\"choices\":[{\"delta\":{\"tool_calls\":["
		"{\"index\":0,\"id\":\"x7\",\"function\":{\"arguments\":\"{}\"}}]}}]}\n\n"
		"data: [DONE]\n\n";

	assert_answer_text(&llm_openai_chat, body, strlen(body),
			   "calls=[{\"id\":\"x7\",\"name\":\"f\",\"input\":{}}]\n"
			   "usage unknown\ndone\n");
}

static void an_empty_reason_to_stop_is_none(void **state)
{
	static const char body[] =
		"data: {\"choices\":[{\"finish_reason\":\"\",\"delta\":{\"content\":\"a\"}}]}\n\n"
		"data: {\"choices\":[{\"finish_reason\":\"\",\"delta\":{\"content\":\"b\"}}]}\n\n";

	assert_answer_text(&llm_openai_chat, body, strlen(body),
			   "text=ab\nusage unknown\nincomplete\n");
}

static void the_end_of_one_choice_leaves_the_others_open(void **state)
{
	static const char *const pieces[] = {
		"{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c1\","
		"\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}},"
		"{\"index\":1,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c2\","
		"\"function\":{\"name\":\"g\",\"arguments\":\"{\\\"a\\\"\"}}]}}]}",
		"{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}",
		"{\"choices\":[{\"index\":1,\"delta\":{\"tool_calls\":[{\"index\":0,"
		"\"function\":{\"arguments\":\":1}\"}}]},\"finish_reason\":\"tool_calls\"}]}",
	};
	static const bool done[][3] = {
		{false, false, false}, {true, false, false}, {true, true, true}};
	struct llm_answer a = {};

	for (size_t i = 0; i < 3; i++) {
		llm_answer_piece(&a, &llm_openai_chat, pieces[i], strlen(pieces[i]));
		assert_int_equal(a.n_blocks, 2);
		assert_int_equal(a.blocks[0].done, done[i][0]);
		assert_int_equal(a.blocks[1].done, done[i][1]);
		assert_int_equal(a.done, done[i][2]);
	}
	assert_string_equal(buf_cstr(&a.blocks[1].text), "{\"a\":1}");
	llm_answer_done(&a);
}

static void a_choice_may_begin_when_the_others_are_over(void **state)
{
	static const char whole[] =
		"{\"choices\":[{\"index\":0,\"message\":{\"content\":\"Hello\"},"
		"\"finish_reason\":\"stop\"},{\"index\":1,\"message\":{\"content\":\"Bye\"},"
		"\"finish_reason\":\"length\"}]}";
	static const char stream[] =
		"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n"
		"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
		"data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"b\"}}]}\n\n"
		"data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"c\"}}]}\n\n"
		"data: [DONE]\n\n";
	size_t before = strlen(stream) - strlen("data: [DONE]\n\n");

	assert_answer_text(&llm_openai_chat, whole, strlen(whole),
			   "text=Hello\n\nBye\nstop=length\nusage unknown\ndone\n");
	assert_answer_text(&llm_openai_chat, stream, before,
			   "text=a\n\nbc\nstop=stop\nusage unknown\nincomplete\n");
	assert_answer_text(&llm_openai_chat, stream, strlen(stream),
			   "text=a\n\nbc\nstop=stop\nusage unknown\ndone\n");
}

static void thoughts_in_the_content_are_told_apart(void **state)
{
	static const char stream[] =
		"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":[{\"type\":\"thinking\","
		"\"thinking\":[{\"type\":\"text\",\"text\":\"Let me \"}]}]}}]}\n\n"
		"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":[{\"type\":\"thinking\","
		"\"thinking\":[{\"type\":\"text\",\"text\":\"see\"}]}]}}]}\n\n"
		"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":[{\"type\":\"text\","
		"\"text\":\"Hel\"}]}}]}\n\n"
		"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"lo\"},"
		"\"finish_reason\":\"stop\"}]}\n\n";
	static const char whole[] =
		"{\"choices\":[{\"index\":0,\"message\":{\"content\":[{\"type\":\"thinking\","
		"\"thinking\":[{\"type\":\"text\",\"text\":\"hm\"},[[]],{\"thinking\":[{"
		"\"thinking\":\"no\"}]}]},{\"type\":\"text\",\"text\":\"Hello\"}]},"
		"\"finish_reason\":\"stop\"}]}";

	assert_answer_text(&llm_openai_chat, stream, strlen(stream),
			   "reasoning=Let me see\ntext=Hello\nstop=stop\nusage unknown\ndone\n");
	assert_answer_text(&llm_openai_chat, whole, strlen(whole),
			   "reasoning=hm\ntext=Hello\nstop=stop\nusage unknown\ndone\n");
}

static void reasoning_has_many_names(void **state)
{
	static const char body[] =
		"data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"a\"}}]}\n\n"
		"data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"\","
		"\"reasoning\":\"b\"}}]}\n\n"
		"data: {\"choices\":[{\"delta\":{\"reasoning_text\":\"c\"}}]}\n\n";

	assert_answer_text(&llm_openai_chat, body, strlen(body),
			   "reasoning=abc\nusage unknown\nincomplete\n");
}

static void an_answer_in_one_is_read(void **state)
{
	static const char body[] =
		"{\"id\":\"c\",\"object\":\"chat.completion\",\"model\":\"grok-4\",\"choices\":[{"
		"\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"hi\",\"tool_calls\":"
		"[{"
		"\"id\":\"x\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{"
		"bad\"}}]},"
		"\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":10,\"completion_"
		"tokens\":3,"
		"\"total_tokens\":33,\"completion_tokens_details\":{\"reasoning_tokens\":20}}}";

	/* this provider counts reasoning beside the output */
	assert_answer_text(&llm_openai_chat, body, strlen(body),
			   "model=grok-4\nid=c\ntext=hi\n"
			   "calls=[{\"id\":\"x\",\"name\":\"f\",\"input\":\"{bad\"}]\n"
			   "stop=stop\nusage in=10 out=23 reasoning=20\ndone\n");
}

static void a_stream_without_usage_says_so(void **state)
{
	static const char body[] =
		": OPENROUTER PROCESSING\n\n"
		"data: {\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\r\n\r\n"
		"data: "
		"{\"choices\":[{\"delta\":{\"content\":\"b\"},\"finish_reason\":\"length\"}]}"
		"\r\n\r\n";

	assert_answer_text(&llm_openai_chat, body, strlen(body),
			   "model=m\ntext=ab\nstop=length\nusage unknown\ndone\n");
}

static void an_error_with_status_200_is_told(void **state)
{
	static const char body[] = "data: {\"error\":{\"code\":502,\"message\":\"Upstream\"}}\n\n";

	assert_answer_text(&llm_openai_chat, body, strlen(body),
			   "error=502: Upstream\nusage unknown\nincomplete\n");
}

static void other_servers_numbers_are_understood(void **state)
{
	static const char deepseek[] =
		"{\"choices\":[{\"finish_reason\":\"stop\",\"message\":{\"content\":\"x\"}}],"
		"\"usage\":{"
		"\"prompt_tokens\":9,\"completion_tokens\":1,\"prompt_cache_hit_tokens\":8}}";
	static const char groq[] =
		"data: {\"choices\":[{\"finish_reason\":\"stop\",\"delta\":{}}],"
		"\"x_groq\":{\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}}\n\n";

	assert_answer_text(&llm_openai_chat, deepseek, strlen(deepseek),
			   "text=x\nstop=stop\nusage in=9 out=1 cache_read=8\ndone\n");
	assert_answer_text(&llm_openai_chat, groq, strlen(groq),
			   "stop=stop\nusage in=3 out=4\ndone\n");
}

static void wrong_types_everywhere_do_no_harm(void **state)
{
	static const char body[] =
		"data: {\"choices\":{},\"usage\":[]}\n\n"
		"data: {\"choices\":[1,\"x\",null,[],{\"delta\":[]},{\"delta\":{\"content\":{},"
		"\"tool_calls\":[1,{\"index\":\"x\",\"function\":7},{\"function\":{\"name\":[],"
		"\"arguments\":9}}]},\"finish_reason\":4}]}\n\n";

	assert_answer_text(
		&llm_openai_chat, body, strlen(body),
		"calls=[{\"id\":\"\",\"name\":\"\",\"input\":{}},"
		"{\"id\":\"\",\"name\":\"\",\"input\":{}},"
		"{\"id\":\"\",\"name\":\"\",\"input\":{}}]\nusage unknown\nincomplete\n");
}

static void a_request_is_read(void **state)
{
	assert_request_text(
		"{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"system\",\"content\":\"s\"},"
		"{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"q\"}]},"
		"{\"role\":\"assistant\",\"tool_calls\":[]},"
		"{\"role\":\"tool\",\"tool_call_id\":\"call_a\",\"content\":\"21 C\"}],"
		"\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],"
		"\"stream\":true,\"stream_options\":{\"include_usage\":true},\"prompt_cache_key\":"
		"\"k\"}",
		"openai_chat provider=openai stream\nmodel=gpt-4o\nsession=k\n"
		"messages=[{\"role\":\"system\",\"content\":\"s\"},{\"role\":\"user\",\"content\":["
		"{"
		"\"type\":\"text\",\"text\":\"q\"}]},{\"role\":\"assistant\",\"tool_calls\":[]},{"
		"\"role\":\"tool\",\"tool_call_id\":\"call_a\",\"content\":\"21 C\"}]\n"
		"n=4\nprompt=q\ntools=[\"f\"]\n"
		"parameters={\"stream_options\":{\"include_usage\":true},\"prompt_cache_key\":"
		"\"k\"}\n"
		"result call_a: 21 C\n",
		.path = "/v1/chat/completions", .host = "api.openai.com");
}

static void providers_are_known_by_their_hosts(void **state)
{
	static const struct {
		const char *host;
		const char *provider;
	} rows[] = {
		{"api.deepseek.com", "deepseek"},    {"API.GROQ.COM:443", "groq"},
		{"eu.api.mistral.ai", "mistral_ai"}, {"api.x.ai", "x_ai"},
		{"max.ai", "openai_compatible"},     {"notapi.x.ai", "openai_compatible"},
		{"openrouter.ai", "openrouter"},     {"mine.openai.azure.com", "azure.ai.openai"},
		{"api.moonshot.cn", "moonshot_ai"},  {"localhost:11434", "ollama"},
		{"[::1]:8000", "openai_compatible"}, {"", "openai_compatible"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char want[128];

		snprintf(want, sizeof(want), "openai_chat provider=%s\nmodel=m\nmessages=[]\nn=0\n",
			 rows[i].provider);
		assert_request_text("{\"model\":\"m\",\"messages\":[]}", want,
				    .path = "/chat/completions", .host = rows[i].host);
	}
}

static void azure_names_the_deployment_in_the_path(void **state)
{
	assert_request_text(
		"{\"messages\":[]}",
		"openai_chat provider=azure.ai.openai\nmodel=my gpt\nmessages=[]\nn=0\n",
		.path = "/openai/deployments/my%20gpt/chat/completions?api-version=1",
		.host = "x.openai.azure.com");
}

static void what_only_looks_like_it_is_none(void **state)
{
	assert_request_text("{\"model\":\"m\"}", "none\n", .path = "/chat/completions",
			    .host = "h");
	assert_request_text("{\"messages\":[]}", "none\n", .path = "/chat/completions",
			    .host = "h");
	assert_request_text("{\"model\":\"m\",\"messages\":[]}", "none\n", .path = "/embeddings",
			    .host = "api.openai.com");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stream_with_parallel_calls_is_put_together),
		cmocka_unit_test(calls_that_share_an_index_are_told_apart_by_their_ids),
		cmocka_unit_test(a_call_whose_pieces_have_different_ids_is_one),
		cmocka_unit_test(an_empty_reason_to_stop_is_none),
		cmocka_unit_test(the_end_of_one_choice_leaves_the_others_open),
		cmocka_unit_test(a_choice_may_begin_when_the_others_are_over),
		cmocka_unit_test(thoughts_in_the_content_are_told_apart),
		cmocka_unit_test(reasoning_has_many_names),
		cmocka_unit_test(an_answer_in_one_is_read),
		cmocka_unit_test(a_stream_without_usage_says_so),
		cmocka_unit_test(an_error_with_status_200_is_told),
		cmocka_unit_test(other_servers_numbers_are_understood),
		cmocka_unit_test(wrong_types_everywhere_do_no_harm),
		cmocka_unit_test(a_request_is_read),
		cmocka_unit_test(providers_are_known_by_their_hosts),
		cmocka_unit_test(azure_names_the_deployment_in_the_path),
		cmocka_unit_test(what_only_looks_like_it_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
