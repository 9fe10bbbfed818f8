#!/bin/sh
# SPDX-License-Identifier: MIT
# Fetches real agents into a cache outside the tree, once: fetch.sh [NAME...]. Prints what could not be had.
set -u
cache=${AGENTSIGHT_AGENTS:-${XDG_CACHE_HOME:-$HOME/.cache}/agentsight/agents}
mkdir -p "$cache" || exit 1

# name, package of npm, program in it
list() {
	cat <<-'END'
		claude-2.1.330 @anthropic-ai/claude-code-linux-x64@2.1.330 claude
		bun-1.1.0 @oven/bun-linux-x64@1.1.0 bin/bun
		bun-1.3.14 @oven/bun-linux-x64@1.3.14 bin/bun
		bun-1.4.5 @oven/bun-linux-x64@1.4.5 bin/bun
		codex-0.169.0 @openai/codex@0.169.0-linux-x64 vendor/x86_64-unknown-linux-musl/bin/codex
		deno-2.2.0 @deno/linux-x64-glibc@2.2.0 deno
		deno-2.9.6 @deno/linux-x64-glibc@2.9.6 deno
		opencode-1.18.34 opencode-linux-x64@1.18.34 bin/opencode
		gemini-0.61.0 @google/gemini-cli@0.61.0 bundle/gemini.js
	END
}

get() {
	[ -d "$cache/$1" ] && return 0
	rm -rf "$cache/$1.tmp"
	mkdir -p "$cache/$1.tmp" || return 1
	(cd "$cache/$1.tmp" && npm pack --silent "$2" >/dev/null 2>&1 && tar xzf ./*.tgz && rm -f ./*.tgz) &&
		mv "$cache/$1.tmp" "$cache/$1"
}

bad=0
list | while read -r name package program; do
	[ $# -eq 0 ] || case " $* " in *" $name "*) ;; *) continue ;; esac
	echo "  FETCH    $name" >&2
	if get "$name" "$package"; then
		echo "$name $cache/$name/package/$program"
	else
		echo "agents: $name cannot be fetched" >&2
		bad=1
	fi
done
exit "$bad"
