/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "stage/secrets.h"

#define VISIBLE_MAX 12

/* Masks @n bytes of @in into @out, NULs shown as '|' so that the result is a string. */
static void mask(struct secret_scan *st, const char *in, size_t n, char *out)
{
	struct secret_span spans[32];
	size_t n_spans, total, sum = 0;

	n_spans = secrets_mask(st, (const uint8_t *)in, n, spans, ARRAY_SIZE(spans), &total);
	for (size_t i = 0; i < n_spans; i++)
		sum += spans[i].len;
	assert_int_equal(sum, total);

	memcpy(out, in, n);
	secrets_apply((uint8_t *)out, n, spans, n_spans);
	for (size_t i = 0; i < n; i++)
		out[i] = out[i] ? out[i] : '|';
	out[n] = '\0';
}

static void expect_len(const char *in, size_t n, const char *want)
{
	char out[2048];

	assert_true(n < sizeof(out));
	mask(NULL, in, n, out);
	assert_string_equal(out, want);
}

#define expect(in, want) expect_len(in, sizeof(in) - 1, want)
#define expect_same(in)  expect_len(in, sizeof(in) - 1, in)

static void header_values_are_masked_and_the_scheme_stays(void **state)
{
	expect("GET / HTTP/1.1\r\nAuthorization: Bearer abc.def\r\nHost: x\r\n",
	       "GET / HTTP/1.1\r\nAuthorization: Bearer *******\r\nHost: x\r\n");
	expect("authorization: basic dTpw\r\n", "authorization: basic ****\r\n");
	expect("PROXY-AUTHORIZATION:abc\n", "PROXY-AUTHORIZATION:***\n");
	expect("Authorization: opaque value\n", "Authorization: ************\n");
	expect("Authorization: AWS4-HMAC-SHA256 Cred=1, Sig=2\n",
	       "Authorization: AWS4-HMAC-SHA256 *************\n");
	expect("x-api-key: k1\nX-Goog-Api-Key: k2\napi-key: k3\n",
	       "x-api-key: **\nX-Goog-Api-Key: **\napi-key: **\n");
	expect("Cookie: a=\"b\"; c=d\r\nSet-Cookie: e\r\n",
	       "Cookie: **********\r\nSet-Cookie: *\r\n");
	expect("x-amz-security-token: t\nX-Auth-Token: u\n",
	       "x-amz-security-token: *\nX-Auth-Token: *\n");
	expect("> Authorization: Bearer abc\n", "> Authorization: Bearer ***\n");
}

static void header_names_elsewhere_than_at_a_line_start_are_text(void **state)
{
	expect_same("the word authorization: it means permission\n");
	expect_same("  apiKey: string;\n");
	expect_same("x-forwarded-for: 1.2.3.4\n");
}

static void headers_inside_quotes_and_json_strings_end_there(void **state)
{
	expect("curl -H \"Authorization: Bearer abc\" https://x",
	       "curl -H \"Authorization: Bearer ***\" https://x");
	expect("-H 'Cookie: a=\"b\"' x", "-H 'Cookie: *****' x");
	expect("{\"cmd\":\"curl -H \\\"X-Api-Key: abc\\\" x\"}",
	       "{\"cmd\":\"curl -H \\\"X-Api-Key: ***\\\" x\"}");
	expect("{\"raw\":\"GET /\\r\\nCookie: abc\\r\\nHost: y\"}",
	       "{\"raw\":\"GET /\\r\\nCookie: ***\\r\\nHost: y\"}");
}

static void query_and_form_parameters_are_masked(void **state)
{
	expect("GET /v1?key=abc&alt=sse&token=d%20e HTTP/1.1",
	       "GET /v1?key=***&alt=sse&token=***** HTTP/1.1");
	expect("/x?X-Amz-Credential=a/b&X-Amz-Signature=ff#top",
	       "/x?X-Amz-Credential=***&X-Amz-Signature=**#top");
	expect("client_secret=ab&grant_type=x&refresh_token=cd",
	       "client_secret=**&grant_type=x&refresh_token=**");
	expect("token=ab&sig=cd", "token=**&sig=**");
	expect("host=x password=hunter2 user=y", "host=x password=******* user=y");
	expect("<a href=\"/?sig=abc\">", "<a href=\"/?sig=***\">");
	expect_same("sorted(x, key=len)");
	expect_same("{\"url\":\"/?token=\",\"b\":1}");
	expect_same("monkey=banana&design=3");
}

static void json_members_are_masked(void **state)
{
	expect("{\"api_key\":\"ab\",\"apiKey\" : \"cd\"}",
	       "{\"api_key\":\"**\",\"apiKey\" : \"**\"}");
	expect("{\"password\":\"a\\\"b\\\\\",\"x\":\"y\"}",
	       "{\"password\":\"******\",\"x\":\"y\"}");
	expect("{\"Authorization\":\"Bearer abc\"}", "{\"Authorization\":\"Bearer ***\"}");
	expect("{'x-api-key': 'abc'}", "{'x-api-key': '***'}");
	expect("{\"env\":{\"GITHUB_TOKEN\":\"abc\"}}", "{\"env\":{\"GITHUB_TOKEN\":\"***\"}}");
	expect("\"{\\\"client_secret\\\":\\\"ab\\\",\\\"x\\\":1}\"",
	       "\"{\\\"client_secret\\\":\\\"**\\\",\\\"x\\\":1}\"");
	expect("\"{\\\"secret_key\\\":\\\"a\\\\\\\"b\\\",\\\"x\\\":1}\"",
	       "\"{\\\"secret_key\\\":\\\"******\\\",\\\"x\\\":1}\"");
	expect_same("{\"password\":{\"type\":\"string\"},\"api_key\":null}");
	expect_same("{\"max_tokens\":5,\"next_page_token\":\"abc\"}");
}

static void short_json_tokens_are_model_output(void **state)
{
	expect_same("{\"token\":\" Hello\",\"logprob\":-0.1}");
	expect("{\"token\":\"0123456789abcdef\"}", "{\"token\":\"****************\"}");
}

