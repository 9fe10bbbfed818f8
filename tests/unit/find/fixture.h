/* SPDX-License-Identifier: MIT */
/* Small programs, compiled by the tests that search them. */
#ifndef TESTS_UNIT_FIND_FIXTURE_H
#define TESTS_UNIT_FIND_FIXTURE_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * Compiles C source with these flags and gives a descriptor of the stripped program; -1 when there is no
 * compiler or it refuses.
 */
static inline int fixture_build(const char *source, const char *flags)
{
	char directory[] = "/tmp/agentsight-find-XXXXXX", path[64], command[1024];
	int fd = -1;
	FILE *f;

	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/p.c", directory);
	f = fopen(path, "w");
	if (f) {
		fputs(source, f);
		fclose(f);
		snprintf(command, sizeof(command),
			 "cd %s && cc -w -O2 -nostdlib -fno-builtin -fno-stack-protector "
			 "-fno-ipa-icf "
			 "-fno-toplevel-reorder -Wl,--build-id=sha1 -s %s -o p p.c 2>log",
			 directory, flags);
		if (system(command) == 0) {
			snprintf(path, sizeof(path), "%s/p", directory);
			fd = open(path, O_RDONLY | O_CLOEXEC);
		}
	}
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	if (system(command) != 0)
		fprintf(stderr, "cannot remove %s\n", directory);
	return fd;
}

/* What stands at a file offset, for comparing with the `marks` that fixtures put into their functions. */
static inline unsigned int fixture_mark(int fd, unsigned long offset)
{
	unsigned char code[64] = {};

	if (pread(fd, code, sizeof(code), (off_t)offset) < 16)
		return 0;
	/* nopl 0x…(%rax): 0f 1f 80 and the mark */
	for (size_t i = 0; i + 7 <= sizeof(code); i++) {
		unsigned int mark;

		if (memcmp(code + i, "\x0f\x1f\x80", 3) != 0)
			continue;
		memcpy(&mark, code + i + 3, sizeof(mark));
		return mark;
	}
	return 0;
}

#endif
