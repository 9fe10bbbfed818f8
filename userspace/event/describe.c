/* SPDX-License-Identifier: MIT */
#include "event/describe.h"

#include <stdbool.h>
#include <string.h>

#include "base/cleanup.h"
#include "event/schema.h"

#define TEXT   "\"type\":\"string\""
#define NUMBER "\"type\":\"integer\",\"minimum\":0"
#define ADDRESS                                                                        \
	"\"type\":\"object\",\"properties\":{\"address\":{" TEXT "},\"port\":{" NUMBER \
	",\"maximum\":65535}},\"required\":[\"address\",\"port\"],\"additionalProperties\":false"

/* What a kind looks like: in a word, and as a schema. NULL: not shown. */
static const struct {
	const char *word;
	const char *schema;
} kinds[AS_KIND_COUNT] = {
	[AS_KIND_U32] = {"integer", NUMBER},
	[AS_KIND_U64] = {"integer", NUMBER},
	[AS_KIND_KNOWN] = {"integer", NUMBER},
	[AS_KIND_S64] = {"integer", "\"type\":\"integer\""},
	[AS_KIND_BOOL] = {"boolean", "\"type\":\"boolean\""},
	[AS_KIND_DUR] = {"integer, ns", NUMBER},
	[AS_KIND_PID] = {"integer, pid", NUMBER},
	[AS_KIND_FD] = {"integer", NUMBER},
	[AS_KIND_ERRNO] = {"string, errno name", TEXT ",\"pattern\":\"^(E[A-Z0-9]+|-?[0-9]+)$\""},
	[AS_KIND_MODE] = {"string, octal", TEXT ",\"pattern\":\"^0[0-7]+$\""},
	[AS_KIND_FLAGS] = {"array of strings", "\"type\":\"array\",\"items\":{" TEXT "}"},
	[AS_KIND_ENUM] = {"string", TEXT},
	[AS_KIND_CENTI] = {"number", "\"type\":\"number\",\"minimum\":0"},
	[AS_KIND_SCENTI] = {"number", "\"type\":\"number\""},
	[AS_KIND_CENTI_TEXT] = {"string, two decimals",
				TEXT ",\"pattern\":\"^[0-9]+\\\\.[0-9]{2}$\""},
	[AS_KIND_ADDR] = {"object {address, port}", ADDRESS},
	[AS_KIND_CONN] = {"object {local, remote}",
			  "\"type\":\"object\",\"properties\":{\"local\":{" ADDRESS
			  "},\"remote\":{" ADDRESS
			  "}},\"required\":[\"local\",\"remote\"],\"additionalProperties\":false"},
	[AS_KIND_PATH] = {"string, path", TEXT},
	[AS_KIND_STR] = {"string", TEXT},
	[AS_KIND_ARGV] = {"array of strings", "\"type\":\"array\",\"items\":{" TEXT "}"},
	[AS_KIND_PAYLOAD] = {"string, or base64 beside it", TEXT},
	/* an object, a list, or a text where a member may be either */
	[AS_KIND_JSON] = {"JSON", "\"type\":[\"object\",\"array\",\"string\"]"},
	[AS_KIND_HDR_TGID] = {"integer, pid", NUMBER},
	[AS_KIND_HDR_PPID] = {"integer, pid", NUMBER},
	[AS_KIND_HDR_UID] = {"integer, uid", NUMBER},
	[AS_KIND_HDR_COMM] = {"string", TEXT},
	[AS_KIND_UNIX_NS] = {"integer, ns since the epoch", NUMBER},
	[AS_KIND_LABEL] = {"string", TEXT},
};

static bool shown(const struct field_desc *f)
{
	return f->path[0] && kinds[f->kind].word;
}

/* May the value be cut short, and may it be something else than text? */
static bool can_be_cut(const struct field_desc *f)
{
	return f->kind == AS_KIND_PATH || f->kind == AS_KIND_STR || f->kind == AS_KIND_ARGV ||
	       f->kind == AS_KIND_PAYLOAD || f->kind == AS_KIND_LABEL ||
	       f->kind == AS_KIND_HDR_COMM;
}

