# SPDX-License-Identifier: MIT
# fish completion for agentsight(8)

set -l streams record trace ssl process network files system
set -l commands $streams doctor stats diff schema

complete -c agentsight -f
complete -c agentsight -n "not __fish_seen_subcommand_from $commands" -a record -d 'Everything a program and all it starts do'
complete -c agentsight -n "not __fish_seen_subcommand_from $commands" -a trace -d 'The sources you name'
complete -c agentsight -n "not __fish_seen_subcommand_from $commands" -a ssl -d 'Plaintext at TLS library calls'
complete -c agentsight -n "not __fish_seen_subcommand_from $commands" -a process -d 'Exec, fork and exit'
complete -c agentsight -n "not __fish_seen_subcommand_from $commands" -a network -d 'Connections, every send and receive'
complete -c agentsight -n "not __fish_seen_subcommand_from $commands" -a files -d 'File operations'
complete -c agentsight -n "not __fish_seen_subcommand_from $commands" -a system -d 'CPU and memory samples'
complete -c agentsight -n "not __fish_seen_subcommand_from $commands" -a doctor -d 'What this kernel and this user allow'
complete -c agentsight -n "not __fish_seen_subcommand_from $commands" -a stats -d 'What recordings say'
complete -c agentsight -n "not __fish_seen_subcommand_from $commands" -a diff -d 'Two recordings beside one another'
complete -c agentsight -n "__fish_seen_subcommand_from stats diff" -F
complete -c agentsight -n "__fish_seen_subcommand_from stats diff" -l html -r -F -d 'Write a report with charts'
complete -c agentsight -n "not __fish_seen_subcommand_from $commands" -a schema -d 'The event types and their fields'

set -l stream "__fish_seen_subcommand_from $streams"
complete -c agentsight -n $stream -s c -l comm -x -a '(ps -eo comm= | sort -u)' -d 'Processes with this name'
complete -c agentsight -n $stream -s p -l pid -x -a '(__fish_complete_pids)' -d 'These processes'
complete -c agentsight -n $stream -l no-children -d 'Do not follow what they start'
complete -c agentsight -n "__fish_seen_subcommand_from trace ssl process network files system" -s u -l uid -x -d 'Only processes of this user'
complete -c agentsight -n $stream -s o -l output -r -F -d 'Write JSON lines there'
complete -c agentsight -n $stream -l log-file -r -F -d 'Write JSON lines there'
complete -c agentsight -n $stream -l rotate-size -x -d 'Start a new file at this size (MB)'
complete -c agentsight -n $stream -l rotate-keep -x -d 'Old files to keep'
complete -c agentsight -n $stream -l filter -x -d 'Keep only events for which it is true'
complete -c agentsight -n $stream -l duration -x -d 'Stop after this time (seconds)'
complete -c agentsight -n $stream -l ring-size -x -d 'Memory between kernel and agentsight (MB)'
complete -c agentsight -n $stream -l queue-size -x -d 'Memory for output that cannot be written yet (MB)'
complete -c agentsight -n $stream -l prices -r -F -d 'What models cost'
complete -c agentsight -n $stream -l no-redact -d 'Keep secrets in the output'
complete -c agentsight -n $stream -s q -l quiet -d 'Only errors on standard error'

complete -c agentsight -n "__fish_seen_subcommand_from record trace" -l ssl -d 'Plaintext at TLS library calls'
complete -c agentsight -n "__fish_seen_subcommand_from record trace" -l process -d 'Exec, fork and exit'
complete -c agentsight -n "__fish_seen_subcommand_from record trace" -l network -d 'Connections, every send and receive'
complete -c agentsight -n "__fish_seen_subcommand_from record trace" -l files -d 'File operations'
complete -c agentsight -n "__fish_seen_subcommand_from record trace" -l system -d 'CPU and memory samples'
complete -c agentsight -n "__fish_seen_subcommand_from record trace" -l stdio -d 'All that stdin, stdout and stderr carry'
complete -c agentsight -n "__fish_seen_subcommand_from record trace ssl" -l binary-path -r -F -d 'Also attach to the TLS library inside'
complete -c agentsight -n "__fish_seen_subcommand_from record trace system" -s i -l interval -x -d 'Time between samples (seconds)'
complete -c agentsight -n "__fish_seen_subcommand_from record trace system" -l system-interval -x -d 'Time between samples (seconds)'
complete -c agentsight -n "__fish_seen_subcommand_from record trace system" -l cpu-threshold -x -d 'Alert while a process uses more (percent)'
complete -c agentsight -n "__fish_seen_subcommand_from record trace system" -l memory-threshold -x -d 'Alert while the resident set is larger (MB)'
complete -c agentsight -n "__fish_seen_subcommand_from record trace system run attach" -l alert -x -d 'Alert while it holds, such as cpu > 80 for 10s'
complete -c agentsight -n "__fish_seen_subcommand_from record trace system run attach" -l on-alert -x -d 'Run this when an alert starts or ends'
complete -c agentsight -n "__fish_seen_subcommand_from record trace system run attach" -l webhook -x -d 'Tell this address of alerts'
complete -c agentsight -n "__fish_seen_subcommand_from record trace system run attach" -l exit-over -d 'Exit with status 4 when an alert was raised'

complete -c agentsight -l json -d 'JSON also on a terminal'
complete -c agentsight -n "__fish_seen_subcommand_from schema" -l markdown -d 'As a page of documentation'
complete -c agentsight -l no-color -d 'No colours'
complete -c agentsight -s v -l verbose -d 'Say more on standard error'
complete -c agentsight -s h -l help -d 'The options'
