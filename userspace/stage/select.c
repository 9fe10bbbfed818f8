/* SPDX-License-Identifier: MIT */
#include "stage/select.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "event/field.h"
#include "event/schema.h"

struct select {
	struct stage stage;
	const struct filter *filter;
	struct emitter *unseen;
	uint8_t wanted[AS_EV_COUNT];
	uint64_t filtered[AS_EV_COUNT];
	struct buf scratch;
};

static int resolve(void *ctx, const char *path, size_t len)
{
	return field_resolve(path, len);
}

static const char *path_at(void *ctx, size_t i)
{
	return field_path(i);
}

const struct filter_schema *select_schema(void)
{
	static const struct filter_schema schema = {.resolve = resolve, .path_at = path_at};

	return &schema;
}

struct matching {
	struct select *select;
	const struct event *ev;
};

static void get_value(void *ctx, int field, struct filter_value *ret)
{
	struct matching *m = ctx;
	struct field_value v;

	field_get(m->ev, field, &m->select->scratch, &v);
	switch (v.kind) {
	case FIELD_ABSENT:
		break;
	case FIELD_BOOL:
		*ret = (struct filter_value){.kind = FILTER_BOOL, .b = v.b};
		break;
	case FIELD_INT:
		*ret = (struct filter_value){.kind = FILTER_INT, .i = v.i};
		break;
	case FIELD_UINT:
		*ret = (struct filter_value){.kind = FILTER_UINT, .u = v.u};
		break;
	case FIELD_TEXT:
		*ret = (struct filter_value){.kind = FILTER_STR, .str = {v.text.p, v.text.len}};
		break;
	}
}

static bool filter_passes(struct select *s, const struct event *ev)
{
	struct matching m = {s, ev};

	if (!s->filter || !strcmp(ev->desc->source, "agentsight"))
		return true;
	return filter_match(s->filter, get_value, &m);
}

static void select_event(struct emitter *in, const struct event *ev)
{
	struct select *s = (struct select *)in;
	bool wanted = s->wanted[ev->desc->type];

	if (wanted && filter_passes(s, ev)) {
		event_emit(s->stage.out, ev);
		return;
	}
	s->filtered[ev->desc->type]++;
	if (wanted && s->unseen)
		event_emit(s->unseen, ev);
}

static void select_free(struct stage *stage)
{
	struct select *s = (struct select *)stage;

	buf_done(&s->scratch);
	free(s);
}

int select_new(const uint8_t wanted[AS_EV_COUNT], const struct filter *filter,
	       struct emitter *unseen, struct emitter *out, struct stage **ret)
{
	struct select *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->stage = (struct stage){.in.emit = select_event, .out = out, .free = select_free};
	s->filter = filter;
	s->unseen = unseen;
	memcpy(s->wanted, wanted, sizeof(s->wanted));
	*ret = &s->stage;
	return 0;
}

const uint64_t *select_filtered(const struct stage *s)
{
	return ((const struct select *)s)->filtered;
}
