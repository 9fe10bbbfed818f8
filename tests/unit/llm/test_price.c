/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "llm/price.h"

static struct prices *table(const char *text)
{
	struct prices *t;
	struct err err = {""};

	assert_int_equal(prices_new(&t), 0);
	if (prices_parse(t, "prices.txt", text, strlen(text), &err))
		fail_msg("%s", err.text);
	return t;
}

#define NONE UINT64_MAX

static uint64_t cost(const struct prices *t, const char *provider, const char *model,
		     struct llm_usage u, bool without)
{
	uint64_t nano = 7;

	if (!prices_cost(t, provider, model, &u, without, &nano)) {
		assert_int_equal(nano, 7);
		return NONE;
	}
	return nano;
}

static void each_kind_of_token_has_its_price(void **state)
{
	struct prices *t = table("anthropic claude-sonnet-4* 3 15 0.3 3.75 6\n");
	struct llm_usage u = {.input = 1000000};

	assert_int_equal(cost(t, "anthropic", "claude-sonnet-4-5", u, true), 3000000000);
	u = (struct llm_usage){.output = 1000000};
	assert_int_equal(cost(t, "anthropic", "claude-sonnet-4-5", u, true), 15000000000);
	u = (struct llm_usage){.cache_read = 1000000};
	assert_int_equal(cost(t, "anthropic", "claude-sonnet-4-5", u, true), 300000000);
	u = (struct llm_usage){.cache_write = 1000000, .cache_write_1h = 400000};
	assert_int_equal(cost(t, "anthropic", "claude-sonnet-4-5", u, true),
			 600000 * 3750ULL + 400000 * 6000ULL);
	prices_free(t);
}

static void cached_tokens_are_taken_out_where_input_holds_them(void **state)
{
	struct prices *t = table("openai m 2 10 0.2 2.5\n");
	struct llm_usage u = {.input = 1000, .cache_read = 800, .cache_write = 50, .output = 10};

	assert_int_equal(cost(t, "openai", "m", u, false),
			 150 * 2000 + 800 * 200 + 50 * 2500 + 10 * 10000);
	/* numbers that contradict one another do not become an immense sum */
	u.input = 5;
	assert_int_equal(cost(t, "openai", "m", u, false), 800 * 200 + 50 * 2500 + 10 * 10000);
	prices_free(t);
}

static void the_longest_model_wins_then_provider_then_the_later_line(void **state)
{
	struct prices *t = table("* gpt-5* 1 1 1 1\n"
				 "openai gpt-5* 2 2 2 2\n"
				 "* gpt-5-mini* 3 3 3 3\n"
				 "openai gpt-5* 4 4 4 4\n");
	const struct llm_usage u = {.input = 1};

	assert_int_equal(cost(t, "openai", "gpt-5-mini", u, false), 3000);
	assert_int_equal(cost(t, "openai", "gpt-5.1", u, false), 4000);
	assert_int_equal(cost(t, "azure", "gpt-5.1", u, false), 1000);
	assert_int_equal(cost(t, "openai", "gpt-4", u, false), NONE);
	assert_int_equal(cost(t, "openai", "", u, false), NONE);
	prices_free(t);
}

static void long_prompts_have_their_own_line(void **state)
{
	struct prices *t = table("a m >100000 5 5 5 5\na m 1 1 1 1\n");
	struct llm_usage u = {.input = 100000};

	assert_int_equal(cost(t, "a", "m", u, false), 100000 * 1000);
	u.input++;
	assert_int_equal(cost(t, "a", "m", u, false), 100001 * 5000);
	u = (struct llm_usage){.input = 1, .cache_read = 99999, .cache_write = 1};
	assert_int_equal(cost(t, "a", "m", u, true), 100001 * 5000);
	prices_free(t);
}

static void a_dash_is_the_price_of_input(void **state)
{
	struct prices *t = table("a m 2 9 - -");
	const struct llm_usage u = {.cache_read = 3, .cache_write = 4, .cache_write_1h = 2};

	assert_int_equal(cost(t, "a", "m", u, true), 7 * 2000);
	prices_free(t);
}

static void less_than_a_nano_dollar_is_rounded_down_and_too_much_saturates(void **state)
{
	struct prices *t = table("a m 0.000999 1000000 0 0");

	assert_int_equal(cost(t, "a", "m", (struct llm_usage){.input = 1}, false), 0);
	assert_int_equal(cost(t, "a", "m", (struct llm_usage){.input = 1002}, false), 1000);
	assert_int_equal(cost(t, "a", "m", (struct llm_usage){.output = UINT64_MAX}, false),
			 UINT64_MAX);
	prices_free(t);
}

static void comments_blank_lines_and_crlf_are_fine(void **state)
{
	struct prices *t = table("# head\r\n\r\n\t a\tm  1 2 3 4 # why\r\n#");

	assert_int_equal(cost(t, "a", "m", (struct llm_usage){.output = 1}, false), 2000);
	prices_free(t);
}