void describe_text(FILE *f)
{
	for (unsigned type = 1; type < AS_EV_COUNT; type++) {
		const struct event_desc *d = schema_event(type);

		if (d->internal)
			continue;
		fprintf(f, "%s%s.%s - %s\n", type > 1 ? "\n" : "", d->source, d->name, d->help);
		for (size_t i = 0; i < d->n_fields; i++) {
			const struct field_desc *fd = &d->fields[i];

			if (shown(fd))
				fprintf(f, "  %-22s %-28s %s%s\n", fd->path, kinds[fd->kind].word,
					fd->help, fd->can_be_absent ? " (when known)" : "");
		}
	}
}

static const char preamble[] =
	"# Events\n\n"
	"Printed by `agentsight schema --markdown` from the program's own table\n"
	"(`include/agentsight/events.h`); do not edit.\n\n"
	"One event is one JSON object on one line, in valid UTF-8, with its keys in a fixed "
	"order.\n\n"
	"| key | type | meaning |\n|---|---|---|\n"
	"| `timestamp` | integer | nanoseconds since the epoch; for kernel events taken in the "
	"kernel |\n"
	"| `source` | string | who saw it |\n"
	"| `pid` | integer | process (thread group) in the host's PID namespace; 0 for the machine "
	"|\n"
	"| `comm` | string | name of the process at that moment |\n"
	"| `tid`, `ppid`, `uid` | integer | thread, parent, real user; left out for the machine |\n"
	"| `exec_id` | string | pid and start time: a reused pid is another process |\n"
	"| `data` | object | `type` and the fields of that type |\n\n"
	"Text that is not UTF-8 has U+FFFD for each bad part, and `<field>_base64` beside it holds "
	"the\n"
	"exact bytes. What was cut carries `truncated: true` and `<field>_length`, the length it "
	"had.\n"
	"`redacted: true` says that a secret was overwritten with `*` (in a field of JSON a "
	"number\n"
	"becomes a string as long as it was, `\"password\":\"****\"`, one of a single digit `0`);\n"
	"`inferred: true` that the owner was derived rather than seen.\n\n"
	"Lines come in the order of time. Those that do not are counted in `stop` as `late`: what\n"
	"is told only when more is known, with the time at which it happened (a `response` of\n"
	"`llm` that its connection's end cut off comes two seconds later), and what a program "
	"that\n"
	"had to wait for its processor for long could not tell in time.\n\n"
	"For every run, `stop` states the ledger: produced = delivered + dropped + missed + "
	"filtered +\n"
	"shed, with a difference of 0. A loss is a `loss` event when it happens.\n";

void describe_markdown(FILE *f)
{
	const char *source = "";

	fputs(preamble, f);
	for (unsigned type = 1; type < AS_EV_COUNT; type++) {
		const struct event_desc *d = schema_event(type);

		if (d->internal)
			continue;
		if (strcmp(source, d->source))
			fprintf(f, "\n## %s\n", d->source);
		source = d->source;
		fprintf(f, "\n### `%s`\n\n%c%s.\n\n| field | type | meaning |\n|---|---|---|\n",
			d->name,
			d->help[0] >= 'a' && d->help[0] <= 'z' ? d->help[0] - 32 : d->help[0],
			d->help + 1);
		for (size_t i = 0; i < d->n_fields; i++) {
			const struct field_desc *fd = &d->fields[i];

			if (shown(fd))
				fprintf(f, "| `%s` | %s | %s%s |\n", fd->path, kinds[fd->kind].word,
					fd->help, fd->can_be_absent ? "; when known" : "");
		}
	}
}

/* ---- JSON Schema ---- */

/* The names, or the number of what has none. */
static void print_enum(FILE *f, const struct name_table *t)
{
	fputs(",\"anyOf\":[{\"enum\":[", f);
	for (size_t i = 0; i < t->n; i++)
		fprintf(f, "%s\"%s\"", i ? "," : "", t->rows[i].name);
	fputs("]},{\"pattern\":\"^[0-9]+$\"}]", f);
}

