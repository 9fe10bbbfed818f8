/* SPDX-License-Identifier: MIT */
#include "base/units.h"

#include <stdio.h>

#include "base/cleanup.h"
#include "base/clock.h"

const char *units_bytes(char out[UNITS_LEN], uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double value = (double)bytes;
	size_t i = 0;

	/* 1023.95 would be rounded to 1024.0 */
	while (value >= (i ? 1023.95 : 1024) && i + 1 < ARRAY_SIZE(units)) {
		value /= 1024;
		i++;
	}
	snprintf(out, UNITS_LEN, "%.*f %s", i ? 1 : 0, value, units[i]);
	return out;
}

const char *units_duration(char out[UNITS_LEN], uint64_t ns)
{
	unsigned long long s = ns / NSEC_PER_SEC;

	if (ns < NSEC_PER_USEC)
		snprintf(out, UNITS_LEN, "%llu ns", (unsigned long long)ns);
	else if (ns < 999950)
		snprintf(out, UNITS_LEN, "%.1f us", (double)ns / NSEC_PER_USEC);
	else if (ns < 999950000)
		snprintf(out, UNITS_LEN, "%.1f ms", (double)ns / NSEC_PER_MSEC);
	else if (s < 120)
		snprintf(out, UNITS_LEN, "%.2f s", (double)ns / NSEC_PER_SEC);
	else if (s < 7200)
		snprintf(out, UNITS_LEN, "%llu min %02llu s", s / 60, s % 60);
	else
		snprintf(out, UNITS_LEN, "%llu h %02llu min", s / 3600, s / 60 % 60);
	return out;
}
