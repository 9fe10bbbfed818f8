/* SPDX-License-Identifier: MIT */
/*
 * Names of containers and pods from the files that docker, podman and kubelet keep. No socket is asked: a
 * manager that hangs must not hang us. All are optional, opened for reading only, and bounded in size.
 */
#ifndef AGENTSIGHT_SOURCE_CONTAINER_NAMES_H
#define AGENTSIGHT_SOURCE_CONTAINER_NAMES_H

#include <stdbool.h>

#include "enrich/container.h"

/*
 * Fills `name`, `pod` and `pod_namespace` where they can be found; @root is "" but for tests. True when
 * nothing is missing, so that there is no need to look again.
 */
bool container_names_find(const char *root, struct container *c);


/* So that the broker can open what only root may. */
void container_names_offer(void);

#endif
