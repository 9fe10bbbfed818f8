/* SPDX-License-Identifier: MIT */
/* The command table, and what all commands share: options, colours, exit statuses. */
#include <errno.h>
#include <malloc.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/utf8.h"
#include "cmd/cmd.h"
#include "event/schema.h"
#include "priv/priv.h"

static void print_usage(FILE *f)
{
	fprintf(f, "agentsight - what is this agent really doing on my machine?\n\n"
		   "usage: agentsight COMMAND [OPTIONS]\n"
		   "       agentsight -h, --help | -V, --version\n\n");
	for (size_t i = 0; i < n_commands; i++)
		fprintf(f, "  %-10s %s\n", commands[i].name, commands[i].help);
	fprintf(f, "\nexamples:\n"
		   "  sudo agentsight record -c claude\n"
		   "  sudo agentsight record -- python3 agent.py\n"
		   "  sudo agentsight trace --ssl --process --system --comm python3 --output "
		   "trace.log\n"
		   "  agentsight system --comm python3 --interval 2\n\n"
		   "'agentsight COMMAND --help' lists the options of a command; agentsight(8) "
		   "tells all.\n");
}

static void print_command_usage(const struct command *c)
{
	printf("usage: agentsight %s [OPTIONS]%s\n\n%s\n\n", c->name, c->operands, c->about);
	options_help(stdout, c->bit);
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < n_commands; i++) {
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	}
	return NULL;
}

static bool colour_wanted(const struct options *o, int fd)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	return !o->no_color && !(no_color && *no_color) && isatty(fd) &&
	       !(term && !strcmp(term, "dumb"));
}

/* What main() changes of signals, as it was. */
static struct child_signals found_signals;

/* Options may stand before the command, which is argv[@at], as well as behind it. */
static int run_command(const struct command *c, int at, int argc, char **argv)
{
	_cleanup_(options_done) struct options o = {};
	struct err e = {};
	int r;

	o.session.argv = argv;
	o.session.argc = argc;
	o.session.signals = &found_signals;
	o.session.interval_ns = 2 * NSEC_PER_SEC;
	o.session.rotate_keep = 5;
	o.session.pace.mode = PACE_TIME;
	r = options_parse(at - 1, argv + 1, c->bit, &o, &e);
	if (r >= 0)
		r = options_parse(argc - at - 1, argv + at + 1, c->bit, &o, &e);
	if (r >= 0 && !o.help)
		r = options_check(&o, c->bit, &e);
	if (r < 0) {
		log_error("%s", e.text[0] ? log_safe(e.text) : strerror(-r));
		return r == -ENOMEM ? EXIT_FAILED : EXIT_USAGE;
	}
	if (o.help) {
		print_command_usage(c);
		return EXIT_ASKED;
	}
	o.session.colour_err = colour_wanted(&o, STDERR_FILENO);
	log_open();
	log_setup(o.verbose ? LOG_DEBUG : o.quiet ? LOG_ERROR : LOG_NOTICE, o.session.colour_err);
	o.session.colour = colour_wanted(&o, STDOUT_FILENO);
	o.session.quiet = o.quiet;

	if (schema_init() < 0) {
		log_error("not enough memory");
		return EXIT_FAILED;
	}
	r = c->run(c, &o);
	priv_end();
	return r;
}

/*
 * A standard descriptor that is closed would be given to the next file that is opened, which messages and events
 * would be written into. What stands there instead refuses the same: to be read as input, to be written as output.
 */
static void fill_standard_descriptors(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF &&
		    open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
			_exit(EXIT_FAILED);
	}
}

/* Whoever starts us may ignore or block it: then nobody could tell how the command ended. */
static void take_back_sigchld(struct child_signals *found)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	found->children_ignored = signal(SIGCHLD, SIG_DFL) == SIG_IGN;
	sigprocmask(SIG_UNBLOCK, &set, &found->blocked);
}

/*
 * The C library would raise it as large pieces come and go, and then cut these from the heap, where what lives longer
 * keeps their holes open: hours of that are megabytes.
 */
#define LARGE_PIECE (128 << 10)

int main(int argc, char **argv)
{
	const struct command *c;
	int at;

	mallopt(M_MMAP_THRESHOLD, LARGE_PIECE);

	fill_standard_descriptors();
	take_back_sigchld(&found_signals);
	utf8_look_at_locale();
	if (argc < 2) {
		print_usage(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		print_usage(stdout);
		return EXIT_ASKED;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		printf("agentsight %s\n", AGENTSIGHT_VERSION);
		return EXIT_ASKED;
	}
	at = options_command_index(argc, argv);
	c = find_command(argv[at]);
	if (!c) {
		log_error("unknown command '%s'; 'agentsight --help' lists them",
			  log_safe(argv[at]));
		return EXIT_USAGE;
	}
	return run_command(c, at, argc, argv);
}
