#!/bin/sh
# SPDX-License-Identifier: MIT
#
# run.sh DIRECTORY SECONDS TARGET...: the engines in DIRECTORY/tests/engine, one after the other, and a table of what
# they did. New inputs go to DIRECTORY/corpus, finds to DIRECTORY/found, what the engines say to DIRECTORY/log.

set -u

cd "$(dirname "$0")/../.." || exit 2
directory=$1 seconds=$2
shift 2
mkdir -p "$directory/found" "$directory/log"
table=$(mktemp)
trap 'rm -f "$table"' EXIT
status=0 n=0

# What the engine for $1 is told besides.
options()
{
	if [ -f "tests/fuzz/corpus/$1.dict" ]; then
		echo "-dict=tests/fuzz/corpus/$1.dict"
	fi
	# it keeps a pipeline over several inputs, which the engine would take for a leak
	if [ "$1" = stages ]; then
		echo -detect_leaks=0
	fi
}

for name; do
	n=$((n + 1))
	mkdir -p "$directory/corpus/$name"
	log=$directory/log/$name
	printf '%2d/%d %s\n' "$n" $# "$name"
	# shellcheck disable=SC2046 # one word per option
	if "$directory/tests/engine/fuzz_$name" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 \
		-print_final_stats=1 -artifact_prefix="$directory/found/$name-" $(options "$name") \
		"$directory/corpus/$name" "tests/fuzz/corpus/$name" >"$log" 2>&1; then
		verdict=clean
	else
		verdict=$(sed -n 's/^SUMMARY: //p' "$log" | tail -n 1)
		verdict=${verdict:-failed: $log}
		status=1
		echo "      $verdict"
		sed -n 's/.*Test unit written to /      /p' "$log"
	fi
	awk -v name="$name" -v verdict="$verdict" '
		/ cov: / { for (i = 1; i < NF; i++) { if ($i == "cov:") cov = $(i + 1); if ($i == "corp:") corpus = $(i + 1) } }
		/^stat::number_of_executed_units/ { runs = $2 }
		/^stat::average_exec_per_sec/ { rate = $2 }
		END { sub("/.*", "", corpus)
		      printf "%-12s %12d %9d %7d %8d  %s\n", name, runs, rate, cov, corpus, verdict }' "$log" >>"$table"
done

printf '\n%-12s %12s %9s %7s %8s\n' target inputs per-s edges corpus
cat "$table"
exit $status
