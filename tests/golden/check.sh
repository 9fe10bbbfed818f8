#!/bin/sh
# SPDX-License-Identifier: MIT
#
# check.sh: the stored schema, and docs/EVENTS.md, are word for word what the program prints, so that a
# change of the event table is seen in review. --update writes them anew.

set -eu

cd "$(dirname "$0")/../.."
program=${AGENTSIGHT:-./agentsight}
tmp=$(mktemp -d "${TMPDIR:-/tmp}/golden.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
passed=0
failed=0

"$program" schema --json >"$tmp/schema.json"
"$program" schema --markdown >"$tmp/EVENTS.md"

# same FILE PRINTED
same()
{
	if diff -u "$1" "$tmp/$2" >"$tmp/diff" 2>&1; then
		echo "ok ${1}_is_what_the_program_prints"
		passed=$((passed + 1))
	else
		echo "not ok ${1}_is_what_the_program_prints - run tests/golden/check.sh --update"
		cut -c1-200 "$tmp/diff" | head -n 20 >&2
		failed=$((failed + 1))
	fi
}

if [ "${1:-}" = --update ]; then
	cp "$tmp/schema.json" tests/golden/schema.json
	cp "$tmp/EVENTS.md" tests/golden/EVENTS.md
	cp "$tmp/EVENTS.md" docs/EVENTS.md
	exit 0
fi

same tests/golden/schema.json schema.json
same tests/golden/EVENTS.md EVENTS.md
same docs/EVENTS.md EVENTS.md
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