static void a_wrong_line_is_named(void **state)
{
	static const struct {
		const char *text;
		const char *why;
	} rows[] = {
		{"a m 1 2 3 4\nopenai\n", "p:2: 'openai' is followed by no model"},
		{"a m 1 2 3", "p:1: provider, model, input, output, cache_read and cache_write "
			      "must all be there"},
		{"a m 1 x 3 4", "p:1: output: 'x' is no price in USD per million tokens"},
		{"a m - 1 3 4", "p:1: input: '-' is no price in USD per million tokens"},
		{"a m 1 1 -3 4", "p:1: cache_read: '-3' is no price in USD per million tokens"},
		{"a m 1 1 1.0000001 4",
		 "p:1: cache_read: '1.0000001' is no price in USD per million tokens"},
		{"a m 1 1 9999999 4",
		 "p:1: cache_read: '9999999' is no price in USD per million tokens"},
		{"a m >0 1 1 1 1", "p:1: what follows > must be a number of tokens"},
		{"a m >1x 1 1 1 1", "p:1: what follows > must be a number of tokens"},
		{"a m 1 2 3 4 5 6", "p:1: more than five prices"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct err err = {""};
		struct prices *t;

		assert_int_equal(prices_new(&t), 0);
		assert_int_equal(prices_parse(t, "p", rows[i].text, strlen(rows[i].text), &err),
				 -EINVAL);
		assert_string_equal(err.text, rows[i].why);
		prices_free(t);
	}
}

static void the_users_file_is_read_behind_the_systems(void **state)
{
	static const char line[] = "anthropic claude-opus-5-5* 9 9 9 9\n";
	char dir[] = "/tmp/prices-XXXXXX", sub[64], file[96];
	const struct llm_usage u = {.input = 1};
	struct prices *t;
	struct err err = {""};
	FILE *f;

	assert_non_null(mkdtemp(dir));
	setenv("XDG_CONFIG_HOME", dir, 1);
	snprintf(sub, sizeof(sub), "%s/agentsight", dir);
	snprintf(file, sizeof(file), "%s/prices.txt", sub);
	assert_int_equal(prices_new(&t), 0);
	/* neither is there */
	assert_int_equal(prices_load_default(t, "/nonexistent/prices.txt", &err), 0);
	assert_int_equal(cost(t, "anthropic", "claude-opus-5-5", u, true), NONE);

	assert_int_equal(mkdir(sub, 0700), 0);
	f = fopen(file, "we");
	assert_non_null(f);
	fputs(line, f);
	fclose(f);
	assert_int_equal(prices_load_default(t, "packaging/prices.txt", &err), 0);
	assert_int_equal(cost(t, "anthropic", "claude-opus-5-5", u, true), 9000);
	assert_int_equal(cost(t, "anthropic", "claude-opus-5-1", u, true), 5000);
	prices_free(t);
	unlink(file);
	rmdir(sub);
	rmdir(dir);
}

static void a_file_that_is_named_must_be_there(void **state)
{
	struct prices *t;
	struct err err = {""};

	assert_int_equal(prices_new(&t), 0);
	assert_int_equal(prices_load(t, "/nonexistent/p", &err), -ENOENT);
	assert_string_equal(err.text, "/nonexistent/p: No such file or directory");
	prices_free(t);
}

static void what_is_shipped_can_be_read(void **state)
{
	const struct llm_usage u = {.input = 50000, .output = 100, .cache_read = 60000};
	struct prices *t;
	struct err err = {""};

	assert_int_equal(prices_new(&t), 0);
	if (prices_load(t, "packaging/prices.txt", &err))
		fail_msg("%s", err.text);
	assert_int_equal(cost(t, "anthropic", "claude-opus-4-20250514", u, true),
			 50000 * 15000ULL + 100 * 75000 + 60000 * 1500);
	assert_int_equal(cost(t, "anthropic", "claude-haiku-5-5", u, true),
			 50000 * 500 + 100 * 2500 + 60000 * 50);
	prices_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_of_token_has_its_price),
		cmocka_unit_test(cached_tokens_are_taken_out_where_input_holds_them),
		cmocka_unit_test(the_longest_model_wins_then_provider_then_the_later_line),
		cmocka_unit_test(long_prompts_have_their_own_line),
		cmocka_unit_test(a_dash_is_the_price_of_input),
		cmocka_unit_test(less_than_a_nano_dollar_is_rounded_down_and_too_much_saturates),
		cmocka_unit_test(comments_blank_lines_and_crlf_are_fine),
		cmocka_unit_test(a_wrong_line_is_named),
		cmocka_unit_test(the_users_file_is_read_behind_the_systems),
		cmocka_unit_test(a_file_that_is_named_must_be_there),
		cmocka_unit_test(what_is_shipped_can_be_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