static void environment_and_options_are_masked(void **state)
{
	expect("ANTHROPIC_API_KEY=ab PATH=/bin", "ANTHROPIC_API_KEY=** PATH=/bin");
	expect("export DB_PASSWORD=\"a b\" X=1", "export DB_PASSWORD=\"***\" X=1");
	expect("A=1\0MY_SECRET=a&b\0C=2", "A=1|MY_SECRET=***|C=2");
	expect("{\"cmd\":\"A_TOKEN=ab\\nB=1\"}", "{\"cmd\":\"A_TOKEN=**\\nB=1\"}");
	expect("{\"x\":\"a\\nA_TOKEN=ab\"}", "{\"x\":\"a\\nA_TOKEN=**\"}");
	expect("curl\0--api-key\0a b\0--token=cd\0-v", "curl|--api-key|***|--token=**|-v");
	expect("run --password hunter2 --verbose", "run --password ******* --verbose");
	expect("curl\0-H\0Authorization: Bearer x y\0-v", "curl|-H|Authorization: Bearer ***|-v");
	expect_same("if (API_KEY == x)");
	expect_same("an aside--password included _--password and on");
	expect_same("primary_key=True, --token-file x");
}

static void passwords_in_urls_are_masked(void **state)
{
	expect("git clone https://u:p%40w@host/x", "git clone https://u:*****@host/x");
	expect("redis://:pw@h:6379/0", "redis://:**@h:6379/0");
	expect("\"https:\\/\\/u:pw@h\"", "\"https:\\/\\/u:**@h\"");
	expect_same("http://localhost:8080/a@b http://[::1]:80");
	expect("https://ghp_Q7w9ZxK2mN4pR8tV1y@host/x", "https://ghp_******************@host/x");
}

