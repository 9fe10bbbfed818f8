/* SPDX-License-Identifier: MIT */
/*
 * What a process has mapped executable, a line of its maps at a time: it may have 65,530 of them, and who reads them has
 * other things to do in between.
 */
#ifndef AGENTSIGHT_SOURCE_TLS_MAPS_H
#define AGENTSIGHT_SOURCE_TLS_MAPS_H

#include <stdint.h>

#include "base/cleanup.h"
#include "source/mmaps.h"

struct tls_maps;

int tls_maps_new(uint32_t tgid, struct tls_maps **ret);
void tls_maps_free(struct tls_maps *m);
DEFINE_FREEP(struct tls_maps *, tls_maps_free)

/*
 * One step: 1 with a mapping whose path is valid until the next call, 0 when the step showed none; -ENODATA behind the
 * last one. Other errors end it, too. A process that has ended has nothing mapped.
 */
int tls_maps_next(struct tls_maps *m, struct mapping *ret);

#endif
