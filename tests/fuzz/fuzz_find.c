/* SPDX-License-Identifier: MIT */
/*
 * The finder: input that begins as an ELF file is searched, anything else is read as a cache file and as a
 * table of known executables.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "find/cache.h"
#include "find/find.h"
#include "find/table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int file_make(const char *name, const void *data, size_t size)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	return fd;
}

/* What a search says is in code, and is said in one way only. */
static void result_check(int r, const struct find_result *result)
{
	if ((r == 0) != (result->n > 0) || (r < 0 && !*result->reason))
		abort();
	for (size_t i = 0; i < result->n; i++) {
		if (result->sites[i].library >= result->n_libraries ||
		    result->sites[i].function >= N_FIND_FUNCTIONS ||
		    result->sites[i].shape >= N_FIND_SHAPES)
			abort();
	}
}

static void elf_search(const uint8_t *data, size_t size)
{
	int fd = file_make("fuzz", data, size);
	struct find_result result;

	result_check(find_functions(fd, NULL, &result), &result);
	find_result_done(&result);
	close(fd);
}

static void cache_read(const uint8_t *data, size_t size)
{
	static char directory[] = "/tmp/agentsight-fuzz-XXXXXX";
	static int self = -1;
	char path[128], head[256];
	struct find_options o = {.cache = directory};
	struct find_result result;
	struct stat st;
	FILE *f;

	if (self < 0) {
		/* A program of one segment, all of it code. */
		static const uint8_t program[256] = {
			0x7f,      'E',      'L',       'F',      2,         1,
			1,         [16] = 2, [18] = 62, [20] = 1, [32] = 64, [52] = 64,
			[54] = 56, [56] = 1, [64] = 1,  [68] = 5, [97] = 1,  [105] = 1,
		};

		self = file_make("program", program, sizeof(program));
		if (!mkdtemp(directory))
			abort();
	}
	if (fstat(self, &st) < 0)
		abort();
	snprintf(path, sizeof(path), "%s/%" PRIx64 "-%" PRIx64 ".txt", directory,
		 (uint64_t)st.st_dev, (uint64_t)st.st_ino);
	snprintf(head, sizeof(head),
		 "agentsight-find 3\nkey dev %" PRIu64 " ino %" PRIu64 " size 256 mtime %" PRId64
		 ".%09ld\n",
		 (uint64_t)st.st_dev, (uint64_t)st.st_ino, (int64_t)st.st_mtim.tv_sec,
		 st.st_mtim.tv_nsec);

	f = fopen(path, "w");
	if (!f)
		abort();
	fputs(head, f);
	fwrite(data, 1, size, f);
	fclose(f);
	result_check(find_functions(self, &o, &result), &result);
	find_result_done(&result);
}

static void table_read(const uint8_t *data, size_t size)
{
	int fd = file_make("table", data, size);
	struct find_table *table = NULL;
	char path[64];
	struct err e;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (find_table_new(&table) == 0)
		(void)find_table_load(table, path, &e);
	find_table_free(table);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > (1 << 20))
		return 0;
	if (size > 0 && data[0] == 0x7f) {
		elf_search(data, size);
		return 0;
	}
	cache_read(data, size);
	table_read(data, size);
	return 0;
}