static void private_key_blocks_are_masked(void **state)
{
	expect("-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----\n",
	       "-----BEGIN RSA PRIVATE KEY-----******-----END RSA PRIVATE KEY-----\n");
	expect("\"-----BEGIN PRIVATE KEY-----\\nMI+/\\n-----END PRIVATE KEY-----\\n\"",
	       "\"-----BEGIN PRIVATE KEY-----********-----END PRIVATE KEY-----\\n\"");
	expect_same("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
}

static void ordinary_text_is_untouched(void **state)
{
	expect_same("A risk-free task-force; the key is: sk-learn, desk-top, "
		    "ask-me-anything-you-like-now.");
	expect_same("<div class=\"sk-folding-cube-animation-delayed\"> npm_config_registry "
		    "hf_hub_download");
	expect_same("def f(token: str, key='a'): return AKIA, AIza, eyJ, SG.x.y and ghp_x");
	expect_same("d41d8cd98f00b204e9800998ecf8427e 550e8400-e29b-41d4-a716-446655440000 "
		    "sha256:ABCDEF01");
	expect_same("XAKIAIOSFODNN7EXAMPLE AKIAIOSFODNN7EXAMPLES https://example.com/a?b=c&d=e");
	expect_same("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9 is base64 of JSON");
}

/* Each is one canary; `skip` bytes at its start are a prefix that stays readable by design. */
static const struct canary {
	const char *key;
	size_t skip;
} canaries[] = {
	{"sk-ant-api03-Q7w9ZxK2mN4pR8tV1yB3cD5fG6hJ0kL-aA_bB", 3},
	{"sk-proj-Q7w9ZxK2mN4pR8tV1yB3cD5fG6hJ0kLmnop", 3},
	{"ghp_Q7w9ZxK2mN4pR8tV1yB3cD5fG6hJ0kLmnopq", 4},
	{"gho_Q7w9ZxK2mN4pR8tV1yB3cD5fG6hJ0kLmnopq", 4},
	{"ghu_Q7w9ZxK2mN4pR8tV1yB3cD5fG6hJ0kLmnopq", 4},
	{"ghs_Q7w9ZxK2mN4pR8tV1yB3cD5fG6hJ0kLmnopq", 4},
	{"ghr_Q7w9ZxK2mN4pR8tV1yB3cD5fG6hJ0kLmnopq", 4},
	{"github_pat_11ABCDEFG0Q7w9ZxK2mN4p_R8tV1yB3cD5fG6hJ0kLmnopq", 11},
	{"glpat-Q7w9ZxK2mN4pR8tV1yB3", 6},
	{"AKIAQ7W9ZXK2MN4PR8TV", 4},
	{"ASIAQ7W9ZXK2MN4PR8TV", 4},
	{"AIzaSyQ7w9ZxK2mN4pR8tV1yB3cD5fG6hJ0kLm-", 4},
	{"xoxb-123456789012-1234567890123-Q7w9ZxK2mN4pR8tV1yB3cD5f", 5},
	{"xoxp-123456789012-1234567890123-Q7w9ZxK2mN4pR8tV1yB3cD5f", 5},
	{"xapp-1-A0123456789-1234567890123-q7w9zxk2mn4pr8tv1yb3cd5f", 5},
	{"hf_Q7w9ZxKamNbpRctVdyBecDffGghJhkLinj", 3},
	{"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", 4},
	{"npm_Q7w9ZxK2mN4pR8tV1yB3cD5fG6hJ0kLmnopq", 4},
	{"pypi-AgEIcHlwaS5vcmcCJDQ3dzlaeEsybU40cFI4dFYxeUIzY0Q1Zkc2", 5},
	{"SG.Q7w9ZxK2mN4pR8tV1yB3cD.Q7w9ZxK2mN4pR8tV1yB3cD5fG6hJ0kLmnopqQ7w9", 3},
	{"sk_live_Q7w9ZxK2mN4pR8tV1yB3cD5f", 8},
	{"rk_live_Q7w9ZxK2mN4pR8tV1yB3cD5f", 8},
	{"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_"
	 "adQssw5c",
	 3},
};

/* For secrets that only their name gives away. */
static const char plain[] = "Zq8wXv5uTs2rPo9nMl6kJi3h";

/* Text before and after a key of a recognisable shape. */
static const char *const around[][2] = {
	{"", ""},
	{"The key is ", ", keep it."},
	{"{\"text\":\"a\\n", "\\nb\"}"},
	{"{\"content\":\"use ", "\"}"},
	{"curl https://x/?q=", "&r=1"},
	{"(", ")"},
	{"`", "`"},
};

/* Text before and after a secret without a shape. */
static const char *const named[][2] = {
	{"GET / HTTP/1.1\r\nAuthorization: Bearer ", "\r\n\r\n"},
	{"GET / HTTP/1.1\r\nauthorization: ", "\r\n\r\n"},
	{"GET / HTTP/1.1\r\nX-Goog-Api-Key: ", "\r\n\r\n"},
	{"GET / HTTP/1.1\r\nProxy-Authorization: Basic ", "\r\n\r\n"},
	{"GET / HTTP/1.1\r\nx-amz-security-token: ", "\r\n\r\n"},
	{"HTTP/1.1 200 OK\r\nSet-Cookie: ", "\r\n\r\n"},
	{"GET /v1?key=", "&alt=sse"},
	{"GET /v1?x=1&X-Amz-Signature=", " HTTP/1.1"},
	{"client_id=a&client_secret=", "&b=c"},
	{"{\"api_key\":\"", "\",\"b\":1}"},
	{"{\"apiKey\" : \"", "\",\"b\":1}"},
	{"{\"token\":\"", "\",\"b\":1}"},
	{"{\"authorization\":\"Bearer ", "\",\"b\":1}"},
	{"{\"a\":\"{\\\"access_token\\\": \\\"", "\\\",\\\"b\\\":1}\"}"},
	{"{\"a\":\"{\\\\\\\"password\\\\\\\": \\\\\\\"", "\\\\\\\"}\"}"},
	{"PATH=/bin\nANTHROPIC_API_KEY=", "\nHOME=/"},
	{"export AWS_SECRET_ACCESS_KEY='", "'; ls"},
	{"tool --api-key ", " --verbose"},
	{"tool --token=", " --verbose"},
	{"postgres://user:", "@db.example.com/x"},
	{"{\"headers\":{\"Authorization\":[\"Bearer ", "\"],\"b\":[\"c\"]}}"},
	{"{\"a\":\"{\\\"x-api-key\\\":[\\\"", "\\\"]}\"}"},
	{"{\"A_NAME_THAT_IS_LONGER_THAN_WHAT_IS_REMEMBERED_OF_A_STREAM_AND_ENDS_IN_API_KEY\":\"",
	 "\",\"b\":1}"},
	{"{\"api_key\"\t\r\n      :\t\"", "\",\"b\":1}"},
	{"-----BEGIN OPENSSH PRIVATE KEY-----", "-----END OPENSSH PRIVATE KEY-----\n"},
};

/* The longest run of the secret's bytes that can be read where it stood. */
static size_t visible_run(const char *out, const char *secret, size_t n)
{
	size_t run = 0, longest = 0;

	for (size_t i = 0; i < n; i++) {
		run = out[i] == secret[i] ? run + 1 : 0;
		longest = MAX(longest, run);
	}
	return longest;
}

/* Whole, and cut at every offset, and in pieces of every small size: the secret stays hidden. */
static void check_cuts(const char *before, const char *secret, size_t skip, const char *after)
{
	char text[512], whole[512], out[512];
	size_t at = strlen(before), len = strlen(secret), n;

	n = (size_t)snprintf(text, sizeof(text), "%s%s%s", before, secret, after);
	mask(NULL, text, n, whole);
	if (visible_run(whole + at + skip, secret + skip, len - skip) > 1 ||
	    memcmp(whole, text, at) != 0 || strcmp(whole + at + len, after) != 0)
		fail_msg("%s -> %s", text, whole);

	for (size_t cut = 0; cut <= n; cut++) {
		struct secret_scan st = {0};

		mask(&st, text, cut, out);
		mask(&st, text + cut, n - cut, out + cut);
		if (visible_run(out + at, secret, len) > VISIBLE_MAX)
			fail_msg("cut at %zu: %s", cut, out);
	}
	for (size_t piece = 1; piece < 20; piece++) {
		struct secret_scan st = {0};

		for (size_t i = 0; i < n; i += piece)
			mask(&st, text + i, MIN(piece, n - i), out + i);
		if (visible_run(out + at, secret, len) > VISIBLE_MAX)
			fail_msg("pieces of %zu: %s", piece, out);
	}
}

static void keys_of_every_shape_stay_hidden_however_the_text_is_cut(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(canaries); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(around); k++)
			check_cuts(around[k][0], canaries[i].key, canaries[i].skip, around[k][1]);
	}
}

static void named_secrets_stay_hidden_however_the_text_is_cut(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(named); i++)
		check_cuts(named[i][0], plain, 0, named[i][1]);
}

static void shaped_keys_in_named_places_stay_hidden(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(canaries); i++) {
		/* all but the last: a PEM body has no '_' */
		for (size_t k = 0; k < ARRAY_SIZE(named) - 1; k++)
			check_cuts(named[k][0], canaries[i].key, 0, named[k][1]);
	}
}

/* ---- what is masked of a whole text is masked of its pieces ---- */

/* But backslashes and dashes right before a cut may belong to what ends the value. */
static void check_pieces(const char *in, const char *want, const char *out, size_t from, size_t to)
{
	while (to > from && (in[to - 1] == '\\' || in[to - 1] == '-'))
		to--;
	for (size_t i = from; i < to; i++) {
		if (want[i] == '*' && out[i] != '*')
			fail_msg("%s, %zu to %zu: %s", in, from, to, out);
	}
}

