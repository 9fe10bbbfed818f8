#!/bin/bash
# SPDX-License-Identifier: MIT
#
# make-initramfs.sh OUT COMMAND-FILE FILE…: pack the root of a test guest.
#
# FILE is a host path, or HOST:GUEST to put it elsewhere; a path without a colon keeps its place, a
# relative one below the guest's /. A directory is taken with all that is in it. The libraries that a
# dynamic program needs come along, the loader included. The rest is busybox, and init.c as PID 1,
# which runs COMMAND-FILE with /bin/sh.
#
# The environment may name a static busybox in BUSYBOX and a built init in VM_INIT.

set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)

die()
{
	echo "make-initramfs: $*" >&2
	exit 1
}

# init_build FILE: PID 1, unless an earlier run has left it there.
init_build()
{
	[[ $1 -nt $here/init.c ]] && return
	mkdir -p "$(dirname "$1")"
	# Renamed into place, since two runs may build it at the same time.
	${CC:-cc} -std=gnu11 -O2 -Wall -Wextra -static -s -o "$1.$$" "$here/init.c" ||
		die "cannot build init.c statically (is the static C library installed?)"
	mv "$1.$$" "$1"
}

root_make()
{
	mkdir -p "$root"/{bin,dev,etc,proc,root,run,sbin,sys,tmp,usr/bin,usr/sbin,var/tmp}
	chmod 1777 "$root/tmp" "$root/var/tmp"
	cp "$init" "$root/init"
	cp "$command" "$root/vm-command"
	cp "$busybox" "$root/bin/busybox"
	(cd "$root/bin" && "$busybox" --list | grep -vx busybox | xargs -n 1 ln -s busybox)
	ln -s ../../bin/env "$root/usr/bin/env"
	echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
	echo 'nobody:x:65534:65534:nobody:/:/bin/false' >>"$root/etc/passwd"
	printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
	printf '127.0.0.1 localhost guest\n::1 localhost ip6-localhost\n' >"$root/etc/hosts"
}

# put HOST GUEST: what is already there, an applet for example, gives way.
put()
{
	local to=$root/${2#/}

	mkdir -p "$(dirname "$to")"
	if [[ -d $1 ]]; then
		mkdir -p "$to"
		cp -rL --preserve=mode,timestamps --remove-destination "$1/." "$to/"
	else
		cp -L --preserve=mode,timestamps --remove-destination "$1" "$to"
	fi
}

# libraries_put FILE…: ldd runs the loader on each program, which is fine for what we have built.
libraries_put()
{
	local lib

	# ldd fails on scripts and static programs, and says so; a missing library it only mentions.
	ldd "$@" >"$tmp/ldd" 2>/dev/null || true
	! grep 'not found' "$tmp/ldd" >&2 || die "a library is missing on this machine"
	while read -r lib; do
		# what a program finds beside itself is there already
		[[ $lib == "$root"/* || -e $root$lib ]] || put "$lib" "$lib"
	done < <(sed -n 's/^[[:space:]]\(.* => \)\?\(\/[^ ]*\) (0x.*/\2/p' "$tmp/ldd" | sort -u)
}

# scripts_check FILE…: in the guest, a missing interpreter is a "not found" that names the script.
scripts_check()
{
	local file interpreter

	for file; do
		interpreter=$(head -c 128 "$file" | tr -d '\0' | sed -n '1s/^#! *\([^ ]*\).*/\1/p')
		[[ -z $interpreter || -L $root$interpreter || -e $root$interpreter ]] ||
			die "$file is run by $interpreter, which the guest lacks: add it to the files"
	done
}

(($# >= 2)) || die "usage: make-initramfs.sh OUT COMMAND-FILE [HOST[:GUEST]]..."
out=$1 command=$2
shift 2

busybox=${BUSYBOX:-$(command -v busybox)} || die "busybox is not installed (package busybox-static)"
! ldd "$busybox" >/dev/null 2>&1 || die "$busybox is not static (package busybox-static)"
command -v cpio >/dev/null || die "cpio is not installed"
init=${VM_INIT:-$here/../../out/tests/vm/init}
[[ -n ${VM_INIT:-} ]] || init_build "$init"

tmp=$(mktemp -d "${TMPDIR:-/tmp}/make-initramfs.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
root=$tmp/root
root_make

for file; do
	host=${file%%:*}
	[[ -e $host ]] || die "no such file: $host"
	guest=${file#*:}
	put "$host" "${guest#./}"
done

mapfile -d '' -t programs < <(find "$root" -xdev -type f -perm /111 \
	! -path "$root/init" ! -path "$root/bin/busybox" -print0)
if ((${#programs[@]})); then
	libraries_put "${programs[@]}"
	scripts_check "${programs[@]}"
fi

(cd "$root" && find . -print0 | sort -z | cpio --quiet -0 -o -H newc -R 0:0) | gzip -1 >"$tmp/image"
mv "$tmp/image" "$out"
