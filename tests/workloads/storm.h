/* SPDX-License-Identifier: MIT */
/* What the workload `storm` leaves in its log: one entry for each process that lived. */
#ifndef AGENTSIGHT_TESTS_STORM_H
#define AGENTSIGHT_TESTS_STORM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The log is an array of these; those of a spawner stand in the order in which they were made. */
struct life {
	uint64_t before_ns; /* CLOCK_BOOTTIME: it was made between these two */
	uint64_t after_ns;
	uint64_t ended_ns; /* it had been waited for */
	uint32_t number;   /* its argument, when it execs */
	pid_t pid;
	pid_t ppid;
	int status;  /* what wait says */
	bool forked; /* while somebody watched */
	bool execs;
};

#endif