/* "leaf":{…} and what may stand beside it */
static void print_property(FILE *f, const struct field_desc *fd)
{
	fprintf(f, "\"%s\":{\"description\":\"%s\",%s", fd->leaf, fd->help, kinds[fd->kind].schema);
	if (fd->kind == AS_KIND_ENUM)
		print_enum(f, fd->names);
	fputc('}', f);
	if (!can_be_cut(fd))
		return;
	fprintf(f, ",\"%s_length\":{" NUMBER "},\"%s_base64\":{", fd->leaf, fd->leaf);
	fputs(fd->kind == AS_KIND_ARGV ? kinds[AS_KIND_ARGV].schema : TEXT, f);
	fputc('}', f);
}

static bool starts_group(const struct event_desc *d, size_t i)
{
	const char *group = d->fields[i].group;

	return group && (!i || !d->fields[i - 1].group || strcmp(d->fields[i - 1].group, group));
}

/* An object is there when any of its members always is. */
static bool required(const struct event_desc *d, size_t i)
{
	const struct field_desc *first = &d->fields[i];

	if (!first->group)
		return !first->can_be_absent;
	for (; i < d->n_fields; i++) {
		const struct field_desc *f = &d->fields[i];

		if (f->group && !strcmp(f->group, first->group) && shown(f) && !f->can_be_absent)
			return true;
	}
	return false;
}

/* The members of @group, or of the top level when it is NULL. */
static void print_members(FILE *f, const struct event_desc *d, const char *group)
{
	const char *comma = "";

	fputs("\"properties\":{", f);
	if (!group) {
		fprintf(f,
			"\"type\":{\"const\":\"%s\"},\"truncated\":{\"const\":true},"
			"\"redacted\":{\"const\":true},\"inferred\":{\"const\":true}",
			d->name);
		comma = ",";
	}
	for (size_t i = 0; i < d->n_fields; i++) {
		const struct field_desc *fd = &d->fields[i];

		if (!shown(fd))
			continue;
		if (group ? !fd->group || strcmp(fd->group, group)
			  : fd->group && !starts_group(d, i))
			continue;
		fputs(comma, f);
		comma = ",";
		if (!group && fd->group) {
			fprintf(f, "\"%s\":{\"type\":\"object\",", fd->group);
			print_members(f, d, fd->group);
			fputc('}', f);
		} else {
			print_property(f, fd);
		}
	}
	fputs("},\"required\":[", f);
	comma = "";
	if (!group) {
		fputs("\"type\"", f);
		comma = ",";
	}
	for (size_t i = 0; i < d->n_fields; i++) {
		const struct field_desc *fd = &d->fields[i];

		if (!shown(fd) || (group ? fd->can_be_absent : !required(d, i)))
			continue;
		if (group ? !fd->group || strcmp(fd->group, group)
			  : fd->group && !starts_group(d, i))
			continue;
		fprintf(f, "%s\"%s\"", comma, !group && fd->group ? fd->group : fd->leaf);
		comma = ",";
	}
	fputs("],\"additionalProperties\":false", f);
}

void describe_json_schema(FILE *f)
{
	const char *comma = "";

	fputs("{\"$schema\":\"https://json-schema.org/draft/2020-12/schema\","
	      "\"title\":\"agentsight event\",\"type\":\"object\",\"properties\":{"
	      "\"timestamp\":{" NUMBER "},\"source\":{" TEXT "},\"pid\":{" NUMBER "},"
	      "\"comm\":{" TEXT "},\"comm_base64\":{" TEXT "},\"tid\":{" NUMBER "},"
	      "\"ppid\":{" NUMBER "},\"uid\":{" NUMBER "},"
	      "\"exec_id\":{" TEXT ",\"pattern\":\"^[0-9]+@[0-9]+$\"},"
	      "\"data\":{\"type\":\"object\"}},"
	      "\"required\":[\"timestamp\",\"source\",\"pid\",\"comm\",\"data\"],"
	      "\"additionalProperties\":false,\"oneOf\":[",
	      f);
	for (unsigned type = 1; type < AS_EV_COUNT; type++) {
		const struct event_desc *d = schema_event(type);

		if (d->internal)
			continue;
		fprintf(f,
			"%s\n{\"description\":\"%s\",\"properties\":{\"source\":{\"const\":\"%s\"},"
			"\"data\":{\"type\":\"object\",",
			comma, d->help, d->source);
		comma = ",";
		print_members(f, d, NULL);
		fputs("}}}", f);
	}
	fputs("\n]}\n", f);
}
