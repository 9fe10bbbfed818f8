#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check-golden.sh: what was promised is still there, and a change of the event table is seen in review.
#
# docs/EVENTS.md and tests/golden/schema.json are word for word what the program prints.
# tests/golden/schema.txt holds the fields of released event types: a type only gains fields, so each
# line must be found in what `agentsight schema` prints today. --update writes them anew; from
# schema.txt it never removes a line.

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
	awk '
		/^[a-z]+\.[a-z_]+ - / { type = $1; next }
		NF { print type, $1, substr($0, 26, 28) }' "$1" | sed 's/ *$//' | LC_ALL=C sort -u
}

# verdict STATUS NAME WHY
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

# same NAME FILE PRINTED
same()
{
	diff -u "$2" "$tmp/$3" >"$tmp/diff" 2>&1 && r=0 || r=1
	verdict $r "$1" 'run make schema'
	[ $r -eq 0 ] || cut -c1-200 "$tmp/diff" | head -n 20 >&2
}

# none NAME LINES WHY: LINES is a file that should be empty
none()
{
	[ ! -s "$2" ] && r=0 || r=1
	verdict $r "$1" "$3: $(tr '\n' ';' <"$2")"
}

# a program that fails ends this script, too
"$program" schema >"$tmp/schema.txt"
"$program" schema --json >"$tmp/schema.json"
"$program" schema --markdown >"$tmp/EVENTS.md"
fields "$tmp/schema.txt" >"$tmp/now"
[ -s "$tmp/now" ] || {
	echo "check-golden.sh: $program schema lists no fields" >&2
	exit 1
}

if [ "${1:-}" = --update ]; then
	touch "$golden"
	LC_ALL=C sort -u "$golden" "$tmp/now" >"$tmp/new"
	cp "$tmp/new" "$golden"
	cp "$tmp/schema.json" tests/golden/schema.json
	cp "$tmp/EVENTS.md" docs/EVENTS.md
	exit 0
fi

LC_ALL=C comm -23 "$golden" "$tmp/now" >"$tmp/missing"
LC_ALL=C comm -13 "$golden" "$tmp/now" >"$tmp/more"
none released_fields_are_still_there "$tmp/missing" missing
none new_fields_are_in_the_golden_file "$tmp/more" 'run make schema'
same the_golden_schema_is_what_the_program_prints tests/golden/schema.json schema.json
same docs_EVENTS_md_is_what_the_program_prints docs/EVENTS.md EVENTS.md

echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
