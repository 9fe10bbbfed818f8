/* SPDX-License-Identifier: MIT */
/* What another reader of JSON says. */
#ifndef AGENTSIGHT_TESTS_JSON_C_H
#define AGENTSIGHT_TESTS_JSON_C_H

#include <json-c/json.h>

#include "base/value.h"
#include "fuzz.h"

/* To json-c, strictly; @flags besides. */
static inline bool json_c_takes(const char *p, size_t n, int flags)
{
	struct json_tokener *tok = json_tokener_new_ex(VALUE_DEPTH_MAX + 2);
	struct json_object *o;
	bool good;

	must(tok != NULL);
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | flags);
	o = json_tokener_parse_ex(tok, p, (int)n);
	/* a number goes on until something else comes */
	if (json_tokener_get_error(tok) == json_tokener_continue)
		o = json_tokener_parse_ex(tok, "", 1);
	good = json_tokener_get_error(tok) == json_tokener_success;
	json_object_put(o);
	json_tokener_free(tok);
	return good;
}

#endif
