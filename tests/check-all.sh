#!/bin/bash
# SPDX-License-Identifier: MIT
#
# check-all.sh PART...: run the parts of the test suite and print one closing line over all of them,
# "N passed, N failed, N skipped". Parts: unit fuzz hostile corpora judge golden library python live real
# faults validate.
#
# A part that prints no closing line, or none that says anything ran, has failed. Exit status: 0 when
# something passed and nothing failed.

set -uo pipefail

cd "$(dirname "$0")/.." || exit 2
O=${O:-out}
SYSTEM_PYTHON=${SYSTEM_PYTHON:-python3}
LIVETEST=${LIVETEST:-$O/tests/live/livetest}
passed=0 failed=0 skipped=0

# tap_count FILE: turns the TAP that cmocka writes into our lines, and counts.
unit_one()
{
	local program=$1 name=${1#"$O"/tests/} status=0

	name=${name#unit/}

	# cmocka's messages and TAP share a stream; a test that dies leaves no line of its own
	CMOCKA_MESSAGE_OUTPUT=TAP timeout -k 5 300 "$program" >"$tmp/tap" 2>&1 || status=$?
	awk -v program="$name" -v status="$status" '
		/^(not )?ok [0-9]+ .*# SKIP/ { skipped++; next }
		/^ok [0-9]+ / { passed++; next }
		/^not ok [0-9]+ / { failed++; sub(/^not ok [0-9]+ - /, ""); print "not ok " program ": " $0; next }
		/^#/ && failed { print }
		END {
			if (status != 0 && !failed) {
				failed++
				print "not ok " program " - it ended with status " status
			}
			if (passed + failed + skipped == 0) {
				failed++
				print "not ok " program " - no test ran"
			}
			if (!failed)
				print "ok " program " (" passed + 0 " tests)"
			print passed + 0 " passed, " failed + 0 " failed, " skipped + 0 " skipped"
		}' "$tmp/tap" >"$tmp/one"
	((status == 0)) || tail -n 30 "$tmp/tap" | sed 's/^/    /' >&2
	sed '$d' "$tmp/one"
	tail -n 1 "$tmp/one" >>"$tmp/sums"
}

part_unit()
{
	local source

	: >"$tmp/sums"
	for source in tests/unit/*/test_*.c; do
		unit_one "$O/${source%.c}"
	done
	sums_print
}

part_hostile()
{
	local source

	: >"$tmp/sums"
	for source in tests/hostile/test_*.c; do
		unit_one "$O/${source%.c}"
	done
	sums_print
}

# Public inputs: through the targets, and what is said of them compared with what they are known to be.
part_corpora()
{
	local directory name

	: >"$tmp/sums"
	for directory in "$AGENTSIGHT_CORPORA"/targets/*/; do
		if [[ ! -d $directory ]]; then
			echo "not ok corpora - none could be fetched"
			echo '0 passed, 1 failed, 0 skipped' >>"$tmp/sums"
			continue
		fi
		name=$(basename "$directory")
		if timeout -k 5 1800 "$O/tests/fuzz/fuzz_$name" "$directory" >"$tmp/fuzz" 2>&1; then
			echo "ok corpora $name ($(tail -n 1 "$tmp/fuzz"))"
			echo '1 passed, 0 failed, 0 skipped' >>"$tmp/sums"
		else
			echo "not ok corpora $name - $(tail -n 1 "$tmp/fuzz")"
			tail -n 30 "$tmp/fuzz" | sed 's/^/    /' >&2
			echo '0 passed, 1 failed, 0 skipped' >>"$tmp/sums"
		fi
	done
	unit_one "$O/tests/hostile/test_splits"
	unit_one "$O/tests/hostile/test_agreement"
	sums_print
}

part_fuzz()
{
	local source name corpus

	: >"$tmp/sums"
	for source in tests/fuzz/fuzz_*.c; do
		name=${source#tests/fuzz/fuzz_} name=${name%.c}
		corpus=tests/fuzz/corpus/$name
		if [[ ! -d $corpus ]]; then
			echo "not ok fuzz_$name - there is no $corpus"
			echo '0 passed, 1 failed, 0 skipped' >>"$tmp/sums"
		elif timeout -k 5 300 "$O/tests/fuzz/fuzz_$name" "$corpus" >"$tmp/fuzz" 2>&1; then
			echo "ok fuzz_$name over its corpus"
			echo '1 passed, 0 failed, 0 skipped' >>"$tmp/sums"
		else
			echo "not ok fuzz_$name - $(tail -n 1 "$tmp/fuzz")"
			sed 's/^/    /' "$tmp/fuzz" | tail -n 30 >&2
			echo '0 passed, 1 failed, 0 skipped' >>"$tmp/sums"
		fi
	done
	sums_print
}

sums_print()
{
	awk '{ passed += $1; failed += $3; skipped += $5 }
		END { print passed + 0 " passed, " failed + 0 " failed, " skipped + 0 " skipped" }' "$tmp/sums"
}

part_judge()
{
	sh tests/vm/test_judge.sh
}

part_golden()
{
	sh tests/check-golden.sh
}

part_library()
{
	O=$O tests/library/run.sh
}

part_python()
{
	O=$O SYSTEM_PYTHON=$SYSTEM_PYTHON tests/python.sh
}

part_live()
{
	if ((EUID != 0)); then
		echo 'skip the live tests - they need root'
		echo '0 passed, 0 failed, 1 skipped'
		return
	fi
	"$LIVETEST"
}

part_real()
{
	if ((EUID != 0)); then
		echo 'skip the real programs - they need root'
		echo '0 passed, 0 failed, 1 skipped'
		return
	fi
	"$SYSTEM_PYTHON" tests/real/run.py
}

part_faults()
{
	if ((EUID != 0)); then
		echo 'skip the faults - they need root'
		echo '0 passed, 0 failed, 1 skipped'
		return
	fi
	: >"$tmp/sums"
	for program in 'faults.py --few' 'surroundings.py --few'; do
		# shellcheck disable=SC2086 # a program and its option
		"$SYSTEM_PYTHON" tests/faults/$program | tee "$tmp/faults" | grep -vxE '[0-9]+ passed, .*'
		tail -n 1 "$tmp/faults" >>"$tmp/sums"
	done
	sums_print
}

part_validate()
{
	"$SYSTEM_PYTHON" tests/validate.py "$O/tests/output"
}

# part_run NAME: passes its output on, less the closing line, which is added to the sums.
part_run()
{
	local closing

	# the last line only when it is a closing line: a part that died says nothing
	part_"$1" | tee "$tmp/part" | grep -vxE '[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped'
	closing=$(tail -n 1 "$tmp/part")
	if [[ ! $closing =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
		echo "not ok $1 - it ended without a closing line"
		failed=$((failed + 1))
		return
	fi
	if ((BASH_REMATCH[1] + BASH_REMATCH[2] + BASH_REMATCH[3] == 0)); then
		echo "not ok $1 - nothing ran"
		failed=$((failed + 1))
	fi
	passed=$((passed + BASH_REMATCH[1]))
	failed=$((failed + BASH_REMATCH[2]))
	skipped=$((skipped + BASH_REMATCH[3]))
}

tmp=$(mktemp -d "${TMPDIR:-/tmp}/check-all.XXXXXX")
trap 'rm -rf "$tmp"' EXIT

for part; do
	case $part in
	unit | fuzz | hostile | corpora | judge | golden | library | python | live | real | faults | validate) part_run "$part" ;;
	*)
		echo "check-all.sh: no part '$part'" >&2
		exit 2
		;;
	esac
done

echo "$passed passed, $failed failed, $skipped skipped"
((failed == 0 && passed > 0))
