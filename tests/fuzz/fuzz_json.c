/* SPDX-License-Identifier: MIT */
/*
 * Any bytes become a JSON string that a strict parser accepts, the vector and the scalar writer agree, and
 * what was valid UTF-8 comes back unchanged.
 */
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "base/json.h"
#include "base/utf8.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_parsed(const struct buf *text, const char *p, size_t n, bool valid)
{
	struct json_tokener *tok = json_tokener_new();
	struct json_object *o;

	must(tok != NULL);
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	o = json_tokener_parse_ex(tok, text->data, (int)text->len);
	must(json_tokener_get_error(tok) == json_tokener_success);
	must(json_tokener_get_parse_end(tok) == text->len);
	must(json_object_is_type(o, json_type_string));
	if (valid) {
		must((size_t)json_object_get_string_len(o) == n);
		must(n == 0 || memcmp(json_object_get_string(o), p, n) == 0);
	}
	json_object_put(o);
	json_tokener_free(tok);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf wide = {0}, scalar = {0};
	const char *p = (const char *)data;
	bool valid;

	if (size > INT_MAX / 8)
		return 0;

	valid = json_string(&wide, p, size);
	must(valid == (utf8_valid_prefix(p, size) == size));
	must(utf8_valid_prefix(wide.data, wide.len) == wide.len);
	check_parsed(&wide, p, size, valid);

	must(json_string_body_scalar(&scalar, p, size) == valid);
	must(scalar.len == wide.len - 2);
	must(scalar.len == 0 || memcmp(scalar.data, wide.data + 1, scalar.len) == 0);

	buf_done(&wide);
	buf_done(&scalar);
	return 0;
}
