/* SPDX-License-Identifier: MIT */
/*
 * Input: a rule, a newline, the bytes of two records. Parsing gives the same verdict twice, errors point into
 * the rule, the text of a rule is the rule itself, and whatever the records hold, each alert that starts
 * ends.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "event/schema.h"
#include "stage/alert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SEC 1000000000ULL

union record {
	struct as_hdr h;
	struct as_system_metrics metrics;
	struct as_system_tree tree;
	struct as_system_wide wide;
	struct as_cgroup cgroup;
	struct as_exit gone;
	struct as_oom_kill oom;
	struct as_llm_response answer;
	struct as_tool_run tool;
};

static unsigned open_alerts;

static void hear(struct emitter *self, const struct event *ev)
{
	const struct as_threshold *t = (const void *)ev->rec;

	if (ev->rec->type != AS_EV_THRESHOLD)
		return;
	if ((t->ended && !open_alerts) || t->min_centi > t->max_centi)
		abort();
	open_alerts += t->ended ? -1 : 1;
}

static void check_error(const char *text, const struct rule_error *err)
{
	FILE *out = fopen("/dev/null", "w");

	if (err->column == 0 || err->column > strlen(text) + 1 || err->msg[0] == '\0')
		abort();
	if (out) {
		rule_error_print(out, text, err);
		fclose(out);
	}
}

static void check_rule(const struct rule *r)
{
	struct rule again;
	struct rule_error err;

	if (rule_parse(r->text, &again, &err) < 0 || again.limit != r->limit ||
	    again.clear != r->clear || again.metric != r->metric || again.unit != r->unit)
		abort();
	/* what is beyond the limit is beyond the value that ends it, too */
	if (rule_begins(r, r->limit) && !rule_holds(r, r->limit))
		abort();
}

static void judge(const struct rule *r, const uint8_t *data, size_t size)
{
	struct emitter out = {hear};
	const struct alert_options opt = {.rules = r, .n_rules = 1, .interval_ns = SEC};
	struct stage *stage;
	union record rec;
	struct event ev = {.rec = &rec.h, .desc = schema_event(r->metric->event)};

	if (alert_new(&opt, &out, &stage) < 0)
		return;
	open_alerts = 0;
	for (size_t i = 0; i < 2 && size; i++) {
		size_t n = size < sizeof(rec) ? size : sizeof(rec);

		memset(&rec, 0, sizeof(rec));
		memcpy(&rec, data, n);
		data += n;
		size -= n;
		rec.h.type = r->metric->event;
		rec.h.len = sizeof(rec);
		if (rec.h.type == AS_EV_CGROUP)
			rec.cgroup.path = (struct as_span){0, 0, 0};
		event_emit(&stage->in, &ev);
		stage->tick(stage, rec.h.boot_ns);
	}
	stage->finish(stage);
	if (open_alerts)
		abort();
	stage->free(stage);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *line = memchr(data, '\n', size);
	size_t len = line ? (size_t)(line - data) : size;
	char *text = strndup((const char *)data, len);
	struct rule_error err, err_again;
	struct rule r, again;
	int verdict;

	if (!text || schema_init() < 0)
		abort();
	verdict = rule_parse(text, &r, &err);
	if (rule_parse(text, &again, &err_again) != verdict || strcmp(err.msg, err_again.msg))
		abort();
	if (verdict < 0) {
		check_error(text, &err);
	} else {
		check_rule(&r);
		if (line)
			judge(&r, line + 1, size - len - 1);
	}
	free(text);
	return 0;
}