static void expect_cut(const char *in, const char *want)
{
	size_t n = strlen(in);
	char out[1024];

	assert_true(n < sizeof(out));
	expect_len(in, n, want);
	for (size_t cut = 0; cut <= n; cut++) {
		struct secret_scan st = {0};

		mask(&st, in, cut, out);
		mask(&st, in + cut, n - cut, out + cut);
		check_pieces(in, want, out, 0, cut);
		check_pieces(in, want, out, cut, n);
	}
	for (size_t piece = 1; piece < 20; piece++) {
		struct secret_scan st = {0};

		for (size_t i = 0; i < n; i += piece) {
			mask(&st, in + i, MIN(piece, n - i), out + i);
			check_pieces(in, want, out, i, MIN(i + piece, n));
		}
	}
}

static void a_header_line_in_a_string_goes_on_behind_an_escaped_quote(void **state)
{
	expect_cut(
		"{\"text\":\"GET / HTTP/1.1\\r\\nCookie: a=\\\"x\\\"; session=abc\\r\\nHost: h\"}",
		"{\"text\":\"GET / HTTP/1.1\\r\\nCookie: ********************\\r\\nHost: h\"}");
	expect_cut("{\"c\":\"curl -H 'Authorization: Token token=\\\"abc\\\"' h\"}",
		   "{\"c\":\"curl -H 'Authorization: Token *************' h\"}");
	expect_cut("{\"t\":\"\\nAuthorization: Digest username=\\\"M\\\", "
		   "response=\\\"ab\\\"\",\"n\":1}",
		   "{\"t\":\"\\nAuthorization: Digest *******************************\",\"n\":1}");
	expect_cut(
		"{\"t\":\"{\\\"u\\\":\\\"\\\\r\\\\nCookie: a=\\\\\\\"x\\\\\\\"; b=c\\\\r\\\\nHost: "
		"h\\\"}\"}",
		"{\"t\":\"{\\\"u\\\":\\\"\\\\r\\\\nCookie: ****************\\\\r\\\\nHost: "
		"h\\\"}\"}");
	expect_cut("{\"c\":\"curl -H \\\"Cookie: a=\\\\\\\"x\\\\\\\"; b=c\\\" h\"}",
		   "{\"c\":\"curl -H \\\"Cookie: ****************\\\" h\"}");
	expect_cut("sh -c \"curl -H \\\"Cookie: b=c\\\" h\"",
		   "sh -c \"curl -H \\\"Cookie: ***\\\" h\"");
	expect_cut("[\"Cookie: a=\\\"x\\\"; b=c\",\"Host: h\"]",
		   "[\"Cookie: ************\",\"Host: h\"]");
}

static void only_an_escaped_line_end_ends_a_header_line_in_a_string(void **state)
{
	expect_cut("{\"t\":\"\\nCookie: a\\tb\\u0022c\\/d\\nHost: h\"}",
		   "{\"t\":\"\\nCookie: **************\\nHost: h\"}");
	expect_cut("{\"t\":\"\\nCookie: ab\\u000aHost: h\"}",
		   "{\"t\":\"\\nCookie: **\\u000aHost: h\"}");
	expect_cut("{\"t\":\"\\nCookie: ab\\u000D\\u000AHost: h\"}",
		   "{\"t\":\"\\nCookie: **\\u000D\\u000AHost: h\"}");
	expect_cut("{\"t\":\"{\\\"u\\\":\\\"\\\\nCookie: ab\\\\u000dHost: h\\\"}\"}",
		   "{\"t\":\"{\\\"u\\\":\\\"\\\\nCookie: **\\\\u000dHost: h\\\"}\"}");
	expect_cut("{\"t\":\"\\nCookie: ab\\u000b\\\\u000a\\u00adu000a\\nHost: h\"}",
		   "{\"t\":\"\\nCookie: **************************\\nHost: h\"}");
	/* a backslash, then a name */
	expect_cut("{\"t\":\"\\nAuthorization: Digest u=\\\"D\\\\name\\\", r=\\\"ab\\\"\\r\\n\"}",
		   "{\"t\":\"\\nAuthorization: Digest ***********************\\r\\n\"}");
	expect_cut("{\"t\":\"\\nCookie: ab\\\\\",\"n\":1}", "{\"t\":\"\\nCookie: ****\",\"n\":1}");
}

static void the_strings_of_a_list_are_masked(void **state)
{
	expect_cut("{\"Authorization\":[\"Bearer abc\"],\"Host\":[\"h\"]}",
		   "{\"Authorization\":[\"Bearer ***\"],\"Host\":[\"h\"]}");
	expect_cut("{\"Set-Cookie\" : [ \"a=\\\"b\\\"\",\n\t\"c]d\" ],\"x\":\"y\"}",
		   "{\"Set-Cookie\" : [ \"*******\",\n\t\"***\" ],\"x\":\"y\"}");
	expect_cut("{'x-api-key': ['ab', 'cd'], 'x': ['y']}",
		   "{'x-api-key': ['**', '**'], 'x': ['y']}");
	expect_cut("\"{\\\"api_key\\\":[\\n  \\\"a\\\\\\\"b\\\",\\n  "
		   "\\\"cd\\\"\\n],\\\"x\\\":\\\"y\\\"}\"",
		   "\"{\\\"api_key\\\":[\\n  \\\"******\\\",\\n  "
		   "\\\"**\\\"\\n],\\\"x\\\":\\\"y\\\"}\"");
	/* headers have any name: a list is no piece of a model's output */
	expect_cut("{\"Token\":[\"ab\"],\"x\":1}", "{\"Token\":[\"**\"],\"x\":1}");
	expect_cut("{\"api_key\":[null,\"ab\",[\"cd\",{\"e\":\"f\"}],\"gh\"],\"x\":\"y\"}",
		   "{\"api_key\":[null,\"**\",[\"**\",{\"*\":\"*\"}],\"**\"],\"x\":\"y\"}");
	expect_cut("{\"password\":[],\"x\":\"y\"}", "{\"password\":[],\"x\":\"y\"}");
	expect_cut("{\"password\":[1,2.5e-3],\"x\":\"y\"}",
		   "{\"password\":[1,2.5e-3],\"x\":\"y\"}");
	expect_cut("the \"password\":[ (see below) \"y\"", "the \"password\":[ (see below) \"y\"");
	expect_cut("{\"tokens\":[\"a\",\"b\"],\"accept\":[\"c\"]}",
		   "{\"tokens\":[\"a\",\"b\"],\"accept\":[\"c\"]}");
}

