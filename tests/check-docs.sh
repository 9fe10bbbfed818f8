#!/bin/bash
# SPDX-License-Identifier: MIT
# The man page and the completions know the commands and options that --help lists, and no others.
# Usage: tests/check-docs.sh [PROGRAM]
set -u
cd "$(dirname "$0")/.." || exit 1
program=${1:-./agentsight}
bad=0

commands=$("$program" --help | sed -n 's/^  \([a-z][a-z]*\)  .*/\1/p')
[ -n "$commands" ] || {
	echo "check-docs: $program --help lists no commands" >&2
	exit 1
}

options_of() {
	"$program" "$1" --help | sed -n 's/^ .\{5\}\(--[a-z-]*\).*/\1/p' | sort
}

# compare WHAT EXPECTED FOUND: both are lists
compare() {
	difference=$(diff <(sort -u <<<"$2") <(sort -u <<<"$3")) && return
	echo "check-docs: $1 differs from --help (<: missing, >: unknown):" >&2
	grep '^[<>]' <<<"$difference" >&2
	bad=1
}

all=
for command in $commands; do
	options=$(options_of "$command")
	[ -n "$options" ] || {
		echo "check-docs: $program $command --help lists no options" >&2
		exit 1
	}
	all+=$options$'\n'

	# what bash really offers for this command
	offered=$(
		# shellcheck source=/dev/null
		. packaging/agentsight.bash
		COMP_WORDS=(agentsight "$command" --) COMP_CWORD=2
		_agentsight agentsight -- "$command"
		printf '%s\n' "${COMPREPLY[@]}"
	)
	compare "packaging/agentsight.bash for '$command'" "$options" "$offered"
	for file in agentsight.8 agentsight.zsh agentsight.fish; do
		grep -qw -- "$command" "packaging/$file" || {
			echo "check-docs: packaging/$file does not know the command '$command'" >&2
			bad=1
		}
	done
done
all=$(sort -u <<<"${all%$'\n'}")

compare packaging/agentsight.8 "$all" \
	"$(sed -e '/^\.SH OPTIONS/,/^\.SH SIGNALS/!d' -e 's/\\-/-/g' packaging/agentsight.8 |
		grep -oE -- '--[a-z][a-z-]*')"
compare packaging/agentsight.zsh "$all" "$(grep -v '^#' packaging/agentsight.zsh | grep -oE -- '--[a-z][a-z-]*')"
compare packaging/agentsight.fish "$all" "$(sed -n 's/^complete .* -l \([a-z-]*\).*/--\1/p' packaging/agentsight.fish)"
exit $bad
