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

static void add_text(struct llm_answer *a, unsigned index, const char *text, size_t n)
{
	struct buf b = {0};

	buf_printf(&b,
		   "{\"type\":\"content_block_delta\",\"index\":%u,\"delta\":{\"type\":"
		   "\"text_delta\",\"text\":\"%.*s\"}}",
		   index, (int)n, text);
	llm_answer_piece(a, &llm_anthropic, b.data, b.len);
	buf_done(&b);
}

static void begin_tool(struct llm_answer *a, unsigned index, const char *input)
{
	struct buf b = {0};

	buf_printf(&b,
		   "{\"type\":\"content_block_start\",\"index\":%u,\"content_block\":{\"type\":"
		   "\"tool_use\",\"id\":\"t%u\",\"name\":\"Bash\",\"input\":%s}}",
		   index, index, input);
	llm_answer_piece(a, &llm_anthropic, b.data, b.len);
	buf_done(&b);
}

/* What the answer says of its memory, against what it has. */
static void assert_memory(const struct llm_answer *a)
{
	size_t n = a->model.cap + a->id.cap + a->stop_reason.cap + a->error.cap + a->usage_raw.cap;
	size_t cap = a->n_blocks ? 1 : 0;

	while (cap < a->n_blocks)
		cap *= 2;
	n += cap * sizeof(*a->blocks);
	for (size_t i = 0; i < a->n_blocks; i++)
		n += a->blocks[i].id.cap + a->blocks[i].name.cap + a->blocks[i].text.cap;
	assert_int_equal(a->memory, n);
}

static void assert_text(struct llm_answer *a, size_t len, uint64_t left_out)
{
	struct buf out = {0};

	llm_answer_text(a, LLM_TEXT, &out);
	assert_int_equal(out.len, len);
	assert_int_equal(llm_answer_left_out(a, LLM_TEXT), left_out);
	buf_done(&out);
}

/* "é", of which a text shall not end in half. */
static char *many_letters(size_t n)
{
	char *text = malloc(2 * n + 1);

	assert_non_null(text);
	for (size_t i = 0; i < n; i++)
		memcpy(text + 2 * i, "\xc3\xa9", 2);
	text[2 * n] = '\0';
	return text;
}

static void the_text_of_an_answer_is_cut_at_its_bound(void **state)
{
	struct llm_answer a = {0};
	char *text = many_letters(LLM_TEXT_MAX / 4 + 1);
	size_t n = strlen(text);

	add_text(&a, 0, text, n);
	assert_false(a.cut);
	assert_text(&a, n, 0);
	add_text(&a, 0, text, n);
	assert_true(a.cut);
	assert_text(&a, LLM_TEXT_MAX, 2 * n - LLM_TEXT_MAX);
	/* nothing behind what is missing, and no other has room */
	add_text(&a, 0, "\\u00e9", 6);
	add_text(&a, 1, "abc", 3);
	assert_text(&a, LLM_TEXT_MAX, 2 * n - LLM_TEXT_MAX + 5);
	assert_memory(&a);
	llm_answer_done(&a);
	free(text);
}

static void an_answer_keeps_less_and_less_and_says_so(void **state)
{
	static const char usage[] =
		"{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end\"},"
		"\"usage\":{\"input_tokens\":3,\"output_tokens\":4}}";
	struct llm_answer a = {0};
	struct buf out = {0};
	char *text = many_letters(LLM_BEGIN_MAX);
	size_t n = strlen(text);

	add_text(&a, 0, "x", 1); /* the bound stands in the middle of a letter */
	add_text(&a, 0, text, n);
	begin_tool(&a, 1, "{\"a\":1}");
	buf_printf(&out, "{\"a\":\"%s\"}", text);
	begin_tool(&a, 2, buf_cstr(&out));
	assert_memory(&a);
	assert_false(a.cut);

	llm_answer_less(&a);
	assert_memory(&a);
	assert_true(a.cut);
	assert_text(&a, LLM_BEGIN_MAX - 1, n + 1 - (LLM_BEGIN_MAX - 1));
	add_text(&a, 0, "abc", 3);
	add_text(&a, 3, "abc", 3);
	assert_text(&a, LLM_BEGIN_MAX - 1, n + 1 - (LLM_BEGIN_MAX - 1) + 6);
	begin_tool(&a, 4, "{}");
	buf_reset(&out);
	llm_answer_tool_calls(&a, &out);
	assert_string_equal(buf_cstr(&out),
			    "[{\"id\":\"t1\",\"name\":\"Bash\",\"input\":{\"a\":1}},"
			    "{\"id\":\"t2\",\"name\":\"Bash\",\"input\":\"\",\"truncated\":true},"
			    "{\"id\":\"t4\",\"name\":\"Bash\",\"input\":{}}]");
	assert_memory(&a);

	llm_answer_less(&a);
	assert_memory(&a);
	assert_int_equal(a.n_blocks, 0);
	assert_int_equal(a.memory, a.model.cap + a.id.cap + a.stop_reason.cap + a.error.cap);
	assert_text(&a, 0, n + 1 + 6);
	add_text(&a, 0, "abc", 3);
	assert_int_equal(a.n_blocks, 0);
	assert_int_equal(a.n_tools, 3);
	llm_answer_piece(&a, &llm_anthropic, usage, strlen(usage));
	assert_int_equal(a.usage.output, 4);
	assert_int_equal(a.usage_raw.cap, 0);
	llm_answer_less(&a);
	assert_memory(&a);
	llm_answer_done(&a);
	buf_done(&out);
	free(text);
}

static void an_answer_of_which_all_fits_is_not_cut_when_it_keeps_less(void **state)
{
	struct llm_answer a = {0};

	add_text(&a, 0, "abc", 3);
	begin_tool(&a, 1, "{\"a\":1}");
	llm_answer_less(&a);
	assert_false(a.cut);
	assert_text(&a, 3, 0);
	llm_answer_less(&a); /* numbers alone: now something is gone */
	assert_true(a.cut);
	llm_answer_done(&a);
}

static void errors_and_usage_are_bounded(void **state)
{
	struct llm_answer a = {0};
	struct buf b = {0};
	char *text = many_letters(LLM_ERROR_MAX);

	buf_printf(&b,
		   "{\"type\":\"error\",\"error\":{\"type\":\"overloaded\",\"message\":\"%s\"}}",
		   text);
	llm_answer_piece(&a, &llm_anthropic, b.data, b.len);
	assert_in_range(a.error.len, LLM_ERROR_MAX - 1, LLM_ERROR_MAX);
	assert_true(a.cut);
	a.cut = false;
	buf_reset(&b);
	buf_printf(&b,
		   "{\"type\":\"message_delta\",\"usage\":{\"input_tokens\":3,\"output_tokens\":4,"
		   "\"x\":\"%s\"}}",
		   text);
	llm_answer_piece(&a, &llm_anthropic, b.data, b.len);
	assert_int_equal(a.usage.output, 4);
	assert_int_equal(a.usage_raw.len, 0);
	assert_true(a.cut);
	assert_memory(&a);
	llm_answer_done(&a);
	buf_done(&b);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_cut_at_their_bound_in_every_format),
		cmocka_unit_test(names_of_a_request_are_cut_at_their_bound),
		cmocka_unit_test(a_list_is_left_where_no_block_has_room_any_more),
		cmocka_unit_test(the_text_of_an_answer_is_cut_at_its_bound),
		cmocka_unit_test(an_answer_keeps_less_and_less_and_says_so),
		cmocka_unit_test(an_answer_of_which_all_fits_is_not_cut_when_it_keeps_less),
		cmocka_unit_test(errors_and_usage_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
