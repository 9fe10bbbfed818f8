/* SPDX-License-Identifier: MIT */
#include "unit/llm/answer.h"

static void a_stream_is_put_together(void **state)
{
	assert_answer(&llm_gemini, "gemini-stream.txt",
		      "model=gemini-2.5-pro\nid=r-1\nreasoning=Plan\ntext=Hello \n"
		      "calls=[{\"id\":\"\",\"name\":\"read_file\",\"input\":{\"path\":\"a.c\"}},"
		      "{\"id\":\"f2\",\"name\":\"list\",\"input\":{}}]\n"
		      "stop=STOP\nusage in=30 out=17 cache_read=20 reasoning=10\ndone\n");
}

static void a_growing_array_is_a_stream_too(void **state)
{
	assert_answer(&llm_gemini, "gemini-array.json",
		      "model=gemini-2.0-flash\ntext=Hel\"}lo\nstop=MAX_TOKENS\n"
		      "usage in=4 out=8\ndone\n");
}

#define CALL(call) "{\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":" call "}]}}]}"

static void a_call_whose_arguments_come_in_pieces_is_one(void **state)
{
	static const char body[] = "[" CALL("{\"id\":\"c1\",\"name\":\"f\",\"willContinue\":true}") "," CALL(
		"{\"partialArgs\":[{\"jsonPath\":\"$.l\",\"stringValue\":\"x\"}],"
		"\"willContinue\":true}") "," CALL("{\"partialArgs\":[],\"willContinue\":"
						   "true}") "," CALL("{\"partialArgs\":[ "
								     "{\"jsonPath\":\"$."
								     "m\", "
								     "\"numberValue\":5},"
								     " {\"jsonPath\":\"$."
								     "n\",\"boolValue\":"
								     "true}],"
								     "\"willContinue\":"
								     "true}") "," CALL("{}") "," CALL("{\"name\":\"g\",\"args\":{\"a\":1}}") "]";

	assert_answer_text(&llm_gemini, body, strlen(body),
			   "calls=[{\"id\":\"c1\",\"name\":\"f\",\"input\":["
			   "{\"jsonPath\":\"$.l\",\"stringValue\":\"x\"},"
			   "{\"jsonPath\":\"$.m\",\"numberValue\":5},"
			   "{\"jsonPath\":\"$.n\",\"boolValue\":true}]},"
			   "{\"id\":\"\",\"name\":\"g\",\"input\":{\"a\":1}}]\n"
			   "usage unknown\nincomplete\n");
}

static void a_call_is_over_when_nothing_of_it_is_to_come(void **state)
{
	static const char *const pieces[] = {
		CALL("{\"name\":\"f\",\"willContinue\":true}"),
		CALL("{\"partialArgs\":[{\"jsonPath\":\"$.l\"}],\"willContinue\":true}"),
		CALL("{}"),
	};
	struct llm_answer a = {};

	for (size_t i = 0; i < 3; i++) {
		llm_answer_piece(&a, &llm_gemini, pieces[i], strlen(pieces[i]));
		assert_int_equal(a.n_blocks, 1);
		assert_int_equal(a.blocks[0].done, i == 2);
	}
	llm_answer_done(&a);
}

static void numbers_that_are_not_told_again_stay(void **state)
{
	static const char body[] =
		"[{\"usageMetadata\":{\"promptTokenCount\":5,\"candidatesTokenCount\":1,"
		"\"thoughtsTokenCount\":3}},"
		"{\"usageMetadata\":{\"trafficType\":\"ON_DEMAND\"}},"
		"{\"usageMetadata\":{\"candidatesTokenCount\":4}}]";

	assert_answer_text(&llm_gemini, body, strlen(body),
			   "usage in=5 out=7 reasoning=3\nincomplete\n");
}

