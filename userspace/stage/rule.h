/* SPDX-License-Identifier: MIT */
/*
 * Alert rules: `cpu > 80 for 10s`, `rss > 500MB clear 400MB`, `rss.slope > 10MB/min`, `exit_code != 0 every 1m`.
 *
 *   METRIC OP VALUE[UNIT] [for TIME] [clear VALUE[UNIT]] [every TIME]
 *   METRIC                  one that says yes or no: oom, llm.error, tool.error
 *
 *   OP      > >= < <= == !=
 *   for     it holds at every sample for so long before the alert starts
 *   clear   once started, it goes on while the comparison holds with this value
 *   every   after a start none for this time
 *
 * Metrics and what each one is read from are rows of a table. This file knows neither time nor state:
 * it parses a rule, reads a record and compares; stage/alert.c does the rest.
 */
#ifndef AGENTSIGHT_STAGE_RULE_H
#define AGENTSIGHT_STAGE_RULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <agentsight/events.h>

#define RULE_LEN_MAX 256

enum rule_op {
	RULE_GT,
	RULE_GE,
	RULE_LT,
	RULE_LE,
	RULE_EQ,
	RULE_NE,
};

enum rule_reading {
	RULE_LEVEL, /* what samples say */
	RULE_RATE,  /* growth of a sum between two samples, per hour */
	RULE_ONCE,  /* of an event that happens once: it has no duration */
	RULE_TOTAL, /* sum over the run */
};

/* What the numbers are; a rule's value has one of the units that belong to it. */
enum rule_kind {
	RULE_PERCENT,    /* hundredths of a percent */
	RULE_SIZE,       /* bytes */
	RULE_SIZE_RATE,  /* bytes per hour, in which the unit of every rate is a whole number */
	RULE_COUNT,      /* as it is */
	RULE_COUNT_RATE, /* per hour */
	RULE_TIME,       /* nanoseconds */
	RULE_LOAD,       /* hundredths */
	RULE_MONEY,      /* 1e-9 USD */
	RULE_FLAG,       /* 0 or 1; the rule is the metric's name alone */
};

struct rule_metric {
	const char *name;
	uint16_t event; /* the type of record that tells it */
	uint16_t offset;
	uint8_t size; /* of the member; 0: there is none, and `read` says it */
	bool is_signed;
	bool zero_is_unknown; /* members that are zero when nobody looked */
	bool own_io;          /* see rule_jumped() */
	enum rule_reading reading;
	enum rule_kind kind;
	double scale; /* member to value */
	/* if the member alone does not say it */
	bool (*read)(const struct as_hdr *rec, double *ret);
	const char *help;
};

struct rule_unit {
	const char *text;
	const char *label; /* in events */
	enum rule_kind kind;
	double scale; /* 1 of it, in what the kind counts */
};

struct rule {
	const struct rule_metric *metric;
	const struct rule_metric
		*machine;             /* judged, too, where the machine is sampled; NULL: none */
	const struct rule_unit *unit; /* in which the rule is written, and its numbers told */
	enum rule_op op;
	double limit;
	double clear; /* the limit again where there is no `clear` */
	uint64_t for_ns;
	uint64_t every_ns;
	char text[RULE_LEN_MAX + 1];
	char metric_name[32]; /* as events tell it */
};

struct rule_error {
	size_t column; /* 1-based, in characters */
	char msg[160];
	char hint[160]; /* "" when there is none */
};

/* 0, -EINVAL or -E2BIG; @err is filled on every failure. */
int rule_parse(const char *text, struct rule *ret, struct rule_error *err);

/* The message, the rule with a caret under the column, the hint. */
void rule_error_print(FILE *out, const char *text, const struct rule_error *err);

/* The i-th metric, NULL after the last. */
const struct rule_metric *rule_metric_at(size_t i);
const struct rule_metric *rule_metric_find(const char *name, size_t len);

/*
 * What @rec, of the type that @m is read from, says of it; for RULE_RATE, the sum that grows. False
 * when the record does not tell.
 */
bool rule_read(const struct rule_metric *m, const struct as_hdr *rec, double *ret);

/* The sum has grown by what is not of this interval: nothing is known of its rate. */
bool rule_jumped(const struct rule_metric *m, const struct as_hdr *rec);

/* The rate per hour of a sum that grew by @growth in @ns. */
double rule_rate(const struct rule_metric *m, double growth, uint64_t ns);

/* Does it begin to hold with @value; does it go on to? */
bool rule_begins(const struct rule *r, double value);
bool rule_holds(const struct rule *r, double value);

/* The one of two values that is further beyond the limit. */
double rule_worse(const struct rule *r, double a, double b);

/*
 * 1 at the limit, on both sides falling to 0 at half and at twice of it: steady use far from it, also
 * far beyond, is nothing to look at closely.
 */
double rule_nearness(const struct rule *r, double value);

/* @value as hundredths of the rule's unit. */
int64_t rule_centi(const struct rule *r, double value);

#endif
