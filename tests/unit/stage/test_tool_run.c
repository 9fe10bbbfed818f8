/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/clock.h"
#include "event/encode.h"
#include "event/record.h"
#include "event/schema.h"
#include "stage/tool_run.h"

#define AGENT 100

static struct proc_table *procs;
static struct stage *stage;
static char said[16384]; /* the tool runs, as text */
static bool argv_cut;
static uint64_t now;

static void hear(struct emitter *self, const struct event *ev)
{
	const struct as_tool_run *r = (const void *)ev->rec;
	char *end = said + strlen(said);
	size_t room = said + sizeof(said) - end;

	if (ev->rec->type != AS_EV_TOOL_RUN)
		return;
#define TEXT(span) (int)r->span.len, record_bytes(ev->rec, &r->span)
	argv_cut = r->argv.full > r->argv.len;
	snprintf(end, room, "%s %.*s %.*s pid=%u %.*s %u%%", r->ended ? "end" : "start", TEXT(id),
		 TEXT(name), r->process, TEXT(evidence), r->confidence);
	if (r->ended)
		snprintf(end + strlen(end), room - strlen(end),
			 " n=%llu code=%d signal=%u files=%.*s peers=%.*s%s%s",
			 (unsigned long long)r->n_processes, r->exit_code, r->signal, TEXT(files),
			 TEXT(connections), r->reported ? " reported" : "",
			 r->is_error ? " error" : "");
	strncat(said, "\n", sizeof(said) - strlen(said) - 1);
#undef TEXT
}

static struct emitter out = {hear};

#define HEARD(...)                                      \
	do {                                            \
		assert_string_equal(said, __VA_ARGS__); \
		said[0] = '\0';                         \
	} while (0)

static int set_up(void **state)
{
	said[0] = '\0';
	now = 1000;
	if (schema_init() || proc_table_new(&procs))
		return -1;
	return tool_run_new(&out, procs, &stage);
}

static int tear_down(void **state)
{
	stage->free(stage);
	proc_table_free(procs);
	return 0;
}

static struct as_hdr who(unsigned type, uint32_t tgid, uint32_t ppid)
{
	return (struct as_hdr){.type = type,
			       .tgid = tgid,
			       .tid = tgid,
			       .ppid = ppid,
			       .start_ns = tgid * 1000ULL,
			       .boot_ns = now += 1000};
}

static void send(const struct as_hdr *rec)
{
	const struct event ev = {.rec = rec, .desc = schema_event(rec->type)};

	proc_table_event(procs, &ev);
	event_emit(&stage->in, &ev);
}

static void forks(uint32_t tgid, uint32_t child)
{
	struct as_fork f = {.h = who(AS_EV_FORK, tgid, 1),
			    .child_pid = child,
			    .child_start_ns = child * 1000ULL,
			    .child_ppid = tgid};

	f.h.len = sizeof(f);
	send(&f.h);
}

/* @argv and @env: words, each with a NUL behind it. */
static void execs(uint32_t tgid, uint32_t ppid, const char *argv, size_t argv_len, const char *env,
		  size_t env_len)
{
	struct as_hdr h = who(AS_EV_EXEC, tgid, ppid);
	struct as_span a, v;
	struct buf b = {};
	struct event ev;

	record_begin(&b, AS_EV_EXEC, &h);
	a = record_add(&b, argv, argv_len);
	v = record_add(&b, env, env_len);
	record_struct(&b, as_exec)->argv = a;
	record_struct(&b, as_exec)->env = v;
	assert_int_equal(record_end(&b, &ev), 0);
	send(ev.rec);
	buf_done(&b);
}

#define EXECS(tgid, ppid, argv)          execs(tgid, ppid, argv, sizeof(argv), "", 0)
#define EXECS_ENV(tgid, ppid, argv, env) execs(tgid, ppid, argv, sizeof(argv), env, sizeof(env))