static void names_longer_than_the_window_are_known_by_their_end(void **state)
{
	expect_cut("{\"NEXT_PUBLIC_SOME_VERY_LONG_SERVICE_INTEGRATION_NAME_FOR_PRODUCTION_API_"
		   "KEY\":\"ab\"}",
		   "{\"NEXT_PUBLIC_SOME_VERY_LONG_SERVICE_INTEGRATION_NAME_FOR_PRODUCTION_API_"
		   "KEY\":\"**\"}");
	expect_cut("{\"SOME_VERY_LONG_NAME_OF_A_SERVICE_AND_OF_WHAT_IT_IS_FOR_IN_PRODUCTION_KEY\":"
		   "\"ab\"}",
		   "{\"SOME_VERY_LONG_NAME_OF_A_SERVICE_AND_OF_WHAT_IT_IS_FOR_IN_PRODUCTION_KEY\":"
		   "\"**\"}");
	expect_cut("{\"someVeryLongNameOfAServiceAndOfWhatItIsForInProductionNextPageToken\":"
		   "\"0123456789abcdef\"}",
		   "{\"someVeryLongNameOfAServiceAndOfWhatItIsForInProductionNextPageToken\":"
		   "\"0123456789abcdef\"}");
	/* the window ends between next_page_ and token */
	expect_same("{\"next_page_token\""
		    "                                                          "
		    ":\"0123456789abcdef\"}");
}

static void numbers_behind_a_name_are_masked(void **state)
{
	expect_cut("{\"password\":12345678,\"n\":1}", "{\"password\":********,\"n\":1}");
	expect_cut("{\"n\":1,\"api_key\" : -1.5E+30}", "{\"n\":1,\"api_key\" : ********}");
	expect_cut("[{\"client_secret\":7},{\"n\":8}]", "[{\"client_secret\":*},{\"n\":8}]");
	expect_cut("\"{\\\"password\\\": 1234,\\\"n\\\":5}\"",
		   "\"{\\\"password\\\": ****,\\\"n\\\":5}\"");
	expect_cut("{\"authorization\":1234}", "{\"authorization\":****}");
	expect_cut("{\"secret\":12345678,\"token\":1234567890123456}",
		   "{\"secret\":********,\"token\":****************}");
	expect_same("{\"secret\":1234567,\"token\":15496,\"logprob\":-0.1}");
	expect_same("{\"password\":true,\"api_key\":null,\"cookie\":{\"n\":1},\"x\":2}");
	expect_same("{\"max_tokens\":100,\"total_tokens\":12,\"completion_tokens\":3,\"tokens\":4,"
		    "\"token_count\":5,\"token_id\":1234567890123456,\"prompt_tokens\": 6}");
}

static void any_white_space_may_stand_around_the_colon(void **state)
{
	expect_cut("{\"password\"\t:\t\"ab\"}", "{\"password\"\t:\t\"**\"}");
	expect_cut("{\"password\"\r\n\t:\r\n\"ab\"}", "{\"password\"\r\n\t:\r\n\"**\"}");
	expect_cut("{\"password\"              :              \"ab\"}",
		   "{\"password\"              :              \"**\"}");
}

/* ---- lines of a private key in which something stands that is not of the key ---- */

#define HEADER "-----BEGIN OPENSSH PRIVATE KEY-----"
#define FOOTER "-----END OPENSSH PRIVATE KEY-----"
#define LINE_1 "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAE"
#define LINE_2 "AAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtz"
#define STARS  "************************************"

/* No four bytes in a row of either line can be read, in the whole or in pieces. */
static void expect_key_hidden(const char *in, size_t n, const char *out)
{
	static const char *const key[] = {LINE_1, LINE_2};

	for (size_t k = 0; k < ARRAY_SIZE(key); k++) {
		for (size_t i = 0; i + 4 <= strlen(key[k]); i++) {
			char part[5] = {0};

			memcpy(part, key[k] + i, 4);
			if (memmem(out, n, part, 4))
				fail_msg("%s -> %s", in, out);
		}
	}
}

static void check_key(const char *in)
{
	size_t n = strlen(in);
	char whole[1024], out[1024];

	mask(NULL, in, n, whole);
	expect_key_hidden(in, n, whole);
	for (size_t cut = 0; cut <= n; cut++) {
		struct secret_scan st = {0};

		mask(&st, in, cut, out);
		mask(&st, in + cut, n - cut, out + cut);
		check_pieces(in, whole, out, 0, cut);
		check_pieces(in, whole, out, cut, n);
	}
	for (size_t piece = 1; piece < 20; piece++) {
		struct secret_scan st = {0};

		for (size_t i = 0; i < n; i += piece)
			mask(&st, in + i, MIN(piece, n - i), out + i);
		expect_key_hidden(in, n, out);
	}
}

static void a_private_key_is_masked_whatever_stands_before_its_lines(void **state)
{
	check_key("     1\u2192" HEADER "\n     2\u2192" LINE_1 "\n     3\u2192" LINE_2
		  "\n     4\u2192" FOOTER "\n");
	check_key("{\"content\":\"     1\u2192" HEADER "\\n     2\u2192" LINE_1
		  "\\n     3\u2192" LINE_2 "\\n     4\u2192" FOOTER "\\n\",\"n\":1}");
	check_key("{\"content\":\"     1\\u2192" HEADER "\\n     2\\u2192" LINE_1
		  "\\n     3\\u2192" LINE_2 "\\n     4\\u2192" FOOTER "\\n\",\"n\":1}");
	check_key("1| " HEADER "\n2| " LINE_1 "\n3| " LINE_2 "\n4| " FOOTER "\n");
	check_key("key.c(1): \"" HEADER "\\n\"\nkey.c(2): \"" LINE_1 "\\n\"\nkey.c(3): \"" LINE_2
		  "\\n\"\n");
	check_key("echo '" HEADER "' >k; echo '" LINE_1 "' >>k; echo '" LINE_2 "' >>k; cat k!");
}

