/* SPDX-License-Identifier: MIT */
/*
 * Verdicts of a public suite and ours. The suite is fetched beside the tree (tests/fuzz/fetch-corpora.sh);
 * AGENTSIGHT_CORPORA says where it lies.
 */
#include <dirent.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/utf8.h"
#include "base/value.h"

#define FILE_MAX ((size_t)1 << 20)

/* What has to be valid and is not to us. Deep nesting is one of the suite's own free choices. */
static const char *const exceptions[] = {NULL};

static bool is_excepted(const char *name)
{
	for (size_t i = 0; exceptions[i]; i++) {
		if (!strcmp(exceptions[i], name))
			return true;
	}
	return false;
}

/* JSON is also UTF-8, which this reader leaves to who copies from it. */
static bool accepts(const char *path)
{
	static char text[FILE_MAX];
	FILE *f = fopen(path, "re");
	size_t n = f ? fread(text, 1, sizeof(text), f) : 0;
	struct value v = value_at(text, n);

	if (f)
		fclose(f);
	return value_whole(v) && utf8_valid_prefix(text, n) == n;
}

/* y_: must be accepted, n_: must be refused, i_: either. */
static void json_is_what_the_suite_says(void **state)
{
	const char *corpora = getenv("AGENTSIGHT_CORPORA");
	size_t n[256] = {0}, wrong = 0, accepted = 0;
	char path[PATH_MAX];
	struct dirent *entry;
	DIR *dir;

	if (!corpora)
		skip();
	snprintf(path, sizeof(path), "%s/raw/json", corpora);
	dir = opendir(path);
	if (!dir)
		skip();
	while ((entry = readdir(dir))) {
		uint8_t verdict = (uint8_t)entry->d_name[0];
		bool good;

		if (verdict == '.')
			continue;
		snprintf(path, sizeof(path), "%s/raw/json/%s", corpora, entry->d_name);
		good = accepts(path);
		n[verdict]++;
		accepted += verdict == 'i' && good;
		if ((verdict != 'i' && good != (verdict == 'y')) && !is_excepted(entry->d_name)) {
			print_error("%s is %s\n", entry->d_name, good ? "accepted" : "refused");
			wrong++;
		}
	}
	closedir(dir);
	print_message("%zu accepted, %zu refused, of %zu that are free %zu accepted\n", n['y'],
		      n['n'], n['i'], accepted);
	assert_true(n['y'] > 90 && n['n'] > 180);
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(json_is_what_the_suite_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
