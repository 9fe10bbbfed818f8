/* SPDX-License-Identifier: MIT */
/*
 * Fields by path, as they stand in the JSON: "pid", "data.path", "data.remote.port",
 * "data.cpu.percent". A leading dot is allowed and `type` means `data.type`. One path may name a field
 * of several event types.
 */
#ifndef AGENTSIGHT_EVENT_FIELD_H
#define AGENTSIGHT_EVENT_FIELD_H

#include "base/buf.h"
#include "event/event.h"

enum field_value_kind {
	FIELD_ABSENT,
	FIELD_BOOL,
	FIELD_INT,
	FIELD_UINT,
	FIELD_TEXT,
};

struct field_value {
	enum field_value_kind kind;
	union {
		bool b;
		int64_t i;
		uint64_t u;
		struct {
			const char *p;
			size_t len;
		} text;
	};
};

/*
 * An id >= 0, or -ENOENT, after schema_init(). The first one makes the list of all paths, for which there may
 * be no memory: -ENOMEM.
 */
int field_resolve(const char *path, size_t len);

/* The i-th path, NULL behind the last, and before the first field_resolve(). */
const char *field_path(size_t i);

/*
 * The value in @ev, absent where the JSON leaves the field out; but a boolean is false there. Text is borrowed
 * from the record or from @scratch, until that is used again.
 */
void field_get(const struct event *ev, int id, struct buf *scratch, struct field_value *ret);

#endif
