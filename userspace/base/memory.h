/* SPDX-License-Identifier: MIT */
#ifndef AGENTSIGHT_BASE_MEMORY_H
#define AGENTSIGHT_BASE_MEMORY_H

/*
 * Gives back what the beginning has left: free pages of the heap, and pages of program and libraries. Those that are
 * needed again come back from the page cache, for 0.1 us each; most are of code that only loads programs.
 */
void memory_give_back(void);

#endif
