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

# What a completion offers for a command is what it does when it is run: bash runs all three, since what the others
# write in their files are words that it can be taught.

offered_by_bash() (
	# shellcheck source=/dev/null
	. packaging/agentsight.bash
	COMP_WORDS=(agentsight "$1" --) COMP_CWORD=2
	_agentsight agentsight -- "$1"
	printf '%s\n' "${COMPREPLY[@]}"
)

# shellcheck disable=SC2016,SC2034,SC2317,SC2329 # what the sourced text uses
offered_by_zsh() (
	command=$1 words=(agentsight "$1" --) CURRENT=3
	_arguments() {
		# options are offered for the first word, and not behind a second one
		[[ ${words[*]} == "$command --" && $CURRENT == 2 ]] || return
		printf '%s\n' "$@" | sed -nE 's/^\*?(--[a-z][a-z-]*).*/\1/p'
	}
	# $list is all of a list there, and words are counted from 1
	# shellcheck source=/dev/null
	. <(sed -E -e 's/shift words/words=("${words[@]:1}")/' -e 's/\$words\[1\]/${words[0]}/' \
		-e 's/([[:blank:]])\$([a-z]+)/\1"${\2[@]}"/g' packaging/agentsight.zsh)
)

# shellcheck disable=SC2034,SC2317,SC2329 # what the sourced text uses
offered_by_fish() (
	command=$1
	set() { printf -v "$2" %s "${*:3}"; } # set -l NAME WORD...
	complete() {
		local condition='' option=''
		while (($#)); do
			case $1 in
			-n) condition=$2 ;;
			-l) option=$2 ;;
			esac
			shift
		done
		# "not": where no command stands yet
		[[ -z $option || $condition == not\ * || " $condition " != *" $command "* ]] || echo "--$option"
	}
	# shellcheck source=/dev/null
	. <(sed -e '/^function/,/^end/d' -e 's/ -n \(\$[a-z]*\)/ -n "\1"/' packaging/agentsight.fish)
)

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

	for shell in bash zsh fish; do
		compare "packaging/agentsight.$shell for '$command'" "$options" "$(offered_by_$shell "$command")"
	done
	for file in agentsight.8 agentsight.zsh agentsight.fish; do
		grep -qw -- "$command" "packaging/$file" || {
			echo "check-docs: packaging/$file does not know the command '$command'" >&2
			bad=1
		}
	done
done
all=$(sort -u <<<"${all%$'\n'}")

# fish has to know behind which options a value stands, to find the program behind them
valued=$(for command in record trace ssl process network files system run; do
	"$program" "$command" --help | sed -nE 's/^  (-.,)? *(--[a-z-]+) [A-Z].*/\1\n\2/p'
done | sed -n 's/^\(-[^,]*\),\{0,1\}$/\1/p')
compare "what has a value in packaging/agentsight.fish" "$valued" \
	"$(grep -oP '^    set -[la] valued \K.*' packaging/agentsight.fish | tr ' ' '\n')"

for file in <("$program" --help) <(sed 's/\\-/-/g' packaging/agentsight.8) packaging/agentsight.{bash,zsh,fish}; do
	grep -qE -- '(--|-l )version' "$file" || {
		echo "check-docs: $file does not know --version" >&2
		bad=1
	}
done

compare packaging/agentsight.8 "$all" \
	"$(sed -e '/^\.SH OPTIONS/,/^\.SH SIGNALS/!d' -e 's/\\-/-/g' packaging/agentsight.8 |
		grep -oE -- '--[a-z][a-z-]*')"
exit $bad
