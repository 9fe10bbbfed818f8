#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check-golden.sh: what was promised is still there.
#
# tests/golden/schema.txt holds the fields of released event types: a type only gains fields, so each
# line must be found in what `agentsight schema` prints today. New fields are added to the file with
# --update, which never removes a line.

set -eu

cd "$(dirname "$0")/.."
program=${AGENTSIGHT:-./agentsight}
golden=tests/golden/schema.txt
tmp=$(mktemp -d "${TMPDIR:-/tmp}/check-golden.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
passed=0
failed=0

# "file.open flags array of strings": one line per field, without the help text
fields()
{
	"$program" schema | awk '
		/^[a-z]+\.[a-z_]+ - / { type = $1; next }
		NF { print type, $1, substr($0, 26, 28) }' | sed 's/ *$//' | LC_ALL=C sort -u
}

verdict()
{
	if [ "$1" -eq 0 ]; then
		echo "ok $2"
		passed=$((passed + 1))
	else
		echo "not ok $2 - $3"
		failed=$((failed + 1))
	fi
}

fields >"$tmp/now"
if [ "${1:-}" = --update ]; then
	touch "$golden"
	LC_ALL=C sort -u "$golden" "$tmp/now" >"$tmp/new"
	cp "$tmp/new" "$golden"
	exit 0
fi

missing=$(LC_ALL=C comm -23 "$golden" "$tmp/now" | tr '\n' ';')
[ -z "$missing" ] && r=0 || r=1
verdict $r released_fields_are_still_there "missing: $missing"

new=$(LC_ALL=C comm -13 "$golden" "$tmp/now" | tr '\n' ';')
[ -z "$new" ] && r=0 || r=1
verdict $r new_fields_are_in_the_golden_file "run tests/check-golden.sh --update: $new"

if [ -f docs/EVENTS.md ]; then
	"$program" schema --markdown >"$tmp/events.md"
	cmp -s "$tmp/events.md" docs/EVENTS.md && r=0 || r=1
	verdict $r docs_EVENTS_md_is_what_the_program_prints "run ./agentsight schema --markdown >docs/EVENTS.md"
fi

echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
