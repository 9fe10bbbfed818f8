#!/bin/sh
# SPDX-License-Identifier: MIT
# Prints a bpftool that works. Ubuntu installs a wrapper that refuses when the tools of the running
# kernel are not installed; the real ones stand below /usr/lib. Any version makes skeletons.
set -u

for tool in /usr/sbin/bpftool /usr/local/sbin/bpftool "$(command -v bpftool 2>/dev/null)" \
	/usr/lib/linux-tools/*/bpftool /usr/lib/linux-tools-*/bpftool; do
	if [ -x "$tool" ] && "$tool" version >/dev/null 2>&1; then
		echo "$tool"
		exit 0
	fi
done
echo bpftool
