/* SPDX-License-Identifier: MIT */
#include "cmd/report.h"

#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/output.h"
#include "stats/text.h"

#define WIDTH_MIN    60
#define WIDTH_ENOUGH 400
#define FILE_MODE    0600 /* who runs what, and with which arguments, is in it */

static void warn(const char *sentence)
{
	log_warning("%s", sentence);
}

int report_read(char *const *paths, size_t n, struct stats **ret, struct stats_input *input)
{
	_cleanup_(stats_freep) struct stats *s = NULL;
	struct err e = {};
	int r = stats_new(&s);

	if (r == 0)
		r = stats_read(s, paths, n, input, &e);
	if (r < 0) {
		log_error("%s", e.text[0] ? log_safe(e.text) : strerror(-r));
		return EXIT_FAILED;
	}
	stats_text_input(input, warn);
	if (!input->used) {
		log_error("'%s'%s nothing that agentsight or denet writes", log_safe(paths[0]),
			  n > 1 ? " and the others hold" : " holds");
		return EXIT_FAILED;
	}
	*ret = TAKE_PTR(s);
	return 0;
}

static FILE *open_file(const char *path)
{
	struct err e = {};
	FILE *f;
	int fd;

	if (output_open(path, 0, true, FILE_MODE, &fd, &e) < 0) {
		log_error("%s", log_safe(e.text));
		return NULL;
	}
	/* there is nothing else to do than to wait for who reads a pipe */
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	f = fdopen(fd, "w");
	if (!f) {
		log_error("not enough memory");
		close(fd);
	}
	return f;
}

FILE *report_open(const struct options *o)
{
	return o->session.output ? open_file(o->session.output) : stdout;
}

int report_close(FILE *f, int status)
{
	bool failed = fflush(f) || ferror(f);

	if (f != stdout && fclose(f))
		failed = true;
	if (!failed)
		return status;
	log_error("cannot write all of it: %m");
	return EXIT_FAILED;
}

int report_write(const char *path, const struct buf *b)
{
	FILE *f;

	if (b->failed) {
		log_error("not enough memory");
		return EXIT_FAILED;
	}
	f = open_file(path);
	if (!f)
		return EXIT_FAILED;
	fwrite(b->data, 1, b->len, f);
	return report_close(f, 0);
}

unsigned report_width(FILE *f)
{
	struct winsize size;

	if (ioctl(fileno(f), TIOCGWINSZ, &size) < 0 || !size.ws_col)
		return WIDTH_ENOUGH;
	return MAX((unsigned)size.ws_col, (unsigned)WIDTH_MIN);
}
