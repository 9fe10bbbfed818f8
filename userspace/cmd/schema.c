/* SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "cmd/cmd.h"
#include "cmd/report.h"
#include "event/describe.h"

int cmd_schema(const struct command *c, struct options *o)
{
	if (o->json)
		describe_json_schema(stdout);
	else if (o->markdown)
		describe_markdown(stdout);
	else
		describe_text(stdout);
	return report_close(stdout, EXIT_ASKED);
}
