/* SPDX-License-Identifier: MIT */
/*
 * JSON written where there is room already: each function takes the place to write to and returns the place
 * behind what it wrote. One check of the room then serves a whole line, and the place stays in a register.
 *
 * Stores are of fixed width, which costs less than branching on a length: up to JSON_PUT_SLACK bytes
 * behind the text are overwritten, and must be there.
 */
#ifndef AGENTSIGHT_BASE_JSON_PUT_H
#define AGENTSIGHT_BASE_JSON_PUT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define JSON_PUT_SLACK 32

/* The longest texts of a number and of an address with its quotes. */
#define JSON_NUMBER_MAX  20
#define JSON_ADDRESS_MAX 48

#define json_put_lit(out, literal) json_put_fixed_text((out), "" literal, sizeof(literal) - 1)

/* For a length that the compiler knows. */
static inline char *json_put_fixed_text(char *out, const char *p, size_t n)
{
	memcpy(out, p, n);
	return out + n;
}

/* Text that can be read, as well as written, in whole steps: up to a multiple of 16 bytes. */
static inline char *json_put_padded(char *out, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i += 16)
		memcpy(out + i, p + i, 16);
	return out + n;
}

/* The digits of any number. */
char *json_put_digits(char *out, uint64_t value);

/* Those of a number below 10^8, and zeros before them. */
char *json_put_eight_digits(char *out, uint32_t value);

/* One in three is below ten: a flag, a code, a count of what never happens. */
static inline char *json_put_u64(char *out, uint64_t value)
{
	if (value >= 10)
		return json_put_digits(out, value);
	*out = (char)('0' + value);
	return out + 1;
}

static inline char *json_put_i64(char *out, int64_t value)
{
	*out = '-';
	/* negated as unsigned: -INT64_MIN does not fit an int64_t */
	return value < 0 ? json_put_u64(out + 1, -(uint64_t)value)
			 : json_put_u64(out, (uint64_t)value);
}

/* Hundredths: 2345 -> 23.45, 5 -> 0.05. */
static inline char *json_put_centi(char *out, uint64_t value)
{
	unsigned rest = (unsigned)(value % 100);

	out = json_put_u64(out, value / 100);
	out[0] = '.';
	out[1] = (char)('0' + rest / 10);
	out[2] = (char)('0' + rest % 10);
	return out + 3;
}

static inline char *json_put_signed_centi(char *out, int64_t value)
{
	*out = '-';
	return value < 0 ? json_put_centi(out + 1, -(uint64_t)value)
			 : json_put_centi(out, (uint64_t)value);
}

static inline char *json_put_boolean(char *out, int value)
{
	return value ? json_put_lit(out, "true") : json_put_lit(out, "false");
}

/* A quoted address, see json_ip(). */
char *json_put_ip(char *out, const uint8_t ip[16], int family);

#endif
