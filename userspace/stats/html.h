/* SPDX-License-Identifier: MIT */
/*
 * One page with charts, that needs nothing but itself: no script from elsewhere, no font, no image.
 * Everything that a traced program chose is escaped. Without scripts all but the values under the
 * pointer is there.
 */
#ifndef AGENTSIGHT_STATS_HTML_H
#define AGENTSIGHT_STATS_HTML_H

#include "base/buf.h"
#include "stats/stats.h"

void stats_html(struct buf *b, const struct stats *s);

#endif
