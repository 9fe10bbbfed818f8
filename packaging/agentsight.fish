# SPDX-License-Identifier: MIT
# fish completion for agentsight(8)

# The command line that is recorded, behind our own command and options. Nothing while these are typed.
function __agentsight_program
    set -l valued -c --comm -p --pid -u --uid -o --output --out --log-file --rotate-size --rotate-keep --filter
    set -a valued -d --duration --ring-size --queue-size -i --interval --system-interval -m --max-interval
    set -a valued --adaptive --pss-interval --env --alert --on-alert --webhook --cpu-threshold --memory-threshold
    set -a valued --format --binary-path --prices
    set -l words (commandline -opc) (commandline -ct)
    set -e words[1]
    contains -- "$words[1]" record trace ssl process network files system run; or return 1
    set -e words[1]
    while set -q words[1]
        switch $words[1]
            case --
                set -e words[1]
                break
            case '-*'
                contains -- $words[1] $valued; and set -e words[1]
                set -e words[1]
            case '*'
                break
        end
    end
    set -q words[1]; or return 1
    printf '%s\n' $words
end

# Is one of these our command, and are its options typed?
function __agentsight_for
    __fish_seen_subcommand_from $argv; and not __agentsight_program >/dev/null
end

set -l events record trace ssl process network files system
set -l monitor run attach
set -l streams $events $monitor
set -l commands $streams doctor stats diff schema

complete -c agentsight -f
complete -c agentsight -n "not __fish_seen_subcommand_from $commands" -a record -d 'Everything a program and all it starts do'
complete -c agentsight -n "not __fish_seen_subcommand_from $commands" -a trace -d 'The sources you name'
complete -c agentsight -n "not __fish_seen_subcommand_from $commands" -a ssl -d 'Plaintext at TLS library calls'
complete -c agentsight -n "not __fish_seen_subcommand_from $commands" -a process -d 'Exec, fork and exit'
complete -c agentsight -n "not __fish_seen_subcommand_from $commands" -a network -d 'Connections, every send and receive'
complete -c agentsight -n "not __fish_seen_subcommand_from $commands" -a files -d 'File operations'
complete -c agentsight -n "not __fish_seen_subcommand_from $commands" -a system -d 'CPU and memory samples'
complete -c agentsight -n "not __fish_seen_subcommand_from $commands" -a run -d 'Start a command and sample it and all that it starts'
complete -c agentsight -n "not __fish_seen_subcommand_from $commands" -a attach -d 'The same for processes that run already'
complete -c agentsight -n "not __fish_seen_subcommand_from $commands" -a doctor -d 'What this kernel and this user allow'
complete -c agentsight -n "not __fish_seen_subcommand_from $commands" -a stats -d 'What recordings say'
complete -c agentsight -n "not __fish_seen_subcommand_from $commands" -a diff -d 'Two recordings beside one another'
complete -c agentsight -n "__agentsight_for stats diff" -F
complete -c agentsight -n "__agentsight_for stats" -l html -r -F -d 'Write a report with charts'
complete -c agentsight -n "__agentsight_for stats diff" -s o -l output -r -F -d 'Write it there'
complete -c agentsight -n "not __fish_seen_subcommand_from $commands" -a schema -d 'The event types and their fields'

set -l stream "__agentsight_for $streams"
set -l named "__agentsight_for $events attach"
set -l sampled "__agentsight_for record trace system $monitor"
set -l monitored "__agentsight_for $monitor"
complete -c agentsight -n $named -s c -l comm -x -a '(ps -eo comm= | sort -u)' -d 'Processes with this name'
complete -c agentsight -n $named -s p -l pid -x -a '(__fish_complete_pids)' -d 'These processes'
complete -c agentsight -n $stream -l no-children -d 'Do not follow what they start'
complete -c agentsight -n "__agentsight_for trace ssl process network files system" -s u -l uid -x -d 'Only processes of this user'
complete -c agentsight -n $stream -s o -l output -r -F -d 'Write JSON lines there'
complete -c agentsight -n $stream -l log-file -r -F -d 'Write JSON lines there'
complete -c agentsight -n $stream -l rotate-size -x -d 'Start a new file at this size (MB)'
complete -c agentsight -n $stream -l rotate-keep -x -d 'Old files to keep'
complete -c agentsight -n $stream -l filter -x -d 'Keep only events for which it is true'
complete -c agentsight -n $stream -s d -l duration -x -d 'Stop after this time (seconds)'
complete -c agentsight -n $stream -l ring-size -x -d 'Memory between kernel and agentsight (MB)'
complete -c agentsight -n $stream -l keep-privileges -d 'Stay one process with all privileges, to be debugged'
complete -c agentsight -n $stream -l queue-size -x -d 'Memory for output that cannot be written yet (MB)'
complete -c agentsight -n $stream -l no-redact -d 'Keep secrets in the output'
complete -c agentsight -n $stream -s q -l quiet -d 'Only errors on standard error'

