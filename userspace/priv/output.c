/* SPDX-License-Identifier: MIT */
#include "priv/output.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/output.h"
#include "priv/priv.h"

/* What the user asked for; who asks the broker has no say in it. */
#define FILE_MODE 0600

static char allowed[PATH_MAX];
static unsigned int allowed_keep;

/* Of fixed size, and so without anything to parse. */
struct request {
	char path[PATH_MAX];
	uint32_t empty;
};

void priv_output_allow(const char *path, unsigned int keep)
{
	/* one that is longer cannot be opened either */
	if (strlen(path) < sizeof(allowed))
		strcpy(allowed, path);
	allowed_keep = keep;
}

/* ---- in the broker ---- */

static int serve_output(void *ctx, const struct peer_request *rq, struct peer_answer *ret)
{
	const struct request *want = rq->data;
	struct err e = {};
	int fd = -1, r;

	if (rq->len != sizeof(*want) || strnlen(want->path, PATH_MAX) == PATH_MAX || !*allowed ||
	    strcmp(want->path, allowed) != 0)
		return -EINVAL;
	if (rq->service == PRIV_OUTPUT_ROTATE)
		r = output_rotate(want->path, allowed_keep, &fd, &e);
	else
		r = output_open(want->path, 0, want->empty, FILE_MODE, &fd, &e);
	if (r < 0) {
		ret->len = strlen(e.text) + 1;
		memcpy(ret->data, e.text, ret->len);
		return r;
	}
	ret->fds[ret->n_fds++] = fd;
	return 0;
}

void priv_output_offer(void)
{
	priv_offer(PRIV_OUTPUT_OPEN, serve_output, NULL);
	priv_offer(PRIV_OUTPUT_ROTATE, serve_output, NULL);
}

/* ---- who asks ---- */

static int call(enum priv_service service, struct request *rq, const char *path, int *ret_fd,
		struct err *e)
{
	char text[sizeof(e->text)] = "";
	int r;

	if (snprintf(rq->path, sizeof(rq->path), "%s", path) >= (int)sizeof(rq->path))
		return err_set(e, -ENAMETOOLONG, "the name is too long");
	r = priv_call_fd(&(struct peer_request){.service = service, .data = rq, .len = sizeof(*rq)},
			 text, sizeof(text));
	if (r < 0)
		return err_set(e, r, "%.*s", (int)sizeof(text) - 1,
			       *text              ? text
			       : r == -ECONNRESET ? "the broker has ended"
						  : strerror(-r));
	*ret_fd = r;
	return 0;
}

int priv_output_open(const char *path, bool empty, int *ret_fd, struct err *e)
{
	struct request rq = {.empty = empty};

	if (!priv_is_split())
		return output_open(path, 0, empty, FILE_MODE, ret_fd, e);
	return call(PRIV_OUTPUT_OPEN, &rq, path, ret_fd, e);
}

int priv_output_rotate(const char *path, unsigned int keep, int *ret_fd, struct err *e)
{
	struct request rq = {};

	if (!priv_is_split())
		return output_rotate(path, keep, ret_fd, e);
	return call(PRIV_OUTPUT_ROTATE, &rq, path, ret_fd, e);
}
