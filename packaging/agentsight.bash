# SPDX-License-Identifier: MIT
# bash completion for agentsight(8)

_agentsight()
{
	local cur=$2 prev=$3 command=${COMP_WORDS[1]} i
	local commands="record trace ssl process network files system run attach doctor stats diff schema"
	local whom="-c --comm -p --pid --no-children"
	local output="-o --output --log-file --rotate-size --rotate-keep --filter -d --duration --ring-size --queue-size --keep-privileges --no-redact"
	local sources="--ssl --process --network --files --system --stdio"
	local each="--threads --pss-interval --syscalls --offcpu --gpu --pressure --env"
	local alerts="--alert --on-alert --webhook --exit-over --cpu-threshold --memory-threshold"
	local samples="--system-interval -i --interval --detail $each $alerts"
	local pace="-i --interval -m --max-interval --adaptive --no-polling --since-process-start $each $alerts"
	local monitor="--exclude-children --out --format --write-env -n --no-update --enable-ebpf --nodump --debug"
	local say="-j --json --no-color -q --quiet -v --verbose -h --help"

	if [ "$COMP_CWORD" -eq 1 ]; then
		mapfile -t COMPREPLY < <(compgen -W "$commands --help --version" -- "$cur")
		return
	fi

	# behind "--", and behind the options of run, stands another command line
	for ((i = 2; i < COMP_CWORD; i++)); do
		if [ "$command" = run ]; then
			case ${COMP_WORDS[i]} in
			--) ;;
			-[imod] | --interval | --max-interval | --adaptive | --pss-interval | --env | --alert | \
				--on-alert | --webhook | --cpu-threshold | --memory-threshold | --format | \
				--output | --out | --log-file | --rotate-size | --rotate-keep | --filter | \
				--duration | --ring-size | --queue-size)
				((i++))
				continue
				;;
			-*) continue ;;
			*)
				if declare -F _command_offset >/dev/null; then
					_command_offset "$i"
				else
					mapfile -t COMPREPLY < <(compgen -c -- "$cur")
				fi
				return
				;;
			esac
		fi
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
	-o | --output | --out | --log-file | --binary-path | --prices | --html)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
		;;
	--adaptive)
		mapfile -t COMPREPLY < <(compgen -W "time activity fixed" -- "$cur")
		return
		;;
	--format)
		mapfile -t COMPREPLY < <(compgen -W "agentsight denet" -- "$cur")
		return
		;;
	--env)
		mapfile -t COMPREPLY < <(compgen -e -- "$cur")
		return
		;;
	--on-alert)
		mapfile -t COMPREPLY < <(compgen -c -- "$cur")
		return
		;;
	--rotate-size | --rotate-keep | --filter | -d | --duration | --ring-size | --queue-size | --alert | \
		--system-interval | -i | --interval | -m | --max-interval | --pss-interval | --webhook | \
		--cpu-threshold | --memory-threshold)
		return
		;;
	esac

	case $command in
	record) set -- "$whom" "$output" "$samples" "--binary-path --prices" "$sources" "$say" ;;
	trace) set -- "$whom" "$output" "$samples" "-u --uid --binary-path --prices" "$sources" "$say" ;;
	ssl) set -- "$whom" "$output" "-u --uid --binary-path --prices" "$say" ;;
	process | network | files) set -- "$whom" "$output" "-u --uid" "$say" ;;
	system) set -- "$whom" "$output" "$samples" "-u --uid" "$say" ;;
	run)
		set -- "--no-children" "$output" "$pace" "$monitor" "$say"
		# without an option a command begins
		if [[ $cur != -* ]]; then
			mapfile -t COMPREPLY < <(compgen -c -- "$cur")
			return
		fi
		;;
	attach)
		set -- "$whom" "$output" "$pace" "$monitor" "$say"
		if [[ $cur != -* ]]; then
			mapfile -t COMPREPLY < <(compgen -W "$(ps -eo pid= 2>/dev/null)" -- "$cur")
			return
		fi
		;;
	stats)
		if [[ $cur != -* ]]; then
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			return
		fi
		set -- "-o --output --html -j --json --no-color -v --verbose -h --help"
		;;
	diff)
		if [[ $cur != -* ]]; then
			mapfile -t COMPREPLY < <(compgen -f -- "$cur")
			return
		fi
		set -- "-o --output -j --json --no-color -v --verbose -h --help"
		;;
	schema) set -- "-j --json --markdown --no-color -v --verbose -h --help" ;;
	doctor) set -- "-j --json --no-color -v --verbose -h --help" ;;
	*) return ;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$*" -- "$cur")
}
complete -o filenames -F _agentsight agentsight