complete -c agentsight -n "__agentsight_for record trace" -l ssl -d 'Plaintext at TLS library calls'
complete -c agentsight -n "__agentsight_for record trace" -l process -d 'Exec, fork and exit'
complete -c agentsight -n "__agentsight_for record trace" -l network -d 'Connections, every send and receive'
complete -c agentsight -n "__agentsight_for record trace" -l files -d 'File operations'
complete -c agentsight -n "__agentsight_for record trace" -l system -d 'CPU and memory samples'
complete -c agentsight -n "__agentsight_for record trace" -l stdio -d 'All that stdin, stdout and stderr carry'
complete -c agentsight -n "__agentsight_for record trace ssl" -l binary-path -r -F -d 'Also attach to the TLS library inside'
complete -c agentsight -n "__agentsight_for record trace ssl" -l prices -r -F -d 'What models cost'
complete -c agentsight -n "__agentsight_for record trace system" -s i -l interval -x -d 'Time between samples (seconds)'
complete -c agentsight -n "__agentsight_for record trace system" -l system-interval -x -d 'Time between samples (seconds)'
complete -c agentsight -n $sampled -l cpu-threshold -x -d 'Alert while a process uses more (percent)'
complete -c agentsight -n $sampled -l memory-threshold -x -d 'Alert while the resident set is larger (MB)'

complete -c agentsight -n "__agentsight_for record trace system" -l detail -d 'Samples with all that costs little, and sums of the tree'
complete -c agentsight -n $sampled -l threads -d 'A sample of every thread'
complete -c agentsight -n $sampled -l pss-interval -x -d 'Time between two looks at PSS and USS (seconds)'
complete -c agentsight -n $sampled -l syscalls -d 'System calls of each process'
complete -c agentsight -n $sampled -l offcpu -d 'What threads waited for'
complete -c agentsight -n $sampled -l gpu -d 'Graphics and compute devices'
complete -c agentsight -n $sampled -l pressure -d 'Stalls and limits of the machine and of cgroups'
complete -c agentsight -n $sampled -l env -x -a '(set -nx)' -d 'Variables to tell of each process'
complete -c agentsight -n $sampled -l alert -x -d 'Alert while this rule holds'
complete -c agentsight -n $sampled -l on-alert -x -a '(__fish_complete_command)' -d 'Run this when an alert starts or ends'
complete -c agentsight -n $sampled -l webhook -x -d 'Tell this address of alerts'
complete -c agentsight -n $sampled -l exit-over -d 'Exit with status 4 when an alert was raised'

complete -c agentsight -n '__agentsight_program >/dev/null' -x -a '(__fish_complete_subcommand --commandline (__agentsight_program))'
complete -c agentsight -n "__agentsight_for attach" -x -a '(__fish_complete_pids)' -d Process
complete -c agentsight -n $monitored -s i -l interval -x -d 'Time between samples at the start (milliseconds)'
complete -c agentsight -n $monitored -s m -l max-interval -x -d 'The longest time between samples (milliseconds)'
complete -c agentsight -n $monitored -l adaptive -x -a 'time activity fixed' -d 'How the interval varies'
complete -c agentsight -n $monitored -l no-polling -d 'No samples while it runs'
complete -c agentsight -n $monitored -l since-process-start -d 'Sums of a tree since its processes started'
complete -c agentsight -n $monitored -l exclude-children -d 'Only the process itself'
complete -c agentsight -n $monitored -l out -r -F -d 'Write JSON lines there'
complete -c agentsight -n $monitored -l format -x -a 'agentsight denet' -d 'Whose records'
complete -c agentsight -n $monitored -l write-env -d 'With --format denet: begin with what the machine is'
complete -c agentsight -n $monitored -s n -l no-update -d 'A new line for each sample'
complete -c agentsight -n $monitored -l enable-ebpf -d Nothing
complete -c agentsight -n $monitored -l nodump -d Nothing
complete -c agentsight -n $monitored -l debug -d 'Say more on standard error'

set -l any "__agentsight_for $commands"
complete -c agentsight -n $any -s j -l json -d 'JSON also on a terminal'
complete -c agentsight -n "__agentsight_for schema" -l markdown -d 'As a page of documentation'
complete -c agentsight -n $any -l no-color -d 'No colours'
complete -c agentsight -n $any -s v -l verbose -d 'Say more on standard error'
complete -c agentsight -n $any -s h -l help -d 'The options'
complete -c agentsight -n "not __fish_seen_subcommand_from $commands" -s h -l help -d 'The commands'
complete -c agentsight -n "not __fish_seen_subcommand_from $commands" -s V -l version -d 'The version'