/* Arguments of which the kernel side kept the beginning. */
static void execs_cut(uint32_t tgid, uint32_t ppid, const char *argv, uint32_t full)
{
	struct as_hdr h = who(AS_EV_EXEC, tgid, ppid);
	struct as_span a;
	struct buf b = {};
	struct event ev;

	record_begin(&b, AS_EV_EXEC, &h);
	a = record_add_str(&b, argv);
	a.full = full;
	record_struct(&b, as_exec)->argv = a;
	assert_int_equal(record_end(&b, &ev), 0);
	send(ev.rec);
	buf_done(&b);
}

static void ends(uint32_t tgid, unsigned code, unsigned signal)
{
	struct as_exit e = {.h = who(AS_EV_EXIT, tgid, 1), .exit_code = code, .signal = signal};

	e.h.len = sizeof(e);
	send(&e.h);
}

static void writes(uint32_t tgid, uint32_t ppid, const char *path, uint64_t bytes)
{
	struct as_hdr h = who(AS_EV_FILE_WRITE, tgid, ppid);
	struct as_span rel;
	struct buf b = {};
	struct event ev;

	record_begin(&b, AS_EV_FILE_WRITE, &h);
	rel = record_add_str(&b, path);
	record_struct(&b, as_file_io)->path.rel = rel;
	record_struct(&b, as_file_io)->bytes = bytes;
	assert_int_equal(record_end(&b, &ev), 0);
	send(ev.rec);
	buf_done(&b);
}

static void renames(uint32_t tgid, const char *path, const char *new_path, bool exchange)
{
	struct as_hdr h = who(AS_EV_FILE_RENAME, tgid, 1);
	struct as_span from, to;
	struct buf b = {};
	struct event ev;

	record_begin(&b, AS_EV_FILE_RENAME, &h);
	from = record_add_str(&b, path);
	to = record_add_str(&b, new_path);
	record_struct(&b, as_file_op)->path.rel = from;
	record_struct(&b, as_file_op)->new_path.rel = to;
	record_struct(&b, as_file_op)->exchange = exchange;
	assert_int_equal(record_end(&b, &ev), 0);
	send(ev.rec);
	buf_done(&b);
}

static void connects(uint32_t tgid, uint8_t last)
{
	struct as_connect c = {.h = who(AS_EV_CONNECT, tgid, 1),
			       .remote = {.ip = {[10] = 0xff, [11] = 0xff, 10, 0, 0, last},
					  .port = 443,
					  .family = 2}};

	c.h.len = sizeof(c);
	send(&c.h);
}

static void asks(const char *id, const char *name, const char *input, const char *session)
{
	const struct llm_tool_call call = {.id = id,
					   .name = name,
					   .input = input,
					   .input_len = strlen(input),
					   .session = session,
					   .who = who(0, AGENT, 1),
					   .boot_ns = now};
	const struct llm_listener *l = tool_run_listener(stage);

	l->tool_call(l->context, &call);
}

static void reports_of(const char *id, const char *name, bool is_error)
{
	const struct llm_tool_result result = {.id = id,
					       .name = name,
					       .is_error = is_error,
					       .who = who(0, AGENT, 1),
					       .boot_ns = now};
	const struct llm_listener *l = tool_run_listener(stage);

	l->tool_result(l->context, &result);
}

static void reports(const char *id, bool is_error)
{
	reports_of(id, "", is_error);
}

/* ---- tests ---- */

static void a_command_is_found_by_its_text_whatever_the_quoting(void **state)
{
	asks("t1", "Bash", "{\"command\":\"echo 'it is' \\\"me\\\" > /tmp/out\"}", "");
	forks(AGENT, 200);
	EXECS(200, AGENT,
	      "/bin/bash\0-c\0source x && eval 'echo '\\''it is'\\'' \"me\" > /tmp/out'");
	HEARD("start t1 Bash pid=200 [\"command_text\",\"ancestry\",\"time\"] 95%\n");
	writes(200, AGENT, "/tmp/out", 6);
	ends(200, 3, 0);
	reports("t1", true);
	HEARD("end t1 Bash pid=200 [\"command_text\",\"ancestry\",\"time\"] 95% n=1 code=3 "
	      "signal=0 "
	      "files=[{\"op\":\"write\",\"path\":\"/tmp/out\",\"bytes\":6}] peers= reported "
	      "error\n");
}