static void a_private_key_is_masked_behind_headers_of_its_own(void **state)
{
	check_key("-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: GnuPG v2.0.22 "
		  "(GNU/Linux)\n\n" LINE_1 "\n" LINE_2 "\n-----END PGP PRIVATE KEY BLOCK-----\n");
	check_key("-----BEGIN PGP PRIVATE KEY BLOCK-----\nComment: Alice "
		  "<alice@example.org>\n\n" LINE_1 "\n" LINE_2
		  "\n-----END PGP PRIVATE KEY BLOCK-----\n");
	check_key("{\"c\":\"-----BEGIN PGP PRIVATE KEY BLOCK-----\\nVersion: GnuPG "
		  "(\\\"x\\\")\\n\\n" LINE_1 "\\n" LINE_2
		  "\\n-----END PGP PRIVATE KEY BLOCK-----\\n\"}");
	check_key("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n"
		  "DEK-Info: AES-128-CBC,3F17F5316E2BAC89\n\n" LINE_1 "\n" LINE_2
		  "\n-----END RSA PRIVATE KEY-----\n");
}

static void what_holds_the_lines_of_a_private_key_stays_what_it_is(void **state)
{
	expect("[\"" HEADER "\",\"" LINE_1 "\",\n\t\"MIIB\" , \"" FOOTER "\",\"x\"]",
	       "[\"" HEADER "\",\"" STARS "\",\n\t\"****\" , \"" FOOTER "\",\"x\"]");
	expect("{\"a\":\"[\\\"" HEADER "\\\",\\n \\\"" LINE_1 "\\\"]\"}",
	       "{\"a\":\"[\\\"" HEADER "\\\",\\n \\\"" STARS "\\\"]\"}");
	expect("{\"0\":\"" HEADER "\",\"1\":\"" LINE_1 "\\n\",\"2\":[\"" FOOTER "\"]}",
	       "{\"0\":\"" HEADER "\",\"*\":\"" STARS "**\",\"*\":[\"" FOOTER "\"]}");
	expect("[{\"n\":1,\"s\":\"" HEADER "\"},{\"n\":2,\"s\":\"" LINE_1 "\",\"x\":null}]" FOOTER,
	       "[{\"n\":1,\"s\":\"" HEADER "\"},{\"*\":2,\"*\":\"" STARS "\",\"*\":null}]" FOOTER);
	expect(" 1\u2192" HEADER "\n 2\u2192" LINE_1 "\n 3\u2192" FOOTER "\n",
	       " 1\u2192" HEADER "***\u2192" STARS "***\u2192" FOOTER "\n");
}

/* What stands behind it: ordinary text, and a secret of another kind. */
#define PROSE                                                                                      \
	" begins such a file. Whoever finds that line in a text (or in the source of a program), " \
	"has found a mention of a key; a key has lines of 64 letters and digits, and \"this\" "    \
	"has "                                                                                     \
	"words. It takes more than one sentence to say so, and even two of them are not enough: "  \
	"it has to be a paragraph. A call is named toolu_01T1x1fJ34qAmk2tNTrN7Up6, a file has a "  \
	"path "                                                                                    \
	"like /usr/lib/python3/dist-packages/Crypto/PublicKey/RSA.py, a checksum has no "          \
	"capitals: "                                                                               \
	"d41d8cd98f00b204e9800998ecf8427e. None of these is of a key, either.\n"

static void a_mention_of_a_private_key_hides_nothing_behind_it(void **state)
{
	expect_same("The line " HEADER PROSE);
	expect_same("{\"text\":\"" HEADER PROSE "\"}");
	expect("if (s == \"" HEADER "\") use(\"?key=ab&x=1\"); " PROSE,
	       "if (s == \"" HEADER "\") use(\"?key=**&x=1\"); " PROSE);
	/* a block without a footer, and what is behind that */
	expect(HEADER "\n" LINE_1 "\n" PROSE "DB_PASSWORD=ab",
	       HEADER "*" STARS "\n" PROSE "DB_PASSWORD=**");
}

/* The block is over in the middle of a value, of which all is masked the same. */
static void a_secret_is_found_across_the_end_of_a_private_key(void **state)
{
	char in[1024], out[1024];

	for (size_t pad = 0; pad < 600; pad++) {
		struct secret_scan st = {0};
		size_t n =
			(size_t)snprintf(in, sizeof(in), HEADER "\n%s\n%*sCookie: a(b); c(d) e\n",
					 pad % 2 ? LINE_1 : "(none)", (int)pad, "\n");

		mask(NULL, in, n, out);
		if (strstr(out, "b)") || strstr(out, "d) e"))
			fail_msg("%zu: %s", pad, out);
		for (size_t i = 0; i < n; i += 7)
			mask(&st, in + i, MIN((size_t)7, n - i), out + i);
		if (strstr(out, "b)") || strstr(out, "d) e"))
			fail_msg("%zu: %s", pad, out);
	}
}

/* ---- headers and settings behind '=' ---- */

static void a_header_given_to_an_option_is_masked_to_the_end_of_its_argument(void **state)
{
	expect("git\0-c\0http.extraheader=AUTHORIZATION: basic eC1h\0fetch",
	       "git|-c|http.extraheader=AUTHORIZATION: basic ****|fetch");
	expect("wget\0--header=Authorization: Bearer a\"b c\0x",
	       "wget|--header=Authorization: Bearer *****|x");
	expect("wget\0--header=X-Api-Key: abc\0x", "wget|--header=X-Api-Key: ***|x");
	expect_same("wget --header=Accept: text/html x=apiKey: string");
}

