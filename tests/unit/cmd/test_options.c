/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "cmd/options.h"

#define ARGS_MAX 80

static struct options o;
static struct err e;
static char words[8192];
static char *argv[ARGS_MAX + 1];

/* Parses the arguments, which are separated by blanks; "''" is an empty one. */
static int parse(unsigned command, const char *line)
{
	int argc = 0;

	options_done(&o);
	o = (struct options){};
	e.text[0] = '\0';
	snprintf(words, sizeof(words), "%s", line);
	for (char *p = strtok(words, " "); p; p = strtok(NULL, " ")) {
		assert_true(argc < ARGS_MAX);
		argv[argc++] = strcmp(p, "''") ? p : p + 2;
	}
	argv[argc] = NULL;
	return options_parse(argc, argv, command, &o, &e);
}

static void ok(unsigned command, const char *line)
{
	if (parse(command, line) < 0)
		fail_msg("%s: %s", line, e.text);
}

static void refused(unsigned command, const char *line, const char *sentence)
{
	assert_int_equal(parse(command, line), -EINVAL);
	if (strcmp(e.text, sentence) != 0)
		fail_msg("%s: %s", line, e.text);
}

static int tear_down(void **state)
{
	options_done(&o);
	o = (struct options){};
	return 0;
}

static void nothing_is_nothing(void **state)
{
	ok(CMD_RECORD, "");
	assert_int_equal(o.session.sources, 0);
	assert_null(o.session.command);
}

/* ---- text and lists ---- */

static void names_are_a_list(void **state)
{
	static const char *const spellings[] = {"--comm a,bc",   "--comm=a,bc",   "-c a,bc",
						"-ca,bc",        "-c=a,bc",       "-c a -c bc",
						"--comm a -cbc", "-c a --comm=bc"};

	for (size_t i = 0; i < ARRAY_SIZE(spellings); i++) {
		ok(CMD_RECORD, spellings[i]);
		assert_int_equal(o.session.n_names, 2);
		assert_string_equal(o.session.names[0], "a");
		assert_string_equal(o.session.names[1], "bc");
	}
}

static void wrong_names_are_refused(void **state)
{
	static const char *const wrong[] = {"''", ",", "a,", ",a", "a,,b"};
	char line[200], sentence[300], text[65];

	memset(text, 'x', 64);
	text[64] = '\0';
	for (size_t i = 0; i <= ARRAY_SIZE(wrong); i++) {
		const char *name = i < ARRAY_SIZE(wrong) ? wrong[i] : text;

		snprintf(line, sizeof(line), "-c %s", name);
		snprintf(sentence, sizeof(sentence),
			 "--comm: '%s' is not NAME[,NAME...] with names of 1 to 63 bytes",
			 strcmp(name, "''") ? name : "");
		refused(CMD_TRACE, line, sentence);
	}
	text[63] = '\0';
	snprintf(line, sizeof(line), "-c %s", text);
	ok(CMD_TRACE, line);
}

static void names_are_64_at_most(void **state)
{
	char line[300] = "-c a";

	for (int i = 1; i < 64; i++)
		strcat(line, ",a");
	ok(CMD_TRACE, line);
	assert_int_equal(o.session.n_names, 64);
	refused(CMD_TRACE, strcat(line, ",a"), "--comm takes 64 names at most");
}

static void processes_are_a_list(void **state)
{
	ok(CMD_TRACE, "-p 1,4194304 --pid=77");
	assert_int_equal(o.session.n_pids, 3);
	assert_int_equal(o.session.pids[0], 1);
	assert_int_equal(o.session.pids[1], 4194304);
	assert_int_equal(o.session.pids[2], 77);
}

static void wrong_processes_are_refused(void **state)
{
	static const struct {
		const char *list, *said;
	} wrong[] = {
		{"''", "'' is not a process id"},
		{"1,", "'' is not a process id"},
		{",1", "'' is not a process id"},
		{"1,,2", "'' is not a process id"},
		{"-1", "'-1' is not a process id"},
		{"+1", "'+1' is not a process id"},
		{"7,x", "'x' is not a process id; names are for --comm"},
		{"0", "'0' is not a process id, which are 1 to 4194304"},
		{"1x", "'1x' is not a process id, which are 1 to 4194304"},
		{"1.5", "'1.5' is not a process id, which are 1 to 4194304"},
		{"0x10", "'0x10' is not a process id, which are 1 to 4194304"},
		{"4194305", "'4194305' is not a process id, which are 1 to 4194304"},
		{"99999999999999999999",
		 "'99999999999999999999' is not a process id, which are 1 to 4194304"},
	};
	char line[100];

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		snprintf(line, sizeof(line), "--pid %s", wrong[i].list);
		refused(CMD_TRACE, line, wrong[i].said);
	}
}

