/* SPDX-License-Identifier: MIT */
/* What the kernel may answer about sockets, in any bytes. The kernel aligns its answers, and so does this. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "source/sock_diag.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void take(void *ctx, const struct sock_fact *f)
{
	size_t *left = ctx;

	if (!f->inode || !(*left)--)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(freep) char *copy = malloc(size + !size);
	size_t left = size / 16; /* sockets for which there is a header */

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	sock_diag_parse(copy, size, take, &left);
	return 0;
}