static void a_header_given_to_an_option_ends_with_the_quotes_around_it(void **state)
{
	expect_cut("sh -c 'wget \"--header=Authorization: Bearer abc\" https://x'",
		   "sh -c 'wget \"--header=Authorization: Bearer ***\" https://x'");
	expect_cut("[\"wget\",\"--header=X-Api-Key: ab\\\"c\",\"https://x\"]",
		   "[\"wget\",\"--header=X-Api-Key: *****\",\"https://x\"]");
	expect_cut("{\"c\":\"wget \\\"--header=X-Api-Key: abc\\\" https://x\",\"n\":1}",
		   "{\"c\":\"wget \\\"--header=X-Api-Key: ***\\\" https://x\",\"n\":1}");
	expect_cut("{\"c\":\"wget --header=X-Api-Key:abc https://x\",\"n\":1}",
		   "{\"c\":\"wget --header=X-Api-Key:*************\",\"n\":1}");
	expect_cut("{\"c\":\"[http]\\n\\textraheader = AUTHORIZATION: basic eC1h\\n[x]\",\"n\":1}",
		   "{\"c\":\"[http]\\n\\textraheader = AUTHORIZATION: basic ****\\n[x]\",\"n\":1}");
	expect_cut(
		"{\"c\":\"http.https://a.host.with.a.name/of/which/the/beginning/is/out/of/sight/"
		".extraheader=AUTHORIZATION: basic eC1h\",\"n\":1}",
		"{\"c\":\"http.https://a.host.with.a.name/of/which/the/beginning/is/out/of/sight/"
		".extraheader=AUTHORIZATION: basic ****\",\"n\":1}");
	expect_cut("http.extraheader=AUTHORIZATION: basic eC1h\nhttp.sslverify=true\n",
		   "http.extraheader=AUTHORIZATION: basic ****\nhttp.sslverify=true\n");
}

static void settings_with_blanks_around_the_equals_sign_are_masked(void **state)
{
	expect_cut("[default]\naws_secret_access_key = wJa/K7+Y\naws_session_token\t=\tIQoJ==\n",
		   "[default]\naws_secret_access_key = ********\naws_session_token\t=\t******\n");
	expect_cut("aws_secret_access_key = wJa\nregion = x\n",
		   "aws_secret_access_key = ***\nregion = x\n");
	expect_cut(
		"{\"c\":\"aws_secret_access_key = wJa\\naws_session_token = IQo\\nregion = x\"}",
		"{\"c\":\"aws_secret_access_key = ***\\naws_session_token = ***\\nregion = x\"}");
	expect_cut("\"[x]\\r\\npassword = \\\"a b\\\"\\r\\ny = z\"",
		   "\"[x]\\r\\npassword = \\\"***\\\"\\r\\ny = z\"");
	expect_cut("     2\u2192aws_secret_access_key = wJa\n     3\tapi_key = abc\n",
		   "     2\u2192aws_secret_access_key = ***\n     3\tapi_key = ***\n");
	expect_cut("password = 'a b' # c\n", "password = '***' # c\n");
	expect_cut("GITHUB_TOKEN = abc\nX = 1\n", "GITHUB_TOKEN = ***\nX = 1\n");
}

static void blanks_around_the_equals_sign_elsewhere_are_source_code(void **state)
{
	expect_same("if (password = next) x;\n    api_key = get();\nlet api_key = 1\n");
	expect_same("password == other\nAPI_KEY == x\nPassword ======\n");
	expect_same("token = abc\nkey = abc\nsig = abc\nnext_page_token = abc\n");
	expect_same("password =\nuser = x\n");
	/* the beginning of that line is out of sight */
	expect_same("a                                                               "
		    "password = x");
}

/* ---- arguments and variables of their own ---- */

static void a_value_in_an_argument_goes_on_to_its_end(void **state)
{
	expect("mysql\0--password=correct horse battery\0-h",
	       "mysql|--password=*********************|-h");
	expect("mysql\0--password=ab'cd\0-h", "mysql|--password=*****|-h");
	expect("A=1\0DB_PASSWORD=correct horse\0X=1", "A=1|DB_PASSWORD=*************|X=1");
	expect("A=1\0DB_PASSWORD=ab#cd&ef\0X=1", "A=1|DB_PASSWORD=********|X=1");
	expect("env\0ANTHROPIC_API_KEY=my'key\0X=1", "env|ANTHROPIC_API_KEY=******|X=1");
	expect("A=1\0X_TOKEN=\"a\\b\" c", "A=1|X_TOKEN=*******");
	expect("A=1\0X_TOKEN=\0B=1", "A=1|X_TOKEN=|B=1");
}

static void a_form_in_an_argument_has_other_parameters(void **state)
{
	expect("curl\0-d\0password=a 'b&user=c\0x", "curl|-d|password=****&user=c|x");
	expect("curl\0-d\0user=c&password=ab&d=e\0x", "curl|-d|user=c&password=**&d=e|x");
}

static void a_value_in_a_program_of_the_shell_is_a_word(void **state)
{
	expect("sh\0-c\0A_TOKEN=ab curl x | sh\0y", "sh|-c|A_TOKEN=** curl x | sh|y");
	expect("bash\0-lc\0DB_PASSWORD='a b' run\0y", "bash|-lc|DB_PASSWORD='***' run|y");
	expect("x\0-Ac\0A_TOKEN=ab cd\0y", "x|-Ac|A_TOKEN=*****|y");
}

static void the_first_of_a_list_is_an_entry_like_the_others(void **state)
{
	static const char list[] = "DB_PASSWORD=a b\0sk-learn";
	struct secret_scan st = secrets_list(true);
	char out[64];

	mask(&st, list, sizeof(list) - 1, out);
	assert_string_equal(out, "DB_PASSWORD=***|sk-learn");
	st = secrets_list(false);
	mask(&st, list, sizeof(list) - 1, out);
	assert_string_equal(out, "DB_PASSWORD=***|sk-*****");
	expect("DB_PASSWORD=a b\0x", "DB_PASSWORD=* b|x");
}

