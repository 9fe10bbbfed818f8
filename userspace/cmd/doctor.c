/* SPDX-License-Identifier: MIT */
#include "cmd/cmd.h"

int cmd_doctor(const struct command *c, struct options *o)
{
	return EXIT_ASKED;
}