static void what_its_children_do_belongs_to_it(void **state)
{
	asks("t1", "Bash", "{\"command\":\"make all\"}", "");
	forks(AGENT, 200);
	EXECS(200, AGENT, "sh\0-c\0make all");
	forks(200, 201);
	EXECS(201, 200, "make\0all");
	forks(201, 202);
	ends(201, 0, 0);
	writes(202, 1, "/src/a.o", 10);
	writes(202, 1, "/src/a.o", 5);
	connects(202, 7);
	ends(202, 0, 0);
	ends(200, 0, 9);
	said[0] = '\0';
	reports("t1", false);
	HEARD("end t1 Bash pid=200 [\"command_text\",\"ancestry\",\"time\"] 95% n=3 code=-1 "
	      "signal=9 "
	      "files=[{\"op\":\"write\",\"path\":\"/src/a.o\",\"bytes\":15}] "
	      "peers=[{\"address\":\"10.0.0.7\",\"port\":443}] reported\n");
}

static void files_that_change_places_are_both_told(void **state)
{
	asks("t1", "Bash", "{\"command\":\"make all\"}", "");
	forks(AGENT, 200);
	EXECS(200, AGENT, "sh\0-c\0make all");
	renames(200, "/src/a", "/src/b", false);
	renames(200, "/src/c", "/src/d", true);
	ends(200, 0, 0);
	said[0] = '\0';
	reports("t1", false);
	HEARD("end t1 Bash pid=200 [\"command_text\",\"ancestry\",\"time\"] 95% n=1 code=0 "
	      "signal=0 files=[{\"op\":\"rename\",\"path\":\"/src/b\"},"
	      "{\"op\":\"rename\",\"path\":\"/src/c\"},{\"op\":\"rename\",\"path\":\"/src/d\"}] "
	      "peers= reported\n");
}

static void parallel_calls_are_told_apart_by_their_text(void **state)
{
	asks("t1", "Bash", "{\"command\":\"sleep 1111\"}", "");
	asks("t2", "Bash", "{\"command\":\"sleep 2222\"}", "");
	forks(AGENT, 201);
	forks(AGENT, 202);
	EXECS(202, AGENT, "bash\0-c\0sleep 2222");
	EXECS(201, AGENT, "bash\0-c\0sleep 1111");
	HEARD("start t2 Bash pid=202 [\"command_text\",\"ancestry\",\"time\"] 95%\n"
	      "start t1 Bash pid=201 [\"command_text\",\"ancestry\",\"time\"] 95%\n");
}

static void the_session_in_the_environment_is_evidence(void **state)
{
	asks("t1", "Bash", "{\"command\":\"true\"}", "user_x_session_abc-1");
	EXECS_ENV(200, AGENT, "bash\0-c\0true", "CLAUDECODE=1\0CLAUDE_CODE_SESSION_ID=abc-1");
	HEARD("start t1 Bash pid=200 [\"command_text\",\"environment\",\"ancestry\",\"time\"] "
	      "99%\n");
	asks("t2", "Bash", "{\"command\":\"run it\"}", "user_x_session_abc-1");
	EXECS_ENV(201, AGENT, "/opt/wrapper", "CLAUDE_CODE_SESSION_ID=abc-1");
	HEARD("start t2 Bash pid=201 [\"environment\",\"ancestry\",\"time\"] 80%\n");
	asks("t3", "Bash", "{\"command\":\"run more\"}", "user_x_session_abc-1");
	EXECS_ENV(202, AGENT, "/opt/wrapper", "CLAUDE_CODE_SESSION_ID=other");
	HEARD("start t3 Bash pid=202 [\"ancestry\",\"time\"] 60%\n");
}

static void the_call_itself_in_the_environment_is_certain(void **state)
{
	asks("call_7", "exec", "{\"cmd\":\"something else entirely\"}", "");
	asks("call_8", "exec", "{\"cmd\":\"another thing\"}", "");
	EXECS_ENV(200, AGENT, "/opt/wrapper", "CODEX_CI=1\0CODEX_TOOL_CALL_ID=call_8");
	HEARD("start call_8 exec pid=200 [\"call_id\",\"environment\",\"ancestry\",\"time\"] "
	      "100%\n");
}