static void files_and_expressions_are_taken_as_they_are(void **state)
{
	ok(CMD_TRACE, "-o out.log --filter pid==1");
	assert_string_equal(o.session.output, "out.log");
	assert_string_equal(o.session.filter, "pid==1");
	ok(CMD_TRACE, "--output=a=b");
	assert_string_equal(o.session.output, "a=b");
	ok(CMD_TRACE, "--log-file x --output y");
	assert_string_equal(o.session.output, "y");
	ok(CMD_SSL, "--binary-path /usr/bin/node --binary-path=/opt/claude");
	assert_int_equal(o.session.n_binary_paths, 2);
	assert_string_equal(o.session.binary_paths[1], "/opt/claude");
	refused(CMD_TRACE, "-o ''", "--output: '' is not a name");
	refused(CMD_TRACE, "--filter=", "--filter: '' is not a name");
	refused(CMD_TRACE, "--binary-path=", "--binary-path: '' is not a file");
}

/* ---- switches ---- */

static void a_source_is_switched_by_its_bare_name_or_a_word(void **state)
{
	static const struct {
		const char *line;
		unsigned sources;
	} cases[] = {
		{"--ssl", SOURCE_TLS},
		{"--ssl --process --network --files --system",
		 SOURCE_TLS | SOURCE_PROCESS | SOURCE_NETWORK | SOURCE_FILES | SOURCE_SYSTEM},
		{"--ssl=true --process", SOURCE_TLS | SOURCE_PROCESS},
		{"--ssl true --process", SOURCE_TLS | SOURCE_PROCESS},
		{"--stdio", SOURCE_STDIO},
		{"--ssl=1 --files=yes", SOURCE_TLS | SOURCE_FILES},
		{"--ssl --ssl=false --process", SOURCE_PROCESS},
		{"--ssl --process --ssl false", SOURCE_PROCESS},
		{"--ssl --ssl=0 --files --files=no", 0},
		{"--ssl=false", 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		ok(CMD_TRACE, cases[i].line);
		assert_int_equal(o.session.sources & ~o.sources_off, cases[i].sources);
	}
}

static void what_an_option_tells_more_of_is_watched(void **state)
{
	static const struct {
		unsigned command, fixed;
		const char *line;
		unsigned sources;
		bool detail;
	} cases[] = {
		{CMD_TRACE, 0, "", SOURCE_TLS | SOURCE_PROCESS, false},
		{CMD_TRACE, 0, "--process", SOURCE_PROCESS, false},
		{CMD_TRACE, 0, "--process --syscalls", SOURCE_PROCESS | SOURCE_SYSTEM, false},
		{CMD_TRACE, 0, "--process --offcpu", SOURCE_PROCESS | SOURCE_SYSTEM, false},
		{CMD_TRACE, 0, "--process --threads", SOURCE_PROCESS | SOURCE_SYSTEM, false},
		{CMD_TRACE, 0, "--process --cpu-threshold 80", SOURCE_PROCESS | SOURCE_SYSTEM,
		 false},
		{CMD_TRACE, 0, "--ssl --memory-threshold 80", SOURCE_TLS | SOURCE_SYSTEM, false},
		{CMD_TRACE, 0, "--process --detail", SOURCE_PROCESS | SOURCE_SYSTEM, true},
		{CMD_TRACE, 0, "--process --gpu", SOURCE_PROCESS | SOURCE_SYSTEM, true},
		{CMD_TRACE, 0, "--process --env A", SOURCE_PROCESS | SOURCE_SYSTEM, true},
		{CMD_TRACE, 0, "--process --pressure", SOURCE_PROCESS | SOURCE_SYSTEM, true},
		{CMD_TRACE, 0, "--process --pss-interval 5", SOURCE_PROCESS | SOURCE_SYSTEM, true},
		{CMD_TRACE, 0, "--process --prices x", SOURCE_PROCESS | SOURCE_TLS, false},
		{CMD_TRACE, 0, "--files --binary-path x", SOURCE_FILES | SOURCE_TLS, false},
		{CMD_SYSTEM, SOURCE_SYSTEM, "--pressure", SOURCE_SYSTEM, true},
		{CMD_RECORD, SOURCE_SYSTEM | SOURCE_FILES, "--stdio --files=false",
		 SOURCE_SYSTEM | SOURCE_STDIO, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		ok(cases[i].command, cases[i].line);
		assert_int_equal(options_sources(&o, cases[i].fixed, &e), 0);
		assert_int_equal(o.session.sources, cases[i].sources);
		assert_int_equal(o.session.detail, cases[i].detail);
	}
}

static void what_is_switched_off_cannot_be_told_more_of(void **state)
{
	ok(CMD_RECORD, "--system=false --gpu");
	assert_int_equal(options_sources(&o, SOURCE_SYSTEM | SOURCE_TLS, &e), -EINVAL);
	assert_string_equal(e.text, "--gpu tells more of a source that is switched off");
	ok(CMD_RECORD, "--system=false --detail --prices x");
	assert_int_equal(options_sources(&o, SOURCE_SYSTEM | SOURCE_TLS, &e), -EINVAL);
	assert_string_equal(e.text, "--detail tells more of a source that is switched off");
	ok(CMD_TRACE, "--ssl=false --process --prices x");
	assert_int_equal(options_sources(&o, 0, &e), -EINVAL);
	assert_string_equal(e.text, "--prices tells more of a source that is switched off");
	ok(CMD_TRACE, "--ssl=false --process=false");
	assert_int_equal(options_sources(&o, 0, &e), -EINVAL);
	assert_non_null(strstr(e.text, "every source is switched off"));
}

static void a_wrong_word_at_a_switch_is_refused(void **state)
{
	refused(CMD_TRACE, "--ssl=maybe", "--ssl: 'maybe' is not true or false");
	refused(CMD_TRACE, "--ssl=", "--ssl: '' is not true or false");
	refused(CMD_TRACE, "--ssl=TRUE", "--ssl: 'TRUE' is not true or false");
	refused(CMD_TRACE, "--ssl maybe",
		"unexpected argument 'maybe'; a program to start goes behind '--'");
}

static void plain_switches_take_no_argument(void **state)
{
	ok(CMD_TRACE, "--no-children --no-redact --json --no-color -q -v -h");
	assert_true(o.session.no_children && o.session.no_redact && o.json && o.no_color);
	assert_true(o.quiet && o.verbose && o.help);
	ok(CMD_TRACE, "--quiet --verbose --help");
	assert_true(o.quiet && o.verbose && o.help);
	ok(CMD_SCHEMA, "--markdown");
	assert_true(o.markdown);
	refused(CMD_TRACE, "--json=true", "--json takes no argument");
	refused(CMD_TRACE, "--help=", "--help takes no argument");
	refused(CMD_TRACE, "--json true",
		"unexpected argument 'true'; a program to start goes behind '--'");
}

/* ---- numbers ---- */

static void seconds_may_be_fractions(void **state)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} cases[] = {
		{"2", 2 * NSEC_PER_SEC},
		{"0.5", NSEC_PER_SEC / 2},
		{".5", NSEC_PER_SEC / 2},
		{"1.", NSEC_PER_SEC},
		{"007", 7 * NSEC_PER_SEC},
		{"0.01", NSEC_PER_SEC / 100},
		{"0.123456789", 123456789},
		{"0.1234567899", 123456789},
		{"1000000000", 1000000000ULL * NSEC_PER_SEC},
	};
	char line[100];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		snprintf(line, sizeof(line), "--duration %s --interval=%s", cases[i].text,
			 cases[i].text);
		ok(CMD_SYSTEM, line);
		assert_int_equal(o.session.duration_ns, cases[i].ns);
		assert_int_equal(o.session.interval_ns, cases[i].ns);
	}
	ok(CMD_SYSTEM, "--system-interval 3");
	assert_int_equal(o.session.interval_ns, 3 * NSEC_PER_SEC);
	ok(CMD_SYSTEM, "-i4");
	assert_int_equal(o.session.interval_ns, 4 * NSEC_PER_SEC);
	ok(CMD_SYSTEM, "--duration 0.000000001");
	assert_int_equal(o.session.duration_ns, 1);
}

