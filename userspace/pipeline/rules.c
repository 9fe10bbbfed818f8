/* SPDX-License-Identifier: MIT */
#include "pipeline/rules.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "stage/alert.h"

/* ---- what a rule needs ---- */

static bool is_sampled(const struct rule *r)
{
	return r->metric->event == AS_EV_SYSTEM_METRICS || r->metric->event == AS_EV_SYSTEM_TREE ||
	       r->metric->event == AS_EV_SYSTEM_WIDE;
}

/* Members behind `alert` are filled when details are asked for. */
static bool is_detail(const struct rule *r)
{
	return r->metric->event == AS_EV_SYSTEM_TREE ||
	       (r->metric->event == AS_EV_SYSTEM_METRICS &&
		r->metric->offset > offsetof(struct as_system_metrics, alert));
}

static bool is_costly(const struct rule *r)
{
	static const char *const names[] = {"pss", "uss", "tree.pss", "tree.uss", "fds"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(r->metric->name, names[i]))
			return true;
	}
	return false;
}

static bool is_pressure(const struct rule *r)
{
	return r->metric->event == AS_EV_CGROUP;
}

static bool is_model(const struct rule *r)
{
	return r->metric->event == AS_EV_LLM_RESPONSE || r->metric->event == AS_EV_TOOL_RUN;
}

/* One sample is not enough. */
static bool is_repeated(const struct rule *r)
{
	return (is_sampled(r) || is_pressure(r)) && (r->for_ns || r->metric->reading == RULE_RATE);
}

static bool is_of_process(const struct rule *r)
{
	return r->metric->event == AS_EV_SYSTEM_METRICS;
}

static bool has_samples(const struct session_options *s)
{
	return s->sources & SOURCE_SYSTEM;
}

static bool has_details(const struct session_options *s)
{
	return s->detail;
}

static bool has_pss(const struct session_options *s)
{
	return s->pss_interval_ns;
}

static bool has_pressure(const struct session_options *s)
{
	return s->pressure;
}

static bool has_tls(const struct session_options *s)
{
	return s->sources & SOURCE_TLS;
}

/* A program that we are in may ask for samples at any time. */
static bool has_many_samples(const struct session_options *s)
{
	return s->embedded || !pace_never(&s->pace);
}

/* The last sample of `run` is taken when its command has ended. */
static bool has_process_samples(const struct session_options *s)
{
	return !s->command_first || has_many_samples(s);
}

static const struct need {
	bool (*needed)(const struct rule *r);
	bool (*there)(const struct session_options *s);
	const char *advice;
} needs[] = {
	{is_sampled, has_samples, "there are no samples without --system"},
	{is_detail, has_details, "samples tell it with --detail only"},
	{is_costly, has_pss, "it is looked at with --pss-interval only"},
	{is_pressure, has_pressure, "it is looked at with --pressure only"},
	{is_model, has_tls, "models are followed by `record` and `trace --ssl`"},
	{is_repeated, has_many_samples, "it takes several samples, and --no-polling leaves one"},
	{is_of_process, has_process_samples,
	 "with --no-polling the only sample is taken when the command has ended; ask for that of "
	 "the tree, such as tree.cpu"},
};

/* A rule that can never apply would look like a machine without trouble. */
static int check_needs(const struct session_options *opt, const struct rule *r, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(needs); i++) {
		if (needs[i].needed(r) && !needs[i].there(opt))
			return err_set(e, -EINVAL, "the alert rule '%s' would never apply: %s",
				       log_safe(r->text), needs[i].advice);
	}
	if (r->metric->event == AS_EV_SYSTEM_WIDE &&
	    (opt->n_names || opt->n_pids || opt->command || opt->by_uid))
		log_warning("the alert rule '%s' is about the machine, which is sampled when no "
			    "process is chosen",
			    log_safe(r->text));
	return 0;
}

void rules_without_kernel(const struct rule *rules, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (rules[i].metric->event == AS_EV_EXIT ||
		    rules[i].metric->event == AS_EV_OOM_KILL)
			log_warning("the alert rule '%s' will not apply: without kernel programs "
				    "nobody tells how processes end (see agentsight doctor)",
				    log_safe(rules[i].text));
	}
}

/* ---- reading ---- */

static int read_rule(const struct session_options *opt, const char *text, struct rule *ret,
		     struct err *e)
{
	struct rule_error re;

	if (rule_parse(text, ret, &re) < 0) {
		if (opt->embedded)
			return err_set(e, -EINVAL, "alert rule '%s', character %zu: %s", text,
				       re.column, re.msg);
		rule_error_print(stderr, text, &re);
		return err_set(e, -EINVAL, "the alert rule cannot be used");
	}
	return check_needs(opt, ret, e);
}

/* What an option stands for; of the machine where that is what is sampled. */
struct threshold {
	const char *metric, *unit;
	const char *told_as; /* the name in events, from before there were rules */
	const char *machine;
};
static const struct threshold cpu = {"cpu", "%", "cpu.percent", "system.cpu"};
static const struct threshold memory = {"rss", "MB", "memory.rss_mb", "system.used"};

static int read_threshold(const struct session_options *opt, const struct threshold *t,
			  uint64_t centi, struct rule *ret, struct err *e)
{
	struct rule_error re;
	char text[64];
	int r;

	snprintf(text, sizeof(text), "%s > %llu.%02llu %s", t->metric,
		 (unsigned long long)centi / 100, (unsigned long long)centi % 100, t->unit);
	r = rule_parse(text, ret, &re);
	if (r < 0)
		return err_set(e, r, "this threshold is too large");
	ret->machine = rule_metric_find(t->machine, strlen(t->machine));
	snprintf(ret->metric_name, sizeof(ret->metric_name), "%s", t->told_as);
	return check_needs(opt, ret, e);
}

static int read_all(const struct session_options *opt, struct rule *rules, size_t *n, struct err *e)
{
	uint64_t memory_centi = opt->memory_threshold_kb * 100 / 1024;
	int r = 0;

	if (opt->cpu_threshold_centi)
		r = read_threshold(opt, &cpu, opt->cpu_threshold_centi, &rules[(*n)++], e);
	if (r >= 0 && opt->memory_threshold_kb)
		r = read_threshold(opt, &memory, memory_centi, &rules[(*n)++], e);
	for (size_t i = 0; r >= 0 && i < opt->n_alerts; i++)
		r = read_rule(opt, opt->alerts[i], &rules[(*n)++], e);
	return r;
}

int rules_read(const struct session_options *opt, struct rule **ret, size_t *ret_n, struct err *e)
{
	_cleanup_(freep) struct rule *rules = NULL;
	size_t max = 2 + opt->n_alerts, n = 0;
	int r;

	if (max > ALERT_RULES_MAX)
		return err_set(e, -EINVAL, "there can be %d alert rules", ALERT_RULES_MAX - 2);
	rules = calloc(max, sizeof(*rules));
	if (!rules)
		return err_set(e, -ENOMEM, "not enough memory");
	r = read_all(opt, rules, &n, e);
	if (r < 0)
		return r;
	*ret = n ? TAKE_PTR(rules) : NULL;
	*ret_n = n;
	return 0;
}