static void a_certain_process_takes_the_place_of_a_likely_one(void **state)
{
	asks("t1", "Bash", "{\"command\":\"make all\"}", "");
	EXECS(200, AGENT, "zsh\0-c\0env");
	writes(200, AGENT, "/tmp/wrong", 1);
	HEARD("start t1 Bash pid=200 [\"ancestry\",\"time\"] 60%\n");
	EXECS(201, AGENT, "bash\0-c\0make all");
	HEARD("start t1 Bash pid=201 [\"command_text\",\"ancestry\",\"time\"] 95%\n");
	ends(200, 0, 0);
	ends(201, 2, 0);
	reports("t1", true);
	HEARD("end t1 Bash pid=201 [\"command_text\",\"ancestry\",\"time\"] 95% n=1 code=2 "
	      "signal=0 "
	      "files= peers= reported error\n");
}

static void the_program_that_a_wrapper_becomes_is_the_one_that_is_told(void **state)
{
	asks("call_7", "exec", "{\"cmd\":\"make all\"}", "");
	EXECS_ENV(200, AGENT, "/opt/wrapper\0--setup", "CODEX_TOOL_CALL_ID=call_7");
	HEARD("start call_7 exec pid=200 [\"call_id\",\"environment\",\"ancestry\",\"time\"] "
	      "100%\n");
	EXECS(200, AGENT, "bash\0-c\0make all");
	reports("call_7", false);
	ends(200, 0, 0);
	HEARD("end call_7 exec pid=200 [\"call_id\",\"command_text\",\"environment\",\"ancestry\","
	      "\"time\"] 100% n=1 code=0 signal=0 files= peers= reported\n");
}

static void what_is_no_descendant_is_never_linked(void **state)
{
	asks("t1", "Bash", "{\"command\":\"make all\"}", "");
	EXECS(300, 1, "sh\0-c\0make all");
	HEARD("");
	reports("t1", false);
	HEARD("end t1 Bash pid=0 [] 0% n=0 code=-1 signal=0 files= peers= reported\n");
}

static void other_programs_of_the_agent_are_not_linked_to_a_call_that_runs_nothing(void **state)
{
	asks("t1", "Read", "{\"file_path\":\"/etc/passwd\"}", "");
	EXECS(200, AGENT, "git\0status");
	HEARD("");
}

static void a_file_that_the_agent_changes_itself_is_found_by_its_path(void **state)
{
	asks("t1", "Write", "{\"file_path\":\"/src/a.c\",\"content\":\"int x;\"}", "");
	writes(AGENT, 1, "/src/other.c", 5);
	HEARD("");
	writes(AGENT, 1, "/src/a.c", 6);
	HEARD("start t1 Write pid=0 [\"path\",\"ancestry\",\"time\"] 90%\n");
	reports("t1", false);
	HEARD("end t1 Write pid=0 [\"path\",\"ancestry\",\"time\"] 90% n=0 code=-1 signal=0 "
	      "files=[{\"op\":\"write\",\"path\":\"/src/a.c\",\"bytes\":6}] peers= reported\n");
}

static void a_relative_path_is_the_end_of_the_absolute_one(void **state)
{
	asks("t1", "write_file", "{\"path\":\"a.c\"}", "");
	writes(AGENT, 1, "/src/aa.c", 6);
	HEARD("");
	writes(AGENT, 1, "/src/a.c", 6);
	HEARD("start t1 write_file pid=0 [\"path\",\"ancestry\",\"time\"] 90%\n");
}

static void a_program_that_was_started_before_the_call_was_told_is_found(void **state)
{
	EXECS(200, AGENT, "bash\0-lc\0ls -la /tmp");
	asks("c1", "shell", "{\"command\":[\"bash\",\"-lc\",\"ls -la /tmp\"]}", "");
	HEARD("start c1 shell pid=200 [\"command_text\",\"ancestry\",\"time\"] 95%\n");
}

