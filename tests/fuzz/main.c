/* SPDX-License-Identifier: MIT */
/*
 * Runs a fuzz target over the files and directories named on the command line: the corpus as a regression
 * test, without a fuzzing engine. Each input is handed over in a block of exactly its size, so that
 * AddressSanitizer sees a read behind it.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t input_count;

static int failed(const char *path, int r)
{
	fprintf(stderr, "%s: %s\n", path, strerror(-r));
	return r;
}

static int run_file(const char *path, size_t size)
{
	_cleanup_(freep) uint8_t *data = malloc(size ? size : 1);
	_cleanup_(fclosep) FILE *f = fopen(path, "re");

	if (!data)
		return failed(path, -ENOMEM);
	if (!f)
		return failed(path, -errno);
	if (fread(data, 1, size, f) != size)
		return failed(path, -EIO);

	LLVMFuzzerTestOneInput(data, size);
	input_count++;
	return 0;
}

static int run_path(const char *path);

static int run_dir(const char *path)
{
	_cleanup_(closedirp) DIR *dir = opendir(path);
	char child[PATH_MAX];
	struct dirent *entry;
	int r;

	if (!dir)
		return failed(path, -errno);

	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		if (snprintf(child, sizeof(child), "%s/%s", path, entry->d_name) >= PATH_MAX)
			return failed(path, -ENAMETOOLONG);
		r = run_path(child);
		if (r < 0)
			return r;
	}
	return 0;
}

static int run_path(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return failed(path, -errno);
	if (S_ISDIR(st.st_mode))
		return run_dir(path);
	return run_file(path, (size_t)st.st_size);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (run_path(argv[i]) < 0)
			return EXIT_FAILURE;

	printf("%zu inputs\n", input_count);
	return input_count ? EXIT_SUCCESS : EXIT_FAILURE;
}