static const char *const no_numbers[] = {"''",
					 "-1",
					 "-0",
					 "+1",
					 "1e9",
					 "1e",
					 "nan",
					 "inf",
					 "0x10",
					 ".",
					 "..",
					 "1.2.3",
					 "1,5",
					 "1x",
					 "x",
					 "99999999999999999999999999",
					 "1000000001",
					 "4294967296.",
					 "18446744073709551617"};

static void refuse_all(unsigned command, const char *name, const char *expected)
{
	char line[100], sentence[300];

	for (size_t i = 0; i < ARRAY_SIZE(no_numbers); i++) {
		const char *text = strcmp(no_numbers[i], "''") ? no_numbers[i] : "";

		snprintf(line, sizeof(line), "--%s=%s", name, text);
		snprintf(sentence, sizeof(sentence), "--%s: '%s' is not %s", name, text, expected);
		refused(command, line, sentence);
		snprintf(line, sizeof(line), "--%s %s", name, no_numbers[i]);
		refused(command, line, sentence);
	}
	snprintf(line, sizeof(line), "--%s", name);
	assert_int_equal(parse(command, line), -EINVAL);
}

static void what_is_no_number_is_refused_everywhere(void **state)
{
	refuse_all(CMD_SYSTEM, "duration", "a number of seconds above 0, such as 2, 0.5 or 500ms");
	refuse_all(CMD_SYSTEM, "interval", "a number of seconds above 0, such as 2, 0.5 or 500ms");
	refuse_all(CMD_SYSTEM, "system-interval",
		   "a number of seconds above 0, such as 2, 0.5 or 500ms");
	refuse_all(CMD_SYSTEM, "cpu-threshold", "a percentage above 0 (100 is one core)");
	refuse_all(CMD_SYSTEM, "memory-threshold", "a number of megabytes above 0");
	refuse_all(CMD_SYSTEM, "rotate-size", "a whole number of megabytes above 0");
	refuse_all(CMD_SYSTEM, "queue-size", "a whole number of megabytes above 0");
	refuse_all(CMD_SYSTEM, "ring-size", "a whole number of megabytes above 0");
	refuse_all(CMD_SYSTEM, "rotate-keep", "a whole number from 0 to 10000");
}