static void work_in_the_background_ends_with_its_last_process(void **state)
{
	asks("t1", "Bash", "{\"command\":\"server --port 1\"}", "");
	EXECS(200, AGENT, "sh\0-c\0server --port 1");
	said[0] = '\0';
	reports("t1", false);
	HEARD("");
	ends(200, 0, 0);
	HEARD("end t1 Bash pid=200 [\"command_text\",\"ancestry\",\"time\"] 95% n=1 code=0 "
	      "signal=0 "
	      "files= peers= reported\n");
}

static void a_call_without_an_id_is_reported_by_its_name(void **state)
{
	asks("", "run_shell_command", "{\"command\":\"make\"}", "");
	reports("run_shell_command", false);
	reports_of("", "other", false);
	HEARD("");
	reports_of("7", "run_shell_command", false);
	HEARD("end  run_shell_command pid=0 [] 0% n=0 code=-1 signal=0 files= peers= reported\n");
}

/* Ollama numbers its calls; whether a client gives the number back, or the name, or both, is its own affair. */
static void a_report_without_the_calls_id_has_its_name(void **state)
{
	asks("call_1", "read_file", "{}", "");
	asks("call_2", "read_file", "{}", "");
	asks("call_3", "read_file", "{}", "");
	reports_of("", "other", false);
	HEARD("");
	reports_of("call_2", "read_file", false);
	HEARD("end call_2 read_file pid=0 [] 0% n=0 code=-1 signal=0 files= peers= reported\n");
	reports_of("", "read_file", false);
	HEARD("end call_1 read_file pid=0 [] 0% n=0 code=-1 signal=0 files= peers= reported\n");
	reports_of("call_9", "read_file", false);
	HEARD("");
	reports_of("call_3", "", false);
	HEARD("end call_3 read_file pid=0 [] 0% n=0 code=-1 signal=0 files= peers= reported\n");
}

static void the_run_ends_every_call(void **state)
{
	asks("t1", "Bash", "{\"command\":\"sleep 9\"}", "");
	asks("t2", "Weird", "[1,2", "");
	stage->finish(stage);
	HEARD("end t1 Bash pid=0 [] 0% n=0 code=-1 signal=0 files= peers=\n"
	      "end t2 Weird pid=0 [] 0% n=0 code=-1 signal=0 files= peers=\n");
}

static void nothing_of_a_call_that_is_over_is_told_of_a_later_one(void **state)
{
	asks("t1", "Bash", "{\"command\":\"make all\",\"path\":\"/old\"}", "session");
	forks(AGENT, 200);
	EXECS(200, AGENT, "sh\0-c\0make all");
	writes(200, AGENT, "/src/a.o", 10);
	connects(200, 7);
	ends(200, 0, 9);
	reports("t1", true);
	said[0] = '\0';
	asks("t2", "Read", "{}", "");
	forks(200, 201);
	writes(200, AGENT, "/src/b.o", 10);
	writes(AGENT, 1, "/old", 10);
	stage->finish(stage);
	HEARD("end t2 Read pid=0 [] 0% n=0 code=-1 signal=0 files= peers=\n");
}

