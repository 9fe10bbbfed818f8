#!/bin/bash
# SPDX-License-Identifier: MIT
#
# test_check_all.sh: check-all.sh with programs that die, that count nothing, that say one thing and end with another.

set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d "${TMPDIR:-/tmp}/test_check_all.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
. "$here/verdict.sh"

# expect NAME PART CLOSING STATUS: of a part whose Python programs do what stdin says
expect()
{
	local line status why=

	cat >"$tmp/python"
	chmod 755 "$tmp/python"
	SYSTEM_PYTHON=$tmp/python "$here/check-all.sh" "$2" >"$tmp/out" 2>&1
	status=$?
	line=$(tail -n 1 "$tmp/out")
	[[ $line == "$3" && $status == "$4" ]] || why="'$line' and status $status, not '$3' and $4"
	verdict "$1" "$why" "$tmp/out"
}

# of `validate`, which is one program
expect what_passes_passes validate '2 passed, 0 failed, 1 skipped' 0 <<'END'
#!/bin/sh
echo '2 passed, 0 failed, 1 skipped'
END

expect what_fails_fails validate '2 passed, 1 failed, 0 skipped' 1 <<'END'
#!/bin/sh
echo '2 passed, 1 failed, 0 skipped'
exit 1
END

expect who_dies_without_a_word_has_failed validate '0 passed, 1 failed, 0 skipped' 1 <<'END'
#!/bin/sh
exit 1
END

expect who_dies_behind_its_counts_has_failed validate '0 passed, 1 failed, 0 skipped' 1 <<'END'
#!/bin/sh
echo '2 passed, 0 failed, 0 skipped'
echo 'Traceback (most recent call last):'
exit 1
END

expect who_passes_all_and_ends_badly_has_failed validate '2 passed, 1 failed, 0 skipped' 1 <<'END'
#!/bin/sh
echo '2 passed, 0 failed, 0 skipped'
exit 3
END

expect who_runs_nothing_has_failed validate '0 passed, 1 failed, 0 skipped' 1 <<'END'
#!/bin/sh
echo '0 passed, 0 failed, 0 skipped'
END

# of `faults`, which are two
if ((EUID != 0)); then
	echo 'skip the two programs of the faults - they need root'
	echo "$passed passed, $failed failed, 1 skipped"
	exit $((failed > 0))
fi

expect two_programs_are_summed faults '4 passed, 0 failed, 0 skipped' 0 <<'END'
#!/bin/sh
echo '2 passed, 0 failed, 0 skipped'
END

expect one_that_dies_is_not_hidden_by_the_other faults '2 passed, 1 failed, 0 skipped' 1 <<'END'
#!/bin/sh
case $1 in
*/faults.py) exit 1 ;;
*) echo '2 passed, 0 failed, 0 skipped' ;;
esac
END

expect one_that_dies_at_a_number_is_not_counted faults '2 passed, 1 failed, 0 skipped' 1 <<'END'
#!/bin/sh
case $1 in
*/faults.py) echo '150 faults injected, 3 not reached'; exit 1 ;;
*) echo '2 passed, 0 failed, 0 skipped' ;;
esac
END

closing
