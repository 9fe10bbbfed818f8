/* SPDX-License-Identifier: MIT */
#include "unit/llm/answer.h"

#include "base/cleanup.h"
#include "base/clock.h"

/* Two names that are far too long, where this format has some. */
static const struct {
	const struct llm_format *format;
	const char *before, *between, *behind;
} answers[] = {
	{&llm_anthropic,
	 "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\","
	 "\"id\":\"",
	 "\",\"name\":\"", "\"}}"},
	{&llm_anthropic, "{\"type\":\"message_start\",\"message\":{\"id\":\"", "\",\"model\":\"",
	 "\"}}"},
	{&llm_openai_chat, "{\"id\":\"", "\",\"model\":\"", "\"}"},
	{&llm_openai_chat, "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"",
	 "\",\"function\":{\"name\":\"", "\"}}]}}]}"},
	{&llm_openai_responses,
	 "{\"type\":\"response.output_item.added\",\"item\":{\"type\":\"function_call\","
	 "\"call_id\":\"",
	 "\",\"name\":\"", "\"}}"},
	{&llm_gemini, "{\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"id\":\"",
	 "\",\"name\":\"", "\"}}]}}]}"},
	{&llm_gemini, "{\"responseId\":\"", "\",\"modelVersion\":\"", "\"}"},
	{&llm_ollama, "{\"model\":\"", "\",\"message\":{\"tool_calls\":[{\"function\":{\"name\":\"",
	 "\"}}]}}"},
};

static void names_are_cut_at_their_bound_in_every_format(void **state)
{
	char name[8 * LLM_NAME_MAX];

	memset(name, 'n', sizeof(name));
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		struct llm_answer a = {0};
		struct buf b = {0};

		buf_add_str(&b, answers[i].before);
		buf_add(&b, name, sizeof(name));
		buf_add_str(&b, answers[i].between);
		buf_add(&b, name, sizeof(name));
		buf_add_str(&b, answers[i].behind);
		llm_answer_piece(&a, answers[i].format, b.data, b.len);
		assert_true(a.id.len <= LLM_NAME_MAX && a.model.len <= LLM_NAME_MAX);
		for (size_t k = 0; k < a.n_blocks; k++) {
			assert_true(a.blocks[k].id.len <= LLM_NAME_MAX);
			assert_int_equal(a.blocks[k].name.len, LLM_NAME_MAX);
		}
		assert_true(a.n_blocks || a.model.len == LLM_NAME_MAX);
		assert_true(a.cut);
		llm_answer_done(&a);
		buf_done(&b);
	}
}

static void names_of_a_request_are_cut_at_their_bound(void **state)
{
	static const char form[] =
		"{\"model\":\"%s\",\"prompt_cache_key\":\"%s\",\"input\":["
		"{\"type\":\"function_call_output\",\"call_id\":\"%s\",\"output\":\"ok\"}]}";
	struct http_said said = {.path = "/v1/responses", .host = "api.openai.com"};
	const struct llm_source from = {
		.path = {said.path, strlen(said.path)}, .header = said_header, .context = &said};
	struct llm_request *r = calloc(1, sizeof(*r));
	char name[8 * LLM_NAME_MAX], text[30 * LLM_NAME_MAX];
	int n;

	assert_non_null(r);
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	n = snprintf(text, sizeof(text), form, name, name, name);
	assert_non_null(llm_request_read(r, &from, (struct http_text){text, (size_t)n}, true));
	assert_int_equal(r->model.len, LLM_NAME_MAX);
	assert_int_equal(r->session.len, LLM_NAME_MAX);
	assert_int_equal(r->n_results, 1);
	assert_int_equal(r->results[0].id_len + r->results[0].name_len, LLM_NAME_MAX);
	llm_request_done(r);
	free(r);
}

/* Else each of them is searched for among all that there are. */
static void a_list_is_left_where_no_block_has_room_any_more(void **state)
{
	struct llm_answer a = {0};
	struct buf b = {0};
	uint64_t since, checked_ns, read_ns;

	buf_add_lit(&b, "{\"type\":\"response.output_item.done\",\"item\":{\"type\":\"message\","
			"\"content\":[{}");
	for (size_t i = 0; i < 300 * 1000; i++)
		buf_add_lit(&b, ",{}");
	buf_add_lit(&b, "]}}");
	since = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	assert_true(value_whole(value_at(b.data, b.len)));
	checked_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - since;
	llm_answer_piece(&a, &llm_openai_responses, b.data, b.len);
	read_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - since - checked_ns;
	assert_int_equal(a.n_blocks, LLM_BLOCKS_MAX);
	assert_true(a.cut);
	assert_true(read_ns < 30 * checked_ns);
	/* what belongs to a block that there is comes in nevertheless */
	buf_reset(&b);
	buf_add_lit(&b, "{\"type\":\"response.output_text.delta\",\"output_index\":0,"
			"\"content_index\":7,\"delta\":\"more\"}");
	llm_answer_piece(&a, &llm_openai_responses, b.data, b.len);
	assert_int_equal(a.blocks[7].text.len, 4);
	llm_answer_done(&a);
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_cut_at_their_bound_in_every_format),
		cmocka_unit_test(names_of_a_request_are_cut_at_their_bound),
		cmocka_unit_test(a_list_is_left_where_no_block_has_room_any_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
