#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The tests of the Python module over the library that was built, as root also as an ordinary user, and its
# type hints. Prints a line per test and closes with "N passed, N failed, N skipped".

set -uo pipefail

cd "$(dirname "$0")/.." || exit 2
O=${O:-out}
SYSTEM_PYTHON=${SYSTEM_PYTHON:-python3}
NOBODY=65534

# As pytest -v says it: "tests/test_monitor.py::test_a_thing PASSED   [ 4%]"
as_lines()
{
	awk -v who="$1" -v status="$2" '
		{ name = $1; sub(/^.*::/, "", name) }
		/^[^ ]+::.* PASSED/ { passed++; print "ok python: " name who; next }
		/^[^ ]+::.* (SKIPPED|XFAIL)/ { skipped++; print "skip python: " name who; next }
		/^[^ ]+::.* (FAILED|ERROR)/ { failed++; print "not ok python: " name who; next }
		END {
			if (status != 0 && !failed) {
				failed++
				print "not ok python: it ended with status " status who
			}
			print passed + 0, failed + 0, skipped + 0 >>"/dev/fd/3"
		}'
}

# suite WHO COMMAND...
suite()
{
	local who=$1 status=0

	shift
	mkdir "$tmp/base.$1"
	[[ $1 == env ]] || chown "$NOBODY" "$tmp/base.$1"
	# in a copy: another user may not look into this tree, and nothing is left in it
	(cd "$tmp/python" && "$@" HOME=/ AGENTSIGHT_LIBRARY="$tmp/libagentsight.so.1" PYTHONDONTWRITEBYTECODE=1 \
		timeout -k 5 300 "$SYSTEM_PYTHON" -m pytest -v --no-header --color=no -p no:cacheprovider \
		--basetemp="$tmp/base.$1/tmp") >"$tmp/log" 2>&1 || status=$?
	as_lines "$who" "$status" <"$tmp/log" 3>>"$tmp/sums"
	((status == 0)) || tail -n 60 "$tmp/log" | sed 's/^/    /' >&2
}

types()
{
	if ! "$SYSTEM_PYTHON" -m mypy --version >/dev/null 2>&1; then
		echo 'skip python: type hints - mypy is not installed'
		echo 0 0 1 >>"$tmp/sums"
	elif (cd "$tmp/python" && "$SYSTEM_PYTHON" -m mypy --strict --cache-dir=/dev/null agentsight) >"$tmp/log" 2>&1; then
		echo 'ok python: type hints'
		echo 1 0 0 >>"$tmp/sums"
	else
		echo 'not ok python: type hints'
		sed 's/^/    /' "$tmp/log" >&2
		echo 0 1 0 >>"$tmp/sums"
	fi
}

if ! "$SYSTEM_PYTHON" -m pytest --version >/dev/null 2>&1; then
	echo 'skip the Python module - python3-pytest is not installed'
	echo '0 passed, 0 failed, 1 skipped'
	exit 0
fi

tmp=$(mktemp -d "${TMPDIR:-/tmp}/agentsight-python.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
chmod 755 "$tmp"
cp -r python "$tmp/python"
cp -L "$O/libagentsight.so.1" "$tmp/" || exit 1

suite '' env
((EUID != 0)) || suite ' (an ordinary user)' setpriv --reuid=$NOBODY --regid=$NOBODY --clear-groups env
types
awk '{ p += $1; f += $2; s += $3 } END { print p " passed, " f " failed, " s " skipped"; exit f > 0 }' "$tmp/sums"