static void many_calls_and_processes_stay_within_their_bounds(void **state)
{
	char id[16], command[64];

	for (int i = 0; i < TOOL_RUN_CALLS + 10; i++) {
		snprintf(id, sizeof(id), "t%d", i);
		snprintf(command, sizeof(command), "{\"command\":\"job %d\"}", i);
		asks(id, "Bash", command, "");
	}
	assert_int_equal(tool_run_counts(stage)->forgotten, 10);
	EXECS(200, AGENT, "sh\0-c\0job 265");
	for (uint32_t i = 0; i < TOOL_RUN_PROCESSES + 10; i++)
		forks(200, 1000 + i);
	assert_int_equal(tool_run_counts(stage)->untracked, 11);
	for (int i = 0; i < 2 * TOOL_RUN_LISTED; i++) {
		snprintf(id, sizeof(id), "/f%d", i);
		writes(200, AGENT, id, 1);
		connects(200, i);
	}
	stage->finish(stage);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

static void the_text_of_a_call_takes_a_process_from_one_that_was_only_likely(void **state)
{
	asks("A", "Bash", "{\"command\":\"make all-of-it\"}", "");
	asks("B", "Bash", "{\"command\":\"pytest the-tests\"}", "");
	forks(AGENT, 200);
	EXECS(200, AGENT, "/bin/wrapper\0--go");
	HEARD("start A Bash pid=200 [\"ancestry\",\"time\"] 30%\n");
	EXECS(200, AGENT, "sh\0-c\0pytest the-tests");
	HEARD("start B Bash pid=200 [\"command_text\",\"ancestry\",\"time\"] 95%\n");
	ends(200, 3, 0);
	reports("B", false);
	HEARD("end B Bash pid=200 [\"command_text\",\"ancestry\",\"time\"] 95% n=1 code=3 signal=0 "
	      "files= peers= reported\n");
	reports("A", false);
	HEARD("end A Bash pid=0 [] 0% n=0 code=-1 signal=0 files= peers= reported\n");
}

static void a_process_that_one_call_has_is_not_another_ones_by_time(void **state)
{
	asks("A", "Bash", "{\"command\":\"make all-of-it\"}", "");
	asks("B", "Bash", "{\"command\":\"pytest the-tests\"}", "");
	forks(AGENT, 200);
	EXECS(200, AGENT, "/bin/wrapper\0--go");
	EXECS(200, AGENT, "/bin/wrapper\0--further");
	HEARD("start A Bash pid=200 [\"ancestry\",\"time\"] 30%\n");
}

static void a_call_whose_process_ended_before_it_was_told_is_over_with_its_report(void **state)
{
	forks(AGENT, 200);
	EXECS(200, AGENT, "sh\0-c\0pytest the-tests");
	ends(200, 3, 0);
	asks("B", "Bash", "{\"command\":\"pytest the-tests\"}", "");
	HEARD("start B Bash pid=200 [\"command_text\",\"ancestry\",\"time\"] 95%\n");
	reports("B", false);
	HEARD("end B Bash pid=200 [\"command_text\",\"ancestry\",\"time\"] 95% n=1 code=3 signal=0 "
	      "files= peers= reported\n");
}

static void arguments_that_are_not_kept_whole_are_told_as_cut(void **state)
{
	static char argv[100 * 1000];

	memset(argv, 'x', sizeof(argv));
	memcpy(argv, "sh\0-c\0pytest the-tests;", 24);
	asks("B", "Bash", "{\"command\":\"pytest the-tests\"}", "");
	execs(200, AGENT, argv, sizeof(argv), "", 0);
	HEARD("start B Bash pid=200 [\"command_text\",\"ancestry\",\"time\"] 95%\n");
	assert_true(argv_cut);
	EXECS(200, AGENT, "sh\0-c\0pytest the-tests");
	ends(200, 0, 0);
	reports("B", false);
	assert_false(argv_cut);
}

/* What the wrapper runs begins as the call does, and is another program. */
static void a_program_is_not_the_beginning_of_a_longer_command(void **state)
{
	asks("t1", "Bash", "{\"command\":\"node build.js && node test.js\"}", "");
	EXECS(200, AGENT, "node");
	HEARD("start t1 Bash pid=200 [\"ancestry\",\"time\"] 60%\n");
	EXECS(201, AGENT, "bash\0-c\0node build.js && node test.js");
	HEARD("start t1 Bash pid=201 [\"command_text\",\"ancestry\",\"time\"] 95%\n");
}

static void arguments_that_are_cut_within_the_command_are_known_by_its_beginning(void **state)
{
	asks("t1", "Bash", "{\"command\":\"cat > /tmp/notes << EOF\"}", "");
	execs_cut(200, AGENT, "cat > /tmp/no", 1000);
	HEARD("start t1 Bash pid=200 [\"command_text\",\"ancestry\",\"time\"] 95%\n");
}

static void a_process_is_that_of_the_call_that_runs_something(void **state)
{
	asks("t1", "Read", "{\"file_path\":\"/repo/src/main.c\"}", "");
	asks("t2", "Bash", "{\"command\":\"gcc -c /repo/src/main.c\"}", "");
	EXECS(200, AGENT, "bash\0-c\0gcc -c /repo/src/main.c");
	HEARD("start t2 Bash pid=200 [\"command_text\",\"ancestry\",\"time\"] 95%\n");
}

static void a_command_that_is_part_of_another_has_its_own_process(void **state)
{
	asks("t1", "Bash", "{\"command\":\"git status\"}", "");
	asks("t2", "Bash", "{\"command\":\"cd /repo && git status && git diff\"}", "");
	EXECS(200, AGENT, "bash\0-c\0git status");
	EXECS(201, AGENT, "bash\0-c\0cd /repo && git status && git diff");
	HEARD("start t1 Bash pid=200 [\"command_text\",\"ancestry\",\"time\"] 95%\n"
	      "start t2 Bash pid=201 [\"command_text\",\"ancestry\",\"time\"] 95%\n");
	ends(200, 0, 0);
	ends(201, 1, 0);
	reports("t1", false);
	reports("t2", true);
	HEARD("end t1 Bash pid=200 [\"command_text\",\"ancestry\",\"time\"] 95% n=1 code=0 "
	      "signal=0 files= peers= reported\n"
	      "end t2 Bash pid=201 [\"command_text\",\"ancestry\",\"time\"] 95% n=1 code=1 "
	      "signal=0 files= peers= reported error\n");
}

static void the_longest_text_that_a_process_has_decides(void **state)
{
	asks("t1", "Bash", "{\"command\":\"git status\"}", "");
	asks("t2", "Bash", "{\"command\":\"cd /repo && git status && git diff\"}", "");
	EXECS(201, AGENT, "bash\0-c\0cd /repo && git status && git diff");
	EXECS(200, AGENT, "bash\0-c\0git status");
	HEARD("start t2 Bash pid=201 [\"command_text\",\"ancestry\",\"time\"] 95%\n"
	      "start t1 Bash pid=200 [\"command_text\",\"ancestry\",\"time\"] 95%\n");
}

/* A process that a call only seems to have does not count as its own. */
static void a_likely_process_does_not_keep_a_call_from_the_one_with_its_text(void **state)
{
	asks("t1", "Bash", "{\"command\":\"cd /repo && git status && git diff\"}", "");
	asks("t2", "Bash", "{\"command\":\"git status\"}", "");
	EXECS(200, AGENT, "/bin/wrapper\0--go");
	HEARD("start t1 Bash pid=200 [\"ancestry\",\"time\"] 30%\n");
	EXECS(200, AGENT, "bash\0-c\0cd /repo && git status && git diff");
	HEARD("start t1 Bash pid=200 [\"command_text\",\"ancestry\",\"time\"] 95%\n");
}

static void of_two_equal_calls_each_has_a_process(void **state)
{
	asks("t1", "Bash", "{\"command\":\"npm test\"}", "");
	asks("t2", "Bash", "{\"command\":\"npm test\"}", "");
	EXECS(200, AGENT, "bash\0-c\0npm test");
	EXECS(201, AGENT, "bash\0-c\0npm test");
	HEARD("start t1 Bash pid=200 [\"command_text\",\"ancestry\",\"time\"] 70%\n"
	      "start t2 Bash pid=201 [\"command_text\",\"ancestry\",\"time\"] 95%\n");
}

static void the_call_in_the_environment_outweighs_the_text_of_another(void **state)
{
	asks("call_7", "exec", "{\"cmd\":\"npm test\"}", "");
	asks("call_8", "exec", "{\"cmd\":\"another thing\"}", "");
	EXECS_ENV(200, AGENT, "bash\0-c\0npm test", "CODEX_TOOL_CALL_ID=call_8");
	HEARD("start call_8 exec pid=200 [\"call_id\",\"environment\",\"ancestry\",\"time\"] "
	      "100%\n");
}

static void a_member_that_is_no_path_names_no_file(void **state)
{
	char input[3 * PATH_MAX], path[2 * PATH_MAX];

	memset(path, 'a', sizeof(path));
	path[0] = '/';
	path[PATH_MAX - 1] = '\0';
	snprintf(input, sizeof(input), "{\"file_path\":\"%s\"}", path);
	asks("t1", "Write", input, "");
	writes(AGENT, 1, path, 7);
	assert_non_null(strstr(said, "start t1 Write pid=0 [\"path\""));
	path[PATH_MAX - 1] = 'a';
	path[sizeof(path) - 1] = '\0';
	snprintf(input, sizeof(input), "{\"file_path\":\"%s\"}", path);
	said[0] = '\0';
	asks("t2", "Write", input, "");
	writes(AGENT, 1, path, 7);
	HEARD("");
}

/* As many as are kept, with texts that agree for long with what every program is given. */
static void what_a_model_says_does_not_hold_up_the_programs(void **state)
{
	static char input[8 * 300], argv[64 * 1024];
	uint64_t since;

	memset(argv, 'a', sizeof(argv));
	for (size_t k = 0; k < 8; k++)
		snprintf(input + strlen(input), sizeof(input) - strlen(input),
			 "%c\"k%zu\":\"%0*d%s", k ? ',' : '{', k, 250, 0, k < 7 ? "b\"" : "b\"}");
	for (char *p = input; *p; p++)
		*p = *p == '0' && p[1] != '"' ? 'a' : *p;
	for (size_t i = 0; i < TOOL_RUN_CALLS; i++) {
		char id[16];

		snprintf(id, sizeof(id), "t%zu", i);
		asks(id, "Bash", input, "");
	}
	forks(AGENT, 200);
	since = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	execs(200, AGENT, argv, sizeof(argv), "", 0);
	/* 4 ms, where it was 500 */
	assert_true(clock_ns(CLOCK_THREAD_CPUTIME_ID) - since < 100 * NSEC_PER_MSEC);
	HEARD("");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_command_is_found_by_its_text_whatever_the_quoting),
		TEST(what_its_children_do_belongs_to_it),
		TEST(files_that_change_places_are_both_told),
		TEST(parallel_calls_are_told_apart_by_their_text),
		TEST(the_session_in_the_environment_is_evidence),
		TEST(the_call_itself_in_the_environment_is_certain),
		TEST(a_certain_process_takes_the_place_of_a_likely_one),
		TEST(the_program_that_a_wrapper_becomes_is_the_one_that_is_told),
		TEST(what_is_no_descendant_is_never_linked),
		TEST(other_programs_of_the_agent_are_not_linked_to_a_call_that_runs_nothing),
		TEST(a_file_that_the_agent_changes_itself_is_found_by_its_path),
		TEST(a_relative_path_is_the_end_of_the_absolute_one),
		TEST(a_program_that_was_started_before_the_call_was_told_is_found),
		TEST(work_in_the_background_ends_with_its_last_process),
		TEST(a_call_without_an_id_is_reported_by_its_name),
		TEST(a_report_without_the_calls_id_has_its_name),
		TEST(the_run_ends_every_call),
		TEST(nothing_of_a_call_that_is_over_is_told_of_a_later_one),
		TEST(many_calls_and_processes_stay_within_their_bounds),
		TEST(the_text_of_a_call_takes_a_process_from_one_that_was_only_likely),
		TEST(a_process_that_one_call_has_is_not_another_ones_by_time),
		TEST(a_call_whose_process_ended_before_it_was_told_is_over_with_its_report),
		TEST(arguments_that_are_not_kept_whole_are_told_as_cut),
		TEST(a_program_is_not_the_beginning_of_a_longer_command),
		TEST(arguments_that_are_cut_within_the_command_are_known_by_its_beginning),
		TEST(a_process_is_that_of_the_call_that_runs_something),
		TEST(a_command_that_is_part_of_another_has_its_own_process),
		TEST(the_longest_text_that_a_process_has_decides),
		TEST(a_likely_process_does_not_keep_a_call_from_the_one_with_its_text),
		TEST(of_two_equal_calls_each_has_a_process),
		TEST(the_call_in_the_environment_outweighs_the_text_of_another),
		TEST(a_member_that_is_no_path_names_no_file),
		TEST(what_a_model_says_does_not_hold_up_the_programs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
