#!/bin/bash
# SPDX-License-Identifier: MIT
#
# check-all.sh PART...: run the parts of the test suite and print one closing line over all of them,
# "N passed, N failed, N skipped". Parts: unit fuzz hostile corpora judge source golden library python live real
# faults validate.
#
# A part that prints no closing line, or none that says anything ran, or that ends badly without saying what failed,
# has failed. Exit status: 0 when something passed and nothing failed.

set -uo pipefail

cd "$(dirname "$0")/.." || exit 2
O=${O:-out}
SYSTEM_PYTHON=${SYSTEM_PYTHON:-python3}
LIVETEST=${LIVETEST:-$O/tests/live/livetest}
CLOSING='[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped'

# judge_end NAME STATUS FILE: the closing line of what ended with STATUS and wrote FILE, in $closing; what died without
# one, or badly and with no failure to show for it, has failed.
judge_end()
{
	closing=$(tail -n 1 "$3")
	if [[ ! $closing =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
		echo "not ok $1 - it ended with status $2 and without a closing line"
		closing='0 passed, 1 failed, 0 skipped'
	elif ((BASH_REMATCH[1] + BASH_REMATCH[2] + BASH_REMATCH[3] == 0)); then
		echo "not ok $1 - nothing ran"
		closing='0 passed, 1 failed, 0 skipped'
	elif (($2 != 0 && BASH_REMATCH[2] == 0)); then
		echo "not ok $1 - it ended with status $2"
		closing="${BASH_REMATCH[1]} passed, 1 failed, ${BASH_REMATCH[3]} skipped"
	fi
}

# summed SUMS NAME COMMAND...: passes on the lines of a command, less the closing one, which goes into the file SUMS.
summed()
{
	local sums=$1 name=$2 closing

	shift 2
	"$@" | tee "$sums.last" | grep -vxE "$CLOSING"
	judge_end "$name" "${PIPESTATUS[0]}" "$sums.last"
	echo "$closing" >>"$sums"
}

# program_one NAME COMMAND...: a program that counts nothing; its status tells.
program_one()
{
	local name=$1

	shift
	if "$@"; then
		echo "ok $name"
		echo '1 passed, 0 failed, 0 skipped' >>"$tmp/sums"
	else
		echo "not ok $name"
		echo '0 passed, 1 failed, 0 skipped' >>"$tmp/sums"
	fi
}

# unit_one PROGRAM: turns the TAP that cmocka writes into our lines, and counts.
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

# sums_print [SUMS]: their closing line
sums_print()
{
	awk '{ passed += $1; failed += $3; skipped += $5 }
		END { print passed + 0 " passed, " failed + 0 " failed, " skipped + 0 " skipped" }' "${1:-$tmp/sums}"
}

# What judges others: of guests, and this script itself.
part_judge()
{
	: >"$tmp/sums"
	summed "$tmp/sums" test_judge.sh sh tests/vm/test_judge.sh
	summed "$tmp/sums" test_vm_run.sh bash tests/vm/test_run.sh
	summed "$tmp/sums" test_check_all.sh bash tests/test_check_all.sh
	sums_print
}

# The source itself: who includes whom, headers alone, options that documents and completions know.
part_source()
{
	: >"$tmp/sums"
	program_one check-layers sh tools/check-layers.sh
	program_one check-headers env O="$O" CC="${CC:-cc}" CLANG="${CLANG:-clang}" sh tools/check-headers.sh
	program_one check-docs bash tests/check-docs.sh
	sums_print
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
	summed "$tmp/sums" faults.py "$SYSTEM_PYTHON" tests/faults/faults.py --few
	summed "$tmp/sums" surroundings.py "$SYSTEM_PYTHON" tests/faults/surroundings.py --few
	sums_print
}

part_validate()
{
	"$SYSTEM_PYTHON" tests/validate.py "$O/tests/output"
}

tmp=$(mktemp -d "${TMPDIR:-/tmp}/check-all.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
: >"$tmp/all"

for part; do
	case $part in
	unit | fuzz | hostile | corpora | judge | source | golden | library | python | live | real | faults | validate)
		summed "$tmp/all" "$part" "part_$part"
		;;
	*)
		echo "check-all.sh: no part '$part'" >&2
		exit 2
		;;
	esac
done

closing=$(sums_print "$tmp/all")
echo "$closing"
[[ $closing =~ ^[1-9][0-9]*\ passed,\ 0\ failed ]]