static void nothing_is_too_little(void **state)
{
	refused(CMD_SYSTEM, "--duration 0",
		"--duration: '0' is not a number of seconds above 0, such as 2, 0.5 or 500ms");
	refused(CMD_SYSTEM, "--duration 0.0000000001",
		"--duration: '0.0000000001' is not a number of seconds above 0, such as 2, 0.5 or "
		"500ms");
	refused(CMD_SYSTEM, "--interval 0.009", "--interval: '0.009' is not 0.01 seconds or more");
	refused(CMD_SYSTEM, "--cpu-threshold 0.009",
		"--cpu-threshold: '0.009' is not a percentage above 0 (100 is one core)");
	refused(CMD_SYSTEM, "--memory-threshold 0",
		"--memory-threshold: '0' is not a number of megabytes above 0");
	refused(CMD_SYSTEM, "--rotate-size 0",
		"--rotate-size: '0' is not a whole number of megabytes above 0");
	refused(CMD_SYSTEM, "--rotate-keep 10001",
		"--rotate-keep: '10001' is not a whole number from 0 to 10000");
}

static void thresholds_are_exact(void **state)
{
	ok(CMD_SYSTEM, "--cpu-threshold 80 --memory-threshold 500");
	assert_int_equal(o.session.cpu_threshold_centi, 8000);
	assert_int_equal(o.session.memory_threshold_kb, 512000);
	ok(CMD_SYSTEM, "--cpu-threshold 0.01 --memory-threshold 0.5");
	assert_int_equal(o.session.cpu_threshold_centi, 1);
	assert_int_equal(o.session.memory_threshold_kb, 512);
	ok(CMD_SYSTEM, "--cpu-threshold 1000000 --memory-threshold 1000000000");
	assert_int_equal(o.session.cpu_threshold_centi, 100000000);
	assert_int_equal(o.session.memory_threshold_kb, 1024000000000);
}