/* A stream has NULs, too. */
static void a_name_behind_a_nul_does_not_hide_all_the_rest(void **state)
{
	struct secret_scan st = {0};
	struct secret_span spans[4];
	static uint8_t text[200000] = "\0A_TOKEN=";
	size_t total = 0, sum = 0;

	memset(text + 9, 'x', sizeof(text) - 9);
	for (size_t i = 0; i < sizeof(text); i += 1000) {
		secrets_mask(&st, text + i, 1000, spans, ARRAY_SIZE(spans), &total);
		sum += total;
	}
	assert_int_equal(sum, 128 * 1024);
}

static void a_value_may_span_many_pieces(void **state)
{
	struct secret_scan st = {0};
	char out[64];

	mask(&st, "{\"pass", 6, out);
	mask(&st, "word\"", 5, out);
	mask(&st, ": ", 2, out);
	mask(&st, "\"", 1, out);
	assert_string_equal(out, "\"");
	mask(&st, "abc", 3, out);
	assert_string_equal(out, "***");
	mask(&st, "", 0, out);
	mask(&st, "de\\", 3, out);
	assert_string_equal(out, "***");
	mask(&st, "\"f\",\"x\"", 7, out);
	assert_string_equal(out, "**\",\"x\"");
}

static void a_candidate_cut_by_a_piece_ends_harmlessly(void **state)
{
	struct secret_scan st = {0};
	char out[64];

	mask(&st, "a sk-lea", 8, out);
	assert_string_equal(out, "a sk-***");
	mask(&st, "rn b sk-learn c", 15, out);
	assert_string_equal(out, "rn b sk-learn c");
}

static void too_few_spans_mask_more_not_less(void **state)
{
	const char text[] = "?key=a&token=b&sig=c&x=d";
	struct secret_span spans[2];
	size_t total;

	assert_int_equal(secrets_mask(NULL, (const uint8_t *)text, strlen(text), spans, 2, &total),
			 2);
	assert_int_equal(spans[1].off, 13);
	assert_int_equal(spans[1].off + spans[1].len, 20);
	assert_int_equal(total, 8);
	assert_int_equal(secrets_mask(NULL, (const uint8_t *)text, strlen(text), NULL, 0, &total),
			 0);
	assert_int_equal(total, 3);
}

/* No key in it, many beginnings: time has to stay linear, which a timeout would show. */
static void hostile_text_takes_linear_time(void **state)
{
	size_t n = 4 << 20;
	char *text = malloc(n);
	const char *const units[] = {"eyJ-",
				     "sk-",
				     "--",
				     "\"api_key\":",
				     "AKIA-",
				     "://",
				     "\\",
				     "-----BEGIN PRIVATE KEY-----",
				     "BEGIN PRIVATE KEY-----\"\\\\",
				     " \\n password =",
				     "=cookie:",
				     "\"api_key\":[",
				     "\"api_key\"\n\t :",
				     "\\nCookie: n",
				     "\"password\":1"};

	assert_non_null(text);
	for (size_t u = 0; u < ARRAY_SIZE(units); u++) {
		struct secret_span span;

		for (size_t i = 0; i < n; i++)
			text[i] = units[u][i % strlen(units[u])];
		secrets_mask(NULL, (const uint8_t *)text, n, &span, 1, NULL);
	}
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(header_values_are_masked_and_the_scheme_stays),
		cmocka_unit_test(header_names_elsewhere_than_at_a_line_start_are_text),
		cmocka_unit_test(headers_inside_quotes_and_json_strings_end_there),
		cmocka_unit_test(query_and_form_parameters_are_masked),
		cmocka_unit_test(json_members_are_masked),
		cmocka_unit_test(short_json_tokens_are_model_output),
		cmocka_unit_test(environment_and_options_are_masked),
		cmocka_unit_test(passwords_in_urls_are_masked),
		cmocka_unit_test(private_key_blocks_are_masked),
		cmocka_unit_test(ordinary_text_is_untouched),
		cmocka_unit_test(keys_of_every_shape_stay_hidden_however_the_text_is_cut),
		cmocka_unit_test(named_secrets_stay_hidden_however_the_text_is_cut),
		cmocka_unit_test(shaped_keys_in_named_places_stay_hidden),
		cmocka_unit_test(a_header_line_in_a_string_goes_on_behind_an_escaped_quote),
		cmocka_unit_test(only_an_escaped_line_end_ends_a_header_line_in_a_string),
		cmocka_unit_test(the_strings_of_a_list_are_masked),
		cmocka_unit_test(names_longer_than_the_window_are_known_by_their_end),
		cmocka_unit_test(numbers_behind_a_name_are_masked),
		cmocka_unit_test(any_white_space_may_stand_around_the_colon),
		cmocka_unit_test(a_private_key_is_masked_whatever_stands_before_its_lines),
		cmocka_unit_test(a_private_key_is_masked_behind_headers_of_its_own),
		cmocka_unit_test(what_holds_the_lines_of_a_private_key_stays_what_it_is),
		cmocka_unit_test(a_mention_of_a_private_key_hides_nothing_behind_it),
		cmocka_unit_test(a_secret_is_found_across_the_end_of_a_private_key),
		cmocka_unit_test(a_header_given_to_an_option_is_masked_to_the_end_of_its_argument),
		cmocka_unit_test(a_header_given_to_an_option_ends_with_the_quotes_around_it),
		cmocka_unit_test(settings_with_blanks_around_the_equals_sign_are_masked),
		cmocka_unit_test(blanks_around_the_equals_sign_elsewhere_are_source_code),
		cmocka_unit_test(a_value_in_an_argument_goes_on_to_its_end),
		cmocka_unit_test(a_form_in_an_argument_has_other_parameters),
		cmocka_unit_test(a_value_in_a_program_of_the_shell_is_a_word),
		cmocka_unit_test(the_first_of_a_list_is_an_entry_like_the_others),
		cmocka_unit_test(a_name_behind_a_nul_does_not_hide_all_the_rest),
		cmocka_unit_test(a_value_may_span_many_pieces),
		cmocka_unit_test(a_candidate_cut_by_a_piece_ends_harmlessly),
		cmocka_unit_test(too_few_spans_mask_more_not_less),
		cmocka_unit_test(hostile_text_takes_linear_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
