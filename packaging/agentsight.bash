# SPDX-License-Identifier: MIT
# bash completion for agentsight(8)

_agentsight()
{
	local cur=$2 prev=$3 command=${COMP_WORDS[1]} i
	local commands="record trace ssl process network files system doctor stats diff schema"
	local whom="-c --comm -p --pid --no-children"
	local output="-o --output --log-file --rotate-size --rotate-keep --filter --duration --ring-size --queue-size --prices --no-redact"
	local sources="--ssl --process --network --files --system --stdio"
	local samples="--system-interval -i --interval --cpu-threshold --memory-threshold --alert --on-alert --webhook --exit-over"
	local say="--json --no-color -q --quiet -v --verbose -h --help"

	if [ "$COMP_CWORD" -eq 1 ]; then
		mapfile -t COMPREPLY < <(compgen -W "$commands --help --version" -- "$cur")
		return
	fi

	# behind "--" stands another command line
	for ((i = 2; i < COMP_CWORD; i++)); do
		if [ "${COMP_WORDS[i]}" = -- ]; then
			if declare -F _command_offset >/dev/null; then
				_command_offset $((i + 1))
			else
				mapfile -t COMPREPLY < <(compgen -c -- "$cur")
			fi
			return
		fi
	done

	case $prev in
	-c | --comm)
		mapfile -t COMPREPLY < <(compgen -W "$(ps -eo comm= 2>/dev/null | sort -u)" -- "$cur")
		return
		;;
	-p | --pid)
		mapfile -t COMPREPLY < <(compgen -W "$(ps -eo pid= 2>/dev/null)" -- "$cur")
		return
		;;
	-u | --uid)
		mapfile -t COMPREPLY < <(compgen -W "$(cut -d: -f3 /etc/passwd)" -- "$cur")
		return
		;;
	-o | --output | --log-file | --binary-path | --html)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	--rotate-size | --rotate-keep | --filter | --duration | --ring-size | --queue-size | \
		--system-interval | -i | --interval | --cpu-threshold | --memory-threshold | \
		--alert | --on-alert | --webhook)
		return
		;;
	esac

	case $command in
	record) set -- "$whom" "$output" "$samples" "--binary-path" "$sources" "$say" ;;
	trace) set -- "$whom" "$output" "$samples" "-u --uid --binary-path" "$sources" "$say" ;;
	ssl) set -- "$whom" "$output" "-u --uid --binary-path" "$say" ;;
	process | network | files) set -- "$whom" "$output" "-u --uid" "$say" ;;
	system) set -- "$whom" "$output" "$samples" "-u --uid" "$say" ;;
	stats | diff)
		if [[ $cur != -* ]]; then
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			return
		fi
		set -- "--html --json --no-color -v --verbose -h --help"
		;;
	schema) set -- "--json --markdown --no-color -v --verbose -h --help" ;;
	doctor) set -- "--json --no-color -v --verbose -h --help" ;;
	*) return ;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$*" -- "$cur")
}
complete -o filenames -F _agentsight agentsight