static void sizes_are_in_megabytes(void **state)
{
	ok(CMD_TRACE, "--rotate-size 3 --rotate-keep 0 --queue-size 64 --ring-size 16");
	assert_int_equal(o.session.rotate_bytes, 3 << 20);
	assert_int_equal(o.session.rotate_keep, 0);
	assert_int_equal(o.session.queue_bytes, 64 << 20);
	assert_int_equal(o.session.ring_bytes, 16 << 20);
	ok(CMD_TRACE, "--ring-size 1024");
	assert_int_equal(o.session.ring_bytes, 1 << 30);
	refused(CMD_TRACE, "--ring-size 3",
		"--ring-size: '3' is not a power of two from 1 to 1024");
	refused(CMD_TRACE, "--ring-size 2048",
		"--ring-size: '2048' is not a power of two from 1 to 1024");
}

static void users_are_numbers(void **state)
{
	ok(CMD_TRACE, "-u 0");
	assert_true(o.session.by_uid);
	assert_int_equal(o.session.uid, 0);
	ok(CMD_TRACE, "--uid=4294967294");
	assert_int_equal(o.session.uid, 4294967294);
	refused(CMD_TRACE, "--uid 4294967295",
		"--uid: '4294967295' is not a numeric user id; `id -u NAME` prints it");
	refused(CMD_TRACE, "--uid root",
		"--uid: 'root' is not a numeric user id; `id -u NAME` prints it");
	refused(CMD_TRACE, "--uid -1",
		"--uid: '-1' is not a numeric user id; `id -u NAME` prints it");
}

/* ---- what is missing, unknown, or for another command ---- */

static void a_missing_argument_is_named(void **state)
{
	refused(CMD_TRACE, "--comm", "--comm needs NAME[,NAME]");
	refused(CMD_TRACE, "-c", "--comm needs NAME[,NAME]");
	refused(CMD_TRACE, "-q --output", "--output needs FILE");
	refused(CMD_RECORD, "-c -- claude", "--comm needs NAME[,NAME]");
}

static void an_unknown_option_is_named(void **state)
{
	static const char *const unknown[] = {"--sssl", "--ss", "-x",   "-qv",   "--comma",
					      "--=x",   "--c",  "-q=1", "--COMM"};

	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
		char sentence[100];

		snprintf(sentence, sizeof(sentence),
			 "unknown option '%s'; --help lists those of this command", unknown[i]);
		refused(CMD_TRACE, unknown[i], sentence);
	}
}

