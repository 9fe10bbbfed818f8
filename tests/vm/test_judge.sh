#!/bin/sh
# SPDX-License-Identifier: MIT
#
# test_judge.sh: judge.sh against guests that went well, badly and silent.

set -eu

here=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d "${TMPDIR:-/tmp}/test_judge.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM

. "$here/../verdict.sh"

cat >"$tmp/exceptions" <<'END'
# comment

open-path	5.10	needs d_path, which this kernel lacks
  udp-bytes   6.1   two   words of reason
tenth		5.1	must not apply to 5.10
END

# expect NAME KERNEL STATUS WANTED…: judge stdin; each WANTED is a whole line of the output, in order,
# and a wanted "!line" is one that must not occur.
expect()
{
	name=$1 kernel=$2 want_status=$3
	shift 3
	cat >"$tmp/in"
	status=0
	"$here/judge.sh" "$kernel" "$tmp/exceptions" <"$tmp/in" >"$tmp/out" 2>"$tmp/err" || status=$?
	why=
	[ "$status" -eq "$want_status" ] || why="status $status, not $want_status"
	for wanted; do
		case $wanted in
		!*) ! grep -qxF -e "${wanted#!}" "$tmp/out" || why="${why:+$why; }has: ${wanted#!}" ;;
		*) grep -qxF -e "$wanted" "$tmp/out" || why="${why:+$why; }lacks: $wanted" ;;
		esac
	done
	verdict "$name" "$why" "$tmp/out" "$tmp/err"
}

expect a-clean-run-passes 6.12 0 'ok a' 'skip b - no perf' '1 passed, 0 failed, 1 skipped' <<'END'
ok a
skip b - no perf
1 passed, 0 failed, 1 skipped

VM-TAINT 0 0
VM-RESULT 0
END

expect a-failing-test-fails-the-run 6.12 1 'not ok a - lost 3' '0 passed, 1 failed, 0 skipped' <<'END'
not ok a - lost 3
0 passed, 1 failed, 0 skipped
VM-RESULT 1
END

expect an-excepted-failure-is-expected 5.10 0 \
	'expected open-path - needs d_path, which this kernel lacks (open-path - no path)' \
	'1 passed, 0 failed, 1 skipped' '!0 passed, 1 failed, 0 skipped' <<'END'
ok a
not ok open-path - no path
1 passed, 1 failed, 0 skipped
VM-RESULT 1
END

expect an-exception-is-for-its-kernel-only 6.1 1 'not ok open-path - no path' <<'END'
not ok open-path - no path
0 passed, 1 failed, 0 skipped
VM-RESULT 1
END

expect kernel-names-are-not-numbers 5.10 1 'not ok tenth - why' <<'END'
not ok tenth - why
0 passed, 1 failed, 0 skipped
VM-RESULT 1
END

expect a-needless-exception-fails-the-run 6.1 1 \
	'not ok udp-bytes - exception no longer needed (two   words of reason)' \
	'1 passed, 1 failed, 0 skipped' '!ok udp-bytes' <<'END'
ok udp-bytes
ok b
2 passed, 0 failed, 0 skipped
VM-RESULT 0
END

expect a-skipped-test-keeps-its-exception 6.1 0 '0 passed, 0 failed, 1 skipped' <<'END'
skip udp-bytes - not today
0 passed, 0 failed, 1 skipped
VM-RESULT 0
END

expect an-exception-without-a-test-is-noted 6.1 0 \
	'note: the exception for udp-bytes met no test of that name' '1 passed, 0 failed, 0 skipped' <<'END'
ok b
1 passed, 0 failed, 0 skipped
VM-RESULT 0
END

expect silence-fails 6.12 3 'not ok guest - no result line' '0 passed, 1 failed, 0 skipped' </dev/null

expect a-guest-that-stops-halfway-fails 6.12 3 'ok a' 'not ok guest - no result line' <<'END'
ok a
1 passed, 0 failed, 0 skipped
END

expect a-result-line-cut-short-is-none 6.12 3 'not ok guest - no result line' <<'END'
ok a
1 passed, 0 failed, 0 skipped
VM-RESULT
END

expect a-missing-closing-line-fails 6.12 1 'not ok guest - no closing line' <<'END'
ok a
VM-RESULT 0
END

expect a-lost-line-fails 6.12 1 \
	'not ok guest - its closing line says 2 passed, 0 failed, 0 skipped, its tests say 1 passed, 0 failed, 0 skipped' <<'END'
ok a
2 passed, 0 failed, 0 skipped
VM-RESULT 0
END

expect a-run-of-nothing-fails 6.12 1 'not ok guest - no test ran' <<'END'
0 passed, 0 failed, 0 skipped
VM-RESULT 0
END

expect a-bad-status-with-passing-tests-fails 6.12 1 'not ok guest - the command ended with status 139' <<'END'
ok a
1 passed, 0 failed, 0 skipped
VM-RESULT 139
END

expect a-crash-behind-an-expected-failure-fails 5.10 1 'not ok guest - the command ended with status 139' <<'END'
not ok open-path - no path
0 passed, 1 failed, 0 skipped
VM-RESULT 139
END

expect a-kernel-warning-fails 6.12 1 'not ok guest - the kernel warned or oopsed, see its console' <<'END'
ok a
1 passed, 0 failed, 0 skipped
VM-TAINT 0 512
VM-RESULT 0
END

expect an-old-taint-is-not-ours 6.12 0 '1 passed, 0 failed, 0 skipped' <<'END'
ok a
1 passed, 0 failed, 0 skipped
VM-TAINT 640 16640
VM-RESULT 0
END

expect a-result-line-followed-by-more-is-none 6.12 3 'not ok guest - no result line' <<'END'
VM-RESULT 0
ok a
1 passed, 0 failed, 0 skipped
END

printf 'ok a\r\nodd \033[31m\001 bytes \377\r\n1 passed, 0 failed, 0 skipped\r\nVM-RESULT 0\r\n' >"$tmp/odd"
expect control-bytes-are-made-visible 6.12 0 'ok a' "$(printf 'odd ?[31m? bytes \377')" <"$tmp/odd"

echo 'open-path 5.10' >"$tmp/exceptions"
expect an-exception-needs-a-reason 6.12 2 </dev/null

closing
