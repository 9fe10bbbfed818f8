/* SPDX-License-Identifier: MIT */
/* Any bytes may stand in a file of /proc: every parser survives them and writes nothing when it refuses. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "source/procfs.h"
#include "source/smaps.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_stat(const char *text, size_t n)
{
	struct procfs_stat st, before;

	memset(&st, 0x5a, sizeof(st));
	before = st;
	if (procfs_parse_stat(text, n, &st) < 0)
		must(!memcmp(&st, &before, sizeof(st)));
	else
		must(strnlen(st.comm, sizeof(st.comm)) < sizeof(st.comm));
}

static void check_script(const char *text, size_t n)
{
	char name[AS_NAME_LEN];

	procfs_parse_script(text, n, name);
	must(strnlen(name, sizeof(name)) < sizeof(name));
	must(!strchr(name, '/'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct procfs_memory memory;
	struct procfs_status status;
	struct smaps smaps;
	struct procfs_io io;
	uint64_t a, b, load[3];
	uint32_t uid;

	check_stat(text, size);
	check_script(text, size);
	procfs_parse_status_uid(text, size, &uid);
	procfs_parse_statm(text, size, &a, &b);
	procfs_parse_io(text, size, &io);
	procfs_parse_status(text, size, &status);
	procfs_parse_schedstat(text, size, &a, &b);
	smaps_parse(text, size, &smaps);
	procfs_parse_busy(text, size, &a);
	procfs_parse_meminfo(text, size, &memory);
	procfs_parse_loadavg(text, size, load);
	return 0;
}