static void options_belong_to_their_commands(void **state)
{
	static const struct {
		unsigned command;
		const char *line;
	} cases[] = {
		{CMD_SYSTEM, "--ssl"},
		{CMD_SSL, "--process"},
		{CMD_RECORD, "--uid"},
		{CMD_DOCTOR, "--comm"},
		{CMD_PROCESS, "--interval"},
		{CMD_TRACE, "--markdown"},
		{CMD_NETWORK, "--binary-path"},
		{CMD_SCHEMA, "--output"},
		{CMD_DOCTOR, "-q"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(parse(cases[i].command, cases[i].line), -EINVAL);
		assert_memory_equal(e.text, "unknown option", 14);
	}
	ok(CMD_DOCTOR, "--json --verbose --no-color -h");
	ok(CMD_SCHEMA, "--json");
}

static void a_stray_argument_is_named(void **state)
{
	refused(CMD_TRACE, "claude",
		"unexpected argument 'claude'; a program to start goes behind '--'");
	refused(CMD_TRACE, "-q -", "unexpected argument '-'; a program to start goes behind '--'");
	refused(CMD_TRACE, "''", "unexpected argument ''; a program to start goes behind '--'");
}

/* ---- the command to start ---- */

static void behind_two_dashes_all_belongs_to_the_command(void **state)
{
	ok(CMD_RECORD, "-q -- claude -p --output x --");
	assert_ptr_equal(o.session.command, argv + 2);
	assert_string_equal(o.session.command[0], "claude");
	assert_string_equal(o.session.command[4], "--");
	assert_null(o.session.command[5]);
	assert_null(o.session.output);
	ok(CMD_TRACE, "--ssl -- false");
	assert_int_equal(o.session.sources, SOURCE_TLS);
	assert_string_equal(o.session.command[0], "false");
}

static void two_dashes_with_nothing_behind_are_refused(void **state)
{
	refused(CMD_RECORD, "--", "the program to start is missing after '--'");
	refused(CMD_RECORD, "-q --", "the program to start is missing after '--'");
	refused(CMD_DOCTOR, "-- ls", "this command starts no program");
	refused(CMD_SCHEMA, "-- ls", "this command starts no program");
	refused(CMD_ATTACH, "1234 -- ls", "this command starts no program");
}

static void variables_are_named_without_values(void **state)
{
	ok(CMD_RUN, "--env STAGE,LANG --env HOME true");
	assert_int_equal(o.session.n_env_names, 3);
	refused(CMD_RUN, "--env STAGE=prod true",
		"--env: 'STAGE=prod' is not NAME[,NAME...], without values");
	refused(CMD_RUN, "--env ,A true", "--env: ',A' is not NAME[,NAME...], without values");
}

static void what_tells_of_alerts_needs_one(void **state)
{
	static const char *const options[] = {"--exit-over", "--on-alert x", "--webhook http://x"};
	static const char *const alerts[] = {"--alert rss>1MB", "--cpu-threshold 5",
					     "--memory-threshold 5"};
	char line[100];

	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		snprintf(line, sizeof(line), "%s true", options[i]);
		ok(CMD_RUN, line);
		assert_int_equal(options_check(&o, CMD_RUN, &e), -EINVAL);
		assert_memory_equal(e.text, options[i], strcspn(options[i], " "));
		assert_non_null(strstr(e.text, "--alert '"));
		snprintf(line, sizeof(line), "%s %s true", alerts[i], options[i]);
		ok(CMD_RUN, line);
		assert_int_equal(options_check(&o, CMD_RUN, &e), 0);
	}
}

static void what_could_have_no_effect_is_refused(void **state)
{
	static const struct {
		unsigned command;
		const char *line;
		const char *refused; /* NULL: it is not */
	} rows[] = {
		{CMD_TRACE, "--rotate-size 1 --rotate-keep 3",
		 "--rotate-size needs a file: --output FILE"},
		{CMD_RUN, "--json --rotate-size 1 true",
		 "--rotate-size needs a file: --output FILE"},
		{CMD_SYSTEM, "-o x --rotate-keep 3", "--rotate-keep needs --rotate-size MB"},
		{CMD_RUN, "--write-env -o x true", "--write-env needs --format denet"},
		{CMD_ATTACH, "--write-env --format agentsight 1",
		 "--write-env needs --format denet"},
		{CMD_SCHEMA, "--json --markdown", "--markdown needs to stand without --json"},
		{CMD_SCHEMA, "--markdown", NULL},
		{CMD_RECORD, "--rotate-size 1 --rotate-keep 3 -c x", NULL},
		{CMD_TRACE, "--rotate-size 1 -o x", NULL},
		{CMD_RUN, "--rotate-size 1 --rotate-keep 0 --log-file x true", NULL},
		{CMD_RUN, "--write-env --format denet --json true", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		ok(rows[i].command, rows[i].line);
		assert_int_equal(options_check(&o, rows[i].command, &e),
				 rows[i].refused ? -EINVAL : 0);
		assert_string_equal(e.text, rows[i].refused ?: "");
	}
}

/* To be freed. */
static char *help_of(unsigned command)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	assert_non_null(f);
	options_help(f, command);
	fclose(f);
	return text;
}

static void the_help_has_each_option_of_the_command_once(void **state)
{
	char *text = help_of(CMD_DOCTOR);

	assert_non_null(strstr(text, "  -v, --verbose "));
	assert_non_null(strstr(text, "  -j, --json "));
	assert_null(strstr(text, "--comm"));
	free(text);

	text = help_of(CMD_TRACE);
	assert_non_null(strstr(text, "  -c, --comm NAME[,NAME] "));
	assert_non_null(strstr(text, "--ssl "));
	assert_null(strstr(text, "--markdown"));
	assert_non_null(strstr(text, "write JSON lines there"));
	free(text);

	text = help_of(CMD_STATS);
	assert_non_null(strstr(text, "  -o, --output FILE "));
	assert_null(strstr(text, "JSON lines"));
	free(text);
}

