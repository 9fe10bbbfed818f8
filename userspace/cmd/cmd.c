/* SPDX-License-Identifier: MIT */
#include "cmd/cmd.h"

#include "base/cleanup.h"

#define SOURCES_ALL (SOURCE_PROCESS | SOURCE_FILES | SOURCE_NETWORK | SOURCE_TLS | SOURCE_SYSTEM)

const struct command commands[] = {
	{"record", "everything a program and all it starts do, into record.log",
	 "Records processes, files, connections, TLS plaintext, CPU and memory of the programs\n"
	 "that -c or -p name, or of a program it starts, and of all their descendants.",
	 " [-- PROGRAM [ARGUMENTS]]", CMD_RECORD, SOURCES_ALL, cmd_stream},
	{"trace", "the sources you name; --ssl --process when you name none",
	 "Streams events of the named sources as JSON lines, or readable on a terminal.",
	 " [-- PROGRAM [ARGUMENTS]]", CMD_TRACE, 0, cmd_stream},
	{"ssl", "plaintext at TLS library calls", "The same as trace --ssl.",
	 " [-- PROGRAM [ARGUMENTS]]", CMD_SSL, SOURCE_TLS, cmd_stream},
	{"process", "exec, fork and exit", "The same as trace --process.",
	 " [-- PROGRAM [ARGUMENTS]]", CMD_PROCESS, SOURCE_PROCESS, cmd_stream},
	{"network", "connections, every send and receive", "The same as trace --network.",
	 " [-- PROGRAM [ARGUMENTS]]", CMD_NETWORK, SOURCE_NETWORK, cmd_stream},
	{"files", "file operations", "The same as trace --files.", " [-- PROGRAM [ARGUMENTS]]",
	 CMD_FILES, SOURCE_FILES, cmd_stream},
	{"system", "CPU and memory samples; needs no root for your own processes",
	 "Samples the processes that -c or -p name, with their descendants; the machine when\n"
	 "none is named.",
	 " [-- PROGRAM [ARGUMENTS]]", CMD_SYSTEM, SOURCE_SYSTEM, cmd_stream},
	{"run", "start a command and sample it and all that it starts",
	 "Holds the command until everything is attached, lets it go, and samples CPU, memory, "
	 "disk\n"
	 "and network of its whole tree until it ends. Its output, terminal, signals and exit "
	 "status\n"
	 "stay its own; --output FILE or --json gets the events.",
	 " [--] COMMAND [ARGUMENTS]", CMD_RUN, SOURCE_SYSTEM | SOURCE_PROCESS | SOURCE_NETWORK,
	 cmd_run},
	{"attach", "the same for processes that run already",
	 "Samples the processes whose ids are given, and all that they start, until they end.",
	 " PID...", CMD_ATTACH, SOURCE_SYSTEM | SOURCE_PROCESS | SOURCE_NETWORK, cmd_run},
	{"doctor", "what this kernel and this user allow",
	 "Tries every hook and says what would be seen, how, at which cost, and what is missing.",
	 "", CMD_DOCTOR, 0, cmd_doctor},
	{"stats",
	 "what recordings say: means, quantiles, totals, peaks, phases; charts with --html",
	 "Reads recordings of agentsight or denet, also compressed (.gz, .zst), rotated files in\n"
	 "any order; '-' is standard input. Tells of each process and of all together what they "
	 "used.",
	 " FILE...", CMD_STATS, 0, cmd_stats},
	{"diff", "two recordings beside one another",
	 "Reads two recordings and tells what became more and what became less.", " A B", CMD_DIFF,
	 0, cmd_diff},
	{"schema", "the event types and their fields",
	 "Prints the event types from the program's own table: as text, as a page of\n"
	 "documentation (--markdown) or as JSON Schema (--json).",
	 "", CMD_SCHEMA, 0, cmd_schema},
};

const size_t n_commands = ARRAY_SIZE(commands);
