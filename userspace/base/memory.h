/* SPDX-License-Identifier: MIT */
#ifndef AGENTSIGHT_BASE_MEMORY_H
#define AGENTSIGHT_BASE_MEMORY_H

/*
 * From here on threads share one heap. Else each of them has one, whose free end stays resident: several hundred KB
 * behind those that load programs for a while.
 */
void memory_one_heap(void);

/*
 * From here on pieces of 1 MiB and more are mapped, and the kernel's again when they are freed. The C library takes
 * such pieces from the heap once one was freed, and a heap of bodies that grow and give way is several times as
 * large as what is in it.
 */
void memory_large_apart(void);

/*
 * Gives back free pages of the heap. The C library does so only for those at its end, and long-lived pieces lie above
 * what was needed for a while: by libbpf, several MB for each object that is loaded, or by a burst.
 */
void memory_trim(void);

/*
 * At the end of the beginning: free pages of the heap, and pages of program and libraries. Those that are needed
 * again come back from the page cache, for 0.1 us each; most are of code that only loads programs.
 */
void memory_give_back(void);

#endif