static void the_help_tells_what_json_means_to_the_command(void **state)
{
	static const char events[] = "events on standard output, or in the file if there is one; "
				     "no summary";
	static const struct {
		unsigned command;
		const char *help;
	} rows[] = {
		{CMD_RECORD, "JSON also on a terminal"},
		{CMD_SYSTEM, "JSON also on a terminal"},
		{CMD_RUN, events},
		{CMD_ATTACH, events},
		{CMD_STATS, "the answer as JSON"},
		{CMD_DOCTOR, "the answer as JSON"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char *text = help_of(rows[i].command), row[200];

		snprintf(row, sizeof(row), "  %-32s %s\n", "-j, --json", rows[i].help);
		assert_non_null(strstr(text, row));
		free(text);
	}
}

/* `run` and `attach` choose their own. */
static void the_help_names_the_defaults_of_the_command(void **state)
{
	static const struct {
		unsigned command;
		const char *ring, *pss;
	} defaults[] = {
		{CMD_RECORD, "(8)", "(never)"}, {CMD_TRACE, "(8)", "(never)"},
		{CMD_SYSTEM, "(8)", "(never)"}, {CMD_SSL, "(8)", NULL},
		{CMD_RUN, "(1)", "(5)"},        {CMD_ATTACH, "(1)", "(5)"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(defaults); i++) {
		char *text = help_of(defaults[i].command);
		size_t rings = 0, looks = 0;

		for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
			bool ring = strstr(line, "--ring-size "),
			     pss = strstr(line, "--pss-interval ");

			rings += ring;
			looks += pss;
			assert_true(!ring || strstr(line, defaults[i].ring));
			assert_true(!pss || strstr(line, defaults[i].pss));
		}
		assert_int_equal(rings, 1);
		assert_int_equal(looks, defaults[i].pss != NULL);
		free(text);
	}
}

#define TEST(f) cmocka_unit_test_teardown(f, tear_down)

static void the_command_is_the_first_word_that_is_no_option(void **state)
{
	char *behind_an_option[] = {"agentsight", "--json", "run", NULL};
	char *input[] = {"agentsight", "-", "run", NULL};

	assert_int_equal(options_command_index(3, behind_an_option), 2);
	/* "-" is a file, as an argument is */
	assert_int_equal(options_command_index(3, input), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_is_nothing),
		TEST(the_command_is_the_first_word_that_is_no_option),
		TEST(names_are_a_list),
		TEST(wrong_names_are_refused),
		TEST(names_are_64_at_most),
		TEST(processes_are_a_list),
		TEST(wrong_processes_are_refused),
		TEST(files_and_expressions_are_taken_as_they_are),
		TEST(a_source_is_switched_by_its_bare_name_or_a_word),
		TEST(what_an_option_tells_more_of_is_watched),
		TEST(what_is_switched_off_cannot_be_told_more_of),
		TEST(a_wrong_word_at_a_switch_is_refused),
		TEST(plain_switches_take_no_argument),
		TEST(seconds_may_be_fractions),
		TEST(what_is_no_number_is_refused_everywhere),
		TEST(nothing_is_too_little),
		TEST(thresholds_are_exact),
		TEST(sizes_are_in_megabytes),
		TEST(users_are_numbers),
		TEST(a_missing_argument_is_named),
		TEST(an_unknown_option_is_named),
		TEST(options_belong_to_their_commands),
		TEST(a_stray_argument_is_named),
		TEST(behind_two_dashes_all_belongs_to_the_command),
		TEST(two_dashes_with_nothing_behind_are_refused),
		TEST(variables_are_named_without_values),
		TEST(what_tells_of_alerts_needs_one),
		TEST(what_could_have_no_effect_is_refused),
		TEST(the_help_has_each_option_of_the_command_once),
		TEST(the_help_names_the_defaults_of_the_command),
		TEST(the_help_tells_what_json_means_to_the_command),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
