/* SPDX-License-Identifier: MIT */
/* From bytes to an event: the one place where a record is checked; nothing after it checks again. */
#ifndef AGENTSIGHT_EVENT_DECODE_H
#define AGENTSIGHT_EVENT_DECODE_H

#include "event/event.h"

/*
 * Checks length, type and every span of the record at @p. 0 and a filled @ev that borrows @p, or
 * -EBADMSG.
 */
int event_decode(const void *p, size_t n, struct event *ev);

#endif
