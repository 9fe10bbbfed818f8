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
		cmocka_unit_test(code_assist_wraps_it),
		cmocka_unit_test(a_refused_prompt_is_over),
		cmocka_unit_test(an_error_is_told_also_inside_an_array),
		cmocka_unit_test(a_request_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