static void code_assist_wraps_it(void **state)
{
	static const char body[] =
		"data: {\"response\":{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"x\"}]},"
		"\"finishReason\":\"STOP\"}],\"modelVersion\":\"m\"},\"traceId\":\"t\"}\n\n";

	assert_answer_text(&llm_gemini, body, strlen(body),
			   "model=m\ntext=x\nstop=STOP\nusage unknown\ndone\n");
	assert_request_text(
		"{\"model\":\"gemini-2.5-pro\",\"project\":\"p\",\"request\":{\"contents\":[{"
		"\"role\":"
		"\"user\",\"parts\":[{\"text\":\"hi\"}]}],\"session_id\":\"s\"}}",
		"gemini provider=gcp.gemini stream\nmodel=gemini-2.5-pro\nsession=s\n"
		"messages=[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}]\nn=1\nprompt=hi\n",
		.path = "/v1internal:streamGenerateContent?alt=sse",
		.host = "cloudcode-pa.googleapis.com");
}

static void a_refused_prompt_is_over(void **state)
{
	static const char body[] = "{\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}";

	assert_answer_text(&llm_gemini, body, strlen(body), "stop=SAFETY\nusage unknown\ndone\n");
}

static void an_error_is_told_also_inside_an_array(void **state)
{
	static const char body[] = "[{\"error\":{\"code\":429,\"message\":\"Quota\","
				   "\"status\":\"RESOURCE_EXHAUSTED\"}}]";
	struct llm_answer a = {0};

	llm_answer_error_body(&a, 429, (struct http_text){0},
			      (struct http_text){body, strlen(body)});
	assert_string_equal(buf_cstr(&a.error), "RESOURCE_EXHAUSTED: Quota");
	llm_answer_done(&a);
}

static void a_request_is_read(void **state)
{
	assert_request_text(
		"{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"q\"}]},{\"role\":"
		"\"model\","
		"\"parts\":[{\"functionCall\":{\"name\":\"f\"}}]},{\"role\":\"user\",\"parts\":[{"
		"\"functionResponse\":{\"id\":\"f2\",\"name\":\"f\",\"response\":{\"output\":"
		"\"yes\"}}}]}],"
		"\"systemInstruction\":{\"parts\":[{\"text\":\"s\"}]},\"tools\":[{"
		"\"functionDeclarations\":"
		"[{\"name\":\"f\"},{\"name\":\"g\"}]},{\"googleSearch\":{}}],"
		"\"generationConfig\":{\"temperature\":0.5}}",
		"gemini provider=gcp.gemini\nmodel=gemini-2.5-pro\n"
		"system={\"parts\":[{\"text\":\"s\"}]}\n"
		"messages=[{\"role\":\"user\",\"parts\":[{\"text\":\"q\"}]},{\"role\":\"model\","
		"\"parts\":[{\"functionCall\":{\"name\":\"f\"}}]},{\"role\":\"user\",\"parts\":[{"
		"\"functionResponse\":{\"id\":\"f2\",\"name\":\"f\",\"response\":{\"output\":"
		"\"yes\"}}}]}]\n"
		"n=3\nprompt=q\ntools=[\"f\",\"g\",\"googleSearch\"]\n"
		"parameters={\"temperature\":0.5}\nresult f2=f: yes\n",
		.path = "/v1beta/models/gemini-2.5-pro:generateContent?key=k",
		.host = "generativelanguage.googleapis.com");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stream_is_put_together),
		cmocka_unit_test(a_growing_array_is_a_stream_too),
		cmocka_unit_test(a_call_whose_arguments_come_in_pieces_is_one),
		cmocka_unit_test(a_call_is_over_when_nothing_of_it_is_to_come),
		cmocka_unit_test(numbers_that_are_not_told_again_stay),
		cmocka_unit_test(code_assist_wraps_it),
		cmocka_unit_test(a_refused_prompt_is_over),
		cmocka_unit_test(an_error_is_told_also_inside_an_array),
		cmocka_unit_test(a_request_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
