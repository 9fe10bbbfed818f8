#!/bin/sh
# SPDX-License-Identifier: MIT
# Who may include whom. One direction: nothing below knows what is above it, and sources, stages
# and sinks know nothing of one another.
set -u
cd "$(dirname "$0")/.." || exit 1

# The rooms that the files of a room may include.
allowed() {
	case $1 in
	base) echo base ;;
	priv) echo base priv ;;
	event) echo base event ;;
	enrich) echo base event enrich ;;
	find) echo base find priv ;;
	http) echo base http ;;
	llm) echo base http llm ;;
	source) echo base event enrich find priv source ;;
	stage) echo base event enrich http llm stage ;;
	sink) echo base event priv sink ;;
	lib) echo base event pipeline stats ;;
	stats) echo base event stats ;;
	pipeline) echo base event enrich find http llm priv source stage sink stats pipeline ;;
	cmd | main.c) echo base event enrich find http llm priv source stage sink stats pipeline cmd ;;
	*) return 1 ;;
	esac
}

complain() {
	echo "$1: $2" >&2
	bad=1
}

check_userspace() {
	room=$(echo "$1" | cut -d/ -f2)
	rooms=$(allowed "$room") || {
		complain "$1" "the room '$room' has no row in tools/check-layers.sh"
		return
	}
	for include in $(sed -n 's/^[ \t]*#[ \t]*include[ \t]*"\([^"]*\)".*/\1/p' "$1"); do
		case $include in
		*.skel.h | types.inc | syscalls.inc)
			[ "$room" = source ] || complain "$1" "only sources include skeletons: $include"
			continue
			;;
		*/*) ;;
		*)
			complain "$1" "say which room: \"$include\""
			continue
			;;
		esac
		case " $rooms " in
		*" ${include%%/*} "*) ;;
		*) complain "$1" "$room must not include \"$include\"" ;;
		esac
	done
}

# The kernel's side knows the contract and itself.
check_bpf() {
	for include in $(sed -n 's/^[ \t]*#[ \t]*include[ \t]*["<]\([^">]*\)[">].*/\1/p' "$1"); do
		case $include in
		vmlinux.h | bpf/* | lib/* | *.bpf.h | agentsight/*) ;;
		*) complain "$1" "a BPF program must not include $include" ;;
		esac
	done
}

# What both sides include needs no library. The library's header is for other programs.
check_contract() {
	[ "$1" = include/agentsight/agentsight.h ] && return
	for include in $(sed -n 's/^[ \t]*#[ \t]*include[ \t]*["<]\([^">]*\)[">].*/\1/p' "$1"); do
		case $include in
		agentsight/* | linux/types.h | stddef.h) ;;
		*) complain "$1" "the contract must not include $include" ;;
		esac
	done
}

bad=0
for file in userspace/*.[ch] userspace/*/*.[ch]; do
	[ -e "$file" ] && check_userspace "$file"
done
for file in bpf/*.c bpf/lib/*.h; do
	[ -e "$file" ] && check_bpf "$file"
done
for file in include/agentsight/*.h; do
	check_contract "$file"
done
exit $bad
