#compdef agentsight
# SPDX-License-Identifier: MIT
# zsh completion for agentsight(8)

_agentsight() {
	local -a verbs whom output sources samples say tls user each alerts pace monitor program
	verbs=( # $commands are those of the shell
		'record:everything a program and all it starts do'
		'trace:the sources you name'
		'ssl:plaintext at TLS library calls'
		'process:exec, fork and exit'
		'network:connections, every send and receive'
		'files:file operations'
		'system:CPU and memory samples'
		'run:start a command and sample it and all that it starts'
		'attach:the same for processes that run already'
		'doctor:what this kernel and this user allow'
		'stats:what recordings say'
		'diff:two recordings beside one another'
		'schema:the event types and their fields'
	)
	whom=(
		'*'{-c,--comm}'[processes with this name]:name:_process_names -a'
		'*'{-p,--pid}'[these processes]:pid:_pids'
		'--no-children[do not follow what they start]'
	)
	user=({-u,--uid}'[only processes of this user]:uid:')
	output=(
		{-o,--output,--log-file}'[write JSON lines there]:file:_files'
		'--rotate-size[start a new file at this size]:MB:'
		'--rotate-keep[old files to keep]:number:'
		'--filter[keep only events for which it is true]:expression:'
		{-d,--duration}'[stop after this time]:seconds:'
		'--ring-size[memory between kernel and agentsight]:MB:'
		'--keep-privileges[stay one process with all privileges, to be debugged]'
		'--queue-size[memory for output that cannot be written yet]:MB:'
		'--no-redact[keep secrets in the output]'
		{-q,--quiet}'[only errors on standard error]'
	)
	sources=(
		'--ssl=-[plaintext at TLS library calls]::switch:(true false)'
		'--process=-[exec, fork and exit]::switch:(true false)'
		'--network=-[connections, every send and receive]::switch:(true false)'
		'--files=-[file operations]::switch:(true false)'
		'--system=-[CPU and memory samples]::switch:(true false)'
		'--stdio=-[all that stdin, stdout and stderr carry]::switch:(true false)'
	)
	each=(
		'--threads[a sample of every thread]'
		'--pss-interval[time between two looks at PSS and USS]:seconds:'
		'--syscalls[system calls of each process]'
		'--offcpu[what threads waited for]'
		'--gpu[graphics and compute devices]'
		'--pressure[stalls and limits of the machine and of cgroups]'
		'*--env[variables to tell of each process]:name:_parameters -g "*export*"'
	)
	alerts=(
		'*--alert[alert while it holds]:rule:'
		'--on-alert[run this when an alert starts or ends]:command:_command_names'
		'--webhook[tell this address of alerts]:URL:_urls'
		'--exit-over[exit with status 4 when an alert was raised]'
		'--cpu-threshold[alert while a process uses more]:percent:'
		'--memory-threshold[alert while the resident set is larger]:MB:'
	)
	samples=(
		{-i,--interval,--system-interval}'[time between samples]:seconds:'
		'--detail[samples with all that costs little, and sums of the tree]'
		$each $alerts
	)
	pace=(
		{-i,--interval}'[time between samples at the start]:milliseconds:'
		{-m,--max-interval}'[the longest time between samples]:milliseconds:'
		'--adaptive[how the interval varies]:mode:(time activity fixed)'
		'--no-polling[no samples while it runs]'
		'--since-process-start[sums of a tree since its processes started]'
		$each $alerts
	)
	monitor=(
		'--exclude-children[only the process itself]'
		'--out[write JSON lines there]:file:_files'
		'--format[whose records]:format:(agentsight denet)'
		'--write-env[with --format denet: begin with what the machine is]'
		{-n,--no-update}'[a new line for each sample]'
		'--enable-ebpf[nothing]'
		'--nodump[nothing]'
		'--debug[say more on standard error]'
	)
	tls=(
		'*--binary-path[also attach to the TLS library inside]:file:_files'
		'--prices[what models cost]:file:_files'
	)
	program=(
		'(-):command: _command_names -e'
		'*::arguments:_normal'
	)
	say=(
		{-j,--json}'[JSON also on a terminal]'
		'--no-color[no colours]'
		{-v,--verbose}'[say more on standard error]'
		{-h,--help}'[the options]'
	)

	if ((CURRENT == 2)) && [[ $PREFIX == -* ]]; then
		_arguments {-h,--help}'[the commands]' {-V,--version}'[the version]'
		return
	elif ((CURRENT == 2)); then
		_describe command verbs
		return
	fi
	# what follows is for the command alone, as if it were a program
	shift words
	((CURRENT--))
	case $words[1] in
	record) _arguments -S $whom $output $samples $tls $sources $say $program ;;
	trace) _arguments -S $whom $user $output $samples $tls $sources $say $program ;;
	ssl) _arguments -S $whom $user $output $tls $say $program ;;
	process | network | files) _arguments -S $whom $user $output $say $program ;;
	system) _arguments -S $whom $user $output $samples $say $program ;;
	run) _arguments -S '--no-children[do not follow what they start]' $output $pace $monitor $say $program ;;
	attach) _arguments -S $whom $output $pace $monitor $say '*:process:_pids' ;;
	stats) _arguments '--html[write a report with charts]:file:_files' {-o,--output}'[write it there]:file:_files' $say '*:recording:_files' ;;
	diff) _arguments {-o,--output}'[write it there]:file:_files' $say '*:recording:_files' ;;
	schema) _arguments '--markdown[as a page of documentation]' $say ;;
	doctor) _arguments $say ;;
	esac
}

_agentsight "$@"
